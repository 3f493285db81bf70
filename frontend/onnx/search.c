/*
 * search.c -- ONNX operators that compare elements with each other. How much they find depends on the data:
 * the core operators give as much as there can be and a count, which is bound to a size.
 */
#include "frontend/onnx/onnx.h"

#include <math.h>

/* How many: an attribute before opset 10, then an input. `sorted` is not asked: sorted is as good an order as
 * any. */
static bool read_k(OnnxNode *node, const Dim **k) {
  const Dim *const *dims;
  int count;
  if (node->row->since < 10) {
    *k = dim_const(node->module, attr_int(node, "k", -1));
    return true;
  }
  TRY(input_dims(node, 1, "K", &dims, &count));
  if (count != 1) return onnx_fail(node, "K has %d elements, one is wanted", count);
  *k = dims[0];
  return true;
}

static bool import_top_k(OnnxNode *node) {
  const Dim *k;
  TRY(read_k(node, &k));
  Node *core = node_new(&node->builder, &op_top_k, node->inputs, 1);
  node_set_dims(core, "k", &k, 1);
  node_set_int(core, "axis", attr_int(node, "axis", -1));
  node_set_bool(core, "largest", attr_bool(node, "largest", true));
  TRY(node_finish(core));
  for (int i = 0; i < node->output_count && i < core->result_count; i++) node->outputs[i] = result(core, i);
  return true;
}

/* ---- What is found */

/* The first `count` positions along an axis. */
static Value *first_of(OnnxNode *node, Value *x, int axis, Value *count) {
  const Dim *starts[MAX_RANK], *sizes[MAX_RANK], *const *bound;
  int64_t steps[MAX_RANK];
  int ignored;
  if (!x || !bind_sizes(node, count, &bound, &ignored)) return NULL;
  for (int i = 0; i < x->type->rank; i++) {
    starts[i] = dim_const(node->module, 0);
    sizes[i] = i == axis ? bound[0] : x->type->dims[i];
    steps[i] = 1;
  }
  return emit_slice(node, x, starts, sizes, steps);
}

/* A column of positions for each element that is not 0. */
static Value *non_zero(OnnxNode *node, Value *x) {
  Node *core = node_new(&node->builder, &op_non_zero, &x, 1);
  return node_finish(core) ? first_of(node, result(core, 0), 1, result(core, 1)) : NULL;
}

static bool import_non_zero(OnnxNode *node) {
  return set_output(node, non_zero(node, input(node, 0)));
}

/* Slices of x where the condition, which may be shorter, is true. */
static bool import_compress(OnnxNode *node) {
  Value *x = input(node, 0), *condition = input(node, 1);
  bool flat = !attr_find(node, "axis");
  if (condition->type->rank != 1 || condition->type->dtype != DTYPE_BOOL)
    return onnx_fail(node, "condition is %s, not a list of bools", type_text(node->module, condition->type));
  if (flat) x = emit_flat(node, x);
  int64_t axis = attr_int(node, "axis", 0);
  TRY(x && normal_axis(node, &axis, x->type->rank));
  Value *found = non_zero(node, condition);
  Value *indices = found ? emit_reshape(node, found, 1, &found->type->dims[1]) : NULL;
  if (!indices) return false;
  Node *gather = node_new(&node->builder, &op_gather, (Value *[]){x, indices}, 2);
  node_set_int(gather, "axis", axis);
  return set_output(node, finish(gather));
}

typedef enum UniqueResult {
  UNIQUE_VALUES,
  UNIQUE_FIRST,
  UNIQUE_INVERSE,
  UNIQUE_COUNTS,
  UNIQUE_COUNT
} UniqueResult;

