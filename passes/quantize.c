/*
 * quantize.c -- products of floats become products of narrower numbers, as far as that is worth it.
 *
 * Before: conv, gemm and matmul of floats with constant weights; where x stays in floats also gathers from
 * such. After: the same on what a table says of each precision (schemes). With int8 their operands are
 * dequantize(quantize(x)) and dequantize(constant), which `integers` makes integer products of: x is u8 with
 * one step and zero point, found by running the graph on samples (calibrate.c); weights are i8 with a step
 * per channel of the result; a constant bias is i32 in units of both steps, and takes in the mean error of
 * the rounded weights. Between convolutions whatever reads x reads the integers.
 *
 * Products for which it is not worth it stay as they are (worth.c). Does nothing without
 * PassOptions.quantization, whose ledger it fills in.
 */
#include "passes/quantize.h"
#include "passes/rewrite.h"

#include <math.h>
#include <stdlib.h>

/* ---- what a layer reads ---- */

/* An activation as it is read at some precision: `floats` of it for all that wants floats; `narrow` for the
 * product, which is the same unless the product takes narrower numbers. */
typedef struct Narrow {
  Value *narrow, *floats;
} Narrow;

static Narrow dequantized(Builder *builder, Value *q, Value *step, Value *zero) {
  Value *x = q ? build_op(builder, &op_dequantize, (Value *[]){q, step, zero}, 3) : NULL;
  return (Narrow){x, x};
}

static Narrow static_bytes(Builder *builder, const Activation *activation, Value *x) {
  const Affine *affine = &activation->affine;
  Value *step = build_scalar(builder, DTYPE_F32, affine->step);
  Value *zero = build_scalar(builder, DTYPE_U8, affine->zero);
  if (activation->offset != 0)
    x = build_binary(builder, &op_sub, x, build_scalar(builder, DTYPE_F32, activation->offset));
  return dequantized(builder, build_quantize(builder, x, step, zero, DTYPE_U8), step, zero);
}

static Narrow dynamic_bytes(Builder *builder, const Activation *activation, Value *x) {
  (void)activation;
  Value *step = NULL, *zero = NULL, *q = build_dynamic_quantize(builder, x, &step, &zero);
  return dequantized(builder, q, step, zero);
}

static Narrow as_it_is(Builder *builder, const Activation *activation, Value *x) {
  (void)builder, (void)activation;
  return (Narrow){x, x};
}

static Narrow halves(Builder *builder, const Activation *activation, Value *x) {
  (void)activation;
  Value *narrow = build_cast(builder, x, DTYPE_BF16);
  return (Narrow){narrow, narrow ? build_cast(builder, narrow, DTYPE_F32) : NULL};
}

/* ---- weights ---- */

static Value *integer_weights(Builder *builder, const Layer *layer, Value *w) {
  Module *module = builder->graph->module;
  Data *q = data_new(module, DTYPE_I8, layer->rows * layer->k),
       *step = data_new(module, DTYPE_F32, layer->rows);
  int64_t inner = layer->inner, rows = layer->rows;
  int8_t *bytes = data_bytes(q);
  for (int64_t i = 0; i < rows * layer->k; i++)
    bytes[i] = layer->q[i / inner % rows * layer->k + i / (inner * rows) * inner + i % inner];
  for (int64_t row = 0; row < rows; row++) dtype_set(DTYPE_F32, data_bytes(step), row, layer->step[row]);
  q->name = value_data(w)->name;
  const Dim *dims[MAX_RANK] = {dim_const(module, rows)};
  for (int i = 1; i <= layer->behind; i++) dims[i] = dim_const(module, 1);
  Value *integers = build_const(builder, type_with_dtype(module, w->type, DTYPE_I8), q, w->name);
  Value *steps = build_const(builder, type_make(module, DTYPE_F32, layer->behind + 1, dims), step, NULL);
  return integers && steps ? build_op(builder, &op_dequantize, (Value *[]){integers, steps, NULL}, 3) : NULL;
}

