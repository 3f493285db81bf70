/*
 * panels.c -- gemm and convolution over packed weights: one register-tile kernel for both.
 *
 * Weights are panels of PANEL columns, [ceil(N/PANEL)][K][PANEL], read front to back. A tile is `rows` rows
 * of the result by `panels` panels; its accumulators are carried through the loops over K as SSA values, so
 * they live in registers:
 *
 *   for each row, each k: broadcast x, one fma per vector        (rows*vectors fma per rows+vectors loads)
 *
 * A convolution is the same with K walked as (kernel rows, then the contiguous run of kernel columns *
 * channels): in channels-last layout the inputs of one output pixel are runs of kw*C neighbours, so no im2col
 * buffer exists. Where x is a part of a larger value the channels of neighbouring pixels are apart, and the
 * kernel columns are a loop, as when they are dilated. gemm is the case with no outer axes. Groups are a loop
 * over matrices of their own, each beside the others' columns of x and of the result.
 *
 * Bytes are multiplied by fours: u8 of x, i8 of w, sums in i32. A step of k is then four neighbouring
 * elements of x, broadcast together, and the same four rows of w, which lie side by side in the panel:
 *
 *   for each row, each 4 k: broadcast x, one dot_u8s8 per vector
 *
 * and those of bf16 by twos, summed in f32 (dot_bf16). Weights in f16 become f32 as they are loaded, which
 * the fma of a tile hide.
 *
 * Weights may be without their zeros (codegen/sparse.c): the steps over the channels of a tap are then those
 * of a list, its positions in x come from memory, and a tile is one panel wide, as each has lists of its own.
 *
 * Padding is not read: a tap of an outer kernel axis that is outside of x is left out by the bounds of its
 * loop; tiles at the first and last columns of x are code of their own, in which each tap of the last kernel
 * axis multiplies the rows for which it is inside.
 *
 * An image of few channels that is channels-first (a transpose inside of the kernel) is read through a view:
 * its channels are a plane apart, and each is a step of its own.
 *
 * Tiles: up to 14x2, 9x3, 6x4 panels with 32 registers of 16 lanes, 6x1 with 16 of 8; see tiles.c for which.
 * Rows are balanced, so that 128 is 8 tiles of 9 and 7 of 8, rather than 14 of 9 and one of 2.
 *
 * Traffic: weights once for each strip of rows, or once in all (outside=1); x once for each group of panels,
 * or once; the result once. With the panels outside, the first strips of rows fetch the next group of panels
 * into L2, a line per step of k, so that weights come from memory while others are multiplied: the gemms of
 * BERT-base take 5 % less time for it, of f32 7 %, of bytes. Measured on Zen 4 against a peak of 118 GFLOP/s,
 * with what fits in the caches: 1x1 of 64 to 2048 channels, 3x3 and 7x7 with stride 2, and gemms 97 to 100 %;
 * weights that come from memory each time: 128x768x768 96 %, 128x3072x768 94 %, 49x512x2048 90 %. 3x3 of 32
 * groups of 8 channels 70 to 75 % (28x28, half vectors), of 16 96 to 98 %, of 32 90 %. With AVX2 97 % (6
 * rows).
 *
 * Without the 80 % (90 %) of steps that are zeros, against the time with them: 128x768x768 1/5 (1/8.8),
 * 128x3072x768 1/5 (1/7.6), 1x768x3072 1/4.2 (1/9), 1x1 of 256 to 1024 channels 1/5 (1/9.4).
 *
 * Of bytes, against 469 Gop/s of vpdpbusd: 3x3 of 64 to 512 channels 98 to 100 %, gemms of 128x768 with
 * weights from L2 99 %, from memory 94 %; 1x1 of 64 to 512 channels with a residual sum of bytes behind it 67
 * to 84 %, as finishing a vector of results takes 13 instructions, as long as 7 steps of k.
 *
 * Of bf16, against 233 GFLOP/s of vdpbf16ps: BERT-base and ResNet-50 as a whole take half the time of f32
 * (the 3x3 of f32 by Winograd), MobileNetV2 two thirds.
 */
#include "codegen/kernels/tiles.h"

#include <assert.h>

enum { PANEL = 16, MAX_TAPS = 4 };

/* ---- shape of the problem ------------------------------------------------------------------------------ */

typedef struct Problem {
  const Node *anchor;
  bool planar;  /* x is channels-first in memory */
  int row_axis; /* of the result: the axis that tiles run along; the last is the columns */
  const Dim *row_count;
  int64_t groups;
  int64_t columns, panel_count; /* of a group */
  int tap_axes;                 /* kernel axes before the last, walked by loops */
  int64_t taps[MAX_TAPS];       /* their sizes */
  int64_t tap_dilation[MAX_TAPS];
  int64_t outer_stride[MAX_TAPS];
  int64_t before[MAX_TAPS]; /* padding */
  bool clipped[MAX_TAPS];   /* some taps fall into padding */
  Axis last;                /* the kernel axis along the rows */
  int64_t all_taps;         /* of all kernel axes */
  int64_t column_taps;      /* loop over the last kernel axis when its taps are apart, else 1 */
  int64_t channels;         /* of a group */
  int64_t channel_step; /* elements of x between channels: 1, or a plane of an image that is channels-first */
  int64_t pitch;        /* elements of x between neighbouring columns: the channels, or more */
  int64_t run;          /* contiguous elements of K innermost */
  int depth;            /* elements of K in one step: rows of w that lie side by side */
  bool sparse;          /* w without its zeros: the steps over the channels are a list */
  int64_t row_step;     /* elements of x between rows */
} Problem;

