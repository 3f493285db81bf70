/*
 * planted.c -- the passes of tenon, and one with a bug that is easily made.
 *
 * `hoist` moves scales behind activations: relu(x * c) becomes relu(x) * c. The author thought of gains,
 * which are positive; for c < 0 it is wrong.
 */
#include "cli/program.h"
#include "passes/rewrite.h"

/* relu(x * c) -> relu(x) * c */
static bool hoist_scale(Node *relu) {
  Node *mul = operand(relu, 0)->def;
  if (!node_is(mul, &op_mul) || !value_has_one_use(result(mul, 0)) || !value_data(operand(mul, 1)))
    return false;
  Builder builder = builder_before(relu);
  Value *bent = build_unary(&builder, &op_relu, operand(mul, 0));
  node_replace(relu, build_binary(&builder, &op_mul, bent, operand(mul, 1)));
  return true;
}

static bool hoist_run(Graph *graph, const PassOptions *options) {
  (void)options;
  bool changed = false;
  FOR_EACH_NODE_SAFE(node, graph)
  if (node_is(node, &op_relu) && rewrite_allowed(node))
    changed |= rewrite_done(graph->module, hoist_scale(node));
  graph_sweep(graph);
  return changed;
}

static const Pass planted_passes[] = {
    {"hoist", hoist_run, "scales move behind activations"},
    {NULL, NULL, NULL},
};

const Pass *const pass_tables[] = {graph_passes, codegen_passes, planted_passes, NULL};
