/*
 * operations.c -- operations that a model calls directly on tensors: of keras.ops (Keras 3, by their class:
 * Add, Multiply) and of TensorFlow (Keras 2, by their function: math.add, nn.relu). They look like layers,
 * but take arguments by position and name, tensors or numbers; parameters stand there or, in Keras 3, in the
 * configuration. This file has those that work element by element or along axes, operations_shape.c those
 * that move elements.
 *
 * Numbers take the type of the tensor that they meet, unless they are fractions and it has integers.
 */
#include "frontend/keras/operations.h"
#include "frontend/einsum.h"
#include <math.h>
#include <string.h>

/* ---- parameters ---- */

const cJSON *op_param(const Call *call, int position, const char *name) {
  const cJSON *item = call_argument(call, position, name);
  return item ? item : json_member(call->config, name);
}

bool op_flag(const Call *call, int position, const char *name, bool otherwise) {
  const cJSON *item = op_param(call, position, name);
  return cJSON_IsBool(item) ? cJSON_IsTrue(item) : otherwise;
}

double op_number(const Call *call, int position, const char *name, double otherwise) {
  const cJSON *item = op_param(call, position, name);
  return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

bool op_axes_param(Call *call, const cJSON *item, int rank, int64_t *axes, int *count) {
  *count = cJSON_IsArray(item) ? cJSON_GetArraySize(item) : item != NULL;
  if (*count > rank) return call_fail(call, "it has %d axes for a tensor of %d", *count, rank);
  for (int i = 0; i < *count; i++)
    TRY(call_axis(call, cJSON_IsArray(item) ? json_at(item, i) : item, rank, &axes[i]));
  return true;
}

const Dim *op_dim(Call *call, const cJSON *item) {
  Masked found;
  int64_t value;
  int count = 0;
  if (json_integer(item, &value)) return dim_const(call->import->module, value);
  const Dim *const *known = call_find(call, item, &found) ? value_known(found.value, &count) : NULL;
  return known && count == 1 ? known[0] : call_null(call, "a size of its arguments is not known");
}

Dtype op_dtype(const cJSON *item, Dtype otherwise) {
  static const struct {
    const char *name;
    Dtype dtype;
  } names[] = {{"bool", DTYPE_BOOL},   {"bfloat16", DTYPE_BF16}, {"float16", DTYPE_F16},
               {"float32", DTYPE_F32}, {"float64", DTYPE_F64},   {"int8", DTYPE_I8},
               {"int16", DTYPE_I16},   {"int32", DTYPE_I32},     {"int64", DTYPE_I64},
               {"uint8", DTYPE_U8},    {"uint16", DTYPE_U16},    {"uint32", DTYPE_U32},
               {"uint64", DTYPE_U64}};
  const char *name =
      cJSON_IsString(item) ? item->valuestring : json_text(json_member(item, "config"), "name", "");
  for (int i = 0; i < COUNT_OF(names); i++)
    if (!strcmp(names[i].name, name)) return names[i].dtype;
  return otherwise;
}

/* ---- numbers as constants ---- */

typedef struct Numbers {
  double *values;
  int64_t count;
  int rank;
  int64_t dims[MAX_RANK];
  bool fractions, bools;
} Numbers;

enum { MAX_NUMBERS = 1 << 22 };

/* Nested lists of equal lengths, row-major. */
static bool read_numbers(Call *call, const cJSON *item, int depth, Numbers *n) {
  const cJSON *child;
  if (cJSON_IsArray(item)) {
    int64_t size = cJSON_GetArraySize(item);
    if (depth >= MAX_RANK || (depth < n->rank && n->dims[depth] != size))
      return call_fail(call, "its constant is no tensor");
    if (depth >= n->rank) n->dims[n->rank++] = size;
    cJSON_ArrayForEach(child, item) TRY(read_numbers(call, child, depth + 1, n));
    return true;
  }
  bool is_bool = cJSON_IsBool(item);
  if ((!is_bool && !cJSON_IsNumber(item)) || depth != n->rank || n->count == MAX_NUMBERS)
    return call_fail(call, "one of its arguments is neither a tensor nor a number");
  double value = is_bool ? cJSON_IsTrue(item) : item->valuedouble;
  if (n->values) n->values[n->count] = value;
  n->count++;
  n->bools |= is_bool;
  n->fractions |= !is_bool && value != floor(value);
  return true;
}

Value *op_value(Call *call, const cJSON *item, Dtype dtype) {
  Masked found;
  Module *module = call->import->module;
  if (!item) return call_null(call, "an argument is missing");
  if (call_find(call, item, &found)) return found.value;
  if (cJSON_IsArray(item) &&
      !strcmp(cJSON_IsString(item->child) ? item->child->valuestring : "", "_CONSTANT_VALUE"))
    item = json_at(item, 2);
  if (cJSON_IsObject(item)) { /* __numpy__, __tensor__ */
    const cJSON *config = json_member(item, "config");
    if (dtype == DTYPE_NONE) dtype = op_dtype(json_member(config, "dtype"), DTYPE_NONE);
    item = json_member(config, "value");
  }
  Numbers n = {0};
  if (!read_numbers(call, item, 0, &n)) return NULL;
  n = (Numbers){.values = NEW_ARRAY(module->arena, double, n.count)};
  read_numbers(call, item, 0, &n);
  if (dtype == DTYPE_NONE) dtype = n.bools ? DTYPE_BOOL : n.fractions ? DTYPE_F32 : DTYPE_I32;
  if (n.fractions && !dtype_is_float(dtype)) dtype = DTYPE_F32;
  const Type *type = type_static(module, dtype, n.rank, n.dims);
  Data *data = data_new(module, dtype, n.count);
  for (int64_t i = 0; i < n.count; i++) dtype_set(dtype, data_bytes(data), i, n.values[i]);
  return build_const(call->builder, type, data, NULL);
}

Value *op_operand(Call *call, int position, const char *name) {
  const cJSON *item = op_param(call, position, name);
  if (!item && position < call->input_count) return call->inputs[position];
  return op_value(call, item, DTYPE_NONE);
}

/* ---- one operand ---- */

typedef struct Element {
  const Op *op;
  const char *names; /* the class of keras.ops, then TensorFlow's functions */
} Element;

static const Element unary[] = {
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

/* The operator that has that word among its names. */
static const Op *op_named(const Element *list, int count, const char *name) {
  size_t length = strlen(name);
  for (int i = 0; length && i < count; i++)
    for (const char *at = list[i].names; (at = strstr(at, name)); at++)
      if ((at == list[i].names || at[-1] == ' ') && (at[length] == ' ' || !at[length])) return list[i].op;
  return NULL;
}

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

static Value *floats(Call *call) {
  Value *x = call->inputs[0];
  return dtype_is_float(x->type->dtype) ? x : make_cast(call, x, DTYPE_F32);
}

static Value *square(Call *call) {
  return make_binary(call, &op_mul, call->inputs[0], call->inputs[0]);
}
static Value *reciprocal(Call *call) {
  Value *x = floats(call);
  return make_binary(call, &op_div, x ? build_scalar(call->builder, x->type->dtype, 1) : NULL, x);
}
static Value *reciprocal_root(Call *call) {
  Value *x = make_unary(call, &op_sqrt, floats(call));
  return make_binary(call, &op_div, x ? build_scalar(call->builder, x->type->dtype, 1) : NULL, x);
}
static Value *log1p_(Call *call) {
  return make_unary(call, &op_log, make_number(call, &op_add, floats(call), 1));
}
static Value *expm1_(Call *call) {
  return make_number(call, &op_sub, make_unary(call, &op_exp, floats(call)), 1);
}
static Value *log2_(Call *call) {
  return make_number(call, &op_mul, make_unary(call, &op_log, floats(call)), 1 / log(2));
}
static Value *log10_(Call *call) {
  return make_number(call, &op_mul, make_unary(call, &op_log, floats(call)), 1 / log(10));
}
static Value *relu6(Call *call) {
  return make_clip(call, floats(call), 0, 6);
}
static Value *hard_tanh(Call *call) {
  return make_clip(call, floats(call), -1, 1);
}

static Value *with_factor(Call *call, const Op *op, const char *attribute, double factor) {
  Value *x = floats(call);
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
  Value *x = floats(call);
  if (!x) return NULL;
  Node *node = node_new(call->builder, &op_hard_sigmoid, &x, 1);
  node_set_float(node, "alpha", 1.0 / 6);
  node_set_float(node, "beta", 0.5);
  return make(node);
}

static Value *gelu(Call *call) {
  bool is_keras3 = call->import->container->major >= 3;
  Value *x = floats(call);
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

static const Element binary[] = {
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
static bool two_operands(Call *call, Value **a, Value **b) {
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
  if (!two_operands(call, &a, &b)) return NULL;
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
  if (!two_operands(call, &a, &b)) return NULL;
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

/* ---- products ---- */

static Value *transposed_if(Call *call, Value *x, bool is_transposed) {
  return is_transposed && x ? make_move_axis(call, x, x->type->rank - 1, x->type->rank - 2) : x;
}

static Value *matmul(Call *call) {
  Value *a, *b;
  if (!two_operands(call, &a, &b)) return NULL;
  return make_binary(call, &op_matmul, transposed_if(call, a, op_flag(call, 2, "transpose_a", false)),
                     transposed_if(call, b, op_flag(call, 3, "transpose_b", false)));
}

/* The equation of Keras 3 is in the configuration; TensorFlow's comes first among the arguments, or by name.
 */
static const char *equation_of(const Call *call) {
  const cJSON *item = op_param(call, -1, "subscripts");
  if (!item) item = op_param(call, -1, "equation");
  if (!item && call->from) item = json_at(call->from->args, 2);
  return cJSON_IsString(item) ? item->valuestring : NULL;
}

static Value *einsum(Call *call) {
  const char *equation = equation_of(call), *problem = NULL;
  if (!equation) return call_null(call, "it has no equation");
  Value *y = build_einsum(call->builder, equation, call->inputs, call->input_count, &problem);
  return y || !problem ? y : call_null(call, "%s", problem);
}

/* ---- along axes ---- */

static const Element reductions[] = {
    {&op_reduce_max, "Max Amax math.reduce_max Any math.reduce_any"},
    {&op_reduce_mean, "Mean math.reduce_mean Average"},
    {&op_reduce_min, "Min Amin math.reduce_min All math.reduce_all"},
    {&op_reduce_prod, "Prod math.reduce_prod"},
    {&op_reduce_sum, "Sum math.reduce_sum"},
};

/* What is reduced: the axes of the call, absent: all. */
static bool reduced_axes(Call *call, int rank, int64_t *axes, int *count) {
  TRY(op_axes_param(call, op_param(call, 1, "axis"), rank, axes, count));
  for (; *count == 0 && *count < rank;)
    for (int i = 0; i < rank; i++) axes[(*count)++] = i;
  return true;
}

static Value *without_axes(Call *call, Value *x, const int64_t *axes, int count) {
  const Dim *dims[MAX_RANK];
  int rank = 0;
  for (int i = 0; x && i < x->type->rank; i++) {
    bool goes = false;
    for (int k = 0; k < count; k++) goes |= axes[k] == i;
    if (!goes) dims[rank++] = x->type->dims[i];
  }
  return make_reshape(call, x, rank, dims);
}

static Value *keep_axes(Call *call, Value *y, const int64_t *axes, int count) {
  return op_flag(call, 2, "keepdims", false) ? y : without_axes(call, y, axes, count);
}

static Value *reduction(Call *call) {
  const char *name = call->layer->operation;
  const Op *op = op_named(reductions, COUNT_OF(reductions), name);
  Value *x = call->inputs[0];
  int64_t axes[MAX_RANK];
  int count;
  if (!reduced_axes(call, x->type->rank, axes, &count)) return NULL;
  bool is_logical = strstr("Any All math.reduce_any math.reduce_all", name) != NULL;
  if (is_logical)
    x = make_cast(call, x, DTYPE_BOOL);
  else if (op == &op_reduce_mean)
    x = floats(call);
  return keep_axes(call, make_reduce(call, op, x, axes, count), axes, count);
}

static Value *variance(Call *call) {
  Value *x = floats(call);
  int64_t axes[MAX_RANK];
  int count;
  if (!x || !reduced_axes(call, x->type->rank, axes, &count)) return NULL;
  Value *rest = make_binary(call, &op_sub, x, make_reduce(call, &op_reduce_mean, x, axes, count));
  Value *y = make_reduce(call, &op_reduce_mean, make_binary(call, &op_mul, rest, rest), axes, count);
  const char *name = call->layer->operation;
  if (!strcmp(name, "Std") || !strcmp(name, "math.reduce_std")) y = make_unary(call, &op_sqrt, y);
  return keep_axes(call, y, axes, count);
}

static Value *log_sum_exp(Call *call) {
  Value *x = floats(call);
  int64_t axes[MAX_RANK];
  int count;
  if (!x || !reduced_axes(call, x->type->rank, axes, &count)) return NULL;
  Value *most = make_reduce(call, &op_reduce_max, x, axes, count);
  Value *sum = make_reduce(call, &op_reduce_sum,
                           make_unary(call, &op_exp, make_binary(call, &op_sub, x, most)), axes, count);
  return keep_axes(call, make_binary(call, &op_add, make_unary(call, &op_log, sum), most), axes, count);
}

static Value *length(Call *call) {
  Value *x = floats(call);
  int64_t axes[MAX_RANK];
  int count;
  const cJSON *order = op_param(call, -1, "ord");
  bool euclidean = !order || (cJSON_IsString(order) && !strcmp(order->valuestring, "euclidean")) ||
                   (cJSON_IsNumber(order) && order->valuedouble == 2);
  if (!euclidean) return call_null(call, "only the euclidean length is supported");
  if (!x || !reduced_axes(call, x->type->rank, axes, &count)) return NULL;
  Value *y = make_reduce(call, &op_reduce_sum, make_binary(call, &op_mul, x, x), axes, count);
  return keep_axes(call, make_unary(call, &op_sqrt, y), axes, count);
}

static Value *normalize(Call *call) {
  Value *x = floats(call);
  int64_t axes[MAX_RANK];
  int count;
  if (!x || !reduced_axes(call, x->type->rank, axes, &count)) return NULL;
  if (op_number(call, -1, "order", 2) != 2) return call_null(call, "only the euclidean length is supported");
  return make_unit(call, x, axes, count, op_number(call, -1, "epsilon", 1e-7));
}

static Value *softmax(Call *call) {
  Value *x = floats(call);
  int64_t axis = x ? x->type->rank - 1 : 0;
  const cJSON *item = op_param(call, 1, "axis");
  if (!x || (item && !call_axis(call, item, x->type->rank, &axis))) return NULL;
  bool is_log = strstr(call->layer->operation, "og") != NULL;
  Node *node = node_new(call->builder, is_log ? &op_log_softmax : &op_softmax, &x, 1);
  node_set_int(node, "axis", axis);
  return make(node);
}

static Value *arg_extreme(Call *call) {
  Value *x = call->inputs[0];
  int64_t axis = 0;
  const cJSON *item = op_param(call, 1, "axis");
  bool is_max = strstr(call->layer->operation, "max") != NULL,
       all = !item && call->from && call->from->is_keras3;
  if (all) {
    const Dim *flat = type_count(call->import->module, x->type);
    x = make_reshape(call, x, 1, &flat);
  }
  if (!x || (item && !call_axis(call, item, x->type->rank, &axis))) return NULL;
  Node *node = node_new(call->builder, is_max ? &op_arg_max : &op_arg_min, &x, 1);
  node_set_int(node, "axis", axis);
  Value *y = make(node);
  return op_flag(call, 2, "keepdims", false) ? y : make_squeeze(call, y, (int)axis);
}

static Value *running(Call *call) {
  Value *x = call->inputs[0];
  int64_t axis = 0;
  const cJSON *item = op_param(call, 1, "axis");
  if (item && !call_axis(call, item, x->type->rank, &axis)) return NULL;
  bool is_sum = strstr(call->layer->operation, "sum") != NULL;
  Node *node = node_new(call->builder, is_sum ? &op_cum_sum : &op_cum_prod, &x, 1);
  node_set_int(node, "axis", axis);
  return make(node);
}

/* ---- the tables ---- */

const LayerKind *element_operation(const char *name) {
  static const LayerKind of_one = {"", elementwise, 1, 1, NULL, MASK_PASSES};
  static const LayerKind of_two = {"", pairwise, 1, 2, NULL, MASK_ENDS};
  static const LayerKind along_axes = {"", reduction, 1, 1, NULL, MASK_ENDS};
  if (op_named(unary, COUNT_OF(unary), name)) return &of_one;
  if (op_named(binary, COUNT_OF(binary), name)) return &of_two;
  return op_named(reductions, COUNT_OF(reductions), name) ? &along_axes : NULL;
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
    {"Matmul", matmul, 1, 2, NULL, MASK_ENDS},
    {"linalg.matmul", matmul, 1, 2, NULL, MASK_ENDS},
    {"Var", variance, 1, 1, NULL, MASK_ENDS},
    {"Std", variance, 1, 1, NULL, MASK_ENDS},
    {"math.reduce_variance", variance, 1, 1, NULL, MASK_ENDS},
    {"math.reduce_std", variance, 1, 1, NULL, MASK_ENDS},
    {"Logsumexp", log_sum_exp, 1, 1, NULL, MASK_ENDS},
    {"math.reduce_logsumexp", log_sum_exp, 1, 1, NULL, MASK_ENDS},
    {"Norm", length, 1, 1, NULL, MASK_ENDS},
    {"norm", length, 1, 1, NULL, MASK_ENDS},
    {"Normalize", normalize, 1, 1, NULL, MASK_ENDS},
    {"math.l2_normalize", normalize, 1, 1, NULL, MASK_ENDS},
    {"linalg.l2_normalize", normalize, 1, 1, NULL, MASK_ENDS},
    {"Softmax", softmax, 1, 1, NULL, MASK_ENDS},
    {"LogSoftmax", softmax, 1, 1, NULL, MASK_ENDS},
    {"nn.softmax", softmax, 1, 1, NULL, MASK_ENDS},
    {"nn.log_softmax", softmax, 1, 1, NULL, MASK_ENDS},
    {"Argmax", arg_extreme, 1, 1, NULL, MASK_ENDS},
    {"Argmin", arg_extreme, 1, 1, NULL, MASK_ENDS},
    {"math.argmax", arg_extreme, 1, 1, NULL, MASK_ENDS},
    {"math.argmin", arg_extreme, 1, 1, NULL, MASK_ENDS},
    {"Cumsum", running, 1, 1, NULL, MASK_ENDS},
    {"Cumprod", running, 1, 1, NULL, MASK_ENDS},
    {"math.cumsum", running, 1, 1, NULL, MASK_ENDS},
    {"math.cumprod", running, 1, 1, NULL, MASK_ENDS},
    {"Einsum", einsum, 1, 0, NULL, MASK_ENDS},
    {"einsum", einsum, 1, 0, NULL, MASK_ENDS},
    {"math.add_n", add_all, 1, 0, NULL, MASK_ENDS},
    {0},
};
