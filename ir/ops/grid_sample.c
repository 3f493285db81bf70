/*
 * grid_sample.c -- elements of x at positions that a grid gives, as ONNX GridSample 20.
 *
 * For every spatial axis a position becomes taps, 1 (nearest), 2 (linear) or 4 (cubic), and padding says what
 * lies at a tap outside x. Positions are whole numbers in floats until they are indices: what no index can
 * hold stays outside. The grid counts its coordinates from the last axis of x to the first.
 */
#include "ir/ops/ops.h"

#include <string.h>

enum { MAX_TAPS = 4, MAX_MIXED = 256 };

static const OperandSpec grid_sample_operands[] = {
    {"x", false, "[n, c, spatial..]; numbers, for nearest any dtype"},
    {"grid", false, "[n, .., s]: a position in the s spatial axes of x, the last axis first; floats"}};
static const char *const results_y[] = {"y"};

static const AttrSpec grid_sample_attrs[] = {
    {"mode", ATTR_STRING, ROLE_NONE, "linear", "how many neighbours are mixed", "nearest|linear|cubic"},
    {"padding", ATTR_STRING, ROLE_NONE, "zeros",
     "what lies outside x: nothing, its edge, or its mirror image", "zeros|border|reflection"},
    {"coordinates", ATTR_STRING, ROLE_NONE, "half_pixel",
     "what the grid says: -1 and 1 are the outer edges of the first and last element, or their centres; or "
     "elements are counted from 0",
     "half_pixel|align_corners|pixels"}};

static int spatial_rank(const Node *node) {
  return operand(node, 0)->type->rank - 2;
}

static int tap_count(const Node *node) {
  return node_string_is(node, "mode", "nearest") ? 1 : node_string_is(node, "mode", "linear") ? 2 : 4;
}

static bool grid_sample_infer(Node *node) {
  const Type *x = operand(node, 0)->type, *grid = operand(node, 1)->type;
  int spatial = x->rank - 2, mixed = 1;
  const Dim *dims[MAX_RANK];
  if (spatial < 1)
    return node_fail(node, "x is %s; it must have batch, channel and spatial axes", operand_text(node, 0));
  if (tap_count(node) > 1) TRY(check_kind(node, 0, KIND_NUMBER));
  TRY(check_kind(node, 1, KIND_FLOAT));
  for (int i = 0; i < spatial && mixed <= MAX_MIXED; i++) mixed *= tap_count(node);
  if (mixed > MAX_MIXED)
    return node_fail(node, "x is %s; more than %d elements would be mixed", operand_text(node, 0), MAX_MIXED);
  if (grid->rank < 2 || !dim_is(grid->dims[grid->rank - 1], spatial))
    return node_fail(node, "grid is %s; its last axis must have %d elements", operand_text(node, 1), spatial);
  if (!sizes_agree(node, x->dims[0], grid->dims[0]))
    return node_fail(node, "x is %s and grid is %s; their batches differ", operand_text(node, 0),
                     operand_text(node, 1));
  for (int i = 2; i < x->rank; i++)
    if (dim_is(x->dims[i], 0)) return node_fail(node, "axis %d of x, %s, is empty", i, operand_text(node, 0));
  dims[0] = dim_is_const(x->dims[0]) ? x->dims[0] : grid->dims[0];
  dims[1] = x->dims[1];
  for (int i = 1; i < grid->rank - 1; i++) dims[i + 1] = grid->dims[i];
  result_set(node, 0, type_make(node_module(node), x->dtype, grid->rank, dims));
  return true;
}

static void grid_sample_axes(const Node *node, int index, AxisLink *links) {
  axes_opaque(node, index, links);
  links[0] = axis_link(AXIS_SAME, 0);
  if (index == 0) links[1] = axis_link(AXIS_SAME, 1);
  for (int i = 1; index == 1 && i < operand(node, 1)->type->rank - 1; i++)
    links[i] = axis_link(AXIS_SAME, i + 1);
}

