/*
 * interpret.c -- runs a graph node by node: each is lowered plainly and its kernel interpreted.
 *
 * The reference for everything compiled: no fusion unless the graph has it, no vectors, no memory plan. Every
 * value is an item of the runtime's (runtime/items.h), kept to the end, so that sequences and control flow
 * mean here what they mean in libraries. Operators that are defined by others (`expand`) are expanded first,
 * in a copy.
 */
#include "ir/intern.h"
#include "ir/loop.h"
#include "ir/run.h"

#include "runtime/items.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static_assert((int)TENON_MAX_RANK == (int)MAX_RANK && (int)TENON_STRING == (int)DTYPE_STRING,
              "items hold tensors of the IR");

typedef struct Run {
  Module *module;
  Store store;
  Table items; /* Value -> Item, made when first asked for */
  Item **all;
  int item_count, item_room;
  const char **symbols;
  int64_t *symbol_values;
  int symbol_count, symbol_room;
  int iterations; /* of all loops: a loop of a hostile text may never end */
} Run;

enum { MAX_ITERATIONS = 1 << 16 };

/* ---- expansion ---- */

static bool needs_expansion(const Graph *graph) {
  FOR_EACH_NODE(node, graph) {
    if (node->op->expand) return true;
    for (int i = 0; i < node->region_count; i++)
      if (needs_expansion(node->regions[i])) return true;
  }
  return false;
}

static bool expand_once(Graph *graph) {
  FOR_EACH_NODE_SAFE(node, graph) {
    for (int i = 0; i < node->region_count; i++) TRY(expand_once(node->regions[i]));
    if (!node->op->expand) continue;
    Value **results = NEW_ARRAY(graph->module->arena, Value *, node->result_count);
    TRY(node->op->expand(node, results));
    for (int i = 0; i < node->result_count; i++) value_replace(result(node, i), results[i]);
    node_remove(node);
  }
  return true;
}

/* Expansions may hold expandable ops again; these stand before the node, so another round finds them. */
static bool expand_all(Graph *graph) {
  for (int round = 0; needs_expansion(graph); round++) {
    if (round == 16) return fail(graph->module, "operators expand into each other without end");
    TRY(expand_once(graph));
  }
  return true;
}

/* ---- values and sizes ---- */

static Item *item_of(Run *run, const Value *value) {
  Item *item = map_get(&run->items, value);
  if (item) return item;
  if (run->item_count == run->item_room) {
    run->item_room = 2 * run->item_room + 64;
    Item **more = NEW_ARRAY(run->module->arena, Item *, run->item_room);
    if (run->item_count) memcpy(more, run->all, sizeof *more * (size_t)run->item_count);
    run->all = more;
  }
  item = run->all[run->item_count++] = NEW(run->module->arena, Item);
  map_set(run->module->arena, &run->items, value, item);
  return item;
}

static void reserve_symbols(Run *run, int room) {
  if (room <= run->symbol_room) return;
  const char **symbols = NEW_ARRAY(run->module->arena, const char *, 2 * room);
  int64_t *values = NEW_ARRAY(run->module->arena, int64_t, 2 * room);
  for (int i = 0; i < run->symbol_count; i++) {
    symbols[i] = run->symbols[i];
    values[i] = run->symbol_values[i];
  }
  run->symbols = symbols;
  run->symbol_values = values;
  run->symbol_room = 2 * room;
}

static void set_symbol(Run *run, const Dim *symbol, int64_t value) {
  int i = 0;
  while (i < run->symbol_count && strcmp(run->symbols[i], symbol->symbol) != 0) i++;
  reserve_symbols(run, i + 1);
  if (i == run->symbol_count) run->symbols[run->symbol_count++] = symbol->symbol;
  run->symbol_values[i] = value;
}

static bool eval(const Run *run, const Dim *dim, int64_t *size) {
  return dim_eval(dim, run->symbols, run->symbol_values, run->symbol_count, size);
}

static bool eval_dims(const Run *run, const Value *value, int64_t *dims) {
  for (int axis = 0; axis < value->type->rank; axis++)
    if (!eval(run, value->type->dims[axis], &dims[axis]))
      return fail(run->module, "axis %d of '%s' has no size for these inputs", axis,
                  value->name ? value->name : "?");
  return true;
}

static bool item_ok(const Node *node, int error) {
  return !error || node_fail(node, "%s", tenon_item_error_text(error));
}

static bool allocate(Run *run, const Value *value) {
  int64_t dims[MAX_RANK];
  TRY(eval_dims(run, value, dims));
  Item *item = item_of(run, value);
  int error =
      tenon_item_make(&run->store, item, (uint32_t)value->type->dtype, (uint32_t)value->type->rank, dims);
  if (error)
    return fail(run->module, "a value of type %s does not fit into memory",
                type_text(run->module, value->type));
  memset(item->data, 0, tenon_item_bytes(item->dtype, item->rank, item->dims));
  return true;
}

