/*
 * rnn.c -- lstm, gru and rnn over packed recurrent weights.
 *
 * Weights are [ceil(hidden/PANEL)][hidden][gates][PANEL]: one walk over k gives the sums of all gates of the
 * same PANEL units, and the cell is computed right there, in lanes:
 *
 *   rows of the batch, in tiles: each step: each panel of units: for each k: one fma per gate and row
 *
 * The state h of a tile lives in the result h, and that of the cell in the result c: a step reads h
 * everywhere and writes y, then copies y to h. Tiles of rows are independent for all steps.
 *
 * With few rows one accumulator per gate is a chain that waits for itself, so k is dealt out to several
 * chains.
 *
 * Traffic: the weights once for each step and tile, which is what few rows cost. Steps walk them alternately
 * forward and backward, so that of weights that do not quite fit into a cache the last ones are still there:
 * 1 MiB from an L2 of 1 MiB at 101 GB/s one way, 111 GB/s back and forth, where its limit is 118 GB/s.
 * Measured with AVX-512 and 256 units: LSTM, one row 104 GB/s; GRU, one row 110 GB/s; LSTM, 16 rows 85 % of
 * the peak of 118 GFLOP/s.
 */
#include "codegen/kernels/lanes.h"
#include "codegen/kernels/tiles.h"

#include <assert.h>

enum { PANEL = 16, MAX_ROWS = 8, MAX_CHAINS = 8, MAX_SUMS = 32, MAX_SEEN_BYTES = 28 * 1024 };

static bool gives_results_plainly(const Node *node, const Node *anchor) {
  if (!node_is(node, &op_kernel)) return true;
  if (node->result_count != anchor->result_count) return false;
  for (int i = 0; i < node->result_count; i++) {
    if (graph_output(node->regions[0], i) != result(anchor, i)) return false;
  }
  return true;
}

/* Products are with a copy of h, for each row of the tile. */
static bool sees_other_state(const Cell *cell) {
  return cell->resets_state || cell->rounds_state;
}

static bool rnn_match(const Node *node, const Node *anchor, const Target *target) {
  if (!anchor || !node_is_cell(anchor) || node_int(anchor, "packed") != PANEL) return false;
  if (result(anchor, 0)->type->dtype != DTYPE_F32 || target_lanes(target, DTYPE_F32) > PANEL) return false;
  const Data *data = value_data(operand(anchor, CELL_R));
  if (!value_is_direct(node, operand(anchor, CELL_R)) || (data && data->splat)) return false;
  if (!gives_results_plainly(node, anchor)) return false;
  Cell cell = node_cell(anchor);
  return !sees_other_state(&cell) || cell.hidden * 4 <= MAX_SEEN_BYTES;
}

/* Accumulators beside the weights of one k and a broadcast; fewer rows are worse. */
static const char *rnn_choose(const Node *node, const Node *anchor, const Target *target, int rank) {
  Cell cell = node_cell(anchor);
  int rows = (target->vector_registers - cell.gates - 1) / cell.gates;
  if (rows > MAX_ROWS) rows = MAX_ROWS;
  if (sees_other_state(&cell) && rows * cell.hidden * 4 > MAX_SEEN_BYTES)
    rows = (int)(MAX_SEEN_BYTES / (cell.hidden * 4));
  if (rows < 1) rows = 1;
  return rank < rows ? arena_printf(node->graph->module->arena, "rnn rows=%d", rows - rank) : NULL;
}

/* ---- code ---------------------------------------------------------------------------------------------- */

typedef struct Emit {
  Lower *lower;
  Cell cell;
  Buffer *r, *y, *h, *c;
  /* where the code stands */
  Reg *first_row; /* of the tile */
  int height;
  Buffer *sums;  /* [gates][height][PANEL], of the units where the code stands */
  Buffer *reset; /* [height][hidden]: r*h, or NULL */
  Buffer *seen;  /* [height][hidden]: h in 8 bits, which the products see, or NULL */
  Reg *step;
  Reg *backward;   /* this step walks the weights from the last to the first */
  Reg *at_rest;    /* h is 0 */
  Reg *row, *unit; /* of the cell, in the tile */
} Emit;

static Loops *loops_of(Emit *e) {
  return &e->lower->loops;
}

static Reg *add(Emit *e, Reg *x, Reg *y) {
  return loop_binary(loops_of(e), LOOP_ADD, x, y);
}

