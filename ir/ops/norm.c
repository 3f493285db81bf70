/*
 * norm.c -- softmax and its logarithm, layer normalisation, batch normalisation.
 *
 * The row ops read a row several times: once for each statistic, once to write. batch_norm is made of other
 * operators, whose constants fold, so that what is left is one multiply and one add per element.
 */
#include "ir/ops/ops.h"

#include <string.h>

static const char *const results_y[] = {"y"};

/* ---- softmax, log_softmax ---- */

static const OperandSpec softmax_operands[] = {{"x", false, "float, any shape with the axis"}};
static const AttrSpec softmax_attrs[] = {
    {"axis", ATTR_INT, ROLE_AXIS, "-1", "whose elements sum to 1", NULL}};

static void softmax_axes(const Node *node, int index, AxisLink *links) {
  axes_same(node, index, links);
  links[node_axis(node, "axis", operand(node, 0)->type->rank)].whole = true;
}

static bool softmax_infer(Node *node) {
  int axis;
  TRY(check_axis(node, "axis", operand(node, 0)->type->rank, &axis));
  return infer_same(node, KIND_FLOAT);
}

/* One row: x - max, its sum of exponentials. `at` is the position, free along the axis. */
typedef struct Row {
  const Node *node;
  bool axes[MAX_RANK];
  Index at[MAX_RANK];
  Reg *max;
} Row;

static Reg *row_read(Lower *lower, const Row *row) {
  return compute(lower, lower_operand(lower, row->node, 0, row->at));
}

static Reg *row_shifted(Lower *lower, const Row *row) {
  return loop_binary(&lower->loops, LOOP_SUB, row_read(lower, row), row->max);
}

static Reg *row_max(Lower *lower, Row *row) {
  Reg *start = lowest(lower, compute_dtype(operand(row->node, 0)->type->dtype));
  Nest nest = nest_begin(1, &start);
  nest_reduce(lower, &nest, operand(row->node, 0), row->axes, row->at);
  nest.carried[0] = max_nan(lower, nest.carried[0], row_read(lower, row));
  nest_end(lower, &nest);
  return nest.carried[0];
}

static Reg *row_sum(Lower *lower, Row *row) {
  Loops *loops = &lower->loops;
  Reg *start = constant_like(lower, row->max, 0);
  Nest nest = nest_begin(1, &start);
  nest_reduce(lower, &nest, operand(row->node, 0), row->axes, row->at);
  Reg *e = loop_unary(loops, LOOP_EXP, row_shifted(lower, row));
  nest.carried[0] = loop_binary(loops, LOOP_ADD, nest.carried[0], e);
  nest_end(lower, &nest);
  return nest.carried[0];
}

static void softmax_nest(Lower *lower, const Node *node) {
  Loops *loops = &lower->loops;
  Value *x = operand(node, 0);
  bool is_log = node_is(node, &op_log_softmax);
  Row row = {.node = node};
  row.axes[node_axis(node, "axis", x->type->rank)] = true;
  Nest outer = nest_over(lower, x, row.axes, row.at);
  row.max = row_max(lower, &row);
  Reg *sum = row_sum(lower, &row);
  Reg *log = is_log ? loop_unary(loops, LOOP_LOG, sum) : NULL;
  Nest inner = nest_begin(0, NULL);
  nest_reduce(lower, &inner, x, row.axes, row.at);
  Reg *shifted = row_shifted(lower, &row);
  Reg *y = is_log ? loop_binary(loops, LOOP_SUB, shifted, log)
                  : loop_binary(loops, LOOP_DIV, loop_unary(loops, LOOP_EXP, shifted), sum);
  lower_result(lower, 0, row.at, loop_cast(loops, y, x->type->dtype));
  nest_end(lower, &inner);
  nest_end(lower, &outer);
}

#define SOFTMAX(NAME, DOC)                                                                                   \
  .name = NAME, .family = "norm", .doc = DOC, .operands = softmax_operands, .operand_count = 1,              \
  .results = results_y, .result_count = 1, .attrs = softmax_attrs, .attr_count = COUNT_OF(softmax_attrs),    \
  .infer = softmax_infer, .axes = softmax_axes, .nest = softmax_nest

const Op op_softmax = {SOFTMAX(
    "softmax", "exp(x - max) / sum(exp(x - max)) along the axis, where max keeps it from overflowing.")};
const Op op_log_softmax = {
    SOFTMAX("log_softmax", "x - max - log(sum(exp(x - max))) along the axis: the logarithm of softmax.")};

/* ---- layer_norm ---- */

static const OperandSpec layer_norm_operands[] = {{"x", false, "float"},
                                                  {"scale", true, "broadcasts to the shape of x; absent: 1"},
                                                  {"bias", true, "broadcasts to the shape of x; absent: 0"}};

static const AttrSpec layer_norm_attrs[] = {
    {"axis", ATTR_INT, ROLE_NONE, "-1", "the first axis that is normalised over; all behind it are, too",
     NULL},
    {"epsilon", ATTR_FLOAT, ROLE_NONE, "1e-05", "added to the variance", NULL},
    {"center", ATTR_BOOL, ROLE_NONE, "true", "false: mean is taken as 0, which is RMS norm", NULL}};

