/*
 * forest.c -- a Forest to a tree_ensemble: every question becomes "is x at most t?".
 *
 *   x < t     x <= the number before t
 *   x >= t    not x < t: the branches change places, and NaN goes the other way
 *   x == t    two nodes: at most the number before t? at most t?
 *   x in S    a binary search in S, then x == t
 *
 * Thresholds are rounded down to x's element type, which changes no answer. The two children of a node are
 * put side by side; a subtree that several nodes lead to is not repeated, only the node on its top. Where NaN
 * goes to the first child the node asks for feature + columns (see ir/ops/trees.c).
 */
#include "frontend/onnx/trees.h"

#include <limits.h>
#include <math.h>
#include <string.h>

/* A node of the result before it has its number: a node of the forest, or a part of its question. */
typedef struct Goal {
  int node;
  int low, high;  /* BRANCH_MEMBER: among these of its members */
  bool is_second; /* x == t: the node before t has been passed */
} Goal;

typedef struct Question {
  double threshold;
  bool nan_is_first;
  Goal first, second;
} Question;

/* A node of the result. */
typedef struct Record {
  Goal goal;
  double threshold; /* NaN: a leaf */
  int64_t feature, child, row;
} Record;

typedef struct Writer {
  OnnxNode *node;
  const Forest *forest;
  Dtype dtype; /* of x */
  int64_t columns;
  int *places; /* by node of the forest: where the children of the tree's are, counted from the root (of
                  leaves: their row + 1); 0: nowhere yet */
  int *height; /* by node of the forest: steps to the farthest leaf; -1: not known, -2: being looked for */
  Record *records; /* of all trees */
  int count, capacity;
  int root; /* first record of the tree that is being written */
  int leaf_count, depth;
} Writer;

/* ---- questions ---- */

/* The largest number of the dtype that is at most t, or less than t. */
static double rounded_down(Dtype dtype, double t, bool less) {
  if (dtype == DTYPE_F64) return less ? nextafter(t, -INFINITY) : t;
  float f = (float)t;
  if ((double)f > t || (less && (double)f >= t)) f = nextafterf(f, -INFINITY);
  return (double)f;
}

static double before(const Writer *w, double t) {
  return t == -INFINITY ? NAN : rounded_down(w->dtype, t, true);
}

static Goal goal_of(const Writer *w, int node) {
  return (Goal){.node = node, .high = w->forest->nodes[node].member_count};
}

/* x <= t leads to `first`. */
static Question at_most(double t, bool nan_is_first, Goal first, Goal second) {
  if (!isnan(t)) return (Question){t, nan_is_first, first, second};
  return (Question){INFINITY, !nan_is_first, second, first}; /* no number is */
}

static Question equals(const Writer *w, Goal goal, double t, bool missing_is_true, Goal yes, Goal no) {
  if (isnan(t)) return at_most(NAN, missing_is_true, yes, no);
  if (goal.is_second) return at_most(rounded_down(w->dtype, t, false), missing_is_true, yes, no);
  goal.is_second = true;
  return at_most(before(w, t), !missing_is_true, no, goal);
}

static Question is_member(const Writer *w, Goal goal, const ForestNode *node, Goal yes, Goal no) {
  const double *members = w->forest->members + node->members;
  if (goal.low >= goal.high) return at_most(NAN, node->missing_is_true, yes, no);
  if (goal.high - goal.low == 1) return equals(w, goal, members[goal.low], node->missing_is_true, yes, no);
  Goal lower = goal, upper = goal;
  lower.high = upper.low = goal.low + (goal.high - goal.low) / 2;
  return at_most(before(w, members[upper.low]), true, lower, upper);
}

static Question question_of(const Writer *w, Goal goal) {
  const ForestNode *node = &w->forest->nodes[goal.node];
  Goal yes = goal_of(w, node->yes), no = goal_of(w, node->no);
  double t = node->value;
  bool missing = node->missing_is_true;
  switch (node->mode) {
  case BRANCH_LT: return at_most(isnan(t) ? t : before(w, t), missing, yes, no);
  case BRANCH_GTE:
    if (isnan(t)) return at_most(t, missing, yes, no);
    return at_most(before(w, t), !missing, no, yes);
  case BRANCH_GT:
    if (isnan(t)) return at_most(t, missing, yes, no);
    return at_most(rounded_down(w->dtype, t, false), !missing, no, yes);
  case BRANCH_EQ: return equals(w, goal, t, missing, yes, no);
  case BRANCH_NEQ: return equals(w, goal, t, false, no, yes);
  case BRANCH_MEMBER: return is_member(w, goal, node, yes, no);
  default: return at_most(isnan(t) ? t : rounded_down(w->dtype, t, false), missing, yes, no);
  }
}

