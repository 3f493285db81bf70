/*
 * layout.c -- convolutions and pools become channels-last.
 *
 * Before: ops with a `layout` attribute in either form. After: all are "nhwc", their weights transposed (a
 * constant that fold evaluates), with transposes of the feature maps around them, which sink.c has moved
 * towards the outputs and cancelled against each other. On a convolution network one is left per image-like
 * input and output. Requires simplified chains; keeps the types of inputs and outputs. Nothing to do for a
 * graph that is channels-last already but cancelling the transposes that its exporter put around each
 * convolution.
 */
#include "passes/sink.h"

/* nchw axis of each nhwc axis. */
static void channels_last(int rank, int64_t *perm) {
  perm[0] = 0;
  for (int i = 1; i < rank - 1; i++) perm[i] = i + 1;
  perm[rank - 1] = 1;
}

/* Weights of conv [M, C, k...] become [k..., C, M]; of conv_transpose [C, M, k...] become [k..., C, M]. */
static void weights_last(const Node *node, int rank, int64_t *perm) {
  bool swap = node_is(node, &op_conv);
  for (int i = 0; i < rank - 2; i++) perm[i] = i + 2;
  perm[rank - 2] = swap ? 1 : 0;
  perm[rank - 1] = swap ? 0 : 1;
}

static bool is_channels_first(const Node *node) {
  return op_attr_index(node->op, "layout") >= 0 && node_string_is(node, "layout", "nchw");
}

static bool node_convert(Node *node) {
  enum { MAX_OPERANDS = 3 };
  Value *x = operand(node, 0), *operands[MAX_OPERANDS] = {NULL};
  int rank = x->type->rank;
  int64_t perm[MAX_RANK], inverse[MAX_RANK];
  if (node->operand_count > MAX_OPERANDS || rank < 3) return false;
  Builder builder = builder_before(node);
  channels_last(rank, perm);
  operands[0] = build_permuted(&builder, x, perm);
  operands[2] = operand(node, 2);
  if (operand(node, 1)) {
    int64_t weights[MAX_RANK];
    weights_last(node, rank, weights);
    operands[1] = build_permuted(&builder, operand(node, 1), weights);
  }
  Node *copy = node_like(&builder, node, operands);
  node_set_string(copy, "layout", "nhwc");
  TRY(node_finish(copy));
  perm_invert(perm, rank, inverse);
  for (int i = 1; i < node->result_count; i++)
    value_replace(result(node, i), build_permuted(&builder, result(copy, i), inverse));
  node_replace(node, build_permuted(&builder, result(copy, 0), inverse));
  return true;
}

bool pass_layout(Graph *graph, const PassOptions *options) {
  (void)options;
  bool changed = false;
  FOR_EACH_NODE_SAFE(node, graph)
  if (is_channels_first(node) && rewrite_allowed(node))
    changed |= rewrite_done(graph->module, node_convert(node));
  graph_sweep(graph);
  return sink_transposes(graph) || changed;
}
