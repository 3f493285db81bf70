/*
 * distill.c -- a few gradient steps on what is left, so that the outputs come nearer to the original's.
 *
 * What least squares does for each layer alone (thin.c) this does for all at once, behind activations, too.
 * In a copy of the pruned graph the weights and shifts of layers are inputs, and it gives their gradients
 * (ir/gradient.c) of the squared distance between its outputs and the original's, before a softmax or sigmoid
 * that may end them, in parts of the outputs' own squares. Of layers whose weights have no gradient there are
 * scales of channels instead. Adam (Kingma and Ba 2015, arXiv 1412.6980) walks down over three quarters of
 * the samples, in small batches; of what it has after each round that is taken which is nearest on the last
 * quarter, if it is nearer than before.
 * Weights that are 0 stay 0.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "passes/prune.h"

enum { BATCH = 16, MOST_TARGET_BYTES = 1 << 28 };

typedef enum KnobKind { KNOB_WEIGHTS, KNOB_SCALE, KNOB_SHIFT } KnobKind;

/* The numbers of one input: what a layer has left of its weights, or scales or shifts of its channels. */
typedef struct Knob {
  int layer;
  KnobKind kind;
  Layer geometry; /* of the weights, as they are now */
  Kept kept;
  double unit; /* how far a step goes, in parts of the rate */
  Tensor now;
  float *best;                      /* what they were when the distance was least */
  double *gradient, *mean, *square; /* Adam's */
} Knob;

typedef struct Distillation {
  Pruner *pruner;
  Arena *arena;
  Observer teacher, student;
  Value **ends; /* of the original, then of the student */
  int end_count, output_count;
  Tensor *targets; /* [samples * ends] */
  double *squares; /* [ends]: of all targets */
  Knob *knobs;
  int knob_count;
  Tensor *inputs, *outputs; /* of the student: those of the graph, knobs, targets; loss, gradients */
  int64_t steps;
} Distillation;

/* ---- what is to be alike ---- */

/* Of output i: before what would hide differences. NULL: it is no float. */
static Value *end_of(const Graph *graph, int i) {
  Value *end = graph_output(graph, i);
  if (end->type->dtype != DTYPE_F32) return NULL;
  while (node_is(end->def, &op_softmax) || node_is(end->def, &op_sigmoid)) end = operand(end->def, 0);
  return end->def && end->type->dtype == DTYPE_F32 ? end : NULL;
}

static void find_ends(Distillation *d, const Graph *graph) {
  d->end_count = 0;
  for (int i = 0; i < graph->output_count; i++) {
    Value *end = end_of(graph, i);
    if (end) d->ends[d->end_count++] = end;
  }
}

/* What the original gives for all samples; false without a Diag in `fits` when that is too much to keep. */
static bool teach(Distillation *d, bool *fits) {
  const Plan *plan = &d->pruner->plan;
  const Samples *samples = plan->ledger->samples;
  int outputs = plan->graph->output_count;
  size_t bytes = 0;
  find_ends(d, plan->graph);
  Tensor *seen = NEW_ARRAY(d->arena, Tensor, outputs + d->end_count);
  d->targets = NEW_ARRAY(d->arena, Tensor, (int64_t)samples->count * d->end_count);
  d->squares = NEW_ARRAY(d->arena, double, d->end_count);
  TRY(observer_open(&d->teacher, plan->graph, plan->options, d->ends, d->end_count));
  for (int sample = 0; sample < samples->count && (*fits = bytes < MOST_TARGET_BYTES); sample++) {
    TRY(observer_run(&d->teacher, &samples->tensors[sample * samples->input_count], seen));
    seen_free(seen, outputs);
    for (int e = 0; e < d->end_count; e++) {
      const Tensor *target = &seen[outputs + e];
      d->targets[sample * d->end_count + e] = *target;
      bytes += tensor_size(target);
      for (int64_t i = 0; i < tensor_count(target); i++)
        d->squares[e] += pow(((const float *)target->data)[i], 2) / samples->count;
    }
  }
  observer_close(&d->teacher);
  return true;
}

/* ---- the student ---- */

static int64_t knob_size(const Knob *knob) {
  return tensor_count(&knob->now);
}

