/* search.c -- ONNX operators that compare elements with each other. */
#include "frontend/onnx/onnx.h"

/* How many: an attribute before opset 10, then an input. `sorted` is not asked: sorted is as good an order as
 * any. */
static bool read_k(OnnxNode *node, const Dim **k) {
  const Dim *const *dims;
  int count;
  if (node->row->since < 10) {
    *k = dim_const(node->module, attr_int(node, "k", -1));
    return true;
  }
  TRY(input_dims(node, 1, "K", &dims, &count));
  if (count != 1) return onnx_fail(node, "K has %d elements, one is wanted", count);
  *k = dims[0];
  return true;
}

static bool import_top_k(OnnxNode *node) {
  const Dim *k;
  TRY(read_k(node, &k));
  Node *core = node_new(&node->builder, &op_top_k, node->inputs, 1);
  node_set_dims(core, "k", &k, 1);
  node_set_int(core, "axis", attr_int(node, "axis", -1));
  node_set_bool(core, "largest", attr_bool(node, "largest", true));
  TRY(node_finish(core));
  for (int i = 0; i < node->output_count && i < core->result_count; i++) node->outputs[i] = result(core, i);
  return true;
}

static const OnnxRow rows[] = {
    {"TopK", 1, 1, 1, import_top_k, NULL},
    {"TopK", 10, 2, 2, import_top_k, NULL},
};

const OnnxRows onnx_search = {rows, COUNT_OF(rows)};
