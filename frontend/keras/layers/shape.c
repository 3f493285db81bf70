/*
 * shape.c -- layers that move data: Flatten, Reshape, Permute, RepeatVector, padding, cropping.
 *
 * Padding and cropping know where the spatial axes are in either channel order, so they need no
 * transposes.
 */
#include "frontend/keras/keras.h"
#include <string.h>

/* ---- reshaping ---- */

/* Everything but the batch in one axis. channels_first is turned first, so that the order is that of
 * channels_last. */
static Value *flatten(Call *call) {
  Module *module = call->import->module;
  Value *x = call_to_nhwc(call, call->inputs[0]);
  if (!x || x->type->rank == 2) return x;
  if (x->type->rank == 0) return call_null(call, "its input has no batch axis");
  const Dim *dims[2] = {x->type->dims[0], dim_const(module, 1)};
  for (int i = 1; i < x->type->rank; i++) dims[1] = dim_mul(module, dims[1], x->type->dims[i]);
  return build_reshape(call->builder, x, 2, dims);
}

/* What a sample has must be what it gets, as far as that is known; one size may be open. */
static bool check_target(Call *call, const Value *x, const Dim *const *dims, int rank, bool is_open) {
  int64_t has = 1, wanted = 1;
  for (int i = 1; i < x->type->rank; i++) {
    if (!dim_is_const(x->type->dims[i])) return true;
    has *= x->type->dims[i]->value;
  }
  for (int i = 1; i < rank; i++)
    if (dims[i]->value >= 0 && __builtin_mul_overflow(wanted, dims[i]->value, &wanted))
      return call_fail(call, "its target is too large");
  if (is_open ? wanted > 0 && has % wanted == 0 : has == wanted) return true;
  return call_fail(call, "it makes %lld elements of the %lld of a sample", (long long)wanted, (long long)has);
}

static Value *reshape(Call *call) {
  Module *module = call->import->module;
  const cJSON *shape = json_member(call->config, "target_shape"), *item;
  int rank = 1, open = 0;
  const Dim *dims[MAX_RANK] = {call->inputs[0]->type->rank ? call->inputs[0]->type->dims[0]
                                                           : dim_const(module, 1)};
  if (!cJSON_IsArray(shape) || cJSON_GetArraySize(shape) >= MAX_RANK)
    return call_null(call, "'target_shape' is no short list");
  cJSON_ArrayForEach(item, shape) {
    int64_t size;
    if (!json_integer(item, &size) || size < -1 || size > INT32_MAX || (open += size < 0) > 1)
      return call_null(call, "'target_shape' is not made of sizes with at most one -1");
    dims[rank++] = dim_const(module, size);
  }
  if (!check_target(call, call->inputs[0], dims, rank, open)) return NULL;
  return build_reshape(call->builder, call->inputs[0], rank, dims);
}

/* dims counts from 1, the batch stays. */
static Value *permute(Call *call) {
  int rank = call->inputs[0]->type->rank;
  const cJSON *list = json_member(call->config, "dims");
  int64_t perm[MAX_RANK] = {0};
  unsigned seen = 1;
  if (rank < 1 || cJSON_GetArraySize(list) != rank - 1)
    return call_null(call, "'dims' does not fit an input of rank %d", rank);
  for (int i = 1; i < rank; i++) {
    if (!json_integer(json_at(list, i - 1), &perm[i]) || perm[i] < 1 || perm[i] >= rank ||
        seen & 1u << perm[i])
      return call_null(call, "'dims' is no permutation of 1 to %d", rank - 1);
    seen |= 1u << perm[i];
  }
  return build_transpose(call->builder, call->inputs[0], perm);
}

/* [N][C] -> [N][n][C] */
static Value *repeat_vector(Call *call) {
  Module *module = call->import->module;
  Value *x = call->inputs[0];
  int64_t n;
  if (!call_int(call, "n", 1, &n)) return NULL;
  if (x->type->rank != 2 || n < 1 || n > INT32_MAX)
    return call_null(call, "its input has %d axes, not 2", x->type->rank);
  const Dim *dims[3] = {x->type->dims[0], dim_const(module, 1), x->type->dims[1]};
  x = build_reshape(call->builder, x, 3, dims);
  if (!x) return NULL;
  dims[1] = dim_const(module, n);
  Node *node = node_new(call->builder, &op_broadcast, &x, 1);
  node_set_dims(node, "shape", dims, 3);
  return node_finish(node) ? result(node, 0) : NULL;
}

/* ---- spatial axes ---- */

