/*
 * write_quantize.c -- quantize and dequantize as QuantizeLinear and DequantizeLinear.
 *
 * Core scales and zero points broadcast to x. ONNX has them as a scalar, as a list with an axis, or per block
 * of an axis; constants are written in that form at once, as other runtimes look for them behind the node.
 * What fits none of the three is arithmetics.
 */
#include "frontend/onnx/write.h"

#include <math.h>
#include <string.h>

enum { SINGLE = -1, MANY = -2 };

/* How scale and zero point lie along x. */
typedef struct Spread {
  int axis;      /* along which they vary; SINGLE, or MANY: along several */
  int64_t block; /* elements of that axis that share one; 0: each its own */
  int group; /* the axis of x whose elements are a block, merged with that in front; 0: blocks are parts */
  Value *scale, *zero;
} Spread;

static int varying_axis(const Value *parameter, int rank) {
  int axis = SINGLE, shift = rank - parameter->type->rank;
  for (int i = 0; i < parameter->type->rank; i++) {
    if (dim_is(parameter->type->dims[i], 1)) continue;
    if (axis != SINGLE || shift < 0) return MANY;
    axis = i + shift;
  }
  return axis;
}

static Value *operand_of(const Value *value, const Op *op) {
  return value && value->def && node_is(value->def, op) ? operand(value->def, 0) : NULL;
}

/* One value for each block, out of what the importer makes of such: reshaped, repeated, reshaped. NULL: it is
 * not that. */
static Value *find_blocks(const Value *parameter, const Type *x, int *axis, int64_t *block) {
  const Value *repeated = operand_of(parameter, &op_reshape), *spread = operand_of(repeated, &op_broadcast);
  Value *each = operand_of(spread, &op_reshape);
  if (!each || each->type->rank != x->rank || repeated->type->rank != x->rank + 1 ||
      !type_same_shape(parameter->type, x))
    return NULL;
  *axis = -1;
  for (int i = 0; i < x->rank && *axis < 0; i++)
    if (each->type->dims[i] != x->dims[i]) *axis = i;
  if (*axis < 0 || !dim_is(spread->type->dims[*axis + 1], 1)) return NULL;
  const Dim *size = repeated->type->dims[*axis + 1];
  for (int i = 0; i < x->rank; i++)
    if (i != *axis && each->type->dims[i] != x->dims[i]) return NULL;
  *block = dim_is_const(size) ? size->value : 0;
  return *block > 0 ? each : NULL;
}

static Value *unrepeated(Value *value) {
  Value *source = operand_of(value, &op_broadcast);
  return source ? source : value;
}

/* The axis of x along which alone the parameter is the same, if there is one behind another; else 0. */
static int group_axis(const Value *parameter, const Type *x) {
  int group = 0;
  if (parameter->type->rank != x->rank || !type_is_static(x)) return 0;
  for (int i = 0; i < x->rank; i++) {
    if (parameter->type->dims[i] == x->dims[i]) continue;
    if (i == 0 || group || !dim_is(parameter->type->dims[i], 1)) return 0;
    group = i;
  }
  return group;
}

/* In blocks: parts of an axis, or what has become an axis of its own. */
static Spread blocks_of(Value *scale, Value *zero, const Type *x) {
  int axis, zero_axis;
  int64_t block, zero_block;
  Value *scales = find_blocks(scale, x, &axis, &block);
  Value *zeros = zero ? find_blocks(zero, x, &zero_axis, &zero_block) : NULL;
  if (scales && (!zero || (zeros && zero_axis == axis && zero_block == block)))
    return (Spread){.axis = axis, .block = block, .scale = scales, .zero = zeros};
  scales = unrepeated(scale);
  zeros = zero ? unrepeated(zero) : NULL;
  int group = group_axis(scales, x);
  if (group && (!zeros || group_axis(zeros, x) == group))
    return (Spread){group - 1, x->dims[group]->value, group, scales, zeros};
  return (Spread){.axis = MANY};
}

