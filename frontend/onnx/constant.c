/* constant.c -- ONNX operators whose result follows from attributes and shapes: constants, fills, ranges,
 * masks. */
#include "frontend/onnx/onnx.h"
#include "frontend/strings.h"

#include <math.h>
#include <string.h>

enum { MAX_FOLDED = 1 << 24 }; /* elements that an operator may write out as a constant */

/* ---- Constant, in its attribute forms */

static bool constant_of(OnnxNode *node, const TensorInfo *info, const Data *data) {
  if (!data) return false;
  const Type *type = type_static(node->module, info->dtype, info->rank, info->dims);
  return set_output(node, build_const(&node->builder, type, data, node->proto->output[0]));
}

static bool constant_tensor(OnnxNode *node, const Onnx__TensorProto *tensor) {
  TensorInfo info;
  if (!tensor) return onnx_fail(node, "attribute 'value' holds no tensor");
  TRY(tensor_info(node->module, tensor, &info));
  return constant_of(node, &info, tensor_data(&node->import->source, tensor, &info));
}

static bool constant_sparse(OnnxNode *node, const Onnx__SparseTensorProto *sparse) {
  TensorInfo info;
  if (!sparse) return onnx_fail(node, "attribute 'sparse_value' holds no sparse tensor");
  const Data *data = sparse_data(&node->import->source, sparse, &info);
  return constant_of(node, &info, data);
}

static bool constant_list(OnnxNode *node, Dtype dtype, int rank, int64_t count, const void *elements) {
  TensorInfo info = {.dtype = dtype, .rank = rank, .dims = {count}};
  return constant_of(node, &info, data_copy(node->module, dtype, count, elements));
}

static bool import_constant(OnnxNode *node) {
  const Onnx__AttributeProto *attribute;
  int count;
  if ((attribute = attr_find(node, "value"))) return constant_tensor(node, attribute->t);
  if ((attribute = attr_find(node, "sparse_value"))) return constant_sparse(node, attribute->sparse_tensor);
  if (attr_find(node, "value_int"))
    return constant_list(node, DTYPE_I64, 0, 1, &(int64_t){attr_int(node, "value_int", 0)});
  if (attr_find(node, "value_float"))
    return constant_list(node, DTYPE_F32, 0, 1, &(float){(float)attr_float(node, "value_float", 0)});
  const int64_t *ints = attr_ints(node, "value_ints", &count);
  if (ints) return constant_list(node, DTYPE_I64, 1, count, ints);
  const float *floats = attr_floats(node, "value_floats", &count);
  if (floats) return constant_list(node, DTYPE_F32, 1, count, floats);
  const char *text = attr_string(node, "value_string", NULL);
  if (text) return set_output(node, build_strings(&node->builder, &text, 1, 0));
  const char *const *texts = attr_strings(node, "value_strings", &count);
  if (texts) return set_output(node, build_strings(&node->builder, texts, count, 1));
  return onnx_fail(node, "the node has no value");
}

/* ---- Fills */

/* The one element of attribute `value`; f32 0 without it. */
static bool fill_value(OnnxNode *node, TensorInfo *info, const Data **data) {
  const Onnx__AttributeProto *attribute = attr_find(node, "value");
  *info = (TensorInfo){.dtype = DTYPE_F32, .count = 1};
  *data = NULL;
  if (!attribute) {
    *data = data_splat(node->module, DTYPE_F32, 1, 0);
    return true;
  }
  if (!attribute->t) return onnx_fail(node, "attribute 'value' holds no tensor");
  TRY(tensor_info(node->module, attribute->t, info));
  if (info->count != 1)
    return onnx_fail(node, "attribute 'value' holds %lld elements, not 1", (long long)info->count);
  *data = tensor_data(&node->import->source, attribute->t, info);
  return *data != NULL;
}

