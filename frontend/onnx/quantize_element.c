/*
 * quantize_element.c -- com.microsoft's operators on quantized tensors that compute in f32: each operand is
 * three inputs (elements, scale, zero point), is dequantized, goes through the operator of ai.onnx that the
 * row names, and the result is quantized.
 */
#include "frontend/onnx/quantize.h"
#include "frontend/onnx/window.h"

enum { ELEMENTWISE_OPSET = 14 }; /* of the operators that rows stand for */

/* Operand `index`, an input and the scale and zero point behind it. */
static Value *dequantized(OnnxNode *node, int index) {
  Value *scale = input_scalar(node, index + 1, "a scale"),
        *zero = input_scalar(node, index + 2, "a zero point");
  if (!input(node, index) || !input(node, index + 1))
    onnx_fail(node, "operand %d has no elements or no scale", index);
  if (!input(node, index) || !scale || (input(node, index + 2) && !zero)) return NULL;
  return emit_dequantize(node, input(node, index), scale, zero, DTYPE_F32);
}

/* With the scale and zero point at inputs `index` and `index` + 1, in the type of that or of input 0. */
static bool set_quantized(OnnxNode *node, Value *y, int index) {
  Value *scale = input_scalar(node, index, "a scale"), *zero = input_scalar(node, index + 1, "a zero point");
  if (y && !input(node, index)) return onnx_fail(node, "the result has no scale");
  if (!y || !scale || (input(node, index + 1) && !zero)) return false;
  Dtype dtype = (zero ? zero : input(node, 0))->type->dtype;
  return set_output(node, emit_quantize(node, y, scale, zero, dtype));
}

static bool import_through(OnnxNode *node, const char *op, int64_t opset, int operands) {
  Value *real[2] = {NULL};
  for (int i = 0; i < operands; i++) TRY(real[i] = dequantized(node, 3 * i));
  return import_as(node, op, opset, real, operands) && set_quantized(node, node->outputs[0], 3 * operands);
}

static bool import_add(OnnxNode *node) {
  return import_through(node, "Add", ELEMENTWISE_OPSET, 2);
}

static bool import_leaky_relu(OnnxNode *node) {
  return import_through(node, "LeakyRelu", ELEMENTWISE_OPSET, 1);
}

static bool import_sigmoid(OnnxNode *node) {
  return import_through(node, "Sigmoid", ELEMENTWISE_OPSET, 1);
}

static bool import_reduce_mean(OnnxNode *node) {
  return import_through(node, "ReduceMean", ELEMENTWISE_OPSET, 1);
}

/* `opset` is that of the Softmax it was made of. */
static bool import_softmax(OnnxNode *node) {
  return import_through(node, "Softmax", attr_int(node, "opset", 13), 1);
}

/* The integers' product is exact, and scaled once. */
static bool import_mul(OnnxNode *node) {
  Value *factors[2], *scales[3];
  for (int i = 0; i < 3; i++) {
    int at = i == 2 ? 6 : 3 * i + 1;
    if (!input(node, at)) return onnx_fail(node, "input %d, a scale, is missing", at);
    TRY(scales[i] = input_scalar(node, at, "a scale"));
  }
  for (int i = 0; i < 2; i++) {
    Value *zero = input_scalar(node, 3 * i + 2, "a zero point");
    if (!input(node, 3 * i)) return onnx_fail(node, "input %d is missing", 3 * i);
    if (input(node, 3 * i + 2) && !zero) return false;
    factors[i] = emit_cast(node, emit_centered(node, input(node, 3 * i), zero, 0), DTYPE_F32);
  }
  Value *factor = emit_binary(node, &op_div, emit_binary(node, &op_mul, scales[0], scales[1]), scales[2]);
  Value *y = emit_binary(node, &op_mul, emit_binary(node, &op_mul, factors[0], factors[1]), factor);
  Value *zero = input_scalar(node, 7, "a zero point");
  if (!y || (input(node, 7) && !zero)) return false;
  return set_output(node, emit_quantized(node, y, zero, input(node, 0)->type->dtype, true));
}

