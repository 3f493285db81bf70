/*
 * resize.c -- resampling along any axes: nearest, linear, cubic, with the coordinate conventions of ONNX
 * Resize 19.
 *
 * An element is a sum over taps: 1 (nearest), 2 (linear) or 4 (cubic) positions with weights along each axis
 * that changes its size; the other axes keep their index, so lanes along them stay a run. Antialiasing widens
 * the kernel to 1/scale elements, and the taps with it. Coordinates are computed in f64: they decide which
 * elements are read. Nearest with a whole factor, the usual upsampling, is an integer division.
 */
#include "ir/ops/ops.h"

#include <math.h>
#include <string.h>

static const OperandSpec operands_x[] = {{"x", false, "any shape; numbers, for nearest any dtype"}};
static const char *const results_y[] = {"y"};

static const AttrSpec resize_attrs[] = {
    {"sizes", ATTR_DIMS, ROLE_SIZES, NULL, "of the result", NULL},
    {"scales", ATTR_FLOATS, ROLE_PER_AXIS, "[]",
     "factors that coordinates are computed with; 0, or []: new size / old size", NULL},
    {"mode", ATTR_STRING, ROLE_NONE, "nearest", "how many neighbours are mixed", "nearest|linear|cubic"},
    {"coordinates", ATTR_STRING, ROLE_NONE, "half_pixel", "where the centre of a new element lies in x",
     "half_pixel|pytorch_half_pixel|half_pixel_symmetric|align_corners|asymmetric|tf_half_pixel_for_nn|tf_"
     "crop_and_resize"},
    {"nearest", ATTR_STRING, ROLE_NONE, "round_prefer_floor", "how nearest rounds a coordinate",
     "round_prefer_floor|round_prefer_ceil|floor|ceil"},
    {"cubic_coeff", ATTR_FLOAT, ROLE_NONE, "-0.75", "a of the cubic kernel (Keys 1981)", NULL},
    {"exclude_outside", ATTR_BOOL, ROLE_NONE, "false",
     "cubic taps outside x weigh 0 and the others more, instead of repeating the edge", NULL},
    {"antialias", ATTR_BOOL, ROLE_NONE, "false",
     "linear and cubic kernels of axes that shrink are as wide as the elements of the result", NULL},
    {"extrapolation", ATTR_FLOAT, ROLE_NONE, "0", "value of what tf_crop_and_resize finds outside x", NULL},
    {"roi", ATTR_FLOATS, ROLE_PER_AXIS_PAIR, "[]",
     "begin of every axis, then end, in [0, 1]: the part that tf_crop_and_resize takes", NULL}};

/* ---- checks ---- */

static double given_scale(const Node *node, int axis) {
  int count;
  const double *scales = node_floats(node, "scales", &count);
  return count ? scales[axis] : 0;
}

static bool crops(const Node *node) {
  return node_string_is(node, "coordinates", "tf_crop_and_resize");
}

static double roi_entry(const Node *node, int axis, bool end) {
  int count;
  const double *roi = node_floats(node, "roi", &count);
  return count ? roi[axis + (end ? count / 2 : 0)] : end;
}

/* The factor of an axis as a number; 0 when it is symbolic. */
static double constant_scale(const Node *node, const Type *y, int axis) {
  const Dim *in = operand(node, 0)->type->dims[axis], *out = y->dims[axis];
  double scale = given_scale(node, axis);
  if (scale != 0 || !dim_is_const(in) || !dim_is_const(out) || in->value == 0) return scale;
  return (double)out->value / (double)in->value;
}

/* Whether elements along an axis are anything but those of x. */
static bool is_resized(const Node *node, int axis) {
  double scale = given_scale(node, axis);
  bool cropped = crops(node) && (roi_entry(node, axis, false) != 0 || roi_entry(node, axis, true) != 1);
  return operand(node, 0)->type->dims[axis] != result(node, 0)->type->dims[axis] ||
         (scale != 0 && scale != 1) || cropped;
}

enum { MAX_TAPS = 1024 };

