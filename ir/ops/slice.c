/*
 * slice.c -- parts and wholes: slice, concat and pad. All are index shifts; what differs is which positions
 * exist.
 *
 * concat and pad read an operand only where the position falls into it: a branch where the position is the
 * same in all lanes, a mask along the lanes, so that runs of lanes stay contiguous in both cases.
 */
#include "ir/ops/ops.h"

#include <string.h>

static const char *const results_y[] = {"y"};

/* ---- slice ---- */

static const OperandSpec slice_operands[] = {{"x", false, "any shape and dtype"}};

static const AttrSpec slice_attrs[] = {
    {"starts", ATTR_DIMS, ROLE_STARTS, NULL, "first position, for every axis", NULL},
    {"sizes", ATTR_DIMS, ROLE_SIZES, NULL, "how many are taken", NULL},
    {"steps", ATTR_INTS, ROLE_PER_AXIS, "[]", "distance between them, may be negative; [] means 1 everywhere",
     NULL}};

static int64_t slice_step(const Node *node, int axis) {
  int count;
  const int64_t *steps = node_ints(node, "steps", &count);
  return count ? steps[axis] : 1;
}

/* First and last position lie inside, as far as they are numbers. */
static bool check_range(const Node *node, int axis, const Dim *start, const Dim *size) {
  const Dim *whole = operand(node, 0)->type->dims[axis];
  int64_t step = slice_step(node, axis), last, way;
  if (step == 0) return node_fail(node, "steps[%d] is 0", axis);
  if (!dim_is_const(start) || !dim_is_const(size) || size->value == 0) return true;
  bool fits = start->value >= 0 && !__builtin_mul_overflow(size->value - 1, step, &way) &&
              !__builtin_add_overflow(start->value, way, &last) && last >= 0;
  if (fits && dim_is_const(whole)) fits = start->value < whole->value && last < whole->value;
  if (fits) return true;
  return node_fail(node, "axis %d: %lld elements from %lld in steps of %lld leave x of shape %s", axis,
                   (long long)size->value, (long long)start->value, (long long)step, operand_text(node, 0));
}

static void slice_known(Node *node) {
  int count;
  const Dim *const *starts = node_dims(node, "starts", &count);
  int64_t offset = 0, strides[MAX_RANK];
  if (!row_major_strides(operand(node, 0)->type, strides)) return;
  for (int axis = 0; axis < count; axis++) {
    if (!dim_is_const(starts[axis])) return;
    offset += starts[axis]->value * strides[axis];
    strides[axis] *= slice_step(node, axis);
  }
  known_strided(node, offset, strides);
}

static bool slice_infer(Node *node) {
  const Type *x = operand(node, 0)->type;
  int count, size_count, step_count;
  const Dim *const *starts = node_dims(node, "starts", &count);
  const Dim *const *sizes = node_dims(node, "sizes", &size_count);
  node_ints(node, "steps", &step_count);
  TRY(check_count(node, "starts", count, x->rank) && check_count(node, "sizes", size_count, x->rank));
  TRY(step_count == 0 || check_count(node, "steps", step_count, x->rank));
  TRY(check_sizes(node, "sizes", sizes, size_count));
  for (int i = 0; i < x->rank; i++) TRY(check_range(node, i, starts[i], sizes[i]));
  result_set(node, 0, type_make(node_module(node), x->dtype, x->rank, sizes));
  slice_known(node);
  return true;
}

static bool axis_is_whole(const Node *node, int axis) {
  int count;
  return operand(node, 0)->type->dims[axis] == result(node, 0)->type->dims[axis] &&
         slice_step(node, axis) == 1 && dim_is(node_dims(node, "starts", &count)[axis], 0);
}

static Value *build_slice(Node *node, Value *x, const Dim *const *starts, const int64_t *steps) {
  Builder builder = builder_before(node);
  int rank = x->type->rank;
  Node *slice = node_new(&builder, &op_slice, (Value *[]){x}, 1);
  node_set_dims(slice, "starts", starts, rank);
  node_set_dims(slice, "sizes", result(node, 0)->type->dims, rank);
  bool ones = true;
  for (int i = 0; i < rank; i++) ones &= steps[i] == 1;
  if (!ones) node_set_ints(slice, "steps", steps, rank);
  return node_finish(slice) ? value_if_typed(node, result(slice, 0)) : NULL;
}

