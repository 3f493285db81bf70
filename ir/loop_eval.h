/* loop_eval.h -- what one lane of each opcode computes, as the interpreter sees it: floats as f64, integers
 * wrapped to their dtype. */
#ifndef TENON_LOOP_EVAL_H
#define TENON_LOOP_EVAL_H

#include "ir/loop.h"

typedef union Lane {
  int64_t i;   /* integers and bools; u64 as its bits */
  double f;    /* floats, not yet rounded to their dtype */
  double c[2]; /* real and imaginary part */
} Lane;

/* An arithmetic, comparison or rounding opcode on operands of `dtype`; absent ones are ignored. False:
 * division by zero. */
bool lane_compute(Opcode op, Dtype dtype, Lane x, Lane y, Lane z, Lane *result);
Lane lane_cast(Lane x, Dtype from, Dtype to);
/* Element `index` of packed memory of any alignment. */
Lane lane_load(Dtype dtype, const void *memory, int64_t index);
void lane_store(Dtype dtype, void *memory, int64_t index, Lane value);

#endif
