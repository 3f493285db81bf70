/*
 * scatter.c -- writes at positions that come from a tensor. A position that is negative counts from the end;
 * one that is outside even then is moved to the nearest element, so that no input makes a library write to
 * foreign memory.
 *
 * scatter_elements and scatter_nd copy x to the result and change it there. Updates that may meet come one
 * after the other, in row-major order; what cannot meet runs in parallel. tensor_scatter asks every element
 * of the result where it comes from, as at most one update comes to a place.
 */
#include "ir/ops/ops.h"

#include <string.h>

static const char *const results_y[] = {"y"};

#define REDUCTION_ATTR                                                                                       \
  {"reduction",                                                                                              \
   ATTR_STRING,                                                                                              \
   ROLE_NONE,                                                                                                \
   "none",                                                                                                   \
   "how an update joins what is there: none (in its place), add, mul, min, max",                             \
   "none|add|mul|min|max"}

static bool check_reduction(const Node *node) {
  const char *reduction = node_string(node, "reduction");
  if (strcmp(reduction, "none") == 0) return true;
  bool extreme = strcmp(reduction, "min") == 0 || strcmp(reduction, "max") == 0;
  return check_kind(node, 0, extreme ? KIND_NUMBER | KIND_BOOL : KIND_NUMBER);
}

/* What the update makes of the element that is there. */
static Reg *join(Lower *lower, const Node *node, Reg *there, Reg *update) {
  const char *reduction = node_string(node, "reduction");
  Reg *x = compute(lower, there), *y = compute(lower, update);
  Reg *joined = strcmp(reduction, "add") == 0   ? loop_binary(&lower->loops, LOOP_ADD, x, y)
                : strcmp(reduction, "mul") == 0 ? loop_binary(&lower->loops, LOOP_MUL, x, y)
                : strcmp(reduction, "min") == 0 ? min_nan(lower, x, y)
                                                : max_nan(lower, x, y);
  return loop_cast(&lower->loops, joined, there->type.dtype);
}

static void write_update(Lower *lower, const Node *node, Buffer *y, const Index *to, Reg *update) {
  Reg *at[MAX_RANK];
  for (int i = 0; i < y->rank; i++) at[i] = index_reg(lower, to[i]);
  if (!node_string_is(node, "reduction", "none"))
    update = join(lower, node, loop_load(&lower->loops, y, at, 1, NULL), update);
  loop_store(&lower->loops, update, y, at, NULL);
}

/* The result's memory with the elements of x in it; NULL with a Diag. */
static Buffer *copy_x(Lower *lower, const Node *node) {
  Buffer *y = lower_result_buffer(lower, 0);
  Index at[MAX_RANK];
  Reg *regs[MAX_RANK];
  if (!y) {
    node_fail(lower->node, "cannot be lowered: something is fused behind %s", node->op->name);
    return NULL;
  }
  Nest nest = nest_over(lower, operand(node, 0), NULL, at);
  for (int i = 0; i < y->rank; i++) regs[i] = index_reg(lower, at[i]);
  loop_store(&lower->loops, lower_operand(lower, node, 0, at), y, regs, NULL);
  nest_end(lower, &nest);
  return y;
}

static Reg *smaller_dim(Lower *lower, const Dim *a, const Dim *b) {
  return loop_dim(&lower->loops, dim_make(lower->module, DIM_MIN, a, b));
}

/* `count`, or 0 when the axis that positions address is empty: then there is no nearest element. */
static Reg *unless_empty(Lower *lower, Reg *count, const Dim *size) {
  Loops *loops = &lower->loops;
  if (dim_is_const(size) && size->value > 0) return count;
  Reg *zero = loop_int(loops, 0);
  return loop_select(loops, loop_binary(loops, LOOP_GT, loop_dim(loops, size), zero), count, zero);
}

/* ---- scatter_elements ---- */

static const OperandSpec elements_operands[] = {
    {"x", false, "at least one axis"},
    {"indices", false, "integers in [-size, size) of the axis; along the others not larger than x"},
    {"updates", false, "the shape of indices, the dtype of x"}};
static const AttrSpec elements_attrs[] = {
    {"axis", ATTR_INT, ROLE_AXIS, "0", "which the indices address", NULL}, REDUCTION_ATTR};

static bool elements_infer(Node *node) {
  const Type *x = operand(node, 0)->type, *indices = operand(node, 1)->type,
             *updates = operand(node, 2)->type;
  int axis;
  TRY(check_axis(node, "axis", x->rank, &axis) && check_kind(node, 1, KIND_INT));
  TRY(check_same_dtype(node, 0, 2) && check_rank(node, 1, x->rank) && check_rank(node, 2, x->rank));
  for (int i = 0; i < x->rank; i++) {
    if (!sizes_agree(node, indices->dims[i], updates->dims[i]))
      return node_fail(node, "indices is %s and updates is %s", operand_text(node, 1), operand_text(node, 2));
    const Dim *have = x->dims[i], *want = indices->dims[i];
    if (i != axis && dims_clash(have, want) && want->value > have->value)
      return node_fail(node, "axis %d of indices, %s, is larger than that of x, %s", i, operand_text(node, 1),
                       operand_text(node, 0));
  }
  TRY(check_reduction(node));
  result_set(node, 0, x);
  return true;
}

