/*
 * side_by_side.c -- one model in tenon and in ONNX Runtime, in alternation, in one process, on the same
 * inputs.
 *
 *   side_by_side --lib libonnxruntime.so.1 MODEL.onnx MODEL.so [--dim NAME=N]... [--range INPUT=LOW:HIGH]...
 * [--threads N]
 *                [--seconds S] [--rounds N] [--seed N] [--clock wall|cpu] [--only tenon|ort]
 *                [--noise X --shaken MODEL.onnx]
 *   side_by_side OTHER.so MODEL.so [the same options]
 *   side_by_side --peak [--clock wall|cpu]
 *
 * In each round both sides run for the same time, in changing order; a side that another has just pushed out
 * of the caches gets one run that does not count, unless a run takes so long that this makes no difference.
 * The ratio is the median over the rounds of (median of ONNX Runtime / median of tenon), so that a machine
 * which changes speed meanwhile changes both. `--clock cpu` counts only the time that the thread had a
 * processor: for machines shared with others, with one thread. `--only` runs one side a few times and prints
 * its memory. Of quantized models each rounding that falls otherwise is a step of its integers, so that
 * outputs are compared by the root mean square of their difference, which --noise says how large may be;
 * where it is larger, it may be as large as that between ONNX Runtime's for the model and for --shaken, the
 * same model with last digits of its weights changed. With two libraries, of one model in two forms, the
 * other one stands for ONNX Runtime, and nothing is compared. Prints one JSON object. Exit code 1: one of the
 * two refuses the model; the reason is on stderr.
 */
#include "bench/peak.h"
#include "runtime/tenon.h"
#include "tests/oracle/onnxruntime.h"
#include "tests/oracle/random.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_RUNS = 1 << 18, MAX_ROUNDS = 1000, ONLY_RUNS = 3 };
static const double LONG_RUN = 0.01; /* seconds: longer runs get no warm-up in each round */
static const double MAX_ABS = 1e-4, MAX_RELATIVE = 1e-3;
/* ONNX Runtime's kernel for a sum and its layer norm takes six times as long as its kernels for the two. */
static const char SLOW_OPTIMIZER[] = "SkipLayerNormFusion";

typedef struct Timing {
  double seconds[MAX_RUNS], medians[MAX_ROUNDS];
  int count, round_begin;
  double open_seconds;
} Timing;

/* A library of tenon's. */
typedef struct Side {
  const char *path;
  const tenon_library *library;
  tenon_session *session;
  tenon_tensor lent[PEER_MAX_VALUES], outputs[PEER_MAX_VALUES];
} Side;

typedef struct Race {
  PeerOptions peer_options;
  const char *only;
  const char *dims[PEER_MAX_VALUES], *ranges[PEER_MAX_VALUES];
  int range_count, rounds;
  double seconds,
      noise; /* noise: 0, or the error of an output that is let pass, in the mean, over its size */
  uint64_t seed;
  clockid_t clock;
  double clock_cost; /* seconds */
  bool measure_peak;

  Side own, other; /* other.path NULL: against `peer` */
  Peer peer;
  Tensor inputs[PEER_MAX_VALUES]; /* in tenon's order */
  Timing tenon, ort;
  const char *shaken;
  double worst, error; /* the largest |a-b| / allowed, the largest |a-b| */
} Race;

static double read_clock(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static double wall(void) {
  return read_clock(CLOCK_MONOTONIC);
}

static double cpu(void) {
  return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

/* ---- tenon's side ---- */

static double open_library(const Race *race, Side *side) {
  double start = wall();
  void *handle = dlopen(side->path, RTLD_NOW | RTLD_LOCAL);
  if (!handle) peer_die("%s", dlerror());
  void *symbol = dlsym(handle, "tenon_query");
  tenon_query_function *query;
  memcpy(&query, &symbol, sizeof symbol); /* ISO C has no cast from object to function pointer */
  side->library = symbol ? query(TENON_ABI_VERSION) : NULL;
  if (!side->library) peer_die("%s is no library of tenon's, or of another version", side->path);
  tenon_session_options options = {.size = sizeof options, .threads = (uint32_t)race->peer_options.threads};
  int error = side->library->session_open(&options, &side->session);
  if (error) peer_die("tenon: %s", side->library->error_text(error));
  if (side->library->input_count > PEER_MAX_VALUES || side->library->output_count > PEER_MAX_VALUES)
    peer_die("more than %d values", PEER_MAX_VALUES);
  return wall() - start;
}

static void run_library(Side *side) {
  memset(side->outputs, 0, sizeof *side->outputs * side->library->output_count);
  if (side->library->session_run(side->session, side->lent, side->outputs))
    peer_die("tenon: %s", side->library->session_error(side->session));
}

/* ---- Inputs: random, the same for both. Where tenon is alone, or has open sizes, ONNX Runtime's shapes say
 * what is missing. ---- */

static int peer_index(char *const *names, size_t count, const char *name) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(names[i], name) == 0) return (int)i;
  return -1;
}

