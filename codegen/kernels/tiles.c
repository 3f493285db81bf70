/* tiles.c -- see tiles.h. */
#include "codegen/kernels/tiles.h"

/* Rows that fit beside `vectors` vectors of the right side and one broadcast in the register file; all of
 * these twice where they are split, which two rows at least should share. */
static int rows_that_fit(const Target *target, const TileProblem *problem, int vectors) {
  int held = (vectors + 1) * (problem->split ? 2 : 1), rows = (target->vector_registers - held) / vectors;
  if (problem->split && rows < 2) rows = 2;
  return rows > MAX_TILE_ROWS ? MAX_TILE_ROWS : rows;
}

/* The most lines that `rows` rows want in one set of the L1 cache, whose ways are 4 KiB everywhere that
 * matters. */
static int lines_per_set(int rows, int64_t row_bytes) {
  enum { LINE = 64, SETS = 64 };
  int used[SETS] = {0}, most = 1;
  for (int64_t r = 0, last = -1; r < rows; r++) {
    int64_t line = r * row_bytes / LINE;
    if (line != last && ++used[line % SETS] > most) most = used[line % SETS];
    last = line;
  }
  return most;
}

/* Cycles per step of k for one tile: the fma, at least the latency of the chain of one accumulator; a little
 * for each load, more for the vectors, as these streams crowd out each other, so that of equals the squarest
 * tile wins; and for the loop itself, so that the largest does. Rows that evict each other from L1 come from
 * L2 in every step: K = 1024 or 3072 in place is 114 GFLOP/s with 7 or 9 rows, 101 with 13, 66 with 14 by one
 * vector. L1 of 12 ways (Zen 5) gains nothing by more rows: ResNet-50 takes 3 % longer. Finishing and storing
 * the results takes cycles, too, which the fma of the next tile hide if they are few. */