/* The first spatial axis; false when the rank does not fit the layer's class. */
static bool first_axis(Call *call, int *spatial, int *first) {
  *spatial = call_spatial(call);
  *first = call_is_channels_first(call) ? 2 : 1;
  int rank = call->inputs[0]->type->rank;
  return rank == *spatial + 2 || call_fail(call, "its input has %d axes, not %d", rank, *spatial + 2);
}

/* n, [n, m], or [[begin, end], [begin, end]]; a layer of one axis has [begin, end]. */
static bool read_margins(Call *call, const char *name, int spatial, int64_t otherwise,
                         int64_t (*margins)[2]) {
  const cJSON *item = json_member(call->config, name);
  bool list = cJSON_IsArray(item);
  if (list && cJSON_GetArraySize(item) != (spatial == 1 ? 2 : spatial))
    return call_fail(call, "'%s' has the wrong length", name);
  for (int i = 0; i < spatial; i++)
    for (int k = 0; k < 2; k++) {
      const cJSON *entry = !list ? item : spatial == 1 ? json_at(item, k) : json_at(item, i);
      if (cJSON_IsArray(entry)) entry = json_at(entry, k);
      margins[i][k] = otherwise;
      if (item && (!json_integer(entry, &margins[i][k]) || margins[i][k] < 0 || margins[i][k] > INT32_MAX))
        return call_fail(call, "'%s' is not made of sizes", name);
    }
  return true;
}

static Value *zero_padding(Call *call) {
  Module *module = call->import->module;
  Value *x = call->inputs[0];
  int spatial, first, rank = x->type->rank;
  int64_t margins[3][2];
  const Dim *pads[2 * MAX_RANK];
  if (!first_axis(call, &spatial, &first) || !read_margins(call, "padding", spatial, 1, margins)) return NULL;
  for (int i = 0; i < 2 * rank; i++) pads[i] = dim_const(module, 0);
  for (int i = 0; i < spatial; i++) {
    pads[first + i] = dim_const(module, margins[i][0]);
    pads[rank + first + i] = dim_const(module, margins[i][1]);
  }
  Node *node = node_new(call->builder, &op_pad, &x, 1);
  node_set_dims(node, "pads", pads, 2 * rank);
  return node_finish(node) ? result(node, 0) : NULL;
}

static Value *cropping(Call *call) {
  Module *module = call->import->module;
  Value *x = call->inputs[0];
  int spatial, first, rank = x->type->rank;
  int64_t margins[3][2], steps[MAX_RANK];
  const Dim *starts[MAX_RANK], *sizes[MAX_RANK];
  if (!first_axis(call, &spatial, &first) ||
      !read_margins(call, "cropping", spatial, spatial == 2 ? 0 : 1, margins))
    return NULL;
  for (int i = 0; i < rank; i++) {
    bool inside = i >= first && i < first + spatial;
    int64_t begin = inside ? margins[i - first][0] : 0, end = inside ? margins[i - first][1] : 0;
    starts[i] = dim_const(module, begin);
    sizes[i] = dim_sub(module, x->type->dims[i], dim_const(module, begin + end));
    steps[i] = 1;
    if (dim_is_const(sizes[i]) && sizes[i]->value < 1)
      return call_null(call, "it crops %lld from axis %d of size %lld", (long long)(begin + end), i,
                       (long long)x->type->dims[i]->value);
  }
  Node *node = node_new(call->builder, &op_slice, &x, 1);
  node_set_dims(node, "starts", starts, rank);
  node_set_dims(node, "sizes", sizes, rank);
  node_set_ints(node, "steps", steps, rank);
  return node_finish(node) ? result(node, 0) : NULL;
}

const LayerKind shape_layers[] = {
    {"Cropping1D", cropping, 1, 1, NULL, MASK_ENDS},
    {"Cropping2D", cropping, 1, 1, NULL, MASK_ENDS},
    {"Cropping3D", cropping, 1, 1, NULL, MASK_ENDS},
    {"Flatten", flatten, 1, 1, NULL, MASK_ENDS},
    {"Permute", permute, 1, 1, NULL, MASK_ENDS},
    {"RepeatVector", repeat_vector, 1, 1, NULL, MASK_ENDS},
    {"Reshape", reshape, 1, 1, NULL, MASK_ENDS},
    {"ZeroPadding1D", zero_padding, 1, 1, NULL, MASK_ENDS},
    {"ZeroPadding2D", zero_padding, 1, 1, NULL, MASK_ENDS},
    {"ZeroPadding3D", zero_padding, 1, 1, NULL, MASK_ENDS},
    {0},
};
