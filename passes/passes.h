/*
 * passes.h -- Graph -> Graph rewrites and the pipeline that orders them.
 *
 * Each pass is one file passes/<name>.c, says in its head what the IR is before and after, what it requires
 * and keeps, and is a row of `graph_passes`. The default pipeline is the list in pipeline.c, each line with
 * its reason.
 */
#ifndef TENON_PASSES_H
#define TENON_PASSES_H

#include "ir/pass.h"

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

/* A pass of the pipeline that runs. */
typedef struct Step {
  const Pass *pass;
  int number, count; /* it is the number-th of so many, from 1 on */
} Step;

/* Looks on while passes run. False, with a Diag, ends the pipeline. */
typedef struct Watcher {
  bool (*before)(void *context, Graph *graph, const Step *step);
  bool (*after)(void *context, Graph *graph, const Step *step, bool changed);
  void *context;
} Watcher;

typedef struct PipelineOptions {
  PassOptions pass;
  const Pass *const *tables; /* tables of rows to look names up in, ending with NULL */
  const char *passes;        /* "simplify,fold,cse": instead of the default pipeline; NULL: the default */
  bool verify;               /* graph_verify after each pass (always in builds without NDEBUG) */
  const Watcher *watcher;    /* NULL: nobody looks on */
} PipelineOptions;

/* Runs the pipeline over graph; false when a name is unknown, a pass recorded an error, or verification
 * failed. */
bool pipeline_run(Graph *graph, const PipelineOptions *options);

/* ---- Printing (print.c) ---- */

typedef struct PrintOptions {
  const char *before, *after; /* passes: comma-separated names, or "all"; NULL: none */
  bool changed;               /* after each pass that changed something: a line diff */
  const char *node;           /* of the model, or a value: its life through all passes; NULL: none */
  bool colour;                /* of diffs */
  bool json;                  /* an object for each print, see print.c */
  FILE *out;
} PrintOptions;

typedef struct Printer Printer;
/* The watcher that prints; NULL, and no watcher, when there is nothing to print. */
Printer *printer_open(Arena *arena, const PrintOptions *options, Watcher *watcher);
/* False with a Diag when the node was never seen; module NULL: not all has run. No printer is fine. */
bool printer_close(Printer *printer, Module *module);

/* ---- Finding passes that are wrong (check.c, bisect.c, reduce.c) ---- */

/* What graphs run on to find out, and how far results may be apart. */
typedef struct Trial {
  const Tensor *inputs; /* of the graph */
  double atol, rtol;    /* |a-b| <= atol + rtol |b| */
  uint64_t seed;        /* of random inputs for smaller graphs */
} Trial;

/* The first pass that changed the results. */
typedef struct Fault {
  Step step;         /* pass "(code)": the compiled kernels are not what the graph says */
  const char *text;  /* the output and how it differs; NULL: there is no fault */
  const char *value; /* the first value that does, and how; NULL: none could be named */
} Fault;

/* Runs the pipeline over the graph, and the graph before and after each pass; `out` gets a line for each
 * (NULL: none). Ends at the first fault. False with a Diag when something cannot be run. */
bool pipeline_check(Graph *graph, const PipelineOptions *options, const Trial *trial, FILE *out,
                    Fault *fault);

/* The rewrites without which the results are right. */
typedef struct Bisection {
  int total;         /* rewrites of all passes */
  bool is_wrong;     /* else nothing is */
  bool is_in_code;   /* without any rewrite */
  int number;        /* with fewer rewrites all is well */
  RewriteSite last;  /* the one of that number */
  bool is_thin;      /* none of the list can be left out; else they are all up to that number */
  RewriteSite *list; /* count of them, in order */
  int count;
  const char *text; /* what goes wrong with them */
} Bisection;
bool pipeline_bisect(const Graph *graph, const PipelineOptions *options, const Trial *trial,
                     Bisection *found);

typedef struct Reduction {
  int before, after, tries; /* nodes; graphs that were tried */
} Reduction;
/* Writes a small graph that goes wrong, too, on random inputs of the trial's seed. */
bool pipeline_reduce(Graph *graph, const PipelineOptions *options, const Trial *trial, const char *path,
                     Reduction *reduction);

/* Makes every named tensor that a node of the graph gives an output, instead of those that it has. */
bool graph_show_values(Graph *graph);

/* ---- What passes tell that change results (ledger.c) ---- */

