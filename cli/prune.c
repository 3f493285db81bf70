/* prune.c -- --prune: what passes are told. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/program.h"

/* ---- What is asked for ---- */

static const struct {
  const char *name;
  PruneForm form;
  bool has_share;
} forms[] = {{"channels", PRUNE_CHANNELS, true}, {"any", PRUNE_ANY, true},
             {"unstructured", PRUNE_ANY, true},  {"2:4", PRUNE_2_OF_4, false},
             {"blocks", PRUNE_BLOCKS, true},     {"block", PRUNE_BLOCKS, true}};

/* "0.5" or "50%", between 0 and 1. */
static bool read_share(const char *text, double *share) {
  char *end;
  *share = strtod(text, &end);
  if (*end == '%') *share /= 100, end++;
  return end > text && !*end && *share > 0 && *share < 1;
}

static bool read_form(Module *module, const char *text, Pruning *p) {
  for (int i = 0; i < COUNT_OF(forms); i++) {
    size_t length = strlen(forms[i].name);
    if (strncmp(text, forms[i].name, length) != 0) continue;
    p->form = forms[i].form;
    p->share = 0.5;
    if (!forms[i].has_share && !text[length]) return true;
    if (forms[i].has_share && text[length] == ':' && read_share(text + length + 1, &p->share)) return true;
  }
  return fail(module,
              "--prune wants channels:SHARE, any:SHARE, blocks:SHARE or 2:4, with a share such as 0.5 or "
              "50%%, not '%s'",
              text);
}

static PruneCost read_cost(const Arguments *arguments) {
  const char *text = option_text(arguments, "prune-cost");
  if (!text || strcmp(text, "macs") == 0) return COST_MACS;
  return strcmp(text, "bytes") == 0 ? COST_BYTES : COST_TIME;
}

/* A fit has as many unknowns as a layer has inputs. */
static void warn_few(const Pruning *p) {
  enum { FEW = 64 };
  int count = p->ledger.samples->count;
  if (p->refits && count < FEW)
    fprintf(stderr,
            "warning: weights are fitted to %d sample%s: what is left will not do for others. Give more with "
            "--calib; "
            "--calib-samples takes thousands.\n",
            count, count == 1 ? "" : "s");
}

static bool read_pruning(Module *module, const Arguments *arguments, const Quantization *quantization,
                         Pruning *p) {
  bool is_random = false;
  TRY(read_form(module, option_text(arguments, "prune"), p));
  p->cost = read_cost(arguments);
  p->refits = !option_flag(arguments, "no-refit");
  p->epochs = (int)option_count(arguments, "distill", 0);
  if (quantization)
    p->ledger = quantization->ledger;
  else
    TRY(build_ledger(module, arguments, &p->ledger, &is_random));
  if (is_random)
    fprintf(
        stderr,
        "warning: no --calib: what matters is judged, and weights are fitted, by %d random inputs, and the "
        "results will be bad. Give data like that of use.\n",
        p->ledger.samples->count);
  else
    warn_few(p);
  return true;
}

bool build_pruning(Module *module, const Arguments *arguments, const Quantization *quantization,
                   Pruning **pruning) {
  *pruning = NULL;
  if (!option_text(arguments, "prune")) return true;
  Pruning *p = NEW(module->arena, Pruning);
  *pruning = p;
  if (read_pruning(module, arguments, quantization, p)) return true;
  if (p->ledger.samples) samples_free(p->ledger.samples);
  return false;
}

/* ---- Both ---- */

/* What does nothing would be taken for something that was done. */
static bool check_given(Module *module, const Arguments *arguments) {
  static const struct {
    const char *option, *of, *or_of;
  } rows[] = {{"range", "quantize", NULL},       {"recover", "quantize", NULL},
              {"group", "quantize", NULL},       {"prune-cost", "prune", NULL},
              {"no-refit", "prune", NULL},       {"distill", "prune", NULL},
              {"max-drop", "quantize", "prune"}, {"calib", "quantize", "prune"},
              {"eval", "quantize", "prune"},     {"ledger", "quantize", "prune"}};
  for (int i = 0; i < COUNT_OF(rows); i++) {
    bool wanted =
        option_given(arguments, rows[i].of) || (rows[i].or_of && option_given(arguments, rows[i].or_of));
    if (option_given(arguments, rows[i].option) && !wanted)
      return fail(module, "--%s does nothing without --%s%s%s", rows[i].option, rows[i].of,
                  rows[i].or_of ? " or --" : "", rows[i].or_of ? rows[i].or_of : "");
  }
  return true;
}

bool build_lossy(Module *module, const Arguments *arguments, Lossy *lossy) {
  *lossy = (Lossy){0};
  TRY(check_given(module, arguments));
  return build_quantization(module, arguments, &lossy->quantization) &&
         build_pruning(module, arguments, lossy->quantization, &lossy->pruning);
}
