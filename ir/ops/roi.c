/*
 * roi.c -- pooling over regions of interest, boxes in images that come as a tensor: roi_align samples between
 * elements, max_roi_pool (Girshick 2015) takes whole ones.
 *
 * A box is cut into a grid of bins, one for each result. Boxes are data: they may lie anywhere, so every
 * position is clamped before it is read.
 */
#include "ir/ops/ops.h"

static const char *const results_y[] = {"y"};

/* One value, or an operation on it, in the dtype that boxes are computed in. */
static Reg *op2(Lower *lower, Opcode op, Reg *x, Reg *y) {
  return loop_binary(&lower->loops, op, x, y);
}

static Reg *plus(Lower *lower, Reg *x, double value) {
  return op2(lower, LOOP_ADD, x, constant_like(lower, x, value));
}

static Reg *times(Lower *lower, Reg *x, double value) {
  return op2(lower, LOOP_MUL, x, constant_like(lower, x, value));
}

static Reg *at_least(Lower *lower, Reg *x, double value) {
  return op2(lower, LOOP_MAX, x, constant_like(lower, x, value));
}

static Reg *like(Lower *lower, Reg *integer, const Reg *x) {
  return loop_cast(&lower->loops, integer, x->type.dtype);
}

/* Number `column` of box `r`. */
static Reg *box_entry(Lower *lower, const Node *node, Index r, int column) {
  return compute(lower, lower_operand(lower, node, 1, (Index[]){r, index_const(lower, column)}));
}

static Reg *clamped(Lower *lower, Reg *i, Reg *size) {
  Reg *last = op2(lower, LOOP_SUB, size, loop_int(&lower->loops, 1));
  return op2(lower, LOOP_MAX, loop_int(&lower->loops, 0), op2(lower, LOOP_MIN, i, last));
}

static bool check_image(const Node *node, int columns) {
  TRY(check_kind(node, 0, KIND_FLOAT) && check_rank(node, 0, 4) && check_rank(node, 1, 2) &&
      check_same_dtype(node, 0, 1));
  const Type *x = operand(node, 0)->type, *boxes = operand(node, 1)->type;
  if (!dim_is(boxes->dims[1], columns))
    return node_fail(node, "rois is %s; its last axis must have %d elements", operand_text(node, 1), columns);
  for (int i = 0; i < 4; i++)
    if (i != 1 && dim_is(x->dims[i], 0))
      return node_fail(node, "axis %d of x, %s, is empty", i, operand_text(node, 0));
  return true;
}

/* The result has [boxes, c, sizes..]. */
static bool infer_bins(Node *node) {
  const Type *x = operand(node, 0)->type;
  int count;
  const int64_t *sizes = node_ints(node, "sizes", &count);
  TRY(check_count(node, "sizes", count, 2));
  for (int i = 0; i < 2; i++)
    if (sizes[i] < 0 || sizes[i] > INT32_MAX)
      return node_fail(node, "sizes has %lld; it must be from 0 to below 2^31", (long long)sizes[i]);
  const Dim *dims[] = {operand(node, 1)->type->dims[0], x->dims[1], dim_const(node_module(node), sizes[0]),
                       dim_const(node_module(node), sizes[1])};
  result_set(node, 0, type_make(node_module(node), x->dtype, 4, dims));
  return true;
}

static void roi_axes(const Node *node, int index, AxisLink *links) {
  axes_opaque(node, index, links);
  if (index == 0) links[1] = axis_link(AXIS_SAME, 1);
  if (index != 0) links[0] = axis_link(AXIS_SAME, 0);
}

/* ---- roi_align ---- */

static const OperandSpec roi_align_operands[] = {
    {"x", false, "[n, c, h, w]; floats"},
    {"rois", false, "[r, 4]: x1, y1, x2, y2 of every box"},
    {"images", false, "[r]: the number of each box's image; integers"}};

static const AttrSpec roi_align_attrs[] = {
    {"sizes", ATTR_INTS, ROLE_NONE, NULL, "height and width of the grid of bins", NULL},
    {"scale", ATTR_FLOAT, ROLE_NONE, "1", "elements of x per unit of the boxes", NULL},
    {"samples", ATTR_INT, ROLE_NONE, "0", "in a bin, along each axis; 0: one per element of x", NULL},
    {"mode", ATTR_STRING, ROLE_NONE, "avg",
     "the mean of the samples, or the largest weighted neighbour of any of them", "avg|max"},
    {"half_pixel", ATTR_BOOL, ROLE_NONE, "true",
     "elements have their centres at half units; false: at whole ones, and boxes have at least size 1",
     NULL}};

