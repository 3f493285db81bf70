/*
 * math.c -- exp, log, tanh, erf, sin, cos and pow of f32 as polynomials, written in loop IR.
 *
 * LLVM would make one libm call per lane of them. As loop IR they are vector code on every target, need no
 * libm, and the interpreter runs them too. f16 and bf16 are computed in f32; f64 and the rarer functions are
 * left to libm.
 *
 * Largest errors in units of the last place, as tests/codegen/math.c --all measures them (over every f32;
 * sin, cos and the sigmoid over every third, pow over samples), and ns per element in L1 with AVX-512 and
 * AVX2 at 3.7 GHz:
 *
 *   exp 0.89  0.18 0.36      tanh 1.97  0.27 0.37      sin 1.54  0.35 0.59
 *   log 0.85  0.41 0.65      erf  1.84  0.42 0.71      cos 1.54  0.34 0.57      pow 0.51
 *   1 + erf, off by 3.0e-7:   0.28 0.30
 *
 * and, of what operators make of exp, 1 / (1 + exp(-x)) 2.48, which is 0 from -88.8 down.
 * NaN, infinities, zeros and subnormal numbers come out as in C's Annex F.
 *
 * Coefficients: weighted minimax fits made for this file, rounded to f32 one after the other from the lowest
 * power up, the rest fitted again after each. Reductions are Cody and Waite's ("Software Manual for the
 * Elementary Functions", 1980).
 */
#include "codegen/math.h"

#include <math.h>

/* ---- a little notation: every value has the type of the one it comes from ---- */

static Reg *like(Loops *l, Reg *x, double value) {
  return loop_const(l, x->type, value);
}

static Reg *add(Loops *l, Reg *x, Reg *y) {
  return loop_binary(l, LOOP_ADD, x, y);
}

static Reg *sub(Loops *l, Reg *x, Reg *y) {
  return loop_binary(l, LOOP_SUB, x, y);
}

static Reg *mul(Loops *l, Reg *x, Reg *y) {
  return loop_binary(l, LOOP_MUL, x, y);
}

static Reg *absolute(Loops *l, Reg *x) {
  return loop_unary(l, LOOP_ABS, x);
}

/* value where x compares with limit, else otherwise */
static Reg *where(Loops *l, Opcode compare, Reg *x, double limit, Reg *value, Reg *otherwise) {
  return loop_select(l, loop_binary(l, compare, x, like(l, x, limit)), value, otherwise);
}

/* At most, and at least, a limit; NaN stays. */
static Reg *at_most(Loops *l, Reg *x, double limit) {
  return loop_binary(l, LOOP_MIN, like(l, x, limit), x);
}

static Reg *at_least(Loops *l, Reg *x, double limit) {
  return loop_binary(l, LOOP_MAX, like(l, x, limit), x);
}

/* Within [low, high]; NaN becomes high, so that the backend sees what range is left and converts to integers
 * without checks. */
static Reg *clamp(Loops *l, Reg *x, double low, double high) {
  x = loop_binary(l, LOOP_MIN, x, like(l, x, high));
  return loop_binary(l, LOOP_MAX, x, like(l, x, low));
}

static Reg *nan_from(Loops *l, Reg *x, Reg *otherwise) {
  return loop_select(l, loop_binary(l, LOOP_NE, x, x), x, otherwise);
}

/* c[0] + c[1]*x + ... by Horner's rule */
static Reg *polynomial(Loops *l, Reg *x, const double *c, int count) {
  Reg *sum = like(l, x, c[count - 1]);
  for (int i = count - 2; i >= 0; i--) sum = loop_fma(l, sum, x, like(l, x, c[i]));
  return sum;
}

static Reg *int_like(Loops *l, Reg *x, int64_t value) {
  return loop_const_int(l, x->type, value);
}

