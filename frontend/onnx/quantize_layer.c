/*
 * quantize_layer.c -- com.microsoft's layers with quantized weights: the layer itself, on dequantized ones.
 */
#include "frontend/onnx/quantize.h"

/* Input `x` with the scale at input `scale` and the zero point at input `zero`, both along the last axis or
 * single. */
static Value *real(OnnxNode *node, int x, int scale, int zero) {
  if (!input(node, x) || !input(node, scale)) {
    onnx_fail(node, "input %d is missing, or its scale, input %d", x, scale);
    return NULL;
  }
  return emit_dequantize(node, input(node, x), input(node, scale), input(node, zero), DTYPE_F32);
}

static bool import_attention(OnnxNode *node) {
  enum { INPUT, WEIGHT, BIAS, INPUT_SCALE, WEIGHT_SCALE, MASK, INPUT_ZERO, WEIGHT_ZERO, PAST };
  Value *x = real(node, INPUT, INPUT_SCALE, INPUT_ZERO), *w = real(node, WEIGHT, WEIGHT_SCALE, WEIGHT_ZERO);
  if (!x || !w) return false;
  Value *inputs[] = {x, w, input(node, BIAS), input(node, MASK), input(node, PAST)};
  return import_as(node, "com.microsoft.Attention", 1, inputs, COUNT_OF(inputs));
}

/* Tables, gamma and beta, inputs 2 to 6, have scales at 8 to 12 and zero points at 13 to 17. */
static bool import_embed_layer_norm(OnnxNode *node) {
  enum { WORDS = 2, BETA = 6, MASK, SCALES, ZEROS = 13 };
  Value *inputs[MASK + 1] = {input(node, 0), input(node, 1)};
  for (int i = WORDS; i <= BETA; i++) {
    int at = i - WORDS;
    if (input(node, i)) TRY(inputs[i] = real(node, i, SCALES + at, ZEROS + at));
  }
  inputs[MASK] = input(node, MASK);
  return import_as(node, "com.microsoft.EmbedLayerNormalization", 1, inputs, COUNT_OF(inputs));
}

static const OnnxRow rows[] = {
    {"com.microsoft.QAttention", 1, 5, 9, import_attention, NULL},
    {"com.microsoft.QEmbedLayerNormalization", 1, 1, 18, import_embed_layer_norm, NULL},
};

const OnnxRows onnx_quantize_layer = {rows, COUNT_OF(rows)};