/* How far the kernel reaches to each side, and the number of elements that it may mix. */
static double kernel_reach(const Node *node) {
  return node_string_is(node, "mode", "cubic") ? 2 : 1;
}

/* How much wider than between elements of x the kernel is: 1, but for antialiased axes that shrink. */
static double kernel_width(const Node *node, const Type *y, int axis) {
  double scale = node_bool(node, "antialias") ? constant_scale(node, y, axis) : 1;
  return scale < 1 ? 1 / scale : 1;
}

/* Every axis that antialiasing mixes has a constant scale, and not too many taps altogether. */
static bool check_antialias(const Node *node, const Type *y) {
  double taps = 1;
  for (int i = 0; i < y->rank; i++) {
    if (operand(node, 0)->type->dims[i] == y->dims[i] && given_scale(node, i) == 0) continue;
    if (constant_scale(node, y, i) == 0)
      return node_fail(node, "antialias needs a constant scale; axis %d of %s becomes %s", i,
                       operand_text(node, 0), dim_text(node_module(node), y->dims[i]));
    taps *= 2 * ceil(kernel_reach(node) * kernel_width(node, y, i));
  }
  return taps <= MAX_TAPS || node_fail(node, "antialias mixes %g elements of %s; %d are possible", taps,
                                       operand_text(node, 0), MAX_TAPS);
}

static bool resize_infer(Node *node) {
  const Type *x = operand(node, 0)->type;
  int count, scale_count, roi_count;
  const Dim *const *sizes = node_dims(node, "sizes", &count);
  const double *scales = node_floats(node, "scales", &scale_count),
               *roi = node_floats(node, "roi", &roi_count);
  TRY(check_count(node, "sizes", count, x->rank) && check_sizes(node, "sizes", sizes, count));
  TRY(scale_count == 0 || check_count(node, "scales", scale_count, x->rank));
  TRY(roi_count == 0 || check_count(node, "roi", roi_count, 2 * x->rank));
  if (!node_string_is(node, "mode", "nearest")) TRY(check_kind(node, 0, KIND_NUMBER));
  for (int i = 0; i < scale_count; i++)
    if (!(scales[i] >= 0 && isfinite(scales[i]))) return node_fail(node, "scales[%d] is %g", i, scales[i]);
  for (int i = 0; i < roi_count; i++)
    if (!isfinite(roi[i])) return node_fail(node, "roi[%d] is %g", i, roi[i]);
  for (int i = 0; i < x->rank; i++)
    if (dim_is(x->dims[i], 0) && !dim_is(sizes[i], 0))
      return node_fail(node, "axis %d of x, %s, is empty", i, operand_text(node, 0));
  const Type *y = type_make(node_module(node), x->dtype, x->rank, sizes);
  if (node_bool(node, "antialias")) TRY(check_antialias(node, y));
  result_set(node, 0, y);
  return true;
}

static Value *resize_simplify(Node *node) {
  for (int i = 0; i < operand(node, 0)->type->rank; i++)
    if (is_resized(node, i)) return NULL;
  return value_if_typed(node, operand(node, 0));
}

static void resize_axes(const Node *node, int index, AxisLink *links) {
  axes_same(node, index, links);
  for (int i = 0; i < operand(node, 0)->type->rank; i++)
    if (is_resized(node, i)) links[i].role = AXIS_WINDOW;
}

/* ---- coordinates ---- */

/* One axis being resized; sizes and scale as f64. */
typedef struct Axis {
  Lower *lower;
  const Node *node;
  int number;
  Reg *in, *out, *scale;
} Axis;

static Reg *number(const Axis *axis, double value) {
  return loop_const(&axis->lower->loops, (LoopType){DTYPE_F64, 1}, value);
}

static Reg *op2(const Axis *axis, Opcode op, Reg *x, Reg *y) {
  return loop_binary(&axis->lower->loops, op, x, y);
}

static Reg *plus(const Axis *axis, Reg *x, double value) {
  return op2(axis, LOOP_ADD, x, number(axis, value));
}

