/*
 * pack_halves.c -- 16-bit floats in the forms that the fast kernels know.
 *
 * They are storage: arithmetic on them is arithmetic in f32 that is rounded once at its end. Before: any op
 * on f16 and bf16. After: products of bf16 by constant weights are `wide`, with panels of bf16 and sums in
 * f32; whatever else is a loop nest works on f32, between casts that fuse into the kernels around it.
 * Constants are cast when they are folded. Keeps: the meaning, but for roundings inside of the nests, which
 * go.
 */
#include "codegen/schedule.h"

#include <string.h>

static bool is_half(const Value *value) {
  return value && (value->type->dtype == DTYPE_F16 || value->type->dtype == DTYPE_BF16);
}

static bool is_product(const Node *node) {
  return node_is(node, &op_conv) || node_is(node, &op_gemm) || node_is(node, &op_matmul);
}

/* Its weights become panels of bf16, whose rows lie by twos. */
static bool has_narrow_panels(const Node *node) {
  const Value *w = operand(node, 1);
  if (!is_half(w) || w->type->dtype != DTYPE_BF16 || !value_is_constant(w) || !type_is_static(w->type))
    return false;
  if (node_is(node, &op_gemm))
    return !node_bool(node, "trans_a") && dim_is_const(operand(node, 0)->type->dims[1]);
  if (!node_is(node, &op_conv) || !node_string_is(node, "layout", "nhwc") || groups_are_small(node))
    return false;
  return node_int(node, "group") == 1 ||
         w->type->dims[w->type->rank - 2]->value % panel_depth(DTYPE_BF16) == 0;
}

/* A nest that computes with 16-bit floats, rather than moves them. */
static bool is_narrow_nest(const Node *node) {
  static const char *const families[] = {"attention", "conv", "matmul", "norm", "pool", "reduce", "rnn"};
  bool computes = false;
  for (int i = 0; i < COUNT_OF(families); i++) computes |= strcmp(node->op->family, families[i]) == 0;
  if (!computes || !node->op->nest || node->result_count != 1) return false;
  bool packed = op_attr_index(node->op, "packed") >= 0 && node_int(node, "packed") != 0;
  return is_half(operand(node, 0)) && !packed;
}

/* The node on f32 instead; NULL when it does not type, as one that mentions its dtype. `from`: the first
 * operand that is cast. */
static Value *computed_wide(Node *node, int from) {
  enum { MAX_OPERANDS = 8 };
  Value *operands[MAX_OPERANDS] = {NULL};
  if (node->operand_count > MAX_OPERANDS) return NULL;
  Builder builder = builder_before(node);
  for (int i = 0; i < node->operand_count; i++) {
    operands[i] = operand(node, i);
    if (i >= from && is_half(operands[i])) operands[i] = build_cast(&builder, operands[i], DTYPE_F32);
  }
  Node *copy = node_like(&builder, node, operands);
  if (is_product(node)) node_set_bool(copy, "wide", from > 0);
  Module *module = node->graph->module;
  Diag *last = module->last_diag;
  if (!node_finish(copy)) {
    diags_take_back(module, last);
    return NULL;
  }
  return build_cast(&builder, result(copy, 0), result(node, 0)->type->dtype);
}

static bool pack_half(Node *node) {
  if (!is_narrow_nest(node)) return false;
  bool narrow = has_narrow_panels(node);
  if (narrow && node_bool(node, "wide")) return false;
  enum { ADDEND = 2 };
  Value *wide = computed_wide(node, narrow ? ADDEND : 0);
  if (!wide || wide->type != result(node, 0)->type) return false;
  pack_replace(node, wide);
  return true;
}

bool pack_halves(Graph *graph) {
  bool changed = false;
  FOR_EACH_NODE_SAFE(node, graph) changed |= pack_half(node);
  return changed;
}
