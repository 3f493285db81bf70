/* strings.h -- what importers share that meet strings. */
#ifndef TENON_FRONTEND_ONNX_STRINGS_H
#define TENON_FRONTEND_ONNX_STRINGS_H

#include "frontend/onnx/onnx.h"

bool is_string(const Value *value);
/* From or to strings; numbers of any dtype. */
Value *emit_string_cast(OnnxNode *node, Value *x, Dtype to);
/* Of two values, broadcast to each other: string_equal, string_concat. */
Value *emit_string_pair(OnnxNode *node, const Op *op, Value *x, Value *y);

#endif