/* What is in the value's item has its type; the sizes in `symbols` get their values from it. */
static bool check_value(Run *run, const Node *node, const Value *value, const Dim *const *symbols,
                        int count) {
  const Type *type = value->type;
  const Item *item = item_of(run, value);
  if (type->form != FORM_TENSOR) return true;
  TRY(item_ok(node, tenon_item_check(item, ITEM_TENSOR, (uint32_t)type->dtype,
                                     type->rank < 0 ? UINT32_MAX : (uint32_t)type->rank)));
  for (int axis = 0; axis < type->rank; axis++) {
    const Dim *dim = type->dims[axis];
    int64_t size;
    for (int i = 0; i < count; i++)
      if (symbols[i] == dim) set_symbol(run, dim, item->dims[axis]);
    if (!eval(run, dim, &size) || size != item->dims[axis])
      return node_fail(node, "axis %d has the size %lld, the model says %s", axis,
                       (long long)item->dims[axis], dim_text(run->module, dim));
  }
  return true;
}

static bool check_results(Run *run, const Node *node) {
  int count = 0;
  const Dim *const *symbols =
      op_attr_index(node->op, "symbols") >= 0 ? node_dims(node, "symbols", &count) : NULL;
  for (int i = 0; i < node->result_count; i++) TRY(check_value(run, node, node->results[i], symbols, count));
  return true;
}

/* ---- nodes ---- */

static bool run_const(Run *run, const Node *node) {
  const Data *data = node->data;
  TRY(allocate(run, node->results[0]));
  void *to = item_of(run, node->results[0])->data;
  if (!data->splat) {
    if (data->size) memcpy(to, data->bytes, data->size);
    return true;
  }
  for (int64_t i = 0; i < data->count; i++) dtype_copy(data->dtype, to, i, data->bytes, 0);
  return true;
}

/* No elements: nothing to compute, though loops over the other axes could still run for years. */
static bool results_are_empty(Run *run, const Node *node) {
  for (int i = 0; i < node->result_count; i++) {
    const Item *item = item_of(run, node->results[i]);
    if (tenon_item_bytes(item->dtype, item->rank, item->dims) != 0) return false;
  }
  return true;
}

static bool run_kernel(Run *run, Node *node) {
  Module *module = run->module;
  Kernel *kernel = lower_node(node, node->op->name, NULL, NULL);
  if (!kernel) return module->error_count > 0 ? false : node_fail(node, "cannot be lowered to loops");
  for (int i = 0; i < node->result_count; i++) TRY(allocate(run, node->results[i]));
  if (results_are_empty(run, node)) return true;
  void **args = NEW_ARRAY(module->arena, void *, kernel->param_count);
  for (int i = 0; i < kernel->param_count; i++) {
    int index = lower_param_operand(node, i);
    const Value *value =
        index < node->operand_count ? operand(node, index) : node->results[index - node->operand_count];
    args[i] = item_of(run, value)->data;
  }
  return kernel_interpret(kernel, args, run->symbols, run->symbol_values, run->symbol_count);
}

static bool run_view(Run *run, const Node *node) {
  const Value *value = node->results[0];
  int64_t dims[MAX_RANK];
  TRY(eval_dims(run, value, dims));
  if (tenon_item_view(&run->store, item_of(run, value), item_of(run, operand(node, 0)),
                      (uint32_t)value->type->rank, dims))
    return node_fail(node, "the shapes hold different numbers of elements");
  return true;
}

/* ---- control flow ---- */

static bool run_nodes(Run *run, Graph *graph);

static void share(Run *run, const Value *to, const Value *from) {
  tenon_item_share(&run->store, item_of(run, to), item_of(run, from));
}

/* Inputs from `first` on of the region are the operands from `operand_index` on. */
static void capture(Run *run, const Node *node, const Graph *region, int first, int operand_index) {
  for (int i = first; i < region->input_count; i++)
    share(run, region->inputs[i], operand(node, operand_index + i - first));
}

static bool run_if(Run *run, Node *node) {
  bool holds = tenon_item_integer(item_of(run, operand(node, 0))) != 0;
  Graph *region = node->regions[holds ? 0 : 1];
  capture(run, node, region, 0, 1 + (holds ? 0 : node->regions[0]->input_count));
  TRY(run_nodes(run, region));
  for (int i = 0; i < node->result_count; i++) share(run, result(node, i), graph_output(region, i));
  return check_results(run, node);
}

