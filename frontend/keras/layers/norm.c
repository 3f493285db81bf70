/*
 * norm.c -- BatchNormalization, LayerNormalization, GroupNormalization, RMSNormalization, UnitNormalization.
 */
#include "frontend/keras/keras.h"
#include <string.h>

/* The axis member, which older files write as a list of one. */
static bool read_axis(Call *call, int rank, int64_t *axis) {
  const cJSON *item = json_member(call->config, "axis");
  if (cJSON_IsArray(item) && cJSON_GetArraySize(item) != 1)
    return call_fail(call, "more than one axis is not supported");
  if (cJSON_IsArray(item)) item = json_at(item, 0);
  *axis = rank - 1;
  return !item || call_axis(call, item, rank, axis);
}

/* A weight of one axis, or what stands in for it when the layer has none. */
static Value *weight_or(Call *call, const char *name, Value *x, const Dim *size, double otherwise) {
  int64_t count = size->value;
  if (call_has_weight(call, name)) return call_weight(call, name, x, 1, &count);
  return build_splat(call->builder, type_static(call->import->module, x->type->dtype, 1, &count), otherwise);
}

static Value *batch_norm(Call *call) {
  Value *x = call_float_input(call, 0);
  int64_t axis;
  if (!x || !read_axis(call, x->type->rank, &axis)) return NULL;
  const Dim *size = x->type->dims[axis];
  if (!dim_is_const(size)) return call_null(call, "the size of axis %lld is not fixed", (long long)axis);
  Value *operands[5] = {x, weight_or(call, "gamma", x, size, 1), weight_or(call, "beta", x, size, 0),
                        weight_or(call, "moving_mean", x, size, 0),
                        weight_or(call, "moving_variance", x, size, 1)};
  for (int i = 0; i < 5; i++)
    if (!operands[i]) return NULL;
  Node *node = node_new(call->builder, &op_batch_norm, operands, 5);
  node_set_int(node, "axis", axis);
  node_set_float(node, "epsilon", json_number(call->config, "epsilon", 1e-3));
  return node_finish(node) ? result(node, 0) : NULL;
}

/* ---- over several axes ---- */

/* The axes that a layer normalises over, ascending; the rest stay. */
typedef struct Axes {
  int count, rank;
  int64_t list[MAX_RANK];
  int64_t perm[MAX_RANK], back[MAX_RANK]; /* the rest first; and the way back */
} Axes;

/* The member axis, a number or a list; absent: the last. */
static bool read_axes(Call *call, int rank, Axes *axes) {
  const cJSON *item = json_member(call->config, "axis");
  int count = cJSON_IsArray(item) ? cJSON_GetArraySize(item) : 1, kept = 0;
  bool taken[MAX_RANK] = {0};
  *axes = (Axes){.rank = rank};
  if (count < 1 || count > rank) return call_fail(call, "it has %d axes", count);
  for (int i = 0; i < count; i++) {
    int64_t axis = rank - 1;
    TRY(!item || call_axis(call, cJSON_IsArray(item) ? json_at(item, i) : item, rank, &axis));
    if (taken[axis] || (i && axis < axes->list[i - 1])) return call_fail(call, "its axes do not ascend");
    taken[axis] = true;
    axes->list[axes->count++] = axis;
  }
  for (int i = 0; i < rank; i++)
    if (!taken[i]) axes->perm[kept++] = i;
  memcpy(axes->perm + kept, axes->list, (size_t)count * sizeof *axes->list);
  for (int i = 0; i < rank; i++) axes->back[axes->perm[i]] = i;
  return true;
}

/* A weight with the sizes of these axes, NULL without a Diag when the layer has none. */
static bool axes_weight(Call *call, const char *name, Value *x, const Axes *axes, Value **weight) {
  int64_t dims[MAX_RANK];
  *weight = NULL;
  if (!call_has_weight(call, name)) return true;
  for (int i = 0; i < axes->count; i++) {
    const Dim *dim = x->type->dims[axes->list[i]];
    dims[i] = dim_is_const(dim) ? dim->value : -1;
  }
  return (*weight = call_weight(call, name, x, axes->count, dims)) != NULL;
}

/* layer_norm with the axes behind all others. */
static Value *normalised(Call *call, Value *x, const Axes *axes, Value *scale, Value *bias, double epsilon,
                         bool center) {
  Value *operands[] = {make_transpose(call, x, axes->perm), scale, bias};
  if (!operands[0]) return NULL;
  Node *node = node_new(call->builder, &op_layer_norm, operands, bias ? 3 : scale ? 2 : 1);
  node_set_int(node, "axis", axes->rank - axes->count);
  node_set_float(node, "epsilon", epsilon);
  node_set_bool(node, "center", center);
  return make_transpose(call, make(node), axes->back);
}

/* x / sqrt(variance + epsilon) * gamma: Keras' rms_scaling takes the mean out of the variance, not of x. */
static Value *scaled_by_variance(Call *call, Value *x, const Axes *axes, Value *gamma, double epsilon) {
  Value *t = make_transpose(call, x, axes->perm);
  int64_t last[MAX_RANK];
  for (int i = 0; i < axes->count; i++) last[i] = axes->rank - axes->count + i;
  Value *rest = make_binary(call, &op_sub, t, make_reduce(call, &op_reduce_mean, t, last, axes->count));
  Value *variance =
      make_reduce(call, &op_reduce_mean, make_binary(call, &op_mul, rest, rest), last, axes->count);
  Value *deviation = make_unary(call, &op_sqrt, make_number(call, &op_add, variance, epsilon));
  Value *y = make_binary(call, &op_div, t, deviation);
  if (gamma) y = make_binary(call, &op_mul, y, gamma);
  return make_transpose(call, y, axes->back);
}