static void find_range(const Race *race, const char *name, int64_t *low, int64_t *high) {
  size_t length = strlen(name);
  for (int i = 0; i < race->range_count; i++) {
    long long a, b;
    const char *range = race->ranges[i];
    if (strncmp(range, name, length) == 0 && sscanf(range + length, "=%lld:%lld", &a, &b) == 2 && a < b) {
      *low = a;
      *high = b;
    }
  }
}

static void make_input(Race *race, Tensor *tensor, const char *name, Dtype dtype, int rank,
                       const int64_t *dims) {
  for (int i = 0; i < rank; i++)
    if (dims[i] < 0) peer_die("dim %d of input %s is open: give --dim", i, name);
  if (!tensor_new(tensor, dtype, rank, dims)) peer_die("out of memory");
  int64_t low = 0, high = dtype == DTYPE_BOOL ? 2 : 8;
  find_range(race, name, &low, &high);
  random_fill(tensor, &race->seed, low, high);
}

static void lend(const Race *race, Side *side, uint32_t i) {
  const Tensor *tensor = &race->inputs[i];
  side->lent[i] = (tenon_tensor){.data = tensor->data,
                                 .size = tensor_size(tensor),
                                 .dtype = side->library->inputs[i]->dtype,
                                 .rank = (uint32_t)tensor->rank};
  memcpy(side->lent[i].dims, tensor->dims, sizeof *tensor->dims * (size_t)tensor->rank);
}

static void lend_to_peer(const Race *race, Peer *peer) {
  for (uint32_t i = 0; i < race->own.library->input_count; i++) {
    int index = peer_index(peer->input_names, peer->input_count, race->own.library->inputs[i]->name);
    peer_set_input(peer, (size_t)index, &race->inputs[i]);
  }
}

static void make_shared_inputs(Race *race) {
  if (race->own.library->input_count != race->peer.input_count)
    peer_die("tenon has %u inputs, ONNX Runtime %zu", race->own.library->input_count, race->peer.input_count);
  for (uint32_t i = 0; i < race->own.library->input_count; i++) {
    const char *name = race->own.library->inputs[i]->name;
    int index = peer_index(race->peer.input_names, race->peer.input_count, name);
    if (index < 0) peer_die("ONNX Runtime has no input %s", name);
    const Tensor *shape = &race->peer.shapes[index];
    make_input(race, &race->inputs[i], name, shape->dtype, shape->rank, shape->dims);
    lend(race, &race->own, i);
  }
  lend_to_peer(race, &race->peer);
}

static void make_tenon_inputs(Race *race) {
  for (uint32_t i = 0; i < race->own.library->input_count; i++) {
    const tenon_tensor_info *info = race->own.library->inputs[i];
    int64_t dims[TENON_MAX_RANK];
    for (uint32_t axis = 0; axis < info->rank; axis++) dims[axis] = info->dims[axis].size;
    make_input(race, &race->inputs[i], info->name, (Dtype)info->dtype, (int)info->rank, dims);
    lend(race, &race->own, i);
  }
}

/* Both are of one model. */
static void share_inputs(Race *race) {
  const tenon_library *own = race->own.library, *other = race->other.library;
  bool same = own->input_count == other->input_count;
  for (uint32_t i = 0; same && i < own->input_count; i++)
    same = strcmp(own->inputs[i]->name, other->inputs[i]->name) == 0;
  if (!same) peer_die("%s and %s have other inputs", race->own.path, race->other.path);
  for (uint32_t i = 0; i < own->input_count; i++) lend(race, &race->other, i);
}

static void make_peer_inputs(Race *race) {
  for (size_t i = 0; i < race->peer.input_count; i++) {
    const Tensor *shape = &race->peer.shapes[i];
    make_input(race, &race->inputs[i], race->peer.input_names[i], shape->dtype, shape->rank, shape->dims);
    peer_set_input(&race->peer, i, &race->inputs[i]);
  }
}

