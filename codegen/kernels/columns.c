/*
 * columns.c -- gemm and 1x1 convolution of many rows over weights of which any may be zero: lists of a
 * column.
 *
 * Weights are panels of one column without their zeros (codegen/sparse.c): for each column of the result the
 * rows of w that are there, and their weights. Lanes are rows of x, which some strips of `vectors` vectors
 * have turned, in a local buffer [K][rows]:
 *
 *   for each strip: turn x; for each column: for each weight: sum += weight * x[row of w]     (lanes: rows of
 * x)
 *
 * A column waits for its sum, so `unroll` neighbouring weights have sums of their own. As many columns as
 * there are lanes are turned back together, and finished as rows of the result.
 *
 * Traffic: the weights once for each strip, with 2 bytes for the place of each; x once. A strip of x is
 * larger than L1, so each weight waits for L2: measured on Zen 4 1.8 cycles for a weight by 16 rows with
 * K = 768, 2.3 with 3072, where the tiles of dense weights take 1.05. Against dense weights 128x768x768 takes
 * 1/2.7 of the time with 80 % zeros, 1/5.5 with 90 %, 1/10 with 95 %. Strips of two vectors are best; of
 * eight they no longer fit into L2.
 */
#include "codegen/kernels/tiles.h"

#include <assert.h>

enum { MAX_VECTORS = 8, MAX_UNROLL = 8 };

typedef struct Emit {
  Lower *lower;
  const Node *anchor;
  int lanes, vectors, unroll; /* vectors: of the strip */
  int most_vectors, row_axis;
  int64_t k, columns, longest;
  Buffer *x, *w, *rows, *starts;
  Buffer *turned; /* x of a strip, [K][lanes * vectors] */
  Buffer *sums;   /* of some columns, [lanes][lanes * vectors] */
  Index outer[MAX_RANK];
  Reg *row;  /* the first of the strip */
  Reg *left; /* rows that there are from it on; NULL: all of the strip's */
  int64_t height;
  bool rest; /* it is the strip behind the whole ones, with locals of its own */
} Emit;

/* ---- match --------------------------------------------------------------------------------------------- */

/* The products of a row of x see its channels alone. */
static bool is_pointwise(const Node *anchor) {
  if (node_is(anchor, &op_gemm)) return !node_bool(anchor, "trans_a");
  return node_is(anchor, &op_conv) && node_string_is(anchor, "layout", "nhwc") &&
         node_int(anchor, "group") == 1 && !attr_has_other(anchor, "kernel", 1) &&
         !attr_has_other(anchor, "strides", 1) && !attr_has_other(anchor, "pads", 0);
}

/* Of x, as one row of pixels, which collapse makes of images. */
static int64_t row_count(const Node *node, const Type *x) {
  int64_t count = 1;
  for (int axis = 0; axis + 1 < x->rank; axis++) count *= size_estimate(node, x->dims[axis]);
  return count;
}

static bool columns_match(const Node *node, const Node *anchor, const Target *target) {
  if (!anchor || !is_pointwise(anchor) || !operand(anchor, SPARSE_ROWS)) return false;
  const Type *x = operand(anchor, PRODUCT_X)->type;
  int lanes = target_lanes(target, DTYPE_F32);
  if (node_int(anchor, "packed") != 1 || x->dtype != DTYPE_F32 || lanes < 4 || lanes > MAX_SQUARE)
    return false;
  if (operand(anchor, PRODUCT_W)->type->dtype != DTYPE_F32) return false;
  int64_t k = x->dims[x->rank - 1]->value;
  if (row_count(node, x) < lanes) return false;
  return value_is_direct(node, operand(anchor, PRODUCT_X)) && sparse_lists_fit(node, anchor, k) &&
         k <= MAX_LOCAL_BYTES / 2 / (lanes * MAX_VECTORS * (int64_t)sizeof(float));
}

static const char *columns_choose(const Node *node, const Node *anchor, const Target *target, int rank) {
  const Type *x = operand(anchor, PRODUCT_X)->type;
  const Dim *rows = x->dims[x->rank - 2];
  if (rank > 0) return NULL; /* tune does not know what lists to make */
  bool few = dim_is_const(rows) && rows->value <= target_lanes(target, DTYPE_F32);
  int kept = sparse_kept_percent(anchor, node_int(anchor, node_is(anchor, &op_gemm) ? "n" : "channels"),
                                 x->dims[x->rank - 1]->value);
  return arena_printf(node->graph->module->arena, "columns vectors=%d unroll=%d kept=%d%%", few ? 1 : 2,
                      few ? 4 : 2, kept);
}

