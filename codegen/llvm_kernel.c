/*
 * llvm_kernel.c -- a kernel in loop IR to an LLVM function: one emitter per opcode, loops with phis, no stack
 * but local buffers.
 *
 * LLVM aborts the process when it meets something it does not like, so it sees only kernels that
 * kernel_verify accepted. Loops are written with the test at the end, behind one test whether they run at
 * all, so that nothing has to turn them around.
 */
#include "codegen/llvm.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static LLVMValueRef emit_for(Emit *emit, const Instr *instr);
static LLVMValueRef emit_parallel(Emit *emit, const Instr *instr);
static LLVMValueRef emit_sections(Emit *emit, const Instr *instr);
static LLVMValueRef emit_if(Emit *emit, const Instr *instr);

static LLVMValueRef emit_dim(Emit *emit, const Instr *instr) {
  return emit_entry_dim(emit, instr->dim);
}

static LLVMValueRef emit_nothing(Emit *emit, const Instr *instr) {
  (void)emit;
  (void)instr;
  return NULL;
}

static Emitter *const emitters[LOOP_OPCODE_COUNT] = {
    [LOOP_CONST] = emit_const,
    [LOOP_DIM] = emit_dim,
    [LOOP_SPLAT] = emit_splat,
    [LOOP_IOTA] = emit_iota,
    [LOOP_LANES_BELOW] = emit_lanes_below,
    [LOOP_LOAD] = emit_load,
    [LOOP_STORE] = emit_store,
    [LOOP_GATHER] = emit_gather,
    [LOOP_SCATTER] = emit_scatter,
    [LOOP_PREFETCH] = emit_prefetch,
    [LOOP_ADD] = emit_arithmetic,
    [LOOP_SUB] = emit_arithmetic,
    [LOOP_MUL] = emit_arithmetic,
    [LOOP_DIV] = emit_divide,
    [LOOP_REM] = emit_divide,
    [LOOP_FLOORDIV] = emit_divide,
    [LOOP_FLOORMOD] = emit_divide,
    [LOOP_MIN] = emit_min_max,
    [LOOP_MAX] = emit_min_max,
    [LOOP_FMA] = emit_fma,
    [LOOP_MUL_ADD] = emit_mul_add,
    [LOOP_SCALE] = emit_scale,
    [LOOP_NEG] = emit_sign,
    [LOOP_ABS] = emit_sign,
    [LOOP_AND] = emit_bits,
    [LOOP_OR] = emit_bits,
    [LOOP_XOR] = emit_bits,
    [LOOP_NOT] = emit_bits,
    [LOOP_SHL] = emit_shift,
    [LOOP_SHR] = emit_shift,
    [LOOP_EQ] = emit_compare,
    [LOOP_NE] = emit_compare,
    [LOOP_LT] = emit_compare,
    [LOOP_LE] = emit_compare,
    [LOOP_GT] = emit_compare,
    [LOOP_GE] = emit_compare,
    [LOOP_SELECT] = emit_select,
    [LOOP_CAST] = emit_conversion,
    [LOOP_BITCAST] = emit_bitcast,
    [LOOP_FLOOR] = emit_rounding,
    [LOOP_CEIL] = emit_rounding,
    [LOOP_ROUND] = emit_rounding,
    [LOOP_TRUNC] = emit_rounding,
    [LOOP_SQRT] = emit_rounding,
    [LOOP_EXP] = emit_libm,
    [LOOP_LOG] = emit_libm,
    [LOOP_SIN] = emit_libm,
    [LOOP_COS] = emit_libm,
    [LOOP_TAN] = emit_libm,
    [LOOP_ASIN] = emit_libm,
    [LOOP_ACOS] = emit_libm,
    [LOOP_ATAN] = emit_libm,
    [LOOP_SINH] = emit_libm,
    [LOOP_COSH] = emit_libm,
    [LOOP_TANH] = emit_libm,
    [LOOP_ASINH] = emit_libm,
    [LOOP_ACOSH] = emit_libm,
    [LOOP_ATANH] = emit_libm,
    [LOOP_ERF] = emit_libm,
    [LOOP_POW] = emit_libm,
    [LOOP_REDUCE_ADD] = emit_lane_reduce,
    [LOOP_REDUCE_MAX] = emit_lane_reduce,
    [LOOP_REDUCE_MIN] = emit_lane_reduce,
    [LOOP_EXTRACT] = emit_extract,
    [LOOP_SHUFFLE] = emit_shuffle,
    [LOOP_LOOKUP] = emit_lookup,
    [LOOP_PICK] = emit_pick,
    [LOOP_DOT_U8S8] = emit_dot,
    [LOOP_DOT_BF16] = emit_dot,
    [LOOP_FOR] = emit_for,
    [LOOP_PARALLEL] = emit_parallel,
    [LOOP_SECTIONS] = emit_sections,
    [LOOP_IF] = emit_if,
    [LOOP_CALL] = emit_call,
    [LOOP_YIELD] = emit_nothing,
};

