/*
 * dense.c -- Dense, TernaryDense, EinsumDense, Embedding, ReversibleEmbedding: products with a kernel, and
 * tables.
 *
 * Layers that Keras 3 quantized have kernels of integers and their scales. As Keras does, the inputs of a
 * product are rounded to 254 steps over their largest magnitude, integers are multiplied, and both scales
 * taken out again. Kernels of 4 bits are two to a byte, the even rows in the low halves. Kernels of -1, 0, 1
 * are five rows to a byte, as digits to the base 3 of which the first row's is the lowest; their inputs stay
 * floats.
 */
#include "frontend/einsum.h"
#include "frontend/keras/keras.h"
#include <math.h>
#include <string.h>

/* ---- quantized ---- */

/* The steps per unit of x, over some axes. */
static Value *input_scale(Call *call, Value *x, const int64_t *axes, int count) {
  Value *most = make_reduce(call, &op_reduce_max, make_unary(call, &op_abs, x), axes, count);
  Value *steps = x ? build_scalar(call->builder, x->type->dtype, 127) : NULL;
  return make_binary(call, &op_div, steps, make_number(call, &op_add, most, 1e-7));
}

static Value *to_integers(Call *call, Value *x, Value *scale) {
  Value *steps = make_unary(call, &op_round, make_binary(call, &op_mul, x, scale));
  return make_cast(call, make_clip(call, steps, -127, 127), DTYPE_I8);
}

/* Row i of `byte`, which holds `per_byte`. */
static int8_t unpack_digit(uint8_t byte, int64_t i, int per_byte) {
  static const uint8_t powers[] = {1, 3, 9, 27, 81};
  if (per_byte == 5) return (int8_t)(byte / powers[i] % 3 - 1);
  int nibble = byte >> 4 * i & 15;
  return (int8_t)(nibble > 7 ? nibble - 16 : nibble);
}

/* [rows][units] of two or five to a byte. */
static Value *unpacked(Call *call, Value *x, int64_t units, int per_byte) {
  Module *module = call->import->module;
  const StoredArray *stored = call_stored(call, "kernel");
  const Dim *last = x->type->dims[x->type->rank - 1];
  if (!dim_is_const(last)) return call_null(call, "its last axis is open");
  int64_t rows = last->value;
  if (!stored || stored->rank != 2 || (stored->dtype != DTYPE_I8 && stored->dtype != DTYPE_U8) ||
      stored->dims[0] != (rows + per_byte - 1) / per_byte || stored->dims[1] != units)
    return call_null(call, "its packed kernel is not that of %lld rows and %lld units", (long long)rows,
                     (long long)units);
  Data *data = data_new(module, DTYPE_I8, rows * units);
  const uint8_t *bytes = stored->bytes;
  int8_t *to = data_bytes(data);
  for (int64_t i = 0; i < rows * units; i++)
    to[i] = unpack_digit(bytes[i / units / per_byte * units + i % units], i / units % per_byte, per_byte);
  return build_const(call->builder, type_static(module, DTYPE_I8, 2, (int64_t[]){rows, units}), data, NULL);
}

static bool has_mode(const Call *call, const char *mode) {
  return !strcmp(json_text(json_member(json_member(call->config, "dtype"), "config"), "mode", ""), mode);
}

static Value *quantized_product(Call *call, Value *x, const int64_t *dims) {
  int last = x->type->rank - 1;
  Value *kernel = has_mode(call, "int4") ? unpacked(call, x, dims[1], 2)
                                         : call_weight_of(call, "kernel", DTYPE_I8, 2, dims);
  Value *scale = input_scale(call, x, (int64_t[]){last}, 1);
  Value *y = kernel ? make_binary(call, &op_matmul, to_integers(call, x, scale), kernel) : NULL;
  Value *kernel_scale = y ? call_weight(call, "kernel_scale", x, 1, dims + 1) : NULL;
  return make_binary(call, &op_div, make_cast(call, y, x->type->dtype),
                     make_binary(call, &op_mul, scale, kernel_scale));
}

/* x by a kernel of -1, 0, 1 and one scale. */
static Value *ternary_product(Call *call, Value *x, Value *kernel, Value *scale) {
  Value *y = make_binary(call, &op_matmul, x, make_cast(call, kernel, x->type->dtype));
  return scale ? make_binary(call, &op_mul, y, scale) : y;
}

/* Kept with its signs where it is over the threshold: without one half the mean magnitude, which is the
 * scale, too. */
