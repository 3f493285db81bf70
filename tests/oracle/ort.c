/*
 * ort.c -- ort_run: runs a model in ONNX Runtime, the peer that tenon is compared with.
 *
 *   ort_run --lib libonnxruntime.so.1 MODEL.onnx [--dim NAME=N]... [--input NAME=FILE.npy]... [--seed N]
 *           [--output DIR] [--save-inputs DIR] [--threads N] [--bench SECONDS] [--plain 1]
 *
 * Inputs that are not given are random: floats uniform in [-1,1), integers in [0,8). Outputs go to
 * DIR/NAME.npy. --plain 1 runs the model as it stands, without optimizations.
 */
#include "frontend/frontend.h"
#include "tests/oracle/onnxruntime.h"
#include "tests/oracle/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct Run {
  Module *module; /* for the errors of the .npy reader */
  Peer peer;
  PeerOptions options;
  const char *output, *save_inputs;
  const char *dims[PEER_MAX_VALUES], *files[PEER_MAX_VALUES]; /* NAME=... as given */
  int file_count;
  uint64_t seed;
  double bench;
  Tensor inputs[PEER_MAX_VALUES];
} Run;

/* The .npy reader and writer say in the module what is wrong. */
_Noreturn static void die_of_diag(const Run *run) {
  diags_print(run->module, stderr, 1);
  exit(1);
}

/* ---- Inputs and outputs */

/* A path from DIR and a value's name, in which a slash would lead elsewhere. */
static char *value_path(const char *directory, const char *name) {
  size_t size = strlen(directory) + strlen(name) + 6;
  char *path = malloc(size);
  if (!path) peer_die("out of memory");
  int at = snprintf(path, size, "%s/", directory);
  snprintf(path + at, size - (size_t)at, "%s.npy", name);
  for (char *c = path + at; *c; c++) *c = *c == '/' ? '_' : *c;
  return path;
}

static void write_value(Run *run, const char *directory, const char *name, const Tensor *tensor) {
  char *path = value_path(directory, name);
  if (!write_npy(run->module, path, tensor)) die_of_diag(run);
  free(path);
}

static const char *file_of(const Run *run, const char *name) {
  size_t length = strlen(name);
  for (int i = 0; i < run->file_count; i++)
    if (strncmp(run->files[i], name, length) == 0 && run->files[i][length] == '=')
      return run->files[i] + length + 1;
  return NULL;
}

static void prepare_input(Run *run, size_t index) {
  const char *name = run->peer.input_names[index];
  const Tensor *shape = &run->peer.shapes[index];
  Tensor *input = &run->inputs[index];
  const char *file = file_of(run, name);
  if (file) {
    if (!read_npy(run->module, file, input)) die_of_diag(run);
    if (input->dtype != shape->dtype)
      peer_die("%s holds %s, %s is %s", file, dtype_name(input->dtype), name, dtype_name(shape->dtype));
  } else {
    for (int i = 0; i < shape->rank; i++)
      if (shape->dims[i] < 0) peer_die("dim %d of input %s is open: give --dim or --input", i, name);
    if (!tensor_new(input, shape->dtype, shape->rank, shape->dims)) peer_die("out of memory");
    random_fill(input, &run->seed, 0, input->dtype == DTYPE_BOOL ? 2 : 8);
  }
  if (run->save_inputs) write_value(run, run->save_inputs, name, input);
  peer_set_input(&run->peer, index, input);
}

static void show_output(Run *run, size_t index) {
  const char *name = run->peer.output_names[index];
  Tensor tensor;
  peer_output(&run->peer, index, &tensor);
  printf("%s: %s[", name, dtype_name(tensor.dtype));
  for (int i = 0; i < tensor.rank; i++) printf("%s%lld", i ? "," : "", (long long)tensor.dims[i]);
  printf("]\n");
  if (run->output) write_value(run, run->output, name, &tensor);
}

/* ---- Running */

static double now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec * 1e-6;
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void bench(Run *run) {
  enum { MAX_RUNS = 100000, MIN_RUNS = 5, WARM_UP = 3 };
  static double times[MAX_RUNS];
  int count = 0;
  double begin = now_ms();
  for (int i = -WARM_UP; count < MAX_RUNS && (count < MIN_RUNS || now_ms() - begin < run->bench * 1e3); i++) {
    double start = now_ms();
    peer_run(&run->peer);
    if (i >= 0) times[count++] = now_ms() - start;
    peer_release_outputs(&run->peer);
  }
  qsort(times, (size_t)count, sizeof *times, compare_doubles);
  printf("min %.4f ms, median %.4f ms, p90 %.4f ms, %d runs, %d threads\n", times[0], times[count / 2],
         times[count * 9 / 10], count, run->options.threads);
}

static void run_model(Run *run) {
  Peer *peer = &run->peer;
  peer_open(peer, &run->options);
  for (size_t i = 0; i < peer->input_count; i++) prepare_input(run, i);
  peer_run(peer);
  for (size_t i = 0; i < peer->output_count; i++) show_output(run, i);
  peer_release_outputs(peer);
  if (run->bench > 0) bench(run);
  for (size_t i = 0; i < peer->input_count; i++) tensor_free(&run->inputs[i]);
  peer_close(peer);
}

static void parse_option(Run *run, const char *option, const char *value) {
  if (!value) peer_die("%s wants a value", option);
  if (run->options.dim_count == PEER_MAX_VALUES || run->file_count == PEER_MAX_VALUES)
    peer_die("too many options");
  if (strcmp(option, "--lib") == 0)
    run->options.lib = value;
  else if (strcmp(option, "--dim") == 0)
    run->dims[run->options.dim_count++] = value;
  else if (strcmp(option, "--input") == 0)
    run->files[run->file_count++] = value;
  else if (strcmp(option, "--output") == 0)
    run->output = value;
  else if (strcmp(option, "--save-inputs") == 0)
    run->save_inputs = value;
  else if (strcmp(option, "--seed") == 0)
    run->seed = strtoull(value, NULL, 10);
  else if (strcmp(option, "--threads") == 0)
    run->options.threads = atoi(value);
  else if (strcmp(option, "--plain") == 0)
    run->options.plain = atoi(value) != 0;
  else if (strcmp(option, "--bench") == 0)
    run->bench = atof(value);
  else
    peer_die("no option %s", option);
}

int main(int argc, char **argv) {
  static Run run;
  run.options = (PeerOptions){.threads = 1, .dims = run.dims};
  for (int i = 1; i < argc; i++) {
    if (argv[i][0] != '-')
      run.options.model = argv[i];
    else {
      parse_option(&run, argv[i], i + 1 < argc ? argv[i + 1] : NULL);
      i++;
    }
  }
  if (!run.options.lib || !run.options.model) peer_die("usage: ort_run --lib LIBRARY MODEL.onnx [options]");
  run.module = module_new(run.options.model);
  run_model(&run);
  module_free(run.module);
  return 0;
}
