/*
 * category.c -- numbers as categories: Discretization, CategoryEncoding, IntegerLookup; and what these share
 * with the lookup of strings (category.h).
 *
 * A lookup gives a category a number: first what is masked (in numbers only), then those for what is not in
 * the vocabulary, then the vocabulary. The result is that number, or its one-hot row, or for each sample
 * which of them occur, how often, or that times the weight of each.
 */
#include "frontend/keras/layers/category.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- results ---- */

/* [batch, n, depth] of bools as [batch, depth]: how often each occurs, times a weight of each place. */
static Value *counted(Call *call, Value *hot, Value *weights) {
  hot = make_cast(call, hot, DTYPE_F32);
  if (weights)
    hot =
        make_binary(call, &op_mul, hot, make_unsqueeze(call, call_float(call, weights), weights->type->rank));
  if (!hot || hot->type->rank < 3) return hot;
  int axis = hot->type->rank - 2;
  return make_squeeze(call, make_reduce(call, &op_reduce_sum, hot, (int64_t[]){axis}, 1), axis);
}

Value *encode(Call *call, Value *x, int64_t depth, Value *weights, Value *idf) {
  enum { MAX_DEPTH = 1 << 24 };
  const char *mode = json_text(call->config, "output_mode", "int");
  if (!x || !strcmp(mode, "int")) return x;
  if (depth < 1 || depth > MAX_DEPTH)
    return call_null(call, "%lld categories make no sense", (long long)depth);
  if (!strcmp(mode, "one_hot")) {
    int last = x->type->rank - 1;
    if (last > 0 && dim_is(x->type->dims[last], 1)) x = make_squeeze(call, x, last);
    return make_cast(call, make_one_hot(call, x, depth), DTYPE_F32);
  }
  if (x->type->rank > 2)
    return call_null(call, "output_mode '%s' takes two axes, not %d", mode, x->type->rank);
  Value *hot = make_one_hot(call, x, depth);
  if (!strcmp(mode, "multi_hot") || !strcmp(mode, "binary")) {
    Value *count = counted(call, hot, NULL);
    return make_cast(call, make_number(call, &op_greater, count, 0), DTYPE_F32);
  }
  Value *count = counted(call, hot, weights);
  if (!strcmp(mode, "count")) return count;
  bool is_tf_idf = (!strcmp(mode, "tf_idf") || !strcmp(mode, "tf-idf")) && idf;
  return is_tf_idf ? make_binary(call, &op_mul, count, idf)
                   : call_null(call, "output_mode '%s' is not supported", mode);
}

/* ---- Discretization ---- */

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The number of boundaries that are not above x. */
static Value *discretization(Call *call) {
  Value *x = call_float_input(call, 0);
  const cJSON *list = json_member(call->config, "bin_boundaries"), *item;
  int count = cJSON_GetArraySize(list), i = 0;
  if (!x) return NULL;
  if (!cJSON_IsArray(list))
    return call_null(call, "the file has no bin_boundaries; adapt the layer before saving it");
  double *values = NEW_ARRAY(call->import->module->arena, double, count);
  cJSON_ArrayForEach(item, list) {
    if (!cJSON_IsNumber(item)) return call_null(call, "'bin_boundaries' are not numbers");
    values[i++] = item->valuedouble;
  }
  qsort(values, (size_t)count, sizeof *values, ascending);
  int last = x->type->rank;
  Value *above = make_binary(call, &op_greater_or_equal, make_unsqueeze(call, x, last),
                             make_floats(call, x->type->dtype, values, count));
  Value *bin = make_reduce(call, &op_reduce_sum, make_cast(call, above, DTYPE_I64), (int64_t[]){last}, 1);
  return encode(call, make_squeeze(call, bin, last), count + 1, NULL, NULL);
}

/* ---- CategoryEncoding ---- */

