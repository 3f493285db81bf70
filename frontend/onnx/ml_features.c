/*
 * ml_features.c -- operators of ai.onnx.ml on features: scaling, encoding, choosing.
 *
 * Tables from numbers to numbers are comparisons when they are short, else a decision tree that searches.
 * Strings are first turned into their numbers among the keys. A ZipMap, whose maps no C program wants, leaves
 * its rows as they are and names their columns.
 */
#include "frontend/onnx/ml.h"
#include "frontend/onnx/strings.h"
#include "frontend/onnx/trees.h"
#include "frontend/strings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Floats of an attribute as [count], to broadcast along the last axis of x. */
static Value *per_feature(OnnxNode *node, const Value *x, const char *name) {
  int count;
  const float *values = attr_floats(node, name, &count);
  int64_t dims[] = {count};
  const Dim *features = x->type->rank ? x->type->dims[x->type->rank - 1] : dim_const(node->module, 1);
  if (count == 1 || (count && (!dim_is_const(features) || features->value == count)))
    return float_constant(node, DTYPE_F32, values, 1, dims);
  onnx_fail(node, "%s has %d elements for %s", name, count, type_text(node->module, x->type));
  return NULL;
}

static bool import_scaler(OnnxNode *node) {
  Value *x = emit_cast(node, input(node, 0), DTYPE_F32);
  TRY(x);
  if (attr_find(node, "offset")) x = emit_binary(node, &op_sub, x, per_feature(node, x, "offset"));
  if (x && attr_find(node, "scale")) x = emit_binary(node, &op_mul, x, per_feature(node, x, "scale"));
  return set_output(node, x);
}

/* Rows over their largest element, sum of magnitudes or length; rows of which that is 0 stay. */
static bool import_normalizer(OnnxNode *node) {
  Value *x = emit_cast(node, input(node, 0), DTYPE_F32), *size = NULL;
  TRY(x);
  int64_t last = x->type->rank - 1;
  const char *norm = attr_string(node, "norm", "MAX");
  if (last < 0) return onnx_fail(node, "a scalar has no rows");
  if (strcmp(norm, "MAX") == 0)
    size = emit_reduce(node, &op_reduce_max, x, &last, 1);
  else if (strcmp(norm, "L1") == 0)
    size = emit_reduce(node, &op_reduce_sum, emit_unary(node, &op_abs, x), &last, 1);
  else if (strcmp(norm, "L2") == 0)
    size = emit_unary(node, &op_sqrt,
                      emit_reduce(node, &op_reduce_sum, emit_binary(node, &op_mul, x, x), &last, 1));
  else
    return onnx_fail(node, "norm '%s' is not known", norm);
  Value *is_zero = emit_binary(node, &op_equal, size, emit_scalar(node, x, 0));
  return set_output(node,
                    emit_binary(node, &op_div, x, emit_where(node, is_zero, emit_scalar(node, x, 1), size)));
}

static bool import_binarizer(OnnxNode *node) {
  Value *x = input(node, 0);
  Value *over = emit_binary(node, &op_greater, emit_cast(node, x, DTYPE_F64),
                            build_scalar(&node->builder, DTYPE_F64, attr_float(node, "threshold", 0)));
  return set_output(node, emit_cast(node, over, x->type->dtype));
}

/* Elements that equal replaced_value (NaN equals NaN here) become the feature's imputed value. */
static bool import_imputer(OnnxNode *node) {
  Value *x = input(node, 0), *replaced, *imputed;
  Dtype dtype = x->type->dtype;
  if (dtype_is_float(dtype)) {
    double value = attr_float(node, "replaced_value_float", 0);
    TRY(imputed = emit_cast(node, per_feature(node, x, "imputed_value_floats"), dtype));
    replaced = isnan(value) ? emit_unary(node, &op_is_nan, x)
                            : emit_binary(node, &op_equal, x, emit_scalar(node, x, value));
  } else {
    int count;
    const int64_t *ints = attr_ints(node, "imputed_value_int64s", &count),
                  value = attr_int(node, "replaced_value_int64", 0);
    const Dim *features = x->type->rank ? x->type->dims[x->type->rank - 1] : dim_const(node->module, 1);
    if (count < 1 || (count > 1 && dim_is_const(features) && features->value != count))
      return onnx_fail(node, "imputed_value_int64s has %d elements for %s", count,
                       type_text(node->module, x->type));
    int64_t dims[] = {count};
    imputed = build_const(&node->builder, type_static(node->module, DTYPE_I64, 1, dims),
                          data_copy(node->module, DTYPE_I64, count, ints), NULL);
    Value *wanted = build_const(&node->builder, type_scalar(node->module, DTYPE_I64),
                                data_copy(node->module, DTYPE_I64, 1, &value), NULL);
    imputed = emit_cast(node, imputed, dtype);
    replaced = emit_binary(node, &op_equal, x, emit_cast(node, wanted, dtype));
  }
  return set_output(node, emit_where(node, replaced, imputed, x));
}

