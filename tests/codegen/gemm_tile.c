/*
 * gemm_tile.c -- the inner kernel of a matrix product, built by hand: is the code that comes out as good as
 * the machine?
 *
 * C[14][32] += A[14][K] * B[K][32] in f32 on 512-bit vectors: 28 accumulators stay in registers, two hold B,
 * and A is broadcast from memory by the multiply-add itself. Spills would show as stores to the stack.
 */
#include "tests/codegen/compile.h"

#include <time.h>

enum { ROWS = 14, LANES = 16, PANELS = 2, K = 256 };

static Kernel *build_tile(Module *module) {
  const Dim *a_dims[] = {dim_const(module, ROWS), dim_const(module, K)};
  const Dim *b_dims[] = {dim_const(module, K), dim_const(module, PANELS * LANES)};
  const Dim *c_dims[] = {dim_const(module, ROWS), dim_const(module, PANELS * LANES)};
  Kernel *kernel = kernel_new(module, "tile");
  Buffer *a = kernel_add_param(kernel, BUFFER_IN, "a", DTYPE_F32, 2, a_dims, NULL, 0);
  Buffer *b = kernel_add_param(kernel, BUFFER_IN, "b", DTYPE_F32, 2, b_dims, NULL, 0);
  Buffer *c = kernel_add_param(kernel, BUFFER_OUT, "c", DTYPE_F32, 2, c_dims, NULL, 0);
  Loops loops = loops_in(kernel);
  Reg *sums[ROWS * PANELS], *next[ROWS * PANELS], *panels[PANELS];
  for (int i = 0; i < ROWS * PANELS; i++) sums[i] = loop_const(&loops, (LoopType){DTYPE_F32, LANES}, 0);
  For k = loop_for(&loops, loop_int(&loops, 0), loop_int(&loops, K), 1, ROWS * PANELS, sums);
  for (int p = 0; p < PANELS; p++) {
    Reg *at[] = {k.counter, loop_int(&loops, p * LANES)};
    panels[p] = loop_load(&loops, b, at, LANES, NULL);
  }
  for (int row = 0; row < ROWS; row++) {
    Reg *at[] = {loop_int(&loops, row), k.counter};
    Reg *value = loop_splat(&loops, loop_load(&loops, a, at, 1, NULL), LANES);
    for (int p = 0; p < PANELS; p++)
      next[row * PANELS + p] = loop_fma(&loops, value, panels[p], k.carried[row * PANELS + p]);
  }
  loop_end(&loops, &k, next);
  for (int row = 0; row < ROWS; row++)
    for (int p = 0; p < PANELS; p++) {
      Reg *at[] = {loop_int(&loops, row), loop_int(&loops, p * LANES)};
      loop_store(&loops, k.results[row * PANELS + p], c, at, NULL);
    }
  return kernel;
}

/* The machine's peak: twelve independent chains of multiply-adds. */
static Kernel *build_peak(Module *module) {
  enum { CHAINS = 24 };
  const Dim *dims[] = {dim_const(module, CHAINS * LANES)};
  Kernel *kernel = kernel_new(module, "peak");
  Buffer *c = kernel_add_param(kernel, BUFFER_INOUT, "c", DTYPE_F32, 1, dims, NULL, 0);
  Loops loops = loops_in(kernel);
  Reg *sums[CHAINS], *next[CHAINS], *zero[] = {loop_int(&loops, 0)};
  Reg *x = loop_load(&loops, c, zero, LANES, NULL);
  for (int i = 0; i < CHAINS; i++) sums[i] = loop_const(&loops, (LoopType){DTYPE_F32, LANES}, 0);
  For k = loop_for(&loops, zero[0], loop_int(&loops, 1 << 16), 1, CHAINS, sums);
  for (int i = 0; i < CHAINS; i++) next[i] = loop_fma(&loops, x, x, k.carried[i]);
  loop_end(&loops, &k, next);
  for (int i = 0; i < CHAINS; i++) {
    Reg *at[] = {loop_int(&loops, i * LANES)};
    loop_store(&loops, k.results[i], c, at, NULL);
  }
  return kernel;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Best seconds of several runs of `repeat` calls. */
static double best_time(const Loaded *loaded, const char *name, void *const *args, int count, int repeat) {
  double best = 1e9;
  for (int run = 0; run < 20; run++) {
    double start = now();
    for (int i = 0; i < repeat; i++) call_kernel(loaded, name, args, count, NULL);
    double time = (now() - start) / repeat;
    if (time < best) best = time;
  }
  return best;
}

static int count_stack_accesses(const char *assembly) {
  int count = 0;
  for (const char *at = assembly; (at = strstr(at, "(%rsp)")); at++) count++;
  return count;
}

static float a[ROWS][K], b[K][PANELS * LANES], c[ROWS][PANELS * LANES], chains[24 * LANES];

TEST(gemm_tile) {
  Module *module = module_new("gemm_tile");
  Target target;
  Loaded loaded;
  if (!CHECK(target_describe(module, NULL, NULL, &target))) return;
  Kernel *kernels[] = {build_tile(module), build_peak(module)};
  for (int i = 0; i < ROWS; i++)
    for (int k = 0; k < K; k++) a[i][k] = (float)((i * 7 + k * 3) % 11 - 5);
  for (int k = 0; k < K; k++)
    for (int j = 0; j < PANELS * LANES; j++) b[k][j] = (float)((k * 5 + j) % 13 - 6);
  if (CHECK(load_kernels(module, &target, kernels, 2, true, &loaded))) {
    void *args[] = {a, b, c}, *peak_args[] = {chains};
    CHECK(call_kernel(&loaded, "tile", args, 3, NULL));
    for (int i = 0; i < ROWS; i++)
      for (int j = 0; j < PANELS * LANES; j++) {
        float sum = 0;
        for (int k = 0; k < K; k++) sum += a[i][k] * b[k][j];
        CHECK_NEAR(c[i][j], sum, 0); /* small integers: exact */
      }
    if (target.vector_bytes == 64) CHECK_INT(count_stack_accesses(loaded.assembly), 0);
    double tile = 2.0 * ROWS * K * PANELS * LANES / best_time(&loaded, "tile", args, 3, 200) * 1e-9;
    double peak = 2.0 * 24 * LANES * (1 << 16) / best_time(&loaded, "peak", peak_args, 1, 1) * 1e-9;
    printf("tile %.1f GF/s, peak %.1f GF/s, %.0f %%\n", tile, peak, 100 * tile / peak);
    if (getenv("TENON_TEST_ASM")) puts(loaded.assembly);
  }
  unload(&loaded);
  module_free(module);
}

int main(void) {
  RUN(gemm_tile);
  return tests_finish();
}
