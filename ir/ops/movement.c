/*
 * movement.c -- operators that only say under which index an element is read: reshape, transpose, broadcast,
 * tile, and shape.
 *
 * reshape is the interesting one. Its axes are matched into groups with equal products, and index arithmetic
 * stays inside a group: axes that merge cost multiplications, only axes that are split anew cost a division,
 * and a run of lanes along an axis that keeps its place stays a run.
 */
#include "ir/ops/ops.h"

#include <string.h>

static const OperandSpec operands_x[] = {{"x", false, "any shape and dtype"}};
static const char *const results_y[] = {"y"};

/* ---- reshape ---- */

static const AttrSpec reshape_attrs[] = {{"shape", ATTR_DIMS, ROLE_SIZES, NULL,
                                          "sizes of the result; one may be -1: what the others leave", NULL}};

/* A group of operand axes that hold the same elements as a group of result axes; size-1 axes belong to none.
 */
typedef struct Group {
  int from[MAX_RANK], from_count;
  int to[MAX_RANK], to_count;
} Group;

static int real_axes(const Type *type, int *axes) {
  int count = 0;
  for (int i = 0; i < type->rank; i++)
    if (!dim_is(type->dims[i], 1)) axes[count++] = i;
  return count;
}

/* The shortest runs axes_from[0..*from) and axes_to[0..*to) of equal product; everything when there are none.
 */
static void match_group(Module *module, const Type *x, const int *axes_from, int *from, const Type *y,
                        const int *axes_to, int *to) {
  int from_all = *from, to_all = *to;
  for (int total = 2; total <= from_all + to_all; total++) {
    const Dim *left = dim_const(module, 1);
    for (int i = 1; i <= from_all && i < total; i++) {
      left = dim_mul(module, left, x->dims[axes_from[i - 1]]);
      const Dim *right = dim_const(module, 1);
      for (int j = 0; j < total - i && j < to_all; j++) right = dim_mul(module, right, y->dims[axes_to[j]]);
      if (total - i > to_all || left != right) continue;
      *from = i;
      *to = total - i;
      return;
    }
  }
}

static int match_groups(const Node *node, Group groups[MAX_RANK]) {
  const Type *x = operand(node, 0)->type, *y = result(node, 0)->type;
  int from[MAX_RANK], to[MAX_RANK], count = 0, i = 0, j = 0;
  int from_all = real_axes(x, from), to_all = real_axes(y, to);
  while (i < from_all || j < to_all) {
    Group *group = &groups[count++];
    group->from_count = from_all - i;
    group->to_count = to_all - j;
    match_group(node_module(node), x, from + i, &group->from_count, y, to + j, &group->to_count);
    for (int k = 0; k < group->from_count; k++) group->from[k] = from[i++];
    for (int k = 0; k < group->to_count; k++) group->to[k] = to[j++];
  }
  return count;
}

/* The size that stands for -1. */
static bool resolve_rest(const Node *node, const Dim **dims, int count) {
  Module *module = node_module(node);
  const Dim *given = dim_const(module, 1), *all = type_count(module, operand(node, 0)->type);
  int rest = -1;
  for (int i = 0; i < count; i++) {
    if (!dim_is(dims[i], -1)) {
      given = dim_mul(module, given, dims[i]);
    } else {
      if (rest >= 0) return node_fail(node, "shape has more than one -1, at %d and %d", rest, i);
      rest = i;
    }
  }
  if (rest < 0) return true;
  if (dim_is(given, 0)) return node_fail(node, "shape has a 0 beside -1, which then could be any size");
  if (dim_is_const(given) && dim_is_const(all) && all->value % given->value != 0)
    return node_fail(node, "x of shape %s has %lld elements, no multiple of the %lld of the other axes",
                     operand_text(node, 0), (long long)all->value, (long long)given->value);
  dims[rest] = dim_floordiv(module, all, given);
  return true;
}

static bool reshape_infer(Node *node) {
  Module *module = node_module(node);
  int count;
  const Dim *const *shape = node_dims(node, "shape", &count);
  const Dim *dims[MAX_RANK];
  if (count > MAX_RANK) return check_sizes(node, "shape", shape, count);
  for (int i = 0; i < count; i++) dims[i] = shape[i];
  TRY(resolve_rest(node, dims, count) && check_sizes(node, "shape", dims, count));
  const Type *x = operand(node, 0)->type, *type = type_make(module, x->dtype, count, dims);
  if (dims_clash(type_count(module, x), type_count(module, type)))
    return node_fail(node, "x of shape %s has %s elements, %s has %s", operand_text(node, 0),
                     dim_text(module, type_count(module, x)), type_text(module, type),
                     dim_text(module, type_count(module, type)));
  result_set(node, 0, type);
  int known;
  known_set(node, value_known(operand(node, 0), &known));
  return true;
}

