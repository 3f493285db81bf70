/*
 * replay.c -- main for the fuzz targets without libFuzzer: runs every file of the folders (or files) given,
 * and changed copies of it: cut short, bits flipped, bytes overwritten, pieces moved. The changes depend on
 * the file's size and their number alone, so a failure repeats.
 *
 *   replay [-n CHANGES] FILE|FOLDER...
 *
 * Each file runs in a child process with a time limit, so that a crash is one failure and not the end. The
 * input that failed is kept as failed-TARGET-NUMBER in the current folder.
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_SECONDS = 120 /* for a file with all its changes, sanitizers and a busy machine included */ };

typedef struct Replay {
  const char *target;
  int changes;
  int passed, failed;
  int *reached; /* shared with the child: the change that is running */
} Replay;

typedef struct Input {
  uint8_t *bytes;
  size_t size;
} Input;

/* ---- changes ---- */

static uint64_t random_next(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state * 0x2545f4914f6cdd1du >> 16;
}

static size_t random_below(uint64_t *state, size_t limit) {
  return (size_t)(random_next(state) % limit);
}

static void change_byte(Input *input, uint64_t *state) {
  static const uint8_t nasty[] = {0, 1, 0x7f, 0x80, 0xff, '-', '9', '[', '{', '"', '%', '\n'};
  size_t at = random_below(state, input->size);
  if (random_below(state, 2))
    input->bytes[at] ^= (uint8_t)(1u << random_below(state, 8));
  else
    input->bytes[at] = nasty[random_below(state, sizeof nasty)];
}

/* A piece of up to 16 bytes over another place. */
static void change_piece(Input *input, uint64_t *state) {
  size_t length = 1 + random_below(state, input->size < 16 ? input->size : 16);
  size_t from = random_below(state, input->size - length + 1),
         to = random_below(state, input->size - length + 1);
  memmove(input->bytes + to, input->bytes + from, length);
}

static void change_delete(Input *input, uint64_t *state) {
  size_t length = 1 + random_below(state, input->size < 16 ? input->size : 16);
  size_t at = random_below(state, input->size - length + 1);
  memmove(input->bytes + at, input->bytes + at + length, input->size - at - length);
  input->size -= length;
}

/* Change 0 is the file as it is. A copy of exactly its size, so that AddressSanitizer sees the end. */
static Input changed(const Input *original, int number) {
  Input input = {.bytes = malloc(original->size + 1), .size = original->size};
  uint64_t state = 0x9e3779b97f4a7c15u * (uint64_t)(number + 1) + original->size;
  fuzz_check(input.bytes != NULL, NULL, "no memory");
  memcpy(input.bytes, original->bytes, original->size);
  if (number && number % 4 == 0) input.size = random_below(&state, input.size + 1);
  for (size_t i = number ? 1 + random_below(&state, 4) : 0; i && input.size; i--) {
    size_t kind = random_below(&state, 8);
    if (kind == 0)
      change_delete(&input, &state);
    else if (kind == 1)
      change_piece(&input, &state);
    else
      change_byte(&input, &state);
  }
  uint8_t *exact = malloc(input.size + !input.size);
  fuzz_check(exact != NULL, NULL, "no memory");
  memcpy(exact, input.bytes, input.size);
  free(input.bytes);
  input.bytes = exact;
  return input;
}

/* ---- one file ---- */

static Input read_input(const char *path) {
  Input input = {0};
  FILE *file = fopen(path, "rb");
  struct stat stat;
  if (!file || fstat(fileno(file), &stat))
    fprintf(stderr, "replay: cannot read '%s': %s\n", path, strerror(errno)), exit(2);
  input.size = (size_t)stat.st_size;
  input.bytes = malloc(input.size + 1);
  fuzz_check(input.bytes && fread(input.bytes, 1, input.size, file) == input.size, NULL,
             "cannot read a file");
  fclose(file);
  return input;
}

static void keep_failed(const Replay *replay, const Input *original, int number) {
  char name[256];
  Input input = changed(original, number);
  snprintf(name, sizeof name, "failed-%s-%d", replay->target, replay->failed);
  FILE *file = fopen(name, "wb");
  if (file && fwrite(input.bytes, 1, input.size, file) == input.size) printf("  kept as %s\n", name);
  if (file) fclose(file);
  free(input.bytes);
}

static _Noreturn void run_child(const Replay *replay, const Input *original) {
  alarm(MAX_SECONDS);
  for (int i = 0; i <= replay->changes; i++) {
    *replay->reached = i;
    Input input = changed(original, i);
    LLVMFuzzerTestOneInput(input.bytes, input.size);
    free(input.bytes);
  }
  *replay->reached = replay->changes + 1;
  exit(0); /* leaks are reported here */
}

static void replay_file(Replay *replay, const char *path) {
  Input original = read_input(path);
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) run_child(replay, &original);
  int status = 0;
  fuzz_check(child > 0 && waitpid(child, &status, 0) == child, NULL, "cannot run a child process");
  replay->passed += *replay->reached;
  if (status) {
    replay->failed++;
    printf("FAIL %s, change %d: %s\n", path, *replay->reached,
           WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "error or leak, see above");
    keep_failed(replay, &original, *replay->reached);
  }
  free(original.bytes);
}

/* Sorted, so that runs are alike. */
static void replay_path(Replay *replay, const char *path) {
  struct dirent **entries;
  int count = scandir(path, &entries, NULL, alphasort);
  if (count < 0) {
    replay_file(replay, path);
    return;
  }
  for (int i = 0; i < count; i++) {
    char name[4096];
    snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
    if (entries[i]->d_name[0] != '.') replay_path(replay, name);
    free(entries[i]);
  }
  free(entries);
}

int main(int count, char **arguments) {
  const char *slash = strrchr(arguments[0], '/');
  Replay replay = {.target = slash ? slash + 1 : arguments[0], .changes = 50};
  replay.reached = mmap(NULL, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  fuzz_check(replay.reached != MAP_FAILED, NULL, "no memory");
  int first = 1;
  if (count > 2 && strcmp(arguments[1], "-n") == 0) replay.changes = atoi(arguments[2]), first = 3;
  for (int i = first; i < count; i++) replay_path(&replay, arguments[i]);
  printf("%d passed, %d failed\n", replay.passed, replay.failed);
  return replay.failed > 0 || replay.passed == 0;
}
