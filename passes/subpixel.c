/*
 * subpixel.c -- transposed convolutions become convolutions.
 *
 * Position o of the result gets products of those elements k of the kernel for which o + before - k*dilation
 * is a multiple of the stride, so which ones depends on its phase, o modulo the stride, alone: the results of
 * one phase are a convolution of stride 1. There are two forms, of which the cheaper is taken:
 *
 *   phases: a convolution for each phase, of its elements; then concats [N,H,1,W,1,M] -> [N,H,s,W,s,M], which
 *           cost nothing once `place` lets the convolutions write there. Element ops behind go in before
 * them. blocks: one convolution makes all phases, as channels, then they are moved: [N,H,W,s*s*M] ->
 *           [N,H,W,s,s,M] -> [N,H,s,W,s,M]. Few channels fill vectors together, but the result is moved, and
 *           a kernel that is no multiple of the stride is multiplied with zeros.
 *
 * Before: channels-last conv_transpose with constant weights. After: conv, slice, concat, reshape, transpose.
 * Requires: layout was chosen. Keeps: the meaning.
 */
#include "passes/rewrite.h"

enum { MAX_PHASES = 64, MAX_FOLLOWERS = 16, VECTOR = 16 }; /* a vector: columns of a panel */

/* What one spatial axis of a convolution of stride 1 is: element t of `taps` reads x at o - before +
 * t*dilation; it is element first - t*step of the kernel. */
typedef struct Taps {
  int64_t taps, first, step, dilation;
  int64_t before, after; /* padding; negative: that much of x is not read */
} Taps;

typedef struct Rewrite {
  Builder builder;
  Node *node; /* conv_transpose */
  Window window;
  int rank;                 /* spatial axes */
  int64_t rest[MAX_WINDOW]; /* size of the result - size of x * stride */
  Node *followers[MAX_FOLLOWERS];
  int follower_count;
} Rewrite;

static Module *module_of(const Rewrite *r) {
  return r->node->graph->module;
}
static const Dim *number(const Rewrite *r, int64_t value) {
  return dim_const(module_of(r), value);
}
static int64_t floor_div(int64_t a, int64_t b) {
  return a / b - (a % b < 0);
}
static int64_t ceil_div(int64_t a, int64_t b) {
  return -floor_div(-a, b);
}

/* ---- the arithmetic of phases -------------------------------------------------------------------------- */

/* Elements of the result between those of one phase, less those of x. */
static int64_t growth(const Rewrite *r, int s) {
  return ceil_div(r->rest[s], r->window.stride[s]);
}

/* Results at s*stride + phase. */
static Taps phase_taps(const Rewrite *r, int s, int64_t phase) {
  const Window *w = &r->window;
  int64_t stride = w->stride[s], dilation = w->dilation[s], at = phase + w->before[s], nearest = 0, step = 1;
  while (nearest < stride && (at - nearest * dilation) % stride != 0) nearest++;
  while (step * dilation % stride != 0) step++;
  if (nearest >= stride || nearest >= w->kernel[s]) return (Taps){0};
  Taps taps = {
      .taps = (w->kernel[s] - 1 - nearest) / step + 1, .step = step, .dilation = step * dilation / stride};
  int64_t reach = (taps.taps - 1) * taps.dilation;
  taps.first = nearest + (taps.taps - 1) * step;
  taps.before = reach - (at - nearest * dilation) / stride; /* exact */
  taps.after = growth(r, s) - taps.before + reach;
  return taps;
}

/* Where the blocks that reach into the result begin, counted from where x does. */
static int64_t first_block(const Rewrite *r, int s) {
  return r->window.before[s] / r->window.stride[s];
}

/* Whole blocks of a stride's results; of the kernel, filled up to whole strides, every stride-th element. */
static Taps block_taps(const Rewrite *r, int s) {
  const Window *w = &r->window;
  int64_t stride = w->stride[s], last = floor_div(w->before[s] + r->rest[s] - 1, stride);
  Taps taps = {
      .taps = ceil_div(w->kernel[s], stride), .step = 1, .dilation = stride == 1 ? w->dilation[s] : 1};
  int64_t reach = (taps.taps - 1) * taps.dilation;
  taps.first = taps.taps - 1;
  taps.before = reach - first_block(r, s);
  taps.after = last - first_block(r, s) + 1 - taps.before + reach;
  return taps;
}

/* ---- the choice ---------------------------------------------------------------------------------------- */

static int64_t phase_count(const Rewrite *r) {
  int64_t count = 1;
  for (int s = 0; s < r->rank && count <= MAX_PHASES; s++) count *= r->window.stride[s];
  return count;
}

