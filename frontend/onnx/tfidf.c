/*
 * tfidf.c -- TfIdfVectorizer: how often each n-gram of a pool occurs in a row of tokens.
 *
 * All n-grams of one length are compared with all places of the row at once: token k of the place is a slice
 * of the row, token k of the n-grams a column of the pool. The places of every skip count; single tokens have
 * none between them, so for them only the first does. The pool lists n-grams by length; ngram_indexes says
 * which column of the result each is counted in.
 *
 * The specification calls the weights parallel to the pool; its reference and ONNX Runtime take them by
 * column of the result, and so does this.
 */
#include "frontend/onnx/strings.h"
#include "frontend/strings.h"

#include <string.h>

/* The n-grams of one length. */
typedef struct Grams {
  const int64_t *tokens; /* [count][length] */
  int length, count;
} Grams;

typedef struct Vectorizer {
  OnnxNode *node;
  Value *rows; /* [N,C] */
  const int64_t *pool, *starts, *columns;
  int pool_size, lengths, gram_count, width, max_skip;
  Value **counts; /* [N,grams] each, so far */
  int part_count, columns_filled;
  int64_t *sources; /* by column of the result: where in the counts; -1: nowhere */
} Vectorizer;

/* ---- Attributes */

static bool read_integers(Vectorizer *v) {
  v->pool = attr_ints(v->node, "pool_int64s", &v->pool_size);
  v->rows = emit_cast(v->node, v->rows, DTYPE_I64);
  return v->rows && (v->pool || onnx_fail(v->node, "pool_int64s is missing"));
}

/* Strings become the number of the first token of the pool that is equal, in the rows as in the pool. */
static bool number_tokens(Vectorizer *v) {
  OnnxNode *node = v->node;
  const char *const *texts = attr_strings(node, "pool_strings", &v->pool_size);
  if (!texts) return onnx_fail(node, "pool_strings is missing");
  int64_t *numbers = NEW_ARRAY(node->module->arena, int64_t, v->pool_size);
  NameMap seen = {0};
  for (int i = 0; i < v->pool_size; i++) {
    const char *name = intern(node->module, texts[i]);
    if (!names_get(&seen, name)) names_set(node->module, &seen, name, (void *)(intptr_t)(i + 1));
    numbers[i] = (intptr_t)names_get(&seen, name) - 1;
  }
  v->pool = numbers;
  v->rows = build_place_among(&node->builder, v->rows, texts, v->pool_size, v->pool_size);
  return v->rows != NULL;
}

static bool read_pool(Vectorizer *v) {
  OnnxNode *node = v->node;
  TRY(is_string(v->rows) ? number_tokens(v) : read_integers(v));
  v->starts = attr_ints(node, "ngram_counts", &v->lengths);
  v->columns = attr_ints(node, "ngram_indexes", &v->gram_count);
  if (!v->gram_count) return onnx_fail(node, "ngram_indexes is missing");
  for (int i = 0; i < v->lengths; i++)
    if (v->starts[i] < (i ? v->starts[i - 1] : 0) || v->starts[i] > v->pool_size)
      return onnx_fail(node, "ngram_counts[%d] is %lld in a pool of %d tokens", i, (long long)v->starts[i],
                       v->pool_size);
  return true;
}

static bool read_columns(Vectorizer *v) {
  for (int i = 0; i < v->gram_count; i++) {
    if (v->columns[i] < 0 || v->columns[i] >= INT32_MAX)
      return onnx_fail(v->node, "ngram_indexes[%d] is %lld", i, (long long)v->columns[i]);
    if (v->columns[i] >= v->width) v->width = (int)v->columns[i] + 1;
  }
  if (v->width > (1 << 24)) return onnx_fail(v->node, "ngram_indexes goes to %d", v->width - 1);
  v->sources = NEW_ARRAY(v->node->module->arena, int64_t, v->width);
  for (int i = 0; i < v->width; i++) v->sources[i] = -1;
  return true;
}

