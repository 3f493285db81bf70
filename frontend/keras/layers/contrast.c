/*
 * contrast.c -- AutoContrast and ContrastLimitedAdaptiveHistogramEqualization, which act at inference, too.
 *
 * The second, CLAHE, counts the levels of each tile of the image, bounds the counts, and takes from their
 * cumulative sums a table of new levels for each tile and channel. A pixel gets the mean of what the four
 * tables around it say, weighed by their nearness; at the edges the nearest ones count twice. Where the
 * tables are depends on sizes alone, so indices and weights of rows and columns are constants.
 */
#include "frontend/keras/keras.h"
#include <math.h>

enum { LEVELS = 256 };

typedef struct Range {
  double low, high;
} Range;

static const Range bytes = {0, LEVELS - 1};

static bool read_range(Call *call, Range *range) {
  const cJSON *item = json_member(call->config, "value_range"), *low = json_at(item, 0),
              *high = json_at(item, 1);
  *range = bytes;
  if (!item) return true;
  if (cJSON_GetArraySize(item) != 2 || !cJSON_IsNumber(low) || !cJSON_IsNumber(high) ||
      low->valuedouble == high->valuedouble)
    return call_fail(call, "'value_range' is not made of two different numbers");
  *range = (Range){low->valuedouble, high->valuedouble};
  return true;
}

static Value *to_range(Call *call, Value *x, Range from, Range to) {
  if (from.low == to.low && from.high == to.high) return x;
  x = make_number(call, &op_div, make_number(call, &op_sub, x, from.low), from.high - from.low);
  return make_number(call, &op_add, make_number(call, &op_mul, x, to.high - to.low), to.low);
}

static bool check_image(Call *call) {
  int rank = call->inputs[0]->type->rank;
  return rank == 4 || call_fail(call, "its input has %d axes, not 4", rank);
}

/* ---- AutoContrast ---- */

/* Of each sample's axes 1 and 2, wherever the channels are. What is all the same gives NaN and stays. */
static Value *auto_contrast(Call *call) {
  static const int64_t axes[] = {1, 2};
  Range range;
  if (!check_image(call) || !read_range(call, &range)) return NULL;
  if (range.low > range.high) range = (Range){range.high, range.low};
  Value *x = call_float_input(call, 0), *y = to_range(call, x, range, bytes);
  Value *low = make_reduce(call, &op_reduce_min, y, axes, 2),
        *high = make_reduce(call, &op_reduce_max, y, axes, 2);
  Value *width = make_binary(call, &op_sub, high, low);
  Value *scale =
      width ? make_binary(call, &op_div, build_scalar(call->builder, x->type->dtype, bytes.high), width)
            : NULL;
  Value *offset = make_unary(call, &op_neg, make_binary(call, &op_mul, low, scale));
  y = make_binary(call, &op_add, make_binary(call, &op_mul, y, scale), offset);
  y = to_range(call, make_clip(call, y, bytes.low, bytes.high), bytes, range);
  return make_where(call, make_unary(call, &op_is_nan, y), x, y);
}

/* ---- CLAHE ---- */

typedef struct Tiles {
  Call *call;
  int64_t grid[2], size[2]; /* how many along rows and columns, and of how many pixels */
  int64_t image[2], channels;
} Tiles;

static bool read_tiles(Call *call, const Value *x, Tiles *t) {
  t->call = call;
  TRY(call_ints(call, "tile_grid_size", 2, 8, 1, t->grid));
  for (int i = 1; i < 4; i++)
    if (!dim_is_const(x->type->dims[i]) || x->type->dims[i]->value < 1)
      return call_fail(call, "it needs images of a fixed size; give it with --input-shape");
  t->channels = x->type->dims[3]->value;
  for (int i = 0; i < 2; i++) {
    t->image[i] = x->type->dims[1 + i]->value;
    t->size[i] = (t->image[i] + t->grid[i] - 1) / t->grid[i];
    if (t->grid[i] > 1 << 16 || t->image[i] > 1 << 24)
      return call_fail(call, "%lld tiles of %lld pixels are too many", (long long)t->grid[i],
                       (long long)t->image[i]);
  }
  return true;
}

