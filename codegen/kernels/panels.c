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
 * or once; the result once. The first strips of rows fetch the next group of panels into L2 while they
 * multiply by this one, a line of one or of each panel per step of k: the gemms of BERT-base, whose weights
 * come from memory, take 5 % less time for it, of f32 7 %, of bytes; 128x384x384 in bytes among others, with
 * weights from L3, 6 %. Measured on Zen 4 against a peak of 118 GFLOP/s, with what fits in the caches: 1x1 of
 * 64 to 2048 channels, 3x3 and 7x7 with stride 2, and gemms 97 to 100 %; weights that come from memory each
 * time: 128x768x768 96 %, 128x3072x768 94 %, 49x512x2048 90 %. 3x3 of 32 groups of 8 channels 70 to 75 %
 * (28x28, half vectors), of 16 96 to 98 %, of 32 90 %. With AVX2 97 % (6 rows).
 *
 * Without the 80 % (90 %) of steps that are zeros, against the time with them: 128x768x768 1/5 (1/8.8),
 * 128x3072x768 1/5 (1/7.6), 1x768x3072 1/5 (1/10), 1x1 of 256 to 1024 channels 1/5 (1/9.4).
 *
 * Of bytes, against 469 Gop/s of vpdpbusd: 3x3 of 64 to 512 channels 98 to 100 %, gemms of 128x768 with
 * weights from L2 99 %, from memory 94 %; 1x1 of 64 to 512 channels with a residual sum of bytes behind it 67
 * to 84 %, as finishing a vector of results takes 13 instructions, as long as 7 steps of k.
 *
 * Of bf16, against 233 GFLOP/s of vdpbf16ps: BERT-base and ResNet-50 as a whole take half the time of f32
 * (the 3x3 of f32 by Winograd), MobileNetV2 two thirds.
 */
#include "codegen/kernels/panels.h"

#include <assert.h>

