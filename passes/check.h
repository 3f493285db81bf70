/*
 * check.h -- what check.c, bisect.c and reduce.c share: copies of graphs, run on the same input, compared.
 */
#ifndef TENON_PASSES_CHECK_H
#define TENON_PASSES_CHECK_H

#include "passes/passes.h"

/* A copy in a module of its own, which dies with it; the module of the graph must live as long. */
Graph *trial_copy(const Graph *graph);
void trial_drop(Graph *copy); /* NULL is fine */

/* Whether running it in the interpreter would take long. */
bool trial_is_large(const Graph *graph);
/* Runs a copy, which it drops: compiled, or in the interpreter. Outputs by tensors_free. NULL when it cannot
 * be run; the Diags are passed on to `module`. */
Tensor *trial_run(Graph *copy, const PassOptions *options, const Tensor *inputs, bool compiled,
                  Module *module);
void trial_free(Tensor *tensors, int count);
/* What the first tensors that differ, of those that `graph` gives, are called and how they differ, in the
 * arena of its module; NULL: all are within the tolerance. */
const char *trial_difference(const Graph *graph, const Trial *trial, const Tensor *got, const Tensor *want);

/* What running the passes on a copy of the graph leads to. */
typedef enum Verdict {
  VERDICT_SAME,
  VERDICT_DIFFERENT,
  VERDICT_REFUSED /* a pass, or the run, reported an error */
} Verdict;

/* A hunt for what goes wrong. */
typedef struct Hunt {
  const PipelineOptions *options;
  const Trial *trial;
  bool compiled;    /* what the passes have made, or else interpreted */
  Tensor *expected; /* what the graph gives as it is */
} Hunt;

/* Rewrites up to `limit`, and of `only` (count of them; NULL: all). text: how it differs; made: the rewrites
 * that were made, both in the arena of graph's module, NULL: not wanted. */
Verdict hunt_try(const Hunt *hunt, const Graph *graph, int limit, const RewriteSite *only, int count,
                 const char **text, Rewrites *made);
/* Finds out how it goes wrong with all rewrites, interpreted or compiled. False when it does not. */
bool hunt_open(Hunt *hunt, const Graph *graph, const PipelineOptions *options, const Trial *trial,
               Verdict *verdict, const char **text, Rewrites *made);
void hunt_close(Hunt *hunt, const Graph *graph);

#endif
