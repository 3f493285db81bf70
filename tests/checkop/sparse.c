/* sparse.c -- weights with zeros. */
#include "tests/checkop/checkop.h"

static void quartet_cases(Check *check) {
  check->halves = true;
  const int64_t ms[] = {1, 2, 3, 13, OPEN}, ks[] = {3, 30, 64, 97}, ns[] = {1, 16, 33, 100};
  for (int i = 0; i < COUNT_OF(ms); i++)
    for (int j = 0; j < COUNT_OF(ns); j++)
      add_gemm(check, ms[i], ks[(i + j) % COUNT_OF(ks)], ns[j], (i + j) % 2, (i + j) % 3 == 0);
  add_half_gemm(check, DTYPE_F16, true, 2, 37, 40);
}

void sparse_cases(Check *check) {
  check->zeros = 0.85;
  const int64_t ms[] = {1, 13, 29, OPEN}, ks[] = {33, 128}, ns[] = {16, 24, 33, 100};
  for (int i = 0; i < COUNT_OF(ms) * COUNT_OF(ks); i++)
    for (int j = 0; j < COUNT_OF(ns); j++)
      add_gemm(check, ms[i / 2], ks[i % 2], ns[j], (i + j) % 2, (i + j) % 3 == 0);
  static const ConvCase cases[] = {
      {1, 8, 15, 16, 33, 1, 1, 1, 1, 0, 1}, {2, 9, 13, 16, 48, 3, 3, 2, 1, 1, 1},
      {1, 9, 9, 32, 16, 3, 3, 1, 2, 2, 1},  {1, 6, 31, 20, 48, 2, 2, 2, 1, 0, 1},
      {1, 9, 9, 16, 20, 1, 1, 2, 1, 0, 1},  {1, 11, 12, 24, 20, 3, 4, 1, 3, 4, 1},
      {1, 9, 10, 40, 50, 3, 5, 1, 1, 2, 2}, {1, 14, 15, 4, 40, 5, 5, 1, 1, 2, 1}};
  for (int i = 0; i < COUNT_OF(cases); i++) {
    add_conv(check, &cases[i], i % 2, i % 3 == 0);
    add_integer_conv(check, &cases[i], i % 3);
    add_half_conv(check, i % 2 ? DTYPE_BF16 : DTYPE_F16, true, &cases[i]);
  }
  add_integer_gemm(check, 14, 130, 100, 1);
  add_integer_gemm(check, 1, 64, 33, 0);
  add_half_gemm(check, DTYPE_BF16, true, 29, 64, 33);
  add_half_gemm(check, DTYPE_F16, true, OPEN, 64, 33);
  check->zeros = 1;
  add_gemm(check, 3, 40, 33, true, false);
  add_conv(check, &cases[0], true, false);
  check->zeros = 0.85;
  check->single = true;
  const int64_t rows[] = {16, 31, 77, OPEN}, depths[] = {40, 130};
  for (int i = 0; i < COUNT_OF(rows); i++)
    for (int j = 0; j < COUNT_OF(ns); j++) add_gemm(check, rows[i], depths[j % 2], ns[j], (i + j) % 2, i % 2);
  static const ConvCase pointwise[] = {{1, 8, 17, 16, 33, 1, 1, 1, 1, 0, 1},
                                       {2, 9, 19, 36, 16, 1, 1, 1, 1, 0, 1},
                                       {1, OPEN, 17, 32, 24, 1, 1, 1, 1, 0, 1},
                                       {2, 3, OPEN, 32, 24, 1, 1, 1, 1, 0, 1}};
  for (int i = 0; i < COUNT_OF(pointwise); i++) {
    add_conv(check, &pointwise[i], i % 2, false);
    if (i < 2) add_conv(check, &pointwise[i], !(i % 2), true);
  }
  check->single = false;
  quartet_cases(check);
}
