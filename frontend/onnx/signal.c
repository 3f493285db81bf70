/*
 * signal.c -- ONNX DFT, STFT, MelWeightMatrix, and the transforms of com.microsoft.
 *
 * A transform of n numbers is a product with a constant matrix while n is small. Larger ones are split, n =
 * n1*n2, into n2 transforms of n1, a product with twiddles and n1 transforms of n2 (Cooley and Tukey 1965),
 * so that all arithmetic is in products of matrices of about sqrt(n). Large primes become convolutions of a
 * power of two (Bluestein 1970).
 *
 * ONNX has complex numbers as a last axis of 2. Inside, tensors are [rows, parts, n]: real parts before
 * imaginary ones.
 */
#include "frontend/onnx/onnx.h"

#include <math.h>
#include <string.h>

enum { MAX_MATRIX = 256, MAX_LENGTH = 1 << 20 };

static const Dim *number(const OnnxNode *node, int64_t value) {
  return dim_const(node->module, value);
}

/* ---- Complex numbers */

/* Entries [start, start + size) of an axis; axes count from the end. */
static Value *part(OnnxNode *node, Value *x, int axis, int64_t start, int64_t size) {
  if (!x) return NULL;
  const Dim *starts[MAX_RANK], *sizes[MAX_RANK];
  int64_t steps[MAX_RANK];
  for (int i = 0; i < x->type->rank; i++) {
    bool here = i == x->type->rank + axis;
    starts[i] = number(node, here ? start : 0);
    sizes[i] = here ? number(node, size) : x->type->dims[i];
    steps[i] = 1;
  }
  return emit_slice(node, x, starts, sizes, steps);
}

static Value *joined(OnnxNode *node, Value *first, Value *second, int axis) {
  if (!first || !second) return NULL;
  Node *concat = node_new(&node->builder, &op_concat, (Value *[]){first, second}, 2);
  node_set_int(concat, "axis", axis);
  return finish(concat);
}

/* a*b, or a*conj(b), with real and imaginary parts along an axis. */
static Value *complex_product(OnnxNode *node, Value *a, Value *b, int axis, bool conjugate) {
  Value *ar = part(node, a, axis, 0, 1), *ai = part(node, a, axis, 1, 1);
  Value *br = part(node, b, axis, 0, 1), *bi = part(node, b, axis, 1, 1);
  Value *re = emit_binary(node, conjugate ? &op_add : &op_sub, emit_binary(node, &op_mul, ar, br),
                          emit_binary(node, &op_mul, ai, bi));
  Value *im = emit_binary(node, conjugate ? &op_sub : &op_add, emit_binary(node, &op_mul, ai, br),
                          emit_binary(node, &op_mul, ar, bi));
  return joined(node, re, im, axis);
}

/* ---- Transforms of [rows, parts, n] */

/* What becomes of n numbers with `parts` parts: `count` numbers with 2 parts, or for a real result n with 1,
 * of a spectrum that is given by its first `count` numbers. */
typedef struct Transform {
  int64_t n, count;
  int parts;
  double sign, scale; /* sign: 1 forward, -1 inverse */
} Transform;

static Value *transform(OnnxNode *node, const Transform *t, Value *x);

/* The cosine and sine of a turn*j*k/n, exact however large j*k is. */
static void turn(const Transform *t, int64_t j, int64_t k, double *cosine, double *sine) {
  double angle = 2 * acos(-1) * (double)(j * k % t->n) / (double)t->n;
  *cosine = t->scale * cos(angle);
  *sine = t->scale * t->sign * sin(angle);
}

/* A constant of the dtype of `like`, its elements to be set. */
static Data *new_data(OnnxNode *node, const Value *like, int64_t count) {
  return data_new(node->module, like->type->dtype, count);
}

static void set(Data *data, int64_t at, double value) {
  dtype_set(data->dtype, data_bytes(data), at, value);
}

static Value *constant(OnnxNode *node, Data *data, int rank, const int64_t *dims) {
  return build_const(&node->builder, type_static(node->module, data->dtype, rank, dims), data, NULL);
}

/* [rows, a, b] through a matrix [a*b, c*d] to [rows, c, d]. */
static Value *through_matrix(OnnxNode *node, Value *x, Data *matrix, int64_t ab, int64_t c, int64_t d) {
  Value *weights = constant(node, matrix, 2, (int64_t[]){ab, c * d});
  const Dim *rows = x->type->dims[0];
  Value *flat = emit_reshape(node, x, 2, (const Dim *[]){rows, number(node, ab)});
  Value *y = emit_binary(node, &op_matmul, flat, weights);
  return emit_reshape(node, y, 3, (const Dim *[]){rows, number(node, c), number(node, d)});
}

