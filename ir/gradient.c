/*
 * gradient.c -- reverse-mode differentiation: builds the nodes that compute how a value's elements depend on
 * others.
 *
 * The nodes between xs and y are gone through from the last to the first. The gradient of a value is the sum
 * of what its users send back to it, and a rule tells what a node sends to one of its operands. Rules work on
 * whole tensors with the ordinary operators; what an operator has broadcast is summed up again (`fitted`).
 * Operators that are made of others give way to these first (gradient_parts.c).
 */
#include "ir/gradient.h"

#include <string.h>

typedef struct Gradients {
  Builder *builder;
  Node **nodes; /* that depend on xs and come before y, in order; `mark` of a node is its place + 1 */
  int count;
  Value **sums; /* gradients of the first results of nodes */
  Value *const *xs;
  Value **results; /* gradients of xs */
  int x_count;
} Gradients;

/* ---- Shorthands: NULL in, NULL out ---- */

static Value *binary(Builder *b, const Op *op, Value *x, Value *y) {
  return x && y ? build_binary(b, op, x, y) : NULL;
}

static Value *unary(Builder *b, const Op *op, Value *x) {
  return x ? build_unary(b, op, x) : NULL;
}

static Value *mul(Builder *b, Value *x, Value *y) {
  return binary(b, &op_mul, x, y);
}

static Value *number(Builder *b, const Value *like, double value) {
  return build_scalar(b, like->type->dtype, value);
}

static Value *x_of(const Node *node) {
  return operand(node, 0);
}

static Value *y_of(const Node *node) {
  return result(node, 0);
}

static Value *reshaped(Builder *b, Value *x, const Type *type) {
  return x ? build_reshape(b, x, type->rank, type->dims) : NULL;
}

static Value *spread(Builder *b, Value *x, const Type *type) {
  return x ? build_broadcast(b, x, type->rank, type->dims) : NULL;
}

static Value *sum_over(Builder *b, Value *x, const int64_t *axes, int count) {
  if (!x || !count) return x;
  Node *node = node_new(b, &op_reduce_sum, &x, 1);
  node_set_ints(node, "axes", axes, count);
  return node_finish(node) ? result(node, 0) : NULL;
}

/* Summed over the axes along which `type` was broadcast to g's shape. */
static Value *fitted(Builder *b, Value *g, const Type *type) {
  int64_t axes[MAX_RANK];
  int count = 0, lead = g ? g->type->rank - type->rank : 0;
  for (int i = 0; g && i < g->type->rank; i++)
    if (i < lead || (dim_is(type->dims[i - lead], 1) && !dim_is(g->type->dims[i], 1))) axes[count++] = i;
  return reshaped(b, sum_over(b, g, axes, count), type);
}

/* x with axes of size 1 where `node` has reduced its operand. */
static Value *unreduced(Builder *b, const Node *node, Value *x) {
  const Type *type = x_of(node)->type;
  int count;
  const int64_t *axes = node_ints(node, "axes", &count);
  const Dim *dims[MAX_RANK];
  memcpy(dims, type->dims, sizeof *dims * (size_t)type->rank);
  for (int i = 0; i < count; i++)
    dims[axes[i] < 0 ? axes[i] + type->rank : axes[i]] = dim_const(node_module(node), 1);
  return x ? build_reshape(b, x, type->rank, dims) : NULL;
}

static Value *swapped(Builder *b, Value *x) {
  int64_t perm[MAX_RANK];
  int rank = x->type->rank;
  for (int i = 0; i < rank; i++) perm[i] = i;
  perm[rank - 1] = rank - 2;
  perm[rank - 2] = rank - 1;
  return build_transpose(b, x, perm);
}

/* ---- Rules: one operand ---- */

static Value *rule_neg(Builder *b, const Node *node, int index, Value *g) {
  (void)node, (void)index;
  return unary(b, &op_neg, g);
}

static Value *rule_abs(Builder *b, const Node *node, int index, Value *g) {
  (void)index;
  return mul(b, g, unary(b, &op_sign, x_of(node)));
}

static Value *rule_exp(Builder *b, const Node *node, int index, Value *g) {
  (void)index;
  return mul(b, g, y_of(node));
}

static Value *rule_log(Builder *b, const Node *node, int index, Value *g) {
  (void)index;
  return binary(b, &op_div, g, x_of(node));
}