/* What products compute with. */
typedef enum Precision {
  PRECISION_F32,
  PRECISION_BF16,    /* weights and x rounded to bf16, sums in f32 */
  PRECISION_INT8,    /* u8 x with one step each, i8 weights with a step per channel, sums in i32 */
  PRECISION_DYNAMIC, /* the same, where each run finds the range of x */
  PRECISION_W8,      /* weights alone, with a step per channel; x and sums f32 */
  PRECISION_W4,      /* the same, with a step per block of `group` weights */
  PRECISION_COUNT
} Precision;
const char *precision_name(Precision precision);

/* The ledger's row of a product with constant weights. Seconds: of all kernels that are made of it, in a run.
 */
typedef struct LedgerRow {
  const char *name; /* the model's node */
  const char *kind; /* "conv 3x3", "gemm" */
  Precision precision;
  const char *form; /* of its weights when they are pruned: "32x288 of 64x576"; NULL: all are there */
  double
      errors[2]; /* of what a pruned layer gives, dB: before the weights that are left were fitted, after */
  const char *reason; /* why it is not what was asked for; NULL: it is */
  double sqnr;        /* of the output that is off most if it alone is narrow, dB; 0: not measured */
  int64_t bytes_before, bytes_after; /* of its weights */
  double predicted_before, predicted_after, measured_before, measured_after;
} LedgerRow;

/* How much alike the outputs are before and after. */
typedef enum Likeness {
  LIKE_LABELS,  /* share of samples whose label is right */
  LIKE_CLASSES, /* share of rows with the same largest element */
  LIKE_ERROR    /* 1 - the relative error of the outputs */
} Likeness;

/* What a pass that changes results is given to judge itself by, and what it tells people of what it did. */
typedef struct Ledger {
  Samples *samples; /* whoever made them frees them */
  double max_drop;  /* of the likeness; below 0: any */
  bool asks_drop; /* a user: it must be met; else it is for errors alone, and met if no layer stays narrow */
  bool times_decide; /* those measured, instead of those predicted */
  void (*progress)(void *context, const char *what, int done, int count); /* NULL: silent */
  void *context;

  const char *effects[4]; /* of what was recovered, a line each; NULL ends them */
  int sample_count;       /* that the outputs were compared on */
  LedgerRow *rows;        /* in the order of the graph */
  int row_count;
  Likeness likeness;
  double before, after; /* the likeness; before: 1 unless there are labels */
  double sqnr;          /* of the outputs, in the mean, dB */
  LedgerRow total;      /* of the whole graph; bytes: all constants */
} Ledger;

/* ---- Quantization (quantize.c) ---- */

/* What makes up for rounding. */
typedef enum Recovery {
  RECOVER_BIAS = 1 << 0,     /* biases take in the mean error of weights and activations */
  RECOVER_EQUALIZE = 1 << 1, /* channels get about the same range before (pass `equalize`) */
  RECOVER_GPTQ = 1 << 2      /* weights make up for the rounding of those before them */
} Recovery;

/* What is asked for, and what was done. */
typedef struct Quantization {
  Ledger ledger;
  Precision precision;
  RangeMethod range; /* of activations */
  int group;         /* weights that share a step of W4; they are next to each other in a sum */
  unsigned recovery; /* of Recovery */
} Quantization;

/* ---- Pruning (prune.c) ---- */

/* Which weights go. */
typedef enum PruneForm {
  PRUNE_CHANNELS, /* those that make and read channels, which then are not there any more */
  PRUNE_ANY,      /* any */
  PRUNE_2_OF_4,   /* of each four weights of neighbouring channels two */
  PRUNE_BLOCKS    /* those of 16 neighbouring channels of the result for one of x */
} PruneForm;

/* What is saved when channels go. */
typedef enum PruneCost { COST_MACS, COST_BYTES, COST_TIME } PruneCost;

typedef struct Pruning {
  Ledger ledger;
  PruneForm form;
  PruneCost cost;
  double share;   /* of the cost that goes; without channels of the weights that become 0 */
  bool refits;    /* the weights that are left make up for those that go */
  int epochs;     /* of distillation, over all samples; 0: none */
  double reached; /* the share that went: less where max_drop does not allow more */
} Pruning;

/* What `plan` decided for one result of a kernel. */
typedef struct PlanRow {
  const Node *kernel;
  const Value *value;
  const char *memory; /* "scratch", "state"; "output" or "part": it lies there, or in another value */
  const Dim *offset, *bytes;
  int first, last; /* its life: positions in the node order */
} PlanRow;
/* A row for each result, in the module's arena; returns how many. Uses marks. */
int plan_rows(Graph *graph, PlanRow **rows);
/* They as a table. */
void plan_print(Graph *graph, FILE *out);
/* Bytes of scratch that the planned graph needs. */
const Dim *plan_scratch(const Graph *graph);

#endif
