/*
 * golden.c -- runs goldens: text files that hold an input, what is done with it, and what comes of it.
 *
 *   golden [--bless] [--tenon PROGRAM] [--shard I/N] FILE|FOLDER...       of a folder every N-th file only,
 * from the I-th
 *
 * Each file is tested in a process of its own. The last line is `N passed, N failed`.
 */
#include "tests/golden/golden.h"
#include "tests/temporary.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef TENON_PROGRAM
#define TENON_PROGRAM "tenon"
#endif
#ifndef TENON_TOP
#define TENON_TOP "."
#endif

enum { TIME_LIMIT = 120 }; /* seconds for one file */

/* ---- Text ---- */

char *format_text(const char *format, ...) {
  char *text;
  va_list list;
  va_start(list, format);
  int length = vasprintf(&text, format, list);
  va_end(list);
  if (length < 0) abort();
  return text;
}

char *read_text(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  Lines lines = lines_new();
  char block[4096];
  for (size_t count; (count = fread(block, 1, sizeof block, file)) > 0;) fwrite(block, 1, count, lines.file);
  fclose(file);
  return lines_take(&lines);
}

bool write_text(const char *path, const char *text) {
  FILE *file = fopen(path, "wb");
  if (!file) return false;
  bool ok = fputs(text, file) >= 0;
  return fclose(file) == 0 && ok;
}

/* The stream keeps the addresses of text and length, so both live behind one pointer until lines_take. */
struct LinesTarget {
  char *text;
  size_t length;
};

Lines lines_new(void) {
  struct LinesTarget *target = calloc(1, sizeof *target);
  if (!target) abort();
  Lines lines = {.target = target, .file = open_memstream(&target->text, &target->length)};
  if (!lines.file) abort();
  return lines;
}

char *lines_take(Lines *lines) {
  fclose(lines->file);
  char *text = lines->target->text;
  free(lines->target);
  return text;
}

char *next_line(char **at) {
  char *line = *at;
  if (!*line) return NULL;
  *at += strcspn(line, "\n");
  if (**at) *(*at)++ = '\0';
  return line;
}

void show_difference(const char *got, const char *want) {
  int line = 1;
  for (size_t g, w;; line++) {
    g = strcspn(got, "\n"), w = strcspn(want, "\n");
    if (g != w || memcmp(got, want, g) != 0 || !got[g] || !want[w]) break;
    got += g + 1, want += w + 1;
  }
  printf("  line %d is:        %.*s\n", line, (int)strcspn(got, "\n"), got);
  printf("  but should be:  %*s%.*s\n", line > 9, "", (int)strcspn(want, "\n"), want);
}

void golden_fail(Golden *golden, const char *format, ...) {
  va_list list;
  if (!golden->failed) printf("FAIL %s\n", golden->path);
  golden->failed = true;
  printf("  ");
  va_start(list, format);
  vprintf(format, list);
  va_end(list);
  printf("\n");
}

/* ---- Commands ---- */

static void prepare_child(const Golden *golden, FILE *out, FILE *err) {
  char *bin = strdup(golden->tenon), *slash = bin ? strrchr(bin, '/') : NULL;
  if (slash) *slash = '\0';
  setenv("PATH", format_text("%s:%s", slash ? bin : ".", getenv("PATH")), 1);
  setenv("TOP", golden->top, 1);
  setenv("LC_ALL", "C", 1);
  if (!freopen("/dev/null", "r", stdin)) _exit(126);
  dup2(fileno(out), STDOUT_FILENO);
  dup2(fileno(err), STDERR_FILENO);
  if (chdir(golden->folder)) _exit(126);
}

static char *read_back(FILE *file) {
  rewind(file);
  Lines lines = lines_new();
  for (int c; (c = fgetc(file)) != EOF;) fputc(c ? c : '?', lines.file);
  fclose(file);
  return lines_take(&lines);
}

