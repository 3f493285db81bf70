/*
 * llvm_memory.c -- buffers, addresses, loads and stores.
 *
 * An address is base + (sum of register*stride) + constant, in bytes: indices are taken apart through
 * additions and products of constants, so that the elements of an unrolled tile share the variable part and
 * differ only in what an instruction can encode. Terms are added in the order of their registers, outer loops
 * first, so that the inner loop's term comes last and the rest leaves the loop.
 *
 * Elements below a byte are addressed in bits and read and written lane by lane: a store keeps the other bits
 * of its byte, so two iterations of a parallel loop must not share one.
 */
#include "codegen/llvm.h"
#include "codegen/locals.h"
#include "ir/loop_text.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_TERMS = 24 };

/* ---- buffers ---- */

static LLVMTypeRef i64_type(const Emit *emit) {
  return LLVMInt64TypeInContext(emit->context);
}

static LLVMTypeRef i8_type(const Emit *emit) {
  return LLVMInt8TypeInContext(emit->context);
}

static bool is_packed(Dtype dtype) {
  return dtype_bits(dtype) < 8;
}

/* What strides count: bytes, or bits of packed elements. */
static int element_size(Dtype dtype) {
  return is_packed(dtype) ? dtype_bits(dtype) : dtype_bits(dtype) / 8;
}

LLVMValueRef emit_entry_dim(Emit *emit, const Dim *dim) {
  return llvm_dim(&emit->dims, dim);
}

static LLVMValueRef byte_offset(const Emit *emit, LLVMBuilderRef builder, LLVMValueRef base,
                                LLVMValueRef offset) {
  return LLVMBuildGEP2(builder, i8_type(emit), base, &offset, 1, "");
}

static void place_strides(Emit *emit, const Buffer *buffer, Place *place) {
  Module *module = emit->kernel->module;
  const Dim *size = dim_const(module, element_size(buffer->dtype));
  for (int axis = 0; axis < buffer->rank; axis++)
    place->strides[axis] =
        emit_entry_dim(emit, dim_mul(module, buffer_stride(emit->kernel, buffer, axis), size));
}

Place *emit_place(const Emit *emit, const Buffer *buffer) {
  if (buffer->kind == BUFFER_LOCAL) return &emit->locals[buffer->index];
  return buffer->kind == BUFFER_VIEW ? &emit->views[buffer->index] : &emit->params[buffer->index];
}

static LLVMValueRef local_base(const Emit *emit, const Buffer *local, int64_t offset) {
  if (offset >= 0) return byte_offset(emit, emit->entry, emit->memory, llvm_i64(emit, offset));
  LLVMTypeRef bytes = LLVMArrayType2(i8_type(emit), (uint64_t)local_bytes(local));
  LLVMValueRef memory = LLVMBuildAlloca(emit->entry, bytes, local->name);
  LLVMSetAlignment(memory, (unsigned)local->align);
  return memory;
}

static void place_at(Emit *emit, Place *place, const Dim *offset, bool packed) {
  LLVMValueRef distance = emit_entry_dim(emit, offset);
  if (!packed)
    place->base = byte_offset(emit, emit->entry, place->base, distance);
  else
    place->first = place->first ? LLVMBuildAdd(emit->entry, place->first, distance, "") : distance;
}

void emit_places(Emit *emit) {
  const Kernel *kernel = emit->kernel;
  int64_t *offsets = NEW_ARRAY(kernel->module->arena, int64_t, kernel->local_count);
  kernel_local_memory(kernel, offsets);
  for (int i = 0; i < kernel->param_count; i++) place_strides(emit, kernel->params[i], &emit->params[i]);
  for (int i = 0; i < kernel->local_count; i++) {
    Place *place = &emit->locals[i];
    if (!place->base) place->base = local_base(emit, kernel->locals[i], offsets[i]);
    place_strides(emit, kernel->locals[i], place);
  }
  for (int i = 0; i < kernel->view_count; i++) {
    const Buffer *view = kernel->views[i];
    Place *place = &emit->views[i], *base = emit_place(emit, view->base);
    const Dim *size = dim_const(kernel->module, element_size(view->dtype));
    place->base = base->base;
    place->first = base->first;
    if (view->offset)
      place_at(emit, place, dim_mul(kernel->module, view->offset, size), is_packed(view->dtype));
    place_strides(emit, view, place);
  }
}

