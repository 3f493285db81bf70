/*
 * loop.c -- kernels, their buffers, and the builder that appends instructions to a block.
 *
 * The builder is only sugar over instr_new: it splats scalars to the lanes of their partners and folds what
 * costs nothing to fold, so that printed code stays short. A wrong type handed to it is a bug of the caller
 * (assert); loop_verify.c says the same of whole kernels, parsed ones included, with messages.
 */
#include "ir/loop.h"

#include <assert.h>
#include <string.h>

const OpcodeInfo opcode_infos[LOOP_OPCODE_COUNT] = {
#define LOOP_OP(NAME, name, operands, doc) {#name, operands, doc},
#include "ir/loop.def"
#undef LOOP_OP
};

bool opcode_is_comparison(Opcode op) {
  return op >= LOOP_EQ && op <= LOOP_GE;
}

bool loop_type_equal(LoopType a, LoopType b) {
  return a.dtype == b.dtype && a.lanes == b.lanes;
}

/* ---- kernels and buffers ---- */

Kernel *kernel_new(Module *module, const char *name) {
  Kernel *kernel = NEW(module->arena, Kernel);
  kernel->module = module;
  kernel->name = arena_printf(module->arena, "%s", name);
  kernel->body = NEW(module->arena, Block);
  return kernel;
}

/* Appends to an array that grows by doubling whenever its count is a power of two. */
static void append_buffer(Arena *arena, Buffer ***array, int *count, Buffer *buffer) {
  if ((*count & (*count - 1)) == 0) {
    Buffer **bigger = NEW_ARRAY(arena, Buffer *, *count ? *count * 2 : 1);
    if (*count > 0) memcpy(bigger, *array, sizeof(Buffer *) * (size_t)*count);
    *array = bigger;
  }
  buffer->index = *count;
  (*array)[(*count)++] = buffer;
}

static const Dim *const *copy_dims(Arena *arena, int rank, const Dim *const *dims) {
  return dims ? arena_copy(arena, dims, sizeof(Dim *) * (size_t)rank) : NULL;
}

static Buffer *buffer_new(Kernel *kernel, BufferKind kind, const char *name, Dtype dtype, int rank,
                          const Dim *const *dims, const Dim *const *strides) {
  Arena *arena = kernel->module->arena;
  Buffer *buffer = NEW(arena, Buffer);
  buffer->kind = kind;
  buffer->name = arena_printf(arena, "%s", name);
  buffer->dtype = dtype;
  buffer->rank = rank;
  buffer->dims = rank > 0 ? copy_dims(arena, rank, dims) : NULL;
  buffer->strides = rank > 0 ? copy_dims(arena, rank, strides) : NULL;
  buffer->align = dtype_align(dtype);
  return buffer;
}

Buffer *kernel_add_param(Kernel *kernel, BufferKind kind, const char *name, Dtype dtype, int rank,
                         const Dim *const *dims, const Dim *const *strides, int align) {
  Buffer *buffer = buffer_new(kernel, kind, name, dtype, rank, dims, strides);
  if (align > buffer->align) buffer->align = align;
  append_buffer(kernel->module->arena, &kernel->params, &kernel->param_count, buffer);
  return buffer;
}

enum { LOCAL_ALIGN = 64 };

Buffer *kernel_add_local(Kernel *kernel, const char *name, Dtype dtype, int rank, const int64_t *dims) {
  assert(rank <= MAX_RANK);
  const Dim *sizes[MAX_RANK];
  for (int i = 0; i < rank; i++) sizes[i] = dim_const(kernel->module, dims[i]);
  Buffer *buffer = buffer_new(kernel, BUFFER_LOCAL, name, dtype, rank, sizes, NULL);
  buffer->align = LOCAL_ALIGN;
  append_buffer(kernel->module->arena, &kernel->locals, &kernel->local_count, buffer);
  return buffer;
}

Buffer *kernel_add_view(Kernel *kernel, const char *name, Buffer *base, const Dim *offset, int rank,
                        const Dim *const *dims, const Dim *const *strides) {
  Buffer *buffer = buffer_new(kernel, BUFFER_VIEW, name, base->dtype, rank, dims, strides);
  buffer->base = base;
  buffer->offset = offset;
  if (!offset || dim_is(offset, 0)) buffer->align = base->align;
  append_buffer(kernel->module->arena, &kernel->views, &kernel->view_count, buffer);
  return buffer;
}

