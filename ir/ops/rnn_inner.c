/*
 * rnn_inner.c -- the products inside of lstm, gru and rnn, of all steps: the state before each of them times
 * the recurrent weights.
 *
 * The state before a step is y of the step before, so once y is known no step waits for another, and all
 * products are one. Where gru resets its state before the candidate's product, the reset gate is computed
 * anew, of xw and the products of its own.
 */
#include "ir/ops/ops.h"

enum { RESET = 1, CANDIDATE = 2, GRU_GATES = 3 }; /* parts of gru */

/* ---- Shorthands: NULL in, NULL out ---- */

static Value *binary(Builder *b, const Op *op, Value *x, Value *y) {
  return x && y ? build_binary(b, op, x, y) : NULL;
}

/* `size` indices of an axis from `start` on. */
static Value *part(Builder *b, Value *x, int axis, const Dim *start, const Dim *size) {
  Module *module = b->graph->module;
  const Dim *starts[MAX_RANK], *sizes[MAX_RANK];
  if (!x) return NULL;
  for (int i = 0; i < x->type->rank; i++) {
    starts[i] = i == axis ? start : dim_const(module, 0);
    sizes[i] = i == axis ? size : x->type->dims[i];
  }
  Node *node = node_new(b, &op_slice, &x, 1);
  node_set_dims(node, "starts", starts, x->type->rank);
  node_set_dims(node, "sizes", sizes, x->type->rank);
  return node_finish(node) ? result(node, 0) : NULL;
}

static Value *side_by_side(Builder *b, int axis, Value *const *parts, int count) {
  for (int i = 0; i < count; i++)
    if (!parts[i]) return NULL;
  Node *node = node_new(b, &op_concat, parts, count);
  node_set_int(node, "axis", axis);
  return node_finish(node) ? result(node, 0) : NULL;
}

/* Gates [first, first + count) along the last axis. */
static Value *gates(Builder *b, const Cell *cell, Value *x, int first, int count) {
  Module *module = b->graph->module;
  return x ? part(b, x, x->type->rank - 1, dim_const(module, first * cell->hidden),
                  dim_const(module, count * cell->hidden))
           : NULL;
}

/* ---- Steps ---- */

static const Type *y_type(const Cell *cell) {
  return result(cell->node, 0)->type;
}

/* [batch, n] or [batch] with an axis for the steps. */
static Value *for_steps(Builder *b, const Cell *cell, Value *x) {
  const Dim *dims[3], *one = dim_const(b->graph->module, 1);
  if (!x) return NULL;
  dims[cell->batch_axis] = x->type->dims[0];
  dims[!cell->batch_axis] = one;
  if (x->type->rank > 1) dims[2] = x->type->dims[1];
  return build_reshape(b, x, x->type->rank + 1, dims);
}

/* The number of each step, [steps, 1] or [1, steps]. */
static Value *step_numbers(Builder *b, const Cell *cell, Dtype dtype) {
  const Dim *dims[2];
  dims[cell->batch_axis] = dim_const(b->graph->module, 1);
  dims[!cell->batch_axis] = y_type(cell)->dims[!cell->batch_axis];
  Node *node = node_new(b, &op_iota, NULL, 0);
  node_set_dims(node, "shape", dims, 2);
  node_set_int(node, "axis", !cell->batch_axis);
  node_set_dtype(node, "dtype", dtype);
  return node_finish(node) ? result(node, 0) : NULL;
}

/* Before the first step. */
static Value *initial_state(Builder *b, const Cell *cell) {
  const Type *type = y_type(cell);
  const Dim *dims[3] = {type->dims[0], type->dims[1], type->dims[2]};
  dims[!cell->batch_axis] = dim_const(b->graph->module, 1);
  Value *h0 = operand(cell->node, CELL_H0);
  return h0 ? for_steps(b, cell, h0) : build_broadcast(b, build_scalar(b, type->dtype, 0), 3, dims);
}

/* [steps, batch] or the other way round: whether the step is the last of its row. */
static Value *is_last(Builder *b, const Cell *cell) {
  Value *lengths = operand(cell->node, CELL_LENGTHS), *one = build_scalar(b, lengths->type->dtype, 1);
  Value *last = binary(b, &op_sub, for_steps(b, cell, lengths), one);
  return binary(b, &op_equal, step_numbers(b, cell, lengths->type->dtype), last);
}

/* Reversed rows begin where they end. */
static Value *begin_at_end(Builder *b, const Cell *cell, Value *states) {
  Value *last = is_last(b, cell), *initial = initial_state(b, cell);
  const Dim *dims[] = {y_type(cell)->dims[0], y_type(cell)->dims[1], dim_const(b->graph->module, 1)};
  last = last ? build_reshape(b, last, 3, dims) : NULL;
  return last && initial && states ? build_op(b, &op_where, (Value *[]){last, initial, states}, 3) : NULL;
}

