/*
 * operations_element.c -- operations on tensors that work element by element (see operations.c).
 */
#include "frontend/keras/operations.h"
#include <math.h>
#include <string.h>

/* ---- one operand ---- */

static const NamedOp unary[] = {
    {&op_abs, "Abs Absolute math.abs"},
    {&op_acos, "Arccos"},
    {&op_acosh, "Arccosh"},
    {&op_asin, "Arcsin"},
    {&op_asinh, "Arcsinh"},
    {&op_atan, "Arctan"},
    {&op_atanh, "Arctanh"},
    {&op_ceil, "Ceil math.ceil"},
    {&op_cos, "Cos math.cos"},
    {&op_cosh, "Cosh"},
    {&op_erf, "Erf math.erf"},
    {&op_exp, "Exp math.exp"},
    {&op_floor, "Floor math.floor"},
    {&op_hard_swish, "HardSilu"},
    {&op_is_nan, "Isnan"},
    {&op_log, "Log math.log"},
    {&op_not, "LogicalNot math.logical_not"},
    {&op_mish, "Mish"},
    {&op_neg, "Negative math.negative __operators__.neg"},
    {&op_relu, "Relu nn.relu"},
    {&op_round, "Round math.round"},
    {&op_selu, "Selu nn.selu"},
    {&op_sigmoid, "Sigmoid math.sigmoid nn.sigmoid"},
    {&op_sign, "Sign math.sign"},
    {&op_silu, "Silu nn.silu nn.swish"},
    {&op_sin, "Sin math.sin"},
    {&op_sinh, "Sinh"},
    {&op_softplus, "Softplus math.softplus"},
    {&op_softsign, "Softsign nn.softsign"},
    {&op_sqrt, "Sqrt math.sqrt"},
    {&op_tan, "Tan"},
    {&op_tanh, "Tanh math.tanh nn.tanh"},
};

/* Functions of floats take integers as f32. */
static Value *elementwise(Call *call) {
  const Op *op = op_named(unary, COUNT_OF(unary), call->layer->operation);
  Value *x = call->inputs[0];
  bool keeps = op == &op_abs || op == &op_neg || op == &op_sign || op == &op_not || op == &op_relu ||
               op == &op_floor || op == &op_ceil || op == &op_round;
  if (keeps && !dtype_is_float(x->type->dtype) && (op == &op_floor || op == &op_ceil || op == &op_round))
    return x;
  return make_unary(call, op, keeps || dtype_is_float(x->type->dtype) ? x : make_cast(call, x, DTYPE_F32));
}

static Value *square(Call *call) {
  return make_binary(call, &op_mul, call->inputs[0], call->inputs[0]);
}
static Value *reciprocal(Call *call) {
  Value *x = op_floats(call);
  return make_binary(call, &op_div, x ? build_scalar(call->builder, x->type->dtype, 1) : NULL, x);
}
static Value *reciprocal_root(Call *call) {
  Value *x = make_unary(call, &op_sqrt, op_floats(call));
  return make_binary(call, &op_div, x ? build_scalar(call->builder, x->type->dtype, 1) : NULL, x);
}
static Value *log1p_(Call *call) {
  return make_unary(call, &op_log, make_number(call, &op_add, op_floats(call), 1));
}
static Value *expm1_(Call *call) {
  return make_number(call, &op_sub, make_unary(call, &op_exp, op_floats(call)), 1);
}
static Value *log2_(Call *call) {
  return make_number(call, &op_mul, make_unary(call, &op_log, op_floats(call)), 1 / log(2));
}
static Value *log10_(Call *call) {
  return make_number(call, &op_mul, make_unary(call, &op_log, op_floats(call)), 1 / log(10));
}
static Value *relu6(Call *call) {
  return make_clip(call, op_floats(call), 0, 6);
}
static Value *hard_tanh(Call *call) {
  return make_clip(call, op_floats(call), -1, 1);
}

static Value *with_factor(Call *call, const Op *op, const char *attribute, double factor) {
  Value *x = op_floats(call);
  if (!x) return NULL;
  Node *node = node_new(call->builder, op, &x, 1);
  node_set_float(node, attribute, factor);
  return make(node);
}

