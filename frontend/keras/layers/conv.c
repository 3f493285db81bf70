/*
 * conv.c -- convolutions of one to three axes: plain, depthwise, separable, transposed.
 *
 * Keras' kernels are [k...][in/groups][out], which is conv's own form for nhwc. A depthwise kernel
 * [k...][in][mult] holds the same bytes as [k...][1][in*mult], a grouped convolution with a group per
 * channel. Only the transposed kernel [k...][out][in] has to be turned.
 */
#include "frontend/keras/keras.h"
#include <string.h>

/* What the configuration says, all in the order of the spatial axes. */
typedef struct Geometry {
  Windows windows;
  int64_t pads[6], output_padding[3];
} Geometry;

static bool read_geometry(Call *call, Geometry *geometry) {
  geometry->windows.spatial = call_spatial(call);
  return call_ints(call, "kernel_size", geometry->windows.spatial, 1, 1, geometry->windows.kernel) &&
         call_ints(call, "strides", geometry->windows.spatial, 1, 1, geometry->windows.strides) &&
         call_ints(call, "dilation_rate", geometry->windows.spatial, 1, 1, geometry->windows.dilations);
}

static bool check_rank(Call *call, const Value *x, int rank) {
  return x->type->rank == rank || call_fail(call, "its input has %d axes, not %d", x->type->rank, rank);
}

/* The number of channels of an NHWC tensor. */
static bool read_channels(Call *call, const Value *x, int64_t *channels) {
  const Dim *dim = x->type->dims[x->type->rank - 1];
  *channels = dim->value;
  return (dim_is_const(dim) && *channels > 0) ||
         call_fail(call, "the number of channels of its input is not fixed");
}

static Value *build_conv(Call *call, const Op *op, Value *x, Value *kernel, Value *bias,
                         const Geometry *geometry, int64_t group) {
  Node *node = node_new(call->builder, op, (Value *[]){x, kernel, bias}, bias ? 3 : 2);
  node_set_string(node, "layout", "nhwc");
  node_set_ints(node, "strides", geometry->windows.strides, geometry->windows.spatial);
  node_set_ints(node, "dilations", geometry->windows.dilations, geometry->windows.spatial);
  node_set_ints(node, "pads", geometry->pads, 2 * geometry->windows.spatial);
  node_set_int(node, "group", group);
  if (op == &op_conv_transpose)
    node_set_ints(node, "output_padding", geometry->output_padding, geometry->windows.spatial);
  return node_finish(node) ? result(node, 0) : NULL;
}

static bool read_bias(Call *call, Value *x, int64_t units, Value **bias) {
  *bias = call_has_weight(call, "bias") ? call_weight(call, "bias", x, 1, &units) : NULL;
  return *bias || !call_has_weight(call, "bias");
}

/* Back to the layer's own channel order, where softmax finds its axis. */
static Value *finish_conv(Call *call, Value *y) {
  y = call_from_nhwc(call, y);
  return y ? call_activation(call, y) : NULL;
}

/* The input as NHWC floating point, its rank checked. */
static Value *conv_input(Call *call, Geometry *geometry, int64_t *channels) {
  Value *x = call_float_input(call, 0);
  if (!x || !read_geometry(call, geometry) || !check_rank(call, x, geometry->windows.spatial + 2))
    return NULL;
  x = call_to_nhwc(call, x);
  return x && read_channels(call, x, channels) ? x : NULL;
}

static Value *set_pads(Call *call, Value *x, Geometry *geometry) {
  return call_pads(call, x, &geometry->windows, 0, geometry->pads);
}

static Value *conv(Call *call) {
  Geometry geometry;
  int64_t channels, filters, groups, dims[5];
  Value *x = conv_input(call, &geometry, &channels), *bias;
  x = x ? set_pads(call, x, &geometry) : NULL;
  if (!x || !call_int(call, "filters", 0, &filters) || !call_int(call, "groups", 1, &groups)) return NULL;
  if (groups < 1 || channels % groups || filters % groups)
    return call_null(call, "%lld groups do not divide %lld channels into %lld filters", (long long)groups,
                     (long long)channels, (long long)filters);
  memcpy(dims, geometry.windows.kernel, sizeof geometry.windows.kernel);
  dims[geometry.windows.spatial] = channels / groups;
  dims[geometry.windows.spatial + 1] = filters;
  Value *kernel = call_weight(call, "kernel", x, geometry.windows.spatial + 2, dims);
  if (!kernel || !read_bias(call, x, filters, &bias)) return NULL;
  return finish_conv(call, build_conv(call, &op_conv, x, kernel, bias, &geometry, groups));
}

/* [k...][in][mult] as [k...][1][in*mult]; *outputs gets in*mult. */
static Value *depthwise_kernel(Call *call, const char *name, Value *x, const Geometry *geometry,
                               int64_t channels, int64_t *outputs) {
  int64_t dims[5], multiplier;
  if (!call_int(call, "depth_multiplier", 1, &multiplier)) return NULL;
  memcpy(dims, geometry->windows.kernel, sizeof geometry->windows.kernel);
  dims[geometry->windows.spatial] = channels;
  dims[geometry->windows.spatial + 1] = multiplier;
  Value *kernel = call_weight(call, name, x, geometry->windows.spatial + 2, dims);
  if (!kernel) return NULL;
  *outputs = channels * multiplier;
  const Dim *shape[5];
  for (int i = 0; i < geometry->windows.spatial; i++) shape[i] = kernel->type->dims[i];
  shape[geometry->windows.spatial] = dim_const(call->import->module, 1);
  shape[geometry->windows.spatial + 1] = dim_const(call->import->module, *outputs);
  return build_reshape(call->builder, kernel, geometry->windows.spatial + 2, shape);
}

