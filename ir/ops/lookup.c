/*
 * lookup.c -- any function of a byte.
 *
 * Between two quantized values a chain of operators on one byte has 256 results, which a pass finds
 * (passes/tables.c) and processors look up a vector at a time.
 */
#include "ir/ops/ops.h"

static const OperandSpec lookup_operands[] = {{"x", false, "u8 or i8"}};

static const char *const results_y[] = {"y"};

static const AttrSpec lookup_attrs[] = {
    {"table", ATTR_INTS, ROLE_NONE, NULL, "256 numbers of the result's type, for the bits of x as u8", NULL},
    {"to", ATTR_DTYPE, ROLE_NONE, NULL, "u8 or i8", NULL}};

static bool lookup_infer(Node *node) {
  Dtype to = node_dtype(node, "to");
  int count;
  const int64_t *table = node_ints(node, "table", &count);
  if (!dtype_is_byte(operand(node, 0)->type->dtype))
    return node_fail(node, "x is %s; it must be u8 or i8", operand_text(node, 0));
  if (!dtype_is_byte(to)) return node_fail(node, "to is %s; it must be u8 or i8", dtype_name(to));
  if (count != TABLE_SIZE) return node_fail(node, "table has %d numbers, not %d", count, TABLE_SIZE);
  int64_t low = to == DTYPE_I8 ? INT8_MIN : 0, high = to == DTYPE_I8 ? INT8_MAX : UINT8_MAX;
  for (int i = 0; i < TABLE_SIZE; i++)
    if (table[i] < low || table[i] > high)
      return node_fail(node, "table[%d] is %lld, which is not of %s", i, (long long)table[i], dtype_name(to));
  return infer_broadcast(node, to);
}

static Reg *lookup_scalar(Lower *lower, const Node *node, Reg *const *x) {
  int count;
  return loop_lookup(&lower->loops, x[0], node_ints(node, "table", &count), node_dtype(node, "to"));
}

const Op op_lookup = {
    .name = "lookup",
    .family = "quantize",
    .doc = "The number that a table has for each byte: y = table[x], an x of i8 as the u8 of the same bits.",
    .operands = lookup_operands,
    .operand_count = COUNT_OF(lookup_operands),
    .results = results_y,
    .result_count = 1,
    .attrs = lookup_attrs,
    .attr_count = COUNT_OF(lookup_attrs),
    .traits = TRAIT_BROADCAST,
    .infer = lookup_infer,
    .element = elementwise_element,
    .scalar = lookup_scalar,
};
