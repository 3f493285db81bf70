/*
 * range.c -- which numbers integers stand for: of activations by their histogram, of weights by themselves.
 *
 * A smaller range has finer steps and cuts more off. Minmax cuts nothing, percentile a fixed share. MSE tries
 * ranges: both ends drawn in together, then each alone, and keeps the one with the least error; the same
 * search serves histograms and weights, which differ in how the error is summed. Entropy draws both ends in
 * to the magnitude at which the distribution of the integers tells most of that of the numbers.
 */
#include "passes/calibrate.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

/* ---- integers for numbers ---- */

static double clamp(double x, double low, double high) {
  return x < low ? low : x > high ? high : x;
}

/* To the nearest whole number, of two the even one; |x| < 2^51. Inline everywhere, unlike rint. */
static double round_even(double x) {
  const double shift = 0x1.8p52;
  return (x + shift) - shift;
}

Affine affine_of_range(double least, double most, int low, int high, bool symmetric) {
  least = fmin(least, 0);
  most = fmax(most, 0);
  int zero = (low + high + 1) / 2;
  double step = fmax(-least, most) / (high - zero);
  if (!symmetric) step = (most - least) / (high - low);
  if (step == 0) step = 1;
  step = clamp(step, FLT_MIN, FLT_MAX);
  if (!symmetric) zero = (int)round_even(clamp(low - least / step, low, high));
  return (Affine){(float)step, zero, low, high};
}

/* x in steps, as near as the integers come, less zero. */
static double nearest(const Affine *affine, double steps) {
  return round_even(clamp(steps, affine->low - affine->zero, affine->high - affine->zero));
}

int affine_round(const Affine *affine, double x) {
  return (int)nearest(affine, x / affine->step) + affine->zero;
}

double affine_value(const Affine *affine, int q) {
  return (q - affine->zero) * (double)affine->step;
}

/* ---- histograms ---- */

/* Pairs of bins become one, about 0; the outer half of them is empty then. */
static void double_width(Histogram *histogram) {
  int64_t bins[2 * HISTOGRAM_HALF] = {0};
  double sums[2 * HISTOGRAM_HALF] = {0};
  for (int i = 0; i < 2 * HISTOGRAM_HALF; i++) {
    int to = HISTOGRAM_HALF / 2 + i / 2;
    bins[to] += histogram->bins[i];
    sums[to] += histogram->sums[i];
  }
  memcpy(histogram->bins, bins, sizeof bins);
  memcpy(histogram->sums, sums, sizeof sums);
  histogram->width *= 2;
}

static void widen(Histogram *histogram, const float *x, int64_t count) {
  double least = histogram->least, most = histogram->most;
  for (int64_t i = 0; i < count; i++) {
    if (x[i] < least && x[i] >= -FLT_MAX) least = x[i];
    if (x[i] > most && x[i] <= FLT_MAX) most = x[i];
  }
  histogram->least = least;
  histogram->most = most;
  /* A little more, so that the greatest magnitude is inside the last bin. */
  double needed = fmax(-least, most) / HISTOGRAM_HALF * (1 + 1e-9);
  if (histogram->width == 0) histogram->width = needed;
  while (histogram->width < needed) double_width(histogram);
}

