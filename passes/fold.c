/*
 * fold.c -- what depends on constants only is computed now.
 *
 * Before: any graph. After: no node has only constant operands, except those whose result would be much
 * larger than what it is made of (a broadcast stays a broadcast), or is better made when a library is opened
 * (TRAIT_PREPARE, and numbers of a few bits made wide), unless speed is preferred. Requires static types of
 * what it folds; keeps all other nodes.
 *
 * Three steps. Constants whose elements are all equal become splats. Splats stay splats: pointwise ops on
 * them are computed for one element, movement ops only change the count. All that is left to fold becomes ONE
 * graph, whose inputs are the constants: a small one is interpreted, a large one (weights times batch-norm
 * scales) goes through the executor, once.
 */
#include "passes/rewrite.h"

#include <stdlib.h>
#include <string.h>

enum {
  ALWAYS_FOLD = 1 << 14,    /* elements that a result may always have */
  GROWTH = 2,               /* times the bytes of the constants it is made of that a larger one may have, */
  SPEED_GROWTH = 4,         /* and times their elements when speed is preferred */
  INTERPRET_WORK = 1 << 16, /* elements computed beyond which the executor is worth its start */
};

static void replace_by_data(Node *node, const Data *data) {
  Builder builder = builder_before(node);
  node_replace(node, build_const(&builder, result(node, 0)->type, data, NULL));
}

/* ---- splats ---- */

static bool data_is_uniform(const Data *data) {
  return data && data->splat && dtype_bits(data->dtype) >= 8;
}

/* A constant written out whose bytes repeat its first element becomes a splat. */
static bool const_compress(Node *node) {
  const Data *data = node->data;
  size_t element = (size_t)dtype_bits(data->dtype) / 8;
  if (data->splat || data->count < 1 || element == 0) return false;
  const char *bytes = data->bytes;
  if (memcmp(bytes, bytes + element, data->size - element) != 0) return false;
  Data *splat = data_spread(node->graph->module, data, 0, data->count);
  replace_by_data(node, splat);
  return true;
}

static bool all_uniform(const Node *node) {
  for (int i = 0; i < node->operand_count; i++)
    if (operand(node, i) && !data_is_uniform(value_data(operand(node, i)))) return false;
  return node->operand_count > 0;
}

/* Ops whose result elements are all elements of operand 0. */
static bool only_moves(const Node *node) {
  static const Op *const movers[] = {&op_reshape, &op_transpose, &op_broadcast,      &op_slice,
                                     &op_tile,    &op_gather,    &op_gather_elements};
  for (int i = 0; i < COUNT_OF(movers); i++)
    if (node->op == movers[i]) return true;
  return false;
}

static bool single_result_static(const Node *node) {
  return node->result_count == 1 && type_static_count(result(node, 0)->type) >= 0;
}

/* The pointwise node on rank-0 operands, run in a graph of its own; NULL when it fails. */
static Data *pointwise_scalar(const Node *node) {
  enum { MAX_OPERANDS = 8 };
  Module *module = node->graph->module;
  if (node->operand_count > MAX_OPERANDS) return NULL;
  Graph *graph = graph_new(module, "fold", NULL);
  Builder builder = builder_at_end(graph);
  Value *operands[MAX_OPERANDS] = {NULL};
  for (int i = 0; i < node->operand_count; i++) {
    const Value *x = operand(node, i);
    if (!x) continue;
    const Type *scalar = type_scalar(module, x->type->dtype);
    operands[i] = build_const(&builder, scalar, data_spread(module, value_data(x), 0, 1), NULL);
  }
  Node *copy = node_like(&builder, node, operands);
  Value *value = node_try(copy, type_scalar(module, result(node, 0)->type->dtype));
  if (!value) return NULL;
  const char *name = "value";
  Tensor tensor;
  Diag *last = module->last_diag;
  if (!graph_set_outputs(graph, 1, &value, &name) || !graph_interpret(graph, NULL, &tensor)) {
    diags_take_back(module, last);
    return NULL;
  }
  Data *data = data_copy(module, tensor.dtype, 1, tensor.data);
  tensor_free(&tensor);
  return data;
}

