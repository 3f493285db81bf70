/*
 * print.c -- graphs as text. Canonical: the same graph always gives the same text, and the text read back
 * gives the same graph.
 *
 * Two things need a look at the whole graph before the first line: the numbers of unnamed values, counted per
 * graph, and the keys of weights, which are unique in the file. A Printer holds both.
 */
#include "ir/print.h"
#include "ir/parse_const.h"

#include <assert.h>
#include <string.h>

enum { MAX_LISTED = 8 }; /* constants of more elements go to the weights file */

struct ValueNumbers {
  Arena *arena;
  Table table; /* Value -> its number plus one */
  uintptr_t last;
};

typedef struct Printer {
  Arena *arena; /* of this printing only */
  Text text;
  ValueNumbers *kept, counted; /* kept from other prints, and with notes; NULL: counted per graph */
  WeightKeys keys;
  const Graph *graph;
  int indent;
} Printer;

/* ---- Weights ---- */

bool data_is_listed(const Data *data) {
  if (data->dtype == DTYPE_STRING) return true;
  bool is_number = dtype_is_float(data->dtype) || dtype_is_int(data->dtype) || data->dtype == DTYPE_BOOL;
  return is_number && (data->splat || data->count <= MAX_LISTED);
}

static bool key_equal(const void *item, const void *key) {
  return strcmp(item, key) == 0;
}

static bool take_key(WeightKeys *keys, const char *key) {
  uint64_t hash = hash_bytes(key, strlen(key), 3);
  if (table_find(&keys->taken, hash, key, key_equal)) return false;
  table_add(keys->arena, &keys->taken, hash, arena_copy(keys->arena, key, strlen(key) + 1));
  return true;
}

static const char *unique_key(WeightKeys *keys, const char *wanted) {
  const char *key = wanted ? wanted : "constant";
  for (int i = 1; !take_key(keys, key); i++)
    key = arena_printf(keys->arena, "%s_%d", wanted ? wanted : "constant", i);
  return key;
}

void weight_keys_collect(WeightKeys *keys, const Graph *graph) {
  FOR_EACH_NODE(node, graph) {
    if (node->data && !data_is_listed(node->data) && !map_get(&keys->keys, node->data)) {
      const Data *data = node->data;
      const char *key = unique_key(keys, data->name ? data->name : node->results[0]->name);
      map_set(keys->arena, &keys->keys, data, (void *)key);
      keys->last = arena_copy(keys->arena, &(WeightKey){key, data, node->results[0]->type, keys->last},
                              sizeof *keys->last);
      keys->count++;
    }
    for (int i = 0; i < node->region_count; i++) weight_keys_collect(keys, node->regions[i]);
  }
}

/* ---- Values ---- */

static ValueNumbers *numbers_of(Printer *printer) {
  return printer->kept ? printer->kept : &printer->counted;
}

static void number_value(ValueNumbers *numbers, const Value *value, bool keep) {
  if (value->name || (keep && map_get(&numbers->table, value))) return;
  map_set(numbers->arena, &numbers->table, value, (void *)++numbers->last);
}

static void number_values(Printer *printer, const Graph *graph) {
  ValueNumbers *numbers = numbers_of(printer);
  bool keep = printer->kept;
  if (!keep) numbers->last = 0;
  for (int i = 0; i < graph->input_count; i++) number_value(numbers, graph->inputs[i], keep);
  FOR_EACH_NODE(node, graph)
  for (int i = 0; i < node->result_count; i++) number_value(numbers, node->results[i], keep);
}

ValueNumbers *value_numbers_new(Arena *arena) {
  ValueNumbers *numbers = NEW(arena, ValueNumbers);
  numbers->arena = arena;
  return numbers;
}

static void add_value(Printer *printer, const Value *value) {
  if (!value) {
    text_add(&printer->text, "_");
    return;
  }
  text_add(&printer->text, "%");
  if (value->name)
    text_add_name(&printer->text, value->name);
  else
    text_format(&printer->text, "%lld",
                (long long)(uintptr_t)map_get(&numbers_of(printer)->table, value) - 1);
}

static void add_typed(Printer *printer, const Value *value) {
  add_value(printer, value);
  text_add(&printer->text, ": ");
  if (value->type)
    text_add_type(&printer->text, value->type);
  else
    text_add(&printer->text, "?"); /* only in a graph that is being built */
}

/* ---- Attributes ---- */

static void add_list_element(Text *text, AttrKind kind, const Attr *attr, int i) {
  if (i > 0) text_add(text, ",");
  if (kind == ATTR_INTS)
    text_format(text, "%lld", (long long)attr->ints[i]);
  else if (kind == ATTR_FLOATS)
    text_add_float(text, DTYPE_F64, attr->floats[i]);
  else
    text_add_dim(text, attr->dims[i]);
}