static Value *category_encoding(Call *call) {
  int64_t depth;
  Value *weights = call_named(call, 1, "count_weights").value;
  if (!call_int(call, "num_tokens", json_member(call->config, "max_tokens") ? -1 : 0, &depth)) return NULL;
  if (depth < 0 && !call_int(call, "max_tokens", 0, &depth)) return NULL;
  if (!json_member(call->config, "output_mode")) return call_null(call, "it has no output_mode");
  return encode(call, make_cast(call, call->inputs[0], DTYPE_I64), depth, weights, NULL);
}

/* ---- lookups ---- */

/* Numbers that come from a text file are strings. */
static bool is_token(const cJSON *item, const cJSON *token) {
  if (cJSON_IsString(item) && cJSON_IsString(token)) return !strcmp(item->valuestring, token->valuestring);
  if (!item || !cJSON_IsNumber(token)) return false;
  return (cJSON_IsString(item) ? strtod(item->valuestring, NULL) : item->valuedouble) == token->valuedouble;
}

/* A vocabulary may begin with the masked token and those that stand for unknown ones. */
static int special_tokens(const Lookup *l, const cJSON *list, const cJSON *mask, const cJSON *unknown) {
  int count = (int)(l->has_mask + l->unknown);
  if (!count || (l->has_mask && !is_token(json_at(list, 0), mask))) return 0;
  for (int i = l->has_mask; i < count; i++)
    if (!is_token(json_at(list, i), unknown)) return 0;
  return count;
}

bool lookup_read(Call *call, const cJSON *vocabulary, Lookup *l) {
  const cJSON *mask = json_member(call->config, "mask_token");
  bool gives_numbers = !strcmp(json_text(call->config, "output_mode", "int"), "int");
  *l = (Lookup){.has_mask = mask && gives_numbers, .mask = mask};
  TRY(call_int(call, "num_oov_indices", 1, &l->unknown));
  if (l->unknown < 0 || l->unknown > INT32_MAX) return call_fail(call, "'num_oov_indices' makes no sense");
  if (!cJSON_IsArray(vocabulary))
    return call_fail(call, "the file has no vocabulary for it; a .keras archive keeps what adapt() found");
  int skip = special_tokens(l, vocabulary, mask, json_member(call->config, "oov_token"));
  l->tokens = skip ? json_at(vocabulary, skip) : vocabulary->child;
  l->count = cJSON_GetArraySize(vocabulary) - skip;
  l->first = l->has_mask + l->unknown;
  l->depth = l->first + l->count;
  int64_t most;
  if (json_flag(call->config, "pad_to_max_tokens", false) && json_member(call->config, "max_tokens")) {
    TRY(call_int(call, "max_tokens", l->depth, &most));
    if (most < l->depth)
      return call_fail(call, "max_tokens %lld are less than its %lld", (long long)most, (long long)l->depth);
    l->depth = most;
  }
  return true;
}

/* The mean for what is unknown, then the weight of each token, then zeros. */
static Value *read_idf(Call *call, const Lookup *l) {
  const cJSON *list = json_member(call->config, "idf_weights"), *item;
  int64_t i = l->first;
  double sum = 0, *weights = NEW_ARRAY(call->import->module->arena, double, l->depth);
  int count = cJSON_GetArraySize(list);
  if (!list) return NULL;
  if (count != l->count) return call_null(call, "%d idf_weights for %lld tokens", count, (long long)l->count);
  cJSON_ArrayForEach(item, list) {
    if (!cJSON_IsNumber(item)) return call_null(call, "'idf_weights' are not numbers");
    sum += weights[i++] = item->valuedouble;
  }
  for (i = 0; i < l->first && count; i++) weights[i] = sum / count;
  return make_floats(call, DTYPE_F32, weights, l->depth);
}

