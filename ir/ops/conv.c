/*
 * conv.c -- convolution and transposed convolution in both layouts, any number of spatial axes, groups and
 * dilations.
 *
 * Weights are [m, c/group, k...] in nchw and [k..., c/group, m] in nhwc (conv_transpose: [c, m/group, k...]
 * and [k..., c, m/group]). For the fast kernels, conv in nhwc takes weights packed like gemm's: for each
 * group the matrix [k.. * c/group, m/group] in panels of columns, with or without its zeros (sparse.c); or
 * transformed by winograd_weights. The plain nest reads through all forms, so that the interpreter checks the
 * packing, too.
 */
#include "ir/ops/ops.h"

static const OperandSpec conv_operands[] = {
    {"x", false, "nchw: [n, c, spatial..]; nhwc: [n, spatial.., c]"},
    {"w", false, "nchw: [m, c/group, kernel..]; nhwc: [kernel.., c/group, m]; or packed"},
    {"bias", true, "[m]"},
    {"rows", true, "of a packed w without its zeros: integers [kept]"},
    {"starts", true, "integers [panels * kernel.. + 1]"}};

static const char *const results_y[] = {"y"};

static const AttrSpec conv_attrs[] = {
    {"layout", ATTR_STRING, ROLE_NONE, "nchw", "order of the axes, with any number of spatial ones",
     "nchw|nhwc"},
    {"strides", ATTR_INTS, ROLE_NONE, "[]", "per spatial axis; [] means 1", NULL},
    {"dilations", ATTR_INTS, ROLE_NONE, "[]",
     "distance of the kernel's elements, per spatial axis; [] means 1", NULL},
    {"pads", ATTR_INTS, ROLE_NONE, "[]",
     "elements that are added before every spatial axis, then after every one; [] means 0", NULL},
    {"outside", ATTR_INT, ROLE_NONE, "0", "what these are: of quantized integers the zero point", NULL},
    {"group", ATTR_INT, ROLE_BLOCKS, "1", "parts of the channels that do not see each other", NULL},
    {"packed", ATTR_INT, ROLE_NONE, "0",
     "w is in panels of so many columns, [group * ceil(m/group/packed), k.. * c/group, packed]; of 8-bit "
     "integers [.., k.. * c/group / 4, packed * 4], with c/group divisible by 4; of bf16 by 2",
     NULL},
    {"kernel", ATTR_INTS, ROLE_NONE, "[]", "sizes of a packed kernel, per spatial axis", NULL},
    {"channels", ATTR_INT, ROLE_NONE, "0", "m of a packed w", NULL},
    {"winograd", ATTR_INT, ROLE_NONE, "0",
     "w is in panels, and transformed for tiles of so many by so many results (see winograd_weights)", NULL},
    {"wide", ATTR_BOOL, ROLE_NONE, "false",
     "the sums of f16 and bf16 stay f32: the result, and the bias; x may be f32, too", NULL}};

/* ---- checks ---- */

/* group divides the channels on both sides; `inner` is the size of w that stands for c/group. */
static bool check_group(const Node *node, const Window *window, const Dim *c, const Dim *inner, int64_t m) {
  int64_t group = window->group;
  if (group < 1 || m % group != 0)
    return node_fail(node, "group is %lld and w makes %lld channels; it must divide them", (long long)group,
                     (long long)m);
  if (dim_is_const(c) && c->value % group != 0)
    return node_fail(node, "group is %lld and x has %lld channels; it must divide them", (long long)group,
                     (long long)c->value);
  if (dim_is_const(c) && dim_is_const(inner) && c->value / group != inner->value)
    return node_fail(node, "x of shape %s has %lld channels in %lld groups, w is for %lld in each",
                     operand_text(node, 0), (long long)c->value, (long long)group, (long long)inner->value);
  return true;
}

static bool check_bias(const Node *node, int64_t m) {
  if (!operand(node, 2)) return true;
  TRY(check_addend(node, 2) && check_rank(node, 2, 1));
  const Dim *size = operand(node, 2)->type->dims[0];
  if (!dim_is_const(size) || size->value == m) return true;
  return node_fail(node, "bias has %lld elements for %lld channels", (long long)size->value, (long long)m);
}

