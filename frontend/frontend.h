/*
 * frontend.h -- files in foreign formats to graphs and tensors. The only folder that knows protobuf, HDF5,
 * zip and JSON.
 *
 * Every byte of these files is hostile: all functions return false with a Diag that names the file and what
 * is wrong.
 */
#ifndef TENON_FRONTEND_H
#define TENON_FRONTEND_H

#include "ir/ir.h"

typedef struct ImportDim {
  const char *name; /* symbol as the model names it */
  int64_t value;
} ImportDim;

typedef struct ImportShape {
  const char *input;
  int rank;
  int64_t dims[MAX_RANK]; /* -1: leave as the model says */
  bool replaces;          /* what the model says, whatever its rank is; no dim is -1 */
} ImportShape;

/* An input whose value is known when the model is compiled: it becomes a constant and is no input any more.
 * ONNX models may take shapes, axes and the like as inputs; most of those can only be compiled when they are
 * given here. */
typedef struct ImportConstant {
  const char *input; /* NULL or empty: the one at `place` among the inputs without initializer */
  int place;
  const Tensor *value;
} ImportConstant;

typedef struct ImportOptions {
  const ImportDim *dims; /* --dim */
  int dim_count;
  const ImportShape *shapes; /* --input-shape */
  int shape_count;
  const ImportConstant *constants; /* ONNX only */
  int constant_count;
  /* ONNX only: numbers among the declared sizes of inputs become symbols, NAME_AXIS, as if any size would do.
   * The lengths of lists of integers stay: they are shapes, axes, pads, and fix the rank of something. */
  bool symbolic;
} ImportOptions;

/* Reads any model into module->main: ONNX, Keras (.h5, .keras, .json), or .tn; told apart by content, then by
 * suffix. */
bool import_model(Module *module, const char *path, const ImportOptions *options);
bool import_onnx(Module *module, const char *path, const ImportOptions *options);
bool import_keras(Module *module, const char *path, const ImportOptions *options);

/* Tensors for `run`, `check` and calibration; data from malloc, released by tensor_free. */
/* ONNX's TensorProto, SequenceProto or OptionalProto. */
bool read_tensor_pb(Module *module, const char *path, Form form, Tensor *tensor, const char **name);
bool read_npy(Module *module, const char *path, Tensor *tensor);
bool read_npz(Module *module, const char *path, Tensor **tensors, const char ***names, int *count);
bool write_npy(Module *module, const char *path, const Tensor *tensor);
/* An array of the integers that carry elements of `dtype` in .npy files (see npy.c) as those; any other
 * stays. False: no memory. */
bool tensor_uncarry(Tensor *tensor, Dtype dtype);

#endif
