/*
 * temporary.h -- files and folders for tests to write, in TMPDIR.
 */
#ifndef TENON_TESTS_TEMPORARY_H
#define TENON_TESTS_TEMPORARY_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TEMPORARY_SIZE = 512 }; /* of a name; there is room for a file's behind a folder's */

static inline void temporary_name(char *path) {
  const char *base = getenv("TMPDIR");
  snprintf(path, TEMPORARY_SIZE, "%.*s/tenon-test-XXXXXX", TEMPORARY_SIZE - 100,
           base && *base ? base : "/tmp");
}

/* Makes it and writes its name. */
static inline bool temporary_folder(char path[TEMPORARY_SIZE]) {
  temporary_name(path);
  return mkdtemp(path) != NULL;
}

static inline bool temporary_file(char path[TEMPORARY_SIZE]) {
  temporary_name(path);
  int descriptor = mkstemp(path);
  return descriptor >= 0 && close(descriptor) == 0;
}

#endif
