/*
 * refit.c -- weights that make up for what is not there any more.
 *
 * A product y = W x + b whose x has changed, or some of whose weights have gone, gets those that come nearest
 * to the y it had, over the samples: with the sums of products xx, yx of what it meets now and what it gave
 * before, less their means where b is free,
 *
 *   |y - W x|^2 = yy - 2 W yx^T + W xx W^T,
 *
 * least squares (He et al. 2017, arXiv 1707.06168, section 3.1). Weights that have to be 0 are chosen and
 * made up for as GPTQ rounds (gptq.c): with xx = M^T M, from the last column to the first,
 *
 *   v[i] = w[i] + sum over j > i of m[i][j] e[j] / m[i][i]
 *
 * would make up for all that has gone so far; letting it be 0 instead costs (m[i][i] v[i])^2. In each block
 * of columns those that cost least go, as many as in the whole matrix cost less than a bound, which is
 * SparseGPT (Frantar and Alistarh 2023, arXiv 2301.00774) with the bound of the whole matrix instead of a
 * share of each block. If that is no great work, the weights that are left are then solved for, given the
 * zeros.
 */
#include "passes/calibrate.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- moments ---- */

Moments moments_new(Arena *arena, int rows, int k) {
  return (Moments){.rows = rows,
                   .k = k,
                   .xx = NEW_ARRAY(arena, double, (int64_t)k *k),
                   .yx = NEW_ARRAY(arena, double, (int64_t)rows *k),
                   .x = NEW_ARRAY(arena, double, k),
                   .y = NEW_ARRAY(arena, double, rows)};
}

static void widen(double *to, const float *from, int64_t count, double *sums, int width) {
  for (int64_t i = 0; i < count; i++)
    for (int j = 0; j < width; j++) {
      to[i * width + j] = from[i * width + j];
      sums[j] += from[i * width + j];
    }
}

void moments_add(Moments *m, const float *x, const float *y, int64_t count) {
  enum { BLOCK = 256 };
  Arena *arena = arena_new();
  int k = m->k, rows = m->rows;
  double *xs = NEW_ARRAY(arena, double, (int64_t)BLOCK *k),
         *ys = NEW_ARRAY(arena, double, (int64_t)BLOCK *rows);
  for (int64_t first = 0; first < count; first += BLOCK) {
    int block = count - first < BLOCK ? (int)(count - first) : BLOCK;
    widen(xs, x + first * k, block, m->x, k);
    widen(ys, y + first * rows, block, m->y, rows);
    cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, k, block, 1, xs, k, 1, m->xx, k);
    if (rows == 0) continue;
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, rows, k, block, 1, ys, rows, xs, k, 1, m->yx, k);
    m->yy += cblas_ddot(block * rows, ys, 1, ys, 1);
  }
  m->count += (double)count;
  arena_free(arena);
}

void moments_center(Moments *m) {
  int k = m->k, rows = m->rows;
  double share = m->count > 0 ? -1 / m->count : 0;
  cblas_dsyr(CblasRowMajor, CblasUpper, k, share, m->x, 1, m->xx, k);
  if (rows) cblas_dger(CblasRowMajor, rows, k, share, m->y, 1, m->x, 1, m->yx, k);
  m->yy += share * cblas_ddot(rows, m->y, 1, m->y, 1);
}

double moments_error(const Moments *m, const float *weights) {
  Arena *arena = arena_new();
  int64_t count = (int64_t)m->rows * m->k;
  double *w = NEW_ARRAY(arena, double, count), *product = NEW_ARRAY(arena, double, count);
  for (int64_t i = 0; i < count; i++) w[i] = weights[i];
  cblas_dsymm(CblasRowMajor, CblasRight, CblasUpper, m->rows, m->k, 1, m->xx, m->k, w, m->k, 0, product,
              m->k);
  double error = m->yy;
  for (int64_t i = 0; i < count; i++) error += w[i] * (product[i] - 2 * m->yx[i]);
  arena_free(arena);
  return fmax(error, 0);
}

