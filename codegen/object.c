/*
 * object.c -- an LLVM module to machine code: the runtime linked in, everything hidden but the interface, a
 * few cheap passes.
 *
 * Kernels come as explicit vector code in SSA form, so the passes only clean up: common addresses, invariants
 * out of loops, dead code. The optimisation pipelines of LLVM cost five times as much and gain nothing on
 * such code.
 */
#include "codegen/parts.h"
#include "runtime/embedded.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/BitReader.h>
#include <llvm-c/Error.h>
#include <llvm-c/ErrorHandling.h>
#include <llvm-c/Linker.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <stdlib.h>
#include <string.h>

static const char passes[] = "globaldce,function(early-cse<memssa>,instcombine<no-verify-fixpoint>,"
                             "simplifycfg,loop-mssa(licm),early-cse,dce)";

static const RuntimeFamily *find_family(Module *module, const Target *target) {
  for (int i = 0; i < runtime_family_count; i++) {
    const RuntimeFamily *family = &runtime_families[i];
    if (strncmp(target->triple, family->arch, strlen(family->arch)) == 0) return family;
  }
  fail(module, "no library can be made for '%s': the runtime was not built for it", target->triple);
  return NULL;
}

/* ---- linking the runtime in ---- */

static bool link_part(Module *module, LLVMModuleRef llvm, const Embedded *part) {
  LLVMModuleRef runtime;
  LLVMContextRef context = LLVMGetModuleContext(llvm);
  LLVMMemoryBufferRef buffer =
      LLVMCreateMemoryBufferWithMemoryRange((const char *)part->bytes, *part->size, "runtime", false);
  bool bad = LLVMParseBitcodeInContext2(context, buffer, &runtime);
  LLVMDisposeMemoryBuffer(buffer);
  if (bad) return fail(module, "the runtime inside this tenon cannot be read by this LLVM");
  LLVMSetTarget(runtime, LLVMGetTarget(llvm));
  LLVMSetDataLayout(runtime, LLVMGetDataLayoutStr(llvm));
  return !LLVMLinkModules2(llvm, runtime) ||
         fail(module, "the runtime inside this tenon does not fit its code");
}

static bool has_calls(LLVMModuleRef llvm, const char *prefix) {
  size_t length;
  for (LLVMValueRef f = LLVMGetFirstFunction(llvm); f; f = LLVMGetNextFunction(f))
    if (strncmp(LLVMGetValueName2(f, &length), prefix, strlen(prefix)) == 0) return true;
  return false;
}

bool object_link_kernels(Module *module, LLVMModuleRef llvm, const Machine *machine) {
  if (!has_calls(llvm, "tenon_kernel_")) return true;
  const RuntimeFamily *family = find_family(module, machine->target);
  return family && link_part(module, llvm, &family->kernels);
}

static bool is_interface(const char *symbol, const char *name) {
  static const char *const suffixes[] = {"_prepare", "_run", "_scratch_size", "_query"};
  if (strcmp(symbol, "tenon_query") == 0) return true;
  size_t length = strlen(name);
  if (strncmp(symbol, name, length) != 0) return false;
  for (int i = 0; i < COUNT_OF(suffixes); i++)
    if (strcmp(symbol + length, suffixes[i]) == 0) return true;
  return false;
}

/* tenon_model_..., tenon_runtime_...: what model and runtime know of each other. */
static bool is_ours(const char *symbol) {
  return strncmp(symbol, "tenon_", 6) == 0;
}

/* With the runtime in the same module nobody but a part needs it; else it goes no further than the library.
 */
static void hide(LLVMValueRef global, const char *name, bool has_runtime, const Parts *parts) {
  size_t length;
  const char *symbol = LLVMGetValueName2(global, &length);
  LLVMLinkage linkage = LLVMGetLinkage(global);
  if (linkage == LLVMPrivateLinkage || linkage == LLVMInternalLinkage || is_interface(symbol, name)) return;
  if (is_ours(symbol) && (!has_runtime || parts_call(parts, symbol))) {
    LLVMSetVisibility(global, LLVMHiddenVisibility);
  } else if (!LLVMIsDeclaration(global)) {
    LLVMSetVisibility(global, LLVMDefaultVisibility);
    LLVMSetLinkage(global, LLVMInternalLinkage);
  }
}

void object_place(Module *module, LLVMModuleRef llvm) {
  size_t length;
  for (LLVMValueRef f = LLVMGetFirstFunction(llvm); f; f = LLVMGetNextFunction(f))
    if (!LLVMIsDeclaration(f))
      LLVMSetSection(f, arena_printf(module->arena, ".text.%s", LLVMGetValueName2(f, &length)));
}

static bool verify(Module *module, LLVMModuleRef llvm) {
  char *message = NULL;
  bool bad = LLVMVerifyModule(llvm, LLVMReturnStatusAction, &message);
  if (bad) fail(module, "tenon made LLVM code that is not well formed: %s", message);
  LLVMDisposeMessage(message);
  return !bad;
}

bool object_optimise(Module *module, LLVMModuleRef llvm, const Machine *machine) {
  TRY(verify(module, llvm));
  LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
  LLVMErrorRef error = LLVMRunPasses(llvm, passes, machine->ref, options);
  LLVMDisposePassBuilderOptions(options);
  if (!error) return true;
  char *message = LLVMGetErrorMessage(error);
  fail(module, "LLVM's passes failed: %s", message);
  LLVMDisposeErrorMessage(message);
  return false;
}

static bool link_runtime(Module *module, LLVMModuleRef llvm, const Machine *machine, const Parts *parts) {
  const RuntimeFamily *family = find_family(module, machine->target);
  if (!family) return false;
  for (int i = 0; i < RUNTIME_PARTS; i++) {
    const RuntimePart *part = &family->parts[i];
    bool needed = !part->caller || has_calls(llvm, part->caller) || parts_call(parts, part->caller);
    if (needed) TRY(link_part(module, llvm, &part->bitcode));
  }
  return object_link_kernels(module, llvm, machine);
}

bool object_prepare(Module *module, LLVMModuleRef llvm, const Machine *machine, const char *name,
                    bool has_runtime, const Parts *parts) {
  if (has_runtime) TRY(link_runtime(module, llvm, machine, parts));
  for (LLVMValueRef f = LLVMGetFirstFunction(llvm); f; f = LLVMGetNextFunction(f))
    hide(f, name, has_runtime, parts);
  for (LLVMValueRef g = LLVMGetFirstGlobal(llvm); g; g = LLVMGetNextGlobal(g))
    hide(g, name, has_runtime, parts);
  object_place(module, llvm);
  return object_optimise(module, llvm, machine);
}

/* ---- machine code ---- */

LLVMMemoryBufferRef object_emit(Module *module, LLVMModuleRef llvm, const Machine *machine,
                                LLVMCodeGenFileType type) {
  LLVMMemoryBufferRef buffer = NULL;
  char *message = NULL;
  if (!LLVMTargetMachineEmitToMemoryBuffer(machine->ref, llvm, type, &message, &buffer)) return buffer;
  fail(module, "LLVM made no machine code: %s", message);
  LLVMDisposeMessage(message);
  return NULL;
}

bool object_write(Module *module, LLVMMemoryBufferRef buffer, const char *path) {
  if (!buffer) return false;
  bool ok = file_write(module, path, LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer));
  LLVMDisposeMemoryBuffer(buffer);
  return ok;
}
