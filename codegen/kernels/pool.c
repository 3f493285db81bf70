/*
 * pool.c -- max and average pooling of any rank, channels last, lanes over channels.
 *
 * A tile is some neighbouring output columns of one vector of channels. The input columns that it touches are
 * first reduced over the kernel's rows (all axes but the last), each once however many windows share it, then
 * the windows are put together: 3x3 with stride 2 takes 9 columns for 4 outputs, 27 loads instead of 36.
 * Kernel rows outside of the input are left out by the bounds of their loop, columns outside when the code is
 * made. Where the width is open, or a window too wide for registers, outputs are made one by one and both
 * loops are clipped by their bounds.
 *
 * A mean of bytes less a zero point (integers.c) adds bytes as they are, in 16 bits if these hold the sum.
 *
 * Traffic: x and the result once. Measured on Zen 4, 3x3 with stride 2: 64 channels at 112x112 66 us, 49 GB/s
 * of x from L3; at 56x56 14 us, 57 GB/s from L2. Means of bytes, 3x3 with stride 1, of 192 channels at 35x35:
 * 45 us with a quantize behind, most of it what is done for each result.
 */
#include "codegen/kernels/lanes.h"
#include "codegen/kernels/tiles.h"

enum { MAX_TILE = 8, MAX_COLUMNS = 22, MAX_OUTER = 4 };

/* What a mean reads of its x, if that is q less a zero point. */
typedef struct Bytes {
  Value *q; /* NULL: it is not */
  int64_t zero, taps;
} Bytes;

static Bytes bytes_added(const Node *pool) {
  const Node *real = operand(pool, 0)->def;
  double scale, zero = 0;
  int count;
  if (!node_is(pool, &op_average_pool) || !node_is(real, &op_dequantize)) return (Bytes){.q = NULL};
  const Value *z = operand(real, 2);
  if (!value_scalar(operand(real, 1), &scale) || scale != 1) return (Bytes){.q = NULL};
  if (z && !(dtype_is_byte(z->type->dtype) && value_scalar(z, &zero))) return (Bytes){.q = NULL};
  Bytes bytes = {operand(real, 0), (int64_t)zero, 1};
  const int64_t *kernel = node_ints(pool, "kernel", &count), most = (1 << 24) / UINT8_MAX;
  for (int i = 0; i < count; i++) {
    if (kernel[i] > most / bytes.taps) return (Bytes){.q = NULL};
    bytes.taps *= kernel[i];
  }
  return dtype_is_byte(bytes.q->type->dtype) ? bytes : (Bytes){.q = NULL};
}

static bool pool_match(const Node *node, const Node *anchor, const Target *target) {
  (void)target;
  if (!node_is(anchor, &op_max_pool) && !node_is(anchor, &op_average_pool)) return false;
  const Value *x = operand(anchor, 0);
  int rank = x->type->rank;
  Dtype dtype = x->type->dtype;
  bool fast = dtype == DTYPE_F32 || (dtype_is_byte(dtype) && node_is(anchor, &op_max_pool));
  if (!node_string_is(anchor, "layout", "nhwc") || rank > 3 + MAX_OUTER || !fast) return false;
  if (attr_has_other(anchor, "dilations", 1)) return false;
  Bytes bytes = bytes_added(anchor);
  return value_is_direct(node, bytes.q ? bytes.q : x) && dim_is_const(x->type->dims[rank - 1]);
}

/* The part of a window that is inside the input along one axis. */
typedef struct Span {
  Reg *start;      /* input position of tap 0; may be negative */
  Reg *low, *high; /* taps low <= t < high are inside */
  Reg *inside;     /* how many these are */
  Reg *counted;    /* taps that an average divides by */
} Span;

typedef struct Emit {
  Lower *lower;
  const Node *anchor;
  const Type *x;
  Value *read; /* x, or the bytes that it is, less `zero` */
  int64_t zero;
  Dtype dtype; /* in which they are compared or added */
  bool average, has_whole_sums, fma;
  int outer;              /* spatial axes before the columns */
  Reg *at[1 + MAX_OUTER]; /* image, outer positions of the result */
  Span spans[MAX_OUTER];
  Axis columns;
  Reg *column; /* the tile: its first output, a literal at the borders; how many */
  int width;
} Emit;

static Reg *op2(Emit *e, Opcode op, Reg *x, Reg *y) {
  return loop_binary(&e->lower->loops, op, x, y);
}
static Reg *number(Emit *e, int64_t value) {
  return loop_int(&e->lower->loops, value);
}