static bool set_scalar(Run *run, const Node *node, const Value *value, int64_t x) {
  Item *item = item_of(run, value);
  TRY(item_ok(node, tenon_item_make(&run->store, item, (uint32_t)value->type->dtype, 0, NULL)));
  dtype_set_int(value->type->dtype, item->data, 0, x);
  return true;
}

static bool run_iteration(Run *run, Node *node, int64_t number, Item *collected) {
  Graph *body = node->regions[0];
  int carried = (int)node_int(node, "carried"), count;
  const Dim *const *sizes = node_dims(node, "sizes", &count);
  if (run->iterations++ == MAX_ITERATIONS)
    return node_fail(node, "loops run over %d times, which is too slow in the interpreter", MAX_ITERATIONS);
  TRY(set_scalar(run, node, body->inputs[0], number) && set_scalar(run, node, body->inputs[1], true));
  for (int i = 0; i < carried; i++) {
    share(run, body->inputs[2 + i], result(node, i));
    TRY(check_value(run, node, body->inputs[2 + i], sizes, count));
  }
  TRY(run_nodes(run, body));
  for (int i = 0; i < carried; i++) share(run, result(node, i), graph_output(body, 1 + i));
  for (int i = carried; i < node->result_count; i++)
    TRY(item_ok(node,
                tenon_item_collect(&run->store, &collected[i], item_of(run, graph_output(body, 1 + i)))));
  return true;
}

/* The shape of a collected result without elements; sizes that nothing tells are 0. */
static bool stack(Run *run, const Node *node, int index, const Item *collected) {
  const Type *type = result(node, index)->type;
  int64_t dims[MAX_RANK] = {0};
  for (int axis = 1; axis < type->rank; axis++)
    if (dim_is_const(type->dims[axis])) dims[axis - 1] = type->dims[axis]->value;
  return item_ok(node, tenon_item_stack(&run->store, item_of(run, result(node, index)), collected,
                                        (uint32_t)type->dtype, type->rank > 0 ? (uint32_t)type->rank - 1 : 0,
                                        dims));
}

static bool run_loop(Run *run, Node *node) {
  Graph *body = node->regions[0];
  int carried = (int)node_int(node, "carried");
  Item *collected = NEW_ARRAY(run->module->arena, Item, node->result_count);
  int64_t trips = operand(node, 0) ? tenon_item_integer(item_of(run, operand(node, 0))) : INT64_MAX;
  bool goes_on = !operand(node, 1) || tenon_item_integer(item_of(run, operand(node, 1)));
  for (int i = 0; i < carried; i++) share(run, result(node, i), operand(node, 2 + i));
  capture(run, node, body, 2 + carried, 2 + carried);
  bool ok = true;
  for (int64_t number = 0; ok && goes_on && number < trips; number++) {
    ok = run_iteration(run, node, number, collected);
    goes_on = ok && tenon_item_integer(item_of(run, graph_output(body, 0)));
  }
  for (int i = carried; i < node->result_count; i++) {
    ok = ok && stack(run, node, i, &collected[i]);
    tenon_item_drop(&run->store, &collected[i]);
  }
  return ok && check_results(run, node);
}

static bool run_bind(Run *run, const Node *node) {
  int64_t sizes[MAX_KNOWN];
  int count;
  const Dim *const *symbols = node_dims(node, "symbols", &count);
  TRY(item_ok(node, tenon_item_sizes(item_of(run, operand(node, 0)), count, sizes)));
  for (int i = 0; i < count; i++) set_symbol(run, symbols[i], sizes[i]);
  share(run, result(node, 0), operand(node, 0));
  return true;
}

static bool run_require(Run *run, const Node *node) {
  bool x = tenon_item_integer(item_of(run, operand(node, 0))) != 0;
  if (x != node_bool(node, "value"))
    return node_fail(node, "%s: %s", node_string(node, "reason"), tenon_item_error_text(ITEM_BRANCH));
  share(run, result(node, 0), operand(node, 0));
  return true;
}

/* ---- sequences ---- */

static const struct {
  const char *name;
  ItemFunction *run;
} item_ops[] = {
#define ITEM_OP_ROW(name) {#name, tenon_item_##name},
    ITEM_OPS(ITEM_OP_ROW)
#undef ITEM_OP_ROW
};

static bool run_item_op(Run *run, const Node *node) {
  int64_t params[8];
  int op = 0;
  const Item **operands = NEW_ARRAY(run->module->arena, const Item *, node->operand_count);
  for (int i = 0; i < node->operand_count; i++)
    operands[i] = operand(node, i) ? item_of(run, operand(node, i)) : NULL;
  while (strcmp(item_ops[op].name, node->op->name) != 0) op++;
  node_params(node, params, COUNT_OF(params));
  return item_ok(node, item_ops[op].run(&run->store, item_of(run, result(node, 0)), operands,
                                        (uint32_t)node->operand_count, params)) &&
         check_results(run, node);
}

