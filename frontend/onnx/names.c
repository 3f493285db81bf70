/*
 * names.c -- what names mean: values in a scope, opset versions, and the dims that a model names.
 *
 * ONNX puts any text into names of dims ("p2o.DynamicDimension.0", "past + 1", "?"). A symbol of tenon is an
 * identifier, so other characters become '_'; the table keeps the original, which --dim may use as well.
 */
#include "frontend/onnx/onnx.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ---- Values: open addressing by the pointer of the interned name */

static int names_slot(const NameMap *map, const char *name) {
  uintptr_t hash = (uintptr_t)name;
  hash ^= hash >> 17;
  hash *= 0x9e3779b1u;
  hash ^= hash >> 15;
  int at = (int)(hash & (uintptr_t)(map->capacity - 1));
  while (map->names[at] && map->names[at] != name) at = (at + 1) & (map->capacity - 1);
  return at;
}

static void names_grow(Module *module, NameMap *map) {
  NameMap old = *map;
  map->capacity = old.capacity ? 2 * old.capacity : 64;
  map->names = NEW_ARRAY(module->arena, const char *, map->capacity);
  map->things = NEW_ARRAY(module->arena, void *, map->capacity);
  for (int i = 0; i < old.capacity; i++) {
    if (!old.names[i]) continue;
    int at = names_slot(map, old.names[i]);
    map->names[at] = old.names[i];
    map->things[at] = old.things[i];
  }
}

void *names_get(const NameMap *map, const char *interned) {
  return map->capacity ? map->things[names_slot(map, interned)] : NULL;
}

void names_set(Module *module, NameMap *map, const char *interned, const void *thing) {
  if (2 * (map->count + 1) > map->capacity) names_grow(module, map);
  int at = names_slot(map, interned);
  map->count += !map->names[at];
  map->names[at] = interned;
  map->things[at] = (void *)thing;
}

/* ---- Scopes */

static Value *copy_constant(const Scope *scope, const Value *outer) {
  Builder builder = builder_at_end(scope->graph);
  return build_const(&builder, outer->type, value_data(outer), NULL);
}

Value *scope_capture(Import *import, Scope *scope, Value *outer) {
  Module *module = import->module;
  if (outer == &import->failed || outer == &import->absent || outer->graph == scope->graph) return outer;
  if (value_data(outer)) return copy_constant(scope, outer);
  for (int i = 0; i < scope->taken_count; i++)
    if (scope->taken[i] == outer)
      return scope->graph->inputs[scope->graph->input_count - scope->taken_count + i];
  Value *value = graph_add_input(scope->graph, outer->name, outer->type);
  value->known = outer->known;
  Value **more = NEW_ARRAY(module->arena, Value *, scope->taken_count + 1);
  for (int i = 0; i < scope->taken_count; i++) more[i] = scope->taken[i];
  more[scope->taken_count++] = outer;
  scope->taken = more;
  return value;
}

Value *scope_find(Import *import, Scope *scope, const char *interned) {
  Value *value = names_get(&scope->values, interned);
  if (value || !scope->outer) return value;
  value = scope_find(import, scope->outer, interned);
  if (!value) return NULL;
  value = scope_capture(import, scope, value);
  if (value) names_set(import->module, &scope->values, interned, value);
  return value;
}

/* ---- Opsets */

bool domain_is_onnx(const char *domain) {
  return !domain || !*domain || strcmp(domain, "ai.onnx") == 0;
}

int64_t scope_opset(const Scope *scope, const char *domain) {
  for (size_t i = 0; i < scope->opset_count; i++) {
    const char *imported = scope->opsets[i]->domain;
    bool same = domain_is_onnx(domain) ? domain_is_onnx(imported) : imported && strcmp(imported, domain) == 0;
    if (same) return scope->opsets[i]->version;
  }
  return 0;
}

/* ---- Dims */

static bool is_letter(char c) {
  return isalpha((unsigned char)c) || c == '_';
}