/* w has constant sizes. */
static bool check_weights(const Node *node, int rank) {
  TRY(check_product(node) && check_rank(node, 1, rank));
  if (type_is_static(operand(node, 1)->type)) return true;
  return node_fail(node, "w is %s; its sizes must be numbers", operand_text(node, 1));
}

/* ---- conv ---- */

/* w is what winograd_weights makes for a 3x3 kernel of stride 1. */
static bool check_winograd(const Node *node, const Window *window, int64_t panels, const Dim *c) {
  const Type *w = operand(node, 1)->type;
  int64_t tile = node_int(node, "winograd"), points = winograd_points(tile);
  bool fits = window->rank == 2 && window->group == 1 && w->dtype == DTYPE_F32 && points != 0;
  for (int s = 0; fits && s < 2; s++)
    fits = window->kernel[s] == 3 && window->stride[s] == 1 && window->dilation[s] == 1;
  if (!fits)
    return node_fail(node, "winograd=%lld: it is 2 or 4, for f32, a 3x3 kernel, stride 1, one group",
                     (long long)tile);
  TRY(check_weights(node, 4));
  if (node_int(node, "packed") == 16 && dim_is(w->dims[0], panels) && dim_is(w->dims[1], points) &&
      w->dims[2] == c && dim_is(w->dims[3], 16))
    return true;
  return node_fail(node, "w is %s; for winograd=%lld and packed=16 it must be f32[%lld,%lld,%lld,16]",
                   operand_text(node, 1), (long long)tile, (long long)panels, (long long)points,
                   (long long)c->value);
}

/* w is without its zeros. */
static bool check_kept(const Node *node, const Window *window, int64_t packed, int64_t panels) {
  const Dim *c = operand(node, PRODUCT_X)->type->dims[window->channel_axis];
  int64_t lists = panels;
  for (int s = 0; s < window->rank; s++)
    if (__builtin_mul_overflow(lists, window->kernel[s], &lists))
      return node_fail(node, "kernel is too large");
  if (node_int(node, "winograd") || node_int(node, "outside"))
    return node_fail(node, "winograd=%lld, outside=%lld: w without its zeros goes with neither",
                     (long long)node_int(node, "winograd"), (long long)node_int(node, "outside"));
  TRY(check_product(node));
  return sparse_infer(node, packed, lists, c->value / (window->group > 0 ? window->group : 1));
}

/* Fills kernel and channels from a packed w and the attributes that describe it. */
static bool read_packed(const Node *node, Window *window, const Dim *c) {
  int count;
  const int64_t *kernel = node_ints(node, "kernel", &count);
  int64_t packed = node_int(node, "packed"), m = node_int(node, "channels"), rows;
  int64_t group = window->group > 0 ? window->group : 1;
  const Type *w = operand(node, 1)->type;
  TRY(check_count(node, "kernel", count, window->rank));
  if (packed < 1 || packed > 4096 || m < 1 || !window->channels_last)
    return node_fail(node, "packed=%lld, channels=%lld, layout=%s cannot be", (long long)packed, (long long)m,
                     node_string(node, "layout"));
  if (!dim_is_const(c)) return node_fail(node, "packed weights need a constant number of channels");
  rows = c->value / group;
  for (int s = 0; s < count; s++) {
    window->kernel[s] = kernel[s];
    if (__builtin_mul_overflow(rows, kernel[s], &rows)) return node_fail(node, "kernel is too large");
  }
  window->channels = m;
  int64_t columns = m / group, panels = group * (columns / packed + (columns % packed != 0));
  if (operand(node, SPARSE_ROWS)) return check_kept(node, window, packed, panels);
  if (node_int(node, "winograd")) return check_winograd(node, window, panels, c);
  TRY(check_weights(node, 3));
  int64_t depth = panel_depth(w->dtype), groups = rows / depth;
  bool whole = rows % depth == 0, fits = dim_is(w->dims[0], panels) && dim_is(w->dims[1], groups);
  if (whole && fits && dim_is(w->dims[2], packed * depth)) return true;
  return node_fail(node,
                   "w is %s; for %lld rows and %lld columns in panels of %lld it must be [%lld,%lld,%lld]",
                   operand_text(node, 1), (long long)rows, (long long)columns, (long long)packed,
                   (long long)panels, (long long)groups, (long long)(packed * depth));
}

