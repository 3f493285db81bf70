/*
 * panels_sums.c -- the loops over K of a tile of the kernel `panels`: the outer kernel axes, the last one,
 * and the channels or the list of them, with the accumulators carried through all.
 */
#include "codegen/kernels/panels.h"

static Loops *loops_of(Panels *e) {
  return &e->lower->loops;
}

/* How k counts so many taps: by steps, or lists of them. */
static int64_t taps_of_k(const PanelProblem *p, int64_t taps) {
  return p->sparse ? taps : taps * p->channels / p->depth;
}

/* The elements of x of one step, for each of `lanes` columns. */
static Reg *spread(Panels *e, Reg *x, int lanes) {
  int count = e->p.depth * lanes;
  if (e->p.depth == 1) return loop_splat(loops_of(e), x, lanes);
  int64_t repeated[MAX_LANES];
  for (int i = 0; i < count; i++) repeated[i] = i % e->p.depth;
  return loop_shuffle(loops_of(e), x, x, repeated, count);
}

static Reg *accumulate(Panels *e, Reg *x, Reg *w, Reg *acc) {
  if (e->p.depth == 1) return loop_mul_add(loops_of(e), x, w, acc);
  return loop_dot(loops_of(e), x->type.dtype == DTYPE_BF16 ? LOOP_DOT_BF16 : LOOP_DOT_U8S8, acc, x, w);
}

static Reg *first_panel(Panels *e, const PanelTile *tile) {
  return panels_add(e, panels_scaled(e, e->group, e->p.panel_count, 0), tile->panel);
}

/* One step of k: acc[r][v] += x[r] * w[v]. `k` counts rows of the panel, `x_last` is the last index of x for
 * row 0. */
static void step_of_k(Panels *e, const PanelTile *tile, Reg *const *x_outer, int outer, Reg *k, Reg *x_last,
                      Reg *const *acc, Reg **next) {
  Reg *w[MAX_TILE_VECTORS], *panel = first_panel(e, tile);
  int depth = e->p.depth;
  for (int v = 0; v < e->fetched; v++) {
    Reg *at[] = {panels_scaled(e, tile->ahead, 1, v), k, loop_int(loops_of(e), 0)};
    loop_prefetch(loops_of(e), e->w, at);
  }
  for (int v = 0; v < tile->vectors; v++) {
    Reg *at[3] = {panels_scaled(e, panel, 1, v / e->per_panel), k,
                  loop_int(loops_of(e), (int64_t)(v % e->per_panel) * e->lanes * depth)};
    w[v] = loop_load(loops_of(e), e->w, at + e->p.sparse, panels_lanes(e, tile, v) * depth, NULL);
    if (depth == 1) w[v] = loop_cast(loops_of(e), w[v], DTYPE_F32); /* of f16 */
  }
  for (int r = 0; r < tile->height; r++) {
    Reg *at[MAX_TAPS + 2];
    for (int i = 0; i < outer; i++) at[i] = x_outer[i];
    at[outer] = panels_scaled(e, x_last, 1, r * e->p.row_step);
    Reg *one = loop_load(loops_of(e), e->x, at, depth, NULL), *x = one;
    for (int v = 0; v < tile->vectors; v++) {
      int i = r * tile->vectors + v, lanes = w[v]->type.lanes;
      if (x->type.lanes != lanes) x = spread(e, one, lanes / depth);
      next[i] = accumulate(e, x, w[v], acc[i]);
    }
  }
}

static Reg *table_entry(Panels *e, Buffer *table, Reg *at) {
  return loop_cast(loops_of(e), loop_load(loops_of(e), table, &at, 1, NULL), DTYPE_I64);
}

/* Where in x the steps of a list start. */
typedef struct Origin {
  Reg *const *outer;
  int outer_count;
  Reg *last;
} Origin;

/* `length` steps of a list from `from` on, `at_once` at a time, each with sums of its own. */
static void walk_list(Panels *e, const PanelTile *tile, const Origin *x, Reg *from, Reg *length, int at_once,
                      Reg **sums) {
  Loops *loops = loops_of(e);
  int count = tile->height * tile->vectors;
  Reg *next[MAX_TILE_ROWS * MAX_TILE_VECTORS];
  For loop = loop_for(loops, loop_int(loops, 0), length, at_once, count * at_once, sums);
  for (int i = 0; i < at_once; i++) {
    Reg *at = panels_add(e, from, panels_scaled(e, loop.counter, 1, i)), *step = table_entry(e, e->steps, at);
    Reg *x_last = panels_add(e, x->last, panels_scaled(e, step, e->p.depth * e->p.channel_step, 0));
    step_of_k(e, tile, x->outer, x->outer_count, at, x_last, loop.carried + i * count, next + i * count);
  }
  loop_end(loops, &loop, next);
  for (int i = 0; i < count * at_once; i++) sums[i] = loop.results[i];
}

/* The steps of list `tap` of the tile's panel. A tile of few sums would wait for each of them: some steps at
 * once have their own. */