static Value *ternary_of_floats(Call *call, Value *x, int64_t units) {
  static const int64_t axes[] = {0, 1};
  Value *kernel = call_weight(call, "kernel", x, 2, (int64_t[]){-1, units}),
        *size = make_unary(call, &op_abs, kernel);
  const cJSON *given = json_member(call->config, "threshold");
  Value *mean =
      make_squeeze(call, make_squeeze(call, make_reduce(call, &op_reduce_mean, size, axes, 2), 1), 0);
  if (!mean) return NULL;
  Value *threshold =
      given ? build_scalar(call->builder, x->type->dtype, json_number(call->config, "threshold", 0))
            : make_number(call, &op_mul, mean, 0.5);
  Value *counts = make_cast(call, make_binary(call, &op_greater, size, threshold), x->type->dtype);
  kernel = make_binary(call, &op_mul, make_unary(call, &op_sign, kernel), counts);
  return kernel ? ternary_product(call, x, kernel, given ? NULL : mean) : NULL;
}

static Value *packed_ternary(Call *call, Value *x, int64_t units) {
  Value *kernel = unpacked(call, x, units, 5),
        *scale = kernel ? call_weight(call, "kernel_scale", x, 0, NULL) : NULL;
  return scale ? ternary_product(call, x, kernel, scale) : NULL;
}

/* ---- layers ---- */

/* kernel [in][units], which is how matmul takes it. */
static Value *product(Call *call, Value *x, const int64_t *dims) {
  if (has_mode(call, "ternary")) return packed_ternary(call, x, dims[1]);
  if (!strcmp(call->layer->class_name, "TernaryDense")) return ternary_of_floats(call, x, dims[1]);
  if (call_has_weight(call, "kernel_scale")) return quantized_product(call, x, dims);
  return make_binary(call, &op_matmul, x, call_weight(call, "kernel", x, 2, dims));
}

static Value *dense(Call *call) {
  Value *x = call_float_input(call, 0);
  int64_t dims[2] = {-1, 0};
  if (!x || !call_int(call, "units", 0, &dims[1])) return NULL;
  Value *y = product(call, x, dims);
  if (y) y = call_bias(call, y, dims[1]);
  return y ? call_activation(call, y) : NULL;
}

/* A weight of whatever shape it has in the file. */
static Value *any_weight(Call *call, const char *name, Value *like) {
  int64_t any[MAX_RANK];
  const StoredArray *stored = call_stored(call, name);
  for (int i = 0; i < MAX_RANK; i++) any[i] = -1;
  return call_weight(call, name, like, stored ? stored->rank : 0, any);
}

/* The scale of the inputs, whose reduced axes have size 1, with its axes where the result has them. */
static Value *scale_in_result(Call *call, Value *scale, const char *in, const char *out) {
  const Dim *dims[MAX_RANK];
  int64_t perm[MAX_RANK];
  int rank = (int)strlen(out), kept = 0, count = scale ? scale->type->rank : 0;
  for (int i = 0; i < rank; i++) {
    const char *at = memchr(in, out[i], (size_t)count);
    dims[i] = at ? scale->type->dims[at - in] : dim_const(call->import->module, 1);
    if (at) perm[kept++] = at - in;
  }
  for (int i = 0; i < count; i++)
    if (!strchr(out, in[i])) perm[kept++] = i;
  return make_reshape(call, make_transpose(call, scale, perm), rank, dims);
}

/* "abc,cd->abd": what stands in both factors and not in the result is summed. */
static Value *quantized_einsum(Call *call, Value *x, const char *equation) {
  const char *comma = strchr(equation, ','), *arrow = strstr(equation, "->"), *problem = NULL;
  int64_t axes[MAX_RANK];
  int count = 0, rank = x->type->rank;
  if (!comma || !arrow || strpbrk(equation, ". ") || comma - equation != rank || strlen(arrow + 2) > MAX_RANK)
    return call_null(call, "quantized, the equation '%s' is not supported", equation);
  for (int i = 0; i < rank; i++)
    if (!strchr(arrow, equation[i])) axes[count++] = i;
  Value *scale = input_scale(call, x, axes, count),
        *q = make_cast(call, to_integers(call, x, scale), x->type->dtype);
  Value *y =
      q ? build_einsum(call->builder, equation, (Value *[]){q, any_weight(call, "kernel", x)}, 2, &problem)
        : NULL;
  if (problem) return call_null(call, "%s", problem);
  Value *both = make_binary(call, &op_mul, scale_in_result(call, scale, equation, arrow + 2),
                            any_weight(call, "kernel_scale", x));
  return make_binary(call, &op_div, y, both);
}

