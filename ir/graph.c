/*
 * graph.c -- modules, graphs, nodes and values: creation, use lists, rewriting.
 *
 * The uses of a value are a doubly linked list threaded through the operand arrays of the nodes, so replacing
 * costs the number of uses and removing a node the number of its operands. Names are looked up in a table of
 * the graph; an entry counts only while its value still lives there under that name.
 */
#include "ir/intern.h"

#include <assert.h>
#include <string.h>

/* ---- Modules ---- */

Module *module_new(const char *file) {
  Arena *arena = arena_new();
  Module *module = NEW(arena, Module);
  module->arena = arena;
  module->interns = NEW(arena, struct Interns);
  module->file = intern(module, file);
  return module;
}

void module_drop_bytes(Module *module) {
  for (Data *data = module->data; data; data = data->next) {
    if (data->release) data->release(data);
    data->release = NULL;
    data->bytes = NULL;
  }
}

void module_free(Module *module) {
  if (!module) return;
  module_drop_bytes(module);
  arena_free(module->arena);
}

/* ---- Names ---- */

typedef struct NameEntry {
  const char *name; /* interned */
  Value *value;
  int suffix; /* the last one tried when the name was taken */
} NameEntry;

static bool name_equal(const void *item, const void *key) {
  return ((const NameEntry *)item)->name == key;
}

static NameEntry *find_name(const Graph *graph, const char *name) {
  return table_find(graph->names, hash_pointer(name), name, name_equal);
}

static bool is_taken(const NameEntry *entry, const Value *by_other_than) {
  const Value *value = entry ? entry->value : NULL;
  return value && value != by_other_than && value->graph && value->name == entry->name;
}

static void take_name(Value *value, const char *name, NameEntry *entry) {
  Graph *graph = value->graph;
  value->name = name;
  if (entry) {
    entry->value = value;
    return;
  }
  entry = NEW(graph->module->arena, NameEntry);
  *entry = (NameEntry){.name = name, .value = value};
  table_add(graph->module->arena, graph->names, hash_pointer(name), entry);
}

void value_set_name(Value *value, const char *name) {
  Module *module = value->graph->module;
  if (!name || !*name) {
    value->name = NULL;
    return;
  }
  name = intern(module, name);
  NameEntry *first = find_name(value->graph, name), *entry = first;
  const char *unique = name;
  while (is_taken(entry, value)) {
    unique = intern(module, arena_printf(module->arena, "%s_%d", name, ++first->suffix));
    entry = find_name(value->graph, unique);
  }
  take_name(value, unique, entry);
}

/* ---- Graphs ---- */

Graph *graph_new(Module *module, const char *name, Node *owner) {
  Graph *graph = NEW(module->arena, Graph);
  *graph = (Graph){.module = module, .name = intern(module, name), .owner = owner};
  graph->names = NEW(module->arena, Table);
  return graph;
}

static Value *value_new(Graph *graph, Node *def, int index, const Type *type) {
  Value *value = NEW(graph->module->arena, Value);
  *value = (Value){.graph = graph, .def = def, .index = index, .type = type};
  return value;
}

/* `count` pointers and one more; arrays grow when the count is a power of two. */
static void *grow_array(Module *module, void *array, int count) {
  if (count != 0 && (count & (count - 1)) != 0) return array;
  void **grown = NEW_ARRAY(module->arena, void *, count ? 2 * (size_t)count : 1);
  if (count > 0) memcpy(grown, array, sizeof *grown * (size_t)count);
  return grown;
}

Value *graph_add_input(Graph *graph, const char *name, const Type *type) {
  Value *input = value_new(graph, NULL, graph->input_count, type);
  graph->inputs = grow_array(graph->module, graph->inputs, graph->input_count);
  graph->inputs[graph->input_count++] = input;
  value_set_name(input, name);
  return input;
}

static Node *return_of(const Graph *graph) {
  return graph->last && graph->last->op == &op_return ? graph->last : NULL;
}

