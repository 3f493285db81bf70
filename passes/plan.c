/*
 * plan.c -- every intermediate gets an offset in one scratch arena.
 *
 * Before: fused kernels in their final order. After: the attribute `offsets` of each kernel has one entry per
 * result: bytes from the start of scratch, a multiple of 64, or -1 for a result without memory of its own: an
 * output of the graph is written where the caller wants it, and what lies in another value (ir/place.c)
 * shares the memory of that, as reshapes do. Changes nothing else.
 *
 * What depends on constants only (fold leaves what is cheaper to make than to store, such as transformed
 * weights) is computed once, when a library's state is prepared: such kernels get `memory=state`, and offsets
 * in the state, one after the other.
 *
 * A buffer lives from the first kernel that writes into it to the last that reads from it, through any view
 * or part. Sizes known now are placed largest first into the tightest gap that is free for their whole life;
 * symbolic sizes follow behind: those that are equal share memory, different ones follow one another. A
 * kernel of pointwise ops writes over an operand that dies with it and has the same size: it reads each
 * element just before it writes it.
 */
#include "passes/rewrite.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

/* Memory that lives from kernel `first` to kernel `last`; several values when written in place. */
typedef struct Slot {
  int first, last;
  const Dim *size;   /* bytes, a multiple of ALIGNMENT */
  const Dim *offset; /* NULL: not placed */
} Slot;

/* What a result that owns memory needs. */
enum { OUTPUT = -1, STATE = -2, UNKNOWN = -3 };
typedef struct Memory {
  int first, last; /* life of all that lies in it */
  int slot;        /* number, OUTPUT, STATE or UNKNOWN */
} Memory;

/* What is planned: node->mark is the position in the order, so liveness is a comparison. */
typedef struct Plan {
  Module *module;
  Graph *graph;
  const Places *places;
  Slot *slots;
  int count;
  int *first_result; /* of each node, by mark: the number of its first result */
  Memory *memories;  /* by number of the result */
  int result_total;
  bool *is_state;  /* by mark: made of constants only, and no output */
  bool only_state; /* of dynamic graphs: all other memory is found when they run */
} Plan;

static Memory *memory_of(const Plan *plan, const Value *value) {
  return &plan->memories[plan->first_result[value->def->mark] + value->index];
}

/* The value in whose memory this one lies, of parts and views. */
static const Value *memory_owner(const Plan *plan, const Value *value) {
  return value_place(plan->places, value).root;
}

/* ---- liveness ---- */

static void extend_life(const Value *value, int *last) {
  FOR_EACH_USE(use, value) {
    if (use->node->mark > *last) *last = use->node->mark;
    if (node_is_view(use->node)) extend_life(result(use->node, 0), last);
  }
}

/* What the caller has the memory for, or an outer graph: states are no such outputs. */
static bool reaches_output(const Value *value) {
  const Graph *graph = value->graph;
  FOR_EACH_USE(use, value) {
    int index = (int)(use - use->node->operands);
    if (node_is(use->node, &op_return) && index < graph->output_count - graph->state_count) return true;
    if (node_is_view(use->node) && reaches_output(result(use->node, 0))) return true;
  }
  return false;
}

static const Dim *aligned_size(Module *module, const Type *type) {
  const Dim *bits = dim_mul(module, type_count(module, type), dim_const(module, dtype_bits(type->dtype)));
  const Dim *blocks = dim_ceildiv(module, bits, dim_const(module, 8 * ALIGNMENT));
  return dim_mul(module, blocks, dim_const(module, ALIGNMENT));
}

/* A kernel without anchor whose ops all read exactly where they write. */
static bool kernel_is_pointwise(const Node *kernel) {
  if (!node_is(kernel, &op_kernel)) return false;
  FOR_EACH_NODE(node, kernel->regions[0])
  if (!(node->op->traits & TRAIT_STRUCTURE) && !node_is_pointwise(node)) return false;
  return true;
}

/* Whether the kernel reads the memory of operand `index` by another operand, too, elsewhere than there. */
static bool reads_elsewhere(const Plan *plan, const Node *kernel, int index) {
  const Value *owner = memory_owner(plan, operand(kernel, index));
  for (int i = 0; i < kernel->operand_count; i++) {
    const Value *x = operand(kernel, i);
    if (x && memory_owner(plan, x) == owner && value_root(x) != owner) return true;
  }
  return false;
}

