/*
 * strings.c -- string_find wants its keys sorted and once each; a table behind it gives the places that they
 * had.
 */
#include "frontend/strings.h"

#include <stdlib.h>
#include <string.h>

Value *build_strings(Builder *builder, const char *const *texts, int64_t count, int rank) {
  Module *module = builder->graph->module;
  Data *data = data_new(module, DTYPE_STRING, count);
  const char **to = data_bytes(data);
  for (int64_t i = 0; i < count; i++) to[i] = intern(module, texts[i]);
  return build_const(builder, type_static(module, DTYPE_STRING, rank, &count), data, NULL);
}

typedef struct Key {
  const char *text;
  int64_t place;
} Key;

static int compare_keys(const void *a, const void *b) {
  const Key *x = a, *y = b;
  int order = strcmp(x->text, y->text);
  return order ? order : (x->place > y->place) - (x->place < y->place);
}

Value *build_place_among(Builder *builder, Value *x, const char *const *keys, int64_t count,
                         int64_t otherwise) {
  Module *module = builder->graph->module;
  if (!x) return NULL;
  Key *sorted = NEW_ARRAY(module->arena, Key, count);
  const char **texts = NEW_ARRAY(module->arena, const char *, count);
  int64_t *places = NEW_ARRAY(module->arena, int64_t, count + 1), kept = 0;
  for (int64_t i = 0; i < count; i++) sorted[i] = (Key){keys[i], i};
  qsort(sorted, (size_t)count, sizeof *sorted, compare_keys);
  for (int64_t i = 0; i < count; i++) {
    if (kept && !strcmp(texts[kept - 1], sorted[i].text)) continue;
    texts[kept] = sorted[i].text;
    places[kept++] = sorted[i].place;
  }
  places[kept] = otherwise; /* where string_find gives -1 */
  int64_t size = kept + 1;
  Value *at = build_binary(builder, &op_string_find, x, build_strings(builder, texts, kept, 1));
  Value *table = build_const(builder, type_static(module, DTYPE_I64, 1, &size),
                             data_copy(module, DTYPE_I64, size, places), NULL);
  return at ? build_binary(builder, &op_gather, table, at) : NULL;
}
