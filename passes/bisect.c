/*
 * bisect.c -- --bisect: the smallest set of rewrites that makes the results wrong.
 *
 * First the number of the rewrite with which it begins, by halving: with so many all is well, with one more
 * it is not. That one need not be to blame alone, so it and those before it are thinned out: halves, quarters
 * and so on are left out as long as the results stay wrong (Zeller's ddmin), until none can be spared.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "passes/check.h"
#include "passes/rewrite.h"

/* ---- one run ---- */

static RewriteSite keep(Module *module, const RewriteSite *rewrite) {
  return (RewriteSite){rewrite->step, intern(module, rewrite->pass), intern(module, rewrite->op),
                       intern(module, rewrite->node)};
}

static void keep_all(Module *module, const Rewrites *from, Rewrites *to) {
  *to = (Rewrites){.count = from->count, .list = NEW_ARRAY(module->arena, RewriteSite, from->count)};
  for (int i = 0; i < from->count; i++) to->list[i] = keep(module, &from->list[i]);
}

static const char *first_error(const Module *module) {
  const Diag *diag = module->diags;
  while (diag && diag->severity != SEVERITY_ERROR) diag = diag->next;
  return diag ? diag->text : "it cannot be run";
}

/* Whether what was made of the graph gives what is expected; takes the copy. */
static Verdict run_made(const Hunt *hunt, Graph *copy, const Graph *graph, const char **text) {
  Module *scratch = module_new(graph->module->file); /* for Diags */
  Tensor *results = trial_run(copy, &hunt->options->pass, hunt->trial->inputs, hunt->compiled, scratch);
  const char *difference = results ? trial_difference(graph, hunt->trial, results, hunt->expected)
                                   : arena_printf(graph->module->arena, "%s", first_error(scratch));
  Verdict verdict = !results ? VERDICT_REFUSED : difference ? VERDICT_DIFFERENT : VERDICT_SAME;
  trial_free(results, graph->output_count);
  module_free(scratch);
  if (text) *text = difference;
  return verdict;
}

Verdict hunt_try(const Hunt *hunt, const Graph *graph, int limit, const RewriteSite *only, int count,
                 const char **text, Rewrites *made) {
  Graph *copy = trial_copy(graph);
  Rewrites *rewrites = copy->module->rewrites = rewrites_new(copy->module, limit);
  rewrites->only = only;
  rewrites->only_count = count;
  PipelineOptions options = *hunt->options;
  options.watcher = NULL;
  bool ok = pipeline_run(copy, &options);
  if (made) keep_all(graph->module, rewrites, made);
  if (ok) return run_made(hunt, copy, graph, text);
  if (text) *text = arena_printf(graph->module->arena, "%s", first_error(copy->module));
  trial_drop(copy);
  return VERDICT_REFUSED;
}

bool hunt_open(Hunt *hunt, const Graph *graph, const PipelineOptions *options, const Trial *trial,
               Verdict *verdict, const char **text, Rewrites *made) {
  bool is_large = trial_is_large(graph);
  *hunt = (Hunt){.options = options, .trial = trial, .compiled = is_large};
  hunt->expected = trial_run(trial_copy(graph), &options->pass, trial->inputs, is_large, graph->module);
  TRY(hunt->expected);
  *verdict = hunt_try(hunt, graph, INT_MAX, NULL, 0, text, made);
  if (*verdict != VERDICT_SAME || is_large) return true;
  hunt->compiled = true;
  *verdict = hunt_try(hunt, graph, INT_MAX, NULL, 0, text, made);
  return true;
}

void hunt_close(Hunt *hunt, const Graph *graph) {
  trial_free(hunt->expected, graph->output_count);
}

/* ---- the number ---- */

/* With so many rewrites all is well, with one more it goes wrong. */
static int last_good(const Hunt *hunt, const Graph *graph, int total, Verdict wrong) {
  int good = 0, bad = total;
  while (bad - good > 1) {
    int middle = good + (bad - good) / 2;
    if (hunt_try(hunt, graph, middle, NULL, 0, NULL, NULL) == wrong)
      bad = middle;
    else
      good = middle;
  }
  return good;
}

/* ---- the set ---- */

static bool is_listed(const RewriteSite *list, int count, const RewriteSite *rewrite) {
  for (int i = 0; i < count; i++)
    if (rewrite_same(&list[i], rewrite)) return true;
  return false;
}

static int remove_repeated(RewriteSite *list, int count) {
  int kept = 0;
  for (int i = 0; i < count; i++)
    if (!is_listed(list, kept, &list[i])) list[kept++] = list[i];
  return kept;
}

/* Leaves out parts of the list that are not needed; returns what is left. */
static int thin_out(const Hunt *hunt, const Graph *graph, RewriteSite *list, int count, Verdict wrong) {
  RewriteSite *fewer = calloc((size_t)count + 1, sizeof *fewer);
  for (int part = (count + 1) / 2; fewer && part > 0; part = part > 1 ? (part + 1) / 2 : 0)
    for (int at = count; at > 0;) { /* from the end: the last ones are the likeliest to blame */
      int from = at > part ? at - part : 0, rest = count - at;
      memcpy(fewer, list, sizeof *list * (size_t)from);
      memcpy(fewer + from, list + at, sizeof *list * (size_t)rest);
      at = from;
      if (from + rest == 0 || hunt_try(hunt, graph, INT_MAX, fewer, from + rest, NULL, NULL) != wrong)
        continue;
      count = from + rest;
      memcpy(list, fewer, sizeof *list * (size_t)count);
    }
  free(fewer);
  return count;
}

static void bisect(const Hunt *hunt, const Graph *graph, Verdict wrong, Bisection *found) {
  Rewrites made;
  found->number = last_good(hunt, graph, found->total, wrong) + 1;
  hunt_try(hunt, graph, found->number, NULL, 0, &found->text, &made);
  found->list = made.list;
  found->last = made.count ? made.list[made.count - 1] : (RewriteSite){0};
  found->count = remove_repeated(made.list, made.count);
  found->is_thin = hunt_try(hunt, graph, INT_MAX, found->list, found->count, NULL, NULL) == wrong;
  if (found->is_thin) found->count = thin_out(hunt, graph, found->list, found->count, wrong);
}

bool pipeline_bisect(const Graph *graph, const PipelineOptions *options, const Trial *trial,
                     Bisection *found) {
  Hunt hunt;
  Verdict verdict;
  Rewrites made;
  *found = (Bisection){.total = 0};
  TRY(hunt_open(&hunt, graph, options, trial, &verdict, &found->text, &made));
  found->total = made.count;
  found->is_wrong = verdict != VERDICT_SAME;
  found->is_in_code = found->is_wrong && made.count == 0;
  if (found->is_wrong && made.count > 0) bisect(&hunt, graph, verdict, found);
  hunt_close(&hunt, graph);
  return true;
}
