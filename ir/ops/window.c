/*
 * window.c -- the geometry that conv, conv_transpose, max_pool and average_pool share: attributes, sizes,
 * positions.
 *
 * Along spatial axis s window o covers x at o*stride + k*dilation - before, for k in [0, kernel). In "nchw"
 * the axes are n, c, spatial...; in "nhwc" n, spatial..., c, for any number of spatial axes.
 */
#include "ir/ops/ops.h"

#include <string.h>

/* ---- attributes ---- */

/* A list with one entry per spatial axis, or empty: `normal` everywhere. Entries lie in [least, 2^31). */
static bool read_list(const Node *node, const char *name, int count, int64_t least, int64_t normal,
                      int64_t *values) {
  int got;
  const int64_t *list = node_ints(node, name, &got);
  if (got != 0) TRY(check_count(node, name, got, count));
  for (int i = 0; i < count; i++) {
    values[i] = got ? list[i] : normal;
    if (values[i] < least || values[i] > INT32_MAX)
      return node_fail(node, "%s has %lld; it must be at least %lld and below 2^31", name,
                       (long long)values[i], (long long)least);
  }
  return true;
}

bool window_check(const Node *node, int spatial, Window *window) {
  bool has_layout = op_attr_index(node->op, "layout") >= 0;
  *window = (Window){.rank = spatial, .group = 1};
  window->channels_last = has_layout && node_string_is(node, "layout", "nhwc");
  if (spatial < 1 || spatial > MAX_WINDOW)
    return node_fail(node, "x is %s; it must have batch, channel and 1 to %d spatial axes",
                     operand_text(node, 0), MAX_WINDOW);
  window->channel_axis = window->channels_last ? spatial + 1 : 1;
  window->spatial_axis = window->channels_last ? 1 : 2;
  int64_t pads[2 * MAX_WINDOW];
  TRY(read_list(node, "strides", spatial, 1, 1, window->stride));
  TRY(read_list(node, "dilations", spatial, 1, 1, window->dilation));
  TRY(read_list(node, "pads", 2 * spatial, 0, 0, pads));
  memcpy(window->before, pads, sizeof *pads * (size_t)spatial);
  memcpy(window->after, pads + spatial, sizeof *pads * (size_t)spatial);
  return true;
}

bool window_check_kernel(const Node *node, const Window *window) {
  for (int s = 0; s < window->rank; s++)
    if (window->kernel[s] < 1 || window->kernel[s] > INT32_MAX)
      return node_fail(node,
                       "the window has %lld elements along spatial axis %d; it needs 1 and less than 2^31",
                       (long long)window->kernel[s], s);
  return true;
}

/* ---- sizes ---- */

/* Elements from the first to the last of the window. */
static int64_t reach(const Window *window, int s) {
  return window->dilation[s] * (window->kernel[s] - 1) + 1;
}

bool window_output(const Node *node, const Window *window, int s, const Dim *size, bool ceil,
                   const Dim **result) {
  Module *module = node_module(node);
  int64_t before = window->before[s], after = window->after[s];
  const Dim *stride = dim_const(module, window->stride[s]), *one = dim_const(module, 1);
  const Dim *room = dim_add(module, size, dim_const(module, before + after - reach(window, s)));
  if (dim_is_const(room) && room->value < 0)
    return node_fail(node, "spatial axis %d has %lld elements with padding, the window reaches over %lld", s,
                     (long long)(room->value + reach(window, s)), (long long)reach(window, s));
  *result = dim_add(module, (ceil ? dim_ceildiv : dim_floordiv)(module, room, stride), one);
  if (ceil) { /* but no window begins in the padding behind the end */
    const Dim *begins = dim_ceildiv(module, dim_add(module, size, dim_const(module, before)), stride);
    *result = dim_make(module, DIM_MIN, *result, begins);
  }
  return true;
}

/* ---- for everybody ---- */

static void pool_kernel(const Node *node, Window *window) {
  int count;
  const int64_t *kernel = node_ints(node, "kernel", &count);
  memcpy(window->kernel, kernel, sizeof *kernel * (size_t)window->rank);
}