Value *lookup_finish(Call *call, const Lookup *l, Value *place, Value *unknown, Value *is_mask) {
  Value *known = make_number(call, &op_greater_or_equal, place, 0);
  Value *number = make_where(call, known, make_number(call, &op_add, place, (double)l->first), unknown);
  if (is_mask)
    number = make_where(call, is_mask, build_scalar(call->builder, DTYPE_I64, l->has_mask ? 0 : -1), number);
  if (!number) return NULL;
  Value *idf = read_idf(call, l);
  return encode(call, number, l->depth, NULL, idf);
}

/* ---- IntegerLookup ---- */

static bool read_integers(Call *call, const Lookup *l, int64_t *values) {
  const cJSON *item = l->tokens;
  for (int64_t i = 0; i < l->count; i++, item = item->next)
    if (!json_integer(item, &values[i]) &&
        !(cJSON_IsString(item) && (values[i] = atoll(item->valuestring), true)))
      return call_fail(call, "token %lld of its vocabulary is no integer", (long long)i);
  return true;
}

/* Which of the values x is, -1: none. */
static Value *integer_place(Call *call, Value *x, const int64_t *values, int64_t count) {
  if (!count) return make_number(call, &op_sub, make_number(call, &op_mul, x, 0), 1);
  int last = x->type->rank;
  Value *equal = make_binary(call, &op_equal, make_unsqueeze(call, x, last), make_ints(call, values, count));
  Value *any = make_squeeze(call, make_reduce(call, &op_reduce_max, equal, (int64_t[]){last}, 1), last);
  if (!equal || !any) return NULL;
  Value *numbers = make_cast(call, equal, DTYPE_I32);
  Node *node = node_new(call->builder, &op_arg_max, &numbers, 1);
  node_set_int(node, "axis", last);
  Value *place = make(node);
  if (place && place->type->rank > x->type->rank) place = make_squeeze(call, place, last);
  return make_where(call, any, place, build_scalar(call->builder, DTYPE_I64, -1));
}

/* Numbers back to tokens. */
static Value *integer_of(Call *call, const Lookup *l, Value *x, const int64_t *values) {
  int64_t oov = (int64_t)json_number(call->config, "oov_token", -1),
          mask = (int64_t)json_number(call->config, "mask_token", 0);
  int64_t *table = NEW_ARRAY(call->import->module->arena, int64_t, l->first + l->count + 1);
  for (int64_t i = 0; i < l->first; i++) table[i] = i < l->has_mask ? mask : oov;
  memcpy(table + l->first, values, (size_t)l->count * sizeof *table);
  table[l->first + l->count] = oov;
  x = make_clip(call, x, -1, (double)(l->first + l->count));
  return make_gather(call, make_ints(call, table, l->first + l->count + 1), x, 0);
}

static Value *integer_lookup(Call *call) {
  Value *x = make_cast(call, call->inputs[0], DTYPE_I64);
  Lookup l;
  if (!x || !lookup_read(call, lookup_vocabulary(call), &l)) return NULL;
  int64_t *values = NEW_ARRAY(call->import->module->arena, int64_t, l.count);
  if (!read_integers(call, &l, values)) return NULL;
  if (json_flag(call->config, "invert", false)) return integer_of(call, &l, x, values);
  Value *unknown = l.unknown > 1 ? make_number(call, &op_mod, x, (double)l.unknown)
                                 : build_scalar(call->builder, DTYPE_I64, l.unknown ? 0 : -1);
  if (l.unknown && l.has_mask) unknown = make_number(call, &op_add, unknown, 1);
  Value *is_mask =
      l.mask ? make_number(call, &op_equal, x, json_number(call->config, "mask_token", 0)) : NULL;
  return lookup_finish(call, &l, integer_place(call, x, values, l.count), unknown, is_mask);
}

const LayerKind category_layers[] = {
    {"CategoryEncoding", category_encoding, 1, 2, NULL, MASK_ENDS},
    {"Discretization", discretization, 1, 1, NULL, MASK_ENDS},
    {"IntegerLookup", integer_lookup, 1, 1, NULL, MASK_ENDS},
    {0},
};
