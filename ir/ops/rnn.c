/*
 * rnn.c -- recurrences: lstm, gru and the simple rnn, one direction of one layer.
 *
 * The products with the input, x*W + b of all steps, are one gemm before the op, which takes them as `xw`:
 * only what depends on the step before is in here. Gates lie side by side, [gates*hidden], in ONNX's order.
 *
 * Every row of the batch is a recurrence of its own. With `reverse` the steps run from last to first; results
 * stay at the step they belong to. With `lengths` a row has that many steps: beyond, its state stays as it is
 * and y is 0, so that in reverse it starts at its own last step.
 *
 * What a cell computes of the sums of one step (cell_next) is shared with the fast kernel, whose recurrent
 * weights are packed; the plain nest reads through the packing.
 */
#include "ir/ops/ops.h"

#include <math.h>
#include <string.h>

enum { MAX_HIDDEN = 1 << 16 };

/* ---- the cells: what is the same for all ---- */

Cell node_cell(const Node *node) {
  const Type *r = operand(node, CELL_R)->type;
  int64_t packed = node_int(node, "packed");
  Cell cell = {.node = node, .packed = packed, .hidden = r->rank ? r->dims[packed != 0]->value : 0};
  cell.gates = node_is(node, &op_lstm) ? 4 : node_is(node, &op_gru) ? 3 : 1;
  cell.reverse = node_bool(node, "reverse");
  cell.batch_axis = node_bool(node, "batch_first") ? 0 : 1;
  cell.resets_state = node_is(node, &op_gru) && !node_bool(node, "linear_before_reset");
  cell.rounds_state = node_is(node, &op_lstm) && node_bool(node, "rounds_state");
  return cell;
}

void cell_at(const Cell *cell, Index step, Index row, Index unit, Index at[3]) {
  at[cell->batch_axis] = row;
  at[!cell->batch_axis] = step;
  at[2] = unit;
}

static Reg *gate_of(Lower *lower, const Cell *cell, int index, int gate, Index unit) {
  Index at = index_add_const(lower, unit, gate * cell->hidden);
  return compute(lower, lower_operand(lower, cell->node, index, &at));
}

/* ---- activations: unary operators by name ---- */

static const char *const activation_names[] = {"f", "g", "h"};

const Op *cell_activation(const Node *node, int which) {
  const char *name = node_string(node, activation_names[which]);
  return op_find(name, strlen(name));
}

static void give_factor(const Node *from, Node *to, const char *name, int which) {
  int count;
  const double *factors = node_floats(from, name, &count);
  if (which < count && op_attr_index(to->op, name) >= 0) node_set_float(to, name, factors[which]);
}

void cell_give_factors(const Node *node, int which, Node *to) {
  give_factor(node, to, "alpha", which);
  give_factor(node, to, "beta", which);
}

/* Activation number `which` of the node; they are unary operators whose meaning asks for no operand. */
static Reg *activated(Lower *lower, const Cell *cell, int which, Reg *x) {
  const Node *node = cell->node;
  const Op *op = cell_activation(node, which);
  Node call = {.op = op, .graph = node->graph, .attrs = attrs_default(lower->module, op)};
  cell_give_factors(node, which, &call);
  double clip = node_float(node, "clip");
  if (clip > 0) {
    x = loop_binary(&lower->loops, LOOP_MAX, constant_like(lower, x, -clip), x);
    x = loop_binary(&lower->loops, LOOP_MIN, constant_like(lower, x, clip), x);
  }
  return op->scalar ? op->scalar(lower, &call, &x) : loop_unary(&lower->loops, (Opcode)op->opcode, x);
}

/* ---- one step of a cell ---- */

static Reg *plus(Lower *lower, Reg *x, Reg *y) {
  return loop_binary(&lower->loops, LOOP_ADD, x, y);
}

static Reg *times(Lower *lower, Reg *x, Reg *y) {
  return loop_binary(&lower->loops, LOOP_MUL, x, y);
}

static Reg *one_minus(Lower *lower, Reg *x) {
  return loop_binary(&lower->loops, LOOP_SUB, constant_like(lower, x, 1), x);
}

