/*
 * gather.c -- reads at positions that come from a tensor. A position that is negative counts from the end;
 * one that is outside even then is moved to the nearest element, so that no input makes a library read
 * foreign memory.
 */
#include "ir/ops/ops.h"

#include <string.h>

static const OperandSpec gather_operands[] = {{"x", false, "at least one axis; any dtype"},
                                              {"indices", false, "integers in [-size, size) of the axis"}};
static const AttrSpec gather_attrs[] = {
    {"axis", ATTR_INT, ROLE_NONE, "0", "of x, which the indices address", NULL}};
static const char *const results_y[] = {"y"};

static int gather_axis(const Node *node) {
  return (int)node_axis(node, "axis", operand(node, 0)->type->rank);
}

/* Constant indices lie inside, if the size is a number. */
static bool check_indices(const Node *node, int axis) {
  const Dim *size = operand(node, 0)->type->dims[axis];
  const Data *data = value_data(operand(node, 1));
  if (!dim_is_const(size)) return true;
  int64_t count = data ? data->splat && data->count ? 1 : data->count : 0;
  for (int64_t i = 0; i < count; i++) {
    int64_t index = data_get_int(data, i);
    if (index < -size->value || index >= size->value)
      return node_fail(node, "index %lld is outside axis %d of x, which is %s", (long long)index, axis,
                       operand_text(node, 0));
  }
  return true;
}

/* ---- gather ---- */

static void gather_known(Node *node) {
  int64_t positions[MAX_KNOWN];
  int count;
  const Type *x = operand(node, 0)->type;
  if (x->rank != 1 || !dim_is_const(x->dims[0])) return;
  if (!value_known_ints(operand(node, 1), positions, MAX_KNOWN, &count)) return;
  for (int i = 0; i < count; i++)
    if (positions[i] < 0) positions[i] += x->dims[0]->value;
  known_pick(node, positions);
}

static bool gather_infer(Node *node) {
  const Type *x = operand(node, 0)->type, *indices = operand(node, 1)->type;
  const Dim *dims[2 * MAX_RANK];
  int axis, rank = 0;
  TRY(check_axis(node, "axis", x->rank, &axis) && check_kind(node, 1, KIND_INT) && check_indices(node, axis));
  for (int i = 0; i < axis; i++) dims[rank++] = x->dims[i];
  for (int i = 0; i < indices->rank; i++) dims[rank++] = indices->dims[i];
  for (int i = axis + 1; i < x->rank; i++) dims[rank++] = x->dims[i];
  TRY(check_sizes(node, "the result", dims, rank));
  result_set(node, 0, type_make(node_module(node), x->dtype, rank, dims));
  gather_known(node);
  return check_source(node, x->dims[axis], result(node, 0)->type);
}

/* Constant indices in equal steps: a slice, which is a view. */
static Value *gather_simplify(Node *node) {
  Module *module = node_module(node);
  const Type *x = operand(node, 0)->type, *type = result(node, 0)->type;
  const Data *data = value_data(operand(node, 1));
  int axis = gather_axis(node);
  if (!data || data->count < 1 || data->count > 1 << 16 || !dim_is_const(x->dims[axis])) return NULL;
  int64_t size = x->dims[axis]->value, first = 0, step = 1, steps[MAX_RANK];
  for (int64_t i = 0, last = 0; i < data->count; i++) {
    int64_t index = data_get_int(data, i);
    index += index < 0 ? size : 0;
    if (i == 0) first = index;
    if (i == 1) step = index - first;
    if (step == 0 || (i > 1 && index - last != step)) return NULL;
    last = index;
  }
  const Dim *starts[MAX_RANK], *sizes[MAX_RANK];
  for (int i = 0; i < x->rank; i++) {
    starts[i] = dim_const(module, i == axis ? first : 0);
    sizes[i] = i == axis ? dim_const(module, data->count) : x->dims[i];
    steps[i] = i == axis ? step : 1;
  }
  Builder builder = builder_before(node);
  Node *slice = node_new(&builder, &op_slice, (Value *[]){operand(node, 0)}, 1);
  node_set_dims(slice, "starts", starts, x->rank);
  node_set_dims(slice, "sizes", sizes, x->rank);
  if (step != 1) node_set_ints(slice, "steps", steps, x->rank);
  if (!node_finish(slice)) return NULL;
  Value *part = value_if_typed(node, result(slice, 0));
  return part ? part : build_reshape(&builder, result(slice, 0), type->rank, type->dims);
}

