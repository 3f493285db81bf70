/*
 * integers.c -- products of quantized numbers become products of their integers.
 *
 * Before: dequantize in front of conv, gemm and matmul, or a zero point subtracted in i32; quantize behind
 * them. After:
 *
 *   product(dequantize(q, s, z), dequantize(w, t, 0)) + b  ->  cast(product(q, w) + b' - z * sum(w)) * (s *
 * t)
 *
 * with u8 q and i8 w, whose sums are i32. b' is the bias in units of s*t if it is given so, else it is added
 * behind. What a conv pads with is z. Integers of other types or with other zero points are shifted until
 * they are u8 and i8; where weights keep a zero point d, a matrix product's sums get - d * (the sum of q -
 * z). dequantize moves behind ops that only pick elements, quantize before them, so that these move bytes;
 * and where the one meets the other with the same scale both are gone. Of a sum or mean the scale moves
 * behind it, so that whole numbers are added. A quantize behind a product divides its factor instead of its
 * result, and takes over bounds that it has itself. First of all i8 activations become u8 (unsigned.c); what
 * lies between two quantized values at last becomes a table where that is worth it (tables.c). Requires
 * nothing, but must see weights before they are folded to floats. Keeps: all integers as they are in the
 * model, but for results on the edge between two, as (x * m) / s and x * (m / s) round differently.
 */
#include "passes/rewrite.h"

#include <math.h>
#include <string.h>

/* ---- what is quantized ---- */

/* (q - zero) * scale */
typedef struct Quantized {
  Value *q;     /* u8 or i8 */
  Value *scale; /* NULL: 1 */
  Value *zero;  /* of the dtype of q; NULL: 0 */
} Quantized;

/* The elements of a constant, which may have got axes of size 1. */
static const Data *constant_data(const Value *value) {
  while (value->def && node_is(value->def, &op_reshape)) value = operand(value->def, 0);
  return value_data(value);
}

/* The number that all its elements are. */
static bool constant_number(const Value *value, double *number) {
  const Data *data = constant_data(value);
  if (!data || !(data->splat || data->count == 1)) return false;
  *number = data_get(data, 0);
  return true;
}

static bool constant_is(const Value *value, double number) {
  double got;
  return constant_number(value, &got) && got == number;
}

static bool is_single(const Value *value) {
  return type_static_count(value->type) == 1;
}

/* x as i32, of a byte that is cast: that. */
static Value *cast_byte(const Value *x) {
  if (!node_is(x->def, &op_cast) || x->type->dtype != DTYPE_I32) return NULL;
  Value *q = operand(x->def, 0);
  return dtype_is_byte(q->type->dtype) ? q : NULL;
}

static bool read_centered(const Value *x, Quantized *quantized) {
  *quantized = (Quantized){.q = cast_byte(x)};
  if (quantized->q) return true;
  if (!node_is(x->def, &op_sub)) return false;
  quantized->q = cast_byte(operand(x->def, 0));
  quantized->zero = cast_byte(operand(x->def, 1));
  return quantized->q && quantized->zero && quantized->zero->type->dtype == quantized->q->type->dtype &&
         type_same_shape(x->type, quantized->q->type);
}

static bool read_quantized(const Value *x, Quantized *quantized) {
  const Node *def = x->def;
  if (!node_is(def, &op_dequantize)) return read_centered(x, quantized);
  *quantized = (Quantized){operand(def, 0), operand(def, 1), operand(def, 2)};
  const Value *zero = quantized->zero;
  if (zero && zero->type->dtype != quantized->q->type->dtype) return false;
  return dtype_is_byte(quantized->q->type->dtype) && type_same_shape(x->type, quantized->q->type);
}

static bool read_single(const Value *x, Quantized *quantized) {
  return read_quantized(x, quantized) && (!quantized->scale || is_single(quantized->scale)) &&
         (!quantized->zero || is_single(quantized->zero));
}

/* ---- to u8 and i8 ---- */

