/* random.h -- seeded random tensors, the same on every machine. */
#ifndef ORACLE_RANDOM_H
#define ORACLE_RANDOM_H

#include "ir/ir.h"

/* splitmix64 (Steele, Lea, Flood 2014). */
static inline uint64_t random_next(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

/* Floats uniform in [-1,1), whole numbers in [low,high). */
static inline void random_fill(Tensor *tensor, uint64_t *state, int64_t low, int64_t high) {
  bool is_float = dtype_is_float(tensor->dtype);
  for (int64_t i = 0; i < tensor_count(tensor); i++) {
    uint64_t bits = random_next(state);
    double real = (double)(bits >> 11) / (double)(1ull << 52) - 1;
    int64_t whole = low + (int64_t)(bits % (uint64_t)(high - low));
    dtype_set(tensor->dtype, tensor->data, i, is_float ? real : (double)whole);
  }
}

#endif
