/*
 * frontier.c -- the original and the thinned network side by side on the same samples, as far as each has
 * been gone through.
 *
 * Layers are fitted one after the other, since what each meets comes of all before it. So that the way from
 * the inputs is not gone again for each, the values that the rest of the graph reads are kept for every
 * sample, and both networks go on from there. One piece is cut out of both and compiled: of the thinned
 * network from the layers that were fitted last to those that are next, of the original from these, whose
 * results are wanted, to those after them. Where what is to be kept would take too much room, or has no
 * constant sizes, both stay where they are.
 */
#include <stdlib.h>

#include "passes/prune.h"
#include "passes/rewrite.h"

enum { MOST_BYTES = 1 << 30 };

/* ---- where to go on to ---- */

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

/* False: the side stays, as these values of the plan's graph cannot be kept. */
static bool aim(Frontier *f, Side *side, int layer) {
  const Plan *plan = &f->pruner->plan;
  side->next = NULL;
  if (layer == plan->layer_count || has_regions(plan->graph)) return false;
  Value **values = NEW_ARRAY(f->arena, Value *, result_total(plan->graph));
  int count = values_across(plan->graph, plan->layers[layer].node, values);
  if (!fit_in(values, count, f->sample_count)) return false;
  for (int i = 0; side == &f->thinned && i < count; i++)
    values[i] = result(f->twins[values[i]->def->mark], values[i]->index);
  side->next = values;
  side->next_count = count;
  return true;
}

void frontier_aim(Frontier *f, int first, int end) {
  f->goes_on = aim(f, &f->thinned, first);
  aim(f, &f->original, end);
}

/* ---- a piece of both networks ---- */

/* Where what it meets, gives and counts is seen; 0: nowhere. */
typedef struct Inner {
  int met, given, counts;
} Inner;

typedef struct Piece {
  Arena *arena;
  Observer observer;
  Value **wanted[2]; /* of the original, of the thinned network */
  int count[2];
  Inner *inner;          /* [layers]: of a product inside of a node */
  int all;               /* that are seen: count[0], count[1], then these */
  Tensor *inputs, *seen; /* of a run: the sample's, then what is kept of both; [all] */
} Piece;

static int number_of(Value *const *values, int count, const Value *value) {
  int i = 0;
  while (i < count && values[i] != value) i++;
  return i;
}

static void want(Piece *piece, int side, Value *value) {
  int *count = &piece->count[side];
  if (number_of(piece->wanted[side], *count, value) == *count) piece->wanted[side][(*count)++] = value;
}

static const Tensor *seen_of(const Piece *piece, int side, const Value *value) {
  int number = number_of(piece->wanted[side], piece->count[side], value);
  return &piece->seen[(side ? piece->count[0] : 0) + number];
}

static bool is_inner(const Frontier *f, int layer) {
  return f->pruner->plan.layers[layer].is_inner;
}

static Value *given_by(const Frontier *f, int layer) {
  return result(f->pruner->plan.layers[layer].node, 0);
}

static Value *met_by(const Frontier *f, int layer) {
  return operand(f->layers[layer], 0);
}

static void find_wanted(const Frontier *f, Piece *piece, const int *layers, int layer_count) {
  const Side *sides[] = {&f->original, &f->thinned};
  for (int s = 0; s < 2; s++) {
    int next = sides[s]->next ? sides[s]->next_count : 0;
    piece->wanted[s] = NEW_ARRAY(piece->arena, Value *, layer_count + next);
    for (int i = 0; i < layer_count; i++)
      if (!s || !is_inner(f, layers[i])) want(piece, s, s ? met_by(f, layers[i]) : given_by(f, layers[i]));
    for (int i = 0; i < next; i++) want(piece, s, sides[s]->next[i]);
  }
}

/* Adds what is wanted of a network to the piece; both read the same inputs. */
static void add_cone(const Side *side, Piece *piece, int number, Value **inputs, Value **found) {
  int given = side->graph->input_count, all = given + side->count;
  Value **ends = NEW_ARRAY(piece->arena, Value *, all), **there = NEW_ARRAY(piece->arena, Value *, all);
  for (int i = 0; i < all; i++) ends[i] = i < given ? side->graph->inputs[i] : side->values[i - given];
  for (int i = 0; i < given; i++) there[i] = inputs[i];
  const Cone cone = {piece->wanted[number], found, piece->count[number], ends, there, all};
  graph_add_cone(piece->observer.copy, side->graph, &cone);
  for (int i = 0; i < given; i++) inputs[i] = there[i];
}

