/* elementwise.c -- ONNX operators on each element, alone or in broadcast pairs. */
#include "frontend/onnx/onnx.h"
#include "frontend/onnx/strings.h"

#include <math.h>
#include <string.h>

/* ---- Operators with a core op of the same meaning */

/* Copies each attribute that the core op knows by the same name; what is absent keeps the core op's default.
 */
static void copy_attributes(OnnxNode *node, Node *core) {
  for (int i = 0; i < core->op->attr_count; i++) {
    const char *name = core->op->attrs[i].name;
    if (!attr_find(node, name)) continue;
    switch (core->op->attrs[i].kind) {
    case ATTR_BOOL: node_set_bool(core, name, attr_bool(node, name, false)); break;
    case ATTR_INT: node_set_int(core, name, attr_int(node, name, 0)); break;
    case ATTR_FLOAT: node_set_float(core, name, attr_float(node, name, 0)); break;
    case ATTR_STRING: node_set_string(core, name, attr_string(node, name, "")); break;
    default: break;
    }
  }
}

static bool import_same(OnnxNode *node) {
  Node *core = node_new(&node->builder, node->row->op, node->inputs, node->input_count);
  copy_attributes(node, core);
  return set_output(node, finish(core));
}

static bool import_identity(OnnxNode *node) {
  return set_output(node, input(node, 0));
}

/* ---- Broadcasting */

/* Before opset 7 the second operand broadcasts only when told, its dims lined up with the first's from `axis`
 * on. */
static Value *align_legacy(OnnxNode *node, Value *a, Value *b) {
  if (!attr_bool(node, "broadcast", false)) return b;
  int64_t axis = attr_int(node, "axis", a->type->rank - b->type->rank);
  if (axis < 0) axis += a->type->rank;
  int64_t after = a->type->rank - axis - b->type->rank;
  if (axis < 0 || after < 0) {
    onnx_fail(node, "axis %lld does not line up %s with %s", (long long)axis,
              type_text(node->module, b->type), type_text(node->module, a->type));
    return NULL;
  }
  return emit_unsqueeze(node, b, 0, (int)after);
}

static bool import_binary_legacy(OnnxNode *node) {
  Value *b = align_legacy(node, input(node, 0), input(node, 1));
  return set_output(node, emit_binary(node, node->row->op, input(node, 0), b));
}

static bool import_fold(OnnxNode *node) {
  Value *all = input(node, 0);
  for (int i = 1; i < node->input_count; i++) all = emit_binary(node, node->row->op, all, input(node, i));
  return set_output(node, all);
}

static bool import_mean(OnnxNode *node) {
  TRY(import_fold(node));
  Value *sum = node->outputs[0];
  return set_output(node, emit_binary(node, &op_div, sum, emit_scalar(node, sum, node->input_count)));
}

/* The exponent may be of another type; an integer base with a float exponent is raised as a float. */
static bool import_pow(OnnxNode *node) {
  Value *base = input(node, 0), *exponent = input(node, 1);
  Dtype dtype = base->type->dtype;
  if (exponent->type->dtype == dtype) return set_output(node, emit_binary(node, &op_pow, base, exponent));
  bool through_float = dtype_is_int(dtype) && dtype_is_float(exponent->type->dtype);
  Dtype common = through_float ? exponent->type->dtype : dtype;
  Value *power = emit_binary(node, &op_pow, emit_cast(node, base, common), emit_cast(node, exponent, common));
  return set_output(node, emit_cast(node, power, dtype));
}

static bool import_mod(OnnxNode *node) {
  Node *core = node_new(&node->builder, &op_mod, node->inputs, 2);
  node_set_bool(core, "fmod", attr_bool(node, "fmod", false));
  return set_output(node, finish(core));
}

/* Before opset 7 the slope is one number or one per channel (axis 1), whatever its rank says. */
static bool import_prelu_legacy(OnnxNode *node) {
  Value *x = input(node, 0), *slope = input(node, 1);
  if (slope->type->rank == 1 && !dim_is(slope->type->dims[0], 1) && x->type->rank > 2)
    slope = emit_unsqueeze(node, slope, 0, x->type->rank - 2);
  return set_output(node, emit_binary(node, &op_prelu, x, slope));
}

