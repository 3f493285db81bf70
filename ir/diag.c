/* diag.c -- errors as data: recorded in the module, printed once at the end. */
#include "ir/ir.h"

#include <string.h>

enum {
  MAX_KEPT = 1000
}; /* a hostile file must not fill the memory with its errors; the rest is only counted */

static const char *copy_or_null(Arena *arena, const char *string) {
  return string ? arena_copy(arena, string, strlen(string) + 1) : NULL;
}

void diag_add(Module *module, Diag diag) {
  bool is_error = diag.severity == SEVERITY_ERROR;
  if (is_error && module->error_count++ >= MAX_KEPT) return;
  Arena *arena = module->arena;
  diag.file = copy_or_null(arena, diag.file ? diag.file : module->file);
  diag.node = copy_or_null(arena, diag.node);
  diag.op = copy_or_null(arena, diag.op);
  diag.text = copy_or_null(arena, diag.text);
  diag.detail = copy_or_null(arena, diag.detail);
  diag.next = NULL;
  Diag *kept = arena_copy(arena, &diag, sizeof diag);
  if (module->last_diag)
    module->last_diag->next = kept;
  else
    module->diags = kept;
  module->last_diag = kept;
}

static void add_text(Module *module, Diag diag, const char *format, va_list list) {
  char text[1024];
  vsnprintf(text, sizeof text, format, list);
  diag.text = text;
  diag_add(module, diag);
}

bool fail(Module *module, const char *format, ...) {
  va_list list;
  va_start(list, format);
  add_text(module, (Diag){.severity = SEVERITY_ERROR}, format, list);
  va_end(list);
  return false;
}

bool node_fail(const Node *node, const char *format, ...) {
  const char *name = node->origin;
  if (!name && node->result_count > 0) name = node->results[0]->name;
  va_list list;
  va_start(list, format);
  add_text(node->graph->module, (Diag){.severity = SEVERITY_ERROR, .node = name, .op = node->op->name},
           format, list);
  va_end(list);
  return false;
}

/* Names come from hostile files: a control character must not reach the terminal. */
static void print_safe(const char *string, FILE *out) {
  for (; *string; string++) {
    unsigned char c = (unsigned char)*string;
    fputc(c < 0x20 || c == 0x7f ? '?' : c, out);
  }
}

static void print_quoted(const char *string, FILE *out) {
  fputc('\'', out);
  print_safe(string, out);
  fputc('\'', out);
}

/* ---- Groups: nodes of a model that have the same problem */

static bool is_same_problem(const Diag *a, const Diag *b) {
  return a->severity == b->severity && a->node && b->node && a->op && b->op && a->text && b->text &&
         a->line == 0 && b->line == 0 && strcmp(a->op, b->op) == 0 && strcmp(a->text, b->text) == 0;
}

static bool came_before(const Module *module, const Diag *diag) {
  for (const Diag *other = module->diags; other != diag; other = other->next)
    if (is_same_problem(other, diag)) return true;
  return false;
}

static int count_same(const Diag *diag) {
  int count = 1;
  for (const Diag *other = diag->next; other; other = other->next) count += is_same_problem(diag, other);
  return count;
}

/* The names of a group, and the detail of its first. */
static void print_detail(const Diag *diag, int count, FILE *out) {
  enum { MAX_NAMES = 5 };
  if (count == 1 && !diag->detail) return;
  fputs("  ", out);
  int printed = 0;
  for (const Diag *other = diag; other && count > 1 && printed < MAX_NAMES; other = other->next) {
    if (other != diag && !is_same_problem(diag, other)) continue;
    fputs(printed++ ? ", " : "", out);
    print_quoted(other->node, out);
  }
  if (count > printed && count > 1) fputs(", ...", out);
  if (diag->detail) {
    fputs(count > 1 ? "; the first: " : "", out);
    print_safe(diag->detail, out);
  }
  fputc('\n', out);
}

/* A problem of `count` nodes. */
static void print_problem(const Diag *diag, int count, FILE *out) {
  static const char *const words[] = {"error", "warning", "note"};
  fprintf(out, "%s: ", words[diag->severity]);
  if (diag->file) {
    print_safe(diag->file, out);
    if (diag->line > 0) fprintf(out, ":%d:%d", diag->line, diag->column);
    fputs(": ", out);
  }
  if (count > 1) fprintf(out, "%d nodes", count);
  if (diag->node && count == 1) {
    fputs("node ", out);
    print_quoted(diag->node, out);
  }
  if (diag->op) {
    fputs(diag->node ? " (" : "", out);
    print_safe(diag->op, out);
    fputs(diag->node ? ")" : "", out);
  }
  if (diag->node || diag->op) fputs(": ", out);
  print_safe(diag->text ? diag->text : "", out);
  fputc('\n', out);
  print_detail(diag, count, out);
}

void diags_take_back(Module *module, Diag *last) {
  for (Diag *diag = last ? last->next : module->diags; diag; diag = diag->next)
    module->error_count -= diag->severity == SEVERITY_ERROR;
  if (last)
    last->next = NULL;
  else
    module->diags = NULL;
  module->last_diag = last;
}

void diags_print(const Module *module, FILE *out, int limit) {
  int printed = 0, shown = 0, kept = 0, errors = 0;
  for (const Diag *diag = module->diags; diag; diag = diag->next) {
    kept++;
    errors += diag->severity == SEVERITY_ERROR;
    if (printed >= limit || came_before(module, diag)) continue;
    int count = count_same(diag);
    print_problem(diag, count, out);
    printed++;
    shown += count;
  }
  int left = kept - shown + module->error_count - errors;
  if (left > 0) fprintf(out, "... and %d more\n", left);
}
