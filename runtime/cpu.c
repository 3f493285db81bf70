/*
 * cpu.c -- which of the library's kernels can this processor run, if any? Asked once, when a library is
 * prepared or first run.
 *
 * The answer is kept in one word: cpuid costs microseconds in a virtual machine. It is the only memory that a
 * library writes beside what its caller gives it, and every thread writes the same value.
 */
#include "model.h"

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

/* Those of `wanted` that this processor has. */
static uint64_t find_features(uint64_t wanted) {
  uint64_t found = 0;
  uint32_t saved = saved_registers();
  for (uint32_t i = 0; i < sizeof cpu_features / sizeof cpu_features[0]; i++)
    if ((wanted >> i & 1) && has_feature(&cpu_features[i], saved)) found |= (uint64_t)1 << i;
  return found;
}
#else
static uint64_t find_features(uint64_t wanted) {
  return wanted;
} /* TODO: getauxval(AT_HWCAP) where a family has optional parts */
#endif

/* The number of the first Cpu that fits, their count when none does. */
static uint64_t find_cpu(void) {
  uint64_t wanted = 0, number = 0;
  for (uint64_t i = 0; i < tenon_model_cpu_count; i++) wanted |= tenon_model_cpus[i].features;
  uint64_t found = find_features(wanted);
  while (number < tenon_model_cpu_count && (tenon_model_cpus[number].features & ~found)) number++;
  return number;
}

const Cpu *tenon_runtime_cpu(void) {
  static uint64_t answer; /* 1 + the number; 0: not yet known */
  uint64_t known = __atomic_load_n(&answer, __ATOMIC_RELAXED);
  if (!known) __atomic_store_n(&answer, known = 1 + find_cpu(), __ATOMIC_RELAXED);
  return known > tenon_model_cpu_count ? NULL : &tenon_model_cpus[known - 1];
}

int tenon_runtime_check_cpu(void) {
  return tenon_runtime_cpu() ? TENON_OK : TENON_ERROR_CPU;
}

const char *tenon_runtime_cpu_name(void) {
  const Cpu *cpu = tenon_runtime_cpu();
  return cpu ? cpu->name : NULL;
}
