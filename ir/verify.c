/*
 * verify.c -- whether a graph is what everybody takes it for: links, use lists, order of definition, names,
 * types as infer would set them, kernels in place.
 *
 * It checks everything and reports everything; each finding names the node. Types are checked by running
 * infer on a copy of the node at its place and comparing, so nothing is changed that a reader could see.
 */
#include "ir/intern.h"

#include <string.h>

typedef struct Verifier {
  Arena *arena;
  Table defined; /* Value -> itself, once its definition was passed */
  Table names;   /* interned name -> Value */
} Verifier;

static bool wrong(const Node *node, const char *what) {
  return node_fail(node, "broken graph: %s", what);
}

/* ---- Values ---- */

static bool define(Verifier *verifier, const Graph *graph, const Value *value) {
  Module *module = graph->module;
  if (value->graph != graph) return fail(module, "broken graph: a value of another graph");
  if (!value->type)
    return fail(module, "broken graph: value '%s' has no type", value->name ? value->name : "");
  if (value->name && map_get(&verifier->names, value->name))
    return fail(module, "broken graph: two values are named '%s'", value->name);
  if (value->name) map_set(verifier->arena, &verifier->names, value->name, (void *)value);
  map_set(verifier->arena, &verifier->defined, value, (void *)value);
  return true;
}

static bool uses_are_linked(const Value *value) {
  const Use *previous = NULL;
  FOR_EACH_USE(use, value) {
    if (use->value != value || use->prev != previous) return false;
    const Node *node = use->node;
    if (!node || use < node->operands || use >= node->operands + node->operand_count) return false;
    previous = use;
  }
  return true;
}

static bool is_in_use_list(const Use *wanted) {
  return wanted->prev ? wanted->prev->next == wanted : wanted->value->uses == wanted;
}

static bool check_value(Verifier *verifier, const Graph *graph, const Value *value) {
  TRY(define(verifier, graph, value));
  return uses_are_linked(value) ||
         fail(graph->module, "broken graph: the uses of '%s'", value->name ? value->name : "");
}

/* ---- Nodes ---- */

static bool check_links(const Graph *graph, const Node *node) {
  if (node->graph != graph) return wrong(node, "a node of another graph");
  if (node->prev ? node->prev->next != node : graph->first != node)
    return wrong(node, "the link from before");
  if (node->next ? node->next->prev != node : graph->last != node) return wrong(node, "the link from behind");
  if (node->op == &op_return && node->next) return wrong(node, "something follows return");
  return true;
}

static bool check_operand(const Verifier *verifier, const Node *node, int index) {
  const Use *use = &node->operands[index];
  if (use->node != node) return wrong(node, "an operand that belongs to another node");
  if (!use->value) return true;
  if (!map_get(&verifier->defined, use->value))
    return node_fail(node, "broken graph: operand %d is used before its definition, or of another graph",
                     index);
  return is_in_use_list(use) || wrong(node, "an operand that is not in the use list of its value");
}

static bool check_results_of(const Node *node) {
  for (int i = 0; i < node->result_count; i++)
    if (node->results[i]->def != node || node->results[i]->index != i)
      return wrong(node, "a result that it does not define");
  return true;
}

/* Runs infer again; puts back what was there and says whether it was the same. */
static bool check_types(Node *node) {
  Arena *arena = node->graph->module->arena;
  int count = node->result_count;
  struct Kept {
    const Type *type;
    const Dim *const *known;
  } *kept = arena_alloc(arena, sizeof *kept * (size_t)count);
  for (int i = 0; i < count; i++) kept[i] = (struct Kept){node->results[i]->type, node->results[i]->known};
  TRY(node_reinfer(node));
  if (node->result_count != count) return wrong(node, "the number of its results");
  bool same = true;
  for (int i = 0; i < count; i++) {
    Module *module = node->graph->module;
    Value *value = node->results[i];
    if (value->type != kept[i].type)
      same = node_fail(node, "broken graph: result %d is %s, but should be %s", i,
                       type_text(module, kept[i].type), type_text(module, value->type));
    value->type = kept[i].type;
    value->known = kept[i].known;
  }
  return same;
}

static bool check_regions(const Node *node) {
  for (int i = 0; i < node->region_count; i++) {
    if (node->regions[i]->owner != node) return wrong(node, "a region of another node");
    TRY(graph_verify(node->regions[i]));
  }
  return true;
}

static bool check_node(Verifier *verifier, const Graph *graph, Node *node) {
  TRY(check_links(graph, node));
  for (int i = 0; i < node->operand_count; i++) TRY(check_operand(verifier, node, i));
  TRY(check_results_of(node));
  bool ok = true;
  for (int i = 0; i < node->result_count; i++) ok &= check_value(verifier, graph, node->results[i]);
  return ok && check_regions(node) && check_types(node);
}

/* ---- Graphs ---- */

static bool check_outputs(const Graph *graph) {
  if (!node_is(graph->last, &op_return))
    return fail(graph->module, "broken graph: it does not end with return");
  if (graph->last->operand_count != graph->output_count)
    return fail(graph->module, "broken graph: %d outputs are declared, %d returned", graph->output_count,
                graph->last->operand_count);
  for (int i = 0; i < graph->output_count; i++)
    if (!graph->last->operands[i].value || !graph->output_names[i])
      return fail(graph->module, "broken graph: output %d is absent", i);
  return true;
}

bool graph_verify(const Graph *graph) {
  Verifier verifier = {.arena = arena_new()};
  bool ok = true;
  for (int i = 0; i < graph->input_count; i++) {
    const Value *input = graph->inputs[i];
    if (input->def || input->index != i) ok = fail(graph->module, "broken graph: input %d", i);
    ok &= check_value(&verifier, graph, input);
  }
  FOR_EACH_NODE(node, graph) ok &= check_node(&verifier, graph, node);
  ok &= check_outputs(graph);
  arena_free(verifier.arena);
  return ok && graph_check_states(graph) && (graph->owner || places_find(graph));
}
