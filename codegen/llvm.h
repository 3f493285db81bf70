/*
 * llvm.h -- what the files that speak to LLVM share: a target ready to emit code, and the translation of one
 * kernel.
 *
 * The translation is mechanical, opcode by opcode: llvm_kernel.c has functions, blocks and loops, and a table
 * from opcode to emitter; llvm_value.c has arithmetic, llvm_convert.c conversions, llvm_lanes.c what goes
 * across lanes, llvm_memory.c addresses, loads and stores, llvm_call.c calls of the runtime; llvm_tasks.c
 * makes functions of parallel loops and llvm_ranges.c says which iterations a call of one runs. Registers of
 * bool are i1, of floats below 32 bits and of complex numbers their bits (arithmetic on f16 and bf16 is done
 * in f32 and rounded).
 */
#ifndef TENON_CODEGEN_LLVM_H
#define TENON_CODEGEN_LLVM_H

#include "ir/loop.h"
#include "ir/pass.h"

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

/* A target that LLVM can emit code for. */
typedef struct Machine {
  const Target *target;
  LLVMTargetMachineRef ref;
  uint64_t features;                 /* bits by row of runtime/cpu.def (x86; 0 elsewhere) */
  int64_t task_ticks;                /* the least work worth a thread */
  bool pairs512, pairs256, pairs128; /* vpmaddwd of so many bits */
  bool rounds;                       /* conversions of f32 to i32 that round, in vectors */
  bool f16c, vnni512, vnni, bf16;    /* conversions of f16; vpdpbusd on zmm, on ymm and xmm; vdpbf16ps */
  bool scalef, narrows;              /* vscalefps, vpmovusdb on zmm, ymm and xmm */
  bool permutes, shuffles;           /* vpermi2b on zmm; pshufb */
} Machine;

/* The machine of target; false with a Diag. Freed by machine_close. */
bool machine_open(Module *module, const Target *target, Machine *machine);
/* Another for the same, for another thread. */
bool machine_twin(Module *module, const Machine *machine, Machine *twin);
void machine_close(Machine *machine);

/* The parameters behind those of the kernel, all pointers: the values of the symbols (i64s, in the order of
 * the names), the Team of the run (runtime/model.h; NULL: serial), memory for large locals. */
enum { KERNEL_SYMBOLS, KERNEL_TEAM, KERNEL_MEMORY, KERNEL_EXTRAS };

/* Loads the kernel's memory through its parameters (pointers, in order). NULL with a Diag. The kernel is
 * verified first. The function is internal. in_place: params may overlap. */
LLVMValueRef llvm_kernel(LLVMModuleRef llvm, const Machine *machine, const Kernel *kernel, const char *name,
                         const char *const *symbols, int symbol_count, bool in_place);
/* Attributes of a function: for kernels those of the target, else those of the oldest processor of its
 * family. */
void llvm_function_attributes(LLVMValueRef function, const Machine *machine, bool kernel);

/* ---- dims (llvm_dim.c) ---- */

/* The dims that a stretch of code has computed, so that each is computed once. */
typedef struct DimMemo {
  Arena *arena;
  LLVMValueRef *values; /* by id of the dim; NULL: not yet computed */
  int room;
} DimMemo;

typedef struct DimCode {
  LLVMContextRef context;
  LLVMModuleRef llvm;
  LLVMBuilderRef builder;
  LLVMValueRef symbols;
  const char *const *symbol_names;
  int symbol_count;
  DimMemo *memo; /* NULL: nothing is remembered, for code whose branches do not see each other's values */
  bool saturate; /* sums and products stop at the largest i64: for sizes that were not checked yet */
} DimCode;
LLVMValueRef llvm_dim(const DimCode *code, const Dim *dim); /* from the symbols, where the builder stands */

/* Where the elements of a buffer are. */
typedef struct Place {
  LLVMValueRef base;
  LLVMValueRef first;             /* bits from there to the first element; NULL: 0 */
  LLVMValueRef strides[MAX_RANK]; /* i64; bytes, or bits of elements below a byte */
} Place;

typedef struct Emit Emit;
struct Emit {
  const Kernel *kernel;
  const Machine *machine;
  LLVMContextRef context;
  LLVMModuleRef llvm;
  LLVMValueRef function;
  LLVMBuilderRef builder; /* stands at the end of the block being written */
  LLVMBuilderRef entry;   /* stands at the end of the first block, which everything else follows */
  LLVMValueRef *regs;     /* by id */
  Place *params, *locals, *views;
  LLVMValueRef team, memory; /* NULL in a task: it is not divided again; of this execution's large locals */
  bool in_place;
  DimCode dims; /* in the first block */

