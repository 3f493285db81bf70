/* ledger.c -- the ledgers of quantization and pruning: as tables for people, as JSON for the page and for
 * --ledger. */
#include "cli/program.h"
#include "ir/json.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* ---- Quantization ---- */

static const char *micros_text(double seconds, char text[32]) {
  if (seconds <= 0) return "-";
  snprintf(text, 32, "%.*f", seconds < 1e-4 ? 1 : 0, 1e6 * seconds);
  return text;
}

static void print_quantized(FILE *out, const LedgerRow *row, const char *precision, const char *sqnr,
                            const char *why) {
  enum { WIDTH = 28 };
  char a[32], b[32], times[4][32];
  size_t length = strlen(row->name); /* names differ at their ends */
  const char *name = length > WIDTH ? row->name + length - WIDTH : row->name;
  fprintf(out, "%-28s %-15s %-5s %6s %9s %9s %8s %8s %8s %8s  %s\n", name, row->kind, precision, sqnr,
          bytes_text(row->bytes_before, a), bytes_text(row->bytes_after, b),
          micros_text(row->predicted_before, times[0]), micros_text(row->predicted_after, times[1]),
          micros_text(row->measured_before, times[2]), micros_text(row->measured_after, times[3]), why);
}

static void print_likeness(const Ledger *ledger, FILE *out) {
  static const char *const words[] = {
      [LIKE_CLASSES] = "the same class as before", [LIKE_ERROR] = "1 - relative error of the outputs"};
  if (ledger->likeness == LIKE_LABELS)
    fprintf(out, "accuracy %.2f %% -> %.2f %%", 100 * ledger->before, 100 * ledger->after);
  else
    fprintf(out, "%s: %.2f %%", words[ledger->likeness], 100 * ledger->after);
  fprintf(out, " (%d samples), outputs SQNR %.1f dB\n", ledger->sample_count, ledger->sqnr);
}

static void print_quantization(const Quantization *q, FILE *out) {
  fprintf(out, "%-28s %-15s %-5s %6s %9s %9s %17s %17s\n", "", "", "", "SQNR", "", "bytes", "predicted us",
          "measured us");
  fprintf(out, "%-28s %-15s %-5s %6s %9s %9s %8s %8s %8s %8s\n", "layer", "", "", "dB", "before", "after",
          "before", "after", "before", "after");
  for (int i = 0; i < q->ledger.row_count; i++) {
    const LedgerRow *row = &q->ledger.rows[i];
    char sqnr[32] = "-";
    if (row->sqnr != 0 && isfinite(row->sqnr)) snprintf(sqnr, sizeof sqnr, "%.1f", row->sqnr);
    print_quantized(out, row, precision_name(row->precision), sqnr, row->reason ? row->reason : "");
  }
  for (int i = 0; q->ledger.effects[i]; i++) fprintf(out, "%s\n", q->ledger.effects[i]);
  LedgerRow total = q->ledger.total;
  total.name = "everything";
  total.kind = "";
  print_quantized(out, &total, "", "", "");
  print_likeness(&q->ledger, out);
}

/* ---- Pruning ---- */

static const char *decibels_text(double decibels, char text[32]) {
  if (decibels == 0 || !isfinite(decibels)) return "-";
  snprintf(text, 32, "%.1f", decibels);
  return text;
}

static void print_pruned(FILE *out, const LedgerRow *row) {
  enum { WIDTH = 28 };
  char a[32], b[32], texts[6][32];
  size_t length = strlen(row->name);
  const char *name = length > WIDTH ? row->name + length - WIDTH : row->name;
  fprintf(out, "%-28s %-15s %-24s %6s %6s %9s %9s %8s %8s %8s %8s  %s\n", name, row->kind,
          row->form ? row->form : "", decibels_text(row->errors[0], texts[0]),
          decibels_text(row->errors[1], texts[1]), bytes_text(row->bytes_before, a),
          bytes_text(row->bytes_after, b), micros_text(row->predicted_before, texts[2]),
          micros_text(row->predicted_after, texts[3]), micros_text(row->measured_before, texts[4]),
          micros_text(row->measured_after, texts[5]), row->reason ? row->reason : "");
}

