/*
 * pack.c -- brings convolutions, gemms and recurrent cells into the form that the fast kernels read.
 *
 * IR before: channels-last conv, gemm with constant weights, lstm, gru, rnn. IR after: the weights are
 * [ceil(N/16)][K][16] panels (`packed=16`) of each group, made by plain pad, reshape and transpose nodes that
 * constant folding evaluates; of 8-bit integers [ceil(N/16)][K/4][16][4], for which the channels are padded
 * to whole fours, of bf16 [ceil(N/16)][K/2][16][2], of fewer bits words (pack_blocks.c). Other products of
 * 16-bit floats are made of f32 (pack_halves.c). Where the width is open, or what lies outside is not 0, a
 * conv's padding is a `pad` node before it; shallow decision trees are complete (pack_trees.c). Requires:
 * layout was chosen. Keeps: the meaning; what it cannot pack it leaves alone.
 */
#include "codegen/schedule.h"

enum { PANEL = 16 };

Value *pad_to_units(Builder *builder, Value *x, int axis, int64_t unit) {
  Module *module = builder->graph->module;
  int rank = x->type->rank;
  int64_t rest = x->type->dims[axis]->value % unit;
  const Dim *pads[2 * MAX_RANK];
  if (rest == 0) return x;
  for (int i = 0; i < 2 * rank; i++) pads[i] = dim_const(module, i == rank + axis ? unit - rest : 0);
  Node *pad = node_new(builder, &op_pad, &x, 1);
  node_set_dims(pad, "pads", pads, 2 * rank);
  return node_finish(pad) ? result(pad, 0) : NULL;
}

void pack_replace(Node *node, Value *by) {
  Value *old = result(node, 0);
  const char *name = old->name;
  value_replace(old, by);
  node_remove(node);
  old->name = NULL; /* free for its heir */
  if (name) value_set_name(by, name);
}

static Value *whole_panels(Builder *builder, Value *x) {
  return pad_to_units(builder, x, x->type->rank - 1, PANEL);
}

static const Dim *panel_count(Module *module, const Dim *columns) {
  return dim_const(module, (columns->value + PANEL - 1) / PANEL);
}

/* panels [P][K][16] -> [P][K/4][16][4], the last two as one axis. */
static Value *rows_beside(Builder *builder, Value *panels, int depth) {
  Module *module = builder->graph->module;
  const Dim *beside = dim_const(module, depth), *columns = dim_const(module, PANEL);
  const Dim *groups = dim_floordiv(module, panels->type->dims[1], beside), *count = panels->type->dims[0];
  panels = build_reshape(builder, panels, 4, (const Dim *[]){count, groups, beside, columns});
  if (panels) panels = build_transpose(builder, panels, (int64_t[]){0, 1, 3, 2});
  const Dim *dims[] = {count, groups, dim_mul(module, columns, beside)};
  return panels ? build_reshape(builder, panels, 3, dims) : NULL;
}

/* w[K,N] -> [groups * ceil(N/groups/16), K, 16], zeros in the missing columns. */
static Value *packed_panels(Builder *builder, Value *w, int64_t groups) {
  Module *module = builder->graph->module;
  const Dim *k = w->type->dims[0], *columns = dim_const(module, w->type->dims[1]->value / groups);
  const Dim *panels = dim_mul(module, dim_const(module, groups), panel_count(module, columns));
  w = build_reshape(builder, w, 3, (const Dim *[]){k, dim_const(module, groups), columns});
  if (w) w = whole_panels(builder, w);
  if (w) w = build_reshape(builder, w, 3, (const Dim *[]){k, panels, dim_const(module, PANEL)});
  if (w) w = build_transpose(builder, w, (int64_t[]){1, 0, 2});
  int depth = w ? panel_depth(w->type->dtype) : 1;
  return w && depth > 1 ? rows_beside(builder, w, depth) : w;
}