static Value *rule_sqrt(Builder *b, const Node *node, int index, Value *g) {
  (void)index;
  return binary(b, &op_div, g, mul(b, y_of(node), number(b, g, 2)));
}

static Value *rule_sin(Builder *b, const Node *node, int index, Value *g) {
  (void)index;
  return mul(b, g, unary(b, &op_cos, x_of(node)));
}

static Value *rule_cos(Builder *b, const Node *node, int index, Value *g) {
  (void)index;
  return unary(b, &op_neg, mul(b, g, unary(b, &op_sin, x_of(node))));
}

/* 1 - y^2 */
static Value *rule_tanh(Builder *b, const Node *node, int index, Value *g) {
  (void)index;
  return mul(b, g, binary(b, &op_sub, number(b, g, 1), mul(b, y_of(node), y_of(node))));
}

static Value *rule_sigmoid(Builder *b, const Node *node, int index, Value *g) {
  (void)index;
  return mul(b, g, mul(b, y_of(node), binary(b, &op_sub, number(b, g, 1), y_of(node))));
}

static Value *rule_softplus(Builder *b, const Node *node, int index, Value *g) {
  (void)index;
  return mul(b, g, unary(b, &op_sigmoid, x_of(node)));
}

/* y is 0 or more, and at 0 nothing comes back. */
static Value *rule_relu(Builder *b, const Node *node, int index, Value *g) {
  (void)index;
  return mul(b, g, unary(b, &op_sign, y_of(node)));
}

/* 2/sqrt(pi) * exp(-x^2) */
static Value *rule_erf(Builder *b, const Node *node, int index, Value *g) {
  (void)index;
  Value *bell = unary(b, &op_exp, unary(b, &op_neg, mul(b, x_of(node), x_of(node))));
  return mul(b, g, mul(b, bell, number(b, g, 1.1283791670955126)));
}

static Value *rule_cast(Builder *b, const Node *node, int index, Value *g) {
  (void)index;
  return build_cast(b, g, x_of(node)->type->dtype);
}

/* Steps are flat. */
static Value *rule_zero(Builder *b, const Node *node, int index, Value *g) {
  (void)node, (void)index;
  return mul(b, g, number(b, g, 0));
}

/* The sum along the node's axis, which stays with size 1. */
static Value *row_sum(Builder *b, const Node *node, Value *x) {
  const Type *type = y_of(node)->type;
  int64_t axis = node_axis(node, "axis", type->rank);
  const Dim *dims[MAX_RANK];
  memcpy(dims, type->dims, sizeof *dims * (size_t)type->rank);
  dims[axis] = dim_const(node_module(node), 1);
  Value *sum = sum_over(b, x, &axis, 1);
  return sum ? build_reshape(b, sum, type->rank, dims) : NULL;
}

/* y * (g - sum(g * y)) */
static Value *rule_softmax(Builder *b, const Node *node, int index, Value *g) {
  (void)index;
  return mul(b, y_of(node), binary(b, &op_sub, g, row_sum(b, node, mul(b, g, y_of(node)))));
}

/* g - exp(y) * sum(g) */
static Value *rule_log_softmax(Builder *b, const Node *node, int index, Value *g) {
  (void)index;
  return binary(b, &op_sub, g, mul(b, unary(b, &op_exp, y_of(node)), row_sum(b, node, g)));
}

/* ---- Rules: elements of two operands ---- */

static Value *rule_add(Builder *b, const Node *node, int index, Value *g) {
  (void)b, (void)node, (void)index;
  return g;
}

static Value *rule_sub(Builder *b, const Node *node, int index, Value *g) {
  (void)node;
  return index ? unary(b, &op_neg, g) : g;
}

static Value *rule_mul(Builder *b, const Node *node, int index, Value *g) {
  return mul(b, g, operand(node, !index));
}

/* g/d, or -g * y/d */
static Value *rule_div(Builder *b, const Node *node, int index, Value *g) {
  Value *share = binary(b, &op_div, g, operand(node, 1));
  return index ? unary(b, &op_neg, mul(b, share, y_of(node))) : share;
}

/* g * e * x^(e-1), or g * y * log x */
static Value *rule_pow(Builder *b, const Node *node, int index, Value *g) {
  Value *x = operand(node, 0), *e = operand(node, 1);
  if (index) return mul(b, g, mul(b, y_of(node), unary(b, &op_log, x)));
  Value *less = binary(b, &op_pow, x, binary(b, &op_sub, e, number(b, e, 1)));
  return mul(b, g, mul(b, e, less));
}