/* Vectors that so many columns take; half ones are twice as fast. */
static double vectors(double columns) {
  double halves = columns / (VECTOR / 2.0);
  return (double)(int64_t)(halves + 0.999) / 2;
}

/* Unless they would be zeros mostly. */
static bool blocks_are_possible(const Rewrite *r) {
  static const double most = 4; /* products for each that is needed */
  double products = 1;
  for (int s = 0; s < r->rank; s++) {
    if (r->window.stride[s] > 1 && r->window.dilation[s] > 1) return false;
    products *= (double)block_taps(r, s).taps * (double)r->window.stride[s] / (double)r->window.kernel[s];
  }
  return products <= most;
}

/* Vector operations for each element of x, in which moving a vector of the result counts as some. */
static bool blocks_are_cheaper(const Rewrite *r) {
  static const double move = 8;
  const Window *w = &r->window;
  double channels = (double)(w->group_channels * w->group), phases = 1, elements = 1, blocks = 1;
  double columns = (double)w->channels / (double)w->group;
  for (int s = 0; s < r->rank; s++) {
    phases *= (double)w->stride[s];
    elements *= (double)w->kernel[s];
    blocks *= (double)block_taps(r, s).taps;
  }
  double moved = move * phases * vectors((double)w->channels);
  return blocks * channels * vectors(phases * columns) + moved < elements * channels * vectors(columns);
}

/* ---- building ------------------------------------------------------------------------------------------ */

/* Of every axis `sizes` elements from `starts` in `steps`. */
static Value *build_part(const Rewrite *r, Value *x, const int64_t *starts, const Dim *const *sizes,
                         const int64_t *steps) {
  const Dim *first[MAX_RANK];
  bool whole = true;
  Builder builder = r->builder;
  for (int i = 0; i < x->type->rank; i++) {
    first[i] = number(r, starts[i]);
    whole = whole && starts[i] == 0 && steps[i] == 1 && sizes[i] == x->type->dims[i];
  }
  if (whole) return x;
  Node *slice = node_new(&builder, &op_slice, &x, 1);
  node_set_dims(slice, "starts", first, x->type->rank);
  node_set_dims(slice, "sizes", sizes, x->type->rank);
  node_set_ints(slice, "steps", steps, x->type->rank);
  return node_finish(slice) ? result(slice, 0) : NULL;
}

/* Reverses the first axes. w holds the last element of each tap's axis first. */
static Value *pick_taps(const Rewrite *r, Value *w, const Taps *taps) {
  int64_t starts[MAX_RANK] = {0}, steps[MAX_RANK];
  const Dim *sizes[MAX_RANK];
  for (int i = 0; i < w->type->rank; i++) {
    bool spatial = i < r->rank;
    starts[i] = spatial ? taps[i].first : 0;
    steps[i] = spatial ? -taps[i].step : 1;
    sizes[i] = spatial ? number(r, taps[i].taps) : w->type->dims[i];
  }
  return build_part(r, w, starts, sizes, steps);
}

/* x without what no tap reads. */
static Value *crop_input(const Rewrite *r, const Taps *taps) {
  Value *x = operand(r->node, 0);
  int64_t starts[MAX_RANK] = {0}, steps[MAX_RANK];
  const Dim *sizes[MAX_RANK];
  for (int i = 0; i < x->type->rank; i++) {
    int s = i - 1;
    bool spatial = s >= 0 && s < r->rank;
    int64_t before = spatial ? taps[s].before : 0, after = spatial ? taps[s].after : 0;
    starts[i] = before < 0 ? -before : 0;
    steps[i] = 1;
    sizes[i] = dim_add(module_of(r), x->type->dims[i], number(r, (after < 0 ? after : 0) - starts[i]));
  }
  return build_part(r, x, starts, sizes, steps);
}

static Value *build_conv(const Rewrite *r, Value *w, Value *bias, const Taps *taps) {
  int64_t pads[2 * MAX_WINDOW], dilations[MAX_WINDOW];
  Builder builder = r->builder;
  Value *x = crop_input(r, taps);
  if (!x || !w) return NULL;
  for (int s = 0; s < r->rank; s++) {
    pads[s] = taps[s].before > 0 ? taps[s].before : 0;
    pads[r->rank + s] = taps[s].after > 0 ? taps[s].after : 0;
    dilations[s] = taps[s].dilation;
  }
  Node *conv = node_new(&builder, &op_conv, (Value *[]){x, w, bias}, 3);
  node_set_string(conv, "layout", "nhwc");
  node_set_ints(conv, "pads", pads, 2 * r->rank);
  node_set_ints(conv, "dilations", dilations, r->rank);
  node_set_int(conv, "group", r->window.group);
  return node_finish(conv) ? result(conv, 0) : NULL;
}