/* conv with pads -> pad with what lies outside, conv without. */
static bool make_pads_explicit(Builder *builder, Node *conv) {
  Module *module = conv->graph->module;
  Value *x = operand(conv, 0);
  int rank = x->type->rank, count;
  const int64_t *pads = node_ints(conv, "pads", &count);
  const Dim *all[2 * MAX_RANK];
  for (int i = 0; i < 2 * rank; i++) all[i] = dim_const(module, 0);
  for (int i = 0; i < rank - 2; i++) {
    all[1 + i] = dim_const(module, pads[i]);
    all[rank + 1 + i] = dim_const(module, pads[rank - 2 + i]);
  }
  Value *value = build_scalar(builder, x->type->dtype, (double)node_int(conv, "outside"));
  Node *pad = node_new(builder, &op_pad, (Value *[]){x, value}, 2);
  node_set_dims(pad, "pads", all, 2 * rank);
  TRY(value && node_finish(pad));
  int64_t zeros[2 * MAX_RANK] = {0};
  operand_set(conv, 0, result(pad, 0));
  node_set_ints(conv, "pads", zeros, count);
  node_set_int(conv, "outside", 0);
  return true;
}

/* The tile for which a convolution is to be done by Winograd's minimal filtering, 0: by its own sums. */
static int64_t winograd_tile(const Node *conv, const PassOptions *options) {
  Window window = node_window(conv);
  const Type *x = operand(conv, 0)->type, *y = result(conv, 0)->type;
  if (x->dtype != DTYPE_F32 || options->strict || options->preference == PREFER_SIZE || window.rank != 2 ||
      window.group != 1)
    return 0;
  for (int s = 0; s < 2; s++) {
    if (window.kernel[s] != 3 || window.stride[s] != 1 || window.dilation[s] != 1) return 0;
    if (!dim_is_const(x->dims[1 + s])) return 0;
  }
  int64_t tile = winograd_choose_tile(options->target, y->dims[1]->value, y->dims[2]->value,
                                      window.group_channels, window.channels);
  return tile && !sparse_beats_winograd(conv, options->always_sparse) ? tile : 0;
}

/* w is constant, [3, 3, c, m]: transformed when the library is opened, or now if speed is preferred. */
static bool transform_conv(Node *conv, int64_t tile) {
  Builder builder = builder_before(conv);
  int64_t channels = operand(conv, 1)->type->dims[3]->value;
  Value *w = build_cast(&builder, operand(conv, 1), DTYPE_F32);
  Node *weights = node_new(&builder, &op_winograd_weights, &w, 1);
  node_set_int(weights, "tile", tile);
  TRY(node_finish(weights));
  operand_set(conv, 1, result(weights, 0));
  node_set_bool(conv, "wide", false);
  node_set_int(conv, "packed", PANEL);
  node_set_int(conv, "winograd", tile);
  node_set_ints(conv, "kernel", (int64_t[]){3, 3}, 2);
  node_set_int(conv, "channels", channels);
  return node_reinfer(conv);
}

/* w [k.., c/group, m] -> panels. */
static bool pack_weights(Node *conv) {
  Value *w = operand(conv, 1);
  Builder builder = builder_before(conv);
  Module *module = conv->graph->module;
  int rank = w->type->rank;
  int64_t kernel[MAX_RANK], k = w->type->dims[rank - 2]->value, channels = w->type->dims[rank - 1]->value;
  for (int i = 0; i < rank - 2; i++) k *= kernel[i] = w->type->dims[i]->value;
  w = build_reshape(&builder, w, 2, (const Dim *[]){dim_const(module, k), dim_const(module, channels)});
  w = w ? packed_panels(&builder, w, node_int(conv, "group")) : NULL;
  TRY(w);
  node_set_int(conv, "packed", PANEL);
  node_set_ints(conv, "kernel", kernel, rank - 2);
  node_set_int(conv, "channels", channels);
  operand_set(conv, 1, w);
  return node_reinfer(conv);
}

bool has_fast_products(const Node *node) {
  Dtype x = operand(node, 0)->type->dtype, w = operand(node, 1)->type->dtype;
  switch (x) {
  case DTYPE_F32: return w == DTYPE_F32 || w == DTYPE_F16;
  case DTYPE_BF16: return w == DTYPE_BF16 && result(node, 0)->type->dtype == DTYPE_F32;
  default: return x == DTYPE_U8 && w == DTYPE_I8;
  }
}

