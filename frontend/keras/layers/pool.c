/*
 * pool.c -- pooling over windows and over whole images, of one to three axes.
 */
#include "frontend/keras/keras.h"

static Value *pool(Call *call, const Op *op, Value *x) {
  int spatial = call_spatial(call);
  int64_t kernel[3], strides[3], dilations[3] = {1, 1, 1}, pads[6];
  if (!x || !call_ints(call, "pool_size", spatial, 2, 1, kernel)) return NULL;
  for (int i = 0; i < spatial; i++) strides[i] = kernel[i];
  if (json_member(call->config, "strides") && !call_ints(call, "strides", spatial, 1, 1, strides))
    return NULL;
  if (x->type->rank != spatial + 2)
    return call_null(call, "its input has %d axes, not %d", x->type->rank, spatial + 2);
  x = call_to_nhwc(call, x);
  if (!x || !call_pads(call, x, spatial, kernel, strides, dilations, pads)) return NULL;
  Node *node = node_new(call->builder, op, &x, 1);
  node_set_string(node, "layout", "nhwc");
  node_set_ints(node, "kernel", kernel, spatial);
  node_set_ints(node, "strides", strides, spatial);
  node_set_ints(node, "pads", pads, 2 * spatial);
  return node_finish(node) ? call_from_nhwc(call, result(node, 0)) : NULL;
}

static Value *max_pool(Call *call) {
  return pool(call, &op_max_pool, call_float_input(call, 0));
}
static Value *average_pool(Call *call) {
  return pool(call, &op_average_pool, call_float_input(call, 0));
}

/* Reduces the spatial axes; without keepdims they disappear. */
static Value *global_pool(Call *call, const Op *op) {
  int spatial = call_spatial(call), first = call_is_channels_first(call) ? 2 : 1;
  Value *x = call_float_input(call, 0);
  if (!x) return NULL;
  if (x->type->rank != spatial + 2)
    return call_null(call, "its input has %d axes, not %d", x->type->rank, spatial + 2);
  Node *node = node_new(call->builder, op, &x, 1);
  node_set_ints(node, "axes", (int64_t[]){first, first + 1, first + 2}, spatial);
  if (!node_finish(node)) return NULL;
  if (json_flag(call->config, "keepdims", false)) return result(node, 0);
  const Dim *dims[2] = {x->type->dims[0], x->type->dims[first == 1 ? spatial + 1 : 1]};
  return build_reshape(call->builder, result(node, 0), 2, dims);
}

static Value *global_max(Call *call) {
  return global_pool(call, &op_reduce_max);
}
static Value *global_average(Call *call) {
  return global_pool(call, &op_reduce_mean);
}

const LayerKind pool_layers[] = {
    {"AveragePooling1D", average_pool, 1, 1, NULL},
    {"AveragePooling2D", average_pool, 1, 1, NULL},
    {"AveragePooling3D", average_pool, 1, 1, NULL},
    {"GlobalAveragePooling1D", global_average, 1, 1, NULL},
    {"GlobalAveragePooling2D", global_average, 1, 1, NULL},
    {"GlobalAveragePooling3D", global_average, 1, 1, NULL},
    {"GlobalMaxPooling1D", global_max, 1, 1, NULL},
    {"GlobalMaxPooling2D", global_max, 1, 1, NULL},
    {"GlobalMaxPooling3D", global_max, 1, 1, NULL},
    {"MaxPooling1D", max_pool, 1, 1, NULL},
    {"MaxPooling2D", max_pool, 1, 1, NULL},
    {"MaxPooling3D", max_pool, 1, 1, NULL},
    {0},
};
