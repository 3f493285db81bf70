/* samples.c -- files of samples and of labels: .npz, .npy, idx, images, text. What is accepted is finite and
 * has the types of the inputs. */
#include "frontend/frontend.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <string.h>

static const char graph[] = "graph g(%x: f32[N,1,2,2]) -> (%y: f32[N,1,2,2]) {\n  return %x\n}\n";

static void read_file(const char *path, const char *labels) {
  const SampleOptions options = {.most = 3, .scale = 1, .std = {1, 1, 1}, .labels = labels};
  Module *module = module_new(path);
  Samples samples = {0};
  fuzz_check(module_parse_text(module, graph, sizeof graph - 1, NULL), module, "the graph");
  if (read_samples(module, path, &options, &samples)) {
    for (int i = 0; i < samples.count; i++) {
      const Tensor *tensor = &samples.tensors[i];
      fuzz_check(tensor->dtype == DTYPE_F32 && tensor->rank == 4 && tensor_count(tensor) >= 4, module,
                 "a sample has another type");
      for (int j = 0; j < 4; j++)
        fuzz_check(isfinite(dtype_get(DTYPE_F32, tensor->data, j)), module, "a sample is not finite");
    }
  }
  samples_free(&samples);
  module_free(module);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  static const char two[] = "P2 2 2 255 1 2 3 4";
  read_file(fuzz_file("input.ppm", bytes, size), NULL); /* by its content another format */
  read_file(fuzz_file("samples.ppm", two, sizeof two - 1), fuzz_file("labels", bytes, size));
  return 0;
}