static Spread spread_of(const Node *node) {
  const Type *x = operand(node, 0)->type;
  Spread s = {.axis = SINGLE, .scale = operand(node, 1), .zero = operand(node, 2)};
  int axis = s.scale ? varying_axis(s.scale, x->rank) : SINGLE;
  int zero_axis = s.zero ? varying_axis(s.zero, x->rank) : SINGLE;
  if (axis == MANY) return blocks_of(s.scale, s.zero, x);
  if (axis == SINGLE && s.scale == NULL) axis = zero_axis;
  s.axis = zero_axis == SINGLE || zero_axis == axis ? axis : MANY;
  return s;
}

/* ---- Parameters */

/* With the axis of the blocks merged with that in front of it. */
static const char *put_merged(Writer *writer, const Value *value, int group) {
  const Type *type = value->type;
  const Data *data = value_data(value);
  int64_t dims[MAX_RANK];
  int rank = 0;
  for (int i = 0; i < type->rank; i++)
    if (i == group)
      dims[rank - 1] *= type->dims[i]->value;
    else
      dims[rank++] = type->dims[i]->value;
  if (data) return put_shared(writer, data, rank, dims, value->name);
  return put_reshape(writer, name_of(writer, value), dims, rank);
}

/* As a scalar or a list of n; a single one is repeated where there must be a list. */
static const char *put_parameter(Writer *writer, const Spread *s, const Value *value, const Type *x) {
  int64_t count = type_static_count(value->type), wanted = s->axis < 0 ? 1 : -1;
  if (s->axis >= 0 && dim_is_const(x->dims[s->axis])) wanted = x->dims[s->axis]->value;
  const Data *data = value_data(value);
  int rank = s->axis >= 0;
  if (s->group) return put_merged(writer, value, s->group);
  if (s->block) return name_of(writer, value);
  if (data && count == 1 && wanted > 1) data = data_spread(writer->module, data, 0, wanted), count = wanted;
  if (data && count == wanted) return put_shared(writer, data, rank, &count, value->name);
  const char *name = value->type->rank == rank
                         ? name_of(writer, value)
                         : put_reshape(writer, name_of(writer, value), (int64_t[]){-1}, rank);
  if (count != 1 || rank == 0 || wanted == 1) return name;
  const char *size = put_size(writer, x->dims[s->axis]);
  return size ? put2(writer, "Expand", name, size) : NULL;
}

/* Zeros of the type, in the shape of the scales; "" where that is open. */
static const char *put_zeros(Writer *writer, const Spread *s, Dtype dtype, const Type *x) {
  if (s->block || (s->axis >= 0 && !dim_is_const(x->dims[s->axis]))) return name_of(writer, NULL);
  if (s->axis < 0) return put_number(writer, dtype, 0);
  int64_t count = x->dims[s->axis]->value;
  return put_data(writer, data_splat(writer->module, dtype, count, 0), 1, &count, NULL);
}

static void with_spread(Writer *writer, const Spread *s) {
  if (s->axis >= 0) with_int(writer, "axis", s->axis);
  if (s->block) with_int(writer, "block_size", s->block);
}

/* The axes that put_merged merged, again. */
static const char *put_split(Writer *writer, const char *y, const Type *type) {
  int64_t dims[MAX_RANK];
  for (int i = 0; i < type->rank; i++) dims[i] = type->dims[i]->value;
  return put_reshape(writer, y, dims, type->rank);
}