/* To the operand that was chosen; the first, when both are equal. */
static Value *rule_choice(Builder *b, const Node *node, int index, Value *g) {
  const Op *first = node_is(node, &op_max) ? &op_greater_or_equal : &op_less_or_equal;
  Value *chosen = binary(b, first, operand(node, 0), operand(node, 1));
  if (index) chosen = unary(b, &op_not, chosen);
  return chosen ? mul(b, g, build_cast(b, chosen, g->type->dtype)) : NULL;
}

static Value *rule_where(Builder *b, const Node *node, int index, Value *g) {
  Value *chosen = index == 2 ? unary(b, &op_not, operand(node, 0)) : operand(node, 0);
  return chosen ? mul(b, g, build_cast(b, chosen, g->type->dtype)) : NULL;
}

/* ---- Rules: movement and sums ---- */

static Value *rule_reshape(Builder *b, const Node *node, int index, Value *g) {
  (void)index;
  return reshaped(b, g, x_of(node)->type);
}

static Value *rule_transpose(Builder *b, const Node *node, int index, Value *g) {
  int count;
  const int64_t *perm = node_ints(node, "perm", &count);
  int64_t back[MAX_RANK];
  (void)index;
  for (int i = 0; i < count; i++) back[perm[i]] = i;
  return build_transpose(b, g, back);
}

Value *gradient_slice(Builder *b, Value *x, const Dim *const *starts, const Dim *const *sizes,
                      const int64_t *steps) {
  if (!x) return NULL;
  int rank = x->type->rank;
  Node *slice = node_new(b, &op_slice, &x, 1);
  node_set_dims(slice, "starts", starts, rank);
  node_set_dims(slice, "sizes", sizes, rank);
  node_set_ints(slice, "steps", steps, rank);
  return node_finish(slice) ? result(slice, 0) : NULL;
}

static Value *rule_concat(Builder *b, const Node *node, int index, Value *g) {
  Module *module = node_module(node);
  const Type *type = operand(node, index)->type;
  int64_t axis = node_axis(node, "axis", type->rank), steps[MAX_RANK];
  const Dim *starts[MAX_RANK];
  for (int i = 0; i < type->rank; i++) {
    starts[i] = dim_const(module, 0);
    steps[i] = 1;
  }
  for (int i = 0; i < index; i++)
    starts[axis] = dim_add(module, starts[axis], operand(node, i)->type->dims[axis]);
  return gradient_slice(b, g, starts, type->dims, steps);
}

static Value *rule_reduce_sum(Builder *b, const Node *node, int index, Value *g) {
  (void)index;
  return spread(b, unreduced(b, node, g), x_of(node)->type);
}

static Value *rule_reduce_mean(Builder *b, const Node *node, int index, Value *g) {
  (void)index;
  Module *module = node_module(node);
  const Dim *all = type_count(module, x_of(node)->type), *kept = type_count(module, y_of(node)->type);
  if (!dim_is_const(all) || !dim_is_const(kept) || !kept->value) {
    node_fail(node, "the gradient of a mean over open sizes is not supported");
    return NULL;
  }
  Value *share = mul(b, g, number(b, g, (double)kept->value / (double)all->value));
  return spread(b, unreduced(b, node, share), x_of(node)->type);
}

/* ---- Rules: products ---- */

static Value *rule_matmul(Builder *b, const Node *node, int index, Value *g) {
  Value *x = operand(node, 0), *w = operand(node, 1);
  if (x->type->rank < 2 || w->type->rank < 2) {
    node_fail(node, "the gradient of a product with a vector is not supported");
    return NULL;
  }
  return index ? binary(b, &op_matmul, swapped(b, x), g) : binary(b, &op_matmul, g, swapped(b, w));
}

static Value *gemm(Builder *b, Value *x, Value *w, bool trans_x, bool trans_w) {
  Node *node = node_new(b, &op_gemm, (Value *[]){x, w}, 2);
  node_set_bool(node, "trans_a", trans_x);
  node_set_bool(node, "trans_b", trans_w);
  return node_finish(node) ? result(node, 0) : NULL;
}

static Value *rule_gemm(Builder *b, const Node *node, int index, Value *g) {
  Value *x = operand(node, 0), *w = operand(node, 1);
  bool trans_x = node_bool(node, "trans_a"), trans_w = node_bool(node, "trans_b");
  if (index == 2) return g;
  if (index == 0) return trans_x ? gemm(b, w, g, trans_w, true) : gemm(b, g, w, false, !trans_w);
  return trans_w ? gemm(b, g, x, true, trans_x) : gemm(b, x, g, !trans_x, false);
}

