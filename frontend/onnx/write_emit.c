/*
 * write_emit.c -- names, nodes, constants and sizes of a model that is written.
 *
 * A size that is not a number is computed where it is first wanted: a symbol from the value whose axis has
 * it, by Shape, anything else by arithmetics on i64[1]. Each is there once in a graph, and those of the
 * graphs around are seen.
 */
#include "frontend/onnx/write.h"

#include <stdlib.h>
#include <string.h>

void list_add(Arena *arena, List *list, void *item) {
  if (list->count == list->room) {
    void **more = NEW_ARRAY(arena, void *, list->room = 2 * list->room + 16);
    if (list->count) memcpy(more, list->items, sizeof *more * (size_t)list->count);
    list->items = more;
  }
  list->items[list->count++] = item;
}

static Arena *arena_of(const Writer *writer) {
  return writer->module->arena;
}

/* ---- Names */

const char *name_new(Writer *writer, const char *wanted) {
  Module *module = writer->module;
  const char *name = wanted ? intern(module, wanted) : NULL;
  while (!name || names_get(&writer->taken, name))
    name = intern(module, arena_printf(arena_of(writer), "%s_%d", wanted ? wanted : "t", writer->fresh++));
  names_set(module, &writer->taken, name, name);
  return name;
}

const char *name_of(Writer *writer, const Value *value) {
  if (!value) return intern(writer->module, "");
  return names_get(&writer->names, (const char *)value);
}

const char *name_of_operand(Writer *writer, const Node *node, int index) {
  return name_of(writer, operand(node, index));
}

static void rename_in(char **names, size_t count, const char *from, const char *to) {
  for (size_t i = 0; i < count; i++)
    if (names[i] == from) names[i] = (char *)to;
}

/* The name is one that `put` gave: in the nodes from there on it becomes another. */
static bool rename_made(const Writer *writer, const char *from, const char *to) {
  const List *nodes = &writer->graph->nodes;
  int first = nodes->count;
  bool found = false;
  while (!found && first > 0) {
    const OutNode *node = nodes->items[--first];
    for (size_t i = 0; i < node->n_output; i++) found |= node->output[i] == from;
  }
  for (int i = first; found && i < nodes->count; i++) {
    OutNode *node = nodes->items[i];
    rename_in(node->input, node->n_input, from, to);
    rename_in(node->output, node->n_output, from, to);
    if (node->name == from) node->name = (char *)to;
  }
  return found;
}

static bool is_of_put(const Writer *writer, const char *name) {
  return names_get(&writer->taken, name) != name;
}

void name_give(Writer *writer, const Value *value, const char *name) {
  const char *own = name_of(writer, value);
  if (is_of_put(writer, name) && rename_made(writer, name, own)) return;
  const char *copy = put1(writer, "Identity", name);
  rename_made(writer, copy, own);
}

/* ---- Nodes */

const char *put(Writer *writer, const char *type, int count, const char *const *inputs) {
  Arena *arena = arena_of(writer);
  OutNode *node = NEW(arena, OutNode);
  onnx__node_proto__init(node);
  while (count > 0 && !*inputs[count - 1]) count--;
  const char *colon = strchr(type, ':'); /* DOMAIN:TYPE */
  if (colon) node->domain = arena_printf(arena, "%.*s", (int)(colon - type), type);
  node->op_type = (char *)(colon ? colon + 1 : type);
  node->input = NEW_ARRAY(arena, char *, count);
  for (int i = 0; i < count; i++) node->input[node->n_input++] = (char *)inputs[i];
  list_add(arena, &writer->graph->nodes, node);
  return node->name = (char *)put_output(writer);
}

const char *put1(Writer *writer, const char *type, const char *x) {
  return x ? put(writer, type, 1, &x) : NULL;
}

const char *put2(Writer *writer, const char *type, const char *x, const char *y) {
  return x && y ? put(writer, type, 2, (const char *const[]){x, y}) : NULL;
}

const char *put3(Writer *writer, const char *type, const char *x, const char *y, const char *z) {
  return x && y && z ? put(writer, type, 3, (const char *const[]){x, y, z}) : NULL;
}

static OutNode *last_node(const Writer *writer) {
  return writer->graph->nodes.items[writer->graph->nodes.count - 1];
}

const char *put_output(Writer *writer) {
  enum { MAX_OUTPUTS = 1 << 16 };
  OutNode *node = last_node(writer);
  char **outputs = NEW_ARRAY(arena_of(writer), char *, node->n_output + 1);
  if (node->n_output) memcpy(outputs, node->output, sizeof *outputs * node->n_output);
  const char *name = name_new(writer, NULL);
  names_set(writer->module, &writer->taken, name, writer); /* not for good: see name_give */
  outputs[node->n_output++] = (char *)name;
  node->output = outputs;
  return name;
}

