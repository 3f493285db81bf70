/*
 * gradient_windows.c -- gradients of convolutions and pools.
 *
 * They are made of what compiles to fast kernels, whatever the stride: the gradient by x is a convolution of
 * stride 1, of g with zeros between its elements and the kernel turned round; that by the weights a product
 * of g and the elements that each *tap*, an element of the kernel, meets at all places.
 */
#include "ir/gradient.h"

#include <string.h>

/* The node, and what of its window is needed over and over. */
typedef struct Frame {
  Builder *b;
  const Node *node;
  Module *module;
  Window window;
  int64_t x[MAX_WINDOW], y[MAX_WINDOW]; /* spatial sizes */
  int64_t taps;                         /* elements of the kernel */
} Frame;

/* False when sizes are open or channels last. */
static bool frame_open(Frame *f, Builder *b, const Node *node) {
  *f = (Frame){.b = b, .node = node, .module = node_module(node), .window = node_window(node), .taps = 1};
  const Type *x = operand(node, 0)->type, *y = result(node, 0)->type;
  if (f->window.channels_last || 2 * f->window.rank + 2 > MAX_RANK)
    return gradient_missing(node, "with channels last"), false;
  for (int s = 0; s < f->window.rank; s++) {
    if (!dim_is_const(x->dims[2 + s]) || !dim_is_const(y->dims[2 + s]))
      return gradient_missing(node, "of open size"), false;
    f->x[s] = x->dims[2 + s]->value;
    f->y[s] = y->dims[2 + s]->value;
    f->taps *= f->window.kernel[s];
  }
  return true;
}

static const Dim *number(const Frame *f, int64_t value) {
  return dim_const(f->module, value);
}

/* ---- Shorthands: NULL in, NULL out ---- */

static Value *shaped(const Frame *f, Value *x, int rank, const Dim *const *dims) {
  return x ? build_reshape(f->b, x, rank, dims) : NULL;
}

static Value *mul(const Frame *f, Value *x, Value *y) {
  return x && y ? build_binary(f->b, &op_mul, x, y) : NULL;
}

static Value *mask(const Frame *f, Value *a, Value *b, Value *g) {
  Value *same = a && b ? build_binary(f->b, &op_equal, a, b) : NULL;
  return same ? mul(f, g, build_cast(f->b, same, g->type->dtype)) : NULL;
}

/* Zeros around the spatial axes; negative: elements are left out. */
static Value *padded(const Frame *f, Value *x, const int64_t *before, const int64_t *after) {
  const Dim *pads[2 * MAX_RANK];
  int rank = f->window.rank + 2;
  bool changes = false;
  for (int i = 0; i < 2 * rank; i++) pads[i] = number(f, 0);
  for (int s = 0; s < rank - 2; s++) {
    pads[2 + s] = number(f, before[s]);
    pads[rank + 2 + s] = number(f, after[s]);
    changes |= before[s] || after[s];
  }
  if (!x || !changes) return x;
  Node *pad = node_new(f->b, &op_pad, &x, 1);
  node_set_dims(pad, "pads", pads, 2 * rank);
  return node_finish(pad) ? result(pad, 0) : NULL;
}

/* x with axes in another order. */
static Value *ordered(const Frame *f, Value *x, const int64_t *perm) {
  return x ? build_transpose(f->b, x, perm) : NULL;
}

/* Channels last. */
static Value *channels_behind(const Frame *f, Value *x) {
  int64_t perm[MAX_RANK] = {0};
  int rank = f->window.rank + 2;
  for (int i = 1; i < rank; i++) perm[i] = i + 1 < rank ? i + 1 : 1;
  return ordered(f, x, perm);
}

/* Each spatial axis [n] -> [n * by]: what `fill` makes of [n, 1], along an axis of its own. */
typedef Value *Fill(const Frame *f, Value *parts, const Dim *const *dims);

static Value *stretched(const Frame *f, Value *x, const int64_t *by, Fill *fill) {
  const Dim *split[MAX_RANK], *whole[MAX_RANK], *joined[MAX_RANK];
  int rank = 0;
  if (!x) return NULL;
  for (int i = 0; i < f->window.rank + 2; i++) {
    split[rank] = whole[rank] = joined[i] = x->type->dims[i];
    rank++;
    if (i < 2) continue;
    split[rank] = number(f, 1);
    whole[rank++] = number(f, by[i - 2]);
    joined[i] = number(f, x->type->dims[i]->value * by[i - 2]);
  }
  Value *parts = shaped(f, x, rank, split);
  return shaped(f, parts ? fill(f, parts, whole) : NULL, f->window.rank + 2, joined);
}

