/*
 * attention_microsoft.c -- attention operators of com.microsoft, which ONNX Runtime's optimizer and exporters
 * of language models write.
 *
 * A mask of these operators adds a number (mask_filter_value) instead of -inf, so that a query without any
 * key gives the same as one without mask; only what lies in the future is never seen.
 */
#include "frontend/onnx/attention.h"

#include <math.h>
#include <string.h>

enum { AXES = 4 };

static const Dim *one(OnnxNode *node) {
  return dim_const(node->module, 1);
}

/* ---- shared */

static bool add_bias(OnnxNode *node, Attention *a, Value *bias) {
  if (!bias) return true;
  bias = fit_mask(node, a, bias, 0);
  a->bias = a->bias ? emit_binary(node, &op_add, a->bias, bias) : bias;
  return a->bias != NULL;
}

/* What is not kept loses mask_filter_value. */
static bool add_filter(OnnxNode *node, Attention *a, Value *keep) {
  Value *zero = emit_scalar(node, a->q.x, 0);
  Value *filter = emit_scalar(node, a->q.x, attr_float(node, "mask_filter_value", -10000));
  Value *addend = emit_where(node, keep, zero, filter);
  return addend && add_bias(node, a, addend);
}

/* Keys up to the query's position; `offset` of them before the first query. */
static bool add_causal(OnnxNode *node, Attention *a, const Dim *offset) {
  Value *queries = emit_range(node, offset, heads_positions(&a->q), true);
  Value *keys = emit_range(node, dim_const(node->module, 0), heads_positions(&a->k), false);
  a->allowed = both(node, a->allowed, emit_binary(node, &op_less_or_equal, keys, queries));
  return a->allowed != NULL;
}

static Value *slice_axis(OnnxNode *node, Value *x, int axis, const Dim *first, const Dim *size) {
  const Dim *starts[MAX_RANK], *sizes[MAX_RANK];
  int64_t steps[MAX_RANK];
  if (!x) return NULL;
  for (int i = 0; i < x->type->rank; i++) {
    starts[i] = i == axis ? first : dim_const(node->module, 0);
    sizes[i] = i == axis ? size : x->type->dims[i];
    steps[i] = 1;
  }
  return emit_slice(node, x, starts, sizes, steps);
}

/* One number per batch, of part `part` of the parts that an index mask is made of, as [b, 1, 1, 1]. */
static Value *index_column(OnnxNode *node, Value *index, const Dim *batch, int part) {
  const Dim *const column[] = {batch, one(node), one(node), one(node)};
  const Dim *first = dim_mul(node->module, batch, dim_const(node->module, part));
  return emit_reshape(node, emit_cast(node, slice_axis(node, index, 0, first, batch), DTYPE_I64), AXES,
                      column);
}

/*
 * mask_index and key_padding_mask: [b] counts of keys; [2*b] ends, then begins; [b, keys]; [b, queries,
 * keys]; [b, 1, max, max], of which rows from `past` on are meant.
 */
static bool add_index_mask(OnnxNode *node, Attention *a, Value *mask, const Dim *past) {
  if (!mask) return true;
  Module *module = node->module;
  const Dim *batch = a->q.x->type->dims[0];
  const Dim *m = heads_positions(&a->q), *n = heads_positions(&a->k), *const *d = mask->type->dims;
  Value *keys = emit_range(node, dim_const(module, 0), n, false), *keep;
  if (mask->type->rank == 1) {
    bool has_begins = d[0] == dim_mul(module, batch, dim_const(module, 2)) && d[0] != batch;
    if (d[0] != batch && !has_begins)
      return onnx_fail(node, "a mask of %s for a batch of %s", type_text(module, mask->type),
                       dim_text(module, batch));
    keep = emit_binary(node, &op_less, keys, index_column(node, mask, batch, 0));
    if (has_begins)
      keep =
          both(node, keep, emit_binary(node, &op_greater_or_equal, keys, index_column(node, mask, batch, 1)));
    return add_filter(node, a, keep);
  }
  if (mask->type->rank > AXES) return onnx_fail(node, "a mask of %s", type_text(module, mask->type));
  keep = emit_cast(node, mask, DTYPE_BOOL);
  if (mask->type->rank == AXES) {
    keep = slice_axis(node, slice_axis(node, keep, 2, past, m), 3, dim_const(module, 0), n);
  } else {
    const Dim *const rows[] = {d[0], one(node), mask->type->rank == 3 ? d[1] : one(node),
                               d[mask->type->rank - 1]};
    keep = fit_mask(node, a, emit_reshape(node, keep, AXES, rows), 0);
  }
  return keep && add_filter(node, a, keep);
}

