/*
 * loop_print.c -- a kernel as text.
 *
 * Literals (const, dim) that have no name are written in place of the register wherever the position tells
 * their type; only those that are also needed elsewhere get a line of their own, and unused ones are not
 * shown. Registers without a name are numbered in the order of the text, so printing what was parsed gives
 * the same text.
 */
#include "ir/loop_text.h"
#include "ir/text.h"

#include <inttypes.h>
#include <stdlib.h>

const char *const buffer_kind_words[] = {"in", "out", "inout", "local", "view"};

enum { NUMBER_NONE = -1, NUMBER_INLINE = -2, NUMBER_USED = -3 };

typedef struct Printer {
  const Kernel *kernel;
  FILE *out;
  int *numbers; /* by register id: its number, or one of NUMBER_* */
  int depth;
} Printer;

/* ---- where literals may stand ---- */

bool opcode_is_access(Opcode op) {
  return op >= LOOP_LOAD && op <= LOOP_PREFETCH;
}

int access_first_index(const Instr *instr) {
  return instr->op == LOOP_STORE || instr->op == LOOP_SCATTER;
}

static bool access_literal(const Instr *instr, int arg, LoopType *type) {
  int first = access_first_index(instr);
  *type = arg < first ? (LoopType){instr->buffer->dtype, 1} : (LoopType){DTYPE_I64, 1};
  return arg < first + instr->buffer->rank;
}

static bool result_literal(const Instr *instr, int result, LoopType *type) {
  if (result < 0 || result >= instr->result_count) return false;
  *type = instr->results[result]->type;
  return true;
}

bool literal_type(const Instr *instr, int arg, LoopType *type) {
  const LoopType index = {DTYPE_I64, 1};
  if (opcode_is_access(instr->op)) return access_literal(instr, arg, type);
  if (opcode_is_comparison(instr->op)) {
    if (arg != 1 || !instr->args[0]) return false;
    *type = instr->args[0]->type;
    return true;
  }
  switch (instr->op) {
  case LOOP_SPLAT: *type = (LoopType){instr->results[0]->type.dtype, 1}; return true;
  case LOOP_LANES_BELOW:
  case LOOP_CALL: *type = index; return true;
  case LOOP_SELECT: return arg > 0 && result_literal(instr, 0, type);
  case LOOP_FOR:
  case LOOP_PARALLEL: *type = index; return arg < 2 || result_literal(instr, arg - 2, type);
  case LOOP_YIELD: return instr->block->owner && result_literal(instr->block->owner, arg, type);
  case LOOP_CAST:
  case LOOP_BITCAST:
  case LOOP_REDUCE_ADD:
  case LOOP_REDUCE_MAX:
  case LOOP_REDUCE_MIN:
  case LOOP_EXTRACT:
  case LOOP_SHUFFLE:
  case LOOP_LOOKUP:
  case LOOP_PICK:
  case LOOP_IF: return false;
  case LOOP_DOT_U8S8:
  case LOOP_DOT_BF16: return arg == 0 && result_literal(instr, 0, type);
  default: return result_literal(instr, 0, type);
  }
}

/* ---- numbering ---- */

static bool has_number(const Printer *p, const Reg *reg) {
  return reg && reg->id >= 0 && reg->id < p->kernel->reg_count;
}

static bool is_literal(const Reg *reg) {
  return !reg->name && reg->def && (reg->def->op == LOOP_CONST || reg->def->op == LOOP_DIM);
}

static void mark_uses(Printer *p, const Block *block) {
  for (const Instr *instr = block->first; instr; instr = instr->next) {
    for (int i = 0; i < instr->arg_count; i++) {
      LoopType type;
      Reg *arg = instr->args[i];
      if (!has_number(p, arg) || !is_literal(arg)) continue;
      if (!literal_type(instr, i, &type) || !loop_type_equal(type, arg->type))
        p->numbers[arg->id] = NUMBER_USED;
    }
    for (int i = 0; i < instr->block_count; i++) mark_uses(p, instr->blocks[i]);
  }
}