/* How k counts so many taps: by steps, or lists of them. */
static int64_t taps_of_k(const Problem *p, int64_t taps) {
  return p->sparse ? taps : taps * p->channels / p->depth;
}

static bool constant_dims(const Type *type, int from) {
  for (int axis = from; axis < type->rank; axis++) {
    if (!dim_is_const(type->dims[axis])) return false;
  }
  return true;
}

static bool taps_are_apart(const Problem *p) {
  return p->sparse || p->last.dilation != 1 || p->pitch != p->channels;
}

/* Of a channels-last shape. */
static int64_t plane_size(const Type *x) {
  int64_t size = 1;
  for (int axis = 1; axis + 1 < x->rank; axis++) size *= x->dims[axis]->value;
  return size;
}

static void set_steps(Problem *p, int64_t pitch, int64_t channel_step) {
  p->pitch = pitch;
  p->channel_step = p->channels == 1 ? 1 : channel_step; /* of one channel there is no next */
  bool loop = p->last.kernel > 1 && taps_are_apart(p);
  p->column_taps = loop ? p->last.kernel : 1;
  p->run = loop ? p->channels : p->last.kernel * p->channels;
  p->row_step = p->last.stride * pitch;
}

static bool describe_gemm(const Node *anchor, Problem *p) {
  const Type *a = operand(anchor, 0)->type;
  if (node_bool(anchor, "trans_a") || !constant_dims(a, 1)) return false;
  p->row_axis = 0;
  p->groups = 1;
  p->last = (Axis){INT64_MAX, 1, 1, 1, 0};
  p->all_taps = 1;
  p->channels = a->dims[1]->value;
  set_steps(p, p->channels, 1);
  return true;
}

static bool describe_conv(const Node *anchor, Problem *p) {
  const Type *x = operand(anchor, 0)->type;
  int spatial = x->rank - 2;
  p->groups = node_int(anchor, "group");
  if (!node_string_is(anchor, "layout", "nhwc") || (p->planar && p->groups != 1)) return false;
  if (node_int(anchor, "outside") != 0) return false; /* pack has made it a pad of its own */
  if (spatial < 1 || spatial > MAX_TAPS || !constant_dims(x, x->rank - 1)) return false;
  int last = spatial - 1;
  const Dim *width = x->dims[spatial];
  bool padded =
      spatial_attr(anchor, "pads", last, 0) != 0 || spatial_attr(anchor, "pads", spatial + last, 0) != 0;
  if (padded && !dim_is_const(width)) return false;
  int64_t all_channels = x->dims[x->rank - 1]->value;
  p->channels = all_channels / p->groups;
  p->row_axis = spatial;
  p->tap_axes = spatial - 1;
  for (int i = 0; i < p->tap_axes; i++) {
    p->taps[i] = spatial_attr(anchor, "kernel", i, 1);
    p->tap_dilation[i] = spatial_attr(anchor, "dilations", i, 1);
    p->outer_stride[i] = spatial_attr(anchor, "strides", i, 1);
    p->before[i] = spatial_attr(anchor, "pads", i, 0);
    p->clipped[i] = p->before[i] != 0 || spatial_attr(anchor, "pads", spatial + i, 0) != 0;
  }
  p->last = (Axis){padded ? width->value : INT64_MAX, spatial_attr(anchor, "kernel", last, 1),
                   spatial_attr(anchor, "strides", last, 1), spatial_attr(anchor, "dilations", last, 1),
                   spatial_attr(anchor, "pads", last, 0)};
  p->all_taps = p->last.kernel;
  for (int i = 0; i < p->tap_axes; i++) p->all_taps *= p->taps[i];
  set_steps(p, p->planar ? 1 : all_channels, p->planar ? plane_size(x) : 1);
  /* What is multiplied at once are channels; or columns, if they are one run, from its first to its last. */
  return p->channels % p->depth == 0 || (!padded && p->run % p->depth == 0);
}

/* A transpose inside of the kernel that makes an image channels-last is a matter of strides. */
static bool is_planar(const Node *node, const Node *anchor) {
  const Node *transpose = operand(anchor, 0)->def;
  int count;
  if (!node_is(anchor, &op_conv) || !transpose || !node_is(transpose, &op_transpose)) return false;
  const int64_t *perm = node_ints(transpose, "perm", &count);
  for (int axis = 1; axis < count; axis++)
    if (perm[axis] != (axis + 1 < count ? axis + 1 : 1)) return false;
  return count > 2 && perm[0] == 0 && value_is_direct(node, operand(transpose, 0)) &&
         constant_dims(operand(anchor, 0)->type, 1);
}

