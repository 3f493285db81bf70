/*
 * print.c -- the watcher that prints graphs between passes: --print-before, --print-after, --print-changed
 * and
 * --print-node.
 *
 * Every print begins with a comment that names the step, and what the graph holds then. Behind each
 * computation stands where it came from and what it costs (node_note); all of it reads back as a graph.
 *
 * One node's life: what is printed of it are the nodes whose origin mentions it, so it is followed through
 * rewrites, fusion and into kernels that it shares with others. Printed is what differs from the last time,
 * by more than the numbers of values without names.
 */
#include <stdlib.h>
#include <string.h>

#include "ir/json.h"
#include "passes/rewrite.h"

struct Printer {
  PrintOptions options;
  ValueNumbers *numbers;
  char *graph, *node; /* texts: of the graph before the pass, of the node when it was last printed */
  bool found;
};

/* Whether the comma-separated list names the pass, or is "all". */
static bool list_has(const char *list, const char *name) {
  if (!list) return false;
  if (strcmp(list, "all") == 0) return true;
  for (; *list; list += strcspn(list, ","), list += *list == ',') {
    size_t length = strcspn(list, ",");
    if (length == strlen(name) && memcmp(list, name, length) == 0) return true;
  }
  return false;
}

/* ---- One node ---- */

static bool is_called(const Node *node, const char *name) {
  if (origin_has(node->origin, name)) return true;
  for (int i = 0; i < node->result_count; i++)
    if (node->results[i]->name && strcmp(node->results[i]->name, name) == 0) return true;
  for (int i = 0; node_is(node, &op_kernel) && i < node->region_count; i++)
    FOR_EACH_NODE(inner, node->regions[i]) if (is_called(inner, name)) return true;
  return false;
}

static void print_called(const Graph *graph, const char *name, ValueNumbers *numbers, FILE *out) {
  FOR_EACH_NODE(node, graph) {
    if (is_called(node, name)) node_print_noted(node, numbers, out);
    for (int i = 0; node->op->traits & TRAIT_DYNAMIC && i < node->region_count; i++)
      print_called(node->regions[i], name, numbers, out);
  }
}

/* ---- Texts, from malloc ---- */

/* Of the graph, or with a name of the nodes that it calls. */
static char *text_of(const Printer *printer, const Graph *graph, const char *name) {
  char *text = NULL;
  size_t size = 0;
  FILE *stream = open_memstream(&text, &size);
  if (!stream) return NULL;
  if (name)
    print_called(graph, name, printer->numbers, stream);
  else
    graph_print_noted(graph, printer->numbers, stream);
  fclose(stream);
  return text;
}

static void print_title(const Printer *printer, const char *when, const Step *step) {
  fprintf(printer->options.out, "# %s %s (step %d of %d)", when, step->pass->name, step->number, step->count);
}

/* An object, up to what is special to this print. */
static Json json_title(const Printer *printer, const char *when, const Step *step, Graph *graph) {
  Json json = json_new(printer->options.out);
  json_begin(&json, '{');
  json_key(&json, "print"), json_string(&json, when);
  json_key(&json, "pass"), json_string(&json, step->pass->name);
  json_key(&json, "step"), json_int(&json, step->number);
  json_key(&json, "steps"), json_int(&json, step->count);
  int64_t peak = graph_peak_bytes(graph);
  if (peak >= 0) json_key(&json, "intermediates"), json_int(&json, peak);
  return json;
}

static void json_done(Json *json) {
  json_end(json, '}');
  fputc('\n', json->out);
  json_finish(json);
}

/* The lines of a text from malloc, which it frees. */
static void json_lines(Json *json, const char *key, char *text) {
  json_key(json, key), json_begin(json, '[');
  for (char *line = text ? strtok(text, "\n") : NULL; line; line = strtok(NULL, "\n"))
    json_string(json, line);
  json_end(json, ']');
  free(text);
}

static void print_graph(const Printer *printer, const char *when, Graph *graph, const Step *step,
                        bool changed) {
  FILE *out = printer->options.out;
  if (printer->options.json) {
    Json json = json_title(printer, when, step, graph);
    json_key(&json, "graph"), json_graph(&json, graph);
    json_done(&json);
    return;
  }
  print_title(printer, when, step);
  fprintf(out, "%s: %s\n", changed ? "" : ", nothing changed", graph_note(graph));
  graph_print_noted(graph, printer->numbers, out);
}

static void print_node(Printer *printer, Graph *graph, const Step *step, bool is_first) {
  char *text = text_of(printer, graph, printer->options.node);
  const char *when = is_first ? "before" : "after";
  bool differs = text && strcmp(text, printer->node ? printer->node : "") != 0;
  printer->found |= differs;
  if (differs && printer->options.json) {
    Json json = json_title(printer, when, step, graph);
    json_lines(&json, "nodes", strdup(text));
    json_done(&json);
  } else if (differs) {
    print_title(printer, when, step);
    fprintf(printer->options.out, *text ? "\n%s" : ": nothing\n", text);
  }
  free(printer->node);
  printer->node = text;
}

static char *diff_text(const char *before, const char *after) {
  char *text = NULL;
  size_t size = 0;
  FILE *stream = open_memstream(&text, &size);
  if (!stream) return NULL;
  diff_print(before, after, false, stream);
  fclose(stream);
  return text;
}

static void print_changes(const Printer *printer, Graph *graph, const Step *step) {
  char *after = text_of(printer, graph, NULL);
  bool differs = printer->graph && after && strcmp(printer->graph, after) != 0;
  if (differs && printer->options.json) {
    Json json = json_title(printer, "changed", step, graph);
    json_lines(&json, "changes", diff_text(printer->graph, after));
    json_done(&json);
  } else if (differs) {
    print_title(printer, "changed by", step);
    fprintf(printer->options.out, ": %s\n", graph_note(graph));
    diff_print(printer->graph, after, printer->options.colour, printer->options.out);
  }
  free(after);
}

/* ---- The watcher ---- */

static bool before(void *context, Graph *graph, const Step *step) {
  Printer *printer = context;
  const PrintOptions *options = &printer->options;
  if (options->node && step->number == 1) print_node(printer, graph, step, true);
  if (list_has(options->before, step->pass->name)) print_graph(printer, "before", graph, step, true);
  if (options->changed) printer->graph = text_of(printer, graph, NULL);
  return true;
}

static bool after(void *context, Graph *graph, const Step *step, bool changed) {
  Printer *printer = context;
  const PrintOptions *options = &printer->options;
  if (options->changed) print_changes(printer, graph, step);
  free(printer->graph);
  printer->graph = NULL;
  if (list_has(options->after, step->pass->name)) print_graph(printer, "after", graph, step, changed);
  if (options->node) print_node(printer, graph, step, false);
  return true;
}

Printer *printer_open(Arena *arena, const PrintOptions *options, Watcher *watcher) {
  bool prints = options->before || options->after || options->changed || options->node;
  if (!prints) return NULL;
  Printer *printer = NEW(arena, Printer);
  printer->options = *options;
  printer->numbers = value_numbers_new(arena);
  *watcher = (Watcher){before, after, printer};
  return printer;
}

bool printer_close(Printer *printer, Module *module) {
  if (!printer) return true;
  free(printer->graph);
  free(printer->node);
  return !module || !printer->options.node || printer->found ||
         fail(module, "no node or value is called '%s'", printer->options.node);
}