/* ---- control ---- */

LLVMBasicBlockRef llvm_new_block(const Emit *emit) {
  return LLVMAppendBasicBlockInContext(emit->context, emit->function, "");
}

static LLVMBasicBlockRef current_block(const Emit *emit) {
  return LLVMGetInsertBlock(emit->builder);
}

static void enter(const Emit *emit, LLVMBasicBlockRef block) {
  LLVMPositionBuilderAtEnd(emit->builder, block);
}

static LLVMValueRef new_phi(const Emit *emit, LoopType type) {
  return LLVMBuildPhi(emit->builder, llvm_type(emit, type.dtype, type.lanes), "");
}

static void add_incoming(LLVMValueRef phi, LLVMValueRef value, LLVMBasicBlockRef from) {
  LLVMAddIncoming(phi, &value, &from, 1);
}

/* What a block hands out, or NULL when it hands out nothing. */
static const Instr *block_yield(const Block *block) {
  return block->last && block->last->op == LOOP_YIELD ? block->last : NULL;
}

/* What the range [begin, end) has of the iteration that the builder stands in. */
static void enter_iteration(Emit *emit, const Instr *loop, LLVMValueRef weight) {
  LLVMValueRef counter = emit->regs[loop->blocks[0]->params[0]->id];
  LLVMValueRef index = LLVMBuildSub(emit->builder, counter, llvm_arg(emit, loop, 0), "");
  index = LLVMBuildExactSDiv(emit->builder, index, llvm_i64(emit, loop->step), "");
  LLVMValueRef first = LLVMBuildMul(emit->builder, index, weight, "");
  emit->begin = LLVMBuildSub(emit->builder, emit->begin, first, "");
  emit->end = LLVMBuildSub(emit->builder, emit->end, first, "");
}

/* Writes the body; the counter and the carried values are phis at its start. Returns where it ended. */
static LLVMBasicBlockRef emit_body(Emit *emit, const Instr *loop, LLVMValueRef lo, LLVMValueRef hi,
                                   LLVMValueRef weight, LLVMBasicBlockRef from, LLVMBasicBlockRef after) {
  const Block *block = loop->blocks[0];
  LLVMBasicBlockRef start = current_block(emit);
  for (int i = 0; i < block->param_count; i++)
    emit->regs[block->params[i]->id] = new_phi(emit, block->params[i]->type);
  LLVMValueRef counter = emit->regs[block->params[0]->id], begin = emit->begin, end = emit->end;
  if (weight)
    enter_iteration(emit, loop, weight);
  else
    emit->begin = emit->end = NULL;
  emit_block(emit, block);
  emit->begin = begin;
  emit->end = end;
  LLVMBasicBlockRef last = current_block(emit);
  LLVMValueRef next = LLVMBuildNSWAdd(emit->builder, counter, llvm_i64(emit, loop->step), "");
  LLVMBuildCondBr(emit->builder, LLVMBuildICmp(emit->builder, LLVMIntSLT, next, hi, ""), start, after);
  add_incoming(counter, lo, from);
  add_incoming(counter, next, last);
  const Instr *yield = block_yield(block);
  for (int i = 1; i < block->param_count; i++) {
    LLVMValueRef phi = emit->regs[block->params[i]->id];
    add_incoming(phi, llvm_arg(emit, loop, i + 1), from);
    add_incoming(phi, llvm_arg(emit, yield, i - 1), last);
  }
  return last;
}