/* ---- heights ---- */

static int steps_of(const ForestNode *node) {
  int steps = node->mode == BRANCH_EQ || node->mode == BRANCH_NEQ || node->mode == BRANCH_MEMBER ? 2 : 1;
  for (int count = node->member_count; count > 1; count = (count + 1) / 2) steps++;
  return steps;
}

/* Fills w->height for the node and all below; false where they form a circle or are too deep. */
static bool measure(Writer *w, int number, int depth) {
  enum { MAX_DEPTH = 4096 };
  const ForestNode *node = &w->forest->nodes[number];
  if (w->height[number] >= 0) return true;
  if (w->height[number] == -2) return onnx_fail(w->node, "node %d is below itself", number);
  if (depth > MAX_DEPTH) return onnx_fail(w->node, "a tree deeper than %d", MAX_DEPTH);
  w->height[number] = -2;
  int height = 0;
  if (node->mode != BRANCH_LEAF) {
    TRY(measure(w, node->yes, depth + 1) && measure(w, node->no, depth + 1));
    int yes = w->height[node->yes], no = w->height[node->no];
    height = steps_of(node) + (yes > no ? yes : no);
  }
  w->height[number] = height;
  return true;
}

/* ---- records ---- */

static void *grown(Writer *w, const void *old, size_t size, int capacity) {
  char *larger = arena_alloc(w->node->module->arena, size * (size_t)capacity);
  if (old) memcpy(larger, old, size * (size_t)w->capacity);
  return larger;
}

static bool add_record(Writer *w, Goal goal) {
  enum { MAX_RECORDS = 1 << 26 };
  if (w->count == MAX_RECORDS) return onnx_fail(w->node, "more than %d nodes", MAX_RECORDS);
  if (w->count == w->capacity) {
    int capacity = w->capacity ? 2 * w->capacity : 1024;
    w->records = grown(w, w->records, sizeof *w->records, capacity);
    w->capacity = capacity;
  }
  w->records[w->count++] = (Record){.goal = goal};
  return true;
}

/* Leads back to itself: the answer is always no. */
static bool write_leaf(Writer *w, int at) {
  Record *record = &w->records[at];
  int *row = &w->places[record->goal.node];
  if (!*row) *row = ++w->leaf_count;
  record->threshold = NAN;
  record->child = at - w->root - 1;
  record->row = *row - 1;
  return true;
}

static bool write_below(Writer *w, int at);

/* First the children, side by side, then what is below them: the end of a way is in few cache lines. */
static bool write_branch(Writer *w, int at) {
  Goal goal = w->records[at].goal;
  Question question = question_of(w, goal);
  bool is_whole = goal.low == 0 && !goal.is_second && goal.high == w->forest->nodes[goal.node].member_count;
  int place = is_whole ? w->places[goal.node] : 0;
  bool is_new = place == 0;
  if (is_new) {
    place = w->count - w->root;
    TRY(add_record(w, question.first) && add_record(w, question.second));
    if (is_whole) w->places[goal.node] = place;
  }
  Record *record = &w->records[at];
  record->threshold = question.threshold;
  record->feature = w->forest->nodes[goal.node].feature + (question.nan_is_first ? w->columns : 0);
  record->child = place;
  return !is_new || (write_below(w, w->root + place) && write_below(w, w->root + place + 1));
}

static bool write_below(Writer *w, int at) {
  bool is_leaf = w->forest->nodes[w->records[at].goal.node].mode == BRANCH_LEAF;
  return is_leaf ? write_leaf(w, at) : write_branch(w, at);
}

/* A root that is a leaf is a question whose answers are the same. */
static bool write_single(Writer *w, Goal leaf) {
  w->records[w->root] = (Record){.goal = leaf, .threshold = INFINITY, .child = 1};
  TRY(add_record(w, leaf) && add_record(w, leaf));
  return write_leaf(w, w->root + 1) && write_leaf(w, w->root + 2);
}

