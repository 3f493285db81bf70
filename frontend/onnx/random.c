/*
 * random.c -- ONNX operators that draw random numbers.
 *
 * All are arithmetic on random_uniform, whose numbers follow from a seed: every run of a library gives the
 * same. A node without attribute `seed` has the number of the node in the model as its seed, so that no two
 * of them draw alike. Dropout in training mode draws what numpy's generator gives for that seed, as ONNX's
 * own data expects, where the shape is known: its numbers become a constant.
 */
#include "frontend/onnx/onnx.h"

#include <math.h>
#include <string.h>

/* ---- seeds and numbers */

/* A whole number as it is, of others the bits: different seeds stay different. */
static int64_t seed_of(OnnxNode *node) {
  if (!attr_find(node, "seed")) return node->import->node_count;
  float seed = (float)attr_float(node, "seed", 0);
  uint32_t bits;
  if (seed == floorf(seed) && fabsf(seed) < 1e15f) return (int64_t)seed;
  memcpy(&bits, &seed, sizeof bits);
  return bits;
}

/* Seeds of further numbers for the same node. */
enum { SECOND = 1 };
static int64_t seed_part(int64_t seed, int part) {
  return part ? (int64_t)((uint64_t)seed ^ (uint64_t)part << 62) : seed;
}

static Value *uniform(OnnxNode *node, const Type *type, int64_t seed) {
  Node *core = node_new(&node->builder, &op_random_uniform, NULL, 0);
  node_set_dims(core, "shape", type->dims, type->rank);
  node_set_dtype(core, "dtype", type->dtype);
  node_set_int(core, "seed", seed);
  return finish(core);
}

static Value *scaled(OnnxNode *node, Value *x, double factor, double addend) {
  if (factor != 1) x = emit_binary(node, &op_mul, x, emit_scalar(node, x, factor));
  return addend == 0 ? x : emit_binary(node, &op_add, x, emit_scalar(node, x, addend));
}

/* Box and Muller 1958: sqrt(-2 log u) cos(2 pi v), of u in (0, 1]. */
static Value *normal(OnnxNode *node, const Type *type, int64_t seed) {
  Value *u = scaled(node, uniform(node, type, seed), -1, 1);
  Value *radius = emit_unary(node, &op_sqrt, scaled(node, emit_unary(node, &op_log, u), -2, 0));
  Value *angle = scaled(node, uniform(node, type, seed_part(seed, SECOND)), 2 * acos(-1), 0);
  return emit_binary(node, &op_mul, radius, emit_unary(node, &op_cos, angle));
}

/* The element type that attribute dtype names, else `absent`; one without arithmetic is an error. */
static bool random_dtype(OnnxNode *node, Dtype absent, Dtype *dtype) {
  *dtype = attr_find(node, "dtype") ? dtype_of_onnx(attr_int(node, "dtype", 0)) : absent;
  if (dtype_is_float(*dtype) && dtype_bits(*dtype) >= 16) return true;
  return onnx_fail(node, "random numbers of %s", *dtype ? dtype_name(*dtype) : "an unknown type");
}

/* ---- distributions */

static bool draw(OnnxNode *node, const Type *type) {
  int64_t seed = seed_of(node);
  if (strncmp(node->row->name, "RandomNormal", 12) == 0) {
    Value *x = normal(node, type, seed);
    return set_output(node, scaled(node, x, attr_float(node, "scale", 1), attr_float(node, "mean", 0)));
  }
  double low = attr_float(node, "low", 0), high = attr_float(node, "high", 1);
  return set_output(node, scaled(node, uniform(node, type, seed), high - low, low));
}

static bool import_random(OnnxNode *node) {
  int count;
  const Dim *dims[MAX_RANK];
  Dtype dtype;
  const int64_t *shape = attr_ints(node, "shape", &count);
  if (!shape || count > MAX_RANK) return onnx_fail(node, "a shape of %d dims", count);
  for (int i = 0; i < count; i++) {
    if (shape[i] < 0) return onnx_fail(node, "dim %d of the shape is %lld", i, (long long)shape[i]);
    dims[i] = dim_const(node->module, shape[i]);
  }
  TRY(random_dtype(node, DTYPE_F32, &dtype));
  return draw(node, type_make(node->module, dtype, count, dims));
}

