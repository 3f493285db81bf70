/*
 * einsum.h -- Einstein sums as other operators; shared by the importers inside frontend/.
 */
#ifndef TENON_EINSUM_H
#define TENON_EINSUM_H

#include "ir/ir.h"

/* NULL with *problem, what is wrong with the equation, or with a Diag and *problem NULL. */
Value *build_einsum(Builder *builder, const char *equation, Value *const *values, int count,
                    const char **problem);

#endif
