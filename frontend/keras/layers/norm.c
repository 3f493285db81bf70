/*
 * norm.c -- BatchNormalization, LayerNormalization, Rescaling.
 */
#include "frontend/keras/keras.h"

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

static Value *layer_norm(Call *call) {
  Value *x = call_float_input(call, 0);
  int64_t axis;
  if (!x || !read_axis(call, x->type->rank, &axis)) return NULL;
  if (axis != x->type->rank - 1)
    return call_null(call, "only its last axis can be normalised, not axis %lld", (long long)axis);
  if (json_flag(call->config, "rms_scaling", false)) return call_null(call, "rms_scaling is not supported");
  const Dim *size = x->type->dims[axis];
  if (!dim_is_const(size)) return call_null(call, "the size of axis %lld is not fixed", (long long)axis);
  Value *operands[3] = {x, weight_or(call, "gamma", x, size, 1), weight_or(call, "beta", x, size, 0)};
  if (!operands[1] || !operands[2]) return NULL;
  Node *node = node_new(call->builder, &op_layer_norm, operands, 3);
  node_set_int(node, "axis", axis);
  node_set_float(node, "epsilon", json_number(call->config, "epsilon", 1e-3));
  return node_finish(node) ? result(node, 0) : NULL;
}

/* One number or a list, one per channel. */
static Value *numbers(Call *call, const char *name, Dtype dtype, double otherwise) {
  const cJSON *item = json_member(call->config, name), *number;
  if (!cJSON_IsArray(item))
    return build_scalar(call->builder, dtype, json_number(call->config, name, otherwise));
  int64_t count = cJSON_GetArraySize(item), i = 0;
  Data *data = data_new(call->import->module, dtype, count);
  cJSON_ArrayForEach(number, item) {
    if (!cJSON_IsNumber(number)) return call_null(call, "'%s' is not a list of numbers", name);
    dtype_set(dtype, data_bytes(data), i++, number->valuedouble);
  }
  return build_const(call->builder, type_static(call->import->module, dtype, 1, &count), data, NULL);
}

static Value *rescaling(Call *call) {
  Value *x = call_float_input(call, 0);
  Value *scale = x ? numbers(call, "scale", x->type->dtype, 1) : NULL;
  Value *offset = x ? numbers(call, "offset", x->type->dtype, 0) : NULL;
  if (!scale || !offset) return NULL;
  Value *y = build_binary(call->builder, &op_mul, x, scale);
  return y ? build_binary(call->builder, &op_add, y, offset) : NULL;
}

#define BATCH_NORM_WEIGHTS "gamma?scale beta?center moving_mean moving_variance"

const LayerKind norm_layers[] = {
    {"BatchNormalization", batch_norm, 1, 1, BATCH_NORM_WEIGHTS},
    {"BatchNormalizationV1", batch_norm, 1, 1, BATCH_NORM_WEIGHTS},
    {"LayerNormalization", layer_norm, 1, 1, "gamma?scale beta?center"},
    {"Rescaling", rescaling, 1, 1, NULL},
    {"SyncBatchNormalization", batch_norm, 1, 1, BATCH_NORM_WEIGHTS},
    {0},
};