/* ---- addresses ---- */

typedef struct Term {
  const Reg *reg;
  int64_t factor;
} Term;

/* sum of factor*reg, + constant */
typedef struct Linear {
  Term terms[MAX_TERMS];
  int count;
  int64_t constant;
} Linear;

static int64_t wrap_mul(int64_t a, int64_t b) {
  return (int64_t)((uint64_t)a * (uint64_t)b);
}

static int64_t wrap_add(int64_t a, int64_t b) {
  return (int64_t)((uint64_t)a + (uint64_t)b);
}

static void add_term(Linear *linear, const Reg *reg, int64_t factor) {
  int at = 0;
  while (at < linear->count && linear->terms[at].reg->id < reg->id) at++;
  if (at < linear->count && linear->terms[at].reg == reg) {
    linear->terms[at].factor = wrap_add(linear->terms[at].factor, factor);
    return;
  }
  memmove(&linear->terms[at + 1], &linear->terms[at], sizeof(Term) * (size_t)(linear->count - at));
  linear->terms[at] = (Term){reg, factor};
  linear->count++;
}

/* Takes factor*reg apart. Stops at what is no sum or product with a constant, and when terms run out. */
static void decompose(Linear *linear, const Reg *reg, int64_t factor, int depth) {
  const Instr *def = reg->def;
  int64_t known;
  bool inside = depth < 16 && linear->count < MAX_TERMS - 2 && reg->type.lanes == 1;
  if (reg_const_int(reg, &known)) {
    linear->constant = wrap_add(linear->constant, wrap_mul(known, factor));
  } else if (inside && (def->op == LOOP_ADD || def->op == LOOP_SUB) && linear->count < MAX_TERMS / 2) {
    decompose(linear, def->args[0], factor, depth + 1);
    decompose(linear, def->args[1], def->op == LOOP_ADD ? factor : wrap_mul(factor, -1), depth + 1);
  } else if (inside && def->op == LOOP_MUL && reg_const_int(def->args[1], &known)) {
    decompose(linear, def->args[0], wrap_mul(factor, known), depth + 1);
  } else if (inside && def->op == LOOP_MUL && reg_const_int(def->args[0], &known)) {
    decompose(linear, def->args[1], wrap_mul(factor, known), depth + 1);
  } else {
    add_term(linear, reg, factor);
  }
}

static LLVMValueRef plus(const Emit *emit, LLVMValueRef sum, LLVMValueRef term) {
  return sum ? LLVMBuildAdd(emit->builder, sum, term, "") : term;
}

static LLVMValueRef times(const Emit *emit, LLVMValueRef value, int64_t factor) {
  return factor == 1 ? value : LLVMBuildMul(emit->builder, value, llvm_int(LLVMTypeOf(value), factor), "");
}

static LLVMValueRef linear_sum(const Emit *emit, const Linear *linear, LLVMValueRef sum) {
  for (int i = 0; i < linear->count; i++)
    if (linear->terms[i].factor != 0)
      sum = plus(emit, sum, times(emit, emit->regs[linear->terms[i].reg->id], linear->terms[i].factor));
  return sum;
}

static bool constant_value(LLVMValueRef value, int64_t *result) {
  if (!LLVMIsAConstantInt(value)) return false;
  *result = LLVMConstIntGetSExtValue(value);
  return true;
}

/* index*stride for a stride that only the run knows: the index's own constant becomes a term that leaves
 * every loop. */
static LLVMValueRef symbolic_term(const Emit *emit, const Reg *index, LLVMValueRef stride,
                                  LLVMValueRef *fixed) {
  Linear linear = {.count = 0};
  decompose(&linear, index, 1, 0);
  if (linear.constant) *fixed = plus(emit, *fixed, times(emit, stride, linear.constant));
  LLVMValueRef sum = linear_sum(emit, &linear, NULL);
  return sum ? LLVMBuildMul(emit->builder, sum, stride, "") : NULL;
}