/* By a product or quotient with a power of two from a table: 0 for shifts by all bits or more. */
static bool import_bit_shift(OnnxNode *node) {
  Value *x = input(node, 0), *shift = input(node, 1);
  Dtype dtype = x->type->dtype;
  bool is_left = attr_string_is(node, "direction", "", "LEFT");
  if (!is_left && !attr_string_is(node, "direction", "", "RIGHT"))
    return onnx_fail(node, "direction '%s' is not known", attr_string(node, "direction", ""));
  if (!dtype_is_int(dtype) || dtype_is_signed_int(dtype) || dtype_bits(dtype) < 8)
    return onnx_fail(node, "no shift of %s", type_text(node->module, x->type));
  int64_t bits = dtype_bits(dtype);
  Data *powers = data_new(node->module, dtype, bits);
  for (int64_t i = 0; i < bits; i++) dtype_set_int(dtype, data_bytes(powers), i, (int64_t)(1ull << i));
  Value *table = build_const(&node->builder, type_static(node->module, dtype, 1, &bits), powers, NULL);
  Value *last = emit_scalar(node, shift, (double)bits - 1), *zero = emit_scalar(node, x, 0);
  Value *at = emit_cast(node, emit_binary(node, &op_min, shift, last), DTYPE_I64);
  Value *fits = emit_binary(node, &op_less_or_equal, shift, last);
  Value *power = emit_binary(node, &op_gather, table, at);
  Value *shifted = emit_binary(node, is_left ? &op_mul : &op_div, x, power);
  if (!fits || !shifted || !zero) return false;
  return set_output(node, emit(node, &op_where, (Value *[]){fits, shifted, zero}, 3));
}

/* ---- Unary operators that need a word */

/* Of integers as a difference, through which known elements of shapes are carried. */
static bool import_neg(OnnxNode *node) {
  Value *x = input(node, 0);
  if (dtype_is_float(x->type->dtype)) return set_output(node, emit_unary(node, &op_neg, x));
  return set_output(node, emit_binary(node, &op_sub, emit_scalar(node, x, 0), x));
}

static bool import_reciprocal(OnnxNode *node) {
  Value *x = input(node, 0);
  return set_output(node, emit_binary(node, &op_div, emit_scalar(node, x, 1), x));
}

static bool import_selu_legacy(OnnxNode *node) {
  Node *core = node_new(&node->builder, &op_selu, node->inputs, 1);
  node_set_float(core, "alpha", attr_float(node, "alpha", 1.6732));
  node_set_float(core, "gamma", attr_float(node, "gamma", 1.0507));
  return set_output(node, finish(core));
}

/* With a default of the row's own: ONNX's, whatever the core op's is. */
static bool import_with_alpha(OnnxNode *node) {
  double absent = strcmp(node->row->name, "LeakyRelu") == 0 ? 0.01 : 1.0;
  Node *core = node_new(&node->builder, node->row->op, node->inputs, 1);
  node_set_float(core, "alpha", attr_float(node, "alpha", absent));
  return set_output(node, finish(core));
}

static bool import_hard_sigmoid(OnnxNode *node) {
  Node *core = node_new(&node->builder, &op_hard_sigmoid, node->inputs, 1);
  node_set_float(core, "alpha", attr_float(node, "alpha", 0.2));
  node_set_float(core, "beta", attr_float(node, "beta", 0.5));
  return set_output(node, finish(core));
}

/* x * sigmoid(alpha * x) */
static Value *swish(OnnxNode *node, Value *x, double alpha) {
  if (alpha == 1) return emit_unary(node, &op_silu, x);
  Value *scaled = emit_binary(node, &op_mul, x, emit_scalar(node, x, alpha));
  return emit_binary(node, &op_mul, x, emit_unary(node, &op_sigmoid, scaled));
}

static bool import_swish(OnnxNode *node) {
  return set_output(node, swish(node, input(node, 0), attr_float(node, "alpha", 1)));
}

