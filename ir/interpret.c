/*
 * interpret.c -- runs a graph node by node: each is lowered plainly and its kernel interpreted.
 *
 * The reference for everything compiled: no fusion unless the graph has it, no vectors, no memory plan. Every
 * value gets a tensor of its own, kept to the end. Operators that are defined by others (`expand`) are
 * expanded first, in a copy.
 */
#include "ir/loop.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_SYMBOLS = 256 };

typedef struct Run {
  Graph *graph;
  Tensor *tensors; /* by value number; data NULL: not there yet */
  const Value **values;
  int count;
  const char *symbols[MAX_SYMBOLS];
  int64_t symbol_values[MAX_SYMBOLS];
  int symbol_count;
} Run;

static bool needs_expansion(const Graph *graph) {
  FOR_EACH_NODE(node, graph) {
    if (node->op->expand) return true;
  }
  return false;
}

/* Expansions may hold expandable ops again; these stand before the node, so another round finds them. */
static bool expand_all(Graph *graph) {
  for (int round = 0; needs_expansion(graph); round++) {
    if (round == 16) return fail(graph->module, "operators expand into each other without end");
    FOR_EACH_NODE_SAFE(node, graph) {
      if (!node->op->expand) continue;
      Value **results = NEW_ARRAY(graph->module->arena, Value *, node->result_count);
      TRY(node->op->expand(node, results));
      for (int i = 0; i < node->result_count; i++) value_replace(result(node, i), results[i]);
      node_remove(node);
    }
  }
  return true;
}

static Tensor *tensor_of(const Run *run, const Value *value) {
  for (int i = run->count - 1; i >= 0; i--) {
    if (run->values[i] == value) return &run->tensors[i];
  }
  return NULL;
}

static Tensor *add_value(Run *run, const Value *value) {
  run->values[run->count] = value;
  run->tensors[run->count] = (Tensor){0};
  return &run->tensors[run->count++];
}

static bool allocate(Run *run, const Value *value, Tensor *tensor) {
  int64_t dims[MAX_RANK];
  for (int axis = 0; axis < value->type->rank; axis++) {
    if (!dim_eval(value->type->dims[axis], run->symbols, run->symbol_values, run->symbol_count,
                  &dims[axis])) {
      return fail(run->graph->module, "axis %d of '%s' has no size for these inputs", axis,
                  value->name ? value->name : "?");
    }
  }
  if (tensor_new(tensor, value->type->dtype, value->type->rank, dims)) return true;
  return fail(run->graph->module, "a value of type %s does not fit into memory",
              type_text(run->graph->module, value->type));
}

static bool run_const(Run *run, const Node *node) {
  const Data *data = node->data;
  Tensor *tensor = add_value(run, node->results[0]);
  TRY(allocate(run, node->results[0], tensor));
  if (!data->splat) {
    if (data->size) memcpy(tensor->data, data->bytes, data->size);
    return true;
  }
  for (int64_t i = 0; i < data->count; i++) dtype_copy(data->dtype, tensor->data, i, data->bytes, 0);
  return true;
}

/* No elements: nothing to compute, though loops over the other axes could still run for years. */
static bool results_are_empty(const Run *run, const Node *node) {
  for (int i = 0; i < node->result_count; i++)
    if (tensor_count(tensor_of(run, node->results[i])) != 0) return false;
  return true;
}

static bool run_kernel(Run *run, Node *node) {
  Module *module = run->graph->module;
  Kernel *kernel = lower_node(node, node->op->name, NULL, NULL);
  if (!kernel) return module->error_count > 0 ? false : node_fail(node, "cannot be lowered to loops");
  for (int i = 0; i < node->result_count; i++)
    TRY(allocate(run, node->results[i], add_value(run, node->results[i])));
  if (results_are_empty(run, node)) return true;
  void **args = NEW_ARRAY(module->arena, void *, kernel->param_count);
  for (int i = 0; i < kernel->param_count; i++) {
    int index = lower_param_operand(node, i);
    const Value *value =
        index < node->operand_count ? operand(node, index) : node->results[index - node->operand_count];
    args[i] = tensor_of(run, value)->data;
  }
  return kernel_interpret(kernel, args, run->symbols, run->symbol_values, run->symbol_count);
}

static bool run_view(Run *run, const Node *node) {
  Tensor *tensor = add_value(run, node->results[0]);
  TRY(allocate(run, node->results[0], tensor));
  const Tensor *from = tensor_of(run, operand(node, 0));
  if (tensor_size(from) != tensor_size(tensor))
    return node_fail(node, "the shapes hold different numbers of elements");
  memcpy(tensor->data, from->data, tensor_size(tensor));
  return true;
}

static bool run_nodes(Run *run) {
  FOR_EACH_NODE(node, run->graph) {
    if (node_is(node, &op_return)) break;
    if (node_is(node, &op_const))
      TRY(run_const(run, node));
    else if (node->op->traits & TRAIT_VIEW)
      TRY(run_view(run, node));
    else
      TRY(run_kernel(run, node));
  }
  return true;
}

static bool copy_outputs(Run *run, Tensor *outputs) {
  for (int i = 0; i < run->graph->output_count; i++) {
    const Tensor *tensor = tensor_of(run, graph_output(run->graph, i));
    if (!tensor_new(&outputs[i], tensor->dtype, tensor->rank, tensor->dims)) {
      while (i-- > 0) tensor_free(&outputs[i]);
      return fail(run->graph->module, "the outputs do not fit into memory");
    }
    memcpy(outputs[i].data, tensor->data, tensor_size(tensor));
  }
  return true;
}

static int count_values(const Graph *graph) {
  int count = graph->input_count;
  FOR_EACH_NODE(node, graph) count += node->result_count;
  return count;
}

bool graph_interpret(Graph *graph, const Tensor *inputs, Tensor *outputs) {
  Module *module = graph->module;
  if (needs_expansion(graph)) {
    graph = graph_clone(module, graph, NULL);
    TRY(expand_all(graph));
  }
  Run run = {.graph = graph};
  int values = count_values(graph);
  TRY(graph_bind(graph, inputs, run.symbols, run.symbol_values, MAX_SYMBOLS, &run.symbol_count));
  run.tensors = NEW_ARRAY(module->arena, Tensor, values);
  run.values = NEW_ARRAY(module->arena, const Value *, values);
  for (int i = 0; i < graph->input_count; i++) *add_value(&run, graph->inputs[i]) = inputs[i];
  bool ok = run_nodes(&run) && copy_outputs(&run, outputs);
  for (int i = graph->input_count; i < run.count; i++)
    tensor_free(&run.tensors[i]); /* inputs are the caller's */
  return ok;
}
