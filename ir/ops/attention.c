/*
 * attention.c -- scaled dot-product attention, softmax(q k^T * scale + mask) v, over heads.
 *
 * Exporters keep heads and positions in any order, so each tensor comes with the permutation that brings it
 * into the canonical one, [batch, heads, positions, channels]: the transposes around a product of attention
 * become attributes and cost nothing. `canonical` positions and sizes are those after that permutation.
 */
#include "ir/ops/ops.h"

#include <string.h>

enum { QUERY, KEY, VALUE, MASK };              /* operands */
enum { BATCH, HEAD, POSITION, CHANNEL, AXES }; /* canonical axes */
enum { MAX_LOCAL_KEYS = 16384 };               /* of a row of weights kept by the plain nest */

static const char *const results_y[] = {"y"};
static const char *const perm_names[] = {"q_perm", "k_perm", "v_perm"};

static const OperandSpec attention_operands[] = {
    {"q", false, "queries, [b, h, m, d] after q_perm"},
    {"k", false, "keys, [b or 1, g, n, d] after k_perm; each of the g heads serves h/g heads of q"},
    {"v", false, "values, [b or 1, g, n, e] after v_perm"},
    {"mask", true, "addend that broadcasts to [b, h, m, n]; absent: 0"}};

static const AttrSpec attention_attrs[] = {
    {"scale", ATTR_FLOAT, ROLE_NONE, "1", "factor of the products of queries and keys", NULL},
    {"softcap", ATTR_FLOAT, ROLE_NONE, "0",
     "c: scores s, before the mask, become c tanh(s / c); 0: they stay", NULL},
    {"zero_masked", ATTR_BOOL, ROLE_NONE, "false",
     "a query whose scores are all -inf gets 0 instead of NaN, the softmax of nothing", NULL},
    {"q_perm", ATTR_INTS, ROLE_NONE, "[0,1,2,3]", "transpose(q, q_perm) is [b, h, m, d]", NULL},
    {"k_perm", ATTR_INTS, ROLE_NONE, "[0,1,2,3]", "transpose(k, k_perm) is [b, g, n, d]", NULL},
    {"v_perm", ATTR_INTS, ROLE_NONE, "[0,1,2,3]", "transpose(v, v_perm) is [b, g, n, e]", NULL},
    {"y_perm", ATTR_INTS, ROLE_NONE, "[0,1,2,3]", "y is transpose([b, h, m, e], y_perm)", NULL}};

/* ---- types --------------------------------------------------------------------------------------------- */

static const int64_t *perm_of(const Node *node, const char *name) {
  int count;
  return node_ints(node, name, &count);
}

static bool check_perm(const Node *node, const char *name) {
  bool axes[MAX_RANK];
  int count;
  const int64_t *perm = node_ints(node, name, &count);
  TRY(check_count(node, name, count, AXES) && check_axes(node, name, AXES, axes));
  for (int i = 0; i < AXES; i++)
    if (perm[i] < 0)
      return node_fail(node, "%s[%d] is %lld; it must not be negative", name, i, (long long)perm[i]);
  return true;
}

/* Sizes of an operand in canonical order. */
static void canonical_dims(const Node *node, int index, const Dim **dims) {
  const int64_t *perm = perm_of(node, perm_names[index]);
  for (int i = 0; i < AXES; i++) dims[i] = operand(node, index)->type->dims[perm[i]];
}

/* Keys and values serve the batches and heads of the queries: all of them, or several each. */
static bool check_sharing(const Node *node, int index, const Dim *const *q, const Dim *const *x) {
  const char *name = node->op->operands[index].name;
  Module *module = node_module(node);
  if (x[BATCH] != q[BATCH] && !dim_is(x[BATCH], 1))
    return node_fail(node, "%s is %s: batch %s against %s of q", name, operand_text(node, index),
                     dim_text(module, x[BATCH]), dim_text(module, q[BATCH]));
  bool divides = dim_is_const(x[HEAD]) && dim_is_const(q[HEAD]) && x[HEAD]->value > 0 &&
                 q[HEAD]->value % x[HEAD]->value == 0;
  if (x[HEAD] == q[HEAD] || dim_is(x[HEAD], 1) || divides) return true;
  return node_fail(node, "%s is %s: its %s heads cannot serve the %s of q", name, operand_text(node, index),
                   dim_text(module, x[HEAD]), dim_text(module, q[HEAD]));
}