static Reg *plus(Emit *e, Reg *x, int64_t offset) {
  return offset ? add(e, x, loop_int(loops_of(e), offset)) : x;
}

static Reg *zeros(Emit *e) {
  return loop_const(loops_of(e), (LoopType){DTYPE_F32, e->lower->lanes}, 0);
}

static Buffer *new_local(Emit *e, const char *what, int rank, const int64_t *dims) {
  Kernel *kernel = loops_of(e)->kernel;
  const char *name = arena_printf(e->lower->module->arena, "%s%d", what, kernel->local_count);
  return kernel_add_local(kernel, name, DTYPE_F32, rank, dims);
}

/* ---- sums over k ---- */

/* Which gates are summed, from where, and into how many chains. */
typedef struct Sums {
  int first, count, chains;
  Reg *panel, *lane;
  Reg *acc[MAX_SUMS]; /* [chain][gate][row] */
} Sums;

/* acc of one chain += r[k] * state[k]. */
static void step_of_k(Emit *e, Sums *sums, Reg *k, int chain) {
  Loops *loops = loops_of(e);
  Reg *h[MAX_ROWS], *reset[MAX_ROWS];
  bool has_reset = e->reset && sums->count > 1;
  for (int row = 0; row < e->height; row++) {
    Reg *from = e->seen ? loop_int(loops, row) : plus(e, e->first_row, row);
    h[row] = loop_load(loops, e->seen ? e->seen : e->h, (Reg *[]){from, k}, 1, NULL);
    if (has_reset) reset[row] = loop_load(loops, e->reset, (Reg *[]){loop_int(loops, row), k}, 1, NULL);
  }
  for (int i = 0; i < sums->count; i++) {
    int gate = sums->first + i;
    if (has_reset && gate == 1) continue; /* is in `reset` already */
    Reg *w = loop_load(loops, e->r, (Reg *[]){sums->panel, k, loop_int(loops, gate), sums->lane},
                       e->lower->lanes, NULL);
    for (int row = 0; row < e->height; row++) {
      Reg **acc = &sums->acc[(chain * sums->count + i) * e->height + row];
      Reg *state = has_reset && gate == 2 ? reset[row] : h[row];
      *acc = loop_mul_add(loops, loop_splat(loops, state, e->lower->lanes), w, *acc);
    }
  }
}

/* `i`, or as far from `last` when the weights are walked backward. */
static Reg *mirrored(Emit *e, Reg *i, int64_t last) {
  Reg *other = loop_binary(loops_of(e), LOOP_SUB, loop_int(loops_of(e), last), i);
  return loop_select(loops_of(e), e->backward, other, i);
}

/* All k; leaves the sums of gate i and row in acc[i * height + row]. */
static void sum_over_k(Emit *e, Sums *sums) {
  Loops *loops = loops_of(e);
  int each = sums->count * e->height, count = each * sums->chains;
  int64_t full = e->cell.hidden / sums->chains * sums->chains;
  for (int i = 0; i < count; i++) sums->acc[i] = zeros(e);
  if (full > 0) {
    For loop = loop_for(loops, loop_int(loops, 0), loop_int(loops, full), sums->chains, count, sums->acc);
    for (int i = 0; i < count; i++) sums->acc[i] = loop.carried[i];
    for (int chain = 0; chain < sums->chains; chain++)
      step_of_k(e, sums, plus(e, loop.counter, chain), chain);
    loop_end(loops, &loop, sums->acc);
    for (int i = 0; i < count; i++) sums->acc[i] = loop.results[i];
  }
  for (int64_t k = full; k < e->cell.hidden; k++) step_of_k(e, sums, loop_int(loops, k), (int)(k - full));
  for (int width = sums->chains; width > 1; width /= 2)
    for (int i = 0; i < each * width / 2; i++)
      sums->acc[i] = loop_binary(loops, LOOP_ADD, sums->acc[i], sums->acc[i + each * width / 2]);
}

/* At least 8 accumulators: two fma a cycle that take four. */
static int chains_for(int sums) {
  int chains = 1;
  while (chains * sums < 8 && chains < MAX_CHAINS) chains *= 2;
  return chains;
}