/* As [rows, blocks, group], each block with its step: what rules/blocks.c looks for. */
static Value *block_weights(Builder *builder, const Layer *layer, Dtype dtype, const Value *w) {
  Module *module = builder->graph->module;
  int64_t blocks = layer->k / layer->group, count = layer->rows * layer->k, steps = layer->rows * blocks;
  Data *q = data_new(module, dtype, count), *step = data_new(module, DTYPE_F16, steps);
  for (int64_t i = 0; i < count; i++) dtype_set_int(dtype, data_bytes(q), i, layer->q[i]);
  for (int64_t i = 0; i < steps; i++) dtype_set(DTYPE_F16, data_bytes(step), i, layer->step[i]);
  q->name = value_data(w)->name;
  Value *integers = build_const(
      builder, type_static(module, dtype, 3, (int64_t[]){layer->rows, blocks, layer->group}), q, w->name);
  Value *scale = build_const(builder, type_static(module, DTYPE_F16, 3, (int64_t[]){layer->rows, blocks, 1}),
                             step, NULL);
  scale = scale ? build_cast(builder, scale, DTYPE_F32) : NULL;
  Value *x =
      integers && scale ? build_op(builder, &op_dequantize, (Value *[]){integers, scale, NULL}, 3) : NULL;
  const Dim *dims[] = {dim_const(module, layer->rows), dim_const(module, layer->k)};
  x = x ? build_reshape(builder, x, 2, dims) : NULL;
  return x && layer->behind == 0 ? build_transpose(builder, x, (int64_t[]){1, 0}) : x;
}

static Value *weights_of_8(Builder *builder, const Layer *layer, Value *w) {
  return block_weights(builder, layer, DTYPE_I8, w);
}

static Value *weights_of_4(Builder *builder, const Layer *layer, Value *w) {
  return block_weights(builder, layer, DTYPE_I4, w);
}

static Value *half_weights(Builder *builder, const Layer *layer, Value *w) {
  (void)layer;
  return build_cast(builder, w, DTYPE_BF16);
}

/* ---- biases ---- */

/* Of a constant of one number for each row, or of nothing: the layer's shift. */
static bool can_shift(const Layer *layer, const Value *bias) {
  return (bias || layer->shift) && layer_takes_bias(layer, bias);
}

static double shifted(const Layer *layer, const Value *bias, int64_t row) {
  return (bias ? data_get(value_data(bias), row) : 0) + (layer->shift ? layer->shift[row] : 0);
}

/* In units of both steps. */
static Value *integer_bias(Builder *builder, const Plan *plan, const Layer *layer, Value *bias) {
  Module *module = builder->graph->module;
  if (!can_shift(layer, bias)) return bias;
  const Type *type = type_static(module, DTYPE_F32, 1, &layer->rows);
  Data *q = data_new(module, DTYPE_I32, layer->rows), *step = data_new(module, DTYPE_F32, layer->rows);
  double x_step = plan->activations[layer->activation].affine.step;
  for (int64_t row = 0; row < layer->rows; row++) {
    float unit = (float)(x_step * layer->step[row]);
    double whole = fmax(fmin(rint(shifted(layer, bias, row) / unit), INT32_MAX / 2), INT32_MIN / 2);
    dtype_set(DTYPE_F32, data_bytes(step), row, unit);
    dtype_set_int(DTYPE_I32, data_bytes(q), row, (int64_t)whole);
  }
  Value *integers =
      build_const(builder, type_with_dtype(module, type, DTYPE_I32), q, bias ? bias->name : NULL);
  Value *steps = build_const(builder, type, step, NULL);
  return integers && steps ? build_op(builder, &op_dequantize, (Value *[]){integers, steps, NULL}, 3) : NULL;
}