/* ---- Rules: parts ---- */

Value *gradient_missing(const Node *node, const char *what) {
  node_fail(node, "the gradient of %s %s is not supported", node->op->name, what);
  return NULL;
}

/* Zeros before and behind what was taken. */
static Value *rule_slice(Builder *b, const Node *node, int index, Value *g) {
  (void)index;
  Module *module = node_module(node);
  const Type *x = x_of(node)->type;
  const Dim *pads[2 * MAX_RANK];
  int count;
  const Dim *const *starts = node_dims(node, "starts", &count);
  const int64_t *steps = node_ints(node, "steps", &count);
  for (int i = 0; i < x->rank; i++) {
    if (count && steps[i] != 1) return gradient_missing(node, "with steps");
    pads[i] = starts[i];
    pads[i + x->rank] = dim_sub(module, x->dims[i], dim_add(module, starts[i], g->type->dims[i]));
  }
  Node *pad = node_new(b, &op_pad, &g, 1);
  node_set_dims(pad, "pads", pads, 2 * x->rank);
  return node_finish(pad) ? result(pad, 0) : NULL;
}

/* To x where it is between the bounds. */
static Value *rule_clip(Builder *b, const Node *node, int index, Value *g) {
  if (index) return gradient_missing(node, "by its bounds");
  Value *same = binary(b, &op_equal, x_of(node), y_of(node));
  return same ? mul(b, g, build_cast(b, same, g->type->dtype)) : NULL;
}

static const struct {
  const Op *op;
  GradientRule *rule;
} rules[] = {
    {&op_abs, rule_abs},
    {&op_add, rule_add},
    {&op_average_pool, gradient_average_pool},
    {&op_broadcast, rule_add},
    {&op_cast, rule_cast},
    {&op_ceil, rule_zero},
    {&op_clip, rule_clip},
    {&op_concat, rule_concat},
    {&op_conv, gradient_conv},
    {&op_cos, rule_cos},
    {&op_div, rule_div},
    {&op_erf, rule_erf},
    {&op_exp, rule_exp},
    {&op_floor, rule_zero},
    {&op_gemm, rule_gemm},
    {&op_log, rule_log},
    {&op_log_softmax, rule_log_softmax},
    {&op_matmul, rule_matmul},
    {&op_max, rule_choice},
    {&op_max_pool, gradient_max_pool},
    {&op_min, rule_choice},
    {&op_mul, rule_mul},
    {&op_neg, rule_neg},
    {&op_pow, rule_pow},
    {&op_reduce_mean, rule_reduce_mean},
    {&op_reduce_sum, rule_reduce_sum},
    {&op_relu, rule_relu},
    {&op_reshape, rule_reshape},
    {&op_round, rule_zero},
    {&op_sigmoid, rule_sigmoid},
    {&op_sign, rule_zero},
    {&op_sin, rule_sin},
    {&op_slice, rule_slice},
    {&op_softmax, rule_softmax},
    {&op_softplus, rule_softplus},
    {&op_sqrt, rule_sqrt},
    {&op_sub, rule_sub},
    {&op_tanh, rule_tanh},
    {&op_transpose, rule_transpose},
    {&op_where, rule_where},
};

/* ---- The way back ---- */

static int x_index(const Gradients *all, const Value *value) {
  for (int i = 0; i < all->x_count; i++)
    if (all->xs[i] == value) return i;
  return -1;
}

/* Where the gradient of a value is summed; NULL when it is not wanted. */
static Value **sum_of(const Gradients *all, const Value *value) {
  int x = value ? x_index(all, value) : -1;
  if (x >= 0) return &all->results[x];
  return value && value->def && value->def->mark ? &all->sums[value->def->mark - 1] : NULL;
}

/* Nodes that xs reach, up to y's. */
static void collect(Gradients *all, Graph *graph, const Node *last) {
  Module *module = graph->module;
  int room = graph_count_nodes(graph);
  all->nodes = NEW_ARRAY(module->arena, Node *, room);
  all->sums = NEW_ARRAY(module->arena, Value *, room);
  FOR_EACH_NODE(node, graph) node->mark = 0;
  FOR_EACH_NODE(node, graph) {
    bool depends = false;
    for (int i = 0; i < node->operand_count; i++) depends |= sum_of(all, operand(node, i)) != NULL;
    if (depends && (node->result_count != 1 || x_index(all, result(node, 0)) < 0)) {
      all->nodes[all->count++] = node;
      node->mark = all->count;
    }
    if (node == last) break;
  }
}

