/*
 * observe.c -- a compiled copy of a graph that shows values on the way.
 *
 * The copy has a module of its own, so that its weights in other layouts go with it. It goes through the
 * default pipeline, so that what calibration sees, and how long kernels take, is what the library will do. It
 * has no states: they are inputs and outputs like others.
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

/* Behind the first `own` outputs of the copy. */
static bool show_values(Graph *copy, int own, Value *const *values, int count) {
  Arena *arena = copy->module->arena;
  int all = own + count;
  Value **outputs = NEW_ARRAY(arena, Value *, all);
  const char **names = NEW_ARRAY(arena, const char *, all);
  for (int i = 0; i < own; i++) {
    outputs[i] = graph_output(copy, i);
    names[i] = copy->output_names[i];
  }
  for (int i = 0; i < count; i++) {
    outputs[own + i] = values[i];
    names[own + i] = arena_printf(arena, "observed %d", i);
  }
  return graph_set_outputs(copy, all, outputs, names);
}

static bool optimise(Graph *graph, const PassOptions *options) {
  PipelineOptions pipeline = {.pass = *options, .tables = options->tables};
  pipeline.pass.quantization = NULL;
  pipeline.pass.pruning = NULL;
  pipeline.pass.tuning = NULL;
  pipeline.pass.portable = false;
  return pipeline_run(graph, &pipeline);
}

bool diags_pass_on(const Module *copy, Module *module, bool ok) {
  for (const Diag *diag = copy->diags; !ok && diag; diag = diag->next) diag_add(module, *diag);
  return ok;
}

static bool pass_on(Observer *observer, bool ok) {
  return diags_pass_on(observer->copy->module, observer->module, ok);
}

void observer_begin(Observer *observer, const Graph *graph, const PassOptions *options) {
  Module *own = module_new(graph->module->file);
  *observer = (Observer){.module = graph->module, .options = options};
  observer->copy = own->main = graph_new(own, graph->name, NULL);
}

void observer_copy(Observer *observer, const Graph *graph, const PassOptions *options) {
  Module *own = module_new(graph->module->file);
  *observer = (Observer){.module = graph->module, .options = options, .output_count = graph->output_count};
  observer->copy = own->main = graph_clone(own, graph, NULL);
  observer->copy->state_count = 0;
}

static bool build(Observer *observer, int own, Value *const *values, int count) {
  const Executor *executor = &observer->options->executor;
  observer->seen_count = count;
  TRY(show_values(observer->copy, own, values, count) && optimise(observer->copy, observer->options));
  if (!executor->open) return true;
  observer->runnable = executor->open(executor->context, observer->copy);
  module_drop_bytes(observer->copy->module); /* they are in the library now */
  return observer->runnable;
}

bool observer_build(Observer *observer, Value *const *values, int count) {
  return pass_on(observer, build(observer, observer->copy->output_count, values, count));
}

bool observer_predict(Observer *observer, const KernelTime **times, int *count) {
  const Executor *executor = &observer->options->executor;
  TRY(pass_on(observer, optimise(observer->copy, observer->options)));
  *count = executor->predict ? executor->predict(executor->context, observer->copy, times) : 0;
  return true;
}

bool observer_build_values(Observer *observer, Value *const *values, int count) {
  observer->output_count = 0;
  return pass_on(observer, build(observer, 0, values, count));
}

bool observer_open(Observer *observer, const Graph *graph, const PassOptions *options, Value *const *values,
                   int count) {
  observer_copy(observer, graph, options);
  Value **found = NEW_ARRAY(observer->copy->module->arena, Value *, count);
  values_in_copy(graph, values, count, observer->copy, found);
  return observer_build(observer, found, count);
}

bool observer_run(Observer *observer, const Tensor *inputs, Tensor *seen) {
  const Executor *executor = &observer->options->executor;
  return pass_on(observer, observer->runnable ? executor->run(observer->runnable, inputs, seen)
                                              : graph_interpret(observer->copy, inputs, seen));
}

void seen_free(Tensor *seen, int count) {
  for (int i = 0; i < count; i++) tensor_free(&seen[i]);
}

void observer_spread(Observer *observer) {
  if (observer->runnable) observer->options->executor.spread(observer->runnable);
}

int observer_times(Observer *observer, const KernelTime **times) {
  return observer->runnable ? observer->options->executor.times(observer->runnable, times) : 0;
}

void observer_close(Observer *observer) {
  if (observer->runnable) observer->options->executor.close(observer->runnable);
  if (observer->copy) module_free(observer->copy->module);
  *observer = (Observer){.module = observer->module};
}