void emit_loop(Emit *emit, const Instr *loop, LLVMValueRef lo, LLVMValueRef hi, LLVMValueRef weight) {
  LLVMBasicBlockRef before = current_block(emit), body = llvm_new_block(emit), after = llvm_new_block(emit);
  LLVMValueRef runs = LLVMBuildICmp(emit->builder, LLVMIntSLT, lo, hi, "");
  bool always = LLVMIsAConstantInt(runs) && LLVMConstIntGetZExtValue(runs);
  if (always)
    LLVMBuildBr(emit->builder, body);
  else
    LLVMBuildCondBr(emit->builder, runs, body, after);
  enter(emit, body);
  LLVMBasicBlockRef end = emit_body(emit, loop, lo, hi, weight, before, after);
  enter(emit, after);
  const Instr *yield = block_yield(loop->blocks[0]);
  for (int i = 0; i < loop->result_count; i++) {
    LLVMValueRef phi = new_phi(emit, loop->results[i]->type);
    if (!always) add_incoming(phi, llvm_arg(emit, loop, i + 2), before);
    add_incoming(phi, llvm_arg(emit, yield, i), end);
    emit->regs[loop->results[i]->id] = phi;
  }
}

static LLVMValueRef emit_for(Emit *emit, const Instr *instr) {
  emit_loop(emit, instr, llvm_arg(emit, instr, 0), llvm_arg(emit, instr, 1), NULL);
  return NULL;
}

static LLVMValueRef emit_parallel(Emit *emit, const Instr *instr) {
  if (emit->begin)
    emit_share(emit, instr);
  else if (!emit_task(emit, instr))
    emit_for(emit, instr);
  return NULL;
}

static LLVMValueRef emit_sections(Emit *emit, const Instr *instr) {
  if (emit->begin)
    emit_share(emit, instr);
  else if (!emit_task(emit, instr))
    for (int i = 0; i < instr->block_count; i++) emit_block(emit, instr->blocks[i]);
  return NULL;
}

static LLVMValueRef emit_if(Emit *emit, const Instr *instr) {
  LLVMBasicBlockRef starts[] = {llvm_new_block(emit), llvm_new_block(emit)}, ends[2],
                    after = llvm_new_block(emit);
  LLVMBuildCondBr(emit->builder, llvm_arg(emit, instr, 0), starts[0], starts[1]);
  for (int i = 0; i < 2; i++) {
    enter(emit, starts[i]);
    emit_block(emit, instr->blocks[i]);
    ends[i] = current_block(emit);
    LLVMBuildBr(emit->builder, after);
  }
  enter(emit, after);
  for (int i = 0; i < instr->result_count; i++) {
    LLVMValueRef phi = new_phi(emit, instr->results[i]->type);
    for (int branch = 0; branch < 2; branch++)
      add_incoming(phi, llvm_arg(emit, block_yield(instr->blocks[branch]), i), ends[branch]);
    emit->regs[instr->results[i]->id] = phi;
  }
  return NULL;
}

void emit_instr(Emit *emit, const Instr *instr) {
  LLVMValueRef value = emitters[instr->op](emit, instr);
  if (value) emit->regs[instr->results[0]->id] = value;
}

void emit_block(Emit *emit, const Block *block) {
  for (const Instr *instr = block->first; instr; instr = instr->next) emit_instr(emit, instr);
}

/* ---- functions ---- */

static void add_attribute(LLVMValueRef function, LLVMAttributeIndex index, const char *name) {
  LLVMContextRef context = LLVMGetTypeContext(LLVMTypeOf(function));
  unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
  LLVMAddAttributeAtIndex(function, index, LLVMCreateEnumAttribute(context, kind, 0));
}

static void add_string_attribute(LLVMValueRef function, const char *name, const char *value) {
  LLVMContextRef context = LLVMGetTypeContext(LLVMTypeOf(function));
  LLVMAttributeRef attribute =
      LLVMCreateStringAttribute(context, name, (unsigned)strlen(name), value, (unsigned)strlen(value));
  LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex, attribute);
}