/* Part of a bias [hq + hk + hv] added to x [b, s, h*d]. */
static Value *biased(OnnxNode *node, Value *x, Value *bias, const Dim **first) {
  if (!bias || !x) return x;
  const Dim *size = x->type->dims[x->type->rank - 1];
  Value *part = slice_axis(node, bias, 0, *first, size);
  *first = dim_add(node->module, *first, size);
  return emit_binary(node, &op_add, x, part);
}

/* ---- MultiHeadAttention */

enum { QUERY, KEY, VALUE, BIAS, PADDING, ATTENTION_BIAS, PAST_KEY, PAST_VALUE, PAST_LENGTH }; /* inputs */
enum { OUT, PRESENT_KEY, PRESENT_VALUE, SCORES };                                             /* outputs */

/* Tensor `part` of a packed [b, s, h, parts, d], as [b, s, h*d]. */
static Value *unpack(OnnxNode *node, Value *packed, int part) {
  const Dim *const *d = packed->type->dims;
  const Dim *const dims[] = {d[0], d[1], dim_mul(node->module, d[2], d[4])};
  return emit_reshape(node, slice_axis(node, packed, 3, dim_const(node->module, part), one(node)), 3, dims);
}

/* q, k and v of [b, s, h*d]; k and v may be [b, h, n, d] already. */
static bool read_inputs(OnnxNode *node, Value **x) {
  for (int i = 0; i < 3; i++) x[i] = input(node, i);
  int packed_at = x[0]->type->rank == 5 ? 0 : 1, parts = packed_at == 0 ? 3 : 2;
  Value *packed = x[packed_at];
  if (!packed) return onnx_fail(node, "input %d is missing", packed_at);
  if (packed->type->rank == 5) {
    if (!dim_is(packed->type->dims[3], parts))
      return onnx_fail(node, "%s is no packed tensor of %d", type_text(node->module, packed->type), parts);
    for (int i = 0; i < parts; i++) x[packed_at + i] = unpack(node, packed, i);
  }
  for (int i = 0; i < 3; i++)
    if (!x[i]) return onnx_fail(node, "input %d is missing", i);
  return true;
}

static bool read_multi_heads(OnnxNode *node, Attention *a) {
  Value *x[3];
  Heads *const sides[] = {&a->q, &a->k, &a->v};
  int64_t count = attr_int(node, "num_heads", 0);
  const Dim *at = dim_const(node->module, 0);
  TRY(read_inputs(node, x));
  for (int i = 0; i < 3; i++) {
    bool is_split = i > 0 && x[i]->type->rank == AXES;
    if (is_split)
      *sides[i] = (Heads){x[i], false};
    else
      TRY(heads_split(node, biased(node, x[i], input(node, BIAS), &at), count, sides[i]));
  }
  return true;
}

static bool import_multi_head(OnnxNode *node) {
  Attention a = {0};
  Value *const past[] = {input(node, PAST_KEY), input(node, PAST_VALUE)};
  if (input(node, PAST_LENGTH)) return onnx_fail(node, "past and present in one buffer are not supported");
  if (!past[0] != !past[1]) return onnx_fail(node, "past_key and past_value come together or not at all");
  TRY(read_multi_heads(node, &a) && read_scale(node, &a));
  Heads *const sides[] = {&a.k, &a.v};
  for (int i = 0; i < 2; i++) {
    *sides[i] = heads_append(node, past[i], sides[i]);
    if (!sides[i]->x) return false;
    if (node->output_count > PRESENT_KEY + i)
      node->outputs[PRESENT_KEY + i] = heads_canonical(node, sides[i]);
  }
  const Dim *offset = dim_sub(node->module, heads_positions(&a.k), heads_positions(&a.q));
  TRY(add_index_mask(node, &a, input(node, PADDING), offset) &&
      add_bias(node, &a, input(node, ATTENTION_BIAS)));
  if (attr_bool(node, "unidirectional", false)) TRY(add_causal(node, &a, offset));
  if (node->output_count > SCORES) node->outputs[SCORES] = emit_scores(node, &a, SCORE_PRODUCT);
  Heads y = emit_attention(node, &a);
  return set_output(node, heads_merge(node, &y));
}

