/* generate.h -- random small graphs for testing; see generate.c. */
#ifndef TENON_TESTS_RANDOM_GENERATE_H
#define TENON_TESTS_RANDOM_GENERATE_H

#include "ir/run.h"

typedef struct Random {
  uint64_t state;
} Random;

uint64_t random_next(Random *random);
int random_below(Random *random, int limit); /* 0 .. limit-1 */
double random_between(Random *random, double low, double high);

/* A graph of about `size` ops on one to three inputs, as module->main; the same seed gives the same graph. */
Module *generate_graph(uint64_t seed, int size);
/* Inputs for it: every symbol is bound to `symbol`; the tensors are the caller's to free. */
bool generate_inputs(const Graph *graph, uint64_t seed, int64_t symbol, Tensor *inputs);

#endif
