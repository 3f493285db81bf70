/*
 * library.c -- a program as an LLVM module: its kernels, the function that calls them in order, and
 * everything that runtime/model.h says a model must have.
 *
 * The functions here are compiled for the oldest processor of the family, only kernels for the targets, so
 * that a lesser processor gets as far as being refused. With several targets kernels are called through the
 * table of those for this processor (runtime/cpu.c); everything else is there once. Weights come from an
 * object of their own or through .incbin: they never become LLVM constants.
 */
#include "codegen/library_parts.h"
#include "codegen/math.h"
#include "codegen/parts.h"

#include "runtime/model.h"

#include <assert.h>
#include <string.h>

/* ---- small constants ---- */

LLVMValueRef int32(const Library *library, int64_t value) {
  return LLVMConstInt(library->i32, (unsigned long long)value, true);
}

LLVMValueRef int64(const Library *library, int64_t value) {
  return LLVMConstInt(library->i64, (unsigned long long)value, true);
}

LLVMValueRef constant_global(const Library *library, const char *name, LLVMValueRef value) {
  LLVMValueRef global = LLVMAddGlobal(library->llvm, LLVMTypeOf(value), name);
  LLVMSetInitializer(global, value);
  LLVMSetGlobalConstant(global, true);
  LLVMSetLinkage(global, *name ? LLVMInternalLinkage : LLVMPrivateLinkage);
  return global;
}

LLVMValueRef string(const Library *library, const char *text) {
  if (!text) text = "";
  LLVMValueRef value = LLVMConstStringInContext(library->context, text, (unsigned)strlen(text), false);
  LLVMValueRef global = constant_global(library, "", value);
  LLVMSetUnnamedAddress(global, LLVMGlobalUnnamedAddr);
  return global;
}

LLVMValueRef structure(const Library *library, LLVMValueRef *fields, int count) {
  return LLVMConstStructInContext(library->context, fields, (unsigned)count, false);
}

static LLVMValueRef pointer_array(const Library *library, LLVMValueRef *values, int count) {
  if (count == 0) return LLVMConstNull(library->pointer);
  return constant_global(library, "", LLVMConstArray2(library->pointer, values, (uint64_t)count));
}

/* ---- functions ---- */

LLVMValueRef declare(const Library *library, const char *name, LLVMTypeRef result, LLVMTypeRef *types,
                     int count) {
  LLVMValueRef function = LLVMGetNamedFunction(library->llvm, name);
  if (function) return function;
  function = LLVMAddFunction(library->llvm, name, LLVMFunctionType(result, types, (unsigned)count, false));
  llvm_function_attributes(function, library->machines, false);
  return function;
}

LLVMValueRef define(const Library *library, const char *name, LLVMTypeRef result, LLVMTypeRef *types,
                    int count) {
  LLVMValueRef function = declare(library, name, result, types, count);
  LLVMPositionBuilderAtEnd(library->builder, LLVMAppendBasicBlockInContext(library->context, function, ""));
  return function;
}

LLVMValueRef call(const Library *library, LLVMValueRef function, LLVMValueRef *args, int count) {
  return LLVMBuildCall2(library->builder, LLVMGlobalGetValueType(function), function, args, (unsigned)count,
                        "");
}

DimCode dim_code(const Library *library, LLVMValueRef symbols) {
  const Program *program = library->program;
  return (DimCode){library->context,
                   library->llvm,
                   library->builder,
                   symbols,
                   program->symbols,
                   program->symbol_count,
                   NULL,
                   true};
}

LLVMValueRef element_pointer(const Library *library, LLVMTypeRef type, LLVMValueRef base, int64_t index) {
  LLVMValueRef at = int64(library, index);
  return LLVMBuildGEP2(library->builder, type, base, &at, 1, "");
}

LLVMValueRef byte_pointer(const Library *library, LLVMValueRef base, LLVMValueRef offset) {
  return LLVMBuildGEP2(library->builder, library->i8, base, &offset, 1, "");
}

/* ---- sizes ---- */

/* UINT64_MAX when it is out of all proportion; a plain number when no symbol matters. */
static void define_scratch_size(const Library *library) {
  const Program *program = library->program;
  LLVMValueRef function =
      define(library, "tenon_model_scratch_size", library->i64, (LLVMTypeRef[]){library->pointer}, 1);
  DimCode code = dim_code(library, LLVMGetParam(function, 0));
  DimMemo memo = {.arena = library->module->arena};
  code.memo = &memo;
  LLVMValueRef largest = int64(library, 0);
  for (int i = 0; i < program->scratch_count; i++) {
    LLVMValueRef size = llvm_dim(&code, program->scratch[i]);
    LLVMValueRef more = LLVMBuildICmp(library->builder, LLVMIntUGT, size, largest, "");
    largest = LLVMBuildSelect(library->builder, more, size, largest, "");
  }
  largest = LLVMBuildAdd(library->builder, largest, int64(library, program->local_bytes), "");
  LLVMValueRef sane = LLVMBuildICmp(library->builder, LLVMIntULT, largest, int64(library, INT64_MAX / 2), "");
  LLVMBuildRet(library->builder, LLVMBuildSelect(library->builder, sane, largest, int64(library, -1), ""));
}