static bool describe(const Node *node, const Node *anchor, Problem *p) {
  *p = (Problem){.anchor = anchor};
  p->planar = !value_is_direct(node, operand(anchor, 0));
  if (p->planar && !is_planar(node, anchor)) return false;
  const Type *y = result(anchor, 0)->type;
  if (!has_fast_products(anchor) || node_int(anchor, "packed") != PANEL) return false;
  p->depth = panel_depth(operand(anchor, 1)->type->dtype);
  p->sparse = operand(anchor, SPARSE_ROWS) != NULL;
  if (p->depth > 1 && p->planar) return false;
  bool ok = node_is(anchor, &op_gemm) ? describe_gemm(anchor, p) : describe_conv(anchor, p);
  if (!ok || !dim_is_const(y->dims[y->rank - 1])) return false;
  p->row_count = y->dims[p->row_axis];
  p->columns = y->dims[y->rank - 1]->value / p->groups;
  p->panel_count = (p->columns + PANEL - 1) / PANEL;
  return p->columns > 0 && p->run > 0;
}

static bool panels_match(const Node *node, const Node *anchor, const Target *target) {
  Problem p;
  if (!anchor || !(node_is(anchor, &op_gemm) || node_is(anchor, &op_conv))) return false;
  if (target_lanes(target, DTYPE_F32) > PANEL) return false;
  if (!value_is_direct(node, operand(anchor, 1)) || !describe(node, anchor, &p)) return false;
  return !p.sparse || sparse_lists_fit(node, anchor, p.channels / p.depth);
}

/* ---- choice of the tile -------------------------------------------------------------------------------- */

/* Bytes of a constant shape, or 0. */
static int64_t constant_bytes(const Type *type) {
  int64_t bytes = dtype_bits(type->dtype) / 8;
  for (int axis = 0; axis < type->rank; axis++)
    bytes *= dim_is_const(type->dims[axis]) ? type->dims[axis]->value : 0;
  return bytes;
}

/* Rows of the result in all; 0: not known. */
static int64_t result_rows(const Problem *p) {
  return constant_bytes(result(p->anchor, 0)->type) / (int64_t)sizeof(float) / (p->columns * p->groups);
}

/* One side is walked inside, again and again: once in all if it stays in L2, else once for each step of the
 * other. Weights that are larger than L2 are best walked outside, unless x is, too, and the steps are few. */
static bool prefers_panels_outside(const Problem *p, TileSize tile, const Target *target) {
  int64_t w_bytes = constant_bytes(operand(p->anchor, 1)->type);
  int64_t x_bytes = constant_bytes(operand(p->anchor, 0)->type), strips = result_rows(p) / tile.rows + 1;
  int64_t groups = (p->panel_count + tile.panels - 1) / tile.panels, stays = target->l2_bytes / 2;
  double inside = (double)(w_bytes > stays ? w_bytes * strips : w_bytes) + (double)x_bytes;
  double outside = (double)(x_bytes > stays ? x_bytes * groups : x_bytes) + (double)w_bytes;
  return x_bytes ? outside < inside : w_bytes > stays;
}

/* Products of few rows wait for their weights. Four panels at once stream best: 28 GB/s from memory, and 25
 * if that is mapped in small pages; 8 panels make 26 and 23, one 29 and 20. */
static bool waits_for_weights(const Problem *p, const Target *target) {
  enum { FEW_ROWS = 4 };
  int64_t rows = result_rows(p);
  return rows > 0 && rows <= FEW_ROWS && constant_bytes(operand(p->anchor, 1)->type) > target->l2_bytes / 2;
}

/* Steps of K, on average. */
static int64_t steps_of_sum(const Problem *p) {
  const Type *w = operand(p->anchor, PRODUCT_W)->type;
  return p->sparse ? w->dims[0]->value / (p->panel_count * p->groups) : w->dims[1]->value;
}

/* Of rank 1 is the best tile with the loops in the other order. */
static const char *panels_choose(const Node *node, const Node *anchor, const Target *target, int rank) {
  Problem p;
  describe(node, anchor, &p);
  TileProblem problem = {.row_count = p.row_count,
                         .row_bytes = p.row_step * dtype_bits(operand(anchor, 0)->type->dtype) / 8,
                         .k = steps_of_sum(&p),
                         .columns = p.sparse ? PANEL : p.columns, /* panels go different ways through x */
                         .panel = PANEL,
                         .narrow = tile_narrow_lanes(target),
                         .split = p.depth == 4 && !target->dots};
  TileSize tile;
  if (!tile_choose(target, &problem, rank > 0 ? rank - 1 : 0, &tile)) return NULL;
  if (rank < 2 && tile.panels > 4 && waits_for_weights(&p, target)) tile.panels = 4;
  bool outside = prefers_panels_outside(&p, tile, target) != (rank == 1);
  Arena *arena = node->graph->module->arena;
  const char *kept = "";
  if (p.sparse)
    kept = arena_printf(
        arena, " kept=%d%%",
        sparse_kept_percent(anchor, p.panel_count * p.groups * p.all_taps, p.channels / p.depth));
  return arena_printf(arena, "panels rows=%d panels=%d%s%s", tile.rows, tile.panels,
                      outside ? " outside=1" : "", kept);
}

