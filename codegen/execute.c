/*
 * execute.c -- the Executor of passes: a graph becomes a temporary library that is loaded and run, so that
 * what a pass computes is what ships.
 */
#include "codegen/library.h"
#include "codegen/program.h"
#include "codegen/schedule.h"
#include "runtime/tenon.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

struct Runnable {
  Graph *graph;
  void *handle; /* of dlopen */
  const tenon_library *library;
  tenon_session *session;
  KernelTime *times; /* [library->kernel_count] */
  uint64_t *nanoseconds;
};

/* ---- running ---- */

static void describe(const Tensor *tensor, tenon_tensor *descriptor) {
  *descriptor = (tenon_tensor){.data = tensor->data,
                               .size = tensor_size(tensor),
                               .dtype = (uint32_t)tensor->dtype,
                               .rank = (uint32_t)tensor->rank};
  for (int axis = 0; axis < tensor->rank && axis < TENON_MAX_RANK; axis++)
    descriptor->dims[axis] = tensor->dims[axis];
}

static bool take_output(Module *module, const Value *output, const tenon_tensor *from, Tensor *to) {
  if (!tensor_new(to, output->type->dtype, (int)from->rank, from->dims))
    return fail(module, "no memory for the outputs");
  if (from->data) memcpy(to->data, from->data, tensor_size(to));
  if (to->dtype == DTYPE_STRING) tensor_keep_strings(module, to);
  return true;
}

static bool take_state(Graph *graph, tenon_session *session, const tenon_library *library, int index,
                       Tensor *to) {
  tenon_tensor state = {.data = NULL};
  library->session_get_state(session, (uint32_t)index, &state);
  if (!tensor_new(to, graph_state(graph, index)->type->dtype, (int)state.rank, state.dims))
    return fail(graph->module, "no memory for the outputs");
  state.data = to->data;
  library->session_get_state(session, (uint32_t)index, &state);
  return true;
}

/* Outputs were made by the session; they become tensors of their own. */
static bool take_outputs(Graph *graph, tenon_session *session, const tenon_library *library,
                         const tenon_tensor *from, Tensor *outputs) {
  int states = graph->output_count - graph->state_count;
  for (int i = 0; i < graph->output_count; i++) {
    bool ok = i < states ? take_output(graph->module, graph_output(graph, i), &from[i], &outputs[i])
                         : take_state(graph, session, library, i - states, &outputs[i]);
    if (ok) continue;
    while (i-- > 0) tensor_free(&outputs[i]);
    return false;
  }
  return true;
}

static void take_times(Runnable *runnable) {
  runnable->library->session_profile(runnable->session, runnable->nanoseconds, NULL);
  for (uint32_t i = 0; i < runnable->library->kernel_count; i++) {
    double seconds = 1e-9 * (double)runnable->nanoseconds[i], *least = &runnable->times[i].measured;
    if (*least == 0 || seconds < *least) *least = seconds;
  }
}

static int predict(void *context, const Graph *graph, const KernelTime **times) {
  const Target *target = context;
  KernelTime *all = NEW_ARRAY(graph->module->arena, KernelTime, graph_count_nodes(graph));
  int count = 0;
  FOR_EACH_NODE(node, graph)
  if (program_is_step(node))
    all[count++] = (KernelTime){.node = node, .predicted = kernel_seconds(node, target)};
  *times = all;
  return count;
}

static int runnable_times(Runnable *runnable, const KernelTime **times) {
  *times = runnable->times;
  return (int)runnable->library->kernel_count;
}

static void runnable_spread(Runnable *runnable) {
  runnable->library->session_set_threads(runnable->session, (uint32_t)processor_count(), NULL, NULL);
}

