/*
 * write_recurrent.c -- lstm, gru and rnn as ONNX's.
 *
 * The core operators begin behind the product of the input with its weights, which ONNX's contain: that
 * product is looked for in front of the node. Where none stands there the input's weights are the identity.
 */
#include "frontend/onnx/write.h"

#include <string.h>

/* The input, its weights [gates*hidden, features] and biases [gates*hidden], as names. */
typedef struct Product {
  const char *x, *w, *bias;
} Product;

static int64_t gates_of(const Node *node) {
  return node_is(node, &op_lstm) ? 4 : node_is(node, &op_gru) ? 3 : 1;
}

static int64_t hidden_of(const Node *node) {
  return operand(node, 1)->type->dims[0]->value;
}

static bool is_batch_first(const Node *node) {
  return node_bool(node, "batch_first");
}

/* [batch, steps, n] <-> [steps, batch, n] */
static const char *put_steps_first(Writer *writer, const Node *node, const char *x) {
  return is_batch_first(node) ? put_transpose(writer, x, (int64_t[]){1, 0, 2}, 3) : x;
}

static bool is_row(const Value *value, int64_t size) {
  if (!value) return true;
  int rank = value->type->rank;
  return rank >= 1 && dim_is(value->type->dims[rank - 1], size) && type_static_count(value->type) == size;
}

/* xw = reshape(gemm(x, w, bias)) */
static bool find_product(Writer *writer, const Node *node, Product *product) {
  const Value *xw = operand(node, 0);
  const Node *reshape = xw->def,
             *gemm = reshape && node_is(reshape, &op_reshape) ? operand(reshape, 0)->def : NULL;
  int64_t size = gates_of(node) * hidden_of(node);
  if (!gemm || !node_is(gemm, &op_gemm) || node_bool(gemm, "trans_a") || node_int(gemm, "packed") ||
      !is_row(operand(gemm, 2), size))
    return false;
  const Value *x = operand(gemm, 0), *bias = operand(gemm, 2);
  const Dim *dims[] = {xw->type->dims[0], xw->type->dims[1], x->type->dims[1]};
  const char *w = name_of_operand(writer, gemm, 1), *shape = put_sizes(writer, dims, 3);
  product->x = put2(writer, "Reshape", name_of(writer, x), shape);
  product->w = node_bool(gemm, "trans_b") ? w : put_transpose(writer, w, (int64_t[]){1, 0}, 2);
  product->bias = bias ? put_reshape(writer, name_of(writer, bias), (int64_t[]){-1}, 1) : NULL;
  return product->x != NULL;
}

static const char *put_identity(Writer *writer, Dtype dtype, int64_t size) {
  Data *data = data_new(writer->module, dtype, size * size);
  for (int64_t i = 0; i < size; i++) dtype_set(dtype, data_bytes(data), i * (size + 1), 1);
  return put_data(writer, data, 2, (int64_t[]){size, size}, NULL);
}

/* [..] -> [1, ..]: one direction. */
static const char *put_direction(Writer *writer, const char *x, int axis) {
  return *x ? put2(writer, "Unsqueeze", x, put_ints(writer, (int64_t[]){axis}, 1)) : x;
}

/* [Wb, Rb]; gru's own bias is the last part of Rb. */
static const char *put_biases(Writer *writer, const Node *node, const char *outside) {
  Dtype dtype = operand(node, 0)->type->dtype;
  int64_t hidden = hidden_of(node), size = gates_of(node) * hidden;
  bool has_inner = node_is(node, &op_gru) && operand(node, 4);
  int64_t inner = has_inner ? hidden : 0, rest = size - inner;
  if (!outside && !has_inner) return name_of(writer, NULL);
  if (!outside) outside = put_data(writer, data_splat(writer->module, dtype, size, 0), 1, &size, NULL);
  const char *parts[] = {outside,
                         put_data(writer, data_splat(writer->module, dtype, rest, 0), 1, &rest, NULL),
                         has_inner ? name_of_operand(writer, node, 4) : NULL};
  const char *all = put(writer, "Concat", 2 + has_inner, parts);
  with_int(writer, "axis", 0);
  return put_direction(writer, all, 0);
}

/* ---- Activations */

static const struct {
  const char *op, *type;
} activations[] = {{"affine", "Affine"},
                   {"elu", "Elu"},
                   {"hard_sigmoid", "HardSigmoid"},
                   {"leaky_relu", "LeakyRelu"},
                   {"relu", "Relu"},
                   {"scaled_tanh", "ScaledTanh"},
                   {"sigmoid", "Sigmoid"},
                   {"softplus", "Softplus"},
                   {"softsign", "Softsign"},
                   {"tanh", "Tanh"},
                   {"thresholded_relu", "ThresholdedRelu"}};