static void list_of_k(Panels *e, const PanelTile *tile, const Origin *x, Reg *tap, Reg **acc) {
  enum { LATENCY = 4 };
  Loops *loops = loops_of(e);
  int count = tile->height * tile->vectors, at_once = count < LATENCY ? LATENCY / count : 1;
  Reg *list = panels_add(e, panels_scaled(e, first_panel(e, tile), e->p.all_taps, 0), tap);
  Reg *from = table_entry(e, e->starts, list), *to = table_entry(e, e->starts, panels_scaled(e, list, 1, 1));
  Reg *length = loop_binary(loops, LOOP_SUB, to, from);
  length = loop_binary(loops, LOOP_MIN, length, loop_int(loops, e->longest)); /* threads ask for its time */
  if (at_once > 1) {
    Reg *sums[LATENCY], *unit = loop_int(loops, at_once);
    Reg *whole = loop_binary(loops, LOOP_MUL, loop_binary(loops, LOOP_FLOORDIV, length, unit), unit);
    for (int i = 0; i < count * at_once; i++)
      sums[i] = i < count ? acc[i] : loop_const(loops, acc[i % count]->type, 0);
    walk_list(e, tile, x, from, whole, at_once, sums);
    for (int i = 0; i < count * at_once; i++)
      acc[i % count] = i < count ? sums[i] : panels_add(e, acc[i % count], sums[i]);
    from = panels_add(e, from, whole);
    length = loop_binary(loops, LOOP_SUB, length, whole);
  }
  walk_list(e, tile, x, from, length, 1, acc);
}

/* `size` neighbouring elements of K: channels, and columns if they follow each other. The few channels of an
 * image in planes are written out. */
static void run_of_k(Panels *e, const PanelTile *tile, Reg *const *x_outer, int outer, Reg *k, Reg *x_last,
                     int64_t size, Reg **acc) {
  Loops *loops = loops_of(e);
  int count = tile->height * tile->vectors;
  if (e->p.sparse) {
    list_of_k(e, tile, &(Origin){x_outer, outer, x_last}, k, acc);
    return;
  }
  if (e->p.channel_step != 1) {
    for (int64_t c = 0; c < size; c++)
      step_of_k(e, tile, x_outer, outer, panels_scaled(e, k, 1, c),
                panels_scaled(e, x_last, 1, c * e->p.channel_step), acc, acc);
    return;
  }
  int depth = e->p.depth;
  For loop = loop_for(loops, loop_int(loops, 0), loop_int(loops, size / depth), 1, count, acc);
  Reg *next[MAX_TILE_ROWS * MAX_TILE_VECTORS];
  step_of_k(e, tile, x_outer, outer, panels_add(e, k, loop.counter),
            panels_add(e, x_last, panels_scaled(e, loop.counter, depth, 0)), loop.carried, next);
  loop_end(loops, &loop, next);
  for (int i = 0; i < count; i++) acc[i] = loop.results[i];
}

/* Rows of the tile from `row` whose tap `t` of the last kernel axis is inside x: [from, to). */
static void rows_inside_x(const Axis *axis, int64_t row, int height, int64_t t, int *from, int *to) {
  *from = *to = 0;
  for (int r = height - 1; r >= 0; r--) {
    int64_t column = (row + r) * axis->stride + t * axis->dilation - axis->before;
    if (column < 0 || column >= axis->size) continue;
    if (*to == 0) *to = r + 1;
    *from = r;
  }
}

/* The last kernel axis for a tile at the border of x: for each tap the rows that are inside. Neighbouring
 * taps of the same rows are one run. */
static void border_taps(Panels *e, const PanelTile *tile, int64_t row, Reg *const *x_outer, int outer, Reg *k,
                        Reg *x_last, Reg **acc) {
  const Axis *axis = &e->p.last;
  for (int64_t t = 0, taps = 1; t < axis->kernel; t += taps, taps = 1) {
    int from, to, next_from, next_to;
    rows_inside_x(axis, row, tile->height, t, &from, &to);
    for (; t + taps < axis->kernel && !panels_taps_are_apart(&e->p); taps++) {
      rows_inside_x(axis, row, tile->height, t + taps, &next_from, &next_to);
      if (next_from != from || next_to != to) break;
    }
    if (from == to) continue;
    PanelTile part = *tile;
    part.height = to - from;
    int64_t x_offset = t * axis->dilation * e->p.pitch + from * e->p.row_step;
    run_of_k(e, &part, x_outer, outer, panels_scaled(e, k, 1, taps_of_k(&e->p, t)),
             panels_scaled(e, x_last, 1, x_offset), taps * e->p.channels,
             acc + (size_t)from * (size_t)tile->vectors);
  }
}

/* Whether a tile whose first row is the literal `row` has taps outside of x. */
static bool is_at_border(const Panels *e, const PanelTile *tile, int64_t *row) {
  return reg_const_int(tile->row, row) && (*row < e->inside_from || *row + tile->height > e->inside_to);
}