static bool write_tree(Writer *w, int root) {
  w->root = w->count;
  if (!measure(w, root, 0) || !add_record(w, goal_of(w, root))) return false;
  bool is_leaf = w->forest->nodes[root].mode == BRANCH_LEAF;
  int depth = is_leaf ? 1 : w->height[root];
  if (depth > w->depth) w->depth = depth;
  TRY(is_leaf ? write_single(w, goal_of(w, root)) : write_branch(w, w->root));
  for (int at = w->root; at < w->count; at++) w->places[w->records[at].goal.node] = 0;
  return true;
}

/* ---- leaves ---- */

/* The outputs that the leaves of a tree vote for are all in [*low, *high]. */
static void span_of_votes(const Writer *w, int from, int to, int *low, int *high) {
  *low = INT_MAX;
  *high = 0;
  for (int at = from; at < to; at++) {
    const ForestNode *node = &w->forest->nodes[w->records[at].goal.node];
    if (!isnan(w->records[at].threshold)) continue;
    for (int i = 0; i < node->vote_count; i++) {
      int target = w->forest->votes[node->first_vote + i].target;
      if (target < *low) *low = target;
      if (target > *high) *high = target;
    }
  }
  if (*low > *high) *low = *high;
}

static double combined(const Forest *forest, double sum, double weight) {
  if (forest->aggregate[0] == 's') return sum + weight;
  return (forest->aggregate[1] == 'i') == (weight < sum) ? weight : sum;
}

static void fill_leaf(const Writer *w, Data *leaves, const Record *record, int64_t width, int start) {
  const ForestNode *node = &w->forest->nodes[record->goal.node];
  for (int i = 0; i < node->vote_count; i++) {
    const Vote *vote = &w->forest->votes[node->first_vote + i];
    int64_t at = record->row * width + vote->target - start;
    double sum = combined(w->forest, data_get(leaves, at), vote->weight);
    dtype_set(leaves->dtype, data_bytes(leaves), at, sum);
  }
}

/* Where the votes of each tree begin; *width gets how many outputs a leaf has room for. */
static int *starts_of(const Writer *w, const int *roots, int64_t *width) {
  const Forest *forest = w->forest;
  int *starts = NEW_ARRAY(w->node->module->arena, int, forest->tree_count), high;
  *width = 1;
  for (int t = 0; t < forest->tree_count; t++) {
    span_of_votes(w, roots[t], roots[t + 1], &starts[t], &high);
    if (high - starts[t] + 1 > *width) *width = high - starts[t] + 1;
  }
  for (int t = 0; t < forest->tree_count; t++)
    if (starts[t] > forest->targets - *width) starts[t] = (int)(forest->targets - *width);
  return starts;
}

static Value *leaves_of(Writer *w, const int *roots, const int *starts, int64_t width) {
  enum { MAX_CELLS = 1 << 28 };
  const Forest *forest = w->forest;
  Module *module = w->node->module;
  if (w->leaf_count > MAX_CELLS / width) {
    onnx_fail(w->node, "%d leaves for %lld outputs each are too many", w->leaf_count, (long long)width);
    return NULL;
  }
  Data *leaves = data_new(module, forest->dtype, w->leaf_count * width);
  double nothing = forest->aggregate[0] == 's' ? 0 : forest->aggregate[1] == 'i' ? INFINITY : -INFINITY;
  for (int64_t i = 0; nothing != 0 && i < leaves->count; i++)
    dtype_set(leaves->dtype, data_bytes(leaves), i, nothing);
  bool *is_filled = NEW_ARRAY(module->arena, bool, w->leaf_count);
  for (int t = 0; t < forest->tree_count; t++)
    for (int at = roots[t]; at < roots[t + 1]; at++) {
      const Record *record = &w->records[at];
      if (!isnan(record->threshold) || is_filled[record->row]) continue;
      fill_leaf(w, leaves, record, width, starts[t]);
      is_filled[record->row] = true;
    }
  return build_const(&w->node->builder,
                     type_static(module, forest->dtype, 2, (int64_t[]){w->leaf_count, width}), leaves, NULL);
}

/* ---- tables ---- */