static Reg *times(const Axis *axis, Reg *x, double value) {
  return op2(axis, LOOP_MUL, x, number(axis, value));
}

static Reg *size_of(const Axis *axis, const Dim *dim) {
  if (dim_is_const(dim)) return number(axis, (double)dim->value);
  return loop_cast(&axis->lower->loops, loop_dim(&axis->lower->loops, dim), DTYPE_F64);
}

static Axis axis_begin(Lower *lower, const Node *node, int number_of_axis) {
  Axis axis = {.lower = lower, .node = node, .number = number_of_axis};
  const Dim *in = operand(node, 0)->type->dims[axis.number], *out = result(node, 0)->type->dims[axis.number];
  double scale = given_scale(node, axis.number);
  axis.in = size_of(&axis, in);
  axis.out = size_of(&axis, out);
  if (scale != 0)
    axis.scale = number(&axis, scale);
  else if (dim_is_const(in) && dim_is_const(out))
    axis.scale = number(&axis, (double)out->value / (double)in->value);
  else
    axis.scale = op2(&axis, LOOP_DIV, axis.out, axis.in);
  return axis;
}

/* (x + 1/2)/scale */
static Reg *centre(const Axis *axis, Reg *x) {
  return op2(axis, LOOP_DIV, plus(axis, x, 0.5), axis->scale);
}

static Reg *half_pixel(const Axis *axis, Reg *x) {
  return plus(axis, centre(axis, x), -0.5);
}

/* `many` if the result has more than one element, else `single`. */
static Reg *if_many(const Axis *axis, Reg *many, Reg *single) {
  return loop_select(&axis->lower->loops, op2(axis, LOOP_GT, axis->out, number(axis, 1)), many, single);
}

static Reg *pytorch_half_pixel(const Axis *axis, Reg *x) {
  return if_many(axis, half_pixel(axis, x), number(axis, 0));
}

/* half_pixel about the middle of x, when scale*size was rounded to the size of the result. */
static Reg *half_pixel_symmetric(const Axis *axis, Reg *x) {
  Reg *adjustment = op2(axis, LOOP_DIV, axis->out, op2(axis, LOOP_MUL, axis->scale, axis->in));
  Reg *offset =
      op2(axis, LOOP_MUL, times(axis, axis->in, 0.5), op2(axis, LOOP_SUB, number(axis, 1), adjustment));
  return op2(axis, LOOP_ADD, offset, half_pixel(axis, x));
}

/* x*(in - 1)/(out - 1), where a given scale says what out was before it was rounded; 0 for a single element.
 */
static Reg *by_corners(const Axis *axis, Reg *x) {
  bool is_given = given_scale(axis->node, axis->number) != 0;
  Reg *out = is_given ? op2(axis, LOOP_MUL, axis->scale, axis->in) : axis->out;
  Reg *many = op2(axis, LOOP_DIV, op2(axis, LOOP_MUL, x, plus(axis, axis->in, -1)), plus(axis, out, -1));
  return if_many(axis, many, number(axis, 0));
}

static Reg *asymmetric(const Axis *axis, Reg *x) {
  return op2(axis, LOOP_DIV, x, axis->scale);
}

static Reg *crop_and_resize(const Axis *axis, Reg *x) {
  double begin = roi_entry(axis->node, axis->number, false), end = roi_entry(axis->node, axis->number, true);
  Reg *last = plus(axis, axis->in, -1);
  Reg *many = op2(axis, LOOP_ADD, times(axis, last, begin), times(axis, by_corners(axis, x), end - begin));
  return if_many(axis, many, times(axis, last, 0.5 * (begin + end)));
}

