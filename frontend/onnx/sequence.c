/* sequence.c -- ONNX operators on sequences and optional values. */
#include "frontend/onnx/onnx.h"

static Value *emit_item(OnnxNode *node, const Op *op) {
  return emit(node, op, node->inputs, node->input_count);
}

/* Operands as they are. */
static bool import_plain(OnnxNode *node) {
  return set_output(node, emit_item(node, node->row->op));
}

static bool dtype_attr(OnnxNode *node, Dtype *dtype) {
  *dtype = dtype_of_onnx(attr_int(node, "dtype", 1));
  return *dtype != DTYPE_NONE ||
         onnx_fail(node, "dtype %lld is not known", (long long)attr_int(node, "dtype", 1));
}

static bool import_empty(OnnxNode *node) {
  Dtype dtype;
  TRY(dtype_attr(node, &dtype));
  Node *core = node_new(&node->builder, &op_sequence_make, NULL, 0);
  node_set_dtype(core, "dtype", dtype);
  return set_output(node, finish(core));
}

static bool import_concat(OnnxNode *node) {
  Node *core = node_new(&node->builder, &op_sequence_concat, node->inputs, 1);
  node_set_int(core, "axis", attr_int(node, "axis", 0));
  node_set_bool(core, "stack", attr_bool(node, "new_axis", false));
  return set_output(node, finish(core));
}

static bool import_split(OnnxNode *node) {
  Node *core = node_new(&node->builder, &op_sequence_split, node->inputs, node->input_count);
  node_set_int(core, "axis", attr_int(node, "axis", 0));
  node_set_bool(core, "keep", input(node, 1) || attr_bool(node, "keepdims", true));
  return set_output(node, finish(core));
}

/* ---- Optional values: of opset 18 on, any value passes for one */

static bool is_optional(const Value *value) {
  return value->type->form == FORM_OPTIONAL || value->type->form == FORM_OPTIONAL_SEQUENCE;
}

static bool import_optional(OnnxNode *node) {
  const Onnx__AttributeProto *type = attr_find(node, "type");
  Node *core = node_new(&node->builder, &op_optional_make, node->inputs, node->input_count);
  if (!input(node, 0)) {
    const Onnx__TypeProto *element = type ? type->tp : NULL;
    const Onnx__TypeProto__Sequence *sequence = element ? element->sequence_type : NULL;
    if (sequence) element = sequence->elem_type;
    if (!element || !element->tensor_type)
      return onnx_fail(node, "attribute 'type' says nothing of a tensor");
    Dtype dtype = dtype_of_onnx(element->tensor_type->elem_type);
    if (dtype == DTYPE_NONE) return onnx_fail(node, "attribute 'type' has an unknown element type");
    node_set_dtype(core, "dtype", dtype);
    node_set_bool(core, "sequence", sequence != NULL);
  }
  return set_output(node, finish(core));
}

static bool import_has(OnnxNode *node) {
  if (input(node, 0) && is_optional(input(node, 0)))
    return set_output(node, emit_unary(node, &op_optional_has, input(node, 0)));
  return set_output(node, build_scalar(&node->builder, DTYPE_BOOL, input(node, 0) != NULL));
}

static bool import_get(OnnxNode *node) {
  Value *x = input(node, 0);
  return set_output(node, is_optional(x) ? emit_unary(node, &op_optional_get, x) : x);
}

static const OnnxRow rows[] = {
    {"ConcatFromSequence", 11, 1, 1, import_concat, NULL},
    {"Optional", 15, 0, 1, import_optional, NULL},
    {"OptionalGetElement", 15, 1, 1, import_get, NULL},
    {"OptionalHasElement", 15, 0, 1, import_has, NULL},
    {"SequenceAt", 11, 2, 2, import_plain, &op_sequence_at},
    {"SequenceConstruct", 11, 1, -1, import_plain, &op_sequence_make},
    {"SequenceEmpty", 11, 0, 0, import_empty, NULL},
    {"SequenceErase", 11, 1, 2, import_plain, &op_sequence_erase},
    {"SequenceInsert", 11, 2, 3, import_plain, &op_sequence_insert},
    {"SequenceLength", 11, 1, 1, import_plain, &op_sequence_length},
    {"SplitToSequence", 11, 1, 2, import_split, NULL},
};

const OnnxRows onnx_sequence = {rows, COUNT_OF(rows)};
