/*
 * build.c -- making nodes: a node is created with default attributes, given its own, and finished, which
 * checks it and infers its types. A node that does not check is taken out again, so a graph only ever holds
 * valid ones.
 */
#include "ir/intern.h"

#include <assert.h>
#include <string.h>

Builder builder_before(Node *node) {
  return (Builder){.graph = node->graph, .before = node, .origin = node->origin};
}

Builder builder_at_end(Graph *graph) {
  return (Builder){.graph = graph};
}

/* ---- Finishing ---- */

static bool check_operands(const Node *node) {
  const Op *op = node->op;
  bool variadic = op->traits & TRAIT_VARIADIC;
  int most = op->operand_count, least = most;
  while (least > 0 && op->operands[least - 1].optional) least--;
  if (op == &op_kernel || op == &op_return) least = 0;
  if (node->operand_count < least)
    return node_fail(node, "%d operands, at least %d are needed", node->operand_count, least);
  if (node->operand_count > most && !variadic)
    return node_fail(node, "%d operands, at most %d are possible", node->operand_count, most);
  for (int i = 0; i < node->operand_count; i++) {
    const OperandSpec *spec = &op->operands[i < most ? i : most - 1];
    if (!operand(node, i) && !spec->optional) return node_fail(node, "operand '%s' is missing", spec->name);
  }
  return true;
}

/* Only what is made while a graph runs can deal with more than tensors. */
static bool check_forms(const Node *node) {
  if (node->op->traits & TRAIT_DYNAMIC || node->op == &op_return) return true;
  for (int i = 0; i < node->operand_count; i++) {
    const Value *x = operand(node, i);
    if (!x || type_is_tensor(x->type)) continue;
    return node_fail(node, "operand %d is %s: a tensor with a known number of axes is needed", i,
                     type_text(node->graph->module, x->type));
  }
  return true;
}

static bool check_results(const Node *node) {
  for (int i = 0; i < node->result_count; i++)
    if (!node->results[i]->type) return node_fail(node, "the type of result %d cannot be told", i);
  return true;
}

static bool check_and_infer(Node *node) {
  Module *module = node->graph->module;
  int errors = module->error_count;
  module->needs = NULL;
  bool ok = check_operands(node) && check_forms(node) && attrs_check(node) &&
            (!node->op->infer || node->op->infer(node));
  if (!ok && module->error_count == errors) node_fail(node, "the operands or attributes do not fit");
  node->needs = module->needs;
  return ok && module->error_count == errors && check_results(node);
}

Node *node_like(Builder *builder, const Node *node, Value *const *operands) {
  return node_like_on(builder, node, operands, node->operand_count);
}

Node *node_like_on(Builder *builder, const Node *node, Value *const *operands, int operand_count) {
  Node *copy = node_new(builder, node->op, operands, operand_count);
  for (int i = 0; i < node->op->attr_count; i++) copy->attrs[i] = node->attrs[i];
  return copy;
}

bool node_finish(Node *node) {
  if (check_and_infer(node)) return true;
  node_remove(node);
  return false;
}

bool node_reinfer(Node *node) {
  return check_and_infer(node);
}

void result_set(Node *node, int index, const Type *type) {
  Value *value = result(node, index);
  value->type = type;
  value->known = NULL;
}

void result_set_known(Node *node, int index, const Dim *const *known, int count) {
  Value *value = result(node, index);
  if (count > MAX_KNOWN || type_static_count(value->type) != count) return;
  value->known = arena_copy(node->graph->module->arena, known, sizeof *known * (size_t)count);
}

/* ---- Shorthands ---- */

static Value *finished(Node *node) {
  return node_finish(node) ? result(node, 0) : NULL;
}

Value *build_op(Builder *builder, const Op *op, Value *const *operands, int operand_count) {
  return finished(node_new(builder, op, operands, operand_count));
}

Value *build_unary(Builder *builder, const Op *op, Value *x) {
  return build_op(builder, op, (Value *[]){x}, 1);
}

Value *build_binary(Builder *builder, const Op *op, Value *x, Value *y) {
  return build_op(builder, op, (Value *[]){x, y}, 2);
}

