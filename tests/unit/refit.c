/*
 * The mathematics of pruning (passes/calibrate.h, 6) against sums over samples, brute force over all choices,
 * and cases whose answer is known.
 */
#include <math.h>
#include <stdlib.h>

#include "passes/calibrate.h"
#include "tests/test.h"

enum { PLACES = 600, ROWS = 5, K = 7 };

static uint64_t random_state = 7;

static double uniform(void) { /* in [-1, 1) */
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (double)(random_state >> 33) / 0x1p30 - 1;
}

static void fill(float *x, int64_t count) {
  for (int64_t i = 0; i < count; i++) x[i] = (float)uniform();
}

/* y[PLACES][rows] = W x + bias */
static void multiply(const float *weights, const float *bias, const float *x, int rows, int k, float *y) {
  for (int i = 0; i < PLACES; i++)
    for (int r = 0; r < rows; r++) {
      double sum = bias ? bias[r] : 0;
      for (int j = 0; j < k; j++) sum += (double)weights[r * k + j] * x[i * k + j];
      y[i * rows + r] = (float)sum;
    }
}

/* The sum over places of |y - W x - bias|^2. */
static double error_of(const float *weights, const double *bias, const float *x, const float *y, int rows,
                       int k) {
  double error = 0;
  for (int i = 0; i < PLACES; i++)
    for (int r = 0; r < rows; r++) {
      double left = y[i * rows + r] - (bias ? bias[r] : 0);
      for (int j = 0; j < k; j++) left -= (double)weights[r * k + j] * x[i * k + j];
      error += left * left;
    }
  return error;
}

TEST(moments_are_sums) {
  static float x[PLACES * K], y[PLACES * ROWS], weights[ROWS * K];
  Arena *arena = arena_new();
  fill(x, PLACES * K);
  fill(y, PLACES * ROWS);
  fill(weights, ROWS * K);
  Moments m = moments_new(arena, ROWS, K);
  moments_add(&m, x, y, 100);
  moments_add(&m, x + 100 * K, y + 100 * ROWS, PLACES - 100);
  CHECK_NEAR(m.count, PLACES, 0);
  CHECK_NEAR(moments_error(&m, weights), error_of(weights, NULL, x, y, ROWS, K), 1e-6 * PLACES);
  double bias[ROWS];
  moments_center(&m);
  moments_bias(&m, weights, bias);
  CHECK_NEAR(moments_error(&m, weights), error_of(weights, bias, x, y, ROWS, K), 1e-6 * PLACES);
  arena_free(arena);
}

/* Of columns a, b and a + b + 1 the last goes: a, b and the bias make up for it. */
TEST(what_is_left_makes_up) {
  static float all[PLACES * 3], x[PLACES * 2], y[PLACES * 2];
  const float weights[] = {1, 2, 3, -1, 0.5f, -2}, bias[] = {0.25f, 4};
  float left[] = {1, 2, -1, 0.5f};
  Arena *arena = arena_new();
  for (int i = 0; i < PLACES; i++) {
    float a = (float)uniform(), b = (float)uniform();
    memcpy(all + 3 * i, (float[]){a, b, a + b + 1}, 3 * sizeof *all);
    memcpy(x + 2 * i, (float[]){a, b}, 2 * sizeof *x);
  }
  multiply(weights, bias, all, 2, 3, y);
  Moments m = moments_new(arena, 2, 2);
  moments_add(&m, x, y, PLACES);
  moments_center(&m);
  double before = moments_error(&m, left), b[2];
  CHECK(moments_refit(&m, left));
  moments_bias(&m, left, b);
  const double want[] = {4, 5, -3, -1.5};
  for (int i = 0; i < 4; i++) CHECK_NEAR(left[i], want[i], 0.05); /* 1 % of damping */
  CHECK_NEAR(b[0], 3.25, 0.05);
  CHECK_NEAR(b[1], 2, 0.05);
  CHECK(moments_error(&m, left) < 1e-3 * before);
  arena_free(arena);
}

TEST(nothing_is_known) {
  Arena *arena = arena_new();
  float weights[] = {1, -2};
  Moments m = moments_new(arena, 1, 2);
  moments_center(&m);
  CHECK(moments_refit(&m, weights));
  CHECK_NEAR(weights[0], 1, 1e-6);
  CHECK_NEAR(weights[1], -2, 1e-6);
  double bias;
  moments_bias(&m, weights, &bias);
  CHECK(bias == 0);
  arena_free(arena);
}

