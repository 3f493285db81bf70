/*
 * check.c -- --check: the graph runs before and after each pass, on the same input.
 *
 * Graphs are copied to be run, small ones for the interpreter, large ones for the executor that ships. A
 * difference shows in an output; then all values that have the same name and shape on both sides of the pass
 * become outputs, and the first of them that differs is told. At the end what the last pass left is compiled
 * and compared with its own interpretation: schedules and the backend are checked like a pass.
 *
 * Each pass is compared with what stood before it, so that roundings do not add up; the tolerance is for one
 * pass.
 */
#include "passes/check.h"

#include <stdlib.h>
#include <string.h>

#include "passes/rewrite.h"

enum { INTERPRET_WORK = 1 << 20 }; /* multiply-accumulates and elements that the interpreter does soon */

/* ---- copies ---- */

Graph *trial_copy(const Graph *graph) {
  Module *module = module_new(graph->module->file);
  return module->main = graph_clone(module, graph, NULL);
}

void trial_drop(Graph *copy) {
  if (copy) module_free(copy->module);
}

static double work_of(const Graph *graph) {
  double work = 0;
  FOR_EACH_NODE(node, graph) {
    const Dim *macs = node->op->macs ? node->op->macs(node) : NULL;
    if (macs) work += dim_is_const(macs) ? (double)macs->value : 16 * value_weight(result(node, 0));
    for (int i = 0; i < node->result_count && !node->data; i++)
      if (type_is_tensor(node->results[i]->type)) work += value_weight(node->results[i]);
    for (int i = 0; i < node->region_count; i++) work += work_of(node->regions[i]);
  }
  return work;
}

bool trial_is_large(const Graph *graph) {
  return work_of(graph) > INTERPRET_WORK;
}

/* ---- runs ---- */

static void pass_on(Module *module, const Module *from) {
  for (const Diag *diag = from->diags; diag; diag = diag->next) diag_add(module, *diag);
}

/* Ops that are defined by others cannot be compiled; the rest of the graph stays as it is. */
static bool run_compiled(Graph *copy, const PassOptions *options, const Tensor *inputs, Tensor *outputs) {
  const Executor *executor = &options->executor;
  pass_expand(copy, options);
  Runnable *runnable = executor->open(executor->context, copy);
  bool ok = runnable && executor->run(runnable, inputs, outputs);
  executor->close(runnable);
  return ok;
}

void trial_free(Tensor *tensors, int count) {
  for (int i = 0; tensors && i < count; i++) tensor_free(&tensors[i]);
  free(tensors);
}

Tensor *trial_run(Graph *copy, const PassOptions *options, const Tensor *inputs, bool compiled,
                  Module *module) {
  Tensor *outputs = calloc((size_t)copy->output_count + 1, sizeof *outputs);
  compiled = compiled && options->executor.open;
  bool ok = outputs && (compiled ? run_compiled(copy, options, inputs, outputs)
                                 : graph_interpret(copy, inputs, outputs));
  if (!ok) {
    pass_on(module, copy->module);
    free(outputs);
    outputs = NULL;
  }
  trial_drop(copy);
  return outputs;
}

const char *trial_difference(const Graph *graph, const Trial *trial, const Tensor *got, const Tensor *want) {
  char reason[512];
  for (int i = 0; i < graph->output_count; i++)
    if (!tensor_agrees(&got[i], &want[i], trial->atol, trial->rtol, reason, sizeof reason))
      return arena_printf(graph->module->arena, "'%s': %s", graph->output_names[i], reason);
  return NULL;
}

/* ---- values ---- */

static bool is_shown(const Value *value) {
  return value->name && type_is_tensor(value->type);
}

static const char *output_name(const Graph *graph, const Value *value) {
  for (int i = 0; i < graph->output_count; i++)
    if (graph_output(graph, i) == value) return graph->output_names[i];
  return value->name;
}

bool graph_show_values(Graph *graph) {
  Module *module = graph->module;
  int count = 0, room = 0;
  FOR_EACH_NODE(node, graph) room += node->result_count;
  Value **values = NEW_ARRAY(module->arena, Value *, room);
  const char **names = NEW_ARRAY(module->arena, const char *, room);
  FOR_EACH_NODE(node, graph)
  for (int i = 0; i < node->result_count && !node->data; i++) {
    if (!is_shown(result(node, i))) continue;
    names[count] = output_name(graph, result(node, i));
    values[count++] = result(node, i);
  }
  return graph_set_outputs(graph, count, values, names);
}

static int find_output(const Graph *graph, const char *name) {
  for (int i = 0; i < graph->output_count; i++)
    if (strcmp(graph->output_names[i], name) == 0) return i;
  return -1;
}

/* ---- the watcher ---- */