/* Where x is among the different numbers, or would be. */
static int distinct_place(const Histogram *histogram, float x) {
  int low = 0, high = histogram->distinct_count;
  while (low < high) {
    int middle = (low + high) / 2;
    if (histogram->distinct[middle] < x)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static void distinct_add(Histogram *histogram, const float *x, int64_t count) {
  for (int64_t i = 0; i < count && histogram->distinct_count <= HISTOGRAM_DISTINCT; i++) {
    int place = isfinite(x[i]) ? distinct_place(histogram, x[i]) : HISTOGRAM_DISTINCT;
    float *at = &histogram->distinct[place];
    if (!isfinite(x[i]) || (place < histogram->distinct_count && *at == x[i])) continue;
    if (histogram->distinct_count++ == HISTOGRAM_DISTINCT) return;
    memmove(at + 1, at, sizeof *at * (size_t)(histogram->distinct_count - 1 - place));
    *at = x[i];
  }
}

void histogram_add(Histogram *histogram, const float *x, int64_t count) {
  widen(histogram, x, count);
  distinct_add(histogram, x, count);
  double scale = histogram->width > 0 ? 1 / histogram->width : 0;
  for (int64_t i = 0; i < count; i++) {
    if (!isfinite(x[i])) continue;
    histogram->count++;
    if (x[i] == 0) continue;
    int bin = HISTOGRAM_HALF + (int)floor(x[i] * scale);
    histogram->bins[bin]++;
    histogram->sums[bin] += x[i];
  }
}

/* As if all numbers in a bin were their mean. */
double affine_error(const Histogram *histogram, const Affine *affine) {
  double sum = 0, per_step = 1 / (double)affine->step;
  for (int i = 0; i < 2 * HISTOGRAM_HALF; i++) {
    if (histogram->bins[i] == 0) continue;
    double count = (double)histogram->bins[i], steps = histogram->sums[i] / count * per_step;
    double away = steps - nearest(affine, steps);
    sum += count * away * away;
  }
  double step = affine->step;
  return histogram->count > 0 ? sum * step * step / (double)histogram->count : 0;
}

/* ---- numbers that are exact ---- */

/* The step that they are whole multiples of apart; 0: there is none. */
static double find_step(const float *x, int count) {
  const double tolerance = 1e-3;
  double step = INFINITY, span = (double)x[count - 1] - x[0];
  for (int i = 1; i < count; i++) step = fmin(step, (double)x[i] - x[i - 1]);
  step = span / round_even(fmin(span / step, INT32_MAX));
  for (int i = 1; i < count; i++) {
    double steps = ((double)x[i] - x[0]) / step;
    if (fabs(steps - round_even(steps)) > tolerance) return 0;
  }
  return step;
}

bool affine_find(const Histogram *histogram, int low, int high, Affine *affine, double *offset) {
  enum { FEWEST = 16 };
  const double negligible = 1e-3;
  const float *x = histogram->distinct;
  int count = histogram->distinct_count;
  double step = count >= FEWEST && count <= HISTOGRAM_DISTINCT ? find_step(x, count) : 0;
  if (!(step >= FLT_MIN)) return false;
  *offset = x[0] - round_even(x[0] / step) * step;
  if (fabs(*offset) <= negligible * step) *offset = 0;
  double first = round_even(fmin((x[0] - *offset) / step, 0));
  double last = round_even(fmax((x[count - 1] - *offset) / step, 0));
  double spare = high - low - (last - first), below = first == 0 ? 0 : last == 0 ? spare : floor(spare / 2);
  if (!(spare >= 0)) return false;
  *affine = (Affine){(float)step, (int)(low + below - first), low, high};
  return true;
}

/* ---- the range of least error ---- */

typedef struct Search {
  double (*error)(const void *of, const Affine *affine);
  const void *of;
  int low, high;
  bool symmetric;
  double best, least, most; /* the range of least error, and that error */
} Search;

static void search_try(Search *search, double least, double most) {
  Affine affine = affine_of_range(least, most, search->low, search->high, search->symmetric);
  double error = search->error(search->of, &affine);
  if (error >= search->best) return;
  search->best = error;
  search->least = least;
  search->most = most;
}

static Affine search_range(Search *search, double least, double most) {
  enum { TRIES = 40 };
  search->best = INFINITY;
  search->least = least;
  search->most = most;
  for (int i = TRIES; i > 0; i--) search_try(search, least * i / TRIES, most * i / TRIES);
  if (!search->symmetric && least < 0 && most > 0) {
    for (int i = TRIES; i > 0; i--) search_try(search, search->least, most * i / TRIES);
    for (int i = TRIES; i > 0; i--) search_try(search, least * i / TRIES, search->most);
  }
  return affine_of_range(search->least, search->most, search->low, search->high, search->symmetric);
}

/* ---- ranges of activations ---- */

static double histogram_error(const void *histogram, const Affine *affine) {
  return affine_error(histogram, affine);
}

static Affine fit_percentile(const Histogram *histogram, int low, int high, bool symmetric) {
  const double cut = 1e-4;
  double left = cut * (double)histogram->count, right = left;
  int first = 0, last = 2 * HISTOGRAM_HALF - 1;
  while (first < HISTOGRAM_HALF && (left -= (double)histogram->bins[first]) >= 0) first++;
  while (last >= HISTOGRAM_HALF && (right -= (double)histogram->bins[last]) >= 0) last--;
  double least = fmax(histogram->least, (first - HISTOGRAM_HALF) * histogram->width);
  double most = fmin(histogram->most, (last + 1 - HISTOGRAM_HALF) * histogram->width);
  return affine_of_range(least, most, low, high, symmetric);
}

/* How far the first `kept` of the magnitudes, with what is beyond them in the last, are from what is left of
 * them when all within one of `levels` parts look alike. */
static double divergence(const int64_t *magnitudes, int kept, int levels) {
  const double almost_none = 1e-4; /* where only what was cut off lies */
  int64_t beyond = 0, inside = 0;
  for (int i = 0; i < kept; i++) inside += magnitudes[i];
  for (int i = kept; i < HISTOGRAM_HALF; i++) beyond += magnitudes[i];
  double total = (double)(inside + beyond), sum = 0;
  for (int level = 0; level < levels; level++) {
    int begin = level * kept / levels, end = (level + 1) * kept / levels, filled = 0;
    int64_t here = 0;
    for (int i = begin; i < end; i++) {
      here += magnitudes[i];
      filled += magnitudes[i] > 0 || (i == kept - 1 && beyond > 0);
    }
    for (int i = begin; i < end; i++) {
      double p = (double)(magnitudes[i] + (i == kept - 1 ? beyond : 0));
      double q = fmax((double)here / fmax(filled, 1), almost_none);
      if (p > 0) sum += p / total * log(p / total / (q / (double)(inside > 0 ? inside : 1)));
    }
  }
  return sum;
}

/* Magnitudes from the least number of bins that has room for the levels to all, and the best of these cuts.
 */
static Affine fit_entropy(const Histogram *histogram, int low, int high, bool symmetric) {
  enum { TRIES = 128 };
  int64_t magnitudes[HISTOGRAM_HALF];
  for (int i = 0; i < HISTOGRAM_HALF; i++)
    magnitudes[i] = histogram->bins[HISTOGRAM_HALF + i] + histogram->bins[HISTOGRAM_HALF - 1 - i];
  bool one_sided = !symmetric && (histogram->least == 0 || histogram->most == 0);
  int levels = one_sided ? high - low + 1 : (high - low + 1) / 2, best_kept = HISTOGRAM_HALF;
  if (levels > HISTOGRAM_HALF) levels = HISTOGRAM_HALF;
  double best = INFINITY;
  for (int i = TRIES; i >= 0 && histogram->width > 0; i--) {
    int kept = levels + (HISTOGRAM_HALF - levels) * i / TRIES;
    double distance = divergence(magnitudes, kept, levels);
    if (distance >= best) continue;
    best = distance;
    best_kept = kept;
  }
  double bound = best_kept * histogram->width;
  return affine_of_range(fmax(histogram->least, -bound), fmin(histogram->most, bound), low, high, symmetric);
}

Affine affine_fit(const Histogram *histogram, RangeMethod method, int low, int high, bool symmetric) {
  Search search = {histogram_error, histogram, low, high, symmetric, 0, 0, 0};
  switch (method) {
  case RANGE_PERCENTILE: return fit_percentile(histogram, low, high, symmetric);
  case RANGE_ENTROPY: return fit_entropy(histogram, low, high, symmetric);
  case RANGE_MSE: return search_range(&search, histogram->least, histogram->most);
  case RANGE_MINMAX: break;
  }
  return affine_of_range(histogram->least, histogram->most, low, high, symmetric);
}

/* ---- ranges of weights ---- */

int grid_groups(const Grid *grid) {
  return (grid->k + grid->group - 1) / grid->group;
}

Affine grid_affine(const Grid *grid, int row, int column) {
  int64_t i = (int64_t)row * grid_groups(grid) + column / grid->group;
  return (Affine){grid->step[i], grid->zero ? grid->zero[i] : 0, grid->low, grid->high};
}

/* The weights that share a step. */
typedef struct Run {
  const float *weights;
  const double *importance; /* NULL: all the same */
  int count;
} Run;

static double run_error(const void *of, const Affine *affine) {
  const Run *run = of;
  double sum = 0, per_step = 1 / (double)affine->step;
  for (int i = 0; i < run->count; i++) {
    double steps = run->weights[i] * per_step, away = steps - nearest(affine, steps);
    sum += away * away * (run->importance ? run->importance[i] : 1);
  }
  return sum * affine->step * affine->step;
}

static Affine run_fit(const Run *run, const Grid *grid, RangeMethod method) {
  bool symmetric = !grid->zero;
  double least = 0, most = 0;
  for (int i = 0; i < run->count; i++) {
    least = fmin(least, run->weights[i]);
    most = fmax(most, run->weights[i]);
  }
  Search search = {run_error, run, grid->low, grid->high, symmetric, 0, 0, 0};
  if (method == RANGE_MSE) return search_range(&search, least, most);
  return affine_of_range(least, most, grid->low, grid->high, symmetric);
}

void grid_fit(const Grid *grid, const float *weights, const double *importance, RangeMethod method) {
  assert(method == RANGE_MINMAX || method == RANGE_MSE);
  int groups = grid_groups(grid);
  for (int row = 0; row < grid->rows; row++) {
    for (int g = 0; g < groups; g++) {
      int begin = g * grid->group, left = grid->k - begin;
      Run run = {weights + (int64_t)row * grid->k + begin, importance ? importance + begin : NULL,
                 left < grid->group ? left : grid->group};
      Affine affine = run_fit(&run, grid, method);
      grid->step[(int64_t)row * groups + g] = affine.step;
      if (grid->zero) grid->zero[(int64_t)row * groups + g] = affine.zero;
    }
  }
}
