/*
 * check.c -- the questions that infer functions ask of operands and attributes, with their error messages,
 * and what simplify functions share. Every check records a Diag with the numbers in it; none trusts the
 * user's input.
 */
#include "ir/ops/ops.h"

#include <string.h>

Module *node_module(const Node *node) {
  return node->graph->module;
}

/* ---- checks ---- */

unsigned dtype_kind(Dtype dtype) {
  static const unsigned kinds[DTYPE_COUNT] = {
      [DTYPE_BOOL] = KIND_BOOL,    [DTYPE_I8] = KIND_SIGNED,    [DTYPE_I16] = KIND_SIGNED,
      [DTYPE_I32] = KIND_SIGNED,   [DTYPE_I64] = KIND_SIGNED,   [DTYPE_U8] = KIND_UNSIGNED,
      [DTYPE_U16] = KIND_UNSIGNED, [DTYPE_U32] = KIND_UNSIGNED, [DTYPE_U64] = KIND_UNSIGNED,
      [DTYPE_F16] = KIND_FLOAT,    [DTYPE_BF16] = KIND_FLOAT,   [DTYPE_F32] = KIND_FLOAT,
      [DTYPE_F64] = KIND_FLOAT,
  };
  return kinds[dtype];
}

char *operand_text(const Node *node, int index) {
  return type_text(node_module(node), operand(node, index)->type);
}

/* The name of an operand; of a variadic one with its number. */
static const char *operand_name(const Node *node, int index) {
  const Op *op = node->op;
  if (index < op->operand_count && !(op->traits & TRAIT_VARIADIC)) return op->operands[index].name;
  return arena_printf(node_module(node)->arena, "operand %d", index);
}

static const char *kinds_text(Module *module, unsigned kinds) {
  static const char *const names[] = {"float", "signed integer", "unsigned integer", "bool"};
  const char *text = "";
  for (int i = 0; i < COUNT_OF(names); i++)
    if (kinds & 1u << i) text = arena_printf(module->arena, "%s%s%s", text, *text ? " or " : "", names[i]);
  return text;
}

bool check_kind(const Node *node, int index, unsigned kinds) {
  if (!operand(node, index)) return true;
  Dtype dtype = operand(node, index)->type->dtype;
  if (dtype_kind(dtype) & kinds) return true;
  return node_fail(node, "%s is %s; it must be %s", operand_name(node, index), dtype_name(dtype),
                   kinds_text(node_module(node), kinds));
}

bool check_same_dtype(const Node *node, int a, int b) {
  if (!operand(node, a) || !operand(node, b)) return true;
  Dtype first = operand(node, a)->type->dtype, second = operand(node, b)->type->dtype;
  if (first == second) return true;
  return node_fail(node, "%s is %s but %s is %s; they must have the same element type", operand_name(node, a),
                   dtype_name(first), operand_name(node, b), dtype_name(second));
}

/* 16-bit floats, of which the first may have been made f32 before. */
static bool check_wide(const Node *node) {
  Dtype x = operand(node, 0)->type->dtype, w = operand(node, 1)->type->dtype;
  bool is_half = dtype_is_float(w) && compute_dtype(w) != w;
  if (is_half && (x == w || x == DTYPE_F32)) return true;
  return node_fail(node, "wide is for products of f16 and bf16, or of f32 by these, not of %s by %s",
                   dtype_name(x), dtype_name(w));
}

bool check_product(const Node *node) {
  TRY(check_kind(node, 0, KIND_NUMBER) && check_kind(node, 1, KIND_NUMBER));
  Dtype dtype = operand(node, 0)->type->dtype;
  if (is_wide(node)) return check_wide(node);
  bool bytes = dtype_is_byte(dtype) && dtype_is_byte(operand(node, 1)->type->dtype);
  return bytes || check_same_dtype(node, 0, 1);
}

bool check_addend(const Node *node, int index) {
  if (!operand(node, index)) return true;
  Dtype got = operand(node, index)->type->dtype, sums = product_dtype(node);
  if (got == sums) return true;
  return node_fail(node, "%s is %s, but the products are summed in %s", operand_name(node, index),
                   dtype_name(got), dtype_name(sums));
}

bool check_rank(const Node *node, int index, int rank) {
  if (!operand(node, index) || operand(node, index)->type->rank == rank) return true;
  return node_fail(node, "%s is %s; it must have %d axes", operand_name(node, index),
                   operand_text(node, index), rank);
}

bool dims_clash(const Dim *a, const Dim *b) {
  return a != b && dim_is_const(a) && dim_is_const(b);
}

bool need_holds(const Need *need, int64_t a, int64_t b) {
  switch (need->kind) {
  case NEED_EQUAL: return a == b;
  case NEED_SPREAD: return a == b || a == 1;
  case NEED_SOURCE: return a > 0 || b == 0;
  }
  return false;
}

