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

enum { HESSIAN_BYTES = 1 << 29, MAX_K = 8192, FEWEST_ROWS = 2048 };

/* ---- Hessians ---- */

static bool is_static(const Plan *plan) {
  return plan->quantization->precision == PRECISION_INT8;
}

/* 0: none is wanted. With 8 bits little is to be made up for, and less than that is lost in what samples did
 * not say only if they are more than the weights of a row. */
static size_t hessian_bytes(const Plan *plan, const Layer *layer) {
  bool wanted = layer->activation >= 0 && layer->k <= MAX_K && layer->row->precision != PRECISION_F32;
  if (!wanted || (is_static(plan) && plan->activations[layer->activation].count < layer->k)) return 0;
  return sizeof(double) * (size_t)(layer_groups(layer) * layer->k * layer->k);
}

/* Rows from each sample: all together more than the matrix has, as more take long and change little. */
static int64_t rows_of_sample(const Layer *layer, int samples) {
  int64_t wanted = 2 * layer->k > FEWEST_ROWS ? 2 * layer->k : FEWEST_ROWS;
  return (wanted + samples - 1) / samples;
}

/* Of `most` of the places, evenly spread. */
static void add_sample(const Layer *layer, const Tensor *x, const Tensor *y, int64_t most, double *hessian) {
  Arena *arena = arena_new();
  Windows windows = windows_of(arena, layer, x, y);
  int64_t all = windows.count, count = all < most ? all : most;
  float *rows = NEW_ARRAY(arena, float, count * layer->k);
  for (int64_t group = 0; group < layer_groups(layer); group++) {
    for (int64_t i = 0; i < count; i++) windows_read(&windows, i * all / count, group, rows + i * layer->k);
    hessian_add(hessian + group * layer->k * layer->k, (int)layer->k, rows, count, layer->k);
  }
  arena_free(arena);
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
      if (hessian_bytes(plan, layer))
        add_sample(layer, &seen[outputs + layer->activation], &seen[outputs + plan->activation_count + i],
                   rows_of_sample(layer, samples->count), hessian);
      hessian += hessian_bytes(plan, layer) / sizeof(double);
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
  Arena *own = arena_new();
  float *weights = layer_weights(own, layer);
  for (int64_t row = 0; row < layer->rows; row += layer->group_rows) {
    const double *part = hessian ? hessian + row / layer->group_rows * layer->k * layer->k : NULL;
    round_group(plan, layer, weights, row, part, errors);
  }
  arena_free(own);
}

static bool round_by_gptq(Plan *plan) {
  Errors errors = {0};
  for (int first = 0, end; first < plan->layer_count; first = end) {
    size_t bytes = 0;
    for (end = first; end < plan->layer_count &&
                      (end == first || bytes + hessian_bytes(plan, &plan->layers[end]) <= HESSIAN_BYTES);
         end++)
      bytes += hessian_bytes(plan, &plan->layers[end]);
    double *hessians = calloc(1, bytes + 1), *hessian = hessians;
    if (!hessians) return fail(plan->graph->module, "no memory for %zu bytes of Hessians", bytes);
    bool ok = sum_hessians(plan, first, end, hessians);
    for (int i = first; ok && i < end; i++) {
      Layer *layer = &plan->layers[i];
      round_layer(plan, layer, hessian_bytes(plan, layer) ? hessian : NULL, &errors);
      hessian += hessian_bytes(plan, layer) / sizeof(double);
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
