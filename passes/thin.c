/*
 * thin.c -- which weights of layers become 0.
 *
 * What layers meet and give over the samples says what each weight matters, and so how many of each layer can
 * go. Which ones is decided again when the layer is fitted (fit.c).
 */
#include <math.h>
#include <string.h>

#include "passes/prune.h"
#include "passes/rewrite.h"

enum { MAX_CHANNELS = 4096, MOST_LOOKED_AT = 4096, BLOCK_ROWS = 16 };

/* ---- what layers meet and give ---- */

/* Sums and sums of squares by channel. */
typedef struct Spread {
  double *sums, *squares;
  int64_t channels, count; /* count: of each */
} Spread;

static Spread spread_new(Arena *arena, int64_t channels) {
  return (Spread){NEW_ARRAY(arena, double, channels), NEW_ARRAY(arena, double, channels), channels, 0};
}

/* What lies side by side, in lanes that do not wait for each other. */
static void add_run(const float *x, int64_t count, double *sum, double *square) {
  enum { LANES = 16 };
  double sums[LANES] = {0}, squares[LANES] = {0};
  for (; count >= LANES; count -= LANES, x += LANES)
    for (int l = 0; l < LANES; l++) {
      sums[l] += x[l];
      squares[l] += (double)x[l] * x[l];
    }
  for (int l = 0; l < LANES; l++) {
    double last = l < count ? x[l] : 0;
    *sum += sums[l] + last;
    *square += squares[l] + last * last;
  }
}

static void spread_add(Spread *spread, const Tensor *x, int axis) {
  const float *at = x->data;
  int64_t behind = 1, channels = spread->channels, count = tensor_count(x);
  for (int i = axis + 1; i < x->rank; i++) behind *= x->dims[i];
  for (int64_t i = 0; i < count; i += behind * channels)
    for (int64_t c = 0; c < channels; c++)
      if (behind > 1) {
        add_run(at + i + c * behind, behind, &spread->sums[c], &spread->squares[c]);
      } else {
        spread->sums[c] += at[i + c];
        spread->squares[c] += (double)at[i + c] * at[i + c];
      }
  spread->count += count / channels;
}

/* Of what a bias cannot make up for; without a bias the mean of squares. */
static double *variances(Arena *arena, const Spread *spread, bool has_bias) {
  double *variance = NEW_ARRAY(arena, double, spread->channels);
  for (int64_t c = 0; c < spread->channels && spread->count; c++) {
    double mean = spread->sums[c] / (double)spread->count,
           square = spread->squares[c] / (double)spread->count;
    variance[c] = fmax(has_bias ? square - mean * mean : square, 0);
  }
  return variance;
}

static double *means(Arena *arena, const Spread *spread) {
  double *mean = NEW_ARRAY(arena, double, spread->channels);
  for (int64_t c = 0; c < spread->channels && spread->count; c++)
    mean[c] = spread->sums[c] / (double)spread->count;
  return mean;
}

typedef struct Look {
  Spread *x, *y; /* [layers] */
  int64_t *places;
} Look;

static int channel_axis(const Layer *layer, const Tensor *tensor) {
  return layer->is_conv ? layer->window.channel_axis : tensor->rank - 1;
}

int64_t pruner_place(int64_t i, int64_t count, int64_t all, int sample) {
  double shift = sample * 0.6180339887498949; /* of the golden ratio: its multiples fill the unit interval */
  int64_t place = (int64_t)(((double)i + shift - floor(shift)) * (double)all / (double)count);
  return place < all ? place : all - 1;
}

/* Channels at places of a sample. */
static void add_channels(Moments *moments, const Tensor *x, int axis, int sample, int samples) {
  Arena *arena = arena_new();
  int64_t behind = 1, channels = moments->k, all = channels ? tensor_count(x) / channels : 0;
  int64_t wanted = (FEWEST_PLACES + PLACES_OF_COLUMN * channels) / samples + 1,
          count = all < wanted ? all : wanted;
  for (int i = axis + 1; i < x->rank; i++) behind *= x->dims[i];
  float *rows = NEW_ARRAY(arena, float, count *channels);
  for (int64_t i = 0; i < count; i++) {
    int64_t place = pruner_place(i, count, all, sample);
    const float *at = (const float *)x->data + place / behind * behind * channels + place % behind;
    for (int64_t c = 0; c < channels; c++) rows[i * channels + c] = at[c * behind];
  }
  moments_add(moments, rows, NULL, count);
  arena_free(arena);
}

