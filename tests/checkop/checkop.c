/*
 * checkop.c -- every fast kernel against the plain lowering of its op, on shapes that break things.
 *
 * A case adds one op (and perhaps an epilogue) to a graph. The cases of a family go through the whole
 * pipeline and are compiled together; the same graph, untouched, runs in the interpreter. Then the library
 * runs with several threads, with its loops cut at every place. Then all again with operands that are columns
 * of larger inputs and results that are columns of a concat, so that both have strides.
 *
 *   checkop [--once] [FAMILY [CPU]]
 *
 * --once: each case one way only, every other one with strides. CPU as `tenon compile --cpu`; default: this
 * machine's.
 */
#include "tests/checkop/checkop.h"
#include "passes/passes.h"
#include "tests/divided.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
  const char *name;
  void (*add)(Check *);
} families[] = {
    {"integers", integer_cases},    {"gemm", gemm_cases},         {"matmul", matmul_cases},
    {"conv", conv_cases},           {"winograd", winograd_cases}, {"transposed", transposed_cases},
    {"depthwise", depthwise_cases}, {"pool", pool_cases},         {"rows", row_cases},
    {"movement", movement_cases},   {"rnn", cell_cases},          {"attention", attention_cases},
    {"trees", tree_cases},          {"halves", half_cases},       {"blocks", blocks_cases},
    {"sparse", sparse_cases},
};

static bool random_inputs(Check *check, Tensor *tensors) {
  const Graph *graph = check->module->main;
  for (int i = 0; i < graph->input_count; i++) {
    const Type *type = graph->inputs[i]->type;
    int64_t dims[MAX_RANK];
    for (int k = 0; k < type->rank; k++)
      dim_eval(type->dims[k], (const char *[]){"S"}, (int64_t[]){OPEN_SIZE}, 1, &dims[k]);
    TRY(tensor_new(&tensors[i], type->dtype, type->rank, dims));
    float *data = tensors[i].data;
    for (int64_t k = 0; k < tensor_count(&tensors[i]); k++) data[k] = (float)next_random(check);
  }
  return true;
}

static bool optimise(Check *check, const Target *target) {
  const Pass *const tables[] = {graph_passes, codegen_passes, NULL};
  PipelineOptions options = {
      .pass = {.target = target, .executor = codegen_executor(target)},
      .tables = tables,
      .verify = true,
  };
  return pipeline_run(check->module->main, &options);
}

static bool same_values(const char *name, const Tensor *fast, const Tensor *plain) {
  const float *a = fast->data, *b = plain->data;
  if (tensor_count(fast) != tensor_count(plain)) {
    printf("FAIL %s: %lld elements, not %lld\n", name, (long long)tensor_count(fast),
           (long long)tensor_count(plain));
    return false;
  }
  for (int64_t i = 0; i < tensor_count(plain); i++) {
    if (fabs((double)a[i] - (double)b[i]) <= 2e-5 + 1e-4 * fabs((double)b[i])) continue;
    printf("FAIL %s: element %lld is %g, the plain lowering gives %g\n", name, (long long)i, (double)a[i],
           (double)b[i]);
    return false;
  }
  return true;
}

typedef enum Way { WAY_WHOLE, WAY_PARTS, WAY_ONCE } Way;

static int check_family(int index, Way way, const char *cpu, int *passed) {
  Check *check = calloc(1, sizeof *check);
  check->parts = way == WAY_PARTS;
  check->once = way == WAY_ONCE;
  check->module = module_new("checkop");
  check->module->main = graph_new(check->module, families[index].name, NULL);
  check->builder = builder_at_end(check->module->main);
  check->seed = 88172645463325252u + (uint64_t)index;
  families[index].add(check);
  Graph *graph = check->module->main;
  int failed = 0, inputs = graph->input_count, count = check->count;
  Tensor *x = calloc((size_t)inputs, sizeof *x), *fast = calloc((size_t)count, sizeof *fast),
         *plain = calloc((size_t)count, sizeof *plain);
  Target target;
  bool ok = graph_set_outputs(graph, count, check->outputs, check->names) && random_inputs(check, x) &&
            target_describe(check->module, NULL, cpu, &target) && graph_interpret(graph, x, plain) &&
            optimise(check, &target) && codegen_execute(&target, graph, x, fast);
  if (!ok) {
    diags_print(check->module, stderr, 10);
    printf("FAIL %s: the family did not compile and run\n", families[index].name);
    failed = count;
  }
  for (int i = 0; ok && i < count; i++) {
    if (same_values(check->names[i], &fast[i], &plain[i]))
      (*passed)++;
    else
      failed++;
  }
  if (ok && !divided_agrees(graph, &target, x)) {
    diags_print(check->module, stdout, 10);
    printf("FAIL %s: threads change the results\n", families[index].name);
    failed++;
  }
  for (int i = 0; i < inputs; i++) tensor_free(&x[i]);
  for (int i = 0; i < count; i++) {
    tensor_free(&fast[i]);
    tensor_free(&plain[i]);
  }
  free(x);
  free(fast);
  free(plain);
  module_free(check->module);
  free(check);
  return failed;
}

int main(int argc, char **argv) {
  int passed = 0, failed = 0;
  bool once = argc > 1 && strcmp(argv[1], "--once") == 0;
  argc -= once, argv += once;
  for (int i = 0; i < COUNT_OF(families); i++) {
    if (argc > 1 && strcmp(argv[1], families[i].name) != 0) continue;
    for (Way way = once ? WAY_ONCE : WAY_WHOLE; way <= (once ? WAY_ONCE : WAY_PARTS); way++)
      failed += check_family(i, way, argc > 2 ? argv[2] : NULL, &passed);
  }
  printf("%d passed, %d failed\n", passed, failed);
  return failed > 0 || passed == 0;
}
