/* fuzz.c -- what the fuzz targets share: temporary files, and the properties of an accepted graph. */
#include "tests/fuzz/fuzz.h"

#include "frontend/frontend.h"
#include "passes/passes.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- failing ---- */

void fuzz_check(bool ok, const Module *module, const char *what) {
  if (ok) return;
  fprintf(stderr, "fuzz: %s\n", what);
  if (module) diags_print(module, stderr, 5);
  abort();
}

void fuzz_same_text(const char *before, const char *after) {
  if (strcmp(before, after) == 0) return;
  fprintf(stderr, "fuzz: the text changed when it was read back\n---- before\n%s\n---- after\n%s\n", before,
          after);
  abort();
}

/* ---- temporary files ---- */

enum { MAX_FILES = 8, MAX_PATH = 256 };

/* Static because atexit passes nothing. */
static struct {
  char folder[MAX_PATH];
  char files[MAX_FILES][MAX_PATH + 32];
  int count;
} temporary;

static void remove_files(void) {
  for (int i = 0; i < temporary.count; i++) unlink(temporary.files[i]);
  rmdir(temporary.folder);
}

/* In memory if possible: some disks take milliseconds for a file. */
static void make_folder(void) {
  const char *parent = getenv("TMPDIR");
  if (!parent || !*parent) parent = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
  snprintf(temporary.folder, MAX_PATH, "%s/tenon-fuzz-XXXXXX", parent);
  fuzz_check(mkdtemp(temporary.folder) != NULL, NULL, "cannot make a temporary folder");
  atexit(remove_files);
}

static const char *fuzz_path(const char *name) {
  if (!*temporary.folder) make_folder();
  char path[MAX_PATH + 32];
  snprintf(path, sizeof path, "%s/%s", temporary.folder, name);
  for (int i = 0; i < temporary.count; i++)
    if (strcmp(temporary.files[i], path) == 0) return temporary.files[i];
  fuzz_check(temporary.count < MAX_FILES, NULL, "too many temporary files");
  return memcpy(temporary.files[temporary.count++], path, sizeof path);
}

const char *fuzz_file(const char *name, const void *bytes, size_t size) {
  const char *path = fuzz_path(name);
  unlink(path); /* faster than to truncate it */
  FILE *file = fopen(path, "wb");
  fuzz_check(file && fwrite(bytes, 1, size, file) == size && !fclose(file), NULL,
             "cannot write a temporary file");
  return path;
}

/* ---- graphs ---- */

static char *graph_text(const Graph *graph) {
  char *text = NULL;
  size_t size = 0;
  FILE *stream = open_memstream(&text, &size);
  fuzz_check(stream != NULL, NULL, "no memory for a text");
  graph_print(graph, stream);
  fclose(stream);
  return text;
}

enum { MAX_NODES = 300, MAX_ELEMENTS = 1 << 14, MAX_MACS = 1 << 20, SYMBOL_SIZE = 3 };

/* What a constant fold or the interpreter would need for the graph, roughly. */
static bool graph_is_small(const Graph *graph) {
  int nodes = 0;
  FOR_EACH_NODE(node, graph) {
    if (++nodes > MAX_NODES) return false;
    for (int i = 0; i < node->region_count; i++)
      if (!graph_is_small(node->regions[i])) return false;
    const Dim *macs = node->op->macs ? node->op->macs(node) : NULL;
    if (macs && dim_is_const(macs) && macs->value > MAX_MACS) return false;
    for (int i = 0; i < node->result_count; i++) {
      const Type *type = node->results[i]->type;
      if (type_is_static(type) && (uint64_t)type_static_count(type) > MAX_ELEMENTS) return false;
    }
  }
  return true;
}