/* w[k.., C, p.., m/g] -> [k.., C/g, g*p*m/g]: the groups beside each other, in each its phases, if there are.
 */
static Value *join_groups(const Rewrite *r, Value *w) {
  Builder builder = r->builder;
  int rank = w->type->rank, k = r->rank;
  int64_t group = r->window.group, perm[MAX_RANK];
  const Dim *dims[MAX_RANK], *columns = number(r, group);
  for (int i = 0; i < rank; i++) dims[i < k ? i : i + 1] = w->type->dims[i];
  for (int i = k + 1; i < rank; i++) columns = dim_mul(module_of(r), columns, w->type->dims[i]);
  dims[k] = number(r, group);
  dims[k + 1] = number(r, r->window.group_channels);
  for (int i = 0; i <= rank; i++) perm[i] = i == k ? k + 1 : i == k + 1 ? k : i;
  w = build_reshape(&builder, w, rank + 1, dims);
  if (w) w = build_transpose(&builder, w, perm);
  dims[k] = dims[k + 1];
  dims[k + 1] = columns;
  return w ? build_reshape(&builder, w, k + 2, dims) : NULL;
}

/* ---- phases -------------------------------------------------------------------------------------------- */

static Value *follow(const Rewrite *r, Value *y) {
  Builder builder = r->builder;
  Value *before = result(r->node, 0);
  for (int i = 0; y && i < r->follower_count; i++) {
    enum { MAX_OPERANDS = 8 };
    const Node *node = r->followers[i];
    Value *operands[MAX_OPERANDS];
    for (int k = 0; k < node->operand_count; k++)
      operands[k] = operand(node, k) == before ? y : operand(node, k);
    Node *copy = node_like(&builder, node, operands);
    y = node_finish(copy) ? result(copy, 0) : NULL;
    before = result(node, 0);
  }
  return y;
}

static const Dim *phase_size(const Rewrite *r, int s) {
  return dim_add(module_of(r), operand(r->node, 0)->type->dims[1 + s], number(r, growth(r, s)));
}

/* No element of the kernel belongs to the phase: the bias, or zeros. */
static Value *empty_phase(const Rewrite *r, const Dim *const *dims) {
  Value *bias = operand(r->node, 2);
  Builder builder = r->builder;
  const Type *type = result(r->node, 0)->type;
  if (!bias) bias = build_scalar(&builder, type->dtype, 0);
  return build_broadcast(&builder, bias, r->rank + 2, dims);
}

/* The results of one phase, [N,H,1,W,1,M]. */
static Value *one_phase(const Rewrite *r, const int64_t *phase) {
  Builder builder = r->builder;
  const Dim *const *y_dims = result(r->node, 0)->type->dims, *dims[MAX_RANK] = {y_dims[0]};
  const Dim *plain[MAX_RANK] = {y_dims[0]};
  Taps taps[MAX_WINDOW];
  bool empty = false;
  for (int s = 0; s < r->rank; s++) {
    taps[s] = phase_taps(r, s, phase[s]);
    empty = empty || taps[s].taps == 0;
    plain[1 + s] = dims[1 + 2 * s] = phase_size(r, s);
    dims[2 + 2 * s] = number(r, 1);
  }
  plain[1 + r->rank] = dims[1 + 2 * r->rank] = y_dims[1 + r->rank];
  Value *y = empty ? empty_phase(r, plain) : NULL;
  if (!empty) {
    Value *w = pick_taps(r, operand(r->node, 1), taps);
    y = build_conv(r, w ? join_groups(r, w) : NULL, operand(r->node, 2), taps);
  }
  y = follow(r, y);
  return y ? build_reshape(&builder, y, 2 + 2 * r->rank, dims) : NULL;
}

/* All phases of the axes from s on, of the others those in `phase`. */
static Value *join_phases(const Rewrite *r, int s, int64_t *phase) {
  if (s == r->rank) return one_phase(r, phase);
  Builder builder = r->builder;
  int count = (int)r->window.stride[s];
  Value *parts[MAX_PHASES];
  for (int i = 0; i < count; i++) {
    phase[s] = i;
    parts[i] = join_phases(r, s + 1, phase);
    if (!parts[i]) return NULL;
  }
  if (count == 1) return parts[0];
  Node *concat = node_new(&builder, &op_concat, parts, count);
  node_set_int(concat, "axis", 2 + 2 * s);
  return node_finish(concat) ? result(concat, 0) : NULL;
}

