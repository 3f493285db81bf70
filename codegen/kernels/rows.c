/*
 * rows.c -- softmax, layer norm and reductions, in lanes.
 *
 * Over the last axis: lanes run along it and are combined at the end. Over other axes: lanes run along the
 * last axis, which stays, and the reduced axes are serial loops around one accumulator. Softmax keeps its
 * exponentials in a local row, so that each is computed once.
 *
 * Layer norm reads a block of rows three times (mean, variance, result), the second and third time from L1:
 * four rows, whose sums hide each other's latency, or two long ones. Measured with AVX-512, read and write
 * together: 71 GB/s for 128 rows of 768, 57 for 3136 of 96; L2 alone reads at 115.
 */
#include "codegen/kernels/lanes.h"
#include "codegen/kernels/tiles.h"

enum { MAX_LOCAL_ROW = 16384 }; /* floats */

/* ---- reductions ---------------------------------------------------------------------------------------- */

typedef enum Combine { COMBINE_ADD, COMBINE_MAX, COMBINE_MIN } Combine;

static bool reduction_of(const Node *anchor, Combine *combine) {
  const struct {
    const Op *op;
    Combine combine;
  } table[] = {{&op_reduce_sum, COMBINE_ADD},
               {&op_reduce_mean, COMBINE_ADD},
               {&op_reduce_max, COMBINE_MAX},
               {&op_reduce_min, COMBINE_MIN}};
  for (int i = 0; i < COUNT_OF(table); i++) {
    if (!node_is(anchor, table[i].op)) continue;
    *combine = table[i].combine;
    return true;
  }
  return false;
}

typedef struct Reduce {
  Combine combine;
  int carried; /* accumulators: see add_to */
  const Type *x;
  bool reduced[MAX_RANK];
  bool along;         /* lanes run along a reduced axis */
  Index at[MAX_RANK]; /* of x; the reduced axes move */
} Reduce;

enum { MAX_REDUCE_CARRIED = 2 };

static double identity_of(Combine combine) {
  return combine == COMBINE_ADD ? 0 : combine == COMBINE_MAX ? -__builtin_inf() : __builtin_inf();
}

/* What nothing has been added to. */
static void start_of(Loops *loops, const Reduce *r, LoopType type, Reg **acc) {
  acc[0] = loop_const(loops, type, identity_of(r->combine));
  if (r->carried > 1) acc[1] = loop_const(loops, type, 0);
}

/* acc[0] is the sum, or the best of all numbers: the opcode gives the second operand where the first is NaN.
 * A NaN that was met is in acc[1]. */
static void add_to(Loops *loops, Combine combine, Reg **acc, Reg *x) {
  if (combine == COMBINE_ADD) {
    acc[0] = loop_binary(loops, LOOP_ADD, acc[0], x);
  } else {
    acc[0] = loop_binary(loops, combine == COMBINE_MAX ? LOOP_MAX : LOOP_MIN, x, acc[0]);
    acc[1] = loop_select(loops, loop_binary(loops, LOOP_NE, x, x), x, acc[1]);
  }
}

/* The result of what is in the accumulators, lane by lane. */
static Reg *result_of(Loops *loops, Combine combine, Reg *const *acc) {
  if (combine == COMBINE_ADD) return acc[0];
  return loop_select(loops, loop_binary(loops, LOOP_NE, acc[1], acc[1]), acc[1], acc[0]);
}

static void take_element(Lower *lower, Reg *first, Reg **acc, void *context) {
  Reduce *r = context;
  Loops *loops = &lower->loops;
  if (r->along) r->at[r->x->rank - 1] = index_run(first, 1);
  Reg *x = loop_splat(loops, lower_operand(lower, lower->anchor, 0, r->at), lower->lanes);
  if (lower->mask && r->along)
    x = loop_select(loops, lower->mask, x, loop_const(loops, x->type, identity_of(r->combine)));
  add_to(loops, r->combine, acc, x);
}

/* The last axis in several sets of accumulators, which hide each other's latency; what is left over in one.
 */
