/*
 * distill.c -- gradient steps on what is left, so that the outputs come nearer to the original's.
 *
 * What least squares does for each layer alone (fit.c) this does for all at once, behind activations, too.
 * Adam (Kingma and Ba 2015, arXiv 1412.6980) walks down over seven eighths of the samples, in small batches,
 * with a rate that falls along a cosine; of what it has after each round that is taken which is nearest on
 * the last eighth, if it is nearer than before. Weights that are 0 stay 0. The original says what the outputs
 * are to be for whatever input, so every other batch is of samples that are mixed by twos (Zhang et al. 2018,
 * arXiv 1710.09412): of these there are as many as one likes. Where steps lead away, shorter ones are tried.
 */
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "passes/student.h"

/* Few samples go in small batches: it takes steps to get anywhere. */
enum { LARGEST_BATCH = 32, SMALLEST_BATCH = 8, FEWEST_BATCHES = 128 };

/* What Adam knows of a knob. Weights are [rows][columns], columns of a group. */
typedef struct Walker {
  float *mean, *square, *best;
  int *at;           /* [rows][columns]: where the knob has them */
  float *units;      /* [rows]: how large the numbers of each are; steps are in parts of it */
  float *x;          /* [groups][columns]: what they meet in the mean; NULL: there is no shift behind them */
  const float *root; /* [groups][columns][columns] of what they meet (moments_root); NULL: not known */
} Walker;

typedef struct Walk {
  Student *student;
  Arena *arena;
  Walker *walkers; /* [knobs] */
  Mixture *batch;
  int *order, *apart; /* [walked], [judged]: samples */
  int walked, judged, mixes;
  uint64_t random;
  int64_t steps, last_step;
  float *slope; /* [numbers of the largest knob] */
} Walk;

static double next_random(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (double)(*state >> 11) / 9007199254740992.0;
}

/* ---- steps ---- */

/*
 * What weights meet lies far from 0, as behind ReLU, varies much in some directions and little in others. A
 * step as long for each weight of a row would shift the row's result, for which there is a knob, and change
 * it by what varies most. So steps are those of weights for what is met less its mean (Schraudolph 1998,
 * Centering Neural Network Gradient Factors), in directions that vary independently and as much (Desjardins
 * et al. 2015, Natural Neural Networks, arXiv 1507.00210): with x - mean = root^T z, of w root^T.
 */

/* slope[rows][columns] becomes the step that is to be taken off. */
static void adam(const Walk *walk, Walker *w, float *slope, int64_t rows, int64_t columns, double rate) {
  const float keep_mean = 0.9f, keep_square = 0.999f, least = 1e-8f;
  float mean_share = (float)(1 - pow(0.9, (double)walk->steps)),
        square_share = (float)(1 - pow(0.999, (double)walk->steps));
  for (int64_t row = 0, i = 0; row < rows; row++) {
    float by = (float)rate * w->units[row];
    for (int64_t j = 0; j < columns; j++, i++) {
      float g = isfinite(slope[i]) ? slope[i] : 0;
      w->mean[i] = keep_mean * w->mean[i] + (1 - keep_mean) * g;
      w->square[i] = keep_square * w->square[i] + (1 - keep_square) * g * g;
      slope[i] = by * (w->mean[i] / mean_share) / (sqrtf(w->square[i] / square_share) + least);
    }
  }
}

/* slope[rows][columns] of weights becomes that of w root^T, or a step of that one of weights. */
static void turn(const Knob *knob, const Walker *w, float *slope, bool back) {
  int rows = (int)knob->geometry.group_rows, columns = (int)knob->geometry.k;
  for (int64_t g = 0; w->root && g < layer_groups(&knob->geometry); g++)
    cblas_strsm(CblasRowMajor, CblasRight, CblasUpper, back ? CblasTrans : CblasNoTrans, CblasNonUnit, rows,
                columns, 1, w->root + g * columns * columns, columns, slope + g * rows * columns, columns);
}

