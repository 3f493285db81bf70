/*
 * depthwise.c -- convolution with one filter per channel, channels last, lanes over channels.
 *
 * A tile is TILE neighbouring output columns of one vector of channels. For each kernel row the weights of
 * its taps are loaded once, and each input vector once for all the outputs that it touches: with a 3x3 kernel
 * and stride 1, 10 loads of x and 3 of w feed 24 fma. Weights are [k...][1][M] as they come: contiguous over
 * channels.
 *
 * Padding costs nothing inside: kernel rows outside the input are left out by the bounds of their loop, and
 * the few columns at either edge whose windows reach outside get tiles of their own, where the missing taps
 * are known when the code is made.
 *
 * Traffic: x and the result once each, as long as the kernel's rows of x stay in L1 or L2. Measured on Zen 4
 * against a peak of 118 GFLOP/s: 3x3 at 14x14 and 28x28 70 to 85 % inside of MobileNetV2, 5x5 and 7x7 (at
 * 14x14) 75 to 95 %; with stride 2 50 %, which is 55 GB/s of x. Columns outside of the loop over channels, so
 * that memory is read in order, is up to 25 % slower.
 */
#include "codegen/schedule.h"

enum { TILE = 8, MAX_COLUMN_TAPS = 31, MAX_EDGES = 64 };

/* Output columns [begin, end) have windows that are inside the input. */
typedef struct Inside {
  int64_t begin, end;
} Inside;

static Inside inside_columns(const Node *conv) {
  int64_t columns = result(conv, 0)->type->dims[2]->value, width = operand(conv, 0)->type->dims[2]->value;
  int64_t stride = spatial_attr(conv, "strides", 1, 1), before = spatial_attr(conv, "pads", 1, 0);
  int64_t reach = (operand(conv, 1)->type->dims[1]->value - 1) * spatial_attr(conv, "dilations", 1, 1);
  Inside inside = {(before + stride - 1) / stride, 0};
  if (width + before > reach) inside.end = (width - 1 - reach + before) / stride + 1;
  if (inside.end > columns) inside.end = columns;
  return inside.begin < inside.end ? inside : (Inside){columns, columns};
}

static bool depthwise_match(const Node *node, const Node *anchor, const Target *target) {
  (void)target;
  if (!node_is(anchor, &op_conv) || !node_string_is(anchor, "layout", "nhwc")) return false;
  const Value *x = operand(anchor, 0), *w = operand(anchor, 1);
  if (x->type->rank != 4 || x->type->dtype != DTYPE_F32 || !value_is_direct(node, x) ||
      !value_is_direct(node, w))
    return false;
  const Type *wt = w->type, *y = result(anchor, 0)->type;
  if (node_int(anchor, "packed") || wt->rank != 4 || !type_is_static(wt) || !dim_is(wt->dims[2], 1))
    return false;
  if (wt->dims[1]->value > MAX_COLUMN_TAPS || !dim_is_const(y->dims[2]) || !dim_is_const(x->type->dims[2]))
    return false;
  Inside inside = inside_columns(anchor);
  if (y->dims[2]->value - (inside.end - inside.begin) > MAX_EDGES) return false;
  return node_int(anchor, "group") == wt->dims[3]->value && x->type->dims[3] == wt->dims[3];
}

typedef struct Emit {
  Lower *lower;
  const Node *anchor;
  Buffer *x, *w;
  int lanes;
  int64_t kh, kw, stride[2], dilation[2], before[2];
  Reg *n, *oh, *c;     /* where the tile is; c: first channel of the vector */
  Reg *low, *high;     /* kernel rows low <= row < high are inside the input */
  const int64_t *edge; /* first column of a tile at an edge, NULL: all taps are inside */
} Emit;

static Reg *scaled(Emit *e, Reg *x, int64_t factor, int64_t offset) {
  Loops *loops = &e->lower->loops;
  if (factor != 1) x = loop_binary(loops, LOOP_MUL, x, loop_int(loops, factor));
  return offset ? loop_binary(loops, LOOP_ADD, x, loop_int(loops, offset)) : x;
}

/* The taps of kernel row `row` on a tile of `width` outputs from column `ow`. */
static void kernel_row(Emit *e, Reg *row, Reg *ow, int width, Reg **acc) {
  Loops *loops = &e->lower->loops;
  Reg *w[MAX_COLUMN_TAPS], *iw = scaled(e, ow, e->stride[1], -e->before[1]);
  Reg *ih = loop_binary(loops, LOOP_ADD, scaled(e, e->oh, e->stride[0], -e->before[0]),
                        scaled(e, row, e->dilation[0], 0));
  for (int64_t t = 0; t < e->kw; t++) {
    Reg *at[4] = {row, loop_int(loops, t), loop_int(loops, 0), e->c};
    w[t] = loop_load(loops, e->w, at, e->lanes, e->lower->mask);
  }
  int64_t reach = (width - 1) * e->stride[1] + (e->kw - 1) * e->dilation[1] + 1;
  for (int64_t i = 0; i < reach; i++) {
    int64_t column = e->edge ? *e->edge * e->stride[1] - e->before[1] + i : 0;
    if (column < 0 || column >= e->x->dims[2]->value) continue;
    Reg *x = NULL;
    for (int64_t t = 0; t < e->kw; t++) {
      int64_t from = i - t * e->dilation[1];
      if (from < 0 || from % e->stride[1] != 0 || from / e->stride[1] >= width) continue;
      if (!x) {
        Reg *at[4] = {e->n, ih, scaled(e, iw, 1, i), e->c};
        x = loop_load(loops, e->x, at, e->lanes, e->lower->mask);
      }
      Reg **sum = &acc[from / e->stride[1]];
      *sum = loop_mul_add(loops, x, w[t], *sum);
    }
  }
}