/* x with the state c, seen through a peephole of its gate. */
static Reg *peep(Lower *lower, const Cell *cell, int gate, Index unit, Reg *x, Reg *c) {
  if (!operand(cell->node, LSTM_PEEPHOLES)) return x;
  return loop_mul_add(&lower->loops, gate_of(lower, cell, LSTM_PEEPHOLES, gate, unit), c, x);
}

static Reg *lstm_next(Lower *lower, const Cell *cell, Index unit, Reg *const *x, Reg *const *sums, Reg **c) {
  enum { I, O, F, C };
  Reg *i = activated(lower, cell, 0, peep(lower, cell, I, unit, plus(lower, x[I], sums[I]), *c));
  Reg *f = node_bool(cell->node, "input_forget")
               ? one_minus(lower, i)
               : activated(lower, cell, 0, peep(lower, cell, F, unit, plus(lower, x[F], sums[F]), *c));
  Reg *candidate = activated(lower, cell, 1, plus(lower, x[C], sums[C]));
  *c = loop_mul_add(&lower->loops, f, *c, times(lower, i, candidate));
  Reg *o = activated(lower, cell, 0, peep(lower, cell, O, unit, plus(lower, x[O], sums[O]), *c));
  return times(lower, o, activated(lower, cell, 2, *c));
}

Reg *cell_reset(Lower *lower, const Cell *cell, Reg *x, Reg *sum, Reg *h) {
  return times(lower, activated(lower, cell, 0, plus(lower, x, sum)), h);
}

static Reg *gru_next(Lower *lower, const Cell *cell, Index unit, Reg *const *x, Reg *const *sums, Reg *h) {
  enum { Z, R, H };
  Reg *z = activated(lower, cell, 0, plus(lower, x[Z], sums[Z])), *sum = sums[H];
  if (operand(cell->node, GRU_BIAS)) sum = plus(lower, sum, gate_of(lower, cell, GRU_BIAS, 0, unit));
  if (!cell->resets_state) sum = cell_reset(lower, cell, x[R], sums[R], sum);
  Reg *candidate = activated(lower, cell, 1, plus(lower, x[H], sum));
  return loop_mul_add(&lower->loops, z, h, times(lower, one_minus(lower, z), candidate));
}

Reg *cell_next(Lower *lower, const Cell *cell, Index unit, Reg *const *x, Reg *const *sums, Reg *h, Reg **c) {
  if (cell->gates == 4) return lstm_next(lower, cell, unit, x, sums, c);
  if (cell->gates == 3) return gru_next(lower, cell, unit, x, sums, h);
  return activated(lower, cell, 0, plus(lower, x[0], sums[0]));
}

/* ---- states in 8 bits ---- */

static Reg *load_state(Loops *loops, CellState state, Reg *unit) {
  return loop_load(loops, state.buffer, state.row ? (Reg *[]){state.row, unit} : &unit, 1, NULL);
}

static Reg *rounded_quotient(Lower *lower, Reg *x, Reg *y) {
  return loop_unary(&lower->loops, LOOP_ROUND, loop_binary(&lower->loops, LOOP_DIV, x, y));
}

static Reg *in_a_byte(Lower *lower, Reg *x) {
  x = loop_binary(&lower->loops, LOOP_MAX, constant_like(lower, x, 0), x);
  return loop_binary(&lower->loops, LOOP_MIN, constant_like(lower, x, 255), x);
}

/* The distance of two steps, 1 for a state of zeros; *zero gets the step that stands for 0. */
static Reg *step_of_range(Lower *lower, Reg *low, Reg *high, Reg **zero) {
  Loops *loops = &lower->loops;
  Reg *range = loop_binary(loops, LOOP_SUB, high, low);
  Reg *step = loop_binary(loops, LOOP_DIV, range, constant_like(lower, range, 255));
  Reg *is_empty = loop_binary(loops, LOOP_EQ, step, constant_like(lower, step, 0));
  step = loop_select(loops, is_empty, constant_like(lower, step, 1), step);
  *zero = in_a_byte(lower, rounded_quotient(lower, loop_unary(loops, LOOP_NEG, low), step));
  return step;
}