static void print_pruning(const Pruning *p, FILE *out) {
  static const char *const costs[] = {"multiply-accumulates", "bytes", "time"};
  fprintf(out, "%-28s %-15s %-24s %13s %19s %17s %17s\n", "", "", "", "SQNR dB", "bytes", "predicted us",
          "measured us");
  fprintf(out, "%-28s %-15s %-24s %6s %6s %9s %9s %8s %8s %8s %8s\n", "layer", "", "kept", "cut", "refit",
          "before", "after", "before", "after", "before", "after");
  for (int i = 0; i < p->ledger.row_count; i++) print_pruned(out, &p->ledger.rows[i]);
  for (int i = 0; p->ledger.effects[i]; i++) fprintf(out, "%s\n", p->ledger.effects[i]);
  LedgerRow total = p->ledger.total;
  total.name = "everything";
  total.kind = "";
  print_pruned(out, &total);
  fprintf(out, "pruned %.1f %% of the %s\n", 100 * p->reached,
          p->form == PRUNE_CHANNELS ? costs[p->cost] : "weights");
  print_likeness(&p->ledger, out);
}

void lossy_print(const Lossy *lossy, FILE *out) {
  if (lossy->pruning) print_pruning(lossy->pruning, out);
  if (lossy->quantization) print_quantization(lossy->quantization, out);
}

/* ---- JSON ---- */

static void write_row(Json *json, const LedgerRow *row, const char *precision) {
  json_begin(json, '{');
  json_optional(json, "name", row->name);
  json_optional(json, "kind", row->kind);
  json_optional(json, "precision", precision);
  json_optional(json, "form", row->form);
  json_optional(json, "reason", row->reason);
  json_measure(json, "cut", row->errors[0]);
  json_measure(json, "refit", row->errors[1]);
  json_measure(json, "sqnr", row->sqnr);
  json_key(json, "bytes_before"), json_int(json, row->bytes_before);
  json_key(json, "bytes_after"), json_int(json, row->bytes_after);
  json_measure(json, "predicted_before", row->predicted_before);
  json_measure(json, "predicted_after", row->predicted_after);
  json_measure(json, "measured_before", row->measured_before);
  json_measure(json, "measured_after", row->measured_after);
  json_end(json, '}');
}

/* pruning: whose ledger it is; NULL: a quantization's, whose rows have precisions. */
static void write_ledger(Json *json, const Ledger *ledger, const Pruning *pruning) {
  json_begin(json, '{');
  json_optional(json, "title", pruning ? "Pruning" : "Quantization");
  if (pruning) json_measure(json, "pruned", pruning->reached);
  json_key(json, "effects");
  json_begin(json, '[');
  for (int i = 0; ledger->effects[i]; i++) json_string(json, ledger->effects[i]);
  json_end(json, ']');
  json_optional(json, "likeness",
                (const char *const[]){"labels right", "rows of the same class as before",
                                      "1 - relative error of the outputs"}[ledger->likeness]);
  json_key(json, "before"), json_float(json, ledger->before);
  json_key(json, "after"), json_float(json, ledger->after);
  json_measure(json, "sqnr", ledger->sqnr);
  json_key(json, "samples"), json_int(json, ledger->sample_count);
  json_key(json, "rows");
  json_begin(json, '[');
  for (int i = 0; i < ledger->row_count; i++) {
    const LedgerRow *row = &ledger->rows[i];
    write_row(json, row, pruning ? NULL : precision_name(row->precision));
  }
  json_end(json, ']');
  json_key(json, "total");
  write_row(json, &ledger->total, NULL);
  json_end(json, '}');
}

void ledgers_json(Json *json, const Lossy *lossy) {
  json_begin(json, '[');
  if (lossy->pruning) write_ledger(json, &lossy->pruning->ledger, lossy->pruning);
  if (lossy->quantization) write_ledger(json, &lossy->quantization->ledger, NULL);
  json_end(json, ']');
}

bool ledgers_write(Module *module, const Arguments *arguments, const Lossy *lossy) {
  const char *path = option_text(arguments, "ledger");
  if (!path) return true;
  FILE *out = fopen(path, "w");
  if (!out) return fail(module, "cannot write '%s': %s", path, strerror(errno));
  Json json = json_new(out);
  ledgers_json(&json, lossy);
  json_finish(&json);
  bool ok = fputc('\n', out) != EOF && !ferror(out);
  return (fclose(out) == 0 && ok) || fail(module, "cannot write '%s': %s", path, strerror(errno));
}
