/*
 * wide.c -- products with so many columns that no matrix of moments (refit.c) can be made of them: what was
 * met and given at the places is kept itself.
 *
 * For each row of weights w + c, where r = y - w x is missing, conjugate gradients walk to the least of
 *
 *   |r - c x|^2 + d |c|^2
 *
 * (CGLS, Hestenes and Stiefel 1952, section 10). A step is two products with x, for all rows at once. Often
 * there are fewer places than columns, so that every y could be met exactly, which would say little of other
 * places: every eighth is kept apart, and the step is taken that comes nearest there.
 */
#include "passes/calibrate.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

enum { APART = 8 };

Pairs pairs_new(Arena *arena, int rows, int k, int64_t room) {
  return (Pairs){.rows = rows,
                 .k = k,
                 .room = room,
                 .x = NEW_ARRAY(arena, float, room *k),
                 .y = NEW_ARRAY(arena, float, room *rows),
                 .x_mean = NEW_ARRAY(arena, double, k),
                 .y_mean = NEW_ARRAY(arena, double, rows)};
}

/* Those that are kept apart lie at the end, the last first. */
void pairs_add(Pairs *p, const float *x, const float *y, int64_t count) {
  for (int64_t i = 0; i < count && p->fitted + p->apart < p->room; i++) {
    bool is_apart = (p->fitted + p->apart) % APART == APART - 1;
    int64_t at = is_apart ? p->room - ++p->apart : p->fitted++;
    memcpy(p->x + at * p->k, x + i * p->k, sizeof *x * (size_t)p->k);
    memcpy(p->y + at * p->rows, y + i * p->rows, sizeof *y * (size_t)p->rows);
  }
}

static void center(const Pairs *p, float *numbers, int width, double *means) {
  for (int64_t i = 0; i < p->fitted; i++)
    for (int j = 0; j < width; j++) means[j] += numbers[i * width + j] / (double)p->fitted;
  for (int64_t i = 0; i < p->room; i++)
    for (int j = 0; j < width; j++) numbers[i * width + j] -= (float)means[j];
}

void pairs_center(Pairs *p) {
  center(p, p->x, p->k, p->x_mean);
  center(p, p->y, p->rows, p->y_mean);
}

void pairs_bias(const Pairs *p, const float *weights, double *bias) {
  for (int r = 0; r < p->rows; r++) {
    bias[r] = p->y_mean[r];
    for (int j = 0; j < p->k; j++) bias[r] -= weights[(int64_t)r * p->k + j] * p->x_mean[j];
  }
}

/* ---- sums ---- */

static double squares(const float *numbers, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += (double)numbers[i] * numbers[i];
  return sum;
}

/* results[room][rows] += scale x w^T */
static void multiply(const Pairs *p, float scale, const float *w, float *results) {
  int64_t first[] = {0, p->room - p->apart}, count[] = {p->fitted, p->apart};
  for (int i = 0; i < 2; i++)
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)count[i], p->rows, p->k, scale,
                p->x + first[i] * p->k, p->k, w, p->k, 1, results + first[i] * p->rows, p->rows);
}

/* [room][rows]: what w does not give. */
static float *find_missing(Arena *arena, const Pairs *p, const float *w) {
  float *missing = arena_copy(arena, p->y, sizeof *p->y * (size_t)(p->room * p->rows));
  multiply(p, -1, w, missing);
  return missing;
}

static double squares_fitted(const Pairs *p, const float *numbers) {
  return squares(numbers, p->fitted * p->rows);
}

/* Where it counts: at the places kept apart, if there are any. */
static double squares_apart(const Pairs *p, const float *numbers) {
  if (!p->apart) return squares_fitted(p, numbers);
  return squares(numbers + (p->room - p->apart) * p->rows, p->apart * p->rows);
}

double pairs_signal(const Pairs *p) {
  return squares_fitted(p, p->y) + (p->apart ? squares_apart(p, p->y) : 0);
}

double pairs_error(const Pairs *p, const float *weights) {
  Arena *arena = arena_new();
  const float *missing = find_missing(arena, p, weights);
  double error = squares_fitted(p, missing) + (p->apart ? squares_apart(p, missing) : 0);
  arena_free(arena);
  return error;
}

