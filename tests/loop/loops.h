/* loops.h -- what the tests of the loop IR share: kernels from text, text from kernels, the first error. */
#ifndef TENON_TESTS_LOOPS_H
#define TENON_TESTS_LOOPS_H

#include "ir/loop.h"
#include "tests/test.h"

#include <stdlib.h>

/* The one kernel of `text`, or NULL. */
static inline Kernel *parse_one(Module *module, const char *text) {
  int count;
  Kernel **kernels = kernels_parse(module, text, strlen(text), &count);
  return kernels && count == 1 ? kernels[0] : NULL;
}

static inline char *kernel_text(const Kernel *kernel) {
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  kernel_print(kernel, out);
  fclose(out);
  char *copy = arena_printf(kernel->module->arena, "%s", text);
  free(text);
  return copy;
}

static inline const char *first_error(const Module *module) {
  return module->diags ? module->diags->text : "no error";
}

/* Whether the first error holds `part`; shows it when not. */
static inline bool error_has(const Module *module, const char *part) {
  bool has = strstr(first_error(module), part) != NULL;
  if (!has) printf("the error is: %s\n", first_error(module));
  return has;
}

#endif
