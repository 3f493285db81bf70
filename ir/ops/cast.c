/*
 * cast.c -- one element type to another.
 *
 * The loop IR's cast does most of it: straight from dtype to dtype, as a way through f32 could round twice.
 * What an 8-bit float makes of numbers beyond its largest is said here, by ONNX's tables, and so are the
 * roundings to powers of two (f8e8m0), which are integer arithmetic on the bits of an f64.
 */
#include "ir/ops/ops.h"

#include <math.h>

static const OperandSpec operands[] = {{"x", false, "any shape; not complex"}};
static const char *const results[] = {"y"};

static const AttrSpec attrs[] = {
    {"to", ATTR_DTYPE, ROLE_NONE, NULL, "element type of the result", NULL},
    {"saturate", ATTR_BOOL, ROLE_NONE, "true",
     "what is beyond the largest number of an 8-bit float becomes that; false: infinite in f8e5m2, NaN in "
     "the others",
     NULL},
    {"round", ATTR_STRING, ROLE_NONE, "up",
     "to f8e8m0: to the power of two above, below, or nearest, the larger one in the middle",
     "up|down|nearest"},
};

static bool has_values(Dtype dtype) {
  return dtype != DTYPE_NONE && dtype != DTYPE_STRING && !dtype_is_complex(dtype);
}

static bool infer(Node *node) {
  Dtype from = operand(node, 0)->type->dtype, to = node_dtype(node, "to");
  if (!has_values(from) || !has_values(to))
    return node_fail(node, "no cast from %s to %s", dtype_name(from), dtype_name(to));
  result_set(node, 0, type_with_dtype(node_module(node), operand(node, 0)->type, to));
  if (to != DTYPE_BOOL) known_elementwise(node, known_same);
  return true;
}

/* ---- algebra ---- */

static bool int_widens(Dtype from, Dtype to) {
  int from_bits = dtype_bits(from), to_bits = dtype_bits(to);
  if (dtype_is_signed_int(from)) return dtype_is_signed_int(to) && to_bits >= from_bits;
  return to_bits > from_bits || (!dtype_is_signed_int(to) && to_bits == from_bits);
}

/* f32 holds every narrower float, f64 every f32, and f16 and bf16 those of at most 8 bits but for the powers
 * of two. */
static bool float_widens(Dtype from, Dtype to) {
  int from_bits = dtype_bits(from), to_bits = dtype_bits(to);
  return to_bits > from_bits && (to_bits >= 32 || (to_bits == 16 && from != DTYPE_F8E8M0));
}

/* Every value of `from` is one of `to`. */
static bool widens(Dtype from, Dtype to) {
  if (from == to || from == DTYPE_BOOL) return true;
  if (dtype_is_int(from) && dtype_is_int(to)) return int_widens(from, to);
  return dtype_is_float(from) && dtype_is_float(to) && float_widens(from, to);
}

static Value *simplify(Node *node) {
  Value *x = operand(node, 0);
  if (x->type == result(node, 0)->type) return x;
  Node *inner = operand_def(node, 0, &op_cast);
  if (!inner || !widens(operand(inner, 0)->type->dtype, x->type->dtype)) return NULL;
  Value *source = operand(inner, 0);
  return source->type == result(node, 0)->type ? source : rebuild(node, &source, 1);
}

/* ---- meaning ---- */

/* x as a float that has all its values, or most of those of 64-bit integers. */
static Reg *as_float(Lower *lower, Reg *x) {
  Dtype dtype = x->type.dtype;
  bool exact = dtype_is_float(dtype) ? dtype != DTYPE_F64 : dtype_bits(dtype) <= 16;
  return loop_cast(&lower->loops, x, exact ? DTYPE_F32 : DTYPE_F64);
}

/* Half of the distance between the largest number and the one before, above the largest: from there on, or,
 * if the largest is even, beyond it, rounding would go up. */
static double overflow_limit(Dtype dtype) {
  const FloatFormat *format = dtype_format(dtype);
  uint8_t largest = (uint8_t)format->largest, before = (uint8_t)(format->largest - 1);
  double top = dtype_get(dtype, &largest, 0);
  return top + (top - dtype_get(dtype, &before, 0)) / 2;
}

static Reg *to_f8(Lower *lower, Reg *x, Dtype to, bool saturate) {
  Loops *loops = &lower->loops;
  const FloatFormat *format = dtype_format(to);
  uint8_t bits = (uint8_t)format->largest;
  double largest = dtype_get(to, &bits, 0);
  x = as_float(lower, x);
  if (saturate && format->has_inf) { /* an infinity, too */
    x = loop_binary(loops, LOOP_MIN, constant_like(lower, x, largest), x);
    x = loop_binary(loops, LOOP_MAX, constant_like(lower, x, -largest), x);
  }
  Reg *y = loop_cast(loops, x, to);
  if (saturate) return y;
  Reg *limit = constant_like(lower, x, overflow_limit(to));
  Reg *over =
      loop_binary(loops, format->largest % 2 ? LOOP_GE : LOOP_GT, loop_unary(loops, LOOP_ABS, x), limit);
  Reg *beyond = constant_like(lower, y, format->has_inf ? INFINITY : NAN);
  if (format->has_inf) {
    Reg *minus = loop_binary(loops, LOOP_LT, x, constant_like(lower, x, 0));
    beyond = loop_select(loops, minus, constant_like(lower, y, -INFINITY), beyond);
  }
  return loop_select(loops, over, beyond, y);
}

