/*
 * movement.c -- ONNX operators that move elements: reshape, slice, concat, pad, gather and their kin.
 *
 * What ONNX gives as small tensors (a new shape, starts, pads) describes the operator and becomes attributes;
 * with symbolic shapes these are expressions over the inputs' dims.
 */
#include "frontend/onnx/onnx.h"

#include <string.h>

/* ---- Another shape, the same elements in order */

static bool reshape_to(OnnxNode *node, const Dim *const *shape, int count, bool allow_zero) {
  Value *x = input(node, 0);
  const Dim *dims[MAX_RANK];
  if (count > MAX_RANK)
    return onnx_fail(node, "a shape of %d dims, at most %d are supported", count, MAX_RANK);
  for (int i = 0; i < count; i++) {
    dims[i] = shape[i];
    if (!dim_is(shape[i], 0) || allow_zero) continue;
    if (i >= x->type->rank)
      return onnx_fail(node, "dim %d is to be copied from a tensor of rank %d", i, x->type->rank);
    dims[i] = x->type->dims[i];
  }
  return set_output(node, emit_reshape(node, x, count, dims));
}

/* ---- the shape is computed while the model runs */

/* 0 in the shape is the size of x's axis. */
static Value *copy_sizes(OnnxNode *node, Value *shape, int count) {
  const Type *x = input(node, 0)->type;
  const Dim *dims[MAX_RANK], *zero = dim_const(node->module, 0);
  for (int i = 0; i < count; i++) dims[i] = i < x->rank ? x->dims[i] : zero;
  Value *is_zero = emit_binary(node, &op_equal, shape, emit_scalar(node, shape, 0));
  return emit_where(node, is_zero, emit_ints(node, dims, count), shape);
}

/* -1 is what is left of x's elements. */
static Value *complete_sizes(OnnxNode *node, Value *shape) {
  const Dim *count = type_count(node->module, input(node, 0)->type);
  Value *one = emit_scalar(node, shape, 1);
  Value *is_open = emit_binary(node, &op_equal, shape, emit_scalar(node, shape, -1));
  Value *given = emit_where(node, is_open, one, shape);
  Value *product = emit_reduce(node, &op_reduce_prod, given, (int64_t[]){0}, 1);
  Value *rest =
      emit_binary(node, &op_div, emit_ints(node, &count, 1), emit_binary(node, &op_max, product, one));
  return emit_where(node, is_open, rest, shape);
}

static bool reshape_at_run_time(OnnxNode *node, Value *shape, bool allow_zero) {
  const Dim *const *dims;
  int count = (int)type_static_count(shape->type);
  if (shape->type->rank != 1)
    return onnx_fail(node, "the shape has %d dims, one is wanted", shape->type->rank);
  if (count < 0 || count > MAX_RANK)
    return onnx_fail(node, "the shape is %s: it must have a known number of elements, at most %d",
                     type_text(node->module, shape->type), MAX_RANK);
  shape = emit_cast(node, shape, DTYPE_I64);
  if (!allow_zero) shape = copy_sizes(node, shape, count);
  shape = complete_sizes(node, shape);
  return bind_sizes(node, shape, &dims, &count) &&
         set_output(node, emit_reshape(node, input(node, 0), count, dims));
}

static bool import_reshape(OnnxNode *node) {
  int count;
  bool allow_zero = attr_bool(node, "allowzero", false);
  const Dim *const *shape = value_known(input(node, 1), &count);
  if (!shape) return reshape_at_run_time(node, input(node, 1), allow_zero);
  return reshape_to(node, shape, count, allow_zero);
}

static const Dim *const *constant_dims(OnnxNode *node, const int64_t *values, int count) {
  const Dim **dims = NEW_ARRAY(node->module->arena, const Dim *, count);
  for (int i = 0; i < count; i++) dims[i] = dim_const(node->module, values[i]);
  return dims;
}

static bool import_reshape_legacy(OnnxNode *node) {
  int count;
  const int64_t *shape = attr_ints(node, "shape", &count);
  return reshape_to(node, constant_dims(node, shape, count), count, false);
}

