/*
 * layers.c -- what can be quantized in a graph: its products with constant weights, and the values between.
 */
#include "passes/quantize.h"
#include "passes/rewrite.h"

#include <string.h>

Precision plan_precision(const Plan *plan) {
  return plan->quantization ? plan->quantization->precision : PRECISION_F32;
}

static bool is_product(const Node *node) {
  return node_is(node, &op_conv) || node_is(node, &op_gemm) || node_is(node, &op_matmul);
}

/* Rows of a large table. */
static bool is_lookup(const Node *node) {
  enum { FEWEST = 1 << 14 };
  const Value *w = operand(node, 0);
  return node_is(node, &op_gather) && w->type->rank == 2 && w->type->dtype == DTYPE_F32 && value_data(w) &&
         !value_data(w)->splat && node_axis(node, "axis", 2) == 0 && type_static_count(w->type) >= FEWEST;
}

static bool is_transposed(const Node *node) {
  return node_is(node, &op_conv_transpose);
}

/* Groups of the product inside of it; 0: there is none. */
static int inner_groups(const Node *node) {
  InnerProduct inner;
  return node->op->inner && node->op->inner(node, NULL, &inner) ? inner.groups : 0;
}

/* Whether tables of it need nothing of what reads their rows. */
static bool has_tables(Precision precision) {
  return precision == PRECISION_BF16 || precision == PRECISION_W8 || precision == PRECISION_W4;
}

static bool is_layer(const Plan *plan, const Node *node) {
  if (is_lookup(node)) return has_tables(plan_precision(plan));
  bool is_pruned =
      !plan->quantization && (inner_groups(node) || (is_transposed(node) && node_int(node, "group") == 1));
  if (!(is_pruned || is_product(node)) || result(node, 0)->type->dtype != DTYPE_F32) return false;
  const Value *w = operand(node, 1);
  const Data *data = value_data(w);
  if (!data || data->splat || type_static_count(w->type) <= 0) return false;
  if (is_pruned) return true;
  if (node_is(node, &op_conv)) return !node_int(node, "packed") && w->type->rank >= 3;
  return w->type->rank == 2 && !node_int(node, "packed") &&
         !(node_is(node, &op_gemm) && node_bool(node, "trans_a"));
}

static bool is_conv(const Node *node) {
  return node_is(node, &op_conv) || is_transposed(node);
}

static int channel_axis(const Node *node) {
  int rank = operand(node, 1)->type->rank;
  if (is_conv(node)) return node_string_is(node, "layout", "nhwc") ? rank - 1 : is_transposed(node);
  return node_is(node, &op_gemm) && node_bool(node, "trans_b") ? 0 : 1;
}

static const char *kind_of(const Node *node) {
  Arena *arena = node->graph->module->arena;
  if (!is_conv(node)) return node->op->name;
  Window window = node_window(node);
  char *text = arena_printf(arena, is_transposed(node)          ? "transposed conv "
                                   : window.group == 1          ? "conv "
                                   : window.group_channels == 1 ? "depthwise "
                                                                : "grouped conv ");
  for (int i = 0; i < window.rank; i++)
    text = arena_printf(arena, "%s%s%lld", text, i ? "x" : "", (long long)window.kernel[i]);
  return text;
}

static bool has_origin(const Plan *plan, const char *origin) {
  for (int i = 0; i < plan->layer_count; i++)
    if (strcmp(plan->layers[i].node->origin, origin) == 0) return true;
  return false;
}

static void name_layer(const Plan *plan, Node *node) {
  Module *module = node->graph->module;
  const char *origin = node->origin;
  if (!origin) origin = arena_printf(module->arena, "%s_%d", node->op->name, plan->layer_count + 1);
  for (int i = 2; has_origin(plan, origin); i++)
    origin = arena_printf(module->arena, "%s#%d", node->origin ? node->origin : node->op->name, i);
  node->origin = intern(module, origin);
}

static int64_t channels_of(const Node *node) {
  const Type *x = operand(node, 0)->type;
  const Dim *channels = x->dims[is_conv(node) ? node_window(node).channel_axis : x->rank - 1];
  return dim_is_const(channels) ? channels->value : 0;
}

