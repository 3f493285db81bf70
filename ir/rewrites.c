/*
 * rewrites.c -- rewrites one by one: counted, listed, stopped at a number, or only some of them.
 *
 * A pass asks before it looks at a node, so it is not known yet whether a rewrite will follow; that it did,
 * it tells afterwards. The count is of those that did, and since passes always do the same, the first N of
 * one run are the first N of another. What a pass changed without telling is one rewrite, of the graph.
 *
 * A rewrite is known by its step, its pass, and the operator and name of its node, so that it is found again
 * in a run where others are missing; several may have the same key.
 */
#include "ir/pass.h"

#include <string.h>

Rewrites *rewrites_new(Module *module, int limit) {
  Rewrites *rewrites = NEW(module->arena, Rewrites);
  rewrites->limit = limit;
  return rewrites;
}

bool rewrite_same(const RewriteSite *a, const RewriteSite *b) {
  return a->step == b->step && strcmp(a->op, b->op) == 0 && strcmp(a->node, b->node) == 0;
}

static bool is_wanted(const Rewrites *rewrites, const RewriteSite *asked) {
  if (rewrites->count >= rewrites->limit) return false;
  if (!rewrites->only) return true;
  for (int i = 0; i < rewrites->only_count; i++)
    if (rewrite_same(&rewrites->only[i], asked)) return true;
  return false;
}

/* The node in words, for messages and as part of the key. */
static const char *node_name(const Node *node) {
  if (node->origin) return node->origin;
  if (node->result_count == 0) return "";
  return node->results[0]->name ? node->results[0]->name
                                : type_text(node->graph->module, node->results[0]->type);
}

bool rewrite_ask(Rewrites *rewrites, const Node *node) {
  rewrites->asked = (RewriteSite){rewrites->step, rewrites->pass, node->op->name, node_name(node)};
  return is_wanted(rewrites, &rewrites->asked);
}

static void add(Module *module, const RewriteSite *rewrite) {
  Rewrites *rewrites = module->rewrites;
  if (rewrites->count == rewrites->room) {
    int room = rewrites->room ? 2 * rewrites->room : 64;
    RewriteSite *list = NEW_ARRAY(module->arena, RewriteSite, room);
    if (rewrites->count) memcpy(list, rewrites->list, sizeof *list * (size_t)rewrites->count);
    rewrites->list = list;
    rewrites->room = room;
  }
  rewrites->list[rewrites->count++] = *rewrite;
}

bool rewrite_done(Module *module, bool done) {
  if (module->rewrites && done) add(module, &module->rewrites->asked);
  return done;
}

/* ---- whole passes ---- */

static bool has_step(const Rewrites *rewrites, int step) {
  for (int i = 0; i < rewrites->only_count; i++)
    if (rewrites->only[i].step == step) return true;
  return !rewrites->only;
}

bool rewrites_begin(Module *module, int step, const char *pass) {
  Rewrites *rewrites = module->rewrites;
  if (!rewrites) return true;
  rewrites->step = step;
  rewrites->pass = pass;
  rewrites->before = rewrites->count;
  return rewrites->count < rewrites->limit && has_step(rewrites, step);
}

void rewrites_end(Module *module, bool changed) {
  Rewrites *rewrites = module->rewrites;
  if (rewrites && changed && rewrites->count == rewrites->before)
    add(module, &(RewriteSite){rewrites->step, rewrites->pass, "", ""});
}
