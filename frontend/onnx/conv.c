/* conv.c -- ONNX convolutions. The layout is N,C,spatial...: other layouts are made by the layout pass. */
#include "frontend/onnx/window.h"

/* ---- Weights of open size ----
 *
 * A kernel needs the numbers of channels. Without them windows are unfolded into columns, and a convolution
 * is a matrix product with them, a transposed one puts the columns of a product back into the image.
 */

static bool channels_known(const Value *w) {
  return dim_is_const(w->type->dims[0]) && dim_is_const(w->type->dims[1]);
}

static int64_t kernel_elements(const OnnxWindow *window) {
  int64_t elements = 1;
  for (int i = 0; i < window->spatial; i++) elements *= window->kernel[i];
  return elements;
}

static const Dim *times(Module *module, const Dim *const *dims, int count) {
  const Dim *product = dim_const(module, 1);
  for (int i = 0; i < count; i++) product = dim_mul(module, product, dims[i]);
  return product;
}

/* x with windows along `axis` as a new last axis of the kernel's size. */
static Value *unfold_axis(OnnxNode *node, const OnnxWindow *window, Value *x, int axis) {
  if (!x) return NULL;
  Node *core = node_new(&node->builder, &op_unfold, &x, 1);
  node_set_int(core, "axis", 2 + axis);
  node_set_int(core, "size", window_extent(window, axis));
  node_set_int(core, "step", window->strides[axis]);
  x = finish(core);
  if (!x || window->dilations[axis] == 1) return x;
  const Dim *starts[MAX_RANK], *sizes[MAX_RANK];
  int64_t steps[MAX_RANK];
  int rank = x->type->rank;
  for (int i = 0; i < rank; i++) {
    starts[i] = dim_const(node->module, 0);
    sizes[i] = i == rank - 1 ? dim_const(node->module, window->kernel[axis]) : x->type->dims[i];
    steps[i] = i == rank - 1 ? window->dilations[axis] : 1;
  }
  return emit_slice(node, x, starts, sizes, steps);
}

/* x[n, c, image..] as [n, c, kernel.., positions..]. */
static Value *unfolded(OnnxNode *node, const OnnxWindow *window, Value *x) {
  const Dim *pads[2 * MAX_RANK];
  int64_t perm[MAX_RANK] = {0, 1};
  int n = window->spatial, rank = 2 + n;
  for (int i = 0; i < 2 * rank; i++) {
    int axis = i % rank - 2;
    pads[i] = dim_const(node->module, axis < 0 ? 0 : window->pads[(i < rank ? 0 : n) + axis]);
  }
  x = emit_pad(node, x, pads, 0);
  for (int i = 0; i < n; i++) x = unfold_axis(node, window, x, i);
  for (int i = 0; i < n; i++) {
    perm[2 + i] = 2 + n + i;
    perm[2 + n + i] = 2 + i;
  }
  return x ? emit_transpose(node, x, perm) : NULL;
}

static Value *add_bias(OnnxNode *node, Value *y, Value *bias) {
  if (!y || !bias) return y;
  return emit_binary(node, &op_add, y, emit_unsqueeze(node, bias, 0, y->type->rank - 2));
}

static Value *emit_open_conv(OnnxNode *node, const OnnxWindow *window, Value *x, Value *w, Value *bias) {
  Module *module = node->module;
  const Dim *group = dim_const(module, attr_int(node, "group", 1)), *const *sizes = w->type->dims;
  const Dim *rows = dim_mul(module, sizes[1], dim_const(module, kernel_elements(window)));
  Value *columns = unfolded(node, window, x);
  if (!columns) return NULL;
  const Dim *dims[MAX_RANK] = {columns->type->dims[0], sizes[0]};
  const Dim *const *positions = columns->type->dims + 2 + window->spatial;
  for (int i = 0; i < window->spatial; i++) dims[2 + i] = positions[i];
  const Dim *all = times(module, positions, window->spatial);
  columns = emit_reshape(node, columns, 4, (const Dim *[]){dims[0], group, rows, all});
  w = emit_reshape(node, w, 3, (const Dim *[]){group, dim_floordiv(module, sizes[0], group), rows});
  Value *y = emit_binary(node, &op_matmul, w, columns);
  return add_bias(node, y ? emit_reshape(node, y, 2 + window->spatial, dims) : NULL, bias);
}

