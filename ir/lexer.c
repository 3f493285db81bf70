/* lexer.c -- tokens of the text forms, and errors that know where they are. */
#include "ir/lexer.h"
#include "ir/text.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NUMBER = 64 }; /* characters */

/* ---- Errors ---- */

static void position(const Lexer *lexer, const char *start, int *line, int *column) {
  const char *line_start = lexer->text;
  *line = 1;
  for (const char *at = lexer->text; at < start; at++)
    if (*at == '\n') {
      ++*line;
      line_start = at + 1;
    }
  *column = (int)(start - line_start) + 1;
}

bool lexer_fail(const Lexer *lexer, const char *start, const char *format, ...) {
  char text[512];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  Diag diag = {.severity = SEVERITY_ERROR, .file = lexer->file, .text = text};
  position(lexer, start, &diag.line, &diag.column);
  diag_add(lexer->module, diag);
  return false;
}

bool lexer_expected(const Lexer *lexer, const char *what) {
  const Token *token = &lexer->token;
  if (token->kind == TOKEN_END)
    return lexer_fail(lexer, token->start, "expected %s, found the end of the text", what);
  int length = token->length > 40 ? 40 : (int)token->length;
  return lexer_fail(lexer, token->start, "expected %s, found '%.*s'", what, length, token->start);
}

void lexer_locate(const Lexer *lexer, const Diag *last, const char *start) {
  for (Diag *diag = last ? last->next : lexer->module->diags; diag; diag = diag->next) {
    if (diag->line > 0) continue;
    diag->file = lexer->file;
    position(lexer, start, &diag->line, &diag->column);
  }
}

/* ---- Tokens ---- */

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '.';
}

static void skip_space(Lexer *lexer) {
  lexer->token.first_of_line = lexer->at == lexer->text;
  for (; lexer->at < lexer->end; lexer->at++) {
    char c = *lexer->at;
    if (c == '#') {
      const char *line_end = memchr(lexer->at, '\n', (size_t)(lexer->end - lexer->at));
      lexer->at = line_end ? line_end : lexer->end;
      if (!line_end) return;
      c = '\n';
    }
    if (c == '\n')
      lexer->token.first_of_line = true;
    else if (c != ' ' && c != '\t' && c != '\r')
      return;
  }
}

static const char *intern_bytes(const Lexer *lexer, const char *bytes, size_t length) {
  Text text = {0};
  text_add_bytes(&text, bytes, length);
  const char *interned = intern(lexer->module, text.chars);
  text_free(&text);
  return interned;
}

