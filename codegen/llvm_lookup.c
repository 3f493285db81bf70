/*
 * llvm_lookup.c -- tables of 256 bytes.
 *
 * With AVX512-VBMI vpermi2b looks up 64 bytes in 128 numbers: two of them and a choice by the highest bit.
 * Else pshufb looks up in 16 numbers, and gives 0 where the highest bit of an index is set: for part p of the
 * table these are x - 16p, to which 0x70 is added without overflow, so that what was 16 and more has the bit;
 * the sixteen results are or-ed. Without either, byte by byte from memory.
 */
#include "codegen/llvm.h"

enum { PART = 16 }; /* numbers that pshufb looks up in */

static LLVMTypeRef bytes(const Emit *emit, int lanes) {
  return llvm_lanes_of(LLVMInt8TypeInContext(emit->context), lanes);
}

/* The first lanes of x and y laid end to end; those behind are any. */
static LLVMValueRef lanes_from(const Emit *emit, LLVMValueRef x, LLVMValueRef y, int first, int count) {
  LLVMTypeRef word = LLVMInt32TypeInContext(emit->context);
  int known = 2 * (int)LLVMGetVectorSize(LLVMTypeOf(x));
  LLVMValueRef mask[MAX_LANES];
  for (int i = 0; i < count; i++)
    mask[i] = first + i < known ? llvm_int(word, first + i) : LLVMGetPoison(word);
  return LLVMBuildShuffleVector(emit->builder, x, y, LLVMConstVector(mask, (unsigned)count), "");
}

/* `count` numbers of the table from `first` on, again and again up to `lanes`. */
static LLVMValueRef part_of(const Emit *emit, const Instr *instr, int first, int count, int lanes) {
  LLVMValueRef numbers[MAX_LANES];
  for (int i = 0; i < lanes; i++) numbers[i] = llvm_int(bytes(emit, 1), instr->lanes[first + i % count]);
  return LLVMConstVector(numbers, (unsigned)lanes);
}

static LLVMValueRef by_permutes(const Emit *emit, const Instr *instr, LLVMValueRef x) {
  enum { LANES = 64 };
  LLVMValueRef half[2];
  for (int i = 0; i < 2; i++) {
    LLVMValueRef args[] = {part_of(emit, instr, 2 * i * LANES, LANES, LANES), x,
                           part_of(emit, instr, (2 * i + 1) * LANES, LANES, LANES)};
    half[i] = llvm_intrinsic(emit, "llvm.x86.avx512.vpermi2var.qi.512", NULL, 0, args, 3);
  }
  LLVMValueRef high = LLVMBuildICmp(emit->builder, LLVMIntSLT, x, LLVMConstNull(LLVMTypeOf(x)), "");
  return LLVMBuildSelect(emit->builder, high, half[1], half[0], "");
}

static LLVMValueRef by_shuffles(const Emit *emit, const Instr *instr, LLVMValueRef x) {
  LLVMTypeRef type = LLVMTypeOf(x);
  int lanes = (int)LLVMGetVectorSize(type);
  const char *name = lanes == PART ? "llvm.x86.ssse3.pshuf.b.128" : "llvm.x86.avx2.pshuf.b";
  LLVMValueRef all = LLVMConstNull(type);
  for (int part = 0; part < TABLE_SIZE / PART; part++) {
    LLVMValueRef at = LLVMBuildSub(emit->builder, x, llvm_int(type, part * PART), "");
    LLVMValueRef sum[] = {at, llvm_int(type, 0x70)};
    at = llvm_intrinsic(emit, "llvm.uadd.sat", &type, 1, sum, 2);
    LLVMValueRef args[] = {part_of(emit, instr, part * PART, PART, lanes), at};
    all = LLVMBuildOr(emit->builder, all, llvm_intrinsic(emit, name, NULL, 0, args, 2), "");
  }
  return all;
}

/* The table in the memory of constants. */
static LLVMValueRef stored(const Emit *emit, const Instr *instr) {
  LLVMValueRef numbers[TABLE_SIZE];
  for (int i = 0; i < TABLE_SIZE; i++) numbers[i] = llvm_int(bytes(emit, 1), instr->lanes[i]);
  LLVMValueRef array = LLVMConstArray(bytes(emit, 1), numbers, TABLE_SIZE);
  LLVMValueRef global = LLVMAddGlobal(emit->llvm, LLVMTypeOf(array), "table");
  LLVMSetInitializer(global, array);
  LLVMSetGlobalConstant(global, true);
  LLVMSetLinkage(global, LLVMPrivateLinkage);
  return global;
}

static LLVMValueRef one_by_one(const Emit *emit, const Instr *instr, LLVMValueRef x) {
  LLVMBuilderRef builder = emit->builder;
  LLVMTypeRef byte = bytes(emit, 1), word = LLVMInt64TypeInContext(emit->context);
  int lanes = instr->results[0]->type.lanes;
  LLVMValueRef table = stored(emit, instr), result = LLVMGetPoison(bytes(emit, lanes));
  for (int lane = 0; lane < lanes; lane++) {
    LLVMValueRef at = lanes == 1 ? x : LLVMBuildExtractElement(builder, x, llvm_i64(emit, lane), "");
    at = LLVMBuildZExt(builder, at, word, "");
    LLVMValueRef one = LLVMBuildLoad2(builder, byte, LLVMBuildGEP2(builder, byte, table, &at, 1, ""), "");
    if (lanes == 1) return one;
    result = LLVMBuildInsertElement(builder, result, one, llvm_i64(emit, lane), "");
  }
  return result;
}

LLVMValueRef emit_lookup(Emit *emit, const Instr *instr) {
  const Machine *machine = emit->machine;
  LLVMValueRef x = llvm_arg(emit, instr, 0);
  int lanes = instr->results[0]->type.lanes;
  int most = machine->permutes ? 64 : machine->pairs256 ? 32 : 16;
  if (lanes == 1 || !(machine->permutes || machine->shuffles)) return one_by_one(emit, instr, x);
  int unit = machine->permutes || lanes > PART ? most : PART, wide = lanes < unit ? unit : lanes;
  if (wide > lanes) x = lanes_from(emit, x, LLVMGetPoison(LLVMTypeOf(x)), 0, wide);
  LLVMValueRef parts[MAX_LANES / PART] = {NULL};
  int count = wide / unit;
  for (int i = 0; i < count; i++) {
    LLVMValueRef some = lanes_from(emit, x, x, i * unit, unit);
    parts[i] = machine->permutes ? by_permutes(emit, instr, some) : by_shuffles(emit, instr, some);
  }
  for (; count > 1; count /= 2, unit *= 2)
    for (int i = 0; i < count / 2; i++)
      parts[i] = lanes_from(emit, parts[2 * i], parts[2 * i + 1], 0, 2 * unit);
  return lanes < wide ? lanes_from(emit, parts[0], parts[0], 0, lanes) : parts[0];
}
