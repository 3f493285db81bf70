/*
 * calibrate.h -- the mathematics of quantization and pruning without training, on plain arrays; private to
 * passes/.
 *
 *   1 integers for numbers   2 histograms and ranges   3 weights   4 rounding   5 what a bias makes up for
 *   6 fewer weights
 *
 * Matrices are row-major. Weights are [rows][k]: a row for each channel of the result, k numbers that are
 * summed over; of a convolution with groups, one group at a time. Nothing here fails on memory: what does not
 * fit ends the program, as everywhere (arena.c).
 */
#ifndef TENON_CALIBRATE_H
#define TENON_CALIBRATE_H

#include "passes/passes.h"

/* ---- 1. Integers for numbers (range.c) ------------------------------------------------------------------
 */

/* x is about (q - zero) * step with low <= q <= high. zero is such a q, so that 0 is exact. */
typedef struct Affine {
  float step; /* > 0 */
  int zero, low, high;
} Affine;

/* Those with the least step that reach from `least` to `most` and hold 0. symmetric: `zero` is in the middle,
 * for signed integers 0. */
Affine affine_of_range(double least, double most, int low, int high, bool symmetric);
/* The nearest q, of two that are as near the even one. */
int affine_round(const Affine *affine, double x);
double affine_value(const Affine *affine, int q);

/* ---- 2. Histograms and ranges (range.c) -----------------------------------------------------------------
 */

enum {
  HISTOGRAM_HALF = 2048, /* bins for numbers of one sign */
  HISTOGRAM_DISTINCT = 256
};

/* The numbers that a value had. Zeros are in no bin: they are exact whatever the range. Starts as all 0. */
typedef struct Histogram {
  double least, most; /* of all numbers and 0 */
  double width;       /* of a bin; 0: no number but 0 was there */
  int64_t count;      /* with zeros; without what is not finite */
  /* Of the numbers in [i - HALF, i + 1 - HALF) * width: how many there are, and their sum. */
  int64_t bins[2 * HISTOGRAM_HALF];
  double sums[2 * HISTOGRAM_HALF];
  /* The different numbers, in order; one more than fit: there are others. */
  float distinct[HISTOGRAM_DISTINCT];
  int distinct_count;
} Histogram;

/* Bins grow to twice their width as often as it takes. */
void histogram_add(Histogram *histogram, const float *x, int64_t count);

/* Numbers that are all whole multiples of a step apart, as those of images are however they were scaled: x is
 * exactly (q - zero) * step + *offset, where |*offset| is at most half a step. False when they are not, or
 * too few to tell. */
bool affine_find(const Histogram *histogram, int low, int high, Affine *affine, double *offset);
Affine affine_fit(const Histogram *histogram, RangeMethod method, int low, int high, bool symmetric);
/* Mean of (x - its approximation)^2. */
double affine_error(const Histogram *histogram, const Affine *affine);

/* ---- 3. Weights (range.c) -------------------------------------------------------------------------------
 */

/* Weights as integers: that of row r and column j is about (q - zero) * step, the step and zero being those
 * of number r * grid_groups + j / group. */
typedef struct Grid {
  int rows, k;
  int group;     /* columns that share a step: k, or fewer */
  int low, high; /* within int8_t */
  float *step;
  int *zero; /* NULL: all 0 */
} Grid;

int grid_groups(const Grid *grid); /* in a row */
/* Fills step, and zero where there is one. By minmax or mse, where an error in column j counts importance[j]
 * times (NULL: all the same): the diagonal of the Hessian. */
void grid_fit(const Grid *grid, const float *weights, const double *importance, RangeMethod method);
Affine grid_affine(const Grid *grid, int row, int column);

/* ---- 4. Rounding (gptq.c) -------------------------------------------------------------------------------
 */

/* hessian[k][k] += x^T x of x[count][k], whose rows are `stride` floats apart. Here and below of a Hessian
 * only the elements [i][j], i <= j, count. */
void hessian_add(double *hessian, int k, const float *x, int64_t count, int64_t stride);
/* The columns, those with the least elements on the diagonal first. */
int *hessian_order(Arena *arena, const double *hessian, int k);
/* The upper triangular M with M^T M = the Hessian with damping[k] added to its diagonal, columns in that
 * order; NULL when there is none. */
double *hessian_factor(Arena *arena, const double *hessian, const double *damping, const int *order, int k);
/* q[rows][k]: each weight to the nearest. */
void grid_round(const Grid *grid, const float *weights, int8_t *q);
/* q[rows][k] with about the least grid_error: GPTQ. False when the Hessian is not finite. */
bool gptq_round(const Grid *grid, const float *weights, const double *hessian, int8_t *q);
/* The sum over rows of e H e^T, e being weights minus their approximation: the squared error of all results,
 * summed over what the Hessian was summed over. */
