/*
 * activation.c -- activation functions, named in a layer's configuration or as layers of their own.
 *
 * Each function is an op with up to two parameters, or a few ops. hard_sigmoid changed between the versions:
 * clip(0.2 x + 0.5, 0, 1) in Keras 2, relu6(x + 3) / 6 in Keras 3.
 */
#include "frontend/keras/keras.h"
#include <math.h>
#include <string.h>

/* ---- building blocks ---- */

typedef struct Parameter {
  const char *name; /* of the op's attribute; NULL: the list ends here */
  double value;
} Parameter;

static Value *apply_op(Call *call, const Op *op, Value *x, const Parameter *parameters) {
  Node *node = node_new(call->builder, op, &x, 1);
  for (int i = 0; i < 2 && parameters[i].name; i++)
    node_set_float(node, parameters[i].name, parameters[i].value);
  return node_finish(node) ? result(node, 0) : NULL;
}

static Value *leaky_relu(Call *call, Value *x, double slope) {
  return apply_op(call, &op_leaky_relu, x, (Parameter[2]){{"alpha", slope}});
}

/* Along `axes`; a single axis is the op, several are written out. */
static Value *softmax_axes(Call *call, Value *x, const int64_t *axes, int count) {
  Builder *builder = call->builder;
  Node *node;
  if (count == 1) {
    node = node_new(builder, &op_softmax, &x, 1);
    node_set_int(node, "axis", axes[0]);
    return node_finish(node) ? result(node, 0) : NULL;
  }
  node = node_new(builder, &op_reduce_max, &x, 1);
  node_set_ints(node, "axes", axes, count);
  Value *y = node_finish(node) ? build_binary(builder, &op_sub, x, result(node, 0)) : NULL;
  if (y) y = build_unary(builder, &op_exp, y);
  if (!y) return NULL;
  node = node_new(builder, &op_reduce_sum, &y, 1);
  node_set_ints(node, "axes", axes, count);
  return node_finish(node) ? build_binary(builder, &op_div, y, result(node, 0)) : NULL;
}

/* ---- functions by name ---- */

typedef struct Function {
  const char *name;
  const Op *op; /* with these parameters ... */
  Parameter parameters[2];
  Value *(*build)(Call *call, Value *x); /* ... or built here */
} Function;

static Value *linear(Call *call, Value *x) {
  (void)call;
  return x;
}
static Value *relu6(Call *call, Value *x) {
  return make_clip(call, x, 0, 6);
}

static double hard_slope(const Call *call) {
  return call->import->container->major < 3 ? 0.2 : 1.0 / 6;
}

static Value *hard_sigmoid(Call *call, Value *x) {
  return apply_op(call, &op_hard_sigmoid, x, (Parameter[2]){{"alpha", hard_slope(call)}, {"beta", 0.5}});
}

static Value *softmax_last(Call *call, Value *x) {
  return softmax_axes(call, x, (int64_t[]){x->type->rank - 1}, 1);
}

#define SELU_ALPHA 1.6732632423543772
#define SELU_GAMMA 1.0507009873554805

static const Function functions[] = {
    {"elu", &op_elu, {{"alpha", 1}}, NULL},
    {"exponential", &op_exp, {{0}}, NULL},
    {"gelu", &op_gelu, {{0}}, NULL},
    {"hard_sigmoid", NULL, {{0}}, hard_sigmoid},
    {"hard_silu", &op_hard_swish, {{0}}, NULL},
    {"hard_swish", &op_hard_swish, {{0}}, NULL},
    {"leaky_relu", &op_leaky_relu, {{"alpha", 0.2}}, NULL},
    {"linear", NULL, {{0}}, linear},
    {"log_softmax", &op_log_softmax, {{0}}, NULL},
    {"mish", &op_mish, {{0}}, NULL},
    {"relu", &op_relu, {{0}}, NULL},
    {"relu6", NULL, {{0}}, relu6},
    {"selu", &op_selu, {{"alpha", SELU_ALPHA}, {"gamma", SELU_GAMMA}}, NULL},
    {"sigmoid", &op_sigmoid, {{0}}, NULL},
    {"silu", &op_silu, {{0}}, NULL},
    {"softmax", NULL, {{0}}, softmax_last},
    {"softplus", &op_softplus, {{0}}, NULL},
    {"softsign", &op_softsign, {{0}}, NULL},
    {"swish", &op_silu, {{0}}, NULL},
    {"tanh", &op_tanh, {{0}}, NULL},
};

