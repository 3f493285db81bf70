/*
 * attention.c -- softmax(q k^T * scale + mask) v without the scores ever leaving the cache.
 *
 * For each head and each block of queries, keys are taken in blocks; for each strip of `rows` queries:
 *
 *   scores = q k^T in register tiles as in matmul.c, lanes over keys; the largest of each row is tracked on
 *            the way out of the registers
 *   p = exp(scores - largest), in place, and its sum
 *   out = out * exp(largest before - largest now) + p v, in register tiles, lanes over channels of v
 *
 * That is the online softmax (Milakov and Gimelshein 2018) of FlashAttention (Dao et al. 2022). Where one
 * block holds all keys nothing is rescaled, and the strip's result goes straight from registers to memory.
 *
 * q, k and v are read where they are, through any permutation. Keys whose channels are contiguous are
 * transposed into a panel [d][keys], 16x16 elements at a time in registers, once per block of queries;
 * queries are scaled into [rows][d], so that no stride can alias in L1.
 *
 * A score of -inf has weight 0, even if all before it were: the largest is taken as 0 there. A row of nothing
 * else is 0/0 = NaN, as softmax gives, or 0 with zero_masked.
 *
 * Traffic: k and v once per block of queries, q and the result once. Measured on Zen 4 with AVX-512, with
 * heads of 64 channels, against a peak of 118 GFLOP/s, exponentials not counted as work: 12 heads of 128
 * queries and keys 87 %, of 64 83 %, 3 of 197 85 %, 6 of 1500 80 %.
 */
#include "codegen/kernels/tiles.h"

#include <assert.h>
#include <string.h>

enum { QUERY, KEY, VALUE, MASK };
enum { BATCH, HEAD, POSITION, CHANNEL, AXES };
/* MAX_PANEL: floats of the panel, which stays in L2 beside the results of a block of queries. */
enum { MAX_PANEL = 1 << 14, MAX_HEAD = 256, MAX_QUERIES = 256, MAX_KEYS = 512, USUAL_KEYS = 256 };

static const char *const perm_names[] = {"q_perm", "k_perm", "v_perm"};

/* ---- which nodes --------------------------------------------------------------------------------------- */

static const int64_t *perm_of(const Node *anchor, const char *name) {
  int count;
  return node_ints(anchor, name, &count);
}

static const Dim *size_of(const Node *anchor, int index, int axis) {
  return operand(anchor, index)->type->dims[perm_of(anchor, perm_names[index])[axis]];
}

/* q, k or v is in memory. */
static bool side_is_in_memory(const Node *node, const Value *value) {
  return value_is_direct(node, value) && !value_is_literal(value);
}

static bool head_fits(const Dim *size) {
  return dim_is_const(size) && size->value > 0 && size->value <= MAX_HEAD;
}

static bool attention_match(const Node *node, const Node *anchor, const Target *target) {
  (void)target;
  if (!node_is(anchor, &op_attention) || result(anchor, 0)->type->dtype != DTYPE_F32) return false;
  for (int i = QUERY; i <= VALUE; i++)
    if (!side_is_in_memory(node, operand(anchor, i))) return false;
  const Dim *keys = size_of(anchor, KEY, POSITION);
  return head_fits(size_of(anchor, KEY, CHANNEL)) && head_fits(size_of(anchor, VALUE, CHANNEL)) &&
         !dim_is(keys, 0);
}

static int64_t round_up(int64_t x, int64_t step) {
  return (x + step - 1) / step * step;
}

/* Blocks of queries of equal size, at most `most`. */
static int64_t even_block(const Dim *count, int64_t most) {
  if (!dim_is_const(count) || count->value <= 0) return most;
  int64_t blocks = (count->value + most - 1) / most;
  return (count->value + blocks - 1) / blocks;
}

