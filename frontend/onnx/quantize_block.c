/*
 * quantize_block.c -- weights of 2, 4 or 8 bits with a scale for each block, as language models have them.
 *
 * Elements below a byte lie in bytes, the first in the low bits, which is how tenon's own types lie: a
 * constant is the same bytes under another type, and stays as small in the library. Bytes that are computed
 * are taken apart by division.
 */
#include "frontend/onnx/quantize.h"

typedef struct Blocks {
  int64_t rows, columns, bits, size,
      count; /* of the weights [rows][columns]; elements of a block; blocks of a row */
} Blocks;

/* x[.., n] of bytes as [.., n, 8/bits], as u8: divided down and cut off. */
static Value *taken_apart(OnnxNode *node, Value *x, int bits) {
  Value *parts[4];
  int count = 8 / bits;
  for (int i = 0; i < count; i++) {
    Value *low = emit_binary(node, &op_div, x, emit_scalar(node, x, 1 << (i * bits)));
    low = emit_binary(node, &op_bitwise_and, low, emit_scalar(node, x, (1 << bits) - 1));
    parts[i] = emit_unsqueeze(node, low, 0, 1);
    if (!parts[i]) return NULL;
  }
  Node *concat = node_new(&node->builder, &op_concat, parts, count);
  node_set_int(concat, "axis", -1);
  return finish(concat);
}

static Value *same_bytes(OnnxNode *node, Value *x, Dtype dtype, const Type *type) {
  const Data *bytes = value_data(x);
  Data *data =
      data_borrow(node->module, dtype, type_static_count(type), bytes->bytes, bytes->size, NULL, NULL);
  data->name = bytes->name;
  return build_const(&node->builder, type_with_dtype(node->module, type, dtype), data, x->name);
}

Value *emit_unpacked(OnnxNode *node, Value *x, int64_t bits) {
  static const Dtype dtypes[] = {[2] = DTYPE_U2, [4] = DTYPE_U4};
  if (!x || bits == 8) return x;
  const Dim *dims[MAX_RANK];
  int rank = x->type->rank;
  for (int i = 0; i < rank; i++) dims[i] = x->type->dims[i];
  dims[rank - 1] = dim_mul(node->module, dims[rank - 1], dim_const(node->module, 8 / bits));
  const Type *type = type_make(node->module, DTYPE_U8, rank, dims);
  if (value_data(x) && !value_data(x)->splat && type_static_count(type) >= 0)
    return same_bytes(node, x, dtypes[bits], type);
  return emit_reshape(node, taken_apart(node, x, (int)bits), rank, dims);
}

static bool check_bits(OnnxNode *node, int64_t bits) {
  return bits == 2 || bits == 4 || bits == 8 || onnx_fail(node, "weights of %lld bits", (long long)bits);
}

/* The first `size` elements of the last axis. */
static Value *first_of(OnnxNode *node, Value *x, const Dim *size) {
  const Dim *starts[MAX_RANK], *sizes[MAX_RANK];
  int64_t steps[MAX_RANK];
  if (!x || x->type->dims[x->type->rank - 1] == size) return x;
  for (int i = 0; i < x->type->rank; i++) {
    starts[i] = dim_const(node->module, 0);
    sizes[i] = x->type->dims[i];
    steps[i] = 1;
  }
  sizes[x->type->rank - 1] = size;
  return emit_slice(node, x, starts, sizes, steps);
}

/* As [rows][last], whatever the writer's shape is; a constant stays one. */
static Value *as_rows(OnnxNode *node, int index, const char *what, int64_t rows, int64_t last) {
  Value *x = input(node, index);
  const Dim *dims[] = {dim_const(node->module, rows), dim_const(node->module, last)};
  if (!x) return NULL;
  if (type_static_count(x->type) != rows * last) {
    onnx_fail(node, "%s is %s; %lld times %lld elements are wanted", what, type_text(node->module, x->type),
              (long long)rows, (long long)last);
    return NULL;
  }
  if (!value_data(x)) return emit_reshape(node, x, 2, dims);
  return build_const(&node->builder, type_make(node->module, x->type->dtype, 2, dims), value_data(x),
                     x->name);
}