static Value *leaky_relu(Call *call) {
  return with_factor(call, &op_leaky_relu, "alpha",
                     op_number(call, 1, "negative_slope", op_number(call, 1, "alpha", 0.2)));
}
static Value *elu(Call *call) {
  return with_factor(call, &op_elu, "alpha", op_number(call, 1, "alpha", 1));
}
static Value *celu(Call *call) {
  return with_factor(call, &op_celu, "alpha", op_number(call, 1, "alpha", 1));
}
static Value *hard_sigmoid(Call *call) {
  Value *x = op_floats(call);
  if (!x) return NULL;
  Node *node = node_new(call->builder, &op_hard_sigmoid, &x, 1);
  node_set_float(node, "alpha", 1.0 / 6);
  node_set_float(node, "beta", 0.5);
  return make(node);
}

static Value *gelu(Call *call) {
  bool is_keras3 = call->import->container->major >= 3;
  Value *x = op_floats(call);
  if (!x) return NULL;
  Node *node = node_new(call->builder, &op_gelu, &x, 1);
  if (op_flag(call, 1, "approximate", is_keras3)) node_set_string(node, "approximate", "tanh");
  return make(node);
}

static Value *clip(Call *call) {
  bool is_keras = cJSON_HasObjectItem(call->config, "x_min");
  Value *x = call->inputs[0];
  double low = op_number(call, 1, is_keras ? "x_min" : "clip_value_min", -INFINITY);
  double high = op_number(call, 2, is_keras ? "x_max" : "clip_value_max", INFINITY);
  return make_clip(call, x, low, high);
}

static Value *cast(Call *call) {
  const cJSON *item = op_param(call, 1, "dtype");
  Dtype dtype = op_dtype(item, DTYPE_NONE);
  if (dtype == DTYPE_NONE) return call_null(call, "its dtype is not supported");
  return make_cast(call, call->inputs[0], dtype);
}

static Value *identity(Call *call) {
  call->mask = call->masks[0];
  return call->inputs[0];
}

static Value *fill_like(Call *call) {
  bool ones = strstr(call->layer->operation, "nes") != NULL;
  const Type *type = call->inputs[0]->type;
  return make_broadcast(call, build_scalar(call->builder, type->dtype, ones), type);
}

/* ---- two operands ---- */

static const NamedOp binary[] = {
    {&op_add, "Add __operators__.add math.add nn.bias_add"},
    {&op_div, "Divide TrueDivide __operators__.truediv math.truediv math.divide math.divide_no_nan"},
    {&op_div, "FloorDivide __operators__.floordiv"},
    {&op_mul, "Multiply __operators__.mul math.multiply"},
    {&op_sub, "Subtract __operators__.sub math.subtract"},
    {&op_max, "Maximum math.maximum"},
    {&op_min, "Minimum math.minimum"},
    {&op_pow, "Power __operators__.pow math.pow"},
    {&op_equal, "Equal math.equal __operators__.eq"},
    {&op_equal, "NotEqual math.not_equal __operators__.ne"},
    {&op_greater, "Greater math.greater __operators__.gt"},
    {&op_greater_or_equal, "GreaterEqual math.greater_equal __operators__.ge"},
    {&op_less, "Less math.less __operators__.lt"},
    {&op_less_or_equal, "LessEqual math.less_equal __operators__.le"},
    {&op_and, "LogicalAnd math.logical_and"},
    {&op_or, "LogicalOr math.logical_or"},
    {&op_mod, "Mod math.floormod __operators__.mod math.mod"},
};

/* The type that holds both: floats before integers, then the wider. */
static Dtype common_dtype(Dtype a, Dtype b) {
  int rank_a = dtype_is_float(a) ? 1000
               : a == DTYPE_BOOL ? 0
                                 : 500,
      rank_b = dtype_is_float(b) ? 1000
               : b == DTYPE_BOOL ? 0
                                 : 500;
  rank_a += a == DTYPE_BOOL ? 0 : dtype_bits(a);
  rank_b += b == DTYPE_BOOL ? 0 : dtype_bits(b);
  return rank_a >= rank_b ? a : b;
}