Buffer *buffer_root(Buffer *buffer) {
  while (buffer->base) buffer = buffer->base;
  return buffer;
}

const Dim *buffer_stride(const Kernel *kernel, const Buffer *buffer, int axis) {
  assert(axis >= 0 && axis < buffer->rank);
  if (buffer->strides) return buffer->strides[axis];
  const Dim *stride = dim_const(kernel->module, 1);
  for (int i = buffer->rank - 1; i > axis; i--) stride = dim_mul(kernel->module, buffer->dims[i], stride);
  return stride;
}

/* ---- symbols ---- */

typedef struct Symbols {
  const char **names;
  int count, max;
} Symbols;

static void add_symbol(Symbols *symbols, const char *name) {
  int at = 0;
  while (at < symbols->count && at < symbols->max && strcmp(symbols->names[at], name) < 0) at++;
  if (at < symbols->count && at < symbols->max && strcmp(symbols->names[at], name) == 0) return;
  for (int i = symbols->count < symbols->max ? symbols->count : symbols->max - 1; i > at; i--)
    symbols->names[i] = symbols->names[i - 1];
  if (at < symbols->max) symbols->names[at] = name;
  symbols->count++;
}

static void add_dim_symbols(Symbols *symbols, const Dim *dim) {
  if (!dim) return;
  if (dim->kind == DIM_SYMBOL) add_symbol(symbols, dim->symbol);
  add_dim_symbols(symbols, dim->a);
  add_dim_symbols(symbols, dim->b);
}

static void add_buffer_symbols(Symbols *symbols, Buffer *const *buffers, int count) {
  for (int i = 0; i < count; i++) {
    for (int axis = 0; axis < buffers[i]->rank; axis++) {
      add_dim_symbols(symbols, buffers[i]->dims[axis]);
      if (buffers[i]->strides) add_dim_symbols(symbols, buffers[i]->strides[axis]);
    }
    add_dim_symbols(symbols, buffers[i]->offset);
  }
}

static void add_block_symbols(Symbols *symbols, const Block *block) {
  for (const Instr *instr = block->first; instr; instr = instr->next) {
    add_dim_symbols(symbols, instr->dim);
    for (int i = 0; i < instr->block_count; i++) add_block_symbols(symbols, instr->blocks[i]);
  }
}

int kernel_symbols(const Kernel *kernel, const char **symbols, int max) {
  Symbols found = {symbols, 0, max};
  add_buffer_symbols(&found, kernel->params, kernel->param_count);
  add_buffer_symbols(&found, kernel->locals, kernel->local_count);
  add_buffer_symbols(&found, kernel->views, kernel->view_count);
  add_block_symbols(&found, kernel->body);
  return found.count;
}

/* ---- instructions ---- */

Loops loops_in(Kernel *kernel) {
  return (Loops){kernel, kernel->body};
}

Reg *reg_new(Kernel *kernel, Instr *def, LoopType type) {
  Reg *reg = NEW(kernel->module->arena, Reg);
  reg->type = type;
  reg->def = def;
  reg->id = kernel->reg_count++;
  return reg;
}

Instr *instr_new(Loops *loops, Opcode op, int result_count, const LoopType *types, int arg_count) {
  Arena *arena = loops->kernel->module->arena;
  Instr *instr = NEW(arena, Instr);
  instr->op = op;
  instr->arg_count = arg_count;
  instr->args = NEW_ARRAY(arena, Reg *, arg_count);
  instr->result_count = result_count;
  instr->results = NEW_ARRAY(arena, Reg *, result_count);
  for (int i = 0; i < result_count; i++) instr->results[i] = reg_new(loops->kernel, instr, types[i]);
  instr->block = loops->block;
  instr->prev = loops->block->last;
  if (instr->prev)
    instr->prev->next = instr;
  else
    loops->block->first = instr;
  loops->block->last = instr;
  return instr;
}

static Instr *simple(Loops *loops, Opcode op, LoopType type, int arg_count, Reg *const *args) {
  Instr *instr = instr_new(loops, op, 1, &type, arg_count);
  for (int i = 0; i < arg_count; i++) instr->args[i] = args[i];
  return instr;
}