/* ---- the way down ---- */

typedef struct Descent {
  const Pairs *p;
  const float *weights;        /* those that are 0 stay */
  const float *damping;        /* [k] */
  float *change, *way, *slope; /* [rows][k]: c, the direction of the step, minus half the gradient */
  float *missing, *along;      /* [room][rows]: r - c x; what x gives along the way */
  double *steepness;           /* [rows]: squares of the slope */
} Descent;

/* From where it stands, with the way of each row. */
static void find_slope(Descent *d) {
  const Pairs *p = d->p;
  cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, p->rows, p->k, (int)p->fitted, 1, d->missing, p->rows,
              p->x, p->k, 0, d->slope, p->k);
  for (int r = 0; r < p->rows; r++) {
    int64_t first = (int64_t)r * p->k;
    float *slope = d->slope + first, *way = d->way + first;
    for (int j = 0; j < p->k; j++)
      slope[j] = d->weights[first + j] != 0 ? slope[j] - d->damping[j] * d->change[first + j] : 0;
    double before = d->steepness[r], now = d->steepness[r] = squares(slope, p->k);
    cblas_sscal(p->k, before > 0 ? (float)(now / before) : 0, way, 1);
    cblas_saxpy(p->k, 1, slope, 1, way, 1);
  }
}

/* Each row as far as it goes down. */
static void step(Descent *d) {
  const Pairs *p = d->p;
  memset(d->along, 0, sizeof *d->along * (size_t)(p->room * p->rows));
  multiply(p, 1, d->way, d->along);
  for (int r = 0; r < p->rows; r++) {
    float *way = d->way + (int64_t)r * p->k;
    double rise = 0;
    for (int j = 0; j < p->k; j++) rise += d->damping[j] * way[j] * way[j];
    for (int64_t i = 0; i < p->fitted; i++) rise += pow(d->along[i * p->rows + r], 2);
    float by = rise > 0 ? (float)(d->steepness[r] / rise) : 0;
    cblas_saxpy(p->k, by, way, 1, d->change + (int64_t)r * p->k, 1);
    cblas_saxpy((int)p->room, -by, d->along + r, p->rows, d->missing + r, p->rows);
  }
}

/* As of moments. */
static const float *find_damping(Arena *arena, const Pairs *p) {
  double *squares = NEW_ARRAY(arena, double, p->k);
  float *damping = NEW_ARRAY(arena, float, p->k);
  for (int64_t i = 0; i < p->fitted; i++)
    for (int j = 0; j < p->k; j++) squares[j] += pow(p->x[i * p->k + j], 2);
  const double *found = damping_of(arena, squares, 1, p->k);
  for (int j = 0; j < p->k; j++) damping[j] = (float)found[j];
  return damping;
}

static int step_count(const Pairs *p) {
  const double most = 2e12; /* multiplications: a minute */
  double steps = most / (2.0 * (double)(p->fitted + p->apart) * p->rows * p->k);
  return steps < 3 ? 3 : steps > 32 ? 32 : (int)steps;
}

void pairs_refit(const Pairs *p, float *weights) {
  enum { PATIENCE = 2 };
  Arena *arena = arena_new();
  int64_t count = (int64_t)p->rows * p->k;
  Descent d = {.p = p,
               .weights = weights,
               .damping = find_damping(arena, p),
               .change = NEW_ARRAY(arena, float, count),
               .way = NEW_ARRAY(arena, float, count),
               .slope = NEW_ARRAY(arena, float, count),
               .missing = find_missing(arena, p, weights),
               .along = NEW_ARRAY(arena, float, p->room * p->rows),
               .steepness = NEW_ARRAY(arena, double, p->rows)};
  float *best = NEW_ARRAY(arena, float, count);
  double least = squares_apart(p, d.missing);
  for (int i = step_count(p), worse = 0; i > 0 && worse < PATIENCE; i--) {
    find_slope(&d);
    step(&d);
    double now = squares_apart(p, d.missing);
    worse = now < least ? 0 : worse + 1;
    if (!(now < least)) continue;
    least = now;
    memcpy(best, d.change, sizeof *best * (size_t)count);
  }
  cblas_saxpy((int)count, 1, best, 1, weights, 1);
  arena_free(arena);
}
