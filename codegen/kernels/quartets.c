/*
 * quartets.c -- gemm over weights of which two of each four are there (2:4).
 *
 * Weights are panels of PANEL columns (codegen/sparse.c): of each quartet, four neighbouring rows of k, one
 * weight of each column, then the other; and words that say by two bits each which of the four they are, a
 * lane for each column and eight quartets to a word. A tile is `rows` rows of the result by `panels` panels:
 *
 *   for each quartet: broadcast four x of each row to all parts of 128 bits;
 *     for each of the two weights, each vector: shift the words so that its bits are lowest;
 *       for each row: pick x by these (vpermilps), one fma
 *
 * so half the fma and 136 bytes of weights for 256. k in whole words is a loop over these, the rest is
 * written out; its last quartet may be a part, whose x behind the last are 0.
 *
 * Traffic: the weights once for each strip of rows; x once for each group of panels. Measured on Zen 4
 * against dense panels: 1x784x128 1/1.85 of the time, 1x768x3072 1/1.8, 1x3072x3072 (of which the half fits
 * into L3) 1/3.1, 1x768x50257 (from memory) 1/1.85, 4x768x768 1/1.15, 128x768x768 1/1.2: a pick is as long as
 * an fma, but has a pipe more.
 */
#include "codegen/kernels/tiles.h"

#include <assert.h>

enum { PANEL = 16, MAX_ROWS = 6, MAX_PART = 16 };

/* ---- match --------------------------------------------------------------------------------------------- */

static bool quartets_match(const Node *node, const Node *anchor, const Target *target) {
  if (!anchor || !node_is(anchor, &op_gemm) || node_bool(anchor, "trans_a")) return false;
  const Value *x = operand(anchor, PRODUCT_X);
  int lanes = target_lanes(target, DTYPE_F32);
  if (!operand(anchor, SPARSE_ROWS) || operand(anchor, SPARSE_STARTS) || x->type->dtype != DTYPE_F32 ||
      node_int(anchor, "packed") != PANEL || lanes < QUARTET || lanes > PANEL)
    return false;
  return value_is_direct(node, x) && quartets_fit(node, anchor, x->type->dims[1]->value);
}

/* Sums, words and x of a tile, and what a step works on. */
static int registers_for(int rows, int vectors) {
  return rows * vectors + vectors + rows + 2;
}

/* As many rows as there can be, then as many panels. */
static const char *quartets_choose(const Node *node, const Node *anchor, const Target *target, int rank) {
  enum { MOST_PANELS = 4 };
  const Dim *count = result(anchor, 0)->type->dims[0];
  int64_t most = (node_int(anchor, "n") + PANEL - 1) / PANEL;
  int per_panel = PANEL / target_lanes(target, DTYPE_F32), rows = 1, panels = 1;
  if (rank > 0) return NULL; /* tune does not know what else there is */
  while (rows < MAX_ROWS && !(dim_is_const(count) && count->value <= rows) &&
         registers_for(rows + 1, per_panel) <= target->vector_registers)
    rows++;
  while (panels < most && panels < MOST_PANELS &&
         registers_for(rows, (panels + 1) * per_panel) <= target->vector_registers)
    panels++;
  return arena_printf(node->graph->module->arena, "quartets rows=%d panels=%d", rows, panels);
}

/* ---- code ---------------------------------------------------------------------------------------------- */

typedef struct Emit {
  Lower *lower;
  const Node *anchor;
  Buffer *x, *w, *words;
  int lanes, per_panel, rows, panels; /* the last two: limits of a tile */
  int64_t k, columns;
  Reg *panel; /* the first of the tile */
  int vectors;
  int64_t left; /* columns from the first on, of the last tile; 0: all are there */
} Emit;

/* A tile: `height` rows from `row`. */
typedef struct Tile {
  Reg *row;
  int height;
} Tile;

static Loops *loops_of(Emit *e) {
  return &e->lower->loops;
}

static Reg *plus(Emit *e, Reg *x, int64_t offset) {
  return offset ? loop_binary(loops_of(e), LOOP_ADD, x, loop_int(loops_of(e), offset)) : x;
}

