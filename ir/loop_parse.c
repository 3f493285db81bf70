/*
 * loop_parse.c -- text to kernels; the grammar is what loop_print.c writes.
 *
 * Only syntax and names are judged here, types are kernel_verify's business. A literal in place of a register
 * becomes a const or dim instruction right before the one that uses it, so that printing gives the same text
 * again.
 */
#include "ir/lexer.h"
#include "ir/loop_text.h"

#include <stdlib.h>
#include <string.h>

typedef struct Name {
  const char *string; /* interned */
  Reg *reg;
  struct Name *next;
} Name;

enum { NAME_BUCKETS = 256, MAX_RESULTS = 64 };

typedef struct Parser {
  Lexer lexer;
  Arena *arena;
  Kernel *kernel;
  Loops loops;
  Name *names[NAME_BUCKETS];
  int depth, instr_count;
} Parser;

/* ---- names ---- */

static Name **bucket_of(Parser *p, const char *string) {
  return &p->names[((uintptr_t)string >> 4) * 0x9E3779B1u % NAME_BUCKETS];
}

static Reg *find_reg(Parser *p, const char *string) {
  for (Name *name = *bucket_of(p, string); name; name = name->next)
    if (name->string == string) return name->reg;
  return NULL;
}

static bool is_number(const char *string) {
  return string[strspn(string, "0123456789")] == '\0';
}

/* Numbers stand for registers without a name. */
static bool define_reg(Parser *p, const char *string, const char *start, Reg *reg) {
  if (find_reg(p, string)) return lexer_fail(&p->lexer, start, "%%%s is defined twice", string);
  Name *name = NEW(p->arena, Name);
  *name = (Name){string, reg, *bucket_of(p, string)};
  *bucket_of(p, string) = name;
  if (!is_number(string)) reg->name = string;
  return true;
}

static Buffer *find_buffer(const Kernel *kernel, const char *string) {
  for (int i = 0; i < kernel->param_count; i++)
    if (strcmp(kernel->params[i]->name, string) == 0) return kernel->params[i];
  for (int i = 0; i < kernel->local_count; i++)
    if (strcmp(kernel->locals[i]->name, string) == 0) return kernel->locals[i];
  for (int i = 0; i < kernel->view_count; i++)
    if (strcmp(kernel->views[i]->name, string) == 0) return kernel->views[i];
  return NULL;
}

static bool parse_name(Parser *p, const char **string) {
  if (p->lexer.token.kind != TOKEN_VALUE) return lexer_expected(&p->lexer, "a name such as %x");
  *string = p->lexer.token.string;
  return lexer_next(&p->lexer);
}

static bool parse_buffer_name(Parser *p, Buffer **buffer) {
  const char *string = NULL, *start = p->lexer.token.start;
  TRY(parse_name(p, &string));
  *buffer = find_buffer(p->kernel, string);
  return *buffer || lexer_fail(&p->lexer, start, "there is no buffer %%%s", string);
}

/* ---- types ---- */

/* f32 or f32x16: one word. */
static bool parse_type(Parser *p, LoopType *type) {
  const Token token = p->lexer.token;
  if (token.kind != TOKEN_WORD) return lexer_expected(&p->lexer, "a type such as f32x16");
  const char *cross = memchr(token.string, 'x', token.length), *end = token.string + token.length;
  size_t length = cross ? (size_t)(cross - token.string) : token.length;
  type->dtype = dtype_from_name(token.string, length);
  type->lanes = 1;
  bool digits = !cross || (end - cross > 1 && end - cross < 6 && is_number(cross + 1));
  if (cross && digits) type->lanes = atoi(cross + 1);
  if (type->dtype == DTYPE_NONE || !digits) return lexer_expected(&p->lexer, "a type such as f32x16");
  if (type->lanes < 1 || type->lanes > MAX_LANES)
    return lexer_fail(&p->lexer, token.start, "%d lanes are not in [1, %d]", type->lanes, MAX_LANES);
  return lexer_next(&p->lexer);
}

/* ---- operands ---- */

