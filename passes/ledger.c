/*
 * ledger.c -- what a plan gains and costs: times of kernels, and how near its numbers are to the original's.
 */
#include "passes/quantize.h"
#include "passes/rewrite.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* The original and the planned graph, side by side on the same samples. */
typedef struct Pair {
  Plan *plan;
  Observer *original, planned;
  Tensor *a, *b; /* what they gave */
  int count;
} Pair;

static bool pair_open(Pair *pair, Plan *plan) {
  Arena *arena = plan->graph->module->arena;
  *pair = (Pair){.plan = plan, .original = &plan->original, .count = plan->graph->output_count};
  pair->a = NEW_ARRAY(arena, Tensor, pair->count);
  pair->b = NEW_ARRAY(arena, Tensor, pair->count);
  observer_copy(&pair->planned, plan->graph, plan->options);
  return plan->apply(plan, pair->planned.copy) && observer_build(&pair->planned, NULL, 0);
}

static bool pair_run(Pair *pair, int sample) {
  const Samples *samples = pair->plan->ledger->samples;
  const Tensor *inputs = &samples->tensors[sample * samples->input_count];
  return observer_run(pair->original, inputs, pair->a) && observer_run(&pair->planned, inputs, pair->b);
}

static void pair_free(Pair *pair) {
  for (int i = 0; i < pair->count; i++) {
    tensor_free(&pair->a[i]);
    tensor_free(&pair->b[i]);
  }
}

/* ---- times ---- */

static int layer_of_origin(const Plan *plan, const char *origin) {
  for (int i = 0; origin && i < plan->layer_count; i++)
    if (strcmp(plan->layers[i].row->name, origin) == 0) return i;
  return -1;
}

/* The layer that a kernel was made of: whose product it has, or all of whose nodes are its; -1: none. */
static int layer_of_kernel(const Plan *plan, const Node *node) {
  if (node->region_count == 0) return layer_of_origin(plan, node->origin);
  int found = -1;
  bool is_all = true;
  FOR_EACH_NODE(inner, node->regions[0]) {
    if (inner->op->traits & TRAIT_STRUCTURE) continue;
    int layer = layer_of_origin(plan, inner->origin);
    if (layer >= 0 && inner->op->macs) return layer;
    is_all &= layer >= 0 && (found < 0 || found == layer);
    found = layer;
  }
  return is_all ? found : -1;
}

static void add_time(LedgerRow *row, const KernelTime *time, bool after) {
  *(after ? &row->predicted_after : &row->predicted_before) += time->predicted;
  *(after ? &row->measured_after : &row->measured_before) += time->measured;
}

/* A layer that was given back keeps the times that it had. */
static bool takes_times(const LedgerRow *row, bool after) {
  return !after || !row->reason;
}

static void take_times(Plan *plan, Observer *observer, bool after) {
  const KernelTime *times;
  LedgerRow *total = &plan->ledger->total;
  int count = observer_times(observer, &times);
  for (int i = -1; i < plan->layer_count; i++) {
    LedgerRow *row = i < 0 ? total : plan->layers[i].row;
    if (after && takes_times(row, after)) row->predicted_after = row->measured_after = 0;
    if (!after) row->predicted_before = row->measured_before = 0;
  }
  for (int i = 0; i < count; i++) {
    int layer = layer_of_kernel(plan, times[i].node);
    LedgerRow *row = layer < 0 ? NULL : plan->layers[layer].row;
    add_time(total, &times[i], after);
    if (row && takes_times(row, after)) add_time(row, &times[i], after);
  }
}

static int64_t data_size(const Data *data) {
  size_t size = 0;
  return data && !data->splat && dtype_bytes(data->dtype, data->count, &size) ? (int64_t)size : 0;
}

/* Bytes of all constants. */
static int64_t constant_bytes(const Graph *graph) {
  int64_t bytes = 0;
  FOR_EACH_NODE(node, graph) bytes += data_size(node->data);
  return bytes;
}

/* Pruned weights take what their kernels read; those that are made when a library opens keep what was said of
 * them. */
static void take_bytes(Plan *plan, Observer *observer) {
  const KernelTime *times;
  int count = observer_times(observer, &times);
  int64_t *bytes = NEW_ARRAY(plan->graph->module->arena, int64_t, plan->layer_count);
  for (int i = 0; i < count; i++) {
    int layer = layer_of_kernel(plan, times[i].node);
    for (int k = 0; layer >= 0 && k < times[i].node->operand_count; k++)
      if (operand(times[i].node, k)) bytes[layer] += data_size(value_data(operand(times[i].node, k)));
  }
  for (int i = 0; i < plan->layer_count; i++)
    if (plan->layers[i].row->form && bytes[i] && bytes[i] < plan->layers[i].row->bytes_after)
      plan->layers[i].row->bytes_after = bytes[i];
}

