/*
 * blocks_few.c -- gemm_blocks of few rows, which wait for their weights: these are multiplied as they come.
 *
 * With dot products of bytes, in whole numbers: the x of a block are rounded to 22 bits below its largest
 * and a sign, about as exact as floats are, and taken apart into three signed digits of base 256. Weights are
 * 0 to 15 (or to 255), as they lie:
 *
 *   for each block: for each word: mask (and shift, mask); for each row: three dot_u8s8 for every 4 weights
 *                   total += (d2 * 65536 + d1 * 256 + d0) * step * scale
 *
 * Without: each number in a word becomes a float (blocks.c), with one fma per row. What that adds to all of
 * them is taken off word by word, times the sum of its x: over a whole block sums would grow to several times
 * of what is left in the end, and be as much less exact. In both the zero point is taken off once for a
 * block. Several vectors at once, so that no accumulator waits for itself; panels are wide, so that they are
 * one stream from memory.
 *
 * Measured on Zen 4, one row, 4 bits with f32 scales for blocks of 32: 58e9 weights a second from L3 (36
 * GB/s), 31e9 as floats; from memory as fast as that gives them, 25 GB/s. The results of 768 products are
 * within 4e-7 of their size of exact ones (rms), those of f32 sums within 2e-7.
 *
 * Digits of a word of 8 lie as its bytes do: those of rows 0, 2, 4, 6 in the low halves, then 1, 3, 5, 7.
 */
#include "codegen/kernels/blocks.h"

#include <assert.h>

enum { DIGITS = 3, FOUR = 4 };

static Loops *loops_of(Blocks *b) {
  return &b->lower->loops;
}

static Reg *op2(Blocks *b, Opcode op, Reg *x, Reg *y) {
  return loop_binary(loops_of(b), op, x, y);
}

static Reg *whole(Blocks *b, const Reg *like, int64_t value) {
  return loop_const_int(loops_of(b), like->type, value);
}

static Reg *real(Blocks *b, const Reg *like, double value) {
  return loop_const(loops_of(b), (LoopType){DTYPE_F32, like->type.lanes}, value);
}

/* ---- sums of x ----------------------------------------------------------------------------------------- */

/* Sums of x over a block, times what is taken off if that is the same for all. */
static void block_sums(Blocks *b, Reg *block, int64_t rows, Reg **values) {
  (void)values;
  Loops *loops = loops_of(b);
  for (int r = 0; r < b->rows; r++) {
    Reg *sum = loop_const(loops, (LoopType){DTYPE_F32, b->each}, 0), *row = loop_int(loops, r);
    For loop = loop_for(loops, loop_int(loops, 0), loop_int(loops, rows), b->each, 1, &sum);
    Reg *at[] = {row, op2(b, LOOP_ADD, blocks_times(b, block, b->size), loop.counter)};
    Reg *next = loop_binary(loops, LOOP_ADD, loop.carried[0], loop_load(loops, b->x, at, b->each, NULL));
    loop_end(loops, &loop, &next);
    sum = loop_reduce(loops, LOOP_REDUCE_ADD, loop.results[0]);
    sum = loop_binary(loops, LOOP_MUL, sum, loop_const(loops, sum->type, b->zero ? -1 : -b->offset));
    loop_store(loops, sum, b->sums, (Reg *[]){row, block}, NULL);
  }
}

/* ---- floats ------------------------------------------------------------------------------------------- */

/* Sums of x over the words of a block, times the offset. */
static void word_sums(Blocks *b, Reg *block, int64_t rows, Reg **values) {
  (void)values;
  Loops *loops = loops_of(b);
  Reg *first = blocks_times(b, block, b->size / b->each);
  for (int r = 0; r < b->rows; r++) {
    Reg *row = loop_int(loops, r);
    For loop = loop_for(loops, loop_int(loops, 0), loop_int(loops, rows / b->each), 1, 0, NULL);
    Reg *word = op2(b, LOOP_ADD, first, loop.counter), *at[] = {row, blocks_times(b, word, b->each)};
    Reg *sum = loop_reduce(loops, LOOP_REDUCE_ADD, loop_load(loops, b->x, at, b->each, NULL));
    sum = op2(b, LOOP_MUL, sum, loop_const(loops, sum->type, -b->offset));
    loop_store(loops, sum, b->word_sums, (Reg *[]){row, word}, NULL);
    loop_end(loops, &loop, NULL);
  }
}

