/*
 * matmul.c -- products of two activations: batched matmul and gemm whose right side is not packed.
 *
 * Lanes run over columns of b, which is read in place: a row of b is contiguous. A tile is `rows` rows of the
 * result by `vectors` vectors of columns, as in panels.c:
 *
 *   for each k: load a row of b's columns, broadcast each row's a, one fma per vector
 *
 * The loop over groups of columns is outside, so that k * vectors * lanes elements of b stay in L1 or L2
 * while all rows pass by. Any size may be open: rows that fill no strip and columns that fill no group are
 * done in smaller and masked tiles. A transposed b was made plain by pack.c.
 *
 * Traffic: b once, a once per group of columns, the result once. Measured with AVX-512 against a peak of 249
 * GFLOP/s: 12 heads of 128x64x128 and of 128x128x64 93 %, the first with open sizes 92 %, 200 instead of 128
 * (a masked tail) 81 %, 512x512x512 84 %.
 */
#include "codegen/kernels/tiles.h"

#include <assert.h>

/* ---- which products ------------------------------------------------------------------------------------ */

/* A param of the kernel, to be read as it is. */
static bool is_matrix(const Node *node, const Value *value) {
  return value_is_direct(node, value) && !value_is_literal(value) && value->type->rank >= 2;
}

/* Batch axes are those of the result, or of size 1. */
static bool batches_fit(const Type *type, const Type *y) {
  for (int i = 0; i + 2 < type->rank; i++) {
    if (type->dims[i] != y->dims[y->rank - type->rank + i] && !dim_is(type->dims[i], 1)) return false;
  }
  return true;
}

static bool matmul_match(const Node *node, const Node *anchor, const Target *target) {
  (void)target;
  if (!anchor || !(node_is(anchor, &op_matmul) || node_is(anchor, &op_gemm))) return false;
  const Value *a = operand(anchor, 0), *b = operand(anchor, 1);
  const Type *y = result(anchor, 0)->type;
  if (node_int(anchor, "packed") || a->type->dtype != DTYPE_F32 || b->type->dtype != DTYPE_F32) return false;
  if (!is_matrix(node, a) || !is_matrix(node, b)) return false;
  if (node_is(anchor, &op_gemm)) return !node_bool(anchor, "trans_a") && !node_bool(anchor, "trans_b");
  return batches_fit(a->type, y) && batches_fit(b->type, y);
}

static const char *matmul_choose(const Node *node, const Node *anchor, const Target *target, int rank) {
  const Type *y = result(anchor, 0)->type;
  const Dim *n = y->dims[y->rank - 1];
  int lanes = target_lanes(target, DTYPE_F32);
  const Type *a = operand(anchor, 0)->type;
  const Dim *k = a->dims[a->rank - 1];
  TileProblem problem = {.row_count = y->dims[y->rank - 2],
                         .row_bytes = dim_is_const(k) ? k->value * (int64_t)sizeof(float) : 0,
                         .k = dim_is_const(k) ? k->value : 0,
                         .columns = dim_is_const(n) ? n->value : 1 << 20,
                         .panel = lanes};
  TileSize tile;
  if (!tile_choose(target, &problem, rank, &tile)) return NULL;
  return arena_printf(node->graph->module->arena, "matmul rows=%d vectors=%d", tile.rows, tile.panels);
}

/* ---- code ---------------------------------------------------------------------------------------------- */

typedef struct Emit {
  Lower *lower;
  const Node *anchor;
  Buffer *a, *b;
  const Type *y;
  int lanes, rows, vectors; /* the last two: limits of the tile */
  Reg *batch[MAX_RANK];     /* where the tile is */
  Reg *column;
  int tile_vectors;
  Reg *mask; /* of the tile's last vector; NULL: it is whole */
} Emit;

static Reg *plus(Emit *e, Reg *x, int64_t offset) {
  Loops *loops = &e->lower->loops;
  return offset ? loop_binary(loops, LOOP_ADD, x, loop_int(loops, offset)) : x;
}

static Reg *mask_of(const Emit *e, int v) {
  return v == e->tile_vectors - 1 ? e->mask : NULL;
}

/* The batch axes of an operand, at the tile's batch. */
static void batch_position(Emit *e, const Buffer *x, Reg **at) {
  int batches = x->rank - 2, shift = e->y->rank - x->rank;
  for (int i = 0; i < batches; i++)
    at[i] = x->dims[i] == e->y->dims[shift + i] ? e->batch[shift + i] : loop_int(&e->lower->loops, 0);
}

static void result_position(Emit *e, Reg *row, int r, int v, Index *at) {
  int batches = e->y->rank - 2;
  for (int i = 0; i < batches; i++) at[i] = index_of(e->batch[i]);
  at[batches] = index_of(plus(e, row, r));
  at[batches + 1] = index_run(plus(e, e->column, (int64_t)v * e->lanes), 1);
}

/* gemm's c, or zero. */
static Reg *initial_value(Emit *e, Reg *row, int r, int v) {
  Loops *loops = &e->lower->loops;
  if (!node_is(e->anchor, &op_gemm) || !operand(e->anchor, 2))
    return loop_const(loops, (LoopType){DTYPE_F32, e->lanes}, 0);
  Index at[MAX_RANK];
  result_position(e, row, r, v, at);
  e->lower->mask = mask_of(e, v);
  Reg *value = loop_splat(loops, lower_broadcast(e->lower, e->anchor, 2, at), e->lanes);
  e->lower->mask = NULL;
  return value;
}

