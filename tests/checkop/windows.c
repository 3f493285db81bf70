/* windows.c -- convolutions, their transposes, and pools. */
#include "tests/checkop/checkop.h"

#include <math.h>

void add_conv(Check *check, const ConvCase *c, bool nhwc, bool residual) {
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

void conv_cases(Check *check) {
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
void winograd_cases(Check *check) {
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
void transposed_cases(Check *check) {
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

void depthwise_cases(Check *check) {
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

void pool_cases(Check *check) {
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
