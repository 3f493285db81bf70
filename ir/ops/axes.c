/*
 * axes.c -- the axis maps that several operators share. See AxisRole in ir.h.
 */
#include "ir/ops/ops.h"

void axes_opaque(const Node *node, int index, AxisLink *links) {
  for (int i = 0; i < operand(node, index)->type->rank; i++) links[i] = axis_link(AXIS_OPAQUE, -1);
}

void axes_same(const Node *node, int index, AxisLink *links) {
  for (int i = 0; i < operand(node, index)->type->rank; i++) links[i] = axis_link(AXIS_SAME, i);
}

void axes_broadcast(const Node *node, int index, AxisLink *links) {
  const Type *from = operand(node, index)->type, *to = result(node, 0)->type;
  int shift = to->rank - from->rank;
  for (int i = 0; i < from->rank; i++)
    links[i] = axis_link(from->dims[i] == to->dims[i + shift] ? AXIS_SAME : AXIS_BROADCAST, i + shift);
}