LLVMValueRef guard_holds(const Library *library, const DimCode *code, const Guard *guard) {
  LLVMBuilderRef builder = library->builder;
  LLVMValueRef a = llvm_dim(code, guard->a), b = guard->b ? llvm_dim(code, guard->b) : NULL,
               one = int64(library, 1);
  switch (guard->kind) {
  case GUARD_NOT_NEGATIVE: return LLVMBuildICmp(builder, LLVMIntSGE, a, int64(library, 0), "");
  case GUARD_POSITIVE: return LLVMBuildICmp(builder, LLVMIntSGT, a, int64(library, 0), "");
  case GUARD_BYTES: return LLVMBuildICmp(builder, LLVMIntSLE, a, int64(library, (int64_t)1 << 46), "");
  case GUARD_EQUAL: return LLVMBuildICmp(builder, LLVMIntEQ, a, b, "");
  case GUARD_AT_MOST: return LLVMBuildICmp(builder, LLVMIntSLE, a, b, "");
  case GUARD_SOURCE:
    return LLVMBuildOr(builder, LLVMBuildICmp(builder, LLVMIntSGT, a, int64(library, 0), ""),
                       LLVMBuildICmp(builder, LLVMIntEQ, b, int64(library, 0), ""), "");
  default: break;
  }
  LLVMValueRef equal = LLVMBuildICmp(builder, LLVMIntEQ, a, b, ""),
               a_is_one = LLVMBuildICmp(builder, LLVMIntEQ, a, one, "");
  if (guard->kind == GUARD_SPREADS) return LLVMBuildOr(builder, equal, a_is_one, "");
  LLVMValueRef either = LLVMBuildOr(builder, a_is_one, LLVMBuildICmp(builder, LLVMIntEQ, b, one, ""), "");
  return LLVMBuildOr(builder, equal, either, "");
}

/* The first guard that does not hold. */
static void define_guard(const Library *library) {
  const Program *program = library->program;
  LLVMValueRef function =
      define(library, "tenon_model_guard", library->i32, (LLVMTypeRef[]){library->pointer}, 1);
  DimCode code = dim_code(library, LLVMGetParam(function, 0));
  DimMemo memo = {.arena = library->module->arena};
  code.memo = &memo;
  for (int i = 0; i < program->guard_count; i++) {
    if (program->guards[i].node) continue; /* checked when its sizes are known */
    LLVMBasicBlockRef refuse = LLVMAppendBasicBlockInContext(library->context, function, "");
    LLVMBasicBlockRef next = LLVMAppendBasicBlockInContext(library->context, function, "");
    LLVMBuildCondBr(library->builder, guard_holds(library, &code, &program->guards[i]), next, refuse);
    LLVMPositionBuilderAtEnd(library->builder, refuse);
    LLVMBuildRet(library->builder, int32(library, TENON_ERROR_GUARD + 256 * i));
    LLVMPositionBuilderAtEnd(library->builder, next);
  }
  LLVMBuildRet(library->builder, int32(library, 0));
}

/* void name(uint32_t index, const int64_t *symbols, int64_t *dims): the sizes of one of several types. */
static void define_dims(const Library *library, const char *name, int count,
                        const Type *(*type_at)(const Graph *, int)) {
  LLVMTypeRef types[] = {library->i32, library->pointer, library->pointer};
  LLVMValueRef function = define(library, name, library->nothing, types, 3);
  DimCode code = dim_code(library, LLVMGetParam(function, 1));
  LLVMBasicBlockRef done = LLVMAppendBasicBlockInContext(library->context, function, "");
  LLVMValueRef choice = LLVMBuildSwitch(library->builder, LLVMGetParam(function, 0), done, (unsigned)count);
  for (int i = 0; i < count; i++) {
    const Type *type = type_at(library->program->graph, i);
    LLVMBasicBlockRef block = LLVMAppendBasicBlockInContext(library->context, function, "");
    LLVMAddCase(choice, int32(library, i), block);
    LLVMPositionBuilderAtEnd(library->builder, block);
    for (int axis = 0; type_is_tensor(type) && axis < type->rank; axis++)
      LLVMBuildStore(library->builder, llvm_dim(&code, type->dims[axis]),
                     element_pointer(library, library->i64, LLVMGetParam(function, 2), axis));
    LLVMBuildBr(library->builder, done);
  }
  LLVMPositionBuilderAtEnd(library->builder, done);
  LLVMBuildRetVoid(library->builder);
}