/* ---- MatMulNBits */

static bool read_blocks(OnnxNode *node, Blocks *blocks) {
  blocks->rows = attr_int(node, "N", 0);
  blocks->columns = attr_int(node, "K", 0);
  blocks->bits = attr_int(node, "bits", 4);
  blocks->size = attr_int(node, "block_size", 0);
  TRY(check_bits(node, blocks->bits));
  const int64_t most = INT32_MAX;
  if (blocks->rows < 1 || blocks->columns < 1 || blocks->size < 1 || blocks->rows > most ||
      blocks->columns > most || blocks->size > most || blocks->size * blocks->bits % 8 != 0)
    return onnx_fail(node, "N=%lld, K=%lld, block_size=%lld", (long long)blocks->rows,
                     (long long)blocks->columns, (long long)blocks->size);
  if (attr_int(node, "weight_prepacked", 0) != 0)
    return onnx_fail(node, "weights packed for another program");
  blocks->count = (blocks->columns + blocks->size - 1) / blocks->size;
  return true;
}

/* One number for all, or one per block: [rows][count]. */
static Value *block_zeros(OnnxNode *node, const Blocks *blocks) {
  const Value *zeros = input(node, 3);
  if (!zeros) return build_scalar(&node->builder, DTYPE_F32, (double)(1 << (blocks->bits - 1)));
  if (zeros->type->dtype != DTYPE_U8) return as_rows(node, 3, "zero_points", blocks->rows, blocks->count);
  Value *packed = as_rows(node, 3, "zero_points", blocks->rows, (blocks->count * blocks->bits + 7) / 8);
  return first_of(node, emit_unpacked(node, packed, blocks->bits), dim_const(node->module, blocks->count));
}

static Value *emit_gather(OnnxNode *node, Value *x, Value *indices, int64_t axis) {
  if (!x || !indices) return NULL;
  Node *gather = node_new(&node->builder, &op_gather, (Value *[]){x, indices}, 2);
  node_set_int(gather, "axis", axis);
  return finish(gather);
}

/* g_idx says for each column which block's numbers it has. */
static Value *dequantize_by_index(OnnxNode *node, const Blocks *blocks, Value *q, Value *scales, Value *zeros,
                                  Dtype dtype) {
  const Dim *columns = dim_const(node->module, blocks->columns);
  Value *index = first_of(node, input(node, 4), columns);
  scales = emit_gather(node, scales, index, 1);
  if (zeros && zeros->type->rank == 2) zeros = emit_gather(node, zeros, index, 1);
  return zeros ? emit_dequantize(node, first_of(node, q, columns), scales, zeros, dtype) : NULL;
}

/* [rows][columns] */
static Value *block_weights(OnnxNode *node, const Blocks *blocks, Dtype dtype) {
  int64_t padded = blocks->count * blocks->size;
  Module *module = node->module;
  const Dim *rows = dim_const(module, blocks->rows), *all = dim_const(module, padded);
  Value *q =
      emit_unpacked(node, as_rows(node, 1, "B", blocks->rows, padded * blocks->bits / 8), blocks->bits);
  Value *scales = as_rows(node, 2, "scales", blocks->rows, blocks->count), *zeros = block_zeros(node, blocks);
  if (!q || !scales || !zeros) return NULL;
  if (input(node, 4)) return dequantize_by_index(node, blocks, q, scales, zeros, dtype);
  const Dim *dims[] = {rows, dim_const(module, blocks->count), dim_const(module, blocks->size)};
  if (zeros->type->rank == 2) zeros = emit_unsqueeze(node, zeros, 0, 1);
  Value *w =
      emit_dequantize(node, emit_reshape(node, q, 3, dims), emit_unsqueeze(node, scales, 0, 1), zeros, dtype);
  w = emit_reshape(node, w, 2, (const Dim *[]){rows, all});
  return first_of(node, w, dim_const(module, blocks->columns));
}