static Value *transform_small(OnnxNode *node, const Transform *t, Value *x) {
  int64_t width = 2 * t->count;
  Data *matrix = new_data(node, x, t->parts * t->n * width);
  for (int64_t j = 0; j < t->n; j++)
    for (int64_t k = 0; k < t->count; k++) {
      double cosine, sine;
      turn(t, j, k, &cosine, &sine);
      set(matrix, j * width + k, cosine);
      set(matrix, j * width + t->count + k, -sine);
      if (t->parts == 1) continue;
      set(matrix, (t->n + j) * width + k, sine);
      set(matrix, (t->n + j) * width + t->count + k, cosine);
    }
  return through_matrix(node, x, matrix, t->parts * t->n, 2, t->count);
}

/* The twiddles [n2, 2, n1] of a split transform. */
static Value *twiddles(OnnxNode *node, const Transform *t, const Value *like, int64_t n1, int64_t n2) {
  Transform plain = *t;
  plain.scale = 1;
  Data *data = new_data(node, like, 2 * t->n);
  for (int64_t j = 0; j < n2; j++)
    for (int64_t k = 0; k < n1; k++) {
      double cosine, sine;
      turn(&plain, j, k, &cosine, &sine);
      set(data, 2 * j * n1 + k, cosine);
      set(data, (2 * j + 1) * n1 + k, -sine);
    }
  return constant(node, data, 3, (int64_t[]){n2, 2, n1});
}

/* x[rows, parts, j1, j2]: transforms along j1, twiddles, transforms along j2; the result is [rows, 2, k2,
 * k1].
 */
static Value *transform_split(OnnxNode *node, const Transform *t, Value *x, int64_t n1) {
  int64_t n2 = t->n / n1;
  const Dim *rows = x->type->dims[0], *parts = number(node, t->parts), *two = number(node, 2);
  const Dim *d1 = number(node, n1), *d2 = number(node, n2);
  Transform first = {n1, n1, t->parts, t->sign, t->scale}, second = {n2, n2, 2, t->sign, 1};
  x = emit_reshape(node, x, 4, (const Dim *[]){rows, parts, d1, d2});
  x = emit_transpose(node, x, (int64_t[]){0, 3, 1, 2});
  x = emit_reshape(node, x, 3, (const Dim *[]){dim_mul(node->module, rows, d2), parts, d1});
  x = transform(node, &first, x);
  x = emit_reshape(node, x, 4, (const Dim *[]){rows, d2, two, d1});
  if (!x) return NULL;
  x = complex_product(node, x, twiddles(node, t, x, n1, n2), -2, false);
  x = emit_transpose(node, x, (int64_t[]){0, 3, 2, 1});
  x = emit_reshape(node, x, 3, (const Dim *[]){dim_mul(node->module, rows, d1), two, d2});
  x = transform(node, &second, x);
  x = emit_reshape(node, x, 4, (const Dim *[]){rows, d1, two, d2});
  x = emit_transpose(node, x, (int64_t[]){0, 2, 3, 1});
  x = emit_reshape(node, x, 3, (const Dim *[]){rows, two, number(node, t->n)});
  return t->count < t->n ? part(node, x, -1, 0, t->count) : x;
}

/* Zeros behind, or the end cut off, so that the last axis has n. */
static Value *fitted(OnnxNode *node, Value *x, int64_t n) {
  if (!x) return NULL;
  int rank = x->type->rank;
  int64_t have = x->type->dims[rank - 1]->value;
  if (have >= n) return have == n ? x : part(node, x, -1, 0, n);
  const Dim *pads[2 * MAX_RANK];
  for (int i = 0; i < 2 * rank; i++) pads[i] = number(node, i == 2 * rank - 1 ? n - have : 0);
  Node *pad = node_new(&node->builder, &op_pad, &x, 1);
  node_set_dims(pad, "pads", pads, 2 * rank);
  return finish(pad);
}

