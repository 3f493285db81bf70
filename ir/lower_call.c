/*
 * lower_call.c -- an op that is a function of the runtime: a kernel of calls.
 *
 * The function's views are the operands, then the results; its numbers are attributes of those names. Where
 * the axis map says that an axis of the results is that of every operand, index for index, the function is
 * called for each position along it, in parallel, and sees the other axes only.
 *
 * A constant of equal elements, which is no param but a literal, becomes a local of one element and a view of
 * it with strides of 0.
 */
#include "ir/lower.h"

#include <assert.h>

typedef struct Rows {
  int count;
  int axes[MAX_RANK]; /* of result 0 */
  Reg *indices[MAX_RANK];
} Rows;

/* The axis of operand `index` that is axis `axis` of the results; -1: none. */
static int operand_axis(const Node *node, int index, int axis) {
  AxisLink links[MAX_RANK];
  op_axes(node, index, links);
  for (int i = 0; i < operand(node, index)->type->rank; i++)
    if (links[i].role == AXIS_SAME && links[i].axis == axis) return i;
  return -1;
}

static bool is_row_axis(const Node *node, int axis) {
  for (int i = 0; i < node->operand_count; i++)
    if (operand_axis(node, i, axis) < 0) return false;
  for (int i = 0; i < node->result_count; i++)
    if (result(node, i)->type->rank != result(node, 0)->type->rank) return false;
  return true;
}

static Rows find_rows(const Node *node) {
  Rows rows = {.count = 0};
  for (int axis = 0; axis < result(node, 0)->type->rank; axis++)
    if (is_row_axis(node, axis)) rows.axes[rows.count++] = axis;
  return rows;
}

static Buffer *literal_buffer(Lower *lower, Value *value, int view) {
  Kernel *kernel = lower->loops.kernel;
  const Type *type = value->type;
  const Dim *zeros[MAX_RANK];
  Index at[MAX_RANK];
  Arena *arena = lower->module->arena;
  for (int axis = 0; axis < type->rank; axis++) {
    zeros[axis] = dim_const(lower->module, 0);
    at[axis] = index_const(lower, 0);
  }
  Buffer *one = kernel_add_local(kernel, arena_printf(arena, "literal%d", view), type->dtype, 0, NULL);
  loop_store(&lower->loops, lower_value(lower, value, at), one, NULL, NULL);
  if (type->rank == 0) return one;
  return kernel_add_view(kernel, arena_printf(arena, "view%d", view), one, NULL, type->rank, type->dims,
                         zeros);
}

static Buffer *operand_buffer(Lower *lower, const Node *node, int index) {
  Value *value = operand(node, index);
  Buffer *buffer = lower_buffer(lower, value);
  if (buffer) return buffer;
  if (lowers_to_literal(lower, value)) return literal_buffer(lower, value, index);
  node_fail(lower->node, "cannot be lowered: %s wants operand %d in memory", node->op->name, index);
  return NULL;
}

static Buffer *result_buffer(Lower *lower, const Node *node, int index) {
  Buffer *buffer = lower_result_buffer(lower, index);
  if (!buffer)
    node_fail(lower->node, "cannot be lowered: result %d of %s is not one of the kernel's", index,
              node->op->name);
  return buffer;
}

static bool find_buffers(Lower *lower, const Node *node, Call *call) {
  int count = node->operand_count;
  assert(call->callee->view_count == count + node->result_count);
  for (int i = 0; i < call->callee->view_count; i++) {
    call->buffers[i] = i < count ? operand_buffer(lower, node, i) : result_buffer(lower, node, i - count);
    if (!call->buffers[i]) return false;
  }
  return true;
}

static int64_t number(const Node *node, const char *name) {
  int index = op_attr_index(node->op, name);
  assert(index >= 0);
  const AttrSpec *spec = &node->op->attrs[index];
  if (spec->kind == ATTR_BOOL) return node_bool(node, name);
  return spec->role == ROLE_AXIS ? node_axis(node, name, operand(node, 0)->type->rank) : node_int(node, name);
}

/* Fixes the row axes of every view; indices gets those of all, in the order of the views. */
static void fix_rows(const Node *node, const Rows *rows, Call *call, Reg **indices) {
  for (int view = 0; view < call->callee->view_count; view++) {
    Reg *by_axis[MAX_RANK] = {NULL};
    for (int r = 0; r < rows->count; r++) {
      int axis = view < node->operand_count ? operand_axis(node, view, rows->axes[r]) : rows->axes[r];
      call->fixed[view] |= 1u << axis;
      by_axis[axis] = rows->indices[r];
    }
    for (int axis = 0; axis < MAX_RANK; axis++)
      if (by_axis[axis]) *indices++ = by_axis[axis];
  }
}

void lower_call(Lower *lower, const Node *node) {
  Call call = {.callee = callee_find(node->op->call)};
  Rows rows = find_rows(node);
  For loops[MAX_RANK];
  Reg *indices[MAX_VIEWS * MAX_RANK];
  assert(call.callee);
  if (!find_buffers(lower, node, &call)) return;
  for (int i = 0; i < call.callee->number_count; i++) call.numbers[i] = number(node, call.callee->numbers[i]);
  for (int i = 0; i < rows.count; i++) {
    Reg *size = lower_dim(lower, result(node, 0), rows.axes[i]);
    loops[i] = loop_parallel(&lower->loops, loop_int(&lower->loops, 0), size, 1);
    rows.indices[i] = loops[i].counter;
  }
  fix_rows(node, &rows, &call, indices);
  loop_call(&lower->loops, &call, indices);
  for (int i = rows.count; i-- > 0;) loop_end(&lower->loops, &loops[i], NULL);
}
