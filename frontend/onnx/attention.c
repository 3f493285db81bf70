/*
 * attention.c -- ONNX's attention and rotary embedding, and what those of com.microsoft share with them.
 *
 * Everything becomes the core op `attention`: transposes around it are its permutations, masks of every kind
 * one addend, the cache of keys and values a concat. Only what asks for the scores themselves gets them
 * computed apart.
 */
#include "frontend/onnx/attention.h"

#include <math.h>

enum { BATCH, HEAD, POSITION, CHANNEL, AXES };

/* ---- heads */

static int axis_of(const Heads *heads, int axis) {
  static const int by_position[] = {BATCH, POSITION, HEAD, CHANNEL};
  return heads->by_position ? by_position[axis] : axis;
}

static const Dim *size_of(const Heads *heads, int axis) {
  return heads->x->type->dims[axis_of(heads, axis)];
}

bool heads_split(OnnxNode *node, Value *x, int64_t heads, Heads *result) {
  Module *module = node->module;
  if (!x) return false;
  if (x->type->rank != 3 || heads < 1)
    return onnx_fail(node, "%s is no [batch, positions, %lld heads]", type_text(module, x->type),
                     (long long)heads);
  const Dim *const *dims = x->type->dims, *count = dim_const(module, heads);
  if (dim_is_const(dims[2]) && dims[2]->value % heads)
    return onnx_fail(node, "%s does not divide into %lld heads", type_text(module, x->type),
                     (long long)heads);
  const Dim *const split[] = {dims[0], dims[1], count, dim_floordiv(module, dims[2], count)};
  *result = (Heads){emit_reshape(node, x, AXES, split), true};
  return result->x != NULL;
}

const Dim *heads_count(const Heads *heads) {
  return size_of(heads, HEAD);
}

const Dim *heads_positions(const Heads *heads) {
  return size_of(heads, POSITION);
}

Heads heads_slice(OnnxNode *node, const Heads *heads, int64_t first, int64_t count) {
  const Dim *starts[AXES], *sizes[AXES];
  if (!heads->x) return *heads;
  for (int i = 0; i < AXES; i++) {
    starts[i] = dim_const(node->module, i == axis_of(heads, HEAD) ? first : 0);
    sizes[i] = i == axis_of(heads, HEAD) ? dim_const(node->module, count) : heads->x->type->dims[i];
  }
  static const int64_t steps[AXES] = {1, 1, 1, 1};
  return (Heads){emit_slice(node, heads->x, starts, sizes, steps), heads->by_position};
}

Value *heads_canonical(OnnxNode *node, const Heads *heads) {
  static const int64_t perm[] = {0, 2, 1, 3};
  return heads->by_position ? emit_transpose(node, heads->x, perm) : heads->x;
}

Value *heads_merge(OnnxNode *node, const Heads *heads) {
  static const int64_t perm[] = {0, 2, 1, 3};
  Value *x = heads->x && !heads->by_position ? emit_transpose(node, heads->x, perm) : heads->x;
  if (!x) return NULL;
  const Dim *const *dims = x->type->dims;
  const Dim *const merged[] = {dims[0], dims[1], dim_mul(node->module, dims[2], dims[3])};
  return emit_reshape(node, x, 3, merged);
}

static Value *concat(OnnxNode *node, Value *x, Value *y, int64_t axis) {
  if (!x || !y) return NULL;
  Node *core = node_new(&node->builder, &op_concat, (Value *[]){x, y}, 2);
  node_set_int(core, "axis", axis);
  return finish(core);
}

Heads heads_append(OnnxNode *node, Value *past, const Heads *heads) {
  if (!past) return *heads;
  return (Heads){concat(node, past, heads_canonical(node, heads), POSITION), false};
}

/* ---- masks */

Value *both(OnnxNode *node, Value *a, Value *b) {
  return a && b ? emit_binary(node, &op_and, a, b) : a ? a : b;
}

/* Sizes of the scores, [b, h, m, n]. */
static void score_dims(const Attention *a, const Dim **dims) {
  dims[0] = size_of(&a->q, BATCH);
  dims[1] = size_of(&a->q, HEAD);
  dims[2] = size_of(&a->q, POSITION);
  dims[3] = size_of(&a->k, POSITION);
}

