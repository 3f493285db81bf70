/*
 * index.c -- arithmetic on positions: `base + lane*step` as long as that form can hold, else a vector of
 * lanes.
 *
 * Everything is folded on the way (constants, x+0, x*1) and found again instead of computed twice, because
 * element meanings are composed blindly: a reshape after a reshape multiplies what the first one divided.
 * Division knows two ways out: it pulls multiples of the divisor out of the dividend (d*q + r)/d = q + r/d,
 * and it knows ranges and common factors of loop counters, so that a run of lanes that stays inside one block
 * of the divisor stays a run.
 */
#include "ir/lower.h"

#include <assert.h>
#include <stdlib.h>

enum { MAX_DEPTH = 24 }; /* of expressions looked through */

/* ---- what is known of an i64 scalar ---- */

typedef struct Range {
  int64_t lo, hi; /* inclusive */
} Range;

static bool reg_range(const Reg *reg, int depth, Range *range);

static bool is_counter(const Reg *reg) {
  const Instr *def = reg->def;
  return (def->op == LOOP_FOR || def->op == LOOP_PARALLEL) && def->blocks[0]->params[0] == reg;
}

static bool counter_range(const Instr *loop, int depth, Range *range) {
  Range lo, hi;
  int64_t last;
  if (!reg_range(loop->args[0], depth, &lo) || !reg_range(loop->args[1], depth, &hi)) return false;
  if (__builtin_sub_overflow(hi.hi, 1, &last)) return false;
  /* the last value is lo plus a whole number of steps */
  if (lo.lo == lo.hi && last >= lo.lo && last - lo.lo >= 0)
    last = lo.lo + (last - lo.lo) / loop->step * loop->step;
  *range = (Range){lo.lo, last < lo.lo ? lo.lo : last};
  return true;
}

static int64_t floor_div(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}

static bool product_range(Range a, Range b, Range *range) {
  int64_t products[4];
  if (__builtin_mul_overflow(a.lo, b.lo, &products[0]) || __builtin_mul_overflow(a.lo, b.hi, &products[1]) ||
      __builtin_mul_overflow(a.hi, b.lo, &products[2]) || __builtin_mul_overflow(a.hi, b.hi, &products[3]))
    return false;
  *range = (Range){products[0], products[0]};
  for (int i = 1; i < 4; i++) {
    if (products[i] < range->lo) range->lo = products[i];
    if (products[i] > range->hi) range->hi = products[i];
  }
  return true;
}

static int64_t min_of(int64_t a, int64_t b) {
  return a < b ? a : b;
}
static int64_t max_of(int64_t a, int64_t b) {
  return a > b ? a : b;
}

static bool binary_range(Opcode op, Range a, Range b, Range *range) {
  switch (op) {
  case LOOP_ADD:
    return !__builtin_add_overflow(a.lo, b.lo, &range->lo) && !__builtin_add_overflow(a.hi, b.hi, &range->hi);
  case LOOP_SUB:
    return !__builtin_sub_overflow(a.lo, b.hi, &range->lo) && !__builtin_sub_overflow(a.hi, b.lo, &range->hi);
  case LOOP_MUL: return product_range(a, b, range);
  case LOOP_MIN: *range = (Range){min_of(a.lo, b.lo), min_of(a.hi, b.hi)}; return true;
  case LOOP_MAX: *range = (Range){max_of(a.lo, b.lo), max_of(a.hi, b.hi)}; return true;
  case LOOP_FLOORDIV:
    if (b.lo < 1 || b.lo != b.hi) return false;
    *range = (Range){floor_div(a.lo, b.lo), floor_div(a.hi, b.lo)};
    return true;
  case LOOP_FLOORMOD:
    if (b.lo < 1 || b.lo != b.hi) return false;
    *range = a.lo >= 0 && a.hi < b.lo ? a : (Range){0, b.lo - 1};
    return true;
  default: return false;
  }
}

