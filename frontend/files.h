/*
 * files.h -- whole files, and what stands in a folder; shared inside frontend/.
 */
#ifndef TENON_FILES_H
#define TENON_FILES_H

#include "ir/ir.h"

/* The bytes of a file; from malloc. NULL with a Diag. */
char *file_read(Module *module, const char *path, size_t *size);
bool has_suffix(const char *name, const char *suffix); /* in letters of any case */
/* PATH/NAME of what is `wanted` in a folder, sorted by `order`; in the arena. */
typedef struct Names {
  const char **paths;
  int count;
} Names;
bool folder_list(Module *module, const char *path, bool (*wanted)(const char *name),
                 int (*order)(const char *a, const char *b), Names *names);

#endif
