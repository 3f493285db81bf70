/* ml.c -- what the operators of ai.onnx.ml share. See ml.h. */
#include "frontend/onnx/ml.h"

#include <math.h>
#include <string.h>

/* ---- Attributes */

bool attr_numbers(OnnxNode *node, const char *name, Numbers *numbers) {
  const Onnx__AttributeProto *attribute = attr_find(node, name);
  TensorInfo info;
  if (!attribute || !attribute->t) return onnx_fail(node, "attribute '%s' must be a tensor", name);
  TRY(tensor_info(node->module, attribute->t, &info));
  const Data *data = tensor_data(&node->import->source, attribute->t, &info);
  TRY(data);
  if (data->count > INT32_MAX || data->dtype == DTYPE_STRING)
    return onnx_fail(node, "attribute '%s' has %lld elements of %s", name, (long long)data->count,
                     dtype_name(data->dtype));
  *numbers = (Numbers){.count = (int)data->count, .dtype = data->dtype};
  numbers->values = NEW_ARRAY(node->module->arena, double, data->count);
  for (int64_t i = 0; i < data->count; i++) numbers->values[i] = data_get(data, i);
  return true;
}

Value *float_constant(OnnxNode *node, Dtype dtype, const float *values, int rank, const int64_t *dims) {
  const Type *type = type_static(node->module, dtype, rank, dims);
  Data *data = data_new(node->module, dtype, type_static_count(type));
  for (int64_t i = 0; i < data->count; i++) dtype_set(dtype, data_bytes(data), i, (double)values[i]);
  return build_const(&node->builder, type, data, NULL);
}

/* ---- Shapes */

Value *ml_rows(OnnxNode *node, Value *x) {
  if (!x || x->type->rank == 2) return x;
  if (x->type->rank == 1) return emit_unsqueeze(node, x, 1, 0);
  onnx_fail(node, "x is %s, rows of features are wanted", type_text(node->module, x->type));
  return NULL;
}

Value *ml_column(OnnxNode *node, Value *scores, int64_t index) {
  if (!scores) return NULL;
  Module *module = node->module;
  const Dim *rows = scores->type->dims[0];
  Value *column = emit_slice(node, scores, (const Dim *[]){dim_const(module, 0), dim_const(module, index)},
                             (const Dim *[]){rows, dim_const(module, 1)}, (int64_t[]){1, 1});
  return emit_reshape(node, column, 1, &rows);
}

Value *emit_columns(OnnxNode *node, Value *const *parts, int count) {
  for (int i = 0; i < count; i++)
    if (!parts[i]) return NULL;
  Node *concat = node_new(&node->builder, &op_concat, parts, count);
  node_set_int(concat, "axis", -1);
  return finish(concat);
}

/* ---- Classes */

bool read_labels(OnnxNode *node, const char *ints, const char *strings, Labels *labels) {
  int numbers, names;
  const int64_t *given = attr_ints(node, ints, &numbers);
  labels->names = attr_strings(node, strings, &names);
  labels->ints = names ? NULL : given;
  labels->count = names ? names : numbers;
  if (names && numbers) return onnx_fail(node, "%s and %s are both given", ints, strings);
  if (!names) labels->names = NULL;
  return labels->count > 0 || onnx_fail(node, "neither %s nor %s names a class", ints, strings);
}

static Value *labels_table(OnnxNode *node, const Labels *labels) {
  int64_t count = labels->count;
  return build_const(&node->builder, type_static(node->module, DTYPE_I64, 1, &count),
                     data_copy(node->module, DTYPE_I64, count, labels->ints), NULL);
}

Value *emit_best_class(OnnxNode *node, const Labels *labels, Value *scores) {
  if (!scores) return NULL;
  Node *best = node_new(&node->builder, &op_arg_max, &scores, 1);
  node_set_int(best, "axis", 1);
  Value *index = emit_reshape(node, finish(best), 1, scores->type->dims);
  return labels->ints && index ? emit_binary(node, &op_gather, labels_table(node, labels), index) : index;
}

Value *emit_label(OnnxNode *node, const Labels *labels, int64_t index) {
  int64_t label = labels->ints && labels->count > 1 ? labels->ints[index] : index;
  return build_const(&node->builder, type_scalar(node->module, DTYPE_I64),
                     data_copy(node->module, DTYPE_I64, 1, &label), NULL);
}

Value *emit_binary_class(OnnxNode *node, const Labels *labels, Value *score, double limit) {
  Value *is_second = emit_binary(node, &op_greater, score, emit_scalar(node, score, limit));
  return emit_where(node, is_second, emit_label(node, labels, 1), emit_label(node, labels, 0));
}

