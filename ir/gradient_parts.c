/*
 * gradient_parts.c -- operators as what they are made of, for those whose gradients are no shorter than those
 * of the parts.
 */
#include "ir/gradient.h"

#include <math.h>

enum { QUERY, KEY, VALUE, MASK, AXES = 4 }; /* of attention */

/* ---- Shorthands: NULL in, NULL out ---- */

static Value *binary(Builder *b, const Op *op, Value *x, Value *y) {
  return x && y ? build_binary(b, op, x, y) : NULL;
}

static Value *unary(Builder *b, const Op *op, Value *x) {
  return x ? build_unary(b, op, x) : NULL;
}

static Value *with_number(Builder *b, const Op *op, Value *x, double number) {
  return x ? binary(b, op, x, build_scalar(b, x->type->dtype, number)) : NULL;
}

static Value *plus(Builder *b, Value *x, double addend) {
  return with_number(b, &op_add, x, addend);
}

static Value *times(Builder *b, Value *x, double factor) {
  return with_number(b, &op_mul, x, factor);
}

/* alpha * (exp(x) - 1) where x is below 0 */
static Value *negative_part(Builder *b, Value *x, double alpha) {
  return times(b, plus(b, unary(b, &op_exp, with_number(b, &op_min, x, 0)), -1), alpha);
}

/* ---- Elements ---- */

static Value *parts_affine(Builder *b, const Node *node) {
  return plus(b, times(b, operand(node, 0), node_float(node, "alpha")), node_float(node, "beta"));
}

static Value *parts_celu(Builder *b, const Node *node) {
  Value *x = operand(node, 0);
  double alpha = node_float(node, "alpha");
  Value *curve = times(b, plus(b, unary(b, &op_exp, times(b, x, 1 / alpha)), -1), alpha);
  return binary(b, &op_add, unary(b, &op_relu, x), with_number(b, &op_min, curve, 0));
}

static Value *parts_elu(Builder *b, const Node *node) {
  Value *x = operand(node, 0);
  return binary(b, &op_add, unary(b, &op_relu, x), negative_part(b, x, node_float(node, "alpha")));
}

static Value *parts_selu(Builder *b, const Node *node) {
  return times(b, parts_elu(b, node), node_float(node, "gamma"));
}

static Value *parts_gelu(Builder *b, const Node *node) {
  Value *x = operand(node, 0), *inner;
  if (node_string_is(node, "approximate", "tanh")) {
    Value *cube = binary(b, &op_mul, binary(b, &op_mul, x, x), x);
    Value *sum = binary(b, &op_add, x, times(b, cube, 0.044715));
    inner = unary(b, &op_tanh, times(b, sum, sqrt(2 / M_PI)));
  } else {
    inner = unary(b, &op_erf, times(b, x, M_SQRT1_2));
  }
  return binary(b, &op_mul, times(b, x, 0.5), plus(b, inner, 1));
}

static Value *hard_gate(Builder *b, Value *x, double alpha, double beta) {
  Value *line = plus(b, times(b, x, alpha), beta);
  return with_number(b, &op_max, with_number(b, &op_min, line, 1), 0);
}

static Value *parts_hard_sigmoid(Builder *b, const Node *node) {
  return hard_gate(b, operand(node, 0), node_float(node, "alpha"), node_float(node, "beta"));
}

static Value *parts_hard_swish(Builder *b, const Node *node) {
  Value *x = operand(node, 0);
  return binary(b, &op_mul, x, hard_gate(b, x, 1.0 / 6, 0.5));
}

static Value *parts_leaky_relu(Builder *b, const Node *node) {
  Value *x = operand(node, 0), *below = with_number(b, &op_min, x, 0);
  return binary(b, &op_add, unary(b, &op_relu, x), times(b, below, node_float(node, "alpha")));
}

static Value *parts_prelu(Builder *b, const Node *node) {
  Value *x = operand(node, 0), *below = with_number(b, &op_min, x, 0);
  return binary(b, &op_add, unary(b, &op_relu, x), binary(b, &op_mul, below, operand(node, 1)));
}

static Value *parts_mish(Builder *b, const Node *node) {
  Value *x = operand(node, 0);
  return binary(b, &op_mul, x, unary(b, &op_tanh, unary(b, &op_softplus, x)));
}

static Value *parts_scaled_tanh(Builder *b, const Node *node) {
  Value *tanh = unary(b, &op_tanh, times(b, operand(node, 0), node_float(node, "beta")));
  return times(b, tanh, node_float(node, "alpha"));
}

