/* masked.h -- the network that removing units must give, said without removing anything; see masked.c. */
#ifndef TENON_TESTS_RANDOM_MASKED_H
#define TENON_TESTS_RANDOM_MASKED_H

#include "passes/ties.h"

/* In `copy`, an unchanged copy of the graph of the ties, nothing at removed units reaches a sum any more. */
void mask_removed(const Ties *ties, Graph *copy, const bool *removed);
/* Runs `graph` and a copy of it without the units, on the same inputs: the outputs of the second are those of
 * the masked first. False, and a line is printed, when they are not, or when something fails. */
bool removal_is_exact(const Ties *ties, const bool *removed, const Tensor *inputs);

#endif
