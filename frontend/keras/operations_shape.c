/*
 * operations_shape.c -- operations on tensors that move elements: slices, reshapes, concatenations.
 *
 * Sizes among the arguments may be computed of other sizes (tf.shape(x)[0]); they are understood as such.
 */
#include "frontend/keras/operations.h"
#include <math.h>
#include <string.h>

static const Dim *number(Call *call, int64_t value) {
  return dim_const(call->import->module, value);
}

/* ---- slices ---- */

/* One axis of a slice: with open ends. */
typedef struct Cut {
  const Dim *start, *size;
  int64_t step;
} Cut;

/* A position as Python takes it: negative ones from the end, all within [0, size]. */
static const Dim *position(Call *call, int64_t at, const Dim *size) {
  Module *module = call->import->module;
  if (dim_is_const(size)) {
    at += at < 0 ? size->value : 0;
    return dim_const(module, at < 0 ? 0 : at > size->value ? size->value : at);
  }
  const Dim *place = dim_const(module, at);
  if (at >= 0) return dim_make(module, DIM_MIN, place, size);
  return dim_make(module, DIM_MAX, dim_add(module, size, place), dim_const(module, 0));
}

/* `otherwise` where the bound is null. */
static bool read_bound(Call *call, const cJSON *item, int64_t otherwise, int64_t *value, bool *given) {
  *value = otherwise;
  *given = item != NULL && !cJSON_IsNull(item);
  return !*given || json_integer(item, value) || call_fail(call, "a bound of a slice is no number");
}

static bool read_cut(Call *call, const cJSON *slice, const Dim *size, Cut *cut) {
  Module *module = call->import->module;
  const cJSON *parts = json_member(slice, "config") ? json_member(slice, "config") : slice;
  int64_t start, stop;
  bool has_start, has_stop, has_step;
  TRY(read_bound(call, json_member(parts, "step"), 1, &cut->step, &has_step) &&
      read_bound(call, json_member(parts, "start"), 0, &start, &has_start) &&
      read_bound(call, json_member(parts, "stop"), 0, &stop, &has_stop));
  if (cut->step == 0 || cut->step > INT32_MAX || cut->step < -INT32_MAX)
    return call_fail(call, "a slice has step %lld", (long long)cut->step);
  if (cut->step < 0) {
    const Dim *last = dim_sub(module, size, dim_const(module, 1));
    if ((has_start || has_stop) && !dim_is_const(size))
      return call_fail(call, "a slice backwards through an open size has bounds");
    int64_t n = size->value, from = has_start ? start < 0 ? start + n : start : n - 1,
            to = has_stop ? stop < 0 ? stop + n : stop : -1;
    if (!has_start && !has_stop && cut->step == -1) return cut->start = last, cut->size = size, true;
    if (!dim_is_const(size)) return call_fail(call, "a slice backwards through an open size has steps");
    from = from >= n ? n - 1 : from;
    int64_t count = from > to ? (from - to - cut->step - 1) / -cut->step : 0;
    cut->start = dim_const(module, from < 0 ? 0 : from);
    cut->size = dim_const(module, count);
    return true;
  }
  cut->start = has_start ? position(call, start, size) : dim_const(module, 0);
  const Dim *end = has_stop ? position(call, stop, size) : size, *zero = dim_const(module, 0);
  const Dim *span = dim_make(module, DIM_MAX, dim_sub(module, end, cut->start), zero);
  cut->size = dim_ceildiv(module, span, dim_const(module, cut->step));
  return true;
}

static bool is_ellipsis(const cJSON *item) {
  return !strcmp(json_text(item, "class_name", ""), "__ellipsis__") ||
         !strcmp(json_text(item, "type", ""), "Ellipsis") ||
         (cJSON_IsString(item) && !strcmp(item->valuestring, "..."));
}

