/*
 * rounding.c -- the integers for a layer's weights.
 *
 * Steps are those with the least squared error, where an error counts as much as what it is multiplied with
 * (calibrate.c). Then each weight becomes the nearest integer, or, by GPTQ, the one that makes up best for
 * the rounding of the weights before it. For that the graph runs over the samples again, and each layer gets
 * the sums of products of what its weights meet, its Hessian: for a convolution of windows in some of the
 * places where its results are. Hessians are large, so layers take turns.
 */
#include "passes/quantize.h"
#include "passes/rewrite.h"

#include <stdlib.h>
#include <string.h>

enum { HESSIAN_BYTES = 1 << 29, MAX_K = 8192, ROWS_OF_SAMPLE = 512 };

/* ---- rows of what weights meet ---- */

/* Where in the activation the columns of a layer's weights are. */
typedef struct Columns {
  const Layer *layer;
  const Tensor *x;
  bool is_conv;
  Window window;
  int64_t place[MAX_WINDOW], count[MAX_WINDOW]; /* of the result that is made; of results */
  int64_t batch;
} Columns;

static int64_t stride_of(const Tensor *x, int axis) {
  int64_t stride = 1;
  for (int i = axis + 1; i < x->rank; i++) stride *= x->dims[i];
  return stride;
}

/* Element of the kernel that column j belongs to, as a place in each spatial axis; false: it is in the
 * padding. */
static bool find_pixel(const Columns *c, int64_t column, int64_t *offset) {
  const Window *w = &c->window;
  int64_t kernel = c->layer->k / w->group_channels;
  int64_t rest = w->channels_last ? column / w->group_channels : column % kernel;
  *offset = c->batch * stride_of(c->x, 0);
  for (int s = w->rank - 1; s >= 0; s--) {
    int64_t at = c->place[s] * w->stride[s] - w->before[s] + rest % w->kernel[s] * w->dilation[s];
    rest /= w->kernel[s];
    if (at < 0 || at >= c->x->dims[w->spatial_axis + s]) return false;
    *offset += at * stride_of(c->x, w->spatial_axis + s);
  }
  return true;
}

static void fill_window(const Columns *c, int64_t first_row, float *row) {
  const float *x = c->x->data;
  for (int64_t j = 0; j < c->layer->k; j++) {
    int64_t offset, channel = layer_channel(c->layer, first_row, j);
    row[j] = find_pixel(c, j, &offset) ? x[offset + channel * stride_of(c->x, c->window.channel_axis)] : 0;
  }
}

static Columns columns_of(const Layer *layer, const Tensor *x, const Tensor *y) {
  Columns c = {.layer = layer, .x = x, .is_conv = node_is(layer->node, &op_conv)};
  if (!c.is_conv) return c;
  c.window = node_window(layer->node);
  for (int s = 0; s < c.window.rank; s++) c.count[s] = y->dims[c.window.spatial_axis + s];
  return c;
}

/* Results that a row can be made for. */
static int64_t places(const Columns *c) {
  if (!c->is_conv) return c->layer->k ? tensor_count(c->x) / c->layer->k : 0;
  int64_t count = c->x->dims[0];
  for (int s = 0; s < c->window.rank; s++) count *= c->count[s];
  return count;
}

static void fill_row(Columns *c, int64_t place, int64_t first_row, float *row) {
  if (!c->is_conv) {
    memcpy(row, (const float *)c->x->data + place * c->layer->k, sizeof *row * (size_t)c->layer->k);
    return;
  }
  for (int s = c->window.rank - 1; s >= 0; s--) {
    c->place[s] = place % c->count[s];
    place /= c->count[s];
  }
  c->batch = place;
  fill_window(c, first_row, row);
}

/* ---- Hessians ---- */

static int64_t group_count(const Layer *layer) {
  return layer->rows / layer->group_rows;
}

/* 0: none is wanted. */
static size_t hessian_bytes(const Layer *layer) {
  bool wanted = layer->activation >= 0 && layer->k <= MAX_K && layer->row->precision != PRECISION_F32;
  return !wanted ? 0 : sizeof(double) * (size_t)(group_count(layer) * layer->k * layer->k);
}

/* Of an evenly spread part of the places. */
static void add_sample(const Layer *layer, const Tensor *x, const Tensor *y, double *hessian) {
  Columns columns = columns_of(layer, x, y);
  int64_t all = places(&columns), count = all < ROWS_OF_SAMPLE ? all : ROWS_OF_SAMPLE;
  float *rows = malloc(sizeof *rows * (size_t)(count * layer->k) + 1);
  if (!rows) abort();
  for (int64_t group = 0; group < group_count(layer); group++) {
    for (int64_t i = 0; i < count; i++)
      fill_row(&columns, i * all / count, group * layer->group_rows, rows + i * layer->k);
    hessian_add(hessian + group * layer->k * layer->k, (int)layer->k, rows, count, layer->k);
  }
  free(rows);
}