static Value *reshape_simplify(Node *node) {
  Value *x = operand(node, 0);
  const Type *type = result(node, 0)->type;
  if (x->type == type) return x;
  Builder builder = builder_before(node);
  if (value_data(x) && type_is_static(type)) return build_const(&builder, type, value_data(x), NULL);
  Node *inner = operand_def(node, 0, &op_reshape);
  return inner ? build_reshape(&builder, operand(inner, 0), type->rank, type->dims) : NULL;
}

/* Axes of size 1 between two groups pair up in order. */
static void link_ones(const Type *x, const Type *y, AxisLink *links) {
  for (int i = 0, j = 0; i < x->rank; i++) {
    if (links[i].role != AXIS_OPAQUE) {
      j = links[i].axis + 1;
      continue;
    }
    if (dim_is(x->dims[i], 1) && j < y->rank && dim_is(y->dims[j], 1)) links[i] = axis_link(AXIS_SAME, j++);
  }
}

static void reshape_axes(const Node *node, int index, AxisLink *links) {
  Group groups[MAX_RANK];
  axes_opaque(node, index, links);
  int count = match_groups(node, groups);
  for (int g = 0; g < count; g++) {
    const Group *group = &groups[g];
    if (group->from_count != 1 && group->to_count != 1) continue;
    if (group->from_count == 0 || group->to_count == 0) continue;
    AxisRole role = group->to_count > 1 ? AXIS_SPLIT : group->from_count > 1 ? AXIS_MERGE : AXIS_SAME;
    for (int i = 0; i < group->from_count; i++) links[group->from[i]] = axis_link(role, group->to[0]);
  }
  link_ones(operand(node, 0)->type, result(node, 0)->type, links);
}

/* The number of the element among those of the group. */
static Index group_position(Lower *lower, const Group *group, const Type *y, const Index *at) {
  Index position = group->to_count ? at[group->to[0]] : index_const(lower, 0);
  for (int i = 1; i < group->to_count; i++)
    position = index_add(lower, index_mul_dim(lower, position, y->dims[group->to[i]]), at[group->to[i]]);
  return position;
}

static Reg *reshape_element(Lower *lower, const Node *node, int which, const Index *at) {
  const Type *x = operand(node, 0)->type;
  Group groups[MAX_RANK];
  Index from[MAX_RANK];
  int count = match_groups(node, groups);
  for (int i = 0; i < x->rank; i++) from[i] = index_const(lower, 0);
  for (int g = 0; g < count; g++) {
    const Group *group = &groups[g];
    Index position = group_position(lower, group, result(node, which)->type, at);
    for (int i = group->from_count - 1; i > 0; i--) {
      from[group->from[i]] = index_mod(lower, position, x->dims[group->from[i]]);
      position = index_div(lower, position, x->dims[group->from[i]]);
    }
    if (group->from_count) from[group->from[0]] = position;
  }
  return lower_operand(lower, node, 0, from);
}

const Op op_reshape = {
    .name = "reshape",
    .family = "movement",
    .doc = "The same elements in row-major order under another shape.",
    .operands = operands_x,
    .operand_count = 1,
    .results = results_y,
    .result_count = 1,
    .attrs = reshape_attrs,
    .attr_count = COUNT_OF(reshape_attrs),
    .traits = TRAIT_VIEW | TRAIT_CHEAP,
    .infer = reshape_infer,
    .simplify = reshape_simplify,
    .axes = reshape_axes,
    .element = reshape_element,
};

/* ---- transpose ---- */

/* Moving equal elements changes nothing: a constant with one element for all, or NULL. */
static Value *splat_result(Node *node) {
  const Type *type = result(node, 0)->type;
  double value;
  if (!value_scalar(operand(node, 0), &value) || type_static_count(type) < 1) return NULL;
  if (dtype_bits(type->dtype) < 8) return NULL;
  Data *splat = data_splat(node_module(node), type->dtype, type_static_count(type), 0);
  memcpy(data_bytes(splat), value_data(operand(node, 0))->bytes, splat->size); /* exact for any integer */
  Builder builder = builder_before(node);
  return build_const(&builder, type, splat, NULL);
}

static const AttrSpec transpose_attrs[] = {
    {"perm", ATTR_INTS, ROLE_NONE, NULL, "which axis of x each axis of the result is", NULL}};

