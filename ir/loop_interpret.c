/*
 * loop_interpret.c -- runs a kernel: slow, plain, and suspicious of every access.
 *
 * The kernel is first decoded to steps, whose registers are slots of one flat array and whose buffers have
 * numbers for sizes. Literals and sizes are put into their slots once. Each access checks each index of each
 * lane against its axis; locals and outputs remember which elements were written, and reading another one is
 * an error.
 */
#include "ir/loop_eval.h"
#include "ir/loop_text.h"

#include <stdlib.h>
#include <string.h>

/* A buffer at run time. Elements are numbered from the first of the root, the param or local that holds the
 * memory. */
typedef struct Memory {
  const Buffer *buffer;
  void *bytes; /* of the root */
  int64_t dims[MAX_RANK], strides[MAX_RANK];
  int64_t offset;         /* of this view's first element in the root */
  int64_t extent;         /* elements of the root, -1: not known (strided with negative steps) */
  unsigned char *written; /* by element of the root; NULL: all of it is defined */
} Memory;

typedef struct Step Step;

typedef struct Steps {
  int count;
  Step *steps;
} Steps;

struct Step {
  const Instr *instr;
  Opcode op;
  Dtype dtype; /* of the first operand, or of the buffer */
  int lanes;
  int result;              /* slot of the first result; the others follow */
  int carried;             /* of a loop: slots of all carried values together */
  int params;              /* of a loop: slot of the counter; the carried values follow */
  int args[3];             /* slots, where there are at most three */
  const int *all_args;     /* slots of all */
  const int *strides;      /* by argument: 1 for a vector, 0 for a scalar: what a lane adds to the slot */
  Memory *memory, **views; /* of an access; of a call, by view */
  Steps *blocks;           /* [block_count] */
  int local_count;         /* parallel: locals that belong to one iteration */
  Memory **locals;
};

typedef struct Run {
  const Kernel *kernel;
  Arena *arena; /* dies with the run */
  Lane *slots;
  int *slot_of; /* by register id */
  Memory *params, *locals, *views;
  const Instr **owners; /* by local: the innermost parallel loop around all its uses */
  bool *owned;          /* by local: was seen */
  const char *const *symbols;
  const int64_t *values;
  int symbol_count;
} Run;