/* A slice of a slice is a slice. */
static Value *slice_of_slice(Node *node, const Node *inner) {
  Module *module = node_module(node);
  const Dim *starts[MAX_RANK];
  int64_t steps[MAX_RANK];
  int count;
  for (int i = 0; i < operand(node, 0)->type->rank; i++) {
    const Dim *start = node_dims(node, "starts", &count)[i], *first = node_dims(inner, "starts", &count)[i];
    int64_t step = slice_step(inner, i);
    if (__builtin_mul_overflow(step, slice_step(node, i), &steps[i])) return NULL;
    starts[i] = dim_add(module, first, dim_mul(module, start, dim_const(module, step)));
  }
  return build_slice(node, operand(inner, 0), starts, steps);
}

/* A slice that lies in one piece of a concat is a slice of that piece. */
static Value *slice_of_concat(Node *node, const Node *concat) {
  Module *module = node_module(node);
  int axis = (int)node_axis(concat, "axis", operand(node, 0)->type->rank), count;
  const Dim *starts[MAX_RANK];
  int64_t steps[MAX_RANK], begin = 0;
  for (int i = 0; i < operand(node, 0)->type->rank; i++) {
    starts[i] = node_dims(node, "starts", &count)[i];
    steps[i] = slice_step(node, i);
  }
  const Dim *size = result(node, 0)->type->dims[axis];
  if (!dim_is_const(starts[axis]) || !dim_is_const(size) || size->value < 1 || steps[axis] != 1) return NULL;
  for (int i = 0; i < concat->operand_count; i++) {
    const Dim *piece = operand(concat, i)->type->dims[axis];
    if (!dim_is_const(piece)) return NULL;
    int64_t start = starts[axis]->value - begin;
    if (start >= 0 && start < piece->value) {
      if (start + size->value > piece->value) return NULL;
      starts[axis] = dim_const(module, start);
      return build_slice(node, operand(concat, i), starts, steps);
    }
    begin += piece->value;
  }
  return NULL;
}

/* A run of positions. */
static Value *slice_of_iota(Node *node, const Node *iota) {
  const Type *type = result(node, 0)->type;
  int count, axis = (int)node_axis(iota, "axis", type->rank);
  if (slice_step(node, axis) != 1) return NULL;
  return iota_shifted(iota, node, node_dims(node, "starts", &count)[axis], type->dims, type->rank);
}

static Value *slice_simplify(Node *node) {
  bool whole = true;
  for (int i = 0; i < operand(node, 0)->type->rank; i++) whole &= axis_is_whole(node, i);
  if (whole) return operand(node, 0);
  Node *slice = operand_def(node, 0, &op_slice), *concat = operand_def(node, 0, &op_concat);
  const Node *iota = operand_def(node, 0, &op_iota);
  if (slice) return slice_of_slice(node, slice);
  if (iota) return slice_of_iota(node, iota);
  return concat ? slice_of_concat(node, concat) : NULL;
}

static void slice_axes(const Node *node, int index, AxisLink *links) {
  int count;
  const Dim *const *starts = node_dims(node, "starts", &count);
  for (int i = 0; i < operand(node, index)->type->rank; i++) {
    bool run = slice_step(node, i) == 1 && dim_is_const(starts[i]);
    links[i] = axis_link(axis_is_whole(node, i) ? AXIS_SAME : run ? AXIS_SHIFT : AXIS_WINDOW, i);
    if (run) links[i].start = -starts[i]->value;
  }
}

