/*
 * place.c -- concats and slices that need no code.
 *
 * Before: fused kernels. After: a kernel around a lone concat has schedule="in_place" when the kernels before
 * it can write straight into its result, and a kernel around a lone slice when those behind it can read its
 * operand; ir/place.c says where everything lies then. An operand of such a concat that cannot lie there (an
 * input, a constant, an output, a part of another concat) gets a copy that can. A concat that would consist
 * of copies for the most part stays a kernel with code; one that appends to a state never does. Keeps: the
 * meaning; every kernel takes strided operands and results.
 */
#include "passes/rewrite.h"

static bool is_around(const Node *kernel, const Op *op) {
  return node_is(kernel, &op_kernel) && !*node_string(kernel, "schedule") &&
         node_is(kernel->regions[0]->first, op);
}

/* A kernel that copies `value`, before `user`. */
static Value *build_copy(Node *user, Value *value, int number) {
  Builder builder = builder_before(user);
  const char *name = arena_printf(user->graph->module->arena, "%s_copy%d", node_string(user, "name"), number);
  Node *kernel = node_new(&builder, &op_kernel, &value, 1);
  node_set_string(kernel, "name", name);
  Graph *region = node_add_region(kernel, name);
  Builder inside = builder_at_end(region);
  Value *x = graph_add_input(region, value->name, value->type);
  Value *copy = build_broadcast(&inside, x, value->type->rank, value->type->dims);
  if (!copy || !graph_set_outputs(region, 1, &copy, NULL) || !node_finish(kernel)) return NULL;
  return result(kernel, 0);
}

/* Whether copying the operands that do not fit is less work than copying all. What a state holds is the work
 * of many runs. */
static bool saves_work(const Node *kernel, const Node *concat, const bool *fits) {
  double saved = 0, copied = 0;
  if (fits[0] && !operand(kernel, operand(concat, 0)->index)->def) return true;
  for (int i = 0; i < concat->operand_count; i++)
    *(fits[i] ? &saved : &copied) += value_weight(operand(concat, i));
  return concat->operand_count == kernel->operand_count && saved > 0 && saved >= copied;
}

static bool place_concat(Places *places, Node *kernel) {
  const Node *concat = kernel->regions[0]->first;
  const bool *fits = places_fit(places, kernel);
  if (!fits || !saves_work(kernel, concat, fits)) return false;
  for (int i = 0; i < concat->operand_count; i++) {
    int outside = operand(concat, i)->index;
    if (fits[i]) continue;
    Value *copy = build_copy(kernel, operand(kernel, outside), i);
    TRY(copy);
    operand_set(kernel, outside, copy);
  }
  return places_join(places, kernel);
}

static void mark(Node *kernel) {
  node_set_string(kernel, "schedule", "in_place");
}

bool pass_place(Graph *graph, const PassOptions *options) {
  (void)options;
  bool changed = false;
  if (graph_is_dynamic(graph)) return false; /* every value has memory of its own */
  Places *places = places_new(graph->module);
  for (Node *node = graph->last; node; node = node->prev)
    if (is_around(node, &op_concat) && rewrite_allowed(node) && place_concat(places, node))
      mark(node), changed = rewrite_done(graph->module, true);
  FOR_EACH_NODE(node, graph)
  if (is_around(node, &op_slice) && rewrite_allowed(node) && places_join(places, node))
    mark(node), changed = rewrite_done(graph->module, true);
  return changed;
}