static bool import_constant_of_shape(OnnxNode *node) {
  const Dim *const *shape;
  const Data *element;
  TensorInfo info;
  int count;
  TRY(input_dims(node, 0, "the shape", &shape, &count));
  if (count > MAX_RANK)
    return onnx_fail(node, "a shape of %d dims, at most %d are supported", count, MAX_RANK);
  for (int i = 0; i < count; i++)
    if (dim_is_const(shape[i]) && shape[i]->value < 0)
      return onnx_fail(node, "dim %d of the shape is %lld", i, (long long)shape[i]->value);
  TRY(fill_value(node, &info, &element));
  const Type *type = type_make(node->module, info.dtype, count, shape);
  int64_t elements = type_static_count(type);
  if (elements >= 0) {
    Data *data = data_spread(node->module, element, 0, elements);
    return set_output(node, build_const(&node->builder, type, data, node->proto->output[0]));
  }
  Value *scalar = build_const(&node->builder, type_scalar(node->module, info.dtype), element, NULL);
  return set_output(node, emit_broadcast(node, scalar, type));
}

static bool output_constant(OnnxNode *node, const Type *type, const Data *data) {
  return set_output(node, build_const(&node->builder, type, data, node->proto->output[0]));
}

/* 1 where column is row + k. */
static bool import_eye_like(OnnxNode *node) {
  const Type *like = input(node, 0)->type;
  int64_t k = attr_int(node, "k", 0);
  Dtype dtype = attr_find(node, "dtype") ? dtype_of_onnx(attr_int(node, "dtype", 0)) : like->dtype;
  if (like->rank != 2 || dtype == DTYPE_NONE || dtype == DTYPE_STRING)
    return onnx_fail(node, "no identity matrix like %s", type_text(node->module, like));
  Value *rows = emit_unsqueeze(node, emit_positions(node, DTYPE_I64, like->dims[0]), 0, 1);
  Value *columns = emit_positions(node, DTYPE_I64, like->dims[1]);
  Value *diagonal = emit_binary(node, &op_add, rows, emit_scalar(node, rows, (double)k));
  return set_output(node, emit_cast(node, emit_binary(node, &op_equal, columns, diagonal), dtype));
}

/* The number of a constant scalar, through casts of it. */
static bool cast_scalar(const Value *value, double *x) {
  if (!value->def || value->def->op != &op_cast) return value_scalar(value, x);
  TRY(cast_scalar(operand(value->def, 0), x));
  if (dtype_is_int(value->type->dtype)) *x = trunc(*x);
  if (value->type->dtype == DTYPE_F32) *x = (double)(float)*x;
  return true;
}

/* The number of elements where start, limit and delta follow from sizes; NULL when they do not. */
static const Dim *known_length(OnnxNode *node) {
  Module *m = node->module;
  const Dim *bounds[3] = {NULL, NULL, dim_const(m, 1)}, *const * known;
  for (int i = 0, count; i < node->input_count; i++) {
    known = value_known(input(node, i), &count);
    if (!known || count != 1) return NULL;
    bounds[i] = known[0];
  }
  if (!dim_is_const(bounds[2]) || dim_is(bounds[2], 0)) return NULL;
  bool back = bounds[2]->value < 0;
  const Dim *way = back ? dim_sub(m, bounds[0], bounds[1]) : dim_sub(m, bounds[1], bounds[0]);
  const Dim *length = dim_ceildiv(m, way, dim_const(m, back ? -bounds[2]->value : bounds[2]->value));
  return dim_make(m, DIM_MAX, length, dim_const(m, 0));
}

/* ... and where a run computes them. */
static bool find_length(OnnxNode *node, Value *const *bounds, const Dim **length) {
  const Dim *const *sizes;
  int count;
  Value *x[3];
  for (int i = 0; i < 3; i++) x[i] = emit_cast(node, bounds[i], DTYPE_F64);
  Value *steps =
      emit_unary(node, &op_ceil, emit_binary(node, &op_div, emit_binary(node, &op_sub, x[1], x[0]), x[2]));
  Value *positive = emit_binary(node, &op_max, steps, emit_scalar(node, steps, 0));
  TRY(bind_sizes(node, emit_cast(node, positive, DTYPE_I64), &sizes, &count));
  *length = sizes[0];
  return true;
}

