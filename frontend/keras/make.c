/*
 * make.c -- short forms to build nodes. All take NULL for an operand that failed and give NULL in turn, so
 * that a chain of them is checked once, at its end.
 */
#include "frontend/keras/keras.h"
#include <math.h>

Value *make(Node *node) {
  return node_finish(node) ? result(node, 0) : NULL;
}

Value *make_unary(Call *call, const Op *op, Value *x) {
  return x ? build_unary(call->builder, op, x) : NULL;
}

Value *make_binary(Call *call, const Op *op, Value *x, Value *y) {
  return x && y ? build_binary(call->builder, op, x, y) : NULL;
}

Value *make_number(Call *call, const Op *op, Value *x, double y) {
  return x ? build_binary(call->builder, op, x, build_scalar(call->builder, x->type->dtype, y)) : NULL;
}

Value *make_where(Call *call, Value *condition, Value *x, Value *y) {
  return condition && x && y ? build_op(call->builder, &op_where, (Value *[]){condition, x, y}, 3) : NULL;
}

Value *make_reduce(Call *call, const Op *op, Value *x, const int64_t *axes, int count) {
  if (!x) return NULL;
  Node *node = node_new(call->builder, op, &x, 1);
  node_set_ints(node, "axes", axes, count);
  return make(node);
}

/* ---- shapes ---- */

Value *make_reshape(Call *call, Value *x, int rank, const Dim *const *dims) {
  if (!x) return NULL;
  if (rank > MAX_RANK) return call_null(call, "its result has %d axes, over %d", rank, MAX_RANK);
  return build_reshape(call->builder, x, rank, dims);
}

Value *make_squeeze(Call *call, Value *x, int axis) {
  const Dim *dims[MAX_RANK];
  int rank = 0;
  for (int i = 0; x && i < x->type->rank; i++)
    if (i != axis) dims[rank++] = x->type->dims[i];
  return make_reshape(call, x, rank, dims);
}

Value *make_unsqueeze(Call *call, Value *x, int axis) {
  const Dim *dims[MAX_RANK + 1];
  int rank = x ? x->type->rank + 1 : 0;
  for (int i = 0; i < rank; i++)
    dims[i] = i == axis ? dim_const(call->import->module, 1) : x->type->dims[i - (i > axis)];
  return make_reshape(call, x, rank, dims);
}

Value *make_transpose(Call *call, Value *x, const int64_t *perm) {
  return x ? build_transpose(call->builder, x, perm) : NULL;
}

Value *make_move_axis(Call *call, Value *x, int from, int to) {
  int64_t perm[MAX_RANK];
  if (!x || from == to) return x;
  for (int i = 0, k = 0; i < x->type->rank; i++) {
    if (k == from) k++;
    perm[i] = i == to ? from : k++;
  }
  return build_transpose(call->builder, x, perm);
}

Value *make_slice(Call *call, Value *x, int axis, const Dim *start, const Dim *size, int64_t step) {
  const Dim *starts[MAX_RANK], *sizes[MAX_RANK];
  int64_t steps[MAX_RANK];
  if (!x) return NULL;
  for (int i = 0; i < x->type->rank; i++) {
    starts[i] = i == axis ? start : dim_const(call->import->module, 0);
    sizes[i] = i == axis ? size : x->type->dims[i];
    steps[i] = i == axis ? step : 1;
  }
  Node *node = node_new(call->builder, &op_slice, &x, 1);
  node_set_dims(node, "starts", starts, x->type->rank);
  node_set_dims(node, "sizes", sizes, x->type->rank);
  node_set_ints(node, "steps", steps, x->type->rank);
  return make(node);
}

Value *make_part(Call *call, Value *x, int axis, int64_t start, int64_t size) {
  Module *module = call->import->module;
  return make_slice(call, x, axis, dim_const(module, start), dim_const(module, size), 1);
}

Value *make_reversed(Call *call, Value *x, int axis) {
  Module *module = call->import->module;
  if (!x) return NULL;
  const Dim *size = x->type->dims[axis];
  return make_slice(call, x, axis, dim_sub(module, size, dim_const(module, 1)), size, -1);
}