static bool import_quick_gelu(OnnxNode *node) {
  return set_output(node, swish(node, input(node, 0), attr_float(node, "alpha", 1.702f)));
}

static bool import_swiglu(OnnxNode *node) {
  Value *gate = swish(node, input(node, 0), attr_float(node, "alpha", 1));
  if (!type_same_shape(input(node, 0)->type, input(node, 1)->type))
    return onnx_fail(node, "%s against %s", type_text(node->module, input(node, 0)->type),
                     type_text(node->module, input(node, 1)->type));
  return set_output(node, emit_binary(node, &op_mul, gate, input(node, 1)));
}

static bool import_is_inf(OnnxNode *node) {
  Value *x = input(node, 0);
  bool positive = attr_bool(node, "detect_positive", true),
       negative = attr_bool(node, "detect_negative", true);
  if (!positive && !negative) return set_output(node, emit_binary(node, &op_less, x, x)); /* never */
  if (positive && negative) x = emit_unary(node, &op_abs, x);
  double wanted = positive ? (double)INFINITY : (double)-INFINITY;
  return set_output(node, emit_binary(node, &op_equal, x, emit_scalar(node, x, wanted)));
}

/* x + bias below -lambd, x - bias above it, 0 between. */
static bool import_shrink(OnnxNode *node) {
  Value *x = input(node, 0);
  double lambd = attr_float(node, "lambd", 0.5), bias = attr_float(node, "bias", 0);
  Value *shift = emit_scalar(node, x, bias), *zero = emit_scalar(node, x, 0);
  Value *is_high = emit_binary(node, &op_greater, x, emit_scalar(node, x, lambd));
  Value *is_low = emit_binary(node, &op_less, x, emit_scalar(node, x, -lambd));
  Value *high = emit_binary(node, &op_sub, x, shift), *low = emit_binary(node, &op_add, x, shift);
  if (!is_high || !is_low || !high || !low) return false;
  Value *rest = emit(node, &op_where, (Value *[]){is_low, low, zero}, 3);
  return rest && set_output(node, emit(node, &op_where, (Value *[]){is_high, high, rest}, 3));
}

/* Bounds as attributes, before opset 11. */
static bool import_clip_legacy(OnnxNode *node) {
  Value *x = input(node, 0);
  Value *low = attr_find(node, "min") ? emit_scalar(node, x, attr_float(node, "min", 0)) : NULL;
  Value *high = attr_find(node, "max") ? emit_scalar(node, x, attr_float(node, "max", 0)) : NULL;
  if (!low && !high) return set_output(node, x);
  return set_output(node, emit(node, &op_clip, (Value *[]){x, low, high}, 3));
}

static bool import_clip(OnnxNode *node) {
  Value *bounds[2] = {input(node, 1), input(node, 2)};
  if (!bounds[0] && !bounds[1]) return set_output(node, input(node, 0));
  for (int i = 0; i < 2; i++) /* some writers give [1] for a scalar */
    if (bounds[i] && bounds[i]->type->rank > 0) bounds[i] = emit_reshape(node, bounds[i], 0, NULL);
  return set_output(node, emit(node, &op_clip, (Value *[]){input(node, 0), bounds[0], bounds[1]}, 3));
}

static bool import_equal(OnnxNode *node) {
  if (!is_string(input(node, 0))) return import_same(node);
  return set_output(node, emit_string_pair(node, &op_string_equal, input(node, 0), input(node, 1)));
}

static bool cast_to(OnnxNode *node, Dtype dtype) {
  const char *round = attr_string(node, "round_mode", "up");
  bool saturate = attr_bool(node, "saturate", true);
  if (dtype == DTYPE_NONE)
    return onnx_fail(node, "a cast to element type %lld is not supported",
                     (long long)attr_int(node, "to", 0));
  if (dtype == DTYPE_STRING || is_string(input(node, 0)))
    return set_output(node, emit_string_cast(node, input(node, 0), dtype));
  return set_output(node, emit_rounded_cast(node, input(node, 0), dtype, saturate, round));
}