static void look_at_sample(const Pruner *pruner, const Look *look, int sample, int samples,
                           const Tensor *seen) {
  const Plan *plan = &pruner->plan;
  for (int i = 0; pruner->met && i < plan->activation_count; i++) {
    const Layer *reader = &plan->layers[plan->activations[i].layer];
    if (pruner->met[i].k)
      add_channels(&pruner->met[i], &seen[i], channel_axis(reader, &seen[i]), sample, samples);
  }
  for (int i = 0; i < plan->layer_count; i++) {
    const Layer *layer = &plan->layers[i];
    const Tensor *x = &seen[layer->activation], *y = &seen[plan->activation_count + i];
    spread_add(&look->x[i], x, channel_axis(layer, x));
    spread_add(&look->y[i], y, channel_axis(layer, y));
    look->places[i] += tensor_count(y) / layer->rows / layer_phases(layer);
  }
}

static void start_look(const Pruner *pruner, Look *look) {
  Arena *arena = pruner->plan.graph->module->arena;
  int layers = pruner->plan.layer_count;
  *look = (Look){NEW_ARRAY(arena, Spread, layers), NEW_ARRAY(arena, Spread, layers),
                 NEW_ARRAY(arena, int64_t, layers)};
  for (int i = 0; i < layers; i++) {
    const Layer *layer = &pruner->plan.layers[i];
    look->x[i] = spread_new(arena, pruner->plan.activations[layer->activation].channels);
    look->y[i] = spread_new(arena, layer->rows);
  }
  for (int i = 0; pruner->met && i < pruner->plan.activation_count; i++) {
    int64_t channels = pruner->plan.activations[i].channels;
    pruner->met[i] = moments_new(arena, 0, channels <= MAX_CHANNELS ? (int)channels : 0);
  }
}

static bool varies(const Pruner *pruner) {
  for (int i = 0; i < pruner->plan.layer_count; i++)
    for (int64_t row = 0; row < pruner->plan.layers[i].rows; row++)
      if (pruner->layers[i].y_variance[row] > 0) return true;
  return false;
}

bool pruner_look(Pruner *pruner) {
  Plan *plan = &pruner->plan;
  Arena *arena = plan->graph->module->arena;
  const Samples *samples = plan->ledger->samples;
  int outputs = plan->observed.output_count, all = outputs + plan->observed.seen_count;
  Tensor *seen = NEW_ARRAY(arena, Tensor, all);
  Look look;
  start_look(pruner, &look);
  int count = samples->count < MOST_LOOKED_AT ? samples->count : MOST_LOOKED_AT;
  for (int sample = 0; sample < count; sample++) {
    int64_t which = (int64_t)sample * samples->count / count;
    plan_report(plan, "calibrating", sample, count);
    TRY(observer_run(&plan->observed, &samples->tensors[which * samples->input_count], seen));
    look_at_sample(pruner, &look, sample, count, seen + outputs);
    seen_free(seen, all);
  }
  for (int i = 0; i < plan->layer_count; i++) {
    const Layer *layer = &plan->layers[i];
    Thinning *thinning = &pruner->layers[i];
    thinning->has_bias = layer_takes_bias(layer, layer_bias(layer));
    thinning->x_variance = variances(arena, &look.x[i], thinning->has_bias);
    thinning->x_mean = thinning->has_bias ? means(arena, &look.x[i]) : NULL;
    thinning->y_variance = variances(arena, &look.y[i], true);
    thinning->macs = (double)look.places[i] / count * (double)(layer->rows * layer->k);
  }
  observer_close(&plan->observed);
  return varies(pruner) ||
         fail(plan->graph->module,
              "the samples say nothing about which weights matter: no layer's results differ "
              "within them or between them; give more with --calib");
}

/* ---- the share of each layer ---- */

/* Counts of what losses there are, by their logarithm. */
enum { BINS = 4096, BINS_OF_OCTAVE = 32, LEAST_EXPONENT = -100 };