/* More of what a pad adds behind the last axis, where it does not matter what that is. */
static bool widen_pad(Node *pad, int64_t more) {
  int count;
  const Dim *const *old = node_dims(pad, "pads", &count), *pads[2 * MAX_RANK];
  for (int i = 0; i < count; i++) pads[i] = old[i];
  pads[count - 1] = dim_add(pad->graph->module, pads[count - 1], dim_const(pad->graph->module, more));
  node_set_dims(pad, "pads", pads, count);
  return node_reinfer(pad);
}

/* The last axis, which is `groups` groups, with zeros behind each, up to a multiple of `unit`. */
static Value *whole_groups(Builder *builder, Value *x, int64_t groups, int64_t unit) {
  Module *module = builder->graph->module;
  const Dim *dims[MAX_RANK], *count = dim_const(module, groups);
  int rank = x->type->rank;
  for (int i = 0; i < rank; i++) dims[i] = x->type->dims[i];
  dims[rank] = dim_floordiv(module, dims[rank - 1], count);
  dims[rank - 1] = count;
  x = build_reshape(builder, x, rank + 1, dims);
  x = x ? pad_to_units(builder, x, rank, unit) : NULL;
  if (!x) return NULL;
  dims[rank - 1] = dim_mul(module, count, x->type->dims[rank]);
  return build_reshape(builder, x, rank, dims);
}

/* Whether what is multiplied at once are columns, of which the kernel has whole groups: those of an image of
 * one channel, whose columns lie side by side. */
static bool multiplies_columns(const Node *conv, int depth) {
  Window window = node_window(conv);
  const Node *split = operand(conv, 0)->def;
  int last = window.rank - 1;
  if (window.group_channels != 1 || window.group != 1 || window.kernel[last] % depth != 0) return false;
  if (window.dilation[last] != 1 || window.before[last] != 0 || window.after[last] != 0) return false;
  if (!node_is(split, &op_reshape)) return false;
  const Type *from = operand(split, 0)->type;
  return from->rank > 0 && from->dims[from->rank - 1] == operand(conv, 0)->type->dims[window.rank];
}

/* Channels in whole groups of those that are multiplied at once. */
static bool fill_channels(Node *conv) {
  Builder builder = builder_before(conv);
  Value *x = operand(conv, 0), *w = operand(conv, 1);
  int rank = x->type->rank, depth = panel_depth(w->type->dtype);
  int64_t groups = node_int(conv, "group"), channels = x->type->dims[rank - 1]->value;
  if (w->type->dims[rank - 2]->value % depth == 0 || multiplies_columns(conv, depth)) return true;
  if (groups > 1)
    TRY(x = whole_groups(&builder, x, groups, depth));
  else if (node_is(x->def, &op_pad) && node_string_is(x->def, "mode", "constant") && value_has_one_use(x))
    TRY(widen_pad(x->def, (depth - channels % depth) % depth));
  else
    TRY(x = pad_to_units(&builder, x, rank - 1, depth));
  TRY(w = pad_to_units(&builder, w, rank - 2, depth));
  operand_set(conv, 0, x);
  operand_set(conv, 1, w);
  return node_reinfer(conv);
}

/* Weights that a run computes are moved once in it, which enough results at different places make up for. */
static bool is_worth_packing(const Node *conv) {
  enum { FEWEST_PLACES = 8 };
  const Type *y = result(conv, 0)->type;
  int64_t count = type_static_count(y);
  return operand(conv, 1)->type->dtype == DTYPE_F32 &&
         (count < 0 || count >= FEWEST_PLACES * y->dims[y->rank - 1]->value);
}

static bool pack_conv(Node *conv, const PassOptions *options) {
  Value *w = operand(conv, 1);
  if (!node_string_is(conv, "layout", "nhwc") || !has_fast_products(conv)) return false;
  if (node_int(conv, "packed") || type_static_count(w->type) <= 0) return false;
  if (!value_is_constant(w) && !is_worth_packing(conv)) return false;
  int64_t tile = value_is_constant(w) ? winograd_tile(conv, options) : 0;
  if (tile) return transform_conv(conv, tile);
  Builder builder = builder_before(conv);
  int rank = w->type->rank;
  bool open_width = !dim_is_const(operand(conv, 0)->type->dims[rank - 2]);
  bool padded = (open_width || node_int(conv, "outside")) && attr_has_other(conv, "pads", 0);
  if (padded) TRY(make_pads_explicit(&builder, conv));
  if (groups_are_small(conv)) return padded;
  TRY(fill_channels(conv));
  return pack_weights(conv);
}