static const Type *input_type(const Graph *graph, int index) {
  return graph->inputs[index]->type;
}

static const Type *output_type(const Graph *graph, int index) {
  return graph_output(graph, index)->type;
}

static void define_macs(const Library *library) {
  const Program *program = library->program;
  LLVMTypeRef types[] = {library->pointer, library->pointer};
  LLVMValueRef function = define(library, "tenon_model_kernel_macs", library->nothing, types, 2);
  DimCode code = dim_code(library, LLVMGetParam(function, 0));
  DimMemo memo = {.arena = library->module->arena};
  code.memo = &memo;
  for (int i = 0; i < program->step_count; i++)
    LLVMBuildStore(library->builder,
                   program_knows(program, program->steps[i].macs) ? llvm_dim(&code, program->steps[i].macs)
                                                                  : int64(library, 0),
                   element_pointer(library, library->i64, LLVMGetParam(function, 1), i));
  LLVMBuildRetVoid(library->builder);
}

/* ---- the run ---- */

/* Of tenon_model_run; tenon_model_prepare has the state only. */
enum { ARG_STATE, ARG_SYMBOLS, ARG_INPUTS, ARG_OUTPUTS, ARG_SCRATCH, ARG_PROFILE, ARG_TEAM, RUN_ARGS };

static LLVMValueRef *load_pointers(const Library *library, LLVMValueRef from, int count) {
  LLVMValueRef *pointers = NEW_ARRAY(library->module->arena, LLVMValueRef, count);
  for (int i = 0; i < count; i++)
    pointers[i] = LLVMBuildLoad2(library->builder, library->pointer,
                                 element_pointer(library, library->pointer, from, i), "");
  return pointers;
}

static LLVMValueRef string_table(const Library *library, int number) {
  const Data *data = library->program->tables[number];
  LLVMValueRef *table = &library->tables[number];
  if (*table || data->count == 0) return *table;
  LLVMValueRef *texts = NEW_ARRAY(library->module->arena, LLVMValueRef, data->count),
               splat = data->splat ? string(library, data_string(data, 0)) : NULL;
  for (int64_t i = 0; i < data->count; i++) texts[i] = splat ? splat : string(library, data_string(data, i));
  *table = constant_global(library, "", LLVMConstArray2(library->pointer, texts, (uint64_t)data->count));
  LLVMSetAlignment(*table, 64);
  return *table;
}

static LLVMValueRef memory(const Library *library, const Run *run, const Location *location) {
  switch (location->kind) {
  case IN_INPUT: return run->inputs[location->index];
  case IN_OUTPUT: return run->outputs[location->index];
  case IN_WEIGHTS: return library->weights;
  case IN_STRINGS: return string_table(library, location->index);
  case IN_STATE: return run->state;
  case IN_ITEM:
    return LLVMBuildLoad2(library->builder, library->pointer,
                          item_pointer(library, run->items, location->index), "");
  default: return run->planned;
  }
}

LLVMValueRef address(const Library *library, const Run *run, const Location *location) {
  LLVMValueRef base = memory(library, run, location);
  if (!base) return LLVMConstNull(library->pointer); /* weights, of constants without elements only */
  if (dim_is(location->offset, 0)) return base;
  return byte_pointer(library, base, llvm_dim(&run->dims, location->offset));
}

void profile_step(const Library *library, const Run *run, int number) {
  LLVMBuilderRef builder = library->builder;
  LLVMValueRef profile = run->profile;
  LLVMBasicBlockRef count = LLVMAppendBasicBlockInContext(library->context, run->function, "");
  LLVMBasicBlockRef next = LLVMAppendBasicBlockInContext(library->context, run->function, "");
  LLVMBuildCondBr(builder, LLVMBuildIsNull(builder, profile, ""), next, count);
  LLVMPositionBuilderAtEnd(builder, count);
  LLVMTypeRef types[] = {library->pointer, library->i32};
  LLVMValueRef step = LLVMBuildLoad2(builder, library->pointer, profile, ""),
               args[] = {profile, int32(library, number)};
  LLVMBuildCall2(builder, LLVMFunctionType(library->nothing, types, 2, false), step, args, 2, "");
  LLVMBuildBr(builder, next);
  LLVMPositionBuilderAtEnd(builder, next);
}

/* struct Cpu */
static LLVMTypeRef cpu_type(const Library *library) {
  LLVMTypeRef types[] = {library->pointer, library->i64, library->pointer};
  return LLVMStructTypeInContext(library->context, types, 3, false);
}

