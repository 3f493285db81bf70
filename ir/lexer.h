/*
 * lexer.h -- inside ir/ only: tokens of the text forms, and the parts that both IRs share (dims, types,
 * numbers).
 *
 * The token in front is `lexer->token`. A failure is a Diag with line and column of the guilty token, and
 * false; no state need be put back. `#` starts a comment. Text is hostile: nothing recurses without a limit,
 * no number overflows unnoticed.
 */
#ifndef TENON_IR_LEXER_H
#define TENON_IR_LEXER_H

#include "ir/ir.h"

typedef enum TokenKind {
  TOKEN_END,
  TOKEN_WORD,   /* [A-Za-z0-9_.]+: names, numbers without sign; a float's "e-05" is a part of it */
  TOKEN_STRING, /* "..." */
  TOKEN_VALUE,  /* %word or %"..." */
  TOKEN_ARROW,  /* -> */
  TOKEN_SIGN    /* any other single character; see `sign` */
} TokenKind;

typedef struct Token {
  TokenKind kind;
  char sign;
  bool first_of_line;
  bool quoted;       /* of a value: the name was in quotes */
  const char *start; /* in the text */
  size_t length;
  const char *string; /* of a word, string or value: its characters, unescaped, interned */
} Token;

typedef struct Lexer {
  Module *module;
  const char *file;
  const char *text, *at, *end;
  Token token;
  int depth;
} Lexer;

/* Reads the first token. `text` must live as long as the lexer. */
bool lexer_start(Lexer *lexer, Module *module, const char *file, const char *text, size_t length);
bool lexer_next(Lexer *lexer);

/* Records an error at `start` (in the text) and returns false. */
bool lexer_fail(const Lexer *lexer, const char *start, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "expected WHAT, found ..." at the token in front. */
bool lexer_expected(const Lexer *lexer, const char *what);
/* Gives the errors that were recorded after `last` the position `start`. */
void lexer_locate(const Lexer *lexer, const Diag *last, const char *start);

bool token_is(const Lexer *lexer, char sign);
bool token_is_word(const Lexer *lexer, const char *word);
bool lexer_skip(Lexer *lexer, char sign); /* the sign must be in front */
bool lexer_skip_word(Lexer *lexer, const char *word);
bool lexer_comma_or(Lexer *lexer, char close,
                    bool *more); /* "," : more; `close`: no more; both are skipped */

bool lexer_int(Lexer *lexer, int64_t *value); /* [-]digits */
bool lexer_unsigned(Lexer *lexer, uint64_t *value);
bool lexer_float(Lexer *lexer, double *value); /* [-]number, inf or nan */
bool lexer_bool(Lexer *lexer, bool *value);
bool lexer_string(Lexer *lexer, const char **string);
bool lexer_dtype(Lexer *lexer, Dtype *dtype);
bool lexer_dim(Lexer *lexer, const Dim **dim);
bool lexer_type(Lexer *lexer, const Type **type);

/* The array with room for one more than `count`; in the arena of the module. */
void *lexer_grow(const Lexer *lexer, void *array, int count, size_t size);

#endif