static bool add_to(Gradients *all, Value **sum, Value *more) {
  if (more) *sum = *sum ? binary(all->builder, &op_add, *sum, more) : more;
  return more && *sum;
}

static bool send_back(Gradients *all, const Node *node, Value *g) {
  int row = 0;
  while (row < COUNT_OF(rules) && rules[row].op != node->op) row++;
  if (row == COUNT_OF(rules)) return node_fail(node, "the gradient of %s is not supported", node->op->name);
  for (int i = 0; i < node->operand_count; i++) {
    Value *x = operand(node, i), **sum = sum_of(all, x);
    if (!sum || !dtype_is_float(x->type->dtype)) continue;
    TRY(add_to(all, sum, fitted(all->builder, rules[row].rule(all->builder, node, i, g), x->type)));
  }
  return true;
}

/* A value that depends on nothing of xs has the gradient 0. */
static bool fill(Gradients *all) {
  for (int i = 0; i < all->x_count; i++) {
    const Value *x = all->xs[i];
    if (!all->results[i]) all->results[i] = spread(all->builder, number(all->builder, x, 0), x->type);
    TRY(all->results[i]);
  }
  return true;
}

/* What they are made of is used in place of nodes, which stay for whoever still knows them. */
static bool take_apart(Gradients *all, Value **y) {
  if ((*y)->def) collect(all, (*y)->def->graph, (*y)->def);
  for (int i = 0; i < all->count; i++) {
    Value *parts;
    TRY(gradient_parts(all->nodes[i], &parts));
    if (!parts) continue;
    if (*y == y_of(all->nodes[i])) *y = parts;
    value_replace(y_of(all->nodes[i]), parts);
  }
  all->count = 0;
  return true;
}

static bool find(Gradients *all, Value *y) {
  Builder *builder = all->builder;
  TRY(take_apart(all, &y));
  Value *ones = spread(builder, number(builder, y, 1), y->type), **first;
  TRY(ones);
  if (y->def) collect(all, y->def->graph, y->def);
  if ((first = sum_of(all, y))) *first = ones;
  for (int i = all->count - 1; i >= 0; i--)
    if (all->sums[i]) TRY(send_back(all, all->nodes[i], all->sums[i]));
  return fill(all);
}

/* y, computed anew from `at` in place of xs; NULL with an error. */
static Value *moved(Gradients *all, Value *y, Value *const *at) {
  Module *module = y->graph->module;
  if (y->def) collect(all, y->def->graph, y->def);
  Node **copies = NEW_ARRAY(module->arena, Node *, all->count + 1);
  for (int i = 0; i < all->count; i++) {
    const Node *node = all->nodes[i];
    Value **operands = NEW_ARRAY(module->arena, Value *, node->operand_count);
    for (int k = 0; k < node->operand_count; k++) {
      Value *value = operand(node, k);
      int x = x_index(all, value);
      const Node *def = value ? value->def : NULL;
      operands[k] = x >= 0 ? at[x] : def && def->mark ? copies[def->mark - 1]->results[value->index] : value;
    }
    if (node->region_count) node_fail(node, "the gradient of %s is not supported", node->op->name);
    copies[i] = node->region_count ? NULL : node_like(all->builder, node, operands);
    if (!copies[i] || !node_finish(copies[i])) return NULL;
  }
  int x = x_index(all, y);
  return x >= 0 ? at[x] : y->def && y->def->mark ? copies[y->def->mark - 1]->results[y->index] : y;
}

bool build_gradients(Builder *builder, Value *y, int count, Value *const *xs, Value *const *at,
                     Value **gradients) {
  Gradients all = {.builder = builder, .xs = xs, .results = gradients, .x_count = count};
  if (!dtype_is_float(y->type->dtype)) return false;
  memset(gradients, 0, sizeof *gradients * (size_t)count);
  bool same = memcmp(xs, at, sizeof *xs * (size_t)count) == 0;
  if (!same) {
    y = moved(&all, y, at);
    TRY(y);
    all = (Gradients){.builder = builder, .xs = at, .results = gradients, .x_count = count};
  }
  return find(&all, y);
}