static bool parse_literal(Parser *p, LoopType type, Reg **reg) {
  Lexer *lexer = &p->lexer;
  int64_t integer = 0;
  double number = 0;
  bool truth = false;
  if (token_is_word(lexer, "dim") && type.dtype == DTYPE_I64 && type.lanes == 1) {
    const Dim *dim;
    TRY(lexer_next(lexer) && lexer_skip(lexer, '(') && lexer_dim(lexer, &dim) && lexer_skip(lexer, ')'));
    *reg = loop_dim(&p->loops, dim);
    return true;
  }
  if (dtype_is_float(type.dtype)) {
    TRY(lexer_float(lexer, &number));
    *reg = loop_const(&p->loops, type, number);
    return true;
  }
  if (type.dtype == DTYPE_BOOL)
    TRY(lexer_bool(lexer, &truth));
  else if (type.dtype == DTYPE_U64)
    TRY(lexer_unsigned(lexer, (uint64_t *)&integer));
  else
    TRY(lexer_int(lexer, &integer));
  *reg = loop_const_int(&p->loops, type, type.dtype == DTYPE_BOOL ? truth : integer);
  return true;
}

/* The last instruction of the block goes before the one that was last before it. */
static void swap_last_two(Block *block) {
  Instr *last = block->last, *before = last->prev;
  last->prev = before->prev;
  if (last->prev)
    last->prev->next = last;
  else
    block->first = last;
  last->next = before;
  before->prev = last;
  before->next = NULL;
  block->last = before;
}

/* Argument `index` of `instr`, which is the last of its block. */
static bool parse_arg(Parser *p, Instr *instr, int index) {
  LoopType type;
  if (p->lexer.token.kind == TOKEN_VALUE) {
    const char *string, *start = p->lexer.token.start;
    TRY(parse_name(p, &string));
    instr->args[index] = find_reg(p, string);
    return instr->args[index] || lexer_fail(&p->lexer, start, "%%%s is not defined before", string);
  }
  if (!literal_type(instr, index, &type))
    return lexer_expected(&p->lexer, "a register (a literal's type is not known here)");
  TRY(parse_literal(p, type, &instr->args[index]));
  swap_last_two(instr->block);
  return true;
}

static bool parse_args(Parser *p, Instr *instr, int first, int count) {
  for (int i = first; i < first + count; i++) {
    if (i > first) TRY(lexer_skip(&p->lexer, ','));
    TRY(parse_arg(p, instr, i));
  }
  return true;
}

/* ---- attributes: `, key=value` ---- */

static bool parse_lanes(Parser *p, Instr *instr, int count) {
  int64_t *lanes = NEW_ARRAY(p->arena, int64_t, count);
  TRY(lexer_skip(&p->lexer, '['));
  for (int i = 0; i < count; i++) {
    if (i > 0) TRY(lexer_skip(&p->lexer, ','));
    TRY(lexer_int(&p->lexer, &lanes[i]));
  }
  instr->lanes = lanes;
  return lexer_skip(&p->lexer, ']');
}

static bool parse_attribute(Parser *p, Instr *instr) {
  Lexer *lexer = &p->lexer;
  const Token key = lexer->token;
  bool access = opcode_is_access(instr->op);
  int64_t axis;
  if (key.kind != TOKEN_WORD) return lexer_expected(lexer, "an attribute");
  TRY(lexer_next(lexer) && lexer_skip(lexer, '='));
  if (instr->op == LOOP_EXTRACT && strcmp(key.string, "lane") == 0) return lexer_int(lexer, &instr->imm);
  if (instr->op == LOOP_SHUFFLE && strcmp(key.string, "lanes") == 0)
    return parse_lanes(p, instr, instr->results[0]->type.lanes);
  if (instr->op == LOOP_LOOKUP && strcmp(key.string, "table") == 0) return parse_lanes(p, instr, TABLE_SIZE);
  if (access && strcmp(key.string, "step") == 0) return lexer_int(lexer, &instr->step);
  if (access && strcmp(key.string, "axis") == 0) {
    TRY(lexer_int(lexer, &axis));
    instr->axis = axis < 0 || axis > MAX_RANK ? MAX_RANK : (int)axis;
    return true;
  }
  if (access && strcmp(key.string, "mask") == 0 && !instr->masked) {
    instr->masked = true;
    return parse_arg(p, instr, instr->arg_count++);
  }
  return lexer_fail(lexer, key.start, "%s has no attribute '%s' here", opcode_infos[instr->op].name,
                    key.string);
}

