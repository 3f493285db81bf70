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

/* Its weights become panels of 16-bit floats: of bf16 for an x of bf16, of f16 for one of f32. */
static bool has_half_panels(const Node *node, const Target *target) {
  enum { F16C_BYTES = 32 }; /* processors with such vectors convert f16 */
  const Value *x = operand(node, 0), *w = operand(node, 1);
  bool fits = is_half(w) && (w->type->dtype == DTYPE_F16 ? target->vector_bytes >= F16C_BYTES
                                                         : w->type->dtype == x->type->dtype);
  if (!fits || !value_is_constant(w) || !type_is_static(w->type)) return false;
  if (node_is(node, &op_gemm)) return !node_bool(node, "trans_a") && dim_is_const(x->type->dims[1]);
  return node_is(node, &op_conv) && node_string_is(node, "layout", "nhwc") && !groups_are_small(node);
}

/* A nest that computes with 16-bit floats, rather than moves them. */
static bool is_narrow_nest(const Node *node) {
  static const char *const families[] = {"attention", "conv", "matmul", "norm", "pool", "reduce", "rnn"};
  bool computes = false;
  for (int i = 0; i < COUNT_OF(families); i++) computes |= strcmp(node->op->family, families[i]) == 0;
  if (!computes || !node->op->nest || node->result_count != 1) return false;
  bool packed = op_attr_index(node->op, "packed") >= 0 && node_int(node, "packed") != 0;
  return (is_half(operand(node, 0)) || (is_product(node) && is_half(operand(node, 1)))) && !packed;
}

/* The node on f32 instead, but for the operands in `kept` (bits by number); NULL when it does not type, as
 * one that mentions its dtype. */
static Value *computed_wide(Node *node, unsigned kept) {
  enum { MAX_OPERANDS = 8 };
  Value *operands[MAX_OPERANDS] = {NULL};
  if (node->operand_count > MAX_OPERANDS) return NULL;
  Builder builder = builder_before(node);
  for (int i = 0; i < node->operand_count; i++) {
    operands[i] = operand(node, i);
    if (is_half(operands[i]) && !(kept >> i & 1)) operands[i] = build_cast(&builder, operands[i], DTYPE_F32);
  }
  Node *copy = node_like(&builder, node, operands);
  if (is_product(node)) node_set_bool(copy, "wide", kept != 0);
  Module *module = node->graph->module;
  Diag *last = module->last_diag;
  if (!node_finish(copy)) {
    diags_take_back(module, last);
    return NULL;
  }
  return build_cast(&builder, result(copy, 0), result(node, 0)->type->dtype);
}

static bool pack_half(Node *node, const PassOptions *options) {
  enum { X = 1, W = 2 };
  if (!is_narrow_nest(node)) return false;
  unsigned kept = 0;
  if (is_product(node) && has_half_panels(node, options->target))
    kept = operand(node, 1)->type->dtype == DTYPE_F16 ? W : X | W;
  bool done = kept && node_bool(node, "wide") && (kept & X || !is_half(operand(node, 0)));
  Value *wide = done ? NULL : computed_wide(node, kept);
  if (!wide || wide->type != result(node, 0)->type) return false;
  pack_replace(node, wide);
  return true;
}

bool pack_halves(Graph *graph, const PassOptions *options) {
  bool changed = false;
  FOR_EACH_NODE_SAFE(node, graph) changed |= pack_half(node, options);
  return changed;
}
