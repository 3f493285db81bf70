/*
 * attr.c -- attributes of nodes: getters and setters by schema name, and defaults.
 *
 * Every node holds one Attr per spec of its op, filled with the default from the start, so that a getter
 * never asks whether it was set. Defaults are written as text in the schema and read here; a default that
 * does not parse is a bug.
 */
#include "ir/intern.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Defaults ---- */

static int list_length(const char *text) {
  assert(*text == '[');
  int count = text[1] != ']';
  for (; *text; text++) count += *text == ',';
  return count;
}

/* A list "[1,2]" of ints, floats or dims. */
static Attr parse_list(Module *module, AttrKind kind, const char *text) {
  Attr attr = {.count = list_length(text)};
  int64_t *ints = NEW_ARRAY(module->arena, int64_t, attr.count);
  double *floats = NEW_ARRAY(module->arena, double, attr.count);
  const Dim **dims = NEW_ARRAY(module->arena, const Dim *, attr.count);
  for (int i = 0; i < attr.count; i++, text = strpbrk(text + 1, ",]")) {
    floats[i] = strtod(text + 1, NULL);
    ints[i] = strtoll(text + 1, NULL, 10);
    dims[i] = dim_const(module, ints[i]);
  }
  if (kind == ATTR_INTS)
    attr.ints = ints;
  else if (kind == ATTR_FLOATS)
    attr.floats = floats;
  else
    attr.dims = dims;
  return attr;
}

/* What an attribute is while it is not set; zero for a required one. */
static Attr default_attr(Module *module, const AttrSpec *spec) {
  const char *text = spec->value;
  bool is_list = spec->kind == ATTR_INTS || spec->kind == ATTR_FLOATS || spec->kind == ATTR_DIMS;
  if (is_list) return parse_list(module, spec->kind, text ? text : "[]");
  switch (spec->kind) {
  case ATTR_BOOL: return (Attr){.b = text && strcmp(text, "true") == 0};
  case ATTR_INT: return (Attr){.i = text ? strtoll(text, NULL, 10) : 0};
  case ATTR_FLOAT: return (Attr){.f = text ? strtod(text, NULL) : 0};
  case ATTR_STRING: return (Attr){.s = intern(module, text ? text : "")};
  case ATTR_DTYPE: return (Attr){.dtype = text ? dtype_from_name(text, strlen(text)) : DTYPE_NONE};
  default: assert(!"a kind of attribute without a default"); return (Attr){0};
  }
}

Attr *attrs_default(Module *module, const Op *op) {
  Attr *attrs = NEW_ARRAY(module->arena, Attr, op->attr_count);
  for (int i = 0; i < op->attr_count; i++) attrs[i] = default_attr(module, &op->attrs[i]);
  return attrs;
}

bool attr_is_default(Module *module, const AttrSpec *spec, const Attr *attr) {
  if (!attr->set) return true;
  if (!spec->value) return false;
  Attr normal = default_attr(module, spec);
  return attr_equal(spec, attr, &normal);
}

Attr attr_import(Module *module, const AttrSpec *spec, const Attr *attr) {
  Attr copy = *attr;
  size_t count = (size_t)attr->count;
  if (spec->kind == ATTR_STRING) copy.s = intern(module, attr->s);
  if (spec->kind == ATTR_INTS) copy.ints = arena_copy(module->arena, attr->ints, sizeof *attr->ints * count);
  if (spec->kind == ATTR_FLOATS)
    copy.floats = arena_copy(module->arena, attr->floats, sizeof *attr->floats * count);
  if (spec->kind == ATTR_DIMS) {
    const Dim **dims = NEW_ARRAY(module->arena, const Dim *, count);
    for (size_t i = 0; i < count; i++) dims[i] = dim_import(module, attr->dims[i]);
    copy.dims = dims;
  }
  return copy;
}

/* The same number, to the bit: -0.0 is not 0.0, and a NaN is itself. */
static bool same_float(double a, double b) {
  return memcmp(&a, &b, sizeof a) == 0;
}

bool attr_equal(const AttrSpec *spec, const Attr *a, const Attr *b) {
  switch (spec->kind) {
  case ATTR_BOOL: return a->b == b->b;
  case ATTR_INT: return a->i == b->i;
  case ATTR_FLOAT: return same_float(a->f, b->f);
  case ATTR_STRING: return strcmp(a->s, b->s) == 0;
  case ATTR_DTYPE: return a->dtype == b->dtype;
  default: break;
  }
  if (a->count != b->count) return false;
  for (int i = 0; i < a->count; i++) {
    if (spec->kind == ATTR_INTS && a->ints[i] != b->ints[i]) return false;
    if (spec->kind == ATTR_FLOATS && !same_float(a->floats[i], b->floats[i])) return false;
    if (spec->kind == ATTR_DIMS && a->dims[i] != b->dims[i]) return false;
  }
  return true;
}

/* ---- Getters and setters ---- */

static Attr *attr_of(const Node *node, const char *name, AttrKind kind) {
  int index = op_attr_index(node->op, name);
  assert(index >= 0 && node->op->attrs[index].kind == kind);
  (void)kind;
  return &node->attrs[index];
}