static double tile_cycles(const Target *target, const TileProblem *problem, int rows, double vectors) {
  enum { LATENCY = 4, WAYS = 8, HIDDEN = 16 };
  double count = rows * vectors, cycles = count / target->fma_pipes;
  if (vectors > 1 && vectors < 2) cycles *= 1.08; /* whole and half in turns: 105 GFLOP/s; in two tiles 112 */
  if (cycles < LATENCY) cycles = LATENCY;
  int lines = lines_per_set(rows, problem->row_bytes);
  if (lines > WAYS) cycles += lines;
  if (problem->k && count > HIDDEN) cycles += 4 * (count - HIDDEN) / (double)problem->k;
  return cycles + 0.1 * rows + 0.2 * vectors + 0.25;
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

static double tiling_cycles(const Target *target, const TileProblem *problem, int64_t row_count,
                            TileSize tile) {
  Balance b = balance(row_count, tile.rows);
  int lanes = target_lanes(target, DTYPE_F32), narrow = problem->narrow ? problem->narrow : lanes;
  int width = tile.panels * problem->panel;
  int64_t groups = problem->columns / width, rest = problem->columns % width;
  double full = (double)width / lanes, last = (double)((rest + narrow - 1) / narrow * narrow) / lanes;
  double cycles = 0;
  for (int part = 0; part < 2; part++) {
    int64_t count = part ? b.tall : b.strips - b.tall;
    int height = b.low + part;
    cycles += (double)count * (double)groups * tile_cycles(target, problem, height, full);
    if (rest) cycles += (double)count * tile_cycles(target, problem, height, last);
  }
  return cycles;
}

int tile_narrow_lanes(const Target *target) {
  int lanes = target_lanes(target, DTYPE_F32);
  return target->fma_pipes == 1 ? lanes / 2 : lanes;
}

typedef struct Ranked {
  TileSize tile;
  double cycles;
} Ranked;

/* Keeps the list sorted; of equals the first one stays first. */
static void rank_insert(Ranked *list, int count, Ranked ranked) {
  for (; count > 0 && list[count - 1].cycles > ranked.cycles; count--) list[count] = list[count - 1];
  list[count] = ranked;
}

/* How many cheaper tiles have as many panels. */
static int rank_among_equals(const Ranked *list, int index) {
  int cheaper = 0;
  for (int i = 0; i < index; i++) cheaper += list[i].tile.panels == list[index].tile.panels;
  return cheaper;
}

bool tile_choose(const Target *target, const TileProblem *problem, int rank, TileSize *tile) {
  enum { MAX_VECTORS = 8 };
  Ranked list[MAX_VECTORS * MAX_TILE_ROWS];
  const Dim *rows = problem->row_count;
  int64_t count = dim_is_const(rows) && rows->value > 0 ? rows->value : 1 << 20;
  int per_panel = problem->panel / target_lanes(target, DTYPE_F32), found = 0;
  int64_t panel_count = (problem->columns + problem->panel - 1) / problem->panel;
  for (int panels = 1; panels * per_panel <= MAX_VECTORS && panels <= panel_count; panels++) {
    int fit = rows_that_fit(target, problem, panels * per_panel);
    for (int height = 1; height <= fit && height <= count; height++) {
      TileSize size = {height, panels};
      rank_insert(list, found++, (Ranked){size, tiling_cycles(target, problem, count, size)});
    }
  }
  *tile = (TileSize){1, 1};
  for (int turn = 0; turn < found; turn++)
    for (int i = 0; i < found; i++)
      if (rank_among_equals(list, i) == turn && rank-- == 0) {
        *tile = list[i].tile;
        return true;
      }
  return rank == 0;
}

void axis_inside(const Axis *axis, int64_t *from, int64_t *to) {
  *from = 0;
  *to = INT64_MAX;
  if (axis->size == INT64_MAX) return;
  int64_t rest = axis->size + axis->before - (axis->kernel - 1) * axis->dilation;
  *from = (axis->before + axis->stride - 1) / axis->stride;
  *to = rest > 0 ? (rest - 1) / axis->stride + 1 : 0;
}

/* ---- strips -------------------------------------------------------------------------------------------- */

static void strips_between(Loops *loops, Reg *from, Reg *to, int height, StripBody body, void *context) {
  For loop = loop_parallel(loops, from, to, height);
  body(context, loop.counter, height);
  loop_end(loops, &loop, NULL);
}

typedef struct Strips {
  Loops *loops;
  Sections sections;
  StripBody body;
  void *context;
} Strips;

/* The strips of one height from row `first`: a loop over those inside, the others one by one. */
static void even_strips(const Strips *strips, int64_t first, int64_t count, int height, int64_t from,
                        int64_t to) {
  Loops *loops = strips->loops;
  for (int64_t i = 0; i < count;) {
    int64_t row = first + i * height, run = 0;
    while (i + run < count && row + run * height >= from && row + (run + 1) * height <= to) run++;
    loop_section(loops, &strips->sections);
    Reg *begin = loop_int(loops, row);
    if (run > 0)
      strips_between(loops, begin, loop_int(loops, row + run * height), height, strips->body,
                     strips->context);
    else
      strips->body(strips->context, begin, height);
    i += run > 0 ? run : 1;
  }
}

void tile_strips(Loops *loops, const Dim *count, int rows, int64_t from, int64_t to, StripBody body,
                 void *context) {
  if (!dim_is_const(count)) {
    tile_open_strips(loops, loop_dim(loops, count), rows, body, context);
    return;
  }
  Strips strips = {loops, loop_sections(loops), body, context};
  Balance b = balance(count->value, rows);
  even_strips(&strips, 0, b.tall, b.low + 1, from, to);
  even_strips(&strips, b.tall * (b.low + 1), b.strips - b.tall, b.low, from, to);
  loop_end_sections(loops, &strips.sections);
}

void tile_open_strips(Loops *loops, Reg *count, int rows, StripBody body, void *context) {
  Reg *bounds[4] = {loop_int(loops, 0)};
  int heights[3] = {rows, rows > 4 ? 4 : 1, 1}, parts = rows > 4 ? 3 : rows > 1 ? 2 : 1;
  for (int i = 0; i < parts; i++) {
    Reg *step = loop_int(loops, heights[i]), *left = loop_binary(loops, LOOP_SUB, count, bounds[i]);
    left = loop_binary(loops, LOOP_MUL, loop_binary(loops, LOOP_FLOORDIV, left, step), step);
    bounds[i + 1] = loop_binary(loops, LOOP_ADD, bounds[i], left);
  }
  Sections sections = loop_sections(loops);
  for (int i = 0; i < parts; i++) {
    loop_section(loops, &sections);
    strips_between(loops, bounds[i], bounds[i + 1], heights[i], body, context);
  }
  loop_end_sections(loops, &sections);
}