/* start + i * delta, where the number of elements is a size. */
static bool range_of_sizes(OnnxNode *node) {
  Value *bounds[3] = {NULL, NULL, emit_scalar(node, input(node, 0), 1)};
  for (int i = 0; i < node->input_count; i++)
    if (!(bounds[i] = input_scalar(node, i, "a bound"))) return false;
  const Dim *length = known_length(node);
  if (!length) TRY(find_length(node, bounds, &length));
  Value *numbers = emit_positions(node, bounds[0]->type->dtype, length);
  return set_output(node,
                    emit_binary(node, &op_add, emit_binary(node, &op_mul, numbers, bounds[2]), bounds[0]));
}

/* com.microsoft's may leave out delta. */
static bool import_range(OnnxNode *node) {
  double bounds[3] = {0, 0, 1}; /* start, limit, delta */
  Dtype dtype = input(node, 0)->type->dtype;
  if (node->input_count < 2) return onnx_fail(node, "a limit is missing");
  for (int i = 0; i < node->input_count; i++)
    if (!cast_scalar(input(node, i), &bounds[i])) return range_of_sizes(node);
  if (bounds[2] == 0) return onnx_fail(node, "delta is 0");
  double length = ceil((bounds[1] - bounds[0]) / bounds[2]);
  if (!(length <= MAX_FOLDED))
    return onnx_fail(node, "from %g to %g in steps of %g", bounds[0], bounds[1], bounds[2]);
  int64_t count = length > 0 ? (int64_t)length : 0;
  Data *data = data_new(node->module, dtype, count);
  for (int64_t i = 0; i < count; i++)
    dtype_set(dtype, data_bytes(data), i, bounds[0] + (double)i * bounds[2]);
  return output_constant(node, type_static(node->module, dtype, 1, &count), data);
}

typedef struct CosineWindow {
  const char *name;
  double a[3]; /* a0 - a1 cos(t) + a2 cos(2 t), t from 0 to a whole turn */
} CosineWindow;

static const CosineWindow windows[] = {
    {"BlackmanWindow", {0.42, 0.5, 0.08}},
    {"HammingWindow", {25.0 / 46, 21.0 / 46, 0}},
    {"HannWindow", {0.5, 0.5, 0}},
};

static bool import_window(OnnxNode *node) {
  const CosineWindow *window = windows;
  double size, turn = 2 * acos(-1);
  Dtype dtype = dtype_of_onnx(attr_int(node, "output_datatype", 1));
  while (strcmp(window->name, node->row->name) != 0) window++;
  if (!value_scalar(input(node, 0), &size) || !(size >= 0 && size <= MAX_FOLDED))
    return onnx_fail(node, "the size must be a constant, at most %d", MAX_FOLDED);
  if (!dtype_is_float(dtype)) return onnx_fail(node, "a window of %s", dtype_name(dtype));
  int64_t count = (int64_t)size, steps = count - !attr_bool(node, "periodic", true);
  Data *data = data_new(node->module, dtype, count);
  for (int64_t i = 0; i < count; i++) {
    double t = steps > 0 ? turn * (double)i / (double)steps : 0;
    dtype_set(dtype, data_bytes(data), i, window->a[0] - window->a[1] * cos(t) + window->a[2] * cos(2 * t));
  }
  return output_constant(node, type_static(node->module, dtype, 1, &count), data);
}

/* ---- Masks */

/* where(column >= row + k, x, 0) for the upper triangle. Far off k is as good as a little off. */
static bool import_trilu(OnnxNode *node) {
  Value *x = input(node, 0), *k = input_scalar(node, 1, "k");
  int rank = x->type->rank;
  if (rank < 2) return onnx_fail(node, "no triangle of %s", type_text(node->module, x->type));
  Value *row = emit_unsqueeze(node, emit_positions(node, DTYPE_I64, x->type->dims[rank - 2]), 0, 1);
  Value *column = emit_positions(node, DTYPE_I64, x->type->dims[rank - 1]);
  if (k) {
    Value *const bounded[] = {k, emit_scalar(node, k, INT32_MIN), emit_scalar(node, k, INT32_MAX)};
    row = emit_binary(node, &op_add, row, emit(node, &op_clip, bounded, 3));
  }
  bool upper = attr_bool(node, "upper", true);
  Value *keep = emit_binary(node, upper ? &op_greater_or_equal : &op_less_or_equal, column, row);
  return set_output(node, emit_where(node, keep, x, emit_scalar(node, x, 0)));
}