static bool parse_attributes(Parser *p, Instr *instr) {
  while (token_is(&p->lexer, ',')) {
    TRY(lexer_next(&p->lexer));
    TRY(parse_attribute(p, instr));
  }
  return true;
}

/* ---- instructions ---- */

typedef struct Results {
  int count;
  LoopType types[MAX_RESULTS];
  const char *names[MAX_RESULTS], *starts[MAX_RESULTS];
} Results;

static bool parse_results(Parser *p, Results *results) {
  results->count = 0;
  if (p->lexer.token.kind != TOKEN_VALUE) return true;
  for (;;) {
    int i = results->count++;
    if (i == MAX_RESULTS) return lexer_fail(&p->lexer, p->lexer.token.start, "over %d results", MAX_RESULTS);
    results->starts[i] = p->lexer.token.start;
    TRY(parse_name(p, &results->names[i]) && lexer_skip(&p->lexer, ':') && parse_type(p, &results->types[i]));
    if (!token_is(&p->lexer, ',')) return lexer_skip(&p->lexer, '=');
    TRY(lexer_next(&p->lexer));
  }
}

static bool parse_block(Parser *p, Block *block);

static bool parse_access(Parser *p, Instr *instr) {
  int first = access_first_index(instr);
  const char *value_start = p->lexer.token.start;
  /* A stored literal has the type of the buffer, which comes after it: look ahead by parsing the value last.
   */
  Lexer at_value = p->lexer;
  if (first > 0) {
    if (token_is(&p->lexer, '-')) TRY(lexer_next(&p->lexer));
    if (p->lexer.token.kind != TOKEN_VALUE && p->lexer.token.kind != TOKEN_WORD)
      return lexer_fail(&p->lexer, value_start, "expected a value to store");
    bool dim = token_is_word(&p->lexer, "dim");
    const Dim *skipped;
    TRY(lexer_next(&p->lexer));
    if (dim) TRY(lexer_skip(&p->lexer, '(') && lexer_dim(&p->lexer, &skipped) && lexer_skip(&p->lexer, ')'));
    TRY(lexer_skip(&p->lexer, ','));
  }
  TRY(parse_buffer_name(p, &instr->buffer));
  Lexer behind = p->lexer;
  p->lexer = at_value;
  if (first > 0) TRY(parse_arg(p, instr, 0));
  p->lexer = behind;
  instr->axis = instr->buffer->rank > 0 ? instr->buffer->rank - 1 : 0;
  instr->step = 1;
  instr->arg_count = first + instr->buffer->rank;
  TRY(lexer_skip(&p->lexer, '[') && parse_args(p, instr, first, instr->buffer->rank));
  return lexer_skip(&p->lexer, ']') && parse_attributes(p, instr);
}

/* One view of a call: a buffer, maybe with some axes at an index and the others as `:`. */
static bool parse_view(Parser *p, Instr *instr, Call *call, int view) {
  Lexer *lexer = &p->lexer;
  TRY(parse_buffer_name(p, &call->buffers[view]));
  if (!token_is(lexer, '[')) return true;
  TRY(lexer_next(lexer));
  for (int axis = 0; axis < call->buffers[view]->rank; axis++) {
    if (axis > 0) TRY(lexer_skip(lexer, ','));
    if (token_is(lexer, ':')) {
      TRY(lexer_next(lexer));
      continue;
    }
    call->fixed[view] |= 1u << axis;
    TRY(parse_arg(p, instr, instr->arg_count++));
  }
  return lexer_skip(lexer, ']');
}

static bool parse_call(Parser *p, Instr *instr) {
  Lexer *lexer = &p->lexer;
  Call *call = NEW(p->arena, Call);
  instr->call = call;
  instr->arg_count = 0;
  call->callee = lexer->token.kind == TOKEN_WORD ? callee_find(lexer->token.string) : NULL;
  if (!call->callee) return lexer_expected(lexer, "the name of a function of the runtime");
  TRY(lexer_next(lexer) && lexer_skip(lexer, '('));
  for (int view = 0; view < call->callee->view_count; view++) {
    if (view > 0) TRY(lexer_skip(lexer, ','));
    TRY(parse_view(p, instr, call, view));
  }
  TRY(lexer_skip(lexer, ')'));
  for (int i = 0; i < call->callee->number_count; i++)
    TRY(lexer_skip(lexer, ',') && lexer_skip_word(lexer, call->callee->numbers[i]) &&
        lexer_skip(lexer, '=') && lexer_int(lexer, &call->numbers[i]));
  return true;
}