static bool is_number(Call *call, const cJSON *item) {
  Masked found;
  return item && !call_find(call, item, &found);
}

/* Both operands, of one dtype. */
bool op_two_operands(Call *call, Value **a, Value **b) {
  static const char *const names[][2] = {{"x1", "x2"}, {"x", "y"}, {"a", "b"}, {"value", "bias"}};
  const cJSON *items[2] = {call_argument(call, 0, "x1"), call_argument(call, 1, "x2")};
  for (int i = 1; i < COUNT_OF(names); i++)
    for (int k = 0; k < 2; k++)
      if (!items[k]) items[k] = call_argument(call, -1, names[i][k]);
  if (!items[0] || !items[1]) return call_fail(call, "it needs two operands");
  bool numbers[2] = {is_number(call, items[0]), is_number(call, items[1])};
  Value *x = numbers[0] ? NULL : op_value(call, items[0], DTYPE_NONE);
  Value *y = op_value(call, items[1], numbers[1] && x ? x->type->dtype : DTYPE_NONE);
  if (!x) x = op_value(call, items[0], y && !numbers[1] ? y->type->dtype : DTYPE_NONE);
  if (!x || !y) return false;
  Dtype dtype = common_dtype(x->type->dtype, y->type->dtype);
  *a = make_cast(call, x, dtype);
  *b = make_cast(call, y, dtype);
  return *a && *b;
}

static Value *floored(Call *call, const Op *op, Value *a, Value *b) {
  Dtype dtype = a->type->dtype, wide = dtype == DTYPE_F64      ? DTYPE_F64
                                       : dtype_is_float(dtype) ? dtype
                                                               : DTYPE_F64;
  Value *y =
      make_unary(call, &op_floor, make_binary(call, op, make_cast(call, a, wide), make_cast(call, b, wide)));
  return make_cast(call, y, dtype);
}

static Value *pairwise(Call *call) {
  const char *name = call->layer->operation;
  const Op *op = op_named(binary, COUNT_OF(binary), name);
  Value *a, *b;
  if (!op_two_operands(call, &a, &b)) return NULL;
  if (strstr(name, "loor") && op == &op_div) return floored(call, op, a, b);
  if (op == &op_div && !dtype_is_float(a->type->dtype)) {
    a = make_cast(call, a, DTYPE_F32);
    b = make_cast(call, b, DTYPE_F32);
  }
  Value *y = make_binary(call, op, a, b);
  if (!strcmp(name, "math.divide_no_nan"))
    y = make_where(call, make_number(call, &op_equal, b, 0), make_number(call, &op_mul, b, 0), y);
  bool is_not = strstr(name, "NotEqual") || strstr(name, "not_equal") || strstr(name, ".ne");
  return op == &op_equal && is_not ? make_unary(call, &op_not, y) : y;
}

static Value *squared_difference(Call *call) {
  Value *a, *b;
  if (!op_two_operands(call, &a, &b)) return NULL;
  Value *d = make_binary(call, &op_sub, a, b);
  return make_binary(call, &op_mul, d, d);
}

static Value *add_all(Call *call) {
  Value *sum = call->inputs[0];
  for (int i = 1; i < call->input_count; i++) sum = make_binary(call, &op_add, sum, call->inputs[i]);
  return sum;
}

static Value *where(Call *call) {
  bool is_keras3 = call->from && call->from->is_keras3;
  Value *condition = op_operand(call, 0, "condition");
  const cJSON *items[2] = {op_param(call, 1, is_keras3 ? "x1" : "x"),
                           op_param(call, 2, is_keras3 ? "x2" : "y")};
  if (!items[0] || !items[1]) return call_null(call, "it needs two values to choose from");
  Value *x = is_number(call, items[0]) ? NULL : op_value(call, items[0], DTYPE_NONE);
  Value *y = op_value(call, items[1], x ? x->type->dtype : DTYPE_NONE);
  if (!x) x = op_value(call, items[0], y ? y->type->dtype : DTYPE_NONE);
  if (!x || !y || !condition) return NULL;
  Dtype dtype = common_dtype(x->type->dtype, y->type->dtype);
  return make_where(call, make_cast(call, condition, DTYPE_BOOL), make_cast(call, x, dtype),
                    make_cast(call, y, dtype));
}

