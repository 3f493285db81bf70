/*
 * prune.h -- what the files of pruning share; private to passes/.
 *
 * A Pruner is a Plan (quantize.h) that takes weights away. Of each layer it holds all weights as they become,
 * with those that go, and, when channels go, which units of the graph (ties.h) these are.
 */
#ifndef TENON_PASSES_PRUNE_H
#define TENON_PASSES_PRUNE_H

#include "passes/quantize.h"
#include "passes/ties.h"

/* A layer of the plan, of the same number. */
typedef struct Thinning {
  float *weights;                  /* [rows, k], in the geometry of the layer; NULL: as they are */
  double *bias;                    /* [rows] */
  bool has_bias;                   /* it may be any */
  double share;                    /* of the weights that become 0 */
  double *x_variance, *y_variance; /* of channels, over the samples */
  double macs;                     /* in a run */
} Thinning;

typedef struct Pruner {
  Plan plan; /* first: `apply` gets its address */
  Pruning *pruning;
  Thinning *layers;
  Moments *met;     /* [activations]: of their channels at one place; when channels go */
  const Ties *ties; /* NULL: no channels go */
  bool *removed;    /* [units] */
} Pruner;

/* Whether an element of the weights' axis goes with a unit. */
bool pruner_removes(const Pruner *pruner, const Value *value, int axis, int64_t index);
/* The rows and columns of a layer that stay, and their numbers. */
typedef struct Kept {
  int row_count, column_count;
  int *rows, *columns;
} Kept;
Kept pruner_kept(Arena *arena, const Pruner *pruner, int layer);
/* Layers of an unchanged copy of the plan's graph. */
void pruner_find(const Pruner *pruner, const Graph *copy, Node **layers);
/* Rewrites the copy. */
bool pruner_apply(const Pruner *pruner, Graph *copy, Node **layers);

/* ---- channels.c ---- */

/* Chooses the units that go, so that `share` of the cost is saved. False with a Diag when it cannot be. */
bool channels_choose(Pruner *pruner, double share);

/* ---- thin.c ---- */

/* The variances and macs of all layers. */
bool pruner_look(Pruner *pruner);
/* The share of each layer, so that `share` of all weights goes. */
void weights_choose(Pruner *pruner, double share);
/* The weights of all layers, without (`refits` false) or with those left making up for those that go. */
bool pruner_thin(Pruner *pruner, bool refits);

/* Whether a sample is kept apart from all fits, to judge by. */
bool pruner_judges(const Pruner *pruner, int sample);
/* A layer that has stayed as it is gets weights and a bias that may change. */
void pruner_hold(Pruner *pruner, int layer);

/* ---- distill.c ---- */

/* Gradient steps on all weights and biases, over all samples Pruning.epochs times. */
bool pruner_distill(Pruner *pruner);

#endif