/* A new input of the graph, of constant sizes. */
static Value *add_input(Distillation *d, Graph *graph, Knob knob, int rank, const int64_t *sizes) {
  Module *module = graph->module;
  knob.kept = pruner_kept(d->arena, d->pruner, knob.layer);
  if (!tensor_new(&knob.now, DTYPE_F32, rank, sizes)) return NULL;
  knob.best = NEW_ARRAY(d->arena, float, knob_size(&knob));
  knob.gradient = NEW_ARRAY(d->arena, double, knob_size(&knob));
  knob.mean = NEW_ARRAY(d->arena, double, knob_size(&knob));
  knob.square = NEW_ARRAY(d->arena, double, knob_size(&knob));
  d->knobs[d->knob_count] = knob;
  const char *name = arena_printf(module->arena, "knob %d", d->knob_count++);
  return graph_add_input(graph, name, type_static(module, DTYPE_F32, rank, sizes));
}

/* y scaled or shifted by a number for each channel. */
static Value *add_channels(Distillation *d, int number, KnobKind kind, Value *y, int axis) {
  int64_t sizes[MAX_RANK] = {y->type->dims[axis]->value};
  int rank = y->type->rank - axis;
  for (int i = 1; i < rank; i++) sizes[i] = 1;
  double variance = 0;
  const Thinning *thinning = &d->pruner->layers[number];
  for (int64_t r = 0; r < d->pruner->plan.layers[number].rows; r++) variance += thinning->y_variance[r];
  double unit = kind == KNOB_SCALE ? 1 : sqrt(variance / (double)d->pruner->plan.layers[number].rows);
  Value *input = add_input(d, y->graph, (Knob){.layer = number, .kind = kind, .unit = unit}, rank, sizes);
  if (!input) return NULL;
  const Knob *knob = &d->knobs[d->knob_count - 1];
  for (int64_t i = 0; kind == KNOB_SCALE && i < sizes[0]; i++) ((float *)knob->now.data)[i] = 1;
  Builder builder = builder_before(y->def->next);
  return build_binary(&builder, kind == KNOB_SCALE ? &op_mul : &op_add, y, input);
}

static bool add_weights(Distillation *d, int number, Node *node) {
  const Value *w = operand(node, 1);
  int64_t sizes[MAX_RANK];
  for (int i = 0; i < w->type->rank; i++) sizes[i] = w->type->dims[i]->value;
  Knob knob = {.layer = number, .kind = KNOB_WEIGHTS, .geometry = layer_of(node)};
  double squares = 0;
  int64_t count = type_static_count(w->type);
  for (int64_t i = 0; i < count; i++) squares += pow(data_get(value_data(w), i), 2) / (double)count;
  knob.unit = sqrt(squares);
  const Data *data = value_data(w);
  Value *input = add_input(d, node->graph, knob, w->type->rank, sizes);
  if (!input) return false;
  float *now = d->knobs[d->knob_count - 1].now.data;
  for (int64_t i = 0; i < count; i++) now[i] = (float)data_get(data, i);
  operand_set(node, 1, input);
  return node_reinfer(node);
}

/* Gradients by weights are there for all but groups of channels. */
static bool turns_weights(const Layer *layer) {
  return layer_groups(layer) == 1;
}

static void redirect(Use *const *uses, int count, Value *by) {
  for (int i = 0; i < count; i++) operand_set(uses[i]->node, (int)(uses[i] - uses[i]->node->operands), by);
}

static bool add_knobs(Distillation *d, Node *const *layers) {
  const Pruner *pruner = d->pruner;
  for (int i = 0; i < pruner->plan.layer_count; i++) {
    const Layer *layer = &pruner->plan.layers[i];
    if (!pruner->layers[i].weights) continue;
    Value *y = result(layers[i], 0);
    int count = 0, axis = layer->is_conv ? layer->window.channel_axis : y->type->rank - 1;
    Use **uses = NEW_ARRAY(d->arena, Use *, value_use_count(y));
    FOR_EACH_USE(use, y) uses[count++] = use;
    Value *changed = y;
    if (turns_weights(layer))
      TRY(add_weights(d, i, layers[i]));
    else
      changed = add_channels(d, i, KNOB_SCALE, y, axis);
    if (changed && pruner->layers[i].has_bias) changed = add_channels(d, i, KNOB_SHIFT, changed, axis);
    TRY(changed);
    if (changed == y) continue;
    redirect(uses, count, changed);
  }
  return true;
}