static bool import_cast(OnnxNode *node) {
  return cast_to(node, dtype_of_onnx(attr_int(node, "to", 0)));
}

/* Opset 1 named the type: "FLOAT". */
static bool import_cast_legacy(OnnxNode *node) {
  static const char *const names[] = {"",      "FLOAT",  "UINT8", "INT8",    "UINT16", "INT16",  "INT32",
                                      "INT64", "STRING", "BOOL",  "FLOAT16", "DOUBLE", "UINT32", "UINT64"};
  const char *to = attr_string(node, "to", "");
  for (int i = 1; i < COUNT_OF(names); i++)
    if (strcmp(names[i], to) == 0) return cast_to(node, dtype_of_onnx(i));
  return onnx_fail(node, "a cast to '%s' is not supported", to);
}

static bool import_cast_like(OnnxNode *node) {
  return cast_to(node, input(node, 1)->type->dtype);
}

static bool import_bit_cast(OnnxNode *node) {
  Dtype to = dtype_of_onnx(attr_int(node, "to", 0));
  if (to == DTYPE_NONE) return onnx_fail(node, "to is %lld", (long long)attr_int(node, "to", 0));
  Node *core = node_new(&node->builder, &op_bit_cast, node->inputs, 1);
  node_set_dtype(core, "to", to);
  return set_output(node, finish(core));
}