static bool roi_align_infer(Node *node) {
  TRY(check_image(node, 4) && check_kind(node, 2, KIND_INT) && check_rank(node, 2, 1));
  const Dim *boxes = operand(node, 1)->type->dims[0], *images = operand(node, 2)->type->dims[0];
  if (!sizes_agree(node, boxes, images))
    return node_fail(node, "rois is %s and images is %s; they must be as many", operand_text(node, 1),
                     operand_text(node, 2));
  int64_t samples = node_int(node, "samples");
  if (samples < 0 || samples > INT16_MAX)
    return node_fail(node, "samples is %lld; it must be from 0 to %d", (long long)samples, INT16_MAX);
  return infer_bins(node);
}

/* One axis of a box. */
typedef struct Span {
  Reg *begin, *bin; /* of the first bin; size of a bin */
  Reg *samples;     /* in a bin; i64 */
} Span;

static Span span_of(Lower *lower, const Node *node, Index r, int axis) {
  Loops *loops = &lower->loops;
  bool half_pixel = node_bool(node, "half_pixel");
  int count;
  int64_t bins = node_ints(node, "sizes", &count)[axis], samples = node_int(node, "samples");
  double scale = node_float(node, "scale"), offset = half_pixel ? -0.5 : 0;
  Span span;
  span.begin = plus(lower, times(lower, box_entry(lower, node, r, 1 - axis), scale), offset);
  Reg *end = plus(lower, times(lower, box_entry(lower, node, r, 3 - axis), scale), offset);
  Reg *size = op2(lower, LOOP_SUB, end, span.begin);
  if (!half_pixel) size = at_least(lower, size, 1);
  span.bin = op2(lower, LOOP_DIV, size, constant_like(lower, size, (double)bins));
  enum { MOST = 1 << 20 }; /* of a box that is no box */
  Reg *many = op2(lower, LOOP_MIN, loop_unary(loops, LOOP_CEIL, span.bin), constant_like(lower, size, MOST));
  span.samples = samples ? loop_int(loops, samples) : loop_cast(loops, at_least(lower, many, 0), DTYPE_I64);
  return span;
}

/* Sample `i` of bin `b`: begin + b*bin + (i + 1/2)*bin/samples. */
static Reg *sample_position(Lower *lower, const Span *span, Reg *b, Reg *i) {
  Reg *within = op2(lower, LOOP_MUL, plus(lower, like(lower, i, span->bin), 0.5), span->bin);
  within = op2(lower, LOOP_DIV, within, like(lower, span->samples, span->bin));
  Reg *bin = op2(lower, LOOP_ADD, span->begin, op2(lower, LOOP_MUL, like(lower, b, span->bin), span->bin));
  return op2(lower, LOOP_ADD, bin, within);
}

/* The two elements that a position lies between, and what they weigh: nothing more than 1 outside x. */
typedef struct Between {
  Reg *at[2], *weight[2];
} Between;

static Between between(Lower *lower, Reg *p, Reg *size) {
  Loops *loops = &lower->loops;
  Between b;
  Reg *last = op2(lower, LOOP_SUB, size, loop_int(loops, 1)), *zero = constant_like(lower, p, 0);
  Reg *outside = op2(lower, LOOP_OR, op2(lower, LOOP_LT, p, constant_like(lower, p, -1)),
                     op2(lower, LOOP_GT, p, like(lower, size, p)));
  p = op2(lower, LOOP_MIN, at_least(lower, p, 0), like(lower, last, p));
  Reg *floor = loop_unary(loops, LOOP_FLOOR, p), *way = op2(lower, LOOP_SUB, p, floor);
  b.at[0] = clamped(lower, loop_cast(loops, floor, DTYPE_I64), size);
  b.at[1] = op2(lower, LOOP_MIN, op2(lower, LOOP_ADD, b.at[0], loop_int(loops, 1)), last);
  Reg *rest = op2(lower, LOOP_SUB, constant_like(lower, p, 1), way);
  b.weight[0] = loop_select(loops, outside, zero, rest);
  b.weight[1] = loop_select(loops, outside, zero, way);
  return b;
}

