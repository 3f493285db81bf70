/*
 * attention.c -- Attention, AdditiveAttention, MultiHeadAttention and GroupQueryAttention.
 *
 * The two with heads project queries, keys and values, and become the core op `attention`; only where the
 * scores themselves are wanted they are computed apart. Axes that are not attended over join the batch, those
 * that are join each other.
 *
 * A key that does not count gets a score so low that it vanishes, and if none of a query's keys counts, all
 * weigh the same. The masks of queries and values come with these tensors or are given by name.
 */
#include "frontend/keras/keras.h"
#include <math.h>
#include <string.h>

/* ---- masks: bool, of a rank that the scores have ---- */

static Value *both(Call *call, Value *a, Value *b) {
  return a && b ? make_binary(call, &op_and, a, b) : a ? a : b;
}

/* [1.., m, n]: how far key j is before query i. */
static Value *distances(Call *call, const Dim *queries, const Dim *keys, int rank) {
  const Dim *rows[MAX_RANK], *columns[MAX_RANK];
  for (int i = 0; i < rank; i++) rows[i] = columns[i] = dim_const(call->import->module, 1);
  rows[rank - 2] = queries;
  columns[rank - 1] = keys;
  return make_binary(call, &op_sub, make_iota(call, DTYPE_I64, rank, rows, rank - 2),
                     make_iota(call, DTYPE_I64, rank, columns, rank - 1));
}

/* A query sees the keys up to its own place. */
static Value *causal(Call *call, const Dim *queries, const Dim *keys, int rank) {
  return make_number(call, &op_greater_or_equal, distances(call, queries, keys, rank), 0);
}

/* A query sees the keys less than `window` away, on both sides. */
static Value *banded(Call *call, const Dim *queries, const Dim *keys, int rank, int64_t window) {
  Value *away = make_unary(call, &op_abs, distances(call, queries, keys, rank));
  return make_number(call, &op_less, away, (double)window);
}

/* The addend of the scores; `mask` NULL: NULL. */
static Value *addend(Call *call, Value *mask, Dtype dtype) {
  return make_where(call, mask, build_scalar(call->builder, dtype, 0),
                    build_scalar(call->builder, dtype, MASKED_SCORE));
}

/* A mask of steps, [b, n], as [b, 1.., n] or [b, 1.., n, 1]. */
static Value *steps_mask(Call *call, Value *mask, int rank, bool of_queries) {
  if (mask && of_queries) mask = make_unsqueeze(call, mask, 2);
  while (mask && mask->type->rank < rank) mask = make_unsqueeze(call, mask, 1);
  return mask;
}

/* ---- Attention, AdditiveAttention: [b, m, d], [b, n, e], [b, n, d] ---- */

static Value *dot_scores(Call *call, Value *q, Value *k) {
  Value *scores = make_binary(call, &op_matmul, q, make_transpose(call, k, (int64_t[]){0, 2, 1}));
  if (!scores || !call_has_weight(call, "scale")) return scores;
  return make_binary(call, &op_mul, scores, call_weight(call, "scale", q, 0, NULL));
}

/* sum over the channels of tanh(q + k), for every pair; the scale is of the sum or behind the tanh. */
static Value *sum_scores(Call *call, Value *q, Value *k, bool scales_inside) {
  Value *sum = make_binary(call, &op_add, make_unsqueeze(call, q, 2), make_unsqueeze(call, k, 1));
  int64_t channels = -1;
  if (!sum) return NULL;
  Value *scale =
      call_has_weight(call, "scale") ? call_weight(call, "scale", q, scales_inside ? 0 : 1, &channels) : NULL;
  if (scale && scales_inside) sum = make_binary(call, &op_mul, sum, scale);
  sum = make_unary(call, &op_tanh, sum);
  if (scale && !scales_inside) sum = make_binary(call, &op_mul, sum, scale);
  return make_squeeze(call, make_reduce(call, &op_reduce_sum, sum, (int64_t[]){3}, 1), 3);
}

