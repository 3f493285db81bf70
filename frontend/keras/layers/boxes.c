/*
 * boxes.c -- MaxNumBoundingBoxes: of a dictionary of tensors, boxes [batch, n, 4] and their labels [batch, n]
 * become as many as the layer says, cut or filled up. All else, a lone image too, stays.
 *
 * Results are numbered as Keras numbers them: by the names of the dictionary's members, in their order.
 */
#include "frontend/keras/keras.h"

static Value *bounded(Call *call, Value *x, int64_t most, int rank) {
  Module *module = call->import->module;
  if (x->type->rank != rank)
    return call_null(call, "its boxes or labels have %d axes, not %d", x->type->rank, rank);
  const Dim *zero = dim_const(module, 0), *wanted = dim_const(module, most);
  const Dim *kept = dim_make(module, DIM_MIN, x->type->dims[1], wanted),
            *missing = dim_sub(module, wanted, kept);
  x = make_slice(call, x, 1, zero, kept, 1);
  if (!x || missing == zero) return x;
  const Dim *pads[6] = {zero, zero, zero, zero, zero, zero};
  pads[rank + 1] = missing;
  Value *fill = build_scalar(call->builder, x->type->dtype, json_number(call->config, "fill_value", -1));
  Node *node = node_new(call->builder, &op_pad, (Value *[]){x, fill}, 2);
  node_set_dims(node, "pads", pads, 2 * rank);
  return make(node);
}

static Value *max_boxes(Call *call) {
  static const char *const others[] = {"images", "labels", "segmentation_masks"};
  const cJSON *data = call_argument(call, 0, "data"), *boxes = json_member(data, "bounding_boxes");
  Masked found;
  int64_t most;
  if (!boxes) return call->inputs[0];
  if (!call_int(call, "max_number", 0, &most)) return NULL;
  if (most < 1 || most > INT32_MAX)
    return call_null(call, "'max_number' is %lld, which makes no sense", (long long)most);
  if (!call_find(call, json_member(boxes, "boxes"), &found))
    return call_null(call, "it is called without boxes");
  Value *first = bounded(call, found.value, most, 3);
  if (!call_find(call, json_member(boxes, "labels"), &found))
    return call_null(call, "it is called without labels");
  Value *labels = first ? bounded(call, found.value, most, 2) : NULL;
  if (!labels) return NULL;
  call_also(call, labels);
  for (int i = 0; i < COUNT_OF(others); i++)
    if (call_find(call, json_member(data, others[i]), &found)) call_also(call, found.value);
  return first;
}

const LayerKind boxes_layers[] = {
    {"MaxNumBoundingBoxes", max_boxes, 1, 5, NULL, MASK_ENDS},
    {0},
};