/* x [N,C] (or [C]: one row) as [N,width]: cut off, or filled up with zeros. */
static Value *columns_of_width(OnnxNode *node, Value *x, int64_t width) {
  Module *module = node->module;
  x = emit_cast(node, ml_rows(node, x), DTYPE_F32);
  if (!x || dim_is(x->type->dims[1], width)) return x;
  if (!dim_is_const(x->type->dims[1])) {
    onnx_fail(node, "the number of columns, %s, is not known: give it with --dim",
              dim_text(module, x->type->dims[1]));
    return NULL;
  }
  const Dim *zero = dim_const(module, 0), *rows = x->type->dims[0];
  int64_t have = x->type->dims[1]->value;
  if (have > width)
    return emit_slice(node, x, (const Dim *[]){zero, zero}, (const Dim *[]){rows, dim_const(module, width)},
                      (int64_t[]){1, 1});
  Node *pad = node_new(&node->builder, &op_pad, &x, 1);
  node_set_dims(pad, "pads", (const Dim *[]){zero, zero, zero, dim_const(module, width - have)}, 4);
  return finish(pad);
}

static bool import_feature_vectorizer(OnnxNode *node) {
  int count;
  const int64_t *widths = attr_ints(node, "inputdimensions", &count);
  if (count && count != node->input_count)
    return onnx_fail(node, "%d inputdimensions for %d inputs", count, node->input_count);
  Value **parts = NEW_ARRAY(node->module->arena, Value *, node->input_count);
  for (int i = 0; i < node->input_count; i++) {
    if (count && (widths[i] < 0 || widths[i] > INT32_MAX))
      return onnx_fail(node, "%lld columns", (long long)widths[i]);
    parts[i] = count ? columns_of_width(node, input(node, i), widths[i])
                     : emit_cast(node, ml_rows(node, input(node, i)), DTYPE_F32);
  }
  return set_output(node, emit_columns(node, parts, node->input_count));
}

/* Columns by their numbers, from the last axis. */
static bool import_array_feature_extractor(OnnxNode *node) {
  Value *x = input(node, 0), *indices = input(node, 1);
  if (x->type->rank == 0) return onnx_fail(node, "a scalar has no features");
  if (x->type->rank == 1) x = emit_unsqueeze(node, x, 1, 0);
  const Dim *count = type_count(node->module, indices->type);
  indices = emit_reshape(node, indices, 1, &count);
  TRY(x && indices);
  Node *gather = node_new(&node->builder, &op_gather, (Value *[]){x, indices}, 2);
  node_set_int(gather, "axis", -1);
  return set_output(node, finish(gather));
}

/* A category that is not known gives zeros, also where zeros=0 asks for an error: compiled code has none to
 * give. */
static bool import_one_hot_encoder(OnnxNode *node) {
  int64_t count;
  int ints, count_names;
  Value *x = input(node, 0);
  const int64_t *categories = attr_ints(node, "cats_int64s", &ints);
  const char *const *names = attr_strings(node, "cats_strings", &count_names);
  if (is_string(x) != (names != NULL) || (names && ints))
    return onnx_fail(node, "%d integers and %d strings are the categories of %s", ints, count_names,
                     type_text(node->module, x->type));
  if (names) {
    x = emit_unsqueeze(node, build_place_among(&node->builder, x, names, count_names, count_names), 0, 1);
    Value *numbers = emit_positions(node, DTYPE_I64, dim_const(node->module, count_names));
    return set_output(node, emit_cast(node, emit_binary(node, &op_equal, x, numbers), DTYPE_F32));
  }
  if (!ints) return onnx_fail(node, "cats_int64s and cats_strings are missing");
  count = ints;
  Value *table = build_const(&node->builder, type_static(node->module, DTYPE_I64, 1, &count),
                             data_copy(node->module, DTYPE_I64, count, categories), NULL);
  x = emit_unsqueeze(node, emit_cast(node, x, DTYPE_I64), 0, 1);
  return set_output(node, emit_cast(node, emit_binary(node, &op_equal, x, table), DTYPE_F32));
}

/* ---- LabelEncoder */

static const double EXACT = 9007199254740992.0; /* 2^53: integers up to it are doubles */

