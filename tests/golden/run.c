/*
 * run.c -- "# run:" lines: the graph of the file in the interpreter, compiled as it stands, and compiled
 * after the default pipeline. All three must agree with each other and with the outputs that are given.
 * "# samples:" lines are inputs for the command of the file.
 */
#include "cli/program.h"
#include "passes/passes.h"
#include "tests/golden/golden.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_SYMBOLS = 16, MAX_REASON = 1024 };
static const double max_abs = 1e-4, max_relative = 1e-3;

typedef struct RunLine {
  Golden *golden;
  Module *module;
  Module *kept; /* of the strings of outputs */
  int number;   /* of the line in the file */
  uint64_t seed;
  const char *symbols[MAX_SYMBOLS];
  int64_t sizes[MAX_SYMBOLS];
  int symbol_count;
  Tensor *inputs, *wanted; /* data NULL: not given */
  const char *error;       /* what the refusal says; NULL: it runs */
} RunLine;

/* ---- Parsing ---- */

static bool accept(const char **at, const char *word) {
  *at += strspn(*at, " ");
  if (strncmp(*at, word, strlen(word)) != 0) return false;
  *at += strlen(word);
  return true;
}

static const char *parse_name(RunLine *line, const char **at) {
  bool quoted = accept(at, "\"");
  size_t length = strcspn(*at, quoted ? "\"" : " =,");
  const char *name = arena_printf(line->module->arena, "%.*s", (int)length, *at);
  *at += length + quoted;
  return name;
}

static int find_output(const Graph *graph, const char *name) {
  for (int i = 0; i < graph->output_count; i++)
    if (graph->output_names[i] && strcmp(graph->output_names[i], name) == 0) return i;
  return -1;
}

static int find_input(const Graph *graph, const char *name) {
  for (int i = 0; i < graph->input_count; i++)
    if (graph->inputs[i]->name && strcmp(graph->inputs[i]->name, name) == 0) return i;
  return -1;
}

/* %NAME = VALUE */
static bool parse_value(RunLine *line, const char **at, bool output) {
  Graph *graph = line->module->main;
  const char *name = parse_name(line, at);
  int index = output ? find_output(graph, name) : find_input(graph, name);
  if (index < 0) return fail(line->module, "there is no %s '%s'", output ? "output" : "input", name);
  if (!accept(at, "=")) return fail(line->module, "no '=' behind %%%s", name);
  Value *value = output ? graph_output(graph, index) : graph->inputs[index];
  Port port = port_of(name, value->type, line->module);
  return tensor_parse(line->module, at, &port, output ? &line->wanted[index] : &line->inputs[index]);
}

/* NAME=N */
static bool parse_size(RunLine *line, const char **at) {
  const char *name = parse_name(line, at);
  if (!accept(at, "=") || line->symbol_count == MAX_SYMBOLS)
    return fail(line->module, "'%s' is not understood", name);
  char *end;
  line->symbols[line->symbol_count] = name;
  line->sizes[line->symbol_count++] = strtoll(*at, &end, 10);
  bool ok = end != *at;
  *at = end;
  return ok || fail(line->module, "no size for '%s'", name);
}

static bool parse_item(RunLine *line, const char **at, bool output) {
  if (accept(at, "%")) return parse_value(line, at, output);
  if (output && accept(at, "error:")) {
    line->error = *at + strspn(*at, " ");
    *at += strlen(*at);
    return true;
  }
  if (accept(at, "seed")) {
    char *end;
    line->seed = strtoull(*at, &end, 10);
    *at = end;
    return true;
  }
  return parse_size(line, at);
}

static bool parse_line(RunLine *line, const char *at) {
  bool output = accept(&at, "->");
  while (*at) {
    TRY(parse_item(line, &at, output));
    if (accept(&at, ",")) continue;
    if (!output && accept(&at, "->"))
      output = true;
    else if (*at)
      return fail(line->module, "'%s' is not understood", at);
  }
  return true;
}

static bool fill_inputs(RunLine *line) {
  Graph *graph = line->module->main;
  for (int i = 0; i < graph->input_count; i++) {
    if (line->inputs[i].data) continue;
    const Type *type = graph->inputs[i]->type;
    int64_t dims[MAX_RANK] = {0};
    for (int axis = 0; axis < type->rank; axis++)
      if (!dim_eval(type->dims[axis], line->symbols, line->sizes, line->symbol_count, &dims[axis]))
        return fail(line->module, "give a size for %s", dim_text(line->module, type->dims[axis]));
    if (!tensor_new(&line->inputs[i], type->dtype, type->rank, dims)) return fail(line->module, "no memory");
    tensor_random(&line->inputs[i], &line->seed);
  }
  return true;
}

/* ---- Executing ---- */

typedef bool (*Execute)(Graph *graph, const Tensor *inputs, Tensor *outputs);

/* `passes` NULL: the default pipeline. */
static bool execute_after(const char *passes, Graph *graph, const Tensor *inputs, Tensor *outputs) {
  Target target;
  const Pass *const tables[] = {graph_passes, codegen_passes, NULL};
  TRY(target_describe(graph->module, NULL, NULL, &target));
  PipelineOptions options = {.pass = {.target = &target, .executor = codegen_executor(&target)},
                             .tables = tables,
                             .passes = passes,
                             .verify = true};
  TRY(pipeline_run(graph, &options));
  return codegen_execute(&target, graph, inputs, outputs);
}

