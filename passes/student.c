/*
 * student.c -- the graph of a distillation: weights are inputs, gradients outputs.
 *
 * The original, for as many samples at once, gives what the outputs are to be. The distance is, of what a
 * softmax ends, the divergence of Kullback and Leibler between what both see (Hinton et al. 2015, arXiv
 * 1503.02531), of everything else the squared distance in parts of the outputs' own squares.
 */
#include "passes/student.h"

#include <math.h>
#include <string.h>

/* ---- what is to be alike ---- */

/* Of output i; no value: it is no float. */
static End end_of(const Graph *graph, int i) {
  End end = {.value = graph_output(graph, i)};
  while (end.value->def && end.value->type->dtype == DTYPE_F32) {
    const Node *def = end.value->def;
    if (!node_is(def, &op_softmax) && !node_is(def, &op_sigmoid)) return end;
    end.is_softmax = node_is(def, &op_softmax);
    if (end.is_softmax) end.axis = (int)node_axis(def, "axis", end.value->type->rank);
    end.value = operand(def, 0);
  }
  return (End){0};
}

/* Of another copy of the graph. */
static void find_ends(Student *s, const Graph *graph) {
  s->end_count = 0;
  for (int i = 0; i < graph->output_count; i++) {
    End end = end_of(graph, i);
    if (!end.value) continue;
    end.squares = s->ends[s->end_count].squares;
    s->ends[s->end_count++] = end;
  }
}

/* ---- what a run sees ---- */

static const Samples *samples_of(const Student *s) {
  return s->pruner->plan.ledger->samples;
}

static void mix(float *to, const float *a, const float *b, float share, int64_t count) {
  for (int64_t i = 0; i < count; i++) to[i] = a[i] + share * (b[i] - a[i]);
}

static const Tensor *input_of(const Samples *samples, int sample, int i) {
  return &samples->tensors[sample * samples->input_count + i];
}

/* Whether all samples have the same sizes, so that they can lie side by side. */
static bool are_alike(const Samples *samples) {
  bool alike = true;
  for (int k = 1; k < samples->count; k++)
    for (int i = 0; i < samples->input_count; i++)
      alike &= tensor_same_shape(input_of(samples, 0, i), input_of(samples, k, i));
  return alike;
}

/* Room for input i of runs of samples that are as large as this one. */
static bool make_input(Student *s, int i, const Tensor *sample) {
  Tensor like = *sample;
  if (s->batch > 1) like.dims[0] *= s->batch;
  if (s->inputs[i].data && tensor_same_shape(&s->inputs[i], &like)) return true;
  tensor_free(&s->inputs[i]);
  return tensor_new(&s->inputs[i], like.dtype, like.rank, like.dims);
}

/* The inputs of the graph. Only floats of the same sizes can be mixed. */
static bool load(Student *s, const Mixture *mixtures) {
  const Samples *samples = samples_of(s);
  for (int i = 0; i < samples->input_count; i++) {
    TRY(make_input(s, i, input_of(samples, mixtures[0].a, i)));
    for (int k = 0; k < s->batch; k++) {
      const Tensor *a = input_of(samples, mixtures[k].a, i), *b = input_of(samples, mixtures[k].b, i);
      char *to = (char *)s->inputs[i].data + tensor_size(a) * (size_t)k;
      if (mixtures[k].share == 0 || a->dtype != DTYPE_F32 || !tensor_same_shape(a, b))
        memcpy(to, a->data, tensor_size(a));
      else
        mix((float *)to, a->data, b->data, mixtures[k].share, tensor_count(a));
    }
  }
  return true;
}

/* ---- the teacher ---- */

/* Bytes of all values between inputs and outputs. */
static double bytes_between(const Graph *graph) {
  double bytes = 0;
  FOR_EACH_NODE(node, graph)
  if (!node->data)
    for (int i = 0; i < node->result_count; i++)
      bytes +=
          (double)type_static_count(result(node, i)->type) * dtype_bits(result(node, i)->type->dtype) / 8;
  return bytes;
}

