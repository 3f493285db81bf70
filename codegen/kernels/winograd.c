/*
 * winograd.c -- 3x3 convolutions of stride 1 by Winograd's minimal filtering, and the transform of their
 * weights (Lavin and Gray 2015).
 *
 * The result is cut into tiles of t by t pixels. For a tile, y = A^T [(G w G^T) . (B^T x B)] A: of (t+2)^2
 * products for each pair of channels, instead of 9 t^2. The products of all channels are one matrix product
 * for each of the (t+2)^2 points, of tiles by channels by columns. A block of tiles goes through all three
 * steps while its data is in L2:
 *
 *   for each tile, 16 channels:      v[point][channels][tile] = B^T x B
 *   for each group of panels:
 *     for each point:                p[tile][point] = v * u          (register tiles, as in panels.c)
 *     for each tile, vector:         result = epilogue(A^T p A + bias)
 *
 * v is in blocks of as many channels as a vector has lanes, so that the k loop of the product reads cache
 * lines front to back; an odd number of lines between points keeps the points apart in L1.
 *
 * Blocks run in parallel when there are many; else the tiles, then the groups of each block do.
 *
 * Padding, and tiles that reach beyond the result, cost little: such tiles copy the pixels that exist into a
 * tile of zeros, and their results out of one.
 *
 * Traffic: x (t+2)^2/t^2 times, u once for each block of tiles, the result once. Measured with AVX-512
 * against a peak of 118 GFLOP/s, in operations of the plain sums: 64 channels at 56x56 375 GFLOP/s, 128 at
 * 28x28 350, 256 at 14x14 280, 512 at 7x7 (tiles of 2, weights from memory) 175; of those that it does
 * execute that is 70 to 87 % of the peak.
 */
#include "codegen/kernels/tiles.h"

#include <assert.h>
#include <math.h>

enum { PANEL = 16, MAX_SIDE = 6 };

/* ---- shape of the problem ------------------------------------------------------------------------------ */

typedef struct Problem {
  const Node *anchor;
  int64_t tile, side, points;         /* results along a tile's side, inputs along it, their square */
  int64_t size[2], out[2], before[2]; /* of x, of the result, padding */
  int64_t tiles[2], tile_count;       /* of one image */
  int64_t channels, columns, panel_count;
} Problem;

static bool describe(const Node *anchor, Problem *p) {
  if (!node_is(anchor, &op_conv) || !node_int(anchor, "winograd")) return false;
  const Type *x = operand(anchor, 0)->type, *y = result(anchor, 0)->type;
  *p = (Problem){.anchor = anchor, .tile = node_int(anchor, "winograd"), .tile_count = 1};
  p->side = p->tile + 2;
  p->points = p->side * p->side;
  for (int i = 0; i < 2; i++) {
    if (!dim_is_const(x->dims[1 + i])) return false;
    p->size[i] = x->dims[1 + i]->value;
    p->out[i] = y->dims[1 + i]->value;
    p->before[i] = spatial_attr(anchor, "pads", i, 0);
    p->tiles[i] = (p->out[i] + p->tile - 1) / p->tile;
    p->tile_count *= p->tiles[i];
  }
  p->channels = x->dims[3]->value;
  p->columns = y->dims[3]->value;
  p->panel_count = (p->columns + PANEL - 1) / PANEL;
  return p->tile_count > 0 && p->channels > 0;
}

static bool winograd_match(const Node *node, const Node *anchor, const Target *target) {
  Problem p;
  if (!anchor || !describe(anchor, &p) || target_lanes(target, DTYPE_F32) > PANEL) return false;
  return value_is_direct(node, operand(anchor, 0)) && value_is_direct(node, operand(anchor, 1));
}

/* ---- whether, and how large a tile --------------------------------------------------------------------- */

/* Seconds at a sustained share of the peak, or for the weights to come from memory, whichever is more. */
static double seconds(const Target *target, double operations, double weights) {
  static const double sustained = 0.9;
  double compute = operations / (sustained * 1e9 * target->peak_gflops);
  double stream = weights * 4 / (1e9 * target->read_gbps);
  return compute > stream ? compute : stream;
}

