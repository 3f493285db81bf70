/*
 * text.c -- strings as categories: StringLookup, Hashing, HashedCrossing, TextVectorization.
 *
 * A TextVectorization is standardised, split, joined to n-grams and looked up. How many words a text has is
 * known when it runs, so its library runs in sessions; output_sequence_length gives the result a fixed size.
 * The empty string is what is masked: it stands where a text has fewer words than others, and counts nowhere.
 */
#include "frontend/keras/layers/category.h"
#include "frontend/strings.h"
#include <math.h>
#include <string.h>

static Value *text_scalar(Call *call, const char *text) {
  return build_strings(call->builder, &text, 1, 0);
}

static bool check_strings(Call *call, const Value *x) {
  return x->type->dtype == DTYPE_STRING ||
         call_fail(call, "its input is %s, not strings", dtype_name(x->type->dtype));
}

static Value *equals(Call *call, Value *x, const char *text) {
  Value *other = make_broadcast(call, text_scalar(call, text), x->type);
  return make_binary(call, &op_string_equal, x, other);
}

/* Numbers as the text that TensorFlow makes of them. */
static Value *as_text(Call *call, Value *x) {
  if (!x || x->type->dtype == DTYPE_STRING) return x;
  return make_unary(call, &op_string_format, make_cast(call, x, DTYPE_I64));
}

/* ---- hashes ---- */

static Value *hashed(Call *call, Value *x, int64_t buckets, const int64_t *key) {
  x = as_text(call, x);
  if (!x) return NULL;
  Node *node = node_new(call->builder, &op_string_hash, &x, 1);
  node_set_int(node, "buckets", buckets);
  if (key) {
    node_set_bool(node, "keyed", true);
    node_set_int(node, "key0", key[0]);
    node_set_int(node, "key1", key[1]);
  }
  return make(node);
}

/* A number is both halves of the key. */
static bool read_salt(Call *call, int64_t *key, bool *has_salt) {
  const cJSON *item = json_member(call->config, "salt");
  *has_salt = item != NULL;
  for (int i = 0; item && i < 2; i++)
    if (!json_integer(cJSON_IsArray(item) ? json_at(item, i) : item, &key[i]))
      return call_fail(call, "its salt is not one or two numbers");
  return true;
}

static Value *hashing(Call *call) {
  Value *x = call->inputs[0];
  int64_t bins, key[2];
  bool has_salt;
  const cJSON *mask = json_member(call->config, "mask_value");
  if (!call_int(call, "num_bins", 0, &bins) || !read_salt(call, key, &has_salt)) return NULL;
  int64_t buckets = bins - (mask != NULL);
  if (buckets < 1) return call_null(call, "%lld bins make no sense", (long long)bins);
  if (x->type->dtype != DTYPE_STRING && !dtype_is_int(x->type->dtype))
    return call_null(call, "its input is %s, neither integers nor strings", dtype_name(x->type->dtype));
  Value *hash = hashed(call, x, buckets, has_salt ? key : NULL);
  if (mask) {
    Value *is_mask = x->type->dtype == DTYPE_STRING
                         ? equals(call, x, cJSON_IsString(mask) ? mask->valuestring : "")
                         : make_number(call, &op_equal, x, json_number(call->config, "mask_value", 0));
    hash = make_where(call, is_mask, build_scalar(call->builder, DTYPE_I64, 0),
                      make_number(call, &op_add, hash, 1));
  }
  return encode(call, hash, bins, NULL, NULL);
}

/* Strings by their fingerprint, integers by their value, joined one after the other. */
static Value *hashed_crossing(Call *call) {
  const int64_t start = 0xDECAFCAFFE;
  int64_t bins;
  if (!call_int(call, "num_bins", 0, &bins)) return NULL;
  if (bins < 1) return call_null(call, "%lld bins make no sense", (long long)bins);
  const Type *type = type_with_dtype(call->import->module, call->inputs[0]->type, DTYPE_I64);
  Value *hash = make_broadcast(call, make_squeeze(call, make_ints(call, &start, 1), 0), type);
  for (int i = 0; i < call->input_count; i++) {
    Value *x = call->inputs[i];
    x = x->type->dtype == DTYPE_STRING ? hashed(call, x, 0, NULL) : make_cast(call, x, DTYPE_I64);
    if (!hash || !x) return NULL;
    Node *node = node_new(call->builder, &op_string_hash_join, (Value *[]){hash, x}, 2);
    node_set_int(node, "buckets", i + 1 == call->input_count ? bins : 0);
    hash = make(node);
  }
  return encode(call, hash, bins, NULL, NULL);
}

/* ---- vocabularies ---- */