/* ---- the tables ---- */

const LayerKind *element_operation(const char *name) {
  static const LayerKind of_one = {"", elementwise, 1, 1, NULL, MASK_PASSES};
  static const LayerKind of_two = {"", pairwise, 1, 2, NULL, MASK_ENDS};
  if (op_named(unary, COUNT_OF(unary), name)) return &of_one;
  return op_named(binary, COUNT_OF(binary), name) ? &of_two : NULL;
}

/* The rest. */
const LayerKind element_operations[] = {
    {"Square", square, 1, 1, NULL, MASK_PASSES},
    {"math.square", square, 1, 1, NULL, MASK_PASSES},
    {"Reciprocal", reciprocal, 1, 1, NULL, MASK_PASSES},
    {"math.reciprocal", reciprocal, 1, 1, NULL, MASK_PASSES},
    {"Rsqrt", reciprocal_root, 1, 1, NULL, MASK_ENDS},
    {"math.rsqrt", reciprocal_root, 1, 1, NULL, MASK_ENDS},
    {"Log1p", log1p_, 1, 1, NULL, MASK_ENDS},
    {"math.log1p", log1p_, 1, 1, NULL, MASK_ENDS},
    {"Expm1", expm1_, 1, 1, NULL, MASK_ENDS},
    {"math.expm1", expm1_, 1, 1, NULL, MASK_ENDS},
    {"Log2", log2_, 1, 1, NULL, MASK_ENDS},
    {"Log10", log10_, 1, 1, NULL, MASK_ENDS},
    {"Relu6", relu6, 1, 1, NULL, MASK_PASSES},
    {"nn.relu6", relu6, 1, 1, NULL, MASK_PASSES},
    {"HardTanh", hard_tanh, 1, 1, NULL, MASK_ENDS},
    {"LeakyRelu", leaky_relu, 1, 1, NULL, MASK_PASSES},
    {"nn.leaky_relu", leaky_relu, 1, 1, NULL, MASK_PASSES},
    {"Elu", elu, 1, 1, NULL, MASK_PASSES},
    {"nn.elu", elu, 1, 1, NULL, MASK_PASSES},
    {"Celu", celu, 1, 1, NULL, MASK_ENDS},
    {"HardSigmoid", hard_sigmoid, 1, 1, NULL, MASK_PASSES},
    {"Gelu", gelu, 1, 1, NULL, MASK_PASSES},
    {"nn.gelu", gelu, 1, 1, NULL, MASK_PASSES},
    {"Clip", clip, 1, 1, NULL, MASK_PASSES},
    {"clip_by_value", clip, 1, 1, NULL, MASK_PASSES},
    {"Cast", cast, 1, 1, NULL, MASK_PASSES},
    {"cast", cast, 1, 1, NULL, MASK_PASSES},
    {"Identity", identity, 1, 1, NULL, MASK_OWN},
    {"StopGradient", identity, 1, 1, NULL, MASK_OWN},
    {"identity", identity, 1, 1, NULL, MASK_OWN},
    {"stop_gradient", identity, 1, 1, NULL, MASK_OWN},
    {"convert_to_tensor", identity, 1, 1, NULL, MASK_OWN},
    {"ConvertToTensor", identity, 1, 1, NULL, MASK_OWN},
    {"nn.dropout", identity, 1, 1, NULL, MASK_OWN},
    {"OnesLike", fill_like, 1, 1, NULL, MASK_ENDS},
    {"ZerosLike", fill_like, 1, 1, NULL, MASK_ENDS},
    {"ones_like", fill_like, 1, 1, NULL, MASK_ENDS},
    {"zeros_like", fill_like, 1, 1, NULL, MASK_ENDS},
    {"math.squared_difference", squared_difference, 1, 2, NULL, MASK_ENDS},
    {"Where", where, 1, 3, NULL, MASK_ENDS},
    {"where", where, 1, 3, NULL, MASK_ENDS},
    {"math.add_n", add_all, 1, 0, NULL, MASK_ENDS},
    {0},
};