/* The bias has the last axes of the result, 1 along those that share it. */
static Value *einsum_dense(Call *call) {
  Value *x = call_float_input(call, 0), *y;
  const char *equation = json_text(call->config, "equation", ""), *problem = NULL;
  if (!x) return NULL;
  if (call_has_weight(call, "kernel_scale")) {
    y = quantized_einsum(call, x, equation);
  } else {
    Value *kernel = any_weight(call, "kernel", x);
    y = kernel ? build_einsum(call->builder, equation, (Value *[]){x, kernel}, 2, &problem) : NULL;
    if (problem) return call_null(call, "%s", problem);
  }
  if (y && call_has_weight(call, "bias")) y = make_binary(call, &op_add, y, any_weight(call, "bias", y));
  return y ? call_activation(call, y) : NULL;
}

static Value *as_indices(Call *call, Value *x) {
  return x->type->dtype == DTYPE_I32 ? x : make_cast(call, x, DTYPE_I64);
}

/* What is 0 does not count, if the layer says so. */
static Value *zero_mask(Call *call, Value *x) {
  if (!json_flag(call->config, "mask_zero", false)) return NULL;
  return make_unary(call, &op_not, make_number(call, &op_equal, x, 0));
}

static Value *look_up(Call *call, Value *table) {
  Value *x = call->inputs[0];
  if (x->type->dtype == DTYPE_STRING || x->type->dtype == DTYPE_BOOL)
    return call_null(call, "its input is %s, no numbers", dtype_name(x->type->dtype));
  call->mask = zero_mask(call, x);
  return make_gather(call, table, as_indices(call, x), 0);
}

static Value *embedding(Call *call) {
  int64_t dims[2];
  if (!call_int(call, "input_dim", -1, &dims[0]) || !call_int(call, "output_dim", -1, &dims[1])) return NULL;
  if (!call_has_weight(call, "embeddings_scale"))
    return look_up(call, call_weight_of(call, "embeddings", DTYPE_F32, 2, dims));
  Value *rows = look_up(call, call_weight_of(call, "embeddings", DTYPE_I8, 2, dims));
  Value *scales = rows ? look_up(call, call_weight_of(call, "embeddings_scale", DTYPE_F32, 1, dims)) : NULL;
  return make_binary(call, &op_div, make_cast(call, rows, DTYPE_F32),
                     scales ? make_unsqueeze(call, scales, scales->type->rank) : NULL);
}

/* Forward a table; in reverse the products with all of its rows, or with a kernel of its own. */
static Value *reversible_embedding(Call *call) {
  if (!call_argument_flag(call, 1, "reverse")) return embedding(call);
  Value *x = call_float_input(call, 0);
  bool is_tied = !call_has_weight(call, "reverse_embeddings");
  int64_t any[2] = {-1, -1};
  if (!x) return NULL;
  Value *kernel = call_weight(call, is_tied ? "embeddings" : "reverse_embeddings", x, 2, any);
  if (is_tied) kernel = make_transpose(call, kernel, (int64_t[]){1, 0});
  Value *y = make_binary(call, &op_matmul, x, kernel);
  double cap = json_number(call->config, "logit_soft_cap", 0);
  call->mask = call->masks[0];
  if (cap == 0) return y;
  return make_number(call, &op_mul, make_unary(call, &op_tanh, make_number(call, &op_div, y, cap)), cap);
}

#define SCALED(NAME)                                                                                         \
  " " NAME "?dtype.config.mode=int8 " NAME "?dtype.config.mode=int4 " NAME "?dtype.config.mode=ternary"

const LayerKind dense_layers[] = {
    {"Dense", dense, 1, 1, "kernel bias?use_bias" SCALED("kernel_scale"), MASK_PASSES},
    {"EinsumDense", einsum_dense, 1, 1, "kernel bias?bias_axes kernel_scale?dtype.config.mode=int8",
     MASK_ENDS},
    {"Embedding", embedding, 1, 1, "embeddings embeddings_scale?dtype.config.mode=int8", MASK_OWN},
    {"ReversibleEmbedding", reversible_embedding, 1, 1, "embeddings reverse_embeddings?!tie_weights",
     MASK_OWN},
    {"TernaryDense", dense, 1, 1, "kernel bias?use_bias kernel_scale?dtype.config.mode=ternary", MASK_PASSES},
    {0},
};
