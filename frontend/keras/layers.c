/*
 * layers.c -- what all layers share: their table, access to configuration and weights, channel order,
 * padding.
 *
 * To add a layer: one function and one row in layers/<family>.c, one row in tests/keras/models.py.
 */
#include "frontend/keras/keras.h"
#include <string.h>

static const LayerKind *const families[] = {
    activation_layers, conv_layers, dense_layers, identity_layers, merge_layers,
    norm_layers,       pool_layers, rnn_layers,   shape_layers,
};

const LayerKind *layer_kind(const char *class_name) {
  for (int i = 0; i < COUNT_OF(families); i++)
    for (const LayerKind *kind = families[i]; kind->class_name; kind++)
      if (!strcmp(kind->class_name, class_name)) return kind;
  return NULL;
}

bool layer_is_input(const Layer *layer) {
  return !strcmp(layer->class_name, "InputLayer");
}

const char *layer_way_out(const char *class_name, const char *module) {
  static const struct {
    const char *word, *advice;
  } rows[] = {
      {"Lambda", "a Lambda layer is Python code inside the file and cannot be imported; write it with "
                 "layers, or convert the "
                 "model to ONNX (tf2onnx) and compile that"},
      {"OpLambda", "an operation called directly on tensors is not supported; use the layer of the same "
                   "name, or convert the "
                   "model to ONNX (tf2onnx) and compile that"},
      {"Vectorization", "text preprocessing is not supported; cut the model behind it"},
      {"Lookup", "lookup preprocessing is not supported; cut the model behind it"},
      {"",
       "this layer is not supported; replace it, or convert the model to ONNX (tf2onnx) and compile that"},
  };
  if (strstr(module, ".ops.")) return rows[1].advice;
  for (int i = 0;; i++)
    if (strstr(class_name, rows[i].word)) return rows[i].advice;
}

/* ---- errors ---- */

static void call_error(const Call *call, const char *format, va_list arguments) {
  char text[512];
  vsnprintf(text, sizeof text, format, arguments);
  diag_add(call->import->module, (Diag){.severity = SEVERITY_ERROR,
                                        .node = call->layer->name,
                                        .op = call->layer->class_name,
                                        .text = text});
}

bool call_fail(const Call *call, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  call_error(call, format, arguments);
  va_end(arguments);
  return false;
}

void *call_null(const Call *call, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  call_error(call, format, arguments);
  va_end(arguments);
  return NULL;
}

/* ---- weights ---- */

static int find_weight(const Call *call, const char *name) {
  for (int i = 0; i < call->layer->weight_count; i++)
    if (!strcmp(call->layer->weight_names[i], name)) return i;
  return -1;
}

bool call_has_weight(const Call *call, const char *name) {
  return find_weight(call, name) >= 0;
}

static void release_mapping(Data *data) {
  mapping_release(data->owner);
}

/* Points into the file where the dtype allows it, else converts. */
static const Data *weight_data(Call *call, const StoredArray *array, Dtype dtype, int64_t count) {
  Module *module = call->import->module;
  Mapping *mapping = call->import->container->store.mapping;
  size_t size;
  if (dtype == array->dtype && mapping && dtype_bytes(dtype, count, &size)) {
    mapping->references++;
    return data_borrow(module, dtype, count, array->bytes, size, release_mapping, mapping);
  }
  if (dtype == array->dtype) return data_copy(module, dtype, count, array->bytes);
  Data *data = data_new(module, dtype, count);
  for (int64_t i = 0; i < count; i++)
    dtype_set(dtype, data_bytes(data), i, dtype_get(array->dtype, array->bytes, i));
  return data;
}

static const char *shape_text(Module *module, int rank, const int64_t *dims) {
  const char *text = "[";
  for (int i = 0; i < rank; i++)
    text = dims[i] < 0 ? arena_printf(module->arena, "%s%s?", text, i ? "," : "")
                       : arena_printf(module->arena, "%s%s%lld", text, i ? "," : "", (long long)dims[i]);
  return arena_printf(module->arena, "%s]", text);
}

static bool check_shape(Call *call, const char *name, const StoredArray *array, int rank,
                        const int64_t *dims) {
  Module *module = call->import->module;
  bool good = array->rank == rank;
  for (int i = 0; good && i < rank; i++) good = dims[i] < 0 || array->dims[i] == dims[i];
  return good || call_fail(call, "its weight '%s' has the shape %s in the file, not %s", name,
                           shape_text(module, array->rank, array->dims), shape_text(module, rank, dims));
}

Value *call_weight(Call *call, const char *name, Value *like, int rank, const int64_t *dims) {
  int index = find_weight(call, name);
  if (index < 0) return call_null(call, "it needs a weight '%s', which the file does not have", name);
  const StoredArray *array = call->layer->weights[index];
  Dtype dtype = like->type->dtype;
  if (!check_shape(call, name, array, rank, dims)) return NULL;
  Value **value = &call->layer->values[index];
  if (*value && (*value)->type->dtype == dtype) return *value;
  const Type *type = type_static(call->import->module, dtype, rank, array->dims);
  const Data *data = weight_data(call, array, dtype, type_static_count(type));
  return *value = build_const(call->builder, type, data,
                              arena_printf(call->import->module->arena, "%s.%s", call->layer->name, name));
}

