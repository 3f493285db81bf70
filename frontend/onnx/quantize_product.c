/*
 * quantize_product.c -- products of quantized matrices and images: exact, in i32, and rescaled at the end.
 *
 * The factor of the result is scale_a * scale_b / scale_y, made once in f32, as in the specification's
 * reference. Products of 8-bit floats are f32.
 */
#include "frontend/onnx/quantize.h"
#include "frontend/onnx/window.h"

/* One number as a scalar; a list along the axis `after` places before the last; what has more axes
 * broadcasts. */
static Value *along(OnnxNode *node, Value *x, int after) {
  if (!x || x->type->rank != 1) return x;
  return dim_is(x->type->dims[0], 1) ? emit_reshape(node, x, 0, NULL) : emit_unsqueeze(node, x, 0, after);
}

Value *emit_centered(OnnxNode *node, Value *x, Value *zero, int after) {
  if (!x) return NULL;
  if (dtype_is_float(x->type->dtype)) return emit_cast(node, x, DTYPE_F32);
  x = emit_cast(node, x, DTYPE_I32);
  if (!zero) return x;
  return emit_binary(node, &op_sub, x, emit_cast(node, along(node, zero, after), DTYPE_I32));
}

static bool import_matmul_integer(OnnxNode *node) {
  Value *a = emit_centered(node, input(node, 0), input(node, 2), 1);
  Value *b = emit_centered(node, input(node, 1), input(node, 3), 0);
  return set_output(node, emit_binary(node, &op_matmul, a, b));
}

/* The zero point of x is one number, so that padding, which is 0 here, stands for it. */
static bool import_conv_integer(OnnxNode *node) {
  Value *x = emit_centered(node, input(node, 0), input(node, 2), 0);
  Value *w = emit_centered(node, input(node, 1), input(node, 3), input_rank(node, 1) - 1);
  return set_output(node, emit_conv(node, x, w, NULL));
}

/* A product as the output's elements: inputs 1 and 4 scale the factors, 6 and 7 are of the output. */
static bool requantize(OnnxNode *node, Value *product, int after) {
  Value *zero = along(node, input(node, 7), after ? 0 : 1),
        *scales[] = {along(node, input(node, 1), after ? 0 : 1), along(node, input(node, 4), after),
                     along(node, input(node, 6), after ? 0 : 1)};
  for (int i = 0; i < 3; i++) scales[i] = emit_cast(node, scales[i], DTYPE_F32);
  Value *factor = emit_binary(node, &op_mul, scales[0], scales[1]);
  factor = emit_binary(node, &op_div, factor, scales[2]);
  Value *y = emit_binary(node, &op_mul, emit_cast(node, product, DTYPE_F32), factor);
  return y && zero && set_output(node, emit_quantized(node, y, zero, zero->type->dtype, true));
}

static bool import_qlinear_matmul(OnnxNode *node) {
  Value *a = emit_centered(node, input(node, 0), input(node, 2), 1);
  Value *b = emit_centered(node, input(node, 3), input(node, 5), 0);
  return requantize(node, emit_binary(node, &op_matmul, a, b), 0);
}

static bool import_qlinear_conv(OnnxNode *node) {
  int rank = input_rank(node, 3);
  Value *x = emit_centered(node, input(node, 0), input(node, 2), 0);
  Value *w = emit_centered(node, input(node, 3), input(node, 5), rank - 1);
  return requantize(node, emit_conv(node, x, w, input(node, 8)), rank - 2);
}

static const OnnxRow rows[] = {
    {"ConvInteger", 10, 2, 4, import_conv_integer, NULL},
    {"MatMulInteger", 10, 2, 4, import_matmul_integer, NULL},
    {"QLinearConv", 10, 8, 9, import_qlinear_conv, NULL},
    {"QLinearMatMul", 10, 8, 8, import_qlinear_matmul, NULL},
};

const OnnxRows onnx_quantize_product = {rows, COUNT_OF(rows)};
