/*
 * opcodes.c -- every opcode of the loop IR, compiled and interpreted on the same data, on the newest and the
 * oldest processors.
 *
 * All kernels go into one library per cpu. Each has the params `in` a, b, c and `out` y; what it writes must
 * agree: to the bit, but for libm's functions.
 */
#include "tests/codegen/compile.h"

#include <math.h>

enum { COUNT = 64, MAX_CASES = 4096, BYTES = COUNT * 16, PARAMS = 4 };

typedef struct Case {
  Kernel *kernel;
  double tolerance; /* relative; 0: the same bits */
} Case;

typedef struct Suite {
  Module *module;
  Case cases[MAX_CASES];
  int count;
} Suite;

static const Dtype numbers[] = {DTYPE_I8,  DTYPE_I16, DTYPE_I32, DTYPE_I64,  DTYPE_U8,  DTYPE_U16,
                                DTYPE_U32, DTYPE_U64, DTYPE_F16, DTYPE_BF16, DTYPE_F32, DTYPE_F64};
static const int widths[] = {1, 4, 16, 32};

/* ---- building ---- */

typedef struct Make {
  Loops loops;
  Buffer *in[3], *out;
} Make;

static Make start(Suite *suite, const char *what, Dtype in, Dtype out, double tolerance) {
  Module *module = suite->module;
  const Dim *dims[] = {dim_const(module, COUNT)};
  Kernel *kernel = kernel_new(module, arena_printf(module->arena, "k%d_%s", suite->count, what));
  static const char *const names[] = {"a", "b", "c"};
  Make make = {loops_in(kernel), {NULL}, NULL};
  for (int i = 0; i < 3; i++)
    make.in[i] = kernel_add_param(kernel, BUFFER_IN, names[i], in, 1, dims, NULL, 0);
  make.out = kernel_add_param(kernel, BUFFER_OUT, "y", out, 1, dims, NULL, 0);
  suite->cases[suite->count++] = (Case){kernel, tolerance};
  return make;
}

static Reg *read_at(Make *make, int input, Reg *at, int lanes) {
  return loop_load(&make->loops, make->in[input], &at, lanes, NULL);
}

static bool takes(Opcode op, Dtype dtype) {
  bool real = dtype_is_float(dtype);
  if (op >= LOOP_FLOOR && op <= LOOP_POW) return real;
  if (op == LOOP_FMA || op == LOOP_MUL_ADD || op == LOOP_SCALE) return real;
  if (op >= LOOP_AND && op <= LOOP_NOT) return !real;
  return (op != LOOP_FLOORDIV && op != LOOP_FLOORMOD && op != LOOP_SHL && op != LOOP_SHR) || !real;
}

static double tolerance_of(Opcode op, Dtype dtype) {
  if (op == LOOP_FMA) return dtype == DTYPE_F32 ? 0x1p-22 : 0;
  if (op == LOOP_MUL_ADD) /* an ulp or two of terms of one sign */
    return dtype == DTYPE_F64 ? 0x1p-51 : dtype == DTYPE_F32 ? 0x1p-22 : dtype == DTYPE_F16 ? 0x1p-9 : 0x1p-6;
  if (op < LOOP_EXP || op > LOOP_POW) return 0;
  return dtype == DTYPE_F64 ? 1e-14 : dtype == DTYPE_F32 ? 5e-7 : dtype == DTYPE_F16 ? 0x1p-9 : 0x1p-6;
}

/* x where its magnitude compares with the limit, else 3. */
static Reg *keep_where(Make *make, Reg *x, Opcode compare, double limit) {
  Reg *magnitude = loop_unary(&make->loops, LOOP_ABS, x);
  Reg *keep = loop_binary(&make->loops, compare, magnitude, loop_const(&make->loops, x->type, limit));
  return loop_select(&make->loops, keep, x, loop_const(&make->loops, x->type, 3));
}

/* Terms of one sign where the product may be rounded: a difference could have no right digit. */
static Reg *three_operands(Make *make, Opcode op, Reg *x, Reg *y, Reg *z) {
  Loops *loops = &make->loops;
  if (op == LOOP_FMA) return loop_fma(loops, x, y, z);
  return loop_mul_add(loops, loop_unary(loops, LOOP_ABS, x), loop_unary(loops, LOOP_ABS, y),
                      loop_unary(loops, LOOP_ABS, z));
}

