/*
 * depthwise.c -- convolution with few channels per group, channels last, lanes over the channels made.
 *
 * A tile is some neighbouring output columns of one vector of channels. For each kernel row and channel
 * of a group the weights of its taps are loaded once, and each input vector once for all the outputs that it
 * touches: with a 3x3 kernel and stride 1, 10 loads of x and 3 of w feed 24 fma. Weights are
 * [k..][c/group][M] as they come: contiguous over channels.
 *
 * One channel in, one out: the vector of x is that of the channels made. Else each lane picks its input from
 * the channels of its group by a shuffle, one for each channel of a group. From groups of 8 channels on it is
 * as fast to make each group a matrix product (panels.c).
 *
 * Padding costs nothing inside: kernel rows outside the input are left out by the bounds of their loop, and
 * the columns at either edge whose windows reach outside are in tiles of their own, where the missing taps
 * are known when the code is made.
 *
 * Traffic: x and the result once each, as long as the kernel's rows of x stay in L1 or L2. Measured on Zen 4
 * against a peak of 118 GFLOP/s: 3x3 at 14x14 and 28x28 70 to 85 % inside of MobileNetV2, 5x5 and 7x7 (at
 * 14x14) 75 to 95 %; with stride 2 50 %, which is 55 GB/s of x. 3x3 of 32 groups of 4 at 56x56 70 to 82 %.
 * Columns outside of the loop over channels, so that memory is read in order, is up to 25 % slower.
 */
#include "codegen/kernels/lanes.h"
#include "codegen/kernels/tiles.h"

#include <assert.h>

enum { MAX_TILE = 16, MAX_OUTER = 2, MAX_COLUMN_TAPS = 64, MAX_OUTPUTS = 4, MAX_INPUTS = 8 };

/* ---- shape of the problem ------------------------------------------------------------------------------ */

typedef struct Problem {
  const Node *anchor;
  int outer;               /* spatial axes before the columns */
  Axis axes[MAX_OUTER];    /* these */
  Axis columns;            /* the last spatial axis */
  int64_t inputs, outputs; /* channels of a group */
} Problem;

static bool is_power_of_2(int64_t x) {
  return x > 0 && (x & (x - 1)) == 0;
}

/* Channels of a group; false when they are many, or do not divide vectors. */
static bool small_groups(const Node *conv, int64_t *inputs, int64_t *outputs) {
  const Type *w = operand(conv, 1)->type;
  if (node_int(conv, "packed") || !type_is_static(w)) return false;
  *inputs = w->dims[w->rank - 2]->value;
  *outputs = w->dims[w->rank - 1]->value / node_int(conv, "group");
  if (!is_power_of_2(*inputs) || !is_power_of_2(*outputs) || node_int(conv, "group") == 1) return false;
  return *outputs <= MAX_OUTPUTS && *inputs <= MAX_INPUTS && *inputs <= 2 * *outputs;
}

static Axis axis_of(const Node *conv, int s) {
  int spatial = operand(conv, 0)->type->rank - 2;
  const Dim *size = operand(conv, 0)->type->dims[1 + s];
  int64_t before = spatial_attr(conv, "pads", s, 0), after = spatial_attr(conv, "pads", spatial + s, 0);
  return (Axis){(before || after) && dim_is_const(size) ? size->value : INT64_MAX,
                operand(conv, 1)->type->dims[s]->value, spatial_attr(conv, "strides", s, 1),
                spatial_attr(conv, "dilations", s, 1), before};
}

static bool describe(const Node *conv, Problem *p) {
  const Type *x = operand(conv, 0)->type;
  *p = (Problem){.anchor = conv, .outer = x->rank - 3};
  if (!node_string_is(conv, "layout", "nhwc") || p->outer > MAX_OUTER) return false;
  if (!small_groups(conv, &p->inputs, &p->outputs) || !dim_is_const(x->dims[x->rank - 1])) return false;
  for (int s = 0; s < p->outer; s++) p->axes[s] = axis_of(conv, s);
  p->columns = axis_of(conv, p->outer);
  bool padded = spatial_attr(conv, "pads", p->outer, 0) || spatial_attr(conv, "pads", 2 * p->outer + 1, 0);
  return p->columns.kernel <= MAX_COLUMN_TAPS && (!padded || dim_is_const(x->dims[x->rank - 2]));
}

bool groups_are_small(const Node *conv) {
  Problem p;
  return describe(conv, &p);
}

static bool depthwise_match(const Node *node, const Node *anchor, const Target *target) {
  Problem p;
  (void)target;
  if (!node_is(anchor, &op_conv) || node_int(anchor, "outside") || !describe(anchor, &p)) return false;
  Dtype x = operand(anchor, 0)->type->dtype;
  return (x == DTYPE_F32 || dtype_is_byte(x)) && value_is_direct(node, operand(anchor, 0)) &&
         value_is_direct(node, operand(anchor, 1));
}

/* Columns of a tile, the best first: accumulators, and as many taps' weights, are to fit into registers. */
static const int tiles[] = {8, 6, 4, 12, 10, 14, 16, 2};