/* x[key]: numbers take an axis away, null adds one, slices and the ellipsis keep them. */
static Value *get_item(Call *call) {
  Value *x = call->inputs[0];
  const cJSON *key = op_param(call, 1, "key"), *item;
  if (!key) key = op_param(call, -1, "slice_spec");
  bool is_list = cJSON_IsArray(key);
  int rank = x->type->rank, used = 0, axis = 0, out = 0;
  const Dim *starts[MAX_RANK], *sizes[MAX_RANK], *dims[2 * MAX_RANK];
  int64_t steps[MAX_RANK];
  int count = is_list ? cJSON_GetArraySize(key) : 1;
  for (int i = 0; i < count; i++) {
    item = is_list ? json_at(key, i) : key;
    used += item && !cJSON_IsNull(item) && !is_ellipsis(item);
  }
  if (!key || used > rank || count > 2 * MAX_RANK)
    return call_null(call, "its key has %d axes for a tensor of %d", used, rank);
  for (int i = 0; i <= count; i++) {
    item = is_list ? json_at(key, i) : i ? NULL : key;
    bool ends = i == count;
    if (!ends && (!item || cJSON_IsNull(item))) {
      dims[out++] = number(call, 1);
      continue;
    }
    for (int rest = rank - used; (ends || is_ellipsis(item)) && rest > 0; rest--, used++, axis++) {
      starts[axis] = number(call, 0);
      dims[out++] = sizes[axis] = x->type->dims[axis];
      steps[axis] = 1;
    }
    if (ends || is_ellipsis(item)) continue;
    const Dim *size = x->type->dims[axis];
    Cut cut = {number(call, 0), number(call, 1), 1};
    int64_t at;
    if (json_integer(item, &at)) {
      if (dim_is_const(size) && (at >= size->value || at < -size->value))
        return call_null(call, "index %lld of an axis of %lld", (long long)at, (long long)size->value);
      cut.start = at < 0 ? dim_add(call->import->module, size, number(call, at)) : number(call, at);
    } else if (!cJSON_IsObject(item) || json_tensor(item, &(TensorRef){0})) {
      return call_null(call, "its key holds something else than numbers and slices");
    } else {
      if (!read_cut(call, item, size, &cut)) return NULL;
      dims[out++] = cut.size;
    }
    starts[axis] = cut.start;
    sizes[axis] = cut.size;
    steps[axis++] = cut.step;
  }
  Node *node = node_new(call->builder, &op_slice, &x, 1);
  node_set_dims(node, "starts", starts, rank);
  node_set_dims(node, "sizes", sizes, rank);
  node_set_ints(node, "steps", steps, rank);
  return make_reshape(call, make(node), out, dims);
}

/* ---- shapes ---- */

/* A list of sizes: numbers and tensors, or one tensor that holds them. */
static bool read_sizes(Call *call, const cJSON *list, const Dim **dims, int *count) {
  Masked whole;
  const cJSON *item;
  if (call_find(call, list, &whole) && whole.value->type->rank == 1) {
    const Dim *const *known = value_known(whole.value, count);
    if (!known || *count > MAX_RANK) return call_fail(call, "the sizes that it makes are not known");
    memcpy(dims, known, (size_t)*count * sizeof *dims);
    return true;
  }
  *count = 0;
  if (!cJSON_IsArray(list)) return (dims[(*count)++] = op_dim(call, list)) != NULL;
  cJSON_ArrayForEach(item, list) {
    if (*count == MAX_RANK) return call_fail(call, "it makes more than %d axes", MAX_RANK);
    if (cJSON_IsNull(item))
      dims[*count] = number(call, -1);
    else
      TRY(dims[*count] = op_dim(call, item));
    ++*count;
  }
  return true;
}

/* A lone -1 at the batch is the batch; so is null. */
static Value *reshape(Call *call) {
  const Dim *dims[MAX_RANK];
  int rank, open = 0;
  const cJSON *shape = op_param(call, 1, "newshape");
  if (!shape) shape = op_param(call, 1, "shape");
  if (!read_sizes(call, shape, dims, &rank)) return NULL;
  for (int i = 0; i < rank; i++) open += dim_is(dims[i], -1);
  if (open > 1) dims[0] = dim_is(dims[0], -1) ? call->inputs[0]->type->dims[0] : dims[0];
  return make_reshape(call, call->inputs[0], rank, dims);
}

static Value *shape_of(Call *call) {
  Value *shape = make_unary(call, &op_shape, call->inputs[0]);
  return make_cast(call, shape, DTYPE_I64);
}

