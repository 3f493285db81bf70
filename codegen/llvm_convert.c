/*
 * llvm_convert.c -- casts between dtypes, and floats below 32 bits, whose registers hold bits.
 *
 * Every conversion to a narrow float rounds once: what comes from f64 or wide integers goes through an f32
 * that was rounded to odd, whose last bit remembers that something was cut off (Boldo and Melquiond, "When
 * double rounding is odd", 2005). One encoder and one decoder serve all formats of ir/dtype.c; bf16 and,
 * where the processor has them, f16 have shorter ways.
 */
#include "codegen/llvm.h"

#include <math.h>

/* Whether registers of it hold bits and its values are computed with as f32. */
static bool is_bits(Dtype dtype) {
  return dtype_is_float(dtype) && dtype != DTYPE_F32 && dtype != DTYPE_F64;
}

static LLVMTypeRef type_of_bits(const Emit *emit, int bits, int lanes) {
  return llvm_lanes_of(LLVMIntTypeInContext(emit->context, (unsigned)bits), lanes);
}

static LLVMTypeRef float_type(const Emit *emit, int lanes) {
  return llvm_type(emit, DTYPE_F32, lanes);
}

static LLVMValueRef bitcast(const Emit *emit, LLVMValueRef value, LLVMTypeRef type) {
  return LLVMBuildBitCast(emit->builder, value, type, "");
}

/* ---- narrow floats to f32 ---- */

/* 2^(bits-127): the exponent of an f32, but for the two patterns that mean something else there. */
static LLVMValueRef widen_power(const Emit *emit, LLVMValueRef value, int lanes) {
  LLVMBuilderRef builder = emit->builder;
  LLVMTypeRef wide = type_of_bits(emit, 32, lanes);
  LLVMValueRef bits = LLVMBuildZExt(builder, value, wide, "");
  LLVMValueRef power = LLVMBuildShl(builder, bits, llvm_int(wide, 23), "");
  LLVMValueRef least = LLVMBuildICmp(builder, LLVMIntEQ, bits, llvm_int(wide, 0), "");
  LLVMValueRef is_nan = LLVMBuildICmp(builder, LLVMIntEQ, bits, llvm_int(wide, 0xff), "");
  power = LLVMBuildSelect(builder, least, llvm_int(wide, 0x400000), power, "");
  power = LLVMBuildSelect(builder, is_nan, llvm_int(wide, 0x7fc00000), power, "");
  return bitcast(emit, power, float_type(emit, lanes));
}

/* Which patterns are NaN or infinite, and what they are as f32; NULL: none. */
static LLVMValueRef is_special(const Emit *emit, const FloatFormat *format, LLVMValueRef bits,
                               LLVMValueRef magnitude) {
  LLVMTypeRef wide = LLVMTypeOf(bits);
  if (format->has_inf)
    return LLVMBuildICmp(emit->builder, LLVMIntUGT, magnitude, llvm_int(wide, format->largest), "");
  if (format->nan == 0) return NULL;
  return LLVMBuildICmp(emit->builder, LLVMIntEQ, format->has_zero_minus ? magnitude : bits,
                       llvm_int(wide, format->nan), "");
}

/* Exponent and fraction moved into place and the exponent's bias corrected by a product, which is right for
 * subnormals too. */