/* acc[r][v] += a[row + r, k] * b[k, v]. */
static void step_of_k(Emit *e, Reg *row, int height, Reg *k, Reg **acc) {
  Loops *loops = &e->lower->loops;
  Reg *at[MAX_RANK], *b[MAX_TILE_VECTORS];
  batch_position(e, e->b, at);
  at[e->b->rank - 2] = k;
  for (int v = 0; v < e->tile_vectors; v++) {
    at[e->b->rank - 1] = plus(e, e->column, (int64_t)v * e->lanes);
    b[v] = loop_load(loops, e->b, at, e->lanes, mask_of(e, v));
  }
  batch_position(e, e->a, at);
  at[e->a->rank - 1] = k;
  for (int r = 0; r < height; r++) {
    at[e->a->rank - 2] = plus(e, row, r);
    Reg *a = loop_splat(loops, loop_load(loops, e->a, at, 1, NULL), e->lanes);
    for (int v = 0; v < e->tile_vectors; v++) {
      Reg **sum = &acc[r * e->tile_vectors + v];
      *sum = loop_mul_add(loops, a, b[v], *sum);
    }
  }
}

static void emit_tile(void *context, Reg *row, int height) {
  Emit *e = context;
  Loops *loops = &e->lower->loops;
  Reg *acc[MAX_TILE_ROWS * MAX_TILE_VECTORS];
  int count = height * e->tile_vectors;
  assert(e->tile_vectors <= MAX_TILE_VECTORS && height <= MAX_TILE_ROWS);
  for (int i = 0; i < count; i++) acc[i] = initial_value(e, row, i / e->tile_vectors, i % e->tile_vectors);
  Reg *size = loop_dim(loops, e->a->dims[e->a->rank - 1]);
  For loop = loop_for(loops, loop_int(loops, 0), size, 1, count, acc);
  for (int i = 0; i < count; i++) acc[i] = loop.carried[i];
  step_of_k(e, row, height, loop.counter, acc);
  loop_end(loops, &loop, acc);
  for (int i = 0; i < count; i++) {
    Index at[MAX_RANK];
    int v = i % e->tile_vectors;
    result_position(e, row, i / e->tile_vectors, v, at);
    e->lower->mask = mask_of(e, v);
    lower_result(e->lower, 0, at, loop.results[i]);
  }
  e->lower->mask = NULL;
}

static void all_rows(Emit *e, Reg *column, int vectors, Reg *mask) {
  e->column = column;
  e->tile_vectors = vectors;
  e->mask = mask;
  tile_strips(&e->lower->loops, e->y->dims[e->y->rank - 2], e->rows, 0, INT64_MAX, emit_tile, e);
}

/* Groups of whole vectors, then what is left: one narrower tile, or vectors one by one if n is open. */
static void column_groups(Emit *e) {
  Loops *loops = &e->lower->loops;
  const Dim *n = e->y->dims[e->y->rank - 1];
  int width = e->vectors * e->lanes;
  Reg *zero = loop_int(loops, 0), *size = loop_dim(loops, n), *group = loop_int(loops, width), *full;
  full = dim_is_const(n)
             ? loop_int(loops, n->value / width * width)
             : loop_binary(loops, LOOP_MUL, loop_binary(loops, LOOP_FLOORDIV, size, group), group);
  Sections sections = loop_sections(loops);
  if (!dim_is_const(n) || n->value >= width) {
    loop_section(loops, &sections);
    For loop = loop_parallel(loops, zero, full, width);
    all_rows(e, loop.counter, e->vectors, NULL);
    loop_end(loops, &loop, NULL);
  }
  if (!dim_is_const(n)) {
    loop_section(loops, &sections);
    For loop = loop_parallel(loops, full, size, e->lanes);
    Reg *left = loop_binary(loops, LOOP_SUB, size, loop.counter);
    all_rows(e, loop.counter, 1, loop_lanes_below(loops, left, e->lanes));
    loop_end(loops, &loop, NULL);
  } else if (n->value % width) {
    int64_t rest = n->value % width, tail = rest % e->lanes;
    loop_section(loops, &sections);
    Reg *mask = tail ? loop_lanes_below(loops, loop_int(loops, tail), e->lanes) : NULL;
    all_rows(e, full, (int)((rest + e->lanes - 1) / e->lanes), mask);
  }
  loop_end_sections(loops, &sections);
}

static void batch_axes(Emit *e, int axis) {
  Loops *loops = &e->lower->loops;
  if (axis == e->y->rank - 2) {
    column_groups(e);
    return;
  }
  For loop = loop_parallel(loops, loop_int(loops, 0), loop_dim(loops, e->y->dims[axis]), 1);
  e->batch[axis] = loop.counter;
  batch_axes(e, axis + 1);
  loop_end(loops, &loop, NULL);
}

static void matmul_body(Lower *lower, void *context) {
  const VariantContext *variant = context;
  const Node *anchor = lower->anchor;
  Emit e = {.lower = lower, .anchor = anchor, .y = result(anchor, 0)->type};
  e.a = lower_buffer(lower, operand(anchor, 0));
  e.b = lower_buffer(lower, operand(anchor, 1));
  e.lanes = lower->lanes = target_lanes(variant->target, DTYPE_F32);
  e.rows = schedule_param(variant->schedule, "rows", 1);
  e.vectors = schedule_param(variant->schedule, "vectors", 1);
  if (e.rows < 1 || e.rows > MAX_TILE_ROWS) e.rows = 1;
  if (e.vectors < 1 || e.vectors > MAX_TILE_VECTORS) e.vectors = 1;
  batch_axes(&e, 0);
}

const Variant variant_matmul = {
    .name = "matmul",
    .doc = "register tiles over a right side read in place: rows, vectors per tile",
    .match = matmul_match,
    .choose = matmul_choose,
    .body = matmul_body,
};