static bool layer_norm_infer(Node *node) {
  const Type *x = operand(node, 0)->type;
  int axis;
  TRY(check_kind(node, 0, KIND_FLOAT) && check_axis(node, "axis", x->rank, &axis));
  for (int i = 1; i < node->operand_count; i++) {
    if (!operand(node, i)) continue;
    TRY(check_same_dtype(node, 0, i));
    if (!spreads_to(node, operand(node, i)->type, x))
      return node_fail(node, "%s of shape %s does not broadcast to x of shape %s", node->op->operands[i].name,
                       operand_text(node, i), operand_text(node, 0));
  }
  result_set(node, 0, x);
  return true;
}

/* scale or bias as one row; NULL when it varies over other axes, too. */
static Value *as_row(Builder *builder, Value *value, const Type *x, int axis, const Dim *size) {
  int lead = value->type->rank - (x->rank - axis);
  if (lead < 0) return NULL;
  for (int i = 0; i < value->type->rank; i++) {
    bool fits = i < lead ? dim_is(value->type->dims[i], 1) : value->type->dims[i] == x->dims[axis + i - lead];
    if (!fits) return NULL;
  }
  return build_reshape(builder, value, 1, &size);
}

/* Rows over several axes are rows over one. */
static Value *layer_norm_simplify(Node *node) {
  Module *module = node_module(node);
  Value *operands[3] = {operand(node, 0), operand(node, 1), operand(node, 2)};
  const Type *x = operands[0]->type;
  int axis = (int)node_axis(node, "axis", x->rank);
  if (axis >= x->rank - 1) return NULL;
  const Dim *dims[MAX_RANK], *size = dim_const(module, 1);
  for (int i = 0; i < axis; i++) dims[i] = x->dims[i];
  for (int i = axis; i < x->rank; i++) size = dim_mul(module, size, x->dims[i]);
  dims[axis] = size;
  Builder builder = builder_before(node);
  for (int i = 1; i < 3; i++)
    if (operands[i] && !(operands[i] = as_row(&builder, operands[i], x, axis, size))) return NULL;
  operands[0] = build_reshape(&builder, operands[0], axis + 1, dims);
  Node *norm = node_new(&builder, node->op, operands, 3);
  memcpy(norm->attrs, node->attrs, sizeof node->attrs[0] * (size_t)node->op->attr_count);
  node_set_int(norm, "axis", axis);
  if (!node_finish(norm)) return NULL;
  return value_if_typed(node, build_reshape(&builder, result(norm, 0), x->rank, x->dims));
}

/* The mean over the row of x - center, or of its square. */
static Reg *row_mean(Lower *lower, Row *row, Reg *center, const Dim *count) {
  Loops *loops = &lower->loops;
  Reg *start = loop_const(loops, (LoopType){compute_dtype(operand(row->node, 0)->type->dtype), 1}, 0);
  Nest nest = nest_begin(1, &start);
  nest_reduce(lower, &nest, operand(row->node, 0), row->axes, row->at);
  Reg *x = row_read(lower, row);
  if (center) {
    x = loop_binary(loops, LOOP_SUB, x, center);
    x = loop_binary(loops, LOOP_MUL, x, x);
  }
  nest.carried[0] = loop_binary(loops, LOOP_ADD, nest.carried[0], x);
  nest_end(lower, &nest);
  return loop_binary(loops, LOOP_DIV, nest.carried[0],
                     loop_cast(loops, loop_dim(loops, count), start->type.dtype));
}

static void layer_norm_nest(Lower *lower, const Node *node) {
  Loops *loops = &lower->loops;
  Value *x = operand(node, 0);
  const Dim *count = dim_const(lower->module, 1);
  Row row = {.node = node};
  for (int i = (int)node_axis(node, "axis", x->type->rank); i < x->type->rank; i++) {
    row.axes[i] = true;
    count = dim_mul(lower->module, count, x->type->dims[i]);
  }
  Nest outer = nest_over(lower, x, row.axes, row.at);
  Reg *zero = loop_const(loops, (LoopType){compute_dtype(x->type->dtype), 1}, 0);
  Reg *mean = node_bool(node, "center") ? row_mean(lower, &row, NULL, count) : zero;
  Reg *variance = row_mean(lower, &row, mean, count);
  variance =
      loop_binary(loops, LOOP_ADD, variance, constant_like(lower, variance, node_float(node, "epsilon")));
  Reg *inverse =
      loop_binary(loops, LOOP_DIV, constant_like(lower, mean, 1), loop_unary(loops, LOOP_SQRT, variance));
  Nest inner = nest_begin(0, NULL);
  nest_reduce(lower, &inner, x, row.axes, row.at);
  Reg *y = loop_binary(loops, LOOP_MUL, loop_binary(loops, LOOP_SUB, row_read(lower, &row), mean), inverse);
  if (operand(node, 1))
    y = loop_binary(loops, LOOP_MUL, y, compute(lower, lower_broadcast(lower, node, 1, row.at)));
  if (operand(node, 2))
    y = loop_binary(loops, LOOP_ADD, y, compute(lower, lower_broadcast(lower, node, 2, row.at)));
  lower_result(lower, 0, row.at, loop_cast(loops, y, x->type->dtype));
  nest_end(lower, &inner);
  nest_end(lower, &outer);
}

