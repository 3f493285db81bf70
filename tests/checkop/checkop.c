/*
 * checkop.c -- every fast kernel against the plain lowering of its op, on shapes that break things.
 *
 * A case adds one op (and perhaps an epilogue) to a graph. The cases of a family go through the whole
 * pipeline and are compiled together; the same graph, untouched, runs in the interpreter. Then the library
 * runs with several threads, with its loops cut at every place. Then all again with operands that are columns
 * of larger inputs and results that are columns of a concat, so that both have strides.
 *
 *   checkop [--once] [FAMILY [CPU]]
 *
 * --once: each case one way only, every other one with strides. CPU as `tenon compile --cpu`; default: this
 * machine's.
 */
#include "codegen/codegen.h"
#include "passes/passes.h"
#include "tests/divided.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- random data and graph building -------------------------------------------------------------------- */

typedef struct Check {
  Module *module;
  bool parts;   /* inputs are slices of larger ones, results are parts of a concat */
  bool once;    /* so it is for every other case */
  double zeros; /* share of the weights that are 0 */
  bool single;  /* any of them, else in blocks of columns and rows */
  bool halves;  /* two of each four rows of a column instead */
  Builder builder;
  uint64_t seed;
  int count;
  Value *outputs[640];
  const char *names[640];
} Check;

static double next_random(Check *check) { /* xorshift64*, uniform in [-1, 1) */
  check->seed ^= check->seed >> 12;
  check->seed ^= check->seed << 25;
  check->seed ^= check->seed >> 27;
  return (double)(int64_t)(check->seed * 2685821657736338717u) / 9223372036854775808.0;
}

static const Type *shape(Check *check, int rank, const int64_t *dims) {
  return type_static(check->module, DTYPE_F32, rank, dims);
}

enum { OPEN = -1, OPEN_SIZE = 21 }; /* a size that the library gets to know when it runs */

static const Type *open_shape(Check *check, int rank, const int64_t *dims) {
  const Dim *sizes[MAX_RANK] = {NULL};
  for (int i = 0; i < rank; i++)
    sizes[i] = dims[i] == OPEN ? dim_symbol(check->module, "S") : dim_const(check->module, dims[i]);
  return type_make(check->module, DTYPE_F32, rank, sizes);
}

/* The columns but the first two and the last of `whole`, which is an input. */
static Value *middle_columns(Check *check, Value *whole, const Type *type) {
  const Dim *starts[MAX_RANK];
  for (int i = 0; i < type->rank; i++) starts[i] = dim_const(check->module, i + 1 < type->rank ? 0 : 2);
  Node *slice = node_new(&check->builder, &op_slice, &whole, 1);
  node_set_dims(slice, "starts", starts, type->rank);
  node_set_dims(slice, "sizes", type->dims, type->rank);
  return node_finish(slice) ? result(slice, 0) : NULL;
}

static Value *input(Check *check, int rank, const int64_t *dims) {
  const Type *type = open_shape(check, rank, dims);
  if (!check->parts) return graph_add_input(check->module->main, "x", type);
  const Dim *wide[MAX_RANK];
  for (int i = 0; i < rank; i++) wide[i] = type->dims[i];
  wide[rank - 1] = dim_add(check->module, wide[rank - 1], dim_const(check->module, 3));
  Value *whole = graph_add_input(check->module->main, "x", type_make(check->module, DTYPE_F32, rank, wide));
  return middle_columns(check, whole, type);
}

/* A constant of matrices in its last two axes, with zeros if the check wants them. */
static Value *weight_of(Check *check, const Type *type, Data *data) {
  enum { COLUMNS = 16, ROWS = 4 };
  static const unsigned kept[] = {3, 5, 6, 9, 10, 12, 8, 0};
  int64_t n = type->dims[type->rank - 1]->value, k = type->rank > 1 ? type->dims[type->rank - 2]->value : 0;
  for (int64_t row = 0; check->zeros > 0 && k > 0 && row < data->count / n; row++)
    for (int64_t column = 0; column < n; column++) {
      int64_t first = check->single ? row : row / k * k + row % k / ROWS * ROWS;
      unsigned rows = kept[(uint64_t)(first * 977 + column) * 2654435761u % COUNT_OF(kept)];
      if (check->halves && !(rows >> row % k % ROWS & 1))
        dtype_set(data->dtype, data_bytes(data), row * n + column, 0);
      if (check->halves) continue;
      uint64_t block = (uint64_t)first * 977 + (uint64_t)(check->single ? column : column / COLUMNS);
      if ((double)(block * 2654435761u % 1000) < 1000 * check->zeros)
        dtype_set(data->dtype, data_bytes(data), row * n + column, 0);
    }
  return build_const(&check->builder, type, data, NULL);
}

static Value *weight_within(Check *check, int rank, const int64_t *dims, double size) {
  const Type *type = shape(check, rank, dims);
  Data *data = data_new(check->module, DTYPE_F32, type_static_count(type));
  for (int64_t i = 0; i < data->count; i++)
    dtype_set(DTYPE_F32, data_bytes(data), i, size * next_random(check));
  return weight_of(check, type, data);
}

static Value *weight(Check *check, int rank, const int64_t *dims) {
  return weight_within(check, rank, dims, 1);
}

/* The value in the middle of a concat. */
static Value *among_others(Check *check, Value *value) {
  Value *parts[] = {build_unary(&check->builder, &op_tanh, value), value,
                    build_unary(&check->builder, &op_abs, value)};
  Node *concat = node_new(&check->builder, &op_concat, parts, 3);
  node_set_int(concat, "axis", -1);
  return node_finish(concat) ? result(concat, 0) : NULL;
}

static void done(Check *check, Value *value, char *name) {
  if (value && check->parts && value->type->rank > 0) value = among_others(check, value);
  if (!value) {
    diags_print(check->module, stderr, 10);
    exit(1);
  }
  check->outputs[check->count] = value;
  check->names[check->count++] = name;
  if (check->once) check->parts = !check->parts;
}

#define NAME(...) arena_printf(check->module->arena, __VA_ARGS__)

/* ---- families ------------------------------------------------------------------------------------------ */

static void add_gemm(Check *check, int64_t m, int64_t k, int64_t n, bool bias, bool relu) {
  Value *operands[3] = {input(check, 2, (int64_t[]){m, k}), weight(check, 2, (int64_t[]){k, n}),
                        bias ? weight(check, 1, (int64_t[]){n}) : NULL};
  Value *y = build_op(&check->builder, &op_gemm, operands, bias ? 3 : 2);
  if (relu) y = build_unary(&check->builder, &op_relu, y);
  done(check, y,
       NAME("gemm_m%d_k%d_n%d%s%s", (int)m, (int)k, (int)n, bias ? "_bias" : "", relu ? "_relu" : ""));
}

static void gemm_cases(Check *check) {
  const int64_t ms[] = {1, 2, 7, 13, 14, 15, 29, 64}, ks[] = {1, 3, 33},
                ns[] = {1, 8, 15, 16, 17, 24, 33, 100};
  for (int i = 0; i < COUNT_OF(ms); i++) {
    for (int j = 0; j < COUNT_OF(ks); j++) {
      for (int l = 0; l < COUNT_OF(ns); l++)
        add_gemm(check, ms[i], ks[j], ns[l], (i + j + l) % 2, (i + l) % 3 == 0);
    }
  }
  add_gemm(check, 128, 1024, 48, true, false);
  for (int m = 1; m <= 5; m++)
    add_gemm(check, m, 517, 283, m % 2, m == 3); /* weights beyond L2: few rows wait for them */
}

