/*
 * math.c -- the polynomials against libm in f64: how many units in the last place are they off, over all
 * exponents?
 */
#include "tests/codegen/compile.h"

#include <math.h>
#include <time.h>

enum { COUNT = 1 << 12 };

typedef struct Case {
  Opcode op;
  const char *name;
  double (*truth)(double);
  double ulp; /* allowed */
} Case;

static const Case cases[] = {
    {LOOP_EXP, "exp", exp, 2}, {LOOP_LOG, "log", log, 2}, {LOOP_TANH, "tanh", tanh, 2},
    {LOOP_ERF, "erf", erf, 2}, {LOOP_SIN, "sin", sin, 2}, {LOOP_COS, "cos", cos, 2},
};

/* y[i] = op(x[i]) over COUNT elements. */
static Kernel *unary_kernel(Module *module, const char *name, Opcode op, int lanes) {
  const Dim *dims[] = {dim_const(module, COUNT)};
  Kernel *kernel = kernel_new(module, name);
  Buffer *x = kernel_add_param(kernel, BUFFER_IN, "x", DTYPE_F32, 1, dims, NULL, 0);
  Buffer *y = kernel_add_param(kernel, BUFFER_OUT, "y", DTYPE_F32, 1, dims, NULL, 0);
  Loops loops = loops_in(kernel);
  For i = loop_for(&loops, loop_int(&loops, 0), loop_int(&loops, COUNT), lanes, 0, NULL);
  loop_store(&loops, loop_unary(&loops, op, loop_load(&loops, x, &i.counter, lanes, NULL)), y, &i.counter,
             NULL);
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

/* Special values first, then all exponents with random fractions and signs, then a dense piece of the middle.
 */
static void fill(uint64_t *random, int round) {
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
  for (int i = 0; i < COUNT; i++) {
    uint64_t r = next_random(random);
    xs[i] = float_of((uint32_t)(r & 0x807fffff) | (uint32_t)(i % 256) << 23);
    if (round % 2) xs[i] = (float)((double)(int64_t)r * 0x1p-63 * (round % 4 == 1 ? 100 : 4));
    if (round == 0 && i < COUNT_OF(special)) xs[i] = special[i];
  }
}

static double worst_unary(const Loaded *loaded, const char *name, const Case *c) {
  uint64_t random = 88172645463325252u;
  double worst = 0;
  for (int round = 0; round < 60; round++) {
    void *args[] = {xs, ys};
    fill(&random, round);
    call_kernel(loaded, name, args, 2, NULL);
    for (int i = 0; i < COUNT; i++) {
      double error = ulp_error(ys[i], c->truth(xs[i]));
      if (error > worst && error > c->ulp)
        printf("%s(%a) = %a, not %a\n", name, (double)xs[i], (double)ys[i], c->truth(xs[i]));
      if (error > worst) worst = error;
    }
  }
  return worst;
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

static void check_functions(const char *cpu) {
  Module *module = module_new("math");
  Target target;
  Loaded loaded;
  Kernel *kernels[2 * COUNT_OF(cases)];
  char names[2 * COUNT_OF(cases)][16];
  for (int i = 0; i < 2 * COUNT_OF(cases); i++) {
    int lanes = i % 2 ? 16 : 1;
    snprintf(names[i], sizeof names[i], "t_%s%d", cases[i / 2].name, lanes);
    kernels[i] = unary_kernel(module, names[i], cases[i / 2].op, lanes);
  }
  if (CHECK(target_describe(module, NULL, cpu, &target)) &&
      CHECK(load_kernels(module, &target, kernels, COUNT_OF(kernels), false, &loaded))) {
    for (int i = 0; i < COUNT_OF(kernels); i++) {
      double worst = worst_unary(&loaded, names[i], &cases[i / 2]);
      printf("%s %s: %.2f ulp, %.2f ns per element\n", target.cpu, names[i], worst,
             time_unary(&loaded, names[i]));
      CHECK(worst <= cases[i / 2].ulp);
    }
    unload(&loaded);
  }
  module_free(module);
}

TEST(host) {
  check_functions(NULL);
}

TEST(oldest_cpu) {
  check_functions("x86-64");
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

int main(void) {
  RUN(host);
  RUN(oldest_cpu);
  RUN(pow);
  return tests_finish();
}