/* ---- Comparing: |a-b| <= MAX_ABS max(1, rms(b)) + MAX_RELATIVE |b|, and NaN where NaN is. The root mean
 * square stands there because rounding errors of an output go with the output's scale, also where an element
 * is near 0. ---- */

static double root_mean_square(const Tensor *tensor) {
  double sum = 0;
  int64_t count = tensor_count(tensor);
  for (int64_t i = 0; i < count; i++) {
    double value = dtype_get(tensor->dtype, tensor->data, i);
    sum += isfinite(value) ? value * value : 0;
  }
  return count ? sqrt(sum / (double)count) : 0;
}

/* ONNX Runtime's for tenon's output `index`. */
static Tensor peer_answer(const Race *race, Peer *peer, uint32_t index) {
  const char *name = race->own.library->outputs[index]->name;
  const tenon_tensor *got = &race->own.outputs[index];
  Tensor want;
  int at = peer_index(peer->output_names, peer->output_count, name);
  if (at < 0) peer_die("ONNX Runtime has no output %s", name);
  peer_output(peer, (size_t)at, &want);
  bool same = got->rank == (uint32_t)want.rank && got->dtype == (uint32_t)want.dtype;
  for (int i = 0; same && i < want.rank; i++) same = got->dims[i] == want.dims[i];
  if (!same) peer_die("output %s has another type or shape than ONNX Runtime's", name);
  return want;
}

static void compare_elements(Race *race, const void *got, const Tensor *want) {
  double max_abs = MAX_ABS * fmax(1, root_mean_square(want));
  for (int64_t i = 0; i < tensor_count(want); i++) {
    double a = dtype_get(want->dtype, got, i), b = dtype_get(want->dtype, want->data, i);
    if (isnan(a) && isnan(b)) continue;
    double error = a == b ? 0 : fabs(a - b), part = error / (max_abs + MAX_RELATIVE * fabs(b));
    if (error > race->error || isnan(error)) race->error = error;
    if (isnan(part)) part = INFINITY;
    if (part > race->worst) race->worst = part;
  }
}

/* The root mean square of the difference over that of what is wanted. */
static double noise_of(const void *got, const Tensor *want) {
  double squares = 0;
  int64_t count = tensor_count(want);
  for (int64_t i = 0; i < count; i++) {
    double a = dtype_get(want->dtype, got, i), b = dtype_get(want->dtype, want->data, i);
    if (a != b && !(isnan(a) && isnan(b))) squares += (a - b) * (a - b);
  }
  return squares == 0 ? 0 : sqrt(squares / (double)count) / root_mean_square(want);
}

/* Where roundings grow on their way through a network, right answers may be as far apart as the network is
 * from its float form: how far, ONNX Runtime shows with the shaken model. Tenon's must be as near to one of
 * its two answers as these are to each other. */
static double noise_part(Race *race, Peer *shaken, uint32_t index) {
  const void *got = race->own.outputs[index].data;
  Tensor a = peer_answer(race, &race->peer, index), b = peer_answer(race, shaken, index);
  return fmin(noise_of(got, &a), noise_of(got, &b)) / fmax(race->noise, noise_of(a.data, &b));
}

static double worst_noise(Race *race) {
  double worst = 0;
  PeerOptions options = race->peer_options;
  options.model = race->shaken;
  Peer peer;
  peer_open(&peer, &options);
  lend_to_peer(race, &peer);
  peer_run(&peer);
  for (uint32_t i = 0; i < race->own.library->output_count; i++)
    worst = fmax(worst, noise_part(race, &peer, i));
  peer_close(&peer);
  return worst;
}

static void compare(Race *race) {
  run_library(&race->own);
  peer_run(&race->peer);
  for (uint32_t i = 0; i < race->own.library->output_count; i++) {
    Tensor want = peer_answer(race, &race->peer, i);
    compare_elements(race, race->own.outputs[i].data, &want);
  }
  if (race->shaken && race->worst > 1) race->worst = worst_noise(race);
  peer_release_outputs(&race->peer);
}

/* ---- Racing ---- */

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Sorts them. */
static double median(double *values, int count) {
  qsort(values, (size_t)count, sizeof *values, compare_doubles);
  return count % 2 ? values[count / 2] : 0.5 * (values[count / 2 - 1] + values[count / 2]);
}