static void add_attr(Text *text, const AttrSpec *spec, const Attr *attr) {
  text_format(text, "%s=", spec->name);
  switch (spec->kind) {
  case ATTR_BOOL: text_add(text, attr->b ? "true" : "false"); break;
  case ATTR_INT: text_format(text, "%lld", (long long)attr->i); break;
  case ATTR_FLOAT: text_add_float(text, DTYPE_F64, attr->f); break;
  case ATTR_STRING: text_add_quoted(text, attr->s); break;
  case ATTR_DTYPE: text_add(text, dtype_name(attr->dtype)); break;
  default:
    text_add(text, "[");
    for (int i = 0; i < attr->count; i++) add_list_element(text, spec->kind, attr, i);
    text_add(text, "]");
  }
}

/* ---- Constants ---- */

static void add_element(Text *text, const Data *data, int64_t index) {
  if (data->dtype == DTYPE_STRING)
    text_add_quoted(text, data_string(data, index));
  else if (dtype_is_float(data->dtype))
    text_add_float(text, data->dtype, data_get(data, index));
  else if (data->dtype == DTYPE_BOOL)
    text_add(text, data_get_int(data, index) ? "true" : "false");
  else if (data->dtype == DTYPE_U64)
    text_format(text, "%llu", (unsigned long long)data_get_int(data, index));
  else
    text_format(text, "%lld", (long long)data_get_int(data, index));
}

static void add_splat(Text *text, const Data *data) {
  Data one = *data; /* of a splat without elements, too */
  one.count = 1;
  text_add(text, "splat ");
  add_element(text, &one, 0);
}

static void add_const(Printer *printer, const Node *node) {
  Text *text = &printer->text;
  const Data *data = node->data;
  text_add(text, "const ");
  add_typed(printer, node->results[0]);
  text_add(text, " = ");
  if (!data) {
    text_add(text, "?");
  } else if (!data_is_listed(data)) {
    text_add(text, "data ");
    text_add_quoted(text, map_get(&printer->keys.keys, data));
  } else if (data->splat) {
    add_splat(text, data);
  } else {
    text_add(text, "[");
    for (int64_t i = 0; i < data->count; i++) {
      if (i > 0) text_add(text, ", ");
      add_element(text, data, i);
    }
    text_add(text, "]");
  }
}

/* ---- Nodes and graphs ---- */

static void add_graph(Printer *printer, const Graph *graph);

static void add_indent(Printer *printer) {
  for (int i = 0; i < printer->indent; i++) text_add(&printer->text, "  ");
}

static void add_operation(Printer *printer, const Node *node) {
  Text *text = &printer->text;
  for (int i = 0; i < node->result_count; i++) {
    if (i > 0) text_add(text, ", ");
    add_typed(printer, node->results[i]);
  }
  text_format(text, "%s%s", node->result_count > 0 ? " = " : "", node->op->name);
  const char *separator = " ";
  int operand_count = node->operand_count; /* absent operands at the end are left out */
  while (operand_count > 0 && !operand(node, operand_count - 1) && node->op != &op_kernel) operand_count--;
  for (int i = 0; i < operand_count; i++, separator = ", ") {
    text_add(text, separator);
    add_value(printer, operand(node, i));
  }
  for (int i = 0; i < node->op->attr_count; i++) {
    if (attr_is_default(node->graph->module, &node->op->attrs[i], &node->attrs[i])) continue;
    text_add(text, separator);
    add_attr(text, &node->op->attrs[i], &node->attrs[i]);
    separator = ", ";
  }
}

/* A comment to the end of the line. Names may hold anything. */
static void add_note(Printer *printer, const Node *node) {
  const char *note = printer->kept ? node_note(node) : "";
  if (!*note) return;
  text_add(&printer->text, "  # ");
  for (; *note; note++)
    text_format(&printer->text, "%c", (unsigned char)*note < ' ' || *note == 127 ? '?' : *note);
}

static void add_regions(Printer *printer, const Node *node) {
  text_add(&printer->text, " {");
  add_note(printer, node);
  text_add(&printer->text, "\n");
  printer->indent++;
  for (int i = 0; i < node->region_count; i++) add_graph(printer, node->regions[i]);
  printer->indent--;
  add_indent(printer);
  text_add(&printer->text, "}");
}

static void add_node(Printer *printer, const Node *node) {
  add_indent(printer);
  if (node->op == &op_const)
    add_const(printer, node);
  else
    add_operation(printer, node);
  if (node->region_count > 0)
    add_regions(printer, node);
  else
    add_note(printer, node);
  text_add(&printer->text, "\n");
}

