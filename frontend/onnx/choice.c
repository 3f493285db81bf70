/*
 * choice.c -- Ifs of which one branch leads nowhere.
 *
 * Exporters leave questions about sizes in the model: if (size == 1) squeeze(x) else x. With that size open
 * the result may have any number of axes, and what follows cannot be imported. So the graph is imported again
 * with one branch in place of such an If, and with the other. Where just one of them leads to the end that is
 * the model, and runs that would take the other are refused, as control.c does with a branch that fails by
 * itself.
 */
#include "frontend/onnx/onnx.h"

enum { MAX_CHOICES = 3 };

const char *take_errors(Module *module, Diag *last) {
  const Diag *first = last ? last->next : module->diags;
  while (first && first->severity != SEVERITY_ERROR) first = first->next;
  const char *text =
      first ? arena_printf(module->arena, "%s%s%s%s", first->node ? first->node : "", first->op ? " " : "",
                           first->op ? first->op : "", first->node || first->op ? ": " : "")
            : "";
  if (first) text = arena_printf(module->arena, "%s%s", text, first->text);
  diags_take_back(module, last);
  return text;
}

const Choice *choice_find(const Import *import, const Onnx__NodeProto *node) {
  const Choice *choice = import->choices;
  while (choice && choice->node != node) choice = choice->next;
  return choice;
}

/* The last attempt is the one that counts: with the branch that leads to the end, or as the model stands. */
static bool choose(Import *import, Attempt *attempt, void *context, Diag *last) {
  Choice choice = {.node = import->differing, .next = import->choices};
  const char *reasons[2];
  bool leads[2];
  take_errors(import->module, last);
  import->choices = &choice;
  for (int value = 0; value < 2; value++) {
    choice.value = value;
    choice.reason = "";
    leads[value] = import_attempt(import, attempt, context);
    reasons[value] = take_errors(import->module, last);
  }
  choice.value = leads[1];
  choice.reason = reasons[!leads[1]];
  if (leads[0] == leads[1]) import->choices = choice.next;
  bool ok = leads[0] == leads[1] ? attempt(context) : import_attempt(import, attempt, context);
  import->choices = choice.next;
  return ok;
}

bool import_attempt(Import *import, Attempt *attempt, void *context) {
  const Onnx__NodeProto *differing = import->differing;
  Diag *last = import->module->last_diag;
  int choices = 0;
  for (const Choice *choice = import->choices; choice; choice = choice->next) choices++;
  import->differing = NULL;
  bool ok = attempt(context);
  if (!ok && import->differing && choices < MAX_CHOICES) ok = choose(import, attempt, context, last);
  if (differing) import->differing = differing;
  return ok;
}