static const char *depthwise_choose(const Node *node, const Node *anchor, const Target *target, int rank) {
  (void)anchor;
  (void)target;
  if (rank >= COUNT_OF(tiles)) return NULL;
  return arena_printf(node->graph->module->arena, "depthwise columns=%d", tiles[rank]);
}

/* ---- code ---------------------------------------------------------------------------------------------- */

/* The kernel elements of an axis that are inside of x: taps low <= t < high, tap 0 at `first` of x. */
typedef struct Span {
  Reg *first, *low, *high;
} Span;

typedef struct Emit {
  Lower *lower;
  Problem p;
  int tile; /* columns of a tile, from the schedule */
  Buffer *x, *w;
  Reg *at[1 + MAX_OUTER]; /* image, outer positions of the result */
  Span spans[MAX_OUTER];
  Reg *channel; /* of the result: the first of the vector */
} Emit;

static Loops *loops_of(Emit *e) {
  return &e->lower->loops;
}
static Reg *op2(Emit *e, Opcode op, Reg *x, Reg *y) {
  return loop_binary(loops_of(e), op, x, y);
}
static Reg *number(Emit *e, int64_t value) {
  return loop_int(loops_of(e), value);
}
static Reg *scaled(Emit *e, Reg *x, int64_t factor, int64_t offset) {
  if (factor != 1) x = op2(e, LOOP_MUL, x, number(e, factor));
  return offset ? op2(e, LOOP_ADD, x, number(e, offset)) : x;
}

/* For every lane, the input that channel `channel` of its group is. */
static Reg *load_inputs(Emit *e, Reg *const *at, int64_t channel) {
  const Problem *p = &e->p;
  Lower *lower = e->lower;
  int64_t lanes = lower->lanes * p->inputs / p->outputs, *pick;
  Reg *mask = lower->mask;
  if (mask && lanes != lower->lanes) {
    int64_t left = e->x->dims[e->x->rank - 1]->value % lanes;
    mask = loop_lanes_below(loops_of(e), number(e, left), (int)lanes);
  }
  Reg *x = loop_load(loops_of(e), e->x, at, (int)lanes, mask);
  if (p->inputs == 1 && p->outputs == 1) return x;
  if (lanes == 1) return loop_splat(loops_of(e), x, lower->lanes);
  pick = NEW_ARRAY(lower->module->arena, int64_t, lower->lanes);
  for (int l = 0; l < lower->lanes; l++) pick[l] = l / p->outputs * p->inputs + channel;
  return loop_shuffle(loops_of(e), x, x, pick, lower->lanes);
}

/* Bytes are multiplied as i32, which a machine does by its products of 16 bits. */
static Reg *factor(Emit *e, Reg *x) {
  return loop_cast(loops_of(e), x, result(e->p.anchor, 0)->type->dtype);
}

static Reg *multiply_add(Emit *e, Reg *x, Reg *w, Reg *sum) {
  if (sum->type.dtype == DTYPE_F32) return loop_mul_add(loops_of(e), x, w, sum);
  return op2(e, LOOP_ADD, sum, op2(e, LOOP_MUL, x, w));
}

/* The taps of one kernel row on a tile of `width` outputs from `column`; x_at and w_at say which row. */
static void kernel_row(Emit *e, Reg *column, int width, Reg **x_at, Reg **w_at, int64_t channel, Reg **acc) {
  const Axis *axis = &e->p.columns;
  int outer = e->p.outer;
  Reg *w[MAX_COLUMN_TAPS] = {NULL}, *begin = scaled(e, column, axis->stride, -axis->before);
  int64_t reach = (width - 1) * axis->stride + (axis->kernel - 1) * axis->dilation + 1, first = 0;
  bool known = reg_const_int(column, &first);
  w_at[outer + 1] = number(e, channel);
  w_at[outer + 2] = e->channel;
  for (int64_t i = 0; i < reach; i++) {
    int64_t at = first * axis->stride - axis->before + i;
    if (known && (at < 0 || at >= axis->size)) continue;
    Reg *x = NULL;
    for (int64_t t = 0; t < axis->kernel; t++) {
      int64_t from = i - t * axis->dilation;
      if (from < 0 || from % axis->stride != 0 || from / axis->stride >= width) continue;
      x_at[outer + 1] = scaled(e, begin, 1, i);
      w_at[outer] = number(e, t);
      if (!x) x = factor(e, load_inputs(e, x_at, channel));
      if (!w[t]) w[t] = factor(e, loop_load(loops_of(e), e->w, w_at, e->lower->lanes, e->lower->mask));
      Reg **sum = &acc[from / axis->stride];
      *sum = multiply_add(e, x, w[t], *sum);
    }
  }
}