static Value *float_bias(Builder *builder, const Plan *plan, const Layer *layer, Value *bias) {
  (void)plan;
  Module *module = builder->graph->module;
  if (!can_shift(layer, bias)) return bias;
  Data *data = data_new(module, DTYPE_F32, layer->rows);
  for (int64_t row = 0; row < layer->rows; row++)
    dtype_set(DTYPE_F32, data_bytes(data), row, shifted(layer, bias, row));
  return build_const(builder, type_static(module, DTYPE_F32, 1, &layer->rows), data,
                     bias ? bias->name : NULL);
}

static Value *same_bias(Builder *builder, const Plan *plan, const Layer *layer, Value *bias) {
  (void)builder, (void)plan, (void)layer;
  return bias;
}

/* ---- precisions ---- */

/* Why a layer cannot have the precision; NULL: it can. */
static const char *anything(const Layer *layer) {
  (void)layer;
  return NULL;
}

static const char *blocks_only(const Layer *layer) {
  enum { FEWEST = 1 << 14, WORD = 8 }; /* as rules/blocks.c */
  if (node_is(layer->node, &op_conv)) return "no kernel";
  if (layer->rows * layer->k < FEWEST) return "small";
  return layer->k % WORD ? "no kernel" : NULL;
}

/* How a layer is written in the graph. */
typedef struct Scheme {
  const char *name;
  const char *(*refuses)(const Layer *layer);
  Narrow (*activation)(Builder *builder, const Activation *activation, Value *x);
  Value *(*weights)(Builder *builder, const Layer *layer, Value *w);
  Value *(*bias)(Builder *builder, const Plan *plan, const Layer *layer, Value *bias);
  bool wide;      /* narrow floats with sums in f32 */
  bool is_shared; /* what else reads an image reads this, so that the floats are not stored */
  double weight_bytes, step_bytes;
} Scheme;

static const Scheme schemes[PRECISION_COUNT] = {
    [PRECISION_F32] = {.name = "f32", .weight_bytes = 4},
    [PRECISION_BF16] = {"bf16", anything, halves, half_weights, same_bias, .wide = true, .is_shared = true,
                        .weight_bytes = 2},
    [PRECISION_INT8] = {"int8", anything, static_bytes, integer_weights, integer_bias, .is_shared = true,
                        .weight_bytes = 1, .step_bytes = 4},
    [PRECISION_DYNAMIC] = {"dynamic", anything, dynamic_bytes, integer_weights, float_bias, .weight_bytes = 1,
                           .step_bytes = 4},
    [PRECISION_W8] = {"w8", blocks_only, as_it_is, weights_of_8, float_bias, .weight_bytes = 1,
                      .step_bytes = 2},
    [PRECISION_W4] = {"w4", blocks_only, as_it_is, weights_of_4, float_bias, .weight_bytes = 0.5,
                      .step_bytes = 2},
};

const char *precision_name(Precision precision) {
  return schemes[precision].name;
}

int64_t layer_bytes(const Layer *layer) {
  const Scheme *scheme = &schemes[layer->row->precision];
  double weights = (double)(layer->rows * layer->k), steps = weights / (double)layer->group;
  return (int64_t)(scheme->weight_bytes * weights + scheme->step_bytes * steps);
}

static void refuse_layers(Plan *plan) {
  for (int i = 0; i < plan->layer_count; i++) {
    LedgerRow *row = plan->layers[i].row;
    row->reason = schemes[row->precision].refuses(&plan->layers[i]);
    if (row->reason) row->precision = PRECISION_F32;
  }
}

/* ---- rewriting ---- */

/* A graph that is rewritten. */
typedef struct Application {
  const Plan *plan;
  Node **layers; /* the plan's, there */
  Value **activations;
  Narrow *narrow;  /* [activation * PRECISION_COUNT + precision]; NULL: not built yet */
  bool *is_shared; /* by activation */
  bool is_beside;  /* what is narrow is built beside what is there */
} Application;

