/*
 * batch.c -- the same graph for several samples at once.
 *
 * The inputs' first axis, which is 1 or a symbol that all of them share, becomes the batch. Sizes that
 * attributes state for it follow, types are inferred anew. What comes out need not treat samples apart (a
 * softmax over the first axis does not): whoever uses it compares some results with those of single samples.
 */
#include "passes/observe.h"

/* A size that may be stated in terms of the batch's; `is_batch`: it is that of the axis itself. */
static const Dim *batched(Module *module, const Dim *dim, const Dim *from, const Dim *to, bool is_batch) {
  if (from->kind == DIM_SYMBOL) return dim_substitute(module, dim, from->symbol, to);
  return is_batch && dim == from ? to : dim;
}

static void batch_sizes(Node *node, const Dim *from, const Dim *to) {
  for (int i = 0; i < node->op->attr_count; i++) {
    const AttrSpec *spec = &node->op->attrs[i];
    if (spec->kind != ATTR_DIMS) continue;
    int count;
    const Dim *entries[2 * MAX_RANK], *const *old = node_dims(node, spec->name, &count);
    if (count > COUNT_OF(entries)) continue;
    for (int k = 0; k < count; k++)
      entries[k] = batched(node->graph->module, old[k], from, to, k == 0 && spec->role == ROLE_SIZES);
    node_set_dims(node, spec->name, entries, count);
  }
}

static const Dim *first_size(const Value *value) {
  return value && type_is_tensor(value->type) && value->type->rank > 0 ? value->type->dims[0] : NULL;
}

static bool has_batch(const Graph *graph, const Dim *from) {
  for (int i = 0; i < graph->input_count; i++)
    if (first_size(graph->inputs[i]) != from) return false;
  return from && (dim_is(from, 1) || from->kind == DIM_SYMBOL);
}

bool graph_batch(Graph *graph, int size) {
  Module *module = graph->module;
  const Dim *from = graph->input_count ? first_size(graph->inputs[0]) : NULL, *to = dim_const(module, size);
  if (size == 1) return true;
  TRY(has_batch(graph, from));
  bool is_one =
      dim_is(from, 1); /* where it moves to another axis, it cannot be told from others that are 1 */
  FOR_EACH_NODE(node, graph) node->mark = 0; /* 1: its results have the batch */
  for (int i = 0; i < graph->input_count; i++) {
    const Type *type = graph->inputs[i]->type;
    const Dim *dims[MAX_RANK] = {to};
    for (int k = 1; k < type->rank; k++) dims[k] = batched(module, type->dims[k], from, to, false);
    graph->inputs[i]->type = type_make(module, type->dtype, type->rank, dims);
  }
  FOR_EACH_NODE(node, graph) {
    for (int i = 0; i < node->operand_count; i++) {
      const Value *x = operand(node, i);
      node->mark |= x && (!x->def || x->def->mark);
    }
    if (!node->mark || node_is(node, &op_return)) continue;
    TRY(node->region_count == 0 && (!is_one || first_size(result(node, 0)) == from));
    batch_sizes(node, from, to);
    TRY(node_reinfer(node) && (!is_one || first_size(result(node, 0)) == to));
  }
  return true;
}
