/* json_graph.c -- values, nodes and graphs as JSON; json.h says how it looks. */
#include "ir/intern.h"
#include "ir/json.h"
#include "ir/print.h"

#include <string.h>

/* ---- values ---- */

void json_mention(Json *json, const Value *value) {
  if (!value || value->name) {
    json_string(json, value ? value->name : NULL);
    return;
  }
  uintptr_t number = (uintptr_t)map_get(json->numbers, value);
  if (number == 0) map_set(json->arena, json->numbers, value, (void *)(number = ++json->last));
  json_int(json, (int64_t)number - 1);
}

static void write_shape(Json *json, const Type *type) {
  json_key(json, "shape");
  json_begin(json, '[');
  for (int axis = 0; axis < type->rank; axis++) json_dim(json, type->dims[axis]);
  json_end(json, ']');
}

static void write_type(Json *json, Module *module, const Type *type) {
  static const char *const forms[] = {NULL, "sequence", "optional", "optional sequence"};
  Text text = {0};
  text_add_type(&text, type);
  json_key(json, "type");
  json_string(json, text.chars);
  text_free(&text);
  if (forms[type->form]) json_key(json, "form"), json_string(json, forms[type->form]);
  json_key(json, "dtype");
  json_string(json, dtype_name(type->dtype));
  if (type->rank >= 0) write_shape(json, type);
  if (type_is_tensor(type)) json_key(json, "bytes"), json_dim(json, type_bytes(module, type));
}

void json_value(Json *json, const Value *value) {
  json_begin(json, '{');
  json_key(json, "name");
  json_mention(json, value);
  write_type(json, value->graph->module, value->type);
  json_end(json, '}');
}

/* ---- attributes ---- */

static void write_list(Json *json, AttrKind kind, const Attr *attr) {
  json_begin(json, '[');
  for (int i = 0; i < attr->count; i++) {
    if (kind == ATTR_INTS)
      json_int(json, attr->ints[i]);
    else if (kind == ATTR_FLOATS)
      json_float(json, attr->floats[i]);
    else
      json_dim(json, attr->dims[i]);
  }
  json_end(json, ']');
}

static void write_attribute(Json *json, AttrKind kind, const Attr *attr) {
  switch (kind) {
  case ATTR_BOOL: json_bool(json, attr->b); break;
  case ATTR_INT: json_int(json, attr->i); break;
  case ATTR_FLOAT: json_float(json, attr->f); break;
  case ATTR_STRING: json_string(json, attr->s); break;
  case ATTR_DTYPE: json_string(json, dtype_name(attr->dtype)); break;
  default: write_list(json, kind, attr);
  }
}

static void write_attributes(Json *json, const Node *node) {
  bool any = false;
  for (int i = 0; i < node->op->attr_count; i++) {
    const AttrSpec *spec = &node->op->attrs[i];
    if (attr_is_default(node->graph->module, spec, &node->attrs[i])) continue;
    if (!any) json_key(json, "attributes"), json_begin(json, '{');
    any = true;
    json_key(json, spec->name);
    write_attribute(json, spec->kind, &node->attrs[i]);
  }
  if (any) json_end(json, '}');
}

/* ---- constants ---- */

static void write_element(Json *json, const Data *data, int64_t index) {
  if (data->dtype == DTYPE_STRING)
    json_string(json, data_string(data, index));
  else if (dtype_is_float(data->dtype))
    json_float(json, data_get(data, index));
  else if (data->dtype == DTYPE_BOOL)
    json_bool(json, data_get_int(data, index) != 0);
  else
    json_int(json, data_get_int(data, index));
}

/* One element of a splat stands for all. */
static void write_constant(Json *json, const Data *data) {
  enum { MAX_STRINGS = 8 };
  int64_t count = data->splat && data->count > 0 ? 1 : data->count;
  json_key(json, "constant");
  json_begin(json, '{');
  json_key(json, "bytes");
  json_int(json, (int64_t)data->size);
  if (data->splat) json_key(json, "splat"), json_bool(json, true);
  if (data_is_listed(data) && (data->dtype != DTYPE_STRING || count <= MAX_STRINGS)) {
    json_key(json, "elements");
    json_begin(json, '[');
    for (int64_t i = 0; i < count; i++) write_element(json, data, i);
    json_end(json, ']');
  }
  json_end(json, '}');
}