/* All taps on the tile, those of the outer kernel axes in loops. */
static void kernel_rows(Emit *e, Reg *column, int width, Reg **x_at, Reg **w_at, Reg **acc) {
  const Problem *p = &e->p;
  For taps[MAX_OUTER];
  for (int axis = 0; axis < p->outer; axis++) {
    const Span *span = &e->spans[axis];
    taps[axis] = loop_for(loops_of(e), span->low, span->high, 1, width, acc);
    for (int i = 0; i < width; i++) acc[i] = taps[axis].carried[i];
    w_at[axis] = taps[axis].counter;
    x_at[1 + axis] = op2(e, LOOP_ADD, span->first, scaled(e, w_at[axis], p->axes[axis].dilation, 0));
  }
  for (int64_t c = 0; c < p->inputs; c++) kernel_row(e, column, width, x_at, w_at, c, acc);
  for (int axis = p->outer; axis-- > 0;) {
    loop_end(loops_of(e), &taps[axis], acc);
    for (int i = 0; i < width; i++) acc[i] = taps[axis].results[i];
  }
}

static void tile(void *context, Reg *column, int width) {
  Emit *e = context;
  const Problem *p = &e->p;
  Loops *loops = loops_of(e);
  Index channels = index_run(e->channel, 1), at[MAX_OUTER + 3];
  Dtype dtype = result(p->anchor, 0)->type->dtype;
  Reg *acc[MAX_TILE], *x_at[MAX_OUTER + 3] = {e->at[0]}, *w_at[MAX_OUTER + 3];
  Reg *start = operand(p->anchor, 2) ? lower_operand(e->lower, p->anchor, 2, &channels)
                                     : loop_const(loops, (LoopType){dtype, e->lower->lanes}, 0);
  for (int i = 0; i < width; i++) acc[i] = loop_splat(loops, start, e->lower->lanes);
  x_at[p->outer + 2] = e->channel;
  if (p->inputs != p->outputs)
    x_at[p->outer + 2] = scaled(e, op2(e, LOOP_FLOORDIV, e->channel, number(e, p->outputs)), p->inputs, 0);
  kernel_rows(e, column, width, x_at, w_at, acc);
  for (int i = 0; i < width; i++) {
    for (int axis = 0; axis <= p->outer; axis++) at[axis] = index_of(e->at[axis]);
    at[p->outer + 1] = index_of(scaled(e, column, 1, i));
    at[p->outer + 2] = channels;
    lower_result(e->lower, 0, at, acc[i]);
  }
}

static void one_vector(Lower *lower, Reg *channel, void *context) {
  Emit *e = context;
  int64_t from, to;
  e->channel = channel;
  axis_inside(&e->p.columns, &from, &to);
  tile_strips(&lower->loops, result(e->p.anchor, 0)->type->dims[1 + e->p.outer], e->tile, from, to, tile, e);
}

/* Tap t is at position o*stride - before + t*dilation of x. */
static Span span_of(Emit *e, int axis) {
  const Axis *a = &e->p.axes[axis];
  Span span = {.low = number(e, 0), .high = number(e, a->kernel)};
  span.first = scaled(e, e->at[1 + axis], a->stride, -a->before);
  Reg *step = number(e, a->dilation), *size = lower_dim(e->lower, operand(e->p.anchor, 0), 1 + axis);
  Reg *above = op2(e, LOOP_SUB, number(e, a->dilation - 1), span.first);
  Reg *end = op2(e, LOOP_ADD, op2(e, LOOP_SUB, size, span.first), number(e, a->dilation - 1));
  span.low = op2(e, LOOP_MAX, op2(e, LOOP_FLOORDIV, above, step), span.low);
  span.high = op2(e, LOOP_MIN, op2(e, LOOP_FLOORDIV, end, step), span.high);
  return span;
}

/* The axes of the result before the columns; columns inside of channels. */
static void outer_axes(Emit *e, int axis) {
  Loops *loops = loops_of(e);
  const Value *y = result(e->p.anchor, 0);
  if (axis > e->p.outer) {
    for_lanes(e->lower, 0, y->type->dims[y->type->rank - 1]->value, one_vector, e);
    return;
  }
  For loop = loop_parallel(loops, number(e, 0), lower_dim(e->lower, y, axis), 1);
  e->at[axis] = loop.counter;
  if (axis > 0) e->spans[axis - 1] = span_of(e, axis - 1);
  outer_axes(e, axis + 1);
  loop_end(loops, &loop, NULL);
}

static void depthwise_body(Lower *lower, void *context) {
  const VariantContext *variant = context;
  Emit e = {.lower = lower};
  bool ok = describe(lower->anchor, &e.p);
  assert(ok && "depthwise_match was true");
  (void)ok;
  e.x = lower_buffer(lower, operand(lower->anchor, 0));
  e.w = lower_buffer(lower, operand(lower->anchor, 1));
  e.tile = schedule_param(variant->schedule, "columns", tiles[0]);
  if (e.tile < 1 || e.tile > MAX_TILE) e.tile = tiles[0];
  lower->lanes = target_lanes(variant->target, DTYPE_F32);
  outer_axes(&e, 0);
}

const Variant variant_depthwise = {
    .name = "depthwise",
    .doc = "few channels per group: lanes over channels, tiles of output columns",
    .match = depthwise_match,
    .choose = depthwise_choose,
    .body = depthwise_body,
};