/* Keys or values, in whichever attribute they are: numbers or strings. */
typedef struct List {
  Numbers numbers;
  const char *const *texts; /* NULL: numbers */
  int count;
} List;

/* A tensor of strings, as a list. */
static bool tensor_texts(OnnxNode *node, const char *name, List *list) {
  const Onnx__AttributeProto *attribute = attr_find(node, name);
  TensorInfo info;
  TRY(tensor_info(node->module, attribute->t, &info));
  const Data *data = tensor_data(&node->import->source, attribute->t, &info);
  TRY(data);
  if (data->count > INT32_MAX) return onnx_fail(node, "'%s' is too long", name);
  const char **texts = NEW_ARRAY(node->module->arena, const char *, data->count);
  for (int i = 0; i < (int)data->count; i++) texts[i] = data_string(data, i);
  *list = (List){.texts = texts, .count = (int)data->count};
  return true;
}

static bool is_string_tensor(const OnnxNode *node, const char *name) {
  const Onnx__AttributeProto *attribute = attr_find(node, name);
  return attribute && attribute->t && dtype_of_onnx(attribute->t->data_type) == DTYPE_STRING;
}

static bool read_list(OnnxNode *node, const char *what, List *list) {
  Arena *arena = node->module->arena;
  const char *ints = arena_printf(arena, "%s_int64s", what), *floats = arena_printf(arena, "%s_floats", what);
  const char *tensor = arena_printf(arena, "%s_tensor", what),
             *strings = arena_printf(arena, "%s_strings", what);
  int count;
  *list = (List){.texts = attr_strings(node, strings, &count)};
  list->count = count;
  if (list->texts) return count > 0 || onnx_fail(node, "%s is empty", strings);
  if (is_string_tensor(node, tensor)) return tensor_texts(node, tensor, list);
  if (attr_find(node, tensor)) {
    TRY(attr_numbers(node, tensor, &list->numbers));
    list->count = list->numbers.count;
    return true;
  }
  bool is_int = attr_find(node, ints) != NULL;
  const int64_t *i64 = attr_ints(node, ints, &count);
  const float *f32 = is_int ? NULL : attr_floats(node, floats, &count);
  list->numbers = (Numbers){NEW_ARRAY(arena, double, count), count, is_int ? DTYPE_I64 : DTYPE_F32};
  for (int i = 0; i < count; i++) list->numbers.values[i] = is_int ? (double)i64[i] : (double)f32[i];
  list->count = count;
  return count > 0 || onnx_fail(node, "none of %s, %s, %s and %s is given", ints, floats, strings, tensor);
}

static bool read_default(OnnxNode *node, Dtype dtype, double *value) {
  Numbers given;
  *value = dtype_is_float(dtype) ? attr_float(node, "default_float", -0.0)
                                 : (double)attr_int(node, "default_int64", -1);
  if (!attr_find(node, "default_tensor")) return true;
  TRY(attr_numbers(node, "default_tensor", &given));
  if (given.count != 1) return onnx_fail(node, "default_tensor has %d elements", given.count);
  *value = given.values[0];
  return true;
}

/* x == key, where NaN equals NaN if it may be a key (from version 4 on). */
static Value *equals_key(OnnxNode *node, Value *x, double key) {
  if (isnan(key)) return emit_unary(node, &op_is_nan, x);
  return emit_binary(node, &op_equal, x, emit_scalar(node, x, key));
}

/* Of equal keys the first counts, so that is compared last. */
static Value *by_comparisons(OnnxNode *node, Value *x, const Numbers *keys, const Numbers *values,
                             Value *otherwise) {
  Value *y = otherwise;
  for (int i = keys->count - 1; i >= 0; i--) {
    if (isnan(keys->values[i]) && node->opset < 4) continue;
    y = emit_where(node, equals_key(node, x, keys->values[i]),
                   build_scalar(&node->builder, values->dtype, values->values[i]), y);
  }
  return y;
}

typedef struct KeyOrder {
  double key;
  int index;
} KeyOrder;

static int compare_order(const void *a, const void *b) {
  const KeyOrder *x = a, *y = b;
  if (x->key != y->key) return x->key < y->key ? -1 : 1;
  return x->index - y->index;
}

/* A balanced tree over sorted keys: nodes [*next..] of the forest; returns its root. The leaf of key i votes
 * i, the last leaf `count`. */