static bool read_plain(const Node *node, Window *window) {
  const Type *w = operand(node, 1)->type;
  TRY(check_weights(node, window->rank + 2));
  for (int s = 0; s < window->rank; s++)
    window->kernel[s] = w->dims[(window->channels_last ? 0 : 2) + s]->value;
  window->channels = w->dims[window->channels_last ? window->rank + 1 : 0]->value;
  return true;
}

/* `outside` is an element of x's type. */
static bool check_outside(const Node *node) {
  Dtype dtype = operand(node, 0)->type->dtype;
  int64_t outside = node_int(node, "outside"), slot = 0;
  if (outside == 0) return true;
  if (dtype_is_int(dtype)) {
    dtype_set_int(dtype, &slot, 0, outside);
    if (dtype_get_int(dtype, &slot, 0) == outside) return true;
  }
  return node_fail(node, "outside is %lld, but x is %s", (long long)outside, operand_text(node, 0));
}

static bool conv_infer(Node *node) {
  const Type *x = operand(node, 0)->type;
  Window window;
  TRY(window_check(node, x->rank - 2, &window) && check_outside(node));
  const Dim *c = x->dims[window.channel_axis], *dims[MAX_RANK];
  window.group = node_int(node, "group");
  bool packed = node_int(node, "packed") != 0 || node_int(node, "winograd") != 0;
  TRY(packed ? read_packed(node, &window, c) : read_plain(node, &window));
  const Type *w = operand(node, 1)->type;
  const Dim *inner = packed ? dim_const(node_module(node), c->value / (window.group > 0 ? window.group : 1))
                            : w->dims[window.channels_last ? window.rank : 1];
  TRY(check_group(node, &window, c, inner, window.channels) && check_bias(node, window.channels));
  TRY(window_check_kernel(node, &window));
  dims[0] = x->dims[0];
  dims[window.channel_axis] = dim_const(node_module(node), window.channels);
  for (int s = 0; s < window.rank; s++) {
    int axis = window.spatial_axis + s;
    TRY(window_output(node, &window, s, x->dims[axis], false, &dims[axis]));
  }
  result_set(node, 0, type_make(node_module(node), product_dtype(node), x->rank, dims));
  return true;
}

static bool pads_with(const Node *pad, int64_t value) {
  return operand(pad, 1) ? value_is_splat(operand(pad, 1), (double)value) : value == 0;
}

/* What lies around x is the convolution's own; a bias of zeros is none. */
static Value *conv_simplify(Node *node) {
  int64_t pads[2 * MAX_WINDOW];
  Window window = node_window(node);
  Node *pad = window_absorbs_pad(node, &window, pads);
  if (pad && pads_with(pad, node_int(node, "outside"))) {
    operand_set(node, 0, operand(pad, 0));
    node_set_ints(node, "pads", pads, 2 * window.rank);
    return result(node, 0);
  }
  if (!operand(node, 2) || !value_is_splat(operand(node, 2), 0)) return NULL;
  operand_set(node, 2, NULL);
  return result(node, 0);
}

/* Axes of x and of bias, for both ops: grouped channels stay in place when each is a group of its own. */
static void conv_x_axes(const Node *node, int index, AxisLink *links) {
  Window window = node_window(node);
  const Type *x = operand(node, 0)->type, *y = result(node, 0)->type;
  int c = window.channel_axis;
  if (index == 2) {
    links[0] = axis_link(AXIS_SAME, c);
    return;
  }
  links[0] = axis_link(AXIS_SAME, 0);
  for (int s = 0; s < window.rank; s++)
    links[window.spatial_axis + s] = axis_link(AXIS_WINDOW, window.spatial_axis + s);
  bool each = dim_is(x->dims[c], window.group) && x->dims[c] == y->dims[c];
  links[c] = window.group == 1 ? axis_link(AXIS_CONTRACT, 0)
             : each            ? axis_link(AXIS_SAME, c)
                               : axis_link(AXIS_GROUPS, 0);
  links[c].blocks = window.group;
  links[c].whole = op_attr_index(node->op, "packed") >= 0 && node_int(node, "packed") != 0;
}