static int activation_of(Plan *plan, Value *value, int layer) {
  int i = 0;
  while (i < plan->activation_count && (!value || plan->activations[i].value != value)) i++;
  if (i == plan->activation_count)
    plan->activations[plan->activation_count++] = (Activation){.value = value, .layer = layer};
  return i;
}

const Value *layer_constant(const Layer *layer) {
  return operand(layer->node, layer->activation < 0 ? 0 : 1);
}

static void add_activation(Plan *plan, Layer *layer, int number) {
  Node *node = layer->node;
  layer->activation = activation_of(plan, layer->is_inner ? NULL : operand(node, 0), number);
  Activation *x = &plan->activations[layer->activation];
  x->is_read = true;
  x->is_image |= is_conv(node);
  x->channels = layer->is_inner ? layer_groups(layer) * layer->k : channels_of(node);
}

Layer layer_of(Node *node) {
  bool is_table = is_lookup(node);
  const Type *w = operand(node, is_table ? 0 : 1)->type;
  int axis = is_table ? 0 : channel_axis(node);
  Layer layer = {.node = node, .rows = w->dims[axis]->value, .inner = 1, .activation = is_table ? -1 : 0};
  layer.behind = w->rank - 1 - axis;
  for (int i = axis + 1; i < w->rank; i++) layer.inner *= w->dims[i]->value;
  layer.k = type_static_count(w) / layer.rows;
  layer.is_conv = is_conv(node);
  layer.is_transposed = is_transposed(node);
  if (layer.is_conv) layer.window = node_window(node);
  int groups = is_table ? 0 : inner_groups(node);
  layer.is_inner = groups > 0;
  layer.group_rows = layer.rows / (layer.is_conv ? layer.window.group : groups ? groups : 1);
  layer.group = layer.k;
  return layer;
}

int layer_row_axis(const Layer *layer) {
  return layer->activation < 0 ? 0 : channel_axis(layer->node);
}

Value *layer_bias(const Layer *layer) {
  return layer->is_inner ? NULL : operand(layer->node, 2);
}

bool layer_takes_bias(const Layer *layer, const Value *bias) {
  if (!bias) return !node_is(layer->node, &op_matmul);
  return bias->type->rank == 1 && type_static_count(bias->type) == layer->rows && value_data(bias);
}

static void add_layer(Plan *plan, Node *node, LedgerRow *row) {
  name_layer(plan, node);
  int number = plan->layer_count++;
  Layer *layer = &plan->layers[number];
  *layer = layer_of(node);
  layer->row = row;
  if (layer->activation >= 0) add_activation(plan, layer, number);
  *row = (LedgerRow){.name = node->origin,
                     .kind = kind_of(node),
                     .precision = plan_precision(plan),
                     .bytes_before = 4 * layer->rows * layer->k};
}

/* What an add reads of two convolutions: the first result is stored, as integers it is a quarter. */
static void add_summand(Plan *plan, const Node *add) {
  int found[2] = {-1, -1};
  for (int i = 0; i < 2; i++)
    for (int l = 0; l < plan->layer_count; l++)
      if (operand(add, i)->def == plan->layers[l].node) found[i] = l;
  if (found[0] < 0 || found[1] < 0 || operand(add, 0)->type != operand(add, 1)->type) return;
  int first = found[0] < found[1] ? found[0] : found[1];
  Node *node = plan->layers[first].node;
  if (!node_is(node, &op_conv) || !value_has_one_use(result(node, 0))) return;
  Activation *sum = &plan->activations[activation_of(plan, result(node, 0), first)];
  sum->is_image = true;
}

void plan_find(Plan *plan, Graph *graph) {
  Arena *arena = graph->module->arena;
  plan->graph = graph;
  plan->layer_count = plan->activation_count = 0;
  int count = 0, adds = 0;
  FOR_EACH_NODE(node, graph) {
    count += is_layer(plan, node);
    adds += node_is(node, &op_add);
  }
  plan->layers = NEW_ARRAY(arena, Layer, count);
  plan->activations = NEW_ARRAY(arena, Activation, count + adds);
  plan->ledger->rows = NEW_ARRAY(arena, LedgerRow, count);
  plan->ledger->row_count = count;
  FOR_EACH_NODE(node, graph)
  if (is_layer(plan, node)) add_layer(plan, node, &plan->ledger->rows[plan->layer_count]);
  FOR_EACH_NODE(node, graph)
  if (node_is(node, &op_add)) add_summand(plan, node);
  plan_find_parts(plan);
}