static void gather_axes(const Node *node, int index, AxisLink *links) {
  int axis = gather_axis(node), inserted = operand(node, 1)->type->rank;
  for (int i = 0; i < operand(node, index)->type->rank; i++) {
    if (index == 1)
      links[i] = axis_link(AXIS_SAME, axis + i);
    else if (i == axis)
      links[i] = axis_link(AXIS_OPAQUE, -1);
    else
      links[i] = axis_link(AXIS_SAME, i < axis ? i : i - 1 + inserted);
  }
}

static Reg *gather_element(Lower *lower, const Node *node, int which, const Index *at) {
  (void)which;
  const Type *x = operand(node, 0)->type;
  int axis = gather_axis(node), inserted = operand(node, 1)->type->rank;
  Index from[MAX_RANK];
  for (int i = 0; i < x->rank; i++)
    if (i != axis) from[i] = at[i < axis ? i : i - 1 + inserted];
  from[axis] = index_operand(lower, node, 1, at + axis, x->dims[axis]);
  return lower_operand(lower, node, 0, from);
}

const Op op_gather = {
    .name = "gather",
    .family = "gather",
    .doc = "Slices of x along an axis, picked by number: y[a.., i.., b..] = x[a.., indices[i..], b..]. "
           "Negative indices count "
           "from the end; what is outside even so is moved to the nearest element.",
    .operands = gather_operands,
    .operand_count = COUNT_OF(gather_operands),
    .results = results_y,
    .result_count = 1,
    .attrs = gather_attrs,
    .attr_count = COUNT_OF(gather_attrs),
    .infer = gather_infer,
    .simplify = gather_simplify,
    .axes = gather_axes,
    .element = gather_element,
};

/* ---- gather_elements ---- */

static bool gather_elements_infer(Node *node) {
  const Type *x = operand(node, 0)->type, *indices = operand(node, 1)->type;
  int axis;
  TRY(check_axis(node, "axis", x->rank, &axis) && check_kind(node, 1, KIND_INT));
  TRY(check_rank(node, 1, x->rank) && check_indices(node, axis));
  for (int i = 0; i < x->rank; i++) {
    const Dim *have = x->dims[i], *want = indices->dims[i];
    if (i != axis && dim_is_const(have) && dim_is_const(want) && want->value > have->value)
      return node_fail(node, "axis %d of indices %s is larger than that of x %s", i, operand_text(node, 1),
                       operand_text(node, 0));
  }
  result_set(node, 0, type_with_dtype(node_module(node), indices, x->dtype));
  return check_source(node, x->dims[axis], result(node, 0)->type);
}

static void gather_elements_axes(const Node *node, int index, AxisLink *links) {
  const Type *x = operand(node, 0)->type, *y = result(node, 0)->type;
  int axis = gather_axis(node);
  axes_same(node, index, links);
  for (int i = 0; index == 0 && i < x->rank; i++)
    if (i == axis || x->dims[i] != y->dims[i]) links[i].role = i == axis ? AXIS_OPAQUE : AXIS_WINDOW;
}

static Reg *gather_elements_element(Lower *lower, const Node *node, int which, const Index *at) {
  (void)which;
  const Type *x = operand(node, 0)->type;
  int axis = gather_axis(node);
  Index from[MAX_RANK];
  memcpy(from, at, sizeof *from * (size_t)x->rank);
  from[axis] = index_operand(lower, node, 1, at, x->dims[axis]);
  return lower_operand(lower, node, 0, from);
}

static const AttrSpec gather_elements_attrs[] = {
    {"axis", ATTR_INT, ROLE_AXIS, "0", "of x, which the indices address", NULL}};

