/* narrow.c -- products of bytes, of 16-bit floats, and with weights of few bits. */
#include "tests/checkop/checkop.h"

#include <math.h>

/* ---- products of bytes: every factor of the epilogues is a power of 2, so that all is exact */

static Value *quantized(Check *check, Value *x, double scale, double zero) {
  Value *operands[] = {x, scale == 1 ? NULL : build_scalar(&check->builder, DTYPE_F32, scale),
                       build_scalar(&check->builder, DTYPE_U8, zero)};
  Node *node = node_new(&check->builder, &op_quantize, operands, 3);
  node_set_dtype(node, "to", DTYPE_U8);
  return node_finish(node) ? result(node, 0) : NULL;
}

/* All of u8; with check->parts columns of a larger one. */
static Value *byte_input(Check *check, int rank, const int64_t *dims) {
  const Type *type = type_with_dtype(check->module, open_shape(check, rank, dims), DTYPE_U8);
  int64_t wide[MAX_RANK];
  for (int i = 0; i < rank; i++) wide[i] = dims[i] + (check->parts && i == rank - 1 ? 3 : 0);
  Value *x = graph_add_input(check->module->main, "x", open_shape(check, rank, wide));
  Value *q = quantized(check, x, 1.0 / 128, 128);
  return check->parts && q ? middle_columns(check, q, type) : q;
}

static Value *integer_weight(Check *check, Dtype dtype, int rank, const int64_t *dims, double size) {
  const Type *type = type_static(check->module, dtype, rank, dims);
  Data *data = data_new(check->module, dtype, type_static_count(type));
  for (int64_t i = 0; i < data->count; i++)
    dtype_set_int(dtype, data_bytes(data), i, (int64_t)floor(size * next_random(check)));
  return weight_of(check, type, data);
}

/* The low bits of sums, in which every mistake shows; or the sums as bytes, perhaps added to others. */
static Value *integer_epilogue(Check *check, Value *sums, int variant) {
  Builder *builder = &check->builder;
  if (!sums) return NULL;
  if (variant == 0) {
    sums = build_binary(builder, &op_bitwise_and, sums, build_scalar(builder, DTYPE_I32, 255));
    return sums ? build_cast(builder, sums, DTYPE_F32) : NULL;
  }
  Value *y = build_binary(builder, &op_mul, build_cast(builder, sums, DTYPE_F32),
                          build_scalar(builder, DTYPE_F32, 1.0 / 512));
  if (variant == 2 && y && type_is_static(y->type)) {
    int64_t dims[MAX_RANK];
    for (int i = 0; i < y->type->rank; i++) dims[i] = y->type->dims[i]->value;
    Value *other[] = {byte_input(check, y->type->rank, dims), build_scalar(builder, DTYPE_F32, 0.25),
                      build_scalar(builder, DTYPE_U8, 7)};
    y = build_binary(builder, &op_add, y, build_op(builder, &op_dequantize, other, 3));
    y = y ? build_unary(builder, &op_relu, y) : NULL;
  }
  y = y ? quantized(check, y, 1, 128) : NULL;
  return y ? build_cast(builder, y, DTYPE_F32) : NULL;
}

void add_integer_gemm(Check *check, int64_t m, int64_t k, int64_t n, int variant) {
  Value *operands[3] = {byte_input(check, 2, (int64_t[]){m, k}),
                        integer_weight(check, DTYPE_I8, 2, (int64_t[]){k, n}, 128),
                        variant ? integer_weight(check, DTYPE_I32, 1, &n, 1 << 20) : NULL};
  Value *sums = build_op(&check->builder, &op_gemm, operands, 3);
  done(check, integer_epilogue(check, sums, variant),
       NAME("integer_gemm_m%d_k%d_n%d_%d", (int)m, (int)k, (int)n, variant));
}

/* Images of few channels lie in planes. */
static Value *byte_image(Check *check, const ConvCase *c) {
  if (c->c > 3) return byte_input(check, 4, (int64_t[]){c->n, c->h, c->w, c->c});
  Value *planes = byte_input(check, 4, (int64_t[]){c->n, c->c, c->h, c->w});
  return planes ? build_transpose(&check->builder, planes, (int64_t[]){0, 2, 3, 1}) : NULL;
}

