/*
 * prune.c -- weights that matter least go, and those that are left make up for them.
 *
 * Before: products of floats with constant weights. After: with PRUNE_CHANNELS the same graph with fewer
 * channels (ties.c knows which can only go together, channels.c which matter least); else the same graph with
 * zeros among the weights, which `sparse` leaves out where that is faster. Weights and biases that are left
 * are fitted to what each layer gave before (fit.c), then, if asked, to the outputs (distill.c). A layer
 * whose zeros make it no faster keeps all its weights. With a bound on what may be lost (Ledger.max_drop),
 * less goes until it holds. Does nothing without PassOptions.pruning, whose ledger it fills in.
 */
#include "passes/prune.h"

#include <math.h>
#include <string.h>

#include "passes/rewrite.h"

/* ---- rewriting ---- */

bool pruner_removes(const Pruner *pruner, const Value *value, int axis, int64_t index) {
  if (!pruner->ties) return false;
  int unit = ties_unit(pruner->ties, value, axis, index);
  return unit >= 0 && pruner->removed[unit];
}

/* Whether an axis of the weights other than that of the rows loses its part of column j. */
static bool removes_column(const Pruner *pruner, const Layer *layer, int64_t j) {
  const Value *w = layer_constant(layer);
  int row_axis = layer_row_axis(layer);
  for (int axis = w->type->rank - 1; axis >= 0; axis--) {
    if (axis == row_axis) continue;
    int64_t size = w->type->dims[axis]->value;
    if (pruner_removes(pruner, w, axis, j % size)) return true;
    j /= size;
  }
  return false;
}

Kept pruner_kept(Arena *arena, const Pruner *pruner, int number) {
  const Layer *layer = &pruner->plan.layers[number];
  Kept kept = {.rows = NEW_ARRAY(arena, int, layer->rows), .columns = NEW_ARRAY(arena, int, layer->k)};
  for (int r = 0; r < layer->rows; r++)
    if (!pruner_removes(pruner, layer_constant(layer), layer_row_axis(layer), r))
      kept.rows[kept.row_count++] = r;
  for (int j = 0; j < layer->k; j++)
    if (!removes_column(pruner, layer, j)) kept.columns[kept.column_count++] = j;
  return kept;
}

/* What is kept of [rows, k], as the layer `now` has it. */
static Value *build_weights(Builder *builder, const Layer *now, int64_t k, const Kept *kept,
                            const float *weights) {
  const Value *old = layer_constant(now);
  Data *data = data_new(builder->graph->module, DTYPE_F32, now->rows * now->k);
  float *to = data_bytes(data);
  for (int64_t row = 0; row < now->rows; row++)
    for (int64_t j = 0; j < now->k; j++)
      to[layer_index(now, row, j)] = weights[kept->rows[row] * k + kept->columns[j]];
  data->name = value_data(old)->name;
  return build_const(builder, old->type, data, old->name);
}

static Value *build_bias(Builder *builder, const Layer *now, const Kept *kept, const double *bias) {
  Data *data = data_new(builder->graph->module, DTYPE_F32, now->rows);
  for (int64_t row = 0; row < now->rows; row++)
    dtype_set(DTYPE_F32, data_bytes(data), row, bias[kept->rows[row]]);
  return build_const(builder, type_static(builder->graph->module, DTYPE_F32, 1, &now->rows), data, NULL);
}

static bool is_zero(const Kept *kept, const double *bias) {
  for (int i = 0; i < kept->row_count; i++)
    if (bias[kept->rows[i]] != 0) return false;
  return true;
}

bool layer_rebuild(Builder *builder, Node **node, Value *w, Value *bias) {
  Node *old = *node;
  Value **operands = NEW_ARRAY(old->graph->module->arena, Value *, old->op->operand_count);
  int count = old->op->operand_count;
  for (int i = 0; i < count; i++) operands[i] = operand(old, i);
  operands[1] = w;
  if (bias && layer_of(old).is_inner)
    TRY(old->op->inner_add(old, builder, bias, operands));
  else if (bias)
    operands[2] = bias;
  while (!operands[count - 1]) count--;
  *node = node_like_on(builder, old, operands, count);
  TRY(node_finish(*node));
  for (int i = 1; i < old->result_count; i++) value_hand_over(result(old, i), result(*node, i));
  node_replace(old, result(*node, 0));
  return true;
}