/* y = a*b with batches as in attention, scaled; and gemm of two inputs. */
static void matmul_cases(Check *check) {
  const struct {
    int64_t a[4], b[4];
  } cases[] = {{{1, 2, 13, 7}, {1, 2, 7, 33}},     {{2, 3, 29, 64}, {2, 3, 64, 16}},
               {{1, 4, 1, 5}, {1, 4, 5, 100}},     {{3, 1, 14, 8}, {1, 2, 8, 1}},
               {{2, 1, OPEN, 8}, {2, 1, 8, OPEN}}, {{1, 2, 9, OPEN}, {1, 2, OPEN, 31}},
               {{1, 3, 128, 32}, {1, 3, 32, 128}}};
  for (int i = 0; i < COUNT_OF(cases); i++) {
    Value *operands[2] = {input(check, 4, cases[i].a), input(check, 4, cases[i].b)};
    Value *y = build_op(&check->builder, &op_matmul, operands, 2);
    done(check, y ? build_unary(&check->builder, &op_tanh, y) : NULL, NAME("matmul_%d", i));
  }
  const int64_t sizes[][3] = {{1, 3, 17}, {14, 40, 64}, {31, 5, 15}, {OPEN, 6, 33}, {7, OPEN, 20}};
  for (int i = 0; i < COUNT_OF(sizes); i++) {
    for (int variant = 0; variant < 8; variant++) {
      bool trans_a = variant & 1, trans_b = variant & 2, rows = variant & 4;
      const int64_t *s = sizes[i];
      Value *operands[3] = {input(check, 2, (int64_t[]){s[trans_a], s[!trans_a]}),
                            input(check, 2, (int64_t[]){s[1 + trans_b], s[2 - trans_b]}),
                            input(check, 2, (int64_t[]){rows ? s[0] : 1, s[2]})};
      Node *node = node_new(&check->builder, &op_gemm, operands, 3);
      node_set_bool(node, "trans_a", trans_a);
      node_set_bool(node, "trans_b", trans_b);
      done(check, node_finish(node) ? result(node, 0) : NULL, NAME("gemm_inputs_%d_%d", i, variant));
    }
  }
}

typedef struct ConvCase {
  int64_t n, h, w, c, m, kh, kw, stride, dilation, pad, group;
} ConvCase;

static void add_conv(Check *check, const ConvCase *c, bool nhwc, bool residual) {
  int64_t x_nchw[] = {c->n, c->c, c->h, c->w}, x_nhwc[] = {c->n, c->h, c->w, c->c};
  int64_t w_nchw[] = {c->m, c->c / c->group, c->kh, c->kw}, w_nhwc[] = {c->kh, c->kw, c->c / c->group, c->m};
  Value *operands[3] = {input(check, 4, nhwc ? x_nhwc : x_nchw), weight(check, 4, nhwc ? w_nhwc : w_nchw),
                        weight(check, 1, &c->m)};
  Node *node = node_new(&check->builder, &op_conv, operands, 3);
  node_set_string(node, "layout", nhwc ? "nhwc" : "nchw");
  node_set_ints(node, "strides", (int64_t[]){c->stride, c->stride}, 2);
  node_set_ints(node, "dilations", (int64_t[]){c->dilation, c->dilation}, 2);
  node_set_ints(node, "pads", (int64_t[]){c->pad, c->pad, c->pad, c->pad / 2}, 4);
  node_set_int(node, "group", c->group);
  Value *y = node_finish(node) ? result(node, 0) : NULL;
  if (y && residual) {
    int64_t dims[4];
    for (int i = 0; i < 4; i++) dims[i] = y->type->dims[i]->value;
    y = build_binary(&check->builder, &op_add, y, input(check, 4, dims));
    if (y) y = build_unary(&check->builder, &op_relu, y);
  }
  done(check, y,
       NAME("conv_%s_n%d_%dx%d_c%d_m%d_k%dx%d_s%d_d%d_p%d_g%d%s", nhwc ? "nhwc" : "nchw", (int)c->n,
            (int)c->h, (int)c->w, (int)c->c, (int)c->m, (int)c->kh, (int)c->kw, (int)c->stride,
            (int)c->dilation, (int)c->pad, (int)c->group, residual ? "_add_relu" : ""));
}

/* Open heights and widths, padded; windows that are wholly outside. */
static void open_conv_cases(Check *check, bool depthwise) {
  static const ConvCase cases[] = {
      {1, OPEN, 9, 4, 17, 3, 3, 1, 1, 1, 1}, {1, 7, OPEN, 4, 20, 3, 5, 2, 1, 2, 1},
      {2, OPEN, 30, 5, 5, 3, 3, 1, 2, 2, 1}, {1, 3, 2, 4, 17, 5, 5, 1, 1, 4, 1},
      {1, 2, 3, 6, 6, 2, 2, 1, 4, 5, 1},     {1, 5, 16, 7, 40, 1, 1, 1, 1, 2, 1}};
  for (int i = 0; i < COUNT_OF(cases); i++) {
    ConvCase c = cases[i];
    if (depthwise) c.m = c.group = c.c;
    for (int variant = 0; variant < 2; variant++) add_conv(check, &c, variant, false);
  }
}

/* A convolution, or the transposed one, of any rank, channels last. */
typedef struct WindowCase {
  int rank;
  int64_t size[3], c, m, kernel[3], stride, dilation, before, after, group, extra; /* output_padding */
} WindowCase;

static void add_window(Check *check, const Op *op, const WindowCase *w, bool epilogue) {
  int64_t x[5] = {2}, k[5], lists[5][6];
  bool transposed = op == &op_conv_transpose;
  for (int s = 0; s < w->rank; s++) {
    const int64_t values[5] = {w->stride, w->dilation, w->before, w->extra, w->after};
    x[1 + s] = w->size[s];
    k[s] = w->kernel[s];
    for (int i = 0; i < 4; i++) lists[i][s] = values[i];
    lists[2][w->rank + s] = values[4];
  }
  x[1 + w->rank] = w->c;
  k[w->rank] = transposed ? w->c : w->c / w->group;
  k[w->rank + 1] = transposed ? w->m / w->group : w->m;
  Value *operands[3] = {input(check, w->rank + 2, x), weight(check, w->rank + 2, k), weight(check, 1, &w->m)};
  Node *node = node_new(&check->builder, op, operands, epilogue ? 3 : 2);
  node_set_string(node, "layout", "nhwc");
  node_set_ints(node, "strides", lists[0], w->rank);
  node_set_ints(node, "dilations", lists[1], w->rank);
  node_set_ints(node, "pads", lists[2], 2 * w->rank);
  if (transposed) node_set_ints(node, "output_padding", lists[3], w->rank);
  node_set_int(node, "group", w->group);
  Value *y = node_finish(node) ? result(node, 0) : NULL;
  if (y && epilogue) y = build_unary(&check->builder, &op_tanh, y);
  done(check, y,
       NAME("%s%dd_%dx%dx%d_c%d_m%d_k%dx%dx%d_s%d_d%d_p%d_%d_g%d_o%d%s", op->name, w->rank, (int)w->size[0],
            (int)w->size[1], (int)w->size[2], (int)w->c, (int)w->m, (int)w->kernel[0], (int)w->kernel[1],
            (int)w->kernel[2], (int)w->stride, (int)w->dilation, (int)w->before, (int)w->after, (int)w->group,
            (int)w->extra, epilogue ? "_tanh" : ""));
}

static void window_cases(Check *check, const Op *op, const WindowCase *cases, int count) {
  for (int i = 0; i < 2 * count; i++) add_window(check, op, &cases[i / 2], i % 2);
}

