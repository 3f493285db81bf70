/* locals.c -- see locals.h. */
#include "codegen/locals.h"

enum { MAX_ON_STACK = 16 * 1024, MAX_STACK = 64 * 1024, ALIGNMENT = 64 };

int64_t local_bytes(const Buffer *local) {
  int64_t count = 1;
  for (int axis = 0; axis < local->rank; axis++) count *= local->dims[axis]->value; /* verified: static */
  return (count * dtype_bits(local->dtype) + 7) / 8;
}

int64_t kernel_local_memory(const Kernel *kernel, int64_t *offsets) {
  int64_t memory = 0, stack = 0;
  for (int i = 0; i < kernel->local_count; i++) {
    const Buffer *local = kernel->locals[i];
    int64_t bytes = local_bytes(local);
    bool fits = bytes <= MAX_ON_STACK && stack + bytes <= MAX_STACK;
    if (offsets) offsets[i] = fits ? -1 : memory;
    if (fits)
      stack += bytes;
    else
      memory += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }
  return memory;
}