void cell_round(Lower *lower, const Cell *cell, CellState h, CellState seen) {
  Loops *loops = &lower->loops;
  LoopType type = {h.buffer->dtype, 1};
  Reg *begin = loop_int(loops, 0), *end = loop_int(loops, cell->hidden), *zero;
  Reg *range[2] = {loop_const(loops, type, 0), loop_const(loops, type, 0)};
  For units = loop_for(loops, begin, end, 1, 2, range);
  Reg *x = load_state(loops, h, units.counter);
  range[0] = loop_binary(loops, LOOP_MIN, x, units.carried[0]);
  range[1] = loop_binary(loops, LOOP_MAX, x, units.carried[1]);
  loop_end(loops, &units, range);
  Reg *step = step_of_range(lower, units.results[0], units.results[1], &zero);
  units = loop_for(loops, begin, end, 1, 0, NULL);
  x = plus(lower, rounded_quotient(lower, load_state(loops, h, units.counter), step), zero);
  x = times(lower, loop_binary(loops, LOOP_SUB, in_a_byte(lower, x), zero), step);
  loop_store(loops, x, seen.buffer, seen.row ? (Reg *[]){seen.row, units.counter} : &units.counter, NULL);
  loop_end(loops, &units, NULL);
}

/* ---- infer, simplify ---- */

/* An optional operand has the dtype of xw and these sizes. */
static bool check_sizes_of(const Node *node, int index, int rank, const Dim *const *dims) {
  if (!operand(node, index)) return true;
  TRY(check_same_dtype(node, CELL_XW, index) && check_rank(node, index, rank));
  const Type *type = operand(node, index)->type;
  for (int i = 0; i < rank; i++) {
    if (!sizes_agree(node, type->dims[i], dims[i]))
      return node_fail(node, "%s is %s; axis %d must be %s", node->op->operands[index].name,
                       operand_text(node, index), i, dim_text(node_module(node), dims[i]));
  }
  return true;
}

static bool check_weights(const Node *node, const Cell *cell) {
  Module *module = node_module(node);
  const Type *r = operand(node, CELL_R)->type;
  const Dim *hidden = dim_const(module, cell->hidden);
  if (!type_is_static(r) || cell->hidden < 1 || cell->hidden > MAX_HIDDEN)
    return node_fail(node, "r is %s; hidden must be a constant from 1 to %d", operand_text(node, CELL_R),
                     MAX_HIDDEN);
  if (!cell->packed)
    return check_sizes_of(node, CELL_R, 2,
                          (const Dim *[]){hidden, dim_const(module, cell->gates * cell->hidden)});
  const Dim *panels = dim_const(module, (cell->hidden + cell->packed - 1) / cell->packed);
  const Dim *dims[] = {panels, hidden, dim_const(module, cell->gates), dim_const(module, cell->packed)};
  return check_sizes_of(node, CELL_R, 4, dims);
}

static bool check_lengths(const Node *node, const Dim *batch) {
  const Value *lengths = operand(node, CELL_LENGTHS);
  if (!lengths) return true;
  TRY(check_kind(node, CELL_LENGTHS, KIND_INT) && check_rank(node, CELL_LENGTHS, 1));
  if (sizes_agree(node, lengths->type->dims[0], batch)) return true;
  return node_fail(node, "lengths is %s, and the batch is %s", operand_text(node, CELL_LENGTHS),
                   dim_text(node_module(node), batch));
}

/* Factors are given for every activation or for none. */
static bool check_factors(const Node *node, const char *name) {
  int count, activations = 0;
  node_floats(node, name, &count);
  while (activations < 3 && op_attr_index(node->op, activation_names[activations]) >= 0) activations++;
  return count == 0 || check_count(node, name, count, activations);
}