static Value *concat_scores(Call *call, Value *q, Value *k) {
  return make_binary(call, &op_mul, sum_scores(call, q, k, true),
                     call_weight(call, "concat_score_weight", q, 0, NULL));
}

static Value *softmax_last(Call *call, Value *x) {
  return make_unary(call, &op_softmax, x); /* along the last axis */
}

static bool check_three(Call *call) {
  for (int i = 0; i < call->input_count; i++)
    if (call->inputs[i]->type->rank != 3)
      return call_fail(call, "its input %d has %d axes, not 3", i, call->inputs[i]->type->rank);
  return true;
}

static Value *attend(Call *call, Value *(*score)(Call *call, Value *q, Value *k)) {
  if (!check_three(call)) return NULL;
  Value *q = call_float_input(call, 0), *v = call_float_input(call, 1);
  Value *k = call->input_count > 2 ? call_float_input(call, 2) : v;
  Value *scores = q && k ? score(call, q, k) : NULL;
  if (!scores) return NULL;
  Value *mask = steps_mask(call, call->masks[1], 3, false);
  if (call_argument_flag(call, 4, "use_causal_mask") || json_flag(call->config, "causal", false))
    mask = both(call, mask, causal(call, scores->type->dims[1], scores->type->dims[2], 3));
  if (mask) scores = make_binary(call, &op_add, scores, addend(call, mask, scores->type->dtype));
  Value *weights = softmax_last(call, scores), *y = make_binary(call, &op_matmul, weights, v);
  if (y && call->masks[0])
    y = make_binary(call, &op_mul, y,
                    make_cast(call, steps_mask(call, call->masks[0], 3, true), y->type->dtype));
  call->mask = call->masks[0];
  if (y && call_argument_flag(call, 3, "return_attention_scores")) call_also(call, weights);
  return y;
}

static Value *additive_scores(Call *call, Value *q, Value *k) {
  return sum_scores(call, q, k, false);
}

static Value *attention(Call *call) {
  bool is_dot = strcmp(json_text(call->config, "score_mode", "dot"), "concat");
  return attend(call, is_dot ? dot_scores : concat_scores);
}
static Value *additive_attention(Call *call) {
  return attend(call, additive_scores);
}

/* ---- with heads ---- */

typedef struct Heads {
  Call *call;
  Masked query, value, key;
  int64_t heads, groups, key_size, value_size;
  int64_t window;         /* 0: none */
  int rank;               /* of query, key and value */
  int64_t perm[MAX_RANK]; /* the axes: batch, those not attended over, those that are, channels */
  int batch;              /* how many are before those attended over */
} Heads;

static bool find_tensor(Call *call, int position, const char *name, Masked *found) {
  *found = call_named(call, position, name);
  if (!call->from && position < call->input_count)
    *found = (Masked){call->inputs[position], call->masks[position]};
  char mask_name[32];
  snprintf(mask_name, sizeof mask_name, "%s_mask", name);
  Masked mask = call_named(call, position + 3, mask_name);
  if (mask.value) found->mask = mask.value;
  found->value = found->value ? call_float(call, found->value) : NULL;
  return found->value != NULL;
}

/* Query, value, and key, which is the value when it is not given. */
static bool find_tensors(Heads *h) {
  if (!find_tensor(h->call, 0, "query", &h->query) || !find_tensor(h->call, 1, "value", &h->value))
    return call_fail(h->call, "it needs a query and a value");
  if (!find_tensor(h->call, 2, "key", &h->key)) h->key = (Masked){h->value.value, NULL};
  h->rank = h->query.value->type->rank;
  if (h->rank < 3 || h->value.value->type->rank != h->rank || h->key.value->type->rank != h->rank)
    return call_fail(h->call, "its query has %d axes, its value %d, its key %d", h->rank,
                     h->value.value->type->rank, h->key.value->type->rank);
  return true;
}