/* The last kernel axis and the channels. */
static void column_taps(Panels *e, const PanelTile *tile, Reg *const *x_outer, int outer, Reg *k, Reg *x_last,
                        Reg **acc) {
  Loops *loops = loops_of(e);
  const PanelProblem *p = &e->p;
  int count = tile->height * tile->vectors;
  int64_t row;
  if (is_at_border(e, tile, &row)) {
    border_taps(e, tile, row, x_outer, outer, k, x_last, acc);
    return;
  }
  if (p->column_taps == 1) {
    run_of_k(e, tile, x_outer, outer, k, x_last, p->run, acc);
    return;
  }
  For loop = loop_for(loops, loop_int(loops, 0), loop_int(loops, p->column_taps), 1, count, acc);
  Reg *next[MAX_TILE_ROWS * MAX_TILE_VECTORS];
  for (int i = 0; i < count; i++) next[i] = loop.carried[i];
  Reg *x_here = panels_add(e, x_last, panels_scaled(e, loop.counter, p->last.dilation * p->pitch, 0));
  Reg *k_here = panels_add(e, k, panels_scaled(e, loop.counter, taps_of_k(p, 1), 0));
  run_of_k(e, tile, x_outer, outer, k_here, x_here, p->run, next);
  loop_end(loops, &loop, next);
  for (int i = 0; i < count; i++) acc[i] = loop.results[i];
}

/* The taps of a kernel axis that are inside x, when tap 0 is at `first`: from ceil(-first / dilation) to
 * below ceil((size - first) / dilation), and no further than the kernel. */
static void taps_inside_x(Panels *e, int axis, Reg *first, Reg **from, Reg **to) {
  Loops *loops = loops_of(e);
  const PanelProblem *p = &e->p;
  *from = loop_int(loops, 0);
  *to = loop_int(loops, p->taps[axis]);
  if (!p->clipped[axis]) return;
  Reg *dilation = loop_int(loops, p->tap_dilation[axis]), *below = loop_int(loops, p->tap_dilation[axis] - 1);
  Reg *size = lower_dim(e->lower, operand(p->anchor, 0), 1 + axis);
  Reg *before = loop_binary(loops, LOOP_SUB, below, first);
  Reg *end = panels_add(e, loop_binary(loops, LOOP_SUB, size, first), below);
  before = loop_binary(loops, LOOP_FLOORDIV, before, dilation);
  end = loop_binary(loops, LOOP_FLOORDIV, end, dilation);
  *from = loop_binary(loops, LOOP_MAX, *from, before);
  *to = loop_binary(loops, LOOP_MIN, *to, end);
}

/* The loops over K, outermost tap axis first; the accumulators travel through all of them. */
static void loops_over_k(Panels *e, const PanelTile *tile, int axis, Reg **x_outer, int outer, Reg *k,
                         Reg *x_last, Reg **acc) {
  Loops *loops = loops_of(e);
  const PanelProblem *p = &e->p;
  int count = tile->height * tile->vectors;
  if (axis == p->tap_axes) {
    column_taps(e, tile, x_outer, outer, k, x_last, acc);
    return;
  }
  if (p->taps[axis] == 1 && !p->clipped[axis]) {
    loops_over_k(e, tile, axis + 1, x_outer, outer, k, x_last, acc);
    return;
  }
  int64_t below = taps_of_k(p, p->last.kernel); /* what k counts per step of this loop */
  for (int i = axis + 1; i < p->tap_axes; i++) below *= p->taps[i];
  Reg *from, *to, *inner[MAX_TAPS + 1], *next[MAX_TILE_ROWS * MAX_TILE_VECTORS];
  taps_inside_x(e, axis, x_outer[axis + 1], &from, &to);
  For loop = loop_for(loops, from, to, 1, count, acc);
  for (int i = 0; i < outer; i++) inner[i] = x_outer[i];
  inner[axis + 1] =
      panels_add(e, x_outer[axis + 1], panels_scaled(e, loop.counter, p->tap_dilation[axis], 0));
  for (int i = 0; i < count; i++) next[i] = loop.carried[i];
  loops_over_k(e, tile, axis + 1, inner, outer, panels_add(e, k, panels_scaled(e, loop.counter, below, 0)),
               x_last, next);
  loop_end(loops, &loop, next);
  for (int i = 0; i < count; i++) acc[i] = loop.results[i];
}

void panels_sum(Panels *e, const PanelTile *tile, Reg **acc) {
  const PanelProblem *p = &e->p;
  Reg *x_outer[MAX_TAPS + 1];
  int outer = node_is(p->anchor, &op_gemm) ? 0 : p->tap_axes + 1;
  for (int i = 0; i < outer; i++)
    x_outer[i] =
        i == 0 ? e->outer[0] : panels_scaled(e, e->outer[i], p->outer_stride[i - 1], -p->before[i - 1]);
  Reg *x_last = panels_scaled(e, tile->row, p->row_step, -p->last.before * p->pitch);
  x_last = panels_add(e, x_last, panels_scaled(e, e->group, p->channels, 0));
  loops_over_k(e, tile, 0, x_outer, outer, loop_int(loops_of(e), 0), x_last, acc);
}