static bool import_random_like(OnnxNode *node) {
  const Type *like = input(node, 0)->type;
  Dtype dtype;
  TRY(random_dtype(node, like->dtype, &dtype));
  return draw(node, type_with_dtype(node->module, like, dtype));
}

/* 1 with the probability that x says. */
static bool import_bernoulli(OnnxNode *node) {
  Value *x = input(node, 0);
  Dtype dtype = attr_find(node, "dtype") ? dtype_of_onnx(attr_int(node, "dtype", 0)) : x->type->dtype;
  if (dtype == DTYPE_NONE || dtype == DTYPE_STRING)
    return onnx_fail(node, "no numbers of type %lld", (long long)attr_int(node, "dtype", 0));
  Value *is_one = emit_binary(node, &op_less, uniform(node, x->type, seed_of(node)), x);
  return set_output(node, emit_cast(node, is_one, dtype));
}

/*
 * x is [batch, classes] of log-probabilities up to an addend; the result [batch, samples]. The largest of x -
 * log(-log u) is at class c with the probability of c (Gumbel 1954).
 */
static bool import_multinomial(OnnxNode *node) {
  Value *x = input(node, 0);
  int64_t samples = attr_int(node, "sample_size", 1);
  Dtype dtype = dtype_of_onnx(attr_int(node, "dtype", 6));
  if (x->type->rank != 2 || samples < 0 || samples > INT32_MAX || !dtype_is_int(dtype))
    return onnx_fail(node, "%lld samples of %s", (long long)samples, type_text(node->module, x->type));
  const Dim *const dims[] = {x->type->dims[0], dim_const(node->module, samples), x->type->dims[1]};
  const Dim *const rows[] = {dims[0], dim_const(node->module, 1), dims[2]};
  Value *u = uniform(node, type_make(node->module, DTYPE_F32, 3, dims), seed_of(node));
  u = scaled(node, u, 1, ldexp(1, -25)); /* above 0 */
  Value *rare = emit_unary(node, &op_log, scaled(node, emit_unary(node, &op_log, u), -1, 0));
  Value *logits = emit_reshape(node, emit_cast(node, x, DTYPE_F32), 3, rows);
  Value *scores = emit_binary(node, &op_sub, logits, rare);
  if (!scores) return false;
  Node *core = node_new(&node->builder, &op_arg_max, &scores, 1);
  node_set_int(core, "axis", 2);
  return set_output(node, emit_cast(node, emit_reshape(node, finish(core), 2, dims), dtype));
}

/* ---- Dropout */

/* MT19937 (Matsumoto and Nishimura 1998), seeded and read as numpy's RandomState does. */
typedef struct Twister {
  uint32_t words[624];
  int next;
} Twister;

static void twister_seed(Twister *t, uint32_t seed) {
  for (int i = 0; i < COUNT_OF(t->words); i++) {
    t->words[i] = seed;
    seed = 1812433253u * (seed ^ seed >> 30) + (uint32_t)i + 1;
  }
  t->next = COUNT_OF(t->words);
}

static void twister_refill(Twister *t) {
  enum { N = COUNT_OF(t->words), M = 397 };
  for (int i = 0; i < N; i++) {
    uint32_t y = (t->words[i] & 0x80000000u) | (t->words[(i + 1) % N] & 0x7fffffffu);
    t->words[i] = t->words[(i + M) % N] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
  }
  t->next = 0;
}

static uint32_t twister_word(Twister *t) {
  if (t->next == COUNT_OF(t->words)) twister_refill(t);
  uint32_t y = t->words[t->next++];
  y ^= y >> 11;
  y ^= y << 7 & 0x9d2c5680u;
  y ^= y << 15 & 0xefc60000u;
  return y ^ y >> 18;
}

/* What numpy's uniform() gives for a shape; beyond what is worth to store the numbers of random_uniform. */
static Value *numpy_uniform(OnnxNode *node, const Type *x, int64_t seed) {
  enum { MAX_STORED = 1 << 20 };
  const Type *type = type_with_dtype(node->module, x, DTYPE_F64);
  int64_t count = type_static_count(type);
  if (count < 0 || count > MAX_STORED) return uniform(node, type, seed);
  Twister twister;
  Data *data = data_new(node->module, DTYPE_F64, count);
  twister_seed(&twister, (uint32_t)seed);
  for (int64_t i = 0; i < count; i++) {
    double high = twister_word(&twister) >> 5, low = twister_word(&twister) >> 6;
    ((double *)data_bytes(data))[i] = (high * 67108864 + low) / 9007199254740992;
  }
  return build_const(&node->builder, type, data, NULL);
}

