/*
 * llvm_dim.c -- symbolic sizes as code: an expression over the symbols that a run was given.
 */
#include "codegen/llvm.h"

#include <assert.h>
#include <string.h>

/* Every value is computed once where there is a memo: expressions of planned memory share most of their
 * parts. */

static LLVMTypeRef i64_type(const DimCode *code) {
  return LLVMInt64TypeInContext(code->context);
}

static LLVMValueRef constant(const DimCode *code, int64_t value) {
  return LLVMConstInt(i64_type(code), (unsigned long long)value, true);
}

static LLVMValueRef load_symbol(const DimCode *code, const char *symbol) {
  int index = 0;
  while (index < code->symbol_count && strcmp(code->symbol_names[index], symbol) != 0) index++;
  assert(index < code->symbol_count); /* codegen_emit refuses graphs with unbound symbols */
  LLVMValueRef offset = constant(code, index);
  LLVMValueRef at = LLVMBuildGEP2(code->builder, i64_type(code), code->symbols, &offset, 1, "");
  return LLVMBuildLoad2(code->builder, i64_type(code), at, symbol);
}

static LLVMValueRef intrinsic(const DimCode *code, const char *name, LLVMValueRef a, LLVMValueRef b) {
  LLVMTypeRef type = i64_type(code);
  LLVMValueRef function =
      LLVMGetIntrinsicDeclaration(code->llvm, LLVMLookupIntrinsicID(name, strlen(name)), &type, 1);
  LLVMValueRef args[] = {a, b};
  return LLVMBuildCall2(code->builder, LLVMGlobalGetValueType(function), function, args, 2, "");
}

/* a*b, or the largest i64 when that overflows: sizes that went over stay over. */
static LLVMValueRef multiply(const DimCode *code, LLVMValueRef a, LLVMValueRef b) {
  if (!code->saturate) return LLVMBuildMul(code->builder, a, b, "");
  LLVMValueRef pair = intrinsic(code, "llvm.smul.with.overflow", a, b);
  LLVMValueRef over = LLVMBuildExtractValue(code->builder, pair, 1, "");
  return LLVMBuildSelect(code->builder, over, constant(code, INT64_MAX),
                         LLVMBuildExtractValue(code->builder, pair, 0, ""), "");
}

/* Rounded down; 0 when the divisor is not positive, which the guards refuse before any kernel runs. */
static LLVMValueRef floor_divide(const DimCode *code, LLVMValueRef a, LLVMValueRef b) {
  LLVMBuilderRef builder = code->builder;
  LLVMValueRef zero = constant(code, 0), one = constant(code, 1);
  LLVMValueRef positive = LLVMBuildICmp(builder, LLVMIntSGT, b, zero, "");
  LLVMValueRef divisor = LLVMBuildSelect(builder, positive, b, one, "");
  LLVMValueRef quotient = LLVMBuildSDiv(builder, a, divisor, "");
  LLVMValueRef rest = LLVMBuildSRem(builder, a, divisor, "");
  LLVMValueRef below = LLVMBuildICmp(builder, LLVMIntSLT, rest, zero, "");
  quotient = LLVMBuildSelect(builder, below, LLVMBuildSub(builder, quotient, one, ""), quotient, "");
  return LLVMBuildSelect(builder, positive, quotient, zero, "");
}

static LLVMValueRef ceil_divide(const DimCode *code, LLVMValueRef a, LLVMValueRef b) {
  LLVMBuilderRef builder = code->builder;
  return LLVMBuildNeg(builder, floor_divide(code, LLVMBuildNeg(builder, a, ""), b), "");
}

static LLVMValueRef compute(const DimCode *code, const Dim *dim) {
  if (dim->kind == DIM_SYMBOL) return load_symbol(code, dim->symbol);
  LLVMValueRef a = llvm_dim(code, dim->a), b = llvm_dim(code, dim->b);
  switch (dim->kind) {
  case DIM_ADD:
    return code->saturate ? intrinsic(code, "llvm.sadd.sat", a, b) : LLVMBuildAdd(code->builder, a, b, "");
  case DIM_MUL: return multiply(code, a, b);
  case DIM_FLOORDIV: return floor_divide(code, a, b);
  case DIM_CEILDIV: return ceil_divide(code, a, b);
  case DIM_MIN: return intrinsic(code, "llvm.smin", a, b);
  case DIM_MAX: return intrinsic(code, "llvm.smax", a, b);
  default: {
    LLVMValueRef a_is_one = LLVMBuildICmp(code->builder, LLVMIntEQ, a, constant(code, 1), "");
    return LLVMBuildSelect(code->builder, a_is_one, b, a, "");
  }
  }
}

static LLVMValueRef *slot_of(DimMemo *memo, int id) {
  if (id >= memo->room) {
    int room = 2 * id + 64;
    LLVMValueRef *bigger = NEW_ARRAY(memo->arena, LLVMValueRef, room);
    if (memo->room > 0) memcpy(bigger, memo->values, sizeof(LLVMValueRef) * (size_t)memo->room);
    memo->values = bigger;
    memo->room = room;
  }
  return &memo->values[id];
}

LLVMValueRef llvm_dim(const DimCode *code, const Dim *dim) {
  if (dim->kind == DIM_CONST) return constant(code, dim->value);
  if (!code->memo) return compute(code, dim);
  LLVMValueRef known = *slot_of(code->memo, dim->id);
  return known ? known : (*slot_of(code->memo, dim->id) = compute(code, dim));
}