static void add_lanewise(Suite *suite, Opcode op, Dtype dtype, int lanes) {
  int operands = opcode_infos[op].operands;
  bool divides = op == LOOP_DIV || op == LOOP_REM || op == LOOP_FLOORDIV || op == LOOP_FLOORMOD;
  Make make = start(suite, opcode_infos[op].name, dtype, opcode_is_comparison(op) ? DTYPE_BOOL : dtype,
                    tolerance_of(op, dtype));
  For i = loop_for(&make.loops, loop_int(&make.loops, 0), loop_int(&make.loops, COUNT), lanes, 0, NULL);
  Reg *x = read_at(&make, 0, i.counter, lanes),
      *y = operands > 1 ? read_at(&make, 1, i.counter, lanes) : NULL, *result;
  if (divides && !dtype_is_float(dtype)) { /* a zero stops the interpreter */
    Reg *zero = loop_const_int(&make.loops, y->type, 0), *three = loop_const_int(&make.loops, y->type, 3);
    y = loop_select(&make.loops, loop_binary(&make.loops, LOOP_EQ, y, zero), three, y);
  }
  if (op == LOOP_SCALE) { /* |x| from 1/2 on, whole |n| up to 250 */
    x = keep_where(&make, x, LOOP_GE, 0.5);
    y = loop_binary(&make.loops, LOOP_MUL, loop_unary(&make.loops, LOOP_ROUND, y),
                    loop_const(&make.loops, y->type, 16));
    y = loop_binary(&make.loops, LOOP_ADD, y, loop_const(&make.loops, y->type, 7));
    y = keep_where(&make, y, LOOP_LE, 250);
  }
  if (operands == 1)
    result = loop_unary(&make.loops, op, x);
  else if (operands == 2)
    result = loop_binary(&make.loops, op, x, y);
  else
    result = three_operands(&make, op, x, y, read_at(&make, 2, i.counter, lanes));
  loop_store(&make.loops, result, make.out, &i.counter, NULL);
  loop_end(&make.loops, &i, NULL);
}

static void add_lanewise_cases(Suite *suite) {
  for (Opcode op = LOOP_ADD; op <= LOOP_POW; op++) {
    if (op == LOOP_SELECT || op == LOOP_CAST || op == LOOP_BITCAST) continue;
    for (int d = 0; d < COUNT_OF(numbers); d++)
      for (int w = 0; w < (op < LOOP_FLOOR ? 3 : 2) && takes(op, numbers[d]); w++)
        add_lanewise(suite, op, numbers[d], w == 2 ? 16 : widths[w]);
  }
}

/* By a divisor that is a literal, which has code of its own. */
static void add_divisions_by_literals(Suite *suite) {
  static const int64_t divisors[] = {1, -1, 2, 3, 8, -4, 7};
  for (Opcode op = LOOP_DIV; op <= LOOP_FLOORMOD; op++)
    for (int i = 0; i < COUNT_OF(divisors); i++)
      for (int lanes = 1; lanes <= 8; lanes += 7) {
        Make make = start(suite, "literal", DTYPE_I64, DTYPE_I64, 0);
        For k = loop_for(&make.loops, loop_int(&make.loops, 0), loop_int(&make.loops, COUNT), lanes, 0, NULL);
        Reg *x = read_at(&make, 0, k.counter, lanes);
        Reg *y = loop_binary(&make.loops, op, x, loop_const_int(&make.loops, x->type, divisors[i]));
        loop_store(&make.loops, y, make.out, &k.counter, NULL);
        loop_end(&make.loops, &k, NULL);
      }
}

static void add_cast(Suite *suite, Dtype from, Dtype to, int lanes) {
  Make make = start(suite, "cast", from, to, 0);
  For i = loop_for(&make.loops, loop_int(&make.loops, 0), loop_int(&make.loops, COUNT), lanes, 0, NULL);
  loop_store(&make.loops, loop_cast(&make.loops, read_at(&make, 0, i.counter, lanes), to), make.out,
             &i.counter, NULL);
  loop_end(&make.loops, &i, NULL);
}

/* Elements below a byte and 8-bit floats; nothing is cast to f8e8m0. */
static void add_storage_casts(Suite *suite) {
  static const Dtype storage[] = {DTYPE_I2,       DTYPE_I4,         DTYPE_U2,     DTYPE_U4,
                                  DTYPE_F8E4M3FN, DTYPE_F8E4M3FNUZ, DTYPE_F8E5M2, DTYPE_F8E5M2FNUZ,
                                  DTYPE_F4E2M1,   DTYPE_F8E8M0};
  static const Dtype others[] = {DTYPE_BOOL, DTYPE_I8,  DTYPE_U8,  DTYPE_I64, DTYPE_F16,
                                 DTYPE_BF16, DTYPE_F32, DTYPE_F64, DTYPE_I4,  DTYPE_F8E5M2};
  for (int s = 0; s < COUNT_OF(storage); s++)
    for (int o = 0; o < COUNT_OF(others); o++)
      for (int lanes = 1; lanes <= 16; lanes += 15) {
        add_cast(suite, storage[s], others[o], lanes);
        if (storage[s] != DTYPE_F8E8M0) add_cast(suite, others[o], storage[s], lanes);
      }
}