/* A share of each, and of `least` times their mean at least. */
static double *share_of(Arena *arena, const double *squares, int64_t stride, int k, double share,
                        double least) {
  double *damping = NEW_ARRAY(arena, double, k), mean = 0;
  for (int i = 0; i < k; i++) mean += squares[i * stride] / k;
  for (int i = 0; i < k; i++) damping[i] = mean > 0 ? share * fmax(squares[i * stride], least * mean) : 1;
  return damping;
}

double *damping_of(Arena *arena, const double *squares, int64_t stride, int k) {
  return share_of(arena, squares, stride, k, 0.01, 0.1);
}

/* Solves W (xx + d) = yx + d W0. */
bool moments_refit(const Moments *m, float *weights) {
  Arena *arena = arena_new();
  int k = m->k, rows = m->rows;
  int64_t count = (int64_t)rows * k;
  double *a = arena_copy(arena, m->xx, sizeof *a * (size_t)k * (size_t)k);
  double *w = arena_copy(arena, m->yx, sizeof *w * (size_t)count);
  const double *d = damping_of(arena, m->xx, k + 1, k);
  for (int i = 0; i < k; i++) a[(int64_t)i * k + i] += d[i];
  for (int64_t i = 0; i < count; i++) w[i] += d[i % k] * weights[i];
  /* The rows of w are the columns that LAPACK solves for; of a, too, the upper triangle is its lower. */
  bool ok = LAPACKE_dposv(LAPACK_COL_MAJOR, 'L', k, rows, a, k, w, k) == 0;
  for (int64_t i = 0; ok && i < count; i++) ok = isfinite(w[i]);
  for (int64_t i = 0; ok && i < count; i++) weights[i] = (float)w[i];
  arena_free(arena);
  return ok;
}

bool moments_root(const Moments *m, float *root) {
  Arena *arena = arena_new();
  int k = m->k, *order = NEW_ARRAY(arena, int, k);
  double mean = 0;
  for (int i = 0; i < k; i++) {
    order[i] = i;
    mean += m->xx[(int64_t)i * (k + 1)] / k;
  }
  const double *factor = hessian_factor(arena, m->xx, share_of(arena, m->xx, k + 1, k, 0.1, 1), order, k);
  bool ok = factor && mean > 0;
  for (int64_t i = 0; ok && i < (int64_t)k * k; i++) root[i] = (float)(factor[i] / sqrt(mean));
  arena_free(arena);
  return ok;
}

void moments_bias(const Moments *m, const float *weights, double *bias) {
  for (int row = 0; row < m->rows; row++) {
    double sum = m->y[row];
    for (int j = 0; j < m->k; j++) sum -= weights[(int64_t)row * m->k + j] * m->x[j];
    bias[row] = m->count > 0 ? sum / m->count : 0;
  }
}

/* ---- what columns are worth ---- */

/* A product W x while its columns go, least first: what of W and x their losses need. */
typedef struct Elimination {
  int k;
  double *inverse; /* of xx of the columns that are left; zeros for those that went */
  double *gram;    /* W^T W, where those that are left have made up for those that went */
  int *left, count;
  double *losses; /* [k] */
} Elimination;

/* a[k][k], symmetric, becomes its inverse; false when it has none. */
static bool invert(double *a, int k) {
  if (LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', k, a, k) != 0 ||
      LAPACKE_dpotri(LAPACK_COL_MAJOR, 'L', k, a, k) != 0)
    return false;
  for (int i = 0; i < k; i++)
    for (int j = 0; j < i; j++) a[(int64_t)i * k + j] = a[(int64_t)j * k + i];
  return true;
}

static const Elimination *ranked; /* of the sort that runs */

static int compare_columns(const void *a, const void *b) {
  double x = ranked->losses[*(const int *)a], y = ranked->losses[*(const int *)b];
  return x != y ? (x > y) - (x < y) : *(const int *)a - *(const int *)b;
}

static void rank_columns(Elimination *e) {
  for (int i = 0; i < e->count; i++) {
    int64_t at = (int64_t)e->left[i] * (e->k + 1);
    e->losses[e->left[i]] = e->inverse[at] > 0 ? fmax(e->gram[at] / e->inverse[at], 0) : 0;
  }
  ranked = e;
  qsort(e->left, (size_t)e->count, sizeof *e->left, compare_columns);
}

