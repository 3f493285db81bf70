/*
 * frontend.h -- files in foreign formats to graphs and tensors. The only folder that knows protobuf, HDF5,
 * zip and JSON.
 *
 * Every byte of these files is hostile: all functions return false with a Diag that names the file and what
 * is wrong.
 */
#ifndef TENON_FRONTEND_H
#define TENON_FRONTEND_H

#include "ir/run.h"

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

/* The body of a layer that is code in another language, as a graph. */
typedef struct ImportOp {
  const char *name; /* of the layer or its class */
  const char *path; /* of a .tn file */
} ImportOp;

typedef struct ImportOptions {
  const ImportDim *dims; /* --dim */
  int dim_count;
  const ImportShape *shapes; /* --input-shape */
  int shape_count;
  const ImportConstant *constants; /* ONNX only */
  int constant_count;
  const ImportOp *ops; /* --op, Keras only */
  int op_count;
  /* ONNX only: numbers among the declared sizes of inputs become symbols, NAME_AXIS, as if any size would do.
   * The lengths of lists of integers stay: they are shapes, axes, pads, and fix the rank of something. */
  bool symbolic;
} ImportOptions;

/* Reads any model into module->main: ONNX, Keras (.h5, .keras, .json), or .tn; told apart by content, then by
 * suffix. */
bool import_model(Module *module, const char *path, const ImportOptions *options);
bool import_onnx(Module *module, const char *path, const ImportOptions *options);
bool import_keras(Module *module, const char *path, const ImportOptions *options);
/* Writes the graph as a model of standard ONNX operators (onnx/write.c). external: weights lie in PATH.data
 * beside it, as they do anyhow when there are many. */
bool onnx_write(const Graph *graph, const char *path, bool external);

/* Tensors for `run`, `check` and calibration; data from malloc, released by tensor_free. */
/* ONNX's TensorProto, SequenceProto or OptionalProto. */
bool read_tensor_pb(Module *module, const char *path, Form form, Tensor *tensor, const char **name);
bool read_npy(Module *module, const char *path, Tensor *tensor);
bool read_npz(Module *module, const char *path, Tensor **tensors, const char ***names, int *count);
bool read_idx(Module *module, const char *path, Tensor *tensor); /* MNIST's format (idx.c) */
bool write_npy(Module *module, const char *path, const Tensor *tensor);
/* An array of the integers that carry elements of `dtype` in .npy files (see npy.c) as those; any other
 * stays. False: no memory. */
bool tensor_uncarry(Tensor *tensor, Dtype dtype);

/* ---- Samples: data to calibrate and to judge a model with (samples.c) ---- */

typedef enum PixelLayout {
  PIXELS_ANY, /* by where the input has 1 or 3 channels */
  PIXELS_NCHW,
  PIXELS_NHWC
} PixelLayout;

typedef struct SampleOptions {
  int64_t most;       /* so many samples at most, evenly spread over what there is */
  const char *labels; /* a file with the class of each sample that there is; NULL: none */
  /* Bytes of images for an input of floats become (byte * scale - mean) / std, by channel. */
  double scale, mean[3], std[3];
  PixelLayout layout;
  bool bgr;     /* the model wants blue first */
  int64_t size; /* of the shorter side before the middle is cut out; 0: until the image covers the input */
} SampleOptions;

/* The samples that a path leads to, of the types of module->main's inputs; states begin empty.
 *
 *   .npz, .npy, idx  an array for each input, by name or in order; the first axis counts the samples, in
 *                    front of the input's axes or in the place of its first (when that is 1, open, or n: then
 *                    n rows are a sample). Axes of size 1 may differ; flat inputs take any shape.
 *   a folder         of test_data_set_N, each with a TensorProto input_K.pb for input K; with input_K.pb, one
 *                    sample; or of images, in the order of their names.
 *   an image
 *
 * Floats and integers convert as long as they fit; bytes for floats are pixels, see SampleOptions. NaN and
 * infinities are refused. Release by samples_free. */
bool read_samples(Module *module, const char *path, const SampleOptions *options, Samples *samples);
void samples_free(Samples *samples);

#endif
