/*
 * llvm_ranges.c -- a nest of `parallel` and `sections` as one range of numbers, to be cut anywhere.
 *
 * Every iteration and every section of the nest has a width, an estimate of its time in ticks; laid end to
 * end they are the range [0, nest_size). A call of a task gets [begin, end) of that and runs what starts in
 * it, so that however a range is cut into pieces, each thing runs exactly once. Nested loops are one range
 * where the outer iterations are long: an iteration that is cut runs the part of its inner loop that it has.
 * Bounds are found once at the start of each loop, by a division by the width; within it nothing is added to
 * what a serial loop does.
 *
 * Widths are constants where sizes are, else they are computed from values known before the nest starts; what
 * is not, such as taps clipped at a border, is estimated. Only that all calls compute the same matters, not
 * that it is right.
 */
#include "codegen/llvm.h"

enum { UNKNOWN_TRIPS = 4, SLOW = 12, LIBM = 60, CALL = 16 };

/* ---- small code ---- */

static LLVMValueRef largest(const Emit *emit, LLVMValueRef x, LLVMValueRef y) {
  return LLVMBuildSelect(emit->builder, LLVMBuildICmp(emit->builder, LLVMIntSGT, x, y, ""), x, y, "");
}

static LLVMValueRef smallest(const Emit *emit, LLVMValueRef x, LLVMValueRef y) {
  return LLVMBuildSelect(emit->builder, LLVMBuildICmp(emit->builder, LLVMIntSLT, x, y, ""), x, y, "");
}

static LLVMValueRef plus(const Emit *emit, LLVMValueRef x, LLVMValueRef y) {
  return LLVMBuildAdd(emit->builder, x, y, "");
}

/* x / y rounded up; x >= 0, y > 0. */
static LLVMValueRef parts(const Emit *emit, LLVMValueRef x, LLVMValueRef y) {
  LLVMValueRef last = LLVMBuildSub(emit->builder, y, llvm_i64(emit, 1), "");
  return LLVMBuildUDiv(emit->builder, plus(emit, x, last), y, "");
}

static LLVMValueRef at_least(const Emit *emit, LLVMValueRef x, int64_t limit) {
  return largest(emit, x, llvm_i64(emit, limit));
}

static bool exceeds(LLVMValueRef x, int64_t limit) {
  return !LLVMIsAConstantInt(x) || LLVMConstIntGetSExtValue(x) > limit;
}

/* ---- values that are known before the nest starts ---- */

void nest_mark_inside(const Instr *nest, bool *inside) {
  for (int i = 0; i < nest->result_count; i++) inside[nest->results[i]->id] = true;
  for (int b = 0; b < nest->block_count; b++) {
    const Block *block = nest->blocks[b];
    for (int i = 0; i < block->param_count; i++) inside[block->params[i]->id] = true;
    for (const Instr *instr = block->first; instr; instr = instr->next) nest_mark_inside(instr, inside);
  }
}

static bool is_hoistable(const Instr *def) {
  int64_t divisor;
  switch (def->op) {
  case LOOP_ADD:
  case LOOP_SUB:
  case LOOP_MUL:
  case LOOP_MIN:
  case LOOP_MAX: return true;
  case LOOP_FLOORDIV:
  case LOOP_FLOORMOD: return reg_const_int(def->args[1], &divisor) && divisor != 0;
  default: return false;
  }
}

/* The register's value, in code where the builder stands, or NULL. */
static LLVMValueRef known(Emit *emit, const Reg *reg) {
  int64_t literal;
  if (reg_const_int(reg, &literal)) return llvm_i64(emit, literal);
  if (!emit->inside[reg->id]) return emit->regs[reg->id];
  const Instr *def = reg->def;
  if (def->op == LOOP_DIM) return emit_entry_dim(emit, def->dim);
  if (!is_hoistable(def)) return NULL;
  LLVMValueRef before[2] = {emit->regs[def->args[0]->id], emit->regs[def->args[1]->id]}, value = NULL;
  LLVMValueRef args[2] = {known(emit, def->args[0]), known(emit, def->args[1])};
  LLVMValueRef own = emit->regs[reg->id];
  if (args[0] && args[1]) {
    for (int i = 0; i < 2; i++) emit->regs[def->args[i]->id] = args[i];
    emit_instr(emit, def);
    value = emit->regs[reg->id];
  }
  for (int i = 0; i < 2; i++) emit->regs[def->args[i]->id] = before[i];
  emit->regs[reg->id] = own;
  return value;
}

