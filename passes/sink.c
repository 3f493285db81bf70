/*
 * sink.c -- transposes sink through every op that can work in the permuted space, until they meet their
 * inverse.
 *
 *   op(transpose(x), transpose(y))  ->  transpose(op'(x, y))
 *
 * No op is named here: the axis map says whether each operand axis is the result axis of the same number, and
 * the roles of the attributes say how they speak of axes; op' has its attributes permuted. Operands that are
 * no transpose of the same kind are transposed the other way; for constants, single numbers and maps of one
 * pixel that costs nothing, for others the elements moved before and after are compared. Reshapes have an own
 * rule (sink_reshape.c), because they change the number of axes.
 *
 * Convention: z = transpose(y, perm) means z axis i is y axis perm[i]; ops are moved from z-space to y-space.
 */
#include "passes/sink.h"

#include <string.h>

/* ---- may the op be computed in another order of axes? ---- */

static bool is_single(const Value *value) {
  return type_static_count(value->type) == 1;
}

/* Whether an axis attribute names result axis `axis`. */
static bool attrs_name_axis(const Node *node, int axis) {
  int rank = result(node, 0)->type->rank;
  for (int i = 0; i < node->op->attr_count; i++) {
    const AttrSpec *spec = &node->op->attrs[i];
    if (spec->role == ROLE_AXIS && node_axis(node, spec->name, rank) == axis) return true;
    if (spec->role != ROLE_AXES) continue;
    int count;
    const int64_t *axes = node_ints(node, spec->name, &count);
    for (int k = 0; k < count; k++)
      if ((axes[k] < 0 ? axes[k] + rank : axes[k]) == axis) return true;
  }
  return false;
}

static int list_length(const AttrSpec *spec, const Attr *attr) {
  return spec->kind == ATTR_INTS || spec->kind == ATTR_FLOATS || spec->kind == ATTR_DIMS ? attr->count : 0;
}

/* Every list attribute says by its role how it speaks of axes, and has an entry for each. */
static bool attrs_are_permutable(const Node *node, int rank) {
  if (op_attr_index(node->op, "layout") >= 0) return false;
  for (int i = 0; i < node->op->attr_count; i++) {
    const AttrSpec *spec = &node->op->attrs[i];
    int length = list_length(spec, &node->attrs[i]);
    if (length == 0 || spec->role == ROLE_AXES) continue;
    if (role_entries(spec->role) * rank != length) return false;
  }
  return true;
}

static bool operand_is_permutable(const Node *node, int index, int rank) {
  const Value *x = operand(node, index);
  int shift = rank - x->type->rank;
  if (x->type->rank == 0) return true;
  AxisLink links[MAX_RANK];
  op_axes(node, index, links);
  for (int axis = 0; axis < x->type->rank; axis++) {
    AxisRole role = links[axis].role;
    bool linked = role == AXIS_SAME || role == AXIS_BROADCAST ||
                  (shift == 0 && (role == AXIS_WINDOW || role == AXIS_SHIFT || role == AXIS_REPEAT));
    bool in_place = linked && links[axis].axis == axis + shift;
    if (!in_place && !(shift == 0 && attrs_name_axis(node, axis))) return false;
  }
  return shift >= 0;
}

static bool node_is_permutable(const Node *node) {
  if (node->op->traits & TRAIT_STRUCTURE || node->region_count || node->result_count != 1) return false;
  if (node_is(node, &op_transpose) || node_is(node, &op_reshape)) return false;
  int rank = result(node, 0)->type->rank;
  if (!attrs_are_permutable(node, rank)) return false;
  for (int i = 0; i < node->operand_count; i++)
    if (operand(node, i) && !operand_is_permutable(node, i, rank)) return false;
  return true;
}

/* ---- is it worth it? ---- */

static bool is_transpose_by(const Node *node, const int64_t *perm, int rank) {
  return node_is(node, &op_transpose) && result(node, 0)->type->rank == rank &&
         memcmp(node_perm(node), perm, sizeof perm[0] * (size_t)rank) == 0;
}

/* The permutation of the largest operand that is a transpose of the result's rank; NULL when there is none.
 * Those of constants will fold and must not count: the moves themselves make them. */
static const int64_t *node_sinkable_perm(const Node *node) {
  const int64_t *perm = NULL;
  double largest = 0;
  for (int i = 0; i < node->operand_count; i++) {
    const Value *x = operand(node, i);
    if (!x || !node_is(x->def, &op_transpose) || x->type->rank != result(node, 0)->type->rank) continue;
    if (value_weight(x) <= largest || value_is_constant(x)) continue;
    largest = value_weight(x);
    perm = node_perm(x->def);
  }
  return perm;
}

/* Elements that must be moved to have `value` in y-space. */
static double cost_of_inverse(const Value *value, const int64_t *inverse, int rank) {
  if (value_is_constant(value) || is_single(value)) return 0;
  if (value->type->rank == rank && perm_is_view(value->type, inverse)) return 0;
  return value_weight(value);
}

static bool all_uses_undo(const Value *value, const int64_t *inverse, int rank) {
  FOR_EACH_USE(use, value)
  if (!is_transpose_by(use->node, inverse, rank)) return false;
  return true;
}

/* Elements that need not be moved any more, less those that must be now. */
static bool is_worth_sinking(const Node *node, const int64_t *perm, const int64_t *inverse) {
  const Value *value = result(node, 0);
  int rank = value->type->rank;
  double saved = 0, spent = 0;
  for (int i = 0; i < node->operand_count; i++) {
    const Value *x = operand(node, i);
    if (x && is_transpose_by(x->def, perm, rank) && !value_is_constant(x))
      saved += value_weight(x);
    else if (x)
      spent += cost_of_inverse(x, inverse, rank);
  }
  if (spent == 0) return true;
  if (all_uses_undo(value, inverse, rank))
    saved += value_weight(value);
  else if (!perm_is_view(value->type, inverse))
    spent += value_weight(value);
  return saved > spent;
}

