/*
 * student.h -- the graph that distillation turns; private to passes/.
 *
 * A copy of the pruned graph that has weights and shifts of layers, the *knobs*, for inputs, and gives the
 * distance of its outputs to the original's, and the gradients of that; and another that gives the distance
 * alone, a third of the work.
 */
#ifndef TENON_PASSES_STUDENT_H
#define TENON_PASSES_STUDENT_H

#include "passes/prune.h"

typedef enum KnobKind { KNOB_WEIGHTS, KNOB_SHIFT } KnobKind;

/* The numbers of one input: what a layer has left of its weights, or what is added to its channels. */
typedef struct Knob {
  int layer;
  KnobKind kind;
  Layer geometry; /* of the weights, as they are now */
  Kept kept;
  Tensor now;
} Knob;

/* An output, before a softmax or sigmoid that would hide differences. */
typedef struct End {
  Value *value;
  bool is_softmax;
  int axis;       /* of the softmax */
  double squares; /* of the original's, in the mean over samples */
} End;

typedef struct Student {
  Pruner *pruner;
  Arena *arena;
  int batch;                 /* samples of a run */
  Observer teacher, learner; /* the original, the student itself, */
  Observer judge;            /* and without gradients: only forward */
  int output_count;          /* of the original */
  End *ends;
  int end_count;
  Knob *knobs;
  int knob_count;
  Tensor *inputs, *outputs; /* of the learner, inputs of the judge, too: those of the graph, which belong to
                               the student, knobs, targets; distance, gradients */
  Tensor *shown;            /* of the teacher: outputs, ends */
} Student;

/* What a run sees in the place of one sample: (1 - share) a + share b. */
typedef struct Mixture {
  int a, b;
  float share;
} Mixture;

/* For runs of up to `batch` samples, as many as the graph and memory can take. `why` says why there is none:
 * something on the way has no gradient. False with a Diag when something went wrong. Close it in any case. */
bool student_open(Student *student, Pruner *pruner, int batch, const char **why);
void student_close(Student *student);
/* mixtures[batch] -> their distance, in the mean. */
bool student_judge(Student *student, const Mixture *mixtures, double *distance);
/* The same with its gradients: student_gradient reads them, and student_forget frees them. */
bool student_run(Student *student, const Mixture *mixtures, double *distance);
const float *student_gradient(const Student *student, int knob);
void student_forget(Student *student);
int64_t knob_size(const Knob *knob);
/* numbers[knobs] become weights and biases of the pruner's layers. */
void student_keep(const Student *student, float *const *numbers);

#endif