Block *instr_add_block(Kernel *kernel, Instr *instr, int param_count, const LoopType *types) {
  Arena *arena = kernel->module->arena;
  Block *block = NEW(arena, Block);
  block->owner = instr;
  block->param_count = param_count;
  block->params = NEW_ARRAY(arena, Reg *, param_count);
  for (int i = 0; i < param_count; i++) block->params[i] = reg_new(kernel, instr, types[i]);
  int count = instr->block_count;
  if (count == 0 || (count >= 2 && (count & (count - 1)) == 0)) {
    Block **bigger = NEW_ARRAY(arena, Block *, count ? 2 * count : 2);
    if (count > 0) memcpy(bigger, instr->blocks, sizeof *bigger * (size_t)count);
    instr->blocks = bigger;
  }
  instr->blocks[instr->block_count++] = block;
  return block;
}

/* ---- values ---- */

bool reg_is_const(const Reg *reg) {
  return reg->def->op == LOOP_CONST;
}

bool reg_const_int(const Reg *reg, int64_t *value) {
  if (reg->def->op != LOOP_CONST || dtype_is_float(reg->type.dtype)) return false;
  *value = reg->def->imm;
  return true;
}

Reg *loop_const_int(Loops *loops, LoopType type, int64_t value) {
  if (dtype_is_float(type.dtype)) return loop_const(loops, type, (double)value);
  Instr *instr = simple(loops, LOOP_CONST, type, 0, NULL);
  int64_t slot[2] = {0, 0};
  instr->imm = value;
  if (type.dtype == DTYPE_STRING) return instr->results[0]; /* a pointer, which is not rounded */
  dtype_set_int(type.dtype, slot, 0, type.dtype == DTYPE_BOOL ? value != 0 : value);
  instr->imm = dtype_get_int(type.dtype, slot, 0);
  return instr->results[0];
}

Reg *loop_const(Loops *loops, LoopType type, double value) {
  if (!dtype_is_float(type.dtype)) {
    assert(value >= -0x1p63 && value < 0x1p63);
    return loop_const_int(loops, type, type.dtype == DTYPE_BOOL ? value != 0 : (int64_t)value);
  }
  Instr *instr = simple(loops, LOOP_CONST, type, 0, NULL);
  int64_t slot = 0;
  dtype_set(type.dtype, &slot, 0, value);
  instr->fimm = dtype_get(type.dtype, &slot, 0);
  return instr->results[0];
}

Reg *loop_int(Loops *loops, int64_t value) {
  return loop_const_int(loops, (LoopType){DTYPE_I64, 1}, value);
}

Reg *loop_dim(Loops *loops, const Dim *dim) {
  if (dim_is_const(dim)) return loop_int(loops, dim->value);
  Instr *instr = simple(loops, LOOP_DIM, (LoopType){DTYPE_I64, 1}, 0, NULL);
  instr->dim = dim;
  return instr->results[0];
}

Reg *loop_splat(Loops *loops, Reg *scalar, int lanes) {
  if (scalar->type.lanes == lanes) return scalar;
  assert(scalar->type.lanes == 1);
  LoopType type = {scalar->type.dtype, lanes};
  if (!reg_is_const(scalar)) return simple(loops, LOOP_SPLAT, type, 1, &scalar)->results[0];
  Instr *instr = simple(loops, LOOP_CONST, type, 0, NULL);
  instr->imm = scalar->def->imm;
  instr->fimm = scalar->def->fimm;
  return instr->results[0];
}

Reg *loop_iota(Loops *loops, int lanes) {
  if (lanes == 1) return loop_int(loops, 0);
  return simple(loops, LOOP_IOTA, (LoopType){DTYPE_I64, lanes}, 0, NULL)->results[0];
}

Reg *loop_lanes_below(Loops *loops, Reg *n, int lanes) {
  return simple(loops, LOOP_LANES_BELOW, (LoopType){DTYPE_BOOL, lanes}, 1, &n)->results[0];
}

/* ---- arithmetic ---- */

static int max_int(int a, int b) {
  return a > b ? a : b;
}

Reg *loop_unary(Loops *loops, Opcode op, Reg *x) {
  assert(opcode_infos[op].operands == 1);
  return simple(loops, op, x->type, 1, &x)->results[0];
}

