/* target.c -- what the cost models ask of a machine. */
#include "ir/pass.h"

int target_lanes(const Target *target, Dtype dtype) {
  int bits = dtype_bits(dtype);
  int lanes = bits > 0 ? target->vector_bytes * 8 / bits : 1;
  return lanes > 0 ? lanes : 1;
}