static Arena *arena_of(const Node *node) {
  return node->graph->module->arena;
}

bool node_bool(const Node *node, const char *name) {
  return attr_of(node, name, ATTR_BOOL)->b;
}
int64_t node_int(const Node *node, const char *name) {
  return attr_of(node, name, ATTR_INT)->i;
}
double node_float(const Node *node, const char *name) {
  return attr_of(node, name, ATTR_FLOAT)->f;
}
const char *node_string(const Node *node, const char *name) {
  return attr_of(node, name, ATTR_STRING)->s;
}
Dtype node_dtype(const Node *node, const char *name) {
  return attr_of(node, name, ATTR_DTYPE)->dtype;
}

bool node_string_is(const Node *node, const char *name, const char *value) {
  return strcmp(node_string(node, name), value) == 0;
}

const int64_t *node_ints(const Node *node, const char *name, int *count) {
  const Attr *attr = attr_of(node, name, ATTR_INTS);
  *count = attr->count;
  return attr->ints;
}

const double *node_floats(const Node *node, const char *name, int *count) {
  const Attr *attr = attr_of(node, name, ATTR_FLOATS);
  *count = attr->count;
  return attr->floats;
}

const Dim *const *node_dims(const Node *node, const char *name, int *count) {
  const Attr *attr = attr_of(node, name, ATTR_DIMS);
  *count = attr->count;
  return attr->dims;
}

void node_set_bool(Node *node, const char *name, bool value) {
  *attr_of(node, name, ATTR_BOOL) = (Attr){.set = true, .b = value};
}

void node_set_int(Node *node, const char *name, int64_t value) {
  *attr_of(node, name, ATTR_INT) = (Attr){.set = true, .i = value};
}

void node_set_float(Node *node, const char *name, double value) {
  *attr_of(node, name, ATTR_FLOAT) = (Attr){.set = true, .f = value};
}

void node_set_string(Node *node, const char *name, const char *value) {
  *attr_of(node, name, ATTR_STRING) = (Attr){.set = true, .s = intern(node->graph->module, value)};
}

void node_set_dtype(Node *node, const char *name, Dtype value) {
  *attr_of(node, name, ATTR_DTYPE) = (Attr){.set = true, .dtype = value};
}

void node_set_ints(Node *node, const char *name, const int64_t *values, int count) {
  const int64_t *ints = arena_copy(arena_of(node), values, sizeof *values * (size_t)count);
  *attr_of(node, name, ATTR_INTS) = (Attr){.set = true, .count = count, .ints = ints};
}

void node_set_floats(Node *node, const char *name, const double *values, int count) {
  const double *floats = arena_copy(arena_of(node), values, sizeof *values * (size_t)count);
  *attr_of(node, name, ATTR_FLOATS) = (Attr){.set = true, .count = count, .floats = floats};
}

void node_set_dims(Node *node, const char *name, const Dim *const *values, int count) {
  const Dim *const *dims = arena_copy(arena_of(node), values, sizeof *values * (size_t)count);
  *attr_of(node, name, ATTR_DIMS) = (Attr){.set = true, .count = count, .dims = dims};
}

int64_t node_axis(const Node *node, const char *name, int rank) {
  int64_t axis = node_int(node, name);
  return axis < 0 ? axis + rank : axis;
}

/* ---- Checking ---- */

static bool is_choice(const char *word, const char *choices) {
  size_t length = strlen(word);
  for (; choices; choices = strchr(choices, '|') ? strchr(choices, '|') + 1 : NULL)
    if (strncmp(choices, word, length) == 0 && (choices[length] == '|' || choices[length] == '\0'))
      return true;
  return false;
}

bool attrs_check(const Node *node) {
  for (int i = 0; i < node->op->attr_count; i++) {
    const AttrSpec *spec = &node->op->attrs[i];
    const Attr *attr = &node->attrs[i];
    if (!spec->value && !attr->set) return node_fail(node, "attribute '%s' is missing", spec->name);
    if (spec->choices && !is_choice(attr->s, spec->choices))
      return node_fail(node, "attribute '%s' is \"%s\", not one of %s", spec->name, attr->s, spec->choices);
  }
  return true;
}

int node_params(const Node *node, int64_t *params, int max) {
  int count = 0;
  for (int i = 0; i < node->op->attr_count; i++) {
    const Attr *attr = &node->attrs[i];
    AttrKind kind = node->op->attrs[i].kind;
    if (kind != ATTR_BOOL && kind != ATTR_INT && kind != ATTR_DTYPE) continue;
    if (count < max)
      params[count] = kind == ATTR_BOOL ? attr->b : kind == ATTR_INT ? attr->i : (int64_t)attr->dtype;
    count++;
  }
  return count;
}

int role_entries(AttrRole role) {
  switch (role) {
  case ROLE_PER_AXIS:
  case ROLE_SIZES:
  case ROLE_STARTS: return 1;
  case ROLE_PER_AXIS_PAIR:
  case ROLE_PADS: return 2;
  default: return 0;
  }
}
