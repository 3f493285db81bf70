/*
 * math.c -- the polynomials against libm in f64: how many units in the last place are they off?
 *
 * Functions of one argument see every STRIDE-th f32, and with --all every one, which takes a minute or two
 * for each on two cores. One process for each core.
 */
#include "tests/codegen/compile.h"

#include <math.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

enum { COUNT = 1 << 12, STRIDE = 509 /* coprime to 2^32: all exponents, all low bits */, MAX_PROCESSES = 64 };

typedef struct Case {
  const char *name;
  Opcode op; /* LOOP_DIV: 1 / (1 + exp(-x)); LOOP_ADD: 1 + erf(x) */
  double (*truth)(double);
  double ulp;      /* allowed */
  double smallest; /* results nearer to 0 need only be no larger */
  double unit;     /* of the error, in place of that of the last place; 0: that */
} Case;

static double sigmoid(double x) {
  return 1 / (1 + exp(-x));
}

static double one_plus_erf(double x) {
  return 1 + erf(x);
}

static const Case cases[] = {
    {"exp", LOOP_EXP, exp, 1, 0, 0},
    {"log", LOOP_LOG, log, 1, 0, 0},
    {"tanh", LOOP_TANH, tanh, 2, 0, 0},
    {"erf", LOOP_ERF, erf, 2, 0, 0},
    {"sin", LOOP_SIN, sin, 1.6, 0, 0},
    {"cos", LOOP_COS, cos, 1.6, 0, 0},
    {"sigmoid", LOOP_DIV, sigmoid, 2.6, 0x1p-126, 0},
    {"one_plus_erf", LOOP_ADD, one_plus_erf, 3, 0, 0x1p-23},
};

static Reg *apply(Loops *l, Opcode op, Reg *x) {
  Reg *one = loop_const(l, x->type, 1);
  if (op == LOOP_ADD) return loop_binary(l, LOOP_ADD, loop_unary(l, LOOP_ERF, x), one);
  if (op != LOOP_DIV) return loop_unary(l, op, x);
  Reg *e = loop_unary(l, LOOP_EXP, loop_unary(l, LOOP_NEG, x));
  return loop_binary(l, LOOP_DIV, one, loop_binary(l, LOOP_ADD, e, one));
}

/* y[i] = op(x[i]) over COUNT elements. */
static Kernel *unary_kernel(Module *module, const char *name, Opcode op, int lanes) {
  const Dim *dims[] = {dim_const(module, COUNT)};
  Kernel *kernel = kernel_new(module, name);
  Buffer *x = kernel_add_param(kernel, BUFFER_IN, "x", DTYPE_F32, 1, dims, NULL, 0);
  Buffer *y = kernel_add_param(kernel, BUFFER_OUT, "y", DTYPE_F32, 1, dims, NULL, 0);
  Loops loops = loops_in(kernel);
  For i = loop_for(&loops, loop_int(&loops, 0), loop_int(&loops, COUNT), lanes, 0, NULL);
  loop_store(&loops, apply(&loops, op, loop_load(&loops, x, &i.counter, lanes, NULL)), y, &i.counter, NULL);
  loop_end(&loops, &i, NULL);
  return kernel;
}

static Kernel *pow_kernel(Module *module, int lanes) {
  const Dim *dims[] = {dim_const(module, COUNT)};
  Kernel *kernel = kernel_new(module, lanes == 1 ? "pow1" : "pow16");
  Buffer *x = kernel_add_param(kernel, BUFFER_IN, "x", DTYPE_F32, 1, dims, NULL, 0);
  Buffer *y = kernel_add_param(kernel, BUFFER_IN, "y", DTYPE_F32, 1, dims, NULL, 0);
  Buffer *z = kernel_add_param(kernel, BUFFER_OUT, "z", DTYPE_F32, 1, dims, NULL, 0);
  Loops loops = loops_in(kernel);
  For i = loop_for(&loops, loop_int(&loops, 0), loop_int(&loops, COUNT), lanes, 0, NULL);
  Reg *a = loop_load(&loops, x, &i.counter, lanes, NULL), *b = loop_load(&loops, y, &i.counter, lanes, NULL);
  loop_store(&loops, loop_binary(&loops, LOOP_POW, a, b), z, &i.counter, NULL);
  loop_end(&loops, &i, NULL);
  return kernel;
}