/* x in other units: the same y, by weights in other units. */
TEST(units_do_not_matter) {
  static float x[PLACES * 2], y[PLACES];
  float weights[2][2] = {{0.5f, -2}, {0.5f, -2}};
  for (int unit = 0; unit < 2; unit++) {
    const float by[] = {unit ? 4 : 1, 1};
    Arena *arena = arena_new();
    for (int i = 0; i < PLACES; i++) {
      float a = cosf((float)i), b = cosf(2.7f * (float)i) + 0.3f * a;
      x[2 * i] = by[0] * a;
      x[2 * i + 1] = by[1] * b;
      y[i] = a - b + cosf(5.1f * (float)i);
    }
    Moments m = moments_new(arena, 1, 2);
    moments_add(&m, x, y, PLACES);
    for (int j = 0; j < 2; j++) weights[unit][j] /= by[j];
    CHECK(moments_refit(&m, weights[unit]));
    for (int j = 0; j < 2; j++) weights[unit][j] *= by[j];
    arena_free(arena);
  }
  CHECK(fabsf(weights[0][0] - 0.5f) > 0.1f);
  for (int j = 0; j < 2; j++) CHECK_NEAR(weights[1][j], weights[0][j], 1e-5);
}

/* root^T root are the products, with 10 % more on the diagonal and of its mean at least, in parts of that. */
TEST(root_of_products) {
  static float x[PLACES * 3];
  float root[9];
  Arena *arena = arena_new();
  for (int i = 0; i < PLACES * 3; i++) x[i] = cosf((float)i * (float)i) * (float)(i % 3 + 1) + (float)(i % 5);
  Moments m = moments_new(arena, 0, 3);
  moments_add(&m, x, NULL, PLACES);
  moments_center(&m);
  CHECK(moments_root(&m, root));
  double mean = (m.xx[0] + m.xx[4] + m.xx[8]) / 3;
  for (int i = 0; i < 3; i++)
    for (int j = i; j < 3; j++) {
      double sum = 0;
      for (int l = 0; l < 3; l++) sum += root[l * 3 + i] * root[l * 3 + j];
      double more = i == j ? 0.1 * fmax(m.xx[i * 3 + j], mean) : 0;
      CHECK_NEAR(sum, (m.xx[i * 3 + j] + more) / mean, 1e-5);
      CHECK(i == j || root[j * 3 + i] == 0);
    }
  arena_free(arena);
}

TEST(no_root_of_nothing) {
  Arena *arena = arena_new();
  float root[4];
  Moments m = moments_new(arena, 0, 2);
  CHECK(!moments_root(&m, root));
  arena_free(arena);
}

/* ---- wide products ---- */

/* With fewer places than columns: y comes of weights a little off, one of which is 0 and stays. */
TEST(wide_products) {
  enum { WIDE = 2 * PLACES };
  static float x[PLACES * WIDE], y[PLACES * 2], wanted[2 * WIDE], weights[2 * WIDE];
  const float bias[] = {0.5f, -3};
  double shared[8];
  Arena *arena = arena_new();
  fill(wanted, 2 * WIDE);
  for (int i = 0; i < PLACES; i++) { /* of eight things that are seen in all columns */
    for (int j = 0; j < 8; j++) shared[j] = uniform();
    for (int j = 0; j < WIDE; j++) x[i * WIDE + j] = (float)(shared[j % 8] + 0.05 * uniform() + 1);
  }
  for (int j = 0; j < 2 * WIDE; j++) weights[j] = wanted[j] * 0.8f;
  weights[3] = 0;
  multiply(wanted, bias, x, 2, WIDE, y);
  Pairs p = pairs_new(arena, 2, WIDE, PLACES + 100);
  pairs_add(&p, x, y, 100);
  pairs_add(&p, x + 100 * WIDE, y + 100 * 2, PLACES - 100);
  CHECK_NEAR((double)p.fitted, PLACES - PLACES / 8, 0);
  CHECK_NEAR((double)p.apart, PLACES / 8, 0);
  CHECK_NEAR(pairs_error(&p, weights) / error_of(weights, NULL, x, y, 2, WIDE), 1, 1e-3);
  pairs_center(&p);
  double before = pairs_error(&p, weights), b[2];
  pairs_refit(&p, weights);
  pairs_bias(&p, weights, b);
  CHECK(pairs_error(&p, weights) < 0.02 * before);
  CHECK(weights[3] == 0);
  CHECK_NEAR(error_of(weights, b, x, y, 2, WIDE) / pairs_error(&p, weights), 1, 1e-2);
  arena_free(arena);
}