/* Other tools look for quantized weights, not for what they stand for. */
static bool must_stay(const Node *node, const PassOptions *options) {
  return options->portable && node_is(node, &op_dequantize);
}

static bool splat_fold(Node *node) {
  if (node->op->traits & TRAIT_STRUCTURE || !single_result_static(node)) return false;
  int64_t count = type_static_count(result(node, 0)->type);
  const Data *data = NULL;
  if (only_moves(node) && data_is_uniform(value_data(operand(node, 0))))
    data = value_data(operand(node, 0));
  else if (all_uniform(node) && node_is_pointwise(node))
    data = pointwise_scalar(node);
  if (!data) return false;
  replace_by_data(node, data_spread(node->graph->module, data, 0, count));
  return true;
}

/* ---- the batch ---- */

/* Nodes to fold, and the graph that computes them. */
typedef struct Batch {
  Graph *graph;
  Builder builder;
  Node **nodes;   /* in order; node->mark is its number + 1 */
  Value **copies; /* their result 0 in the batch's graph */
  int count;
  Tensor *inputs; /* the bytes of constants, borrowed */
  int input_count, input_capacity;
  double work; /* elements computed */
} Batch;

static bool operands_are_constant(const Node *node) {
  for (int i = 0; i < node->operand_count; i++) {
    const Value *x = operand(node, i);
    if (x && !(x->def && (x->def->data || x->def->mark > 0))) return false;
  }
  return node->operand_count > 0;
}

static double value_bytes(const Value *value) {
  return value_weight(value) * dtype_bits(value->type->dtype) / 8;
}

static bool result_is_small(const Node *node, bool speed) {
  double elements = 0, bytes = 0, size = value_weight(result(node, 0));
  for (int i = 0; i < node->operand_count; i++) {
    const Value *x = operand(node, i);
    if (!x || (x->def->data && x->def->data->splat)) continue;
    elements += value_weight(x);
    bytes += value_bytes(x);
  }
  return size <= ALWAYS_FOLD || (speed && size <= SPEED_GROWTH * elements) ||
         value_bytes(result(node, 0)) <= GROWTH * bytes;
}

/* Whether the result is worth its bytes in the library. */
static bool is_worth_storing(const Node *node, const PassOptions *options) {
  bool speed = options->preference == PREFER_SPEED;
  return node->op->traits & TRAIT_PREPARE ? speed : result_is_small(node, speed);
}

static bool must_fold(const Node *node, const PassOptions *options) {
  return !(node->op->traits & TRAIT_STRUCTURE) && !node->region_count && single_result_static(node) &&
         operands_are_constant(node) && is_worth_storing(node, options) && !must_stay(node, options);
}

static Batch batch_collect(Graph *graph, const PassOptions *options) {
  Batch batch = {.graph = NULL};
  FOR_EACH_NODE(node, graph) node->mark = 0;
  batch.nodes = NEW_ARRAY(graph->module->arena, Node *, graph_count_nodes(graph));
  FOR_EACH_NODE(node, graph) {
    if (!must_fold(node, options) || !rewrite_allowed(node)) continue;
    rewrite_done(graph->module, true);
    batch.nodes[batch.count++] = node;
    node->mark = batch.count;
    double macs = node->op->macs ? value_weight(operand(node, 0)) * 64 : 0;
    batch.work += value_weight(result(node, 0)) + macs;
  }
  return batch;
}

/* The constant as an input of the batch, or as a constant there when it is a splat. */
static Value *batch_constant(Batch *batch, const Value *value) {
  const Data *data = value_data(value);
  if (data->splat) return build_const(&batch->builder, value->type, data, NULL);
  Module *module = batch->graph->module;
  Tensor tensor = {.dtype = data->dtype, .rank = value->type->rank, .data = (void *)data->bytes};
  for (int i = 0; i < tensor.rank; i++) tensor.dims[i] = value->type->dims[i]->value;
  batch->inputs[batch->input_count++] = tensor;
  return graph_add_input(batch->graph, arena_printf(module->arena, "c%d", batch->input_count), value->type);
}