void add_integer_conv(Check *check, const ConvCase *c, int variant) {
  Value *operands[3] = {
      byte_image(check, c),
      integer_weight(check, DTYPE_I8, 4, (int64_t[]){c->kh, c->kw, c->c / c->group, c->m}, 128),
      variant ? integer_weight(check, DTYPE_I32, 1, &c->m, 1 << 16) : NULL};
  Node *node = node_new(&check->builder, &op_conv, operands, 3);
  node_set_string(node, "layout", "nhwc");
  node_set_ints(node, "strides", (int64_t[]){c->stride, c->stride}, 2);
  node_set_ints(node, "dilations", (int64_t[]){c->dilation, c->dilation}, 2);
  node_set_ints(node, "pads", (int64_t[]){c->pad, c->pad, c->pad, c->pad / 2}, 4);
  node_set_int(node, "outside", variant == 1 ? 0 : 131);
  node_set_int(node, "group", c->group);
  Value *sums = node_finish(node) ? result(node, 0) : NULL;
  done(check, integer_epilogue(check, sums, variant),
       NAME("integer_conv_%dx%d_c%d_m%d_k%dx%d_s%d_d%d_p%d_g%d_%d", (int)c->h, (int)c->w, (int)c->c,
            (int)c->m, (int)c->kh, (int)c->kw, (int)c->stride, (int)c->dilation, (int)c->pad, (int)c->group,
            variant));
}

static void add_byte_pool(Check *check, int64_t channels, int64_t pad) {
  Value *x = byte_input(check, 4, (int64_t[]){2, 9, 14, channels});
  Node *node = node_new(&check->builder, &op_max_pool, &x, 1);
  node_set_string(node, "layout", "nhwc");
  node_set_ints(node, "kernel", (int64_t[]){3, 3}, 2);
  node_set_ints(node, "strides", (int64_t[]){2, 2}, 2);
  node_set_ints(node, "pads", (int64_t[]){pad, pad, pad, pad}, 4);
  done(check, node_finish(node) ? build_cast(&check->builder, result(node, 0), DTYPE_F32) : NULL,
       NAME("byte_pool_c%d_p%d", (int)channels, (int)pad));
}

typedef struct MeanCase {
  int64_t h, w, c, kernel, stride, before, after, zero;
  bool ceil, include, is_signed;
} MeanCase;

/* Sums in 16 bits and, of more than 256 elements, in 32. */
static void add_byte_mean(Check *check, const MeanCase *c) {
  Builder *builder = &check->builder;
  Value *q = byte_input(check, 4, (int64_t[]){2, c->h, c->w, c->c});
  if (q && c->is_signed) {
    q = build_cast(builder,
                   build_binary(builder, &op_sub, build_cast(builder, q, DTYPE_I32),
                                build_scalar(builder, DTYPE_I32, 128)),
                   DTYPE_I8);
  }
  Value *zero = build_scalar(builder, c->is_signed ? DTYPE_I8 : DTYPE_U8, (double)c->zero);
  Value *x = build_op(builder, &op_dequantize, (Value *[]){q, build_scalar(builder, DTYPE_F32, 1), zero}, 3);
  Node *node = node_new(builder, &op_average_pool, &x, 1);
  node_set_string(node, "layout", "nhwc");
  node_set_ints(node, "kernel", (int64_t[]){c->kernel, c->kernel}, 2);
  node_set_ints(node, "strides", (int64_t[]){c->stride, c->stride}, 2);
  node_set_ints(node, "pads", (int64_t[]){c->before, c->after, c->after, c->before}, 4);
  node_set_bool(node, "ceil", c->ceil);
  node_set_bool(node, "include_pad", c->include);
  done(check, node_finish(node) ? result(node, 0) : NULL,
       NAME("byte_mean_%dx%d_c%d_k%d_s%d_p%d_%d_z%d_%d%d%d", (int)c->h, (int)c->w, (int)c->c, (int)c->kernel,
            (int)c->stride, (int)c->before, (int)c->after, (int)c->zero, c->ceil, c->include, c->is_signed));
}