/* x with the sign bit of `sign` (f32) put on top: x must not be negative */
static Reg *with_sign_of(Loops *l, Reg *x, Reg *sign) {
  Reg *bits = loop_bitcast(l, sign, DTYPE_I32);
  Reg *bit = loop_binary(l, LOOP_AND, bits, int_like(l, bits, INT32_MIN));
  return loop_bitcast(l, loop_binary(l, LOOP_OR, loop_bitcast(l, x, DTYPE_I32), bit), DTYPE_F32);
}

/* ---- exp ---- */

static const double LN2_HIGH = 0x1.62e4p-1,
                    LN2_LOW = 0x1.7f7d1cp-20; /* 15 bits, so that products with exponents are exact */

/* e^x = 2^n * e^r with |r| <= ln(2)/2. Beyond the limits the result is 0 or infinite. */
static Reg *expand_exp(Loops *l, Reg *x) {
  static const double c[] = {1.0,           1.0,           0x1.fffffcp-2, 0x1.555492p-3,
                             0x1.5558acp-5, 0x1.12397cp-7, 0x1.6a513ap-10};
  x = at_least(l, at_most(l, x, 89.0), -104.0);
  Reg *n = loop_unary(l, LOOP_ROUND, mul(l, x, like(l, x, 0x1.715476p+0)));
  Reg *r = loop_fma(l, n, like(l, x, -LN2_HIGH), x);
  r = loop_fma(l, n, like(l, x, -LN2_LOW), r);
  return loop_binary(l, LOOP_SCALE, polynomial(l, r, c, COUNT_OF(c)), n);
}

/* ---- log ---- */

/* x = 2^e * m with m in [sqrt(1/2), sqrt(2)), so that nothing cancels near 1. Subnormals are scaled up first.
 */
static Reg *expand_log(Loops *l, Reg *x) {
  static const double c[] = {0x1.555554p-2, -0x1.00022cp-2, 0x1.99a03ap-3, -0x1.5470e2p-3,
                             0x1.22d482p-3, -0x1.0d8e30p-3, 0x1.0589a0p-3, -0x1.38f9ccp-4};
  Reg *scaled = where(l, LOOP_LT, x, 0x1p-126, mul(l, x, like(l, x, 0x1p23)), x);
  Reg *bits = loop_bitcast(l, scaled, DTYPE_I32);
  Reg *above = loop_binary(l, LOOP_SUB, bits, int_like(l, bits, 0x3f3504f3)); /* of sqrt(1/2) */
  Reg *exponent = loop_binary(l, LOOP_SHR, above, int_like(l, bits, 23));
  Reg *m = loop_binary(l, LOOP_SUB, bits, loop_binary(l, LOOP_SHL, exponent, int_like(l, bits, 23)));
  Reg *f = loop_bitcast(l, m, DTYPE_F32);
  f = sub(l, f, like(l, f, 1.0));
  Reg *e = loop_cast(l, exponent, DTYPE_F32);
  e = where(l, LOOP_LT, x, 0x1p-126, sub(l, e, like(l, e, 23.0)), e);
  Reg *f2 = mul(l, f, f);
  Reg *tail = mul(l, mul(l, polynomial(l, f, c, COUNT_OF(c)), f), f2);
  tail = loop_fma(l, e, like(l, e, LN2_LOW), tail);
  tail = loop_fma(l, f2, like(l, f, -0.5), tail);
  Reg *result = loop_fma(l, e, like(l, e, LN2_HIGH), add(l, f, tail));
  result = where(l, LOOP_EQ, x, 0.0, like(l, x, -INFINITY), result);
  result = where(l, LOOP_LT, x, 0.0, like(l, x, NAN), result);
  result = where(l, LOOP_EQ, x, INFINITY, x, result);
  return nan_from(l, x, result);
}

/* ---- tanh, erf ---- */

/* e^-u for 0 <= u <= 20 in parts that lose nothing where it is near 1: power * (1 - rest), power = 2^-n. The
 * remainder of u needs no second part of ln(2): what that adds weighs less the larger n is. */
typedef struct Decay {
  Reg *power, *rest;
} Decay;

/* 2^n of a whole n within the exponents of f32: the sum's last place is 1, so that its lowest bits are n and
 * the exponent's bias. */
