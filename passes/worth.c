/*
 * worth.c -- which layers stay narrow: those that are faster for it and do not cost too much.
 *
 * A layer goes back when the narrow form takes longer, unless bytes are worth more. Of the others each brings
 * noise into the outputs (sensitivity.c), and that of all is about the sum. It can be had without, at f32, or
 * with less where 16 bits are fast, and costs time. Moves to wider numbers are made in the order of what they
 * take away for their time: those that take away a far larger share of the noise than they add to the time,
 * or, where more is lost then than may be (Ledger.max_drop), as few as it takes. Shares are those of each
 * part of the outputs, in the mean, so that none is forgotten for its numbers being small.
 */
#include "passes/quantize.h"

#include <math.h>
#include <string.h>

/* Noise of the outputs that needs no care: 50 dB. */
static const double FINE = 1e-5;

/* Layers that are slower with integers go back; whether there were any. What is part of another kernel in
 * f32, as a gather before a sum, has no time of its own there, and takes none that counts. */
static bool give_back_slow(Plan *plan) {
  bool changed = false, measured = plan->ledger->times_decide;
  for (int i = 0; i < plan->layer_count; i++) {
    LedgerRow *row = plan->layers[i].row;
    double before = measured ? row->measured_before : row->predicted_before;
    double after = measured ? row->measured_after : row->predicted_after;
    if (row->precision == PRECISION_F32 || before == 0 || after <= before) continue;
    row->precision = PRECISION_F32;
    row->reason = "slower";
    changed = true;
  }
  return changed;
}

/* ---- where layers can go ---- */

/* What is fast and more exact, or f32. */
static Precision refuge_of(const Plan *plan) {
  const Target *target = plan->options->target;
  bool halves = target && target->half_gain > 1 && plan->quantization->precision != PRECISION_BF16;
  return halves ? PRECISION_BF16 : PRECISION_F32;
}

/* A layer that is narrow. */
typedef struct Place {
  const Layer *layer;
  Precision at;
  double seconds[PRECISION_COUNT]; /* that it takes */
  double left[PRECISION_COUNT];    /* of its noise: all when it is narrow, nothing at f32 */
} Place;

/* Of a place to a wider precision. */
typedef struct Move {
  Place *place;
  Precision to;
  double share;   /* of the noise that goes with it */
  double seconds; /* that it adds */
} Move;

typedef struct Places {
  Plan *plan;
  Place *list;
  int count;
  Precision narrow, refuge;
  bool by_noise; /* moves are in the order of what they take away, whatever time it takes */
} Places;

static double row_seconds(const Plan *plan, const LedgerRow *row) {
  return plan->ledger->times_decide ? row->measured_after : row->predicted_after;
}

static void set_precisions(const Places *places, Precision precision) {
  for (int i = 0; i < places->count; i++) places->list[i].layer->row->precision = precision;
}

/* Times and errors of all layers at the refuge. */
static bool try_refuge(Places *places, double *errors) {
  Plan *plan = places->plan;
  Ledger *ledger = plan->ledger;
  size_t size = sizeof *ledger->rows * (size_t)plan->layer_count;
  LedgerRow *rows = NEW_ARRAY(plan->graph->module->arena, LedgerRow, plan->layer_count),
            total = ledger->total;
  memcpy(rows, ledger->rows, size);
  set_precisions(places, places->refuge);
  TRY(plan_predict(plan) && plan_find_errors(plan, errors));
  for (int i = 0; i < places->count; i++)
    places->list[i].seconds[places->refuge] = row_seconds(plan, places->list[i].layer->row);
  memcpy(ledger->rows, rows, size);
  ledger->total = total;
  return true;
}

/* At the refuge a layer has less noise by as much as its own results are off less. */
static bool price_refuge(Places *places) {
  double *errors = NEW_ARRAY(places->plan->graph->module->arena, double, places->plan->layer_count);
  TRY(try_refuge(places, errors));
  for (int i = 0; i < places->count; i++) {
    Place *place = &places->list[i];
    double error = errors[place->layer - places->plan->layers];
    place->left[places->refuge] = error < place->layer->error ? error / place->layer->error : 1;
  }
  return true;
}

