/* loops.c -- the text form of the loop IR. */
#include "ir/loop.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

static char *kernels_text(Kernel *const *kernels, int count) {
  char *text = NULL;
  size_t size = 0;
  FILE *stream = open_memstream(&text, &size);
  fuzz_check(stream != NULL, NULL, "no memory for a text");
  for (int i = 0; i < count; i++) kernel_print(kernels[i], stream);
  fclose(stream);
  return text;
}

static void round_trip(Kernel *const *kernels, int count) {
  char *before = kernels_text(kernels, count);
  Module *again = module_new("again.loops");
  int count_again = 0;
  Kernel **read = kernels_parse(again, before, __builtin_strlen(before), &count_again);
  fuzz_check(read && count_again == count, again, "printed kernels cannot be read back");
  char *after = kernels_text(read, count_again);
  fuzz_same_text(before, after);
  free(before);
  free(after);
  module_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  Module *module = module_new("input.loops");
  int count = 0;
  Kernel **kernels = kernels_parse(module, (const char *)bytes, size, &count);
  if (kernels) round_trip(kernels, count);
  for (int i = 0; kernels && i < count; i++) kernel_verify(kernels[i]);
  module_free(module);
  return 0;
}
