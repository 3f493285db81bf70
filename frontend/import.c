/*
 * import.c -- which reader a model file is for, by its first bytes; the suffix only decides for text.
 *
 * ONNX has no magic number, so it is what remains. Its first byte is a protobuf tag, never one of those
 * looked for here: '{', '#', 'P' and 'g' have wire types that ModelProto does not use, or fields it does not
 * have.
 */
#include "frontend/files.h"
#include "frontend/frontend.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

typedef enum Format { FORMAT_ONNX, FORMAT_KERAS, FORMAT_TEXT, FORMAT_LIBRARY } Format;

static const struct {
  const char *magic;
  size_t length;
  Format format;
} magics[] = {
    {"\x89HDF\r\n\x1a\n", 8, FORMAT_KERAS}, /* .h5 */
    {"PK\x03\x04", 4, FORMAT_KERAS},        /* .keras: a zip */
    {"{", 1, FORMAT_KERAS},                 /* .json */
    {"graph", 5, FORMAT_TEXT},
    {"#", 1, FORMAT_TEXT},
    {"\177ELF", 4, FORMAT_LIBRARY},
};

static Format format_of(const char *path, const char *bytes, size_t size) {
  while (size > 0 && isspace((unsigned char)*bytes)) bytes++, size--;
  for (int i = 0; i < COUNT_OF(magics); i++)
    if (size >= magics[i].length && memcmp(bytes, magics[i].magic, magics[i].length) == 0)
      return magics[i].format;
  return has_suffix(path, ".tn") ? FORMAT_TEXT : FORMAT_ONNX;
}

static bool read_head(Module *module, const char *path, char *bytes, size_t *size) {
  struct stat status;
  FILE *file = fopen(path, "rb");
  if (!file) return fail(module, "%s", strerror(errno));
  bool regular = fstat(fileno(file), &status) == 0 && S_ISREG(status.st_mode);
  *size = regular ? fread(bytes, 1, *size, file) : 0;
  fclose(file);
  if (!regular) return fail(module, "this is no file");
  return *size > 0 || fail(module, "the file is empty");
}

/* ---- --dim and --input-shape for the text form: they replace symbols by constants ---- */

static bool substitute_attr(Graph *graph, Node *node, int index, const char *symbol, const Dim *by) {
  const AttrSpec *spec = &node->op->attrs[index];
  const Attr *attr = &node->attrs[index];
  const Dim *dims[MAX_KNOWN];
  if (spec->kind != ATTR_DIMS || !attr->set || attr->count > MAX_KNOWN) return false;
  for (int i = 0; i < attr->count; i++) dims[i] = dim_substitute(graph->module, attr->dims[i], symbol, by);
  node_set_dims(node, spec->name, dims, attr->count);
  return true;
}

static void substitute_type(Graph *graph, Value *value, const char *symbol, const Dim *by) {
  const Dim *dims[MAX_RANK];
  for (int i = 0; i < value->type->rank; i++)
    dims[i] = dim_substitute(graph->module, value->type->dims[i], symbol, by);
  value->type = type_make(graph->module, value->type->dtype, value->type->rank, dims);
}

static bool substitute(Graph *graph, const char *symbol, const Dim *by) {
  for (int i = 0; i < graph->input_count; i++) substitute_type(graph, graph->inputs[i], symbol, by);
  FOR_EACH_NODE(node, graph) {
    for (int i = 0; i < node->op->attr_count; i++) substitute_attr(graph, node, i, symbol, by);
    for (int i = 0; i < node->region_count; i++) TRY(substitute(node->regions[i], symbol, by));
    if (node_is(node, &op_const)) continue;
    if (node->region_count == 0) TRY(node_reinfer(node));
    for (int i = 0; node->region_count > 0 && i < node->result_count; i++)
      substitute_type(graph, node->results[i], symbol, by);
  }
  return true;
}

static bool mentions(const Graph *graph, const char *symbol, const Dim *probe) {
  for (int i = 0; i < graph->input_count; i++) {
    const Type *type = graph->inputs[i]->type;
    for (int axis = 0; axis < type->rank; axis++)
      if (dim_substitute(graph->module, type->dims[axis], symbol, probe) != type->dims[axis]) return true;
  }
  return false;
}

static bool apply_dim(Module *module, const ImportDim *dim) {
  const Dim *by = dim_const(module, dim->value);
  if (!mentions(module->main, dim->name, by))
    return fail(module, "no input has a size called '%s'", dim->name);
  return substitute(module->main, dim->name, by);
}

static Value *find_input(const Graph *graph, const char *name) {
  for (int i = 0; i < graph->input_count; i++)
    if (graph->inputs[i]->name && strcmp(graph->inputs[i]->name, name) == 0) return graph->inputs[i];
  return NULL;
}

static bool apply_axis(Module *module, const Value *input, int axis, int64_t size) {
  const Dim *dim = input->type->dims[axis];
  if (size < 0 || dim_is(dim, size)) return true;
  if (dim->kind == DIM_SYMBOL) return substitute(module->main, dim->symbol, dim_const(module, size));
  return fail(module, "axis %d of input '%s' is %s and cannot become %lld", axis, input->name,
              dim_text(module, dim), (long long)size);
}

static bool apply_shape(Module *module, const ImportShape *shape) {
  const Value *input = find_input(module->main, shape->input);
  if (!input) return fail(module, "there is no input '%s'", shape->input);
  if (shape->rank != input->type->rank)
    return fail(module, "input '%s' has %d axes, not %d", shape->input, input->type->rank, shape->rank);
  for (int i = 0; i < shape->rank; i++) TRY(apply_axis(module, input, i, shape->dims[i]));
  return true;
}

static bool import_text(Module *module, const char *path, const ImportOptions *options) {
  TRY(module_parse_file(module, path));
  for (int i = 0; options && i < options->dim_count; i++) TRY(apply_dim(module, &options->dims[i]));
  for (int i = 0; options && i < options->shape_count; i++) TRY(apply_shape(module, &options->shapes[i]));
  return true;
}

bool import_model(Module *module, const char *path, const ImportOptions *options) {
  char head[64];
  size_t size = sizeof head;
  TRY(read_head(module, path, head, &size));
  switch (format_of(path, head, size)) {
  case FORMAT_KERAS: return import_keras(module, path, options);
  case FORMAT_TEXT: return import_text(module, path, options);
  case FORMAT_LIBRARY: return fail(module, "this is a compiled library or program, not a model");
  default: return import_onnx(module, path, options);
  }
}