static bool cell_infer(Node *node) {
  Module *module = node_module(node);
  int64_t packed = node_int(node, "packed");
  TRY(check_kind(node, CELL_XW, KIND_FLOAT) && check_rank(node, CELL_XW, 3));
  if (packed < 0 || packed > 4096) return node_fail(node, "packed=%lld cannot be", (long long)packed);
  TRY(check_rank(node, CELL_R, packed ? 4 : 2));
  Cell cell = node_cell(node);
  TRY(check_weights(node, &cell));
  const Type *xw = operand(node, CELL_XW)->type;
  const Dim *batch = xw->dims[cell.batch_axis], *hidden = dim_const(module, cell.hidden);
  if (!sizes_agree(node, xw->dims[2], dim_const(module, cell.gates * cell.hidden)))
    return node_fail(node, "xw is %s; %d gates of %lld are %lld", operand_text(node, CELL_XW), cell.gates,
                     (long long)cell.hidden, (long long)(cell.gates * cell.hidden));
  const Dim *state[] = {batch, hidden}, *peepholes = dim_const(module, 3 * cell.hidden);
  TRY(check_sizes_of(node, CELL_H0, 2, state) && check_lengths(node, batch));
  if (cell.gates == 4)
    TRY(check_sizes_of(node, LSTM_C0, 2, state) && check_sizes_of(node, LSTM_PEEPHOLES, 1, &peepholes));
  if (cell.gates == 3) TRY(check_sizes_of(node, GRU_BIAS, 1, &hidden));
  TRY(check_factors(node, "alpha") && check_factors(node, "beta"));
  result_set(node, 0, type_make(module, xw->dtype, 3, (const Dim *[]){xw->dims[0], xw->dims[1], hidden}));
  for (int i = 1; i < node->result_count; i++) result_set(node, i, type_make(module, xw->dtype, 2, state));
  return true;
}

/* Also of open sizes, as exporters make the states of a batch that is open. */
static bool is_zeros(const Value *x) {
  static const Op *const movements[] = {&op_broadcast, &op_reshape, &op_slice, &op_transpose};
  for (int i = 0; i < COUNT_OF(movements); i++)
    if (node_is(x->def, movements[i])) return is_zeros(operand(x->def, 0));
  return value_is_splat(x, 0);
}

/* States and a bias of zeros are none. */
static Value *cell_simplify(Node *node) {
  bool changed = false;
  for (int i = CELL_H0; i < node->operand_count; i++) {
    if (i == CELL_LENGTHS || !operand(node, i) || !is_zeros(operand(node, i))) continue;
    operand_set(node, i, NULL);
    changed = true;
  }
  return changed ? result(node, 0) : NULL;
}

/* Along the axis of steps all depends on all before. */
static void cell_axes(const Node *node, int index, AxisLink *links) {
  Cell cell = node_cell(node);
  int batch = cell.batch_axis, hidden = 2;
  axes_opaque(node, index, links);
  if (index == CELL_XW) {
    links[batch] = axis_link(AXIS_SAME, batch);
    links[!batch] = (AxisLink){.role = AXIS_SAME, .axis = !batch, .whole = true};
    links[hidden] = (AxisLink){.role = AXIS_PARTS, .axis = hidden, .whole = cell.packed != 0};
  } else if (index == CELL_R && !cell.packed) {
    links[0] = (AxisLink){.role = AXIS_STATE, .axis = hidden, .whole = cell.rounds_state};
    links[1] = axis_link(AXIS_PARTS, hidden);
  } else if (index == CELL_LENGTHS) {
    links[0] = axis_link(AXIS_SAME, batch);
  } else if (operand(node, index)->type->rank == 1) {
    links[0] = axis_link(AXIS_PARTS, hidden);
  } else if (index != CELL_R) {
    links[0] = axis_link(AXIS_SAME, batch);
    links[1] = axis_link(AXIS_STATE, hidden);
  }
}

static void cell_result_axes(const Node *node, int index, AxisLink *links) {
  (void)index;
  links[0] = axis_link(AXIS_SAME, node_cell(node).batch_axis);
  links[1] = axis_link(AXIS_SAME, 2);
}

static const Dim *cell_macs(const Node *node) {
  Module *module = node_module(node);
  Cell cell = node_cell(node);
  return dim_mul(module, type_count(module, operand(node, CELL_XW)->type), dim_const(module, cell.hidden));
}

/* ---- the plain nest: one row after the other ---- */

typedef struct Plain {
  Lower *lower;
  Cell cell;
  Index row, step;
  Buffer *h, *next, *c; /* [hidden] */
  Buffer *reset, *seen; /* what the products see instead of h, or NULL */
} Plain;

static Buffer *new_state(Plain *p, const char *name) {
  Dtype dtype = compute_dtype(operand(p->cell.node, CELL_XW)->type->dtype);
  return kernel_add_local(p->lower->loops.kernel, name, dtype, 1, &p->cell.hidden);
}