/* Rows gone[count] of a[k][k]. */
static double *rows_of(Arena *arena, const double *a, int k, const int *gone, int count) {
  double *rows = NEW_ARRAY(arena, double, (int64_t)count *k);
  for (int i = 0; i < count; i++)
    memcpy(rows + (int64_t)i * k, a + (int64_t)gone[i] * k, sizeof *rows * (size_t)k);
  return rows;
}

/* With N = inverse[gone, gone]^-1 inverse[gone, :], those that are left take W_gone N less. */
static bool eliminate(Elimination *e, int count) {
  Arena *arena = arena_new();
  int k = e->k, *gone = e->left;
  double *n = rows_of(arena, e->inverse, k, gone, count),
         *inverse = rows_of(arena, e->inverse, k, gone, count);
  double *gram = rows_of(arena, e->gram, k, gone, count),
         *block = NEW_ARRAY(arena, double, (int64_t)count *count);
  double *half = NEW_ARRAY(arena, double, (int64_t)count *k);
  for (int i = 0; i < count; i++)
    for (int j = 0; j < count; j++) block[(int64_t)i * count + j] = inverse[(int64_t)i * k + gone[j]];
  bool ok = LAPACKE_dposv(LAPACK_ROW_MAJOR, 'U', count, k, block, count, n, k) == 0;
  if (ok) {
    /* gram - gram_gone^T n - n^T gram_gone + n^T gram_gone,gone n, the last half in each of the two before */
    for (int i = 0; i < count; i++)
      for (int j = 0; j < count; j++) block[(int64_t)i * count + j] = gram[(int64_t)i * k + gone[j]];
    memcpy(half, gram, sizeof *half * (size_t)count * (size_t)k);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count, k, count, -0.5, block, count, n, k, 1, half,
                k);
    cblas_dsyr2k(CblasRowMajor, CblasUpper, CblasTrans, k, count, -1, n, k, half, k, 1, e->gram, k);
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, k, k, count, -1, inverse, k, n, k, 1, e->inverse, k);
    for (int i = 0; i < k; i++)
      for (int j = 0; j < i; j++) e->gram[(int64_t)i * k + j] = e->gram[(int64_t)j * k + i];
  }
  arena_free(arena);
  e->left += count;
  e->count -= count;
  return ok;
}

void elimination_losses(int k, const double *xx, const double *gram, double *losses) {
  enum { ROUNDS = 64 };
  Arena *arena = arena_new();
  Elimination e = {.k = k, .losses = losses, .left = NEW_ARRAY(arena, int, k), .count = k};
  e.inverse = arena_copy(arena, xx, sizeof *xx * (size_t)k * (size_t)k);
  e.gram = arena_copy(arena, gram, sizeof *gram * (size_t)k * (size_t)k);
  const double *d = damping_of(arena, xx, k + 1, k);
  for (int i = 0; i < k; i++) {
    e.left[i] = i;
    losses[i] = xx[(int64_t)i * (k + 1)] * gram[(int64_t)i * (k + 1)];
    for (int j = 0; j < i; j++) e.gram[(int64_t)i * k + j] = gram[(int64_t)j * k + i];
    e.inverse[(int64_t)i * (k + 1)] += d[i];
  }
  bool ok = invert(e.inverse, k);
  int round = (k + ROUNDS - 1) / ROUNDS;
  while (ok && e.count > 0) {
    rank_columns(&e);
    ok = eliminate(&e, round < e.count ? round : e.count);
  }
  arena_free(arena);
}

/* ---- weights that become 0 ---- */

enum { BLOCK = 128 };
static const double MAX_WORK = 1e11; /* some seconds */

/* A matrix while it loses weights. Columns are in the order in which M has them. */
typedef struct Loss {
  const Sparsity *s;
  const int *order;
  float *weights;
  const double *m; /* NULL: nothing makes up for what goes */
  double *scale;   /* [k]: the diagonal of M */
  double *v;       /* [rows][BLOCK]: weights of the block that would make up for what went */
  double *costs;   /* [row blocks][BLOCK] */
  double *errors;  /* [rows][k] */
} Loss;