static void tile(Emit *e, Reg *ow, int width) {
  Loops *loops = &e->lower->loops;
  Index channels = index_run(e->c, 1);
  Reg *start = operand(e->anchor, 2) ? lower_operand(e->lower, e->anchor, 2, &channels)
                                     : loop_const(loops, (LoopType){DTYPE_F32, e->lanes}, 0);
  start = loop_splat(loops, start, e->lanes);
  Reg *acc[TILE];
  for (int i = 0; i < width; i++) acc[i] = start;
  For rows = loop_for(loops, e->low, e->high, 1, width, acc);
  for (int i = 0; i < width; i++) acc[i] = rows.carried[i];
  kernel_row(e, rows.counter, ow, width, acc);
  loop_end(loops, &rows, acc);
  for (int i = 0; i < width; i++) {
    Index at[4] = {index_of(e->n), index_of(e->oh), index_of(scaled(e, ow, 1, i)), channels};
    lower_result(e->lower, 0, at, rows.results[i]);
  }
}

static void edge_columns(Emit *e, const Sections *sections, int64_t from, int64_t to) {
  for (int64_t ow = from; ow < to; ow += TILE) {
    loop_section(&e->lower->loops, sections);
    e->edge = &ow;
    tile(e, loop_int(&e->lower->loops, ow), (int)(to - ow < TILE ? to - ow : TILE));
  }
  e->edge = NULL;
}

static void columns(Emit *e) {
  Loops *loops = &e->lower->loops;
  Inside inside = inside_columns(e->anchor);
  int64_t full = inside.begin + (inside.end - inside.begin) / TILE * TILE;
  Sections sections = loop_sections(loops);
  edge_columns(e, &sections, 0, inside.begin);
  if (full > inside.begin) {
    loop_section(loops, &sections);
    For loop = loop_parallel(loops, loop_int(loops, inside.begin), loop_int(loops, full), TILE);
    tile(e, loop.counter, TILE);
    loop_end(loops, &loop, NULL);
  }
  if (inside.end > full) {
    loop_section(loops, &sections);
    tile(e, loop_int(loops, full), (int)(inside.end - full));
  }
  edge_columns(e, &sections, inside.end, result(e->anchor, 0)->type->dims[2]->value);
  loop_end_sections(loops, &sections);
}

/* Kernel row r is at input row oh*stride - before + r*dilation. */
static void inside_rows(Emit *e) {
  Loops *loops = &e->lower->loops;
  Reg *start = scaled(e, e->oh, e->stride[0], -e->before[0]), *zero = loop_int(loops, 0),
      *step = loop_int(loops, e->dilation[0]);
  Reg *above = loop_binary(loops, LOOP_SUB, loop_int(loops, e->dilation[0] - 1), start);
  Reg *below = loop_binary(loops, LOOP_SUB,
                           loop_dim(loops, dim_add(e->lower->module, e->x->dims[1],
                                                   dim_const(e->lower->module, e->dilation[0] - 1))),
                           start);
  e->low = loop_binary(loops, LOOP_MAX, loop_binary(loops, LOOP_FLOORDIV, above, step), zero);
  e->high =
      loop_binary(loops, LOOP_MIN, loop_binary(loops, LOOP_FLOORDIV, below, step), loop_int(loops, e->kh));
}

static void channel_vectors(Emit *e) {
  Loops *loops = &e->lower->loops;
  int64_t channels = e->x->dims[3]->value, full = channels / e->lanes * e->lanes;
  Sections sections = loop_sections(loops);
  if (full) {
    loop_section(loops, &sections);
    For loop = loop_parallel(loops, loop_int(loops, 0), loop_int(loops, full), e->lanes);
    e->c = loop.counter;
    columns(e);
    loop_end(loops, &loop, NULL);
  }
  if (channels > full) {
    loop_section(loops, &sections);
    e->lower->mask = loop_lanes_below(loops, loop_int(loops, channels - full), e->lanes);
    e->c = loop_int(loops, full);
    columns(e);
    e->lower->mask = NULL;
  }
  loop_end_sections(loops, &sections);
}

static void depthwise_body(Lower *lower, void *context) {
  const VariantContext *variant = context;
  const Node *anchor = lower->anchor;
  Emit e = {.lower = lower, .anchor = anchor, .lanes = target_lanes(variant->target, DTYPE_F32)};
  e.x = lower_buffer(lower, operand(anchor, 0));
  e.w = lower_buffer(lower, operand(anchor, 1));
  e.kh = e.w->dims[0]->value;
  e.kw = e.w->dims[1]->value;
  for (int i = 0; i < 2; i++) {
    e.stride[i] = spatial_attr(anchor, "strides", i, 1);
    e.dilation[i] = spatial_attr(anchor, "dilations", i, 1);
    e.before[i] = spatial_attr(anchor, "pads", i, 0);
  }
  lower->lanes = e.lanes;
  Loops *loops = &lower->loops;
  For images = loop_parallel(loops, loop_int(loops, 0), lower_dim(lower, result(anchor, 0), 0), 1);
  For rows = loop_parallel(loops, loop_int(loops, 0), lower_dim(lower, result(anchor, 0), 1), 1);
  e.n = images.counter;
  e.oh = rows.counter;
  inside_rows(&e);
  channel_vectors(&e);
  loop_end(loops, &rows, NULL);
  loop_end(loops, &images, NULL);
}

const Variant variant_depthwise = {
    .name = "depthwise",
    .doc = "one filter per channel: lanes over channels, tiles of 8 output columns",
    .match = depthwise_match,
    .body = depthwise_body,
};