static bool check_mask(const Node *node, const Dim *const *scores) {
  Module *module = node_module(node);
  const Type *type = type_make(module, operand(node, QUERY)->type->dtype, AXES, scores);
  if (!operand(node, MASK)) return true;
  if (spreads_to(node, operand(node, MASK)->type, type)) return true;
  return node_fail(node, "mask of shape %s does not broadcast to the scores, %s", operand_text(node, MASK),
                   type_text(module, type));
}

static bool attention_infer(Node *node) {
  Module *module = node_module(node);
  const Dim *q[AXES], *k[AXES], *v[AXES], *dims[AXES];
  TRY(check_kind(node, QUERY, KIND_FLOAT));
  for (int i = QUERY; i <= VALUE; i++)
    TRY(check_rank(node, i, AXES) && check_same_dtype(node, QUERY, i) && check_perm(node, perm_names[i]));
  TRY(check_same_dtype(node, QUERY, MASK) && check_perm(node, "y_perm"));
  if (!(node_float(node, "softcap") >= 0))
    return node_fail(node, "softcap is %g; it must not be negative", node_float(node, "softcap"));
  canonical_dims(node, QUERY, q);
  canonical_dims(node, KEY, k);
  canonical_dims(node, VALUE, v);
  TRY(check_sharing(node, KEY, q, k) && check_sharing(node, VALUE, q, v));
  if (!sizes_agree(node, q[CHANNEL], k[CHANNEL]))
    return node_fail(node, "q is %s and k is %s: they have %s and %s channels", operand_text(node, QUERY),
                     operand_text(node, KEY), dim_text(module, q[CHANNEL]), dim_text(module, k[CHANNEL]));
  if (k[POSITION] != v[POSITION])
    return node_fail(node, "k is %s and v is %s: they have %s and %s positions", operand_text(node, KEY),
                     operand_text(node, VALUE), dim_text(module, k[POSITION]), dim_text(module, v[POSITION]));
  TRY(check_mask(node, (const Dim *const[]){q[BATCH], q[HEAD], q[POSITION], k[POSITION]}));
  const int64_t *perm = perm_of(node, "y_perm");
  q[CHANNEL] = v[CHANNEL];
  for (int i = 0; i < AXES; i++) dims[i] = q[perm[i]];
  result_set(node, 0, type_make(module, operand(node, QUERY)->type->dtype, AXES, dims));
  return true;
}

/* ---- axes ---------------------------------------------------------------------------------------------- */

/* The link of an operand's axis, of `size`, that is a canonical one. Softmax needs all keys. */
static AxisLink canonical_link(const Node *node, int index, int axis, const Dim *size) {
  const int64_t *y_perm = perm_of(node, "y_perm");
  bool keys = axis == (index == MASK ? CHANNEL : POSITION) && index != QUERY;
  if (keys) return (AxisLink){.role = AXIS_CONTRACT, .axis = 1, .whole = true};
  if (axis == CHANNEL && index != VALUE) return axis_link(AXIS_CONTRACT, 0);
  int to = 0;
  while (y_perm[to] != axis) to++;
  bool same = size == result(node, 0)->type->dims[to];
  return axis_link(same ? AXIS_SAME : dim_is(size, 1) ? AXIS_BROADCAST : AXIS_WINDOW, to);
}

static void attention_axes(const Node *node, int index, AxisLink *links) {
  const Type *type = operand(node, index)->type;
  const int64_t *perm = index == MASK ? NULL : perm_of(node, perm_names[index]);
  for (int i = 0; i < type->rank; i++) {
    int own = perm ? (int)perm[i] : i, axis = perm ? i : i + AXES - type->rank;
    links[own] = canonical_link(node, index, axis, type->dims[own]);
  }
}

/* ---- meaning ------------------------------------------------------------------------------------------- */

/* One query: `at` is its canonical position, whose channel is that of the result. */
typedef struct Row {
  const Node *node;
  Index at[AXES];
  Reg *max;        /* NULL: not known yet */
  Buffer *weights; /* exponentials by key; NULL: computed each time */
} Row;

