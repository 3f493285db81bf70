/*
 * panels_problem.c -- gemm and convolution as one problem of the kernel `panels`: rows of x, of which each
 * sum walks K as taps of kernel axes and a run of neighbouring elements.
 */
#include "codegen/kernels/panels.h"

static bool constant_dims(const Type *type, int from) {
  for (int axis = from; axis < type->rank; axis++) {
    if (!dim_is_const(type->dims[axis])) return false;
  }
  return true;
}

bool panels_taps_are_apart(const PanelProblem *p) {
  return p->sparse || p->last.dilation != 1 || p->pitch != p->channels;
}

/* Of a channels-last shape. */
static int64_t plane_size(const Type *x) {
  int64_t size = 1;
  for (int axis = 1; axis + 1 < x->rank; axis++) size *= x->dims[axis]->value;
  return size;
}

void panels_set_steps(PanelProblem *p, int64_t pitch, int64_t channel_step) {
  p->pitch = pitch;
  p->channel_step = p->channels == 1 ? 1 : channel_step; /* of one channel there is no next */
  bool loop = p->last.kernel > 1 && panels_taps_are_apart(p);
  p->column_taps = loop ? p->last.kernel : 1;
  p->run = loop ? p->channels : p->last.kernel * p->channels;
  p->row_step = p->last.stride * pitch;
}

static bool describe_gemm(const Node *anchor, PanelProblem *p) {
  const Type *a = operand(anchor, 0)->type;
  if (node_bool(anchor, "trans_a") || !constant_dims(a, 1)) return false;
  p->row_axis = 0;
  p->groups = 1;
  p->last = (Axis){INT64_MAX, 1, 1, 1, 0};
  p->all_taps = 1;
  p->channels = a->dims[1]->value;
  panels_set_steps(p, p->channels, 1);
  return true;
}

static bool describe_conv(const Node *anchor, PanelProblem *p) {
  const Type *x = operand(anchor, 0)->type;
  int spatial = x->rank - 2;
  p->groups = node_int(anchor, "group");
  if (!node_string_is(anchor, "layout", "nhwc") || (p->planar && p->groups != 1)) return false;
  if (node_int(anchor, "outside") != 0) return false; /* pack has made it a pad of its own */
  if (spatial < 1 || spatial > MAX_TAPS || !constant_dims(x, x->rank - 1)) return false;
  int last = spatial - 1;
  const Dim *width = x->dims[spatial];
  bool padded =
      spatial_attr(anchor, "pads", last, 0) != 0 || spatial_attr(anchor, "pads", spatial + last, 0) != 0;
  if (padded && !dim_is_const(width)) return false;
  int64_t all_channels = x->dims[x->rank - 1]->value;
  p->channels = all_channels / p->groups;
  p->row_axis = spatial;
  p->tap_axes = spatial - 1;
  for (int i = 0; i < p->tap_axes; i++) {
    p->taps[i] = spatial_attr(anchor, "kernel", i, 1);
    p->tap_dilation[i] = spatial_attr(anchor, "dilations", i, 1);
    p->outer_stride[i] = spatial_attr(anchor, "strides", i, 1);
    p->before[i] = spatial_attr(anchor, "pads", i, 0);
    p->clipped[i] = p->before[i] != 0 || spatial_attr(anchor, "pads", spatial + i, 0) != 0;
  }
  p->last = (Axis){padded ? width->value : INT64_MAX, spatial_attr(anchor, "kernel", last, 1),
                   spatial_attr(anchor, "strides", last, 1), spatial_attr(anchor, "dilations", last, 1),
                   spatial_attr(anchor, "pads", last, 0)};
  p->all_taps = p->last.kernel;
  for (int i = 0; i < p->tap_axes; i++) p->all_taps *= p->taps[i];
  panels_set_steps(p, p->planar ? 1 : all_channels, p->planar ? plane_size(x) : 1);
  /* What is multiplied at once are channels; or columns, if they are one run, from its first to its last. */
  return p->channels % p->depth == 0 || (!padded && p->run % p->depth == 0);
}

/* A transpose inside of the kernel that makes an image channels-last is a matter of strides. */
static bool is_planar(const Node *node, const Node *anchor) {
  const Node *transpose = operand(anchor, 0)->def;
  int count;
  if (!node_is(anchor, &op_conv) || !transpose || !node_is(transpose, &op_transpose)) return false;
  const int64_t *perm = node_ints(transpose, "perm", &count);
  for (int axis = 1; axis < count; axis++)
    if (perm[axis] != (axis + 1 < count ? axis + 1 : 1)) return false;
  return count > 2 && perm[0] == 0 && value_is_direct(node, operand(transpose, 0)) &&
         constant_dims(operand(anchor, 0)->type, 1);
}

bool panels_describe(const Node *node, const Node *anchor, PanelProblem *p) {
  *p = (PanelProblem){.anchor = anchor};
  p->planar = !value_is_direct(node, operand(anchor, 0));
  if (p->planar && !is_planar(node, anchor)) return false;
  const Type *y = result(anchor, 0)->type;
  if (!has_fast_products(anchor) || node_int(anchor, "packed") != PANEL) return false;
  p->depth = panel_depth(operand(anchor, 1)->type->dtype);
  p->sparse = operand(anchor, SPARSE_ROWS) != NULL;
  if (p->depth > 1 && p->planar) return false;
  bool ok = node_is(anchor, &op_gemm) ? describe_gemm(anchor, p) : describe_conv(anchor, p);
  if (!ok || !dim_is_const(y->dims[y->rank - 1])) return false;
  p->row_count = y->dims[p->row_axis];
  p->columns = y->dims[y->rank - 1]->value / p->groups;
  p->panel_count = (p->columns + PANEL - 1) / PANEL;
  return p->columns > 0 && p->run > 0;
}