/* clip(round(x*128)), whose range the backend sees. */
static void add_clamped_cast(Suite *suite, Dtype to, double low, double high) {
  Make make = start(suite, "clamped", DTYPE_F32, to, 0);
  For i = loop_for(&make.loops, loop_int(&make.loops, 0), loop_int(&make.loops, COUNT), 16, 0, NULL);
  Reg *x = read_at(&make, 0, i.counter, 16);
  x = loop_unary(&make.loops, LOOP_ROUND,
                 loop_binary(&make.loops, LOOP_MUL, x, loop_const(&make.loops, x->type, 128)));
  x = loop_binary(&make.loops, LOOP_MIN, x, loop_const(&make.loops, x->type, high));
  x = loop_binary(&make.loops, LOOP_MAX, x, loop_const(&make.loops, x->type, low));
  loop_store(&make.loops, loop_cast(&make.loops, x, to), make.out, &i.counter, NULL);
  loop_end(&make.loops, &i, NULL);
}

/* What quantize ends with, of x*128, whose upper bound the backend may leave to its instruction; in front of
 * it a hint, which reaches outside. */
static void add_quantize(Suite *suite, int64_t zero, int lanes) {
  Make make = start(suite, "quantize", DTYPE_F32, DTYPE_U8, 0);
  Loops *l = &make.loops;
  For i = loop_for(l, loop_int(l, 0), loop_int(l, COUNT), lanes, 0, NULL);
  Reg *ahead = loop_binary(l, LOOP_ADD, i.counter, loop_int(l, 1 << 20));
  loop_prefetch(l, make.in[0], &ahead);
  Reg *x = read_at(&make, 0, i.counter, lanes);
  x = loop_binary(l, LOOP_MUL, x, loop_const(l, x->type, 128));
  x = loop_binary(l, LOOP_MAX, x, loop_const(l, x->type, (double)-zero));
  x = loop_binary(l, LOOP_MIN, x, loop_const(l, x->type, (double)(255 - zero)));
  x = loop_cast(l, loop_unary(l, LOOP_ROUND, x), DTYPE_I32);
  if (zero) x = loop_binary(l, LOOP_ADD, x, loop_const_int(l, x->type, zero));
  loop_store(l, loop_cast(l, x, DTYPE_U8), make.out, &i.counter, NULL);
  loop_end(l, &i, NULL);
}

/* A table in which every number stands once, in no order that a wrong part of it would have. */
static void add_lookup(Suite *suite, Dtype from, Dtype to, int lanes) {
  Make make = start(suite, "lookup", from, to, 0);
  int64_t table[TABLE_SIZE];
  for (int i = 0; i < TABLE_SIZE; i++) table[i] = (i * 37 + 11) % 256 - (to == DTYPE_I8 ? 128 : 0);
  For i = loop_for(&make.loops, loop_int(&make.loops, 0), loop_int(&make.loops, COUNT), lanes, 0, NULL);
  Reg *x = read_at(&make, 0, i.counter, lanes);
  loop_store(&make.loops, loop_lookup(&make.loops, x, table, to), make.out, &i.counter, NULL);
  loop_end(&make.loops, &i, NULL);
}