/* tenon_runtime_cpu()->kernels */
LLVMValueRef chosen_kernels(const Library *library) {
  if (library->program->target_count == 1) return NULL;
  LLVMValueRef cpu = call(library, declare(library, "tenon_runtime_cpu", library->pointer, NULL, 0), NULL, 0);
  LLVMValueRef at = LLVMBuildStructGEP2(library->builder, cpu_type(library), cpu, 2, "");
  return LLVMBuildLoad2(library->builder, library->pointer, at, "");
}

void call_kernel(const Library *library, const Run *run, const Step *step) {
  LLVMValueRef kernel = library->kernels[step->code];
  LLVMTypeRef type = LLVMGlobalGetValueType(kernel);
  if (run->kernels)
    kernel = LLVMBuildLoad2(library->builder, library->pointer,
                            element_pointer(library, library->pointer, run->kernels, step->code), "");
  int count = library->program->codes[step->code].kernels[0]->param_count;
  LLVMValueRef *args = NEW_ARRAY(library->module->arena, LLVMValueRef, count + KERNEL_EXTRAS);
  for (int i = 0; i < count; i++) args[i] = address(library, run, &step->args[i]);
  args[count + KERNEL_SYMBOLS] = run->dims.symbols;
  args[count + KERNEL_TEAM] = run->team;
  args[count + KERNEL_MEMORY] = run->locals;
  LLVMBuildCall2(library->builder, type, kernel, args, (unsigned)(count + KERNEL_EXTRAS), "");
}

static void emit_copy(const Library *library, const Run *run, const Copy *copy) {
  LLVMBuildMemCpy(library->builder, address(library, run, &copy->to), 1, address(library, run, &copy->from),
                  1, llvm_dim(&run->dims, copy->bytes));
}

static void define_run(const Library *library) {
  const Program *program = library->program;
  LLVMTypeRef types[RUN_ARGS];
  for (int i = 0; i < RUN_ARGS; i++) types[i] = library->pointer;
  Run run = {.function = define(library, "tenon_model_run", library->nothing, types, RUN_ARGS)};
  if (program->is_dynamic) {
    LLVMBuildRetVoid(library->builder); /* never called */
    return;
  }
  run.dims = dim_code(library, LLVMGetParam(run.function, ARG_SYMBOLS));
  DimMemo memo = {.arena = library->module->arena};
  run.dims.memo = &memo;     /* nothing is computed inside the branches of profile_step */
  run.dims.saturate = false; /* the guards have passed */
  run.state = LLVMGetParam(run.function, ARG_STATE);
  run.profile = LLVMGetParam(run.function, ARG_PROFILE);
  run.team = LLVMGetParam(run.function, ARG_TEAM);
  run.locals = LLVMGetParam(run.function, ARG_SCRATCH);
  run.planned = byte_pointer(library, run.locals, int64(library, program->local_bytes));
  run.kernels = chosen_kernels(library);
  run.inputs = load_pointers(library, LLVMGetParam(run.function, ARG_INPUTS), program->input_count);
  run.outputs = load_pointers(library, LLVMGetParam(run.function, ARG_OUTPUTS), program->output_count);
  for (int i = 0; i < program->step_count; i++) {
    call_kernel(library, &run, &program->steps[i]);
    profile_step(library, &run, i);
  }
  for (int i = 0; i < program->copy_count; i++) emit_copy(library, &run, &program->copies[i]);
  LLVMBuildRetVoid(library->builder);
}

static void define_prepare(const Library *library) {
  const Program *program = library->program;
  Run run = {.function = define(library, "tenon_model_prepare", library->nothing,
                                (LLVMTypeRef[]){library->pointer}, 1)};
  run.dims = dim_code(library, LLVMConstNull(library->pointer));
  run.state = LLVMGetParam(run.function, ARG_STATE);
  run.team = run.locals = LLVMConstNull(library->pointer);
  if (program->start_count > 0) run.kernels = chosen_kernels(library);
  for (int i = 0; i < program->start_count; i++) call_kernel(library, &run, &program->starts[i]);
  LLVMBuildRetVoid(library->builder);
}

/* ---- the table ---- */