static bool symbol_is_taken(const Import *import, const char *symbol) {
  static const char *const functions[] = {"floordiv", "ceildiv", "min", "max", "bcast"};
  for (int i = 0; i < COUNT_OF(functions); i++)
    if (strcmp(symbol, functions[i]) == 0) return true;
  for (const DimName *dim = import->dims; dim; dim = dim->next)
    if (strcmp(dim->symbol, symbol) == 0) return true;
  return false;
}

static const char *legal_symbol(const Import *import, const char *original) {
  Arena *arena = import->module->arena;
  char *symbol = arena_printf(arena, "%s%.60s", is_letter(original[0]) ? "" : "_", original);
  for (char *c = symbol; *c; c++)
    if (!is_letter(*c) && !isdigit((unsigned char)*c)) *c = '_';
  const char *unique = symbol;
  for (int i = 2; symbol_is_taken(import, unique); i++) unique = arena_printf(arena, "%s_%d", symbol, i);
  return unique;
}

DimName *dim_name(Import *import, const char *original) {
  for (DimName *dim = import->dims; dim; dim = dim->next)
    if (strcmp(dim->original, original) == 0) return dim;
  DimName *dim = NEW(import->module->arena, DimName);
  dim->original = intern(import->module, original);
  dim->symbol = legal_symbol(import, original);
  dim->next = import->dims;
  import->dims = dim;
  return dim;
}

static const Dim *dim_of_name(Import *import, const DimName *name) {
  return name->is_bound ? dim_const(import->module, name->value) : dim_symbol(import->module, name->symbol);
}

/* ---- Sums and products in dim_param: "past_sequence_length + sequence_length", "2*s0" */

typedef struct DimParser {
  Import *import;
  const char *at;
} DimParser;

static void skip_spaces(DimParser *parser) {
  parser->at += strspn(parser->at, " ");
}

static const Dim *parse_factor(DimParser *parser) {
  skip_spaces(parser);
  const char *begin = parser->at;
  if (isdigit((unsigned char)*begin)) {
    char *end;
    long long value = strtoll(begin, &end, 10);
    parser->at = end;
    return value < INT32_MAX ? dim_const(parser->import->module, value) : NULL;
  }
  while (is_letter(*parser->at) || isdigit((unsigned char)*parser->at) || *parser->at == '.') parser->at++;
  size_t length = (size_t)(parser->at - begin);
  for (const DimName *dim = parser->import->dims; dim && length; dim = dim->next)
    if (strlen(dim->original) == length && memcmp(dim->original, begin, length) == 0)
      return dim_of_name(parser->import, dim);
  return NULL;
}

static const Dim *parse_product(DimParser *parser) {
  const Dim *product = parse_factor(parser);
  for (skip_spaces(parser); product && *parser->at == '*'; skip_spaces(parser)) {
    parser->at++;
    const Dim *factor = parse_factor(parser);
    product = factor ? dim_mul(parser->import->module, product, factor) : NULL;
  }
  return product;
}

static const Dim *parse_sum(DimParser *parser) {
  const Dim *sum = parse_product(parser);
  for (skip_spaces(parser); sum && (*parser->at == '+' || *parser->at == '-'); skip_spaces(parser)) {
    bool minus = *parser->at++ == '-';
    const Dim *term = parse_product(parser);
    if (!term) return NULL;
    sum = minus ? dim_sub(parser->import->module, sum, term) : dim_add(parser->import->module, sum, term);
  }
  return *parser->at ? NULL : sum;
}

const Dim *dim_of_param(Import *import, const char *param) {
  for (const DimName *dim = import->dims; dim; dim = dim->next)
    if (strcmp(dim->original, param) == 0) return dim_of_name(import, dim);
  enum { MAX_EXPRESSION = 200 };
  DimParser parser = {.import = import, .at = param};
  const Dim *sum = strpbrk(param, "+*-") && strlen(param) < MAX_EXPRESSION ? parse_sum(&parser) : NULL;
  return sum ? sum : dim_of_name(import, dim_name(import, param));
}