/* The number of classes: a constant, or what follows from shapes. */
static bool read_depth(OnnxNode *node, const Dim **depth) {
  double value;
  int count;
  const Dim *const *known = value_known(input(node, 1), &count);
  if (known && count == 1 && !dim_is_const(known[0])) {
    *depth = known[0];
    return true;
  }
  if (!value_scalar(input(node, 1), &value) || !(value >= 1 && value <= MAX_FOLDED))
    return onnx_fail(node, "depth must be a positive constant");
  *depth = dim_const(node->module, (int64_t)value);
  return true;
}

/* Element `index` of [off, on]. */
static Value *choice(OnnxNode *node, Value *values, int64_t index) {
  const Dim *start = dim_const(node->module, index), *one = dim_const(node->module, 1);
  return emit_reshape(node, emit_slice(node, values, &start, &one, (int64_t[]){1}), 0, NULL);
}

/* on where the index, counted from the end if negative, equals the position on the new axis. */
static bool import_one_hot(OnnxNode *node) {
  Value *indices = input(node, 0), *values = input(node, 2);
  const Dim *depth = NULL, *dims[MAX_RANK + 1];
  int rank = indices->type->rank;
  int64_t axis = attr_int(node, "axis", -1);
  TRY(read_depth(node, &depth) && normal_axis(node, &axis, rank + 1));
  if (values->type->rank != 1 || !dim_is(values->type->dims[0], 2))
    return onnx_fail(node, "values must be [off, on]");
  for (int i = 0; i <= rank; i++)
    dims[i] = i == axis ? dim_const(node->module, 1) : indices->type->dims[i - (i > axis)];
  if (dtype_is_int(indices->type->dtype)) indices = emit_cast(node, indices, DTYPE_I64);
  Value *index = emit_reshape(node, indices, rank + 1, dims);
  if (!index) return false;
  Dtype dtype = index->type->dtype;
  Value *classes = emit_range(node, depth, dim_const(node->module, 1), false); /* their number */
  Value *wrapped = emit_binary(node, &op_add, index, emit_cast(node, classes, dtype));
  Value *is_negative = emit_binary(node, &op_less, index, emit_scalar(node, index, 0));
  index = emit_where(node, is_negative, wrapped, index);
  Value *range = emit_unsqueeze(node, emit_positions(node, dtype, depth), 0, rank - (int)axis);
  Value *is_on = emit_binary(node, &op_equal, index, range);
  return set_output(node, emit_where(node, is_on, choice(node, values, 1), choice(node, values, 0)));
}

static const OnnxRow rows[] = {
    {"BlackmanWindow", 17, 1, 1, import_window, NULL},
    {"Constant", 1, 0, 0, import_constant, NULL},
    {"ConstantOfShape", 9, 1, 1, import_constant_of_shape, NULL},
    {"EyeLike", 9, 1, 1, import_eye_like, NULL},
    {"HammingWindow", 17, 1, 1, import_window, NULL},
    {"HannWindow", 17, 1, 1, import_window, NULL},
    {"OneHot", 9, 3, 3, import_one_hot, NULL},
    {"Range", 11, 3, 3, import_range, NULL},
    {"Trilu", 14, 1, 2, import_trilu, NULL},
    {"com.microsoft.Range", 1, 2, 3, import_range, NULL},
    {"com.microsoft.Trilu", 1, 1, 2, import_trilu, NULL},
};

const OnnxRows onnx_constant = {rows, COUNT_OF(rows)};
