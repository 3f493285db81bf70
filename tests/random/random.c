/*
 * random.c -- property test: an optimised graph computes what the graph as written computes.
 *
 *   test_random [--count N] [--seed S] [--size OPS] [--passes LIST] [--keep DIR] [--run interpreted|compiled]
 *
 * The graph as written is interpreted; the optimised one is interpreted too, or goes all the way into a
 * library. Graph number i of a run has the seed S+i, printed when it fails, so `--seed that --count 1`
 * repeats it; the failing graph is written to DIR as random-SEED.tn. Conformance data never has fusion,
 * layout and plan together; this does.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codegen/codegen.h"
#include "passes/passes.h"
#include "tests/divided.h"
#include "tests/random/generate.h"

enum { MAX_TENSORS = 128, SYMBOL = 3 };

typedef struct Options {
  uint64_t seed;
  int count, size;
  const char *passes, *keep;
  bool compiled;
} Options;

static void tensors_free(Tensor *tensors, int count) {
  for (int i = 0; i < count; i++) tensor_free(&tensors[i]);
}

static double largest(const Tensor *tensor) {
  double most = 0;
  for (int64_t i = 0; i < tensor_count(tensor); i++)
    most = fmax(most, fabs(dtype_get(tensor->dtype, tensor->data, i)));
  return most;
}

/* Whether `got` is `want` up to rounding; values that overflowed are not compared. */
static bool tensors_agree(const char *name, const Tensor *want, const Tensor *got) {
  if (want->rank != got->rank ||
      memcmp(want->dims, got->dims, sizeof want->dims[0] * (size_t)want->rank) != 0) {
    printf("  %s has another shape\n", name);
    return false;
  }
  double scale = largest(want);
  if (!isfinite(scale) || scale > 1e6) return true;
  for (int64_t i = 0; i < tensor_count(want); i++) {
    double a = dtype_get(want->dtype, want->data, i), b = dtype_get(got->dtype, got->data, i);
    if (isnan(a) && isnan(b)) continue;
    if (fabs(a - b) <= 1e-4 * (1 + scale)) continue;
    printf("  %s[%" PRId64 "] is %.9g, not %.9g\n", name, i, b, a);
    return false;
  }
  return true;
}

/* The graph as written and the optimised one on the same inputs; target NULL: interpreted. */
static bool run_both(Graph *plain, Graph *fast, const Tensor *inputs, Target *target) {
  Tensor want[MAX_TENSORS] = {0}, got[MAX_TENSORS] = {0};
  bool ok = graph_interpret(plain, inputs, want);
  ok = ok && (target ? codegen_execute(target, fast, inputs, got) : graph_interpret(fast, inputs, got));
  for (int i = 0; ok && i < plain->output_count; i++)
    ok = tensors_agree(plain->output_names[i], &want[i], &got[i]);
  if (target) ok = ok && divided_agrees(fast, target, inputs);
  tensors_free(want, plain->output_count);
  tensors_free(got, plain->output_count);
  return ok;
}

/* `plain` only loses what has no meaning of its own; `fast` goes through everything. */
static bool optimise(Graph *plain, Graph *fast, const Options *options, Target *target) {
  static const Pass *const tables[] = {graph_passes, codegen_passes, NULL};
  PipelineOptions expand = {.passes = "expand", .verify = true};
  PipelineOptions pipeline = {.passes = options->passes, .verify = true};
  if (target) {
    pipeline.tables = tables;
    pipeline.pass.target = target;
  }
  return graph_verify(plain) && pipeline_run(plain, &expand) && pipeline_run(fast, &pipeline);
}

static bool check_graph(uint64_t seed, const Options *options) {
  Module *module = generate_graph(seed, options->size);
  Graph *plain = module->main, *fast = graph_clone(module, plain, NULL);
  Tensor inputs[MAX_TENSORS] = {0};
  Target described, *target = options->compiled ? &described : NULL;
  bool ok = plain->output_count <= MAX_TENSORS && (!target || target_describe(module, NULL, NULL, target)) &&
            optimise(plain, fast, options, target) && generate_inputs(plain, seed, SYMBOL, inputs) &&
            run_both(plain, fast, inputs, target);
  tensors_free(inputs, plain->input_count);
  if (!ok) {
    char *path = arena_printf(module->arena, "%s/random-%" PRIu64 ".tn", options->keep, seed);
    printf("FAIL --seed %" PRIu64 ": see %s\n", seed, path);
    diags_print(module, stdout, 4);
    module_write_file(module, path);
  }
  module_free(module);
  return ok;
}

static bool parse_options(int argc, char **argv, Options *options) {
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 == argc) return false;
    if (strcmp(argv[i], "--seed") == 0)
      options->seed = strtoull(argv[i + 1], NULL, 10);
    else if (strcmp(argv[i], "--count") == 0)
      options->count = atoi(argv[i + 1]);
    else if (strcmp(argv[i], "--size") == 0)
      options->size = atoi(argv[i + 1]);
    else if (strcmp(argv[i], "--passes") == 0)
      options->passes = argv[i + 1];
    else if (strcmp(argv[i], "--keep") == 0)
      options->keep = argv[i + 1];
    else if (strcmp(argv[i], "--run") == 0)
      options->compiled = strcmp(argv[i + 1], "compiled") == 0;
    else
      return false;
  }
  return options->size > 0 && options->size <= MAX_TENSORS / 2;
}

int main(int argc, char **argv) {
  Options options = {.seed = 1, .count = 100, .size = 16, .keep = "."};
  if (!parse_options(argc, argv, &options)) {
    fprintf(stderr, "usage: test_random [--count N] [--seed S] [--size OPS] [--passes LIST] [--keep DIR]\n"
                    "                   [--run interpreted|compiled]\n");
    return 2;
  }
  int passed = 0;
  for (int i = 0; i < options.count; i++) passed += check_graph(options.seed + (uint64_t)i, &options);
  printf("seeds %" PRIu64 " to %" PRIu64 "\n", options.seed, options.seed + (uint64_t)options.count - 1);
  printf("%d passed, %d failed\n", passed, options.count - passed);
  return passed != options.count;
}