/* ---- one spatial axis ---- */

typedef struct Axis {
  Lower *lower;
  const Node *node;
  const Dim *dim;
  Reg *size;       /* in the dtype of the positions */
  Reg *low, *high; /* the borders of x */
} Axis;

static Reg *op2(const Axis *axis, Opcode op, Reg *x, Reg *y) {
  return loop_binary(&axis->lower->loops, op, x, y);
}

static Reg *number(const Axis *axis, double value) {
  return constant_like(axis->lower, axis->size, value);
}

static Reg *plus(const Axis *axis, Reg *x, double value) {
  return op2(axis, LOOP_ADD, x, number(axis, value));
}

static Axis axis_begin(Lower *lower, const Node *node, int spatial, Dtype dtype) {
  Axis axis = {.lower = lower, .node = node, .dim = operand(node, 0)->type->dims[2 + spatial]};
  axis.size = loop_cast(&lower->loops, loop_dim(&lower->loops, axis.dim), dtype);
  double half = node_string_is(node, "coordinates", "half_pixel") ? 0.5 : 0;
  axis.low = number(&axis, -half);
  axis.high = plus(&axis, axis.size, half - 1);
  return axis;
}

/* The grid's number as a position in elements. */
static Reg *position(const Axis *axis, Reg *g) {
  if (node_string_is(axis->node, "coordinates", "pixels")) return g;
  Reg *from_low = op2(axis, LOOP_MUL, plus(axis, g, 1), op2(axis, LOOP_SUB, axis->high, axis->low));
  return op2(axis, LOOP_ADD, op2(axis, LOOP_MUL, from_low, number(axis, 0.5)), axis->low);
}

static Reg *clamp(const Axis *axis, Reg *p) {
  return op2(axis, LOOP_MAX, op2(axis, LOOP_MIN, p, plus(axis, axis->size, -1)), number(axis, 0));
}

/* Mirrored at the borders until it lies between them: the distance from `low` has the period of two widths.
 */
static Reg *reflect(const Axis *axis, Reg *p) {
  Loops *loops = &axis->lower->loops;
  Reg *width = op2(axis, LOOP_SUB, axis->high, axis->low);
  Reg *period = op2(axis, LOOP_MAX, op2(axis, LOOP_MUL, width, number(axis, 2)), number(axis, 1));
  Reg *distance = loop_unary(loops, LOOP_ABS, op2(axis, LOOP_SUB, p, axis->low));
  Reg *turns = loop_unary(loops, LOOP_FLOOR, op2(axis, LOOP_DIV, distance, period));
  Reg *rest = op2(axis, LOOP_SUB, distance, op2(axis, LOOP_MUL, turns, period));
  return op2(axis, LOOP_ADD, op2(axis, LOOP_MIN, rest, op2(axis, LOOP_SUB, period, rest)), axis->low);
}

static Reg *padded(const Axis *axis, Reg *p) {
  if (node_string_is(axis->node, "padding", "zeros")) return p;
  return node_string_is(axis->node, "padding", "border") ? clamp(axis, p) : reflect(axis, p);
}

typedef struct Taps {
  int count;
  Index at[MAX_TAPS];
  Reg *inside[MAX_TAPS]; /* NULL: always */
  Reg *weight[MAX_TAPS];
} Taps;

static void set_tap(const Axis *axis, Taps *taps, Reg *p) {
  int i = taps->count++;
  if (node_string_is(axis->node, "padding", "zeros"))
    taps->inside[i] =
        op2(axis, LOOP_AND, op2(axis, LOOP_GE, p, number(axis, 0)), op2(axis, LOOP_LT, p, axis->size));
  else
    p = padded(axis, p);
  Reg *index = loop_cast(&axis->lower->loops, clamp(axis, p), DTYPE_I64);
  taps->at[i] = index->type.lanes == 1 ? index_of(index) : (Index){.vector = index};
}

