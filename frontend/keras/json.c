/*
 * json.c -- JSON text under limits, and access to its members that never trusts their types.
 *
 * cJSON recurses once per level, so the depth is counted on the text before it parses. Python writes NaN and
 * Infinity, which is no JSON; cJSON refuses them and so do we.
 */
#include "frontend/keras/keras.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The deepest nesting of brackets outside strings. */
static int json_depth(const char *text, size_t length) {
  int depth = 0, deepest = 0;
  bool quoted = false;
  for (size_t i = 0; i < length; i++) {
    char c = text[i];
    if (quoted && c == '\\')
      i++;
    else if (c == '"')
      quoted = !quoted;
    else if (!quoted && (c == '[' || c == '{'))
      deepest = ++depth > deepest ? depth : deepest;
    else if (!quoted && (c == ']' || c == '}'))
      depth--;
  }
  return deepest;
}

static int line_of(const char *text, const char *at) {
  int line = 1;
  for (; at && text < at; text++) line += *text == '\n';
  return line;
}

cJSON *json_parse(Module *module, const char *what, const char *text, size_t length) {
  int depth = json_depth(text, length);
  if (length > JSON_MAX_BYTES)
    return fail(module, "%s has %zu bytes; at most %d are read", what, length, JSON_MAX_BYTES), NULL;
  if (depth > JSON_MAX_DEPTH)
    return fail(module, "%s is nested %d levels deep; at most %d are read", what, depth, JSON_MAX_DEPTH),
           NULL;
  const char *end = NULL;
  cJSON *json = cJSON_ParseWithLengthOpts(text, length, &end, false);
  if (!json) fail(module, "%s is not valid JSON near its line %d", what, line_of(text, end));
  return json;
}

char *read_text_file(Module *module, const char *path, size_t limit, size_t *length) {
  struct stat stat;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 || fstat(fd, &stat)) {
    fail(module, "cannot open '%s': %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    return NULL;
  }
  size_t size = (size_t)stat.st_size;
  char *text = S_ISREG(stat.st_mode) && size <= limit ? calloc(1, size + 1) : NULL;
  size_t done = 0;
  for (ssize_t part; text && done < size && (part = read(fd, text + done, size - done)) > 0;)
    done += (size_t)part;
  close(fd);
  if (!text) return fail(module, "'%s' is no regular file or has more than %zu bytes", path, limit), NULL;
  *length = done;
  return text;
}

const cJSON *json_member(const cJSON *object, const char *name) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
  return item && !cJSON_IsNull(item) ? item : NULL;
}

const char *json_text(const cJSON *object, const char *name, const char *otherwise) {
  const cJSON *item = json_member(object, name);
  return cJSON_IsString(item) ? item->valuestring : otherwise;
}

/* Keras writes some numbers as numpy scalars: {"class_name": "__numpy__", "config": {"value": 0.3}} or
 * {"value": 0.3}. */
double json_number(const cJSON *object, const char *name, double otherwise) {
  const cJSON *item = json_member(object, name);
  if (cJSON_IsObject(item) && json_member(item, "config")) item = json_member(item, "config");
  if (cJSON_IsObject(item)) item = json_member(item, "value");
  return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

bool json_flag(const cJSON *object, const char *name, bool otherwise) {
  const cJSON *item = json_member(object, name);
  return cJSON_IsBool(item) ? cJSON_IsTrue(item) : otherwise;
}

bool json_integer(const cJSON *item, int64_t *value) {
  if (!cJSON_IsNumber(item) || item->valuedouble != floor(item->valuedouble) ||
      fabs(item->valuedouble) > 1e15)
    return false;
  *value = (int64_t)item->valuedouble;
  return true;
}

const cJSON *json_at(const cJSON *array, int index) {
  return cJSON_IsArray(array) ? cJSON_GetArrayItem(array, index) : NULL;
}
