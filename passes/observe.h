/*
 * observe.h -- running a graph on samples and looking at values on the way; private to passes/.
 */
#ifndef TENON_PASSES_OBSERVE_H
#define TENON_PASSES_OBSERVE_H

#include "passes/passes.h"

/* A compiled copy of a graph. */
typedef struct Observer {
  Module *module;
  const Executor *executor; /* NULL: interpreted */
  Graph *copy;
  Runnable *runnable;
  int input_count, output_count, seen_count; /* the graph's outputs, then the values observed */
} Observer;

/* Copies the graph, makes `values` of it outputs, too, optimises the copy by the default pipeline without
 * quantization, and compiles it. False with a Diag. Close it in any case. */
bool observer_open(Observer *observer, Graph *graph, const PassOptions *options, Value *const *values,
                   int count);
/* seen: output_count + seen_count tensors, for the caller to free. */
bool observer_run(Observer *observer, const Tensor *inputs, Tensor *seen);
int observer_times(Observer *observer, const KernelTime **times);
void observer_close(Observer *observer);

/* Of a copy that graph_clone made and nothing has changed: what `values` of its source are there. */
void values_in_copy(const Graph *source, Value *const *values, int count, const Graph *copy, Value **found);

#endif
