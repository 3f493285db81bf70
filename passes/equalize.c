/*
 * equalize.c -- channels of what a product reads get about the same range, so that one step fits them all.
 *
 * Before: products with constant weights, and before them something whose constants scale each channel:
 *
 *   relu(conv(x, w, b)) -> conv(.., w2)              cross-layer equalization, Nagel et al. 2019
 *   layer_norm(x, g, b) -> gemm(.., w2), gemm(.., w3)           SmoothQuant, Xiao et al. 2022
 *
 * After: w, b (or g, b) of channel c are divided by s[c], and what every product behind multiplies with it is
 * multiplied by s[c]:
 *
 *   s[c] = range of the channel ^ strength / range of its weights ^ (1 - strength)
 *
 * A weight counts in parts of the largest of its result's channel, whose step it shares. Depthwise
 * convolutions have a step for each channel anyhow, so there the strength is 1. The largest s is 1.
 *
 * With samples, a product that alone reads its x and has no such source gets one: a multiplication.
 *
 * In between may stand what keeps channels apart and f(x s) = f(x) s for s > 0: relu, pools, means. Bounds
 * become one for each channel: clip(x, 0, 6) is min(relu(x), 6 / s). Everything that reads a channel on the
 * way must end in such a product. Requires weights to be constants (fold), and no padding but zeros. Keeps
 * all results up to the rounding of floats.
 */
#include <math.h>
#include <string.h>

#include "passes/rewrite.h"

enum { MAX_ENDS = 16 };

/* Between a source of channels and the products that read them. */
typedef struct Span {
  Node *source;
  int64_t channels;
  Node *products[MAX_ENDS];
  int weight_axis[MAX_ENDS]; /* of operand 1, the axis of the channels */
  int product_count;
  bool mixes;               /* some product sums over channels */
  Node *bounds[MAX_ENDS];   /* clips on the way, */
  int bound_axis[MAX_ENDS]; /* and the axis of the channels in them */
  int bound_count;
} Span;

/* ---- constants along an axis ---- */

static const Data *float_data(const Value *value) {
  const Data *data = value ? value_data(value) : NULL;
  return data && data->dtype == DTYPE_F32 && data->count > 0 ? data : NULL;
}

/* The channel of each element: i / inner % channels. */
static int64_t inner_size(const Type *type, int axis) {
  int64_t inner = 1;
  for (int i = axis + 1; i < type->rank; i++) inner *= type->dims[i]->value;
  return inner;
}

/* Operand `index` becomes a copy whose elements are multiplied by those of `factors` along the axis. */
static void scale_operand(Node *node, int index, int axis, const double *factors) {
  Value *old = operand(node, index);
  const Data *data = value_data(old);
  int64_t inner = inner_size(old->type, axis), channels = old->type->dims[axis]->value;
  Data *scaled = data_new(node->graph->module, DTYPE_F32, data->count);
  float *to = data_bytes(scaled);
  for (int64_t i = 0; i < data->count; i++)
    to[i] = (float)(data_get(data, i) * factors[i / inner % channels]);
  scaled->name = data->name;
  Builder builder = builder_before(node);
  Value *value = build_const(&builder, old->type, scaled, NULL);
  operand_set(node, index, value);
  if (!old->uses) node_replace(old->def, value);
}

/* The axis of a constant that has one element per channel; -1: it has others. */
static int vector_axis(const Value *value, int64_t channels) {
  const Data *data = float_data(value);
  if (!data || data->count != channels) return -1;
  for (int i = 0; i < value->type->rank; i++)
    if (dim_is(value->type->dims[i], channels)) return i;
  return -1;
}

/* ---- sources ---- */

/* What divides each channel of a result when its constants are divided. */
typedef struct Source {
  const Op *op;
  int first, last; /* these operands; of them only the first must be there */
} Source;

static const Source sources[] = {{&op_conv, 1, 2},   {&op_conv_transpose, 1, 2}, {&op_gemm, 1, 2},
                                 {&op_matmul, 1, 1}, {&op_layer_norm, 1, 2},     {&op_mul, 1, 1}};

static const Source *source_find(const Node *node) {
  for (int i = 0; i < COUNT_OF(sources); i++)
    if (node_is(node, sources[i].op)) return &sources[i];
  return NULL;
}

