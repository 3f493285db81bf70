/*
 * rules/scale.c -- constants per channel move into the weights and bias of the linear op beside them.
 *
 *   conv(x, w, b) * s       ->  conv(x, w*s, b*s)              s per result channel
 *   conv(x, w, b) + t       ->  conv(x, w, b+t)
 *   conv(x*s, w, b)         ->  conv(x, w*s, b)                s per input channel
 *   conv(x+t, w, b)         ->  conv(x, w, b + sum(w*t))       only where no padding hides a t
 *
 * and so for gemm, matmul and conv_transpose, in every layout: which axis of the weights a channel is comes
 * from the axis map. This is batch-norm folding, once batch_norm is expanded. w*s stays a node that fold
 * evaluates.
 */
#include "passes/rewrite.h"

/* Ops that are linear in operands 0 and 1. */
typedef struct Linear {
  const Op *op;
  bool has_bias;  /* operand 2 is added, and is a vector of result channels (or broadcasts, for gemm) */
  bool every_tap; /* without padding, each result element sees every weight of its channel */
} Linear;

static const Linear linears[] = {
    {&op_conv, true, true},
    {&op_conv_transpose, true, false},
    {&op_gemm, true, true},
    {&op_matmul, false, true},
};

static const Linear *linear_find(const Node *node) {
  for (int i = 0; node && i < COUNT_OF(linears); i++)
    if (linears[i].op == node->op) return &linears[i];
  return NULL;
}

/* `node` is linear, its weights and bias are constants and floats, of the type of its result. */
static const Linear *linear_foldable(const Node *node) {
  const Linear *linear = linear_find(node);
  if (!linear || !value_is_constant(operand(node, 1))) return NULL;
  Dtype dtype = result(node, 0)->type->dtype;
  if (!dtype_is_float(dtype) || operand(node, 1)->type->dtype != dtype) return NULL;
  return !operand(node, 2) || value_is_constant(operand(node, 2)) ? linear : NULL;
}

enum { AXIS_NONE = -1, AXIS_UNIFORM = -2 };

/* The one axis of `type` along which the broadcast constant varies; AXIS_UNIFORM for a single number. */
static int channel_axis(const Value *constant, const Type *type) {
  int shift = type->rank - constant->type->rank, axis = AXIS_UNIFORM;
  if (shift < 0 || constant->type->dtype != type->dtype) return AXIS_NONE;
  for (int i = 0; i < constant->type->rank; i++) {
    if (dim_is(constant->type->dims[i], 1)) continue;
    if (axis != AXIS_UNIFORM || constant->type->dims[i] != type->dims[i + shift]) return AXIS_NONE;
    axis = i + shift;
  }
  return axis;
}

/* The axis of the weights that is result axis `axis`, index for index; AXIS_NONE when there is none. */
static int weight_result_axis(const Node *node, int axis) {
  AxisLink links[MAX_RANK];
  op_axes(node, 1, links);
  for (int i = 0; i < operand(node, 1)->type->rank; i++)
    if (links[i].role == AXIS_SAME && links[i].axis == axis) return i;
  return AXIS_NONE;
}

/* The result axis that the weights own: the channels. */
static int linear_channel(const Node *node) {
  AxisLink links[MAX_RANK];
  op_axes(node, 1, links);
  int found = AXIS_NONE;
  for (int i = 0; i < operand(node, 1)->type->rank; i++)
    if (links[i].role == AXIS_SAME) found = found == AXIS_NONE ? links[i].axis : AXIS_UNIFORM;
  return found;
}

/* The axis of the weights that is contracted with axis `axis` of operand 0, whole (no groups). */
static int weight_input_axis(const Node *node, int axis) {
  AxisLink x[MAX_RANK], w[MAX_RANK];
  op_axes(node, 0, x);
  op_axes(node, 1, w);
  if (x[axis].role != AXIS_CONTRACT) return AXIS_NONE;
  for (int i = 0; i < operand(node, 1)->type->rank; i++)
    if (w[i].role == AXIS_CONTRACT && w[i].axis == x[axis].axis &&
        operand(node, 1)->type->dims[i] == operand(node, 0)->type->dims[axis])
      return i;
  return AXIS_NONE;
}

/* The constant as a tensor of `rank` axes that varies along `axis` only, or as a scalar. */
static Value *constant_along(Builder *builder, Value *constant, int rank, int axis) {
  if (constant->type->rank == 0 || (axis == AXIS_UNIFORM && constant->type->rank == 0)) return constant;
  const Dim *dims[MAX_RANK], *one = dim_const(builder->graph->module, 1);
  if (axis == AXIS_UNIFORM) return build_reshape(builder, constant, 0, dims);
  for (int i = 0; i < rank; i++) dims[i] = one;
  dims[axis] = type_count(builder->graph->module, constant->type);
  return build_reshape(builder, constant, rank, dims);
}

/* node with other operands; NULL when it does not type. */
static Value *linear_rebuild(Builder *builder, const Node *node, Value *x, Value *w, Value *bias) {
  Value *operands[3] = {x, w, bias};
  int count = node->operand_count;
  if (bias && count < 3) count = 3;
  Node *copy = node_new(builder, node->op, operands, count);
  for (int i = 0; i < node->op->attr_count; i++) copy->attrs[i] = node->attrs[i];
  return node_try(copy, result(node, 0)->type);
}

/* Splits mul/div/add/sub into the linear node before it and the constant; NULL when it is not that. */
static Node *behind_linear(Node *node, Value **constant) {
  const Type *type = result(node, 0)->type;
  bool swaps = node->op->traits & TRAIT_COMMUTATIVE;
  for (int i = 0; i < (swaps ? 2 : 1); i++) {
    Value *x = operand(node, i), *c = operand(node, 1 - i);
    if (!linear_foldable(x->def) || !value_has_one_use(x) || x->type != type || !value_is_constant(c))
      continue;
    *constant = c;
    return x->def;
  }
  return NULL;
}