/* The same bits but the highest, as the other type: 128 more or less. */
static Value *shifted(Builder *builder, Value *x) {
  enum { HIGHEST = 128 };
  Dtype to = x->type->dtype == DTYPE_I8 ? DTYPE_U8 : DTYPE_I8;
  if (to == DTYPE_I8) x = build_binary(builder, &op_bitwise_xor, x, build_scalar(builder, DTYPE_U8, HIGHEST));
  if (!x) return NULL;
  Node *cast = node_new(builder, &op_bit_cast, &x, 1);
  node_set_dtype(cast, "to", to);
  if (!node_finish(cast)) return NULL;
  if (to == DTYPE_I8) return result(cast, 0);
  return build_binary(builder, &op_bitwise_xor, result(cast, 0), build_scalar(builder, DTYPE_U8, HIGHEST));
}

static bool make_unsigned(Builder *builder, Quantized *x) {
  if (x->q->type->dtype == DTYPE_U8) return true;
  if (!x->zero) x->zero = build_scalar(builder, DTYPE_I8, 0);
  x->q = shifted(builder, x->q);
  x->zero = x->zero ? shifted(builder, x->zero) : NULL;
  return x->q && x->zero;
}

/* The axis of an operand of `rank` axes along which a parameter that broadcasts to it varies; -1: it is
 * single; -2: several. */
static int varying_axis(const Value *parameter, int rank) {
  int axis = -1, shift = rank - parameter->type->rank;
  for (int i = 0; i < parameter->type->rank; i++) {
    if (dim_is(parameter->type->dims[i], 1)) continue;
    if (axis != -1 || shift < 0) return -2;
    axis = i + shift;
  }
  return axis;
}

static bool varies_along(const Value *parameter, int rank, int axis) {
  int varying = parameter ? varying_axis(parameter, rank) : -1;
  return varying == -1 || varying == axis;
}

/* Product of the sizes behind an axis. */
static int64_t inner_count(const Type *type, int axis) {
  int64_t count = 1;
  for (int i = axis + 1; i < type->rank; i++) count *= type->dims[i]->value;
  return count;
}

/* q - zero as constant i8, if all elements are. */
static Value *centered_weights(Builder *builder, const Quantized *w) {
  const Data *q = constant_data(w->q), *zero = w->zero ? constant_data(w->zero) : NULL;
  if (!q || (w->zero && !zero)) return NULL;
  int axis = zero ? varying_axis(w->zero, w->q->type->rank) : -1;
  int64_t inner = axis < 0 ? 1 : inner_count(w->q->type, axis);
  int64_t size = axis < 0 ? 1 : w->q->type->dims[axis]->value, count = type_static_count(w->q->type);
  Data *data = data_new(builder->graph->module, DTYPE_I8, count);
  for (int64_t i = 0; i < count; i++) {
    int64_t from = zero ? data_get_int(zero, i / inner % size) : 0, x = data_get_int(q, i) - from;
    if (x < INT8_MIN || x > INT8_MAX) return NULL;
    dtype_set_int(DTYPE_I8, data_bytes(data), i, x);
  }
  data->name = q->name;
  return build_const(builder, type_with_dtype(builder->graph->module, w->q->type, DTYPE_I8), data,
                     w->q->name);
}

/* To i8, without a zero point if possible. */
static bool make_weights(Builder *builder, Quantized *w) {
  bool plain = !w->zero || constant_is(w->zero, 0);
  Value *centered = plain && w->q->type->dtype == DTYPE_I8 ? w->q : centered_weights(builder, w);
  if (centered) *w = (Quantized){centered, w->scale, NULL};
  if (centered || w->q->type->dtype == DTYPE_I8) return true;
  if (!w->zero) w->zero = build_scalar(builder, DTYPE_U8, 0);
  w->q = shifted(builder, w->q);
  w->zero = w->zero ? shifted(builder, w->zero) : NULL;
  return w->q && w->zero;
}

/* ---- products ---- */