static Value *parts_silu(Builder *b, const Node *node) {
  return binary(b, &op_mul, operand(node, 0), unary(b, &op_sigmoid, operand(node, 0)));
}

static Value *parts_softsign(Builder *b, const Node *node) {
  return binary(b, &op_div, operand(node, 0), plus(b, unary(b, &op_abs, operand(node, 0)), 1));
}

/* ---- Rows ---- */

/* Over the axes from `axis` on, which stay with size 1. */
static Value *row_mean(Builder *b, Value *x, int axis) {
  if (!x) return NULL;
  int64_t axes[MAX_RANK];
  const Dim *dims[MAX_RANK];
  int rank = x->type->rank;
  for (int i = 0; i < rank; i++) {
    dims[i] = i < axis ? x->type->dims[i] : dim_const(b->graph->module, 1);
    if (i >= axis) axes[i - axis] = i;
  }
  Value *mean = build_reduce(b, &op_reduce_mean, x, axes, rank - axis);
  return mean ? build_reshape(b, mean, rank, dims) : NULL;
}

static Value *parts_layer_norm(Builder *b, const Node *node) {
  Value *x = operand(node, 0);
  int axis = (int)node_axis(node, "axis", x->type->rank);
  if (node_bool(node, "center")) x = binary(b, &op_sub, x, row_mean(b, x, axis));
  Value *variance = row_mean(b, binary(b, &op_mul, x, x), axis);
  Value *y = binary(b, &op_div, x, unary(b, &op_sqrt, plus(b, variance, node_float(node, "epsilon"))));
  if (operand(node, 1)) y = binary(b, &op_mul, y, operand(node, 1));
  return operand(node, 2) ? binary(b, &op_add, y, operand(node, 2)) : y;
}

/* ---- Attention ---- */

static Value *permuted(Builder *b, Value *x, const Node *node, const char *name) {
  int count;
  return x ? build_transpose(b, x, node_ints(node, name, &count)) : NULL;
}

static Value *row_softmax(Builder *b, Value *x) {
  Node *node = x ? node_new(b, &op_softmax, &x, 1) : NULL;
  return node && node_finish(node) ? result(node, 0) : NULL;
}

static Value *parts_attention(Builder *b, const Node *node) {
  static const int64_t turn[AXES] = {0, 1, 3, 2};
  Value *q = permuted(b, operand(node, QUERY), node, "q_perm");
  Value *k = permuted(b, operand(node, KEY), node, "k_perm");
  Value *v = permuted(b, operand(node, VALUE), node, "v_perm");
  if (!q || !k || !v) return NULL;
  bool shared = k->type->dims[1] != q->type->dims[1] && !dim_is(k->type->dims[1], 1);
  if (shared) return gradient_missing(node, "whose heads share keys");
  if (node_bool(node, "zero_masked")) return gradient_missing(node, "with queries that see nothing");
  Value *scores = binary(b, &op_matmul, q, build_transpose(b, k, turn));
  scores = times(b, scores, node_float(node, "scale"));
  double cap = node_float(node, "softcap");
  if (cap != 0) scores = times(b, unary(b, &op_tanh, times(b, scores, 1 / cap)), cap);
  if (operand(node, MASK)) scores = binary(b, &op_add, scores, operand(node, MASK));
  return permuted(b, binary(b, &op_matmul, row_softmax(b, scores), v), node, "y_perm");
}

/* ---- All of them ---- */

static const struct {
  const Op *op;
  Value *(*build)(Builder *b, const Node *node);
} parts[] = {
    {&op_affine, parts_affine},
    {&op_attention, parts_attention},
    {&op_celu, parts_celu},
    {&op_elu, parts_elu},
    {&op_gelu, parts_gelu},
    {&op_hard_sigmoid, parts_hard_sigmoid},
    {&op_hard_swish, parts_hard_swish},
    {&op_layer_norm, parts_layer_norm},
    {&op_leaky_relu, parts_leaky_relu},
    {&op_mish, parts_mish},
    {&op_prelu, parts_prelu},
    {&op_scaled_tanh, parts_scaled_tanh},
    {&op_selu, parts_selu},
    {&op_silu, parts_silu},
    {&op_softsign, parts_softsign},
};

bool gradient_parts(Node *node, Value **parts_of_it) {
  *parts_of_it = NULL;
  for (int i = 0; i < COUNT_OF(parts); i++) {
    if (parts[i].op != node->op) continue;
    Builder builder = builder_before(node);
    *parts_of_it = parts[i].build(&builder, node);
    return *parts_of_it != NULL;
  }
  return true;
}
