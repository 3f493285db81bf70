/*
 * parts.c -- the kernels of a large program in LLVM modules of their own, of which threads make objects side
 * by side while the calling one makes that of everything else.
 *
 * Which kernels are together follows from the program alone, so that a library is the same wherever it is
 * made. Kernels that call functions of runtime/kernels/ stay in the library's own module, which has these
 * once. A thread touches nothing but its part: LLVM's context and target machine, and a Module for what it
 * has to say.
 */
#include "codegen/parts.h"

#include <assert.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* So many kernels are worth a part. */
enum { KERNELS_OF_PART = 4, MAX_PARTS = 16 };

int processor_count(void) {
  cpu_set_t processors;
  return sched_getaffinity(0, sizeof processors, &processors) == 0 ? CPU_COUNT(&processors) : 1;
}

/* ---- which kernels are together ---- */

static int64_t instruction_count(const Block *block, bool *calls) {
  int64_t count = 0;
  for (const Instr *instr = block->first; instr; instr = instr->next) {
    *calls |= instr->op == LOOP_CALL;
    count++;
    for (int i = 0; i < instr->block_count; i++) count += instruction_count(instr->blocks[i], calls);
  }
  return count;
}

typedef struct Share {
  int kernel;
  int64_t size;
} Share;

static int compare_shares(const void *a, const void *b) {
  const Share *x = a, *y = b;
  if (x->size != y->size) return x->size < y->size ? 1 : -1;
  return (x->kernel > y->kernel) - (x->kernel < y->kernel);
}

/* The largest first, each to the part that has least. */
static void deal(Parts *parts, Share *shares, int count) {
  int64_t sizes[MAX_PARTS] = {0};
  qsort(shares, (size_t)count, sizeof *shares, compare_shares);
  for (int i = 0; i < count; i++) {
    int least = 0;
    for (int p = 1; p < parts->count; p++)
      if (sizes[p] < sizes[least]) least = p;
    sizes[least] += shares[i].size;
    parts->of_kernel[shares[i].kernel] = least;
  }
}

static void divide(Parts *parts, const Program *program) {
  Arena *arena = program->module->arena;
  int all = program->target_count * program->code_count, count = 0;
  Share *shares = NEW_ARRAY(arena, Share, all);
  parts->of_kernel = NEW_ARRAY(arena, int, all);
  for (int i = 0; i < all; i++) {
    bool calls = false;
    const Code *code = &program->codes[i % program->code_count];
    int64_t size = instruction_count(code->kernels[i / program->code_count]->body, &calls);
    parts->of_kernel[i] = -1;
    if (!calls) shares[count++] = (Share){i, size};
  }
  parts->count = count / KERNELS_OF_PART < MAX_PARTS ? count / KERNELS_OF_PART : MAX_PARTS;
  if (parts->count < 2) parts->count = 0;
  if (parts->count) deal(parts, shares, count);
}

static bool open_part(Part *part, const Program *program, const Machine *machine, const WorkFolder *folder,
                      int number) {
  Module *module = program->module;
  part->module = module_new(module->file);
  part->context = LLVMContextCreate();
  part->llvm = LLVMModuleCreateWithNameInContext(program->options->name, part->context);
  part->path = work_file(module, folder, arena_printf(module->arena, "part%d.o", number));
  part->model = program->options->source ? program->options->source : program->options->name;
  bool ok = machine_twin(module, machine, &part->machine);
  if (ok) library_set_target(part->llvm, &part->machine);
  return ok;
}

bool parts_open(Parts *parts, const Program *program, const Machine *machines, const WorkFolder *folder) {
  *parts = (Parts){.count = 0};
  pthread_mutex_init(&parts->lock, NULL);
  if (machines) divide(parts, program);
  parts->parts = NEW_ARRAY(program->module->arena, Part, parts->count);
  bool ok = true;
  for (int i = 0; ok && i < parts->count; i++) ok = open_part(&parts->parts[i], program, machines, folder, i);
  return ok;
}

LLVMModuleRef parts_module(const Parts *parts, int kernel) {
  return parts->count && parts->of_kernel[kernel] >= 0 ? parts->parts[parts->of_kernel[kernel]].llvm : NULL;
}

/* ---- what modules know of each other ---- */

