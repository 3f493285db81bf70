/*
 * page.c -- what the page tells, as JSON; cli/page/data.js reads it.
 *
 *   {"model", "symbols": {"N": 1}, "target", "runs", "note", "ops": {"conv": {"family", "doc"}},
 *    "nodes": [NODE...], "stages": [{"pass", "doc", "why", "changed", "inputs", "nodes": [number...],
 * "outputs"}], "kernels": [{"name", "loops", "assembly"}], "steps": [{"result", "name", "kernel", "once",
 * "origin", "predicted", "measured"}], "plan": [...], "ledgers": [...]}
 *
 * NODE is that of ir/json.h. A node is stored once, however many stages have it as it is; that is what keeps
 * 27 graphs of BERT small. Unnamed values have numbers that stay the same in all stages, because they come
 * from one Json.
 */
#include "cli/page.h"
#include "ir/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Texts of nodes, each once: open addressing. */
typedef struct Stored {
  const char *text;
  uint64_t hash;
  int number;
} Stored;

/* A part of the JSON that grows beside others. */
typedef struct Stream {
  FILE *out;
  char *text;
  size_t size;
  bool follows;
} Stream;

typedef struct Page {
  Module *module;
  Arena *arena;
  Json json; /* writes to one of the streams at a time */
  Stream nodes, stages;
  Stored *stored;
  int stored_count, stored_capacity;
  bool *has_op; /* [all_op_count] */
} Page;

/* ---- streams ---- */

static bool stream_open(Stream *stream) {
  stream->out = open_memstream(&stream->text, &stream->size);
  return stream->out != NULL;
}

static void stream_close(Stream *stream) {
  if (stream->out) fclose(stream->out);
  stream->out = NULL;
}

/* The writer goes on where the stream ended. */
static void turn_to(Page *page, const Stream *stream) {
  page->json.out = stream->out;
  page->json.follows = stream->follows;
}

static void turn_from(Page *page, Stream *stream) {
  stream->follows = page->json.follows;
}

/* ---- nodes ---- */

static Stored *find_stored(Stored *stored, int capacity, const char *text, uint64_t hash) {
  size_t mask = (size_t)capacity - 1, at = (size_t)hash & mask;
  while (stored[at].text && !(stored[at].hash == hash && strcmp(stored[at].text, text) == 0))
    at = (at + 1) & mask;
  return &stored[at];
}

static void make_room(Page *page) {
  if (2 * page->stored_count < page->stored_capacity) return;
  int capacity = page->stored_capacity ? 2 * page->stored_capacity : 1024;
  Stored *bigger = NEW_ARRAY(page->arena, Stored, capacity);
  for (int i = 0; i < page->stored_capacity; i++)
    if (page->stored[i].text)
      *find_stored(bigger, capacity, page->stored[i].text, page->stored[i].hash) = page->stored[i];
  page->stored = bigger;
  page->stored_capacity = capacity;
}

static void note_ops(Page *page, const Node *node) {
  int row = 0;
  while (row < all_op_count && all_ops[row] != node->op) row++;
  if (row < all_op_count) page->has_op[row] = true;
  for (int i = 0; i < node->region_count; i++) FOR_EACH_NODE(inner, node->regions[i]) note_ops(page, inner);
}

/* The node's number among those that are stored. */
static int store_node(Page *page, const Node *node) {
  Stream one = {.follows = false};
  if (!stream_open(&one)) return 0;
  turn_to(page, &one);
  json_node(&page->json, node);
  stream_close(&one);
  make_room(page);
  uint64_t hash = hash_bytes(one.text, one.size, 5);
  Stored *slot = find_stored(page->stored, page->stored_capacity, one.text, hash);
  if (!slot->text) {
    *slot = (Stored){arena_copy(page->arena, one.text, one.size + 1), hash, page->stored_count++};
    turn_to(page, &page->nodes);
    json_raw(&page->json, slot->text);
    turn_from(page, &page->nodes);
    note_ops(page, node);
  }
  free(one.text);
  return slot->number;
}

/* ---- stages ---- */