/* Which token x is, the first of equal ones; -1: none. */
static Value *token_place(Call *call, Value *x, const Lookup *l) {
  const char **tokens = NEW_ARRAY(call->import->module->arena, const char *, l->count);
  const cJSON *item = l->tokens;
  for (int64_t i = 0; i < l->count; i++, item = item->next) {
    if (!cJSON_IsString(item))
      return call_null(call, "token %lld of its vocabulary is no string", (long long)i);
    tokens[i] = item->valuestring;
  }
  return build_place_among(call->builder, x, tokens, l->count, -1);
}

static Value *token_unknown(Call *call, Value *x, const Lookup *l) {
  if (l->unknown == 0) return build_scalar(call->builder, DTYPE_I64, -1);
  Value *number =
      l->unknown == 1 ? build_scalar(call->builder, DTYPE_I64, 0) : hashed(call, x, l->unknown, NULL);
  return l->has_mask ? make_number(call, &op_add, number, 1) : number;
}

static Value *look_up(Call *call, Value *x, const Lookup *l, const char *mask) {
  return lookup_finish(call, l, token_place(call, x, l), token_unknown(call, x, l),
                       mask ? equals(call, x, mask) : NULL);
}

/* Numbers back to tokens. */
static Value *token_of(Call *call, Value *x, const Lookup *l) {
  const char **table = NEW_ARRAY(call->import->module->arena, const char *, l->first + l->count + 1);
  const char *oov = json_text(call->config, "oov_token", "[UNK]");
  const cJSON *item = l->tokens;
  for (int64_t i = 0; i < l->first; i++)
    table[i] = i < l->has_mask ? json_text(call->config, "mask_token", "") : oov;
  for (int64_t i = 0; i < l->count; i++, item = item->next)
    table[l->first + i] = cJSON_IsString(item) ? item->valuestring : "";
  table[l->first + l->count] = oov;
  x = make_clip(call, make_cast(call, x, DTYPE_I64), -1, (double)(l->first + l->count));
  return make_gather(call, build_strings(call->builder, table, l->first + l->count + 1, 1), x, 0);
}

static Value *string_lookup(Call *call) {
  Value *x = call->inputs[0];
  Lookup l;
  if (!lookup_read(call, lookup_vocabulary(call), &l)) return NULL;
  if (json_flag(call->config, "invert", false)) return token_of(call, x, &l);
  return check_strings(call, x) ? look_up(call, x, &l, json_text(call->config, "mask_token", NULL)) : NULL;
}

/* ---- TextVectorization ---- */

static Value *standardised(Call *call, Value *x) {
  const cJSON *item = json_member(call->config, "standardize");
  const char *how = cJSON_IsString(item) ? item->valuestring : "";
  bool lower = !strcmp(how, "lower") || !strcmp(how, "lower_and_strip_punctuation");
  bool strip = !strcmp(how, "strip_punctuation") || !strcmp(how, "lower_and_strip_punctuation");
  if (item && !lower && !strip) return call_null(call, "its 'standardize' is a function in Python");
  if (lower) x = make_unary(call, &op_string_case, x);
  return strip ? make_binary(call, &op_string_remove, x,
                             text_scalar(call, "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"))
               : x;
}

/* [batch] or [batch, 1] as [batch, words]; without splitting the words are the last axis. */
static Value *words_of(Call *call, Value *x) {
  const cJSON *item = json_member(call->config, "split");
  if (!item || !x) return x;
  bool characters = cJSON_IsString(item) && !strcmp(item->valuestring, "character");
  if (!cJSON_IsString(item) || (!characters && strcmp(item->valuestring, "whitespace")))
    return call_null(call, "its 'split' is a function in Python");
  if (x->type->rank == 2 && dim_is(x->type->dims[1], 1)) x = make_squeeze(call, x, 1);
  if (!x || x->type->rank != 1) return call_null(call, "it splits texts of one axis");
  Node *node = node_new(call->builder, &op_string_split, (Value *[]){x, text_scalar(call, "")}, 2);
  node_set_bool(node, "characters", characters);
  return make(node);
}

/* Words i to i + size - 1 of every place, with blanks between; "" where a text ends before. */
static Value *grams(Call *call, Value *words, int64_t size) {
  Module *module = call->import->module;
  const Dim *one = dim_const(module, 1), *zero = dim_const(module, 0), *length = words->type->dims[1];
  const Dim *places = dim_make(module, DIM_MAX, dim_sub(module, length, dim_const(module, size - 1)), zero);
  Value *gram = NULL, *last = NULL;
  for (int64_t i = 0; i < size; i++) {
    const Dim *start = dim_make(module, DIM_MIN, dim_mul(module, dim_const(module, i), one), length);
    last = make_slice(call, words, 1, start, places, 1);
    Value *blank = last ? make_broadcast(call, text_scalar(call, " "), last->type) : NULL;
    gram = i ? make_binary(call, &op_string_concat, make_binary(call, &op_string_concat, gram, blank), last)
             : last;
  }
  Value *none = last ? make_broadcast(call, text_scalar(call, ""), last->type) : NULL;
  return last ? make_where(call, equals(call, last, ""), none, gram) : NULL;
}

