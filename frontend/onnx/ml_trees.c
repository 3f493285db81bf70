/*
 * ml_trees.c -- ai.onnx.ml's three operators on trees: their attributes to a Forest, and what comes after the
 * sum.
 *
 * TreeEnsembleRegressor and TreeEnsembleClassifier list all nodes by {tree, node} ids, leaves among them, and
 * votes by the ids of the leaf they belong to. TreeEnsemble (version 5) lists inner nodes and leaves apart
 * and by position.
 *
 * The specification leaves the classifier of two classes open; see emit_two_classes (ml.c).
 */
#include "frontend/onnx/ml.h"
#include "frontend/onnx/trees.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- attributes ---- */

/* Numbers from floats, or from a tensor when the type is double. */
static bool floats_or_tensor(OnnxNode *node, const char *name, Numbers *numbers) {
  const char *tensor = arena_printf(node->module->arena, "%s_as_tensor", name);
  if (attr_find(node, tensor)) return attr_numbers(node, tensor, numbers);
  int count;
  const float *floats = attr_floats(node, name, &count);
  *numbers = (Numbers){.count = count, .dtype = DTYPE_F32};
  numbers->values = NEW_ARRAY(node->module->arena, double, count);
  for (int i = 0; i < count; i++) numbers->values[i] = (double)floats[i];
  return true;
}

static const int64_t *ints_of_count(OnnxNode *node, const char *name, int wanted) {
  int count;
  const int64_t *ints = attr_ints(node, name, &count);
  if (count == wanted && ints) return ints;
  onnx_fail(node, "%s has %d elements, %d are wanted", name, count, wanted);
  return NULL;
}

/* NULL, without an error, when there are none. */
static const int64_t *optional_ints(OnnxNode *node, const char *name, int wanted, bool *ok) {
  int count;
  const int64_t *ints = attr_ints(node, name, &count);
  if (!ints || count == 0) return NULL;
  if (count != wanted) *ok = onnx_fail(node, "%s has %d elements, %d are wanted", name, count, wanted);
  return ints;
}

/* ---- versions 1 and 3 ---- */

/* A node under its ids. */
typedef struct Key {
  int64_t tree, node;
  int index;
} Key;

static int compare_keys(const void *a, const void *b) {
  const Key *x = a, *y = b;
  if (x->tree != y->tree) return x->tree < y->tree ? -1 : 1;
  return x->node == y->node ? 0 : x->node < y->node ? -1 : 1;
}

typedef struct Ids {
  Key *keys; /* sorted */
  int count;
} Ids;

static int find_id(OnnxNode *node, const Ids *ids, int64_t tree, int64_t id) {
  Key key = {tree, id, 0};
  const Key *found = bsearch(&key, ids->keys, (size_t)ids->count, sizeof key, compare_keys);
  if (found) return found->index;
  onnx_fail(node, "tree %lld has no node %lld", (long long)tree, (long long)id);
  return -1;
}

static bool sort_ids(OnnxNode *node, Ids *ids, const int64_t *trees, const int64_t *nodes, int count) {
  ids->keys = NEW_ARRAY(node->module->arena, Key, count);
  ids->count = count;
  for (int i = 0; i < count; i++) ids->keys[i] = (Key){trees[i], nodes[i], i};
  qsort(ids->keys, (size_t)count, sizeof *ids->keys, compare_keys);
  for (int i = 1; i < count; i++)
    if (compare_keys(&ids->keys[i - 1], &ids->keys[i]) == 0)
      return onnx_fail(node, "tree %lld has two nodes %lld", (long long)ids->keys[i].tree,
                       (long long)ids->keys[i].node);
  return true;
}

static bool mode_of_name(OnnxNode *node, const Onnx__AttributeProto *modes, int i, BranchMode *mode) {
  static const char *const names[] = {"BRANCH_LEQ", "BRANCH_LT",  "BRANCH_GTE",    "BRANCH_GT",
                                      "BRANCH_EQ",  "BRANCH_NEQ", "BRANCH_MEMBER", "LEAF"};
  const ProtobufCBinaryData *name = &modes->strings[i];
  for (int m = 0; m < COUNT_OF(names); m++) {
    *mode = (BranchMode)m;
    if (m != BRANCH_MEMBER && strlen(names[m]) == name->len && memcmp(names[m], name->data, name->len) == 0)
      return true;
  }
  return onnx_fail(node, "mode '%.*s' of node %d is not known", (int)(name->len < 40 ? name->len : 40),
                   (const char *)name->data, i);
}