static const char *attention_choose(const Node *node, const Node *anchor, const Target *target, int rank) {
  const Dim *m = size_of(anchor, QUERY, POSITION), *n = size_of(anchor, KEY, POSITION);
  int64_t d = size_of(anchor, KEY, CHANNEL)->value;
  int lanes = target_lanes(target, DTYPE_F32);
  int64_t most = MAX_PANEL / d < MAX_KEYS ? MAX_PANEL / d : MAX_KEYS;
  bool all = dim_is_const(n) && n->value <= most;
  int64_t vectors = all ? round_up(n->value, lanes) / lanes : most / lanes;
  TileProblem problem = {.row_count = m, .columns = vectors * lanes, .panel = lanes};
  TileSize tile;
  if (!tile_choose(target, &problem, rank, &tile)) return NULL;
  int64_t width = (int64_t)tile.panels * lanes, keys = most < USUAL_KEYS ? most : USUAL_KEYS;
  return arena_printf(node->graph->module->arena, "attention rows=%d vectors=%d queries=%lld keys=%lld",
                      tile.rows, tile.panels, (long long)even_block(m, MAX_QUERIES),
                      (long long)(all ? n->value : keys / width * width));
}

/* ---- state of the builder ------------------------------------------------------------------------------ */

/* q, k or v. */
typedef struct Side {
  Buffer *buffer;
  const int64_t *perm;
  int64_t heads_served; /* by one head of this operand; 0: by its only one all */
  bool one_batch;
  Reg *batch, *head;
} Side;

/* A number of queries or keys: a constant, or known when the kernel runs. */
typedef struct Count {
  int64_t number; /* -1: `reg` */
  Reg *reg;
} Count;

typedef struct Emit {
  Lower *lower;
  const Node *anchor;
  Side sides[3];
  int lanes, rows, vectors; /* the last two: limits of a tile */
  int64_t queries, keys;    /* of a block */
  int64_t d, e;
  const Dim *m, *n;
  bool several;                          /* blocks of keys: the state of a row is kept from one to the next */
  bool zero_masked;                      /* the attribute */
  bool packs;                            /* keys go through the panel */
  Buffer *query, *panel, *scores;        /* [rows][d], [d][keys], [rows][keys] */
  Buffer *tops, *factors;                /* [rows], of the strip */
  Buffer *all_tops, *all_sums, *all_out; /* [queries], [queries], [queries][e], if several */
  Reg *batch, *head, *first_query, *first_key; /* where the blocks are */
  Count query_count, key_count;
} Emit;

static Loops *loops_of(const Emit *e) {
  return &e->lower->loops;
}

static Reg *plus(const Emit *e, Reg *x, int64_t offset) {
  return offset ? loop_binary(loops_of(e), LOOP_ADD, x, loop_int(loops_of(e), offset)) : x;
}

static Reg *sum_of(const Emit *e, Reg *x, Reg *y) {
  return loop_binary(loops_of(e), LOOP_ADD, x, y);
}

static Reg *number(const Emit *e, int lanes, double value) {
  return loop_const(loops_of(e), (LoopType){DTYPE_F32, lanes}, value);
}

static Reg *local_load(const Emit *e, Buffer *buffer, Reg *row, Reg *column, int lanes) {
  Reg *at[] = {row, column};
  return loop_load(loops_of(e), buffer, at, lanes, NULL);
}

static void local_store(const Emit *e, Reg *value, Buffer *buffer, Reg *row, Reg *column) {
  Reg *at[] = {row, column};
  loop_store(loops_of(e), value, buffer, at, NULL);
}

static Count constant(const Emit *e, int64_t value) {
  return (Count){value, loop_int(loops_of(e), value)};
}

/* min(size, whole - first) */
static Count count_left(const Emit *e, int64_t size, const Dim *whole, Reg *first) {
  Loops *loops = loops_of(e);
  Reg *left = loop_binary(loops, LOOP_SUB, loop_dim(loops, whole), first);
  return (Count){-1, loop_binary(loops, LOOP_MIN, left, loop_int(loops, size))};
}

/* Calls body for [first, first + size) of each block of a whole; a constant whole gives constant counts. */
typedef void (*BlockBody)(Emit *e, Reg *first, Count count);

static void each_block(Emit *e, const Dim *whole, int64_t size, bool parallel, BlockBody body) {
  Loops *loops = loops_of(e);
  bool open = !dim_is_const(whole);
  int64_t full = open ? 0 : whole->value / size * size, rest = open ? 0 : whole->value - full;
  Sections sections = parallel ? loop_sections(loops) : (Sections){NULL, NULL};
  if (open || full > 0) {
    if (parallel) loop_section(loops, &sections);
    Reg *zero = loop_int(loops, 0), *end = open ? loop_dim(loops, whole) : loop_int(loops, full);
    For loop = parallel ? loop_parallel(loops, zero, end, size) : loop_for(loops, zero, end, size, 0, NULL);
    body(e, loop.counter, open ? count_left(e, size, whole, loop.counter) : constant(e, size));
    loop_end(loops, &loop, NULL);
  }
  if (rest > 0) {
    if (parallel) loop_section(loops, &sections);
    body(e, loop_int(loops, full), constant(e, rest));
  }
  if (parallel) loop_end_sections(loops, &sections);
}

