/*
 * write_table.c -- which operator of ONNX a core operator is.
 *
 * Most differ in the names of their attributes only. The words of a row say what becomes of them:
 *
 *   axis              under its own name            axes>      its numbers are a further input
 *   kernel:name       under another                 @1         operand 1 are indices: i64
 *   keepdims=1        what the core operator is always
 *
 * Where more than that differs a function writes the node. What has no row cannot be written.
 */
#include "frontend/onnx/write.h"

#include <stdlib.h>
#include <string.h>

typedef struct WriteRow {
  const Op *op;
  const char *type, *words;
  WriteFunction *write; /* NULL: type and words say all */
  int opset;            /* that has it; 0: all that are written */
} WriteRow;

static const WriteRow rows[] = {
    {&op_abs, "Abs", "", NULL, 0},
    {&op_acos, "Acos", "", NULL, 0},
    {&op_acosh, "Acosh", "", NULL, 0},
    {&op_add, "Add", "", NULL, 0},
    {&op_affine, NULL, NULL, write_affine, 0},
    {&op_and, "And", "", NULL, 0},
    {&op_arg_max, "ArgMax", "axis select_last:select_last_index keepdims=1", NULL, 0},
    {&op_arg_min, "ArgMin", "axis select_last:select_last_index keepdims=1", NULL, 0},
    {&op_asin, "Asin", "", NULL, 0},
    {&op_asinh, "Asinh", "", NULL, 0},
    {&op_atan, "Atan", "", NULL, 0},
    {&op_atanh, "Atanh", "", NULL, 0},
    {&op_attention, NULL, NULL, write_attention, 0},
    {&op_average_pool, "AveragePool", "include_pad:count_include_pad", write_pool, 0},
    {&op_batch_norm, NULL, NULL, write_batch_norm, 0},
    {&op_bind, NULL, NULL, write_bind, 0},
    {&op_bit_cast, NULL, NULL, write_bit_cast, 0},
    {&op_bitwise_and, "BitwiseAnd", "", NULL, 0},
    {&op_bitwise_not, "BitwiseNot", "", NULL, 0},
    {&op_bitwise_or, "BitwiseOr", "", NULL, 0},
    {&op_bitwise_xor, "BitwiseXor", "", NULL, 0},
    {&op_broadcast, NULL, NULL, write_broadcast, 0},
    {&op_cast, NULL, NULL, write_cast, 0},
    {&op_ceil, "Ceil", "", NULL, 0},
    {&op_celu, "Celu", "alpha", NULL, 0},
    {&op_clip, NULL, NULL, write_clip, 0},
    {&op_col2im, "Col2Im", "sizes> kernel> strides dilations pads", NULL, 0},
    {&op_concat, "Concat", "axis", NULL, 0},
    {&op_conv, NULL, NULL, write_conv, 0},
    {&op_conv_transpose, NULL, NULL, write_conv_transpose, 0},
    {&op_cos, "Cos", "", NULL, 0},
    {&op_cosh, "Cosh", "", NULL, 0},
    {&op_cum_sum, "CumSum", "axis> exclusive reverse", NULL, 0},
    {&op_dequantize, NULL, NULL, write_dequantize, 0},
    {&op_det, "Det", "", NULL, 0},
    {&op_div, "Div", "", NULL, 0},
    {&op_elu, "Elu", "alpha", NULL, 0},
    {&op_equal, "Equal", "", NULL, 0},
    {&op_erf, "Erf", "", NULL, 0},
    {&op_exp, "Exp", "", NULL, 0},
    {&op_floor, "Floor", "", NULL, 0},
    {&op_gather, "Gather", "@1 axis", NULL, 0},
    {&op_gather_elements, "GatherElements", "@1 axis", NULL, 0},
    {&op_gather_nd, "GatherND", "@1 batch_axes:batch_dims", NULL, 0},
    {&op_gelu, "Gelu", "approximate", NULL, 20},
    {&op_gemm, NULL, NULL, write_gemm, 0},
    {&op_greater, "Greater", "", NULL, 0},
    {&op_greater_or_equal, "GreaterOrEqual", "", NULL, 0},
    {&op_grid_sample, NULL, NULL, write_grid_sample, 20},
    {&op_gru, "GRU", NULL, write_recurrent, 0},
    {&op_hard_sigmoid, "HardSigmoid", "alpha beta", NULL, 0},
    {&op_hard_swish, "HardSwish", "", NULL, 0},
    {&op_if, NULL, NULL, write_if, 0},
    {&op_image_decode, NULL, NULL, write_image_decode, 20},
    {&op_iota, NULL, NULL, write_iota, 0},
    {&op_is_nan, "IsNaN", "", NULL, 0},
    {&op_layer_norm, NULL, NULL, write_layer_norm, 0},
    {&op_leaky_relu, "LeakyRelu", "alpha", NULL, 0},
    {&op_less, "Less", "", NULL, 0},
    {&op_less_or_equal, "LessOrEqual", "", NULL, 0},
    {&op_log, "Log", "", NULL, 0},
    {&op_log_softmax, "LogSoftmax", "axis", NULL, 0},
    {&op_loop, NULL, NULL, write_loop, 0},
    {&op_lstm, "LSTM", NULL, write_recurrent, 0},
    {&op_matmul, NULL, NULL, write_matmul, 0},
    {&op_max, "Max", "", NULL, 0},
    {&op_max_pool, "MaxPool", "", write_pool, 0},
    {&op_max_pool_indices, "MaxPool", "column_major:storage_order", write_pool, 0},
    {&op_max_roi_pool, "MaxRoiPool", "sizes:pooled_shape scale:spatial_scale", NULL, 0},
    {&op_min, "Min", "", NULL, 0},
    {&op_mish, "Mish", "", NULL, 0},
    {&op_mod, NULL, NULL, write_mod, 0},
    {&op_mul, "Mul", "", NULL, 0},
    {&op_neg, "Neg", "", NULL, 0},
    {&op_non_max_suppression, NULL, NULL, write_non_max_suppression, 0},
    {&op_non_zero, NULL, NULL, write_non_zero, 0},
    {&op_not, "Not", "", NULL, 0},
    {&op_optional_get, "OptionalGetElement", "", NULL, 0},
    {&op_optional_has, "OptionalHasElement", "", NULL, 0},
    {&op_optional_make, NULL, NULL, write_optional_make, 0},
    {&op_or, "Or", "", NULL, 0},
    {&op_pad, NULL, NULL, write_pad, 0},
    {&op_pow, "Pow", "", NULL, 0},
    {&op_prelu, "PRelu", "", NULL, 0},
    {&op_quantize, NULL, NULL, write_quantize, 0},
    {&op_reduce_max, "ReduceMax", "axes> keepdims=1 noop_with_empty_axes=1", NULL, 0},
    {&op_reduce_mean, "ReduceMean", "axes> keepdims=1 noop_with_empty_axes=1", NULL, 0},
    {&op_reduce_min, "ReduceMin", "axes> keepdims=1 noop_with_empty_axes=1", NULL, 0},
    {&op_reduce_prod, "ReduceProd", "axes> keepdims=1 noop_with_empty_axes=1", NULL, 0},
    {&op_reduce_sum, "ReduceSum", "axes> keepdims=1 noop_with_empty_axes=1", NULL, 0},
    {&op_relu, "Relu", "", NULL, 0},
    {&op_reshape, NULL, NULL, write_reshape, 0},
    {&op_resize, NULL, NULL, write_resize, 0},
    {&op_reverse_sequence, NULL, NULL, write_reverse_sequence, 0},
    {&op_rnn, "RNN", NULL, write_recurrent, 0},
    {&op_roi_align, NULL, NULL, write_roi_align, 0},
    {&op_round, "Round", "", NULL, 0},
    {&op_scaled_tanh, NULL, NULL, write_scaled_tanh, 0},
    {&op_scatter_elements, "ScatterElements", "@1 axis reduction", NULL, 0},
    {&op_scatter_nd, "ScatterND", "@1 reduction", NULL, 0},
    {&op_selu, "Selu", "alpha gamma", NULL, 0},
    {&op_sequence_at, NULL, NULL, write_sequence_at, 0},
    {&op_sequence_concat, "ConcatFromSequence", "axis stack:new_axis", NULL, 0},
    {&op_sequence_erase, NULL, NULL, write_sequence_at, 0},
    {&op_sequence_insert, NULL, NULL, write_sequence_insert, 0},
    {&op_sequence_length, "SequenceLength", "", NULL, 0},
    {&op_sequence_make, NULL, NULL, write_sequence_make, 0},
    {&op_sequence_split, NULL, NULL, write_sequence_split, 0},
    {&op_shape, "Shape", "", NULL, 0},
    {&op_sigmoid, "Sigmoid", "", NULL, 0},
    {&op_sign, "Sign", "", NULL, 0},
    {&op_silu, NULL, NULL, write_silu, 0},
    {&op_sin, "Sin", "", NULL, 0},
    {&op_sinh, "Sinh", "", NULL, 0},
    {&op_slice, NULL, NULL, write_slice, 0},
    {&op_softmax, "Softmax", "axis", NULL, 0},
    {&op_softplus, "Softplus", "", NULL, 0},
    {&op_softsign, "Softsign", "", NULL, 0},
    {&op_sqrt, "Sqrt", "", NULL, 0},
    {&op_string_case, NULL, NULL, write_string_case, 0},
    {&op_string_concat, "StringConcat", "", NULL, 20},
    {&op_string_equal, "Equal", "", NULL, 0},
    {&op_string_format, "Cast", "to=8", NULL, 0},
    {&op_string_match, NULL, NULL, write_string_match, 20},
    {&op_string_parse, "Cast", "to", NULL, 0},
    {&op_string_split, NULL, NULL, write_string_split, 20},
    {&op_string_split_count, NULL, NULL, write_string_split, 20},
    {&op_string_without, NULL, NULL, write_string_without, 0},
    {&op_sub, "Sub", "", NULL, 0},
    {&op_tan, "Tan", "", NULL, 0},
    {&op_tanh, "Tanh", "", NULL, 0},
    {&op_thresholded_relu, "ThresholdedRelu", "alpha", NULL, 0},
    {&op_tile, "Tile", "repeats>", NULL, 0},
    {&op_top_k, "TopK", "k> axis largest", NULL, 0},
    {&op_transpose, "Transpose", "perm", NULL, 0},
    {&op_unfold, NULL, NULL, write_unfold, 0},
    {&op_unique, NULL, NULL, write_unique, 0},
    {&op_where, "Where", "", NULL, 0},
    {&op_xor, "Xor", "", NULL, 0},
};