static bool reg_range(const Reg *reg, int depth, Range *range) {
  const Instr *def = reg->def;
  Range a, b;
  int64_t value;
  if (depth > MAX_DEPTH || reg->type.lanes != 1) return false;
  if (reg_const_int(reg, &value)) {
    *range = (Range){value, value};
    return true;
  }
  if (is_counter(reg)) return counter_range(def, depth + 1, range);
  if (def->op == LOOP_SELECT)
    return reg_range(def->args[1], depth + 1, &a) && reg_range(def->args[2], depth + 1, &b) &&
           (*range = (Range){min_of(a.lo, b.lo), max_of(a.hi, b.hi)}, true);
  if (opcode_infos[def->op].operands != 2) return false;
  /* The modulus bounds even what is not known. */
  if (def->op == LOOP_FLOORMOD && !reg_range(def->args[0], depth + 1, &a))
    a = (Range){INT64_MIN, INT64_MAX};
  else if (def->op != LOOP_FLOORMOD && !reg_range(def->args[0], depth + 1, &a))
    return false;
  return reg_range(def->args[1], depth + 1, &b) && binary_range(def->op, a, b, range);
}

static int64_t gcd(int64_t a, int64_t b) {
  while (b != 0) {
    int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a < 0 ? -a : a;
}

/* A number that divides the register whatever its value; 0 when it is 0. */
static int64_t reg_factor(const Reg *reg, int depth) {
  const Instr *def = reg->def;
  int64_t value;
  if (depth > MAX_DEPTH) return 1;
  if (reg_const_int(reg, &value)) return value == INT64_MIN ? 1 : llabs(value);
  if (is_counter(reg)) return gcd(reg_factor(def->args[0], depth + 1), def->step);
  if (def->op == LOOP_ADD || def->op == LOOP_SUB || def->op == LOOP_FLOORMOD)
    return gcd(reg_factor(def->args[0], depth + 1), reg_factor(def->args[1], depth + 1));
  if (def->op == LOOP_MUL) {
    int64_t a = reg_factor(def->args[0], depth + 1), b = reg_factor(def->args[1], depth + 1);
    return __builtin_mul_overflow(a, b, &value) ? 1 : value;
  }
  return 1;
}

/* ---- instructions, folded and shared ---- */

static Reg *int_const(Lower *lower, int64_t value) {
  MemoKey key = {.tag = LOOP_CONST, .number = value};
  Reg *reg = memo_find(lower, &key);
  if (reg) return reg;
  reg = loop_int(&lower->loops, value);
  memo_add(lower, &key, reg);
  return reg;
}

static Reg *int_dim(Lower *lower, const Dim *dim) {
  if (dim_is_const(dim)) return int_const(lower, dim->value);
  MemoKey key = {.tag = LOOP_DIM, .x = dim};
  Reg *reg = memo_find(lower, &key);
  if (reg) return reg;
  reg = loop_dim(&lower->loops, dim);
  memo_add(lower, &key, reg);
  return reg;
}

static bool fold_consts(Opcode op, int64_t a, int64_t b, int64_t *result) {
  switch (op) {
  case LOOP_ADD: return !__builtin_add_overflow(a, b, result);
  case LOOP_SUB: return !__builtin_sub_overflow(a, b, result);
  case LOOP_MUL: return !__builtin_mul_overflow(a, b, result);
  case LOOP_MIN: *result = min_of(a, b); return true;
  case LOOP_MAX: *result = max_of(a, b); return true;
  case LOOP_FLOORDIV: return b > 0 && (*result = floor_div(a, b), true);
  case LOOP_FLOORMOD: return b > 0 && (*result = a - b * floor_div(a, b), true);
  default: return false;
  }
}

static Reg *int_op(Lower *lower, Opcode op, Reg *a, Reg *b);

/* (x op c1) op c2 with op + or *. */
static Reg *fold_chain(Lower *lower, Opcode op, Reg *a, int64_t b) {
  int64_t inner, both;
  if (a->def->op != op || !reg_const_int(a->def->args[1], &inner) || !fold_consts(op, inner, b, &both))
    return NULL;
  return int_op(lower, op, a->def->args[0], int_const(lower, both));
}

/* (x*c) / (c*k) = x / k and (x*c) mod (c*k) = (x mod k) * c. */
static Reg *cancel_factor(Lower *lower, Opcode op, Reg *a, int64_t b) {
  int64_t factor;
  if (a->type.lanes != 1 || a->def->op != LOOP_MUL || !reg_const_int(a->def->args[1], &factor)) return NULL;
  if (factor < 1 || b < 1 || b % factor != 0) return NULL;
  Reg *x = int_op(lower, op, a->def->args[0], int_const(lower, b / factor));
  return op == LOOP_FLOORDIV ? x : int_op(lower, LOOP_MUL, x, int_const(lower, factor));
}

/* x op c with a scalar constant on the right; NULL: nothing to fold. */
static Reg *fold_right(Lower *lower, Opcode op, Reg *a, int64_t b) {
  switch (op) {
  case LOOP_ADD: return b == 0 ? a : fold_chain(lower, op, a, b);
  case LOOP_SUB: return b == INT64_MIN ? NULL : int_op(lower, LOOP_ADD, a, int_const(lower, -b));
  case LOOP_MUL:
    if (b == 1) return a;
    return b == 0 && a->type.lanes == 1 ? int_const(lower, 0) : fold_chain(lower, op, a, b);
  case LOOP_FLOORDIV: return b == 1 ? a : cancel_factor(lower, op, a, b);
  case LOOP_FLOORMOD:
    return b == 1 && a->type.lanes == 1 ? int_const(lower, 0) : cancel_factor(lower, op, a, b);
  default: return NULL;
  }
}

/* min and max of which one side always wins. */
static Reg *fold_bounds(Opcode op, Reg *a, Reg *b) {
  Range x, y;
  if ((op != LOOP_MIN && op != LOOP_MAX) || !reg_range(a, 0, &x) || !reg_range(b, 0, &y)) return NULL;
  if (x.hi <= y.lo) return op == LOOP_MIN ? a : b;
  if (y.hi <= x.lo) return op == LOOP_MIN ? b : a;
  return NULL;
}

static Reg *fold(Lower *lower, Opcode op, Reg *a, Reg *b) {
  int64_t x, y, result;
  bool scalars = a->type.lanes == 1 && b->type.lanes == 1;
  bool right = b->type.lanes == 1 && reg_const_int(b, &y);
  if (scalars && right && reg_const_int(a, &x) && fold_consts(op, x, y, &result))
    return int_const(lower, result);
  if (op == LOOP_SUB && a == b && scalars) return int_const(lower, 0);
  if (right) {
    Reg *folded = fold_right(lower, op, a, y);
    if (folded) return folded;
  }
  return scalars ? fold_bounds(op, a, b) : NULL;
}

static Reg *int_op(Lower *lower, Opcode op, Reg *a, Reg *b) {
  if ((op == LOOP_ADD || op == LOOP_MUL) && reg_is_const(a) &&
      !reg_is_const(b)) { /* constants to the right */
    Reg *swap = a;
    a = b;
    b = swap;
  }
  Reg *folded = fold(lower, op, a, b);
  if (folded) return folded;
  MemoKey key = {.tag = op, .x = a, .y = b};
  Reg *reg = memo_find(lower, &key);
  if (reg) return reg;
  reg = loop_binary(&lower->loops, op, a, b);
  memo_add(lower, &key, reg);
  return reg;
}

/* ---- indices ---- */

Index index_of(Reg *scalar) {
  return (Index){scalar, 0, NULL};
}

Index index_const(Lower *lower, int64_t value) {
  return index_of(int_const(lower, value));
}

Index index_run(Reg *base, int64_t step) {
  return (Index){base, step, NULL};
}

static Index index_vector(Reg *vector) {
  return vector->type.lanes == 1 ? index_of(vector) : (Index){.vector = vector};
}

bool index_equal(Index a, Index b) {
  int64_t x, y;
  if (a.vector || b.vector) return a.vector == b.vector;
  if (a.step != b.step) return false;
  return a.base == b.base || (reg_const_int(a.base, &x) && reg_const_int(b.base, &y) && x == y);
}

static Reg *iota(Lower *lower) {
  MemoKey key = {.tag = LOOP_IOTA, .number = lower->lanes};
  Reg *reg = memo_find(lower, &key);
  if (reg) return reg;
  reg = loop_iota(&lower->loops, lower->lanes);
  memo_add(lower, &key, reg);
  return reg;
}

Reg *index_reg(Lower *lower, Index a) {
  if (a.vector) return a.vector;
  if (a.step == 0 || lower->lanes == 1) return a.base;
  Reg *lanes = int_op(lower, LOOP_MUL, iota(lower), int_const(lower, a.step));
  return int_op(lower, LOOP_ADD, lanes, a.base);
}

static Index lanewise(Lower *lower, Opcode op, Index a, Index b) {
  return index_vector(int_op(lower, op, index_reg(lower, a), index_reg(lower, b)));
}

Index index_add(Lower *lower, Index a, Index b) {
  if (a.vector || b.vector) return lanewise(lower, LOOP_ADD, a, b);
  return index_run(int_op(lower, LOOP_ADD, a.base, b.base), a.step + b.step);
}

Index index_sub(Lower *lower, Index a, Index b) {
  if (a.vector || b.vector) return lanewise(lower, LOOP_SUB, a, b);
  return index_run(int_op(lower, LOOP_SUB, a.base, b.base), a.step - b.step);
}

Index index_add_const(Lower *lower, Index a, int64_t value) {
  return value == 0 ? a : index_add(lower, a, index_const(lower, value));
}

Index index_mul_const(Lower *lower, Index a, int64_t factor) {
  int64_t step;
  Reg *by = int_const(lower, factor);
  if (a.vector || __builtin_mul_overflow(a.step, factor, &step))
    return lanewise(lower, LOOP_MUL, a, index_of(by));
  return index_run(int_op(lower, LOOP_MUL, a.base, by), step);
}

Index index_mul_dim(Lower *lower, Index a, const Dim *factor) {
  if (dim_is_const(factor)) return index_mul_const(lower, a, factor->value);
  return lanewise(lower, LOOP_MUL, a, index_of(int_dim(lower, factor)));
}

/* ---- division ---- */

/* whole = quotient * part, both as sizes. */
static bool dim_divides(Module *module, const Dim *whole, const Dim *part, const Dim **quotient) {
  if (dim_is(part, 0)) return false;
  *quotient = dim_floordiv(module, whole, part);
  return dim_mul(module, *quotient, part) == whole;
}

static const Dim *reg_dim(Lower *lower, const Reg *reg) {
  int64_t value;
  if (reg->type.lanes != 1) return NULL;
  if (reg_const_int(reg, &value)) return dim_const(lower->module, value);
  return reg->def->op == LOOP_DIM ? reg->def->dim : NULL;
}

/* reg = d*quotient + rest. False, and nothing built, when no multiple of d is to be found. */
static bool split(Lower *lower, Reg *reg, const Dim *d, int depth, Reg **quotient, Reg **rest);

static bool split_product(Lower *lower, Reg *reg, const Dim *d, int depth, Reg **quotient, Reg **rest) {
  const Dim *factor = reg_dim(lower, reg->def->args[1]), *ratio;
  Reg *x = reg->def->args[0], *inner;
  if (!factor) return false;
  if (dim_divides(lower->module, factor, d, &ratio)) {
    *quotient = int_op(lower, LOOP_MUL, x, int_dim(lower, ratio));
    *rest = int_const(lower, 0);
    return true;
  }
  if (!dim_divides(lower->module, d, factor, &ratio) || !split(lower, x, ratio, depth, quotient, &inner))
    return false;
  *rest = int_op(lower, LOOP_MUL, inner, int_dim(lower, factor));
  return true;
}

static bool split(Lower *lower, Reg *reg, const Dim *d, int depth, Reg **quotient, Reg **rest) {
  const Instr *def = reg->def;
  int64_t value;
  *quotient = int_const(lower, 0);
  *rest = reg;
  if (depth > MAX_DEPTH || reg->type.lanes != 1) return false;
  if (dim_is_const(d) && d->value > 0 && reg_const_int(reg, &value) && floor_div(value, d->value) != 0) {
    *quotient = int_const(lower, floor_div(value, d->value));
    *rest = int_const(lower, value - d->value * floor_div(value, d->value));
    return true;
  }
  if (def->op == LOOP_MUL) return split_product(lower, reg, d, depth + 1, quotient, rest);
  if (def->op != LOOP_ADD) return false;
  Reg *qa, *qb, *ra, *rb;
  bool a = split(lower, def->args[0], d, depth + 1, &qa, &ra),
       b = split(lower, def->args[1], d, depth + 1, &qb, &rb);
  if (!a && !b) return false;
  *quotient = int_op(lower, LOOP_ADD, qa, qb);
  *rest = int_op(lower, LOOP_ADD, ra, rb);
  return true;
}

/* 0 <= reg < d with a symbolic d: a counter of a loop from 0 to d, or a remainder by d. */
static bool below_dim(Lower *lower, const Reg *reg, const Dim *d) {
  const Instr *def = reg->def;
  int64_t lo;
  if (is_counter(reg))
    return reg_const_int(def->args[0], &lo) && lo >= 0 && reg_dim(lower, def->args[1]) == d;
  return def->op == LOOP_FLOORMOD && reg_dim(lower, def->args[1]) == d;
}

/* Every lane of rest + lane*step is in [0, d). */
static bool inside(Lower *lower, const Reg *rest, int64_t step, const Dim *d) {
  Range range;
  int64_t span;
  if (!dim_is_const(d)) return step == 0 && below_dim(lower, rest, d);
  if (!reg_range(rest, 0, &range) || __builtin_mul_overflow(step, lower->lanes - 1, &span)) return false;
  if (step >= 0 && __builtin_add_overflow(range.hi, span, &range.hi)) return false;
  if (step < 0 && __builtin_add_overflow(range.lo, span, &range.lo)) return false;
  return range.lo >= 0 && range.hi < d->value;
}

/* All lanes of rest + lane*step fall into one block of d, because rest is a multiple of something longer than
 * the run. */
static bool one_block(Lower *lower, const Reg *rest, int64_t step, const Dim *d) {
  int64_t span;
  if (step == 0) return true;
  if (!dim_is_const(d) || step < 0 || __builtin_mul_overflow(step, lower->lanes - 1, &span)) return false;
  return span < gcd(reg_factor(rest, 0), d->value);
}

typedef struct Divided {
  Index quotient, remainder;
} Divided;

/* Builds more than is asked for; what stays unused is removed with the other dead code of the kernel. */
static Divided divide(Lower *lower, Index a, const Dim *d) {
  Reg *by = int_dim(lower, d), *quotient, *rest;
  int64_t step = lower->lanes == 1 ? 0 : a.step, across = 0;
  if (a.vector)
    return (Divided){lanewise(lower, LOOP_FLOORDIV, a, index_of(by)),
                     lanewise(lower, LOOP_FLOORMOD, a, index_of(by))};
  split(lower, a.base, d, 0, &quotient, &rest);
  if (dim_is_const(d) && d->value > 0 && step % d->value == 0) { /* whole blocks from lane to lane */
    across = step / d->value;
    step = 0;
  }
  if (inside(lower, rest, step, d)) return (Divided){index_run(quotient, across), index_run(rest, step)};
  if (one_block(lower, rest, step, d)) {
    quotient = int_op(lower, LOOP_ADD, quotient, int_op(lower, LOOP_FLOORDIV, rest, by));
    return (Divided){index_run(quotient, across), index_run(int_op(lower, LOOP_FLOORMOD, rest, by), step)};
  }
  Index run = index_run(rest, step);
  return (Divided){
      index_add(lower, index_run(quotient, across), lanewise(lower, LOOP_FLOORDIV, run, index_of(by))),
      lanewise(lower, LOOP_FLOORMOD, run, index_of(by))};
}

Index index_div(Lower *lower, Index a, const Dim *divisor) {
  return dim_is(divisor, 1) ? a : divide(lower, a, divisor).quotient;
}

Index index_mod(Lower *lower, Index a, const Dim *divisor) {
  return dim_is(divisor, 1) ? index_const(lower, 0) : divide(lower, a, divisor).remainder;
}

/* ---- limits ---- */

/* A run that never leaves [low, high] needs no clamping. */
static bool within(Lower *lower, Index a, Index low, Index high) {
  Range range, bottom, top;
  int64_t span;
  if (a.vector || low.vector || high.vector || low.step != 0 || high.step != 0) return false;
  if (!reg_range(a.base, 0, &range) || !reg_range(low.base, 0, &bottom) || !reg_range(high.base, 0, &top))
    return false;
  if (__builtin_mul_overflow(a.step, lower->lanes - 1, &span)) return false;
  int64_t *end = span >= 0 ? &range.hi : &range.lo;
  if (__builtin_add_overflow(*end, span, end)) return false;
  return range.lo >= bottom.hi && range.hi <= top.lo;
}

Index index_clamp(Lower *lower, Index a, Index low, Index high) {
  if (within(lower, a, low, high)) return a;
  return lanewise(lower, LOOP_MIN, lanewise(lower, LOOP_MAX, a, low), high);
}

Index index_select_dim_is_one(Lower *lower, const Dim *dim, Index otherwise) {
  Loops *loops = &lower->loops;
  Reg *is_one = loop_binary(loops, LOOP_EQ, int_dim(lower, dim), int_const(lower, 1));
  return index_vector(loop_select(loops, is_one, int_const(lower, 0), index_reg(lower, otherwise)));
}

Reg *lower_dim(Lower *lower, const Value *value, int axis) {
  assert(axis >= 0 && axis < value->type->rank);
  return int_dim(lower, value->type->dims[axis]);
}
