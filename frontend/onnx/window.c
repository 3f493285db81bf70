/* window.c -- the window attributes of ONNX's convolutions and pools, read and checked. See window.h. */
#include "frontend/onnx/window.h"

#include <string.h>

enum { MAX_SIZE = 1 << 24 }; /* of any of the numbers: products of two stay far from overflow */

static bool read_list(OnnxNode *node, const char *name, int want, int64_t least, int64_t absent,
                      int64_t *out) {
  int count;
  const int64_t *list = attr_ints(node, name, &count);
  if (list && count != want) return onnx_fail(node, "%s has %d entries, %d are wanted", name, count, want);
  for (int i = 0; i < want; i++) {
    out[i] = list ? list[i] : absent;
    if (out[i] < least || out[i] > MAX_SIZE)
      return onnx_fail(node, "%s[%d] is %lld", name, i, (long long)out[i]);
  }
  return true;
}

static bool read_kernel(OnnxNode *node, const Value *weight, OnnxWindow *window) {
  int given = attr_find(node, "kernel_shape") != NULL;
  if (!given && !weight) return onnx_fail(node, "kernel_shape is missing");
  if (given) TRY(read_list(node, "kernel_shape", window->spatial, 1, 1, window->kernel));
  for (int i = 0; weight && i < window->spatial; i++) {
    const Dim *dim = weight->type->dims[2 + i];
    if (given && !dim_is_const(dim)) continue;
    if (!dim_is_const(dim) || dim->value < 1 || dim->value > MAX_SIZE)
      return onnx_fail(node, "a weight of %s: the kernel must be known",
                       type_text(node->module, weight->type));
    if (given && window->kernel[i] != dim->value)
      return onnx_fail(node, "kernel_shape[%d] is %lld, the weight is %s", i, (long long)window->kernel[i],
                       type_text(node->module, weight->type));
    window->kernel[i] = dim->value;
  }
  return true;
}

static bool read_auto_pad(OnnxNode *node, OnnxWindow *window) {
  const char *mode = attr_string(node, "auto_pad", "NOTSET");
  window->is_lower = strcmp(mode, "SAME_LOWER") == 0;
  window->is_same = window->is_lower || strcmp(mode, "SAME_UPPER") == 0;
  if (strcmp(mode, "VALID") == 0) memset(window->pads, 0, sizeof window->pads);
  if (window->is_same || strcmp(mode, "VALID") == 0 || strcmp(mode, "NOTSET") == 0 || !*mode) return true;
  return onnx_fail(node, "auto_pad '%s' is not known", mode);
}

bool window_read(OnnxNode *node, const Value *weight, OnnxWindow *window) {
  const Value *x = input(node, 0);
  int spatial = x->type->rank - 2;
  *window = (OnnxWindow){.spatial = spatial};
  if (spatial < 1 || spatial > MAX_SPATIAL)
    return onnx_fail(node, "windows over %s: 1 to 3 spatial dims are supported",
                     type_text(node->module, x->type));
  if (weight && weight->type->rank != x->type->rank)
    return onnx_fail(node, "the weight %s does not fit %s", type_text(node->module, weight->type),
                     type_text(node->module, x->type));
  TRY(read_kernel(node, weight, window));
  TRY(read_list(node, "strides", spatial, 1, 1, window->strides));
  TRY(read_list(node, "dilations", spatial, 1, 1, window->dilations));
  TRY(read_list(node, "pads", 2 * spatial, -MAX_SIZE, 0, window->pads));
  return read_auto_pad(node, window);
}

Value *window_weight(OnnxNode *node, const OnnxWindow *window, Value *weight) {
  for (int i = 0; i < window->spatial; i++) weight = emit_known_axis(node, weight, 2 + i, window->kernel[i]);
  return weight;
}

int64_t window_extent(const OnnxWindow *window, int axis) {
  return (window->kernel[axis] - 1) * window->dilations[axis] + 1;
}

void window_split_pads(OnnxWindow *window, int axis, int64_t total) {
  if (total < 0) total = 0;
  int64_t half = total / 2;
  window->pads[axis] = window->is_lower ? total - half : half;
  window->pads[window->spatial + axis] = total - window->pads[axis];
}

/* How many elements ceil(size / stride) windows need beyond `size`. */
static const Dim *same_padding(Module *module, const OnnxWindow *window, int axis, const Dim *size) {
  const Dim *stride = dim_const(module, window->strides[axis]);
  const Dim *steps = dim_sub(module, dim_ceildiv(module, size, stride), dim_const(module, 1));
  const Dim *end =
      dim_add(module, dim_mul(module, steps, stride), dim_const(module, window_extent(window, axis)));
  return dim_make(module, DIM_MAX, dim_sub(module, end, size), dim_const(module, 0));
}

/* With stride 1 the size does not matter. */
Value *window_same(OnnxNode *node, OnnxWindow *window, Value *x, double fill) {
  Module *module = node->module;
  int rank = x->type->rank;
  const Dim *zero = dim_const(module, 0), *pads[2 * MAX_RANK];
  bool is_open = false;
  for (int i = 0; i < 2 * rank; i++) pads[i] = zero;
  for (int i = 0; window->is_same && i < window->spatial; i++) {
    const Dim *size = x->type->dims[2 + i];
    const Dim *total = same_padding(module, window, i, window->strides[i] == 1 ? dim_const(module, 1) : size);
    if (dim_is_const(total)) {
      window_split_pads(window, i, total->value);
      continue;
    }
    const Dim *less = dim_floordiv(module, total, dim_const(module, 2)), *more = dim_sub(module, total, less);
    pads[2 + i] = window->is_lower ? more : less;
    pads[rank + 2 + i] = window->is_lower ? less : more;
    is_open = true;
  }
  return is_open ? emit_pad(node, x, pads, fill) : x;
}

static void set_unless(Node *core, const char *name, const int64_t *list, int count, int64_t usual) {
  for (int i = 0; i < count; i++)
    if (list[i] != usual) {
      node_set_ints(core, name, list, count);
      return;
    }
}

void window_set(const OnnxWindow *window, Node *core, bool with_kernel) {
  if (with_kernel) node_set_ints(core, "kernel", window->kernel, window->spatial);
  set_unless(core, "strides", window->strides, window->spatial, 1);
  set_unless(core, "dilations", window->dilations, window->spatial, 1);
  set_unless(core, "pads", window->pads, 2 * window->spatial, 0);
}

Value *emit_channels(OnnxNode *node, Value *x, bool last) {
  int64_t perm[MAX_RANK];
  if (!x) return NULL;
  int rank = x->type->rank;
  if (rank < 2) {
    onnx_fail(node, "%s has no channels", type_text(node->module, x->type));
    return NULL;
  }
  for (int i = 1; i < rank; i++) perm[i] = last ? i + 1 : i - 1;
  perm[0] = 0;
  perm[last ? rank - 1 : 1] = last ? 1 : rank - 1;
  return emit_transpose(node, x, perm);
}

bool import_channels_last(OnnxNode *node, bool (*import)(OnnxNode *node)) {
  node->inputs[0] = emit_channels(node, input(node, 0), false);
  return node->inputs[0] && import(node) && set_output(node, emit_channels(node, node->outputs[0], true));
}