static For for_units(Plain *p, Index *unit) {
  Loops *loops = &p->lower->loops;
  For loop = loop_for(loops, loop_int(loops, 0), loop_int(loops, p->cell.hidden), 1, 0, NULL);
  *unit = index_of(loop.counter);
  return loop;
}

static void set_initial(Plain *p, Buffer *state, int index) {
  Loops *loops = &p->lower->loops;
  Index at[2] = {p->row};
  For loop = for_units(p, &at[1]);
  Reg *value = operand(p->cell.node, index)
                   ? compute(p->lower, lower_operand(p->lower, p->cell.node, index, at))
                   : loop_const(loops, (LoopType){state->dtype, 1}, 0);
  loop_store(loops, value, state, &loop.counter, NULL);
  loop_end(loops, &loop, NULL);
}

static Reg *weight(Plain *p, Index k, int gate, Index unit) {
  const Cell *cell = &p->cell;
  Index at[4] = {k, index_add_const(p->lower, unit, gate * cell->hidden)};
  if (cell->packed) {
    const Dim *width = dim_const(p->lower->module, cell->packed);
    at[0] = index_div(p->lower, unit, width);
    at[1] = k;
    at[2] = index_const(p->lower, gate);
    at[3] = index_mod(p->lower, unit, width);
  }
  return compute(p->lower, lower_operand(p->lower, cell->node, CELL_R, at));
}

static Reg *recurrent_sum(Plain *p, Buffer *state, int gate, Index unit) {
  Loops *loops = &p->lower->loops;
  Reg *zero = loop_const(loops, (LoopType){state->dtype, 1}, 0);
  For loop = loop_for(loops, loop_int(loops, 0), loop_int(loops, p->cell.hidden), 1, 1, &zero);
  Reg *w = weight(p, index_of(loop.counter), gate, unit);
  Reg *sum = multiply_add(p->lower, loop.carried[0], loop_load(loops, state, &loop.counter, 1, NULL), w);
  loop_end(loops, &loop, &sum);
  return loop.results[0];
}

static Reg *input_gate(Plain *p, int gate, Index unit) {
  Index at[3];
  cell_at(&p->cell, p->step, p->row, index_add_const(p->lower, unit, gate * p->cell.hidden), at);
  return compute(p->lower, lower_operand(p->lower, p->cell.node, CELL_XW, at));
}

static void reset_state(Plain *p) {
  Loops *loops = &p->lower->loops;
  Index unit;
  For loop = for_units(p, &unit);
  Reg *sum = recurrent_sum(p, p->h, 1, unit), *h = loop_load(loops, p->h, &loop.counter, 1, NULL);
  loop_store(loops, cell_reset(p->lower, &p->cell, input_gate(p, 1, unit), sum, h), p->reset, &loop.counter,
             NULL);
  loop_end(loops, &loop, NULL);
}

static void next_unit(Plain *p, Index unit, Reg *valid) {
  Lower *lower = p->lower;
  Loops *loops = &lower->loops;
  Reg *x[MAX_GATES], *sums[MAX_GATES], *old = loop_load(loops, p->h, &unit.base, 1, NULL);
  Reg *c = p->c ? loop_load(loops, p->c, &unit.base, 1, NULL) : NULL, *old_c = c;
  for (int gate = 0; gate < p->cell.gates; gate++) {
    x[gate] = input_gate(p, gate, unit);
    Buffer *h = p->seen ? p->seen : p->h;
    sums[gate] = recurrent_sum(p, p->reset && gate == 2 ? p->reset : h, gate, unit);
  }
  Reg *h = cell_next(lower, &p->cell, unit, x, sums, old, &c), *y = h;
  if (valid) {
    y = loop_select(loops, valid, h, constant_like(lower, h, 0));
    h = loop_select(loops, valid, h, old);
    if (c) c = loop_select(loops, valid, c, old_c);
  }
  loop_store(loops, h, p->next, &unit.base, NULL);
  if (c) loop_store(loops, c, p->c, &unit.base, NULL);
  Index at[3];
  cell_at(&p->cell, p->step, p->row, unit, at);
  lower_result(lower, 0, at, loop_cast(loops, y, result(p->cell.node, 0)->type->dtype));
}

static void copy_state(Plain *p, Buffer *from, Buffer *to) {
  Loops *loops = &p->lower->loops;
  Index unit;
  For loop = for_units(p, &unit);
  loop_store(loops, loop_load(loops, from, &loop.counter, 1, NULL), to, &loop.counter, NULL);
  loop_end(loops, &loop, NULL);
}

