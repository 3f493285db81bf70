/*
 * math.h -- mathematical functions of f32 as loop IR.
 */
#ifndef TENON_CODEGEN_MATH_H
#define TENON_CODEGEN_MATH_H

#include "ir/loop.h"

/* Replaces exp, log, tanh, erf, sin, cos and pow of f32, f16 and bf16 by arithmetic; returns whether there
 * were any. The kernel must have passed kernel_verify. */
bool loops_expand_math(Kernel *kernel);

#endif
