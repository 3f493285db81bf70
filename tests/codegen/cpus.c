/*
 * cpus.c -- libraries for several processors: whichever of the kernels run here must compute the same.
 *
 * Nothing forces a processor upon a library. So one model is compiled for lists whose best, as far as this
 * machine can run it, differs: each brings other kernels to run.
 */
#include "passes/passes.h"
#include "tests/codegen/compile.h"
#include "tests/divided.h"

#include <math.h>

enum { BATCH = 2, SIDE = 16 };

/* ---- the model ---- */

static double next_random(unsigned *seed) {
  *seed = *seed * 1664525u + 1013904223u;
  return (double)(*seed >> 8) * 0x1p-23 - 1;
}

static void write_const(FILE *out, const char *name, const char *type, int count, unsigned *seed) {
  fprintf(out, "  const %%%s: f32%s = [%.4f", name, type, next_random(seed));
  for (int i = 1; i < count; i++) fprintf(out, ", %.4f", next_random(seed));
  fprintf(out, "]\n");
}

/* Direct convolution, Winograd with weights in the state, pooling, gemm, softmax; free it. */
static char *model_text(void) {
  char *text = NULL;
  size_t size;
  unsigned seed = 3;
  FILE *out = open_memstream(&text, &size);
  fprintf(out, "graph net(%%x: f32[N,3,16,16]) -> (%%y: f32[N,10]) {\n");
  write_const(out, "w1", "[36,3,3,3]", 36 * 27, &seed);
  write_const(out, "b1", "[36]", 36, &seed);
  write_const(out, "left", "[52,1,3,3]", 52 * 9, &seed);
  write_const(out, "right", "[1,36,1,1]", 36, &seed);
  write_const(out, "w3", "[52,10]", 520, &seed);
  fprintf(out, "  %%w2: f32[52,36,3,3] = mul %%left, %%right\n"
               "  %%0: f32[N,36,16,16] = conv %%x, %%w1, %%b1, pads=[1,1,1,1]\n"
               "  %%1: f32[N,36,16,16] = relu %%0\n"
               "  %%2: f32[N,52,16,16] = conv %%1, %%w2, pads=[1,1,1,1]\n"
               "  %%3: f32[N,52,1,1] = average_pool %%2, kernel=[16,16]\n"
               "  %%4: f32[N,52] = reshape %%3, shape=[N,52]\n"
               "  %%5: f32[N,10] = gemm %%4, %%w3\n"
               "  %%y: f32[N,10] = softmax %%5\n"
               "  return %%y\n}\n");
  fclose(out);
  return text;
}

static Module *read_model(void) {
  Module *module = module_new("net.tn");
  char *text = model_text();
  CHECK(module_parse_text(module, text, strlen(text), NULL));
  diags_print(module, stdout, 5);
  free(text);
  return module;
}

static bool optimise(Graph *graph, Target *target) {
  const Pass *const tables[] = {graph_passes, codegen_passes, NULL};
  PipelineOptions options = {
      .pass = {.target = target, .executor = codegen_executor(target)}, .tables = tables, .verify = true};
  return pipeline_run(graph, &options);
}

static Tensor random_input(void) {
  Tensor x = {0};
  unsigned seed = 5;
  CHECK(tensor_new(&x, DTYPE_F32, 4, (int64_t[]){BATCH, 3, SIDE, SIDE}));
  for (int64_t i = 0; i < tensor_count(&x); i++) ((float *)x.data)[i] = (float)next_random(&seed);
  return x;
}

/* ---- its libraries ---- */

static const tenon_library *load(const char *path, void **handle) {
  tenon_query_function *query = NULL;
  *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  void *symbol = *handle ? dlsym(*handle, "tenon_query") : NULL;
  memcpy(&query, &symbol, sizeof query);
  return query ? query(TENON_ABI_VERSION) : NULL;
}

static void check_run(const tenon_library *library, const Tensor *input, const Tensor *want) {
  tenon_session *session;
  tenon_tensor x = {input->data, tensor_size(input), TENON_F32, 4, {BATCH, 3, SIDE, SIDE}}, y = {0};
  CHECK(library->state_size(NULL) > 0);
  CHECK_INT(library->session_open(NULL, &session), TENON_OK);
  CHECK_INT(library->session_run(session, &x, &y), TENON_OK);
  for (int i = 0; i < BATCH * 10; i++) CHECK_NEAR(((float *)y.data)[i], ((float *)want->data)[i], 1e-5);
  library->session_close(session);
}

