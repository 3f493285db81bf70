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
  float *weights;                           /* [rows, k], in the geometry of the layer; NULL: as they are */
  double *bias;                             /* [rows] */
  bool has_bias;                            /* it may be any */
  double share;                             /* of the weights that become 0 */
  double *x_mean, *x_variance, *y_variance; /* of channels, over the samples; no x_mean without a bias */
  double macs;                              /* in a run */
  float *roots; /* [groups][columns][columns], of the weights that are left: moments_root; NULL: not known */
} Thinning;

typedef struct Pruner {
  Plan plan; /* first: `apply` gets its address */
  Pruning *pruning;
  Thinning *layers;
  Moments *met;     /* [activations]: of their channels at one place; when channels go */
  const Ties *ties; /* NULL: no channels go */
  bool *removed;    /* [units] */
  Arena *roots;     /* what those of the layers lie in; NULL: nobody asks for them */
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
/* The node of a layer gets other weights, and, unless it is NULL, a bias; it becomes *node. That of a product
 * inside of a node is added to it, others replace the one that is there. */
bool layer_rebuild(Builder *builder, Node **node, Value *w, Value *bias);
/* It gets its weights as they are by then. */
bool pruner_put(const Pruner *pruner, int layer, const Kept *kept, Node **node);
/* Rewrites the copy. */
bool pruner_apply(const Pruner *pruner, Graph *copy, Node **layers);

/* ---- channels.c ---- */

/* Chooses the units that go, so that `share` of the cost is saved. False with a Diag when it cannot be. */
bool channels_choose(Pruner *pruner, double share);

/* ---- thin.c ---- */

/* Places that are looked at for all samples together, and of wide layers for each of their columns. */
enum { FEWEST_PLACES = 8192, PLACES_OF_COLUMN = 4 };
/* One of `count` places of `all`, evenly spread, in each sample others. */
int64_t pruner_place(int64_t i, int64_t count, int64_t all, int sample);

/* The means, variances and macs of all layers. */
bool pruner_look(Pruner *pruner);
/* The share of each layer, so that `share` of all weights goes. */
void weights_choose(Pruner *pruner, double share);
/* A layer gets weights of its own, with zeros. Not before the first that loses something: *loses. */
bool pruner_start(Pruner *pruner, int layer, bool *loses);
/* Zeros in a group of its rows, [group_rows, k]. Without xx by variances alone, and nothing makes up for
 * them. */
bool pruner_zero(const Pruner *pruner, int layer, int64_t group, const double *xx, float *weights);
/* A layer that has stayed as it is gets weights and a bias that may change. */
void pruner_hold(Pruner *pruner, int layer);

/* ---- fit.c ---- */

/* The weights of all layers, without (`refits` false) or with those left making up for those that go. */
bool pruner_thin(Pruner *pruner, bool refits);
/* Whether a sample is kept apart from all fits, to judge by. */
bool pruner_judges(const Pruner *pruner, int sample);

/* ---- frontier.c ---- */

/* One of the two networks, and how far it has been gone through. */
typedef struct Side {
  Graph *graph;
  Value **values; /* what the rest of it reads of that; none: it is at the inputs */
  int count;
  Tensor *kept; /* [samples][count] */
  Value **next; /* where it goes on to; NULL: it stays */
  int next_count;
  Tensor *next_kept;
} Side;

typedef struct Frontier {
  Pruner *pruner;
  Arena *arena;
  Side original, thinned;
  Node **twins, **layers;     /* what nodes and layers of the plan's graph are in the thinned one */
  int *samples, sample_count; /* their numbers */
  bool goes_on;               /* else the whole way to what is looked at is gone again */
} Frontier;

/* At the inputs, with at most so many samples, less those to judge by. Close it in any case. */
bool frontier_open(Frontier *frontier, Pruner *pruner, int most);
void frontier_close(Frontier *frontier);
/* The thinned network is to go on to before layer `first`, the original, whose weights need not be found, to
 * before layer `end`. */
void frontier_aim(Frontier *frontier, int first, int end);
/* Of a sample what a layer is fitted to. A product inside of a recurrence meets what is left of the
 * original's states: its own are made by the weights that are looked for. */
typedef struct Sight {
  const Tensor *met, *given; /* in the thinned network, in the original */
  const Tensor *counts;      /* which places count; NULL: all */
} Sight;
/* Of some layers. */
typedef void FrontierVisit(void *context, int number, const Sight *sights);
/* Goes on. So many of the samples, evenly spread, are shown with what the layers of these numbers do. */
bool frontier_run(Frontier *frontier, const int *layers, int layer_count, int count, FrontierVisit *visit,
                  void *context);
/* These layers have found their weights. */
bool frontier_thin(Frontier *frontier, int first, int end);

/* ---- distill.c ---- */

/* Gradient steps on all weights and biases, over all samples Pruning.epochs times. */
bool pruner_distill(Pruner *pruner);

#endif
