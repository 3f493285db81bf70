/*
 * data.c -- the bytes of constants, outside the arena.
 *
 * Owned bytes come from calloc with room for alignment, so that a huge count costs address space, not memory,
 * until it is filled. Module frees every Data when it dies, through its release function.
 */
#include "ir/intern.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { DATA_ALIGNMENT = 64 };

static void free_owned(Data *data) {
  free(data->owner);
}

static Data *data_add(Module *module, Data data) {
  Data *kept = arena_copy(module->arena, &data, sizeof data);
  kept->next = module->data;
  module->data = kept;
  return kept;
}

static Data *allocate(Module *module, Dtype dtype, int64_t count, bool splat) {
  size_t size;
  if (!dtype_bytes(dtype, splat ? 1 : count, &size) || size > PTRDIFF_MAX - DATA_ALIGNMENT) {
    fail(module, "a constant of %lld elements of %s is too large", (long long)count, dtype_name(dtype));
    return NULL;
  }
  char *memory = calloc(1, size + DATA_ALIGNMENT);
  if (!memory) {
    fail(module, "no memory for a constant of %zu bytes", size);
    return NULL;
  }
  size_t offset = DATA_ALIGNMENT - (uintptr_t)memory % DATA_ALIGNMENT;
  return data_add(module, (Data){.dtype = dtype,
                                 .count = count,
                                 .splat = splat,
                                 .bytes = memory + offset,
                                 .size = size,
                                 .release = free_owned,
                                 .owner = memory});
}

Data *data_new(Module *module, Dtype dtype, int64_t count) {
  return allocate(module, dtype, count, false);
}

void *data_bytes(Data *data) {
  assert(data->release == free_owned);
  return (void *)data->bytes;
}

Data *data_blank(Module *module, Dtype dtype, int64_t count) {
  return allocate(module, dtype, count, true);
}

Data *data_splat(Module *module, Dtype dtype, int64_t count, double value) {
  Data *data = data_blank(module, dtype, count);
  if (data && dtype != DTYPE_STRING) dtype_set(dtype, data_bytes(data), 0, value);
  return data;
}

Data *data_spread(Module *module, const Data *data, int64_t index, int64_t count) {
  Data *spread = allocate(module, data->dtype, count, true);
  if (spread) dtype_copy(data->dtype, data_bytes(spread), 0, data->bytes, data->splat ? 0 : index);
  return spread;
}

Data *data_copy(Module *module, Dtype dtype, int64_t count, const void *bytes) {
  Data *data = data_new(module, dtype, count);
  if (data && data->size > 0) memcpy(data_bytes(data), bytes, data->size);
  return data;
}

Data *data_borrow(Module *module, Dtype dtype, int64_t count, const void *bytes, size_t size,
                  void (*release)(Data *), void *owner) {
  return data_add(
      module,
      (Data){
          .dtype = dtype, .count = count, .bytes = bytes, .size = size, .release = release, .owner = owner});
}

uint64_t data_hash(const Data *data) {
  if (data->hash == 0) {
    uint64_t head[] = {(uint64_t)data->dtype, (uint64_t)data->count, data->splat};
    uint64_t hash = hash_bytes(data->bytes, data->size, hash_bytes(head, sizeof head, 2));
    ((Data *)data)->hash = hash ? hash : 1; /* a cache: Data is never a constant object */
  }
  return data->hash;
}

bool data_equal(const Data *a, const Data *b) {
  if (a == b) return true;
  if (a->dtype != b->dtype || a->count != b->count || a->splat != b->splat || a->size != b->size)
    return false;
  return a->size == 0 || a->bytes == b->bytes ||
         (data_hash(a) == data_hash(b) && memcmp(a->bytes, b->bytes, a->size) == 0);
}

const char *data_string(const Data *data, int64_t index) {
  assert(index >= 0 && index < data->count && data->dtype == DTYPE_STRING);
  const char *text = ((const char *const *)data->bytes)[data->splat ? 0 : index];
  return text ? text : "";
}

double data_get(const Data *data, int64_t index) {
  assert(index >= 0 && index < data->count);
  return dtype_get(data->dtype, data->bytes, data->splat ? 0 : index);
}

int64_t data_get_int(const Data *data, int64_t index) {
  assert(index >= 0 && index < data->count);
  return dtype_get_int(data->dtype, data->bytes, data->splat ? 0 : index);
}
