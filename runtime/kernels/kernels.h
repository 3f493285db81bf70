/*
 * kernels.h -- functions that kernels call for what is no loop nest: sorting, selecting, counting.
 *
 * Each is one C file of this folder, in one form: it gets views of tensors and numbers. The `call` of the
 * loop IR (docs/loop-ir.md) names one; the table says what it takes, so that a call can be checked. The files
 * are compiled twice: for this machine, where the interpreter calls them, and to bitcode that goes into the
 * libraries that need it. They are freestanding: no C library, no allocation, no globals. What they need of
 * memory they find in their results.
 *
 * A function never fails and stays inside its views whatever their sizes and contents: a call that was
 * checked is safe. It writes all elements of its results; those without a meaning get 0.
 */
#ifndef TENON_RUNTIME_KERNELS_H
#define TENON_RUNTIME_KERNELS_H

#include "../tenon.h"

#include <stdbool.h>

/* A tensor, or a part of one. codegen/llvm_call.c writes this struct. */
typedef struct View {
  unsigned char *data;
  int32_t dtype; /* tenon_dtype */
  int32_t rank;
  int64_t sizes[TENON_MAX_RANK];
  int64_t strides[TENON_MAX_RANK]; /* bytes */
} View;

typedef void KernelFunction(const View *views, const int64_t *numbers);

/* ---- The table (table.c), for those who write and check calls ---- */

enum { MAX_VIEWS = 8, MAX_NUMBERS = 4, ANY_RANK = -1 };

typedef enum ViewDtype {
  VIEW_PLAIN, /* bool, or a number of 8 to 64 bits */
  VIEW_FIRST, /* as the first view */
  VIEW_I64,
  VIEW_F32
} ViewDtype;

typedef struct ViewSpec {
  ViewDtype dtype;
  int rank;
  bool written;
} ViewSpec;

typedef struct Callee {
  const char *name; /* "top_k" for tenon_kernel_top_k */
  KernelFunction *function;
  int view_count, number_count;
  ViewSpec views[MAX_VIEWS];
  const char *numbers[MAX_NUMBERS]; /* names */
} Callee;

extern const Callee callees[];
extern const int callee_count;

KernelFunction tenon_kernel_non_max_suppression, tenon_kernel_non_zero, tenon_kernel_top_k,
    tenon_kernel_unique;

#endif