/* A conv, gemm or matmul on its way to integers. */
typedef struct Product {
  Node *node;
  Quantized x, w;
  int channel; /* the axis of w that is the result's channels */
  int behind;  /* axes of the result behind its channels */
} Product;

static bool read_axes(Product *p) {
  const Node *node = p->node;
  int rank = operand(node, 1)->type->rank;
  p->behind = 0;
  if (node_is(node, &op_conv)) {
    bool last = node_string_is(node, "layout", "nhwc");
    p->channel = last ? rank - 1 : 0;
    p->behind = last ? 0 : rank - 2;
    return !node_int(node, "packed") && node_int(node, "outside") == 0;
  }
  if (rank != 2 || operand(node, 0)->type->rank < 2 || node_int(node, "packed")) return false;
  p->channel = node_is(node, &op_gemm) && node_bool(node, "trans_b") ? 0 : 1;
  return node_is(node, &op_matmul) || !node_bool(node, "trans_a");
}

static bool pads_anything(const Node *node) {
  int count;
  const int64_t *pads = node_is(node, &op_conv) ? node_ints(node, "pads", &count) : (count = 0, NULL);
  for (int i = 0; i < count; i++)
    if (pads[i]) return true;
  return false;
}

/* The axis of w that is summed over with the channels of x. */
static int input_axis(const Product *p) {
  return p->channel == 0 ? 1 : p->w.q->type->rank - 2;
}

/* Whether the sums of x that correct a zero point of w are exact in f32, which is summed fast. */
static bool has_exact_sums(const Product *p) {
  const int64_t most = 1 << 24;
  const Type *w = p->w.q->type;
  bool whole = !node_is(p->node, &op_conv) || node_int(p->node, "group") == 1;
  return whole && type_static_count(w) / w->dims[p->channel]->value < most / UINT8_MAX;
}

/* The x of a matrix product as [rows, k]. */
static bool make_rows(Builder *builder, Product *p) {
  Module *module = builder->graph->module;
  const Type *type = p->x.q->type;
  const Dim *dims[2] = {dim_const(module, 1), type->dims[type->rank - 1]};
  if (node_is(p->node, &op_conv) || type->rank == 2) return true;
  for (int i = 0; i + 1 < type->rank; i++) dims[0] = dim_mul(module, dims[0], type->dims[i]);
  return (p->x.q = build_reshape(builder, p->x.q, 2, dims)) != NULL;
}

/* Fills p, and builds weights that are i8 and an x that is u8. */
static bool read_product(Builder *builder, Node *node, Product *p) {
  *p = (Product){.node = node};
  bool is_product = node_is(node, &op_conv) || node_is(node, &op_gemm) || node_is(node, &op_matmul);
  if (!is_product || !read_axes(p) || !read_single(operand(node, 0), &p->x)) return false;
  if (!read_quantized(operand(node, 1), &p->w) || !p->x.scale != !p->w.scale) return false;
  int rank = p->w.q->type->rank;
  if (!value_is_constant(p->w.q) || !type_is_static(p->w.q->type) || type_static_count(p->w.q->type) == 0)
    return false;
  if (!varies_along(p->w.scale, rank, p->channel) || !varies_along(p->w.zero, rank, p->channel)) return false;
  if (node_is(node, &op_gemm) && !p->x.scale && operand(node, 2)) return false;
  return make_weights(builder, &p->w) && (!p->w.zero || has_exact_sums(p)) && make_unsigned(builder, &p->x) &&
         make_rows(builder, p);
}

/* A parameter along the channels of w, or a single one, with `behind` axes of size 1 behind. */
static Value *along_channels(Builder *builder, Value *parameter, int behind) {
  const Dim *dims[MAX_RANK], *one = dim_const(builder->graph->module, 1);
  if (is_single(parameter)) return build_reshape(builder, parameter, 0, dims);
  dims[0] = type_count(builder->graph->module, parameter->type);
  for (int i = 1; i <= behind; i++) dims[i] = one;
  return build_reshape(builder, parameter, behind + 1, dims);
}

