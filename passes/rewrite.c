/*
 * rewrite.c -- questions, permutations and small rewrites that several passes need.
 */
#include "passes/rewrite.h"

#include <string.h>

/* ---- questions ---- */

bool node_is_view(const Node *node) {
  return node && node->op->traits & TRAIT_VIEW;
}

Value *value_root(const Value *value) {
  while (node_is_view(value->def)) value = operand(value->def, 0);
  return (Value *)value;
}

/* Each axis of the operand is the result axis at the same distance from the end. */
static bool operand_is_aligned(const Node *node, int index) {
  const Value *x = operand(node, index);
  int shift = result(node, 0)->type->rank - x->type->rank;
  AxisLink links[MAX_RANK];
  op_axes(node, index, links);
  for (int axis = 0; axis < x->type->rank; axis++) {
    bool kept = links[axis].role == AXIS_SAME || links[axis].role == AXIS_BROADCAST;
    if (!kept || links[axis].axis != axis + shift) return false;
  }
  return shift >= 0;
}

bool node_is_pointwise(const Node *node) {
  if (!node || !node->op->element || node->result_count != 1 || node_is_view(node)) return false;
  for (int i = 0; i < node->operand_count; i++)
    if (operand(node, i) && !operand_is_aligned(node, i)) return false;
  return true;
}

bool node_is_anchor(const Node *node) {
  return node->op->nest && !(node->op->traits & TRAIT_REREAD);
}

double value_weight(const Value *value) {
  enum { SYMBOL_GUESS = 16 };
  double weight = 1;
  for (int i = 0; i < value->type->rank; i++) {
    const Dim *dim = value->type->dims[i];
    weight *= dim_is_const(dim) ? (double)dim->value : SYMBOL_GUESS;
  }
  return weight;
}

/* ---- permutations ---- */

bool perm_is_identity(const int64_t *perm, int rank) {
  for (int i = 0; i < rank; i++)
    if (perm[i] != i) return false;
  return true;
}

void perm_invert(const int64_t *perm, int rank, int64_t *inverse) {
  for (int i = 0; i < rank; i++) inverse[perm[i]] = i;
}

void perm_compose(const int64_t *first, const int64_t *second, int rank, int64_t *composed) {
  int64_t all[MAX_RANK];
  for (int i = 0; i < rank; i++) all[i] = first[second[i]];
  memcpy(composed, all, sizeof all[0] * (size_t)rank);
}

bool perm_is_view(const Type *type, const int64_t *perm) {
  int64_t last = -1;
  for (int i = 0; i < type->rank; i++) {
    if (dim_is(type->dims[perm[i]], 1)) continue;
    if (perm[i] < last) return false;
    last = perm[i];
  }
  return true;
}

const int64_t *node_perm(const Node *node) {
  int count = 0;
  return node_ints(node, "perm", &count);
}

/* ---- rewriting ---- */

Value *build_permuted(Builder *builder, Value *value, const int64_t *perm) {
  int rank = value->type->rank;
  int64_t composed[MAX_RANK];
  memcpy(composed, perm, sizeof composed[0] * (size_t)rank);
  while (node_is(value->def, &op_transpose)) {
    perm_compose(node_perm(value->def), composed, rank, composed);
    value = operand(value->def, 0);
  }
  return perm_is_identity(composed, rank) ? value : build_transpose(builder, value, composed);
}

Value *node_try(Node *node, const Type *shape) {
  Module *module = node->graph->module;
  Diag *last = module->last_diag;
  if (!node_finish(node)) {
    diags_take_back(module, last);
    return NULL;
  }
  if (!shape || type_same_shape(result(node, 0)->type, shape)) return result(node, 0);
  node_remove(node);
  return NULL;
}

void value_hand_over(Value *old, Value *by) {
  const char *name = old->name;
  value_replace(old, by);
  if (!name || !by->def || by->name) return;
  value_set_name(old, NULL); /* free for its heir */
  value_set_name(by, name);
}

void node_replace(Node *node, Value *by) {
  value_hand_over(result(node, 0), by);
  node_remove(node);
}
