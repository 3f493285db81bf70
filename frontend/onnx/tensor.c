/*
 * tensor.c -- TensorProto, in all its forms, to Data and to Tensor.
 *
 * The elements lie in raw bytes (of the mapped file, see wire.h), in a typed list, or in another file. A list
 * holds one entry per element, of which the low bytes count; those of complex numbers hold two, and elements
 * under a byte share one entry per byte. Whatever the form, there must be exactly as many bytes as the dims
 * say.
 */
#include "frontend/onnx/onnx.h"

#include <stdlib.h>
#include <string.h>

typedef enum Field {
  FLOATS = 4,
  INT32S = 5,
  STRINGS = 6,
  INT64S = 7,
  DOUBLES = 10,
  UINT64S = 11
} Field;                            /* by field number */
enum { MAX_SPARSE_SIZE = 1 << 28 }; /* a few bytes can promise any size */
enum { RAW_DATA = 9, EXTERNAL = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL };

/* Where elements of a type lie when they are not raw. */
typedef struct Storage {
  Dtype dtype;
  Field field;
  size_t unit; /* bytes of one entry that count */
} Storage;

static const Storage storages[] = {
    [ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT] = {DTYPE_F32, FLOATS, 4},
    [ONNX__TENSOR_PROTO__DATA_TYPE__UINT8] = {DTYPE_U8, INT32S, 1},
    [ONNX__TENSOR_PROTO__DATA_TYPE__INT8] = {DTYPE_I8, INT32S, 1},
    [ONNX__TENSOR_PROTO__DATA_TYPE__UINT16] = {DTYPE_U16, INT32S, 2},
    [ONNX__TENSOR_PROTO__DATA_TYPE__INT16] = {DTYPE_I16, INT32S, 2},
    [ONNX__TENSOR_PROTO__DATA_TYPE__INT32] = {DTYPE_I32, INT32S, 4},
    [ONNX__TENSOR_PROTO__DATA_TYPE__INT64] = {DTYPE_I64, INT64S, 8},
    [ONNX__TENSOR_PROTO__DATA_TYPE__STRING] = {DTYPE_STRING, STRINGS, sizeof(char *)},
    [ONNX__TENSOR_PROTO__DATA_TYPE__BOOL] = {DTYPE_BOOL, INT32S, 1},
    [ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16] = {DTYPE_F16, INT32S, 2},
    [ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE] = {DTYPE_F64, DOUBLES, 8},
    [ONNX__TENSOR_PROTO__DATA_TYPE__UINT32] = {DTYPE_U32, UINT64S, 4},
    [ONNX__TENSOR_PROTO__DATA_TYPE__UINT64] = {DTYPE_U64, UINT64S, 8},
    [ONNX__TENSOR_PROTO__DATA_TYPE__COMPLEX64] = {DTYPE_C64, FLOATS, 4},
    [ONNX__TENSOR_PROTO__DATA_TYPE__COMPLEX128] = {DTYPE_C128, DOUBLES, 8},
    [ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16] = {DTYPE_BF16, INT32S, 2},
    [ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT8E4M3FN] = {DTYPE_F8E4M3FN, INT32S, 1},
    [ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT8E4M3FNUZ] = {DTYPE_F8E4M3FNUZ, INT32S, 1},
    [ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT8E5M2] = {DTYPE_F8E5M2, INT32S, 1},
    [ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT8E5M2FNUZ] = {DTYPE_F8E5M2FNUZ, INT32S, 1},
    [ONNX__TENSOR_PROTO__DATA_TYPE__UINT4] = {DTYPE_U4, INT32S, 1},
    [ONNX__TENSOR_PROTO__DATA_TYPE__INT4] = {DTYPE_I4, INT32S, 1},
    [ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT4E2M1] = {DTYPE_F4E2M1, INT32S, 1},
    [ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT8E8M0] = {DTYPE_F8E8M0, INT32S, 1},
    [ONNX__TENSOR_PROTO__DATA_TYPE__UINT2] = {DTYPE_U2, INT32S, 1},
    [ONNX__TENSOR_PROTO__DATA_TYPE__INT2] = {DTYPE_I2, INT32S, 1},
};

Dtype dtype_of_onnx(int64_t data_type) {
  return data_type < 0 || data_type >= COUNT_OF(storages) ? DTYPE_NONE : storages[data_type].dtype;
}

int64_t onnx_of_dtype(Dtype dtype) {
  int data_type = COUNT_OF(storages) - 1;
  while (data_type > 0 && storages[data_type].dtype != dtype) data_type--;
  return data_type;
}

static const char *name_of(const Onnx__TensorProto *tensor) {
  return tensor->name ? tensor->name : "";
}

/* ---- Type and shape */