/* With `rest` behind the last axis up to a size. */
static Value *lengthen(OnnxNode *node, Value *x, const Dim *size, double rest) {
  const Dim *pads[2 * MAX_RANK];
  int rank = x->type->rank;
  for (int i = 0; i < 2 * rank; i++) pads[i] = dim_const(node->module, 0);
  pads[2 * rank - 1] = dim_sub(node->module, size, x->type->dims[rank - 1]);
  return emit_pad(node, x, pads, rest);
}

Value *fit_mask(OnnxNode *node, const Attention *a, Value *mask, double rest) {
  const Dim *scores[AXES], *dims[AXES];
  bool fits = true;
  score_dims(a, scores);
  int rank = mask ? mask->type->rank : 0;
  if (rank > AXES) {
    onnx_fail(node, "a mask of shape %s", type_text(node->module, mask->type));
    return NULL;
  }
  const Dim *last = rank > 0 ? mask->type->dims[rank - 1] : scores[3];
  bool is_long = dim_is_const(last) && dim_is_const(scores[3]) && last->value > scores[3]->value;
  if (last != scores[3] && !is_long) mask = lengthen(node, mask, scores[3], rest);
  for (int i = 0; mask && i < rank; i++) {
    const Dim *wanted = scores[AXES - rank + i], *given = mask->type->dims[i];
    bool is_given = given == wanted || dim_is(given, 1);
    dims[i] = is_given ? given : wanted;
    fits &= is_given;
  }
  return mask && !fits ? emit_broadcast(node, mask, type_make(node->module, mask->type->dtype, rank, dims))
                       : mask;
}

/* The addend of the scores; NULL, without an error, when there is none. */
static bool addend(OnnxNode *node, const Attention *a, Value **mask) {
  Value *bias = a->bias ? emit_cast(node, a->bias, a->q.x->type->dtype) : NULL;
  *mask = bias;
  if (!a->allowed) return !a->bias || bias;
  if (!bias) bias = emit_scalar(node, a->q.x, 0);
  *mask = emit_where(node, a->allowed, bias, emit_scalar(node, a->q.x, (double)-INFINITY));
  return *mask != NULL;
}

/* ---- the core op */

static void set_perm(Node *core, const char *name, bool by_position) {
  static const int64_t swapped[] = {0, 2, 1, 3};
  if (by_position) node_set_ints(core, name, swapped, AXES);
}

/* A row of zeros behind k and v, and in the mask the score that it is to have. */
static bool add_sink(OnnxNode *node, Attention *a, Value **mask) {
  Module *module = node->module;
  const Dim *scores[AXES], *one = dim_const(module, 1), *zeros[2 * AXES], *row[AXES];
  Heads *const sides[] = {&a->k, &a->v};
  score_dims(a, scores);
  for (int i = 0; i < AXES; i++) row[i] = i == 1 ? scores[1] : one;
  Value *sink = emit_reshape(node, emit_cast(node, a->sink, a->q.x->type->dtype), AXES, row);
  row[2] = scores[2];
  if (!sink) return false;
  sink = emit_broadcast(node, sink, type_make(module, sink->type->dtype, AXES, row));
  row[0] = *mask && (*mask)->type->rank == AXES ? (*mask)->type->dims[0] : one;
  row[3] = scores[3];
  Value *wide = *mask ? *mask : emit_scalar(node, sink, 0);
  wide = emit_broadcast(node, wide, type_make(module, sink->type->dtype, AXES, row));
  row[3] = one;
  sink = emit_broadcast(node, sink, type_make(module, sink->type->dtype, AXES, row));
  *mask = concat(node, wide, sink, 3);
  for (int i = 0; i < 2; i++) {
    for (int k = 0; k < 2 * AXES; k++) zeros[k] = dim_const(module, 0);
    zeros[AXES + axis_of(sides[i], POSITION)] = one;
    sides[i]->x = emit_pad(node, sides[i]->x, zeros, 0);
  }
  return *mask && a->k.x && a->v.x;
}

