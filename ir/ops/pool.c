/*
 * pool.c -- the maximum and the mean of windows. Padding is no element: it never is a maximum, and it counts
 * for a mean only when asked for.
 */
#include "ir/ops/ops.h"

#include <math.h>

static const OperandSpec pool_operands[] = {{"x", false, "nchw: [n, c, spatial..]; nhwc: [n, spatial.., c]"}};
static const char *const results_y[] = {"y"};

#define POOL_ATTRS                                                                                           \
  {"layout",   ATTR_STRING, ROLE_NONE, "nchw", "order of the axes, with any number of spatial ones",         \
   "nchw|nhwc"},                                                                                             \
      {"kernel", ATTR_INTS, ROLE_NONE, NULL, "size of the window, per spatial axis", NULL},                  \
      {"strides", ATTR_INTS, ROLE_NONE, "[]", "distance of the windows; [] means 1", NULL},                  \
      {"dilations", ATTR_INTS, ROLE_NONE, "[]", "distance of a window's elements; [] means 1", NULL},        \
      {"pads", ATTR_INTS, ROLE_NONE, "[]", "padding before every spatial axis, then after every one", NULL}, \
  {                                                                                                          \
    "ceil", ATTR_BOOL, ROLE_NONE, "false", "a last window may reach over the end, if it begins before it",   \
        NULL                                                                                                 \
  }

static const AttrSpec max_pool_attrs[] = {POOL_ATTRS};
static const AttrSpec average_pool_attrs[] = {
    POOL_ATTRS, {"include_pad", ATTR_BOOL, ROLE_NONE, "false", "padding counts as zeros", NULL}};

static bool pool_infer(Node *node, unsigned kinds) {
  const Type *x = operand(node, 0)->type;
  const Dim *dims[MAX_RANK];
  Window window;
  int count;
  TRY(check_kind(node, 0, kinds) && window_check(node, x->rank - 2, &window));
  const int64_t *kernel = node_ints(node, "kernel", &count);
  TRY(check_count(node, "kernel", count, window.rank));
  for (int s = 0; s < count; s++) window.kernel[s] = kernel[s];
  TRY(window_check_kernel(node, &window));
  dims[0] = x->dims[0];
  dims[window.channel_axis] = x->dims[window.channel_axis];
  for (int s = 0; s < window.rank; s++) {
    int axis = window.spatial_axis + s;
    TRY(window_output(node, &window, s, x->dims[axis], node_bool(node, "ceil"), &dims[axis]));
  }
  result_set(node, 0, type_make(node_module(node), x->dtype, x->rank, dims));
  return true;
}

static void pool_axes(const Node *node, int index, AxisLink *links) {
  axes_same(node, index, links);
  Window window = node_window(node);
  for (int s = 0; s < window.rank; s++) links[window.spatial_axis + s].role = AXIS_WINDOW;
}

/* Windows of one element are nothing. */
static Value *pool_simplify(Node *node) {
  Window window = node_window(node);
  for (int s = 0; s < window.rank; s++)
    if (window.kernel[s] != 1 || window.stride[s] != 1 || window.before[s] || window.after[s]) return NULL;
  return value_if_typed(node, operand(node, 0));
}

/* The loops of a pool: over results, then over the window, then a branch for elements inside x. */
typedef struct Pool {
  const Node *node;
  Window window;
  Index at[MAX_RANK], spatial[MAX_WINDOW];
  Nest outer, inner;
} Pool;

static Pool pool_begin(Lower *lower, const Node *node, int carried_count, Reg *const *initial) {
  Pool p = {.node = node, .window = node_window(node)};
  Index k[MAX_WINDOW];
  p.outer = nest_over(lower, result(node, 0), NULL, p.at);
  p.inner = nest_begin(carried_count, initial);
  window_nest(lower, &p.inner, &p.window, k);
  for (int s = 0; s < p.window.rank; s++)
    p.spatial[s] = window_position(lower, &p.window, s, p.at[p.window.spatial_axis + s], k[s]);
  return p;
}

static If pool_inside(Lower *lower, const Pool *p, int count, const LoopType *types) {
  Reg *inside = window_inside(lower, &p->window, operand(p->node, 0)->type, p->spatial);
  return loop_if(&lower->loops, inside, count, types);
}

static Reg *pool_read(Lower *lower, const Pool *p) {
  Index from[MAX_RANK];
  window_place(&p->window, p->at[0], p->at[p->window.channel_axis], p->spatial, from);
  return lower_operand(lower, p->node, 0, from);
}

/* ---- max_pool ---- */