bool pruner_put(const Pruner *pruner, int number, const Kept *kept, Node **node) {
  const Thinning *thinning = &pruner->layers[number];
  if (!thinning->weights) return true;
  Builder builder = builder_before(*node);
  Layer now = layer_of(*node);
  Value *w = build_weights(&builder, &now, pruner->plan.layers[number].k, kept, thinning->weights);
  bool shifts = thinning->has_bias && (layer_bias(&now) || !is_zero(kept, thinning->bias));
  Value *bias = shifts ? build_bias(&builder, &now, kept, thinning->bias) : NULL;
  TRY(w && (bias || !shifts));
  return layer_rebuild(&builder, node, w, bias);
}

void pruner_find(const Pruner *pruner, const Graph *copy, Node **layers) {
  const Plan *plan = &pruner->plan;
  Arena *arena = copy->module->arena;
  Value **results = NEW_ARRAY(arena, Value *, plan->layer_count),
        **found = NEW_ARRAY(arena, Value *, plan->layer_count);
  for (int i = 0; i < plan->layer_count; i++) results[i] = result(plan->layers[i].node, 0);
  values_in_copy(plan->graph, results, plan->layer_count, copy, found);
  for (int i = 0; i < plan->layer_count; i++) layers[i] = found[i]->def;
}

bool pruner_apply(const Pruner *pruner, Graph *copy, Node **layers) {
  int count = pruner->plan.layer_count;
  Kept *kept = NEW_ARRAY(copy->module->arena, Kept, count); /* while the plan's graph still is what it was */
  for (int i = 0; i < count; i++) kept[i] = pruner_kept(copy->module->arena, pruner, i);
  if (pruner->ties) TRY(ties_remove(pruner->ties, copy, pruner->removed));
  for (int i = 0; i < count; i++) TRY(pruner_put(pruner, i, &kept[i], &layers[i]));
  graph_sweep(copy);
  return true;
}

static bool apply(const Plan *plan, Graph *graph) {
  const Pruner *pruner = (const Pruner *)plan;
  Node **layers = NEW_ARRAY(graph->module->arena, Node *, plan->layer_count);
  pruner_find(pruner, graph, layers);
  return pruner_apply(pruner, graph, layers);
}

/* ---- the ledger ---- */

static void describe(Pruner *pruner) {
  Arena *arena = pruner->plan.graph->module->arena;
  double zeros = 0, all = 0;
  for (int i = 0; i < pruner->plan.layer_count; i++) {
    const Layer *layer = &pruner->plan.layers[i];
    const Thinning *thinning = &pruner->layers[i];
    Kept kept = pruner_kept(arena, pruner, i);
    LedgerRow *row = layer->row;
    bool is_cut = kept.row_count < layer->rows || kept.column_count < layer->k;
    row->bytes_after = 4 * (int64_t)kept.row_count * kept.column_count;
    all += (double)(layer->rows * layer->k);
    zeros += thinning->share * (double)(layer->rows * layer->k);
    row->form = !thinning->weights ? NULL
                : is_cut ? arena_printf(arena, "%dx%d of %lldx%lld", kept.row_count, kept.column_count,
                                        (long long)layer->rows, (long long)layer->k)
                : thinning->share > 0 ? arena_printf(arena, "%.0f %% zeros", 100 * thinning->share)
                                      : NULL;
  }
  if (!pruner->ties) pruner->pruning->reached = all > 0 ? zeros / all : 0;
}

/* Why a layer has kept all that it had. */
static const char *why_whole(const Pruner *pruner, const Layer *layer) {
  if (!pruner->ties) return "all weights are needed";
  const char *tie = ties_reason(pruner->ties, layer_constant(layer), layer_row_axis(layer), 0);
  return tie ? tie : "all channels are needed";
}

static void explain_whole(Pruner *pruner) {
  for (int i = 0; i < pruner->plan.layer_count; i++) {
    LedgerRow *row = pruner->plan.layers[i].row;
    if (!row->form && !row->reason) row->reason = why_whole(pruner, &pruner->plan.layers[i]);
  }
}

/* ---- what is worth it ---- */