static Reg *slice_element(Lower *lower, const Node *node, int which, const Index *at) {
  (void)which;
  Index from[MAX_RANK];
  int count;
  const Dim *const *starts = node_dims(node, "starts", &count);
  for (int i = 0; i < count; i++) {
    from[i] = index_mul_const(lower, at[i], slice_step(node, i));
    if (!dim_is(starts[i], 0))
      from[i] = index_add(lower, from[i], index_of(loop_dim(&lower->loops, starts[i])));
  }
  return lower_operand(lower, node, 0, from);
}

const Op op_slice = {
    .name = "slice",
    .family = "slice",
    .doc = "A regular part of x: y[i] = x[starts + i*steps], which must lie inside x.",
    .operands = slice_operands,
    .operand_count = 1,
    .results = results_y,
    .result_count = 1,
    .attrs = slice_attrs,
    .attr_count = COUNT_OF(slice_attrs),
    .traits = TRAIT_CHEAP,
    .infer = slice_infer,
    .simplify = slice_simplify,
    .axes = slice_axes,
    .element = slice_element,
};

/* ---- concat ---- */

static const OperandSpec concat_operands[] = {
    {"xs", false, "equal dtypes, and equal sizes except along the axis"}};
static const AttrSpec concat_attrs[] = {{"axis", ATTR_INT, ROLE_AXIS, NULL, "along which they stand", NULL}};

static void concat_known(Node *node) {
  const Dim *elements[MAX_KNOWN];
  int count = 0;
  if (result(node, 0)->type->rank != 1) return;
  for (int i = 0, n; i < node->operand_count; i++) {
    const Dim *const *known = value_known(operand(node, i), &n);
    if (!known || count + n > MAX_KNOWN) return;
    for (int j = 0; j < n; j++) elements[count++] = known[j];
  }
  if (count == type_static_count(result(node, 0)->type)) known_set(node, elements);
}

static bool concat_infer(Node *node) {
  const Type *first = operand(node, 0)->type;
  const Dim *dims[MAX_RANK];
  int axis;
  TRY(check_axis(node, "axis", first->rank, &axis));
  memcpy(dims, first->dims, sizeof *dims * (size_t)first->rank);
  for (int i = 1; i < node->operand_count; i++) {
    const Type *x = operand(node, i)->type;
    TRY(check_same_dtype(node, 0, i) && check_rank(node, i, first->rank));
    for (int a = 0; a < x->rank; a++) {
      if (a != axis && dims_clash(x->dims[a], dims[a]))
        return node_fail(node, "operand %d is %s, the first is %s; axis %d must have equal sizes", i,
                         operand_text(node, i), operand_text(node, 0), a);
      if (a != axis && dim_is_const(x->dims[a])) dims[a] = x->dims[a];
    }
    dims[axis] = dim_add(node_module(node), dims[axis], x->dims[axis]);
  }
  result_set(node, 0, type_make(node_module(node), first->dtype, first->rank, dims));
  concat_known(node);
  return true;
}

/* One slice for two that lie side by side along the axis; NULL when they do not. */
static Value *join_slices(Node *node, const Value *a, const Value *b, int axis) {
  if (!node_is(a->def, &op_slice) || !node_is(b->def, &op_slice) || operand(a->def, 0) != operand(b->def, 0))
    return NULL;
  Module *module = node_module(node);
  Value *x = operand(a->def, 0);
  int rank = x->type->rank, count;
  const Dim *sizes[MAX_RANK];
  const Dim *const *first = node_dims(a->def, "starts", &count), *const *second =
                                                                     node_dims(b->def, "starts", &count);
  for (int i = 0; i < rank; i++) {
    if (slice_step(a->def, i) != 1 || slice_step(b->def, i) != 1) return NULL;
    sizes[i] = a->type->dims[i];
    if (i == axis ? dim_add(module, first[i], sizes[i]) != second[i]
                  : first[i] != second[i] || sizes[i] != b->type->dims[i])
      return NULL;
  }
  sizes[axis] = dim_add(module, sizes[axis], b->type->dims[axis]);
  Builder builder = builder_before(node);
  Node *slice = node_new(&builder, &op_slice, &x, 1);
  node_set_dims(slice, "starts", first, rank);
  node_set_dims(slice, "sizes", sizes, rank);
  return node_finish(slice) ? result(slice, 0) : NULL;
}

