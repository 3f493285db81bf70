/*
 * parts.h -- the kernels of a large program in LLVM modules of their own, which threads compile (parts.c).
 */
#ifndef TENON_CODEGEN_PARTS_H
#define TENON_CODEGEN_PARTS_H

#include "codegen/library.h"

#include <pthread.h>

typedef struct Part {
  LLVMContextRef context;
  LLVMModuleRef llvm;
  Machine machine;
  const char *path, *model; /* of its object; what it is a part of, for last words */
  Module *module;           /* for its Diags and small memory */
  bool ok;
} Part;

/* All zeros: no parts, everything is in the library's module. */
struct Parts {
  Part *parts;
  int count;
  int *of_kernel;        /* by target and code, as Library.kernels; -1: in the library's module */
  const char *called[4]; /* functions of the runtime that kernels of parts call */
  int called_count;
  int next; /* the part that nobody compiles yet */
  pthread_mutex_t lock;
  pthread_t *threads;
  int thread_count;
};

/* Divides the kernels; none when there are few, or no machines. False with a Diag; parts_close is due either
 * way. */
bool parts_open(Parts *parts, const Program *program, const Machine *machines, const WorkFolder *folder);
void parts_close(Parts *parts);
/* Where kernel number `kernel` belongs; NULL: in the library's module. */
LLVMModuleRef parts_module(const Parts *parts, int kernel);
/* Makes known in the library's module what is defined in a part. */
LLVMValueRef parts_share(Arena *arena, LLVMModuleRef library, LLVMValueRef kernel);
/* Threads compile as long as there are parts; meanwhile the caller does what it has to, and then helps. */
void parts_start(Parts *parts, Arena *arena);
/* Whether a function of the runtime whose name begins so is called; after the start. */
bool parts_call(const Parts *parts, const char *prefix);
/* False with the Diags of those that failed. */
bool parts_finish(Parts *parts, Module *module);

#endif
