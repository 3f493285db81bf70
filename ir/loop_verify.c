/*
 * loop_verify.c -- is a kernel well formed?
 *
 * One walk in program order. A register may be used once its definition was passed and while the walk is
 * inside the block that holds it, which for structured code is dominance. The backend sees only kernels that
 * passed, so everything that could make LLVM abort is refused here: odd lane counts, mixed types, absurd
 * sizes.
 */
#include "ir/loop_text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct Verifier {
  const Kernel *kernel;
  Reg **visible;   /* by id: the register, while it may be used */
  bool *defined;   /* by id: was defined somewhere */
  int instr_count; /* so far */
  int depth;
} Verifier;

static bool bad(const Verifier *v, const Instr *instr, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool bad(const Verifier *v, const Instr *instr, const char *format, ...) {
  char text[200];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  Module *module = v->kernel->module;
  if (!instr) return fail(module, "kernel '%s': %s", v->kernel->name, text);
  return fail(module, "kernel '%s': `%s`: %s", v->kernel->name, instr_text(v->kernel, instr), text);
}

/* ---- types ---- */

/* What a register or buffer element may be. */
static bool dtype_allowed(Dtype dtype) {
  return dtype != DTYPE_NONE;
}

static bool is_i64(const Reg *reg) {
  return reg->type.dtype == DTYPE_I64 && reg->type.lanes == 1;
}

static bool check_type(const Verifier *v, const Instr *instr, LoopType type) {
  if (!dtype_allowed(type.dtype)) return bad(v, instr, "registers cannot be %s", dtype_name(type.dtype));
  if (type.lanes < 1 || type.lanes > MAX_LANES || (type.lanes & (type.lanes - 1)) != 0)
    return bad(v, instr, "%d lanes; a power of two up to %d is needed", type.lanes, MAX_LANES);
  return true;
}

/* ---- registers ---- */

static bool define(Verifier *v, const Instr *instr, Reg *reg) {
  if (reg->id < 0 || reg->id >= v->kernel->reg_count)
    return bad(v, instr, "register id %d is not below %d", reg->id, v->kernel->reg_count);
  if (v->defined[reg->id]) return bad(v, instr, "a register is defined twice");
  if (reg->def != instr) return bad(v, instr, "a result does not point back to its instruction");
  v->defined[reg->id] = true;
  v->visible[reg->id] = reg;
  return check_type(v, instr, reg->type);
}

static bool check_args(const Verifier *v, const Instr *instr) {
  for (int i = 0; i < instr->arg_count; i++) {
    const Reg *arg = instr->args[i];
    if (!arg) return bad(v, instr, "argument %d is missing", i);
    if (arg->id < 0 || arg->id >= v->kernel->reg_count || v->visible[arg->id] != arg)
      return bad(v, instr, "argument %d is not defined here", i);
  }
  return true;
}

static void hide_block(Verifier *v, const Block *block) {
  for (int i = 0; i < block->param_count; i++) v->visible[block->params[i]->id] = NULL;
  for (const Instr *instr = block->first; instr; instr = instr->next)
    for (int i = 0; i < instr->result_count; i++) v->visible[instr->results[i]->id] = NULL;
}

/* ---- one opcode each ---- */

typedef enum Domain { ANY, NUMBER, INT, FLOAT, INT_OR_BOOL } Domain;

static const char *const domain_words[] = {"computed with", "a number", "an integer", "a float",
                                           "an integer or bool"};

static bool in_domain(Domain domain, Dtype dtype) {
  if (dtype_is_storage(dtype)) return false;
  switch (domain) {
  case ANY: return true;
  case NUMBER: return dtype != DTYPE_BOOL;
  case INT: return dtype_is_int(dtype);
  case FLOAT: return dtype_is_float(dtype);
  case INT_OR_BOOL: return dtype_is_int(dtype) || dtype == DTYPE_BOOL;
  }
  return false;
}

static Domain opcode_domain(Opcode op) {
  switch (op) {
  case LOOP_FLOORDIV:
  case LOOP_FLOORMOD:
  case LOOP_SHL:
  case LOOP_SHR: return INT;
  case LOOP_AND:
  case LOOP_OR:
  case LOOP_XOR:
  case LOOP_NOT: return INT_OR_BOOL;
  case LOOP_EQ:
  case LOOP_NE: return ANY;
  case LOOP_FMA:
  case LOOP_MUL_ADD:
  case LOOP_SCALE: return FLOAT;
  default: return op >= LOOP_FLOOR && op <= LOOP_POW ? FLOAT : NUMBER;
  }
}

/* Arguments of one type from the domain; the result has it too (bool for a comparison). */
static bool check_lanewise(const Verifier *v, const Instr *instr) {
  LoopType type = instr->args[0]->type, expected = type;
  for (int i = 1; i < instr->arg_count; i++)
    if (!loop_type_equal(instr->args[i]->type, type))
      return bad(v, instr, "argument %d has another type than argument 0", i);
  Domain domain = opcode_domain(instr->op);
  if (!in_domain(domain, type.dtype))
    return bad(v, instr, "%s is not %s", dtype_name(type.dtype), domain_words[domain]);
  if (opcode_is_comparison(instr->op)) expected.dtype = DTYPE_BOOL;
  if (!loop_type_equal(instr->results[0]->type, expected))
    return bad(v, instr, "the result type does not follow from the arguments");
  return true;
}

static bool check_select(const Verifier *v, const Instr *instr) {
  LoopType type = instr->results[0]->type, mask = {DTYPE_BOOL, type.lanes};
  if (!loop_type_equal(instr->args[0]->type, mask))
    return bad(v, instr, "the condition is not bool of %d lanes", type.lanes);
  if (!loop_type_equal(instr->args[1]->type, type) || !loop_type_equal(instr->args[2]->type, type))
    return bad(v, instr, "both choices must have the type of the result");
  return true;
}

/* Elements that are only moved. */
static bool is_opaque(Dtype dtype) {
  return dtype_is_complex(dtype) || dtype == DTYPE_STRING;
}

static bool check_convert(const Verifier *v, const Instr *instr) {
  LoopType from = instr->args[0]->type, to = instr->results[0]->type;
  if (instr->op == LOOP_CAST && from.lanes != to.lanes)
    return bad(v, instr, "%d lanes become %d", from.lanes, to.lanes);
  if (is_opaque(from.dtype) || is_opaque(to.dtype))
    return bad(v, instr, "complex numbers and strings are not converted");
  if (instr->op == LOOP_CAST)
    return to.dtype != DTYPE_F8E8M0 || from.dtype == to.dtype ||
           bad(v, instr, "rounding to f8e8m0 is no cast: it is spelled out");
  bool fits = dtype_bits(from.dtype) * from.lanes == dtype_bits(to.dtype) * to.lanes;
  if (!fits || from.dtype == DTYPE_BOOL || to.dtype == DTYPE_BOOL)
    return bad(v, instr, "%d lanes of %s and %d of %s differ in width", from.lanes, dtype_name(from.dtype),
               to.lanes, dtype_name(to.dtype));
  return true;
}

static bool check_across(const Verifier *v, const Instr *instr) {
  LoopType from = instr->args[0]->type, to = instr->results[0]->type;
  if (to.lanes != 1 || to.dtype != from.dtype)
    return bad(v, instr, "the result is not one lane of the argument");
  if (instr->op == LOOP_EXTRACT && (instr->imm < 0 || instr->imm >= from.lanes))
    return bad(v, instr, "no lane %d of %d", (int)instr->imm, from.lanes);
  if (instr->op != LOOP_EXTRACT && (from.dtype == DTYPE_BOOL || dtype_is_storage(from.dtype)))
    return bad(v, instr, "%s is not a number", dtype_name(from.dtype));
  return true;
}

static bool check_shuffle(const Verifier *v, const Instr *instr) {
  LoopType x = instr->args[0]->type, to = instr->results[0]->type;
  if (!loop_type_equal(x, instr->args[1]->type) || x.dtype != to.dtype)
    return bad(v, instr, "the types do not agree");
  if (!instr->lanes) return bad(v, instr, "no list of lanes");
  for (int i = 0; i < to.lanes; i++)
    if (instr->lanes[i] < 0 || instr->lanes[i] >= 2 * x.lanes)
      return bad(v, instr, "lane %d of the result: %d is not in [0, %d)", i, (int)instr->lanes[i],
                 2 * x.lanes);
  return true;
}

static bool check_lookup(const Verifier *v, const Instr *instr) {
  LoopType x = instr->args[0]->type, to = instr->results[0]->type;
  if (!dtype_is_byte(x.dtype) || !dtype_is_byte(to.dtype) || x.lanes != to.lanes)
    return bad(v, instr, "needs bytes, and gives as many");
  if (!instr->lanes) return bad(v, instr, "no table");
  int64_t low = to.dtype == DTYPE_I8 ? INT8_MIN : 0, high = low + UINT8_MAX;
  for (int i = 0; i < TABLE_SIZE; i++)
    if (instr->lanes[i] < low || instr->lanes[i] > high)
      return bad(v, instr, "number %d of the table is not of %s", i, dtype_name(to.dtype));
  return true;
}

static bool check_pick(const Verifier *v, const Instr *instr) {
  LoopType x = instr->args[0]->type, at = instr->args[1]->type;
  if (x.lanes % 4 != 0 || at.lanes != x.lanes || (at.dtype != DTYPE_I32 && at.dtype != DTYPE_U32))
    return bad(v, instr, "needs lanes by fours, and as many i32 or u32 that say which");
  if (!loop_type_equal(instr->results[0]->type, x))
    return bad(v, instr, "the result type does not follow from the arguments");
  return true;
}

static bool check_dot(const Verifier *v, const Instr *instr) {
  bool ints = instr->op == LOOP_DOT_U8S8;
  int lanes = instr->results[0]->type.lanes, group = ints ? 4 : 2;
  const LoopType acc = {ints ? DTYPE_I32 : DTYPE_F32, lanes};
  const LoopType x = {ints ? DTYPE_U8 : DTYPE_BF16, lanes * group};
  const LoopType y = {ints ? DTYPE_I8 : DTYPE_BF16, lanes * group};
  if (loop_type_equal(instr->results[0]->type, acc) && loop_type_equal(instr->args[0]->type, acc) &&
      loop_type_equal(instr->args[1]->type, x) && loop_type_equal(instr->args[2]->type, y))
    return true;
  return bad(v, instr, "needs %s acc of L lanes and %s, %s of %d*L lanes", dtype_name(acc.dtype),
             dtype_name(x.dtype), dtype_name(y.dtype), group);
}

static bool check_value(const Verifier *v, const Instr *instr) {
  LoopType type = instr->results[0]->type;
  const LoopType index = {DTYPE_I64, 1};
  switch (instr->op) {
  case LOOP_DIM:
    if (!instr->dim) return bad(v, instr, "no dim");
    return loop_type_equal(type, index) || bad(v, instr, "the result is not a scalar i64");
  case LOOP_SPLAT:
    return (instr->args[0]->type.lanes == 1 && instr->args[0]->type.dtype == type.dtype) ||
           bad(v, instr, "the argument is not a scalar %s", dtype_name(type.dtype));
  case LOOP_IOTA: return type.dtype == DTYPE_I64 || bad(v, instr, "the result is not i64");
  case LOOP_LANES_BELOW:
    if (!is_i64(instr->args[0])) return bad(v, instr, "the argument is not a scalar i64");
    return type.dtype == DTYPE_BOOL || bad(v, instr, "the result is not bool");
  default:
    return !is_opaque(type.dtype) || instr->imm == 0 ||
           bad(v, instr, "no %s literal but 0", dtype_name(type.dtype));
  }
}

/* ---- memory ---- */

static bool owns_buffer(const Kernel *kernel, const Buffer *buffer) {
  Buffer *const *list = buffer->kind == BUFFER_VIEW    ? kernel->views
                        : buffer->kind == BUFFER_LOCAL ? kernel->locals
                                                       : kernel->params;
  int count = buffer->kind == BUFFER_VIEW    ? kernel->view_count
              : buffer->kind == BUFFER_LOCAL ? kernel->local_count
                                             : kernel->param_count;
  return buffer->index >= 0 && buffer->index < count && list[buffer->index] == buffer;
}

static bool check_indices(const Verifier *v, const Instr *instr, int first, int lanes) {
  bool vectors = instr->op == LOOP_GATHER || instr->op == LOOP_SCATTER;
  for (int i = 0; i < instr->buffer->rank; i++) {
    LoopType type = instr->args[first + i]->type;
    if (type.dtype == DTYPE_I64 && (type.lanes == 1 || (vectors && type.lanes == lanes))) continue;
    return bad(v, instr, "index %d is %sx%d, not i64%s", i, dtype_name(type.dtype), type.lanes,
               vectors ? " of one or all lanes" : "");
  }
  return true;
}

static bool check_mask(const Verifier *v, const Instr *instr, int lanes) {
  if (!instr->masked) return true;
  LoopType mask = {DTYPE_BOOL, lanes};
  return loop_type_equal(instr->args[instr->arg_count - 1]->type, mask) ||
         bad(v, instr, "the mask is not bool of %d lanes", lanes);
}

static bool check_access(const Verifier *v, const Instr *instr) {
  const Buffer *buffer = instr->buffer;
  int first = access_first_index(instr);
  bool writes = first > 0, reads = instr->op == LOOP_LOAD || instr->op == LOOP_GATHER;
  if (!buffer || !owns_buffer(v->kernel, buffer))
    return bad(v, instr, "the buffer is not one of the kernel's");
  if (instr->arg_count != first + buffer->rank + instr->masked)
    return bad(v, instr, "%d indices for rank %d", instr->arg_count - first - instr->masked, buffer->rank);
  if (instr->result_count != reads) return bad(v, instr, "wrong number of results");
  if (!writes && !reads && (instr->masked || instr->step != 1))
    return bad(v, instr, "a prefetch is of one element, without a mask");
  LoopType one = {buffer->dtype, 1};
  LoopType type = writes ? instr->args[0]->type : reads ? instr->results[0]->type : one;
  if (type.dtype != buffer->dtype)
    return bad(v, instr, "the value is %s, the buffer %s", dtype_name(type.dtype), dtype_name(buffer->dtype));
  if (writes && buffer_root(instr->buffer)->kind == BUFFER_IN)
    return bad(v, instr, "an input is not written");
  if (type.lanes > 1 && (buffer->rank == 0 || instr->axis < 0 || instr->axis >= buffer->rank))
    return bad(v, instr, "the buffer has no axis %d for the lanes", instr->axis);
  if (instr->step == 0) return bad(v, instr, "step 0");
  bool vectors = instr->op == LOOP_GATHER || instr->op == LOOP_SCATTER;
  if (vectors && type.lanes == 1) return bad(v, instr, "needs a vector");
  if (vectors && instr->step != 1) return bad(v, instr, "takes no step");
  TRY(check_indices(v, instr, first, type.lanes));
  return check_mask(v, instr, type.lanes);
}

/* ---- calls ---- */

/* The dtype that a view must have; DTYPE_NONE: any that is computed with. */
static Dtype view_dtype(const Call *call, ViewDtype wanted) {
  switch (wanted) {
  case VIEW_FIRST: return call->buffers[0]->dtype;
  case VIEW_I64: return DTYPE_I64;
  case VIEW_F32: return DTYPE_F32;
  default: return DTYPE_NONE;
  }
}

/* What is written is no other view's memory. */
static bool check_written(const Verifier *v, const Instr *instr, int view) {
  const Call *call = instr->call;
  Buffer *root = buffer_root(call->buffers[view]);
  if (root->kind == BUFFER_IN) return bad(v, instr, "an input is not written");
  for (int i = 0; i < call->callee->view_count; i++)
    if (i != view && buffer_root(call->buffers[i]) == root)
      return bad(v, instr, "views %d and %d are of the same memory, and one is written", i, view);
  return true;
}

static bool check_view_of_call(const Verifier *v, const Instr *instr, int view) {
  const Call *call = instr->call;
  const ViewSpec *spec = &call->callee->views[view];
  const Buffer *buffer = call->buffers[view];
  if (!buffer || !owns_buffer(v->kernel, buffer))
    return bad(v, instr, "the buffer of view %d is not one of the kernel's", view);
  if (call->fixed[view] >> buffer->rank) return bad(v, instr, "view %d has an index for no axis", view);
  Dtype dtype = view_dtype(call, spec->dtype);
  if (dtype == DTYPE_NONE && dtype_is_storage(buffer->dtype))
    return bad(v, instr, "view %d is %s, which is not computed with", view, dtype_name(buffer->dtype));
  if (dtype != DTYPE_NONE && buffer->dtype != dtype)
    return bad(v, instr, "view %d is %s, not %s", view, dtype_name(buffer->dtype), dtype_name(dtype));
  if (spec->rank != ANY_RANK && call_rank(call, view) != spec->rank)
    return bad(v, instr, "view %d has rank %d, not %d", view, call_rank(call, view), spec->rank);
  return !spec->written || check_written(v, instr, view);
}

static bool check_call(const Verifier *v, const Instr *instr) {
  if (!instr->call || !instr->call->callee) return bad(v, NULL, "a call of nothing");
  for (int i = 0; i < instr->call->callee->view_count; i++) TRY(check_view_of_call(v, instr, i));
  if (instr->result_count != 0) return bad(v, instr, "a call has no results");
  if (instr->arg_count != call_index_count(instr->call))
    return bad(v, instr, "%d indices for %d axes", instr->arg_count, call_index_count(instr->call));
  for (int i = 0; i < instr->arg_count; i++)
    if (!is_i64(instr->args[i])) return bad(v, instr, "index %d is not a scalar i64", i);
  return true;
}

/* ---- control ---- */

static bool verify_block(Verifier *v, const Block *block, const Instr *owner);

static bool check_yield(const Verifier *v, const Instr *owner, const Block *block) {
  const Instr *last = block->last;
  if (owner->result_count == 0) return true;
  if (!last || last->op != LOOP_YIELD) return bad(v, owner, "a block without yield");
  if (last->arg_count != owner->result_count)
    return bad(v, last, "%d values for %d results", last->arg_count, owner->result_count);
  for (int i = 0; i < last->arg_count; i++)
    if (!loop_type_equal(last->args[i]->type, owner->results[i]->type))
      return bad(v, last, "value %d has another type than the result", i);
  return true;
}

static bool check_loop(Verifier *v, const Instr *instr) {
  if (instr->block_count != 1) return bad(v, instr, "a loop has one block");
  const Block *body = instr->blocks[0];
  int carried = instr->arg_count - 2;
  if (carried < 0 || !is_i64(instr->args[0]) || !is_i64(instr->args[1]))
    return bad(v, instr, "the bounds are not scalar i64");
  if (instr->step < 1) return bad(v, instr, "step %lld is not positive", (long long)instr->step);
  if (instr->op == LOOP_PARALLEL && carried > 0) return bad(v, instr, "parallel carries no values");
  if (instr->result_count != carried || body->param_count != carried + 1)
    return bad(v, instr, "%d initial values, %d results, %d block parameters", carried, instr->result_count,
               body->param_count);
  if (!is_i64(body->params[0])) return bad(v, instr, "the counter is not a scalar i64");
  for (int i = 0; i < carried; i++)
    if (!loop_type_equal(instr->args[i + 2]->type, instr->results[i]->type) ||
        !loop_type_equal(instr->args[i + 2]->type, body->params[i + 1]->type))
      return bad(v, instr, "carried value %d changes its type", i);
  return verify_block(v, body, instr);
}

static bool check_sections(Verifier *v, const Instr *instr) {
  if (instr->block_count == 0) return bad(v, instr, "there are no sections");
  if (instr->arg_count + instr->result_count > 0)
    return bad(v, instr, "sections have no arguments or results");
  for (int i = 0; i < instr->block_count; i++) {
    if (instr->blocks[i]->param_count > 0) return bad(v, instr, "sections have no parameters");
    TRY(verify_block(v, instr->blocks[i], instr));
  }
  return true;
}

static bool check_if(Verifier *v, const Instr *instr) {
  const LoopType condition = {DTYPE_BOOL, 1};
  if (instr->arg_count != 1 || !loop_type_equal(instr->args[0]->type, condition))
    return bad(v, instr, "the condition is not a scalar bool");
  if (instr->block_count != 2) return bad(v, instr, "an if has two blocks");
  if (instr->blocks[0]->param_count + instr->blocks[1]->param_count > 0)
    return bad(v, instr, "blocks of an if have no parameters");
  TRY(verify_block(v, instr->blocks[0], instr));
  return verify_block(v, instr->blocks[1], instr);
}

/* ---- instructions and blocks ---- */

static bool check_shape(const Verifier *v, const Instr *instr) {
  if ((unsigned)instr->op >= LOOP_OPCODE_COUNT) return bad(v, NULL, "unknown opcode %d", (int)instr->op);
  int operands = opcode_infos[instr->op].operands;
  if (operands >= 0 && instr->op != LOOP_IF && (instr->arg_count != operands || instr->result_count != 1))
    return bad(v, instr, "%d arguments and %d results, not %d and 1", instr->arg_count, instr->result_count,
               operands);
  bool control = instr->op == LOOP_FOR || instr->op == LOOP_PARALLEL || instr->op == LOOP_SECTIONS ||
                 instr->op == LOOP_IF;
  if (!control && instr->block_count > 0) return bad(v, instr, "has no blocks");
  return true;
}

static bool check_instr(Verifier *v, const Instr *instr) {
  switch (instr->op) {
  case LOOP_CONST:
  case LOOP_DIM:
  case LOOP_SPLAT:
  case LOOP_IOTA:
  case LOOP_LANES_BELOW: return check_value(v, instr);
  case LOOP_LOAD:
  case LOOP_STORE:
  case LOOP_GATHER:
  case LOOP_SCATTER:
  case LOOP_PREFETCH: return check_access(v, instr);
  case LOOP_SELECT: return check_select(v, instr);
  case LOOP_CAST:
  case LOOP_BITCAST: return check_convert(v, instr);
  case LOOP_REDUCE_ADD:
  case LOOP_REDUCE_MAX:
  case LOOP_REDUCE_MIN:
  case LOOP_EXTRACT: return check_across(v, instr);
  case LOOP_SHUFFLE: return check_shuffle(v, instr);
  case LOOP_LOOKUP: return check_lookup(v, instr);
  case LOOP_PICK: return check_pick(v, instr);
  case LOOP_DOT_U8S8:
  case LOOP_DOT_BF16: return check_dot(v, instr);
  case LOOP_FOR:
  case LOOP_PARALLEL: return check_loop(v, instr);
  case LOOP_SECTIONS: return check_sections(v, instr);
  case LOOP_CALL: return check_call(v, instr);
  case LOOP_IF: return check_if(v, instr);
  case LOOP_YIELD:
    if (instr->next || !instr->block->owner || instr->block->owner->result_count == 0)
      return bad(v, instr, "yield ends a block whose loop or if has results");
    return true;
  default: return check_lanewise(v, instr);
  }
}

static bool verify_instr(Verifier *v, const Instr *instr, const Block *block) {
  if (++v->instr_count > MAX_INSTRS) return bad(v, NULL, "over %d instructions", (int)MAX_INSTRS);
  if (instr->block != block) return bad(v, NULL, "an instruction does not point back to its block");
  TRY(check_shape(v, instr));
  TRY(check_args(v, instr));
  TRY(check_instr(v, instr)); /* enters nested blocks: the results are not visible there */
  for (int i = 0; i < instr->result_count; i++) TRY(define(v, instr, instr->results[i]));
  return true;
}

static bool verify_block(Verifier *v, const Block *block, const Instr *owner) {
  if (++v->depth > MAX_NESTING) return bad(v, NULL, "nested deeper than %d", (int)MAX_NESTING);
  if (block->owner != owner) return bad(v, owner, "a block does not point back to its owner");
  for (int i = 0; i < block->param_count; i++) TRY(define(v, owner, block->params[i]));
  for (const Instr *instr = block->first; instr; instr = instr->next) TRY(verify_instr(v, instr, block));
  if (owner) TRY(check_yield(v, owner, block));
  hide_block(v, block);
  v->depth--;
  return true;
}

/* ---- names, buffers ---- */

static bool is_identifier(const char *name) {
  if (!name || !(isalpha((unsigned char)*name) || *name == '_')) return false;
  while (isalnum((unsigned char)*name) || *name == '_' || *name == '.') name++;
  return *name == '\0';
}

/* Constant sizes must not be negative, and their product must be addressable. */
static bool check_extent(const Verifier *v, const Buffer *buffer, int64_t *bytes) {
  int64_t count = 1;
  size_t size;
  for (int i = 0; i < buffer->rank; i++) {
    const Dim *dim = buffer->dims[i];
    if (!dim) return bad(v, NULL, "buffer '%s': axis %d has no size", buffer->name, i);
    if (!dim_is_const(dim)) continue;
    if (dim->value < 0) return bad(v, NULL, "buffer '%s': axis %d has a negative size", buffer->name, i);
    if (dim->value > 0 && __builtin_mul_overflow(count, dim->value, &count)) count = -1;
    if (count < 0 || !dtype_bytes(buffer->dtype, count, &size))
      return bad(v, NULL, "buffer '%s' overflows the address space", buffer->name);
  }
  *bytes = (int64_t)(dtype_bytes(buffer->dtype, count, &size) ? size : 0);
  return true;
}

static bool check_buffer(const Verifier *v, const Buffer *buffer, bool kind_fits) {
  int64_t bytes;
  if (!is_identifier(buffer->name)) return bad(v, NULL, "'%s' is no name for a buffer", buffer->name);
  if (!kind_fits) return bad(v, NULL, "buffer '%s' is of the wrong kind for its list", buffer->name);
  if (!dtype_allowed(buffer->dtype))
    return bad(v, NULL, "buffer '%s' cannot be %s", buffer->name, dtype_name(buffer->dtype));
  if (buffer->rank < 0 || buffer->rank > MAX_RANK)
    return bad(v, NULL, "buffer '%s' has rank %d", buffer->name, buffer->rank);
  TRY(check_extent(v, buffer, &bytes));
  int element = dtype_align(buffer->dtype);
  if (buffer->align < element || (buffer->align & (buffer->align - 1)) != 0 || buffer->align > 4096)
    return bad(v, NULL, "buffer '%s': alignment %d", buffer->name, buffer->align);
  for (int i = 0; i < buffer->rank && buffer->strides; i++)
    if (!buffer->strides[i]) return bad(v, NULL, "buffer '%s': axis %d has no stride", buffer->name, i);
  return true;
}

static bool check_local(const Verifier *v, const Buffer *buffer, int64_t *total) {
  int64_t bytes;
  TRY(check_buffer(v, buffer, buffer->kind == BUFFER_LOCAL && !buffer->base));
  for (int i = 0; i < buffer->rank; i++)
    if (!dim_is_const(buffer->dims[i]) || buffer->strides)
      return bad(v, NULL, "local '%s' is not static and row-major", buffer->name);
  TRY(check_extent(v, buffer, &bytes));
  if (buffer->align > MAX_LOCAL_ALIGN)
    return bad(v, NULL, "local '%s' is aligned to %d, over %d", buffer->name, buffer->align,
               (int)MAX_LOCAL_ALIGN);
  if (bytes > MAX_LOCAL_BYTES || (*total += bytes) > MAX_LOCAL_BYTES)
    return bad(v, NULL, "locals take over %d bytes", (int)MAX_LOCAL_BYTES);
  return true;
}

static bool check_view(const Verifier *v, const Buffer *buffer) {
  TRY(check_buffer(v, buffer, buffer->kind == BUFFER_VIEW && buffer->base));
  const Buffer *base = buffer->base;
  bool earlier = base->kind != BUFFER_VIEW || base->index < buffer->index;
  if (!owns_buffer(v->kernel, base) || !earlier)
    return bad(v, NULL, "view '%s': its base is not an earlier buffer of the kernel", buffer->name);
  if (base->dtype != buffer->dtype) return bad(v, NULL, "view '%s' changes the dtype", buffer->name);
  return true;
}

static bool check_buffers(const Verifier *v) {
  const Kernel *kernel = v->kernel;
  int64_t local_bytes = 0;
  for (int i = 0; i < kernel->param_count; i++)
    TRY(check_buffer(v, kernel->params[i],
                     kernel->params[i]->kind <= BUFFER_INOUT && !kernel->params[i]->base));
  for (int i = 0; i < kernel->local_count; i++) TRY(check_local(v, kernel->locals[i], &local_bytes));
  for (int i = 0; i < kernel->view_count; i++) TRY(check_view(v, kernel->views[i]));
  return true;
}

static int compare_names(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool check_unique(const Verifier *v, const char **names, int count) {
  qsort(names, (size_t)count, sizeof *names, compare_names);
  for (int i = 1; i < count; i++)
    if (strcmp(names[i - 1], names[i]) == 0) return bad(v, NULL, "two things are named '%s'", names[i]);
  return true;
}

static bool check_buffer_names(const Verifier *v) {
  const Kernel *kernel = v->kernel;
  int count = 0, max = kernel->param_count + kernel->local_count + kernel->view_count;
  const char **names = NEW_ARRAY(kernel->module->arena, const char *, max);
  for (int i = 0; i < kernel->param_count; i++) names[count++] = kernel->params[i]->name;
  for (int i = 0; i < kernel->local_count; i++) names[count++] = kernel->locals[i]->name;
  for (int i = 0; i < kernel->view_count; i++) names[count++] = kernel->views[i]->name;
  return check_unique(v, names, count);
}

static bool collect_names(const Verifier *v, const Block *block, const char **names, int *count) {
  for (const Instr *instr = block->first; instr; instr = instr->next) {
    for (int i = 0; i < instr->result_count; i++)
      if (instr->results[i]->name) names[(*count)++] = instr->results[i]->name;
    for (int b = 0; b < instr->block_count; b++) {
      for (int i = 0; i < instr->blocks[b]->param_count; i++)
        if (instr->blocks[b]->params[i]->name) names[(*count)++] = instr->blocks[b]->params[i]->name;
      TRY(collect_names(v, instr->blocks[b], names, count));
    }
  }
  return true;
}

static bool check_reg_names(const Verifier *v) {
  int count = 0;
  const char **names = NEW_ARRAY(v->kernel->module->arena, const char *, v->kernel->reg_count);
  collect_names(v, v->kernel->body, names, &count);
  for (int i = 0; i < count; i++)
    if (!is_identifier(names[i])) return bad(v, NULL, "'%s' is no name for a register", names[i]);
  return check_unique(v, names, count);
}

bool kernel_verify(const Kernel *kernel) {
  size_t count = (size_t)kernel->reg_count + 1;
  Verifier v = {.kernel = kernel, .visible = calloc(count, sizeof(Reg *)), .defined = calloc(count, 1)};
  bool ok = v.visible && v.defined;
  if (!ok)
    fail(kernel->module, "kernel '%s': no memory to check %d registers", kernel->name, kernel->reg_count);
  if (ok && !is_identifier(kernel->name)) ok = bad(&v, NULL, "its name is no identifier");
  ok = ok && check_buffers(&v) && check_buffer_names(&v) && verify_block(&v, kernel->body, NULL) &&
       check_reg_names(&v);
  free(v.visible);
  free(v.defined);
  return ok;
}