/* exp(i*turns*pi*j*j/n) for j from 0 to n - 1, as [2, size]; `around`: element size - j is that of j. */
static Value *chirp(OnnxNode *node, const Transform *t, const Value *like, double turns, double scale,
                    int64_t size, bool around) {
  Data *data = new_data(node, like, 2 * size);
  for (int64_t j = 0; j < t->n; j++) {
    double angle = turns * acos(-1) * (double)(j * j % (2 * t->n)) / (double)t->n;
    int64_t places[] = {j, around && j > 0 ? size - j : j};
    for (int i = 0; i < 2; i++) {
      set(data, places[i], scale * cos(angle));
      set(data, size + places[i], scale * sin(angle));
    }
  }
  return constant(node, data, 2, (int64_t[]){2, size});
}

/* j*k = (j*j + k*k - (k - j)*(k - j))/2: a product with a chirp, a convolution with the opposite one, and the
 * product again. */
static Value *transform_prime(OnnxNode *node, const Transform *t, Value *x) {
  int64_t size = 1;
  while (size < 2 * t->n - 1) size *= 2;
  Transform forward = {size, size, 2, 1, 1}, back = {size, size, 2, -1, 1.0 / (double)size};
  if (t->parts == 1) x = joined(node, x, emit_binary(node, &op_mul, x, emit_scalar(node, x, 0)), -2);
  if (!x) return NULL;
  Value *opposite = chirp(node, t, x, t->sign, 1, size, true);
  opposite =
      emit_reshape(node, opposite, 3, (const Dim *[]){number(node, 1), number(node, 2), number(node, size)});
  Value *before = chirp(node, t, x, -t->sign, 1, t->n, false);
  Value *after = chirp(node, t, x, -t->sign, t->scale, t->n, false);
  Value *spectrum =
      transform(node, &forward, fitted(node, complex_product(node, x, before, -2, false), size));
  Value *product = complex_product(node, spectrum, transform(node, &forward, opposite), -2, false);
  Value *y = part(node, transform(node, &back, product), -1, 0, t->n);
  y = complex_product(node, y, after, -2, false);
  return t->count < t->n ? part(node, y, -1, 0, t->count) : y;
}

static Value *transform(OnnxNode *node, const Transform *t, Value *x) {
  if (!x || t->n <= MAX_MATRIX) return x ? transform_small(node, t, x) : NULL;
  int64_t n1 = (int64_t)sqrt((double)t->n);
  while (t->n % n1 != 0) n1--;
  return n1 > 1 ? transform_split(node, t, x, n1) : transform_prime(node, t, x);
}

/* The first count = n/2 + 1 numbers of a spectrum to the n real numbers that have it. */
static Value *to_real(OnnxNode *node, const Transform *t, Value *x) {
  if (t->n <= MAX_MATRIX) {
    Data *matrix = new_data(node, x, 2 * t->count * t->n);
    for (int64_t k = 0; k < t->count; k++)
      for (int64_t j = 0; j < t->n; j++) {
        double cosine, sine, twice = k == 0 || 2 * k == t->n ? 1 : 2;
        turn(t, j, k, &cosine, &sine);
        set(matrix, k * t->n + j, twice * cosine);
        set(matrix, (t->count + k) * t->n + j, twice * sine);
      }
    return through_matrix(node, x, matrix, 2 * t->count, 1, t->n);
  }
  /* the rest is what comes before the middle, backwards and conjugated */
  const Dim *starts[] = {number(node, 0), number(node, 0), number(node, t->n - t->count)};
  const Dim *sizes[] = {x->type->dims[0], number(node, 2), starts[2]};
  Data *signs = new_data(node, x, 2);
  set(signs, 0, 1);
  set(signs, 1, -1);
  Value *rest = emit_slice(node, x, starts, sizes, (int64_t[]){1, 1, -1});
  rest = emit_binary(node, &op_mul, rest, constant(node, signs, 2, (int64_t[]){2, 1}));
  Transform full = {t->n, t->n, 2, t->sign, t->scale};
  return part(node, transform(node, &full, joined(node, x, rest, -1)), -2, 0, 1);
}

/* ---- Tensors [.., parts] */

/* A last axis of open size is taken to hold real numbers, or of a spectrum both parts. */
static Value *signal_of(OnnxNode *node, Value *x, bool is_spectrum) {
  x = emit_known_axis(node, x, -1, is_spectrum ? 2 : 1);
  if (!x) return NULL;
  int rank = x->type->rank;
  const Dim *last = rank >= 2 ? x->type->dims[rank - 1] : NULL;
  if (dtype_is_float(x->type->dtype) && last && (dim_is(last, 1) || dim_is(last, 2))) return x;
  onnx_fail(node, "a transform of %s: the last axis must hold real, or real and imaginary parts",
            type_text(node->module, x->type));
  return NULL;
}