static void check_refused(const tenon_library *library) {
  tenon_session *session;
  CHECK_INT(library->session_open(NULL, &session), TENON_ERROR_CPU);
  CHECK_INT(library->prepare(NULL), TENON_ERROR_CPU);
  CHECK_INT(library->run(NULL, NULL, NULL, NULL, NULL), TENON_ERROR_CPU);
}

/* What the interpreter says to x. */
static const Tensor *reference(const Tensor *x) {
  static Tensor want;
  if (want.data) return &want;
  Module *module = read_model();
  CHECK(graph_interpret(module->main, x, &want));
  module_free(module);
  return &want;
}

/* The library for `cpus` lists them as `listed` and runs as `running`, NULL: not at all. */
static void check_cpus(const char *cpus, const char *listed, const char *running) {
  Module *module = read_model();
  Graph *graph = module->main;
  Tensor x = random_input();
  Target target = {0};
  CodegenOptions options = {.name = "net", .source = "net.tn"};
  char path[TEMPORARY_SIZE];
  void *handle = NULL;
  CHECK(temporary_file(path));
  bool ok = target_describe(module, NULL, cpus, &target) && optimise(graph, &target);
  options.target = target;
  ok = ok && codegen_emit(graph, &options, EMIT_SO, path, NULL);
  const tenon_library *library = ok ? load(path, &handle) : NULL;
  if (CHECK(library != NULL)) {
    CHECK_STRING(library->cpu, listed);
    if (CHECK(!running == !library->running_cpu()) && running) {
      CHECK_STRING(library->running_cpu(), running);
      check_run(library, &x, reference(&x));
      if (strcmp(running, target.cpu) == 0) CHECK(divided_agrees(graph, &target, &x));
    } else {
      check_refused(library);
    }
  }
  diags_print(module, stdout, 5);
  if (handle) dlclose(handle);
  unlink(path);
  tensor_free(&x);
  module_free(module);
}

TEST(each_of_several_runs) {
  check_cpus("x86-64", "x86-64", "x86-64");
  if (__builtin_cpu_supports("avx2")) check_cpus("x86-64,x86-64-v3", "x86-64-v3,x86-64", "x86-64-v3");
  if (__builtin_cpu_supports("avx512vl"))
    check_cpus("x86-64,x86-64-v4,x86-64-v3", "x86-64-v4,x86-64-v3,x86-64", "x86-64-v4");
}

/* Nothing but AMD's first processors with AVX has XOP. */
TEST(too_good_ones_are_passed_over) {
  if (__builtin_cpu_supports("xop")) return;
  check_cpus("x86-64,bdver4", "bdver4,x86-64", "x86-64");
  if (__builtin_cpu_supports("avx2"))
    check_cpus("bdver4,x86-64-v3,bdver1", "bdver4,x86-64-v3,bdver1", "x86-64-v3");
  check_cpus("bdver1,bdver4", "bdver4,bdver1", NULL);
}

/* Several kernels of each step: names tell whose they are, and only theirs use what their processor has. */
TEST(kernels_of_each) {
  Module *module = read_model();
  Target target = {0};
  char path[TEMPORARY_SIZE];
  int v4 = 0, v2 = 0, wide = 0;
  CHECK(temporary_file(path));
  CHECK(target_describe(module, NULL, "x86-64-v2,x86-64-v4", &target) && optimise(module->main, &target));
  CodegenOptions options = {.target = target, .name = "net", .source = "net.tn"};
  CHECK(codegen_emit(module->main, &options, EMIT_ASM, path, NULL));
  char *assembly = read_text(path);
  const char *function = "";
  for (char *line = assembly ? strtok(assembly, "\n") : NULL; line; line = strtok(NULL, "\n")) {
    if (*line != '\t' && *line != '.' && strchr(line, ':')) {
      function = line;
      v4 += *line == 'k' && strstr(line, "_x86_64_v4:") != NULL;
      v2 += *line == 'k' && strstr(line, "_x86_64_v2:") != NULL;
    }
    if (strncmp(line, "\tv", 2) != 0) continue;
    wide++;
    if (!strstr(function, "_x86_64_v4")) CHECK_STRING(line, function);
  }
  CHECK(v4 > 4 && v4 == v2 && wide > 0);
  free(assembly);
  unlink(path);
  module_free(module);
}

