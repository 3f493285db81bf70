/*
 * gptq.c -- which integers weights become, so that the results of their product change least.
 *
 * With e = w - w' the error of a row, e H e^T is the squared error of its results over the samples of H = sum
 * of x x^T. GPTQ (Frantar et al. 2022, arXiv 2210.17323) rounds one column after the other and lets the
 * columns that are left make up for the error. That is Babai's nearest plane: with H = M^T M, M upper
 * triangular, the squared error is
 *
 *   sum over i of (sum over j >= i of m[i][j] e[j])^2
 *
 * and, from the last column to the first, e[i] can cancel what e[i+1] ... have left in term i:
 *
 *   w'[i] = nearest(w[i] + sum over j > i of m[i][j] e[j] / m[i][i])
 *
 * So one Cholesky factorization is all it takes, where the paper inverts H and factors that; the integers are
 * the same. Columns that matter most, those with the largest H[j][j], come first. Their sums over columns
 * that are done are a matrix product for each block of columns.
 *
 * H is dampened by 1 % of the mean of its diagonal, so that it has a factor; columns that were always 0 then
 * have no others to make up for and are rounded to the nearest. Weights that are 0 stay so, as pruned ones
 * do.
 */
#include "passes/calibrate.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>

#include "ir/ir.h"

void hessian_add(double *hessian, int k, const float *x, int64_t count, int64_t stride) {
  enum { BLOCK = 256 };
  Arena *arena = arena_new();
  double *block = NEW_ARRAY(arena, double, (int64_t)BLOCK *k);
  for (int64_t first = 0; first < count; first += BLOCK) {
    int rows = count - first < BLOCK ? (int)(count - first) : BLOCK;
    for (int r = 0; r < rows; r++)
      for (int j = 0; j < k; j++) block[(int64_t)r * k + j] = x[(first + r) * stride + j];
    cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, k, rows, 1, block, k, 1, hessian, k);
  }
  arena_free(arena);
}

void grid_round(const Grid *grid, const float *weights, int8_t *q) {
  for (int row = 0; row < grid->rows; row++) {
    for (int j = 0; j < grid->k; j++) {
      int64_t i = (int64_t)row * grid->k + j;
      Affine affine = grid_affine(grid, row, j);
      q[i] = (int8_t)affine_round(&affine, weights[i]);
    }
  }
}

/* ---- GPTQ ---- */

/* A column in the order of the factor: number `column`, with its element of the diagonal of H. */
typedef struct Rank {
  double weight;
  int column;
} Rank;

static int compare_ranks(const void *a, const void *b) {
  const Rank *x = a, *y = b;
  if (x->weight != y->weight) return x->weight < y->weight ? -1 : 1;
  return (x->column < y->column) - (x->column > y->column);
}

int *hessian_order(Arena *arena, const double *hessian, int k) {
  Rank *ranks = NEW_ARRAY(arena, Rank, k);
  int *order = NEW_ARRAY(arena, int, k);
  for (int j = 0; j < k; j++) ranks[j] = (Rank){hessian[(int64_t)j * k + j], j};
  qsort(ranks, (size_t)k, sizeof *ranks, compare_ranks);
  for (int j = 0; j < k; j++) order[j] = ranks[j].column;
  return order;
}

double *hessian_factor(Arena *arena, const double *hessian, const double *damping, const int *order, int k) {
  double *m = NEW_ARRAY(arena, double, (int64_t)k *k);
  for (int i = 0; i < k; i++) {
    for (int j = i; j < k; j++) {
      int a = order[i], b = order[j];
      m[(int64_t)i * k + j] = a < b ? hessian[(int64_t)a * k + b] : hessian[(int64_t)b * k + a];
    }
    m[(int64_t)i * k + i] += damping[order[i]];
  }
  /* The upper triangle by rows is the lower one by columns, which LAPACK needs no copy for. */
  return LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', k, m, k) == 0 ? m : NULL;
}

