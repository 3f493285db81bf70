/*
 * rules/linear.c -- matrix products in the one form that has the fast kernel, gemm with a plain constant
 * right side; and linear ops in the order that takes fewer operations.
 */
#include "passes/rewrite.h"

#include <string.h>

/* matmul(a[.., k], b[k, n]) -> reshape(gemm(reshape(a, [rows, k]), b), [.., n]): one large product instead of
 * many small. */
Value *rule_matmul_to_gemm(Node *node) {
  Value *a = operand(node, 0), *b = operand(node, 1), *operands[2];
  const Type *type = result(node, 0)->type;
  int rank = a->type->rank;
  if (b->type->rank != 2 || rank < 1) return NULL;
  if (!dtype_is_float(type->dtype) && !dtype_is_byte(b->type->dtype)) return NULL;
  Builder builder = builder_before(node);
  const Dim *flat[2] = {dim_const(builder.graph->module, 1), a->type->dims[rank - 1]};
  for (int i = 0; i + 1 < rank; i++) flat[0] = dim_mul(builder.graph->module, flat[0], a->type->dims[i]);
  operands[0] = rank == 2 ? a : build_reshape(&builder, a, 2, flat);
  operands[1] = b;
  Node *gemm = node_new(&builder, &op_gemm, operands, 2);
  node_set_bool(gemm, "wide", node_bool(node, "wide"));
  Value *product = node_finish(gemm) ? result(gemm, 0) : NULL;
  return rank == 2 ? product : build_reshape(&builder, product, type->rank, type->dims);
}

/* gemm(a, b, trans_b) with constant b -> gemm(a, transpose(b)); the same for a. Only for what is a constant
 * already: gemm's own simplify absorbs the transposes of everything else. */
Value *rule_gemm_untranspose(Node *node) {
  static const char *const flags[] = {"trans_a", "trans_b"};
  static const int64_t swap[] = {1, 0};
  for (int i = 0; i < 2; i++) {
    if (!node_bool(node, flags[i]) || !value_data(operand(node, i))) continue;
    Builder builder = builder_before(node);
    Value *operands[3] = {operand(node, 0), operand(node, 1), operand(node, 2)};
    operands[i] = build_transpose(&builder, operands[i], swap);
    Node *copy = node_like(&builder, node, operands);
    node_set_bool(copy, flags[i], false);
    return node_try(copy, result(node, 0)->type);
  }
  return NULL;
}

/* Whether a is reshape(transpose(y)) that keeps axis 0 and merges the others, all of constant size. */
static const Node *flattened_transpose(const Value *a) {
  const Node *reshape = a->def;
  if (!node_is(reshape, &op_reshape) || a->type->rank != 2) return NULL;
  const Node *transpose = operand(reshape, 0)->def;
  if (!node_is(transpose, &op_transpose)) return NULL;
  const Type *type = result(transpose, 0)->type;
  if (type->rank < 3 || node_perm(transpose)[0] != 0 || type->dims[0] != a->type->dims[0]) return NULL;
  for (int i = 1; i < type->rank; i++)
    if (!dim_is_const(type->dims[i])) return NULL;
  return transpose;
}

/* b[k, n] with rows in the order of the transposed axes -> rows in the order before the transpose. */
static Value *rows_permuted(Builder *builder, Value *b, const Node *transpose) {
  const Type *type = result(transpose, 0)->type;
  int rank = type->rank;
  int64_t inverse[MAX_RANK], perm[MAX_RANK];
  const Dim *dims[MAX_RANK];
  perm_invert(node_perm(transpose), rank, inverse);
  for (int i = 1; i < rank; i++) {
    dims[i - 1] = type->dims[i];
    perm[i - 1] = inverse[i] - 1;
  }
  dims[rank - 1] = b->type->dims[1];
  perm[rank - 1] = rank - 1;
  Value *rows = build_transpose(builder, build_reshape(builder, b, rank, dims), perm);
  return build_reshape(builder, rows, 2, b->type->dims);
}

/* gemm(flatten(transpose(y)), b) -> gemm(flatten(y), b with its rows permuted). */
Value *rule_gemm_flatten(Node *node) {
  Value *a = operand(node, 0), *b = operand(node, 1);
  if (node_bool(node, "trans_a") || node_bool(node, "trans_b") || !value_is_constant(b)) return NULL;
  if (b->type->rank != 2) return NULL; /* packed */
  const Node *transpose = flattened_transpose(a);
  if (!transpose) return NULL;
  Builder builder = builder_before(node);
  Value *operands[3] = {build_reshape(&builder, operand(transpose, 0), 2, a->type->dims),
                        rows_permuted(&builder, b, transpose), operand(node, 2)};
  Node *copy = node_like(&builder, node, operands);
  return node_try(copy, result(node, 0)->type);
}

/* A convolution of single pixels, of stride 1 and without padding. */
static bool is_pointwise(const Node *conv) {
  Window window = node_window(conv);
  for (int s = 0; s < window.rank; s++)
    if (window.kernel[s] != 1 || window.stride[s] != 1 || window.before[s] != 0 || window.after[s] != 0)
      return false;
  return true;
}

/* Windows that are whole, and fewer than pixels. */
static bool is_downsampling(const Node *pool) {
  Window window = node_window(pool);
  bool fewer = false;
  for (int s = 0; s < window.rank; s++) {
    if (window.before[s] != 0 || window.after[s] != 0) return false;
    fewer = fewer || window.stride[s] > 1;
  }
  return fewer && !node_bool(pool, "ceil");
}

/* average_pool(conv1x1(x)) -> conv1x1(average_pool(x)): the convolution has fewer pixels (DenseNet). */
Value *rule_pool_before_conv(Node *node) {
  Value *y = operand(node, 0);
  Node *conv = y->def;
  if (!node_is(conv, &op_conv) || !value_has_one_use(y) || node_int(conv, "packed")) return NULL;
  if (node_string(conv, "layout") != node_string(node, "layout")) return NULL;
  if (!is_pointwise(conv) || !is_downsampling(node)) return NULL;
  Builder builder = builder_before(node);
  Value *pooled = node_try(node_like(&builder, node, (Value *[]){operand(conv, 0)}), NULL);
  if (!pooled) return NULL;
  Value *operands[3] = {pooled, operand(conv, 1), operand(conv, 2)};
  return node_try(node_like(&builder, conv, operands), result(node, 0)->type);
}