/* ---- Attention: the projections, too */

enum { X, WEIGHTS, PROJECTION_BIAS, MASK_INDEX, PAST, SCORE_BIAS };

/* Sizes of q, k and v in the projection. */
static bool projection_sizes(OnnxNode *node, const Dim **sizes) {
  int count;
  const int64_t *given = attr_ints(node, "qkv_hidden_sizes", &count);
  const Type *weights = input(node, WEIGHTS)->type;
  if (weights->rank != 2 || (given && count != 3))
    return onnx_fail(node, "weights %s, %d qkv_hidden_sizes", type_text(node->module, weights), count);
  for (int i = 0; i < 3; i++)
    sizes[i] = given ? dim_const(node->module, given[i])
                     : dim_floordiv(node->module, weights->dims[1], dim_const(node->module, 3));
  return true;
}

static bool project(OnnxNode *node, Attention *a) {
  const Dim *sizes[3], *first = dim_const(node->module, 0);
  Heads *const sides[] = {&a->q, &a->k, &a->v};
  TRY(projection_sizes(node, sizes));
  Value *all = emit_binary(node, &op_matmul, input(node, X), input(node, WEIGHTS));
  if (input(node, PROJECTION_BIAS)) all = emit_binary(node, &op_add, all, input(node, PROJECTION_BIAS));
  for (int i = 0; i < 3; i++) {
    TRY(heads_split(node, slice_axis(node, all, 2, first, sizes[i]), attr_int(node, "num_heads", 0),
                    sides[i]));
    first = dim_add(node->module, first, sizes[i]);
  }
  return true;
}

/* past and present hold keys, then values: [2, b, h, positions, d]. */
static bool append_stacked(OnnxNode *node, Attention *a) {
  Value *past = input(node, PAST), *presents[2];
  Heads *const sides[] = {&a->k, &a->v};
  if (past && past->type->rank != 5)
    return onnx_fail(node, "a past of %s", type_text(node->module, past->type));
  for (int i = 0; i < 2; i++) {
    Value *part = slice_axis(node, past, 0, dim_const(node->module, i), one(node));
    if (part) part = emit_reshape(node, part, AXES, past->type->dims + 1);
    if (past && !part) return false;
    *sides[i] = heads_append(node, part, sides[i]);
    if (!sides[i]->x) return false;
  }
  if (node->output_count < 2) return true;
  for (int i = 0; i < 2; i++) presents[i] = emit_unsqueeze(node, heads_canonical(node, sides[i]), 1, 0);
  if (!presents[0] || !presents[1]) return false;
  Node *core = node_new(&node->builder, &op_concat, presents, 2);
  node_set_int(core, "axis", 0);
  return (node->outputs[1] = finish(core)) != NULL;
}

static bool import_packed_attention(OnnxNode *node) {
  Attention a = {0};
  if (attr_bool(node, "do_rotary", false)) return onnx_fail(node, "do_rotary is not supported");
  if (attr_bool(node, "past_present_share_buffer", false))
    return onnx_fail(node, "past and present in one buffer are not supported");
  TRY(project(node, &a) && read_scale(node, &a) && append_stacked(node, &a));
  const Dim *offset = dim_sub(node->module, heads_positions(&a.k), heads_positions(&a.q));
  TRY(add_index_mask(node, &a, input(node, MASK_INDEX), offset));
  TRY(add_bias(node, &a, input(node, SCORE_BIAS)));
  if (attr_bool(node, "unidirectional", false)) TRY(add_causal(node, &a, offset));
  Heads y = emit_attention(node, &a);
  return set_output(node, heads_merge(node, &y));
}