/* Each point of a tile costs about 4 vector operations for each input and 3 for each output of the
 * transforms; a vector operation takes the time of two of the peak's. */
static double tile_seconds(const Target *target, int64_t tile, double rows, double columns, double inputs,
                           double outputs) {
  double points = (double)((tile + 2) * (tile + 2)), t = (double)tile;
  double tiles = ceil(rows / t) * ceil(columns / t);
  double products = 2 * inputs * ceil(outputs / PANEL) * PANEL, transforms = 8 * inputs + 6 * outputs;
  return seconds(target, tiles * points * (products + transforms), points * inputs * outputs);
}

int64_t winograd_choose_tile(const Target *target, int64_t rows, int64_t columns, int64_t inputs,
                             int64_t outputs) {
  static const double worth = 0.9; /* of the time of the sums themselves: it costs memory and digits */
  if (target_lanes(target, DTYPE_F32) > PANEL || inputs < PANEL || outputs < PANEL) return 0;
  double m = (double)inputs * (double)outputs, r = (double)rows, c = (double)columns;
  double best = worth * seconds(target, 18 * m * r * c, 9 * m);
  int64_t choice = 0;
  for (int64_t tile = 2; tile <= 4; tile += 2) {
    double time = tile_seconds(target, tile, r, c, (double)inputs, (double)outputs);
    if (time >= best) continue;
    best = time;
    choice = tile;
  }
  return choice;
}

/* ---- choice of the block ------------------------------------------------------------------------------- */

/* Vectors of a register tile: few streams of weights, which come from far away. And of how many blocks each
 * is one task, rather than divided. */
enum { TILE_VECTORS = 2, MANY = 8 };

/* Seconds that `blocks` blocks wait for memory: each reads all weights, and each group of panels reads the
 * block's transformed inputs. What stays in L2 costs nothing. */
static double waiting(const Problem *p, const Target *target, int64_t blocks) {
  int64_t height = (p->tile_count + blocks - 1) / blocks;
  double l3 = 3.5e9 * target->read_gbps, memory = 1e9 * target->read_gbps, l2 = (double)target->l2_bytes;
  double weights = 4.0 * (double)(p->points * p->channels * p->panel_count * PANEL);
  double inputs = 4.0 * (double)(p->points * p->channels * height);
  double products = 4.0 * (double)(p->points * height * TILE_VECTORS * PANEL);
  double groups = (double)p->panel_count / TILE_VECTORS, time = 0;
  if (weights + inputs + products > l2)
    time += (double)blocks * weights / (weights > 0.5 * (double)target->l3_bytes ? memory : l3);
  if (inputs + products > 0.7 * l2) time += (double)blocks * groups * inputs / l3;
  return time;
}

/* Groups of panels: what a block can be divided into. */
static int64_t group_count(const Problem *p) {
  return (p->panel_count + TILE_VECTORS - 1) / TILE_VECTORS;
}

/* Blocks: as many as cost nothing, of a register tile's rows at least, and of no more than L3 has room for.
 * With few panels they must be many, or there is nothing for several threads. */
static int64_t choose_blocks(const Problem *p, const Target *target) {
  enum { LEAST = 14 };
  static const double slack = 1.05;
  int64_t most = (p->tile_count + LEAST - 1) / LEAST, fewest = group_count(p) >= MANY ? 1 : MANY;
  if (most < fewest) fewest = most += most > 1 ? most % 2 : 0; /* two threads get the same */
  int64_t best = most;
  double least = waiting(p, target, most);
  for (int64_t blocks = most - 1; blocks >= fewest; blocks--) {
    int64_t height = (p->tile_count + blocks - 1) / blocks;
    double time = waiting(p, target, blocks);
    if (time * slack >= least || p->points * p->channels * height * 4 > target->l3_bytes / 8) continue;
    least = time;
    best = blocks;
  }
  return best;
}

/* The best first: vectors of a register tile, and how many times as many blocks as are best. Fewer would
 * leave less to several threads. */
static const struct {
  int vectors, blocks;
} choices[] = {{TILE_VECTORS, 1}, {4, 1}, {3, 1}, {TILE_VECTORS, 2}, {1, 1}};