/* A * W' + bias */
static bool set_product(OnnxNode *node, Value *w, bool transposed, Value *bias) {
  if (transposed) w = emit_transpose(node, w, (int64_t[]){1, 0});
  Value *y = emit_binary(node, &op_matmul, input(node, 0), w);
  return set_output(node, bias ? emit_binary(node, &op_add, y, bias) : y);
}

static bool import_matmul_nbits(OnnxNode *node) {
  Blocks blocks;
  TRY(read_blocks(node, &blocks));
  return set_product(node, block_weights(node, &blocks, input(node, 0)->type->dtype), true, input(node, 5));
}

/* ---- MatMulBnb4: a table of 16 numbers, times the largest magnitude of a block of the flat weights */

static const float fp4[] = {0,     0x1.555556p-8,  2 / 3.0F,  1,  1 / 3.0F,  0.5F,  1 / 6.0F,  0.25F,
                            -0.0F, -0x1.555556p-8, -2 / 3.0F, -1, -1 / 3.0F, -0.5F, -1 / 6.0F, -0.25F};
static const float nf4[] = {-1,
                            -0.6961928009986877F,
                            -0.5250730514526367F,
                            -0.39491748809814453F,
                            -0.28444138169288635F,
                            -0.18477343022823334F,
                            -0.09105003625154495F,
                            0,
                            0.07958029955625534F,
                            0.16093020141124725F,
                            0.24611230194568634F,
                            0.33791524171829224F,
                            0.44070982933044434F,
                            0.5626170039176941F,
                            0.7229568362236023F,
                            1};

/* The first element of a byte is in its high bits here. */
static Value *swapped_pairs(OnnxNode *node, Value *x, int64_t count) {
  Module *module = node->module;
  const Dim *one = dim_const(module, 1), *two = dim_const(module, 2), *zero = dim_const(module, 0);
  const Dim *dims[] = {dim_const(module, (count + 1) / 2), two},
            *flat = dim_const(module, (count + 1) / 2 * 2);
  x = emit_slice(node, emit_reshape(node, x, 2, dims), (const Dim *[]){zero, one}, dims, (int64_t[]){1, -1});
  return first_of(node, emit_reshape(node, x, 1, &flat), dim_const(module, count));
}

static bool import_matmul_bnb4(OnnxNode *node) {
  int64_t rows = attr_int(node, "N", 0), columns = attr_int(node, "K", 0),
          size = attr_int(node, "block_size", 0), count;
  int64_t kind = attr_int(node, "quant_type", 0), sixteen = 16;
  if (rows < 1 || columns < 1 || size < 1 || __builtin_mul_overflow(rows, columns, &count) ||
      count > INT64_MAX / 8)
    return onnx_fail(node, "N=%lld, K=%lld, block_size=%lld", (long long)rows, (long long)columns,
                     (long long)size);
  if (kind != 0 && kind != 1) return onnx_fail(node, "quant_type is %lld", (long long)kind);
  Value *packed = as_rows(node, 1, "B", 1, (count + 1) / 2),
        *largest = as_rows(node, 2, "absmax", 1, (count + size - 1) / size);
  Value *index = emit_unpacked(node, packed, 4);
  if (!index || !largest) return false;
  const Dim *dims[] = {dim_const(node->module, rows), dim_const(node->module, columns)},
            *all = dim_const(node->module, count);
  const Type *type = type_static(node->module, DTYPE_F32, 1, &sixteen);
  Value *table =
      build_const(&node->builder, type, data_copy(node->module, DTYPE_F32, 16, kind ? nf4 : fp4), NULL);
  Value *w = emit_gather(node, table, emit_cast(node, swapped_pairs(node, index, count), DTYPE_I32), 0);
  Value *factor = emit_reshape(node, emit_repeat_blocks(node, largest, 1, size, all), 1, &all);
  w = emit_binary(node, &op_mul, w, emit_cast(node, factor, DTYPE_F32));
  w = emit_cast(node, emit_reshape(node, w, 2, dims), input(node, 0)->type->dtype);
  return set_product(node, w, attr_bool(node, "transB", true), NULL);
}