/* Any dim 0 makes the count 0, whatever the others are. */
static bool count_elements(TensorInfo *info) {
  info->count = 1;
  bool overflow = false, is_empty = false;
  for (int i = 0; i < info->rank; i++) {
    is_empty |= info->dims[i] == 0;
    overflow |= __builtin_mul_overflow(info->count, info->dims[i], &info->count);
  }
  if (is_empty) info->count = 0;
  return is_empty || !overflow;
}

static bool set_shape(Module *module, const char *name, size_t rank, const int64_t *dims, TensorInfo *info) {
  if (rank > MAX_RANK)
    return fail(module, "tensor '%s' has %zu dims, at most %d are supported", name, rank, MAX_RANK);
  info->rank = (int)rank;
  for (int i = 0; i < info->rank; i++) {
    info->dims[i] = dims[i];
    if (dims[i] < 0) return fail(module, "dim %d of tensor '%s' is %lld", i, name, (long long)dims[i]);
  }
  if (!count_elements(info) || !dtype_bytes(info->dtype, info->count, &info->size))
    return fail(module, "the dims of tensor '%s' multiply to more bytes than can be addressed", name);
  return true;
}

bool tensor_info(Module *module, const Onnx__TensorProto *tensor, TensorInfo *info) {
  *info = (TensorInfo){.dtype = dtype_of_onnx(tensor->data_type)};
  if (info->dtype == DTYPE_NONE)
    return fail(module, "tensor '%s' has the unknown element type %d", name_of(tensor), tensor->data_type);
  return set_shape(module, name_of(tensor), tensor->n_dims, tensor->dims, info);
}

/* ---- Elements */

/* A typed list. */
typedef struct List {
  const void *entries;
  size_t count, stride;
} List;

static List list_of(const Onnx__TensorProto *tensor, Field field) {
  switch (field) {
  case FLOATS: return (List){tensor->float_data, tensor->n_float_data, sizeof *tensor->float_data};
  case INT32S: return (List){tensor->int32_data, tensor->n_int32_data, sizeof *tensor->int32_data};
  case STRINGS: return (List){tensor->string_data, tensor->n_string_data, sizeof *tensor->string_data};
  case INT64S: return (List){tensor->int64_data, tensor->n_int64_data, sizeof *tensor->int64_data};
  case DOUBLES: return (List){tensor->double_data, tensor->n_double_data, sizeof *tensor->double_data};
  case UINT64S: return (List){tensor->uint64_data, tensor->n_uint64_data, sizeof *tensor->uint64_data};
  }
  return (List){0};
}

static bool wrong_size(Module *module, const Onnx__TensorProto *tensor, size_t got, size_t want,
                       const char *unit) {
  return fail(module, "tensor '%s' holds %zu %s, its dims want %zu", name_of(tensor), got, unit, want);
}

/* Finds bytes that are there as they are: *bytes NULL when the elements are in a list. */
static bool find_bytes(TensorSource *source, const Onnx__TensorProto *tensor, const TensorInfo *info,
                       Mapping **file, const uint8_t **bytes) {
  *bytes = NULL;
  if (info->dtype == DTYPE_STRING && (tensor->data_location == EXTERNAL || tensor->has_raw_at))
    return fail(source->module, "tensor '%s' holds strings outside of its list", name_of(tensor));
  if (tensor->data_location == EXTERNAL) return external_find(source, tensor, info->size, file, bytes);
  if (!tensor->has_raw_at) return true;
  Field field = storages[tensor->data_type].field;
  if (tensor->raw_field != RAW_DATA && tensor->raw_field != field)
    return fail(source->module, "tensor '%s' is %s but keeps its elements in the list of another type",
                name_of(tensor), dtype_name(info->dtype));
  if (tensor->raw_size != info->size)
    return wrong_size(source->module, tensor, (size_t)tensor->raw_size, info->size, "bytes");
  *file = source->file;
  *bytes = source->file->bytes + tensor->raw_at;
  return true;
}

/* Before any memory is taken: what the dims promise may be far more than the file holds. */
static bool check_list(Module *module, const Onnx__TensorProto *tensor, const TensorInfo *info) {
  Storage storage = storages[tensor->data_type];
  List list = list_of(tensor, storage.field);
  size_t want = info->size / storage.unit;
  return list.count == want || wrong_size(module, tensor, list.count, want, "entries");
}

/* Copies the low bytes of each entry (this file, like the format, is little endian). */
static void copy_list(const Onnx__TensorProto *tensor, const TensorInfo *info, uint8_t *out) {
  Storage storage = storages[tensor->data_type];
  List list = list_of(tensor, storage.field);
  for (size_t i = 0; i < info->size / storage.unit; i++)
    memcpy(out + i * storage.unit, (const uint8_t *)list.entries + i * list.stride, storage.unit);
}