uint32_t dtype_number(Dtype dtype) {
  static const uint32_t numbers[DTYPE_COUNT] = {
      [DTYPE_BOOL] = TENON_BOOL,
      [DTYPE_I2] = TENON_I2,
      [DTYPE_I4] = TENON_I4,
      [DTYPE_I8] = TENON_I8,
      [DTYPE_I16] = TENON_I16,
      [DTYPE_I32] = TENON_I32,
      [DTYPE_I64] = TENON_I64,
      [DTYPE_U2] = TENON_U2,
      [DTYPE_U4] = TENON_U4,
      [DTYPE_U8] = TENON_U8,
      [DTYPE_U16] = TENON_U16,
      [DTYPE_U32] = TENON_U32,
      [DTYPE_U64] = TENON_U64,
      [DTYPE_F16] = TENON_F16,
      [DTYPE_BF16] = TENON_BF16,
      [DTYPE_F32] = TENON_F32,
      [DTYPE_F64] = TENON_F64,
      [DTYPE_F8E4M3FN] = TENON_F8E4M3FN,
      [DTYPE_F8E4M3FNUZ] = TENON_F8E4M3FNUZ,
      [DTYPE_F8E5M2] = TENON_F8E5M2,
      [DTYPE_F8E5M2FNUZ] = TENON_F8E5M2FNUZ,
      [DTYPE_F8E8M0] = TENON_F8E8M0,
      [DTYPE_F4E2M1] = TENON_F4E2M1,
      [DTYPE_C64] = TENON_C64,
      [DTYPE_C128] = TENON_C128,
      [DTYPE_STRING] = TENON_STRING,
  };
  return numbers[dtype];
}

/* With the bits of its form. */
static uint32_t type_number(const Type *type) {
  static const uint32_t bits[] = {0, TENON_SEQUENCE, TENON_OPTIONAL, TENON_OPTIONAL | TENON_SEQUENCE};
  return dtype_number(type->dtype) | bits[type->form];
}

/* struct tenon_tensor_info */
static LLVMValueRef tensor_info(const Library *library, const char *name, const Type *type) {
  LLVMValueRef dims[MAX_RANK];
  int rank = type_is_tensor(type) ? type->rank : 0;
  for (int axis = 0; axis < rank; axis++) {
    bool known = dim_is_const(type->dims[axis]);
    LLVMValueRef symbol = known ? LLVMConstNull(library->pointer)
                                : string(library, dim_text(library->module, type->dims[axis]));
    LLVMValueRef fields[] = {int64(library, known ? type->dims[axis]->value : -1), symbol};
    dims[axis] = structure(library, fields, 2);
  }
  LLVMValueRef list = LLVMConstNull(library->pointer);
  if (rank > 0)
    list = constant_global(library, "", LLVMConstArray2(LLVMTypeOf(dims[0]), dims, (uint64_t)rank));
  LLVMValueRef fields[] = {string(library, name), list, int32(library, type_number(type)),
                           int32(library, type_is_tensor(type) ? rank : (int64_t)TENON_ANY_RANK)};
  return constant_global(library, "", structure(library, fields, COUNT_OF(fields)));
}

/* Of the inputs of the graph from number `first` on: those of the caller, or the states. */
static LLVMValueRef input_infos(const Library *library, int first, int count) {
  const Graph *graph = library->program->graph;
  LLVMValueRef *infos = NEW_ARRAY(library->module->arena, LLVMValueRef, count);
  for (int i = 0; i < count; i++)
    infos[i] = tensor_info(library, graph->inputs[first + i]->name, graph->inputs[first + i]->type);
  return pointer_array(library, infos, count);
}

static LLVMValueRef output_infos(const Library *library) {
  const Graph *graph = library->program->graph;
  int count = library->program->output_count;
  LLVMValueRef *infos = NEW_ARRAY(library->module->arena, LLVMValueRef, count);
  for (int i = 0; i < count; i++)
    infos[i] = tensor_info(library, graph->output_names[i], output_type(graph, i));
  return pointer_array(library, infos, count);
}

/* struct tenon_kernel_info */
static LLVMValueRef kernel_infos(const Library *library) {
  const Program *program = library->program;
  LLVMValueRef *infos = NEW_ARRAY(library->module->arena, LLVMValueRef, program->step_count);
  for (int i = 0; i < program->step_count; i++) {
    const Step *step = &program->steps[i];
    LLVMValueRef fields[] = {string(library, program->codes[step->code].name),
                             string(library, step->node->origin),
                             int64(library, dim_is_const(step->macs) ? step->macs->value : -1)};
    infos[i] = constant_global(library, "", structure(library, fields, COUNT_OF(fields)));
  }
  return pointer_array(library, infos, program->step_count);
}

static LLVMValueRef symbol_names(const Library *library) {
  const Program *program = library->program;
  int count = program->input_symbol_count;
  LLVMValueRef *names = NEW_ARRAY(library->module->arena, LLVMValueRef, count);
  for (int i = 0; i < count; i++) names[i] = string(library, program->symbols[i]);
  return pointer_array(library, names, count);
}

static LLVMValueRef guard_texts(const Library *library) {
  const Program *program = library->program;
  LLVMValueRef *texts = NEW_ARRAY(library->module->arena, LLVMValueRef, program->guard_count);
  for (int i = 0; i < program->guard_count; i++) texts[i] = string(library, program->guards[i].text);
  return pointer_array(library, texts, program->guard_count);
}

/* A function of this module or of the runtime that is linked in later; its type does not matter for its
 * address. */