static Value *states_before(Builder *b, const Cell *cell) {
  Module *module = b->graph->module;
  const Dim *steps = y_type(cell)->dims[!cell->batch_axis], *one = dim_const(module, 1);
  Value *others = part(b, result(cell->node, 0), !cell->batch_axis, dim_const(module, cell->reverse),
                       dim_sub(module, steps, one));
  Value *initial = initial_state(b, cell), *forward[] = {initial, others}, *backward[] = {others, initial};
  Value *states = side_by_side(b, !cell->batch_axis, cell->reverse ? backward : forward, 2);
  bool ends_early = cell->reverse && operand(cell->node, CELL_LENGTHS) && operand(cell->node, CELL_H0);
  return ends_early ? begin_at_end(b, cell, states) : states;
}

static Value *steps_there_are(Builder *b, const Cell *cell) {
  Value *lengths = operand(cell->node, CELL_LENGTHS);
  if (!lengths) return NULL;
  Value *numbers = step_numbers(b, cell, lengths->type->dtype);
  return binary(b, &op_less, numbers, for_steps(b, cell, lengths));
}

/* ---- The product ---- */

/* With some gates' weights. */
static Value *product(Builder *b, const Cell *cell, Value *states, int first, int count) {
  return binary(b, &op_matmul, states, gates(b, cell, operand(cell->node, CELL_R), first, count));
}

static Value *activated(Builder *b, const Cell *cell, int which, Value *x) {
  double clip = node_float(cell->node, "clip");
  if (x && clip > 0) {
    x = binary(b, &op_max, x, build_scalar(b, x->type->dtype, -clip));
    x = binary(b, &op_min, x, build_scalar(b, x->type->dtype, clip));
  }
  if (!x) return NULL;
  Node *node = node_new(b, cell_activation(cell->node, which), &x, 1);
  cell_give_factors(cell->node, which, node);
  return node_finish(node) ? result(node, 0) : NULL;
}

/* The candidate sees what the reset gate leaves of the state. */
static bool reset_product(Builder *b, const Cell *cell, Value *states, InnerProduct *inner) {
  Value *open = product(b, cell, states, 0, CANDIDATE);
  Value *sum = binary(b, &op_add, gates(b, cell, operand(cell->node, CELL_XW), RESET, 1),
                      open ? gates(b, cell, open, RESET, 1) : NULL);
  Value *seen = binary(b, &op_mul, activated(b, cell, 0, sum), states);
  inner->x = side_by_side(b, 2, (Value *[]){states, states, seen}, GRU_GATES);
  inner->y = side_by_side(b, 2, (Value *[]){open, product(b, cell, seen, CANDIDATE, 1)}, 2);
  return inner->x && inner->y;
}

bool cell_inner(const Node *node, Builder *builder, InnerProduct *inner) {
  Cell cell = node_cell(node);
  if (cell.packed || cell.rounds_state) return false;
  *inner = (InnerProduct){.groups = cell.resets_state ? GRU_GATES : 1};
  if (!builder) return true;
  Value *states = states_before(builder, &cell);
  inner->counts = steps_there_are(builder, &cell);
  if (!states || (operand(node, CELL_LENGTHS) && !inner->counts)) return false;
  if (cell.resets_state) return reset_product(builder, &cell, states, inner);
  inner->x = states;
  inner->y = product(builder, &cell, states, 0, cell.gates);
  return inner->y;
}

/* ---- A sum with it ---- */

static Value *sum(Builder *b, Value *x, Value *addend) {
  return x ? binary(b, &op_add, x, addend) : addend;
}

/* Of what made it, not of views of that. */
static const char *origin_of(const Value *x) {
  while (x->def && x->def->op->traits & TRAIT_VIEW) x = operand(x->def, 0);
  return x->def ? x->def->origin : NULL;
}

/* xw is added to it, except where gru resets the candidate's product, which has a bias of its own. */
bool cell_inner_add(const Node *node, Builder *builder, Value *addend, Value **operands) {
  Cell cell = node_cell(node);
  if (cell.gates == GRU_GATES && !cell.resets_state) {
    Value *inside = gates(builder, &cell, addend, CANDIDATE, 1);
    Value *others[] = {
        gates(builder, &cell, addend, 0, CANDIDATE),
        build_splat(builder, type_static(builder->graph->module, addend->type->dtype, 1, &cell.hidden), 0)};
    operands[GRU_BIAS] = inside ? sum(builder, operands[GRU_BIAS], inside) : NULL;
    addend = side_by_side(builder, 0, others, 2);
    if (!operands[GRU_BIAS]) return false;
  }
  Builder outside = *builder;
  outside.origin = origin_of(operands[CELL_XW]);
  operands[CELL_XW] = binary(&outside, &op_add, operands[CELL_XW], addend);
  return operands[CELL_XW];
}
