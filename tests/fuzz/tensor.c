/* tensor.c -- ONNX tensors in files of their own (TensorProto, .pb). */
#include "frontend/frontend.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  const char *path = fuzz_file("input.pb", bytes, size), *name;
  Module *module = module_new(path);
  Tensor tensor;
  if (read_tensor_pb(module, path, FORM_TENSOR, &tensor, &name)) tensor_free(&tensor);
  module_free(module);
  return 0;
}
