/*
 * element.c -- building blocks of element meanings: constants, NaN-keeping max and min, reads that happen
 * only where a condition holds, and positions that come from an operand.
 *
 * A Reg may be a scalar in vector code when it is the same in all lanes; loop_binary and loop_select splat
 * it. Only branches must agree on a width beforehand: see read_where.
 */
#include "ir/ops/ops.h"

#include <math.h>

/* ---- values ---- */

Dtype compute_dtype(Dtype dtype) {
  return dtype == DTYPE_F16 || dtype == DTYPE_BF16 ? DTYPE_F32 : dtype;
}

bool is_wide(const Node *node) {
  return op_attr_index(node->op, "wide") >= 0 && node_bool(node, "wide");
}

Dtype product_dtype(const Node *node) {
  Dtype dtype = operand(node, 0)->type->dtype;
  return dtype_is_byte(dtype) ? DTYPE_I32 : is_wide(node) ? DTYPE_F32 : dtype;
}

Reg *compute(Lower *lower, Reg *x) {
  return loop_cast(&lower->loops, x, compute_dtype(x->type.dtype));
}

Reg *constant_like(Lower *lower, const Reg *x, double value) {
  return loop_const(&lower->loops, x->type, value);
}

static bool is_plain_const(const Reg *x) {
  return reg_is_const(x) && !(dtype_is_float(x->type.dtype) && isnan(x->def->fimm));
}

/* The opcodes give the second operand when either is NaN, so a NaN in the first must be asked for; a constant
 * first has none. */
static Reg *either_nan(Lower *lower, Opcode op, Reg *x, Reg *y) {
  Loops *loops = &lower->loops;
  bool swap = is_plain_const(y) && !is_plain_const(x);
  Reg *first = swap ? y : x, *second = swap ? x : y;
  Reg *best = loop_binary(loops, op, first, second);
  if (is_plain_const(first) || !dtype_is_float(x->type.dtype)) return best;
  return loop_select(loops, loop_binary(loops, LOOP_NE, first, first), first, best);
}

Reg *max_nan(Lower *lower, Reg *x, Reg *y) {
  if (x->type.dtype == DTYPE_BOOL) return loop_binary(&lower->loops, LOOP_OR, x, y);
  return either_nan(lower, LOOP_MAX, x, y);
}

Reg *min_nan(Lower *lower, Reg *x, Reg *y) {
  if (x->type.dtype == DTYPE_BOOL) return loop_binary(&lower->loops, LOOP_AND, x, y);
  return either_nan(lower, LOOP_MIN, x, y);
}

Reg *lowest(Lower *lower, Dtype dtype) {
  LoopType type = {dtype, 1};
  if (dtype_is_float(dtype)) return loop_const(&lower->loops, type, -INFINITY);
  if (!dtype_is_signed_int(dtype)) return loop_const_int(&lower->loops, type, 0);
  return loop_const_int(&lower->loops, type, INT64_MIN >> (64 - dtype_bits(dtype)));
}

Reg *highest(Lower *lower, Dtype dtype) {
  LoopType type = {dtype, 1};
  if (dtype_is_float(dtype)) return loop_const(&lower->loops, type, INFINITY);
  if (dtype == DTYPE_BOOL) return loop_const_int(&lower->loops, type, 1);
  if (!dtype_is_signed_int(dtype)) return loop_const_int(&lower->loops, type, -1);
  return loop_const_int(&lower->loops, type, INT64_MAX >> (64 - dtype_bits(dtype)));
}

Reg *elementwise_element(Lower *lower, const Node *node, int which, const Index *at) {
  enum { MAX_OPERANDS = 4 };
  Reg *x[MAX_OPERANDS] = {NULL};
  for (int i = 0; i < node->operand_count && i < MAX_OPERANDS; i++)
    if (operand(node, i)) x[i] = compute(lower, lower_broadcast(lower, node, i, at));
  const Op *op = node->op;
  Reg *y = op->scalar               ? op->scalar(lower, node, x)
           : op->operand_count == 1 ? loop_unary(&lower->loops, (Opcode)op->opcode, x[0])
                                    : loop_binary(&lower->loops, (Opcode)op->opcode, x[0], x[1]);
  return loop_cast(&lower->loops, y, result(node, which)->type->dtype);
}

