/*
 * kernels_only.c -- kernels without a model around them: as a shared library, for tests of the backend and
 * for tuning; one as text, for people.
 */
#include "codegen/library.h"
#include "codegen/locals.h"
#include "codegen/math.h"

enum { MAX_SYMBOLS = 64 };

/* Zeros for the kernel's large locals: one run at a time. */
static LLVMValueRef local_memory(LLVMModuleRef llvm, const Kernel *kernel) {
  LLVMTypeRef byte = LLVMInt8TypeInContext(LLVMGetModuleContext(llvm));
  LLVMTypeRef type = LLVMArrayType2(byte, (uint64_t)kernel_local_memory(kernel, NULL));
  LLVMValueRef memory = LLVMAddGlobal(llvm, type, "");
  LLVMSetInitializer(memory, LLVMConstNull(type));
  LLVMSetLinkage(memory, LLVMInternalLinkage);
  LLVMSetAlignment(memory, 64);
  return memory;
}

/* void NAME(params..., const int64_t *symbols): the kernel on one thread. */
static void define_call(LLVMModuleRef llvm, const Machine *machine, const Kernel *kernel,
                        LLVMValueRef function) {
  LLVMContextRef context = LLVMGetModuleContext(llvm);
  unsigned count = (unsigned)kernel->param_count + 1;
  LLVMTypeRef pointer = LLVMPointerTypeInContext(context, 0);
  LLVMTypeRef *types = NEW_ARRAY(kernel->module->arena, LLVMTypeRef, count);
  LLVMValueRef *args = NEW_ARRAY(kernel->module->arena, LLVMValueRef, count + 2);
  for (unsigned i = 0; i < count; i++) types[i] = pointer;
  LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(context), types, count, false);
  LLVMValueRef call = LLVMAddFunction(llvm, kernel->name, type);
  llvm_function_attributes(call, machine, true);
  for (unsigned i = 0; i < count; i++) args[i] = LLVMGetParam(call, i);
  args[kernel->param_count + KERNEL_TEAM] = LLVMConstNull(pointer);
  args[kernel->param_count + KERNEL_MEMORY] = local_memory(llvm, kernel);
  LLVMBuilderRef builder = LLVMCreateBuilderInContext(context);
  LLVMPositionBuilderAtEnd(builder, LLVMAppendBasicBlockInContext(context, call, ""));
  LLVMBuildCall2(builder, LLVMGlobalGetValueType(function), function, args, count + 2, "");
  LLVMBuildRetVoid(builder);
  LLVMDisposeBuilder(builder);
}

/* The kernel's function alone. */
static LLVMValueRef add_function(LLVMModuleRef llvm, const Machine *machine, Kernel *kernel, const char *name,
                                 bool in_place) {
  if (!kernel_verify(kernel)) return NULL;
  loops_expand_math(kernel);
  const char **symbols = NEW_ARRAY(kernel->module->arena, const char *, MAX_SYMBOLS);
  int count = kernel_symbols(kernel, symbols, MAX_SYMBOLS);
  if (count > MAX_SYMBOLS) {
    fail(kernel->module, "kernel '%s' has over %d symbolic sizes", kernel->name, MAX_SYMBOLS);
    return NULL;
  }
  return llvm_kernel(llvm, machine, kernel, name, symbols, count, in_place);
}

static bool add_kernel(LLVMModuleRef llvm, const Machine *machine, Kernel *kernel) {
  const char *name = arena_printf(kernel->module->arena, "%s.kernel", kernel->name);
  LLVMValueRef function = add_function(llvm, machine, kernel, name, false);
  if (function) define_call(llvm, machine, kernel, function);
  return function != NULL;
}