static bool runnable_run(Runnable *runnable, const Tensor *inputs, Tensor *outputs) {
  Graph *graph = runnable->graph;
  const tenon_library *library = runnable->library;
  tenon_session *session = runnable->session;
  Module *module = graph->module;
  tenon_tensor *in = NEW_ARRAY(module->arena, tenon_tensor, graph->input_count),
               *out = NEW_ARRAY(module->arena, tenon_tensor, graph->output_count);
  for (int i = 0; i < graph->input_count; i++) {
    int state = value_state(graph->inputs[i]);
    if (inputs[i].dtype != graph->inputs[i]->type->dtype)
      return fail(module, "input '%s' is %s, not %s", graph->inputs[i]->name, dtype_name(inputs[i].dtype),
                  dtype_name(graph->inputs[i]->type->dtype));
    describe(&inputs[i], &in[i]);
    if (state >= 0 && library->session_set_state(session, (uint32_t)state, &in[i]))
      return fail(module, "%s", library->session_error(session));
  }
  library->session_set_profile(session, 1);
  if (library->session_run(session, in, out)) return fail(module, "%s", library->session_error(session));
  take_times(runnable);
  return take_outputs(graph, session, library, out, outputs);
}

/* ---- opening ---- */

static bool find_library(Runnable *runnable) {
  tenon_query_function *query = NULL;
  void *symbol = dlsym(runnable->handle, "tenon_query");
  memcpy(&query, &symbol, sizeof query); /* ISO C has no cast from object to function pointers */
  runnable->library = query ? query(TENON_ABI_VERSION) : NULL;
  return runnable->library || fail(runnable->graph->module, "the compiled graph has no tenon_query");
}

static bool open_session(Runnable *runnable) {
  const tenon_library *library = runnable->library;
  tenon_session_options options = {.size = sizeof options, .threads = 1, .profile = 1};
  int error = library->session_open(&options, &runnable->session);
  return !error ||
         fail(runnable->graph->module, "the compiled graph cannot run: %s", library->error_text(error));
}

static bool open_library(Runnable *runnable, const char *path) {
  runnable->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!runnable->handle)
    return fail(runnable->graph->module, "the compiled graph cannot be loaded: %s", dlerror());
  return find_library(runnable) && open_session(runnable);
}

static void make_times(Runnable *runnable, const CodegenStats *stats, const Target *target) {
  Arena *arena = runnable->graph->module->arena;
  uint32_t count = runnable->library->kernel_count;
  runnable->nanoseconds = NEW_ARRAY(arena, uint64_t, count);
  runnable->times = NEW_ARRAY(arena, KernelTime, count);
  for (uint32_t i = 0; i < count; i++)
    runnable->times[i] = (KernelTime){.node = stats->kernel_nodes[i],
                                      .predicted = kernel_seconds(stats->kernel_nodes[i], target)};
}

static void runnable_close(Runnable *runnable) {
  if (!runnable) return;
  if (runnable->library) runnable->library->session_close(runnable->session);
  if (runnable->handle) dlclose(runnable->handle);
  free(runnable);
}

static Runnable *runnable_open(void *context, Graph *graph) {
  WorkFolder folder;
  CodegenOptions options = {.target = *(const Target *)context,
                            .name = "temporary",
                            .source = graph->module->file,
                            .is_temporary = true};
  Runnable *runnable = calloc(1, sizeof *runnable);
  if (!runnable || !work_folder_open(graph->module, &folder)) return free(runnable), NULL;
  runnable->graph = graph;
  char *path = work_file(graph->module, &folder, "temporary.so");
  CodegenStats stats;
  bool ok = codegen_emit(graph, &options, EMIT_SO, path, &stats) && open_library(runnable, path);
  work_folder_close(&folder);
  if (ok) make_times(runnable, &stats, context);
  if (ok) return runnable;
  runnable_close(runnable);
  return NULL;
}

Executor codegen_executor(const Target *target) {
  return (Executor){.open = runnable_open,
                    .run = runnable_run,
                    .times = runnable_times,
                    .predict = predict,
                    .spread = runnable_spread,
                    .close = runnable_close,
                    .context = (void *)(uintptr_t)target};
}

bool codegen_execute(const Target *target, Graph *graph, const Tensor *inputs, Tensor *outputs) {
  Runnable *runnable = runnable_open((void *)(uintptr_t)target, graph);
  bool ok = runnable && runnable_run(runnable, inputs, outputs);
  runnable_close(runnable);
  return ok;
}