static int search_tree(Forest *forest, const KeyOrder *keys, int low, int high, int *next, int other) {
  int at = (*next)++;
  ForestNode *n = &forest->nodes[at];
  if (high - low == 1) {
    forest->votes[low].weight = keys[low].index;
    forest->nodes[*next] = (ForestNode){.mode = BRANCH_LEAF, .first_vote = low, .vote_count = 1};
    *n = (ForestNode){.mode = BRANCH_EQ, .value = keys[low].key, .yes = (*next)++, .no = other};
    return at;
  }
  int middle = low + (high - low) / 2;
  *n = (ForestNode){.mode = BRANCH_LT, .value = keys[middle].key};
  n->yes = search_tree(forest, keys, low, middle, next, other);
  forest->nodes[at].no = search_tree(forest, keys, middle, high, next, other);
  return at;
}

/* The position of every element among the keys, their number where it is none. */
static Value *positions(OnnxNode *node, Value *x, const Numbers *keys) {
  Arena *arena = node->module->arena;
  KeyOrder *sorted = NEW_ARRAY(arena, KeyOrder, keys->count);
  int count = 0, nan = -1, kept = 0, next = 2, root = 0;
  for (int i = 0; i < keys->count; i++) {
    if (isnan(keys->values[i]))
      nan = nan < 0 ? i : nan;
    else
      sorted[count++] = (KeyOrder){keys->values[i], i};
  }
  qsort(sorted, (size_t)count, sizeof *sorted, compare_order);
  for (int i = 0; i < count; i++)
    if (kept == 0 || sorted[i].key != sorted[kept - 1].key) sorted[kept++] = sorted[i];
  Forest forest = {.node_count = 3 * kept + 3,
                   .tree_count = 1,
                   .roots = &root,
                   .targets = 1,
                   .aggregate = "sum",
                   .dtype = DTYPE_F64};
  forest.nodes = NEW_ARRAY(arena, ForestNode, forest.node_count);
  forest.votes = NEW_ARRAY(arena, Vote, kept + 1);
  forest.nodes[0] = (ForestNode){.mode = BRANCH_LEAF, .first_vote = kept, .vote_count = 1};
  forest.votes[kept].weight = keys->count;
  root = kept ? search_tree(&forest, sorted, 0, kept, &next, 0) : 0;
  const Dim *column[] = {type_count(node->module, x->type), dim_const(node->module, 1)};
  Value *rows = emit_reshape(node, emit_cast(node, x, DTYPE_F64), 2, column);
  Value *at = rows ? emit_forest(node, rows, &forest) : NULL;
  at = emit_cast(node, emit_reshape(node, at, x->type->rank, x->type->dims), DTYPE_I64);
  if (nan < 0 || node->opset < 4) return at;
  return emit_where(node, emit_unary(node, &op_is_nan, x), build_scalar(&node->builder, DTYPE_I64, nan), at);
}

/* The values by the number of their key, and behind them what a key that is none of them becomes. */
static Value *value_table(OnnxNode *node, const List *values, double number, const char *text) {
  int64_t count = values->count + 1;
  if (values->texts) {
    const char **texts = NEW_ARRAY(node->module->arena, const char *, count);
    for (int i = 0; i < values->count; i++) texts[i] = values->texts[i];
    texts[values->count] = text;
    return build_strings(&node->builder, texts, count, 1);
  }
  Data *data = data_new(node->module, values->numbers.dtype, count);
  for (int i = 0; i < values->count; i++)
    dtype_set(data->dtype, data_bytes(data), i, values->numbers.values[i]);
  dtype_set(data->dtype, data_bytes(data), values->count, number);
  return build_const(&node->builder, type_static(node->module, data->dtype, 1, &count), data, NULL);
}

static Value *by_search(OnnxNode *node, Value *x, const List *keys, const List *values, double number,
                        const char *text) {
  Value *at = keys->texts ? build_place_among(&node->builder, x, keys->texts, keys->count, keys->count)
                          : positions(node, x, &keys->numbers);
  return emit_binary(node, &op_gather, value_table(node, values, number, text), at);
}

