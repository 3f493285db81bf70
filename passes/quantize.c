/*
 * quantize.c -- products of floats become products of integers, as far as that is worth it.
 *
 * Before: conv, gemm and matmul of floats with constant weights. After: their operands are
 * dequantize(quantize(x)) and dequantize(constant), which `integers` makes integer products of. x is u8 with
 * one step and zero point, found by running the graph on samples (calibrate.c); weights are i8 with a step
 * per channel of the result; a constant bias is i32 in units of both steps, and takes in the mean error of
 * the rounded weights. Between convolutions whatever reads x reads the integers.
 *
 * A product stays as it is when the cost model finds its integer form slower, and, with a bound on what may
 * be lost (Quantization.max_drop), when too much is lost with it: products with the worst signal-to-noise
 * ratio go back first, as few as it takes. Does nothing without PassOptions.quantization, whose ledger it
 * fills in.
 */
#include "passes/quantize.h"
#include "passes/rewrite.h"

#include <math.h>
#include <stdlib.h>

const char *const precision_names[PRECISION_COUNT] = {"f32", "bf16", "int8"};

/* ---- rewriting ---- */

static Builder builder_behind(const Value *value, const char *origin) {
  Graph *graph = value->graph;
  return (Builder){.graph = graph, .before = value->def ? value->def->next : graph->first, .origin = origin};
}

/* Whether the node, of a graph where the plan's layers are `nodes`, is to read integers. */
static bool reads_integers(const Plan *plan, Node *const *nodes, const Node *node, bool is_image) {
  for (int i = 0; i < plan->layer_count; i++)
    if (nodes[i] == node) return plan->layers[i].row->precision == PRECISION_INT8;
  return is_image && !node_is(node, &op_return);
}

static bool round_activation(const Plan *plan, const Activation *activation, Value *value,
                             Node *const *nodes) {
  const Affine *affine = &activation->affine;
  Builder builder = builder_behind(value, plan->layers[activation->layer].row->name);
  Value *step = build_scalar(&builder, DTYPE_F32, affine->step);
  Value *zero = build_scalar(&builder, DTYPE_U8, affine->zero);
  Node *quantize = node_new(&builder, &op_quantize, (Value *[]){value, step, zero}, 3);
  node_set_dtype(quantize, "to", DTYPE_U8);
  TRY(node_finish(quantize));
  Value *back = build_op(&builder, &op_dequantize, (Value *[]){result(quantize, 0), step, zero}, 3);
  TRY(back);
  for (Use *use = value->uses, *next; use; use = next) {
    next = use->next;
    if (use->node != quantize && reads_integers(plan, nodes, use->node, activation->is_image))
      operand_set(use->node, (int)(use - use->node->operands), back);
  }
  return true;
}

static Value *integer_weights(Builder *builder, const Layer *layer, const Value *w) {
  Module *module = builder->graph->module;
  Data *q = data_new(module, DTYPE_I8, layer->rows * layer->k),
       *step = data_new(module, DTYPE_F32, layer->rows);
  int64_t inner = layer->inner, rows = layer->rows;
  int8_t *bytes = data_bytes(q);
  for (int64_t i = 0; i < rows * layer->k; i++)
    bytes[i] = layer->q[i / inner % rows * layer->k + i / (inner * rows) * inner + i % inner];
  for (int64_t row = 0; row < rows; row++) dtype_set(DTYPE_F32, data_bytes(step), row, layer->step[row]);
  q->name = value_data(w)->name;
  const Dim *dims[MAX_RANK];
  dims[0] = dim_const(module, rows);
  for (int i = 1; i <= layer->behind; i++) dims[i] = dim_const(module, 1);
  Value *integers = build_const(builder, type_with_dtype(module, w->type, DTYPE_I8), q, w->name);
  Value *steps = build_const(builder, type_make(module, DTYPE_F32, layer->behind + 1, dims), step, NULL);
  return integers && steps ? build_op(builder, &op_dequantize, (Value *[]){integers, steps, NULL}, 3) : NULL;
}

