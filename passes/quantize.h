/*
 * quantize.h -- what the files of quantization share; private to passes/.
 *
 * A Plan speaks of one graph of floats, which does not change: its products with constant weights (layers.c)
 * and the values that become integers. What is found out about them (calibrate.c) and decided (quantize.c) is
 * noted there; applying it (quantize_apply) rewrites the graph or a copy of it, as often as one likes.
 */
#ifndef TENON_PASSES_QUANTIZE_H
#define TENON_PASSES_QUANTIZE_H

#include "passes/calibrate.h"
#include "passes/observe.h"

/* A value that layers multiply, or that is rounded to integers. */
typedef struct Activation {
  Value *value;     /* NULL: it is inside of its layer's node */
  int layer;        /* the first that reads it; that it is the result of, if none does */
  bool is_read;     /* by a layer */
  bool is_image;    /* then whatever reads it reads the integers, so that the floats are not stored */
  int64_t channels; /* along the axis that the layer sums over */
  Histogram seen;
  Affine affine;
  double offset; /* the integers stand for x - offset; biases take in the rest */
  int64_t count; /* of the elements that each channel had; 0: nothing is known of them */
  double *mean, *rounded,
      *squares;  /* [channels]: means of elements, of what the integers stand for, of squares */
  float *absmax; /* [channels] */
} Activation;

/* A conv or gemm with constant weights of static shape, or, where x stays in floats, a gather from such, or,
 * where weights go, a conv_transpose without groups or the product inside of a recurrence. They are a matrix
 * [rows, k]. */
typedef struct Layer {
  Node *node;
  int activation;     /* number of what it multiplies; -1: a gather multiplies nothing */
  int64_t rows, k;    /* with groups: k of one group */
  int behind;         /* axes of the weights behind that of the rows, */
  int64_t inner;      /* and their elements */
  int64_t group_rows; /* rows of a group */
  bool is_inner;      /* its product is inside of the node (InnerProduct) */
  bool is_conv;       /* or a conv_transpose, */
  bool is_transposed; /* then k columns meet what any of its results may be made of, most of it zeros */
  Window window;      /* of both */
  int64_t group;      /* columns that share a step */
  int8_t *q;          /* [rows, k] */
  float *step;        /* [rows, k / group] */
  double *shift;      /* [rows], added to the results; NULL: nothing */
  double
      *noise;   /* [parts]: of the outputs if it alone is narrow, in parts of their signal; NULL: not known */
  double error; /* sum of squares of what its own results are off by then */
  LedgerRow *row;
} Layer;

/* Numbers of one kind among the outputs: a whole output, or what one operand of a concat is of it. */
typedef struct Part {
  int output, axis;
  int64_t first, count; /* indices along the axis; count 0: all of the output */
} Part;

typedef struct Plan Plan;
struct Plan {
  Graph *graph;
  const PassOptions *options;
  Quantization *quantization; /* NULL: numbers stay as they are, weights are pruned */
  Ledger *ledger;
  /* Rewrites `graph`, which is that of the plan or an unchanged copy of it. */
  bool (*apply)(const Plan *plan, Graph *graph);
  Layer *layers;
  int layer_count;
  Activation *activations;
  int activation_count;
  Part *parts;
  int part_count;
  Observer original; /* the graph as it is */
  Observer observed; /* that shows the activations, then, for GPTQ and pruning, the layers' results */
};

/* ---- layers.c ---- */