/* Ops that are defined by others must become those; nothing else happens. */
static bool execute_plain(Graph *graph, const Tensor *inputs, Tensor *outputs) {
  return execute_after("expand", graph, inputs, outputs);
}

static bool execute_optimised(Graph *graph, const Tensor *inputs, Tensor *outputs) {
  return execute_after(NULL, graph, inputs, outputs);
}

static const struct {
  const char *name;
  Execute execute;
} ways[] = {{"interpreted", graph_interpret}, {"compiled", execute_plain}, {"optimised", execute_optimised}};

static void report(RunLine *line, const char *way, const char *text) {
  golden_fail(line->golden, "line %d, %s: %s", line->number, way, text);
}

static const char *first_error(const Module *module) {
  const Diag *diag = module->diags;
  while (diag && diag->severity != SEVERITY_ERROR) diag = diag->next;
  return diag ? diag->text : "failed without an error";
}

static void check_refusal(RunLine *line, const char *way, bool ok) {
  const char *error = ok ? "runs, but should be refused" : first_error(line->module);
  if (ok || (line->error ? !strstr(error, line->error) : true)) report(line, way, error);
}

static void check_outputs(RunLine *line, const char *way, const Tensor *outputs, const Tensor *wanted) {
  char reason[MAX_REASON];
  const Graph *graph = line->module->main;
  for (int i = 0; i < graph->output_count; i++) {
    if (!wanted[i].data ||
        tensor_agrees(&outputs[i], &wanted[i], max_abs, max_relative, reason, sizeof reason))
      continue;
    char *text = arena_printf(line->module->arena, "%%%s %s", graph->output_names[i], reason);
    report(line, way, text);
  }
}

/* ---- Lines ---- */

/* Each way starts from the file again: passes change the graph. */
static bool open_line(RunLine *line, const char *text) {
  Golden *golden = line->golden;
  line->module = module_new(golden->path);
  line->symbol_count = 0;
  line->seed = 1;
  line->error = NULL;
  if (!module_parse_file(line->module, golden->path)) return false;
  line->inputs = tensors_new(line->module->main->input_count);
  line->wanted = tensors_new(line->module->main->output_count);
  return parse_line(line, text) && fill_inputs(line);
}

static void close_line(RunLine *line) {
  if (line->inputs) tensors_free(line->inputs, line->module->main->input_count);
  if (line->wanted) tensors_free(line->wanted, line->module->main->output_count);
  line->inputs = line->wanted = NULL;
  module_free(line->module);
}

/* Returns the outputs (NULL when it did not run), which the caller frees. */
static Tensor *run_way(RunLine *line, const char *text, int way, const Tensor *reference, int *count) {
  Tensor *outputs = NULL;
  if (!open_line(line, text)) {
    report(line, "wrong line", first_error(line->module));
  } else {
    *count = line->module->main->output_count;
    outputs = tensors_new(*count);
    bool ok = ways[way].execute(line->module->main, line->inputs, outputs);
    if (!ok || line->error)
      check_refusal(line, ways[way].name, ok);
    else {
      check_outputs(line, ways[way].name, outputs, line->wanted);
      if (reference) check_outputs(line, ways[way].name, outputs, reference);
    }
    for (int i = 0; ok && i < *count; i++)
      if (outputs[i].dtype == DTYPE_STRING && outputs[i].kind == TENSOR_DENSE)
        tensor_keep_strings(line->kept, &outputs[i]); /* the line's module ends before they do */
    if (!ok) tensors_free(outputs, *count), outputs = NULL;
  }
  close_line(line);
  return outputs;
}

static void run_line(Golden *golden, const char *text, int number) {
  RunLine line = {.golden = golden, .number = number, .kept = module_new(golden->path)};
  Tensor *reference = NULL;
  int count = 0;
  for (int way = 0; way < COUNT_OF(ways); way++) {
    Tensor *outputs = run_way(&line, text, way, reference, &count);
    if (way == 0)
      reference = outputs;
    else if (outputs)
      tensors_free(outputs, count);
  }
  if (reference) tensors_free(reference, count);
  module_free(line.kept);
}

static void for_lines(Golden *golden, const char *mark,
                      void (*handle)(Golden *golden, const char *text, int number)) {
  char *text = strdup(golden->text), *at = text;
  int number = 1;
  for (char *line; !golden->failed && (line = next_line(&at)); number++)
    if (strncmp(line, mark, strlen(mark)) == 0) handle(golden, line + strlen(mark), number);
  free(text);
}

void golden_run_lines(Golden *golden) {
  for_lines(golden, "# run:", run_line);
}

/* ---- Samples ---- */

static bool save_inputs(const RunLine *line, const char *folder) {
  const Graph *graph = line->module->main;
  for (int i = 0; i < graph->input_count; i++)
    if (line->inputs[i].data)
      TRY(tensor_save(line->module, folder, graph->inputs[i]->name, &line->inputs[i]));
  return true;
}

static void save_line(Golden *golden, const char *text, int number) {
  RunLine line = {.golden = golden, .number = number};
  if (!open_line(&line, text) || !save_inputs(&line, golden->folder))
    report(&line, "wrong line", first_error(line.module));
  close_line(&line);
}

void golden_save_samples(Golden *golden) {
  for_lines(golden, "# samples:", save_line);
}