static void add_conversion_cases(Suite *suite) {
  static const Dtype all[] = {DTYPE_BOOL, DTYPE_I8,  DTYPE_I16, DTYPE_I32,  DTYPE_I64, DTYPE_U8, DTYPE_U16,
                              DTYPE_U32,  DTYPE_U64, DTYPE_F16, DTYPE_BF16, DTYPE_F32, DTYPE_F64};
  for (int from = 0; from < COUNT_OF(all); from++)
    for (int to = 0; to < COUNT_OF(all); to++)
      for (int lanes = 1; lanes <= 16; lanes += 15) add_cast(suite, all[from], all[to], lanes);
  add_storage_casts(suite);
  add_clamped_cast(suite, DTYPE_U8, 0, 255);
  add_clamped_cast(suite, DTYPE_I8, -128, 127);
  add_clamped_cast(suite, DTYPE_I32, -1e9, 1e9);
  for (int lanes = 1; lanes <= 32; lanes *= 2)
    for (int64_t zero = 0; zero <= 255; zero += 51) add_quantize(suite, zero, lanes);
  for (int lanes = 1; lanes <= COUNT; lanes *= 2) {
    add_lookup(suite, DTYPE_U8, DTYPE_I8, lanes);
    add_lookup(suite, DTYPE_I8, DTYPE_U8, lanes);
  }
  for (int lanes = 1; lanes <= 16; lanes += 15) {
    Make make = start(suite, "bitcast", DTYPE_F32, DTYPE_I32, 0);
    For i = loop_for(&make.loops, loop_int(&make.loops, 0), loop_int(&make.loops, COUNT), lanes, 0, NULL);
    loop_store(&make.loops, loop_bitcast(&make.loops, read_at(&make, 0, i.counter, lanes), DTYPE_I32),
               make.out, &i.counter, NULL);
    loop_end(&make.loops, &i, NULL);
  }
}

static void add_select(Suite *suite, Dtype dtype, int lanes) {
  Make make = start(suite, "select", dtype, dtype, 0);
  For i = loop_for(&make.loops, loop_int(&make.loops, 0), loop_int(&make.loops, COUNT), lanes, 0, NULL);
  Reg *x = read_at(&make, 0, i.counter, lanes), *y = read_at(&make, 1, i.counter, lanes);
  Reg *less = loop_binary(&make.loops, LOOP_LT, x, y);
  Reg *other = loop_binary(&make.loops, LOOP_XOR, less,
                           loop_binary(&make.loops, LOOP_GE, x, read_at(&make, 2, i.counter, lanes)));
  loop_store(&make.loops, loop_select(&make.loops, other, x, y), make.out, &i.counter, NULL);
  loop_end(&make.loops, &i, NULL);
}

static void add_reduction(Suite *suite, Opcode op, Dtype dtype, int lanes) {
  bool inexact = op == LOOP_REDUCE_ADD && dtype_is_float(dtype);
  Make make = start(suite, opcode_infos[op].name, dtype, dtype, inexact ? 0x1p-2 : 0);
  For i = loop_for(&make.loops, loop_int(&make.loops, 0), loop_int(&make.loops, COUNT), lanes, 0, NULL);
  Reg *x = read_at(&make, 0, i.counter, lanes);
  if (dtype_is_float(dtype)) { /* without NaN: which lane wins is not fixed */
    Reg *good = loop_binary(&make.loops, LOOP_LT, loop_unary(&make.loops, LOOP_ABS, x),
                            loop_const(&make.loops, x->type, 100));
    x = loop_select(&make.loops, good, loop_unary(&make.loops, LOOP_ABS, x),
                    loop_const(&make.loops, x->type, 1));
  }
  loop_store(&make.loops, loop_reduce(&make.loops, op, x), make.out, &i.counter, NULL);
  loop_store(&make.loops, loop_extract(&make.loops, x, lanes - 1), make.out,
             (Reg *[]){loop_binary(&make.loops, LOOP_ADD, i.counter, loop_int(&make.loops, 1))}, NULL);
  loop_end(&make.loops, &i, NULL);
}

static void add_shuffle(Suite *suite, Dtype dtype, int from, int to, int kind) {
  Make make = start(suite, "shuffle", dtype, dtype, 0);
  int64_t lanes[MAX_LANES];
  for (int i = 0; i < to; i++)
    lanes[i] = kind == 0 ? i % from : kind == 1 ? 2 * from - 1 - i % (2 * from) : (i * 7 + 3) % (2 * from);
  Reg *zero = loop_int(&make.loops, 0);
  Reg *y = loop_shuffle(&make.loops, read_at(&make, 0, zero, from), read_at(&make, 1, zero, from), lanes, to);
  loop_store(&make.loops, y, make.out, &zero, NULL);
}

/* Bits above the low two say nothing. */
static void add_pick(Suite *suite, Dtype dtype, int lanes) {
  Make make = start(suite, "pick", dtype, dtype, 0);
  For i = loop_for(&make.loops, loop_int(&make.loops, 0), loop_int(&make.loops, COUNT), lanes, 0, NULL);
  Reg *at = loop_binary(&make.loops, LOOP_ADD, loop_iota(&make.loops, lanes),
                        loop_splat(&make.loops, i.counter, lanes));
  at = loop_binary(&make.loops, LOOP_MUL, at, loop_const_int(&make.loops, at->type, 0x1234567 * 5));
  at = loop_cast(&make.loops, at, lanes > 8 ? DTYPE_U32 : DTYPE_I32);
  at = loop_binary(&make.loops, LOOP_SHR, at, loop_const_int(&make.loops, at->type, 6));
  Reg *y = loop_pick(&make.loops, read_at(&make, 0, i.counter, lanes), at);
  loop_store(&make.loops, y, make.out, &i.counter, NULL);
  loop_end(&make.loops, &i, NULL);
}