/* sums[r][v] += x[r] * w[v] for the rows of one word. */
static void one_word(Blocks *b, Reg *word, Reg **sums) {
  Reg *words[MAX_TILE_VECTORS], *first = blocks_times(b, word, b->each);
  for (int v = 0; v < b->vectors; v++) words[v] = blocks_vector(b, b->q, word, v);
  for (int r = 0; r < b->rows; r++) {
    Reg *x_sum = blocks_spread(b, b->word_sums, loop_int(loops_of(b), r), word);
    for (int v = 0; v < b->vectors; v++)
      sums[r * b->vectors + v] = op2(b, LOOP_ADD, sums[r * b->vectors + v], x_sum);
  }
  for (int i = 0; i < b->each; i++)
    for (int v = 0; v < b->vectors; v++) {
      Reg *w = blocks_number(b, words[v], i);
      for (int r = 0; r < b->rows; r++) {
        Reg *x = blocks_spread(b, b->x, loop_int(loops_of(b), r), blocks_plus(b, first, i)),
            **sum = &sums[r * b->vectors + v];
        *sum = loop_mul_add(loops_of(b), x, w, *sum);
      }
    }
}

static void add_floats(Blocks *b, Reg *block, int64_t rows, Reg **totals) {
  Loops *loops = loops_of(b);
  int count = b->rows * b->vectors;
  Reg *sums[MAX_TILE_ROWS * MAX_TILE_VECTORS];
  for (int i = 0; i < count; i++) sums[i] = loop_const(loops, (LoopType){DTYPE_F32, b->lanes}, 0);
  Reg *first = blocks_times(b, block, b->size / b->each);
  For loop = loop_for(loops, loop_int(loops, 0), loop_int(loops, rows / b->each), 1, count, sums);
  for (int i = 0; i < count; i++) sums[i] = loop.carried[i];
  one_word(b, op2(b, LOOP_ADD, first, loop.counter), sums);
  loop_end(loops, &loop, sums);
  for (int v = 0; v < b->vectors; v++) {
    Reg *zero = blocks_zero(b, block, v), *scale = blocks_scale(b, block, v);
    for (int r = 0; r < b->rows; r++) {
      Reg **total = &totals[r * b->vectors + v], *sum = loop.results[r * b->vectors + v];
      if (zero) sum = loop_mul_add(loops, zero, blocks_spread(b, b->sums, loop_int(loops, r), block), sum);
      *total = loop_mul_add(loops, sum, scale, *total);
    }
  }
}

/* ---- whole numbers ------------------------------------------------------------------------------------- */

/* The lowest byte, as a signed digit; *x loses it and moves down. */
static Reg *next_digit(Blocks *b, Reg **x) {
  enum { BYTE = 8, REST = 24 };
  Reg *digit = op2(b, LOOP_SHR, op2(b, LOOP_SHL, *x, whole(b, *x, REST)), whole(b, *x, REST));
  *x = op2(b, LOOP_SHR, op2(b, LOOP_SUB, *x, digit), whole(b, *x, BYTE));
  return loop_cast(loops_of(b), digit, DTYPE_I8);
}

