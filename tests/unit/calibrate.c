/*
 * The mathematics of calibration (passes/calibrate.h) against brute force: ranges against all ranges, GPTQ
 * against the elimination that its paper describes, errors against sums over samples.
 */
#include "passes/calibrate.h"

#include <math.h>
#include <stdlib.h>

#include "tests/test.h"

static uint64_t random_state;

static double uniform(void) { /* in [0, 1) */
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (double)(random_state >> 33) / 0x1p31;
}

static double normal(void) {
  return sqrt(-2 * log(1 - uniform())) * cos(6.283185307179586 * uniform());
}

/* ---- ranges ---- */

TEST(affine) {
  Affine bytes = affine_of_range(-1, 3, 0, 255, false);
  CHECK_NEAR(bytes.step, 4.0 / 255, 1e-9);
  CHECK_INT(bytes.zero, 64); /* 63.75 */
  CHECK(affine_value(&bytes, bytes.zero) == 0);
  CHECK_INT(affine_round(&bytes, 100), 255);
  CHECK_INT(affine_round(&bytes, -100), 0);
  CHECK_INT(affine_round(&bytes, 2.5 * bytes.step), 66);
  Affine positive = affine_of_range(2, 3, 0, 255, false);
  CHECK_INT(positive.zero, 0);
  CHECK_NEAR(positive.step, 3.0 / 255, 1e-9);
  Affine negative = affine_of_range(-3, -2, -128, 127, false);
  CHECK_INT(negative.zero, 127);
  Affine symmetric = affine_of_range(-1, 3, -127, 127, true);
  CHECK_INT(symmetric.zero, 0);
  CHECK_NEAR(symmetric.step, 3.0 / 127, 1e-9);
  CHECK_INT(affine_of_range(-1, 3, 0, 255, true).zero, 128);
  CHECK_INT(affine_of_range(-1, 3, -8, 7, true).zero, 0);
  Affine nothing = affine_of_range(0, 0, 0, 255, false);
  CHECK(nothing.step == 1 && affine_value(&nothing, affine_round(&nothing, 0)) == 0);
}

enum { SAMPLES = 20000 };

static double sample_error(const float *x, int count, Affine affine) {
  double sum = 0;
  for (int i = 0; i < count; i++) {
    double away = x[i] - affine_value(&affine, affine_round(&affine, x[i]));
    sum += away * away;
  }
  return sum / count;
}

static Histogram *histogram_of(const float *x, int count) {
  Histogram *histogram = calloc(1, sizeof *histogram);
  for (int i = 0; i < count; i += 100) histogram_add(histogram, x + i, i + 100 < count ? 100 : count - i);
  return histogram;
}

/* Laplace's distribution above -0.5, and zeros: much as activations are. */
static float *skewed_samples(void) {
  static float x[SAMPLES];
  random_state = 1;
  for (int i = 0; i < SAMPLES; i++) {
    x[i] = (float)-log(1 - uniform()) * (i % 2 ? 1 : -1);
    if (x[i] < -0.5F) x[i] = (float)(-0.5 * uniform());
    if (i % 5 == 0) x[i] = 0;
  }
  return x;
}

TEST(histogram) {
  const float *x = skewed_samples();
  Histogram *histogram = histogram_of(x, SAMPLES);
  float odd[] = {INFINITY, -INFINITY, NAN, -1e-30F, 1e-30F, 0};
  histogram_add(histogram, odd, 6);
  CHECK_INT(histogram->count, SAMPLES + 3);
  CHECK(histogram->least < -0.49 && histogram->least >= -0.5);
  static int64_t bins[2 * HISTOGRAM_HALF];
  for (int i = 0; i < SAMPLES; i++)
    if (x[i] != 0) bins[HISTOGRAM_HALF + (int)floor(x[i] / histogram->width)]++;
  bins[HISTOGRAM_HALF]++;
  bins[HISTOGRAM_HALF - 1]++;
  int64_t differences = 0;
  for (int i = 0; i < 2 * HISTOGRAM_HALF; i++) differences += llabs(bins[i] - histogram->bins[i]);
  CHECK(differences <= 4); /* numbers on the edge of two bins */
  CHECK(histogram->most < HISTOGRAM_HALF * histogram->width);
  CHECK(histogram->most > 0.49 * HISTOGRAM_HALF * histogram->width);
  free(histogram);
}

