/* peak.h -- what the machine's multiply-add units can do. */
#ifndef BENCH_PEAK_H
#define BENCH_PEAK_H

/* GFLOP/s of f32 multiply-adds on one core, with the widest vectors that this processor has; the best of many
 * short runs in about a tenth of a second, by the given clock (seconds). 0 where it is not known how to
 * measure. */
double peak_gflops(double (*clock)(void));

/* The vectors that it measures with: "avx512f", "fma" or "". */
const char *peak_isa(void);

#endif