static void conv_axes(const Node *node, int index, AxisLink *links) {
  axes_opaque(node, index, links);
  if (index >= SPARSE_ROWS) return;
  Window window = node_window(node);
  if (index != 1) {
    conv_x_axes(node, index, links);
  } else if (node_int(node, "packed") != 0) {
    links[0] = axis_link(AXIS_WINDOW, window.channel_axis);
  } else {
    AxisLink *m = &links[window.channels_last ? window.rank + 1 : 0];
    *m = axis_link(AXIS_SAME, window.channel_axis);
    m->blocks = window.group;
    links[window.channels_last ? window.rank : 1] = axis_link(AXIS_CONTRACT, 0);
  }
}

/* The panel of channel m, which becomes the column of its group. */
static Index panel_of(Lower *lower, const Node *node, const Window *window, Index *m) {
  int64_t packed = node_int(node, "packed"), columns = window->channels / window->group;
  const Dim *width = dim_const(lower->module, packed), *all = dim_const(lower->module, columns);
  if (window->group == 1) return index_div(lower, *m, width);
  Index first = index_mul_const(lower, index_div(lower, *m, all), (columns + packed - 1) / packed);
  *m = index_mod(lower, *m, all);
  return index_add(lower, first, index_div(lower, *m, width));
}

/* Weight (m, c, k..). */
static Reg *weight(Lower *lower, const Node *node, const Window *window, Index m, Index c, const Index *k) {
  int64_t packed = node_int(node, "packed"), tile = node_int(node, "winograd");
  Index at[MAX_RANK];
  if (tile) return winograd_weight(lower, node, 1, tile, m, c, k);
  if (packed == 0) {
    for (int s = 0; s < window->rank; s++) at[(window->channels_last ? 0 : 2) + s] = k[s];
    at[window->channels_last ? window->rank + 1 : 0] = m;
    at[window->channels_last ? window->rank : 1] = c;
    return lower_operand(lower, node, 1, at);
  }
  Index row = index_const(lower, 0), panel = panel_of(lower, node, window, &m);
  for (int s = 0; s < window->rank; s++)
    row = index_add(lower, index_mul_const(lower, row, window->kernel[s]), k[s]);
  row = index_add(lower, index_mul_const(lower, row, window->group_channels), c);
  panel_position(lower, packed, panel_depth(operand(node, 1)->type->dtype), row, m, at);
  at[0] = panel;
  return lower_operand(lower, node, 1, at);
}

static Reg *zero_sum(Lower *lower, const Node *node) {
  return loop_const(&lower->loops, (LoopType){compute_dtype(result(node, 0)->type->dtype), 1}, 0);
}

/* Channel c of the group that makes channel m. */
static Index group_channel(Lower *lower, const Window *window, Index m, Index c) {
  if (window->group == 1) return c;
  Index group = index_div(lower, m, dim_const(lower->module, window->channels / window->group));
  return index_add(lower, index_mul_const(lower, group, window->group_channels), c);
}

/* Where the elements of x of one element of the window are. */
typedef struct Tap {
  const Window *window;
  const Index *at, *spatial;
} Tap;

static Reg *channel_element(Lower *lower, const Node *node, Index c, void *context) {
  const Tap *tap = context;
  Index x_at[MAX_RANK], m = tap->at[tap->window->channel_axis];
  window_place(tap->window, tap->at[0], group_channel(lower, tap->window, m, c), tap->spatial, x_at);
  return lower_operand(lower, node, PRODUCT_X, x_at);
}

/* conv_channels of a w without its zeros. */
static Reg *kept_channels(Lower *lower, const Node *node, Tap *tap, const Index *k, Reg *sum) {
  const Window *window = tap->window;
  Index m = tap->at[window->channel_axis], number = panel_of(lower, node, window, &m);
  for (int s = 0; s < window->rank; s++)
    number = index_add(lower, index_mul_const(lower, number, window->kernel[s]), k[s]);
  SparseList list = {number, index_mod(lower, m, dim_const(lower->module, node_int(node, "packed")))};
  return sparse_sum(lower, node, &list, window->group_channels, channel_element, tap, sum);
}