static LLVMValueRef widen_bits(const Emit *emit, const FloatFormat *format, LLVMValueRef value, int lanes) {
  LLVMBuilderRef builder = emit->builder;
  LLVMTypeRef wide = type_of_bits(emit, 32, lanes), real = float_type(emit, lanes);
  int width = 1 + format->exponent_bits + format->mantissa_bits;
  LLVMValueRef bits = LLVMBuildZExt(builder, value, wide, "");
  LLVMValueRef magnitude = LLVMBuildAnd(builder, bits, llvm_int(wide, (1 << (width - 1)) - 1), "");
  LLVMValueRef sign = LLVMBuildAnd(builder, bits, llvm_int(wide, 1 << (width - 1)), "");
  LLVMValueRef moved = LLVMBuildShl(builder, magnitude, llvm_int(wide, 23 - format->mantissa_bits), "");
  LLVMValueRef product =
      LLVMBuildFMul(builder, bitcast(emit, moved, real), llvm_float(real, ldexp(1, 127 - format->bias)), "");
  LLVMValueRef result = bitcast(emit, product, wide), special = is_special(emit, format, bits, magnitude);
  if (special) { /* the fraction of an infinity is 0 */
    LLVMValueRef infinite = format->has_inf ? LLVMBuildOr(builder, moved, llvm_int(wide, 0x7f800000), "")
                                            : llvm_int(wide, 0x7fc00000);
    result = LLVMBuildSelect(builder, special, infinite, result, "");
  }
  sign = LLVMBuildShl(builder, sign, llvm_int(wide, 32 - width), "");
  return bitcast(emit, LLVMBuildOr(builder, result, sign, ""), real);
}

LLVMValueRef llvm_widen(const Emit *emit, LLVMValueRef value, LoopType type) {
  if (!is_bits(type.dtype)) return value;
  if (type.dtype == DTYPE_F8E8M0) return widen_power(emit, value, type.lanes);
  if (type.dtype == DTYPE_BF16) {
    LLVMTypeRef wide = type_of_bits(emit, 32, type.lanes);
    LLVMValueRef bits =
        LLVMBuildShl(emit->builder, LLVMBuildZExt(emit->builder, value, wide, ""), llvm_int(wide, 16), "");
    return bitcast(emit, bits, float_type(emit, type.lanes));
  }
  if (type.dtype != DTYPE_F16 || !emit->machine->f16c)
    return widen_bits(emit, dtype_format(type.dtype), value, type.lanes);
  LLVMTypeRef half = llvm_lanes_of(LLVMHalfTypeInContext(emit->context), type.lanes);
  /* LLVM would compare the halves instead, for which there are no vectors. */
  LLVMTypeRef real = float_type(emit, type.lanes);
  LLVMValueRef wide = LLVMBuildFPExt(emit->builder, bitcast(emit, value, half), real, "");
  return llvm_intrinsic(emit, "llvm.arithmetic.fence", &real, 1, &wide, 1);
}

/* ---- f32 to narrow floats ---- */

/* Half of the last place that stays, minus one, plus that place's bit: carries exactly when rounding to even
 * goes up. */
static LLVMValueRef round_bits(const Emit *emit, LLVMValueRef bits, int cut) {
  LLVMBuilderRef builder = emit->builder;
  LLVMTypeRef wide = LLVMTypeOf(bits);
  LLVMValueRef odd =
      LLVMBuildAnd(builder, LLVMBuildLShr(builder, bits, llvm_int(wide, cut), ""), llvm_int(wide, 1), "");
  LLVMValueRef bias = LLVMBuildAdd(builder, odd, llvm_int(wide, (1 << (cut - 1)) - 1), "");
  return LLVMBuildLShr(builder, LLVMBuildAdd(builder, bits, bias, ""), llvm_int(wide, cut), "");
}

/* The magnitude's bits, without regard to the largest: subnormal results by adding a number whose last place
 * is that of the smallest; larger ones by rounding the bits. */
static LLVMValueRef narrow_magnitude(const Emit *emit, const FloatFormat *format, LLVMValueRef magnitude,
                                     int lanes) {
  LLVMBuilderRef builder = emit->builder;
  LLVMTypeRef wide = type_of_bits(emit, 32, lanes), real = float_type(emit, lanes);
  int cut = 23 - format->mantissa_bits, least = 1 - format->bias; /* exponent of the smallest normal */
  int64_t anchor = (int64_t)(cut + least + 127) << 23, smallest = (int64_t)(least + 127) << 23;
  LLVMValueRef shifted =
      LLVMBuildFAdd(builder, bitcast(emit, magnitude, real), bitcast(emit, llvm_int(wide, anchor), real), "");
  LLVMValueRef small = LLVMBuildSub(builder, bitcast(emit, shifted, wide), llvm_int(wide, anchor), "");
  LLVMValueRef rebased =
      LLVMBuildSub(builder, magnitude, llvm_int(wide, (int64_t)(127 - format->bias) << 23), "");
  LLVMValueRef is_small = LLVMBuildICmp(builder, LLVMIntULT, magnitude, llvm_int(wide, smallest), "");
  return LLVMBuildSelect(builder, is_small, small, round_bits(emit, rebased, cut), "");
}

