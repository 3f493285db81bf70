/*
 * vocabulary.c -- the vocabularies that layers of text keep: in their configuration, or what adapt() found as
 * a text file of the archive, assets/LAYER/vocabulary.txt, one token a line.
 */
#include "frontend/keras/layers/category.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_VOCABULARY = 64 << 20 };

/* Every line is a string. The list is the configuration's from then on, and goes with it. */
static cJSON *list_of_lines(char *text) {
  cJSON *list = cJSON_CreateArray(), *last = NULL;
  while (list && text) {
    char *end = strchr(text, '\n');
    if (end) *end++ = 0;
    cJSON *item = cJSON_CreateString(text);
    if (!last)
      cJSON_AddItemToArray(list, item);
    else if (item)
      last->next = item, item->prev = last, list->child->prev = item;
    last = item ? item : last;
    text = end;
  }
  return list;
}

static const cJSON *vocabulary_of_asset(Call *call, const char *member) {
  Import *import = call->import;
  const char *path = import->container->archive;
  Archive *archive = path ? archive_open(import->module, path) : NULL;
  cJSON *list = NULL;
  if (archive && archive_has(archive, member)) {
    size_t length;
    char *text = archive_read(import->module, archive, member, MAX_VOCABULARY, &length);
    if (text && length && !memchr(text, 0, length)) list = list_of_lines(text);
    free(text);
  }
  archive_close(archive);
  if (list) cJSON_AddItemToObject((cJSON *)(uintptr_t)call->config, "vocabulary", list);
  return list;
}

const cJSON *lookup_vocabulary(Call *call) {
  const cJSON *item = json_member(call->config, "vocabulary");
  if (cJSON_IsArray(item)) return item;
  if (!call->layer->path) return NULL;
  return vocabulary_of_asset(
      call, arena_printf(call->import->module->arena, "assets/%s/vocabulary.txt", call->layer->path));
}