/* The exponent of |x|, after an addend to its fraction has rounded it, with the bias of f8e8m0. */
static Reg *power_bits(Lower *lower, const Node *node, Reg *x) {
  enum { FRACTION = 52, REBASE = 1023 - 127, LARGEST = 254 };
  Loops *loops = &lower->loops;
  int64_t addend = node_string_is(node, "round", "up")        ? ((int64_t)1 << FRACTION) - 1
                   : node_string_is(node, "round", "nearest") ? (int64_t)1 << (FRACTION - 1)
                                                              : 0;
  Reg *bits = loop_bitcast(loops, loop_unary(loops, LOOP_ABS, x), DTYPE_I64);
  bits = loop_binary(loops, LOOP_ADD, bits, loop_const_int(loops, bits->type, addend));
  bits = loop_binary(loops, LOOP_SHR, bits, loop_const_int(loops, bits->type, FRACTION));
  bits = loop_binary(loops, LOOP_SUB, bits, loop_const_int(loops, bits->type, REBASE));
  bits = loop_binary(loops, LOOP_MAX, bits, loop_const_int(loops, bits->type, 0));
  return loop_binary(loops, LOOP_MIN, bits, loop_const_int(loops, bits->type, LARGEST));
}

/* NaN for NaN, for what is negative, and without saturation for what lies outside [2^-127, 2^127]. */
static Reg *to_power(Lower *lower, const Node *node, Reg *x) {
  enum { NOT_A_NUMBER = 255 };
  Loops *loops = &lower->loops;
  bool saturate = node_bool(node, "saturate");
  x = loop_cast(loops, x, DTYPE_F64);
  Reg *bits = power_bits(lower, node, x);
  Reg *good = loop_binary(loops, LOOP_GE, x, constant_like(lower, x, saturate ? 0 : 0x1p-127));
  if (!saturate)
    good =
        loop_binary(loops, LOOP_AND, good, loop_binary(loops, LOOP_LE, x, constant_like(lower, x, 0x1p127)));
  bits = loop_select(loops, good, bits, loop_const_int(loops, bits->type, NOT_A_NUMBER));
  return loop_bitcast(loops, loop_cast(loops, bits, DTYPE_U8), DTYPE_F8E8M0);
}

static Reg *element(Lower *lower, const Node *node, int which, const Index *at) {
  Dtype to = result(node, which)->type->dtype;
  Reg *x = lower_operand(lower, node, 0, at);
  if (x->type.dtype == to) return x;
  if (to == DTYPE_F8E8M0) return to_power(lower, node, x);
  if (dtype_is_float(to) && dtype_bits(to) == 8) return to_f8(lower, x, to, node_bool(node, "saturate"));
  return loop_cast(&lower->loops, x, to);
}

const Op op_cast = {
    .name = "cast",
    .family = "cast",
    .doc = "x as another element type: floats to integers truncate and saturate (NaN gives 0; i2, i4, u2 and "
           "u4 get "
           "the low bits of the i32), integers to integers wrap, to bool is x != 0, to floats rounds to "
           "nearest even. "
           "What is too large for f16, bf16 and f32 becomes infinite, for f4e2m1 6, and so does its NaN.",
    .operands = operands,
    .operand_count = 1,
    .results = results,
    .result_count = 1,
    .attrs = attrs,
    .attr_count = COUNT_OF(attrs),
    .traits = TRAIT_BROADCAST | TRAIT_CHEAP,
    .infer = infer,
    .simplify = simplify,
    .element = element,
};

/* ---- bit_cast ---- */

static const AttrSpec bit_attrs[] = {{"to", ATTR_DTYPE, ROLE_NONE, NULL, "element type of the result", NULL}};

static bool bit_cast_infer(Node *node) {
  Dtype from = operand(node, 0)->type->dtype, to = node_dtype(node, "to");
  if (!has_values(from) || !has_values(to) || dtype_bits(from) != dtype_bits(to))
    return node_fail(node, "no bit_cast from %s to %s: they must have equal width, and not be complex",
                     dtype_name(from), dtype_name(to));
  result_set(node, 0, type_with_dtype(node_module(node), operand(node, 0)->type, to));
  return true;
}

/* Of a bit_cast, too. */
static Value *bit_cast_simplify(Node *node) {
  Value *x = operand(node, 0);
  if (x->type == result(node, 0)->type) return x;
  Node *inner = operand_def(node, 0, &op_bit_cast);
  if (!inner || x->type->dtype == DTYPE_BOOL) return NULL;
  return rebuild(node, (Value *[]){operand(inner, 0)}, 1);
}

/* Registers hold bools as such, not as bytes. */
static Reg *bit_cast_element(Lower *lower, const Node *node, int which, const Index *at) {
  Dtype to = result(node, which)->type->dtype;
  Reg *x = lower_operand(lower, node, 0, at);
  if (x->type.dtype == DTYPE_BOOL || to == DTYPE_BOOL) x = loop_cast(&lower->loops, x, DTYPE_U8);
  return to == DTYPE_BOOL ? loop_cast(&lower->loops, x, to) : loop_bitcast(&lower->loops, x, to);
}

const Op op_bit_cast = {
    .name = "bit_cast",
    .family = "cast",
    .doc = "The same bits as another element type of the same width. A bool is the byte 0 or 1; a byte that "
           "is not 0 "
           "becomes true.",
    .operands = operands,
    .operand_count = COUNT_OF(operands),
    .results = results,
    .result_count = 1,
    .attrs = bit_attrs,
    .attr_count = COUNT_OF(bit_attrs),
    .traits = TRAIT_BROADCAST | TRAIT_CHEAP,
    .infer = bit_cast_infer,
    .simplify = bit_cast_simplify,
    .element = bit_cast_element,
};
