/*
 * trees.c -- ensembles of decision trees.
 *
 * A node asks one question: is column `feature` of the row at most the threshold? Yes leads to its first
 * child, no (and NaN) to the second, which stands right behind the first, so that a step is an addition and
 * not a branch. Features from F on, F the columns of x, read column feature-F and take NaN for less than
 * every threshold: missing values that go left. All other questions are brought into this form where a model
 * is imported.
 *
 * Trees come in two forms. In the free one, `children` and `roots` say where to go, and leaves are nodes that
 * lead to themselves: their threshold is NaN, whose answer is always no, and their child stands one in front
 * of them. So every tree is walked for `depth` steps, however soon a row arrives. In the complete one
 * (without `children`) all leaves are `depth` steps down, and node i of a tree has the children 2i+1 and
 * 2i+2.
 *
 * The tables come from files, so the plain nest clamps what it reads from them; the fast kernel, which does
 * not, asks for tables that are constant and right (trees_check).
 */
#include "ir/ops/ops.h"

enum { MAX_OUTPUTS = 1 << 16, MAX_COMPLETE_DEPTH = 24 };

/* ---- infer ---- */

Trees node_trees(const Node *node) {
  const Type *x = operand(node, TREES_X)->type, *leaves = operand(node, TREES_LEAVES)->type;
  Trees trees = {.depth = node_int(node, "depth"),
                 .outputs = node_int(node, "outputs"),
                 .complete = !operand(node, TREES_CHILDREN),
                 .columns = x->dims[1]->value,
                 .nodes = operand(node, TREES_FEATURES)->type->dims[0]->value,
                 .leaves = leaves->dims[0]->value,
                 .width = leaves->dims[1]->value};
  trees.trees =
      trees.complete ? trees.leaves >> trees.depth : operand(node, TREES_ROOTS)->type->dims[0]->value;
  return trees;
}

static bool check_static(const Node *node, int index, int rank) {
  TRY(check_rank(node, index, rank));
  return !operand(node, index) || type_static_count(operand(node, index)->type) >= 0 ||
         node_fail(node, "%s is %s; its sizes must be constants", node->op->operands[index].name,
                   operand_text(node, index));
}

static bool check_length(const Node *node, int index, int64_t length) {
  if (!operand(node, index) || dim_is(operand(node, index)->type->dims[0], length)) return true;
  return node_fail(node, "%s is %s; it must have %lld elements", node->op->operands[index].name,
                   operand_text(node, index), (long long)length);
}

static bool check_operands(const Node *node) {
  static const int tables[] = {TREES_FEATURES, TREES_TARGETS, TREES_ROOTS, TREES_CHILDREN, TREES_ROWS};
  TRY(check_kind(node, TREES_X, KIND_FLOAT) && check_rank(node, TREES_X, 2));
  if (!dim_is_const(operand(node, TREES_X)->type->dims[1]))
    return node_fail(node, "x is %s; its number of columns must be a constant", operand_text(node, TREES_X));
  TRY(check_same_dtype(node, TREES_X, TREES_THRESHOLDS) && check_static(node, TREES_THRESHOLDS, 1));
  TRY(check_kind(node, TREES_LEAVES, KIND_FLOAT) && check_static(node, TREES_LEAVES, 2));
  for (int i = 0; i < COUNT_OF(tables); i++)
    TRY(check_kind(node, tables[i], KIND_INT) && check_static(node, tables[i], 1));
  if (!operand(node, TREES_CHILDREN) == !operand(node, TREES_ROOTS) &&
      !operand(node, TREES_CHILDREN) == !operand(node, TREES_ROWS))
    return true;
  return node_fail(node, "roots, children and rows are given together or not at all");
}

