/* text.c -- the text form of graphs. */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  Module *module = module_new("input.tn");
  if (module_parse_text(module, (const char *)bytes, size, NULL)) fuzz_graph(module);
  module_free(module);
  return 0;
}