static bool is_product(const Node *node) {
  const Source *source = source_find(node);
  return source && source->op != &op_layer_norm && source->op != &op_mul;
}

/* The axis of the weights that is the only one they have in common with the result, and which one that is
 * there. */
static int weight_channel(const Node *node, int *result_axis) {
  AxisLink links[MAX_RANK];
  int found = -1;
  op_axes(node, 1, links);
  for (int i = 0; i < operand(node, 1)->type->rank; i++) {
    if (links[i].role != AXIS_SAME) continue;
    if (found >= 0) return -1;
    found = i;
    *result_axis = links[i].axis;
  }
  return found;
}

/* The axis of operand `index` that is the channels of the result; -1: there is none. */
static int source_axis(const Node *node, int index, int64_t channels) {
  int unused;
  return is_product(node) && index == 1 ? weight_channel(node, &unused)
                                        : vector_axis(operand(node, index), channels);
}

/* The axis of the channels in the result of a source. */
static int channel_axis(const Node *node) {
  const Value *constant = operand(node, 1), *y = result(node, 0);
  int axis = -1;
  if (is_product(node)) return weight_channel(node, &axis) < 0 ? -1 : axis;
  int varying = vector_axis(constant, float_data(constant)->count);
  return varying < 0 ? -1 : varying + y->type->rank - constant->type->rank;
}

/* Its channels, if constants scale them. */
static bool read_source(Node *node, Span *span, int *axis) {
  const Source *source = source_find(node);
  *span = (Span){.source = node};
  if (!source || !float_data(operand(node, 1)) || (*axis = channel_axis(node)) < 0) return false;
  const Type *type = result(node, 0)->type;
  if (type->dtype != DTYPE_F32 || !dim_is_const(type->dims[*axis])) return false;
  span->channels = type->dims[*axis]->value;
  if (span->channels < 2) return false;
  for (int i = source->first; i <= source->last; i++)
    if (operand(node, i) && source_axis(node, i, span->channels) < 0) return false;
  return !node_is(node, &op_mul) || operand(node, 0)->type == type;
}

/* ---- the way to products ---- */

/* f(x s) = f(x) s for s > 0 along an axis that it leaves alone. */
static bool keeps_scales(const Node *node) {
  static const Op *const ops[] = {&op_relu,         &op_leaky_relu,  &op_prelu,      &op_abs,
                                  &op_neg,          &op_max_pool,    &op_reduce_max, &op_reduce_min,
                                  &op_average_pool, &op_reduce_mean, &op_reduce_sum, &op_transpose,
                                  &op_reshape,      &op_slice,       &op_broadcast,  &op_tile};
  for (int i = 0; i < COUNT_OF(ops); i++)
    if (node->op == ops[i]) return true;
  return false;
}

/* Of a product whose x has channels along an axis, the axis of the weights that is multiplied with them; -1:
 * there is none. */
static int product_axis(const Node *node, int axis, int64_t channels) {
  AxisLink x[MAX_RANK], w[MAX_RANK];
  if (!is_product(node) || !float_data(operand(node, 1))) return -1;
  op_axes(node, 0, x);
  op_axes(node, 1, w);
  if (x[axis].role != AXIS_CONTRACT && x[axis].role != AXIS_SAME) return -1;
  for (int i = 0; i < operand(node, 1)->type->rank; i++)
    if (w[i].role == x[axis].role && w[i].axis == x[axis].axis &&
        dim_is(operand(node, 1)->type->dims[i], channels))
      return i;
  return -1;
}

/* The axis of x along which a product has weights of their own; -1: there is none. */
static int product_channel_axis(const Node *product) {
  if (!is_product(product)) return -1;
  const Type *x = operand(product, 0)->type;
  for (int axis = x->rank - 1; axis >= 0; axis--)
    if (dim_is_const(x->dims[axis]) && product_axis(product, axis, x->dims[axis]->value) >= 0) return axis;
  return -1;
}

static bool add_product(Span *span, Node *node, int axis) {
  int weight_axis = product_axis(node, axis, span->channels);
  if (weight_axis < 0 || span->product_count == MAX_ENDS) return false;
  AxisLink links[MAX_RANK];
  op_axes(node, 0, links);
  span->mixes |= links[axis].role == AXIS_CONTRACT;
  span->weight_axis[span->product_count] = weight_axis;
  span->products[span->product_count++] = node;
  return true;
}