/* sum + the products over the channels of one element of the window; spatial NULL: it is outside of x. */
static Reg *conv_channels(Lower *lower, const Node *node, const Window *window, const Index *at,
                          const Index *spatial, const Index *k, Reg *sum) {
  LoopType type = {operand(node, 0)->type->dtype, 1};
  Index x_at[MAX_RANK], m = at[window->channel_axis];
  Tap tap = {window, at, spatial};
  if (operand(node, SPARSE_ROWS)) return kept_channels(lower, node, &tap, k, sum);
  Nest nest = nest_begin(1, &sum);
  Index c = index_of(nest_for(lower, &nest, loop_int(&lower->loops, window->group_channels)));
  if (spatial) window_place(window, at[0], group_channel(lower, window, m, c), spatial, x_at);
  Reg *x = spatial ? lower_operand(lower, node, 0, x_at)
                   : loop_const(&lower->loops, type, (double)node_int(node, "outside"));
  nest.carried[0] = multiply_add(lower, nest.carried[0], x, weight(lower, node, window, m, c, k));
  nest_end(lower, &nest);
  return nest.carried[0];
}

static void store_sum(Lower *lower, const Node *node, const Window *window, const Index *at, Reg *sum) {
  Loops *loops = &lower->loops;
  if (operand(node, 2)) {
    Reg *bias = compute(lower, lower_operand(lower, node, 2, &at[window->channel_axis]));
    sum = loop_binary(loops, LOOP_ADD, sum, bias);
  }
  lower_result(lower, 0, at, loop_cast(loops, sum, result(node, 0)->type->dtype));
}

static void conv_nest(Lower *lower, const Node *node) {
  Loops *loops = &lower->loops;
  const Type *x = operand(node, 0)->type;
  Window window = node_window(node);
  Index at[MAX_RANK], k[MAX_WINDOW], spatial[MAX_WINDOW];
  Nest outer = nest_over(lower, result(node, 0), NULL, at);
  Reg *sum = zero_sum(lower, node);
  Nest inner = nest_begin(1, &sum);
  window_nest(lower, &inner, &window, k);
  for (int s = 0; s < window.rank; s++)
    spatial[s] = window_position(lower, &window, s, at[window.spatial_axis + s], k[s]);
  LoopType type = sum->type;
  If inside = loop_if(loops, window_inside(lower, &window, x, spatial), 1, &type);
  Reg *more = conv_channels(lower, node, &window, at, spatial, k, inner.carried[0]);
  loop_else(loops, &inside, &more);
  more = node_int(node, "outside") ? conv_channels(lower, node, &window, at, NULL, k, inner.carried[0])
                                   : inner.carried[0];
  loop_end_if(loops, &inside, &more);
  inner.carried[0] = inside.results[0];
  nest_end(lower, &inner);
  store_sum(lower, node, &window, at, inner.carried[0]);
  nest_end(lower, &outer);
}

/* One per result, channel of a group and element of the kernel. */
static const Dim *conv_macs(const Node *node) {
  Module *module = node_module(node);
  Window window = node_window(node);
  if (operand(node, SPARSE_ROWS)) return sparse_macs(node, dim_const(module, window.channels));
  const Dim *macs = dim_const(module, window.group_channels);
  for (int s = 0; s < window.rank; s++) macs = dim_mul(module, macs, dim_const(module, window.kernel[s]));
  return dim_mul(module, macs, type_count(module, result(node, 0)->type));
}

const Op op_conv = {
    .name = "conv",
    .family = "conv",
    .doc =
        "Convolution (cross-correlation): y[n, m, o] = bias[m] + the sum over c and k of x[n, c, o*stride "
        "+ k*dilation - pad] * "
        "w[m, c, k], with `outside` outside of x; c runs over the channels of m's group. Sums in f32 for f16 "
        "and bf16; those of 8-bit integers are i32, and so is their bias. A packed w with rows and starts is "
        "without zeros, as gemm's, the rows of each panel and element of the kernel behind each other.",
    .operands = conv_operands,
    .operand_count = COUNT_OF(conv_operands),
    .results = results_y,
    .result_count = 1,
    .attrs = conv_attrs,
    .attr_count = COUNT_OF(conv_attrs),
    .infer = conv_infer,
    .simplify = conv_simplify,
    .axes = conv_axes,
    .nest = conv_nest,
    .macs = conv_macs,
};