/* The four weighted neighbours of a sample, joined with what is there. */
static Reg *join_sample(Lower *lower, const Node *node, Index image, Index c, const Between *y,
                        const Between *x, Reg *acc, Reg *is_first) {
  bool largest = node_string_is(node, "mode", "max");
  Reg *all = NULL;
  for (int i = 0; i < 4; i++) {
    Index at[] = {image, c, index_of(y->at[i / 2]), index_of(x->at[i % 2])};
    Reg *weight = op2(lower, LOOP_MUL, y->weight[i / 2], x->weight[i % 2]);
    Reg *value = op2(lower, LOOP_MUL, weight, compute(lower, lower_operand(lower, node, 0, at)));
    all = !all ? value : largest ? max_nan(lower, all, value) : op2(lower, LOOP_ADD, all, value);
  }
  if (!largest) return op2(lower, LOOP_ADD, acc, all);
  return loop_select(&lower->loops, is_first, all, max_nan(lower, acc, all));
}

static void roi_align_nest(Lower *lower, const Node *node) {
  Loops *loops = &lower->loops;
  const Value *x = operand(node, 0);
  Index at[4];
  Nest outer = nest_over(lower, result(node, 0), NULL, at);
  Span rows = span_of(lower, node, at[0], 0), columns = span_of(lower, node, at[0], 1);
  Reg *image = loop_cast(loops, lower_operand(lower, node, 2, at), DTYPE_I64);
  image = clamped(lower, image, lower_dim(lower, x, 0));
  Reg *sum = constant_like(lower, rows.bin, 0);
  Nest inner = nest_begin(1, &sum);
  Reg *i = nest_for(lower, &inner, rows.samples);
  Between y =
      between(lower, sample_position(lower, &rows, index_reg(lower, at[2]), i), lower_dim(lower, x, 2));
  Reg *j = nest_for(lower, &inner, columns.samples);
  Between z =
      between(lower, sample_position(lower, &columns, index_reg(lower, at[3]), j), lower_dim(lower, x, 3));
  Reg *is_first = op2(lower, LOOP_EQ, op2(lower, LOOP_OR, i, j), loop_int(loops, 0));
  inner.carried[0] = join_sample(lower, node, index_of(image), at[1], &y, &z, inner.carried[0], is_first);
  nest_end(lower, &inner);
  Reg *all = inner.carried[0], *count = op2(lower, LOOP_MUL, rows.samples, columns.samples);
  if (node_string_is(node, "mode", "avg"))
    all = op2(lower, LOOP_DIV, all, at_least(lower, like(lower, count, all), 1));
  lower_result(lower, 0, at, loop_cast(loops, all, result(node, 0)->type->dtype));
  nest_end(lower, &outer);
}

const Op op_roi_align = {
    .name = "roi_align",
    .family = "roi",
    .doc = "Every box of an image, cut into bins, as the mean or the largest of samples between elements "
           "(ONNX RoiAlign 16). "
           "Samples further than one element outside x are 0; a bin without samples is 0.",
    .operands = roi_align_operands,
    .operand_count = COUNT_OF(roi_align_operands),
    .results = results_y,
    .result_count = 1,
    .attrs = roi_align_attrs,
    .attr_count = COUNT_OF(roi_align_attrs),
    .infer = roi_align_infer,
    .axes = roi_axes,
    .nest = roi_align_nest,
};

/* ---- max_roi_pool ---- */

static const OperandSpec max_roi_pool_operands[] = {
    {"x", false, "[n, c, h, w]; floats"},
    {"rois", false, "[r, 5]: the number of the image, then x1, y1, x2, y2 of every box, both ends inside"}};

static const AttrSpec max_roi_pool_attrs[] = {
    {"sizes", ATTR_INTS, ROLE_NONE, NULL, "height and width of the grid of bins", NULL},
    {"scale", ATTR_FLOAT, ROLE_NONE, "1", "elements of x per unit of the boxes", NULL}};

static bool max_roi_pool_infer(Node *node) {
  return check_image(node, 5) && infer_bins(node);
}

/* The nearest whole number, halves away from 0. */
static Reg *rounded(Lower *lower, Reg *x) {
  Loops *loops = &lower->loops;
  Reg *away = loop_unary(loops, LOOP_FLOOR, plus(lower, loop_unary(loops, LOOP_ABS, x), 0.5));
  Reg *negative = op2(lower, LOOP_LT, x, constant_like(lower, x, 0));
  return loop_select(loops, negative, loop_unary(loops, LOOP_NEG, away), away);
}