static bool panels_match(const Node *node, const Node *anchor, const Target *target) {
  PanelProblem p;
  if (!anchor || !(node_is(anchor, &op_gemm) || node_is(anchor, &op_conv))) return false;
  if (target_lanes(target, DTYPE_F32) > PANEL) return false;
  if (!value_is_direct(node, operand(anchor, 1)) || !panels_describe(node, anchor, &p)) return false;
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
static int64_t result_rows(const PanelProblem *p) {
  return constant_bytes(result(p->anchor, 0)->type) / (int64_t)sizeof(float) / (p->columns * p->groups);
}

/* One side is walked inside, again and again: once in all if it stays in L2, else once for each step of the
 * other. Weights that are larger than L2 are best walked outside, unless x is, too, and the steps are few. */
static bool prefers_panels_outside(const PanelProblem *p, TileSize tile, const Target *target) {
  int64_t w_bytes = constant_bytes(operand(p->anchor, 1)->type);
  int64_t x_bytes = constant_bytes(operand(p->anchor, 0)->type), strips = result_rows(p) / tile.rows + 1;
  int64_t groups = (p->panel_count + tile.panels - 1) / tile.panels, stays = target->l2_bytes / 2;
  double inside = (double)(w_bytes > stays ? w_bytes * strips : w_bytes) + (double)x_bytes;
  double outside = (double)(x_bytes > stays ? x_bytes * groups : x_bytes) + (double)w_bytes;
  return x_bytes ? outside < inside : w_bytes > stays;
}

/* Products of few rows wait for their weights. Four panels at once stream best: 28 GB/s from memory, and 25
 * if that is mapped in small pages; 8 panels make 26 and 23, one 29 and 20. */
static bool waits_for_weights(const PanelProblem *p, const Target *target) {
  enum { FEW_ROWS = 4 };
  int64_t rows = result_rows(p);
  return rows > 0 && rows <= FEW_ROWS && constant_bytes(operand(p->anchor, 1)->type) > target->l2_bytes / 2;
}

/* Steps of K, on average. */
static int64_t steps_of_sum(const PanelProblem *p) {
  const Type *w = operand(p->anchor, PRODUCT_W)->type;
  return p->sparse ? w->dims[0]->value / (p->panel_count * p->groups) : w->dims[1]->value;
}

/* Of rank 1 is the best tile with the loops in the other order. */
static const char *panels_choose(const Node *node, const Node *anchor, const Target *target, int rank) {
  PanelProblem p;
  panels_describe(node, anchor, &p);
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

/* ---- tiles --------------------------------------------------------------------------------------------- */

static Loops *loops_of(Panels *e) {
  return &e->lower->loops;
}

Reg *panels_add(Panels *e, Reg *x, Reg *y) {
  return loop_binary(loops_of(e), LOOP_ADD, x, y);
}

Reg *panels_scaled(Panels *e, Reg *x, int64_t factor, int64_t offset) {
  if (factor != 1) x = loop_binary(loops_of(e), LOOP_MUL, x, loop_int(loops_of(e), factor));
  return offset ? panels_add(e, x, loop_int(loops_of(e), offset)) : x;
}

/* Columns from vector v on. */
static int64_t columns_left(const Panels *e, const PanelTile *tile, int v) {
  return tile->tail ? tile->tail_columns - (int64_t)v * e->lanes : e->lanes;
}

int panels_lanes(const Panels *e, const PanelTile *tile, int v) {
  return columns_left(e, tile, v) <= e->narrow ? e->narrow : e->lanes;
}

/* What is lowered next are values of vector v: its lanes, those that are no columns masked off. */
static void enter_vector(Panels *e, const PanelTile *tile, int v) {
  int64_t left = columns_left(e, tile, v);
  int lanes = panels_lanes(e, tile, v);
  e->lower->lanes = lanes;
  e->lower->mask = left < lanes ? loop_lanes_below(loops_of(e), loop_int(loops_of(e), left), lanes) : NULL;
}

static void leave_vector(Panels *e) {
  e->lower->lanes = e->lanes;
  e->lower->mask = NULL;
}

/* First column of vector v. */
static Reg *column_of(Panels *e, const PanelTile *tile, int v) {
  return panels_add(e, panels_scaled(e, e->group, e->p.columns, 0),
                    panels_scaled(e, tile->panel, PANEL, (int64_t)v * e->lanes));
}

/* The initial accumulators: the bias, or zero. They are the same for all rows unless a gemm's c has rows of
 * its own. */
static void initial_values(Panels *e, const PanelTile *tile, Reg **values) {
  const Node *anchor = e->p.anchor;
  const Value *bias = operand(anchor, 2);
  for (int v = 0; v < tile->vectors; v++) {
    LoopType type = {result(anchor, 0)->type->dtype, panels_lanes(e, tile, v)};
    Reg *start = NULL;
    if (bias) enter_vector(e, tile, v);
    for (int r = 0; r < tile->height; r++) {
      bool per_row = bias && node_is(anchor, &op_gemm);
      if (!start || (per_row && bias->type->rank == 2 && !dim_is(bias->type->dims[0], 1))) {
        Index columns = index_run(column_of(e, tile, v), 1);
        if (!bias)
          start = loop_const(loops_of(e), type, 0);
        else if (per_row) {
          Index at[2] = {index_of(panels_scaled(e, tile->row, 1, r)), columns};
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

/* With the panels inside, each tile fetches all of the next group; else each strip of rows fetches one. Later
 * strips fetch again what is there already. */
static int panels_to_fetch(const Panels *e, bool panels_outside) {
  int64_t rows = result_rows(&e->p);
  if (e->p.sparse || e->p.panel_count * e->p.groups <= e->panels) return 0;
  if (panels_outside) return rows > (int64_t)e->rows * e->panels ? 1 : 0;
  return rows > e->rows ? e->panels : 0;
}

static Reg *panel_ahead(Panels *e, const PanelTile *tile) {
  Loops *loops = loops_of(e);
  Reg *next = panels_add(e, panels_scaled(e, e->group, e->p.panel_count, e->panels), tile->panel);
  if (e->fetched == e->panels) return next;
  Reg *strip = loop_binary(loops, LOOP_FLOORDIV, tile->row, loop_int(loops, e->rows));
  strip = loop_binary(loops, LOOP_MIN, strip, loop_int(loops, e->panels - 1));
  return panels_add(e, next, strip);
}

static void emit_tile(Panels *e, PanelTile *tile) {
  const PanelProblem *p = &e->p;
  if (e->fetched > 0) tile->ahead = panel_ahead(e, tile);
  Reg *acc[MAX_TILE_ROWS * MAX_TILE_VECTORS];
  assert(tile->vectors <= MAX_TILE_VECTORS && tile->height <= MAX_TILE_ROWS);
  initial_values(e, tile, acc);
  panels_sum(e, tile, acc);

  for (int v = 0; v < tile->vectors; v++) {
    enter_vector(e, tile, v);
    for (int r = 0; r < tile->height; r++) {
      Index at[MAX_TAPS + 3];
      for (int i = 0; i < p->row_axis; i++) at[i] = index_of(e->outer[i]);
      at[p->row_axis] = index_of(panels_scaled(e, tile->row, 1, r));
      at[p->row_axis + 1] = index_run(column_of(e, tile, v), 1);
      lower_result(e->lower, 0, at, acc[r * tile->vectors + v]);
    }
  }
  leave_vector(e);
}

/* All panels of one strip of rows, or all strips of one group of panels: the two orders share these. */
typedef void (*Inner)(Panels *e, PanelTile tile);

static void for_each_panel_group(Panels *e, PanelTile tile, Inner inner) {
  Loops *loops = loops_of(e);
  const PanelProblem *p = &e->p;
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
  Panels *emit;
  PanelTile tile;
  Inner inner;
} Strip;

static void one_strip(void *context, Reg *row, int height) {
  Strip *strip = context;
  strip->tile.row = row;
  strip->tile.height = height;
  strip->inner(strip->emit, strip->tile);
}

static void for_each_row_strip(Panels *e, PanelTile tile, Inner inner) {
  Strip strip = {e, tile, inner};
  tile_strips(loops_of(e), e->p.row_count, e->rows, e->inside_from, e->inside_to, one_strip, &strip);
}

static void one_tile(Panels *e, PanelTile tile) {
  emit_tile(e, &tile);
}

static void for_each_group(Panels *e, PanelTile tile, Inner inner) {
  Loops *loops = loops_of(e);
  bool several = e->p.groups > 1;
  Reg *zero = loop_int(loops, 0);
  For loop = {.counter = zero};
  if (several) loop = loop_parallel(loops, zero, loop_int(loops, e->p.groups), 1);
  e->group = loop.counter;
  for_each_panel_group(e, tile, inner);
  if (several) loop_end(loops, &loop, NULL);
}

static void panels_inside(Panels *e, PanelTile tile) {
  for_each_group(e, tile, one_tile);
}

/* The result's axes before the rows, then `inner` with e->outer set. */
static void outer_axes(Panels *e, int axis, PanelTile tile, Inner inner) {
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

static void rows_inside(Panels *e, PanelTile tile) {
  outer_axes(e, 0, tile, one_tile);
}

/* x, channels-last. */
static Buffer *image(Panels *e) {
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
static Buffer *flattened(Panels *e, Buffer *x) {
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
static void bind_x(Panels *e) {
  Kernel *kernel = e->lower->loops.kernel;
  Buffer *x = image(e);
  panels_set_steps(&e->p, buffer_stride(kernel, x, x->rank - 2)->value,
                   buffer_stride(kernel, x, x->rank - 1)->value);
  assert(e->p.run % e->p.depth == 0);
  e->x = flattened(e, x);
}

static void panels_body(Lower *lower, void *context) {
  const VariantContext *variant = context;
  Panels e = {.lower = lower};
  bool ok = panels_describe(lower->node, lower->anchor, &e.p);
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
  e.fetched = panels_to_fetch(&e, panels_outside);
  if (panels_outside)
    for_each_group(&e, (PanelTile){0}, rows_inside);
  else
    outer_axes(&e, 0, (PanelTile){0}, panels_inside);
}

const Variant variant_panels = {
    .name = "panels",
    .doc = "register tiles over packed weight panels: rows, panels per tile; outside=1 walks the panels in "
           "the outer loop",
    .match = panels_match,
    .choose = panels_choose,
    .body = panels_body,
};