typedef struct Check {
  const PassOptions *options;
  const Trial *trial;
  const Watcher *inner; /* of the caller; NULL: none */
  FILE *out;
  Graph *before;   /* a copy, as long as a pass runs */
  Tensor *results; /* of the graph as it is now */
  int result_count;
  Fault *fault;
} Check;

static Tensor *run_now(const Check *check, const Graph *graph, bool compiled) {
  return trial_run(trial_copy(graph), check->options, check->trial->inputs, compiled, graph->module);
}

/* The first value that both copies have and that differs; both become others on the way. NULL: not found. */
static const char *find_value(const Check *check, Graph *before, Graph *after, Module *module) {
  const char *found = NULL;
  char reason[512];
  if (before->state_count || !graph_show_values(before) || !graph_show_values(after)) return NULL;
  Tensor *old = run_now(check, before, trial_is_large(before)),
         *new = run_now(check, after, trial_is_large(after));
  for (int i = 0; old && new && !found &&i < after->output_count; i++) {
    const char *name = after->output_names[i];
    int j = find_output(before, name);
    if (j < 0 || old[j].dtype != new[i].dtype || !tensor_same_shape(&old[j], &new[i])) continue;
    if (!tensor_agrees(&new[i], &old[j], check->trial->atol, check->trial->rtol, reason, sizeof reason))
      found = arena_printf(module->arena, "'%s': %s", name, reason);
  }
  trial_free(old, before->output_count);
  trial_free(new, after->output_count);
  return found;
}

static bool begin(void *context, Graph *graph, const Step *step) {
  Check *check = context;
  if (check->inner) TRY(check->inner->before(check->inner->context, graph, step));
  if (!check->results) {
    check->result_count = graph->output_count;
    check->results = run_now(check, graph, trial_is_large(graph));
    TRY(check->results);
  }
  check->before = trial_copy(graph);
  return true;
}

static void say(const Check *check, const Step *step, const char *what) {
  if (!check->out) return;
  fprintf(check->out, step->number ? "%3d " : "    ", step->number);
  fprintf(check->out, "%-10s %s\n", step->pass->name, what);
}

static bool is_exact(const Tensor *a, const Tensor *b, int count) {
  char reason[512];
  for (int i = 0; i < count; i++)
    if (!tensor_agrees(&a[i], &b[i], 0, 0, reason, sizeof reason)) return false;
  return true;
}

/* The results of the graph become those of after the pass. */
static bool compare(Check *check, Graph *graph, const Step *step) {
  Tensor *results = run_now(check, graph, trial_is_large(graph));
  TRY(results);
  const char *text = trial_difference(graph, check->trial, results, check->results);
  if (text) {
    Graph *after = trial_copy(graph);
    *check->fault = (Fault){*step, text, find_value(check, check->before, after, graph->module)};
    trial_drop(after);
    say(check, step, "DIFFERENT RESULTS");
  } else {
    say(check, step,
        is_exact(results, check->results, check->result_count) ? "same results" : "results within tolerance");
  }
  trial_free(check->results, check->result_count);
  check->results = results;
  return !text;
}

static bool end(void *context, Graph *graph, const Step *step, bool changed) {
  Check *check = context;
  bool ok = true;
  if (changed)
    ok = compare(check, graph, step);
  else
    say(check, step, "nothing changed");
  trial_drop(check->before);
  check->before = NULL;
  return ok && (!check->inner || check->inner->after(check->inner->context, graph, step, changed));
}

/* What the passes have left, compiled, against itself, interpreted. */
static bool check_code(Check *check, Graph *graph) {
  static const Pass code = {"(code)", NULL, "kernels -> machine code"};
  if (!check->options->executor.open || !check->results) return true;
  Tensor *results = run_now(check, graph, true);
  TRY(results);
  const char *text = trial_difference(graph, check->trial, results, check->results);
  if (text) *check->fault = (Fault){{&code, 0, 0}, text, NULL};
  say(check, &(Step){&code, 0, 0}, text ? "DIFFERENT RESULTS" : "results within tolerance");
  trial_free(results, graph->output_count);
  return true;
}

bool pipeline_check(Graph *graph, const PipelineOptions *options, const Trial *trial, FILE *out,
                    Fault *fault) {
  Check check = {
      .options = &options->pass, .trial = trial, .inner = options->watcher, .out = out, .fault = fault};
  const Watcher watcher = {begin, end, &check};
  PipelineOptions watched = *options;
  watched.watcher = &watcher;
  *fault = (Fault){.text = NULL};
  bool ok = pipeline_run(graph, &watched) && check_code(&check, graph);
  trial_drop(check.before);
  trial_free(check.results, check.result_count);
  return ok || fault->text;
}
