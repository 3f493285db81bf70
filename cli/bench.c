/* bench.c -- `tenon bench`: how long a run takes, and where the time goes. */
#include "cli/profile.h"
#include "cli/program.h"
#include "cli/verbs.h"

#include <stdlib.h>
#include <string.h>

static const Option options[] = {
    {"seconds", 0, OPTION_SECONDS, "S", "how long to measure (default 2)"},
    THREADS_OPTION,
    {"profile", 'p', OPTION_FLAG, NULL, "each kernel's least time against what the machine can do"},
    {"json", 0, OPTION_FLAG, NULL, "print as JSON"},
    INPUT_OPTIONS,
    MODEL_OPTIONS,
    BUILD_OPTIONS,
    STATE_OPTIONS,
    {0},
};

enum { MAX_RUNS = 1 << 20, MIN_RUNS = 5, WARM_UP = 3 };

typedef struct Bench {
  Program *program;
  tenon_tensor *inputs, *outputs;
  double *times; /* seconds */
  int count;
  int64_t *symbols, *macs; /* values of the library's symbols; multiply-accumulates of each kernel */
  uint64_t *least, *last;  /* nanoseconds of each kernel, NULL: no profile; least of all runs, of the last */
} Bench;

static tenon_tensor lend(const Tensor *tensor) {
  tenon_tensor lent = {
      .data = tensor->data, .dtype = (uint32_t)tensor->dtype, .rank = (uint32_t)tensor->rank};
  memcpy(lent.dims, tensor->dims, sizeof *tensor->dims * (size_t)tensor->rank);
  return lent;
}

static bool run_once(const Bench *bench) {
  Program *program = bench->program;
  TRY(program_rewind(program));
  if (!program->library->session_run(program->session, bench->inputs, bench->outputs)) return true;
  return fail(program->module, "%s", program->library->session_error(program->session));
}

/* Counters are read and set to 0 after each run: a mean would count every interruption. */
static void profile_run(Bench *bench) {
  const tenon_library *library = bench->program->library;
  library->session_profile(bench->program->session, bench->last, NULL);
  library->session_set_profile(bench->program->session, true);
  for (uint32_t i = 0; i < library->kernel_count; i++)
    if (bench->count == 1 || bench->last[i] < bench->least[i]) bench->least[i] = bench->last[i];
}

static void start_profile(Bench *bench) {
  const tenon_library *library = bench->program->library;
  Arena *arena = bench->program->module->arena;
  bench->least = NEW_ARRAY(arena, uint64_t, library->kernel_count);
  bench->last = NEW_ARRAY(arena, uint64_t, library->kernel_count);
  library->session_set_profile(bench->program->session, true);
}