static bool import_label_encoder(OnnxNode *node) {
  enum { FEW = 16 };
  Value *x = input(node, 0);
  List keys, values;
  double number = 0;
  const char *text = attr_string(node, "default_string", "_Unused");
  TRY(read_list(node, "keys", &keys) && read_list(node, "values", &values));
  if (!values.texts) TRY(read_default(node, values.numbers.dtype, &number));
  if (values.texts && is_string_tensor(node, "default_tensor")) {
    List given;
    TRY(tensor_texts(node, "default_tensor", &given));
    if (given.count != 1) return onnx_fail(node, "default_tensor has %d elements", given.count);
    text = given.texts[0];
  }
  if (keys.count != values.count) return onnx_fail(node, "%d keys for %d values", keys.count, values.count);
  if (is_string(x) != (keys.texts != NULL))
    return onnx_fail(node, "the keys of %s are %s", type_text(node->module, x->type),
                     keys.texts ? "strings" : "numbers");
  for (int i = 0; !keys.texts && i < keys.count; i++)
    if (fabs(keys.numbers.values[i]) > EXACT && dtype_is_int(keys.numbers.dtype))
      return onnx_fail(node, "key %d, %.0f, is beyond 2^53", i, keys.numbers.values[i]);
  if (keys.texts || values.texts || keys.count > FEW)
    return set_output(node, by_search(node, x, &keys, &values, number, text));
  Value *none = build_scalar(&node->builder, values.numbers.dtype, number);
  Value *y = by_comparisons(node, x, &keys.numbers, &values.numbers, none);
  return set_output(node,
                    emit_broadcast(node, y, type_with_dtype(node->module, x->type, values.numbers.dtype)));
}

/* ---- LabelEncoder 1 and CategoryMapper: between strings and integers */

/* To the integers where x are strings, else to the strings; `numbers` NULL: from 0. */
static bool map_strings(OnnxNode *node, const char *const *texts, const int64_t *numbers, int count) {
  Value *x = input(node, 0);
  if (!texts || !count) return onnx_fail(node, "there are no strings to map");
  double *values = NEW_ARRAY(node->module->arena, double, count);
  for (int i = 0; i < count; i++) {
    values[i] = numbers ? (double)numbers[i] : i;
    if (fabs(values[i]) > EXACT) return onnx_fail(node, "number %d, %.0f, is beyond 2^53", i, values[i]);
  }
  List words = {.texts = texts, .count = count};
  List integers = {.numbers = {values, count, DTYPE_I64}, .count = count};
  bool from_strings = is_string(x);
  List *keys = from_strings ? &words : &integers, *results = from_strings ? &integers : &words;
  return set_output(node, by_search(node, x, keys, results, (double)attr_int(node, "default_int64", -1),
                                    attr_string(node, "default_string", "_Unused")));
}

static bool import_label_encoder_1(OnnxNode *node) {
  int count;
  const char *const *texts = attr_strings(node, "classes_strings", &count);
  return map_strings(node, texts, NULL, count);
}

static bool import_category_mapper(OnnxNode *node) {
  int count, numbers;
  const char *const *texts = attr_strings(node, "cats_strings", &count);
  const int64_t *ints = attr_ints(node, "cats_int64s", &numbers);
  if (count != numbers) return onnx_fail(node, "%d cats_strings, but %d cats_int64s", count, numbers);
  return map_strings(node, texts, ints, count);
}

/* ---- Maps */

static bool import_zip_map(OnnxNode *node) {
  Labels labels;
  Value *x = ml_rows(node, input(node, 0));
  TRY(x && read_labels(node, "classlabels_int64s", "classlabels_strings", &labels));
  if (dim_is_const(x->type->dims[1]) && x->type->dims[1]->value != labels.count)
    return onnx_fail(node, "%d labels for %s", labels.count, type_text(node->module, x->type));
  import_labels(node->import, x, labels.count, labels.ints, labels.names);
  return set_output(node, x);
}

static const OnnxRow rows[] = {
    {"ai.onnx.ml.ArrayFeatureExtractor", 1, 2, 2, import_array_feature_extractor, NULL},
    {"ai.onnx.ml.Binarizer", 1, 1, 1, import_binarizer, NULL},
    {"ai.onnx.ml.CategoryMapper", 1, 1, 1, import_category_mapper, NULL},
    {"ai.onnx.ml.FeatureVectorizer", 1, 1, -1, import_feature_vectorizer, NULL},
    {"ai.onnx.ml.Imputer", 1, 1, 1, import_imputer, NULL},
    {"ai.onnx.ml.LabelEncoder", 1, 1, 1, import_label_encoder_1, NULL},
    {"ai.onnx.ml.LabelEncoder", 2, 1, 1, import_label_encoder, NULL},
    {"ai.onnx.ml.Normalizer", 1, 1, 1, import_normalizer, NULL},
    {"ai.onnx.ml.OneHotEncoder", 1, 1, 1, import_one_hot_encoder, NULL},
    {"ai.onnx.ml.Scaler", 1, 1, 1, import_scaler, NULL},
    {"ai.onnx.ml.ZipMap", 1, 1, 1, import_zip_map, NULL},
};

const OnnxRows onnx_ml_features = {rows, COUNT_OF(rows)};