bool set_class_outputs(OnnxNode *node, const Labels *labels, Value *label, Value *scores) {
  if (!label || !scores) return false;
  node->outputs[0] = label;
  if (node->output_count > 1) node->outputs[1] = scores;
  if (labels->names) import_labels(node->import, label, labels->count, NULL, labels->names);
  if (dim_is(scores->type->dims[1], labels->count))
    import_labels(node->import, scores, labels->count, labels->ints, labels->names);
  return true;
}

/* ---- Post transforms */

static Value *over_rows(OnnxNode *node, const Op *op, Value *x) {
  return emit_reduce(node, op, x, (int64_t[]){1}, 1);
}

/* The softmax of the scores that are not 0 (closer to it than 1e-7); 0 stays 0. */
static Value *softmax_zero(OnnxNode *node, Value *x) {
  Value *largest = over_rows(node, &op_reduce_max, x), *zero = emit_scalar(node, x, 0);
  Value *some = emit_binary(node, &op_greater, emit_unary(node, &op_abs, x), emit_scalar(node, x, 1e-7f));
  Value *power = emit_unary(node, &op_exp, emit_binary(node, &op_sub, x, largest));
  power = emit_where(node, some, power, zero);
  return emit_binary(node, &op_div, power, over_rows(node, &op_reduce_sum, power));
}

/*
 * The inverse of the normal distribution, sqrt(2) * erfinv(2x-1), with Winitzki's approximation
 *   erfinv(y) = sign(y) sqrt(sqrt(v^2 - l/a) - v),  l = log(1-y^2),  v = 2/(pi a) + l/2,  a = 0.147
 * as ONNX's reference implementation and ONNX Runtime have it, to the digits of pi.
 */
static Value *probit(OnnxNode *node, Value *x) {
  const double a = 0.147, pi = 3.14159;
  Value *one = emit_scalar(node, x, 1);
  Value *y = emit_binary(node, &op_sub, emit_binary(node, &op_mul, x, emit_scalar(node, x, 2)), one);
  Value *product =
      emit_binary(node, &op_mul, emit_binary(node, &op_sub, one, y), emit_binary(node, &op_add, one, y));
  Value *l = emit_unary(node, &op_log, product);
  Value *v = emit_binary(node, &op_add, emit_scalar(node, x, 2 / (pi * a)),
                         emit_binary(node, &op_mul, l, emit_scalar(node, x, 0.5)));
  Value *square = emit_binary(node, &op_sub, emit_binary(node, &op_mul, v, v),
                              emit_binary(node, &op_mul, l, emit_scalar(node, x, 1 / a)));
  Value *root = emit_unary(node, &op_sqrt, emit_binary(node, &op_sub, emit_unary(node, &op_sqrt, square), v));
  root = emit_binary(node, &op_mul, root, emit_scalar(node, x, sqrt(2)));
  Value *is_negative = emit_binary(node, &op_less, y, emit_scalar(node, x, 0));
  return emit_where(node, is_negative, emit_unary(node, &op_neg, root), root);
}

Value *emit_post_transform(OnnxNode *node, Value *scores, const char *name) {
  if (!scores || strcmp(name, "NONE") == 0) return scores;
  if (strcmp(name, "LOGISTIC") == 0) return emit_unary(node, &op_sigmoid, scores);
  if (strcmp(name, "SOFTMAX") == 0) return emit_unary(node, &op_softmax, scores);
  if (strcmp(name, "SOFTMAX_ZERO") == 0) return softmax_zero(node, scores);
  if (strcmp(name, "PROBIT") == 0) return probit(node, scores);
  onnx_fail(node, "post_transform '%s' is not known", name);
  return NULL;
}

Value *emit_two_classes(OnnxNode *node, Value *score, const char *post, bool is_probability) {
  bool signs = !is_probability || strcmp(post, "LOGISTIC") == 0 || strcmp(post, "PROBIT") == 0;
  if (strncmp(post, "SOFTMAX", 7) == 0) post = "NONE";
  Value *second = emit_unsqueeze(node, score, 0, 1);
  if (strcmp(post, "PROBIT") == 0) second = emit_post_transform(node, second, post), post = "NONE";
  Value *first = emit_binary(node, &op_sub, emit_scalar(node, score, signs ? 0 : 1), second);
  return emit_post_transform(node, emit_columns(node, (Value *[]){first, second}, 2), post);
}
