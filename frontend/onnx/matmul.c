/* matmul.c -- ONNX matrix products. */
#include "frontend/onnx/onnx.h"

static bool import_matmul(OnnxNode *node) {
  return set_output(node, emit_binary(node, &op_matmul, input(node, 0), input(node, 1)));
}

static Value *scaled(OnnxNode *node, Value *x, double factor) {
  return factor == 1 || !x ? x : emit_binary(node, &op_mul, x, emit_scalar(node, x, factor));
}

/*
 * alpha * A' * B' + beta * C. The factors become multiplications of their own, alpha on the smaller place to
 * put it: the weight when that is constant (it folds), else the product.
 */
Value *emit_gemm(OnnxNode *node) {
  Value *a = input(node, 0), *b = input(node, 1), *c = input(node, 2);
  double alpha = attr_float(node, "alpha", 1), beta = attr_float(node, "beta", 1);
  bool folds = value_data(b) != NULL;
  c = beta == 0 ? NULL : scaled(node, c, beta);
  if (folds) b = scaled(node, b, alpha);
  bool adds_later = c && alpha != 1 && !folds;
  if (!b || (input(node, 2) && beta != 0 && !c)) return NULL;
  Node *core = node_new(&node->builder, &op_gemm, (Value *[]){a, b, adds_later ? NULL : c}, 3);
  node_set_bool(core, "trans_a", attr_bool(node, "transA", false));
  node_set_bool(core, "trans_b", attr_bool(node, "transB", false));
  Value *product = finish(core);
  if (!folds) product = scaled(node, product, alpha);
  return adds_later ? emit_binary(node, &op_add, product, c) : product;
}

static bool import_gemm(OnnxNode *node) {
  return set_output(node, emit_gemm(node));
}

static const OnnxRow rows[] = {
    {"Gemm", 1, 2, 3, import_gemm, NULL},
    {"MatMul", 1, 2, 2, import_matmul, NULL},
};

const OnnxRows onnx_matmul = {rows, COUNT_OF(rows)};