static int row_blocks(const Sparsity *s) {
  return (s->rows + s->block_rows - 1) / s->block_rows;
}

/* The number below which `count` of the `all` are; they change places (Hoare 1961, algorithm 65). */
static double bound_of(double *numbers, int64_t all, int64_t count) {
  if (count >= all) return INFINITY;
  for (int64_t first = 0, last = all - 1; first < last;) {
    double middle = numbers[first + (last - first) / 2];
    int64_t i = first, j = last;
    while (i <= j) {
      while (numbers[i] < middle) i++;
      while (numbers[j] > middle) j--;
      if (i > j) break;
      double number = numbers[i];
      numbers[i++] = numbers[j];
      numbers[j--] = number;
    }
    if (count <= j)
      last = j;
    else if (count >= i)
      first = i;
    else
      break;
  }
  return numbers[count];
}

/* What blocks of rows lose with a column whose weights are v. */
static void add_costs(const Loss *l, int column, const double *v, int64_t stride, double *costs,
                      int64_t step) {
  const Sparsity *s = l->s;
  double m = l->scale[column];
  for (int row = 0; row < s->rows; row++) {
    double cost = m * v[row * stride];
    costs[row / s->block_rows * step] += cost * cost;
  }
}

/* Columns that go together cost what all of them do: of `count`, whose costs are `step` apart. */
static void share_costs(const Sparsity *s, double *costs, int count, int64_t step) {
  for (int i = 0; i < count; i++) {
    double *first = costs + (i - i % s->block_columns) * step;
    if (i % s->block_columns) *first += costs[i * step];
  }
  for (int i = 0; i < count; i++) costs[i * step] = costs[(i - i % s->block_columns) * step];
}

/* How many of the blocks of each block of columns go: those below a bound for the whole matrix. */
static int64_t *find_quotas(Arena *arena, const Loss *l) {
  const Sparsity *s = l->s;
  int64_t blocks = row_blocks(s), all = blocks * s->k;
  double *costs = NEW_ARRAY(arena, double, all), *v = NEW_ARRAY(arena, double, s->rows);
  int64_t *quotas = NEW_ARRAY(arena, int64_t, s->k / BLOCK + 1);
  for (int i = 0; i < s->k; i++) {
    for (int row = 0; row < s->rows; row++) v[row] = l->weights[(int64_t)row * s->k + l->order[i]];
    add_costs(l, i, v, 1, costs + i * blocks, 1);
  }
  for (int64_t b = 0; b < blocks; b++) share_costs(s, costs + b, s->k, blocks);
  double *mixed = arena_copy(arena, costs, sizeof *costs * (size_t)all);
  int64_t wanted = (int64_t)llround(s->share * (double)all), left;
  left = wanted -= wanted % s->block_columns;
  double bound = bound_of(mixed, all, wanted);
  for (int64_t i = 0; i < all; i++)
    if (costs[i] < bound && left > 0) quotas[i / blocks / BLOCK]++, left--;
  for (int64_t i = 0; i < all && left > 0; i++)
    if (costs[i] == bound) quotas[i / blocks / BLOCK]++, left--;
  return quotas;
}

/* The weights of columns [begin, end) that would make up for those of the later ones. */
static void find_block(const Loss *l, int begin, int end) {
  const Sparsity *s = l->s;
  int k = s->k, rows = s->rows;
  memset(l->v, 0, sizeof *l->v * (size_t)rows * BLOCK);
  if (l->m && end < k)
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, end - begin, k - end, 1, l->errors + end, k,
                l->m + (int64_t)begin * k + end, k, 0, l->v, BLOCK);
  for (int row = 0; row < rows; row++)
    for (int i = begin; i < end; i++) {
      double *v = &l->v[(int64_t)row * BLOCK + i - begin];
      *v = (l->m ? *v / l->scale[i] : 0) + l->weights[(int64_t)row * k + l->order[i]];
    }
}