static Value *transpose(Call *call) {
  const cJSON *item = op_param(call, 1, "axes");
  if (!item) item = op_param(call, 1, "perm");
  int rank = call->inputs[0]->type->rank, count = cJSON_GetArraySize(item);
  int64_t perm[MAX_RANK];
  unsigned seen = 0;
  if (item && count != rank) return call_null(call, "it turns %d axes of %d", count, rank);
  for (int i = 0; i < rank; i++) {
    perm[i] = rank - 1 - i;
    if (item && !call_axis(call, json_at(item, i), rank, &perm[i])) return NULL;
    if (seen & 1u << perm[i]) return call_null(call, "it takes axis %lld twice", (long long)perm[i]);
    seen |= 1u << perm[i];
  }
  return make_transpose(call, call->inputs[0], perm);
}

static Value *swap_axes(Call *call) {
  int rank = call->inputs[0]->type->rank;
  int64_t a, b, perm[MAX_RANK];
  if (!call_axis(call, op_param(call, 1, "axis1"), rank, &a) ||
      !call_axis(call, op_param(call, 2, "axis2"), rank, &b))
    return NULL;
  for (int i = 0; i < rank; i++) perm[i] = i == a ? b : i == b ? a : i;
  return make_transpose(call, call->inputs[0], perm);
}

static Value *move_axis(Call *call) {
  int rank = call->inputs[0]->type->rank;
  int64_t from, to;
  if (!call_axis(call, op_param(call, 1, "source"), rank, &from) ||
      !call_axis(call, op_param(call, 2, "destination"), rank, &to))
    return NULL;
  return make_move_axis(call, call->inputs[0], (int)from, (int)to);
}

static Value *expand_dims(Call *call) {
  Value *x = call->inputs[0];
  int64_t axes[MAX_RANK];
  int count;
  if (!op_axes_param(call, op_param(call, 1, "axis"), x->type->rank + 1, axes, &count)) return NULL;
  for (int i = 0; i < count; i++) x = make_unsqueeze(call, x, (int)axes[i]);
  return x;
}

static Value *squeeze(Call *call) {
  Value *x = call->inputs[0];
  int64_t axes[MAX_RANK];
  int count;
  if (!op_axes_param(call, op_param(call, 1, "axis"), x->type->rank, axes, &count)) return NULL;
  bool all = count == 0;
  for (int i = x->type->rank - 1; x && i >= 0; i--) {
    bool goes = all && dim_is(x->type->dims[i], 1);
    for (int k = 0; k < count; k++) goes |= axes[k] == i;
    if (goes && !dim_is(x->type->dims[i], 1)) return call_null(call, "axis %d has not size 1", i);
    if (goes) x = make_squeeze(call, x, i);
  }
  return x;
}

static Value *ravel(Call *call) {
  const Dim *count = type_count(call->import->module, call->inputs[0]->type);
  return make_reshape(call, call->inputs[0], 1, &count);
}

static Value *broadcast_to(Call *call) {
  const Dim *dims[MAX_RANK];
  int rank;
  if (!read_sizes(call, op_param(call, 1, "shape"), dims, &rank)) return NULL;
  return build_broadcast(call->builder, call->inputs[0], rank, dims);
}

/* ---- several tensors ---- */

static bool axis_of(Call *call, int position, int rank, int64_t otherwise, int64_t *axis) {
  const cJSON *item = op_param(call, position, "axis");
  *axis = otherwise;
  return !item || call_axis(call, item, rank, axis);
}

static Value *concatenate(Call *call) {
  int64_t axis;
  if (!axis_of(call, 1, call->inputs[0]->type->rank, 0, &axis)) return NULL;
  return make_concat(call, call->inputs, call->input_count, (int)axis);
}

static Value *stack(Call *call) {
  Value **parts = NEW_ARRAY(call->import->module->arena, Value *, call->input_count);
  int64_t axis;
  if (!axis_of(call, 1, call->inputs[0]->type->rank + 1, 0, &axis)) return NULL;
  for (int i = 0; i < call->input_count; i++) parts[i] = make_unsqueeze(call, call->inputs[i], (int)axis);
  return make_concat(call, parts, call->input_count, (int)axis);
}