static Application find_in(const Plan *plan, const Graph *graph) {
  Arena *arena = graph->module->arena;
  int layers = plan->layer_count, activations = plan->activation_count, all = layers + activations;
  Value **sources = NEW_ARRAY(arena, Value *, all), **found = NEW_ARRAY(arena, Value *, all);
  Application a = {.plan = plan,
                   .layers = NEW_ARRAY(arena, Node *, layers),
                   .activations = found + layers,
                   .narrow = NEW_ARRAY(arena, Narrow, activations * PRECISION_COUNT),
                   .is_shared = NEW_ARRAY(arena, bool, activations)};
  for (int i = 0; i < all; i++)
    sources[i] = i < layers ? result(plan->layers[i].node, 0) : plan->activations[i - layers].value;
  values_in_copy(plan->graph, sources, all, graph, found);
  for (int i = 0; i < layers; i++) a.layers[i] = found[i]->def;
  return a;
}

static bool is_layer(const Application *a, const Node *node) {
  for (int i = 0; i < a->plan->layer_count; i++)
    if (a->layers[i] == node) return true;
  return false;
}

/* The uses of a value by what is no layer; *count gets their number. */
static Use **other_uses(const Application *a, const Value *value, int *count) {
  Use **uses = NEW_ARRAY(value->graph->module->arena, Use *, value_use_count(value));
  *count = 0;
  FOR_EACH_USE(use, value)
  if (!is_layer(a, use->node) && !node_is(use->node, &op_return)) uses[(*count)++] = use;
  return uses;
}

/* The activation as layers of the precision read it. */
static const Narrow *narrow_activation(Application *a, int index, Precision precision) {
  const Activation *activation = &a->plan->activations[index];
  const Scheme *scheme = &schemes[precision];
  Value *x = a->activations[index];
  Narrow *narrow = &a->narrow[index * PRECISION_COUNT + (int)precision];
  if (narrow->narrow) return narrow;
  bool shares = scheme->is_shared && activation->is_image && !a->is_shared[index] && !a->is_beside;
  int count = 0;
  Use **uses = shares ? other_uses(a, x, &count) : NULL;
  Graph *graph = x->graph;
  Builder builder = {graph, x->def ? x->def->next : graph->first,
                     a->plan->layers[activation->layer].row->name};
  *narrow = scheme->activation(&builder, activation, x);
  if (!narrow->narrow || !narrow->floats) return NULL;
  for (int i = 0; i < count; i++)
    operand_set(uses[i]->node, (int)(uses[i] - uses[i]->node->operands), narrow->floats);
  a->is_shared[index] |= shares;
  return narrow;
}

/* A gather from other rows, which may be of narrow floats, or a product of other operands, not finished; NULL
 * with a Diag. */
static Node *narrow_node(Application *a, const Layer *layer, Node *old) {
  const Scheme *scheme = &schemes[layer->row->precision];
  Builder builder = builder_before(old);
  bool is_table = layer->activation < 0;
  Value *w = scheme->weights(&builder, layer, operand(old, is_table ? 0 : 1));
  if (!w) return NULL;
  if (is_table) return node_like(&builder, old, (Value *[]){w, operand(old, 1)});
  const Narrow *x = narrow_activation(a, layer->activation, layer->row->precision);
  Value *bias = scheme->bias(&builder, a->plan, layer, operand(old, 2));
  if (!x) return NULL;
  Node *node = node_like_on(&builder, old, (Value *[]){x->narrow, w, bias}, bias ? 3 : 2);
  if (scheme->wide) node_set_bool(node, "wide", true);
  return node;
}

/* What it gives, in the floats of before; NULL with a Diag. */
static Value *narrow_result(Application *a, const Layer *layer, Node *old) {
  Node *node = narrow_node(a, layer, old);
  Builder builder = builder_before(old);
  return node && node_finish(node) ? build_cast(&builder, result(node, 0), result(old, 0)->type->dtype)
                                   : NULL;
}

