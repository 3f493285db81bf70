/*
 * window.c -- convolutions of fewer axes.
 *
 * Along an axis where the kernel has one element, the stride is 1 and nothing is padded a convolution does
 * the same for every position, as it does for every image of a batch. Such axes join the batch, or a
 * neighbour of the same kind: [N,D,H,W,C] with a kernel of 1x3x3 is [N*D,H,W,C] with one of 3x3, and with one
 * of 3x1x1 it is [N,D,H*W,C] with 3x1. Two axes stay: the kernels that are made for images find their work.
 */
#include "passes/rewrite.h"

/* A spatial axis of the convolution that is made: axes [begin, end) of the old one. */
typedef struct Joined {
  int begin, end;
} Joined;

static bool slides(const Window *window, int s) {
  return window->kernel[s] != 1 || window->stride[s] != 1 || window->before[s] != 0 || window->after[s] != 0;
}

/* How the spatial axes join; *batch of them join the batch. Gives how many are left. */
static int join_axes(const Window *window, int *batch, Joined *axes) {
  int count = 0, left = window->rank;
  *batch = 0;
  while (left > 2 && !slides(window, *batch)) ++*batch, left--;
  for (int s = *batch; s < window->rank; s++) {
    bool joins = count > 0 && left > 2 && !slides(window, s) && !slides(window, s - 1);
    if (joins)
      axes[count - 1].end = s + 1, left--;
    else
      axes[count++] = (Joined){s, s + 1};
  }
  return count;
}

static const Dim *product(Module *module, const Dim *const *dims, int begin, int end) {
  const Dim *size = dims[begin];
  for (int i = begin + 1; i < end; i++) size = dim_mul(module, size, dims[i]);
  return size;
}

/* dims of a value [N, spatial.., C] with joined axes; the last may be another. */
static int joined_dims(Module *module, const Dim *const *dims, const Window *window, int batch,
                       const Joined *axes, int count, const Dim **made) {
  made[0] = product(module, dims, 0, 1 + batch);
  for (int i = 0; i < count; i++) made[1 + i] = product(module, dims, 1 + axes[i].begin, 1 + axes[i].end);
  made[1 + count] = dims[1 + window->rank];
  return count + 2;
}

/* The entries of the axes that slide. */
static void pick_ints(Node *node, const char *name, const int64_t *values, const Joined *axes, int count) {
  int64_t picked[MAX_WINDOW];
  for (int i = 0; i < count; i++) picked[i] = values[axes[i].begin];
  node_set_ints(node, name, picked, count);
}

Value *rule_join_conv_axes(Node *conv) {
  Value *x = operand(conv, 0), *w = operand(conv, 1), *y = result(conv, 0);
  Module *module = conv->graph->module;
  Window window = node_window(conv);
  Joined axes[MAX_WINDOW];
  const Dim *x_dims[MAX_RANK], *w_dims[MAX_RANK];
  int64_t pads[2 * MAX_WINDOW];
  int batch, count = join_axes(&window, &batch, axes);
  if (!window.channels_last || node_int(conv, "packed") || count == window.rank) return NULL;
  Builder builder = builder_before(conv);
  int rank = joined_dims(module, x->type->dims, &window, batch, axes, count, x_dims);
  for (int i = 0; i < count; i++) {
    w_dims[i] = w->type->dims[axes[i].begin];
    pads[i] = window.before[axes[i].begin];
    pads[count + i] = window.after[axes[i].begin];
  }
  for (int i = 0; i < 2; i++) w_dims[count + i] = w->type->dims[window.rank + i];
  x = build_reshape(&builder, x, rank, x_dims);
  w = build_reshape(&builder, w, rank, w_dims);
  if (!x || !w) return NULL;
  Node *node = node_like(&builder, conv, (Value *[]){x, w, operand(conv, 2)});
  pick_ints(node, "strides", window.stride, axes, count);
  pick_ints(node, "dilations", window.dilation, axes, count);
  node_set_ints(node, "pads", pads, 2 * count);
  Value *made = node_try(node, NULL);
  return made ? build_reshape(&builder, made, y->type->rank, y->type->dims) : NULL;
}