static void number_reg(Printer *p, const Reg *reg, int *next) {
  if (!has_number(p, reg) || reg->name) return;
  if (is_literal(reg) && p->numbers[reg->id] != NUMBER_USED)
    p->numbers[reg->id] = NUMBER_INLINE;
  else
    p->numbers[reg->id] = (*next)++;
}

static void number_block(Printer *p, const Block *block, int *next) {
  for (const Instr *instr = block->first; instr; instr = instr->next) {
    for (int i = 0; i < instr->result_count; i++) number_reg(p, instr->results[i], next);
    for (int b = 0; b < instr->block_count; b++) {
      for (int i = 0; i < instr->blocks[b]->param_count; i++)
        number_reg(p, instr->blocks[b]->params[i], next);
      number_block(p, instr->blocks[b], next);
    }
  }
}

static void number_all(Printer *p) {
  int count = p->kernel->reg_count, next = 0;
  p->numbers = calloc((size_t)count + 1, sizeof(int));
  if (!p->numbers) return; /* then every register prints as %? */
  for (int i = 0; i < count; i++) p->numbers[i] = NUMBER_NONE;
  mark_uses(p, p->kernel->body);
  number_block(p, p->kernel->body, &next);
}

/* ---- operands ---- */

static void print_type(Printer *p, LoopType type) {
  fputs(dtype_name(type.dtype), p->out);
  if (type.lanes != 1) fprintf(p->out, "x%d", type.lanes);
}

static void print_float(FILE *out, Dtype dtype, double value) {
  Text text = {0};
  text_add_float(&text, dtype, value);
  fputs(text.chars, out);
  text_free(&text);
}

static void print_literal(Printer *p, const Instr *instr) {
  Dtype dtype = instr->results[0]->type.dtype;
  if (instr->op == LOOP_DIM)
    fprintf(p->out, "dim(%s)", dim_text(p->kernel->module, instr->dim));
  else if (dtype_is_float(dtype))
    print_float(p->out, dtype, instr->fimm);
  else if (dtype == DTYPE_BOOL)
    fputs(instr->imm ? "true" : "false", p->out);
  else if (dtype == DTYPE_U64)
    fprintf(p->out, "%" PRIu64, (uint64_t)instr->imm);
  else
    fprintf(p->out, "%" PRId64, instr->imm);
}

static void print_reg(Printer *p, const Reg *reg) {
  int number = p->numbers && has_number(p, reg) ? p->numbers[reg->id] : NUMBER_NONE;
  if (reg && reg->name)
    fprintf(p->out, "%%%s", reg->name);
  else if (number >= 0)
    fprintf(p->out, "%%%d", number);
  else if (number == NUMBER_INLINE)
    print_literal(p, reg->def);
  else
    fputs("%?", p->out);
}

static void print_regs(Printer *p, Reg *const *regs, int count) {
  for (int i = 0; i < count; i++) {
    if (i > 0) fputs(", ", p->out);
    print_reg(p, regs[i]);
  }
}

static void print_results(Printer *p, const Instr *instr) {
  for (int i = 0; i < instr->result_count; i++) {
    if (i > 0) fputs(", ", p->out);
    print_reg(p, instr->results[i]);
    fputs(": ", p->out);
    print_type(p, instr->results[i]->type);
  }
  if (instr->result_count > 0) fputs(" = ", p->out);
}

/* ---- instructions ---- */

static void print_access(Printer *p, const Instr *instr) {
  int first = access_first_index(instr);
  const Buffer *buffer = instr->buffer;
  int rank = instr->arg_count - first - instr->masked;
  fputc(' ', p->out);
  if (first > 0) {
    print_regs(p, instr->args, 1);
    fputs(", ", p->out);
  }
  fprintf(p->out, "%%%s[", buffer->name);
  print_regs(p, instr->args + first, rank > 0 ? rank : 0);
  fputc(']', p->out);
  if (buffer->rank > 0 && instr->axis != buffer->rank - 1) fprintf(p->out, ", axis=%d", instr->axis);
  if (instr->step != 1) fprintf(p->out, ", step=%" PRId64, instr->step);
  if (instr->masked) {
    fputs(", mask=", p->out);
    print_regs(p, instr->args + instr->arg_count - 1, 1);
  }
}