static LLVMValueRef narrow_bits(const Emit *emit, const FloatFormat *format, LLVMValueRef value, int lanes) {
  LLVMBuilderRef builder = emit->builder;
  LLVMTypeRef wide = type_of_bits(emit, 32, lanes);
  int width = 1 + format->exponent_bits + format->mantissa_bits;
  int64_t infinity = format->has_inf ? (int64_t)format->largest + 1 : (int64_t)format->largest;
  int64_t over = format->saturate ? (int64_t)format->largest : infinity;
  LLVMValueRef bits = bitcast(emit, value, wide);
  LLVMValueRef magnitude = LLVMBuildAnd(builder, bits, llvm_int(wide, 0x7fffffff), "");
  LLVMValueRef sign = LLVMBuildAnd(builder, LLVMBuildLShr(builder, bits, llvm_int(wide, 32 - width), ""),
                                   llvm_int(wide, 1 << (width - 1)), "");
  LLVMValueRef result = narrow_magnitude(emit, format, magnitude, lanes);
  LLVMValueRef is_over = LLVMBuildICmp(builder, LLVMIntUGT, result, llvm_int(wide, format->largest), "");
  result = LLVMBuildSelect(builder, is_over, llvm_int(wide, over), result, "");
  if (over != infinity) {
    LLVMValueRef is_inf = LLVMBuildICmp(builder, LLVMIntEQ, magnitude, llvm_int(wide, 0x7f800000), "");
    result = LLVMBuildSelect(builder, is_inf, llvm_int(wide, infinity), result, "");
  }
  LLVMValueRef with_sign = LLVMBuildOr(builder, result, sign, "");
  if (!format->has_zero_minus) {
    LLVMValueRef is_zero = LLVMBuildICmp(builder, LLVMIntEQ, result, llvm_int(wide, 0), "");
    with_sign = LLVMBuildSelect(builder, is_zero, result, with_sign, "");
  }
  LLVMValueRef is_nan = LLVMBuildICmp(builder, LLVMIntUGT, magnitude, llvm_int(wide, 0x7f800000), "");
  LLVMValueRef nan = llvm_int(wide, format->nan ? format->nan : format->largest);
  with_sign = LLVMBuildSelect(builder, is_nan, nan, with_sign, "");
  return LLVMBuildTrunc(builder, with_sign, type_of_bits(emit, width, lanes), "");
}

/* The machine's instruction for that many lanes of f32, which takes subnormal numbers for 0. */
static const char *bf16_instruction(const Machine *machine, int lanes) {
  return !machine->bf16 ? NULL
         : lanes == 16  ? "llvm.x86.avx512bf16.cvtneps2bf16.512"
         : lanes == 8   ? "llvm.x86.avx512bf16.cvtneps2bf16.256"
                        : NULL;
}

static LLVMValueRef narrow_bf16(const Emit *emit, LLVMValueRef value, int lanes) {
  LLVMBuilderRef builder = emit->builder;
  const char *name = bf16_instruction(emit->machine, lanes);
  if (name)
    return bitcast(emit, llvm_intrinsic(emit, name, NULL, 0, &value, 1), type_of_bits(emit, 16, lanes));
  LLVMTypeRef wide = type_of_bits(emit, 32, lanes);
  LLVMValueRef bits = bitcast(emit, value, wide);
  LLVMValueRef quiet =
      LLVMBuildOr(builder, LLVMBuildLShr(builder, bits, llvm_int(wide, 16), ""), llvm_int(wide, 0x40), "");
  LLVMValueRef is_nan = LLVMBuildFCmp(builder, LLVMRealUNO, value, value, "");
  LLVMValueRef result = LLVMBuildSelect(builder, is_nan, quiet, round_bits(emit, bits, 16), "");
  return LLVMBuildTrunc(builder, result, type_of_bits(emit, 16, lanes), "");
}