static const Dim *product(OnnxNode *node, const Type *type, int begin, int end) {
  const Dim *all = dim_const(node->module, 1);
  for (int i = begin; i < end; i++) all = dim_mul(node->module, all, type->dims[i]);
  return all;
}

static bool import_flatten(OnnxNode *node) {
  Value *x = input(node, 0);
  int64_t axis = attr_int(node, "axis", 1);
  int rank = x->type->rank;
  if (axis != rank) TRY(normal_axis(node, &axis, rank));
  const Dim *dims[] = {product(node, x->type, 0, (int)axis), product(node, x->type, (int)axis, rank)};
  return set_output(node, emit_reshape(node, x, 2, dims));
}

/* Marks the axes of a tensor of that rank; false with an error when one is out of range or comes twice. */
static bool mark_axes(OnnxNode *node, const int64_t *axes, int count, int rank, bool *marks) {
  memset(marks, 0, MAX_RANK * sizeof *marks);
  for (int i = 0; i < count; i++) {
    int64_t axis = axes[i];
    TRY(normal_axis(node, &axis, rank));
    if (marks[axis]) return onnx_fail(node, "axis %lld comes twice", (long long)axis);
    marks[axis] = true;
  }
  return true;
}

static bool import_squeeze(OnnxNode *node) {
  const int64_t *axes;
  int count, rank = 0;
  bool marks[MAX_RANK];
  const Dim *dims[MAX_RANK];
  Value *x = input(node, 0);
  TRY(input_or_attr_ints(node, 1, "axes", &axes, &count));
  TRY(mark_axes(node, axes, count, x->type->rank, marks));
  for (int i = 0; i < x->type->rank; i++) {
    const Dim *dim = x->type->dims[i];
    if (marks[i] && dim_is_const(dim) && !dim_is(dim, 1))
      return onnx_fail(node, "axis %d has size %lld, not 1", i, (long long)dim->value);
    if (!marks[i] && (axes || !dim_is(dim, 1))) dims[rank++] = dim;
  }
  return set_output(node, emit_reshape(node, x, rank, dims));
}

static bool import_unsqueeze(OnnxNode *node) {
  const int64_t *axes;
  int count;
  bool marks[MAX_RANK];
  const Dim *dims[MAX_RANK];
  Value *x = input(node, 0);
  TRY(input_or_attr_ints(node, 1, "axes", &axes, &count));
  int rank = x->type->rank + count;
  if (rank > MAX_RANK)
    return onnx_fail(node, "a result of %d dims, at most %d are supported", rank, MAX_RANK);
  TRY(mark_axes(node, axes, count, rank, marks));
  for (int i = 0, from = 0; i < rank; i++)
    dims[i] = marks[i] ? dim_const(node->module, 1) : x->type->dims[from++];
  return set_output(node, emit_reshape(node, x, rank, dims));
}

static bool import_transpose(OnnxNode *node) {
  Value *x = input(node, 0);
  int count, rank = x->type->rank;
  bool marks[MAX_RANK];
  int64_t reversed[MAX_RANK];
  const int64_t *perm = attr_ints(node, "perm", &count);
  for (int i = 0; i < rank; i++) reversed[i] = rank - 1 - i;
  if (!perm) return set_output(node, emit_transpose(node, x, reversed));
  if (count != rank) return onnx_fail(node, "perm has %d entries for a tensor with %d dims", count, rank);
  TRY(mark_axes(node, perm, count, rank, marks));
  return set_output(node, emit_transpose(node, x, perm));
}