/* Integers as the narrowest type that holds them. */
static Value *table_of(Writer *w, const int64_t *values, int64_t count) {
  int64_t largest = 0;
  for (int64_t i = 0; i < count; i++)
    if (values[i] > largest) largest = values[i];
  Dtype dtype = largest <= UINT8_MAX ? DTYPE_U8 : largest <= UINT16_MAX ? DTYPE_U16 : DTYPE_I32;
  Data *data = data_new(w->node->module, dtype, count);
  for (int64_t i = 0; i < count; i++) dtype_set_int(dtype, data_bytes(data), i, values[i]);
  return build_const(&w->node->builder, type_static(w->node->module, dtype, 1, &count), data, NULL);
}

/* One member of all records. */
static Value *column_of(Writer *w, size_t offset) {
  int64_t *values = NEW_ARRAY(w->node->module->arena, int64_t, w->count);
  for (int i = 0; i < w->count; i++)
    memcpy(&values[i], (const char *)&w->records[i] + offset, sizeof *values);
  return table_of(w, values, w->count);
}

static Value *thresholds_of(Writer *w) {
  int64_t count = w->count;
  Data *data = data_new(w->node->module, w->dtype, count);
  for (int i = 0; i < w->count; i++) dtype_set(w->dtype, data_bytes(data), i, w->records[i].threshold);
  return build_const(&w->node->builder, type_static(w->node->module, w->dtype, 1, &count), data, NULL);
}

static Value *starts_table(Writer *w, const int *starts) {
  int count = w->forest->tree_count;
  bool any = false;
  int64_t *values = NEW_ARRAY(w->node->module->arena, int64_t, count);
  for (int t = 0; t < count; t++) any |= (values[t] = starts[t]) != 0;
  return any ? table_of(w, values, count) : NULL;
}

static Value *roots_table(Writer *w, const int *roots) {
  int count = w->forest->tree_count;
  int64_t *values = NEW_ARRAY(w->node->module->arena, int64_t, count);
  for (int t = 0; t < count; t++) values[t] = roots[t];
  return table_of(w, values, count);
}

/* The number of columns, which must hold all features. */
static bool count_columns(Writer *w, const Value *x) {
  const Dim *columns = x->type->dims[1];
  if (!dim_is_const(columns))
    return onnx_fail(w->node, "the number of columns, %s, is not known: give it with --dim or --input-shape",
                     dim_text(w->node->module, columns));
  w->columns = columns->value;
  for (int i = 0; i < w->forest->node_count; i++) {
    const ForestNode *node = &w->forest->nodes[i];
    if (node->mode != BRANCH_LEAF && (node->feature < 0 || node->feature >= w->columns))
      return onnx_fail(w->node, "node %d asks for feature %lld of %lld", i, (long long)node->feature,
                       (long long)w->columns);
  }
  return w->columns > 0 || onnx_fail(w->node, "rows without columns");
}

Value *emit_forest(OnnxNode *node, Value *x, const Forest *forest) {
  Arena *arena = node->module->arena;
  Writer w = {.node = node, .forest = forest, .dtype = x->type->dtype};
  w.places = NEW_ARRAY(arena, int, forest->node_count);
  w.height = NEW_ARRAY(arena, int, forest->node_count);
  for (int i = 0; i < forest->node_count; i++) w.height[i] = -1;
  int *roots = NEW_ARRAY(arena, int, forest->tree_count + 1);
  if (!count_columns(&w, x)) return NULL;
  for (int t = 0; t < forest->tree_count; t++) {
    roots[t] = w.count;
    if (!write_tree(&w, forest->roots[t])) return NULL;
  }
  roots[forest->tree_count] = w.count;
  int64_t width;
  const int *starts = starts_of(&w, roots, &width);
  Value *operands[TREES_OPERANDS] = {[TREES_X] = x,
                                     [TREES_FEATURES] = column_of(&w, offsetof(Record, feature)),
                                     [TREES_THRESHOLDS] = thresholds_of(&w),
                                     [TREES_LEAVES] = leaves_of(&w, roots, starts, width),
                                     [TREES_TARGETS] = starts_table(&w, starts),
                                     [TREES_ROOTS] = roots_table(&w, roots),
                                     [TREES_CHILDREN] = column_of(&w, offsetof(Record, child)),
                                     [TREES_ROWS] = column_of(&w, offsetof(Record, row))};
  if (!operands[TREES_LEAVES]) return NULL;
  Node *core = node_new(&node->builder, &op_tree_ensemble, operands, TREES_OPERANDS);
  node_set_int(core, "depth", w.depth);
  node_set_int(core, "outputs", forest->targets);
  node_set_string(core, "aggregate", forest->aggregate);
  return finish(core);
}