/* attention_axes count the axes of the query; absent: all between batch and channels. */
static bool read_axes(Heads *h) {
  const cJSON *item = json_member(h->call->config, "attention_axes");
  bool attended[MAX_RANK] = {0};
  int count = cJSON_IsArray(item) ? cJSON_GetArraySize(item) : item != NULL;
  for (int i = 1; !item && i < h->rank - 1; i++) attended[i] = true;
  for (int i = 0; i < count; i++) {
    int64_t axis;
    if (!call_axis(h->call, cJSON_IsArray(item) ? json_at(item, i) : item, h->rank, &axis)) return false;
    if (axis == 0 || axis == h->rank - 1 || attended[axis])
      return call_fail(h->call, "it cannot attend over axis %lld", (long long)axis);
    attended[axis] = true;
  }
  h->batch = 0;
  for (int i = 0; i < h->rank - 1; i++)
    if (!attended[i]) h->perm[h->batch++] = i;
  for (int i = 0, k = h->batch; i < h->rank; i++)
    if (attended[i] || i == h->rank - 1) h->perm[k++] = i;
  return true;
}

static const Dim *product(Call *call, Value *x, int from, int to) {
  const Dim *size = dim_const(call->import->module, 1);
  for (int i = from; i < to; i++) size = dim_mul(call->import->module, size, x->type->dims[i]);
  return size;
}

/* [batch, steps, channels] */
static Value *as_steps(Heads *h, Value *x) {
  Call *call = h->call;
  if (h->rank == 3) return x;
  x = make_transpose(call, x, h->perm);
  if (!x) return NULL;
  const Dim *dims[] = {product(call, x, 0, h->batch), product(call, x, h->batch, h->rank - 1),
                       x->type->dims[h->rank - 1]};
  return make_reshape(call, x, 3, dims);
}

/* x . kernel + bias for all heads: [b, n, heads, size] from weights [d, heads, size] and [heads, size]. */
static Value *project(Heads *h, const char *part, Value *x, int64_t heads, int64_t size) {
  Call *call = h->call;
  Module *module = call->import->module;
  char name[64];
  int64_t dims[] = {-1, heads, size};
  snprintf(name, sizeof name, "%s/kernel", part);
  Value *kernel = x ? call_weight(call, name, x, 3, dims) : NULL;
  if (!kernel) return NULL;
  const Dim *flat[] = {kernel->type->dims[0], dim_const(module, heads * size)};
  x = make_binary(call, &op_matmul, x, make_reshape(call, kernel, 2, flat));
  snprintf(name, sizeof name, "%s/bias", part);
  if (x && call_has_weight(call, name))
    x = make_binary(call, &op_add, x,
                    make_reshape(call, call_weight(call, name, x, 2, dims + 1), 1, flat + 1));
  if (!x) return NULL;
  const Dim *split[] = {x->type->dims[0], x->type->dims[1], dim_const(module, heads),
                        dim_const(module, size)};
  return make_reshape(call, x, 4, split);
}

/* All masks together, [b, h, m, n]; false with a Diag. */
static bool find_mask(Heads *h, const Value *q, const Value *k, Value **mask) {
  Call *call = h->call;
  Value *given = call_named(call, 6, "attention_mask").value;
  if (given && given->type->dtype != DTYPE_BOOL) given = make_cast(call, given, DTYPE_BOOL);
  while (given && given->type->rank < 4) given = make_unsqueeze(call, given, given->type->rank < 3 ? 0 : 1);
  *mask = both(call, steps_mask(call, h->query.mask, 4, true), steps_mask(call, h->value.mask, 4, false));
  *mask = both(call, *mask, steps_mask(call, h->key.mask, 4, false));
  *mask = both(call, *mask, given);
  if (call_argument_flag(call, 9, "use_causal_mask"))
    *mask = both(call, *mask, causal(call, q->type->dims[1], k->type->dims[1], 4));
  if (h->window) *mask = both(call, *mask, banded(call, q->type->dims[1], k->type->dims[1], 4, h->window));
  return !*mask || h->rank == 3 || call_fail(call, "masks for attention over several axes are not supported");
}