static void give_state(Plain *p, Buffer *state, int index) {
  Loops *loops = &p->lower->loops;
  Index at[2] = {p->row};
  For loop = for_units(p, &at[1]);
  Reg *value = loop_load(loops, state, &loop.counter, 1, NULL);
  lower_result(p->lower, index, at, loop_cast(loops, value, result(p->cell.node, index)->type->dtype));
  loop_end(loops, &loop, NULL);
}

Reg *cell_length(Lower *lower, const Cell *cell, Index row) {
  if (!operand(cell->node, CELL_LENGTHS)) return NULL;
  return loop_cast(&lower->loops, lower_operand(lower, cell->node, CELL_LENGTHS, &row), DTYPE_I64);
}

For cell_steps(Lower *lower, const Cell *cell, Reg **step) {
  Loops *loops = &lower->loops;
  Reg *count = lower_dim(lower, operand(cell->node, CELL_XW), !cell->batch_axis);
  For loop = loop_for(loops, loop_int(loops, 0), count, 1, 0, NULL);
  *step = loop.counter;
  if (!cell->reverse) return loop;
  Reg *last = loop_binary(loops, LOOP_SUB, count, loop_int(loops, 1));
  *step = loop_binary(loops, LOOP_SUB, last, loop.counter);
  return loop;
}

static void cell_nest(Lower *lower, const Node *node) {
  Loops *loops = &lower->loops;
  Plain p = {.lower = lower, .cell = node_cell(node)};
  p.h = new_state(&p, "h");
  p.next = new_state(&p, "next");
  if (p.cell.gates == 4) p.c = new_state(&p, "c");
  if (p.cell.resets_state) p.reset = new_state(&p, "reset");
  if (p.cell.rounds_state) p.seen = new_state(&p, "seen");
  Reg *rows = lower_dim(lower, operand(node, CELL_XW), p.cell.batch_axis), *step;
  For row = loop_parallel(loops, loop_int(loops, 0), rows, 1);
  p.row = index_of(row.counter);
  set_initial(&p, p.h, CELL_H0);
  if (p.c) set_initial(&p, p.c, LSTM_C0);
  Reg *length = cell_length(lower, &p.cell, p.row);
  For steps = cell_steps(lower, &p.cell, &step);
  p.step = index_of(step);
  Reg *valid = length ? loop_binary(loops, LOOP_LT, step, length) : NULL;
  if (p.reset) reset_state(&p);
  if (p.seen) cell_round(lower, &p.cell, (CellState){p.h, NULL}, (CellState){p.seen, NULL});
  Index unit;
  For units = for_units(&p, &unit);
  next_unit(&p, unit, valid);
  loop_end(loops, &units, NULL);
  copy_state(&p, p.next, p.h);
  loop_end(loops, &steps, NULL);
  give_state(&p, p.h, 1);
  if (p.c) give_state(&p, p.c, 2);
  loop_end(loops, &row, NULL);
}

/* ---- the operators ---- */

#define ACTIVATIONS                                                                                          \
  "affine|elu|exp|gelu|hard_sigmoid|hard_swish|leaky_relu|mish|relu|scaled_tanh|selu|sigmoid|silu|softplus|" \
  "softsign|"                                                                                                \
  "tanh|thresholded_relu"

#define COMMON_OPERANDS(GATES)                                                                               \
  {"xw", false, "float [steps, batch, " GATES "hidden]: the input's products and all biases"},               \
      {"r", false, "[hidden, " GATES "hidden]; or packed"},                                                  \
      {"h0", true, "[batch, hidden]: the state before the first step; absent: 0"},                           \
      {"lengths", true, "integer [batch]: steps of each row; absent: all"}

