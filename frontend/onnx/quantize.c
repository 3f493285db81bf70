/*
 * quantize.c -- ONNX quantization as quantize and dequantize: scales and zero points brought to shapes that
 * broadcast, quotients of another precision than f32 written out before quantize.
 */
#include "frontend/onnx/quantize.h"

#include <string.h>

/* ---- Blocks and axes */

Value *emit_repeat_blocks(OnnxNode *node, Value *x, int axis, int64_t size, const Dim *full) {
  if (!x || size == 1) return x;
  const Dim *dims[MAX_RANK + 1], *starts[MAX_RANK];
  int64_t steps[MAX_RANK];
  Module *module = node->module;
  int rank = x->type->rank;
  if (rank == MAX_RANK) return emit_reshape(node, x, MAX_RANK + 1, NULL);
  const Dim *blocks = x->type->dims[axis], *repeated = dim_mul(module, blocks, dim_const(module, size));
  for (int i = 0; i <= rank; i++) dims[i] = x->type->dims[i > axis ? i - 1 : i];
  dims[axis + 1] = dim_const(module, 1);
  Value *spread = emit_reshape(node, x, rank + 1, dims);
  dims[axis + 1] = dim_const(module, size);
  spread = emit_broadcast(node, spread, type_make(module, x->type->dtype, rank + 1, dims));
  for (int i = 0; i < rank; i++) {
    dims[i] = x->type->dims[i];
    starts[i] = dim_const(module, 0);
    steps[i] = 1;
  }
  dims[axis] = repeated;
  spread = emit_reshape(node, spread, rank, dims);
  dims[axis] = full;
  return repeated == full ? spread : emit_slice(node, spread, starts, dims, steps);
}

static Value *along_blocks(OnnxNode *node, Value *parameter, int axis, int64_t size) {
  const Type *x = input(node, 0)->type, *own = parameter->type;
  const Dim *blocks = dim_ceildiv(node->module, x->dims[axis], dim_const(node->module, size));
  bool fits = own->rank == x->rank &&
              !(dim_is_const(blocks) && dim_is_const(own->dims[axis]) && blocks != own->dims[axis]);
  if (fits) return emit_repeat_blocks(node, parameter, axis, size, x->dims[axis]);
  onnx_fail(node, "%s for blocks of %lld along axis %d of %s", type_text(node->module, own), (long long)size,
            axis, type_text(node->module, x));
  return NULL;
}

/* Scale or zero point: one number, one per entry of `axis`, or one per block of it. NULL with an error when
 * they do not fit x. */
static Value *along_axis(OnnxNode *node, Value *parameter) {
  const Type *type = input(node, 0)->type;
  int64_t axis = attr_int(node, "axis", 1), block = attr_int(node, "block_size", 0);
  if (!parameter || parameter->type->rank == 0) return parameter;
  if (block < 0) return onnx_fail(node, "block_size is %lld", (long long)block), NULL;
  if (block == 0 && parameter->type->rank == 1 && dim_is(parameter->type->dims[0], 1))
    return emit_reshape(node, parameter, 0, NULL);
  if (!normal_axis(node, &axis, type->rank)) return NULL;
  if (block > 0) return along_blocks(node, parameter, (int)axis, block);
  if (parameter->type->rank == 1) return emit_unsqueeze(node, parameter, 0, type->rank - 1 - (int)axis);
  onnx_fail(node, "scales and zero points are %s, without a block_size",
            type_text(node->module, parameter->type));
  return NULL;
}

/* An element type from an attribute that may be absent or 0. */
static bool attr_dtype(OnnxNode *node, const char *name, Dtype absent, Dtype *dtype) {
  int64_t number = attr_int(node, name, 0);
  *dtype = number == 0 ? absent : dtype_of_onnx(number);
  return *dtype != DTYPE_NONE ||
         onnx_fail(node, "%s is %lld, no known element type", name, (long long)number);
}

/* ---- Dequantize */

Value *emit_dequantize(OnnxNode *node, Value *x, Value *scale, Value *zero, Dtype dtype) {
  if (!x || !scale) return NULL;
  scale = emit_cast(node, scale, DTYPE_F32);
  if (!dtype_is_int(x->type->dtype)) zero = NULL;
  return scale ? emit_cast(node, emit(node, &op_dequantize, (Value *[]){x, scale, zero}, 3), dtype) : NULL;
}