/* Into equal parts by their number, by bounds (Keras 3), or by sizes (TensorFlow). */
static Value *split(Call *call) {
  enum { MAX_PARTS = 1 << 12 };
  Value *x = call->inputs[0], *first = NULL;
  bool is_keras3 = call->from && call->from->is_keras3;
  const cJSON *item = op_param(call, 1, is_keras3 ? "indices_or_sections" : "num_or_size_splits");
  int64_t axis, parts, begin = 0;
  if (!axis_of(call, 2, x->type->rank, 0, &axis)) return NULL;
  const Dim *size = x->type->dims[axis];
  if (!dim_is_const(size)) return call_null(call, "it splits an open size");
  bool equal = json_integer(item, &parts);
  if (!equal) parts = cJSON_GetArraySize(item) + is_keras3;
  if (parts < 1 || parts > MAX_PARTS || (equal && size->value % parts))
    return call_null(call, "it splits %lld into %lld parts", (long long)size->value, (long long)parts);
  for (int64_t i = 0; i < parts; i++) {
    int64_t value = size->value / parts, end;
    bool bounded = !equal && i < cJSON_GetArraySize(item);
    if (bounded && !json_integer(json_at(item, (int)i), &value))
      return call_null(call, "it splits at no number");
    end = equal || !is_keras3 ? begin + value : bounded ? value : size->value;
    if (end < begin || end > size->value)
      return call_null(call, "it splits %lld at %lld", (long long)size->value, (long long)end);
    Value *part = make_part(call, x, (int)axis, begin, end - begin);
    if (!part) return NULL;
    if (i)
      call_also(call, part);
    else
      first = part;
    begin = end;
  }
  return first;
}

static Value *unstack(Call *call) {
  Value *x = call->inputs[0], *first = NULL;
  int64_t axis;
  if (!axis_of(call, 2, x->type->rank, 0, &axis)) return NULL;
  const Dim *size = x->type->dims[axis];
  if (!dim_is_const(size) || size->value < 1 || size->value > 1 << 12)
    return call_null(call, "it takes an axis of %s apart", dim_text(call->import->module, size));
  for (int64_t i = 0; i < size->value; i++) {
    Value *part = make_squeeze(call, make_part(call, x, (int)axis, i, 1), (int)axis);
    if (!part) return NULL;
    if (i)
      call_also(call, part);
    else
      first = part;
  }
  return first;
}

/* ---- repeating, padding, picking ---- */

static Value *tile(Call *call) {
  Value *x = call->inputs[0];
  const Dim *dims[MAX_RANK];
  int count;
  const cJSON *item = op_param(call, 1, "repeats");
  if (!item) item = op_param(call, 1, "multiples");
  if (!read_sizes(call, item, dims, &count)) return NULL;
  while (x && x->type->rank < count) x = make_unsqueeze(call, x, 0);
  if (!x || x->type->rank != count) return call_null(call, "it repeats %d axes", count);
  Node *node = node_new(call->builder, &op_tile, &x, 1);
  node_set_dims(node, "repeats", dims, count);
  return make(node);
}

/* Every element of an axis several times. */
static Value *repeat(Call *call) {
  Value *x = call->inputs[0];
  int64_t axis, times;
  if (!json_integer(op_param(call, 1, "repeats"), &times) || times < 1 || times > INT32_MAX)
    return call_null(call, "'repeats' is no number");
  if (!axis_of(call, 2, x->type->rank, x->type->rank - 1, &axis)) return NULL;
  const Dim *dims[MAX_RANK + 1], *joined[MAX_RANK];
  x = make_unsqueeze(call, x, (int)axis + 1);
  if (!x) return NULL;
  for (int i = 0; i < x->type->rank; i++) dims[i] = i == axis + 1 ? number(call, times) : x->type->dims[i];
  for (int i = 0; i < x->type->rank - 1; i++)
    joined[i] = i == axis  ? dim_mul(call->import->module, dims[i], number(call, times))
                : i < axis ? dims[i]
                           : dims[i + 1];
  return make_reshape(call, build_broadcast(call->builder, x, x->type->rank, dims), x->type->rank - 1,
                      joined);
}

static Value *pad(Call *call) {
  Value *x = call->inputs[0];
  const cJSON *widths = op_param(call, 1, "pad_width"), *mode = op_param(call, -1, "mode");
  if (!widths) widths = op_param(call, 1, "paddings");
  const Dim *pads[2 * MAX_RANK];
  int rank = x->type->rank;
  char word[16] = "constant";
  if (cJSON_IsString(mode)) snprintf(word, sizeof word, "%s", mode->valuestring);
  for (char *c = word; *c; c++) *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
  if (strcmp(word, "constant") && strcmp(word, "reflect"))
    return call_null(call, "padding '%s' is not supported", word);
  if (cJSON_GetArraySize(widths) != rank)
    return call_null(call, "it pads %d axes of %d", cJSON_GetArraySize(widths), rank);
  for (int i = 0; i < rank; i++)
    for (int k = 0; k < 2; k++) {
      int64_t width;
      if (!json_integer(json_at(json_at(widths, i), k), &width) || width < 0 || width > INT32_MAX)
        return call_null(call, "its widths are no sizes");
      pads[k * rank + i] = number(call, width);
    }
  Value *value = build_scalar(call->builder, x->type->dtype, op_number(call, -1, "constant_values", 0));
  Node *node = node_new(call->builder, &op_pad, (Value *[]){x, value}, 2);
  node_set_dims(node, "pads", pads, 2 * rank);
  node_set_string(node, "mode", word);
  return make(node);
}

