/*
 * blocks.h -- what the two ways of multiplying by weights of few bits share (blocks.c, blocks_few.c).
 */
#ifndef TENON_KERNELS_BLOCKS_H
#define TENON_KERNELS_BLOCKS_H

#include "codegen/kernels/tiles.h"

enum { BLOCKS_A, BLOCKS_Q, BLOCKS_C, BLOCKS_SCALE, BLOCKS_ZERO };
enum { BLOCKS_PANEL = 64, FEW_ROWS = 8 };

typedef struct Blocks {
  Lower *lower;
  const Node *anchor;
  Buffer *x, *q, *scale, *zero;    /* zero NULL: the number `offset` is all there is to take off */
  double factor;                   /* scale NULL: this */
  double offset;                   /* what numbers are larger than weights over scale, beside *zero */
  int bits, each;                  /* of a number; numbers in a word */
  int64_t k, columns, size, count; /* the last two: rows of a block, blocks */
  int lanes, rows, most_vectors;   /* the last two: limits of a tile */
  Buffer *floats;                  /* [k][columns of a tile]; many rows: weights */
  Buffer *sums;                    /* [rows][blocks]; few rows: of x, times what is taken off */
  Buffer *word_sums;               /* [rows][words]; few rows of floats: of x, times -offset */
  Buffer *digits, *steps;          /* few rows of whole numbers, see blocks_few.c; NULL: of floats */
  Reg *panel;                      /* the tile: in which, */
  int64_t panel_columns, from;     /* which has so many columns, from which on, */
  int vectors;                     /* how many */
} Blocks;

/* ---- small pieces (blocks.c) ---- */

Reg *blocks_plus(Blocks *b, Reg *x, int64_t offset);
Reg *blocks_times(Blocks *b, Reg *x, int64_t factor);
/* Vector v of the tile, of a buffer in panels, as it is; its scales and what is to be taken off, NULL: the
 * offset. */
Reg *blocks_vector(Blocks *b, Buffer *buffer, Reg *row, int v);
Reg *blocks_scale(Blocks *b, Reg *block, int v);
Reg *blocks_zero(Blocks *b, Reg *block, int v);
/* Element [row, k] of x in all lanes. */
Reg *blocks_spread(Blocks *b, Buffer *x, Reg *row, Reg *k);
/* Number `index` of each lane's word as a float, 2^bits too large. */
Reg *blocks_number(Blocks *b, Reg *words, int index);
/* Where sums of vector v of a row start, and where they end. */
Reg *blocks_begin(Blocks *b, Reg *row, int v);
void blocks_end(Blocks *b, Reg *row, int v, Reg *value);
Buffer *blocks_local(Blocks *b, const char *name, Dtype dtype, int rank, const int64_t *dims);

/* Called for a block, with its number and its rows; `values` are carried from one to the next. */
typedef void (*BlockBody)(Blocks *b, Reg *block, int64_t rows, Reg **values);
void blocks_each(Blocks *b, int count, Reg **values, BlockBody body);

/* ---- few rows (blocks_few.c) ---- */

/* What is made of x before the panels pass by; as whole numbers where the target has dot products of them. */
void blocks_prepare_few(Blocks *b, const Target *target, int rows);
void blocks_few_rows(Blocks *b);

#endif