/* Groups of one, few and many columns, whole panels and rests; one and three axes. */
static void rank_cases(Check *check) {
  static const WindowCase cases[] = {{2, {5, 15}, 32, 64, {3, 3}, 1, 1, 1, 1, 2, 0},
                                     {2, {7, 6}, 15, 51, {3, 2}, 2, 1, 1, 0, 3, 0},
                                     {2, {4, 29}, 40, 40, {1, 1}, 1, 1, 0, 0, 5, 0},
                                     {2, {6, 6}, 24, 48, {3, 3}, 1, 2, 2, 2, 2, 0},
                                     {2, {3, 4}, 6, 3, {2, 2}, 1, 1, 0, 0, 3, 0},
                                     {2, {9, OPEN}, 14, 35, {3, 3}, 1, 1, 1, 2, 7, 0},
                                     {2, {8, 8}, 9, 6, {1, 3}, 2, 1, 0, 1, 3, 0},
                                     {1, {31}, 5, 17, {3}, 1, 2, 2, 2, 1, 0},
                                     {1, {40}, 1, 20, {10}, 5, 1, 0, 0, 1, 0},
                                     {1, {OPEN}, 8, 16, {3}, 1, 4, 8, 0, 1, 0},
                                     {1, {13}, 12, 24, {5}, 1, 1, 2, 2, 2, 0},
                                     {3, {4, 5, 6}, 3, 17, {3, 3, 3}, 1, 1, 1, 1, 1, 0},
                                     {3, {5, 6, 7}, 8, 16, {1, 3, 3}, 1, 1, 0, 1, 1, 0},
                                     {3, {3, 7, 5}, 10, 20, {3, 1, 1}, 2, 1, 1, 1, 2, 0}};
  window_cases(check, &op_conv, cases, COUNT_OF(cases));
}

static void conv_cases(Check *check) {
  open_conv_cases(check, false);
  rank_cases(check);
  static const ConvCase cases[] = {
      {1, 7, 7, 3, 5, 3, 3, 1, 1, 1, 1},    {1, 8, 15, 16, 33, 1, 1, 1, 1, 0, 1},
      {2, 5, 6, 4, 17, 3, 3, 2, 1, 1, 1},   {1, 9, 9, 8, 16, 3, 3, 1, 2, 2, 1},
      {1, 1, 29, 7, 64, 1, 3, 1, 1, 0, 1},  {1, 13, 13, 1, 1, 5, 5, 2, 1, 2, 1},
      {1, 6, 31, 20, 48, 2, 2, 2, 1, 0, 1}, {3, 4, 4, 32, 100, 1, 1, 1, 1, 0, 1},
      {1, 9, 9, 16, 16, 1, 1, 2, 1, 0, 1},  {1, 7, 7, 6, 4, 3, 3, 1, 1, 1, 2},
      {1, 30, 30, 3, 24, 7, 7, 2, 1, 3, 1}, {2, 11, 12, 2, 20, 3, 4, 1, 3, 4, 1},
      {1, 5, 20, 16, 40, 1, 1, 1, 1, 0, 1},
  };
  for (int i = 0; i < COUNT_OF(cases); i++) {
    for (int variant = 0; variant < 4; variant++) add_conv(check, &cases[i], variant & 1, variant & 2);
  }
}

/* n images of h by w pixels; the pads are 2, 1, 0 and `after`. Results are about 1 large: an error is
 * relative to that, also of an element that happens to be small. */
static void add_winograd(Check *check, int64_t tile, const int64_t *s, bool residual) {
  int64_t n = s[0], h = s[1], w = s[2], c = s[3], m = s[4], after = s[5];
  Value *u = weight_within(check, 4, (int64_t[]){3, 3, c, m}, 1 / sqrt((double)c));
  Node *weights = node_new(&check->builder, &op_winograd_weights, &u, 1);
  node_set_int(weights, "tile", tile);
  if (!node_finish(weights)) return;
  Value *operands[3] = {input(check, 4, (int64_t[]){n, h, w, c}), result(weights, 0), weight(check, 1, &m)};
  Node *node = node_new(&check->builder, &op_conv, operands, residual ? 3 : 2);
  node_set_string(node, "layout", "nhwc");
  node_set_ints(node, "pads", (int64_t[]){2, 1, 0, after}, 4);
  node_set_ints(node, "kernel", (int64_t[]){3, 3}, 2);
  node_set_int(node, "packed", 16);
  node_set_int(node, "channels", m);
  node_set_int(node, "winograd", tile);
  Value *y = node_finish(node) ? result(node, 0) : NULL;
  if (y && residual) {
    y = build_binary(&check->builder, &op_add, y, input(check, 4, (int64_t[]){n, h, w + after - 1, m}));
    if (y) y = build_unary(&check->builder, &op_relu, y);
  }
  done(check, y,
       NAME("winograd%d_n%d_%dx%d_c%d_m%d%s", (int)tile, (int)n, (int)h, (int)w, (int)c, (int)m,
            residual ? "_add_relu" : ""));
}

/* One pixel; whole tiles and rests; channels and columns that fill vectors, panels and groups, or not; one
 * block and many. */
static void winograd_cases(Check *check) {
  static const int64_t cases[][6] = {{1, 1, 1, 3, 5, 1},   {1, 8, 9, 16, 32, 0}, {2, 3, 13, 20, 33, 4},
                                     {1, 3, 10, 7, 70, 1}, {1, 2, 2, 64, 16, 0}, {OPEN, 6, 5, 4, 9, 1},
                                     {1, 5, 7, 37, 34, 1}};
  static const int64_t two_blocks[6] = {1, 18, 34, 160, 1, 1};
  for (int i = 0; i < COUNT_OF(cases); i++) {
    for (int variant = 0; variant < 4; variant++)
      add_winograd(check, variant & 1 ? 2 : 4, cases[i], variant & 2);
  }
  add_winograd(check, 4, two_blocks, true);
}

/* Strides below, at and above the kernel; cut off at both ends, more than the kernel reaches; phases and
 * blocks. */
static void transposed_cases(Check *check) {
  static const WindowCase cases[] = {
      {2, {5, 6}, 16, 20, {4, 4}, 2, 1, 1, 1, 1, 0},     {2, {5, 6}, 7, 3, {4, 4}, 2, 1, 1, 1, 1, 0},
      {2, {4, 7}, 33, 17, {3, 3}, 2, 1, 1, 1, 1, 1},     {2, {4, 7}, 8, 24, {3, 3}, 2, 1, 1, 1, 1, 0},
      {2, {6, 5}, 20, 32, {2, 2}, 2, 1, 0, 0, 1, 0},     {2, {3, 4}, 5, 21, {16, 16}, 8, 1, 4, 4, 1, 0},
      {2, {3, 3}, 6, 18, {1, 1}, 2, 1, 0, 0, 1, 1},      {2, {3, 2}, 4, 16, {2, 3}, 3, 1, 0, 1, 1, 2},
      {2, {6, 6}, 12, 18, {3, 3}, 2, 2, 1, 2, 1, 0},     {2, {5, 4}, 10, 16, {3, 2}, 3, 2, 0, 1, 1, 0},
      {2, {5, 4}, 12, 36, {4, 4}, 2, 1, 1, 1, 2, 0},     {2, {4, 5}, 20, 20, {4, 4}, 2, 1, 1, 1, 20, 0},
      {2, {4, 3}, 15, 9, {5, 5}, 3, 1, 2, 0, 3, 0},      {2, {7, 8}, 8, 16, {3, 3}, 1, 1, 1, 1, 1, 0},
      {2, {1, 1}, 50, 40, {4, 4}, 1, 1, 0, 0, 1, 0},     {2, {9, 9}, 3, 16, {2, 2}, 2, 1, 3, 5, 1, 0},
      {2, {OPEN, 5}, 16, 17, {4, 4}, 2, 1, 1, 1, 1, 0},  {2, {5, OPEN}, 9, 2, {3, 3}, 2, 1, 1, 1, 1, 1},
      {2, {OPEN, 4}, 8, 16, {2, 2}, 2, 1, 1, 1, 1, 0},   {2, {2, 2}, 3, 2, {3, 3}, 9, 1, 0, 0, 1, 0},
      {1, {23}, 16, 24, {16}, 8, 1, 4, 4, 1, 0},         {1, {11}, 6, 4, {5}, 2, 1, 0, 3, 2, 0},
      {1, {OPEN}, 4, 16, {3}, 3, 3, 0, 0, 1, 0},         {3, {3, 4, 2}, 8, 16, {2, 2, 2}, 2, 1, 0, 0, 1, 0},
      {3, {2, 3, 4}, 5, 18, {3, 4, 3}, 2, 1, 1, 1, 1, 1}};
  window_cases(check, &op_conv_transpose, cases, COUNT_OF(cases));
}

