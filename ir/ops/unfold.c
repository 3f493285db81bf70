/*
 * unfold.c -- windows as data: unfold copies every window along an axis, col2im adds blocks of columns back
 * into an image.
 */
#include "ir/ops/ops.h"

#include <string.h>

static const char *const results_y[] = {"y"};

/* ---- unfold ---- */

static const OperandSpec unfold_operands[] = {{"x", false, "at least one axis; any dtype"}};
static const AttrSpec unfold_attrs[] = {
    {"axis", ATTR_INT, ROLE_NONE, "-1", "of x, along which windows lie", NULL},
    {"size", ATTR_INT, ROLE_NONE, NULL, "of a window", NULL},
    {"step", ATTR_INT, ROLE_NONE, "1", "from one window to the next", NULL}};

static bool unfold_infer(Node *node) {
  Module *module = node_module(node);
  const Type *x = operand(node, 0)->type;
  const Dim *dims[MAX_RANK + 1];
  int64_t size = node_int(node, "size"), step = node_int(node, "step");
  int axis;
  TRY(check_axis(node, "axis", x->rank, &axis));
  if (size < 1 || size > INT32_MAX || step < 1 || step > INT32_MAX)
    return node_fail(node, "windows of %lld in steps of %lld; both must be at least 1 and below 2^31",
                     (long long)size, (long long)step);
  if (dim_is_const(x->dims[axis]) && x->dims[axis]->value < size)
    return node_fail(node, "axis %d of %s is shorter than a window of %lld", axis, operand_text(node, 0),
                     (long long)size);
  memcpy(dims, x->dims, sizeof *dims * (size_t)x->rank);
  const Dim *room = dim_add(module, x->dims[axis], dim_const(module, step - size));
  dims[axis] = dim_floordiv(module, room, dim_const(module, step));
  dims[x->rank] = dim_const(module, size);
  TRY(check_sizes(node, "the result", dims, x->rank + 1));
  result_set(node, 0, type_make(module, x->dtype, x->rank + 1, dims));
  return true;
}

static void unfold_axes(const Node *node, int index, AxisLink *links) {
  axes_same(node, index, links);
  links[node_axis(node, "axis", operand(node, 0)->type->rank)].role = AXIS_WINDOW;
}

static Reg *unfold_element(Lower *lower, const Node *node, int which, const Index *at) {
  (void)which;
  int rank = operand(node, 0)->type->rank;
  int64_t axis = node_axis(node, "axis", rank);
  Index from[MAX_RANK];
  memcpy(from, at, sizeof *from * (size_t)rank);
  from[axis] = index_add(lower, index_mul_const(lower, at[axis], node_int(node, "step")), at[rank]);
  return lower_operand(lower, node, 0, from);
}

const Op op_unfold = {
    .name = "unfold",
    .family = "unfold",
    .doc = "Every window along an axis, whose elements become a new last axis: y[a.., i, b.., k] = x[a.., "
           "i*step + k, b..].",
    .operands = unfold_operands,
    .operand_count = 1,
    .results = results_y,
    .result_count = 1,
    .attrs = unfold_attrs,
    .attr_count = COUNT_OF(unfold_attrs),
    .infer = unfold_infer,
    .axes = unfold_axes,
    .element = unfold_element,
};

/* ---- col2im ---- */

static const OperandSpec col2im_operands[] = {
    {"x", false, "[n, c*k, l]: blocks of k elements at l positions, both row-major; numbers"}};

static const AttrSpec col2im_attrs[] = {
    {"sizes", ATTR_DIMS, ROLE_NONE, NULL, "of the image, per spatial axis", NULL},
    {"kernel", ATTR_INTS, ROLE_NONE, NULL, "size of a block, per spatial axis", NULL},
    {"strides", ATTR_INTS, ROLE_NONE, "[]", "distance of the blocks; [] means 1", NULL},
    {"dilations", ATTR_INTS, ROLE_NONE, "[]", "distance of a block's elements; [] means 1", NULL},
    {"pads", ATTR_INTS, ROLE_NONE, "[]",
     "padding before every spatial axis of the image, then after every one", NULL}};

/* The geometry, and how many positions there are along each spatial axis. */
static bool read_blocks(const Node *node, Window *window, const Dim **positions) {
  int count, kernel_count;
  const Dim *const *sizes = node_dims(node, "sizes", &count);
  const int64_t *kernel = node_ints(node, "kernel", &kernel_count);
  if (count < 1 || count > MAX_WINDOW)
    return node_fail(node, "sizes has %d entries; the image must have 1 to %d spatial axes", count,
                     MAX_WINDOW);
  TRY(window_check(node, count, window) && check_count(node, "kernel", kernel_count, count));
  memcpy(window->kernel, kernel, sizeof *kernel * (size_t)count);
  TRY(window_check_kernel(node, window) && check_sizes(node, "sizes", sizes, count));
  for (int s = 0; s < count; s++) TRY(window_output(node, window, s, sizes[s], false, &positions[s]));
  return true;
}