/* ---- q, k and v in memory ------------------------------------------------------------------------------ */

/* A run of lanes along canonical axis `along`. */
static Reg *side_load(const Emit *e, const Side *side, Reg *position, Reg *channel, int along, Reg *mask) {
  Reg *const canonical[AXES] = {side->batch, side->head, position, channel};
  Reg *at[AXES];
  for (int i = 0; i < AXES; i++) at[side->perm[i]] = canonical[i];
  return loop_load_strided(loops_of(e), side->buffer, at, e->lanes, (int)side->perm[along], 1, mask);
}

static void side_init(Emit *e, int index) {
  Side *side = &e->sides[index];
  const Dim *heads = size_of(e->anchor, index, HEAD), *all = size_of(e->anchor, QUERY, HEAD);
  *side = (Side){.perm = perm_of(e->anchor, perm_names[index]), .heads_served = 1};
  side->buffer = lower_buffer(e->lower, operand(e->anchor, index));
  side->one_batch = size_of(e->anchor, index, BATCH) != size_of(e->anchor, QUERY, BATCH);
  if (heads != all) side->heads_served = dim_is(heads, 1) ? 0 : all->value / heads->value;
}

static void side_place(const Emit *e, Side *side) {
  Loops *loops = loops_of(e);
  side->batch = side->one_batch ? loop_int(loops, 0) : e->batch;
  side->head = side->heads_served == 0 ? loop_int(loops, 0) : e->head;
  if (side->heads_served > 1)
    side->head = loop_binary(loops, LOOP_FLOORDIV, e->head, loop_int(loops, side->heads_served));
}

/* ---- the panel of keys --------------------------------------------------------------------------------- */

/* rows[i] lane j becomes rows[j] lane i: at each stage, blocks off the diagonal change places. */
static void transpose_square(const Emit *e, Reg **rows) {
  int lanes = e->lanes;
  for (int stride = lanes / 2; stride > 0; stride /= 2) {
    int64_t low[MAX_LANES], high[MAX_LANES];
    for (int j = 0; j < lanes; j++) {
      low[j] = j & stride ? lanes + (j ^ stride) : j;
      high[j] = j & stride ? lanes + j : j ^ stride;
    }
    for (int i = 0; i < lanes; i++) {
      if (i & stride) continue;
      Reg *a = rows[i], *b = rows[i + stride];
      rows[i] = loop_shuffle(loops_of(e), a, b, low, lanes);
      rows[i + stride] = loop_shuffle(loops_of(e), a, b, high, lanes);
    }
  }
}

/* Channels [channel, channel + count) of `lanes` keys from `key` on. Beyond the last key it repeats. */
static void pack_square(const Emit *e, Reg *key, Reg *channel, int count) {
  Loops *loops = loops_of(e);
  Reg *rows[MAX_LANES], *first = sum_of(e, e->first_key, key);
  Reg *mask = count < e->lanes ? loop_lanes_below(loops, loop_int(loops, count), e->lanes) : NULL;
  bool clamp = e->key_count.number < 0 || e->key_count.number % e->lanes != 0;
  Reg *last = clamp ? plus(e, loop_dim(loops, e->n), -1) : NULL;
  for (int i = 0; i < e->lanes; i++) {
    Reg *position = plus(e, first, i);
    if (clamp) position = loop_binary(loops, LOOP_MIN, position, last);
    rows[i] = side_load(e, &e->sides[KEY], position, channel, CHANNEL, mask);
  }
  transpose_square(e, rows);
  for (int i = 0; i < count; i++) local_store(e, rows[i], e->panel, plus(e, channel, i), key);
}

