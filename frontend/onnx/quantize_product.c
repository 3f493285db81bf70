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

/* ---- com.microsoft */

static bool import_any_qlinear_conv(OnnxNode *node) {
  if (!attr_bool(node, "channels_last", false)) return import_qlinear_conv(node);
  return import_channels_last(node, import_qlinear_conv);
}

/* An i32 product as floats of the type of the scales, with a bias or none. */
static bool set_scaled(OnnxNode *node, Value *product, Value *a_scale, Value *b_scale, Value *bias) {
  if (!product || !a_scale || !b_scale) return false;
  Value *factor =
      emit_binary(node, &op_mul, emit_cast(node, a_scale, DTYPE_F32), emit_cast(node, b_scale, DTYPE_F32));
  Value *y = emit_binary(node, &op_mul, emit_cast(node, product, DTYPE_F32), factor);
  if (bias) y = emit_binary(node, &op_add, y, emit_cast(node, bias, DTYPE_F32));
  return set_output(node, emit_cast(node, y, a_scale->type->dtype));
}

static bool import_matmul_integer_to_float(OnnxNode *node) {
  Value *a_scale = input_scalar(node, 2, "a_scale"), *a_zero = input_scalar(node, 4, "a_zero_point");
  if (!a_scale || (input(node, 4) && !a_zero)) return false;
  Value *a = emit_centered(node, input(node, 0), a_zero, 0);
  Value *b = emit_centered(node, input(node, 1), input(node, 5), 0);
  return set_scaled(node, emit_binary(node, &op_matmul, a, b), a_scale, along(node, input(node, 3), 0),
                    input(node, 6));
}

static bool import_dynamic_quantize_matmul(OnnxNode *node) {
  Value *scale = NULL, *zero = NULL;
  Value *quantized = build_dynamic_quantize(&node->builder, input(node, 0), &scale, &zero);
  Value *a = emit_centered(node, quantized, zero, 0);
  Value *b = emit_centered(node, input(node, 1), input(node, 3), 0);
  return set_scaled(node, emit_binary(node, &op_matmul, a, b), scale, along(node, input(node, 2), 0),
                    input(node, 4));
}

static Value *transposed_if(OnnxNode *node, Value *x, const char *flag) {
  if (!x || !attr_bool(node, flag, false)) return x;
  if (x->type->rank == 2) return emit_transpose(node, x, (int64_t[]){1, 0});
  onnx_fail(node, "%s of %s", flag, type_text(node->module, x->type));
  return NULL;
}

/* alpha * (A - a_zero) (B - b_zero) + C in i32, scaled; quantized if the output has a scale. */
static bool import_qgemm(OnnxNode *node) {
  Value *a_scale = input_scalar(node, 1, "a_scale"), *a_zero = input_scalar(node, 2, "a_zero_point");
  if (!a_scale || !a_zero) return false;
  Value *a = emit_centered(node, transposed_if(node, input(node, 0), "transA"), a_zero, 0);
  Value *b = emit_centered(node, transposed_if(node, input(node, 3), "transB"), input(node, 5), 0);
  Value *product = emit_binary(node, &op_matmul, a, b), *y_scale = input_scalar(node, 7, "y_scale");
  if (input(node, 6)) product = emit_binary(node, &op_add, product, input(node, 6));
  Value *factor = emit_binary(node, &op_mul, a_scale, along(node, input(node, 4), 0));
  factor = emit_binary(node, &op_mul, factor, emit_scalar(node, a_scale, attr_float(node, "alpha", 1)));
  if (y_scale) factor = emit_binary(node, &op_div, factor, y_scale);
  Value *y = emit_binary(node, &op_mul, emit_cast(node, product, DTYPE_F32), factor);
  if (!input(node, 7)) return set_output(node, y);
  Value *zero = input_scalar(node, 8, "y_zero_point");
  if (!y || !y_scale || (input(node, 8) && !zero)) return false;
  return set_output(
      node, emit_quantized(node, y, zero, zero ? zero->type->dtype : input(node, 0)->type->dtype, true));
}

static bool import_matmul_integer_16(OnnxNode *node) {
  bool is_signed = false;
  for (int i = 0; i < 2; i++) is_signed |= dtype_is_signed_int(input(node, i)->type->dtype);
  Value *a = emit_cast(node, input(node, 0), is_signed ? DTYPE_I32 : DTYPE_U32);
  Value *b = emit_cast(node, input(node, 1), is_signed ? DTYPE_I32 : DTYPE_U32);
  return set_output(node, emit_binary(node, &op_matmul, a, b));
}

static const OnnxRow rows[] = {
    {"ConvInteger", 10, 2, 4, import_conv_integer, NULL},
    {"MatMulInteger", 10, 2, 4, import_matmul_integer, NULL},
    {"QLinearConv", 10, 8, 9, import_qlinear_conv, NULL},
    {"QLinearMatMul", 10, 8, 8, import_qlinear_matmul, NULL},
    {"com.microsoft.DynamicQuantizeMatMul", 1, 3, 5, import_dynamic_quantize_matmul, NULL},
    {"com.microsoft.MatMulInteger16", 1, 2, 2, import_matmul_integer_16, NULL},
    {"com.microsoft.MatMulIntegerToFloat", 1, 4, 7, import_matmul_integer_to_float, NULL},
    {"com.microsoft.QGemm", 1, 6, 9, import_qgemm, NULL},
    {"com.microsoft.QLinearConv", 1, 8, 9, import_any_qlinear_conv, NULL},
};

const OnnxRows onnx_quantize_product = {rows, COUNT_OF(rows)};
