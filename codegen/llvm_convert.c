/*
 * llvm_convert.c -- casts between dtypes, and f16 and bf16, whose registers hold bits.
 *
 * Every conversion to a narrow float rounds once: what comes from f64 or wide integers goes through an f32
 * that was rounded to odd, whose last bit remembers that something was cut off (Boldo and Melquiond, "When
 * double rounding is odd", 2005).
 */
#include "codegen/llvm.h"

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

static LLVMValueRef cast_float_to_int(const Emit *emit, LLVMValueRef x, LoopType to) {
  LLVMTypeRef types[] = {llvm_type(emit, to.dtype, to.lanes), LLVMTypeOf(x)};
  const char *name = dtype_is_signed_int(to.dtype) ? "llvm.fptosi.sat" : "llvm.fptoui.sat";
  return llvm_intrinsic(emit, name, types, 2, &x, 1);
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
  return from_real ? cast_float_to_int(emit, x, to) : cast_int_to_int(emit, x, from, to);
}

LLVMValueRef emit_bitcast(Emit *emit, const Instr *instr) {
  LoopType to = instr->results[0]->type;
  return bitcast(emit, llvm_arg(emit, instr, 0), llvm_type(emit, to.dtype, to.lanes));
}