/* Of weights that are there: gradient - shift's gradient * mean of what they meet. */
static void find_slope(const Knob *knob, const Walker *w, const float *gradient, const float *shift,
                       float *slope) {
  const Layer *layer = &knob->geometry;
  const float *now = knob->now.data;
  const int *at = w->at;
  for (int64_t row = 0; row < layer->rows; row++) {
    const float *x = w->x ? w->x + row / layer->group_rows * layer->k : NULL;
    for (int64_t j = 0; j < layer->k; j++, at++)
      *slope++ = now[*at] == 0 ? 0 : gradient[*at] - (x ? shift[row] * x[j] : 0);
  }
}

/* What they shift by the mean of what they meet, the shift takes back. */
static void take_off(const Knob *knob, const Walker *w, const float *off, float *shift) {
  const Layer *layer = &knob->geometry;
  float *now = knob->now.data;
  const int *at = w->at;
  for (int64_t row = 0; row < layer->rows; row++) {
    const float *x = w->x ? w->x + row / layer->group_rows * layer->k : NULL;
    for (int64_t j = 0; j < layer->k; j++, at++, off++) {
      if (now[*at] == 0) continue;
      now[*at] -= *off;
      if (x) shift[row] += *off * x[j];
    }
  }
}

static void step_weights(Walk *walk, int number, double rate) {
  const Student *s = walk->student;
  const Knob *knob = &s->knobs[number];
  Walker *w = &walk->walkers[number];
  int behind = w->x ? number + 1 : number; /* the shift, if there is one */
  find_slope(knob, w, student_gradient(s, number), student_gradient(s, behind), walk->slope);
  turn(knob, w, walk->slope, false);
  adam(walk, w, walk->slope, knob->geometry.rows, knob->geometry.k, rate);
  turn(knob, w, walk->slope, true);
  take_off(knob, w, walk->slope, s->knobs[behind].now.data);
}

static void step_shift(Walk *walk, int number, double rate) {
  const Knob *knob = &walk->student->knobs[number];
  float *now = knob->now.data;
  memcpy(walk->slope, student_gradient(walk->student, number), tensor_size(&knob->now));
  adam(walk, &walk->walkers[number], walk->slope, knob_size(knob), 1, rate);
  for (int64_t i = 0; i < knob_size(knob); i++) now[i] -= walk->slope[i];
}

static void step(Walk *walk, double longest) {
  walk->steps++;
  const Student *s = walk->student;
  double share = (double)walk->steps / (double)walk->last_step,
         rate = longest * 0.5 * (1 + cos(M_PI * share));
  for (int i = 0; i < s->knob_count; i++)
    (s->knobs[i].kind == KNOB_WEIGHTS ? step_weights : step_shift)(walk, i, rate);
}

/* The mean distance over the samples that are kept apart. */
static bool judge(Walk *walk, double *distance) {
  Student *s = walk->student;
  int batches = walk->judged / s->batch;
  *distance = 0;
  for (int b = 0; b < batches; b++) {
    double part;
    for (int k = 0; k < s->batch; k++) walk->batch[k] = (Mixture){.a = walk->apart[b * s->batch + k]};
    TRY(student_judge(s, walk->batch, &part));
    *distance += part / batches;
  }
  return true;
}

static void shuffle(Walk *walk) {
  for (int i = walk->walked - 1; i > 0; i--) {
    int other = (int)(next_random(&walk->random) * (i + 1)), old = walk->order[i];
    walk->order[i] = walk->order[other];
    walk->order[other] = old;
  }
}

static Mixture choose(Walk *walk, int i, bool mixes) {
  Mixture mixture = {.a = walk->order[i]};
  if (!mixes) return mixture;
  mixture.b = walk->order[(int)(next_random(&walk->random) * walk->walked)];
  mixture.share = (float)next_random(&walk->random) / 2;
  return mixture;
}

