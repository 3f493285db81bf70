/*
 * fit.c -- layers get the weights and biases that come nearest to what they gave in the original.
 *
 * Stage by stage, from the inputs to the outputs: the layers of a stage read nothing of each other. In the
 * network as it is by then, with all that goes gone and the layers before fitted, they meet other x; these,
 * and what the layers gave in the original, are the moments (refit.c) or pairs (wide.c) from which weights
 * and bias follow. So a layer makes up for its own losses and for those of all before it, and for nothing
 * twice. A product inside of a recurrence is fitted to what is left of the original's states, as those of the
 * network as it is by then would be made by the weights that are looked for.
 */
#include <math.h>
#include <string.h>

#include "passes/prune.h"
#include "passes/rewrite.h"

enum {
  MOMENT_BYTES = 1 << 29,
  MOST_SAMPLES = 8192,
  FEWEST_SAMPLES = 2048,
  FEWEST_FROM_INPUTS = 512 /* where the whole way there is gone again */
};

bool pruner_judges(const Pruner *pruner, int sample) {
  enum { JUDGED = 8 };
  return pruner->pruning->epochs > 0 && sample % JUDGED == JUDGED - 1;
}

/* A layer while it is fitted. */
typedef struct Fit {
  int number;
  Layer now; /* in the graph as it is by then */
  Kept kept;
  Moments *moments; /* of its groups, as they are now; */
  Pairs *pairs;     /* wide layers have these instead */
  int group_count;
} Fit;

typedef struct Stage {
  Pruner *pruner;
  Frontier *frontier;
  Arena *arena;
  Fit *fits;
  int *numbers, count; /* of the fits' layers */
  int samples;         /* that are fitted to */
} Stage;

static bool is_wide(const Layer *layer) {
  enum { MAX_K = 8192 };
  return layer->k > MAX_K;
}

/* Places of a wide layer that are kept. */
static int64_t wide_room(const Layer *layer) {
  int64_t room = MOMENT_BYTES / 4 / (layer->k + layer->rows);
  return room < MOST_SAMPLES ? room : MOST_SAMPLES;
}

static int64_t fit_bytes(const Layer *layer) {
  return is_wide(layer) ? MOMENT_BYTES : 8 * layer_groups(layer) * layer->k * layer->k;
}

/* A layer that meets the original's x and loses nothing has nothing to make up for. */
static bool fits_layer(const Pruner *pruner, int number, const Kept *kept) {
  const Layer *layer = &pruner->plan.layers[number];
  const Value *bias = layer_bias(layer);
  if (is_wide(layer) && layer_groups(layer) > 1) return false;
  if (layer->is_inner && kept->column_count == layer->k) return false;
  return pruner->layers[number].weights && (!bias || pruner->layers[number].has_bias);
}

/* Room for what it meets and gave. */
static void start_fit(const Stage *stage, Fit *fit) {
  int rows = (int)fit->now.group_rows, k = (int)fit->now.k;
  fit->group_count = (int)layer_groups(&fit->now);
  if (is_wide(&fit->now)) {
    fit->pairs = NEW(stage->arena, Pairs);
    *fit->pairs = pairs_new(stage->arena, rows, k, wide_room(&fit->now));
    return;
  }
  fit->moments = NEW_ARRAY(stage->arena, Moments, fit->group_count);
  for (int g = 0; g < fit->group_count; g++) fit->moments[g] = moments_new(stage->arena, rows, k);
}

/* Of the layers as they are without what goes. */
static void find_fits(Stage *stage, int first, int end) {
  stage->fits = NEW_ARRAY(stage->arena, Fit, end - first);
  stage->numbers = NEW_ARRAY(stage->arena, int, end - first);
  for (int i = first; i < end; i++) {
    Kept kept = pruner_kept(stage->arena, stage->pruner, i);
    if (!fits_layer(stage->pruner, i, &kept)) continue;
    Fit *fit = &stage->fits[stage->count];
    *fit = (Fit){.number = i, .now = layer_of(stage->frontier->layers[i]), .kept = kept};
    start_fit(stage, fit);
    stage->numbers[stage->count++] = i;
  }
}

static int64_t places_wanted(const Fit *fit) {
  if (fit->pairs) return fit->pairs->room;
  int64_t wanted = PLACES_OF_COLUMN * fit->now.k * layer_phases(&fit->now);
  return wanted < FEWEST_PLACES ? FEWEST_PLACES : wanted;
}

