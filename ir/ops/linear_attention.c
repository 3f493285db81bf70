/*
 * linear_attention.c -- attention without softmax: a matrix per head remembers keys and values, from one
 * position to the next.
 *
 * The columns of the matrix, one for each channel of the values, know nothing of each other: the plain nest
 * walks the positions once for each, and keeps a column in a local buffer.
 */
#include "ir/ops/ops.h"

enum { QUERY, KEY, VALUE, STATE, KEEP, BETA, ERASE }; /* operands */
enum { BATCH, POSITION, HEAD, CHANNEL, AXES };
enum { MAX_CHANNELS = 1 << 14 }; /* of keys */

static const char *const results_y[] = {"y", "last"};

static const OperandSpec linear_attention_operands[] = {
    {"q", false, "queries, [b, t, h, d]"},
    {"k", false, "keys, [b, t, g, d]; h is a multiple of g, or g of h"},
    {"v", false, "values, [b, t, g, e]"},
    {"state", true, "[b, g, d, e]: the matrices before the first position; absent: 0"},
    {"keep", true, "[b, t, g or 1, d or 1]: factor of the rows of the matrix at each position; absent: 1"},
    {"beta", true, "[b, t, g or 1, 1]: how far a key's value is corrected; absent: it is added"},
    {"erase", true, "[b, t, g, d]: factor of the keys that ask for the value to correct; absent: 1"}};

/* ---- types --------------------------------------------------------------------------------------------- */

/* Each axis of the operand has the size that is wanted, or 1 where that broadcasts. */
static bool check_dims(const Node *node, int index, const Dim *const *wanted, const bool *may_be_one) {
  Module *module = node_module(node);
  if (!operand(node, index)) return true;
  TRY(check_rank(node, index, AXES) && check_kind(node, index, KIND_FLOAT));
  if (index != STATE) TRY(check_same_dtype(node, QUERY, index));
  for (int i = 0; i < AXES; i++) {
    const Dim *dim = operand(node, index)->type->dims[i];
    if (!wanted[i] || dim == wanted[i] || (may_be_one && may_be_one[i] && dim_is(dim, 1))) continue;
    return node_fail(node, "%s is %s: axis %d should be %s", node->op->operands[index].name,
                     operand_text(node, index), i, dim_text(module, wanted[i]));
  }
  return true;
}

static bool divides(const Dim *few, const Dim *many) {
  return dim_is_const(few) && dim_is_const(many) && few->value > 0 && many->value % few->value == 0;
}

static bool linear_attention_infer(Node *node) {
  static const bool gates[AXES] = {false, false, true, true};
  Module *module = node_module(node);
  TRY(check_kind(node, QUERY, KIND_FLOAT) && check_rank(node, QUERY, AXES) && check_rank(node, KEY, AXES) &&
      check_rank(node, VALUE, AXES));
  const Dim *const *q = operand(node, QUERY)->type->dims, *const *k = operand(node, KEY)->type->dims;
  const Dim *g = k[HEAD], *h = q[HEAD], *d = q[CHANNEL], *e = operand(node, VALUE)->type->dims[CHANNEL];
  const Dim *const keys[] = {q[BATCH], q[POSITION], NULL, d}, *const values[] = {q[BATCH], q[POSITION], g,
                                                                                 NULL};
  const Dim *const state[] = {q[BATCH], g, d, e}, *const each[] = {q[BATCH], q[POSITION], g, d};
  const Dim *const number[] = {q[BATCH], q[POSITION], g, dim_const(module, 1)};
  TRY(check_dims(node, KEY, keys, NULL) && check_dims(node, VALUE, values, NULL));
  TRY(check_dims(node, STATE, state, NULL) && check_dims(node, KEEP, each, gates));
  TRY(check_dims(node, BETA, number, gates) && check_dims(node, ERASE, each, NULL));
  if (!divides(g, h) && !divides(h, g))
    return node_fail(node, "%s heads of q and %s of k", dim_text(module, h), dim_text(module, g));
  if (!dim_is_const(d) || d->value < 1 || d->value > MAX_CHANNELS)
    return node_fail(node, "keys of %s channels", dim_text(module, d));
  Dtype dtype = operand(node, QUERY)->type->dtype;
  const Dim *const y[] = {q[BATCH], q[POSITION], h->value > g->value ? h : g, e};
  result_set(node, 0, type_make(module, dtype, AXES, y));
  if (operand(node, STATE)) dtype = operand(node, STATE)->type->dtype;
  result_set(node, 1, type_make(module, dtype, AXES, state));
  return true;
}