static const char *winograd_choose(const Node *node, const Node *anchor, const Target *target, int rank) {
  Problem p;
  describe(anchor, &p);
  if (rank >= COUNT_OF(choices)) return NULL;
  int per_panel = PANEL / target_lanes(target, DTYPE_F32), vectors = choices[rank].vectors;
  int panels = vectors > per_panel && p.panel_count > 1 ? vectors / per_panel : 1;
  int rows = (target->vector_registers - panels * per_panel - 1) / (panels * per_panel);
  int64_t blocks = choose_blocks(&p, target) * choices[rank].blocks;
  return arena_printf(node->graph->module->arena, "winograd tiles=%lld rows=%d panels=%d",
                      (long long)((p.tile_count + blocks - 1) / blocks),
                      rows > MAX_TILE_ROWS ? MAX_TILE_ROWS : rows, panels);
}

/* ---- code ---------------------------------------------------------------------------------------------- */

typedef struct Emit {
  Lower *lower;
  Problem p;
  int rows, panels;       /* of a register tile */
  int lanes, per_panel;   /* vectors per panel */
  int64_t channel_blocks; /* of `lanes` channels */
  Buffer *x, *u, *v, *products, *in_tile, *out_tile;
  int64_t height;     /* of a block: tiles */
  Reg *image, *first; /* of the block: its first tile */
  Reg *panel;         /* of the group of panels */
  int vectors;        /* of the group: with columns */
} Emit;

static Loops *loops_of(Emit *e) {
  return &e->lower->loops;
}
static Reg *number(Emit *e, int64_t value) {
  return loop_int(loops_of(e), value);
}
static Reg *add(Emit *e, Reg *x, Reg *y) {
  return loop_binary(loops_of(e), LOOP_ADD, x, y);
}
static Reg *scaled(Emit *e, Reg *x, int64_t factor, int64_t offset) {
  if (factor != 1) x = loop_binary(loops_of(e), LOOP_MUL, x, number(e, factor));
  return offset ? add(e, x, number(e, offset)) : x;
}
static Reg *zeros(Emit *e) {
  return loop_const(loops_of(e), (LoopType){DTYPE_F32, e->lanes}, 0);
}
/* a*x + y */
static Reg *axpy(Emit *e, double a, Reg *x, Reg *y) {
  if (a == 1) return loop_binary(loops_of(e), LOOP_ADD, x, y);
  if (a == -1) return loop_binary(loops_of(e), LOOP_SUB, y, x);
  return loop_mul_add(loops_of(e), loop_const(loops_of(e), x->type, a), x, y);
}

static Reg *times(Emit *e, double a, Reg *x) {
  return loop_binary(loops_of(e), LOOP_MUL, loop_const(loops_of(e), x->type, a), x);
}

/* One side of the transforms: B^T on `side` values, A^T on them; `step` apart. For tiles of 4 the points are
 * 0, A, -A, B, -B with A * B = 1, and infinity (see ir/ops/winograd.c). */
static const double A = 2.0 / 3, B = 3.0 / 2;

static void input_side(Emit *e, Reg **d, int step) {
#define D(i) d[(i) * step]
  if (e->p.tile == 2) {
    Reg *v[4] = {axpy(e, -1, D(2), D(0)), axpy(e, 1, D(1), D(2)), axpy(e, -1, D(1), D(2)),
                 axpy(e, -1, D(1), D(3))};
    for (int i = 0; i < 4; i++) D(i) = v[i];
    return;
  }
  Reg *even_a = axpy(e, -B * B, D(2), D(4)), *odd_a = axpy(e, -B * B, D(1), D(3));
  Reg *even_b = axpy(e, -A * A, D(2), D(4)), *odd_b = axpy(e, -A * A, D(1), D(3));
  Reg *first = axpy(e, 1, axpy(e, -A * A - B * B, D(2), D(0)), D(4));
  Reg *last = axpy(e, 1, axpy(e, -A * A - B * B, D(3), D(1)), D(5));
  D(0) = first;
  D(1) = axpy(e, A, odd_a, even_a);
  D(2) = axpy(e, -A, odd_a, even_a);
  D(3) = axpy(e, B, odd_b, even_b);
  D(4) = axpy(e, -B, odd_b, even_b);
  D(5) = last;
#undef D
}