Output shell(const Golden *golden, const char *command) {
  FILE *out = tmpfile(), *err = tmpfile();
  int status = 0;
  if (!out || !err) abort();
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    prepare_child(golden, out, err);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
  }
  waitpid(pid, &status, 0);
  int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return (Output){read_back(out), read_back(err), code};
}

void output_free(Output *output) {
  free(output->out);
  free(output->err);
}

/* ---- Files ---- */

static bool ends_with(const char *text, const char *suffix) {
  size_t length = strlen(text), tail = strlen(suffix);
  return length >= tail && strcmp(text + length - tail, suffix) == 0;
}

static void test_file(Golden *golden) {
  const char *slash = strrchr(golden->path, '/'), *name = slash ? slash + 1 : golden->path;
  golden->text = read_text(golden->path);
  if (!golden->text) {
    golden_fail(golden, "cannot be read: %s", strerror(errno));
  } else if (ends_with(name, ".cli")) {
    golden_script(golden);
  } else if (strncmp(name, "bad-", 4) == 0) {
    golden_bad(golden);
  } else {
    golden_save_samples(golden);
    golden_command(golden);
    golden_run_lines(golden);
  }
  free(golden->text);
}

static bool passes_in(Golden *golden) {
  int status = 0;
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    alarm(TIME_LIMIT);
    test_file(golden);
    fflush(stdout);
    exit(golden->failed);
  }
  waitpid(pid, &status, 0);
  if (WIFSIGNALED(status)) golden_fail(golden, "ended by signal %d", WTERMSIG(status));
  if (WIFEXITED(status) && WEXITSTATUS(status) > 1) golden_fail(golden, "ended with %d", WEXITSTATUS(status));
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* In a folder of its own, which is removed even if the process ends badly. */
static bool passes(Golden *golden) {
  char folder[TEMPORARY_SIZE];
  golden->folder = folder;
  if (!temporary_folder(folder)) {
    golden_fail(golden, "no temporary folder");
    return false;
  }
  bool passed = passes_in(golden);
  if (rmdir(folder)) {
    Output removed = shell(golden, "rm -rf \"$PWD\"");
    output_free(&removed);
  }
  return passed;
}

typedef struct Tally {
  int passed, failed;
  int shard, shards;
} Tally;

static int is_golden(const struct dirent *entry) {
  return ends_with(entry->d_name, ".tn") || ends_with(entry->d_name, ".cli");
}

static void test_path(Golden model, const char *path, Tally *tally) {
  struct stat status;
  struct dirent **entries = NULL;
  bool folder = stat(path, &status) == 0 && S_ISDIR(status.st_mode);
  int count = folder ? scandir(path, &entries, is_golden, alphasort) : 0;
  for (int i = 0; i < count; i++) {
    char *full = format_text("%s/%s", path, entries[i]->d_name);
    if (i % tally->shards == tally->shard - 1) test_path(model, full, tally);
    free(full);
    free(entries[i]);
  }
  free(entries);
  if (folder) return;
  char *whole = realpath(path, NULL); /* commands run elsewhere */
  model.path = whole ? whole : path;
  bool passed = passes(&model);
  free(whole);
  tally->passed += passed;
  tally->failed += !passed;
}

int main(int argc, char **argv) {
  Golden model = {.tenon = TENON_PROGRAM, .top = TENON_TOP};
  Tally tally = {.shard = 1, .shards = 1};
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--bless") == 0)
      model.bless = true;
    else if (strcmp(argv[i], "--tenon") == 0 && i + 1 < argc)
      model.tenon = argv[++i];
    else if (strcmp(argv[i], "--shard") == 0 && i + 1 < argc &&
             sscanf(argv[++i], "%d/%d", &tally.shard, &tally.shards) == 2 && tally.shards > 0)
      continue;
    else
      test_path(model, argv[i], &tally);
  }
  printf("%d passed, %d failed\n", tally.passed, tally.failed);
  return tally.failed > 0;
}