const Op op_gather_elements = {
    .name = "gather_elements",
    .family = "gather",
    .doc = "One element of x for every index: y[i, j, k] = x[i, indices[i, j, k], k] for axis 1. Indices as "
           "for gather.",
    .operands = gather_operands,
    .operand_count = COUNT_OF(gather_operands),
    .results = results_y,
    .result_count = 1,
    .attrs = gather_elements_attrs,
    .attr_count = COUNT_OF(gather_elements_attrs),
    .infer = gather_elements_infer,
    .axes = gather_elements_axes,
    .element = gather_elements_element,
};

/* ---- gather_nd ---- */

static const OperandSpec gather_nd_operands[] = {
    {"x", false, "any dtype"},
    {"indices", false,
     "integers in [-size, size) of their axes; the last axis, of constant size, holds coordinates"}};
static const AttrSpec gather_nd_attrs[] = {
    {"batch_axes", ATTR_INT, ROLE_NONE, "0", "how many leading axes of x and indices go together", NULL}};

/* Axes of indices but the last: the first axes of the result. */
static int tuple_rank(const Node *node) {
  return operand(node, 1)->type->rank - 1;
}

static int coordinates(const Node *node) {
  return (int)operand(node, 1)->type->dims[tuple_rank(node)]->value;
}

static bool check_batches(const Node *node) {
  const Type *x = operand(node, 0)->type, *indices = operand(node, 1)->type;
  int64_t batches = node_int(node, "batch_axes");
  if (indices->rank == 0 || batches < 0 || batches >= indices->rank || batches > x->rank)
    return node_fail(node, "batch_axes is %lld; x is %s, indices is %s", (long long)batches,
                     operand_text(node, 0), operand_text(node, 1));
  const Dim *count = indices->dims[indices->rank - 1];
  if (!dim_is_const(count) || count->value > x->rank - batches)
    return node_fail(node, "indices, %s, has %s coordinates for the %d axes of x, %s, behind %lld of batches",
                     operand_text(node, 1), dim_text(node_module(node), count), x->rank - (int)batches,
                     operand_text(node, 0), (long long)batches);
  for (int i = 0; i < batches; i++)
    if (!sizes_agree(node, x->dims[i], indices->dims[i]))
      return node_fail(node, "batch axis %d of x, %s, and of indices, %s, differ", i, operand_text(node, 0),
                       operand_text(node, 1));
  return true;
}

static bool gather_nd_infer(Node *node) {
  const Type *x = operand(node, 0)->type, *indices = operand(node, 1)->type;
  const Dim *dims[2 * MAX_RANK];
  int rank = 0;
  TRY(check_kind(node, 1, KIND_INT) && check_batches(node));
  for (int i = 0; i < tuple_rank(node); i++) dims[rank++] = indices->dims[i];
  for (int i = (int)node_int(node, "batch_axes") + coordinates(node); i < x->rank; i++)
    dims[rank++] = x->dims[i];
  TRY(check_sizes(node, "the result", dims, rank));
  result_set(node, 0, type_make(node_module(node), x->dtype, rank, dims));
  for (int i = 0; i < coordinates(node); i++)
    TRY(check_source(node, x->dims[node_int(node, "batch_axes") + i], result(node, 0)->type));
  return true;
}

static void gather_nd_axes(const Node *node, int index, AxisLink *links) {
  axes_opaque(node, index, links);
  int batches = (int)node_int(node, "batch_axes"), behind = batches + coordinates(node);
  if (index == 1)
    for (int i = 0; i < tuple_rank(node); i++) links[i] = axis_link(AXIS_SAME, i);
  for (int i = 0; index == 0 && i < operand(node, 0)->type->rank; i++)
    if (i < batches || i >= behind)
      links[i] = axis_link(AXIS_SAME, i < batches ? i : tuple_rank(node) + i - behind);
}

static Reg *gather_nd_element(Lower *lower, const Node *node, int which, const Index *at) {
  (void)which;
  const Type *x = operand(node, 0)->type;
  int batches = (int)node_int(node, "batch_axes"), behind = batches + coordinates(node),
      tuple = tuple_rank(node);
  Index from[MAX_RANK], where[MAX_RANK];
  memcpy(where, at, sizeof *where * (size_t)tuple);
  for (int i = 0; i < x->rank; i++) {
    if (i < batches) {
      from[i] = at[i];
    } else if (i >= behind) {
      from[i] = at[tuple + i - behind];
    } else {
      where[tuple] = index_const(lower, i - batches);
      from[i] = index_operand(lower, node, 1, where, x->dims[i]);
    }
  }
  return lower_operand(lower, node, 0, from);
}