/* What reading the clock takes: the thread's own clock is a system call. */
static double clock_cost(clockid_t clock) {
  double least = 1;
  for (int i = 0; i < 1000; i++) {
    double start = read_clock(clock), seconds = read_clock(clock) - start;
    if (seconds < least) least = seconds;
  }
  return least;
}

static double run_side(Race *race, bool is_own) {
  bool is_peer = !is_own && !race->other.path;
  double start = read_clock(race->clock);
  if (is_peer)
    peer_run(&race->peer);
  else
    run_library(is_own ? &race->own : &race->other);
  double seconds = read_clock(race->clock) - start - race->clock_cost;
  if (is_peer) peer_release_outputs(&race->peer);
  return seconds;
}

static void race_side(Race *race, bool is_own, int round, double seconds) {
  Timing *timing = is_own ? &race->tenon : &race->ort;
  int begin = timing->count;
  if (round == 0 || timing->medians[round - 1] < LONG_RUN) run_side(race, is_own);
  double start = wall();
  do timing->seconds[timing->count++] = run_side(race, is_own);
  while (timing->count < MAX_RUNS - race->rounds && wall() - start < seconds);
  timing->medians[round] = median(timing->seconds + begin, timing->count - begin);
}

static double run_rounds(Race *race) {
  static double ratios[MAX_ROUNDS];
  double share = race->seconds / (2 * race->rounds);
  race->clock_cost = clock_cost(race->clock);
  for (int round = 0; round < race->rounds; round++) {
    race_side(race, round % 2, round, share);
    race_side(race, !(round % 2), round, share);
    ratios[round] = race->ort.medians[round] / race->tenon.medians[round];
  }
  return median(ratios, race->rounds);
}

/* ---- Results ---- */

/* Multiply-accumulates of one run, at the sizes of the inputs. */
static double total_macs(const Race *race) {
  static int64_t symbols[PEER_MAX_VALUES];
  const tenon_library *library = race->own.library;
  double total = 0;
  for (uint32_t s = 0; s < library->symbol_count && s < PEER_MAX_VALUES; s++)
    for (uint32_t i = 0; i < library->input_count; i++)
      for (uint32_t axis = 0; axis < library->inputs[i]->rank; axis++) {
        const char *symbol = library->inputs[i]->dims[axis].symbol;
        if (symbol && strcmp(symbol, library->symbols[s]) == 0) symbols[s] = race->inputs[i].dims[axis];
      }
  int64_t *macs = calloc(library->kernel_count + 1, sizeof *macs);
  if (!macs) peer_die("out of memory");
  library->kernel_macs(symbols, macs);
  for (uint32_t i = 0; i < library->kernel_count; i++) total += (double)macs[i];
  free(macs);
  return total;
}

static void print_timing(const char *name, Timing *timing) {
  double middle = median(timing->seconds, timing->count);
  printf(
      "\"%s\": {\"min_ms\": %.6g, \"median_ms\": %.6g, \"p90_ms\": %.6g, \"runs\": %d, \"open_s\": %.4g}, ",
      name, timing->seconds[0] * 1e3, middle * 1e3, timing->seconds[timing->count * 9 / 10] * 1e3,
      timing->count, timing->open_seconds);
}

static void print_race(Race *race, double ratio) {
  printf("{\"threads\": %d, \"rounds\": %d, ", race->peer_options.threads, race->rounds);
  print_timing("tenon", &race->tenon);
  print_timing(race->other.path ? "other" : "ort", &race->ort);
  printf("\"ratio\": %.4f, \"macs\": %.0f, \"right\": %s, \"max_error\": ", ratio, total_macs(race),
         race->worst <= 1 ? "true" : "false");
  printf(isfinite(race->error) ? "%.3g" : "null", race->error);
  printf("}\n");
}

/* Not getrusage: its maximum survives exec, and would be that of the process that started this one. */
static void print_memory(void) {
  long kilobytes = 0;
  char line[256];
  FILE *file = fopen("/proc/self/status", "r");
  if (!file) peer_die("cannot read /proc/self/status");
  while (fgets(line, sizeof line, file) && sscanf(line, "VmHWM: %ld", &kilobytes) != 1) continue;
  fclose(file);
  printf("{\"peak_rss\": %ld}\n", kilobytes * 1024);
}

/* ---- The things it does ---- */

static void open_peer(Race *race) {
  double start = wall();
  peer_open(&race->peer, &race->peer_options);
  race->ort.open_seconds = wall() - start;
}