/* The bias, if it is a constant of one number for each row, or there is none but a shift. */
static bool can_round_bias(const Layer *layer, const Value *bias) {
  if (!bias) return layer->shift && !node_is(layer->node, &op_matmul);
  return bias->type->rank == 1 && type_static_count(bias->type) == layer->rows && value_data(bias);
}

static Value *integer_bias(Builder *builder, const Plan *plan, const Layer *layer, const Value *bias) {
  Module *module = builder->graph->module;
  const Type *type = type_static(module, DTYPE_F32, 1, &layer->rows);
  Data *q = data_new(module, DTYPE_I32, layer->rows), *step = data_new(module, DTYPE_F32, layer->rows);
  double x_step = plan->activations[layer->activation].affine.step;
  for (int64_t row = 0; row < layer->rows; row++) {
    float unit = (float)(x_step * layer->step[row]);
    double sum = (bias ? data_get(value_data(bias), row) : 0) + (layer->shift ? layer->shift[row] : 0);
    double whole = fmax(fmin(rint(sum / unit), INT32_MAX / 2), INT32_MIN / 2);
    dtype_set(DTYPE_F32, data_bytes(step), row, unit);
    dtype_set_int(DTYPE_I32, data_bytes(q), row, (int64_t)whole);
  }
  Value *integers =
      build_const(builder, type_with_dtype(module, type, DTYPE_I32), q, bias ? bias->name : NULL);
  Value *steps = build_const(builder, type, step, NULL);
  return integers && steps ? build_op(builder, &op_dequantize, (Value *[]){integers, steps, NULL}, 3) : NULL;
}

/* The layer as `node` of some graph, with integers; NULL with a Diag. */
static Node *round_layer(const Plan *plan, const Layer *layer, Node *node) {
  Builder builder = builder_before(node);
  Value *bias = operand(node, 2), *w = integer_weights(&builder, layer, operand(node, 1));
  if (can_round_bias(layer, bias)) bias = integer_bias(&builder, plan, layer, bias);
  Node *rounded =
      w ? node_like_on(&builder, node, (Value *[]){operand(node, 0), w, bias}, bias ? 3 : 2) : NULL;
  if (!rounded || !node_finish(rounded)) return NULL;
  node_replace(node, result(rounded, 0));
  return rounded;
}

typedef struct Application {
  const Plan *plan;
  Node **layers; /* of the graph that is rewritten */
  Value **activations;
} Application;

static bool apply_layer(Application *a, int index) {
  const Plan *plan = a->plan;
  Value *old = result(a->layers[index], 0);
  Node *rounded = round_layer(plan, &plan->layers[index], a->layers[index]);
  TRY(rounded);
  a->layers[index] = rounded;
  for (int i = 0; i < plan->activation_count; i++)
    if (a->activations[i] == old) a->activations[i] = result(rounded, 0);
  return true;
}

static Application find_in(const Plan *plan, const Graph *graph) {
  Arena *arena = graph->module->arena;
  int layers = plan->layer_count, all = layers + plan->activation_count;
  Value **sources = NEW_ARRAY(arena, Value *, all), **found = NEW_ARRAY(arena, Value *, all);
  Application a = {plan, NEW_ARRAY(arena, Node *, layers), found + layers};
  for (int i = 0; i < all; i++)
    sources[i] = i < layers ? result(plan->layers[i].node, 0) : plan->activations[i - layers].value;
  values_in_copy(plan->graph, sources, all, graph, found);
  for (int i = 0; i < layers; i++) a.layers[i] = found[i]->def;
  return a;
}

bool plan_apply(const Plan *plan, Graph *graph, Node **layers) {
  Application a = find_in(plan, graph);
  for (int i = 0; i < plan->layer_count; i++)
    if (plan->layers[i].row->precision == PRECISION_INT8) TRY(apply_layer(&a, i));
  for (int i = 0; i < plan->activation_count; i++)
    if (activation_is_rounded(plan, &plan->activations[i]))
      TRY(round_activation(plan, &plan->activations[i], a.activations[i], a.layers));
  for (int i = 0; layers && i < plan->layer_count; i++) layers[i] = a.layers[i];
  graph_sweep(graph);
  return true;
}