/* ---- the move ---- */

static Value *operand_moved(Builder *builder, Value *x, const int64_t *inverse, int rank) {
  if (is_single(x) && x->type->rank < rank) return x;
  if (x->type->rank < rank) {
    const Dim *dims[MAX_RANK];
    int shift = rank - x->type->rank;
    for (int i = 0; i < rank; i++)
      dims[i] = i < shift ? dim_const(builder->graph->module, 1) : x->type->dims[i - shift];
    x = build_reshape(builder, x, rank, dims);
  }
  return build_permuted(builder, x, inverse);
}

/* The entries of a per-axis list in the order of y; `half` is the number of the pair's half. */
static void attr_permute_half(const AttrSpec *spec, const Attr *from, Attr *to, const int64_t *perm, int rank,
                              int half) {
  for (int i = 0; i < rank; i++) {
    int source = half * rank + i, target = half * rank + (int)perm[i];
    if (spec->kind == ATTR_INTS) ((int64_t *)to->ints)[target] = from->ints[source];
    if (spec->kind == ATTR_FLOATS) ((double *)to->floats)[target] = from->floats[source];
    if (spec->kind == ATTR_DIMS) ((const Dim **)to->dims)[target] = from->dims[source];
  }
}

static void attr_permute_list(Node *node, int index, const int64_t *perm, int rank) {
  const AttrSpec *spec = &node->op->attrs[index];
  Attr from = node->attrs[index], *to = &node->attrs[index];
  int halves = role_entries(spec->role);
  if (from.count == 0 || halves == 0) return;
  to->ints =
      arena_alloc(node->graph->module->arena, 8 * (size_t)from.count); /* all three kinds have 8 bytes */
  for (int half = 0; half < halves; half++) attr_permute_half(spec, &from, to, perm, rank, half);
}

static void attr_permute_axes(Node *node, const char *name, const int64_t *perm, int rank) {
  int count, sorted = 0;
  int64_t axes[MAX_RANK];
  const int64_t *old = node_ints(node, name, &count);
  bool moved[MAX_RANK] = {false};
  for (int i = 0; i < count; i++) moved[perm[old[i] < 0 ? old[i] + rank : old[i]]] = true;
  for (int i = 0; i < rank; i++)
    if (moved[i]) axes[sorted++] = i;
  node_set_ints(node, name, axes, sorted);
}

static void attrs_permute(Node *node, const int64_t *perm, int rank) {
  for (int i = 0; i < node->op->attr_count; i++) {
    const AttrSpec *spec = &node->op->attrs[i];
    switch (spec->role) {
    case ROLE_AXIS: node_set_int(node, spec->name, perm[node_axis(node, spec->name, rank)]); break;
    case ROLE_AXES: attr_permute_axes(node, spec->name, perm, rank); break;
    default: attr_permute_list(node, i, perm, rank); break;
    }
  }
}

static const Type *type_permuted(const Type *type, const int64_t *perm, Module *module) {
  const Dim *dims[MAX_RANK];
  for (int i = 0; i < type->rank; i++) dims[i] = type->dims[perm[i]];
  return type_make(module, type->dtype, type->rank, dims);
}

static bool sink_through(Node *node) {
  const int64_t *perm = node_sinkable_perm(node);
  int rank = result(node, 0)->type->rank;
  int64_t inverse[MAX_RANK];
  if (!perm || !node_is_permutable(node)) return false;
  perm_invert(perm, rank, inverse);
  if (!is_worth_sinking(node, perm, inverse)) return false;
  Builder builder = builder_before(node);
  Value **operands = NEW_ARRAY(builder.graph->module->arena, Value *, node->operand_count);
  for (int i = 0; i < node->operand_count; i++)
    if (operand(node, i)) operands[i] = operand_moved(&builder, operand(node, i), inverse, rank);
  Node *copy = node_like(&builder, node, operands);
  attrs_permute(copy, perm, rank);
  Value *moved = node_try(copy, type_permuted(result(node, 0)->type, inverse, node->graph->module));
  if (!moved) return false;
  node_replace(node, build_transpose(&builder, moved, perm));
  return true;
}

/* transpose(transpose(x)) is one transpose, or x. */
static bool merge_transposes(Node *node) {
  if (!node_is(operand(node, 0)->def, &op_transpose)) return false;
  Builder builder = builder_before(node);
  node_replace(node, build_permuted(&builder, operand(node, 0), node_perm(node)));
  return true;
}

static bool sink_one(Node *node) {
  if (node_is(node, &op_transpose)) return merge_transposes(node);
  return node_is(node, &op_reshape) ? sink_through_reshape(node) : sink_through(node);
}

bool sink_transposes(Graph *graph) {
  enum { MAX_SWEEPS = 16 }; /* one sinks everything; more only where weighing changes its mind */
  bool changed = false;
  for (int sweep = 0; sweep < MAX_SWEEPS; sweep++) {
    bool moved = false;
    FOR_EACH_NODE_SAFE(node, graph) {
      if (node->result_count == 1 && rewrite_allowed(node))
        moved |= rewrite_done(graph->module, sink_one(node));
    }
    graph_sweep(graph);
    if (!moved) break;
    changed = true;
  }
  return changed;
}
