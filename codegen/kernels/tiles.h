/*
 * tiles.h -- what the kernels made of register tiles share: the size of a tile, and the strips of rows that
 * cover an axis.
 *
 * A tile is `rows` rows of the result by some vectors of columns; its accumulators are carried through the
 * loop over k as SSA values, so they live in registers.
 */
#ifndef TENON_KERNELS_TILES_H
#define TENON_KERNELS_TILES_H

#include "codegen/schedule.h"

enum { MAX_TILE_ROWS = 28, MAX_TILE_VECTORS = 16 };

typedef struct TileSize {
  int rows, panels;
} TileSize;

/* What a tile is chosen for. */
typedef struct TileProblem {
  const Dim *row_count;
  int64_t row_bytes; /* of the left side between rows; 0: not known */
  int64_t k;         /* products of a sum; 0: not known, many */
  int64_t columns;
  int panel;  /* columns of a panel, whole vectors */
  int narrow; /* lanes of a last vector that has no more columns; 0: all have as many */
  bool split; /* vectors are multiplied in halves, as bytes are where no instruction sums four products */
} TileProblem;

/* Lanes of the last vector of a row when it has few columns: half as many where a half costs half. */
int tile_narrow_lanes(const Target *target);

/* The tile of rank 0 is that of least cost. Those that follow are the best of each width, then the second
 * best of each, and so on: neighbours in cost are too alike to be worth a measurement. False when there is
 * none. */
bool tile_choose(const Target *target, const TileProblem *problem, int rank, TileSize *tile);

/* A spatial axis that windows slide along; its size matters only if it is padded, else INT64_MAX. */
typedef struct Axis {
  int64_t size, kernel, stride, dilation, before;
} Axis;

/* The positions of the result whose taps are all inside: [from, to). */
void axis_inside(const Axis *axis, int64_t *from, int64_t *to);

/* Called in the loop over the strips of one height; `row` is the first row, a literal outside of loops. */
typedef void (*StripBody)(void *context, Reg *row, int height);

/* Covers [0, count) with strips of at most `rows` rows. A constant count is balanced, so that 128 rows are 2
 * strips of 12 and 8 of 13, rather than 9 of 14 and one of 2. Strips that are not inside [from, to) are not
 * put into loops, so that their row is a literal; of a count that is not constant all are inside. */
void tile_strips(Loops *loops, const Dim *count, int rows, int64_t from, int64_t to, StripBody body,
                 void *context);
/* The same for a count that is known only when the kernel runs: whole strips, then smaller ones. */
void tile_open_strips(Loops *loops, Reg *count, int rows, StripBody body, void *context);

#endif