static void mean_cases(Check *check) {
  static const MeanCase cases[] = {
      {7, 35, 32, 3, 1, 1, 1, 0, false, true, false},     {8, 9, 17, 3, 2, 1, 0, 9, true, true, false},
      {9, 10, 64, 2, 2, 0, 0, 255, false, false, false},  {5, 13, 48, 5, 3, 2, 1, 128, true, false, false},
      {6, OPEN, 20, 3, 2, 1, 1, 77, false, true, false},  {7, 11, 33, 3, 1, 1, 2, -128, false, false, true},
      {17, 19, 3, 17, 1, 0, 0, 5, false, false, false},   {30, 28, 5, 25, 1, 12, 12, 200, false, true, false},
      {16, 16, 16, 16, 16, 0, 0, -3, false, false, true}, {3, 2, 65, 2, 1, 1, 1, 127, false, true, true},
      {4, 1, 128, 3, 3, 2, 2, 1, false, false, false}};
  for (int i = 0; i < COUNT_OF(cases); i++) add_byte_mean(check, &cases[i]);
}

void integer_cases(Check *check) {
  const int64_t ms[] = {1, 3, 14, 29}, ks[] = {1, 4, 7, 64, 130}, ns[] = {1, 8, 16, 33, 100};
  for (int i = 0; i < COUNT_OF(ms); i++)
    for (int j = 0; j < COUNT_OF(ks); j++)
      for (int l = 0; l < COUNT_OF(ns); l++) add_integer_gemm(check, ms[i], ks[j], ns[l], (i + j + l) % 3);
  add_integer_gemm(check, OPEN, 36, 40, 1);
  static const ConvCase cases[] = {
      {1, 5, 6, 3, 17, 3, 3, 1, 1, 1, 1},    {1, 9, 9, 8, 32, 3, 3, 1, 1, 1, 1},
      {2, 11, 7, 12, 20, 3, 3, 2, 1, 1, 1},  {1, 13, 13, 3, 64, 7, 7, 2, 1, 3, 1},
      {1, 7, 8, 64, 33, 1, 1, 1, 1, 0, 1},   {1, 9, 8, 20, 16, 1, 1, 2, 1, 0, 1},
      {1, 10, 11, 4, 15, 3, 3, 1, 2, 2, 1},  {1, 6, 17, 5, 5, 1, 5, 1, 1, 2, 1},
      {1, 8, 8, 32, 48, 3, 3, 1, 1, 1, 2},   {1, 6, 5, 6, 4, 3, 3, 1, 1, 1, 2},
      {2, 9, 12, 1, 20, 3, 5, 2, 1, 1, 1},   {1, 8, 9, 2, 16, 2, 4, 1, 1, 0, 1},
      {1, 6, 5, 3, 9, 1, 1, 1, 1, 0, 1},     {1, 7, 9, 3, 40, 3, 3, 1, 2, 1, 1},
      {1, 9, 9, 32, 32, 3, 3, 1, 1, 1, 32},  {1, 12, 10, 17, 17, 3, 3, 2, 1, 1, 17},
      {1, 8, 25, 40, 40, 5, 5, 1, 1, 2, 40}, {1, 7, 7, 16, 32, 3, 3, 1, 2, 2, 16}};
  for (int i = 0; i < COUNT_OF(cases); i++)
    for (int variant = 0; variant < 3; variant++) add_integer_conv(check, &cases[i], variant);
  const int64_t channels[] = {1, 3, 16, 32, 64, 65, 128};
  for (int i = 0; i < COUNT_OF(channels); i++) add_byte_pool(check, channels[i], i % 2);
  mean_cases(check);
}

/* ---- 16-bit floats: small whole numbers, so that every order of summing gives the same */

static Value *half_input(Check *check, Dtype dtype, int rank, const int64_t *dims) {
  Builder *builder = &check->builder;
  const Type *type = type_with_dtype(check->module, open_shape(check, rank, dims), dtype);
  int64_t whole[MAX_RANK];
  for (int i = 0; i < rank; i++) whole[i] = dims[i] + (check->parts && i == rank - 1 ? 3 : 0);
  Value *x = graph_add_input(check->module->main, "x", open_shape(check, rank, whole));
  x = build_binary(builder, &op_mul, x, build_scalar(builder, DTYPE_F32, 7));
  x = x ? build_unary(builder, &op_round, x) : NULL;
  x = x ? build_cast(builder, x, dtype) : NULL;
  return check->parts && x ? middle_columns(check, x, type) : x;
}