LLVMValueRef llvm_narrow(const Emit *emit, LLVMValueRef value, LoopType type) {
  if (!is_bits(type.dtype)) return value;
  if (type.dtype == DTYPE_BF16) return narrow_bf16(emit, value, type.lanes);
  if (type.dtype != DTYPE_F16 || !emit->machine->f16c)
    return narrow_bits(emit, dtype_format(type.dtype), value, type.lanes);
  LLVMTypeRef half = llvm_lanes_of(LLVMHalfTypeInContext(emit->context), type.lanes);
  return bitcast(emit, LLVMBuildFPTrunc(emit->builder, value, half, ""), type_of_bits(emit, 16, type.lanes));
}

/* f64 to f32, rounded toward zero with the last bit set when that was not exact. */
static LLVMValueRef round_to_odd(const Emit *emit, LLVMValueRef value, int lanes) {
  LLVMBuilderRef builder = emit->builder;
  LLVMTypeRef wide = type_of_bits(emit, 32, lanes), real = float_type(emit, lanes), type = LLVMTypeOf(value);
  LLVMValueRef near = LLVMBuildFPTrunc(builder, value, real, ""),
               back = LLVMBuildFPExt(builder, near, type, "");
  LLVMValueRef magnitude = llvm_intrinsic(emit, "llvm.fabs", &type, 1, &value, 1);
  LLVMValueRef back_magnitude = llvm_intrinsic(emit, "llvm.fabs", &type, 1, &back, 1);
  LLVMValueRef up = LLVMBuildFCmp(builder, LLVMRealOGT, back_magnitude, magnitude, "");
  LLVMValueRef inexact = LLVMBuildFCmp(builder, LLVMRealONE, back, value, "");
  LLVMValueRef bits =
      LLVMBuildSub(builder, bitcast(emit, near, wide), LLVMBuildZExt(builder, up, wide, ""), "");
  return bitcast(emit, LLVMBuildOr(builder, bits, LLVMBuildZExt(builder, inexact, wide, ""), ""), real);
}

/* ---- casts ---- */

static LLVMValueRef cast_int_to_int(const Emit *emit, LLVMValueRef x, LoopType from, LoopType to) {
  LLVMTypeRef type = llvm_type(emit, to.dtype, to.lanes);
  int from_bits = from.dtype == DTYPE_BOOL ? 1 : dtype_bits(from.dtype), to_bits = dtype_bits(to.dtype);
  if (from_bits > to_bits) return LLVMBuildTrunc(emit->builder, x, type, "");
  if (from_bits == to_bits) return x;
  return dtype_is_signed_int(from.dtype) ? LLVMBuildSExt(emit->builder, x, type, "")
                                         : LLVMBuildZExt(emit->builder, x, type, "");
}

typedef struct Range {
  double low, high;
} Range;

static Range int_range(Dtype dtype) {
  int bits = dtype_bits(dtype);
  if (dtype_is_signed_int(dtype)) return (Range){-ldexp(1, bits - 1), ldexp(1, bits - 1) - 1};
  return (Range){0, ldexp(1, bits) - 1};
}

static bool const_float(const Reg *reg, double *value) {
  *value = reg->def->fimm;
  return reg->def->op == LOOP_CONST && !isnan(*value);
}

/* Whether a float is a number between bounds that its definition shows: clamped, perhaps scaled by constants
 * and rounded since. */