static bool run_fail(Run *run, const Instr *instr, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool run_fail(Run *run, const Instr *instr, const char *format, ...) {
  char text[200];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  Module *module = run->kernel->module;
  if (!instr) return fail(module, "kernel '%s': %s", run->kernel->name, text);
  return fail(module, "kernel '%s': `%s`: %s", run->kernel->name, instr_text(run->kernel, instr), text);
}

/* ---- buffers ---- */

static bool eval(Run *run, const Dim *dim, int64_t *value) {
  if (dim_eval(dim, run->symbols, run->values, run->symbol_count, value)) return true;
  return run_fail(run, NULL, "the size %s has no value", dim_text(run->kernel->module, dim));
}

static bool eval_shape(Run *run, Memory *memory) {
  const Buffer *buffer = memory->buffer;
  int64_t stride = 1;
  for (int i = buffer->rank - 1; i >= 0; i--) {
    TRY(eval(run, buffer->dims[i], &memory->dims[i]));
    memory->strides[i] = stride;
    if (buffer->strides) TRY(eval(run, buffer->strides[i], &memory->strides[i]));
    int64_t size = memory->dims[i];
    if (size < 0) return run_fail(run, NULL, "axis %d of %s has size %lld", i, buffer->name, (long long)size);
    if (__builtin_mul_overflow(stride, size > 0 ? size : 1, &stride))
      return run_fail(run, NULL, "%s is too large", buffer->name);
  }
  return true;
}

/* Elements from the first to behind the last. */
static int64_t extent_of(const Memory *memory) {
  int64_t last = 0, reach;
  for (int i = 0; i < memory->buffer->rank; i++) {
    if (memory->dims[i] == 0) return 0;
    if (memory->strides[i] < 0 || __builtin_mul_overflow(memory->dims[i] - 1, memory->strides[i], &reach) ||
        __builtin_add_overflow(last, reach, &last))
      return -1;
  }
  return last == INT64_MAX ? -1 : last + 1;
}

static bool bind_root(Run *run, Memory *memory, const Buffer *buffer, void *bytes) {
  memory->buffer = buffer;
  TRY(eval_shape(run, memory));
  memory->extent = extent_of(memory);
  memory->bytes = bytes;
  size_t count = memory->extent > 0 ? (size_t)memory->extent : 0;
  if (buffer->kind == BUFFER_LOCAL)
    memory->bytes = arena_alloc(run->arena, (count * (size_t)dtype_bits(buffer->dtype) + 7) / 8);
  if (buffer->kind == BUFFER_LOCAL || (buffer->kind == BUFFER_OUT && memory->extent >= 0))
    memory->written = arena_alloc(run->arena, count);
  return true;
}

static Memory *memory_of(Run *run, const Buffer *buffer) {
  if (buffer->kind == BUFFER_VIEW) return &run->views[buffer->index];
  return buffer->kind == BUFFER_LOCAL ? &run->locals[buffer->index] : &run->params[buffer->index];
}

static bool bind_view(Run *run, Memory *memory, const Buffer *buffer) {
  const Memory *base = memory_of(run, buffer->base);
  int64_t offset = 0;
  memory->buffer = buffer;
  TRY(eval_shape(run, memory));
  if (buffer->offset) TRY(eval(run, buffer->offset, &offset));
  memory->offset = base->offset + offset;
  memory->bytes = base->bytes;
  memory->extent = base->extent;
  memory->written = base->written;
  return true;
}

static bool bind_buffers(Run *run, void *const *args) {
  const Kernel *kernel = run->kernel;
  run->params = NEW_ARRAY(run->arena, Memory, kernel->param_count);
  run->locals = NEW_ARRAY(run->arena, Memory, kernel->local_count);
  run->views = NEW_ARRAY(run->arena, Memory, kernel->view_count);
  for (int i = 0; i < kernel->param_count; i++)
    TRY(bind_root(run, &run->params[i], kernel->params[i], args[i]));
  for (int i = 0; i < kernel->local_count; i++) TRY(bind_root(run, &run->locals[i], kernel->locals[i], NULL));
  for (int i = 0; i < kernel->view_count; i++) TRY(bind_view(run, &run->views[i], kernel->views[i]));
  return true;
}

/* ---- decoding ---- */

static void place_reg(Run *run, const Reg *reg, int *next) {
  run->slot_of[reg->id] = *next;
  *next += reg->type.lanes;
}

static void place_block(Run *run, const Block *block, int *next) {
  for (int i = 0; i < block->param_count; i++) place_reg(run, block->params[i], next);
  for (const Instr *instr = block->first; instr; instr = instr->next) {
    for (int i = 0; i < instr->result_count; i++) place_reg(run, instr->results[i], next);
    for (int i = 0; i < instr->block_count; i++) place_block(run, instr->blocks[i], next);
  }
}

static const Instr *enclosing_parallel(const Instr *instr) {
  for (const Block *block = instr->block; block && block->owner; block = block->owner->block)
    if (block->owner->op == LOOP_PARALLEL) return block->owner;
  return NULL;
}

static bool is_inside(const Instr *instr, const Instr *loop) {
  for (; instr; instr = instr->block->owner)
    if (instr == loop) return true;
  return !loop;
}

static void note_local(Run *run, const Instr *instr, Buffer *buffer) {
  const Buffer *root = buffer_root(buffer);
  if (root->kind != BUFFER_LOCAL) return;
  const Instr **owner = &run->owners[root->index];
  if (!run->owned[root->index]) *owner = enclosing_parallel(instr);
  run->owned[root->index] = true;
  while (!is_inside(instr, *owner)) *owner = enclosing_parallel(*owner);
}

/* Values that never change are in their slots before the run starts. */
static bool preset(Run *run, const Instr *instr) {
  Reg *reg = instr->results[0];
  Lane *slots = run->slots + run->slot_of[reg->id];
  Lane value = {.c = {0, 0}};
  value.i = instr->imm;
  if (instr->op == LOOP_DIM) TRY(eval(run, instr->dim, &value.i));
  if (instr->op == LOOP_CONST && dtype_is_float(reg->type.dtype)) value.f = instr->fimm;
  for (int l = 0; l < reg->type.lanes; l++) slots[l] = instr->op == LOOP_IOTA ? (Lane){.i = l} : value;
  return true;
}

static bool is_preset(const Instr *instr) {
  return instr->op == LOOP_CONST || instr->op == LOOP_DIM || instr->op == LOOP_IOTA;
}

static void decode_args(Run *run, const Instr *instr, Step *step) {
  int *slots = NEW_ARRAY(run->arena, int, instr->arg_count),
      *strides = NEW_ARRAY(run->arena, int, instr->arg_count);
  for (int i = 0; i < instr->arg_count; i++) {
    slots[i] = run->slot_of[instr->args[i]->id];
    strides[i] = instr->args[i]->type.lanes > 1;
    if (i < COUNT_OF(step->args)) step->args[i] = slots[i];
  }
  step->all_args = slots;
  step->strides = strides;
}

static void decode_views(Run *run, const Instr *instr, Step *step) {
  int count = instr->call->callee->view_count;
  step->views = NEW_ARRAY(run->arena, Memory *, count);
  for (int i = 0; i < count; i++) step->views[i] = memory_of(run, instr->call->buffers[i]);
}

static bool decode_block(Run *run, const Block *block, Steps *steps);

static bool decode(Run *run, const Instr *instr, Step *step) {
  step->instr = instr;
  step->op = instr->op;
  decode_args(run, instr, step);
  if (instr->result_count > 0) {
    step->result = run->slot_of[instr->results[0]->id];
    step->lanes = instr->results[0]->type.lanes;
  }
  if (instr->op == LOOP_YIELD) step->result = run->slot_of[instr->block->owner->results[0]->id];
  if (instr->arg_count > 0) step->dtype = instr->args[0]->type.dtype;
  if (instr->buffer) {
    step->memory = memory_of(run, instr->buffer);
    step->dtype = instr->buffer->dtype;
    if (access_first_index(instr)) step->lanes = instr->args[0]->type.lanes;
  }
  for (int i = 0; i < instr_buffer_count(instr); i++) note_local(run, instr, instr_buffer(instr, i));
  if (instr->call) decode_views(run, instr, step);
  if (instr->op == LOOP_FOR || instr->op == LOOP_PARALLEL) {
    step->params = run->slot_of[instr->blocks[0]->params[0]->id];
    for (int i = 0; i < instr->result_count; i++) step->carried += instr->results[i]->type.lanes;
  }
  step->blocks = NEW_ARRAY(run->arena, Steps, instr->block_count);
  for (int i = 0; i < instr->block_count; i++) TRY(decode_block(run, instr->blocks[i], &step->blocks[i]));
  return true;
}

static bool decode_block(Run *run, const Block *block, Steps *steps) {
  int count = 0;
  for (const Instr *instr = block->first; instr; instr = instr->next) count += !is_preset(instr);
  steps->steps = NEW_ARRAY(run->arena, Step, count);
  for (const Instr *instr = block->first; instr; instr = instr->next) {
    if (is_preset(instr))
      TRY(preset(run, instr));
    else
      TRY(decode(run, instr, &steps->steps[steps->count++]));
  }
  return true;
}

/* After all accesses were seen. */
static void attach_locals(Run *run, Steps *steps) {
  for (int s = 0; s < steps->count; s++) {
    Step *step = &steps->steps[s];
    for (int i = 0; i < step->instr->block_count; i++) attach_locals(run, &step->blocks[i]);
    if (step->op != LOOP_PARALLEL) continue;
    step->locals = NEW_ARRAY(run->arena, Memory *, run->kernel->local_count);
    for (int i = 0; i < run->kernel->local_count; i++)
      if (run->owners[i] == step->instr) step->locals[step->local_count++] = &run->locals[i];
  }
}

/* ---- memory access ---- */

/* The element of the root that a lane addresses. */
static bool locate(Run *run, const Step *step, int lane, int64_t *element) {
  const Memory *memory = step->memory;
  const Instr *instr = step->instr;
  int first = access_first_index(instr);
  bool run_of_lanes = step->lanes > 1 && (step->op == LOOP_LOAD || step->op == LOOP_STORE);
  *element = memory->offset;
  for (int i = 0; i < memory->buffer->rank; i++) {
    int64_t index = run->slots[step->all_args[first + i] + step->strides[first + i] * lane].i;
    if (run_of_lanes && i == instr->axis)
      index = (int64_t)((uint64_t)index + (uint64_t)lane * (uint64_t)instr->step);
    if (index < 0 || index >= memory->dims[i])
      return run_fail(run, instr, "index %d is %lld in lane %d, outside [0, %lld)", i, (long long)index, lane,
                      (long long)memory->dims[i]);
    *element += index * memory->strides[i];
  }
  if (memory->extent >= 0 && (*element < 0 || *element >= memory->extent))
    return run_fail(run, instr, "element %lld is outside the %lld of the memory behind %s",
                    (long long)*element, (long long)memory->extent, memory->buffer->name);
  return true;
}

static bool lane_is_on(const Run *run, const Step *step, int lane) {
  if (!step->instr->masked) return true;
  int mask = step->instr->arg_count - 1;
  return run->slots[step->all_args[mask] + step->strides[mask] * lane].i != 0;
}

/* What nearly all steps of plain code are, without a word: false sends it the long way. */
static bool load_scalar(Run *run, const Step *step) {
  const Memory *memory = step->memory;
  int64_t element = memory->offset;
  if (step->lanes != 1 || step->instr->masked || memory->written || memory->buffer->kind == BUFFER_VIEW)
    return false;
  for (int i = 0; i < memory->buffer->rank; i++) {
    int64_t index = run->slots[step->all_args[i]].i;
    if (index < 0 || index >= memory->dims[i]) return false;
    element += index * memory->strides[i];
  }
  run->slots[step->result] = lane_load(step->dtype, memory->bytes, element);
  return true;
}

static bool load(Run *run, const Step *step) {
  if (load_scalar(run, step)) return true;
  const Memory *memory = step->memory;
  Lane *result = run->slots + step->result;
  const Lane zero = {.c = {0, 0}};
  for (int lane = 0; lane < step->lanes; lane++) {
    int64_t element;
    result[lane] = zero;
    if (!lane_is_on(run, step, lane)) continue;
    TRY(locate(run, step, lane, &element));
    if (memory->written && !memory->written[element])
      return run_fail(run, step->instr, "lane %d reads an element of %s that was never written", lane,
                      memory->buffer->name);
    result[lane] = lane_load(step->dtype, memory->bytes, element);
  }
  return true;
}

static bool store(Run *run, const Step *step) {
  const Memory *memory = step->memory;
  const Lane *value = run->slots + step->all_args[0];
  for (int lane = 0; lane < step->lanes; lane++) {
    int64_t element;
    if (!lane_is_on(run, step, lane)) continue;
    TRY(locate(run, step, lane, &element));
    if (memory->written) memory->written[element] = 1;
    lane_store(step->dtype, memory->bytes, element, value[lane]);
  }
  return true;
}

/* ---- calls ---- */

/* What a call gets of a buffer: the axes that are not at an index. Positions count elements of the root. */
typedef struct Part {
  Memory *memory;
  int64_t first;
  int rank;
  int64_t sizes[MAX_RANK], strides[MAX_RANK];
} Part;

/* *arg: the next argument of the call. */
static bool take_part(Run *run, const Step *step, int view, int *arg, Part *part) {
  const Memory *memory = step->views[view];
  *part = (Part){.memory = step->views[view], .first = memory->offset};
  for (int axis = 0; axis < memory->buffer->rank; axis++) {
    if (!(step->instr->call->fixed[view] >> axis & 1)) {
      part->sizes[part->rank] = memory->dims[axis];
      part->strides[part->rank++] = memory->strides[axis];
      continue;
    }
    int64_t index = run->slots[step->all_args[(*arg)++]].i;
    if (index < 0 || index >= memory->dims[axis])
      return run_fail(run, step->instr, "view %d: index %d is %lld, outside [0, %lld)", view, axis,
                      (long long)index, (long long)memory->dims[axis]);
    part->first += index * memory->strides[axis];
  }
  return true;
}

/* Moves to the next element; false behind the last. */
static bool part_advance(const Part *part, int64_t *at, int64_t *element) {
  for (int axis = part->rank - 1; axis >= 0; axis--) {
    *element += part->strides[axis];
    if (++at[axis] < part->sizes[axis]) return true;
    *element -= part->sizes[axis] * part->strides[axis];
    at[axis] = 0;
  }
  return false;
}

/* Every element lies in its memory and, if it is read, was written. */
static bool check_part(Run *run, const Step *step, int view, const Part *part) {
  const Memory *memory = part->memory;
  bool written = step->instr->call->callee->views[view].written;
  int64_t at[MAX_RANK] = {0}, element = part->first;
  for (int axis = 0; axis < part->rank; axis++)
    if (part->sizes[axis] == 0) return true;
  do {
    if (memory->extent >= 0 && (element < 0 || element >= memory->extent))
      return run_fail(run, step->instr, "view %d has element %lld, outside the %lld of the memory behind %s",
                      view, (long long)element, (long long)memory->extent, memory->buffer->name);
    if (memory->written && !written && !memory->written[element])
      return run_fail(run, step->instr, "view %d has an element of %s that was never written", view,
                      memory->buffer->name);
    if (memory->written) memory->written[element] = 1;
  } while (part_advance(part, at, &element));
  return true;
}

static View part_view(const Part *part) {
  Dtype dtype = part->memory->buffer->dtype;
  int64_t width = (dtype_bits(dtype) + 7) / 8;
  View view = {.data = part->memory->bytes, .dtype = (int32_t)dtype, .rank = part->rank};
  if (view.data) view.data += part->first * width;
  for (int axis = 0; axis < part->rank; axis++) {
    view.sizes[axis] = part->sizes[axis];
    view.strides[axis] = part->strides[axis] * width;
  }
  return view;
}

static bool run_call(Run *run, const Step *step) {
  const Call *call = step->instr->call;
  View views[MAX_VIEWS];
  int arg = 0;
  for (int i = 0; i < call->callee->view_count; i++) {
    Part part;
    TRY(take_part(run, step, i, &arg, &part) && check_part(run, step, i, &part));
    views[i] = part_view(&part);
  }
  call->callee->function(views, call->numbers);
  return true;
}

/* ---- values ---- */

static bool compute(Run *run, const Step *step) {
  Lane *slots = run->slots, *result = slots + step->result;
  const Lane *x = slots + step->args[0], *y = slots + step->args[1], *z = slots + step->args[2];
  for (int l = 0; l < step->lanes; l++)
    if (!lane_compute(step->op, step->dtype, x[l], y[l], z[l], &result[l]))
      return run_fail(run, step->instr, "division by zero in lane %d", l);
  return true;
}

static bool reduce(Run *run, const Step *step) {
  Opcode op = step->op == LOOP_REDUCE_ADD ? LOOP_ADD : step->op == LOOP_REDUCE_MAX ? LOOP_MAX : LOOP_MIN;
  const Lane *x = run->slots + step->args[0];
  int lanes = step->instr->args[0]->type.lanes;
  Lane sum = x[0];
  for (int l = 1; l < lanes; l++) lane_compute(op, step->dtype, sum, x[l], sum, &sum);
  run->slots[step->result] = sum;
  return true;
}

static bool dot(Run *run, const Step *step) {
  Lane *slots = run->slots, *result = slots + step->result;
  const Lane *acc = slots + step->args[0], *x = slots + step->args[1], *y = slots + step->args[2];
  int group = step->op == LOOP_DOT_U8S8 ? 4 : 2;
  for (int l = 0; l < step->lanes; l++) {
    Lane sum = acc[l];
    for (int k = l * group; k < (l + 1) * group; k++) {
      if (group == 4)
        sum.i = (int32_t)((uint64_t)sum.i + (uint64_t)(x[k].i * y[k].i));
      else
        sum.f += x[k].f * y[k].f;
    }
    result[l] = sum;
  }
  return true;
}

static bool shuffle(Run *run, const Step *step) {
  const Lane *x = run->slots + step->args[0], *y = run->slots + step->args[1];
  int lanes = step->instr->args[0]->type.lanes;
  for (int l = 0; l < step->lanes; l++) {
    int from = (int)step->instr->lanes[l];
    run->slots[step->result + l] = from < lanes ? x[from] : y[from - lanes];
  }
  return true;
}

static bool look_up(Run *run, const Step *step) {
  const Lane *x = run->slots + step->args[0];
  for (int l = 0; l < step->lanes; l++) run->slots[step->result + l].i = step->instr->lanes[(uint8_t)x[l].i];
  return true;
}

static bool reinterpret(Run *run, const Step *step) {
  LoopType from = step->instr->args[0]->type, to = step->instr->results[0]->type;
  uint64_t bits[MAX_LANES] = {0};
  for (int l = 0; l < from.lanes; l++) lane_store(from.dtype, bits, l, run->slots[step->args[0] + l]);
  for (int l = 0; l < to.lanes; l++) run->slots[step->result + l] = lane_load(to.dtype, bits, l);
  return true;
}

static bool rearrange(Run *run, const Step *step) {
  Lane *slots = run->slots, *result = slots + step->result;
  const Lane *x = slots + step->args[0], *y = slots + step->args[1], *z = slots + step->args[2];
  Dtype to = step->instr->results[0]->type.dtype;
  for (int l = 0; l < step->lanes; l++) {
    switch (step->op) {
    case LOOP_SPLAT: result[l] = *x; break;
    case LOOP_LANES_BELOW: result[l].i = l < x->i; break;
    case LOOP_SELECT: result[l] = x[l].i ? y[l] : z[l]; break;
    case LOOP_PICK: result[l] = x[l - l % 4 + (y[l].i & 3)]; break;
    case LOOP_CAST: result[l] = lane_cast(x[l], step->dtype, to); break;
    default: result[l] = x[step->instr->imm]; break; /* extract */
    }
  }
  return true;
}

/* ---- control ---- */

static bool run_steps(Run *run, const Steps *steps);

/* The values of arguments first, first + 1, ... one behind the other from slot `to` on. */
static void copy_args(Run *run, const Step *step, int first, int to) {
  Lane *slots = run->slots;
  for (int i = first; i < step->instr->arg_count; i++) {
    int lanes = step->strides[i] ? step->instr->args[i]->type.lanes : 1;
    for (int l = 0; l < lanes; l++) slots[to++] = slots[step->all_args[i] + l];
  }
}

/* Carried values rest in the loop's results between iterations: nobody reads those before the loop is over.
 */
static bool run_loop(Run *run, const Step *step) {
  int64_t i = run->slots[step->args[0]].i, hi = run->slots[step->args[1]].i;
  Lane *params = run->slots + step->params;
  copy_args(run, step, 2, step->result);
  while (i < hi) {
    params[0].i = i;
    for (int k = 0; k < step->carried; k++) params[1 + k] = run->slots[step->result + k];
    for (int k = 0; k < step->local_count; k++)
      memset(step->locals[k]->written, 0, (size_t)step->locals[k]->extent);
    TRY(run_steps(run, &step->blocks[0]));
    if (__builtin_add_overflow(i, step->instr->step, &i)) break;
  }
  return true;
}

static bool run_sections(Run *run, const Step *step) {
  for (int i = 0; i < step->instr->block_count; i++) TRY(run_steps(run, &step->blocks[i]));
  return true;
}

static bool run_step(Run *run, const Step *step) {
  switch (step->op) {
  case LOOP_LOAD:
  case LOOP_GATHER: return load(run, step);
  case LOOP_STORE:
  case LOOP_SCATTER: return store(run, step);
  case LOOP_PREFETCH: return true;
  case LOOP_SPLAT:
  case LOOP_LANES_BELOW:
  case LOOP_SELECT:
  case LOOP_CAST:
  case LOOP_PICK:
  case LOOP_EXTRACT: return rearrange(run, step);
  case LOOP_BITCAST: return reinterpret(run, step);
  case LOOP_SHUFFLE: return shuffle(run, step);
  case LOOP_LOOKUP: return look_up(run, step);
  case LOOP_REDUCE_ADD:
  case LOOP_REDUCE_MAX:
  case LOOP_REDUCE_MIN: return reduce(run, step);
  case LOOP_DOT_U8S8:
  case LOOP_DOT_BF16: return dot(run, step);
  case LOOP_FOR:
  case LOOP_PARALLEL: return run_loop(run, step);
  case LOOP_SECTIONS: return run_sections(run, step);
  case LOOP_CALL: return run_call(run, step);
  case LOOP_IF: return run_steps(run, &step->blocks[run->slots[step->args[0]].i ? 0 : 1]);
  case LOOP_YIELD: copy_args(run, step, 0, step->result); return true;
  default: return compute(run, step);
  }
}

static bool run_steps(Run *run, const Steps *steps) {
  for (int i = 0; i < steps->count; i++) TRY(run_step(run, &steps->steps[i]));
  return true;
}

/* ---- the whole ---- */

static bool run_kernel(Run *run, void *const *args) {
  const Kernel *kernel = run->kernel;
  Steps steps = {0};
  int slots = 0;
  run->slot_of = NEW_ARRAY(run->arena, int, kernel->reg_count);
  run->owners = NEW_ARRAY(run->arena, const Instr *, kernel->local_count);
  run->owned = NEW_ARRAY(run->arena, bool, kernel->local_count);
  TRY(bind_buffers(run, args));
  place_block(run, kernel->body, &slots);
  run->slots = NEW_ARRAY(run->arena, Lane, slots + MAX_LANES); /* absent operands are read, not used */
  TRY(decode_block(run, kernel->body, &steps));
  attach_locals(run, &steps);
  return run_steps(run, &steps);
}

bool kernel_interpret(const Kernel *kernel, void *const *args, const char *const *symbols,
                      const int64_t *values, int symbol_count) {
  Run run = {.kernel = kernel, .symbols = symbols, .values = values, .symbol_count = symbol_count};
  run.arena = arena_new();
  bool ok = run_kernel(&run, args);
  arena_free(run.arena);
  return ok;
}
