/* page_measure.c -- times of kernels for the page, by running random inputs or those of --input. */
#include "cli/page.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_RUNS = 1000, MIN_RUNS = 3, MAX_SYMBOLS = 64 };
static const double SECONDS = 1;

/* Inputs that cannot be made up, and what the machine lacks, are no errors of a page: the Diags become a
 * reason. */
static void give_up(Module *module, Diag *last, int errors, Measured *measured) {
  const Diag *diag = last ? last->next : module->diags;
  while (diag && diag->severity != SEVERITY_ERROR) diag = diag->next;
  measured->count = 0;
  measured->why = diag ? intern(module, diag->text) : "it did not run";
  diags_take_back(module, last);
  module->error_count = errors;
}

/* ---- models ---- */

static bool is_dense(const Graph *graph) {
  for (int i = 0; i < graph->output_count; i++)
    if (!type_is_tensor(graph_output(graph, i)->type)) return false;
  return true;
}

/* States are the inputs behind the others, empty where they grow. */
static bool make_states(const Graph *graph, Tensor *inputs) {
  for (int i = graph->input_count - graph->state_count; i < graph->input_count; i++) {
    const Type *type = graph->inputs[i]->type;
    int64_t dims[MAX_RANK];
    for (int axis = 0; axis < type->rank; axis++)
      dims[axis] = dim_is_const(type->dims[axis]) ? type->dims[axis]->value : 0;
    if (!tensor_new(&inputs[i], type->dtype, type->rank, dims))
      return fail(graph->module, "no memory for a state");
  }
  return true;
}

static bool bind_symbols(Graph *graph, const Tensor *inputs, Measured *measured) {
  measured->symbols = NEW_ARRAY(graph->module->arena, const char *, MAX_SYMBOLS);
  measured->values = NEW_ARRAY(graph->module->arena, int64_t, MAX_SYMBOLS);
  return graph_bind(graph, inputs, measured->symbols, measured->values, MAX_SYMBOLS, &measured->symbol_count);
}

static bool run_model(const Executor *executor, Runnable *runnable, const Graph *graph,
                      const Tensor *inputs) {
  Tensor *outputs = tensors_new(graph->output_count);
  bool ok = executor->run(runnable, inputs, outputs);
  tensors_free(outputs, ok ? graph->output_count : 0);
  return ok;
}

static bool measure_runs(const Executor *executor, Runnable *runnable, const Graph *graph,
                         const Tensor *inputs, Measured *measured) {
  const KernelTime *times;
  double start = seconds_now();
  while (measured->runs < MIN_RUNS || (measured->runs < MAX_RUNS && seconds_now() - start < SECONDS)) {
    TRY(run_model(executor, runnable, graph, inputs));
    measured->runs++;
  }
  measured->count = executor->times(runnable, &times);
  measured->seconds = NEW_ARRAY(graph->module->arena, double, measured->count);
  for (int i = 0; i < measured->count; i++) measured->seconds[i] = times[i].measured;
  return true;
}

static bool measure_graph(Program *program, const Target *target, Tensor *inputs, Measured *measured) {
  Graph *graph = program->module->main;
  TRY(program_inputs(program, inputs) && make_states(graph, inputs) && bind_symbols(graph, inputs, measured));
  if (option_flag(program->arguments, "no-measure")) return fail(program->module, "--no-measure");
  if (!is_dense(graph)) return fail(program->module, "it gives values that are no tensors");
  Executor executor = codegen_executor(target);
  Runnable *runnable = executor.open(executor.context, graph);
  bool ok = runnable && measure_runs(&executor, runnable, graph, inputs, measured);
  executor.close(runnable);
  return ok;
}

void page_measure_model(Program *program, const Target *target, Measured *measured) {
  Module *module = program->module;
  Diag *last = module->last_diag;
  int errors = module->error_count, count = module->main->input_count;
  Tensor *inputs = tensors_new(count);
  *measured = (Measured){.count = 0};
  progress_begin(program->arguments, "measuring", program->path);
  if (!measure_graph(program, target, inputs, measured)) give_up(module, last, errors, measured);
  progress_end();
  tensors_free(inputs, count);
}

/* ---- libraries ---- */

static bool measure_session(Program *program, const Tensor *inputs, Measured *measured) {
  const tenon_library *library = program->library;
  uint64_t *nanoseconds = NEW_ARRAY(program->module->arena, uint64_t, library->kernel_count);
  double start = seconds_now();
  measured->seconds = NEW_ARRAY(program->module->arena, double, library->kernel_count);
  while (measured->runs < MIN_RUNS || (measured->runs < MAX_RUNS && seconds_now() - start < SECONDS)) {
    Tensor *outputs = tensors_new(program->output_count);
    library->session_set_profile(program->session, 1);
    bool ok = program_rewind(program) && program_run(program, inputs, outputs);
    tensors_free(outputs, ok ? program->output_count : 0);
    TRY(ok);
    library->session_profile(program->session, nanoseconds, NULL);
    for (uint32_t i = 0; i < library->kernel_count; i++) {
      double seconds = 1e-9 * (double)nanoseconds[i];
      if (measured->runs == 0 || seconds < measured->seconds[i]) measured->seconds[i] = seconds;
    }
    measured->runs++;
  }
  measured->count = (int)library->kernel_count;
  return true;
}

static bool open_session(Program *program) {
  tenon_session_options options = {.size = sizeof options, .threads = 1, .profile = 1};
  int error = program->library->session_open(&options, &program->session);
  return !error || fail(program->module, "%s", program->library->error_text(error));
}

void page_measure_library(Program *program, Measured *measured) {
  Module *module = program->module;
  Diag *last = module->last_diag;
  int errors = module->error_count;
  Tensor *inputs = tensors_new(program->input_count);
  *measured = (Measured){.count = 0};
  bool ok = option_flag(program->arguments, "no-measure")
                ? fail(module, "--no-measure")
                : program_inputs(program, inputs) && open_session(program) &&
                      measure_session(program, inputs, measured);
  if (!ok) give_up(module, last, errors, measured);
  tensors_free(inputs, program->input_count);
}