static bool block_elements(const Node *node, const Window *window, int64_t *elements) {
  *elements = 1;
  for (int s = 0; s < window->rank; s++)
    if (__builtin_mul_overflow(*elements, window->kernel[s], elements))
      return node_fail(node, "a block has more elements than can be counted");
  return true;
}

static bool col2im_infer(Node *node) {
  Module *module = node_module(node);
  const Dim *positions[MAX_WINDOW], *all = dim_const(module, 1), *dims[MAX_RANK];
  Window window;
  int64_t elements;
  int count;
  TRY(check_kind(node, 0, KIND_NUMBER) && check_rank(node, 0, 3));
  TRY(read_blocks(node, &window, positions) && block_elements(node, &window, &elements));
  const Type *x = operand(node, 0)->type;
  const Dim *const *sizes = node_dims(node, "sizes", &count);
  for (int s = 0; s < window.rank; s++) all = dim_mul(module, all, positions[s]);
  dims[1] = dim_floordiv(module, x->dims[1], dim_const(module, elements));
  if (!sizes_agree(node, x->dims[1], dim_mul(module, dims[1], dim_const(module, elements))))
    return node_fail(node, "x is %s; axis 1 must be a multiple of the block's %lld elements",
                     operand_text(node, 0), (long long)elements);
  if (!sizes_agree(node, x->dims[2], all))
    return node_fail(node, "x is %s; the image has %s positions for blocks", operand_text(node, 0),
                     dim_text(module, all));
  dims[0] = x->dims[0];
  memcpy(dims + 2, sizes, sizeof *dims * (size_t)count);
  result_set(node, 0, type_make(module, x->dtype, count + 2, dims));
  return true;
}

static void col2im_axes(const Node *node, int index, AxisLink *links) {
  axes_opaque(node, index, links);
  links[0] = axis_link(AXIS_SAME, 0);
}

/* The element that block element k at `source` adds to the image, in x. */
static Reg *read_block(Lower *lower, const Node *node, const Window *window, const Dim *const *positions,
                       const Index *at, const Index *k, const Index *source) {
  Index channel = at[1], position = index_const(lower, 0);
  for (int s = 0; s < window->rank; s++) {
    channel = index_add(lower, index_mul_const(lower, channel, window->kernel[s]), k[s]);
    position = index_add(lower, index_mul_dim(lower, position, positions[s]), source[s]);
  }
  return compute(lower, lower_operand(lower, node, 0, (Index[]){at[0], channel, position}));
}

static void col2im_nest(Lower *lower, const Node *node) {
  Loops *loops = &lower->loops;
  const Dim *positions[MAX_WINDOW];
  Window window;
  Index at[MAX_RANK], k[MAX_WINDOW], source[MAX_WINDOW];
  read_blocks(node, &window, positions);
  Nest outer = nest_over(lower, result(node, 0), NULL, at);
  Reg *sum = loop_const(loops, (LoopType){compute_dtype(operand(node, 0)->type->dtype), 1}, 0),
      *inside = NULL;
  LoopType type = sum->type;
  Nest inner = nest_begin(1, &sum);
  window_nest(lower, &inner, &window, k);
  for (int s = 0; s < window.rank; s++) {
    Reg *here = window_source(lower, &window, s, positions[s], at[2 + s], k[s], &source[s]);
    inside = inside ? loop_binary(loops, LOOP_AND, inside, here) : here;
  }
  If branch = loop_if(loops, inside, 1, &type);
  Reg *more = loop_binary(loops, LOOP_ADD, inner.carried[0],
                          read_block(lower, node, &window, positions, at, k, source));
  loop_else(loops, &branch, &more);
  loop_end_if(loops, &branch, &inner.carried[0]);
  inner.carried[0] = branch.results[0];
  nest_end(lower, &inner);
  lower_result(lower, 0, at, loop_cast(loops, inner.carried[0], result(node, 0)->type->dtype));
  nest_end(lower, &outer);
}

const Op op_col2im = {
    .name = "col2im",
    .family = "unfold",
    .doc = "Blocks put back into an image, summed where they overlap (ONNX Col2Im 18): what windows of a "
           "convolution see, added where it comes from. What lies in the padding is dropped.",
    .operands = col2im_operands,
    .operand_count = 1,
    .results = results_y,
    .result_count = 1,
    .attrs = col2im_attrs,
    .attr_count = COUNT_OF(col2im_attrs),
    .infer = col2im_infer,
    .axes = col2im_axes,
    .nest = col2im_nest,
};