/* Element of q, k or v. */
static Reg *read_side(Lower *lower, const Row *row, int index, Index position, Index channel) {
  const int64_t *perm = perm_of(row->node, perm_names[index]);
  const Dim *dims[AXES], *q[AXES];
  Index canonical[AXES] = {row->at[BATCH], row->at[HEAD], position, channel}, at[AXES];
  canonical_dims(row->node, index, dims);
  canonical_dims(row->node, QUERY, q);
  if (dims[BATCH] != q[BATCH]) canonical[BATCH] = index_const(lower, 0);
  if (dims[HEAD] != q[HEAD])
    canonical[HEAD] = dim_is(dims[HEAD], 1) ? index_const(lower, 0)
                                            : index_div(lower, canonical[HEAD],
                                                        dim_floordiv(lower->module, q[HEAD], dims[HEAD]));
  for (int i = 0; i < AXES; i++) at[perm[i]] = canonical[i];
  return compute(lower, lower_operand(lower, row->node, index, at));
}

static Reg *read_mask(Lower *lower, const Row *row, Index key) {
  const Type *type = operand(row->node, MASK)->type;
  const Index scores[AXES] = {row->at[BATCH], row->at[HEAD], row->at[POSITION], key};
  Index at[AXES];
  for (int i = 0; i < type->rank; i++)
    at[i] = dim_is(type->dims[i], 1) ? index_const(lower, 0) : scores[AXES - type->rank + i];
  return compute(lower, lower_operand(lower, row->node, MASK, at));
}

static Reg *score(Lower *lower, const Row *row, Index key) {
  Loops *loops = &lower->loops;
  const Dim *q[AXES];
  canonical_dims(row->node, QUERY, q);
  Reg *zero = loop_const(loops, (LoopType){compute_dtype(operand(row->node, QUERY)->type->dtype), 1}, 0);
  Nest nest = nest_begin(1, &zero);
  Index channel = index_of(nest_for(lower, &nest, loop_dim(loops, q[CHANNEL])));
  Reg *x = read_side(lower, row, QUERY, row->at[POSITION], channel);
  nest.carried[0] = multiply_add(lower, nest.carried[0], x, read_side(lower, row, KEY, key, channel));
  nest_end(lower, &nest);
  Reg *scale = constant_like(lower, zero, node_float(row->node, "scale"));
  Reg *sum = loop_binary(loops, LOOP_MUL, nest.carried[0], scale);
  double cap = node_float(row->node, "softcap");
  if (cap != 0) {
    Reg *ratio = loop_binary(loops, LOOP_MUL, sum, constant_like(lower, sum, 1 / cap));
    sum = loop_binary(loops, LOOP_MUL, loop_unary(loops, LOOP_TANH, ratio), constant_like(lower, sum, cap));
  }
  return operand(row->node, MASK) ? loop_binary(loops, LOOP_ADD, sum, read_mask(lower, row, key)) : sum;
}

static Reg *weight(Lower *lower, const Row *row, Index key) {
  Loops *loops = &lower->loops;
  if (row->weights) return loop_load(loops, row->weights, &key.base, 1, NULL);
  return loop_unary(loops, LOOP_EXP, loop_binary(loops, LOOP_SUB, score(lower, row, key), row->max));
}

static Reg *largest_score(Lower *lower, const Row *row, Reg *count) {
  Reg *start = lowest(lower, compute_dtype(operand(row->node, QUERY)->type->dtype));
  Nest nest = nest_begin(1, &start);
  Index key = index_of(nest_for(lower, &nest, count));
  Reg *s = score(lower, row, key);
  if (row->weights) loop_store(&lower->loops, s, row->weights, &key.base, NULL);
  nest.carried[0] = max_nan(lower, nest.carried[0], s);
  nest_end(lower, &nest);
  return nest.carried[0];
}

/* Where it is infinite, so that nothing has a weight, 0: what is subtracted must not make NaN. */
static Reg *finite_top(Lower *lower, const Row *row, Reg *top) {
  if (!node_bool(row->node, "zero_masked")) return top;
  Reg *is_lowest = loop_binary(&lower->loops, LOOP_EQ, top, lowest(lower, top->type.dtype));
  return loop_select(&lower->loops, is_lowest, constant_like(lower, top, 0), top);
}

/* The divisor of sums of weights. */
static Reg *nonzero_sum(Lower *lower, const Row *row, Reg *sum) {
  if (!node_bool(row->node, "zero_masked")) return sum;
  Reg *is_zero = loop_binary(&lower->loops, LOOP_EQ, sum, constant_like(lower, sum, 0));
  return loop_select(&lower->loops, is_zero, constant_like(lower, sum, 1), sum);
}

