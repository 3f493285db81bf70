/*
 * trees.h -- decision trees on their way from ONNX's attributes to the tables of tree_ensemble.
 *
 *   ml_trees.c    reads the attributes of the three operators into a Forest
 *   forest.c      a Forest to a tree_ensemble
 */
#ifndef TENON_FRONTEND_ONNX_TREES_H
#define TENON_FRONTEND_ONNX_TREES_H

#include "frontend/onnx/onnx.h"

typedef enum BranchMode {
  BRANCH_LEQ,
  BRANCH_LT,
  BRANCH_GTE,
  BRANCH_GT,
  BRANCH_EQ,
  BRANCH_NEQ,
  BRANCH_MEMBER,
  BRANCH_LEAF
} BranchMode;

/* A node as the model has it. */
typedef struct ForestNode {
  BranchMode mode;
  int64_t feature;
  double value;
  bool missing_is_true; /* NaN answers yes */
  int yes, no;          /* numbers of nodes */
  int members;          /* BRANCH_MEMBER: its values begin there, sorted, in Forest.members */
  int member_count;
  int first_vote, vote_count; /* BRANCH_LEAF: in Forest.votes */
} ForestNode;

typedef struct Vote {
  int target;
  double weight;
} Vote;

typedef struct Forest {
  ForestNode *nodes;
  int node_count;
  int *roots;
  int tree_count;
  Vote *votes;
  int vote_count;
  double *members;
  int64_t targets;       /* columns of the result */
  const char *aggregate; /* sum, min, max */
  Dtype dtype;           /* of leaves and sums */
} Forest;

/* The aggregated votes, [rows, targets]; x is f32 or f64. NULL with an error. */
Value *emit_forest(OnnxNode *node, Value *x, const Forest *forest);

#endif