/* ---- meaning ------------------------------------------------------------------------------------------- */

/* A column of a matrix, on its way through the positions. */
typedef struct Column {
  Lower *lower;
  const Node *node;
  Buffer *state; /* [d] */
  Index batch, head, position, channel;
  Reg *channels; /* of keys */
} Column;

static Reg *read(const Column *c, int index, Index head, Index channel) {
  const Index wanted[AXES] = {c->batch, c->position, head, channel};
  Index at[AXES];
  const Value *x = operand(c->node, index);
  for (int i = 0; i < AXES; i++) at[i] = dim_is(x->type->dims[i], 1) ? index_const(c->lower, 0) : wanted[i];
  return compute(c->lower, lower_operand(c->lower, c->node, index, at));
}

static Reg *state_at(const Column *c, Index row) {
  return loop_load(&c->lower->loops, c->state, &row.base, 1, NULL);
}

static void set_state(const Column *c, Index row, Reg *value) {
  loop_store(&c->lower->loops, value, c->state, &row.base, NULL);
}

/* The sum over rows of the state times what `factor` of operand `index` (and `other`, -1: none) has there. */
static Reg *product(const Column *c, int index, int other, Index head) {
  Reg *zero = loop_const(&c->lower->loops, (LoopType){c->state->dtype, 1}, 0);
  Nest nest = nest_begin(1, &zero);
  Index row = index_of(nest_for(c->lower, &nest, c->channels));
  Reg *x = read(c, index, head, row);
  if (other >= 0) x = loop_binary(&c->lower->loops, LOOP_MUL, x, read(c, other, head, row));
  nest.carried[0] = multiply_add(c->lower, nest.carried[0], x, state_at(c, row));
  nest_end(c->lower, &nest);
  return nest.carried[0];
}

static For each_row(const Column *c, Index *row) {
  Loops *loops = &c->lower->loops;
  For loop = loop_for(loops, loop_int(loops, 0), c->channels, 1, 0, NULL);
  *row = index_of(loop.counter);
  return loop;
}

static void begin(const Column *c) {
  Loops *loops = &c->lower->loops;
  Index row;
  For loop = each_row(c, &row);
  const Index at[AXES] = {c->batch, c->head, row, c->channel};
  Reg *zero = loop_const(loops, (LoopType){c->state->dtype, 1}, 0);
  Reg *x = operand(c->node, STATE) ? lower_operand(c->lower, c->node, STATE, at) : zero;
  set_state(c, row, loop_cast(loops, x, c->state->dtype));
  loop_end(loops, &loop, NULL);
}

static void forget(const Column *c) {
  Loops *loops = &c->lower->loops;
  Index row;
  For loop = each_row(c, &row);
  set_state(c, row, loop_binary(loops, LOOP_MUL, state_at(c, row), read(c, KEEP, c->head, row)));
  loop_end(loops, &loop, NULL);
}

static void learn(const Column *c) {
  Loops *loops = &c->lower->loops;
  Reg *value = read(c, VALUE, c->head, c->channel);
  if (operand(c->node, BETA)) {
    Reg *known = product(c, KEY, operand(c->node, ERASE) ? ERASE : -1, c->head);
    Reg *beta = read(c, BETA, c->head, index_const(c->lower, 0));
    value = loop_binary(loops, LOOP_MUL, beta, loop_binary(loops, LOOP_SUB, value, known));
  }
  Index row;
  For loop = each_row(c, &row);
  set_state(c, row, multiply_add(c->lower, state_at(c, row), read(c, KEY, c->head, row), value));
  loop_end(loops, &loop, NULL);
}

