/*
 * observe.h -- running a graph on samples and looking at values on the way; private to passes/.
 */
#ifndef TENON_PASSES_OBSERVE_H
#define TENON_PASSES_OBSERVE_H

#include "passes/passes.h"

/* A compiled copy of a graph, in a module of its own. */
typedef struct Observer {
  Module *module; /* of the copied graph, for Diags */
  const PassOptions *options;
  Graph *copy;
  Runnable *runnable;           /* NULL: interpreted */
  int output_count, seen_count; /* the graph's outputs, then the values observed */
} Observer;

/* Of an empty graph, in place of a copy, that is to be filled. Close it in any case. */
void observer_begin(Observer *observer, const Graph *graph, const PassOptions *options);
/* Copies the graph. Close it in any case. */
void observer_copy(Observer *observer, const Graph *graph, const PassOptions *options);
/* Makes `values` of the copy outputs, too, optimises it by the default pipeline without quantization, and
 * compiles it. False with a Diag. */
bool observer_build(Observer *observer, Value *const *values, int count);
/* The same without compiling: there is nothing to run, but times are predicted. */
bool observer_predict(Observer *observer, const KernelTime **times, int *count);
/* As observer_build, with `values` in place of the outputs: what these do not need is not computed. */
bool observer_build_values(Observer *observer, Value *const *values, int count);
/* observer_copy and observer_build, with values of the graph itself. */
bool observer_open(Observer *observer, const Graph *graph, const PassOptions *options, Value *const *values,
                   int count);
/* seen: output_count + seen_count tensors, for the caller to free (seen_free). */
bool observer_run(Observer *observer, const Tensor *inputs, Tensor *seen);
void seen_free(Tensor *seen, int count);
/* Further runs use all processors: times are not those of one any more. */
void observer_spread(Observer *observer);
int observer_times(Observer *observer, const KernelTime **times);
void observer_close(Observer *observer);

/* The graph, for `size` samples at once (batch.c): false, and the graph of no more use, when it cannot be. */
bool graph_batch(Graph *graph, int size);

/* What went wrong with a copy went wrong with what it was made of; returns ok. */
bool diags_pass_on(const Module *copy, Module *module, bool ok);

/* Of a copy that graph_clone made and nothing has changed: what `values` of its source are there. */
void values_in_copy(const Graph *source, Value *const *values, int count, const Graph *copy, Value **found);

#endif