/* Padding with -inf, or with zeros where nothing is negative, is what max_pool's own padding does, as long as
 * no window lies in it alone. */
static Value *max_pool_simplify(Node *node) {
  int64_t pads[2 * MAX_WINDOW];
  Window window = node_window(node);
  Node *pad = window_absorbs_pad(node, &window, pads);
  if (!pad) return pool_simplify(node);
  Value *x = operand(pad, 0), *value = operand(pad, 1);
  bool zeros = !value || value_is_splat(value, 0);
  if (!(zeros && value_is_nonnegative(x)) && !(value && value_is_splat(value, -INFINITY))) return NULL;
  if (node_bool(node, "ceil")) return NULL;
  for (int s = 0; s < window.rank; s++)
    if (pads[s] >= window.kernel[s] || pads[s + window.rank] >= window.kernel[s] || window.dilation[s] != 1)
      return NULL;
  operand_set(node, 0, x);
  node_set_ints(node, "pads", pads, 2 * window.rank);
  return result(node, 0);
}

static bool max_pool_infer(Node *node) {
  return pool_infer(node, KIND_NUMBER);
}

static void max_pool_nest(Lower *lower, const Node *node) {
  Loops *loops = &lower->loops;
  Reg *start = lowest(lower, compute_dtype(operand(node, 0)->type->dtype));
  Pool p = pool_begin(lower, node, 1, &start);
  If inside = pool_inside(lower, &p, 1, &start->type);
  Reg *best = max_nan(lower, p.inner.carried[0], compute(lower, pool_read(lower, &p)));
  loop_else(loops, &inside, &best);
  loop_end_if(loops, &inside, &p.inner.carried[0]);
  p.inner.carried[0] = inside.results[0];
  nest_end(lower, &p.inner);
  lower_result(lower, 0, p.at, loop_cast(loops, p.inner.carried[0], result(node, 0)->type->dtype));
  nest_end(lower, &p.outer);
}

const Op op_max_pool = {
    .name = "max_pool",
    .family = "pool",
    .doc = "The largest element of every window; NaN if there is one; -inf, or the smallest integer, if all "
           "is padding.",
    .operands = pool_operands,
    .operand_count = 1,
    .results = results_y,
    .result_count = 1,
    .attrs = max_pool_attrs,
    .attr_count = COUNT_OF(max_pool_attrs),
    .infer = max_pool_infer,
    .simplify = max_pool_simplify,
    .axes = pool_axes,
    .nest = max_pool_nest,
};

/* ---- max_pool_indices ---- */

static const char *const results_indices[] = {"y", "indices"};

static const AttrSpec max_pool_indices_attrs[] = {
    POOL_ATTRS,
    {"column_major", ATTR_BOOL, ROLE_NONE, "false",
     "indices count spatial positions along the first axis first", NULL}};

static bool max_pool_indices_infer(Node *node) {
  TRY(pool_infer(node, KIND_NUMBER));
  result_set(node, 1, type_with_dtype(node_module(node), result(node, 0)->type, DTYPE_I64));
  return true;
}

/* The number of an element of x among all, with the axes in the order n, c, spatial. */
static Reg *flat_index(Lower *lower, const Pool *p) {
  const Window *window = &p->window;
  const Type *x = operand(p->node, 0)->type;
  bool column_major = node_bool(p->node, "column_major");
  Index flat = index_add(lower, index_mul_dim(lower, p->at[0], x->dims[window->channel_axis]),
                         p->at[window->channel_axis]);
  for (int i = 0; i < window->rank; i++) {
    int s = column_major ? window->rank - 1 - i : i;
    flat = index_add(lower, index_mul_dim(lower, flat, x->dims[window->spatial_axis + s]), p->spatial[s]);
  }
  return index_reg(lower, flat);
}

/* The first of equal ones; a NaN before all others. */
static void max_pool_indices_nest(Lower *lower, const Node *node) {
  Loops *loops = &lower->loops;
  Reg *start[] = {lowest(lower, compute_dtype(operand(node, 0)->type->dtype)), loop_int(loops, -1)};
  Pool p = pool_begin(lower, node, 2, start);
  Reg **carried = p.inner.carried;
  If inside = pool_inside(lower, &p, 2, (LoopType[]){start[0]->type, start[1]->type});
  Reg *x = compute(lower, pool_read(lower, &p)), *is_nan = loop_binary(loops, LOOP_NE, x, x);
  Reg *was_number = loop_binary(loops, LOOP_EQ, carried[0], carried[0]);
  Reg *wins = loop_binary(loops, LOOP_OR, loop_binary(loops, LOOP_GT, x, carried[0]),
                          loop_binary(loops, LOOP_AND, is_nan, was_number));
  wins = loop_binary(loops, LOOP_OR, wins, loop_binary(loops, LOOP_LT, carried[1], loop_int(loops, 0)));
  Reg *next[] = {loop_select(loops, wins, x, carried[0]),
                 loop_select(loops, wins, flat_index(lower, &p), carried[1])};
  loop_else(loops, &inside, next);
  loop_end_if(loops, &inside, carried);
  carried[0] = inside.results[0];
  carried[1] = inside.results[1];
  nest_end(lower, &p.inner);
  lower_result(lower, 0, p.at, loop_cast(loops, carried[0], result(node, 0)->type->dtype));
  lower_result(lower, 1, p.at, carried[1]);
  nest_end(lower, &p.outer);
}

