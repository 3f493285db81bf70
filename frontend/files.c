/* files.c -- whole files, and what stands in a folder. */
#include "frontend/files.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { MAX_NAMES = 1 << 22 };
static const size_t max_file = (size_t)64 << 30;

char *file_read(Module *module, const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  struct stat stat;
  if (!file) return fail(module, "cannot open '%s': %s", path, strerror(errno)), NULL;
  bool regular = !fstat(fileno(file), &stat) && S_ISREG(stat.st_mode) && (size_t)stat.st_size <= max_file;
  *size = regular ? (size_t)stat.st_size : 0;
  char *bytes = regular ? malloc(*size + 1) : NULL;
  bool good = bytes && fread(bytes, 1, *size, file) == *size;
  fclose(file);
  if (good) return bytes;
  free(bytes);
  return fail(module, "cannot read '%s'", path), NULL;
}

bool has_suffix(const char *name, const char *suffix) {
  size_t length = strlen(name), tail = strlen(suffix);
  return length >= tail && strcasecmp(name + length - tail, suffix) == 0;
}

static int compare_paths(const void *a, const void *b, void *order) {
  int (*const *compare)(const char *, const char *) = order;
  return (*compare)(*(const char *const *)a, *(const char *const *)b);
}

bool folder_list(Module *module, const char *path, bool (*wanted)(const char *name),
                 int (*order)(const char *a, const char *b), Names *names) {
  int room = 0;
  *names = (Names){0};
  DIR *folder = opendir(path);
  if (!folder) return fail(module, "cannot open '%s': %s", path, strerror(errno));
  for (const struct dirent *entry; (entry = readdir(folder)) && names->count < MAX_NAMES;) {
    if (!wanted(entry->d_name)) continue;
    if (names->count == room) {
      const char **more = NEW_ARRAY(module->arena, const char *, room = 2 * room + 64);
      if (names->count) memcpy(more, names->paths, sizeof *more * (size_t)names->count);
      names->paths = more;
    }
    names->paths[names->count++] = arena_printf(module->arena, "%s/%s", path, entry->d_name);
  }
  closedir(folder);
  if (names->count) qsort_r(names->paths, (size_t)names->count, sizeof *names->paths, compare_paths, &order);
  return true;
}