static Reg *coordinate(const Axis *axis, Index at) {
  static const struct {
    const char *name;
    Reg *(*map)(const Axis *axis, Reg *x);
  } rows[] = {
      {"half_pixel", half_pixel},
      {"pytorch_half_pixel", pytorch_half_pixel},
      {"align_corners", by_corners},
      {"half_pixel_symmetric", half_pixel_symmetric},
      {"asymmetric", asymmetric},
      {"tf_half_pixel_for_nn", centre},
      {"tf_crop_and_resize", crop_and_resize},
  };
  int row = 0;
  while (!node_string_is(axis->node, "coordinates", rows[row].name)) row++;
  return rows[row].map(axis, loop_cast(&axis->lower->loops, index_reg(axis->lower, at), DTYPE_F64));
}

/* ---- taps ---- */

/* The positions along one axis that an element of the result is mixed from. */
typedef struct Taps {
  int count;
  Index *at;
  Reg **weight; /* f64 */
  Reg *outside; /* bool: the coordinate left x and the value is the extrapolation; NULL: cannot be */
} Taps;

static Taps taps_new(Lower *lower, int count) {
  Arena *arena = lower->module->arena;
  return (Taps){
      .count = count, .at = NEW_ARRAY(arena, Index, count), .weight = NEW_ARRAY(arena, Reg *, count)};
}

/* Whole number `position` (f64) as an index inside x. */
static Index clamped(const Axis *axis, Reg *position, int64_t offset) {
  Loops *loops = &axis->lower->loops;
  Reg *i = loop_cast(loops, position, DTYPE_I64);
  Index at = i->type.lanes == 1 ? index_of(i) : (Index){.vector = i};
  Reg *size = loop_dim(loops, operand(axis->node, 0)->type->dims[axis->number]);
  Reg *last = loop_binary(loops, LOOP_SUB, size, loop_int(loops, 1));
  return index_clamp(axis->lower, index_add_const(axis->lower, at, offset), index_const(axis->lower, 0),
                     index_of(last));
}

/* The whole factor by which nearest repeats elements, or 0. Then every coordinate that is rounded lies off
 * the middle between two elements, and the position is simply at / factor. */
static int64_t whole_factor(const Node *node, int axis) {
  const Dim *in = operand(node, 0)->type->dims[axis], *out = result(node, 0)->type->dims[axis];
  if (!dim_is_const(in) || !dim_is_const(out) || in->value < 1 || out->value % in->value != 0) return 0;
  int64_t factor = out->value / in->value;
  double scale = given_scale(node, axis);
  if (scale != 0 && scale != (double)factor) return 0;
  bool rounds = node_string_is(node, "nearest", "round_prefer_floor") ||
                node_string_is(node, "nearest", "round_prefer_ceil");
  if (node_string_is(node, "coordinates", "half_pixel")) return rounds ? factor : 0;
  bool floors = node_string_is(node, "nearest", "floor");
  return floors && node_string_is(node, "coordinates", "asymmetric") ? factor : 0;
}

static Index nearest_position(const Axis *axis, Reg *x) {
  Loops *loops = &axis->lower->loops;
  if (node_string_is(axis->node, "nearest", "floor"))
    return clamped(axis, loop_unary(loops, LOOP_FLOOR, x), 0);
  if (node_string_is(axis->node, "nearest", "ceil")) return clamped(axis, loop_unary(loops, LOOP_CEIL, x), 0);
  if (node_string_is(axis->node, "nearest", "round_prefer_ceil"))
    return clamped(axis, loop_unary(loops, LOOP_FLOOR, plus(axis, x, 0.5)), 0);
  return clamped(axis, loop_unary(loops, LOOP_CEIL, plus(axis, x, -0.5)), 0);
}

/* (x*factor + plus), in the dtype of x. */
static Reg *linear(Lower *lower, Reg *x, double factor, double plus) {
  Reg *scaled = loop_binary(&lower->loops, LOOP_MUL, x, constant_like(lower, x, factor));
  return loop_binary(&lower->loops, LOOP_ADD, scaled, constant_like(lower, x, plus));
}

