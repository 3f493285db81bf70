/*
 * winograd.c -- weights of 3x3 convolutions in Winograd's form (Lavin and Gray 2015, "Fast Algorithms for
 * Convolutional Neural Networks").
 *
 * A fast kernel computes tiles of t by t results from (t+2)^2 products for each pair of channels instead of
 * 9*t^2. For that it wants u = G w G^T, for each pair of channels. G has a left inverse L with at most two
 * entries in a row, so that w = L u L^T can be had back from at most four elements: the plain convolution
 * reads transformed weights that way, and is the reference for the fast one.
 *
 * Tiles of 2 use the points 0, 1, -1 and infinity. Tiles of 4 use 0, 2/3, -2/3, 3/2, -3/2 and infinity: small
 * and reciprocal, so that powers stay near 1. Over 128 channels of uniform data their error is 1.8 times that
 * of the plain sums in f32 (rms), a quarter at most of what the common 0, 1, -1, 2, -2 cost (largest).
 */
#include "ir/ops/ops.h"

enum { PANEL = 16, MAX_POINTS = 6 };

/* G is [points][3]; row k of L is `factor[k][0]` at point `at[k][0]`, `factor[k][1]` at `at[k][1]`. */
typedef struct Filter {
  int64_t tile;
  int points;
  double g[MAX_POINTS][3];
  int at[3][2];
  double factor[3][2];
} Filter;

/* 1 / (2 a^2 (b^2 - a^2)) and 1 / (2 b^2 (b^2 - a^2)) for a = 2/3, b = 3/2. */
#define A (81.0 / 130)
#define B (8.0 / 65)

static const Filter filters[] = {
    {2,
     4,
     {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}},
     {{0, 0}, {1, 2}, {3, 3}},
     {{1, 0}, {1, -1}, {1, 0}}},
    {4,
     6,
     {{1, 0, 0},
      {-A, -A * 2 / 3, -A * 4 / 9},
      {-A, A * 2 / 3, -A * 4 / 9},
      {B, B * 3 / 2, B * 9 / 4},
      {B, -B * 3 / 2, B * 9 / 4},
      {0, 0, 1}},
     {{0, 0}, {1, 2}, {5, 5}},
     {{1, 0}, {-65.0 / 54, 65.0 / 54}, {1, 0}}},
};

static const Filter *filter_of(int64_t tile) {
  for (int i = 0; i < COUNT_OF(filters); i++)
    if (filters[i].tile == tile) return &filters[i];
  return NULL;
}

int64_t winograd_points(int64_t tile) {
  const Filter *filter = filter_of(tile);
  return filter ? (int64_t)filter->points * filter->points : 0;
}

/* ---- back to weights ---- */

/* values[k]; k is an index from 0 to 2. */
static Reg *choose(Lower *lower, Index k, Reg *const values[3]) {
  Loops *loops = &lower->loops;
  Reg *at = index_reg(lower, k);
  Reg *late = loop_select(loops, loop_binary(loops, LOOP_EQ, at, loop_int(loops, 1)), values[1], values[2]);
  return loop_select(loops, loop_binary(loops, LOOP_EQ, at, loop_int(loops, 0)), values[0], late);
}

static Index point_of(Lower *lower, const Filter *filter, Index k, int which) {
  Reg *points[3];
  for (int i = 0; i < 3; i++) points[i] = loop_int(&lower->loops, filter->at[i][which]);
  return index_of(choose(lower, k, points));
}

static Reg *factor_of(Lower *lower, const Filter *filter, Index k, int which) {
  Reg *factors[3];
  for (int i = 0; i < 3; i++)
    factors[i] = loop_const(&lower->loops, (LoopType){DTYPE_F32, 1}, filter->factor[i][which]);
  return choose(lower, k, factors);
}

Reg *winograd_weight(Lower *lower, const Node *node, int index, int64_t tile, Index m, Index c,
                     const Index *k) {
  const Filter *filter = filter_of(tile);
  Loops *loops = &lower->loops;
  Reg *sum = loop_const(loops, (LoopType){DTYPE_F32, 1}, 0);
  Index at[4] = {index_div(lower, m, dim_const(lower->module, PANEL)),
                 {0},
                 c,
                 index_mod(lower, m, dim_const(lower->module, PANEL))};
  for (int i = 0; i < 2; i++) {
    for (int j = 0; j < 2; j++) {
      Index row = index_mul_const(lower, point_of(lower, filter, k[0], i), filter->points);
      at[1] = index_add(lower, row, point_of(lower, filter, k[1], j));
      Reg *factor =
          loop_binary(loops, LOOP_MUL, factor_of(lower, filter, k[0], i), factor_of(lower, filter, k[1], j));
      sum = multiply_add(lower, sum, factor, lower_operand(lower, node, index, at));
    }
  }
  return sum;
}

/* ---- winograd_weights ---- */

static const OperandSpec operands[] = {{"w", false, "[3, 3, c, m], f32: a convolution's weights in nhwc"}};

