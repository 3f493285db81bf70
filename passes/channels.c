/*
 * channels.c -- which channels go.
 *
 * A unit (ties.h) matters as much as what the layers that read it lose without it: of each the share of its
 * results' variance that the channels which are left then cannot make up for; of what no layer reads, such as
 * the queries of attention, the share in the variance of those that make it. It is worth what it
 * saves: of the layer's cost its share of the rows, and of what is left its share of the channels. Those that
 * stand side by side along an axis, a family, go by whole vectors, in bundles: first those that lose least
 * for what they save. Bundles go in the order of what they lose for what they save, until enough is saved;
 * where the last saves more than that, some come back.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "passes/prune.h"

typedef struct Unit {
  double loss, saving;
  bool is_read; /* by a layer */
  int family;   /* a unit of the axis along which it stands; the root is its own */
} Unit;

/* Units of a family that go at once. */
typedef struct Bundle {
  int first, size; /* in Channels.order */
  int family;
  double loss, saving;
} Bundle;

typedef struct Channels {
  Pruner *pruner;
  Unit *units;
  int *order; /* [units]: by families, in each those first that go first */
  int count;
  Bundle *bundles; /* in the order in which they go */
  int bundle_count;
  double *costs; /* [layers] */
} Channels;

static int64_t channel_count(const Layer *layer) {
  return layer_groups(layer) * (layer->is_conv ? layer->window.group_channels : layer->k);
}

static int x_axis(const Layer *layer) {
  return layer->is_conv ? layer->window.channel_axis : operand(layer->node, 0)->type->rank - 1;
}

/* Each of its channels is a group: its rows go with them. */
static bool is_depthwise(const Layer *layer) {
  return channel_count(layer) == layer_groups(layer);
}

static int row_unit(const Pruner *pruner, const Layer *layer, int64_t row) {
  return ties_unit(pruner->ties, layer_constant(layer), layer_row_axis(layer), row);
}

static int channel_unit(const Pruner *pruner, const Layer *layer, int64_t channel) {
  if (layer->is_inner) return ties_unit(pruner->ties, layer_constant(layer), 0, channel % layer->k);
  return ties_unit(pruner->ties, operand(layer->node, 0), x_axis(layer), channel);
}

/* ---- what is lost ---- */

/* The weights as [rows * kernel, channels]: the pixels under a kernel are taken for as many rows. */
static float *spread_weights(Arena *arena, const Layer *layer, int64_t channels) {
  int64_t kernel = layer->k * layer_groups(layer) / channels;
  bool last = layer->is_conv && layer->window.channels_last;
  float *weights = layer_weights(arena, layer),
        *spread = NEW_ARRAY(arena, float, layer->rows *kernel *channels);
  for (int64_t row = 0; row < layer->rows; row++)
    for (int64_t j = 0; j < layer->k; j++) {
      int64_t pixel = last ? j * kernel / layer->k : j % kernel;
      spread[(row * kernel + pixel) * channels + layer_channel(layer, row, j)] = weights[row * layer->k + j];
    }
  return spread;
}

/* What the results lose with each channel when those that lose least go first, and the variance of all. */
static double *channel_losses(Arena *arena, const Pruner *pruner, int number, double *total) {
  const Layer *layer = &pruner->plan.layers[number];
  Moments m = pruner->met[layer->activation];
  int k = m.k;
  double *gram = NEW_ARRAY(arena, double, (int64_t)k *k), *losses = NEW_ARRAY(arena, double, k);
  m.xx = arena_copy(arena, m.xx, sizeof *m.xx * (size_t)k * (size_t)k);
  if (pruner->layers[number].has_bias) moments_center(&m);
  int64_t rows = layer->rows * layer->k * layer_groups(layer) / k;
  hessian_add(gram, k, spread_weights(arena, layer, k), rows, k);
  elimination_losses(k, m.xx, gram, losses);
  *total = 0;
  for (int i = 0; i < k; i++)
    for (int j = i; j < k; j++)
      *total += (i == j ? 1 : 2) * m.xx[(int64_t)i * k + j] * gram[(int64_t)i * k + j];
  return losses;
}

static void add_read(Channels *c, int number) {
  const Layer *layer = &c->pruner->plan.layers[number];
  if (is_depthwise(layer) || !c->pruner->met[layer->activation].k) return;
  Arena *arena = arena_new();
  double total, *losses = channel_losses(arena, c->pruner, number, &total);
  for (int64_t channel = 0; channel < channel_count(layer); channel++) {
    int unit = channel_unit(c->pruner, layer, channel);
    if (unit < 0) continue;
    c->units[unit].is_read = true;
    c->units[unit].loss += total > 0 ? losses[channel] / total : 0;
  }
  arena_free(arena);
}