static void long_row(Lower *lower, Reduce *r, int64_t size, Reg **acc) {
  enum { PARTS = 4 };
  Loops *loops = &lower->loops;
  int lanes = lower->lanes, carried = r->carried;
  int64_t full = size / (PARTS * lanes) * (PARTS * lanes);
  if (full > PARTS * lanes) {
    Reg *parts[PARTS * MAX_REDUCE_CARRIED];
    for (int i = 0; i < carried; i++) parts[i] = acc[i];
    for (int i = 1; i < PARTS; i++) start_of(loops, r, acc[0]->type, &parts[i * carried]);
    For loop =
        loop_for(loops, loop_int(loops, 0), loop_int(loops, full), PARTS * lanes, PARTS * carried, parts);
    for (int i = 0; i < PARTS * carried; i++) parts[i] = loop.carried[i];
    for (int i = 0; i < PARTS; i++) {
      Reg *first = loop_binary(loops, LOOP_ADD, loop.counter, loop_int(loops, (int64_t)i * lanes));
      take_element(lower, first, &parts[i * carried], r);
    }
    loop_end(loops, &loop, parts);
    for (int i = 0; i < carried; i++) acc[i] = loop.results[i];
    for (int i = 1; i < PARTS; i++)
      add_to(loops, r->combine, acc, result_of(loops, r->combine, &loop.results[i * carried]));
  } else {
    full = 0;
  }
  fold_lanes(lower, full, size, acc, carried, take_element, r);
}

/* Loops over the reduced axes from `axis` on, carrying the accumulators. */
static void reduced_axes(Lower *lower, Reduce *r, int axis, Reg **acc) {
  Loops *loops = &lower->loops;
  int last = r->x->rank - 1;
  if (axis > last) {
    take_element(lower, NULL, acc, r);
  } else if (!r->reduced[axis]) {
    reduced_axes(lower, r, axis + 1, acc);
  } else if (axis == last) {
    long_row(lower, r, r->x->dims[last]->value, acc);
  } else {
    For loop = loop_for(loops, loop_int(loops, 0), loop_dim(loops, r->x->dims[axis]), 1, r->carried, acc);
    r->at[axis] = index_of(loop.counter);
    for (int i = 0; i < r->carried; i++) acc[i] = loop.carried[i];
    reduced_axes(lower, r, axis + 1, acc);
    loop_end(loops, &loop, acc);
    for (int i = 0; i < r->carried; i++) acc[i] = loop.results[i];
  }
}

/* Of all lanes one; the sum of zeros and NaN is NaN if there is one. */
static void across_lanes(Loops *loops, Combine combine, Reg **acc) {
  static const Opcode ops[] = {
      [COMBINE_ADD] = LOOP_REDUCE_ADD, [COMBINE_MAX] = LOOP_REDUCE_MAX, [COMBINE_MIN] = LOOP_REDUCE_MIN};
  acc[0] = loop_reduce(loops, ops[combine], acc[0]);
  if (combine != COMBINE_ADD) acc[1] = loop_reduce(loops, LOOP_REDUCE_ADD, acc[1]);
}

static void reduce_at(Lower *lower, Reduce *r) {
  Loops *loops = &lower->loops;
  Reg *acc[MAX_REDUCE_CARRIED];
  Index y[MAX_RANK];
  start_of(loops, r, (LoopType){DTYPE_F32, lower->lanes}, acc);
  for (int i = 0; i < r->x->rank; i++) y[i] = r->reduced[i] ? index_const(lower, 0) : r->at[i];
  reduced_axes(lower, r, 0, acc);
  int lanes = lower->lanes;
  if (r->along) {
    across_lanes(loops, r->combine, acc);
    lower->lanes = 1;
  }
  Reg *sum = result_of(loops, r->combine, acc);
  if (node_is(lower->anchor, &op_reduce_mean)) {
    Reg *count = loop_int(loops, 1);
    for (int i = 0; i < r->x->rank; i++) {
      if (r->reduced[i]) count = loop_binary(loops, LOOP_MUL, count, loop_dim(loops, r->x->dims[i]));
    }
    sum = loop_binary(loops, LOOP_DIV, sum, loop_cast(loops, count, DTYPE_F32));
  }
  lower_result(lower, 0, y, sum);
  lower->lanes = lanes;
}

static void reduce_vector(Lower *lower, Reg *first, void *context) {
  Reduce *r = context;
  r->at[r->x->rank - 1] = index_run(first, 1);
  reduce_at(lower, r);
}