static bool check_trees(const Node *node) {
  int64_t depth = node_int(node, "depth"), outputs = node_int(node, "outputs");
  bool complete = !operand(node, TREES_CHILDREN);
  if (depth < 0 || depth > (complete ? MAX_COMPLETE_DEPTH : INT32_MAX))
    return node_fail(node, "depth=%lld cannot be", (long long)depth);
  if (outputs < 1 || outputs > MAX_OUTPUTS)
    return node_fail(node, "outputs=%lld must be from 1 to %d", (long long)outputs, MAX_OUTPUTS);
  Trees trees = node_trees(node);
  if (complete && trees.leaves != trees.trees << depth)
    return node_fail(node, "leaves is %s; complete trees of depth %lld have %lld each",
                     operand_text(node, TREES_LEAVES), (long long)depth, 1ll << depth);
  if (complete) TRY(check_length(node, TREES_FEATURES, trees.trees * ((1ll << depth) - 1)));
  TRY(check_length(node, TREES_THRESHOLDS, trees.nodes) && check_length(node, TREES_CHILDREN, trees.nodes));
  TRY(check_length(node, TREES_ROWS, trees.nodes) && check_length(node, TREES_TARGETS, trees.trees));
  if (trees.width < 1 || trees.width > outputs)
    return node_fail(node, "leaves is %s, for %lld outputs", operand_text(node, TREES_LEAVES),
                     (long long)outputs);
  if (trees.nodes == 0 && !(complete && depth == 0) && trees.trees > 0)
    return node_fail(node, "trees without nodes");
  if (trees.columns == 0 && trees.nodes > 0) return node_fail(node, "x has no columns");
  return true;
}

/* Where the elements of a constant table must lie: in [low, high). */
static bool table_inside(const Node *node, int index, const Data *data, int64_t low, int64_t high) {
  for (int64_t i = 0; data && i < data->count; i++) {
    int64_t value = data_get_int(data, i);
    if (value < low || value >= high)
      return node_fail(node, "element %lld of %s is %lld; it must be in [%lld,%lld)", (long long)i,
                       node->op->operands[index].name, (long long)value, (long long)low, (long long)high);
  }
  return true;
}

/* Children stay among the nodes, whatever the way there. Leaves are the only ones whose child is in front. */
static bool links_inside(const Node *node, const Trees *trees, const Data *const *tables) {
  const Data *roots = tables[TREES_ROOTS], *children = tables[TREES_CHILDREN];
  int64_t tree = -1, first = 0, end = 0;
  for (int64_t i = 0; roots && children && i < trees->nodes; i++) {
    while (i >= end && tree + 1 < trees->trees) {
      tree++;
      first = data_get_int(roots, tree);
      end = tree + 1 < trees->trees ? data_get_int(roots, tree + 1) : trees->nodes;
      if (end <= first || (tree == 0 && first != 0))
        return node_fail(node, "roots must rise from 0; tree %lld has the nodes from %lld to %lld",
                         (long long)tree, (long long)first, (long long)end);
    }
    int64_t child = first + data_get_int(children, i);
    if (child < first || child + 1 >= end)
      return node_fail(node, "the children of node %lld are %lld and %lld, outside its tree", (long long)i,
                       (long long)child, (long long)child + 1);
  }
  return true;
}

bool trees_check(const Node *node, const Data *const *tables) {
  Trees trees = node_trees(node);
  TRY(table_inside(node, TREES_FEATURES, tables[TREES_FEATURES], 0, 2 * trees.columns));
  TRY(table_inside(node, TREES_TARGETS, tables[TREES_TARGETS], 0, trees.outputs - trees.width + 1));
  TRY(table_inside(node, TREES_ROOTS, tables[TREES_ROOTS], 0, trees.nodes));
  TRY(table_inside(node, TREES_ROWS, tables[TREES_ROWS], 0, trees.leaves));
  return links_inside(node, &trees, tables);
}

static bool trees_infer(Node *node) {
  const Data *tables[TREES_OPERANDS] = {0};
  TRY(check_operands(node) && check_trees(node));
  for (int i = 1; i < node->operand_count; i++) tables[i] = value_data(operand(node, i));
  TRY(trees_check(node, tables));
  Module *module = node_module(node);
  const Dim *dims[] = {operand(node, TREES_X)->type->dims[0], dim_const(module, node_int(node, "outputs"))};
  result_set(node, 0, type_make(module, operand(node, TREES_LEAVES)->type->dtype, 2, dims));
  return true;
}

/* ---- the plain nest: row after row, tree after tree ---- */

Reg *trees_combine(Lower *lower, const Node *node, Reg *sum, Reg *leaf) {
  const char *how = node_string(node, "aggregate");
  if (how[0] == 's') return loop_binary(&lower->loops, LOOP_ADD, sum, leaf);
  return loop_binary(&lower->loops, how[1] == 'i' ? LOOP_MIN : LOOP_MAX, leaf, sum);
}