/* gemm with transposed operands that are no constants -> transpose, gemm: a row that is read often is to be
 * contiguous. */
static bool untranspose_gemm(Node *gemm) {
  static const char *const flags[] = {"trans_a", "trans_b"};
  Builder builder = builder_before(gemm);
  bool changed = false;
  for (int i = 0; i < 2; i++) {
    if (!node_bool(gemm, flags[i])) continue;
    Value *plain = build_transpose(&builder, operand(gemm, i), (int64_t[]){1, 0});
    TRY(plain);
    operand_set(gemm, i, plain);
    node_set_bool(gemm, flags[i], false);
    changed = true;
  }
  return changed;
}

static bool pack_gemm(Node *gemm) {
  Value *a = operand(gemm, 0), *b = operand(gemm, 1);
  if (has_fast_products(gemm) && !node_int(gemm, "packed") && !value_is_constant(b))
    return untranspose_gemm(gemm);
  if (node_int(gemm, "packed") || !value_is_constant(b) || !type_is_static(b->type) || b->type->rank != 2)
    return false;
  int depth = panel_depth(b->type->dtype);
  if (!has_fast_products(gemm) || node_bool(gemm, "trans_a")) return false;
  if (depth > 1 && !dim_is_const(a->type->dims[1])) return false;
  Builder builder = builder_before(gemm);
  if (node_bool(gemm, "trans_b")) {
    b = build_transpose(&builder, b, (int64_t[]){1, 0});
    TRY(b);
  }
  int64_t n = b->type->dims[1]->value;
  if (n == 0) return false;
  if (depth > 1) TRY(a = pad_to_units(&builder, a, 1, depth));
  TRY(b = pad_to_units(&builder, b, 0, depth));
  Value *panels = packed_panels(&builder, b, 1);
  TRY(panels);
  node_set_bool(gemm, "trans_b", false);
  node_set_int(gemm, "packed", PANEL);
  node_set_int(gemm, "n", n);
  operand_set(gemm, 0, a);
  operand_set(gemm, 1, panels);
  return node_reinfer(gemm);
}

/* r[H,gates*H] -> [ceil(H/16), H, gates, 16]: all gates of a unit side by side. Also of an r that is no
 * constant: every step reads it. */
static bool pack_cell(Node *node) {
  Value *r = operand(node, CELL_R);
  if (node_int(node, "packed") || r->type->dtype != DTYPE_F32) return false;
  Module *module = node->graph->module;
  Builder builder = builder_before(node);
  const Dim *hidden = r->type->dims[0], *gates = dim_floordiv(module, r->type->dims[1], hidden);
  const Dim *panels = panel_count(module, hidden);
  TRY(r = build_reshape(&builder, r, 3, (const Dim *[]){hidden, gates, hidden}));
  TRY(r = whole_panels(&builder, r));
  TRY(r = build_reshape(&builder, r, 4, (const Dim *[]){hidden, gates, panels, dim_const(module, PANEL)}));
  TRY(r = build_transpose(&builder, r, (int64_t[]){2, 0, 1, 3}));
  node_set_int(node, "packed", PANEL);
  operand_set(node, CELL_R, r);
  return node_reinfer(node);
}

static bool pack_node(Node *node, const PassOptions *options) {
  if (node_is(node, &op_conv)) return pack_conv(node, options);
  if (node_is(node, &op_gemm)) return pack_gemm(node);
  if (node_is(node, &op_gemm_blocks)) return pack_blocks(node);
  if (node_is_cell(node)) return pack_cell(node);
  return node_is(node, &op_tree_ensemble) && pack_trees(node, options);
}

bool pack_run(Graph *graph, const PassOptions *options) {
  bool changed = pack_halves(graph, options);
  FOR_EACH_NODE_SAFE(node, graph) {
    if (rewrite_allowed(node)) changed |= rewrite_done(graph->module, pack_node(node, options));
  }
  return changed;
}