/* ---- code ---------------------------------------------------------------------------------------------- */

typedef struct Emit {
  Lower *lower;
  Problem p;
  int rows, panels;     /* tile limits from the schedule */
  int lanes, per_panel; /* vectors per panel */
  int narrow;           /* lanes of a last vector that has no more columns */
  Buffer *x, *w, *steps, *starts;
  bool fetches;                   /* the next panels ahead */
  int64_t longest;                /* list */
  int64_t inside_from, inside_to; /* rows whose taps along the row axis are all inside x */
  Reg *outer[MAX_TAPS + 1];       /* result indices before the row axis */
  Reg *group;                     /* a literal when there is but one */
} Emit;

/* A tile under construction: `height` rows from `row`, `panels` panels from `panel`. */
typedef struct Tile {
  int height, vectors;
  Reg *row, *panel;
  Reg *ahead;           /* the panel to fetch meanwhile; NULL: none */
  bool tail;            /* the last vectors reach beyond the last column */
  int64_t tail_columns; /* columns of the whole tile that exist */
} Tile;

static Loops *loops_of(Emit *e) {
  return &e->lower->loops;
}

static Reg *add(Emit *e, Reg *x, Reg *y) {
  return loop_binary(loops_of(e), LOOP_ADD, x, y);
}
static Reg *mul(Emit *e, Reg *x, Reg *y) {
  return loop_binary(loops_of(e), LOOP_MUL, x, y);
}
static Reg *scaled(Emit *e, Reg *x, int64_t factor, int64_t offset) {
  if (factor != 1) x = mul(e, x, loop_int(loops_of(e), factor));
  return offset ? add(e, x, loop_int(loops_of(e), offset)) : x;
}

/* Columns from vector v on. */
static int64_t columns_left(const Emit *e, const Tile *tile, int v) {
  return tile->tail ? tile->tail_columns - (int64_t)v * e->lanes : e->lanes;
}

static int lanes_of(const Emit *e, const Tile *tile, int v) {
  return columns_left(e, tile, v) <= e->narrow ? e->narrow : e->lanes;
}

/* What is lowered next are values of vector v: its lanes, those that are no columns masked off. */
static void enter_vector(Emit *e, const Tile *tile, int v) {
  int64_t left = columns_left(e, tile, v);
  int lanes = lanes_of(e, tile, v);
  e->lower->lanes = lanes;
  e->lower->mask = left < lanes ? loop_lanes_below(loops_of(e), loop_int(loops_of(e), left), lanes) : NULL;
}

static void leave_vector(Emit *e) {
  e->lower->lanes = e->lanes;
  e->lower->mask = NULL;
}

/* First column of vector v. */
static Reg *column_of(Emit *e, const Tile *tile, int v) {
  return add(e, scaled(e, e->group, e->p.columns, 0), scaled(e, tile->panel, PANEL, (int64_t)v * e->lanes));
}

/* The initial accumulators: the bias, or zero. They are the same for all rows unless a gemm's c has rows of
 * its own. */
static void initial_values(Emit *e, const Tile *tile, Reg **values) {
  const Node *anchor = e->p.anchor;
  const Value *bias = operand(anchor, 2);
  for (int v = 0; v < tile->vectors; v++) {
    LoopType type = {result(anchor, 0)->type->dtype, lanes_of(e, tile, v)};
    Reg *start = NULL;
    if (bias) enter_vector(e, tile, v);
    for (int r = 0; r < tile->height; r++) {
      bool per_row = bias && node_is(anchor, &op_gemm);
      if (!start || (per_row && bias->type->rank == 2 && !dim_is(bias->type->dims[0], 1))) {
        Index columns = index_run(column_of(e, tile, v), 1);
        if (!bias)
          start = loop_const(loops_of(e), type, 0);
        else if (per_row) {
          Index at[2] = {index_of(scaled(e, tile->row, 1, r)), columns};
          start = lower_broadcast(e->lower, anchor, 2, at);
        } else
          start = lower_operand(e->lower, anchor, 2, &columns);
        start = loop_splat(loops_of(e), start, type.lanes);
      }
      values[r * tile->vectors + v] = start;
    }
    leave_vector(e);
  }
}

/* The elements of x of one step, for each of `lanes` columns. */
static Reg *spread(Emit *e, Reg *x, int lanes) {
  int count = e->p.depth * lanes;
  if (e->p.depth == 1) return loop_splat(loops_of(e), x, lanes);
  int64_t repeated[MAX_LANES];
  for (int i = 0; i < count; i++) repeated[i] = i % e->p.depth;
  return loop_shuffle(loops_of(e), x, x, repeated, count);
}

