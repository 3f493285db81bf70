/*
 * llvm_tasks.c -- a parallel nest of a kernel as a function of its own, called with parts of its range.
 *
 *   void NAME.task(params..., symbols, memory, shared locals..., captured registers..., begin, end)
 *
 * The function has the kernel's params with all that LLVM is told about them, so its code is as good as that
 * of the nest in place. A run with one thread calls it with the whole range. For several, the arguments go
 * into a struct on the stack, and tenon_runtime_parallel (runtime/threads.c) calls NAME.part, which takes
 * them out again, from each thread. Nests that are too short to be divided stay where they are.
 *
 * Locals that only the nest uses are each thread's own: on its stack, or in its piece of the memory for large
 * ones. Other locals and the registers that the nest takes from around it are handed in.
 */
#include "codegen/llvm.h"

#include <string.h>

typedef struct Task {
  Emit *around;
  const Instr *nest;
  Emit emit;     /* of the function */
  bool *inside;  /* by register: the nest defines it */
  bool *outside; /* by local: used around the nest, too */
  const Reg **captured;
  int captured_count;
  LLVMValueRef *args; /* as seen from around; begin and end are behind them */
  LLVMTypeRef *types;
  unsigned arg_count;
} Task;

/* ---- what the nest takes from around it ---- */

/* A register, and what addresses see of it: they take sums and products apart (llvm_memory.c). */
static void capture(Task *task, bool *seen, const Reg *reg) {
  const Instr *def = reg->def;
  if (task->inside[reg->id] || seen[reg->id] || LLVMIsConstant(task->around->regs[reg->id])) return;
  seen[reg->id] = true;
  task->captured[task->captured_count++] = reg;
  if (def->op != LOOP_ADD && def->op != LOOP_SUB && def->op != LOOP_MUL) return;
  for (int i = 0; i < def->arg_count; i++) capture(task, seen, def->args[i]);
}

static void find_captured(Task *task, bool *seen, const Instr *instr) {
  for (int i = 0; i < instr->arg_count; i++) capture(task, seen, instr->args[i]);
  for (int b = 0; b < instr->block_count; b++)
    for (const Instr *inner = instr->blocks[b]->first; inner; inner = inner->next)
      find_captured(task, seen, inner);
}

static void find_outside(Task *task, const Block *block) {
  for (const Instr *instr = block->first; instr; instr = instr->next) {
    if (instr == task->nest) continue;
    for (int i = 0; i < instr_buffer_count(instr); i++) {
      const Buffer *root = buffer_root(instr_buffer(instr, i));
      if (root->kind == BUFFER_LOCAL) task->outside[root->index] = true;
    }
    for (int b = 0; b < instr->block_count; b++) find_outside(task, instr->blocks[b]);
  }
}

static void add_arg(Task *task, LLVMValueRef value) {
  task->args[task->arg_count] = value;
  task->types[task->arg_count++] = LLVMTypeOf(value);
}

static void collect_args(Task *task) {
  const Emit *around = task->around;
  const Kernel *kernel = around->kernel;
  Arena *arena = kernel->module->arena;
  bool *seen = NEW_ARRAY(arena, bool, kernel->reg_count);
  task->captured = NEW_ARRAY(arena, const Reg *, kernel->reg_count);
  task->outside = NEW_ARRAY(arena, bool, kernel->local_count);
  find_captured(task, seen, task->nest);
  find_outside(task, kernel->body);
  int room = kernel->param_count + kernel->local_count + task->captured_count + 4;
  task->args = NEW_ARRAY(arena, LLVMValueRef, room);
  task->types = NEW_ARRAY(arena, LLVMTypeRef, room);
  for (int i = 0; i < kernel->param_count; i++) add_arg(task, around->params[i].base);
  add_arg(task, around->dims.symbols);
  add_arg(task, around->memory);
  for (int i = 0; i < kernel->local_count; i++)
    if (task->outside[i]) add_arg(task, around->locals[i].base);
  for (int i = 0; i < task->captured_count; i++) add_arg(task, around->regs[task->captured[i]->id]);
}

/* ---- the function ---- */

