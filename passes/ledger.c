/*
 * ledger.c -- what a plan gains: times of kernels and bytes, of the original and the planned graph.
 */
#include "passes/quantize.h"
#include "passes/rewrite.h"

#include <string.h>

/* ---- side by side ---- */

static bool apply_to(const Plan *plan, Graph *copy) {
  return diags_pass_on(copy->module, plan->graph->module, plan->apply(plan, copy));
}

bool pair_open(Pair *pair, Plan *plan) {
  Arena *arena = plan->graph->module->arena;
  *pair = (Pair){.plan = plan, .original = &plan->original, .count = plan->graph->output_count};
  pair->a = NEW_ARRAY(arena, Tensor, pair->count);
  pair->b = NEW_ARRAY(arena, Tensor, pair->count);
  observer_copy(&pair->planned, plan->graph, plan->options);
  return apply_to(plan, pair->planned.copy) && observer_build(&pair->planned, NULL, 0);
}

bool pair_run(Pair *pair, int sample) {
  const Samples *samples = pair->plan->ledger->samples;
  const Tensor *inputs = &samples->tensors[sample * samples->input_count];
  return observer_run(pair->original, inputs, pair->a) && observer_run(&pair->planned, inputs, pair->b);
}

void pair_forget(Pair *pair) {
  seen_free(pair->a, pair->count);
  seen_free(pair->b, pair->count);
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

static void take_times(Plan *plan, const KernelTime *times, int count, bool after) {
  LedgerRow *total = &plan->ledger->total;
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

static void take_observed(Plan *plan, Observer *observer, bool after) {
  const KernelTime *times = NULL;
  int count = observer_times(observer, &times);
  take_times(plan, times, count, after);
}

bool plan_estimate(Plan *plan) {
  Observer planned;
  const KernelTime *times = NULL;
  int count = 0;
  observer_copy(&planned, plan->graph, plan->options);
  plan_report(plan, "predicting times", 0, 1);
  bool ok = apply_to(plan, planned.copy) && observer_predict(&planned, &times, &count);
  if (ok) {
    take_observed(plan, &plan->original, false);
    take_times(plan, times, count, true);
  }
  observer_close(&planned);
  return ok;
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
    pair_forget(&pair);
  }
  if (ok) {
    take_observed(plan, pair.original, false);
    take_observed(plan, &pair.planned, true);
    take_bytes(plan, &pair.planned);
    plan->ledger->total.bytes_before = constant_bytes(pair.original->copy);
    plan->ledger->total.bytes_after = constant_bytes(pair.planned.copy);
  }
  observer_close(&pair.planned);
  return ok;
}
