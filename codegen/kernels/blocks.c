/*
 * blocks.c -- gemm_blocks over packed weights of 4 or 8 bits: panels, and many rows.
 *
 * A word of the panels holds 8 or 4 neighbouring rows of one column. One of them becomes a float by moving
 * its bits to the top of the mantissa of 16 (of 256, for 8 bits): a shift, and one vpternlogd for mask and
 * exponent. What that adds to it is taken off with the zero point.
 *
 * Few rows wait for their weights, which are used as they come from memory: see blocks_few.c. For many rows
 * the weights of some columns are made floats once, in a local buffer, and all rows pass by in register
 * tiles, as in panels.c. With an open number of rows there is code for one, and for many.
 *
 * Traffic: the packed weights once; x once per group of columns.
 */
#include "codegen/kernels/blocks.h"

#include <assert.h>

static const Dim *row_count(const Node *anchor) {
  return operand(anchor, BLOCKS_A)->type->dims[0];
}

static bool are_few(const Dim *rows) {
  return dim_is_const(rows) && rows->value <= FEW_ROWS;
}

static bool blocks_match(const Node *node, const Node *anchor, const Target *target) {
  if (!anchor || !node_is(anchor, &op_gemm_blocks) || node_int(anchor, "packed") != BLOCKS_PANEL)
    return false;
  if (target_lanes(target, DTYPE_F32) > 16) return false;
  const Value *scale = operand(anchor, BLOCKS_SCALE);
  if (!value_is_direct(node, operand(anchor, BLOCKS_A)) || !value_is_direct(node, operand(anchor, BLOCKS_Q)))
    return false;
  if (!value_is_literal(scale) && !value_is_direct(node, scale)) return false;
  const Value *zero = operand(anchor, BLOCKS_ZERO);
  if (zero && !value_is_literal(zero) && (zero->type->rank == 0 || !value_is_direct(node, zero)))
    return false;
  int64_t k = operand(anchor, BLOCKS_A)->type->dims[1]->value;
  return k <= MAX_LOCAL_BYTES / 2 / (BLOCKS_PANEL * (int64_t)sizeof(float)) &&
         !value_is_literal(operand(anchor, BLOCKS_Q));
}

static const char *blocks_choose(const Node *node, const Node *anchor, const Target *target, int rank) {
  const Type *a = operand(anchor, BLOCKS_A)->type;
  Arena *arena = node->graph->module->arena;
  if (are_few(a->dims[0])) return rank == 0 ? "blocks" : NULL;
  int lanes = target_lanes(target, DTYPE_F32);
  TileProblem problem = {.row_count = a->dims[0],
                         .row_bytes = a->dims[1]->value * (int64_t)sizeof(float),
                         .k = a->dims[1]->value,
                         .columns = BLOCKS_PANEL,
                         .panel = lanes};
  TileSize tile;
  if (!tile_choose(target, &problem, rank, &tile)) return NULL;
  return arena_printf(arena, "blocks rows=%d vectors=%d", tile.rows, tile.panels);
}

/* ---- small pieces -------------------------------------------------------------------------------------- */

static Loops *loops_of(Blocks *b) {
  return &b->lower->loops;
}

Reg *blocks_plus(Blocks *b, Reg *x, int64_t offset) {
  return offset ? loop_binary(loops_of(b), LOOP_ADD, x, loop_int(loops_of(b), offset)) : x;
}

Reg *blocks_times(Blocks *b, Reg *x, int64_t factor) {
  return factor != 1 ? loop_binary(loops_of(b), LOOP_MUL, x, loop_int(loops_of(b), factor)) : x;
}

static Reg *sum_of(Blocks *b, Reg *x, Reg *y) {
  return loop_binary(loops_of(b), LOOP_ADD, x, y);
}

/* Vector v of the tile, of a buffer in panels, as it is. */
Reg *blocks_vector(Blocks *b, Buffer *buffer, Reg *row, int v) {
  Reg *at[3] = {b->panel, row, loop_int(loops_of(b), b->from + (int64_t)v * b->lanes)};
  return loop_load(loops_of(b), buffer, at, b->lanes, NULL);
}