Heads emit_attention(OnnxNode *node, const Attention *given) {
  Attention a = *given;
  Heads y = {NULL, a.q.by_position};
  Value *mask;
  if (!a.q.x || !a.k.x || !a.v.x || !addend(node, &a, &mask)) return y;
  if (a.sink && !add_sink(node, &a, &mask)) return y;
  Value *const operands[] = {a.q.x, a.k.x, a.v.x, mask};
  Node *core = node_new(&node->builder, &op_attention, operands, mask ? 4 : 3);
  node_set_float(core, "scale", a.scale);
  node_set_float(core, "softcap", a.softcap);
  node_set_bool(core, "zero_masked", a.zero_masked && mask);
  set_perm(core, "q_perm", a.q.by_position);
  set_perm(core, "k_perm", a.k.by_position);
  set_perm(core, "v_perm", a.v.by_position);
  set_perm(core, "y_perm", y.by_position);
  y.x = finish(core);
  return y;
}

/* ---- the scores themselves */

/* Each head repeated for the heads of q that it serves. */
static Value *repeat_heads(OnnxNode *node, const Attention *a, const Heads *heads) {
  Module *module = node->module;
  Value *x = heads_canonical(node, heads);
  const Dim *few = size_of(heads, HEAD), *many = size_of(&a->q, HEAD);
  if (!x || few == many) return x;
  const Dim *const *d = x->type->dims, *times = dim_floordiv(module, many, few);
  const Dim *const narrow[] = {d[0], few, dim_const(module, 1), d[2], d[3]}, *const wide[] = {d[0], few,
                                                                                              times, d[2],
                                                                                              d[3]};
  const Dim *const all[] = {d[0], many, d[2], d[3]};
  x = emit_reshape(node, x, 5, narrow);
  return emit_reshape(node, emit_broadcast(node, x, type_make(module, a->k.x->type->dtype, 5, wide)), 4, all);
}

static Value *scaled(OnnxNode *node, Value *x, double factor) {
  return factor == 1 ? x : emit_binary(node, &op_mul, x, emit_scalar(node, x, factor));
}

Value *emit_scores(OnnxNode *node, const Attention *a, ScoreStage stage) {
  static const int64_t perm[] = {0, 1, 3, 2};
  Value *mask;
  if (!a->q.x || !a->k.x || !addend(node, a, &mask)) return NULL;
  Value *keys = emit_transpose(node, repeat_heads(node, a, &a->k), perm);
  Value *scores = emit_binary(node, &op_matmul, heads_canonical(node, &a->q), keys);
  scores = scaled(node, scores, a->scale);
  if (stage >= SCORE_CAPPED && a->softcap != 0)
    scores = scaled(node, emit_unary(node, &op_tanh, scaled(node, scores, 1 / a->softcap)), a->softcap);
  if (stage >= SCORE_MASKED && mask) scores = emit_binary(node, &op_add, scores, mask);
  return stage == SCORE_WEIGHTS ? emit_unary(node, &op_softmax, scores) : scores;
}

bool read_scale(OnnxNode *node, Attention *a) {
  const Dim *channels = size_of(&a->q, CHANNEL);
  a->scale = attr_float(node, "scale", 0);
  if (a->scale != 0) return true;
  if (!dim_is_const(channels) || channels->value < 1)
    return onnx_fail(node, "heads of %s channels and no scale", dim_text(node->module, channels));
  a->scale = 1 / sqrt((double)channels->value);
  return true;
}

/* ---- rotary embedding */

/* Channels [first, first + size), every step-th. */
static Value *channels(OnnxNode *node, Value *x, int64_t first, const Dim *size, int64_t step) {
  const Dim *starts[AXES], *sizes[AXES];
  const int64_t steps[AXES] = {1, 1, 1, step};
  for (int i = 0; i < AXES; i++) {
    starts[i] = dim_const(node->module, i == CHANNEL ? first : 0);
    sizes[i] = i == CHANNEL ? size : x->type->dims[i];
  }
  return emit_slice(node, x, starts, sizes, steps);
}

/* Rows of a table of cosines or sines, [b, positions, half], lined up with x. */
static Value *angles(OnnxNode *node, Value *table, const Rotation *rotation, const Heads *heads) {
  Value *rows = rotation->at ? emit_binary(node, &op_gather, table, rotation->at) : table;
  if (!rows || rows->type->rank != 3) return NULL;
  const Dim *const *d = rows->type->dims, *one = dim_const(node->module, 1);
  const Dim *const by_head[] = {d[0], one, d[1], d[2]}, *const by_position[] = {d[0], d[1], one, d[2]};
  rows = emit_reshape(node, rows, AXES, heads->by_position ? by_position : by_head);
  return emit_cast(node, rows, heads->x->type->dtype);
}

