/*
 * given.c -- layers whose body the user gives as a graph: --op NAME=FILE.tn, for a class or a layer that the
 * importer cannot read because it is Python code.
 *
 * The graph's first inputs are the tensors that the layer is called with. Every further input that is called
 * as a member of the layer's configuration is that number, or list of numbers; all others are the layer's
 * weights, in the order of the file. A size of the graph that is called as an integer of the configuration
 * has that value; others become what the tensors have there. The nodes are built anew at every call, so that
 * their types follow from what comes in.
 */
#include "frontend/keras/keras.h"
#include <string.h>

/* What stands for the symbols and the values of the graph. */
typedef struct Body {
  Call *call;
  const Graph *graph;
  const Dim *symbols[64], *sizes[64];
  int symbol_count;
  const Value **from;
  Value **to;
  int count;
} Body;

const Graph *given_graph(Import *import, const Layer *layer) {
  const ImportOptions *options = import->options;
  for (int i = 0; options && i < options->op_count; i++) {
    const ImportOp *op = &options->ops[i];
    if (strcmp(op->name, layer->class_name) && strcmp(op->name, layer->name)) continue;
    import->ops_used[i] = true;
    if (!import->op_graphs[i] && module_parse_file(import->module, op->path)) {
      import->op_graphs[i] = import->module->main;
      import->module->main = NULL;
    }
    return import->op_graphs[i];
  }
  return NULL;
}

static bool is_member(const Layer *layer, const char *name) {
  const cJSON *item = json_member(layer->config, name);
  return cJSON_IsNumber(item) || cJSON_IsArray(item) || cJSON_IsBool(item);
}

bool given_weight(const Layer *layer, int input) {
  return input >= layer->given_inputs && !is_member(layer, layer->given->inputs[input]->name);
}

/* ---- sizes ---- */

static bool bind_symbol(Body *b, const Dim *symbol, const Dim *size) {
  for (int i = 0; i < b->symbol_count; i++)
    if (b->symbols[i] == symbol) return true;
  if (b->symbol_count == COUNT_OF(b->symbols)) return call_fail(b->call, "its graph has too many symbols");
  b->symbols[b->symbol_count] = symbol;
  b->sizes[b->symbol_count++] = size;
  return true;
}

/* Integers of the configuration come before what tensors have. */
static bool bind_members(Body *b) {
  const cJSON *item;
  int64_t value;
  cJSON_ArrayForEach(item, b->call->config) {
    if (item->string && *item->string && json_integer(item, &value))
      TRY(bind_symbol(b, dim_symbol(b->call->import->module, item->string),
                      dim_const(b->call->import->module, value)));
    if (b->symbol_count > COUNT_OF(b->symbols) / 2) break;
  }
  return true;
}

static bool bind_sizes(Body *b, const Value *input, const Value *value) {
  const Type *wanted = input->type, *given = value->type;
  if (wanted->rank != given->rank || wanted->dtype != given->dtype)
    return call_fail(b->call, "its graph wants %s for %s, not %s", type_text(b->call->import->module, wanted),
                     input->name, type_text(b->call->import->module, given));
  for (int i = 0; i < wanted->rank; i++)
    if (wanted->dims[i]->kind == DIM_SYMBOL) TRY(bind_symbol(b, wanted->dims[i], given->dims[i]));
  return true;
}

static const Dim *bound(const Body *b, const Dim *dim) {
  for (int i = 0; i < b->symbol_count; i++)
    dim = dim_substitute(b->call->import->module, dim, b->symbols[i]->symbol, b->sizes[i]);
  return dim;
}

static bool check_sizes(const Body *b, const Value *input, const Value *value) {
  for (int i = 0; i < input->type->rank; i++) {
    const Dim *wanted = bound(b, input->type->dims[i]), *given = value->type->dims[i];
    if (wanted != given && dim_is_const(wanted) && dim_is_const(given))
      return call_fail(b->call, "its graph wants %s for axis %d of %s, not %s",
                       dim_text(b->call->import->module, wanted), i, input->name,
                       dim_text(b->call->import->module, given));
  }
  return true;
}

/* ---- values ---- */

static void set_value(Body *b, const Value *from, Value *to) {
  b->from[b->count] = from;
  b->to[b->count++] = to;
}

static Value *value_of(const Body *b, const Value *from) {
  for (int i = b->count - 1; i >= 0; i--)
    if (b->from[i] == from) return b->to[i];
  return NULL;
}