/* ---- graphs ---- */

static bool check_needs(const Run *run, const Node *node) {
  for (const Need *need = node->needs; need; need = need->next) {
    int64_t a, b;
    if (eval(run, need->a, &a) && eval(run, need->b, &b) && !need_holds(need, a, b))
      return node_fail(node, "sizes do not fit together: %s, not %lld and %lld", need_text(run->module, need),
                       (long long)a, (long long)b);
  }
  return true;
}

static bool run_node(Run *run, Node *node) {
  TRY(check_needs(run, node));
  if (node_is(node, &op_const)) return run_const(run, node);
  if (node->op->traits & TRAIT_VIEW) return run_view(run, node);
  if (!(node->op->traits & TRAIT_DYNAMIC)) return run_kernel(run, node);
  if (node_is(node, &op_bind)) return run_bind(run, node);
  if (node_is(node, &op_require)) return run_require(run, node);
  if (node_is(node, &op_if)) return run_if(run, node);
  if (node_is(node, &op_loop)) return run_loop(run, node);
  return run_item_op(run, node);
}

static bool run_nodes(Run *run, Graph *graph) {
  FOR_EACH_NODE(node, graph) {
    if (node_is(node, &op_return)) break;
    TRY(run_node(run, node));
  }
  return true;
}

/* ---- tensors in and out ---- */

static bool item_from_tensor(Run *run, Item *item, const Tensor *tensor) {
  if (tensor->kind == TENSOR_ABSENT) return true;
  if (tensor->kind == TENSOR_LIST) {
    if (tenon_item_sequence_new(&run->store, item, (uint32_t)tensor->dtype, tensor->dims[0]))
      return fail(run->module, "the inputs do not fit into memory");
    for (int64_t i = 0; i < tensor->dims[0]; i++)
      TRY(item_from_tensor(run, (Item *)item->data + i, (const Tensor *)tensor->data + i));
    return true;
  }
  tenon_item_borrow(&run->store, item, (uint32_t)tensor->dtype, (uint32_t)tensor->rank, tensor->dims,
                    tensor->data);
  return true;
}

static bool tensor_from_item(Run *run, const Item *item, Tensor *tensor) {
  if (item->kind == ITEM_NOTHING) {
    *tensor = (Tensor){.kind = TENSOR_ABSENT};
    return true;
  }
  if (item->kind == ITEM_TENSOR) {
    TRY(tensor_new(tensor, (Dtype)item->dtype, (int)item->rank, item->dims));
    memcpy(tensor->data, item->data, tensor_size(tensor));
    if (tensor->dtype == DTYPE_STRING) tensor_keep_strings(run->module, tensor);
    return true;
  }
  TRY(tensor_new_list(tensor, (Dtype)item->dtype, item->dims[0]));
  for (int64_t i = 0; i < item->dims[0]; i++)
    TRY(tensor_from_item(run, (const Item *)item->data + i, (Tensor *)tensor->data + i));
  return true;
}

static bool copy_outputs(Run *run, const Graph *graph, Tensor *outputs) {
  for (int i = 0; i < graph->output_count; i++) {
    outputs[i] = (Tensor){0};
    if (tensor_from_item(run, item_of(run, graph_output(graph, i)), &outputs[i])) continue;
    for (; i >= 0; i--) tensor_free(&outputs[i]);
    return fail(run->module, "the outputs do not fit into memory");
  }
  return true;
}

static bool run_graph(Run *run, Graph *graph, const Tensor *inputs, Tensor *outputs) {
  for (int i = 0; i < graph->input_count; i++)
    TRY(item_from_tensor(run, item_of(run, graph->inputs[i]), &inputs[i]));
  return run_nodes(run, graph) && copy_outputs(run, graph, outputs);
}

bool graph_interpret(Graph *graph, const Tensor *inputs, Tensor *outputs) {
  enum { MAX_SYMBOLS = 256 };
  Module *module = graph->module;
  if (needs_expansion(graph)) {
    graph = graph_clone(module, graph, NULL);
    TRY(expand_all(graph));
  }
  Run run = {.module = module};
  reserve_symbols(&run, MAX_SYMBOLS);
  TRY(graph_bind(graph, inputs, run.symbols, run.symbol_values, MAX_SYMBOLS, &run.symbol_count));
  TRY(graph_fits_rooms(graph, run.symbols, run.symbol_values, run.symbol_count));
  bool ok = run_graph(&run, graph, inputs, outputs);
  for (int i = 0; i < run.item_count; i++) tenon_item_drop(&run.store, run.all[i]);
  tenon_store_close(&run.store);
  return ok;
}
