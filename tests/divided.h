/*
 * divided.h -- for tests: a compiled graph whose loops are divided as finely as they can be, run by several
 * numbers of threads and by a host's parallel_for. The results must be the same to the last bit.
 */
#ifndef TENON_TESTS_DIVIDED_H
#define TENON_TESTS_DIVIDED_H

#include "codegen/codegen.h"
#include "runtime/tenon.h"
#include "tests/temporary.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Divided {
  Module *module;
  const tenon_library *library;
  tenon_tensor *in, *zeros, *want; /* inputs, inputs of 0 everywhere, outputs of one thread */
} Divided;

/* A host's threads: ranges from the last to the first, the later the longer. */
static void divided_backwards(void *host, int64_t count, int64_t grain, tenon_task *task, void *context) {
  (void)host;
  for (int64_t end = count, length = grain; end > 0; end -= length++) {
    if (length > end) length = end;
    task(context, end - length, end);
  }
}

/* What was computed before is overwritten by a run on zeros: what is left out must not go unseen. */
static bool divided_runs(const Divided *d, tenon_session *session) {
  tenon_tensor *out = NEW_ARRAY(d->module->arena, tenon_tensor, d->library->output_count);
  for (int i = 0; i < 2; i++)
    if (d->library->session_run(session, i ? d->in : d->zeros, out))
      return fail(d->module, "%s", d->library->session_error(session));
  for (uint32_t i = 0; i < d->library->output_count; i++)
    if (memcmp(out[i].data, d->want[i].data, (size_t)d->want[i].size) != 0)
      return fail(d->module, "output %u is not the same to the last bit", i);
  return true;
}

static bool divided_by(const Divided *d, uint32_t threads, tenon_parallel_for *host) {
  tenon_session_options options = {.size = sizeof options, .threads = threads, .parallel_for = host};
  tenon_session *session;
  int error = d->library->session_open(&options, &session);
  bool ok = error ? fail(d->module, "%s", d->library->error_text(error)) : divided_runs(d, session);
  d->library->session_close(session);
  return ok || fail(d->module, "%u threads%s differ from one", threads, host ? " of the host" : "");
}

static bool divided_library(Divided *d, const Tensor *inputs) {
  const tenon_library *library = d->library;
  Arena *arena = d->module->arena;
  d->in = NEW_ARRAY(arena, tenon_tensor, library->input_count);
  d->zeros = NEW_ARRAY(arena, tenon_tensor, library->input_count);
  d->want = NEW_ARRAY(arena, tenon_tensor, library->output_count);
  for (uint32_t i = 0; i < library->input_count; i++) {
    tenon_tensor *in = &d->in[i];
    in->data = inputs[i].data;
    in->size = tensor_size(&inputs[i]);
    in->dtype = library->inputs[i]->dtype;
    in->rank = library->inputs[i]->rank;
    for (uint32_t axis = 0; axis < in->rank; axis++) in->dims[axis] = inputs[i].dims[axis];
    d->zeros[i] = *in;
    d->zeros[i].data = arena_alloc(arena, (size_t)in->size + 1);
  }
  tenon_session *session;
  if (library->session_open(NULL, &session)) return fail(d->module, "no session");
  bool ok = !library->session_run(session, d->in, d->want) ||
            fail(d->module, "%s", library->session_error(session));
  static const uint32_t threads[] = {2, 3, 5};
  for (int i = 0; ok && i < COUNT_OF(threads); i++)
    ok = divided_by(d, threads[i], NULL) && divided_by(d, threads[i], divided_backwards);
  library->session_close(session);
  return ok;
}

/* False with Diags. */
static bool divided_agrees(Graph *graph, const Target *target, const Tensor *inputs) {
  Divided d = {.module = graph->module};
  char path[TEMPORARY_SIZE];
  CodegenOptions options = {.target = *target, .name = "divided", .task_ticks = 1};
  if (!temporary_file(path)) return fail(d.module, "no temporary file");
  bool ok = codegen_emit(graph, &options, EMIT_SO, path, NULL);
  void *handle = ok ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
  unlink(path);
  if (!handle) return ok ? fail(d.module, "%s", dlerror()) : false;
  tenon_query_function *query;
  void *symbol = dlsym(handle, "tenon_query");
  memcpy(&query, &symbol, sizeof query);
  d.library = query(TENON_ABI_VERSION);
  ok = divided_library(&d, inputs);
  dlclose(handle);
  return ok;
}

#endif