Value *make_concat(Call *call, Value *const *xs, int count, int axis) {
  for (int i = 0; i < count; i++)
    if (!xs[i]) return NULL;
  if (count == 1) return xs[0];
  Node *node = node_new(call->builder, &op_concat, xs, count);
  node_set_int(node, "axis", axis);
  return make(node);
}

Value *make_gather(Call *call, Value *x, Value *indices, int axis) {
  if (!x || !indices) return NULL;
  Node *node = node_new(call->builder, &op_gather, (Value *[]){x, indices}, 2);
  node_set_int(node, "axis", axis);
  return make(node);
}

Value *make_broadcast(Call *call, Value *x, const Type *shape) {
  if (!x || type_same_shape(x->type, shape)) return x;
  return build_broadcast(call->builder, x, shape->rank, shape->dims);
}

Value *make_pad(Call *call, Value *x, int axis, const Dim *before, const Dim *after) {
  const Dim *pads[2 * MAX_RANK];
  if (!x) return NULL;
  int rank = x->type->rank;
  for (int i = 0; i < 2 * rank; i++) pads[i] = dim_const(call->import->module, 0);
  pads[axis] = before;
  pads[rank + axis] = after;
  Node *node = node_new(call->builder, &op_pad, &x, 1);
  node_set_dims(node, "pads", pads, 2 * rank);
  return make(node);
}

/* ---- elements ---- */

Value *make_cast(Call *call, Value *x, Dtype dtype) {
  return x ? build_cast(call->builder, x, dtype) : NULL;
}

Value *make_iota(Call *call, Dtype dtype, int rank, const Dim *const *dims, int axis) {
  Node *node = node_new(call->builder, &op_iota, NULL, 0);
  node_set_dims(node, "shape", dims, rank);
  node_set_int(node, "axis", axis);
  node_set_dtype(node, "dtype", dtype);
  return make(node);
}

Value *make_clip(Call *call, Value *x, double low, double high) {
  if (!x || (isinf(low) && isinf(high))) return x;
  Dtype dtype = x->type->dtype;
  Value *operands[3] = {x, isinf(low) ? NULL : build_scalar(call->builder, dtype, low),
                        isinf(high) ? NULL : build_scalar(call->builder, dtype, high)};
  return build_op(call->builder, &op_clip, operands, operands[2] ? 3 : 2);
}

Value *make_one_hot(Call *call, Value *x, int64_t depth) {
  Module *module = call->import->module;
  const Dim *size = dim_const(module, depth);
  Value *positions = x ? make_iota(call, x->type->dtype, 1, &size, 0) : NULL;
  return make_binary(call, &op_equal, x ? make_unsqueeze(call, x, x->type->rank) : NULL, positions);
}

/* ---- constants ---- */

Value *make_floats(Call *call, Dtype dtype, const double *values, int64_t count) {
  Module *module = call->import->module;
  Data *data = data_new(module, dtype, count);
  for (int64_t i = 0; i < count; i++) dtype_set(dtype, data_bytes(data), i, values[i]);
  return build_const(call->builder, type_static(module, dtype, 1, &count), data, NULL);
}

Value *make_ints(Call *call, const int64_t *values, int64_t count) {
  Module *module = call->import->module;
  return build_const(call->builder, type_static(module, DTYPE_I64, 1, &count),
                     data_copy(module, DTYPE_I64, count, values), NULL);
}

/* ---- lengths ---- */

Value *make_unit(Call *call, Value *x, const int64_t *axes, int count, double epsilon) {
  Value *squares = make_reduce(call, &op_reduce_sum, make_binary(call, &op_mul, x, x), axes, count);
  if (call->import->container->major < 3)
    return make_binary(call, &op_div, x,
                       make_unary(call, &op_sqrt, make_clip(call, squares, 1e-12, INFINITY)));
  return make_binary(call, &op_div, x,
                     make_clip(call, make_unary(call, &op_sqrt, squares), epsilon, INFINITY));
}
