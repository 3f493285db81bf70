/*
 * quantize.c -- real numbers as small integers, and back.
 *
 * What quantized models consist of between their integer products. Both broadcast, so that scales and zero
 * points may be single or lie along an axis. quantize clips before it rounds, which is the same, as the
 * bounds are whole, and leaves a rounded number that surely fits, so that its cast costs one instruction.
 */
#include "ir/ops/ops.h"

#include <math.h>

static const char *const results_y[] = {"y"};

static bool is_real(Dtype dtype) {
  return (dtype_is_int(dtype) || dtype_is_float(dtype)) && !dtype_is_complex(dtype);
}

static bool is_narrow_int(Dtype dtype) {
  return dtype_is_int(dtype) && dtype_bits(dtype) <= 16;
}

/* ---- quantize ---- */

static const OperandSpec quantize_operands[] = {{"x", false, "f16, bf16, f32 or f64"},
                                                {"scale", true, "f32, divides x; absent: 1"},
                                                {"zero", true, "what becomes of 0, of the result's dtype"}};

static const AttrSpec quantize_attrs[] = {
    {"to", ATTR_DTYPE, ROLE_NONE, NULL, "an integer type of at most 16 bits", NULL}};

static bool quantize_infer(Node *node) {
  Dtype to = node_dtype(node, "to");
  TRY(check_kind(node, 0, KIND_FLOAT));
  if (!is_narrow_int(to))
    return node_fail(node, "to is %s; it must be an integer of at most 16 bits", dtype_name(to));
  const Value *scale = operand(node, 1), *zero = operand(node, 2);
  if (scale && scale->type->dtype != DTYPE_F32)
    return node_fail(node, "scale is %s; it must be f32", operand_text(node, 1));
  if (zero && zero->type->dtype != to)
    return node_fail(node, "zero is %s, but the result %s", operand_text(node, 2), dtype_name(to));
  return infer_broadcast(node, to);
}

/* The lowest and the highest of the result's type. */
static void bounds_of(const Node *node, double *low, double *high) {
  Dtype to = node_dtype(node, "to");
  int bits = dtype_bits(to), sign = dtype_is_signed_int(to);
  *low = sign ? -exp2(bits - 1) : 0;
  *high = exp2(bits - sign) - 1;
}

static Reg *quotient(Lower *lower, Reg *const *x) {
  Loops *loops = &lower->loops;
  return x[1] ? loop_binary(loops, LOOP_DIV, x[0], loop_cast(loops, x[1], x[0]->type.dtype)) : x[0];
}

/* The reals that become the lowest and the highest integer, if that is known. */
static bool quantize_range(const Node *node, double *low, double *high) {
  double scale = 1, zero = 0;
  if (operand(node, 1) && !(value_scalar(operand(node, 1), &scale) && scale > 0)) return false;
  if (operand(node, 2) && !value_scalar(operand(node, 2), &zero)) return false;
  bounds_of(node, low, high);
  *low = (*low - zero + 0.5) * scale;
  *high = (*high - zero - 0.5) * scale;
  return true;
}

/* Bounds of relu and clip that do not change what is rounded and clipped here are none. */
static Value *quantize_simplify(Node *node) {
  Node *relu = operand_def(node, 0, &op_relu), *clip = operand_def(node, 0, &op_clip);
  double low, high, bound = 0;
  if (!(relu || clip) || !quantize_range(node, &low, &high)) return NULL;
  Value *bounds[2] = {clip ? operand(clip, 1) : NULL, clip ? operand(clip, 2) : NULL};
  bool below = relu || (bounds[0] && value_scalar(bounds[0], &bound));
  below = below && bound < low;
  bool above = bounds[1] && value_scalar(bounds[1], &bound) && bound > high;
  if (!below && !above) return NULL;
  if (below) bounds[0] = NULL;
  if (above) bounds[1] = NULL;
  Builder builder = builder_before(node);
  Value *x = operand(relu ? relu : clip, 0);
  if (bounds[0] || bounds[1]) x = build_op(&builder, &op_clip, (Value *[]){x, bounds[0], bounds[1]}, 3);
  return x ? rebuild(node, (Value *[]){x, operand(node, 1), operand(node, 2)}, 3) : NULL;
}

/* x / scale, rounded, within bounds `shift` below those of the result's type; x: as of a scalar meaning. */
static Reg *rounded(Lower *lower, const Node *node, Reg *const *x, int64_t shift) {
  Loops *loops = &lower->loops;
  double low, high;
  bounds_of(node, &low, &high);
  Reg *y = quotient(lower, x);
  y = loop_binary(loops, LOOP_MAX, y, constant_like(lower, y, low - (double)shift));
  y = loop_binary(loops, LOOP_MIN, y, constant_like(lower, y, high - (double)shift));
  return loop_unary(loops, LOOP_ROUND, y);
}

/* A literal zero point moves the bounds instead, so that rounding comes last: what is known to be whole and
 * to fit is cast by one instruction. */
