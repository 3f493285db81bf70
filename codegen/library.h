/*
 * library.h -- a program as an LLVM module (library.c) and those of its parts (parts.h), a module as bytes
 * (object.c), weights as an object (weights.c), objects as a shared library (link.c).
 */
#ifndef TENON_CODEGEN_LIBRARY_H
#define TENON_CODEGEN_LIBRARY_H

#include "codegen/llvm.h"
#include "codegen/program.h"

#include <llvm-c/Core.h>

typedef struct Parts Parts; /* parts.h */

/* Kernels that no part has, the functions of runtime/model.h, the table, and the calls that carry the model's
 * name; the other kernels in their parts. machines: of the program's targets. weights_path: the packed file
 * to .incbin, NULL when there is none. NULL with a Diag. */
LLVMModuleRef library_module(LLVMContextRef context, const Program *program, const Machine *machines,
                             const char *weights_path, const Parts *parts);
void library_set_target(LLVMModuleRef llvm, const Machine *machine);

/* Links the runtime in, hides everything but the interface, and runs the passes that explicit vector code
 * profits from. Together they leave out what the model has no use for. has_runtime false: link_library adds
 * the runtime, which is compiled already. */
bool object_prepare(Module *module, LLVMModuleRef llvm, const Machine *machine, const char *name,
                    bool has_runtime, const Parts *parts);
/* Adds the functions of runtime/kernels/ if the module calls one. */
bool object_link_kernels(Module *module, LLVMModuleRef llvm, const Machine *machine);
/* Functions get sections of their own, so that the linker can drop what a program does not call. */
void object_place(Module *module, LLVMModuleRef llvm);
bool object_optimise(Module *module, LLVMModuleRef llvm, const Machine *machine); /* the passes alone */
/* Object code or assembler text; the caller disposes of the buffer. NULL with a Diag. */
LLVMMemoryBufferRef object_emit(Module *module, LLVMModuleRef llvm, const Machine *machine,
                                LLVMCodeGenFileType type);
/* Disposes of the buffer, which may be NULL: then something failed before. */
bool object_write(Module *module, LLVMMemoryBufferRef buffer, const char *path);
/* The model that this thread now compiles, for LLVM's last words. */
void object_last_words(const char *model);

/* Processors that this process may use. */
int processor_count(void);

/* The code of one kernel after the passes of LLVM, in its text form or in that of the assembler
 * (kernels_only.c). */
bool kernel_print_code(Kernel *kernel, const Machine *machine, bool in_place, bool is_asm, FILE *out);

/* ---- Weights (weights.c) ---- */

/* Weights of several huge pages begin at one, in the file and in memory: where the system keeps files in
 * large pieces it then maps them so, and they stream up to a quarter faster. */
int64_t weights_alignment(const Program *program);
const char *weights_symbol(const Program *program);
bool weights_file(const Program *program, const char *path); /* alone, for .incbin */
/* An object that defines the symbol, for the processor of the object `like`. */
bool weights_object(const Program *program, const char *like, const char *path);

/* ---- Files and the linker (link.c) ---- */

/* A folder for one compilation, removed with what is in it. */
typedef struct WorkFolder {
  char path[256];
} WorkFolder;
bool work_folder_open(Module *module, WorkFolder *folder);
void work_folder_close(WorkFolder *folder);
char *work_file(Module *module, const WorkFolder *folder, const char *name);

bool file_write(Module *module, const char *path, const void *bytes, size_t size);
/* Links objects, and what they lack of the runtime, to a shared library at path with ld.lld. */
bool link_library(Module *module, const Target *target, const WorkFolder *folder, const char *const *objects,
                  int object_count, const char *path);

#endif