/* ---- conv_transpose ---- */

static const OperandSpec conv_transpose_operands[] = {
    {"x", false, "nchw: [n, c, spatial..]; nhwc: [n, spatial.., c]"},
    {"w", false, "nchw: [c, m/group, kernel..]; nhwc: [kernel.., c, m/group]"},
    {"bias", true, "[m]"}};

static const AttrSpec conv_transpose_attrs[] = {
    {"layout", ATTR_STRING, ROLE_NONE, "nchw", "order of the axes, with any number of spatial ones",
     "nchw|nhwc"},
    {"strides", ATTR_INTS, ROLE_NONE, "[]", "distance of the copies of the kernel; [] means 1", NULL},
    {"dilations", ATTR_INTS, ROLE_NONE, "[]", "distance of the kernel's elements; [] means 1", NULL},
    {"pads", ATTR_INTS, ROLE_NONE, "[]",
     "what is cut off before every spatial axis, then after every one; [] means 0", NULL},
    {"output_padding", ATTR_INTS, ROLE_NONE, "[]",
     "what is added at the end of every spatial axis; [] means 0", NULL},
    {"group", ATTR_INT, ROLE_BLOCKS, "1", "parts of the channels that do not see each other", NULL}};

/* (size - 1)*stride + reach + output_padding - pads */
static bool transposed_size(const Node *node, const Window *window, int s, const Dim *size,
                            const Dim **made) {
  Module *module = node_module(node);
  int count;
  const int64_t *extra = node_ints(node, "output_padding", &count);
  int64_t reach = window->dilation[s] * (window->kernel[s] - 1) + 1;
  int64_t rest = reach + (count ? extra[s] : 0) - window->before[s] - window->after[s] - window->stride[s];
  *made =
      dim_add(module, dim_mul(module, size, dim_const(module, window->stride[s])), dim_const(module, rest));
  if (!dim_is_const(*made) || (*made)->value >= 0) return true;
  return node_fail(node, "pads of %lld and %lld leave nothing of spatial axis %d",
                   (long long)window->before[s], (long long)window->after[s], s);
}

static bool conv_transpose_infer(Node *node) {
  const Type *x = operand(node, 0)->type, *w = operand(node, 1)->type;
  const Dim *dims[MAX_RANK];
  Window window;
  int count;
  TRY(window_check(node, x->rank - 2, &window) && check_weights(node, x->rank));
  const int64_t *extra = node_ints(node, "output_padding", &count);
  if (count != 0) TRY(check_count(node, "output_padding", count, window.rank));
  for (int s = 0; s < window.rank; s++) {
    window.kernel[s] = w->dims[(window.channels_last ? 0 : 2) + s]->value;
    if (count && (extra[s] < 0 || extra[s] > INT32_MAX))
      return node_fail(node, "output_padding has %lld; it must be from 0 to below 2^31", (long long)extra[s]);
  }
  window.group = node_int(node, "group");
  const Dim *c = x->dims[window.channel_axis], *w_c = w->dims[window.channels_last ? window.rank : 0];
  const Dim *group_m = w->dims[window.channels_last ? window.rank + 1 : 1];
  if (window.group < 1 || w_c->value % window.group != 0 || !sizes_agree(node, c, w_c))
    return node_fail(node, "x of shape %s, w of shape %s and group %lld do not fit", operand_text(node, 0),
                     operand_text(node, 1), (long long)window.group);
  if (__builtin_mul_overflow(group_m->value, window.group, &window.channels))
    return node_fail(node, "group is %lld; that is too many channels", (long long)window.group);
  TRY(check_bias(node, window.channels) && window_check_kernel(node, &window));
  dims[0] = x->dims[0];
  dims[window.channel_axis] = dim_const(node_module(node), window.channels);
  for (int s = 0; s < window.rank; s++) {
    int axis = window.spatial_axis + s;
    TRY(transposed_size(node, &window, s, x->dims[axis], &dims[axis]));
  }
  result_set(node, 0, type_make(node_module(node), product_dtype(node), x->rank, dims));
  return true;
}