static bool add_bound(Span *span, Node *node, int axis) {
  double bound;
  if (!node_is(node, &op_clip)) return false;
  for (int i = 1; i < 3; i++)
    if (operand(node, i) && !value_scalar(operand(node, i), &bound)) return false;
  if (span->bound_count == MAX_ENDS) return false;
  span->bound_axis[span->bound_count] = axis;
  span->bounds[span->bound_count++] = node;
  return true;
}

/* Whether all that reads axis `axis` of x ends in products. */
static bool follow(Span *span, const Value *x, int axis) {
  FOR_EACH_USE(use, x) {
    Node *node = use->node;
    if (use != &node->operands[0] || node->result_count != 1) return false;
    if (add_product(span, node, axis)) continue;
    if (!keeps_scales(node) && !add_bound(span, node, axis)) return false;
    AxisLink links[MAX_RANK];
    op_axes(node, 0, links);
    if (links[axis].role != AXIS_SAME) return false;
    if (!follow(span, result(node, 0), links[axis].axis)) return false;
  }
  return true;
}

/* ---- the scales ---- */

/* Largest magnitude of each channel of a constant, each element in parts of the largest that it shares
 * `whole` with (an axis; -1: nothing). */
static void add_magnitudes(const Value *value, int axis, int whole, double *magnitudes) {
  const Data *data = value_data(value);
  const Type *type = value->type;
  Arena *arena = arena_new();
  int64_t inner = inner_size(type, axis), channels = type->dims[axis]->value;
  int64_t others = whole < 0 ? 1 : type->dims[whole]->value, step = whole < 0 ? 1 : inner_size(type, whole);
  double *largest = NEW_ARRAY(arena, double, others);
  for (int64_t i = 0; i < data->count; i++) {
    double *at = &largest[i / step % others];
    *at = whole < 0 ? 1 : fmax(*at, fabs(data_get(data, i)));
  }
  for (int64_t i = 0; i < data->count; i++) {
    double *at = &magnitudes[i / inner % channels], part = fabs(data_get(data, i));
    if (part > 0) *at = fmax(*at, part / largest[i / step % others]);
  }
  arena_free(arena);
}

/* Without samples: those of the constants. */
static void guess_ranges(const Span *span, double *ranges) {
  const Source *source = source_find(span->source);
  memset(ranges, 0, sizeof ranges[0] * (size_t)span->channels);
  for (int i = source->first; i <= source->last; i++)
    if (operand(span->source, i))
      add_magnitudes(operand(span->source, i), source_axis(span->source, i, span->channels), -1, ranges);
}

/* Of all products that read them; squares and reach are those of the first. False: they are guessed. */
static bool find_ranges(const Span *span, const Equalizing *options, Channels *seen, double *ranges) {
  for (int i = 0; i < span->product_count; i++) {
    Channels channels;
    if (!options->channels || !options->channels(options->context, span->products[i], &channels)) {
      guess_ranges(span, ranges);
      return false;
    }
    for (int64_t c = 0; c < span->channels; c++) ranges[c] = fmax(ranges[c], channels.absmax[c]);
    if (i == 0) *seen = channels;
  }
  return true;
}

/* ---- what rounding costs ---- */

/* The squared error of the product's results by rounding x and weights, in parts of their squares, when
 * channels are divided by their scales: rounding to steps of s is noise of s^2 / 12. */