static bool open_teacher(Student *s) {
  static const double most_bytes = 1 << 30;
  const Plan *plan = &s->pruner->plan;
  observer_copy(&s->teacher, plan->graph, plan->options);
  TRY((s->batch == 1 || are_alike(samples_of(s))) && graph_batch(s->teacher.copy, s->batch));
  if (s->batch > 1 && bytes_between(s->teacher.copy) > most_bytes) return false;
  find_ends(s, s->teacher.copy);
  Value **values = NEW_ARRAY(s->arena, Value *, s->end_count);
  for (int e = 0; e < s->end_count; e++) values[e] = s->ends[e].value;
  TRY(observer_build(&s->teacher, values, s->end_count));
  observer_spread(&s->teacher);
  return true;
}

static bool near(const Tensor *one, const Tensor *all, int k) {
  if (one->dtype != DTYPE_F32) return true;
  int64_t count = tensor_count(one);
  const float *a = one->data, *b = (const float *)all->data + k * count;
  double most = 0, off = 0;
  for (int64_t i = 0; i < count; i++) {
    most = fmax(most, fabs(a[i]));
    off = fmax(off, fabs((double)a[i] - b[i]));
  }
  return off <= 1e-3 * most + 1e-5;
}

/* Whether the teacher gives for the first samples together what the original gives for each alone. */
static bool is_same(Student *s) {
  Plan *plan = &s->pruner->plan;
  const Samples *samples = samples_of(s);
  Mixture *first = NEW_ARRAY(s->arena, Mixture, s->batch);
  Tensor *alone = NEW_ARRAY(s->arena, Tensor, s->output_count);
  for (int k = 0; k < s->batch; k++) first[k] = (Mixture){.a = k};
  TRY(load(s, first) && observer_run(&s->teacher, s->inputs, s->shown));
  bool same = true;
  for (int k = 0; k < s->batch && same; k++) {
    same = observer_run(&plan->original, &samples->tensors[k * samples->input_count], alone);
    for (int i = 0; i < s->output_count && same; i++)
      same = tensor_count(&s->shown[i]) == s->batch * tensor_count(&alone[i]) &&
             near(&alone[i], &s->shown[i], k);
    seen_free(alone, s->output_count);
  }
  seen_free(s->shown, s->output_count + s->end_count);
  return same;
}

/* For the largest batch that it takes. */
static bool find_batch(Student *s) {
  for (;; s->batch /= 2) {
    bool opened = open_teacher(s);
    if (opened && (s->batch == 1 || is_same(s))) return true;
    if (s->batch == 1) return false;
    observer_close(&s->teacher);
  }
}

/* ---- knobs ---- */

int64_t knob_size(const Knob *knob) {
  return tensor_count(&knob->now);
}

/* A new input of the graph, of constant sizes. */
static Value *add_input(Student *s, Graph *graph, Knob knob, int rank, const int64_t *sizes) {
  knob.kept = pruner_kept(s->arena, s->pruner, knob.layer);
  if (!tensor_new(&knob.now, DTYPE_F32, rank, sizes)) return NULL;
  memset(knob.now.data, 0, tensor_size(&knob.now));
  s->knobs[s->knob_count] = knob;
  const char *name = arena_printf(graph->module->arena, "knob %d", s->knob_count++);
  return graph_add_input(graph, name, type_static(graph->module, DTYPE_F32, rank, sizes));
}

/* [rows], and so many axes of size 1 behind. */
static Value *add_shift(Student *s, int number, Graph *graph, int64_t rows, int behind) {
  int64_t sizes[MAX_RANK] = {rows};
  for (int i = 1; i <= behind; i++) sizes[i] = 1;
  Knob knob = {.layer = number, .kind = KNOB_SHIFT};
  return add_input(s, graph, knob, 1 + behind, sizes);
}

static Value *add_weights(Student *s, int number, Node *node) {
  const Value *w = operand(node, 1);
  const Data *data = value_data(w);
  int64_t sizes[MAX_RANK], count = type_static_count(w->type);
  for (int i = 0; i < w->type->rank; i++) sizes[i] = w->type->dims[i]->value;
  Knob knob = {.layer = number, .geometry = layer_of(node)};
  Value *input = add_input(s, node->graph, knob, w->type->rank, sizes);
  if (!input) return NULL;
  float *now = s->knobs[s->knob_count - 1].now.data;
  for (int64_t i = 0; i < count; i++) now[i] = (float)data_get(data, i);
  return input;
}

