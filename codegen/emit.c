/*
 * emit.c -- codegen_emit: a graph to a library, an object, or one of the texts on the way.
 */
#include "codegen/library.h"

#include <errno.h>
#include <llvm-c/ErrorHandling.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- LLVM's last words ---- */

/* LLVM ends the process when it meets what it cannot compile; it can at least say whose model it was. The
 * only global state, and only of this thread: LLVM's handler takes no context. */
static _Thread_local const char *model_in_work;

static void last_words(const char *reason) {
  fprintf(stderr, "tenon: LLVM gave up on model '%s': %s\n", model_in_work ? model_in_work : "?", reason);
}

/* ---- texts ---- */

static bool emit_loops(const Program *program, const char *path) {
  FILE *out = fopen(path, "w");
  if (!out) return fail(program->module, "cannot write '%s': %s", path, strerror(errno));
  for (int i = 0; i < program->code_count; i++)
    for (int t = 0; t < program->target_count; t++) {
      if (i + t > 0) fputc('\n', out);
      kernel_print(program->codes[i].kernels[t], out);
    }
  return fclose(out) == 0 || fail(program->module, "cannot write '%s': %s", path, strerror(errno));
}

static bool write_buffer(Module *module, LLVMMemoryBufferRef buffer, const char *path) {
  if (!buffer) return false;
  bool ok = file_write(module, path, LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer));
  LLVMDisposeMemoryBuffer(buffer);
  return ok;
}

static bool write_llvm(Module *module, LLVMModuleRef llvm, const char *path) {
  char *text = LLVMPrintModuleToString(llvm);
  bool ok = file_write(module, path, text, strlen(text));
  LLVMDisposeMessage(text);
  return ok;
}

/* ---- machine code ---- */

static bool emit_module(const Program *program, const Machine *machine, LLVMModuleRef llvm, EmitKind kind,
                        const WorkFolder *folder, const char *path) {
  Module *module = program->module;
  TRY(object_prepare(module, llvm, machine, program->options->name));
  if (kind == EMIT_LLVM) return write_llvm(module, llvm, path);
  if (kind != EMIT_SO)
    return write_buffer(
        module, object_emit(module, llvm, machine, kind == EMIT_ASM ? LLVMAssemblyFile : LLVMObjectFile),
        path);
  char *object = work_file(module, folder, "model.o");
  TRY(write_buffer(module, object_emit(module, llvm, machine, LLVMObjectFile), object));
  return link_library(module, machine->target, folder, object, path);
}

static bool emit_code(const Program *program, const Machine *machines, EmitKind kind,
                      const WorkFolder *folder, const char *path) {
  char *weights = NULL;
  if (program->weight_bytes > 0) {
    if (program->weight_bytes > INT32_MAX - (64 << 20))
      return fail(program->module, "%lld bytes of weights: over 2 GB do not fit into one library",
                  (long long)program->weight_bytes);
    weights = work_file(program->module, folder, "weights");
    TRY(program_write_weights(program, weights));
  }
  LLVMContextRef context = LLVMContextCreate();
  LLVMModuleRef llvm = library_module(context, program, machines, weights);
  bool ok = llvm && emit_module(program, machines, llvm, kind, folder, path);
  if (llvm) LLVMDisposeModule(llvm);
  LLVMContextDispose(context);
  return ok;
}

static bool emit_in_folder(const Program *program, const Machine *machines, EmitKind kind, const char *path) {
  WorkFolder folder;
  TRY(work_folder_open(program->module, &folder));
  bool ok = emit_code(program, machines, kind, &folder, path);
  work_folder_close(&folder);
  return ok;
}

/* A machine for each target. */
static bool emit_with_machines(const Program *program, EmitKind kind, const char *path) {
  const CodegenOptions *options = program->options;
  Machine *machines = NEW_ARRAY(program->module->arena, Machine, program->target_count);
  bool ok = true;
  int count = 0;
  for (const Target *target = &options->target; ok && target; target = target->next, count++) {
    ok = machine_open(program->module, target, &machines[count]);
    if (options->task_ticks) machines[count].task_ticks = options->task_ticks;
  }
  ok = ok && emit_in_folder(program, machines, kind, path);
  while (count-- > 0) machine_close(&machines[count]);
  return ok;
}

/* The library's path with .h in place of its suffix. */
static const char *header_path(Module *module, const char *path) {
  const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
  size_t length = dot && (!slash || dot > slash + 1) ? (size_t)(dot - path) : strlen(path);
  return arena_printf(module->arena, "%.*s.h", (int)length, path);
}

static void fill_stats(const Program *program, const char *path, CodegenStats *stats) {
  struct stat file;
  *stats = (CodegenStats){
      .library_bytes = stat(path, &file) == 0 ? file.st_size : 0,
      .weight_bytes = program->weight_bytes,
      .state_bytes = program->state_bytes,
      .scratch_bytes = program_scratch_bytes(program),
      .kernel_count = program->step_count,
      .distinct_kernel_count = program->code_count,
      .kernel_nodes = NEW_ARRAY(program->module->arena, const Node *, program->step_count),
  };
  for (int i = 0; i < program->step_count; i++) stats->kernel_nodes[i] = program->steps[i].node;
}

static bool is_c_name(const char *name) {
  if (!name || !*name || (*name >= '0' && *name <= '9')) return false;
  for (const char *c = name; *c; c++)
    if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '_'))
      return false;
  return true;
}

bool codegen_emit(Graph *graph, const CodegenOptions *options, EmitKind kind, const char *path,
                  CodegenStats *stats) {
  Program program;
  if (!is_c_name(options->name))
    return fail(graph->module, "the name '%s' is no C identifier: letters, digits and _ only",
                options->name ? options->name : "");
  if (strncmp(options->name, "tenon_", 6) == 0)
    return fail(graph->module, "the name '%s' is taken: names with tenon_ belong to the runtime",
                options->name);
  TRY(program_build(&program, graph, options));
  model_in_work = options->source ? options->source : options->name;
  LLVMInstallFatalErrorHandler(last_words);
  bool ok = kind == EMIT_LOOPS ? emit_loops(&program, path) : emit_with_machines(&program, kind, path);
  LLVMResetFatalErrorHandler();
  if (ok && options->header && (kind == EMIT_SO || kind == EMIT_OBJ))
    ok = program_write_header(&program, header_path(graph->module, path));
  if (ok && stats) fill_stats(&program, path, stats);
  return ok;
}