bool graph_set_outputs(Graph *graph, int count, Value *const *values, const char *const *names) {
  Module *module = graph->module;
  const char **copies = NEW_ARRAY(module->arena, const char *, count);
  Table seen = {0};
  for (int i = 0; i < count; i++) {
    const char *name = names && names[i] ? names[i] : values[i]->name;
    copies[i] = intern(module, name ? name : arena_printf(module->arena, "output%d", i));
    if (map_get(&seen, copies[i])) return fail(module, "two outputs are named '%s'", copies[i]);
    map_set(module->arena, &seen, copies[i], values[i]);
  }
  Node *old = return_of(graph);
  if (old) node_remove(old);
  Builder builder = builder_at_end(graph);
  node_new(&builder, &op_return, values, count);
  graph->output_count = count;
  graph->output_names = copies;
  return true;
}

Value *graph_output(const Graph *graph, int index) {
  assert(return_of(graph) && index >= 0 && index < graph->output_count);
  return operand(graph->last, index);
}

int graph_count_nodes(const Graph *graph) {
  int count = 0;
  FOR_EACH_NODE(node, graph) count++;
  return count;
}

const Graph *graph_whole(const Graph *graph) {
  while (graph->owner) graph = graph->owner->graph;
  return graph;
}

/* ---- Uses ---- */

static void use_link(Use *use, Value *value) {
  use->value = value;
  use->prev = NULL;
  use->next = NULL;
  if (!value) return;
  use->next = value->uses;
  if (use->next) use->next->prev = use;
  value->uses = use;
}

static void use_unlink(Use *use) {
  if (!use->value) return;
  if (use->prev)
    use->prev->next = use->next;
  else
    use->value->uses = use->next;
  if (use->next) use->next->prev = use->prev;
  *use = (Use){.node = use->node};
}

Value *operand(const Node *node, int index) {
  assert(index >= 0);
  return index < node->operand_count ? node->operands[index].value : NULL;
}

Value *result(const Node *node, int index) {
  assert(index >= 0 && index < node->result_count);
  return node->results[index];
}

int value_use_count(const Value *value) {
  int count = 0;
  FOR_EACH_USE(use, value) count++;
  return count;
}

bool value_has_one_use(const Value *value) {
  return value->uses && !value->uses->next;
}

/* Takes a visit per value, so that a deep or wide expression costs no more than the limit. */
static bool constant_within(const Value *value, int *visits) {
  const Node *node = value->def;
  if (!node || --*visits < 0) return false;
  if (node->data) return true;
  if (node->operand_count == 0 || node->region_count || node->op->traits & TRAIT_STRUCTURE) return false;
  for (int i = 0; i < node->result_count; i++)
    if (!type_is_static(node->results[i]->type)) return false;
  for (int i = 0; i < node->operand_count; i++)
    if (operand(node, i) && !constant_within(operand(node, i), visits)) return false;
  return true;
}

bool value_is_constant(const Value *value) {
  int visits = 64;
  return value && constant_within(value, &visits);
}

bool value_is_output(const Value *value) {
  FOR_EACH_USE(use, value) if (use->node->op == &op_return) return true;
  return false;
}

void operand_set(Node *node, int index, Value *value) {
  assert(index >= 0 && index < node->operand_count);
  use_unlink(&node->operands[index]);
  use_link(&node->operands[index], value);
}

static bool has_string(Value *const *values, int count) {
  for (int i = 0; i < count; i++)
    if (values[i]->type && values[i]->type->dtype == DTYPE_STRING) return true;
  return false;
}

bool graph_is_dynamic(const Graph *graph) {
  if (graph->owner && graph->owner->op->traits & TRAIT_DYNAMIC) return true;
  for (int i = 0; i < graph->input_count; i++)
    if (!type_is_tensor(graph->inputs[i]->type)) return true;
  if (has_string(graph->inputs, graph->input_count)) return true;
  FOR_EACH_NODE(node, graph)
  if (node->op->traits & TRAIT_DYNAMIC || has_string(node->results, node->result_count)) return true;
  return false;
}

void value_replace(Value *from, Value *to) {
  if (from == to) return;
  assert(from->graph == to->graph);
  while (from->uses) {
    Use *use = from->uses;
    use_unlink(use);
    use_link(use, to);
  }
}

/* ---- Nodes ---- */

