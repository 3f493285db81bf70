/*
 * known.c -- carries the elements of small tensors of whole numbers as symbolic expressions through shape
 * arithmetic, so that Shape -> Gather -> Concat -> Reshape chains are understood instead of executed. See
 * Value.known in ir.h. Floats are carried, too: exporters scale sizes as floats.
 */
#include "ir/ops/ops.h"

/* Whether the dtype has the number exactly; symbolic ones are sizes, which the wide types hold. */
static bool dtype_holds(Dtype dtype, const Dim *dim) {
  if (!dim_is_const(dim))
    return dtype == DTYPE_I64 || dtype == DTYPE_I32 || dtype == DTYPE_F64 || dtype == DTYPE_F32;
  int64_t slot = 0;
  if (dtype_is_float(dtype)) {
    dtype_set(dtype, &slot, 0, (double)dim->value);
    return dtype_get(dtype, &slot, 0) == (double)dim->value;
  }
  dtype_set_int(dtype, &slot, 0, dim->value);
  return dtype_get_int(dtype, &slot, 0) == dim->value;
}

void known_set(Node *node, const Dim *const *elements) {
  const Type *type = result(node, 0)->type;
  int64_t count = type_static_count(type);
  if (!elements || count < 0 || count > MAX_KNOWN) return;
  for (int i = 0; i < (int)count; i++)
    if (!dtype_holds(type->dtype, elements[i])) return;
  result_set_known(node, 0, elements, (int)count);
}

const Dim *known_same(Module *module, const Dim *const *x) {
  (void)module;
  return x[0];
}

bool dim_is_nonnegative(const Dim *dim) {
  switch (dim->kind) {
  case DIM_CONST: return dim->value >= 0;
  case DIM_SYMBOL: return true;
  case DIM_MAX: return dim_is_nonnegative(dim->a) || dim_is_nonnegative(dim->b);
  default: return dim_is_nonnegative(dim->a) && dim_is_nonnegative(dim->b);
  }
}

/* Where element `position` of the result, counted in row-major order, is read in an operand that broadcasts
 * to it. */
static int64_t broadcast_position(const Type *from, const Type *to, int64_t position) {
  int64_t stride = 1, found = 0;
  for (int axis = to->rank - 1; axis >= 0; axis--) {
    int64_t size = to->dims[axis]->value, i = position % size;
    position /= size;
    int source = axis - (to->rank - from->rank);
    if (source < 0) break;
    if (from->dims[source]->value != 1) found += i * stride;
    stride *= from->dims[source]->value;
  }
  return found;
}

void known_elementwise(Node *node, KnownRule rule) {
  enum { MAX_OPERANDS = 3 };
  const Dim *const *known[MAX_OPERANDS];
  const Dim *elements[MAX_KNOWN];
  const Type *type = result(node, 0)->type;
  int64_t count = type_static_count(type);
  if (count < 0 || count > MAX_KNOWN) return;
  for (int i = 0, ignored; i < node->operand_count; i++)
    if (i >= MAX_OPERANDS || !operand(node, i) || !(known[i] = value_known(operand(node, i), &ignored)))
      return;
  for (int64_t e = 0; e < count; e++) {
    const Dim *x[MAX_OPERANDS];
    for (int i = 0; i < node->operand_count; i++)
      x[i] = known[i][broadcast_position(operand(node, i)->type, type, e)];
    elements[e] = rule(node_module(node), x);
    if (!elements[e]) return;
  }
  known_set(node, elements);
}

void known_pick(Node *node, const int64_t *positions) {
  int count;
  const Dim *const *known = value_known(operand(node, 0), &count);
  int64_t wanted = type_static_count(result(node, 0)->type);
  if (!known || wanted < 0 || wanted > MAX_KNOWN) return;
  const Dim *elements[MAX_KNOWN];
  for (int64_t i = 0; i < wanted; i++) {
    if (positions[i] < 0 || positions[i] >= count) return;
    elements[i] = known[positions[i]];
  }
  known_set(node, elements);
}

void known_strided(Node *node, int64_t offset, const int64_t *strides) {
  const Type *type = result(node, 0)->type;
  int64_t count = type_static_count(type), positions[MAX_KNOWN];
  if (count < 0 || count > MAX_KNOWN) return;
  for (int64_t i = 0; i < count; i++) {
    int64_t rest = i, at = offset;
    for (int axis = type->rank - 1; axis >= 0; axis--) {
      at += rest % type->dims[axis]->value * strides[axis];
      rest /= type->dims[axis]->value;
    }
    positions[i] = at;
  }
  known_pick(node, positions);
}

bool row_major_strides(const Type *type, int64_t *strides) {
  int64_t stride = 1;
  if (type_static_count(type) < 0 || type_static_count(type) > MAX_KNOWN) return false;
  for (int axis = type->rank - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= type->dims[axis]->value;
  }
  return true;
}

Value *build_known(Builder *builder, Value *x) {
  int64_t ints[MAX_KNOWN];
  int count;
  if (value_data(x) || !x->known || !type_is_static(x->type)) return NULL;
  if (!value_known_ints(x, ints, MAX_KNOWN, &count) || count != type_static_count(x->type)) return NULL;
  Module *module = builder->graph->module;
  Data *data = data_new(module, x->type->dtype, count);
  for (int i = 0; i < count; i++) dtype_set_int(x->type->dtype, data_bytes(data), i, ints[i]);
  return build_const(builder, x->type, data, NULL);
}