/* ---- GroupQueryAttention */

enum {
  GROUP_PAST = 3,
  LENGTHS = 5,
  TOTAL,
  COS,
  SIN,
  POSITION_IDS,
  GROUP_BIAS,
  HEAD_SINK,
  K_SCALE,
  V_SCALE,
  Q_NORM,
  K_NORM
};

/*
 * Keys and values of a batch: its past, then the new ones, then what is not used. `past` [b, 1] says how long
 * its past is, seqlens_k + 1 less the new ones; for a first prompt, padded at its end, that is negative:
 * none.
 */
typedef struct Cache {
  Value *past; /* i64 [b, 1] */
  const Dim *size;
} Cache;

static bool read_grouped(OnnxNode *node, Attention *a) {
  int64_t heads = attr_int(node, "num_heads", 0), groups = attr_int(node, "kv_num_heads", 0);
  if (heads < 1 || groups < 1 || heads > INT32_MAX || groups > heads)
    return onnx_fail(node, "%lld heads in %lld groups", (long long)heads, (long long)groups);
  if (input(node, KEY) && input(node, VALUE))
    return heads_split(node, input(node, QUERY), heads, &a->q) &&
           heads_split(node, input(node, KEY), groups, &a->k) &&
           heads_split(node, input(node, VALUE), groups, &a->v);
  Heads all;
  TRY(heads_split(node, input(node, QUERY), heads + 2 * groups, &all));
  a->q = heads_slice(node, &all, 0, heads);
  a->k = heads_slice(node, &all, heads, groups);
  a->v = heads_slice(node, &all, heads + groups, groups);
  return a->q.x && a->k.x && a->v.x;
}

static const Type *declared_type(OnnxNode *node, int output) {
  if (output >= node->output_count) return NULL;
  const char *name = intern(node->module, node->proto->output[output]);
  const Onnx__ValueInfoProto *declared = names_get(&node->scope->declared, name);
  return declared ? type_of_onnx(node->import, declared->type, name, false) : NULL;
}

/* As large as the past, where the model says that both are one buffer or total_sequence_length that they fit;
 * else the new ones are added. */
static const Dim *cache_size(OnnxNode *node, const Dim *fresh) {
  const Value *past = input(node, GROUP_PAST);
  int count;
  if (!past) return fresh;
  const Dim *size = past->type->dims[2], *const *total = value_known(input(node, TOTAL), &count);
  const Type *present = declared_type(node, PRESENT_KEY);
  if (present && present->rank == AXES && present->dims[2] == size) return size;
  if (total && count == 1) return dim_make(node->module, DIM_MAX, size, total[0]);
  return dim_add(node->module, size, fresh);
}

static Value *column_of(OnnxNode *node, Value *x, const Dim *batch) {
  return emit_reshape(node, emit_cast(node, x, DTYPE_I64), 2, (const Dim *const[]){batch, one(node)});
}

static bool read_cache(OnnxNode *node, const Attention *a, Cache *cache) {
  const Dim *fresh = heads_positions(&a->k), *batch = a->q.x->type->dims[0];
  cache->size = cache_size(node, fresh);
  Value *counts = column_of(node, input(node, LENGTHS), batch);
  Value *first = emit_range(node, fresh, one(node), false); /* the number of new ones */
  Value *less = emit_binary(node, &op_sub, first, emit_scalar(node, first, 1));
  cache->past =
      emit_binary(node, &op_max, emit_binary(node, &op_sub, counts, less), emit_scalar(node, first, 0));
  return cache->past != NULL;
}

