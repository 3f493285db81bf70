/*
 * cse.c -- common subexpressions: of equal nodes the first stays.
 *
 * Before: any graph. After: no two nodes have the same op, operands, attributes and constant data (operands
 * of a commutative op in any order). Requires nothing; keeps everything else. One walk in execution order:
 * when a node is looked up its operands have already become their first equals. Kernels are left alone.
 */
#include "passes/rewrite.h"

#include <stdlib.h>

typedef struct Table {
  Node **slots;
  size_t mask;
} Table;

static uint64_t mix(uint64_t hash, uint64_t x) {
  hash ^= x;
  hash *= 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 29;
}

static uint64_t node_hash(const Node *node) {
  uint64_t hash = mix(1, (uintptr_t)node->op), operands = 0;
  bool commutes = node->op->traits & TRAIT_COMMUTATIVE;
  for (int i = 0; i < node->operand_count; i++) {
    uint64_t one = mix(7, (uintptr_t)operand(node, i));
    operands = commutes ? operands + one : mix(operands, one);
  }
  hash = mix(hash, operands);
  for (int i = 0; i < node->result_count; i++) hash = mix(hash, (uintptr_t)node->results[i]->type);
  return node->data ? mix(hash, data_hash(node->data)) : hash;
}

static bool operands_equal(const Node *a, const Node *b) {
  bool same = true, swapped = a->op->traits & TRAIT_COMMUTATIVE && a->operand_count == 2;
  for (int i = 0; i < a->operand_count; i++) {
    same &= operand(a, i) == operand(b, i);
    swapped = swapped && operand(a, i) == operand(b, 1 - i);
  }
  return same || swapped;
}

static bool nodes_equal(const Node *a, const Node *b) {
  if (a->op != b->op || a->operand_count != b->operand_count || a->result_count != b->result_count)
    return false;
  if (!operands_equal(a, b)) return false;
  for (int i = 0; i < a->result_count; i++)
    if (a->results[i]->type != b->results[i]->type) return false;
  for (int i = 0; i < a->op->attr_count; i++)
    if (!attr_equal(&a->op->attrs[i], &a->attrs[i], &b->attrs[i])) return false;
  return !a->data || data_equal(a->data, b->data);
}

/* The first equal node, or `node` itself, now entered. */
static Node *table_first(Table *table, Node *node) {
  size_t slot = (size_t)node_hash(node) & table->mask;
  while (table->slots[slot] && !nodes_equal(table->slots[slot], node)) slot = (slot + 1) & table->mask;
  if (!table->slots[slot]) table->slots[slot] = node;
  return table->slots[slot];
}

bool pass_cse(Graph *graph, const PassOptions *options) {
  (void)options;
  size_t size = 16;
  while (size < 2 * (size_t)graph_count_nodes(graph)) size *= 2;
  Table table = {NEW_ARRAY(graph->module->arena, Node *, size), size - 1};
  bool changed = false;
  FOR_EACH_NODE_SAFE(node, graph) {
    if (node->region_count || node_is(node, &op_return)) continue;
    Node *first = table_first(&table, node);
    if (first == node || !rewrite_allowed(node)) continue;
    for (int i = 0; i < node->result_count; i++) value_replace(result(node, i), result(first, i));
    node_remove(node);
    changed = rewrite_done(graph->module, true);
  }
  return changed;
}