static double product_noise(const Span *span, int number, const Channels *seen, const double *ranges,
                            const double *scales) {
  const Value *w = operand(span->products[number], 1);
  const Data *data = value_data(w);
  int unused, axis = span->weight_axis[number], row_axis = weight_channel(span->products[number], &unused);
  int64_t inner = inner_size(w->type, axis), row_inner = row_axis < 0 ? 1 : inner_size(w->type, row_axis);
  int64_t rows = row_axis < 0 ? 1 : w->type->dims[row_axis]->value;
  Arena *arena = arena_new();
  double *largest = NEW_ARRAY(arena, double, rows), *met = NEW_ARRAY(arena, double, rows);
  double most = 0, weights = 0, signal = 0, noise = 0;
  for (int64_t c = 0; c < span->channels; c++) most = fmax(most, ranges[c] / scales[c]);
  for (int64_t i = 0; i < data->count; i++) {
    int64_t c = i / inner % span->channels, row = i / row_inner % rows;
    double scaled = fabs(data_get(data, i)) * scales[c], square = seen->squares[c] / (scales[c] * scales[c]);
    largest[row] = fmax(largest[row], scaled);
    met[row] += square;
    weights += scaled * scaled;
    signal += scaled * scaled * square;
  }
  double step = seen->reach * most / UINT8_MAX;
  noise = step * step * weights;
  for (int64_t row = 0; row < rows; row++) noise += pow(largest[row] / INT8_MAX, 2) * met[row];
  arena_free(arena);
  return signal > 0 ? noise / 12 / signal : 0;
}

static double span_noise(const Span *span, const Channels *seen, const double *ranges, const double *scales) {
  double noise = 0;
  for (int i = 0; i < span->product_count; i++) noise += product_noise(span, i, seen, ranges, scales);
  return noise;
}

/* ---- the scales ---- */

/* The least of them. */
static double fill_scales(int64_t channels, double strength, const double *ranges, const double *weights,
                          double *scales) {
  const double least = 1.0 / 256; /* of the largest */
  double most = 0, smallest = 1;
  for (int64_t c = 0; c < channels; c++) {
    bool used = ranges[c] > 0 && weights[c] > 0;
    scales[c] = used ? pow(ranges[c], strength) / pow(weights[c], 1 - strength) : 0;
    most = fmax(most, scales[c]);
  }
  if (!isfinite(most)) return 1;
  for (int64_t c = 0; most > 0 && c < channels; c++) {
    scales[c] = scales[c] == 0 ? 1 : fmax(scales[c] / most, least); /* what nobody uses may get anything */
    smallest = fmin(smallest, scales[c]);
  }
  return smallest;
}

/* Of those of some strengths the ones with the least noise; false when there is little to gain. */
static bool find_best_scales(Arena *arena, const Span *span, const Channels *seen, const double *ranges,
                             const double *weights, double *scales) {
  static const double strengths[] = {0.25, 0.5, 0.75, 1};
  const double worth = 0.8;
  double *tried = NEW_ARRAY(arena, double, span->channels);
  for (int64_t c = 0; c < span->channels; c++) tried[c] = 1;
  double least = worth * span_noise(span, seen, ranges, tried);
  bool found = false;
  for (int i = 0; i < COUNT_OF(strengths); i++) {
    if (fill_scales(span->channels, strengths[i], ranges, weights, tried) == 1) continue;
    double noise = span_noise(span, seen, ranges, tried);
    if (noise >= least) continue;
    least = noise;
    memcpy(scales, tried, sizeof *scales * (size_t)span->channels);
    found = true;
  }
  return found;
}

/* The scale of each channel; false when there is little to gain. */
static bool find_scales(Arena *arena, const Span *span, const Equalizing *options, double *scales) {
  const double worth = 0.8; /* of the largest */
  double *ranges = NEW_ARRAY(arena, double, span->channels),
         *weights = NEW_ARRAY(arena, double, span->channels);
  Channels seen = {0};
  bool known = find_ranges(span, options, &seen, ranges);
  for (int i = 0; i < span->product_count; i++) {
    int unused, whole = weight_channel(span->products[i], &unused);
    add_magnitudes(operand(span->products[i], 1), span->weight_axis[i], whole, weights);
  }
  if (known && seen.squares) return find_best_scales(arena, span, &seen, ranges, weights, scales);
  return fill_scales(span->channels, span->mixes ? options->strength : 1, ranges, weights, scales) < worth;
}

/* ---- the rewrite ---- */

/* The bound divided by the scale of each channel, shaped to broadcast to x. */
static Value *channel_bound(Builder *builder, const Value *x, int axis, double bound, const double *inverse) {
  Module *module = builder->graph->module;
  const Dim *dims[MAX_RANK], *one = dim_const(module, 1);
  int64_t channels = x->type->dims[axis]->value;
  Data *data = data_new(module, DTYPE_F32, channels);
  float *to = data_bytes(data);
  for (int64_t c = 0; c < channels; c++) to[c] = (float)(bound * inverse[c]);
  for (int i = axis; i < x->type->rank; i++) dims[i - axis] = i == axis ? x->type->dims[axis] : one;
  return build_const(builder, type_make(module, DTYPE_F32, x->type->rank - axis, dims), data, NULL);
}