static Reg *power_of_two(Loops *l, Reg *n) {
  Reg *bits = loop_bitcast(l, add(l, n, like(l, n, 0x1.8p23 + 127)), DTYPE_I32);
  return loop_bitcast(l, loop_binary(l, LOOP_SHL, bits, int_like(l, bits, 23)), DTYPE_F32);
}

static Decay decay(Loops *l, Reg *u) {
  static const double c[] = {-0x1.fffffep-2, 0x1.5554b4p-3, -0x1.5556f6p-5, 0x1.122538p-7, -0x1.6b97a0p-10};
  Reg *n = loop_unary(l, LOOP_ROUND, mul(l, u, like(l, u, -0x1.715476p+0)));
  Reg *r = loop_fma(l, n, like(l, u, 0x1.62e430p-1), u);
  Reg *rest = loop_fma(l, mul(l, r, r), polynomial(l, r, c, COUNT_OF(c)), r);
  return (Decay){power_of_two(l, n), rest};
}

/* (1 - e^-2|x|) / (1 + e^-2|x|), which is 1 from 10 on */
static Reg *expand_tanh(Loops *l, Reg *x) {
  Reg *a = at_most(l, absolute(l, x), 10.0), *one = like(l, x, 1.0);
  Decay d = decay(l, add(l, a, a));
  Reg *above = loop_fma(l, d.power, d.rest, sub(l, one, d.power));
  Reg *below = loop_fma(l, loop_unary(l, LOOP_NEG, d.power), d.rest, add(l, one, d.power));
  return with_sign_of(l, loop_binary(l, LOOP_DIV, above, below), x);
}

/* 1 - e^-u with u = -log(erfc(|x|)), which is |x| times a polynomial; its first coefficient, 2/sqrt(pi), has
 * two parts. From 4 on the result is 1. */
static Reg *expand_erf(Loops *l, Reg *x) {
  static const double high = 0x1.20dd76p+0;
  static const double c[] = {-0x1.f7ac92p-25, 0x1.45f2fep-1,   0x1.a4f95cp-4,
                             -0x1.39c08cp-6,  -0x1.5b85aap-13, 0x1.b64bd2p-10,
                             -0x1.4d1fcap-11, 0x1.f046b0p-14,  -0x1.390acp-17};
  Reg *a = at_most(l, absolute(l, x), 4.0);
  Reg *u = loop_fma(l, a, like(l, a, high), mul(l, a, polynomial(l, a, c, COUNT_OF(c))));
  Decay d = decay(l, u);
  return with_sign_of(l, loop_fma(l, d.power, d.rest, sub(l, like(l, x, 1.0), d.power)), x);
}

/* erf where it is only added to 1, as in GELU: off by 3.3e-7 in the sum, which rounds by 6e-8 itself. x
 * p(x^2) / q(x^2); at the limit, and so beyond, the quotient is exactly 1. */
static Reg *expand_erf_beside_one(Loops *l, Reg *x) {
  static const double limit = 0x1.e51eb8p+1;
  static const double p[] = {0x1.20dd74p+0, 0x1.7fd108p-3,  0x1.addbf4p-5,
                             0x1.e0bd80p-9, 0x1.2e3b44p-12, 0x1.2071bap-19};
  static const double q[] = {1.0,           0x1.ff6816p-2,  0x1.cec46ep-4,
                             0x1.e40872p-7, 0x1.2d2e50p-10, 0x1.4987cap-15};
  Reg *a = at_least(l, at_most(l, x, limit), -limit), *a2 = mul(l, a, a);
  Reg *above = mul(l, a, polynomial(l, a2, p, COUNT_OF(p)));
  return loop_binary(l, LOOP_DIV, above, polynomial(l, a2, q, COUNT_OF(q)));
}

/* ---- sin, cos ---- */

/* Beyond this the three parts of pi/2 do not carry enough bits: there libm computes, in f64. */
static const double TRIGONOMETRIC_LIMIT = 65536.0;