static void pack_keys(const Emit *e) {
  Loops *loops = loops_of(e);
  int64_t full = e->d / e->lanes * e->lanes;
  Reg *zero = loop_int(loops, 0);
  For keys = loop_for(loops, zero, e->key_count.reg, e->lanes, 0, NULL);
  if (full > 0) {
    For channels = loop_for(loops, zero, loop_int(loops, full), e->lanes, 0, NULL);
    pack_square(e, keys.counter, channels.counter, e->lanes);
    loop_end(loops, &channels, NULL);
  }
  if (full < e->d) pack_square(e, keys.counter, loop_int(loops, full), (int)(e->d - full));
  loop_end(loops, &keys, NULL);
}

/* Channel `channel` of the keys from `key` on. */
static Reg *load_keys(const Emit *e, Reg *channel, Reg *key, Reg *mask) {
  if (e->packs) return local_load(e, e->panel, channel, key, e->lanes);
  return side_load(e, &e->sides[KEY], sum_of(e, e->first_key, key), channel, POSITION, mask);
}

/* ---- scores -------------------------------------------------------------------------------------------- */

/* A strip of queries and what is known of its rows. */
typedef struct Strip {
  Reg *row; /* of the block */
  int height;
  Reg *top[MAX_TILE_ROWS]; /* the largest score per lane */
} Strip;

static Reg *query_of(const Emit *e, const Strip *s, int r) {
  return plus(e, sum_of(e, e->first_query, s->row), r);
}

static void scale_query(const Emit *e, const Strip *s, Reg *r, Reg *channel, Reg *mask) {
  Loops *loops = loops_of(e);
  Reg *position = sum_of(e, sum_of(e, e->first_query, s->row), r);
  Reg *x = side_load(e, &e->sides[QUERY], position, channel, CHANNEL, mask);
  double scale = node_float(e->anchor, "scale"), cap = node_float(e->anchor, "softcap");
  x = loop_binary(loops, LOOP_MUL, x, number(e, e->lanes, cap == 0 ? scale : scale / cap));
  local_store(e, x, e->query, r, channel);
}

static void scale_queries(const Emit *e, const Strip *s) {
  Loops *loops = loops_of(e);
  int64_t full = e->d / e->lanes * e->lanes;
  Reg *zero = loop_int(loops, 0);
  For rows = loop_for(loops, zero, loop_int(loops, s->height), 1, 0, NULL);
  if (full > 0) {
    For channels = loop_for(loops, zero, loop_int(loops, full), e->lanes, 0, NULL);
    scale_query(e, s, rows.counter, channels.counter, NULL);
    loop_end(loops, &channels, NULL);
  }
  if (full < e->d)
    scale_query(e, s, rows.counter, loop_int(loops, full),
                loop_lanes_below(loops, loop_int(loops, e->d - full), e->lanes));
  loop_end(loops, &rows, NULL);
}

/* The mask at query r of the strip and the keys from `key` on; `tail`: the keys that exist. */
static Reg *mask_at(const Emit *e, const Strip *s, int r, Reg *key, Reg *tail) {
  const Type *type = operand(e->anchor, MASK)->type;
  const Index scores[AXES] = {index_of(e->batch), index_of(e->head), index_of(query_of(e, s, r)),
                              index_run(sum_of(e, e->first_key, key), 1)};
  Index at[AXES];
  for (int i = 0; i < type->rank; i++)
    at[i] = dim_is(type->dims[i], 1) ? index_const(e->lower, 0) : scores[AXES - type->rank + i];
  e->lower->mask = tail;
  Reg *value = loop_splat(loops_of(e), lower_operand(e->lower, e->anchor, MASK, at), e->lanes);
  e->lower->mask = NULL;
  return value;
}

/* Lanes of vector v of a group at `key` that are keys; NULL: all. */
static Reg *key_mask(const Emit *e, Reg *key, int v, bool last) {
  Loops *loops = loops_of(e);
  int64_t tail = e->key_count.number % e->lanes;
  if (e->key_count.number >= 0)
    return last && tail ? loop_lanes_below(loops, loop_int(loops, tail), e->lanes) : NULL;
  Reg *left = loop_binary(loops, LOOP_SUB, e->key_count.reg, plus(e, key, (int64_t)v * e->lanes));
  return loop_lanes_below(loops, left, e->lanes);
}

