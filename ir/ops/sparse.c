/*
 * sparse.c -- what gemm and conv share for packed weights that are stored without their zeros.
 *
 * A step is a row of a panel (of a type that is multiplied by fours or twos so many rows, side by side):
 * [packed * depth] weights. Where most steps are all zeros w holds only the others, [kept, packed * depth].
 * They are in lists, one for each panel and each element of the kernel (of gemm there is one element), of the
 * steps over the channels of a group: list l is [starts[l], starts[l + 1]), and rows[i] is the step that w[i]
 * is. Panels of one column make this the compressed form of any matrix with zeros.
 *
 * Tables that are not constant are believed as far as they stay inside: numbers are moved to the nearest that
 * does. The fast kernels, which do not look, ask for tables that are constant and right (sparse_check).
 */
#include "ir/ops/ops.h"

static bool check_table(const Node *node, int index, int64_t count) {
  TRY(check_kind(node, index, KIND_INT) && check_rank(node, index, 1));
  if (dim_is(operand(node, index)->type->dims[0], count)) return true;
  return node_fail(node, "%s is %s; it must have %lld elements", node->op->operands[index].name,
                   operand_text(node, index), (long long)count);
}

bool sparse_check(const Node *node, const Data *rows, const Data *starts, int64_t steps) {
  const Type *w = operand(node, PRODUCT_W)->type;
  int64_t kept = w->dims[0]->value, last = 0;
  for (int64_t i = 0; rows && i < rows->count; i++) {
    int64_t row = data_get_int(rows, i);
    if (row < 0 || row >= steps)
      return node_fail(node, "element %lld of rows is %lld; it must be in [0,%lld)", (long long)i,
                       (long long)row, (long long)steps);
  }
  for (int64_t i = 0; starts && i < starts->count; i++) {
    int64_t start = data_get_int(starts, i);
    if (start < last || start > kept || (i == 0 && start != 0) || (i + 1 == starts->count && start != kept))
      return node_fail(node, "element %lld of starts is %lld; they must rise from 0 to %lld", (long long)i,
                       (long long)start, (long long)kept);
    last = start;
  }
  return true;
}

bool sparse_infer(const Node *node, int64_t packed, int64_t lists, int64_t channels) {
  const Value *rows = operand(node, SPARSE_ROWS), *starts = operand(node, SPARSE_STARTS);
  const Type *w = operand(node, PRODUCT_W)->type;
  int depth = panel_depth(w->dtype);
  TRY(check_rank(node, PRODUCT_W, 2));
  if (!starts) return node_fail(node, "rows and starts are given together or not at all");
  if (!type_is_static(w) || !dim_is(w->dims[1], packed * depth) || channels % depth != 0)
    return node_fail(node, "%s is %s; of %lld channels the steps in panels of %lld are [kept,%lld]",
                     node->op->operands[PRODUCT_W].name, operand_text(node, PRODUCT_W), (long long)channels,
                     (long long)packed, (long long)packed * depth);
  TRY(check_table(node, SPARSE_ROWS, w->dims[0]->value) && check_table(node, SPARSE_STARTS, lists + 1));
  return sparse_check(node, value_data(rows), value_data(starts), channels / depth);
}

/* An element of a table, in [0, end]. */
static Index table_entry(Lower *lower, const Node *node, int index, Index at, int64_t end) {
  return index_clamp(lower, index_read(lower, node, index, &at), index_const(lower, 0),
                     index_const(lower, end));
}

Reg *sparse_sum(Lower *lower, const Node *node, const SparseList *list, int64_t channels, SparseOperand *x,
                void *context, Reg *sum) {
  Loops *loops = &lower->loops;
  const Type *w = operand(node, PRODUCT_W)->type;
  int depth = panel_depth(w->dtype);
  int64_t kept = w->dims[0]->value;
  if (kept == 0) return sum;
  Reg *from = index_reg(lower, table_entry(lower, node, SPARSE_STARTS, list->number, kept));
  Index next = index_add_const(lower, list->number, 1);
  Reg *to = index_reg(lower, table_entry(lower, node, SPARSE_STARTS, next, kept));
  For steps = loop_for(loops, from, to, 1, 1, &sum);
  Index step = index_of(steps.counter),
        row = table_entry(lower, node, SPARSE_ROWS, step, channels / depth - 1);
  Reg *next_sum = steps.carried[0];
  for (int i = 0; i < depth; i++) {
    Index channel = index_add_const(lower, index_mul_const(lower, row, depth), i);
    Index at[2] = {step, index_add_const(lower, index_mul_const(lower, list->column, depth), i)};
    next_sum = multiply_add(lower, next_sum, x(lower, node, channel, context),
                            lower_operand(lower, node, PRODUCT_W, at));
  }
  loop_end(loops, &steps, &next_sum);
  return steps.results[0];
}

const Dim *sparse_macs(const Node *node, const Dim *channels) {
  Module *module = node_module(node);
  const Type *w = operand(node, PRODUCT_W)->type;
  const Dim *positions = dim_floordiv(module, type_count(module, result(node, 0)->type), channels);
  return dim_mul(module, positions, type_count(module, w));
}