static LLVMValueRef function_named(const Library *library, const char *name) {
  return declare(library, name, library->nothing, NULL, 0);
}

static void define_number(const Library *library, const char *name, int64_t value) {
  LLVMSetLinkage(constant_global(library, name, int64(library, value)), LLVMExternalLinkage);
}

static void define_cpus(const Library *library) {
  const Program *program = library->program;
  int count = program->target_count, codes = program->code_count;
  LLVMValueRef *cpus = NEW_ARRAY(library->module->arena, LLVMValueRef, count);
  for (int t = 0; t < count; t++) {
    LLVMValueRef fields[] = {
        string(library, library->machines[t].target->cpu),
        int64(library, (int64_t)library->machines[t].features),
        pointer_array(library, &library->kernels[(size_t)t * (size_t)codes], count > 1 ? codes : 0)};
    cpus[t] = structure(library, fields, COUNT_OF(fields));
  }
  LLVMSetLinkage(
      constant_global(library, "tenon_model_cpus", LLVMConstArray2(cpu_type(library), cpus, (uint64_t)count)),
      LLVMExternalLinkage);
  define_number(library, "tenon_model_cpu_count", count);
}

static int symbol_number(const Program *program, const Dim *dim) {
  for (int i = 0; dim->kind == DIM_SYMBOL && i < program->symbol_count; i++)
    if (strcmp(program->symbols[i], dim->symbol) == 0) return i;
  return -1;
}

/* struct State */
static LLVMValueRef state_info(const Library *library, int index) {
  const Program *program = library->program;
  const Graph *graph = program->graph;
  const Value *state = graph_state(graph, index);
  LLVMValueRef symbols[MAX_RANK];
  for (int axis = 0; axis < state->type->rank; axis++)
    symbols[axis] = int64(library, symbol_number(program, state->type->dims[axis]));
  LLVMValueRef numbers = LLVMConstArray2(library->i64, symbols, (uint64_t)state->type->rank);
  LLVMValueRef fields[] = {
      tensor_info(library, state->name, graph->rooms[index]), int64(library, program->states[index].offset),
      int64(library, program->states[index].in_room), constant_global(library, "", numbers)};
  return structure(library, fields, COUNT_OF(fields));
}

/* tenon_model_states */
static void define_states(const Library *library) {
  int count = library->program->graph->state_count;
  LLVMTypeRef types[] = {library->pointer, library->i64, library->i64, library->pointer},
              type = LLVMStructTypeInContext(library->context, types, 4, false);
  LLVMValueRef *states = NEW_ARRAY(library->module->arena, LLVMValueRef, count);
  for (int i = 0; i < count; i++) states[i] = state_info(library, i);
  LLVMSetLinkage(
      constant_global(library, "tenon_model_states", LLVMConstArray2(type, states, (uint64_t)count)),
      LLVMExternalLinkage);
}

static void define_bindings(const Library *library) {
  const Program *program = library->program;
  LLVMTypeRef types[] = {library->i32, library->i32},
              type = LLVMStructTypeInContext(library->context, types, 2, false);
  LLVMValueRef *bindings = NEW_ARRAY(library->module->arena, LLVMValueRef, program->input_symbol_count);
  for (int i = 0; i < program->input_symbol_count; i++) {
    LLVMValueRef fields[] = {int32(library, program->sources[i].input),
                             int32(library, program->sources[i].axis)};
    bindings[i] = structure(library, fields, 2);
  }
  LLVMValueRef list = constant_global(library, "tenon_model_bindings",
                                      LLVMConstArray2(type, bindings, (uint64_t)program->input_symbol_count));
  define_number(library, "tenon_model_state_size", program->state_bytes);
  define_number(library, "tenon_model_start_weight_bytes", program->weight_bytes - program->run_weight_bytes);
  LLVMValueRef start = LLVMConstNull(library->pointer);
  LLVMValueRef offset = int64(library, program->run_weight_bytes);
  if (library->weights) start = LLVMConstInBoundsGEP2(library->i8, library->weights, &offset, 1);
  LLVMSetLinkage(constant_global(library, "tenon_model_start_weights", start), LLVMExternalLinkage);
  define_number(library, "tenon_model_local_bytes", program->local_bytes);
  define_number(library, "tenon_model_task_ticks", library->machines->task_ticks);
  LLVMSetLinkage(list, LLVMExternalLinkage); /* until object_prepare has linked the runtime */
}