static int bin_of(double loss) {
  if (!(loss > 0)) return 0;
  double bin = (log2(loss) - LEAST_EXPONENT) * BINS_OF_OCTAVE;
  return bin < 0 ? 0 : bin >= BINS ? BINS - 1 : (int)bin;
}

static bool is_active(const Plan *plan, int layer) {
  return !plan->layers[layer].row->reason;
}

static int block_rows(const Pruner *pruner) {
  return pruner->pruning->form == PRUNE_BLOCKS ? BLOCK_ROWS : 1;
}

/* Places of each channel in what a product reads as one row: of an image that is flattened channels-first,
 * which the layout pass turns around; else 1. */
static int64_t flattened_places(const Layer *layer) {
  const Node *reshape = operand(layer->node, 0)->def;
  if (!reshape || !node_is(reshape, &op_reshape)) return 1;
  const Type *image = operand(reshape, 0)->type;
  const Node *maker = operand(reshape, 0)->def;
  while (maker && node_is_pointwise(maker)) maker = operand(maker, 0)->def;
  if (!maker || op_attr_index(maker->op, "layout") < 0 || !node_string_is(maker, "layout", "nchw")) return 1;
  int64_t places = 1;
  for (int i = 2; i < image->rank; i++) places *= dim_is_const(image->dims[i]) ? image->dims[i]->value : 0;
  return dim_is(image->dims[1], places > 0 ? layer->k / places : 0) ? places : 1;
}

/* Columns of neighbouring channels side by side. */
static int *channel_order(Arena *arena, const Layer *layer) {
  int *order = NEW_ARRAY(arena, int, layer->k);
  int64_t places = layer->is_conv ? layer->k / layer->window.group_channels : flattened_places(layer);
  int64_t channels = layer->k / places;
  bool last = layer->is_conv && layer->window.channels_last;
  for (int64_t j = 0; j < layer->k; j++) order[j] = (int)(last ? j : j % channels * places + j / channels);
  return order;
}

/* Neighbouring channels of a block: of weights that get narrow those that are multiplied at once. */
static int block_columns(const Pruner *pruner, const Layer *layer) {
  const Quantization *quantization = pruner->plan.options->quantization;
  int64_t channels = layer->is_conv ? layer->window.group_channels : layer->k;
  if (pruner->pruning->form != PRUNE_BLOCKS || !quantization) return 1;
  Precision precision = quantization->precision;
  bool bytes = precision == PRECISION_INT8 || precision == PRECISION_DYNAMIC;
  int depth = panel_depth(bytes ? DTYPE_I8 : precision == PRECISION_BF16 ? DTYPE_BF16 : DTYPE_F32);
  return channels % depth == 0 ? depth : 1;
}

/* How many blocks of weights lose how much of the variance that the layer gives; where less than a tenth of
 * that is left when those that matter less are gone, more in proportion, so that no layer goes as a whole. */
static void count_losses(const Pruner *pruner, int number, int64_t *bins) {
  const Layer *layer = &pruner->plan.layers[number];
  const double *variance = pruner->layers[number].x_variance;
  const double little = 0.1;
  Arena *arena = arena_new();
  int height = block_rows(pruner), width = block_columns(pruner, layer);
  int *order = channel_order(arena, layer), *first = NEW_ARRAY(arena, int, layer->k); /* of its block */
  for (int j = 0; j < layer->k; j++) first[order[j]] = order[j - j % width];
  int64_t blocks = (layer->rows + height - 1) / height;
  double *losses = NEW_ARRAY(arena, double, blocks * layer->k), total = 0;
  float *weights = layer_weights(arena, layer);
  for (int64_t row = 0; row < layer->rows; row++)
    for (int64_t j = 0; j < layer->k; j++) {
      double w = weights[row * layer->k + j], loss = w * w * variance[layer_channel(layer, row, j)];
      losses[row / height * layer->k + first[j]] += loss;
      total += loss;
    }
  int64_t *counts = NEW_ARRAY(arena, int64_t, BINS);
  double *sums = NEW_ARRAY(arena, double, BINS), left = 1;
  for (int64_t i = 0; i < blocks * layer->k; i++) {
    if (first[i % layer->k] != i % layer->k) continue;
    double loss = total > 0 ? losses[i] / total : 0;
    int bin = bin_of(loss);
    counts[bin]++;
    sums[bin] += loss;
  }
  for (int bin = 0; bin < BINS; bin++) {
    if (!counts[bin]) continue;
    left = fmax(left - sums[bin], 0);
    bins[bin_of(sums[bin] / (double)counts[bin] / fmin(left / little, 1))] += counts[bin] * width;
  }
  arena_free(arena);
}