/* ---- positions ---- */

bool index_is_uniform(const Index *at, int count) {
  for (int i = 0; i < count; i++)
    if (at[i].vector || at[i].step != 0) return false;
  return true;
}

/* A uniform position is read as one scalar, so that what it addresses stays a run of lanes. */
static Reg *read_position(Lower *lower, const Node *node, int index, const Index *at) {
  if (!index_is_uniform(at, operand(node, index)->type->rank)) return lower_operand(lower, node, index, at);
  int lanes = lower->lanes;
  Reg *mask = lower->mask;
  lower->lanes = 1;
  lower->mask = NULL;
  Reg *position = lower_operand(lower, node, index, at);
  lower->lanes = lanes;
  lower->mask = mask;
  return position;
}

static Index as_index(Reg *reg) {
  return reg->type.lanes == 1 ? index_of(reg) : (Index){.vector = reg};
}

Index index_read(Lower *lower, const Node *node, int index, const Index *at) {
  return as_index(loop_cast(&lower->loops, read_position(lower, node, index, at), DTYPE_I64));
}

Index index_operand(Lower *lower, const Node *node, int index, const Index *at, const Dim *size) {
  Loops *loops = &lower->loops;
  Reg *i = index_reg(lower, index_read(lower, node, index, at));
  Reg *zero = loop_int(loops, 0), *end = loop_dim(loops, size);
  Reg *wrapped =
      loop_select(loops, loop_binary(loops, LOOP_LT, i, zero), loop_binary(loops, LOOP_ADD, i, end), i);
  Reg *last = loop_binary(loops, LOOP_SUB, end, loop_int(loops, 1));
  Reg *inside = loop_binary(loops, LOOP_MAX, zero, loop_binary(loops, LOOP_MIN, last, wrapped));
  return as_index(inside);
}

/* ---- conditional reads ---- */

Reg *index_inside(Lower *lower, Index at, const Dim *low, const Dim *high) {
  Loops *loops = &lower->loops;
  Reg *i = index_reg(lower, at);
  Reg *above = low ? loop_binary(loops, LOOP_GE, i, loop_dim(loops, low)) : NULL;
  Reg *below = high ? loop_binary(loops, LOOP_LT, i, loop_dim(loops, high)) : NULL;
  return above && below ? loop_binary(loops, LOOP_AND, above, below) : above ? above : below;
}

static Reg *both(Lower *lower, Reg *a, Reg *b) {
  return a && b ? loop_binary(&lower->loops, LOOP_AND, a, b) : a ? a : b;
}

/* The read under a mask: lanes that are off read nothing and get `otherwise`. */
static Reg *read_masked(Lower *lower, const Node *node, int index, const Index *at, Reg *mask,
                        Reg *otherwise) {
  if (!mask) return lower_operand(lower, node, index, at);
  Reg *outer = lower->mask;
  lower->mask = both(lower, outer, mask);
  Reg *value = lower_operand(lower, node, index, at);
  lower->mask = outer;
  return loop_select(&lower->loops, mask, value, otherwise);
}

Reg *read_where(Lower *lower, const Node *node, int index, const Index *at, Reg *const *conditions, int count,
                Reg *otherwise) {
  Loops *loops = &lower->loops;
  Reg *branch = NULL, *mask = NULL;
  for (int i = 0; i < count; i++) {
    Reg **kind = conditions[i]->type.lanes == 1 ? &branch : &mask;
    *kind = both(lower, *kind, conditions[i]);
  }
  if (!branch) return read_masked(lower, node, index, at, mask, otherwise);
  LoopType type = {operand(node, index)->type->dtype, lower->lanes};
  If inside = loop_if(loops, branch, 1, &type);
  Reg *value = loop_splat(loops, read_masked(lower, node, index, at, mask, otherwise), type.lanes);
  loop_else(loops, &inside, &value);
  value = loop_splat(loops, otherwise, type.lanes);
  loop_end_if(loops, &inside, &value);
  return inside.results[0];
}