/* The transform of rows [.., parts, have] of `length` numbers; 0: as many as there are. */
static Value *emit_rows(OnnxNode *node, Value *x, int64_t length, bool inverse, bool onesided) {
  if (!x) return NULL;
  Module *module = node->module;
  int rank = x->type->rank;
  const Dim *have = x->type->dims[rank - 1], *dims[MAX_RANK], *rows = number(node, 1);
  bool real_result = inverse && onesided;
  int64_t parts = x->type->dims[rank - 2]->value;
  if (!length && dim_is_const(have)) length = real_result ? 2 * (have->value - 1) : have->value;
  if (!dim_is_const(have) || length < 1 || length > MAX_LENGTH) {
    onnx_fail(node, "a transform of %lld numbers of an axis of size %s, which must be known and at most %d",
              (long long)length, dim_text(module, have), MAX_LENGTH);
    return NULL;
  }
  if (onesided && parts != (inverse ? 2 : 1)) {
    onnx_fail(node, "a one-sided transform of %s numbers", parts == 2 ? "complex" : "real");
    return NULL;
  }
  Transform t = {length, onesided ? length / 2 + 1 : length, (int)parts, inverse ? -1 : 1,
                 inverse ? 1 / (double)length : 1};
  x = fitted(node, x, real_result ? t.count : length);
  for (int i = 0; i < rank - 2; i++) rows = dim_mul(module, rows, dims[i] = x->type->dims[i]);
  x = emit_reshape(node, x, 3,
                   (const Dim *[]){rows, number(node, parts), number(node, real_result ? t.count : length)});
  if (!x) return NULL;
  x = real_result ? to_real(node, &t, x) : transform(node, &t, x);
  dims[rank - 2] = number(node, real_result ? 1 : 2);
  dims[rank - 1] = number(node, real_result ? length : t.count);
  return emit_reshape(node, x, rank, dims);
}

/* Of an axis of [.., parts]. */
static Value *emit_dft(OnnxNode *node, Value *x, int64_t axis, int64_t length, bool inverse, bool onesided) {
  int64_t to_rows[MAX_RANK], back[MAX_RANK];
  x = signal_of(node, x, inverse);
  if (!x) return NULL;
  int rank = x->type->rank, count = 0;
  Dtype dtype = x->type->dtype, wide = dtype == DTYPE_F64 ? DTYPE_F64 : DTYPE_F32;
  for (int i = 0; i < rank - 1; i++)
    if (i != axis) to_rows[count++] = i;
  to_rows[rank - 2] = rank - 1;
  to_rows[rank - 1] = axis;
  for (int i = 0; i < rank; i++) back[to_rows[i]] = i;
  x = emit_transpose(node, emit_cast(node, x, wide), to_rows);
  x = emit_rows(node, x, length, inverse, onesided);
  return emit_cast(node, emit_transpose(node, x, back), dtype);
}

/* A scalar that must be constant; `absent` without it. */
static bool scalar(OnnxNode *node, int index, const char *what, double absent, double *value) {
  *value = absent;
  if (!input(node, index)) return true;
  return value_scalar(input(node, index), value) || onnx_fail(node, "%s must be a constant", what);
}

static bool import_dft(OnnxNode *node) {
  Value *x = input(node, 0);
  int rank = x->type->rank;
  double length, given_axis;
  TRY(scalar(node, 1, "dft_length", 0, &length) && scalar(node, 2, "axis", -2, &given_axis));
  if (node->row->since < 20) given_axis = (double)attr_int(node, "axis", 1);
  int64_t axis = (int64_t)given_axis;
  TRY(normal_axis(node, &axis, rank));
  if (axis == rank - 1) return onnx_fail(node, "axis %lld holds real and imaginary parts", (long long)axis);
  if (input(node, 1) && !(length >= 1 && length <= MAX_LENGTH))
    return onnx_fail(node, "dft_length is %g", length);
  return set_output(node, emit_dft(node, x, axis, (int64_t)length, attr_bool(node, "inverse", false),
                                   attr_bool(node, "onesided", false)));
}

