/*
 * kernels_only.c -- kernels without a model around them, as a shared library: for tests of the backend, and
 * for tuning.
 */
#include "codegen/library.h"
#include "codegen/math.h"

enum { MAX_SYMBOLS = 64 };

static bool add_kernel(LLVMModuleRef llvm, const Machine *machine, Kernel *kernel) {
  TRY(kernel_verify(kernel));
  loops_expand_math(kernel);
  const char **symbols = NEW_ARRAY(kernel->module->arena, const char *, MAX_SYMBOLS);
  int count = kernel_symbols(kernel, symbols, MAX_SYMBOLS);
  if (count > MAX_SYMBOLS)
    return fail(kernel->module, "kernel '%s' has over %d symbolic sizes", kernel->name, MAX_SYMBOLS);
  LLVMValueRef function = llvm_kernel(llvm, machine, kernel, kernel->name, symbols, count, false);
  if (function) LLVMSetLinkage(function, LLVMExternalLinkage);
  return function != NULL;
}

static bool write_code(Module *module, LLVMModuleRef llvm, const Machine *machine, LLVMCodeGenFileType type,
                       const char *path) {
  LLVMModuleRef copy = LLVMCloneModule(llvm); /* making code changes the module */
  LLVMMemoryBufferRef buffer = object_emit(module, copy, machine, type);
  bool ok = buffer && file_write(module, path, LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer));
  if (buffer) LLVMDisposeMemoryBuffer(buffer);
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
            link_library(module, machine->target, &folder, object, path);
  work_folder_close(&folder);
  return ok;
}

bool codegen_kernels(Module *module, const Target *target, Kernel *const *kernels, int count,
                     const char *path, const char *asm_path) {
  Machine machine;
  TRY(machine_open(module, target, &machine));
  LLVMContextRef context = LLVMContextCreate();
  LLVMModuleRef llvm = LLVMModuleCreateWithNameInContext("kernels", context);
  LLVMSetTarget(llvm, target->triple);
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine.ref);
  LLVMSetModuleDataLayout(llvm, layout);
  LLVMDisposeTargetData(layout);
  bool ok = true;
  for (int i = 0; ok && i < count; i++) ok = add_kernel(llvm, &machine, kernels[i]);
  ok = ok && emit(module, llvm, &machine, path, asm_path);
  LLVMDisposeModule(llvm);
  LLVMContextDispose(context);
  machine_close(&machine);
  return ok;
}
