/*
 * pool.c -- pooling over windows, over whole images and to given sizes (adaptive), of one to three axes.
 */
#include "frontend/keras/keras.h"
#include <math.h>
#include <string.h>

static bool read_windows(Call *call, const Value *x, Windows *w) {
  *w = (Windows){.spatial = call_spatial(call), .dilations = {1, 1, 1}};
  TRY(call_ints(call, "pool_size", w->spatial, 2, 1, w->kernel));
  memcpy(w->strides, w->kernel, sizeof w->strides);
  TRY(!json_member(call->config, "strides") || call_ints(call, "strides", w->spatial, 1, 1, w->strides));
  return x->type->rank == w->spatial + 2 ||
         call_fail(call, "its input has %d axes, not %d", x->type->rank, w->spatial + 2);
}

static Value *pool_nhwc(Call *call, const Op *op, Value *x, const Windows *w, const int64_t *pads) {
  if (!x) return NULL;
  Node *node = node_new(call->builder, op, &x, 1);
  node_set_string(node, "layout", "nhwc");
  node_set_ints(node, "kernel", w->kernel, w->spatial);
  node_set_ints(node, "strides", w->strides, w->spatial);
  node_set_ints(node, "pads", pads, 2 * w->spatial);
  return make(node);
}

static Value *max_pool(Call *call) {
  Value *x = call_float_input(call, 0);
  Windows w;
  int64_t pads[6];
  if (!x || !read_windows(call, x, &w)) return NULL;
  x = call_to_nhwc(call, x);
  x = x ? call_pads(call, x, &w, -INFINITY, pads) : NULL;
  return call_from_nhwc(call, pool_nhwc(call, &op_max_pool, x, &w, pads));
}