Heads emit_rotated(OnnxNode *node, const Heads *heads, const Rotation *rotation) {
  Module *module = node->module;
  Heads y = {NULL, heads->by_position};
  Value *x = heads->x, *cos, *sin, *ends[2], *rotated[2];
  if (!x || !(cos = angles(node, rotation->cos, rotation, heads)) ||
      !(sin = angles(node, rotation->sin, rotation, heads)))
    return y;
  const Dim *half = cos->type->dims[3], *all = x->type->dims[3];
  if (!dim_is_const(half) || !dim_is_const(all) || 2 * half->value > all->value || half->value < 1) {
    onnx_fail(node, "%s angles for %s channels", dim_text(module, half), dim_text(module, all));
    return y;
  }
  int64_t step = rotation->interleaved ? 2 : 1, second = rotation->interleaved ? 1 : half->value;
  for (int i = 0; i < 2; i++) ends[i] = channels(node, x, i * second, half, step);
  for (int i = 0; i < 2; i++) {
    Value *along = emit_binary(node, &op_mul, ends[i], cos),
          *across = emit_binary(node, &op_mul, ends[!i], sin);
    rotated[i] = emit_binary(node, i ? &op_add : &op_sub, along, across);
    if (rotation->interleaved) rotated[i] = emit_unsqueeze(node, rotated[i], 0, 1);
  }
  Value *joined = concat(node, rotated[0], rotated[1], rotation->interleaved ? AXES : CHANNEL);
  if (rotation->interleaved && joined) {
    const Dim *const *d = x->type->dims, *const dims[] = {d[0], d[1], d[2],
                                                          dim_const(module, 2 * half->value)};
    joined = emit_reshape(node, joined, AXES, dims);
  }
  int64_t rest = all->value - 2 * half->value;
  y.x = rest ? concat(node, joined, channels(node, x, 2 * half->value, dim_const(module, rest), 1), CHANNEL)
             : joined;
  return y;
}

/* ---- RotaryEmbedding, of ONNX and of com.microsoft, which differ in the order of inputs */

enum { X, FIRST, SECOND, THIRD };

static bool read_heads(OnnxNode *node, Value *x, const char *attribute, Heads *heads) {
  *heads = (Heads){x, false};
  if (x->type->rank == AXES) return true;
  return heads_split(node, x, attr_int(node, attribute, 0), heads);
}

static bool output_heads(OnnxNode *node, const Heads *heads) {
  bool is_flat = input_rank(node, 0) == 3;
  return set_output(node, is_flat ? heads_merge(node, heads) : heads->x);
}

static bool check_rotary_dim(OnnxNode *node, const Rotation *rotation) {
  int64_t rotated = attr_int(node, "rotary_embedding_dim", 0);
  const Type *type = rotation->cos->type;
  if (rotated == 0 || (type->rank > 0 && dim_is(type->dims[type->rank - 1], rotated / 2))) return true;
  return onnx_fail(node, "rotary_embedding_dim is %lld, the cosines are %s", (long long)rotated,
                   type_text(node->module, type));
}

static bool import_rotary(OnnxNode *node) {
  Rotation rotation = {input(node, FIRST), input(node, SECOND), input(node, THIRD),
                       attr_bool(node, "interleaved", false)};
  Heads heads;
  int wanted = rotation.at ? 2 : 3;
  TRY(read_heads(node, input(node, X), "num_heads", &heads) && check_rotary_dim(node, &rotation));
  if (rotation.cos->type->rank != wanted || rotation.sin->type->rank != wanted)
    return onnx_fail(node, "cosines and sines of %d dims, %d are wanted", rotation.cos->type->rank, wanted);
  Heads rotated = emit_rotated(node, &heads, &rotation);
  return output_heads(node, &rotated);
}

/* Positions are [b, s], or one number: where the first is. The number of heads follows from the tables if it
 * is not given. */