/* All sizes of small groups; one and three axes; open widths. */
static void small_group_cases(Check *check) {
  static const int64_t channels[][2] = {{1, 2}, {1, 4}, {2, 1}, {2, 2}, {2, 4}, {4, 2}, {4, 4}, {8, 4}};
  for (int i = 0; i < COUNT_OF(channels); i++) {
    for (int64_t group = 3; group <= 17; group += 7) {
      int64_t c = group * channels[i][0], m = group * channels[i][1];
      WindowCase w = {2, {5, 11}, c, m, {3, 3}, 1 + i % 2, 1, 1, 1, group, 0};
      add_window(check, &op_conv, &w, group == 10);
    }
  }
  static const WindowCase cases[] = {{1, {37}, 17, 17, {31}, 1, 1, 15, 15, 17, 0},
                                     {1, {OPEN}, 9, 9, {7}, 1, 1, 6, 0, 9, 0},
                                     {1, {19}, 20, 40, {3}, 2, 2, 2, 2, 20, 0},
                                     {2, {6, OPEN}, 12, 12, {3, 3}, 2, 1, 1, 1, 3, 0},
                                     {3, {4, 6, 9}, 18, 18, {3, 3, 3}, 1, 1, 1, 1, 18, 0},
                                     {3, {3, 2, 5}, 8, 16, {2, 1, 3}, 1, 2, 1, 2, 4, 0}};
  window_cases(check, &op_conv, cases, COUNT_OF(cases));
}

static void depthwise_cases(Check *check) {
  open_conv_cases(check, true);
  small_group_cases(check);
  static const ConvCase cases[] = {
      {1, 7, 7, 3, 3, 3, 3, 1, 1, 1, 3},     {1, 8, 17, 16, 16, 3, 3, 1, 1, 1, 16},
      {2, 9, 9, 40, 40, 5, 5, 2, 1, 2, 40},  {1, 12, 12, 17, 17, 3, 3, 1, 2, 2, 17},
      {1, 5, 25, 31, 31, 1, 7, 2, 1, 0, 31}, {1, 6, 6, 4, 8, 3, 3, 1, 1, 1, 4},
  };
  for (int i = 0; i < COUNT_OF(cases); i++) {
    for (int variant = 0; variant < 4; variant++) add_conv(check, &cases[i], variant & 1, variant & 2);
  }
}

/* One and three axes, open ones; a window that is padding on one axis. */
static void pool_rank_cases(Check *check) {
  static const WindowCase cases[] = {{1, {37}, 5, 0, {3}, 2, 1, 1, 0, 1, 0},
                                     {1, {OPEN}, 17, 0, {4}, 1, 1, 0, 2, 1, 0},
                                     {1, {9}, 33, 0, {25}, 1, 1, 12, 12, 1, 0},
                                     {3, {4, 6, 11}, 16, 0, {2, 2, 2}, 2, 1, 0, 0, 1, 0},
                                     {3, {3, 5, 7}, 20, 0, {3, 3, 3}, 1, 1, 1, 1, 1, 0},
                                     {3, {5, OPEN, 4}, 3, 0, {3, 2, 3}, 2, 1, 1, 1, 1, 0}};
  for (int i = 0; i < 3 * COUNT_OF(cases); i++) {
    const WindowCase *w = &cases[i / 3];
    int64_t x[5] = {2}, strides[3], pads[6];
    for (int s = 0; s < w->rank; s++) {
      x[1 + s] = w->size[s];
      strides[s] = w->stride;
      pads[s] = w->before;
      pads[w->rank + s] = w->after;
    }
    x[1 + w->rank] = w->c;
    Value *value = input(check, w->rank + 2, x);
    Node *node = node_new(&check->builder, i % 3 ? &op_average_pool : &op_max_pool, &value, 1);
    node_set_string(node, "layout", "nhwc");
    node_set_ints(node, "kernel", w->kernel, w->rank);
    node_set_ints(node, "strides", strides, w->rank);
    node_set_ints(node, "pads", pads, 2 * w->rank);
    if (i % 3) node_set_bool(node, "include_pad", i % 3 == 2);
    done(check, node_finish(node) ? result(node, 0) : NULL, NAME("pool%dd_%d_%d", w->rank, i / 3, i % 3));
  }
}

static void pool_cases(Check *check) {
  pool_rank_cases(check);
  const struct {
    int64_t h, w, c, kernel, stride, pad;
    bool ceil, include;
  } cases[] = {
      {7, 7, 3, 2, 2, 0, true, false},   {9, 8, 17, 3, 2, 1, false, false},
      {5, 5, 33, 3, 1, 1, false, true},  {12, 1, 16, 1, 1, 0, false, false},
      {6, 11, 20, 5, 3, 2, true, true},  {9, 61, 20, 3, 2, 1, false, true},   /* tiles in a loop */
      {5, 50, 16, 2, 3, 0, true, false}, {28, 28, 5, 25, 1, 12, false, true}, /* a window wider than a tile */
      {4, 45, 33, 5, 1, 2, false, false}};
  for (int i = 0; i < COUNT_OF(cases); i++) {
    for (int variant = 0; variant < 4; variant++) {
      bool average = variant & 1, nhwc = variant & 2;
      int64_t k[] = {cases[i].kernel, cases[i].w == 1 ? 1 : cases[i].kernel}, p = cases[i].pad;
      Value *x = input(check, 4,
                       nhwc ? (int64_t[]){1, cases[i].h, cases[i].w, cases[i].c}
                            : (int64_t[]){1, cases[i].c, cases[i].h, cases[i].w});
      Node *node = node_new(&check->builder, average ? &op_average_pool : &op_max_pool, &x, 1);
      node_set_string(node, "layout", nhwc ? "nhwc" : "nchw");
      node_set_ints(node, "kernel", k, 2);
      node_set_ints(node, "strides", (int64_t[]){cases[i].stride, cases[i].stride}, 2);
      node_set_ints(node, "pads", (int64_t[]){p, p, p, p}, 4);
      node_set_bool(node, "ceil", cases[i].ceil);
      if (average) node_set_bool(node, "include_pad", cases[i].include);
      done(check, node_finish(node) ? result(node, 0) : NULL,
           NAME("%s_pool_%s_%d", average ? "average" : "max", nhwc ? "nhwc" : "nchw", i));
    }
  }
}

static void add_rms_norm(Check *check, int rank, const int64_t *sizes, int axis) {
  Value *operands[2] = {input(check, rank, sizes), weight(check, rank - axis, sizes + axis)};
  Node *norm = node_new(&check->builder, &op_layer_norm, operands, 2);
  node_set_int(norm, "axis", axis);
  node_set_bool(norm, "center", false);
  done(check, node_finish(norm) ? build_unary(&check->builder, &op_tanh, result(norm, 0)) : NULL,
       NAME("rms_norm_%dx%d_axis%d", (int)sizes[rank - 2], (int)sizes[rank - 1], axis));
}