static Value *distance(Distillation *d, Builder *builder, int e) {
  Value *end = d->ends[e];
  Graph *graph = end->graph;
  Value *target = graph_add_input(graph, arena_printf(graph->module->arena, "target %d", e), end->type);
  Value *off = build_binary(builder, &op_sub, end, target),
        *square = off ? build_binary(builder, &op_mul, off, off) : NULL;
  int64_t axes[MAX_RANK];
  for (int i = 0; i < end->type->rank; i++) axes[i] = i;
  Value *sum = square ? build_reduce(builder, &op_reduce_sum, square, axes, end->type->rank) : NULL;
  sum = sum ? build_reshape(builder, sum, 0, NULL) : NULL;
  Value *share = build_scalar(builder, DTYPE_F32, d->squares[e] > 0 ? 1 / d->squares[e] : 1);
  return sum && share ? build_binary(builder, &op_mul, sum, share) : NULL;
}

/* The graph gives the distance and the gradients of all knobs, nothing else. */
static bool build_student(Distillation *d, Graph *graph) {
  Builder builder = builder_at_end(graph);
  Value *loss = NULL, **values = NEW_ARRAY(d->arena, Value *, d->knob_count + 1);
  Value **knobs = NEW_ARRAY(d->arena, Value *, d->knob_count);
  const char **names = NEW_ARRAY(d->arena, const char *, d->knob_count + 1);
  int first = graph->input_count - d->knob_count;
  for (int i = 0; i < d->knob_count; i++) knobs[i] = graph->inputs[first + i];
  find_ends(d, graph);
  for (int e = 0; e < d->end_count; e++) {
    Value *more = distance(d, &builder, e);
    loss = loss && more ? build_binary(&builder, &op_add, loss, more) : more;
    TRY(loss);
  }
  TRY(build_gradients(&builder, loss, d->knob_count, knobs, knobs, values + 1));
  values[0] = loss;
  for (int i = 0; i <= d->knob_count; i++) names[i] = arena_printf(graph->module->arena, "gradient %d", i);
  d->output_count = d->knob_count + 1;
  return graph_set_outputs(graph, d->output_count, values, names);
}

/* False when something on the way has no gradient: the Diags are in the copy. */
static bool open_student(Distillation *d) {
  const Plan *plan = &d->pruner->plan;
  Node **layers = NEW_ARRAY(d->arena, Node *, plan->layer_count);
  observer_copy(&d->student, plan->graph, plan->options);
  d->student.output_count = 0;
  pruner_find(d->pruner, d->student.copy, layers);
  TRY(pruner_apply(d->pruner, d->student.copy, layers));
  d->knobs = NEW_ARRAY(d->arena, Knob, 2 * plan->layer_count);
  TRY(add_knobs(d, layers) && build_student(d, d->student.copy));
  d->inputs = NEW_ARRAY(d->arena, Tensor, d->student.copy->input_count);
  d->outputs = NEW_ARRAY(d->arena, Tensor, d->output_count);
  return observer_build(&d->student, NULL, 0);
}

/* ---- the walk ---- */

static bool run_sample(Distillation *d, int sample, double *loss) {
  const Plan *plan = &d->pruner->plan;
  const Samples *samples = plan->ledger->samples;
  int given = samples->input_count;
  memcpy(d->inputs, &samples->tensors[sample * given], sizeof *d->inputs * (size_t)given);
  for (int i = 0; i < d->knob_count; i++) d->inputs[given + i] = d->knobs[i].now;
  for (int e = 0; e < d->end_count; e++)
    d->inputs[given + d->knob_count + e] = d->targets[sample * d->end_count + e];
  TRY(observer_run(&d->student, d->inputs, d->outputs));
  *loss += *(const float *)d->outputs[0].data;
  for (int i = 0; i < d->knob_count; i++)
    for (int64_t c = 0; c < knob_size(&d->knobs[i]); c++)
      d->knobs[i].gradient[c] += ((const float *)d->outputs[i + 1].data)[c];
  seen_free(d->outputs, d->output_count);
  return true;
}

static void step(Distillation *d, double rate) {
  const double keep_mean = 0.9, keep_square = 0.999, least = 1e-8;
  d->steps++;
  double mean_share = 1 - pow(keep_mean, (double)d->steps),
         square_share = 1 - pow(keep_square, (double)d->steps);
  for (int i = 0; i < d->knob_count; i++) {
    Knob *knob = &d->knobs[i];
    for (int64_t c = 0; c < knob_size(knob); c++) {
      double g = knob->gradient[c];
      knob->mean[c] = keep_mean * knob->mean[c] + (1 - keep_mean) * g;
      knob->square[c] = keep_square * knob->square[c] + (1 - keep_square) * g * g;
      double by = knob->mean[c] / mean_share / (sqrt(knob->square[c] / square_share) + least);
      float *now = (float *)knob->now.data + c;
      bool stays = knob->kind == KNOB_WEIGHTS && *now == 0;
      if (isfinite(by) && !stays) *now -= (float)(rate * knob->unit * by);
      knob->gradient[c] = 0;
    }
  }
}