/* [N,C*b*b,H,W] to [N,C,H*b,W*b]; DCR keeps the block before the channel, CRD behind it. */
static bool import_depth_to_space(OnnxNode *node) {
  Value *x = input(node, 0);
  Module *module = node->module;
  int64_t block = attr_int(node, "blocksize", 0);
  bool is_crd = attr_string_is(node, "mode", "DCR", "CRD");
  if (x->type->rank != 4 || block < 1 || block > 1 << 15)
    return onnx_fail(node, "blocksize %lld on %s", (long long)block, type_text(module, x->type));
  const Dim *const *d = x->type->dims, *b = dim_const(module, block);
  const Dim *depth = dim_floordiv(module, d[1], dim_const(module, block * block));
  const Dim *const dcr[] = {d[0], b, b, depth, d[2], d[3]}, *const crd[] = {d[0], depth, b, b, d[2], d[3]};
  const Dim *const result[] = {d[0], depth, dim_mul(module, d[2], b), dim_mul(module, d[3], b)};
  static const int64_t dcr_perm[] = {0, 3, 4, 1, 5, 2}, crd_perm[] = {0, 1, 4, 2, 5, 3};
  Value *split = emit_reshape(node, x, 6, is_crd ? crd : dcr);
  return set_output(node,
                    emit_reshape(node, emit_transpose(node, split, is_crd ? crd_perm : dcr_perm), 4, result));
}

static bool import_space_to_depth(OnnxNode *node) {
  Value *x = input(node, 0);
  Module *module = node->module;
  int64_t block = attr_int(node, "blocksize", 0);
  if (x->type->rank != 4 || block < 1 || block > 1 << 15)
    return onnx_fail(node, "blocksize %lld on %s", (long long)block, type_text(module, x->type));
  const Dim *const *d = x->type->dims, *b = dim_const(module, block);
  const Dim *height = dim_floordiv(module, d[2], b), *width = dim_floordiv(module, d[3], b);
  const Dim *const parts[] = {d[0], d[1], height, b, width, b};
  const Dim *const result[] = {d[0], dim_mul(module, d[1], dim_const(module, block * block)), height, width};
  static const int64_t perm[] = {0, 3, 5, 1, 2, 4};
  return set_output(
      node, emit_reshape(node, emit_transpose(node, emit_reshape(node, x, 6, parts), perm), 4, result));
}

/* ---- Slices */

typedef struct SliceBounds {
  const Dim *starts[MAX_RANK], *sizes[MAX_RANK];
  int64_t steps[MAX_RANK];
} SliceBounds;

static void bounds_whole(OnnxNode *node, const Type *type, SliceBounds *bounds) {
  for (int i = 0; i < type->rank; i++) {
    bounds->starts[i] = dim_const(node->module, 0);
    bounds->sizes[i] = type->dims[i];
    bounds->steps[i] = 1;
  }
}

/* A position counted from either end, clamped to [low, high]; a symbolic one is taken as counted from the
 * front. */
static const Dim *clamp_position(Module *m, const Dim *at, const Dim *dim, const Dim *low, const Dim *high) {
  bool is_far = dim_is_const(at) && (at->value >= INT32_MAX || at->value < -INT32_MAX);
  if (is_far) return at->value > 0 ? high : low;
  if (dim_is_const(at) && at->value < 0) at = dim_add(m, at, dim);
  if (at == low || at == high) return at;
  return dim_make(m, DIM_MAX, dim_make(m, DIM_MIN, at, high), low);
}

/* numpy's rule for start:end:step on an axis of size `dim`. */
static void bounds_of_range(Module *m, const Dim *dim, const Dim *start, const Dim *end, int64_t step,
                            SliceBounds *bounds, int axis) {
  const Dim *zero = dim_const(m, 0), *minus_one = dim_const(m, -1), *last = dim_add(m, dim, minus_one);
  const Dim *from, *length;
  if (step > 0) {
    from = clamp_position(m, start, dim, zero, dim);
    length = dim_sub(m, clamp_position(m, end, dim, zero, dim), from);
  } else {
    from = clamp_position(m, start, dim, zero, last);
    length = dim_sub(m, from, clamp_position(m, end, dim, minus_one, last));
  }
  const Dim *size = dim_ceildiv(m, length, dim_const(m, step < 0 ? -step : step));
  bounds->starts[axis] = from;
  bounds->sizes[axis] =
      size == dim || (dim_is_const(size) && size->value >= 0) ? size : dim_make(m, DIM_MAX, size, zero);
  bounds->steps[axis] = step;
}

typedef struct Ranges {
  const Dim *const *starts, *const *ends;
  const int64_t *axes, *steps; /* NULL: the first axes; all 1 */
  int count;
} Ranges;