void llvm_function_attributes(LLVMValueRef function, const Machine *machine, bool kernel) {
  const Target *target = machine->target;
  add_attribute(function, LLVMAttributeFunctionIndex, "nounwind");
  if (!kernel) {
    add_string_attribute(function, "target-cpu",
                         strncmp(target->triple, "x86_64", 6) == 0 ? "x86-64" : "generic");
    return;
  }
  char width[16];
  snprintf(width, sizeof width, "%d", target->vector_bytes * 8);
  add_string_attribute(function, "target-cpu", target->cpu);
  if (target->features && *target->features)
    add_string_attribute(function, "target-features", target->features);
  add_string_attribute(function, "prefer-vector-width", width);
}

/* Buffers do not alias (docs/loop-ir.md): inputs may overlap each other, but nothing writes them. */
void llvm_param_attributes(const Emit *emit, LLVMValueRef function, unsigned index, const Buffer *param) {
  if (!emit->in_place) add_attribute(function, index + 1, "noalias");
  if (!emit->in_place && param->kind == BUFFER_IN) add_attribute(function, index + 1, "readonly");
  LLVMSetValueName2(LLVMGetParam(function, index), param->name, strlen(param->name));
}

static LLVMValueRef declare(const Emit *emit, const char *name) {
  const Kernel *kernel = emit->kernel;
  unsigned params = (unsigned)kernel->param_count, count = params + KERNEL_EXTRAS;
  LLVMTypeRef *types = NEW_ARRAY(kernel->module->arena, LLVMTypeRef, count);
  for (unsigned i = 0; i < count; i++) types[i] = LLVMPointerTypeInContext(emit->context, 0);
  LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(emit->context), types, count, false);
  LLVMValueRef function = LLVMAddFunction(emit->llvm, name, type);
  LLVMSetLinkage(function, LLVMInternalLinkage);
  llvm_function_attributes(function, emit->machine, true);
  for (unsigned i = 0; i < params; i++) llvm_param_attributes(emit, function, i, kernel->params[i]);
  add_attribute(function, params + KERNEL_SYMBOLS + 1, "noalias");
  add_attribute(function, params + KERNEL_SYMBOLS + 1, "readonly");
  return function;
}

static void fill(Emit *emit) {
  const Kernel *kernel = emit->kernel;
  unsigned extras = (unsigned)kernel->param_count;
  LLVMBasicBlockRef first = LLVMAppendBasicBlockInContext(emit->context, emit->function, "entry"),
                    body = llvm_new_block(emit);
  LLVMPositionBuilderAtEnd(emit->entry, first);
  enter(emit, body);
  for (unsigned i = 0; i < extras; i++) emit->params[i].base = LLVMGetParam(emit->function, i);
  emit->dims.symbols = LLVMGetParam(emit->function, extras + KERNEL_SYMBOLS);
  emit->team = LLVMGetParam(emit->function, extras + KERNEL_TEAM);
  emit->memory = LLVMGetParam(emit->function, extras + KERNEL_MEMORY);
  emit_places(emit);
  emit_block(emit, kernel->body);
  LLVMBuildRetVoid(emit->builder);
  LLVMBuildBr(emit->entry, body);
}

LLVMValueRef llvm_kernel(LLVMModuleRef llvm, const Machine *machine, const Kernel *kernel, const char *name,
                         const char *const *symbols, int symbol_count, bool in_place) {
  if (!kernel_verify(kernel)) return NULL;
  Arena *arena = kernel->module->arena;
  LLVMContextRef context = LLVMGetModuleContext(llvm);
  Emit emit = {
      .kernel = kernel,
      .machine = machine,
      .context = context,
      .llvm = llvm,
      .builder = LLVMCreateBuilderInContext(context),
      .entry = LLVMCreateBuilderInContext(context),
      .regs = NEW_ARRAY(arena, LLVMValueRef, kernel->reg_count),
      .params = NEW_ARRAY(arena, Place, kernel->param_count),
      .locals = NEW_ARRAY(arena, Place, kernel->local_count),
      .views = NEW_ARRAY(arena, Place, kernel->view_count),
      .in_place = in_place,
  };
  DimMemo memo = {.arena = arena};
  emit.function = declare(&emit, name);
  emit.dims = (DimCode){context, llvm, emit.entry, NULL, symbols, symbol_count, &memo, false};
  fill(&emit);
  LLVMDisposeBuilder(emit.builder);
  LLVMDisposeBuilder(emit.entry);
  return emit.function;
}