/* Of each run of `group` costs all but the `kept` largest go. */
static void choose_in_groups(const Sparsity *s, const double *costs, int width, bool *gone) {
  for (int first = 0; first < width; first += s->group)
    for (int i = first; i < first + s->group; i++) {
      int larger = 0;
      for (int j = first; j < first + s->group; j++)
        larger += costs[j] > costs[i] || (costs[j] == costs[i] && j < i);
      gone[i] = larger >= s->kept;
    }
}

static void choose(Arena *arena, const Loss *l, int begin, int width, int64_t quota, bool *gone) {
  const Sparsity *s = l->s;
  int blocks = row_blocks(s);
  memset(l->costs, 0, sizeof *l->costs * (size_t)blocks * BLOCK);
  memset(gone, 0, sizeof *gone * (size_t)blocks * BLOCK);
  for (int i = 0; i < width; i++) add_costs(l, begin + i, l->v + i, BLOCK, l->costs + i, BLOCK);
  if (s->group) {
    for (int b = 0; b < blocks; b++)
      choose_in_groups(s, l->costs + (int64_t)b * BLOCK, width, gone + (int64_t)b * BLOCK);
    return;
  }
  for (int b = 0; b < blocks; b++) share_costs(s, l->costs + (int64_t)b * BLOCK, width, 1);
  double *mixed = NEW_ARRAY(arena, double, (int64_t)blocks *width);
  for (int b = 0; b < blocks; b++)
    memcpy(mixed + (int64_t)b * width, l->costs + (int64_t)b * BLOCK, sizeof *mixed * (size_t)width);
  double bound = bound_of(mixed, (int64_t)blocks * width, quota);
  for (int pass = 0; pass < 2; pass++)
    for (int b = 0; b < blocks; b++)
      for (int i = 0; i < width && quota > 0; i++) {
        double cost = l->costs[(int64_t)b * BLOCK + i];
        bool goes = pass ? cost == bound : cost < bound;
        if (goes) gone[(int64_t)b * BLOCK + i] = true, quota--;
      }
}

static void lose_row(const Loss *l, int row, int begin, int end, const bool *gone) {
  int k = l->s->k;
  double *errors = l->errors + (int64_t)row * k;
  float *weights = l->weights + (int64_t)row * k;
  for (int i = end - 1; i >= begin; i--) {
    const double *m = l->m ? l->m + (int64_t)i * k : NULL;
    double sum = 0, old = weights[l->order[i]];
    for (int j = i + 1; m && j < end; j++) sum += m[j] * errors[j];
    double v = gone[i - begin] ? 0 : l->v[(int64_t)row * BLOCK + i - begin] + (m ? sum / m[i] : 0);
    weights[l->order[i]] = (float)v;
    errors[i] = old - v;
  }
}

static void lose_block(const Loss *l, int begin, int end, int64_t quota) {
  const Sparsity *s = l->s;
  Arena *arena = arena_new();
  bool *gone = NEW_ARRAY(arena, bool, (int64_t)row_blocks(s) * BLOCK);
  find_block(l, begin, end);
  choose(arena, l, begin, end - begin, quota, gone);
  for (int row = 0; row < s->rows; row++)
    lose_row(l, row, begin, end, gone + (int64_t)(row / s->block_rows) * BLOCK);
  arena_free(arena);
}

static void find_scale(Arena *arena, Loss *l, const double *importance) {
  int k = l->s->k;
  l->scale = NEW_ARRAY(arena, double, k);
  for (int i = 0; i < k; i++) l->scale[i] = l->m ? l->m[(int64_t)i * k + i] : sqrt(importance[l->order[i]]);
}

/* Those that matter most come last to their turn, so that they can make up for all others. */
static int *falling_order(Arena *arena, const double *xx, int k) {
  int *rising = xx ? hessian_order(arena, xx, k) : NULL, *order = NEW_ARRAY(arena, int, k);
  for (int i = 0; i < k; i++) order[i] = rising ? rising[k - 1 - i] : i;
  return order;
}

/* ---- the best for the zeros that there are ---- */

/* Multiplications that solving for all rows takes, if each block of rows has its own zeros. */
static double work_of(const Sparsity *s, const float *weights) {
  double left = 0;
  for (int64_t i = 0; i < (int64_t)s->rows * s->k; i++) left += weights[i] != 0;
  left /= s->rows;
  return row_blocks(s) * left * left * left / 3;
}

