/*
 * keras_tfjs.c -- a TensorFlow.js model. An input is its model.json, a zero byte, and the shard a.bin.
 */
#include "frontend/frontend.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  const uint8_t *end = size ? memchr(bytes, 0, size) : NULL;
  size_t length = end ? (size_t)(end - bytes) : size;
  const char *path = fuzz_file("model.json", bytes, length);
  fuzz_file("a.bin", bytes + length + (end != NULL), size - length - (end != NULL));
  Module *module = module_new(path);
  if (import_keras(module, path, NULL)) fuzz_graph(module);
  module_free(module);
  return 0;
}