/* All that use y use `by` instead, which was made of it. */
static void redirect(Use *const *uses, int count, Value *by) {
  for (int i = 0; i < count; i++) operand_set(uses[i]->node, (int)(uses[i] - uses[i]->node->operands), by);
}

/* What is added to y, along its channels' axis. */
static bool shift(Student *s, int number, Value *y, int axis) {
  int count = 0;
  Use **uses = NEW_ARRAY(s->arena, Use *, value_use_count(y));
  FOR_EACH_USE(use, y) uses[count++] = use;
  Value *by = add_shift(s, number, y->graph, y->type->dims[axis]->value, y->type->rank - 1 - axis);
  Builder builder = builder_before(y->def->next);
  Value *shifted = by ? build_binary(&builder, &op_add, y, by) : NULL;
  TRY(shifted);
  redirect(uses, count, shifted);
  return true;
}

static bool add_knobs(Student *s, Node *const *layers) {
  const Pruner *pruner = s->pruner;
  for (int i = 0; i < pruner->plan.layer_count; i++) {
    const Layer now = layer_of(layers[i]);
    Node *node = layers[i];
    Value *w = add_weights(s, i, node), *addend = NULL;
    if (now.is_inner) addend = add_shift(s, i, node->graph, now.rows, 0);
    Builder builder = builder_before(node);
    TRY(w && (addend || !now.is_inner) && layer_rebuild(&builder, &node, w, addend));
    Value *y = result(node, 0);
    if (pruner->layers[i].has_bias && !now.is_inner)
      TRY(shift(s, i, y, now.is_conv ? now.window.channel_axis : y->type->rank - 1));
  }
  return true;
}

/* ---- the distance ---- */

static Value *binary(Builder *b, const Op *op, Value *x, Value *y) {
  return x && y ? build_binary(b, op, x, y) : NULL;
}

static Value *scaled(Builder *b, Value *x, double by) {
  return x ? binary(b, &op_mul, x, build_scalar(b, DTYPE_F32, by)) : NULL;
}

static Value *sum_of(Builder *b, Value *x) {
  int64_t axes[MAX_RANK];
  for (int i = 0; x && i < x->type->rank; i++) axes[i] = i;
  x = x ? build_reduce(b, &op_reduce_sum, x, axes, x->type->rank) : NULL;
  return x ? build_reshape(b, x, 0, NULL) : NULL;
}

static Value *softmax(Builder *b, Value *x, int axis) {
  Node *node = node_new(b, &op_softmax, &x, 1);
  node_set_int(node, "axis", axis);
  return node_finish(node) ? result(node, 0) : NULL;
}

/* log(p + least), so that nothing is infinite. */
static Value *logarithm(Builder *b, Value *p) {
  Value *x = p ? binary(b, &op_add, p, build_scalar(b, DTYPE_F32, 1e-20)) : NULL;
  return x ? build_unary(b, &op_log, x) : NULL;
}

/* sum p (log p - log q) over classes, in the mean of all rows, at a temperature: without one there is little
 * to learn but the likeliest class. */
static Value *divergence(Builder *b, const End *end, Value *target) {
  const double temperature = 2;
  Value *x = scaled(b, target, 1 / temperature), *y = scaled(b, end->value, 1 / temperature);
  Value *p = x ? softmax(b, x, end->axis) : NULL, *q = y ? softmax(b, y, end->axis) : NULL;
  Value *off = binary(b, &op_sub, logarithm(b, p), logarithm(b, q));
  double rows = (double)type_static_count(target->type) / (double)target->type->dims[end->axis]->value;
  return scaled(b, sum_of(b, binary(b, &op_mul, p, off)), temperature * temperature / rows);
}

static Value *square_distance(Builder *b, const End *end, Value *target, int batch) {
  Value *off = binary(b, &op_sub, end->value, target);
  return scaled(b, sum_of(b, binary(b, &op_mul, off, off)),
                1 / ((end->squares > 0 ? end->squares : 1) * batch));
}

