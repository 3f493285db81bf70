/* scan.c -- ONNX's running sums and products. */
#include "frontend/onnx/onnx.h"

static bool import_scan(OnnxNode *node) {
  double axis;
  if (!value_scalar(input(node, 1), &axis)) return onnx_fail(node, "axis must be a constant");
  Node *core = node_new(&node->builder, node->row->op, node->inputs, 1);
  node_set_int(core, "axis", (int64_t)axis);
  node_set_bool(core, "exclusive", attr_bool(node, "exclusive", false));
  node_set_bool(core, "reverse", attr_bool(node, "reverse", false));
  return set_output(node, finish(core));
}

static const OnnxRow rows[] = {
    {"CumProd", 26, 2, 2, import_scan, &op_cum_prod},
    {"CumSum", 11, 2, 2, import_scan, &op_cum_sum},
};

const OnnxRows onnx_scan = {rows, COUNT_OF(rows)};