static bool batch_copy(Batch *batch, int index) {
  Node *node = batch->nodes[index];
  Value **operands = NEW_ARRAY(batch->graph->module->arena, Value *, node->operand_count);
  for (int i = 0; i < node->operand_count; i++) {
    const Value *x = operand(node, i);
    if (!x) continue;
    operands[i] = x->def->mark > 0 ? batch->copies[x->def->mark - 1] : batch_constant(batch, x);
  }
  Node *copy = node_like(&batch->builder, node, operands);
  batch->copies[index] = node_try(copy, result(node, 0)->type);
  return batch->copies[index] != NULL;
}

/* Whether something outside the batch uses the node. */
static bool is_wanted(const Node *node) {
  FOR_EACH_USE(use, result(node, 0))
  if (use->node->mark == 0) return true;
  return false;
}

static void release_tensor(Data *data) {
  tensor_free(data->owner);
}

/* The name of the weights that the node is made of, for the weights file. */
static const char *weights_name(const Node *node) {
  while (node && !node->data && operand(node, 0)) node = operand(node, 0)->def;
  return node && node->data ? node->data->name : NULL;
}

static void batch_replace(Node *node, Tensor tensor) {
  Module *module = node->graph->module;
  Tensor *owner = arena_copy(module->arena, &tensor, sizeof tensor);
  Data *data = data_borrow(module, tensor.dtype, tensor_count(&tensor), tensor.data, tensor_size(&tensor),
                           release_tensor, owner);
  data->name = weights_name(node);
  replace_by_data(node, data);
}

static bool batch_build(Batch *batch, Module *module) {
  int operand_count = 0;
  for (int i = 0; i < batch->count; i++) operand_count += batch->nodes[i]->operand_count;
  batch->graph = graph_new(module, "fold", NULL);
  batch->builder = builder_at_end(batch->graph);
  batch->copies = NEW_ARRAY(module->arena, Value *, batch->count);
  batch->inputs = NEW_ARRAY(module->arena, Tensor, operand_count);
  for (int i = 0; i < batch->count; i++) TRY(batch_copy(batch, i));
  return true;
}

static bool execute(const Executor *executor, Graph *graph, const Tensor *inputs, Tensor *outputs) {
  Runnable *runnable = executor->open(executor->context, graph);
  bool ok = runnable && executor->run(runnable, inputs, outputs);
  executor->close(runnable);
  return ok;
}

/* Computes the batch and puts its results into the graph. */
static bool batch_run(Batch *batch, Module *module, const PassOptions *options) {
  TRY(batch_build(batch, module));
  int count = 0;
  Node **wanted = NEW_ARRAY(module->arena, Node *, batch->count);
  Value **values = NEW_ARRAY(module->arena, Value *, batch->count);
  const char **names = NEW_ARRAY(module->arena, const char *, batch->count);
  for (int i = 0; i < batch->count; i++) {
    if (!is_wanted(batch->nodes[i])) continue;
    wanted[count] = batch->nodes[i];
    values[count] = batch->copies[i];
    names[count] = arena_printf(module->arena, "r%d", count + 1);
    count++;
  }
  TRY(graph_set_outputs(batch->graph, count, values, names));
  Tensor *outputs = NEW_ARRAY(module->arena, Tensor, count);
  bool fast = options->executor.open && batch->work > INTERPRET_WORK;
  TRY(fast ? execute(&options->executor, batch->graph, batch->inputs, outputs)
           : graph_interpret(batch->graph, batch->inputs, outputs));
  for (int i = 0; i < count; i++) batch_replace(wanted[i], outputs[i]);
  return true;
}

/* Folding is an offer: what cannot be computed (an integer division by zero) stays in the graph. */
static bool batch_try(Batch *batch, Module *module, const PassOptions *options) {
  Diag *last = module->last_diag;
  if (batch_run(batch, module, options)) return true;
  diags_take_back(module, last);
  return false;
}

bool pass_fold(Graph *graph, const PassOptions *options) {
  bool changed = false;
  FOR_EACH_NODE_SAFE(node, graph) {
    if (!must_stay(node, options) && rewrite_allowed(node))
      changed |= rewrite_done(graph->module, node->data ? const_compress(node) : splat_fold(node));
  }
  Batch batch = batch_collect(graph, options);
  if (batch.count > 0 && batch_try(&batch, graph->module, options)) changed = true;
  if (changed) graph_sweep(graph);
  return changed;
}
