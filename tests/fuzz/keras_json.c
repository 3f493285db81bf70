/*
 * keras_json.c -- the configuration of a Keras model. An input is the JSON, a zero byte, and the weights that
 * lie beside it as an .npz (so that no child process has to read HDF5).
 */
#include "frontend/frontend.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  const uint8_t *end = size ? memchr(bytes, 0, size) : NULL;
  size_t length = end ? (size_t)(end - bytes) : size;
  const char *path = fuzz_file("input.json", bytes, length);
  fuzz_file("input.npz", bytes + length + (end != NULL), size - length - (end != NULL));
  Module *module = module_new(path);
  if (import_keras(module, path, NULL)) fuzz_graph(module);
  module_free(module);
  return 0;
}