static void output_side(Emit *e, Reg **m, int step) {
#define M(i) m[(i) * step]
  Reg *sum = axpy(e, 1, M(1), M(2)), *difference = axpy(e, -1, M(2), M(1));
  if (e->p.tile == 2) {
    M(0) = axpy(e, 1, M(0), sum);
    M(1) = axpy(e, 1, difference, M(3));
    return;
  }
  Reg *sum_b = axpy(e, 1, M(3), M(4)), *difference_b = axpy(e, -1, M(4), M(3));
  M(0) = axpy(e, 1, axpy(e, 1, M(0), sum), sum_b);
  M(1) = axpy(e, A, difference, times(e, B, difference_b));
  M(2) = axpy(e, A * A, sum, times(e, B * B, sum_b));
  M(3) = axpy(e, A * A * A, difference, axpy(e, B * B * B, difference_b, M(5)));
#undef M
}

/* ---- where a tile lies ---- */

/* Where a tile begins, and whether all of it is there. */
typedef struct Place {
  Reg *at[2];  /* first pixel; of x it may be negative */
  Reg *inside; /* bool; NULL: always */
} Place;

static Reg *both(Emit *e, Reg *a, Reg *b) {
  return a && b ? loop_binary(loops_of(e), LOOP_AND, a, b) : a ? a : b;
}

/* `before` pixels lie before the first; `reach` pixels are wanted of `size`. */
static Place place_of(Emit *e, Reg *tile, const int64_t *before, int64_t reach, const int64_t *size) {
  const Problem *p = &e->p;
  Loops *loops = loops_of(e);
  Reg *width = number(e, p->tiles[1]);
  Reg *grid[2] = {loop_binary(loops, LOOP_FLOORDIV, tile, width),
                  loop_binary(loops, LOOP_FLOORMOD, tile, width)};
  Place place = {.inside = NULL};
  for (int i = 0; i < 2; i++) {
    place.at[i] = scaled(e, grid[i], p->tile, -before[i]);
    if (before[i] > 0)
      place.inside = both(e, place.inside, loop_binary(loops, LOOP_GE, place.at[i], number(e, 0)));
    if ((p->tiles[i] - 1) * p->tile - before[i] + reach > size[i])
      place.inside =
          both(e, place.inside, loop_binary(loops, LOOP_LE, place.at[i], number(e, size[i] - reach)));
  }
  return place;
}

/* Loops over the pixels of a tile that exist; begin gives their position in the tile. */
typedef struct Existing {
  For loops[2];
  Reg *at[2];
} Existing;

static Existing existing_begin(Emit *e, const Place *place, int64_t reach, const int64_t *size) {
  Existing pixels;
  for (int i = 0; i < 2; i++) {
    Loops *loops = loops_of(e);
    Reg *zero = number(e, 0);
    Reg *low = loop_binary(loops, LOOP_MAX, zero, loop_binary(loops, LOOP_SUB, zero, place->at[i]));
    Reg *left = loop_binary(loops, LOOP_SUB, number(e, size[i]), place->at[i]);
    pixels.loops[i] = loop_for(loops, low, loop_binary(loops, LOOP_MIN, number(e, reach), left), 1, 0, NULL);
    pixels.at[i] = pixels.loops[i].counter;
  }
  return pixels;
}

static void existing_end(Emit *e, Existing *pixels) {
  loop_end(loops_of(e), &pixels->loops[1], NULL);
  loop_end(loops_of(e), &pixels->loops[0], NULL);
}

/* ---- inputs ---- */

static Reg *load_pixel(Emit *e, const Place *place, Reg *row, Reg *column, Reg *channel) {
  Reg *at[4] = {e->image, add(e, place->at[0], row), add(e, place->at[1], column), channel};
  return loop_load(loops_of(e), e->x, at, e->lanes, e->lower->mask);
}