/* The graph gives the distance, nothing else. Its inputs become more by the targets. */
static bool build_distance(Student *s, Graph *graph) {
  Builder builder = builder_at_end(graph);
  Value *distance = NULL;
  find_ends(s, graph);
  for (int e = 0; e < s->end_count; e++) {
    const End *end = &s->ends[e];
    const char *name = arena_printf(graph->module->arena, "target %d", e);
    Value *target = graph_add_input(graph, name, end->value->type);
    Value *more = end->is_softmax && type_static_count(target->type) > 0
                      ? divergence(&builder, end, target)
                      : square_distance(&builder, end, target, s->batch);
    distance = e ? binary(&builder, &op_add, distance, more) : more;
  }
  return distance && graph_set_outputs(graph, 1, &distance, (const char *[]){"distance"});
}

/* And the gradients of all knobs. */
static bool add_gradients(Student *s, Graph *graph) {
  Builder builder = builder_before(graph->last);
  Value **values = NEW_ARRAY(s->arena, Value *, s->knob_count + 1),
        **knobs = graph->inputs + graph->input_count - s->end_count - s->knob_count;
  const char **names = NEW_ARRAY(s->arena, const char *, s->knob_count + 1);
  values[0] = graph_output(graph, 0);
  for (int i = 0; i <= s->knob_count; i++) names[i] = arena_printf(graph->module->arena, "gradient %d", i);
  return build_gradients(&builder, values[0], s->knob_count, knobs, knobs, values + 1) &&
         graph_set_outputs(graph, s->knob_count + 1, values, names);
}

/* The learner, before it has gradients; Diags go where its own go. */
static void copy_to_judge(Student *s) {
  observer_copy(&s->judge, s->learner.copy, s->learner.options);
  s->judge.module = s->learner.module;
}

/* False when something on the way has no gradient: the Diags are in the copy. */
static bool open_learner(Student *s) {
  const Plan *plan = &s->pruner->plan;
  Node **layers = NEW_ARRAY(s->arena, Node *, plan->layer_count);
  observer_copy(&s->learner, plan->graph, plan->options);
  s->learner.output_count = 0;
  Graph *copy = s->learner.copy;
  pruner_find(s->pruner, copy, layers);
  TRY(pruner_apply(s->pruner, copy, layers) && graph_batch(copy, s->batch));
  s->knobs = NEW_ARRAY(s->arena, Knob, 2 * plan->layer_count);
  TRY(add_knobs(s, layers) && build_distance(s, copy));
  copy_to_judge(s);
  TRY(add_gradients(s, copy));
  Tensor *inputs = NEW_ARRAY(s->arena, Tensor, copy->input_count);
  memcpy(inputs, s->inputs, sizeof *inputs * (size_t)samples_of(s)->input_count);
  s->inputs = inputs;
  s->outputs = NEW_ARRAY(s->arena, Tensor, s->knob_count + 1);
  TRY(observer_build(&s->judge, NULL, 0)); /* first: the learner has their constants, and drops them */
  TRY(observer_build(&s->learner, NULL, 0));
  observer_spread(&s->judge);
  observer_spread(&s->learner);
  return true;
}

/* ---- runs ---- */

/* outputs: as many as the observer has; the first is the distance. */
static bool run(Student *s, Observer *observer, const Mixture *mixtures, Tensor *outputs, double *distance) {
  int given = samples_of(s)->input_count;
  TRY(load(s, mixtures) && observer_run(&s->teacher, s->inputs, s->shown));
  for (int i = 0; i < s->knob_count; i++) s->inputs[given + i] = s->knobs[i].now;
  for (int e = 0; e < s->end_count; e++) s->inputs[given + s->knob_count + e] = s->shown[s->output_count + e];
  bool ok = observer_run(observer, s->inputs, outputs);
  seen_free(s->shown, s->output_count + s->end_count);
  if (ok) *distance = *(const float *)outputs[0].data;
  return ok;
}