static LLVMTypeRef i64_type(const Task *task) {
  return LLVMInt64TypeInContext(task->around->context);
}

static LLVMTypeRef pointer_type(const Task *task) {
  return LLVMPointerTypeInContext(task->around->context, 0);
}

static LLVMValueRef add_function(const Task *task, const char *suffix, LLVMTypeRef *types, unsigned count) {
  const Emit *around = task->around;
  size_t length;
  const char *name = arena_printf(around->kernel->module->arena, "%s.%s",
                                  LLVMGetValueName2(around->function, &length), suffix);
  LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(around->context), types, count, false);
  LLVMValueRef function = LLVMAddFunction(around->llvm, name, type);
  LLVMSetLinkage(function, LLVMInternalLinkage);
  llvm_function_attributes(function, around->machine, true);
  return function;
}

static LLVMValueRef declare_task(const Task *task) {
  const Kernel *kernel = task->around->kernel;
  task->types[task->arg_count] = task->types[task->arg_count + 1] = i64_type(task);
  LLVMValueRef function = add_function(task, "task", task->types, task->arg_count + 2);
  for (int i = 0; i < kernel->param_count; i++)
    llvm_param_attributes(task->around, function, (unsigned)i, kernel->params[i]);
  return function;
}

/* The places and registers of the function, from its arguments. */
static void take_args(Task *task) {
  Emit *emit = &task->emit;
  const Kernel *kernel = emit->kernel;
  unsigned next = 0;
  for (int i = 0; i < kernel->param_count; i++) emit->params[i].base = LLVMGetParam(emit->function, next++);
  emit->dims.symbols = LLVMGetParam(emit->function, next++);
  emit->memory = LLVMGetParam(emit->function, next++);
  for (int i = 0; i < kernel->local_count; i++)
    if (task->outside[i]) emit->locals[i].base = LLVMGetParam(emit->function, next++);
  for (int i = 0; i < task->captured_count; i++)
    emit->regs[task->captured[i]->id] = LLVMGetParam(emit->function, next++);
  emit->begin = LLVMGetParam(emit->function, next++);
  emit->end = LLVMGetParam(emit->function, next);
}

static LLVMValueRef define_task(Task *task) {
  Emit *emit = &task->emit;
  const Kernel *kernel = task->around->kernel;
  Arena *arena = kernel->module->arena;
  DimMemo memo = {.arena = arena};
  *emit = *task->around;
  emit->function = declare_task(task);
  emit->builder = LLVMCreateBuilderInContext(emit->context);
  emit->entry = LLVMCreateBuilderInContext(emit->context);
  emit->regs = arena_copy(arena, emit->regs, sizeof(LLVMValueRef) * (size_t)kernel->reg_count);
  emit->params = NEW_ARRAY(arena, Place, kernel->param_count);
  emit->locals = NEW_ARRAY(arena, Place, kernel->local_count);
  emit->views = NEW_ARRAY(arena, Place, kernel->view_count);
  emit->team = NULL;
  emit->dims.builder = emit->entry;
  emit->dims.memo = &memo;
  take_args(task);
  LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(emit->context, emit->function, "entry"),
                    body = llvm_new_block(emit);
  LLVMPositionBuilderAtEnd(emit->entry, entry);
  LLVMPositionBuilderAtEnd(emit->builder, body);
  emit_places(emit);
  emit_share(emit, task->nest);
  LLVMBuildRetVoid(emit->builder);
  LLVMBuildBr(emit->entry, body);
  LLVMDisposeBuilder(emit->builder);
  LLVMDisposeBuilder(emit->entry);
  return emit->function;
}

/* ---- calls ---- */

static LLVMTypeRef struct_type(const Task *task) {
  return LLVMStructTypeInContext(task->around->context, task->types, task->arg_count, false);
}

static void call_task(LLVMBuilderRef builder, LLVMValueRef function, LLVMValueRef *args, unsigned count) {
  LLVMBuildCall2(builder, LLVMGlobalGetValueType(function), function, args, count, "");
}