/* Blocks of 4, 2 and 1 rows, with few and many elements, and of a number that is not known. */
static void norm_cases(Check *check) {
  const int64_t sizes[][2] = {{4, 96}, {5, 17}, {6, 1000}, {7, 4099}, {3, 768}, {OPEN, 40}, {1, 5}};
  for (int i = 0; i < COUNT_OF(sizes); i++) {
    Value *operands[3] = {input(check, 2, sizes[i]), weight(check, 1, &sizes[i][1]),
                          weight(check, 1, &sizes[i][1])};
    operands[0] = build_binary(&check->builder, &op_add, operands[0], input(check, 2, sizes[i]));
    done(check, build_op(&check->builder, &op_layer_norm, operands, 3),
         NAME("layer_norm_%dx%d", (int)sizes[i][0], (int)sizes[i][1]));
    add_rms_norm(check, 2, sizes[i], 1);
  }
}

static void row_cases(Check *check) {
  const int64_t sizes[][3] = {{1, 1, 1}, {2, 3, 15}, {3, 1, 16}, {1, 4, 33}, {5, 7, 100}, {2, 3, 9001}};
  const Op *const reductions[] = {&op_reduce_sum, &op_reduce_mean, &op_reduce_max, &op_reduce_min};
  const struct {
    int count;
    int64_t axes[3];
  } sets[] = {{1, {2}}, {1, {0}}, {2, {0, 1}}, {2, {1, 2}}, {3, {0, 1, 2}}};
  norm_cases(check);
  for (int i = 0; i < COUNT_OF(sizes); i++) {
    for (int axis = 0; axis < 3; axis++) {
      Value *x = input(check, 3, sizes[i]);
      Node *softmax = node_new(&check->builder, &op_softmax, &x, 1);
      node_set_int(softmax, "axis", axis);
      done(check, node_finish(softmax) ? result(softmax, 0) : NULL, NAME("softmax_%d_axis%d", i, axis));
    }
    for (int affine = 0; affine < 2; affine++) {
      Value *norm[3] = {input(check, 3, sizes[i]), NULL, NULL};
      if (affine) norm[1] = weight(check, 1, &sizes[i][2]);
      if (affine) norm[2] = weight(check, 1, &sizes[i][2]);
      done(check, build_op(&check->builder, &op_layer_norm, norm, 3), NAME("layer_norm_%d_%d", i, affine));
    }
    for (int axis = 0; axis < 3; axis++) add_rms_norm(check, 3, sizes[i], axis);
    for (int k = 0; k < COUNT_OF(reductions); k++) {
      for (int s = 0; s < COUNT_OF(sets); s++) {
        Value *x = input(check, 3, sizes[i]);
        Node *node = node_new(&check->builder, reductions[k], &x, 1);
        node_set_ints(node, "axes", sets[s].axes, sets[s].count);
        Value *y = node_finish(node) ? result(node, 0) : NULL;
        if (y && (k + s) % 2) y = build_unary(&check->builder, &op_sigmoid, y);
        done(check, y, NAME("%s_%d_axes%d", reductions[k]->name, i, s));
      }
    }
  }
}

/* Whole squares and rests in both directions, merged axes, an operand that is not transposed. */
static void turned_cases(Check *check) {
  static const int64_t sizes[][4] = {{1, 5, 7, 21},    {2, 4, 8, 16},    {1, 3, 37, 5},
                                     {1, OPEN, 3, 20}, {3, 2, OPEN, 33}, {2, 19, 1, 40}};
  static const int64_t perms[][4] = {{0, 3, 1, 2}, {0, 2, 3, 1}, {3, 2, 1, 0}, {2, 0, 3, 1}};
  for (int i = 0; i < COUNT_OF(sizes); i++) {
    for (int k = 0; k < COUNT_OF(perms); k++) {
      int64_t to[4];
      for (int axis = 0; axis < 4; axis++) to[axis] = sizes[i][perms[k][axis]];
      Value *x = build_transpose(&check->builder, input(check, 4, sizes[i]), perms[k]);
      Value *y = k % 2 && x ? build_binary(&check->builder, &op_mul, x, input(check, 4, to)) : x;
      done(check, y ? build_unary(&check->builder, &op_relu, y) : NULL, NAME("transpose_relu_%d_%d", i, k));
    }
  }
}

static void movement_cases(Check *check) {
  turned_cases(check);
  const int64_t sizes[][3] = {{2, 3, 5}, {1, 16, 17}, {4, 5, 33}, {7, 1, 1}};
  for (int i = 0; i < COUNT_OF(sizes); i++) {
    for (int axis = 0; axis < 3; axis++) {
      Value *parts[3];
      for (int k = 0; k < 3; k++) {
        int64_t dims[3] = {sizes[i][0], sizes[i][1], sizes[i][2]};
        dims[axis] += k;
        parts[k] = input(check, 3, dims);
      }
      Node *concat = node_new(&check->builder, &op_concat, parts, 3);
      node_set_int(concat, "axis", axis);
      done(check, node_finish(concat) ? result(concat, 0) : NULL, NAME("concat_%d_axis%d", i, axis));
      Value *x = input(check, 3, sizes[i]);
      Node *pad = node_new(&check->builder, &op_pad, &x, 1);
      const Dim *pads[6];
      for (int k = 0; k < 6; k++) pads[k] = dim_const(check->module, (k + axis) % 3);
      node_set_dims(pad, "pads", pads, 6);
      done(check, node_finish(pad) ? result(pad, 0) : NULL, NAME("pad_%d_%d", i, axis));
      int64_t perm[3] = {axis, (axis + 2) % 3, (axis + 1) % 3};
      Value *y = build_transpose(&check->builder, input(check, 3, sizes[i]), perm);
      done(check, y ? build_unary(&check->builder, &op_tanh, y) : NULL,
           NAME("transpose_tanh_%d_%d", i, axis));
    }
  }
}

typedef struct CellCase {
  int64_t steps, batch, hidden;
} CellCase;

static Value *lengths(Check *check, int64_t batch) {
  int64_t values[16];
  for (int64_t i = 0; i < batch; i++) values[i] = (i * 5 + 3) % 7 - 1;
  return build_ints(&check->builder, values, (int)batch);
}

/* Every bit of `variant` asks for something: see the flags. */
static void add_cell(Check *check, const Op *op, const CellCase *c, int variant) {
  bool has_state = variant & 1, has_lengths = (variant & 2) && c->batch != OPEN, reverse = variant & 4;
  bool batch_first = variant & 8, special = variant & 16, constant = variant & 32;
  int64_t gates = op == &op_lstm ? 4 : op == &op_gru ? 3 : 1, r_dims[] = {c->hidden, gates * c->hidden};
  int64_t x_dims[] = {batch_first ? c->batch : c->steps, batch_first ? c->steps : c->batch, r_dims[1]};
  int64_t state[] = {c->batch, c->hidden}, peepholes = 3 * c->hidden;
  Value *operands[6] = {
      input(check, 3, x_dims), constant ? weight(check, 2, r_dims) : input(check, 2, r_dims),
      has_state ? input(check, 2, state) : NULL, has_lengths ? lengths(check, c->batch) : NULL};
  if (special && op == &op_gru) operands[GRU_BIAS] = weight(check, 1, &c->hidden);
  if (special && op == &op_lstm) operands[LSTM_C0] = input(check, 2, state);
  if (special && op == &op_lstm) operands[LSTM_PEEPHOLES] = weight(check, 1, &peepholes);
  Node *node = node_new(&check->builder, op, operands, op->operand_count);
  node_set_bool(node, "reverse", reverse);
  node_set_bool(node, "batch_first", batch_first);
  node_set_float(node, "clip", special ? 0.5 : 0);
  if (op == &op_gru) node_set_bool(node, "linear_before_reset", reverse == has_state);
  bool ok = node_finish(node);
  for (int i = 0; i < op->result_count; i++)
    done(check, ok ? result(node, i) : NULL,
         NAME("%s_t%d_b%d_h%d_%d_%s", op->name, (int)c->steps, (int)c->batch, (int)c->hidden, variant,
              op->results[i]));
}

