/*
 * simplify.c -- local algebra to a fixpoint: each op's own `simplify`, then the rules that span ops.
 *
 * Before: any graph. After: no rule applies (or the budget is spent). Requires nothing; keeps types and names
 * of outputs. Weights that a rule scales or transposes stay as small expressions over constants, which `fold`
 * evaluates: value_is_constant says yes to both, so rules need not wait for it.
 *
 * The order is the list itself: sweeps in execution order, each rewrite followed at once by a look at what it
 * built. Between sweeps dead nodes go, because many rules ask for "only use".
 */
#include "passes/rewrite.h"

/* Rules by the op that they look at; NULL: every node. */
static const struct {
  const Op *op;
  Rule apply;
} rules[] = {
    {NULL, rule_known},
    {&op_average_pool, rule_pool_before_conv},
    {&op_add, rule_norm_sum},
    {&op_add, rule_shift_after},
    {&op_sub, rule_shift_after},
    {&op_mul, rule_norm_product},
    {&op_mul, rule_scale_after},
    {&op_div, rule_norm_quotient},
    {&op_div, rule_scale_after},
    {&op_conv, rule_join_conv_axes},
    {&op_conv, rule_image_planes},
    {&op_conv, rule_scale_before},
    {&op_conv, rule_shift_before},
    {&op_conv_transpose, rule_scale_before},
    {&op_gather, rule_gather_blocks},
    {&op_gemm, rule_gemm_blocks}, /* before w is something else */
    {&op_gemm, rule_gemm_untranspose},
    {&op_gemm, rule_gemm_flatten},
    {&op_gemm, rule_scale_before},
    {&op_gemm, rule_shift_before},
    {&op_layer_norm, rule_sink_reshape_norm},
    {&op_matmul, rule_matmul_to_gemm},
    {NULL, rule_sink_reshape},
};

static Value *node_simplify(Node *node) {
  Value *better = node->op->simplify ? node->op->simplify(node) : NULL;
  for (int i = 0; !better && i < COUNT_OF(rules); i++)
    if (!rules[i].op || rules[i].op == node->op) better = rules[i].apply(node);
  return better;
}

/* One walk over the graph; takes from the budget for each rewrite. */
static bool graph_simplify(Graph *graph, int *budget) {
  bool changed = false;
  for (Node *node = graph->first; node;) {
    Node *previous = node->prev, *next = node->next;
    bool plain = !(node->op->traits & TRAIT_STRUCTURE) && node->result_count > 0;
    Value *better = plain && *budget > 0 && rewrite_allowed(node) ? node_simplify(node) : NULL;
    if (rewrite_done(graph->module, better)) {
      changed = true;
      --*budget;
      if (better != result(node, 0)) node_replace(node, better);
      next = previous ? previous->next : graph->first;
    }
    node = next;
  }
  return changed;
}

bool pass_simplify(Graph *graph, const PassOptions *options) {
  (void)options;
  int budget = 64 * (graph_count_nodes(graph) + 16);
  bool changed = false;
  while (graph_simplify(graph, &budget)) {
    changed = true;
    graph_sweep(graph);
  }
  return changed;
}