/* Why zeros cannot help the layer; NULL: they may. */
static const char *refusal(const Pruner *pruner, const Layer *layer) {
  enum { FEWEST_COLUMNS = 16, BLOCK = 16, QUARTET = 4 };
  PruneForm form = pruner->pruning->form;
  int64_t channels = layer->is_conv ? layer->window.group_channels : layer->k;
  if (form == PRUNE_CHANNELS) return NULL;
  if (layer->is_inner) return "recurrent"; /* no kernel leaves its zeros out */
  if (layer->k < FEWEST_COLUMNS) return "small";
  if (form == PRUNE_2_OF_4 && channels % QUARTET) return "channels not by fours";
  return form == PRUNE_BLOCKS && layer->group_rows < BLOCK ? "few channels" : NULL;
}

static void refuse_layers(Pruner *pruner) {
  for (int i = 0; i < pruner->plan.layer_count; i++)
    pruner->plan.layers[i].row->reason = refusal(pruner, &pruner->plan.layers[i]);
}

/* Layers that their zeros make no faster, by the kernels that the library will have. */
static bool find_slow(const Pruner *pruner, bool *slow) {
  bool any = false, measured = pruner->pruning->ledger.times_decide;
  for (int i = 0; i < pruner->plan.layer_count; i++) {
    const LedgerRow *row = pruner->plan.layers[i].row;
    bool faster = row->predicted_after < row->predicted_before &&
                  !(measured && row->measured_after >= row->measured_before);
    any |= slow[i] = !row->reason && pruner->layers[i].share > 0 && !faster;
  }
  return any;
}

/* Compares times with kernels that leave zeros out even where that is slower. */
static bool time_zeros(Pruner *pruner) {
  const PassOptions *options = pruner->plan.options;
  PassOptions always = *options;
  always.always_sparse = true;
  pruner->plan.options = &always;
  bool ok = plan_predict(&pruner->plan);
  pruner->plan.options = options;
  return ok;
}

/* Whether layers that are no faster for their zeros are to keep all weights. */
static bool minds_time(const Pruner *pruner) {
  const PassOptions *options = pruner->plan.options;
  return !pruner->ties && !options->portable && options->target;
}

/* They are, and their rows get the times of both. *any: whether there are some. */
static bool refuse_slow(Pruner *pruner, bool *any) {
  const Plan *plan = &pruner->plan;
  *any = false;
  if (!minds_time(pruner)) return true;
  bool *slow = NEW_ARRAY(plan->graph->module->arena, bool, plan->layer_count);
  *any = find_slow(pruner, slow);
  if (!*any) return true;
  TRY(time_zeros(pruner));
  for (int i = 0; i < plan->layer_count; i++)
    if (slow[i]) plan->layers[i].row->reason = "not faster";
  return true;
}

/* For what has been chosen to go. */
static bool make_up(Pruner *pruner) {
  bool distills = pruner->pruning->epochs > 0;
  if (distills) pruner->roots = arena_new();
  bool ok = pruner_thin(pruner, pruner->pruning->refits) && (!distills || pruner_distill(pruner));
  arena_free(pruner->roots);
  pruner->roots = NULL;
  return ok;
}

static bool try_share(Pruner *pruner, double share) {
  pruner->pruning->ledger.effects[0] = NULL;
  if (pruner->ties)
    TRY(channels_choose(pruner, share));
  else
    weights_choose(pruner, share);
  TRY(make_up(pruner));
  return plan_evaluate(&pruner->plan);
}

static double drop_of(const Ledger *ledger) {
  return ledger->before - ledger->after;
}

/* The largest share that does not lose too much, to a sixteenth of what is asked for. */
static bool choose_by_loss(Pruner *pruner) {
  enum { STEPS = 16 };
  Pruning *pruning = pruner->pruning;
  const Ledger *ledger = &pruning->ledger;
  if (ledger->max_drop < 0 || drop_of(ledger) <= ledger->max_drop) return true;
  double all = drop_of(ledger), least = all;
  int low = 0, high = STEPS;
  while (low + 1 < high) {
    int step = low + (high - low) / 2;
    plan_report(&pruner->plan, "finding how much can go", STEPS - (high - low), STEPS);
    TRY(try_share(pruner, pruning->share * step / STEPS));
    least = fmin(least, drop_of(ledger));
    *(drop_of(ledger) <= ledger->max_drop ? &low : &high) = step;
  }
  if (low > 0) return try_share(pruner, pruning->share * low / STEPS);
  return fail(
      pruner->plan.graph->module,
      "with %.3g %% pruned the drop is %.3g %%, and with a sixteenth of that still %.3g %%, over --max-drop "
      "%.3g %%: allow more, or give more or better samples",
      100 * pruning->share, 100 * all, 100 * least, 100 * ledger->max_drop);
}