static void add_made(Channels *c, int number) {
  const Layer *layer = &c->pruner->plan.layers[number];
  const double *variance = c->pruner->layers[number].y_variance;
  double total = 0;
  for (int64_t row = 0; row < layer->rows; row++) total += variance[row];
  for (int64_t row = 0; row < layer->rows; row++) {
    int unit = row_unit(c->pruner, layer, row);
    if (unit >= 0 && !c->units[unit].is_read) c->units[unit].loss += total > 0 ? variance[row] / total : 0;
  }
}

/* ---- what is saved ---- */

static double layer_cost(const Pruner *pruner, int number) {
  const LedgerRow *row = pruner->plan.layers[number].row;
  switch (pruner->pruning->cost) {
  case COST_MACS: return pruner->layers[number].macs;
  case COST_BYTES: return (double)row->bytes_before;
  case COST_TIME: return row->predicted_before;
  }
  return 0;
}

static int root_of(Unit *units, int unit) {
  while (units[unit].family != unit) unit = units[unit].family = units[units[unit].family].family;
  return unit;
}

/* Rows and channels of the layer that each unit has. */
static void add_savings(Channels *c, int number) {
  const Layer *layer = &c->pruner->plan.layers[number];
  Arena *arena = arena_new();
  int64_t channels = channel_count(layer);
  double *rows = NEW_ARRAY(arena, double, c->count), *reads = NEW_ARRAY(arena, double, c->count);
  int first = -1;
  for (int64_t row = 0; row < layer->rows; row++) {
    int unit = row_unit(c->pruner, layer, row);
    if (unit < 0) continue;
    rows[unit] += 1.0 / (double)layer->rows;
    if (first < 0) first = root_of(c->units, unit);
    c->units[root_of(c->units, unit)].family = root_of(c->units, first);
  }
  for (int64_t channel = 0; !is_depthwise(layer) && channel < channels; channel++) {
    int unit = channel_unit(c->pruner, layer, channel);
    if (unit >= 0) reads[unit] += 1.0 / (double)channels;
  }
  for (int unit = 0; unit < c->count; unit++)
    c->units[unit].saving += c->costs[number] * (rows[unit] + reads[unit] - rows[unit] * reads[unit]);
  arena_free(arena);
}

static double kept_cost(const Channels *c) {
  double cost = 0;
  for (int i = 0; i < c->pruner->plan.layer_count; i++) {
    const Layer *layer = &c->pruner->plan.layers[i];
    Arena *arena = arena_new();
    Kept kept = pruner_kept(arena, c->pruner, i);
    cost += c->costs[i] * kept.row_count / (double)layer->rows * kept.column_count / (double)layer->k;
    arena_free(arena);
  }
  return cost;
}

/* ---- the choice ---- */

static const Unit *sorted_units; /* of the sort that runs */

/* Of what is lost for what is saved, which may be nothing. */
static int compare_worth(double x_loss, double x_saving, double y_loss, double y_saving) {
  double left = x_loss * y_saving, right = y_loss * x_saving;
  return (left > right) - (left < right);
}

static int compare_units(const void *a, const void *b) {
  int i = *(const int *)a, j = *(const int *)b;
  const Unit *x = &sorted_units[i], *y = &sorted_units[j];
  if (x->family != y->family) return x->family - y->family;
  int worth = compare_worth(x->loss, x->saving, y->loss, y->saving);
  return worth ? worth : i - j;
}

static int compare_bundles(const void *a, const void *b) {
  const Bundle *x = a, *y = b;
  int worth = compare_worth(x->loss, x->saving, y->loss, y->saving);
  return worth ? worth : x->first - y->first;
}

/* Channels that stay side by side are a multiple of this. */
static int step_of(const Pruner *pruner, int size) {
  const Target *target = pruner->plan.options->target;
  int lanes = target ? target_lanes(target, DTYPE_F32) : 16;
  return size >= 4 * lanes ? lanes : size >= 2 * lanes ? lanes / 2 : size >= lanes ? lanes / 4 : 1;
}

/* All but one step of the family order[begin .. end). */
static void add_bundles(Channels *c, int begin, int end) {
  int step = step_of(c->pruner, end - begin), size = (end - begin) % step;
  if (size == 0) size = step;
  for (int first = begin; first + size < end; first += size, size = step) {
    Bundle *bundle = &c->bundles[c->bundle_count++];
    *bundle = (Bundle){.first = first, .size = size, .family = c->units[c->order[first]].family};
    for (int i = first; i < first + size; i++) {
      bundle->loss += c->units[c->order[i]].loss;
      bundle->saving += c->units[c->order[i]].saving;
    }
  }
}

