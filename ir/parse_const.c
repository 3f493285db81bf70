/* parse_const.c -- the elements of constants: in the text, or in the weights file beside it. */
#include "ir/parse_const.h"

#include <string.h>

enum { MAX_LIST = 4096 }; /* elements in the text */

/* ---- In the text ---- */

static bool parse_int_element(Lexer *lexer, Dtype dtype, void *bytes, int64_t index) {
  const char *start = lexer->token.start;
  int64_t value;
  if (dtype == DTYPE_U64) {
    uint64_t wide;
    TRY(lexer_unsigned(lexer, &wide));
    dtype_set_int(dtype, bytes, index, (int64_t)wide);
    return true;
  }
  TRY(lexer_int(lexer, &value));
  dtype_set_int(dtype, bytes, index, value);
  if (dtype_get_int(dtype, bytes, index) == value) return true;
  return lexer_fail(lexer, start, "%lld does not fit %s", (long long)value, dtype_name(dtype));
}

static bool parse_element(Lexer *lexer, Dtype dtype, void *bytes, int64_t index) {
  if (dtype_is_int(dtype)) return parse_int_element(lexer, dtype, bytes, index);
  if (dtype == DTYPE_BOOL) {
    bool value;
    TRY(lexer_bool(lexer, &value));
    dtype_set_int(dtype, bytes, index, value);
    return true;
  }
  if (dtype == DTYPE_STRING) return lexer_string(lexer, (const char **)bytes + index);
  if (!dtype_is_float(dtype))
    return lexer_fail(lexer, lexer->token.start, "elements of %s cannot be written in the text",
                      dtype_name(dtype));
  double value;
  TRY(lexer_float(lexer, &value));
  dtype_set(dtype, bytes, index, value);
  return true;
}

static bool parse_splat(Lexer *lexer, const Type *type, const Data **data) {
  if (dtype_is_complex(type->dtype) || type->dtype == DTYPE_NONE)
    return lexer_fail(lexer, lexer->token.start, "elements of %s cannot be written in the text",
                      dtype_name(type->dtype));
  Data *splat = data_blank(lexer->module, type->dtype, type_static_count(type));
  *data = splat;
  return splat && lexer_next(lexer) && parse_element(lexer, type->dtype, data_bytes(splat), 0);
}

static bool parse_listed(Lexer *lexer, const Type *type, const Data **data) {
  int64_t count = type_static_count(type);
  const char *start = lexer->token.start;
  if (count > MAX_LIST && type->dtype != DTYPE_STRING)
    return lexer_fail(lexer, start, "a list of over %d elements; use data", MAX_LIST);
  Data *list = data_new(lexer->module, type->dtype, count);
  *data = list;
  TRY(list && lexer_skip(lexer, '['));
  int64_t at = 0;
  if (token_is(lexer, ']')) {
    TRY(lexer_next(lexer));
  } else {
    for (bool more = true; more; at++) {
      if (at == count)
        return lexer_fail(lexer, lexer->token.start, "the type has only %lld elements", (long long)count);
      TRY(parse_element(lexer, type->dtype, data_bytes(list), at) && lexer_comma_or(lexer, ']', &more));
    }
  }
  return at == count ||
         lexer_fail(lexer, start, "%lld elements for the %lld of the type", (long long)at, (long long)count);
}

/* ---- In the weights file ---- */

static bool open_weights(const Lexer *lexer, Weights *weights) {
  Module *module = lexer->module;
  if (weights->open) return true;
  TRY(safetensors_open(module, weights->path, &weights->tensors, &weights->count));
  weights->open = true;
  for (int i = 0; i < weights->count; i++)
    map_set(module->arena, &weights->by_key, intern(module, weights->tensors[i].name), &weights->tensors[i]);
  return true;
}

/* The same bytes may serve constants of several shapes. */
static bool check_stored(const Lexer *lexer, const char *start, const SafeTensor *tensor, const Type *type) {
  Module *module = lexer->module;
  const Type *stored = type_static(module, tensor->dtype, tensor->rank, tensor->dims);
  if (stored->dtype == type->dtype && type_static_count(stored) == type_static_count(type)) return true;
  return lexer_fail(lexer, start, "'%s' is stored as %s, not %s", tensor->name, type_text(module, stored),
                    type_text(module, type));
}

static bool parse_stored(Lexer *lexer, Weights *weights, const Type *type, const Data **data) {
  Module *module = lexer->module;
  const char *start = lexer->token.start, *key;
  TRY(lexer_next(lexer));
  if (!weights->path) return lexer_fail(lexer, start, "there is no weights file for this text");
  const char *key_start = lexer->token.start;
  TRY(lexer_string(lexer, &key) && open_weights(lexer, weights));
  SafeTensor *tensor = map_get(&weights->by_key, key);
  if (!tensor) return lexer_fail(lexer, key_start, "%s has no tensor '%s'", weights->path, key);
  TRY(check_stored(lexer, key_start, tensor, type));
  Data *shared = map_get(&weights->data, tensor);
  if (!shared) {
    shared =
        data_borrow(module, type->dtype, type_static_count(type), tensor->bytes, tensor->size, NULL, NULL);
    shared->name = key;
    map_set(module->arena, &weights->data, tensor, shared);
  }
  *data = shared;
  return true;
}

bool parse_const_data(Lexer *lexer, Weights *weights, const Type *type, const Data **data) {
  if (token_is(lexer, '[')) return parse_listed(lexer, type, data);
  if (token_is_word(lexer, "splat")) return parse_splat(lexer, type, data);
  if (token_is_word(lexer, "data")) return parse_stored(lexer, weights, type, data);
  return lexer_expected(lexer, "splat, data or a list");
}
