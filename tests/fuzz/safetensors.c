/* safetensors.c -- the weights file beside a text form. What was read is written and must read back. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void compare(const SafeTensor *a, const SafeTensor *b) {
  fuzz_check(strcmp(a->name, b->name) == 0, NULL, "a name changed");
  fuzz_check(a->dtype == b->dtype && a->rank == b->rank && a->size == b->size, NULL, "a tensor changed");
  fuzz_check(!a->rank || !memcmp(a->dims, b->dims, sizeof *a->dims * (size_t)a->rank), NULL,
             "a shape changed");
  fuzz_check(!a->size || !memcmp(a->bytes, b->bytes, a->size), NULL, "bytes changed");
}

static const SafeTensor *find(const SafeTensor *tensors, int count, const char *name) {
  for (int i = 0; i < count; i++)
    if (strcmp(tensors[i].name, name) == 0) return &tensors[i];
  fuzz_check(false, NULL, "a tensor is lost");
  return NULL;
}

static void round_trip(Module *module, const SafeTensor *tensors, int count) {
  const char *path = fuzz_file("again.safetensors", "", 0);
  SafeTensor *read;
  int count_again;
  fuzz_check(safetensors_write(module, path, tensors, count), module, "tensors cannot be written");
  fuzz_check(safetensors_open(module, path, &read, &count_again), module, "tensors cannot be read back");
  fuzz_check(count == count_again, module, "tensors are lost");
  for (int i = 0; i < count; i++) compare(&tensors[i], find(read, count_again, tensors[i].name));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  const char *path = fuzz_file("input.safetensors", bytes, size);
  Module *module = module_new(path);
  SafeTensor *tensors;
  int count = 0;
  if (safetensors_open(module, path, &tensors, &count)) round_trip(module, tensors, count);
  module_free(module);
  return 0;
}
