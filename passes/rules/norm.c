/*
 * rules/norm.c -- layer norms that an exporter wrote out become one op again.
 *
 *   c = x - mean(x)
 *   c / sqrt(mean(c*c) + epsilon)                      ->  layer_norm(x)                 ONNX below opset 17
 *   c * (1 / sqrt(mean(c*c) + epsilon))                ->  layer_norm(x)
 *   x / sqrt(mean(x*x) + epsilon), and with *          ->  layer_norm(x, center=false)   RMS norm
 *   x*s + (b - mean(x)*s), s = scale / sqrt(...)       ->  layer_norm(x)*scale + b       TensorFlow
 *
 * with means over the last axis. A scale and bias behind stay nodes of their own: they fuse with the norm, or
 * fold into the weights of the product that reads it.
 */
#include "passes/rewrite.h"

/* Equal computations meet only later, in cse: the difference and its mean may stand in the graph twice. */
static bool same_value(const Value *a, const Value *b) {
  if (a == b) return true;
  if (!a->def || !b->def || a->def->op != b->def->op || a->type != b->type) return false;
  if (node_is(a->def, &op_sub))
    return operand(a->def, 0) == operand(b->def, 0) && same_value(operand(a->def, 1), operand(b->def, 1));
  return node_is(a->def, &op_reduce_mean) && operand(a->def, 0) == operand(b->def, 0);
}

/* value is op(x, y), in either order if op commutes and `swapped`. */
static bool is_binary(const Value *value, const Op *op, bool swapped, Value **x, Value **y) {
  if (!value || !node_is(value->def, op)) return false;
  *x = operand(value->def, swapped);
  *y = operand(value->def, !swapped);
  return true;
}

/* value is the mean of *x over its last axis. */
static bool is_row_mean(const Value *value, Value **x) {
  if (!value || !node_is(value->def, &op_reduce_mean)) return false;
  int count;
  const int64_t *axes = node_ints(value->def, "axes", &count);
  int rank = value->type->rank;
  *x = operand(value->def, 0);
  return count == 1 && (axes[0] < 0 ? axes[0] + rank : axes[0]) == rank - 1;
}

/* value is sqrt(mean(c*c) + epsilon), over the last axis. */
static bool is_deviation(const Value *value, Value **c, double *epsilon) {
  Value *sum, *mean, *added, *square, *again;
  if (!value || !node_is(value->def, &op_sqrt)) return false;
  sum = operand(value->def, 0);
  for (int swapped = 0; swapped < 2; swapped++) {
    if (!is_binary(sum, &op_add, swapped, &mean, &added) || !value_scalar(added, epsilon)) continue;
    if (sum->type != mean->type || *epsilon < 0 || !is_row_mean(mean, &square)) continue;
    return is_binary(square, &op_mul, false, c, &again) && same_value(*c, again);
  }
  return false;
}

/* value is one over such a root. */
static bool is_inverse_deviation(const Value *value, Value **c, double *epsilon) {
  Value *one, *deviation;
  return is_binary(value, &op_div, false, &one, &deviation) && value_is_splat(one, 1) &&
         is_deviation(deviation, c, epsilon);
}

static Value *build_norm(Builder *builder, Value *x, bool center, double epsilon) {
  Node *norm = node_new(builder, &op_layer_norm, &x, 1);
  node_set_int(norm, "axis", x->type->rank - 1);
  node_set_float(norm, "epsilon", epsilon);
  node_set_bool(norm, "center", center);
  return node_try(norm, x->type);
}

/* value is the difference of *x from the mean of its rows. */
static bool is_centered(const Value *value, Value **x) {
  Value *mean, *from;
  return is_binary(value, &op_sub, false, x, &mean) && is_row_mean(mean, &from) && from == *x;
}

/* The norm of which c, or else c itself, is scaled to deviation 1. */
static Value *norm_of(Node *node, Value *c, double epsilon) {
  Value *x;
  if (!dtype_is_float(c->type->dtype) || c->type != result(node, 0)->type) return NULL;
  bool center = is_centered(c, &x);
  Builder builder = builder_before(node);
  return build_norm(&builder, center ? x : c, center, epsilon);
}

/* div */
Value *rule_norm_quotient(Node *node) {
  Value *c;
  double epsilon;
  if (!is_deviation(operand(node, 1), &c, &epsilon) || !same_value(operand(node, 0), c)) return NULL;
  return norm_of(node, operand(node, 0), epsilon);
}

/* mul */
Value *rule_norm_product(Node *node) {
  Value *c;
  double epsilon;
  for (int i = 0; i < 2; i++)
    if (is_inverse_deviation(operand(node, i), &c, &epsilon) && same_value(operand(node, 1 - i), c))
      return norm_of(node, operand(node, 1 - i), epsilon);
  return NULL;
}

/* x * s, where s is an inverse deviation of x from its mean, or that times *scale. */
static bool is_scaled(const Value *value, Value **x, Value **s, Value **scale, double *epsilon) {
  Value *c, *inverse, *from;
  for (int i = 0; i < 4; i++) {
    *scale = NULL;
    if (!is_binary(value, &op_mul, i & 1, x, s) || (*x)->type != value->type) continue;
    inverse = *s;
    if (!is_inverse_deviation(*s, &c, epsilon) && !is_binary(*s, &op_mul, i >> 1, &inverse, scale)) continue;
    if (is_inverse_deviation(inverse, &c, epsilon) && is_centered(c, &from) && from == *x) return true;
  }
  return false;
}

/* value is bias - mean(x)*s. */
static bool is_offset(const Value *value, const Value *x, const Value *s, Value **bias) {
  Value *product, *mean, *factor, *from;
  if (!is_binary(value, &op_sub, false, bias, &product)) return false;
  for (int swapped = 0; swapped < 2; swapped++)
    if (is_binary(product, &op_mul, swapped, &mean, &factor) && factor == s && is_row_mean(mean, &from) &&
        from == x)
      return true;
  return false;
}

/* add */
Value *rule_norm_sum(Node *node) {
  Value *x, *s, *scale, *bias;
  double epsilon;
  for (int i = 0; i < 2; i++) {
    if (!is_scaled(operand(node, i), &x, &s, &scale, &epsilon)) continue;
    if (x->type != result(node, 0)->type || !is_offset(operand(node, 1 - i), x, s, &bias)) continue;
    Builder builder = builder_before(node);
    Value *y = build_norm(&builder, x, true, epsilon);
    if (y && scale) y = build_binary(&builder, &op_mul, y, scale);
    return y ? build_binary(&builder, &op_add, y, bias) : NULL;
  }
  return NULL;
}