void weights_choose(Pruner *pruner, double share) {
  const Plan *plan = &pruner->plan;
  Arena *arena = arena_new();
  int64_t *bins = NEW_ARRAY(arena, int64_t, (int64_t)plan->layer_count *BINS), left = 0;
  for (int i = 0; i < plan->layer_count; i++) {
    if (!is_active(plan, i)) continue;
    count_losses(pruner, i, bins + (int64_t)i * BINS);
    for (int bin = 0; bin < BINS; bin++) left += bins[(int64_t)i * BINS + bin];
  }
  int bound = 0;
  for (left = (int64_t)(share * (double)left); bound < BINS && left > 0; bound++)
    for (int i = 0; i < plan->layer_count; i++) left -= bins[(int64_t)i * BINS + bound];
  for (int i = 0; i < plan->layer_count; i++) {
    int64_t all = 0, below = 0;
    for (int bin = 0; bin < BINS; bin++) {
      all += bins[(int64_t)i * BINS + bin];
      below += bin < bound ? bins[(int64_t)i * BINS + bin] : 0;
    }
    pruner->layers[i].share = all == 0                                ? 0
                              : pruner->pruning->form == PRUNE_2_OF_4 ? 0.5
                                                                      : (double)below / (double)all;
  }
  arena_free(arena);
}

/* ---- zeros ---- */

bool pruner_zero(const Pruner *pruner, int number, int64_t group, const double *xx, float *weights) {
  const Layer *layer = &pruner->plan.layers[number];
  const Thinning *thinning = &pruner->layers[number];
  Arena *arena = arena_new();
  bool grouped = pruner->pruning->form == PRUNE_2_OF_4;
  int width = block_columns(pruner, layer);
  Sparsity sparsity = {.rows = (int)layer->group_rows,
                       .k = (int)layer->k,
                       .block_rows = block_rows(pruner),
                       .block_columns = width,
                       .group = grouped ? 4 : 0,
                       .kept = 2,
                       .share = thinning->share};
  double *importance = NEW_ARRAY(arena, double, layer->k);
  for (int64_t j = 0; j < layer->k; j++)
    importance[j] = thinning->x_variance[layer_channel(layer, group * layer->group_rows, j)];
  bool ok =
      sparsify(&sparsity, grouped || width > 1 ? channel_order(arena, layer) : NULL, importance, xx, weights);
  arena_free(arena);
  return ok;
}

static void take_weights(Pruner *pruner, int number) {
  const Layer *layer = &pruner->plan.layers[number];
  Thinning *thinning = &pruner->layers[number];
  Arena *arena = pruner->plan.graph->module->arena;
  Arena *own = arena_new();
  if (!thinning->weights) thinning->weights = NEW_ARRAY(arena, float, layer->rows * layer->k);
  memcpy(thinning->weights, layer_weights(own, layer),
         sizeof *thinning->weights * (size_t)(layer->rows * layer->k));
  arena_free(own);
  if (!thinning->bias) thinning->bias = NEW_ARRAY(arena, double, layer->rows);
  const Value *bias = layer_bias(layer);
  for (int64_t row = 0; thinning->has_bias && row < layer->rows; row++)
    thinning->bias[row] = bias ? data_get(value_data(bias), row) : 0;
}

void pruner_hold(Pruner *pruner, int number) {
  if (!pruner->layers[number].weights) take_weights(pruner, number);
}

bool pruner_start(Pruner *pruner, int number, bool *loses) {
  const Layer *layer = &pruner->plan.layers[number];
  Thinning *thinning = &pruner->layers[number];
  *loses |= pruner->ties || thinning->share > 0;
  thinning->weights = thinning->roots = NULL;
  layer->row->errors[0] = layer->row->errors[1] = 0;
  if (!*loses) return true;
  take_weights(pruner, number);
  for (int64_t group = 0; thinning->share > 0 && group < layer_groups(layer); group++)
    TRY(pruner_zero(pruner, number, group, NULL, thinning->weights + group * layer->group_rows * layer->k));
  return true;
}