static Value *take(Call *call) {
  Value *x = op_operand(call, 0, "params");
  const cJSON *item = op_param(call, 1, "indices");
  int64_t axis;
  if (!x || !axis_of(call, 2, x->type->rank, 0, &axis)) return NULL;
  return make_gather(call, x, make_cast(call, op_value(call, item, DTYPE_I64), DTYPE_I64), (int)axis);
}

static Value *flip(Call *call) {
  Value *x = call->inputs[0];
  int64_t axes[MAX_RANK];
  int count;
  if (!op_axes_param(call, op_param(call, 1, "axis"), x->type->rank, axes, &count)) return NULL;
  for (int i = 0; i < (count ? count : x->type->rank); i++)
    x = x ? make_reversed(call, x, count ? (int)axes[i] : i) : NULL;
  return x;
}

static Value *one_hot(Call *call) {
  const cJSON *item = op_param(call, 1, "num_classes");
  int64_t depth, axis = -1;
  if (!item) item = op_param(call, 1, "depth");
  if (!json_integer(item, &depth) || depth < 1 || depth > 1 << 24)
    return call_null(call, "its depth is no size");
  const cJSON *where = op_param(call, -1, "axis");
  if (where && (!json_integer(where, &axis) || axis != -1))
    return call_null(call, "only a last axis is supported");
  Dtype dtype = op_dtype(op_param(call, -1, "dtype"), DTYPE_F32);
  return make_cast(call, make_one_hot(call, make_cast(call, call->inputs[0], DTYPE_I64), depth), dtype);
}

/* The lower or upper triangle, the rest 0. */
static Value *triangle(Call *call) {
  Value *x = call->inputs[0];
  int rank = x->type->rank;
  const Dim *rows[2], *columns[2];
  int64_t k = 0;
  bool lower = !strcmp(call->layer->operation, "Tril");
  const cJSON *item = op_param(call, 1, "k");
  if (rank < 2 || (item && !json_integer(item, &k))) return call_null(call, "it has no triangle");
  rows[0] = x->type->dims[rank - 2], rows[1] = columns[0] = number(call, 1),
  columns[1] = x->type->dims[rank - 1];
  Value *row = make_number(call, &op_add, make_iota(call, DTYPE_I64, 2, rows, 0), (double)k);
  Value *column = make_iota(call, DTYPE_I64, 2, columns, 1);
  Value *inside = make_binary(call, lower ? &op_less_or_equal : &op_greater_or_equal, column, row);
  return make_where(call, inside, x, build_scalar(call->builder, x->type->dtype, 0));
}

static Value *top_k(Call *call) {
  Value *x = call->inputs[0];
  int64_t k;
  if (!json_integer(op_param(call, 1, "k"), &k) || k < 1 || x->type->rank < 1)
    return call_null(call, "'k' is no size");
  const Dim *count = number(call, k);
  Node *node = node_new(call->builder, &op_top_k, &x, 1);
  node_set_dims(node, "k", &count, 1);
  if (!node_finish(node)) return NULL;
  call_also(call, result(node, 1));
  return result(node, 0);
}

static Value *resize(Call *call) {
  Value *x = call_float_input(call, 0);
  const Dim *sizes[MAX_RANK], *all[MAX_RANK];
  int count;
  const cJSON *size = op_param(call, 1, "size"), *mode = op_param(call, 2, "interpolation");
  if (!mode) mode = op_param(call, 2, "method");
  const char *name = cJSON_IsString(mode) ? mode->valuestring : "bilinear";
  bool nearest = !strcmp(name, "nearest");
  if (!x || x->type->rank != 4 || !read_sizes(call, size, sizes, &count) || count != 2)
    return call_null(call, "it resizes no images");
  if (call_is_channels_first(call) || (!nearest && strcmp(name, "bilinear")))
    return call_null(call, "interpolation '%s' is not supported here", name);
  for (int i = 0; i < 4; i++) all[i] = i == 1 || i == 2 ? sizes[i - 1] : x->type->dims[i];
  Node *node = node_new(call->builder, &op_resize, &x, 1);
  node_set_dims(node, "sizes", all, 4);
  node_set_string(node, "mode", nearest ? "nearest" : "linear");
  node_set_string(node, "nearest", "round_prefer_ceil");
  return make(node);
}