static Value *half_weight(Check *check, Dtype dtype, int rank, const int64_t *dims) {
  const Type *type = type_static(check->module, dtype, rank, dims);
  Data *data = data_new(check->module, dtype, type_static_count(type));
  for (int64_t i = 0; i < data->count; i++)
    dtype_set(dtype, data_bytes(data), i, floor(9 * next_random(check)));
  return weight_of(check, type, data);
}

/* Behind it relu, and for wide sums a rounding of their own. */
static void half_done(Check *check, Node *node, Dtype dtype, char *name) {
  Value *y = node_finish(node) ? build_unary(&check->builder, &op_relu, result(node, 0)) : NULL;
  y = y ? build_cast(&check->builder, y, dtype) : NULL;
  done(check, y ? build_cast(&check->builder, y, DTYPE_F32) : NULL, name);
}

void add_half_gemm(Check *check, Dtype dtype, bool wide, int64_t m, int64_t k, int64_t n) {
  Value *operands[] = {half_input(check, dtype, 2, (int64_t[]){m, k}),
                       half_weight(check, dtype, 2, (int64_t[]){k, n}),
                       half_weight(check, wide ? DTYPE_F32 : dtype, 1, &n)};
  Node *node = node_new(&check->builder, &op_gemm, operands, 3);
  node_set_bool(node, "wide", wide);
  half_done(check, node, dtype,
            NAME("%s_gemm_m%d_k%d_n%d%s", dtype_name(dtype), (int)m, (int)k, (int)n, wide ? "_wide" : ""));
}

void add_half_conv(Check *check, Dtype dtype, bool wide, const ConvCase *c) {
  Value *operands[] = {half_input(check, dtype, 4, (int64_t[]){c->n, c->h, c->w, c->c}),
                       half_weight(check, dtype, 4, (int64_t[]){c->kh, c->kw, c->c / c->group, c->m}),
                       half_weight(check, wide ? DTYPE_F32 : dtype, 1, &c->m)};
  Node *node = node_new(&check->builder, &op_conv, operands, 3);
  node_set_string(node, "layout", "nhwc");
  node_set_ints(node, "strides", (int64_t[]){c->stride, c->stride}, 2);
  node_set_ints(node, "dilations", (int64_t[]){c->dilation, c->dilation}, 2);
  node_set_ints(node, "pads", (int64_t[]){c->pad, c->pad, c->pad, c->pad / 2}, 4);
  node_set_int(node, "group", c->group);
  node_set_bool(node, "wide", wide);
  half_done(check, node, dtype,
            NAME("%s_conv_%dx%d_c%d_m%d_k%dx%d_s%d_g%d%s", dtype_name(dtype), (int)c->h, (int)c->w, (int)c->c,
                 (int)c->m, (int)c->kh, (int)c->kw, (int)c->stride, (int)c->group, wide ? "_wide" : ""));
}

void half_cases(Check *check) {
  static const ConvCase cases[] = {{1, 9, 9, 8, 32, 3, 3, 1, 1, 1, 1},  {2, 7, 8, 3, 17, 7, 7, 2, 1, 3, 1},
                                   {1, 7, 5, 64, 33, 1, 1, 1, 1, 0, 1}, {1, 6, 17, 5, 5, 1, 5, 1, 2, 2, 1},
                                   {1, 8, 8, 20, 48, 3, 3, 1, 1, 1, 2}, {1, 6, 5, 6, 4, 3, 3, 1, 1, 1, 2},
                                   {1, 9, 7, 32, 32, 3, 3, 1, 1, 1, 32}};
  const int64_t ms[] = {1, 3, 29}, ks[] = {1, 2, 7, 64}, ns[] = {1, 16, 33};
  for (int i = 0; i < 4; i++) {
    Dtype dtype = i / 2 ? DTYPE_F16 : DTYPE_BF16;
    bool wide = i % 2;
    for (int j = 0; j < COUNT_OF(ms) * COUNT_OF(ks) * COUNT_OF(ns); j += i / 2 ? 5 : 1)
      add_half_gemm(check, dtype, wide, ms[j % 3], ks[j / 9], ns[j / 3 % 3]);
    add_half_gemm(check, dtype, wide, OPEN, 36, 40);
    for (int j = 0; j < COUNT_OF(cases); j++) add_half_conv(check, dtype, wide, &cases[j]);
    Value *x[] = {half_input(check, dtype, 3, (int64_t[]){2, 13, 6}),
                  half_input(check, dtype, 3, (int64_t[]){2, 6, 33})};
    Node *product = node_new(&check->builder, &op_matmul, x, 2);
    node_set_bool(product, "wide", wide);
    half_done(check, product, dtype, NAME("%s_matmul%s", dtype_name(dtype), wide ? "_wide" : ""));
  }
}