/* acc[r][v] = the products of the strip's queries with `vectors` vectors of keys. */
static void multiply_queries(const Emit *e, const Strip *s, Reg *key, int vectors, Reg *const *masks,
                             Reg **acc) {
  Loops *loops = loops_of(e);
  int count = s->height * vectors;
  for (int i = 0; i < count; i++) acc[i] = number(e, e->lanes, 0);
  For loop = loop_for(loops, loop_int(loops, 0), loop_int(loops, e->d), 1, count, acc);
  Reg *keys[MAX_TILE_VECTORS];
  for (int v = 0; v < vectors; v++)
    keys[v] = load_keys(e, loop.counter, plus(e, key, (int64_t)v * e->lanes), masks[v]);
  for (int r = 0; r < s->height; r++) {
    Reg *q = loop_splat(loops, local_load(e, e->query, loop_int(loops, r), loop.counter, 1), e->lanes);
    for (int v = 0; v < vectors; v++)
      acc[r * vectors + v] = loop_mul_add(loops, q, keys[v], loop.carried[r * vectors + v]);
  }
  loop_end(loops, &loop, acc);
  memcpy(acc, loop.results, sizeof *acc * (size_t)count);
}

/* A score before the mask: softcap * tanh(x / softcap), of products that were scaled by 1 / softcap. */
static Reg *capped(const Emit *e, Reg *x) {
  double cap = node_float(e->anchor, "softcap");
  if (cap == 0) return x;
  return loop_binary(loops_of(e), LOOP_MUL, loop_unary(loops_of(e), LOOP_TANH, x), number(e, e->lanes, cap));
}

/* Scores of a group of keys, stored; the strip's largest are updated. */
static void score_group(const Emit *e, Strip *s, Reg *key, int vectors, bool last) {
  Loops *loops = loops_of(e);
  Reg *acc[MAX_TILE_ROWS * MAX_TILE_VECTORS], *masks[MAX_TILE_VECTORS];
  for (int v = 0; v < vectors; v++) masks[v] = key_mask(e, key, v, last && v == vectors - 1);
  multiply_queries(e, s, key, vectors, masks, acc);
  for (int r = 0; r < s->height; r++) {
    for (int v = 0; v < vectors; v++) {
      Reg *x = capped(e, acc[r * vectors + v]), *at = plus(e, key, (int64_t)v * e->lanes);
      if (operand(e->anchor, MASK)) x = sum_of(e, x, mask_at(e, s, r, at, masks[v]));
      if (masks[v]) x = loop_select(loops, masks[v], x, number(e, e->lanes, -__builtin_inf()));
      local_store(e, x, e->scores, loop_int(loops, r), at);
      s->top[r] = loop_binary(loops, LOOP_MAX, x, s->top[r]);
    }
  }
}

static void score_strip(const Emit *e, Strip *s) {
  Loops *loops = loops_of(e);
  int64_t width = (int64_t)e->vectors * e->lanes, count = e->key_count.number;
  int64_t full = count < 0 ? 0 : count / width * width;
  int rest = (int)((count - full + e->lanes - 1) / e->lanes);
  for (int r = 0; r < s->height; r++) s->top[r] = number(e, e->lanes, -__builtin_inf());
  if (count < 0 || full > 0) {
    Reg *end = count < 0 ? e->key_count.reg : loop_int(loops, full);
    For loop = loop_for(loops, loop_int(loops, 0), end, width, s->height, s->top);
    memcpy(s->top, loop.carried, sizeof *s->top * (size_t)s->height);
    score_group(e, s, loop.counter, e->vectors, false);
    loop_end(loops, &loop, s->top);
    memcpy(s->top, loop.results, sizeof *s->top * (size_t)s->height);
  }
  if (count >= 0 && rest > 0) score_group(e, s, loop_int(loops, full), rest, true);
}

/* ---- softmax ------------------------------------------------------------------------------------------- */

/* Where it is infinite, 0. */
static Reg *finite_top(const Emit *e, Reg *top) {
  Loops *loops = loops_of(e);
  Reg *lowest = number(e, top->type.lanes, -__builtin_inf());
  return loop_select(loops, loop_binary(loops, LOOP_EQ, top, lowest), number(e, top->type.lanes, 0), top);
}

/* 1 / sum, but 0 where no key has a weight, or there is none: a sum of nothing. */
static Reg *inverse_sum(const Emit *e, Reg *sum) {
  Loops *loops = loops_of(e);
  Reg *inverse = loop_binary(loops, LOOP_DIV, number(e, 1, 1), sum);
  if (!e->zero_masked && dim_is_const(e->n)) return inverse;
  Reg *some = e->zero_masked ? loop_binary(loops, LOOP_NE, sum, number(e, 1, 0))
                             : loop_binary(loops, LOOP_GT, loop_dim(loops, e->n), loop_int(loops, 0));
  return loop_select(loops, some, inverse, number(e, 1, 0));
}

