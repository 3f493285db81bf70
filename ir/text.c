/* text.c -- growing text, and the spelling of strings, names and numbers. */
#include "ir/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void reserve(Text *text, size_t more) {
  size_t need = text->length + more + 1;
  if (need <= text->capacity) return;
  text->capacity = need < 128 ? 256 : need * 2;
  text->chars = realloc(text->chars, text->capacity);
  if (text->chars) return;
  fprintf(stderr, "tenon: out of memory: %zu bytes are not to be had\n", text->capacity);
  exit(1);
}

void text_add_bytes(Text *text, const char *chars, size_t count) {
  reserve(text, count);
  if (count > 0) memcpy(text->chars + text->length, chars, count);
  text->length += count;
  text->chars[text->length] = '\0';
}

void text_add(Text *text, const char *chars) {
  text_add_bytes(text, chars, strlen(chars));
}

void text_format(Text *text, const char *format, ...) {
  va_list list, again;
  va_start(list, format);
  va_copy(again, list);
  int length = vsnprintf(NULL, 0, format, list);
  va_end(list);
  if (length > 0) {
    reserve(text, (size_t)length);
    vsnprintf(text->chars + text->length, (size_t)length + 1, format, again);
    text->length += (size_t)length;
  }
  va_end(again);
}

char *text_take(Text *text, Arena *arena) {
  char *copy = arena_copy(arena, text->chars ? text->chars : "", text->length + 1);
  text_free(text);
  return copy;
}

void text_free(Text *text) {
  free(text->chars);
  *text = (Text){0};
}

void text_add_quoted(Text *text, const char *chars) {
  text_add(text, "\"");
  for (; *chars; chars++) {
    unsigned char c = (unsigned char)*chars;
    switch (c) {
    case '"': text_add(text, "\\\""); break;
    case '\\': text_add(text, "\\\\"); break;
    case '\n': text_add(text, "\\n"); break;
    case '\t': text_add(text, "\\t"); break;
    default:
      if (c < 0x20 || c == 0x7f)
        text_format(text, "\\x%02x", c);
      else
        text_add_bytes(text, chars, 1);
    }
  }
  text_add(text, "\"");
}

static bool is_plain_name(const char *name) {
  static const char digits[] = "0123456789";
  static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.";
  return *name && name[strspn(name, plain)] == '\0' && name[strspn(name, digits)] != '\0';
}

void text_add_name(Text *text, const char *name) {
  if (is_plain_name(name))
    text_add(text, name);
  else
    text_add_quoted(text, name);
}

static double rounded(Dtype dtype, double value) {
  _Alignas(16) unsigned char element[16] = {0};
  dtype_set(dtype, element, 0, value);
  return dtype_get(dtype, element, 0);
}

void text_add_float(Text *text, Dtype dtype, double value) {
  if (isnan(value)) {
    text_add(text, "nan");
    return;
  }
  if (fabs(value) < 1e7 && value == trunc(value)) { /* 100.0, not 1e+02 */
    text_format(text, "%.1f", value);
    return;
  }
  char number[40];
  for (int precision = 1; precision <= 17; precision++) {
    snprintf(number, sizeof number, "%.*g", precision, value);
    if (rounded(dtype, strtod(number, NULL)) == value) break;
  }
  text_add(text, number);
  if (!strpbrk(number, ".en")) text_add(text, ".0"); /* 'n': inf */
}