/* Layers keep all weights as long as there are some whose zeros make them no faster: others lose more then,
 * or fewer. shares[layers]: of zeros that those were to have. */
static bool find_refused(Pruner *pruner, double *shares) {
  Plan *plan = &pruner->plan;
  bool *slow = NEW_ARRAY(plan->graph->module->arena, bool, plan->layer_count), any = true;
  while (any) {
    weights_choose(pruner, pruner->pruning->share);
    TRY(pruner_thin(pruner, false));
    TRY(plan->ledger->times_decide ? plan_predict(plan) : plan_estimate(plan));
    any = find_slow(pruner, slow);
    for (int i = 0; i < plan->layer_count; i++) {
      if (!slow[i]) continue;
      shares[i] = pruner->layers[i].share;
      plan->layers[i].row->reason = "not faster";
    }
  }
  return true;
}

/* The rows of such layers get the times that they would have. */
static bool time_refused(Pruner *pruner, const double *shares) {
  const Plan *plan = &pruner->plan;
  bool any = false;
  for (int i = 0; i < plan->layer_count; i++) {
    if (shares[i] == 0) continue;
    any = true;
    pruner->layers[i].share = shares[i];
    plan->layers[i].row->reason = NULL;
  }
  if (any) TRY(pruner_thin(pruner, false) && time_zeros(pruner));
  for (int i = 0; i < plan->layer_count; i++)
    if (shares[i] > 0) plan->layers[i].row->reason = "not faster";
  return true;
}

/* Zeros in all layers, without making up for them: that is enough to see which are slow. */
static bool try_zeros(Pruner *pruner) {
  double *shares = NEW_ARRAY(pruner->plan.graph->module->arena, double, pruner->plan.layer_count);
  return !minds_time(pruner) || (find_refused(pruner, shares) && time_refused(pruner, shares));
}

/* The fit leaves as many zeros as the trial, but others: a layer can turn out to be slow after all. */
static bool judge(Pruner *pruner) {
  Plan *plan = &pruner->plan;
  bool again = true;
  TRY(observer_open(&plan->original, plan->graph, plan->options, NULL, 0));
  if (pruner->pruning->cost == COST_TIME && pruner->ties) TRY(plan_predict(plan));
  TRY(try_zeros(pruner));
  while (again) {
    TRY(try_share(pruner, pruner->pruning->share) && choose_by_loss(pruner));
    describe(pruner);
    TRY(plan_predict(plan) && refuse_slow(pruner, &again));
  }
  explain_whole(pruner);
  return true;
}

static bool find_ties(Pruner *pruner) {
  if (pruner->pruning->form != PRUNE_CHANNELS) return true;
  pruner->ties = ties_find(pruner->plan.graph);
  pruner->removed = NEW_ARRAY(pruner->plan.graph->module->arena, bool, pruner->ties->unit_count);
  pruner->met = NEW_ARRAY(pruner->plan.graph->module->arena, Moments, pruner->plan.activation_count);
  return true;
}

static bool prune(Graph *graph, const PassOptions *options) {
  Pruning *pruning = options->pruning;
  Pruner pruner = {.plan = {.options = options, .ledger = &pruning->ledger, .apply = apply},
                   .pruning = pruning};
  Plan *plan = &pruner.plan;
  plan_find(plan, graph);
  if (plan->layer_count == 0)
    return fail(graph->module, "there is nothing to prune: no conv, gemm or matmul with constant weights");
  pruner.layers = NEW_ARRAY(graph->module->arena, Thinning, plan->layer_count);
  refuse_layers(&pruner);
  bool ok = find_ties(&pruner) && plan_observe(plan) && pruner_look(&pruner) && judge(&pruner);
  observer_close(&plan->observed);
  observer_close(&plan->original);
  return ok && apply(plan, graph);
}

bool pass_prune(Graph *graph, const PassOptions *options) {
  if (!options->pruning || graph->owner) return false;
  prune(graph, options);
  return true;
}