static Reg *accumulate(Emit *e, Reg *x, Reg *w, Reg *acc) {
  if (e->p.depth == 1) return loop_mul_add(loops_of(e), x, w, acc);
  return loop_dot(loops_of(e), x->type.dtype == DTYPE_BF16 ? LOOP_DOT_BF16 : LOOP_DOT_U8S8, acc, x, w);
}

static Reg *first_panel(Emit *e, const Tile *tile) {
  return add(e, scaled(e, e->group, e->p.panel_count, 0), tile->panel);
}

/* One step of k: acc[r][v] += x[r] * w[v]. `k` counts rows of the panel, `x_last` is the last index of x for
 * row 0. */
static void step_of_k(Emit *e, const Tile *tile, Reg *const *x_outer, int outer, Reg *k, Reg *x_last,
                      Reg *const *acc, Reg **next) {
  Reg *w[MAX_TILE_VECTORS], *panel = first_panel(e, tile);
  int depth = e->p.depth;
  if (tile->ahead) loop_prefetch(loops_of(e), e->w, (Reg *[]){tile->ahead, k, loop_int(loops_of(e), 0)});
  for (int v = 0; v < tile->vectors; v++) {
    Reg *at[3] = {scaled(e, panel, 1, v / e->per_panel), k,
                  loop_int(loops_of(e), (int64_t)(v % e->per_panel) * e->lanes * depth)};
    w[v] = loop_load(loops_of(e), e->w, at + e->p.sparse, lanes_of(e, tile, v) * depth, NULL);
    if (depth == 1) w[v] = loop_cast(loops_of(e), w[v], DTYPE_F32); /* of f16 */
  }
  for (int r = 0; r < tile->height; r++) {
    Reg *at[MAX_TAPS + 2];
    for (int i = 0; i < outer; i++) at[i] = x_outer[i];
    at[outer] = scaled(e, x_last, 1, r * e->p.row_step);
    Reg *one = loop_load(loops_of(e), e->x, at, depth, NULL), *x = one;
    for (int v = 0; v < tile->vectors; v++) {
      int i = r * tile->vectors + v, lanes = w[v]->type.lanes;
      if (x->type.lanes != lanes) x = spread(e, one, lanes / depth);
      next[i] = accumulate(e, x, w[v], acc[i]);
    }
  }
}

static Reg *table_entry(Emit *e, Buffer *table, Reg *at) {
  return loop_cast(loops_of(e), loop_load(loops_of(e), table, &at, 1, NULL), DTYPE_I64);
}

/* Where in x the steps of a list start. */
typedef struct Origin {
  Reg *const *outer;
  int outer_count;
  Reg *last;
} Origin;

/* `length` steps of a list from `from` on, `at_once` at a time, each with sums of its own. */
static void walk_list(Emit *e, const Tile *tile, const Origin *x, Reg *from, Reg *length, int at_once,
                      Reg **sums) {
  Loops *loops = loops_of(e);
  int count = tile->height * tile->vectors;
  Reg *next[MAX_TILE_ROWS * MAX_TILE_VECTORS];
  For loop = loop_for(loops, loop_int(loops, 0), length, at_once, count * at_once, sums);
  for (int i = 0; i < at_once; i++) {
    Reg *at = add(e, from, scaled(e, loop.counter, 1, i)), *step = table_entry(e, e->steps, at);
    Reg *x_last = add(e, x->last, scaled(e, step, e->p.depth * e->p.channel_step, 0));
    step_of_k(e, tile, x->outer, x->outer_count, at, x_last, loop.carried + i * count, next + i * count);
  }
  loop_end(loops, &loop, next);
  for (int i = 0; i < count * at_once; i++) sums[i] = loop.results[i];
}

/* The steps of list `tap` of the tile's panel. A tile of few sums would wait for each of them: some steps at
 * once have their own. */
static void list_of_k(Emit *e, const Tile *tile, const Origin *x, Reg *tap, Reg **acc) {
  enum { LATENCY = 4 };
  Loops *loops = loops_of(e);
  int count = tile->height * tile->vectors, at_once = count < LATENCY ? LATENCY / count : 1;
  Reg *list = add(e, scaled(e, first_panel(e, tile), e->p.all_taps, 0), tap);
  Reg *from = table_entry(e, e->starts, list), *to = table_entry(e, e->starts, scaled(e, list, 1, 1));
  Reg *length = loop_binary(loops, LOOP_SUB, to, from);
  length = loop_binary(loops, LOOP_MIN, length, loop_int(loops, e->longest)); /* threads ask for its time */
  if (at_once > 1) {
    Reg *sums[LATENCY], *unit = loop_int(loops, at_once);
    Reg *whole = mul(e, loop_binary(loops, LOOP_FLOORDIV, length, unit), unit);
    for (int i = 0; i < count * at_once; i++)
      sums[i] = i < count ? acc[i] : loop_const(loops, acc[i % count]->type, 0);
    walk_list(e, tile, x, from, whole, at_once, sums);
    for (int i = 0; i < count * at_once; i++)
      acc[i % count] = i < count ? sums[i] : add(e, acc[i % count], sums[i]);
    from = add(e, from, whole);
    length = loop_binary(loops, LOOP_SUB, length, whole);
  }
  walk_list(e, tile, x, from, length, 1, acc);
}

