/*
 * emit.c -- codegen_emit: a graph to a library, an object, or one of the texts on the way.
 */
#include "codegen/parts.h"

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

void object_last_words(const char *model) {
  model_in_work = model;
}

static void last_words(const char *reason) {
  fprintf(stderr, "tenon: LLVM gave up on model '%s': %s\n", model_in_work ? model_in_work : "?", reason);
}

/* ---- texts ---- */

static bool write_llvm(Module *module, LLVMModuleRef llvm, const char *path) {
  char *text = LLVMPrintModuleToString(llvm);
  bool ok = file_write(module, path, text, strlen(text));
  LLVMDisposeMessage(text);
  return ok;
}

/* ---- machine code ---- */

/* The main object while threads make those of the parts, and all of them together. */
static bool emit_library(const Program *program, const Machine *machine, LLVMModuleRef llvm, Parts *parts,
                         const WorkFolder *folder, const char *path) {
  Module *module = program->module;
  const char **objects = NEW_ARRAY(module->arena, const char *, parts->count + 2);
  const char *model = work_file(module, folder, "model.o"), *weights = work_file(module, folder, "weights.o");
  int count = 0;
  parts_start(parts, module->arena);
  TRY(object_prepare(module, llvm, machine, program->options->name, !program->options->is_temporary, parts));
  TRY(object_write(module, object_emit(module, llvm, machine, LLVMObjectFile), model));
  if (program->weight_bytes > 0) {
    TRY(weights_object(program, model, weights));
    objects[count++] = weights; /* first: what stands before would be filled up to their alignment */
  }
  TRY(parts_finish(parts, module));
  objects[count++] = model;
  for (int i = 0; i < parts->count; i++) objects[count++] = parts->parts[i].path;
  return link_library(module, machine->target, folder, objects, count, path);
}

static bool emit_module(const Program *program, const Machine *machine, LLVMModuleRef llvm, EmitKind kind,
                        const char *path) {
  Module *module = program->module;
  const Parts none = {.count = 0};
  TRY(object_prepare(module, llvm, machine, program->options->name, true, &none));
  if (kind == EMIT_LLVM) return write_llvm(module, llvm, path);
  LLVMCodeGenFileType type = kind == EMIT_ASM ? LLVMAssemblyFile : LLVMObjectFile;
  return object_write(module, object_emit(module, llvm, machine, type), path);
}

static bool emit_code(const Program *program, const Machine *machines, EmitKind kind,
                      const WorkFolder *folder, const char *path) {
  char *weights = NULL;
  if (program->weight_bytes > INT32_MAX - (64 << 20))
    return fail(program->module, "%lld bytes of weights: over 2 GB do not fit into one library",
                (long long)program->weight_bytes);
  if (program->weight_bytes > 0 && kind != EMIT_SO) {
    weights = work_file(program->module, folder, "weights");
    TRY(weights_file(program, weights));
  }
  Parts parts;
  LLVMContextRef context = LLVMContextCreate();
  bool ok = parts_open(&parts, program, kind == EMIT_SO ? machines : NULL, folder);
  LLVMModuleRef llvm = ok ? library_module(context, program, machines, weights, &parts) : NULL;
  if (llvm)
    ok = kind == EMIT_SO ? emit_library(program, machines, llvm, &parts, folder, path)
                         : emit_module(program, machines, llvm, kind, path);
  if (llvm) LLVMDisposeModule(llvm);
  parts_close(&parts);
  LLVMContextDispose(context);
  return llvm && ok;
}

static bool emit_in_folder(const Program *program, const Machine *machines, EmitKind kind, const char *path) {
  WorkFolder folder;
  TRY(work_folder_open(program->module, &folder));
  bool ok = emit_code(program, machines, kind, &folder, path);
  work_folder_close(&folder);
  return ok;
}

static bool open_machine(const Program *program, const Target *target, Machine *machine) {
  TRY(machine_open(program->module, target, machine));
  if (program->options->task_ticks) machine->task_ticks = program->options->task_ticks;
  return true;
}

/* A machine for each target. */
static bool emit_with_machines(const Program *program, EmitKind kind, const char *path) {
  Machine *machines = NEW_ARRAY(program->module->arena, Machine, program->target_count);
  bool ok = true;
  int count = 0;
  for (const Target *target = &program->options->target; ok && target; target = target->next)
    ok = open_machine(program, target, &machines[count++]);
  ok = ok && emit_in_folder(program, machines, kind, path);
  while (count-- > 0) machine_close(&machines[count]);
  return ok;
}

/* ---- kernels as texts ---- */

