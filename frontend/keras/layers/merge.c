/*
 * merge.c -- layers of several inputs: element by element, Concatenate, Dot.
 *
 * Inputs of lower rank get axes of size 1 behind the batch, not in front as numpy would.
 *
 * Masks: Keras 3 joins those of all inputs by "or", and forgets them when an input has none. Keras 2 joins
 * those that there are by "and".
 */
#include "frontend/keras/keras.h"

static Value *widen(Call *call, Value *x, int rank) {
  int missing = rank - x->type->rank;
  const Dim *dims[MAX_RANK];
  if (missing <= 0 || x->type->rank == 0) return x;
  for (int i = 0; i < rank; i++)
    dims[i] = i == 0         ? x->type->dims[0]
              : i <= missing ? dim_const(call->import->module, 1)
                             : x->type->dims[i - missing];
  return build_reshape(call->builder, x, rank, dims);
}

/* ---- masks ---- */

static Value *merged_mask(Call *call) {
  bool is_keras3 = call->import->container->major >= 3;
  Value *mask = NULL;
  for (int i = 0; i < call->input_count; i++) {
    Value *next = call->masks[i];
    if (!next && is_keras3) return NULL;
    if (next) mask = mask ? make_binary(call, is_keras3 ? &op_or : &op_and, mask, next) : next;
  }
  return mask;
}

/* The steps of an input, bool of its shape: for the mask of what is put together from several. */
static Value *spread_mask(Call *call, int index) {
  Value *x = call->inputs[index], *mask = call->masks[index];
  if (!mask) return make_broadcast(call, build_scalar(call->builder, DTYPE_BOOL, 1), x->type);
  while (mask && mask->type->rank < x->type->rank) mask = make_unsqueeze(call, mask, mask->type->rank);
  return make_broadcast(call, mask, x->type);
}

/* A step of the result counts if all of its elements do. */
static Value *concatenated_mask(Call *call, int axis) {
  Value **parts = NEW_ARRAY(call->import->module->arena, Value *, call->input_count);
  bool any = false;
  for (int i = 0; i < call->input_count; i++) any |= call->masks[i] != NULL;
  for (int i = 0; any && i < call->input_count; i++) parts[i] = spread_mask(call, i);
  Value *mask = any ? make_concat(call, parts, call->input_count, axis) : NULL;
  if (!mask) return NULL;
  int last = mask->type->rank - 1;
  return make_squeeze(call, make_reduce(call, &op_reduce_min, mask, (int64_t[]){last}, 1), last);
}

/* ---- layers ---- */

static Value *fold(Call *call, const Op *op) {
  int rank = 0;
  for (int i = 0; i < call->input_count; i++)
    rank = call->inputs[i]->type->rank > rank ? call->inputs[i]->type->rank : rank;
  Value *y = widen(call, call->inputs[0], rank);
  call->mask = merged_mask(call);
  for (int i = 1; y && i < call->input_count; i++) {
    Value *x = widen(call, call->inputs[i], rank);
    y = x ? build_binary(call->builder, op, y, x) : NULL;
  }
  return y;
}

static Value *add(Call *call) {
  return fold(call, &op_add);
}
static Value *subtract(Call *call) {
  return fold(call, &op_sub);
}
static Value *multiply(Call *call) {
  return fold(call, &op_mul);
}
static Value *maximum(Call *call) {
  return fold(call, &op_max);
}
static Value *minimum(Call *call) {
  return fold(call, &op_min);
}

static Value *average(Call *call) {
  Value *sum = fold(call, &op_add);
  Value *count = sum ? build_scalar(call->builder, sum->type->dtype, call->input_count) : NULL;
  return count ? build_binary(call->builder, &op_div, sum, count) : NULL;
}

static Value *concatenate(Call *call) {
  int rank = call->inputs[0]->type->rank;
  const cJSON *item = json_member(call->config, "axis");
  int64_t axis = rank - 1;
  if (item && !call_axis(call, item, rank, &axis)) return NULL;
  call->mask = concatenated_mask(call, (int)axis);
  return make_concat(call, call->inputs, call->input_count, (int)axis);
}

/* ---- Dot ---- */

static bool read_dot_axes(Call *call, int64_t *axes) {
  const cJSON *item = json_member(call->config, "axes");
  if (cJSON_IsArray(item) && cJSON_GetArraySize(item) != 2) return call_fail(call, "'axes' are not two");
  for (int i = 0; i < 2; i++) {
    TRY(call_axis(call, cJSON_IsArray(item) ? json_at(item, i) : item, call->inputs[i]->type->rank,
                  &axes[i]));
    if (axes[i] == 0) return call_fail(call, "it cannot multiply along the batch");
  }
  return true;
}

/* [batch, the other axes.., axis] with the others together: [batch, others, axis]. */
static Value *as_matrix(Call *call, Value *x, int axis, const Dim **others, int *count) {
  Module *module = call->import->module;
  const Dim *together = dim_const(module, 1);
  for (int i = 1; i < x->type->rank; i++) {
    if (i == axis) continue;
    others[(*count)++] = x->type->dims[i];
    together = dim_mul(module, together, x->type->dims[i]);
  }
  const Dim *dims[] = {x->type->dims[0], together, x->type->dims[axis]};
  return make_reshape(call, make_move_axis(call, x, axis, x->type->rank - 1), 3, dims);
}

/* The sum of products along an axis of each, for every pair of their other positions. */
static Value *dot(Call *call) {
  Value *x[2];
  int64_t axes[2];
  const Dim *dims[2 * MAX_RANK];
  int rank = 1;
  if (!read_dot_axes(call, axes)) return NULL;
  for (int i = 0; i < 2; i++) {
    x[i] = call_float_input(call, i);
    if (x[i] && json_flag(call->config, "normalize", false)) x[i] = make_unit(call, x[i], &axes[i], 1, 1e-7);
    if (!x[i]) return NULL;
    dims[0] = x[i]->type->dims[0];
    x[i] = as_matrix(call, x[i], (int)axes[i], dims, &rank);
  }
  Value *y = make_binary(call, &op_matmul, x[0], make_transpose(call, x[1], (int64_t[]){0, 2, 1}));
  if (rank == 1) dims[rank++] = dim_const(call->import->module, 1);
  return make_reshape(call, y, rank, dims);
}

const LayerKind merge_layers[] = {
    {"Add", add, 1, 0, NULL, MASK_OWN},
    {"Average", average, 1, 0, NULL, MASK_OWN},
    {"Concatenate", concatenate, 1, 0, NULL, MASK_OWN},
    {"Dot", dot, 2, 2, NULL, MASK_ENDS},
    {"Maximum", maximum, 1, 0, NULL, MASK_OWN},
    {"Minimum", minimum, 1, 0, NULL, MASK_OWN},
    {"Multiply", multiply, 1, 0, NULL, MASK_OWN},
    {"Subtract", subtract, 2, 2, NULL, MASK_OWN},
    {0},
};