/* The slot of an operand that dies in this kernel and may be written over; OUTPUT when there is none. */
static int slot_to_overwrite(const Plan *plan, const Node *kernel, const Slot *slot) {
  if (!kernel_is_pointwise(kernel) || kernel->result_count != 1) return OUTPUT;
  for (int i = 0; i < kernel->operand_count; i++) {
    const Value *x = operand(kernel, i), *root = x ? value_root(x) : NULL;
    if (!root || !root->def || root->def->data || !type_same_shape(x->type, result(kernel, 0)->type))
      continue;
    int number = memory_of(plan, root)->slot;
    if (memory_owner(plan, root) != root || number < 0 || reads_elsewhere(plan, kernel, i)) continue;
    const Slot *old = &plan->slots[number];
    if (dtype_bits(x->type->dtype) != dtype_bits(result(kernel, 0)->type->dtype)) continue;
    if (old->last == kernel->mark && old->size == slot->size) return number;
  }
  return OUTPUT;
}

static bool made_of_state(const Plan *plan, const Value *value) {
  return value->def && (value->def->data || plan->is_state[value->def->mark]);
}

/* A slice without code, of what is computed into the state. */
static bool is_part_of_state(const Plan *plan, const Node *node) {
  if (!kernel_is_in_place(node) || node->operand_count != 1 || reaches_output(result(node, 0))) return false;
  const Value *owner = memory_owner(plan, result(node, 0));
  return owner != result(node, 0) && owner->def && !owner->def->data && plan->is_state[owner->def->mark];
}

/* Views and parts of state are state, too; parts of what lives in scratch are not. */
static bool belongs_to_state(const Plan *plan, const Node *node) {
  if (!node_is(node, &op_kernel) && !node_is_view(node)) return false;
  for (int i = 0; i < node->operand_count; i++)
    if (operand(node, i) && !made_of_state(plan, operand(node, i))) return false;
  if (is_part_of_state(plan, node)) return true;
  for (int i = 0; i < node->result_count; i++) {
    const Value *value = result(node, i);
    bool is_part = !node_is_view(node) && memory_owner(plan, value) != value;
    if (is_part || reaches_output(value) || !type_is_static(value->type)) return false;
  }
  return node->operand_count > 0 && !kernel_is_in_place(node);
}

static int plan_memory(Plan *plan, const Value *value) {
  if (reaches_output(value)) return OUTPUT;
  if (plan->is_state[value->def->mark]) return STATE;
  const Memory *memory = memory_of(plan, value);
  Slot slot = {memory->first, memory->last, aligned_size(plan->module, value->type), NULL};
  int old = slot_to_overwrite(plan, value->def, &slot);
  if (old != OUTPUT) {
    plan->slots[old].last = slot.last;
    return old;
  }
  plan->slots[plan->count] = slot;
  return plan->count++;
}

/* Nodes that compute into memory of their own or others. */
static bool node_computes(const Node *node) {
  return node_is(node, &op_kernel) || !(node->op->traits & TRAIT_STRUCTURE || node_is_view(node));
}

/* The life of the memory of every result. */
static void find_lives(Plan *plan) {
  for (int i = 0; i < plan->result_total; i++) plan->memories[i] = (Memory){INT_MAX, 0, UNKNOWN};
  FOR_EACH_NODE(node, plan->graph) {
    for (int i = 0; node_computes(node) && i < node->result_count; i++) {
      const Value *owner = memory_owner(plan, result(node, i));
      if (!owner->def) continue;
      Memory *memory = memory_of(plan, owner);
      if (node->mark < memory->first) memory->first = node->mark;
      if (node->mark > memory->last) memory->last = node->mark;
      extend_life(result(node, i), &memory->last);
    }
  }
}

static bool plan_liveness(Plan *plan, Graph *graph) {
  Arena *arena = graph->module->arena;
  int nodes = 0;
  *plan = (Plan){.module = graph->module, .graph = graph, .places = places_find(graph)};
  TRY(plan->places);
  plan->first_result = NEW_ARRAY(arena, int, graph_count_nodes(graph));
  FOR_EACH_NODE(node, graph) {
    node->mark = nodes++;
    plan->first_result[node->mark] = plan->result_total;
    plan->result_total += node->result_count;
  }
  plan->slots = NEW_ARRAY(arena, Slot, plan->result_total);
  plan->memories = NEW_ARRAY(arena, Memory, plan->result_total);
  plan->is_state = NEW_ARRAY(arena, bool, nodes);
  find_lives(plan);
  FOR_EACH_NODE(node, graph) {
    plan->is_state[node->mark] = belongs_to_state(plan, node);
    for (int i = 0; node_computes(node) && i < node->result_count; i++) {
      const Value *owner = memory_owner(plan, result(node, i));
      Memory *memory = owner->def ? memory_of(plan, owner) : NULL;
      if (memory && memory->slot == UNKNOWN) memory->slot = plan_memory(plan, owner);
    }
  }
  return true;
}