const Op op_max_pool_indices = {
    .name = "max_pool_indices",
    .family = "pool",
    .doc =
        "The largest element of every window, as max_pool, and where in x it lies: ((n*C + c)*H + h)*W + w, "
        "of several "
        "equal ones the first; -1 if all is padding.",
    .operands = pool_operands,
    .operand_count = 1,
    .results = results_indices,
    .result_count = 2,
    .attrs = max_pool_indices_attrs,
    .attr_count = COUNT_OF(max_pool_indices_attrs),
    .infer = max_pool_indices_infer,
    .axes = pool_axes,
    .nest = max_pool_indices_nest,
};

/* ---- average_pool ---- */

static bool average_pool_infer(Node *node) {
  return pool_infer(node, KIND_FLOAT);
}

/* 1 where the element lies in the padded x: a window that reaches even over that (ceil) counts less. */
static Reg *counts_padded(Lower *lower, const Pool *p, const Reg *like) {
  Loops *loops = &lower->loops;
  const Type *x = operand(p->node, 0)->type;
  Reg *one = constant_like(lower, like, 1);
  if (!node_bool(p->node, "ceil")) return one;
  Reg *inside = NULL;
  for (int s = 0; s < p->window.rank; s++) {
    const Dim *size = x->dims[p->window.spatial_axis + s];
    const Dim *end = dim_add(lower->module, size, dim_const(lower->module, p->window.after[s]));
    Reg *here = index_inside(lower, p->spatial[s], NULL, end);
    inside = inside ? loop_binary(loops, LOOP_AND, inside, here) : here;
  }
  return loop_select(loops, inside, one, constant_like(lower, like, 0));
}

static void average_pool_nest(Lower *lower, const Node *node) {
  Loops *loops = &lower->loops;
  bool include_pad = node_bool(node, "include_pad");
  Reg *zero = loop_const(loops, (LoopType){compute_dtype(operand(node, 0)->type->dtype), 1}, 0);
  Reg *one = constant_like(lower, zero, 1);
  Pool p = pool_begin(lower, node, 2, (Reg *[]){zero, zero}); /* the sum and how many */
  Reg *weight = include_pad ? counts_padded(lower, &p, zero) : zero;
  Reg **carried = p.inner.carried;
  If inside = pool_inside(lower, &p, 2, (LoopType[]){zero->type, zero->type});
  Reg *sum = loop_binary(loops, LOOP_ADD, carried[0], compute(lower, pool_read(lower, &p)));
  Reg *count = loop_binary(loops, LOOP_ADD, carried[1], one);
  loop_else(loops, &inside, (Reg *[]){sum, count});
  count = loop_binary(loops, LOOP_ADD, carried[1], weight);
  loop_end_if(loops, &inside, (Reg *[]){carried[0], count});
  carried[0] = inside.results[0];
  carried[1] = inside.results[1];
  nest_end(lower, &p.inner);
  Reg *divisor = loop_binary(loops, LOOP_MAX, carried[1], one); /* all padding: 0 */
  Reg *mean = loop_binary(loops, LOOP_DIV, carried[0], divisor);
  lower_result(lower, 0, p.at, loop_cast(loops, mean, result(node, 0)->type->dtype));
  nest_end(lower, &p.outer);
}

const Op op_average_pool = {
    .name = "average_pool",
    .family = "pool",
    .doc =
        "The mean of every window: of its elements inside x, or with include_pad also of the zeros around x.",
    .operands = pool_operands,
    .operand_count = 1,
    .results = results_y,
    .result_count = 1,
    .attrs = average_pool_attrs,
    .attr_count = COUNT_OF(average_pool_attrs),
    .infer = average_pool_infer,
    .simplify = pool_simplify,
    .axes = pool_axes,
    .nest = average_pool_nest,
};