static Value *as_ints(Builder *builder, Value *parameter) {
  Value *along = along_channels(builder, parameter, 0);
  return along ? build_cast(builder, along, DTYPE_I32) : NULL;
}

/* The sum of w for each channel: ones * w, which is not larger than its operands, so that it is folded. */
static Value *channel_sums(Builder *builder, const Product *p) {
  Module *module = builder->graph->module;
  const Type *type = p->w.q->type;
  const Dim *channels = type->dims[p->channel], *one = dim_const(module, 1);
  const Dim *k = dim_const(module, type_static_count(type) / channels->value);
  bool first = p->channel == 0;
  Value *w = build_reshape(builder, p->w.q, 2, (const Dim *[]){first ? channels : k, first ? k : channels});
  Value *ones = build_splat(builder, type_make(module, DTYPE_U8, 2, (const Dim *[]){one, k}), 1);
  if (!w || !ones) return NULL;
  Node *sums = node_new(builder, &op_gemm, (Value *[]){ones, w}, 2);
  node_set_bool(sums, "trans_b", first);
  return node_finish(sums) ? build_reshape(builder, result(sums, 0), 1, &channels) : NULL;
}

/* zero * the sum of w for each channel: i32[m] */
static Value *zero_products(Builder *builder, const Product *p) {
  Value *sums = channel_sums(builder, p), *zero = as_ints(builder, p->x.zero);
  return sums && zero ? build_binary(builder, &op_mul, sums, zero) : NULL;
}

/* The factor of the sums: f32, broadcasts with channels in front of `behind` axes. */
static Value *product_factor(Builder *builder, const Product *p, int behind) {
  Value *x = along_channels(builder, p->x.scale, behind), *w = along_channels(builder, p->w.scale, behind);
  return x && w ? build_binary(builder, &op_mul, x, w) : NULL;
}

static bool is_close(double a, double b) {
  return fabs(a - b) <= 1e-4 * fabs(b);
}

/* Whether each element of `scale` is that of x times that of w. */
static bool scales_agree(const Value *scale, const Product *p) {
  const Data *all = constant_data(scale), *x = constant_data(p->x.scale), *w = constant_data(p->w.scale);
  if (!all || !x || !w || all->count > INT32_MAX) return false;
  int64_t count = all->count > w->count ? all->count : w->count;
  if ((all->count != 1 && all->count != count) || (w->count != 1 && w->count != count)) return false;
  for (int64_t i = 0; i < count; i++) {
    double got = data_get(all, all->count == 1 ? 0 : i);
    if (!is_close(got, data_get(x, 0) * data_get(w, w->count == 1 ? 0 : i))) return false;
  }
  return true;
}

/* The bias as i32 in units of the sums, if that is how the model has it. */
static Value *integer_bias(const Product *p) {
  const Value *bias = operand(p->node, 2);
  if (!bias || bias->type->rank != 1 || dim_is(bias->type->dims[0], 1)) return NULL;
  if (!p->x.scale) return bias->type->dtype == DTYPE_I32 ? operand(p->node, 2) : NULL;
  const Node *def = bias->def;
  if (!node_is(def, &op_dequantize) || operand(def, 0)->type->dtype != DTYPE_I32) return NULL;
  if (operand(def, 2) && !constant_is(operand(def, 2), 0)) return NULL;
  return scales_agree(operand(def, 1), p) ? operand(def, 0) : NULL;
}

/* x with the padding of the conv, which is a zero point that only a run knows. */
static Value *padded(Builder *builder, const Product *p) {
  Module *module = builder->graph->module;
  Window window = node_window(p->node);
  const Dim *pads[2 * MAX_RANK];
  int rank = p->x.q->type->rank;
  for (int i = 0; i < 2 * rank; i++) pads[i] = dim_const(module, 0);
  for (int s = 0; s < window.rank; s++) {
    pads[window.spatial_axis + s] = dim_const(module, window.before[s]);
    pads[rank + window.spatial_axis + s] = dim_const(module, window.after[s]);
  }
  Node *pad = node_new(builder, &op_pad, (Value *[]){p->x.q, build_reshape(builder, p->x.zero, 0, NULL)}, 2);
  node_set_dims(pad, "pads", pads, 2 * rank);
  return node_finish(pad) ? result(pad, 0) : NULL;
}