static void cell_cases(Check *check) {
  const Op *const ops[] = {&op_lstm, &op_gru, &op_rnn};
  const CellCase cases[] = {{5, 1, 1},   {3, 2, 15},    {4, 1, 16},   {2, 7, 17}, {3, 1, 33}, {6, 13, 8},
                            {1, 3, 100}, {5, OPEN, 20}, {OPEN, 2, 5}, {0, 2, 9},  {3, 0, 9},  {4, 10, 40}};
  for (int i = 0; i < COUNT_OF(ops); i++)
    for (int k = 0; k < COUNT_OF(cases); k++)
      for (int variant = k % 2; variant < 64; variant += 13) add_cell(check, ops[i], &cases[k], variant);
}

typedef struct AttentionCase {
  int64_t b, h, kv_b, kv_h, m, n, d, e;
  int64_t q_perm[4], k_perm[4], v_perm[4], y_perm[4];
  int64_t mask[4]; /* of rank 4, 0: none */
} AttentionCase;

/* An input that the permutation brings to the canonical shape. */
static Value *permuted_input(Check *check, const int64_t *shape, const int64_t *perm) {
  int64_t dims[4];
  for (int i = 0; i < 4; i++) dims[perm[i]] = shape[i];
  return input(check, 4, dims);
}

static void add_attention(Check *check, const AttentionCase *c, int number, bool epilogue) {
  static const char *const names[] = {"q_perm", "k_perm", "v_perm", "y_perm"};
  const int64_t *perms[] = {c->q_perm, c->k_perm, c->v_perm, c->y_perm};
  Value *operands[4] = {permuted_input(check, (int64_t[]){c->b, c->h, c->m, c->d}, c->q_perm),
                        permuted_input(check, (int64_t[]){c->kv_b, c->kv_h, c->n, c->d}, c->k_perm),
                        permuted_input(check, (int64_t[]){c->kv_b, c->kv_h, c->n, c->e}, c->v_perm),
                        c->mask[0] ? input(check, 4, c->mask) : NULL};
  Node *node = node_new(&check->builder, &op_attention, operands, 4);
  node_set_float(node, "scale", 1.5);
  node_set_float(node, "softcap", epilogue ? 2.5 : 0);
  for (int i = 0; i < 4; i++) node_set_ints(node, names[i], perms[i], 4);
  Value *y = node_finish(node) ? result(node, 0) : NULL;
  if (y && epilogue) y = build_unary(&check->builder, &op_tanh, y);
  done(check, y, NAME("attention_%d%s", number, epilogue ? "_tanh" : ""));
}

#define PLAIN {0, 1, 2, 3}
#define LAST {0, 2, 1, 3}    /* heads behind positions */
#define SWAPPED {0, 1, 3, 2} /* channels before positions */

static void attention_cases(Check *check) {
  static const AttentionCase cases[] = {
      {1, 1, 1, 1, 1, 1, 1, 1, PLAIN, PLAIN, PLAIN, PLAIN, {0}},
      {2, 3, 2, 3, 13, 17, 8, 5, PLAIN, PLAIN, PLAIN, PLAIN, {1, 1, 13, 17}},
      {1, 2, 1, 2, 29, 64, 16, 16, LAST, LAST, LAST, LAST, {1, 1, 1, 64}},
      {1, 4, 1, 2, 7, 33, 33, 20, LAST, PLAIN, LAST, PLAIN, {1, 4, 1, 1}},
      {2, 6, 1, 1, 30, 19, 3, 47, PLAIN, SWAPPED, SWAPPED, LAST, {2, 1, 30, 19}},
      {1, 2, 1, 2, 1, 129, 64, 64, PLAIN, PLAIN, PLAIN, PLAIN, {0}},
      {1, 2, 1, 1, 5, 700, 16, 32, SWAPPED, LAST, PLAIN, SWAPPED, {1, 2, 5, 700}},
      {1, 1, 1, 1, 300, 20, 64, 16, LAST, LAST, LAST, LAST, {0}},
      {1, 1, 1, 1, 270, 610, 17, 40, LAST, LAST, LAST, LAST, {1, 1, 1, 610}},
      {1, 1, 1, 1, 6, 300, 200, 130, PLAIN, PLAIN, PLAIN, PLAIN, {0}},
      {1, 2, 1, 2, OPEN, OPEN, 16, 24, LAST, LAST, LAST, LAST, {1, 1, OPEN, OPEN}},
      {1, 2, 1, 2, 4, OPEN, 9, 7, PLAIN, PLAIN, PLAIN, PLAIN, {1, 1, 1, OPEN}},
      {OPEN, 2, OPEN, 1, OPEN, 50, 32, 32, LAST, SWAPPED, LAST, LAST, {0}},
      {1, 1, 1, 1, 5, 6, 257, 300, PLAIN, PLAIN, PLAIN, PLAIN, {0}}};
  for (int i = 0; i < COUNT_OF(cases); i++) {
    add_attention(check, &cases[i], i, false);
    add_attention(check, &cases[i], i, true);
  }
}

/* ---- trees */

enum { MAX_TREE_NODES = 1 << 16 };

typedef struct Grove {
  Check *check;
  int64_t columns, count, leaves, root;
  bool missing; /* some nodes take NaN for a yes */
  int64_t features[MAX_TREE_NODES], children[MAX_TREE_NODES], rows[MAX_TREE_NODES], roots[64];
  double thresholds[MAX_TREE_NODES];
} Grove;

static int64_t pick(Grove *g, int64_t below) {
  return (int64_t)((next_random(g->check) + 1) / 2 * (double)below) % below;
}

/* Node `at` and all below it; the deeper, the likelier a leaf. */
static void grow(Grove *g, int64_t at, int left) {
  bool is_large = g->count - g->root > MAX_TREE_NODES / 64;
  if (at > g->root && (left == 0 || is_large || pick(g, 8) == 0)) {
    g->thresholds[at] = NAN;
    g->children[at] = at - g->root - 1;
    g->rows[at] = g->leaves++;
    return;
  }
  int64_t child = g->count;
  g->count += 2;
  g->thresholds[at] = next_random(g->check);
  g->features[at] = pick(g, g->missing ? 2 * g->columns : g->columns);
  g->children[at] = child - g->root;
  grow(g, child, left - 1);
  grow(g, child + 1, left - 1);
}

static Value *table(Check *check, Dtype dtype, const int64_t *values, const double *floats, int64_t count) {
  Data *data = data_new(check->module, dtype, count);
  for (int64_t i = 0; i < count; i++) {
    if (values) dtype_set_int(dtype, data_bytes(data), i, values[i]);
    if (floats) dtype_set(dtype, data_bytes(data), i, floats[i]);
  }
  return build_const(&check->builder, type_static(check->module, dtype, 1, &count), data, NULL);
}

typedef struct TreeCase {
  int64_t rows, columns, trees;
  int depth;
  int64_t width, outputs;
  const char *aggregate;
  bool missing, epilogue;
} TreeCase;

