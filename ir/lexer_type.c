/* lexer_type.c -- dims and types as text: `f32[N,2*N-1,floordiv(H,2),"batch size"]`. */
#include "ir/lexer.h"

#include <string.h>

enum { MAX_DEPTH = 64 }; /* of parentheses */

bool lexer_dtype(Lexer *lexer, Dtype *dtype) {
  const Token *token = &lexer->token;
  *dtype = token->kind == TOKEN_WORD ? dtype_from_name(token->string, token->length) : DTYPE_NONE;
  return *dtype == DTYPE_NONE ? lexer_expected(lexer, "an element type such as f32") : lexer_next(lexer);
}

static bool parse_sum(Lexer *lexer, const Dim **dim);

static bool parse_call(Lexer *lexer, DimKind kind, const Dim **dim) {
  const Dim *a, *b;
  TRY(lexer_next(lexer) && lexer_skip(lexer, '('));
  TRY(parse_sum(lexer, &a) && lexer_skip(lexer, ',') && parse_sum(lexer, &b));
  *dim = dim_make(lexer->module, kind, a, b);
  return lexer_skip(lexer, ')');
}

/* A word: a function, or a symbol when it does not start with a digit, or a number. */
static bool parse_word(Lexer *lexer, bool minus, const Dim **dim) {
  static const struct {
    const char *name;
    DimKind kind;
  } calls[] = {{"floordiv", DIM_FLOORDIV},
               {"ceildiv", DIM_CEILDIV},
               {"min", DIM_MIN},
               {"max", DIM_MAX},
               {"bcast", DIM_BCAST}};
  for (int i = 0; i < COUNT_OF(calls); i++)
    if (token_is_word(lexer, calls[i].name)) return parse_call(lexer, calls[i].kind, dim);
  const Token *token = &lexer->token;
  if (token->string[0] >= '0' && token->string[0] <= '9') {
    const char *start = token->start;
    uint64_t digits;
    TRY(lexer_unsigned(lexer, &digits));
    if (digits > (uint64_t)INT64_MAX + minus)
      return lexer_fail(lexer, start, "the number does not fit 64 bits");
    *dim = dim_const(lexer->module, minus ? (int64_t)(0 - digits) : (int64_t)digits);
    return true;
  }
  *dim = dim_symbol(lexer->module, token->string);
  return lexer_next(lexer);
}

/* The first factor of a product takes its sign, so that the least int64 can be written. */
static bool parse_factor(Lexer *lexer, bool minus, const Dim **dim) {
  bool number =
      lexer->token.kind == TOKEN_WORD && lexer->token.string[0] >= '0' && lexer->token.string[0] <= '9';
  if (lexer->token.kind == TOKEN_WORD) {
    TRY(parse_word(lexer, minus, dim));
  } else if (lexer->token.kind == TOKEN_STRING) {
    if (!*lexer->token.string) return lexer_fail(lexer, lexer->token.start, "the name of a size is empty");
    *dim = dim_symbol(lexer->module, lexer->token.string);
    TRY(lexer_next(lexer));
  } else if (token_is(lexer, '(')) {
    TRY(lexer_next(lexer) && parse_sum(lexer, dim) && lexer_skip(lexer, ')'));
  } else {
    return lexer_expected(lexer, "a size");
  }
  if (minus && !number) *dim = dim_mul(lexer->module, dim_const(lexer->module, -1), *dim);
  return true;
}

static bool parse_product(Lexer *lexer, bool minus, const Dim **dim) {
  TRY(parse_factor(lexer, minus, dim));
  while (token_is(lexer, '*')) {
    const Dim *factor;
    TRY(lexer_next(lexer) && parse_factor(lexer, false, &factor));
    *dim = dim_mul(lexer->module, *dim, factor);
  }
  return true;
}

static bool parse_terms(Lexer *lexer, const Dim **dim) {
  bool minus = token_is(lexer, '-');
  if (minus) TRY(lexer_next(lexer));
  TRY(parse_product(lexer, minus, dim));
  while (token_is(lexer, '+') || token_is(lexer, '-')) {
    const Dim *term;
    minus = token_is(lexer, '-');
    TRY(lexer_next(lexer) && parse_product(lexer, minus, &term));
    *dim = dim_add(lexer->module, *dim, term);
  }
  return true;
}

static bool parse_sum(Lexer *lexer, const Dim **dim) {
  if (lexer->depth == MAX_DEPTH)
    return lexer_fail(lexer, lexer->token.start, "over %d parentheses deep", MAX_DEPTH);
  lexer->depth++;
  bool ok = parse_terms(lexer, dim);
  lexer->depth--;
  return ok;
}

bool lexer_dim(Lexer *lexer, const Dim **dim) {
  const char *start = lexer->token.start;
  const Diag *last = lexer->module->last_diag;
  int errors = lexer->module->error_count;
  bool ok = parse_sum(lexer, dim) && lexer->module->error_count == errors; /* too large an expression */
  lexer_locate(lexer, last, start);
  return ok;
}

/* `sequence`, `optional`, both or none. */
static bool parse_form(Lexer *lexer, Form *form) {
  bool optional = token_is_word(lexer, "optional");
  if (optional) TRY(lexer_next(lexer));
  bool sequence = token_is_word(lexer, "sequence");
  if (sequence) TRY(lexer_next(lexer));
  *form = optional && sequence ? FORM_OPTIONAL_SEQUENCE
          : optional           ? FORM_OPTIONAL
          : sequence           ? FORM_SEQUENCE
                               : FORM_TENSOR;
  return true;
}

/* Of a tensor, or of those in another form. */
static bool parse_tensor_type(Lexer *lexer, Form form, const Type **type) {
  const Dim *dims[MAX_RANK];
  Dtype dtype;
  int rank = 0;
  TRY(lexer_dtype(lexer, &dtype));
  if (token_is(lexer, '[')) {
    TRY(lexer_next(lexer));
    if (token_is(lexer, '*')) {
      *type = type_unknown_rank(lexer->module, dtype);
      return lexer_next(lexer) && lexer_skip(lexer, ']');
    }
    if (token_is(lexer, ']') && form == FORM_SEQUENCE) {
      *type = type_empty_sequence(lexer->module, dtype);
      return lexer_next(lexer);
    }
    for (bool more = true; more; rank++) {
      const char *start = lexer->token.start;
      if (rank == MAX_RANK) return lexer_fail(lexer, start, "over %d axes", MAX_RANK);
      TRY(lexer_dim(lexer, &dims[rank]));
      if (dim_is_const(dims[rank]) && dims[rank]->value < 0)
        return lexer_fail(lexer, start, "an axis of size %lld", (long long)dims[rank]->value);
      TRY(lexer_comma_or(lexer, ']', &more));
    }
  }
  *type = type_make(lexer->module, dtype, rank, dims);
  return true;
}

bool lexer_type(Lexer *lexer, const Type **type) {
  Form form;
  TRY(parse_form(lexer, &form) && parse_tensor_type(lexer, form, type));
  if (form == FORM_TENSOR) return true;
  *type = type_with_form(lexer->module, type_forget_symbols(lexer->module, *type), form);
  return true;
}
