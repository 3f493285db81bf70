/*
 * rules/shape.c -- shape arithmetic, and reshapes where they cost nothing and stand in nobody's way.
 */
#include "passes/rewrite.h"

/* A value whose elements are all known is a constant, however it was computed; of floats -0 would be lost. */
Value *rule_known(Node *node) {
  Value *value = result(node, 0);
  int64_t ints[MAX_KNOWN];
  int count = 0;
  if (node->result_count != 1 || !value->known || !type_is_static(value->type)) return NULL;
  if (dtype_is_float(value->type->dtype)) return NULL;
  if (!value_known_ints(value, ints, MAX_KNOWN, &count)) return NULL;
  Builder builder = builder_before(node);
  Data *data = data_new(builder.graph->module, value->type->dtype, count);
  for (int i = 0; i < count; i++) dtype_set_int(value->type->dtype, data_bytes(data), i, ints[i]);
  return build_const(&builder, value->type, data, NULL);
}

/* Whether `type` is a row: it varies along the last axis only, and both shapes end in that axis. */
static bool is_row(Module *module, const Type *type, const Type *result_type, const Type *shape) {
  const Dim *last = type->dims[type->rank - 1];
  return type_count(module, type) == last && shape->rank > 0 && shape->dims[shape->rank - 1] == last &&
         result_type->dims[result_type->rank - 1] == last;
}

static bool is_single(const Value *x) {
  return type_static_count(x->type) == 1;
}

/* Whether an operand is one of all results, however these are shaped. */
static bool operand_fits(const Value *x, const Type *result_type, const Type *shape) {
  return x->type->rank == 0 || is_single(x) || type_same_shape(x->type, result_type) ||
         is_row(x->graph->module, x->type, result_type, shape);
}

/* An operand that fits, as it must look before the result is reshaped from `shape`. */
static Value *before_reshape(Builder *builder, Value *x, const Type *result_type, const Type *shape) {
  const Type *type = x->type;
  if (type->rank == 0) return x;
  if (is_single(x)) return build_reshape(builder, x, 0, NULL);
  if (!type_same_shape(type, result_type)) return build_reshape(builder, x, 1, &type->dims[type->rank - 1]);
  if (!value_is_constant(x) && node_is(x->def, &op_reshape)) return operand(x->def, 0);
  return build_reshape(builder, x, shape->rank, shape->dims);
}

/* Whether another kernel writes the value in any case, so that a view of it takes no fusion away. */
static bool stands_alone(const Value *x) {
  return !x->def || !value_has_one_use(x) || !(node_is_pointwise(x->def) || node_is_anchor(x->def));
}

/* Whether the value before the reshape is made by a kernel that its user could join. */
static bool wants_company(const Node *reshape) {
  const Value *x = operand(reshape, 0);
  return x->def && (node_is_pointwise(x->def) || node_is_anchor(x->def)) && value_has_one_use(x) &&
         value_has_one_use(result(reshape, 0));
}

/* The shape that every reshaped operand of the pointwise node had before; NULL when they differ, there is
 * none, or another operand does not fit it. */
static const Type *shape_before_reshapes(const Node *node) {
  const Type *shape = NULL, *type = result(node, 0)->type;
  bool alone = true, company = false;
  for (int i = 0; i < node->operand_count; i++) {
    const Value *x = operand(node, i);
    if (!x || value_is_constant(x) || is_single(x) || !type_same_shape(x->type, type)) continue;
    if (!node_is(x->def, &op_reshape)) {
      if (!stands_alone(x)) return NULL;
      alone = false;
      continue;
    }
    const Type *before = operand(x->def, 0)->type;
    if (shape && !type_same_shape(shape, before)) return NULL;
    company |= wants_company(x->def);
    shape = before;
  }
  if (!alone && !company) return NULL;
  for (int i = 0; shape && i < node->operand_count; i++) {
    const Value *x = operand(node, i);
    if (x && !operand_fits(x, type, shape)) return NULL;
  }
  return shape;
}

/*
 * add(reshape(x), c) -> reshape(add(x, c)). Views end a kernel, so they are pushed towards the outputs, out
 * of the way between a product and its bias and activation; and its residual sum, whose other operand then
 * becomes a view: add(reshape(x), y) -> reshape(add(x, reshape(y))).
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
    if (operand(node, i)) operands[i] = before_reshape(&builder, operand(node, i), type, shape);
  }
  Node *copy = node_like(&builder, node, operands);
  Value *moved = node_try(copy, shape);
  return moved ? build_reshape(&builder, moved, type->rank, type->dims) : NULL;
}

/* layer_norm(reshape(x)) -> reshape(layer_norm(x)), where the rows are the same. */
Value *rule_sink_reshape_norm(Node *node) {
  Value *x = operand(node, 0), *operands[3] = {NULL, operand(node, 1), operand(node, 2)};
  int rank = x->type->rank;
  if (!node_is(x->def, &op_reshape) || node_axis(node, "axis", rank) != rank - 1) return NULL;
  operands[0] = operand(x->def, 0);
  const Type *shape = operands[0]->type;
  if (shape->rank == 0 || shape->dims[shape->rank - 1] != x->type->dims[rank - 1]) return NULL;
  for (int i = 1; i < 3; i++)
    if (operands[i] && operands[i]->type->rank > 1) return NULL;
  Builder builder = builder_before(node);
  Node *copy = node_like(&builder, node, operands);
  node_set_int(copy, "axis", shape->rank - 1);
  Value *moved = node_try(copy, shape);
  return moved ? build_reshape(&builder, moved, rank, x->type->dims) : NULL;
}