/* The image with its mirrored edge behind it, up to whole tiles. */
static Value *filled_up(const Tiles *t, Value *x, int i) {
  int64_t count = t->grid[i] * t->size[i], size = t->image[i];
  if (count == size) return x;
  int64_t *from = NEW_ARRAY(t->call->import->module->arena, int64_t, count);
  for (int64_t k = 0; k < count; k++) from[k] = k % (2 * size) < size ? k % size : size - 1 - k % size;
  return make_gather(t->call, x, make_ints(t->call, from, count), 1 + i);
}

static Value *to_levels(Call *call, Value *x) {
  return make_cast(call, make_clip(call, x, 0, LEVELS - 1), DTYPE_I32);
}

/* How often each level is in each tile: [batch * grid * grid * channels, LEVELS]. */
static Value *histograms(const Tiles *t, Value *x) {
  Call *call = t->call;
  Module *module = call->import->module;
  x = filled_up(t, filled_up(t, x, 0), 1);
  if (!x) return NULL;
  const Dim *batch = x->type->dims[0], *channels = dim_const(module, t->channels);
  const Dim *tiled[] = {batch,
                        dim_const(module, t->grid[0]),
                        dim_const(module, t->size[0]),
                        dim_const(module, t->grid[1]),
                        dim_const(module, t->size[1]),
                        channels};
  const Dim *rows = dim_mul(module, batch, dim_const(module, t->grid[0] * t->grid[1] * t->channels));
  const Dim *pixels[] = {rows, dim_const(module, t->size[0] * t->size[1])},
            *counts[] = {rows, dim_const(module, LEVELS)};
  x = make_transpose(call, make_reshape(call, x, 6, tiled), (int64_t[]){0, 1, 3, 5, 2, 4});
  x = make_reshape(call, x, 2, pixels);
  if (!x) return NULL;
  Dtype dtype = x->type->dtype;
  Value *operands[] = {build_broadcast(call->builder, build_scalar(call->builder, dtype, 0), 2, counts),
                       to_levels(call, x),
                       build_broadcast(call->builder, build_scalar(call->builder, dtype, 1), 2, pixels)};
  if (!operands[0] || !operands[1] || !operands[2]) return NULL;
  Node *node = node_new(call->builder, &op_scatter_elements, operands, 3);
  node_set_int(node, "axis", 1);
  node_set_string(node, "reduction", "add");
  return make(node);
}

/* Counts over the limit are shared out among all levels. */
static Value *limited(const Tiles *t, Value *counts) {
  double limit = json_number(t->call->config, "clip_limit", 4) * (double)(t->size[0] * t->size[1]) / LEVELS;
  if (!(limit > 0)) return counts;
  Value *kept = make_clip(t->call, counts, -INFINITY, limit);
  Value *rest =
      make_reduce(t->call, &op_reduce_sum, make_binary(t->call, &op_sub, counts, kept), (int64_t[]){1}, 1);
  return make_binary(t->call, &op_add, kept, make_number(t->call, &op_div, rest, LEVELS));
}

/* The new level of each level, from 0 to 255. */
static Value *new_levels(const Tiles *t, Value *counts) {
  Call *call = t->call;
  if (!counts) return NULL;
  Node *node = node_new(call->builder, &op_cum_sum, &counts, 1);
  node_set_int(node, "axis", 1);
  Value *sums = make(node), *least = make_reduce(call, &op_reduce_min, sums, (int64_t[]){1}, 1);
  if (!least) return NULL;
  Value *all = build_scalar(call->builder, least->type->dtype, (double)(t->size[0] * t->size[1]));
  Value *width = make_binary(call, &op_sub, all, least);
  width = make_where(call, make_number(call, &op_equal, width, 0),
                     build_scalar(call->builder, least->type->dtype, 1), width);
  Value *levels = make_number(call, &op_mul, make_binary(call, &op_sub, sums, least), LEVELS - 1);
  return make_clip(call, make_binary(call, &op_div, levels, width), 0, LEVELS - 1);
}

/* A constant along axis 1 + i of [1, height, width, 1]. */
static Value *along(const Tiles *t, Value *x, int i) {
  const Dim *one = dim_const(t->call->import->module, 1), *dims[] = {one, one, one, one};
  dims[1 + i] = dim_const(t->call->import->module, t->image[i]);
  return make_reshape(t->call, x, 4, dims);
}