Reg *blocks_spread(Blocks *b, Buffer *x, Reg *row, Reg *k) {
  return loop_splat(loops_of(b), loop_load(loops_of(b), x, (Reg *[]){row, k}, 1, NULL), b->lanes);
}

static Reg *zero_vector(Blocks *b) {
  return loop_const(loops_of(b), (LoopType){DTYPE_F32, b->lanes}, 0);
}

/* Number `index` of each lane's word, plus 16 or 256. */
Reg *blocks_number(Blocks *b, Reg *words, int index) {
  enum { MANTISSA = 23, BIAS = 127 };
  Loops *loops = loops_of(b);
  int shift = MANTISSA - b->bits - index * b->bits; /* 2^bits has so many bits above its numbers */
  if (shift != 0)
    words = loop_binary(loops, shift > 0 ? LOOP_SHL : LOOP_SHR, words,
                        loop_const_int(loops, words->type, shift > 0 ? shift : -shift));
  int64_t mask = (((int64_t)1 << b->bits) - 1) << (MANTISSA - b->bits), one = (int64_t)(BIAS + b->bits)
                                                                              << MANTISSA;
  words = loop_binary(loops, LOOP_AND, words, loop_const_int(loops, words->type, mask));
  words = loop_binary(loops, LOOP_OR, words, loop_const_int(loops, words->type, one));
  return loop_bitcast(loops, words, DTYPE_F32);
}

Reg *blocks_scale(Blocks *b, Reg *block, int v) {
  if (!b->scale) return loop_const(loops_of(b), (LoopType){DTYPE_F32, b->lanes}, b->factor);
  return loop_cast(loops_of(b), blocks_vector(b, b->scale, block, v), DTYPE_F32);
}

/* What is to be taken off the numbers as floats; NULL: the literal `offset`. */
Reg *blocks_zero(Blocks *b, Reg *block, int v) {
  if (!b->zero) return NULL;
  Reg *zero = loop_cast(loops_of(b), blocks_vector(b, b->zero, block, v), DTYPE_F32);
  return loop_binary(loops_of(b), LOOP_ADD, zero, loop_const(loops_of(b), zero->type, b->offset));
}

/* ---- blocks -------------------------------------------------------------------------------------------- */

void blocks_each(Blocks *b, int count, Reg **values, BlockBody body) {
  Loops *loops = loops_of(b);
  int64_t whole = b->k / b->size;
  Reg *next[MAX_TILE_ROWS * MAX_TILE_VECTORS];
  assert(count <= COUNT_OF(next));
  if (whole > 0) {
    For loop = loop_for(loops, loop_int(loops, 0), loop_int(loops, whole), 1, count, values);
    for (int i = 0; i < count; i++) next[i] = loop.carried[i];
    body(b, loop.counter, b->size, next);
    loop_end(loops, &loop, next);
    for (int i = 0; i < count; i++) values[i] = loop.results[i];
  }
  if (whole < b->count) body(b, loop_int(loops, whole), b->k - whole * b->size, values);
}

/* ---- results ----------------------------------------------------------------------------------- */

/* Vector v of row `row` of the result: where it is, masked to columns that exist. */
static void enter_vector(Blocks *b, Reg *row, int v, Index at[2]) {
  int64_t first = b->from + (int64_t)v * b->lanes, left = b->panel_columns - first;
  at[0] = index_of(row);
  at[1] = index_run(blocks_plus(b, blocks_times(b, b->panel, BLOCKS_PANEL), first), 1);
  b->lower->mask =
      left < b->lanes ? loop_lanes_below(loops_of(b), loop_int(loops_of(b), left), b->lanes) : NULL;
}

Reg *blocks_begin(Blocks *b, Reg *row, int v) {
  if (!operand(b->anchor, BLOCKS_C)) return zero_vector(b);
  Index at[2];
  enter_vector(b, row, v, at);
  Reg *value = loop_splat(loops_of(b), lower_broadcast(b->lower, b->anchor, BLOCKS_C, at), b->lanes);
  b->lower->mask = NULL;
  return value;
}

void blocks_end(Blocks *b, Reg *row, int v, Reg *value) {
  Index at[2];
  enter_vector(b, row, v, at);
  lower_result(b->lower, 0, at, value);
  b->lower->mask = NULL;
}