static bool step_is_called(const Program *program, const Step *step, const char *name) {
  const Node *node = step->node;
  const char *called = node_is(node, &op_kernel) ? node_string(node, "name") : result(node, 0)->name;
  return strcmp(program->codes[step->code].name, name) == 0 || (called && strcmp(called, name) == 0) ||
         origin_has(node->origin, name);
}

/* A line for each step that runs the code: what it came from, costs, and how it is built. */
static void print_provenance(const Program *program, int code, const char *comment, FILE *out) {
  for (int i = 0; i < program->start_count + program->step_count; i++) {
    const Step *step =
        i < program->start_count ? &program->starts[i] : &program->steps[i - program->start_count];
    if (step->code != code) continue;
    const char *schedule = node_is(step->node, &op_kernel) ? node_string(step->node, "schedule") : "";
    fprintf(out, "%s %s: %s", comment, program->codes[code].name, node_note(step->node));
    fprintf(out, *schedule ? "; %s\n" : "\n", schedule);
  }
}

static bool print_code(const Program *program, int code, EmitKind kind, FILE *out) {
  const Code *printed = &program->codes[code];
  const Target *target = &program->options->target;
  print_provenance(program, code, kind == EMIT_LLVM ? ";" : "#", out);
  for (int t = 0; target; target = target->next, t++) {
    Machine machine;
    if (t > 0) fputc('\n', out);
    if (kind == EMIT_LOOPS) {
      kernel_print(printed->kernels[t], out);
      continue;
    }
    TRY(open_machine(program, target, &machine));
    bool ok = kernel_print_code(printed->kernels[t], &machine, printed->in_place, kind == EMIT_ASM, out);
    machine_close(&machine);
    TRY(ok);
  }
  return true;
}

/* The names of the kernels, as many as a line holds. */
static const char *code_names(const Program *program) {
  enum { MAX_SHOWN = 12 };
  const char *names = "";
  for (int i = 0; i < program->code_count && i < MAX_SHOWN; i++)
    names = arena_printf(program->module->arena, "%s%s%s", names, i ? ", " : "", program->codes[i].name);
  return program->code_count > MAX_SHOWN ? arena_printf(program->module->arena, "%s, ...", names) : names;
}

/* Marks the codes that are wanted; returns how many. */
static int choose_codes(const Program *program, bool *wanted) {
  const char *name = program->options->kernel;
  for (int i = 0; i < program->code_count; i++) wanted[i] = !name;
  for (int i = 0; name && i < program->start_count; i++)
    wanted[program->starts[i].code] |= step_is_called(program, &program->starts[i], name);
  for (int i = 0; name && i < program->step_count; i++)
    wanted[program->steps[i].code] |= step_is_called(program, &program->steps[i], name);
  int count = 0;
  for (int i = 0; i < program->code_count; i++) count += wanted[i];
  return count;
}

static bool print_codes(const Program *program, EmitKind kind, FILE *out) {
  bool *wanted = NEW_ARRAY(program->module->arena, bool, program->code_count + 1), is_first = true;
  if (choose_codes(program, wanted) == 0 && program->options->kernel)
    return fail(program->module, "no kernel, and no node in one, is called '%s'; there are %s",
                program->options->kernel, code_names(program));
  for (int i = 0; i < program->code_count; i++) {
    if (!wanted[i]) continue;
    if (!is_first) fputc('\n', out);
    is_first = false;
    TRY(print_code(program, i, kind, out));
  }
  return true;
}

static bool emit_texts(const Program *program, EmitKind kind, const char *path) {
  FILE *out = path ? fopen(path, "w") : stdout;
  if (!out) return fail(program->module, "cannot write '%s': %s", path, strerror(errno));
  bool ok = print_codes(program, kind, out);
  if (!path || fclose(out) == 0) return ok;
  return ok && fail(program->module, "cannot write '%s': %s", path, strerror(errno));
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
      .library_bytes = path && stat(path, &file) == 0 ? file.st_size : 0,
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
  object_last_words(options->source ? options->source : options->name);
  LLVMInstallFatalErrorHandler(last_words);
  bool as_texts = kind == EMIT_LOOPS || (options->kernel && (kind == EMIT_LLVM || kind == EMIT_ASM));
  bool ok = as_texts ? emit_texts(&program, kind, path) : emit_with_machines(&program, kind, path);
  LLVMResetFatalErrorHandler();
  if (ok && options->header && (kind == EMIT_SO || kind == EMIT_OBJ))
    ok = program_write_header(&program, header_path(graph->module, path));
  if (ok && stats) fill_stats(&program, path, stats);
  return ok;
}