static const AttrSpec attrs[] = {
    {"tile", ATTR_INT, ROLE_NONE, "4", "results along each side of a tile: 2 or 4", NULL}};

static bool winograd_infer(Node *node) {
  const Type *w = operand(node, 0)->type;
  Module *module = node_module(node);
  int64_t tile = node_int(node, "tile");
  TRY(check_rank(node, 0, 4));
  if (w->dtype != DTYPE_F32 || !type_is_static(w) || !dim_is(w->dims[0], 3) || !dim_is(w->dims[1], 3))
    return node_fail(node, "w is %s; it must be f32[3,3,c,m]", operand_text(node, 0));
  if (!filter_of(tile)) return node_fail(node, "tile is %lld; it must be 2 or 4", (long long)tile);
  const Dim *panels = dim_ceildiv(module, w->dims[3], dim_const(module, PANEL));
  const Dim *dims[] = {panels, dim_const(module, winograd_points(tile)), w->dims[2],
                       dim_const(module, PANEL)};
  result_set(node, 0, type_make(module, DTYPE_F32, 4, dims));
  return true;
}

/* rows[i] = the sum over k of g[i][k] * x[k], for x of stride `step`. */
static void transform(Loops *loops, const Filter *filter, Reg *const *x, int step, Reg **rows, int row_step) {
  for (int i = 0; i < filter->points; i++) {
    Reg *sum = NULL;
    for (int k = 0; k < 3; k++) {
      double g = filter->g[i][k];
      if (g == 0) continue;
      Reg *factor = loop_const(loops, x[k * step]->type, g), *value = x[k * step];
      sum = sum ? loop_mul_add(loops, factor, value, sum) : loop_binary(loops, LOOP_MUL, factor, value);
    }
    rows[i * row_step] = sum;
  }
}

/* The transformed weights of lower->lanes columns of panel `p`, from `column` on. */
static void transform_columns(Lower *lower, const Node *node, Reg *p, Index c, Reg *column) {
  const Filter *filter = filter_of(node_int(node, "tile"));
  Loops *loops = &lower->loops;
  Reg *w[9], *half[MAX_POINTS * 3], *u[MAX_POINTS * MAX_POINTS];
  int64_t width = operand(node, 0)->type->dims[3]->value;
  Reg *m = loop_binary(loops, LOOP_ADD, loop_binary(loops, LOOP_MUL, p, loop_int(loops, PANEL)), column);
  if (width % PANEL)
    lower->mask =
        loop_lanes_below(loops, loop_binary(loops, LOOP_SUB, loop_int(loops, width), m), lower->lanes);
  for (int i = 0; i < 9; i++) {
    Index at[4] = {index_const(lower, i / 3), index_const(lower, i % 3), c, index_run(m, 1)};
    w[i] = loop_splat(loops, lower_operand(lower, node, 0, at), lower->lanes);
  }
  lower->mask = NULL;
  for (int j = 0; j < 3; j++) transform(loops, filter, w + j, 3, half + j, 3);
  for (int i = 0; i < filter->points; i++)
    transform(loops, filter, half + (size_t)i * 3, 1, u + (size_t)i * (size_t)filter->points, 1);
  for (int i = 0; i < filter->points * filter->points; i++) {
    Index at[4] = {index_of(p), index_const(lower, i), c, index_run(column, 1)};
    lower_result(lower, 0, at, u[i]);
  }
}

static void winograd_nest(Lower *lower, const Node *node) {
  Loops *loops = &lower->loops;
  const Value *y = result(node, 0);
  For panels = loop_parallel(loops, loop_int(loops, 0), lower_dim(lower, y, 0), 1);
  For channels = loop_for(loops, loop_int(loops, 0), lower_dim(lower, y, 2), 1, 0, NULL);
  For columns = loop_for(loops, loop_int(loops, 0), loop_int(loops, PANEL), lower->lanes, 0, NULL);
  transform_columns(lower, node, panels.counter, index_of(channels.counter), columns.counter);
  loop_end(loops, &columns, NULL);
  loop_end(loops, &channels, NULL);
  loop_end(loops, &panels, NULL);
}

const Op op_winograd_weights = {
    .name = "winograd_weights",
    .family = "winograd",
    .doc =
        "Weights of a 3x3 convolution for Winograd's minimal filtering of tiles of t by t results: u = G w "
        "G^T for each pair of channels (Lavin and Gray 2015), in panels of 16 columns, "
        "[ceil(m/16), (t+2)^2, c, 16]; columns beyond m are 0. For a conv with winograd=t.",
    .operands = operands,
    .operand_count = COUNT_OF(operands),
    .results = (const char *const[]){"u"},
    .result_count = 1,
    .attrs = attrs,
    .attr_count = COUNT_OF(attrs),
    .traits = TRAIT_PREPARE,
    .infer = winograd_infer,
    .axes = axes_opaque,
    .nest = winograd_nest,
};
