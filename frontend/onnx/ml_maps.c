/*
 * ml_maps.c -- operators of ai.onnx.ml on maps: DictVectorizer, CastMap.
 *
 * A map comes as two inputs of the library, NAME_keys and NAME_values, one value for each key; inside, the
 * values stand for it, and map_keys (model.c) knows the keys. What is asked for by key is a gather: behind a
 * value for what is missing lie those of the map, and a comparison of all with all says where.
 */
#include "frontend/onnx/strings.h"
#include "frontend/strings.h"

#include <string.h>

static Value *concat(OnnxNode *node, Value *x, Value *y) {
  if (!x || !y) return NULL;
  Node *core = node_new(&node->builder, &op_concat, (Value *[]){x, y}, 2);
  node_set_int(core, "axis", 0);
  return finish(core);
}

static Value *gather(OnnxNode *node, Value *x, Value *at) {
  return x && at ? emit_binary(node, &op_gather, x, at) : NULL;
}

/* What a map has for the wanted keys [C], as [1,C]; 0 or "" for those that it does not have. */
static Value *look_up(OnnxNode *node, Value *keys, Value *values, Value *wanted) {
  static const int64_t all[] = {0};
  Module *module = node->module;
  const Dim *size = values->type->dims[0], *one = dim_const(module, 1);
  Value *column = emit_unsqueeze(node, keys, 0, 1), *numbers = emit_range(node, one, size, true);
  Value *hits = is_string(keys) ? emit_string_pair(node, &op_string_equal, column, wanted)
                                : emit_binary(node, &op_equal, column, wanted);
  if (!hits || !numbers) return NULL;
  Value *none = emit_scalar(node, numbers, 0), *at = emit_where(node, hits, numbers, none);
  at = at ? emit_reduce(node, &op_reduce_max, at, all, 1) : NULL;
  Data *missing = data_splat(module, values->type->dtype, 1, 0);
  Value *table = build_const(&node->builder, type_make(module, values->type->dtype, 1, &one), missing, NULL);
  at = at ? emit_binary(node, &op_max, at, none) : NULL; /* of no keys a maximum is the least number */
  return gather(node, concat(node, table, values), at);
}

static bool read_map(OnnxNode *node, Value **keys, Value **values) {
  *values = input(node, 0);
  *keys = map_keys(node->import, *values);
  return *keys || onnx_fail(node, "takes a map, which only an input of the model can be");
}

static bool import_dict_vectorizer(OnnxNode *node) {
  Value *keys, *values, *wanted;
  int ints, names;
  TRY(read_map(node, &keys, &values));
  const int64_t *int_keys = attr_ints(node, "int64_vocabulary", &ints);
  const char *const *name_keys = attr_strings(node, "string_vocabulary", &names);
  if (is_string(keys) ? !name_keys || int_keys : !int_keys || name_keys)
    return onnx_fail(node, "%d integers and %d strings are the vocabulary for keys of %s", ints, names,
                     dtype_name(keys->type->dtype));
  int64_t count = ints;
  if (name_keys)
    wanted = build_strings(&node->builder, name_keys, names, 1);
  else
    wanted = build_const(&node->builder, type_static(node->module, DTYPE_I64, 1, &count),
                         data_copy(node->module, DTYPE_I64, count, int_keys), NULL);
  return set_output(node, look_up(node, keys, values, wanted));
}

/* ---- CastMap */

/* The values in the order of their keys, as [1,N]. */
static Value *dense(OnnxNode *node, Value *keys, Value *values) {
  Node *order = node_new(&node->builder, &op_top_k, &keys, 1);
  node_set_dims(order, "k", keys->type->dims, 1);
  node_set_bool(order, "largest", false);
  return node_finish(order) ? emit_unsqueeze(node, gather(node, values, result(order, 1)), 1, 0) : NULL;
}

static bool import_cast_map(OnnxNode *node) {
  enum { MOST = 1 << 24 };
  Value *keys, *values;
  const char *to = attr_string(node, "cast_to", "TO_FLOAT"), *form = attr_string(node, "map_form", "DENSE");
  int64_t most = attr_int(node, "max_map", 1);
  Dtype dtype = strcmp(to, "TO_FLOAT") == 0    ? DTYPE_F32
                : strcmp(to, "TO_INT64") == 0  ? DTYPE_I64
                : strcmp(to, "TO_STRING") == 0 ? DTYPE_STRING
                                               : DTYPE_NONE;
  TRY(read_map(node, &keys, &values));
  if (dtype == DTYPE_NONE) return onnx_fail(node, "cast_to '%s' is not known", to);
  if (keys->type->dtype != DTYPE_I64)
    return onnx_fail(node, "keys are %s, not i64", dtype_name(keys->type->dtype));
  values = is_string(values) || dtype == DTYPE_STRING ? emit_string_cast(node, values, dtype)
                                                      : emit_cast(node, values, dtype);
  TRY(values);
  if (strcmp(form, "DENSE") == 0) return set_output(node, dense(node, keys, values));
  if (strcmp(form, "SPARSE") != 0) return onnx_fail(node, "map_form '%s' is not known", form);
  if (most < 1 || most > MOST) return onnx_fail(node, "max_map is %lld", (long long)most);
  Value *wanted = emit_positions(node, DTYPE_I64, dim_const(node->module, most));
  return set_output(node, look_up(node, keys, values, wanted));
}

static const OnnxRow rows[] = {
    {"ai.onnx.ml.CastMap", 1, 1, 1, import_cast_map, NULL},
    {"ai.onnx.ml.DictVectorizer", 1, 1, 1, import_dict_vectorizer, NULL},
};

const OnnxRows onnx_ml_maps = {rows, COUNT_OF(rows)};