static void scale_bound(Node *clip, int axis, const double *inverse) {
  static const Op *const ops[] = {NULL, &op_max, &op_min};
  Builder builder = builder_before(clip);
  Value *y = operand(clip, 0);
  double bound;
  for (int i = 1; i < 3; i++) {
    if (!operand(clip, i) || !value_scalar(operand(clip, i), &bound)) continue;
    y = i == 1 && bound == 0
            ? build_unary(&builder, &op_relu, y)
            : build_binary(&builder, ops[i], y, channel_bound(&builder, y, axis, bound, inverse));
  }
  node_replace(clip, y);
}

static void apply(const Span *span, const double *scales, double *inverse) {
  const Source *source = source_find(span->source);
  for (int64_t c = 0; c < span->channels; c++) inverse[c] = 1 / scales[c];
  for (int i = source->first; i <= source->last; i++)
    if (operand(span->source, i))
      scale_operand(span->source, i, source_axis(span->source, i, span->channels), inverse);
  for (int i = 0; i < span->product_count; i++)
    scale_operand(span->products[i], 1, span->weight_axis[i], scales);
  for (int i = 0; i < span->bound_count; i++) scale_bound(span->bounds[i], span->bound_axis[i], inverse);
}

/* Whether the node is a source of channels that differ enough. */
static bool equalize_behind(Node *node, const Equalizing *options, Equalized *report) {
  Span span;
  int axis;
  if (!read_source(node, &span, &axis) || !follow(&span, result(node, 0), axis) || !span.product_count)
    return false;
  Arena *arena = arena_new();
  double *scales = NEW_ARRAY(arena, double, span.channels),
         *inverse = NEW_ARRAY(arena, double, span.channels);
  bool differ = find_scales(arena, &span, options, scales);
  if (differ) apply(&span, scales, inverse);
  for (int64_t c = 0; differ && c < span.channels; c++) report->largest = fmax(report->largest, inverse[c]);
  for (int i = 0; i < span.product_count; i++) span.products[i]->mark = true;
  arena_free(arena);
  return differ;
}

/* ---- sources that are not there ---- */

/* A multiplication by ones in front of a product that alone reads its x; NULL: others do, too. */
static Node *multiply_by_ones(Node *product) {
  Module *module = product->graph->module;
  int axis = product_channel_axis(product);
  if (axis < 0) return NULL;
  Value *x = operand(product, 0);
  if (!x->def || !value_has_one_use(x)) return NULL;
  const Dim *dims[MAX_RANK], *one = dim_const(module, 1);
  int rank = x->type->rank - axis;
  for (int i = 0; i < rank; i++) dims[i] = i == 0 ? x->type->dims[axis] : one;
  Builder builder = builder_before(product);
  Value *ones = build_splat(&builder, type_make(module, DTYPE_F32, rank, dims), 1);
  Value *y = build_binary(&builder, &op_mul, x, ones);
  operand_set(product, 0, y);
  return y->def;
}

static void remove_multiplication(Node *mul) {
  Node *ones = operand(mul, 1)->def;
  node_replace(mul, operand(mul, 0));
  node_remove(ones);
}

bool graph_equalize(Graph *graph, const Equalizing *options, Equalized *report) {
  *report = (Equalized){.largest = 1};
  FOR_EACH_NODE(node, graph) node->mark = false;
  FOR_EACH_NODE(node, graph) {
    if (!equalize_behind(node, options, report)) continue;
    report->products += is_product(node);
    report->norms += !is_product(node);
  }
  FOR_EACH_NODE(node, graph) {
    Node *mul = options->channels && !node->mark ? multiply_by_ones(node) : NULL;
    if (mul && equalize_behind(mul, options, report))
      report->multiplied++;
    else if (mul)
      remove_multiplication(mul);
  }
  return report->products + report->norms + report->multiplied > 0;
}

bool pass_equalize(Graph *graph, const PassOptions *options) {
  (void)options;
  Equalized report;
  return graph_equalize(graph, &(Equalizing){.strength = 0.5}, &report);
}