/* Of [.., groups * k] what is left of each k. */
static Value *kept_of(const Frontier *f, int layer, Value *x, Builder *builder) {
  const Layer *whole = &f->pruner->plan.layers[layer];
  Kept kept = pruner_kept(f->arena, f->pruner, layer);
  int count = (int)layer_groups(whole) * kept.column_count;
  int64_t *indices = NEW_ARRAY(f->arena, int64_t, count);
  for (int i = 0; i < count; i++)
    indices[i] = i / kept.column_count * whole->k + kept.columns[i % kept.column_count];
  Node *gather = node_new(builder, &op_gather, (Value *[]){x, build_ints(builder, indices, count)}, 2);
  node_set_int(gather, "axis", x->type->rank - 1);
  return node_finish(gather) ? result(gather, 0) : NULL;
}

static int show_too(Piece *piece, Value **found, Value *value) {
  found[piece->all] = value;
  return piece->all++;
}

/* What layers meet and give inside of nodes of the original, which are in the piece by now. */
static bool add_inner(const Frontier *f, Piece *piece, const int *layers, int layer_count, Value **found) {
  Builder builder = builder_at_end(piece->observer.copy);
  piece->all = piece->count[0] + piece->count[1];
  piece->inner = NEW_ARRAY(piece->arena, Inner, layer_count);
  for (int i = 0; i < layer_count; i++) {
    if (!is_inner(f, layers[i])) continue;
    LayerValues values;
    int node = number_of(piece->wanted[0], piece->count[0], given_by(f, layers[i]));
    TRY(layer_values(found[node]->def, &values));
    Value *met = kept_of(f, layers[i], values.x, &builder);
    TRY(met);
    piece->inner[i] = (Inner){show_too(piece, found, met), show_too(piece, found, values.y),
                              values.counts ? show_too(piece, found, values.counts) : 0};
  }
  return true;
}

/* Close it in any case. */
static bool open_piece(const Frontier *f, Piece *piece, const int *layers, int layer_count) {
  const Plan *plan = &f->pruner->plan;
  *piece = (Piece){.arena = arena_new()};
  find_wanted(f, piece, layers, layer_count);
  int most = piece->count[0] + piece->count[1] + 3 * layer_count, inputs = plan->graph->input_count;
  Value **found = NEW_ARRAY(piece->arena, Value *, most), **given = NEW_ARRAY(piece->arena, Value *, inputs);
  observer_begin(&piece->observer, plan->graph, plan->options);
  add_cone(&f->original, piece, 0, given, found);
  add_cone(&f->thinned, piece, 1, given, found + piece->count[0]);
  piece->inputs = NEW_ARRAY(piece->arena, Tensor, inputs + f->original.count + f->thinned.count);
  piece->seen = NEW_ARRAY(piece->arena, Tensor, most);
  return add_inner(f, piece, layers, layer_count, found) &&
         observer_build_values(&piece->observer, found, piece->all);
}

static void close_piece(Piece *piece) {
  observer_close(&piece->observer);
  arena_free(piece->arena);
}

static bool run_piece(const Frontier *f, Piece *piece, int sample) {
  const Samples *samples = f->pruner->plan.ledger->samples;
  const Side *sides[] = {&f->original, &f->thinned};
  int count = samples->input_count;
  for (int i = 0; i < count; i++) piece->inputs[i] = samples->tensors[f->samples[sample] * count + i];
  for (int s = 0; s < 2; s++)
    for (int i = 0; i < sides[s]->count; i++)
      piece->inputs[count++] = sides[s]->kept[(int64_t)sample * sides[s]->count + i];
  return observer_run(&piece->observer, piece->inputs, piece->seen);
}

/* ---- going on ---- */

static void show(const Frontier *f, const Piece *piece, const int *layers, int layer_count, int number,
                 FrontierVisit *visit, void *context) {
  Arena *arena = arena_new();
  Sight *sights = NEW_ARRAY(arena, Sight, layer_count);
  for (int i = 0; i < layer_count; i++) {
    const Inner *inner = &piece->inner[i];
    if (is_inner(f, layers[i]))
      sights[i] = (Sight){&piece->seen[inner->met], &piece->seen[inner->given],
                          inner->counts ? &piece->seen[inner->counts] : NULL};
    else
      sights[i] =
          (Sight){seen_of(piece, 1, met_by(f, layers[i])), seen_of(piece, 0, given_by(f, layers[i])), NULL};
  }
  visit(context, number, sights);
  arena_free(arena);
}

static bool make_room(Side *side, int samples) {
  if (!side->next) return true;
  side->next_kept = calloc((size_t)side->next_count * (size_t)samples + 1, sizeof *side->next_kept);
  return side->next_kept;
}