/* call top_k(%x[%i, :], %values[%i, :], %indices[%i, :]), largest=1 */
static void print_call(Printer *p, const Instr *instr) {
  const Call *call = instr->call;
  Reg *const *next = instr->args;
  fprintf(p->out, " %s(", call->callee->name);
  for (int view = 0; view < call->callee->view_count; view++) {
    fprintf(p->out, "%s%%%s", view > 0 ? ", " : "", call->buffers[view]->name);
    for (int axis = 0; call->fixed[view] && axis < call->buffers[view]->rank; axis++) {
      fputs(axis > 0 ? ", " : "[", p->out);
      if (call->fixed[view] >> axis & 1)
        print_regs(p, next++, 1);
      else
        fputc(':', p->out);
    }
    if (call->fixed[view]) fputc(']', p->out);
  }
  fputc(')', p->out);
  for (int i = 0; i < call->callee->number_count; i++)
    fprintf(p->out, ", %s=%" PRId64, call->callee->numbers[i], call->numbers[i]);
}

static void print_loop_head(Printer *p, const Instr *instr) {
  const Block *body = instr->blocks[0];
  fputc(' ', p->out);
  print_regs(p, body->params, 1);
  fputs(" = ", p->out);
  print_regs(p, instr->args, 1);
  fputs(" to ", p->out);
  print_regs(p, instr->args + 1, 1);
  if (instr->step != 1) fprintf(p->out, " step %" PRId64, instr->step);
  for (int i = 1; i < body->param_count && i + 1 < instr->arg_count; i++) {
    fputs(i == 1 ? " carry " : ", ", p->out);
    print_regs(p, body->params + i, 1);
    fputs(" = ", p->out);
    print_regs(p, instr->args + i + 1, 1);
  }
}

static void print_lanes(Printer *p, const Instr *instr, const char *name, int count) {
  fprintf(p->out, ", %s=[", name);
  for (int i = 0; i < count; i++)
    fprintf(p->out, "%s%" PRId64, i > 0 ? "," : "", instr->lanes ? instr->lanes[i] : -1);
  fputc(']', p->out);
}

static void print_head(Printer *p, const Instr *instr) {
  print_results(p, instr);
  if (instr->op == LOOP_DIM) {
    print_literal(p, instr);
    return;
  }
  fputs(opcode_infos[instr->op].name, p->out);
  if (instr->op == LOOP_CONST) {
    fputc(' ', p->out);
    print_literal(p, instr);
  } else if (opcode_is_access(instr->op)) {
    print_access(p, instr);
  } else if (instr->op == LOOP_FOR || instr->op == LOOP_PARALLEL) {
    print_loop_head(p, instr);
  } else if (instr->op == LOOP_CALL) {
    print_call(p, instr);
  } else if (instr->arg_count > 0) {
    fputc(' ', p->out);
    print_regs(p, instr->args, instr->arg_count);
  }
  if (instr->op == LOOP_EXTRACT) fprintf(p->out, ", lane=%" PRId64, instr->imm);
  if (instr->op == LOOP_SHUFFLE) print_lanes(p, instr, "lanes", instr->results[0]->type.lanes);
  if (instr->op == LOOP_LOOKUP) print_lanes(p, instr, "table", TABLE_SIZE);
}

static bool is_inlined(const Printer *p, const Instr *instr) {
  return instr->result_count == 1 && p->numbers && has_number(p, instr->results[0]) &&
         p->numbers[instr->results[0]->id] == NUMBER_INLINE;
}

static void indent(const Printer *p) {
  for (int i = 0; i < p->depth; i++) fputs("  ", p->out);
}

