/* embedded.c -- the table of what was embedded; the arrays are made at build time. */
#include "runtime/embedded.h"

extern const unsigned char bitcode_cpu_x86_64[], bitcode_kernels_x86_64[], bitcode_run_x86_64[],
    bitcode_session_x86_64[], bitcode_threads_x86_64[], stub_c_x86_64[], stub_m_x86_64[];
extern const size_t bitcode_cpu_x86_64_size, bitcode_kernels_x86_64_size, bitcode_run_x86_64_size,
    bitcode_session_x86_64_size, bitcode_threads_x86_64_size, stub_c_x86_64_size, stub_m_x86_64_size;
extern const unsigned char bitcode_cpu_aarch64[], bitcode_kernels_aarch64[], bitcode_run_aarch64[],
    bitcode_session_aarch64[], bitcode_threads_aarch64[], stub_c_aarch64[], stub_m_aarch64[];
extern const size_t bitcode_cpu_aarch64_size, bitcode_kernels_aarch64_size, bitcode_run_aarch64_size,
    bitcode_session_aarch64_size, bitcode_threads_aarch64_size, stub_c_aarch64_size, stub_m_aarch64_size;

const RuntimeFamily runtime_families[] = {
    {"x86_64",
     {{bitcode_cpu_x86_64, &bitcode_cpu_x86_64_size},
      {bitcode_run_x86_64, &bitcode_run_x86_64_size},
      {bitcode_session_x86_64, &bitcode_session_x86_64_size},
      {bitcode_threads_x86_64, &bitcode_threads_x86_64_size}},
     {bitcode_kernels_x86_64, &bitcode_kernels_x86_64_size},
     {stub_c_x86_64, &stub_c_x86_64_size},
     {stub_m_x86_64, &stub_m_x86_64_size}},
    {"aarch64",
     {{bitcode_cpu_aarch64, &bitcode_cpu_aarch64_size},
      {bitcode_run_aarch64, &bitcode_run_aarch64_size},
      {bitcode_session_aarch64, &bitcode_session_aarch64_size},
      {bitcode_threads_aarch64, &bitcode_threads_aarch64_size}},
     {bitcode_kernels_aarch64, &bitcode_kernels_aarch64_size},
     {stub_c_aarch64, &stub_c_aarch64_size},
     {stub_m_aarch64, &stub_m_aarch64_size}},
};
const int runtime_family_count = sizeof runtime_families / sizeof runtime_families[0];
