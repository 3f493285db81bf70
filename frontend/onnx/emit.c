/* emit.c -- what the rows share: reading inputs, and short forms to build core ops. */
#include "frontend/onnx/onnx.h"

/* ---- Inputs */

Value *input(const OnnxNode *node, int index) {
  return index < node->input_count ? node->inputs[index] : NULL;
}

int input_rank(const OnnxNode *node, int index) {
  return input(node, index)->type->rank;
}

bool input_dims(OnnxNode *node, int index, const char *what, const Dim *const **dims, int *count) {
  Value *value = input(node, index);
  if (value->type->rank > 1) return onnx_fail(node, "%s has %d dims, one is wanted", what, value->type->rank);
  if (value->type->rank == 1 && !dim_is_const(value->type->dims[0]))
    return onnx_fail(node, "%s has %s elements: their number must be known", what,
                     dim_text(node->module, value->type->dims[0]));
  return bind_sizes(node, value, dims, count);
}

bool bind_sizes(OnnxNode *node, Value *value, const Dim *const **dims, int *count) {
  if (!value) return false;
  *dims = value_known(value, count);
  if (*dims) return true;
  value = emit_unary(node, &op_bind, value);
  *dims = value ? value_known(value, count) : NULL;
  return *dims != NULL;
}

Value *input_scalar(OnnxNode *node, int index, const char *what) {
  Value *value = input(node, index);
  if (!value || value->type->rank == 0) return value;
  if (type_static_count(value->type) == 1) return emit_reshape(node, value, 0, NULL);
  onnx_fail(node, "%s is %s; it must be one number", what, type_text(node->module, value->type));
  return NULL;
}

static bool constant_ints(OnnxNode *node, int index, const char *what, const int64_t **ints, int *count) {
  const Dim *const *dims;
  TRY(input_dims(node, index, what, &dims, count));
  int64_t *values = NEW_ARRAY(node->module->arena, int64_t, *count);
  for (int i = 0; i < *count; i++) {
    if (!dim_is_const(dims[i]))
      return onnx_fail(node, "%s depends on the symbolic size %s: give it with --dim", what,
                       dim_text(node->module, dims[i]));
    values[i] = dims[i]->value;
  }
  *ints = values;
  return true;
}

bool input_or_attr_ints(OnnxNode *node, int index, const char *name, const int64_t **ints, int *count) {
  if (input(node, index)) return constant_ints(node, index, name, ints, count);
  *ints = attr_ints(node, name, count);
  return true;
}

bool input_floats(OnnxNode *node, int index, const char *what, const double **values, int *count) {
  enum { MAX_FLOATS = 64 };
  const Data *data = value_data(input(node, index));
  if (!data) return onnx_fail(node, "%s must be a constant", what);
  if (data->count > MAX_FLOATS || data->dtype == DTYPE_STRING)
    return onnx_fail(node, "%s has %lld elements of %s", what, (long long)data->count,
                     dtype_name(data->dtype));
  double *copy = NEW_ARRAY(node->module->arena, double, data->count);
  for (int64_t i = 0; i < data->count; i++) copy[i] = data_get(data, i);
  *values = copy;
  *count = (int)data->count;
  return true;
}

bool normal_axis(OnnxNode *node, int64_t *axis, int rank) {
  if (*axis < -rank || *axis >= rank)
    return onnx_fail(node, "axis %lld of a tensor with %d dims", (long long)*axis, rank);
  if (*axis < 0) *axis += rank;
  return true;
}

/* ---- Building */

Value *finish(Node *node) {
  return node && node_finish(node) ? result(node, 0) : NULL;
}

bool set_output(OnnxNode *node, Value *value) {
  node->outputs[0] = value;
  return value != NULL;
}

Value *emit(OnnxNode *node, const Op *op, Value *const *operands, int count) {
  return finish(node_new(&node->builder, op, operands, count));
}

Value *emit_unary(OnnxNode *node, const Op *op, Value *x) {
  return x ? emit(node, op, &x, 1) : NULL;
}

Value *emit_binary(OnnxNode *node, const Op *op, Value *x, Value *y) {
  return x && y ? emit(node, op, (Value *[]){x, y}, 2) : NULL;
}

Value *emit_where(OnnxNode *node, Value *condition, Value *x, Value *y) {
  return condition && x && y ? emit(node, &op_where, (Value *[]){condition, x, y}, 3) : NULL;
}

/* `shape` of a tensor with these sizes gives their numbers, whatever they are made of. */
Value *emit_ints(OnnxNode *node, const Dim *const *values, int count) {
  int64_t ints[MAX_RANK];
  bool constant = true;
  if (count > MAX_RANK) return NULL;
  for (int i = 0; i < count; i++) {
    constant = constant && dim_is_const(values[i]);
    ints[i] = values[i]->value;
  }
  if (constant) return build_ints(&node->builder, ints, count);
  Value *zero = build_scalar(&node->builder, DTYPE_BOOL, 0);
  return emit_unary(node, &op_shape,
                    emit_broadcast(node, zero, type_make(node->module, DTYPE_BOOL, count, values)));
}

Value *emit_scalar(OnnxNode *node, const Value *like, double value) {
  return like ? build_scalar(&node->builder, like->type->dtype, value) : NULL;
}

static Value *positions_from(OnnxNode *node, Dtype dtype, const Dim *first, const Dim *size) {
  Node *core = node_new(&node->builder, &op_iota, NULL, 0);
  node_set_dims(core, "shape", &size, 1);
  node_set_dtype(core, "dtype", dtype);
  node_set_dims(core, "start", &first, 1);
  return finish(core);
}

