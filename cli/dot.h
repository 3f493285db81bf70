/* dot.h -- a graph for Graphviz. */
#ifndef TENON_CLI_DOT_H
#define TENON_CLI_DOT_H

#include "ir/ir.h"

void dot_print(Graph *graph, FILE *out); /* uses marks */

#endif