/* Pieces without elements fall out, pieces that are concats along the same axis give theirs, and neighbouring
 * slices of one value become one. */
static Value *concat_simplify(Node *node) {
  enum { MAX_PIECES = 256 };
  int rank = result(node, 0)->type->rank, count = 0;
  int64_t axis = node_axis(node, "axis", rank);
  Value *pieces[MAX_PIECES];
  bool changed = false;
  for (int i = 0; i < node->operand_count; i++) {
    Value *x = operand(node, i);
    Node *inner = operand_def(node, i, &op_concat);
    bool same = inner && node_axis(inner, "axis", rank) == axis && value_has_one_use(x);
    bool empty = dim_is(x->type->dims[axis], 0) && node->operand_count > 1;
    int more = empty ? 0 : same ? inner->operand_count : 1;
    if (count + more > MAX_PIECES) return NULL;
    Value *joined = count > 0 && more == 1 ? join_slices(node, pieces[count - 1], x, (int)axis) : NULL;
    if (joined) pieces[--count] = x = joined;
    for (int j = 0; j < more; j++) pieces[count++] = same && !joined ? operand(inner, j) : x;
    changed |= empty || same || joined;
  }
  if (count == 1) return value_if_typed(node, pieces[0]);
  return changed && count > 0 ? rebuild(node, pieces, count) : NULL;
}

static void concat_axes(const Node *node, int index, AxisLink *links) {
  int axis = (int)node_axis(node, "axis", result(node, 0)->type->rank);
  const Dim *start = dim_const(node_module(node), 0);
  axes_same(node, index, links);
  for (int i = 0; i < index; i++)
    start = dim_add(node_module(node), start, operand(node, i)->type->dims[axis]);
  links[axis].role = dim_is_const(start) ? AXIS_SHIFT : AXIS_WINDOW;
  links[axis].start = start->value;
}

/* What the pieces of a concat need while one element is read. */
typedef struct Pieces {
  const Node *node;
  int axis;
  const Index *at;
  const Dim **begins; /* of every piece, and the end of the last */
} Pieces;

static Reg *read_piece(Lower *lower, const Pieces *pieces, int piece) {
  Index from[MAX_RANK];
  memcpy(from, pieces->at, sizeof *from * (size_t)result(pieces->node, 0)->type->rank);
  if (!dim_is(pieces->begins[piece], 0))
    from[pieces->axis] =
        index_sub(lower, from[pieces->axis], index_of(loop_dim(&lower->loops, pieces->begins[piece])));
  return lower_operand(lower, pieces->node, piece, from);
}

/* The position is the same in all lanes: halve the pieces by branches. */
static Reg *search_pieces(Lower *lower, const Pieces *pieces, int first, int last) {
  if (first == last) return read_piece(lower, pieces, first);
  Loops *loops = &lower->loops;
  int middle = first + (last - first) / 2;
  LoopType type = {operand(pieces->node, 0)->type->dtype, lower->lanes};
  Reg *left = index_inside(lower, pieces->at[pieces->axis], NULL, pieces->begins[middle + 1]);
  If branch = loop_if(loops, left, 1, &type);
  Reg *value = loop_splat(loops, search_pieces(lower, pieces, first, middle), type.lanes);
  loop_else(loops, &branch, &value);
  value = loop_splat(loops, search_pieces(lower, pieces, middle + 1, last), type.lanes);
  loop_end_if(loops, &branch, &value);
  return branch.results[0];
}

/* The lanes run along the axis: each piece is read under the mask of the lanes that fall into it. */
static Reg *blend_pieces(Lower *lower, const Pieces *pieces) {
  Loops *loops = &lower->loops;
  Reg *outer = lower->mask, *value = NULL;
  for (int i = 0; i < pieces->node->operand_count; i++) {
    Reg *mask = index_inside(lower, pieces->at[pieces->axis], pieces->begins[i], pieces->begins[i + 1]);
    lower->mask = outer ? loop_binary(loops, LOOP_AND, outer, mask) : mask;
    Reg *piece = read_piece(lower, pieces, i);
    lower->mask = outer;
    value = value ? loop_select(loops, mask, piece, value) : piece;
  }
  return value;
}

