/* conv.c -- ONNX convolutions. The layout is N,C,spatial...: other layouts are made by the layout pass. */
#include "frontend/onnx/window.h"

Value *emit_conv(OnnxNode *node, Value *x, Value *w, Value *bias) {
  OnnxWindow window;
  if (!x || !w || !window_read(node, w, &window) || !window_same_pads(node, &window)) return NULL;
  Node *core = node_new(&node->builder, &op_conv, (Value *[]){x, w, bias}, bias ? 3 : 2);
  window_set(&window, core, false);
  node_set_int(core, "group", attr_int(node, "group", 1));
  return finish(core);
}

static bool import_conv(OnnxNode *node) {
  return set_output(node, emit_conv(node, input(node, 0), input(node, 1), input(node, 2)));
}

/* The weights are channels-last, too: [M, kernel.., C/group]. */
static bool import_nhwc_conv(OnnxNode *node) {
  node->inputs[1] = emit_channels(node, input(node, 1), false);
  return node->inputs[1] && import_channels_last(node, import_conv);
}

/* The wanted spatial sizes, from output_shape or from auto_pad SAME (size * stride); NULL when pads rule. */
static bool wanted_sizes(OnnxNode *node, const OnnxWindow *window, int64_t *sizes, bool *any) {
  int count;
  const int64_t *shape = attr_ints(node, "output_shape", &count);
  const Type *type = input(node, 0)->type;
  *any = shape || window->is_same;
  if (shape && count != window->spatial && count != type->rank)
    return onnx_fail(node, "output_shape has %d entries for %d spatial dims", count, window->spatial);
  for (int i = 0; *any && i < window->spatial; i++) {
    const Dim *size = type->dims[2 + i];
    if (!dim_is_const(size))
      return onnx_fail(node, "output_shape and auto_pad need the size %s: give it with --dim",
                       dim_text(node->module, size));
    if (size->value > INT32_MAX) return onnx_fail(node, "a size of %lld", (long long)size->value);
    sizes[i] = shape ? shape[count - window->spatial + i] : size->value * window->strides[i];
    if (sizes[i] < 0 || sizes[i] > INT32_MAX) return onnx_fail(node, "a size of %lld", (long long)sizes[i]);
  }
  return true;
}

/* Where the sizes are given the pads follow: what the full result has too much is cropped, SAME_UPPER less in
 * front. */
static bool fit_pads(OnnxNode *node, OnnxWindow *window, int64_t *output_padding) {
  int64_t sizes[MAX_SPATIAL];
  bool any;
  TRY(wanted_sizes(node, window, sizes, &any));
  bool is_upper = window->is_same && !window->is_lower;
  window->is_lower = !is_upper;
  for (int i = 0; any && i < window->spatial; i++) {
    int64_t size = input(node, 0)->type->dims[2 + i]->value;
    int64_t full = (size - 1) * window->strides[i] + window_extent(window, i) + output_padding[i];
    window_split_pads(window, i, full - sizes[i]);
    if (full < sizes[i]) output_padding[i] += sizes[i] - full;
  }
  return true;
}

static bool import_conv_transpose(OnnxNode *node) {
  OnnxWindow window;
  int64_t output_padding[MAX_SPATIAL] = {0};
  int count;
  TRY(window_read(node, input(node, 1), &window));
  const int64_t *given = attr_ints(node, "output_padding", &count);
  if (given && count != window.spatial)
    return onnx_fail(node, "output_padding has %d entries, %d are wanted", count, window.spatial);
  for (int i = 0; given && i < window.spatial; i++) {
    if (given[i] < 0 || given[i] > INT32_MAX)
      return onnx_fail(node, "output_padding[%d] is %lld", i, (long long)given[i]);
    output_padding[i] = given[i];
  }
  TRY(fit_pads(node, &window, output_padding));
  Node *core = node_new(&node->builder, &op_conv_transpose, node->inputs, node->input_count);
  window_set(&window, core, false);
  node_set_ints(core, "output_padding", output_padding, window.spatial);
  node_set_int(core, "group", attr_int(node, "group", 1));
  return set_output(node, finish(core));
}

static const OnnxRow rows[] = {
    {"Conv", 1, 2, 3, import_conv, NULL},
    {"ConvTranspose", 1, 2, 3, import_conv_transpose, NULL},
    {"com.microsoft.NhwcConv", 1, 2, 3, import_nhwc_conv, NULL},
};

const OnnxRows onnx_conv = {rows, COUNT_OF(rows)};