const Op op_gather_nd = {
    .name = "gather_nd",
    .family = "gather",
    .doc = "Elements or slices of x at the coordinates that the last axis of indices holds: y[i.., b..] = "
           "x[indices[i.., 0], indices[i.., 1], .., b..]; leading axes of batches are the same in both. "
           "Indices as "
           "for gather.",
    .operands = gather_nd_operands,
    .operand_count = COUNT_OF(gather_nd_operands),
    .results = results_y,
    .result_count = 1,
    .attrs = gather_nd_attrs,
    .attr_count = COUNT_OF(gather_nd_attrs),
    .infer = gather_nd_infer,
    .axes = gather_nd_axes,
    .element = gather_nd_element,
};

/* ---- reverse_sequence ---- */

static const OperandSpec reverse_operands[] = {
    {"x", false, "at least two axes; any dtype"},
    {"lengths", false, "integers, one for each batch, in [0, steps]"}};
static const AttrSpec reverse_attrs[] = {
    {"time_axis", ATTR_INT, ROLE_AXIS, "0", "which is reversed", NULL},
    {"batch_axis", ATTR_INT, ROLE_AXIS, "1", "whose positions have a length each", NULL}};

static bool reverse_infer(Node *node) {
  const Type *x = operand(node, 0)->type;
  int time, batch;
  TRY(check_axis(node, "time_axis", x->rank, &time) && check_axis(node, "batch_axis", x->rank, &batch));
  TRY(check_kind(node, 1, KIND_INT) && check_rank(node, 1, 1));
  if (time == batch) return node_fail(node, "time_axis and batch_axis are both %d", time);
  if (!sizes_agree(node, operand(node, 1)->type->dims[0], x->dims[batch]))
    return node_fail(node, "lengths is %s, and axis %d of x is %s", operand_text(node, 1), batch,
                     operand_text(node, 0));
  result_set(node, 0, x);
  return true;
}

static void reverse_axes(const Node *node, int index, AxisLink *links) {
  int rank = operand(node, 0)->type->rank;
  axes_same(node, index, links);
  if (index == 0)
    links[node_axis(node, "time_axis", rank)].role = AXIS_OPAQUE;
  else
    links[0].axis = (int)node_axis(node, "batch_axis", rank);
}

/* Step t of the first n is step n - 1 - t; the others stay. */
static Reg *reverse_element(Lower *lower, const Node *node, int which, const Index *at) {
  (void)which;
  Loops *loops = &lower->loops;
  const Type *x = operand(node, 0)->type;
  int time = (int)node_axis(node, "time_axis", x->rank), batch = (int)node_axis(node, "batch_axis", x->rank);
  Index from[MAX_RANK];
  memcpy(from, at, sizeof *from * (size_t)x->rank);
  Reg *length = index_reg(lower, index_read(lower, node, 1, &at[batch])), *t = index_reg(lower, at[time]);
  length = loop_binary(loops, LOOP_MIN, loop_dim(loops, x->dims[time]), length);
  Reg *mirrored = loop_binary(loops, LOOP_SUB, loop_binary(loops, LOOP_SUB, length, loop_int(loops, 1)), t);
  Reg *step = loop_select(loops, loop_binary(loops, LOOP_LT, t, length), mirrored, t);
  from[time] = step->type.lanes == 1 ? index_of(step) : (Index){.vector = step};
  return lower_operand(lower, node, 0, from);
}

const Op op_reverse_sequence = {
    .name = "reverse_sequence",
    .family = "gather",
    .doc = "The first lengths[b] steps of every batch in reverse order, the rest as it is. Lengths outside "
           "[0, steps] "
           "are moved to the nearest of these.",
    .operands = reverse_operands,
    .operand_count = COUNT_OF(reverse_operands),
    .results = results_y,
    .result_count = 1,
    .attrs = reverse_attrs,
    .attr_count = COUNT_OF(reverse_attrs),
    .infer = reverse_infer,
    .axes = reverse_axes,
    .element = reverse_element,
};
