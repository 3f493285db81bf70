/*
 * llvm_lanes.c -- what goes across lanes: splats, reductions, shuffles, and the dot products of groups of
 * lanes.
 */
#include "codegen/llvm.h"

#include <string.h>

static LLVMTypeRef i32_type(const Emit *emit) {
  return LLVMInt32TypeInContext(emit->context);
}

static LLVMValueRef bitcast(const Emit *emit, LLVMValueRef value, LLVMTypeRef type) {
  return LLVMBuildBitCast(emit->builder, value, type, "");
}

LLVMValueRef emit_splat(Emit *emit, const Instr *instr) {
  return llvm_splat(emit, llvm_arg(emit, instr, 0), instr->results[0]->type.lanes);
}

LLVMValueRef emit_extract(Emit *emit, const Instr *instr) {
  LLVMValueRef x = llvm_arg(emit, instr, 0);
  if (instr->args[0]->type.lanes == 1) return x;
  return LLVMBuildExtractElement(emit->builder, x, llvm_int(i32_type(emit), instr->imm), "");
}

/* ---- shuffles ---- */

static LLVMValueRef shuffle(const Emit *emit, LLVMValueRef x, LLVMValueRef y, const int64_t *lanes,
                            int count) {
  LLVMValueRef mask[MAX_LANES];
  for (int i = 0; i < count; i++) mask[i] = llvm_int(i32_type(emit), lanes[i]);
  return LLVMBuildShuffleVector(emit->builder, x, y, LLVMConstVector(mask, (unsigned)count), "");
}

/* Lanes first, first+step, ... of a vector. */
static LLVMValueRef every(const Emit *emit, LLVMValueRef x, int first, int step, int count) {
  int64_t lanes[MAX_LANES];
  for (int i = 0; i < count; i++) lanes[i] = first + (int64_t)i * step;
  return shuffle(emit, x, x, lanes, count);
}

/* Whether the result repeats all of x, and x fits a general register: then that register is broadcast
 * (vpbroadcastd), which LLVM does not see in a shuffle of bytes. */
static bool repeats_whole(const Instr *instr) {
  LoopType from = instr->args[0]->type;
  int bits = dtype_bits(from.dtype) * from.lanes;
  if (from.dtype == DTYPE_BOOL || from.lanes < 2 || bits > 64 || bits < 16) return false;
  for (int i = 0; i < instr->results[0]->type.lanes; i++)
    if (instr->lanes[i] != i % from.lanes) return false;
  return instr->results[0]->type.lanes > from.lanes;
}

static LLVMValueRef repeat_whole(const Emit *emit, const Instr *instr) {
  LoopType from = instr->args[0]->type, to = instr->results[0]->type;
  LLVMTypeRef whole = LLVMIntTypeInContext(emit->context, (unsigned)(dtype_bits(from.dtype) * from.lanes));
  LLVMValueRef repeated =
      llvm_splat(emit, bitcast(emit, llvm_arg(emit, instr, 0), whole), to.lanes / from.lanes);
  return bitcast(emit, repeated, llvm_type(emit, to.dtype, to.lanes));
}

LLVMValueRef emit_shuffle(Emit *emit, const Instr *instr) {
  LLVMValueRef x = llvm_arg(emit, instr, 0), y = llvm_arg(emit, instr, 1);
  int lanes = instr->results[0]->type.lanes;
  if (instr->args[0]->type.lanes > 1 && lanes > 1)
    return repeats_whole(instr) ? repeat_whole(emit, instr) : shuffle(emit, x, y, instr->lanes, lanes);
  int from = instr->args[0]->type.lanes;
  LLVMValueRef result = LLVMGetPoison(llvm_type(emit, instr->results[0]->type.dtype, lanes));
  for (int i = 0; i < lanes; i++) {
    LLVMValueRef source = instr->lanes[i] < from ? x : y;
    if (from > 1)
      source = LLVMBuildExtractElement(emit->builder, source,
                                       llvm_int(i32_type(emit), instr->lanes[i] % from), "");
    if (lanes == 1) return source;
    result = LLVMBuildInsertElement(emit->builder, result, source, llvm_int(i32_type(emit), i), "");
  }
  return result;
}

/* ---- picks ---- */

/* vpermilps, which looks at the low two bits alone; NULL: the machine has none of so many lanes. */
static const char *pick_instruction(const Machine *machine, LoopType type) {
  if (type.dtype != DTYPE_F32) return NULL;
  return type.lanes == 16 && machine->pairs512  ? "llvm.x86.avx512.vpermilvar.ps.512"
         : type.lanes == 8 && machine->pairs256 ? "llvm.x86.avx.vpermilvar.ps.256"
         : type.lanes == 4 && machine->pairs256 ? "llvm.x86.avx.vpermilvar.ps"
                                                : NULL;
}

