/*
 * llvm_value.c -- loop IR values to LLVM: types, constants, arithmetic, comparison, rounding, calls of libm.
 *
 * What docs/loop-ir.md promises and LLVM leaves undefined is spelled out here: division by zero and of the
 * smallest integer, shift counts beyond the width, NaN in min and max.
 */
#include "codegen/llvm.h"

#include <string.h>

/* ---- types and constants ---- */

LLVMTypeRef llvm_lanes_of(LLVMTypeRef scalar, int lanes) {
  return lanes == 1 ? scalar : LLVMVectorType(scalar, (unsigned)lanes);
}

static LLVMTypeRef scalar_type(const Emit *emit, Dtype dtype) {
  switch (dtype) {
  case DTYPE_F32: return LLVMFloatTypeInContext(emit->context);
  case DTYPE_F64: return LLVMDoubleTypeInContext(emit->context);
  case DTYPE_BOOL: return LLVMInt1TypeInContext(emit->context);
  default: return LLVMIntTypeInContext(emit->context, (unsigned)dtype_bits(dtype));
  }
}

LLVMTypeRef llvm_type(const Emit *emit, Dtype dtype, int lanes) {
  return llvm_lanes_of(scalar_type(emit, dtype), lanes);
}

LLVMTypeRef llvm_memory_type(const Emit *emit, Dtype dtype, int lanes) {
  if (dtype == DTYPE_BOOL) return llvm_lanes_of(LLVMInt8TypeInContext(emit->context), lanes);
  return llvm_type(emit, dtype, lanes);
}

static LLVMValueRef constant_splat(LLVMTypeRef type, LLVMValueRef scalar) {
  LLVMValueRef lanes[MAX_LANES];
  unsigned count = LLVMGetVectorSize(type);
  for (unsigned i = 0; i < count; i++) lanes[i] = scalar;
  return LLVMConstVector(lanes, count);
}

static bool is_vector(LLVMTypeRef type) {
  return LLVMGetTypeKind(type) == LLVMVectorTypeKind;
}

LLVMValueRef llvm_int(LLVMTypeRef type, int64_t value) {
  if (is_vector(type)) return constant_splat(type, llvm_int(LLVMGetElementType(type), value));
  return LLVMConstInt(type, (unsigned long long)value, true);
}

LLVMValueRef llvm_float(LLVMTypeRef type, double value) {
  if (is_vector(type)) return constant_splat(type, llvm_float(LLVMGetElementType(type), value));
  return LLVMConstReal(type, value);
}

LLVMValueRef llvm_i64(const Emit *emit, int64_t value) {
  return llvm_int(LLVMInt64TypeInContext(emit->context), value);
}

LLVMValueRef llvm_splat(const Emit *emit, LLVMValueRef scalar, int lanes) {
  if (lanes == 1) return scalar;
  LLVMTypeRef type = LLVMVectorType(LLVMTypeOf(scalar), (unsigned)lanes);
  LLVMValueRef zero = llvm_int(LLVMInt32TypeInContext(emit->context), 0);
  LLVMValueRef first = LLVMBuildInsertElement(emit->builder, LLVMGetPoison(type), scalar, zero, "");
  LLVMValueRef mask = LLVMConstNull(LLVMVectorType(LLVMInt32TypeInContext(emit->context), (unsigned)lanes));
  return LLVMBuildShuffleVector(emit->builder, first, LLVMGetPoison(type), mask, "");
}

LLVMValueRef llvm_intrinsic(const Emit *emit, const char *name, LLVMTypeRef const *types, int type_count,
                            LLVMValueRef *args, int arg_count) {
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  LLVMValueRef function =
      LLVMGetIntrinsicDeclaration(emit->llvm, id, (LLVMTypeRef *)types, (size_t)type_count);
  return LLVMBuildCall2(emit->builder, LLVMGlobalGetValueType(function), function, args, (unsigned)arg_count,
                        "");
}

LLVMValueRef llvm_arg(const Emit *emit, const Instr *instr, int index) {
  return emit->regs[instr->args[index]->id];
}

/* The argument as something LLVM computes with: narrow floats widened. */
static LLVMValueRef number(const Emit *emit, const Instr *instr, int index) {
  return llvm_widen(emit, llvm_arg(emit, instr, index), instr->args[index]->type);
}