static Value *member_value(Call *call, const Value *input) {
  const cJSON *item = json_member(call->config, input->name), *child;
  Dtype dtype = input->type->dtype;
  if (!cJSON_IsArray(item))
    return build_scalar(call->builder, dtype, cJSON_IsBool(item) ? cJSON_IsTrue(item) : item->valuedouble);
  int64_t count = cJSON_GetArraySize(item), i = 0;
  double *values = NEW_ARRAY(call->import->module->arena, double, count);
  cJSON_ArrayForEach(child, item) {
    if (!cJSON_IsNumber(child)) return call_null(call, "'%s' is not made of numbers", input->name);
    values[i++] = child->valuedouble;
  }
  return make_floats(call, dtype, values, count);
}

static Value *input_value(Call *call, const Layer *layer, int index) {
  const Value *input = layer->given->inputs[index];
  if (index < layer->given_inputs) return index < call->input_count ? call->inputs[index] : NULL;
  if (is_member(layer, input->name)) return member_value(call, input);
  const StoredArray *stored = call_stored(call, input->name);
  int64_t any[MAX_RANK];
  for (int i = 0; i < MAX_RANK; i++) any[i] = -1;
  return call_weight_of(call, input->name, input->type->dtype, stored ? stored->rank : 0, any);
}

static bool set_inputs(Body *b) {
  TRY(bind_members(b));
  for (int pass = 0; pass < 2; pass++)
    for (int i = 0; i < b->graph->input_count; i++) {
      const Value *input = b->graph->inputs[i];
      Value *value = pass ? value_of(b, input) : input_value(b->call, b->call->layer, i);
      TRY(value);
      if (!pass) set_value(b, input, value);
      TRY(pass ? check_sizes(b, input, value) : bind_sizes(b, input, value));
    }
  return true;
}

/* ---- nodes ---- */

static void copy_sizes(const Body *b, const Node *from, Node *to, int index) {
  const Attr *attr = &from->attrs[index];
  const Dim **dims = NEW_ARRAY(b->call->import->module->arena, const Dim *, attr->count);
  for (int i = 0; i < attr->count; i++) dims[i] = bound(b, attr->dims[i]);
  node_set_dims(to, from->op->attrs[index].name, dims, attr->count);
}

static bool copy_node(Body *b, const Node *node) {
  Call *call = b->call;
  if (node_is(node, &op_const)) {
    Value *value = build_const(call->builder, result(node, 0)->type, node->data, NULL);
    return value && (set_value(b, result(node, 0), value), true);
  }
  if (node->region_count)
    return call_fail(call, "its graph has the operator %s, which holds graphs", node->op->name);
  Value **operands = NEW_ARRAY(call->import->module->arena, Value *, node->operand_count);
  for (int i = 0; i < node->operand_count; i++)
    operands[i] = operand(node, i) ? value_of(b, operand(node, i)) : NULL;
  Node *copy = node_like(call->builder, node, operands);
  for (int i = 0; i < node->op->attr_count; i++)
    if (node->op->attrs[i].kind == ATTR_DIMS && node->attrs[i].set) copy_sizes(b, node, copy, i);
  TRY(node_finish(copy));
  for (int i = 0; i < node->result_count; i++) set_value(b, result(node, i), result(copy, i));
  return true;
}

static Value *given_layer(Call *call) {
  Body b = {.call = call, .graph = call->layer->given};
  int room = b.graph->input_count;
  FOR_EACH_NODE(node, b.graph) room += node->result_count;
  b.from = NEW_ARRAY(call->import->module->arena, const Value *, room);
  b.to = NEW_ARRAY(call->import->module->arena, Value *, room);
  if (call->input_count != call->layer->given_inputs || b.graph->input_count < call->input_count)
    return call_null(call, "its graph has %d inputs, it is called with %d", b.graph->input_count,
                     call->input_count);
  if (!set_inputs(&b)) return NULL;
  FOR_EACH_NODE(node, b.graph)
  if (!node_is(node, &op_return) && !copy_node(&b, node)) return NULL;
  for (int i = 1; i < b.graph->output_count; i++) call_also(call, value_of(&b, graph_output(b.graph, i)));
  call->mask = call->masks[0];
  return value_of(&b, graph_output(b.graph, 0));
}

const LayerKind given_kind = {"", given_layer, 1, 0, NULL, MASK_OWN};