/* A signal [N,L] or [N,L,parts] as frames [N, frames, parts, size]. */
static Value *emit_frames(OnnxNode *node, Value *signal, int64_t size, int64_t step) {
  if (signal->type->rank == 2) signal = emit_unsqueeze(node, signal, 0, 1);
  signal = signal_of(node, signal, false);
  if (!signal) return NULL;
  if (signal->type->rank != 3) {
    onnx_fail(node, "a signal %s: [batch, length, parts] is wanted", type_text(node->module, signal->type));
    return NULL;
  }
  Value *x = emit_transpose(node, signal, (int64_t[]){0, 2, 1});
  if (!x) return NULL;
  Node *unfold = node_new(&node->builder, &op_unfold, &x, 1);
  node_set_int(unfold, "size", size);
  node_set_int(unfold, "step", step);
  return emit_transpose(node, finish(unfold), (int64_t[]){0, 2, 1, 3});
}

static bool import_stft(OnnxNode *node) {
  Value *signal = input(node, 0), *window = input(node, 2);
  Dtype dtype = signal->type->dtype, wide = dtype == DTYPE_F64 ? DTYPE_F64 : DTYPE_F32;
  double step, size;
  TRY(scalar(node, 1, "frame_step", 0, &step) && scalar(node, 3, "frame_length", 0, &size));
  if (window && (window->type->rank != 1 || !dim_is_const(window->type->dims[0])))
    return onnx_fail(node, "a window %s", type_text(node->module, window->type));
  if (!input(node, 3) && window) size = (double)window->type->dims[0]->value;
  if (!(step >= 1 && step <= INT32_MAX) || !(size >= 1 && size <= MAX_LENGTH))
    return onnx_fail(node, "frames of %g in steps of %g", size, step);
  if (window && (double)window->type->dims[0]->value != size)
    return onnx_fail(node, "a window %s for frames of %g", type_text(node->module, window->type), size);
  Value *frames = emit_cast(node, emit_frames(node, signal, (int64_t)size, (int64_t)step), wide);
  if (window) frames = emit_binary(node, &op_mul, frames, emit_cast(node, window, wide));
  Value *y = emit_rows(node, frames, 0, false, attr_bool(node, "onesided", true));
  return set_output(node, emit_cast(node, emit_transpose(node, y, (int64_t[]){0, 1, 3, 2}), dtype));
}

/* ---- com.microsoft */

/* The last signal_ndim axes: the last one is one-sided. */
static bool signal_axes(OnnxNode *node, int64_t rank, int64_t *count) {
  *count = attr_int(node, "signal_ndim", 1);
  if (*count < 1 || *count > 3 || *count > rank)
    return onnx_fail(node, "signal_ndim is %lld for %lld axes", (long long)*count, (long long)rank);
  if (!attr_bool(node, "onesided", true)) return onnx_fail(node, "onesided must be 1");
  return !attr_bool(node, "normalized", false) || onnx_fail(node, "normalized must be 0");
}

static bool import_rfft(OnnxNode *node) {
  int64_t count, rank = input_rank(node, 0);
  TRY(signal_axes(node, rank, &count));
  Value *x = emit_dft(node, emit_unsqueeze(node, input(node, 0), 0, 1), rank - 1, 0, false, true);
  for (int i = 2; i <= count; i++) x = emit_dft(node, x, rank - i, 0, false, false);
  return set_output(node, x);
}

static bool import_irfft(OnnxNode *node) {
  int64_t count, rank = input_rank(node, 0) - 1;
  TRY(signal_axes(node, rank, &count));
  Value *x = input(node, 0);
  for (int64_t i = count; i >= 2; i--) x = emit_dft(node, x, rank - i, 0, true, false);
  x = emit_dft(node, x, rank - 1, 0, true, true);
  return set_output(node, x ? emit_reshape(node, x, (int)rank, x->type->dims) : NULL);
}

static bool import_complex_mul(OnnxNode *node) {
  for (int i = 0; i < 2; i++) {
    const Type *type = input(node, i)->type;
    if (type->rank < 1 || !dim_is(type->dims[type->rank - 1], 2))
      return onnx_fail(node, "%s holds no complex numbers", type_text(node->module, type));
  }
  bool conjugate = strcmp(node->row->name, "com.microsoft.ComplexMulConj") == 0;
  return set_output(node, complex_product(node, input(node, 0), input(node, 1), -1, conjugate));
}

