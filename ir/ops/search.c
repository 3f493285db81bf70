/*
 * search.c -- what is found by comparing elements with each other: the meanings are functions of
 * runtime/kernels/.
 *
 * How much is found depends on the data. Such results are as large as they can get, padded with 0, and
 * `count` says how much of them is meant.
 *
 * Elements are in the order of numpy's sort: NaN behind everything else, and all NaNs equal; so are 0 and -0.
 */
#include "ir/ops/ops.h"

static const Type *scalar_i64(const Node *node) {
  return type_scalar(node_module(node), DTYPE_I64);
}

static const Type *vector_i64(const Node *node, const Dim *size) {
  return type_make(node_module(node), DTYPE_I64, 1, &size);
}

/* ---- top_k ---- */

static const OperandSpec top_k_operands[] = {{"x", false, "at least one axis; numbers"}};
static const char *const top_k_results[] = {"values", "indices"};
static const AttrSpec top_k_attrs[] = {
    {"k", ATTR_DIMS, ROLE_NONE, NULL, "one size: how many", NULL},
    {"axis", ATTR_INT, ROLE_AXIS, "-1", "along which elements compete", NULL},
    {"largest", ATTR_BOOL, ROLE_NONE, "true", "the largest elements, not the smallest", NULL}};

static bool top_k_infer(Node *node) {
  const Type *x = operand(node, 0)->type;
  const Dim *dims[MAX_RANK];
  int axis, count;
  const Dim *const *k = node_dims(node, "k", &count);
  TRY(check_kind(node, 0, KIND_NUMBER) && check_axis(node, "axis", x->rank, &axis));
  TRY(check_count(node, "k", count, 1) && check_sizes(node, "k", k, 1));
  if (dim_is_const(k[0]) && dim_is_const(x->dims[axis]) && k[0]->value > x->dims[axis]->value)
    return node_fail(node, "k is %lld, more than axis %d of x, %s, has", (long long)k[0]->value, axis,
                     operand_text(node, 0));
  for (int i = 0; i < x->rank; i++) dims[i] = i == axis ? k[0] : x->dims[i];
  result_set(node, 0, type_make(node_module(node), x->dtype, x->rank, dims));
  result_set(node, 1, type_make(node_module(node), DTYPE_I64, x->rank, dims));
  return true;
}

static void top_k_axes(const Node *node, int index, AxisLink *links) {
  axes_same(node, index, links);
  links[node_axis(node, "axis", operand(node, 0)->type->rank)] = axis_link(AXIS_OPAQUE, -1);
}

const Op op_top_k = {
    .name = "top_k",
    .family = "search",
    .doc =
        "The k largest (or smallest) elements along an axis, best first, and where they are (i64). Of equal "
        "elements the earlier is better. NaN counts as the largest. What k has more than the axis is 0.",
    .operands = top_k_operands,
    .operand_count = COUNT_OF(top_k_operands),
    .results = top_k_results,
    .result_count = COUNT_OF(top_k_results),
    .attrs = top_k_attrs,
    .attr_count = COUNT_OF(top_k_attrs),
    .infer = top_k_infer,
    .axes = top_k_axes,
    .call = "top_k",
};

/* ---- non_zero ---- */

static const OperandSpec non_zero_operands[] = {{"x", false, "any shape; numbers or bools"}};
static const char *const non_zero_results[] = {"positions", "count"};

static bool non_zero_infer(Node *node) {
  Module *module = node_module(node);
  const Type *x = operand(node, 0)->type;
  TRY(check_kind(node, 0, KIND_NUMBER | KIND_BOOL));
  const Dim *dims[] = {dim_const(module, x->rank), type_count(module, x)};
  result_set(node, 0, type_make(module, DTYPE_I64, 2, dims));
  result_set(node, 1, scalar_i64(node));
  return true;
}

const Op op_non_zero = {
    .name = "non_zero",
    .family = "search",
    .doc = "Where x is not 0 (NaN is not): a column of positions[rank of x, elements of x] for each such "
           "element, "
           "in row-major order, and how many there are. i64; the columns behind the count are 0.",
    .operands = non_zero_operands,
    .operand_count = COUNT_OF(non_zero_operands),
    .results = non_zero_results,
    .result_count = COUNT_OF(non_zero_results),
    .infer = non_zero_infer,
    .axes = axes_opaque,
    .call = "non_zero",
};

/* ---- unique ---- */

static const OperandSpec unique_operands[] = {{"x", false, "at least one axis; numbers or bools"}};
static const char *const unique_results[] = {"values", "first", "inverse", "counts", "count"};
static const AttrSpec unique_attrs[] = {
    {"axis", ATTR_INT, ROLE_AXIS, NULL, "along which the slices lie", NULL},
    {"sorted", ATTR_BOOL, ROLE_NONE, "true", "in ascending order, not in that of their first appearance",
     NULL}};

static bool unique_infer(Node *node) {
  const Type *x = operand(node, 0)->type;
  int axis;
  TRY(check_kind(node, 0, KIND_NUMBER | KIND_BOOL) && check_axis(node, "axis", x->rank, &axis));
  result_set(node, 0, x);
  for (int i = 1; i < 4; i++) result_set(node, i, vector_i64(node, x->dims[axis]));
  result_set(node, 4, scalar_i64(node));
  return true;
}

