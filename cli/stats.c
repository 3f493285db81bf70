/* stats.c -- counting over a graph and its regions. */
#include "cli/stats.h"
#include "cli/program.h"

#include <stdlib.h>

typedef struct Counting {
  Module *module;
  ModelStats stats;
  const Dim *macs;
} Counting;

static int op_row(const Op *op) {
  int row = 0;
  while (row < all_op_count && all_ops[row] != op) row++;
  return row;
}

static void count_const(Counting *counting, const Node *node) {
  const Data *data = node->data;
  if (!data || data->splat || !node->results[0]->uses) return;
  counting->stats.parameters += data->count;
  counting->stats.parameter_bytes += (int64_t)data->size;
}

static void count_graph(Counting *counting, const Graph *graph) {
  FOR_EACH_NODE(node, graph) {
    int row = op_row(node->op);
    if (row < all_op_count) counting->stats.op_counts[row]++;
    if (node_is(node, &op_const)) count_const(counting, node);
    if (node->op->macs) counting->macs = dim_add(counting->module, counting->macs, node->op->macs(node));
    for (int i = 0; i < node->region_count; i++) count_graph(counting, node->regions[i]);
  }
}

ModelStats model_stats(Module *module) {
  char text[32];
  Counting counting = {.module = module, .macs = dim_const(module, 0)};
  counting.stats.op_counts = NEW_ARRAY(module->arena, int64_t, all_op_count);
  count_graph(&counting, module->main);
  if (dim_is_const(counting.macs))
    counting.stats.macs = arena_printf(module->arena, "%s", count_text(counting.macs->value, text));
  else
    counting.stats.macs = dim_text(module, counting.macs);
  return counting.stats;
}

typedef struct OpCount {
  const char *name;
  int64_t count;
} OpCount;

static int by_count(const void *a, const void *b) {
  const OpCount *x = a, *y = b;
  return (y->count > x->count) - (y->count < x->count);
}

void model_stats_print_ops(Module *module, const ModelStats *stats) {
  OpCount *counts = NEW_ARRAY(module->arena, OpCount, all_op_count);
  int count = 0, column = 0;
  for (int i = 0; i < all_op_count; i++)
    if (stats->op_counts[i] && !(all_ops[i]->traits & TRAIT_STRUCTURE))
      counts[count++] = (OpCount){all_ops[i]->name, stats->op_counts[i]};
  qsort(counts, (size_t)count, sizeof *counts, by_count);
  printf("%-9s", "ops");
  for (int i = 0; i < count; i++) {
    if (column > 80) column = printf("\n%-9s", "") - 1;
    column += printf(" %s %lld%s", counts[i].name, (long long)counts[i].count, i + 1 < count ? "," : "");
  }
  printf("\n");
}
