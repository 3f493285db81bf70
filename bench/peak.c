/*
 * peak.c -- the machine's f32 multiply-add peak, the ceiling that every share in the table refers to.
 *
 * Sixteen independent chains of multiply-adds on registers: more than latency x throughput of any x86-64 core
 * needs (4 x 2), and what 16 registers of AVX2 hold (12 are used there). The values stay finite, and are
 * handed out at the end, so that nothing is folded away.
 */
#include "bench/peak.h"

#include <stdbool.h>

enum { STEPS = 100000, TRIES = 60 };

#if defined(__x86_64__)
#include <immintrin.h>

enum { CHAINS_512 = 16, CHAINS_256 = 12 };

__attribute__((target("avx512f"))) static float run_512(void) {
  const __m512 scale = _mm512_set1_ps(0.999f), shift = _mm512_set1_ps(0.001f);
  __m512 chain[CHAINS_512];
  for (int i = 0; i < CHAINS_512; i++) chain[i] = _mm512_set1_ps((float)i);
  for (int step = 0; step < STEPS; step++)
    for (int i = 0; i < CHAINS_512; i++) chain[i] = _mm512_fmadd_ps(chain[i], scale, shift);
  for (int i = 1; i < CHAINS_512; i++) chain[0] = _mm512_add_ps(chain[0], chain[i]);
  return _mm512_reduce_add_ps(chain[0]);
}

__attribute__((target("avx2,fma"))) static float run_256(void) {
  const __m256 scale = _mm256_set1_ps(0.999f), shift = _mm256_set1_ps(0.001f);
  __m256 chain[CHAINS_256];
  for (int i = 0; i < CHAINS_256; i++) chain[i] = _mm256_set1_ps((float)i);
  for (int step = 0; step < STEPS; step++)
    for (int i = 0; i < CHAINS_256; i++) chain[i] = _mm256_fmadd_ps(chain[i], scale, shift);
  for (int i = 1; i < CHAINS_256; i++) chain[0] = _mm256_add_ps(chain[0], chain[i]);
  return _mm256_cvtss_f32(chain[0]);
}

typedef struct Kernel {
  const char *isa;
  float (*run)(void);
  double flops; /* of one call */
} Kernel;

static Kernel best_kernel(void) {
  if (__builtin_cpu_supports("avx512f")) return (Kernel){"avx512f", run_512, 2.0 * 16 * CHAINS_512 * STEPS};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return (Kernel){"fma", run_256, 2.0 * 8 * CHAINS_256 * STEPS};
  return (Kernel){"", 0, 0};
}

double peak_gflops(double (*clock)(void)) {
  const Kernel kernel = best_kernel();
  double best = 0;
  volatile float sink = 0;
  for (int i = 0; kernel.run && i < TRIES; i++) {
    double start = clock();
    sink = sink + kernel.run();
    double seconds = clock() - start;
    if (seconds > 0 && kernel.flops / seconds * 1e-9 > best) best = kernel.flops / seconds * 1e-9;
  }
  return best;
}

const char *peak_isa(void) {
  return best_kernel().isa;
}

#else

double peak_gflops(double (*clock)(void)) {
  (void)clock;
  return 0;
}

const char *peak_isa(void) {
  return "";
}

#endif