/* ---- weights of few bits */

/* The same zero point or scale for all blocks. */
enum { ONE_ZERO = 1, ONE_SCALE = 2 };

typedef struct BlocksCase {
  int64_t m, k, n, size;
  Dtype dtype, scales, zeros; /* DTYPE_NONE: no zero point */
  unsigned single;            /* ONE_ZERO, ONE_SCALE */
} BlocksCase;

static Value *random_bits(Check *check, Dtype dtype, int rank, const int64_t *dims) {
  const Type *type = type_static(check->module, dtype, rank, dims);
  Data *data = data_new(check->module, dtype, type_static_count(type));
  double size = 1 << (dtype_bits(dtype) - 1), middle = dtype_is_signed_int(dtype) ? 0 : size;
  for (int64_t i = 0; i < data->count; i++)
    dtype_set_int(dtype, data_bytes(data), i, (int64_t)floor(middle + size * next_random(check)));
  return build_const(&check->builder, type, data, NULL);
}

static Value *random_scales(Check *check, Dtype dtype, int rank, const int64_t *dims) {
  const Type *type = type_static(check->module, dtype, rank, dims);
  Data *data = data_new(check->module, dtype, type_static_count(type));
  for (int64_t i = 0; i < data->count; i++) dtype_set(dtype, data_bytes(data), i, 0.02 * next_random(check));
  return build_const(&check->builder, type, data, NULL);
}

static void add_blocks(Check *check, const BlocksCase *c, int number) {
  int64_t q[] = {c->n, c->k}, blocks[] = {c->n, (c->k + c->size - 1) / c->size};
  Value *zero = c->zeros == DTYPE_NONE   ? NULL
                : (c->single & ONE_ZERO) ? build_scalar(&check->builder, c->zeros, 5)
                                         : random_bits(check, c->zeros, 2, blocks);
  Value *operands[] = {
      input(check, 2, (int64_t[]){c->m, c->k}), random_bits(check, c->dtype, 2, q),
      number % 2 ? weight(check, 1, &c->n) : NULL,
      (c->single & ONE_SCALE)
          ? build_splat(&check->builder, type_static(check->module, c->scales, 2, blocks), 0.25)
          : random_scales(check, c->scales, 2, blocks),
      zero};
  Node *node = node_new(&check->builder, &op_gemm_blocks, operands, 5);
  node_set_int(node, "size", c->size);
  Value *y = node_finish(node) ? result(node, 0) : NULL;
  done(check, y && number % 3 == 0 ? build_unary(&check->builder, &op_relu, y) : y,
       NAME("blocks_%d_m%d", number, (int)c->m));
}

/* As models have them: with blocks behind each other, per column, per block along axis 0; and gathered rows.
 */