const char *need_text(Module *module, const Need *need) {
  static const char *const texts[] = {[NEED_EQUAL] = "%s and %s must be equal",
                                      [NEED_SPREAD] = "%s must be %s or 1",
                                      [NEED_SOURCE] = "%s must be more than 0, or %s must be 0"};
  return arena_printf(module->arena, texts[need->kind], dim_text(module, need->a), dim_text(module, need->b));
}

static void add_need(const Node *node, NeedKind kind, const Dim *a, const Dim *b) {
  Module *module = node_module(node);
  Need *need = NEW(module->arena, Need);
  *need = (Need){kind, a, b, module->needs};
  module->needs = need;
}

static bool need_equal(const Node *node, const Dim *a, const Dim *b, bool or_one) {
  if (dims_clash(a, b)) return false;
  if (a != b) add_need(node, or_one && !dim_is_const(a) ? NEED_SPREAD : NEED_EQUAL, a, b);
  return true;
}

bool check_source(const Node *node, const Dim *size, const Type *read) {
  const Dim *count = type_count(node_module(node), read);
  if ((dim_is_const(size) && size->value > 0) || dim_is(count, 0)) return true;
  if (dim_is_const(size) && dim_is_const(count))
    return node_fail(node, "x of shape %s has no elements to gather", operand_text(node, 0));
  add_need(node, NEED_SOURCE, size, count);
  return true;
}

bool sizes_agree(const Node *node, const Dim *a, const Dim *b) {
  return need_equal(node, a, b, false);
}

bool spreads_to(const Node *node, const Type *from, const Type *to) {
  int lead = to->rank - from->rank;
  if (lead < 0) return false;
  for (int i = 0; i < from->rank; i++)
    if (!dim_is(from->dims[i], 1) && !need_equal(node, from->dims[i], to->dims[lead + i], true)) return false;
  return true;
}

static bool check_one_axis(const Node *node, const char *name, int64_t value, int rank, int *axis) {
  if (value < -rank || value >= rank)
    return node_fail(node, "%s is %lld, outside the %d axes of %s", name, (long long)value, rank,
                     operand_text(node, 0));
  *axis = (int)(value < 0 ? value + rank : value);
  return true;
}

bool check_axis(const Node *node, const char *name, int rank, int *axis) {
  return check_one_axis(node, name, node_int(node, name), rank, axis);
}

bool check_axes(const Node *node, const char *name, int rank, bool axes[MAX_RANK]) {
  int count, axis = 0;
  const int64_t *values = node_ints(node, name, &count);
  memset(axes, 0, sizeof(bool) * MAX_RANK);
  for (int i = 0; i < count; i++) {
    TRY(check_one_axis(node, name, values[i], rank, &axis));
    if (axes[axis]) return node_fail(node, "%s mentions axis %d twice", name, axis);
    axes[axis] = true;
  }
  return true;
}

bool check_count(const Node *node, const char *name, int got, int count) {
  if (got == count) return true;
  return node_fail(node, "%s has %d entries; it must have %d", name, got, count);
}

bool check_sizes(const Node *node, const char *name, const Dim *const *dims, int count) {
  if (count > MAX_RANK)
    return node_fail(node, "%s has %d axes; at most %d are possible", name, count, MAX_RANK);
  for (int i = 0; i < count; i++)
    if (dim_is_const(dims[i]) && dims[i]->value < 0)
      return node_fail(node, "size %lld of axis %d in %s is negative", (long long)dims[i]->value, i, name);
  return true;
}

bool infer_broadcast(Node *node, Dtype dtype) {
  const Type *type = type_scalar(node_module(node), dtype);
  for (int i = 0; i < node->operand_count; i++) {
    if (!operand(node, i)) continue;
    const Type *before = type;
    if (!type_broadcast(node_module(node), before, operand(node, i)->type, dtype, &type))
      return node_fail(node, "%s of shape %s does not broadcast to %s", operand_name(node, i),
                       operand_text(node, i), type_text(node_module(node), before));
  }
  result_set(node, 0, type);
  return true;
}

bool infer_same(Node *node, unsigned kinds) {
  TRY(check_kind(node, 0, kinds));
  result_set(node, 0, operand(node, 0)->type);
  return true;
}

/* ---- simplify ---- */

Node *operand_def(const Node *node, int index, const Op *op) {
  Value *value = operand(node, index);
  return value && node_is(value->def, op) ? value->def : NULL;
}

Value *value_if_typed(const Node *node, Value *value) {
  return value && value->type == result(node, 0)->type ? value : NULL;
}

Value *rebuild(Node *node, Value *const *operands, int count) {
  Builder builder = builder_before(node);
  Node *copy = node_new(&builder, node->op, operands, count);
  for (int i = 0; i < node->op->attr_count; i++) copy->attrs[i] = node->attrs[i];
  Diag *last = node_module(node)->last_diag;
  if (node_finish(copy)) return value_if_typed(node, result(copy, 0));
  diags_take_back(node_module(node), last);
  return NULL;
}