/* The node's outputs are these results. */
static bool unique(OnnxNode *node, Value *x, int64_t axis, bool sorted, const UniqueResult *results,
                   int count) {
  Node *core = node_new(&node->builder, &op_unique, &x, 1);
  node_set_int(core, "axis", axis);
  node_set_bool(core, "sorted", sorted);
  TRY(node_finish(core));
  for (int i = 0; i < node->output_count && i < count; i++) {
    Value *whole = result(core, results[i]), *size = result(core, UNIQUE_COUNT);
    bool is_whole = results[i] == UNIQUE_INVERSE;
    int along = results[i] == UNIQUE_VALUES ? (int)axis : 0;
    TRY((node->outputs[i] = is_whole ? whole : first_of(node, whole, along, size)));
  }
  return true;
}

/* Without an axis of the elements. */
static bool import_unique(OnnxNode *node) {
  static const UniqueResult results[] = {UNIQUE_VALUES, UNIQUE_FIRST, UNIQUE_INVERSE, UNIQUE_COUNTS};
  Value *x = input(node, 0);
  int64_t axis = attr_int(node, "axis", 0);
  if (!attr_find(node, "axis")) x = emit_flat(node, x);
  TRY(x && normal_axis(node, &axis, x->type->rank));
  return unique(node, x, axis, attr_bool(node, "sorted", true), results, COUNT_OF(results));
}

/* In the order of the first of each. */
static bool import_microsoft_unique(OnnxNode *node) {
  static const UniqueResult results[] = {UNIQUE_VALUES, UNIQUE_INVERSE, UNIQUE_COUNTS};
  if (input_rank(node, 0) != 1)
    return onnx_fail(node, "x is %s, not a list", type_text(node->module, input(node, 0)->type));
  return unique(node, input(node, 0), 0, false, results, COUNT_OF(results));
}

/* ---- NonMaxSuppression */

static Value *scalar_or(OnnxNode *node, int index, const char *what, Dtype dtype, double absent) {
  return input(node, index) ? input_scalar(node, index, what) : build_scalar(&node->builder, dtype, absent);
}

static bool import_non_max_suppression(OnnxNode *node) {
  enum { BOXES, SCORES };
  Value *boxes = input(node, BOXES), *scores = input(node, SCORES);
  if (boxes->type->rank != 3 || scores->type->rank != 3)
    return onnx_fail(node, "boxes is %s and scores is %s: three axes are wanted",
                     type_text(node->module, boxes->type), type_text(node->module, scores->type));
  boxes = emit_known_axis(node, boxes, -1, 4);
  if (!boxes) return false;
  Node *order = node_new(&node->builder, &op_top_k, &scores, 1);
  node_set_dims(order, "k", &scores->type->dims[2], 1);
  TRY(node_finish(order));
  Value *operands[] = {boxes,
                       result(order, 0),
                       result(order, 1),
                       scalar_or(node, 2, "max_output_boxes_per_class", DTYPE_I64, 0),
                       scalar_or(node, 3, "iou_threshold", DTYPE_F32, 0),
                       scalar_or(node, 4, "score_threshold", DTYPE_F32, -INFINITY)};
  for (int i = 0; i < COUNT_OF(operands); i++) TRY(operands[i]);
  Node *core = node_new(&node->builder, &op_non_max_suppression, operands, COUNT_OF(operands));
  node_set_bool(core, "center_point_box", attr_int(node, "center_point_box", 0) != 0);
  TRY(node_finish(core));
  return set_output(node, first_of(node, result(core, 0), 0, result(core, 1)));
}

static const OnnxRow rows[] = {
    {"Compress", 9, 2, 2, import_compress, NULL},
    {"NonMaxSuppression", 10, 2, 5, import_non_max_suppression, NULL},
    {"NonZero", 9, 1, 1, import_non_zero, NULL},
    {"TopK", 1, 1, 1, import_top_k, NULL},
    {"TopK", 10, 2, 2, import_top_k, NULL},
    {"Unique", 11, 1, 1, import_unique, NULL},
    {"com.microsoft.Unique", 1, 1, 1, import_microsoft_unique, NULL},
};

const OnnxRows onnx_search = {rows, COUNT_OF(rows)};
