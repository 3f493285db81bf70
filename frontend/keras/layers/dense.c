/*
 * dense.c -- Dense: activation(x . kernel + bias) on the last axis.
 */
#include "frontend/keras/keras.h"

/* kernel [in][units], which is how matmul takes it. */
static Value *dense(Call *call) {
  Value *x = call_float_input(call, 0);
  int64_t dims[2] = {-1, 0};
  if (!x || !call_int(call, "units", 0, &dims[1])) return NULL;
  Value *kernel = call_weight(call, "kernel", x, 2, dims);
  Value *y = kernel ? build_binary(call->builder, &op_matmul, x, kernel) : NULL;
  if (y) y = call_bias(call, y, dims[1]);
  return y ? call_activation(call, y) : NULL;
}

const LayerKind dense_layers[] = {
    {"Dense", dense, 1, 1, "kernel bias?use_bias"},
    {0},
};