static Value *depthwise_conv(Call *call) {
  Geometry geometry;
  int64_t channels, outputs;
  Value *x = conv_input(call, &geometry, &channels), *bias;
  x = x ? set_pads(call, x, &geometry) : NULL;
  if (!x) return NULL;
  Value *kernel = depthwise_kernel(call, "kernel", x, &geometry, channels, &outputs);
  if (!kernel || !read_bias(call, x, outputs, &bias)) return NULL;
  return finish_conv(call, build_conv(call, &op_conv, x, kernel, bias, &geometry, channels));
}

/* Depthwise, then 1x1. */
static Value *separable_conv(Call *call) {
  Geometry geometry, point = {.windows = {.kernel = {1, 1, 1}, .strides = {1, 1, 1}, .dilations = {1, 1, 1}}};
  int64_t channels, outputs, filters, dims[5] = {1, 1, 1};
  Value *x = conv_input(call, &geometry, &channels), *bias;
  x = x ? set_pads(call, x, &geometry) : NULL;
  if (!x || !call_int(call, "filters", 0, &filters)) return NULL;
  Value *kernel = depthwise_kernel(call, "depthwise_kernel", x, &geometry, channels, &outputs);
  x = kernel ? build_conv(call, &op_conv, x, kernel, NULL, &geometry, channels) : NULL;
  if (!x) return NULL;
  point.windows.spatial = geometry.windows.spatial;
  dims[point.windows.spatial] = outputs;
  dims[point.windows.spatial + 1] = filters;
  kernel = call_weight(call, "pointwise_kernel", x, point.windows.spatial + 2, dims);
  if (!kernel || !read_bias(call, x, filters, &bias)) return NULL;
  return finish_conv(call, build_conv(call, &op_conv, x, kernel, bias, &point, 1));
}

/*
 * The full result has (n-1)*stride + span elements. Keras wants n*stride of them for "same" and at least
 * n*stride for "valid", or, with output_padding p, full + p - 2*(span/2) and full + p. What is too much is
 * cropped, half of it at the begin; what lacks is output padding.
 */
static bool transposed_pads(Call *call, const Value *x, Geometry *geometry) {
  int spatial = geometry->windows.spatial;
  bool same = !strcmp(json_text(call->config, "padding", "valid"), "same");
  bool given = json_member(call->config, "output_padding") != NULL;
  TRY(call_ints(call, "output_padding", spatial, 0, 0, geometry->output_padding));
  (void)x;
  for (int i = 0; i < spatial; i++) {
    int64_t span = (geometry->windows.kernel[i] - 1) * geometry->windows.dilations[i] + 1,
            stride = geometry->windows.strides[i];
    int64_t excess = same ? span - stride : span < stride ? span - stride : 0; /* full - wanted */
    if (given) excess = (same ? span / 2 * 2 : 0) - geometry->output_padding[i];
    geometry->output_padding[i] = excess < 0 ? -excess : 0;
    geometry->pads[i] = excess > 0 ? excess / 2 : 0;
    geometry->pads[spatial + i] = excess > 0 ? excess - excess / 2 : 0;
  }
  return true;
}

static Value *conv_transpose(Call *call) {
  Geometry geometry;
  int64_t channels, filters, dims[5], perm[5] = {0, 1, 2, 3, 4};
  Value *x = conv_input(call, &geometry, &channels), *bias;
  if (!x || !transposed_pads(call, x, &geometry) || !call_int(call, "filters", 0, &filters)) return NULL;
  memcpy(dims, geometry.windows.kernel, sizeof geometry.windows.kernel);
  dims[geometry.windows.spatial] = filters;
  dims[geometry.windows.spatial + 1] = channels;
  Value *kernel = call_weight(call, "kernel", x, geometry.windows.spatial + 2, dims);
  if (!kernel || !read_bias(call, x, filters, &bias)) return NULL;
  perm[geometry.windows.spatial] = geometry.windows.spatial + 1;
  perm[geometry.windows.spatial + 1] = geometry.windows.spatial;
  kernel = build_transpose(call->builder, kernel, perm);
  return kernel ? finish_conv(call, build_conv(call, &op_conv_transpose, x, kernel, bias, &geometry, 1))
                : NULL;
}

const LayerKind conv_layers[] = {
    {"Conv1D", conv, 1, 1, "kernel bias?use_bias", MASK_ENDS},
    {"Conv1DTranspose", conv_transpose, 1, 1, "kernel bias?use_bias", MASK_ENDS},
    {"Conv2D", conv, 1, 1, "kernel bias?use_bias", MASK_ENDS},
    {"Conv2DTranspose", conv_transpose, 1, 1, "kernel bias?use_bias", MASK_ENDS},
    {"Conv3D", conv, 1, 1, "kernel bias?use_bias", MASK_ENDS},
    {"Conv3DTranspose", conv_transpose, 1, 1, "kernel bias?use_bias", MASK_ENDS},
    {"Convolution2D", conv, 1, 1, "kernel bias?use_bias", MASK_ENDS},
    {"DepthwiseConv1D", depthwise_conv, 1, 1, "kernel bias?use_bias", MASK_ENDS},
    {"DepthwiseConv2D", depthwise_conv, 1, 1, "kernel bias?use_bias", MASK_ENDS},
    {"SeparableConv1D", separable_conv, 1, 1, "depthwise_kernel pointwise_kernel bias?use_bias", MASK_ENDS},
    {"SeparableConv2D", separable_conv, 1, 1, "depthwise_kernel pointwise_kernel bias?use_bias", MASK_ENDS},
    {0},
};