LLVMValueRef parts_share(Arena *arena, LLVMModuleRef library, LLVMValueRef kernel) {
  size_t length;
  const char *name = LLVMGetValueName2(kernel, &length);
  LLVMContextRef context = LLVMGetModuleContext(library);
  unsigned count = LLVMCountParams(kernel);
  LLVMTypeRef *pointers = NEW_ARRAY(arena, LLVMTypeRef, count);
  for (unsigned i = 0; i < count; i++) pointers[i] = LLVMPointerTypeInContext(context, 0);
  LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(context), pointers, count, false);
  LLVMValueRef declaration = LLVMAddFunction(library, name, type);
  LLVMSetLinkage(kernel, LLVMExternalLinkage);
  LLVMSetVisibility(kernel, LLVMHiddenVisibility);
  LLVMSetVisibility(declaration, LLVMHiddenVisibility);
  return declaration;
}

static bool is_called(const Parts *parts, const char *name) {
  for (int i = 0; i < parts->called_count; i++)
    if (strcmp(parts->called[i], name) == 0) return true;
  return false;
}

/* Looked up before threads change the modules. */
static void find_called(Parts *parts, Arena *arena) {
  for (int i = 0; i < parts->count; i++)
    for (LLVMValueRef f = LLVMGetFirstFunction(parts->parts[i].llvm); f; f = LLVMGetNextFunction(f)) {
      size_t length;
      const char *name = LLVMGetValueName2(f, &length);
      if (!LLVMIsDeclaration(f) || strncmp(name, "tenon_", 6) != 0 || is_called(parts, name)) continue;
      assert(parts->called_count < COUNT_OF(parts->called));
      parts->called[parts->called_count++] = arena_printf(arena, "%s", name);
    }
}

bool parts_call(const Parts *parts, const char *prefix) {
  for (int i = 0; i < parts->called_count; i++)
    if (strncmp(parts->called[i], prefix, strlen(prefix)) == 0) return true;
  return false;
}

/* ---- threads ---- */

static bool compile(Part *part) {
  Module *module = part->module;
  object_place(module, part->llvm);
  TRY(object_optimise(module, part->llvm, &part->machine));
  return object_write(module, object_emit(module, part->llvm, &part->machine, LLVMObjectFile), part->path);
}

static Part *take(Parts *parts) {
  pthread_mutex_lock(&parts->lock);
  Part *part = parts->next < parts->count ? &parts->parts[parts->next++] : NULL;
  pthread_mutex_unlock(&parts->lock);
  return part;
}

static void compile_all(Parts *parts) {
  for (Part *part; (part = take(parts));) part->ok = compile(part);
}

static void *work(void *context) {
  Parts *parts = context;
  object_last_words(parts->parts[0].model);
  compile_all(parts);
  return NULL;
}

void parts_start(Parts *parts, Arena *arena) {
  find_called(parts, arena);
  int wanted = processor_count() - 1;
  if (wanted > parts->count) wanted = parts->count;
  if (wanted <= 0) return;
  parts->threads = malloc(sizeof *parts->threads * (size_t)wanted);
  if (!parts->threads) return; /* then the caller does it all */
  while (parts->thread_count < wanted &&
         pthread_create(&parts->threads[parts->thread_count], NULL, work, parts) == 0)
    parts->thread_count++;
}

static void join(Parts *parts) {
  for (int i = 0; i < parts->thread_count; i++) pthread_join(parts->threads[i], NULL);
  free(parts->threads);
  parts->threads = NULL;
  parts->thread_count = 0;
}

bool parts_finish(Parts *parts, Module *module) {
  bool ok = true;
  compile_all(parts);
  join(parts);
  for (int i = 0; i < parts->count; i++) {
    const Part *part = &parts->parts[i];
    ok &= part->ok;
    for (const Diag *diag = part->module->diags; diag; diag = diag->next) diag_add(module, *diag);
  }
  return ok;
}

void parts_close(Parts *parts) {
  pthread_mutex_lock(&parts->lock);
  parts->next = parts->count; /* where the caller failed meanwhile: no more */
  pthread_mutex_unlock(&parts->lock);
  join(parts);
  for (int i = 0; i < parts->count; i++) {
    Part *part = &parts->parts[i];
    if (!part->module) continue;
    machine_close(&part->machine);
    LLVMDisposeModule(part->llvm);
    LLVMContextDispose(part->context);
    module_free(part->module);
  }
  pthread_mutex_destroy(&parts->lock);
}