  /* In a task (llvm_ranges.c): the part of the nest that is being written for, or NULL when it is all of it;
   * which registers the nest defines, by id. */
  LLVMValueRef begin, end;
  const bool *inside;
};

/* ---- types and constants (llvm_value.c) ---- */

LLVMTypeRef llvm_type(const Emit *emit, Dtype dtype, int lanes);        /* of a register */
LLVMTypeRef llvm_memory_type(const Emit *emit, Dtype dtype, int lanes); /* of an element: bool is i8 */
LLVMTypeRef llvm_lanes_of(LLVMTypeRef scalar, int lanes); /* the scalar itself when lanes is 1 */
LLVMValueRef llvm_i64(const Emit *emit, int64_t value);
LLVMValueRef llvm_int(LLVMTypeRef type, int64_t value); /* splat when type is a vector */
LLVMValueRef llvm_float(LLVMTypeRef type, double value);
LLVMValueRef llvm_splat(const Emit *emit, LLVMValueRef scalar, int lanes);
/* A call of an intrinsic that is overloaded on `types`. */
LLVMValueRef llvm_intrinsic(const Emit *emit, const char *name, LLVMTypeRef const *types, int type_count,
                            LLVMValueRef *args, int arg_count);

/* ---- emitters: each writes one instruction and returns its result, or NULL when it has none ---- */

typedef LLVMValueRef Emitter(Emit *emit, const Instr *instr);
void emit_instr(Emit *emit, const Instr *instr);
void emit_block(Emit *emit, const Block *block);
LLVMValueRef llvm_arg(const Emit *emit, const Instr *instr, int index);

Emitter emit_const, emit_iota, emit_lanes_below;
Emitter emit_arithmetic, emit_divide, emit_shift, emit_bits, emit_compare, emit_select, emit_fma,
    emit_mul_add, emit_scale, emit_min_max, emit_sign, emit_rounding, emit_libm;
Emitter emit_conversion, emit_bitcast;
Emitter emit_splat, emit_lane_reduce, emit_extract, emit_shuffle, emit_pick, emit_lookup, emit_dot;
Emitter emit_load, emit_store, emit_gather, emit_scatter, emit_prefetch;
Emitter emit_call;

/* ---- conversions (llvm_convert.c) ---- */

/* Registers of narrow floats (bits) to f32 values and back, rounding to even; other types pass unchanged. */
LLVMValueRef llvm_widen(const Emit *emit, LLVMValueRef value, LoopType type);
LLVMValueRef llvm_narrow(const Emit *emit, LLVMValueRef value, LoopType type);

/* ---- buffers (llvm_memory.c) ---- */

LLVMValueRef emit_entry_dim(Emit *emit, const Dim *dim); /* in the kernel's first block */

/* Buffers: bases, strides, locals. Params and locals that have a base already keep it. */
void emit_places(Emit *emit);
Place *emit_place(const Emit *emit, const Buffer *buffer);

/* ---- control (llvm_kernel.c) ---- */

/* A loop over lo, lo + step, ... below hi. share: of each iteration only what [begin, end) has of it, when
 * an iteration is `weight` wide; NULL: all of it. */
void emit_loop(Emit *emit, const Instr *loop, LLVMValueRef lo, LLVMValueRef hi, LLVMValueRef weight);
LLVMBasicBlockRef llvm_new_block(const Emit *emit);
/* Attributes that the parameter of a function has that stands for a param of the kernel. */
void llvm_param_attributes(const Emit *emit, LLVMValueRef function, unsigned index, const Buffer *param);

/* ---- parallel nests ---- */

/* Which iterations and sections a range holds (llvm_ranges.c). */
LLVMValueRef nest_size(Emit *emit, const Instr *nest);
void nest_mark_inside(const Instr *nest, bool *inside);
void emit_share(Emit *emit, const Instr *nest); /* what [emit->begin, emit->end) has of it */

/* Writes the nest as a function and a call, or a division among threads, of it; false when it is not worth
 * that (llvm_tasks.c). */
bool emit_task(Emit *emit, const Instr *nest);

#endif