static bool parse_carried(Parser *p, Instr *instr, const char **names, const char **starts) {
  for (int i = 0; i < instr->result_count; i++) {
    TRY(i == 0 ? lexer_skip_word(&p->lexer, "carry") : lexer_skip(&p->lexer, ','));
    starts[i + 1] = p->lexer.token.start;
    TRY(parse_name(p, &names[i + 1]) && lexer_skip(&p->lexer, '=') && parse_arg(p, instr, i + 2));
  }
  return true;
}

static bool parse_loop(Parser *p, Instr *instr) {
  Lexer *lexer = &p->lexer;
  const char *names[MAX_RESULTS + 1], *starts[MAX_RESULTS + 1];
  LoopType types[MAX_RESULTS + 1] = {{DTYPE_I64, 1}};
  starts[0] = lexer->token.start;
  TRY(parse_name(p, &names[0]) && lexer_skip(lexer, '=') && parse_arg(p, instr, 0));
  TRY(lexer_skip_word(lexer, "to") && parse_arg(p, instr, 1));
  instr->step = 1;
  if (token_is_word(lexer, "step")) TRY(lexer_next(lexer) && lexer_int(lexer, &instr->step));
  TRY(parse_carried(p, instr, names, starts));
  for (int i = 0; i < instr->result_count; i++) types[i + 1] = instr->results[i]->type;
  Block *body = instr_add_block(p->kernel, instr, instr->result_count + 1, types);
  for (int i = 0; i < body->param_count; i++) TRY(define_reg(p, names[i], starts[i], body->params[i]));
  return lexer_skip(lexer, '{') && parse_block(p, body);
}

static bool parse_if(Parser *p, Instr *instr) {
  TRY(parse_arg(p, instr, 0));
  Block *yes = instr_add_block(p->kernel, instr, 0, NULL), *no = instr_add_block(p->kernel, instr, 0, NULL);
  TRY(lexer_skip(&p->lexer, '{') && parse_block(p, yes));
  if (!token_is_word(&p->lexer, "else")) return true;
  return lexer_next(&p->lexer) && lexer_skip(&p->lexer, '{') && parse_block(p, no);
}

static bool parse_sections(Parser *p, Instr *instr) {
  do {
    TRY(lexer_skip(&p->lexer, '{') && parse_block(p, instr_add_block(p->kernel, instr, 0, NULL)));
    if (!token_is_word(&p->lexer, "and")) return true;
  } while (lexer_next(&p->lexer));
  return false;
}

static bool parse_yield(Parser *p, Instr *instr, const char *start) {
  const Instr *owner = instr->block->owner;
  if (!owner) return lexer_fail(&p->lexer, start, "yield stands in no loop and no if");
  instr->arg_count = owner->result_count;
  return parse_args(p, instr, 0, owner->result_count);
}

/* Room for the arguments that the opcode may have here. */
static int max_args(const Instr *owner, Opcode op, const Results *results) {
  if (opcode_infos[op].operands >= 0) return opcode_infos[op].operands;
  if (opcode_is_access(op)) return MAX_RANK + 2;
  if (op == LOOP_IF) return 1;
  if (op == LOOP_SECTIONS) return 0;
  if (op == LOOP_CALL) return MAX_VIEWS * MAX_RANK;
  return op == LOOP_YIELD ? (owner ? owner->result_count : 0) : results->count + 2;
}

