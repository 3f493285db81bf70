/*
 * llvm_convert.c -- casts between dtypes, and f16 and bf16, whose registers hold bits.
 *
 * Every conversion to a narrow float rounds once: what comes from f64 or wide integers goes through an f32
 * that was rounded to odd, whose last bit remembers that something was cut off (Boldo and Melquiond, "When
 * double rounding is odd", 2005).
 */
#include "codegen/llvm.h"

#include <math.h>

static bool is_half(Dtype dtype) {
  return dtype == DTYPE_F16 || dtype == DTYPE_BF16;
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

/* ---- f16 and bf16 to f32 ---- */

/* Exponent and fraction moved into place and the exponent's bias corrected by a product, which is right for
 * subnormals too. */
static LLVMValueRef widen_f16_bits(const Emit *emit, LLVMValueRef bits, int lanes) {
  LLVMBuilderRef builder = emit->builder;
  LLVMTypeRef wide = type_of_bits(emit, 32, lanes), real = float_type(emit, lanes);
  LLVMValueRef h = LLVMBuildZExt(builder, bits, wide, "");
  LLVMValueRef magnitude = LLVMBuildAnd(builder, h, llvm_int(wide, 0x7fff), "");
  LLVMValueRef sign =
      LLVMBuildShl(builder, LLVMBuildAnd(builder, h, llvm_int(wide, 0x8000), ""), llvm_int(wide, 16), "");
  LLVMValueRef moved = LLVMBuildShl(builder, magnitude, llvm_int(wide, 13), "");
  LLVMValueRef scaled =
      bitcast(emit, LLVMBuildFMul(builder, bitcast(emit, moved, real), llvm_float(real, 0x1p112), ""), wide);
  LLVMValueRef special = LLVMBuildICmp(builder, LLVMIntUGE, magnitude, llvm_int(wide, 0x7c00), "");
  LLVMValueRef infinite = LLVMBuildOr(builder, moved, llvm_int(wide, 0x7f800000), "");
  return bitcast(
      emit, LLVMBuildOr(builder, LLVMBuildSelect(builder, special, infinite, scaled, ""), sign, ""), real);
}

LLVMValueRef llvm_widen(const Emit *emit, LLVMValueRef value, LoopType type) {
  if (!is_half(type.dtype)) return value;
  if (type.dtype == DTYPE_BF16) {
    LLVMTypeRef wide = type_of_bits(emit, 32, type.lanes);
    LLVMValueRef bits =
        LLVMBuildShl(emit->builder, LLVMBuildZExt(emit->builder, value, wide, ""), llvm_int(wide, 16), "");
    return bitcast(emit, bits, float_type(emit, type.lanes));
  }
  if (!emit->machine->f16c) return widen_f16_bits(emit, value, type.lanes);
  LLVMTypeRef half = llvm_lanes_of(LLVMHalfTypeInContext(emit->context), type.lanes);
  return LLVMBuildFPExt(emit->builder, bitcast(emit, value, half), float_type(emit, type.lanes), "");
}

/* ---- f32 to f16 and bf16 ---- */

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

/* Subnormal results by adding 0.5, whose last place is that of the smallest f16; larger ones by rounding the
 * bits. */
static LLVMValueRef narrow_f16_bits(const Emit *emit, LLVMValueRef value, int lanes) {
  LLVMBuilderRef builder = emit->builder;
  LLVMTypeRef wide = type_of_bits(emit, 32, lanes), real = float_type(emit, lanes);
  LLVMValueRef bits = bitcast(emit, value, wide);
  LLVMValueRef magnitude = LLVMBuildAnd(builder, bits, llvm_int(wide, 0x7fffffff), "");
  LLVMValueRef sign =
      LLVMBuildAnd(builder, LLVMBuildLShr(builder, bits, llvm_int(wide, 16), ""), llvm_int(wide, 0x8000), "");
  LLVMValueRef shifted = LLVMBuildFAdd(builder, bitcast(emit, magnitude, real), llvm_float(real, 0.5), "");
  LLVMValueRef small = LLVMBuildSub(builder, bitcast(emit, shifted, wide), llvm_int(wide, 0x3f000000), "");
  LLVMValueRef normal = round_bits(emit, LLVMBuildSub(builder, magnitude, llvm_int(wide, 112 << 23), ""), 13);
  LLVMValueRef is_small = LLVMBuildICmp(builder, LLVMIntULT, magnitude, llvm_int(wide, 0x38800000), "");
  LLVMValueRef is_over = LLVMBuildICmp(builder, LLVMIntUGE, magnitude, llvm_int(wide, 0x47800000), "");
  LLVMValueRef is_nan = LLVMBuildICmp(builder, LLVMIntUGT, magnitude, llvm_int(wide, 0x7f800000), "");
  LLVMValueRef result = LLVMBuildSelect(builder, is_small, small, normal, "");
  result = LLVMBuildSelect(builder, is_over, llvm_int(wide, 0x7c00), result, "");
  result = LLVMBuildSelect(builder, is_nan, llvm_int(wide, 0x7e00), result, "");
  return LLVMBuildTrunc(builder, LLVMBuildOr(builder, result, sign, ""), type_of_bits(emit, 16, lanes), "");
}

static LLVMValueRef narrow_bf16(const Emit *emit, LLVMValueRef value, int lanes) {
  LLVMBuilderRef builder = emit->builder;
  LLVMTypeRef wide = type_of_bits(emit, 32, lanes);
  LLVMValueRef bits = bitcast(emit, value, wide);
  LLVMValueRef quiet =
      LLVMBuildOr(builder, LLVMBuildLShr(builder, bits, llvm_int(wide, 16), ""), llvm_int(wide, 0x40), "");
  LLVMValueRef is_nan = LLVMBuildFCmp(builder, LLVMRealUNO, value, value, "");
  LLVMValueRef result = LLVMBuildSelect(builder, is_nan, quiet, round_bits(emit, bits, 16), "");
  return LLVMBuildTrunc(builder, result, type_of_bits(emit, 16, lanes), "");
}

LLVMValueRef llvm_narrow(const Emit *emit, LLVMValueRef value, LoopType type) {
  if (!is_half(type.dtype)) return value;
  if (type.dtype == DTYPE_BF16) return narrow_bf16(emit, value, type.lanes);
  if (!emit->machine->f16c) return narrow_f16_bits(emit, value, type.lanes);
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
  if (dtype_bits(from.dtype) > dtype_bits(to.dtype)) return LLVMBuildTrunc(emit->builder, x, type, "");
  if (dtype_bits(from.dtype) == dtype_bits(to.dtype) && from.dtype != DTYPE_BOOL) return x;
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

static LLVMValueRef convert_to_int(const Emit *emit, LLVMValueRef x, LoopType to) {
  int bits = dtype_bits(to.dtype);
  LoopType middle = {bits < 32 ? DTYPE_I32 : to.dtype, to.lanes}; /* narrow ones on the way the machine has */
  LLVMTypeRef type = llvm_type(emit, middle.dtype, to.lanes);
  LLVMValueRef value = dtype_is_signed_int(middle.dtype) ? LLVMBuildFPToSI(emit->builder, x, type, "")
                                                         : LLVMBuildFPToUI(emit->builder, x, type, "");
  return bits < 32 ? LLVMBuildTrunc(emit->builder, value, llvm_type(emit, to.dtype, to.lanes), "") : value;
}

/* Truncates and saturates, NaN is 0. llvm.fptosi.sat would do, but takes vectors apart. */
static LLVMValueRef cast_float_to_int(const Emit *emit, const Reg *from, LLVMValueRef x, LoopType to) {
  Range wanted = int_range(to.dtype), known;
  if (known_range(from, &known, 0) && known.low > wanted.low - 1 && known.high < wanted.high + 1)
    return convert_to_int(emit, x, to);
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

/* To f16 or bf16 from what f32 may not hold exactly. 64-bit integers go through an f64 rounded to even first.
 */
static LLVMValueRef cast_wide_to_half(const Emit *emit, LLVMValueRef x, LoopType from, LoopType to) {
  LLVMValueRef wide = from.dtype == DTYPE_F64 ? x : int_to_float(emit, x, from, DTYPE_F64);
  return llvm_narrow(emit, round_to_odd(emit, wide, to.lanes), to);
}

static LLVMValueRef cast_to_float(const Emit *emit, LLVMValueRef x, LoopType from, LoopType to) {
  bool from_real = dtype_is_float(from.dtype);
  bool exact_in_f32 = from_real ? from.dtype != DTYPE_F64 : dtype_bits(from.dtype) <= 16;
  if (is_half(to.dtype) && !exact_in_f32) return cast_wide_to_half(emit, x, from, to);
  Dtype target = is_half(to.dtype) ? DTYPE_F32 : to.dtype;
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
  return from_real ? cast_float_to_int(emit, instr->args[0], x, to) : cast_int_to_int(emit, x, from, to);
}

LLVMValueRef emit_bitcast(Emit *emit, const Instr *instr) {
  LoopType to = instr->results[0]->type;
  return bitcast(emit, llvm_arg(emit, instr, 0), llvm_type(emit, to.dtype, to.lanes));
}