/* Puts the sums of `count` gates of the units from e->unit into e->sums. */
static void sum_units(Emit *e, int first, int count) {
  Loops *loops = loops_of(e);
  Sums sums = {.first = first, .count = count, .chains = chains_for(count * e->height)};
  Reg *width = loop_int(loops, PANEL);
  sums.panel = loop_binary(loops, LOOP_FLOORDIV, e->unit, width);
  sums.lane = loop_binary(loops, LOOP_FLOORMOD, e->unit, width);
  assert(sums.chains * count * e->height <= MAX_SUMS);
  sum_over_k(e, &sums);
  e->sums = new_local(e, "sums", 3, (int64_t[]){e->cell.gates, e->height, PANEL});
  for (int i = 0; i < count * e->height; i++) {
    Reg *at[] = {loop_int(loops, first + i / e->height), loop_int(loops, i % e->height), loop_int(loops, 0)};
    loop_store(loops, sums.acc[i], e->sums, at, NULL);
  }
}

/* ---- one step ---- */

/* The loop over the rows of the tile. */
static For for_rows(Emit *e) {
  Loops *loops = loops_of(e);
  For loop = loop_for(loops, loop_int(loops, 0), loop_int(loops, e->height), 1, 0, NULL);
  e->row = loop.counter;
  return loop;
}

static Reg *batch_row(Emit *e) {
  return add(e, e->first_row, e->row);
}

/* Lanes of a state, [batch, hidden]. */
static Reg *load_state(Emit *e, Buffer *state) {
  return loop_load(loops_of(e), state, (Reg *[]){batch_row(e), e->unit}, e->lower->lanes, e->lower->mask);
}

static void store_state(Emit *e, Buffer *state, Reg *value) {
  loop_store(loops_of(e), value, state, (Reg *[]){batch_row(e), e->unit}, e->lower->mask);
}

static void y_position(Emit *e, Reg **at) {
  at[e->cell.batch_axis] = batch_row(e);
  at[!e->cell.batch_axis] = e->step;
  at[2] = e->unit;
}

static Reg *sum_of(Emit *e, int gate) {
  Loops *loops = loops_of(e);
  Reg *at[] = {loop_int(loops, gate), e->row, loop_int(loops, 0)};
  return loop_load(loops, e->sums, at, e->lower->lanes, NULL);
}

static Reg *input_gate(Emit *e, int gate) {
  Index at[3], units = index_run(plus(e, e->unit, gate * e->cell.hidden), 1);
  cell_at(&e->cell, index_of(e->step), index_of(batch_row(e)), units, at);
  return loop_splat(loops_of(e), lower_operand(e->lower, e->cell.node, CELL_XW, at), e->lower->lanes);
}

/* NULL: always. */
static Reg *is_valid(Emit *e) {
  Lower one = *e->lower;
  one.lanes = 1;
  one.mask = NULL;
  Reg *length = cell_length(&one, &e->cell, index_of(batch_row(e)));
  return length ? loop_binary(loops_of(e), LOOP_LT, e->step, length) : NULL;
}

/* The units that come when the lanes from `first` are due; the tail stays the last. */
static Reg *unit_from(Emit *e, Reg *first) {
  int lanes = e->lower->lanes;
  return e->lower->mask ? first : mirrored(e, first, (e->cell.hidden / lanes - 1) * lanes);
}

static void reset_units(Lower *lower, Reg *first, void *context) {
  Emit *e = context;
  e->unit = unit_from(e, first);
  sum_units(e, 1, 1);
  For rows = for_rows(e);
  Reg *h = cell_reset(lower, &e->cell, input_gate(e, 1), sum_of(e, 1), load_state(e, e->h));
  loop_store(loops_of(e), h, e->reset, (Reg *[]){e->row, e->unit}, lower->mask);
  loop_end(loops_of(e), &rows, NULL);
}

static void next_units(Lower *lower, Reg *first, void *context) {
  Emit *e = context;
  Loops *loops = loops_of(e);
  e->unit = unit_from(e, first);
  sum_units(e, 0, e->cell.gates);
  For rows = for_rows(e);
  Reg *x[MAX_GATES], *sums[MAX_GATES], *at[3];
  for (int gate = 0; gate < e->cell.gates; gate++) {
    x[gate] = input_gate(e, gate);
    sums[gate] = sum_of(e, gate);
  }
  Reg *valid = is_valid(e), *c = e->c ? load_state(e, e->c) : NULL, *old_c = c;
  Reg *h = cell_next(lower, &e->cell, index_run(e->unit, 1), x, sums, load_state(e, e->h), &c);
  y_position(e, at);
  loop_store(loops, valid ? loop_select(loops, valid, h, zeros(e)) : h, e->y, at, lower->mask);
  if (c) store_state(e, e->c, valid ? loop_select(loops, valid, c, old_c) : c);
  loop_end(loops, &rows, NULL);
}