/* Lane 0 of part v in memory of panels: its panel and the column in that. */
static Reg *panel_of(Emit *e, int v) {
  return plus(e, e->panel, v / e->per_panel);
}
static int64_t column_in_panel(const Emit *e, int v) {
  return (int64_t)(v % e->per_panel) * e->lanes;
}

/* Quartet `at` of row r of the tile, in each four lanes; `there` of the four are columns of x. */
static Reg *spread_x(Emit *e, const Tile *tile, int r, Reg *at, int64_t there) {
  Loops *loops = loops_of(e);
  int64_t repeated[MAX_PART];
  Reg *mask = there < QUARTET ? loop_lanes_below(loops, loop_int(loops, there), QUARTET) : NULL;
  Reg *from[] = {plus(e, tile->row, r), loop_binary(loops, LOOP_MUL, at, loop_int(loops, QUARTET))};
  Reg *x = loop_load(loops, e->x, from, QUARTET, mask);
  for (int i = 0; i < e->lanes; i++) repeated[i] = i % QUARTET;
  return e->lanes > QUARTET ? loop_shuffle(loops, x, x, repeated, e->lanes) : x;
}

/* sums[r][v] += the two products of quartet `at`, the one of number `place` in its words. */
static void one_quartet(Emit *e, const Tile *tile, Reg *at, int place, int64_t there, Reg *const *words,
                        Reg **sums) {
  Loops *loops = loops_of(e);
  Reg *x[MAX_ROWS];
  for (int r = 0; r < tile->height; r++) x[r] = spread_x(e, tile, r, at, there);
  for (int i = 0; i < QUARTET_KEPT; i++)
    for (int v = 0; v < e->vectors; v++) {
      int shift = QUARTET * place + 2 * i;
      Reg *from[] = {panel_of(e, v), at, loop_int(loops, (int64_t)i * PANEL + column_in_panel(e, v))};
      Reg *w = loop_cast(loops, loop_load(loops, e->w, from, e->lanes, NULL), DTYPE_F32), *which = words[v];
      if (shift) which = loop_binary(loops, LOOP_SHR, which, loop_const_int(loops, which->type, shift));
      for (int r = 0; r < tile->height; r++) {
        Reg **sum = &sums[r * e->vectors + v];
        *sum = loop_mul_add(loops, loop_pick(loops, x[r], which), w, *sum);
      }
    }
}

/* `count` quartets of the word at `word`; the last has `there` rows. */
static void one_word(Emit *e, const Tile *tile, Reg *word, int64_t count, int64_t there, Reg **sums) {
  Loops *loops = loops_of(e);
  Reg *words[MAX_TILE_VECTORS];
  for (int v = 0; v < e->vectors; v++) {
    Reg *from[] = {panel_of(e, v), word, loop_int(loops, column_in_panel(e, v))};
    words[v] = loop_load(loops, e->words, from, e->lanes, NULL);
  }
  Reg *first = loop_binary(loops, LOOP_MUL, word, loop_int(loops, QUARTETS_OF_WORD));
  for (int q = 0; q < count; q++)
    one_quartet(e, tile, plus(e, first, q), q, q + 1 < count ? QUARTET : there, words, sums);
}

static void all_words(Emit *e, const Tile *tile, int sum_count, Reg **sums) {
  Loops *loops = loops_of(e);
  int64_t word = (int64_t)QUARTET * QUARTETS_OF_WORD, full = e->k / word, rest = e->k % word;
  if (full > 0) {
    For loop = loop_for(loops, loop_int(loops, 0), loop_int(loops, full), 1, sum_count, sums);
    for (int i = 0; i < sum_count; i++) sums[i] = loop.carried[i];
    one_word(e, tile, loop.counter, QUARTETS_OF_WORD, QUARTET, sums);
    loop_end(loops, &loop, sums);
    for (int i = 0; i < sum_count; i++) sums[i] = loop.results[i];
  }
  if (rest > 0)
    one_word(e, tile, loop_int(loops, full), (rest + QUARTET - 1) / QUARTET, (rest - 1) % QUARTET + 1, sums);
}