static Value *fill_copies(const Frame *f, Value *parts, const Dim *const *dims) {
  return build_broadcast(f->b, parts, parts->type->rank, dims);
}

static Value *fill_zeros(const Frame *f, Value *parts, const Dim *const *dims) {
  int rank = parts->type->rank;
  const Dim *pads[2 * MAX_RANK];
  for (int i = 0; i < rank; i++) {
    pads[i] = number(f, 0);
    pads[rank + i] = dim_sub(f->module, dims[i], parts->type->dims[i]);
  }
  Node *pad = node_new(f->b, &op_pad, &parts, 1);
  node_set_dims(pad, "pads", pads, 2 * rank);
  return node_finish(pad) ? result(pad, 0) : NULL;
}

static bool has_strides(const Frame *f) {
  bool strides = false;
  for (int s = 0; s < f->window.rank; s++) strides |= f->window.stride[s] != 1;
  return strides;
}

/* g at the distance of the windows, zeros between. */
static Value *spread_out(const Frame *f, Value *g) {
  return has_strides(f) ? stretched(f, g, f->window.stride, fill_zeros) : g;
}

/* ---- Taps ---- */

/* x, padded so that every tap is inside for every result. */
static Value *framed(const Frame *f, Value *x) {
  const Window *w = &f->window;
  int64_t after[MAX_WINDOW];
  for (int s = 0; s < w->rank; s++)
    after[s] =
        (f->y[s] - 1) * w->stride[s] + (w->kernel[s] - 1) * w->dilation[s] + 1 - f->x[s] - w->before[s];
  return padded(f, x, w->before, after);
}

/* Where a tap lies in the window. */
static void find_tap(const Frame *f, int64_t tap, int64_t *at) {
  for (int s = f->window.rank - 1; s >= 0; s--) {
    at[s] = tap % f->window.kernel[s] * f->window.dilation[s];
    tap /= f->window.kernel[s];
  }
}

/* What a tap meets at each place, of x as `framed` has it. */
static Value *met_by(const Frame *f, Value *x, int64_t tap) {
  const Dim *starts[MAX_RANK], *sizes[MAX_RANK];
  int64_t at[MAX_WINDOW], steps[MAX_RANK] = {1, 1};
  if (!x) return NULL;
  find_tap(f, tap, at);
  for (int i = 0; i < x->type->rank; i++) {
    starts[i] = number(f, i < 2 ? 0 : at[i - 2]);
    sizes[i] = i < 2 ? x->type->dims[i] : number(f, f->y[i - 2]);
    if (i >= 2) steps[i] = f->window.stride[i - 2];
  }
  return gradient_slice(f->b, x, starts, sizes, steps);
}

/* The other way: what has been sent to a tap at each place, as large as x. */
static Value *sent_by(const Frame *f, Value *g, int64_t tap) {
  int64_t at[MAX_WINDOW], before[MAX_WINDOW], after[MAX_WINDOW];
  find_tap(f, tap, at);
  for (int s = 0; s < f->window.rank; s++) {
    before[s] = at[s] - f->window.before[s];
    after[s] = f->x[s] - before[s] - f->y[s] * f->window.stride[s];
  }
  return padded(f, spread_out(f, g), before, after);
}

/* ---- conv ---- */

/* The kernel turned round, channels of x and of the result swapped within groups. */
static Value *turned_weights(const Frame *f) {
  Value *w = operand(f->node, 1);
  int rank = w->type->rank;
  const Dim *starts[MAX_RANK], *split[MAX_RANK], *joined[MAX_RANK];
  int64_t steps[MAX_RANK], perm[MAX_RANK];
  for (int i = 0; i < rank; i++) {
    steps[i] = i < 2 ? 1 : -1;
    starts[i] = i < 2 ? number(f, 0) : number(f, w->type->dims[i]->value - 1);
    split[i + 1] = joined[i] = w->type->dims[i];
    perm[i + 1] = i + 1;
  }
  int64_t group = f->window.group, rows = w->type->dims[0]->value / group;
  split[0] = number(f, group);
  split[1] = number(f, rows);
  perm[0] = 0, perm[1] = 2, perm[2] = 1;
  joined[0] = number(f, group * w->type->dims[1]->value);
  joined[1] = number(f, rows);
  if (f->taps > 1) w = gradient_slice(f->b, w, starts, w->type->dims, steps);
  return shaped(f, ordered(f, shaped(f, w, rank + 1, split), perm), rank, joined);
}