static bool import_dequantize(OnnxNode *node) {
  Value *scale = along_axis(node, input(node, 1)), *zero = along_axis(node, input(node, 2));
  Dtype dtype;
  if (!scale || (input(node, 2) && !zero)) return false;
  TRY(attr_dtype(node, "output_dtype", scale->type->dtype, &dtype));
  if (dtype_is_storage(dtype) || !dtype_is_float(dtype))
    return onnx_fail(node, "the result would be %s: output_dtype must say otherwise", dtype_name(dtype));
  return set_output(node, emit_dequantize(node, input(node, 0), scale, zero, dtype));
}

/* ---- Quantize */

static Value *quantize(OnnxNode *node, Value *x, Value *scale, Value *zero, Dtype dtype) {
  return x ? build_quantize(&node->builder, x, scale, zero, dtype) : NULL;
}

Value *emit_quantized(OnnxNode *node, Value *x, Value *zero, Dtype dtype, bool saturate) {
  int bits = dtype_bits(dtype);
  if (dtype_is_float(dtype) && bits <= 8 && dtype != DTYPE_F8E8M0)
    return emit_rounded_cast(node, x, dtype, saturate, "up");
  if (!dtype_is_int(dtype) || bits > 16) {
    onnx_fail(node, "quantization to %s is not supported", dtype_name(dtype));
    return NULL;
  }
  return quantize(node, x, NULL, zero, dtype);
}

Value *emit_quantize(OnnxNode *node, Value *x, Value *scale, Value *zero, Dtype dtype) {
  bool plain = x && scale && dtype_is_int(dtype) && dtype_bits(dtype) <= 16 && x->type->dtype == DTYPE_F32 &&
               scale->type->dtype == DTYPE_F32;
  if (plain) return quantize(node, x, scale, zero, dtype);
  return emit_quantized(node, emit_binary(node, &op_div, x, scale), zero, dtype, true);
}

static bool import_quantize(OnnxNode *node) {
  Value *scale = along_axis(node, input(node, 1)), *zero = along_axis(node, input(node, 2));
  Dtype dtype, precision;
  if (!scale || (input(node, 2) && !zero)) return false;
  Dtype own = scale->type->dtype; /* what is divided in when the model does not say */
  if (dtype_is_storage(own) || !dtype_is_float(own)) own = DTYPE_F32;
  TRY(attr_dtype(node, "output_dtype", zero ? zero->type->dtype : DTYPE_U8, &dtype));
  TRY(attr_dtype(node, "precision", own, &precision));
  if (zero && zero->type->dtype != dtype)
    return onnx_fail(node, "output_dtype is %s, but the zero point is %s", dtype_name(dtype),
                     dtype_name(zero->type->dtype));
  Value *x = emit_cast(node, input(node, 0), precision);
  scale = emit_cast(node, scale, precision);
  if (dtype_is_int(dtype)) return set_output(node, emit_quantize(node, x, scale, zero, dtype));
  x = emit_binary(node, &op_div, x, scale);
  return set_output(node, emit_quantized(node, x, zero, dtype, attr_bool(node, "saturate", true)));
}

/* ---- With a scale of its own */

static bool import_dynamic_quantize(OnnxNode *node) {
  Value *scale = NULL, *zero = NULL;
  Value *y = build_dynamic_quantize(&node->builder, input(node, 0), &scale, &zero);
  if (node->output_count > 1) node->outputs[1] = scale;
  if (node->output_count > 2) node->outputs[2] = zero;
  return set_output(node, y);
}

static const OnnxRow rows[] = {
    {"DequantizeLinear", 10, 2, 3, import_dequantize, NULL},
    {"DynamicQuantizeLinear", 11, 1, 1, import_dynamic_quantize, NULL},
    {"QuantizeLinear", 10, 2, 3, import_quantize, NULL},
    {"com.microsoft.DequantizeLinear", 1, 2, 3, import_dequantize, NULL},
    {"com.microsoft.QuantizeLinear", 1, 2, 3, import_quantize, NULL},
};

const OnnxRows onnx_quantize = {rows, COUNT_OF(rows)};