/* ---- small pieces -------------------------------------------------------------------------------------- */

static Loops *loops_of(Emit *e) {
  return &e->lower->loops;
}

static Reg *plus(Emit *e, Reg *x, int64_t offset) {
  return offset ? loop_binary(loops_of(e), LOOP_ADD, x, loop_int(loops_of(e), offset)) : x;
}

static Reg *table_entry(Emit *e, Buffer *table, Reg *at) {
  return loop_cast(loops_of(e), loop_load(loops_of(e), table, &at, 1, NULL), DTYPE_I64);
}

static Reg *lane_int(Emit *e, int64_t value) {
  return loop_int(loops_of(e), value);
}

/* ---- x ------------------------------------------------------------------------------------------------- */

/* Turns columns k.. (`count` of a vector's) of vector v. Rows beyond the last are the last. */
static void turn_x(Emit *e, Reg *k, int64_t count, int v) {
  Loops *loops = loops_of(e);
  Reg *square[MAX_SQUARE], *at[MAX_RANK];
  Reg *mask = count < e->lanes ? loop_lanes_below(loops, lane_int(e, count), e->lanes) : NULL;
  for (int axis = 0; axis < e->row_axis; axis++) at[axis] = index_reg(e->lower, e->outer[axis]);
  for (int i = 0; i < e->lanes; i++) {
    int64_t row = (int64_t)v * e->lanes + i;
    if (!e->left && row >= e->height) row = e->height - 1;
    at[e->row_axis] = plus(e, e->row, row);
    if (e->left) {
      Reg *last = plus(e, loop_binary(loops, LOOP_ADD, e->row, e->left), -1);
      at[e->row_axis] = loop_binary(loops, LOOP_MIN, at[e->row_axis], last);
    }
    at[e->row_axis + 1] = k;
    square[i] = loop_load(loops, e->x, at, e->lanes, mask);
  }
  loop_transpose(loops, square, e->lanes);
  for (int i = 0; i < count; i++)
    loop_store(loops, square[i], e->turned, (Reg *[]){plus(e, k, i), lane_int(e, (int64_t)v * e->lanes)},
               NULL);
}

static void turn_strip(Emit *e) {
  Loops *loops = loops_of(e);
  int64_t full = e->k / e->lanes * e->lanes;
  if (full > 0) {
    For loop = loop_for(loops, lane_int(e, 0), lane_int(e, full), e->lanes, 0, NULL);
    for (int v = 0; v < e->vectors; v++) turn_x(e, loop.counter, e->lanes, v);
    loop_end(loops, &loop, NULL);
  }
  for (int v = 0; v < e->vectors && full < e->k; v++) turn_x(e, lane_int(e, full), e->k - full, v);
}

/* ---- sums ---------------------------------------------------------------------------------------------- */

/* sums[u][v] += the product with weight at + u. */
static void add_weights(Emit *e, Reg *at, int unroll, Reg *const *sums, Reg **next) {
  Loops *loops = loops_of(e);
  for (int u = 0; u < unroll; u++) {
    Reg *here = plus(e, at, u), *row = table_entry(e, e->rows, here);
    Reg *w = loop_load(loops, e->w, (Reg *[]){here, lane_int(e, 0)}, 1, NULL);
    w = loop_splat(loops, w, e->lanes);
    for (int v = 0; v < e->vectors; v++) {
      Reg *x =
          loop_load(loops, e->turned, (Reg *[]){row, lane_int(e, (int64_t)v * e->lanes)}, e->lanes, NULL);
      int i = u * e->vectors + v;
      next[i] = loop_mul_add(loops, w, x, sums[i]);
    }
  }
}

/* From `from` on, `unroll` at a time; returns where it ends. */
static Reg *walk(Emit *e, Reg *from, Reg *count, int unroll, Reg **sums) {
  Loops *loops = loops_of(e);
  int sum_count = unroll * e->vectors;
  Reg *next[MAX_UNROLL * MAX_VECTORS];
  For loop = loop_for(loops, lane_int(e, 0), count, unroll, sum_count, sums);
  add_weights(e, loop_binary(loops, LOOP_ADD, from, loop.counter), unroll, loop.carried, next);
  loop_end(loops, &loop, next);
  for (int i = 0; i < sum_count; i++) sums[i] = loop.results[i];
  return loop_binary(loops, LOOP_ADD, from, count);
}