/* Of the output at `position` of spatial axis `axis`. */
static Span span_of(Emit *e, int axis, Reg *position) {
  int64_t kernel = spatial_attr(e->anchor, "kernel", axis, 1),
          stride = spatial_attr(e->anchor, "strides", axis, 1);
  int64_t before = spatial_attr(e->anchor, "pads", axis, 0),
          after = spatial_attr(e->anchor, "pads", e->outer + 1 + axis, 0);
  Reg *size = loop_dim(&e->lower->loops, e->x->dims[1 + axis]), *taps = number(e, kernel);
  Span span;
  span.start = op2(e, LOOP_SUB, op2(e, LOOP_MUL, position, number(e, stride)), number(e, before));
  span.low = op2(e, LOOP_MAX, op2(e, LOOP_SUB, number(e, 0), span.start), number(e, 0));
  span.high = op2(e, LOOP_MIN, op2(e, LOOP_SUB, size, span.start), taps);
  span.inside = op2(e, LOOP_MAX, op2(e, LOOP_SUB, span.high, span.low), number(e, 0));
  span.counted = span.inside;
  if (e->average && node_bool(e->anchor, "include_pad")) {
    Reg *end = op2(e, LOOP_ADD, size, number(e, after));
    span.counted = op2(e, LOOP_MIN, op2(e, LOOP_SUB, end, span.start), taps);
  }
  return span;
}

/* max that keeps a NaN of either side. */
static Reg *maximum(Emit *e, Reg *best, Reg *x) {
  if (x->type.dtype != DTYPE_F32) return op2(e, LOOP_MAX, best, x);
  Reg *number = op2(e, LOOP_EQ, best, best); /* if x is none, max is x */
  return loop_select(&e->lower->loops, number, op2(e, LOOP_MAX, best, x), best);
}

static Reg *combined(Emit *e, Reg *sum, Reg *x) {
  return e->average ? op2(e, LOOP_ADD, sum, x) : maximum(e, sum, x);
}

static Reg *nothing(Emit *e) {
  LoopType type = {e->dtype, e->lower->lanes};
  double lowest = type.dtype == DTYPE_F32 ? -__builtin_inf() : type.dtype == DTYPE_I8 ? INT8_MIN : 0;
  return loop_const(&e->lower->loops, type, e->average ? 0 : lowest);
}

/* x / y. A quotient of whole numbers is rounded alike, and sooner, by a product with the reciprocal and a
 * correction (Markstein 1990); their zeros have no sign, and none is infinite. */
static Reg *quotient(Emit *e, Reg *x, Reg *y) {
  Loops *loops = &e->lower->loops;
  if (!e->has_whole_sums || !e->fma) return op2(e, LOOP_DIV, x, y);
  Reg *reciprocal = op2(e, LOOP_DIV, loop_const(loops, y->type, 1), y),
      *first = op2(e, LOOP_MUL, x, reciprocal);
  Reg *rest = loop_fma(loops, loop_unary(loops, LOOP_NEG, first), y, x);
  return loop_fma(loops, rest, reciprocal, first);
}

/* The mean of what adds up to `sum`. Of the columns `inside` are in x and `counted` are divided by. */
static Reg *mean(Emit *e, Reg *sum, Reg *inside, Reg *counted) {
  Loops *loops = &e->lower->loops;
  for (int i = 0; i < e->outer; i++) {
    inside = op2(e, LOOP_MUL, e->spans[i].inside, inside);
    counted = op2(e, LOOP_MUL, e->spans[i].counted, counted);
  }
  Reg *zeros = op2(e, LOOP_MUL, inside, number(e, e->zero));
  sum = op2(e, LOOP_SUB, loop_cast(loops, sum, DTYPE_F32), loop_cast(loops, zeros, DTYPE_F32));
  counted = op2(e, LOOP_MAX, counted, number(e, 1)); /* all padding: 0 */
  return quotient(e, sum, loop_cast(loops, counted, DTYPE_F32));
}

/* value, of a max or a sum, as the result at column `column`. */
static void put(Emit *e, Reg *channel, Reg *column, Reg *value, Reg *inside, Reg *counted) {
  if (e->average) value = mean(e, value, inside, counted);
  Index y[3 + MAX_OUTER];
  for (int i = 0; i <= e->outer; i++) y[i] = index_of(e->at[i]);
  y[e->outer + 1] = index_of(column);
  y[e->outer + 2] = index_run(channel, 1);
  lower_result(e->lower, 0, y, value);
}

/* The loops over the outer axes of a window, which carry `count` values. */
typedef struct Rows {
  For loops[MAX_OUTER];
  Index at[3 + MAX_OUTER]; /* of x: the image, the row, then room for the column and the channel */
} Rows;