static Onnx__AttributeProto *attribute(Writer *writer, const char *name, int32_t type) {
  Arena *arena = arena_of(writer);
  OutNode *node = last_node(writer);
  Onnx__AttributeProto **all = NEW_ARRAY(arena, Onnx__AttributeProto *, node->n_attribute + 1);
  if (node->n_attribute) memcpy(all, node->attribute, sizeof *all * node->n_attribute);
  Onnx__AttributeProto *made = all[node->n_attribute++] = NEW(arena, Onnx__AttributeProto);
  node->attribute = all;
  onnx__attribute_proto__init(made);
  made->name = (char *)name;
  made->has_type = true;
  made->type = type;
  return made;
}

static ProtobufCBinaryData bytes_of(const char *text) {
  return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)text};
}

void with_int(Writer *writer, const char *name, int64_t value) {
  Onnx__AttributeProto *made = attribute(writer, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
  made->has_i = true;
  made->i = value;
}

void with_float(Writer *writer, const char *name, double value) {
  Onnx__AttributeProto *made = attribute(writer, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
  made->has_f = true;
  made->f = (float)value;
}

void with_string(Writer *writer, const char *name, const char *value) {
  Onnx__AttributeProto *made = attribute(writer, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
  made->has_s = true;
  made->s = bytes_of(value);
}

void with_ints(Writer *writer, const char *name, const int64_t *values, int count) {
  if (count == 0) return;
  Onnx__AttributeProto *made = attribute(writer, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
  made->n_ints = (size_t)count;
  made->ints = arena_copy(arena_of(writer), values, sizeof *values * (size_t)count);
}

void with_floats(Writer *writer, const char *name, const double *values, int count) {
  if (count == 0) return;
  Onnx__AttributeProto *made = attribute(writer, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS);
  made->n_floats = (size_t)count;
  made->floats = NEW_ARRAY(arena_of(writer), float, count);
  for (int i = 0; i < count; i++) made->floats[i] = (float)values[i];
}

void with_strings(Writer *writer, const char *name, const char *const *values, int count) {
  Onnx__AttributeProto *made = attribute(writer, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS);
  made->strings = NEW_ARRAY(arena_of(writer), ProtobufCBinaryData, count);
  for (int i = 0; i < count; i++) made->strings[made->n_strings++] = bytes_of(values[i]);
}

void with_graph(Writer *writer, const char *name, Onnx__GraphProto *graph) {
  attribute(writer, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH)->g = graph;
}

void with_type(Writer *writer, const char *name, const Type *type) {
  attribute(writer, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TYPE_PROTO)->tp = type_proto(writer, type);
}

void with_tensor(Writer *writer, const char *name, const Onnx__TensorProto *tensor) {
  attribute(writer, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR)->t = (Onnx__TensorProto *)tensor;
}

const char *put_cast(Writer *writer, const char *x, Dtype from, Dtype to) {
  if (from == to || !x) return x;
  x = put1(writer, "Cast", x);
  with_int(writer, "to", onnx_of_dtype(to));
  return x;
}

const char *put_transpose(Writer *writer, const char *x, const int64_t *perm, int rank) {
  bool in_order = true;
  for (int i = 0; i < rank; i++) in_order = in_order && perm[i] == i;
  if (in_order || !x) return x;
  x = put1(writer, "Transpose", x);
  with_ints(writer, "perm", perm, rank);
  return x;
}

const char *put_reshape(Writer *writer, const char *x, const int64_t *dims, int count) {
  return put2(writer, "Reshape", x, put_ints(writer, dims, count));
}

const char *put_index(Writer *writer, const Value *value, bool narrow) {
  Dtype dtype = value->type->dtype;
  return put_cast(writer, name_of(writer, value), dtype, narrow && dtype == DTYPE_I32 ? dtype : DTYPE_I64);
}

const char *put_scalar(Writer *writer, const Value *value) {
  if (!value) return intern(writer->module, "");
  if (value->type->rank == 0) return name_of(writer, value);
  if (value_data(value)) return put_shared(writer, value_data(value), 0, NULL, value->name);
  return put_reshape(writer, name_of(writer, value), NULL, 0);
}

const char *write_fail(Writer *writer, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char text[512];
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return node_fail(writer->node, "%s", text), NULL;
}

/* ---- Constants */

/* What was made before, in this graph or in one around it. */
static void *find_known(const Writer *writer, const void *key) {
  for (const OutGraph *graph = writer->graph; graph; graph = graph->outer) {
    void *found = names_get(&graph->known, key);
    if (found) return found;
  }
  return NULL;
}

static void remember(Writer *writer, const void *key, const void *thing) {
  names_set(writer->module, &writer->graph->known, key, thing);
}

/* A constant that is there once: `text` says what it is. */
static const char *constant_once(Writer *writer, const char *text, const Data *data, int rank,
                                 const int64_t *dims, const char *wanted) {
  text = intern(writer->module, text);
  const char *name = find_known(writer, text);
  if (name) return name;
  name = put_data(writer, data, rank, dims, wanted);
  remember(writer, text, name);
  return name;
}

const char *put_shared(Writer *writer, const Data *data, int rank, const int64_t *dims, const char *name) {
  const char *text = arena_printf(arena_of(writer), "data %p", (const void *)data);
  for (int i = 0; i < rank; i++) text = arena_printf(arena_of(writer), "%s,%lld", text, (long long)dims[i]);
  return constant_once(writer, text, data, rank, dims, name);
}

const char *put_ints(Writer *writer, const int64_t *values, int count) {
  const char *text = "i64:";
  for (int i = 0; i < count; i++)
    text = arena_printf(arena_of(writer), "%s,%lld", text, (long long)values[i]);
  return constant_once(writer, text, data_copy(writer->module, DTYPE_I64, count, values), 1,
                       &(int64_t){count}, NULL);
}

const char *put_number(Writer *writer, Dtype dtype, double value) {
  const char *text = arena_printf(arena_of(writer), "%s %.17g", dtype_name(dtype), value);
  Data *data = data_new(writer->module, dtype, 1);
  dtype_set(dtype, data_bytes(data), 0, value);
  return constant_once(writer, text, data, 0, NULL, NULL);
}

/* ---- Sizes */

/* Where a symbol's value comes from: an axis of a value. */
typedef struct SizeSource {
  const Value *value;
  int axis;
} SizeSource;

void offer_size(Writer *writer, const Dim *symbol, const char *name) {
  if (!find_known(writer, symbol)) remember(writer, symbol, name);
}

void offer_sizes(Writer *writer, const Value *value) {
  if (!type_is_tensor(value->type)) return;
  for (int axis = 0; axis < value->type->rank; axis++) {
    const Dim *dim = value->type->dims[axis];
    if (dim->kind != DIM_SYMBOL || find_known(writer, dim->symbol)) continue;
    SizeSource *source = NEW(arena_of(writer), SizeSource);
    *source = (SizeSource){value, axis};
    remember(writer, dim->symbol, source);
  }
}

static const char *put_symbol(Writer *writer, const Dim *dim) {
  const SizeSource *source = find_known(writer, dim->symbol);
  if (!source)
    return write_fail(writer, "nothing in front of the node has the size %s", dim_text(writer->module, dim));
  const char *name = put1(writer, "Shape", name_of(writer, source->value));
  with_int(writer, "start", source->axis);
  with_int(writer, "end", source->axis + 1);
  return name;
}

/* Whether it is never negative: no part of it is. */
static bool is_natural(const Dim *dim) {
  if (dim->kind == DIM_CONST) return dim->value >= 0;
  return dim->kind == DIM_SYMBOL || (is_natural(dim->a) && is_natural(dim->b));
}

static const char *put_quotient(Writer *writer, const Dim *dim, const char *a, const char *b) {
  bool up = dim->kind == DIM_CEILDIV;
  if (up) { /* -floor(-a / b) */
    const char *quotient = put2(writer, "Div", a, b), *product = put2(writer, "Mul", quotient, b);
    const char *rest = put2(writer, "Sub", a, product), *none = put_ints(writer, (int64_t[]){0}, 1);
    return put2(writer, "Add", quotient,
                put_cast(writer, put2(writer, "Greater", rest, none), DTYPE_BOOL, DTYPE_I64));
  }
  if (!is_natural(dim->a)) a = put2(writer, "Sub", a, put2(writer, "Mod", a, b)); /* Div truncates */
  return put2(writer, "Div", a, b);
}

static const char *put_expression(Writer *writer, const Dim *dim) {
  static const char *const types[] = {
      [DIM_ADD] = "Add", [DIM_MUL] = "Mul", [DIM_MIN] = "Min", [DIM_MAX] = "Max"};
  const char *a = put_size(writer, dim->a), *b = a ? put_size(writer, dim->b) : NULL;
  if (!b) return NULL;
  if (dim->kind == DIM_FLOORDIV || dim->kind == DIM_CEILDIV) return put_quotient(writer, dim, a, b);
  if (dim->kind != DIM_BCAST) return put2(writer, types[dim->kind], a, b);
  const char *one = put_ints(writer, (int64_t[]){1}, 1);
  return put3(writer, "Where", put2(writer, "Equal", a, one), b, a);
}

const char *put_size(Writer *writer, const Dim *dim) {
  if (dim_is_const(dim)) return put_ints(writer, &dim->value, 1);
  const char *known = find_known(writer, dim);
  if (known) return known;
  known = dim->kind == DIM_SYMBOL ? put_symbol(writer, dim) : put_expression(writer, dim);
  if (known) remember(writer, dim, known);
  return known;
}

/* Numbers that follow each other are one constant. */
const char *put_sizes(Writer *writer, const Dim *const *dims, int count) {
  const char **parts = NEW_ARRAY(arena_of(writer), const char *, count + 1);
  int64_t *numbers = NEW_ARRAY(arena_of(writer), int64_t, count + 1);
  int part_count = 0;
  for (int i = 0; i < count;) {
    int run = 0;
    for (; i < count && dim_is_const(dims[i]); i++) numbers[run++] = dims[i]->value;
    parts[part_count] = run ? put_ints(writer, numbers, run) : put_size(writer, dims[i++]);
    if (!parts[part_count++]) return NULL;
  }
  if (part_count == 0) return put_ints(writer, NULL, 0);
  if (part_count == 1) return parts[0];
  const char *all = put(writer, "Concat", part_count, parts);
  with_int(writer, "axis", 0);
  return all;
}