static void elements_axes(const Node *node, int index, AxisLink *links) {
  const Type *x = operand(node, 0)->type, *type = operand(node, index)->type;
  axes_same(node, index, links);
  for (int i = 0; i < x->rank; i++)
    if (type->dims[i] != x->dims[i]) links[i].role = AXIS_WINDOW;
  links[node_axis(node, "axis", x->rank)].role = AXIS_OPAQUE;
}

/* Updates of one position along all other axes may meet. */
static void elements_nest(Lower *lower, const Node *node) {
  const Type *x = operand(node, 0)->type, *updates = operand(node, 2)->type;
  int axis = (int)node_axis(node, "axis", x->rank);
  Index at[MAX_RANK], to[MAX_RANK];
  Buffer *y = copy_x(lower, node);
  if (!y) return;
  Nest nest = nest_begin(0, NULL);
  for (int i = 0; i < x->rank; i++)
    if (i != axis)
      at[i] = index_of(nest_parallel(lower, &nest, smaller_dim(lower, updates->dims[i], x->dims[i])));
  at[axis] = index_of(nest_for(
      lower, &nest, unless_empty(lower, loop_dim(&lower->loops, updates->dims[axis]), x->dims[axis])));
  memcpy(to, at, sizeof to);
  to[axis] = index_operand(lower, node, 1, at, x->dims[axis]);
  write_update(lower, node, y, to, lower_operand(lower, node, 2, at));
  nest_end(lower, &nest);
}

const Op op_scatter_elements = {
    .name = "scatter_elements",
    .family = "scatter",
    .doc =
        "x with one element written for every index: y[i, indices[i, j, k], k] = updates[i, j, k] for axis "
        "1. Of "
        "several updates of an element the last stays, or all join by the reduction (min and max give NaN if "
        "there is one). Negative indices count from the end; what is outside even so is moved to the "
        "nearest.",
    .operands = elements_operands,
    .operand_count = COUNT_OF(elements_operands),
    .results = results_y,
    .result_count = 1,
    .attrs = elements_attrs,
    .attr_count = COUNT_OF(elements_attrs),
    .traits = TRAIT_REREAD,
    .infer = elements_infer,
    .axes = elements_axes,
    .nest = elements_nest,
};

/* ---- scatter_nd ---- */

static const OperandSpec nd_operands[] = {
    {"x", false, "at least one axis"},
    {"indices", false,
     "integers in [-size, size) of their axes; the last axis, of constant size, holds coordinates"},
    {"updates", false,
     "the axes of indices but the last, then those of x that have no coordinate; the dtype of x"}};
static const AttrSpec nd_attrs[] = {REDUCTION_ATTR};

/* Axes of indices but the last. */
static int tuple_rank(const Node *node) {
  return operand(node, 1)->type->rank - 1;
}

static bool check_coordinates(const Node *node) {
  const Type *x = operand(node, 0)->type, *indices = operand(node, 1)->type;
  if (indices->rank == 0) return node_fail(node, "indices has no axis of coordinates");
  const Dim *count = indices->dims[indices->rank - 1];
  if (dim_is_const(count) && count->value <= x->rank) return true;
  return node_fail(node, "indices, %s, has %s coordinates for the axes of x, %s", operand_text(node, 1),
                   dim_text(node_module(node), count), operand_text(node, 0));
}

static bool nd_infer(Node *node) {
  const Type *x = operand(node, 0)->type, *indices = operand(node, 1)->type,
             *updates = operand(node, 2)->type;
  TRY(check_kind(node, 1, KIND_INT) && check_same_dtype(node, 0, 2) && check_coordinates(node));
  int tuple = tuple_rank(node), count = (int)indices->dims[tuple]->value;
  TRY(check_rank(node, 2, tuple + x->rank - count));
  for (int i = 0; i < updates->rank; i++) {
    const Dim *wanted = i < tuple ? indices->dims[i] : x->dims[count + i - tuple];
    if (!sizes_agree(node, updates->dims[i], wanted))
      return node_fail(node, "updates is %s; axis %d must be %lld to go with indices, %s, and x, %s",
                       operand_text(node, 2), i, (long long)wanted->value, operand_text(node, 1),
                       operand_text(node, 0));
  }
  TRY(check_reduction(node));
  result_set(node, 0, x);
  return true;
}

