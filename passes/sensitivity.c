/*
 * sensitivity.c -- what each layer costs if it alone is narrow.
 *
 * Two compiled copies of the graph. In one every layer is also computed narrowly, from what it reads in the
 * original, and the difference is shown: its error. The other has an input beside every layer, which is added
 * to its result. Errors of a layer put in there, and zeros elsewhere, show what the outputs are off by on its
 * account, with all that later layers do to it. Of a large graph, of which one sample is tried, only one of
 * the two is there at a time.
 */
#include "passes/quantize.h"
#include "passes/rewrite.h"

#include <math.h>
#include <stdlib.h>

typedef struct Sensitivity {
  Plan *plan;
  int *layers, count;      /* numbers of those that are narrow */
  Observer errors, adding; /* the copies */
  Tensor *shown;           /* [outputs + count]: of `errors` */
  Tensor *inputs;          /* [graph inputs + count]: of `adding` */
  Tensor *outputs;
  Noise *noises;   /* [count * parts] */
  double *squares; /* [count]: of the errors themselves */
} Sensitivity;

/* ---- the copies ---- */

static bool open_errors(Sensitivity *s) {
  Plan *plan = s->plan;
  Arena *arena = plan->graph->module->arena;
  Value **errors = NEW_ARRAY(arena, Value *, plan->layer_count),
        **values = NEW_ARRAY(arena, Value *, plan->layer_count);
  observer_copy(&s->errors, plan->graph, plan->options);
  TRY(diags_pass_on(s->errors.copy->module, plan->graph->module,
                    plan_build_errors(plan, s->errors.copy, errors)));
  for (int i = 0; i < plan->layer_count; i++) {
    if (!errors[i]) continue;
    values[s->count] = errors[i];
    s->layers[s->count++] = i;
  }
  return observer_build(&s->errors, values, s->count);
}

/* y becomes y + a new input. */
static bool add_input(Graph *graph, Value *y, int number) {
  Builder builder = builder_before(y->def->next);
  Value *error = graph_add_input(graph, arena_printf(graph->module->arena, "error %d", number), y->type);
  Value *sum = build_binary(&builder, &op_add, y, error);
  TRY(sum);
  for (Use *use = y->uses, *next; use; use = next) {
    next = use->next;
    if (use->node != sum->def) operand_set(use->node, (int)(use - use->node->operands), sum);
  }
  return true;
}

static bool open_adding(Sensitivity *s) {
  Plan *plan = s->plan;
  Arena *arena = plan->graph->module->arena;
  Value **results = NEW_ARRAY(arena, Value *, s->count), **found = NEW_ARRAY(arena, Value *, s->count);
  for (int i = 0; i < s->count; i++) results[i] = result(plan->layers[s->layers[i]].node, 0);
  observer_copy(&s->adding, plan->graph, plan->options);
  values_in_copy(plan->graph, results, s->count, s->adding.copy, found);
  for (int i = 0; i < s->count; i++) TRY(add_input(s->adding.copy, found[i], i));
  return observer_build(&s->adding, NULL, 0);
}

/* ---- the runs ---- */

/* Runs that take some ten seconds: fewer samples for larger graphs. */
static int sample_count(const Sensitivity *s) {
  const double work = 1.5e12;
  enum { MOST = 64 };
  double macs = 1;
  FOR_EACH_NODE(node, s->plan->graph) {
    const Dim *dim = node->op->macs ? node->op->macs(node) : NULL;
    macs += dim && dim_is_const(dim) ? (double)dim->value : 0;
  }
  double runs = work / macs / (s->count + 1);
  int count = runs < 1 ? 1 : runs > MOST ? MOST : (int)runs, given = s->plan->ledger->samples->count;
  return count < given ? count : given;
}

/* Shapes of the errors, elements from `zeros`. */
static bool make_inputs(Sensitivity *s, const Tensor *sample, void **zeros) {
  int given = s->plan->graph->input_count, outputs = s->plan->graph->output_count;
  size_t size = 1;
  for (int i = 0; i < s->count; i++) {
    size_t bytes = tensor_size(&s->shown[outputs + i]);
    size = bytes > size ? bytes : size;
  }
  *zeros = calloc(1, size);
  if (!*zeros) return fail(s->plan->graph->module, "no memory for %zu bytes of zeros", size);
  for (int i = 0; i < given; i++) s->inputs[i] = sample[i];
  for (int i = 0; i < s->count; i++) {
    s->inputs[given + i] = s->shown[outputs + i];
    s->inputs[given + i].data = *zeros;
  }
  return true;
}