/* r = x - n*pi/2 with |r| <= pi/4; n*pi/2 plus `shift` quarters choose sine or cosine of r, and the sign. */
static Reg *reduced_sin(Loops *l, Reg *x, int shift) {
  static const double sin_c[] = {-0x1.555544p-3, 0x1.1106c6p-7, -0x1.991c1ep-13};
  static const double cos_c[] = {0x1.55554ap-5, -0x1.6c0c1ep-10, 0x1.99e336p-16};
  Reg *n = loop_unary(l, LOOP_ROUND, mul(l, x, like(l, x, 0x1.45f306p-1)));
  Reg *r = loop_fma(l, n, like(l, x, -0x1.921fb6p+0), x);
  r = loop_fma(l, n, like(l, x, 0x1.777a5cp-25), r);
  r = loop_fma(l, n, like(l, x, 0x1.ee59dap-50), r);
  Reg *r2 = mul(l, r, r);
  Reg *sine = loop_fma(l, mul(l, polynomial(l, r2, sin_c, COUNT_OF(sin_c)), r2), r, r);
  Reg *cosine = loop_fma(l, polynomial(l, r2, cos_c, COUNT_OF(cos_c)), r2, like(l, r2, -0.5));
  cosine = loop_fma(l, cosine, r2, like(l, r2, 1.0));
  Reg *quarter = loop_cast(l, clamp(l, n, -0x1p20, 0x1p20), DTYPE_I32);
  quarter = loop_binary(l, LOOP_ADD, quarter, int_like(l, quarter, shift));
  Reg *odd = loop_binary(l, LOOP_AND, quarter, int_like(l, quarter, 1));
  Reg *value = loop_select(l, loop_binary(l, LOOP_NE, odd, int_like(l, odd, 0)), cosine, sine);
  Reg *flip = loop_binary(l, LOOP_SHL, loop_binary(l, LOOP_AND, quarter, int_like(l, quarter, 2)),
                          int_like(l, quarter, 30));
  return loop_bitcast(l, loop_binary(l, LOOP_XOR, loop_bitcast(l, value, DTYPE_I32), flip), DTYPE_F32);
}

static Reg *expand_trigonometric(Loops *l, Reg *x, Opcode op) {
  Reg *a = absolute(l, x),
      *numbers = loop_binary(l, LOOP_MAX, a, like(l, a, 0.0)); /* without NaN, which would hide others */
  Reg *largest = loop_reduce(l, LOOP_REDUCE_MAX, numbers);
  If large = loop_if(l, loop_binary(l, LOOP_GT, largest, like(l, largest, TRIGONOMETRIC_LIMIT)), 1, &x->type);
  Reg *slow = loop_cast(l, loop_unary(l, op, loop_cast(l, x, DTYPE_F64)), DTYPE_F32);
  loop_else(l, &large, &slow);
  Reg *fast = reduced_sin(l, x, op == LOOP_COS);
  if (op == LOOP_SIN) fast = where(l, LOOP_LT, a, 0x1p-12, x, fast); /* keeps -0 */
  loop_end_if(l, &large, &fast);
  return large.results[0];
}

static Reg *expand_sin(Loops *l, Reg *x) {
  return expand_trigonometric(l, x, LOOP_SIN);
}

static Reg *expand_cos(Loops *l, Reg *x) {
  return expand_trigonometric(l, x, LOOP_COS);
}

/* ---- pow ---- */

/* log2 of a positive, finite f64 that was an f32: exponent and 2 atanh((m-1)/(m+1)). */
static Reg *log2_wide(Loops *l, Reg *x) {
  static const double c[] = {0x1.71547652b824ep+1, 0x1.ec709dc541b7ap-1, 0x1.2776c28ca6690p-1,
                             0x1.a61a3463729d8p-2, 0x1.479461c2af20bp-2, 0x1.21bf51d28694bp-2};
  Reg *bits = loop_bitcast(l, x, DTYPE_I64);
  Reg *above = loop_binary(l, LOOP_SUB, bits, int_like(l, bits, 0x3fe6a09e667f3bcd)); /* of sqrt(1/2) */
  Reg *exponent = loop_binary(l, LOOP_SHR, above, int_like(l, bits, 52));
  Reg *m = loop_binary(l, LOOP_SUB, bits, loop_binary(l, LOOP_SHL, exponent, int_like(l, bits, 52)));
  m = loop_bitcast(l, m, DTYPE_F64);
  Reg *one = like(l, m, 1.0);
  Reg *s = loop_binary(l, LOOP_DIV, sub(l, m, one), add(l, m, one));
  Reg *e = loop_cast(l, loop_cast(l, exponent, DTYPE_I32), DTYPE_F64);
  return loop_fma(l, polynomial(l, mul(l, s, s), c, COUNT_OF(c)), s, e);
}