Value *call_float_input(Call *call, int index) {
  Value *x = call->inputs[index];
  Dtype dtype = x->type->dtype;
  return build_cast(call->builder, x, dtype == DTYPE_F64 ? DTYPE_F64 : DTYPE_F32);
}

Value *call_bias(Call *call, Value *x, int64_t units) {
  if (!call_has_weight(call, "bias")) return x;
  Value *bias = call_weight(call, "bias", x, 1, &units);
  return bias ? build_binary(call->builder, &op_add, x, bias) : NULL;
}

/* ---- configuration ---- */

bool call_ints(Call *call, const char *name, int count, int64_t otherwise, int64_t least, int64_t *values) {
  const cJSON *item = json_member(call->config, name);
  bool list = cJSON_IsArray(item);
  if (list && cJSON_GetArraySize(item) != count)
    return call_fail(call, "'%s' has %d numbers, not %d", name, cJSON_GetArraySize(item), count);
  for (int i = 0; i < count; i++) {
    const cJSON *number = list ? json_at(item, i) : item;
    values[i] = otherwise;
    if (number && !json_integer(number, &values[i]))
      return call_fail(call, "'%s' is not made of integers", name);
    if (values[i] < least || values[i] > INT32_MAX)
      return call_fail(call, "'%s' is %lld, which makes no sense", name, (long long)values[i]);
  }
  return true;
}

bool call_int(Call *call, const char *name, int64_t otherwise, int64_t *value) {
  const cJSON *item = json_member(call->config, name);
  *value = otherwise;
  return !item || json_integer(item, value) || call_fail(call, "'%s' is no integer", name);
}

bool call_axis(Call *call, const cJSON *item, int rank, int64_t *axis) {
  if (!json_integer(item, axis)) return call_fail(call, "its axis is no integer");
  int64_t given = *axis;
  if (*axis < 0) *axis += rank;
  return (*axis >= 0 && *axis < rank) ||
         call_fail(call, "axis %lld of a tensor of rank %d", (long long)given, rank);
}

int call_spatial(const Call *call) {
  const char *digit = strpbrk(call->layer->class_name, "123");
  return digit ? *digit - '0' : 2;
}

/* ---- channel order ---- */

bool call_is_channels_first(const Call *call) {
  return !strcmp(json_text(call->config, "data_format", "channels_last"), "channels_first");
}

Value *call_to_nhwc(Call *call, Value *x) {
  int64_t perm[MAX_RANK];
  int rank = x->type->rank;
  if (!call_is_channels_first(call) || rank < 3) return x;
  for (int i = 0; i < rank; i++) perm[i] = i == 0 ? 0 : i == rank - 1 ? 1 : i + 1;
  return build_transpose(call->builder, x, perm);
}

Value *call_from_nhwc(Call *call, Value *x) {
  int64_t perm[MAX_RANK];
  if (!x) return NULL;
  int rank = x->type->rank;
  if (!call_is_channels_first(call) || rank < 3) return x;
  for (int i = 0; i < rank; i++) perm[i] = i == 0 ? 0 : i == 1 ? rank - 1 : i - 1;
  return build_transpose(call->builder, x, perm);
}

/* ---- padding ---- */

/* TensorFlow's rule for "same": ceil(size / stride) windows, the odd element at the end. */
static bool same_pads(Call *call, const Dim *size, int64_t span, int64_t stride, int64_t *begin,
                      int64_t *end) {
  int64_t total = span - 1;
  if (dim_is_const(size))
    total = (size->value + stride - 1) / stride * stride - stride + span - size->value;
  else if (stride != 1)
    return call_fail(call,
                     "padding 'same' with stride %lld needs fixed image sizes; give them with --input-shape",
                     (long long)stride);
  total = total > 0 ? total : 0;
  *begin = total / 2;
  *end = total - total / 2;
  return true;
}

bool call_pads(Call *call, const Value *x, int spatial, const int64_t *kernel, const int64_t *strides,
               const int64_t *dilations, int64_t *pads) {
  const char *padding = json_text(call->config, "padding", "valid");
  for (int i = 0; i < spatial; i++) {
    int64_t span = (kernel[i] - 1) * dilations[i] + 1;
    pads[i] = pads[spatial + i] = 0;
    if (!strcmp(padding, "same"))
      TRY(same_pads(call, x->type->dims[1 + i], span, strides[i], &pads[i], &pads[spatial + i]));
    else if (!strcmp(padding, "causal"))
      pads[i] = span - 1;
    else if (strcmp(padding, "valid"))
      return call_fail(call, "padding '%s' is unknown", padding);
  }
  return true;
}