static int64_t range_step(const Ranges *ranges, int i) {
  return ranges->steps ? ranges->steps[i] : 1;
}

/* Positions that are computed while the model runs: counted from the front and clamped there, by numpy's
 * rule, and bound. An end may be -1, before the first, when the step is negative: one more is bound. */
static bool bind_positions(OnnxNode *node, Value *given, const Ranges *ranges, bool is_end,
                           const Dim *const **positions) {
  Module *m = node->module;
  const Type *x = input(node, 0)->type;
  const Dim *size[MAX_RANK], *low[MAX_RANK], *high[MAX_RANK], *shift[MAX_RANK], *const *bound;
  const Dim **dims = NEW_ARRAY(m->arena, const Dim *, ranges->count);
  int count = ranges->count;
  for (int i = 0; i < count; i++) {
    int64_t axis = ranges->axes ? ranges->axes[i] : i;
    TRY(normal_axis(node, &axis, x->rank));
    bool back = range_step(ranges, i) < 0;
    size[i] = x->dims[axis];
    low[i] = dim_const(m, back && is_end ? -1 : 0);
    high[i] = back ? dim_sub(m, size[i], dim_const(m, 1)) : size[i];
    shift[i] = dim_const(m, back && is_end);
  }
  given = emit_cast(node, given, DTYPE_I64);
  Value *sizes = emit_ints(node, size, count), *zero = emit_scalar(node, given, 0);
  Value *is_negative = emit_binary(node, &op_less, given, zero);
  Value *at = emit_where(node, is_negative, emit_binary(node, &op_add, given, sizes), given);
  at = emit_binary(node, &op_min, at, emit_ints(node, high, count));
  at = emit_binary(node, &op_max, at, emit_ints(node, low, count));
  at = emit_binary(node, &op_add, at, emit_ints(node, shift, count));
  TRY(bind_sizes(node, at, &bound, &count));
  for (int i = 0; i < count; i++) dims[i] = dim_sub(m, bound[i], shift[i]);
  *positions = dims;
  return true;
}

/* Starts or ends: `count` of them, on known axes. */
static bool range_positions(OnnxNode *node, int index, const char *what, const Ranges *ranges, bool is_end,
                            const Dim *const **positions) {
  int count;
  const Type *type = input(node, index)->type;
  if (type->rank != 1 || type_static_count(type) != ranges->count)
    return onnx_fail(node, "%s is %s, one for each of %d axes is wanted", what, type_text(node->module, type),
                     ranges->count);
  *positions = value_known(input(node, index), &count);
  return *positions || bind_positions(node, input(node, index), ranges, is_end, positions);
}

static bool slice_ranges(OnnxNode *node, const Ranges *ranges) {
  Value *x = input(node, 0);
  SliceBounds bounds;
  bool marks[MAX_RANK];
  bounds_whole(node, x->type, &bounds);
  if (ranges->count > x->type->rank)
    return onnx_fail(node, "%d starts for a tensor with %d dims", ranges->count, x->type->rank);
  if (ranges->axes) TRY(mark_axes(node, ranges->axes, ranges->count, x->type->rank, marks));
  for (int i = 0; i < ranges->count; i++) {
    int64_t axis = ranges->axes ? ranges->axes[i] : i, step = range_step(ranges, i);
    TRY(normal_axis(node, &axis, x->type->rank));
    if (step == 0) return onnx_fail(node, "step %d is 0", i);
    if (step > INT32_MAX) step = INT32_MAX;
    if (step < -INT32_MAX) step = -INT32_MAX;
    bounds_of_range(node->module, x->type->dims[axis], ranges->starts[i], ranges->ends[i], step, &bounds,
                    (int)axis);
  }
  return set_output(node, emit_slice(node, x, bounds.starts, bounds.sizes, bounds.steps));
}

