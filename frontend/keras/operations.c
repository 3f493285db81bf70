/*
 * operations.c -- operations that a model calls directly on tensors: of keras.ops (Keras 3, by their class:
 * Add, Multiply) and of TensorFlow (Keras 2, by their function: math.add, nn.relu). They look like layers,
 * but take arguments by position and name, tensors or numbers; parameters stand there or, in Keras 3, in the
 * configuration. This file reads these; operations_element.c has the operations that work element by element,
 * operations_axes.c those along axes, operations_shape.c those that move elements.
 *
 * Numbers take the type of the tensor that they meet, unless they are fractions and it has integers.
 */
#include "frontend/keras/operations.h"
#include <math.h>
#include <string.h>

/* ---- parameters ---- */

const cJSON *op_param(const Call *call, int position, const char *name) {
  const cJSON *item = call_argument(call, position, name);
  return item ? item : json_member(call->config, name);
}

bool op_flag(const Call *call, int position, const char *name, bool otherwise) {
  const cJSON *item = op_param(call, position, name);
  return cJSON_IsBool(item) ? cJSON_IsTrue(item) : otherwise;
}

double op_number(const Call *call, int position, const char *name, double otherwise) {
  const cJSON *item = op_param(call, position, name);
  return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

bool op_axes_param(Call *call, const cJSON *item, int rank, int64_t *axes, int *count) {
  *count = cJSON_IsArray(item) ? cJSON_GetArraySize(item) : item != NULL;
  if (*count > rank) return call_fail(call, "it has %d axes for a tensor of %d", *count, rank);
  for (int i = 0; i < *count; i++)
    TRY(call_axis(call, cJSON_IsArray(item) ? json_at(item, i) : item, rank, &axes[i]));
  return true;
}

const Dim *op_dim(Call *call, const cJSON *item) {
  Masked found;
  int64_t value;
  int count = 0;
  if (json_integer(item, &value)) return dim_const(call->import->module, value);
  const Dim *const *known = call_find(call, item, &found) ? value_known(found.value, &count) : NULL;
  return known && count == 1 ? known[0] : call_null(call, "a size of its arguments is not known");
}

Dtype op_dtype(const cJSON *item, Dtype otherwise) {
  static const struct {
    const char *name;
    Dtype dtype;
  } names[] = {{"bool", DTYPE_BOOL},   {"bfloat16", DTYPE_BF16}, {"float16", DTYPE_F16},
               {"float32", DTYPE_F32}, {"float64", DTYPE_F64},   {"int8", DTYPE_I8},
               {"int16", DTYPE_I16},   {"int32", DTYPE_I32},     {"int64", DTYPE_I64},
               {"uint8", DTYPE_U8},    {"uint16", DTYPE_U16},    {"uint32", DTYPE_U32},
               {"uint64", DTYPE_U64}};
  const char *name =
      cJSON_IsString(item) ? item->valuestring : json_text(json_member(item, "config"), "name", "");
  for (int i = 0; i < COUNT_OF(names); i++)
    if (!strcmp(names[i].name, name)) return names[i].dtype;
  return otherwise;
}

/* ---- numbers as constants ---- */

typedef struct Numbers {
  double *values;
  int64_t count;
  int rank;
  int64_t dims[MAX_RANK];
  bool fractions, bools;
} Numbers;

enum { MAX_NUMBERS = 1 << 22 };

/* Nested lists of equal lengths, row-major. */
static bool read_numbers(Call *call, const cJSON *item, int depth, Numbers *n) {
  const cJSON *child;
  if (cJSON_IsArray(item)) {
    int64_t size = cJSON_GetArraySize(item);
    if (depth >= MAX_RANK || (depth < n->rank && n->dims[depth] != size))
      return call_fail(call, "its constant is no tensor");
    if (depth >= n->rank) n->dims[n->rank++] = size;
    cJSON_ArrayForEach(child, item) TRY(read_numbers(call, child, depth + 1, n));
    return true;
  }
  bool is_bool = cJSON_IsBool(item);
  if ((!is_bool && !cJSON_IsNumber(item)) || depth != n->rank || n->count == MAX_NUMBERS)
    return call_fail(call, "one of its arguments is neither a tensor nor a number");
  double value = is_bool ? cJSON_IsTrue(item) : item->valuedouble;
  if (n->values) n->values[n->count] = value;
  n->count++;
  n->bools |= is_bool;
  n->fractions |= !is_bool && value != floor(value);
  return true;
}

Value *op_value(Call *call, const cJSON *item, Dtype dtype) {
  Masked found;
  Module *module = call->import->module;
  if (!item) return call_null(call, "an argument is missing");
  if (call_find(call, item, &found)) return found.value;
  if (cJSON_IsArray(item) &&
      !strcmp(cJSON_IsString(item->child) ? item->child->valuestring : "", "_CONSTANT_VALUE"))
    item = json_at(item, 2);
  if (cJSON_IsObject(item)) { /* __numpy__, __tensor__ */
    const cJSON *config = json_member(item, "config");
    if (dtype == DTYPE_NONE) dtype = op_dtype(json_member(config, "dtype"), DTYPE_NONE);
    item = json_member(config, "value");
  }
  Numbers n = {0};
  if (!read_numbers(call, item, 0, &n)) return NULL;
  n = (Numbers){.values = NEW_ARRAY(module->arena, double, n.count)};
  read_numbers(call, item, 0, &n);
  if (dtype == DTYPE_NONE) dtype = n.bools ? DTYPE_BOOL : n.fractions ? DTYPE_F32 : DTYPE_I32;
  if (n.fractions && !dtype_is_float(dtype)) dtype = DTYPE_F32;
  const Type *type = type_static(module, dtype, n.rank, n.dims);
  Data *data = data_new(module, dtype, n.count);
  for (int64_t i = 0; i < n.count; i++) dtype_set(dtype, data_bytes(data), i, n.values[i]);
  return build_const(call->builder, type, data, NULL);
}

Value *op_operand(Call *call, int position, const char *name) {
  const cJSON *item = op_param(call, position, name);
  if (!item && position < call->input_count) return call->inputs[position];
  return op_value(call, item, DTYPE_NONE);
}

Value *op_floats(Call *call) {
  Value *x = call->inputs[0];
  return dtype_is_float(x->type->dtype) ? x : make_cast(call, x, DTYPE_F32);
}

/* ---- names ---- */

const Op *op_named(const NamedOp *list, int count, const char *name) {
  size_t length = strlen(name);
  for (int i = 0; length && i < count; i++)
    for (const char *at = list[i].names; (at = strstr(at, name)); at++)
      if ((at == list[i].names || at[-1] == ' ') && (at[length] == ' ' || !at[length])) return list[i].op;
  return NULL;
}