/* The elements [begin, end) of bin `b` along an axis, inside x. */
static void bin_range(Lower *lower, const Node *node, Index r, int axis, Reg *b, Reg **begin, Reg **end) {
  Loops *loops = &lower->loops;
  int count;
  int64_t bins = node_ints(node, "sizes", &count)[axis];
  double scale = node_float(node, "scale");
  Reg *first = rounded(lower, times(lower, box_entry(lower, node, r, 2 - axis), scale));
  Reg *last = rounded(lower, times(lower, box_entry(lower, node, r, 4 - axis), scale));
  Reg *size = at_least(lower, plus(lower, op2(lower, LOOP_SUB, last, first), 1), 1);
  size = op2(lower, LOOP_DIV, size, constant_like(lower, size, (double)bins));
  Reg *low = op2(lower, LOOP_MUL, like(lower, b, size), size);
  Reg *high = op2(lower, LOOP_MUL, plus(lower, like(lower, b, size), 1), size);
  Reg *extent = lower_dim(lower, operand(node, 0), 2 + axis), *zero = loop_int(loops, 0);
  low = op2(lower, LOOP_ADD, loop_unary(loops, LOOP_FLOOR, low), first);
  high = op2(lower, LOOP_ADD, loop_unary(loops, LOOP_CEIL, high), first);
  *begin = op2(lower, LOOP_MAX, zero, op2(lower, LOOP_MIN, loop_cast(loops, low, DTYPE_I64), extent));
  *end = op2(lower, LOOP_MAX, zero, op2(lower, LOOP_MIN, loop_cast(loops, high, DTYPE_I64), extent));
}

static void max_roi_pool_nest(Lower *lower, const Node *node) {
  Loops *loops = &lower->loops;
  Index at[4];
  Reg *begin[2], *end[2], *sizes[2];
  Nest outer = nest_over(lower, result(node, 0), NULL, at);
  Reg *image = loop_cast(loops, box_entry(lower, node, at[0], 0), DTYPE_I64);
  image = clamped(lower, image, lower_dim(lower, operand(node, 0), 0));
  for (int axis = 0; axis < 2; axis++) {
    bin_range(lower, node, at[0], axis, index_reg(lower, at[2 + axis]), &begin[axis], &end[axis]);
    sizes[axis] = op2(lower, LOOP_SUB, end[axis], begin[axis]);
  }
  Reg *start = lowest(lower, compute_dtype(operand(node, 0)->type->dtype));
  Nest inner = nest_begin(1, &start);
  Reg *i = op2(lower, LOOP_ADD, begin[0], nest_for(lower, &inner, sizes[0]));
  Reg *j = op2(lower, LOOP_ADD, begin[1], nest_for(lower, &inner, sizes[1]));
  Index from[] = {index_of(image), at[1], index_of(i), index_of(j)};
  inner.carried[0] = max_nan(lower, inner.carried[0], compute(lower, lower_operand(lower, node, 0, from)));
  nest_end(lower, &inner);
  Reg *is_empty = op2(lower, LOOP_OR, op2(lower, LOOP_LE, sizes[0], loop_int(loops, 0)),
                      op2(lower, LOOP_LE, sizes[1], loop_int(loops, 0)));
  Reg *best = loop_select(loops, is_empty, constant_like(lower, start, 0), inner.carried[0]);
  lower_result(lower, 0, at, loop_cast(loops, best, result(node, 0)->type->dtype));
  nest_end(lower, &outer);
}

const Op op_max_roi_pool = {
    .name = "max_roi_pool",
    .family = "roi",
    .doc = "Every box of an image, rounded to whole elements and cut into bins, as their largest elements "
           "(ONNX MaxRoiPool 1). A bin outside x is 0.",
    .operands = max_roi_pool_operands,
    .operand_count = COUNT_OF(max_roi_pool_operands),
    .results = results_y,
    .result_count = 1,
    .attrs = max_roi_pool_attrs,
    .attr_count = COUNT_OF(max_roi_pool_attrs),
    .infer = max_roi_pool_infer,
    .axes = roi_axes,
    .nest = max_roi_pool_nest,
};
