/* keras_file.c -- Keras models as one file: the zip of .keras and the HDF5 of .h5, told apart by their first
 * bytes. */
#include "frontend/frontend.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  const char *path = fuzz_file("input.keras", bytes, size);
  Module *module = module_new(path);
  if (import_keras(module, path, NULL)) fuzz_graph(module);
  module_free(module);
  return 0;
}