static Value *reciprocal(Builder *builder, Value *c) {
  return build_binary(builder, &op_div, build_scalar(builder, c->type->dtype, 1), c);
}

Value *rule_scale_after(Node *node) {
  Value *s;
  Node *linear = behind_linear(node, &s);
  if (!linear) return NULL;
  int axis = channel_axis(s, result(node, 0)->type);
  int weight_axis = axis >= 0 ? weight_result_axis(linear, axis) : axis;
  if (weight_axis == AXIS_NONE) return NULL;
  Builder builder = builder_before(node);
  if (node_is(node, &op_div)) s = reciprocal(&builder, s);
  Value *w = operand(linear, 1), *bias = operand(linear, 2);
  w = build_binary(&builder, &op_mul, w, constant_along(&builder, s, w->type->rank, weight_axis));
  if (bias)
    bias = build_binary(&builder, &op_mul, bias, constant_along(&builder, s, 1, axis >= 0 ? 0 : axis));
  return linear_rebuild(&builder, linear, operand(linear, 0), w, bias);
}

/* bias + t, where t is a vector or scalar and bias may be absent. */
static Value *bias_plus(Builder *builder, const Node *linear, Value *t) {
  Value *bias = operand(linear, 2);
  if (bias) return build_binary(builder, &op_add, bias, t);
  if (t->type->rank == 1) return t;
  const Dim *channels = result(linear, 0)->type->dims[linear_channel(linear)];
  return build_broadcast(builder, t, 1, &channels);
}

Value *rule_shift_after(Node *node) {
  Value *t;
  Node *linear = behind_linear(node, &t);
  if (!linear || !linear_find(linear)->has_bias || linear_channel(linear) < 0) return NULL;
  int axis = channel_axis(t, result(node, 0)->type);
  if (axis != AXIS_UNIFORM && axis != linear_channel(linear)) return NULL;
  Builder builder = builder_before(node);
  t = constant_along(&builder, t, 1, axis >= 0 ? 0 : axis);
  if (node_is(node, &op_sub)) t = build_unary(&builder, &op_neg, t);
  return linear_rebuild(&builder, linear, operand(linear, 0), operand(linear, 1),
                        bias_plus(&builder, linear, t));
}

/* Splits operand 0 of the linear node into `op` (mul, add...) of x and a constant per input channel. */
static bool before_linear(const Node *node, const Op *op, Value **x, Value **constant, int *weight_axis) {
  const Node *before = operand(node, 0)->def;
  if (!node_is(before, op) || !value_has_one_use(operand(node, 0)) || !linear_foldable(node)) return false;
  bool swaps = op->traits & TRAIT_COMMUTATIVE;
  for (int i = 0; i < (swaps ? 2 : 1); i++) {
    *x = operand(before, i);
    *constant = operand(before, 1 - i);
    if ((*x)->type != operand(node, 0)->type || !value_is_constant(*constant)) continue;
    int axis = channel_axis(*constant, (*x)->type);
    *weight_axis = axis >= 0 ? weight_input_axis(node, axis) : axis;
    if (*weight_axis != AXIS_NONE) return true;
  }
  return false;
}

Value *rule_scale_before(Node *node) {
  Value *x, *s;
  int weight_axis;
  bool divides = false;
  if (!before_linear(node, &op_mul, &x, &s, &weight_axis)) {
    divides = before_linear(node, &op_div, &x, &s, &weight_axis);
    if (!divides) return NULL;
  }
  Builder builder = builder_before(node);
  if (divides) s = reciprocal(&builder, s);
  Value *w = operand(node, 1);
  w = build_binary(&builder, &op_mul, w, constant_along(&builder, s, w->type->rank, weight_axis));
  return linear_rebuild(&builder, node, x, w, operand(node, 2));
}

static bool node_pads(const Node *node) {
  if (op_attr_index(node->op, "pads") < 0) return false;
  int count;
  const int64_t *pads = node_ints(node, "pads", &count);
  for (int i = 0; i < count; i++)
    if (pads[i]) return true;
  return false;
}

/* Sum of w over every axis but that of the result channels: a vector. */
static Value *weight_sums(Builder *builder, const Node *linear, Value *w) {
  int keep = weight_result_axis(linear, linear_channel(linear)), count = 0;
  int64_t axes[MAX_RANK];
  for (int i = 0; i < w->type->rank; i++)
    if (i != keep) axes[count++] = i;
  const Dim *channels = w->type->dims[keep];
  Node *sum = node_new(builder, &op_reduce_sum, &w, 1);
  node_set_ints(sum, "axes", axes, count);
  return node_finish(sum) ? build_reshape(builder, result(sum, 0), 1, &channels) : NULL;
}

Value *rule_shift_before(Node *node) {
  const Linear *linear = linear_find(node);
  if (!linear->has_bias || !linear->every_tap || node_pads(node) || linear_channel(node) < 0) return NULL;
  Value *x, *t;
  int weight_axis;
  bool subtracts = false;
  if (!before_linear(node, &op_add, &x, &t, &weight_axis)) {
    subtracts = before_linear(node, &op_sub, &x, &t, &weight_axis);
    if (!subtracts) return NULL;
  }
  Builder builder = builder_before(node);
  Value *w = operand(node, 1);
  t = constant_along(&builder, t, w->type->rank, weight_axis);
  Value *sums = weight_sums(&builder, node, build_binary(&builder, &op_mul, w, t));
  if (subtracts) sums = build_unary(&builder, &op_neg, sums);
  return linear_rebuild(&builder, node, x, w, bias_plus(&builder, node, sums));
}