static void conv_kernel(const Node *node, Window *window) {
  const Type *x = operand(node, 0)->type, *w = operand(node, 1)->type;
  bool forward = node_is(node, &op_conv), packed = forward && node_int(node, "packed") != 0;
  window->group = node_int(node, "group");
  window->channels = result(node, 0)->type->dims[window->channel_axis]->value;
  if (packed) {
    pool_kernel(node, window);
    window->group_channels = x->dims[window->channel_axis]->value / window->group;
    return;
  }
  int first = window->channels_last ? 0 : 2;
  for (int s = 0; s < window->rank; s++) window->kernel[s] = w->dims[first + s]->value;
  if (forward)
    window->group_channels = w->dims[window->channels_last ? window->rank : 1]->value;
  else
    window->group_channels = w->dims[window->channels_last ? window->rank : 0]->value / window->group;
}

Window node_window(const Node *node) {
  Window window;
  window_check(node, operand(node, 0)->type->rank - 2, &window);
  (op_attr_index(node->op, "group") < 0 ? pool_kernel : conv_kernel)(node, &window);
  return window;
}

Node *window_absorbs_pad(const Node *node, const Window *window, int64_t pads[2 * MAX_WINDOW]) {
  Node *pad = operand_def(node, 0, &op_pad);
  if (!pad || !node_string_is(pad, "mode", "constant")) return NULL;
  int count, rank = window->rank;
  const Dim *const *given = node_dims(pad, "pads", &count);
  for (int i = 0; i < count; i++) {
    int axis = i % (count / 2), s = axis - window->spatial_axis;
    bool spatial = s >= 0 && s < rank, end = i >= count / 2;
    int64_t own = !spatial ? 0 : end ? window->after[s] : window->before[s];
    if (!dim_is_const(given[i]) || given[i]->value < 0 || given[i]->value > INT32_MAX - own) return NULL;
    if (spatial)
      pads[s + (end ? rank : 0)] = own + given[i]->value;
    else if (given[i]->value != 0)
      return NULL;
  }
  return pad;
}

/* ---- nests ---- */

void window_place(const Window *window, Index n, Index c, const Index *spatial, Index *at) {
  at[0] = n;
  at[window->channel_axis] = c;
  for (int s = 0; s < window->rank; s++) at[window->spatial_axis + s] = spatial[s];
}

Index window_position(Lower *lower, const Window *window, int s, Index o, Index k) {
  Index begin = index_add_const(lower, index_mul_const(lower, o, window->stride[s]), -window->before[s]);
  return index_add(lower, begin, index_mul_const(lower, k, window->dilation[s]));
}

Reg *window_source(Lower *lower, const Window *window, int s, const Dim *size, Index o, Index k,
                   Index *source) {
  Loops *loops = &lower->loops;
  const Dim *stride = dim_const(lower->module, window->stride[s]);
  Index shifted = index_add_const(lower, o, window->before[s]);
  shifted = index_sub(lower, shifted, index_mul_const(lower, k, window->dilation[s]));
  *source = index_div(lower, shifted, stride);
  Reg *inside = index_inside(lower, *source, dim_const(lower->module, 0), size);
  if (window->stride[s] == 1) return inside;
  Reg *rest = index_reg(lower, index_mod(lower, shifted, stride));
  return loop_binary(loops, LOOP_AND, inside, loop_binary(loops, LOOP_EQ, rest, loop_int(loops, 0)));
}

void window_nest(Lower *lower, Nest *nest, const Window *window, Index *k) {
  for (int s = 0; s < window->rank; s++)
    k[s] = index_of(nest_for(lower, nest, loop_int(&lower->loops, window->kernel[s])));
}

Reg *window_inside(Lower *lower, const Window *window, const Type *x, const Index *spatial) {
  Reg *inside = NULL;
  for (int s = 0; s < window->rank; s++) {
    const Dim *low = window->before[s] > 0 ? dim_const(lower->module, 0) : NULL;
    Reg *here = index_inside(lower, spatial[s], low, x->dims[window->spatial_axis + s]);
    inside = inside ? loop_binary(&lower->loops, LOOP_AND, inside, here) : here;
  }
  return inside;
}