/* ---- GatherBlockQuantized */

static const Type *with_dim(OnnxNode *node, const Type *type, Dtype dtype, int axis, const Dim *dim) {
  const Dim *dims[MAX_RANK];
  for (int i = 0; i < type->rank; i++) dims[i] = i == axis ? dim : type->dims[i];
  return type_make(node->module, dtype, type->rank, dims);
}

/* Rows of scales or zero points per block, one per element of what was gathered from the data. They are
 * gathered before they are repeated, unless it is blocks that rows are of. */
static Value *gathered_numbers(OnnxNode *node, Value *x, const Type *data, int64_t gather, int axis,
                               int64_t size) {
  const Dim *full = data->dims[axis],
            *blocks = dim_ceildiv(node->module, full, dim_const(node->module, size));
  if (!x) return NULL;
  x = emit_broadcast(node, x, with_dim(node, data, x->type->dtype, axis, blocks));
  if (gather == axis)
    return emit_gather(node, emit_repeat_blocks(node, x, axis, size, full), input(node, 1), gather);
  int behind = axis > gather ? axis - 1 + input(node, 1)->type->rank : axis;
  return emit_repeat_blocks(node, emit_gather(node, x, input(node, 1), gather), behind, size, full);
}

static bool import_gather_block_quantized(OnnxNode *node) {
  int64_t gather = attr_int(node, "gather_axis", 0), axis = attr_int(node, "quantize_axis", 1);
  int64_t size = attr_int(node, "block_size", 128), bits = attr_int(node, "bits", 4);
  Value *x = input(node, 0), *scales = input(node, 2), *zeros = input(node, 3);
  bool is_packed = x->type->dtype == DTYPE_U8;
  int rank = x->type->rank;
  TRY(check_bits(node, bits) && normal_axis(node, &gather, rank) && normal_axis(node, &axis, rank));
  if (is_packed && axis != rank - 1)
    return onnx_fail(node, "bytes are blocks of the last axis, not of %lld", (long long)axis);
  if (scales->type->rank != rank || (zeros && zeros->type->rank != rank))
    return onnx_fail(node, "scales are %s for data %s", type_text(node->module, scales->type),
                     type_text(node->module, x->type));
  if (is_packed) {
    TRY(x = emit_unpacked(node, x, bits));
    if (zeros) TRY(zeros = first_of(node, emit_unpacked(node, zeros, bits), scales->type->dims[axis]));
    if (!zeros) TRY(zeros = build_scalar(&node->builder, DTYPE_F32, (double)(1 << (bits - 1))));
  }
  const Dim *full = x->type->dims[axis];
  if (size == 0 && dim_is_const(full)) size = full->value > 0 ? full->value : 1;
  if (size < 1) return onnx_fail(node, "block_size is %lld", (long long)size);
  scales = gathered_numbers(node, scales, x->type, gather, (int)axis, size);
  if (zeros && zeros->type->rank > 0)
    TRY(zeros = gathered_numbers(node, zeros, x->type, gather, (int)axis, size));
  x = emit_gather(node, x, input(node, 1), gather);
  return set_output(node, emit_dequantize(node, x, scales, zeros, input(node, 2)->type->dtype));
}

static const OnnxRow rows[] = {
    {"com.microsoft.GatherBlockQuantized", 1, 3, 4, import_gather_block_quantized, NULL},
    {"com.microsoft.MatMulBnb4", 1, 3, 3, import_matmul_bnb4, NULL},
    {"com.microsoft.MatMulNBits", 1, 3, 6, import_matmul_nbits, NULL},
};

const OnnxRows onnx_quantize_block = {rows, COUNT_OF(rows)};