static bool parse_operation(Parser *p, Instr *instr, const char *start) {
  switch (instr->op) {
  case LOOP_LOAD:
  case LOOP_STORE:
  case LOOP_GATHER:
  case LOOP_SCATTER:
  case LOOP_PREFETCH: return parse_access(p, instr);
  case LOOP_FOR:
  case LOOP_PARALLEL: return parse_loop(p, instr);
  case LOOP_SECTIONS: return parse_sections(p, instr);
  case LOOP_CALL: return parse_call(p, instr);
  case LOOP_IF: return parse_if(p, instr);
  case LOOP_YIELD: return parse_yield(p, instr, start);
  case LOOP_DIM:
    return lexer_skip(&p->lexer, '(') && lexer_dim(&p->lexer, &instr->dim) && lexer_skip(&p->lexer, ')');
  default: return parse_args(p, instr, 0, instr->arg_count) && parse_attributes(p, instr);
  }
}

static bool find_opcode(Parser *p, Opcode *op) {
  for (int i = 0; i < LOOP_OPCODE_COUNT; i++) {
    if (!token_is_word(&p->lexer, opcode_infos[i].name)) continue;
    *op = (Opcode)i;
    return lexer_next(&p->lexer);
  }
  return lexer_expected(&p->lexer, "an instruction");
}

/* `const` has its value where others have operands. */
static bool parse_const(Parser *p, const Results *results) {
  Reg *reg;
  TRY(parse_literal(p, results->types[0], &reg));
  return define_reg(p, results->names[0], results->starts[0], reg);
}

static bool parse_instr(Parser *p) {
  Results results;
  Opcode op = LOOP_CONST;
  const char *start = p->lexer.token.start;
  if (++p->instr_count > MAX_INSTRS)
    return lexer_fail(&p->lexer, start, "over %d instructions", (int)MAX_INSTRS);
  TRY(parse_results(p, &results));
  start = p->lexer.token.start;
  TRY(find_opcode(p, &op));
  bool free_results = op == LOOP_FOR || op == LOOP_IF;
  int wanted = opcode_infos[op].operands >= 0 || op == LOOP_LOAD || op == LOOP_GATHER;
  if (!free_results && results.count != wanted)
    return lexer_fail(&p->lexer, start, "%s has %d results, not %d", opcode_infos[op].name, wanted,
                      results.count);
  if (op == LOOP_CONST) return parse_const(p, &results);
  Instr *instr =
      instr_new(&p->loops, op, results.count, results.types, max_args(p->loops.block->owner, op, &results));
  TRY(parse_operation(p, instr, start));
  for (int i = 0; i < results.count; i++)
    TRY(define_reg(p, results.names[i], results.starts[i], instr->results[i]));
  return true;
}

/* Up to and with the closing brace. */
static bool parse_block(Parser *p, Block *block) {
  Block *outer = p->loops.block;
  if (++p->depth > MAX_NESTING)
    return lexer_fail(&p->lexer, p->lexer.token.start, "nested deeper than %d", (int)MAX_NESTING);
  p->loops.block = block;
  while (!token_is(&p->lexer, '}')) TRY(parse_instr(p));
  p->loops.block = outer;
  p->depth--;
  return lexer_next(&p->lexer);
}

/* ---- buffers ---- */

typedef struct Declared {
  const char *name;
  BufferKind kind;
  const Type *type;
  Buffer *base;
  const Dim *offset, *const *strides;
  int64_t align;
} Declared;

static bool parse_strides(Parser *p, Declared *d) {
  const Dim **strides = NEW_ARRAY(p->arena, const Dim *, d->type->rank);
  TRY(lexer_skip(&p->lexer, '['));
  for (int i = 0; i < d->type->rank; i++) {
    if (i > 0) TRY(lexer_skip(&p->lexer, ','));
    TRY(lexer_dim(&p->lexer, &strides[i]));
  }
  d->strides = strides;
  return lexer_skip(&p->lexer, ']');
}

static bool parse_buffer_attributes(Parser *p, Declared *d) {
  Lexer *lexer = &p->lexer;
  if (d->kind == BUFFER_VIEW) TRY(lexer_skip_word(lexer, "of") && parse_buffer_name(p, &d->base));
  if (d->kind == BUFFER_VIEW && token_is_word(lexer, "offset"))
    TRY(lexer_next(lexer) && lexer_skip(lexer, '=') && lexer_dim(lexer, &d->offset));
  if (token_is_word(lexer, "strides"))
    TRY(lexer_next(lexer) && lexer_skip(lexer, '=') && parse_strides(p, d));
  if (!token_is_word(lexer, "align")) return true;
  const char *start = lexer->token.start;
  TRY(lexer_next(lexer) && lexer_skip(lexer, '=') && lexer_int(lexer, &d->align));
  return (d->align > 0 && d->align <= 4096) ||
         lexer_fail(lexer, start, "alignment %lld is not in [1, 4096]", (long long)d->align);
}

