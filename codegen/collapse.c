/*
 * collapse.c -- 1x1 convolutions see one long row of pixels.
 *
 * IR before: kernel nodes around a packed 1x1 stride-1 channels-last conv, on [N,H,W,C]. IR after: the same
 * on [1,1,N*H*W,C], with reshapes (views) around: the register tiles run along the row axis, and one long row
 * has no short tails. Done only where everything else in the kernel is element by element, with operands of
 * the full size or constant over pixels. Keeps: the meaning.
 */
#include "codegen/schedule.h"

static bool is_pointwise_conv(const Node *conv) {
  if (!node_is(conv, &op_conv) || !node_int(conv, "packed") || !node_string_is(conv, "layout", "nhwc"))
    return false;
  if (attr_has_other(conv, "kernel", 1) || attr_has_other(conv, "strides", 1) ||
      attr_has_other(conv, "pads", 0))
    return false;
  return operand(conv, 0)->type->rank == 4;
}

static bool same_pixels(const Type *a, const Type *b) {
  return a->rank == 4 && a->dims[0] == b->dims[0] && a->dims[1] == b->dims[1] && a->dims[2] == b->dims[2];
}

static bool constant_over_pixels(const Type *type) {
  for (int axis = 0; axis + 1 < type->rank; axis++) {
    if (!dim_is(type->dims[axis], 1)) return false;
  }
  return true;
}

/* Whether every operand axis of an element op is the result's own axis. */
static bool is_aligned(const Node *node) {
  if (!node->op->element) return false;
  int rank = node->results[0]->type->rank;
  for (int k = 0; k < node->operand_count; k++) {
    AxisLink links[MAX_RANK];
    const Value *value = operand(node, k);
    if (!value) continue;
    op_axes(node, k, links);
    for (int axis = 0; axis < value->type->rank; axis++) {
      bool aligned = links[axis].role == AXIS_SAME || links[axis].role == AXIS_BROADCAST;
      if (!aligned || links[axis].axis != axis + rank - value->type->rank) return false;
    }
  }
  return true;
}

static bool can_collapse(const Node *kernel, const Node *conv) {
  const Type *y = result(kernel, 0)->type;
  if (kernel->result_count != 1 || !same_pixels(y, result(conv, 0)->type)) return false;
  if (dim_is(y->dims[0], 1) && dim_is(y->dims[1], 1)) return false; /* is one row already */
  const Graph *region = kernel->regions[0];
  FOR_EACH_NODE(node, region) {
    if (node == conv || (node->op->traits & TRAIT_STRUCTURE)) continue;
    if (!is_aligned(node)) return false;
  }
  for (int i = 0; i < region->input_count; i++) {
    const Value *input = region->inputs[i];
    if (input == operand(conv, 1) || input == operand(conv, 2)) {
      if (!value_has_one_use(input)) return false;
    } else if (!same_pixels(input->type, y) && !constant_over_pixels(input->type)) {
      return false;
    }
  }
  return true;
}

static const Type *one_row(Module *module, const Type *type) {
  const Dim *one = dim_const(module, 1),
            *pixels = dim_mul(module, dim_mul(module, type->dims[0], type->dims[1]), type->dims[2]);
  return type_make(module, type->dtype, 4, (const Dim *[]){one, one, pixels, type->dims[3]});
}

static bool collapse(Node *kernel, const Node *conv) {
  Module *module = kernel->graph->module;
  Graph *region = kernel->regions[0];
  const Type *y = result(kernel, 0)->type;
  Builder before = builder_before(kernel);
  for (int i = 0; i < region->input_count; i++) {
    Value *input = region->inputs[i];
    if (input == operand(conv, 1) || input == operand(conv, 2) || !same_pixels(input->type, y)) continue;
    input->type = one_row(module, input->type);
    Value *outside = build_reshape(&before, operand(kernel, i), 4, input->type->dims);
    TRY(outside);
    operand_set(kernel, i, outside);
  }
  FOR_EACH_NODE(node, region) {
    if (!(node->op->traits & TRAIT_STRUCTURE)) TRY(node_reinfer(node));
  }
  result_set(kernel, 0, one_row(module, y));
  Builder after = {.graph = kernel->graph, .before = kernel->next, .origin = kernel->origin};
  Node *back = node_new(&after, &op_reshape, (Value *[]){NULL}, 1);
  value_replace(result(kernel, 0), result(back, 0));
  operand_set(back, 0, result(kernel, 0));
  node_set_dims(back, "shape", y->dims, y->rank);
  return node_finish(back);
}

bool collapse_run(Graph *graph, const PassOptions *options) {
  (void)options;
  bool changed = false;
  FOR_EACH_NODE_SAFE(node, graph) {
    if (!node_is(node, &op_kernel)) continue;
    const Node *conv = kernel_anchor(node);
    if (!conv || !is_pointwise_conv(conv) || !can_collapse(node, conv) || !rewrite_allowed(node)) continue;
    changed |= rewrite_done(graph->module, collapse(node, conv));
  }
  return changed;
}