/* The columns [begin, end), in that order, of one row; `left` is what later columns add to each. */
static void round_block(const Grid *grid, int row, const float *weights, const double *m, const int *order,
                        int begin, int end, const double *left, double *errors, int8_t *q) {
  int k = grid->k;
  for (int i = end - 1; i >= begin; i--) {
    const double *mi = m + (int64_t)i * k;
    double sum = left[i - begin];
    for (int j = i + 1; j < end; j++) sum += mi[j] * errors[j];
    int column = order[i];
    Affine affine = grid_affine(grid, row, column);
    double wanted = weights[column] == 0 ? 0 : weights[column] + sum / mi[i]; /* kernels may skip zeros */
    int rounded = affine_round(&affine, wanted);
    q[column] = (int8_t)rounded;
    errors[i] = weights[column] - affine_value(&affine, rounded);
  }
}

/* In the scale of what most columns meet: what a column that meets next to nothing makes up for would be
 * large. */
static double *even_damping(Arena *arena, const double *hessian, int k) {
  const double share = 0.01;
  double *damping = NEW_ARRAY(arena, double, k), mean = 0;
  for (int i = 0; i < k; i++) mean += hessian[(int64_t)i * (k + 1)] / k;
  for (int i = 0; i < k; i++) damping[i] = mean > 0 ? share * mean : share;
  return damping;
}

bool gptq_round(const Grid *grid, const float *weights, const double *hessian, int8_t *q) {
  enum { BLOCK = 128 };
  int rows = grid->rows, k = grid->k;
  Arena *arena = arena_new();
  int *order = hessian_order(arena, hessian, k);
  double *m = hessian_factor(arena, hessian, even_damping(arena, hessian, k), order, k);
  double *errors = NEW_ARRAY(arena, double, (int64_t)rows *k); /* [rows][k], in that order */
  double *left = NEW_ARRAY(arena, double, (int64_t)rows *BLOCK);
  for (int end = k, begin; m && end > 0; end = begin) {
    begin = end > BLOCK ? end - BLOCK : 0;
    if (end < k)
      cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, end - begin, k - end, 1, errors + end, k,
                  m + (int64_t)begin * k + end, k, 0, left, BLOCK);
    for (int row = 0; row < rows; row++) {
      int64_t at = (int64_t)row * k;
      round_block(grid, row, weights + at, m, order, begin, end, left + (int64_t)row * BLOCK, errors + at,
                  q + at);
    }
  }
  arena_free(arena);
  return m != NULL;
}

/* ---- what became of it ---- */

double grid_error(const Grid *grid, const float *weights, const int8_t *q, const double *hessian) {
  int rows = grid->rows, k = grid->k;
  int64_t count = (int64_t)rows * k;
  Arena *arena = arena_new();
  double *errors = NEW_ARRAY(arena, double, count), *weighted = NEW_ARRAY(arena, double, count);
  for (int64_t i = 0; i < count; i++) {
    Affine affine = grid_affine(grid, (int)(i / k), (int)(i % k));
    errors[i] = weights[i] - affine_value(&affine, q[i]);
  }
  cblas_dsymm(CblasRowMajor, CblasRight, CblasUpper, rows, k, 1, hessian, k, errors, k, 0, weighted, k);
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += errors[i] * weighted[i];
  arena_free(arena);
  return sum;
}

void bias_shift(const Grid *grid, const float *weights, const int8_t *q, const double *mean,
                const double *rounded, double *shift) {
  for (int row = 0; row < grid->rows; row++) {
    shift[row] = 0;
    for (int j = 0; j < grid->k; j++) {
      int64_t i = (int64_t)row * grid->k + j;
      Affine affine = grid_affine(grid, row, j);
      shift[row] += weights[i] * mean[j] - affine_value(&affine, q[i]) * rounded[j];
    }
  }
}