/* Samples that have as many places as its layers want. */
static int stage_samples(const Stage *stage) {
  int all = stage->frontier->sample_count;
  double count = stage->frontier->goes_on ? FEWEST_SAMPLES : FEWEST_FROM_INPUTS;
  for (int i = 0; i < stage->count; i++) {
    const Fit *fit = &stage->fits[i];
    const Layer *layer = &stage->pruner->plan.layers[fit->number];
    double macs = stage->pruner->layers[fit->number].macs * (double)layer_phases(layer),
           places = macs / (double)(layer->rows * layer->k);
    count = fmax(count, (double)places_wanted(fit) / fmax(places, 1));
  }
  return count < all ? (int)count : all;
}

/* Places of a sample that are looked at. */
static int64_t place_count(const Fit *fit, int64_t all, int samples) {
  int64_t count = (places_wanted(fit) + samples - 1) / samples;
  return all < count ? all : count;
}

/* The places that are looked at; *count becomes how many there are. */
static int64_t *find_places(Arena *arena, const Fit *fit, const Tensor *counts, int64_t all, int sample,
                            int samples, int64_t *count) {
  int64_t wanted = place_count(fit, all, samples), *places = NEW_ARRAY(arena, int64_t, wanted);
  *count = 0;
  for (int64_t i = 0; i < wanted; i++) {
    int64_t place = pruner_place(i, wanted, all, sample);
    if (!counts || ((const uint8_t *)counts->data)[place]) places[(*count)++] = place;
  }
  return places;
}

static void fit_sample(const Pruner *pruner, Fit *fit, const Sight *sight, int sample, int samples) {
  Arena *arena = arena_new();
  const Thinning *thinning = &pruner->layers[fit->number];
  Windows now = windows_of(arena, &fit->now, sight->met, sight->given);
  int64_t count, rows = fit->now.group_rows, k = fit->now.k;
  int64_t *places = find_places(arena, fit, sight->counts, now.count, sample, samples, &count);
  float *all = NEW_ARRAY(arena, float, now.rows), *ys = NEW_ARRAY(arena, float, count * fit->now.rows);
  float *xs = NEW_ARRAY(arena, float, count *k);
  for (int64_t i = 0; i < count; i++) {
    windows_read_results(&now, places[i], all);
    for (int64_t r = 0; r < fit->now.rows; r++) {
      int row = fit->kept.rows[r];
      ys[(r / rows * count + i) * rows + r % rows] =
          all[row] - (thinning->has_bias ? (float)thinning->bias[row] : 0);
    }
  }
  for (int g = 0; g < fit->group_count; g++) {
    for (int64_t i = 0; i < count; i++) windows_read(&now, places[i], g, xs + i * k);
    if (fit->pairs)
      pairs_add(fit->pairs, xs, ys, count);
    else
      moments_add(&fit->moments[g], xs, ys + g * count * rows, count);
  }
  arena_free(arena);
}

static void fit_to_sample(void *context, int number, const Sight *sights) {
  Stage *stage = context;
  const Plan *plan = &stage->pruner->plan;
  plan_report(plan, "fitting", stage->numbers[0] * stage->samples + number * stage->count,
              plan->layer_count * stage->samples);
  for (int k = 0; k < stage->count; k++)
    fit_sample(stage->pruner, &stage->fits[k], &sights[k], number, stage->samples);
}

static double decibels(double signal, double noise) {
  return noise > 0 ? 10 * log10((signal + 1e-300) / noise) : INFINITY;
}

/* The group's part of the layer's weights, [rows, k] as they are now. */
static void move_weights(const Fit *fit, int group, int64_t k, float *weights, float *part, bool back) {
  int64_t rows = fit->now.group_rows;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < fit->now.k; j++) {
      float *a = &weights[fit->kept.rows[group * rows + r] * k + fit->kept.columns[j]],
            *b = &part[r * fit->now.k + j];
      *(back ? a : b) = *(back ? b : a);
    }
}

typedef struct Errors {
  double signal, before, after;
} Errors;

/* The zeros of a wide layer are known before. */
static bool fit_pairs(Pairs *p, bool has_bias, float *part, double *bias, Errors *errors) {
  errors->before += pairs_error(p, part);
  if (has_bias) pairs_center(p);
  errors->signal += pairs_signal(p);
  pairs_refit(p, part);
  pairs_bias(p, part, bias);
  errors->after += pairs_error(p, part);
  return true;
}