const LayerKind shape_operations[] = {
    {"BroadcastTo", broadcast_to, 1, 0, NULL, MASK_ENDS},
    {"broadcast_to", broadcast_to, 1, 0, NULL, MASK_ENDS},
    {"Concatenate", concatenate, 1, 0, NULL, MASK_ENDS},
    {"concat", concatenate, 1, 0, NULL, MASK_ENDS},
    {"ExpandDims", expand_dims, 1, 1, NULL, MASK_ENDS},
    {"expand_dims", expand_dims, 1, 1, NULL, MASK_ENDS},
    {"Flip", flip, 1, 1, NULL, MASK_ENDS},
    {"reverse", flip, 1, 1, NULL, MASK_ENDS},
    {"GetItem", get_item, 1, 0, NULL, MASK_ENDS},
    {"__operators__.getitem", get_item, 1, 0, NULL, MASK_ENDS},
    {"Moveaxis", move_axis, 1, 1, NULL, MASK_ENDS},
    {"OneHot", one_hot, 1, 1, NULL, MASK_ENDS},
    {"one_hot", one_hot, 1, 1, NULL, MASK_ENDS},
    {"Pad", pad, 1, 1, NULL, MASK_ENDS},
    {"pad", pad, 1, 1, NULL, MASK_ENDS},
    {"compat.v1.pad", pad, 1, 1, NULL, MASK_ENDS},
    {"Ravel", ravel, 1, 1, NULL, MASK_ENDS},
    {"Repeat", repeat, 1, 1, NULL, MASK_ENDS},
    {"repeat", repeat, 1, 1, NULL, MASK_ENDS},
    {"Reshape", reshape, 1, 0, NULL, MASK_ENDS},
    {"reshape", reshape, 1, 0, NULL, MASK_ENDS},
    {"Resize", resize, 1, 0, NULL, MASK_ENDS},
    {"image.resize", resize, 1, 0, NULL, MASK_ENDS},
    {"compat.v1.shape", shape_of, 1, 1, NULL, MASK_ENDS},
    {"shape", shape_of, 1, 1, NULL, MASK_ENDS},
    {"Split", split, 1, 1, NULL, MASK_ENDS},
    {"split", split, 1, 1, NULL, MASK_ENDS},
    {"Squeeze", squeeze, 1, 1, NULL, MASK_ENDS},
    {"compat.v1.squeeze", squeeze, 1, 1, NULL, MASK_ENDS},
    {"squeeze", squeeze, 1, 1, NULL, MASK_ENDS},
    {"Stack", stack, 1, 0, NULL, MASK_ENDS},
    {"stack", stack, 1, 0, NULL, MASK_ENDS},
    {"Swapaxes", swap_axes, 1, 1, NULL, MASK_ENDS},
    {"Take", take, 1, 2, NULL, MASK_ENDS},
    {"compat.v1.gather", take, 1, 2, NULL, MASK_ENDS},
    {"gather", take, 1, 2, NULL, MASK_ENDS},
    {"Tile", tile, 1, 0, NULL, MASK_ENDS},
    {"tile", tile, 1, 0, NULL, MASK_ENDS},
    {"TopK", top_k, 1, 1, NULL, MASK_ENDS},
    {"math.top_k", top_k, 1, 1, NULL, MASK_ENDS},
    {"Transpose", transpose, 1, 1, NULL, MASK_ENDS},
    {"compat.v1.transpose", transpose, 1, 1, NULL, MASK_ENDS},
    {"transpose", transpose, 1, 1, NULL, MASK_ENDS},
    {"Tril", triangle, 1, 1, NULL, MASK_ENDS},
    {"Triu", triangle, 1, 1, NULL, MASK_ENDS},
    {"unstack", unstack, 1, 1, NULL, MASK_ENDS},
    {0},
};
