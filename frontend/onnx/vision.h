/* vision.h -- sampling at positions, for operators that are more than that. */
#ifndef TENON_FRONTEND_ONNX_VISION_H
#define TENON_FRONTEND_ONNX_VISION_H

#include "frontend/onnx/onnx.h"

/* The words of the core op; NULL in, NULL out. */
Value *emit_grid_sample(OnnxNode *node, Value *x, Value *grid, const char *mode, const char *padding,
                        const char *coordinates);
/* A constant [sizes.., columns] of positions; NULL with an error when it is too large. */
Value *emit_constant_grid(OnnxNode *node, Dtype dtype, int axis_count, const int64_t *sizes, int columns,
                          double (*position)(const void *context, const int64_t *at, int column),
                          const void *context);

#endif
