/*
 * networks.c -- random small networks: blocks of layers as models have them, between an input and a head, so
 * that most axes can lose indices. generate.c makes graphs of any ops, of which few axes can.
 */
#include "tests/random/networks.h"

#include <string.h>

typedef struct Net {
  Random random;
  Module *module;
  Builder builder;
} Net;

static bool chance(Net *n, int percent) {
  return random_below(&n->random, 100) < percent;
}

static int64_t among(Net *n, int64_t low, int64_t high) {
  return low + random_below(&n->random, (int)(high - low + 1));
}

/* A divisor of `whole` other than itself, if there is one. */
static int64_t part_of(Net *n, int64_t whole) {
  int64_t d = among(n, 1, whole > 1 ? whole - 1 : 1);
  while (whole % d) d--;
  return d;
}

static Value *constant(Net *n, int rank, const int64_t *dims) {
  const Type *type = type_static(n->module, DTYPE_F32, rank, dims);
  int64_t count = type_static_count(type);
  if (chance(n, 5)) return build_splat(&n->builder, type, random_between(&n->random, -0.5, 0.5));
  Data *data = data_new(n->module, DTYPE_F32, count);
  for (int64_t i = 0; i < count; i++)
    dtype_set(DTYPE_F32, data_bytes(data), i, random_between(&n->random, -0.5, 0.5));
  return build_const(&n->builder, type, data, NULL);
}

static int64_t size_of(const Value *x, int axis) {
  return x->type->dims[axis]->value;
}

static Value *apply(Net *n, const Op *op, Value *x) {
  return build_unary(&n->builder, op, x);
}

static Value *activation(Net *n, Value *x) {
  static const Op *const ops[] = {&op_relu, &op_tanh, &op_silu, &op_sigmoid};
  return apply(n, ops[random_below(&n->random, COUNT_OF(ops))], x);
}

static Value *add(Net *n, Value *x, Value *y) {
  return build_binary(&n->builder, &op_add, x, y);
}

static Value *reshape(Net *n, Value *x, int rank, const int64_t *sizes) {
  const Dim *dims[MAX_RANK];
  for (int i = 0; i < rank; i++)
    dims[i] = sizes[i] < 0 ? x->type->dims[-1 - sizes[i]] : dim_const(n->module, sizes[i]);
  return build_reshape(&n->builder, x, rank, dims);
}

static Value *concat(Net *n, Value *x, Value *y, int axis) {
  Node *node = node_new(&n->builder, &op_concat, (Value *[]){x, y}, 2);
  node_set_int(node, "axis", axis);
  return node_finish(node) ? result(node, 0) : NULL;
}

static Value *slice(Net *n, Value *x, int axis, int64_t start, int64_t size) {
  const Dim *starts[MAX_RANK], *sizes[MAX_RANK];
  for (int i = 0; i < x->type->rank; i++) {
    starts[i] = dim_const(n->module, i == axis ? start : 0);
    sizes[i] = i == axis ? dim_const(n->module, size) : x->type->dims[i];
  }
  Node *node = node_new(&n->builder, &op_slice, &x, 1);
  node_set_dims(node, "starts", starts, x->type->rank);
  node_set_dims(node, "sizes", sizes, x->type->rank);
  return node_finish(node) ? result(node, 0) : NULL;
}

/* ---- blocks on feature maps, [n, c, h, w] ---- */

static Value *conv(Net *n, Value *x, int64_t out, int64_t group, int64_t kernel) {
  bool bias = chance(n, 60), last = chance(n, 15);
  static const int64_t to_last[] = {0, 2, 3, 1}, to_first[] = {0, 3, 1, 2};
  int64_t c = size_of(x, 1) / group, first[] = {out, c, kernel, kernel}, lasts[] = {kernel, kernel, c, out},
          pads[] = {kernel / 2, kernel / 2, kernel / 2, kernel / 2};
  if (last) x = build_transpose(&n->builder, x, to_last);
  Value *operands[] = {x, constant(n, 4, last ? lasts : first), bias ? constant(n, 1, &out) : NULL};
  Node *node = node_new(&n->builder, &op_conv, operands, bias ? 3 : 2);
  node_set_string(node, "layout", last ? "nhwc" : "nchw");
  node_set_int(node, "group", group);
  node_set_ints(node, "pads", pads, 4);
  if (!node_finish(node)) return NULL;
  return last ? build_transpose(&n->builder, result(node, 0), to_first) : result(node, 0);
}

static Value *layer(Net *n, Value *x) {
  return activation(n, conv(n, x, among(n, 4, 12), 1, chance(n, 50) ? 3 : 1));
}

static Value *block_plain(Net *n, Value *x) {
  return layer(n, x);
}

static Value *block_residual(Net *n, Value *x) {
  return activation(n, add(n, x, conv(n, layer(n, x), size_of(x, 1), 1, 1)));
}

static Value *block_depthwise(Net *n, Value *x) {
  int64_t c = size_of(x, 1);
  return activation(n, conv(n, x, c * among(n, 1, 2), c, 3));
}