/* Written with its weights and read again: the same text. */
static void round_trip(const Module *module) {
  const char *path = fuzz_path("graph.tn");
  fuzz_path("graph.safetensors");
  char *before = graph_text(module->main);
  Module *again = module_new(path);
  fuzz_check(module_write_file(module, path), module, "an accepted graph cannot be written");
  fuzz_check(module_parse_file(again, path), again, "an accepted graph cannot be read back");
  fuzz_check(graph_verify(again->main), again, "a graph that was read back does not verify");
  char *after = graph_text(again->main);
  fuzz_same_text(before, after);
  free(before);
  free(after);
  module_free(again);
}

/* Written as ONNX, or refused; what was written can be read, or is refused. */
static void write_onnx(Module *module) {
  const char *path = fuzz_path("graph.onnx");
  Diag *last = module->last_diag;
  if (onnx_write(module->main, path, false)) {
    Module *again = module_new(path);
    if (import_onnx(again, path, NULL))
      fuzz_check(graph_verify(again->main), again, "a graph that was written as ONNX does not verify");
    module_free(again);
  }
  diags_take_back(module, last);
}

static void run_passes(Module *module) {
  const Pass *const tables[] = {graph_passes, NULL};
  const PipelineOptions options = {.tables = tables, .verify = true};
  fuzz_check(pipeline_run(module->main, &options), module, "a pass failed on an accepted graph");
}

/* Zeros of the input's type, with a size for every symbol; false when the shape is more than that. */
static bool make_input(Tensor *tensor, const Type *type) {
  int64_t dims[MAX_RANK], count = 1;
  for (int i = 0; i < type->rank; i++) {
    dims[i] = dim_is_const(type->dims[i]) ? type->dims[i]->value : SYMBOL_SIZE;
    if (dims[i] < 0 || __builtin_mul_overflow(count, dims[i], &count) || count > MAX_ELEMENTS) return false;
  }
  return tensor_new(tensor, type->dtype, type->rank, dims);
}

/* Whether all values and the work of all nodes are small once the inputs have sizes. */
static bool can_interpret(Graph *graph, const Tensor *inputs) {
  if (graph_is_dynamic(graph)) return false; /* what it needs is known when it has run */
  enum { MAX_SYMBOLS = 64 };
  const char *symbols[MAX_SYMBOLS];
  int64_t values[MAX_SYMBOLS], size;
  int count;
  if (!graph_bind(graph, inputs, symbols, values, MAX_SYMBOLS, &count)) return false;
  FOR_EACH_NODE(node, graph) {
    const Dim *macs = node->op->macs ? node->op->macs(node) : NULL;
    if (macs && (!dim_eval(macs, symbols, values, count, &size) || size > MAX_MACS)) return false;
    for (int i = 0; i < node->result_count; i++) {
      const Dim *elements = type_count(graph->module, node->results[i]->type);
      if (!dim_eval(elements, symbols, values, count, &size) || size > MAX_ELEMENTS) return false;
    }
  }
  return true;
}

/* It may be refused (a division by zero), but whatever infer accepted has a lowering. */
static void interpret(Module *module) {
  enum { MAX_INPUTS = 64, MAX_OUTPUTS = 64 };
  Graph *graph = module->main;
  Tensor inputs[MAX_INPUTS] = {0}, outputs[MAX_OUTPUTS] = {0};
  bool can_run = graph->input_count <= MAX_INPUTS && graph->output_count <= MAX_OUTPUTS;
  for (int i = 0; can_run && i < graph->input_count; i++)
    can_run = make_input(&inputs[i], graph->inputs[i]->type);
  if (can_run && can_interpret(graph, inputs) && graph_interpret(graph, inputs, outputs))
    for (int i = 0; i < graph->output_count; i++) tensor_free(&outputs[i]);
  for (int i = 0; i < MAX_INPUTS; i++) tensor_free(&inputs[i]);
}

void fuzz_graph(Module *module) {
  fuzz_check(graph_verify(module->main), module, "an accepted graph does not verify");
  bool is_small = graph_is_small(module->main);
  if (is_small) round_trip(module);
  if (is_small) write_onnx(module);
  if (is_small) interpret(module);
  if (is_small) run_passes(module);
  if (is_small) interpret(module);
  free(graph_text(module->main));
}