/* NULL with a Diag. */
static const Function *function_named(Call *call, const char *name) {
  for (int i = 0; i < COUNT_OF(functions); i++)
    if (!strcmp(functions[i].name, name)) return &functions[i];
  return call_null(call, "its activation '%s' is not supported", name);
}

static Value *apply_named(Call *call, const char *name, Value *x) {
  const Function *function = function_named(call, name);
  if (!function) return NULL;
  return function->build ? function->build(call, x) : apply_op(call, function->op, x, function->parameters);
}

/* A layer given as an activation: {"class_name": "LeakyReLU", "config": {...}}. */
static Value *apply_layer(Call *call, const cJSON *object, Value *x) {
  const char *class_name = json_text(object, "class_name", "");
  for (const LayerKind *kind = activation_layers; kind->class_name; kind++) {
    if (strcmp(kind->class_name, class_name)) continue;
    Call inner = *call;
    inner.config = json_member(object, "config");
    inner.inputs = &x;
    inner.input_count = 1;
    return kind->build(&inner);
  }
  return call_null(call, "its activation '%s' is not supported", class_name);
}

/* null, "relu", {"class_name": "function", "config": "relu"} or a layer. */
Value *call_activation(Call *call, Value *x) {
  const cJSON *item = json_member(call->config, "activation");
  if (!item) return x;
  if (cJSON_IsString(item)) return apply_named(call, item->valuestring, x);
  const char *function = json_text(item, "config", NULL);
  return function ? apply_named(call, function, x) : apply_layer(call, item, x);
}

static double parameter(const Function *function, const char *name) {
  for (int i = 0; i < 2 && function->parameters[i].name; i++)
    if (!strcmp(function->parameters[i].name, name)) return function->parameters[i].value;
  return 0;
}

const Op *call_activation_op(Call *call, const char *member, const char *otherwise, double *alpha,
                             double *beta) {
  const cJSON *item = json_member(call->config, member);
  bool is_null = !item && cJSON_HasObjectItem(call->config, member);
  const char *name = is_null                ? "linear"
                     : cJSON_IsString(item) ? item->valuestring
                                            : json_text(item, "config", item ? "" : otherwise);
  const Function *function = function_named(call, name);
  if (!function) return NULL;
  *alpha = parameter(function, "alpha");
  *beta = parameter(function, "beta");
  if (!function->build) return function->op;
  if (function->build == linear) return *alpha = 1, &op_affine;
  if (function->build == hard_sigmoid) return *alpha = hard_slope(call), *beta = 0.5, &op_hard_sigmoid;
  return call_null(call, "its activation '%s' is not supported inside a recurrence", name);
}

/* ---- layers ---- */

static Value *activation(Call *call) {
  Value *x = call_float_input(call, 0);
  return x ? call_activation(call, x) : NULL;
}

static Value *elu_layer(Call *call) {
  Value *x = call_float_input(call, 0);
  return x ? apply_op(call, &op_elu, x, (Parameter[2]){{"alpha", json_number(call->config, "alpha", 1)}})
           : NULL;
}

/* Keras 2 says alpha, Keras 3 negative_slope. */
static Value *leaky_relu_layer(Call *call) {
  Value *x = call_float_input(call, 0);
  double slope = json_number(call->config, "negative_slope", json_number(call->config, "alpha", 0.3));
  return x ? leaky_relu(call, x, slope) : NULL;
}