static bool import_microsoft_rotary(OnnxNode *node) {
  Module *module = node->module;
  Value *x = input(node, X), *at = input(node, FIRST);
  Rotation rotation = {input(node, SECOND), input(node, THIRD), at, attr_bool(node, "interleaved", false)};
  Heads heads = {x, false};
  TRY(check_rotary_dim(node, &rotation));
  if (rotation.cos->type->rank != 2 || rotation.sin->type->rank != 2)
    return onnx_fail(node, "the tables have %d dims, not 2", rotation.cos->type->rank);
  if (x->type->rank == 3) {
    int64_t count = attr_int(node, "num_heads", 0);
    const Dim *half = rotation.cos->type->dims[1], *all = x->type->dims[2];
    if (count == 0 && dim_is_const(half) && dim_is_const(all) && half->value > 0)
      count = all->value / (2 * half->value);
    TRY(heads_split(node, x, count, &heads));
  } else if (x->type->rank != AXES) {
    return onnx_fail(node, "x is %s", type_text(module, x->type));
  }
  if (at->type->rank < 2) {
    Value *range = emit_range(node, dim_const(module, 0), heads_positions(&heads), false);
    at = emit_binary(node, &op_add, emit_cast(node, emit_reshape(node, at, 0, NULL), DTYPE_I64), range);
    rotation.at = emit_unsqueeze(node, at, 1, 0);
  }
  double scale = attr_float(node, "scale", 1);
  if (scale != 1) return onnx_fail(node, "scale is %g", scale);
  Heads rotated = emit_rotated(node, &heads, &rotation);
  return output_heads(node, &rotated);
}

/* ---- Attention of ONNX. softmax_precision is met by computing in f32 or f64 always. */

enum { QUERY, KEY, VALUE, MASK, PAST_KEY, PAST_VALUE, LENGTHS }; /* inputs */
enum { OUT, PRESENT_KEY, PRESENT_VALUE, SCORES };                /* outputs */

/* The number of keys of each batch, that axes of heads, queries and keys line up with. */
static Value *lengths(OnnxNode *node, const Attention *a) {
  const Dim *one = dim_const(node->module, 1), *const column[] = {size_of(&a->q, BATCH), one, one, one};
  return emit_reshape(node, emit_cast(node, input(node, LENGTHS), DTYPE_I64), AXES, column);
}

/* A query sees the keys up to its own position: query i stands behind those of the past, or is the i-th of
 * the last m of its batch's keys. */
static Value *causal_mask(OnnxNode *node, const Attention *a) {
  const Dim *m = size_of(&a->q, POSITION), *n = size_of(&a->k, POSITION), *zero = dim_const(node->module, 0);
  const Value *past = input(node, PAST_KEY);
  Value *queries = emit_range(node, past ? past->type->dims[2] : zero, m, true);
  bool counts = input(node, LENGTHS) && !past; /* j <= i + length - m */
  if (counts) queries = emit_binary(node, &op_add, queries, lengths(node, a));
  return emit_binary(node, &op_less_or_equal, emit_range(node, counts ? m : zero, n, false), queries);
}

/* Keys below the number of each batch. */
static Value *length_mask(OnnxNode *node, const Attention *a) {
  Value *keys = emit_range(node, dim_const(node->module, 0), size_of(&a->k, POSITION), false);
  return emit_binary(node, &op_less, keys, lengths(node, a));
}

static bool read_masks(OnnxNode *node, Attention *a) {
  Value *mask = input(node, MASK);
  bool is_bool = mask && mask->type->dtype == DTYPE_BOOL;
  if (mask) mask = fit_mask(node, a, mask, is_bool ? 0 : (double)-INFINITY);
  if (input(node, MASK) && !mask) return false;
  if (is_bool)
    a->allowed = mask;
  else
    a->bias = mask;
  if (attr_bool(node, "is_causal", false)) {
    Value *causal = causal_mask(node, a);
    if (!causal) return false;
    a->allowed = both(node, a->allowed, causal);
  }
  if (!input(node, LENGTHS)) return true;
  Value *inside = length_mask(node, a);
  if (!inside) return false;
  a->allowed = both(node, a->allowed, inside);
  return a->allowed != NULL;
}

