/* onnx.c -- ONNX models, and the passes on what the importer accepts. */
#include "frontend/frontend.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  const char *path = fuzz_file("input.onnx", bytes, size);
  Module *module = module_new(path);
  if (import_onnx(module, path, NULL)) fuzz_graph(module);
  module_free(module);
  return 0;
}