static Rows rows_begin(Emit *e, int count, Reg **values) {
  Rows rows = {.at = {index_of(e->at[0])}};
  for (int i = 0; i < e->outer; i++) {
    rows.loops[i] = loop_for(&e->lower->loops, e->spans[i].low, e->spans[i].high, 1, count, values);
    for (int k = 0; k < count; k++) values[k] = rows.loops[i].carried[k];
    rows.at[1 + i] = index_of(op2(e, LOOP_ADD, e->spans[i].start, rows.loops[i].counter));
  }
  return rows;
}

static void rows_end(Emit *e, Rows *rows, int count, Reg **values) {
  for (int i = e->outer; i-- > 0;) {
    loop_end(&e->lower->loops, &rows->loops[i], values);
    for (int k = 0; k < count; k++) values[k] = rows->loops[i].results[k];
  }
}

/* value with the elements of x at a column of the rows. */
static Reg *with_column(Emit *e, Rows *rows, Reg *value, Reg *column, Reg *channel) {
  rows->at[e->outer + 1] = index_of(column);
  rows->at[e->outer + 2] = index_run(channel, 1);
  Reg *x = loop_splat(&e->lower->loops, lower_value(e->lower, e->read, rows->at), e->lower->lanes);
  return combined(e, value, loop_cast(&e->lower->loops, x, e->dtype));
}

/* An output whose window is clipped by the bounds of all loops. */
typedef struct Single {
  Emit *emit;
  Reg *column;
  Span span;
} Single;

static void window(Lower *lower, Reg *channel, void *context) {
  const Single *single = context;
  Emit *e = single->emit;
  Loops *loops = &lower->loops;
  Reg *value = nothing(e);
  Rows rows = rows_begin(e, 1, &value);
  For columns = loop_for(loops, single->span.low, single->span.high, 1, 1, &value);
  Reg *column = op2(e, LOOP_ADD, single->span.start, columns.counter);
  Reg *next = with_column(e, &rows, columns.carried[0], column, channel);
  loop_end(loops, &columns, &next);
  value = columns.results[0];
  rows_end(e, &rows, 1, &value);
  put(e, channel, single->column, value, single->span.inside, single->span.counted);
}

static int64_t channel_count(const Emit *e) {
  return e->x->dims[e->x->rank - 1]->value;
}

static void windows_one_by_one(Emit *e) {
  Loops *loops = &e->lower->loops;
  Reg *size = lower_dim(e->lower, result(e->anchor, 0), 1 + e->outer);
  For columns = loop_parallel(loops, number(e, 0), size, 1);
  Single single = {e, columns.counter, span_of(e, e->outer, columns.counter)};
  for_lanes(e->lower, 0, channel_count(e), window, &single);
  loop_end(loops, &columns, NULL);
}

/* Input column i of the tile, when its first output is a literal: whether it is inside x. */
static bool is_inside(const Emit *e, int64_t i) {
  int64_t first;
  if (!reg_const_int(e->column, &first)) return true;
  int64_t column = first * e->columns.stride - e->columns.before + i;
  return column >= 0 && column < e->columns.size;
}

/* Columns of the window of output r in x, or with its padding. */
static int64_t count_columns(const Emit *e, int64_t r, bool pad) {
  const Axis *axis = &e->columns;
  int64_t first, after = spatial_attr(e->anchor, "pads", 2 * e->outer + 1, 0), count = 0;
  if (!reg_const_int(e->column, &first)) return axis->kernel;
  for (int64_t t = 0; t < axis->kernel; t++) {
    int64_t column = (first + r) * axis->stride - axis->before + t;
    count += pad ? column < axis->size + after : column >= 0 && column < axis->size;
  }
  return count;
}

/* The columns of the tile, each reduced over the kernel's rows; NULL: outside of x. */
static void reduce_columns(Emit *e, Reg *channel, int64_t count, Reg **columns) {
  Reg *first = op2(e, LOOP_SUB, op2(e, LOOP_MUL, e->column, number(e, e->columns.stride)),
                   number(e, e->columns.before));
  Reg *values[MAX_COLUMNS];
  int inside = 0;
  for (int64_t i = 0; i < count; i++)
    if (is_inside(e, i)) values[inside++] = nothing(e);
  Rows rows = rows_begin(e, inside, values);
  for (int64_t i = 0, j = 0; i < count; i++) {
    if (!is_inside(e, i)) continue;
    values[j] = with_column(e, &rows, values[j], op2(e, LOOP_ADD, first, number(e, i)), channel);
    j++;
  }
  rows_end(e, &rows, inside, values);
  for (int64_t i = 0, j = 0; i < count; i++) columns[i] = is_inside(e, i) ? values[j++] : NULL;
}

