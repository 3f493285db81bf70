/*
 * library.c -- whole libraries: graphs to .so and .h, loaded, run through both interfaces, and held against
 * the interpreter.
 */
#include "runtime/tenon.h"
#include "tests/codegen/compile.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>

/* A graph on its way through a library. */
typedef struct Built {
  Module *module;
  char folder[TEMPORARY_SIZE], so[TEMPORARY_SIZE + 8], header[TEMPORARY_SIZE + 8], object[TEMPORARY_SIZE + 8];
  CodegenStats stats;
  bool ok;
} Built;

static Built build_for(const char *text, const char *cpu) {
  Built built = {.module = module_new("test.tn")};
  Target target = {0};
  bool ok = temporary_folder(built.folder);
  snprintf(built.so, sizeof built.so, "%s/net.so", built.folder);
  snprintf(built.header, sizeof built.header, "%s/net.h", built.folder);
  snprintf(built.object, sizeof built.object, "%s/net.o", built.folder);
  ok = ok && module_parse_text(built.module, text, strlen(text), NULL) &&
       target_describe(built.module, NULL, cpu, &target);
  CodegenOptions options = {.target = target, .name = "net", .source = "test.tn", .header = true};
  built.ok = ok && codegen_emit(built.module->main, &options, EMIT_SO, built.so, &built.stats);
  if (!built.ok) diags_print(built.module, stdout, 10);
  return built;
}

static Built build(const char *text) {
  return build_for(text, NULL);
}

static void drop(Built *built) {
  unlink(built->so);
  unlink(built->header);
  unlink(built->object);
  rmdir(built->folder);
  module_free(built->module);
}

static const tenon_library *load(const char *path, void **handle) {
  tenon_query_function *query = NULL;
  *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!*handle) printf("%s\n", dlerror());
  void *symbol = *handle ? dlsym(*handle, "tenon_query") : NULL;
  memcpy(&query, &symbol, sizeof query);
  return query ? query(TENON_ABI_VERSION) : NULL;
}

/* What a command prints, at most 64 KB. */
static const char *output_of(const char *format, const char *path) {
  static char text[1 << 16];
  char command[2 * TEMPORARY_SIZE];
  snprintf(command, sizeof command, format, path);
  FILE *pipe = popen(command, "r");
  size_t length = pipe ? fread(text, 1, sizeof text - 1, pipe) : 0;
  text[length] = 0;
  if (pipe) pclose(pipe);
  return text;
}

/* ---- against the interpreter ---- */

static void fill_random(Tensor *tensor, unsigned *seed) {
  for (int64_t i = 0; i < tensor_count(tensor); i++) {
    *seed = *seed * 1664525u + 1013904223u;
    dtype_set(tensor->dtype, tensor->data, i,
              dtype_is_float(tensor->dtype) ? (double)(*seed >> 8) * 0x1p-23 - 1 : (double)(*seed >> 16 & 1));
  }
}

static bool near(const Tensor *a, const Tensor *b) {
  if (a->rank != b->rank || a->dtype != b->dtype ||
      memcmp(a->dims, b->dims, sizeof(int64_t) * (size_t)a->rank) != 0)
    return false;
  for (int64_t i = 0; i < tensor_count(a); i++) {
    double x = dtype_get(a->dtype, a->data, i), y = dtype_get(b->dtype, b->data, i);
    if (isnan(x) != isnan(y) || fabs(x - y) > 1e-5 + 1e-4 * fabs(y)) {
      printf("element %lld: %.9g, not %.9g\n", (long long)i, x, y);
      return false;
    }
  }
  return true;
}

/* Compiles `text`, runs it on random input whose symbolic sizes are `symbol`, and compares. */
static bool agrees(const char *text, int64_t symbol) {
  Module *module = module_new("test.tn");
  Target target = {0};
  Tensor inputs[8] = {0}, compiled[8] = {0}, wanted[8] = {0};
  unsigned seed = 1;
  bool ok =
      module_parse_text(module, text, strlen(text), NULL) && target_describe(module, NULL, NULL, &target);
  Graph *graph = module->main;
  for (int i = 0; ok && i < graph->input_count; i++) {
    int64_t dims[MAX_RANK];
    const Type *type = graph->inputs[i]->type;
    for (int axis = 0; axis < type->rank; axis++)
      dims[axis] = dim_is_const(type->dims[axis]) ? type->dims[axis]->value : symbol;
    ok = tensor_new(&inputs[i], type->dtype, type->rank, dims);
    fill_random(&inputs[i], &seed);
  }
  ok = ok && graph_interpret(graph, inputs, wanted) && codegen_execute(&target, graph, inputs, compiled);
  for (int i = 0; ok && i < graph->output_count; i++) ok = near(&compiled[i], &wanted[i]);
  diags_print(module, stdout, 10);
  module_free(module);
  for (int i = 0; i < 8; i++) {
    tensor_free(&inputs[i]);
    tensor_free(&compiled[i]);
    tensor_free(&wanted[i]);
  }
  return ok;
}

