/*
 * operators.c -- what the importer makes of the models given, one line per operator and model, tabs between:
 *
 *   MODEL  OPERATOR  OPSET  core operators that it becomes  element types that it takes
 *
 * The last two only where the operator is the whole model, else "-"; no types where constants of the model
 * fix them. The types are found by trial: inputs that have one element type in the model get every other one,
 * and the model is imported. Of several groups of such inputs the first counts that may be of several types:
 * data, not conditions or sizes. operators.py reads this.
 */
#include "frontend/onnx/onnx.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_BYTES = 1 << 22, ELEMENT_TYPES = 27 };

static Onnx__ModelProto *read_model(const char *path) {
  static uint8_t bytes[MAX_BYTES];
  FILE *file = fopen(path, "rb");
  size_t size = file ? fread(bytes, 1, sizeof bytes, file) : 0;
  if (file) fclose(file);
  return size && size < sizeof bytes ? onnx__model_proto__unpack(NULL, size, bytes) : NULL;
}

/* ---- Imports */

enum { MAX_CONSTANTS = 16, MAX_ELEMENTS = 64 };

/* The first data set beside the model of that path: small tensors, which may have to be known. */
static int read_constants(Module *module, const char *model, Tensor *values, ImportConstant *constants) {
  int count = 0, folder = (int)(strrchr(model, '/') - model);
  Diag *last = module->last_diag;
  for (int file = 0; file < MAX_CONSTANTS; file++) {
    const char *path = arena_printf(module->arena, "%.*s/test_data_set_0/input_%d.pb", folder, model, file);
    const char *name;
    Tensor *value = &values[count];
    if (!read_tensor_pb(module, path, FORM_TENSOR, value, &name)) continue;
    bool fits = value->rank <= 1 && tensor_count(value) <= MAX_ELEMENTS && dtype_is_int(value->dtype);
    if (fits)
      constants[count++] = (ImportConstant){.input = name, .value = value};
    else
      tensor_free(value);
  }
  diags_take_back(module, last); /* of files that are no tensors */
  return count;
}

/* Where the import fails, it is tried again with small integer inputs as constants, as `tenon check` does. */
static Module *import_file(const char *path, const char *model) {
  Module *module = module_new(path);
  if (import_onnx(module, path, NULL)) return module;
  module_free(module);
  module = module_new(path);
  Tensor values[MAX_CONSTANTS];
  ImportConstant constants[MAX_CONSTANTS];
  const int count = read_constants(module, model, values, constants);
  const ImportOptions options = {.constants = constants, .constant_count = count};
  bool ok = count > 0 && import_onnx(module, path, &options);
  for (int i = 0; i < count; i++) tensor_free(&values[i]);
  if (ok) return module;
  module_free(module);
  return NULL;
}

/* Whether a changed model is imported; `original`: where it came from. */
static bool imports(const Onnx__ModelProto *model, const char *original) {
  size_t size = onnx__model_proto__get_packed_size(model);
  uint8_t *bytes = malloc(size);
  onnx__model_proto__pack(model, bytes);
  char path[64];
  int file = memfd_create("model", 0);
  snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  bool ok = write(file, bytes, size) == (ssize_t)size;
  Module *module = ok ? import_file(path, original) : NULL;
  if (module) module_free(module);
  close(file);
  free(bytes);
  return module != NULL;
}

/* Those of nodes whose origin is `label`; of all when it is NULL. */
static void mark_ops(const Graph *graph, const char *label, bool *found) {
  FOR_EACH_NODE(node, graph) {
    bool counts = !label || (node->origin && strcmp(node->origin, label) == 0);
    if (counts && !node_is(node, &op_const) && !node_is(node, &op_return))
      for (int i = 0; i < all_op_count; i++) found[i] |= all_ops[i] == node->op;
    for (int i = 0; i < node->region_count; i++) mark_ops(node->regions[i], label, found);
  }
}

/* What the importer calls the node. */
static const char *label_of(const Onnx__NodeProto *node) {
  return node->name && *node->name ? node->name : node->n_output ? node->output[0] : "";
}

static void print_core_ops(const char *path, const char *label) {
  Module *module = import_file(path, path);
  bool *found = calloc((size_t)all_op_count, sizeof *found);
  const char *comma = "";
  if (module) mark_ops(module->main, label, found);
  for (int i = 0; i < all_op_count; i++) {
    if (!found[i]) continue;
    printf("%s%s", comma, all_ops[i]->name);
    comma = ",";
  }
  free(found);
  if (module) module_free(module);
}