/* The largest of each row, with those before: what to subtract in `tops`, what to scale by in `factors`. */
static void update_tops(const Emit *e, const Strip *s) {
  Loops *loops = loops_of(e);
  for (int r = 0; r < s->height; r++) {
    Reg *at = loop_int(loops, r), *top = loop_reduce(loops, LOOP_REDUCE_MAX, s->top[r]);
    loop_store(loops, e->several || !e->zero_masked ? top : finite_top(e, top), e->tops, &at, NULL);
  }
  for (int r = 0; e->several && r < s->height; r += e->lanes) {
    Reg *at = loop_int(loops, r), *row = plus(e, s->row, r);
    Reg *mask = loop_lanes_below(loops, loop_int(loops, s->height - r), e->lanes);
    Reg *before = loop_load(loops, e->all_tops, &row, e->lanes, mask);
    Reg *now = loop_binary(loops, LOOP_MAX, loop_load(loops, e->tops, &at, e->lanes, mask), before);
    Reg *top = finite_top(e, now);
    Reg *factor = loop_unary(loops, LOOP_EXP, loop_binary(loops, LOOP_SUB, before, top));
    loop_store(loops, now, e->all_tops, &row, mask);
    loop_store(loops, top, e->tops, &at, mask);
    loop_store(loops, factor, e->factors, &at, mask);
  }
}

/* Weights of row r in place of its scores; gives their sum. */
static Reg *weigh_row(const Emit *e, Reg *r) {
  Loops *loops = loops_of(e);
  Reg *top = loop_splat(loops, loop_load(loops, e->tops, &r, 1, NULL), e->lanes);
  Reg *zero = number(e, e->lanes, 0);
  For loop = loop_for(loops, loop_int(loops, 0), e->key_count.reg, e->lanes, 1, &zero);
  Reg *x = local_load(e, e->scores, r, loop.counter, e->lanes);
  Reg *w = loop_unary(loops, LOOP_EXP, loop_binary(loops, LOOP_SUB, x, top));
  local_store(e, w, e->scores, r, loop.counter);
  Reg *sum = loop_binary(loops, LOOP_ADD, loop.carried[0], w);
  loop_end(loops, &loop, &sum);
  return loop_reduce(loops, LOOP_REDUCE_ADD, loop.results[0]);
}

/* Weights, and their sums: into the state of the rows, or inverted into `factors`. */
static void weigh_strip(const Emit *e, const Strip *s) {
  Loops *loops = loops_of(e);
  For loop = loop_for(loops, loop_int(loops, 0), loop_int(loops, s->height), 1, 0, NULL);
  Reg *r = loop.counter, *sum = weigh_row(e, r);
  if (e->several) {
    Reg *row = sum_of(e, s->row, r);
    Reg *before = loop_load(loops, e->all_sums, &row, 1, NULL);
    sum = loop_mul_add(loops, before, loop_load(loops, e->factors, &r, 1, NULL), sum);
    loop_store(loops, sum, e->all_sums, &row, NULL);
  } else {
    loop_store(loops, inverse_sum(e, sum), e->factors, &r, NULL);
  }
  loop_end(loops, &loop, NULL);
}

/* ---- weights times values ------------------------------------------------------------------------------ */

static Reg *channel_mask(const Emit *e, int64_t channel) {
  if (channel + e->lanes <= e->e) return NULL;
  return loop_lanes_below(loops_of(e), loop_int(loops_of(e), e->e - channel), e->lanes);
}

static void write_result(const Emit *e, Reg *query, int64_t channel, Reg *value) {
  const int64_t *perm = perm_of(e->anchor, "y_perm");
  const Index canonical[AXES] = {index_of(e->batch), index_of(e->head), index_of(query),
                                 index_run(loop_int(loops_of(e), channel), 1)};
  Index at[AXES];
  for (int i = 0; i < AXES; i++) at[i] = canonical[perm[i]];
  e->lower->mask = channel_mask(e, channel);
  lower_result(e->lower, 0, at, value);
  e->lower->mask = NULL;
}