/* ---- schedules ---- */

static const char *schedule_of(const char *cpus, const char *forced) {
  static char text[256];
  Module *module = read_model();
  Target target = {0};
  CodegenOptions options = {.name = "net"};
  CHECK(target_describe(module, NULL, cpus, &target) && optimise(module->main, &target));
  options.target = target;
  FOR_EACH_NODE(node, module->main)
  if (node_is(node, &op_kernel) && strncmp(node_string(node, "schedule"), "panels", 6) == 0) {
    snprintf(text, sizeof text, "%s", node_string(node, "schedule"));
    if (forced) node_set_string(node, "schedule", forced);
  }
  if (forced && codegen_emit(module->main, &options, EMIT_LOOPS, "/dev/null", NULL))
    snprintf(text, sizeof text, "fine");
  else if (forced)
    snprintf(text, sizeof text, "%s", strstr(module->diags->text, "schedule"));
  module_free(module);
  return text;
}

TEST(schedules) {
  const char *both = "x86-64-v3,x86-64-v4", *three = "x86-64-v3,x86-64-v4,x86-64";
  char first[256], second[256], wanted[600];
  snprintf(first, sizeof first, "%s", schedule_of("x86-64-v4", NULL));
  snprintf(second, sizeof second, "%s", schedule_of("x86-64-v3", NULL));
  snprintf(wanted, sizeof wanted, "%s | %s", first, second);
  CHECK_STRING(schedule_of(both, NULL), strcmp(first, second) ? wanted : first);
  CHECK_STRING(schedule_of(both, "panels rows=2 panels=1"), "fine");
  CHECK_STRING(schedule_of(both, "panels rows=2 panels=1|  panels rows=1 panels=1 "), "fine");
  CHECK_STRING(schedule_of(both, "panels rows=2 panels=1 |"), "fine");
  CHECK_STRING(schedule_of(three, "panels | panels"), "schedule 'panels | panels' is for 2 cpus, not for 3");
  CHECK_STRING(schedule_of("host", "panels | panels"), "schedule 'panels | panels' is for 2 cpus, not for 1");
}

TEST(lists) {
  Module *module = module_new("lists");
  Target target = {0};
  CHECK(!target_describe(module, NULL, "x86-64-v3,haswell,x86-64-v3", &target));
  CHECK(!target_describe(module, NULL, "x86-64-v3,", &target));
  CHECK(!target_describe(module, NULL, ",x86-64-v3", &target));
  CHECK(!target_describe(module, "aarch64", "cortex-a76,cortex-a53", &target));
  CHECK_INT(module->error_count, 4);
  CHECK(target_describe(module, "x86_64", "haswell,znver4,skylake-avx512,x86-64-v2", &target));
  CHECK_STRING(target_cpus(module, &target), "znver4,skylake-avx512,haswell,x86-64-v2");
  module_free(module);
}

TEST(pipes) {
  static const struct {
    const char *cpu;
    int count;
    double gflops;
  } cases[] = {{"x86-64-v3", 2, 115.2}, {"x86-64-v4", 1, 115.2}, {"znver4", 1, 115.2}, {"znver5", 2, 230.4}};
  Module *module = module_new("pipes");
  for (int i = 0; i < COUNT_OF(cases); i++) {
    Target target = {0};
    CHECK(target_describe(module, "x86_64", cases[i].cpu, &target));
    CHECK_INT(target.fma_pipes, cases[i].count);
    CHECK(fabs(target.peak_gflops - cases[i].gflops) < 0.1);
  }
  module_free(module);
}

int main(void) {
  RUN(each_of_several_runs);
  RUN(too_good_ones_are_passed_over);
  RUN(kernels_of_each);
  RUN(schedules);
  RUN(lists);
  RUN(pipes);
  return tests_finish();
}