static const WriteRow *row_of(const Op *op) {
  for (int i = 0; i < COUNT_OF(rows); i++)
    if (rows[i].op == op) return &rows[i];
  return NULL;
}

const char *row_type(const Node *node) {
  return row_of(node->op)->type;
}

/* ---- Words */

/* One word of a row: NAME, then ':', '>', '=' or nothing, then what follows. */
typedef struct Word {
  char name[32], sign;
  const char *rest; /* interned */
} Word;

static bool next_word(Writer *writer, const char **at, Word *word) {
  *at += strspn(*at, " ");
  int length = (int)strcspn(*at, " "), name = (int)strcspn(*at, " :>=");
  snprintf(word->name, sizeof word->name, "%.*s", name, *at);
  word->sign = name < length ? (*at)[name] : 0;
  word->rest = name < length ? intern(writer->module, arena_printf(writer->module->arena, "%.*s",
                                                                   length - name - 1, *at + name + 1))
                             : "";
  *at += length;
  return length > 0;
}

static const char *attribute_as_input(Writer *writer, const Node *node, const char *name) {
  const int index = op_attr_index(node->op, name);
  const Attr *attr = &node->attrs[index];
  switch (node->op->attrs[index].kind) {
  case ATTR_DIMS: return put_sizes(writer, attr->dims, attr->count);
  case ATTR_INTS: return put_ints(writer, attr->ints, attr->count);
  default: return put_number(writer, DTYPE_I64, (double)attr->i);
  }
}