TEST(nothing_wide_is_known) {
  Arena *arena = arena_new();
  float weights[] = {1, -2};
  double bias;
  Pairs p = pairs_new(arena, 1, 2, 4);
  pairs_center(&p);
  pairs_refit(&p, weights);
  pairs_bias(&p, weights, &bias);
  CHECK(weights[0] == 1 && weights[1] == -2 && bias == 0);
  arena_free(arena);
}

/* ---- columns ---- */

/* xx of columns that are all mixed a little, the upper half. */
static void correlated(double *xx, int k) {
  double *mix = malloc(sizeof *mix * (size_t)k * (size_t)k);
  for (int i = 0; i < k * k; i++) mix[i] = uniform() + (i / k == i % k ? 2 : 0);
  for (int i = 0; i < k; i++)
    for (int j = 0; j < k; j++) {
      double sum = 0;
      for (int l = 0; l < k; l++) sum += mix[l * k + i] * mix[l * k + j];
      xx[i * k + j] = i <= j ? sum : 0;
    }
  free(mix);
}

/* Two columns are the same: the first to go costs nothing, the second all that both do. */
TEST(twins) {
  const double xx[] = {1, 1, 0, 0, 1, 0, 0, 0, 1}, gram[] = {1, 1, 0, 0, 1, 0, 0, 0, 2};
  double losses[3];
  elimination_losses(3, xx, gram, losses);
  double first = fmin(losses[0], losses[1]), second = fmax(losses[0], losses[1]);
  CHECK_NEAR(first, 0, 0.05);
  CHECK_NEAR(second, 4, 0.1);
  CHECK_NEAR(losses[2], 2, 0.1);
}

static double element(const double *xx, int i, int j) {
  return i <= j ? xx[i * K + j] : xx[j * K + i];
}

/* What the best W' on all columns but those of `gone` leaves of W x: by the normal equations, with b[i] on
 * both sides 0 for a column that went. */
static double least_error(const double *xx, const float *w, unsigned gone) {
  double a[K][K], b[K], total = 0, energy = 0; /* b^T a^-1 b, by elimination */
  for (int i = 0; i < K; i++) {
    bool went = gone >> i & 1;
    b[i] = 0;
    for (int j = 0; j < K; j++) {
      total += w[i] * w[j] * element(xx, i, j);
      b[i] += went ? 0 : w[j] * element(xx, i, j);
      a[i][j] = went || gone >> j & 1 ? i == j : element(xx, i, j);
    }
  }
  for (int i = 0; i < K; i++) {
    energy += b[i] * b[i] / a[i][i];
    for (int r = i + 1; r < K; r++) {
      double factor = a[r][i] / a[i][i];
      for (int j = i; j < K; j++) a[r][j] -= factor * a[i][j];
      b[r] -= factor * b[i];
    }
  }
  return total - energy;
}

static double loss_of(const double *xx, const float *old, const float *now) {
  double sum = 0;
  for (int i = 0; i < K; i++)
    for (int j = 0; j < K; j++) sum += (double)(old[i] - now[i]) * (old[j] - now[j]) * element(xx, i, j);
  return sum;
}

/* For one row, what is left is the best that there is for the weights that went, and the choice is nearly so.
 */