Reg *trees_start(Lower *lower, const Node *node, LoopType type) {
  const char *how = node_string(node, "aggregate");
  double start = how[0] == 's' ? 0 : how[1] == 'i' ? __builtin_inf() : -__builtin_inf();
  return loop_const(&lower->loops, type, start);
}

static Reg *plus(Lower *lower, Reg *x, Reg *y) {
  return loop_binary(&lower->loops, LOOP_ADD, x, y);
}

static Reg *times(Lower *lower, Reg *x, int64_t factor) {
  return loop_binary(&lower->loops, LOOP_MUL, x, loop_int(&lower->loops, factor));
}

/* Moved into [0, end). */
static Reg *below(Lower *lower, Reg *x, int64_t end) {
  return index_clamp(lower, index_of(x), index_const(lower, 0), index_const(lower, end - 1)).base;
}

static Reg *entry(Lower *lower, const Node *node, int index, Reg *at, int64_t end) {
  Index position = index_of(at);
  return below(lower, loop_cast(&lower->loops, lower_operand(lower, node, index, &position), DTYPE_I64), end);
}

/* 0 for the first child, 1 for the second. */
static Reg *answer(Lower *lower, const Node *node, const Trees *trees, Index row, Reg *at) {
  Loops *loops = &lower->loops;
  Reg *feature = entry(lower, node, TREES_FEATURES, at, 2 * trees->columns);
  Reg *columns = loop_int(loops, trees->columns), *first = loop_binary(loops, LOOP_GE, feature, columns);
  Index x_at[] = {row, index_of(loop_binary(loops, LOOP_FLOORMOD, feature, columns))}, t_at = index_of(at);
  Reg *x = compute(lower, lower_operand(lower, node, TREES_X, x_at));
  Reg *threshold = compute(lower, lower_operand(lower, node, TREES_THRESHOLDS, &t_at));
  first = loop_binary(loops, LOOP_AND, first, loop_binary(loops, LOOP_NE, x, x));
  first = loop_binary(loops, LOOP_AND, first, loop_binary(loops, LOOP_EQ, threshold, threshold));
  first = loop_binary(loops, LOOP_OR, first, loop_binary(loops, LOOP_LE, x, threshold));
  return loop_select(loops, first, loop_int(loops, 0), loop_int(loops, 1));
}

/* The row of `leaves` where row `row` of x ends in the tree. */
static Reg *leaf_of(Lower *lower, const Node *node, const Trees *trees, Index row, Reg *tree) {
  Loops *loops = &lower->loops;
  int64_t inner = trees->complete ? (1ll << trees->depth) - 1 : 0;
  Reg *root =
      trees->complete ? times(lower, tree, inner) : entry(lower, node, TREES_ROOTS, tree, trees->nodes);
  Reg *at = loop_int(loops, 0);
  For steps = loop_for(loops, at, loop_int(loops, trees->depth), 1, 1, &at);
  at = below(lower, plus(lower, root, steps.carried[0]), trees->nodes);
  Reg *next = trees->complete ? plus(lower, times(lower, steps.carried[0], 2), loop_int(loops, 1))
                              : entry(lower, node, TREES_CHILDREN, at, trees->nodes);
  next = plus(lower, next, answer(lower, node, trees, row, at));
  loop_end(loops, &steps, &next);
  at = steps.results[0];
  if (trees->complete)
    return plus(lower, times(lower, tree, 1ll << trees->depth), plus(lower, at, loop_int(loops, -inner)));
  at = below(lower, plus(lower, root, at), trees->nodes);
  return entry(lower, node, TREES_ROWS, at, trees->leaves);
}