static const char mlp[] = "graph mlp(%image: f32[1,12]) -> (%prob: f32[1,3]) {\n"
                          "  const %w1: f32[12,4] = splat 0.25\n"
                          "  const %b1: f32[4] = [0.5, -1, 0, 2]\n"
                          "  const %w2: f32[4,3] = [1, 2, 3, 4, -5, 6, 7, 8, 9, -1, -2, -3]\n"
                          "  %0: f32[1,4] = matmul %image, %w1\n"
                          "  %1: f32[1,4] = add %0, %b1\n"
                          "  %2: f32[1,4] = relu %1\n"
                          "  %3: f32[1,3] = matmul %2, %w2\n"
                          "  %prob: f32[1,3] = softmax %3\n"
                          "  return %prob\n"
                          "}\n";

static const char symbolic[] = "graph net(%x: f32[N,3], %y: f32[N,1]) -> (%z: f32[N,3], %flat: f32[3*N]) {\n"
                               "  const %w: f32[3,3] = [1, 2, 3, 4, 5, 6, 7, 8, 9]\n"
                               "  %0: f32[N,3] = matmul %x, %w\n"
                               "  %z: f32[N,3] = mul %0, %y\n"
                               "  %1: f32[N,3] = tanh %z\n"
                               "  %flat: f32[3*N] = reshape %1, shape=[3*N]\n"
                               "  return %z, %flat\n"
                               "}\n";

TEST(static_graph) {
  CHECK(agrees(mlp, 1));
}

TEST(symbolic_graph) {
  CHECK(agrees(symbolic, 5));
  CHECK(agrees(symbolic, 0));
}

TEST(outputs_that_nothing_computes) {
  CHECK(agrees("graph g(%x: f32[2,3]) -> (%a: f32[2,3], %b: f32[2], %c: f32[6], %d: f32[2,3], %e: i32[3]) {\n"
               "  const %b: f32[2] = [1, 2]\n"
               "  const %e: i32[3] = splat 7\n"
               "  %c: f32[6] = reshape %x, shape=[6]\n"
               "  %d: f32[2,3] = relu %x\n"
               "  return %x, %b, %c, %d, %e\n"
               "}\n",
               1));
  CHECK(agrees(
      "graph g(%x: f32[2]) -> (%a: f32[2], %b: f32[2]) {\n  %a: f32[2] = exp %x\n  return %a, %a\n}\n", 1));
}

TEST(odd_shapes_and_dtypes) {
  static const char *const texts[] = {
      "graph g(%x: f32[0,3]) -> (%y: f32[0,3], %z: f32[1,3]) {\n  %y: f32[0,3] = relu %x\n  %z: f32[1,3] = "
      "reduce_sum %x, axes=[0]\n  return %y, %z\n}\n",
      "graph g(%x: f32) -> (%y: f32) {\n  %y: f32 = exp %x\n  return %y\n}\n",
      "graph g(%x: f16[17], %y: f16[17]) -> (%z: f16[17]) {\n  %z: f16[17] = mul %x, %y\n  return %z\n}\n",
      "graph g(%x: bf16[17]) -> (%y: bf16[17]) {\n  %y: bf16[17] = tanh %x\n  return %y\n}\n",
      "graph g(%x: f32[5,4], %t: f32[4]) -> (%y: bool[5,4], %i: i64[5,1]) {\n  %y: bool[5,4] = less %x, %t\n"
      "  %i: i64[5,1] = arg_max %x, axis=1\n  return %y, %i\n}\n",
      "graph g(%x: f64[3,5], %b: bool[3,1]) -> (%z: f64[5,3]) {\n  %0: f64[3,5] = neg %x\n  %1: f64[3,5] = "
      "where %b, %x, %0\n"
      "  %z: f64[5,3] = transpose %1, perm=[1,0]\n  return %z\n}\n",
  };
  for (int i = 0; i < COUNT_OF(texts); i++) CHECK(agrees(texts[i], 1));
}

/* ---- the two interfaces ---- */