/* [b, h, size, d] of the past [b, h, p, d] and new ones [b, s, h, d]. */
static Heads merge_cache(OnnxNode *node, Value *past, const Heads *fresh, const Cache *cache) {
  Module *module = node->module;
  Heads merged = {NULL, false};
  if (!past) return *fresh;
  if (past->type->rank != AXES) {
    onnx_fail(node, "a past of %s", type_text(module, past->type));
    return merged;
  }
  const Dim *const *d = fresh->x->type->dims, *zero = dim_const(module, 0);
  const Dim *const flat[] = {dim_mul(module, d[0], d[1]), d[2], d[3]};
  Value *positions = emit_range(node, zero, cache->size, false);
  Value *behind = emit_binary(node, &op_sub, positions, cache->past); /* [b, size] */
  Value *last = emit_range(node, dim_sub(module, d[1], one(node)), one(node), false);
  Value *at =
      emit_binary(node, &op_max, emit_binary(node, &op_min, behind, last), emit_scalar(node, last, 0));
  Value *batches = emit_range(node, zero, d[0], true), *count = emit_range(node, d[1], one(node), false);
  at = emit_binary(node, &op_add, at, emit_binary(node, &op_mul, batches, count));
  Value *rows = emit_binary(node, &op_gather, emit_reshape(node, fresh->x, 3, flat), at);
  const Heads gathered = {rows, true};
  if (!rows || !behind) return merged;
  const Dim *const column[] = {d[0], one(node), cache->size, one(node)};
  Value *is_old = emit_binary(node, &op_less, behind, emit_scalar(node, behind, 0));
  Value *old = past;
  if (past->type->dims[2] != cache->size) {
    const Dim *pads[2 * AXES] = {zero, zero, zero, zero, zero, zero, NULL, zero};
    pads[6] = dim_sub(module, cache->size, past->type->dims[2]);
    old = emit_pad(node, past, pads, 0);
  }
  merged.x =
      emit_where(node, emit_reshape(node, is_old, AXES, column), old, heads_canonical(node, &gathered));
  return merged;
}

/* RMS norm of each head. */
static bool normalize(OnnxNode *node, int index, Heads *heads) {
  if (!input(node, index)) return true;
  Node *core = node_new(&node->builder, &op_layer_norm, (Value *[]){heads->x, input(node, index)}, 2);
  node_set_int(core, "axis", 3);
  node_set_float(core, "epsilon", attr_float(node, "qk_norm_epsilon", 1e-6f));
  node_set_bool(core, "center", false);
  return (heads->x = finish(core)) != NULL;
}

static bool rotate(OnnxNode *node, Attention *a, const Cache *cache) {
  if (!attr_bool(node, "do_rotary", false)) return true;
  Rotation rotation = {input(node, COS), input(node, SIN), input(node, POSITION_IDS),
                       attr_bool(node, "rotary_interleaved", false)};
  if (!rotation.cos || !rotation.sin) return onnx_fail(node, "do_rotary without cos_cache and sin_cache");
  if (!rotation.at) {
    Value *range = emit_range(node, dim_const(node->module, 0), heads_positions(&a->q), false);
    rotation.at = emit_binary(node, &op_add, cache->past, range);
  }
  a->q = emit_rotated(node, &a->q, &rotation);
  a->k = emit_rotated(node, &a->k, &rotation);
  return a->q.x && a->k.x;
}

/* Query i stands at position past + i; it sees what is not behind it, and of that the window. */
static bool add_group_masks(OnnxNode *node, Attention *a, const Cache *cache) {
  const Dim *zero = dim_const(node->module, 0), *batch = a->q.x->type->dims[0];
  const Dim *const column[] = {batch, one(node), one(node), one(node)};
  int64_t window = attr_int(node, "local_window_size", -1);
  Value *keys = emit_range(node, zero, heads_positions(&a->k), false);
  if (!attr_bool(node, "causal", true)) {
    Value *counts = emit_reshape(node, column_of(node, input(node, LENGTHS), batch), AXES, column);
    a->allowed = emit_binary(node, &op_less_or_equal, keys, counts);
    return a->allowed != NULL;
  }
  Value *queries = emit_range(node, zero, heads_positions(&a->q), true);
  queries = emit_binary(node, &op_add, emit_reshape(node, cache->past, AXES, column), queries);
  a->allowed = emit_binary(node, &op_less_or_equal, keys, queries);
  if (window > 0) {
    Value *begin = emit_binary(node, &op_sub, queries, emit_scalar(node, queries, (double)window));
    a->allowed = both(node, a->allowed, emit_binary(node, &op_greater, keys, begin));
  }
  return a->allowed != NULL;
}