/* A number is all sizes up to it, a list those that it names. In a text the n-grams of one size follow those
 * of another, so there may be "" between them. */
static Value *joined_words(Call *call, Value *words, bool *has_gaps) {
  enum { MAX_SIZES = 16 };
  const cJSON *item = json_member(call->config, "ngrams");
  int64_t sizes[MAX_SIZES], count = 0, value;
  if (!item || !words) return words;
  if (json_integer(item, &value))
    for (int64_t i = 1; i <= value && count < MAX_SIZES; i++) sizes[count++] = i;
  for (int i = 0; i < cJSON_GetArraySize(item) && count < MAX_SIZES; i++)
    if (json_integer(json_at(item, i), &value)) sizes[count++] = value;
  Value *parts[MAX_SIZES];
  for (int64_t i = 0; i < count; i++) {
    if (sizes[i] < 1 || sizes[i] > 64) return call_null(call, "n-grams of %lld words", (long long)sizes[i]);
    parts[i] = sizes[i] == 1 ? words : grams(call, words, sizes[i]);
  }
  *has_gaps = count > 1;
  return count ? make_concat(call, parts, (int)count, 1) : words;
}

/* [batch, n] of numbers, those that are 0 behind the others. */
static Value *zeros_last(Call *call, Value *x) {
  Module *module = call->import->module;
  Value *counts = make_cast(call, make_number(call, &op_greater, x, 0), DTYPE_I64);
  if (!counts) return NULL;
  const Dim *steps = x->type->dims[1],
            *dims[] = {x->type->dims[0], dim_add(module, steps, dim_const(module, 1))};
  Node *node = node_new(call->builder, &op_cum_sum, &counts, 1);
  node_set_int(node, "axis", 1);
  node_set_bool(node, "exclusive", true);
  Value *before = make(node),
        *zeros = build_broadcast(call->builder, build_scalar(call->builder, DTYPE_I64, 0), 2, dims);
  Value *behind = make_squeeze(call, make_part(call, make_unary(call, &op_shape, x), 0, 1, 1), 0);
  Value *at = make_where(call, make_number(call, &op_greater, x, 0), before, behind);
  if (!at || !zeros) return NULL;
  node = node_new(call->builder, &op_scatter_elements, (Value *[]){zeros, at, x}, 3);
  node_set_int(node, "axis", 1);
  return make_slice(call, make(node), 1, dim_const(module, 0), steps, 1);
}

/* Cut or filled with 0 to the length that the layer has. */
static Value *to_length(Call *call, Value *x) {
  Module *module = call->import->module;
  int64_t length;
  const cJSON *item = json_member(call->config, "output_sequence_length");
  if (!item || !x) return x;
  if (!json_integer(item, &length) || length < 1 || length > INT32_MAX)
    return call_null(call, "its output_sequence_length is no size");
  const Dim *zero = dim_const(module, 0), *wanted = dim_const(module, length), *has = x->type->dims[1];
  const Dim *kept = dim_make(module, DIM_MIN, has, wanted);
  x = make_slice(call, x, 1, zero, kept, 1);
  x = make_pad(call, x, 1, zero, dim_sub(module, wanted, kept));
  const Dim *dims[] = {x ? x->type->dims[0] : zero, wanted};
  return make_reshape(call, x, 2, dims);
}

/* The tokens that its lookup has by itself. */
static void add_tokens(const Call *call) {
  cJSON *config = (cJSON *)(uintptr_t)call->config;
  if (!json_member(config, "mask_token")) cJSON_AddStringToObject(config, "mask_token", "");
  if (!json_member(config, "oov_token")) cJSON_AddStringToObject(config, "oov_token", "[UNK]");
}

static Value *text_vectorization(Call *call) {
  Value *x = call->inputs[0];
  Lookup l;
  bool has_gaps = false;
  add_tokens(call);
  if (!check_strings(call, x) || !lookup_read(call, lookup_vocabulary(call), &l)) return NULL;
  x = joined_words(call, words_of(call, standardised(call, x)), &has_gaps);
  if (x && x->type->rank == 1) x = make_unsqueeze(call, x, 1);
  Value *y = x ? look_up(call, x, &l, "") : NULL;
  if (strcmp(json_text(call->config, "output_mode", "int"), "int")) return y;
  return to_length(call, has_gaps ? zeros_last(call, y) : y);
}

const LayerKind text_layers[] = {
    {"HashedCrossing", hashed_crossing, 2, 0, NULL, MASK_ENDS},
    {"Hashing", hashing, 1, 1, NULL, MASK_ENDS},
    {"StringLookup", string_lookup, 1, 1, NULL, MASK_ENDS},
    {"TextVectorization", text_vectorization, 1, 1, NULL, MASK_ENDS},
    {0},
};