TEST(typed_call) {
  Built built = build(mlp);
  void *handle;
  const tenon_library *library = built.ok ? load(built.so, &handle) : NULL;
  if (CHECK(library != NULL)) {
    typedef int Run(void *, const void *, const void *, void *);
    Run *run = NULL;
    void *symbol = dlsym(handle, "net_run");
    memcpy(&run, &symbol, sizeof run);
    static _Alignas(64) char scratch[4096];
    float image[12] = {0}, prob[3], sum = 0;
    void *in[] = {image}, *out[] = {prob}, *none[] = {NULL};
    CHECK(run && built.stats.scratch_bytes <= (int64_t)sizeof scratch);
    CHECK_INT(run(NULL, in, out, scratch), TENON_OK);
    for (int i = 0; i < 3; i++) sum += prob[i];
    CHECK_NEAR(sum, 1, 1e-6);
    CHECK_INT(run(NULL, none, out, scratch), TENON_ERROR_INPUT_NULL);
    CHECK_INT(run(NULL, in, none, scratch), TENON_ERROR_OUTPUT_NULL);
    CHECK_INT(run(NULL, in, out, NULL), TENON_ERROR_NULL);
    CHECK_INT(run(NULL, in, out, scratch + 1), TENON_ERROR_ALIGNMENT);
    CHECK_INT(run(NULL, NULL, out, scratch), TENON_ERROR_NULL);
    dlclose(handle);
  }
  drop(&built);
}

static const char prepared[] =
    "graph net(%x: f32[1,4], %z: f32[4]) -> (%y: f32[1,4]) {\n"
    "  const %w: f32[4] = [0, 1, 2, 3]\n"
    "  %0: f32[4] = kernel %w, name=\"exp_1\", memory=\"state\", offsets=[64] {\n"
    "    graph exp_1(%w: f32[4]) -> (%e: f32[4]) {\n      %0: f32[4] = exp %w\n      return %0\n    }\n  }\n"
    "  %y: f32[1,4] = mul %x, %0\n"
    "  return %y\n"
    "}\n";

TEST(state) {
  Built built = build(prepared);
  void *handle;
  const tenon_library *library = built.ok ? load(built.so, &handle) : NULL;
  if (CHECK(library != NULL)) {
    static _Alignas(64) char state[256], scratch[64];
    float x[4] = {1, 1, 1, 1}, z[4] = {0}, y[4] = {0};
    const void *in[] = {x, z};
    void *out[] = {y};
    CHECK_INT(library->state_size(NULL), 64 + 64);
    CHECK_INT(built.stats.state_bytes, 64 + 64);
    CHECK_INT(library->kernel_count, 1); /* of a run */
    CHECK_INT(library->prepare(NULL), TENON_ERROR_NULL);
    CHECK_INT(library->prepare(state + 1), TENON_ERROR_ALIGNMENT);
    CHECK_INT(library->run(NULL, NULL, in, out, scratch), TENON_ERROR_NULL);
    CHECK_INT(library->prepare(state), TENON_OK);
    CHECK_INT(library->run(state, NULL, in, out, scratch), TENON_OK);
    for (int i = 0; i < 4; i++) CHECK_NEAR(y[i], exp(i), 1e-5);
    CHECK(strstr(output_of("grep STATE_SIZE %s", built.header), "NET_STATE_SIZE 128") != NULL);
    dlclose(handle);
  }
  drop(&built);
  CHECK(agrees(prepared, 0));
}

TEST(state_of_a_wrong_plan) {
  static const char *const wrong[][2] = {
      {"offsets=[64]", "offsets=[-1]"}, {"offsets=[64]", "offsets=[1,2]"}, {"kernel %w", "kernel %z"}};
  for (int i = 0; i < COUNT_OF(wrong); i++) {
    char text[1024];
    const char *at = strstr(prepared, wrong[i][0]);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - prepared), prepared, wrong[i][1],
             at + strlen(wrong[i][0]));
    Module *module = module_new("test.tn");
    Target target = {0};
    CodegenOptions options = {.target = target, .name = "net", .source = "test.tn"};
    CHECK(module_parse_text(module, text, strlen(text), NULL));
    CHECK(target_describe(module, NULL, NULL, &options.target));
    CHECK(!codegen_emit(module->main, &options, EMIT_LOOPS, "/dev/null", NULL));
    CHECK(module->diags && strstr(module->diags->text, "a kernel that fills the state"));
    module_free(module);
  }
}