static void add_dot(Suite *suite, int lanes) {
  Make make = start(suite, "dot", DTYPE_U8, DTYPE_I32, 0);
  Reg *zero = loop_int(&make.loops, 0);
  if (4 * lanes <= COUNT) {
    Reg *x = read_at(&make, 0, zero, 4 * lanes),
        *y = loop_bitcast(&make.loops, read_at(&make, 1, zero, 4 * lanes), DTYPE_I8);
    Reg *acc = loop_const_int(&make.loops, (LoopType){DTYPE_I32, lanes}, 1000);
    loop_store(&make.loops, loop_dot(&make.loops, LOOP_DOT_U8S8, acc, x, y), make.out, &zero, NULL);
  }
  make = start(suite, "dot_bf16", DTYPE_F32, DTYPE_F32,
               0x1p-7); /* of numbers that bf16 holds: no subnormals, no overflow */
  zero = loop_int(&make.loops, 0);
  if (2 * lanes > COUNT) return;
  Reg *values[2];
  for (int i = 0; i < 2; i++) {
    Reg *x = loop_unary(&make.loops, LOOP_ABS, read_at(&make, i, zero, 2 * lanes));
    Reg *good = loop_binary(&make.loops, LOOP_AND,
                            loop_binary(&make.loops, LOOP_LT, x, loop_const(&make.loops, x->type, 1000)),
                            loop_binary(&make.loops, LOOP_GT, x, loop_const(&make.loops, x->type, 0.001)));
    values[i] = loop_cast(&make.loops, loop_select(&make.loops, good, x, loop_const(&make.loops, x->type, 1)),
                          DTYPE_BF16);
  }
  Reg *acc = loop_const(&make.loops, (LoopType){DTYPE_F32, lanes}, 0.5);
  loop_store(&make.loops, loop_dot(&make.loops, LOOP_DOT_BF16, acc, values[0], values[1]), make.out, &zero,
             NULL);
}

static void add_lane_cases(Suite *suite) {
  static const Dtype dtypes[] = {DTYPE_I8,   DTYPE_U16, DTYPE_I32, DTYPE_I64,
                                 DTYPE_BF16, DTYPE_F16, DTYPE_F32, DTYPE_F64};
  for (int d = 0; d < COUNT_OF(dtypes); d++) {
    for (int lanes = 1; lanes <= 16; lanes += 15) add_select(suite, dtypes[d], lanes);
    for (int lanes = 2; lanes <= 32; lanes *= 2)
      for (Opcode op = LOOP_REDUCE_ADD; op <= LOOP_REDUCE_MIN; op++)
        add_reduction(suite, op, dtypes[d], lanes);
    for (int kind = 0; kind < 3; kind++) {
      add_shuffle(suite, dtypes[d], 4, 16, kind);
      add_shuffle(suite, dtypes[d], 16, 8, kind);
      add_shuffle(suite, dtypes[d], 2, 2, kind);
      add_shuffle(suite, dtypes[d], 1, 4, kind);
      add_shuffle(suite, dtypes[d], 8, 1, kind);
    }
    for (int lanes = 4; lanes <= 32; lanes *= 2) add_pick(suite, dtypes[d], lanes);
  }
  for (int lanes = 1; lanes <= 16; lanes *= 2) add_dot(suite, lanes);
}

/* ---- memory: on a, seen as a matrix of 8 rows and 8 columns ---- */

static Buffer *matrix(Make *make, Buffer *base, int64_t offset) {
  Module *module = make->loops.kernel->module;
  const Dim *dims[] = {dim_const(module, 8), dim_const(module, 8)};
  static const char *const names[] = {"va", "vy"};
  return kernel_add_view(make->loops.kernel, names[base == make->out], base,
                         offset ? dim_const(module, offset) : NULL, 2, dims, NULL);
}

static Reg *mask_below(Make *make, int n, int lanes) {
  return loop_lanes_below(&make->loops, loop_int(&make->loops, n), lanes);
}