/* ---- many rows ----------------------------------------------------------------------------------------- */

/* (number - offset) * scale, of all rows of a block. */
static void widen_block(Blocks *b, Reg *block, int64_t rows, Reg **values) {
  (void)values;
  Loops *loops = loops_of(b);
  Reg *offset[MAX_TILE_VECTORS], *scale[MAX_TILE_VECTORS];
  for (int v = 0; v < b->vectors; v++) {
    offset[v] = blocks_zero(b, block, v);
    if (!offset[v]) offset[v] = loop_const(loops, (LoopType){DTYPE_F32, b->lanes}, b->offset);
    scale[v] = blocks_scale(b, block, v);
  }
  Reg *first = blocks_times(b, block, b->size / b->each);
  For loop = loop_for(loops, loop_int(loops, 0), loop_int(loops, rows / b->each), 1, 0, NULL);
  Reg *word = sum_of(b, first, loop.counter);
  for (int v = 0; v < b->vectors; v++) {
    Reg *words = blocks_vector(b, b->q, word, v);
    for (int i = 0; i < b->each; i++) {
      Reg *w = loop_binary(loops, LOOP_SUB, blocks_number(b, words, i), offset[v]);
      Reg *at[2] = {blocks_plus(b, blocks_times(b, word, b->each), i),
                    loop_int(loops, (int64_t)v * b->lanes)};
      loop_store(loops, loop_binary(loops, LOOP_MUL, w, scale[v]), b->floats, at, NULL);
    }
  }
  loop_end(loops, &loop, NULL);
}

static void one_strip(void *context, Reg *row, int height) {
  Blocks *b = context;
  Loops *loops = loops_of(b);
  Reg *sums[MAX_TILE_ROWS * MAX_TILE_VECTORS], *w[MAX_TILE_VECTORS];
  int count = height * b->vectors;
  for (int i = 0; i < count; i++)
    sums[i] = blocks_begin(b, blocks_plus(b, row, i / b->vectors), i % b->vectors);
  For loop = loop_for(loops, loop_int(loops, 0), loop_int(loops, b->k), 1, count, sums);
  for (int v = 0; v < b->vectors; v++) {
    Reg *at[2] = {loop.counter, loop_int(loops, (int64_t)v * b->lanes)};
    w[v] = loop_load(loops, b->floats, at, b->lanes, NULL);
  }
  for (int r = 0; r < height; r++) {
    Reg *x = blocks_spread(b, b->x, blocks_plus(b, row, r), loop.counter);
    for (int v = 0; v < b->vectors; v++)
      sums[r * b->vectors + v] = loop_mul_add(loops, x, w[v], loop.carried[r * b->vectors + v]);
  }
  loop_end(loops, &loop, sums);
  for (int i = 0; i < count; i++)
    blocks_end(b, blocks_plus(b, row, i / b->vectors), i % b->vectors, loop.results[i]);
}

static void many_rows(Blocks *b) {
  blocks_each(b, 0, NULL, widen_block);
  tile_strips(loops_of(b), row_count(b->anchor), b->rows, 0, INT64_MAX, one_strip, b);
}

/* ---- panels -------------------------------------------------------------------------------------------- */

typedef void (*TileBody)(Blocks *b);

/* The columns of a panel that exist, some vectors at a time. */
static void one_panel(Blocks *b, int64_t columns, TileBody body) {
  int64_t width = (int64_t)b->most_vectors * b->lanes;
  b->panel_columns = columns;
  for (b->from = 0; b->from < columns; b->from += width) {
    int64_t left = columns - b->from;
    b->vectors = left < width ? (int)((left + b->lanes - 1) / b->lanes) : b->most_vectors;
    body(b);
  }
}

/* Sections of the whole panels and of what is left; with a condition only where it holds. */
static void all_panels(Blocks *b, const Sections *sections, Reg *condition, TileBody body) {
  Loops *loops = loops_of(b);
  int64_t full = b->columns / BLOCKS_PANEL, rest = b->columns % BLOCKS_PANEL;
  for (int part = 0; part < 2; part++) {
    int64_t from = part ? full : 0, to = part ? full + (rest > 0) : full;
    if (from == to) continue;
    loop_section(loops, sections);
    Reg *end = loop_int(loops, to);
    if (condition) end = loop_select(loops, condition, end, loop_int(loops, from));
    For loop = loop_parallel(loops, loop_int(loops, from), end, 1);
    b->panel = loop.counter;
    one_panel(b, part ? rest : BLOCKS_PANEL, body);
    loop_end(loops, &loop, NULL);
  }
}

