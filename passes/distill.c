/*
 * distill.c -- gradient steps on what is left, so that the outputs come nearer to the original's.
 *
 * What least squares does for each layer alone (fit.c) this does for all at once, behind activations, too.
 * Adam (Kingma and Ba 2015, arXiv 1412.6980) walks down over seven eighths of the samples, in small batches,
 * with a rate that falls along a cosine; of what it has after each round that is taken which is nearest on
 * the last eighth, if it is nearer than before. Weights that are 0 stay 0. The original says what the outputs
 * are to be for whatever input, so every other batch is of samples that are mixed by twos (Zhang et al. 2018,
 * arXiv 1710.09412): of these there are as many as one likes.
 */
#include <math.h>
#include <string.h>

#include "passes/student.h"

/* Few samples go in small batches: it takes steps to get anywhere. */
enum { LARGEST_BATCH = 32, SMALLEST_BATCH = 8, FEWEST_BATCHES = 128 };

/* What Adam knows of a knob. */
typedef struct Walker {
  float *mean, *square, *best;
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
} Walk;

static double next_random(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (double)(*state >> 11) / 9007199254740992.0;
}

/* ---- steps ---- */

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

static void step(Walk *walk, double rate) {
  walk->steps++;
  double share = (double)walk->steps / (double)walk->last_step;
  for (int i = 0; i < walk->student->knob_count; i++)
    step_knob(walk, &walk->student->knobs[i], &walk->walkers[i], student_gradient(walk->student, i),
              rate * 0.5 * (1 + cos(M_PI * share)));
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
  for (int i = 0; i < s->knob_count; i++) {
    int64_t size = knob_size(&s->knobs[i]);
    walk.walkers[i] = (Walker){NEW_ARRAY(s->arena, float, size), NEW_ARRAY(s->arena, float, size),
                               NEW_ARRAY(s->arena, float, size)};
  }
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
  const double longest = 0.01, shortest = 0.001;
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