static LLVMValueRef rounded(const Emit *emit, const Instr *instr, LLVMValueRef value) {
  return llvm_narrow(emit, value, instr->results[0]->type);
}

LLVMValueRef emit_const(Emit *emit, const Instr *instr) {
  LoopType type = instr->results[0]->type;
  LLVMTypeRef llvm = llvm_type(emit, type.dtype, type.lanes);
  if (!dtype_is_float(type.dtype)) return llvm_int(llvm, instr->imm);
  if (type.dtype == DTYPE_F32 || type.dtype == DTYPE_F64) return llvm_float(llvm, instr->fimm);
  uint16_t bits = 0;
  dtype_set(type.dtype, &bits, 0, instr->fimm);
  return llvm_int(llvm, bits);
}

static LLVMValueRef iota_of(LLVMTypeRef scalar, int lanes) {
  LLVMValueRef values[MAX_LANES];
  for (int i = 0; i < lanes; i++) values[i] = llvm_int(scalar, i);
  return lanes == 1 ? values[0] : LLVMConstVector(values, (unsigned)lanes);
}

LLVMValueRef emit_iota(Emit *emit, const Instr *instr) {
  return iota_of(LLVMInt64TypeInContext(emit->context), instr->results[0]->type.lanes);
}

/* n is brought into [0, lanes], so that narrow lanes can be compared. */
LLVMValueRef emit_lanes_below(Emit *emit, const Instr *instr) {
  int lanes = instr->results[0]->type.lanes;
  LLVMTypeRef wide = LLVMInt64TypeInContext(emit->context), narrow = LLVMInt32TypeInContext(emit->context);
  LLVMValueRef low[] = {llvm_arg(emit, instr, 0), llvm_int(wide, 0)};
  LLVMValueRef high[] = {llvm_intrinsic(emit, "llvm.smax", &wide, 1, low, 2), llvm_int(wide, lanes)};
  LLVMValueRef n = llvm_intrinsic(emit, "llvm.smin", &wide, 1, high, 2);
  n = llvm_splat(emit, LLVMBuildTrunc(emit->builder, n, narrow, ""), lanes);
  return LLVMBuildICmp(emit->builder, LLVMIntULT, iota_of(narrow, lanes), n, "");
}

/* ---- arithmetic ---- */

LLVMValueRef emit_arithmetic(Emit *emit, const Instr *instr) {
  bool real = dtype_is_float(instr->results[0]->type.dtype);
  LLVMOpcode op = instr->op == LOOP_ADD   ? (real ? LLVMFAdd : LLVMAdd)
                  : instr->op == LOOP_SUB ? (real ? LLVMFSub : LLVMSub)
                                          : (real ? LLVMFMul : LLVMMul);
  return rounded(emit, instr,
                 LLVMBuildBinOp(emit->builder, op, number(emit, instr, 0), number(emit, instr, 1), ""));
}

/* A divisor for which the machine's division is defined: 1 in place of 0, and of -1 under the smallest
 * integer, whose quotient then wraps to itself and whose remainder is 0, as they should. */
static LLVMValueRef safe_divisor(const Emit *emit, LLVMValueRef x, LLVMValueRef y, LoopType type,
                                 LLVMValueRef *zero) {
  LLVMBuilderRef builder = emit->builder;
  LLVMTypeRef llvm = LLVMTypeOf(y);
  LLVMValueRef bad = *zero = LLVMBuildICmp(builder, LLVMIntEQ, y, llvm_int(llvm, 0), "");
  if (dtype_is_signed_int(type.dtype)) {
    int64_t smallest = (int64_t)(UINT64_MAX << (dtype_bits(type.dtype) - 1));
    LLVMValueRef overflow =
        LLVMBuildAnd(builder, LLVMBuildICmp(builder, LLVMIntEQ, y, llvm_int(llvm, -1), ""),
                     LLVMBuildICmp(builder, LLVMIntEQ, x, llvm_int(llvm, smallest), ""), "");
    bad = LLVMBuildOr(builder, bad, overflow, "");
  }
  return LLVMBuildSelect(builder, bad, llvm_int(llvm, 1), y, "");
}