static bool fit_moments(const Pruner *pruner, const Fit *fit, int group, float *part, double *bias,
                        Errors *errors) {
  const Thinning *thinning = &pruner->layers[fit->number];
  int64_t rows = fit->now.group_rows, k = fit->now.k;
  Moments *m = &fit->moments[group];
  Arena *arena = arena_new();
  errors->before += moments_error(m, part);
  if (thinning->has_bias) moments_center(m);
  errors->signal += m->yy;
  if (!pruner->ties) {
    const float *dense = layer_weights(arena, &pruner->plan.layers[fit->number]);
    memcpy(part, dense + group * rows * k, sizeof *part * (size_t)(rows * k));
  }
  bool ok = moments_refit(m, part) &&
            (thinning->share == 0 || pruner_zero(pruner, fit->number, group, m->xx, part));
  if (ok) moments_bias(m, part, bias);
  errors->after += ok ? moments_error(m, part) : 0;
  arena_free(arena);
  return ok;
}

/* Of what the group's weights meet, for the steps of distillation. */
static void keep_root(Pruner *pruner, const Fit *fit, int group) {
  enum { MAX_K = 2048 };
  Thinning *thinning = &pruner->layers[fit->number];
  int64_t size = fit->now.k * fit->now.k;
  if (!pruner->roots || fit->now.k > MAX_K) return;
  if (group == 0) thinning->roots = NEW_ARRAY(pruner->roots, float, fit->group_count *size);
  if (thinning->roots && !moments_root(&fit->moments[group], thinning->roots + group * size))
    thinning->roots = NULL;
}

static void fit_group(Pruner *pruner, const Fit *fit, int group, Errors *errors) {
  Thinning *thinning = &pruner->layers[fit->number];
  int64_t rows = fit->now.group_rows, k = fit->now.k, all_k = pruner->plan.layers[fit->number].k;
  Arena *arena = arena_new();
  float *part = NEW_ARRAY(arena, float, rows *k);
  double *bias = NEW_ARRAY(arena, double, rows);
  move_weights(fit, group, all_k, thinning->weights, part, false);
  bool ok = fit->pairs ? fit_pairs(fit->pairs, thinning->has_bias, part, bias, errors)
                       : fit_moments(pruner, fit, group, part, bias, errors);
  if (ok) move_weights(fit, group, all_k, thinning->weights, part, true);
  for (int64_t r = 0; ok && thinning->has_bias && r < rows; r++)
    thinning->bias[fit->kept.rows[group * rows + r]] += bias[r];
  if (fit->moments) keep_root(pruner, fit, group);
  arena_free(arena);
}

static void fit_layer(Pruner *pruner, const Fit *fit) {
  LedgerRow *row = pruner->plan.layers[fit->number].row;
  Errors errors = {0};
  for (int g = 0; g < fit->group_count; g++) fit_group(pruner, fit, g, &errors);
  row->errors[0] = decibels(errors.signal, errors.before);
  row->errors[1] = decibels(errors.signal, errors.after);
}

static bool fit_stage(Pruner *pruner, Frontier *frontier, int first, int end) {
  Stage stage = {.pruner = pruner, .frontier = frontier, .arena = arena_new()};
  bool ok = true;
  find_fits(&stage, first, end);
  if (stage.count > 0) {
    frontier_aim(frontier, first, end);
    stage.samples = stage_samples(&stage);
    ok = frontier_run(frontier, stage.numbers, stage.count, stage.samples, fit_to_sample, &stage);
  }
  for (int i = 0; ok && i < stage.count; i++) fit_layer(pruner, &stage.fits[i]);
  arena_free(stage.arena);
  return ok && frontier_thin(frontier, first, end);
}

/* Behind the layers from `first` on whose x is there before it, as many as there is room for. */
static int stage_end(const Plan *plan, int first) {
  int place = 0, end = first + 1;
  int64_t bytes = fit_bytes(&plan->layers[first]);
  FOR_EACH_NODE(node, plan->graph) node->mark = place++;
  for (; end < plan->layer_count; end++) {
    const Node *maker = operand(plan->layers[end].node, 0)->def;
    bytes += fit_bytes(&plan->layers[end]);
    bool waits = !plan->layers[end].is_inner && maker && maker->mark >= plan->layers[first].node->mark;
    if (bytes > MOMENT_BYTES || waits) break;
  }
  return end;
}

bool pruner_thin(Pruner *pruner, bool refits) {
  const Plan *plan = &pruner->plan;
  bool loses = false, ok = true;
  for (int i = 0; i < plan->layer_count; i++) TRY(pruner_start(pruner, i, &loses));
  if (!refits) return true;
  Frontier frontier;
  ok = frontier_open(&frontier, pruner, MOST_SAMPLES);
  for (int first = 0, end; ok && first < plan->layer_count; first = end) {
    end = stage_end(plan, first);
    ok = fit_stage(pruner, &frontier, first, end);
  }
  frontier_close(&frontier);
  return ok;
}