Buffer *blocks_local(Blocks *b, const char *name, Dtype dtype, int rank, const int64_t *dims) {
  return kernel_add_local(b->lower->loops.kernel, name, dtype, rank, dims);
}

static void prepare_many(Blocks *b, const char *schedule) {
  b->rows = schedule_param(schedule, "rows", 1);
  b->most_vectors = schedule_param(schedule, "vectors", 1);
  if (b->rows < 1 || b->rows > MAX_TILE_ROWS) b->rows = 1;
  if (b->most_vectors < 1 || b->most_vectors > BLOCKS_PANEL / b->lanes) b->most_vectors = 1;
  b->floats = blocks_local(b, "floats", DTYPE_F32, 2, (int64_t[]){b->k, (int64_t)b->most_vectors * b->lanes});
}

/* An operand in panels, or the number that all of it is. */
static Buffer *read_panels(Blocks *b, Value *value, double *literal) {
  if (value && !value_is_literal(value)) return lower_buffer(b->lower, value);
  if (value) value_scalar(value, literal);
  return NULL;
}

static void read_scale_and_zero(Blocks *b) {
  enum { BITS_4 = 16, BITS_8 = 256 };
  double literal = 0;
  b->scale = read_panels(b, operand(b->anchor, BLOCKS_SCALE), &b->factor);
  b->zero = read_panels(b, operand(b->anchor, BLOCKS_ZERO), &literal);
  b->offset = literal + (b->bits == 4 ? BITS_4 : BITS_8);
}

static void all_groups(Blocks *b, const VariantContext *variant) {
  Loops *loops = loops_of(b);
  const Dim *rows = row_count(b->anchor);
  bool open = !dim_is_const(rows);
  Reg *one = open ? loop_binary(loops, LOOP_EQ, loop_dim(loops, rows), loop_int(loops, 1)) : NULL;
  Blocks few = *b;
  If branch;
  if (open) branch = loop_if(loops, one, 0, NULL);
  if (open || are_few(rows)) blocks_prepare_few(&few, variant->target, open ? 1 : (int)rows->value);
  if (open) loop_end_if(loops, &branch, NULL);
  Reg *not_one = open ? loop_unary(loops, LOOP_NOT, one) : NULL;
  Sections sections = loop_sections(loops);
  if (open || are_few(rows)) all_panels(&few, &sections, one, blocks_few_rows);
  if (!are_few(rows)) {
    prepare_many(b, variant->schedule);
    all_panels(b, &sections, not_one, many_rows);
  }
  loop_end_sections(loops, &sections);
}

static void blocks_body(Lower *lower, void *context) {
  const VariantContext *variant = context;
  const Node *anchor = lower->anchor;
  Blocks b = {.lower = lower, .anchor = anchor};
  b.x = lower_buffer(lower, operand(anchor, BLOCKS_A));
  b.q = lower_buffer(lower, operand(anchor, BLOCKS_Q));
  b.bits = (int)node_int(anchor, "bits");
  b.each = 32 / b.bits;
  b.k = operand(anchor, BLOCKS_A)->type->dims[1]->value;
  b.columns = node_int(anchor, "n");
  b.size = node_int(anchor, "size") < b.k ? node_int(anchor, "size") : b.k;
  b.count = (b.k + b.size - 1) / b.size;
  b.lanes = lower->lanes = target_lanes(variant->target, DTYPE_F32);
  read_scale_and_zero(&b);
  all_groups(&b, variant);
}

const Variant variant_blocks = {
    .name = "blocks",
    .doc = "weights of 4 or 8 bits, for few rows as they come from memory, for many made floats first: rows, "
           "vectors "
           "per tile",
    .match = blocks_match,
    .choose = blocks_choose,
    .body = blocks_body,
};