/* The remainder has the sign of x; where that differs from y's, floor division is one less and the modulus y
 * more. */
static LLVMValueRef to_floor(const Emit *emit, Opcode op, LLVMValueRef quotient, LLVMValueRef rest,
                             LLVMValueRef y) {
  LLVMBuilderRef builder = emit->builder;
  LLVMTypeRef type = LLVMTypeOf(y);
  LLVMValueRef inexact = LLVMBuildICmp(builder, LLVMIntNE, rest, llvm_int(type, 0), "");
  LLVMValueRef opposite =
      LLVMBuildICmp(builder, LLVMIntSLT, LLVMBuildXor(builder, rest, y, ""), llvm_int(type, 0), "");
  LLVMValueRef adjust = LLVMBuildAnd(builder, inexact, opposite, "");
  if (op == LOOP_FLOORDIV)
    return LLVMBuildSelect(builder, adjust, LLVMBuildSub(builder, quotient, llvm_int(type, 1), ""), quotient,
                           "");
  return LLVMBuildSelect(builder, adjust, LLVMBuildAdd(builder, rest, y, ""), rest, "");
}

static bool power_of_two(int64_t value) {
  return value > 0 && (value & (value - 1)) == 0;
}

static LLVMValueRef divide_ints(Emit *emit, const Instr *instr) {
  LLVMBuilderRef builder = emit->builder;
  LoopType type = instr->results[0]->type;
  LLVMValueRef x = llvm_arg(emit, instr, 0), y = llvm_arg(emit, instr, 1), zero = NULL;
  bool is_signed = dtype_is_signed_int(type.dtype),
       floors = instr->op == LOOP_FLOORDIV || instr->op == LOOP_FLOORMOD;
  int64_t divisor = 0;
  bool known = reg_const_int(instr->args[1], &divisor) && divisor != 0 && divisor != -1;
  if (known && is_signed && floors && power_of_two(divisor)) {
    if (instr->op == LOOP_FLOORMOD) return LLVMBuildAnd(builder, x, llvm_int(LLVMTypeOf(x), divisor - 1), "");
    return LLVMBuildAShr(builder, x, llvm_int(LLVMTypeOf(x), __builtin_ctzll((unsigned long long)divisor)),
                         "");
  }
  if (!known) y = safe_divisor(emit, x, y, type, &zero);
  bool wants_quotient = instr->op == LOOP_DIV || instr->op == LOOP_FLOORDIV;
  LLVMValueRef quotient = LLVMBuildBinOp(builder, is_signed ? LLVMSDiv : LLVMUDiv, x, y, "");
  LLVMValueRef rest = LLVMBuildSub(builder, x, LLVMBuildMul(builder, quotient, y, ""), "");
  LLVMValueRef value = floors && is_signed ? to_floor(emit, instr->op, quotient, rest, y)
                       : wants_quotient    ? quotient
                                           : rest;
  return zero ? LLVMBuildSelect(builder, zero, llvm_int(LLVMTypeOf(x), 0), value, "") : value;
}

LLVMValueRef emit_divide(Emit *emit, const Instr *instr) {
  if (!dtype_is_float(instr->results[0]->type.dtype)) return divide_ints(emit, instr);
  if (instr->op == LOOP_REM) return emit_libm(emit, instr);
  return rounded(emit, instr,
                 LLVMBuildFDiv(emit->builder, number(emit, instr, 0), number(emit, instr, 1), ""));
}

/* Without the instruction libm would be called. In f64 the product is exact, and the sum loses less than f32
 * sees but for rare ties. */
static LLVMValueRef fma_in_f64(const Emit *emit, LLVMValueRef *args, int lanes) {
  LLVMTypeRef wide = llvm_type(emit, DTYPE_F64, lanes), type = LLVMTypeOf(args[0]);
  for (int i = 0; i < 3; i++) args[i] = LLVMBuildFPExt(emit->builder, args[i], wide, "");
  LLVMValueRef sum =
      LLVMBuildFAdd(emit->builder, LLVMBuildFMul(emit->builder, args[0], args[1], ""), args[2], "");
  return LLVMBuildFPTrunc(emit->builder, sum, type, "");
}