Value *emit_positions(OnnxNode *node, Dtype dtype, const Dim *size) {
  return positions_from(node, dtype, dim_const(node->module, 0), size);
}

Value *emit_cast(OnnxNode *node, Value *x, Dtype dtype) {
  return x ? build_cast(&node->builder, x, dtype) : NULL;
}

Value *emit_rounded_cast(OnnxNode *node, Value *x, Dtype dtype, bool saturate, const char *round) {
  if (!x || x->type->dtype == dtype) return x;
  Node *cast = node_new(&node->builder, &op_cast, &x, 1);
  node_set_dtype(cast, "to", dtype);
  node_set_bool(cast, "saturate", saturate);
  node_set_string(cast, "round", round);
  return finish(cast);
}

Value *emit_reshape(OnnxNode *node, Value *x, int rank, const Dim *const *dims) {
  if (!x) return NULL;
  if (rank > MAX_RANK) {
    onnx_fail(node, "a result of %d dims, at most %d are supported", rank, MAX_RANK);
    return NULL;
  }
  return build_reshape(&node->builder, x, rank, dims);
}

Value *emit_flat(OnnxNode *node, Value *x) {
  const Dim *count = x ? type_count(node->module, x->type) : NULL;
  return emit_reshape(node, x, 1, &count);
}

Value *emit_known_axis(OnnxNode *node, Value *x, int axis, int64_t size) {
  if (!x) return NULL;
  const Dim *dims[MAX_RANK];
  int rank = x->type->rank, at = axis < 0 ? axis + rank : axis;
  if (at < 0 || at >= rank || dim_is_const(x->type->dims[at])) return x;
  for (int i = 0; i < rank; i++) dims[i] = i == at ? dim_const(node->module, size) : x->type->dims[i];
  return emit_reshape(node, x, rank, dims);
}

Value *emit_transpose(OnnxNode *node, Value *x, const int64_t *perm) {
  return x ? build_transpose(&node->builder, x, perm) : NULL;
}

Value *emit_unsqueeze(OnnxNode *node, Value *x, int before, int after) {
  if (!x || before + after == 0) return x;
  const Dim *dims[3 * MAX_RANK];
  int rank = 0;
  if (before > MAX_RANK || after > MAX_RANK) return emit_reshape(node, x, MAX_RANK + 1, NULL);
  for (int i = 0; i < before; i++) dims[rank++] = dim_const(node->module, 1);
  for (int i = 0; i < x->type->rank; i++) dims[rank++] = x->type->dims[i];
  for (int i = 0; i < after; i++) dims[rank++] = dim_const(node->module, 1);
  return emit_reshape(node, x, rank, dims);
}

Value *emit_reduce(OnnxNode *node, const Op *op, Value *x, const int64_t *axes, int count) {
  return x ? build_reduce(&node->builder, op, x, axes, count) : NULL;
}

Value *emit_slice(OnnxNode *node, Value *x, const Dim *const *starts, const Dim *const *sizes,
                  const int64_t *steps) {
  if (!x) return NULL;
  Node *slice = node_new(&node->builder, &op_slice, &x, 1);
  node_set_dims(slice, "starts", starts, x->type->rank);
  node_set_dims(slice, "sizes", sizes, x->type->rank);
  node_set_ints(slice, "steps", steps, x->type->rank);
  return finish(slice);
}

Value *emit_broadcast(OnnxNode *node, Value *x, const Type *type) {
  if (!x || type_same_shape(x->type, type)) return x;
  return build_broadcast(&node->builder, x, type->rank, type->dims);
}

Value *emit_range(OnnxNode *node, const Dim *first, const Dim *size, bool rows) {
  return emit_unsqueeze(node, positions_from(node, DTYPE_I64, first, size), 0, rows);
}

Value *emit_resized(OnnxNode *node, Value *x, const Dim *const *sizes, bool centered) {
  Module *module = node->module;
  const Dim *starts[MAX_RANK], *kept[MAX_RANK], *pads[2 * MAX_RANK], *two = dim_const(module, 2);
  int64_t steps[MAX_RANK];
  if (!x) return NULL;
  int rank = x->type->rank;
  for (int i = 0; i < rank; i++) {
    const Dim *zero = dim_const(module, 0), *size = x->type->dims[i];
    const Dim *lacks = dim_make(module, DIM_MAX, dim_sub(module, sizes[i], size), zero);
    const Dim *has_more = dim_make(module, DIM_MAX, dim_sub(module, size, sizes[i]), zero);
    kept[i] = dim_make(module, DIM_MIN, size, sizes[i]);
    starts[i] = centered ? dim_floordiv(module, has_more, two) : zero;
    pads[i] = centered ? dim_floordiv(module, lacks, two) : zero;
    pads[rank + i] = dim_sub(module, lacks, pads[i]);
    steps[i] = 1;
  }
  return emit_pad(node, emit_slice(node, x, starts, kept, steps), pads, 0);
}

Value *emit_pad(OnnxNode *node, Value *x, const Dim *const *pads, double fill) {
  Value *value = x ? emit_scalar(node, x, fill) : NULL;
  if (!value) return NULL;
  Node *pad = node_new(&node->builder, &op_pad, (Value *[]){x, value}, 2);
  node_set_dims(pad, "pads", pads, 2 * x->type->rank);
  return finish(pad);
}