/* Neighbour j of each four lanes, in all of them. */
static LLVMValueRef neighbour(const Emit *emit, LLVMValueRef x, int j, int lanes) {
  int64_t from[MAX_LANES];
  for (int i = 0; i < lanes; i++) from[i] = i / 4 * 4 + j;
  return shuffle(emit, x, x, from, lanes);
}

LLVMValueRef emit_pick(Emit *emit, const Instr *instr) {
  LLVMBuilderRef builder = emit->builder;
  LoopType type = instr->args[0]->type;
  LLVMValueRef x = llvm_arg(emit, instr, 0), at = llvm_arg(emit, instr, 1), pairs[2], bits[2];
  const char *name = pick_instruction(emit->machine, type);
  if (name) return llvm_intrinsic(emit, name, NULL, 0, (LLVMValueRef[]){x, at}, 2);
  LLVMTypeRef words = LLVMTypeOf(at);
  for (int i = 0; i < 2; i++)
    bits[i] = LLVMBuildICmp(builder, LLVMIntNE, LLVMBuildAnd(builder, at, llvm_int(words, 1 << i), ""),
                            LLVMConstNull(words), "");
  for (int i = 0; i < 2; i++)
    pairs[i] = LLVMBuildSelect(builder, bits[0], neighbour(emit, x, 2 * i + 1, type.lanes),
                               neighbour(emit, x, 2 * i, type.lanes), "");
  return LLVMBuildSelect(builder, bits[1], pairs[1], pairs[0], "");
}

/* ---- reductions ---- */

static LLVMValueRef combine(const Emit *emit, Opcode op, Dtype dtype, LLVMValueRef x, LLVMValueRef y) {
  LLVMBuilderRef builder = emit->builder;
  bool real = dtype_is_float(dtype), max = op == LOOP_REDUCE_MAX;
  if (op == LOOP_REDUCE_ADD) return real ? LLVMBuildFAdd(builder, x, y, "") : LLVMBuildAdd(builder, x, y, "");
  LLVMValueRef first;
  if (real)
    first = LLVMBuildFCmp(builder, max ? LLVMRealOGT : LLVMRealOLT, x, y, "");
  else if (dtype_is_signed_int(dtype))
    first = LLVMBuildICmp(builder, max ? LLVMIntSGT : LLVMIntSLT, x, y, "");
  else
    first = LLVMBuildICmp(builder, max ? LLVMIntUGT : LLVMIntULT, x, y, "");
  return LLVMBuildSelect(builder, first, x, y, "");
}

/* Upper half on lower half, until one lane is left. */
LLVMValueRef emit_lane_reduce(Emit *emit, const Instr *instr) {
  LoopType type = instr->args[0]->type;
  LLVMValueRef value = llvm_widen(emit, llvm_arg(emit, instr, 0), type);
  for (int lanes = type.lanes; lanes > 2; lanes /= 2)
    value = combine(emit, instr->op, type.dtype, every(emit, value, 0, 1, lanes / 2),
                    every(emit, value, lanes / 2, 1, lanes / 2));
  if (type.lanes > 1) {
    LLVMValueRef low = LLVMBuildExtractElement(emit->builder, value, llvm_int(i32_type(emit), 0), "");
    LLVMValueRef high = LLVMBuildExtractElement(emit->builder, value, llvm_int(i32_type(emit), 1), "");
    value = combine(emit, instr->op, type.dtype, low, high);
  }
  return llvm_narrow(emit, value, (LoopType){type.dtype, 1});
}

/* ---- dot products ---- */

/* The machine's instruction for a vector of `lanes` accumulators. */
static const char *dot_instruction(const Machine *machine, Opcode op, int lanes) {
  bool ints = op == LOOP_DOT_U8S8;
  switch (lanes) {
  case 16:
    return ints            ? (machine->vnni512 ? "llvm.x86.avx512.vpdpbusd.512" : NULL)
           : machine->bf16 ? "llvm.x86.avx512bf16.dpbf16ps.512"
                           : NULL;
  case 8:
    return ints            ? (machine->vnni ? "llvm.x86.avx512.vpdpbusd.256" : NULL)
           : machine->bf16 ? "llvm.x86.avx512bf16.dpbf16ps.256"
                           : NULL;
  case 4:
    return ints            ? (machine->vnni ? "llvm.x86.avx512.vpdpbusd.128" : NULL)
           : machine->bf16 ? "llvm.x86.avx512bf16.dpbf16ps.128"
                           : NULL;
  default: return NULL;
  }
}

static LLVMValueRef dot_by_instruction(const Emit *emit, const char *name, Opcode op, int lanes,
                                       LLVMValueRef *args) {
  bool ints = op == LOOP_DOT_U8S8;
  LLVMTypeRef packed = ints ? llvm_lanes_of(i32_type(emit), lanes)
                            : llvm_lanes_of(LLVMBFloatTypeInContext(emit->context), 2 * lanes);
  args[1] = bitcast(emit, args[1], packed);
  args[2] = bitcast(emit, args[2], packed);
  return llvm_intrinsic(emit, name, NULL, 0, args, 3);
}

