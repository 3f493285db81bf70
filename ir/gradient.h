/*
 * gradient.h -- what the files of gradients share; private to ir/.
 */
#ifndef TENON_IR_GRADIENT_H
#define TENON_IR_GRADIENT_H

#include "ir/ops/ops.h"

/* The gradient of an operand from that of the node's result; NULL with an error. */
typedef Value *GradientRule(Builder *b, const Node *node, int index, Value *g);

/* Records that there is none; returns NULL. */
Value *gradient_missing(const Node *node, const char *what);
/* x[starts + i*steps]; NULL: of x NULL, or with an error. */
Value *gradient_slice(Builder *b, Value *x, const Dim *const *starts, const Dim *const *sizes,
                      const int64_t *steps);

/* ---- gradient_parts.c ---- */

/* The value of a node that is given by operators with gradients, built before it; *parts_of_it is NULL for
 * others. False with an error. */
bool gradient_parts(Node *node, Value **parts_of_it);

/* ---- gradient_windows.c ---- */

GradientRule gradient_conv, gradient_max_pool, gradient_average_pool;

#endif
