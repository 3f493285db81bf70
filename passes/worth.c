/*
 * worth.c -- which layers stay narrow: those that are faster for it and do not cost too much.
 *
 * A layer goes back when the narrow form takes longer, unless bytes are worth more. Of the others each brings
 * noise into the outputs (sensitivity.c), and that of all is about the sum. Some of it is cheap to be rid of:
 * a layer goes back to what is fast and more exact while that takes away a far larger share of the noise than
 * it adds to the time. With a bound on what may be lost (Ledger.max_drop) those with the most noise go back
 * then, as few as it takes.
 */
#include "passes/quantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Noise of the outputs that needs no care: 50 dB. */
static const double FINE = 1e-5;

/* Layers that are slower with integers go back; whether there were any. */
static bool give_back_slow(Plan *plan) {
  bool changed = false, measured = plan->ledger->times_decide;
  for (int i = 0; i < plan->layer_count; i++) {
    LedgerRow *row = plan->layers[i].row;
    double before = measured ? row->measured_before : row->predicted_before;
    double after = measured ? row->measured_after : row->predicted_after;
    if (row->precision == PRECISION_F32 || after <= before) continue;
    row->precision = PRECISION_F32;
    row->reason = "slower";
    changed = true;
  }
  return changed;
}

static int compare_rows(const void *a, const void *b) {
  double x = (*(LedgerRow *const *)a)->sqnr, y = (*(LedgerRow *const *)b)->sqnr;
  return (x > y) - (x < y);
}

/* Those that are not f32, the worst first. */
static LedgerRow **sensitive_rows(const Plan *plan, int *count) {
  LedgerRow **rows = NEW_ARRAY(plan->graph->module->arena, LedgerRow *, plan->layer_count);
  *count = 0;
  for (int i = 0; i < plan->layer_count; i++)
    if (plan->layers[i].row->precision != PRECISION_F32) rows[(*count)++] = plan->layers[i].row;
  qsort(rows, (size_t)*count, sizeof *rows, compare_rows);
  return rows;
}

/* What is fast and more exact, or f32. */
static Precision refuge_of(const Plan *plan) {
  const Target *target = plan->options->target;
  bool halves = target && target->half_gain > 1 && plan->quantization->precision != PRECISION_BF16;
  return halves ? PRECISION_BF16 : PRECISION_F32;
}

/* ---- the noise that is cheap to be rid of ---- */

/* A layer, if it goes back. */
typedef struct Offer {
  LedgerRow *row;
  Precision refuge;
  double noise;   /* in parts of the outputs' signal, that goes with it */
  double seconds; /* that it adds */
} Offer;

static double row_seconds(const Plan *plan, const LedgerRow *row) {
  return plan->ledger->times_decide ? row->measured_after : row->predicted_after;
}

/* What each layer takes at f32, or at another precision if that is less: offers without noise. */
static bool price_refuges(Plan *plan, Precision refuge, Offer *offers, int count) {
  Ledger *ledger = plan->ledger;
  size_t size = sizeof *ledger->rows * (size_t)plan->layer_count;
  LedgerRow *rows = NEW_ARRAY(plan->graph->module->arena, LedgerRow, plan->layer_count),
            total = ledger->total;
  memcpy(rows, ledger->rows, size);
  for (int i = 0; i < count; i++) offers[i].row->precision = refuge;
  bool ok = refuge == PRECISION_F32 || plan_predict(plan);
  for (int i = 0; i < count; i++) {
    const LedgerRow *row = offers[i].row, *now = &rows[row - ledger->rows];
    double whole = ledger->times_decide ? now->measured_before : now->predicted_before;
    bool is_faster = refuge != PRECISION_F32 && row_seconds(plan, row) < whole;
    offers[i].refuge = is_faster ? refuge : PRECISION_F32;
    offers[i].seconds = (is_faster ? row_seconds(plan, row) : whole) - row_seconds(plan, now);
  }
  memcpy(ledger->rows, rows, size);
  ledger->total = total;
  return ok;
}

static double worth(const Offer *offer) {
  return offer->noise / fmax(offer->seconds, 1e-9);
}

static int compare_offers(const void *a, const void *b) {
  double x = worth(a), y = worth(b);
  return (x < y) - (x > y);
}