static Value *block_grouped(Net *n, Value *x) {
  x = conv(n, x, 2 * among(n, 2, 8), 1, 1);
  int64_t group = part_of(n, size_of(x, 1));
  return activation(n, conv(n, x, group * among(n, 1, 3), group, 3));
}

static Value *block_concat(Net *n, Value *x) {
  Value *y = layer(n, x);
  return chance(n, 50) ? concat(n, x, y, 1) : concat(n, y, concat(n, layer(n, y), x, 1), 1);
}

static Value *block_split(Net *n, Value *x) {
  int64_t c = size_of(x, 1), at = c / 2;
  if (c < 4) return x;
  Value *a = slice(n, x, 1, 0, at), *b = slice(n, x, 1, at, c - at);
  if (chance(n, 30)) return concat(n, activation(n, conv(n, b, at, 1, 3)), a, 1);
  if (c % 2 == 0 && chance(n, 50)) return build_binary(&n->builder, &op_mul, a, apply(n, &op_sigmoid, b));
  return concat(n, a, activation(n, b), 1);
}

static Value *block_padded(Net *n, Value *x) {
  const Dim *pads[8];
  for (int i = 0; i < 8; i++)
    pads[i] = dim_const(n->module, i % 4 == 1 ? among(n, size_of(x, 1) > 4 ? -1 : 0, 2) : 0);
  Node *node = node_new(&n->builder, &op_pad, &x, 1);
  node_set_dims(node, "pads", pads, 8);
  x = node_finish(node) ? result(node, 0) : NULL;
  return add(n, x, conv(n, x, size_of(x, 1), 1, 1));
}

static Value *block_transposed(Net *n, Value *x) {
  int64_t c = size_of(x, 1), group = chance(n, 60) ? part_of(n, c) : c, out = among(n, 1, 3);
  if (chance(n, 30)) group = 1;
  int64_t dims[] = {c, out, 1, 1}, bias = out * group;
  Value *operands[] = {x, constant(n, 4, dims), constant(n, 1, &bias)};
  Node *node = node_new(&n->builder, &op_conv_transpose, operands, 3);
  node_set_int(node, "group", group);
  return node_finish(node) ? activation(n, result(node, 0)) : NULL;
}

static Value *block_normed(Net *n, Value *x) {
  int64_t c = size_of(x, 1);
  Value *operands[] = {x, constant(n, 1, &c), constant(n, 1, &c), constant(n, 1, &c),
                       build_splat(&n->builder, type_static(n->module, DTYPE_F32, 1, &c), 1.5)};
  return build_op(&n->builder, &op_batch_norm, operands, 5);
}

/* Squeeze and excitation. */
static Value *block_excited(Net *n, Value *x) {
  Value *mean = build_reduce(&n->builder, &op_reduce_mean, x, (int64_t[]){2, 3}, 2);
  Value *gate = conv(n, activation(n, conv(n, mean, among(n, 2, 4), 1, 1)), size_of(x, 1), 1, 1);
  return build_binary(&n->builder, &op_mul, x, apply(n, &op_sigmoid, gate));
}

/* Group norm. */
static Value *block_group_norm(Net *n, Value *x) {
  x = conv(n, x, 2 * among(n, 2, 6), 1, 1);
  int64_t c = size_of(x, 1), group = part_of(n, c), h = size_of(x, 2), w = size_of(x, 3);
  Value *y = reshape(n, x, 3, (int64_t[]){-1, group, c / group * h * w});
  Node *node = node_new(&n->builder, &op_layer_norm, &y, 1);
  node_set_float(node, "epsilon", 0.1);
  return node_finish(node) ? reshape(n, result(node, 0), 4, (int64_t[]){-1, c, h, w}) : NULL;
}

static Value *block_shuffle(Net *n, Value *x) {
  static const int64_t swap[] = {0, 2, 1, 3, 4};
  int64_t c = size_of(x, 1), group = part_of(n, c), h = size_of(x, 2), w = size_of(x, 3);
  x = reshape(n, x, 5, (int64_t[]){-1, group, c / group, h, w});
  return reshape(n, build_transpose(&n->builder, x, swap), 4, (int64_t[]){-1, c, h, w});
}

static Value *block_tiled(Net *n, Value *x) {
  const Dim *repeats[4];
  for (int i = 0; i < 4; i++) repeats[i] = dim_const(n->module, i == 1 ? 2 : 1);
  Node *node = node_new(&n->builder, &op_tile, &x, 1);
  node_set_dims(node, "repeats", repeats, 4);
  return node_finish(node) ? result(node, 0) : NULL;
}

static Value *block_pooled(Net *n, Value *x) {
  if (size_of(x, 2) < 3) return x;
  Node *node = node_new(&n->builder, chance(n, 50) ? &op_max_pool : &op_average_pool, &x, 1);
  node_set_ints(node, "kernel", (int64_t[]){2, 2}, 2);
  return node_finish(node) ? result(node, 0) : NULL;
}

/* ---- blocks on sequences, [n, steps, c] ---- */

static Value *dense(Net *n, Value *x, int64_t out) {
  int64_t dims[] = {size_of(x, x->type->rank - 1), out};
  Value *y = build_binary(&n->builder, &op_matmul, x, constant(n, 2, dims));
  return chance(n, 60) ? add(n, y, constant(n, 1, &out)) : y;
}