/* y[r][c + l*step] = a[...] for one row or column at a time, all or the first n lanes. */
static void add_strided(Suite *suite, Dtype dtype, int axis, int64_t step, int lanes, int n) {
  Make make = start(suite, "strided", dtype, dtype, 0);
  Buffer *a = matrix(&make, make.in[0], 0), *y = matrix(&make, make.out, 0);
  Reg *first = loop_int(&make.loops, step < 0 ? 7 : 0);
  Reg *mask = n == lanes ? NULL : mask_below(&make, n, lanes);
  For i = loop_for(&make.loops, loop_int(&make.loops, 0), loop_int(&make.loops, 8), 1, 0, NULL);
  Reg *at[] = {axis == 0 ? first : i.counter, axis == 0 ? i.counter : first};
  Reg *back[] = {i.counter, loop_int(&make.loops, 0)};
  loop_store(&make.loops, loop_load_strided(&make.loops, a, at, lanes, axis, step, mask), y, back, NULL);
  loop_end(&make.loops, &i, NULL);
}

static void add_strided_store(Suite *suite, Dtype dtype, int axis, int64_t step, int lanes, int n) {
  Make make = start(suite, "strided_store", dtype, dtype, 0);
  Buffer *a = matrix(&make, make.in[0], 0), *y = matrix(&make, make.out, 0);
  Reg *first = loop_int(&make.loops, step < 0 ? 7 : 0), *zero = loop_int(&make.loops, 0);
  Reg *mask = n == lanes ? NULL : mask_below(&make, n, lanes);
  For all = loop_for(&make.loops, zero, loop_int(&make.loops, COUNT), 1, 0, NULL);
  loop_store(&make.loops, loop_load(&make.loops, make.in[1], &all.counter, 1, NULL), make.out, &all.counter,
             NULL);
  loop_end(&make.loops, &all, NULL);
  For i = loop_for(&make.loops, zero, loop_int(&make.loops, 8), 1, 0, NULL);
  Reg *at[] = {axis == 0 ? first : i.counter, axis == 0 ? i.counter : first}, *from[] = {i.counter, zero};
  loop_store_strided(&make.loops, loop_load(&make.loops, a, from, lanes, NULL), y, at, axis, step, mask);
  loop_end(&make.loops, &i, NULL);
}

/* y[i] = a[(i*5) mod 64], through vectors of indices; stores scattered the same way. */
static void add_gather(Suite *suite, Dtype dtype, int lanes, int n, bool scatter) {
  Make make = start(suite, scatter ? "scatter" : "gather", dtype, dtype, 0);
  Reg *zero = loop_int(&make.loops, 0);
  Reg *mask = n == lanes ? NULL : mask_below(&make, n, lanes);
  For all = loop_for(&make.loops, zero, loop_int(&make.loops, COUNT), 1, 0, NULL);
  loop_store(&make.loops, loop_load(&make.loops, make.in[1], &all.counter, 1, NULL), make.out, &all.counter,
             NULL);
  loop_end(&make.loops, &all, NULL);
  For i = loop_for(&make.loops, zero, loop_int(&make.loops, COUNT), lanes, 0, NULL);
  Reg *lane = loop_binary(&make.loops, LOOP_ADD, i.counter, loop_iota(&make.loops, lanes));
  Reg *index = loop_binary(&make.loops, LOOP_MUL, lane, loop_const_int(&make.loops, lane->type, 5));
  index = loop_binary(&make.loops, LOOP_FLOORMOD, index, loop_const_int(&make.loops, lane->type, COUNT));
  if (scatter)
    loop_scatter(&make.loops, loop_load(&make.loops, make.in[0], &i.counter, lanes, NULL), make.out, &index,
                 mask);
  else
    loop_store(&make.loops, loop_gather(&make.loops, make.in[0], &index, lanes, mask), make.out, &i.counter,
               NULL);
  loop_end(&make.loops, &i, NULL);
}

static void add_masked(Suite *suite, Dtype dtype, int lanes, int n) {
  Make make = start(suite, "masked", dtype, dtype, 0);
  Reg *zero = loop_int(&make.loops, 0), *mask = mask_below(&make, n, lanes);
  For all = loop_for(&make.loops, zero, loop_int(&make.loops, COUNT), 1, 0, NULL);
  loop_store(&make.loops, loop_load(&make.loops, make.in[1], &all.counter, 1, NULL), make.out, &all.counter,
             NULL);
  loop_end(&make.loops, &all, NULL);
  Reg *value = loop_load(&make.loops, make.in[0], &zero, lanes, mask);
  loop_store(&make.loops, value, make.out, &zero, mask);
  Reg *rest = loop_int(&make.loops, COUNT - lanes);
  loop_store(&make.loops, value, make.out, &rest, NULL);
}

