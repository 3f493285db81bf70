/*
 * clone.c -- copies of graphs: of a whole one, or of what some values are made of.
 *
 * Nodes are copied in order, so that a copy's operands are there before it. Between modules types, names and
 * attributes are interned anew; the bytes of constants are shared.
 */
#include "ir/intern.h"

typedef struct Cloner {
  Module *module;
  Table values; /* from source to copy */
  bool same_module;
} Cloner;

static void clone_value(Cloner *cloner, const Value *from, Value *to) {
  to->type = cloner->same_module || !from->type ? from->type : type_import(cloner->module, from->type);
  value_set_name(to, from->name);
  map_set(cloner->module->arena, &cloner->values, from, to);
  to->known = from->known;
  if (!from->known || cloner->same_module) return;
  int64_t count = type_static_count(from->type);
  const Dim **known = NEW_ARRAY(cloner->module->arena, const Dim *, count);
  for (int64_t i = 0; i < count; i++) known[i] = dim_import(cloner->module, from->known[i]);
  to->known = known;
}

static const Data *clone_data(Cloner *cloner, const Data *data) {
  if (!data || cloner->same_module) return data;
  Data *copy = data_borrow(cloner->module, data->dtype, data->count, data->bytes, data->size, NULL, NULL);
  copy->splat = data->splat;
  copy->name = intern(cloner->module, data->name);
  return copy;
}

static void clone_graph(Cloner *cloner, Graph *copy, const Graph *source);

static void clone_node(Cloner *cloner, Graph *copy, const Node *from) {
  Builder builder = {.graph = copy, .origin = intern(cloner->module, from->origin)};
  Value **operands = NEW_ARRAY(cloner->module->arena, Value *, from->operand_count);
  for (int i = 0; i < from->operand_count; i++)
    operands[i] = from->operands[i].value ? map_get(&cloner->values, from->operands[i].value) : NULL;
  Node *to = node_new(&builder, from->op, operands, from->operand_count);
  for (int i = 0; i < from->op->attr_count; i++)
    to->attrs[i] = attr_import(cloner->module, &from->op->attrs[i], &from->attrs[i]);
  to->data = clone_data(cloner, from->data);
  node_set_result_count(to, from->result_count);
  for (int i = 0; i < from->result_count; i++) clone_value(cloner, from->results[i], to->results[i]);
  for (int i = 0; i < from->region_count; i++)
    clone_graph(cloner, node_add_region(to, from->regions[i]->name), from->regions[i]);
}

static void clone_graph(Cloner *cloner, Graph *copy, const Graph *source) {
  for (int i = 0; i < source->input_count; i++)
    clone_value(cloner, source->inputs[i], graph_add_input(copy, NULL, NULL));
  FOR_EACH_NODE(node, source) clone_node(cloner, copy, node);
  copy->output_count = source->output_count;
  copy->output_names = NEW_ARRAY(cloner->module->arena, const char *, source->output_count);
  for (int i = 0; i < source->output_count; i++)
    copy->output_names[i] = intern(cloner->module, source->output_names[i]);
  copy->state_count = source->state_count;
  copy->rooms = NEW_ARRAY(cloner->module->arena, const Type *, source->state_count);
  for (int i = 0; i < source->state_count; i++)
    copy->rooms[i] = cloner->same_module ? source->rooms[i] : type_import(cloner->module, source->rooms[i]);
}

Graph *graph_clone(Module *module, const Graph *source, Node *owner) {
  Cloner cloner = {.module = module, .same_module = module == source->module};
  Graph *copy = graph_new(module, source->name, owner);
  clone_graph(&cloner, copy, source);
  return copy;
}

static bool is_given(const Cloner *cloner, const Value *value) {
  return !value->def || map_get(&cloner->values, value);
}

/* Marks what the marked nodes are made of, back to what is given. */
static void mark_cone(const Cloner *cloner, const Graph *source) {
  bool any = false;
  for (Node *node = source->last; node; node = node->prev) {
    if (any && node_must_stay(node)) node->mark = 1;
    any |= node->mark;
    for (int i = 0; node->mark && i < node->operand_count; i++)
      if (operand(node, i) && !is_given(cloner, operand(node, i))) operand(node, i)->def->mark = 1;
  }
}

void graph_add_cone(Graph *graph, const Graph *source, const Cone *cone) {
  Cloner cloner = {.module = graph->module, .same_module = graph->module == source->module};
  for (int i = 0; i < cone->end_count; i++) {
    if (cone->ends_there[i])
      map_set(cloner.module->arena, &cloner.values, cone->ends[i], cone->ends_there[i]);
    else
      clone_value(&cloner, cone->ends[i], cone->ends_there[i] = graph_add_input(graph, NULL, NULL));
  }
  FOR_EACH_NODE(node, source) node->mark = 0;
  for (int i = 0; i < cone->count; i++)
    if (!is_given(&cloner, cone->values[i])) cone->values[i]->def->mark = 1;
  mark_cone(&cloner, source);
  FOR_EACH_NODE(node, source)
  if (node->mark) clone_node(&cloner, graph, node);
  for (int i = 0; i < cone->count; i++) cone->values_there[i] = map_get(&cloner.values, cone->values[i]);
}