/* The digits of one word's rows, x / step rounded. */
static void store_digits(Blocks *b, Reg *row, Reg *word, Reg *per_step) {
  static const int64_t even_first[] = {0, 2, 4, 6, 1, 3, 5, 7};
  Loops *loops = loops_of(b);
  Reg *at[] = {row, blocks_times(b, word, b->each)}, *x = loop_load(loops, b->x, at, b->each, NULL);
  x = op2(b, LOOP_MUL, x, loop_splat(loops, per_step, b->each));
  x = loop_cast(loops, loop_unary(loops, LOOP_ROUND, x), DTYPE_I32);
  if (b->bits == 4) x = loop_shuffle(loops, x, x, even_first, b->each);
  for (int d = 0; d < DIGITS; d++) {
    Reg *to[] = {row, word, loop_int(loops, d), loop_int(loops, 0)};
    loop_store(loops, next_digit(b, &x), b->digits, to, NULL);
  }
}

/* Digits and steps of a block of x; what is nearly zero is that, with the step of 1. */
static void block_digits(Blocks *b, Reg *block, int64_t rows, Reg **values) {
  (void)values;
  enum { LARGEST = 1 << 22 };
  const double least = 0x1p-100;
  Loops *loops = loops_of(b);
  Reg *first = blocks_times(b, block, b->size);
  for (int r = 0; r < b->rows; r++) {
    Reg *most = loop_const(loops, (LoopType){DTYPE_F32, b->each}, 0), *row = loop_int(loops, r);
    For loop = loop_for(loops, loop_int(loops, 0), loop_int(loops, rows), b->each, 1, &most);
    Reg *at[] = {row, op2(b, LOOP_ADD, first, loop.counter)}, *x = loop_load(loops, b->x, at, b->each, NULL);
    x = op2(b, LOOP_MAX, loop_unary(loops, LOOP_ABS, x), loop.carried[0]);
    loop_end(loops, &loop, &x);
    most = loop_reduce(loops, LOOP_REDUCE_MAX, loop.results[0]);
    most = loop_select(loops, op2(b, LOOP_GT, most, real(b, most, least)), most, real(b, most, LARGEST));
    loop_store(loops, op2(b, LOOP_MUL, most, real(b, most, 1.0 / LARGEST)), b->steps, (Reg *[]){row, block},
               NULL);
    Reg *per_step = op2(b, LOOP_DIV, real(b, most, LARGEST), most),
        *word = blocks_times(b, block, b->size / b->each);
    loop = loop_for(loops, loop_int(loops, 0), loop_int(loops, rows / b->each), 1, 0, NULL);
    store_digits(b, row, op2(b, LOOP_ADD, word, loop.counter), per_step);
    loop_end(loops, &loop, NULL);
  }
}

/* Four digits for every column. */
static Reg *spread_digits(Blocks *b, int r, Reg *word, int digit, int part) {
  Loops *loops = loops_of(b);
  Reg *at[] = {loop_int(loops, r), word, loop_int(loops, digit), loop_int(loops, (int64_t)part * FOUR)};
  Reg *four = loop_load(loops, b->digits, at, FOUR, NULL);
  int64_t repeated[MAX_LANES];
  for (int i = 0; i < FOUR * b->lanes; i++) repeated[i] = i % FOUR;
  return loop_shuffle(loops, four, four, repeated, FOUR * b->lanes);
}

/* sums[r][v][digit] += the digits of x[r] * w[v] for the rows of one word. */
static void dot_word(Blocks *b, Reg *word, Reg **sums) {
  Loops *loops = loops_of(b);
  for (int v = 0; v < b->vectors; v++) {
    Reg *numbers = loop_bitcast(loops, blocks_vector(b, b->q, word, v), DTYPE_U8), *parts[2] = {numbers};
    if (b->bits == 4) {
      Reg *low = whole(b, numbers, 15), *four = whole(b, numbers, 4);
      parts[0] = op2(b, LOOP_AND, numbers, low);
      parts[1] = op2(b, LOOP_SHR, numbers, four);
    }
    for (int part = 0; part * FOUR < b->each; part++)
      for (int i = 0; i < b->rows * DIGITS; i++) {
        int r = i / DIGITS, digit = i % DIGITS;
        Reg **sum = &sums[(r * b->vectors + v) * DIGITS + digit];
        *sum = loop_dot(loops, LOOP_DOT_U8S8, *sum, parts[part], spread_digits(b, r, word, digit, part));
      }
  }
}

