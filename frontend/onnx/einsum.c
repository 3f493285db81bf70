/* einsum.c -- Einsum, which frontend/einsum.c takes apart. */
#include "frontend/einsum.h"
#include "frontend/onnx/onnx.h"

static bool import_einsum(OnnxNode *node) {
  const char *equation = attr_string(node, "equation", NULL), *problem;
  if (!equation) return onnx_fail(node, "equation is missing");
  Value *y = build_einsum(&node->builder, equation, node->inputs, node->input_count, &problem);
  return y || !problem ? set_output(node, y) : onnx_fail(node, "%s", problem);
}

static const OnnxRow rows[] = {
    {"Einsum", 12, 1, -1, import_einsum, NULL},
};

const OnnxRows onnx_einsum = {rows, COUNT_OF(rows)};
