/*
 * pass.h -- the shape of a pass, and what it gets to know: the machine, who counts rewrites, preferences. The
 * rows are in passes/ and codegen/.
 */
#ifndef TENON_IR_PASS_H
#define TENON_IR_PASS_H

#include "ir/run.h"

/* ---- Target (target.c) ---- */

/* What the cost models and kernels need to know of a machine. */
typedef struct Target {
  struct Target *next;  /* of the processors of one library the next lesser one; NULL: the last */
  const char *triple;   /* LLVM's */
  const char *cpu;      /* LLVM's name */
  const char *features; /* LLVM's feature string */
  int vector_bytes;     /* 64 AVX-512, 32 AVX2, 16 SSE/NEON */
  int vector_registers; /* 32 or 16 */
  int fma_pipes;        /* vectors multiplied in a cycle */
  int feature_count;    /* of those in runtime/cpu.def */
  bool fma, mask;       /* fused multiply-add; cheap masked loads and stores */
  bool dots;            /* four products of bytes are summed by one instruction */
  int64_t l1_bytes, l2_bytes, l3_bytes;
  double peak_gflops; /* f32, one core */
  double byte_gain,
      half_gain;    /* products of bytes summed in i32, and of bf16 in f32, in the time of one of f32 */
  double read_gbps; /* DRAM, one core */
} Target;

int target_lanes(const Target *target, Dtype dtype); /* elements per vector register */

/* ---- Rewrites, one by one (rewrites.c) ---- */

/* A pass did this at a node. */
typedef struct RewriteSite {
  int step; /* of the pipeline */
  const char *pass, *op;
  const char *node; /* its name in the model, or else that of its value, or its type; "": the whole graph */
} RewriteSite;

/* For hunts of a wrong one: they are counted and listed, end at a number, or only some may happen. */
typedef struct Rewrites {
  int limit;               /* so many at most */
  const RewriteSite *only; /* those that may happen, only_count of them; NULL: all */
  int only_count;
  int count, room; /* that happened, in order */
  RewriteSite *list;
  int step, before; /* the step that runs, and the count when it began */
  const char *pass;
  RewriteSite asked; /* at which node the pass is */
} Rewrites;

Rewrites *rewrites_new(Module *module, int limit);
bool rewrite_same(const RewriteSite *a, const RewriteSite *b);
bool rewrite_ask(Rewrites *rewrites, const Node *node);
/* A pass asks this before it rewrites at a node. It costs a test of a pointer as long as nobody looks. */
static inline bool rewrite_allowed(const Node *node) {
  struct Rewrites *rewrites = node->graph->module->rewrites;
  return !rewrites || rewrite_ask(rewrites, node);
}
/* And tells that it did (or not) what it asked for last; returns `done`. */
bool rewrite_done(Module *module, bool done);
/* Around a pass: whether it may run, and that it has. */
bool rewrites_begin(Module *module, int step, const char *pass);
void rewrites_end(Module *module, bool changed);

/* ---- Rows ---- */

/* What is worth more when speed costs bytes. */
typedef enum Preference {
  PREFER_BALANCE, /* a library of about the size of the model; memory is spent when it is opened */
  PREFER_SPEED,
  PREFER_SIZE
} Preference;

/* A schedule that was tried, and what a run of the kernel took with it, in seconds. */
typedef struct TunedSchedule {
  const char *schedule;
  double seconds;
} TunedSchedule;

/* What tuning found for one of the kernels that are distinct. */
typedef struct Tuned {
  int number, count; /* it is the number-th of so many */
  const char *name;
  const char *predicted, *best;           /* schedules: by the cost model, by measurement */
  double predicted_seconds, best_seconds; /* of one run; 0: known from an earlier compilation */
  const TunedSchedule *tried; /* those that were measured, the fastest first; in the module's arena */
  int tried_count;
} Tuned;

/* Schedules by measurement instead of by the cost models. */
typedef struct Tuning {
  int candidates; /* schedules that are tried for a kernel, the best by the cost model */
  double seconds; /* after so many no more kernels are measured */
  void (*report)(void *context, const Tuned *tuned); /* after each distinct kernel */
  void *context;
} Tuning;

typedef struct PassOptions {
  const Target *target;             /* the best of the library's; only schedules differ between them */
  Executor executor;                /* for large constant folds, and to run the graph on samples */
  const struct Pass *const *tables; /* where a pass finds those that optimise a copy, ending with NULL */
  Preference preference;
  bool portable; /* the graph is for other tools: by default few passes, and what is quantized stays so */
  bool strict;   /* nothing that computes a result from other sums than the op's own (Winograd) */
  bool always_sparse;   /* weights are stored without zeros even where that is slower: to see how much */
  const Tuning *tuning; /* NULL: the cost models decide */
  struct Quantization *quantization; /* passes.h; NULL: numbers stay as they are */
  struct Pruning *pruning;           /* passes.h; NULL: all weights stay */
} PassOptions;

/* run returns whether it changed the graph; an error is a Diag in graph->module (compare error_count). */
typedef struct Pass {
  const char *name;
  bool (*run)(Graph *graph, const PassOptions *options);
  const char *doc; /* one line: IR before -> IR after */
} Pass;

#endif
