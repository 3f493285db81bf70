/*
 * pack_blocks.c -- the constant weights of gemm_blocks as the words that its kernel reads.
 *
 * Before: q[n,k] of 2 to 8 bits. After: u32[ceil(n/64)][k*bits/32][64], numbers from 0 on of 4 or 8 bits, in
 * each word neighbouring rows of a column from the low bits up; scales and zero points
 * [ceil(n/64)][blocks][64], the zero points moved as the numbers were.
 */
#include "codegen/schedule.h"

enum { Q = 1, SCALE = 3, ZERO = 4, PANEL = 64, WORD = 32 };

/* The bits of a number of at most 8, which never cross a byte. */
static uint32_t number_bits(const Data *data, int64_t index) {
  int bits = dtype_bits(data->dtype);
  int64_t first = data->splat ? 0 : index * bits;
  return ((const uint8_t *)data->bytes)[first / 8] >> first % 8 & ((1u << bits) - 1);
}

/* As a number from 0 on: signed ones are shifted by half of their range. */
static uint32_t number_from_zero(const Data *data, int64_t index) {
  uint32_t half = 1u << (dtype_bits(data->dtype) - 1);
  return number_bits(data, index) ^ (dtype_is_signed_int(data->dtype) ? half : 0);
}

static Value *packed_words(Builder *builder, const Value *q, int bits) {
  Module *module = builder->graph->module;
  int64_t n = q->type->dims[0]->value, k = q->type->dims[1]->value, each = WORD / bits;
  int64_t dims[] = {(n + PANEL - 1) / PANEL, k / each, PANEL};
  const Data *from = value_data(q);
  Data *data = data_new(module, DTYPE_U32, dims[0] * dims[1] * PANEL);
  uint32_t *words = data_bytes(data);
  for (int64_t column = 0; column < n; column++) {
    uint32_t *word = words + column / PANEL * dims[1] * PANEL + column % PANEL;
    for (int64_t row = 0; row < k; row++)
      word[row / each * PANEL] |= number_from_zero(from, column * k + row) << row % each * bits;
  }
  data->name = from->name;
  return build_const(builder, type_static(module, DTYPE_U32, 3, dims), data, NULL);
}

/* [n,blocks] -> [ceil(n/64),blocks,64] */
static Value *in_panels(Builder *builder, Value *x) {
  Module *module = builder->graph->module;
  if (!x || x->type->rank == 0) return x;
  x = pad_to_units(builder, x, 0, PANEL);
  if (!x) return NULL;
  const Dim *panel = dim_const(module, PANEL);
  x = build_reshape(builder, x, 3,
                    (const Dim *[]){dim_floordiv(module, x->type->dims[0], panel), panel, x->type->dims[1]});
  return x ? build_transpose(builder, x, (int64_t[]){0, 2, 1}) : NULL;
}

/* What stands for 0 among the shifted numbers; NULL: 0. */
static Value *shifted_zero(Builder *builder, Value *zero, Dtype dtype) {
  double half = dtype_is_signed_int(dtype) ? 1 << (dtype_bits(dtype) - 1) : 0;
  if (!zero) return half != 0 ? build_scalar(builder, DTYPE_F32, half) : NULL;
  bool fits_byte = dtype_is_unsigned_int(zero->type->dtype) && dtype_bits(zero->type->dtype) <= 8;
  if (half == 0 && fits_byte && zero->type->rank > 0) return build_cast(builder, zero, DTYPE_U8);
  zero = build_cast(builder, zero, DTYPE_F32);
  return half != 0 ? build_binary(builder, &op_add, zero, build_scalar(builder, DTYPE_F32, half)) : zero;
}

bool pack_blocks(Node *node) {
  Value *q = operand(node, Q);
  if (node_int(node, "packed") || !value_data(q)) return false;
  Builder builder = builder_before(node);
  int bits = dtype_bits(q->type->dtype) == 8 ? 8 : 4;
  int64_t k = q->type->dims[1]->value, size = node_int(node, "size"), each = WORD / bits;
  if (k % each != 0 || (size < k && size % each != 0)) return false;
  Value *zero = shifted_zero(&builder, operand(node, ZERO), q->type->dtype);
  Value *words = packed_words(&builder, q, bits), *scale = in_panels(&builder, operand(node, SCALE));
  Value *operands[] = {operand(node, 0), words, operand(node, 2), scale, in_panels(&builder, zero)};
  if (!words || !scale) return false;
  Node *packed = node_new(&builder, &op_gemm_blocks, operands, COUNT_OF(operands));
  node_set_int(packed, "size", size);
  node_set_int(packed, "packed", PANEL);
  node_set_int(packed, "bits", bits);
  node_set_int(packed, "n", q->type->dims[0]->value);
  if (!node_finish(packed)) return false;
  pack_replace(node, result(packed, 0));
  return true;
}
