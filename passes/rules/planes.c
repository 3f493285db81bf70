/*
 * planes.c -- integer convolutions over images of few channels read their planes.
 *
 * Products of bytes take four neighbours of x at once (codegen/kernels/panels.c). In a channels-last image of
 * three channels these would be three and a zero; in its planes they are columns, for which the kernel is
 * widened to whole fours:
 *
 *   conv(transpose(x[N,C,H,W]), w[kh,kw,C,M])  ->  conv(x[N,C,H,W+3,1], w[C,kh,kw+3,1,M])[N,1,OH,OW,M]
 *
 * The planes are an axis along which the kernel has but one place. What pads is explicit; nothing is
 * transposed, and 7x7 over three channels takes 168 products instead of 196. Keeps all sums.
 */
#include "passes/rewrite.h"

enum { FOUR = 4 };

static int64_t whole_fours(int64_t count) {
  return (count + FOUR - 1) / FOUR * FOUR;
}

/* [N,C,spatial..] of a channels-last image that is one turned, or has one channel only. */
static Value *planes_of(Builder *builder, Value *image) {
  const Type *type = image->type;
  const Dim *dims[MAX_RANK] = {type->dims[0], dim_const(builder->graph->module, 1)};
  int rank = type->rank;
  if (dim_is(type->dims[rank - 1], 1)) {
    for (int i = 1; i + 1 < rank; i++) dims[1 + i] = type->dims[i];
    return build_reshape(builder, image, rank, dims);
  }
  if (!node_is(image->def, &op_transpose)) return NULL;
  const int64_t *perm = node_perm(image->def);
  for (int i = 0; i < rank; i++)
    if (perm[i] != (i == 0 ? 0 : i + 1 < rank ? i + 1 : 1)) return NULL;
  return operand(image->def, 0);
}

/* Bytes, and no more steps of four than over channels. */
static bool gains(const Node *conv, const Window *window) {
  int last = window->rank - 1;
  int64_t columns = window->kernel[last], channels = window->group_channels;
  return operand(conv, 0)->type->dtype == DTYPE_U8 && operand(conv, 1)->type->dtype == DTYPE_I8 &&
         value_is_constant(operand(conv, 1)) && window->channels_last && window->group == 1 &&
         window->rank < MAX_WINDOW && window->dilation[last] == 1 && columns > 1 &&
         (channels > 1 || columns % FOUR != 0) &&
         channels * whole_fours(columns) <= columns * whole_fours(channels) && !node_int(conv, "packed");
}

/* What the convolution reads, with the columns that its kernel is widened by, and an axis of one channel. */
static Value *padded_planes(Builder *builder, const Node *conv, const Window *window, Value *planes) {
  Module *module = builder->graph->module;
  const Dim *pads[2 * MAX_RANK], *dims[MAX_RANK];
  int rank = planes->type->rank, last = window->rank - 1;
  for (int i = 0; i < 2 * rank; i++) pads[i] = dim_const(module, 0);
  for (int s = 0; s < window->rank; s++) {
    int64_t more = s == last ? whole_fours(window->kernel[s]) - window->kernel[s] : 0;
    pads[2 + s] = dim_const(module, window->before[s]);
    pads[rank + 2 + s] = dim_const(module, window->after[s] + more);
  }
  Value *outside = build_scalar(builder, DTYPE_U8, (double)node_int(conv, "outside"));
  Node *pad = node_new(builder, &op_pad, (Value *[]){planes, outside}, 2);
  node_set_dims(pad, "pads", pads, 2 * rank);
  if (!node_finish(pad)) return NULL;
  for (int i = 0; i < rank; i++) dims[i] = result(pad, 0)->type->dims[i];
  dims[rank] = dim_const(module, 1);
  return build_reshape(builder, result(pad, 0), rank + 1, dims);
}

/* w[k..,C,M] as [C,k..,1,M], with zeros behind its columns. */
static Value *widened_kernel(Builder *builder, const Window *window, Value *w) {
  Module *module = builder->graph->module;
  const Dim *pads[2 * MAX_RANK], *dims[MAX_RANK];
  int64_t perm[MAX_RANK] = {window->rank};
  int rank = window->rank + 2, last = window->rank - 1;
  for (int i = 1; i <= window->rank; i++) perm[i] = i - 1;
  perm[rank - 1] = rank - 1;
  int64_t more = whole_fours(window->kernel[last]) - window->kernel[last];
  for (int i = 0; i < 2 * rank; i++) pads[i] = dim_const(module, i == 2 * rank - 2 ? more : 0);
  w = build_transpose(builder, w, perm);
  Node *pad = w ? node_new(builder, &op_pad, &w, 1) : NULL;
  if (!pad) return NULL;
  node_set_dims(pad, "pads", pads, 2 * rank);
  if (!node_finish(pad)) return NULL;
  for (int i = 0; i + 1 < rank; i++) dims[i] = result(pad, 0)->type->dims[i];
  dims[rank - 1] = dim_const(module, 1);
  dims[rank] = w->type->dims[rank - 1];
  return build_reshape(builder, result(pad, 0), rank + 1, dims);
}

/* An attribute of each spatial axis, with 1 for the planes in front. */
static void set_spatial(Node *node, const char *name, const int64_t *values, int count) {
  int64_t all[MAX_WINDOW] = {1};
  for (int s = 0; s < count; s++) all[1 + s] = values[s];
  node_set_ints(node, name, all, 1 + count);
}

Value *rule_image_planes(Node *conv) {
  Window window = node_window(conv);
  if (!gains(conv, &window)) return NULL;
  Builder builder = builder_before(conv);
  Value *planes = planes_of(&builder, operand(conv, 0));
  if (!planes) return NULL;
  Value *x = padded_planes(&builder, conv, &window, planes);
  Value *w = widened_kernel(&builder, &window, operand(conv, 1));
  if (!x || !w) return NULL;
  Node *node = node_like(&builder, conv, (Value *[]){x, w, operand(conv, 2)});
  set_spatial(node, "strides", window.stride, window.rank);
  set_spatial(node, "dilations", window.dilation, window.rank);
  node_set_ints(node, "pads", NULL, 0);
  node_set_int(node, "outside", 0);
  Value *y = node_try(node, NULL);
  return y ? build_reshape(&builder, y, result(conv, 0)->type->rank, result(conv, 0)->type->dims) : NULL;
}