const char *string_text(Module *module, ProtobufCBinaryData bytes) {
  char *text = arena_alloc(module->arena, bytes.len + 1);
  if (!bytes.len) return text;
  if (memchr(bytes.data, 0, bytes.len)) return NULL;
  return memcpy(text, bytes.data, bytes.len);
}

static bool copy_strings(Module *module, const Onnx__TensorProto *tensor, const char **out) {
  for (size_t i = 0; i < tensor->n_string_data; i++) {
    const char *text = string_text(module, tensor->string_data[i]);
    if (!text) return fail(module, "string %zu of tensor '%s' has a byte 0", i, name_of(tensor));
    out[i] = intern(module, text);
  }
  return true;
}

/* Any byte but 0 is true; everything after this relies on 0 and 1. */
static void normalise_bools(uint8_t *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) bytes[i] = bytes[i] != 0;
}

Data *tensor_data(TensorSource *source, const Onnx__TensorProto *tensor, const TensorInfo *info) {
  Mapping *file;
  const uint8_t *bytes;
  if (tensor->segment) {
    fail(source->module, "tensor '%s' is stored in segments, which are not supported", name_of(tensor));
    return NULL;
  }
  if (!find_bytes(source, tensor, info, &file, &bytes)) return NULL;
  if (bytes && info->dtype != DTYPE_BOOL)
    return mapping_data(source->module, file, info->dtype, info->count, bytes, info->size);
  if (!bytes && !check_list(source->module, tensor, info)) return NULL;
  Data *data = data_new(source->module, info->dtype, info->count);
  if (!data) return NULL;
  if (bytes)
    memcpy(data_bytes(data), bytes, info->size);
  else if (info->dtype == DTYPE_STRING)
    return copy_strings(source->module, tensor, data_bytes(data)) ? data : NULL;
  else
    copy_list(tensor, info, data_bytes(data));
  if (info->dtype == DTYPE_BOOL) normalise_bools(data_bytes(data), info->size);
  return data;
}

/* ---- Sparse tensors: values, and indices either flat [N] or by coordinate [N,rank] */

static bool flat_index(const TensorInfo *info, const Data *indices, const TensorInfo *shape, int64_t i,
                       int64_t *flat) {
  if (shape->rank == 1) {
    *flat = data_get_int(indices, i);
    return *flat >= 0 && *flat < info->count;
  }
  *flat = 0;
  for (int axis = 0; axis < info->rank; axis++) {
    int64_t at = data_get_int(indices, i * info->rank + axis);
    if (at < 0 || at >= info->dims[axis]) return false;
    *flat = *flat * info->dims[axis] + at;
  }
  return true;
}

static bool check_sparse(Module *module, const char *name, const TensorInfo *values,
                         const TensorInfo *indices, const TensorInfo *info) {
  bool by_coordinate = indices->rank == 2 && indices->dims[1] == info->rank;
  if (values->rank != 1 || indices->dtype != DTYPE_I64 || !(indices->rank == 1 || by_coordinate) ||
      indices->dims[0] != values->dims[0])
    return fail(module, "sparse tensor '%s': values and indices do not fit each other", name);
  if (info->size > MAX_SPARSE_SIZE)
    return fail(module, "sparse tensor '%s' is too large to be written out in full", name);
  return true;
}

Data *sparse_data(TensorSource *source, const Onnx__SparseTensorProto *sparse, TensorInfo *info) {
  Module *module = source->module;
  TensorInfo values_info, indices_info;
  if (!sparse->values || !sparse->indices) {
    fail(module, "a sparse tensor without values or indices");
    return NULL;
  }
  const char *name = name_of(sparse->values);
  if (!tensor_info(module, sparse->values, &values_info) ||
      !tensor_info(module, sparse->indices, &indices_info))
    return NULL;
  *info = (TensorInfo){.dtype = values_info.dtype};
  if (!set_shape(module, name, sparse->n_dims, sparse->dims, info) ||
      !check_sparse(module, name, &values_info, &indices_info, info))
    return NULL;
  Data *values = tensor_data(source, sparse->values, &values_info);
  Data *indices = tensor_data(source, sparse->indices, &indices_info);
  if (!values || !indices) return NULL;
  Data *data = data_new(module, info->dtype, info->count);
  for (int64_t i = 0; i < values_info.count; i++) {
    int64_t flat;
    if (!flat_index(info, indices, &indices_info, i, &flat)) {
      fail(module, "sparse tensor '%s': index %lld is out of range", name, (long long)i);
      return NULL;
    }
    dtype_copy(info->dtype, data_bytes(data), flat, values->bytes, i);
  }
  return data;
}
