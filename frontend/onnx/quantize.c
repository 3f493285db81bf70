/*
 * quantize.c -- ONNX quantization, written out in float arithmetic:
 *   quantize:   cast(clip(round(x / scale) + zero_point))      dequantize: (x - zero_point) * scale
 * Products of quantized matrices are exact: in i32, rescaled at the end.
 */
#include "frontend/onnx/window.h"

#include <math.h>

/* Scale and zero point: one number, or one per entry of `axis`. NULL with an error when they do not fit x. */
static Value *along_axis(OnnxNode *node, Value *parameter) {
  const Type *type = input(node, 0)->type;
  if (!parameter || parameter->type->rank == 0) return parameter;
  if (parameter->type->rank > 1 || attr_int(node, "block_size", 0) != 0) {
    onnx_fail(node, "blocked quantization is not supported");
    return NULL;
  }
  if (dim_is(parameter->type->dims[0], 1)) return emit_reshape(node, parameter, 0, NULL);
  int64_t axis = attr_int(node, "axis", 1);
  if (!normal_axis(node, &axis, type->rank)) return NULL;
  return emit_unsqueeze(node, parameter, 0, type->rank - 1 - (int)axis);
}

static bool import_dequantize(OnnxNode *node) {
  Value *scale = along_axis(node, input(node, 1)), *zero = along_axis(node, input(node, 2));
  if (!scale || (input(node, 2) && !zero)) return false;
  Value *x = emit_cast(node, input(node, 0), scale->type->dtype);
  if (zero) x = emit_binary(node, &op_sub, x, emit_cast(node, zero, scale->type->dtype));
  return set_output(node, emit_binary(node, &op_mul, x, scale));
}

/* round(x / scale) + zero_point, saturated to an integer type of at most 16 bits. */
static Value *quantize(OnnxNode *node, Value *x, Value *scale, Value *zero, Dtype dtype) {
  int bits = dtype_bits(dtype);
  bool is_signed = dtype_is_signed_int(dtype);
  if (!dtype_is_int(dtype) || bits > 16) {
    onnx_fail(node, "quantization to %s is not supported", dtype_name(dtype));
    return NULL;
  }
  Value *q = emit_unary(node, &op_round, emit_binary(node, &op_div, x, scale));
  if (q && zero) q = emit_binary(node, &op_add, q, emit_cast(node, zero, q->type->dtype));
  Value *low = emit_scalar(node, q, is_signed ? -exp2(bits - 1) : 0);
  Value *high = emit_scalar(node, q, exp2(is_signed ? bits - 1 : bits) - 1);
  if (!low || !high) return NULL;
  return emit_cast(node, emit(node, &op_clip, (Value *[]){q, low, high}, 3), dtype);
}

static bool import_quantize(OnnxNode *node) {
  Value *scale = along_axis(node, input(node, 1)), *zero = along_axis(node, input(node, 2));
  if (!scale || (input(node, 2) && !zero)) return false;
  Dtype dtype = zero                              ? zero->type->dtype
                : attr_find(node, "output_dtype") ? dtype_of_onnx(attr_int(node, "output_dtype", 0))
                                                  : DTYPE_U8;
  Value *x = emit_cast(node, input(node, 0), scale->type->dtype);
  return x && set_output(node, quantize(node, x, scale, zero, dtype));
}

static Value *reduce_all(OnnxNode *node, const Op *op, Value *x) {
  int64_t axes[MAX_RANK];
  for (int i = 0; i < x->type->rank; i++) axes[i] = i;
  return emit_reshape(node, x->type->rank ? emit_reduce(node, op, x, axes, x->type->rank) : x, 0, NULL);
}

