/*
 * compile.h -- for tests of the backend: kernels to functions that can be called.
 */
#ifndef TENON_TESTS_CODEGEN_COMPILE_H
#define TENON_TESTS_CODEGEN_COMPILE_H

#include "codegen/codegen.h"
#include "ir/loop.h"
#include "tests/temporary.h"
#include "tests/test.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

/* A shared library that was loaded and whose file is gone. */
typedef struct Loaded {
  void *handle;
  char *assembly; /* when asked for; freed by unload */
} Loaded;

static inline char *read_text(const char *path) {
  FILE *in = fopen(path, "rb");
  if (!in) return NULL;
  char *text = NULL;
  size_t size = 0, count;
  FILE *out = open_memstream(&text, &size);
  for (char block[4096]; (count = fread(block, 1, sizeof block, in)) > 0;) fwrite(block, 1, count, out);
  fclose(in);
  fclose(out);
  return text;
}

static inline bool load_kernels(Module *module, const Target *target, Kernel *const *kernels, int count,
                                bool with_assembly, Loaded *loaded) {
  char folder[TEMPORARY_SIZE], path[TEMPORARY_SIZE + 8], asm_path[TEMPORARY_SIZE + 8];
  *loaded = (Loaded){NULL, NULL};
  if (!temporary_folder(folder)) return false;
  snprintf(path, sizeof path, "%s/k.so", folder);
  snprintf(asm_path, sizeof asm_path, "%s/k.s", folder);
  bool ok = codegen_kernels(module, target, kernels, count, path, with_assembly ? asm_path : NULL);
  if (ok) loaded->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (ok && !loaded->handle) printf("%s\n", dlerror());
  if (ok && with_assembly) loaded->assembly = read_text(asm_path);
  if (!ok) diags_print(module, stdout, 10);
  unlink(path);
  unlink(asm_path);
  rmdir(folder);
  return loaded->handle != NULL;
}

static inline void unload(Loaded *loaded) {
  if (loaded->handle) dlclose(loaded->handle);
  free(loaded->assembly);
  *loaded = (Loaded){NULL, NULL};
}

enum { MAX_CALL_ARGS = 6 };

/* Calls kernel `name` with up to MAX_CALL_ARGS - 1 buffers and the symbols; false when it is not there. */
static inline bool call_kernel(const Loaded *loaded, const char *name, void *const *buffers, int count,
                               const int64_t *symbols) {
  typedef void Function(void *, void *, void *, void *, void *, void *);
  Function *function = NULL;
  void *symbol = dlsym(loaded->handle, name), *args[MAX_CALL_ARGS] = {NULL};
  if (!symbol || count >= MAX_CALL_ARGS) return false;
  memcpy(&function, &symbol, sizeof function);
  for (int i = 0; i < count; i++) args[i] = buffers[i];
  memcpy(&args[count], &symbols, sizeof symbols);
  function(args[0], args[1], args[2], args[3], args[4], args[5]);
  return true;
}

#endif
