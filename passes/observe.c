/*
 * observe.c -- a compiled copy of a graph that shows values on the way.
 *
 * The copy goes through the default pipeline, so that what calibration sees, and how long kernels take, is
 * what the library will do. It has no states: they are inputs and outputs like others.
 */
#include "passes/observe.h"

#include <string.h>

static int number_of(const Graph *graph, const Value *input) {
  int i = 0;
  while (graph->inputs[i] != input) i++;
  return i;
}

void values_in_copy(const Graph *source, Value *const *values, int count, const Graph *copy, Value **found) {
  Node **nodes = NEW_ARRAY(copy->module->arena, Node *, graph_count_nodes(copy));
  int node_count = 0;
  FOR_EACH_NODE(node, source) node->mark = node_count++;
  node_count = 0;
  FOR_EACH_NODE(node, copy) nodes[node_count++] = node;
  for (int i = 0; i < count; i++) {
    const Node *def = values[i]->def;
    int index = 0;
    while (def && def->results[index] != values[i]) index++;
    found[i] = def ? result(nodes[def->mark], index) : copy->inputs[number_of(source, values[i])];
  }
}

static bool show_values(Observer *observer, const Graph *source, Value *const *values, int count) {
  Graph *copy = observer->copy;
  Arena *arena = copy->module->arena;
  int all = copy->output_count + count;
  Value **outputs = NEW_ARRAY(arena, Value *, all);
  const char **names = NEW_ARRAY(arena, const char *, all);
  for (int i = 0; i < copy->output_count; i++) {
    outputs[i] = graph_output(copy, i);
    names[i] = copy->output_names[i];
  }
  values_in_copy(source, values, count, copy, &outputs[copy->output_count]);
  for (int i = 0; i < count; i++) names[copy->output_count + i] = arena_printf(arena, "observed %d", i);
  return graph_set_outputs(copy, all, outputs, names);
}

static bool optimise(Graph *graph, const PassOptions *options) {
  PipelineOptions pipeline = {.pass = *options, .tables = options->tables};
  pipeline.pass.quantization = NULL;
  pipeline.pass.tuning = NULL;
  pipeline.pass.portable = false;
  return pipeline_run(graph, &pipeline);
}

bool observer_open(Observer *observer, Graph *graph, const PassOptions *options, Value *const *values,
                   int count) {
  *observer = (Observer){.module = graph->module,
                         .executor = options->executor.open ? &options->executor : NULL,
                         .copy = graph_clone(graph->module, graph, NULL),
                         .input_count = graph->input_count,
                         .output_count = graph->output_count,
                         .seen_count = count};
  observer->copy->state_count = 0;
  TRY(show_values(observer, graph, values, count) && optimise(observer->copy, options));
  if (!observer->executor) return true;
  observer->runnable = observer->executor->open(observer->executor->context, observer->copy);
  return observer->runnable != NULL;
}

bool observer_run(Observer *observer, const Tensor *inputs, Tensor *seen) {
  return observer->executor ? observer->executor->run(observer->runnable, inputs, seen)
                            : graph_interpret(observer->copy, inputs, seen);
}

int observer_times(Observer *observer, const KernelTime **times) {
  return observer->executor && observer->executor->times
             ? observer->executor->times(observer->runnable, times)
             : 0;
}

void observer_close(Observer *observer) {
  if (observer->runnable) observer->executor->close(observer->runnable);
  observer->runnable = NULL;
}