/* There is no runtime to divide anything, and nobody asks for it. */
static void define_parallel(LLVMModuleRef llvm) {
  LLVMValueRef function = LLVMGetNamedFunction(llvm, "tenon_runtime_parallel");
  if (!function) return;
  LLVMContextRef context = LLVMGetModuleContext(llvm);
  LLVMBuilderRef builder = LLVMCreateBuilderInContext(context);
  LLVMSetLinkage(function, LLVMInternalLinkage);
  LLVMPositionBuilderAtEnd(builder, LLVMAppendBasicBlockInContext(context, function, ""));
  LLVMBuildUnreachable(builder);
  LLVMDisposeBuilder(builder);
}

static bool write_code(Module *module, LLVMModuleRef llvm, const Machine *machine, LLVMCodeGenFileType type,
                       const char *path) {
  LLVMModuleRef copy = LLVMCloneModule(llvm); /* making code changes the module */
  bool ok = object_write(module, object_emit(module, copy, machine, type), path);
  LLVMDisposeModule(copy);
  return ok;
}

static bool emit(Module *module, LLVMModuleRef llvm, const Machine *machine, const char *path,
                 const char *asm_path) {
  WorkFolder folder;
  TRY(object_optimise(module, llvm, machine));
  if (asm_path) TRY(write_code(module, llvm, machine, LLVMAssemblyFile, asm_path));
  TRY(work_folder_open(module, &folder));
  char *object = work_file(module, &folder, "kernels.o");
  bool ok = write_code(module, llvm, machine, LLVMObjectFile, object) &&
            link_library(module, machine->target, &folder, (const char *const[]){object}, 1, path);
  work_folder_close(&folder);
  return ok;
}

static LLVMModuleRef empty_module(LLVMContextRef context, const Machine *machine) {
  LLVMModuleRef llvm = LLVMModuleCreateWithNameInContext("kernels", context);
  LLVMSetTarget(llvm, machine->target->triple);
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine->ref);
  LLVMSetModuleDataLayout(llvm, layout);
  LLVMDisposeTargetData(layout);
  return llvm;
}

bool codegen_kernels(Module *module, const Target *target, Kernel *const *kernels, int count,
                     const char *path, const char *asm_path) {
  Machine machine;
  TRY(machine_open(module, target, &machine));
  LLVMContextRef context = LLVMContextCreate();
  LLVMModuleRef llvm = empty_module(context, &machine);
  bool ok = true;
  for (int i = 0; ok && i < count; i++) ok = add_kernel(llvm, &machine, kernels[i]);
  define_parallel(llvm);
  ok = ok && object_link_kernels(module, llvm, &machine) && emit(module, llvm, &machine, path, asm_path);
  LLVMDisposeModule(llvm);
  LLVMContextDispose(context);
  machine_close(&machine);
  return ok;
}

/* ---- one as text ---- */

static bool print_asm(Module *module, LLVMModuleRef llvm, const Machine *machine, FILE *out) {
  LLVMMemoryBufferRef buffer = object_emit(module, llvm, machine, LLVMAssemblyFile);
  if (!buffer) return false;
  fwrite(LLVMGetBufferStart(buffer), 1, LLVMGetBufferSize(buffer), out);
  LLVMDisposeMemoryBuffer(buffer);
  return true;
}

static bool print_llvm(LLVMModuleRef llvm, FILE *out) {
  char *text = LLVMPrintModuleToString(llvm);
  fputs(text, out);
  LLVMDisposeMessage(text);
  return true;
}

bool kernel_print_code(Kernel *kernel, const Machine *machine, bool in_place, bool is_asm, FILE *out) {
  LLVMContextRef context = LLVMContextCreate();
  LLVMModuleRef llvm = empty_module(context, machine);
  LLVMValueRef function = add_function(llvm, machine, kernel, kernel->name, in_place);
  if (function) LLVMSetLinkage(function, LLVMExternalLinkage); /* nobody calls it here */
  bool ok = function && object_optimise(kernel->module, llvm, machine) &&
            (is_asm ? print_asm(kernel->module, llvm, machine, out) : print_llvm(llvm, out));
  LLVMDisposeModule(llvm);
  LLVMContextDispose(context);
  return ok;
}