/* Normalised axes must stay the last ones, in their order: nobody may move them. */
static void layer_norm_axes(const Node *node, int index, AxisLink *links) {
  axes_broadcast(node, index, links);
  int rank = operand(node, index)->type->rank, shift = result(node, 0)->type->rank - rank;
  int first = (int)node_axis(node, "axis", rank + shift) - shift;
  for (int i = first < 0 ? 0 : first; i < rank; i++)
    links[i] = (AxisLink){.role = AXIS_OPAQUE, .axis = -1, .whole = true};
}

const Op op_layer_norm = {
    .name = "layer_norm",
    .family = "norm",
    .doc = "(x - mean) / sqrt(variance + epsilon) * scale + bias, with mean and variance of the axes from "
           "`axis` on (Ba 2016); with mean 0, RMS norm (Zhang and Sennrich 2019).",
    .operands = layer_norm_operands,
    .operand_count = COUNT_OF(layer_norm_operands),
    .results = results_y,
    .result_count = 1,
    .attrs = layer_norm_attrs,
    .attr_count = COUNT_OF(layer_norm_attrs),
    .infer = layer_norm_infer,
    .simplify = layer_norm_simplify,
    .axes = layer_norm_axes,
    .nest = layer_norm_nest,
};

/* ---- batch_norm ---- */

static const OperandSpec batch_norm_operands[] = {{"x", false, "float; c is the size of its axis"},
                                                  {"scale", false, "[c]"},
                                                  {"bias", false, "[c]"},
                                                  {"mean", false, "[c]"},
                                                  {"variance", false, "[c]"}};

static const AttrSpec batch_norm_attrs[] = {
    {"axis", ATTR_INT, ROLE_AXIS, "1", "the axis of the channels", NULL},
    {"epsilon", ATTR_FLOAT, ROLE_NONE, "1e-05", "added to the variance", NULL}};

static bool batch_norm_infer(Node *node) {
  const Type *x = operand(node, 0)->type;
  int axis;
  TRY(check_axis(node, "axis", x->rank, &axis));
  for (int i = 1; i < node->operand_count; i++) {
    TRY(check_same_dtype(node, 0, i) && check_rank(node, i, 1));
    if (!sizes_agree(node, operand(node, i)->type->dims[0], x->dims[axis]))
      return node_fail(node, "%s is %s; axis %d of x, %s, has another size", node->op->operands[i].name,
                       operand_text(node, i), axis, operand_text(node, 0));
  }
  return infer_same(node, KIND_FLOAT);
}

static void batch_norm_axes(const Node *node, int index, AxisLink *links) {
  axes_same(node, index, links);
  if (index > 0) links[0].axis = (int)node_axis(node, "axis", operand(node, 0)->type->rank);
}

/* A vector of channels as a shape that broadcasts to x: [c, 1, 1..]. */
static Value *along_axis(Builder *builder, const Node *node, Value *vector) {
  const Dim *dims[MAX_RANK];
  int rank = operand(node, 0)->type->rank, count = rank - (int)node_axis(node, "axis", rank);
  for (int i = 0; i < count; i++) dims[i] = i == 0 ? vector->type->dims[0] : dim_const(node_module(node), 1);
  return build_reshape(builder, vector, count, dims);
}

static bool batch_norm_expand(Node *node, Value **results) {
  Builder builder = builder_before(node);
  Value *x = operand(node, 0), *scale = operand(node, 1), *bias = operand(node, 2), *mean = operand(node, 3);
  Value *epsilon = build_scalar(&builder, x->type->dtype, node_float(node, "epsilon"));
  Value *variance = build_binary(&builder, &op_add, operand(node, 4), epsilon);
  Value *factor = build_binary(&builder, &op_div, scale, build_unary(&builder, &op_sqrt, variance));
  Value *offset = build_binary(&builder, &op_sub, bias, build_binary(&builder, &op_mul, mean, factor));
  Value *scaled = build_binary(&builder, &op_mul, x, along_axis(&builder, node, factor));
  results[0] = build_binary(&builder, &op_add, scaled, along_axis(&builder, node, offset));
  return results[0] != NULL;
}

const Op op_batch_norm = {
    .name = "batch_norm",
    .family = "norm",
    .doc = "(x - mean) / sqrt(variance + epsilon) * scale + bias per channel, with given statistics (Ioffe "
           "and Szegedy 2015).",
    .operands = batch_norm_operands,
    .operand_count = COUNT_OF(batch_norm_operands),
    .results = results_y,
    .result_count = 1,
    .attrs = batch_norm_attrs,
    .attr_count = COUNT_OF(batch_norm_attrs),
    .infer = batch_norm_infer,
    .axes = batch_norm_axes,
    .expand = batch_norm_expand,
};