/* Once, while all layers are narrow that may be. */
static bool open_places(Places *places, Plan *plan) {
  if (places->plan) return true;
  bool measured = plan->ledger->times_decide;
  *places = (Places){.plan = plan,
                     .list = NEW_ARRAY(plan->graph->module->arena, Place, plan->layer_count),
                     .narrow = plan->quantization->precision,
                     .refuge = refuge_of(plan)};
  for (int i = 0; i < plan->layer_count; i++) {
    const Layer *layer = &plan->layers[i];
    const LedgerRow *row = layer->row;
    if (row->precision == PRECISION_F32) continue;
    Place *place = &places->list[places->count++];
    *place = (Place){.layer = layer, .at = row->precision};
    place->left[row->precision] = 1;
    place->seconds[row->precision] = row_seconds(plan, row);
    place->seconds[PRECISION_F32] = measured ? row->measured_before : row->predicted_before;
  }
  return places->refuge == PRECISION_F32 || price_refuge(places);
}

/* ---- in which order ---- */

/* noise[parts]: that is there now. */
static void sum_noise(const Places *places, double *noise) {
  for (int p = 0; p < places->plan->part_count; p++) {
    noise[p] = 0;
    for (int i = 0; i < places->count; i++) {
      const Place *place = &places->list[i];
      noise[p] += place->layer->noise[p] * place->left[place->at];
    }
  }
}

/* In the mean of parts; of those that have less than `fine`, nothing. */
static double share_of(const Places *places, const Place *place, const double *noise, double fine,
                       Precision to) {
  double share = 0;
  int parts = places->plan->part_count;
  for (int p = 0; p < parts; p++)
    if (noise[p] > fine) share += place->layer->noise[p] / noise[p] / parts;
  return share * (place->left[place->at] - place->left[to]);
}

static double worth(const Places *places, const Move *move) {
  return places->by_noise ? move->share : move->share / fmax(move->seconds, 1e-9);
}

/* The one that takes away most noise for its time, of those that take away `least`; no place: there is none.
 */
static Move best_move(const Places *places, const double *noise, double fine, double least) {
  Move best = {0};
  const Precision wider[] = {places->refuge, PRECISION_F32};
  for (int i = 0; i < places->count; i++)
    for (int k = 0; k < COUNT_OF(wider); k++) {
      Place *place = &places->list[i];
      if (place->at == PRECISION_F32 || place->left[wider[k]] >= place->left[place->at]) continue;
      Move move = {place, wider[k], share_of(places, place, noise, fine, wider[k]),
                   place->seconds[wider[k]] - place->seconds[place->at]};
      if (move.share >= least && (!best.place || worth(places, &move) > worth(places, &best))) best = move;
    }
  return best;
}

/* Moves, the best first, until `bound` says that one is not worth it: that many times the share of noise must
 * go for a share of time. */
static int find_moves(const Places *places, double fine, double least, double bound, Move *moves) {
  double *noise = NEW_ARRAY(places->plan->graph->module->arena, double, places->plan->part_count),
         seconds = row_seconds(places->plan, &places->plan->ledger->total);
  for (int count = 0;; count++) {
    sum_noise(places, noise);
    Move move = best_move(places, noise, fine, least);
    if (!move.place || move.share < bound * move.seconds / seconds) return count;
    move.place->at = move.to;
    moves[count] = move;
  }
}

/* The first `count`; the other layers are narrow. */
static void make_moves(const Places *places, const Move *moves, int count, const char *reason) {
  for (int i = 0; i < places->count; i++) {
    places->list[i].layer->row->precision = places->narrow;
    places->list[i].layer->row->reason = NULL;
  }
  for (int i = 0; i < count; i++) {
    moves[i].place->layer->row->precision = moves[i].to;
    moves[i].place->layer->row->reason = reason;
  }
}

static Move *new_moves(const Places *places) {
  return NEW_ARRAY(places->plan->graph->module->arena, Move, 2 * places->count + 1);
}

/* ---- the noise that is cheap to be rid of ---- */