/* ---- blocks -------------------------------------------------------------------------------------------- */

/* The kernel's spatial axes filled with zeros to whole strides, and divided: [k/s, s, .., C, m] ->
 * [k/s.., C, s.., m]. */
static Value *block_weights(const Rewrite *r) {
  Builder builder = r->builder;
  Value *w = operand(r->node, 1);
  int rank = w->type->rank;
  const Dim *pads[2 * MAX_RANK], *dims[MAX_RANK];
  int64_t perm[MAX_RANK];
  for (int i = 0; i < 2 * rank; i++) pads[i] = number(r, 0);
  for (int s = 0; s < r->rank; s++) {
    int64_t stride = r->window.stride[s], strides = block_taps(r, s).taps;
    pads[rank + s] = number(r, strides * stride - r->window.kernel[s]);
    dims[2 * s] = number(r, strides);
    dims[2 * s + 1] = number(r, stride);
    perm[s] = 2 * s;
    perm[r->rank + 1 + s] = 2 * s + 1;
  }
  for (int i = 0; i < 2; i++) dims[2 * r->rank + i] = w->type->dims[r->rank + i];
  perm[r->rank] = 2 * r->rank;
  perm[2 * r->rank + 1] = 2 * r->rank + 1;
  Node *pad = node_new(&builder, &op_pad, &w, 1);
  node_set_dims(pad, "pads", pads, 2 * rank);
  w = node_finish(pad) ? build_reshape(&builder, result(pad, 0), 2 + 2 * r->rank, dims) : NULL;
  return w ? build_transpose(&builder, w, perm) : NULL;
}

/* bias[g*m] -> [g*p*m] */
static Value *block_bias(const Rewrite *r, const Dim *phases) {
  Builder builder = r->builder;
  Value *bias = operand(r->node, 2);
  if (!bias) return NULL;
  const Dim *group = number(r, r->window.group), *m = number(r, r->window.channels / r->window.group);
  bias = build_reshape(&builder, bias, 3, (const Dim *[]){group, number(r, 1), m});
  if (bias) bias = build_broadcast(&builder, bias, 3, (const Dim *[]){group, phases, m});
  const Dim *all = dim_mul(module_of(r), dim_mul(module_of(r), group, phases), m);
  return bias ? build_reshape(&builder, bias, 1, &all) : NULL;
}

/* y[N, H.., g*p*m] -> [N, H.., g, s.., m] -> [N, H, s, .., g, m] -> [N, H*s, .., g*m] */
static Value *move_blocks(const Rewrite *r, Value *y) {
  Builder builder = r->builder;
  int k = r->rank;
  const Dim *dims[MAX_RANK] = {y->type->dims[0]}, *joined[MAX_RANK] = {y->type->dims[0]};
  int64_t perm[MAX_RANK] = {0};
  for (int s = 0; s < k; s++) {
    dims[1 + s] = y->type->dims[1 + s];
    dims[2 + k + s] = number(r, r->window.stride[s]);
    joined[1 + s] = dim_mul(module_of(r), dims[1 + s], dims[2 + k + s]);
    perm[1 + 2 * s] = 1 + s;
    perm[2 + 2 * s] = 2 + k + s;
  }
  perm[1 + 2 * k] = 1 + k;
  perm[2 + 2 * k] = 2 + 2 * k;
  dims[1 + k] = number(r, r->window.group);
  dims[2 + 2 * k] = number(r, r->window.channels / r->window.group);
  joined[1 + k] = number(r, r->window.channels);
  y = build_reshape(&builder, y, 3 + 2 * k, dims);
  if (y) y = build_transpose(&builder, y, perm);
  return y ? build_reshape(&builder, y, 2 + k, joined) : NULL;
}

static Value *build_blocks(const Rewrite *r) {
  Taps taps[MAX_WINDOW];
  const Dim *phases = number(r, 1);
  for (int s = 0; s < r->rank; s++) {
    taps[s] = block_taps(r, s);
    phases = dim_mul(module_of(r), phases, number(r, r->window.stride[s]));
  }
  Value *w = block_weights(r), *bias = block_bias(r, phases);
  if (w) w = pick_taps(r, w, taps);
  Value *y = build_conv(r, w ? join_groups(r, w) : NULL, bias, taps);
  return y ? move_blocks(r, y) : NULL;
}

/* ---- the pass ------------------------------------------------------------------------------------------ */