/* `size` neighbouring elements of K: channels, and columns if they follow each other. The few channels of an
 * image in planes are written out. */
static void run_of_k(Emit *e, const Tile *tile, Reg *const *x_outer, int outer, Reg *k, Reg *x_last,
                     int64_t size, Reg **acc) {
  Loops *loops = loops_of(e);
  int count = tile->height * tile->vectors;
  if (e->p.sparse) {
    list_of_k(e, tile, &(Origin){x_outer, outer, x_last}, k, acc);
    return;
  }
  if (e->p.channel_step != 1) {
    for (int64_t c = 0; c < size; c++)
      step_of_k(e, tile, x_outer, outer, scaled(e, k, 1, c), scaled(e, x_last, 1, c * e->p.channel_step), acc,
                acc);
    return;
  }
  int depth = e->p.depth;
  For loop = loop_for(loops, loop_int(loops, 0), loop_int(loops, size / depth), 1, count, acc);
  Reg *next[MAX_TILE_ROWS * MAX_TILE_VECTORS];
  step_of_k(e, tile, x_outer, outer, add(e, k, loop.counter),
            add(e, x_last, scaled(e, loop.counter, depth, 0)), loop.carried, next);
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
static void border_taps(Emit *e, const Tile *tile, int64_t row, Reg *const *x_outer, int outer, Reg *k,
                        Reg *x_last, Reg **acc) {
  const Axis *axis = &e->p.last;
  for (int64_t t = 0, taps = 1; t < axis->kernel; t += taps, taps = 1) {
    int from, to, next_from, next_to;
    rows_inside_x(axis, row, tile->height, t, &from, &to);
    for (; t + taps < axis->kernel && !taps_are_apart(&e->p); taps++) {
      rows_inside_x(axis, row, tile->height, t + taps, &next_from, &next_to);
      if (next_from != from || next_to != to) break;
    }
    if (from == to) continue;
    Tile part = *tile;
    part.height = to - from;
    int64_t x_offset = t * axis->dilation * e->p.pitch + from * e->p.row_step;
    run_of_k(e, &part, x_outer, outer, scaled(e, k, 1, taps_of_k(&e->p, t)), scaled(e, x_last, 1, x_offset),
             taps * e->p.channels, acc + (size_t)from * (size_t)tile->vectors);
  }
}

/* Whether a tile whose first row is the literal `row` has taps outside of x. */
static bool is_at_border(const Emit *e, const Tile *tile, int64_t *row) {
  return reg_const_int(tile->row, row) && (*row < e->inside_from || *row + tile->height > e->inside_to);
}

/* The last kernel axis and the channels. */
static void column_taps(Emit *e, const Tile *tile, Reg *const *x_outer, int outer, Reg *k, Reg *x_last,
                        Reg **acc) {
  Loops *loops = loops_of(e);
  const Problem *p = &e->p;
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
  Reg *x_here = add(e, x_last, scaled(e, loop.counter, p->last.dilation * p->pitch, 0));
  Reg *k_here = add(e, k, scaled(e, loop.counter, taps_of_k(p, 1), 0));
  run_of_k(e, tile, x_outer, outer, k_here, x_here, p->run, next);
  loop_end(loops, &loop, next);
  for (int i = 0; i < count; i++) acc[i] = loop.results[i];
}

/* The taps of a kernel axis that are inside x, when tap 0 is at `first`: from ceil(-first / dilation) to
 * below ceil((size - first) / dilation), and no further than the kernel. */
static void taps_inside_x(Emit *e, int axis, Reg *first, Reg **from, Reg **to) {
  Loops *loops = loops_of(e);
  const Problem *p = &e->p;
  *from = loop_int(loops, 0);
  *to = loop_int(loops, p->taps[axis]);
  if (!p->clipped[axis]) return;
  Reg *dilation = loop_int(loops, p->tap_dilation[axis]), *below = loop_int(loops, p->tap_dilation[axis] - 1);
  Reg *size = lower_dim(e->lower, operand(p->anchor, 0), 1 + axis);
  Reg *before = loop_binary(loops, LOOP_SUB, below, first);
  Reg *end = add(e, loop_binary(loops, LOOP_SUB, size, first), below);
  before = loop_binary(loops, LOOP_FLOORDIV, before, dilation);
  end = loop_binary(loops, LOOP_FLOORDIV, end, dilation);
  *from = loop_binary(loops, LOOP_MAX, *from, before);
  *to = loop_binary(loops, LOOP_MIN, *to, end);
}

/* The loops over K, outermost tap axis first; the accumulators travel through all of them. */
static void loops_over_k(Emit *e, const Tile *tile, int axis, Reg **x_outer, int outer, Reg *k, Reg *x_last,
                         Reg **acc) {
  Loops *loops = loops_of(e);
  const Problem *p = &e->p;
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
  inner[axis + 1] = add(e, x_outer[axis + 1], scaled(e, loop.counter, p->tap_dilation[axis], 0));
  for (int i = 0; i < count; i++) next[i] = loop.carried[i];
  loops_over_k(e, tile, axis + 1, inner, outer, add(e, k, scaled(e, loop.counter, below, 0)), x_last, next);
  loop_end(loops, &loop, next);
  for (int i = 0; i < count; i++) acc[i] = loop.results[i];
}

/* The strips of rows fetch the panels behind the tile's, one each; the others again what is there already. */
static Reg *panel_ahead(Emit *e, const Tile *tile) {
  Loops *loops = loops_of(e);
  if (!e->fetches) return NULL;
  Reg *strip = loop_binary(loops, LOOP_FLOORDIV, tile->row, loop_int(loops, e->rows));
  strip = loop_binary(loops, LOOP_MIN, strip, loop_int(loops, e->panels - 1));
  Reg *panel = add(e, scaled(e, e->group, e->p.panel_count, e->panels), tile->panel);
  return add(e, panel, strip);
}

static void emit_tile(Emit *e, Tile *tile) {
  const Problem *p = &e->p;
  tile->ahead = panel_ahead(e, tile);
  Reg *acc[MAX_TILE_ROWS * MAX_TILE_VECTORS], *x_outer[MAX_TAPS + 1];
  assert(tile->vectors <= MAX_TILE_VECTORS && tile->height <= MAX_TILE_ROWS);
  initial_values(e, tile, acc);
  int outer = node_is(p->anchor, &op_gemm) ? 0 : p->tap_axes + 1;
  for (int i = 0; i < outer; i++)
    x_outer[i] = i == 0 ? e->outer[0] : scaled(e, e->outer[i], p->outer_stride[i - 1], -p->before[i - 1]);
  Reg *x_last = scaled(e, tile->row, p->row_step, -p->last.before * p->pitch);
  x_last = add(e, x_last, scaled(e, e->group, p->channels, 0));
  loops_over_k(e, tile, 0, x_outer, outer, loop_int(loops_of(e), 0), x_last, acc);

  for (int v = 0; v < tile->vectors; v++) {
    enter_vector(e, tile, v);
    for (int r = 0; r < tile->height; r++) {
      Index at[MAX_TAPS + 3];
      for (int i = 0; i < p->row_axis; i++) at[i] = index_of(e->outer[i]);
      at[p->row_axis] = index_of(scaled(e, tile->row, 1, r));
      at[p->row_axis + 1] = index_run(column_of(e, tile, v), 1);
      lower_result(e->lower, 0, at, acc[r * tile->vectors + v]);
    }
  }
  leave_vector(e);
}

/* All panels of one strip of rows, or all strips of one group of panels: the two orders share these. */
typedef void (*Inner)(Emit *e, Tile tile);

static void for_each_panel_group(Emit *e, Tile tile, Inner inner) {
  Loops *loops = loops_of(e);
  const Problem *p = &e->p;
  bool ragged = p->columns % PANEL != 0;
  int64_t full = (p->columns / PANEL) / e->panels; /* groups without a tail */
  Sections sections = loop_sections(loops);
  if (full > 0) {
    loop_section(loops, &sections);
    For loop = loop_parallel(loops, loop_int(loops, 0), loop_int(loops, full * e->panels), e->panels);
    tile.panel = loop.counter;
    tile.vectors = e->panels * e->per_panel;
    tile.tail = false;
    inner(e, tile);
    loop_end(loops, &loop, NULL);
  }
  if (p->panel_count > full * e->panels) {
    loop_section(loops, &sections);
    tile.panel = loop_int(loops, full * e->panels);
    tile.tail = ragged;
    tile.tail_columns = p->columns - full * e->panels * PANEL;
    tile.vectors = (int)((tile.tail_columns + e->lanes - 1) / e->lanes);
    inner(e, tile);
  }
  loop_end_sections(loops, &sections);
}

/* A strip of rows under construction. */
typedef struct Strip {
  Emit *emit;
  Tile tile;
  Inner inner;
} Strip;

static void one_strip(void *context, Reg *row, int height) {
  Strip *strip = context;
  strip->tile.row = row;
  strip->tile.height = height;
  strip->inner(strip->emit, strip->tile);
}

static void for_each_row_strip(Emit *e, Tile tile, Inner inner) {
  Strip strip = {e, tile, inner};
  tile_strips(loops_of(e), e->p.row_count, e->rows, e->inside_from, e->inside_to, one_strip, &strip);
}

static void one_tile(Emit *e, Tile tile) {
  emit_tile(e, &tile);
}

static void for_each_group(Emit *e, Tile tile, Inner inner) {
  Loops *loops = loops_of(e);
  bool several = e->p.groups > 1;
  Reg *zero = loop_int(loops, 0);
  For loop = {.counter = zero};
  if (several) loop = loop_parallel(loops, zero, loop_int(loops, e->p.groups), 1);
  e->group = loop.counter;
  for_each_panel_group(e, tile, inner);
  if (several) loop_end(loops, &loop, NULL);
}

static void panels_inside(Emit *e, Tile tile) {
  for_each_group(e, tile, one_tile);
}

/* The result's axes before the rows, then `inner` with e->outer set. */
static void outer_axes(Emit *e, int axis, Tile tile, Inner inner) {
  if (axis == e->p.row_axis) {
    for_each_row_strip(e, tile, inner);
    return;
  }
  Loops *loops = loops_of(e);
  Reg *size = lower_dim(e->lower, result(e->p.anchor, 0), axis);
  For loop = loop_parallel(loops, loop_int(loops, 0), size, 1);
  e->outer[axis] = loop.counter;
  outer_axes(e, axis + 1, tile, inner);
  loop_end(loops, &loop, NULL);
}

static void rows_inside(Emit *e, Tile tile) {
  outer_axes(e, 0, tile, one_tile);
}

/* x, channels-last. */
static Buffer *image(Emit *e) {
  Kernel *kernel = e->lower->loops.kernel;
  Value *x = operand(e->p.anchor, 0);
  if (!e->p.planar) return lower_buffer(e->lower, x);
  Buffer *planes = lower_buffer(e->lower, operand(x->def, 0));
  const Dim *strides[MAX_RANK];
  for (int i = 0; i < planes->rank; i++) {
    int from = i == 0 ? 0 : i + 1 < planes->rank ? i + 1 : 1;
    strides[i] = buffer_stride(kernel, planes, from);
  }
  return kernel_add_view(kernel, "image", planes, NULL, planes->rank, x->type->dims, strides);
}

/* x with its last two axes as one, so that a row's run over (kernel columns, channels) is contiguous: to the
 * last element of the last column. */
static Buffer *flattened(Emit *e, Buffer *x) {
  Module *module = e->lower->module;
  Kernel *kernel = e->lower->loops.kernel;
  const Dim *dims[MAX_RANK], *strides[MAX_RANK], *one = dim_const(module, 1);
  int last = x->rank - 2;
  for (int i = 0; i <= last; i++) {
    dims[i] = x->dims[i];
    strides[i] = buffer_stride(kernel, x, i);
  }
  const Dim *columns = dim_mul(module, dim_sub(module, x->dims[last], one), strides[last]);
  const Dim *channels =
      dim_mul(module, dim_sub(module, x->dims[last + 1], one), buffer_stride(kernel, x, last + 1));
  dims[last] = dim_add(module, dim_add(module, columns, channels), one);
  strides[last] = one;
  return kernel_add_view(kernel, "flat", x, NULL, last + 1, dims, strides);
}

/* Where x is in memory may say more than its shape. */
static void bind_x(Emit *e) {
  Kernel *kernel = e->lower->loops.kernel;
  Buffer *x = image(e);
  set_steps(&e->p, buffer_stride(kernel, x, x->rank - 2)->value,
            buffer_stride(kernel, x, x->rank - 1)->value);
  assert(e->p.run % e->p.depth == 0);
  e->x = flattened(e, x);
}

static void panels_body(Lower *lower, void *context) {
  const VariantContext *variant = context;
  Emit e = {.lower = lower};
  bool ok = describe(lower->node, lower->anchor, &e.p);
  assert(ok && "panels_match was true");
  (void)ok;
  e.rows = schedule_param(variant->schedule, "rows", 1);
  e.panels = schedule_param(variant->schedule, "panels", 1);
  e.lanes = target_lanes(variant->target, DTYPE_F32);
  e.per_panel = PANEL / e.lanes;
  e.narrow = tile_narrow_lanes(variant->target);
  if (e.rows < 1 || e.rows > MAX_TILE_ROWS) e.rows = 1;
  if (e.panels < 1 || e.panels * e.per_panel > MAX_TILE_VECTORS) e.panels = 1;
  lower->lanes = e.lanes;
  axis_inside(&e.p.last, &e.inside_from, &e.inside_to);
  bind_x(&e);
  e.w = lower_buffer(lower, operand(lower->anchor, PRODUCT_W));
  if (e.p.sparse) {
    e.panels = 1;
    e.longest = sparse_longest(lower->node, lower->anchor);
    e.steps = lower_buffer(lower, operand(lower->anchor, SPARSE_ROWS));
    e.starts = lower_buffer(lower, operand(lower->anchor, SPARSE_STARTS));
  }
  bool panels_outside = schedule_param(variant->schedule, "outside", 0) != 0;
  e.fetches = panels_outside && !e.p.sparse && result_rows(&e.p) > (int64_t)e.rows * e.panels;
  if (panels_outside)
    for_each_group(&e, (Tile){0}, rows_inside);
  else
    outer_axes(&e, 0, (Tile){0}, panels_inside);
}

const Variant variant_panels = {
    .name = "panels",
    .doc = "register tiles over packed weight panels: rows, panels per tile; outside=1 walks the panels in "
           "the outer loop and fetches the next ones ahead",
    .match = panels_match,
    .choose = panels_choose,
    .body = panels_body,
};
