/*
 * symbols.c -- which nodes must stay although nobody uses their results: above all those whose sizes, found
 * when they run, are still wanted.
 */
#include "ir/ir.h"

static bool dim_mentions(const Dim *dim, const Dim *symbol) {
  return dim && (dim == symbol || dim_mentions(dim->a, symbol) || dim_mentions(dim->b, symbol));
}

static bool dims_mention(const Dim *const *dims, int count, const Dim *symbol) {
  for (int i = 0; i < count; i++)
    if (dim_mentions(dims[i], symbol)) return true;
  return false;
}

static bool value_mentions(const Value *value, const Dim *symbol) {
  int count;
  const Dim *const *known = value_known(value, &count);
  return dims_mention(value->type->dims, value->type->rank, symbol) || dims_mention(known, count, symbol);
}

static bool graph_mentions(const Graph *graph, const Dim *symbol, const Node *except);

static bool node_mentions(const Node *node, const Dim *symbol, const Node *except) {
  for (int i = 0; i < node->result_count; i++)
    if (value_mentions(node->results[i], symbol)) return true;
  for (int i = 0; i < node->op->attr_count; i++)
    if (node->op->attrs[i].kind == ATTR_DIMS &&
        dims_mention(node->attrs[i].dims, node->attrs[i].count, symbol))
      return true;
  for (int i = 0; i < node->region_count; i++)
    if (graph_mentions(node->regions[i], symbol, except)) return true;
  return false;
}

static bool graph_mentions(const Graph *graph, const Dim *symbol, const Node *except) {
  for (int i = 0; i < graph->input_count; i++)
    if (value_mentions(graph->inputs[i], symbol)) return true;
  FOR_EACH_NODE(node, graph)
  if (node != except && node_mentions(node, symbol, except)) return true;
  return false;
}

bool node_must_stay(const Node *node) {
  int count;
  if (node_is(node, &op_require)) return true;
  if (op_attr_index(node->op, "symbols") < 0) return false;
  const Dim *const *symbols = node_dims(node, "symbols", &count);
  const Graph *whole = graph_whole(node->graph);
  for (int i = 0; i < count; i++)
    if (graph_mentions(whole, symbols[i], node)) return true;
  return false;
}