/* A bound of a loop; of a clipped one, max(known, unknown) or min(known, unknown), what is known of it. */
static LLVMValueRef likely(Emit *emit, const Reg *reg, Opcode clip) {
  LLVMValueRef value = known(emit, reg);
  for (int i = 0; !value && reg->def->op == clip && i < 2; i++) value = likely(emit, reg->def->args[i], clip);
  return value;
}

static LLVMValueRef trips_between(const Emit *emit, const Instr *loop, LLVMValueRef lo, LLVMValueRef hi) {
  LLVMValueRef length = at_least(emit, LLVMBuildSub(emit->builder, hi, lo, ""), 0);
  return parts(emit, length, llvm_i64(emit, loop->step));
}

/* The number of iterations, or NULL when it is not the same for all executions of the nest. */
static LLVMValueRef exact_trips(Emit *emit, const Instr *loop) {
  LLVMValueRef lo = known(emit, loop->args[0]), hi = known(emit, loop->args[1]);
  return lo && hi ? trips_between(emit, loop, lo, hi) : NULL;
}

static LLVMValueRef likely_trips(Emit *emit, const Instr *loop) {
  LLVMValueRef lo = likely(emit, loop->args[0], LOOP_MAX), hi = likely(emit, loop->args[1], LOOP_MIN);
  return lo && hi ? trips_between(emit, loop, lo, hi) : llvm_i64(emit, UNKNOWN_TRIPS);
}

/* ---- time ---- */

/* A tick is the time of one vector operation: two run per cycle. */
static int64_t ticks(const Emit *emit, const Instr *instr) {
  const Reg *reg = instr->result_count > 0 ? instr->results[0] : instr->arg_count > 0 ? instr->args[0] : NULL;
  if (!reg) return 0;
  int64_t bytes = (int64_t)reg->type.lanes * ((dtype_bits(reg->type.dtype) + 7) / 8);
  int64_t vectors = (bytes + emit->machine->target->vector_bytes - 1) / emit->machine->target->vector_bytes;
  switch (instr->op) {
  case LOOP_CONST:
  case LOOP_DIM:
  case LOOP_IOTA:
  case LOOP_SPLAT:
  case LOOP_YIELD: return 0;
  case LOOP_LOAD: return 2 * vectors;
  case LOOP_STORE: return 4 * vectors;
  case LOOP_GATHER:
  case LOOP_SCATTER: return 4 * reg->type.lanes;
  case LOOP_DIV:
  case LOOP_REM:
  case LOOP_FLOORDIV:
  case LOOP_FLOORMOD:
  case LOOP_SQRT: return SLOW * vectors;
  default: return instr->op >= LOOP_EXP && instr->op <= LOOP_POW ? LIBM * reg->type.lanes : vectors;
  }
}

/* By the elements of the first view. */
static LLVMValueRef call_cost(Emit *emit, const Call *call) {
  Module *module = emit->kernel->module;
  const Buffer *buffer = call->buffers[0];
  const Dim *ticks_of_all = dim_const(module, CALL);
  for (int axis = 0; axis < buffer->rank; axis++)
    if (!(call->fixed[0] >> axis & 1)) ticks_of_all = dim_mul(module, ticks_of_all, buffer->dims[axis]);
  return emit_entry_dim(emit, ticks_of_all);
}

static LLVMValueRef cost(Emit *emit, const Instr *instr);

static LLVMValueRef block_cost(Emit *emit, const Block *block) {
  LLVMValueRef sum = llvm_i64(emit, 0);
  int64_t fixed = 0;
  for (const Instr *instr = block->first; instr; instr = instr->next) {
    fixed += ticks(emit, instr);
    if (instr->block_count > 0) sum = plus(emit, sum, cost(emit, instr));
    if (instr->call) sum = plus(emit, sum, call_cost(emit, instr->call));
  }
  return plus(emit, sum, llvm_i64(emit, fixed));
}

/* Of what is in the blocks of an instruction. */
static LLVMValueRef cost(Emit *emit, const Instr *instr) {
  LLVMValueRef sum = llvm_i64(emit, 0);
  for (int i = 0; i < instr->block_count; i++) sum = plus(emit, sum, block_cost(emit, instr->blocks[i]));
  bool loop = instr->op == LOOP_FOR || instr->op == LOOP_PARALLEL;
  return loop ? LLVMBuildMul(emit->builder, likely_trips(emit, instr), sum, "") : sum;
}

/* ---- widths ---- */