static void add_trees(Check *check, const TreeCase *c, int number) {
  Grove *g = calloc(1, sizeof *g);
  *g = (Grove){.check = check, .columns = c->columns, .missing = c->missing};
  int64_t targets[64];
  for (int64_t t = 0; t < c->trees; t++) {
    g->roots[t] = g->root = g->count++;
    targets[t] = pick(g, c->outputs - c->width + 1);
    grow(g, g->root, c->depth);
  }
  Value *operands[TREES_OPERANDS] = {input(check, 2, (int64_t[]){c->rows, c->columns}),
                                     table(check, DTYPE_U16, g->features, NULL, g->count),
                                     table(check, DTYPE_F32, NULL, g->thresholds, g->count),
                                     weight(check, 2, (int64_t[]){g->leaves, c->width}),
                                     c->width < c->outputs ? table(check, DTYPE_I32, targets, NULL, c->trees)
                                                           : NULL,
                                     table(check, DTYPE_I32, g->roots, NULL, c->trees),
                                     table(check, DTYPE_U16, g->children, NULL, g->count),
                                     table(check, DTYPE_I32, g->rows, NULL, g->count)};
  free(g);
  Node *node = node_new(&check->builder, &op_tree_ensemble, operands, TREES_OPERANDS);
  node_set_int(node, "depth", c->depth);
  node_set_int(node, "outputs", c->outputs);
  node_set_string(node, "aggregate", c->aggregate);
  Value *y = node_finish(node) ? result(node, 0) : NULL;
  if (y && c->epilogue) y = build_unary(&check->builder, &op_tanh, y);
  done(check, y, NAME("trees_%d_r%d_d%d", number, (int)c->rows, c->depth));
}

static void tree_cases(Check *check) {
  static const TreeCase cases[] = {
      {1, 1, 1, 1, 1, 1, "sum", false, false},    {2, 3, 7, 3, 1, 1, "sum", false, true},
      {3, 5, 9, 3, 1, 4, "sum", true, false},     {16, 4, 11, 4, 3, 3, "sum", false, true},
      {67, 7, 5, 5, 2, 3, "sum", true, false},    {150, 6, 3, 6, 1, 2, "max", false, false},
      {83, 2, 4, 2, 2, 2, "min", true, true},     {OPEN, 9, 20, 3, 1, 1, "sum", true, true},
      {OPEN, 4, 2, 7, 5, 5, "min", false, false}, {0, 3, 4, 2, 1, 1, "sum", false, false},
      {1, 5, 17, 9, 1, 1, "sum", true, true},     {7, 4, 8, 12, 3, 3, "sum", false, false},
      {8, 6, 3, 8, 1, 5, "max", true, true},      {OPEN, 11, 10, 10, 2, 7, "min", false, true},
      {301, 3, 2, 9, 1, 1, "sum", false, false},  {OPEN, 8, 5, 17, 20, 20, "sum", true, false},
      {0, 8, 5, 9, 1, 1, "sum", true, false},     {35, 2, 40, 1, 1, 1, "sum", false, true}};
  for (int i = 0; i < COUNT_OF(cases); i++) add_trees(check, &cases[i], i);
}

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

