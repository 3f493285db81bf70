/* compare.h -- `tenon compare`: what compare.c and compare_nodes.c share. */
#ifndef TENON_CLI_COMPARE_H
#define TENON_CLI_COMPARE_H

#include "cli/program.h"

int find_port(const Port *ports, int count, const char *name); /* -1: there is none */

/* Prints a line for each value that both have, and where they part first; false when they do, with
 * differences over atol + rtol |b|. */
bool compare_values(const Program *a, const Tensor *a_values, const Program *b, const Tensor *b_values,
                    double atol, double rtol);

#endif