static void write_attribute(Writer *writer, const Node *node, const char *from, const char *name) {
  const int index = op_attr_index(node->op, from);
  const Attr *attr = &node->attrs[index];
  name = intern(writer->module, name);
  switch (node->op->attrs[index].kind) {
  case ATTR_BOOL: with_int(writer, name, attr->b); break;
  case ATTR_INT: with_int(writer, name, attr->i); break;
  case ATTR_FLOAT: with_float(writer, name, attr->f); break;
  case ATTR_STRING: with_string(writer, name, attr->s); break;
  case ATTR_DTYPE: with_int(writer, name, onnx_of_dtype(attr->dtype)); break;
  case ATTR_INTS: with_ints(writer, name, attr->ints, attr->count); break;
  case ATTR_FLOATS: with_floats(writer, name, attr->floats, attr->count); break;
  default: break;
  }
}

/* The operands, and what the words add to them. */
static const char *const *row_inputs(Writer *writer, const Node *node, const char *words, int *count) {
  enum { MAX_MORE = 8 };
  const char **inputs = NEW_ARRAY(writer->module->arena, const char *, node->operand_count + MAX_MORE);
  Word word;
  *count = node->operand_count;
  for (int i = 0; i < *count; i++) inputs[i] = name_of_operand(writer, node, i);
  while (next_word(writer, &words, &word)) {
    int index = atoi(word.name + 1);
    if (*word.name == '@') inputs[index] = put_index(writer, operand(node, index), false);
    if (word.sign == '>' && !(inputs[(*count)++] = attribute_as_input(writer, node, word.name))) return NULL;
  }
  return inputs;
}

