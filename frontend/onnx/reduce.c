/*
 * reduce.c -- ONNX reductions. The norms and sums of logarithms are compositions: (before) -> core reduction
 * -> (after).
 *
 * Axes moved from an attribute to an input at opset 13 (ReduceSum) and 18 (the rest): the second input is
 * looked at in every version, since before these there was none.
 */
#include "frontend/onnx/onnx.h"

#include <math.h>
#include <string.h>

typedef struct Axes {
  int64_t axes[MAX_RANK];
  int count;
} Axes;

static bool read_axes(OnnxNode *node, int rank, Axes *axes) {
  const int64_t *given;
  int count;
  bool marks[MAX_RANK] = {false};
  TRY(input_or_attr_ints(node, 1, "axes", &given, &count));
  bool reduces_all = count == 0 && !attr_bool(node, "noop_with_empty_axes", false);
  for (int i = 0; i < count; i++) {
    int64_t axis = given[i];
    TRY(normal_axis(node, &axis, rank));
    marks[axis] = true;
  }
  axes->count = 0;
  for (int i = 0; i < rank; i++)
    if (marks[i] || reduces_all) axes->axes[axes->count++] = i;
  return true;
}

static Value *reduce_axes(OnnxNode *node, const Op *op, Value *x, const Axes *axes) {
  return axes->count ? emit_reduce(node, op, x, axes->axes, axes->count) : x;
}

/* Core reductions keep their axes with size 1. */
static Value *drop_axes(OnnxNode *node, Value *x, const Axes *axes) {
  if (!x || axes->count == 0 || attr_bool(node, "keepdims", true)) return x;
  const Dim *dims[MAX_RANK];
  int rank = 0;
  for (int i = 0, next = 0; i < x->type->rank; i++) {
    if (next < axes->count && axes->axes[next] == i)
      next++;
    else
      dims[rank++] = x->type->dims[i];
  }
  return emit_reshape(node, x, rank, dims);
}

static bool import_reduce(OnnxNode *node) {
  Axes axes;
  TRY(read_axes(node, input_rank(node, 0), &axes));
  return set_output(node, drop_axes(node, reduce_axes(node, node->row->op, input(node, 0), &axes), &axes));
}

/* The core reduction does not know bool: max is "or", min is "and". */
static bool import_reduce_extreme(OnnxNode *node) {
  Value *x = input(node, 0);
  Axes axes;
  TRY(read_axes(node, x->type->rank, &axes));
  bool is_bool = x->type->dtype == DTYPE_BOOL;
  Value *extreme = reduce_axes(node, node->row->op, is_bool ? emit_cast(node, x, DTYPE_U8) : x, &axes);
  if (is_bool) extreme = emit_cast(node, extreme, DTYPE_BOOL);
  return set_output(node, drop_axes(node, extreme, &axes));
}

static Value *square(OnnxNode *node, Value *x) {
  return emit_binary(node, &op_mul, x, x);
}

static bool import_reduce_l1(OnnxNode *node) {
  Axes axes;
  TRY(read_axes(node, input_rank(node, 0), &axes));
  Value *sum = reduce_axes(node, &op_reduce_sum, emit_unary(node, &op_abs, input(node, 0)), &axes);
  return set_output(node, drop_axes(node, sum, &axes));
}

static bool import_reduce_l2(OnnxNode *node) {
  Value *x = input(node, 0);
  Dtype dtype = x->type->dtype;
  Axes axes;
  TRY(read_axes(node, x->type->rank, &axes));
  Value *sum = reduce_axes(node, &op_reduce_sum, square(node, x), &axes);
  if (dtype_is_int(dtype)) sum = emit_cast(node, sum, DTYPE_F64);
  return set_output(node, drop_axes(node, emit_cast(node, emit_unary(node, &op_sqrt, sum), dtype), &axes));
}

static bool import_reduce_sum_square(OnnxNode *node) {
  Axes axes;
  TRY(read_axes(node, input_rank(node, 0), &axes));
  return set_output(
      node, drop_axes(node, reduce_axes(node, &op_reduce_sum, square(node, input(node, 0)), &axes), &axes));
}

static bool import_reduce_log_sum(OnnxNode *node) {
  Axes axes;
  TRY(read_axes(node, input_rank(node, 0), &axes));
  Value *sum = reduce_axes(node, &op_reduce_sum, input(node, 0), &axes);
  return set_output(node, drop_axes(node, emit_unary(node, &op_log, sum), &axes));
}

/* log(sum(exp(x - max))) + max; an infinite max would give inf - inf and is replaced by 0. */
static bool import_reduce_log_sum_exp(OnnxNode *node) {
  Value *x = input(node, 0);
  Axes axes;
  TRY(read_axes(node, x->type->rank, &axes));
  Value *highest = reduce_axes(node, &op_reduce_max, x, &axes);
  Value *is_finite =
      emit_binary(node, &op_less, emit_unary(node, &op_abs, highest), emit_scalar(node, x, INFINITY));
  Value *zero = emit_scalar(node, x, 0);
  if (!is_finite || !zero) return false;
  Value *shift = emit(node, &op_where, (Value *[]){is_finite, highest, zero}, 3);
  Value *powers = emit_unary(node, &op_exp, emit_binary(node, &op_sub, x, shift));
  Value *log_sum = emit_unary(node, &op_log, reduce_axes(node, &op_reduce_sum, powers, &axes));
  return set_output(node, drop_axes(node, emit_binary(node, &op_add, log_sum, shift), &axes));
}

static bool import_arg(OnnxNode *node) {
  Axes axes = {.axes = {attr_int(node, "axis", 0)}, .count = 1};
  TRY(normal_axis(node, &axes.axes[0], input_rank(node, 0)));
  Node *core = node_new(&node->builder, node->row->op, node->inputs, 1);
  node_set_int(core, "axis", axes.axes[0]);
  node_set_bool(core, "select_last", attr_bool(node, "select_last_index", false));
  return set_output(node, drop_axes(node, finish(core), &axes));
}

static const OnnxRow rows[] = {
    {"ArgMax", 1, 1, 1, import_arg, &op_arg_max},
    {"ArgMin", 1, 1, 1, import_arg, &op_arg_min},
    {"ReduceL1", 1, 1, 2, import_reduce_l1, NULL},
    {"ReduceL2", 1, 1, 2, import_reduce_l2, NULL},
    {"ReduceLogSum", 1, 1, 2, import_reduce_log_sum, NULL},
    {"ReduceLogSumExp", 1, 1, 2, import_reduce_log_sum_exp, NULL},
    {"ReduceMax", 1, 1, 2, import_reduce_extreme, &op_reduce_max},
    {"ReduceMean", 1, 1, 2, import_reduce, &op_reduce_mean},
    {"ReduceMin", 1, 1, 2, import_reduce_extreme, &op_reduce_min},
    {"ReduceProd", 1, 1, 2, import_reduce, &op_reduce_prod},
    {"ReduceSum", 1, 1, 2, import_reduce, &op_reduce_sum},
    {"ReduceSumSquare", 1, 1, 2, import_reduce_sum_square, NULL},
};

const OnnxRows onnx_reduce = {rows, COUNT_OF(rows)};