/* Once over the samples. */
static bool walk_round(Walk *walk, double rate) {
  Student *s = walk->student;
  shuffle(walk);
  for (int first = 0; first + s->batch <= walk->walked; first += s->batch) {
    double unused;
    bool mixes = walk->mixes && walk->steps % 2;
    plan_report(&s->pruner->plan, "distilling", (int)walk->steps, (int)walk->last_step);
    for (int k = 0; k < s->batch; k++) walk->batch[k] = choose(walk, first + k, mixes);
    TRY(student_run(s, walk->batch, &unused));
    step(walk, rate);
    student_forget(s);
  }
  return true;
}

static void keep(Walk *walk) {
  for (int i = 0; i < walk->student->knob_count; i++) {
    const Knob *knob = &walk->student->knobs[i];
    memcpy(walk->walkers[i].best, knob->now.data, sizeof(float) * (size_t)knob_size(knob));
  }
}

/* ---- all of it ---- */

static bool has_floats_only(const Graph *graph) {
  bool only = true;
  for (int i = 0; i < graph->input_count; i++) only &= graph->inputs[i]->type->dtype == DTYPE_F32;
  return only;
}

/* What a knob's weights meet in the original, in the mean; NULL: no shift stands behind it. */
static float *find_means(const Student *s, int number) {
  const Knob *knob = &s->knobs[number], *next = number + 1 < s->knob_count ? knob + 1 : NULL;
  const Layer *layer = &s->pruner->plan.layers[knob->layer];
  const double *mean = s->pruner->layers[knob->layer].x_mean;
  const Kept *kept = &knob->kept;
  bool has_shift = next && next->layer == knob->layer && next->kind == KNOB_SHIFT;
  if (knob->kind != KNOB_WEIGHTS || !has_shift || layer->is_inner || !mean) return NULL;
  int64_t groups = layer_groups(&knob->geometry), columns = kept->column_count;
  float *x = NEW_ARRAY(s->arena, float, groups *columns);
  for (int64_t g = 0; g < groups; g++)
    for (int64_t c = 0; c < columns; c++) {
      int row = kept->rows[g * knob->geometry.group_rows];
      x[g * columns + c] = (float)mean[layer_channel(layer, row, kept->columns[c])];
    }
  return x;
}

static float root_of_mean(const float *x, int64_t count) {
  double squares = 0;
  for (int64_t i = 0; i < count; i++) squares += (double)x[i] * x[i] / (double)count;
  return (float)sqrt(squares);
}

/* Where weights are, and how large those of a row are as steps see them: times root^T. */
static void weigh(const Walk *walk, const Knob *knob, Walker *w) {
  const Layer *layer = &knob->geometry;
  int rows = (int)layer->group_rows, columns = (int)layer->k;
  const float *now = knob->now.data;
  float *turned = walk->slope;
  w->at = NEW_ARRAY(walk->arena, int, knob_size(knob));
  for (int64_t row = 0, i = 0; row < layer->rows; row++)
    for (int64_t j = 0; j < columns; j++, i++) turned[i] = now[w->at[i] = (int)layer_index(layer, row, j)];
  for (int64_t g = 0; w->root && g < layer_groups(layer); g++)
    cblas_strmm(CblasRowMajor, CblasRight, CblasUpper, CblasTrans, CblasNonUnit, rows, columns, 1,
                w->root + g * columns * columns, columns, turned + g * rows * columns, columns);
  for (int64_t row = 0; row < layer->rows; row++)
    w->units[row] = root_of_mean(turned + row * columns, columns);
}

static void open_walker(Walk *walk, int number) {
  const Student *s = walk->student;
  const Knob *knob = &s->knobs[number];
  const Thinning *thinning = &s->pruner->layers[knob->layer];
  Walker *w = &walk->walkers[number];
  int64_t size = knob_size(knob);
  w->mean = NEW_ARRAY(walk->arena, float, size);
  w->square = NEW_ARRAY(walk->arena, float, size);
  w->best = NEW_ARRAY(walk->arena, float, size);
  w->units = NEW_ARRAY(walk->arena, float, knob->kept.row_count);
  if (knob->kind == KNOB_WEIGHTS) {
    w->x = find_means(s, number);
    w->root = thinning->roots;
    weigh(walk, knob, w);
  } else {
    for (int row = 0; row < knob->kept.row_count; row++)
      w->units[row] = (float)sqrt(thinning->y_variance[knob->kept.rows[row]]);
  }
}