/* A tile that reaches outside of x: what exists, among zeros. */
static void gather_tile(Emit *e, const Place *place, Reg *channel) {
  Loops *loops = loops_of(e);
  for (int64_t i = 0; i < e->p.points; i++)
    loop_store(loops, zeros(e), e->in_tile, (Reg *[]){number(e, i), number(e, 0)}, NULL);
  Existing pixels = existing_begin(e, place, e->p.side, e->p.size);
  Reg *pixel = load_pixel(e, place, pixels.at[0], pixels.at[1], channel);
  Reg *at[2] = {add(e, scaled(e, pixels.at[0], e->p.side, 0), pixels.at[1]), number(e, 0)};
  loop_store(loops, pixel, e->in_tile, at, NULL);
  existing_end(e, &pixels);
}

static void transform_input(Emit *e, Reg *tile, Reg *channel_block, Reg **d) {
  int side = (int)e->p.side;
  for (int j = 0; j < side; j++) input_side(e, d + j, side);
  for (int i = 0; i < side; i++) input_side(e, d + (size_t)i * (size_t)side, 1);
  Reg *line = add(e, scaled(e, channel_block, e->height, 0), tile);
  for (int64_t i = 0; i < e->p.points; i++)
    loop_store(loops_of(e), d[i], e->v, (Reg *[]){number(e, i), line, number(e, 0)}, NULL);
}

/* All channels of one tile; `whole`: all of its pixels exist. */
static void input_channels(Emit *e, Reg *tile, const Place *place, bool whole) {
  Loops *loops = loops_of(e);
  Reg *d[MAX_SIDE * MAX_SIDE];
  For blocks = loop_for(loops, number(e, 0), number(e, e->channel_blocks), 1, 0, NULL);
  Reg *channel = scaled(e, blocks.counter, e->lanes, 0);
  if (e->p.channels % e->lanes) {
    Reg *left = loop_binary(loops, LOOP_SUB, number(e, e->p.channels), channel);
    e->lower->mask = loop_lanes_below(loops, left, e->lanes);
  }
  if (!whole) gather_tile(e, place, channel);
  for (int64_t i = 0; i < e->p.points; i++)
    d[i] = whole ? load_pixel(e, place, number(e, i / e->p.side), number(e, i % e->p.side), channel)
                 : loop_load(loops, e->in_tile, (Reg *[]){number(e, i), number(e, 0)}, e->lanes, NULL);
  e->lower->mask = NULL;
  transform_input(e, tile, blocks.counter, d);
  loop_end(loops, &blocks, NULL);
}

/* The last block may have fewer tiles than the others; the last tile then fills its place. */
static void all_inputs(Emit *e) {
  Loops *loops = loops_of(e);
  For tiles = loop_parallel(loops, number(e, 0), number(e, e->height), 1);
  Reg *tile = loop_binary(loops, LOOP_MIN, add(e, e->first, tiles.counter), number(e, e->p.tile_count - 1));
  Place place = place_of(e, tile, e->p.before, e->p.side, e->p.size);
  if (!place.inside) {
    input_channels(e, tiles.counter, &place, true);
  } else {
    If branch = loop_if(loops, place.inside, 0, NULL);
    input_channels(e, tiles.counter, &place, true);
    loop_else(loops, &branch, NULL);
    input_channels(e, tiles.counter, &place, false);
    loop_end_if(loops, &branch, NULL);
  }
  loop_end(loops, &tiles, NULL);
}

/* ---- products ---- */

/* A register tile of one point. */
typedef struct Strip {
  Emit *emit;
  Reg *point;
} Strip;