static Reg *sum_of_weights(Lower *lower, const Row *row, Reg *count) {
  Loops *loops = &lower->loops;
  Reg *start = constant_like(lower, row->max, 0);
  Nest nest = nest_begin(1, &start);
  Index key = index_of(nest_for(lower, &nest, count));
  Reg *w = weight(lower, row, key);
  if (row->weights) {
    w = loop_unary(loops, LOOP_EXP, loop_binary(loops, LOOP_SUB, w, row->max));
    loop_store(loops, w, row->weights, &key.base, NULL);
  }
  nest.carried[0] = loop_binary(loops, LOOP_ADD, nest.carried[0], w);
  nest_end(lower, &nest);
  return nest.carried[0];
}

static Reg *weighted_sum(Lower *lower, const Row *row, Reg *count, Reg *sum) {
  Loops *loops = &lower->loops;
  Reg *zero = constant_like(lower, sum, 0);
  Nest nest = nest_begin(1, &zero);
  Index key = index_of(nest_for(lower, &nest, count));
  Reg *w = loop_binary(loops, LOOP_DIV, weight(lower, row, key), sum);
  nest.carried[0] =
      multiply_add(lower, nest.carried[0], w, read_side(lower, row, VALUE, key, row->at[CHANNEL]));
  nest_end(lower, &nest);
  return nest.carried[0];
}

/* Where the number of keys is a constant, a row of scores is kept; else it is computed again for each use. */
static void attention_nest(Lower *lower, const Node *node) {
  Value *y = result(node, 0);
  const int64_t *perm = perm_of(node, "y_perm");
  const Dim *k[AXES], *keys;
  Row row = {.node = node};
  Index at[AXES];
  bool skip[AXES] = {false};
  int channel = 0;
  canonical_dims(node, KEY, k);
  keys = k[POSITION];
  for (int i = 0; i < AXES; i++)
    if (perm[i] == CHANNEL) skip[channel = i] = true;
  if (dim_is_const(keys) && keys->value <= MAX_LOCAL_KEYS)
    row.weights =
        kernel_add_local(lower->loops.kernel, "weights", compute_dtype(y->type->dtype), 1, &keys->value);
  Nest outer = nest_over(lower, y, skip, at);
  for (int i = 0; i < AXES; i++) row.at[perm[i]] = at[i];
  Reg *count = loop_dim(&lower->loops, keys);
  row.max = finite_top(lower, &row, largest_score(lower, &row, count));
  Reg *sum = nonzero_sum(lower, &row, sum_of_weights(lower, &row, count));
  Nest inner = nest_begin(0, NULL);
  at[channel] = row.at[CHANNEL] = index_of(nest_for(lower, &inner, lower_dim(lower, y, channel)));
  lower_result(lower, 0, at, loop_cast(&lower->loops, weighted_sum(lower, &row, count, sum), y->type->dtype));
  nest_end(lower, &inner);
  nest_end(lower, &outer);
}

static const Dim *attention_macs(const Node *node) {
  Module *module = node_module(node);
  const Dim *q[AXES], *v[AXES];
  canonical_dims(node, QUERY, q);
  canonical_dims(node, VALUE, v);
  const Dim *macs =
      dim_mul(module, dim_mul(module, q[BATCH], q[HEAD]), dim_mul(module, q[POSITION], v[POSITION]));
  return dim_mul(module, macs, dim_add(module, q[CHANNEL], v[CHANNEL]));
}

const Op op_attention = {
    .name = "attention",
    .family = "attention",
    .doc = "softmax(softcap(q k^T * scale) + mask) v for each head, with softmax over the keys (Vaswani et "
           "al. 2017). "
           "Keys and values may have fewer heads than queries (Ainslie et al. 2023): head i reads head i / "
           "(h/g).",
    .operands = attention_operands,
    .operand_count = COUNT_OF(attention_operands),
    .results = results_y,
    .result_count = 1,
    .attrs = attention_attrs,
    .attr_count = COUNT_OF(attention_attrs),
    .infer = attention_infer,
    .axes = attention_axes,
    .nest = attention_nest,
    .macs = attention_macs,
};
