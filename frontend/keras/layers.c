/*
 * layers.c -- what all layers share: their table, access to configuration and weights, channel order,
 * padding.
 *
 * To add a layer: one function and one row in layers/<family>.c, one row in tests/keras/models.py.
 */
#include "frontend/keras/keras.h"
#include <string.h>

static const LayerKind *const families[] = {
    activation_layers, attention_layers, boxes_layers,       category_layers, contrast_layers,
    conv_layers,       conv_lstm_layers, dense_layers,       identity_layers, image_layers,
    local_layers,      mask_layers,      merge_layers,       norm_layers,     pool_layers,
    rnn_layers,        shape_layers,     spectrogram_layers, text_layers,     wrapper_layers,
};

static const LayerKind *const operations[] = {axes_operations, element_operations, shape_operations};

static const LayerKind *kind_named(const LayerKind *const *tables, int count, const char *name) {
  for (int i = 0; i < count; i++)
    for (const LayerKind *kind = tables[i]; kind->class_name; kind++)
      if (!strcmp(kind->class_name, name)) return kind;
  return NULL;
}

const LayerKind *layer_kind(const char *class_name) {
  return kind_named(families, COUNT_OF(families), class_name);
}

const LayerKind *operation_kind(const char *name) {
  const LayerKind *kind = element_operation(name);
  if (!kind) kind = axes_operation(name);
  return kind ? kind : kind_named(operations, COUNT_OF(operations), name);
}

bool layer_is_input(const Layer *layer) {
  return !strcmp(layer->class_name, "InputLayer");
}

const char *layer_way_out(const char *class_name, bool is_operation) {
  if (!strcmp(class_name, "Lambda"))
    return "a Lambda layer is Python code inside the file and cannot be imported; give its body as a graph, "
           "--op NAME=FILE.tn, or write it with layers";
  if (is_operation)
    return "this operation on tensors is not supported; give it as a graph, --op NAME=FILE.tn, or use layers";
  return "this layer is not supported; give its body as a graph, --op NAME=FILE.tn, or convert the model to "
         "ONNX (tf2onnx) and compile that";
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

const StoredArray *call_stored(const Call *call, const char *name) {
  int index = find_weight(call, name);
  return index < 0 ? NULL : call->layer->weights[index];
}

Value *call_weight(Call *call, const char *name, Value *like, int rank, const int64_t *dims) {
  return call_weight_of(call, name, like->type->dtype, rank, dims);
}

Value *call_weight_of(Call *call, const char *name, Dtype dtype, int rank, const int64_t *dims) {
  int index = find_weight(call, name);
  if (index < 0) return call_null(call, "it needs a weight '%s', which the file does not have", name);
  const StoredArray *array = call->layer->weights[index];
  if (!check_shape(call, name, array, rank, dims)) return NULL;
  Value **value = &call->layer->values[index];
  if (*value && (*value)->type->dtype == dtype) return *value;
  const Type *type = type_static(call->import->module, dtype, rank, array->dims);
  const Data *data = weight_data(call, array, dtype, type_static_count(type));
  return *value = build_const(call->builder, type, data,
                              arena_printf(call->import->module->arena, "%s.%s", call->layer->name, name));
}

Value *call_float(Call *call, Value *x) {
  return make_cast(call, x, x && x->type->dtype == DTYPE_F64 ? DTYPE_F64 : DTYPE_F32);
}

Value *call_float_input(Call *call, int index) {
  return call_float(call, call->inputs[index]);
}

Value *call_bias(Call *call, Value *x, int64_t units) {
  if (!call_has_weight(call, "bias")) return x;
  Value *bias = call_weight(call, "bias", x, 1, &units);
  return bias ? build_binary(call->builder, &op_add, x, bias) : NULL;
}

/* ---- arguments ---- */

const cJSON *call_argument(const Call *call, int position, const char *name) {
  const LayerCall *from = call->from;
  const cJSON *named = from ? json_member(from->kwargs, name) : NULL;
  if (named || !from || position < 0) return named;
  if (!from->is_keras3) return position ? NULL : from->args;
  const cJSON *item = json_at(from->args, position);
  return cJSON_IsNull(item) ? NULL : item;
}

bool call_argument_flag(const Call *call, int position, const char *name) {
  return cJSON_IsTrue(call_argument(call, position, name));
}

/* Keras 2 wraps a lone tensor into a list. */
bool call_find(const Call *call, const cJSON *item, Masked *found) {
  TensorRef ref;
  *found = (Masked){0};
  if (!json_tensor(item, &ref) && !(cJSON_GetArraySize(item) == 1 && json_tensor(json_at(item, 0), &ref)))
    return false;
  for (int i = 0; call->from && i < call->from->ref_count; i++) {
    const TensorRef *other = &call->from->refs[i];
    if (other->call == ref.call && other->tensor == ref.tensor && !strcmp(other->layer, ref.layer))
      return *found = call->refs[i], true;
  }
  return false;
}

Masked call_named(Call *call, int position, const char *name) {
  Masked found;
  call_find(call, call_argument(call, position, name), &found);
  return found;
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

/* TensorFlow's rule for "same": ceil(size / stride) windows, the odd element at the end. *begin and *end get
 * the padding, which is symbolic where a stride meets an open size. */
static void same_pads(Module *module, const Dim *size, int64_t span, int64_t stride, const Dim **begin,
                      const Dim **end) {
  const Dim *zero = dim_const(module, 0), *step = dim_const(module, stride),
            *total = dim_const(module, span - 1);
  if (stride != 1 || dim_is_const(size)) {
    const Dim *reach =
        dim_mul(module, dim_sub(module, dim_ceildiv(module, size, step), dim_const(module, 1)), step);
    total = dim_sub(module, dim_add(module, reach, dim_const(module, span)), size);
    total = dim_make(module, DIM_MAX, total, zero);
  }
  *begin = dim_floordiv(module, total, dim_const(module, 2));
  *end = dim_sub(module, total, *begin);
}

/* The padding that is no number is put around x. */
static Value *pad_open(Call *call, Value *x, int axis, const Dim *begin, const Dim *end, double fill) {
  Module *module = call->import->module;
  const Dim *pads[2 * MAX_RANK];
  int rank = x->type->rank;
  for (int i = 0; i < 2 * rank; i++) pads[i] = dim_const(module, 0);
  pads[axis] = begin;
  pads[rank + axis] = end;
  Value *value = build_scalar(call->builder, x->type->dtype, fill);
  Node *node = node_new(call->builder, &op_pad, (Value *[]){x, value}, 2);
  node_set_dims(node, "pads", pads, 2 * rank);
  return make(node);
}

Value *call_pads(Call *call, Value *x, const Windows *w, double fill, int64_t *pads) {
  const char *padding = json_text(call->config, "padding", "valid");
  const Type *type = x->type;
  for (int i = 0; x && i < w->spatial; i++) {
    int64_t span = (w->kernel[i] - 1) * w->dilations[i] + 1;
    pads[i] = pads[w->spatial + i] = 0;
    if (!strcmp(padding, "same")) {
      const Dim *begin, *end;
      same_pads(call->import->module, type->dims[1 + i], span, w->strides[i], &begin, &end);
      if (!dim_is_const(begin) || !dim_is_const(end)) {
        x = pad_open(call, x, 1 + i, begin, end, fill);
      } else {
        pads[i] = begin->value;
        pads[w->spatial + i] = end->value;
      }
    } else if (!strcmp(padding, "causal")) {
      pads[i] = span - 1;
    } else if (strcmp(padding, "valid")) {
      return call_null(call, "padding '%s' is unknown", padding);
    }
  }
  return x;
}
