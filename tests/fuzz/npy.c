/* npy.c -- numpy's .npy and .npz files. What was read is written and must read back. */
#include "frontend/frontend.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void round_trip(Module *module, const Tensor *tensor) {
  const char *path = fuzz_file("again.npy", "", 0);
  Tensor again;
  fuzz_check(write_npy(module, path, tensor), module, "a tensor cannot be written");
  fuzz_check(read_npy(module, path, &again), module, "a tensor cannot be read back");
  size_t size = tensor_size(tensor);
  fuzz_check(tensor->dtype == again.dtype && tensor->rank == again.rank && size == tensor_size(&again),
             module, "a tensor changed");
  fuzz_check(!size || memcmp(tensor->data, again.data, size) == 0, module, "elements changed");
  tensor_free(&again);
}

static void read_archive(Module *module, const char *path) {
  Tensor *tensors;
  const char **names;
  int count = 0;
  if (!read_npz(module, path, &tensors, &names, &count)) return;
  for (int i = 0; i < count; i++) tensor_free(&tensors[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  const char *path = fuzz_file("input.npy", bytes, size);
  Module *module = module_new(path);
  Tensor tensor;
  if (size >= 2 && memcmp(bytes, "PK", 2) == 0) {
    read_archive(module, path);
  } else if (read_npy(module, path, &tensor)) {
    round_trip(module, &tensor);
    tensor_free(&tensor);
  }
  module_free(module);
  return 0;
}