static Value *integer_conv(Builder *builder, const Product *p, Value *bias) {
  double zero = 0;
  bool pads = p->x.zero && pads_anything(p->node), known = pads && constant_number(p->x.zero, &zero);
  Value *x = pads && !known ? padded(builder, p) : p->x.q;
  if (!x) return NULL;
  Node *conv = node_like_on(builder, p->node, (Value *[]){x, p->w.q, bias}, 3);
  if (known) node_set_int(conv, "outside", (int64_t)zero);
  if (pads && !known) node_set_ints(conv, "pads", NULL, 0);
  return node_finish(conv) ? result(conv, 0) : NULL;
}

/* The sums, i32. */
static Value *integer_product(Builder *builder, const Product *p, Value *bias) {
  if (node_is(p->node, &op_conv)) return integer_conv(builder, p, bias);
  Node *gemm = node_new(builder, &op_gemm, (Value *[]){p->x.q, p->w.q, bias}, 3);
  node_set_bool(gemm, "trans_b", p->channel == 0);
  return node_finish(gemm) ? result(gemm, 0) : NULL;
}

/* Whether results are made of other pixels than those in their own place. */
static bool has_windows(const Node *conv) {
  Window window = node_window(conv);
  for (int s = 0; s < window.rank; s++)
    if (window.kernel[s] != 1 || window.stride[s] != 1) return true;
  return pads_anything(conv);
}

/* Sums over the channels of x, summed by the windows of the conv. */
static Value *window_sums(Builder *builder, const Product *p, Value *sums) {
  Module *module = builder->graph->module;
  const Type *w = p->w.q->type;
  const Dim *dims[MAX_RANK];
  for (int i = 0; i < w->rank; i++) dims[i] = w->dims[i];
  int inner = input_axis(p);
  dims[p->channel] = dims[inner] = dim_const(module, 1);
  Value *ones = build_splat(builder, type_make(module, DTYPE_F32, w->rank, dims), 1);
  Node *conv = ones ? node_like_on(builder, p->node, (Value *[]){sums, ones, NULL}, 3) : NULL;
  return conv && node_finish(conv) ? result(conv, 0) : NULL;
}

/* For each result the sum of q - zero over all that it is made of, i32, with one channel. They are computed
 * in f32, exactly. */
static Value *element_sums(Builder *builder, const Product *p) {
  bool is_conv = node_is(p->node, &op_conv);
  Value *x = build_cast(builder, p->x.q, DTYPE_F32);
  Node *sum = x ? node_new(builder, &op_reduce_sum, &x, 1) : NULL;
  if (!sum) return NULL;
  int axis = is_conv ? node_window(p->node).channel_axis : 1;
  node_set_ints(sum, "axes", &(int64_t){axis}, 1);
  if (!node_finish(sum)) return NULL;
  Value *sums = result(sum, 0), *zero = p->x.zero ? build_reshape(builder, p->x.zero, 0, NULL) : NULL;
  if (zero) {
    Value *count = build_scalar(builder, DTYPE_F32, (double)p->w.q->type->dims[input_axis(p)]->value);
    zero = build_binary(builder, &op_mul, build_cast(builder, zero, DTYPE_F32), count);
    sums = zero ? build_binary(builder, &op_sub, sums, zero) : NULL;
  }
  if (is_conv && sums && has_windows(p->node)) sums = window_sums(builder, p, sums);
  return sums ? build_cast(builder, sums, DTYPE_I32) : NULL;
}

/* sums - the zero point of w * the sum of the elements of x behind each */
static Value *without_zero(Builder *builder, const Product *p, Value *sums) {
  if (!sums || !p->w.zero) return sums;
  Value *elements = element_sums(builder, p), *zero = along_channels(builder, p->w.zero, p->behind);
  zero = zero ? build_cast(builder, zero, DTYPE_I32) : NULL;
  if (!elements || !zero) return NULL;
  return build_binary(builder, &op_sub, sums, build_binary(builder, &op_mul, elements, zero));
}