TEST(no_numbers) {
  Histogram *histogram = calloc(1, sizeof *histogram);
  for (int method = RANGE_MINMAX; method <= RANGE_ENTROPY; method++)
    CHECK(affine_fit(histogram, (RangeMethod)method, 0, 255, false).step == 1);
  histogram_add(histogram, (float[]){0, 0, 0}, 3);
  for (int method = RANGE_MINMAX; method <= RANGE_ENTROPY; method++)
    CHECK(affine_fit(histogram, (RangeMethod)method, 0, 255, false).step == 1);
  free(histogram);
}

/* Pixels of 8 bits that were scaled: each number is exact, 0 may lie between two of them. */
TEST(exact_numbers) {
  static const struct {
    int least, most; /* pixels that are met */
    double mean, scale;
    int zero;      /* at least */
    double offset; /* in steps */
  } cases[] = {{0, 255, 0, 1.0 / 255, 0, 0},
               {0, 200, 0, 1.0 / 255, 0, 0},
               {0, 255, 127.5, 1 / 127.5, 128, 0.5},
               {3, 250, 127.5, 0.0078125, 125, 0.5},
               {0, 255, 128, 1, 128, 0},
               {0, 255, 255, 1, 255, 0},
               {0, 255, 103.53, 1 / 57.375, 104, 0.47}};
  for (int c = 0; c < COUNT_OF(cases); c++) {
    Histogram *histogram = calloc(1, sizeof *histogram);
    Affine affine;
    double offset;
    for (int pixel = cases[c].most; pixel >= cases[c].least; pixel--)
      histogram_add(histogram, (float[]){(float)((pixel - cases[c].mean) * cases[c].scale)}, 1);
    CHECK(affine_find(histogram, 0, 255, &affine, &offset));
    CHECK_NEAR(affine.step, cases[c].scale, 1e-6 * cases[c].scale);
    CHECK_NEAR(fabs(offset), cases[c].offset * cases[c].scale, 1e-4 * cases[c].scale);
    CHECK(affine.zero >= cases[c].zero && affine.zero <= 255);
    for (int pixel = cases[c].least; pixel <= cases[c].most; pixel++) {
      double x = (pixel - cases[c].mean) * cases[c].scale;
      double near = affine_value(&affine, affine_round(&affine, x - offset)) + offset;
      CHECK_NEAR(near, x, 1e-4 * cases[c].scale);
    }
    free(histogram);
  }
}

TEST(numbers_that_are_not_exact) {
  float x[300];
  Affine affine;
  double offset;
  for (int kind = 0; kind < 4; kind++) { /* any; squares; too few; too many */
    static const int counts[] = {100, 100, 8, 300};
    Histogram *histogram = calloc(1, sizeof *histogram);
    random_state = 1;
    for (int i = 0; i < counts[kind]; i++)
      x[i] = kind == 0 ? (float)uniform() : kind == 1 ? (float)(i * i) : (float)i;
    histogram_add(histogram, x, counts[kind]);
    CHECK(!affine_find(histogram, 0, 255, &affine, &offset));
    free(histogram);
  }
}

/* The least error over a fine grid of ranges. */
static double least_error(const float *x, int count, double least, double most, int low, int high) {
  double best = INFINITY;
  for (int i = 0; i <= 24; i++)
    for (int j = 1; j <= 100; j++)
      best = fmin(best,
                  sample_error(x, count, affine_of_range(least * i / 24, most * j / 100, low, high, false)));
  return best;
}

