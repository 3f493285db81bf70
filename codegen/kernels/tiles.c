/* tiles.c -- see tiles.h. */
#include "codegen/kernels/tiles.h"

/* Rows that fit beside `vectors` vectors of the right side and one broadcast in the register file. */
static int rows_that_fit(const Target *target, int vectors) {
  int rows = (target->vector_registers - vectors - 1) / vectors;
  return rows > MAX_TILE_ROWS ? MAX_TILE_ROWS : rows;
}

/* Cycles per step of k for one tile: two fma or two loads per cycle, at least the latency of the chain of one
 * accumulator, and a little for the loop itself, so that of equals the largest tile wins. */
static double tile_cycles(int rows, int vectors) {
  double fma = rows * vectors / 2.0, loads = (rows + vectors) / 2.0, latency = 4;
  double cycles = fma > loads ? fma : loads;
  return (cycles > latency ? cycles : latency) + 0.25;
}

/* Balanced heights: `tall` strips of low + 1 rows, then strips - tall of low. */
typedef struct Balance {
  int64_t strips, tall;
  int low;
} Balance;

static Balance balance(int64_t count, int rows) {
  Balance b = {.strips = (count + rows - 1) / rows};
  if (b.strips == 0) return b;
  b.low = (int)(count / b.strips);
  b.tall = count - b.strips * b.low;
  return b;
}

static double tiling_cycles(int64_t row_count, int64_t panel_count, int rows, int panels, int per_panel) {
  Balance b = balance(row_count, rows);
  int64_t groups = panel_count / panels, rest = panel_count % panels;
  double cycles = 0;
  for (int part = 0; part < 2; part++) {
    int64_t count = part ? b.tall : b.strips - b.tall;
    int height = b.low + part;
    cycles += (double)count * (double)groups * tile_cycles(height, panels * per_panel);
    if (rest) cycles += (double)count * tile_cycles(height, (int)rest * per_panel);
  }
  return cycles;
}

TileSize tile_choose(const Target *target, const Dim *row_count, int64_t panel_count, int per_panel) {
  TileSize best = {1, 1};
  int64_t count = dim_is_const(row_count) && row_count->value > 0 ? row_count->value : 1 << 20;
  double least = 0;
  for (int panels = 1; panels * per_panel <= 8 && panels <= panel_count; panels++) {
    int fit = rows_that_fit(target, panels * per_panel);
    for (int rows = 1; rows <= fit && rows <= count; rows++) {
      double cycles = tiling_cycles(count, panel_count, rows, panels, per_panel);
      if (least != 0 && cycles >= least) continue;
      least = cycles;
      best = (TileSize){rows, panels};
    }
  }
  return best;
}

/* ---- strips -------------------------------------------------------------------------------------------- */

static void strips_between(Loops *loops, Reg *from, Reg *to, int height, StripBody body, void *context) {
  For loop = loop_parallel(loops, from, to, height);
  body(context, loop.counter, height);
  loop_end(loops, &loop, NULL);
}

/* Whole strips, then smaller ones for what is left. */
static void open_strips(Loops *loops, const Dim *count, int rows, StripBody body, void *context) {
  Reg *size = loop_dim(loops, count), *from = loop_int(loops, 0);
  for (int height = rows; height > 0; height = height > 4 ? 4 : height > 1 ? 1 : 0) {
    Reg *step = loop_int(loops, height), *left = loop_binary(loops, LOOP_SUB, size, from);
    left = loop_binary(loops, LOOP_MUL, loop_binary(loops, LOOP_FLOORDIV, left, step), step);
    Reg *to = loop_binary(loops, LOOP_ADD, from, left);
    strips_between(loops, from, to, height, body, context);
    from = to;
  }
}

/* The strips of one height from row `first`: a loop over those inside, the others one by one. */
static void even_strips(Loops *loops, int64_t first, int64_t strips, int height, int64_t from, int64_t to,
                        StripBody body, void *context) {
  for (int64_t i = 0; i < strips;) {
    int64_t row = first + i * height, run = 0;
    while (i + run < strips && row + run * height >= from && row + (run + 1) * height <= to) run++;
    if (run > 0)
      strips_between(loops, loop_int(loops, row), loop_int(loops, row + run * height), height, body, context);
    else
      body(context, loop_int(loops, row), height);
    i += run > 0 ? run : 1;
  }
}

void tile_strips(Loops *loops, const Dim *count, int rows, int64_t from, int64_t to, StripBody body,
                 void *context) {
  if (!dim_is_const(count)) {
    open_strips(loops, count, rows, body, context);
    return;
  }
  Balance b = balance(count->value, rows);
  even_strips(loops, 0, b.tall, b.low + 1, from, to, body, context);
  even_strips(loops, b.tall * (b.low + 1), b.strips - b.tall, b.low, from, to, body, context);
}