static bool read_nodes_by_id(OnnxNode *node, Forest *forest, const Ids *ids, const int64_t *trees) {
  int count = ids->count;
  bool ok = true;
  Numbers values;
  TRY(floats_or_tensor(node, "nodes_values", &values));
  const Onnx__AttributeProto *modes = attr_find(node, "nodes_modes");
  const int64_t *features = ints_of_count(node, "nodes_featureids", count);
  const int64_t *yes = ints_of_count(node, "nodes_truenodeids", count);
  const int64_t *no = ints_of_count(node, "nodes_falsenodeids", count);
  const int64_t *missing = optional_ints(node, "nodes_missing_value_tracks_true", count, &ok);
  if (!features || !yes || !no || !ok) return false;
  if (!modes || (int)modes->n_strings != count || values.count != count)
    return onnx_fail(node, "%d nodes, but %d modes and %d values", count, modes ? (int)modes->n_strings : 0,
                     values.count);
  for (int i = 0; i < count; i++) {
    ForestNode *n = &forest->nodes[i];
    *n = (ForestNode){
        .feature = features[i], .value = values.values[i], .missing_is_true = missing && missing[i]};
    TRY(mode_of_name(node, modes, i, &n->mode));
    if (n->mode == BRANCH_LEAF) continue;
    n->yes = find_id(node, ids, trees[i], yes[i]);
    n->no = find_id(node, ids, trees[i], no[i]);
    if (n->yes < 0 || n->no < 0) return false;
  }
  return true;
}

/* A vote, under the leaf it belongs to. */
typedef struct Ballot {
  int leaf, order;
  Vote vote;
} Ballot;

static int compare_ballots(const void *a, const void *b) {
  const Ballot *x = a, *y = b;
  return x->leaf != y->leaf ? (x->leaf < y->leaf ? -1 : 1) : x->order < y->order ? -1 : x->order > y->order;
}

/* `prefix` is "class" or "target". */
static bool read_votes(OnnxNode *node, Forest *forest, const Ids *ids, const char *prefix) {
  Arena *arena = node->module->arena;
  Numbers weights;
  TRY(floats_or_tensor(node, arena_printf(arena, "%s_weights", prefix), &weights));
  const int64_t *trees = ints_of_count(node, arena_printf(arena, "%s_treeids", prefix), weights.count);
  const int64_t *nodes = ints_of_count(node, arena_printf(arena, "%s_nodeids", prefix), weights.count);
  const int64_t *targets = ints_of_count(node, arena_printf(arena, "%s_ids", prefix), weights.count);
  if (!trees || !nodes || !targets) return false;
  Ballot *ballots = NEW_ARRAY(arena, Ballot, weights.count);
  for (int i = 0; i < weights.count; i++) {
    if (targets[i] < 0 || targets[i] >= forest->targets)
      return onnx_fail(node, "%s_ids has %lld, but there are %lld", prefix, (long long)targets[i],
                       (long long)forest->targets);
    int leaf = find_id(node, ids, trees[i], nodes[i]);
    if (leaf < 0) return false;
    ballots[i] = (Ballot){leaf, i, {(int)targets[i], weights.values[i]}};
  }
  qsort(ballots, (size_t)weights.count, sizeof *ballots, compare_ballots);
  forest->votes = NEW_ARRAY(arena, Vote, weights.count);
  forest->vote_count = weights.count;
  for (int i = 0; i < weights.count; i++) {
    ForestNode *leaf = &forest->nodes[ballots[i].leaf];
    if (leaf->vote_count++ == 0) leaf->first_vote = i;
    forest->votes[i] = ballots[i].vote;
  }
  return true;
}

/* The first node of every tree is its root. */
static void find_roots(OnnxNode *node, Forest *forest, const Ids *ids) {
  bool *is_root = NEW_ARRAY(node->module->arena, bool, forest->node_count);
  forest->roots = NEW_ARRAY(node->module->arena, int, forest->node_count);
  for (int i = 0; i < ids->count;) {
    int first = ids->keys[i].index, from = i;
    for (; i < ids->count && ids->keys[i].tree == ids->keys[from].tree; i++)
      if (ids->keys[i].index < first) first = ids->keys[i].index;
    is_root[first] = true;
  }
  for (int i = 0; i < forest->node_count; i++)
    if (is_root[i]) forest->roots[forest->tree_count++] = i;
}