static Reg *concat_element(Lower *lower, const Node *node, int which, const Index *at) {
  (void)which;
  int axis = (int)node_axis(node, "axis", result(node, 0)->type->rank);
  const Dim **begins = NEW_ARRAY(lower->module->arena, const Dim *, node->operand_count + 1);
  begins[0] = dim_const(lower->module, 0);
  for (int i = 0; i < node->operand_count; i++)
    begins[i + 1] = dim_add(lower->module, begins[i], operand(node, i)->type->dims[axis]);
  Pieces pieces = {node, axis, at, begins};
  if (index_is_uniform(&at[axis], 1)) return search_pieces(lower, &pieces, 0, node->operand_count - 1);
  return blend_pieces(lower, &pieces);
}

const Op op_concat = {
    .name = "concat",
    .family = "slice",
    .doc = "The operands one behind the other along an axis.",
    .operands = concat_operands,
    .operand_count = COUNT_OF(concat_operands),
    .results = results_y,
    .result_count = 1,
    .attrs = concat_attrs,
    .attr_count = COUNT_OF(concat_attrs),
    .traits = TRAIT_VARIADIC,
    .infer = concat_infer,
    .simplify = concat_simplify,
    .axes = concat_axes,
    .element = concat_element,
};

/* ---- pad ---- */

static const OperandSpec pad_operands[] = {{"x", false, "any shape and dtype"},
                                           {"value", true, "one element for mode=constant; absent: 0"}};

static const AttrSpec pad_attrs[] = {
    {"pads", ATTR_DIMS, ROLE_PADS, NULL,
     "how many are added before every axis, then how many after every axis; negative ones take away", NULL},
    {"mode", ATTR_STRING, ROLE_NONE, "constant",
     "what is added: the value; the neighbours mirrored at the edge element; the edge element; the other end",
     "constant|reflect|edge|wrap"}};

static bool pad_infer(Node *node) {
  Module *module = node_module(node);
  const Type *x = operand(node, 0)->type;
  const Dim *dims[MAX_RANK];
  int count;
  const Dim *const *pads = node_dims(node, "pads", &count);
  TRY(check_count(node, "pads", count, 2 * x->rank) && check_same_dtype(node, 0, 1));
  if (operand(node, 1) && type_static_count(operand(node, 1)->type) != 1)
    return node_fail(node, "value is %s; it must have one element", operand_text(node, 1));
  bool constant = node_string_is(node, "mode", "constant");
  for (int i = 0; i < x->rank; i++) {
    dims[i] = dim_add(module, dim_add(module, pads[i], x->dims[i]), pads[i + x->rank]);
    if (dim_is_const(dims[i]) && dims[i]->value < 0)
      return node_fail(node, "axis %d of size %s has nothing left after pads of %s and %s", i,
                       dim_text(module, x->dims[i]), dim_text(module, pads[i]),
                       dim_text(module, pads[i + x->rank]));
    if (!constant && dim_is(x->dims[i], 0) && !dim_is(dims[i], 0))
      return node_fail(node, "axis %d is empty and has nothing to pad with", i);
  }
  result_set(node, 0, type_make(module, x->dtype, x->rank, dims));
  return true;
}

static bool is_padded(const Node *node, int axis) {
  int count;
  const Dim *const *pads = node_dims(node, "pads", &count);
  return !dim_is(pads[axis], 0) || !dim_is(pads[axis + count / 2], 0);
}

static Value *pad_simplify(Node *node) {
  bool padded = false;
  for (int i = 0; i < operand(node, 0)->type->rank; i++) padded |= is_padded(node, i);
  return padded ? NULL : operand(node, 0);
}

