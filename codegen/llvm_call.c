/*
 * llvm_call.c -- calls of the runtime's functions (runtime/kernels/kernels.h): views and numbers are structs
 * on the stack, filled in the function's first block but for the addresses.
 */
#include "codegen/llvm.h"

static LLVMTypeRef i64_type(const Emit *emit) {
  return LLVMInt64TypeInContext(emit->context);
}

static LLVMTypeRef pointer_type(const Emit *emit) {
  return LLVMPointerTypeInContext(emit->context, 0);
}

enum { VIEW_DATA, VIEW_DTYPE, VIEW_RANK, VIEW_SIZES, VIEW_STRIDES, VIEW_FIELDS };

/* struct View of kernels.h */
static LLVMTypeRef view_type(const Emit *emit) {
  LLVMTypeRef i32 = LLVMInt32TypeInContext(emit->context), list = LLVMArrayType2(i64_type(emit), MAX_RANK);
  LLVMTypeRef fields[VIEW_FIELDS] = {pointer_type(emit), i32, i32, list, list};
  return LLVMStructTypeInContext(emit->context, fields, VIEW_FIELDS, false);
}

/* Of view number `view`, its field, or an entry of that. */
static LLVMValueRef field(const Emit *emit, LLVMValueRef views, int view, int number, int entry) {
  LLVMTypeRef i32 = LLVMInt32TypeInContext(emit->context);
  LLVMValueRef path[] = {llvm_int(i32, view), llvm_int(i32, number), llvm_int(i32, entry)};
  unsigned depth = number == VIEW_SIZES || number == VIEW_STRIDES ? 3 : 2;
  return LLVMBuildGEP2(emit->entry, view_type(emit), views, path, depth, "");
}

static void fill_view(Emit *emit, LLVMValueRef views, const Call *call, int view) {
  LLVMTypeRef i32 = LLVMInt32TypeInContext(emit->context);
  const Buffer *buffer = call->buffers[view];
  int rank = 0;
  for (int axis = 0; axis < buffer->rank; axis++) {
    if (call->fixed[view] >> axis & 1) continue;
    LLVMValueRef size = emit_entry_dim(emit, buffer->dims[axis]);
    LLVMBuildStore(emit->entry, size, field(emit, views, view, VIEW_SIZES, rank));
    LLVMBuildStore(emit->entry, emit_place(emit, buffer)->strides[axis],
                   field(emit, views, view, VIEW_STRIDES, rank));
    rank++;
  }
  LLVMBuildStore(emit->entry, llvm_int(i32, (int64_t)buffer->dtype), field(emit, views, view, VIEW_DTYPE, 0));
  LLVMBuildStore(emit->entry, llvm_int(i32, rank), field(emit, views, view, VIEW_RANK, 0));
}

/* The address of a view's first element; *arg: the next argument of the call. */
static LLVMValueRef view_data(const Emit *emit, const Instr *instr, int view, int *arg) {
  const Buffer *buffer = instr->call->buffers[view];
  const Place *place = emit_place(emit, buffer);
  LLVMValueRef at = place->base;
  for (int axis = 0; axis < buffer->rank; axis++) {
    if (!(instr->call->fixed[view] >> axis & 1)) continue;
    LLVMValueRef offset =
        LLVMBuildMul(emit->builder, llvm_arg(emit, instr, (*arg)++), place->strides[axis], "");
    at = LLVMBuildGEP2(emit->builder, LLVMInt8TypeInContext(emit->context), at, &offset, 1, "");
  }
  return at;
}

static LLVMValueRef build_numbers(const Emit *emit, const Call *call) {
  LLVMTypeRef type = LLVMArrayType2(i64_type(emit), MAX_NUMBERS);
  LLVMValueRef values[MAX_NUMBERS];
  for (int i = 0; i < MAX_NUMBERS; i++) values[i] = llvm_i64(emit, call->numbers[i]);
  LLVMValueRef numbers = LLVMBuildAlloca(emit->entry, type, "numbers");
  LLVMBuildStore(emit->entry, LLVMConstArray2(i64_type(emit), values, MAX_NUMBERS), numbers);
  return numbers;
}

static LLVMValueRef find_function(const Emit *emit, const char *name) {
  char symbol[80];
  snprintf(symbol, sizeof symbol, "tenon_kernel_%s", name);
  LLVMValueRef function = LLVMGetNamedFunction(emit->llvm, symbol);
  if (function) return function;
  LLVMTypeRef types[] = {pointer_type(emit), pointer_type(emit)};
  LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(emit->context), types, 2, false);
  return LLVMAddFunction(emit->llvm, symbol, type);
}

LLVMValueRef emit_call(Emit *emit, const Instr *instr) {
  const Call *call = instr->call;
  int count = call->callee->view_count, arg = 0;
  LLVMTypeRef type = LLVMArrayType2(view_type(emit), (uint64_t)count);
  LLVMValueRef views = LLVMBuildAlloca(emit->entry, type, "views");
  for (int i = 0; i < count; i++) {
    fill_view(emit, views, call, i);
    LLVMBuildStore(emit->builder, view_data(emit, instr, i, &arg), field(emit, views, i, VIEW_DATA, 0));
  }
  LLVMValueRef function = find_function(emit, call->callee->name);
  LLVMValueRef args[] = {views, build_numbers(emit, call)};
  LLVMBuildCall2(emit->builder, LLVMGlobalGetValueType(function), function, args, 2, "");
  return NULL;
}