static Value *emit_open_transpose(OnnxNode *node, const OnnxWindow *window, const int64_t *output_padding) {
  Module *module = node->module;
  Value *x = input(node, 0), *w = input(node, 1);
  const Dim *group = dim_const(module, attr_int(node, "group", 1)), *one = dim_const(module, 1);
  const Dim *const *from = x->type->dims, *const *sizes = w->type->dims, *image[MAX_SPATIAL];
  const Dim *each = dim_floordiv(module, sizes[0], group), *all = times(module, from + 2, window->spatial);
  const Dim *columns = dim_mul(module, sizes[1], dim_const(module, kernel_elements(window)));
  for (int i = 0; i < window->spatial; i++) {
    int64_t more =
        window_extent(window, i) + output_padding[i] - window->pads[i] - window->pads[window->spatial + i];
    const Dim *steps =
        dim_mul(module, dim_sub(module, from[2 + i], one), dim_const(module, window->strides[i]));
    image[i] = dim_add(module, steps, dim_const(module, more));
  }
  x = emit_reshape(node, x, 4, (const Dim *[]){from[0], group, each, all});
  w = emit_transpose(node, emit_reshape(node, w, 3, (const Dim *[]){group, each, columns}),
                     (int64_t[]){0, 2, 1});
  x = emit_binary(node, &op_matmul, w, x);
  if (x) x = emit_reshape(node, x, 3, (const Dim *[]){from[0], dim_mul(module, group, columns), all});
  if (!x) return NULL;
  Node *core = node_new(&node->builder, &op_col2im, &x, 1);
  window_set(window, core, true);
  node_set_dims(core, "sizes", image, window->spatial);
  return add_bias(node, finish(core), input(node, 2));
}

/* ---- Convolutions */

Value *emit_conv(OnnxNode *node, Value *x, Value *w, Value *bias) {
  OnnxWindow window;
  if (!x || !w || !window_read(node, w, &window)) return NULL;
  x = window_same(node, &window, x, 0);
  w = window_weight(node, &window, w);
  if (!x || !w) return NULL;
  int64_t group = attr_int(node, "group", 1);
  if (group < 1 || group > INT32_MAX) {
    onnx_fail(node, "group is %lld", (long long)group);
    return NULL;
  }
  if (!channels_known(w)) return emit_open_conv(node, &window, x, w, bias);
  x = emit_known_axis(node, x, 1, w->type->dims[1]->value * group);
  if (!x) return NULL;
  Node *core = node_new(&node->builder, &op_conv, (Value *[]){x, w, bias}, bias ? 3 : 2);
  window_set(&window, core, false);
  node_set_int(core, "group", group);
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

/* The wanted size along a spatial axis, from output_shape or from auto_pad SAME (size * stride). */
static const Dim *wanted_size(OnnxNode *node, const OnnxWindow *window, const int64_t *shape, int axis) {
  const Dim *size = input(node, 0)->type->dims[2 + axis];
  if (shape) return dim_const(node->module, shape[axis]);
  return dim_mul(node->module, size, dim_const(node->module, window->strides[axis]));
}

/* Where the sizes are given the pads follow: what the full result has too much is cropped, SAME_UPPER less in
 * front. */
static bool fit_pads(OnnxNode *node, OnnxWindow *window, int64_t *output_padding) {
  Module *module = node->module;
  int count;
  const int64_t *shape = attr_ints(node, "output_shape", &count);
  if (!shape && !window->is_same) return true;
  if (shape && count != window->spatial && count != window->spatial + 2)
    return onnx_fail(node, "output_shape has %d entries for %d spatial dims", count, window->spatial);
  if (shape) shape += count - window->spatial;
  window->is_lower = !window->is_same || window->is_lower;
  for (int i = 0; i < window->spatial; i++) {
    const Dim *size = input(node, 0)->type->dims[2 + i], *one = dim_const(module, 1);
    if (shape && (shape[i] < 0 || shape[i] > INT32_MAX))
      return onnx_fail(node, "output_shape[%d] is %lld", i, (long long)shape[i]);
    const Dim *steps = dim_mul(module, dim_sub(module, size, one), dim_const(module, window->strides[i]));
    const Dim *full = dim_add(module, steps, dim_const(module, window_extent(window, i) + output_padding[i]));
    const Dim *extra = dim_sub(module, full, wanted_size(node, window, shape, i));
    if (!dim_is_const(extra))
      return onnx_fail(node, "output_shape needs the size %s: give it with --dim", dim_text(module, size));
    if (extra->value > INT32_MAX || extra->value < -INT32_MAX)
      return onnx_fail(node, "a size of %s", dim_text(module, full));
    window_split_pads(window, i, extra->value);
    if (extra->value < 0) output_padding[i] -= extra->value;
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
  node->inputs[1] = window_weight(node, &window, input(node, 1));
  if (!node->inputs[1]) return false;
  if (!channels_known(node->inputs[1]))
    return set_output(node, emit_open_transpose(node, &window, output_padding));
  node->inputs[0] = emit_known_axis(node, input(node, 0), 1, input(node, 1)->type->dims[0]->value);
  if (!node->inputs[0]) return false;
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