static bool transpose_infer(Node *node) {
  const Type *x = operand(node, 0)->type;
  int count;
  const int64_t *perm = node_ints(node, "perm", &count);
  const Dim *dims[MAX_RANK];
  bool seen[MAX_RANK];
  TRY(check_count(node, "perm", count, x->rank) && check_axes(node, "perm", x->rank, seen));
  for (int i = 0; i < count; i++) {
    if (perm[i] < 0)
      return node_fail(node, "perm[%d] is %lld; it must not be negative", i, (long long)perm[i]);
    dims[i] = x->dims[perm[i]];
  }
  result_set(node, 0, type_make(node_module(node), x->dtype, count, dims));
  int64_t strides[MAX_RANK], moved[MAX_RANK];
  if (!row_major_strides(x, strides)) return true;
  for (int i = 0; i < count; i++) moved[i] = strides[perm[i]];
  known_strided(node, 0, moved);
  return true;
}

/* Whether the axes that have more than one element keep their order: then nothing moves in memory. */
static bool keeps_order(const Type *x, const int64_t *perm) {
  int64_t last = -1;
  for (int i = 0; i < x->rank; i++) {
    if (dim_is(x->dims[perm[i]], 1)) continue;
    if (perm[i] < last) return false;
    last = perm[i];
  }
  return true;
}

static Value *transpose_simplify(Node *node) {
  Value *x = operand(node, 0);
  const Type *type = result(node, 0)->type;
  int count;
  const int64_t *perm = node_ints(node, "perm", &count);
  bool identity = true;
  for (int i = 0; i < count; i++) identity &= perm[i] == i;
  if (identity) return x;
  Builder builder = builder_before(node);
  if (keeps_order(x->type, perm)) return build_reshape(&builder, x, type->rank, type->dims);
  Value *splat = splat_result(node);
  if (splat) return splat;
  Node *inner = operand_def(node, 0, &op_transpose);
  if (!inner) return NULL;
  const int64_t *first = node_ints(inner, "perm", &count);
  int64_t both[MAX_RANK];
  for (int i = 0; i < count; i++) both[i] = first[perm[i]];
  return build_transpose(&builder, operand(inner, 0), both);
}

static void transpose_axes(const Node *node, int index, AxisLink *links) {
  (void)index;
  int count;
  const int64_t *perm = node_ints(node, "perm", &count);
  for (int i = 0; i < count; i++) links[perm[i]] = axis_link(AXIS_SAME, i);
}

static Reg *transpose_element(Lower *lower, const Node *node, int which, const Index *at) {
  (void)which;
  int count;
  const int64_t *perm = node_ints(node, "perm", &count);
  Index from[MAX_RANK];
  for (int i = 0; i < count; i++) from[perm[i]] = at[i];
  return lower_operand(lower, node, 0, from);
}

const Op op_transpose = {
    .name = "transpose",
    .family = "movement",
    .doc = "Axes in another order: axis i of the result is axis perm[i] of x.",
    .operands = operands_x,
    .operand_count = 1,
    .results = results_y,
    .result_count = 1,
    .attrs = transpose_attrs,
    .attr_count = COUNT_OF(transpose_attrs),
    .traits = TRAIT_CHEAP,
    .infer = transpose_infer,
    .simplify = transpose_simplify,
    .axes = transpose_axes,
    .element = transpose_element,
};

/* ---- broadcast ---- */

static const AttrSpec broadcast_attrs[] = {
    {"shape", ATTR_DIMS, ROLE_SIZES, NULL, "sizes of the result", NULL}};

static bool broadcast_infer(Node *node) {
  Module *module = node_module(node);
  const Type *x = operand(node, 0)->type;
  int count;
  const Dim *const *shape = node_dims(node, "shape", &count);
  TRY(check_sizes(node, "shape", shape, count));
  const Type *type = type_make(module, x->dtype, count, shape);
  if (!spreads_to(node, x, type))
    return node_fail(node, "x of shape %s does not broadcast to %s", operand_text(node, 0),
                     type_text(module, type));
  result_set(node, 0, type);
  known_elementwise(node, known_same);
  return true;
}

static Value *broadcast_simplify(Node *node) {
  Value *x = operand(node, 0);
  const Type *type = result(node, 0)->type;
  if (x->type == type) return x;
  Value *splat = splat_result(node);
  if (splat) return splat;
  Node *inner = operand_def(node, 0, &op_broadcast);
  return inner ? rebuild(node, (Value *[]){operand(inner, 0)}, 1) : NULL;
}

static Reg *broadcast_element(Lower *lower, const Node *node, int which, const Index *at) {
  (void)which;
  return lower_broadcast(lower, node, 0, at);
}