static Taps find_taps(const Axis *axis, Reg *g) {
  Loops *loops = &axis->lower->loops;
  Taps taps = {0};
  Reg *p = position(axis, g);
  int count = tap_count(axis->node);
  if (count == 1) {
    set_tap(axis, &taps, loop_unary(loops, LOOP_ROUND, p));
    return taps;
  }
  Reg *floor = loop_unary(loops, LOOP_FLOOR, p), *way = op2(axis, LOOP_SUB, p, floor);
  for (int i = 0; i < count; i++) set_tap(axis, &taps, plus(axis, floor, i - (count / 2 - 1)));
  if (count == 4) {
    cubic_weights(axis->lower, way, -0.75, taps.weight);
  } else {
    taps.weight[0] = op2(axis, LOOP_SUB, number(axis, 1), way);
    taps.weight[1] = way;
  }
  return taps;
}

/* ---- meaning ---- */

static Dtype mixing_dtype(const Node *node) {
  Dtype dtype = operand(node, 0)->type->dtype;
  if (tap_count(node) == 1) return dtype;
  return dtype_is_float(dtype) ? compute_dtype(dtype) : DTYPE_F32;
}

/* The sum over the taps of spatial axis `axis` and those behind it. */
static Reg *mix(Lower *lower, const Node *node, const Taps *taps, int axis, Index *from) {
  Loops *loops = &lower->loops;
  if (axis == spatial_rank(node))
    return loop_cast(loops, lower_operand(lower, node, 0, from), mixing_dtype(node));
  Reg *sum = NULL;
  for (int i = 0; i < taps[axis].count; i++) {
    from[2 + axis] = taps[axis].at[i];
    Reg *x = mix(lower, node, taps, axis + 1, from);
    if (taps[axis].inside[i])
      x = loop_select(loops, taps[axis].inside[i], x, loop_const(loops, (LoopType){x->type.dtype, 1}, 0));
    if (taps[axis].weight[i])
      x = loop_binary(loops, LOOP_MUL, x, loop_cast(loops, taps[axis].weight[i], x->type.dtype));
    sum = sum ? loop_binary(loops, LOOP_ADD, sum, x) : x;
  }
  return sum;
}

static Reg *grid_sample_element(Lower *lower, const Node *node, int which, const Index *at) {
  int spatial = spatial_rank(node), grid_rank = operand(node, 1)->type->rank;
  Taps taps[MAX_RANK];
  Index from[MAX_RANK], grid_at[MAX_RANK];
  grid_at[0] = from[0] = at[0];
  from[1] = at[1];
  for (int i = 1; i < grid_rank - 1; i++) grid_at[i] = at[i + 1];
  for (int i = 0; i < spatial; i++) {
    grid_at[grid_rank - 1] = index_const(lower, spatial - 1 - i);
    Reg *g = compute(lower, lower_operand(lower, node, 1, grid_at));
    Axis axis = axis_begin(lower, node, i, g->type.dtype);
    taps[i] = find_taps(&axis, g);
  }
  Reg *y = mix(lower, node, taps, 0, from);
  return loop_cast(&lower->loops, y, result(node, which)->type->dtype);
}

const Op op_grid_sample = {
    .name = "grid_sample",
    .family = "grid_sample",
    .doc =
        "Elements of every channel of x at the positions of the grid, taken or mixed from their neighbours "
        "(ONNX GridSample 20). Cubic has a = -0.75 (Keys 1981); integers are mixed in f32 and truncated.",
    .operands = grid_sample_operands,
    .operand_count = COUNT_OF(grid_sample_operands),
    .results = results_y,
    .result_count = 1,
    .attrs = grid_sample_attrs,
    .attr_count = COUNT_OF(grid_sample_attrs),
    .infer = grid_sample_infer,
    .axes = grid_sample_axes,
    .element = grid_sample_element,
};