/* The sums of one column, as row `slot` of e->sums. */
static void one_column(Emit *e, Reg *column, Reg *slot) {
  Loops *loops = loops_of(e);
  Reg *sums[MAX_UNROLL * MAX_VECTORS], *zero = loop_const(loops, (LoopType){DTYPE_F32, e->lanes}, 0);
  for (int i = 0; i < e->unroll * e->vectors; i++) sums[i] = zero;
  Reg *from = table_entry(e, e->starts, column), *to = table_entry(e, e->starts, plus(e, column, 1));
  Reg *count = loop_binary(loops, LOOP_MIN, loop_binary(loops, LOOP_SUB, to, from), lane_int(e, e->longest));
  if (e->unroll > 1) {
    Reg *whole = loop_binary(loops, LOOP_FLOORDIV, count, lane_int(e, e->unroll));
    whole = loop_binary(loops, LOOP_MUL, whole, lane_int(e, e->unroll));
    from = walk(e, from, whole, e->unroll, sums);
    count = loop_binary(loops, LOOP_SUB, count, whole);
    for (int i = e->vectors; i < e->unroll * e->vectors; i++)
      sums[i % e->vectors] = loop_binary(loops, LOOP_ADD, sums[i % e->vectors], sums[i]);
  }
  walk(e, from, count, 1, sums);
  for (int v = 0; v < e->vectors; v++)
    loop_store(loops, sums[v], e->sums, (Reg *[]){slot, lane_int(e, (int64_t)v * e->lanes)}, NULL);
}

/* ---- results ------------------------------------------------------------------------------------------- */

/* Row `row` of the strip, `count` columns. */
static void finish_row(Emit *e, int64_t row, Reg *column, int64_t count, Reg *value) {
  Loops *loops = loops_of(e);
  Index at[MAX_RANK];
  Reg *here = plus(e, e->row, row);
  for (int axis = 0; axis < e->row_axis; axis++) at[axis] = e->outer[axis];
  at[e->row_axis] = index_of(here);
  at[e->row_axis + 1] = index_run(column, 1);
  Reg *end = lane_int(e, count);
  if (e->left) {
    Reg *inside = loop_binary(loops, LOOP_LT, lane_int(e, row), e->left);
    end = loop_select(loops, inside, end, lane_int(e, 0));
  }
  e->lower->mask = e->left || count < e->lanes ? loop_lanes_below(loops, end, e->lanes) : NULL;
  if (operand(e->anchor, PRODUCT_BIAS)) {
    Reg *bias = node_is(e->anchor, &op_gemm)
                    ? lower_broadcast(e->lower, e->anchor, PRODUCT_BIAS, at)
                    : lower_operand(e->lower, e->anchor, PRODUCT_BIAS, &at[e->row_axis + 1]);
    value = loop_binary(loops, LOOP_ADD, value, loop_splat(loops, bias, e->lanes));
  }
  lower_result(e->lower, 0, at, value);
  e->lower->mask = NULL;
}

/* Columns column.., `count` of as many as there are lanes. */
static void some_columns(Emit *e, Reg *column, int64_t count) {
  Loops *loops = loops_of(e);
  For loop = loop_for(loops, lane_int(e, 0), lane_int(e, count), 1, 0, NULL);
  one_column(e, loop_binary(loops, LOOP_ADD, column, loop.counter), loop.counter);
  loop_end(loops, &loop, NULL);
  for (int v = 0; v < e->vectors; v++) {
    Reg *square[MAX_SQUARE];
    for (int i = 0; i < e->lanes; i++) {
      Reg *at[2] = {lane_int(e, i), lane_int(e, (int64_t)v * e->lanes)};
      square[i] = i < count ? loop_load(loops, e->sums, at, e->lanes, NULL)
                            : loop_const(loops, (LoopType){DTYPE_F32, e->lanes}, 0);
    }
    loop_transpose(loops, square, e->lanes);
    for (int i = 0; i < e->lanes && (int64_t)v * e->lanes + i < e->height; i++)
      finish_row(e, (int64_t)v * e->lanes + i, column, count, square[i]);
  }
}

static Buffer *new_local(Emit *e, const char *name, int64_t rows, int64_t columns) {
  return kernel_add_local(loops_of(e)->kernel, name, DTYPE_F32, 2, (int64_t[]){rows, columns});
}