/* The element op that is all that reads y, with constants for each channel beside it. */
static Node *follower(const Value *y) {
  Node *node = value_has_one_use(y) ? y->uses->node : NULL;
  if (!node_is_pointwise(node) || node->operand_count > 4) return NULL;
  for (int i = 0; i < node->operand_count; i++) {
    const Value *other = operand(node, i);
    if (!other || other == y) continue;
    if (!value_is_constant(other) || type_static_count(other->type) > y->type->dims[y->type->rank - 1]->value)
      return NULL;
    for (int axis = 0; axis + 1 < other->type->rank; axis++)
      if (!dim_is(other->type->dims[axis], 1)) return NULL;
  }
  return type_same_shape(result(node, 0)->type, y->type) ? node : NULL;
}

static Value *build_phases(Rewrite *r, Value **last) {
  int64_t phase[MAX_WINDOW];
  for (Node *node; r->follower_count < MAX_FOLLOWERS && (node = follower(*last)); *last = result(node, 0))
    r->followers[r->follower_count++] = node;
  if (r->follower_count) r->builder.before = r->followers[r->follower_count - 1];
  Value *y = join_phases(r, 0, phase);
  const Dim *dims[MAX_RANK] = {result(r->node, 0)->type->dims[0]};
  for (int s = 0; s < r->rank; s++)
    dims[1 + s] = dim_mul(module_of(r), phase_size(r, s), number(r, r->window.stride[s]));
  dims[1 + r->rank] = result(r->node, 0)->type->dims[1 + r->rank];
  return y ? build_reshape(&r->builder, y, 2 + r->rank, dims) : NULL;
}

/* What is left of whole blocks or phases: the result. */
static Value *crop_result(const Rewrite *r, Value *y, bool blocks) {
  int64_t starts[MAX_RANK] = {0}, steps[MAX_RANK];
  for (int i = 0; i < y->type->rank; i++) {
    int s = i - 1;
    steps[i] = 1;
    if (blocks && s >= 0 && s < r->rank) starts[i] = r->window.before[s] % r->window.stride[s];
  }
  return build_part(r, y, starts, result(r->node, 0)->type->dims, steps);
}

/* Sizes that are open must not be cropped: they may be too small for it. */
static bool can_crop(const Rewrite *r, int s, const Taps *taps) {
  const Dim *size = operand(r->node, 0)->type->dims[1 + s];
  int64_t cropped = (taps->before < 0 ? taps->before : 0) + (taps->after < 0 ? taps->after : 0);
  return cropped == 0 || (dim_is_const(size) && size->value + cropped > 0);
}

static bool all_can_crop(const Rewrite *r, bool blocks) {
  for (int s = 0; s < r->rank; s++) {
    for (int64_t phase = 0; phase < (blocks ? 1 : r->window.stride[s]); phase++) {
      Taps taps = blocks ? block_taps(r, s) : phase_taps(r, s, phase);
      if (taps.taps > 0 && !can_crop(r, s, &taps)) return false;
    }
  }
  return true;
}

static bool rewrite(Node *node) {
  const Value *x = operand(node, 0), *w = operand(node, 1), *y = result(node, 0);
  if (!node_string_is(node, "layout", "nhwc") || !value_is_constant(w)) return false;
  if (type_static_count(w->type) <= 0 || type_static_count(y->type) == 0) return false;
  Rewrite r = {.builder = builder_before(node), .node = node, .window = node_window(node)};
  const Dim *rests[MAX_WINDOW];
  r.rank = r.window.rank;
  if (3 + 2 * r.rank > MAX_RANK) return false;
  for (int s = 0; s < r.rank; s++) {
    const Dim *strides = dim_mul(module_of(&r), x->type->dims[1 + s], number(&r, r.window.stride[s]));
    rests[s] = dim_sub(module_of(&r), y->type->dims[1 + s], strides);
    if (!dim_is_const(rests[s])) return false;
    r.rest[s] = rests[s]->value;
  }
  bool phases = phase_count(&r) <= MAX_PHASES && all_can_crop(&r, false);
  bool blocks = blocks_are_possible(&r) && all_can_crop(&r, true) && (!phases || blocks_are_cheaper(&r));
  if (!phases && !blocks) return false;
  Value *last = result(node, 0), *made = blocks ? build_blocks(&r) : build_phases(&r, &last);
  if (made) made = crop_result(&r, made, blocks);
  if (made) node_replace(last->def, made);
  return made != NULL;
}

bool pass_subpixel(Graph *graph, const PassOptions *options) {
  (void)options;
  bool changed = false;
  for (Node *node = graph->last, *next; node; node = next) { /* backwards: what goes stands behind */
    next = node->prev;
    if (node_is(node, &op_conv_transpose) && rewrite_allowed(node))
      changed |= rewrite_done(graph->module, rewrite(node));
  }
  graph_sweep(graph);
  return changed;
}