static Reg *quantize_scalar(Lower *lower, const Node *node, Reg *const *x) {
  Loops *loops = &lower->loops;
  int64_t shift = 0;
  double low, high;
  if (!x[2] || reg_const_int(x[2], &shift)) {
    Reg *y = loop_cast(loops, rounded(lower, node, x, shift), DTYPE_I32);
    return shift ? loop_binary(loops, LOOP_ADD, y, loop_const_int(loops, y->type, shift)) : y;
  }
  bounds_of(node, &low, &high);
  Reg *y = loop_unary(loops, LOOP_ROUND, quotient(lower, x));
  y = loop_binary(loops, LOOP_ADD, y, loop_cast(loops, x[2], y->type.dtype));
  y = loop_binary(loops, LOOP_MAX, y, constant_like(lower, y, low));
  return loop_binary(loops, LOOP_MIN, y, constant_like(lower, y, high));
}

const Op op_quantize = {
    .name = "quantize",
    .family = "quantize",
    .doc = "The integer nearest to x / scale, ties to even, plus zero, moved into the range of the result's "
           "type; "
           "NaN becomes the lowest.",
    .operands = quantize_operands,
    .operand_count = COUNT_OF(quantize_operands),
    .results = results_y,
    .result_count = 1,
    .attrs = quantize_attrs,
    .attr_count = COUNT_OF(quantize_attrs),
    .traits = TRAIT_BROADCAST | TRAIT_CHEAP,
    .infer = quantize_infer,
    .simplify = quantize_simplify,
    .element = elementwise_element,
    .scalar = quantize_scalar,
};

/* ---- dequantize ---- */

static const OperandSpec dequantize_operands[] = {
    {"x", false, "any real number"}, {"scale", false, "f32"}, {"zero", true, "what stands for 0; absent: 0"}};

static bool dequantize_infer(Node *node) {
  const Value *scale = operand(node, 1);
  for (int i = 0; i < node->operand_count; i += 2)
    if (operand(node, i) && !is_real(operand(node, i)->type->dtype))
      return node_fail(node, "%s is %s; it must be a real number", dequantize_operands[i].name,
                       operand_text(node, i));
  if (scale->type->dtype != DTYPE_F32)
    return node_fail(node, "scale is %s; it must be f32", operand_text(node, 1));
  return infer_broadcast(node, DTYPE_F32);
}

static Value *dequantize_simplify(Node *node) {
  if (!operand(node, 2) || !value_is_splat(operand(node, 2), 0)) return NULL;
  if (type_static_count(operand(node, 2)->type) != 1) return NULL;
  operand_set(node, 2, NULL);
  return result(node, 0);
}

static Reg *dequantize_scalar(Lower *lower, const Node *node, Reg *const *x) {
  Loops *loops = &lower->loops;
  (void)node;
  Reg *y = loop_cast(loops, x[0], DTYPE_F32);
  if (x[2]) y = loop_binary(loops, LOOP_SUB, y, loop_cast(loops, x[2], DTYPE_F32));
  return loop_binary(loops, LOOP_MUL, y, x[1]);
}

static bool same_numbers(const Value *a, const Value *b) {
  double x = 0, y = 0;
  return (!a || value_scalar(a, &x)) && (!b || value_scalar(b, &y)) && x == y;
}

/* What was just quantized, with the same zero point, in the same kernel, stays a float. */
static Reg *dequantize_element(Lower *lower, const Node *node, int which, const Index *at) {
  const Node *quantize = operand_def(node, 0, &op_quantize);
  double zero = 0;
  bool stays = quantize && !lower_buffer(lower, operand(node, 0)) &&
               same_numbers(operand(quantize, 2), operand(node, 2)) &&
               type_same_shape(result(quantize, 0)->type, result(node, 0)->type) &&
               operand(quantize, 0)->type->dtype == DTYPE_F32;
  if (!stays) return elementwise_element(lower, node, which, at);
  if (operand(node, 2)) value_scalar(operand(node, 2), &zero);
  Reg *x[2] = {NULL};
  for (int i = 0; i < 2; i++)
    if (operand(quantize, i)) x[i] = lower_broadcast(lower, quantize, i, at);
  Reg *y = rounded(lower, quantize, x, (int64_t)zero);
  return loop_binary(&lower->loops, LOOP_MUL, y, lower_broadcast(lower, node, 1, at));
}

const Op op_dequantize = {
    .name = "dequantize",
    .family = "quantize",
    .doc = "(x - zero) * scale in f32, each step rounded.",
    .operands = dequantize_operands,
    .operand_count = COUNT_OF(dequantize_operands),
    .results = results_y,
    .result_count = 1,
    .traits = TRAIT_BROADCAST | TRAIT_CHEAP,
    .infer = dequantize_infer,
    .simplify = dequantize_simplify,
    .element = dequantize_element,
    .scalar = dequantize_scalar,
};