/* Distance in units of the last place of the f32 nearest to the truth; 0 when both are NaN or equal. */
static double ulp_error(float got, double truth) {
  if (isnan(got) || isnan(truth)) return isnan(got) && isnan(truth) ? 0 : INFINITY;
  float nearest = (float)truth;
  if (got == nearest) return signbit(got) == signbit(nearest) || truth != 0 ? 0 : INFINITY;
  if (isinf(got) && fabs(truth) > 0x1.fffffep127) return 1;
  int exponent;
  frexp(truth, &exponent);
  double unit = ldexp(1, exponent - 24 < -149 ? -149 : exponent - 24);
  return fabs((double)got - truth) / unit;
}

static uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  return *state ^= *state << 17;
}

static float float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static float xs[COUNT], ys[COUNT], zs[COUNT];

static const float special[] = {0.0f,
                                -0.0f,
                                INFINITY,
                                -INFINITY,
                                NAN,
                                1,
                                -1,
                                0x1p-149f,
                                -0x1p-149f,
                                0x1.fffffep127f,
                                -0x1.fffffep127f,
                                0x1p-126f,
                                88.72283f,
                                88.72284f,
                                -103.972f,
                                -87.3365f,
                                0.625f,
                                0.921875f,
                                2,
                                3,
                                0.5f,
                                -2,
                                -3,
                                1e10f,
                                65536,
                                65537,
                                -4,
                                4};

/* Special values first, then all exponents with random fractions and signs, then a dense piece of the middle.
 */
static void fill(uint64_t *random, int round) {
  for (int i = 0; i < COUNT; i++) {
    uint64_t r = next_random(random);
    xs[i] = float_of((uint32_t)(r & 0x807fffff) | (uint32_t)(i % 256) << 23);
    if (round % 2) xs[i] = (float)((double)(int64_t)r * 0x1p-63 * (round % 4 == 1 ? 100 : 4));
    if (round == 0 && i < COUNT_OF(special)) xs[i] = special[i];
  }
}

/* The largest error, and where. */
typedef struct Worst {
  double ulp;
  float at;
} Worst;

static double case_error(const Case *c, float x, float got) {
  double truth = c->truth(x);
  if (fabs(truth) < c->smallest) return fabsf(got) <= c->smallest ? 0 : INFINITY;
  return c->unit > 0 && !isnan(truth) ? fabs(got - truth) / c->unit : ulp_error(got, truth);
}

/* Blocks `first`, first + step, ... of COUNT numbers each, whose bits are `stride` apart. */
static Worst worst_of_blocks(const Loaded *loaded, const char *name, const Case *c, int64_t stride, int first,
                             int step) {
  Worst worst = {0, 0};
  void *args[] = {xs, ys};
  for (int64_t block = first; block * COUNT * stride < INT64_C(1) << 32; block += step) {
    for (int i = 0; i < COUNT; i++) xs[i] = float_of((uint32_t)((block * COUNT + i) * stride));
    if (block == 0) memcpy(xs, special, sizeof special);
    call_kernel(loaded, name, args, 2, NULL);
    for (int i = 0; i < COUNT; i++) {
      double error = case_error(c, xs[i], ys[i]);
      if (error > worst.ulp) worst = (Worst){error, xs[i]};
    }
  }
  return worst;
}