static void add_signature(Printer *printer, const Graph *graph) {
  Text *text = &printer->text;
  text_add(text, "graph ");
  if (graph->name && *graph->name) text_add_name(text, graph->name);
  text_add(text, "(");
  for (int i = 0; i < graph->input_count; i++) {
    int state = value_state(graph->inputs[i]);
    if (i > 0) text_add(text, ", ");
    if (state >= 0) text_add(text, "state ");
    add_typed(printer, graph->inputs[i]);
    if (state >= 0) text_add(text, " in ");
    if (state >= 0) text_add_type(text, graph->rooms[state]);
  }
  text_add(text, ") -> (");
  for (int i = 0; i < graph->output_count; i++) {
    if (i > 0) text_add(text, ", ");
    text_add(text, i >= graph->output_count - graph->state_count ? "state %" : "%");
    text_add_name(text, graph->output_names[i]);
    text_add(text, ": ");
    text_add_type(text, graph_output(graph, i)->type);
  }
  text_add(text, ")");
}

static void add_graph(Printer *printer, const Graph *graph) {
  number_values(printer, graph);
  add_indent(printer);
  add_signature(printer, graph);
  text_add(&printer->text, " {\n");
  printer->indent++;
  FOR_EACH_NODE(node, graph) add_node(printer, node);
  printer->indent--;
  add_indent(printer);
  text_add(&printer->text, "}\n");
}

static Printer printer_new(const Graph *graph, ValueNumbers *kept) {
  Printer printer = {.arena = arena_new(), .graph = graph, .kept = kept};
  printer.counted.arena = printer.keys.arena = printer.arena;
  weight_keys_collect(&printer.keys, graph);
  return printer;
}

static void printer_finish(Printer *printer, FILE *out) {
  fwrite(printer->text.chars ? printer->text.chars : "", 1, printer->text.length, out);
  text_free(&printer->text);
  arena_free(printer->arena);
}

void graph_print_noted(const Graph *graph, ValueNumbers *numbers, FILE *out) {
  Printer printer = printer_new(graph, numbers);
  add_graph(&printer, graph);
  printer_finish(&printer, out);
}

void node_print_noted(const Node *node, ValueNumbers *numbers, FILE *out) {
  Printer printer = printer_new(node->graph, numbers);
  number_values(&printer, node->graph);
  add_node(&printer, node);
  printer_finish(&printer, out);
}

void graph_print(const Graph *graph, FILE *out) {
  graph_print_noted(graph, NULL, out);
}

void node_print(const Node *node, FILE *out) {
  node_print_noted(node, NULL, out);
}

/* ---- Files ---- */

/* The elements themselves, also of a splat that cannot be written in the text. */
static bool expanded(Arena *arena, const Data *data, SafeTensor *tensor) {
  tensor->bytes = data->bytes;
  tensor->size = data->size;
  if (!data->splat) return true;
  TRY(dtype_bytes(data->dtype, data->count, &tensor->size));
  char *bytes = arena_alloc(arena, tensor->size);
  for (int64_t i = 0; i < data->count; i++) dtype_copy(data->dtype, bytes, i, data->bytes, 0);
  tensor->bytes = bytes;
  return true;
}

static bool weight_tensor(Arena *arena, const WeightKey *weight, SafeTensor *tensor) {
  const Type *type = weight->type;
  int64_t *dims = NEW_ARRAY(arena, int64_t, type->rank);
  for (int i = 0; i < type->rank; i++) dims[i] = type->dims[i]->value;
  *tensor = (SafeTensor){.name = weight->key, .dtype = type->dtype, .rank = type->rank, .dims = dims};
  return expanded(arena, weight->data, tensor);
}

static bool write_weights(Module *module, const char *path, const WeightKeys *keys) {
  SafeTensor *tensors = NEW_ARRAY(keys->arena, SafeTensor, keys->count);
  int at = keys->count;
  for (const WeightKey *weight = keys->last; weight; weight = weight->previous)
    if (!weight_tensor(keys->arena, weight, &tensors[--at]))
      return fail(module, "constant '%s' is too large", weight->key);
  return keys->count == 0 || safetensors_write(module, weights_path_of(module, path), tensors, keys->count);
}

static bool write_text(Module *module, const char *path, const Text *text) {
  FILE *file = fopen(path, "wb");
  bool ok = file && fwrite(text->chars, 1, text->length, file) == text->length;
  if (file) ok = fclose(file) == 0 && ok;
  if (!ok) diag_add(module, (Diag){.file = path, .text = "cannot be written"});
  return ok;
}

bool module_write_file(const Module *module, const char *path) {
  Module *diags = module->main->module; /* the same one, to record errors in */
  Printer printer = printer_new(module->main, NULL);
  add_graph(&printer, module->main);
  bool ok = write_weights(diags, path, &printer.keys) && write_text(diags, path, &printer.text);
  text_free(&printer.text);
  arena_free(printer.arena);
  return ok;
}
