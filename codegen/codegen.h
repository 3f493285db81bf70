/*
 * codegen.h -- an optimised graph to native code: schedule, kernels in loop IR, LLVM, object, library,
 * header.
 *
 * The only folder that knows LLVM and the linker.
 */
#ifndef TENON_CODEGEN_H
#define TENON_CODEGEN_H

#include "ir/pass.h"

/* The machine's own triple, cpu and features ("host"), or what the names say. Several cpus, "x86-64-v3,host",
 * become a list, the best first: the one with the widest vectors, of equal ones that with more features.
 * Strings and the rest of the list live in module's arena. False with a Diag that lists what is known when
 * LLVM does not know the triple or a cpu. */
bool target_describe(Module *module, const char *triple, const char *cpus, Target *target);
/* "x86-64-v4,x86-64-v3" */
const char *target_cpus(Module *module, const Target *target);

/* Rows for the pipeline: `schedule` (variant and parameters of each kernel, written as attributes). Ends with
 * a NULL name. */
extern const Pass codegen_passes[];

/* How the weights of a kernel around a gemm or conv lie: plain, panels, winograd (transformed panels), or
 * without their zeros, as lists (of rows of panels) or columns (of single weights). NULL: it is another. */
const char *weights_storage(const Node *kernel);

typedef enum EmitKind { EMIT_SO, EMIT_OBJ, EMIT_LLVM, EMIT_ASM, EMIT_LOOPS } EmitKind;

typedef struct CodegenOptions {
  Target target;      /* the best; a library with several chooses the best that its processor can run */
  const char *name;   /* C identifier that prefixes every symbol */
  const char *source; /* provenance: the model file's base name */
  bool header;        /* write the typed header beside a .so or .o (same name, .h) */
  /* Of loops, llvm and asm only the kernel of this name (as it is in the library, or as its node is called),
   * or those that come from a node of the model of this name; NULL: all. */
  const char *kernel;
  int64_t task_ticks; /* 0, or the least work worth a thread (see runtime/model.h); tests make it small */
  bool is_temporary;  /* the library is only run here and now: it may be larger, if it is made sooner */
} CodegenOptions;

typedef struct CodegenStats {
  int64_t library_bytes, weight_bytes, state_bytes, scratch_bytes; /* -1: depends on the dims */
  int kernel_count, distinct_kernel_count;
  const Node **kernel_nodes; /* the node of each kernel of a run, in order; NULL of a dynamic graph */
} CodegenStats;

/* Compiles a graph that went through the pipeline (fused, scheduled, planned; plain ops are lowered plainly)
 * and writes `path`; texts of kernels also to stdout, if it is NULL. */
bool codegen_emit(Graph *graph, const CodegenOptions *options, EmitKind kind, const char *path,
                  CodegenStats *stats);

/* A kernel for people; with several targets the texts of all. */
typedef struct CodeText {
  const char *name, *loops, *assembly;
} CodeText;

typedef struct CodeStep {
  const Node *node;
  int code;         /* number of its CodeText */
  bool once;        /* before the first run, not in each */
  double predicted; /* seconds, by the cost model */
} CodeStep;

typedef struct CodeTexts {
  CodeText *codes;
  CodeStep *steps; /* those of a run, in order, then those that are done once */
  int code_count, step_count;
} CodeTexts;

/* The code that codegen_emit would make of the graph, each kernel once; in the module's arena. */
bool codegen_texts(Graph *graph, const CodegenOptions *options, CodeTexts *texts);

/* Kernels alone as a shared library, for tests and tuning: a function per kernel, of its name, that takes the
 * memory of the params in order and then the values of the kernel's symbols (as kernel_symbols orders them).
 * asm_path, if not NULL, gets the assembler text. */
struct Kernel;
bool codegen_kernels(Module *module, const Target *target, struct Kernel *const *kernels, int count,
                     const char *path, const char *asm_path);

/* ---- What a machine can do at best (roofline.c) ---- */

enum { ROOFLINE_LEVELS = 3 }; /* L2, L3, memory */

typedef struct Roofline {
  double gflops; /* f32, one thread */
  struct {
    const char *name;
    int64_t bytes; /* that it holds */
    double gbps;   /* read by one thread */
  } levels[ROOFLINE_LEVELS];
} Roofline;

/* Measured on this machine, once: about half a second; kept in the user's cache. False with a Diag. */
bool codegen_roofline(Module *module, const Target *target, Roofline *roofline);
/* Of the smallest level that holds so many bytes. */
double roofline_gbps(const Roofline *roofline, double bytes);

/* The schedules of a kernel node by the ranking of its variant, the best first, at most `max`; returns how
 * many. None of them need be the node's own: a tuned one, or one from a file. */
int codegen_schedules(const Node *node, const Target *target, const char **schedules, int max);

/* For passes, so that what they compute is what ships: compiles a graph to a temporary library and loads it.
 */
Executor codegen_executor(const Target *target);
/* Once; same contract as graph_interpret. */
bool codegen_execute(const Target *target, Graph *graph, const Tensor *inputs, Tensor *outputs);

#endif