TEST(one_row) {
  double chosen = 0, best = 0, plain = 0;
  for (int trial = 0; trial < 50; trial++) {
    double xx[K * K], importance[K];
    float old[K], now[K], simple[K];
    correlated(xx, K);
    fill(old, K);
    memcpy(now, old, sizeof now);
    memcpy(simple, old, sizeof simple);
    for (int i = 0; i < K; i++) importance[i] = xx[i * K + i];
    Sparsity s = {.rows = 1, .k = K, .block_rows = 1, .block_columns = 1, .share = 3.0 / K};
    CHECK(sparsify(&s, NULL, importance, xx, now) && sparsify(&s, NULL, importance, NULL, simple));
    unsigned gone = 0;
    for (int i = 0; i < K; i++) gone |= (unsigned)(now[i] == 0) << i;
    CHECK_INT(__builtin_popcount(gone), 3);
    double least = INFINITY;
    for (unsigned mask = 0; mask < 1u << K; mask++)
      if (__builtin_popcount(mask) == 3) least = fmin(least, least_error(xx, old, mask));
    chosen += loss_of(xx, old, now), best += least, plain += loss_of(xx, old, simple);
    for (int i = 0; i < K; i++) CHECK(simple[i] == 0 || simple[i] == old[i]);
  }
  CHECK(best < chosen && chosen < 2 * best);
  CHECK(chosen < 0.7 * plain);
}

/* ---- patterns ---- */

static int zeros_of(const float *weights, int64_t count) {
  int zeros = 0;
  for (int64_t i = 0; i < count; i++) zeros += weights[i] == 0;
  return zeros;
}

TEST(patterns) {
  enum { MANY = 300, TALL = 33 }; /* over two blocks of columns; two blocks of rows and a part */
  double *xx = malloc(sizeof *xx * MANY * MANY), importance[MANY];
  float *old = malloc(sizeof *old * TALL * MANY), *now = malloc(sizeof *now * TALL * MANY);
  correlated(xx, MANY);
  fill(old, TALL * MANY);
  for (int i = 0; i < MANY; i++) importance[i] = xx[i * MANY + i];
  const Sparsity cases[] = {{TALL, MANY, 1, 1, 0, 0, 0.8},  {TALL, MANY, 1, 1, 4, 2, 0},
                            {TALL, MANY, 16, 1, 0, 0, 0.7}, {TALL, MANY, 1, 1, 0, 0, 0},
                            {TALL, MANY, 1, 1, 0, 0, 1},    {TALL, MANY, 16, 4, 0, 0, 0.5}};
  for (int i = 0; i < COUNT_OF(cases); i++) {
    for (int with = 0; with < 2; with++) {
      memcpy(now, old, sizeof *now * TALL * MANY);
      int order[MANY];
      for (int j = 0; j < MANY; j++) order[j] = j;
      CHECK(sparsify(&cases[i], cases[i].group || cases[i].block_columns > 1 ? order : NULL, importance,
                     with ? xx : NULL, now));
      int zeros = zeros_of(now, TALL * MANY), whole = 0, quartets = 0, fours = 0;
      for (int b = 0; b < 3; b++)
        for (int j = 0, run = 0; j < MANY; j++) {
          int left = 0;
          for (int r = 16 * b; r < 16 * b + 16 && r < TALL; r++) left += now[r * MANY + j] != 0;
          whole += left == 0;
          run = left ? 0 : j % 4 ? run + 1 : 1;
          fours += run == 4;
        }
      for (int j = 0; j < TALL * MANY; j += 4) quartets += zeros_of(now + j, 4) == 2;
      if (i == 0) CHECK_INT(zeros, 7920); /* 80 % of 9900 */
      if (i == 1) CHECK_INT(quartets, TALL * MANY / 4);
      if (i == 2) CHECK_INT(whole, 630); /* 70 % of 900 */
      if (i == 3) CHECK(memcmp(now, old, sizeof *now * TALL * MANY) == 0);
      if (i == 4) CHECK_INT(zeros, TALL * MANY);
      if (i == 5) CHECK(whole == 448 && fours == 112); /* half of 900, by fours */
    }
  }
  free(xx);
  free(old);
  free(now);
}

TEST(not_finite) {
  const double xx[] = {NAN, 0, 0, 1}, importance[] = {1, 1};
  float weights[] = {1, 2};
  CHECK(!sparsify(&(Sparsity){.rows = 1, .k = 2, .block_rows = 1, .block_columns = 1, .share = 0.5}, NULL,
                  importance, xx, weights));
}

int main(void) {
  RUN(moments_are_sums);
  RUN(what_is_left_makes_up);
  RUN(nothing_is_known);
  RUN(units_do_not_matter);
  RUN(root_of_products);
  RUN(no_root_of_nothing);
  RUN(wide_products);
  RUN(nothing_wide_is_known);
  RUN(twins);
  RUN(one_row);
  RUN(patterns);
  RUN(not_finite);
  return tests_finish();
}