TEST(library_table) {
  Built built = build(symbolic);
  void *handle;
  const tenon_library *library = built.ok ? load(built.so, &handle) : NULL;
  if (CHECK(library != NULL)) {
    CHECK_INT(library->size, sizeof(tenon_library));
    CHECK_STRING(library->name, "net");
    CHECK_STRING(library->source, "test.tn");
    CHECK_INT(library->input_count, 2);
    CHECK_INT(library->symbol_count, 1);
    CHECK_STRING(library->symbols[0], "N");
    CHECK_STRING(library->inputs[1]->name, "y");
    CHECK_INT(library->inputs[0]->dims[0].size, -1);
    CHECK_STRING(library->inputs[0]->dims[0].symbol, "N");
    CHECK_INT(library->inputs[0]->dims[1].size, 3);
    CHECK_INT(library->outputs[1]->dtype, TENON_F32);
    int64_t n = 7, dims[TENON_MAX_RANK], macs[8];
    library->output_dims(1, &n, dims);
    CHECK_INT(dims[0], 21);
    library->kernel_macs(&n, macs);
    CHECK_INT(macs[0], 7 * 9);
    CHECK(library->scratch_size(&n) >= 7 * 3 * 4 && library->scratch_size(&n) < 4096);
    n = INT64_MAX / 2;
    CHECK(library->scratch_size(&n) == UINT64_MAX);
    dlclose(handle);
  }
  drop(&built);
}

static tenon_tensor tensor_of(void *data, int64_t rows, int64_t columns) {
  return (tenon_tensor){data, (uint64_t)(rows * columns * 4), TENON_F32, 2, {rows, columns}};
}

TEST(session_errors) {
  Built built = build(symbolic);
  void *handle;
  const tenon_library *library = built.ok ? load(built.so, &handle) : NULL;
  tenon_session *session = NULL;
  if (CHECK(library != NULL) && CHECK_INT(library->session_open(NULL, &session), TENON_OK)) {
    float x[12] = {0}, y[12] = {0};
    tenon_tensor good[] = {tensor_of(x, 4, 3), tensor_of(y, 4, 1)}, in[2], out[2] = {{0}};
    CHECK_INT(library->session_run(session, good, out), TENON_OK);
    CHECK_INT(out[1].dims[0], 12);
    memcpy(in, good, sizeof in);
    in[1].dims[0] = 3;
    CHECK_INT(library->session_run(session, in, out), TENON_ERROR_INPUT_SHAPE + 256);
    CHECK_STRING(library->session_error(session), "input 'y': axis 0 has the size 3 and must have 4 = N");
    memcpy(in, good, sizeof in);
    in[0].dtype = TENON_I32;
    CHECK_INT(library->session_run(session, in, out), TENON_ERROR_INPUT_DTYPE);
    CHECK_STRING(library->session_error(session), "input 'x' is i32 and must be f32");
    memcpy(in, good, sizeof in);
    in[0].rank = 3;
    CHECK_INT(library->session_run(session, in, out), TENON_ERROR_INPUT_RANK);
    memcpy(in, good, sizeof in);
    in[0].dims[1] = 2;
    CHECK_INT(library->session_run(session, in, out), TENON_ERROR_INPUT_SHAPE);
    memcpy(in, good, sizeof in);
    in[0].size = 40;
    CHECK_INT(library->session_run(session, in, out), TENON_ERROR_INPUT_SIZE);
    memcpy(in, good, sizeof in);
    in[0].dims[0] = in[1].dims[0] = (int64_t)1 << 60;
    in[0].size = in[1].size = 0;
    CHECK_INT(tenon_error_kind(library->session_run(session, in, out)), TENON_ERROR_GUARD);
    tenon_tensor small[] = {tensor_of(x, 1, 1), tensor_of(y, 3, 4)};
    CHECK_INT(library->session_run(session, good, small), TENON_ERROR_OUTPUT_SIZE);
    library->session_close(session);
    dlclose(handle);
  }
  drop(&built);
}

TEST(broadcast_guard) {
  Built built = build("graph g(%x: f32[N], %y: f32[M]) -> (%z: f32[bcast(N,M)]) {\n"
                      "  %z: f32[bcast(N,M)] = add %x, %y\n  return %z\n}\n");
  void *handle;
  const tenon_library *library = built.ok ? load(built.so, &handle) : NULL;
  tenon_session *session = NULL;
  if (CHECK(library != NULL) && CHECK_INT(library->session_open(NULL, &session), TENON_OK)) {
    float x[4] = {1, 2, 3, 4}, y[4] = {10, 20, 30, 40};
    tenon_tensor in[] = {{x, 0, TENON_F32, 1, {4}}, {y, 0, TENON_F32, 1, {1}}}, out = {0};
    CHECK_INT(library->session_run(session, in, &out), TENON_OK);
    CHECK_INT(out.dims[0], 4);
    CHECK_NEAR(((float *)out.data)[3], 14, 0);
    in[1].dims[0] = 3;
    CHECK_INT(tenon_error_kind(library->session_run(session, in, &out)), TENON_ERROR_GUARD);
    CHECK(strstr(library->session_error(session), "must be equal, or one of them 1") != NULL);
    library->session_close(session);
    dlclose(handle);
  }
  drop(&built);
}