/* h becomes y, in rows that go on. */
static void keep_units(Lower *lower, Reg *first, void *context) {
  Emit *e = context;
  e->unit = first;
  For rows = for_rows(e);
  Reg *at[3], *valid = is_valid(e);
  y_position(e, at);
  Reg *h = loop_load(loops_of(e), e->y, at, lower->lanes, lower->mask);
  store_state(e, e->h, valid ? loop_select(loops_of(e), valid, h, load_state(e, e->h)) : h);
  loop_end(loops_of(e), &rows, NULL);
}

static void round_states(Emit *e) {
  For rows = for_rows(e);
  cell_round(e->lower, &e->cell, (CellState){e->h, batch_row(e)}, (CellState){e->seen, e->row});
  loop_end(loops_of(e), &rows, NULL);
}

/* ---- all steps ---- */

static void initial_state(Emit *e, Buffer *state, int index) {
  Index at[2] = {index_of(batch_row(e)), index_run(e->unit, 1)};
  Value *initial = operand(e->cell.node, index);
  Reg *value = initial ? lower_operand(e->lower, e->cell.node, index, at) : zeros(e);
  store_state(e, state, loop_splat(loops_of(e), value, e->lower->lanes));
}

static void initial_units(Lower *lower, Reg *first, void *context) {
  Emit *e = context;
  (void)lower;
  e->unit = first;
  For rows = for_rows(e);
  initial_state(e, e->h, CELL_H0);
  if (e->c) initial_state(e, e->c, LSTM_C0);
  loop_end(loops_of(e), &rows, NULL);
}

static void tile_of_rows(void *context, Reg *row, int height) {
  Emit *e = context;
  Loops *loops = loops_of(e);
  int64_t hidden = e->cell.hidden;
  e->first_row = row;
  e->height = height;
  if (e->cell.resets_state) e->reset = new_local(e, "reset", 2, (int64_t[]){height, hidden});
  if (e->cell.rounds_state) e->seen = new_local(e, "seen", 2, (int64_t[]){height, hidden});
  for_lanes(e->lower, 0, hidden, initial_units, e);
  For steps = cell_steps(e->lower, &e->cell, &e->step);
  Reg *odd = loop_binary(loops, LOOP_FLOORMOD, steps.counter, loop_int(loops, 2));
  e->backward = loop_binary(loops, LOOP_NE, odd, loop_int(loops, 0));
  e->at_rest =
      loop_binary(loops, LOOP_LT, steps.counter, loop_int(loops, operand(e->cell.node, CELL_H0) ? 0 : 1));
  if (e->reset) for_lanes(e->lower, 0, hidden, reset_units, e);
  if (e->seen) round_states(e);
  for_lanes(e->lower, 0, hidden, next_units, e);
  for_lanes(e->lower, 0, hidden, keep_units, e);
  loop_end(loops, &steps, NULL);
}

static void rnn_body(Lower *lower, void *context) {
  const VariantContext *variant = context;
  Emit e = {.lower = lower, .cell = node_cell(lower->anchor)};
  e.r = lower_buffer(lower, operand(lower->anchor, CELL_R));
  e.y = lower_result_buffer(lower, 0);
  e.h = lower_result_buffer(lower, 1);
  if (e.cell.gates == 4) e.c = lower_result_buffer(lower, 2);
  lower->lanes = target_lanes(variant->target, DTYPE_F32);
  int rows = schedule_param(variant->schedule, "rows", 1);
  if (rows < 1 || rows > MAX_ROWS) rows = 1;
  const Dim *batch = result(lower->anchor, 0)->type->dims[e.cell.batch_axis];
  bool is_one_tile = dim_is_const(batch) && batch->value > 0 && batch->value <= rows;
  if (is_one_tile) /* no loop over tiles: the loops over units are the outermost parallel ones */
    tile_of_rows(&e, loop_int(&lower->loops, 0), (int)batch->value);
  else
    tile_strips(&lower->loops, batch, rows, 0, INT64_MAX, tile_of_rows, &e);
}

const Variant variant_rnn = {
    .name = "rnn",
    .doc = "recurrent cells over packed weights: rows of the batch per tile",
    .match = rnn_match,
    .choose = rnn_choose,
    .body = rnn_body,
};