static void tile(Lower *lower, Reg *channel, void *context) {
  (void)lower;
  Emit *e = context;
  const Axis *axis = &e->columns;
  bool pad = e->average && node_bool(e->anchor, "include_pad");
  Reg *columns[MAX_COLUMNS];
  reduce_columns(e, channel, (e->width - 1) * axis->stride + axis->kernel, columns);
  for (int r = 0; r < e->width; r++) {
    Reg *value = NULL;
    for (int64_t t = 0; t < axis->kernel; t++) {
      Reg *x = columns[r * axis->stride + t];
      if (x) value = value ? combined(e, value, x) : x;
    }
    Reg *column = op2(e, LOOP_ADD, e->column, number(e, r));
    Reg *inside = number(e, count_columns(e, r, false)), *counted = number(e, count_columns(e, r, pad));
    put(e, channel, column, value ? value : nothing(e), inside, counted);
  }
}

static void strip(void *context, Reg *column, int width) {
  Emit *e = context;
  e->column = column;
  e->width = width;
  for_lanes(e->lower, 0, channel_count(e), tile, e);
}

/* Outputs of a tile, as many as have their columns in registers; 0: not even one. */
static int tile_width(const Axis *axis) {
  if (axis->size == INT64_MAX || axis->kernel > MAX_COLUMNS) return 0;
  int64_t width = (MAX_COLUMNS - axis->kernel) / axis->stride + 1;
  return (int)(width < MAX_TILE ? width : MAX_TILE);
}

static void row_of_windows(Emit *e) {
  int width = tile_width(&e->columns);
  int64_t from, to;
  if (width == 0) {
    windows_one_by_one(e);
    return;
  }
  axis_inside(&e->columns, &from, &to);
  tile_strips(&e->lower->loops, result(e->anchor, 0)->type->dims[1 + e->outer], width, from, to, strip, e);
}

static Axis columns_of(const Node *pool) {
  int last = operand(pool, 0)->type->rank - 3;
  const Dim *width = operand(pool, 0)->type->dims[1 + last];
  return (Axis){dim_is_const(width) ? width->value : INT64_MAX, spatial_attr(pool, "kernel", last, 1),
                spatial_attr(pool, "strides", last, 1), 1, spatial_attr(pool, "pads", last, 0)};
}

/* The axes of the result before the columns. */
static void outer_axes(Emit *e, int axis) {
  Loops *loops = &e->lower->loops;
  if (axis > e->outer) {
    row_of_windows(e);
    return;
  }
  For loop = loop_parallel(loops, number(e, 0), lower_dim(e->lower, result(e->anchor, 0), axis), 1);
  e->at[axis] = loop.counter;
  if (axis > 0) e->spans[axis - 1] = span_of(e, axis - 1, loop.counter);
  outer_axes(e, axis + 1);
  loop_end(loops, &loop, NULL);
}

/* A mean of bytes less a zero point adds them as they are, in as few bits as hold the sum: floats would hold
 * it exactly, too. */
static void read_bytes(Emit *e, const Bytes *bytes) {
  Dtype half = bytes->q->type->dtype == DTYPE_I8 ? DTYPE_I16 : DTYPE_U16;
  e->has_whole_sums = true;
  e->read = bytes->q;
  e->zero = bytes->zero;
  e->dtype = bytes->taps <= UINT8_MAX + 1 ? half : DTYPE_I32;
}

/* Narrow numbers are many to a vector: as many as divide the channels, at least as many as floats. */
static int lanes_for(const Emit *e, const Target *target) {
  int lanes = target_lanes(target, e->dtype), least = target_lanes(target, DTYPE_F32);
  while (lanes > least && channel_count(e) % lanes != 0) lanes /= 2;
  return lanes;
}

static void pool_body(Lower *lower, void *context) {
  const VariantContext *variant = context;
  Emit e = {.lower = lower, .anchor = lower->anchor, .average = node_is(lower->anchor, &op_average_pool)};
  e.fma = variant->target->fma;
  e.read = operand(lower->anchor, 0);
  e.x = e.read->type;
  e.dtype = e.x->dtype;
  Bytes bytes = bytes_added(lower->anchor);
  if (bytes.q) read_bytes(&e, &bytes);
  e.outer = e.x->rank - 3;
  e.columns = columns_of(lower->anchor);
  lower->lanes = lanes_for(&e, variant->target);
  outer_axes(&e, 0);
}

const Variant variant_pool = {
    .name = "pool",
    .doc = "tiles of output columns that share input columns, lanes over channels",
    .match = pool_match,
    .body = pool_body,
};