/* The nest that a long iteration or section consists of, beside the arithmetic for it, or NULL. What the
 * arithmetic reads must not be what the nest writes, so there are no loads. */
static const Instr *inner_nest(Emit *emit, const Block *block) {
  const Instr *nest = NULL;
  for (const Instr *instr = block->first; instr; instr = instr->next) {
    if (instr->op == LOOP_LOAD || instr->op == LOOP_GATHER) return NULL;
    if (instr->block_count == 0 && !instr_has_effect(instr)) continue;
    if (nest || (instr->op != LOOP_PARALLEL && instr->op != LOOP_SECTIONS)) return NULL;
    nest = instr;
  }
  if (!nest || !exceeds(cost(emit, nest), emit->machine->task_ticks / 4)) return NULL;
  return nest->op == LOOP_SECTIONS || exact_trips(emit, nest) ? nest : NULL;
}

/* Of an iteration or a section. */
static LLVMValueRef block_width(Emit *emit, const Block *block) {
  const Instr *nest = inner_nest(emit, block);
  if (nest) return at_least(emit, nest_size(emit, nest), 1);
  return plus(emit, block_cost(emit, block), llvm_i64(emit, 1));
}

LLVMValueRef nest_size(Emit *emit, const Instr *nest) {
  if (nest->op == LOOP_PARALLEL)
    return LLVMBuildMul(emit->builder, exact_trips(emit, nest), block_width(emit, nest->blocks[0]), "");
  LLVMValueRef sum = llvm_i64(emit, 0);
  for (int i = 0; i < nest->block_count; i++) sum = plus(emit, sum, block_width(emit, nest->blocks[i]));
  return sum;
}

/* ---- what a range has ---- */

/* The iterations that begin in it, or of a loop with a nest inside, that have a part in it. */
static void share_iterations(Emit *emit, const Instr *loop) {
  LLVMValueRef each = block_width(emit, loop->blocks[0]), lo = emit->regs[loop->args[0]->id];
  LLVMValueRef begin = at_least(emit, emit->begin, 0), end = at_least(emit, emit->end, 0);
  bool cut = inner_nest(emit, loop->blocks[0]) != NULL;
  LLVMValueRef from = cut ? LLVMBuildUDiv(emit->builder, begin, each, "") : parts(emit, begin, each);
  LLVMValueRef to = smallest(emit, parts(emit, end, each), exact_trips(emit, loop));
  LLVMValueRef step = llvm_i64(emit, loop->step);
  from = plus(emit, lo, LLVMBuildMul(emit->builder, from, step, ""));
  to = plus(emit, lo, LLVMBuildMul(emit->builder, to, step, ""));
  emit_loop(emit, loop, from, to, cut ? each : NULL);
}

/* A section that is not cut runs where the range has its begin. */
static void share_section(Emit *emit, const Block *section) {
  LLVMBasicBlockRef run = llvm_new_block(emit), after = llvm_new_block(emit);
  LLVMValueRef zero = llvm_i64(emit, 0);
  LLVMValueRef before = LLVMBuildICmp(emit->builder, LLVMIntSLE, emit->begin, zero, "");
  LLVMValueRef behind = LLVMBuildICmp(emit->builder, LLVMIntSGT, emit->end, zero, "");
  LLVMBuildCondBr(emit->builder, LLVMBuildAnd(emit->builder, before, behind, ""), run, after);
  LLVMPositionBuilderAtEnd(emit->builder, run);
  emit->begin = emit->end = NULL;
  emit_block(emit, section);
  LLVMBuildBr(emit->builder, after);
  LLVMPositionBuilderAtEnd(emit->builder, after);
}

static void share_sections(Emit *emit, const Instr *sections) {
  LLVMValueRef begin = emit->begin, end = emit->end, first = llvm_i64(emit, 0);
  for (int i = 0; i < sections->block_count; i++) {
    const Block *section = sections->blocks[i];
    LLVMValueRef behind = plus(emit, first, block_width(emit, section));
    emit->begin = LLVMBuildSub(emit->builder, begin, first, "");
    emit->end = LLVMBuildSub(emit->builder, end, first, "");
    if (inner_nest(emit, section))
      emit_block(emit, section);
    else
      share_section(emit, section);
    first = behind;
  }
  emit->begin = begin;
  emit->end = end;
}

void emit_share(Emit *emit, const Instr *nest) {
  if (nest->op == LOOP_SECTIONS)
    share_sections(emit, nest);
  else
    share_iterations(emit, nest);
}