/* The results of the heads of q that this one serves, or of its own. */
static void answer(const Column *c) {
  Loops *loops = &c->lower->loops;
  int64_t h = operand(c->node, QUERY)->type->dims[HEAD]->value;
  int64_t g = operand(c->node, KEY)->type->dims[HEAD]->value, served = h > g ? h / g : 1;
  For loop = loop_for(loops, loop_int(loops, 0), loop_int(loops, served), 1, 0, NULL);
  Index own = index_add(c->lower, index_mul_const(c->lower, c->head, served), index_of(loop.counter));
  Index asking = h < g ? index_div(c->lower, own, dim_const(c->lower->module, g / h)) : own;
  const Index at[AXES] = {c->batch, c->position, own, c->channel};
  Reg *y = product(c, QUERY, -1, asking);
  lower_result(c->lower, 0, at, loop_cast(loops, y, result(c->node, 0)->type->dtype));
  loop_end(loops, &loop, NULL);
}

static void linear_attention_nest(Lower *lower, const Node *node) {
  static const bool skip[AXES] = {false, false, true, false};
  Loops *loops = &lower->loops;
  const Type *q = operand(node, QUERY)->type;
  Column c = {.lower = lower, .node = node, .channels = loop_dim(loops, q->dims[CHANNEL])};
  c.state = kernel_add_local(loops->kernel, "column", compute_dtype(q->dtype), 1, &q->dims[CHANNEL]->value);
  Index at[AXES], row;
  Nest columns = nest_over(lower, result(node, 1), skip, at);
  c.batch = at[0];
  c.head = at[1];
  c.channel = at[3];
  begin(&c);
  For positions = loop_for(loops, loop_int(loops, 0), loop_dim(loops, q->dims[POSITION]), 1, 0, NULL);
  c.position = index_of(positions.counter);
  if (operand(node, KEEP)) forget(&c);
  learn(&c);
  answer(&c);
  loop_end(loops, &positions, NULL);
  For rows = each_row(&c, &row);
  at[2] = row;
  lower_result(lower, 1, at, loop_cast(loops, state_at(&c, row), result(node, 1)->type->dtype));
  loop_end(loops, &rows, NULL);
  nest_end(lower, &columns);
}

static const Dim *linear_attention_macs(const Node *node) {
  Module *module = node_module(node);
  const Dim *each = dim_mul(module, type_count(module, operand(node, VALUE)->type),
                            operand(node, QUERY)->type->dims[CHANNEL]);
  const Dim *asked =
      dim_mul(module, type_count(module, result(node, 0)->type), operand(node, QUERY)->type->dims[CHANNEL]);
  int per_key = 1 + (operand(node, KEEP) != NULL) + (operand(node, BETA) != NULL);
  return dim_add(module, asked, dim_mul(module, each, dim_const(module, per_key)));
}

const Op op_linear_attention = {
    .name = "linear_attention",
    .family = "linear_attention",
    .doc =
        "At each position, for each head: S = keep * S; u = v, or beta * (v - S^T (erase * k)) where beta is "
        "given (the delta rule, Schlag et al. 2021; gated, Yang et al. 2024); S = S + k u^T; y = S^T q. "
        "Where q "
        "and k have unlike numbers of heads, those of the fewer serve several of the others each. last is "
        "the "
        "last S.",
    .operands = linear_attention_operands,
    .operand_count = COUNT_OF(linear_attention_operands),
    .results = results_y,
    .result_count = 2,
    .infer = linear_attention_infer,
    .axes = axes_opaque,
    .nest = linear_attention_nest,
    .macs = linear_attention_macs,
};
