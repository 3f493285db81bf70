/* pool.c -- ONNX pools: windowed ones, and global ones, which are reductions over the spatial axes. */
#include "frontend/onnx/window.h"

#include <float.h>
#include <math.h>

static Value *finish_pool(OnnxNode *node, const OnnxWindow *window, Node *core) {
  window_set(window, core, true);
  node_set_bool(core, "ceil", attr_bool(node, "ceil_mode", false));
  return finish(core);
}

static bool import_max_pool(OnnxNode *node) {
  OnnxWindow window;
  bool indices = node->output_count > 1;
  TRY(window_read(node, NULL, &window));
  Value *x = window_same(node, &window, input(node, 0), -INFINITY);
  if (!x) return false;
  if (indices && x != input(node, 0))
    return onnx_fail(node, "auto_pad with Indices needs the sizes of %s: give them with --dim",
                     type_text(node->module, input(node, 0)->type));
  Node *core = node_new(&node->builder, indices ? &op_max_pool_indices : &op_max_pool, &x, 1);
  if (indices) node_set_bool(core, "column_major", attr_bool(node, "storage_order", false));
  TRY(set_output(node, finish_pool(node, &window, core)));
  if (indices) node->outputs[1] = result(core, 1);
  return true;
}

static Value *average(OnnxNode *node, const OnnxWindow *window, Value *x, bool include_pad) {
  if (!x) return NULL;
  Node *core = node_new(&node->builder, &op_average_pool, &x, 1);
  node_set_bool(core, "include_pad", include_pad);
  return finish_pool(node, window, core);
}

/* The share of each window that lies in x, when x is padded by window_same. */
static Value *share_inside(OnnxNode *node, const OnnxWindow *window, const Value *x) {
  OnnxWindow again = *window;
  const Dim *dims[MAX_RANK];
  for (int i = 0; i < x->type->rank; i++) dims[i] = i < 2 ? dim_const(node->module, 1) : x->type->dims[i];
  const Type *type = type_make(node->module, x->type->dtype, x->type->rank, dims);
  Value *ones = emit_broadcast(node, emit_scalar(node, x, 1), type);
  return ones ? average(node, &again, window_same(node, &again, ones, 0), false) : NULL;
}

static bool import_average_pool(OnnxNode *node) {
  OnnxWindow window;
  bool include_pad = attr_bool(node, "count_include_pad", false);
  TRY(window_read(node, NULL, &window));
  Value *x = input(node, 0), *padded = window_same(node, &window, x, 0);
  Value *y = average(node, &window, padded, include_pad);
  if (y && padded != x && !include_pad) y = emit_binary(node, &op_div, y, share_inside(node, &window, x));
  return set_output(node, y);
}

/* Where the mask is 0 nothing is the largest. */
static bool import_max_pool_with_mask(OnnxNode *node) {
  Value *x = input(node, 0), *mask = input(node, 1);
  Value *keep = emit_cast(node, mask, DTYPE_BOOL), *lowest = emit_scalar(node, x, (double)-FLT_MAX);
  if (!keep || !lowest) return false;
  node->inputs[0] = emit(node, &op_where, (Value *[]){keep, x, lowest}, 3);
  if (node->inputs[0] && !type_same_shape(node->inputs[0]->type, x->type))
    return onnx_fail(node, "a mask %s for %s", type_text(node->module, mask->type),
                     type_text(node->module, x->type));
  return node->inputs[0] && import_max_pool(node);
}

static bool import_nhwc_max_pool(OnnxNode *node) {
  return import_channels_last(node, import_max_pool);
}

/* Opset 1 gave it as a float. */
static double norm_of(OnnxNode *node) {
  return node->row->since < 2 ? attr_float(node, "p", 2) : (double)attr_int(node, "p", 2);
}

/* |x|^p and back. */
static Value *power(OnnxNode *node, Value *x, double p) {
  return p == 1 ? x : emit_binary(node, &op_pow, x, emit_scalar(node, x, p));
}