/* What was kept of a sample is of no use any more. */
static void take_next(Side *side, Piece *piece, int number, int sample) {
  if (!side->next) return;
  for (int i = 0; i < side->next_count; i++) {
    Tensor *seen = (Tensor *)seen_of(piece, number, side->next[i]);
    side->next_kept[(int64_t)sample * side->next_count + i] = *seen;
    *seen = (Tensor){0};
  }
  if (side->kept) seen_free(side->kept + (int64_t)sample * side->count, side->count);
}

static void forget(Tensor **tensors, int count) {
  if (*tensors) seen_free(*tensors, count);
  free(*tensors);
  *tensors = NULL;
}

static void arrive(Side *side, int samples) {
  if (!side->next) return;
  forget(&side->kept, side->count * samples);
  side->kept = side->next_kept;
  side->values = side->next;
  side->count = side->next_count;
  side->next_kept = NULL;
}

static bool run_samples(Frontier *f, Piece *piece, const int *layers, int layer_count, int count,
                        FrontierVisit *visit, void *context) {
  int64_t all = f->sample_count;
  for (int sample = 0, number = 0; sample < all; sample++) {
    bool is_shown = number < count && sample == number * all / count;
    if (!is_shown && !f->original.next && !f->thinned.next) continue;
    TRY(run_piece(f, piece, sample));
    if (is_shown) show(f, piece, layers, layer_count, number++, visit, context);
    take_next(&f->original, piece, 0, sample);
    take_next(&f->thinned, piece, 1, sample);
    seen_free(piece->seen, piece->all);
  }
  return true;
}

bool frontier_run(Frontier *f, const int *layers, int layer_count, int count, FrontierVisit *visit,
                  void *context) {
  Piece piece;
  bool ok = open_piece(f, &piece, layers, layer_count) && make_room(&f->original, f->sample_count) &&
            make_room(&f->thinned, f->sample_count) &&
            run_samples(f, &piece, layers, layer_count, count, visit, context);
  close_piece(&piece);
  if (!ok) return false;
  arrive(&f->original, f->sample_count);
  arrive(&f->thinned, f->sample_count);
  return true;
}

static bool thin(Frontier *f, int layer) {
  Node *old = f->layers[layer], **twin = f->twins;
  Kept kept = pruner_kept(f->arena, f->pruner, layer);
  while (*twin != old) twin++;
  TRY(pruner_put(f->pruner, layer, &kept, &f->layers[layer]));
  *twin = f->layers[layer];
  return true;
}

bool frontier_thin(Frontier *f, int first, int end) {
  bool ok = true;
  for (int i = first; ok && i < end; i++) ok = thin(f, i);
  return diags_pass_on(f->thinned.graph->module, f->original.graph->module, ok);
}

/* ---- opening, closing ---- */

static void choose_samples(Frontier *f, int most) {
  const Samples *samples = f->pruner->plan.ledger->samples;
  int count = most < samples->count ? most : samples->count;
  f->samples = NEW_ARRAY(f->arena, int, count);
  for (int i = 0; i < count; i++) {
    int which = (int)((int64_t)i * samples->count / count);
    if (!pruner_judges(f->pruner, which)) f->samples[f->sample_count++] = which;
  }
}

bool frontier_open(Frontier *f, Pruner *pruner, int most) {
  const Plan *plan = &pruner->plan;
  Module *own = module_new(plan->graph->module->file);
  *f = (Frontier){.pruner = pruner, .arena = arena_new(), .original = {.graph = plan->graph}};
  Graph *thinned = f->thinned.graph = own->main = graph_clone(own, plan->graph, NULL);
  int count = 0;
  choose_samples(f, most);
  f->twins = NEW_ARRAY(f->arena, Node *, graph_count_nodes(thinned));
  FOR_EACH_NODE(node, thinned) f->twins[count++] = node;
  f->layers = NEW_ARRAY(f->arena, Node *, plan->layer_count);
  pruner_find(pruner, thinned, f->layers);
  bool ok = !pruner->ties || ties_remove(pruner->ties, thinned, pruner->removed);
  return diags_pass_on(own, plan->graph->module, ok);
}

void frontier_close(Frontier *f) {
  Side *sides[] = {&f->original, &f->thinned};
  for (int s = 0; s < 2; s++) {
    forget(&sides[s]->kept, sides[s]->count * f->sample_count);
    forget(&sides[s]->next_kept, sides[s]->next_count * f->sample_count);
  }
  module_free(f->thinned.graph->module);
  arena_free(f->arena);
}