static bool add_declared(Parser *p, const Declared *d, const char *start) {
  const Type *type = d->type;
  Buffer *buffer;
  if (d->kind == BUFFER_VIEW) {
    buffer = kernel_add_view(p->kernel, d->name, d->base, d->offset, type->rank, type->dims, d->strides);
    buffer->dtype = type->dtype;
  } else if (d->kind == BUFFER_LOCAL) {
    int64_t sizes[MAX_RANK];
    if (d->strides || !type_is_static(type))
      return lexer_fail(&p->lexer, start, "a local has constant sizes and no strides");
    for (int i = 0; i < type->rank; i++) sizes[i] = type->dims[i]->value;
    buffer = kernel_add_local(p->kernel, d->name, type->dtype, type->rank, sizes);
  } else {
    buffer =
        kernel_add_param(p->kernel, d->kind, d->name, type->dtype, type->rank, type->dims, d->strides, 1);
  }
  if (d->align) buffer->align = (int)d->align;
  return true;
}

/* Behind the word that tells a local or view: %name: ... */
static bool parse_buffer(Parser *p, BufferKind kind) {
  Declared d = {.kind = kind};
  Lexer *lexer = &p->lexer;
  const char *start = lexer->token.start;
  TRY(parse_name(p, &d.name) && lexer_skip(lexer, ':'));
  if (find_buffer(p->kernel, d.name))
    return lexer_fail(lexer, start, "buffer %%%s is declared twice", d.name);
  if (kind <= BUFFER_INOUT) {
    int word = 0;
    while (word <= BUFFER_INOUT && !token_is_word(lexer, buffer_kind_words[word])) word++;
    if (word > BUFFER_INOUT) return lexer_expected(lexer, "in, out or inout");
    d.kind = (BufferKind)word;
    TRY(lexer_next(lexer));
  }
  TRY(lexer_type(lexer, &d.type) && parse_buffer_attributes(p, &d));
  return add_declared(p, &d, start);
}

/* ---- kernels ---- */

static bool parse_kernel(Parser *p, Kernel **kernel) {
  Lexer *lexer = &p->lexer;
  TRY(lexer_skip_word(lexer, "kernel"));
  if (lexer->token.kind != TOKEN_WORD) return lexer_expected(lexer, "the name of the kernel");
  memset(p->names, 0, sizeof p->names);
  *kernel = p->kernel = kernel_new(lexer->module, lexer->token.string);
  p->loops = loops_in(p->kernel);
  TRY(lexer_next(lexer) && lexer_skip(lexer, '('));
  for (bool more = !token_is(lexer, ')'); more;)
    TRY(parse_buffer(p, BUFFER_IN) && lexer_comma_or(lexer, ')', &more));
  if (p->kernel->param_count == 0) TRY(lexer_skip(lexer, ')'));
  TRY(lexer_skip(lexer, '{'));
  for (;;) {
    BufferKind kind = token_is_word(lexer, "local") ? BUFFER_LOCAL : BUFFER_VIEW;
    if (kind == BUFFER_VIEW && !token_is_word(lexer, "view")) break;
    TRY(lexer_next(lexer) && parse_buffer(p, kind));
  }
  return parse_block(p, p->kernel->body);
}

Kernel **kernels_parse(Module *module, const char *text, size_t length, int *count) {
  Parser p = {.arena = module->arena};
  Kernel **kernels = NULL;
  *count = 0;
  if (!lexer_start(&p.lexer, module, module->file, text, length)) return NULL;
  while (p.lexer.token.kind != TOKEN_END) {
    kernels = lexer_grow(&p.lexer, kernels, *count, sizeof *kernels);
    p.depth = 0;
    if (!parse_kernel(&p, &kernels[*count])) return NULL;
    ++*count;
  }
  if (*count > 0) return kernels;
  lexer_expected(&p.lexer, "kernel");
  return NULL;
}