static void add_leaf(Lower *lower, const Node *node, const Trees *trees, Buffer *sums, Reg *tree, Reg *leaf) {
  Loops *loops = &lower->loops;
  Reg *target = operand(node, TREES_TARGETS)
                    ? entry(lower, node, TREES_TARGETS, tree, trees->outputs - trees->width + 1)
                    : loop_int(loops, 0);
  For loop = loop_for(loops, loop_int(loops, 0), loop_int(loops, trees->width), 1, 0, NULL);
  Index at[] = {index_of(leaf), index_of(loop.counter)};
  Reg *value = compute(lower, lower_operand(lower, node, TREES_LEAVES, at));
  Reg *k = plus(lower, target, loop.counter), *sum = loop_load(loops, sums, &k, 1, NULL);
  loop_store(loops, trees_combine(lower, node, sum, value), sums, &k, NULL);
  loop_end(loops, &loop, NULL);
}

static void trees_nest(Lower *lower, const Node *node) {
  Loops *loops = &lower->loops;
  Trees trees = node_trees(node);
  Dtype dtype = result(node, 0)->type->dtype;
  LoopType type = {compute_dtype(dtype), 1};
  Buffer *sums = kernel_add_local(loops->kernel, "sums", type.dtype, 1, &trees.outputs);
  For rows = loop_parallel(loops, loop_int(loops, 0), lower_dim(lower, operand(node, TREES_X), 0), 1);
  For fill = loop_for(loops, loop_int(loops, 0), loop_int(loops, trees.outputs), 1, 0, NULL);
  loop_store(loops, trees_start(lower, node, type), sums, &fill.counter, NULL);
  loop_end(loops, &fill, NULL);
  if (trees.trees > 0) {
    For all = loop_for(loops, loop_int(loops, 0), loop_int(loops, trees.trees), 1, 0, NULL);
    Reg *leaf = leaf_of(lower, node, &trees, index_of(rows.counter), all.counter);
    add_leaf(lower, node, &trees, sums, all.counter, leaf);
    loop_end(loops, &all, NULL);
  }
  For give = loop_for(loops, loop_int(loops, 0), loop_int(loops, trees.outputs), 1, 0, NULL);
  Reg *sum = loop_cast(loops, loop_load(loops, sums, &give.counter, 1, NULL), dtype);
  lower_result(lower, 0, (Index[]){index_of(rows.counter), index_of(give.counter)}, sum);
  loop_end(loops, &give, NULL);
  loop_end(loops, &rows, NULL);
}

/* ---- the operator ---- */

static const OperandSpec trees_operands[] = {
    {"x", false, "float [rows, columns]; the number of columns is a constant"},
    {"features", false,
     "integer [nodes]: the column that a node asks for; from `columns` on NaN answers yes"},
    {"thresholds", false, "of x's element type, [nodes]; NaN: no, whatever x is"},
    {"leaves", false, "float [leaves, width]"},
    {"targets", true,
     "integer [trees]: the output to which the first element of a tree's leaves goes; absent: 0"},
    {"roots", true, "integer [trees]: the first node of each tree; absent: trees are complete"},
    {"children", true, "integer [nodes]: the first of two neighbours, counted from the root"},
    {"rows", true, "integer [nodes]: the leaf of a node where a walk may end"},
};

static const AttrSpec trees_attrs[] = {
    {"depth", ATTR_INT, ROLE_NONE, NULL, "steps from a root to the leaves", NULL},
    {"outputs", ATTR_INT, ROLE_NONE, "1", "columns of the result", NULL},
    {"aggregate", ATTR_STRING, ROLE_NONE, "sum", "how the leaves of the trees become one", "sum|min|max"},
};

static const char *const trees_results[] = {"y"};

const Op op_tree_ensemble = {
    .name = "tree_ensemble",
    .family = "trees",
    .doc =
        "Decision trees, summed up. A walk goes from the root of a tree `depth` steps: from node i to its "
        "first child if x[row, features[i]] <= thresholds[i], else to the second, which follows the first. "
        "It ends at a leaf, a row of `width` elements that are added to (min, max: compared with) as many "
        "columns of the result. Where roots are absent trees are complete: node i has the children 2i+1 and "
        "2i+2, a tree 2^depth-1 nodes and 2^depth leaves. Without a tree the result is 0 (infinite for min, "
        "max).",
    .operands = trees_operands,
    .operand_count = COUNT_OF(trees_operands),
    .results = trees_results,
    .result_count = 1,
    .attrs = trees_attrs,
    .attr_count = COUNT_OF(trees_attrs),
    .infer = trees_infer,
    .axes = axes_opaque,
    .nest = trees_nest,
};