/* Those of layers first..end-1, one after the other. */
static bool sum_hessians(Plan *plan, int first, int end, double *hessians) {
  const Samples *samples = plan->ledger->samples;
  int outputs = plan->observed.output_count, all = outputs + plan->observed.seen_count;
  Tensor *seen = NEW_ARRAY(plan->graph->module->arena, Tensor, all);
  for (int sample = 0; sample < samples->count; sample++) {
    double *hessian = hessians;
    plan_report(plan, "what weights meet", first * samples->count + sample * (end - first),
                plan->layer_count * samples->count);
    TRY(observer_run(&plan->observed, &samples->tensors[sample * samples->input_count], seen));
    for (int i = first; i < end; i++) {
      const Layer *layer = &plan->layers[i];
      if (hessian_bytes(layer))
        add_sample(layer, &seen[outputs + layer->activation], &seen[outputs + plan->activation_count + i],
                   hessian);
      hessian += hessian_bytes(layer) / sizeof(double);
    }
    for (int i = 0; i < all; i++) tensor_free(&seen[i]);
  }
  return true;
}

/* ---- a layer ---- */

/* Numbers of channels as the columns of a row's weights meet them. */
static double *spread(Arena *arena, const Layer *layer, int64_t row, const double *channels) {
  double *columns = NEW_ARRAY(arena, double, layer->k);
  for (int64_t j = 0; j < layer->k; j++) columns[j] = channels[layer_channel(layer, row, j)];
  return columns;
}

/* Squared errors of the results that were added up: of the nearest integers, of those that were taken. */
typedef struct Errors {
  double nearest, taken;
} Errors;

static bool is_static(const Plan *plan) {
  return plan->quantization->precision == PRECISION_INT8;
}

static void round_group(const Plan *plan, Layer *layer, const float *weights, int64_t first,
                        const double *hessian, Errors *errors) {
  Arena *arena = arena_new();
  static const Activation nothing;
  const Activation *x = layer->activation < 0 ? &nothing : &plan->activations[layer->activation];
  const float *w = weights + first * layer->k;
  int high = plan->quantization->precision == PRECISION_W4 ? 7 : INT8_MAX;
  Grid grid = {.rows = (int)layer->group_rows,
               .k = (int)layer->k,
               .group = (int)layer->group,
               .low = -high,
               .high = high,
               .step = layer->step + first * (layer->k / layer->group)};
  grid_fit(&grid, w, x->count ? spread(arena, layer, first, x->squares) : NULL, RANGE_MSE);
  int8_t *q = layer->q + first * layer->k;
  grid_round(&grid, w, q);
  if (hessian) {
    errors->nearest += grid_error(&grid, w, q, hessian);
    gptq_round(&grid, w, hessian, q);
    errors->taken += grid_error(&grid, w, q, hessian);
  }
  if (x->count && layer->shift)
    bias_shift(&grid, w, q, spread(arena, layer, first, x->mean),
               spread(arena, layer, first, is_static(plan) ? x->rounded : x->mean), layer->shift + first);
  arena_free(arena);
}

static void round_layer(const Plan *plan, Layer *layer, const double *hessian, Errors *errors) {
  Arena *arena = plan->graph->module->arena;
  int group = plan->quantization->group;
  if (plan->quantization->precision == PRECISION_W4 && group > 0 && layer->k % group == 0)
    layer->group = group;
  layer->q = NEW_ARRAY(arena, int8_t, layer->rows * layer->k);
  layer->step = NEW_ARRAY(arena, float, layer->rows *(layer->k / layer->group));
  if (plan->quantization->recovery & RECOVER_BIAS) layer->shift = NEW_ARRAY(arena, double, layer->rows);
  float *weights = layer_weights(layer);
  for (int64_t row = 0; row < layer->rows; row += layer->group_rows) {
    const double *part = hessian ? hessian + row / layer->group_rows * layer->k * layer->k : NULL;
    round_group(plan, layer, weights, row, part, errors);
  }
  free(weights);
}

static bool round_by_gptq(Plan *plan) {
  Errors errors = {0};
  for (int first = 0, end; first < plan->layer_count; first = end) {
    size_t bytes = 0;
    for (end = first; end < plan->layer_count &&
                      (end == first || bytes + hessian_bytes(&plan->layers[end]) <= HESSIAN_BYTES);
         end++)
      bytes += hessian_bytes(&plan->layers[end]);
    double *hessians = calloc(1, bytes + 1), *hessian = hessians;
    if (!hessians) return fail(plan->graph->module, "no memory for %zu bytes of Hessians", bytes);
    bool ok = sum_hessians(plan, first, end, hessians);
    for (int i = first; ok && i < end; i++) {
      Layer *layer = &plan->layers[i];
      round_layer(plan, layer, hessian_bytes(layer) ? hessian : NULL, &errors);
      hessian += hessian_bytes(layer) / sizeof(double);
    }
    free(hessians);
    TRY(ok);
  }
  plan_note(plan, "gptq: squared errors by rounded weights are %.0f %% of those with the nearest integers",
            errors.nearest > 0 ? 100 * errors.taken / errors.nearest : 100);
  return true;
}

bool plan_round(Plan *plan) {
  if (plan->quantization->precision == PRECISION_BF16) return true;
  if (plan->quantization->recovery & RECOVER_GPTQ) return round_by_gptq(plan);
  Errors none = {0};
  for (int i = 0; i < plan->layer_count; i++) {
    plan_report(plan, "rounding weights", i, plan->layer_count);
    round_layer(plan, &plan->layers[i], NULL, &none);
  }
  return true;
}