static const char *activation_type(const char *op) {
  for (int i = 0; i < COUNT_OF(activations); i++)
    if (strcmp(activations[i].op, op) == 0) return activations[i].type;
  return NULL;
}

/* The factors of those activations that take any; the others are not listed. */
static int factors_of(const Node *node, const char *name, const char *const *ops, int count,
                      double *factors) {
  int given, used = 0;
  const double *all = node_floats(node, name, &given);
  for (int i = 0; i < count; i++) {
    const Op *op = op_find(ops[i], strlen(ops[i]));
    int index = op_attr_index(op, name);
    Attr *attrs = attrs_default(node->graph->module, op);
    if (index >= 0) factors[used++] = given ? all[i] : attrs[index].f;
  }
  return used;
}

static bool with_activations(Writer *writer, const Node *node) {
  static const char *const names[] = {"f", "g", "h"};
  const char *ops[3], *types[3];
  double alpha[3], beta[3];
  int count = node_is(node, &op_lstm) ? 3 : node_is(node, &op_gru) ? 2 : 1;
  for (int i = 0; i < count; i++) {
    ops[i] = node_string(node, names[i]);
    types[i] = activation_type(ops[i]);
    if (!types[i]) return write_fail(writer, "ONNX's recurrent operators have no activation %s", ops[i]);
  }
  with_strings(writer, "activations", types, count);
  with_floats(writer, "activation_alpha", alpha, factors_of(node, "alpha", ops, count, alpha));
  with_floats(writer, "activation_beta", beta, factors_of(node, "beta", ops, count, beta));
  return true;
}

/* ---- The node */

static bool with_attributes(Writer *writer, const Node *node) {
  with_int(writer, "hidden_size", hidden_of(node));
  with_string(writer, "direction", node_bool(node, "reverse") ? "reverse" : "forward");
  if (node_float(node, "clip") != 0) with_float(writer, "clip", node_float(node, "clip"));
  if (node_is(node, &op_gru)) with_int(writer, "linear_before_reset", node_bool(node, "linear_before_reset"));
  if (node_is(node, &op_lstm)) with_int(writer, "input_forget", node_bool(node, "input_forget"));
  return with_activations(writer, node);
}

/* The state at the end, [1, batch, hidden] -> [batch, hidden]. */
static const char *put_squeezed(Writer *writer, const char *x, int axis) {
  return put2(writer, "Squeeze", x, put_ints(writer, (int64_t[]){axis}, 1));
}

const char *write_recurrent(Writer *writer, const Node *node) {
  bool is_lstm = node_is(node, &op_lstm);
  const Value *lengths = operand(node, 3);
  Product product;
  if (node_int(node, "packed"))
    return write_fail(writer, "its weights are in panels: write the graph before pass 'pack'");
  if (is_lstm && node_bool(node, "rounds_state"))
    return write_fail(writer, "a state that is rounded to 8 bits");
  if (!find_product(writer, node, &product)) {
    int64_t size = gates_of(node) * hidden_of(node);
    product = (Product){name_of_operand(writer, node, 0),
                        put_identity(writer, operand(node, 0)->type->dtype, size), NULL};
  }
  const char *r = put_transpose(writer, name_of_operand(writer, node, 1), (int64_t[]){1, 0}, 2),
             *none = name_of(writer, NULL);
  const char *inputs[] = {
      put_steps_first(writer, node, product.x),
      put_direction(writer, product.w, 0),
      put_direction(writer, r, 0),
      put_biases(writer, node, product.bias),
      lengths ? put_cast(writer, name_of(writer, lengths), lengths->type->dtype, DTYPE_I32) : none,
      put_direction(writer, name_of_operand(writer, node, 2), 0),
      is_lstm ? put_direction(writer, name_of_operand(writer, node, 4), 0) : none,
      is_lstm ? put_direction(writer, name_of_operand(writer, node, 5), 0) : none};
  const char *y = put(writer, row_type(node), COUNT_OF(inputs), inputs), *outputs[3] = {y};
  for (int i = 1; i < node->result_count; i++) outputs[i] = put_output(writer);
  if (!with_attributes(writer, node)) return NULL;
  for (int i = 1; i < node->result_count; i++)
    name_give(writer, result(node, i), put_squeezed(writer, outputs[i], 0));
  return put_steps_first(writer, node, put_squeezed(writer, y, 1));
}