TEST(profile) {
  Built built = build(mlp);
  void *handle;
  const tenon_library *library = built.ok ? load(built.so, &handle) : NULL;
  tenon_session *session = NULL;
  tenon_session_options options = {.size = sizeof options, .threads = 4, .profile = 1};
  if (CHECK(library != NULL) && CHECK_INT(library->session_open(&options, &session), TENON_OK)) {
    float image[12] = {0};
    tenon_tensor in = {image, 0, TENON_F32, 2, {1, 12}}, out = {0};
    uint64_t ns[16] = {0}, runs = 0, sum = 0;
    for (int i = 0; i < 1000; i++) CHECK_INT(library->session_run(session, &in, &out), TENON_OK);
    library->session_profile(session, ns, &runs);
    for (uint32_t i = 0; i < library->kernel_count; i++) sum += ns[i];
    CHECK_INT(runs, 1000);
    CHECK(sum > 1000);
    CHECK_STRING(library->kernels[0]->name, "k0_matmul");
    library->session_close(session);
    dlclose(handle);
  }
  drop(&built);
}

/* ---- threads ---- */

static const char product[] = "graph product(%x: f32[N,256]) -> (%y: f32[N,256]) {\n"
                              "  const %w: f32[256,256] = splat 0.01\n"
                              "  %0: f32[N,256] = matmul %x, %w\n"
                              "  %1: f32[N,256] = exp %0\n"
                              "  %y: f32[N,256] = softmax %1, axis=-1\n"
                              "  return %y\n"
                              "}\n";
enum { PRODUCT_ROWS = 150, PRODUCT_COUNT = PRODUCT_ROWS * 256 };

static bool product_is(const tenon_library *library, tenon_session *session, float *x, const float *want) {
  tenon_tensor in = {x, 0, TENON_F32, 2, {PRODUCT_ROWS, 256}}, out = {0};
  if (!CHECK_INT(library->session_run(session, &in, &out), TENON_OK)) return false;
  return !want || memcmp(out.data, want, sizeof(float) * PRODUCT_COUNT) == 0;
}

static void in_one_piece(void *host, int64_t count, int64_t grain, tenon_task *task, void *context) {
  (void)grain;
  ++*(int *)host;
  task(context, 0, count);
}

typedef struct Runner {
  const tenon_library *library;
  float *x, *want;
  bool ok;
} Runner;

static void *run_in_thread(void *argument) {
  Runner *runner = argument;
  tenon_session_options options = {.size = sizeof options, .threads = 3};
  tenon_session *session;
  runner->ok = !runner->library->session_open(&options, &session);
  for (int i = 0; runner->ok && i < 50; i++)
    runner->ok = product_is(runner->library, session, runner->x, runner->want);
  runner->library->session_close(session);
  return NULL;
}

static void check_threads(const tenon_library *library, tenon_session *session, float *x, float *want) {
  int calls = 0;
  tenon_tensor in = {x, 0, TENON_F32, 2, {PRODUCT_ROWS, 256}}, out = {want, 0, TENON_F32, 2, {0}};
  CHECK_INT(library->session_run(session, &in, &out), TENON_OK);
  for (uint32_t threads = 0; threads < 6; threads++) {
    CHECK_INT(library->session_set_threads(session, threads, NULL, NULL), TENON_OK);
    CHECK(product_is(library, session, x, want));
  }
  CHECK_INT(library->session_set_threads(session, 1, in_one_piece, &calls), TENON_OK);
  CHECK(product_is(library, session, x, want) && calls == 0);
  CHECK_INT(library->session_set_threads(session, 4, in_one_piece, &calls), TENON_OK);
  CHECK(product_is(library, session, x, want) && calls > 0);
  for (int i = 0; i < 100; i++) {
    tenon_session_options options = {.size = sizeof options, .threads = 2};
    tenon_session *other = NULL;
    CHECK_INT(library->session_open(&options, &other), TENON_OK);
    if (i % 10 == 0) CHECK(product_is(library, other, x, want));
    library->session_close(other);
  }
  Runner runners[2] = {{library, x, want, false}, {library, x, want, false}};
  pthread_t handles[2];
  for (int i = 0; i < 2; i++) CHECK_INT(pthread_create(&handles[i], NULL, run_in_thread, &runners[i]), 0);
  for (int i = 0; i < 2; i++) pthread_join(handles[i], NULL);
  CHECK(runners[0].ok && runners[1].ok);
}

