/*
 * cpu.c -- may this processor run the library? Asked once, when a library is prepared or first run.
 *
 * The answer is kept in one word: cpuid costs microseconds in a virtual machine. It is the only memory that a
 * library writes beside what its caller gives it, and every thread writes the same value.
 */
#include "model.h"

enum { UNKNOWN, FIT, UNFIT };

#if defined(__x86_64__)
#include <cpuid.h>

enum { EAX, EBX, ECX, EDX };

typedef struct CpuFeature {
  uint32_t leaf, subleaf, reg, bit, os;
} CpuFeature;

static const CpuFeature cpu_features[] = {
#define CPU_FEATURE(name, leaf, subleaf, reg, bit, os) {leaf, subleaf, reg, bit, os},
#include "cpu.def"
#undef CPU_FEATURE
};

/* The register sets that the system saves: XCR0, or 0 when there is no xgetbv. */
static uint32_t saved_registers(void) {
  uint32_t a, b, c, d, low, high;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) return 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

static int has_feature(const CpuFeature *feature, uint32_t saved) {
  uint32_t regs[4];
  if ((saved & feature->os) != feature->os) return 0;
  if (!__get_cpuid_count(feature->leaf, feature->subleaf, &regs[EAX], &regs[EBX], &regs[ECX], &regs[EDX]))
    return 0;
  return regs[feature->reg] >> feature->bit & 1;
}

static int check(void) {
  uint32_t saved = saved_registers();
  for (uint32_t i = 0; i < sizeof cpu_features / sizeof cpu_features[0]; i++)
    if ((tenon_model_cpu_features >> i & 1) && !has_feature(&cpu_features[i], saved)) return UNFIT;
  return FIT;
}
#else
static int check(void) {
  return FIT;
} /* TODO: getauxval(AT_HWCAP) where a family has optional parts */
#endif

int tenon_runtime_check_cpu(void) {
  static int answer;
  int known = __atomic_load_n(&answer, __ATOMIC_RELAXED);
  if (known == UNKNOWN) __atomic_store_n(&answer, known = check(), __ATOMIC_RELAXED);
  return known == FIT ? TENON_OK : TENON_ERROR_CPU;
}