/* d0 + d1 * 256 + d2 * 65536 */
static Reg *joined(Blocks *b, Reg *const *digits) {
  Loops *loops = loops_of(b);
  Reg *sum = loop_cast(loops, digits[0], DTYPE_F32), *base = real(b, sum, 256);
  sum = loop_mul_add(loops, loop_cast(loops, digits[1], DTYPE_F32), base, sum);
  return loop_mul_add(loops, loop_cast(loops, digits[2], DTYPE_F32), real(b, sum, 65536), sum);
}

static void add_digits(Blocks *b, Reg *block, int64_t rows, Reg **totals) {
  Loops *loops = loops_of(b);
  int count = b->rows * b->vectors;
  Reg *sums[FEW_ROWS * MAX_TILE_VECTORS * DIGITS], *next[COUNT_OF(sums)];
  assert(count * DIGITS <= COUNT_OF(sums));
  for (int i = 0; i < count * DIGITS; i++)
    sums[i] = loop_const_int(loops, (LoopType){DTYPE_I32, b->lanes}, 0);
  Reg *first = blocks_times(b, block, b->size / b->each);
  For loop = loop_for(loops, loop_int(loops, 0), loop_int(loops, rows / b->each), 1, count * DIGITS, sums);
  for (int i = 0; i < count * DIGITS; i++) next[i] = loop.carried[i];
  dot_word(b, op2(b, LOOP_ADD, first, loop.counter), next);
  loop_end(loops, &loop, next);
  for (int v = 0; v < b->vectors; v++) {
    Reg *zero = blocks_zero(b, block, v), *scale = blocks_scale(b, block, v);
    for (int r = 0; r < b->rows; r++) {
      int i = r * b->vectors + v;
      Reg *row = loop_int(loops, r), *x_sum = blocks_spread(b, b->sums, row, block);
      if (zero) x_sum = op2(b, LOOP_MUL, zero, x_sum);
      Reg *sum = loop_mul_add(loops, joined(b, loop.results + (ptrdiff_t)i * DIGITS),
                              blocks_spread(b, b->steps, row, block), x_sum);
      totals[i] = loop_mul_add(loops, sum, scale, totals[i]);
    }
  }
}

/* ---- both ---------------------------------------------------------------------------------------------- */

void blocks_few_rows(Blocks *b) {
  Reg *totals[MAX_TILE_ROWS * MAX_TILE_VECTORS];
  int count = b->rows * b->vectors;
  for (int i = 0; i < count; i++)
    totals[i] = blocks_begin(b, loop_int(loops_of(b), i / b->vectors), i % b->vectors);
  blocks_each(b, count, totals, b->digits ? add_digits : add_floats);
  for (int i = 0; i < count; i++)
    blocks_end(b, loop_int(loops_of(b), i / b->vectors), i % b->vectors, totals[i]);
}

void blocks_prepare_few(Blocks *b, const Target *target, int rows) {
  enum { ACCUMULATORS = 4 };
  b->rows = rows;
  b->most_vectors = rows < ACCUMULATORS ? ACCUMULATORS / rows : 1;
  if (target->dots) {
    b->offset -= 1 << b->bits;
    b->digits = blocks_local(b, "digits", DTYPE_I8, 4, (int64_t[]){rows, b->k / b->each, DIGITS, b->each});
    b->steps = blocks_local(b, "steps", DTYPE_F32, 2, (int64_t[]){rows, b->count});
    blocks_each(b, 0, NULL, block_digits);
  } else {
    b->word_sums = blocks_local(b, "word_sums", DTYPE_F32, 2, (int64_t[]){rows, b->k / b->each});
    blocks_each(b, 0, NULL, word_sums);
    b->offset = 0; /* of the rest */
  }
  if (!b->digits && !b->zero) return;
  b->sums = blocks_local(b, "x_sums", DTYPE_F32, 2, (int64_t[]){rows, b->count});
  blocks_each(b, 0, NULL, block_sums);
}
