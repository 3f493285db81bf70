/*
 * pack_trees.c -- shallow decision trees become complete ones.
 *
 * IR before: tree_ensemble with children and roots, all tables constant. IR after: where depth is small
 * enough that asking all questions at once is faster than walking (kernels/trees.c), the same trees with
 * 2^depth leaves each, all at the same depth; a leaf further up is repeated. Keeps: the meaning.
 */
#include "codegen/schedule.h"

typedef struct Packer {
  Trees trees;
  const Data *tables[TREES_OPERANDS];
  Data *features, *thresholds, *leaves;
} Packer;

/* Depths at which 2^depth questions for all lanes cost less than depth steps of each: found by measurement.
 */
static int deepest(const Target *target, Dtype dtype) {
  int lanes = target_lanes(target, dtype);
  return lanes >= 16 ? 7 : lanes >= 8 ? 6 : 4;
}

static void set_leaf(Packer *p, int64_t at, int64_t from) {
  int64_t row = data_get_int(p->tables[TREES_ROWS], from), width = p->trees.width;
  for (int64_t w = 0; w < width; w++)
    dtype_set(p->leaves->dtype, data_bytes(p->leaves), at * width + w,
              data_get(p->tables[TREES_LEAVES], row * width + w));
}

/* Node `from` of the old tables becomes node `at` of new tree `tree`, counted from its root. */
static void set_node(Packer *p, int64_t tree, int64_t at, int64_t from) {
  int64_t inner = (1ll << p->trees.depth) - 1, root = data_get_int(p->tables[TREES_ROOTS], tree);
  if (at >= inner) {
    set_leaf(p, tree * (inner + 1) + at - inner, from);
    return;
  }
  int64_t to = tree * inner + at;
  double threshold = data_get(p->tables[TREES_THRESHOLDS], from);
  bool is_leaf = threshold != threshold;
  int64_t child = root + data_get_int(p->tables[TREES_CHILDREN], from);
  dtype_set(p->thresholds->dtype, data_bytes(p->thresholds), to, is_leaf ? 0 : threshold);
  dtype_set_int(p->features->dtype, data_bytes(p->features), to,
                is_leaf ? 0 : data_get_int(p->tables[TREES_FEATURES], from));
  set_node(p, tree, 2 * at + 1, is_leaf ? child + 1 : child);
  set_node(p, tree, 2 * at + 2, child + 1);
}

static Value *constant(Builder *builder, Data *data, int rank, const int64_t *dims) {
  return build_const(builder, type_static(builder->graph->module, data->dtype, rank, dims), data, NULL);
}

static bool replace_tables(Node *node, Packer *p) {
  Builder builder = builder_before(node);
  int64_t leaves[] = {p->trees.trees << p->trees.depth, p->trees.width}, nodes = leaves[0] - p->trees.trees;
  Value *values[] = {constant(&builder, p->features, 1, &nodes), constant(&builder, p->thresholds, 1, &nodes),
                     constant(&builder, p->leaves, 2, leaves)};
  TRY(values[0] && values[1] && values[2]);
  operand_set(node, TREES_FEATURES, values[0]);
  operand_set(node, TREES_THRESHOLDS, values[1]);
  operand_set(node, TREES_LEAVES, values[2]);
  for (int i = TREES_ROOTS; i <= TREES_ROWS; i++) operand_set(node, i, NULL);
  return node_reinfer(node);
}

bool pack_trees(Node *node, const PassOptions *options) {
  Packer p = {.trees = node_trees(node)};
  Module *module = node->graph->module;
  Dtype dtype = operand(node, TREES_X)->type->dtype;
  if (p.trees.complete || p.trees.trees == 0 || p.trees.depth > deepest(options->target, dtype)) return false;
  for (int i = 1; i < node->operand_count; i++) {
    p.tables[i] = operand(node, i) ? value_data(operand(node, i)) : NULL;
    if (operand(node, i) && !p.tables[i]) return false;
  }
  int64_t leaves = p.trees.trees << p.trees.depth, growth = options->preference == PREFER_SIZE ? 1 : 4;
  if (leaves > growth * (p.trees.leaves + 16)) return false;
  p.features = data_new(module, p.tables[TREES_FEATURES]->dtype, leaves - p.trees.trees);
  p.thresholds = data_new(module, dtype, leaves - p.trees.trees);
  p.leaves = data_new(module, p.tables[TREES_LEAVES]->dtype, leaves * p.trees.width);
  for (int64_t tree = 0; tree < p.trees.trees; tree++)
    set_node(&p, tree, 0, data_get_int(p.tables[TREES_ROOTS], tree));
  return replace_tables(node, &p);
}