static void node_link(Node *node, Graph *graph, Node *before) {
  node->next = before;
  node->prev = before ? before->prev : graph->last;
  if (node->prev)
    node->prev->next = node;
  else
    graph->first = node;
  if (before)
    before->prev = node;
  else
    graph->last = node;
}

static void node_unlink(Node *node) {
  if (node->prev)
    node->prev->next = node->next;
  else
    node->graph->first = node->next;
  if (node->next)
    node->next->prev = node->prev;
  else
    node->graph->last = node->prev;
}

Node *node_new(Builder *builder, const Op *op, Value *const *operands, int operand_count) {
  Graph *graph = builder->graph;
  Arena *arena = graph->module->arena;
  Node *node = NEW(arena, Node);
  *node = (Node){.op = op, .graph = graph, .operand_count = operand_count, .origin = builder->origin};
  node->operands = NEW_ARRAY(arena, Use, operand_count);
  for (int i = 0; i < operand_count; i++) {
    assert(!operands[i] || operands[i]->graph == graph);
    node->operands[i].node = node;
    use_link(&node->operands[i], operands[i]);
  }
  node_set_result_count(node, op->result_count);
  node->attrs = attrs_default(graph->module, op);
  node_link(node, graph, builder->before ? builder->before : op == &op_return ? NULL : return_of(graph));
  return node;
}

void node_set_result_count(Node *node, int count) {
  Value **results = NEW_ARRAY(node->graph->module->arena, Value *, count);
  for (int i = count; i < node->result_count; i++) {
    assert(!node->results[i]->uses);
    node->results[i]->graph = NULL;
  }
  for (int i = 0; i < count; i++)
    results[i] = i < node->result_count ? node->results[i] : value_new(node->graph, node, i, NULL);
  node->results = results;
  node->result_count = count;
}

void node_adopt_region(Node *node, Graph *graph) {
  node->regions = grow_array(node->graph->module, node->regions, node->region_count);
  node->regions[node->region_count++] = graph;
  graph->owner = node;
}

Graph *node_add_region(Node *node, const char *name) {
  Graph *region = graph_new(node->graph->module, name, node);
  node_adopt_region(node, region);
  return region;
}

void node_remove(Node *node) {
  for (int i = 0; i < node->result_count; i++) {
    assert(!node->results[i]->uses);
    node->results[i]->graph = NULL; /* frees its name */
  }
  for (int i = 0; i < node->operand_count; i++) use_unlink(&node->operands[i]);
  node_unlink(node);
  node->prev = node->next = NULL;
}

void node_move_before(Node *node, Node *before) {
  if (node == before || node->next == before) return;
  node_unlink(node);
  node_link(node, before->graph, before);
}

bool node_is(const Node *node, const Op *op) {
  return node && node->op == op;
}

/* ---- Constants ---- */

const Data *value_data(const Value *value) {
  return value && value->def ? value->def->data : NULL;
}

bool value_scalar(const Value *value, double *x) {
  const Data *data = value_data(value);
  if (!data || data->count == 0 || data->dtype == DTYPE_STRING || dtype_is_complex(data->dtype)) return false;
  *x = data_get(data, 0);
  if (data->splat) return true;
  for (int64_t i = 1; i < data->count; i++)
    if (data_get(data, i) != *x) return false;
  return true;
}

bool value_is_literal(const Value *value) {
  const Data *data = value_data(value);
  return data && (data->splat || data->count == 1) && data->dtype != DTYPE_STRING &&
         !dtype_is_complex(data->dtype);
}

bool value_is_splat(const Value *value, double x) {
  double element;
  return value_scalar(value, &element) && element == x;
}

const Dim *const *value_known(const Value *value, int *count) {
  *count = 0;
  if (!value || !value->known) return NULL;
  *count = (int)type_static_count(value->type);
  return value->known;
}

bool value_known_ints(const Value *value, int64_t *ints, int max, int *count) {
  const Dim *const *known = value_known(value, count);
  if (!known || *count > max) return false;
  for (int i = 0; i < *count; i++) {
    if (!dim_is_const(known[i])) return false;
    ints[i] = known[i]->value;
  }
  return true;
}
