/*
 * sink_reshape.c -- reshape(transpose(y)) -> transpose'(reshape'(y)).
 *
 * A reshape falls into groups: the shortest runs of operand axes and of result axes with the same product.
 * [N,C,H,W] -> [N,C,H*W] has the groups N, C and (H,W). When the axes of each group are neighbours in the
 * same order in y too, y can be reshaped group by group where it is, and the groups transposed afterwards.
 * Axes of size 1 carry no data and take no part.
 */
#include "passes/sink.h"

typedef struct Group {
  int in_begin, in_end;   /* axes of the reshape's operand */
  int out_begin, out_end; /* axes of its result */
  int first, last;        /* positions in y of its first and last axis that is not 1; -1: it has none */
} Group;

/* Splits the shapes into groups; 0 when the products cannot be compared. */
static int groups_find(Module *module, const Type *in, const Type *out, Group *groups) {
  int i = 0, o = 0, count = 0;
  while (i < in->rank || o < out->rank) {
    Group group = {.in_begin = i, .out_begin = o, .first = -1, .last = -1};
    const Dim *a = i < in->rank ? in->dims[i++] : dim_const(module, 1);
    const Dim *b = o < out->rank ? out->dims[o++] : dim_const(module, 1);
    while (a != b) {
      bool a_is_less = !dim_is_const(a) || !dim_is_const(b) ? dim_is_const(a) : a->value < b->value;
      if (a_is_less && i < in->rank)
        a = dim_mul(module, a, in->dims[i++]);
      else if (o < out->rank)
        b = dim_mul(module, b, out->dims[o++]);
      else if (i < in->rank)
        a = dim_mul(module, a, in->dims[i++]);
      else
        return 0;
    }
    group.in_end = i;
    group.out_end = o;
    groups[count++] = group;
  }
  return count;
}

/* Finds where each group lies in y; false when its axes are not in order there. */
static bool groups_place(const Type *in, const int64_t *perm, Group *groups, int count) {
  for (int g = 0; g < count; g++) {
    Group *group = &groups[g];
    for (int axis = group->in_begin; axis < group->in_end; axis++) {
      if (dim_is(in->dims[axis], 1)) continue;
      if (group->first < 0) group->first = (int)perm[axis];
      if (group->last > perm[axis]) return false;
      group->last = (int)perm[axis];
    }
  }
  for (int g = 0; g < count; g++) /* nothing of another group lies between */
    for (int h = 0; h < count; h++)
      if (g != h && groups[g].first >= 0 && groups[h].first > groups[g].first &&
          groups[h].first < groups[g].last)
        return false;
  return true;
}

/* Orders groups by their place in y; those of ones only first. An insertion sort: stable, and there are few.
 */
static void groups_sort(Group *groups, int count) {
  for (int i = 1; i < count; i++) {
    Group group = groups[i];
    int k = i;
    for (; k > 0 && groups[k - 1].first > group.first; k--) groups[k] = groups[k - 1];
    groups[k] = group;
  }
}

bool sink_through_reshape(Node *reshape) {
  Value *z = operand(reshape, 0);
  const Type *out = result(reshape, 0)->type;
  Module *module = reshape->graph->module;
  Group groups[2 * MAX_RANK];
  const Dim *dims[MAX_RANK];
  int64_t perm[MAX_RANK];
  if (!node_is(z->def, &op_transpose) || type_static_count(out) == 0) return false;
  int count = groups_find(module, z->type, out, groups), rank = 0;
  if (count == 0 || !groups_place(z->type, node_perm(z->def), groups, count)) return false;
  groups_sort(groups, count);
  for (int g = 0; g < count; g++)
    for (int axis = groups[g].out_begin; axis < groups[g].out_end; axis++) {
      perm[axis] = rank;
      dims[rank++] = out->dims[axis];
    }
  Builder builder = builder_before(reshape);
  Value *moved = build_reshape(&builder, operand(z->def, 0), rank, dims);
  node_replace(reshape, build_permuted(&builder, moved, perm));
  return true;
}