TEST(least_squares) {
  const float *x = skewed_samples();
  Histogram *histogram = histogram_of(x, SAMPLES);
  const struct {
    int low, high;
  } bounds[] = {{0, 255}, {-128, 127}, {0, 15}, {-8, 7}};
  for (int i = 0; i < 4; i++) {
    int low = bounds[i].low, high = bounds[i].high;
    Affine fit = affine_fit(histogram, RANGE_MSE, low, high, false);
    Affine all = affine_fit(histogram, RANGE_MINMAX, low, high, false);
    double error = sample_error(x, SAMPLES, fit);
    CHECK(error <= sample_error(x, SAMPLES, all) * 1.001);
    double best = least_error(x, SAMPLES / 4, histogram->least, histogram->most, low, high);
    CHECK(sample_error(x, SAMPLES / 4, fit) <= 1.1 * best);
    CHECK_NEAR(affine_error(histogram, &fit), error, 0.05 * error);
  }
  Affine middle = affine_fit(histogram, RANGE_MSE, -127, 127, true);
  CHECK_INT(middle.zero, 0);
  free(histogram);
}

TEST(outliers) {
  static float x[SAMPLES];
  random_state = 2;
  for (int i = 0; i < SAMPLES; i++) x[i] = (float)normal();
  x[7] = 1000;
  Histogram *histogram = histogram_of(x, SAMPLES);
  CHECK_NEAR(affine_fit(histogram, RANGE_MINMAX, -127, 127, true).step, 1000.0 / 127, 1e-4);
  double seven = 7.0 / 127; /* no other is as far from 0 */
  CHECK(affine_fit(histogram, RANGE_PERCENTILE, -127, 127, true).step < seven);
  CHECK(affine_fit(histogram, RANGE_ENTROPY, -127, 127, true).step < 1000.0 / 127 / 4);
  free(histogram);
  for (int i = 0; i < SAMPLES; i++) x[i] = (float)(2 * uniform() - 1);
  histogram = histogram_of(x, SAMPLES);
  CHECK(affine_fit(histogram, RANGE_PERCENTILE, -127, 127, true).step > 0.99F / 127);
  CHECK(affine_fit(histogram, RANGE_ENTROPY, -127, 127, true).step > 0.95F / 127);
  CHECK(affine_fit(histogram, RANGE_MSE, -127, 127, true).step > 0.97F / 127);
  free(histogram);
}

/* ---- weights ---- */

TEST(grid) {
  float weights[2][7] = {{1, -1, 0.5F, 10, 0, 0, -2}, {0, 0, 0, 3, 4, 5, 6}}, step[2][3];
  int zero[2][3];
  Grid grid = {2, 7, 3, -127, 127, step[0], NULL};
  CHECK_INT(grid_groups(&grid), 3);
  grid_fit(&grid, weights[0], NULL, RANGE_MINMAX);
  CHECK_NEAR(step[0][0], 1.0 / 127, 1e-9);
  CHECK_NEAR(step[0][1], 10.0 / 127, 1e-9);
  CHECK_NEAR(step[0][2], 2.0 / 127, 1e-9);
  CHECK(step[1][0] == 1);
  CHECK_NEAR(step[1][2], 6.0 / 127, 1e-9);
  Grid nibbles = {2, 7, 3, 0, 15, step[0], zero[0]};
  grid_fit(&nibbles, weights[0], NULL, RANGE_MINMAX);
  CHECK_NEAR(step[0][0], 2.0 / 15, 1e-8);
  CHECK_INT(zero[0][0], 8); /* 7.5 */
  CHECK_INT(zero[0][2], 15);
  int8_t q[2][7];
  grid_round(&nibbles, weights[0], q[0]);
  CHECK_INT(q[0][0], 15);
  CHECK_INT(q[0][6], 0);
  CHECK_INT(q[1][4], 12);
}

TEST(grid_of_least_error) {
  float weights[256], step;
  double importance[256];
  random_state = 3;
  for (int i = 0; i < 256; i++) weights[i] = (float)normal();
  weights[5] = 5;
  for (int i = 0; i < 256; i++) importance[i] = i == 5 ? 1000 : 1;
  Grid grid = {1, 256, 256, -7, 7, &step, NULL};
  grid_fit(&grid, weights, NULL, RANGE_MSE);
  double fitted = sample_error(weights, 256, grid_affine(&grid, 0, 0)), best = INFINITY;
  CHECK(step < 4.5F / 7);
  for (int i = 1; i <= 1000; i++)
    best = fmin(best, sample_error(weights, 256, affine_of_range(0, 5.0 * i / 1000, -7, 7, true)));
  CHECK(fitted <= 1.05 * best);
  grid_fit(&grid, weights, importance, RANGE_MSE);
  CHECK_NEAR(step, 5.0 / 7, 0.1); /* it counts more than all others */
}