static const OnnxRow rows[] = {
    {"Abs", 1, 1, 1, import_same, &op_abs},
    {"Acos", 7, 1, 1, import_same, &op_acos},
    {"Acosh", 9, 1, 1, import_same, &op_acosh},
    {"Add", 1, 2, 2, import_binary_legacy, &op_add},
    {"Add", 7, 2, 2, import_same, &op_add},
    {"And", 1, 2, 2, import_binary_legacy, &op_and},
    {"And", 7, 2, 2, import_same, &op_and},
    {"Asin", 7, 1, 1, import_same, &op_asin},
    {"Asinh", 9, 1, 1, import_same, &op_asinh},
    {"Atan", 7, 1, 1, import_same, &op_atan},
    {"Atanh", 9, 1, 1, import_same, &op_atanh},
    {"BitCast", 26, 1, 1, import_bit_cast, NULL},
    {"BitShift", 11, 2, 2, import_bit_shift, NULL},
    {"BitwiseAnd", 18, 2, 2, import_same, &op_bitwise_and},
    {"BitwiseNot", 18, 1, 1, import_same, &op_bitwise_not},
    {"BitwiseOr", 18, 2, 2, import_same, &op_bitwise_or},
    {"BitwiseXor", 18, 2, 2, import_same, &op_bitwise_xor},
    {"Cast", 1, 1, 1, import_cast_legacy, NULL},
    {"Cast", 6, 1, 1, import_cast, NULL},
    {"CastLike", 15, 2, 2, import_cast_like, NULL},
    {"Ceil", 1, 1, 1, import_same, &op_ceil},
    {"Celu", 12, 1, 1, import_with_alpha, &op_celu},
    {"Clip", 1, 1, 1, import_clip_legacy, NULL},
    {"Clip", 11, 1, 3, import_clip, NULL},
    {"Cos", 7, 1, 1, import_same, &op_cos},
    {"Cosh", 9, 1, 1, import_same, &op_cosh},
    {"Div", 1, 2, 2, import_binary_legacy, &op_div},
    {"Div", 7, 2, 2, import_same, &op_div},
    {"Elu", 1, 1, 1, import_with_alpha, &op_elu},
    {"Equal", 1, 2, 2, import_binary_legacy, &op_equal},
    {"Equal", 7, 2, 2, import_equal, &op_equal},
    {"Erf", 9, 1, 1, import_same, &op_erf},
    {"Exp", 1, 1, 1, import_same, &op_exp},
    {"Floor", 1, 1, 1, import_same, &op_floor},
    {"Gelu", 20, 1, 1, import_same, &op_gelu},
    {"Greater", 1, 2, 2, import_binary_legacy, &op_greater},
    {"Greater", 7, 2, 2, import_same, &op_greater},
    {"GreaterOrEqual", 12, 2, 2, import_same, &op_greater_or_equal},
    {"HardSigmoid", 1, 1, 1, import_hard_sigmoid, NULL},
    {"HardSwish", 14, 1, 1, import_same, &op_hard_swish},
    {"Identity", 1, 1, 1, import_identity, NULL},
    {"IsInf", 10, 1, 1, import_is_inf, NULL},
    {"IsNaN", 9, 1, 1, import_same, &op_is_nan},
    {"LeakyRelu", 1, 1, 1, import_with_alpha, &op_leaky_relu},
    {"Less", 1, 2, 2, import_binary_legacy, &op_less},
    {"Less", 7, 2, 2, import_same, &op_less},
    {"LessOrEqual", 12, 2, 2, import_same, &op_less_or_equal},
    {"Log", 1, 1, 1, import_same, &op_log},
    {"Max", 1, 1, -1, import_fold, &op_max},
    {"Mean", 1, 1, -1, import_mean, &op_add},
    {"Min", 1, 1, -1, import_fold, &op_min},
    {"Mish", 18, 1, 1, import_same, &op_mish},
    {"Mod", 10, 2, 2, import_mod, NULL},
    {"Mul", 1, 2, 2, import_binary_legacy, &op_mul},
    {"Mul", 7, 2, 2, import_same, &op_mul},
    {"Neg", 1, 1, 1, import_neg, NULL},
    {"Not", 1, 1, 1, import_same, &op_not},
    {"Or", 1, 2, 2, import_binary_legacy, &op_or},
    {"Or", 7, 2, 2, import_same, &op_or},
    {"PRelu", 1, 2, 2, import_prelu_legacy, NULL},
    {"PRelu", 7, 2, 2, import_same, &op_prelu},
    {"Pow", 1, 2, 2, import_binary_legacy, &op_pow},
    {"Pow", 7, 2, 2, import_pow, NULL},
    {"Reciprocal", 1, 1, 1, import_reciprocal, NULL},
    {"Relu", 1, 1, 1, import_same, &op_relu},
    {"Round", 11, 1, 1, import_same, &op_round},
    {"Selu", 1, 1, 1, import_selu_legacy, NULL},
    {"Selu", 6, 1, 1, import_same, &op_selu},
    {"Shrink", 9, 1, 1, import_shrink, NULL},
    {"Sigmoid", 1, 1, 1, import_same, &op_sigmoid},
    {"Sign", 9, 1, 1, import_same, &op_sign},
    {"Sin", 7, 1, 1, import_same, &op_sin},
    {"Sinh", 9, 1, 1, import_same, &op_sinh},
    {"Softplus", 1, 1, 1, import_same, &op_softplus},
    {"Softsign", 1, 1, 1, import_same, &op_softsign},
    {"Sqrt", 1, 1, 1, import_same, &op_sqrt},
    {"Sub", 1, 2, 2, import_binary_legacy, &op_sub},
    {"Sub", 7, 2, 2, import_same, &op_sub},
    {"Sum", 1, 1, -1, import_fold, &op_add},
    {"SwiGLU", 28, 2, 2, import_swiglu, NULL},
    {"Swish", 24, 1, 1, import_swish, NULL},
    {"Tan", 7, 1, 1, import_same, &op_tan},
    {"Tanh", 1, 1, 1, import_same, &op_tanh},
    {"ThresholdedRelu", 10, 1, 1, import_with_alpha, &op_thresholded_relu},
    {"Where", 9, 3, 3, import_same, &op_where},
    {"Xor", 1, 2, 2, import_binary_legacy, &op_xor},
    {"Xor", 7, 2, 2, import_same, &op_xor},
    {"com.microsoft.Gelu", 1, 1, 1, import_same, &op_gelu},
    {"com.microsoft.QuickGelu", 1, 1, 1, import_quick_gelu, NULL},
};

const OnnxRows onnx_elementwise = {rows, COUNT_OF(rows)};