/* ---- placing ---- */

static bool lives_meet(const Slot *a, const Slot *b) {
  return a->first <= b->last && b->first <= a->last;
}

static int by_size(const void *a, const void *b) {
  const Slot *x = *(Slot *const *)a, *y = *(Slot *const *)b;
  if (x->size->value != y->size->value) return x->size->value > y->size->value ? -1 : 1;
  return x->first - y->first;
}

static int by_offset(const void *a, const void *b) {
  int64_t x = (*(Slot *const *)a)->offset->value, y = (*(Slot *const *)b)->offset->value;
  return (x > y) - (x < y);
}

/* The tightest gap between the placed slots that live at the same time; `met` has room for all. */
static int64_t best_offset(const Slot *slot, Slot *const *placed, int count, Slot **met) {
  int meeting = 0;
  for (int i = 0; i < count; i++)
    if (lives_meet(slot, placed[i])) met[meeting++] = placed[i];
  if (meeting > 1) qsort(met, (size_t)meeting, sizeof(Slot *), by_offset);
  int64_t end = 0, best = -1, best_gap = INT64_MAX;
  for (int i = 0; i < meeting; i++) {
    int64_t gap = met[i]->offset->value - end;
    if (gap >= slot->size->value && gap < best_gap) {
      best = end;
      best_gap = gap;
    }
    int64_t after = met[i]->offset->value + met[i]->size->value;
    if (after > end) end = after;
  }
  return best >= 0 ? best : end;
}

/* Places what has a constant size; returns the bytes that takes. */
static int64_t place_constant(Plan *plan) {
  Slot **order = NEW_ARRAY(plan->module->arena, Slot *, plan->count);
  Slot **met = NEW_ARRAY(plan->module->arena, Slot *, plan->count);
  int count = 0;
  int64_t total = 0;
  for (int i = 0; i < plan->count; i++)
    if (dim_is_const(plan->slots[i].size)) order[count++] = &plan->slots[i];
  if (count > 1) qsort(order, (size_t)count, sizeof(Slot *), by_size);
  for (int i = 0; i < count; i++) {
    int64_t offset = best_offset(order[i], order, i, met);
    order[i]->offset = dim_const(plan->module, offset);
    if (offset + order[i]->size->value > total) total = offset + order[i]->size->value;
  }
  return total;
}

/* The memory of a slot of the same size that nobody needs at the same time; NULL: there is none. */
static const Dim *shared_offset(const Plan *plan, int number) {
  const Slot *slot = &plan->slots[number];
  for (int i = 0; i < number; i++) {
    bool is_free = plan->slots[i].size == slot->size;
    for (int j = 0; is_free && j < number; j++)
      is_free = plan->slots[j].offset != plan->slots[i].offset || !lives_meet(&plan->slots[j], slot);
    if (is_free) return plan->slots[i].offset;
  }
  return NULL;
}

/* Sizes that are equal whatever the symbols are share memory, all others follow one another. */
static void place_symbolic(Plan *plan, int64_t begin) {
  const Dim *end = dim_const(plan->module, begin);
  for (int i = 0; i < plan->count; i++) {
    if (plan->slots[i].offset) continue;
    plan->slots[i].offset = shared_offset(plan, i);
    if (plan->slots[i].offset) continue;
    plan->slots[i].offset = end;
    end = dim_add(plan->module, end, plan->slots[i].size);
  }
}

/* Where a result lies; *state is the end of the state so far. */
static const Dim *offset_of(const Plan *plan, const Value *value, const Dim **state) {
  if (memory_owner(plan, value) != value) return dim_const(plan->module, -1);
  int slot = memory_of(plan, value)->slot;
  if (slot == OUTPUT) return dim_const(plan->module, -1);
  if (slot != STATE) return plan->slots[slot].offset;
  const Dim *offset = *state;
  *state = dim_add(plan->module, offset, aligned_size(plan->module, value->type));
  return offset;
}