static bool import_slice(OnnxNode *node) {
  Ranges ranges = {0};
  int axis_count, step_count;
  int64_t count = type_static_count(input(node, 1)->type);
  if (count < 0 || count > input_rank(node, 0))
    return onnx_fail(node, "starts is %s for %s", type_text(node->module, input(node, 1)->type),
                     type_text(node->module, input(node, 0)->type));
  ranges.count = (int)count;
  TRY(input_or_attr_ints(node, 3, "axes", &ranges.axes, &axis_count));
  TRY(input_or_attr_ints(node, 4, "steps", &ranges.steps, &step_count));
  if ((ranges.axes && axis_count != ranges.count) || (ranges.steps && step_count != ranges.count))
    return onnx_fail(node, "starts, ends, axes and steps have different lengths");
  TRY(range_positions(node, 1, "starts", &ranges, false, &ranges.starts));
  TRY(range_positions(node, 2, "ends", &ranges, true, &ranges.ends));
  return slice_ranges(node, &ranges);
}

static bool import_slice_legacy(OnnxNode *node) {
  Ranges ranges = {0};
  int end_count, axis_count;
  const int64_t *starts = attr_ints(node, "starts", &ranges.count),
                *ends = attr_ints(node, "ends", &end_count);
  ranges.axes = attr_ints(node, "axes", &axis_count);
  if (!starts || !ends || end_count != ranges.count || (ranges.axes && axis_count != ranges.count))
    return onnx_fail(node, "starts, ends and axes are missing or have different lengths");
  ranges.starts = constant_dims(node, starts, ranges.count);
  ranges.ends = constant_dims(node, ends, ranges.count);
  return slice_ranges(node, &ranges);
}

/* The sizes of the parts: given, or equal with the rest in the last one. */
static bool split_sizes(OnnxNode *node, const Dim *dim, const Dim **sizes) {
  int count, parts = node->output_count;
  const Dim *const *given = NULL;
  if (input(node, 1)) {
    TRY(input_dims(node, 1, "split", &given, &count));
  } else {
    const int64_t *ints = attr_ints(node, "split", &count);
    if (ints) given = constant_dims(node, ints, count);
  }
  if (given && count != parts) return onnx_fail(node, "%d sizes for %d outputs", count, parts);
  const Dim *chunk = dim_ceildiv(node->module, dim, dim_const(node->module, parts)), *rest = dim;
  for (int i = 0; i < parts; i++) {
    sizes[i] = given ? given[i] : i + 1 < parts ? chunk : rest;
    rest = dim_sub(node->module, rest, sizes[i]);
    if (dim_is_const(rest) && rest->value < 0)
      return onnx_fail(node, "%d parts do not fit an axis of size %s", parts, dim_text(node->module, dim));
  }
  if (dim_is_const(rest) && rest->value != 0)
    return onnx_fail(node, "the parts leave %lld of an axis of size %s", (long long)rest->value,
                     dim_text(node->module, dim));
  return true;
}

static bool import_split(OnnxNode *node) {
  Value *x = input(node, 0);
  int64_t axis = attr_int(node, "axis", 0), parts = attr_int(node, "num_outputs", node->output_count);
  TRY(normal_axis(node, &axis, x->type->rank));
  if (parts != node->output_count)
    return onnx_fail(node, "num_outputs is %lld, the node has %d", (long long)parts, node->output_count);
  const Dim **sizes = NEW_ARRAY(node->module->arena, const Dim *, parts);
  TRY(split_sizes(node, x->type->dims[axis], sizes));
  SliceBounds bounds;
  bounds_whole(node, x->type, &bounds);
  for (int i = 0; i < node->output_count; i++) {
    bounds.sizes[axis] = sizes[i];
    node->outputs[i] = emit_slice(node, x, bounds.starts, bounds.sizes, bounds.steps);
    if (!node->outputs[i]) return false;
    bounds.starts[axis] = dim_add(node->module, bounds.starts[axis], sizes[i]);
  }
  return true;
}

/* ---- Joining, repeating, padding */

static bool import_concat(OnnxNode *node) {
  int64_t axis = attr_int(node, "axis", 1); /* opsets below 4; required since */
  TRY(normal_axis(node, &axis, input_rank(node, 0)));
  Node *core = node_new(&node->builder, &op_concat, node->inputs, node->input_count);
  node_set_int(core, "axis", axis);
  return set_output(node, finish(core));
}