static void kept_axes(Lower *lower, Reduce *r, int axis) {
  Loops *loops = &lower->loops;
  int last = r->x->rank - 1;
  if (axis == last) {
    if (r->along)
      reduce_at(lower, r);
    else
      for_lanes(lower, 0, r->x->dims[last]->value, reduce_vector, r);
    return;
  }
  if (r->reduced[axis]) {
    kept_axes(lower, r, axis + 1);
    return;
  }
  For loop = loop_parallel(loops, loop_int(loops, 0), loop_dim(loops, r->x->dims[axis]), 1);
  r->at[axis] = index_of(loop.counter);
  kept_axes(lower, r, axis + 1);
  loop_end(loops, &loop, NULL);
}

static void reduce_body(Lower *lower) {
  const Type *x = operand(lower->anchor, 0)->type;
  Reduce r = {.x = x};
  reduction_of(lower->anchor, &r.combine);
  r.carried = r.combine == COMBINE_ADD ? 1 : 2;
  int count;
  const int64_t *axes = node_ints(lower->anchor, "axes", &count);
  for (int i = 0; i < count; i++) r.reduced[axes[i] < 0 ? axes[i] + x->rank : axes[i]] = true;
  r.along = r.reduced[x->rank - 1];
  kept_axes(lower, &r, 0);
}

/* ---- rows along the last axis -------------------------------------------------------------------------- */

typedef void (*RowBody)(Lower *lower, void *context, int64_t size);

/* Calls body once per row of x, with `at` set for all axes but the last. */
static void each_row(Lower *lower, const Type *x, Index *at, int axis, RowBody body, void *context) {
  Loops *loops = &lower->loops;
  if (axis == x->rank - 1) {
    body(lower, context, x->dims[axis]->value);
    return;
  }
  For loop = loop_parallel(loops, loop_int(loops, 0), loop_dim(loops, x->dims[axis]), 1);
  at[axis] = index_of(loop.counter);
  each_row(lower, x, at, axis + 1, body, context);
  loop_end(loops, &loop, NULL);
}

/* ---- softmax ------------------------------------------------------------------------------------------- */

typedef struct Softmax {
  int rank;
  Index at[MAX_RANK];
  Buffer *row; /* exponentials */
  Reg *top;    /* the largest, in every lane */
  Reg *scale;  /* 1 / sum */
} Softmax;

static Reg *softmax_input(Lower *lower, Softmax *s, Reg *first) {
  s->at[s->rank - 1] = index_run(first, 1);
  return loop_splat(&lower->loops, lower_operand(lower, lower->anchor, 0, s->at), lower->lanes);
}

static void find_top(Lower *lower, Reg *first, Reg **top, void *context) {
  Loops *loops = &lower->loops;
  Reg *x = softmax_input(lower, context, first);
  if (lower->mask) x = loop_select(loops, lower->mask, x, loop_const(loops, x->type, -__builtin_inf()));
  *top = loop_binary(loops, LOOP_MAX, *top, x);
}

static void sum_up(Lower *lower, Reg *first, Reg **sum, void *context) {
  Softmax *s = context;
  Loops *loops = &lower->loops;
  Reg *x = softmax_input(lower, s, first);
  Reg *e = loop_unary(loops, LOOP_EXP, loop_binary(loops, LOOP_SUB, x, s->top));
  loop_store(loops, e, s->row, &first, lower->mask);
  if (lower->mask) e = loop_select(loops, lower->mask, e, loop_const(loops, e->type, 0));
  *sum = loop_binary(loops, LOOP_ADD, *sum, e);
}

static void write_out(Lower *lower, Reg *first, void *context) {
  Softmax *s = context;
  Loops *loops = &lower->loops;
  Reg *e = loop_load(loops, s->row, &first, lower->lanes, lower->mask);
  s->at[s->rank - 1] = index_run(first, 1);
  lower_result(lower, 0, s->at, loop_binary(loops, LOOP_MUL, e, s->scale));
}

static void softmax_row(Lower *lower, void *context, int64_t size) {
  Softmax *s = context;
  Loops *loops = &lower->loops;
  LoopType type = {DTYPE_F32, lower->lanes};
  Reg *top = loop_const(loops, type, -__builtin_inf()), *sum = loop_const(loops, type, 0);
  fold_lanes(lower, 0, size, &top, 1, find_top, s);
  s->top = loop_splat(loops, loop_reduce(loops, LOOP_REDUCE_MAX, top), lower->lanes);
  fold_lanes(lower, 0, size, &sum, 1, sum_up, s);
  Reg *one = loop_const(loops, (LoopType){DTYPE_F32, 1}, 1);
  s->scale = loop_splat(loops, loop_binary(loops, LOOP_DIV, one, loop_reduce(loops, LOOP_REDUCE_ADD, sum)),
                        lower->lanes);
  for_lanes(lower, 0, size, write_out, s);
}