/* The result for floats: the sums times the factor, plus a bias that is not among them. */
static Value *scaled_sums(Builder *builder, const Product *p, Value *sums, Value *bias) {
  if (!sums || !p->x.scale) return sums;
  Value *factor = product_factor(builder, p, p->behind), *y = build_cast(builder, sums, DTYPE_F32);
  y = y && factor ? build_binary(builder, &op_mul, y, factor) : NULL;
  if (!y || !bias) return y;
  if (node_is(p->node, &op_conv)) bias = along_channels(builder, bias, p->behind);
  return bias ? build_binary(builder, &op_add, y, bias) : NULL;
}

static Value *product_to_integers(Node *node) {
  Builder builder = builder_before(node);
  Product p;
  if (!read_product(&builder, node, &p)) return NULL;
  Value *bias = operand(node, 2), *whole = integer_bias(&p), *all = whole;
  if (p.x.zero && !constant_is(p.x.zero, 0)) {
    Value *zeros = zero_products(&builder, &p);
    if (zeros && whole)
      all = build_binary(&builder, &op_sub, whole, zeros);
    else if (zeros)
      all = build_unary(&builder, &op_neg, zeros);
  }
  Value *sums = without_zero(&builder, &p, integer_product(&builder, &p, all));
  Value *y = scaled_sums(&builder, &p, sums, whole ? NULL : bias);
  return y ? build_reshape(&builder, y, result(node, 0)->type->rank, result(node, 0)->type->dims) : NULL;
}

/* ---- scales through what only picks ---- */

/* Its result has elements of operand 0 only, in an order that does not depend on them, or the largest. */
static bool picks_elements(const Node *node) {
  return node_is(node, &op_reshape) || node_is(node, &op_transpose) || node_is(node, &op_slice) ||
         node_is(node, &op_max_pool);
}

static bool same_parameter(const Value *a, const Value *b) {
  double x = 0, y = 0;
  return a == b || ((!a || constant_number(a, &x)) && (!b || constant_number(b, &y)) && x == y);
}

static bool is_positive(const Value *scale) {
  double x;
  return scale && constant_number(scale, &x) && x > 0;
}

static Value *build_dequantize(Builder *builder, const Quantized *x, Value *q) {
  return build_op(builder, &op_dequantize, (Value *[]){q, x->scale, x->zero}, 3);
}

/* pick(dequantize(q)) -> dequantize(pick(q)) */
static Value *pick_before_dequantize(Node *node) {
  Quantized x;
  if (!picks_elements(node) || node->result_count != 1 || !node_is(operand(node, 0)->def, &op_dequantize))
    return NULL;
  if (!read_single(operand(node, 0), &x) || !is_positive(x.scale)) return NULL;
  if (x.scale->type->rank > 0 || (x.zero && x.zero->type->rank > 0)) return NULL;
  Builder builder = builder_before(node);
  Value **operands = NEW_ARRAY(builder.graph->module->arena, Value *, node->operand_count);
  for (int i = 0; i < node->operand_count; i++) operands[i] = i ? operand(node, i) : x.q;
  Value *picked = node_try(node_like(&builder, node, operands), NULL);
  return picked ? build_dequantize(&builder, &x, picked) : NULL;
}

/* mean(dequantize(q, s, z)) -> mean(dequantize(q, 1, z)) * s: whole numbers are added, which is exact */
static Value *scale_behind_mean(Node *node) {
  bool adds =
      node_is(node, &op_average_pool) || node_is(node, &op_reduce_mean) || node_is(node, &op_reduce_sum);
  Quantized x;
  if (!adds || !node_is(operand(node, 0)->def, &op_dequantize) || !read_single(operand(node, 0), &x))
    return NULL;
  if (x.scale->type->rank > 0 || constant_is(x.scale, 1)) return NULL;
  Builder builder = builder_before(node);
  Quantized whole = {x.q, build_scalar(&builder, DTYPE_F32, 1), x.zero};
  Value *real = whole.scale ? build_dequantize(&builder, &whole, x.q) : NULL;
  Value *mean = real ? node_try(node_like(&builder, node, &real), result(node, 0)->type) : NULL;
  return mean ? build_binary(&builder, &op_mul, mean, x.scale) : NULL;
}