/* struct tenon_library, member by member. */
static void define_table(const Library *library) {
  const Program *program = library->program;
  const Graph *graph = program->graph;
  const Target *target = library->machines->target;
  LLVMValueRef fields[] = {
      int32(library, sizeof(tenon_library)),
      int32(library, TENON_ABI_VERSION),
      string(library, program->options->name),
      string(library, target->triple),
      string(library, target_cpus(library->module, target)),
      string(library, target->features),
      string(library, program->options->source),
      string(library, program->module->producer),
      string(library, TENON_VERSION),
      int32(library, program->input_count),
      int32(library, program->output_count),
      int32(library, program->input_symbol_count),
      int32(library, program->step_count),
      int32(library, program->guard_count),
      int32(library, graph->state_count),
      input_infos(library, 0, program->input_count),
      output_infos(library),
      symbol_names(library),
      kernel_infos(library),
      guard_texts(library),
      int64(library, program->weight_bytes),
      function_named(library, "tenon_runtime_error_text"),
      function_named(library, "tenon_runtime_state_size"),
      function_named(library, "tenon_model_scratch_size"),
      function_named(library, "tenon_runtime_prepare"),
      function_named(library, "tenon_runtime_run"),
      function_named(library, "tenon_model_output_dims"),
      function_named(library, "tenon_model_kernel_macs"),
      function_named(library, "tenon_runtime_session_open"),
      function_named(library, "tenon_runtime_session_run"),
      function_named(library, "tenon_runtime_session_close"),
      function_named(library, "tenon_runtime_session_error"),
      function_named(library, "tenon_runtime_session_set_threads"),
      function_named(library, "tenon_runtime_session_set_profile"),
      function_named(library, "tenon_runtime_session_profile"),
      function_named(library, "tenon_runtime_cpu_name"),
      input_infos(library, program->input_count, graph->state_count),
      function_named(library, "tenon_runtime_session_reset"),
      function_named(library, "tenon_runtime_session_get_state"),
      function_named(library, "tenon_runtime_session_set_state"),
  };
  LLVMValueRef table =
      constant_global(library, "tenon_model_library", structure(library, fields, COUNT_OF(fields)));
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(library->machines->ref);
  assert(LLVMABISizeOfType(layout, LLVMTypeOf(LLVMGetInitializer(table))) == sizeof(tenon_library));
  LLVMDisposeTargetData(layout);
  LLVMSetLinkage(table, LLVMExternalLinkage);
}

/* ---- what leaves the library ---- */

static const char *prefixed(const Library *library, const char *suffix) {
  return arena_printf(library->module->arena, "%s_%s", library->program->options->name, suffix);
}

static void define_query(const Library *library, const char *name, bool weak) {
  LLVMValueRef function = define(library, name, library->pointer, (LLVMTypeRef[]){library->i32}, 1);
  LLVMValueRef known = LLVMBuildICmp(library->builder, LLVMIntEQ, LLVMGetParam(function, 0),
                                     int32(library, TENON_ABI_VERSION), "");
  LLVMValueRef table = LLVMGetNamedGlobal(library->llvm, "tenon_model_library");
  LLVMBuildRet(library->builder,
               LLVMBuildSelect(library->builder, known, table, LLVMConstNull(library->pointer), ""));
  if (weak)
    LLVMSetLinkage(function,
                   LLVMWeakAnyLinkage); /* objects of several models may be linked into one program */
}

/* struct NAME_in: a pointer per input, then an int64_t per symbol; a byte when there is neither. */
static LLVMTypeRef in_type(const Library *library) {
  const Program *program = library->program;
  int inputs = program->input_count, count = inputs + program->input_symbol_count;
  LLVMTypeRef *types = NEW_ARRAY(library->module->arena, LLVMTypeRef, count + 1);
  for (int i = 0; i < count; i++) types[i] = i < inputs ? library->pointer : library->i64;
  return LLVMStructTypeInContext(library->context, types, (unsigned)count, false);
}

static LLVMValueRef in_symbols(const Library *library, LLVMValueRef in) {
  const Program *program = library->program;
  if (program->input_symbol_count == 0) return LLVMConstNull(library->pointer);
  return LLVMBuildStructGEP2(library->builder, in_type(library), in, (unsigned)program->input_count, "");
}

/* Passes on a pointer to the symbols in `in`, or NULL when `in` is NULL. */
static LLVMValueRef checked_symbols(const Library *library, LLVMValueRef in) {
  LLVMValueRef null = LLVMConstNull(library->pointer);
  LLVMValueRef absent = LLVMBuildIsNull(library->builder, in, "");
  return LLVMBuildSelect(library->builder, absent, null, in_symbols(library, in), "");
}