TEST(threads) {
  Built built = build(product);
  void *handle = NULL;
  const tenon_library *library = built.ok ? load(built.so, &handle) : NULL;
  tenon_session *session = NULL;
  float *x = malloc(sizeof(float) * PRODUCT_COUNT), *want = malloc(sizeof(float) * PRODUCT_COUNT);
  for (int i = 0; i < PRODUCT_COUNT; i++) x[i] = (float)(i * 7 % 101) / 50 - 1;
  if (CHECK(library != NULL) && CHECK_INT(library->session_open(NULL, &session), TENON_OK)) {
    check_threads(library, session, x, want);
    library->session_close(session);
    dlclose(handle);
  }
  free(x);
  free(want);
  drop(&built);
}

/* ---- the file ---- */

TEST(exports_and_needs) {
  Built built = build(symbolic);
  if (CHECK(built.ok)) {
    CHECK_STRING(output_of("nm -D --defined-only %s | sed 's/.* //' | sort | tr '\\n' ' '", built.so),
                 "net_prepare net_query net_run net_scratch_size tenon_query ");
    CHECK_STRING(output_of("readelf -d %s | grep NEEDED | sed 's/.*\\[//;s/\\]//' | tr '\\n' ' '", built.so),
                 "libc.so.6 ");
    CHECK_STRING(output_of("readelf -d %s | grep -c TEXTREL", built.so), "0\n");
    CHECK_STRING(output_of("readelf -lW %s | grep STACK | grep -c RWE", built.so), "0\n");
  }
  drop(&built);
  built = build("graph g(%x: f64[4]) -> (%y: f64[4]) {\n  %y: f64[4] = exp %x\n  return %y\n}\n");
  if (CHECK(built.ok)) CHECK_STRING(output_of("readelf -d %s | grep -c libm.so.6", built.so), "1\n");
  drop(&built);
}

static void check_same(Built a, Built b) {
  if (CHECK(a.ok && b.ok)) {
    char command[TEMPORARY_SIZE + 64];
    snprintf(command, sizeof command, "cmp %s %%s && echo same", a.so);
    CHECK_STRING(output_of(command, b.so), "same\n");
  }
  drop(&a);
  drop(&b);
}

TEST(same_bytes_again) {
  check_same(build(mlp), build(mlp));
}

/* Enough kernels that they are compiled in parts. */
static const char many[] = "graph many(%x: f32[N,256]) -> (%y: f32[N,256]) {\n"
                           "  const %w: f32[256,256] = splat 0.01\n"
                           "  %0: f32[N,256] = matmul %x, %w\n"
                           "  %1: f32[N,256] = exp %0\n"
                           "  %2: f32[N,256] = tanh %1\n"
                           "  %3: f32[N,256] = add %2, %x\n"
                           "  %4: f32[N,256] = relu %3\n"
                           "  %5: f32[N,256] = mul %4, %1\n"
                           "  %6: f32[N,256] = sigmoid %5\n"
                           "  %7: f32[N,256] = sub %6, %0\n"
                           "  %8: f32[N,256] = abs %7\n"
                           "  %9: f32[N,256] = softmax %8, axis=-1\n"
                           "  %y: f32[N,256] = neg %9\n"
                           "  return %y\n"
                           "}\n";

TEST(parts) {
  CHECK(agrees(many, 5));
  CHECK(agrees(many, 0));
  Built built = build(many);
  if (CHECK(built.ok)) CHECK_STRING(output_of("nm -D --defined-only %s | wc -l", built.so), "5\n");
  cpu_set_t all, one;
  CHECK_INT(sched_getaffinity(0, sizeof all, &all), 0);
  CPU_ZERO(&one);
  for (int i = 0; CPU_COUNT(&one) == 0 && i < CPU_SETSIZE; i++)
    if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
  CHECK_INT(sched_setaffinity(0, sizeof one, &one), 0);
  check_same(built, build(many));
  CHECK_INT(sched_setaffinity(0, sizeof all, &all), 0);
}