double grid_error(const Grid *grid, const float *weights, const int8_t *q, const double *hessian);

/* ---- 5. What a bias makes up for (gptq.c) ---------------------------------------------------------------
 */

/* shift[rows]: what to add to a product's results so that their mean stays: w mean - w' rounded, for the
 * means [k] of what the weights meet before and after quantization, w' being what q stands for (Nagel et al.
 * 2019, section 4.2). */
void bias_shift(const Grid *grid, const float *weights, const int8_t *q, const double *mean,
                const double *rounded, double *shift);

/* ---- 6. Fewer weights (refit.c) -------------------------------------------------------------------------
 */

/* Sums over places of products of what is met, x[k], and of what is to be given there, y[rows]. */
typedef struct Moments {
  int rows, k;
  double count;    /* of places */
  double *xx, *yx; /* [k][k], of which [i][j] with i <= j count; [rows][k] */
  double *x, *y;   /* [k], [rows] */
  double yy;       /* of y with itself */
} Moments;

/* What is added to the diagonal of xx, whose squares[k] are `stride` apart: 1 % of what is there, so that it
 * does not matter in what unit a column is, but at least 0.1 % of the mean: of what hardly varies samples say
 * little. */
double *damping_of(Arena *arena, const double *squares, int64_t stride, int k);

Moments moments_new(Arena *arena, int rows, int k);
void moments_add(Moments *moments, const float *x, const float *y,
                 int64_t count); /* x[count][k], y[count][rows] */
/* From now on products are those of what x and y are off their means: a bias is free. */
void moments_center(Moments *moments);
/* The sum over places of |y - weights x|^2. */
double moments_error(const Moments *moments, const float *weights);
/* weights[rows][k] become those with about the least error; as they are where x says nothing. False, and they
 * stay, when there are none. */
bool moments_refit(const Moments *moments, float *weights);
/* The upper triangular root[k][k] of the products, with 10 % of each of the diagonal, and of its mean at
 * least, added there, in parts of that mean: of x = root^T z the z vary about as much, and independently, but
 * less where x hardly does. False when there is none. */
bool moments_root(const Moments *moments, float *root);
/* bias[rows] that makes the means of y right. */
void moments_bias(const Moments *moments, const float *weights, double *bias);

/* The same of products that have too many columns for that (wide.c): x and y of the places themselves. */
typedef struct Pairs {
  int rows, k;
  int64_t room, fitted, apart; /* places there can be, that are fitted to, that only judge the fit */
  float *x, *y;                /* [room][k], [room][rows] */
  double *x_mean, *y_mean;     /* that were taken off */
} Pairs;

Pairs pairs_new(Arena *arena, int rows, int k, int64_t room);
void pairs_add(Pairs *pairs, const float *x, const float *y, int64_t count); /* as many as there is room */
void pairs_center(Pairs *pairs);
double pairs_signal(const Pairs *pairs); /* the sum of |y|^2 */
double pairs_error(const Pairs *pairs, const float *weights);
/* Weights that are 0 stay. */
void pairs_refit(const Pairs *pairs, float *weights);
void pairs_bias(const Pairs *pairs, const float *weights, double *bias);

/* losses[k]: what W x loses with each column of W, when those that lose least go first and the others make up
 * for them (the optimal brain surgeon, Hassibi and Stork 1992, for columns). gram[k][k]: W^T W; of it, too,
 * the elements [i][j] with i <= j count. */
void elimination_losses(int k, const double *xx, const double *gram, double *losses);

/* Which weights of a matrix [rows][k] become 0. */
typedef struct Sparsity {
  int rows, k;
  int block_rows;    /* rows that lose a column together: those with the same row / block_rows; 1: each for
                        itself */
  int block_columns; /* neighbours in the order that is given, a divisor of 128 and of k, that go together */
  int group,
      kept; /* of each run of `group` columns in the order that is given, a divisor of 128, so many stay; */
  double share; /* group 0: this share of all becomes 0 */
} Sparsity;

/* Sets weights to 0 and changes the others so that the least is lost over what xx was summed over. order[k]:
 * of columns; NULL: the best for it. Without xx, which is NULL, those go that are least with what they meet,
 * whose mean square is importance[k], and the others stay as they are. False when xx is not finite. */
bool sparsify(const Sparsity *sparsity, const int *order, const double *importance, const double *xx,
              float *weights);

#endif