bool layer_values(Node *node, LayerValues *values) {
  *values = (LayerValues){operand(node, 0), result(node, 0), NULL};
  if (!node->op->inner) return true;
  Builder builder = builder_before(node->next);
  InnerProduct inner;
  TRY(node->op->inner(node, &builder, &inner));
  *values = (LayerValues){inner.x, inner.y, inner.counts};
  return true;
}

/* values[activations + layers] of an unchanged copy: what is multiplied, and what layers give. */
static bool find_observed(const Plan *plan, const Graph *copy, Value **values) {
  int activations = plan->activation_count;
  Value **sources = NEW_ARRAY(copy->module->arena, Value *, activations + plan->layer_count);
  for (int i = 0; i < activations + plan->layer_count; i++) {
    Value *value = i < activations ? plan->activations[i].value : NULL;
    int layer = i < activations ? plan->activations[i].layer : i - activations;
    sources[i] = value ? value : result(plan->layers[layer].node, 0);
  }
  values_in_copy(plan->graph, sources, activations + plan->layer_count, copy, values);
  for (int i = 0; i < plan->layer_count; i++) {
    LayerValues found;
    if (!plan->layers[i].is_inner) continue;
    TRY(layer_values(values[activations + i]->def, &found));
    values[plan->layers[i].activation] = found.x;
    values[activations + i] = found.y;
  }
  return true;
}

bool plan_observe(Plan *plan) {
  bool wants_results = !plan->quantization || plan->quantization->recovery & RECOVER_GPTQ;
  int activations = plan->activation_count, all = activations + plan->layer_count;
  Value **values = NEW_ARRAY(plan->graph->module->arena, Value *, all);
  plan_report(plan, "compiling", 0, 1);
  observer_copy(&plan->observed, plan->graph, plan->options);
  return find_observed(plan, plan->observed.copy, values) &&
         observer_build(&plan->observed, values, wants_results ? all : activations);
}

int64_t layer_index(const Layer *layer, int64_t row, int64_t column) {
  int64_t inner = layer->inner;
  return (column / inner * layer->rows + row) * inner + column % inner;
}

float *layer_weights(Arena *arena, const Layer *layer) {
  const Data *data = value_data(layer_constant(layer));
  float *weights = NEW_ARRAY(arena, float, layer->rows * layer->k);
  for (int64_t row = 0; row < layer->rows; row++)
    for (int64_t j = 0; j < layer->k; j++)
      weights[row * layer->k + j] = (float)data_get(data, layer_index(layer, row, j));
  return weights;
}

int64_t layer_channel(const Layer *layer, int64_t row, int64_t column) {
  if (!layer->is_conv) return row / layer->group_rows * layer->k + column;
  Window window = layer->window;
  int64_t kernel = layer->k / window.group_channels;
  int64_t inside = window.channels_last ? column % window.group_channels : column / kernel;
  return row / layer->group_rows * window.group_channels + inside;
}

int64_t layer_groups(const Layer *layer) {
  return layer->rows / layer->group_rows;
}

int64_t layer_phases(const Layer *layer) {
  int64_t phases = 1;
  for (int i = 0; layer->is_transposed && i < layer->window.rank; i++) phases *= layer->window.stride[i];
  return phases;
}

void plan_report(const Plan *plan, const char *what, int done, int count) {
  const Ledger *ledger = plan->ledger;
  if (ledger->progress) ledger->progress(ledger->context, what, done, count);
}

void plan_note(Plan *plan, const char *format, ...) {
  char text[256];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  const char **effects = plan->ledger->effects;
  int i = 0;
  while (effects[i]) i++;
  if (i + 1 < COUNT_OF(plan->ledger->effects))
    effects[i] = arena_printf(plan->graph->module->arena, "%s", text);
}