/* Stages are written one after the other, and meanwhile what is new of their nodes. */
static void add_stage(Page *page, const Graph *graph, const Pass *pass, const char *why, bool changed) {
  Json *json = &page->json;
  int count = graph_count_nodes(graph), at = 0, *numbers = NEW_ARRAY(page->arena, int, count);
  FOR_EACH_NODE(node, graph)
  if (!node_is(node, &op_return)) numbers[at++] = store_node(page, node);
  turn_to(page, &page->stages);
  json_begin(json, '{');
  json_optional(json, "pass", pass ? pass->name : "read");
  json_optional(json, "doc", pass ? pass->doc : "the model in core operators");
  json_optional(json, "why", why);
  json_key(json, "changed");
  json_bool(json, changed);
  json_inputs(json, graph);
  json_key(json, "nodes");
  json_begin(json, '[');
  for (int i = 0; i < at; i++) json_int(json, numbers[i]);
  json_end(json, ']');
  json_outputs(json, graph);
  json_end(json, '}');
  turn_from(page, &page->stages);
}

/* Of the default order; --passes has no reasons. */
static const char *reason(const Step *step) {
  const PipelineStep *usual = default_pipeline;
  for (int i = 1; i < step->number && usual->pass; i++) usual++;
  return usual->pass && strcmp(usual->pass, step->pass->name) == 0 ? usual->why : NULL;
}

static bool see_nothing(void *context, Graph *graph, const Step *step) {
  (void)context, (void)graph, (void)step;
  return true;
}

static bool see_stage(void *context, Graph *graph, const Step *step, bool changed) {
  add_stage(context, graph, step->pass, reason(step), changed);
  return true;
}

/* ---- code ---- */

static void write_codes(Json *json, const CodeTexts *texts) {
  json_key(json, "kernels");
  json_begin(json, '[');
  for (int i = 0; i < texts->code_count; i++) {
    json_begin(json, '{');
    json_optional(json, "name", texts->codes[i].name);
    json_optional(json, "loops", texts->codes[i].loops);
    json_optional(json, "assembly", texts->codes[i].assembly);
    json_end(json, '}');
  }
  json_end(json, ']');
}

/* "a + b" as a list. */
static void write_origin(Json *json, const char *origin) {
  if (!origin || !*origin) return;
  json_key(json, "origin");
  json_begin(json, '[');
  for (const char *at = origin; at;) {
    const char *end = strstr(at, " + ");
    char *one = end ? strndup(at, (size_t)(end - at)) : strdup(at);
    json_string(json, one ? one : "");
    free(one);
    at = end ? end + 3 : NULL;
  }
  json_end(json, ']');
}

static void write_steps(Json *json, const CodeTexts *texts, const Measured *measured) {
  json_key(json, "steps");
  json_begin(json, '[');
  for (int i = 0; i < texts->step_count; i++) {
    const CodeStep *step = &texts->steps[i];
    json_begin(json, '{');
    json_key(json, "result");
    json_mention(json, result(step->node, 0));
    json_optional(json, "name", texts->codes[step->code].name);
    json_key(json, "kernel");
    json_int(json, step->code);
    if (step->once) json_key(json, "once"), json_bool(json, true);
    write_origin(json, step->node->origin);
    json_measure(json, "predicted", step->predicted);
    if (!step->once && i < measured->count) json_measure(json, "measured", measured->seconds[i]);
    json_end(json, '}');
  }
  json_end(json, ']');
}

static void write_plan(Json *json, Graph *graph) {
  PlanRow *rows;
  int count = plan_rows(graph, &rows);
  json_key(json, "plan");
  json_begin(json, '[');
  for (int i = 0; i < count; i++) {
    const PlanRow *row = &rows[i];
    json_begin(json, '{');
    json_key(json, "kernel"), json_mention(json, result(row->kernel, 0));
    json_key(json, "value"), json_mention(json, row->value);
    json_optional(json, "type", type_text(graph->module, row->value->type));
    json_optional(json, "memory", row->memory);
    json_key(json, "offset"), json_dim(json, row->offset);
    json_key(json, "bytes"), json_dim(json, row->bytes);
    json_key(json, "first"), json_int(json, row->first);
    json_key(json, "last"), json_int(json, row->last);
    json_end(json, '}');
  }
  json_end(json, ']');
}