static Worst worst_unary(const Loaded *loaded, const char *name, const Case *c, int64_t stride) {
  long processes = sysconf(_SC_NPROCESSORS_ONLN);
  if (processes < 1 || processes > MAX_PROCESSES) processes = processes < 1 ? 1 : MAX_PROCESSES;
  Worst *shared =
      mmap(NULL, sizeof(Worst) * MAX_PROCESSES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  Worst worst = {INFINITY, 0};
  if (!CHECK(shared != MAP_FAILED)) return worst;
  for (int p = 0; p < processes; p++) {
    shared[p].ulp = INFINITY; /* until the process has written its answer */
    pid_t child = fork();
    if (child == 0) {
      shared[p] = worst_of_blocks(loaded, name, c, stride, p, (int)processes);
      _exit(0);
    }
    if (child < 0) shared[p] = worst_of_blocks(loaded, name, c, stride, p, (int)processes);
  }
  while (wait(NULL) > 0) continue;
  worst = shared[0];
  for (int p = 1; p < processes; p++)
    if (shared[p].ulp > worst.ulp) worst = shared[p];
  munmap(shared, sizeof(Worst) * MAX_PROCESSES);
  return worst;
}

/* GELU of numbers that are far below 0 is 0, not a large number times an error. */
static void check_tail(const Loaded *loaded) {
  void *args[] = {xs, ys};
  for (int i = 0; i < COUNT; i++) xs[i] = -4 - (float)i * (float)i;
  xs[COUNT - 1] = -INFINITY;
  call_kernel(loaded, "t_one_plus_erf", args, 2, NULL);
  for (int i = 0; i < COUNT; i++) CHECK(ys[i] == 0);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double time_unary(const Loaded *loaded, const char *name) {
  void *args[] = {xs, ys};
  double best = 1e9;
  for (int i = 0; i < COUNT; i++) xs[i] = (float)i * (8.0f / COUNT) - 4;
  for (int i = 0; i < 200; i++) {
    double start = now();
    call_kernel(loaded, name, args, 2, NULL);
    double time = (now() - start) / COUNT;
    if (time < best) best = time;
  }
  return best;
}

static void check_functions(const char *cpu, int64_t stride) {
  Module *module = module_new("math");
  Target target;
  Loaded loaded;
  Kernel *kernels[COUNT_OF(cases)];
  if (!CHECK(target_describe(module, NULL, cpu, &target))) return;
  for (int i = 0; i < COUNT_OF(cases); i++)
    kernels[i] = unary_kernel(module, arena_printf(module->arena, "t_%s", cases[i].name), cases[i].op,
                              target.vector_bytes / 4);
  if (CHECK(load_kernels(module, &target, kernels, COUNT_OF(kernels), false, &loaded))) {
    for (int i = 0; i < COUNT_OF(kernels); i++) {
      Worst worst = worst_unary(&loaded, kernels[i]->name, &cases[i], stride);
      printf("%s %s: %.3f ulp at %a, %.3f ns per element\n", target.cpu, cases[i].name, worst.ulp,
             (double)worst.at, time_unary(&loaded, kernels[i]->name));
      CHECK(worst.ulp <= cases[i].ulp);
    }
    check_tail(&loaded);
    unload(&loaded);
  }
  module_free(module);
}

static int64_t stride = STRIDE;

TEST(host) {
  check_functions(NULL, stride);
}

TEST(avx2) {
  check_functions("x86-64-v3", stride);
}

TEST(oldest_cpu) {
  check_functions("x86-64", 16 * stride + 1);
}

static double worst_pow(const Loaded *loaded, const char *name) {
  uint64_t random = 362436069u;
  double worst = 0;
  for (int round = 0; round < 100; round++) {
    void *args[] = {xs, zs, ys};
    fill(&random, round);
    for (int i = 0; i < COUNT; i++) {
      zs[i] = round % 3 == 0 ? (float)((int)(next_random(&random) % 21) - 10)
                             : (float)((double)(int64_t)next_random(&random) * 0x1p-61);
      if (round == 0) zs[i] = xs[(i / 28 + i) % 28]; /* special values with each other */
      if (round == 0) xs[i] = xs[i % 28];
    }
    call_kernel(loaded, name, args, 3, NULL);
    for (int i = 0; i < COUNT; i++) {
      double truth = pow(xs[i], zs[i]), error = ulp_error(ys[i], truth);
      if (error > worst && error > 1)
        printf("%s(%a, %a) = %a, not %a\n", name, (double)xs[i], (double)zs[i], (double)ys[i], truth);
      if (error > worst) worst = error;
    }
  }
  return worst;
}

TEST(pow) {
  Module *module = module_new("pow");
  Target target;
  Loaded loaded;
  Kernel *kernels[] = {pow_kernel(module, 1), pow_kernel(module, 16)};
  if (CHECK(target_describe(module, NULL, NULL, &target)) &&
      CHECK(load_kernels(module, &target, kernels, 2, false, &loaded))) {
    for (int i = 0; i < 2; i++) {
      double worst = worst_pow(&loaded, kernels[i]->name);
      printf("%s: %.2f ulp\n", kernels[i]->name, worst);
      CHECK(worst <= 1);
    }
    unload(&loaded);
  }
  module_free(module);
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "--all") == 0) stride = 1;
  RUN(host);
  RUN(avx2);
  RUN(oldest_cpu);
  RUN(pow);
  return tests_finish();
}