static bool measure(Bench *bench, double seconds) {
  for (int i = 0; i < WARM_UP; i++) TRY(run_once(bench));
  if (option_flag(bench->program->arguments, "profile")) start_profile(bench);
  double begin = seconds_now(), now = begin;
  while (bench->count < MAX_RUNS && (bench->count < MIN_RUNS || now - begin < seconds)) {
    TRY(run_once(bench));
    double after = seconds_now();
    bench->times[bench->count++] = after - now;
    if (bench->least) profile_run(bench);
    now = seconds_now();
  }
  return program_rewind(bench->program); /* for symbol_value */
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* ---- Symbols: multiply-accumulates depend on them ---- */

static int64_t symbol_value(const Bench *bench, const char *symbol) {
  const Program *program = bench->program;
  for (int i = 0; i < program->input_count; i++)
    for (int axis = 0; axis < program->inputs[i].rank; axis++) {
      const char *name = program->inputs[i].symbols[axis];
      if (name && strcmp(name, symbol) == 0) return bench->inputs[i].dims[axis];
    }
  for (int i = 0; i < program->state_count; i++)
    for (int axis = 0; axis < program->states[i].rank; axis++) {
      const char *name = program->states[i].symbols[axis];
      tenon_tensor state = {.data = NULL};
      program->library->session_get_state(program->session, (uint32_t)i, &state);
      if (name && strcmp(name, symbol) == 0) return state.dims[axis];
    }
  return 1;
}

static void find_macs(Bench *bench) {
  const tenon_library *library = bench->program->library;
  Arena *arena = bench->program->module->arena;
  bench->symbols = NEW_ARRAY(arena, int64_t, library->symbol_count);
  bench->macs = NEW_ARRAY(arena, int64_t, library->kernel_count);
  for (uint32_t i = 0; i < library->symbol_count; i++)
    bench->symbols[i] = symbol_value(bench, library->symbols[i]);
  library->kernel_macs(bench->symbols, bench->macs);
}

/* ---- Printing ---- */

static void summarise(Bench *bench, BenchSummary *summary) {
  qsort(bench->times, (size_t)bench->count, sizeof *bench->times, compare_doubles);
  double total = 0, median = bench->times[bench->count / 2];
  for (uint32_t i = 0; i < bench->program->library->kernel_count; i++) total += (double)bench->macs[i];
  *summary = (BenchSummary){.least = bench->times[0],
                            .median = median,
                            .p90 = bench->times[bench->count * 9 / 10],
                            .runs = bench->count,
                            .threads = (int)program_threads(bench->program),
                            .gflops = 2e-9 * total / median};
}

static void print_summary(const BenchSummary *s) {
  printf("min %.4f ms, median %.4f ms, p90 %.4f ms, %d runs, %d thread%s, %.2f GFLOP/s\n", s->least * 1e3,
         s->median * 1e3, s->p90 * 1e3, s->runs, s->threads, s->threads == 1 ? "" : "s", s->gflops);
}

static bool print_results(Bench *bench) {
  BenchSummary summary;
  const Program *program = bench->program;
  find_macs(bench);
  const Profile profile = {
      .program = program, .symbols = bench->symbols, .macs = bench->macs, .nanoseconds = bench->least};
  summarise(bench, &summary);
  if (option_flag(program->arguments, "json")) return profile_json(&profile, &summary);
  print_summary(&summary);
  return !bench->least || profile_print(&profile, &summary);
}

static bool bench_program(Program *program, Tensor *inputs) {
  Arena *arena = program->module->arena;
  Bench bench = {.program = program, .times = calloc(MAX_RUNS, sizeof *bench.times)};
  bench.inputs = NEW_ARRAY(arena, tenon_tensor, program->input_count);
  bench.outputs = NEW_ARRAY(arena, tenon_tensor, program->output_count);
  bool ok = bench.times && program_inputs(program, inputs) && program_prepare(program, false);
  for (int i = 0; ok && i < program->input_count; i++) bench.inputs[i] = lend(&inputs[i]);
  ok = ok && measure(&bench, option_seconds(program->arguments, "seconds", 2));
  ok = ok && print_results(&bench);
  free(bench.times);
  return ok;
}

static int run(const Arguments *arguments) {
  Program program;
  bool ok = program_open(&program, arguments->words[0], arguments);
  Tensor *inputs = tensors_new(program.input_count);
  ok = ok && bench_program(&program, inputs);
  tensors_free(inputs, program.input_count);
  return program_finish(&program, ok, DONE);
}

const Verb verb_bench = {
    .name = "bench",
    .purpose = "measure how fast a model or library runs",
    .usage = "MODEL|LIB [options]",
    .text =
        "Prints the least, the median and the 90th percentile latency, and the arithmetic per second "
        "that the\n"
        "median makes of the model's multiply-accumulates (two operations each). States of a library are "
        "set\n"
        "back before each run; --dim says how much they hold.\n"
        "--profile measures the machine, too (once): `of roof` is the share that a kernel reaches of the "
        "speed that\n"
        "its multiplications or its bytes allow at best. With the schedules that were not chosen: by rank of "
        "the\n"
        "cost model, or with --tune by time.",
    .options = options,
    .min_words = 1,
    .max_words = 1,
    .examples = "tenon bench sface.onnx --profile\n"
                "tenon bench ./det.so --dim H=640 --dim W=640 --seconds 5",
    .run = run,
};