/* 2^t for |t| <= 1000 in f64 */
static Reg *exp2_wide(Loops *l, Reg *t) {
  static const double c[] = {0x1.ffffffffff7a3p-1,  0x1.62e42fef8615ep-1,  0x1.ebfbdff931a04p-3,
                             0x1.c6b08dd46d2f3p-5,  0x1.3b2ab5c526729p-7,  0x1.5d8748385f844p-10,
                             0x1.430acca7a384ap-13, 0x1.00dad24aa3cf6p-16, 0x1.61afca577aad7p-20};
  Reg *n = loop_unary(l, LOOP_ROUND, t);
  Reg *p = polynomial(l, sub(l, t, n), c, COUNT_OF(c));
  Reg *whole = loop_cast(l, loop_cast(l, n, DTYPE_I32), DTYPE_I64);
  Reg *biased = loop_binary(l, LOOP_ADD, whole, int_like(l, whole, 1023));
  return mul(l, p, loop_bitcast(l, loop_binary(l, LOOP_SHL, biased, int_like(l, whole, 52)), DTYPE_F64));
}

/* y*log2|x|, with the logarithms of 0 and infinity as limits */
static Reg *pow_magnitude(Loops *l, Reg *a, Reg *y) {
  Reg *wide = loop_cast(l, a, DTYPE_F64), *log2 = log2_wide(l, wide);
  log2 = where(l, LOOP_EQ, wide, 0.0, like(l, wide, -INFINITY), log2);
  log2 = where(l, LOOP_EQ, wide, INFINITY, wide, log2);
  log2 = nan_from(l, wide, log2);
  Reg *t = mul(l, loop_cast(l, y, DTYPE_F64), log2);
  return loop_cast(l, nan_from(l, t, exp2_wide(l, clamp(l, t, -1000.0, 1000.0))), DTYPE_F32);
}

/* In f64, which leaves nothing to wish for in f32; then the cases of C's Annex F. */
static Reg *expand_pow(Loops *l, Reg *x, Reg *y) {
  Reg *a = absolute(l, x), *one = like(l, x, 1.0), *zero = like(l, x, 0.0);
  Reg *result = pow_magnitude(l, a, y);
  Reg *half = mul(l, y, like(l, y, 0.5)), *finite = loop_binary(l, LOOP_LT, a, like(l, a, INFINITY));
  Reg *whole = loop_binary(l, LOOP_EQ, loop_unary(l, LOOP_TRUNC, y), y);
  Reg *even = loop_binary(l, LOOP_EQ, loop_unary(l, LOOP_TRUNC, half), half);
  Reg *odd = loop_binary(l, LOOP_AND, whole, loop_unary(l, LOOP_NOT, even));
  result = loop_select(l, odd, with_sign_of(l, result, x), result);
  Reg *undefined = loop_binary(l, LOOP_AND, loop_binary(l, LOOP_LT, x, zero), loop_unary(l, LOOP_NOT, whole));
  result = loop_select(l, loop_binary(l, LOOP_AND, undefined, finite), like(l, x, NAN), result);
  Reg *unit = loop_binary(l, LOOP_AND, loop_binary(l, LOOP_EQ, a, one),
                          loop_binary(l, LOOP_EQ, absolute(l, y), like(l, y, INFINITY)));
  Reg *sure = loop_binary(l, LOOP_OR, loop_binary(l, LOOP_EQ, y, zero), loop_binary(l, LOOP_EQ, x, one));
  return loop_select(l, loop_binary(l, LOOP_OR, sure, unit), one, result);
}