static void add_memory_cases(Suite *suite) {
  static const Dtype dtypes[] = {DTYPE_BOOL, DTYPE_I8,  DTYPE_I4,  DTYPE_U2,  DTYPE_F8E5M2,
                                 DTYPE_BF16, DTYPE_F32, DTYPE_F64, DTYPE_C64, DTYPE_C128};
  static const int64_t steps[] = {1, -1};
  for (int d = 0; d < COUNT_OF(dtypes); d++) {
    for (int axis = 0; axis < 2; axis++)
      for (int s = 0; s < 2; s++)
        for (int n = 3; n <= 8; n += 5) {
          add_strided(suite, dtypes[d], axis, steps[s], 8, n);
          add_strided_store(suite, dtypes[d], axis, steps[s], 8, n);
        }
    add_strided(suite, dtypes[d], 1, 2, 4, 4);
    add_strided(suite, dtypes[d], 0, 2, 4, 3);
    for (int n = 5; n <= 16; n += 11) {
      add_gather(suite, dtypes[d], 16, n, false);
      add_gather(suite, dtypes[d], 16, n, true);
    }
    for (int n = -3; n <= 20; n += 4) add_masked(suite, dtypes[d], 16, n);
    add_masked(suite, dtypes[d], 1, 0);
    add_masked(suite, dtypes[d], 1, 1);
  }
}

/* ---- control ---- */

/* Horner sums with carried values, an if with results, a local buffer, a parallel loop. */
static void add_control_cases(Suite *suite) {
  for (int trips = 0; trips <= 3; trips++) {
    Make make = start(suite, "control", DTYPE_I32, DTYPE_I32, 0);
    Loops *l = &make.loops;
    int64_t size = 8;
    Buffer *local = kernel_add_local(l->kernel, "t", DTYPE_I32, 1, &size);
    Reg *zero = loop_int(l, 0), *trip_count = loop_int(l, trips);
    For p = loop_parallel(l, zero, loop_int(l, COUNT), 8);
    loop_store(l, read_at(&make, 0, p.counter, 8), local, &zero, NULL);
    Reg *initial[] = {loop_const_int(l, (LoopType){DTYPE_I32, 1}, 1),
                      loop_const_int(l, (LoopType){DTYPE_I32, 8}, 5)};
    For k = loop_for(l, zero, trip_count, 1, 2, initial);
    Reg *x = loop_load(l, local, &k.counter, 1, NULL);
    Reg *sum =
        loop_binary(l, LOOP_ADD, loop_binary(l, LOOP_MUL, k.carried[0], loop_const_int(l, x->type, 31)), x);
    If branch = loop_if(l, loop_binary(l, LOOP_GT, x, loop_const_int(l, x->type, 0)), 1, &sum->type);
    Reg *other = loop_unary(l, LOOP_NEG, sum);
    loop_else(l, &branch, &other);
    loop_end_if(l, &branch, &sum);
    Reg *yields[] = {branch.results[0], loop_binary(l, LOOP_ADD, k.carried[1], loop_splat(l, x, 8))};
    loop_end(l, &k, yields);
    loop_store(l, loop_binary(l, LOOP_XOR, k.results[1], k.results[0]), make.out, &p.counter, NULL);
    If plain = loop_if(
        l, loop_binary(l, LOOP_LT, k.results[0], loop_const_int(l, (LoopType){DTYPE_I32, 1}, 0)), 0, NULL);
    loop_store(l, k.results[0], make.out, &p.counter, NULL);
    loop_end_if(l, &plain, NULL);
    loop_end(l, &p, NULL);
  }
}

/* ---- running ---- */

