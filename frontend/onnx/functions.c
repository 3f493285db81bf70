/*
 * functions.c -- functions that a model defines itself, expanded where they are called.
 *
 * The body is imported as if its nodes stood at the call, in a scope of its own: the inputs' names mean the
 * call's operands, its opsets are the function's. Calls nest; a function that calls itself runs into the
 * depth limit.
 */
#include "frontend/onnx/onnx.h"

#include <string.h>

enum { MAX_DEPTH = 24 };

static bool same_text(const char *a, const char *b) {
  return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool same_domain(const char *a, const char *b) {
  return domain_is_onnx(a) ? domain_is_onnx(b) : !domain_is_onnx(b) && strcmp(a, b) == 0;
}

const Onnx__FunctionProto *function_find(const Import *import, const Onnx__NodeProto *proto) {
  for (size_t i = 0; i < import->model->n_functions; i++) {
    const Onnx__FunctionProto *function = import->model->functions[i];
    if (same_text(function->name, proto->op_type) && same_domain(function->domain, proto->domain) &&
        same_text(function->overload, proto->overload))
      return function;
  }
  return NULL;
}

static void bind_inputs(OnnxNode *node, const Onnx__FunctionProto *function, Scope *scope) {
  for (size_t i = 0; i < function->n_input; i++) {
    Value *value = input(node, (int)i);
    names_set(node->module, &scope->values, intern(node->module, function->input[i]),
              value ? value : &node->import->absent);
  }
}

bool function_expand(OnnxNode *node, const Onnx__FunctionProto *function) {
  Module *module = node->module;
  Scope scope = {.opset_count = function->n_opset_import,
                 .opsets = function->opset_import,
                 .function = function,
                 .caller = node,
                 .depth = node->scope->depth + 1,
                 .graph = node->scope->graph};
  if (scope.depth > MAX_DEPTH)
    return onnx_fail(node, "functions call each other more than %d deep", MAX_DEPTH);
  if ((size_t)node->input_count > function->n_input || (size_t)node->output_count > function->n_output)
    return onnx_fail(node, "%d inputs and %d outputs, the function has %zu and %zu", node->input_count,
                     node->output_count, function->n_input, function->n_output);
  bind_inputs(node, function, &scope);
  import_nodes(node->import, &scope, function->n_node, function->node);
  for (int i = 0; i < node->output_count; i++) {
    Value *value = names_get(&scope.values, intern(module, function->output[i]));
    if (!value || value == &node->import->absent)
      return onnx_fail(node, "the function does not define its output '%s'", function->output[i]);
    node->outputs[i] = value;
  }
  return true;
}
