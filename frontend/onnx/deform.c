/*
 * deform.c -- ONNX DeformConv, and Col2Im, whose windows are given by inputs.
 *
 * A deformable convolution samples x at every kernel element of every window, moved by its offset: that is a
 * grid of [kernel * result] positions in pixels. What it finds is multiplied with the weights.
 */
#include "frontend/onnx/vision.h"
#include "frontend/onnx/window.h"

#include <string.h>

typedef struct Deform {
  OnnxWindow window;
  int64_t groups, offset_groups, kernel_size; /* kernel_size: elements */
  int64_t sizes[MAX_SPATIAL];                 /* of the result */
} Deform;

/* Where kernel element at[0] of window at[1..] lies in x before it is moved. */
static double window_element(const void *context, const int64_t *at, int column) {
  const Deform *deform = context;
  const OnnxWindow *window = &deform->window;
  int64_t k = at[0], element[MAX_SPATIAL];
  for (int s = window->spatial - 1; s >= 0; s--) {
    element[s] = k % window->kernel[s];
    k /= window->kernel[s];
  }
  int s = window->spatial - 1 - column;
  return (double)(at[1 + s] * window->strides[s] + element[s] * window->dilations[s] - window->pads[s]);
}

static bool read_deform(OnnxNode *node, Deform *deform) {
  Module *module = node->module;
  const Type *x = input(node, 0)->type, *w = input(node, 1)->type, *offset = input(node, 2)->type;
  TRY(window_read(node, input(node, 1), &deform->window));
  deform->groups = attr_int(node, "group", 1);
  deform->offset_groups = attr_int(node, "offset_group", 1);
  deform->kernel_size = 1;
  for (int s = 0; s < deform->window.spatial; s++) {
    if (!dim_is_const(x->dims[2 + s]))
      return onnx_fail(node, "needs the size of %s: give it with --dim", type_text(module, x));
    int64_t room = x->dims[2 + s]->value + deform->window.pads[s] +
                   deform->window.pads[deform->window.spatial + s] - window_extent(&deform->window, s);
    if (room < 0) return onnx_fail(node, "windows larger than %s", type_text(module, x));
    deform->sizes[s] = room / deform->window.strides[s] + 1;
    deform->kernel_size *= deform->window.kernel[s];
    if (deform->kernel_size > INT32_MAX) return onnx_fail(node, "a kernel of %s", type_text(module, w));
  }
  bool fits = dim_is_const(x->dims[1]) && dim_is_const(w->dims[0]) && deform->groups >= 1 &&
              deform->offset_groups >= 1;
  fits = fits && x->dims[1]->value % deform->groups == 0 && x->dims[1]->value % deform->offset_groups == 0 &&
         w->dims[0]->value % deform->groups == 0 && dim_is(w->dims[1], x->dims[1]->value / deform->groups);
  if (!fits || offset->rank != x->rank)
    return onnx_fail(node, "x %s, weights %s and offsets %s of %lld groups and %lld of offsets do not fit",
                     type_text(module, x), type_text(module, w), type_text(module, offset),
                     (long long)deform->groups, (long long)deform->offset_groups);
  return true;
}

/* [N, og*rest.., o..] as [N*og, rest.., o..]. */
static Value *split_offsets(OnnxNode *node, const Deform *deform, Value *x, int64_t columns) {
  const Dim *dims[MAX_RANK];
  int rank = 0;
  dims[rank++] = dim_mul(node->module, x->type->dims[0], dim_const(node->module, deform->offset_groups));
  dims[rank++] = dim_const(node->module, deform->kernel_size);
  if (columns) dims[rank++] = dim_const(node->module, columns);
  for (int s = 0; s < deform->window.spatial; s++) dims[rank++] = dim_const(node->module, deform->sizes[s]);
  return emit_reshape(node, x, rank, dims);
}

/* The positions [N*og, kernel, o.., s], the last axis first. */
static Value *deform_grid(OnnxNode *node, const Deform *deform) {
  int spatial = deform->window.spatial;
  int64_t sizes[1 + MAX_SPATIAL] = {deform->kernel_size}, perm[MAX_RANK] = {0, 1}, steps[MAX_RANK];
  memcpy(sizes + 1, deform->sizes, sizeof *sizes * (size_t)spatial);
  Value *offset = split_offsets(node, deform, input(node, 2), spatial);
  if (!offset) return NULL;
  for (int s = 0; s < spatial; s++) perm[2 + s] = 3 + s;
  perm[2 + spatial] = 2;
  offset = emit_transpose(node, offset, perm);
  if (!offset) return NULL;
  int rank = offset->type->rank;
  const Dim *starts[MAX_RANK];
  for (int i = 0; i < rank; i++) {
    starts[i] = dim_const(node->module, i == rank - 1 ? spatial - 1 : 0);
    steps[i] = i == rank - 1 ? -1 : 1;
  }
  offset = emit_slice(node, offset, starts, offset->type->dims, steps);
  Value *base = emit_constant_grid(node, input(node, 2)->type->dtype, 1 + spatial, sizes, spatial,
                                   window_element, deform);
  return emit_binary(node, &op_add, offset, base);
}