static bool narrow_layer(Application *a, int index) {
  const Plan *plan = a->plan;
  Node *old = a->layers[index];
  Value *before = result(old, 0), *after = narrow_result(a, &plan->layers[index], old);
  TRY(after);
  for (int i = 0; i < plan->activation_count; i++)
    if (a->activations[i] == before) a->activations[i] = after;
  a->layers[index] = after->def;
  node_replace(old, after);
  return true;
}

/* In the order of the graph, so that what a layer reads has been rewritten before. */
static bool plan_apply(const Plan *plan, Graph *graph) {
  Application a = find_in(plan, graph);
  for (int i = 0; i < plan->layer_count; i++)
    if (plan->layers[i].row->precision != PRECISION_F32) TRY(narrow_layer(&a, i));
  for (int i = 0; i < plan->activation_count; i++) {
    Precision precision = plan->layers[plan->activations[i].layer].row->precision;
    if (!plan->activations[i].is_read && schemes[precision].is_shared)
      TRY(narrow_activation(&a, i, precision));
  }
  graph_sweep(graph);
  return true;
}

bool plan_build_errors(const Plan *plan, Graph *graph, Value **errors) {
  Application a = find_in(plan, graph);
  a.is_beside = true;
  for (int i = 0; i < plan->layer_count; i++) {
    errors[i] = NULL;
    if (plan->layers[i].row->precision == PRECISION_F32) continue;
    Node *old = a.layers[i];
    Value *narrow = narrow_result(&a, &plan->layers[i], old);
    TRY(narrow);
    Builder builder = builder_before(old->next);
    errors[i] = build_binary(&builder, &op_sub, narrow, result(old, 0));
    TRY(errors[i]);
  }
  return true;
}

/* ---- equalization ---- */

/* A graph whose products are those of `seen`, which has been calibrated. */
typedef struct Ranges {
  const Plan *plan, *seen;
} Ranges;

static bool channels_of(const void *context, const Node *product, Channels *channels) {
  const Ranges *ranges = context;
  int i = 0;
  while (i < ranges->plan->layer_count && ranges->plan->layers[i].node != product) i++;
  if (i == ranges->plan->layer_count) return false;
  const Activation *x = &ranges->seen->activations[ranges->seen->layers[i].activation];
  double most = fmax(x->seen.most, -x->seen.least);
  *channels = (Channels){x->absmax, x->squares, most > 0 ? (x->seen.most - x->seen.least) / most : 1};
  return x->count > 0;
}

static bool equalize(Plan *plan, const Plan *seen, Equalized *done) {
  Ranges ranges = {plan, seen};
  bool changed =
      graph_equalize(plan->graph, &(Equalizing){.channels = channels_of, .context = &ranges}, done);
  if (changed) plan_find(plan, plan->graph);
  return changed;
}

/* A plan without what takes long and changes little: what would it be worth? */
typedef struct Tryout {
  Plan plan;
  Quantization quantization;
  Samples seen, judged; /* ranges come from the ones, the others judge */
} Tryout;

/* Some of them, evenly spread. */
static Samples pick_samples(Arena *arena, const Samples *all, int first, int count) {
  enum { MOST = 32 };
  int inputs = all->input_count;
  Samples some = {.count = count < MOST ? count : MOST, .input_count = inputs};
  some.tensors = NEW_ARRAY(arena, Tensor, some.count * inputs);
  for (int i = 0; i < some.count * inputs; i++)
    some.tensors[i] = all->tensors[(first + i / inputs * count / some.count) * inputs + i % inputs];
  return some;
}

static void tryout_begin(Tryout *tryout, const Plan *plan, Graph *graph) {
  const Samples *all = plan->ledger->samples;
  Arena *arena = graph->module->arena;
  int last = (all->count + 3) / 4, first = all->count - last;
  *tryout = (Tryout){.plan = *plan, .quantization = *plan->quantization};
  tryout->plan.quantization = &tryout->quantization;
  tryout->plan.ledger = &tryout->quantization.ledger;
  tryout->quantization.recovery &= ~(unsigned)RECOVER_GPTQ;
  tryout->judged = pick_samples(arena, all, first, last);
  tryout->seen = first ? pick_samples(arena, all, 0, first) : tryout->judged;
  plan_find(&tryout->plan, graph);
}