static bool known_range(const Reg *reg, Range *range, int depth) {
  const Instr *def = reg->def;
  double c;
  if (depth > 8 || def->block_count > 0) return false;
  switch (def->op) {
  case LOOP_MIN: /* never NaN when the second operand is a number */
    if (!const_float(def->args[1], &c)) return false;
    if (!known_range(def->args[0], range, depth + 1)) *range = (Range){-INFINITY, c};
    *range = (Range){fmin(range->low, c), fmin(range->high, c)};
    return true;
  case LOOP_MAX:
    if (!const_float(def->args[1], &c)) return false;
    if (!known_range(def->args[0], range, depth + 1)) *range = (Range){c, INFINITY};
    *range = (Range){fmax(range->low, c), fmax(range->high, c)};
    return true;
  case LOOP_FLOOR:
  case LOOP_CEIL:
  case LOOP_ROUND:
  case LOOP_TRUNC:
    if (!known_range(def->args[0], range, depth + 1)) return false;
    *range = (Range){floor(range->low), ceil(range->high)};
    return true;
  case LOOP_MUL: {
    Range x;
    if (!const_float(def->args[1], &c) || c == 0 || isinf(c) || !known_range(def->args[0], &x, depth + 1))
      return false;
    *range = (Range){fmin(x.low * c, x.high * c), fmax(x.low * c, x.high * c)};
    return true;
  }
  case LOOP_ADD:
    if (!const_float(def->args[1], &c) || isinf(c) || !known_range(def->args[0], range, depth + 1))
      return false;
    *range = (Range){range->low + c, range->high + c};
    return true;
  default: return false;
  }
}

static LLVMValueRef choose(const Emit *emit, LLVMRealPredicate predicate, LLVMValueRef x, LLVMValueRef limit,
                           LLVMValueRef value, LLVMValueRef otherwise) {
  return LLVMBuildSelect(emit->builder, LLVMBuildFCmp(emit->builder, predicate, x, limit, ""), value,
                         otherwise, "");
}

/* Of what is rounded to the nearest whole number, and fits: vectors are converted so by one instruction. */
static LLVMValueRef convert_rounded(const Emit *emit, const Reg *from, LoopType to) {
  const Instr *round = from->def;
  if (round->op != LOOP_ROUND || from->type.dtype != DTYPE_F32 || to.lanes == 1 || !emit->machine->rounds)
    return NULL;
  if (dtype_bits(to.dtype) > 32 || to.dtype == DTYPE_U32) return NULL;
  LLVMValueRef x = llvm_arg(emit, round, 0);
  LLVMTypeRef types[] = {llvm_type(emit, DTYPE_I32, to.lanes), LLVMTypeOf(x)};
  LLVMValueRef whole = llvm_intrinsic(emit, "llvm.lrint", types, 2, &x, 1);
  bool narrows = dtype_bits(to.dtype) < 32;
  return narrows ? LLVMBuildTrunc(emit->builder, whole, llvm_type(emit, to.dtype, to.lanes), "") : whole;
}

/* Rounded by the processor's current mode, to even; what is too large, of either sign, or NaN is INT32_MIN.
 */
static LLVMValueRef convert_x86(const Emit *emit, LLVMValueRef x, int lanes) {
  LLVMTypeRef type = type_of_bits(emit, 32, lanes), word = type_of_bits(emit, 32, 1);
  LLVMValueRef args[] = {x, llvm_int(type, 0), llvm_int(type_of_bits(emit, 16, 1), -1), llvm_int(word, 4)};
  return lanes == 16  ? llvm_intrinsic(emit, "llvm.x86.avx512.mask.cvtps2dq.512", NULL, 0, args, 4)
         : lanes == 8 ? llvm_intrinsic(emit, "llvm.x86.avx.cvt.ps2dq.256", NULL, 0, args, 1)
                      : llvm_intrinsic(emit, "llvm.x86.sse2.cvtps2dq", NULL, 0, args, 1);
}

