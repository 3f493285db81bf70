/* arena.c -- memory that dies together: a chain of blocks, each filled from the front. */
#include "ir/ir.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK_SIZE = 1 << 16, ALIGNMENT = 16 };

typedef struct ArenaBlock {
  struct ArenaBlock *next;
  size_t used, size; /* of bytes */
  _Alignas(ALIGNMENT) unsigned char bytes[];
} ArenaBlock;

struct Arena {
  ArenaBlock *blocks; /* the first is the one being filled */
  size_t used;
};

static void *allocate_or_exit(size_t size) {
  void *memory = calloc(1, size);
  if (!memory) {
    fprintf(stderr, "tenon: out of memory: %zu bytes are not to be had\n", size);
    exit(1);
  }
  return memory;
}

Arena *arena_new(void) {
  return allocate_or_exit(sizeof(Arena));
}

void arena_free(Arena *arena) {
  if (!arena) return;
  for (ArenaBlock *block = arena->blocks, *next; block; block = next) {
    next = block->next;
    free(block);
  }
  free(arena);
}

static ArenaBlock *add_block(Arena *arena, size_t size) {
  ArenaBlock *block = allocate_or_exit(sizeof(ArenaBlock) + size);
  block->size = size;
  /* A block for one large object goes behind the one being filled, whose room stays in use. */
  if (arena->blocks && size > BLOCK_SIZE) {
    block->next = arena->blocks->next;
    arena->blocks->next = block;
  } else {
    block->next = arena->blocks;
    arena->blocks = block;
  }
  return block;
}

void *arena_alloc(Arena *arena, size_t size) {
  if (size == 0) size = 1;
  if (size > SIZE_MAX / 2) return allocate_or_exit(size); /* prints the number and exits */
  size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
  ArenaBlock *block = arena->blocks;
  if (!block || size > block->size - block->used)
    block = add_block(arena, size > BLOCK_SIZE ? size : BLOCK_SIZE);
  void *memory = block->bytes + block->used;
  block->used += size;
  arena->used += size;
  return memory;
}

void *arena_copy(Arena *arena, const void *bytes, size_t size) {
  void *copy = arena_alloc(arena, size);
  if (size > 0) memcpy(copy, bytes, size);
  return copy;
}

char *arena_printf(Arena *arena, const char *format, ...) {
  va_list list, again;
  va_start(list, format);
  va_copy(again, list);
  int length = vsnprintf(NULL, 0, format, list);
  va_end(list);
  if (length < 0) length = 0;
  char *text = arena_alloc(arena, (size_t)length + 1);
  vsnprintf(text, (size_t)length + 1, format, again);
  va_end(again);
  return text;
}

size_t arena_used(const Arena *arena) {
  return arena->used;
}