static void pad_axes(const Node *node, int index, AxisLink *links) {
  int count;
  const Dim *const *pads = node_dims(node, "pads", &count);
  bool constant = node_string_is(node, "mode", "constant");
  axes_opaque(node, index, links);
  for (int i = 0; index == 0 && i < operand(node, 0)->type->rank; i++) {
    bool shifts = constant && dim_is_const(pads[i]) && dim_is_const(pads[i + count / 2]);
    links[i] = axis_link(!is_padded(node, i) ? AXIS_SAME : shifts ? AXIS_SHIFT : AXIS_WINDOW, i);
    if (shifts) links[i].start = pads[i]->value;
  }
}

/* Mirrored at 0 and at size-1 again and again: a walk to and fro of period 2*size - 2. */
static Index reflect(Lower *lower, Index at, const Dim *size) {
  Module *module = lower->module;
  const Dim *one = dim_const(module, 1);
  const Dim *twice = dim_mul(module, dim_const(module, 2), dim_sub(module, size, one));
  const Dim *period = dim_make(module, DIM_MAX, twice, one);
  Index way = index_mod(lower, at, period);
  Index back = index_sub(lower, index_of(loop_dim(&lower->loops, period)), way);
  return index_clamp(lower, way, index_const(lower, 0), back);
}

static Index pad_position(Lower *lower, const Node *node, Index at, const Dim *size) {
  if (node_string_is(node, "mode", "reflect")) return reflect(lower, at, size);
  if (node_string_is(node, "mode", "wrap")) return index_mod(lower, at, size);
  if (node_string_is(node, "mode", "constant")) return at;
  Loops *loops = &lower->loops;
  Reg *last = loop_binary(loops, LOOP_SUB, loop_dim(loops, size), loop_int(loops, 1));
  return index_clamp(lower, at, index_const(lower, 0), index_of(last));
}

/* Whether positions below 0 or from the end of x on can occur: a pad that is no number may be anything. */
static bool may_add(const Dim *pad) {
  return !dim_is_const(pad) || pad->value > 0;
}

static Reg *pad_value(Lower *lower, const Node *node) {
  if (!operand(node, 1))
    return loop_const_int(&lower->loops, (LoopType){operand(node, 0)->type->dtype, 1}, 0);
  Index only[MAX_RANK];
  for (int i = 0; i < MAX_RANK; i++) only[i] = index_const(lower, 0);
  return lower_operand(lower, node, 1, only);
}

static Reg *pad_element(Lower *lower, const Node *node, int which, const Index *at) {
  (void)which;
  const Type *x = operand(node, 0)->type;
  int count, condition_count = 0;
  const Dim *const *pads = node_dims(node, "pads", &count);
  Index from[MAX_RANK];
  Reg *conditions[MAX_RANK];
  bool constant = node_string_is(node, "mode", "constant");
  for (int i = 0; i < x->rank; i++) {
    from[i] = at[i];
    if (!is_padded(node, i)) continue;
    if (!dim_is(pads[i], 0)) from[i] = index_sub(lower, at[i], index_of(loop_dim(&lower->loops, pads[i])));
    from[i] = pad_position(lower, node, from[i], x->dims[i]);
    const Dim *low = constant && may_add(pads[i]) ? dim_const(lower->module, 0) : NULL;
    const Dim *high = constant && may_add(pads[i + x->rank]) ? x->dims[i] : NULL;
    Reg *condition = low || high ? index_inside(lower, from[i], low, high) : NULL;
    if (condition) conditions[condition_count++] = condition;
  }
  if (condition_count == 0) return lower_operand(lower, node, 0, from);
  return read_where(lower, node, 0, from, conditions, condition_count, pad_value(lower, node));
}

const Op op_pad = {
    .name = "pad",
    .family = "slice",
    .doc = "x with more elements before and after its axes: a value, or elements of x as numpy's pad takes "
           "them.",
    .operands = pad_operands,
    .operand_count = COUNT_OF(pad_operands),
    .results = results_y,
    .result_count = 1,
    .attrs = pad_attrs,
    .attr_count = COUNT_OF(pad_attrs),
    .infer = pad_infer,
    .simplify = pad_simplify,
    .axes = pad_axes,
    .element = pad_element,
};