/* Rows [first, first + count), whose zeros are the same: w' xx = w xx in the columns that are left. */
static bool solve_rows(const Sparsity *s, int first, int count, const double *xx, const double *wanted,
                       float *weights) {
  Arena *arena = arena_new();
  int k = s->k, left = 0, *columns = NEW_ARRAY(arena, int, k);
  for (int j = 0; j < k; j++)
    if (weights[(int64_t)first * k + j] != 0) columns[left++] = j;
  double *a = NEW_ARRAY(arena, double, (int64_t)left *left),
         *b = NEW_ARRAY(arena, double, (int64_t)count *left);
  for (int i = 0; i < left; i++) {
    for (int j = i; j < left; j++) a[(int64_t)i * left + j] = xx[(int64_t)columns[i] * k + columns[j]];
    for (int r = 0; r < count; r++) b[(int64_t)r * left + i] = wanted[(int64_t)(first + r) * k + columns[i]];
  }
  bool ok = left == 0 || LAPACKE_dposv(LAPACK_COL_MAJOR, 'L', left, count, a, left, b, left) == 0;
  for (int64_t i = 0; ok && i < (int64_t)count * left; i++) ok = isfinite(b[i]);
  for (int r = 0; ok && r < count; r++)
    for (int i = 0; i < left; i++)
      weights[(int64_t)(first + r) * k + columns[i]] = (float)b[(int64_t)r * left + i];
  arena_free(arena);
  return ok;
}

/* Rows whose equations have no solution stay as they are. */
static void solve_zeros(const Sparsity *s, const double *xx, const float *old, float *weights) {
  Arena *arena = arena_new();
  int64_t count = (int64_t)s->rows * s->k;
  double *damped = arena_copy(arena, xx, sizeof *xx * (size_t)s->k * (size_t)s->k);
  double *w = NEW_ARRAY(arena, double, count), *wanted = NEW_ARRAY(arena, double, count);
  const double *d = damping_of(arena, xx, s->k + 1, s->k);
  for (int i = 0; i < s->k; i++) damped[(int64_t)i * (s->k + 1)] += d[i];
  for (int64_t i = 0; i < count; i++) w[i] = old[i];
  cblas_dsymm(CblasRowMajor, CblasRight, CblasUpper, s->rows, s->k, 1, damped, s->k, w, s->k, 0, wanted,
              s->k);
  for (int row = 0; row < s->rows; row += s->block_rows)
    solve_rows(s, row, s->rows - row < s->block_rows ? s->rows - row : s->block_rows, damped, wanted,
               weights);
  arena_free(arena);
}

bool sparsify(const Sparsity *s, const int *order, const double *importance, const double *xx,
              float *weights) {
  Arena *arena = arena_new();
  Loss l = {.s = s, .order = order, .weights = weights};
  if (!order) l.order = falling_order(arena, xx, s->k);
  const float *old = xx ? arena_copy(arena, weights, sizeof *weights * (size_t)s->rows * (size_t)s->k) : NULL;
  if (xx) l.m = hessian_factor(arena, xx, damping_of(arena, xx, s->k + 1, s->k), l.order, s->k);
  bool ok = l.m || !xx;
  if (ok) {
    find_scale(arena, &l, importance);
    l.v = NEW_ARRAY(arena, double, (int64_t)s->rows *BLOCK);
    l.costs = NEW_ARRAY(arena, double, (int64_t)row_blocks(s) * BLOCK);
    l.errors = NEW_ARRAY(arena, double, (int64_t)s->rows * s->k);
    int64_t *quotas = s->group ? NULL : find_quotas(arena, &l);
    for (int begin = (s->k - 1) / BLOCK * BLOCK; begin >= 0; begin -= BLOCK)
      lose_block(&l, begin, begin + BLOCK < s->k ? begin + BLOCK : s->k, quotas ? quotas[begin / BLOCK] : 0);
    if (xx && work_of(s, weights) < MAX_WORK) solve_zeros(s, xx, old, weights);
  }
  arena_free(arena);
  return ok;
}