TEST(header_compiles) {
  Built built = build("graph net(%\"x/in.0\": f32[N,3], %class: u8[1]) -> (%2nd: f32[N,3]) {\n"
                      "  %0: f32[1] = cast %class, to=f32\n"
                      "  %1: f32[N,3] = mul %\"x/in.0\", %0\n"
                      "  %2nd: f32[N,3] = exp %1\n  return %2nd\n}\n");
  if (CHECK(built.ok)) {
    CHECK_STRING(
        output_of("gcc -std=c99 -Wall -Wextra -pedantic -Werror -fsyntax-only -x c %s 2>&1", built.header),
        "");
    CHECK_STRING(output_of("g++ -std=c++11 -Wall -Wextra -pedantic -Werror -fsyntax-only -x c++ %s 2>&1",
                           built.header),
                 "");
    CHECK_STRING(output_of("grep -c 'int64_t N;' %s", built.header), "1\n");
  }
  drop(&built);
}

TEST(lesser_cpu_is_refused) {
  Built built = build_for(mlp, "bdver4"); /* XOP and FMA4 are on no processor made since */
  void *handle;
  const tenon_library *library = built.ok ? load(built.so, &handle) : NULL;
  if (CHECK(library != NULL)) {
    tenon_session *session;
    float image[12] = {0}, prob[3];
    const void *in[] = {image};
    void *out[] = {prob};
    static _Alignas(64) char scratch[4096];
    CHECK_INT(library->prepare(NULL), TENON_ERROR_CPU);
    CHECK_INT(library->run(NULL, NULL, in, out, scratch), TENON_ERROR_CPU);
    CHECK_INT(library->session_open(NULL, &session), TENON_ERROR_CPU);
    CHECK(session == NULL);
    dlclose(handle);
  }
  drop(&built);
}

/* Everything but the kernels must run on the oldest processor, or the check itself would be the illegal
 * instruction. */
TEST(only_kernels_use_the_target) {
  Built built = build(symbolic);
  char path[TEMPORARY_SIZE + 64], *assembly = NULL;
  snprintf(path, sizeof path, "%s/net.s", built.folder);
  Target target = {0};
  if (CHECK(target_describe(built.module, NULL, "x86-64-v4", &target))) {
    CodegenOptions options = {.target = target, .name = "net", .source = "test.tn"};
    CHECK(codegen_emit(built.module->main, &options, EMIT_ASM, path, NULL));
    assembly = read_text(path);
  }
  bool in_kernel = false;
  int lines = 0, wide = 0;
  for (char *line = assembly ? strtok(assembly, "\n") : NULL; line; line = strtok(NULL, "\n"), lines++) {
    if (*line != '\t' && *line != '.' && strchr(line, ':'))
      in_kernel = line[0] == 'k' && line[1] >= '0' && line[1] <= '9';
    bool vector = strncmp(line, "\tv", 2) == 0;
    wide += vector && in_kernel;
    if (vector && !in_kernel) CHECK_STRING(line, "");
  }
  CHECK(lines > 100 && wide > 0);
  free(assembly);
  unlink(path);
  drop(&built);
}

TEST(older_cpus_run) {
  static const char *const cpus[] = {"x86-64", "x86-64-v2", "x86-64-v3"};
  for (int i = 0; i < COUNT_OF(cpus); i++) {
    Built built = build_for(mlp, cpus[i]);
    void *handle;
    const tenon_library *library = built.ok ? load(built.so, &handle) : NULL;
    if (CHECK(library != NULL)) {
      float image[12] = {1}, prob[3] = {0};
      const void *in[] = {image};
      void *out[] = {prob};
      static _Alignas(64) char scratch[4096];
      CHECK_INT(library->run(NULL, NULL, in, out, scratch), TENON_OK);
      CHECK_NEAR(prob[0] + prob[1] + prob[2], 1, 1e-6);
      dlclose(handle);
    }
    drop(&built);
  }
}

static bool emit_object(Module *module, const Target *target, const char *folder, const char *name) {
  char path[TEMPORARY_SIZE + 64];
  snprintf(path, sizeof path, "%s/%s.o", folder, name);
  CodegenOptions options = {.target = *target, .name = name, .source = "test.tn", .header = true};
  return codegen_emit(module->main, &options, EMIT_OBJ, path, NULL);
}