/* acc[r][j] += v[row + r][k] * u[k][j] for `count` channels of one channel block. */
static void channels_of_block(Emit *e, Reg *point, Reg *row, int height, Reg *block, int64_t count,
                              Reg **acc) {
  Loops *loops = loops_of(e);
  int total = height * e->vectors;
  For k = loop_for(loops, number(e, 0), number(e, count), 1, total, acc);
  Reg *u[MAX_TILE_VECTORS], *next[MAX_TILE_ROWS * MAX_TILE_VECTORS];
  Reg *channel = add(e, scaled(e, block, e->lanes, 0), k.counter);
  for (int j = 0; j < e->vectors; j++) {
    Reg *at[4] = {scaled(e, e->panel, 1, j / e->per_panel), point, channel,
                  number(e, (int64_t)(j % e->per_panel) * e->lanes)};
    u[j] = loop_load(loops, e->u, at, e->lanes, NULL);
  }
  Reg *line = add(e, scaled(e, block, e->height, 0), row);
  for (int r = 0; r < height; r++) {
    Reg *at[3] = {point, scaled(e, line, 1, r), k.counter};
    Reg *v = loop_splat(loops, loop_load(loops, e->v, at, 1, NULL), e->lanes);
    for (int j = 0; j < e->vectors; j++)
      next[r * e->vectors + j] = loop_mul_add(loops, v, u[j], k.carried[r * e->vectors + j]);
  }
  loop_end(loops, &k, next);
  for (int i = 0; i < total; i++) acc[i] = k.results[i];
}

static void one_strip(void *context, Reg *row, int height) {
  Strip *strip = context;
  Emit *e = strip->emit;
  Loops *loops = loops_of(e);
  Reg *acc[MAX_TILE_ROWS * MAX_TILE_VECTORS], *inner[MAX_TILE_ROWS * MAX_TILE_VECTORS];
  int total = height * e->vectors;
  int64_t whole = e->p.channels / e->lanes, rest = e->p.channels % e->lanes;
  assert(e->vectors <= MAX_TILE_VECTORS && height <= MAX_TILE_ROWS);
  for (int i = 0; i < total; i++) acc[i] = zeros(e);
  For blocks = loop_for(loops, number(e, 0), number(e, whole), 1, total, acc);
  for (int i = 0; i < total; i++) inner[i] = blocks.carried[i];
  channels_of_block(e, strip->point, row, height, blocks.counter, e->lanes, inner);
  loop_end(loops, &blocks, inner);
  for (int i = 0; i < total; i++) acc[i] = blocks.results[i];
  if (rest) channels_of_block(e, strip->point, row, height, number(e, whole), rest, acc);
  for (int i = 0; i < total; i++) {
    Reg *at[4] = {scaled(e, row, 1, i / e->vectors), number(e, i % e->vectors), strip->point, number(e, 0)};
    loop_store(loops, acc[i], e->products, at, NULL);
  }
}

static void all_products(Emit *e) {
  Loops *loops = loops_of(e);
  For points = loop_for(loops, number(e, 0), number(e, e->p.points), 1, 0, NULL);
  Strip strip = {e, points.counter};
  int64_t looped = e->height > e->rows ? INT64_MAX : 0; /* a single strip needs no loop */
  tile_strips(loops, dim_const(e->lower->module, e->height), e->rows, 0, looped, one_strip, &strip);
  loop_end(loops, &points, NULL);
}

/* ---- results ---- */

static void store_pixel(Emit *e, const Place *place, Reg *row, Reg *column, Reg *first_column, Reg *value) {
  Index at[4] = {index_of(e->image), index_of(add(e, place->at[0], row)),
                 index_of(add(e, place->at[1], column)), index_run(first_column, 1)};
  lower_result(e->lower, 0, at, value);
}

/* A tile that reaches beyond the result: only what exists is stored. */
static void store_existing(Emit *e, const Place *place, Reg *column, Reg *const *y) {
  Loops *loops = loops_of(e);
  int64_t tile = e->p.tile;
  for (int64_t i = 0; i < tile * tile; i++)
    loop_store(loops, y[i], e->out_tile, (Reg *[]){number(e, i), number(e, 0)}, NULL);
  Existing pixels = existing_begin(e, place, tile, e->p.out);
  Reg *at[2] = {add(e, scaled(e, pixels.at[0], tile, 0), pixels.at[1]), number(e, 0)};
  Reg *value = loop_load(loops, e->out_tile, at, e->lanes, NULL);
  store_pixel(e, place, pixels.at[0], pixels.at[1], column, value);
  existing_end(e, &pixels);
}