static void conv_transpose_axes(const Node *node, int index, AxisLink *links) {
  axes_opaque(node, index, links);
  if (index != 1) {
    conv_x_axes(node, index, links);
    return;
  }
  Window window = node_window(node);
  bool grouped = window.group != 1;
  AxisLink *c = &links[window.channels_last ? window.rank : 0];
  *c = axis_link(grouped ? AXIS_GROUPS : AXIS_CONTRACT, 0);
  c->blocks = window.group;
  links[window.channels_last ? window.rank + 1 : 1] =
      axis_link(grouped ? AXIS_REPEAT : AXIS_SAME, window.channel_axis);
}

static Reg *transposed_channels(Lower *lower, const Node *node, const Window *window, const Index *at,
                                const Index *spatial, const Index *k, Reg *sum) {
  Index x_at[MAX_RANK], w_at[MAX_RANK], m = at[window->channel_axis];
  Nest nest = nest_begin(1, &sum);
  Index c = index_of(nest_for(lower, &nest, loop_int(&lower->loops, window->group_channels)));
  c = group_channel(lower, window, m, c);
  window_place(window, at[0], c, spatial, x_at);
  for (int s = 0; s < window->rank; s++) w_at[(window->channels_last ? 0 : 2) + s] = k[s];
  w_at[window->channels_last ? window->rank : 0] = c;
  w_at[window->channels_last ? window->rank + 1 : 1] =
      window->group == 1 ? m
                         : index_mod(lower, m, dim_const(lower->module, window->channels / window->group));
  Reg *x = lower_operand(lower, node, 0, x_at), *w = lower_operand(lower, node, 1, w_at);
  nest.carried[0] = multiply_add(lower, nest.carried[0], x, w);
  nest_end(lower, &nest);
  return nest.carried[0];
}

static void conv_transpose_nest(Lower *lower, const Node *node) {
  Loops *loops = &lower->loops;
  const Type *x = operand(node, 0)->type;
  Window window = node_window(node);
  Index at[MAX_RANK], k[MAX_WINDOW], spatial[MAX_WINDOW];
  Nest outer = nest_over(lower, result(node, 0), NULL, at);
  Reg *sum = zero_sum(lower, node), *inside = NULL;
  Nest inner = nest_begin(1, &sum);
  window_nest(lower, &inner, &window, k);
  for (int s = 0; s < window.rank; s++) {
    int axis = window.spatial_axis + s;
    Reg *here = window_source(lower, &window, s, x->dims[axis], at[axis], k[s], &spatial[s]);
    inside = inside ? loop_binary(loops, LOOP_AND, inside, here) : here;
  }
  LoopType type = sum->type;
  If branch = loop_if(loops, inside, 1, &type);
  Reg *more = transposed_channels(lower, node, &window, at, spatial, k, inner.carried[0]);
  loop_else(loops, &branch, &more);
  loop_end_if(loops, &branch, &inner.carried[0]);
  inner.carried[0] = branch.results[0];
  nest_end(lower, &inner);
  store_sum(lower, node, &window, at, inner.carried[0]);
  nest_end(lower, &outer);
}

/* One per element of x, channel made and element of the kernel. */
static const Dim *conv_transpose_macs(const Node *node) {
  Module *module = node_module(node);
  Window window = node_window(node);
  const Dim *macs = dim_const(module, window.channels / window.group);
  for (int s = 0; s < window.rank; s++) macs = dim_mul(module, macs, dim_const(module, window.kernel[s]));
  return dim_mul(module, macs, type_count(module, operand(node, 0)->type));
}

const Op op_conv_transpose = {
    .name = "conv_transpose",
    .family = "conv",
    .doc = "Transposed convolution: every element of x adds a copy of the kernel, y[n, m, i*stride + "
           "k*dilation - pad] += x[n, c, "
           "i] * w[c, m, k], plus bias[m]; what falls outside is cut off. Sums in f32 for f16 and bf16; "
           "those of 8-bit "
           "integers are i32.",
    .operands = conv_transpose_operands,
    .operand_count = COUNT_OF(conv_transpose_operands),
    .results = results_y,
    .result_count = 1,
    .attrs = conv_transpose_attrs,
    .attr_count = COUNT_OF(conv_transpose_attrs),
    .infer = conv_transpose_infer,
    .axes = conv_transpose_axes,
    .nest = conv_transpose_nest,
    .macs = conv_transpose_macs,
};
