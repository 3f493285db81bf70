/* op.c -- the table of operators, made from ops.def, and the axis map of an operand. */
#include "ir/ir.h"

#include <assert.h>
#include <string.h>

const Op *const all_ops[] = {
#define OP(name) &op_##name,
#include "ir/ops.def"
#undef OP
};

const int all_op_count = COUNT_OF(all_ops);

const Op *op_find(const char *name, size_t length) {
  int low = 0, high = all_op_count;
  while (low < high) { /* ops.def is sorted by name */
    int middle = (low + high) / 2;
    const char *at = all_ops[middle]->name;
    int order = strncmp(at, name, length);
    if (order == 0 && at[length] == '\0') return all_ops[middle];
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

int op_attr_index(const Op *op, const char *name) {
  for (int i = 0; i < op->attr_count; i++)
    if (strcmp(op->attrs[i].name, name) == 0) return i;
  return -1;
}

AxisLink axis_link(AxisRole role, int axis) {
  return (AxisLink){.role = role, .axis = axis};
}

/* Operand axes meet the last axes of the result. */
static void broadcast_axes(const Type *from, const Type *to, AxisLink *links) {
  for (int i = 0; i < from->rank; i++) {
    int axis = i + to->rank - from->rank;
    links[i] = axis_link(from->dims[i] == to->dims[axis] ? AXIS_SAME : AXIS_BROADCAST, axis);
  }
}

void op_axes(const Node *node, int index, AxisLink links[MAX_RANK]) {
  for (int i = 0; i < MAX_RANK; i++) links[i] = axis_link(AXIS_OPAQUE, 0);
  const Value *value = operand(node, index);
  if (!value) return;
  if (node->op->axes)
    node->op->axes(node, index, links);
  else if (node->op->traits & TRAIT_BROADCAST)
    broadcast_axes(value->type, result(node, 0)->type, links);
}

void op_result_axes(const Node *node, int index, AxisLink links[MAX_RANK]) {
  for (int i = 0; i < MAX_RANK; i++) links[i] = axis_link(AXIS_OPAQUE, 0);
  if (node->op->result_axes) node->op->result_axes(node, index, links);
}

const Dim *node_macs(const Node *node) {
  Module *module = node->graph->module;
  const Dim *sum = dim_const(module, 0);
  if (!node_is(node, &op_kernel)) return node->op->macs ? node->op->macs(node) : sum;
  FOR_EACH_NODE(inner, node->regions[0])
  if (inner->op->macs) sum = dim_add(module, sum, inner->op->macs(inner));
  return sum;
}
