/*
 * ml.h -- what the operators of ai.onnx.ml share.
 *
 *   ml.c            attributes, class labels, post transforms
 *   ml_features.c   operators on features: scaling, encoding, choosing
 *   ml_linear.c     linear models and support vector machines
 *   ml_trees.c      decision trees
 */
#ifndef TENON_FRONTEND_ONNX_ML_H
#define TENON_FRONTEND_ONNX_ML_H

#include "frontend/onnx/onnx.h"

/* ---- Attributes */

/* Numbers of an attribute, exactly. */
typedef struct Numbers {
  double *values;
  int count;
  Dtype dtype; /* as the model has them */
} Numbers;

bool attr_numbers(OnnxNode *node, const char *name, Numbers *numbers); /* of a tensor, which must be there */
Value *float_constant(OnnxNode *node, Dtype dtype, const float *values, int rank, const int64_t *dims);

/* ---- Shapes */

Value *ml_rows(OnnxNode *node, Value *x);                       /* [F] is one row; NULL with an error */
Value *ml_column(OnnxNode *node, Value *scores, int64_t index); /* [N,C] -> [N] */
/* Side by side along the last axis. */
Value *emit_columns(OnnxNode *node, Value *const *parts, int count);

/* ---- Classes */

/* Integers or names. A class with a name is given as its number: tenon has no strings. */
typedef struct Labels {
  int count;
  const int64_t *ints; /* NULL: numbers from 0 */
  const char *const *names;
} Labels;

bool read_labels(OnnxNode *node, const char *ints, const char *strings, Labels *labels);
Value *emit_best_class(OnnxNode *node, const Labels *labels, Value *scores); /* [N,C] -> label [N] */
Value *emit_label(OnnxNode *node, const Labels *labels, int64_t index);      /* a scalar */
/* Of the classes 0 and 1, or the two labels: the second where score [N] > limit. */
Value *emit_binary_class(OnnxNode *node, const Labels *labels, Value *score, double limit);
/* Outputs 0 and 1. */
bool set_class_outputs(OnnxNode *node, const Labels *labels, Value *label, Value *scores);

/* ---- Post transforms: NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO, PROBIT; unknown ones are errors */

Value *emit_post_transform(OnnxNode *node, Value *scores, const char *name); /* of rows [N,C] */
/* Scores [N,2] of two classes of which only the second was computed, [N]. The specification is silent; as in
 * ONNX Runtime they are [1-s, s] for scores that look like probabilities, else [-s, s]; LOGISTIC gives the
 * logistic function of -s and s, SOFTMAX and SOFTMAX_ZERO nothing more. PROBIT, of which it computes one
 * column only, is [-p, p] here. */
Value *emit_two_classes(OnnxNode *node, Value *score, const char *post, bool is_probability);

#endif
