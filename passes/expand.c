/*
 * expand.c -- ops whose meaning is given by other ops become those.
 *
 * Before: any graph. After: no op with an `expand` meaning is left. Requires nothing; keeps everything else.
 * Runs first, so that batch normalisation is mul and add by constants when simplify looks for weights to fold
 * them into.
 */
#include "passes/rewrite.h"

static bool node_expand(Node *node) {
  Value *values[MAX_RANK] = {NULL};
  if (node->result_count > MAX_RANK || !node->op->expand(node, values)) return false;
  for (int i = 0; i < node->result_count; i++) {
    Value *old = result(node, i);
    const char *name = old->name;
    value_replace(old, values[i]);
    if (name && values[i]->def && !values[i]->name) {
      old->name = NULL;
      value_set_name(values[i], name);
    }
  }
  node_remove(node);
  return true;
}

bool pass_expand(Graph *graph, const PassOptions *options) {
  (void)options;
  bool changed = false;
  for (Node *node = graph->first; node;) {
    Node *previous = node->prev, *next = node->next;
    if (node->op->expand && rewrite_allowed(node) && rewrite_done(graph->module, node_expand(node))) {
      changed = true;
      next = previous ? previous->next : graph->first; /* what was built may expand again */
    }
    node = next;
  }
  return changed;
}