/* Value at distance d of the cubic kernel: inner for d <= 1, outer for 1 <= d <= 2 (Keys 1981). */
static Reg *cubic_inner(Lower *lower, Reg *d, double a) {
  Loops *loops = &lower->loops;
  Reg *slope = linear(lower, d, a + 2, -(a + 3));
  Reg *cubed = loop_binary(loops, LOOP_MUL, loop_binary(loops, LOOP_MUL, slope, d), d);
  return loop_binary(loops, LOOP_ADD, cubed, constant_like(lower, d, 1));
}

static Reg *cubic_outer(Lower *lower, Reg *d, double a) {
  Loops *loops = &lower->loops;
  Reg *sum = linear(lower, d, a, -5 * a);
  sum = loop_binary(loops, LOOP_ADD, loop_binary(loops, LOOP_MUL, sum, d), constant_like(lower, d, 8 * a));
  return loop_binary(loops, LOOP_ADD, loop_binary(loops, LOOP_MUL, sum, d), constant_like(lower, d, -4 * a));
}

void cubic_weights(Lower *lower, Reg *way, double a, Reg *weights[4]) {
  Reg *rest = linear(lower, way, -1, 1);
  weights[0] = cubic_outer(lower, linear(lower, way, 1, 1), a);
  weights[1] = cubic_inner(lower, way, a);
  weights[2] = cubic_inner(lower, rest, a);
  weights[3] = cubic_outer(lower, linear(lower, rest, 1, 1), a);
}

/* The kernel at a distance of any size. */
static Reg *kernel_at(const Axis *axis, Reg *d) {
  Loops *loops = &axis->lower->loops;
  if (!node_string_is(axis->node, "mode", "cubic"))
    return op2(axis, LOOP_MAX, op2(axis, LOOP_SUB, number(axis, 1), d), number(axis, 0));
  double a = node_float(axis->node, "cubic_coeff");
  Reg *beyond = loop_select(loops, op2(axis, LOOP_LT, d, number(axis, 2)), cubic_outer(axis->lower, d, a),
                            number(axis, 0));
  return loop_select(loops, op2(axis, LOOP_LE, d, number(axis, 1)), cubic_inner(axis->lower, d, a), beyond);
}

/* Weights are divided by their sum. */
static void normalise(const Axis *axis, Taps *taps) {
  Reg *sum = number(axis, 0);
  for (int i = 0; i < taps->count; i++) sum = op2(axis, LOOP_ADD, sum, taps->weight[i]);
  for (int i = 0; i < taps->count; i++) taps->weight[i] = op2(axis, LOOP_DIV, taps->weight[i], sum);
}

/* Taps outside x weigh nothing; tap 0 is `before` elements in front of `floor`. */
static void exclude_outside(const Axis *axis, Reg *floor, int before, Taps *taps) {
  for (int i = 0; i < taps->count; i++) {
    Reg *position = plus(axis, floor, i - before);
    Reg *inside = op2(axis, LOOP_AND, op2(axis, LOOP_GE, position, number(axis, 0)),
                      op2(axis, LOOP_LT, position, axis->in));
    taps->weight[i] = loop_select(&axis->lower->loops, inside, taps->weight[i], number(axis, 0));
  }
}

/* The kernel of width 1 has its weights from the way behind `floor` alone. */
static void narrow_weights(const Axis *axis, Reg *way, Taps *taps) {
  if (taps->count == 4) {
    cubic_weights(axis->lower, way, node_float(axis->node, "cubic_coeff"), taps->weight);
    return;
  }
  taps->weight[0] = op2(axis, LOOP_SUB, number(axis, 1), way);
  taps->weight[1] = way;
}

static void mix_taps(const Axis *axis, Reg *x, Taps *taps) {
  double width = kernel_width(axis->node, result(axis->node, 0)->type, axis->number);
  int side = (int)ceil(kernel_reach(axis->node) * width), before = side - 1;
  Reg *floor = loop_unary(&axis->lower->loops, LOOP_FLOOR, x), *way = op2(axis, LOOP_SUB, x, floor);
  *taps = taps_new(axis->lower, 2 * side);
  for (int i = 0; i < taps->count; i++) taps->at[i] = clamped(axis, floor, i - before);
  if (width == 1)
    narrow_weights(axis, way, taps);
  else
    for (int i = 0; i < taps->count; i++) {
      Reg *distance = loop_unary(&axis->lower->loops, LOOP_ABS, plus(axis, way, before - i));
      taps->weight[i] = kernel_at(axis, times(axis, distance, 1 / width));
    }
  bool excludes = node_bool(axis->node, "exclude_outside");
  if (excludes) exclude_outside(axis, floor, before, taps);
  if (excludes || width != 1) normalise(axis, taps);
}