/* Numbers of all magnitudes, small ones more often, and the special ones. */
static void fill(Dtype dtype, void *memory, unsigned *seed) {
  static const double special[] = {
      0,        -0.0,  INFINITY,     -INFINITY,     NAN,          0.5,     -0.5,     1.5,      2.5,  65504,
      65519.99, 65520, 2147483647.0, -2147483648.0, 4294967295.0, 0x1p-24, 0x1p-149, 0x1p-126, 1e300};
  static const int64_t ints[] = {0,     1,      -1,        127,       -128,      255,
                                 32767, -32768, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
  for (int i = 0; i < COUNT; i++) {
    *seed = *seed * 1664525u + 1013904223u;
    unsigned r = *seed >> 8, kind = r % 8;
    if (dtype == DTYPE_BOOL)
      dtype_set_int(dtype, memory, i, r >> 4 & 1);
    else if (dtype_is_float(dtype))
      dtype_set(dtype, memory, i,
                kind == 0
                    ? special[(r >> 3) % COUNT_OF(special)]
                    : ldexp((double)(int)(r % 2001 - 1000) / 1000, kind == 1 ? (int)(r >> 12) % 60 - 30 : 4));
    else
      dtype_set_int(dtype, memory, i,
                    kind == 0  ? ints[(r >> 3) % COUNT_OF(ints)]
                    : kind < 3 ? (int64_t)((uint64_t)r * 0x9E3779B97F4A7C15u)
                               : (int64_t)(r % 41) - 20);
  }
}

static bool equal(const Case *c, Dtype dtype, const void *got, const void *want, int i) {
  uint64_t bits[2][2] = {{0}};
  dtype_copy(dtype, bits[0], 0, got, i);
  dtype_copy(dtype, bits[1], 0, want, i);
  if (memcmp(bits[0], bits[1], sizeof bits[0]) == 0) return true;
  if (!dtype_is_float(dtype)) return false;
  double x = dtype_get(dtype, got, i), y = dtype_get(dtype, want, i);
  if (isnan(x) && isnan(y)) return true;                                /* NaNs need not have the same bits */
  if (dtype == DTYPE_BF16 && x == 0 && fabs(y) < 0x1p-126) return true; /* subnormal */
  if (c->tolerance == 0) return false;
  double smallest = dtype == DTYPE_F64 ? 0x1p-1022 : dtype == DTYPE_F16 ? 0x1p-23 : 0x1p-126;
  return x == y || fabs(x - y) <= c->tolerance * fabs(y) + smallest;
}

static _Alignas(64) char memory[PARAMS][BYTES], expected[BYTES];

static bool check_case(const Loaded *loaded, const Case *c, unsigned *seed) {
  const Kernel *kernel = c->kernel;
  void *args[PARAMS], *reference[PARAMS];
  for (int i = 0; i < PARAMS; i++) args[i] = reference[i] = memory[i];
  for (int i = 0; i < 3; i++) fill(kernel->params[i]->dtype, memory[i], seed);
  memset(memory[3], 0, BYTES);
  memset(expected, 0, BYTES);
  reference[3] = expected;
  if (!kernel_interpret(kernel, reference, NULL, NULL, 0)) return false;
  if (!call_kernel(loaded, kernel->name, args, PARAMS, NULL)) return false;
  for (int i = 0; i < COUNT; i++) {
    Dtype dtype = kernel->params[3]->dtype, from = kernel->params[0]->dtype;
    if (equal(c, dtype, memory[3], expected, i)) continue;
    printf("%s %s -> %s: y[%d] is %.17g, not %.17g (a %.17g, b %.17g, c %.17g)\n", kernel->name,
           dtype_name(from), dtype_name(dtype), i, dtype_get(dtype, memory[3], i),
           dtype_get(dtype, expected, i), dtype_get(from, memory[0], i), dtype_get(from, memory[1], i),
           dtype_get(from, memory[2], i));
    return false;
  }
  return true;
}

static void add_all(Suite *suite) {
  add_lanewise_cases(suite);
  add_divisions_by_literals(suite);
  add_conversion_cases(suite);
  add_lane_cases(suite);
  add_memory_cases(suite);
  add_control_cases(suite);
}

static void check_cpu(const char *cpu) {
  Suite *suite = calloc(1, sizeof(Suite));
  Target target;
  Loaded loaded;
  unsigned seed = 7;
  int failed = 0;
  suite->module = module_new("opcodes");
  add_all(suite);
  Kernel *kernels[MAX_CASES];
  for (int i = 0; i < suite->count; i++) kernels[i] = suite->cases[i].kernel;
  if (CHECK(target_describe(suite->module, NULL, cpu, &target)) &&
      CHECK(load_kernels(suite->module, &target, kernels, suite->count, false, &loaded))) {
    for (int i = 0; i < suite->count; i++)
      for (int round = 0; round < 8; round++)
        if (!check_case(&loaded, &suite->cases[i], &seed)) {
          failed++;
          break;
        }
    printf("%s: %d kernels\n", target.cpu, suite->count);
    unload(&loaded);
  }
  diags_print(suite->module, stdout, 5);
  CHECK_INT(failed, 0);
  module_free(suite->module);
  free(suite);
}

TEST(host) {
  check_cpu(NULL);
}

TEST(avx2) {
  check_cpu("x86-64-v3");
}

TEST(oldest) {
  check_cpu("x86-64");
}

int main(void) {
  RUN(host);
  RUN(avx2);
  RUN(oldest);
  return tests_finish();
}