static bool try_layers(Sensitivity *s, int sample, int samples) {
  int given = s->plan->graph->input_count, outputs = s->plan->graph->output_count;
  void *zeros = s->inputs[given].data;
  for (int i = 0; i < s->count; i++) {
    plan_report(s->plan, "trying layers", sample * s->count + i, samples * s->count);
    s->inputs[given + i].data = s->shown[outputs + i].data;
    TRY(observer_run(&s->adding, s->inputs, s->outputs));
    s->inputs[given + i].data = zeros;
    noises_add(s->plan, &s->noises[i * s->plan->part_count], s->shown, s->outputs);
    seen_free(s->outputs, outputs);
  }
  return true;
}

static void add_squares(Sensitivity *s) {
  for (int i = 0; i < s->count; i++) {
    const Tensor *error = &s->shown[s->plan->graph->output_count + i];
    for (int64_t k = 0, count = tensor_count(error); k < count; k++)
      s->squares[i] += number_at(error, k) * number_at(error, k);
  }
}

/* What the errors of a sample do to the outputs. */
static bool add_errors(Sensitivity *s, const Tensor *inputs, int sample, int samples) {
  void *zeros = NULL;
  if (sample + 1 == samples) observer_close(&s->errors);
  if (!s->adding.copy) TRY(open_adding(s));
  bool ok = make_inputs(s, inputs, &zeros) && try_layers(s, sample, samples);
  free(zeros);
  return ok;
}

/* The samples that are tried are evenly spread. */
static bool try_sample(Sensitivity *s, int sample, int samples, bool adds) {
  const Samples *all = s->plan->ledger->samples;
  const Tensor *inputs = &all->tensors[sample * all->count / samples * all->input_count];
  TRY(observer_run(&s->errors, inputs, s->shown));
  add_squares(s);
  bool ok = !adds || add_errors(s, inputs, sample, samples);
  seen_free(s->shown, s->plan->graph->output_count + s->count);
  return ok;
}

/* Room for what is seen. */
static void open_tensors(Sensitivity *s) {
  Arena *arena = s->plan->graph->module->arena;
  int outputs = s->plan->graph->output_count;
  s->shown = NEW_ARRAY(arena, Tensor, outputs + s->count);
  s->outputs = NEW_ARRAY(arena, Tensor, outputs);
  s->inputs = NEW_ARRAY(arena, Tensor, s->plan->graph->input_count + s->count);
  s->noises = NEW_ARRAY(arena, Noise, s->count * s->plan->part_count);
  s->squares = NEW_ARRAY(arena, double, s->count);
}

static bool run(Sensitivity *s, bool adds) {
  TRY(open_errors(s));
  if (s->count == 0) return true;
  open_tensors(s);
  for (int sample = 0, count = sample_count(s); sample < count; sample++)
    TRY(try_sample(s, sample, count, adds));
  return true;
}

static bool find(Sensitivity *s, Plan *plan, bool adds) {
  *s = (Sensitivity){.plan = plan, .layers = NEW_ARRAY(plan->graph->module->arena, int, plan->layer_count)};
  plan_report(plan, "compiling", 0, 1);
  bool ok = run(s, adds);
  observer_close(&s->errors);
  observer_close(&s->adding);
  return ok;
}

static void keep_noise(const Plan *plan, Layer *layer, const Noise *noises) {
  double most = 0;
  layer->noise = NEW_ARRAY(plan->graph->module->arena, double, plan->part_count);
  for (int p = 0; p < plan->part_count; p++) {
    layer->noise[p] = noise_share(&noises[p]);
    most = fmax(most, layer->noise[p]);
  }
  layer->row->sqnr = -10 * log10(most);
}

bool plan_find_sensitivity(Plan *plan) {
  Sensitivity s;
  TRY(find(&s, plan, true));
  for (int i = 0; i < s.count; i++) {
    Layer *layer = &plan->layers[s.layers[i]];
    keep_noise(plan, layer, &s.noises[i * plan->part_count]);
    layer->error = s.squares[i];
  }
  return true;
}

bool plan_find_errors(Plan *plan, double *errors) {
  Sensitivity s;
  TRY(find(&s, plan, false));
  for (int i = 0; i < s.count; i++) errors[s.layers[i]] = s.squares[i];
  return true;
}
