/*
 * link.c -- object files to a shared library, by ld.lld in a child process.
 *
 * Where they do not hold the runtime, the linker takes what it calls from an archive.
 * What is linked against stands in for the C library: shared objects that only name its functions, so that no
 * C library of the target is needed, and no version of one is asked for. Nothing in the result depends on
 * where or when it was made.
 */
#include "codegen/library.h"
#include "runtime/embedded.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* ---- files ---- */

bool work_folder_open(Module *module, WorkFolder *folder) {
  const char *base = getenv("TMPDIR");
  int length = snprintf(folder->path, sizeof folder->path, "%s/tenon-XXXXXX", base && *base ? base : "/tmp");
  if (length < 0 || (size_t)length >= sizeof folder->path)
    return fail(module, "the name of the temporary folder, TMPDIR, is too long");
  if (!mkdtemp(folder->path))
    return fail(module, "cannot make a temporary folder '%s': %s", folder->path, strerror(errno));
  return true;
}

void work_folder_close(WorkFolder *folder) {
  DIR *dir = opendir(folder->path);
  for (struct dirent *entry; dir && (entry = readdir(dir));)
    if (entry->d_name[0] != '.') unlinkat(dirfd(dir), entry->d_name, 0);
  if (dir) closedir(dir);
  rmdir(folder->path);
}

char *work_file(Module *module, const WorkFolder *folder, const char *name) {
  return arena_printf(module->arena, "%s/%s", folder->path, name);
}

bool file_write(Module *module, const char *path, const void *bytes, size_t size) {
  FILE *out = fopen(path, "wb");
  if (!out) return fail(module, "cannot write '%s': %s", path, strerror(errno));
  bool ok = size == 0 || fwrite(bytes, 1, size, out) == size;
  ok = fclose(out) == 0 && ok;
  return ok || fail(module, "cannot write %zu bytes to '%s': %s", size, path, strerror(errno));
}

/* ---- the linker ---- */

static const char *find_linker(Module *module) {
  static const char *const names[] = {"ld.lld-19", "ld.lld"};
  const char *path = getenv("PATH");
  for (int i = 0; i < COUNT_OF(names); i++)
    for (const char *at = path; at && *at;) {
      size_t length = strcspn(at, ":");
      const char *file = arena_printf(module->arena, "%.*s/%s", (int)length, at, names[i]);
      if (access(file, X_OK) == 0) return file;
      at += length + (at[length] == ':');
    }
  fail(module, "the linker ld.lld was not found in PATH; install lld (Debian: apt install lld-19), or make "
               "an object with --emit=obj");
  return NULL;
}

/* Runs a program; what it says goes to a file. The exit code, or -1. */
static int run(char *const *argv, const char *output) {
  pid_t pid;
  int status;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  int error = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error) return -1;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool report(Module *module, const char *linker, const char *output, int code) {
  char text[512] = "";
  FILE *in = fopen(output, "r");
  if (in) {
    size_t length = fread(text, 1, sizeof text - 1, in);
    text[length] = 0;
    fclose(in);
  }
  for (char *c = text; *c; c++)
    if (*c == '\n') *c = ' ';
  return fail(module, "%s failed (%d): %s", linker, code, text);
}

static const RuntimeFamily *family_of(const Target *target) {
  for (int i = 0; i < runtime_family_count; i++)
    if (strncmp(target->triple, runtime_families[i].arch, strlen(runtime_families[i].arch)) == 0)
      return &runtime_families[i];
  return NULL;
}

bool link_library(Module *module, const Target *target, const WorkFolder *folder, const char *const *objects,
                  int object_count, const char *path) {
  const RuntimeFamily *family = family_of(target);
  const char *linker = find_linker(module);
  if (!linker) return false;
  if (!family) return fail(module, "no library can be linked for '%s'", target->triple);
  char *libc = work_file(module, folder, "libc.so"), *libm = work_file(module, folder, "libm.so"),
       *archive = work_file(module, folder, "runtime.a"), *output = work_file(module, folder, "linker.txt");
  TRY(file_write(module, archive, family->archive.bytes, *family->archive.size));
  TRY(file_write(module, libc, family->libc.bytes, *family->libc.size));
  TRY(file_write(module, libm, family->libm.bytes, *family->libm.size));
  const char *base = strrchr(path, '/');
  const char *const options[] = {"-shared",
                                 "--gc-sections",
                                 "-z",
                                 "noexecstack",
                                 "-z",
                                 "relro",
                                 "-z",
                                 "now",
                                 "--build-id=none",
                                 "--hash-style=gnu",
                                 "--strip-all",
                                 "--as-needed",
                                 "--no-undefined",
                                 "-soname",
                                 base ? base + 1 : path,
                                 "-o",
                                 path};
  const char **args = NEW_ARRAY(module->arena, const char *, COUNT_OF(options) + object_count + 5);
  int count = 0;
  args[count++] = linker;
  for (int i = 0; i < COUNT_OF(options); i++) args[count++] = options[i];
  for (int i = 0; i < object_count; i++) args[count++] = objects[i];
  args[count++] = archive;
  args[count++] = libc;
  args[count++] = libm;
  int code = run((char *const *)args, output);
  return code == 0 || report(module, linker, output, code);
}
