/*
 * library_parts.h -- what the files share that write a program as an LLVM module: library.c, and dynamic.c
 * for programs whose sizes are known only when they run.
 */
#ifndef TENON_CODEGEN_LIBRARY_PARTS_H
#define TENON_CODEGEN_LIBRARY_PARTS_H

#include "codegen/library.h"

typedef struct Library {
  const Program *program;
  const Machine *machines; /* by target */
  Module *module;
  LLVMContextRef context;
  LLVMModuleRef llvm;
  LLVMBuilderRef builder;
  LLVMTypeRef i8, i32, i64, pointer, nothing;
  LLVMValueRef *kernels; /* by target and code */
  LLVMValueRef weights;
  LLVMValueRef *tables; /* of strings, each once it is used */
} Library;

/* ---- Constants ---- */

LLVMValueRef int32(const Library *library, int64_t value);
LLVMValueRef int64(const Library *library, int64_t value);
LLVMValueRef constant_global(const Library *library, const char *name, LLVMValueRef value);
LLVMValueRef string(const Library *library, const char *text);
LLVMValueRef structure(const Library *library, LLVMValueRef *fields, int count);

/* ---- Functions ---- */

LLVMValueRef declare(const Library *library, const char *name, LLVMTypeRef result, LLVMTypeRef *types,
                     int count);
/* A function whose first block the builder then stands in. */
LLVMValueRef define(const Library *library, const char *name, LLVMTypeRef result, LLVMTypeRef *types,
                    int count);
LLVMValueRef call(const Library *library, LLVMValueRef function, LLVMValueRef *args, int count);
LLVMValueRef element_pointer(const Library *library, LLVMTypeRef type, LLVMValueRef base, int64_t index);
LLVMValueRef byte_pointer(const Library *library, LLVMValueRef base, LLVMValueRef offset);

/* ---- Sizes ---- */

DimCode dim_code(const Library *library, LLVMValueRef symbols);
LLVMValueRef guard_holds(const Library *library, const DimCode *code, const Guard *guard);

/* ---- Runs ---- */

/* A function that calls kernels, under construction. */
typedef struct Run {
  LLVMValueRef function;
  LLVMValueRef *inputs, *outputs; /* loaded pointers */
  LLVMValueRef state, items;
  LLVMValueRef locals, planned; /* the two parts of scratch memory */
  LLVMValueRef kernels;         /* their addresses by code, for this processor; NULL: there is one target */
  LLVMValueRef team, profile;
  DimCode dims;
} Run;

LLVMValueRef chosen_kernels(const Library *library);
LLVMValueRef address(const Library *library, const Run *run, const Location *location);
void call_kernel(const Library *library, const Run *run, const Step *step);
/* if (profile) profile->step(profile, number) */
void profile_step(const Library *library, const Run *run, int number);
uint32_t dtype_number(Dtype dtype); /* a tenon_dtype */

/* ---- dynamic.c ---- */

/* tenon_model_dynamic, and the function that it names if the program is dynamic. */
void define_dynamic(const Library *library);
/* The Item that a value of the program is. */
LLVMValueRef item_pointer(const Library *library, LLVMValueRef items, int64_t number);

#endif
