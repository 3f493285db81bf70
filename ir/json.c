/* json.c -- the writer: punctuation, strings, numbers. Graphs are json_graph.c's. */
#include "ir/json.h"
#include "ir/intern.h"
#include "ir/text.h"

#include <math.h>
#include <string.h>

Json json_new(FILE *out) {
  Json json = {.out = out, .arena = arena_new()};
  json.numbers = NEW(json.arena, Table);
  return json;
}

void json_finish(Json *json) {
  arena_free(json->arena);
}

/* Before each value and key. */
static void separate(Json *json) {
  if (json->follows) fputc(',', json->out);
  json->follows = true;
}

void json_begin(Json *json, char bracket) {
  separate(json);
  fputc(bracket, json->out);
  json->follows = false;
}

void json_end(Json *json, char bracket) {
  fputc(bracket, json->out);
  json->follows = true;
}

/* ---- strings ---- */

/* Bytes of the character at `s` in UTF-8 (RFC 3629); 0: it is none. */
static int utf8_length(const unsigned char *s) {
  if (*s < 0x80) return 1;
  int length = *s >= 0xf0 && *s <= 0xf4 ? 4 : *s >= 0xe0 && *s < 0xf0 ? 3 : *s >= 0xc2 && *s < 0xe0 ? 2 : 0;
  for (int i = 1; i < length; i++)
    if ((s[i] & 0xc0) != 0x80) return 0;
  bool overlong = (*s == 0xe0 && s[1] < 0xa0) || (*s == 0xf0 && s[1] < 0x90);
  bool beyond = (*s == 0xed && s[1] >= 0xa0) || (*s == 0xf4 && s[1] >= 0x90);
  return overlong || beyond ? 0 : length;
}

static void write_escaped(FILE *out, unsigned char c) {
  static const char letters[] = "\"\\\n\t\r", escapes[] = "\"\\ntr";
  const char *letter = strchr(letters, c);
  if (letter)
    fprintf(out, "\\%c", escapes[letter - letters]);
  else
    fprintf(out, "\\u%04x", (unsigned)c);
}

static void write_string(FILE *out, const char *string) {
  static const char replacement[] = "\\ufffd";
  fputc('"', out);
  for (const unsigned char *s = (const unsigned char *)string; *s;) {
    int length = utf8_length(s);
    if (length == 0)
      fputs(replacement, out);
    else if (*s < 0x20 || *s == '"' || *s == '\\' || *s == '<' || *s == 0x7f)
      write_escaped(out, *s);
    else
      fwrite(s, 1, (size_t)length, out);
    s += length ? length : 1;
  }
  fputc('"', out);
}

void json_key(Json *json, const char *key) {
  separate(json);
  write_string(json->out, key);
  fputc(':', json->out);
  json->follows = false;
}

void json_string(Json *json, const char *string) {
  separate(json);
  if (string)
    write_string(json->out, string);
  else
    fputs("null", json->out);
}

/* ---- numbers ---- */

void json_int(Json *json, int64_t value) {
  separate(json);
  fprintf(json->out, "%lld", (long long)value);
}

void json_float(Json *json, double value) {
  Text text = {0};
  separate(json);
  text_add_float(&text, DTYPE_F64, value);
  fprintf(json->out, isfinite(value) ? "%s" : "\"%s\"", text.chars);
  text_free(&text);
}

void json_bool(Json *json, bool value) {
  json_raw(json, value ? "true" : "false");
}

void json_optional(Json *json, const char *key, const char *text) {
  if (text) json_key(json, key), json_string(json, text);
}

void json_measure(Json *json, const char *key, double value) {
  if (value != 0 && isfinite(value)) json_key(json, key), json_float(json, value);
}

void json_dim(Json *json, const Dim *dim) {
  Text text = {0};
  if (dim_is_const(dim)) {
    json_int(json, dim->value);
    return;
  }
  text_add_dim(&text, dim);
  json_string(json, text.chars);
  text_free(&text);
}

void json_raw(Json *json, const char *text) {
  separate(json);
  fputs(text, json->out);
}
