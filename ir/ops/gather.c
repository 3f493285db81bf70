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
  if (size->value == 0 && type_static_count(operand(node, 1)->type) != 0)
    return node_fail(node, "x of shape %s has no elements to gather", operand_text(node, 0));
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
  return true;
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
      links[i] = (AxisLink){AXIS_SAME, axis + i};
    else if (i == axis)
      links[i] = (AxisLink){AXIS_OPAQUE, -1};
    else
      links[i] = (AxisLink){AXIS_SAME, i < axis ? i : i - 1 + inserted};
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
  return true;
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
