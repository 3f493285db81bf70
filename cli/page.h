/*
 * page.h -- `tenon show --html`: a page for the browser that shows a model on its way through the compiler.
 *
 * page.c collects what is told as JSON, page_measure.c finds the times, page_write.c packs both with the
 * sources in cli/page/ into one file.
 */
#ifndef TENON_CLI_PAGE_H
#define TENON_CLI_PAGE_H

#include "cli/program.h"

/* Of one run: what each kernel takes, in order, and what the sizes are that the model leaves open. */
typedef struct Measured {
  int count;       /* of kernels; 0: nothing was measured, */
  const char *why; /* for this reason */
  double *seconds; /* the least of all runs */
  int runs;
  int symbol_count;
  const char **symbols;
  int64_t *values;
} Measured;

/* Runs the optimised graph of a model, or the library, for about a second. What fails says so in `why`. */
void page_measure_model(Program *program, const Target *target, Measured *measured);
void page_measure_library(Program *program, Measured *measured);

bool page_of_model(Program *program, const char *path);
bool page_of_library(Program *program, const char *path);
/* `data` is JSON. */
bool page_write(Module *module, const char *path, const char *data, size_t size);

#endif
