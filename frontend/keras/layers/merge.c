/*
 * merge.c -- layers of several inputs: element by element, and Concatenate.
 *
 * Inputs of lower rank get axes of size 1 behind the batch, not in front as numpy would.
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

static Value *fold(Call *call, const Op *op) {
  int rank = 0;
  for (int i = 0; i < call->input_count; i++)
    rank = call->inputs[i]->type->rank > rank ? call->inputs[i]->type->rank : rank;
  Value *y = widen(call, call->inputs[0], rank);
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
  if (call->input_count == 1) return call->inputs[0];
  Node *node = node_new(call->builder, &op_concat, call->inputs, call->input_count);
  node_set_int(node, "axis", axis);
  return node_finish(node) ? result(node, 0) : NULL;
}

const LayerKind merge_layers[] = {
    {"Add", add, 1, 0, NULL},
    {"Average", average, 1, 0, NULL},
    {"Concatenate", concatenate, 1, 0, NULL},
    {"Maximum", maximum, 1, 0, NULL},
    {"Minimum", minimum, 1, 0, NULL},
    {"Multiply", multiply, 1, 0, NULL},
    {"Subtract", subtract, 2, 2, NULL},
    {0},
};