/* A word; when it starts as a number, the sign of an exponent belongs to it. */
static void lex_word(Lexer *lexer) {
  const char *start = lexer->at;
  bool number = is_digit(*start) && lexer->token.kind != TOKEN_VALUE;
  while (lexer->at < lexer->end) {
    char c = *lexer->at;
    bool exponent = number && lexer->at > start && (lexer->at[-1] == 'e' || lexer->at[-1] == 'E');
    if (!is_word(c) && !((c == '+' || c == '-') && exponent)) break;
    number = number && (is_digit(c) || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-');
    lexer->at++;
  }
  lexer->token.string = intern_bytes(lexer, start, (size_t)(lexer->at - start));
}

static int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* One escape, `lexer->at` behind the backslash. */
static bool lex_escape(Lexer *lexer, char *c) {
  const char *start = lexer->at - 1;
  char letter = lexer->at < lexer->end ? *lexer->at++ : '\0';
  switch (letter) {
  case '"':
  case '\\': *c = letter; return true;
  case 'n': *c = '\n'; return true;
  case 't': *c = '\t'; return true;
  default: break;
  }
  if (letter != 'x' || lexer->end - lexer->at < 2)
    return lexer_fail(lexer, start, "not an escape; use \\\" \\\\ \\n \\t \\xHH");
  int high = hex_digit(lexer->at[0]), low = hex_digit(lexer->at[1]);
  if (high < 0 || low < 0 || high * 16 + low == 0)
    return lexer_fail(lexer, start, "\\x needs two hex digits, not 00");
  lexer->at += 2;
  *c = (char)(high * 16 + low);
  return true;
}

static bool lex_string(Lexer *lexer) {
  const char *start = lexer->at++;
  Text text = {0};
  bool ok = true;
  text_add(&text, "");
  for (;;) {
    if (lexer->at == lexer->end || *lexer->at == '\n' || *lexer->at == '\0') {
      ok = lexer_fail(lexer, start, "the string does not end on its line");
      break;
    }
    char c = *lexer->at++;
    if (c == '"') break;
    if (c == '\\' && !(ok = lex_escape(lexer, &c))) break;
    text_add_bytes(&text, &c, 1);
  }
  if (ok) lexer->token.string = intern(lexer->module, text.chars);
  text_free(&text);
  return ok;
}

static bool lex_name(Lexer *lexer) {
  lexer->at++; /* % */
  lexer->token.quoted = lexer->at < lexer->end && *lexer->at == '"';
  if (lexer->token.quoted) {
    TRY(lex_string(lexer));
    return *lexer->token.string || lexer_fail(lexer, lexer->token.start, "the name is empty");
  }
  if (lexer->at == lexer->end || !is_word(*lexer->at))
    return lexer_fail(lexer, lexer->token.start, "%% without a name");
  lex_word(lexer);
  return true;
}

static bool lex_sign(Lexer *lexer) {
  char c = *lexer->at++;
  if (!strchr("()[]{}:,=*+-", c) || c == '\0') {
    if (c > 0x20 && c < 0x7f) return lexer_fail(lexer, lexer->token.start, "'%c' has no meaning here", c);
    return lexer_fail(lexer, lexer->token.start, "a byte 0x%02x has no meaning here", (unsigned char)c);
  }
  lexer->token.sign = c;
  if (c != '-' || lexer->at == lexer->end || *lexer->at != '>') return true;
  lexer->at++;
  lexer->token.kind = TOKEN_ARROW;
  return true;
}

bool lexer_next(Lexer *lexer) {
  Token *token = &lexer->token;
  *token = (Token){0};
  skip_space(lexer);
  token->start = lexer->at;
  bool ok = true;
  if (lexer->at == lexer->end) {
    token->kind = TOKEN_END;
  } else if (*lexer->at == '%') {
    token->kind = TOKEN_VALUE;
    ok = lex_name(lexer);
  } else if (*lexer->at == '"') {
    token->kind = TOKEN_STRING;
    ok = lex_string(lexer);
  } else if (is_word(*lexer->at)) {
    token->kind = TOKEN_WORD;
    lex_word(lexer);
  } else {
    token->kind = TOKEN_SIGN;
    ok = lex_sign(lexer);
  }
  token->length = (size_t)(lexer->at - token->start);
  return ok;
}

bool lexer_start(Lexer *lexer, Module *module, const char *file, const char *text, size_t length) {
  *lexer =
      (Lexer){.module = module, .file = intern(module, file), .text = text, .at = text, .end = text + length};
  return lexer_next(lexer);
}

/* ---- Expecting ---- */

bool token_is(const Lexer *lexer, char sign) {
  return lexer->token.kind == TOKEN_SIGN && lexer->token.sign == sign;
}

bool token_is_word(const Lexer *lexer, const char *word) {
  return lexer->token.kind == TOKEN_WORD && strcmp(lexer->token.string, word) == 0;
}

bool lexer_skip(Lexer *lexer, char sign) {
  if (!token_is(lexer, sign)) return lexer_expected(lexer, arena_printf(lexer->module->arena, "'%c'", sign));
  return lexer_next(lexer);
}

bool lexer_skip_word(Lexer *lexer, const char *word) {
  if (!token_is_word(lexer, word)) return lexer_expected(lexer, word);
  return lexer_next(lexer);
}

bool lexer_comma_or(Lexer *lexer, char close, bool *more) {
  *more = token_is(lexer, ',');
  if (*more || token_is(lexer, close)) return lexer_next(lexer);
  return lexer_expected(lexer, arena_printf(lexer->module->arena, "',' or '%c'", close));
}

/* ---- Numbers ---- */

/* Digits of the word in front; the word is skipped. */
static bool lex_digits(Lexer *lexer, uint64_t *value) {
  const Token *token = &lexer->token;
  if (token->kind != TOKEN_WORD || !is_digit(token->string[0])) return lexer_expected(lexer, "an integer");
  *value = 0;
  for (const char *c = token->string; *c; c++) {
    if (!is_digit(*c)) return lexer_expected(lexer, "an integer");
    if (__builtin_mul_overflow(*value, 10u, value) ||
        __builtin_add_overflow(*value, (uint64_t)(*c - '0'), value))
      return lexer_fail(lexer, token->start, "the number does not fit 64 bits");
  }
  return lexer_next(lexer);
}

static bool lex_minus(Lexer *lexer, bool *minus) {
  *minus = token_is(lexer, '-');
  return !*minus || lexer_next(lexer);
}

bool lexer_unsigned(Lexer *lexer, uint64_t *value) {
  return lex_digits(lexer, value);
}

bool lexer_int(Lexer *lexer, int64_t *value) {
  const char *start = lexer->token.start;
  bool minus = false;
  uint64_t digits = 0;
  TRY(lex_minus(lexer, &minus) && lex_digits(lexer, &digits));
  if (digits > (uint64_t)INT64_MAX + minus)
    return lexer_fail(lexer, start, "the number does not fit 64 bits");
  *value = minus ? (int64_t)(0 - digits) : (int64_t)digits;
  return true;
}

static bool is_decimal(const char *word) {
  const char *at = word;
  while (is_digit(*at)) at++;
  if (at == word) return false;
  if (*at == '.')
    for (at++; is_digit(*at);) at++;
  if (*at == 'e' || *at == 'E') {
    at++;
    if (*at == '+' || *at == '-') at++;
    if (!is_digit(*at)) return false;
    while (is_digit(*at)) at++;
  }
  return *at == '\0';
}

bool lexer_float(Lexer *lexer, double *value) {
  bool minus = false;
  TRY(lex_minus(lexer, &minus));
  const Token *token = &lexer->token;
  bool special = token_is_word(lexer, "inf") || token_is_word(lexer, "nan");
  if (token->kind != TOKEN_WORD || (!special && !is_decimal(token->string)))
    return lexer_expected(lexer, "a number");
  if (token->length > MAX_NUMBER)
    return lexer_fail(lexer, token->start, "a number of over %d characters", MAX_NUMBER);
  *value = strtod(token->string, NULL);
  if (minus) *value = -*value;
  return lexer_next(lexer);
}

bool lexer_bool(Lexer *lexer, bool *value) {
  *value = token_is_word(lexer, "true");
  if (!*value && !token_is_word(lexer, "false")) return lexer_expected(lexer, "true or false");
  return lexer_next(lexer);
}

bool lexer_string(Lexer *lexer, const char **string) {
  if (lexer->token.kind != TOKEN_STRING) return lexer_expected(lexer, "a string");
  *string = lexer->token.string;
  return lexer_next(lexer);
}

void *lexer_grow(const Lexer *lexer, void *array, int count, size_t size) {
  if (count != 0 && (count & (count - 1)) != 0) return array;
  void *grown = arena_alloc(lexer->module->arena, size * (count ? 2 * (size_t)count : 1));
  if (count > 0) memcpy(grown, array, size * (size_t)count);
  return grown;
}
