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
#include <math.h>
#include <string.h>

#include "passes/student.h"

/* Few samples go in small batches: it takes steps to get anywhere. */
enum { LARGEST_BATCH = 32, SMALLEST_BATCH = 8, FEWEST_BATCHES = 128 };

/* What Adam knows of a knob. */
typedef struct Walker {
  float *mean, *square, *best;
  float *x; /* [groups * columns]: what weights beside a shift meet, in the mean; NULL: there is no shift */
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
  float *before, *centred; /* [numbers of the largest knob] */
} Walk;

static double next_random(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (double)(*state >> 11) / 9007199254740992.0;
}

/* ---- steps ---- */

/*
 * What a weight meets is rarely 0 in the mean, behind ReLU never, and so steps of a row's weights add up to a
 * shift of its result, for which there is a knob. They are centred (Schraudolph 1998, Centering Neural
 * Network Gradient Factors): a gradient is taken less that of the shift by the mean, and of what a step
 * shifts the shift takes back that at the mean.
 */

/* centred[i] = weights[i] - shift[row of i] * mean of what i meets */
static void centre(const Knob *knob, const float *x, const float *weights, const float *shift,
                   float *centred) {
  const Layer *now = &knob->geometry;
  int64_t columns = knob->kept.column_count, i = 0;
  for (int64_t block = 0; block < columns; block += now->inner)
    for (int64_t row = 0; row < now->rows; row++) {
      const float *met = x + row / now->group_rows * columns + block;
      for (int64_t c = 0; c < now->inner; c++, i++) centred[i] = weights[i] - shift[row] * met[c];
    }
}

/* shift[row of i] -= (now[i] - before[i]) * mean of what i meets */
static void take_back(const Knob *knob, const float *x, const float *before, float *shift) {
  const Layer *now = &knob->geometry;
  const float *weights = knob->now.data;
  int64_t columns = knob->kept.column_count, i = 0;
  for (int64_t block = 0; block < columns; block += now->inner)
    for (int64_t row = 0; row < now->rows; row++) {
      const float *met = x + row / now->group_rows * columns + block;
      for (int64_t c = 0; c < now->inner; c++, i++) shift[row] -= (weights[i] - before[i]) * met[c];
    }
}

static void step_knob(const Walk *walk, const Knob *knob, Walker *w, const float *gradient, double rate) {
  const float keep_mean = 0.9f, keep_square = 0.999f, least = 1e-8f;
  float mean_share = (float)(1 - pow(0.9, (double)walk->steps)),
        square_share = (float)(1 - pow(0.999, (double)walk->steps)), by = (float)rate * knob->unit;
  float *now = knob->now.data;
  for (int64_t c = 0; c < knob_size(knob); c++) {
    float g = isfinite(gradient[c]) ? gradient[c] : 0;
    w->mean[c] = keep_mean * w->mean[c] + (1 - keep_mean) * g;
    w->square[c] = keep_square * w->square[c] + (1 - keep_square) * g * g;
    float turn = by * (w->mean[c] / mean_share) / (sqrtf(w->square[c] / square_share) + least);
    now[c] -= knob->kind == KNOB_WEIGHTS && now[c] == 0 ? 0 : turn;
  }
}

/* Weights, and the shift behind them. */
static void step_centred(Walk *walk, int number, double rate) {
  const Student *s = walk->student;
  const Knob *knob = &s->knobs[number];
  Walker *w = &walk->walkers[number];
  memcpy(walk->before, knob->now.data, sizeof(float) * (size_t)knob_size(knob));
  centre(knob, w->x, student_gradient(s, number), student_gradient(s, number + 1), walk->centred);
  step_knob(walk, knob, w, walk->centred, rate);
  take_back(knob, w->x, walk->before, s->knobs[number + 1].now.data);
}

static void step(Walk *walk, double longest) {
  walk->steps++;
  const Student *s = walk->student;
  double share = (double)walk->steps / (double)walk->last_step,
         rate = longest * 0.5 * (1 + cos(M_PI * share));
  for (int i = 0; i < s->knob_count; i++)
    if (walk->walkers[i].x)
      step_centred(walk, i, rate);
    else
      step_knob(walk, &s->knobs[i], &walk->walkers[i], student_gradient(s, i), rate);
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
    walk.walkers[i] = (Walker){NEW_ARRAY(s->arena, float, size), NEW_ARRAY(s->arena, float, size),
                               NEW_ARRAY(s->arena, float, size), find_means(s, i)};
    most = size > most ? size : most;
  }
  walk.before = NEW_ARRAY(s->arena, float, most);
  walk.centred = NEW_ARRAY(s->arena, float, most);
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
  const double longest = 0.01, shortest = 0.0001;
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