/* Longer padding at the ends in place of ceil_mode, whose last window begins inside x or the padding before
 * it. */
static bool window_ceil_pads(OnnxNode *node, OnnxWindow *window) {
  for (int i = 0; i < window->spatial; i++) {
    const Dim *size = input(node, 0)->type->dims[2 + i];
    int64_t step = window->strides[i], *end = &window->pads[window->spatial + i];
    int64_t slack = window_extent(window, i) - *end - step; /* >= 0: it always begins inside */
    if (slack >= 0) {
      *end += step - 1;
      continue;
    }
    if (!dim_is_const(size))
      return onnx_fail(node, "ceil_mode needs the size %s: give it with --dim", dim_text(node->module, size));
    int64_t inside = size->value + window->pads[i], rest = inside + *end - window_extent(window, i);
    if (rest < 0) continue;
    int64_t last = (rest + step - 1) / step * step;
    if (last < inside) *end += last - rest;
  }
  return true;
}

/* (sum |x|^p)^(1/p): the sum is the average, padding counted, times the window's size. */
static bool import_lp_pool(OnnxNode *node) {
  OnnxWindow window;
  TRY(window_read(node, NULL, &window));
  double p = norm_of(node), size = 1;
  if (p < 1) return onnx_fail(node, "p is %g", p);
  Value *x = power(node, emit_unary(node, &op_abs, input(node, 0)), p);
  x = x ? window_same(node, &window, x, 0) : NULL;
  if (!x) return false;
  if (attr_bool(node, "ceil_mode", false)) TRY(window_ceil_pads(node, &window));
  for (int i = 0; i < window.spatial; i++) size *= (double)window.kernel[i];
  Node *core = node_new(&node->builder, &op_average_pool, &x, 1);
  window_set(&window, core, true);
  node_set_bool(core, "include_pad", true);
  Value *sum = emit_binary(node, &op_mul, finish(core), emit_scalar(node, x, size));
  return set_output(node, power(node, sum, 1 / p));
}

static Value *reduce_spatial(OnnxNode *node, const Op *op, Value *x) {
  int64_t axes[MAX_RANK];
  if (!x) return NULL;
  if (x->type->rank < 3) {
    onnx_fail(node, "%s has no spatial dims", type_text(node->module, x->type));
    return NULL;
  }
  for (int i = 2; i < x->type->rank; i++) axes[i - 2] = i;
  return emit_reduce(node, op, x, axes, x->type->rank - 2);
}

static bool import_global_pool(OnnxNode *node) {
  return set_output(node, reduce_spatial(node, node->row->op, input(node, 0)));
}

static bool import_global_lp_pool(OnnxNode *node) {
  double p = norm_of(node);
  if (p < 1) return onnx_fail(node, "p is %g", p);
  Value *powers = power(node, emit_unary(node, &op_abs, input(node, 0)), p);
  return set_output(node, power(node, reduce_spatial(node, &op_reduce_sum, powers), 1 / p));
}

static const OnnxRow rows[] = {
    {"AveragePool", 1, 1, 1, import_average_pool, NULL},
    {"GlobalAveragePool", 1, 1, 1, import_global_pool, &op_reduce_mean},
    {"GlobalLpPool", 1, 1, 1, import_global_lp_pool, NULL},
    {"GlobalLpPool", 2, 1, 1, import_global_lp_pool, NULL},
    {"GlobalMaxPool", 1, 1, 1, import_global_pool, &op_reduce_max},
    {"LpPool", 1, 1, 1, import_lp_pool, NULL},
    {"LpPool", 2, 1, 1, import_lp_pool, NULL},
    {"MaxPool", 1, 1, 1, import_max_pool, NULL},
    {"com.microsoft.MaxpoolWithMask", 1, 2, 2, import_max_pool_with_mask, NULL},
    {"com.microsoft.NhwcMaxPool", 1, 1, 1, import_nhwc_max_pool, NULL},
};

const OnnxRows onnx_pool = {rows, COUNT_OF(rows)};