/* ---- rounding ---- */

enum { ROWS = 4, MOST_COLUMNS = 300 };

typedef struct Case {
  int k;
  float weights[ROWS * MOST_COLUMNS], step[ROWS];
  double hessian[MOST_COLUMNS * MOST_COLUMNS];
  int8_t q[ROWS * MOST_COLUMNS], nearest[ROWS * MOST_COLUMNS];
  Grid grid;
} Case;

/* Random weights, and a Hessian of samples whose columns share a part. */
static Case *case_new(int k, int high, double shared) {
  enum { COUNT = 500 };
  Case *c = calloc(1, sizeof *c);
  float *x = calloc((size_t)COUNT * (size_t)k, sizeof *x);
  c->k = k;
  c->grid = (Grid){ROWS, k, k, -high, high, c->step, NULL};
  for (int i = 0; i < ROWS * k; i++) c->weights[i] = (float)normal();
  for (int r = 0; r < COUNT; r++) {
    double common = shared * normal();
    for (int j = 0; j < k; j++) x[r * k + j] = (float)((common + normal()) * (1 + j % 3));
  }
  hessian_add(c->hessian, k, x, COUNT, k);
  grid_fit(&c->grid, c->weights, NULL, RANGE_MINMAX);
  grid_round(&c->grid, c->weights, c->nearest);
  free(x);
  return c;
}

static double hessian_at(const Case *c, int i, int j) {
  return i < j ? c->hessian[i * c->k + j] : c->hessian[j * c->k + i];
}

/* The inverse of a positive definite matrix, by elimination. */
static void invert(double *a, int k) {
  for (int p = 0; p < k; p++) {
    double pivot = a[p * k + p];
    a[p * k + p] = 1;
    for (int j = 0; j < k; j++) a[p * k + j] /= pivot;
    for (int i = 0; i < k; i++) {
      double factor = a[i * k + p];
      if (i == p) continue;
      a[i * k + p] = 0;
      for (int j = 0; j < k; j++) a[i * k + j] -= factor * a[p * k + j];
    }
  }
}

/* Optimal brain quantization as its paper has it: the inverse, a column at a time, the rest made up. */
static void round_by_elimination(const Case *c, int8_t *q) {
  int k = c->k;
  double *inverse = calloc((size_t)k * (size_t)k, sizeof *inverse), w[ROWS][MOST_COLUMNS], mean = 0;
  bool done[MOST_COLUMNS] = {0};
  for (int i = 0; i < k; i++) mean += hessian_at(c, i, i) / k;
  for (int i = 0; i < k * k; i++)
    inverse[i] = hessian_at(c, i / k, i % k) + (i / k == i % k ? 0.01 * mean : 0);
  invert(inverse, k);
  for (int i = 0; i < ROWS * k; i++) w[i / k][i % k] = c->weights[i];
  for (int count = 0; count < k; count++) {
    int p = -1;
    for (int j = 0; j < k; j++)
      if (!done[j] && (p < 0 || hessian_at(c, j, j) > hessian_at(c, p, p))) p = j;
    done[p] = true;
    for (int row = 0; row < ROWS; row++) {
      Affine affine = grid_affine(&c->grid, row, p);
      q[row * k + p] = (int8_t)affine_round(&affine, w[row][p]);
      double error = (w[row][p] - affine_value(&affine, q[row * k + p])) / inverse[p * k + p];
      for (int j = 0; j < k; j++)
        if (!done[j]) w[row][j] -= error * inverse[p * k + j];
    }
    for (int i = 0; i < k; i++)
      for (int j = 0; j < k; j++)
        if (!done[i] && !done[j])
          inverse[i * k + j] -= inverse[i * k + p] * inverse[p * k + j] / inverse[p * k + p];
  }
  free(inverse);
}

