/*
 * checkop.h -- what the files of cases share: a graph that grows by a case at a time.
 */
#ifndef TENON_TESTS_CHECKOP_H
#define TENON_TESTS_CHECKOP_H

#include "codegen/codegen.h"

typedef struct Check {
  Module *module;
  bool parts;   /* inputs are slices of larger ones, results are parts of a concat */
  bool once;    /* so it is for every other case */
  double zeros; /* share of the weights that are 0 */
  bool single;  /* any of them, else in blocks of columns and rows */
  bool halves;  /* two of each four rows of a column instead */
  Builder builder;
  uint64_t seed;
  int count;
  Value *outputs[640];
  const char *names[640];
} Check;

enum { OPEN = -1, OPEN_SIZE = 21 }; /* a size that the library gets to know when it runs */

#define NAME(...) arena_printf(check->module->arena, __VA_ARGS__)

/* ---- build.c ---- */

/* Uniform in [-1, 1). */
double next_random(Check *check);
/* Of f32. */
const Type *shape(Check *check, int rank, const int64_t *dims);
/* Of f32; sizes may be OPEN. */
const Type *open_shape(Check *check, int rank, const int64_t *dims);
/* The columns but the first two and the last of `whole`, which is an input. */
Value *middle_columns(Check *check, Value *whole, const Type *type);
Value *input(Check *check, int rank, const int64_t *dims);
/* Data as a constant, with zeros if the check wants them. */
Value *weight_of(Check *check, const Type *type, Data *data);
/* Of numbers in [-size, size); weight: in [-1, 1). */
Value *weight_within(Check *check, int rank, const int64_t *dims, double size);
Value *weight(Check *check, int rank, const int64_t *dims);
/* The value is a result of the graph, as the check wants it. */
void done(Check *check, Value *value, char *name);

/* ---- a case each ---- */

typedef struct ConvCase {
  int64_t n, h, w, c, m, kh, kw, stride, dilation, pad, group;
} ConvCase;

void add_gemm(Check *check, int64_t m, int64_t k, int64_t n, bool bias, bool relu);
void add_conv(Check *check, const ConvCase *c, bool nhwc, bool residual);
void add_integer_gemm(Check *check, int64_t m, int64_t k, int64_t n, int variant);
void add_integer_conv(Check *check, const ConvCase *c, int variant);
void add_half_gemm(Check *check, Dtype dtype, bool wide, int64_t m, int64_t k, int64_t n);
void add_half_conv(Check *check, Dtype dtype, bool wide, const ConvCase *c);

/* ---- families ---- */

void integer_cases(Check *check);
void gemm_cases(Check *check);
void matmul_cases(Check *check);
void conv_cases(Check *check);
void winograd_cases(Check *check);
void transposed_cases(Check *check);
void depthwise_cases(Check *check);
void pool_cases(Check *check);
void row_cases(Check *check);
void movement_cases(Check *check);
void cell_cases(Check *check);
void attention_cases(Check *check);
void tree_cases(Check *check);
void half_cases(Check *check);
void blocks_cases(Check *check);
void sparse_cases(Check *check);

#endif
