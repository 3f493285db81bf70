/*
 * frontier.c -- the original and the thinned network side by side on the same samples, as far as both have
 * been gone through.
 *
 * Layers are fitted one after the other, since what each meets comes of all before it. So that the way from
 * the inputs is not gone again for each, the values that the rest of the graph reads are kept for every
 * sample, and both networks go on from there: their copies have these values as further inputs. Where they
 * would take too much room, or have no constant sizes, the frontier stays where it is.
 */
#include <stdlib.h>

#include "passes/prune.h"
#include "passes/rewrite.h"

enum { MOST_BYTES = 1 << 30 };

/* ---- copies that start at the frontier ---- */

static int layer_of_node(const Plan *plan, const Node *node) {
  int i = 0;
  while (i < plan->layer_count && plan->layers[i].node != node) i++;
  return i < plan->layer_count ? i : -1;
}

/* What values of the plan's graph are in a copy of it, thinned or not; layers have other nodes then. */
static bool find_values(Pruner *pruner, Graph *copy, bool thinned, Value *const *values, int count,
                        Value **found) {
  const Plan *plan = &pruner->plan;
  values_in_copy(plan->graph, values, count, copy, found);
  if (!thinned) return true;
  Node **layers = NEW_ARRAY(copy->module->arena, Node *, plan->layer_count);
  pruner_find(pruner, copy, layers);
  TRY(pruner_apply(pruner, copy, layers));
  for (int i = 0; i < count; i++) {
    int layer = values[i]->def ? layer_of_node(plan, values[i]->def) : -1;
    if (layer >= 0) found[i] = result(layers[layer], 0);
  }
  return true;
}

bool frontier_observe(const Frontier *f, bool thinned, Value *const *values, int count, Observer *observer) {
  const Plan *plan = &f->pruner->plan;
  observer_copy(observer, plan->graph, plan->options);
  Graph *copy = observer->copy;
  Arena *arena = copy->module->arena;
  int all = f->count + count;
  Value **wanted = NEW_ARRAY(arena, Value *, all), **found = NEW_ARRAY(arena, Value *, all);
  for (int i = 0; i < all; i++) wanted[i] = i < f->count ? f->values[i] : values[i - f->count];
  TRY(find_values(f->pruner, copy, thinned, wanted, all, found));
  for (int i = 0; i < f->count; i++) {
    Value *input = graph_add_input(copy, arena_printf(arena, "frontier %d", i), found[i]->type);
    value_replace(found[i], input);
    for (int k = f->count; k < all; k++)
      if (wanted[k] == f->values[i]) found[k] = input;
  }
  return observer_build_values(observer, found + f->count, count);
}

const Tensor *frontier_kept(const Frontier *f, bool thinned, int sample, const Value *value) {
  for (int i = 0; i < f->count; i++)
    if (f->values[i] == value) return (thinned ? f->thinned : f->original) + (int64_t)sample * f->count + i;
  return NULL;
}

bool frontier_run(const Frontier *f, bool thinned, int sample, Observer *observer, Tensor *seen) {
  const Samples *samples = f->pruner->plan.ledger->samples;
  const Tensor *given = &samples->tensors[f->samples[sample] * samples->input_count],
               *kept = (thinned ? f->thinned : f->original) + (int64_t)sample * f->count;
  for (int i = 0; i < samples->input_count; i++) f->inputs[i] = given[i];
  for (int i = 0; i < f->count; i++) f->inputs[samples->input_count + i] = kept[i];
  return observer_run(observer, f->inputs, seen);
}

/* ---- going on ---- */

/* What a node before `end` gave and one from there on reads, constants aside; places are in the marks. */
static int values_across(const Graph *graph, const Node *end, Value **values) {
  int count = 0, place = 0;
  FOR_EACH_NODE(node, graph) node->mark = place++;
  for (const Node *node = graph->first; node != end; node = node->next)
    for (int i = 0; !node->data && i < node->result_count; i++) {
      bool crosses = false;
      FOR_EACH_USE(use, result(node, i)) crosses |= use->node->mark >= end->mark;
      if (crosses) values[count++] = result(node, i);
    }
  return count;
}

static int result_total(const Graph *graph) {
  int count = 0;
  FOR_EACH_NODE(node, graph) count += node->result_count;
  return count;
}

static bool has_regions(const Graph *graph) {
  bool any = false;
  FOR_EACH_NODE(node, graph) any |= node->region_count > 0;
  return any;
}

/* Whether they can be kept for all samples, of both networks. */
static bool fit_in(Value *const *values, int count, int samples) {
  double bytes = 0;
  for (int i = 0; i < count; i++) {
    const Type *type = values[i]->type;
    int64_t elements = type_is_tensor(type) ? type_static_count(type) : -1;
    if (elements < 0 || dtype_bits(type->dtype) < 8) return false;
    bytes += 2.0 * samples * (double)elements * dtype_bits(type->dtype) / 8;
  }
  return bytes <= MOST_BYTES;
}

/* The values of one of the networks, for all samples; NULL: something went wrong. */
static Tensor *go_on(const Frontier *f, bool thinned, Value *const *values, int count) {
  Observer observer;
  Tensor *tensors = calloc((size_t)count * (size_t)f->sample_count + 1, sizeof *tensors);
  bool ok = frontier_observe(f, thinned, values, count, &observer);
  for (int s = 0; ok && s < f->sample_count; s++)
    ok = frontier_run(f, thinned, s, &observer, tensors + (int64_t)s * count);
  observer_close(&observer);
  if (ok) return tensors;
  seen_free(tensors, count * f->sample_count);
  free(tensors);
  return NULL;
}

static void forget(Frontier *f, Tensor **tensors) {
  if (*tensors) seen_free(*tensors, f->count * f->sample_count);
  free(*tensors);
  *tensors = NULL;
}

bool frontier_advance(Frontier *f, const Node *to) {
  const Graph *graph = f->pruner->plan.graph;
  Value **values = NEW_ARRAY(f->arena, Value *, result_total(graph));
  int count = values_across(graph, to, values);
  f->is_at_end = !has_regions(graph) && fit_in(values, count, f->sample_count);
  if (!f->is_at_end) return true;
  Tensor *original = go_on(f, false, values, count),
         *thinned = original ? go_on(f, true, values, count) : NULL;
  forget(f, &f->original);
  forget(f, &f->thinned);
  f->values = values;
  f->count = count;
  f->original = original;
  f->thinned = thinned;
  f->inputs = NEW_ARRAY(f->arena, Tensor, f->pruner->plan.ledger->samples->input_count + count);
  return original && thinned;
}

/* ---- opening, closing ---- */

Frontier frontier_open(Pruner *pruner, int most) {
  const Samples *samples = pruner->plan.ledger->samples;
  Frontier f = {.pruner = pruner, .arena = arena_new()};
  int count = most < samples->count ? most : samples->count;
  f.samples = NEW_ARRAY(f.arena, int, count);
  f.inputs = NEW_ARRAY(f.arena, Tensor, samples->input_count);
  for (int i = 0; i < count; i++) {
    int which = (int)((int64_t)i * samples->count / count);
    if (!pruner_judges(pruner, which)) f.samples[f.sample_count++] = which;
  }
  return f;
}

void frontier_close(Frontier *f) {
  forget(f, &f->original);
  forget(f, &f->thinned);
  arena_free(f->arena);
}