static LLVMValueRef address(const Emit *emit, const Instr *instr, Reg *const *indices) {
  const Place *place = emit_place(emit, instr->buffer);
  Linear linear = {.count = 0};
  LLVMValueRef sum = NULL, fixed = NULL;
  for (int axis = 0; axis < instr->buffer->rank; axis++) {
    int64_t stride;
    if (constant_value(place->strides[axis], &stride)) {
      decompose(&linear, indices[axis], stride, 0);
    } else {
      LLVMValueRef term = symbolic_term(emit, indices[axis], place->strides[axis], &fixed);
      if (term) sum = plus(emit, sum, term);
    }
  }
  LLVMValueRef at = place->base;
  if (fixed) at = byte_offset(emit, emit->builder, at, fixed);
  sum = linear_sum(emit, &linear, sum);
  if (sum) at = byte_offset(emit, emit->builder, at, sum);
  return linear.constant ? byte_offset(emit, emit->builder, at, llvm_i64(emit, linear.constant)) : at;
}

/* ---- loads and stores ---- */

static LLVMValueRef from_memory(const Emit *emit, LLVMValueRef value, Dtype dtype) {
  if (dtype != DTYPE_BOOL) return value;
  return LLVMBuildICmp(emit->builder, LLVMIntNE, value, llvm_int(LLVMTypeOf(value), 0), "");
}

static LLVMValueRef to_memory(const Emit *emit, LLVMValueRef value, LoopType type) {
  if (type.dtype != DTYPE_BOOL) return value;
  return LLVMBuildZExt(emit->builder, value, llvm_memory_type(emit, DTYPE_BOOL, type.lanes), "");
}

/* Memory of the caller is aligned to its elements, locals as they say; nothing is gained by knowing more. */
static unsigned access_align(const Instr *instr) {
  return (unsigned)dtype_align(instr->buffer->dtype);
}

static LLVMValueRef load_at(const Emit *emit, const Instr *instr, LLVMValueRef at, int lanes) {
  LLVMValueRef value =
      LLVMBuildLoad2(emit->builder, llvm_memory_type(emit, instr->buffer->dtype, lanes), at, "");
  LLVMSetAlignment(value, access_align(instr));
  return value;
}

static void store_at(const Emit *emit, const Instr *instr, LLVMValueRef at, LLVMValueRef value) {
  LLVMSetAlignment(LLVMBuildStore(emit->builder, value, at), access_align(instr));
}

/* A scalar as a vector of one lane, for the masked intrinsics. */
static LLVMValueRef as_vector(const Emit *emit, LLVMValueRef value) {
  if (LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMVectorTypeKind) return value;
  LLVMValueRef poison = LLVMGetPoison(LLVMVectorType(LLVMTypeOf(value), 1));
  return LLVMBuildInsertElement(emit->builder, poison, value, llvm_i64(emit, 0), "");
}

static LLVMValueRef as_lanes(const Emit *emit, LLVMValueRef value, int lanes) {
  return lanes == 1 ? LLVMBuildExtractElement(emit->builder, value, llvm_i64(emit, 0), "") : value;
}

static LLVMValueRef align_arg(const Emit *emit, const Instr *instr) {
  return llvm_int(LLVMInt32TypeInContext(emit->context), access_align(instr));
}

/* llvm.masked.load from a pointer, or .gather from a vector of them. */
static LLVMValueRef masked_load(const Emit *emit, const Instr *instr, const char *name, LLVMValueRef at,
                                LLVMValueRef mask, int lanes) {
  LLVMTypeRef types[] = {LLVMVectorType(llvm_memory_type(emit, instr->buffer->dtype, 1), (unsigned)lanes),
                         LLVMTypeOf(at)};
  LLVMValueRef args[] = {at, align_arg(emit, instr), as_vector(emit, mask), LLVMConstNull(types[0])};
  return as_lanes(emit, llvm_intrinsic(emit, name, types, 2, args, 4), lanes);
}

static void masked_store(const Emit *emit, const Instr *instr, const char *name, LLVMValueRef at,
                         LLVMValueRef value, LLVMValueRef mask) {
  LLVMValueRef args[] = {as_vector(emit, value), at, align_arg(emit, instr), as_vector(emit, mask)};
  LLVMTypeRef types[] = {LLVMTypeOf(args[0]), LLVMTypeOf(at)};
  llvm_intrinsic(emit, name, types, 2, args, 4);
}

