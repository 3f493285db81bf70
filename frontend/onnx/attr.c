/*
 * attr.c -- attributes of a node, with their types checked.
 *
 * In the body of a function an attribute may stand for one of the call (ref_attr_name): it is looked up at
 * the call, then among the function's defaults.
 */
#include "frontend/onnx/onnx.h"

#include <string.h>

typedef Onnx__AttributeProto Attribute;

static const Attribute *find_in(const char *name, size_t count, Attribute *const *attributes) {
  for (size_t i = 0; i < count; i++)
    if (attributes[i]->name && strcmp(attributes[i]->name, name) == 0) return attributes[i];
  return NULL;
}

const Attribute *attr_find(const OnnxNode *node, const char *name) {
  const Attribute *attribute = find_in(name, node->proto->n_attribute, node->proto->attribute);
  if (!attribute || !attribute->ref_attr_name || !*attribute->ref_attr_name) return attribute;
  const Scope *scope = node->scope;
  if (!scope->function) return NULL;
  const Attribute *given = attr_find(scope->caller, attribute->ref_attr_name);
  return given ? given
               : find_in(attribute->ref_attr_name, scope->function->n_attribute_proto,
                         scope->function->attribute_proto);
}

/* The attribute when it is there and of that type. Writers before IR version 2 leave the type out. */
static const Attribute *find_typed(OnnxNode *node, const char *name, int type) {
  static const char *const types[] = {"nothing", "a float", "an int",  "a string", "a tensor", "a graph",
                                      "floats",  "ints",    "strings", "tensors",  "graphs"};
  const Attribute *attribute = attr_find(node, name);
  if (!attribute || !attribute->has_type || attribute->type == 0 || attribute->type == type) return attribute;
  bool known = attribute->type > 0 && attribute->type < COUNT_OF(types);
  onnx_fail(node, "attribute '%s' holds %s where %s is wanted", name,
            known ? types[attribute->type] : "something else", types[type]);
  node->has_failed = true;
  return NULL;
}

int64_t attr_int(OnnxNode *node, const char *name, int64_t absent) {
  const Attribute *attribute = find_typed(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
  return attribute ? attribute->i : absent;
}

bool attr_bool(OnnxNode *node, const char *name, bool absent) {
  return attr_int(node, name, absent) != 0;
}

double attr_float(OnnxNode *node, const char *name, double absent) {
  const Attribute *attribute = find_typed(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
  return attribute ? (double)attribute->f : absent;
}

static const char *text_of(OnnxNode *node, const char *name, ProtobufCBinaryData bytes) {
  const char *text = string_text(node->module, bytes);
  if (text) return text;
  onnx_fail(node, "a string of attribute '%s' has a byte 0", name);
  node->has_failed = true;
  return "";
}

const char *attr_string(OnnxNode *node, const char *name, const char *absent) {
  const Attribute *attribute = find_typed(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
  return attribute ? text_of(node, name, attribute->s) : absent;
}

bool attr_string_is(OnnxNode *node, const char *name, const char *absent, const char *value) {
  return strcmp(attr_string(node, name, absent), value) == 0;
}

const int64_t *attr_ints(OnnxNode *node, const char *name, int *count) {
  enum { MAX_INTS = 1 << 26 };
  *count = 0;
  const Attribute *attribute = find_typed(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
  if (!attribute || attribute->n_ints > MAX_INTS) return NULL;
  static const int64_t none = 0;
  *count = (int)attribute->n_ints;
  return attribute->n_ints ? attribute->ints : &none;
}

const float *attr_floats(OnnxNode *node, const char *name, int *count) {
  enum { MAX_FLOATS = 1 << 26 };
  *count = 0;
  const Attribute *attribute = find_typed(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS);
  if (!attribute || attribute->n_floats > MAX_FLOATS) return NULL;
  static const float none = 0;
  *count = (int)attribute->n_floats;
  return attribute->n_floats ? attribute->floats : &none;
}

const char *const *attr_strings(OnnxNode *node, const char *name, int *count) {
  enum { MAX_STRINGS = 1 << 22 };
  *count = 0;
  const Attribute *attribute = find_typed(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS);
  if (!attribute || attribute->n_strings > MAX_STRINGS) return NULL;
  *count = (int)attribute->n_strings;
  const char **texts = NEW_ARRAY(node->module->arena, const char *, *count);
  for (int i = 0; i < *count; i++) texts[i] = text_of(node, name, attribute->strings[i]);
  return texts;
}

const Onnx__GraphProto *attr_graph(OnnxNode *node, const char *name) {
  const Attribute *attribute = find_typed(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH);
  if (attribute && attribute->g) return attribute->g;
  onnx_fail(node, "attribute '%s' holds no graph", name);
  return NULL;
}