/* Fills in its ledger's sqnr. `observed` is open. */
static bool tryout_run(Tryout *tryout) {
  Ledger *ledger = tryout->plan.ledger;
  ledger->samples = &tryout->seen;
  refuse_layers(&tryout->plan);
  TRY(plan_calibrate(&tryout->plan) && plan_round(&tryout->plan));
  ledger->samples = &tryout->judged;
  return plan_evaluate(&tryout->plan);
}

static bool tryout_run_equalized(Tryout *tryout, const Tryout *plain, bool *changed) {
  Equalized done;
  *changed = equalize(&tryout->plan, &plain->plan, &done);
  bool ok = !*changed || (plan_observe(&tryout->plan) && tryout_run(tryout));
  if (*changed) observer_close(&tryout->plan.observed);
  return ok;
}

/* Whether to equalize, tried on a copy. */
static bool compare_tryouts(Plan *plan, Module *own, bool *better) {
  Tryout plain, other;
  bool changed;
  tryout_begin(&plain, plan, plan->graph);
  tryout_begin(&other, plan, graph_clone(own, plan->graph, NULL));
  TRY(tryout_run(&plain) && tryout_run_equalized(&other, &plain, &changed));
  double before = plain.quantization.ledger.sqnr, after = other.quantization.ledger.sqnr;
  *better = changed && after > before;
  if (!changed)
    plan_note(plan, "equalized: nothing; there are no channels that differ much and can be scaled");
  else if (!*better)
    plan_note(plan, "equalized: nothing; it would change the outputs' SQNR from %.1f to %.1f dB", before,
              after);
  else
    plan_note(plan, "equalized: outputs SQNR %.1f -> %.1f dB, on %d samples that ranges were not taken from",
              before, after, plain.judged.count);
  return true;
}

/* Once it is known to help: by the ranges of the channels that all samples have. */
static bool equalize_if_better(Plan *plan) {
  Module *own = module_new(plan->graph->module->file);
  bool better = false, ok = diags_pass_on(own, plan->graph->module, compare_tryouts(plan, own, &better));
  module_free(own);
  if (!ok || !better) return ok;
  const Plan seen = *plan;
  Equalized done;
  equalize(plan, &seen, &done);
  plan_note(plan, "  %d products, %d norms, %d multiplications added; channels scaled by up to %.3g",
            done.products, done.norms, done.multiplied, done.largest);
  observer_close(&plan->observed);
  refuse_layers(plan);
  return plan_observe(plan) && plan_calibrate(plan);
}

static bool look(Plan *plan) {
  refuse_layers(plan);
  TRY(plan_observe(plan) && plan_calibrate(plan));
  if (plan->quantization->recovery & RECOVER_EQUALIZE) TRY(equalize_if_better(plan));
  return plan_round(plan);
}

static bool quantize(Graph *graph, const PassOptions *options) {
  Quantization *quantization = options->quantization;
  Plan plan = {
      .options = options, .quantization = quantization, .ledger = &quantization->ledger, .apply = plan_apply};
  plan_find(&plan, graph);
  if (plan.layer_count == 0)
    return fail(graph->module, "there is nothing to quantize: no conv, gemm or matmul with constant weights");
  bool ok = observer_open(&plan.original, graph, options, NULL, 0) && look(&plan);
  observer_close(&plan.observed);
  ok = ok && plan_judge(&plan);
  observer_close(&plan.original);
  return ok && plan_apply(&plan, graph);
}

bool pass_quantize(Graph *graph, const PassOptions *options) {
  if (!options->quantization || graph->owner) return false;
  quantize(graph, options);
  return true;
}