/* The place of vector v of a row in the result; what is lowered next is masked to its columns. */
static void enter_vector(Emit *e, const Tile *tile, int r, int v, Index at[2]) {
  Loops *loops = loops_of(e);
  Reg *first = loop_binary(loops, LOOP_MUL, e->panel, loop_int(loops, PANEL));
  int64_t before = (int64_t)v * e->lanes, left = e->left ? e->left - before : e->lanes;
  at[0] = index_of(plus(e, tile->row, r));
  at[1] = index_run(plus(e, first, before), 1);
  e->lower->mask = left < e->lanes ? loop_lanes_below(loops, loop_int(loops, left), e->lanes) : NULL;
}

static Reg *initial_sum(Emit *e, const Tile *tile, int r, int v) {
  Index at[2];
  if (!operand(e->anchor, PRODUCT_BIAS)) return loop_const(loops_of(e), (LoopType){DTYPE_F32, e->lanes}, 0);
  enter_vector(e, tile, r, v, at);
  Reg *bias = loop_splat(loops_of(e), lower_broadcast(e->lower, e->anchor, PRODUCT_BIAS, at), e->lanes);
  e->lower->mask = NULL;
  return bias;
}

static void emit_tile(void *context, Reg *row, int height) {
  Emit *e = context;
  Tile tile = {row, height};
  int count = height * e->vectors;
  Reg *sums[MAX_ROWS * MAX_TILE_VECTORS];
  assert(height <= MAX_ROWS && e->vectors <= MAX_TILE_VECTORS);
  for (int i = 0; i < count; i++) sums[i] = initial_sum(e, &tile, i / e->vectors, i % e->vectors);
  all_words(e, &tile, count, sums);
  for (int i = 0; i < count; i++) {
    Index at[2];
    enter_vector(e, &tile, i / e->vectors, i % e->vectors, at);
    lower_result(e->lower, 0, at, sums[i]);
  }
  e->lower->mask = NULL;
}

/* All rows of some panels; left: columns that there are, 0: all. */
static void all_rows(Emit *e, Reg *panel, int64_t columns, bool whole) {
  e->panel = panel;
  e->vectors = (int)((columns + e->lanes - 1) / e->lanes);
  e->left = whole ? 0 : columns;
  tile_strips(loops_of(e), result(e->anchor, 0)->type->dims[0], e->rows, 0, INT64_MAX, emit_tile, e);
}

static void all_panels(Emit *e) {
  Loops *loops = loops_of(e);
  int64_t width = (int64_t)e->panels * PANEL, full = e->columns / width, rest = e->columns % width;
  Sections sections = loop_sections(loops);
  if (full > 0) {
    loop_section(loops, &sections);
    For loop = loop_parallel(loops, loop_int(loops, 0), loop_int(loops, full * e->panels), e->panels);
    all_rows(e, loop.counter, width, true);
    loop_end(loops, &loop, NULL);
  }
  if (rest > 0) {
    loop_section(loops, &sections);
    all_rows(e, loop_int(loops, full * e->panels), rest, false);
  }
  loop_end_sections(loops, &sections);
}

static void quartets_body(Lower *lower, void *context) {
  const VariantContext *variant = context;
  const Node *anchor = lower->anchor;
  Emit e = {.lower = lower,
            .anchor = anchor,
            .lanes = target_lanes(variant->target, DTYPE_F32),
            .rows = schedule_param(variant->schedule, "rows", 1),
            .panels = schedule_param(variant->schedule, "panels", 1),
            .k = operand(anchor, PRODUCT_X)->type->dims[1]->value,
            .columns = node_int(anchor, "n")};
  e.per_panel = PANEL / e.lanes;
  if (e.rows < 1 || e.rows > MAX_ROWS) e.rows = 1;
  if (e.panels < 1 || e.panels * e.per_panel > MAX_TILE_VECTORS) e.panels = 1;
  lower->lanes = e.lanes;
  e.x = lower_buffer(lower, operand(anchor, PRODUCT_X));
  e.w = lower_buffer(lower, operand(anchor, PRODUCT_W));
  e.words = lower_buffer(lower, operand(anchor, SPARSE_ROWS));
  all_panels(&e);
}

const Variant variant_quartets = {
    .name = "quartets",
    .doc = "two of each four weights, which pick their x by two bits: rows, panels per tile",
    .match = quartets_match,
    .choose = quartets_choose,
    .body = quartets_body,
};
