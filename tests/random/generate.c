/*
 * generate.c -- random small graphs of core ops, with odd shapes.
 *
 * Values are made one by one from a pool of earlier ones: a maker picks operands that suit its op, builds
 * constants for the rest, and gives up (NULL) when the pool has nothing for it. Each value used by nobody
 * becomes an output. Ops that jump (round, sign, comparisons) are left out or only see inputs, so that
 * rounding may differ without the results falling apart; what could grow without bound goes through tanh.
 */
#include "tests/random/generate.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_POOL = 128, MAX_ELEMENTS = 2048 };

typedef struct Generator {
  Random random;
  Module *module;
  Builder builder;
  Value *pool[MAX_POOL];
  int count;
} Generator;

uint64_t random_next(Random *random) {
  uint64_t x = random->state += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

int random_below(Random *random, int limit) {
  return (int)(random_next(random) % (uint64_t)limit);
}

double random_between(Random *random, double low, double high) {
  return low + (high - low) * (double)(random_next(random) >> 11) / (double)(1ull << 53);
}

static int below(Generator *g, int limit) {
  return random_below(&g->random, limit);
}
static bool chance(Generator *g, int percent) {
  return below(g, 100) < percent;
}
static const Dim *number(Generator *g, int64_t value) {
  return dim_const(g->module, value);
}

/* ---- constants ---- */

static Value *constant(Generator *g, int rank, const int64_t *dims, double low, double high) {
  const Type *type = type_static(g->module, DTYPE_F32, rank, dims);
  int64_t count = type_static_count(type);
  if (chance(g, 10)) return build_splat(&g->builder, type, random_between(&g->random, low, high));
  Data *data = data_new(g->module, DTYPE_F32, count);
  for (int64_t i = 0; i < count; i++)
    dtype_set(DTYPE_F32, data_bytes(data), i, random_between(&g->random, low, high));
  return build_const(&g->builder, type, data, NULL);
}

static Value *vector(Generator *g, int64_t size, double low, double high) {
  return constant(g, 1, &size, low, high);
}

/* A constant that broadcasts to the type: some axes 1, some leading ones left out. */
static Value *constant_for(Generator *g, const Type *type, double low, double high) {
  int64_t dims[MAX_RANK];
  int drop = type->rank ? below(g, type->rank + 1) : 0, rank = type->rank - drop;
  for (int i = 0; i < rank; i++) {
    const Dim *dim = type->dims[i + drop];
    dims[i] = dim_is_const(dim) && chance(g, 50) ? dim->value : 1;
  }
  return constant(g, rank, dims, low, high);
}

/* ---- picking ---- */

static Value *pick(Generator *g, int min_rank, int max_rank) {
  for (int tries = 0; tries < 20; tries++) {
    int recent = chance(g, 60) && g->count > 4 ? g->count - 4 : 0;
    Value *value = g->pool[recent + below(g, g->count - recent)];
    if (value->type->rank >= min_rank && value->type->rank <= max_rank) return value;
  }
  return NULL;
}

static Value *pick_type(Generator *g, const Type *type) {
  int start = below(g, g->count);
  for (int i = 0; i < g->count; i++) {
    Value *value = g->pool[(start + i) % g->count];
    if (value->type == type) return value;
  }
  return NULL;
}

static bool fixed(const Type *type, int axis) {
  return dim_is_const(type->dims[axis]);
}

/* Positive divisor of n, at random. */
static int64_t divisor(Generator *g, int64_t n) {
  int64_t d = 1 + below(g, (int)n);
  while (n % d) d--;
  return d;
}

static Value *finish(Node *node) {
  return node_finish(node) ? result(node, 0) : NULL;
}

/* ---- makers: one per kind of op; NULL when the pool has nothing that suits ---- */

static Value *make_unary(Generator *g) {
  static const char *const names[] = {"abs",      "neg",  "relu",        "sigmoid",  "tanh",       "sin",
                                      "cos",      "erf",  "gelu",        "silu",     "leaky_relu", "elu",
                                      "softplus", "mish", "hard_swish",  "softsign", "atan",       "exp",
                                      "selu",     "celu", "hard_sigmoid"};
  const char *name = names[below(g, COUNT_OF(names))];
  const Op *op = op_find(name, strlen(name));
  Value *x = pick(g, 0, 6);
  if (!op || !x) return NULL;
  if (strcmp(name, "exp") == 0) x = build_unary(&g->builder, &op_tanh, x);
  return build_unary(&g->builder, op, x);
}

static Value *make_binary(Generator *g) {
  static const Op *const ops[] = {&op_add, &op_add, &op_mul, &op_sub, &op_div, &op_max, &op_min, &op_prelu};
  const Op *op = ops[below(g, COUNT_OF(ops))];
  Value *x = pick(g, 0, 6);
  if (!x) return NULL;
  Value *y = chance(g, 50) ? pick_type(g, x->type) : NULL;
  if (!y || op == &op_div || op == &op_prelu) y = constant_for(g, x->type, 0.5, 1.5);
  bool swap = op != &op_div && op != &op_prelu && chance(g, 30);
  return build_binary(&g->builder, op, swap ? y : x, swap ? x : y);
}

static Value *make_where(Generator *g) {
  Value *input = g->builder.graph->inputs[0], *x = pick_type(g, input->type);
  if (!x) return NULL;
  Value *condition = build_binary(&g->builder, &op_greater, input, build_scalar(&g->builder, DTYPE_F32, 0.1));
  Value *operands[] = {condition, x, constant_for(g, x->type, -1, 1)};
  return build_op(&g->builder, &op_where, operands, 3);
}

static Value *make_clip(Generator *g) {
  Value *operands[] = {pick(g, 0, 6), build_scalar(&g->builder, DTYPE_F32, -0.5),
                       build_scalar(&g->builder, DTYPE_F32, 0.75)};
  return operands[0] ? build_op(&g->builder, &op_clip, operands, 3) : NULL;
}

static void set_windows(Generator *g, Node *node, int spatial, const int64_t *kernel, bool small_pads) {
  int64_t strides[MAX_RANK], dilations[MAX_RANK], pads[2 * MAX_RANK];
  for (int i = 0; i < spatial; i++) {
    strides[i] = 1 + chance(g, 30);
    dilations[i] = 1 + chance(g, 20);
    pads[i] = small_pads ? kernel[i] > 1 && chance(g, 50) : below(g, 3);
    pads[spatial + i] = small_pads ? kernel[i] > 1 && chance(g, 50) : below(g, 3);
  }
  node_set_ints(node, "strides", strides, spatial);
  node_set_ints(node, "dilations", dilations, spatial);
  node_set_ints(node, "pads", pads, 2 * spatial);
}

/* Whether all axes but the first are constant, and spatial ones at least `least`. */
static bool is_map(const Type *type, bool last, int64_t least) {
  for (int i = 1; i < type->rank; i++) {
    bool channel = i == (last ? type->rank - 1 : 1);
    if (!fixed(type, i) || (!channel && type->dims[i]->value < least)) return false;
  }
  return true;
}

static Value *make_conv(Generator *g) {
  bool last = chance(g, 25), bias = chance(g, 60);
  Value *x = pick(g, 3, 4);
  if (!x || !is_map(x->type, last, 5)) return NULL;
  int spatial = x->type->rank - 2;
  int64_t channels = x->type->dims[last ? x->type->rank - 1 : 1]->value,
          group = chance(g, 40) ? divisor(g, channels) : 1;
  int64_t out = group * (1 + below(g, group > 1 ? 2 : 5)), kernel[MAX_RANK], dims[MAX_RANK];
  for (int i = 0; i < spatial; i++) kernel[i] = 1 + below(g, 3);
  memcpy(dims + (last ? 0 : 2), kernel, sizeof kernel[0] * (size_t)spatial);
  dims[last ? spatial : 1] = channels / group;
  dims[last ? spatial + 1 : 0] = out;
  Value *operands[] = {x, constant(g, spatial + 2, dims, -0.5, 0.5), bias ? vector(g, out, -1, 1) : NULL};
  Node *node = node_new(&g->builder, &op_conv, operands, bias ? 3 : 2);
  node_set_string(node, "layout", last ? "nhwc" : "nchw");
  node_set_int(node, "group", group);
  set_windows(g, node, spatial, kernel, false);
  return finish(node);
}

static Value *make_conv_transpose(Generator *g) {
  bool last = chance(g, 25), bias = chance(g, 60);
  Value *x = pick(g, 3, 4);
  if (!x || !is_map(x->type, last, 2)) return NULL;
  int spatial = x->type->rank - 2;
  int64_t channels = x->type->dims[last ? x->type->rank - 1 : 1]->value,
          group = chance(g, 30) ? divisor(g, channels) : 1;
  int64_t out = 1 + below(g, 3), kernel[MAX_RANK], dims[MAX_RANK], zeros[MAX_RANK] = {0};
  for (int i = 0; i < spatial; i++) kernel[i] = 2 + below(g, 2);
  memcpy(dims + (last ? 0 : 2), kernel, sizeof kernel[0] * (size_t)spatial);
  dims[last ? spatial : 0] = channels;
  dims[last ? spatial + 1 : 1] = out;
  Value *operands[] = {x, constant(g, spatial + 2, dims, -0.5, 0.5),
                       bias ? vector(g, out * group, -1, 1) : NULL};
  Node *node = node_new(&g->builder, &op_conv_transpose, operands, bias ? 3 : 2);
  node_set_string(node, "layout", last ? "nhwc" : "nchw");
  node_set_int(node, "group", group);
  node_set_ints(node, "output_padding", zeros, spatial);
  set_windows(g, node, spatial, kernel, true);
  return finish(node);
}

static Value *make_pool(Generator *g) {
  bool last = chance(g, 25);
  Value *x = pick(g, 3, 4);
  if (!x || !is_map(x->type, last, 5)) return NULL;
  int spatial = x->type->rank - 2;
  int64_t kernel[MAX_RANK];
  for (int i = 0; i < spatial; i++) kernel[i] = 2 + below(g, 2);
  Node *node = node_new(&g->builder, chance(g, 50) ? &op_max_pool : &op_average_pool, &x, 1);
  node_set_string(node, "layout", last ? "nhwc" : "nchw");
  node_set_ints(node, "kernel", kernel, spatial);
  set_windows(g, node, spatial, kernel, true);
  return finish(node);
}

static Value *make_batch_norm(Generator *g) {
  Value *x = pick(g, 2, 5);
  if (!x || !fixed(x->type, 1)) return NULL;
  int64_t c = x->type->dims[1]->value;
  Value *operands[] = {x, vector(g, c, 0.5, 1.5), vector(g, c, -1, 1), vector(g, c, -1, 1),
                       vector(g, c, 0.5, 2)};
  return build_op(&g->builder, &op_batch_norm, operands, 5);
}

static Value *make_gemm(Generator *g) {
  Value *x = pick(g, 2, 2);
  if (!x || !fixed(x->type, 1)) return NULL;
  bool transposed = chance(g, 50), bias = chance(g, 60);
  int64_t n = 1 + below(g, 9), k = x->type->dims[1]->value, dims[] = {transposed ? n : k, transposed ? k : n};
  Value *operands[] = {x, constant(g, 2, dims, -0.5, 0.5), bias ? vector(g, n, -1, 1) : NULL};
  Node *node = node_new(&g->builder, &op_gemm, operands, bias ? 3 : 2);
  node_set_bool(node, "trans_b", transposed);
  return finish(node);
}

/* The head of a classifier: everything but the batch in one row, then weights. */
static Value *make_flatten(Generator *g) {
  Value *x = pick(g, 3, 4);
  if (!x || !is_map(x->type, false, 1)) return NULL;
  const Dim *dims[] = {x->type->dims[0], number(g, 1)};
  for (int i = 1; i < x->type->rank; i++) dims[1] = dim_mul(g->module, dims[1], x->type->dims[i]);
  int64_t sizes[] = {dims[1]->value, 3};
  return build_binary(&g->builder, &op_matmul, build_reshape(&g->builder, x, 2, dims),
                      constant(g, 2, sizes, -0.3, 0.3));
}

static Value *make_matmul(Generator *g) {
  Value *x = pick(g, 1, 5);
  if (!x || !fixed(x->type, x->type->rank - 1)) return NULL;
  int64_t k = x->type->dims[x->type->rank - 1]->value, dims[] = {k, 1 + below(g, 7)};
  return build_binary(&g->builder, &op_matmul, x, constant(g, 2, dims, -0.5, 0.5));
}

static Value *make_reduce(Generator *g) {
  static const Op *const ops[] = {&op_reduce_sum, &op_reduce_mean, &op_reduce_max, &op_reduce_min};
  Value *x = pick(g, 1, 5);
  if (!x) return NULL;
  int64_t axes[MAX_RANK];
  int count = 0;
  for (int i = 0; i < x->type->rank; i++)
    if (chance(g, 50)) axes[count++] = i;
  if (count == 0) axes[count++] = below(g, x->type->rank);
  Node *node = node_new(&g->builder, ops[below(g, COUNT_OF(ops))], &x, 1);
  node_set_ints(node, "axes", axes, count);
  return finish(node);
}

static Value *make_softmax(Generator *g) {
  Value *x = pick(g, 1, 5);
  if (!x) return NULL;
  Node *node = node_new(&g->builder, chance(g, 70) ? &op_softmax : &op_log_softmax, &x, 1);
  node_set_int(node, "axis", below(g, x->type->rank));
  return finish(node);
}

static Value *make_layer_norm(Generator *g) {
  Value *x = pick(g, 2, 4);
  if (!x || !fixed(x->type, x->type->rank - 1)) return NULL;
  int64_t size = x->type->dims[x->type->rank - 1]->value;
  Value *operands[] = {x, vector(g, size, 0.5, 1.5), vector(g, size, -1, 1)};
  Node *node = node_new(&g->builder, &op_layer_norm, operands, 3);
  node_set_bool(node, "center", below(g, 4) > 0);
  node_set_float(node, "epsilon", 0.1); /* rows of equal elements must not blow rounding up */
  return finish(node);
}

/* The heads of x[b, s, c], or of a part of it: [b, heads, s, c / heads]. */
static Value *split_heads(Generator *g, Value *x, const Dim *heads) {
  static const int64_t perm[] = {0, 2, 1, 3};
  const Type *type = x->type;
  const Dim *dims[] = {type->dims[0], type->dims[1], heads, number(g, type->dims[2]->value / heads->value)};
  return build_transpose(&g->builder, build_reshape(&g->builder, x, 4, dims), perm);
}

/* Attention as exporters write it, of x to itself. */
static Value *make_attention(Generator *g) {
  static const int64_t swap[] = {0, 1, 3, 2}, back[] = {0, 2, 1, 3};
  Value *x = pick(g, 3, 3);
  if (!x || !fixed(x->type, 2) || x->type->dims[2]->value == 0) return NULL;
  Builder *b = &g->builder;
  const Dim *heads = number(g, divisor(g, x->type->dims[2]->value));
  Value *factor = build_scalar(b, DTYPE_F32, 0.5), *q = split_heads(g, x, heads);
  Value *k = build_transpose(b, split_heads(g, build_unary(b, &op_tanh, x), heads), swap);
  if (chance(g, 30)) q = build_binary(b, &op_mul, q, factor);
  Value *scores = build_binary(b, &op_matmul, q, k);
  if (chance(g, 50)) scores = build_binary(b, &op_div, scores, factor);
  if (chance(g, 50)) scores = build_binary(b, &op_add, scores, constant_for(g, scores->type, -2, 2));
  if (chance(g, 20)) scores = build_binary(b, &op_mul, factor, scores);
  Value *y = build_binary(b, &op_matmul, build_unary(b, &op_softmax, scores), split_heads(g, x, heads));
  return chance(g, 60) ? build_transpose(b, y, back) : y;
}

static Value *make_transpose(Generator *g) {
  Value *x = pick(g, 2, 5);
  if (!x) return NULL;
  int64_t perm[MAX_RANK];
  for (int i = 0; i < x->type->rank; i++) perm[i] = i;
  for (int i = x->type->rank - 1; i > 0; i--) {
    int k = below(g, i + 1);
    int64_t swap = perm[i];
    perm[i] = perm[k];
    perm[k] = swap;
  }
  return build_transpose(&g->builder, x, perm);
}

/* Merges two neighbouring axes, splits one, or adds a 1. */
static Value *make_reshape(Generator *g) {
  Value *x = pick(g, 1, 5);
  if (!x) return NULL;
  const Dim *dims[MAX_RANK];
  int rank = 0, at = below(g, x->type->rank), kind = below(g, 3);
  for (int i = 0; i < x->type->rank; i++) {
    const Dim *dim = x->type->dims[i];
    if (i == at && kind == 0 && i + 1 < x->type->rank) {
      dims[rank++] = dim_mul(g->module, dim, x->type->dims[++i]);
    } else if (i == at && kind == 1 && dim_is_const(dim) && dim->value > 0) {
      int64_t d = divisor(g, dim->value);
      dims[rank++] = number(g, d);
      dims[rank++] = number(g, dim->value / d);
    } else {
      dims[rank++] = dim;
      if (i == at && kind == 2) dims[rank++] = number(g, 1);
    }
  }
  return build_reshape(&g->builder, x, rank, dims);
}

static Value *make_slice(Generator *g) {
  Value *x = pick(g, 1, 5);
  if (!x) return NULL;
  const Dim *starts[MAX_RANK], *sizes[MAX_RANK];
  int64_t steps[MAX_RANK];
  for (int i = 0; i < x->type->rank; i++) {
    starts[i] = number(g, 0);
    sizes[i] = x->type->dims[i];
    steps[i] = 1;
    if (!fixed(x->type, i) || x->type->dims[i]->value < 2 || chance(g, 50)) continue;
    int64_t size = sizes[i]->value, start = below(g, (int)size);
    steps[i] = chance(g, 25) ? 2 : chance(g, 15) ? -1 : 1;
    int64_t room = steps[i] > 0 ? (size - start + steps[i] - 1) / steps[i] : start + 1;
    starts[i] = number(g, start);
    sizes[i] = number(g, 1 + below(g, (int)room));
  }
  Node *node = node_new(&g->builder, &op_slice, &x, 1);
  node_set_dims(node, "starts", starts, x->type->rank);
  node_set_dims(node, "sizes", sizes, x->type->rank);
  node_set_ints(node, "steps", steps, x->type->rank);
  return finish(node);
}

static Value *make_concat(Generator *g) {
  Value *x = pick(g, 1, 5), *operands[3] = {x, x, x};
  if (!x) return NULL;
  int count = 2 + below(g, 2);
  for (int i = 1; i < count; i++) operands[i] = pick_type(g, x->type);
  Node *node = node_new(&g->builder, &op_concat, operands, count);
  node_set_int(node, "axis", below(g, x->type->rank));
  return finish(node);
}

static Value *concat_of(Generator *g, Value *const *parts, int count, int axis) {
  if (count == 1) return parts[0];
  Node *node = node_new(&g->builder, &op_concat, parts, count);
  node_set_int(node, "axis", axis);
  return finish(node);
}

/* One half of x, or x. */
static Value *make_chunk(Generator *g, Value *x, int axis) {
  const Dim *starts[MAX_RANK], *sizes[MAX_RANK];
  if (!fixed(x->type, axis) || x->type->dims[axis]->value < 2) return x;
  for (int i = 0; i < x->type->rank; i++) {
    starts[i] = number(g, 0);
    sizes[i] = x->type->dims[i];
  }
  int64_t half = sizes[axis]->value / 2;
  if (chance(g, 50)) starts[axis] = number(g, half);
  sizes[axis] = number(g, half);
  Node *node = node_new(&g->builder, &op_slice, &x, 1);
  node_set_dims(node, "starts", starts, x->type->rank);
  node_set_dims(node, "sizes", sizes, x->type->rank);
  return finish(node);
}

/* Layers that each see all layers before them, or the last one, or half of it; all of them at the end. */
static Value *make_growing(Generator *g) {
  enum { LAYERS = 4 };
  Value *parts[LAYERS], *x = parts[0] = pick(g, 2, 5);
  if (!x) return NULL;
  int axis = chance(g, 60) ? x->type->rank - 1 : below(g, x->type->rank);
  for (int i = 1; i < LAYERS; i++) {
    Value *seen = chance(g, 60) ? concat_of(g, parts, i, axis) : parts[i - 1];
    if (seen && chance(g, 40)) seen = make_chunk(g, seen, axis);
    if (seen && chance(g, 80)) seen = build_unary(&g->builder, chance(g, 50) ? &op_tanh : &op_relu, seen);
    if (!seen) return NULL;
    parts[i] = seen;
    if (chance(g, 20) && g->count < MAX_POOL) g->pool[g->count++] = seen;
  }
  return concat_of(g, parts, LAYERS, axis);
}

static Value *make_pad(Generator *g) {
  static const char *const modes[] = {"constant", "reflect", "edge", "wrap"};
  Value *x = pick(g, 1, 4);
  if (!x || !is_map(x->type, false, 1)) return NULL;
  const Dim *pads[2 * MAX_RANK];
  int rank = x->type->rank, mode = below(g, COUNT_OF(modes));
  for (int i = 0; i < 2 * rank; i++) {
    bool room = fixed(x->type, i % rank) && x->type->dims[i % rank]->value > 2;
    pads[i] = number(g, room && chance(g, 40) ? 1 + below(g, 2) : 0);
  }
  Node *node = node_new(&g->builder, &op_pad, &x, 1);
  node_set_dims(node, "pads", pads, 2 * rank);
  node_set_string(node, "mode", modes[mode]);
  return finish(node);
}

static Value *make_resize(Generator *g) {
  static const char *const modes[] = {"nearest", "linear"};
  static const char *const coordinates[] = {"half_pixel", "asymmetric", "align_corners"};
  Value *x = pick(g, 3, 4);
  if (!x || !is_map(x->type, false, 2)) return NULL;
  const Dim *sizes[MAX_RANK];
  for (int i = 0; i < x->type->rank; i++) sizes[i] = x->type->dims[i];
  for (int i = x->type->rank - 2; i < x->type->rank; i++)
    if (dim_is_const(sizes[i])) sizes[i] = number(g, sizes[i]->value + below(g, 4));
  Node *node = node_new(&g->builder, &op_resize, &x, 1);
  node_set_dims(node, "sizes", sizes, x->type->rank);
  node_set_string(node, "mode", modes[below(g, COUNT_OF(modes))]);
  node_set_string(node, "coordinates", coordinates[below(g, COUNT_OF(coordinates))]);
  return finish(node);
}

static Value *make_gather(Generator *g) {
  Value *x = pick(g, 1, 4);
  int axis = x ? below(g, x->type->rank) : 0;
  if (!x || !fixed(x->type, axis) || x->type->dims[axis]->value < 1) return NULL;
  int64_t indices[3];
  for (int i = 0; i < 3; i++) indices[i] = below(g, (int)x->type->dims[axis]->value);
  Value *operands[] = {x, build_ints(&g->builder, indices, 3)};
  Node *node = node_new(&g->builder, &op_gather, operands, 2);
  node_set_int(node, "axis", axis);
  return finish(node);
}

/* The values only: where they were is not the same after rounding. */
static Value *make_top_k(Generator *g) {
  Value *x = pick(g, 1, 4);
  int axis = x ? below(g, x->type->rank) : 0;
  if (!x) return NULL;
  const Dim *k =
      number(g, fixed(x->type, axis) ? below(g, 1 + (int)x->type->dims[axis]->value) : below(g, 4));
  Node *node = node_new(&g->builder, &op_top_k, &x, 1);
  node_set_dims(node, "k", &k, 1);
  node_set_int(node, "axis", axis);
  node_set_bool(node, "largest", chance(g, 50));
  return finish(node);
}

static Value *make_scan(Generator *g) {
  Value *x = pick(g, 1, 4);
  if (!x) return NULL;
  Node *node = node_new(&g->builder, &op_cum_sum, &x, 1);
  node_set_int(node, "axis", below(g, x->type->rank));
  node_set_bool(node, "exclusive", chance(g, 30));
  node_set_bool(node, "reverse", chance(g, 30));
  return finish(node);
}

/* Three rows of x, some of them twice, come from three others. */
static Value *make_scatter(Generator *g) {
  static const char *const reductions[] = {"none", "add", "max"};
  enum { ROWS = 3 };
  Value *x = pick(g, 1, 4);
  if (!x || !fixed(x->type, 0) || x->type->dims[0]->value < 1) return NULL;
  int64_t from[ROWS], to[ROWS];
  for (int i = 0; i < ROWS; i++) {
    from[i] = below(g, (int)x->type->dims[0]->value);
    to[i] = below(g, (int)x->type->dims[0]->value);
  }
  const Dim *column[] = {number(g, ROWS), number(g, 1)};
  Value *rows = build_binary(&g->builder, &op_gather, x, build_ints(&g->builder, from, ROWS));
  Value *indices = build_reshape(&g->builder, build_ints(&g->builder, to, ROWS), 2, column);
  Node *node = node_new(&g->builder, &op_scatter_nd, (Value *[]){x, indices, rows}, 3);
  node_set_string(node, "reduction", reductions[below(g, COUNT_OF(reductions))]);
  return finish(node);
}

static Value *make_broadcast(Generator *g) {
  Value *x = pick(g, 0, 4);
  if (!x) return NULL;
  const Dim *dims[MAX_RANK];
  int more = below(g, 2);
  if (more) dims[0] = number(g, 2);
  for (int i = 0; i < x->type->rank; i++)
    dims[i + more] = dim_is(x->type->dims[i], 1) && chance(g, 50) ? number(g, 3) : x->type->dims[i];
  Node *node = node_new(&g->builder, &op_broadcast, &x, 1);
  node_set_dims(node, "shape", dims, x->type->rank + more);
  return finish(node);
}

/* A squeeze-and-excitation block, a residual, a normalised convolution: what networks are made of. */
static Value *make_block(Generator *g) {
  Value *x = make_conv(g);
  if (!x || x->type->rank < 3) return NULL;
  if (fixed(x->type, 1) && chance(g, 60)) {
    int64_t dims[MAX_RANK] = {x->type->dims[1]->value, 1, 1, 1};
    Value *scale = constant(g, x->type->rank - 1, dims, 0.5, 1.5);
    Value *shift = constant(g, x->type->rank - 1, dims, -1, 1);
    x = build_binary(&g->builder, &op_mul, x, scale);
    x = build_binary(&g->builder, chance(g, 70) ? &op_add : &op_sub, x, shift);
  }
  Value *y = build_unary(&g->builder, &op_sigmoid, x);
  return build_binary(&g->builder, chance(g, 50) ? &op_mul : &op_add, x, y);
}

static const struct {
  Value *(*make)(Generator *g);
  int weight;
} makers[] = {
    {make_unary, 10},  {make_binary, 16}, {make_where, 2},      {make_clip, 3},      {make_conv, 10},
    {make_block, 6},   {make_pool, 5},    {make_batch_norm, 5}, {make_gemm, 5},      {make_conv_transpose, 3},
    {make_matmul, 4},  {make_reduce, 5},  {make_softmax, 3},    {make_transpose, 8}, {make_layer_norm, 2},
    {make_reshape, 6}, {make_slice, 4},   {make_concat, 4},     {make_growing, 3},   {make_pad, 3},
    {make_resize, 2},  {make_gather, 2},  {make_flatten, 4},    {make_broadcast, 2}, {make_attention, 3},
    {make_top_k, 2},   {make_scan, 2},    {make_scatter, 2},
};

/* ---- the whole graph ---- */

static Value *make_any(Generator *g) {
  int total = 0, at;
  for (int i = 0; i < COUNT_OF(makers); i++) total += makers[i].weight;
  at = below(g, total);
  for (int i = 0;; i++) {
    if (at < makers[i].weight) return makers[i].make(g);
    at -= makers[i].weight;
  }
}

static void add_inputs(Generator *g) {
  int count = 1 + below(g, 3);
  const Dim *batch = chance(g, 25) ? dim_symbol(g->module, "N") : number(g, 1 + below(g, 2));
  for (int i = 0; i < count; i++) {
    int rank = i == 0 ? 4 : 2 + below(g, 3);
    const Dim *dims[MAX_RANK] = {batch};
    for (int k = 1; k < rank; k++) dims[k] = number(g, 1 + below(g, rank == 4 ? 9 : 12));
    const Type *type = type_make(g->module, DTYPE_F32, rank, dims);
    g->pool[g->count++] = graph_add_input(g->builder.graph, arena_printf(g->module->arena, "x%d", i), type);
  }
}

static void add_outputs(Generator *g) {
  Value *values[MAX_POOL];
  const char *names[MAX_POOL];
  int count = 0;
  for (int i = 0; i < g->count; i++) {
    if (g->pool[i]->uses || !g->pool[i]->def) continue;
    names[count] = arena_printf(g->module->arena, "y%d", count);
    values[count++] = g->pool[i];
  }
  if (count == 0) {
    names[0] = "y";
    values[count++] = g->pool[0];
  }
  graph_set_outputs(g->builder.graph, count, values, names);
}

/* Elements when symbols are 3. */
static double elements(const Type *type) {
  double count = 1;
  for (int i = 0; i < type->rank; i++)
    count *= dim_is_const(type->dims[i]) ? (double)type->dims[i]->value : 3;
  return count;
}

Module *generate_graph(uint64_t seed, int size) {
  Generator g = {.random = {seed}, .module = module_new("random")};
  g.module->main = graph_new(g.module, "random", NULL);
  g.builder = builder_at_end(g.module->main);
  add_inputs(&g);
  for (int tries = 0; tries < 8 * size && size > 0 && g.count < MAX_POOL; tries++) {
    Value *value = make_any(&g);
    if (!value || elements(value->type) > MAX_ELEMENTS || elements(value->type) < 1) continue;
    g.pool[g.count++] = chance(&g, 8) ? build_unary(&g.builder, &op_tanh, value) : value;
    size--;
  }
  add_outputs(&g);
  return g.module;
}

bool generate_inputs(const Graph *graph, uint64_t seed, int64_t symbol, Tensor *inputs) {
  Random random = {seed ^ 0x5eed};
  for (int i = 0; i < graph->input_count; i++) {
    const Type *type = graph->inputs[i]->type;
    int64_t dims[MAX_RANK];
    for (int k = 0; k < type->rank; k++)
      dims[k] = dim_is_const(type->dims[k]) ? type->dims[k]->value : symbol;
    TRY(tensor_new(&inputs[i], type->dtype, type->rank, dims));
    for (int64_t k = 0; k < tensor_count(&inputs[i]); k++)
      dtype_set(type->dtype, inputs[i].data, k, random_between(&random, -1.5, 1.5));
  }
  return true;
}
