/*
 * lower_transposed.c -- reads whose runs in memory lie along another axis than the lanes.
 *
 * A transposed value read a vector at a time would be gathers, each from as many cache lines as it has lanes.
 * Instead a square tile is loaded along its runs, turned in registers, and remembered as the value of each
 * position: lower_value finds it there, whatever ops stand between it and the result.
 *
 * A square of n vectors is turned by n*log2(n) shuffles that every x86 does in one instruction: pairs, then
 * quarters within blocks of four lanes, then the blocks themselves.
 */
#include "ir/lower.h"

/* v[0..3], in every block of four lanes. */
static void turn_blocks(Loops *loops, Reg **v, int lanes) {
  int64_t low[MAX_SQUARE], high[MAX_SQUARE], first[MAX_SQUARE], last[MAX_SQUARE];
  for (int i = 0; i < lanes; i++) {
    int block = i / 4 * 4, from = (i % 2) * lanes + block;
    low[i] = from + i % 4 / 2; /* a0 b0 a1 b1 */
    high[i] = low[i] + 2;
    first[i] = block + (i % 4 < 2 ? 0 : lanes) + i % 2; /* a0 a1 b0 b1 */
    last[i] = first[i] + 2;
  }
  Reg *pairs[4] = {loop_shuffle(loops, v[0], v[1], low, lanes), loop_shuffle(loops, v[0], v[1], high, lanes),
                   loop_shuffle(loops, v[2], v[3], low, lanes), loop_shuffle(loops, v[2], v[3], high, lanes)};
  for (int i = 0; i < 4; i += 2) {
    v[i] = loop_shuffle(loops, pairs[i / 2], pairs[2 + i / 2], first, lanes);
    v[i + 1] = loop_shuffle(loops, pairs[i / 2], pairs[2 + i / 2], last, lanes);
  }
}

/* The blocks [a0 b0 ..] of v, a0 from x and b0 from y where it is 4 or more. */
static Reg *pick_blocks(Loops *loops, Reg *x, Reg *y, const int *blocks, int lanes) {
  int64_t pick[MAX_SQUARE];
  for (int i = 0; i < lanes; i++) {
    int block = blocks[i / 4];
    pick[i] = (block < 4 ? block * 4 : lanes + (block - 4) * 4) + i % 4;
  }
  return loop_shuffle(loops, x, y, pick, lanes);
}

/* Block q of v[4*g + i] goes to block g of v[4*q + i]. */
static void move_blocks(Loops *loops, Reg **v, int lanes) {
  static const int halves[2][4] = {{0, 1, 4, 5}, {2, 3, 6, 7}}, quarters[2][4] = {{0, 2, 4, 6}, {1, 3, 5, 7}};
  static const int two[2][4] = {{0, 4}, {1, 5}};
  for (int i = 0; i < 4; i++) {
    Reg *old[4], *half[2][2];
    for (int g = 0; g < lanes / 4; g++) old[g] = v[4 * g + i];
    if (lanes == 8)
      for (int q = 0; q < 2; q++) v[4 * q + i] = pick_blocks(loops, old[0], old[1], two[q], lanes);
    if (lanes != 16) continue;
    for (int h = 0; h < 2; h++)
      for (int p = 0; p < 2; p++)
        half[h][p] = pick_blocks(loops, old[2 * p], old[2 * p + 1], halves[h], lanes);
    for (int q = 0; q < 4; q++)
      v[4 * q + i] = pick_blocks(loops, half[q / 2][0], half[q / 2][1], quarters[q % 2], lanes);
  }
}

void loop_transpose(Loops *loops, Reg **v, int lanes) {
  for (int i = 0; i < lanes; i += 4) turn_blocks(loops, v + i, lanes);
  move_blocks(loops, v, lanes);
}

void lower_transposed(Lower *lower, const Value *value, const Index *at, const Square *square) {
  Loops *loops = &lower->loops;
  Index from[MAX_RANK];
  Reg *v[MAX_SQUARE], *mask = lower->mask, *first = at[square->along].base;
  int lanes = lower->lanes;
  for (int i = 0; i < value->type->rank; i++) from[i] = at[i];
  from[square->across] = index_run(square->positions[0].base, 1);
  lower->mask = square->count < lanes ? loop_lanes_below(loops, loop_int(loops, square->count), lanes) : NULL;
  for (int i = 0; i < lanes; i++) {
    Reg *position = loop_binary(loops, LOOP_ADD, first, loop_int(loops, i));
    if (mask)
      position = loop_binary(loops, LOOP_MIN, position, square->last); /* those beyond are not stored */
    from[square->along] = index_of(position);
    v[i] = lower_load(lower, value, from);
  }
  lower->mask = mask;
  loop_transpose(loops, v, lanes);
  for (int i = 0; i < square->count; i++) {
    MemoKey key = {.tag = MEMO_VALUE, .x = value, .rank = value->type->rank, .at = from};
    from[square->along] = at[square->along];
    from[square->across] = square->positions[i];
    memo_add(lower, &key, v[i]);
  }
}