static void add_integer_gemm(Check *check, int64_t m, int64_t k, int64_t n, int variant) {
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

static void add_integer_conv(Check *check, const ConvCase *c, int variant) {
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

static void integer_cases(Check *check) {
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

static void add_half_gemm(Check *check, Dtype dtype, bool wide, int64_t m, int64_t k, int64_t n) {
  Value *operands[] = {half_input(check, dtype, 2, (int64_t[]){m, k}),
                       half_weight(check, dtype, 2, (int64_t[]){k, n}),
                       half_weight(check, wide ? DTYPE_F32 : dtype, 1, &n)};
  Node *node = node_new(&check->builder, &op_gemm, operands, 3);
  node_set_bool(node, "wide", wide);
  half_done(check, node, dtype,
            NAME("%s_gemm_m%d_k%d_n%d%s", dtype_name(dtype), (int)m, (int)k, (int)n, wide ? "_wide" : ""));
}

static void add_half_conv(Check *check, Dtype dtype, bool wide, const ConvCase *c) {
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

static void half_cases(Check *check) {
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

typedef struct BlocksCase {
  int64_t m, k, n, size;
  Dtype dtype, scales, zeros; /* DTYPE_NONE: no zero point */
  bool one_zero;
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
  Value *zero = c->zeros == DTYPE_NONE ? NULL
                : c->one_zero          ? build_scalar(&check->builder, c->zeros, 5)
                                       : random_bits(check, c->zeros, 2, blocks);
  Value *operands[] = {input(check, 2, (int64_t[]){c->m, c->k}), random_bits(check, c->dtype, 2, q),
                       number % 2 ? weight(check, 1, &c->n) : NULL,
                       random_scales(check, c->scales, 2, blocks), zero};
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

static void blocks_cases(Check *check) {
  static const BlocksCase cases[] = {{1, 64, 130, 32, DTYPE_U4, DTYPE_F32, DTYPE_U4, false},
                                     {2, 64, 64, 16, DTYPE_I4, DTYPE_F16, DTYPE_NONE, false},
                                     {3, 72, 65, 32, DTYPE_U4, DTYPE_F32, DTYPE_F32, true},
                                     {5, 40, 33, 8, DTYPE_U8, DTYPE_BF16, DTYPE_U8, false},
                                     {8, 96, 16, 96, DTYPE_I8, DTYPE_F32, DTYPE_NONE, false},
                                     {9, 64, 100, 64, DTYPE_U4, DTYPE_F32, DTYPE_U4, false},
                                     {29, 56, 129, 24, DTYPE_I8, DTYPE_F16, DTYPE_I8, false},
                                     {14, 8, 1, 1000, DTYPE_I4, DTYPE_F32, DTYPE_I4, true},
                                     {1, 136, 70, 1000, DTYPE_U8, DTYPE_F32, DTYPE_U8, true},
                                     {1, 12, 48, 4, DTYPE_I8, DTYPE_F32, DTYPE_I8, false},
                                     {4, 64, 20, 32, DTYPE_U2, DTYPE_F32, DTYPE_U2, false},
                                     {OPEN, 64, 70, 16, DTYPE_U4, DTYPE_F32, DTYPE_U4, false},
                                     {1, 7, 20, 3, DTYPE_U4, DTYPE_F32, DTYPE_NONE, false}};
  for (int i = 0; i < COUNT_OF(cases); i++) add_blocks(check, &cases[i], i);
  for (int form = 0; form < 6; form++) add_blocks_model(check, form);
}

/* ---- weights with zeros */

static void quartet_cases(Check *check) {
  check->halves = true;
  const int64_t ms[] = {1, 2, 3, 13, OPEN}, ks[] = {3, 30, 64, 97}, ns[] = {1, 16, 33, 100};
  for (int i = 0; i < COUNT_OF(ms); i++)
    for (int j = 0; j < COUNT_OF(ns); j++)
      add_gemm(check, ms[i], ks[(i + j) % COUNT_OF(ks)], ns[j], (i + j) % 2, (i + j) % 3 == 0);
  add_half_gemm(check, DTYPE_F16, true, 2, 37, 40);
}

static void sparse_cases(Check *check) {
  check->zeros = 0.85;
  const int64_t ms[] = {1, 13, 29, OPEN}, ks[] = {33, 128}, ns[] = {16, 24, 33, 100};
  for (int i = 0; i < COUNT_OF(ms) * COUNT_OF(ks); i++)
    for (int j = 0; j < COUNT_OF(ns); j++)
      add_gemm(check, ms[i / 2], ks[i % 2], ns[j], (i + j) % 2, (i + j) % 3 == 0);
  static const ConvCase cases[] = {
      {1, 8, 15, 16, 33, 1, 1, 1, 1, 0, 1}, {2, 9, 13, 16, 48, 3, 3, 2, 1, 1, 1},
      {1, 9, 9, 32, 16, 3, 3, 1, 2, 2, 1},  {1, 6, 31, 20, 48, 2, 2, 2, 1, 0, 1},
      {1, 9, 9, 16, 20, 1, 1, 2, 1, 0, 1},  {1, 11, 12, 24, 20, 3, 4, 1, 3, 4, 1},
      {1, 9, 10, 40, 50, 3, 5, 1, 1, 2, 2}, {1, 14, 15, 4, 40, 5, 5, 1, 1, 2, 1}};
  for (int i = 0; i < COUNT_OF(cases); i++) {
    add_conv(check, &cases[i], i % 2, i % 3 == 0);
    add_integer_conv(check, &cases[i], i % 3);
    add_half_conv(check, i % 2 ? DTYPE_BF16 : DTYPE_F16, true, &cases[i]);
  }
  add_integer_gemm(check, 14, 130, 100, 1);
  add_integer_gemm(check, 1, 64, 33, 0);
  add_half_gemm(check, DTYPE_BF16, true, 29, 64, 33);
  add_half_gemm(check, DTYPE_F16, true, OPEN, 64, 33);
  check->zeros = 1;
  add_gemm(check, 3, 40, 33, true, false);
  add_conv(check, &cases[0], true, false);
  check->zeros = 0.85;
  check->single = true;
  const int64_t rows[] = {16, 31, 77, OPEN}, depths[] = {40, 130};
  for (int i = 0; i < COUNT_OF(rows); i++)
    for (int j = 0; j < COUNT_OF(ns); j++) add_gemm(check, rows[i], depths[j % 2], ns[j], (i + j) % 2, i % 2);
  static const ConvCase pointwise[] = {{1, 8, 17, 16, 33, 1, 1, 1, 1, 0, 1},
                                       {2, 9, 19, 36, 16, 1, 1, 1, 1, 0, 1},
                                       {1, OPEN, 17, 32, 24, 1, 1, 1, 1, 0, 1},
                                       {2, 3, OPEN, 32, 24, 1, 1, 1, 1, 0, 1}};
  for (int i = 0; i < COUNT_OF(pointwise); i++) {
    add_conv(check, &pointwise[i], i % 2, false);
    if (i < 2) add_conv(check, &pointwise[i], !(i % 2), true);
  }
  check->single = false;
  quartet_cases(check);
}

static const struct {
  const char *name;
  void (*add)(Check *);
} families[] = {
    {"integers", integer_cases},    {"gemm", gemm_cases},         {"matmul", matmul_cases},
    {"conv", conv_cases},           {"winograd", winograd_cases}, {"transposed", transposed_cases},
    {"depthwise", depthwise_cases}, {"pool", pool_cases},         {"rows", row_cases},
    {"movement", movement_cases},   {"rnn", cell_cases},          {"attention", attention_cases},
    {"trees", tree_cases},          {"halves", half_cases},       {"blocks", blocks_cases},
    {"sparse", sparse_cases},
};

/* ---- running ------------------------------------------------------------------------------------------- */

static bool random_inputs(Check *check, Tensor *tensors) {
  const Graph *graph = check->module->main;
  for (int i = 0; i < graph->input_count; i++) {
    const Type *type = graph->inputs[i]->type;
    int64_t dims[MAX_RANK];
    for (int k = 0; k < type->rank; k++)
      dim_eval(type->dims[k], (const char *[]){"S"}, (int64_t[]){OPEN_SIZE}, 1, &dims[k]);
    TRY(tensor_new(&tensors[i], type->dtype, type->rank, dims));
    float *data = tensors[i].data;
    for (int64_t k = 0; k < tensor_count(&tensors[i]); k++) data[k] = (float)next_random(check);
  }
  return true;
}

static bool optimise(Check *check, const Target *target) {
  const Pass *const tables[] = {graph_passes, codegen_passes, NULL};
  PipelineOptions options = {
      .pass = {.target = target, .executor = codegen_executor(target)},
      .tables = tables,
      .verify = true,
  };
  return pipeline_run(check->module->main, &options);
}

static bool same_values(const char *name, const Tensor *fast, const Tensor *plain) {
  const float *a = fast->data, *b = plain->data;
  if (tensor_count(fast) != tensor_count(plain)) {
    printf("FAIL %s: %lld elements, not %lld\n", name, (long long)tensor_count(fast),
           (long long)tensor_count(plain));
    return false;
  }
  for (int64_t i = 0; i < tensor_count(plain); i++) {
    if (fabs((double)a[i] - (double)b[i]) <= 2e-5 + 1e-4 * fabs((double)b[i])) continue;
    printf("FAIL %s: element %lld is %g, the plain lowering gives %g\n", name, (long long)i, (double)a[i],
           (double)b[i]);
    return false;
  }
  return true;
}

typedef enum Way { WAY_WHOLE, WAY_PARTS, WAY_ONCE } Way;

static int check_family(int index, Way way, const char *cpu, int *passed) {
  Check *check = calloc(1, sizeof *check);
  check->parts = way == WAY_PARTS;
  check->once = way == WAY_ONCE;
  check->module = module_new("checkop");
  check->module->main = graph_new(check->module, families[index].name, NULL);
  check->builder = builder_at_end(check->module->main);
  check->seed = 88172645463325252u + (uint64_t)index;
  families[index].add(check);
  Graph *graph = check->module->main;
  int failed = 0, inputs = graph->input_count, count = check->count;
  Tensor *x = calloc((size_t)inputs, sizeof *x), *fast = calloc((size_t)count, sizeof *fast),
         *plain = calloc((size_t)count, sizeof *plain);
  Target target;
  bool ok = graph_set_outputs(graph, count, check->outputs, check->names) && random_inputs(check, x) &&
            target_describe(check->module, NULL, cpu, &target) && graph_interpret(graph, x, plain) &&
            optimise(check, &target) && codegen_execute(&target, graph, x, fast);
  if (!ok) {
    diags_print(check->module, stderr, 10);
    printf("FAIL %s: the family did not compile and run\n", families[index].name);
    failed = count;
  }
  for (int i = 0; ok && i < count; i++) {
    if (same_values(check->names[i], &fast[i], &plain[i]))
      (*passed)++;
    else
      failed++;
  }
  if (ok && !divided_agrees(graph, &target, x)) {
    diags_print(check->module, stdout, 10);
    printf("FAIL %s: threads change the results\n", families[index].name);
    failed++;
  }
  for (int i = 0; i < inputs; i++) tensor_free(&x[i]);
  for (int i = 0; i < count; i++) {
    tensor_free(&fast[i]);
    tensor_free(&plain[i]);
  }
  free(x);
  free(fast);
  free(plain);
  module_free(check->module);
  free(check);
  return failed;
}

int main(int argc, char **argv) {
  int passed = 0, failed = 0;
  bool once = argc > 1 && strcmp(argv[1], "--once") == 0;
  argc -= once, argv += once;
  for (int i = 0; i < COUNT_OF(families); i++) {
    if (argc > 1 && strcmp(argv[1], families[i].name) != 0) continue;
    for (Way way = once ? WAY_ONCE : WAY_WHOLE; way <= (once ? WAY_ONCE : WAY_PARTS); way++)
      failed += check_family(i, way, argc > 2 ? argv[2] : NULL, &passed);
  }
  printf("%d passed, %d failed\n", passed, failed);
  return failed > 0 || passed == 0;
}