/* ---- the rewrite ---- */

typedef Reg *Expansion(Loops *, Reg *);

static Expansion *const expansions[LOOP_OPCODE_COUNT] = {
    [LOOP_EXP] = expand_exp, [LOOP_LOG] = expand_log, [LOOP_TANH] = expand_tanh,
    [LOOP_ERF] = expand_erf, [LOOP_SIN] = expand_sin, [LOOP_COS] = expand_cos,
};

typedef struct Rewrite {
  Kernel *kernel;
  Reg **replacements; /* by id of registers that were there before */
  bool *used;         /* ... otherwise than by adding it to 1 */
  int old_count;
} Rewrite;

static bool is_one(const Reg *reg) {
  return reg_is_const(reg) && dtype_is_float(reg->type.dtype) && reg->def->fimm == 1;
}

static void find_uses(const Block *block, bool *used) {
  for (const Instr *instr = block->first; instr; instr = instr->next) {
    for (int i = 0; i < instr->arg_count; i++)
      if (instr->op != LOOP_ADD || !is_one(instr->args[1 - i])) used[instr->args[i]->id] = true;
    for (int i = 0; i < instr->block_count; i++) find_uses(instr->blocks[i], used);
  }
}

static bool can_expand(const Instr *instr) {
  if (instr->op != LOOP_POW && !expansions[instr->op]) return false;
  return dtype_is_float(instr->results[0]->type.dtype) && instr->results[0]->type.dtype != DTYPE_F64;
}

static Reg *expand(const Rewrite *rewrite, Loops *loops, const Instr *instr) {
  Dtype dtype = instr->results[0]->type.dtype;
  Reg *x = loop_cast(loops, instr->args[0], DTYPE_F32), *result;
  if (instr->op == LOOP_POW)
    result = expand_pow(loops, x, loop_cast(loops, instr->args[1], DTYPE_F32));
  else if (instr->op == LOOP_ERF && !rewrite->used[instr->results[0]->id])
    result = expand_erf_beside_one(loops, x);
  else
    result = expansions[instr->op](loops, x);
  return loop_cast(loops, result, dtype);
}

static void replace_args(const Rewrite *rewrite, Instr *instr) {
  for (int i = 0; i < instr->arg_count; i++) {
    Reg *arg = instr->args[i];
    if (arg->id < rewrite->old_count && rewrite->replacements[arg->id])
      instr->args[i] = rewrite->replacements[arg->id];
  }
}

static void append(Block *block, Instr *instr) {
  instr->prev = block->last;
  instr->next = NULL;
  if (block->last)
    block->last->next = instr;
  else
    block->first = instr;
  block->last = instr;
}

/* Takes the block's list apart and puts it together again, with expansions in place of what they replace. */
static bool rewrite_block(const Rewrite *rewrite, Block *block) {
  bool changed = false;
  Loops loops = {rewrite->kernel, block};
  Instr *instr = block->first;
  block->first = block->last = NULL;
  for (Instr *next; instr; instr = next) {
    next = instr->next;
    replace_args(rewrite, instr);
    if (can_expand(instr)) {
      rewrite->replacements[instr->results[0]->id] = expand(rewrite, &loops, instr);
      changed = true;
      continue;
    }
    append(block, instr);
    for (int i = 0; i < instr->block_count; i++)
      changed = rewrite_block(rewrite, instr->blocks[i]) || changed;
  }
  return changed;
}

bool loops_expand_math(Kernel *kernel) {
  Arena *arena = kernel->module->arena;
  Rewrite rewrite = {kernel, NEW_ARRAY(arena, Reg *, kernel->reg_count),
                     NEW_ARRAY(arena, bool, kernel->reg_count), kernel->reg_count};
  find_uses(kernel->body, rewrite.used);
  return rewrite_block(&rewrite, kernel->body);
}