static Value *layer_norm(Call *call) {
  Value *x = call_float_input(call, 0), *gamma, *beta;
  Axes axes;
  if (!x || !read_axes(call, x->type->rank, &axes) || !axes_weight(call, "gamma", x, &axes, &gamma) ||
      !axes_weight(call, "beta", x, &axes, &beta))
    return NULL;
  double epsilon = json_number(call->config, "epsilon", 1e-3);
  if (json_flag(call->config, "rms_scaling", false))
    return scaled_by_variance(call, x, &axes, gamma, epsilon);
  return normalised(call, x, &axes, gamma, beta, epsilon, true);
}

static Value *rms_norm(Call *call) {
  Value *x = call_float_input(call, 0), *scale;
  Axes axes;
  if (!x || !read_axes(call, x->type->rank, &axes) || !axes_weight(call, "scale", x, &axes, &scale))
    return NULL;
  return normalised(call, x, &axes, scale, NULL, json_number(call->config, "epsilon", 1e-6), false);
}

/* x / |x| over the axes; Keras 2 bounds the square of the length, Keras 3 its inverse. */
static Value *unit_norm(Call *call) {
  Value *x = call_float_input(call, 0);
  Axes axes;
  if (!x || !read_axes(call, x->type->rank, &axes)) return NULL;
  return make_unit(call, x, axes.list, axes.count, 1e-12);
}

/* ---- groups of channels ---- */

/* [N][a..][C][b..] as [N][a..][groups][C/groups][b..]. */
static Value *in_groups(Call *call, Value *x, int axis, int64_t groups) {
  const Dim *dims[MAX_RANK + 1];
  for (int i = 0, k = 0; i < x->type->rank; i++) {
    if (i == axis) dims[k++] = dim_const(call->import->module, groups);
    dims[k++] =
        i == axis ? dim_const(call->import->module, x->type->dims[i]->value / groups) : x->type->dims[i];
  }
  return make_reshape(call, x, x->type->rank + 1, dims);
}

/* A weight of the channels, with size 1 along all other axes. */
static Value *channel_weight(Call *call, const char *name, Value *x, int axis) {
  const Dim *dims[MAX_RANK];
  int64_t size = x->type->dims[axis]->value;
  for (int i = 0; i < x->type->rank; i++)
    dims[i] = i == axis ? x->type->dims[i] : dim_const(call->import->module, 1);
  return make_reshape(call, call_weight(call, name, x, 1, &size), x->type->rank, dims);
}

static Value *group_norm(Call *call) {
  Value *x = call_float_input(call, 0);
  int64_t axis, groups;
  if (!x || !read_axis(call, x->type->rank, &axis) || !call_int(call, "groups", 32, &groups)) return NULL;
  const Dim *size = x->type->dims[axis];
  int rank = x->type->rank;
  if (rank >= MAX_RANK || axis == 0) return call_null(call, "axis %lld of %d", (long long)axis, rank);
  if (groups == -1) groups = size->value;
  if (!dim_is_const(size) || groups < 1 || size->value % groups)
    return call_null(call, "%lld groups do not divide %s channels", (long long)groups,
                     dim_text(call->import->module, size));
  Axes axes = {.rank = rank + 1};
  int64_t *at = axes.perm;
  *at++ = 0;
  *at++ = axis;
  for (int i = 1; i <= rank; i++)
    if (i != axis) axes.list[axes.count++] = *at++ = i;
  for (int i = 0; i <= rank; i++) axes.back[axes.perm[i]] = i;
  Value *y = in_groups(call, x, (int)axis, groups);
  if (y) y = normalised(call, y, &axes, NULL, NULL, json_number(call->config, "epsilon", 1e-3), true);
  y = make_reshape(call, y, rank, x->type->dims);
  if (call_has_weight(call, "gamma"))
    y = make_binary(call, &op_mul, y, channel_weight(call, "gamma", x, (int)axis));
  if (call_has_weight(call, "beta"))
    y = make_binary(call, &op_add, y, channel_weight(call, "beta", x, (int)axis));
  return y;
}

#define BATCH_NORM_WEIGHTS "gamma?scale beta?center ~moving_mean ~moving_variance"

const LayerKind norm_layers[] = {
    {"BatchNormalization", batch_norm, 1, 1, BATCH_NORM_WEIGHTS, MASK_PASSES},
    {"BatchNormalizationV1", batch_norm, 1, 1, BATCH_NORM_WEIGHTS, MASK_PASSES},
    {"GroupNormalization", group_norm, 1, 1, "gamma?scale beta?center", MASK_PASSES},
    {"LayerNormalization", layer_norm, 1, 1, "gamma?scale beta?center&!rms_scaling", MASK_PASSES},
    {"RMSNormalization", rms_norm, 1, 1, "scale", MASK_PASSES},
    {"SyncBatchNormalization", batch_norm, 1, 1, BATCH_NORM_WEIGHTS, MASK_PASSES},
    {"UnitNormalization", unit_norm, 1, 1, NULL, MASK_PASSES},
    {0},
};