static bool read_by_id(OnnxNode *node, Forest *forest, const char *prefix) {
  int count;
  Ids ids;
  const int64_t *trees = attr_ints(node, "nodes_treeids", &count);
  if (count == 0) return onnx_fail(node, "no nodes");
  const int64_t *nodes = ints_of_count(node, "nodes_nodeids", count);
  TRY(nodes && sort_ids(node, &ids, trees, nodes, count));
  forest->nodes = NEW_ARRAY(node->module->arena, ForestNode, count);
  forest->node_count = count;
  TRY(read_nodes_by_id(node, forest, &ids, trees) && read_votes(node, forest, &ids, prefix));
  find_roots(node, forest, &ids);
  return true;
}

/* ---- version 5 ---- */

static bool read_leaves(OnnxNode *node, Forest *forest, int inner) {
  Numbers weights;
  TRY(attr_numbers(node, "leaf_weights", &weights));
  const int64_t *targets = ints_of_count(node, "leaf_targetids", weights.count);
  TRY(targets);
  forest->votes = NEW_ARRAY(node->module->arena, Vote, weights.count);
  forest->vote_count = weights.count;
  for (int i = 0; i < weights.count; i++) {
    if (targets[i] < 0 || targets[i] >= forest->targets)
      return onnx_fail(node, "leaf %d is for target %lld of %lld", i, (long long)targets[i],
                       (long long)forest->targets);
    forest->votes[i] = (Vote){(int)targets[i], weights.values[i]};
    forest->nodes[inner + i] = (ForestNode){.mode = BRANCH_LEAF, .first_vote = i, .vote_count = 1};
  }
  return true;
}

/* A child of node i among inner nodes or leaves, which have the numbers after them. */
static bool child_at(OnnxNode *node, const Forest *forest, int inner, int i, int64_t id, bool is_leaf,
                     int *child) {
  int64_t count = is_leaf ? forest->node_count - inner : inner;
  if (id < 0 || id >= count)
    return onnx_fail(node, "node %d leads to %s %lld of %lld", i, is_leaf ? "leaf" : "node", (long long)id,
                     (long long)count);
  *child = (int)id + (is_leaf ? inner : 0);
  return true;
}