TEST(hessian) {
  float x[3][4] = {{1, 2, 3, 100}, {-1, 0, 2, 100}, {4, 1, 0, 100}};
  double hessian[9] = {0};
  hessian_add(hessian, 3, x[0], 3, 4);
  hessian_add(hessian, 3, x[0], 1, 4);
  const double want[9] = {19, 8, 4, 0, 9, 12, 0, 0, 22};
  for (int i = 0; i < 9; i++)
    if (i / 3 <= i % 3) CHECK_NEAR(hessian[i], want[i], 0);
}

TEST(gptq_is_elimination) {
  static const int sizes[] = {1, 2, 7, 129, MOST_COLUMNS};
  random_state = 4;
  for (int i = 0; i < 5; i++) {
    Case *c = case_new(sizes[i], 7, 2);
    int8_t want[ROWS * MOST_COLUMNS];
    int differences = 0;
    round_by_elimination(c, want);
    CHECK(gptq_round(&c->grid, c->weights, c->hessian, c->q));
    for (int j = 0; j < ROWS * c->k; j++) differences += c->q[j] != want[j];
    CHECK_INT(differences, 0);
    free(c);
  }
}

TEST(gptq_is_better) {
  random_state = 5;
  double sum = 0, nearest_sum = 0;
  for (int i = 0; i < 20; i++) {
    Case *c = case_new(20 + i, i % 2 ? 127 : 7, 1);
    CHECK(gptq_round(&c->grid, c->weights, c->hessian, c->q));
    double error = grid_error(&c->grid, c->weights, c->q, c->hessian);
    double of_nearest = grid_error(&c->grid, c->weights, c->nearest, c->hessian);
    CHECK(error < of_nearest);
    sum += error;
    nearest_sum += of_nearest;
    free(c);
  }
  CHECK(sum < 0.7 * nearest_sum);
}

/* All integers of three columns: none is better by much. */
TEST(gptq_is_near_the_best) {
  random_state = 6;
  double sum = 0, best_sum = 0;
  for (int i = 0; i < 20; i++) {
    Case *c = case_new(3, 3, 1);
    CHECK(gptq_round(&c->grid, c->weights, c->hessian, c->q));
    Grid first = c->grid;
    first.rows = 1;
    double best = INFINITY;
    for (int n = 0; n < 7 * 7 * 7; n++) {
      int8_t q[3] = {(int8_t)(n % 7 - 3), (int8_t)(n / 7 % 7 - 3), (int8_t)(n / 49 - 3)};
      best = fmin(best, grid_error(&first, c->weights, q, c->hessian));
    }
    double error = grid_error(&first, c->weights, c->q, c->hessian);
    CHECK(error >= best * (1 - 1e-9));
    sum += error;
    best_sum += best;
    free(c);
  }
  CHECK(sum < 1.3 * best_sum);
}

TEST(gptq_without_correlation) {
  random_state = 7;
  Case *c = case_new(50, 7, 1);
  for (int i = 0; i < 50 * 50; i++)
    if (i / 50 != i % 50) c->hessian[i] = 0;
  CHECK(gptq_round(&c->grid, c->weights, c->hessian, c->q));
  CHECK(memcmp(c->q, c->nearest, ROWS * 50) == 0);
  memset(c->hessian, 0, sizeof c->hessian);
  CHECK(gptq_round(&c->grid, c->weights, c->hessian, c->q));
  CHECK(memcmp(c->q, c->nearest, ROWS * 50) == 0);
  free(c);
}

TEST(gptq_of_dead_columns) {
  random_state = 8;
  Case *c = case_new(9, 7, 1);
  for (int i = 0; i < 81; i++)
    if (i / 9 == 4 || i % 9 == 4) c->hessian[i] = 0;
  CHECK(gptq_round(&c->grid, c->weights, c->hessian, c->q));
  for (int row = 0; row < ROWS; row++) CHECK_INT(c->q[row * 9 + 4], c->nearest[row * 9 + 4]);
  c->hessian[2] = NAN;
  CHECK(!gptq_round(&c->grid, c->weights, c->hessian, c->q));
  free(c);
}