static Value *scalar_input(OnnxNode *node, int index) {
  Value *x = input(node, index);
  return x && x->type->rank > 0 ? emit_reshape(node, x, 0, NULL) : x;
}

/* What stays is scaled up by as much as is dropped. `training` NULL: certainly. */
static Value *drop(OnnxNode *node, Value *x, Value *ratio, Value *training) {
  Value *numbers = numpy_uniform(node, x->type, attr_int(node, "seed", node->import->node_count));
  Value *keep = emit_binary(node, &op_greater_or_equal, numbers, emit_cast(node, ratio, DTYPE_F64));
  ratio = emit_cast(node, ratio, x->type->dtype);
  Value *one = emit_scalar(node, x, 1);
  Value *scale = emit_binary(node, &op_div, one, emit_binary(node, &op_sub, one, ratio));
  if (training) {
    keep = emit_binary(node, &op_or, keep, emit_unary(node, &op_not, training));
    scale = emit_where(node, training, scale, one);
  }
  if (node->output_count > 1) node->outputs[1] = keep;
  return emit_where(node, keep, emit_binary(node, &op_mul, x, scale), emit_scalar(node, x, 0));
}

/* x as it is; the mask, if asked for, is all ones. */
static Value *keep_all(OnnxNode *node, Value *x, Dtype mask) {
  if (node->output_count > 1)
    node->outputs[1] = emit_broadcast(node, build_scalar(&node->builder, mask, 1), x->type);
  return x;
}

/* Inputs `at` and `at + 1` say what is dropped, and whether. */
static Value *dropout(OnnxNode *node, Value *x, int at) {
  double known_training = 0, known_ratio = 0.5;
  Value *ratio = scalar_input(node, at), *training = scalar_input(node, at + 1);
  bool is_known = !training || value_scalar(training, &known_training);
  if (ratio && !value_scalar(ratio, &known_ratio)) known_ratio = 0.5;
  if (!x) return NULL;
  if (known_ratio == 0 || (is_known && known_training == 0)) return keep_all(node, x, DTYPE_BOOL);
  if (!ratio) ratio = build_scalar(&node->builder, DTYPE_F32, known_ratio);
  return drop(node, x, ratio, is_known ? NULL : training);
}

/* Of inference; the mask has x's type before opset 10. */
static bool import_inference_dropout(OnnxNode *node) {
  Value *x = input(node, 0);
  return set_output(node, keep_all(node, x, node->row->since < 10 ? x->type->dtype : DTYPE_BOOL));
}

static bool import_dropout(OnnxNode *node) {
  return set_output(node, dropout(node, input(node, 0), 1));
}

/* dropout(x + bias) + residual */
static bool import_bias_dropout(OnnxNode *node) {
  Value *y = dropout(node, emit_binary(node, &op_add, input(node, 0), input(node, 1)), 3);
  return set_output(node, input(node, 2) ? emit_binary(node, &op_add, y, input(node, 2)) : y);
}

static const OnnxRow rows[] = {
    {"Bernoulli", 15, 1, 1, import_bernoulli, NULL},
    {"Dropout", 1, 1, 1, import_inference_dropout, NULL},
    {"Dropout", 10, 1, 1, import_inference_dropout, NULL},
    {"Dropout", 12, 1, 3, import_dropout, NULL},
    {"Multinomial", 7, 1, 1, import_multinomial, NULL},
    {"RandomNormal", 1, 0, 0, import_random, NULL},
    {"RandomNormalLike", 1, 1, 1, import_random_like, NULL},
    {"RandomUniform", 1, 0, 0, import_random, NULL},
    {"RandomUniformLike", 1, 1, 1, import_random_like, NULL},
    {"com.microsoft.BiasDropout", 1, 2, 5, import_bias_dropout, NULL},
};

const OnnxRows onnx_random = {rows, COUNT_OF(rows)};
