/* products.c -- matrix products. */
#include "tests/checkop/checkop.h"

void add_gemm(Check *check, int64_t m, int64_t k, int64_t n, bool bias, bool relu) {
  Value *operands[3] = {input(check, 2, (int64_t[]){m, k}), weight(check, 2, (int64_t[]){k, n}),
                        bias ? weight(check, 1, (int64_t[]){n}) : NULL};
  Value *y = build_op(&check->builder, &op_gemm, operands, bias ? 3 : 2);
  if (relu) y = build_unary(&check->builder, &op_relu, y);
  done(check, y,
       NAME("gemm_m%d_k%d_n%d%s%s", (int)m, (int)k, (int)n, bias ? "_bias" : "", relu ? "_relu" : ""));
}

void gemm_cases(Check *check) {
  const int64_t ms[] = {1, 2, 7, 13, 14, 15, 29, 64}, ks[] = {1, 3, 33},
                ns[] = {1, 8, 15, 16, 17, 24, 33, 100};
  for (int i = 0; i < COUNT_OF(ms); i++) {
    for (int j = 0; j < COUNT_OF(ks); j++) {
      for (int l = 0; l < COUNT_OF(ns); l++)
        add_gemm(check, ms[i], ks[j], ns[l], (i + j + l) % 2, (i + l) % 3 == 0);
    }
  }
  add_gemm(check, 128, 1024, 48, true, false);
  for (int m = 1; m <= 5; m++)
    add_gemm(check, m, 517, 283, m % 2, m == 3); /* weights beyond L2: few rows wait for them */
}

/* y = a*b with batches as in attention, scaled; and gemm of two inputs. */
void matmul_cases(Check *check) {
  const struct {
    int64_t a[4], b[4];
  } cases[] = {{{1, 2, 13, 7}, {1, 2, 7, 33}},     {{2, 3, 29, 64}, {2, 3, 64, 16}},
               {{1, 4, 1, 5}, {1, 4, 5, 100}},     {{3, 1, 14, 8}, {1, 2, 8, 1}},
               {{2, 1, OPEN, 8}, {2, 1, 8, OPEN}}, {{1, 2, 9, OPEN}, {1, 2, OPEN, 31}},
               {{1, 3, 128, 32}, {1, 3, 32, 128}}};
  for (int i = 0; i < COUNT_OF(cases); i++) {
    Value *operands[2] = {input(check, 4, cases[i].a), input(check, 4, cases[i].b)};
    Value *y = build_op(&check->builder, &op_matmul, operands, 2);
    done(check, y ? build_unary(&check->builder, &op_tanh, y) : NULL, NAME("matmul_%d", i));
  }
  const int64_t sizes[][3] = {{1, 3, 17}, {14, 40, 64}, {31, 5, 15}, {OPEN, 6, 33}, {7, OPEN, 20}};
  for (int i = 0; i < COUNT_OF(sizes); i++) {
    for (int variant = 0; variant < 8; variant++) {
      bool trans_a = variant & 1, trans_b = variant & 2, rows = variant & 4;
      const int64_t *s = sizes[i];
      Value *operands[3] = {input(check, 2, (int64_t[]){s[trans_a], s[!trans_a]}),
                            input(check, 2, (int64_t[]){s[1 + trans_b], s[2 - trans_b]}),
                            input(check, 2, (int64_t[]){rows ? s[0] : 1, s[2]})};
      Node *node = node_new(&check->builder, &op_gemm, operands, 3);
      node_set_bool(node, "trans_a", trans_a);
      node_set_bool(node, "trans_b", trans_b);
      done(check, node_finish(node) ? result(node, 0) : NULL, NAME("gemm_inputs_%d_%d", i, variant));
    }
  }
}