static void define_named_calls(const Library *library) {
  LLVMTypeRef four[] = {library->pointer, library->pointer, library->pointer, library->pointer};
  LLVMTypeRef five[] = {library->pointer, library->pointer, library->pointer, library->pointer,
                        library->pointer};
  LLVMValueRef prepare = define(library, prefixed(library, "prepare"), library->i32, four, 1);
  LLVMValueRef state = LLVMGetParam(prepare, 0);
  LLVMBuildRet(library->builder,
               call(library, declare(library, "tenon_runtime_prepare", library->i32, four, 1), &state, 1));

  LLVMValueRef run = define(library, prefixed(library, "run"), library->i32, four, 4),
               in = LLVMGetParam(run, 1);
  LLVMValueRef args[] = {LLVMGetParam(run, 0), checked_symbols(library, in), in, LLVMGetParam(run, 2),
                         LLVMGetParam(run, 3)};
  LLVMBuildRet(library->builder,
               call(library, declare(library, "tenon_runtime_run", library->i32, five, 5), args, 5));

  if (program_scratch_bytes(library->program) >= 0) return;
  LLVMValueRef size = define(library, prefixed(library, "scratch_size"), library->i64, four, 1);
  LLVMValueRef symbols = in_symbols(library, LLVMGetParam(size, 0));
  LLVMBuildRet(
      library->builder,
      call(library, declare(library, "tenon_model_scratch_size", library->i64, four, 1), &symbols, 1));
}

/* ---- weights ---- */

static void declare_weights(Library *library, const char *path) {
  const Program *program = library->program;
  const char *name = weights_symbol(program);
  library->weights = LLVMAddGlobal(library->llvm, library->i8, name);
  LLVMSetVisibility(library->weights, LLVMHiddenVisibility);
  LLVMSetGlobalConstant(library->weights, true);
  if (!path) return;
  const char *text = arena_printf(library->module->arena,
                                  ".section .rodata.%s,\"a\",%%progbits\n.balign %lld\n.hidden %s\n.globl "
                                  "%s\n%s:\n.incbin \"%s\"\n.size %s, %lld\n.text\n",
                                  name, (long long)weights_alignment(program), name, name, name, path, name,
                                  (long long)program->weight_bytes);
  LLVMAppendModuleInlineAsm(library->llvm, text, strlen(text));
}

/* ---- all of it ---- */

static bool define_kernels(Library *library, const Parts *parts) {
  const Program *program = library->program;
  int count = program->target_count * program->code_count;
  bool ok = true;
  library->kernels = NEW_ARRAY(library->module->arena, LLVMValueRef, count);
  for (int i = 0; i < count; i++) {
    int target = i / program->code_count;
    const Code *code = &program->codes[i % program->code_count];
    Kernel *kernel = code->kernels[target];
    if (!kernel_verify(kernel)) return false;
    loops_expand_math(kernel);
    LLVMModuleRef part = parts_module(parts, i);
    LLVMValueRef function =
        llvm_kernel(part ? part : library->llvm, &library->machines[target], kernel, kernel->name,
                    program->symbols, program->symbol_count, code->in_place);
    ok = ok && function;
    library->kernels[i] =
        part && function ? parts_share(library->module->arena, library->llvm, function) : function;
  }
  return ok;
}

void library_set_target(LLVMModuleRef llvm, const Machine *machine) {
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine->ref);
  LLVMSetTarget(llvm, machine->target->triple);
  LLVMSetModuleDataLayout(llvm, layout);
  LLVMDisposeTargetData(layout);
}

LLVMModuleRef library_module(LLVMContextRef context, const Program *program, const Machine *machines,
                             const char *weights_path, const Parts *parts) {
  Library library = {.program = program, .machines = machines, .module = program->module, .context = context};
  library.llvm = LLVMModuleCreateWithNameInContext(program->options->name, context);
  library.builder = LLVMCreateBuilderInContext(context);
  library.tables = NEW_ARRAY(program->module->arena, LLVMValueRef, program->table_count);
  library.i8 = LLVMInt8TypeInContext(context);
  library.i32 = LLVMInt32TypeInContext(context);
  library.i64 = LLVMInt64TypeInContext(context);
  library.pointer = LLVMPointerTypeInContext(context, 0);
  library.nothing = LLVMVoidTypeInContext(context);
  library_set_target(library.llvm, machines);
  bool ok = define_kernels(&library, parts);
  if (ok) {
    if (program->weight_bytes > 0) declare_weights(&library, weights_path);
    define_scratch_size(&library);
    define_guard(&library);
    define_dims(&library, "tenon_model_input_dims", program->graph->input_count, input_type);
    int plain_outputs = program->is_dynamic ? 0 : program->graph->output_count;
    define_dims(&library, "tenon_model_output_dims", plain_outputs, output_type);
    define_macs(&library);
    define_prepare(&library);
    define_run(&library);
    define_dynamic(&library);
    define_named_calls(&library);
    define_bindings(&library);
    define_states(&library);
    define_cpus(&library);
    define_table(&library);
    define_query(&library, "tenon_query", true);
    define_query(&library, prefixed(&library, "query"), false);
  }
  LLVMDisposeBuilder(library.builder);
  if (ok) return library.llvm;
  LLVMDisposeModule(library.llvm);
  return NULL;
}