Reg *loop_binary(Loops *loops, Opcode op, Reg *x, Reg *y) {
  assert(opcode_infos[op].operands == 2 && x->type.dtype == y->type.dtype);
  int lanes = max_int(x->type.lanes, y->type.lanes);
  Reg *args[] = {loop_splat(loops, x, lanes), loop_splat(loops, y, lanes)};
  LoopType type = {opcode_is_comparison(op) ? DTYPE_BOOL : x->type.dtype, lanes};
  return simple(loops, op, type, 2, args)->results[0];
}

static Reg *ternary(Loops *loops, Opcode op, Reg *a, Reg *b, Reg *c) {
  int lanes = max_int(max_int(a->type.lanes, b->type.lanes), c->type.lanes);
  Reg *args[] = {loop_splat(loops, a, lanes), loop_splat(loops, b, lanes), loop_splat(loops, c, lanes)};
  return simple(loops, op, args[0]->type, 3, args)->results[0];
}

Reg *loop_fma(Loops *loops, Reg *a, Reg *b, Reg *c) {
  return ternary(loops, LOOP_FMA, a, b, c);
}

Reg *loop_mul_add(Loops *loops, Reg *a, Reg *b, Reg *c) {
  return ternary(loops, LOOP_MUL_ADD, a, b, c);
}

Reg *loop_select(Loops *loops, Reg *condition, Reg *x, Reg *y) {
  assert(condition->type.dtype == DTYPE_BOOL && x->type.dtype == y->type.dtype);
  int lanes = max_int(max_int(condition->type.lanes, x->type.lanes), y->type.lanes);
  Reg *args[] = {loop_splat(loops, condition, lanes), loop_splat(loops, x, lanes),
                 loop_splat(loops, y, lanes)};
  return simple(loops, LOOP_SELECT, args[1]->type, 3, args)->results[0];
}

Reg *loop_cast(Loops *loops, Reg *x, Dtype dtype) {
  if (x->type.dtype == dtype) return x;
  return simple(loops, LOOP_CAST, (LoopType){dtype, x->type.lanes}, 1, &x)->results[0];
}

Reg *loop_bitcast(Loops *loops, Reg *x, Dtype dtype) {
  if (x->type.dtype == dtype) return x;
  int bits = dtype_bits(x->type.dtype) * x->type.lanes;
  assert(bits % dtype_bits(dtype) == 0);
  return simple(loops, LOOP_BITCAST, (LoopType){dtype, bits / dtype_bits(dtype)}, 1, &x)->results[0];
}

/* ---- across lanes ---- */

Reg *loop_extract(Loops *loops, Reg *x, int lane) {
  assert(lane >= 0 && lane < x->type.lanes);
  if (x->type.lanes == 1) return x;
  Instr *instr = simple(loops, LOOP_EXTRACT, (LoopType){x->type.dtype, 1}, 1, &x);
  instr->imm = lane;
  return instr->results[0];
}

Reg *loop_shuffle(Loops *loops, Reg *x, Reg *y, const int64_t *lanes, int count) {
  Reg *args[] = {x, y};
  Instr *instr = simple(loops, LOOP_SHUFFLE, (LoopType){x->type.dtype, count}, 2, args);
  instr->lanes = arena_copy(loops->kernel->module->arena, lanes, sizeof(int64_t) * (size_t)count);
  return instr->results[0];
}

Reg *loop_lookup(Loops *loops, Reg *x, const int64_t *table, Dtype to) {
  Instr *instr = simple(loops, LOOP_LOOKUP, (LoopType){to, x->type.lanes}, 1, &x);
  instr->lanes = arena_copy(loops->kernel->module->arena, table, sizeof(int64_t) * TABLE_SIZE);
  return instr->results[0];
}

Reg *loop_pick(Loops *loops, Reg *x, Reg *at) {
  Reg *args[] = {x, at};
  return simple(loops, LOOP_PICK, x->type, 2, args)->results[0];
}

Reg *loop_reduce(Loops *loops, Opcode op, Reg *x) {
  assert(op == LOOP_REDUCE_ADD || op == LOOP_REDUCE_MAX || op == LOOP_REDUCE_MIN);
  if (x->type.lanes == 1) return x;
  return simple(loops, op, (LoopType){x->type.dtype, 1}, 1, &x)->results[0];
}