static Grams grams_of_length(const Vectorizer *v, int length) {
  int64_t from = v->starts[length - 1], to = length < v->lengths ? v->starts[length] : v->pool_size;
  return (Grams){v->pool + from, length, (int)((to - from) / length)};
}

/* ---- Counting */

static Value *int_constant(OnnxNode *node, Dtype dtype, const int64_t *values, int64_t count) {
  Data *data = data_new(node->module, dtype, count);
  for (int64_t i = 0; i < count; i++) dtype_set_int(dtype, data_bytes(data), i, values[i]);
  return build_const(&node->builder, type_static(node->module, dtype, 1, &count), data, NULL);
}

/* Token k of every n-gram. */
static Value *pool_column(const Vectorizer *v, const Grams *grams, int k) {
  int64_t *tokens = NEW_ARRAY(v->node->module->arena, int64_t, grams->count);
  for (int i = 0; i < grams->count; i++) tokens[i] = grams->tokens[i * grams->length + k];
  return int_constant(v->node, DTYPE_I64, tokens, grams->count);
}

/* How often the n-grams stand in a row with `step` from token to token: [N,grams]. */
static Value *count_places(const Vectorizer *v, const Grams *grams, int64_t step) {
  OnnxNode *node = v->node;
  Module *module = node->module;
  const Dim *zero = dim_const(module, 0), *rows = v->rows->type->dims[0], *size = v->rows->type->dims[1];
  const Dim *places = dim_sub(module, size, dim_const(module, (grams->length - 1) * step));
  places = dim_make(module, DIM_MAX, places, zero);
  Value *all = NULL;
  for (int k = 0; k < grams->length; k++) {
    const Dim *start = dim_make(module, DIM_MIN, dim_const(module, k * step), size);
    Value *token = emit_slice(node, v->rows, (const Dim *[]){zero, start}, (const Dim *[]){rows, places},
                              (int64_t[]){1, 1});
    Value *same = emit_binary(node, &op_equal, emit_unsqueeze(node, token, 0, 1), pool_column(v, grams, k));
    all = k ? emit_binary(node, &op_and, all, same) : same;
  }
  Value *count = emit_reduce(node, &op_reduce_sum, emit_cast(node, all, DTYPE_F32), (int64_t[]){1}, 1);
  return emit_reshape(node, count, 2, (const Dim *[]){rows, dim_const(module, grams->count)});
}

static bool fits(const Vectorizer *v, const Grams *grams, int64_t step) {
  const Dim *size = v->rows->type->dims[1];
  return !dim_is_const(size) || size->value >= (grams->length - 1) * step + 1;
}

/* `first`: the number of the first of them in ngram_indexes. */
static bool count_grams(Vectorizer *v, const Grams *grams, int first) {
  Value *sum = NULL;
  for (int64_t step = 1; step <= (grams->length > 1 ? v->max_skip : 0) + 1 && fits(v, grams, step); step++) {
    Value *count = count_places(v, grams, step);
    TRY(count);
    sum = sum ? emit_binary(v->node, &op_add, sum, count) : count;
  }
  if (!sum) return true;
  for (int i = 0; i < grams->count; i++) {
    int64_t *source = &v->sources[v->columns[first + i]];
    if (*source >= 0)
      return onnx_fail(v->node, "ngram_indexes has %lld twice", (long long)v->columns[first + i]);
    *source = v->columns_filled + i;
  }
  v->columns_filled += grams->count;
  v->counts[v->part_count++] = sum;
  return true;
}

