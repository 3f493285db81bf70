/* indexing.c -- ONNX operators that read and write at positions which are data. */
#include "frontend/onnx/window.h"

static bool import_gather_nd(OnnxNode *node) {
  Node *core = node_new(&node->builder, &op_gather_nd, node->inputs, 2);
  node_set_int(core, "batch_axes", attr_int(node, "batch_dims", 0));
  return set_output(node, finish(core));
}

static bool import_reverse_sequence(OnnxNode *node) {
  Node *core = node_new(&node->builder, &op_reverse_sequence, node->inputs, 2);
  node_set_int(core, "time_axis", attr_int(node, "time_axis", 0));
  node_set_int(core, "batch_axis", attr_int(node, "batch_axis", 1));
  return set_output(node, finish(core));
}

static bool import_scatter_elements(OnnxNode *node) {
  Node *core = node_new(&node->builder, &op_scatter_elements, node->inputs, 3);
  node_set_int(core, "axis", attr_int(node, "axis", 0));
  node_set_string(core, "reduction", attr_string(node, "reduction", "none"));
  return set_output(node, finish(core));
}

static bool import_scatter_nd(OnnxNode *node) {
  Node *core = node_new(&node->builder, &op_scatter_nd, node->inputs, 3);
  node_set_string(core, "reduction", attr_string(node, "reduction", "none"));
  return set_output(node, finish(core));
}

static bool import_tensor_scatter(OnnxNode *node) {
  bool circular = attr_string_is(node, "mode", "linear", "circular");
  if (!circular && !attr_string_is(node, "mode", "linear", "linear"))
    return onnx_fail(node, "mode is '%s'", attr_string(node, "mode", ""));
  Node *core = node_new(&node->builder, &op_tensor_scatter, node->inputs, node->input_count);
  node_set_int(core, "axis", attr_int(node, "axis", -2));
  node_set_bool(core, "circular", circular);
  return set_output(node, finish(core));
}

/* ---- MaxUnpool: elements go to their flat positions in a tensor of zeros. */

/* Which MaxPool of these attributes may have had; output_shape only places it in more zeros. */
static void unpooled_dims(const OnnxNode *node, const OnnxWindow *window, const Dim **dims) {
  Module *module = node->module;
  const Type *x = input(node, 0)->type;
  for (int i = 0; i < 2; i++) dims[i] = x->dims[i];
  for (int i = 0; i < window->spatial; i++) {
    int64_t rest = window_extent(window, i) - window->pads[i] - window->pads[window->spatial + i];
    const Dim *steps = dim_sub(module, x->dims[2 + i], dim_const(module, 1));
    dims[2 + i] = dim_add(module, dim_mul(module, steps, dim_const(module, window->strides[i])),
                          dim_const(module, rest));
  }
}

static bool import_max_unpool(OnnxNode *node) {
  OnnxWindow window;
  const Dim *dims[MAX_RANK], *const *wanted = NULL;
  int count = 0, rank = input_rank(node, 0);
  Value *x = input(node, 0);
  TRY(window_read(node, NULL, &window));
  if (input(node, 2)) TRY(input_dims(node, 2, "output_shape", &wanted, &count));
  if (wanted && count != rank) return onnx_fail(node, "output_shape has %d sizes for %d axes", count, rank);
  unpooled_dims(node, &window, dims);
  const Type *type = type_make(node->module, x->type->dtype, rank, dims);
  const Dim *all = type_count(node->module, type);
  Value *zeros =
      emit_broadcast(node, emit_scalar(node, x, 0), type_make(node->module, x->type->dtype, 1, &all));
  Value *positions = emit_flat(node, input(node, 1)), *elements = emit_flat(node, x);
  if (!zeros || !positions || !elements) return false;
  Value *y = emit(node, &op_scatter_elements, (Value *[]){zeros, positions, elements}, 3);
  y = emit_reshape(node, y, rank, dims);
  return set_output(node, wanted ? emit_resized(node, y, wanted, false) : y);
}

static const OnnxRow rows[] = {
    {"GatherND", 11, 2, 2, import_gather_nd, NULL},
    {"MaxUnpool", 9, 2, 3, import_max_unpool, NULL},
    {"ReverseSequence", 10, 2, 2, import_reverse_sequence, NULL},
    {"Scatter", 9, 3, 3, import_scatter_elements, NULL},
    {"ScatterElements", 11, 3, 3, import_scatter_elements, NULL},
    {"ScatterND", 11, 3, 3, import_scatter_nd, NULL},
    {"TensorScatter", 24, 2, 3, import_tensor_scatter, NULL},
    {"com.microsoft.GatherND", 1, 2, 2, import_gather_nd, NULL},
};

const OnnxRows onnx_indexing = {rows, COUNT_OF(rows)};