/* The sums of two neighbouring products of i16 in i32, for `lanes` sums; NULL: the machine has none. */
static const char *pair_instruction(const Machine *machine, int lanes) {
  return lanes == 16  ? (machine->pairs512 ? "llvm.x86.avx512.pmaddw.d.512" : NULL)
         : lanes == 8 ? (machine->pairs256 ? "llvm.x86.avx2.pmadd.wd" : NULL)
         : lanes == 4 ? (machine->pairs128 ? "llvm.x86.sse2.pmadd.wd" : NULL)
                      : NULL;
}

/* Bytes 0 and 2 of each four as a pair of i16, and bytes 1 and 3, are multiplied and summed without
 * saturation, which products of bytes (vpmaddubsw) do not do. */
static LLVMValueRef dot_by_pairs(const Emit *emit, const char *name, int lanes, LLVMValueRef *args) {
  LLVMBuilderRef builder = emit->builder;
  LLVMTypeRef half = llvm_lanes_of(LLVMInt16TypeInContext(emit->context), 2 * lanes);
  LLVMValueRef x = bitcast(emit, args[1], half), w = bitcast(emit, args[2], half), sum = args[0];
  LLVMValueRef byte = llvm_int(half, 8);
  LLVMValueRef even[] = {LLVMBuildAnd(builder, x, llvm_int(half, 0xff), ""),
                         LLVMBuildAShr(builder, LLVMBuildShl(builder, w, byte, ""), byte, "")};
  LLVMValueRef odd[] = {LLVMBuildLShr(builder, x, byte, ""), LLVMBuildAShr(builder, w, byte, "")};
  sum = LLVMBuildAdd(builder, sum, llvm_intrinsic(emit, name, NULL, 0, even, 2), "");
  return LLVMBuildAdd(builder, sum, llvm_intrinsic(emit, name, NULL, 0, odd, 2), "");
}

static LLVMValueRef dot_of_ints(const Emit *emit, int lanes, LLVMValueRef *args) {
  const char *pairs = pair_instruction(emit->machine, lanes);
  if (pairs) return dot_by_pairs(emit, pairs, lanes, args);
  LLVMTypeRef wide = llvm_lanes_of(i32_type(emit), 4 * lanes);
  LLVMValueRef x = LLVMBuildZExt(emit->builder, args[1], wide, ""),
               y = LLVMBuildSExt(emit->builder, args[2], wide, "");
  LLVMValueRef products = LLVMBuildMul(emit->builder, x, y, ""), sum = args[0];
  for (int i = 0; i < 4; i++) {
    LLVMValueRef part =
        lanes == 1 ? LLVMBuildExtractElement(emit->builder, products, llvm_int(i32_type(emit), i), "")
                   : every(emit, products, i, 4, lanes);
    sum = LLVMBuildAdd(emit->builder, sum, part, "");
  }
  return sum;
}

/* One of each two bf16, the low or the high half of 32 bits, as f32. */
static LLVMValueRef half_of_pair(const Emit *emit, LLVMValueRef pairs, bool second, LLVMTypeRef type) {
  LLVMTypeRef whole = LLVMIntTypeInContext(emit->context, 32);
  if (LLVMGetTypeKind(type) == LLVMVectorTypeKind) whole = llvm_lanes_of(whole, (int)LLVMGetVectorSize(type));
  LLVMValueRef bits = bitcast(emit, pairs, whole);
  bits = second ? LLVMBuildAnd(emit->builder, bits, llvm_int(whole, 0xffff0000), "")
                : LLVMBuildShl(emit->builder, bits, llvm_int(whole, 16), "");
  return bitcast(emit, bits, type);
}

static LLVMValueRef dot_of_bf16(const Emit *emit, LLVMValueRef *args) {
  LLVMTypeRef type = LLVMTypeOf(args[0]);
  LLVMValueRef sum = args[0];
  for (int second = 1; second >= 0; second--) {
    LLVMValueRef x = half_of_pair(emit, args[1], second, type), y = half_of_pair(emit, args[2], second, type);
    sum = emit->machine->target->fma
              ? llvm_intrinsic(emit, "llvm.fma", &type, 1, (LLVMValueRef[]){x, y, sum}, 3)
              : LLVMBuildFAdd(emit->builder, LLVMBuildFMul(emit->builder, x, y, ""), sum, "");
  }
  return sum;
}

LLVMValueRef emit_dot(Emit *emit, const Instr *instr) {
  int lanes = instr->results[0]->type.lanes;
  LLVMValueRef args[] = {llvm_arg(emit, instr, 0), llvm_arg(emit, instr, 1), llvm_arg(emit, instr, 2)};
  const char *name = dot_instruction(emit->machine, instr->op, lanes);
  if (name) return dot_by_instruction(emit, name, instr->op, lanes, args);
  return instr->op == LOOP_DOT_U8S8 ? dot_of_ints(emit, lanes, args) : dot_of_bf16(emit, args);
}
