/* embedded.c -- the table of what was embedded; the arrays are made at build time. */
#include "runtime/embedded.h"

/* X(part, arch, caller) for each row of RUNTIME_PARTS. */
#define PARTS(X, arch)                                                                                       \
  X(cpu, arch, NULL)                                                                                         \
  X(run, arch, NULL)                                                                                         \
  X(states, arch, NULL)                                                                                      \
  X(session, arch, NULL)                                                                                     \
  X(threads, arch, NULL)                                                                                     \
  X(items, arch, NULL)                                                                                       \
  X(strings, arch, "tenon_item_string_")                                                                     \
  X(hash, arch, "tenon_item_string_hash")                                                                    \
  X(text, arch, "tenon_item_string_")                                                                        \
  X(regex, arch, "tenon_item_string_")                                                                       \
  X(image, arch, "tenon_item_image_")                                                                        \
  X(dynamic, arch, NULL)

#define DECLARE_PART(part, arch, caller)                                                                     \
  extern const unsigned char bitcode_##part##_##arch[];                                                      \
  extern const size_t bitcode_##part##_##arch##_size;
#define PART(part, arch, caller) {{bitcode_##part##_##arch, &bitcode_##part##_##arch##_size}, caller},
#define DECLARE_FAMILY(arch)                                                                                 \
  PARTS(DECLARE_PART, arch)                                                                                  \
  extern const unsigned char bitcode_kernels_##arch[], archive_##arch[], stub_c_##arch[], stub_m_##arch[];   \
  extern const size_t bitcode_kernels_##arch##_size, archive_##arch##_size, stub_c_##arch##_size,            \
      stub_m_##arch##_size;
#define FAMILY(family)                                                                                       \
  {                                                                                                          \
    .arch = #family, .parts = {PARTS(PART, family)},                                                         \
    .kernels = {bitcode_kernels_##family, &bitcode_kernels_##family##_size},                                 \
    .archive = {archive_##family, &archive_##family##_size},                                                 \
    .libc = {stub_c_##family, &stub_c_##family##_size}, .libm = {                                            \
      stub_m_##family,                                                                                       \
      &stub_m_##family##_size                                                                                \
    }                                                                                                        \
  }

DECLARE_FAMILY(x86_64)
DECLARE_FAMILY(aarch64)

const RuntimeFamily runtime_families[] = {FAMILY(x86_64), FAMILY(aarch64)};
const int runtime_family_count = sizeof runtime_families / sizeof runtime_families[0];