static const int64_t by_heads[] = {0, 2, 1, 3};

/* Explicitly: the softmax of q k^T, [b, h, m, n], with keys that each serve several heads repeated. */
static Value *scores_of(Heads *h, Value *q, Value *k, Value *mask) {
  Call *call = h->call;
  Module *module = call->import->module;
  if (h->groups < h->heads) {
    k = make_unsqueeze(call, k, 3);
    if (!k) return NULL;
    const Dim *dims[5], *joined[4];
    memcpy(dims, k->type->dims, sizeof dims);
    dims[3] = dim_const(module, h->heads / h->groups);
    k = build_broadcast(call->builder, k, 5, dims);
    memcpy(joined, (const Dim *[]){dims[0], dims[1], dim_const(module, h->heads), dims[4]}, sizeof joined);
    k = make_reshape(call, k, 4, joined);
  }
  Value *scores = make_binary(call, &op_matmul, make_transpose(call, q, by_heads),
                              make_transpose(call, k, (int64_t[]){0, 2, 3, 1}));
  scores = make_number(call, &op_mul, scores, 1 / sqrt((double)h->key_size));
  if (mask) scores = make_binary(call, &op_add, scores, mask);
  return softmax_last(call, scores);
}

/* The last product, [b, m, h, e] with [h, e, out..], and the axes as they were in the query. */
static Value *finish_heads(Heads *h, Value *y) {
  Call *call = h->call;
  const StoredArray *stored = call_stored(call, "output_dense/kernel");
  int out_rank = stored ? stored->rank - 2 : 0;
  int64_t sizes[MAX_RANK] = {h->heads, h->value_size, -1, -1, -1, -1};
  if (out_rank < 1 || out_rank > 4 || h->rank - 1 + out_rank > MAX_RANK)
    return call_null(call, "its output has %d axes", out_rank);
  Value *kernel = y ? call_weight(call, "output_dense/kernel", y, out_rank + 2, sizes) : NULL;
  if (!kernel) return NULL;
  const Dim *inner = dim_const(call->import->module, h->heads * h->value_size);
  const Dim *flat[] = {inner, product(call, kernel, 2, out_rank + 2)};
  const Dim *steps[] = {y->type->dims[0], y->type->dims[1], inner};
  y = make_binary(call, &op_matmul, make_reshape(call, y, 3, steps), make_reshape(call, kernel, 2, flat));
  if (y && call_has_weight(call, "output_dense/bias"))
    y = make_binary(
        call, &op_add, y,
        make_reshape(call, call_weight(call, "output_dense/bias", y, out_rank, sizes + 2), 1, flat + 1));
  if (!y) return NULL;
  const Dim *dims[2 * MAX_RANK];
  int64_t back[2 * MAX_RANK];
  int rank = h->rank - 1 + out_rank;
  for (int i = 0; i < h->rank - 1; i++) {
    dims[i] = h->query.value->type->dims[h->perm[i]];
    back[h->perm[i]] = i;
  }
  for (int i = 0; i < out_rank; i++) {
    dims[h->rank - 1 + i] = kernel->type->dims[2 + i];
    back[h->rank - 1 + i] = h->rank - 1 + i;
  }
  return make_transpose(call, make_reshape(call, y, rank, dims), back);
}

/* With use_gate each element of what a head gives is weighed by a function of the query. */
static Value *gated(Heads *h, Value *y) {
  if (!y || !call_has_weight(h->call, "gate_dense/kernel")) return y;
  Value *gate = project(h, "gate_dense", as_steps(h, h->query.value), h->heads, h->value_size);
  return make_binary(h->call, &op_mul, y, make_unary(h->call, &op_sigmoid, gate));
}