Reg *loop_dot(Loops *loops, Opcode op, Reg *acc, Reg *x, Reg *y) {
  assert(op == LOOP_DOT_U8S8 || op == LOOP_DOT_BF16);
  Reg *args[] = {acc, x, y};
  return simple(loops, op, acc->type, 3, args)->results[0];
}

/* ---- memory ---- */

/* args: [value,] indices [, mask] */
static Instr *access_new(Loops *loops, Opcode op, const LoopType *type, Reg *value, Buffer *buffer,
                         Reg *const *indices, Reg *mask) {
  Instr *instr = instr_new(loops, op, type != NULL, type, (value != NULL) + buffer->rank + (mask != NULL));
  int count = 0;
  if (value) instr->args[count++] = value;
  for (int i = 0; i < buffer->rank; i++) instr->args[count++] = indices[i];
  if (mask) instr->args[count++] = mask;
  instr->masked = mask != NULL;
  instr->buffer = buffer;
  instr->axis = buffer->rank > 0 ? buffer->rank - 1 : 0;
  instr->step = 1;
  return instr;
}

Reg *loop_load_strided(Loops *loops, Buffer *buffer, Reg *const *indices, int lanes, int axis, int64_t step,
                       Reg *mask) {
  Instr *instr = access_new(loops, LOOP_LOAD, &(LoopType){buffer->dtype, lanes}, NULL, buffer, indices, mask);
  if (lanes > 1) {
    instr->axis = axis;
    instr->step = step;
  }
  return instr->results[0];
}

Reg *loop_load(Loops *loops, Buffer *buffer, Reg *const *indices, int lanes, Reg *mask) {
  return loop_load_strided(loops, buffer, indices, lanes, buffer->rank - 1, 1, mask);
}

void loop_store_strided(Loops *loops, Reg *value, Buffer *buffer, Reg *const *indices, int axis, int64_t step,
                        Reg *mask) {
  Instr *instr = access_new(loops, LOOP_STORE, NULL, value, buffer, indices, mask);
  if (value->type.lanes > 1) {
    instr->axis = axis;
    instr->step = step;
  }
}

void loop_store(Loops *loops, Reg *value, Buffer *buffer, Reg *const *indices, Reg *mask) {
  loop_store_strided(loops, value, buffer, indices, buffer->rank - 1, 1, mask);
}

Reg *loop_gather(Loops *loops, Buffer *buffer, Reg *const *indices, int lanes, Reg *mask) {
  if (lanes == 1) return loop_load(loops, buffer, indices, 1, mask);
  return access_new(loops, LOOP_GATHER, &(LoopType){buffer->dtype, lanes}, NULL, buffer, indices, mask)
      ->results[0];
}

void loop_scatter(Loops *loops, Reg *value, Buffer *buffer, Reg *const *indices, Reg *mask) {
  if (value->type.lanes == 1)
    loop_store(loops, value, buffer, indices, mask);
  else
    access_new(loops, LOOP_SCATTER, NULL, value, buffer, indices, mask);
}

void loop_prefetch(Loops *loops, Buffer *buffer, Reg *const *indices) {
  access_new(loops, LOOP_PREFETCH, NULL, NULL, buffer, indices, NULL);
}

/* ---- calls ---- */

_Static_assert((int)DTYPE_BOOL == TENON_BOOL && (int)DTYPE_I8 == TENON_I8 && (int)DTYPE_U64 == TENON_U64 &&
                   (int)DTYPE_F16 == TENON_F16 && (int)DTYPE_F64 == TENON_F64,
               "views have the dtypes of the interface");

const Callee *callee_find(const char *name) {
  for (int i = 0; i < callee_count; i++)
    if (strcmp(callees[i].name, name) == 0) return &callees[i];
  return NULL;
}

static int count_bits(unsigned bits) {
  int count = 0;
  for (; bits; bits &= bits - 1) count++;
  return count;
}

int call_index_count(const Call *call) {
  int count = 0;
  for (int i = 0; i < call->callee->view_count; i++) count += count_bits(call->fixed[i]);
  return count;
}

int call_rank(const Call *call, int view) {
  return call->buffers[view]->rank - count_bits(call->fixed[view]);
}

void loop_call(Loops *loops, const Call *call, Reg *const *indices) {
  int count = call_index_count(call);
  Instr *instr = instr_new(loops, LOOP_CALL, 0, NULL, count);
  for (int i = 0; i < count; i++) instr->args[i] = indices[i];
  instr->call = arena_copy(loops->kernel->module->arena, call, sizeof *call);
}

