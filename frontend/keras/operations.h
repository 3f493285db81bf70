/*
 * operations.h -- what operations on tensors share (operations.c).
 */
#ifndef TENON_KERAS_OPERATIONS_H
#define TENON_KERAS_OPERATIONS_H

#include "frontend/keras/keras.h"

/* A parameter: an argument by position (-1: by name only) or name, or a member of the configuration. */
const cJSON *op_param(const Call *call, int position, const char *name);
bool op_flag(const Call *call, int position, const char *name, bool otherwise);
double op_number(const Call *call, int position, const char *name, double otherwise);
/* Axes of a tensor: a number or a list; absent: none, and *count is 0. */
bool op_axes_param(Call *call, const cJSON *item, int rank, int64_t *axes, int *count);
/* A whole number, written or computed of sizes. NULL with a Diag. */
const Dim *op_dim(Call *call, const cJSON *item);
/* An argument as a value: a tensor, or numbers as a constant of a dtype (DTYPE_NONE: f32, or i64 if all are
 * whole and written so). */
Value *op_value(Call *call, const cJSON *item, Dtype dtype);
Value *op_operand(Call *call, int position, const char *name);
Dtype op_dtype(const cJSON *item, Dtype otherwise); /* "float32", or a policy of that name */
/* The first input in floating point. */
Value *op_floats(Call *call);
/* Both, in one dtype; false with a Diag. */
bool op_two_operands(Call *call, Value **a, Value **b);

typedef struct NamedOp {
  const Op *op;
  const char *names; /* the class of keras.ops, then TensorFlow's functions */
} NamedOp;

/* The operator that has that word among its names; NULL: none. */
const Op *op_named(const NamedOp *list, int count, const char *name);

#endif