static void store_tile(Emit *e, const Place *place, Reg *column, Reg *const *y) {
  Loops *loops = loops_of(e);
  int64_t tile = e->p.tile;
  If branch = {0};
  if (place->inside) branch = loop_if(loops, place->inside, 0, NULL);
  for (int64_t i = 0; i < tile * tile; i++)
    store_pixel(e, place, number(e, i / tile), number(e, i % tile), column, y[i]);
  if (!place->inside) return;
  loop_else(loops, &branch, NULL);
  store_existing(e, place, column, y);
  loop_end_if(loops, &branch, NULL);
}

/* Vector `vector` of the group, of one tile; `mask` says which of its columns exist. */
static void output_vector(Emit *e, Reg *tile, const Place *place, Reg *vector, Reg *mask) {
  Loops *loops = loops_of(e);
  int side = (int)e->p.side, size = (int)e->p.tile;
  Reg *m[MAX_SIDE * MAX_SIDE], *y[MAX_SIDE * MAX_SIDE];
  for (int64_t i = 0; i < e->p.points; i++) {
    Reg *at[4] = {tile, vector, number(e, i), number(e, 0)};
    m[i] = loop_load(loops, e->products, at, e->lanes, NULL);
  }
  for (int j = 0; j < side; j++) output_side(e, m + j, side);
  for (int i = 0; i < size; i++) output_side(e, m + (size_t)i * (size_t)side, 1);
  Reg *column = add(e, scaled(e, e->panel, PANEL, 0), scaled(e, vector, e->lanes, 0));
  e->lower->mask = mask;
  Reg *bias = NULL;
  if (operand(e->p.anchor, 2)) {
    Index at = index_run(column, 1);
    bias = loop_splat(loops, lower_operand(e->lower, e->p.anchor, 2, &at), e->lanes);
  }
  for (int i = 0; i < size * size; i++) {
    Reg *value = m[i / size * side + i % size];
    y[i] = bias ? axpy(e, 1, value, bias) : value;
  }
  store_tile(e, place, column, y);
  e->lower->mask = NULL;
}

/* `columns` of the group's columns exist: all vectors but perhaps the last are whole. */
static void all_outputs(Emit *e, int64_t columns) {
  Loops *loops = loops_of(e);
  static const int64_t no_padding[2] = {0, 0};
  Reg *left = loop_binary(loops, LOOP_SUB, number(e, e->p.tile_count), e->first);
  Reg *count = loop_binary(loops, LOOP_MIN, left, number(e, e->height));
  For tiles = loop_for(loops, number(e, 0), count, 1, 0, NULL);
  Place place = place_of(e, add(e, e->first, tiles.counter), no_padding, e->p.tile, e->p.out);
  int64_t whole = columns / e->lanes, rest = columns % e->lanes;
  if (whole > 0) {
    For vectors = loop_for(loops, number(e, 0), number(e, whole), 1, 0, NULL);
    output_vector(e, tiles.counter, &place, vectors.counter, NULL);
    loop_end(loops, &vectors, NULL);
  }
  if (rest > 0)
    output_vector(e, tiles.counter, &place, number(e, whole),
                  loop_lanes_below(loops, number(e, rest), e->lanes));
  loop_end(loops, &tiles, NULL);
}

/* ---- blocks ---- */

static Buffer *local(Emit *e, const char *name, int rank, const int64_t *dims) {
  Kernel *kernel = e->lower->loops.kernel;
  name = arena_printf(e->lower->module->arena, "%s%d", name, kernel->local_count);
  return kernel_add_local(kernel, name, DTYPE_F32, rank, dims);
}

static void panel_group(Emit *e, Reg *panel, int64_t columns) {
  e->panel = panel;
  e->vectors = (int)((columns + e->lanes - 1) / e->lanes);
  e->products = local(e, "products", 4, (int64_t[]){e->height, e->vectors, e->p.points, e->lanes});
  e->out_tile = local(e, "out_tile", 2, (int64_t[]){e->p.tile * e->p.tile, e->lanes});
  all_products(e);
  all_outputs(e, columns);
}