static void find_bundles(Channels *c) {
  for (int unit = 0; unit < c->count; unit++) {
    c->units[unit].family = root_of(c->units, unit);
    c->order[unit] = unit;
  }
  sorted_units = c->units;
  qsort(c->order, (size_t)c->count, sizeof *c->order, compare_units);
  for (int begin = 0, end; begin < c->count; begin = end) {
    for (end = begin + 1; end < c->count; end++)
      if (c->units[c->order[end]].family != c->units[c->order[begin]].family) break;
    add_bundles(c, begin, end);
  }
  qsort(c->bundles, (size_t)c->bundle_count, sizeof *c->bundles, compare_bundles);
}

static Channels weigh(Pruner *pruner) {
  Arena *arena = pruner->plan.graph->module->arena;
  int count = pruner->ties->unit_count, layers = pruner->plan.layer_count;
  Channels c = {.pruner = pruner,
                .units = NEW_ARRAY(arena, Unit, count),
                .order = NEW_ARRAY(arena, int, count),
                .bundles = NEW_ARRAY(arena, Bundle, count),
                .count = count,
                .costs = NEW_ARRAY(arena, double, layers)};
  for (int unit = 0; unit < count; unit++) c.units[unit].family = unit;
  for (int i = 0; i < layers; i++) c.costs[i] = layer_cost(pruner, i);
  for (int i = 0; i < layers; i++) add_read(&c, i);
  for (int i = 0; i < layers; i++) add_made(&c, i);
  for (int i = 0; i < layers; i++) add_savings(&c, i);
  find_bundles(&c);
  return c;
}

static void set_removed(const Channels *c, const Bundle *bundle, bool removed) {
  for (int i = 0; i < bundle->size; i++) c->pruner->removed[c->order[bundle->first + i]] = removed;
}

static void choose_first(const Channels *c, int count) {
  for (int i = 0; i < c->bundle_count; i++) set_removed(c, &c->bundles[i], i < count);
}

/* Of the first `count`, which are gone, those that went last come back where what is left still saves enough.
 */
static void give_back(const Channels *c, int count, double most_cost) {
  Arena *arena = arena_new();
  bool *done = NEW_ARRAY(arena, bool, c->count); /* families */
  for (int i = count - 1; i >= 0; i--) {
    const Bundle *bundle = &c->bundles[i];
    if (done[bundle->family]) continue;
    set_removed(c, bundle, false);
    done[bundle->family] = kept_cost(c) > most_cost;
    set_removed(c, bundle, done[bundle->family]);
  }
  arena_free(arena);
}

/* The layer that costs most of those whose rows stay, and why they do. */
static const char *largest_pinned(const Channels *c) {
  int found = -1;
  for (int i = 0; i < c->pruner->plan.layer_count; i++)
    if (row_unit(c->pruner, &c->pruner->plan.layers[i], 0) < 0 &&
        (found < 0 || c->costs[i] > c->costs[found]))
      found = i;
  if (found < 0) return "";
  const Layer *layer = &c->pruner->plan.layers[found];
  const char *why = ties_reason(c->pruner->ties, layer_constant(layer), layer_row_axis(layer), 0);
  return arena_printf(c->pruner->plan.graph->module->arena,
                      "; the largest layer that keeps its channels is '%s': %s", layer->row->name,
                      why ? why : "");
}

bool channels_choose(Pruner *pruner, double share) {
  Channels c = weigh(pruner);
  double all = 0;
  for (int i = 0; i < pruner->plan.layer_count; i++) all += c.costs[i];
  int low = 0, high = c.bundle_count;
  choose_first(&c, high);
  double most = all > 0 ? 1 - kept_cost(&c) / all : 0;
  const double most_cost = (1 - share) * all;
  if (most < share)
    return fail(pruner->plan.graph->module,
                "channels of %.3g %% cannot go: with as few as are left anywhere it is %.3g %%%s",
                100 * share, 100 * most, largest_pinned(&c));
  while (low < high) {
    int middle = low + (high - low) / 2;
    choose_first(&c, middle);
    if (kept_cost(&c) <= most_cost)
      high = middle;
    else
      low = middle + 1;
  }
  choose_first(&c, high);
  give_back(&c, high, most_cost);
  pruner->pruning->reached = 1 - kept_cost(&c) / all;
  return true;
}