static bool import_expand(OnnxNode *node) {
  Value *x = input(node, 0);
  const Dim *const *shape;
  const Type *type;
  int count;
  TRY(input_dims(node, 1, "the shape", &shape, &count));
  if (count > MAX_RANK)
    return onnx_fail(node, "a shape of %d dims, at most %d are supported", count, MAX_RANK);
  type = type_make(node->module, x->type->dtype, count, shape);
  if (!type_broadcast(node->module, x->type, type, x->type->dtype, &type))
    return onnx_fail(node, "%s cannot be expanded to %s", type_text(node->module, x->type),
                     type_text(node->module, type_make(node->module, x->type->dtype, count, shape)));
  return set_output(node, emit_broadcast(node, x, type));
}

static bool import_tile(OnnxNode *node) {
  const Dim *const *repeats;
  int count;
  TRY(input_dims(node, 1, "repeats", &repeats, &count));
  if (count != input_rank(node, 0))
    return onnx_fail(node, "%d repeats for a tensor with %d dims", count, input_rank(node, 0));
  Node *core = node_new(&node->builder, &op_tile, node->inputs, 1);
  node_set_dims(core, "repeats", repeats, count);
  return set_output(node, finish(core));
}

/* Opset 1: tiles and axis are two scalars. */
static bool import_tile_legacy(OnnxNode *node) {
  const Dim *const *tiles, *const *axes, *repeats[MAX_RANK];
  int tile_count, axis_count, rank = input_rank(node, 0);
  TRY(input_dims(node, 1, "tiles", &tiles, &tile_count));
  TRY(input_dims(node, 2, "axis", &axes, &axis_count));
  if (tile_count != 1 || axis_count != 1 || !dim_is_const(axes[0]))
    return onnx_fail(node, "tiles and axis are no scalars");
  int64_t axis = axes[0]->value;
  TRY(normal_axis(node, &axis, rank));
  for (int i = 0; i < rank; i++) repeats[i] = i == axis ? tiles[0] : dim_const(node->module, 1);
  Node *core = node_new(&node->builder, &op_tile, node->inputs, 1);
  node_set_dims(core, "repeats", repeats, rank);
  return set_output(node, finish(core));
}

/* Negative pads crop: they become a slice, before what is left is padded. */
static bool pad_by(OnnxNode *node, const Dim *const *pads, Value *fill) {
  Value *x = input(node, 0);
  Module *module = node->module;
  int rank = x->type->rank;
  SliceBounds crop;
  const Dim *grow[2 * MAX_RANK], *zero = dim_const(module, 0);
  bool crops = false, grows = false;
  bounds_whole(node, x->type, &crop);
  for (int i = 0; i < 2 * rank; i++) {
    bool is_negative = dim_is_const(pads[i]) && pads[i]->value < 0;
    if (dim_is_const(pads[i]) && (pads[i]->value > INT32_MAX || pads[i]->value < -INT32_MAX))
      return onnx_fail(node, "pad %d is %lld", i, (long long)pads[i]->value);
    grow[i] = is_negative ? zero : pads[i];
    grows |= !dim_is(grow[i], 0);
    crops |= is_negative;
    if (!is_negative) continue;
    if (i < rank) crop.starts[i] = dim_const(module, -pads[i]->value);
    crop.sizes[i % rank] = dim_add(module, crop.sizes[i % rank], pads[i]);
  }
  if (crops) x = emit_slice(node, x, crop.starts, crop.sizes, crop.steps);
  if (!x || !grows) return set_output(node, x);
  Node *core = node_new(&node->builder, &op_pad, (Value *[]){x, fill}, 2);
  node_set_dims(core, "pads", grow, 2 * rank);
  node_set_string(core, "mode", attr_string(node, "mode", "constant"));
  return set_output(node, finish(core));
}

static bool check_pad_mode(OnnxNode *node) {
  static const char *const modes[] = {"constant", "reflect", "edge", "wrap"};
  const char *mode = attr_string(node, "mode", "constant");
  for (int i = 0; i < COUNT_OF(modes); i++)
    if (strcmp(mode, modes[i]) == 0) return true;
  return onnx_fail(node, "mode '%s' is not known", mode);
}