/* x [N,C,..] under all windows: [N*og, C/og, kernel, o..]. */
static Value *deform_columns(OnnxNode *node, const Deform *deform) {
  Value *x = input(node, 0), *mask = input(node, 4);
  const Dim *groups = dim_const(node->module, deform->offset_groups), *dims[MAX_RANK];
  memcpy(dims, x->type->dims, sizeof *dims * (size_t)x->type->rank);
  dims[0] = dim_mul(node->module, dims[0], groups);
  dims[1] = dim_floordiv(node->module, dims[1], groups);
  x = emit_reshape(node, x, x->type->rank, dims);
  Value *columns = emit_grid_sample(node, x, deform_grid(node, deform), "linear", "zeros", "pixels");
  if (!mask || !columns) return columns;
  mask = split_offsets(node, deform, mask, 0);
  if (!mask) return NULL;
  dims[0] = mask->type->dims[0];
  dims[1] = dim_const(node->module, 1);
  for (int i = 1; i < mask->type->rank; i++) dims[i + 1] = mask->type->dims[i];
  return emit_binary(node, &op_mul, columns, emit_reshape(node, mask, mask->type->rank + 1, dims));
}

/* [g, M/g, C/g * kernel] x [N, g, C/g * kernel, positions] */
static bool import_deform_conv(OnnxNode *node) {
  Module *module = node->module;
  Deform deform;
  TRY(read_deform(node, &deform));
  const Type *x = input(node, 0)->type, *w = input(node, 1)->type;
  Value *columns = deform_columns(node, &deform), *bias = input(node, 3);
  const Dim *groups = dim_const(module, deform.groups), *rest = dim_const(module, -1);
  const Dim *depth = dim_const(module, w->dims[1]->value * deform.kernel_size),
            *positions = dim_const(module, 1);
  for (int s = 0; s < deform.window.spatial; s++)
    positions = dim_mul(module, positions, dim_const(module, deform.sizes[s]));
  const Dim *w_dims[] = {groups, dim_const(module, w->dims[0]->value / deform.groups), depth};
  Value *weights = emit_reshape(node, input(node, 1), 3, w_dims);
  columns = emit_reshape(node, columns, 4, (const Dim *[]){x->dims[0], groups, depth, positions});
  Value *y = emit_binary(node, &op_matmul, weights, columns);
  const Dim *dims[MAX_RANK] = {x->dims[0], w->dims[0]};
  for (int s = 0; s < deform.window.spatial; s++) dims[2 + s] = dim_const(module, deform.sizes[s]);
  y = emit_reshape(node, y, x->rank, dims);
  if (!bias) return set_output(node, y);
  const Dim *bias_dims[MAX_RANK] = {rest};
  for (int s = 0; s < deform.window.spatial; s++) bias_dims[1 + s] = dim_const(module, 1);
  return set_output(node, emit_binary(node, &op_add, y, emit_reshape(node, bias, x->rank - 1, bias_dims)));
}

static bool import_col2im(OnnxNode *node) {
  static const char *const names[] = {"strides", "dilations", "pads"};
  const Dim *const *sizes;
  const int64_t *block, *list;
  int size_count, block_count, count;
  TRY(input_dims(node, 1, "image_shape", &sizes, &size_count));
  TRY(input_or_attr_ints(node, 2, "block_shape", &block, &block_count));
  Node *core = node_new(&node->builder, &op_col2im, node->inputs, 1);
  node_set_dims(core, "sizes", sizes, size_count);
  node_set_ints(core, "kernel", block, block_count);
  for (int i = 0; i < COUNT_OF(names); i++)
    if ((list = attr_ints(node, names[i], &count)) && count > 0) node_set_ints(core, names[i], list, count);
  return set_output(node, finish(core));
}

static const OnnxRow rows[] = {
    {"Col2Im", 18, 3, 3, import_col2im, NULL},
    {"DeformConv", 19, 3, 5, import_deform_conv, NULL},
};

const OnnxRows onnx_deform = {rows, COUNT_OF(rows)};