static LLVMValueRef all_lanes(const Emit *emit, int lanes) {
  return llvm_int(llvm_lanes_of(LLVMInt1TypeInContext(emit->context), lanes), 1);
}

/* Bytes between the lanes of a strided access. */
static LLVMValueRef lane_distance(const Emit *emit, const Instr *instr) {
  LLVMValueRef stride = emit_place(emit, instr->buffer)->strides[instr->axis];
  return LLVMBuildMul(emit->builder, stride, llvm_i64(emit, instr->step), "");
}

static bool is_contiguous(const Emit *emit, const Instr *instr, int lanes) {
  int64_t stride;
  if (lanes == 1) return true;
  return constant_value(emit_place(emit, instr->buffer)->strides[instr->axis], &stride) &&
         wrap_mul(stride, instr->step) == element_size(instr->buffer->dtype);
}

static LLVMValueRef lane_address(const Emit *emit, LLVMValueRef at, LLVMValueRef distance, int lane) {
  if (lane == 0) return at;
  return byte_offset(emit, emit->builder, at,
                     LLVMBuildMul(emit->builder, distance, llvm_i64(emit, lane), ""));
}

static LLVMValueRef lane_addresses(const Emit *emit, LLVMValueRef at, LLVMValueRef distance, int lanes) {
  LLVMValueRef numbers[MAX_LANES];
  for (int i = 0; i < lanes; i++) numbers[i] = llvm_i64(emit, i);
  LLVMValueRef offsets = LLVMBuildMul(emit->builder, llvm_splat(emit, distance, lanes),
                                      LLVMConstVector(numbers, (unsigned)lanes), "");
  return byte_offset(emit, emit->builder, at, offsets);
}

static LLVMValueRef load_lane_by_lane(const Emit *emit, const Instr *instr, LLVMValueRef at, int lanes) {
  LLVMValueRef distance = lane_distance(emit, instr),
               result = LLVMGetPoison(llvm_memory_type(emit, instr->buffer->dtype, lanes));
  for (int lane = 0; lane < lanes; lane++) {
    LLVMValueRef value = load_at(emit, instr, lane_address(emit, at, distance, lane), 1);
    result = LLVMBuildInsertElement(emit->builder, result, value, llvm_i64(emit, lane), "");
  }
  return result;
}

static void store_lane_by_lane(const Emit *emit, const Instr *instr, LLVMValueRef at, LLVMValueRef value,
                               int lanes) {
  LLVMValueRef distance = lane_distance(emit, instr);
  for (int lane = 0; lane < lanes; lane++)
    store_at(emit, instr, lane_address(emit, at, distance, lane),
             LLVMBuildExtractElement(emit->builder, value, llvm_i64(emit, lane), ""));
}

static LLVMValueRef mask_of(const Emit *emit, const Instr *instr) {
  return instr->masked ? llvm_arg(emit, instr, instr->arg_count - 1) : NULL;
}

/* ---- packed elements ---- */

/* Where a lane's element is, in bits from the base. */
static LLVMValueRef packed_position(const Emit *emit, const Instr *instr, int lane, bool run) {
  const Place *place = emit_place(emit, instr->buffer);
  Reg *const *indices = instr->args + access_first_index(instr);
  LLVMValueRef sum = place->first;
  for (int axis = 0; axis < instr->buffer->rank; axis++) {
    LLVMValueRef index = emit->regs[indices[axis]->id];
    if (indices[axis]->type.lanes > 1)
      index = LLVMBuildExtractElement(emit->builder, index, llvm_i64(emit, lane), "");
    if (run && axis == instr->axis)
      index = LLVMBuildAdd(emit->builder, index, llvm_i64(emit, wrap_mul(lane, instr->step)), "");
    sum = plus(emit, sum, LLVMBuildMul(emit->builder, index, place->strides[axis], ""));
  }
  return sum ? sum : llvm_i64(emit, 0);
}

/* The byte around a packed element and the place in it; a lane that is off gets a byte of its own. */
typedef struct Packed {
  LLVMValueRef at, byte, shift, on;
} Packed;