const Op op_broadcast = {
    .name = "broadcast",
    .family = "movement",
    .doc = "x repeated along axes of size 1 and new leading axes, as numpy's broadcast_to.",
    .operands = operands_x,
    .operand_count = 1,
    .results = results_y,
    .result_count = 1,
    .attrs = broadcast_attrs,
    .attr_count = COUNT_OF(broadcast_attrs),
    .traits = TRAIT_BROADCAST | TRAIT_CHEAP,
    .infer = broadcast_infer,
    .simplify = broadcast_simplify,
    .element = broadcast_element,
};

/* ---- tile ---- */

static const AttrSpec tile_attrs[] = {
    {"repeats", ATTR_DIMS, ROLE_PER_AXIS, NULL, "how often x stands behind itself, for every axis", NULL}};

static bool tile_infer(Node *node) {
  const Type *x = operand(node, 0)->type;
  int count;
  const Dim *const *repeats = node_dims(node, "repeats", &count);
  const Dim *dims[MAX_RANK];
  TRY(check_count(node, "repeats", count, x->rank) && check_sizes(node, "repeats", repeats, count));
  for (int i = 0; i < count; i++) dims[i] = dim_mul(node_module(node), x->dims[i], repeats[i]);
  result_set(node, 0, type_make(node_module(node), x->dtype, count, dims));
  return true;
}

/* Only axes of size 1 repeat: a broadcast. */
static Value *tile_simplify(Node *node) {
  const Type *x = operand(node, 0)->type, *type = result(node, 0)->type;
  if (x == type) return operand(node, 0);
  for (int i = 0; i < x->rank; i++)
    if (x->dims[i] != type->dims[i] && !dim_is(x->dims[i], 1)) return NULL;
  Builder builder = builder_before(node);
  Node *broadcast = node_new(&builder, &op_broadcast, (Value *[]){operand(node, 0)}, 1);
  node_set_dims(broadcast, "shape", type->dims, type->rank);
  return node_finish(broadcast) ? result(broadcast, 0) : NULL;
}

static void tile_axes(const Node *node, int index, AxisLink *links) {
  (void)index;
  const Type *x = operand(node, 0)->type, *y = result(node, 0)->type;
  for (int i = 0; i < x->rank; i++) {
    links[i] = axis_link(x->dims[i] == y->dims[i] ? AXIS_SAME : AXIS_REPEAT, i);
  }
}

static Reg *tile_element(Lower *lower, const Node *node, int which, const Index *at) {
  const Type *x = operand(node, 0)->type, *y = result(node, which)->type;
  Index from[MAX_RANK];
  for (int i = 0; i < x->rank; i++)
    from[i] = x->dims[i] == y->dims[i] ? at[i] : index_mod(lower, at[i], x->dims[i]);
  return lower_operand(lower, node, 0, from);
}

const Op op_tile = {
    .name = "tile",
    .family = "movement",
    .doc = "x repeated whole along every axis: y[i] = x[i mod size], as numpy's tile.",
    .operands = operands_x,
    .operand_count = 1,
    .results = results_y,
    .result_count = 1,
    .attrs = tile_attrs,
    .attr_count = COUNT_OF(tile_attrs),
    .infer = tile_infer,
    .simplify = tile_simplify,
    .axes = tile_axes,
    .element = tile_element,
};

/* ---- shape ---- */

static bool shape_infer(Node *node) {
  const Type *x = operand(node, 0)->type;
  result_set(node, 0, type_static(node_module(node), DTYPE_I64, 1, (int64_t[]){x->rank}));
  known_set(node, x->dims);
  return true;
}

static Value *shape_simplify(Node *node) {
  Builder builder = builder_before(node);
  return build_known(&builder, result(node, 0));
}

static Reg *shape_element(Lower *lower, const Node *node, int which, const Index *at) {
  (void)which;
  Loops *loops = &lower->loops;
  const Type *x = operand(node, 0)->type;
  Reg *position = index_reg(lower, at[0]), *size = loop_int(loops, 0);
  for (int i = 0; i < x->rank; i++) {
    Reg *here = loop_binary(loops, LOOP_EQ, position, loop_int(loops, i));
    size = loop_select(loops, here, loop_dim(loops, x->dims[i]), size);
  }
  return size;
}

const Op op_shape = {
    .name = "shape",
    .family = "movement",
    .doc = "The sizes of x's axes as i64[rank]; usually understood as known values and never executed.",
    .operands = operands_x,
    .operand_count = 1,
    .results = results_y,
    .result_count = 1,
    .infer = shape_infer,
    .simplify = shape_simplify,
    .axes = axes_opaque,
    .element = shape_element,
};