static Taps find_taps(Lower *lower, const Node *node, int number_of_axis, Index at) {
  Taps taps = taps_new(lower, 1);
  taps.at[0] = at;
  if (!is_resized(node, number_of_axis)) return taps;
  bool nearest = node_string_is(node, "mode", "nearest");
  int64_t factor = nearest ? whole_factor(node, number_of_axis) : 0;
  if (factor) {
    taps.at[0] = index_div(lower, at, dim_const(lower->module, factor));
    return taps;
  }
  Axis axis = axis_begin(lower, node, number_of_axis);
  Reg *x = coordinate(&axis, at);
  if (nearest)
    taps.at[0] = nearest_position(&axis, x);
  else
    mix_taps(&axis, x, &taps);
  if (crops(node))
    taps.outside = op2(&axis, LOOP_OR, op2(&axis, LOOP_LT, x, number(&axis, 0)),
                       op2(&axis, LOOP_GT, x, plus(&axis, axis.in, -1)));
  return taps;
}

/* ---- meaning ---- */

/* The dtype in which neighbours are mixed. */
static Dtype mixing_dtype(const Node *node) {
  Dtype dtype = operand(node, 0)->type->dtype;
  if (node_string_is(node, "mode", "nearest")) return dtype;
  return dtype_is_float(dtype) ? compute_dtype(dtype) : DTYPE_F32;
}

/* The sum over the taps of `axis` and all behind it, with from[] set for those before. */
static Reg *mix(Lower *lower, const Node *node, const Taps *taps, int axis, Index *from) {
  Loops *loops = &lower->loops;
  if (axis == operand(node, 0)->type->rank)
    return loop_cast(loops, lower_operand(lower, node, 0, from), mixing_dtype(node));
  Reg *sum = NULL;
  for (int i = 0; i < taps[axis].count; i++) {
    from[axis] = taps[axis].at[i];
    Reg *x = mix(lower, node, taps, axis + 1, from);
    if (taps[axis].count == 1) return x;
    x = loop_binary(loops, LOOP_MUL, x, loop_cast(loops, taps[axis].weight[i], x->type.dtype));
    sum = sum ? loop_binary(loops, LOOP_ADD, sum, x) : x;
  }
  return sum;
}

static Reg *resize_element(Lower *lower, const Node *node, int which, const Index *at) {
  Loops *loops = &lower->loops;
  int rank = operand(node, 0)->type->rank;
  Taps taps[MAX_RANK];
  Index from[MAX_RANK];
  for (int i = 0; i < rank; i++) taps[i] = find_taps(lower, node, i, at[i]);
  Reg *y = mix(lower, node, taps, 0, from);
  for (int i = 0; i < rank; i++)
    if (taps[i].outside)
      y = loop_select(loops, taps[i].outside, constant_like(lower, y, node_float(node, "extrapolation")), y);
  return loop_cast(loops, y, result(node, which)->type->dtype);
}

const Op op_resize = {
    .name = "resize",
    .family = "resize",
    .doc = "x resampled to other sizes, as ONNX Resize 19: each element of the result "
           "has a coordinate in x, "
           "whose nearest elements are taken or mixed, axis by axis.",
    .operands = operands_x,
    .operand_count = 1,
    .results = results_y,
    .result_count = 1,
    .attrs = resize_attrs,
    .attr_count = COUNT_OF(resize_attrs),
    .infer = resize_infer,
    .simplify = resize_simplify,
    .axes = resize_axes,
    .element = resize_element,
};