static void close_all(Race *race) {
  if (race->peer.api) peer_close(&race->peer);
  if (race->own.session) race->own.library->session_close(race->own.session);
  if (race->other.session) race->other.library->session_close(race->other.session);
  for (int i = 0; i < PEER_MAX_VALUES; i++) tensor_free(&race->inputs[i]);
}

static void run_alone(Race *race) {
  bool is_tenon = strcmp(race->only, "tenon") == 0;
  if (is_tenon) {
    race->tenon.open_seconds = open_library(race, &race->own);
    make_tenon_inputs(race);
  } else {
    open_peer(race);
    make_peer_inputs(race);
  }
  for (int i = 0; i < ONLY_RUNS; i++) run_side(race, is_tenon);
  print_memory();
}

static void run_libraries(Race *race) {
  race->tenon.open_seconds = open_library(race, &race->own);
  race->ort.open_seconds = open_library(race, &race->other);
  make_tenon_inputs(race);
  share_inputs(race);
  double ratio = run_rounds(race);
  print_race(race, ratio);
}

static void run_both(Race *race) {
  race->tenon.open_seconds = open_library(race, &race->own);
  open_peer(race);
  make_shared_inputs(race);
  compare(race);
  double ratio = run_rounds(race);
  print_race(race, ratio);
}

static void print_peak(const Race *race) {
  printf("{\"isa\": \"%s\", \"gflops\": %.1f}\n", peak_isa(),
         peak_gflops(race->clock == CLOCK_MONOTONIC ? wall : cpu));
}

/* ---- Options ---- */

static bool parse_list(Race *race, const char *option, const char *value) {
  if (race->peer_options.dim_count == PEER_MAX_VALUES || race->range_count == PEER_MAX_VALUES)
    peer_die("too many options");
  if (strcmp(option, "--dim") == 0)
    race->dims[race->peer_options.dim_count++] = value;
  else if (strcmp(option, "--range") == 0)
    race->ranges[race->range_count++] = value;
  else
    return false;
  return true;
}

static void parse_option(Race *race, const char *option, const char *value) {
  if (!value) peer_die("%s wants a value", option);
  if (parse_list(race, option, value)) return;
  if (strcmp(option, "--lib") == 0)
    race->peer_options.lib = value;
  else if (strcmp(option, "--threads") == 0)
    race->peer_options.threads = atoi(value);
  else if (strcmp(option, "--seconds") == 0)
    race->seconds = atof(value);
  else if (strcmp(option, "--noise") == 0)
    race->noise = atof(value);
  else if (strcmp(option, "--shaken") == 0)
    race->shaken = value;
  else if (strcmp(option, "--rounds") == 0)
    race->rounds = atoi(value);
  else if (strcmp(option, "--seed") == 0)
    race->seed = strtoull(value, NULL, 10);
  else if (strcmp(option, "--clock") == 0)
    race->clock = strcmp(value, "cpu") == 0 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  else if (strcmp(option, "--only") == 0)
    race->only = value;
  else
    peer_die("no option %s", option);
}

static void parse(Race *race, int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--peak") == 0)
      race->measure_peak = true;
    else if (argv[i][0] != '-' && !race->peer_options.model)
      race->peer_options.model = argv[i];
    else if (argv[i][0] != '-')
      race->own.path = argv[i];
    else {
      parse_option(race, argv[i], i + 1 < argc ? argv[i + 1] : NULL);
      i++;
    }
  }
  if (race->rounds < 1 || race->rounds > MAX_ROUNDS) peer_die("--rounds wants 1 to %d", MAX_ROUNDS);
  if (race->peer_options.threads < 1) peer_die("--threads wants 1 or more");
  if (race->measure_peak) return;
  if (!race->own.path)
    peer_die("usage: side_by_side --lib LIBRARY MODEL.onnx MODEL.so, or OTHER.so MODEL.so");
  if (!race->peer_options.lib) race->other.path = race->peer_options.model;
}

int main(int argc, char **argv) {
  static Race race = {.rounds = 7, .seconds = 1, .seed = 1, .clock = CLOCK_MONOTONIC};
  race.peer_options = (PeerOptions){.threads = 1, .dims = race.dims, .without = SLOW_OPTIMIZER};
  parse(&race, argc, argv);
  if (race.measure_peak)
    print_peak(&race);
  else if (race.only)
    run_alone(&race);
  else if (race.other.path)
    run_libraries(&race);
  else
    run_both(&race);
  close_all(&race);
  return 0;
}