/* ---- what else there is ---- */

static void write_ports(Json *json, Module *module, const char *key, const Port *ports, int count) {
  json_key(json, key);
  json_begin(json, '[');
  for (int i = 0; i < count; i++) {
    const char *type = dtype_name(ports[i].dtype);
    for (int axis = 0; axis < ports[i].rank; axis++) {
      const char *size = ports[i].symbols[axis]
                             ? ports[i].symbols[axis]
                             : arena_printf(module->arena, "%lld", (long long)ports[i].dims[axis]);
      type = arena_printf(module->arena, "%s%s%s", type, axis ? "," : "[", size);
    }
    json_begin(json, '{');
    json_optional(json, "name", ports[i].name);
    json_optional(json, "type", ports[i].rank > 0 ? arena_printf(module->arena, "%s]", type) : type);
    json_end(json, '}');
  }
  json_end(json, ']');
}

static void write_model(Json *json, const Program *program, const char *name) {
  const tenon_library *library = program->is_library ? program->library : NULL;
  json_key(json, "model");
  json_begin(json, '{');
  json_optional(json, "name", name);
  json_optional(json, "source", library ? library->source : base_name(program->path));
  json_optional(json, "producer", library ? library->producer : program->module->producer);
  if (library) json_optional(json, "cpu", library->cpu);
  if (library) json_key(json, "weight_bytes"), json_int(json, (int64_t)library->weight_bytes);
  write_ports(json, program->module, "inputs", program->inputs, program->input_count);
  write_ports(json, program->module, "outputs", program->outputs, program->output_count);
  json_end(json, '}');
}

/* What it can do at best: measured where the kernels were, else as the cost model has it. */
static void write_target(Json *json, Module *module, const Target *target, const Measured *measured) {
  Diag *last = module->last_diag;
  Roofline roof;
  bool known = measured->count > 0 && codegen_roofline(module, target, &roof);
  if (!known) diags_take_back(module, last);
  json_key(json, "target");
  json_begin(json, '{');
  json_optional(json, "cpu", target->cpu);
  json_key(json, "peak_gflops"), json_float(json, known ? roof.gflops : target->peak_gflops);
  json_key(json, "byte_gain"), json_float(json, target->byte_gain);
  json_key(json, "read_gbps");
  json_float(json, known ? roof.levels[ROOFLINE_LEVELS - 1].gbps : target->read_gbps);
  json_end(json, '}');
}

static void write_measured(Json *json, const Measured *measured) {
  json_key(json, "symbols");
  json_begin(json, '{');
  for (int i = 0; i < measured->symbol_count; i++)
    json_key(json, measured->symbols[i]), json_int(json, measured->values[i]);
  json_end(json, '}');
  json_key(json, "runs"), json_int(json, measured->runs);
  json_optional(json, "note", measured->why);
}

static void write_ops(const Page *page, Json *json) {
  json_key(json, "ops");
  json_begin(json, '{');
  for (int i = 0; i < all_op_count; i++) {
    if (!page->has_op[i]) continue;
    json_key(json, all_ops[i]->name);
    json_begin(json, '{');
    json_optional(json, "family", all_ops[i]->family);
    json_optional(json, "doc", all_ops[i]->doc);
    json_end(json, '}');
  }
  json_end(json, '}');
}

/* ---- models ---- */

static bool page_open(Page *page, Module *module) {
  *page = (Page){.module = module, .arena = module->arena, .json = json_new(NULL)};
  page->has_op = NEW_ARRAY(page->arena, bool, all_op_count);
  return (stream_open(&page->nodes) && stream_open(&page->stages)) || fail(module, "no memory for the page");
}

static void page_close(Page *page) {
  stream_close(&page->nodes);
  stream_close(&page->stages);
  free(page->nodes.text);
  free(page->stages.text);
  json_finish(&page->json);
}