static bool plan_write(const Plan *plan) {
  bool changed = false;
  const Dim **offsets = NEW_ARRAY(plan->module->arena, const Dim *, plan->result_total);
  const Dim *state = dim_const(plan->module, 0);
  FOR_EACH_NODE(kernel, plan->graph) {
    if (!node_is(kernel, &op_kernel)) continue;
    int count;
    if (plan->only_state && !plan->is_state[kernel->mark]) continue;
    const Dim *const *old = node_dims(kernel, "offsets", &count);
    bool in_state = plan->is_state[kernel->mark] && !kernel_is_in_place(kernel);
    const char *memory = in_state ? "state" : "scratch";
    bool same = count == kernel->result_count && node_string_is(kernel, "memory", memory);
    for (int i = 0; i < kernel->result_count; i++) {
      offsets[i] = offset_of(plan, result(kernel, i), &state);
      same = same && old[i] == offsets[i];
    }
    if (same) continue;
    node_set_dims(kernel, "offsets", offsets, kernel->result_count);
    node_set_string(kernel, "memory", memory);
    changed = true;
  }
  return changed;
}

bool pass_plan(Graph *graph, const PassOptions *options) {
  (void)options;
  Plan plan;
  if (graph->owner) return false;
  TRY(plan_liveness(&plan, graph));
  plan.only_state = graph_is_dynamic(graph);
  if (!plan.only_state) place_symbolic(&plan, place_constant(&plan));
  return plan_write(&plan);
}

/* ---- reading a plan ---- */

static const Dim *memory_end(const Graph *graph, const char *memory) {
  Module *module = graph->module;
  const Dim *constant = dim_const(module, 0), *symbolic = NULL;
  FOR_EACH_NODE(kernel, graph) {
    int count;
    if (!node_is(kernel, &op_kernel) || !node_string_is(kernel, "memory", memory)) continue;
    const Dim *const *offsets = node_dims(kernel, "offsets", &count);
    for (int i = 0; i < count && i < kernel->result_count; i++) {
      if (dim_is(offsets[i], -1)) continue;
      const Dim *end = dim_add(module, offsets[i], aligned_size(module, result(kernel, i)->type));
      if (dim_is_const(end))
        constant = dim_make(module, DIM_MAX, constant, end);
      else
        symbolic = symbolic ? dim_make(module, DIM_MAX, symbolic, end) : end;
    }
  }
  return symbolic ? symbolic : constant; /* symbolic slots lie behind the constant ones */
}

const Dim *plan_scratch(const Graph *graph) {
  return memory_end(graph, "scratch");
}

static PlanRow plan_row(const Node *kernel, int index, const Dim *offset) {
  const Value *value = result(kernel, index);
  PlanRow row = {.kernel = kernel,
                 .value = value,
                 .memory = node_string(kernel, "memory"),
                 .offset = offset,
                 .bytes = aligned_size(kernel->graph->module, value->type),
                 .first = kernel->mark,
                 .last = kernel->mark};
  if (dim_is(offset, -1)) row.memory = reaches_output(value) ? "output" : "part";
  extend_life(value, &row.last);
  return row;
}

/* Fills them in, unless rows is NULL; returns how many there are. */
static int visit_rows(const Graph *graph, PlanRow *rows) {
  int total = 0;
  FOR_EACH_NODE(kernel, graph) {
    int count;
    const Dim *const *offsets = node_is(kernel, &op_kernel) ? node_dims(kernel, "offsets", &count) : NULL;
    for (int i = 0; offsets && i < count && i < kernel->result_count; i++, total++)
      if (rows) rows[total] = plan_row(kernel, i, offsets[i]);
  }
  return total;
}

int plan_rows(Graph *graph, PlanRow **rows) {
  int position = 0;
  FOR_EACH_NODE(node, graph) node->mark = position++;
  *rows = NEW_ARRAY(graph->module->arena, PlanRow, visit_rows(graph, NULL));
  return visit_rows(graph, *rows);
}

static void print_plan_row(const PlanRow *row, FILE *out) {
  Module *module = row->kernel->graph->module;
  const char *where = row->memory, *offset = dim_text(module, row->offset);
  if (!dim_is(row->offset, -1))
    where = strcmp(where, "state") == 0 ? arena_printf(module->arena, "state %s", offset) : offset;
  fprintf(out, "%12s %10s  %4d..%-4d %-24s %s\n", where, dim_text(module, row->bytes), row->first, row->last,
          type_text(module, row->value->type), node_string(row->kernel, "name"));
}

void plan_print(Graph *graph, FILE *out) {
  PlanRow *rows;
  int count = plan_rows(graph, &rows);
  fprintf(out, "%12s %10s  %10s %-24s %s\n", "offset", "bytes", "lives", "type", "kernel");
  for (int i = 0; i < count; i++) print_plan_row(&rows[i], out);
  fprintf(out, "state %s bytes, scratch %s bytes\n", dim_text(graph->module, memory_end(graph, "state")),
          dim_text(graph->module, plan_scratch(graph)));
}