/* The end of a quantize: u8 of zero + i32 of round(min(max(x, -zero), 255 - zero)). What is above need not be
 * cut off before: too large for i32, it is 2^31 as a number without sign, which the instruction that narrows
 * makes 255. NULL: it is something else. */
static LLVMValueRef quantized_byte(const Emit *emit, const Instr *cast) {
  enum { TOP = 255 };
  const Reg *whole = cast->args[0];
  LoopType to = cast->results[0]->type;
  int64_t zero = 0;
  double low, high;
  if (!emit->machine->narrows || to.dtype != DTYPE_U8 || to.lanes < 4 || to.lanes > 16) return NULL;
  if (whole->def->op == LOOP_ADD && reg_const_int(whole->def->args[1], &zero)) whole = whole->def->args[0];
  if (whole->type.dtype != DTYPE_I32 || whole->def->op != LOOP_CAST) return NULL;
  const Instr *round = whole->def->args[0]->def;
  if (round->op != LOOP_ROUND || round->args[0]->type.dtype != DTYPE_F32) return NULL;
  const Instr *min = round->args[0]->def;
  if (min->op != LOOP_MIN || !const_float(min->args[1], &high) || high != (double)(TOP - zero)) return NULL;
  const Instr *max = min->args[0]->def;
  if (max->op != LOOP_MAX || !const_float(max->args[1], &low) || low < (double)-zero) return NULL;
  LLVMValueRef x = convert_x86(emit, llvm_arg(emit, min, 0), to.lanes), top = llvm_int(LLVMTypeOf(x), TOP);
  if (zero) x = LLVMBuildAdd(emit->builder, x, llvm_int(LLVMTypeOf(x), zero), "");
  LLVMValueRef args[] = {x, top};
  LLVMTypeRef type = LLVMTypeOf(x);
  x = llvm_intrinsic(emit, "llvm.umin", &type, 1, args, 2);
  return LLVMBuildTrunc(emit->builder, x, llvm_type(emit, DTYPE_U8, to.lanes), "");
}

static LLVMValueRef convert_to_int(const Emit *emit, LLVMValueRef x, LoopType to) {
  int bits = dtype_bits(to.dtype);
  LoopType middle = {bits < 32 ? DTYPE_I32 : to.dtype, to.lanes}; /* narrow ones on the way the machine has */
  LLVMTypeRef type = llvm_type(emit, middle.dtype, to.lanes);
  LLVMValueRef value = dtype_is_signed_int(middle.dtype) ? LLVMBuildFPToSI(emit->builder, x, type, "")
                                                         : LLVMBuildFPToUI(emit->builder, x, type, "");
  return bits < 32 ? LLVMBuildTrunc(emit->builder, value, llvm_type(emit, to.dtype, to.lanes), "") : value;
}

/* Truncates and saturates, NaN is 0; below 8 bits what i32 holds is cut. llvm.fptosi.sat would do, but takes
 * vectors apart. */
static LLVMValueRef cast_float_to_int(const Emit *emit, const Reg *from, LLVMValueRef x, LoopType to) {
  if (dtype_bits(to.dtype) < 8) {
    LLVMValueRef whole = cast_float_to_int(emit, from, x, (LoopType){DTYPE_I32, to.lanes});
    return LLVMBuildTrunc(emit->builder, whole, llvm_type(emit, to.dtype, to.lanes), "");
  }
  Range wanted = int_range(to.dtype), known;
  if (known_range(from, &known, 0) && known.low > wanted.low - 1 && known.high < wanted.high + 1) {
    LLVMValueRef rounded = convert_rounded(emit, from, to);
    return rounded ? rounded : convert_to_int(emit, x, to);
  }
  LLVMTypeRef real = LLVMTypeOf(x), type = llvm_type(emit, to.dtype, to.lanes);
  int digits = from->type.dtype == DTYPE_F64 ? 53 : 24,
      bits = dtype_bits(to.dtype) - dtype_is_signed_int(to.dtype);
  double largest =
      bits > digits ? ldexp(1, bits) - ldexp(1, bits - digits) : wanted.high; /* the float below the limit */
  LLVMValueRef low = llvm_float(real, wanted.low), high = llvm_float(real, largest);
  LLVMValueRef inside = choose(emit, LLVMRealOLT, x, high, x, high);
  inside = choose(emit, LLVMRealOGT, inside, low, inside, low);
  LLVMValueRef value = convert_to_int(emit, inside, to);
  int64_t top = bits == 64 ? -1 : (int64_t)(((uint64_t)1 << bits) - 1);
  if (bits > digits) value = choose(emit, LLVMRealOGT, x, high, llvm_int(type, top), value);
  return choose(emit, LLVMRealUNO, x, x, llvm_int(type, 0), value);
}