bool plan_predict(Plan *plan) {
  enum { RUNS = 5 };
  Pair pair;
  bool ok = pair_open(&pair, plan);
  for (int run = 0; ok && run < RUNS; run++) {
    plan_report(plan, "comparing times", run, RUNS);
    ok = pair_run(&pair, 0);
    pair_free(&pair);
  }
  if (ok) {
    take_times(plan, pair.original, false);
    take_times(plan, &pair.planned, true);
    take_bytes(plan, &pair.planned);
    plan->ledger->total.bytes_before = constant_bytes(pair.original->copy);
    plan->ledger->total.bytes_after = constant_bytes(pair.planned.copy);
  }
  observer_close(&pair.planned);
  return ok;
}

/* ---- likeness ---- */

void noise_add(Noise *noise, const Tensor *a, const Tensor *b) {
  if (!dtype_is_float(a->dtype)) return;
  for (int64_t i = 0, count = tensor_count(a); i < count; i++) {
    double x = dtype_get(a->dtype, a->data, i), error = dtype_get(b->dtype, b->data, i) - x;
    noise->signal += x * x;
    noise->noise += error * error;
  }
}

double noise_decibels(const Noise *noise) {
  return noise->noise > 0 ? 10 * log10((noise->signal + DBL_MIN) / noise->noise) : INFINITY;
}

static bool has_classes(const Type *type) {
  return type->dtype == DTYPE_F32 && type->rank >= 1 && type->rank <= 2 &&
         !dim_is(type->dims[type->rank - 1], 1);
}

static int64_t largest(const Tensor *tensor, int64_t row, int64_t classes) {
  const float *x = (const float *)tensor->data + row * classes;
  int64_t best = 0;
  for (int64_t i = 1; i < classes; i++)
    if (x[i] > x[best]) best = i;
  return best;
}

static double cosine(const Tensor *a, const Tensor *b) {
  double ab = 0, aa = 0, bb = 0;
  for (int64_t i = 0, count = tensor_count(a); i < count; i++) {
    double x = dtype_get(a->dtype, a->data, i), y = dtype_get(b->dtype, b->data, i);
    ab += x * y, aa += x * x, bb += y * y;
  }
  return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : aa == bb;
}

typedef struct Tally {
  double right[2]; /* before, after */
  int64_t rows;
  double least;
  Noise noise;
} Tally;

static void tally_classes(Tally *tally, const Pair *pair, int sample) {
  const Samples *samples = pair->plan->ledger->samples;
  const Tensor *a = pair->a, *b = pair->b;
  int64_t classes = a->dims[a->rank - 1], rows = classes ? tensor_count(a) / classes : 0;
  for (int64_t row = 0; row < rows; row++) {
    int64_t first = largest(a, row, classes), second = largest(b, row, classes);
    tally->right[0] += !samples->labels || samples->labels[sample] == first;
    tally->right[1] += (samples->labels ? samples->labels[sample] : first) == second;
  }
  tally->rows += rows;
}

static void tally_sample(Tally *tally, const Pair *pair, int sample) {
  if (pair->plan->ledger->likeness != LIKE_COSINE) tally_classes(tally, pair, sample);
  for (int i = 0; i < pair->original->output_count; i++) {
    noise_add(&tally->noise, &pair->a[i], &pair->b[i]);
    if (!dtype_is_float(pair->a[i].dtype)) continue;
    double like = cosine(&pair->a[i], &pair->b[i]);
    tally->least = like < tally->least ? like : tally->least;
  }
}

/* Whether the labels, if there are some, are classes of the first output. */
static bool check_labels(const Plan *plan) {
  Graph *graph = plan->graph;
  const Samples *samples = plan->ledger->samples;
  const Type *type = graph_output(graph, 0)->type;
  if (!samples->labels) return true;
  if (type->dtype != DTYPE_F32 || type->rank < 1)
    return fail(graph->module, "labels want an output with a number for each class, but '%s' is %s",
                graph->output_names[0], type_text(graph->module, type));
  const Dim *classes = type->dims[type->rank - 1];
  for (int i = 0; i < samples->count; i++)
    if (samples->labels[i] < 0 || (dim_is_const(classes) && samples->labels[i] >= classes->value))
      return fail(graph->module, "the label of sample %d is %lld, but '%s' is %s: classes count from 0", i,
                  (long long)samples->labels[i], graph->output_names[0], type_text(graph->module, type));
  return true;
}

bool plan_evaluate(Plan *plan) {
  TRY(check_labels(plan));
  Ledger *ledger = plan->ledger;
  int count = ledger->sample_count = ledger->samples->count;
  Tally tally = {.least = 1};
  Pair pair;
  ledger->likeness = ledger->samples->labels                           ? LIKE_LABELS
                     : has_classes(graph_output(plan->graph, 0)->type) ? LIKE_CLASSES
                                                                       : LIKE_COSINE;
  bool ok = pair_open(&pair, plan);
  for (int i = 0; ok && i < count; i++) {
    plan_report(plan, "comparing outputs", i, count);
    ok = pair_run(&pair, i);
    if (ok) tally_sample(&tally, &pair, i);
    pair_free(&pair);
  }
  observer_close(&pair.planned);
  bool by_cosine = ledger->likeness == LIKE_COSINE;
  ledger->before = by_cosine ? 1 : tally.right[0] / (double)tally.rows;
  ledger->after = by_cosine ? tally.least : tally.right[1] / (double)tally.rows;
  ledger->sqnr = noise_decibels(&tally.noise);
  return ok;
}