static bool import_unfold(OnnxNode *node) {
  Node *core = node_new(&node->builder, &op_unfold, node->inputs, 1);
  node_set_int(core, "axis", attr_int(node, "dim", -1));
  node_set_int(core, "size", attr_int(node, "size", 0));
  node_set_int(core, "step", attr_int(node, "step", 1));
  return set_output(node, finish(core));
}

/* ---- Mel filters */

typedef struct Mel {
  int64_t bins, spectrum; /* columns and rows of the matrix */
  double first, step;     /* of the edges of the filters, in mel */
  double per_bin;         /* bins of the spectrum per hertz */
} Mel;

static double mel_of_hertz(double hertz) {
  return 2595 * log10(1 + hertz / 700);
}

/* The bin of the spectrum at edge i. */
static int64_t mel_edge(const Mel *mel, int64_t i) {
  double hertz = 700 * (pow(10, (mel->first + (double)i * mel->step) / 2595) - 1);
  return (int64_t)floor(hertz * mel->per_bin);
}

/* A triangle from edge i over i + 1 to i + 2. */
static double mel_weight(const Mel *mel, int64_t row, int64_t i) {
  int64_t low = mel_edge(mel, i), centre = mel_edge(mel, i + 1), high = mel_edge(mel, i + 2);
  if (row < low || row > high || (row == high && row != centre)) return 0;
  if (row >= centre && high > centre) return (double)(high - row) / (double)(high - centre);
  return centre > low ? (double)(row - low) / (double)(centre - low) : 1;
}

static bool import_mel_weights(OnnxNode *node) {
  static const char *const names[] = {"num_mel_bins", "dft_length", "sample_rate", "lower_edge_hertz",
                                      "upper_edge_hertz"};
  enum { BINS, LENGTH, RATE, LOWER, UPPER, COUNT, MOST = 1 << 24 };
  double v[COUNT];
  for (int i = 0; i < COUNT; i++) TRY(scalar(node, i, names[i], 0, &v[i]));
  Dtype dtype = dtype_of_onnx(attr_int(node, "output_datatype", 1));
  if (!(v[BINS] >= 0 && v[LENGTH] >= 0 && v[BINS] * (v[LENGTH] / 2 + 1) <= MOST) || !(v[RATE] > 0) ||
      !(v[LOWER] >= 0 && v[UPPER] >= v[LOWER] && v[UPPER] <= MOST))
    return onnx_fail(node, "%g filters of %g to %g Hz for a spectrum of %g at %g Hz", v[BINS], v[LOWER],
                     v[UPPER], v[LENGTH], v[RATE]);
  if (!dtype_is_float(dtype) && !dtype_is_int(dtype))
    return onnx_fail(node, "output_datatype is %lld", (long long)attr_int(node, "output_datatype", 1));
  Mel mel = {
      .bins = (int64_t)v[BINS], .spectrum = (int64_t)v[LENGTH] / 2 + 1, .first = mel_of_hertz(v[LOWER])};
  mel.step = (mel_of_hertz(v[UPPER]) - mel.first) / (v[BINS] + 2);
  mel.per_bin = (v[LENGTH] + 1) / v[RATE];
  Data *data = data_new(node->module, dtype, mel.spectrum * mel.bins);
  for (int64_t row = 0; row < mel.spectrum; row++)
    for (int64_t i = 0; i < mel.bins; i++) set(data, row * mel.bins + i, mel_weight(&mel, row, i));
  return set_output(node, constant(node, data, 2, (int64_t[]){mel.spectrum, mel.bins}));
}

static const OnnxRow rows[] = {
    {"DFT", 17, 1, 2, import_dft, NULL},
    {"DFT", 20, 1, 3, import_dft, NULL},
    {"MelWeightMatrix", 17, 5, 5, import_mel_weights, NULL},
    {"STFT", 17, 2, 4, import_stft, NULL},
    {"com.microsoft.ComplexMul", 1, 2, 2, import_complex_mul, NULL},
    {"com.microsoft.ComplexMulConj", 1, 2, 2, import_complex_mul, NULL},
    {"com.microsoft.Irfft", 1, 1, 1, import_irfft, NULL},
    {"com.microsoft.Rfft", 1, 1, 1, import_rfft, NULL},
    {"com.microsoft.UnfoldTensor", 1, 1, 1, import_unfold, NULL},
};

const OnnxRows onnx_signal = {rows, COUNT_OF(rows)};