static bool check_grouped(OnnxNode *node) {
  static const char *const quantized[] = {"k_quant_type", "v_quant_type"};
  for (int i = 0; i < 2; i++)
    if (!attr_string_is(node, quantized[i], "NONE", "NONE"))
      return onnx_fail(node, "a quantized cache is not supported");
  if (attr_bool(node, "sliding_window_cache", false))
    return onnx_fail(node, "sliding_window_cache is not supported");
  if (!input(node, QUERY) || !input(node, LENGTHS) || !input(node, TOTAL))
    return onnx_fail(node, "query, seqlens_k and total_sequence_length are needed");
  return true;
}

static bool import_grouped(OnnxNode *node) {
  Attention a = {.softcap = attr_float(node, "softcap", 0), .zero_masked = true};
  int64_t shown = attr_int(node, "qk_output", 0);
  Cache cache;
  TRY(check_grouped(node) && read_grouped(node, &a) && read_scale(node, &a) && read_cache(node, &a, &cache));
  TRY(normalize(node, Q_NORM, &a.q) && normalize(node, K_NORM, &a.k) && rotate(node, &a, &cache));
  Heads *const sides[] = {&a.k, &a.v};
  for (int i = 0; i < 2; i++) {
    *sides[i] = merge_cache(node, input(node, GROUP_PAST + i), sides[i], &cache);
    if (!sides[i]->x) return false;
    if (node->output_count > PRESENT_KEY + i)
      node->outputs[PRESENT_KEY + i] = heads_canonical(node, sides[i]);
  }
  TRY(add_group_masks(node, &a, &cache) && add_bias(node, &a, input(node, GROUP_BIAS)));
  a.sink = input(node, HEAD_SINK);
  if (!a.sink && attr_bool(node, "smooth_softmax", false)) {
    const Type *type =
        type_make(node->module, a.q.x->type->dtype, 1, (const Dim *const[]){heads_count(&a.q)});
    a.sink = emit_broadcast(node, emit_scalar(node, a.q.x, 0), type);
  }
  if (node->output_count > SCORES)
    node->outputs[SCORES] = emit_scores(node, &a, shown == 2 ? SCORE_WEIGHTS : SCORE_MASKED);
  Heads y = emit_attention(node, &a);
  return set_output(node, heads_merge(node, &y));
}

/* ---- position biases */

enum { MAX_DISTANCE = 1 << 16 };

/* T5's bucket of a distance: exact near by, then by its logarithm, the last from max_distance on. */
static int64_t bucket_of(int64_t distance, int64_t buckets, int64_t max_distance, bool both_ways) {
  int64_t first = 0, n = distance < 0 ? -distance : both_ways ? distance : 0;
  if (both_ways) {
    buckets /= 2;
    first = distance > 0 ? buckets : 0;
  }
  int64_t exact = buckets / 2;
  if (n < exact) return first + n;
  double ratio = log((double)n / (double)exact) / log((double)max_distance / (double)exact);
  int64_t bucket = exact + (int64_t)(ratio * (double)(buckets - exact));
  return first + (bucket < buckets ? bucket : buckets - 1);
}

/* The buckets of distances from -max_distance to max_distance. */
static Value *bucket_table(OnnxNode *node, int64_t buckets, int64_t max_distance) {
  int64_t count = 2 * max_distance + 1;
  bool both_ways = attr_bool(node, "is_bidirectional", false);
  Data *data = data_new(node->module, DTYPE_I64, count);
  for (int64_t i = 0; i < count; i++)
    dtype_set_int(DTYPE_I64, data_bytes(data), i,
                  bucket_of(i - max_distance, buckets, max_distance, both_ways));
  return build_const(&node->builder, type_static(node->module, DTYPE_I64, 1, &count), data, NULL);
}

/* Inputs bias_table [buckets, heads], whose elements lie head by head; query_length; key_length. Result [1,
 * heads, queries, keys]. */