static bool optimise(Program *program, Page *page, const Target *target, const Lossy *lossy) {
  Module *module = program->module;
  PipelineOptions pipeline = build_pipeline(module, program->arguments, target, lossy);
  Watcher watcher = {see_nothing, see_stage, page};
  pipeline.watcher = &watcher;
  add_stage(page, module->main, NULL, NULL, true);
  return build_run(module, program->arguments, &pipeline);
}

/* All that is known, into `whole`. */
static void write_report(Page *page, const Program *program, const Target *target, const CodeTexts *texts,
                         const Measured *measured, const Lossy *lossy, Stream *whole) {
  Json *json = &page->json;
  turn_to(page, whole);
  json_begin(json, '{');
  write_model(json, program, program->module->main->name);
  write_measured(json, measured);
  write_target(json, program->module, target, measured);
  write_ops(page, json);
  json_key(json, "nodes"), json_begin(json, '['), json_raw(json, page->nodes.text), json_end(json, ']');
  json_key(json, "stages"), json_begin(json, '['), json_raw(json, page->stages.text), json_end(json, ']');
  write_codes(json, texts);
  write_steps(json, texts, measured);
  write_plan(json, program->module->main);
  json_key(json, "ledgers"), ledgers_json(json, lossy);
  json_end(json, '}');
  stream_close(whole);
}

static bool compile(Program *program, Page *page, Stream *whole) {
  Module *module = program->module;
  Lossy lossy;
  Measured measured;
  CodeTexts texts;
  CodegenOptions options = {.name = build_name(module, program->path), .source = base_name(program->path)};
  TRY(build_target(module, program->arguments, &options.target));
  TRY(build_lossy(module, program->arguments, &lossy));
  TRY(optimise(program, page, &options.target, &lossy));
  progress_begin(program->arguments, "compiling", program->path);
  bool ok = codegen_texts(module->main, &options, &texts);
  progress_end();
  TRY(ok);
  page_measure_model(program, &options.target, &measured);
  fflush(page->nodes.out);
  fflush(page->stages.out);
  write_report(page, program, &options.target, &texts, &measured, &lossy, whole);
  return true;
}

bool page_of_model(Program *program, const char *path) {
  Page page;
  Stream whole = {.follows = false};
  bool ok = page_open(&page, program->module) && stream_open(&whole) && compile(program, &page, &whole) &&
            page_write(program->module, path, whole.text, whole.size);
  stream_close(&whole);
  free(whole.text);
  page_close(&page);
  return ok;
}

/* ---- libraries ---- */

static void write_library_steps(Json *json, const tenon_library *library, const Measured *measured) {
  json_key(json, "steps");
  json_begin(json, '[');
  for (uint32_t i = 0; i < library->kernel_count; i++) {
    const tenon_kernel_info *info = library->kernels[i];
    json_begin(json, '{');
    json_key(json, "result"), json_int(json, i);
    json_optional(json, "name", info->name);
    write_origin(json, info->origin);
    if (info->macs >= 0) json_key(json, "macs"), json_int(json, info->macs);
    if ((int)i < measured->count) json_measure(json, "measured", measured->seconds[i]);
    json_end(json, '}');
  }
  json_end(json, ']');
}

bool page_of_library(Program *program, const char *path) {
  Stream whole = {.follows = false};
  Measured measured;
  if (!stream_open(&whole)) return fail(program->module, "no memory for the page");
  page_measure_library(program, &measured);
  Json json = json_new(whole.out);
  json_begin(&json, '{');
  write_model(&json, program, program->library->name);
  write_measured(&json, &measured);
  json_key(&json, "ops"), json_begin(&json, '{'), json_end(&json, '}');
  json_key(&json, "nodes"), json_begin(&json, '['), json_end(&json, ']');
  json_key(&json, "stages"), json_begin(&json, '['), json_end(&json, ']');
  write_library_steps(&json, program->library, &measured);
  json_end(&json, '}');
  json_finish(&json);
  stream_close(&whole);
  bool ok = page_write(program->module, path, whole.text, whole.size);
  free(whole.text);
  return ok;
}
