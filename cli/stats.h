/* stats.h -- what a graph holds: parameters, work, operators. */
#ifndef TENON_CLI_STATS_H
#define TENON_CLI_STATS_H

#include "ir/ir.h"

typedef struct ModelStats {
  int64_t parameters, parameter_bytes; /* of constants that are used; each counts once */
  const char *macs;                    /* a number, or an expression of the dims */
  int64_t *op_counts;                  /* by row of all_ops */
} ModelStats;

/* Strings and counts live in the module's arena. */
ModelStats model_stats(Module *module);
/* "conv 27, relu 26, ..." by count. */
void model_stats_print_ops(Module *module, const ModelStats *stats);

#endif