LLVMValueRef emit_fma(Emit *emit, const Instr *instr) {
  LLVMValueRef args[] = {number(emit, instr, 0), number(emit, instr, 1), number(emit, instr, 2)};
  LLVMTypeRef type = LLVMTypeOf(args[0]);
  LoopType result = instr->results[0]->type;
  if (!emit->machine->target->fma && result.dtype != DTYPE_F64)
    return rounded(emit, instr, fma_in_f64(emit, args, result.lanes));
  return rounded(emit, instr, llvm_intrinsic(emit, "llvm.fma", &type, 1, args, 3));
}

LLVMValueRef emit_mul_add(Emit *emit, const Instr *instr) {
  if (emit->machine->target->fma) return emit_fma(emit, instr);
  LLVMValueRef product = LLVMBuildFMul(emit->builder, number(emit, instr, 0), number(emit, instr, 1), "");
  return rounded(emit, instr, LLVMBuildFAdd(emit->builder, product, number(emit, instr, 2), ""));
}

/* The instruction for that many lanes of f32. */
static LLVMValueRef scale_by_instruction(const Emit *emit, LLVMValueRef x, LLVMValueRef n, int lanes) {
  LLVMTypeRef i8 = LLVMInt8TypeInContext(emit->context), i16 = LLVMInt16TypeInContext(emit->context);
  LLVMValueRef current_rounding = llvm_int(LLVMInt32TypeInContext(emit->context), 4);
  LLVMValueRef args[] = {x, n, x, llvm_int(lanes == 16 ? i16 : i8, -1), current_rounding};
  const char *name = lanes == 16  ? "llvm.x86.avx512.mask.scalef.ps.512"
                     : lanes == 8 ? "llvm.x86.avx512.mask.scalef.ps.256"
                                  : "llvm.x86.avx512.mask.scalef.ps.128";
  return llvm_intrinsic(emit, name, NULL, 0, args, lanes == 16 ? 5 : 4);
}

/* In two halves, as their product may be subnormal or infinite; the first step is exact. A power of two comes
 * from a sum with a number whose last place is 1: n, rounded, is its lowest bits, with the exponent's bias.
 */
static LLVMValueRef scale_by_bits(const Emit *emit, LLVMValueRef x, LLVMValueRef n, LoopType type) {
  LLVMBuilderRef builder = emit->builder;
  bool is_double = type.dtype == DTYPE_F64;
  LLVMTypeRef real = LLVMTypeOf(x), bits = llvm_type(emit, is_double ? DTYPE_I64 : DTYPE_I32, type.lanes);
  LLVMValueRef anchor = llvm_float(real, is_double ? 0x1.8p52 + 1023 : 0x1.8p23 + 127);
  LLVMValueRef part = LLVMBuildFMul(builder, n, llvm_float(real, 0.5), "");
  for (int half = 0; half < 2; half++) {
    LLVMValueRef sum = LLVMBuildFAdd(builder, part, anchor, "");
    LLVMValueRef power = LLVMBuildBitCast(builder, sum, bits, "");
    power = LLVMBuildShl(builder, power, llvm_int(bits, is_double ? 52 : 23), "");
    x = LLVMBuildFMul(builder, x, LLVMBuildBitCast(builder, power, real, ""), "");
    part = LLVMBuildFSub(builder, n, LLVMBuildFSub(builder, sum, anchor, ""), "");
  }
  return x;
}

LLVMValueRef emit_scale(Emit *emit, const Instr *instr) {
  LoopType type = instr->results[0]->type;
  LLVMValueRef x = number(emit, instr, 0), n = number(emit, instr, 1);
  bool has_instruction = type.dtype != DTYPE_F64 && (type.lanes == 16 || type.lanes == 8 || type.lanes == 4);
  return rounded(emit, instr,
                 emit->machine->scalef && has_instruction ? scale_by_instruction(emit, x, n, type.lanes)
                                                          : scale_by_bits(emit, x, n, type));
}

