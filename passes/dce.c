/*
 * dce.c -- removes nodes whose results nobody uses.
 *
 * Before: any graph. After: every node but `return` has a used result. One walk from the end is enough,
 * because definitions come before uses. No op has a side effect but that some find sizes when they run, which
 * others mention, or refuse a run.
 */
#include "passes/rewrite.h"

static bool node_is_dead(const Node *node) {
  if (node_is(node, &op_return)) return false;
  for (int i = 0; i < node->result_count; i++)
    if (node->results[i]->uses) return false;
  return !node_must_stay(node);
}

bool graph_sweep(Graph *graph) {
  bool changed = false;
  for (Node *node = graph->last, *previous; node; node = previous) {
    previous = node->prev;
    if (!node_is_dead(node)) continue;
    node_remove(node);
    changed = true;
  }
  return changed;
}

bool pass_dce(Graph *graph, const PassOptions *options) {
  (void)options;
  return graph_sweep(graph);
}