/* void NAME.part(struct *args, int64_t begin, int64_t end, void *memory) */
static LLVMValueRef define_part(const Task *task, LLVMValueRef function) {
  const Emit *around = task->around;
  unsigned memory = (unsigned)around->kernel->param_count + 1, count = task->arg_count;
  LLVMTypeRef types[] = {pointer_type(task), i64_type(task), i64_type(task), pointer_type(task)};
  LLVMValueRef part = add_function(task, "part", types, 4);
  LLVMValueRef *args = NEW_ARRAY(around->kernel->module->arena, LLVMValueRef, count + 2);
  LLVMBuilderRef builder = LLVMCreateBuilderInContext(around->context);
  LLVMPositionBuilderAtEnd(builder, LLVMAppendBasicBlockInContext(around->context, part, ""));
  for (unsigned i = 0; i < count; i++) {
    LLVMValueRef at = LLVMBuildStructGEP2(builder, struct_type(task), LLVMGetParam(part, 0), i, "");
    args[i] = i == memory ? LLVMGetParam(part, 3) : LLVMBuildLoad2(builder, task->types[i], at, "");
  }
  args[count] = LLVMGetParam(part, 1);
  args[count + 1] = LLVMGetParam(part, 2);
  call_task(builder, function, args, count + 2);
  LLVMBuildRetVoid(builder);
  LLVMDisposeBuilder(builder);
  return part;
}

/* tenon_runtime_parallel(team, size, part, args, memory) */
static void call_parallel(const Task *task, LLVMValueRef size, LLVMValueRef part) {
  const Emit *around = task->around;
  LLVMTypeRef pointer = pointer_type(task), types[] = {pointer, i64_type(task), pointer, pointer, pointer};
  LLVMValueRef function = LLVMGetNamedFunction(around->llvm, "tenon_runtime_parallel");
  if (!function) {
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(around->context), types, 5, false);
    function = LLVMAddFunction(around->llvm, "tenon_runtime_parallel", type);
  }
  LLVMValueRef args = LLVMBuildAlloca(around->entry, struct_type(task), "args");
  for (unsigned i = 0; i < task->arg_count; i++)
    LLVMBuildStore(around->builder, task->args[i],
                   LLVMBuildStructGEP2(around->builder, struct_type(task), args, i, ""));
  LLVMValueRef values[] = {around->team, size, part, args, around->memory};
  call_task(around->builder, function, values, 5);
}

/* if (team) the parts, else all of it */
static void call_either(const Task *task, LLVMValueRef size, LLVMValueRef function, LLVMValueRef part) {
  const Emit *around = task->around;
  LLVMBuilderRef builder = around->builder;
  LLVMBasicBlockRef alone = llvm_new_block(around), together = llvm_new_block(around),
                    after = llvm_new_block(around);
  LLVMBuildCondBr(builder, LLVMBuildIsNull(builder, around->team, ""), alone, together);
  LLVMPositionBuilderAtEnd(builder, alone);
  LLVMValueRef *args = NEW_ARRAY(around->kernel->module->arena, LLVMValueRef, task->arg_count + 2);
  memcpy(args, task->args, sizeof *args * task->arg_count);
  args[task->arg_count] = llvm_i64(around, 0);
  args[task->arg_count + 1] = llvm_i64(around, INT64_MAX);
  call_task(builder, function, args, task->arg_count + 2);
  LLVMBuildBr(builder, after);
  LLVMPositionBuilderAtEnd(builder, together);
  call_parallel(task, size, part);
  LLVMBuildBr(builder, after);
  LLVMPositionBuilderAtEnd(builder, after);
}

bool emit_task(Emit *emit, const Instr *nest) {
  if (!emit->team || !instr_has_effect(nest)) return false;
  Task task = {.around = emit, .nest = nest};
  task.inside = NEW_ARRAY(emit->kernel->module->arena, bool, emit->kernel->reg_count);
  nest_mark_inside(nest, task.inside);
  emit->inside = task.inside;
  LLVMValueRef size = nest_size(emit, nest);
  if (LLVMIsAConstantInt(size) && LLVMConstIntGetSExtValue(size) < 2 * emit->machine->task_ticks)
    return false;
  collect_args(&task);
  LLVMValueRef function = define_task(&task), part = define_part(&task, function);
  call_either(&task, size, function, part);
  return true;
}