/* Exactly minps and maxps: the second operand when a NaN is there. */
LLVMValueRef emit_min_max(Emit *emit, const Instr *instr) {
  Dtype dtype = instr->results[0]->type.dtype;
  bool min = instr->op == LOOP_MIN;
  LLVMValueRef x = number(emit, instr, 0), y = number(emit, instr, 1), first;
  if (dtype_is_float(dtype))
    first = LLVMBuildFCmp(emit->builder, min ? LLVMRealOLT : LLVMRealOGT, x, y, "");
  else if (dtype_is_signed_int(dtype))
    first = LLVMBuildICmp(emit->builder, min ? LLVMIntSLT : LLVMIntSGT, x, y, "");
  else
    first = LLVMBuildICmp(emit->builder, min ? LLVMIntULT : LLVMIntUGT, x, y, "");
  return LLVMBuildSelect(emit->builder, first, llvm_arg(emit, instr, 0), llvm_arg(emit, instr, 1), "");
}

/* neg and abs. Of floats they change only the sign bit, of f16 and bf16 too. */
LLVMValueRef emit_sign(Emit *emit, const Instr *instr) {
  LLVMValueRef x = llvm_arg(emit, instr, 0);
  LLVMTypeRef type = LLVMTypeOf(x);
  Dtype dtype = instr->results[0]->type.dtype;
  bool neg = instr->op == LOOP_NEG;
  if (dtype == DTYPE_F16 || dtype == DTYPE_BF16)
    return neg ? LLVMBuildXor(emit->builder, x, llvm_int(type, 0x8000), "")
               : LLVMBuildAnd(emit->builder, x, llvm_int(type, 0x7fff), "");
  if (dtype_is_float(dtype))
    return neg ? LLVMBuildFNeg(emit->builder, x, "") : llvm_intrinsic(emit, "llvm.fabs", &type, 1, &x, 1);
  if (neg) return LLVMBuildNeg(emit->builder, x, "");
  if (!dtype_is_signed_int(dtype)) return x;
  LLVMValueRef args[] = {x, llvm_int(LLVMInt1TypeInContext(emit->context), 0)};
  return llvm_intrinsic(emit, "llvm.abs", &type, 1, args, 2);
}

/* ---- bits ---- */

LLVMValueRef emit_bits(Emit *emit, const Instr *instr) {
  LLVMValueRef x = llvm_arg(emit, instr, 0);
  if (instr->op == LOOP_NOT) return LLVMBuildNot(emit->builder, x, "");
  LLVMOpcode op = instr->op == LOOP_AND ? LLVMAnd : instr->op == LOOP_OR ? LLVMOr : LLVMXor;
  return LLVMBuildBinOp(emit->builder, op, x, llvm_arg(emit, instr, 1), "");
}

LLVMValueRef emit_shift(Emit *emit, const Instr *instr) {
  LLVMBuilderRef builder = emit->builder;
  LLVMValueRef x = llvm_arg(emit, instr, 0), count = llvm_arg(emit, instr, 1);
  LLVMTypeRef type = LLVMTypeOf(x);
  int width = dtype_bits(instr->results[0]->type.dtype);
  LLVMValueRef inside = LLVMBuildICmp(builder, LLVMIntULT, count, llvm_int(type, width), "");
  bool fills_sign = instr->op == LOOP_SHR && dtype_is_signed_int(instr->results[0]->type.dtype);
  LLVMValueRef safe = LLVMBuildSelect(builder, inside, count, llvm_int(type, fills_sign ? width - 1 : 0), "");
  if (fills_sign) return LLVMBuildAShr(builder, x, safe, "");
  LLVMValueRef shifted =
      instr->op == LOOP_SHL ? LLVMBuildShl(builder, x, safe, "") : LLVMBuildLShr(builder, x, safe, "");
  return LLVMBuildSelect(builder, inside, shifted, llvm_int(type, 0), "");
}

/* ---- comparison ---- */

typedef struct Predicate {
  LLVMRealPredicate real;
  LLVMIntPredicate with_sign, without_sign;
} Predicate;

static const Predicate predicates[] = {
    [LOOP_EQ - LOOP_EQ] = {LLVMRealOEQ, LLVMIntEQ, LLVMIntEQ},
    [LOOP_NE - LOOP_EQ] = {LLVMRealUNE, LLVMIntNE, LLVMIntNE},
    [LOOP_LT - LOOP_EQ] = {LLVMRealOLT, LLVMIntSLT, LLVMIntULT},
    [LOOP_LE - LOOP_EQ] = {LLVMRealOLE, LLVMIntSLE, LLVMIntULE},
    [LOOP_GT - LOOP_EQ] = {LLVMRealOGT, LLVMIntSGT, LLVMIntUGT},
    [LOOP_GE - LOOP_EQ] = {LLVMRealOGE, LLVMIntSGE, LLVMIntUGE},
};