/* Elements of different places in their slices never meet. */
static void nd_nest(Lower *lower, const Node *node) {
  const Type *x = operand(node, 0)->type, *updates = operand(node, 2)->type;
  int tuple = tuple_rank(node), count = x->rank - (updates->rank - tuple);
  Index at[MAX_RANK], where[MAX_RANK], to[MAX_RANK];
  Buffer *y = copy_x(lower, node);
  if (!y) return;
  Nest slices = nest_begin(0, NULL), tuples = nest_begin(0, NULL);
  for (int i = tuple; i < updates->rank; i++) {
    Reg *size = smaller_dim(lower, updates->dims[i], x->dims[count + i - tuple]);
    at[i] = to[count + i - tuple] = index_of(nest_parallel(lower, &slices, size));
  }
  Reg *rows = loop_int(&lower->loops, 1); /* 0 if an axis with coordinates is empty */
  for (int i = 0; i < count; i++) rows = unless_empty(lower, rows, x->dims[i]);
  nest_for(lower, &tuples, rows);
  for (int i = 0; i < tuple; i++)
    at[i] = where[i] = index_of(nest_for(lower, &tuples, loop_dim(&lower->loops, updates->dims[i])));
  for (int i = 0; i < count; i++) {
    where[tuple] = index_const(lower, i);
    to[i] = index_operand(lower, node, 1, where, x->dims[i]);
  }
  write_update(lower, node, y, to, lower_operand(lower, node, 2, at));
  nest_end(lower, &tuples);
  nest_end(lower, &slices);
}

const Op op_scatter_nd = {
    .name = "scatter_nd",
    .family = "scatter",
    .doc =
        "x with elements or slices written at the coordinates that the last axis of indices holds: "
        "y[indices[i.., 0], indices[i.., 1], .., b..] = updates[i.., b..]. Indices and several updates of an "
        "element as for scatter_elements.",
    .operands = nd_operands,
    .operand_count = COUNT_OF(nd_operands),
    .results = results_y,
    .result_count = 1,
    .attrs = nd_attrs,
    .attr_count = COUNT_OF(nd_attrs),
    .traits = TRAIT_REREAD,
    .infer = nd_infer,
    .axes = axes_opaque,
    .nest = nd_nest,
};

/* ---- tensor_scatter ---- */

static const OperandSpec tensor_operands[] = {
    {"x", false, "axis 0 holds batches; any dtype"},
    {"update", false, "as x, but along the axis not longer"},
    {"starts", true, "integers [batch]: where along the axis the update goes; absent: 0"}};
static const AttrSpec tensor_attrs[] = {
    {"axis", ATTR_INT, ROLE_AXIS, "-2", "along which the update lies; not 0", NULL},
    {"circular", ATTR_BOOL, ROLE_NONE, "false", "what reaches over the end goes to the beginning", NULL}};

static bool tensor_infer(Node *node) {
  const Type *x = operand(node, 0)->type, *update = operand(node, 1)->type;
  int axis;
  TRY(check_axis(node, "axis", x->rank, &axis) && check_rank(node, 1, x->rank) &&
      check_same_dtype(node, 0, 1));
  TRY(check_rank(node, 2, 1) && check_kind(node, 2, KIND_INT));
  if (axis == 0) return node_fail(node, "axis is 0, which holds the batches of x, %s", operand_text(node, 0));
  for (int i = 0; i < x->rank; i++)
    if (dims_clash(update->dims[i], x->dims[i]) && (i != axis || update->dims[i]->value > x->dims[i]->value))
      return node_fail(node, "update is %s, x is %s, and axis is %d", operand_text(node, 1),
                       operand_text(node, 0), axis);
  if (operand(node, 2) && !sizes_agree(node, operand(node, 2)->type->dims[0], x->dims[0]))
    return node_fail(node, "starts is %s, and x is %s", operand_text(node, 2), operand_text(node, 0));
  result_set(node, 0, x);
  return true;
}

static void tensor_axes(const Node *node, int index, AxisLink *links) {
  axes_same(node, index, links);
  if (index == 1) links[node_axis(node, "axis", operand(node, 0)->type->rank)].role = AXIS_WINDOW;
}

static Reg *tensor_element(Lower *lower, const Node *node, int which, const Index *at) {
  (void)which;
  const Type *x = operand(node, 0)->type, *update = operand(node, 1)->type;
  int axis = (int)node_axis(node, "axis", x->rank);
  Index from[MAX_RANK];
  memcpy(from, at, sizeof *from * (size_t)x->rank);
  if (operand(node, 2)) from[axis] = index_sub(lower, at[axis], index_read(lower, node, 2, at));
  if (node_bool(node, "circular")) from[axis] = index_mod(lower, from[axis], x->dims[axis]);
  Reg *inside = index_inside(lower, from[axis], dim_const(lower->module, 0), update->dims[axis]);
  return read_where(lower, node, 1, from, &inside, 1, lower_operand(lower, node, 0, at));
}

const Op op_tensor_scatter = {
    .name = "tensor_scatter",
    .family = "scatter",
    .doc = "x with a run of positions along an axis replaced by the update, for every batch from its own "
           "start: how "
           "caches of keys and values grow. What reaches outside is dropped, or circular.",
    .operands = tensor_operands,
    .operand_count = COUNT_OF(tensor_operands),
    .results = results_y,
    .result_count = 1,
    .attrs = tensor_attrs,
    .attr_count = COUNT_OF(tensor_attrs),
    .infer = tensor_infer,
    .axes = tensor_axes,
    .element = tensor_element,
};