static Value *heads_of(Net *n, Value *x, int64_t heads) {
  static const int64_t perm[] = {0, 2, 1, 3};
  int64_t sizes[] = {-1, size_of(x, 1), heads, size_of(x, 2) / heads};
  return build_transpose(&n->builder, reshape(n, x, 4, sizes), perm);
}

/* One product for q, k and v, or three. */
static Value *block_attention(Net *n, Value *x) {
  static const int64_t swap[] = {0, 1, 3, 2}, back[] = {0, 2, 1, 3};
  int64_t heads = among(n, 1, 5), width = heads * among(n, 1, 4), c = size_of(x, 2);
  Value *all = chance(n, 50) ? dense(n, x, 3 * width) : NULL, *parts[3];
  for (int i = 0; i < 3; i++)
    parts[i] = heads_of(n, all ? slice(n, all, 2, i * width, width) : dense(n, x, width), heads);
  Value *scores =
      build_binary(&n->builder, &op_matmul, parts[0], build_transpose(&n->builder, parts[1], swap));
  Value *y = build_binary(&n->builder, &op_matmul, apply(n, &op_softmax, scores), parts[2]);
  y = reshape(n, build_transpose(&n->builder, y, back), 3, (int64_t[]){-1, size_of(x, 1), width});
  return add(n, x, dense(n, y, c));
}

static Value *block_mlp(Net *n, Value *x) {
  return add(n, x, dense(n, activation(n, dense(n, x, among(n, 3, 12))), size_of(x, 2)));
}

static Value *block_cell(Net *n, Value *x) {
  static const Op *const ops[] = {&op_lstm, &op_gru, &op_rnn};
  static const int64_t gates[] = {4, 3, 1};
  int which = random_below(&n->random, 3);
  int64_t hidden = among(n, 3, 6), wide = gates[which] * hidden, all[] = {hidden, wide}, peep = 3 * hidden;
  int64_t state[] = {2, hidden};
  Value *operands[6] = {dense(n, x, wide), constant(n, 2, all)};
  if (chance(n, 50)) operands[2] = constant(n, 2, state);
  if (which == 0 && chance(n, 50)) operands[4] = constant(n, 2, state);
  if (which == 0 && chance(n, 50)) operands[5] = constant(n, 1, &peep);
  if (which == 1 && chance(n, 50)) operands[4] = constant(n, 1, &hidden);
  Node *node = node_new(&n->builder, ops[which], operands, which == 0 ? 6 : which == 1 ? 5 : 4);
  node_set_bool(node, "batch_first", true);
  node_set_bool(node, "reverse", chance(n, 30));
  if (!node_finish(node)) return NULL;
  Value *last = reshape(n, result(node, 1), 3, (int64_t[]){-1, 1, hidden});
  return chance(n, 40) ? result(node, 0) : add(n, result(node, 0), last);
}

static Value *block_dense(Net *n, Value *x) {
  return activation(n, dense(n, x, among(n, 3, 12)));
}

/* ---- networks ---- */

typedef Value *(*Block)(Net *n, Value *x);

static Value *blocks(Net *n, Value *x, const Block *rows, int row_count, int64_t count) {
  for (int64_t i = 0; x && i < count; i++) x = rows[random_below(&n->random, row_count)](n, x);
  return x;
}

static Value *sequence(Net *n, Value *x) {
  static const Block rows[] = {block_attention, block_attention, block_mlp, block_cell, block_dense};
  static const int64_t perm[] = {0, 2, 1};
  x = reshape(n, x, 3, (int64_t[]){-1, size_of(x, 1), size_of(x, 2) * size_of(x, 3)});
  return blocks(n, build_transpose(&n->builder, x, perm), rows, COUNT_OF(rows), among(n, 1, 4));
}

static Value *network(Net *n, Value *x) {
  static const Block rows[] = {block_plain,      block_plain,  block_residual, block_depthwise,
                               block_grouped,    block_concat, block_split,    block_padded,
                               block_transposed, block_normed, block_excited,  block_group_norm,
                               block_shuffle,    block_tiled,  block_pooled,   block_residual};
  x = blocks(n, layer(n, x), rows, COUNT_OF(rows), among(n, 1, 6));
  if (chance(n, 40)) x = sequence(n, x);
  int64_t all = 1;
  for (int i = 1; i < x->type->rank; i++) all *= size_of(x, i);
  return dense(n, activation(n, dense(n, reshape(n, x, 2, (int64_t[]){-1, all}), 5)), 3);
}

Module *generate_network(uint64_t seed) {
  Module *module = module_new(NULL);
  Net n = {.random = {seed}, .module = module};
  Graph *graph = module->main = graph_new(module, "network", NULL);
  n.builder = builder_at_end(graph);
  Value *x = graph_add_input(graph, "x", type_static(module, DTYPE_F32, 4, (int64_t[]){2, 3, 4, 4}));
  Value *y = network(&n, x);
  if (y) graph_set_outputs(graph, 1, &y, (const char *const[]){"y"});
  return module;
}
