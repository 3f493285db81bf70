/*
 * rules/shape.c -- shape arithmetic, and reshapes where they cost nothing and stand in nobody's way.
 */
#include "passes/rewrite.h"

/* A value whose elements are all known integers is a constant, however it was computed. */
Value *rule_known(Node *node) {
  Value *value = result(node, 0);
  int64_t ints[MAX_KNOWN];
  int count = 0;
  if (node->result_count != 1 || !value->known || !type_is_static(value->type)) return NULL;
  if (!value_known_ints(value, ints, MAX_KNOWN, &count)) return NULL;
  Builder builder = builder_before(node);
  Data *data = data_new(builder.graph->module, value->type->dtype, count);
  for (int i = 0; i < count; i++) dtype_set_int(value->type->dtype, data_bytes(data), i, ints[i]);
  return build_const(&builder, value->type, data, NULL);
}

/* Whether a constant of `type` is a row: it varies along the last axis only, and both shapes end in that
 * axis. */
static bool is_row(Module *module, const Type *type, const Type *result_type, const Type *shape) {
  const Dim *last = type->dims[type->rank - 1];
  return type_count(module, type) == last && shape->rank > 0 && shape->dims[shape->rank - 1] == last &&
         result_type->dims[result_type->rank - 1] == last;
}

static bool constant_fits(Module *module, const Type *type, const Type *result_type, const Type *shape) {
  return type->rank == 0 || type_static_count(type) == 1 || type_same_shape(type, result_type) ||
         is_row(module, type, result_type, shape);
}

/* A constant operand that fits, as it must look before the result is reshaped from `shape`. */
static Value *constant_before_reshape(Builder *builder, Value *constant, const Type *result_type,
                                      const Type *shape) {
  const Type *type = constant->type;
  if (type->rank == 0) return constant;
  if (type_static_count(type) == 1) return build_reshape(builder, constant, 0, NULL);
  if (type_same_shape(type, result_type)) return build_reshape(builder, constant, shape->rank, shape->dims);
  return build_reshape(builder, constant, 1, &type->dims[type->rank - 1]);
}

/* The shape that every reshaped operand of the pointwise node had before; NULL when they differ, there is
 * none, or a constant does not fit it. */
static const Type *shape_before_reshapes(const Node *node) {
  const Type *shape = NULL, *type = result(node, 0)->type;
  for (int i = 0; i < node->operand_count; i++) {
    const Value *x = operand(node, i);
    if (!x || value_is_constant(x)) continue;
    if (!node_is(x->def, &op_reshape) || !type_same_shape(x->type, type)) return NULL;
    const Type *before = operand(x->def, 0)->type;
    if (shape && !type_same_shape(shape, before)) return NULL;
    shape = before;
  }
  for (int i = 0; shape && i < node->operand_count; i++) {
    const Value *x = operand(node, i);
    if (x && value_is_constant(x) && !constant_fits(node->graph->module, x->type, type, shape)) return NULL;
  }
  return shape;
}

/*
 * add(reshape(x), c) -> reshape(add(x, c)). Views end a kernel, so they are pushed towards the outputs, out
 * of the way between a product and its bias and activation.
 */
Value *rule_sink_reshape(Node *node) {
  enum { MAX_OPERANDS = 4 };
  if (node_is(node, &op_broadcast) || node->operand_count > MAX_OPERANDS || !node_is_pointwise(node))
    return NULL;
  const Type *shape = shape_before_reshapes(node), *type = result(node, 0)->type;
  if (!shape) return NULL;
  Builder builder = builder_before(node);
  Value *operands[MAX_OPERANDS] = {NULL};
  for (int i = 0; i < node->operand_count; i++) {
    Value *x = operand(node, i);
    if (!x) continue;
    operands[i] =
        value_is_constant(x) ? constant_before_reshape(&builder, x, type, shape) : operand(x->def, 0);
  }
  Node *copy = node_like(&builder, node, operands);
  Value *moved = node_try(copy, shape);
  return moved ? build_reshape(&builder, moved, type->rank, type->dims) : NULL;
}