static const char *put_linear(Writer *writer, const char *type, const char *x, const Spread *s,
                              const Type *shape, Dtype integer) {
  const char *scale = s->scale ? put_parameter(writer, s, s->scale, shape) : NULL;
  if (!s->scale) { /* 1, in the shape of the zeros */
    int64_t count = s->axis >= 0 && dim_is_const(shape->dims[s->axis]) ? shape->dims[s->axis]->value : 1;
    scale = put_data(writer, data_splat(writer->module, DTYPE_F32, count, 1), s->axis >= 0, &count, NULL);
  }
  const char *zero =
      s->zero ? put_parameter(writer, s, s->zero, shape) : put_zeros(writer, s, integer, shape);
  const char *y = put3(writer, type, x, scale, zero);
  if (!y) return NULL;
  if (s->block || dtype_bits(integer) != 8 || !*zero) needs_opset(writer, 21);
  if (!*zero && strcmp(type, "QuantizeLinear") == 0) with_int(writer, "output_dtype", onnx_of_dtype(integer));
  with_spread(writer, s);
  return s->group ? put_split(writer, y, shape) : y;
}

/* ---- Operators */

static bool is_quantized_type(Dtype dtype) {
  return dtype_is_int(dtype) && dtype_bits(dtype) <= 16 && dtype_bits(dtype) >= 4;
}

/* (x - zero) * scale */
static const char *dequantize_by_arithmetics(Writer *writer, const Node *node) {
  const Value *x = operand(node, 0), *zero = operand(node, 2);
  const char *y = put_cast(writer, name_of(writer, x), x->type->dtype, DTYPE_F32);
  if (zero) y = put2(writer, "Sub", y, put_cast(writer, name_of(writer, zero), zero->type->dtype, DTYPE_F32));
  return put2(writer, "Mul", y, name_of_operand(writer, node, 1));
}

const char *write_dequantize(Writer *writer, const Node *node) {
  const Value *x = operand(node, 0), *zero = operand(node, 2);
  Spread s = spread_of(node);
  Dtype dtype = x->type->dtype;
  bool has_zero = !zero || zero->type->dtype == dtype;
  bool fits = is_quantized_type(dtype) || (dtype == DTYPE_I32 && !zero && !s.block);
  if (s.axis == MANY || !has_zero || !fits || !type_same_shape(result(node, 0)->type, x->type))
    return dequantize_by_arithmetics(writer, node);
  if (dtype != DTYPE_I32)
    return put_linear(writer, "DequantizeLinear",
                      s.group ? put_merged(writer, x, s.group) : name_of(writer, x), &s, x->type, dtype);
  const char *y =
      put2(writer, "DequantizeLinear", name_of(writer, x), put_parameter(writer, &s, s.scale, x->type));
  with_spread(writer, &s);
  return y;
}

/* round(x / scale) + zero within the type's bounds, in x's precision. */
static const char *quantize_by_arithmetics(Writer *writer, const Node *node) {
  const Value *x = operand(node, 0), *scale = operand(node, 1), *zero = operand(node, 2);
  Dtype to = result(node, 0)->type->dtype, from = x->type->dtype;
  double high = exp2(dtype_bits(to) - dtype_is_signed_int(to)) - 1;
  double low = dtype_is_signed_int(to) ? -high - 1 : 0;
  const char *y = name_of(writer, x);
  if (scale) y = put2(writer, "Div", y, put_cast(writer, name_of(writer, scale), DTYPE_F32, from));
  y = put1(writer, "Round", y);
  if (zero) y = put2(writer, "Add", y, put_cast(writer, name_of(writer, zero), to, from));
  y = put3(writer, "Clip", y, put_number(writer, from, low), put_number(writer, from, high));
  return put_cast(writer, y, from, to);
}

const char *write_quantize(Writer *writer, const Node *node) {
  const Value *x = operand(node, 0);
  Spread s = spread_of(node);
  Dtype to = result(node, 0)->type->dtype, from = x->type->dtype;
  bool fits =
      is_quantized_type(to) && s.axis != MANY && !s.group && type_same_shape(result(node, 0)->type, x->type);
  if (!fits || from == DTYPE_F64) return quantize_by_arithmetics(writer, node);
  return put_linear(writer, "QuantizeLinear", put_cast(writer, name_of(writer, x), from, DTYPE_F32), &s,
                    x->type, to);
}