/* To u8, over the range of x with 0 in it; an x of zeros alone gets scale 1. */
static bool import_dynamic_quantize(OnnxNode *node) {
  Value *x = input(node, 0), *nothing = emit_scalar(node, x, 0);
  Value *low = emit_binary(node, &op_min, reduce_all(node, &op_reduce_min, x), nothing);
  Value *high = emit_binary(node, &op_max, reduce_all(node, &op_reduce_max, x), nothing);
  Value *step = emit_binary(node, &op_div, emit_binary(node, &op_sub, high, low), emit_scalar(node, x, 255));
  Value *is_zero = emit_binary(node, &op_equal, step, nothing), *one = emit_scalar(node, x, 1);
  if (!is_zero || !one) return false;
  Value *scale = emit(node, &op_where, (Value *[]){is_zero, one, step}, 3);
  Value *negative = emit_unary(node, &op_neg, low);
  if (!scale || !negative) return false;
  Value *zero = quantize(node, negative, scale, NULL, DTYPE_U8);
  if (node->output_count > 1) node->outputs[1] = scale;
  if (node->output_count > 2) node->outputs[2] = zero;
  return zero && set_output(node, quantize(node, x, scale, zero, DTYPE_U8));
}

/* ---- Integer products */

/* x - zero_point in i32. A list of zero points or scales lies along the axis `after` places before the last.
 */
static Value *centered(OnnxNode *node, Value *x, Value *zero, int after) {
  x = emit_cast(node, x, DTYPE_I32);
  if (!zero) return x;
  if (zero->type->rank == 1) zero = emit_unsqueeze(node, zero, 0, after);
  return emit_binary(node, &op_sub, x, emit_cast(node, zero, DTYPE_I32));
}

static bool import_matmul_integer(OnnxNode *node) {
  Value *a = centered(node, input(node, 0), input(node, 2), 1);
  Value *b = centered(node, input(node, 1), input(node, 3), 0);
  return set_output(node, emit_binary(node, &op_matmul, a, b));
}

/* The zero point of x is one number, so that padding, which is 0 here, stands for it. */
static bool import_conv_integer(OnnxNode *node) {
  Value *x = centered(node, input(node, 0), input(node, 2), 0);
  Value *w = centered(node, input(node, 1), input(node, 3), input_rank(node, 1) - 1);
  return set_output(node, emit_conv(node, x, w, NULL));
}

/* An i32 product as the output's integers: inputs 1 and 4 scale the factors, 6 and 7 are of the output. */
static bool requantize(OnnxNode *node, Value *product, int after) {
  Value *scales[] = {input(node, 1), input(node, 4), input(node, 6)}, *zero = input(node, 7);
  const int places[] = {after ? 0 : 1, after, 0}; /* rows of a, columns of b */
  for (int i = 0; i < 3; i++) {
    if (scales[i]->type->rank == 1) scales[i] = emit_unsqueeze(node, scales[i], 0, places[i]);
    scales[i] = emit_cast(node, scales[i], DTYPE_F32);
  }
  if (zero->type->rank == 1 && dim_is(zero->type->dims[0], 1)) zero = emit_reshape(node, zero, 0, NULL);
  Value *factor = emit_binary(node, &op_mul, scales[0], scales[1]);
  Value *y = emit_binary(node, &op_mul, emit_cast(node, product, DTYPE_F32), factor);
  return y && zero && scales[2] && set_output(node, quantize(node, y, scales[2], zero, zero->type->dtype));
}

static bool import_qlinear_matmul(OnnxNode *node) {
  Value *a = centered(node, input(node, 0), input(node, 2), 1);
  Value *b = centered(node, input(node, 3), input(node, 5), 0);
  return requantize(node, emit_binary(node, &op_matmul, a, b), 0);
}

static bool import_qlinear_conv(OnnxNode *node) {
  int rank = input_rank(node, 3);
  Value *x = centered(node, input(node, 0), input(node, 2), 0);
  Value *w = centered(node, input(node, 3), input(node, 5), rank - 1);
  return requantize(node, emit_conv(node, x, w, input(node, 8)), rank - 2);
}

static const OnnxRow rows[] = {
    {"ConvInteger", 10, 2, 4, import_conv_integer, NULL},
    {"DequantizeLinear", 10, 2, 3, import_dequantize, NULL},
    {"DynamicQuantizeLinear", 11, 1, 1, import_dynamic_quantize, NULL},
    {"MatMulInteger", 10, 2, 4, import_matmul_integer, NULL},
    {"QLinearConv", 10, 8, 9, import_qlinear_conv, NULL},
    {"QLinearMatMul", 10, 8, 8, import_qlinear_matmul, NULL},
    {"QuantizeLinear", 10, 2, 3, import_quantize, NULL},
};

const OnnxRows onnx_quantize = {rows, COUNT_OF(rows)};