int instr_buffer_count(const Instr *instr) {
  return instr->call ? instr->call->callee->view_count : instr->buffer != NULL;
}

Buffer *instr_buffer(const Instr *instr, int index) {
  return instr->call ? instr->call->buffers[index] : instr->buffer;
}

/* ---- control ---- */

static void add_yield(Loops *loops, int count, Reg *const *values) {
  if (count == 0) return;
  Instr *instr = instr_new(loops, LOOP_YIELD, 0, NULL, count);
  for (int i = 0; i < count; i++) instr->args[i] = values[i];
}

static For begin_loop(Loops *loops, Opcode op, Reg *lo, Reg *hi, int64_t step, int count,
                      Reg *const *initial) {
  Arena *arena = loops->kernel->module->arena;
  LoopType *types = NEW_ARRAY(arena, LoopType, count + 1); /* of the counter, then of the carried values */
  types[0] = (LoopType){DTYPE_I64, 1};
  for (int i = 0; i < count; i++) types[i + 1] = initial[i]->type;
  Instr *instr = instr_new(loops, op, count, types + 1, count + 2);
  instr->args[0] = lo;
  instr->args[1] = hi;
  for (int i = 0; i < count; i++) instr->args[i + 2] = initial[i];
  instr->step = step;
  Block *body = instr_add_block(loops->kernel, instr, count + 1, types);
  For loop = {instr, body->params[0], body->params + 1, instr->results, loops->block};
  loops->block = body;
  return loop;
}

For loop_for(Loops *loops, Reg *lo, Reg *hi, int64_t step, int carried_count, Reg *const *initial) {
  return begin_loop(loops, LOOP_FOR, lo, hi, step, carried_count, initial);
}

For loop_parallel(Loops *loops, Reg *lo, Reg *hi, int64_t step) {
  return begin_loop(loops, LOOP_PARALLEL, lo, hi, step, 0, NULL);
}

void loop_end(Loops *loops, For *loop, Reg *const *yields) {
  assert(loops->block == loop->instr->blocks[0]);
  add_yield(loops, loop->instr->result_count, yields);
  loops->block = loop->outer;
}

Sections loop_sections(Loops *loops) {
  return (Sections){instr_new(loops, LOOP_SECTIONS, 0, NULL, 0), loops->block};
}

void loop_section(Loops *loops, const Sections *sections) {
  loops->block = instr_add_block(loops->kernel, sections->instr, 0, NULL);
}

/* Puts what is in the only block of the last instruction, or nothing, in its place. */
static void unwrap_last(Block *outer) {
  Instr *wrapper = outer->last, *before = wrapper->prev;
  Instr *first = wrapper->block_count ? wrapper->blocks[0]->first : NULL;
  for (Instr *instr = first; instr; instr = instr->next) instr->block = outer;
  outer->last = first ? wrapper->blocks[0]->last : before;
  if (first) first->prev = before;
  if (before)
    before->next = first;
  else
    outer->first = first;
}

void loop_end_sections(Loops *loops, const Sections *sections) {
  assert(sections->outer->last == sections->instr);
  loops->block = sections->outer;
  if (sections->instr->block_count <= 1) unwrap_last(sections->outer);
}

If loop_if(Loops *loops, Reg *condition, int result_count, const LoopType *types) {
  Instr *instr = instr_new(loops, LOOP_IF, result_count, types, 1);
  instr->args[0] = condition;
  If branch = {instr, instr->results, loops->block};
  loops->block = instr_add_block(loops->kernel, instr, 0, NULL);
  instr_add_block(loops->kernel, instr, 0, NULL);
  return branch;
}

void loop_else(Loops *loops, If *branch, Reg *const *yields) {
  assert(loops->block == branch->instr->blocks[0]);
  add_yield(loops, branch->instr->result_count, yields);
  loops->block = branch->instr->blocks[1];
}

void loop_end_if(Loops *loops, If *branch, Reg *const *yields) {
  assert(loops->block->owner == branch->instr);
  assert(branch->instr->result_count == 0 || loops->block == branch->instr->blocks[1]);
  add_yield(loops, branch->instr->result_count, yields);
  loops->block = branch->outer;
}