static bool import_position_bias(OnnxNode *node) {
  Module *module = node->module;
  const Type *table = input(node, 0)->type;
  const Dim *const *lengths[2], *zero = dim_const(module, 0);
  int64_t most = attr_int(node, "max_distance", 0);
  for (int i = 0; i < 2; i++) {
    int count;
    TRY(input_dims(node, 1 + i, i ? "key_length" : "query_length", &lengths[i], &count));
    if (count != 1) return onnx_fail(node, "%d lengths", count);
  }
  if (table->rank != 2 || !dim_is_const(table->dims[0]) || table->dims[0]->value < 4 || most < 1 ||
      most > MAX_DISTANCE || most <= table->dims[0]->value / 2)
    return onnx_fail(node, "max_distance %lld for %s", (long long)most, type_text(module, table));
  Value *rows = emit_reshape(node, input(node, 0), 2, (const Dim *const[]){table->dims[1], table->dims[0]});
  Node *pick = node_new(&node->builder, &op_gather,
                        (Value *[]){rows, bucket_table(node, table->dims[0]->value, most)}, 2);
  node_set_int(pick, "axis", 1);
  Value *by_distance = finish(pick); /* [heads, 2*most + 1] */
  Value *queries = emit_range(node, zero, lengths[0][0], true),
        *keys = emit_range(node, zero, lengths[1][0], false);
  Value *distance = emit_binary(node, &op_sub, keys, queries);
  if (!by_distance || !distance) return false;
  Value *const bounded[] = {distance, emit_scalar(node, distance, (double)-most),
                            emit_scalar(node, distance, (double)most)};
  Value *at = emit_binary(node, &op_add, emit(node, &op_clip, bounded, 3), bounded[2]);
  if (!at) return false;
  Node *bias = node_new(&node->builder, &op_gather, (Value *[]){by_distance, at}, 2);
  node_set_int(bias, "axis", 1);
  return set_output(node, emit_unsqueeze(node, finish(bias), 1, 0));
}

/*
 * Inputs query [b, s, h*d], its bias, rel_pos [1, h, s, s], weight [d, D] and bias [D], eco_a [1, h, 1, 1]:
 * rel_pos times u * (r * eco_a - 1) + 2, u and r the sigmoids of the sums of the halves of query * weight +
 * bias.
 */
static bool import_gated_position_bias(OnnxNode *node) {
  Module *module = node->module;
  Heads heads;
  Value *gates[2];
  if (input(node, 6)) return onnx_fail(node, "token_offset is not supported");
  Value *query = emit_binary(node, &op_add, input(node, 0), input(node, 1));
  TRY(heads_split(node, query, attr_int(node, "num_heads", 0), &heads));
  Value *sums = emit_binary(node, &op_matmul, heads_canonical(node, &heads), input(node, 3));
  sums = emit_binary(node, &op_add, sums, input(node, 4));
  if (!sums) return false;
  const Dim *const *d = sums->type->dims, *two = dim_const(module, 2);
  const Dim *const halves[] = {d[0], d[1], d[2], two, dim_floordiv(module, d[3], two)};
  sums = emit_reduce(node, &op_reduce_sum, emit_reshape(node, sums, 5, halves), (int64_t[]){4}, 1);
  sums = emit_unary(node, &op_sigmoid, emit_reshape(node, sums, AXES, halves));
  for (int i = 0; i < 2; i++) gates[i] = slice_axis(node, sums, 3, dim_const(module, i), one(node));
  Value *r = emit_binary(node, &op_mul, gates[1], input(node, 5));
  Value *gate = emit_binary(node, &op_mul, gates[0], emit_binary(node, &op_sub, r, emit_scalar(node, r, 1)));
  gate = emit_binary(node, &op_add, gate, emit_scalar(node, gate, 2));
  return set_output(node, emit_binary(node, &op_mul, gate, input(node, 2)));
}

static const OnnxRow rows[] = {
    {"com.microsoft.Attention", 1, 2, 7, import_packed_attention, NULL},
    {"com.microsoft.GatedRelativePositionBias", 1, 6, 7, import_gated_position_bias, NULL},
    {"com.microsoft.GroupQueryAttention", 1, 1, 16, import_grouped, NULL},
    {"com.microsoft.MultiHeadAttention", 1, 1, 10, import_multi_head, NULL},
    {"com.microsoft.RelativePositionBias", 1, 3, 3, import_position_bias, NULL},
};

const OnnxRows onnx_microsoft_attention = {rows, COUNT_OF(rows)};