static bool read_inner(OnnxNode *node, Forest *forest, int inner, const Numbers *splits) {
  Numbers modes;
  bool ok = attr_numbers(node, "nodes_modes", &modes);
  const int64_t *features = ints_of_count(node, "nodes_featureids", inner);
  const int64_t *yes = ints_of_count(node, "nodes_truenodeids", inner);
  const int64_t *no = ints_of_count(node, "nodes_falsenodeids", inner);
  const int64_t *yes_leaf = ints_of_count(node, "nodes_trueleafs", inner);
  const int64_t *no_leaf = ints_of_count(node, "nodes_falseleafs", inner);
  const int64_t *missing = optional_ints(node, "nodes_missing_value_tracks_true", inner, &ok);
  if (!features || !yes || !no || !yes_leaf || !no_leaf || !ok) return false;
  if (modes.count != inner)
    return onnx_fail(node, "nodes_modes has %d elements, nodes_splits %d", modes.count, inner);
  for (int i = 0; i < inner; i++) {
    ForestNode *n = &forest->nodes[i];
    if (!(modes.values[i] >= 0 && modes.values[i] <= BRANCH_MEMBER))
      return onnx_fail(node, "mode %g of node %d is not known", modes.values[i], i);
    *n = (ForestNode){.mode = (BranchMode)modes.values[i],
                      .feature = features[i],
                      .value = splits->values[i],
                      .missing_is_true = missing && missing[i]};
    TRY(child_at(node, forest, inner, i, yes[i], yes_leaf[i], &n->yes));
    TRY(child_at(node, forest, inner, i, no[i], no_leaf[i], &n->no));
  }
  return true;
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

/* The sets of the BRANCH_MEMBER nodes, in their order; each ends with NaN. */
static bool read_members(OnnxNode *node, Forest *forest, int inner) {
  Numbers members = {0};
  if (attr_find(node, "membership_values")) TRY(attr_numbers(node, "membership_values", &members));
  forest->members = members.values;
  int at = 0;
  for (int i = 0; i < inner; i++) {
    ForestNode *n = &forest->nodes[i];
    if (n->mode != BRANCH_MEMBER) continue;
    if (at >= members.count) return onnx_fail(node, "membership_values has no set for node %d", i);
    n->members = at;
    while (at < members.count && !isnan(members.values[at])) at++;
    n->member_count = at++ - n->members;
    qsort(members.values + n->members, (size_t)n->member_count, sizeof(double), compare_doubles);
  }
  return true;
}

static bool read_by_position(OnnxNode *node, Forest *forest) {
  int leaves, trees;
  Numbers splits;
  TRY(attr_numbers(node, "nodes_splits", &splits));
  attr_ints(node, "leaf_targetids", &leaves);
  const int64_t *roots = attr_ints(node, "tree_roots", &trees);
  forest->node_count = splits.count + leaves;
  forest->nodes = NEW_ARRAY(node->module->arena, ForestNode, forest->node_count);
  TRY(read_leaves(node, forest, splits.count) && read_inner(node, forest, splits.count, &splits));
  TRY(read_members(node, forest, splits.count));
  forest->roots = NEW_ARRAY(node->module->arena, int, trees);
  forest->tree_count = trees;
  for (int i = 0; i < trees; i++) {
    if (roots[i] < 0 || roots[i] >= splits.count)
      return onnx_fail(node, "tree %d begins at node %lld of %d", i, (long long)roots[i], splits.count);
    forest->roots[i] = (int)roots[i];
  }
  return true;
}

/* ---- x, and the sum ---- */

/* Integers are compared as f64, which holds all of them that occur, f16 as f32. */
static Value *rows_of(OnnxNode *node, Value *x) {
  Dtype dtype = x->type->dtype;
  bool wide = dtype == DTYPE_F64 || (dtype_is_int(dtype) && dtype_bits(dtype) > 16);
  return emit_cast(node, ml_rows(node, x), wide ? DTYPE_F64 : DTYPE_F32);
}

/* Averages are sums over the number of trees; an output without a vote is 0. */
static Value *aggregated(OnnxNode *node, Value *x, Forest *forest, const char *how) {
  static const char *const names[][2] = {{"SUM", "sum"}, {"AVERAGE", "sum"}, {"MIN", "min"}, {"MAX", "max"}};
  for (int i = 0; i < COUNT_OF(names); i++)
    if (strcmp(names[i][0], how) == 0) forest->aggregate = names[i][1];
  if (!forest->aggregate) {
    onnx_fail(node, "aggregate_function '%s' is not known", how);
    return NULL;
  }
  Value *sum = emit_forest(node, x, forest);
  if (strcmp(how, "AVERAGE") == 0)
    return emit_binary(node, &op_div, sum, emit_scalar(node, sum, forest->tree_count));
  if (forest->aggregate[0] == 's' || !sum) return sum;
  double nothing = forest->aggregate[1] == 'i' ? INFINITY : -INFINITY;
  Value *none = emit_binary(node, &op_equal, sum, emit_scalar(node, sum, nothing));
  return none ? emit(node, &op_where, (Value *[]){none, emit_scalar(node, sum, 0), sum}, 3) : NULL;
}

/* + base, one number for each output; one number alone is for the first. */
static Value *with_base(OnnxNode *node, Value *sum, const Numbers *base) {
  if (!sum || base->count == 0) return sum;
  int64_t outputs = sum->type->dims[1]->value;
  if (base->count != outputs && base->count != 1) {
    onnx_fail(node, "base_values has %d elements for %lld outputs", base->count, (long long)outputs);
    return NULL;
  }
  Data *data = data_new(node->module, sum->type->dtype, outputs);
  for (int i = 0; i < base->count; i++) dtype_set(data->dtype, data_bytes(data), i, base->values[i]);
  const Type *type = type_static(node->module, data->dtype, 1, &outputs);
  return emit_binary(node, &op_add, sum, build_const(&node->builder, type, data, NULL));
}

/* ---- the operators ---- */

static bool import_tree_regressor(OnnxNode *node) {
  Value *x = rows_of(node, input(node, 0));
  TRY(x);
  Forest forest = {.targets = attr_int(node, "n_targets", 1), .dtype = x->type->dtype};
  if (input(node, 0)->type->dtype != DTYPE_F64) forest.dtype = DTYPE_F32;
  Numbers base;
  if (forest.targets < 1 || forest.targets > UINT16_MAX)
    return onnx_fail(node, "n_targets is %lld", (long long)forest.targets);
  TRY(floats_or_tensor(node, "base_values", &base) && read_by_id(node, &forest, "target"));
  Value *sum = aggregated(node, x, &forest, attr_string(node, "aggregate_function", "SUM"));
  sum = emit_post_transform(node, with_base(node, sum, &base), attr_string(node, "post_transform", "NONE"));
  return set_output(node, emit_cast(node, sum, DTYPE_F32));
}

static bool import_tree_classifier(OnnxNode *node) {
  Value *x = rows_of(node, input(node, 0));
  Labels labels;
  Numbers base;
  TRY(x && read_labels(node, "classlabels_int64s", "classlabels_strings", &labels));
  Forest forest = {.targets = labels.count, .dtype = x->type->dtype};
  if (input(node, 0)->type->dtype != DTYPE_F64) forest.dtype = DTYPE_F32;
  TRY(floats_or_tensor(node, "base_values", &base) && read_by_id(node, &forest, "class"));
  Value *scores = with_base(node, aggregated(node, x, &forest, "SUM"), &base);
  const char *post = attr_string(node, "post_transform", "NONE");
  bool voted[2] = {false, false}, all_positive = true;
  for (int i = 0; i < forest.vote_count; i++) {
    if (forest.votes[i].target < 2) voted[forest.votes[i].target] = true;
    all_positive &= forest.votes[i].weight >= 0;
  }
  if (labels.count > 2 || (labels.count == 2 && voted[0] && voted[1]))
    return set_class_outputs(node, &labels, emit_best_class(node, &labels, scores),
                             emit_post_transform(node, scores, post));
  double limit = labels.count == 2 && all_positive ? 0.5 : 0;
  Value *score = ml_column(node, scores, labels.count == 2 && voted[1] ? 1 : 0);
  Value *label = emit_binary_class(node, &labels, score, limit);
  if (labels.count == 2 && !voted[1] && base.count < 2)
    scores = emit_two_classes(node, score, post, all_positive);
  else if (labels.count == 2)
    scores = emit_post_transform(node, scores, post);
  return set_class_outputs(node, &labels, label, scores);
}

static bool import_tree_ensemble(OnnxNode *node) {
  static const char *const aggregates[] = {"AVERAGE", "SUM", "MIN", "MAX"};
  static const char *const posts[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};
  Value *x = rows_of(node, input(node, 0));
  TRY(x);
  Forest forest = {.targets = attr_int(node, "n_targets", 1), .dtype = x->type->dtype};
  int64_t how = attr_int(node, "aggregate_function", 1), post = attr_int(node, "post_transform", 0);
  if (forest.targets < 1 || forest.targets > UINT16_MAX)
    return onnx_fail(node, "n_targets is %lld", (long long)forest.targets);
  if (how < 0 || how >= COUNT_OF(aggregates) || post < 0 || post >= COUNT_OF(posts))
    return onnx_fail(node, "aggregate_function %lld or post_transform %lld is not known", (long long)how,
                     (long long)post);
  TRY(read_by_position(node, &forest));
  Value *sum = emit_post_transform(node, aggregated(node, x, &forest, aggregates[how]), posts[post]);
  return set_output(node, emit_cast(node, sum, input(node, 0)->type->dtype));
}

static const OnnxRow rows[] = {
    {"ai.onnx.ml.TreeEnsemble", 5, 1, 1, import_tree_ensemble, NULL},
    {"ai.onnx.ml.TreeEnsembleClassifier", 1, 1, 1, import_tree_classifier, NULL},
    {"ai.onnx.ml.TreeEnsembleRegressor", 1, 1, 1, import_tree_regressor, NULL},
};

const OnnxRows onnx_ml_trees = {rows, COUNT_OF(rows)};