/* The row's factor: of what was there before, or the inverse of its sum. */
static Reg *factor_of(const Emit *e, int r) {
  Reg *at = loop_int(loops_of(e), r);
  return loop_splat(loops_of(e), loop_load(loops_of(e), e->factors, &at, 1, NULL), e->lanes);
}

static void add_values(const Emit *e, const Strip *s, int64_t channel, int vectors) {
  Loops *loops = loops_of(e);
  Reg *acc[MAX_TILE_ROWS * MAX_TILE_VECTORS], *values[MAX_TILE_VECTORS];
  int count = s->height * vectors, lanes = e->lanes;
  for (int i = 0; i < count; i++) {
    acc[i] = number(e, lanes, 0);
    if (!e->several) continue;
    Reg *at = loop_int(loops, channel + i % vectors * lanes);
    Reg *before = local_load(e, e->all_out, plus(e, s->row, i / vectors), at, lanes);
    acc[i] = loop_binary(loops, LOOP_MUL, before, factor_of(e, i / vectors));
  }
  For loop = loop_for(loops, loop_int(loops, 0), e->key_count.reg, 1, count, acc);
  for (int v = 0; v < vectors; v++) {
    int64_t at = channel + v * lanes;
    values[v] = side_load(e, &e->sides[VALUE], sum_of(e, e->first_key, loop.counter), loop_int(loops, at),
                          CHANNEL, channel_mask(e, at));
  }
  for (int r = 0; r < s->height; r++) {
    Reg *w = loop_splat(loops, local_load(e, e->scores, loop_int(loops, r), loop.counter, 1), lanes);
    for (int v = 0; v < vectors; v++)
      acc[r * vectors + v] = loop_mul_add(loops, w, values[v], loop.carried[r * vectors + v]);
  }
  loop_end(loops, &loop, acc);
  for (int i = 0; i < count; i++) {
    int64_t at = channel + i % vectors * lanes;
    if (e->several)
      local_store(e, loop.results[i], e->all_out, plus(e, s->row, i / vectors), loop_int(loops, at));
    else
      write_result(e, query_of(e, s, i / vectors), at,
                   loop_binary(loops, LOOP_MUL, loop.results[i], factor_of(e, i / vectors)));
  }
}

/* ---- blocks -------------------------------------------------------------------------------------------- */

static void emit_strip(void *context, Reg *row, int height) {
  const Emit *e = context;
  Strip s = {.row = row, .height = height};
  assert(height <= MAX_TILE_ROWS && e->vectors <= MAX_TILE_VECTORS);
  scale_queries(e, &s);
  score_strip(e, &s);
  update_tops(e, &s);
  weigh_strip(e, &s);
  int64_t all = round_up(e->e, e->lanes) / e->lanes;
  for (int64_t v = 0; v < all; v += e->vectors)
    add_values(e, &s, v * e->lanes, (int)(all - v < e->vectors ? all - v : e->vectors));
}

static void emit_keys(Emit *e, Reg *first, Count count) {
  e->first_key = first;
  e->key_count = count;
  if (e->packs) pack_keys(e);
  if (e->query_count.number >= 0)
    tile_strips(loops_of(e), dim_const(e->lower->module, e->query_count.number), e->rows, 0, INT64_MAX,
                emit_strip, e);
  else
    tile_open_strips(loops_of(e), e->query_count.reg, e->rows, emit_strip, e);
}

/* Calls body for each row of the block of queries. */
static void each_row(const Emit *e, void (*body)(const Emit *e, Reg *row)) {
  Loops *loops = loops_of(e);
  For loop = loop_for(loops, loop_int(loops, 0), e->query_count.reg, 1, 0, NULL);
  body(e, loop.counter);
  loop_end(loops, &loop, NULL);
}

static void begin_row(const Emit *e, Reg *row) {
  Loops *loops = loops_of(e);
  loop_store(loops, number(e, 1, -__builtin_inf()), e->all_tops, &row, NULL);
  loop_store(loops, number(e, 1, 0), e->all_sums, &row, NULL);
  for (int64_t channel = 0; channel < e->e; channel += e->lanes)
    local_store(e, number(e, e->lanes, 0), e->all_out, row, loop_int(loops, channel));
}

