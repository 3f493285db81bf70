/* trees.c -- ensembles of decision trees. */
#include "tests/checkop/checkop.h"

#include <math.h>
#include <stdlib.h>

enum { MAX_TREE_NODES = 1 << 16 };

typedef struct Grove {
  Check *check;
  int64_t columns, count, leaves, root;
  bool missing; /* some nodes take NaN for a yes */
  int64_t features[MAX_TREE_NODES], children[MAX_TREE_NODES], rows[MAX_TREE_NODES], roots[64];
  double thresholds[MAX_TREE_NODES];
} Grove;

static int64_t pick(Grove *g, int64_t below) {
  return (int64_t)((next_random(g->check) + 1) / 2 * (double)below) % below;
}

/* Node `at` and all below it; the deeper, the likelier a leaf. */
static void grow(Grove *g, int64_t at, int left) {
  bool is_large = g->count - g->root > MAX_TREE_NODES / 64;
  if (at > g->root && (left == 0 || is_large || pick(g, 8) == 0)) {
    g->thresholds[at] = NAN;
    g->children[at] = at - g->root - 1;
    g->rows[at] = g->leaves++;
    return;
  }
  int64_t child = g->count;
  g->count += 2;
  g->thresholds[at] = next_random(g->check);
  g->features[at] = pick(g, g->missing ? 2 * g->columns : g->columns);
  g->children[at] = child - g->root;
  grow(g, child, left - 1);
  grow(g, child + 1, left - 1);
}

static Value *table(Check *check, Dtype dtype, const int64_t *values, const double *floats, int64_t count) {
  Data *data = data_new(check->module, dtype, count);
  for (int64_t i = 0; i < count; i++) {
    if (values) dtype_set_int(dtype, data_bytes(data), i, values[i]);
    if (floats) dtype_set(dtype, data_bytes(data), i, floats[i]);
  }
  return build_const(&check->builder, type_static(check->module, dtype, 1, &count), data, NULL);
}

typedef struct TreeCase {
  int64_t rows, columns, trees;
  int depth;
  int64_t width, outputs;
  const char *aggregate;
  bool missing, epilogue;
} TreeCase;

static void add_trees(Check *check, const TreeCase *c, int number) {
  Grove *g = calloc(1, sizeof *g);
  *g = (Grove){.check = check, .columns = c->columns, .missing = c->missing};
  int64_t targets[64];
  for (int64_t t = 0; t < c->trees; t++) {
    g->roots[t] = g->root = g->count++;
    targets[t] = pick(g, c->outputs - c->width + 1);
    grow(g, g->root, c->depth);
  }
  Value *operands[TREES_OPERANDS] = {input(check, 2, (int64_t[]){c->rows, c->columns}),
                                     table(check, DTYPE_U16, g->features, NULL, g->count),
                                     table(check, DTYPE_F32, NULL, g->thresholds, g->count),
                                     weight(check, 2, (int64_t[]){g->leaves, c->width}),
                                     c->width < c->outputs ? table(check, DTYPE_I32, targets, NULL, c->trees)
                                                           : NULL,
                                     table(check, DTYPE_I32, g->roots, NULL, c->trees),
                                     table(check, DTYPE_U16, g->children, NULL, g->count),
                                     table(check, DTYPE_I32, g->rows, NULL, g->count)};
  free(g);
  Node *node = node_new(&check->builder, &op_tree_ensemble, operands, TREES_OPERANDS);
  node_set_int(node, "depth", c->depth);
  node_set_int(node, "outputs", c->outputs);
  node_set_string(node, "aggregate", c->aggregate);
  Value *y = node_finish(node) ? result(node, 0) : NULL;
  if (y && c->epilogue) y = build_unary(&check->builder, &op_tanh, y);
  done(check, y, NAME("trees_%d_r%d_d%d", number, (int)c->rows, c->depth));
}

void tree_cases(Check *check) {
  static const TreeCase cases[] = {
      {1, 1, 1, 1, 1, 1, "sum", false, false},    {2, 3, 7, 3, 1, 1, "sum", false, true},
      {3, 5, 9, 3, 1, 4, "sum", true, false},     {16, 4, 11, 4, 3, 3, "sum", false, true},
      {67, 7, 5, 5, 2, 3, "sum", true, false},    {150, 6, 3, 6, 1, 2, "max", false, false},
      {83, 2, 4, 2, 2, 2, "min", true, true},     {OPEN, 9, 20, 3, 1, 1, "sum", true, true},
      {OPEN, 4, 2, 7, 5, 5, "min", false, false}, {0, 3, 4, 2, 1, 1, "sum", false, false},
      {1, 5, 17, 9, 1, 1, "sum", true, true},     {7, 4, 8, 12, 3, 3, "sum", false, false},
      {8, 6, 3, 8, 1, 5, "max", true, true},      {OPEN, 11, 10, 10, 2, 7, "min", false, true},
      {301, 3, 2, 9, 1, 1, "sum", false, false},  {OPEN, 8, 5, 17, 20, 20, "sum", true, false},
      {0, 8, 5, 9, 1, 1, "sum", true, false},     {35, 2, 40, 1, 1, 1, "sum", false, true}};
  for (int i = 0; i < COUNT_OF(cases); i++) add_trees(check, &cases[i], i);
}