static LLVMValueRef int_to_float(const Emit *emit, LLVMValueRef x, LoopType from, Dtype to) {
  LLVMTypeRef type = llvm_type(emit, to, from.lanes);
  return dtype_is_signed_int(from.dtype) ? LLVMBuildSIToFP(emit->builder, x, type, "")
                                         : LLVMBuildUIToFP(emit->builder, x, type, "");
}

/* To a narrow float from what f32 may not hold exactly. 64-bit integers go through an f64 rounded to even
 * first. */
static LLVMValueRef cast_wide_to_bits(const Emit *emit, LLVMValueRef x, LoopType from, LoopType to) {
  LLVMValueRef wide = from.dtype == DTYPE_F64 ? x : int_to_float(emit, x, from, DTYPE_F64);
  return llvm_narrow(emit, round_to_odd(emit, wide, to.lanes), to);
}

static LLVMValueRef cast_to_float(const Emit *emit, LLVMValueRef x, LoopType from, LoopType to) {
  bool from_real = dtype_is_float(from.dtype);
  bool exact_in_f32 = from_real ? from.dtype != DTYPE_F64 : dtype_bits(from.dtype) <= 16;
  if (is_bits(to.dtype) && !exact_in_f32) return cast_wide_to_bits(emit, x, from, to);
  Dtype target = is_bits(to.dtype) ? DTYPE_F32 : to.dtype;
  LLVMTypeRef type = llvm_type(emit, target, to.lanes);
  if (!from_real)
    x = int_to_float(emit, x, from, target);
  else if (from.dtype == DTYPE_F64 && target == DTYPE_F32)
    x = LLVMBuildFPTrunc(emit->builder, x, type, "");
  else if (from.dtype != DTYPE_F64 && target == DTYPE_F64)
    x = LLVMBuildFPExt(emit->builder, x, type, "");
  return llvm_narrow(emit, x, to);
}

LLVMValueRef emit_conversion(Emit *emit, const Instr *instr) {
  LoopType from = instr->args[0]->type, to = instr->results[0]->type;
  LLVMValueRef x = llvm_widen(emit, llvm_arg(emit, instr, 0), from);
  if (from.dtype == to.dtype) return llvm_arg(emit, instr, 0);
  bool from_real = dtype_is_float(from.dtype);
  if (to.dtype == DTYPE_BOOL)
    return from_real ? LLVMBuildFCmp(emit->builder, LLVMRealUNE, x, llvm_float(LLVMTypeOf(x), 0), "")
                     : LLVMBuildICmp(emit->builder, LLVMIntNE, x, llvm_int(LLVMTypeOf(x), 0), "");
  if (dtype_is_float(to.dtype)) return cast_to_float(emit, x, from, to);
  if (from_real) return cast_float_to_int(emit, instr->args[0], x, to);
  LLVMValueRef byte = quantized_byte(emit, instr);
  return byte ? byte : cast_int_to_int(emit, x, from, to);
}

LLVMValueRef emit_bitcast(Emit *emit, const Instr *instr) {
  LoopType to = instr->results[0]->type;
  return bitcast(emit, llvm_arg(emit, instr, 0), llvm_type(emit, to.dtype, to.lanes));
}