/* Padding does not count: where it was put around x, the mean is divided by how much of a window was x. */
static Value *average_pool(Call *call) {
  Value *x = call_float_input(call, 0);
  Windows w;
  int64_t pads[6];
  if (!x || !read_windows(call, x, &w)) return NULL;
  x = call_to_nhwc(call, x);
  Value *padded = x ? call_pads(call, x, &w, 0, pads) : NULL;
  Value *y = pool_nhwc(call, &op_average_pool, padded, &w, pads);
  if (y && padded != x) {
    Value *one = build_broadcast(call->builder, build_scalar(call->builder, x->type->dtype, 1), x->type->rank,
                                 x->type->dims);
    one = one ? call_pads(call, one, &w, 0, pads) : NULL;
    y = make_binary(call, &op_div, y, pool_nhwc(call, &op_average_pool, one, &w, pads));
  }
  return call_from_nhwc(call, y);
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

/* [N][steps][C]: the mean of the steps that count. */
static Value *global_average_steps(Call *call) {
  Value *x = call->masks[0] ? call_float_input(call, 0) : NULL;
  int64_t steps = call_is_channels_first(call) ? 2 : 1;
  if (!x || x->type->rank != 3) return global_average(call);
  Value *counts = make_cast(call, make_unsqueeze(call, call->masks[0], steps == 1 ? 2 : 1), x->type->dtype);
  Value *sum = make_reduce(call, &op_reduce_sum, make_binary(call, &op_mul, x, counts), &steps, 1);
  Value *y = make_binary(call, &op_div, sum, make_reduce(call, &op_reduce_sum, counts, &steps, 1));
  return json_flag(call->config, "keepdims", false) ? y : make_squeeze(call, y, (int)steps);
}

/* ---- adaptive: result i has the elements from floor(i n / m) to ceil((i + 1) n / m) ---- */

static int64_t window_begin(int64_t i, int64_t n, int64_t m) {
  return i * n / m;
}
static int64_t window_end(int64_t i, int64_t n, int64_t m) {
  return ((i + 1) * n + m - 1) / m;
}

/* The positions of every window, [m * longest], the last of a shorter one several times. */
static Value *window_positions(Call *call, int64_t n, int64_t m, int64_t longest) {
  int64_t *positions = NEW_ARRAY(call->import->module->arena, int64_t, m *longest);
  for (int64_t i = 0; i < m; i++)
    for (int64_t k = 0; k < longest; k++) {
      int64_t at = window_begin(i, n, m) + k, last = window_end(i, n, m) - 1;
      positions[i * longest + k] = at < last ? at : last;
    }
  return make_ints(call, positions, m * longest);
}

/* What each of those positions counts in the mean, [m * longest]. */
static Value *window_shares(Call *call, Dtype dtype, int64_t n, int64_t m, int64_t longest) {
  double *shares = NEW_ARRAY(call->import->module->arena, double, m *longest);
  for (int64_t i = 0; i < m; i++) {
    int64_t size = window_end(i, n, m) - window_begin(i, n, m);
    for (int64_t k = 0; k < size; k++) shares[i * longest + k] = 1 / (double)size;
  }
  return make_floats(call, dtype, shares, m * longest);
}

static Value *adapt_axis(Call *call, Value *x, int axis, int64_t m, bool is_max) {
  Module *module = call->import->module;
  int64_t n = x->type->dims[axis]->value, longest = 0;
  enum { MAX_SIZE = 1 << 16 };
  if (m == n) return x;
  if (m > MAX_SIZE || n > MAX_SIZE)
    return call_null(call, "it pools %lld elements to %lld; at most %d are possible", (long long)n,
                     (long long)m, MAX_SIZE);
  for (int64_t i = 0; i < m; i++) {
    int64_t size = window_end(i, n, m) - window_begin(i, n, m);
    longest = size > longest ? size : longest;
  }
  const Dim *dims[MAX_RANK + 1];
  int rank = x->type->rank + 1;
  for (int i = 0; i < rank; i++) dims[i] = x->type->dims[i - (i > axis)];
  dims[axis] = dim_const(module, m);
  dims[axis + 1] = dim_const(module, longest);
  x = make_reshape(call, make_gather(call, x, window_positions(call, n, m, longest), axis), rank, dims);
  if (!x) return NULL;
  if (!is_max) {
    const Dim *shape[MAX_RANK];
    for (int i = 0; i < rank; i++) shape[i] = i == axis || i == axis + 1 ? dims[i] : dim_const(module, 1);
    x = make_binary(call, &op_mul, x,
                    make_reshape(call, window_shares(call, x->type->dtype, n, m, longest), rank, shape));
  }
  return make_squeeze(
      call, make_reduce(call, is_max ? &op_reduce_max : &op_reduce_sum, x, (int64_t[]){axis + 1}, 1),
      axis + 1);
}

static Value *adaptive_pool(Call *call) {
  int spatial = call_spatial(call), first = call_is_channels_first(call) ? 2 : 1;
  bool is_max = strstr(call->layer->class_name, "Max") != NULL;
  Value *x = call_float_input(call, 0);
  int64_t sizes[3];
  if (!x || !call_ints(call, "output_size", spatial, 0, 1, sizes)) return NULL;
  if (x->type->rank != spatial + 2)
    return call_null(call, "its input has %d axes, not %d", x->type->rank, spatial + 2);
  for (int i = 0; x && i < spatial; i++) {
    if (!dim_is_const(x->type->dims[first + i]))
      return call_null(call, "it needs images of a fixed size; give it with --input-shape");
    x = adapt_axis(call, x, first + i, sizes[i], is_max);
  }
  return x;
}

const LayerKind pool_layers[] = {
    {"AdaptiveAveragePooling1D", adaptive_pool, 1, 1, NULL, MASK_ENDS},
    {"AdaptiveAveragePooling2D", adaptive_pool, 1, 1, NULL, MASK_ENDS},
    {"AdaptiveAveragePooling3D", adaptive_pool, 1, 1, NULL, MASK_ENDS},
    {"AdaptiveMaxPooling1D", adaptive_pool, 1, 1, NULL, MASK_ENDS},
    {"AdaptiveMaxPooling2D", adaptive_pool, 1, 1, NULL, MASK_ENDS},
    {"AdaptiveMaxPooling3D", adaptive_pool, 1, 1, NULL, MASK_ENDS},
    {"AveragePooling1D", average_pool, 1, 1, NULL, MASK_ENDS},
    {"AveragePooling2D", average_pool, 1, 1, NULL, MASK_ENDS},
    {"AveragePooling3D", average_pool, 1, 1, NULL, MASK_ENDS},
    {"GlobalAveragePooling1D", global_average_steps, 1, 1, NULL, MASK_ENDS},
    {"GlobalAveragePooling2D", global_average, 1, 1, NULL, MASK_ENDS},
    {"GlobalAveragePooling3D", global_average, 1, 1, NULL, MASK_ENDS},
    {"GlobalMaxPooling1D", global_max, 1, 1, NULL, MASK_ENDS},
    {"GlobalMaxPooling2D", global_max, 1, 1, NULL, MASK_ENDS},
    {"GlobalMaxPooling3D", global_max, 1, 1, NULL, MASK_ENDS},
    {"MaxPooling1D", max_pool, 1, 1, NULL, MASK_ENDS},
    {"MaxPooling2D", max_pool, 1, 1, NULL, MASK_ENDS},
    {"MaxPooling3D", max_pool, 1, 1, NULL, MASK_ENDS},
    {0},
};