LLVMValueRef emit_compare(Emit *emit, const Instr *instr) {
  const Predicate *predicate = &predicates[instr->op - LOOP_EQ];
  Dtype dtype = instr->args[0]->type.dtype;
  LLVMValueRef x = number(emit, instr, 0), y = number(emit, instr, 1);
  if (dtype_is_float(dtype)) return LLVMBuildFCmp(emit->builder, predicate->real, x, y, "");
  return LLVMBuildICmp(emit->builder,
                       dtype_is_signed_int(dtype) ? predicate->with_sign : predicate->without_sign, x, y, "");
}

LLVMValueRef emit_select(Emit *emit, const Instr *instr) {
  return LLVMBuildSelect(emit->builder, llvm_arg(emit, instr, 0), llvm_arg(emit, instr, 1),
                         llvm_arg(emit, instr, 2), "");
}

/* ---- functions ---- */

LLVMValueRef emit_rounding(Emit *emit, const Instr *instr) {
  static const char *const names[] = {
      [LOOP_FLOOR - LOOP_FLOOR] = "llvm.floor", [LOOP_CEIL - LOOP_FLOOR] = "llvm.ceil",
      [LOOP_ROUND - LOOP_FLOOR] = "llvm.rint",  [LOOP_TRUNC - LOOP_FLOOR] = "llvm.trunc",
      [LOOP_SQRT - LOOP_FLOOR] = "llvm.sqrt",
  };
  LLVMValueRef x = number(emit, instr, 0);
  LLVMTypeRef type = LLVMTypeOf(x);
  return rounded(emit, instr, llvm_intrinsic(emit, names[instr->op - LOOP_FLOOR], &type, 1, &x, 1));
}

static LLVMValueRef libm_function(const Emit *emit, const char *name, LLVMTypeRef type, int arg_count) {
  LLVMValueRef function = LLVMGetNamedFunction(emit->llvm, name);
  if (function) return function;
  LLVMTypeRef args[] = {type, type};
  return LLVMAddFunction(emit->llvm, name, LLVMFunctionType(type, args, (unsigned)arg_count, false));
}

/* libm's function of that name, lane by lane: for f64 and for what is rare. math.c has taken the others away
 * before. */
LLVMValueRef emit_libm(Emit *emit, const Instr *instr) {
  char name[32];
  LLVMValueRef args[2] = {NULL, NULL}, call_args[2];
  for (int i = 0; i < instr->arg_count; i++) args[i] = number(emit, instr, i);
  int lanes = instr->results[0]->type.lanes;
  LLVMTypeRef scalar = lanes == 1 ? LLVMTypeOf(args[0]) : LLVMGetElementType(LLVMTypeOf(args[0]));
  bool is_double = LLVMGetTypeKind(scalar) == LLVMDoubleTypeKind;
  snprintf(name, sizeof name, "%s%s", instr->op == LOOP_REM ? "fmod" : opcode_infos[instr->op].name,
           is_double ? "" : "f");
  LLVMValueRef function = libm_function(emit, name, scalar, instr->arg_count);
  LLVMValueRef result = LLVMGetPoison(LLVMTypeOf(args[0]));
  for (int lane = 0; lane < lanes; lane++) {
    LLVMValueRef at = llvm_int(LLVMInt32TypeInContext(emit->context), lane);
    for (int i = 0; i < instr->arg_count; i++)
      call_args[i] = lanes == 1 ? args[i] : LLVMBuildExtractElement(emit->builder, args[i], at, "");
    LLVMValueRef value = LLVMBuildCall2(emit->builder, LLVMGlobalGetValueType(function), function, call_args,
                                        (unsigned)instr->arg_count, "");
    result = lanes == 1 ? value : LLVMBuildInsertElement(emit->builder, result, value, at, "");
  }
  return rounded(emit, instr, result);
}