/* ---- Pools */

static bool import_average_pool(OnnxNode *node) {
  return import_through(node, "AveragePool", 19, 1);
}

static bool import_global_average_pool(OnnxNode *node) {
  return import_through(node, "GlobalAveragePool", ELEMENTWISE_OPSET, 1);
}

static bool import_either_layout(OnnxNode *node, bool (*import)(OnnxNode *node)) {
  return attr_bool(node, "channels_last", false) ? import_channels_last(node, import) : import(node);
}

static bool import_any_average_pool(OnnxNode *node) {
  return import_either_layout(node, import_average_pool);
}

static bool import_any_global_average_pool(OnnxNode *node) {
  return import_either_layout(node, import_global_average_pool);
}

/* ---- Others */

/* The result's scale and zero point come first. */
static bool import_concat(OnnxNode *node) {
  int count = (node->input_count - 2) / 3;
  if (node->input_count % 3 != 2)
    return onnx_fail(node, "%d inputs are no tensors in threes", node->input_count - 2);
  Value **parts = NEW_ARRAY(node->module->arena, Value *, count);
  for (int i = 0; i < count; i++) TRY(parts[i] = dequantized(node, 2 + 3 * i));
  return import_as(node, "Concat", ELEMENTWISE_OPSET, parts, count) &&
         set_quantized(node, node->outputs[0], 0);
}

static bool import_where(OnnxNode *node) {
  Value *x = dequantized(node, 1), *y = dequantized(node, 4);
  return x && y && set_quantized(node, emit_where(node, input(node, 0), x, y), 7);
}

/* ---- On integers, which stay exact */

static bool import_mul_integer(OnnxNode *node) {
  Value *factors[2];
  for (int i = 0; i < 2; i++) {
    Value *zero = input_scalar(node, 2 * i + 1, "a zero point");
    if (!input(node, 2 * i)) return onnx_fail(node, "input %d is missing", 2 * i);
    if (input(node, 2 * i + 1) && !zero) return false;
    factors[i] = emit_centered(node, input(node, 2 * i), zero, 0);
  }
  return set_output(node, emit_binary(node, &op_mul, factors[0], factors[1]));
}

static bool import_reduce_sum_integer(OnnxNode *node) {
  Dtype dtype = dtype_is_signed_int(input(node, 0)->type->dtype) ? DTYPE_I32 : DTYPE_U32;
  Value *x = emit_cast(node, input(node, 0), dtype);
  return x && import_as(node, "ReduceSum", 11, &x, 1);
}

static const OnnxRow rows[] = {
    {"com.microsoft.MulInteger", 1, 1, 4, import_mul_integer, NULL},
    {"com.microsoft.QLinearAdd", 1, 2, 8, import_add, NULL},
    {"com.microsoft.QLinearAveragePool", 1, 2, 5, import_any_average_pool, NULL},
    {"com.microsoft.QLinearConcat", 1, 3, -1, import_concat, NULL},
    {"com.microsoft.QLinearGlobalAveragePool", 1, 5, 5, import_any_global_average_pool, NULL},
    {"com.microsoft.QLinearLeakyRelu", 1, 2, 5, import_leaky_relu, NULL},
    {"com.microsoft.QLinearMul", 1, 2, 8, import_mul, NULL},
    {"com.microsoft.QLinearReduceMean", 1, 2, 5, import_reduce_mean, NULL},
    {"com.microsoft.QLinearSigmoid", 1, 2, 5, import_sigmoid, NULL},
    {"com.microsoft.QLinearSoftmax", 1, 2, 5, import_softmax, NULL},
    {"com.microsoft.QLinearWhere", 1, 9, 9, import_where, NULL},
    {"com.microsoft.ReduceSumInteger", 1, 1, 1, import_reduce_sum_integer, NULL},
};

const OnnxRows onnx_quantize_element = {rows, COUNT_OF(rows)};