/* The mean distance over samples [first, end). */
static bool judge(Distillation *d, int first, int end, double *loss) {
  *loss = 0;
  for (int i = first; i < end; i++) TRY(run_sample(d, i, loss));
  *loss /= end > first ? end - first : 1;
  for (int i = 0; i < d->knob_count; i++)
    memset(d->knobs[i].gradient, 0, sizeof *d->knobs[i].gradient * (size_t)knob_size(&d->knobs[i]));
  return true;
}

/* Once over the first `count` samples. */
static bool walk(Distillation *d, int epoch, int count, double rate) {
  double unused = 0;
  int stride = count % 7 ? 7 : count % 11 ? 11 : 1; /* neighbours in the data may be alike */
  for (int i = 0; i < count; i++) {
    plan_report(&d->pruner->plan, "distilling", epoch * count + i, d->pruner->pruning->epochs * count);
    TRY(run_sample(d, (int)((int64_t)i * stride % count), &unused));
    if (i % BATCH == BATCH - 1 || i == count - 1) step(d, rate);
  }
  return true;
}

/* ---- what became of it ---- */

static void turn(Pruner *pruner, const Knob *knob) {
  Thinning *thinning = &pruner->layers[knob->layer];
  const float *now = knob->best;
  const Kept *kept = &knob->kept;
  int64_t k = pruner->plan.layers[knob->layer].k, inner = knob->geometry.inner, rows = knob->geometry.rows;
  for (int64_t i = 0; i < knob_size(knob); i++) {
    if (knob->kind == KNOB_WEIGHTS) {
      int64_t row = i / inner % rows, column = i / (inner * rows) * inner + i % inner;
      thinning->weights[kept->rows[row] * k + kept->columns[column]] = now[i];
    } else if (knob->kind == KNOB_SHIFT) {
      thinning->bias[kept->rows[i]] += now[i];
    } else {
      for (int64_t j = 0; j < k; j++) thinning->weights[kept->rows[i] * k + j] *= now[i];
      if (thinning->has_bias) thinning->bias[kept->rows[i]] *= now[i];
    }
  }
}

static void keep(Distillation *d) {
  for (int i = 0; i < d->knob_count; i++)
    memcpy(d->knobs[i].best, d->knobs[i].now.data, sizeof(float) * (size_t)knob_size(&d->knobs[i]));
}

static bool distill(Distillation *d) {
  const double rate = 0.01;
  int epochs = d->pruner->pruning->epochs, count = d->pruner->plan.ledger->samples->count,
      first = count - count / 4;
  double before, now, least;
  if (count < 4) first = 0;
  TRY(judge(d, first, count, &before));
  least = before;
  for (int epoch = 0; epoch < epochs; epoch++) {
    TRY(walk(d, epoch, first > 0 ? first : count, rate * (epochs - epoch) / epochs));
    TRY(judge(d, first, count, &now));
    if (now < least) keep(d);
    least = fmin(least, now);
  }
  bool better = least < before;
  for (int i = 0; better && i < d->knob_count; i++) turn(d->pruner, &d->knobs[i]);
  plan_note(&d->pruner->plan, "distilled: of the outputs' squares %.3g are off before, %.3g after%s", before,
            least, better ? "" : ": not done");
  return true;
}

bool pruner_distill(Pruner *pruner) {
  Module *module = pruner->plan.graph->module;
  Diag *last = module->last_diag;
  Distillation d = {.pruner = pruner, .arena = arena_new()};
  bool fits = true;
  d.ends = NEW_ARRAY(d.arena, Value *, pruner->plan.graph->output_count);
  bool ok = teach(&d, &fits);
  const char *why = d.end_count == 0 ? "no output is f32"
                    : !fits          ? "the outputs of all samples are too large"
                                     : NULL;
  if (ok && !why) {
    bool opened = open_student(&d);
    const Diag *diag = d.student.copy->module->diags;
    if (!opened) why = diag ? diag->text : "there is no gradient";
    ok = !opened || distill(&d);
  }
  if (ok && why) plan_note(&pruner->plan, "not distilled: %s", why);
  if (ok) diags_take_back(module, last);
  observer_close(&d.teacher);
  observer_close(&d.student);
  for (int i = 0; i < d.knob_count; i++) tensor_free(&d.knobs[i].now);
  if (d.targets) seen_free(d.targets, pruner->plan.ledger->samples->count * d.end_count);
  arena_free(d.arena);
  return ok;
}