static void add_blocks_model(Check *check, int form) {
  enum { K = 192, N = 100, SIZE = 32, ROWS = 5 };
  Builder *builder = &check->builder;
  Module *module = check->module;
  const Dim *k = dim_const(module, K), *n = dim_const(module, N), *size = dim_const(module, SIZE),
            *count = dim_const(module, K / SIZE), *one = dim_const(module, 1);
  Value *w, *x = input(check, 2, (int64_t[]){ROWS, K});
  if (form % 3 == 0) {
    Value *parts[] = {random_bits(check, DTYPE_U4, 3, (int64_t[]){N, K / SIZE, SIZE}),
                      random_scales(check, DTYPE_F32, 3, (int64_t[]){N, K / SIZE, 1}),
                      random_bits(check, DTYPE_U4, 3, (int64_t[]){N, K / SIZE, 1})};
    w = build_reshape(builder, build_op(builder, &op_dequantize, parts, 3), 2, (const Dim *[]){n, k});
  } else if (form % 3 == 1) {
    Value *parts[] = {random_bits(check, DTYPE_I8, 2, (int64_t[]){N, K}),
                      random_scales(check, DTYPE_F32, 2, (int64_t[]){N, 1}), NULL};
    w = build_op(builder, &op_dequantize, parts, 3);
  } else {
    Value *scale = random_scales(check, DTYPE_F32, 2, (int64_t[]){K / SIZE, N});
    scale = build_reshape(builder, scale, 3, (const Dim *[]){count, one, n});
    scale = build_broadcast(builder, scale, 3, (const Dim *[]){count, size, n});
    scale = build_reshape(builder, scale, 2, (const Dim *[]){k, n});
    Value *parts[] = {random_bits(check, DTYPE_I4, 2, (int64_t[]){K, N}), scale, NULL};
    w = build_transpose(builder, build_op(builder, &op_dequantize, parts, 3), (int64_t[]){1, 0});
  }
  if (form >= 3) {
    Value *index = build_cast(builder,
                              build_binary(builder, &op_mul, input(check, 2, (int64_t[]){2, 3}),
                                           build_scalar(builder, DTYPE_F32, N - 1)),
                              DTYPE_I64);
    done(check, build_op(builder, &op_gather, (Value *[]){w, index}, 2), NAME("blocks_gather_%d", form));
    return;
  }
  w = build_transpose(builder, w, (int64_t[]){1, 0});
  done(check, build_op(builder, &op_matmul, (Value *[]){x, w}, 2), NAME("blocks_model_%d", form));
}

void blocks_cases(Check *check) {
  static const BlocksCase cases[] = {{1, 64, 130, 32, DTYPE_U4, DTYPE_F32, DTYPE_U4, 0},
                                     {2, 64, 64, 16, DTYPE_I4, DTYPE_F16, DTYPE_NONE, 0},
                                     {3, 72, 65, 32, DTYPE_U4, DTYPE_F32, DTYPE_F32, ONE_ZERO},
                                     {5, 40, 33, 8, DTYPE_U8, DTYPE_BF16, DTYPE_U8, 0},
                                     {8, 96, 16, 96, DTYPE_I8, DTYPE_F32, DTYPE_NONE, 0},
                                     {9, 64, 100, 64, DTYPE_U4, DTYPE_F32, DTYPE_U4, 0},
                                     {29, 56, 129, 24, DTYPE_I8, DTYPE_F16, DTYPE_I8, 0},
                                     {14, 8, 1, 1000, DTYPE_I4, DTYPE_F32, DTYPE_I4, ONE_ZERO},
                                     {1, 136, 70, 1000, DTYPE_U8, DTYPE_F32, DTYPE_U8, ONE_ZERO},
                                     {1, 12, 48, 4, DTYPE_I8, DTYPE_F32, DTYPE_I8, 0},
                                     {4, 64, 20, 32, DTYPE_U2, DTYPE_F32, DTYPE_U2, 0},
                                     {OPEN, 64, 70, 16, DTYPE_U4, DTYPE_F32, DTYPE_U4, 0},
                                     {1, 7, 20, 3, DTYPE_U4, DTYPE_F32, DTYPE_NONE, 0},
                                     {1, 64, 70, 32, DTYPE_I4, DTYPE_F16, DTYPE_NONE, ONE_SCALE},
                                     {OPEN, 40, 33, 8, DTYPE_U8, DTYPE_F32, DTYPE_U8, ONE_ZERO | ONE_SCALE}};
  for (int i = 0; i < COUNT_OF(cases); i++) add_blocks(check, &cases[i], i);
  for (int form = 0; form < 6; form++) add_blocks_model(check, form);
}
