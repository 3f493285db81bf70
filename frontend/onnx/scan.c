/*
 * scan.c -- ONNX's running sum, in log2(size) steps: after step k every element is the sum of up to 2^k, and
 * the next step adds the one 2^k places before. Sums are in another order than one after the other.
 */
#include "frontend/onnx/onnx.h"

/* Element i becomes element i - distance, 0 where there is none; `reverse`: i + distance. */
static Value *shift(OnnxNode *node, Value *x, int axis, int64_t distance, bool reverse) {
  if (!x) return NULL;
  const Dim *starts[MAX_RANK], *sizes[MAX_RANK], *pads[2 * MAX_RANK];
  int64_t steps[MAX_RANK], size = x->type->dims[axis]->value;
  int rank = x->type->rank;
  Module *module = node->module;
  for (int i = 0; i < rank; i++) {
    starts[i] = pads[i] = pads[rank + i] = dim_const(module, 0);
    sizes[i] = x->type->dims[i];
    steps[i] = 1;
  }
  sizes[axis] = dim_const(module, size - distance);
  if (reverse) starts[axis] = dim_const(module, distance);
  pads[axis + (reverse ? rank : 0)] = dim_const(module, distance);
  Value *part = emit_slice(node, x, starts, sizes, steps), *zero = emit_scalar(node, x, 0);
  if (!part || !zero) return NULL;
  Node *core = node_new(&node->builder, &op_pad, (Value *[]){part, zero}, 2);
  node_set_dims(core, "pads", pads, 2 * rank);
  return finish(core);
}

static bool import_cum_sum(OnnxNode *node) {
  Value *x = input(node, 0);
  bool reverse = attr_bool(node, "reverse", false);
  double given;
  if (!value_scalar(input(node, 1), &given)) return onnx_fail(node, "axis must be a constant");
  int64_t axis = (int64_t)given;
  TRY(normal_axis(node, &axis, x->type->rank));
  const Dim *dim = x->type->dims[axis];
  if (!dim_is_const(dim))
    return onnx_fail(node, "axis %lld has the size %s: give it with --dim", (long long)axis,
                     dim_text(node->module, dim));
  if (attr_bool(node, "exclusive", false) && dim->value > 0) x = shift(node, x, (int)axis, 1, reverse);
  for (int64_t distance = 1; x && distance < dim->value; distance *= 2)
    x = emit_binary(node, &op_add, x, shift(node, x, (int)axis, distance, reverse));
  return set_output(node, x);
}

static const OnnxRow rows[] = {
    {"CumSum", 11, 2, 2, import_cum_sum, NULL},
};

const OnnxRows onnx_scan = {rows, COUNT_OF(rows)};