static void softmax_body(Lower *lower) {
  const Type *x = operand(lower->anchor, 0)->type;
  int64_t size = x->dims[x->rank - 1]->value;
  Softmax s = {.rank = x->rank, .row = kernel_add_local(lower->loops.kernel, "row", DTYPE_F32, 1, &size)};
  each_row(lower, x, s.at, 0, softmax_row, &s);
}

/* ---- layer norm ---------------------------------------------------------------------------------------- */

enum { MAX_NORM_ROWS = 4 };

typedef struct Norm {
  int rank, rows; /* of the block */
  Index at[MAX_RANK];
  Reg *first_row;
  Reg *mean[MAX_NORM_ROWS], *inverse[MAX_NORM_ROWS]; /* in every lane; mean NULL: not known yet, or 0 */
} Norm;

/* The position in row `row` of the block. */
static const Index *norm_at(Lower *lower, Norm *n, int row, Reg *first) {
  Loops *loops = &lower->loops;
  if (n->rank > 1)
    n->at[n->rank - 2] = index_of(loop_binary(loops, LOOP_ADD, n->first_row, loop_int(loops, row)));
  n->at[n->rank - 1] = index_run(first, 1);
  return n->at;
}

static Reg *norm_input(Lower *lower, Norm *n, int row, Reg *first) {
  const Index *at = norm_at(lower, n, row, first);
  Reg *x = loop_splat(&lower->loops, lower_operand(lower, lower->anchor, 0, at), lower->lanes);
  return n->mean[row] ? loop_binary(&lower->loops, LOOP_SUB, x, n->mean[row]) : x;
}

static Reg *masked_or_zero(Lower *lower, Reg *x) {
  return lower->mask ? loop_select(&lower->loops, lower->mask, x, loop_const(&lower->loops, x->type, 0)) : x;
}

static void add_elements(Lower *lower, Reg *first, Reg **sums, void *context) {
  Norm *n = context;
  for (int i = 0; i < n->rows; i++)
    sums[i] =
        loop_binary(&lower->loops, LOOP_ADD, sums[i], masked_or_zero(lower, norm_input(lower, n, i, first)));
}

static void add_squares(Lower *lower, Reg *first, Reg **sums, void *context) {
  Norm *n = context;
  for (int i = 0; i < n->rows; i++) {
    Reg *x = masked_or_zero(lower, norm_input(lower, n, i, first));
    sums[i] = loop_mul_add(&lower->loops, x, x, sums[i]);
  }
}

/* For each row of the block the mean of what `add` adds, as a scalar. */
static void row_means(Lower *lower, Norm *n, int64_t size, LaneFold add, Reg **means) {
  Loops *loops = &lower->loops;
  for (int i = 0; i < n->rows; i++) means[i] = loop_const(loops, (LoopType){DTYPE_F32, lower->lanes}, 0);
  fold_lanes(lower, 0, size, means, n->rows, add, n);
  Reg *count = loop_const(loops, (LoopType){DTYPE_F32, 1}, (double)size);
  for (int i = 0; i < n->rows; i++)
    means[i] = loop_binary(loops, LOOP_DIV, loop_reduce(loops, LOOP_REDUCE_ADD, means[i]), count);
}

static Reg *norm_factor(Lower *lower, const Norm *n, int index) {
  if (!operand(lower->anchor, index)) return NULL;
  return loop_splat(&lower->loops, lower_broadcast(lower, lower->anchor, index, n->at), lower->lanes);
}

static void write_normalised(Lower *lower, Reg *first, void *context) {
  Norm *n = context;
  Loops *loops = &lower->loops;
  for (int i = 0; i < n->rows; i++) {
    Reg *y = loop_binary(loops, LOOP_MUL, norm_input(lower, n, i, first), n->inverse[i]);
    Reg *scale = norm_factor(lower, n, 1), *bias = norm_factor(lower, n, 2);
    if (scale && bias)
      y = loop_mul_add(loops, y, scale, bias);
    else if (scale || bias)
      y = loop_binary(loops, scale ? LOOP_MUL : LOOP_ADD, y, scale ? scale : bias);
    lower_result(lower, 0, n->at, y);
  }
}

