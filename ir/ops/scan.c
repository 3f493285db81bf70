/* scan.c -- running sums and products along an axis. */
#include "ir/ops/ops.h"

#include <string.h>

static const OperandSpec operands_x[] = {{"x", false, "at least one axis; numbers"}};
static const char *const results_y[] = {"y"};

static const AttrSpec scan_attrs[] = {
    {"axis", ATTR_INT, ROLE_AXIS, NULL, "along which elements are accumulated", NULL},
    {"exclusive", ATTR_BOOL, ROLE_NONE, "false",
     "without the element itself: the first is 0, or 1 for products", NULL},
    {"reverse", ATTR_BOOL, ROLE_NONE, "false", "from the last element to the first", NULL}};

static bool scan_infer(Node *node) {
  int axis;
  TRY(check_axis(node, "axis", operand(node, 0)->type->rank, &axis));
  return infer_same(node, KIND_NUMBER);
}

static void scan_axes(const Node *node, int index, AxisLink *links) {
  axes_same(node, index, links);
  links[node_axis(node, "axis", operand(node, 0)->type->rank)].role = AXIS_OPAQUE;
}

static void scan_nest(Lower *lower, const Node *node) {
  Loops *loops = &lower->loops;
  Value *x = operand(node, 0);
  bool is_sum = node_is(node, &op_cum_sum), axes[MAX_RANK] = {false};
  int axis = (int)node_axis(node, "axis", x->type->rank);
  Index at[MAX_RANK];
  axes[axis] = true;
  Nest outer = nest_over(lower, x, axes, at);
  Reg *start = loop_const(loops, (LoopType){compute_dtype(x->type->dtype), 1}, is_sum ? 0 : 1);
  Nest inner = nest_begin(1, &start);
  Reg *size = lower_dim(lower, x, axis), *step = nest_for(lower, &inner, size);
  if (node_bool(node, "reverse"))
    step = loop_binary(loops, LOOP_SUB, loop_binary(loops, LOOP_SUB, size, loop_int(loops, 1)), step);
  at[axis] = index_of(step);
  Reg *before = inner.carried[0], *element = compute(lower, lower_operand(lower, node, 0, at));
  inner.carried[0] = loop_binary(loops, is_sum ? LOOP_ADD : LOOP_MUL, before, element);
  lower_result(lower, 0, at,
               loop_cast(loops, node_bool(node, "exclusive") ? before : inner.carried[0], x->type->dtype));
  nest_end(lower, &inner);
  nest_end(lower, &outer);
}

#define SCAN(NAME, DOC)                                                                                      \
  .name = NAME, .family = "scan", .doc = DOC, .operands = operands_x, .operand_count = 1,                    \
  .results = results_y, .result_count = 1, .attrs = scan_attrs, .attr_count = COUNT_OF(scan_attrs),          \
  .infer = scan_infer, .axes = scan_axes, .nest = scan_nest

const Op op_cum_prod = {SCAN("cum_prod", "The product of every element and those before it along an axis.")};
const Op op_cum_sum = {SCAN("cum_sum",
                            "The sum of every element and those before it along an axis. f16 and bf16 are "
                            "added in f32.")};