/* ---- where a node came from, and what it costs ---- */

/* Of a kernel the nodes of all that was fused, each once: its own origin is cut where it gets long. */
static void write_origin(Json *json, const Node *node) {
  Table seen = {0};
  const Node *one = node_is(node, &op_kernel) ? node->regions[0]->first : node;
  bool inside = one != node, any = false;
  for (; one; one = inside ? one->next : NULL) {
    if (!one->origin || map_get(&seen, one->origin)) continue;
    map_set(json->arena, &seen, one->origin, (void *)(uintptr_t)one->origin);
    if (!any) json_key(json, "origin"), json_begin(json, '[');
    any = true;
    json_string(json, one->origin);
  }
  if (any) json_end(json, ']');
}

static void write_size(Json *json, const char *key, const Dim *size) {
  if (!dim_is(size, 0)) json_key(json, key), json_dim(json, size);
}

static void write_cost(Json *json, const Node *node) {
  write_size(json, "macs", node_macs(node));
  write_size(json, "reads", node_read_bytes(node));
  write_size(json, "writes", node_written_bytes(node));
}

/* ---- nodes and graphs ---- */

static void write_regions(Json *json, const Node *node) {
  json_key(json, "regions");
  json_begin(json, '[');
  for (int i = 0; i < node->region_count; i++) json_graph(json, node->regions[i]);
  json_end(json, ']');
}

void json_node(Json *json, const Node *node) {
  json_begin(json, '{');
  json_key(json, "op");
  json_string(json, node->op->name);
  json_key(json, "operands");
  json_begin(json, '[');
  for (int i = 0; i < node->operand_count; i++) json_mention(json, operand(node, i));
  json_end(json, ']');
  write_attributes(json, node);
  json_key(json, "results");
  json_begin(json, '[');
  for (int i = 0; i < node->result_count; i++) json_value(json, node->results[i]);
  json_end(json, ']');
  write_origin(json, node);
  if (node->data) write_constant(json, node->data);
  if (node->op != &op_const && node->op != &op_return) write_cost(json, node);
  if (node->region_count > 0) write_regions(json, node);
  json_end(json, '}');
}

void json_inputs(Json *json, const Graph *graph) {
  json_key(json, "inputs");
  json_begin(json, '[');
  for (int i = 0; i < graph->input_count; i++) json_value(json, graph->inputs[i]);
  json_end(json, ']');
}

void json_outputs(Json *json, const Graph *graph) {
  json_key(json, "outputs");
  json_begin(json, '[');
  for (int i = 0; i < graph->output_count; i++) {
    json_begin(json, '{');
    json_key(json, "name");
    json_string(json, graph->output_names[i]);
    json_key(json, "value");
    json_mention(json, graph_output(graph, i));
    json_end(json, '}');
  }
  json_end(json, ']');
}

/* `return` is what "outputs" says. */
void json_graph(Json *json, const Graph *graph) {
  json_begin(json, '{');
  json_key(json, "name");
  json_string(json, graph->name ? graph->name : "");
  json_inputs(json, graph);
  if (graph->state_count > 0) json_key(json, "states"), json_int(json, graph->state_count);
  json_key(json, "nodes");
  json_begin(json, '[');
  FOR_EACH_NODE(node, graph) {
    if (node_is(node, &op_return)) continue;
    if (json->follows) fputc(',', json->out);
    json->follows = false;
    fputc('\n', json->out);
    json_node(json, node);
  }
  json_end(json, ']');
  json_outputs(json, graph);
  json_end(json, '}');
}

void graph_json(const Graph *graph, FILE *out) {
  Json json = json_new(out);
  json_graph(&json, graph);
  json_finish(&json);
  fputc('\n', out);
}