/* ---- Element types */

static bool has_initializer(const Onnx__GraphProto *graph, const char *name) {
  for (size_t i = 0; i < graph->n_initializer; i++)
    if (strcmp(graph->initializer[i]->name, name) == 0) return true;
  return false;
}

/* NULL: it is no tensor, or a constant by an initializer. */
static int32_t *element_type(const Onnx__GraphProto *graph, size_t input) {
  Onnx__TypeProto *type = graph->input[input]->type;
  if (has_initializer(graph, graph->input[input]->name)) return NULL;
  if (type && type->optional_type) type = type->optional_type->elem_type;
  if (type && type->sequence_type) type = type->sequence_type->elem_type;
  return type && type->tensor_type ? &type->tensor_type->elem_type : NULL;
}

static void retype(const Onnx__GraphProto *graph, int32_t from, int32_t to, const bool *in_group) {
  for (size_t i = 0; i < graph->n_input; i++) {
    int32_t *type = element_type(graph, i);
    if (type && in_group[i] && *type == from) *type = to;
  }
}

/* Types that the inputs with the type of input `first` may have. */
static unsigned types_of_group(const Onnx__ModelProto *model, const char *path, size_t first) {
  const Onnx__GraphProto *graph = model->graph;
  bool *in_group = calloc(graph->n_input, sizeof *in_group);
  int32_t original = *element_type(graph, first);
  unsigned types = 0;
  for (size_t i = first; i < graph->n_input; i++)
    in_group[i] = element_type(graph, i) && *element_type(graph, i) == original;
  for (int32_t to = 1, now = original; to < ELEMENT_TYPES; to++) {
    retype(graph, now, to, in_group);
    now = to;
    if (imports(model, path)) types |= 1u << dtype_of_onnx(to);
    if (to == ELEMENT_TYPES - 1) retype(graph, now, original, in_group);
  }
  free(in_group);
  return types;
}

/* Data of the model itself cannot be given another type. */
static bool is_fixed(const Onnx__GraphProto *graph, size_t input) {
  for (size_t i = 0; i < graph->n_initializer; i++)
    if (graph->initializer[i]->data_type == *element_type(graph, input)) return true;
  return false;
}

static bool is_several(unsigned types) {
  return types & (types - 1);
}

static void print_types(const Onnx__ModelProto *model, const char *path) {
  unsigned types = 0;
  for (size_t i = 0; i < model->graph->n_input && !is_several(types); i++) {
    if (!element_type(model->graph, i) || is_fixed(model->graph, i)) continue;
    unsigned more = types_of_group(model, path, i);
    if (!types || is_several(more)) types = more;
  }
  const char *comma = "";
  for (int dtype = 1; dtype < DTYPE_COUNT; dtype++) {
    if (!(types >> dtype & 1)) continue;
    printf("%s%s", comma, dtype_name((Dtype)dtype));
    comma = ",";
  }
  if (!types) printf("-");
}

/* ---- Models */

static bool came_before(const Onnx__GraphProto *graph, size_t at) {
  for (size_t i = 0; i < at; i++)
    if (strcmp(graph->node[i]->op_type, graph->node[at]->op_type) == 0) return true;
  return false;
}

static void print_model(const char *path, const Onnx__ModelProto *model) {
  const Onnx__GraphProto *graph = model->graph;
  Scope scope = {.opset_count = model->n_opset_import, .opsets = model->opset_import};
  bool is_whole = graph->n_node == 1 && model->n_functions == 0;
  for (size_t i = 0; i < graph->n_node; i++) {
    const Onnx__NodeProto *node = graph->node[i];
    bool plain = domain_is_onnx(node->domain);
    if (came_before(graph, i)) continue;
    printf("%s\t%s%s%s\t%lld\t", path, plain ? "" : node->domain, plain ? "" : ".", node->op_type,
           (long long)scope_opset(&scope, node->domain));
    print_core_ops(path, is_whole ? NULL : label_of(node));
    printf(is_whole ? "\t" : "\t-");
    if (is_whole) print_types(model, path);
    printf("\n");
  }
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    Onnx__ModelProto *model = read_model(argv[i]);
    if (!model || !model->graph) continue;
    print_model(argv[i], model);
    onnx__model_proto__free_unpacked(model, NULL);
  }
  return 0;
}