bool student_judge(Student *s, const Mixture *mixtures, double *distance) {
  Tensor output;
  TRY(run(s, &s->judge, mixtures, &output, distance));
  tensor_free(&output);
  return true;
}

bool student_run(Student *s, const Mixture *mixtures, double *distance) {
  return run(s, &s->learner, mixtures, s->outputs, distance);
}

const float *student_gradient(const Student *s, int knob) {
  return s->outputs[1 + knob].data;
}

void student_forget(Student *s) {
  seen_free(s->outputs, s->knob_count + 1);
}

/* The mean of the squares of what the original gives, over some batches. */
static bool find_squares(Student *s) {
  enum { BATCHES = 16 };
  int count = samples_of(s)->count, batches = count / s->batch < BATCHES ? count / s->batch : BATCHES;
  Mixture *mixtures = NEW_ARRAY(s->arena, Mixture, s->batch);
  for (int b = 0; b < batches; b++) {
    for (int k = 0; k < s->batch; k++)
      mixtures[k] = (Mixture){.a = (int)((int64_t)(b * s->batch + k) * count / (batches * s->batch))};
    TRY(load(s, mixtures) && observer_run(&s->teacher, s->inputs, s->shown));
    for (int e = 0; e < s->end_count; e++) {
      const Tensor *end = &s->shown[s->output_count + e];
      for (int64_t i = 0; i < tensor_count(end); i++)
        s->ends[e].squares += pow(((const float *)end->data)[i], 2) / (batches * s->batch);
    }
    seen_free(s->shown, s->output_count + s->end_count);
  }
  return true;
}

/* ---- opening, closing ---- */

static const Diag *diag_of(const Observer *observer) {
  return observer->copy ? observer->copy->module->diags : NULL;
}

static const char *why_none(const Student *s) {
  const Diag *diag = diag_of(&s->learner) ? diag_of(&s->learner) : diag_of(&s->judge);
  return diag ? diag->text : "there is no gradient";
}

bool student_open(Student *s, Pruner *pruner, int batch, const char **why) {
  Graph *graph = pruner->plan.graph;
  Arena *arena = arena_new();
  *s = (Student){.pruner = pruner, .arena = arena, .batch = batch, .output_count = graph->output_count};
  s->ends = NEW_ARRAY(arena, End, graph->output_count);
  s->shown = NEW_ARRAY(arena, Tensor, 2 * graph->output_count);
  s->inputs = NEW_ARRAY(arena, Tensor, samples_of(s)->input_count);
  while (s->batch > 1 && s->batch > samples_of(s)->count / 8) s->batch /= 2;
  Diag *last = graph->module->last_diag;
  TRY(find_batch(s));
  diags_take_back(graph->module, last);
  *why = s->end_count == 0 ? "no output is f32" : NULL;
  if (*why) return true;
  TRY(find_squares(s));
  if (!open_learner(s)) *why = arena_printf(graph->module->arena, "%s", why_none(s));
  diags_take_back(graph->module, last);
  return true;
}

void student_close(Student *s) {
  for (int i = 0; i < samples_of(s)->input_count; i++) tensor_free(&s->inputs[i]);
  for (int i = 0; i < s->knob_count; i++) tensor_free(&s->knobs[i].now);
  observer_close(&s->teacher);
  observer_close(&s->judge);
  observer_close(&s->learner);
  arena_free(s->arena);
}

/* ---- what became of it ---- */

void student_keep(const Student *s, float *const *numbers) {
  for (int n = 0; n < s->knob_count; n++) {
    const Knob *knob = &s->knobs[n];
    const Kept *kept = &knob->kept;
    Thinning *thinning = &s->pruner->layers[knob->layer];
    pruner_hold(s->pruner, knob->layer);
    int64_t k = s->pruner->plan.layers[knob->layer].k;
    for (int row = 0; row < kept->row_count; row++)
      if (knob->kind == KNOB_SHIFT)
        thinning->bias[kept->rows[row]] += numbers[n][row];
      else
        for (int j = 0; j < kept->column_count; j++)
          thinning->weights[kept->rows[row] * k + kept->columns[j]] =
              numbers[n][layer_index(&knob->geometry, row, j)];
  }
}
