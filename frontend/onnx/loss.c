/*
 * loss.c -- ONNX losses over class scores [N,C,d...] and class numbers [N,d...].
 *
 *   loss = -weight[target] * log_prob[target], 0 where the target is ignore_index
 *
 * The mean is over the weights of the elements that count, not over their number.
 */
#include "frontend/onnx/onnx.h"

#include <string.h>

static Value *choose(OnnxNode *node, Value *condition, Value *x, Value *y) {
  return condition && x && y ? emit(node, &op_where, (Value *[]){condition, x, y}, 3) : NULL;
}

static Value *pick(OnnxNode *node, const Op *op, Value *x, Value *indices, int64_t axis) {
  if (!x || !indices) return NULL;
  Node *core = node_new(&node->builder, op, (Value *[]){x, indices}, 2);
  node_set_int(core, "axis", axis);
  return finish(core);
}

static Value *sum_all(OnnxNode *node, const Op *op, Value *x) {
  int64_t axes[MAX_RANK];
  if (!x) return NULL;
  for (int i = 0; i < x->type->rank; i++) axes[i] = i;
  return emit_reshape(node, emit_reduce(node, op, x, axes, x->type->rank), 0, NULL);
}

static Value *reduce_loss(OnnxNode *node, Value *loss, Value *weight) {
  const char *reduction = attr_string(node, "reduction", "mean");
  if (strcmp(reduction, "none") == 0) return loss;
  if (strcmp(reduction, "sum") == 0) return sum_all(node, &op_reduce_sum, loss);
  if (strcmp(reduction, "mean") == 0 && !weight) return sum_all(node, &op_reduce_mean, loss);
  if (strcmp(reduction, "mean") == 0)
    return emit_binary(node, &op_div, sum_all(node, &op_reduce_sum, loss),
                       sum_all(node, &op_reduce_sum, weight));
  onnx_fail(node, "reduction '%s' is not known", reduction);
  return NULL;
}

static bool check_shapes(OnnxNode *node) {
  const Type *x = input(node, 0)->type, *target = input(node, 1)->type;
  if (x->rank >= 2 && target->rank == x->rank - 1 && dtype_is_int(target->dtype) &&
      (!input(node, 2) || input(node, 2)->type->rank == 1))
    return true;
  return onnx_fail(node, "%s and class numbers %s", type_text(node->module, x),
                   type_text(node->module, target));
}

/* The loss for the logarithms of the probabilities. */
static bool likelihood_loss(OnnxNode *node, Value *log_prob) {
  Value *target = input(node, 1), *weight = input(node, 2), *ignored = NULL;
  const Dim *dims[MAX_RANK];
  if (!log_prob) return false;
  if (attr_find(node, "ignore_index")) {
    double index = (double)attr_int(node, "ignore_index", 0);
    ignored = emit_binary(node, &op_equal, target, emit_scalar(node, target, index));
    target = choose(node, ignored, emit_scalar(node, target, 0), target);
    if (!target) return false;
  }
  for (int i = 0; i < log_prob->type->rank; i++)
    dims[i] = i == 1 ? dim_const(node->module, 1) : target->type->dims[i - (i > 1)];
  Value *at = emit_reshape(node, target, log_prob->type->rank, dims);
  Value *picked = pick(node, &op_gather_elements, log_prob, at, 1);
  Value *loss = emit_unary(node, &op_neg, emit_reshape(node, picked, target->type->rank, target->type->dims));
  Value *zero = emit_scalar(node, log_prob, 0), *scale = NULL;
  if (weight) {
    scale = pick(node, &op_gather, weight, target, 0);
    loss = emit_binary(node, &op_mul, loss, scale);
  }
  if (ignored) {
    scale = choose(node, ignored, zero, weight ? scale : emit_scalar(node, log_prob, 1));
    loss = choose(node, ignored, zero, loss);
  }
  if (!loss || ((weight || ignored) && !scale)) return false;
  return set_output(node, reduce_loss(node, loss, scale));
}

static bool import_likelihood_loss(OnnxNode *node) {
  return check_shapes(node) && likelihood_loss(node, input(node, 0));
}

/* Of the softmax of the scores; the second output is its logarithm. */
static bool import_cross_entropy_loss(OnnxNode *node) {
  TRY(check_shapes(node));
  Node *core = node_new(&node->builder, &op_log_softmax, node->inputs, 1);
  node_set_int(core, "axis", 1);
  Value *log_prob = finish(core);
  if (node->output_count > 1) node->outputs[1] = log_prob;
  return likelihood_loss(node, log_prob);
}

static const OnnxRow rows[] = {
    {"NegativeLogLikelihoodLoss", 12, 2, 3, import_likelihood_loss, NULL},
    {"SoftmaxCrossEntropyLoss", 12, 2, 3, import_cross_entropy_loss, NULL},
};

const OnnxRows onnx_loss = {rows, COUNT_OF(rows)};
