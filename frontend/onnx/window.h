/* window.h -- what ONNX's convolutions and pools say about their windows. */
#ifndef TENON_FRONTEND_ONNX_WINDOW_H
#define TENON_FRONTEND_ONNX_WINDOW_H

#include "frontend/onnx/onnx.h"

enum { MAX_SPATIAL = 3 };

typedef struct OnnxWindow {
  int spatial; /* axes that the window slides over */
  int64_t kernel[MAX_SPATIAL], strides[MAX_SPATIAL], dilations[MAX_SPATIAL], pads[2 * MAX_SPATIAL];
  bool is_same,
      is_lower; /* auto_pad SAME_UPPER or SAME_LOWER; is_lower: the odd one of the padding comes first */
} OnnxWindow;

/* Reads kernel_shape (or the last dims of `weight`), strides, dilations and pads, all checked. */
bool window_read(OnnxNode *node, const Value *weight, OnnxWindow *window);
/* `weight` with spatial axes of open size as the kernel says. */
Value *window_weight(OnnxNode *node, const OnnxWindow *window, Value *weight);
/* For auto_pad SAME sets the pads; along axes of open size it pads x itself, with `fill`. Gives x, or x
 * padded.
 */
Value *window_same(OnnxNode *node, OnnxWindow *window, Value *x, double fill);
int64_t window_extent(const OnnxWindow *window, int axis); /* of the dilated kernel */
/* Gives half of `total` to each side. */
void window_split_pads(OnnxWindow *window, int axis, int64_t total);
/* strides, dilations and pads unless they are the usual ones; and kernel where the op has it. */
void window_set(const OnnxWindow *window, Node *core, bool with_kernel);
/* The channels of a tensor with a batch in front: last, or behind the batch. NULL with an error below 2 dims.
 */
Value *emit_channels(OnnxNode *node, Value *x, bool last);
/* The node as `import` makes it, with the channels of input 0 and output 0 last: the layout pass joins them.
 */
bool import_channels_last(OnnxNode *node, bool (*import)(OnnxNode *node));
/* A convolution with the node's attributes; NULL in, NULL out. `bias` may be absent. */
Value *emit_conv(OnnxNode *node, Value *x, Value *w, Value *bias);

#endif