static bool import_pad_legacy(OnnxNode *node) {
  int count;
  const int64_t *pads = attr_ints(node, "pads", &count);
  if (!pads) pads = attr_ints(node, "paddings", &count); /* opset 1 */
  if (count != 2 * input_rank(node, 0))
    return onnx_fail(node, "%d pads for a tensor with %d dims", count, input_rank(node, 0));
  TRY(check_pad_mode(node));
  return pad_by(node, constant_dims(node, pads, count),
                emit_scalar(node, input(node, 0), attr_float(node, "value", 0)));
}

static Value *half(OnnxNode *node, Value *pads, int first, int count) {
  const Dim *start = dim_const(node->module, first), *size = dim_const(node->module, count);
  return emit_slice(node, pads, &start, &size, (int64_t[]){1});
}

/* Pads that are computed while the model runs: x is cropped by the negative ones, which leaves the others.
 * What is left has sizes of its own, for sums of sums make long expressions. */
static bool bind_pads(OnnxNode *node, const Dim *const **pads, int *count) {
  Value *given = emit_cast(node, input(node, 1), DTYPE_I64), *zero = emit_scalar(node, given, 0);
  const Dim *const *starts, *const *sizes;
  SliceBounds crop;
  Value *x = input(node, 0);
  int rank = x->type->rank;
  if (type_static_count(given->type) != 2 * rank)
    return onnx_fail(node, "pads is %s for %d axes, and not known", type_text(node->module, given->type),
                     rank);
  Value *crops = emit_binary(node, &op_max, emit_unary(node, &op_neg, given), zero);
  Value *front = half(node, crops, 0, rank), *back = half(node, crops, rank, rank);
  Value *kept = emit_binary(node, &op_sub, emit_ints(node, x->type->dims, rank),
                            emit_binary(node, &op_add, front, back));
  TRY(bind_sizes(node, front, &starts, count) && bind_sizes(node, kept, &sizes, count));
  TRY(bind_sizes(node, emit_binary(node, &op_max, given, zero), pads, count));
  bounds_whole(node, x->type, &crop);
  node->inputs[0] = emit_slice(node, x, starts, sizes, crop.steps);
  return node->inputs[0] != NULL;
}

static bool import_pad(OnnxNode *node) {
  const Dim *const *given, *pads[2 * MAX_RANK];
  const int64_t *axes = NULL;
  int count, axis_count = 0, rank = input_rank(node, 0);
  bool marks[MAX_RANK];
  TRY(check_pad_mode(node));
  TRY(input_or_attr_ints(node, 3, "axes", &axes, &axis_count));
  given = value_known(input(node, 1), &count);
  if (!given && axes) return onnx_fail(node, "pads of chosen axes must be known");
  if (!given) TRY(bind_pads(node, &given, &count));
  int padded = axes ? axis_count : rank;
  if (count != 2 * padded) return onnx_fail(node, "%d pads for %d axes", count, padded);
  if (axes) TRY(mark_axes(node, axes, axis_count, rank, marks));
  for (int i = 0; i < 2 * rank; i++) pads[i] = dim_const(node->module, 0);
  for (int i = 0; i < padded; i++) {
    int64_t axis = axes ? axes[i] : i;
    TRY(normal_axis(node, &axis, rank));
    pads[axis] = given[i];
    pads[rank + axis] = given[padded + i];
  }
  Value *fill = input(node, 2);
  if (fill && fill->type->rank > 0) fill = emit_reshape(node, fill, 0, NULL);
  return pad_by(node, pads, fill);
}