/* ---- quantize ---- */

static Value *quantized_like(Builder *builder, const Node *quantize, Value *x, Value *scale) {
  Node *node = node_like(builder, quantize, (Value *[]){x, scale, operand(quantize, 2)});
  return node_finish(node) ? result(node, 0) : NULL;
}

/* quantize(dequantize(q, s, z), s, z) -> q */
static Value *quantize_of_dequantize(Node *node) {
  Quantized x;
  if (!node_is(operand(node, 0)->def, &op_dequantize) || !read_single(operand(node, 0), &x)) return NULL;
  if (!operand(node, 1) || !is_positive(x.scale) || !same_parameter(x.scale, operand(node, 1))) return NULL;
  return same_parameter(x.zero, operand(node, 2)) && x.q->type == result(node, 0)->type ? x.q : NULL;
}

static bool parameters_are_numbers(const Node *quantize) {
  for (int i = 1; i < 3; i++)
    if (operand(quantize, i) && operand(quantize, i)->type->rank > 0) return false;
  return true;
}

/* quantize(pick(x)) -> pick(quantize(x)), and of all parts of a concat */
static Value *quantize_before_pick(Node *node) {
  Value *x = operand(node, 0);
  const Node *pick = x->def;
  bool joins = node_is(pick, &op_concat);
  if (!pick || !(joins || picks_elements(pick)) || !value_has_one_use(x) || pick->result_count != 1)
    return NULL;
  if (!parameters_are_numbers(node) || (operand(node, 1) && !is_positive(operand(node, 1)))) return NULL;
  Builder builder = builder_before(node);
  Value **operands = NEW_ARRAY(builder.graph->module->arena, Value *, pick->operand_count);
  for (int i = 0; i < pick->operand_count; i++) {
    operands[i] = operand(pick, i);
    if (i == 0 || joins) operands[i] = quantized_like(&builder, node, operands[i], operand(node, 1));
    if (!operands[i] && operand(pick, i)) return NULL;
  }
  return node_try(node_like(&builder, pick, operands), result(node, 0)->type);
}

/* What a value is made of that can be divided by dividing its constants: a product with a constant factor
 * (sums with their scale, the half of GELU), what is dequantized, a sum of such. */
typedef enum Divisible {
  DIVIDE_NONE,
  DIVIDE_FACTOR,
  DIVIDE_REAL,
  DIVIDE_CONSTANT,
  DIVIDE_ADD,
  DIVIDE_CLIP,
  DIVIDE_SAME
} Divisible;

/* Which operand of a mul stays, if the other one is constant; -1: none. */
static int factor_operand(const Node *mul) {
  for (int i = 0; i < 2; i++)
    if (value_is_constant(operand(mul, 1 - i)) && !value_is_constant(operand(mul, i))) return i;
  return -1;
}

static Divisible divisible(const Value *x) {
  const Node *node = x->def;
  Quantized q;
  if (value_is_constant(x)) return DIVIDE_CONSTANT;
  if (!node || !value_has_one_use(x)) return DIVIDE_NONE;
  if (node_is(node, &op_mul)) return factor_operand(node) >= 0 ? DIVIDE_FACTOR : DIVIDE_NONE;
  if (node_is(node, &op_dequantize))
    return read_single(x, &q) && value_is_constant(q.scale) ? DIVIDE_REAL : DIVIDE_NONE;
  return node_is(node, &op_add)                                  ? DIVIDE_ADD
         : node_is(node, &op_clip)                               ? DIVIDE_CLIP
         : node_is(node, &op_relu) || node_is(node, &op_reshape) ? DIVIDE_SAME
                                                                 : DIVIDE_NONE;
}