/* Of each row (i = 0) or column, the tile before or behind it, times `stride`. */
static Value *tiles_beside(const Tiles *t, int i, bool behind, int64_t stride) {
  int64_t *found = NEW_ARRAY(t->call->import->module->arena, int64_t, t->image[i]);
  for (int64_t k = 0; k < t->image[i]; k++) {
    int64_t tile = (int64_t)floor((double)k / (double)t->size[i] - 0.5) + behind;
    found[k] = (tile < 0 ? 0 : tile >= t->grid[i] ? t->grid[i] - 1 : tile) * stride;
  }
  return along(t, make_ints(t->call, found, t->image[i]), i);
}

/* How much the tile behind weighs. */
static Value *nearness(const Tiles *t, Dtype dtype, int i) {
  double *found = NEW_ARRAY(t->call->import->module->arena, double, t->image[i]);
  for (int64_t k = 0; k < t->image[i]; k++) {
    double at = (double)k / (double)t->size[i] - 0.5;
    found[k] = at - floor(at);
  }
  return along(t, make_floats(t->call, dtype, found, t->image[i]), i);
}

/* Where the table of tile 0 has the pixel's level: (batch * grid * grid * channels + channel) * LEVELS +
 * level. */
static Value *positions(const Tiles *t, Value *x) {
  Call *call = t->call;
  const Dim *one = dim_const(call->import->module, 1), *batch[] = {x->type->dims[0], one, one, one},
            *channels[] = {one, one, one, x->type->dims[3]};
  Value *samples = make_number(call, &op_mul, make_iota(call, DTYPE_I64, 4, batch, 0),
                               (double)(t->grid[0] * t->grid[1] * t->channels * LEVELS));
  Value *offsets = make_number(call, &op_mul, make_iota(call, DTYPE_I64, 4, channels, 3), LEVELS);
  return make_binary(call, &op_add, make_cast(call, to_levels(call, x), DTYPE_I64),
                     make_binary(call, &op_add, samples, offsets));
}

static Value *between(Call *call, Value *a, Value *b, Value *weight) {
  Value *rest =
      weight ? make_binary(call, &op_sub, build_scalar(call->builder, weight->type->dtype, 1), weight) : NULL;
  return make_binary(call, &op_add, make_binary(call, &op_mul, a, rest),
                     make_binary(call, &op_mul, b, weight));
}

static Value *interpolated(const Tiles *t, Value *x, Value *tables) {
  Call *call = t->call;
  if (!tables) return NULL;
  const Dim *count = type_count(call->import->module, tables->type);
  Value *flat = make_reshape(call, tables, 1, &count), *at = positions(t, x), *rows[2];
  Value *across = nearness(t, x->type->dtype, 1), *down = nearness(t, x->type->dtype, 0);
  for (int i = 0; i < 2; i++) {
    Value *of_row = make_binary(call, &op_add, at, tiles_beside(t, 0, i, t->grid[1] * t->channels * LEVELS)),
          *found[2];
    for (int k = 0; k < 2; k++)
      found[k] = make_gather(
          call, flat, make_binary(call, &op_add, of_row, tiles_beside(t, 1, k, t->channels * LEVELS)), 0);
    rows[i] = between(call, found[0], found[1], across);
  }
  return between(call, rows[0], rows[1], down);
}

static Value *clahe(Call *call) {
  Range range;
  Tiles t;
  if (!check_image(call) || !read_range(call, &range)) return NULL;
  Value *x = to_range(call, call_float(call, call_to_nhwc(call, call->inputs[0])), range, bytes);
  if (!x || !read_tiles(call, x, &t)) return NULL;
  Value *y = interpolated(&t, x, new_levels(&t, limited(&t, histograms(&t, x))));
  return call_from_nhwc(call, make_cast(call, to_range(call, y, bytes, range), call->inputs[0]->type->dtype));
}

const LayerKind contrast_layers[] = {
    {"AutoContrast", auto_contrast, 1, 1, NULL, MASK_ENDS},
    {"ContrastLimitedAdaptiveHistogramEqualization", clahe, 1, 1, NULL, MASK_ENDS},
    {0},
};