static void print_block(Printer *p, const Block *block) {
  p->depth++;
  for (const Instr *instr = block->first; instr; instr = instr->next) {
    if (is_inlined(p, instr)) continue;
    indent(p);
    print_head(p, instr);
    for (int i = 0; i < instr->block_count; i++) {
      bool sections = instr->op == LOOP_SECTIONS;
      if (i > 0 && !sections && !instr->blocks[i]->first) continue; /* an empty else */
      if (i > 0) {
        indent(p);
        fputs(sections ? "} and" : "} else", p->out);
      }
      fputs(" {\n", p->out);
      print_block(p, instr->blocks[i]);
    }
    if (instr->block_count > 0) {
      indent(p);
      fputc('}', p->out);
    }
    fputc('\n', p->out);
  }
  p->depth--;
}

/* ---- kernels ---- */

static void print_dims(Printer *p, const char *before, int rank, const Dim *const *dims) {
  fprintf(p->out, "%s[", before);
  for (int i = 0; i < rank; i++)
    fprintf(p->out, "%s%s", i > 0 ? "," : "", dim_text(p->kernel->module, dims[i]));
  fputc(']', p->out);
}

static int default_align(const Buffer *buffer) {
  if (buffer->kind == BUFFER_LOCAL) return 64;
  if (buffer->kind == BUFFER_VIEW && (!buffer->offset || dim_is(buffer->offset, 0)))
    return buffer->base->align;
  return dtype_align(buffer->dtype);
}

/* %x: f32[M,64] [of %base] [offset=..] [strides=[..]] [align=..] */
static void print_buffer(Printer *p, const Buffer *buffer) {
  fprintf(p->out, "%%%s: ", buffer->name);
  if (buffer->kind <= BUFFER_INOUT) fprintf(p->out, "%s ", buffer_kind_words[buffer->kind]);
  fputs(dtype_name(buffer->dtype), p->out);
  if (buffer->rank > 0) print_dims(p, "", buffer->rank, buffer->dims);
  if (buffer->base) fprintf(p->out, " of %%%s", buffer->base->name);
  if (buffer->offset) fprintf(p->out, " offset=%s", dim_text(p->kernel->module, buffer->offset));
  if (buffer->strides) print_dims(p, " strides=", buffer->rank, buffer->strides);
  if (buffer->align != default_align(buffer)) fprintf(p->out, " align=%d", buffer->align);
}

static void print_declared(Printer *p, Buffer *const *buffers, int count) {
  for (int i = 0; i < count; i++) {
    fprintf(p->out, "  %s ", buffer_kind_words[buffers[i]->kind]);
    print_buffer(p, buffers[i]);
    fputc('\n', p->out);
  }
}

void kernel_print(const Kernel *kernel, FILE *out) {
  Printer p = {kernel, out, NULL, 0};
  number_all(&p);
  fprintf(out, "kernel %s(", kernel->name);
  for (int i = 0; i < kernel->param_count; i++) {
    if (i > 0) fputs(", ", out);
    print_buffer(&p, kernel->params[i]);
  }
  fputs(") {\n", out);
  print_declared(&p, kernel->locals, kernel->local_count);
  print_declared(&p, kernel->views, kernel->view_count);
  print_block(&p, kernel->body);
  fputs("}\n", out);
  free(p.numbers);
}

char *instr_text(const Kernel *kernel, const Instr *instr) {
  char *buffer = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&buffer, &size);
  if (!out) return arena_printf(kernel->module->arena, "%s", opcode_infos[instr->op].name);
  Printer p = {kernel, out, NULL, 0};
  number_all(&p);
  if (is_inlined(&p, instr)) p.numbers[instr->results[0]->id] = NUMBER_NONE;
  print_head(&p, instr);
  fclose(out);
  char *text = arena_printf(kernel->module->arena, "%s", buffer);
  free(buffer);
  free(p.numbers);
  return text;
}