/* min(max_value, x >= threshold ? x : slope * (x - threshold)) */
static Value *above_threshold(Call *call, Value *x, double threshold, double slope) {
  Builder *builder = call->builder;
  Value *limit = build_scalar(builder, x->type->dtype, threshold),
        *factor = build_scalar(builder, x->type->dtype, slope);
  Value *operands[3] = {build_binary(builder, &op_greater_or_equal, x, limit), x, NULL};
  Value *below = build_binary(builder, &op_sub, x, limit);
  operands[2] = below ? build_binary(builder, &op_mul, below, factor) : NULL;
  return operands[0] && operands[2] ? build_op(builder, &op_where, operands, 3) : NULL;
}

static Value *relu_layer(Call *call) {
  Value *x = call_float_input(call, 0);
  double high = json_number(call->config, "max_value", INFINITY);
  double slope = json_number(call->config, "negative_slope", 0),
         threshold = json_number(call->config, "threshold", 0);
  if (!x) return NULL;
  if (threshold == 0 && slope == 0)
    return isinf(high) ? build_unary(call->builder, &op_relu, x) : make_clip(call, x, 0, high);
  Value *y = threshold == 0 ? leaky_relu(call, x, slope) : above_threshold(call, x, threshold, slope);
  return y ? make_clip(call, y, -INFINITY, high) : NULL;
}

static Value *prelu_layer(Call *call) {
  Value *x = call_float_input(call, 0);
  int64_t any[MAX_RANK];
  if (!x) return NULL;
  for (int i = 0; i < MAX_RANK; i++) any[i] = -1;
  Value *alpha = call_weight(call, "alpha", x, x->type->rank - 1, any); /* 1 along shared axes */
  return alpha ? build_binary(call->builder, &op_prelu, x, alpha) : NULL;
}

/* What does not count gets a score that vanishes. */
static Value *without_masked(Call *call, Value *x, Value *mask) {
  Value *zero = build_scalar(call->builder, x->type->dtype, 0);
  Value *none = build_scalar(call->builder, x->type->dtype, MASKED_SCORE);
  return make_binary(call, &op_add, x, make_where(call, mask, zero, none));
}

static Value *softmax_layer(Call *call) {
  Value *x = call_float_input(call, 0);
  const cJSON *item = json_member(call->config, "axis");
  int64_t axes[MAX_RANK];
  if (x && call->masks[0]) x = without_masked(call, x, call->masks[0]);
  if (!x || !item) return x ? softmax_last(call, x) : NULL;
  int count = cJSON_IsArray(item) ? cJSON_GetArraySize(item) : 1;
  if (count < 1 || count > x->type->rank) return call_null(call, "it has %d axes", count);
  for (int i = 0; i < count; i++)
    if (!call_axis(call, cJSON_IsArray(item) ? json_at(item, i) : item, x->type->rank, &axes[i])) return NULL;
  return softmax_axes(call, x, axes, count);
}

static Value *thresholded_relu_layer(Call *call) {
  Value *x = call_float_input(call, 0);
  return x ? apply_op(call, &op_thresholded_relu, x,
                      (Parameter[2]){{"alpha", json_number(call->config, "theta", 1)}})
           : NULL;
}

const LayerKind activation_layers[] = {
    {"Activation", activation, 1, 1, NULL, MASK_PASSES},
    {"ELU", elu_layer, 1, 1, NULL, MASK_PASSES},
    {"LeakyReLU", leaky_relu_layer, 1, 1, NULL, MASK_PASSES},
    {"PReLU", prelu_layer, 1, 1, "alpha", MASK_PASSES},
    {"ReLU", relu_layer, 1, 1, NULL, MASK_PASSES},
    {"Softmax", softmax_layer, 1, 1, NULL, MASK_PASSES},
    {"ThresholdedReLU", thresholded_relu_layer, 1, 1, NULL, MASK_PASSES},
    {0},
};