static void one_block(Emit *e, Reg *first) {
  Loops *loops = loops_of(e);
  int64_t full = e->p.columns / (e->panels * PANEL) * e->panels;
  e->first = first;
  all_inputs(e);
  if (full > 0) {
    For groups = loop_parallel(loops, number(e, 0), number(e, full), e->panels);
    panel_group(e, groups.counter, (int64_t)e->panels * PANEL);
    loop_end(loops, &groups, NULL);
  }
  if (e->p.columns > full * PANEL) panel_group(e, number(e, full), e->p.columns - full * PANEL);
}

/* Many blocks are independent; of few, each is divided among threads, if there is more to divide. */
static void all_blocks(Emit *e) {
  Loops *loops = loops_of(e);
  const Value *y = result(e->p.anchor, 0);
  const Dim *images = y->type->dims[0];
  int64_t blocks = (e->p.tile_count + e->height - 1) / e->height;
  int64_t enough = group_count(&e->p) < MANY ? group_count(&e->p) : MANY;
  bool many = !dim_is_const(images) || images->value * blocks >= enough;
  Reg *zero = number(e, 0), *image_count = lower_dim(e->lower, y, 0), *end = number(e, blocks * e->height);
  For outer =
      many ? loop_parallel(loops, zero, image_count, 1) : loop_for(loops, zero, image_count, 1, 0, NULL);
  For inner =
      many ? loop_parallel(loops, zero, end, e->height) : loop_for(loops, zero, end, e->height, 0, NULL);
  e->image = outer.counter;
  one_block(e, inner.counter);
  loop_end(loops, &inner, NULL);
  loop_end(loops, &outer, NULL);
}

static void winograd_body(Lower *lower, void *context) {
  const VariantContext *variant = context;
  Emit e = {.lower = lower, .lanes = target_lanes(variant->target, DTYPE_F32)};
  bool ok = describe(lower->anchor, &e.p);
  assert(ok && "winograd_match was true");
  (void)ok;
  e.height = schedule_param(variant->schedule, "tiles", 1);
  e.rows = schedule_param(variant->schedule, "rows", 1);
  e.panels = schedule_param(variant->schedule, "panels", 1);
  e.per_panel = PANEL / e.lanes;
  if (e.height < 1 || e.height > e.p.tile_count) e.height = e.p.tile_count;
  if (e.rows < 1 || e.rows > MAX_TILE_ROWS) e.rows = 1;
  if (e.panels < 1 || e.panels * e.per_panel > MAX_TILE_VECTORS) e.panels = 1;
  e.channel_blocks = (e.p.channels + e.lanes - 1) / e.lanes;
  lower->lanes = e.lanes;
  e.x = lower_buffer(lower, operand(lower->anchor, 0));
  e.u = lower_buffer(lower, operand(lower->anchor, 1));
  int64_t lines = (e.channel_blocks * e.height) | 1; /* odd: see the head of the file */
  e.v = local(&e, "v", 3, (int64_t[]){e.p.points, lines, e.lanes});
  e.in_tile = local(&e, "in_tile", 2, (int64_t[]){e.p.points, e.lanes});
  all_blocks(&e);
}

const Variant variant_winograd = {
    .name = "winograd",
    .doc = "3x3 convolutions over transformed weights: tiles per block, rows and panels of a register tile",
    .match = winograd_match,
    .choose = winograd_choose,
    .body = winograd_body,
};

/* ---- the weights --------------------------------------------------------------------------------------- */

static bool weights_match(const Node *node, const Node *anchor, const Target *target) {
  (void)node;
  return anchor && node_is(anchor, &op_winograd_weights) && target_lanes(target, DTYPE_F32) <= PANEL;
}

/* The op's own nest, in lanes. */
static void weights_body(Lower *lower, void *context) {
  const VariantContext *variant = context;
  lower->lanes = target_lanes(variant->target, DTYPE_F32);
  lower->anchor->op->nest(lower, lower->anchor);
}

const Variant variant_winograd_weights = {
    .name = "winograd_weights",
    .doc = "transformed weights of 3x3 convolutions: lanes over columns",
    .match = weights_match,
    .body = weights_body,
};
