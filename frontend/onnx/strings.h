/* strings.h -- what importers share that meet strings. */
#ifndef TENON_FRONTEND_ONNX_STRINGS_H
#define TENON_FRONTEND_ONNX_STRINGS_H

#include "frontend/onnx/onnx.h"

bool is_string(const Value *value);
/* A constant of the strings, which are copied; count 1 with rank 0: a scalar. */
Value *string_constant(OnnxNode *node, const char *const *texts, int64_t count, int rank);
/* From or to strings; numbers of any dtype. */
Value *emit_string_cast(OnnxNode *node, Value *x, Dtype to);
/* Of two values, broadcast to each other: string_equal, string_concat. */
Value *emit_string_pair(OnnxNode *node, const Op *op, Value *x, Value *y);
/* i64: which of the keys x is, the first of equal ones; `count` where it is none. */
Value *emit_key_number(OnnxNode *node, Value *x, const char *const *keys, int count);

#endif