static Packed packed_byte(const Emit *emit, const Instr *instr, int lane, int lanes, LLVMValueRef nowhere) {
  LLVMBuilderRef builder = emit->builder;
  bool run = lanes > 1 && (instr->op == LOOP_LOAD || instr->op == LOOP_STORE);
  LLVMValueRef position = packed_position(emit, instr, lane, run), mask = mask_of(emit, instr);
  LLVMValueRef bit = LLVMBuildAnd(builder, position, llvm_i64(emit, 7), "");
  Packed packed = {.shift = LLVMBuildTrunc(builder, bit, i8_type(emit), "")};
  packed.at = byte_offset(emit, builder, emit_place(emit, instr->buffer)->base,
                          LLVMBuildAShr(builder, position, llvm_i64(emit, 3), ""));
  if (mask) {
    packed.on = lanes > 1 ? LLVMBuildExtractElement(builder, mask, llvm_i64(emit, lane), "") : mask;
    packed.at = LLVMBuildSelect(builder, packed.on, packed.at, nowhere, "");
  }
  packed.byte = LLVMBuildLoad2(builder, i8_type(emit), packed.at, "");
  return packed;
}

/* A byte of the stack, holding 0, for lanes that are off. */
static LLVMValueRef nowhere_byte(const Emit *emit, const Instr *instr) {
  if (!instr->masked) return NULL;
  LLVMValueRef byte = LLVMBuildAlloca(emit->entry, i8_type(emit), "");
  LLVMBuildStore(emit->builder, llvm_int(i8_type(emit), 0), byte);
  return byte;
}

static LLVMValueRef packed_load(const Emit *emit, const Instr *instr) {
  LoopType type = instr->results[0]->type;
  LLVMTypeRef element = llvm_type(emit, type.dtype, 1);
  LLVMValueRef nowhere = nowhere_byte(emit, instr),
               result = LLVMGetPoison(llvm_type(emit, type.dtype, type.lanes));
  for (int lane = 0; lane < type.lanes; lane++) {
    Packed packed = packed_byte(emit, instr, lane, type.lanes, nowhere);
    LLVMValueRef value = LLVMBuildLShr(emit->builder, packed.byte, packed.shift, "");
    value = LLVMBuildTrunc(emit->builder, value, element, "");
    if (packed.on) value = LLVMBuildSelect(emit->builder, packed.on, value, llvm_int(element, 0), "");
    if (type.lanes == 1) return value;
    result = LLVMBuildInsertElement(emit->builder, result, value, llvm_i64(emit, lane), "");
  }
  return result;
}

static void packed_store(const Emit *emit, const Instr *instr) {
  LLVMBuilderRef builder = emit->builder;
  LoopType type = instr->args[0]->type;
  LLVMTypeRef i8 = i8_type(emit);
  LLVMValueRef nowhere = nowhere_byte(emit, instr), ones = llvm_int(i8, (1 << dtype_bits(type.dtype)) - 1);
  for (int lane = 0; lane < type.lanes; lane++) {
    LLVMValueRef value = llvm_arg(emit, instr, 0);
    if (type.lanes > 1) value = LLVMBuildExtractElement(builder, value, llvm_i64(emit, lane), "");
    Packed packed = packed_byte(emit, instr, lane, type.lanes, nowhere);
    LLVMValueRef hole = LLVMBuildNot(builder, LLVMBuildShl(builder, ones, packed.shift, ""), "");
    LLVMValueRef bits = LLVMBuildShl(builder, LLVMBuildZExt(builder, value, i8, ""), packed.shift, "");
    LLVMValueRef byte = LLVMBuildOr(builder, LLVMBuildAnd(builder, packed.byte, hole, ""), bits, "");
    LLVMBuildStore(builder, byte, packed.at);
  }
}

/* ---- the instructions ---- */

LLVMValueRef emit_load(Emit *emit, const Instr *instr) {
  if (is_packed(instr->buffer->dtype)) return packed_load(emit, instr);
  int lanes = instr->results[0]->type.lanes;
  LLVMValueRef at = address(emit, instr, instr->args), mask = mask_of(emit, instr), value;
  if (is_contiguous(emit, instr, lanes))
    value = mask ? masked_load(emit, instr, "llvm.masked.load", at, mask, lanes)
                 : load_at(emit, instr, at, lanes);
  else if (mask)
    value = masked_load(emit, instr, "llvm.masked.gather",
                        lane_addresses(emit, at, lane_distance(emit, instr), lanes), mask, lanes);
  else
    value = load_lane_by_lane(emit, instr, at, lanes);
  return from_memory(emit, value, instr->buffer->dtype);
}

