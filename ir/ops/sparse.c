/*
 * sparse.c -- what gemm and conv share for packed weights that are stored without their zeros.
 *
 * A step is a row of a panel (of a type that is multiplied by fours or twos so many rows, side by side):
 * [packed * depth] weights. Where most steps are all zeros w holds only the others, [kept, packed * depth].
 * They are in lists, one for each panel and each element of the kernel (of gemm there is one element), of the
 * steps over the channels of a group: list l is [starts[l], starts[l + 1]), and rows[i] is the step that w[i]
 * is. Panels of one column make this the compressed form of any matrix with zeros.
 *
 * Where of each four neighbouring rows (a quartet) two are left in each column, w is [panels, ceil(k/4), 2 *
 * packed], first the one of each column, then the other. There are no starts, and rows says which of its four
 * each is: u32 [panels, ceil(k/32), packed], the weights of eight quartets from the low bits up, two bits
 * each.
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

/* ---- two of four ---- */

/* Which of its four neighbours weight i of a column is, by the words of its quartets. */
static int place_of(uint32_t word, int64_t quartet, int i) {
  return (int)(word >> (QUARTET * (quartet % QUARTETS_OF_WORD) + 2 * i)) & (QUARTET - 1);
}

bool quartets_check(const Node *node, const Data *rows, int64_t k) {
  int64_t quartets = (k + QUARTET - 1) / QUARTET,
          words = (quartets + QUARTETS_OF_WORD - 1) / QUARTETS_OF_WORD;
  int64_t columns = words ? rows->count / words : 0, packed = node_int(node, "packed");
  for (int64_t i = 0; k % QUARTET && i < columns; i++) {
    int64_t at = (i / packed * words + words - 1) * packed + i % packed;
    for (int j = 0; j < QUARTET_KEPT; j++) {
      int64_t row = QUARTET * (quartets - 1) + place_of((uint32_t)data_get_int(rows, at), quartets - 1, j);
      if (row >= k)
        return node_fail(node, "element %lld of rows says row %lld; there are %lld", (long long)at,
                         (long long)row, (long long)k);
    }
  }
  return true;
}

bool quartets_infer(const Node *node, int64_t packed, int64_t panels, int64_t k) {
  const Value *rows = operand(node, SPARSE_ROWS);
  const Type *w = operand(node, PRODUCT_W)->type, *type = rows->type;
  int64_t quartets = (k + QUARTET - 1) / QUARTET,
          words = (quartets + QUARTETS_OF_WORD - 1) / QUARTETS_OF_WORD;
  TRY(check_rank(node, PRODUCT_W, 3) && check_rank(node, SPARSE_ROWS, 3));
  if (panel_depth(w->dtype) != 1 || !dim_is(w->dims[0], panels) || !dim_is(w->dims[1], quartets) ||
      !dim_is(w->dims[2], QUARTET_KEPT * packed))
    return node_fail(
        node, "%s is %s; two of each four of %lld rows in panels of %lld are floats [%lld,%lld,%lld]",
        node->op->operands[PRODUCT_W].name, operand_text(node, PRODUCT_W), (long long)k, (long long)packed,
        (long long)panels, (long long)quartets, (long long)packed * QUARTET_KEPT);
  if (type->dtype != DTYPE_U32 || !dim_is(type->dims[0], panels) || !dim_is(type->dims[1], words) ||
      !dim_is(type->dims[2], packed))
    return node_fail(node, "rows is %s; without starts it must be u32[%lld,%lld,%lld]",
                     operand_text(node, SPARSE_ROWS), (long long)panels, (long long)words, (long long)packed);
  return !value_data(rows) || quartets_check(node, value_data(rows), k);
}

/* The row of weight i of a quartet, of `word`. */
static Index row_of(Lower *lower, Reg *word, Index quartet, int i, int64_t k) {
  Loops *loops = &lower->loops;
  Index place = index_mod(lower, quartet, dim_const(lower->module, QUARTETS_OF_WORD));
  Reg *shift = index_reg(lower, index_add_const(lower, index_mul_const(lower, place, QUARTET), 2 * i));
  Reg *bits = loop_binary(loops, LOOP_SHR, word, loop_cast(loops, shift, DTYPE_U32));
  bits = loop_binary(loops, LOOP_AND, bits, loop_const_int(loops, bits->type, QUARTET - 1));
  Index row =
      index_add(lower, index_mul_const(lower, quartet, QUARTET), index_of(loop_cast(loops, bits, DTYPE_I64)));
  return index_clamp(lower, row, index_const(lower, 0), index_const(lower, k - 1));
}

Reg *quartets_sum(Lower *lower, const Node *node, const PanelColumn *at, int64_t k, SparseOperand *x,
                  void *context, Reg *sum) {
  Loops *loops = &lower->loops;
  For quartets =
      loop_for(loops, loop_int(loops, 0), loop_int(loops, (k + QUARTET - 1) / QUARTET), 1, 1, &sum);
  Index quartet = index_of(quartets.counter);
  Index word[] = {at->panel, index_div(lower, quartet, dim_const(lower->module, QUARTETS_OF_WORD)),
                  at->column};
  Reg *bits = lower_operand(lower, node, SPARSE_ROWS, word), *next = quartets.carried[0];
  for (int i = 0; i < QUARTET_KEPT; i++) {
    Index weight[] = {at->panel, quartet, index_add_const(lower, at->column, i * at->packed)};
    next = multiply_add(lower, next, x(lower, node, row_of(lower, bits, quartet, i, k), context),
                        lower_operand(lower, node, PRODUCT_W, weight));
  }
  loop_end(loops, &quartets, &next);
  return quartets.results[0];
}

/* ---- lists ---- */

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