/* Finds them, and gives each node of a layer an origin of its own. */
void plan_find(Plan *plan, Graph *graph);
/* f32 where no other is asked for. */
Precision plan_precision(const Plan *plan);
/* Opens `observed`, for calibration and rounding. Close it in any case. */
bool plan_observe(Plan *plan);
void plan_report(const Plan *plan, const char *what, int done, int count);
/* A line of the ledger's effects. */
void plan_note(Plan *plan, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Of a product with constant weights: what its weights are, and nothing else. */
Layer layer_of(Node *node);
const Value *layer_constant(const Layer *layer);
Value *layer_bias(const Layer *layer); /* NULL: it has none */
/* Whether a constant with a number for each row can stand in for its bias; NULL: it has none. */
bool layer_takes_bias(const Layer *layer, const Value *bias);
/* What a layer multiplies and gives, and which places of that count; NULL: all. */
typedef struct LayerValues {
  Value *x, *y, *counts;
} LayerValues;
/* Of its node in any copy of the graph; those of a product inside of it are built behind it. */
bool layer_values(Node *node, LayerValues *values);
/* The axis of the weights that is that of the results' channels. */
int layer_row_axis(const Layer *layer);
/* Where its constant has column j of a row. */
int64_t layer_index(const Layer *layer, int64_t row, int64_t column);
/* [rows, k] of floats. */
float *layer_weights(Arena *arena, const Layer *layer);
/* The input channel that column j of the weights meets. */
int64_t layer_channel(const Layer *layer, int64_t row, int64_t column);

int64_t layer_groups(const Layer *layer);
/* How many places of a conv_transpose meet all columns together: their phases. Else 1. */
int64_t layer_phases(const Layer *layer);

/* ---- windows.c ---- */

/* The places where a layer has results, and what it met there. */
typedef struct Windows {
  const Layer *layer;
  const Tensor *x, *y; /* what it multiplies and gives */
  int64_t rows, count; /* of y: channels, places */
  int *elements;       /* [k]: of the kernel */
  int64_t *channels;   /* [k]: how far in x from channel 0 of a group */
  int64_t *offsets;    /* [elements of the kernel]: where each is, at the place that is being read */
} Windows;

/* What it needs lies in the arena. */
Windows windows_of(Arena *arena, const Layer *layer, const Tensor *x, const Tensor *y);
/* row[k]: what the weights of a group of channels meet there. */
void windows_read(const Windows *windows, int64_t place, int64_t group, float *row);
/* row[rows]: what y has there. */
void windows_read_results(const Windows *windows, int64_t place, float *row);

/* ---- calibrate.c ---- */

/* Runs the graph on the samples: ranges and means. */
bool plan_calibrate(Plan *plan);

/* ---- rounding.c ---- */

/* Integer weights of all layers. */
bool plan_round(Plan *plan);

/* ---- ledger.c ---- */

/* The original and the planned graph, side by side on the same samples. */
typedef struct Pair {
  Plan *plan;
  Observer *original, planned;
  Tensor *a, *b; /* what they gave */
  int count;
} Pair;

/* Close `planned` in any case. */
bool pair_open(Pair *pair, Plan *plan);
bool pair_run(Pair *pair, int sample);
void pair_forget(Pair *pair);
/* Fills in times and bytes of the rows and the total. */
bool plan_predict(Plan *plan);
/* Predicted times alone, without compiling what is planned. */
bool plan_estimate(Plan *plan);

/* ---- likeness.c ---- */

typedef struct Noise {
  double signal, noise; /* sums of squares */
} Noise;

void plan_find_parts(Plan *plan);
/* As dtype_get, and fast for f32. */
double number_at(const Tensor *tensor, int64_t i);
/* noises[parts]: of outputs a, and of what outputs b are off. */
void noises_add(const Plan *plan, Noise *noises, const Tensor *a, const Tensor *b);
double noise_share(const Noise *noise); /* in parts of the signal */
bool plan_evaluate(Plan *plan);         /* the ledger's likeness and sqnr */

/* ---- sensitivity.c ---- */

/* The sqnr of the rows, and noise and error of the layers. */
bool plan_find_sensitivity(Plan *plan);
/* errors[layers]: what `error` would be at the precisions that the rows have now. */
bool plan_find_errors(Plan *plan, double *errors);

/* ---- worth.c ---- */

/* Gives layers back that are slower or cost too much, and fills in the ledger. */
bool plan_judge(Plan *plan);

/* ---- quantize.c ---- */

/* Of the weights at the layer's precision. */
int64_t layer_bytes(const Layer *layer);

/* What the layers of an unchanged copy would be off by, if each alone were narrow: errors[layer] is a value
 * of it, NULL for those that stay as they are. */
bool plan_build_errors(const Plan *plan, Graph *graph, Value **errors);

#endif