const Op op_unique = {
    .name = "unique",
    .family = "search",
    .doc =
        "The distinct slices of x along an axis, compared element by element in row-major order. values: "
        "each of "
        "them once; first: where it stands first; counts: how often; inverse: for every slice of x which of "
        "them it is; count: how many there are. All but values are i64; what is behind the count is 0 in "
        "values, first and counts.",
    .operands = unique_operands,
    .operand_count = COUNT_OF(unique_operands),
    .results = unique_results,
    .result_count = COUNT_OF(unique_results),
    .attrs = unique_attrs,
    .attr_count = COUNT_OF(unique_attrs),
    .infer = unique_infer,
    .axes = axes_opaque,
    .call = "unique",
};

/* ---- non_max_suppression ---- */

enum { BOXES, SCORES, ORDER, LIMIT, OVERLAP, SCORE };

static const OperandSpec nms_operands[] = {
    {"boxes", false, "f32[batch, box, 4]"},
    {"scores", false, "f32[batch, class, box], falling: the values of a top_k of all boxes"},
    {"order", false, "i64, as scores: the indices of that top_k"},
    {"max_boxes", false, "i64: that are kept of a class, at most"},
    {"max_overlap", false, "f32: intersection over union, up to which both boxes may stay"},
    {"min_score", false, "f32: only boxes of a higher score are kept"}};
static const char *const nms_results[] = {"kept", "count"};
static const AttrSpec nms_attrs[] = {{"center_point_box", ATTR_BOOL, ROLE_NONE, "false",
                                      "a box is its center and its two sizes, not two opposite corners",
                                      NULL}};

static bool check_dtype(const Node *node, int index, Dtype dtype) {
  Dtype have = operand(node, index)->type->dtype;
  if (have == dtype) return true;
  return node_fail(node, "%s is %s; it must be %s", node->op->operands[index].name, dtype_name(have),
                   dtype_name(dtype));
}

static bool check_equal_axes(const Node *node, int a, int axis_a, int b, int axis_b) {
  if (sizes_agree(node, operand(node, a)->type->dims[axis_a], operand(node, b)->type->dims[axis_b]))
    return true;
  return node_fail(node, "axis %d of %s, %s, is not axis %d of %s, %s", axis_a, node->op->operands[a].name,
                   operand_text(node, a), axis_b, node->op->operands[b].name, operand_text(node, b));
}

static bool check_nms(const Node *node) {
  for (int i = BOXES; i <= ORDER; i++) TRY(check_rank(node, i, 3));
  for (int i = LIMIT; i <= SCORE; i++) TRY(check_rank(node, i, 0));
  for (int i = BOXES; i <= SCORE; i++)
    TRY(check_dtype(node, i, i == ORDER || i == LIMIT ? DTYPE_I64 : DTYPE_F32));
  for (int axis = 0; axis < 3; axis++) TRY(check_equal_axes(node, ORDER, axis, SCORES, axis));
  TRY(check_equal_axes(node, SCORES, 0, BOXES, 0) && check_equal_axes(node, SCORES, 2, BOXES, 1));
  const Dim *corners = operand(node, BOXES)->type->dims[2];
  if (dim_is(corners, 4)) return true;
  return node_fail(node, "the last axis of boxes, %s, has not 4 elements", operand_text(node, BOXES));
}

/* Of a class: all, or the limit if it is known. */
static const Dim *most_boxes(const Node *node) {
  Module *module = node_module(node);
  const Dim *boxes = operand(node, BOXES)->type->dims[1];
  int count;
  const Dim *const *limit = value_known(operand(node, LIMIT), &count);
  if (!limit) return boxes;
  return dim_make(module, DIM_MIN, boxes, dim_make(module, DIM_MAX, limit[0], dim_const(module, 0)));
}

static bool nms_infer(Node *node) {
  Module *module = node_module(node);
  TRY(check_nms(node));
  const Type *scores = operand(node, SCORES)->type;
  const Dim *searches = dim_mul(module, scores->dims[0], scores->dims[1]);
  const Dim *dims[] = {dim_mul(module, searches, most_boxes(node)), dim_const(module, 3)};
  result_set(node, 0, type_make(module, DTYPE_I64, 2, dims));
  result_set(node, 1, scalar_i64(node));
  return true;
}

const Op op_non_max_suppression = {
    .name = "non_max_suppression",
    .family = "search",
    .doc =
        "For each batch and class the best boxes of which none overlaps another too much: in falling order "
        "of "
        "their scores each box is kept whose intersection over union with every box kept before is at most "
        "max_overlap. kept: a row {batch, class, box} for each; count: how many rows. i64; the rows behind "
        "the "
        "count are 0.",
    .operands = nms_operands,
    .operand_count = COUNT_OF(nms_operands),
    .results = nms_results,
    .result_count = COUNT_OF(nms_results),
    .attrs = nms_attrs,
    .attr_count = COUNT_OF(nms_attrs),
    .infer = nms_infer,
    .axes = axes_opaque,
    .call = "non_max_suppression",
};