static bool count_all(Vectorizer *v) {
  enum { MAX_LENGTH = 64, MAX_SKIP = 64 };
  OnnxNode *node = v->node;
  int64_t min = attr_int(node, "min_gram_length", 1), max = attr_int(node, "max_gram_length", 1),
          skips = attr_int(node, "max_skip_count", 0);
  if (min < 1 || max < min || v->lengths > MAX_LENGTH)
    return onnx_fail(node, "n-grams of %lld to %lld tokens, with %d ngram_counts", (long long)min,
                     (long long)max, v->lengths);
  if (skips < 0 || skips > MAX_SKIP) return onnx_fail(node, "max_skip_count is %lld", (long long)skips);
  v->max_skip = (int)skips;
  v->counts = NEW_ARRAY(node->module->arena, Value *, v->lengths + 1);
  int first = 0;
  for (int length = 1; length <= v->lengths; length++) {
    Grams grams = grams_of_length(v, length);
    if (grams.count > v->gram_count - first)
      return onnx_fail(node, "more n-grams in the pool than the %d in ngram_indexes", v->gram_count);
    if (grams.count && length >= min && length <= max) TRY(count_grams(v, &grams, first));
    first += grams.count;
  }
  return true;
}

/* ---- The result */

/* The counts in the columns that ngram_indexes gives; 0 where it gives nothing. */
static Value *arrange(Vectorizer *v) {
  OnnxNode *node = v->node;
  const Dim *column[] = {v->rows->type->dims[0], dim_const(node->module, 1)};
  v->counts[v->part_count++] = emit_broadcast(node, build_scalar(&node->builder, DTYPE_F32, 0),
                                              type_make(node->module, DTYPE_F32, 2, column));
  for (int i = 0; i < v->width; i++)
    if (v->sources[i] < 0) v->sources[i] = v->columns_filled;
  Node *concat = node_new(&node->builder, &op_concat, v->counts, v->part_count);
  node_set_int(concat, "axis", 1);
  Value *counts = finish(concat), *sources = int_constant(node, DTYPE_I64, v->sources, v->width);
  if (!counts) return NULL;
  Node *gather = node_new(&node->builder, &op_gather, (Value *[]){counts, sources}, 2);
  node_set_int(gather, "axis", 1);
  return finish(gather);
}

static Value *weighted(Vectorizer *v, Value *counts) {
  OnnxNode *node = v->node;
  const char *mode = attr_string(node, "mode", "");
  int count;
  const float *given = attr_floats(node, "weights", &count);
  bool idf = strcmp(mode, "IDF") == 0;
  if (!counts || strcmp(mode, "TF") == 0) return counts;
  if ((!idf && strcmp(mode, "TFIDF") != 0) || (given && count < v->width)) {
    onnx_fail(node, "mode '%s' with %d weights for %d columns", mode, count, v->width);
    return NULL;
  }
  Data *data = data_splat(node->module, DTYPE_F32, v->width, 1);
  if (given) data = data_copy(node->module, DTYPE_F32, v->width, given);
  const Type *type = type_static(node->module, DTYPE_F32, 1, (int64_t[]){v->width});
  Value *weights = build_const(&node->builder, type, data, NULL), *zero = emit_scalar(node, counts, 0);
  if (!idf) return emit_binary(node, &op_mul, counts, weights);
  return emit_where(node, emit_binary(node, &op_greater, counts, zero), weights, zero);
}

static bool import_tfidf(OnnxNode *node) {
  Value *x = input(node, 0);
  int rank = input_rank(node, 0);
  Vectorizer v = {.node = node};
  if (rank != 1 && rank != 2)
    return onnx_fail(node, "x is %s, not rows of tokens", type_text(node->module, x->type));
  v.rows = rank == 1 ? emit_unsqueeze(node, x, 1, 0) : x;
  TRY(v.rows && read_pool(&v) && read_columns(&v));
  TRY(count_all(&v));
  Value *y = weighted(&v, arrange(&v));
  const Dim *width = dim_const(node->module, v.width);
  return set_output(node, rank == 1 ? emit_reshape(node, y, 1, &width) : y);
}

static const OnnxRow rows[] = {
    {"TfIdfVectorizer", 9, 1, 1, import_tfidf, NULL},
};

const OnnxRows onnx_tfidf = {rows, COUNT_OF(rows)};