static Value *attend_heads(Heads *h) {
  Call *call = h->call;
  Value *q = project(h, "query_dense", as_steps(h, h->query.value), h->heads, h->key_size);
  Value *k = project(h, "key_dense", as_steps(h, h->key.value), h->groups, h->key_size);
  Value *v = project(h, "value_dense", as_steps(h, h->value.value), h->groups, h->value_size);
  Value *mask = NULL;
  if (!q || !k || !v || !find_mask(h, q, k, &mask)) return NULL;
  if (mask) mask = addend(call, mask, q->type->dtype);
  if (call_argument_flag(call, 7, "return_attention_scores")) {
    Value *scores = scores_of(h, q, k, mask);
    if (!scores) return NULL;
    call_also(call, scores);
  }
  Value *operands[] = {q, k, v, mask};
  Node *node = node_new(call->builder, &op_attention, operands, mask ? 4 : 3);
  node_set_float(node, "scale", 1 / sqrt((double)h->key_size));
  static const char *const perms[] = {"q_perm", "k_perm", "v_perm", "y_perm"};
  for (int i = 0; i < COUNT_OF(perms); i++) node_set_ints(node, perms[i], by_heads, 4);
  call->mask = h->query.mask;
  return finish_heads(h, gated(h, make(node)));
}

static bool read_sizes(Heads *h, const char *heads, const char *groups, const char *key, const char *value) {
  Call *call = h->call;
  TRY(call_int(call, heads, 0, &h->heads) && call_int(call, key, 0, &h->key_size));
  TRY(call_int(call, groups, h->heads, &h->groups) && call_int(call, value, h->key_size, &h->value_size));
  if (h->heads < 1 || h->groups < 1 || h->heads % h->groups || h->key_size < 1 || h->value_size < 1 ||
      h->heads > 1 << 20 || h->key_size > 1 << 20 || h->value_size > 1 << 20)
    return call_fail(call, "%lld heads in %lld groups of sizes %lld and %lld make no sense",
                     (long long)h->heads, (long long)h->groups, (long long)h->key_size,
                     (long long)h->value_size);
  TRY(call_int(call, "sliding_window", 0, &h->window));
  return h->window >= 0 || call_fail(call, "a sliding window of %lld makes no sense", (long long)h->window);
}

static Value *multi_head_attention(Call *call) {
  Heads h = {.call = call};
  bool good =
      read_sizes(&h, "num_heads", "num_heads", "key_dim", "value_dim") && find_tensors(&h) && read_axes(&h);
  return good ? attend_heads(&h) : NULL;
}

static Value *group_query_attention(Call *call) {
  Heads h = {.call = call};
  bool good = read_sizes(&h, "num_query_heads", "num_key_value_heads", "head_dim", "head_dim") &&
              find_tensors(&h) && read_axes(&h);
  return good ? attend_heads(&h) : NULL;
}

#define HEAD_WEIGHTS                                                                                         \
  "query_dense/kernel query_dense/bias?use_bias key_dense/kernel key_dense/bias?use_bias "                   \
  "gate_dense/kernel?use_gate=true gate_dense/bias?use_gate=true&use_bias "                                  \
  "value_dense/kernel value_dense/bias?use_bias output_dense/kernel output_dense/bias?use_bias"

const LayerKind attention_layers[] = {
    {"AdditiveAttention", additive_attention, 2, 3, "scale?use_scale", MASK_OWN},
    {"Attention", attention, 2, 3, "scale?use_scale concat_score_weight?score_mode=concat", MASK_OWN},
    {"GroupQueryAttention", group_query_attention, 1, 3, HEAD_WEIGHTS, MASK_OWN},
    {"GroupedQueryAttention", group_query_attention, 1, 3, HEAD_WEIGHTS, MASK_OWN},
    {"MultiHeadAttention", multi_head_attention, 1, 3, HEAD_WEIGHTS, MASK_OWN},
    {0},
};