#define COMMON_ATTRS                                                                                         \
  {"reverse", ATTR_BOOL, ROLE_NONE, "false", "from the last step to the first", NULL},                       \
      {"batch_first", ATTR_BOOL, ROLE_NONE, "false", "xw and y are [batch, steps, ..]", NULL},               \
      {"clip", ATTR_FLOAT, ROLE_NONE, "0", "what goes into an activation is kept in [-clip, clip]; 0: not",  \
       NULL},                                                                                                \
      {"alpha", ATTR_FLOATS, ROLE_NONE, "[]", "of the activations, as their operators say; []: its default", \
       NULL},                                                                                                \
      {"beta", ATTR_FLOATS, ROLE_NONE, "[]", "likewise", NULL}, {                                            \
    "packed", ATTR_INT, ROLE_NONE, "0",                                                                      \
        "r is in panels of so many units, [ceil(hidden/packed), hidden, gates, packed]", NULL                \
  }

#define CELL(NAME)                                                                                           \
  .name = #NAME, .family = "rnn", .operands = NAME##_operands, .operand_count = COUNT_OF(NAME##_operands),   \
  .results = state_results, .attrs = NAME##_attrs, .attr_count = COUNT_OF(NAME##_attrs),                     \
  .infer = cell_infer, .simplify = cell_simplify, .axes = cell_axes, .result_axes = cell_result_axes,        \
  .nest = cell_nest, .inner = cell_inner, .inner_add = cell_inner_add, .macs = cell_macs

static const char *const state_results[] = {"y", "h", "c"};

static const OperandSpec lstm_operands[] = {
    COMMON_OPERANDS("4*"),
    {"c0", true, "[batch, hidden]: the cell before the first step; absent: 0"},
    {"peepholes", true, "[3*hidden], of the gates i, o, f"}};

static const AttrSpec lstm_attrs[] = {
    {"f", ATTR_STRING, ROLE_NONE, "sigmoid", "activation of the gates", ACTIVATIONS},
    {"g", ATTR_STRING, ROLE_NONE, "tanh", "activation of the candidate", ACTIVATIONS},
    {"h", ATTR_STRING, ROLE_NONE, "tanh", "activation of the cell", ACTIVATIONS},
    {"input_forget", ATTR_BOOL, ROLE_NONE, "false", "the forget gate is 1 - i", NULL},
    {"rounds_state", ATTR_BOOL, ROLE_NONE, "false",
     "products see h in 8 bits: each row in 255 equal steps over its range with 0, anew at every step", NULL},
    COMMON_ATTRS};

const Op op_lstm = {
    CELL(lstm),
    .doc =
        "Long short-term memory (Hochreiter and Schmidhuber 1997; Gers 2002). Of the sums of a step, a = xw "
        "+ "
        "h*r, in parts i, o, f, c: cell = f(a_f + P_f*cell) * cell + f(a_i + P_i*cell) * g(a_c); h = f(a_o + "
        "P_o*cell) * h(cell). y is [steps, batch, hidden], the h of every step; h and c are the last states.",
    .result_count = 3,
};

static const OperandSpec gru_operands[] = {
    COMMON_OPERANDS("3*"),
    {"bias", true, "[hidden]: added to the candidate's product with the state; absent: 0"}};

static const AttrSpec gru_attrs[] = {
    {"f", ATTR_STRING, ROLE_NONE, "sigmoid", "activation of the gates", ACTIVATIONS},
    {"g", ATTR_STRING, ROLE_NONE, "tanh", "activation of the candidate", ACTIVATIONS},
    {"linear_before_reset", ATTR_BOOL, ROLE_NONE, "false", "the reset gate multiplies the product", NULL},
    COMMON_ATTRS};

const Op op_gru = {
    CELL(gru),
    .doc =
        "Gated recurrent unit (Cho 2014). In parts z, r, h: z = f(xw_z + h*r_z), r likewise; candidate = "
        "g(xw_h + (r*h)*r_h + bias), or g(xw_h + r*(h*r_h + bias)) with linear_before_reset; h = z*h + (1 - "
        "z)*candidate. y is [steps, batch, hidden], the h of every step; h is the last state.",
    .result_count = 2,
};

static const OperandSpec rnn_operands[] = {COMMON_OPERANDS("")};

static const AttrSpec rnn_attrs[] = {{"f", ATTR_STRING, ROLE_NONE, "tanh", "activation", ACTIVATIONS},
                                     COMMON_ATTRS};

const Op op_rnn = {
    CELL(rnn),
    .doc =
        "Simple recurrence (Elman 1990): h = f(xw + h*r). y is [steps, batch, hidden], the h of every step; "
        "h is the last state.",
    .result_count = 2,
};