void write_words(Writer *writer, const Node *node, const char *words) {
  Word word;
  while (next_word(writer, &words, &word)) {
    if (word.sign == '=') with_int(writer, intern(writer->module, word.name), atoi(word.rest));
    if (word.sign == ':') write_attribute(writer, node, word.name, word.rest);
    if (!word.sign && *word.name != '@') write_attribute(writer, node, word.name, word.name);
  }
}

const char *row_words(const Node *node) {
  return row_of(node->op)->words;
}

static const char *write_row(Writer *writer, const WriteRow *row, const Node *node) {
  int count;
  const char *const *inputs = row_inputs(writer, node, row->words, &count);
  if (!inputs) return NULL;
  const char *first = put(writer, row->type, count, inputs);
  write_words(writer, node, row->words);
  for (int i = 1; i < node->result_count; i++) name_give(writer, result(node, i), put_output(writer));
  return first;
}

/* ---- Nodes */

/* Before any node is put, so that values keep their names. */
static void name_results(Writer *writer, const Node *node) {
  for (int i = 0; i < node->result_count; i++) {
    Value *value = result(node, i);
    if (!names_get(&writer->names, (const char *)value))
      names_set(writer->module, &writer->names, (const char *)value, name_new(writer, value->name));
  }
}

void needs_opset(Writer *writer, int opset) {
  if (opset > writer->opset) writer->opset = opset;
}

static bool check_type(Writer *writer, const Value *value) {
  static const Dtype later[] = {DTYPE_I2, DTYPE_U2, DTYPE_F8E8M0, DTYPE_F4E2M1};
  Dtype dtype = value ? value->type->dtype : DTYPE_NONE;
  if (dtype == DTYPE_I4 || dtype == DTYPE_U4) needs_opset(writer, 21);
  for (int i = 0; i < COUNT_OF(later); i++)
    if (dtype == later[i])
      return write_fail(writer, "opset %d of ONNX has no %s", MOST_OPSET, dtype_name(later[i])), false;
  return true;
}

static bool write_constant(Writer *writer, const Node *node) {
  const Value *value = result(node, 0);
  int64_t dims[MAX_RANK];
  for (int i = 0; i < value->type->rank; i++) dims[i] = value->type->dims[i]->value;
  const char *name = put_shared(writer, node->data, value->type->rank, dims, value->name);
  names_set(writer->module, &writer->names, (const char *)value, name);
  return check_type(writer, value);
}

static bool write_node(Writer *writer, const Node *node) {
  const WriteRow *row = row_of(node->op);
  writer->node = node;
  if (node->data) return write_constant(writer, node);
  if (!row)
    return write_fail(writer, "opset %d of ONNX has no operator for it%s", MOST_OPSET,
                      node_is(node, &op_kernel) ? ": write the graph before pass 'fuse'" : ""),
           false;
  for (int i = 0; i < node->operand_count; i++) TRY(check_type(writer, operand(node, i)));
  for (int i = 0; i < node->result_count; i++) TRY(check_type(writer, result(node, i)));
  bool is_bound = node_is(node, &op_reduce_max) || node_is(node, &op_reduce_min);
  bool is_of_bools = is_bound && result(node, 0)->type->dtype == DTYPE_BOOL;
  needs_opset(writer, is_of_bools ? 20 : row->opset);
  const char *first = row->write ? row->write(writer, node) : write_row(writer, row, node);
  if (!first) return false;
  if (first != name_of(writer, result(node, 0))) name_give(writer, result(node, 0), first);
  for (int i = 0; i < node->result_count; i++) offer_sizes(writer, result(node, i));
  return true;
}

bool write_nodes(Writer *writer, const Graph *graph) {
  FOR_EACH_NODE(node, graph)
  if (!node->data) name_results(writer, node);
  FOR_EACH_NODE(node, graph)
  if (!node_is(node, &op_return)) TRY(write_node(writer, node));
  return true;
}
