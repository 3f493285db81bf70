/*
 * run.h -- tensors, and running a graph on them: interpreted, or as an executor does it.
 */
#ifndef TENON_IR_RUN_H
#define TENON_IR_RUN_H

#include "ir/ir.h"

typedef enum TensorKind {
  TENSOR_DENSE,
  TENSOR_LIST,  /* a sequence: rank 1, data is Tensor[dims[0]] */
  TENSOR_ABSENT /* an optional value that is not there: nothing else is set */
} TensorKind;

/* A concrete tensor, row-major and packed, or a sequence of such, or nothing. Owned by whoever made it;
 * tensor_free releases data made by tensor_new. */
typedef struct Tensor {
  Dtype dtype;
  int rank;
  int64_t dims[MAX_RANK];
  void *data;
  TensorKind kind;
} Tensor;

bool tensor_new(Tensor *tensor, Dtype dtype, int rank,
                const int64_t *dims); /* zeroed, 64-byte aligned; false on overflow or no memory */
bool tensor_new_list(Tensor *tensor, Dtype dtype, int64_t count); /* of absent tensors */
void tensor_free(Tensor *tensor);                                 /* with those in a list */
int64_t tensor_count(const Tensor *tensor);
size_t tensor_size(const Tensor *tensor); /* bytes */
/* The elements point to strings of the module from now on, which live as long as it does. */
void tensor_keep_strings(Module *module, Tensor *tensor);
/* Floats uniform in [-1, 1), integers in 0..7, bools: the same numbers for the same state anywhere. */
void tensor_random(Tensor *tensor, uint64_t *state);

typedef struct Difference {
  double max_abs, max_relative, sqnr; /* sqnr in dB, infinite when equal */
  int64_t wrong, first_wrong;         /* elements beyond the tolerance; index of the first, -1 if none */
} Difference;
/* Of two tensors of the same shape (difference.c): |a-b| <= atol + rtol |b|; NaN equals NaN. */
Difference tensor_difference(const Tensor *a, const Tensor *b, double atol, double rtol);
bool tensor_same_shape(const Tensor *a, const Tensor *b);
/* dtype, shape and elements (other than floats must be equal); false with a sentence in `reason`. */
bool tensor_agrees(const Tensor *got, const Tensor *want, double atol, double rtol, char *reason,
                   size_t size);
int tensor_shape_text(const Tensor *tensor, char *text, size_t size); /* "f32[2,3]" */

/* Matches the input shapes against the graph's types and binds the symbols; false with a Diag naming both
 * sizes. */
bool graph_bind(Graph *graph, const Tensor *inputs, const char **symbols, int64_t *values, int max,
                int *count);

/* Runs the graph node by node through plain lowerings in the loop-IR interpreter: slow, checked, the
 * reference. Allocates outputs. */
bool graph_interpret(Graph *graph, const Tensor *inputs, Tensor *outputs);
/* A graph that was made ready to run, any number of times; it must not change any more. */
typedef struct Runnable Runnable;

/* What a kernel takes, in seconds. */
typedef struct KernelTime {
  const Node *node;
  double predicted; /* by the cost model of the target */
  double measured;  /* the least of all runs so far; 0: there was none */
} KernelTime;

/* How passes run graphs fast: compiled. NULL functions: they are interpreted. */
typedef struct Executor {
  Runnable *(*open)(void *context, Graph *graph); /* NULL with a Diag */
  /* Same contract as graph_interpret. */
  bool (*run)(Runnable *runnable, const Tensor *inputs, Tensor *outputs);
  /* One per kernel of a run, in order; they live as long as the graph's module. Returns their number. */
  int (*times)(Runnable *runnable, const KernelTime **times);
  /* The same of a graph that is ready to be compiled, as far as it can be said without: none is measured. */
  int (*predict)(void *context, const Graph *graph, const KernelTime **times);
  /* Further runs use all processors, and `measured` is not of one any more; results are the same. */
  void (*spread)(Runnable *runnable);
  void (*close)(Runnable *runnable); /* NULL is fine */
  void *context;
} Executor;

/* What passes that look at data get to see: `count` runs of the graph, the inputs of one after those of
 * another. */
typedef struct Samples {
  int count, input_count;
  Tensor *tensors;       /* [count * input_count], of the types of the graph's inputs */
  const int64_t *labels; /* the right class of each, NULL: not known */
} Samples;

#endif