Value *build_const(Builder *builder, const Type *type, const Data *data, const char *name) {
  if (!data) return NULL;
  Node *node = node_new(builder, &op_const, NULL, 0);
  node->data = data;
  result_set(node, 0, type);
  if (!node_finish(node)) return NULL;
  value_set_name(result(node, 0), name);
  return result(node, 0);
}

Value *build_splat(Builder *builder, const Type *type, double value) {
  Module *module = builder->graph->module;
  assert(type_is_static(type));
  return build_const(builder, type, data_splat(module, type->dtype, type_static_count(type), value), NULL);
}

Value *build_scalar(Builder *builder, Dtype dtype, double value) {
  return build_splat(builder, type_scalar(builder->graph->module, dtype), value);
}

Value *build_ints(Builder *builder, const int64_t *values, int count) {
  Module *module = builder->graph->module;
  const Type *type = type_static(module, DTYPE_I64, 1, (int64_t[]){count});
  return build_const(builder, type, data_copy(module, DTYPE_I64, count, values), NULL);
}

Value *build_reshape(Builder *builder, Value *x, int rank, const Dim *const *dims) {
  Node *node = node_new(builder, &op_reshape, (Value *[]){x}, 1);
  node_set_dims(node, "shape", dims, rank);
  return finished(node);
}

Value *build_transpose(Builder *builder, Value *x, const int64_t *perm) {
  Node *node = node_new(builder, &op_transpose, (Value *[]){x}, 1);
  node_set_ints(node, "perm", perm, x->type->rank);
  return finished(node);
}

Value *build_cast(Builder *builder, Value *x, Dtype dtype) {
  if (x->type->dtype == dtype) return x;
  Node *node = node_new(builder, &op_cast, (Value *[]){x}, 1);
  node_set_dtype(node, "to", dtype);
  return finished(node);
}

Value *build_broadcast(Builder *builder, Value *value, int rank, const Dim *const *dims) {
  Node *node = node_new(builder, &op_broadcast, &value, 1);
  node_set_dims(node, "shape", dims, rank);
  return node_finish(node) ? result(node, 0) : NULL;
}

Value *build_reduce(Builder *builder, const Op *op, Value *x, const int64_t *axes, int count) {
  Node *node = node_new(builder, op, &x, 1);
  node_set_ints(node, "axes", axes, count);
  return finished(node);
}

Value *build_quantize(Builder *builder, Value *x, Value *scale, Value *zero, Dtype to) {
  Node *node = node_new(builder, &op_quantize, (Value *[]){x, scale, zero}, 3);
  node_set_dtype(node, "to", to);
  return finished(node);
}

/* The least or largest of 0 and all elements, as a number. */
static Value *bound(Builder *builder, const Op *reduce, const Op *op, Value *x, Value *nothing) {
  int64_t axes[MAX_RANK];
  for (int i = 0; i < x->type->rank; i++) axes[i] = i;
  Value *all = x->type->rank ? build_reduce(builder, reduce, x, axes, x->type->rank) : x;
  all = all ? build_reshape(builder, all, 0, NULL) : NULL;
  return all ? build_binary(builder, op, all, nothing) : NULL;
}

Value *build_dynamic_quantize(Builder *builder, Value *x, Value **scale, Value **zero) {
  Dtype dtype = x->type->dtype;
  Value *nothing = build_scalar(builder, dtype, 0), *one = build_scalar(builder, dtype, 1);
  Value *low = bound(builder, &op_reduce_min, &op_min, x, nothing);
  Value *high = bound(builder, &op_reduce_max, &op_max, x, nothing);
  Value *range = low && high ? build_binary(builder, &op_sub, high, low) : NULL;
  Value *step = range ? build_binary(builder, &op_div, range, build_scalar(builder, dtype, UINT8_MAX)) : NULL;
  Value *is_zero = step ? build_binary(builder, &op_equal, step, nothing) : NULL;
  *scale = is_zero ? build_op(builder, &op_where, (Value *[]){is_zero, one, step}, 3) : NULL;
  Value *divisor = *scale ? build_cast(builder, *scale, DTYPE_F32) : NULL;
  Value *negative = divisor ? build_unary(builder, &op_neg, low) : NULL;
  *zero = negative ? build_quantize(builder, negative, divisor, NULL, DTYPE_U8) : NULL;
  return *zero ? build_quantize(builder, x, divisor, *zero, DTYPE_U8) : NULL;
}