/* Behind the keys and values of the past, which are outputs, too. */
static bool read_cache(OnnxNode *node, Attention *a) {
  Value *const past[] = {input(node, PAST_KEY), input(node, PAST_VALUE)};
  Heads *const sides[] = {&a->k, &a->v};
  if (!past[0] != !past[1]) return onnx_fail(node, "past_key and past_value come together or not at all");
  for (int i = 0; i < 2; i++) {
    if (past[i] && past[i]->type->rank != AXES)
      return onnx_fail(node, "a past of %s", type_text(node->module, past[i]->type));
    *sides[i] = heads_append(node, past[i], sides[i]);
    if (!sides[i]->x) return false;
    if (node->output_count > PRESENT_KEY + i)
      node->outputs[PRESENT_KEY + i] = heads_canonical(node, sides[i]);
  }
  return true;
}

static bool import_attention(OnnxNode *node) {
  Attention a = {.softcap = attr_float(node, "softcap", 0), .zero_masked = true};
  int64_t mode = attr_int(node, "qk_matmul_output_mode", 0);
  TRY(read_heads(node, input(node, QUERY), "q_num_heads", &a.q));
  TRY(read_heads(node, input(node, KEY), "kv_num_heads", &a.k));
  TRY(read_heads(node, input(node, VALUE), "kv_num_heads", &a.v));
  TRY(read_scale(node, &a));
  if (mode < 0 || mode > 3) return onnx_fail(node, "qk_matmul_output_mode is %lld", (long long)mode);
  if (a.softcap < 0) return onnx_fail(node, "softcap is %g", a.softcap);
  TRY(read_cache(node, &a) && read_masks(node, &a));
  if (node->output_count > SCORES) node->outputs[SCORES] = emit_scores(node, &a, (ScoreStage)mode);
  Heads y = emit_attention(node, &a);
  return output_heads(node, &y);
}

/* ---- FlexAttention: graphs change the scores before the softmax, and the weights behind it */

static Value *changed(OnnxNode *node, const char *name, Value *x) {
  if (!x || !attr_find(node, name)) return x;
  const Onnx__GraphProto *graph = attr_graph(node, name);
  Value *y;
  if (!graph || !import_in_place(node, graph, &x, 1, &y, 1)) return NULL;
  bool same = type_is_tensor(y->type) && y->type->rank == x->type->rank && y->type->dtype == x->type->dtype;
  for (int i = 0; same && i < y->type->rank; i++)
    same = y->type->dims[i] == x->type->dims[i] || !dim_is_const(y->type->dims[i]) ||
           !dim_is_const(x->type->dims[i]);
  if (same) return y;
  onnx_fail(node, "%s makes %s of %s", name, type_text(node->module, y->type),
            type_text(node->module, x->type));
  return NULL;
}

static bool import_flex_attention(OnnxNode *node) {
  Attention a = {
      .q = {input(node, QUERY), false}, .k = {input(node, KEY), false}, .v = {input(node, VALUE), false}};
  for (int i = QUERY; i <= VALUE; i++)
    if (input_rank(node, i) != AXES)
      return onnx_fail(node, "input %d is %s, not [batch, heads, positions, channels]", i,
                       type_text(node->module, input(node, i)->type));
  TRY(read_scale(node, &a));
  if (!attr_find(node, "score_mod") && !attr_find(node, "prob_mod"))
    return set_output(node, emit_attention(node, &a).x);
  Value *scores = changed(node, "score_mod", emit_scores(node, &a, SCORE_PRODUCT));
  Value *weights = changed(node, "prob_mod", emit_unary(node, &op_softmax, scores));
  return set_output(node, emit_binary(node, &op_matmul, weights, repeat_heads(node, &a, &a.v)));
}

static const OnnxRow rows[] = {
    {"Attention", 23, 3, 6, import_attention, NULL},
    {"Attention", 24, 3, 7, import_attention, NULL},
    {"RotaryEmbedding", 23, 3, 4, import_rotary, NULL},
    {"ai.onnx.preview.FlexAttention", 1, 3, 3, import_flex_attention, NULL},
    {"com.microsoft.RotaryEmbedding", 1, 4, 4, import_microsoft_rotary, NULL},
};

const OnnxRows onnx_attention = {rows, COUNT_OF(rows)};