static bool can_divide(const Value *x) {
  const Node *node = x->def;
  switch (divisible(x)) {
  case DIVIDE_NONE: return false;
  case DIVIDE_FACTOR:
  case DIVIDE_REAL:
  case DIVIDE_CONSTANT: return true;
  case DIVIDE_ADD: return can_divide(operand(node, 0)) && can_divide(operand(node, 1));
  case DIVIDE_SAME: return can_divide(operand(node, 0));
  case DIVIDE_CLIP:
    for (int i = 1; i < 3; i++)
      if (operand(node, i) && !value_is_constant(operand(node, i))) return false;
    return can_divide(operand(node, 0));
  }
  return false;
}

/* x / s */
static Value *divided(Builder *builder, Value *x, Value *s) {
  Node *node = x->def;
  Divisible how = divisible(x);
  Value *operands[3] = {NULL};
  if (how == DIVIDE_CONSTANT) return build_binary(builder, &op_div, x, s);
  int kept = how == DIVIDE_FACTOR ? factor_operand(node) : how == DIVIDE_REAL ? 0 : -1;
  for (int i = 0; i < node->operand_count; i++) {
    operands[i] = operand(node, i);
    bool divides = operands[i] && i != kept && !(how == DIVIDE_REAL && i == 2);
    if (divides) operands[i] = divided(builder, operands[i], s);
    if (!operands[i] && operand(node, i)) return NULL;
  }
  return node_try(node_like(builder, node, operands), x->type);
}

/* quantize(relu(sums * m), s) -> quantize(relu(sums * (m / s))) */
static Value *divide_before(Node *node) {
  Value *s = operand(node, 1), *x = operand(node, 0);
  if (!s || s->type->rank > 0 || !is_positive(s)) return NULL;
  Builder builder = builder_before(node);
  if (value_is_constant(x) || !can_divide(x)) return NULL;
  Value *y = divided(&builder, x, s);
  return y ? quantized_like(&builder, node, y, NULL) : NULL;
}

/* ---- the pass ---- */

/* A dequantize for each of its uses, so that rewrites find one. */
static bool dequantize_per_use(Graph *graph) {
  bool changed = false;
  FOR_EACH_NODE(node, graph)
  for (int i = 0; i < node->operand_count; i++) {
    Value *x = operand(node, i);
    if (!x || !node_is(x->def, &op_dequantize) || value_has_one_use(x) || node_is(node, &op_return)) continue;
    Builder builder = builder_before(node);
    Quantized parts = {operand(x->def, 0), operand(x->def, 1), operand(x->def, 2)};
    Value *copy = build_dequantize(&builder, &parts, parts.q);
    if (!copy) return changed;
    operand_set(node, i, copy);
    changed = true;
  }
  return changed;
}

static Value *node_to_integers(Node *node) {
  if (!node_is(node, &op_quantize)) {
    Value *better = pick_before_dequantize(node);
    if (!better) better = scale_behind_mean(node);
    return better ? better : product_to_integers(node);
  }
  Value *better = quantize_of_dequantize(node);
  if (!better) better = quantize_before_pick(node);
  return better ? better : divide_before(node);
}

bool pass_integers(Graph *graph, const PassOptions *options) {
  (void)options;
  enum { MAX_SWEEPS = 16 };
  bool changed = graph_make_unsigned(graph), moved = true;
  changed |= dequantize_per_use(graph);
  for (int sweep = 0; moved && sweep < MAX_SWEEPS; sweep++) {
    moved = false;
    FOR_EACH_NODE_SAFE(node, graph) {
      bool may = node->result_count == 1 && !node->data && rewrite_allowed(node);
      Value *better = may ? node_to_integers(node) : NULL;
      if (!rewrite_done(graph->module, better)) continue;
      node_replace(node, better);
      moved = true;
    }
    graph_sweep(graph);
    changed |= moved;
  }
  return graph_make_tables(graph) || changed;
}