static Walk walk_open(Student *s) {
  const Pruner *pruner = s->pruner;
  int count = pruner->plan.ledger->samples->count;
  Walk walk = {.student = s, .arena = s->arena, .random = 1};
  walk.walkers = NEW_ARRAY(s->arena, Walker, s->knob_count);
  walk.batch = NEW_ARRAY(s->arena, Mixture, s->batch);
  walk.order = NEW_ARRAY(s->arena, int, count);
  walk.apart = NEW_ARRAY(s->arena, int, count);
  for (int i = 0; i < count; i++)
    if (pruner_judges(pruner, i))
      walk.apart[walk.judged++] = i;
    else
      walk.order[walk.walked++] = i;
  if (walk.judged == 0) { /* there are few: they are judged by themselves */
    memcpy(walk.apart, walk.order, sizeof *walk.apart * (size_t)count);
    walk.judged = walk.walked;
  }
  int64_t most = 0;
  for (int i = 0; i < s->knob_count; i++) {
    int64_t size = knob_size(&s->knobs[i]);
    most = size > most ? size : most;
  }
  walk.slope = NEW_ARRAY(s->arena, float, most);
  for (int i = 0; i < s->knob_count; i++) open_walker(&walk, i);
  walk.mixes = has_floats_only(pruner->plan.graph);
  walk.last_step = (int64_t)pruner->pruning->epochs * (walk.walked / s->batch);
  return walk;
}

/* Back to what was kept, as if no step had been taken. */
static void start_again(Walk *walk) {
  walk->steps = 0;
  for (int i = 0; i < walk->student->knob_count; i++) {
    const Knob *knob = &walk->student->knobs[i];
    const Walker *w = &walk->walkers[i];
    size_t bytes = sizeof(float) * (size_t)knob_size(knob);
    memcpy(knob->now.data, w->best, bytes);
    memset(w->mean, 0, bytes);
    memset(w->square, 0, bytes);
  }
}

/* All rounds, or, unless it is patient, one that leads away; *least becomes what is nearest. */
static bool walk_rounds(Walk *walk, double rate, bool is_patient, double *least) {
  const double before = *least;
  for (int epoch = 0; epoch < walk->student->pruner->pruning->epochs; epoch++) {
    double now;
    TRY(walk_round(walk, rate) && judge(walk, &now));
    if (now < *least) keep(walk);
    *least = fmin(*least, now);
    if (!is_patient && !(*least < before)) break;
  }
  return true;
}

/* Where the first round leads away, because steps are too long, again with shorter ones. */
static bool walk_all(Student *s) {
  const double longest = 0.006, shortest = 0.0001;
  Walk walk = walk_open(s);
  double before, least;
  TRY(judge(&walk, &before));
  least = before;
  keep(&walk);
  for (double rate = longest; rate >= shortest && !(least < before); rate /= 3) {
    start_again(&walk);
    TRY(walk_rounds(&walk, rate, rate / 3 < shortest, &least));
  }
  bool better = least < before;
  float **best = NEW_ARRAY(s->arena, float *, s->knob_count);
  for (int i = 0; i < s->knob_count; i++) best[i] = walk.walkers[i].best;
  if (better) student_keep(s, best);
  plan_note(&s->pruner->plan, "distilled: the outputs are %.3g off before, %.3g after%s", before, least,
            better ? "" : ": not done");
  return true;
}

static int batch_of(int samples) {
  int batch = LARGEST_BATCH;
  while (batch > SMALLEST_BATCH && samples / batch < FEWEST_BATCHES) batch /= 2;
  return batch;
}

bool pruner_distill(Pruner *pruner) {
  Student student;
  const char *why = NULL;
  bool ok = student_open(&student, pruner, batch_of(pruner->plan.ledger->samples->count), &why);
  if (ok && why) plan_note(&pruner->plan, "not distilled: %s", why);
  if (ok && !why) ok = walk_all(&student);
  student_close(&student);
  return ok;
}
