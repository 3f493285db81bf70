/*
 * unsigned.c -- activations in i8 become activations in u8.
 *
 * Before: quantize to i8 whose uses are dequantize. After: the same integers plus 128 in u8, with zero points
 * that are 128 more:
 *
 *   dequantize(quantize(x, s, z: i8), s, z)  ->  dequantize(quantize(x, s, z + 128: u8), s, z + 128)
 *
 * The products of integers.c take u8, and would shift every such value on its way to them; residual sums,
 * which read it too, would keep both. Requires: dequantize stands where it was, right behind. Keeps: every
 * result, bit by bit.
 */
#include "passes/rewrite.h"

enum { SHIFT = 128 };

/* A zero point, or none, that is the same number throughout. */
static bool zero_is_number(const Value *zero) {
  return !zero || (value_data(zero) && zero->type->dtype == DTYPE_I8 && type_static_count(zero->type) == 1);
}

static Value *shifted_zero(Builder *builder, const Value *zero) {
  if (!zero) return build_scalar(builder, DTYPE_U8, SHIFT);
  double number = data_get(value_data(zero), 0);
  return build_splat(builder, type_with_dtype(builder->graph->module, zero->type, DTYPE_U8), number + SHIFT);
}

static bool can_be_unsigned(const Node *quantize) {
  if (node_dtype(quantize, "to") != DTYPE_I8 || !zero_is_number(operand(quantize, 2))) return false;
  FOR_EACH_USE(use, result(quantize, 0)) {
    const Node *user = use->node;
    if (!node_is(user, &op_dequantize) || operand(user, 0) != use->value || operand(user, 2) == use->value)
      return false;
    if (!zero_is_number(operand(user, 2))) return false;
  }
  return true;
}

static bool become_unsigned(Node *quantize) {
  Builder builder = builder_before(quantize);
  Value *y = result(quantize, 0), *zero = shifted_zero(&builder, operand(quantize, 2));
  Node *copy =
      node_like_on(&builder, quantize, (Value *[]){operand(quantize, 0), operand(quantize, 1), zero}, 3);
  node_set_dtype(copy, "to", DTYPE_U8);
  TRY(zero && node_finish(copy));
  while (y->uses) {
    Node *real = y->uses->node;
    Builder before = builder_before(real);
    zero = shifted_zero(&before, operand(real, 2));
    Value *same = build_op(&before, &op_dequantize, (Value *[]){result(copy, 0), operand(real, 1), zero}, 3);
    TRY(zero && same);
    node_replace(real, same);
  }
  node_replace(quantize, result(copy, 0));
  return true;
}

/* From the last to the first: what follows a node goes with it. */
bool graph_make_unsigned(Graph *graph) {
  bool changed = false;
  for (Node *node = graph->last, *before; node; node = before) {
    before = node->prev;
    if (!node_is(node, &op_quantize) || !rewrite_allowed(node) || !can_be_unsigned(node)) continue;
    changed |= rewrite_done(graph->module, become_unsigned(node));
  }
  return changed;
}
