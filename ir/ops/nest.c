/*
 * nest.c -- nested scalar loops with carried values, which nest meanings are written with.
 */
#include "ir/ops/ops.h"

#include <assert.h>

Nest nest_begin(int carried_count, Reg *const *initial) {
  assert(carried_count <= MAX_CARRIED);
  Nest nest = {.carried_count = carried_count};
  for (int i = 0; i < carried_count; i++) nest.carried[i] = initial[i];
  return nest;
}

Reg *nest_for(Lower *lower, Nest *nest, Reg *size) {
  assert(nest->depth < MAX_RANK);
  For loop = loop_for(&lower->loops, loop_int(&lower->loops, 0), size, 1, nest->carried_count, nest->carried);
  for (int i = 0; i < nest->carried_count; i++) nest->carried[i] = loop.carried[i];
  nest->loops[nest->depth++] = loop;
  return loop.counter;
}

/* Iterations that write parts of one byte must not run at the same time. */
static bool writes_below_bytes(const Node *node) {
  for (int i = 0; i < node->result_count; i++) {
    int bits = dtype_bits(result(node, i)->type->dtype);
    if (bits > 0 && bits < 8) return true;
  }
  return false;
}

Reg *nest_parallel(Lower *lower, Nest *nest, Reg *size) {
  assert(nest->depth < MAX_RANK && nest->carried_count == 0);
  if (writes_below_bytes(lower->node)) return nest_for(lower, nest, size);
  For loop = loop_parallel(&lower->loops, loop_int(&lower->loops, 0), size, 1);
  nest->loops[nest->depth++] = loop;
  return loop.counter;
}

void nest_end(Lower *lower, Nest *nest) {
  while (nest->depth > 0) {
    For *loop = &nest->loops[--nest->depth];
    loop_end(&lower->loops, loop, nest->carried);
    for (int i = 0; i < nest->carried_count; i++) nest->carried[i] = loop->results[i];
  }
}

Nest nest_over(Lower *lower, const Value *value, const bool *skip, Index *at) {
  Nest nest = nest_begin(0, NULL);
  for (int axis = 0; axis < value->type->rank; axis++) {
    at[axis] = index_const(lower, 0);
    if (skip && skip[axis]) continue;
    Reg *size = lower_dim(lower, value, axis);
    at[axis] = index_of(nest_parallel(lower, &nest, size));
  }
  return nest;
}

void nest_reduce(Lower *lower, Nest *nest, const Value *value, const bool *only, Index *at) {
  for (int axis = 0; axis < value->type->rank; axis++)
    if (only[axis]) at[axis] = index_of(nest_for(lower, nest, lower_dim(lower, value, axis)));
}

Reg *multiply_add(Lower *lower, Reg *acc, Reg *x, Reg *y) {
  Loops *loops = &lower->loops;
  x = loop_cast(loops, x, acc->type.dtype);
  y = loop_cast(loops, y, acc->type.dtype);
  return loop_binary(loops, LOOP_ADD, acc, loop_binary(loops, LOOP_MUL, x, y));
}