static Value *conv_x(const Frame *f, Value *g) {
  const Window *w = &f->window;
  int64_t before[MAX_WINDOW], after[MAX_WINDOW], pads[2 * MAX_WINDOW] = {0};
  bool cuts = false;
  for (int s = 0; s < w->rank; s++) {
    int64_t reach = w->dilation[s] * (w->kernel[s] - 1);
    before[s] = reach - w->before[s];
    after[s] = f->x[s] + reach - before[s] - f->y[s] * w->stride[s];
    cuts |= before[s] < 0 || after[s] < 0;
  }
  g = spread_out(f, g);
  if (cuts) g = padded(f, g, before, after);
  for (int s = 0; s < w->rank && !cuts; s++) pads[s] = before[s], pads[w->rank + s] = after[s];
  Value *weights = turned_weights(f);
  if (!g || !weights) return NULL;
  Node *back = node_new(f->b, &op_conv, (Value *[]){g, weights}, 2);
  node_set_ints(back, "pads", pads, 2 * w->rank);
  node_set_ints(back, "dilations", w->dilation, w->rank);
  node_set_int(back, "group", w->group);
  return node_finish(back) ? result(back, 0) : NULL;
}

/* [batch, channels, ...] -> [group, places, channels of a group] */
static Value *by_groups(const Frame *f, Value *x) {
  if (!x) return NULL;
  const Dim *places = x->type->dims[0], *group = number(f, f->window.group);
  for (int i = 2; i < x->type->rank; i++) places = dim_mul(f->module, places, x->type->dims[i]);
  const Dim *dims[] = {places, group, dim_floordiv(f->module, x->type->dims[1], group)};
  return ordered(f, shaped(f, channels_behind(f, x), 3, dims), (int64_t[]){1, 0, 2});
}

static Value *joined(const Frame *f, Value **parts, int axis) {
  for (int64_t tap = 0; tap < f->taps; tap++)
    if (!parts[tap]) return NULL;
  if (f->taps == 1) return parts[0];
  Node *concat = node_new(f->b, &op_concat, parts, (int)f->taps);
  node_set_int(concat, "axis", axis);
  return node_finish(concat) ? result(concat, 0) : NULL;
}

/* Of one channel for each: sums of products, [taps, channels]. */
static Value *depthwise_weights(const Frame *f, Value *x, Value *g) {
  Value **parts = NEW_ARRAY(f->module->arena, Value *, f->taps);
  int64_t axes[MAX_RANK] = {0};
  for (int s = 0; s < f->window.rank; s++) axes[1 + s] = 2 + s;
  for (int64_t tap = 0; tap < f->taps; tap++) {
    Value *product = mul(f, met_by(f, x, tap), g);
    parts[tap] = product ? build_reduce(f->b, &op_reduce_sum, product, axes, f->window.rank + 1) : NULL;
    parts[tap] = shaped(f, parts[tap], 2, (const Dim *[]){number(f, 1), g->type->dims[1]});
  }
  return joined(f, parts, 0);
}

/* g^T x for each group: [group, rows, taps * channels]. */
static Value *group_weights(const Frame *f, Value *x, Value *g) {
  Value **parts = NEW_ARRAY(f->module->arena, Value *, f->taps);
  for (int64_t tap = 0; tap < f->taps; tap++) parts[tap] = by_groups(f, met_by(f, x, tap));
  Value *met = joined(f, parts, 2), *given = ordered(f, by_groups(f, g), (int64_t[]){0, 2, 1});
  return met && given ? build_binary(f->b, &op_matmul, given, met) : NULL;
}

static Value *conv_weights(const Frame *f, Value *g) {
  const Type *type = operand(f->node, 1)->type;
  Value *x = framed(f, operand(f->node, 0));
  const Dim *taps = number(f, f->taps), *rows = type->dims[0], *channels = type->dims[1];
  bool is_depthwise = dim_is(rows, f->window.group) && dim_is(channels, 1);
  Value *w;
  if (is_depthwise)
    w = ordered(f, depthwise_weights(f, x, g), (int64_t[]){1, 0});
  else
    w = ordered(f, shaped(f, group_weights(f, x, g), 3, (const Dim *[]){rows, taps, channels}),
                (int64_t[]){0, 2, 1});
  return shaped(f, w, type->rank, type->dims);
}

