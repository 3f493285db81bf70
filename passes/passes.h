/*
 * passes.h -- Graph -> Graph rewrites and the pipeline that orders them.
 *
 * Each pass is one file passes/<name>.c, says in its head what the IR is before and after, what it requires
 * and keeps, and is a row of `graph_passes`. The default pipeline is the list in pipeline.c, each line with
 * its reason.
 */
#ifndef TENON_PASSES_H
#define TENON_PASSES_H

#include "ir/ir.h"

/* How the range of an activation is chosen from what was seen of it. */
typedef enum RangeMethod {
  RANGE_MINMAX,     /* all that was seen */
  RANGE_PERCENTILE, /* but for one number in 10000 at either end */
  RANGE_MSE,        /* least mean of squared differences */
  RANGE_ENTROPY     /* least divergence of the distributions (Kullback-Leibler), as TensorRT's calibrator */
} RangeMethod;

/* The rows of this folder, ending with a NULL name. codegen has rows of its own (codegen_passes). */
extern const Pass graph_passes[];

/* The default order: a list of pass names, ending with NULL, and why each stands where it does. */
typedef struct PipelineStep {
  const char *pass;
  const char *why;
} PipelineStep;
extern const PipelineStep default_pipeline[];

typedef struct PipelineOptions {
  PassOptions pass;
  const Pass *const *tables; /* tables of rows to look names up in, ending with NULL */
  const char *passes;        /* "simplify,fold,cse": instead of the default pipeline; NULL: the default */
  const char *print_after;   /* comma-separated names, or "all"; NULL: nothing */
  bool print_changed; /* after each pass that changed something: a line diff of the text before and after */
  bool verify;        /* graph_verify after each pass (always in builds without NDEBUG) */
  FILE *print_to;
} PipelineOptions;

/* Runs the pipeline over graph; false when a name is unknown, a pass recorded an error, or verification
 * failed. */
bool pipeline_run(Graph *graph, const PipelineOptions *options);

/* What `plan` decided, as a table: offset, bytes, life (positions in the node order), type and kernel of each
 * result. */
void plan_print(Graph *graph, FILE *out);
/* Bytes of scratch that the planned graph needs. */
const Dim *plan_scratch(const Graph *graph);

#endif