/* Two models linked into one program, with nothing of theirs in each other's way. */
TEST(objects_of_two_models) {
  static const char program[] =
      "#include \"one.h\"\n#include \"two.h\"\n#include <stdio.h>\n"
      "static _Alignas(64) char scratch[ONE_SCRATCH_SIZE + 1];\n"
      "int main(void) {\n"
      "  float x[12] = {1}, p[3], y[6];\n"
      "  int a = one_run(NULL, &(struct one_in){x}, &(struct one_out){p}, scratch);\n"
      "  int b = two_run(NULL, &(struct two_in){x, 2}, &(struct two_out){y}, NULL);\n"
      "  printf(\"%d %d %.3f %g\\n\", a, b, p[0] + p[1] + p[2], y[0]);\n"
      "  return one_query(1) == two_query(1);\n}\n";
  static const char two[] =
      "graph two(%x: f32[N,3]) -> (%y: f32[N,3]) {\n  %y: f32[N,3] = add %x, %x\n  return %y\n}\n";
  Module *first = module_new("one.tn"), *second = module_new("two.tn");
  char folder[TEMPORARY_SIZE], path[TEMPORARY_SIZE + 8];
  Target target;
  CHECK(temporary_folder(folder) && module_parse_text(first, mlp, sizeof mlp - 1, NULL) &&
        module_parse_text(second, two, sizeof two - 1, NULL));
  if (CHECK(target_describe(first, NULL, NULL, &target)) &&
      CHECK(emit_object(first, &target, folder, "one")) &&
      CHECK(emit_object(second, &target, folder, "two"))) {
    snprintf(path, sizeof path, "%s/main.c", folder);
    FILE *out = fopen(path, "w");
    fputs(program, out);
    fclose(out);
    CHECK_STRING(
        output_of("cd $(dirname %s) && gcc -std=c11 -Wall main.c one.o two.o -o both 2>&1 && ./both", path),
        "0 0 1.000 2\n");
  }
  output_of("rm -r %s", folder);
  module_free(first);
  module_free(second);
}

/* No aarch64 machine here: the library is made, and its parts are what they should be. */
TEST(cross_compiling) {
  Module *module = module_new("cross.tn");
  char folder[TEMPORARY_SIZE], path[TEMPORARY_SIZE + 8];
  Target target = {0};
  CHECK(temporary_folder(folder) && module_parse_text(module, symbolic, sizeof symbolic - 1, NULL));
  snprintf(path, sizeof path, "%s/net.so", folder);
  if (CHECK(target_describe(module, "aarch64-linux-gnu", "cortex-a76", &target))) {
    CodegenOptions options = {.target = target, .name = "net", .source = "cross.tn"};
    CHECK(codegen_emit(module->main, &options, EMIT_SO, path, NULL));
    CHECK_STRING(output_of("readelf -h %s | grep -c AArch64", path), "1\n");
    CHECK_STRING(output_of("readelf -d %s | grep NEEDED | sed 's/.*\\[//;s/\\]//' | tr '\\n' ' '", path),
                 "libc.so.6 ");
  }
  diags_print(module, stdout, 5);
  unlink(path);
  rmdir(folder);
  module_free(module);
}

TEST(bad_requests) {
  Module *module = module_new("bad.tn");
  Target target = {0};
  CHECK(!target_describe(module, NULL, "pentium-9", &target));
  CHECK(!target_describe(module, "vax-unknown-vms", NULL, &target));
  CHECK(target_describe(module, NULL, NULL, &target));
  const char text[] = "graph g(%x: f32[2*N]) -> (%y: f32[2*N]) {\n  %y: f32[2*N] = relu %x\n  return %y\n}\n";
  CHECK(module_parse_text(module, text, sizeof text - 1, NULL));
  int errors = module->error_count;
  CodegenOptions options = {.target = target, .name = "g", .source = "bad.tn"};
  CHECK(
      !codegen_emit(module->main, &options, EMIT_SO, "never.so", NULL)); /* N cannot be read from an input */
  options.name = "not a name";
  CHECK(!codegen_emit(module->main, &options, EMIT_SO, "never.so", NULL));
  CHECK_INT(module->error_count, errors + 2);
  module_free(module);
}

int main(void) {
  RUN(static_graph);
  RUN(symbolic_graph);
  RUN(outputs_that_nothing_computes);
  RUN(odd_shapes_and_dtypes);
  RUN(typed_call);
  RUN(state);
  RUN(state_of_a_wrong_plan);
  RUN(library_table);
  RUN(session_errors);
  RUN(broadcast_guard);
  RUN(profile);
  RUN(threads);
  RUN(exports_and_needs);
  RUN(same_bytes_again);
  RUN(parts);
  RUN(header_compiles);
  RUN(lesser_cpu_is_refused);
  RUN(only_kernels_use_the_target);
  RUN(older_cpus_run);
  RUN(objects_of_two_models);
  RUN(cross_compiling);
  RUN(bad_requests);
  return tests_finish();
}
