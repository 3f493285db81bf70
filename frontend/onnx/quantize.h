/*
 * quantize.h -- quantization, written out in float arithmetic, which the files of quantized operators share:
 *
 *   quantize.c           QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear, and these functions
 *   quantize_product.c   integer products of matrices and convolutions, rescaled at the end
 *   quantize_element.c   com.microsoft's QLinear operators: dequantized, computed, quantized
 *   quantize_block.c     weights of a few bits with scales by block
 *   quantize_layer.c     com.microsoft's quantized layers
 */
#ifndef TENON_FRONTEND_ONNX_QUANTIZE_H
#define TENON_FRONTEND_ONNX_QUANTIZE_H

#include "frontend/onnx/onnx.h"

/* (x - zero) * scale in f32, then as `dtype`; zero may be NULL. Scale and zero broadcast with x. */
Value *emit_dequantize(OnnxNode *node, Value *x, Value *scale, Value *zero, Dtype dtype);
/* x, which was divided by its scale: round(x) + zero, saturated to an integer type of at most 16 bits; or x
 * cast to an 8- or 4-bit float, which has no zero point. */
Value *emit_quantized(OnnxNode *node, Value *x, Value *zero, Dtype dtype, bool saturate);
/* The same of x / scale. */
Value *emit_quantize(OnnxNode *node, Value *x, Value *scale, Value *zero, Dtype dtype);
/* A value per block of `size` along `axis`, repeated for each of the `full` elements there. */
Value *emit_repeat_blocks(OnnxNode *node, Value *x, int axis, int64_t size, const Dim *full);
/* Bytes as elements of 2, 4 or 8 bits along the last axis, which becomes longer: of a constant u2 or u4, else
 * u8. */
Value *emit_unpacked(OnnxNode *node, Value *x, int64_t bits);
/* x - zero in i32, exactly. A list of zero points lies along the axis `after` places before the last; NULL:
 * 0. */
Value *emit_centered(OnnxNode *node, Value *x, Value *zero, int after);

#endif