/* Takes the offers in order while it is worth it; whether there were any. */
static bool take_offers(const Plan *plan, Offer *offers, int count, double noise) {
  const double bound = 6, least = 0.01; /* shares: of noise for one of time; of noise that is worth a word */
  bool any = false;
  qsort(offers, (size_t)count, sizeof *offers, compare_offers);
  for (int i = 0; i < count && noise > FINE; i++) {
    double share = offers[i].noise / noise,
           slower = offers[i].seconds / row_seconds(plan, &plan->ledger->total);
    if (share < bound * slower) break;
    if (share < least) continue;
    offers[i].row->precision = offers[i].refuge;
    offers[i].row->reason = "noisy";
    noise -= offers[i].noise;
    any = true;
  }
  return any;
}

/* Where nobody says what may be lost; *changed: whether layers went back. */
static bool give_back_noisy(Plan *plan, bool *changed) {
  enum { FEWEST = 8 };
  int count;
  LedgerRow **rows = sensitive_rows(plan, &count);
  if (plan->ledger->max_drop >= 0 || plan->quantization->precision != PRECISION_INT8 || count < FEWEST)
    return true;
  Offer *offers = NEW_ARRAY(plan->graph->module->arena, Offer, count);
  double noise = 0;
  for (int i = 0; i < count; i++) {
    offers[i] = (Offer){.row = rows[i], .noise = pow(10, -rows[i]->sqnr / 10)};
    noise += offers[i].noise;
  }
  if (noise <= FINE) return true;
  TRY(price_refuges(plan, refuge_of(plan), offers, count));
  *changed |= take_offers(plan, offers, count, noise);
  return true;
}

/* ---- a bound on what may be lost ---- */

static bool holds(const Ledger *ledger) {
  return ledger->before - ledger->after <= ledger->max_drop;
}

static void give_back(const Plan *plan, LedgerRow **rows, int count, int given, Precision refuge) {
  for (int i = 0; i < count; i++) {
    rows[i]->precision = i < given ? refuge : plan->quantization->precision;
    rows[i]->reason = i < given ? "sensitive" : NULL;
  }
}

/* The least number of the worst layers that have to go back to `refuge`, by bisection; all of them: even one
 * is too much. -1: an error. *least gets the smallest drop that was met on the way. */
static int find_given(Plan *plan, LedgerRow **rows, int count, Precision refuge, double *least) {
  Ledger *ledger = plan->ledger;
  int low = 0, high = count;
  while (low + 1 < high) {
    int given = low + (high - low) / 2;
    plan_report(plan, "finding what is lost where", count - (high - low), count);
    give_back(plan, rows, count, given, refuge);
    if (!plan_evaluate(plan)) return -1;
    double drop = ledger->before - ledger->after;
    *least = drop < *least ? drop : *least;
    *(holds(ledger) ? &high : &low) = given;
  }
  give_back(plan, rows, count, high, refuge);
  return high;
}

/* Layers go back to bf16 where that is fast and enough, else to f32. */
static bool choose_by_loss(Plan *plan) {
  Ledger *ledger = plan->ledger;
  Precision precision = plan->quantization->precision, refuge = refuge_of(plan);
  if (ledger->max_drop < 0 || holds(ledger)) return true;
  double drop = ledger->before - ledger->after, least = drop;
  int count, given;
  LedgerRow **rows = sensitive_rows(plan, &count);
  given = refuge == PRECISION_F32 ? count : find_given(plan, rows, count, refuge, &least);
  if (given == count) given = find_given(plan, rows, count, PRECISION_F32, &least);
  if (given < count) return given >= 0 && plan_evaluate(plan);
  return fail(
      plan->graph->module,
      "with %s the drop is %.3g %%, and with only the least sensitive of %d products still %.3g %%, over "
      "--max-drop %.3g %%: allow more, try --recover or another --range, or give more or better samples",
      precision_name(precision), 100 * drop, count, 100 * least, 100 * ledger->max_drop);
}

static void count_bytes(Plan *plan) {
  for (int i = 0; i < plan->layer_count; i++)
    plan->layers[i].row->bytes_after = layer_bytes(&plan->layers[i]);
}

bool plan_judge(Plan *plan) {
  TRY(plan_predict(plan));
  bool changed = plan->options->preference != PREFER_SIZE && give_back_slow(plan);
  TRY(plan_find_sensitivity(plan));
  TRY(give_back_noisy(plan, &changed));
  TRY((!changed || plan_predict(plan)) && plan_evaluate(plan) && choose_by_loss(plan));
  count_bytes(plan);
  return true;
}