static bool import_center_crop_pad(OnnxNode *node) {
  const Dim *const *given, *sizes[MAX_RANK];
  int count, axis_count, rank = input_rank(node, 0);
  bool marks[MAX_RANK];
  const int64_t *axes = attr_ints(node, "axes", &axis_count);
  TRY(input_dims(node, 1, "shape", &given, &count));
  if (axes) TRY(mark_axes(node, axes, axis_count, rank, marks));
  if (count != (axes ? axis_count : rank))
    return onnx_fail(node, "%d sizes for %d axes", count, axes ? axis_count : rank);
  for (int i = 0; i < rank; i++) sizes[i] = input(node, 0)->type->dims[i];
  for (int i = 0; i < count; i++) {
    int64_t axis = axes ? axes[i] : i;
    TRY(normal_axis(node, &axis, rank));
    sizes[axis] = given[i];
  }
  return set_output(node, emit_resized(node, input(node, 0), sizes, true));
}

/* ---- Picking */

static bool import_gather(OnnxNode *node) {
  int64_t axis = attr_int(node, "axis", 0);
  TRY(normal_axis(node, &axis, input_rank(node, 0)));
  Node *core = node_new(&node->builder, node->row->op, node->inputs, 2);
  node_set_int(core, "axis", axis);
  return set_output(node, finish(core));
}

/* ---- Shapes as values */

static bool import_shape(OnnxNode *node) {
  Value *x = input(node, 0);
  int64_t rank = x->type->rank, start = attr_int(node, "start", 0), end = attr_int(node, "end", rank);
  Value *shape = emit_unary(node, &op_shape, x);
  start = start < -rank ? 0 : start < 0 ? start + rank : start > rank ? rank : start;
  end = end < -rank ? 0 : end < 0 ? end + rank : end > rank ? rank : end;
  if (start == 0 && end == rank) return set_output(node, shape);
  const Dim *from = dim_const(node->module, start),
            *size = dim_const(node->module, end > start ? end - start : 0);
  return set_output(node, emit_slice(node, shape, &from, &size, (int64_t[]){1}));
}

static bool import_size(OnnxNode *node) {
  const Type *type = input(node, 0)->type;
  int64_t count = type_static_count(type);
  if (count >= 0)
    return set_output(node, build_reshape(&node->builder, build_ints(&node->builder, &count, 1), 0, NULL));
  Value *product_of_dims =
      emit_reduce(node, &op_reduce_prod, emit_unary(node, &op_shape, input(node, 0)), (int64_t[]){0}, 1);
  return set_output(node, emit_reshape(node, product_of_dims, 0, NULL));
}

static const OnnxRow rows[] = {
    {"CenterCropPad", 18, 2, 2, import_center_crop_pad, NULL},
    {"Concat", 1, 1, -1, import_concat, NULL},
    {"DepthToSpace", 1, 1, 1, import_depth_to_space, NULL},
    {"DynamicSlice", 1, 3, 4, import_slice, NULL},
    {"Expand", 8, 2, 2, import_expand, NULL},
    {"Flatten", 1, 1, 1, import_flatten, NULL},
    {"Gather", 1, 2, 2, import_gather, &op_gather},
    {"GatherElements", 11, 2, 2, import_gather, &op_gather_elements},
    {"Pad", 1, 1, 1, import_pad_legacy, NULL},
    {"Pad", 11, 2, 4, import_pad, NULL},
    {"com.microsoft.Pad", 1, 2, 3, import_pad, NULL},
    {"Reshape", 1, 1, 1, import_reshape_legacy, NULL},
    {"Reshape", 5, 2, 2, import_reshape, NULL},
    {"Shape", 1, 1, 1, import_shape, NULL},
    {"Size", 1, 1, 1, import_size, NULL},
    {"Slice", 1, 1, 1, import_slice_legacy, NULL},
    {"Slice", 10, 3, 5, import_slice, NULL},
    {"SpaceToDepth", 1, 1, 1, import_space_to_depth, NULL},
    {"Split", 1, 1, 2, import_split, NULL},
    {"Squeeze", 1, 1, 2, import_squeeze, NULL},
    {"Tile", 1, 3, 3, import_tile_legacy, NULL},
    {"Tile", 6, 2, 2, import_tile, NULL},
    {"Transpose", 1, 1, 1, import_transpose, NULL},
    {"Unsqueeze", 1, 1, 2, import_unsqueeze, NULL},
};

const OnnxRows onnx_movement = {rows, COUNT_OF(rows)};