static void one_strip(Emit *e) {
  Loops *loops = loops_of(e);
  int64_t full = e->columns / e->lanes * e->lanes, width = (int64_t)e->vectors * e->lanes;
  e->turned = new_local(e, e->rest ? "turned_rest" : "turned", e->k, width);
  e->sums = new_local(e, e->rest ? "sums_rest" : "sums", e->lanes, width);
  turn_strip(e);
  if (full > 0) {
    For loop = loop_for(loops, lane_int(e, 0), lane_int(e, full), e->lanes, 0, NULL);
    some_columns(e, loop.counter, e->lanes);
    loop_end(loops, &loop, NULL);
  }
  if (full < e->columns) some_columns(e, lane_int(e, full), e->columns - full);
}

/* ---- strips -------------------------------------------------------------------------------------------- */

/* Strips of `height` rows in [from, to), or of as many as there are; rest: the last. */
static void strips(Emit *e, Reg *from, Reg *to, int64_t height, bool open, bool rest) {
  Loops *loops = loops_of(e);
  int64_t width = (int64_t)e->lanes * e->most_vectors;
  For loop = loop_parallel(loops, from, to, width);
  e->row = loop.counter;
  e->left = open ? loop_binary(loops, LOOP_SUB, to, e->row) : NULL;
  e->height = height;
  e->rest = rest;
  e->vectors = (int)((height + e->lanes - 1) / e->lanes);
  one_strip(e);
  loop_end(loops, &loop, NULL);
}

/* Whole strips, and one of what is left. */
static void all_strips(Emit *e) {
  Loops *loops = loops_of(e);
  const Dim *count = result(e->anchor, 0)->type->dims[e->row_axis];
  int64_t width = (int64_t)e->lanes * e->most_vectors,
          rest = dim_is_const(count) ? count->value % width : width;
  Reg *rows = loop_dim(loops, count), *size = lane_int(e, width);
  Reg *whole = loop_binary(loops, LOOP_MUL, loop_binary(loops, LOOP_FLOORDIV, rows, size), size);
  Sections sections = loop_sections(loops);
  if (!dim_is_const(count) || count->value >= width) {
    loop_section(loops, &sections);
    strips(e, lane_int(e, 0), whole, width, false, false);
  }
  if (rest > 0) {
    loop_section(loops, &sections);
    strips(e, whole, rows, rest, !dim_is_const(count), true);
  }
  loop_end_sections(loops, &sections);
}

/* The result's axes before the rows. */
static void outer_axes(Emit *e, int axis) {
  if (axis == e->row_axis) {
    all_strips(e);
    return;
  }
  Loops *loops = loops_of(e);
  For loop = loop_parallel(loops, lane_int(e, 0), lower_dim(e->lower, result(e->anchor, 0), axis), 1);
  e->outer[axis] = index_of(loop.counter);
  outer_axes(e, axis + 1);
  loop_end(loops, &loop, NULL);
}

static int param_within(const char *schedule, const char *key, int most) {
  int value = schedule_param(schedule, key, 1);
  return value >= 1 && value <= most ? value : 1;
}

static void columns_body(Lower *lower, void *context) {
  const VariantContext *variant = context;
  const Node *anchor = lower->anchor;
  const Type *x = operand(anchor, PRODUCT_X)->type, *y = result(anchor, 0)->type;
  Emit e = {.lower = lower,
            .anchor = anchor,
            .lanes = target_lanes(variant->target, DTYPE_F32),
            .most_vectors = param_within(variant->schedule, "vectors", MAX_VECTORS),
            .unroll = param_within(variant->schedule, "unroll", MAX_UNROLL),
            .row_axis = x->rank - 2,
            .k = x->dims[x->rank - 1]->value,
            .columns = y->dims[y->rank - 1]->value,
            .longest = sparse_longest(lower->node, anchor)};
  lower->lanes = e.lanes;
  e.x = lower_buffer(lower, operand(anchor, PRODUCT_X));
  e.w = lower_buffer(lower, operand(anchor, PRODUCT_W));
  e.rows = lower_buffer(lower, operand(anchor, SPARSE_ROWS));
  e.starts = lower_buffer(lower, operand(anchor, SPARSE_STARTS));
  outer_axes(&e, 0);
}

const Variant variant_columns = {
    .name = "columns",
    .doc = "lists of the weights of a column, lanes over rows: vectors per strip, sums per column and vector",
    .match = columns_match,
    .choose = columns_choose,
    .body = columns_body,
};