static void norm_block(Lower *lower, Norm *n, int64_t size) {
  Loops *loops = &lower->loops;
  LoopType scalar = {DTYPE_F32, 1};
  Reg *means[MAX_NORM_ROWS];
  for (int i = 0; i < n->rows; i++) n->mean[i] = NULL;
  if (node_bool(lower->anchor, "center")) {
    row_means(lower, n, size, add_elements, means);
    for (int i = 0; i < n->rows; i++) n->mean[i] = loop_splat(loops, means[i], lower->lanes);
  }
  row_means(lower, n, size, add_squares, means);
  for (int i = 0; i < n->rows; i++) {
    Reg *variance = loop_binary(loops, LOOP_ADD, means[i],
                                loop_const(loops, scalar, node_float(lower->anchor, "epsilon")));
    Reg *inverse =
        loop_binary(loops, LOOP_DIV, loop_const(loops, scalar, 1), loop_unary(loops, LOOP_SQRT, variance));
    n->inverse[i] = loop_splat(loops, inverse, lower->lanes);
  }
  for_lanes(lower, 0, size, write_normalised, n);
}

typedef struct NormStrip {
  Lower *lower;
  Norm *norm;
  int64_t size;
} NormStrip;

static void norm_strip(void *context, Reg *row, int height) {
  NormStrip *strip = context;
  strip->norm->first_row = row;
  strip->norm->rows = height;
  norm_block(strip->lower, strip->norm, strip->size);
}

/* Blocks of rows hide the latency of sums; they are read three times, from L1 if they are not too long. */
static void norm_rows(Lower *lower, Norm *n, const Type *x, int64_t l1_bytes, int axis) {
  Loops *loops = &lower->loops;
  int64_t size = x->dims[n->rank - 1]->value;
  NormStrip strip = {lower, n, size};
  if (n->rank == 1) {
    norm_strip(&strip, NULL, 1);
  } else if (axis == n->rank - 2) {
    int rows = size * MAX_NORM_ROWS * 4 <= l1_bytes / 4 * 3 ? MAX_NORM_ROWS : 2;
    tile_strips(loops, x->dims[axis], rows, 0, INT64_MAX, norm_strip, &strip);
  } else {
    For loop = loop_parallel(loops, loop_int(loops, 0), loop_dim(loops, x->dims[axis]), 1);
    n->at[axis] = index_of(loop.counter);
    norm_rows(lower, n, x, l1_bytes, axis + 1);
    loop_end(loops, &loop, NULL);
  }
}

static void norm_body(Lower *lower, const Target *target) {
  const Type *x = operand(lower->anchor, 0)->type;
  Norm n = {.rank = x->rank};
  norm_rows(lower, &n, x, target->l1_bytes, 0);
}

/* ---- the variant --------------------------------------------------------------------------------------- */

static bool rows_match(const Node *node, const Node *anchor, const Target *target) {
  (void)node;
  (void)target;
  Combine combine;
  if (!anchor || !operand(anchor, 0)) return false;
  const Type *x = operand(anchor, 0)->type;
  if (x->dtype != DTYPE_F32 || x->rank < 1 || !dim_is_const(x->dims[x->rank - 1])) return false;
  if (reduction_of(anchor, &combine)) return true;
  int64_t size = x->dims[x->rank - 1]->value;
  if (node_is(anchor, &op_layer_norm)) return node_axis(anchor, "axis", x->rank) == x->rank - 1 && size > 0;
  return node_is(anchor, &op_softmax) && node_axis(anchor, "axis", x->rank) == x->rank - 1 && size > 0 &&
         size <= MAX_LOCAL_ROW;
}

static void rows_body(Lower *lower, void *context) {
  const VariantContext *variant = context;
  lower->lanes = target_lanes(variant->target, DTYPE_F32);
  if (node_is(lower->anchor, &op_softmax))
    softmax_body(lower);
  else if (node_is(lower->anchor, &op_layer_norm))
    norm_body(lower, variant->target);
  else
    reduce_body(lower);
}

const Variant variant_rows = {
    .name = "rows",
    .doc = "softmax, layer norm and reductions: lanes along the last axis",
    .match = rows_match,
    .body = rows_body,
};