static bool is_noisy(const Plan *plan) {
  enum { FEWEST = 8 };
  int count = 0;
  bool noisy = false;
  for (int i = 0; i < plan->layer_count; i++) count += plan->layers[i].row->precision != PRECISION_F32;
  for (int p = 0; p < plan->part_count; p++) {
    double noise = 0;
    for (int i = 0; i < plan->layer_count; i++) noise += plan->layers[i].noise ? plan->layers[i].noise[p] : 0;
    noisy |= noise > FINE;
  }
  return noisy && count >= FEWEST;
}

/* Where nobody says what may be lost; *changed: whether layers went back. */
static bool give_back_noisy(Plan *plan, Places *places, bool *changed) {
  const double bound = 6, least = 0.01;
  if (plan->ledger->asks_drop || plan->quantization->precision != PRECISION_INT8 || !is_noisy(plan))
    return true;
  TRY(open_places(places, plan));
  Move *moves = new_moves(places);
  int count = find_moves(places, FINE, least, bound, moves);
  make_moves(places, moves, count, "noisy");
  *changed |= count > 0;
  return true;
}

/* ---- a bound on what may be lost ---- */

static bool holds(const Ledger *ledger) {
  return ledger->before - ledger->after <= ledger->max_drop;
}

/* Classes that nobody asked for may be any. */
static bool has_bound(const Ledger *ledger) {
  return ledger->max_drop >= 0 && (ledger->asks_drop || ledger->likeness == LIKE_ERROR);
}

/* The least number of moves that are enough, by bisection; all of them: even one fewer is too few. False: an
 * error. *least gets the smallest drop that was met on the way. */
static bool find_enough(const Places *places, const Move *moves, int count, int *enough, double *least) {
  Plan *plan = places->plan;
  Ledger *ledger = plan->ledger;
  int low = 0, high = count;
  while (low + 1 < high) {
    int tried = low + (high - low) / 2;
    plan_report(plan, "finding what is lost where", count - (high - low), count);
    make_moves(places, moves, tried, "sensitive");
    TRY(plan_evaluate(plan));
    *least = fmin(*least, ledger->before - ledger->after);
    *(holds(ledger) ? &high : &low) = tried;
  }
  *enough = high;
  make_moves(places, moves, high, "sensitive");
  return true;
}

/* Whether fewer than all are enough, in one order or the other, as the last layer by the one may be first by
 * the other: *reached; else all go back. *least gets the smallest drop that was met. */
static bool give_back_sensitive(Places *places, bool *reached, double *least) {
  Move *moves = new_moves(places);
  *reached = false;
  for (int by_noise = 0; by_noise < 2 && !*reached; by_noise++) {
    places->by_noise = by_noise;
    for (int i = 0; i < places->count; i++) places->list[i].at = places->narrow;
    int enough, count = find_moves(places, 0, 0, 0, moves);
    TRY(find_enough(places, moves, count, &enough, least));
    *reached = enough < count;
  }
  return true;
}

static bool choose_by_loss(Plan *plan, Places *places) {
  Ledger *ledger = plan->ledger;
  if (!has_bound(ledger) || holds(ledger)) return true;
  double drop = ledger->before - ledger->after, least = drop;
  bool reached;
  TRY(open_places(places, plan) && give_back_sensitive(places, &reached, &least));
  if (!reached && ledger->asks_drop)
    return fail(
        plan->graph->module,
        "with %s the drop is %.3g %%, and with only the least sensitive of %d products still %.3g %%, over "
        "--max-drop %.3g %%: allow more, try --recover or another --range, or give more or better samples",
        precision_name(places->narrow), 100 * drop, places->count, 100 * least, 100 * ledger->max_drop);
  return plan_predict(plan) && plan_evaluate(plan);
}

static void count_bytes(Plan *plan) {
  for (int i = 0; i < plan->layer_count; i++)
    plan->layers[i].row->bytes_after = layer_bytes(&plan->layers[i]);
}

bool plan_judge(Plan *plan) {
  TRY(plan_predict(plan));
  bool changed = plan->options->preference != PREFER_SIZE && give_back_slow(plan);
  TRY(plan_find_sensitivity(plan));
  Places places = {0};
  TRY(give_back_noisy(plan, &places, &changed));
  TRY((!changed || plan_predict(plan)) && plan_evaluate(plan) && choose_by_loss(plan, &places));
  count_bytes(plan);
  return true;
}