TEST(gptq_keeps_zeros) {
  random_state = 9;
  Case *c = case_new(40, 7, 1);
  for (int i = 0; i < ROWS * 40; i += 1 + i % 3) c->weights[i] = 0;
  CHECK(gptq_round(&c->grid, c->weights, c->hessian, c->q));
  for (int i = 0; i < ROWS * 40; i++) CHECK(c->weights[i] != 0 || c->q[i] == 0);
  free(c);
}

/* The squared error of all results of x, which grid_error says without x. */
static double result_error(const Grid *grid, const float *weights, const int8_t *q, const float *x,
                           int count) {
  double sum = 0;
  for (int i = 0; i < grid->rows * count; i++) {
    int row = i / count, k = grid->k;
    double away = 0;
    for (int j = 0; j < k; j++) {
      Affine affine = grid_affine(grid, row, j);
      away += x[i % count * k + j] * (weights[row * k + j] - affine_value(&affine, q[row * k + j]));
    }
    sum += away * away;
  }
  return sum;
}

/* Groups that share a step, the last of them smaller, and zero points. */
TEST(gptq_of_groups) {
  enum { RUNS = 10, K = 10, COUNT = 60 };
  float x[COUNT * K], weights[2 * K], step[6];
  int zero[6];
  int8_t q[2 * K], nearest[2 * K];
  Grid grid = {2, K, 4, 0, 15, step, zero};
  double sum = 0, nearest_sum = 0;
  random_state = 9;
  for (int run = 0; run < RUNS; run++) {
    double hessian[K * K] = {0}, common = 0;
    for (int i = 0; i < 2 * K; i++) weights[i] = (float)(uniform() + (i % K > 4));
    for (int i = 0; i < COUNT * K; i++) {
      if (i % K == 0) common = uniform();
      x[i] = (float)(common + uniform());
    }
    hessian_add(hessian, K, x, COUNT, K);
    grid_fit(&grid, weights, NULL, RANGE_MSE);
    grid_round(&grid, weights, nearest);
    CHECK(gptq_round(&grid, weights, hessian, q));
    for (int i = 0; i < 2 * K; i++) CHECK(q[i] >= 0 && q[i] <= 15);
    double error = grid_error(&grid, weights, q, hessian);
    CHECK_NEAR(error, result_error(&grid, weights, q, x, COUNT), 1e-9 * error);
    sum += error;
    nearest_sum += grid_error(&grid, weights, nearest, hessian);
  }
  CHECK(sum < 0.6 * nearest_sum);
}

TEST(shift) {
  float weights[2][3] = {{0.3F, -0.6F, 1}, {0.1F, 0.2F, 0.4F}}, step[2] = {0.5F, 0.25F};
  int8_t q[2][3];
  Grid grid = {2, 3, 3, -2, 2, step, NULL};
  grid_round(&grid, weights[0], q[0]); /* 0.5 -0.5 1; 0 0.25 0.5 */
  double shift[2], mean[3] = {1, 2, 3}, rounded[3] = {1, 2, 4};
  bias_shift(&grid, weights[0], q[0], mean, mean, shift);
  CHECK_NEAR(shift[0], -0.2 - 0.2, 1e-6);
  CHECK_NEAR(shift[1], 0.1 - 0.1 - 0.3, 1e-6);
  bias_shift(&grid, weights[0], q[0], mean, rounded, shift);
  CHECK_NEAR(shift[0], -0.4 - 1, 1e-6);
}

int main(void) {
  RUN(affine);
  RUN(histogram);
  RUN(exact_numbers);
  RUN(numbers_that_are_not_exact);
  RUN(no_numbers);
  RUN(least_squares);
  RUN(outliers);
  RUN(grid);
  RUN(grid_of_least_error);
  RUN(hessian);
  RUN(gptq_is_elimination);
  RUN(gptq_is_better);
  RUN(gptq_is_near_the_best);
  RUN(gptq_without_correlation);
  RUN(gptq_of_dead_columns);
  RUN(gptq_keeps_zeros);
  RUN(gptq_of_groups);
  RUN(shift);
  return tests_finish();
}