/* ---- what is worth it ---- */

/* Layers that are slower with integers go back; whether there were any. */
static bool give_back_slow(Plan *plan) {
  bool changed = false, measured = plan->quantization->times_decide;
  for (int i = 0; i < plan->layer_count; i++) {
    LedgerRow *row = plan->layers[i].row;
    double before = measured ? row->measured_before : row->predicted_before;
    double after = measured ? row->measured_after : row->predicted_after;
    if (row->precision == PRECISION_F32 || after <= before) continue;
    row->precision = PRECISION_F32;
    row->reason = "slower";
    changed = true;
  }
  return changed;
}

static bool choose_by_time(Plan *plan) {
  TRY(plan_predict(plan));
  return !give_back_slow(plan) || plan_predict(plan);
}

static int compare_rows(const void *a, const void *b) {
  double x = (*(LedgerRow *const *)a)->sqnr, y = (*(LedgerRow *const *)b)->sqnr;
  return (x > y) - (x < y);
}

/* Those that are not f32, the worst first. */
static LedgerRow **sensitive_rows(const Plan *plan, int *count) {
  LedgerRow **rows = NEW_ARRAY(plan->graph->module->arena, LedgerRow *, plan->layer_count);
  *count = 0;
  for (int i = 0; i < plan->layer_count; i++)
    if (plan->layers[i].row->precision != PRECISION_F32) rows[(*count)++] = plan->layers[i].row;
  qsort(rows, (size_t)*count, sizeof *rows, compare_rows);
  return rows;
}

static bool holds(const Quantization *quantization) {
  return quantization->before - quantization->after <= quantization->max_drop;
}

static void give_back(LedgerRow **rows, int count, int given, Precision precision) {
  for (int i = 0; i < count; i++) {
    rows[i]->precision = i < given ? PRECISION_F32 : precision;
    rows[i]->reason = i < given ? "sensitive" : NULL;
  }
}

/* The least number of the worst layers that have to go back, by bisection. */
static bool choose_by_loss(Plan *plan) {
  Quantization *quantization = plan->quantization;
  int count, low = 0, high;
  if (quantization->max_drop < 0 || holds(quantization)) return true;
  LedgerRow **rows = sensitive_rows(plan, &count);
  double most = quantization->before - quantization->after;
  for (high = count; low + 1 < high;) {
    int given = low + (high - low) / 2;
    plan_report(plan, "finding what is lost where", count - (high - low), count);
    give_back(rows, count, given, quantization->precision);
    TRY(plan_evaluate(plan));
    if (holds(quantization))
      high = given;
    else
      low = given;
  }
  give_back(rows, count, high, quantization->precision);
  if (high == count)
    return fail(plan->graph->module,
                "no product can be %s: with the %d least sensitive of %d the drop is over %g %% (with all it "
                "is %g %%); "
                "give a larger --max-drop, or more or better samples",
                precision_names[quantization->precision], 1, count, 100 * quantization->max_drop, 100 * most);
  return plan_evaluate(plan);
}

static bool choose(Plan *plan) {
  return plan_open(plan) && plan_calibrate(plan) && choose_by_time(plan) && plan_compare_layers(plan) &&
         plan_evaluate(plan) && choose_by_loss(plan);
}

static bool quantize(Graph *graph, const PassOptions *options) {
  Plan plan;
  plan_find(&plan, graph, options);
  if (plan.layer_count == 0)
    return fail(graph->module, "there is nothing to quantize: no conv, gemm or matmul with constant weights");
  bool ok = choose(&plan);
  plan_close(&plan);
  return ok && plan_apply(&plan, graph, NULL);
}

bool pass_quantize(Graph *graph, const PassOptions *options) {
  if (!options->quantization || graph->owner) return false;
  quantize(graph, options);
  return true;
}
