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

/* Places that are looked at for all samples together, and of wide layers for each of their columns. */
enum { FEWEST_PLACES = 8192, PLACES_OF_COLUMN = 4 };
/* One of `count` places of `all`, evenly spread, in each sample others. */
int64_t pruner_place(int64_t i, int64_t count, int64_t all, int sample);

/* The variances and macs of all layers. */
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

/* How far both networks have been gone through. */
typedef struct Frontier {
  Pruner *pruner;
  Arena *arena;
  Value **values; /* of the plan's graph, what the rest of it reads; none: it is at the inputs */
  int count;
  int *samples, sample_count; /* their numbers */
  Tensor *original, *thinned; /* [samples][count] */
  Tensor *inputs;             /* of a run */
  bool is_at_end;             /* it went as far as it was to go */
} Frontier;

/* At the inputs, with at most so many samples, less those to judge by. Close it in any case. */
Frontier frontier_open(Pruner *pruner, int most);
void frontier_close(Frontier *frontier);
/* To before a node, with the weights that there are by now; or it stays. False with a Diag. */
bool frontier_advance(Frontier *frontier, const Node *to);
/* Opens a copy, the original or thinned, that gives values of the plan's graph behind the frontier. */
bool frontier_observe(const Frontier *frontier, bool thinned, Value *const *values, int count,
                      Observer *observer);
/* What a value of the frontier is; NULL: it is none. */
const Tensor *frontier_kept(const Frontier *frontier, bool thinned, int sample, const Value *value);
bool frontier_run(const Frontier *frontier, bool thinned, int sample, Observer *observer, Tensor *seen);

/* ---- distill.c ---- */

/* Gradient steps on all weights and biases, over all samples Pruning.epochs times. */
bool pruner_distill(Pruner *pruner);

#endif
