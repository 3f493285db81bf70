/*
 * locals.h -- where the local buffers of a kernel are: small ones on the stack of the thread that runs a
 * task, larger ones in memory that the caller of the kernel gives, a piece for each thread.
 */
#ifndef TENON_CODEGEN_LOCALS_H
#define TENON_CODEGEN_LOCALS_H

#include "ir/loop.h"

int64_t local_bytes(const Buffer *local);
/* Bytes of memory, a multiple of 64, that the kernel needs beside its stack. offsets, unless NULL: of each
 * local in that memory, -1 for those on the stack. */
int64_t kernel_local_memory(const Kernel *kernel, int64_t *offsets);

#endif