LLVMValueRef emit_store(Emit *emit, const Instr *instr) {
  LoopType type = instr->args[0]->type;
  if (is_packed(type.dtype)) {
    packed_store(emit, instr);
    return NULL;
  }
  LLVMValueRef at = address(emit, instr, instr->args + 1), mask = mask_of(emit, instr);
  LLVMValueRef value = to_memory(emit, llvm_arg(emit, instr, 0), type);
  if (is_contiguous(emit, instr, type.lanes)) {
    if (mask)
      masked_store(emit, instr, "llvm.masked.store", at, value, mask);
    else
      store_at(emit, instr, at, value);
  } else if (mask) {
    masked_store(emit, instr, "llvm.masked.scatter",
                 lane_addresses(emit, at, lane_distance(emit, instr), type.lanes), value, mask);
  } else {
    store_lane_by_lane(emit, instr, at, value, type.lanes);
  }
  return NULL;
}

/* Scalar indices go into the base, vectors into an offset per lane. */
static LLVMValueRef gather_addresses(const Emit *emit, const Instr *instr, Reg *const *indices, int lanes) {
  const Place *place = emit_place(emit, instr->buffer);
  LLVMValueRef scalar = NULL, vector = NULL;
  for (int axis = 0; axis < instr->buffer->rank; axis++) {
    LLVMValueRef index = emit->regs[indices[axis]->id], stride = place->strides[axis];
    if (indices[axis]->type.lanes == 1)
      scalar = plus(emit, scalar, LLVMBuildMul(emit->builder, index, stride, ""));
    else
      vector = plus(emit, vector, LLVMBuildMul(emit->builder, index, llvm_splat(emit, stride, lanes), ""));
  }
  LLVMValueRef base = scalar ? byte_offset(emit, emit->builder, place->base, scalar) : place->base;
  if (!vector) vector = LLVMConstNull(LLVMVectorType(i64_type(emit), (unsigned)lanes));
  return byte_offset(emit, emit->builder, base, vector);
}

LLVMValueRef emit_gather(Emit *emit, const Instr *instr) {
  if (is_packed(instr->buffer->dtype)) return packed_load(emit, instr);
  int lanes = instr->results[0]->type.lanes;
  LLVMValueRef mask = mask_of(emit, instr);
  LLVMValueRef at = gather_addresses(emit, instr, instr->args, lanes);
  LLVMValueRef value =
      masked_load(emit, instr, "llvm.masked.gather", at, mask ? mask : all_lanes(emit, lanes), lanes);
  return from_memory(emit, value, instr->buffer->dtype);
}

LLVMValueRef emit_scatter(Emit *emit, const Instr *instr) {
  LoopType type = instr->args[0]->type;
  if (is_packed(type.dtype)) {
    packed_store(emit, instr);
    return NULL;
  }
  LLVMValueRef mask = mask_of(emit, instr), value = to_memory(emit, llvm_arg(emit, instr, 0), type);
  LLVMValueRef at = gather_addresses(emit, instr, instr->args + 1, type.lanes);
  masked_store(emit, instr, "llvm.masked.scatter", at, value, mask ? mask : all_lanes(emit, type.lanes));
  return NULL;
}

/* Into L2: what comes ahead should not push out of L1 what is being read. */
LLVMValueRef emit_prefetch(Emit *emit, const Instr *instr) {
  enum { READ = 0, L2 = 2, DATA = 1 };
  if (is_packed(instr->buffer->dtype)) return NULL;
  LLVMTypeRef word = LLVMInt32TypeInContext(emit->context),
              pointer = LLVMPointerTypeInContext(emit->context, 0);
  LLVMValueRef args[] = {address(emit, instr, instr->args), llvm_int(word, READ), llvm_int(word, L2),
                         llvm_int(word, DATA)};
  llvm_intrinsic(emit, "llvm.prefetch", &pointer, 1, args, 4);
  return NULL;
}