Value *gradient_conv(Builder *b, const Node *node, int index, Value *g) {
  Frame f;
  if (!frame_open(&f, b, node)) return NULL;
  if (index == 0) return conv_x(&f, g);
  if (index == 1) return conv_weights(&f, g);
  int64_t axes[MAX_RANK] = {0};
  for (int s = 0; s < f.window.rank; s++) axes[1 + s] = 2 + s;
  Value *sum = build_reduce(b, &op_reduce_sum, g, axes, f.window.rank + 1);
  return shaped(&f, sum, 1, operand(node, 2)->type->dims);
}

/* ---- pools ---- */

/* The windows of a pool fill x side by side, or one is all of it. */
static bool fills(const Frame *f) {
  const Window *w = &f->window;
  for (int s = 0; s < w->rank; s++) {
    bool steps = w->stride[s] == w->kernel[s] || f->y[s] == 1;
    if (!steps || w->dilation[s] != 1 || w->before[s] || w->after[s]) return false;
    if (f->x[s] != f->y[s] * w->kernel[s]) return false;
  }
  return true;
}

static Value *over_windows(const Frame *f, Value *y) {
  return stretched(f, y, f->window.kernel, fill_copies);
}

/* Sent to all taps, or, with x and y, to those that are equal. */
static Value *sent_to_taps(const Frame *f, Value *x, Value *y, Value *g) {
  Value *sum = NULL;
  for (int64_t tap = 0; tap < f->taps; tap++) {
    Value *sent = sent_by(f, x ? mask(f, met_by(f, x, tap), y, g) : g, tap);
    sum = sum && sent ? build_binary(f->b, &op_add, sum, sent) : sent;
    if (!sum) return NULL;
  }
  return sum;
}

/* To the largest elements of each window, all of them when several are equal. */
Value *gradient_max_pool(Builder *b, const Node *node, int index, Value *g) {
  Frame f;
  (void)index;
  if (!frame_open(&f, b, node)) return NULL;
  Value *x = operand(node, 0), *y = result(node, 0);
  if (fills(&f)) return mask(&f, x, over_windows(&f, y), over_windows(&f, g));
  return sent_to_taps(&f, framed(&f, x), y, g);
}

/* How many elements of x, or of what is padded, each window has: those that are inside along every axis. */
static int64_t members(const Frame *f, int64_t place) {
  const Window *w = &f->window;
  bool with_pads = node_bool(f->node, "include_pad");
  int64_t count = 1;
  for (int s = w->rank - 1; s >= 0; s--) {
    int64_t first = place % f->y[s] * w->stride[s] - w->before[s], inside = 0;
    for (int64_t k = 0; k < w->kernel[s]; k++) {
      int64_t at = first + k * w->dilation[s];
      inside += at >= (with_pads ? -w->before[s] : 0) && at < f->x[s] + (with_pads ? w->after[s] : 0);
    }
    count *= inside;
    place /= f->y[s];
  }
  return count;
}

static Value *shares(const Frame *f, const Type *type) {
  const Dim *dims[MAX_RANK];
  int64_t count = 1;
  for (int i = 0; i < type->rank; i++) dims[i] = i < 2 ? number(f, 1) : type->dims[i];
  for (int s = 0; s < f->window.rank; s++) count *= f->y[s];
  Data *data = data_new(f->module, type->dtype, count);
  for (int64_t i = 0; i < count; i++) {
    int64_t among = members(f, i);
    dtype_set(type->dtype, data_bytes(data), i, among ? 1 / (double)among : 0);
  }
  return build_const(f->b, type_make(f->module, type->dtype, type->rank, dims), data, NULL);
}

Value *gradient_average_pool(Builder *b, const Node *node, int index, Value *g) {
  Frame f;
  (void)index;
  if (!frame_open(&f, b, node)) return NULL;
  if (fills(&f)) return mul(&f, over_windows(&f, g), build_scalar(b, g->type->dtype, 1 / (double)f.taps));
  return sent_to_taps(&f, NULL, NULL, mul(&f, g, shares(&f, g->type)));
}
