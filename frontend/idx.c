/*
 * idx.c -- the format of MNIST's files: two zero bytes, a byte for the element type, one for the number of
 * axes, the sizes in 4 bytes each, then the elements, all with the most significant byte first.
 */
#include "frontend/files.h"
#include "frontend/frontend.h"

#include <stdlib.h>
#include <string.h>

static const struct {
  unsigned char code;
  Dtype dtype;
} types[] = {{0x08, DTYPE_U8},  {0x09, DTYPE_I8},  {0x0B, DTYPE_I16},
             {0x0C, DTYPE_I32}, {0x0D, DTYPE_F32}, {0x0E, DTYPE_F64}};

static Dtype dtype_of(unsigned char code) {
  for (int i = 0; i < COUNT_OF(types); i++)
    if (types[i].code == code) return types[i].dtype;
  return DTYPE_NONE;
}

static void copy_reversed(const unsigned char *from, unsigned char *to, int64_t count, size_t width) {
  for (int64_t i = 0; i < count; i++, from += width, to += width)
    for (size_t byte = 0; byte < width; byte++) to[byte] = from[width - 1 - byte];
}

static bool parse_idx(Module *module, const char *path, const unsigned char *bytes, size_t size,
                      Tensor *tensor) {
  int64_t dims[MAX_RANK], count = 1;
  size_t needed = 0;
  if (size < 4 || bytes[0] || bytes[1] || dtype_of(bytes[2]) == DTYPE_NONE)
    return fail(module, "'%s' is no idx file", path);
  Dtype dtype = dtype_of(bytes[2]);
  int rank = bytes[3];
  size_t head = 4 + 4 * (size_t)rank;
  if (rank > MAX_RANK || size < head) return fail(module, "'%s' has a damaged header", path);
  bool sound = true;
  for (int i = 0; i < rank; i++) {
    const unsigned char *at = bytes + 4 + 4 * i;
    dims[i] = (int64_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
    sound = sound && !__builtin_mul_overflow(count, dims[i], &count);
  }
  if (!sound || !dtype_bytes(dtype, count, &needed) || needed > size - head)
    return fail(module, "'%s' ends after %zu bytes of elements; its shape needs more", path, size - head);
  if (!tensor_new(tensor, dtype, rank, dims)) return fail(module, "no memory for '%s'", path);
  copy_reversed(bytes + head, tensor->data, count, (size_t)dtype_bits(dtype) / 8);
  return true;
}

bool read_idx(Module *module, const char *path, Tensor *tensor) {
  size_t size;
  *tensor = (Tensor){0};
  char *bytes = file_read(module, path, &size);
  bool good = bytes && parse_idx(module, path, (const unsigned char *)bytes, size, tensor);
  free(bytes);
  return good;
}