static void finish_row(const Emit *e, Reg *row) {
  Loops *loops = loops_of(e);
  Reg *sum = loop_load(loops, e->all_sums, &row, 1, NULL);
  Reg *scale = loop_splat(loops, inverse_sum(e, sum), e->lanes);
  for (int64_t channel = 0; channel < e->e; channel += e->lanes) {
    Reg *out = local_load(e, e->all_out, row, loop_int(loops, channel), e->lanes);
    write_result(e, sum_of(e, e->first_query, row), channel, loop_binary(loops, LOOP_MUL, out, scale));
  }
}

static void emit_queries(Emit *e, Reg *first, Count count) {
  e->first_query = first;
  e->query_count = count;
  if (e->several) each_row(e, begin_row);
  each_block(e, e->n, e->keys, false, emit_keys);
  if (e->several) each_row(e, finish_row);
}

static Buffer *add_local(const Emit *e, const char *name, int64_t rows, int64_t columns) {
  const int64_t sizes[] = {rows, columns};
  return kernel_add_local(e->lower->loops.kernel, name, DTYPE_F32, columns ? 2 : 1, sizes);
}

static void add_locals(Emit *e) {
  int64_t keys = round_up(e->keys, e->lanes), rows = e->rows;
  e->query = add_local(e, "query", rows, round_up(e->d, e->lanes));
  if (e->packs) e->panel = add_local(e, "panel", e->d, keys);
  e->scores = add_local(e, "scores", rows, keys);
  e->tops = add_local(e, "tops", rows, 0);
  e->factors = add_local(e, "factors", rows, 0);
  if (!e->several) return;
  e->all_tops = add_local(e, "all_tops", e->queries, 0);
  e->all_sums = add_local(e, "all_sums", e->queries, 0);
  e->all_out = add_local(e, "all_out", e->queries, round_up(e->e, e->lanes));
}

static int64_t param_within(const char *schedule, const char *key, int64_t least, int64_t most) {
  int64_t value = schedule_param(schedule, key, (int)least);
  return value < least ? least : value > most ? most : value;
}

static void read_schedule(Emit *e, const VariantContext *variant) {
  const char *text = variant->schedule;
  e->lanes = e->lower->lanes = target_lanes(variant->target, DTYPE_F32);
  e->rows = (int)param_within(text, "rows", 1, MAX_TILE_ROWS);
  e->vectors = (int)param_within(text, "vectors", 1, MAX_TILE_VECTORS);
  e->queries = param_within(text, "queries", 1, 1 << 16);
  e->keys = param_within(text, "keys", 1, 1 << 16);
  e->several = !dim_is_const(e->n) || e->n->value > e->keys;
  if (e->several) e->keys = round_up(e->keys, (int64_t)e->vectors * e->lanes);
}

static void attention_body(Lower *lower, void *context) {
  const Node *anchor = lower->anchor;
  Loops *loops = &lower->loops;
  Emit e = {.lower = lower, .anchor = anchor};
  e.m = size_of(anchor, QUERY, POSITION);
  e.n = size_of(anchor, KEY, POSITION);
  e.d = size_of(anchor, KEY, CHANNEL)->value;
  e.e = size_of(anchor, VALUE, CHANNEL)->value;
  e.zero_masked = node_bool(anchor, "zero_masked");
  e.packs = perm_of(anchor, "k_perm")[POSITION] != AXES - 1;
  read_schedule(&e, context);
  for (int i = QUERY; i <= VALUE; i++) side_init(&e, i);
  add_locals(&e);
  Reg *zero = loop_int(loops, 0);
  For batches = loop_parallel(loops, zero, loop_dim(loops, size_of(anchor, QUERY, BATCH)), 1);
  For heads = loop_parallel(loops, zero, loop_dim(loops, size_of(anchor, QUERY, HEAD)), 1);
  e.batch = batches.counter;
  e.head = heads.counter;
  for (int i = QUERY; i <= VALUE; i++) side_place(&e, &e.sides[i]);
  each_block(&e, e.m, e.queries, true, emit_queries);
  loop_end(loops, &heads, NULL);
  loop_end(loops, &batches, NULL);
}

const Variant variant_attention = {
    .name = "attention",
    .doc =
        "tiles of queries by blocks of keys, online softmax: rows, vectors per tile; queries, keys per block",
    .match = attention_match,
    .choose = attention_choose,
    .body = attention_body,
};
