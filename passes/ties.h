/*
 * ties.h -- which indices of which axes of a graph can only be removed together, and removing them; private
 * to passes/.
 *
 * An atom is an index of an axis of a value. Where an op links an axis of an operand to one of its result, or
 * contracts axes of several operands, by AxisRole and nothing else, atoms are tied; those that are tied are
 * one unit. Removing a unit gives exactly the network in which nothing of what is computed at its atoms
 * reaches anything else: of a convolution's channel its weights and bias, the weights of all that read it,
 * and whatever lies between, through sums, concats, slices, flattening, heads.
 *
 * Everything else stays: the axes of inputs, outputs and states, symbolic sizes, windows, rows of which all
 * is needed (softmax, means), and whatever an op says nothing of.
 *
 * Where an axis is several others in one (flattening, heads, groups of channels), its indices go along one of
 * these, and the others stay: whole heads, or the same channels of all heads. The outermost that has at least
 * four units is chosen, of axes that may all go; else the one that has most.
 */
#ifndef TENON_PASSES_TIES_H
#define TENON_PASSES_TIES_H

#include "passes/passes.h"

/* Why indices stay: "input 'x' has it", "softmax 'n' needs all of it", "it has no two indices". */
typedef struct TieCause {
  const char *kind; /* of the subject: an op, or what a value is; NULL: none */
  const char *name; /* of the subject, NULL: it has none */
  const char *text;
} TieCause;

/* The indices of axes that are tied index for index. */
typedef struct IndexSet {
  int cause;        /* why none of them can be removed; 0: some can */
  int size;         /* else their number, */
  const int *units; /* [size], and the unit of each; below 0: minus the cause why it cannot */
} IndexSet;

/* The axes of a graph in order: of each input, of each result of each node, then the node's blocks if it has
 * such (ROLE_BLOCKS). Unchanged copies have the same. */
typedef struct AxisNumbers {
  int value_count, axis_count;
  struct NumberedValue {
    const Value *value;
    int first; /* of its axes */
  } *values;   /* by address */
} AxisNumbers;

typedef struct Ties {
  const Graph *graph;
  int unit_count;
  AxisNumbers numbers;
  const int *set_of; /* of each axis */
  const IndexSet *sets;
  int set_count;
  const TieCause *causes;
} Ties;

/* In the arena of the graph's module. Units are numbered from 0 in the order of the graph. */
const Ties *ties_find(const Graph *graph);
/* The unit of an index of an axis of a value (a constant's or any other); -1: it cannot be removed. */
int ties_unit(const Ties *ties, const Value *value, int axis, int64_t index);
/* Why it cannot: the first cause that was met ("input 'x' has it", "softmax 'n' needs all of it"); NULL if it
 * can. */
const char *ties_reason(const Ties *ties, const Value *value, int axis, int64_t index);
/* Takes the units with removed[unit] out of `graph`, which is that of the ties or an unchanged copy of it:
 * cuts constants, adapts attributes by their roles, infers anew. False with a Diag when an axis would become
 * empty; nothing has changed then. */
bool ties_remove(const Ties *ties, Graph *graph, const bool *removed);

/* Both halves of this (ties.c, shrink.c): */
AxisNumbers axes_number(const Graph *graph);
int axes_first(const AxisNumbers *numbers, const Value *value);    /* the number of its first axis */
int node_block_axis(const AxisNumbers *numbers, const Node *node); /* -1: it has no ROLE_BLOCKS */

#endif
