/*
 * program.c -- from an optimised graph to steps: one kernel per node and target, an address for every value.
 *
 * A value lies in its root (ir/place.c): reshapes share the memory of what they view, parts of a concat lie
 * in the whole. Roots are inputs, weights, outputs of the graph (written in place when nothing forbids it),
 * or state or scratch, at the offset that the plan pass wrote into the kernel node; values without a plan are
 * placed behind the planned ones of scratch, one after the other. In dynamic programs a value is an item of
 * the run instead, in the regions as in the graph. Nodes keep the number of their first result in `mark`.
 */
#include "codegen/program.h"
#include "codegen/locals.h"
#include "codegen/schedule.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };
static const int64_t MAX_BYTES = (int64_t)1 << 46; /* of one tensor, of all weights */

typedef struct Build {
  Program *program;
  Module *module;
  Arena *arena;
  const Places *places;
  Location *results; /* by mark + index */
  const Dim *behind; /* end of the scratch that is taken, where unplanned values go; NULL: none did yet */
  int guard_room;
  const Node *node; /* whose guards are being found */
} Build;

const Location *program_location(const Program *program, const Value *value) {
  return &program->locations[value->def->mark + value->index];
}

static bool is_view(const Node *node) {
  return (node->op->traits & TRAIT_VIEW) != 0;
}

static bool is_kernel_node(const Node *node) {
  return node_is(node, &op_kernel) || !(node->op->traits & (TRAIT_STRUCTURE | TRAIT_VIEW));
}

/* Computed once, before the first run. */
bool program_is_start(const Node *node) {
  return node_is(node, &op_kernel) && node_string_is(node, "memory", "state");
}

bool program_is_step(const Node *node) {
  return is_kernel_node(node) && !kernel_is_in_place(node) && !program_is_start(node);
}

/* The value in whose memory this one lies. */
static const Value *root_of(const Build *build, const Value *value) {
  return value_place(build->places, value).root;
}

static StatePlace *state_of(const Program *program, const Value *input) {
  int index = value_state(input);
  return index < 0 ? NULL : &program->states[index];
}

/* ---- symbols ---- */

static int compare_strings(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What a state says counts, the inputs are held to it. */
static bool find_source(const Graph *graph, const char *symbol, SymbolSource *source) {
  int count = graph->input_count;
  for (int k = 0; k < count; k++) {
    int i = (count - graph->state_count + k) % count;
    for (int axis = 0; axis < graph->inputs[i]->type->rank; axis++) {
      const Dim *dim = graph->inputs[i]->type->dims[axis];
      if (dim->kind != DIM_SYMBOL || strcmp(dim->symbol, symbol) != 0) continue;
      *source = (SymbolSource){i, axis};
      return true;
    }
  }
  return false;
}

enum { MAX_SYMBOLS = 1024 };

static bool has_symbol(const Program *program, const char *symbol) {
  for (int i = 0; i < program->symbol_count; i++)
    if (strcmp(program->symbols[i], symbol) == 0) return true;
  return false;
}

static void add_symbols(Program *program, const Dim *dim) {
  if (!dim) return;
  add_symbols(program, dim->a);
  add_symbols(program, dim->b);
  if (dim->kind == DIM_SYMBOL && !dim_says_nothing(dim) && program->symbol_count <= MAX_SYMBOLS &&
      !has_symbol(program, dim->symbol))
    program->symbols[program->symbol_count++] = dim->symbol;
}

static void add_symbols_of_type(Program *program, const Type *type) {
  for (int axis = 0; axis < type->rank; axis++) add_symbols(program, type->dims[axis]);
}

/* What regions and nodes find is behind what the inputs have. */
static void add_symbols_of_graph(Program *program, const Graph *graph) {
  for (int i = 0; i < graph->input_count; i++) add_symbols_of_type(program, graph->inputs[i]->type);
  FOR_EACH_NODE(node, graph) {
    int count = 0;
    bool lists = op_attr_index(node->op, "symbols") >= 0;
    const Dim *const *symbols = lists ? node_dims(node, "symbols", &count) : NULL;
    for (int i = 0; i < count; i++) add_symbols(program, symbols[i]);
    for (int i = 0; i < node->result_count; i++) add_symbols_of_type(program, node->results[i]->type);
    if (!(node->op->traits & TRAIT_DYNAMIC)) continue;
    for (int i = 0; i < node->region_count; i++) add_symbols_of_graph(program, node->regions[i]);
  }
}

static void sort_strings(const char **strings, int count) {
  if (count > 1) qsort(strings, (size_t)count, sizeof(char *), compare_strings);
}

static bool find_sources(Build *build) {
  Program *program = build->program;
  program->sources = NEW_ARRAY(build->arena, SymbolSource, program->input_symbol_count);
  for (int i = 0; i < program->input_symbol_count; i++)
    if (!find_source(program->graph, program->symbols[i], &program->sources[i]))
      return fail(build->module, "the size '%s' is not the size of any input's axis; give it as a number",
                  program->symbols[i]);
  return true;
}

static bool find_symbols(Build *build) {
  Program *program = build->program;
  const Graph *graph = program->graph;
  program->symbols = NEW_ARRAY(build->arena, const char *, MAX_SYMBOLS + 1);
  for (int i = 0; i < graph->input_count; i++) add_symbols_of_type(program, graph->inputs[i]->type);
  if (!program->is_dynamic) add_symbols_of_graph(program, graph);
  program->input_symbol_count = program->symbol_count;
  sort_strings(program->symbols, program->symbol_count);
  if (program->is_dynamic) add_symbols_of_graph(program, graph);
  if (program->symbol_count > MAX_SYMBOLS)
    return fail(build->module, "the model has over %d symbolic sizes", MAX_SYMBOLS);
  return find_sources(build);
}

bool program_knows(const Program *program, const Dim *dim) {
  if (!dim) return true;
  for (int i = 0; dim->kind == DIM_SYMBOL && i < program->input_symbol_count; i++)
    if (strcmp(program->symbols[i], dim->symbol) == 0) return true;
  return dim->kind != DIM_SYMBOL && program_knows(program, dim->a) && program_knows(program, dim->b);
}

/* ---- guards ---- */

/* What stands in a region need not hold in runs that do not come there. */
static bool holds_always(const Build *build, const Dim *a, const Dim *b) {
  bool in_region = build->node && build->node->graph->owner;
  return !in_region && program_knows(build->program, a) && program_knows(build->program, b);
}

static void add_guard(Build *build, GuardKind kind, const Dim *a, const Dim *b, const char *text) {
  Program *program = build->program;
  const Node *node = holds_always(build, a, b) ? NULL : build->node;
  for (int i = 0; i < program->guard_count; i++)
    if (program->guards[i].node == node && program->guards[i].kind == kind && program->guards[i].a == a &&
        program->guards[i].b == b)
      return;
  if (program->guard_count == build->guard_room) {
    build->guard_room = build->guard_room ? 2 * build->guard_room : 16;
    Guard *bigger = NEW_ARRAY(build->arena, Guard, build->guard_room);
    if (program->guard_count > 0)
      memcpy(bigger, program->guards, sizeof(Guard) * (size_t)program->guard_count);
    program->guards = bigger;
  }
  program->guards[program->guard_count++] = (Guard){kind, a, b, text, node};
}

/* What evaluating a dim asks for. */
static void guard_parts(Build *build, const Dim *dim) {
  if (!dim || dim_is_const(dim) || dim->kind == DIM_SYMBOL) return;
  guard_parts(build, dim->a);
  guard_parts(build, dim->b);
  Module *module = build->module;
  if (dim->kind == DIM_BCAST)
    add_guard(build, GUARD_BROADCAST, dim->a, dim->b,
              arena_printf(build->arena, "%s and %s must be equal, or one of them 1",
                           dim_text(module, dim->a), dim_text(module, dim->b)));
  if ((dim->kind == DIM_FLOORDIV || dim->kind == DIM_CEILDIV) && !dim_is_const(dim->b))
    add_guard(build, GUARD_POSITIVE, dim->b, NULL,
              arena_printf(build->arena, "%s must be positive", dim_text(module, dim->b)));
}

static void guard_value(Build *build, const Value *value) {
  Module *module = build->module;
  if (!type_is_tensor(value->type)) return;
  for (int axis = 0; axis < value->type->rank; axis++) {
    const Dim *dim = value->type->dims[axis];
    if (dim_is_const(dim) || dim->kind == DIM_SYMBOL) continue;
    guard_parts(build, dim);
    add_guard(build, GUARD_NOT_NEGATIVE, dim, NULL,
              arena_printf(build->arena, "%s must not be negative", dim_text(module, dim)));
  }
  if (!type_is_static(value->type))
    add_guard(build, GUARD_BYTES, type_bytes(module, value->type), NULL,
              arena_printf(build->arena, "a tensor %s must not be larger than 64 TiB",
                           type_text(module, value->type)));
}

static void guard_needs(Build *build, const Node *node) {
  static const GuardKind kinds[] = {
      [NEED_EQUAL] = GUARD_EQUAL, [NEED_SPREAD] = GUARD_SPREADS, [NEED_SOURCE] = GUARD_SOURCE};
  for (const Need *need = node->needs; need; need = need->next) {
    guard_parts(build, need->a);
    guard_parts(build, need->b);
    add_guard(build, kinds[need->kind], need->a, need->b, need_text(build->module, need));
  }
}

static void guard_view(Build *build, const Node *node) {
  Module *module = build->module;
  const Type *from = operand(node, 0)->type, *to = result(node, 0)->type;
  const Dim *a = type_count(module, from), *b = type_count(module, to);
  if (a == b) return;
  add_guard(build, GUARD_EQUAL, a, b,
            arena_printf(build->arena, "%s and %s must have equally many elements", type_text(module, from),
                         type_text(module, to)));
}

/* What a state becomes has to fit into its room, and what a caller says that there is, too. */
static void guard_states(Build *build) {
  Module *module = build->module;
  const Graph *graph = build->program->graph;
  for (int i = 0; i < graph->state_count; i++)
    for (int axis = 0; axis < graph->rooms[i]->rank; axis++) {
      const Dim *room = graph->rooms[i]->dims[axis];
      const Dim *sizes[] = {graph_state(graph, i)->type->dims[axis],
                            graph_next_state(graph, i)->type->dims[axis]};
      for (int k = 0; k < COUNT_OF(sizes); k++)
        if (!dim_is_const(sizes[k]))
          add_guard(build, GUARD_AT_MOST, sizes[k], room,
                    arena_printf(build->arena, "%s must be at most %lld", dim_text(module, sizes[k]),
                                 (long long)room->value));
    }
}

/* Dynamic operators check what they give themselves. */
static void find_guards(Build *build, const Graph *graph) {
  FOR_EACH_NODE(node, graph) {
    bool is_dynamic = node->op->traits & TRAIT_DYNAMIC;
    build->node = node;
    guard_needs(build, node);
    for (int i = 0; !is_dynamic && i < node->result_count; i++) guard_value(build, node->results[i]);
    if (is_view(node)) guard_view(build, node);
    for (int i = 0; i < node->region_count; i++) {
      if (is_dynamic)
        find_guards(build, node->regions[i]);
      else
        FOR_EACH_NODE(member, node->regions[i]) guard_needs(build, member);
    }
  }
}

/* ---- places ---- */

static Location *location_of_result(const Build *build, const Value *value) {
  return &build->results[value->def->mark + value->index];
}

static const Dim *aligned(Build *build, const Dim *bytes) {
  const Dim *unit = dim_const(build->module, ALIGNMENT);
  return dim_mul(build->module, dim_ceildiv(build->module, bytes, unit), unit);
}

static void reach(Build *build, const Dim *end) {
  Program *program = build->program;
  for (int i = 0; i < program->scratch_count; i++)
    if (program->scratch[i] == end) return;
  if (program->scratch_count > 0 && dim_is_const(end) && dim_is_const(program->scratch[0])) {
    if (end->value > program->scratch[0]->value) program->scratch[0] = end;
    return;
  }
  program->scratch[program->scratch_count++] = end;
}

static bool is_planned(const Node *node) {
  int count = 0;
  if (node_is(node, &op_kernel)) node_dims(node, "offsets", &count);
  return count == node->result_count && count > 0;
}

/* The end of what the plan pass placed, as one dim. */
static const Dim *planned_end(Build *build) {
  const Dim *last = dim_const(build->module, 0);
  FOR_EACH_NODE(node, build->program->graph) {
    if (!is_planned(node) || program_is_start(node)) continue;
    int count;
    const Dim *const *offsets = node_dims(node, "offsets", &count);
    for (int i = 0; i < count; i++) {
      if (dim_is(offsets[i], -1)) continue;
      const Dim *end = dim_add(build->module, offsets[i],
                               aligned(build, type_bytes(build->module, node->results[i]->type)));
      last = dim_make(build->module, DIM_MAX, last, end);
    }
  }
  return last;
}

/* Room behind the plan and what was taken there before; most programs need none. */
static const Dim *take_scratch(Build *build, const Dim *size) {
  if (!build->behind) build->behind = planned_end(build);
  const Dim *offset = build->behind;
  build->behind = dim_add(build->module, offset, size);
  return offset;
}

static void place_in_scratch(Build *build, Value *value, const Dim *planned) {
  const Dim *size = aligned(build, type_bytes(build->module, value->type));
  if (dim_is(size, 0)) size = dim_const(build->module, ALIGNMENT); /* an address is needed all the same */
  const Dim *offset = planned ? planned : take_scratch(build, size);
  *location_of_result(build, value) = (Location){IN_SCRATCH, 0, offset};
  reach(build, dim_add(build->module, offset, size));
}

/* The plan is not trusted: it may come from a text. */
static bool place_in_state(Build *build, const Node *node) {
  Program *program = build->program;
  int count;
  const Dim *const *offsets = node_dims(node, "offsets", &count);
  for (int i = 0; i < node->result_count; i++) {
    const Value *value = node->results[i];
    const Dim *size = aligned(build, type_bytes(build->module, value->type));
    bool placed = count == node->result_count && dim_is_const(size) && dim_is_const(offsets[i]) &&
                  offsets[i]->value >= 0 && offsets[i]->value <= MAX_BYTES;
    if (!placed || root_of(build, value) != value || kernel_is_in_place(node) ||
        location_of_result(build, value)->kind != IN_NOTHING)
      return node_fail(node, "a kernel that fills the state needs constant sizes, and offsets from 0 on");
    *location_of_result(build, value) = (Location){IN_STATE, 0, offsets[i]};
    int64_t end = offsets[i]->value + (size->value ? size->value : ALIGNMENT);
    if (end > program->state_bytes) program->state_bytes = end;
  }
  return true;
}

static bool place_results(Build *build, const Node *node) {
  if (program_is_start(node)) return place_in_state(build, node);
  int count = 0;
  const Dim *const *offsets = is_planned(node) ? node_dims(node, "offsets", &count) : NULL;
  for (int i = 0; i < node->result_count; i++) {
    Value *value = node->results[i];
    if (root_of(build, value) != value) continue;
    if (location_of_result(build, value)->kind != IN_NOTHING) continue; /* an output */
    place_in_scratch(build, value, count > 0 && !dim_is(offsets[i], -1) ? offsets[i] : NULL);
  }
  return true;
}

/* Behind what is computed from the weights. */
static bool place_states(Build *build) {
  Program *program = build->program;
  const Graph *graph = program->graph;
  for (int i = 0; i < graph->state_count; i++) {
    const Dim *size = aligned(build, type_bytes(build->module, graph->rooms[i]));
    if (!dim_is_const(size) || size->value > MAX_BYTES - program->state_bytes)
      return fail(build->module, "the room %s for state '%s' is too large",
                  type_text(build->module, graph->rooms[i]), graph_state(graph, i)->name);
    ValuePlace next = value_place(build->places, graph_next_state(graph, i));
    program->states[i] = (StatePlace){program->state_bytes, next.root == graph_state(graph, i)};
    program->state_bytes += size->value ? size->value : ALIGNMENT;
  }
  return true;
}

/* Outputs whose bytes a kernel makes are written by that kernel; the first output of that memory wins. */
static void place_outputs(Build *build) {
  const Graph *graph = build->program->graph;
  for (int i = 0; i < build->program->output_count; i++) {
    const Value *value = graph_output(graph, i), *root = value ? root_of(build, value) : NULL;
    if (!root || !root->def || !is_kernel_node(root->def)) continue;
    Location *location = location_of_result(build, root);
    if (location->kind == IN_NOTHING) *location = (Location){IN_OUTPUT, i, dim_const(build->module, 0)};
  }
}

/* The number of the constant's table of pointers. */
static int place_table(Program *program, const Data *data) {
  for (int i = 0; i < program->table_count; i++)
    if (data_equal(program->tables[i], data)) return i;
  program->tables[program->table_count] = data;
  return program->table_count++;
}

static bool place_weight(Build *build, const Value *value) {
  Program *program = build->program;
  Location *location = location_of_result(build, value);
  const Data *data = value->def->data;
  size_t size;
  if (location->kind != IN_NOTHING) return true;
  if (!dtype_bytes(data->dtype, data->count, &size) || (int64_t)size > MAX_BYTES - program->weight_bytes)
    return node_fail(value->def, "a constant of %lld elements is too large", (long long)data->count);
  if (data->dtype == DTYPE_STRING) {
    *location = (Location){IN_STRINGS, place_table(program, data), dim_const(build->module, 0)};
    return true;
  }
  for (int i = 0; i < program->weight_count; i++)
    if (data_hash(program->weights[i].data) == data_hash(data) &&
        data_equal(program->weights[i].data, data)) {
      *location = (Location){IN_WEIGHTS, 0, dim_const(build->module, program->weights[i].offset)};
      return true;
    }
  *location = (Location){IN_WEIGHTS, 0, dim_const(build->module, program->weight_bytes)};
  program->weights[program->weight_count++] = (Weight){data, program->weight_bytes, (int64_t)size};
  program->weight_bytes += ((int64_t)size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  return true;
}

/* Constants and what is made of them lie in place, everything else in items. */
static bool locate_dynamic(Build *build, const Value *value, Location *location) {
  *location = (Location){IN_ITEM, program_item(build->program, value), dim_const(build->module, 0)};
  if (!value->def) return true;
  if (value->def->data) TRY(place_weight(build, value));
  *location = *location_of_result(build, value);
  return true;
}

static bool locate(Build *build, const Value *value, Location *location) {
  Module *module = build->module;
  if (build->program->is_dynamic) return locate_dynamic(build, value, location);
  ValuePlace place = value_place(build->places, value);
  const Dim *unit = dim_const(module, dtype_bits(value->type->dtype) / 8); /* parts are whole bytes */
  if (!place.root->def) {
    const StatePlace *state = state_of(build->program, place.root);
    *location = state ? (Location){IN_STATE, 0, dim_const(module, state->offset)}
                      : (Location){IN_INPUT, place.root->index, dim_const(module, 0)};
  } else {
    if (place.root->def->data) TRY(place_weight(build, place.root));
    *location = *location_of_result(build, place.root);
  }
  location->offset = dim_add(module, location->offset, dim_mul(module, place.offset, unit));
  return true;
}

/* ---- kernels ---- */

static const char *step_name(const Node *node) {
  return node_is(node, &op_kernel) ? node_string(node, "name") : node->op->name;
}

static bool same_location(const Location *a, const Location *b) {
  return a->kind == b->kind && a->index == b->index && a->offset == b->offset;
}

static bool overlaps(const Step *step, const Kernel *kernel) {
  for (int i = 0; i < kernel->param_count; i++)
    for (int j = 0; kernel->params[i]->kind != BUFFER_IN && j < kernel->param_count; j++)
      if (i != j && same_location(&step->args[i], &step->args[j])) return true;
  return false;
}

const char *kernel_neutral_text(Kernel *kernel) {
  Arena *arena = kernel->module->arena;
  for (int i = 0; i < kernel->param_count; i++) kernel->params[i]->name = arena_printf(arena, "p%d", i);
  kernel->name = "k";
  char *text = NULL;
  size_t length = 0;
  FILE *out = open_memstream(&text, &length);
  if (!out) return arena_printf(arena, "%p", (void *)kernel);
  kernel_print(kernel, out);
  fclose(out);
  const char *copy = arena_copy(arena, text, length + 1);
  free(text);
  return copy;
}

static const char *identifier(char *name) {
  for (char *c = name; *c; c++)
    if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9'))) *c = '_';
  return name;
}

static void name_kernels(Build *build, Kernel **kernels, const char *name) {
  const Target *target = &build->program->options->target;
  for (int t = 0; target; t++, target = target->next)
    kernels[t]->name = build->program->target_count == 1
                           ? name
                           : identifier(arena_printf(build->arena, "%s_%s", name, target->cpu));
}

/* Of the kernels for all targets: equal code prints equally. */
static const char *neutral_text(Build *build, Kernel **kernels) {
  const char *text = kernel_neutral_text(kernels[0]);
  for (int t = 1; t < build->program->target_count; t++)
    text = arena_printf(build->arena, "%s%s", text, kernel_neutral_text(kernels[t]));
  return text;
}

static int find_code(Build *build, const Node *node, Kernel **kernels, bool in_place) {
  Program *program = build->program;
  const char *text = neutral_text(build, kernels);
  for (int i = 0; i < program->code_count; i++)
    if (program->codes[i].in_place == in_place && strcmp(program->codes[i].text, text) == 0) return i;
  const char *name = identifier(arena_printf(build->arena, "k%d_%s", program->code_count, step_name(node)));
  name_kernels(build, kernels, name);
  program->codes[program->code_count] = (Code){kernels, name, text, in_place};
  return program->code_count++;
}

/* The kernel of the node for each target; NULL with a Diag. They have the same params. */
static Kernel **build_kernels(Build *build, const Node *node) {
  int count = build->program->target_count, index = 0, errors = build->module->error_count;
  Kernel **kernels = NEW_ARRAY(build->arena, Kernel *, count);
  for (const Target *target = &build->program->options->target; target; target = target->next, index++) {
    const char *schedule = schedule_text(node, target, index, count);
    if (schedule) kernels[index] = schedule_kernel(node, step_name(node), target, build->places, schedule);
    if (kernels[index]) continue;
    if (build->module->error_count == errors) node_fail(node, "cannot be lowered to loops");
    return NULL;
  }
  return kernels;
}

/* Large locals of the kernels for all targets lie in the same memory. */
static int64_t local_memory(const Program *program, Kernel *const *kernels) {
  int64_t largest = 0;
  for (int t = 0; t < program->target_count; t++) {
    int64_t bytes = kernel_local_memory(kernels[t], NULL);
    if (bytes > largest) largest = bytes;
  }
  return largest;
}

static bool add_step(Build *build, const Node *node) {
  Program *program = build->program;
  if (node->op->expand)
    return node_fail(node, "'%s' was not expanded into what can be compiled", node->op->name);
  Kernel **kernels = build_kernels(build, node);
  if (!kernels) return false;
  const Kernel *kernel = kernels[0];
  bool start = program_is_start(node);
  Step *step = start ? &program->starts[program->start_count] : &program->steps[program->step_count];
  *step = (Step){
      .node = node, .macs = node_macs(node), .args = NEW_ARRAY(build->arena, Location, kernel->param_count)};
  for (int i = 0; i < kernel->param_count; i++) {
    int index = lower_param_operand(node, i);
    Value *value =
        index < node->operand_count ? operand(node, index) : node->results[index - node->operand_count];
    TRY(locate(build, value, &step->args[i]));
    LocationKind kind = step->args[i].kind;
    if (start && kind != IN_WEIGHTS && kind != IN_STRINGS && kind != IN_STATE)
      return node_fail(node, "a kernel that fills the state reads what only a run has");
  }
  int64_t local_bytes = local_memory(program, kernels);
  if (start && local_bytes > 0)
    return node_fail(node, "a kernel that fills the state has no memory for locals");
  if (local_bytes > program->local_bytes) program->local_bytes = local_bytes;
  step->code = find_code(build, node, kernels, overlaps(step, kernel));
  *(start ? &program->start_count : &program->step_count) += 1;
  return true;
}

static void add_copy(Program *program, Location from, Location to, const Dim *bytes) {
  program->copies[program->copy_count++] = (Copy){from, to, bytes};
}

/* What other states become may be made of an old one: that is put aside before any changes. */
static void put_aside(Build *build, Location *from, const Dim *bytes) {
  const Dim *size = aligned(build, bytes);
  Location aside = {IN_SCRATCH, 0, take_scratch(build, size)};
  reach(build, dim_add(build->module, aside.offset, size));
  add_copy(build->program, *from, aside, bytes);
  *from = aside;
}

/* Outputs first, which may be made of old states, too. */
static bool add_copies(Build *build) {
  Program *program = build->program;
  const Graph *graph = program->graph;
  Location *next = NEW_ARRAY(build->arena, Location, graph->state_count);
  program->copies = NEW_ARRAY(build->arena, Copy, graph->output_count + graph->state_count);
  for (int i = 0; i < graph->output_count; i++) {
    Value *value = graph_output(graph, i);
    int state = i - program->output_count;
    const Dim *bytes, *start = dim_const(build->module, 0);
    Location from;
    if (!value) return fail(build->module, "output %d of the graph is absent", i);
    bytes = type_bytes(build->module, value->type);
    TRY(locate(build, value, &from));
    if (state < 0 && !(from.kind == IN_OUTPUT && from.index == i))
      add_copy(program, from, (Location){IN_OUTPUT, i, start}, bytes);
    if (state < 0) continue;
    if (from.kind == IN_STATE && !dim_is(from.offset, program->states[state].offset))
      put_aside(build, &from, bytes);
    next[state] = from;
  }
  for (int i = 0; i < graph->state_count; i++) {
    Location to = {IN_STATE, 0, dim_const(build->module, program->states[i].offset)};
    if (!same_location(&next[i], &to))
      add_copy(program, next[i], to, type_bytes(build->module, graph_next_state(graph, i)->type));
  }
  return true;
}

/* ---- all of it ---- */

static bool check_type(Build *build, const Value *value) {
  int64_t bytes;
  if (!type_is_tensor(value->type)) return true;
  const Dim *size = type_bytes(build->module, value->type);
  bool fits = !dim_is_const(size) || dim_eval(size, NULL, NULL, 0, &bytes);
  if (fits && (!dim_is_const(size) || (size->value >= 0 && size->value <= MAX_BYTES))) return true;
  return value->def ? node_fail(value->def, "a tensor %s is too large", type_text(build->module, value->type))
                    : fail(build->module, "input '%s' is too large", value->name);
}

static bool check_types(Build *build, const Graph *graph) {
  for (int i = 0; i < graph->input_count; i++) TRY(check_type(build, graph->inputs[i]));
  FOR_EACH_NODE(node, graph) {
    for (int i = 0; i < node->result_count; i++) TRY(check_type(build, node->results[i]));
    for (int i = 0; node->op->traits & TRAIT_DYNAMIC && i < node->region_count; i++)
      TRY(check_types(build, node->regions[i]));
  }
  return true;
}

typedef struct Counts {
  int nodes, values, consts, regions;
} Counts;

static Counts count_graph(const Graph *graph) {
  Counts sum = {.values = graph->input_count, .regions = 1};
  FOR_EACH_NODE(node, graph) {
    sum.nodes++;
    sum.values += node->result_count;
    sum.consts += node->data != NULL;
    for (int i = 0; node->op->traits & TRAIT_DYNAMIC && i < node->region_count; i++) {
      Counts region = count_graph(node->regions[i]);
      sum.nodes += region.nodes;
      sum.values += region.values;
      sum.consts += region.consts;
      sum.regions += region.regions;
    }
  }
  return sum;
}

/* Inputs first, so that those of the whole graph have the numbers from 0 on. */
static void number_graph(Program *program, const Graph *graph) {
  program->regions[program->region_count++] = (Region){graph, program->item_count};
  program->item_count += graph->input_count;
  FOR_EACH_NODE(node, graph) {
    node->mark = program->item_count;
    program->item_count += node->result_count;
    for (int i = 0; node->op->traits & TRAIT_DYNAMIC && i < node->region_count; i++)
      number_graph(program, node->regions[i]);
  }
}

int program_item(const Program *program, const Value *value) {
  if (value->def) return value->def->mark + value->index;
  int i = 0;
  while (program->regions[i].graph != value->graph) i++;
  return program->regions[i].first_input + value->index;
}

static void number_values(Build *build) {
  Program *program = build->program;
  Counts counts = count_graph(program->graph);
  program->regions = NEW_ARRAY(build->arena, Region, counts.regions);
  number_graph(program, program->graph);
  build->results = program->locations = NEW_ARRAY(build->arena, Location, counts.values);
  program->starts = NEW_ARRAY(build->arena, Step, counts.nodes);
  program->steps = NEW_ARRAY(build->arena, Step, counts.nodes);
  program->codes = NEW_ARRAY(build->arena, Code, counts.nodes);
  program->weights = NEW_ARRAY(build->arena, Weight, counts.consts);
  program->tables = NEW_ARRAY(build->arena, const Data *, counts.consts);
  program->scratch = NEW_ARRAY(build->arena, const Dim *, counts.values + 1);
}

/* The kernels that fill the state, or all others. All that cannot be compiled is listed at once. */
static bool add_steps(Build *build, const Graph *graph, bool starts) {
  int errors = build->module->error_count;
  FOR_EACH_NODE(node, graph)
  if (starts ? program_is_start(node) && !kernel_is_in_place(node) : program_is_step(node))
    add_step(build, node);
  return build->module->error_count == errors;
}

/* Everything has memory of its own, found when it is made; only the state has its places. */
static bool place_items(Build *build, const Graph *graph) {
  TRY((build->places = places_find(graph)));
  FOR_EACH_NODE(node, graph) {
    if (kernel_is_in_place(node))
      return node_fail(node, "nothing lies in place where sizes are found by a run");
    if (program_is_start(node)) TRY(place_in_state(build, node));
    for (int i = 0; !node->data && i < node->result_count; i++) {
      Location *location = location_of_result(build, node->results[i]);
      if (location->kind == IN_NOTHING)
        *location = (Location){IN_ITEM, node->mark + i, dim_const(build->module, 0)};
    }
    if (node->data) TRY(place_weight(build, result(node, 0)));
  }
  return true;
}

/* Steps in the order in which dynamic.c comes upon them: regions where their nodes stand. */
static bool build_dynamic(Build *build, const Graph *graph) {
  int errors = build->module->error_count;
  TRY(place_items(build, graph));
  FOR_EACH_NODE(node, graph) {
    if (is_kernel_node(node)) add_step(build, node);
    for (int i = 0; node->op->traits & TRAIT_DYNAMIC && i < node->region_count; i++) {
      const Places *places = build->places;
      build_dynamic(build, node->regions[i]);
      build->places = places;
    }
  }
  build->program->run_weight_bytes = build->program->weight_bytes;
  return build->module->error_count == errors;
}

static bool build_static(Build *build, const Graph *graph) {
  TRY((build->places = places_find(graph)));
  place_outputs(build);
  FOR_EACH_NODE(node, graph)
  if (is_kernel_node(node)) TRY(place_results(build, node));
  TRY(place_states(build));
  bool ok = add_steps(build, graph, false) && add_copies(build);
  build->program->run_weight_bytes = build->program->weight_bytes;
  return add_steps(build, graph, true) && ok; /* behind: their weights are those that no run reads */
}

bool program_build(Program *program, Graph *graph, const CodegenOptions *options) {
  *program = (Program){
      .module = graph->module, .graph = graph, .options = options, .is_dynamic = graph_is_dynamic(graph)};
  for (const Target *target = &options->target; target; target = target->next) program->target_count++;
  Build build = {.program = program, .module = graph->module, .arena = graph->module->arena};
  program->input_count = graph->input_count - graph->state_count;
  program->output_count = graph->output_count - graph->state_count;
  program->states = NEW_ARRAY(build.arena, StatePlace, graph->state_count);
  if (program->is_dynamic && graph->state_count)
    return fail(graph->module, "states are not for models whose sizes only a run finds");
  TRY(check_types(&build, graph));
  TRY(find_symbols(&build));
  for (int i = 0; i < graph->input_count; i++) guard_value(&build, graph->inputs[i]);
  find_guards(&build, graph);
  guard_states(&build);
  number_values(&build);
  int errors = graph->module->error_count; /* also of sizes whose expressions grew too large */
  return (program->is_dynamic ? build_dynamic(&build, graph) : build_static(&build, graph)) &&
         graph->module->error_count == errors;
}

int64_t program_scratch_bytes(const Program *program) {
  int64_t largest = 0;
  for (int i = 0; i < program->scratch_count; i++) {
    if (!dim_is_const(program->scratch[i])) return -1;
    if (program->scratch[i]->value > largest) largest = program->scratch[i]->value;
  }
  return largest + program->local_bytes;
}

static bool write_weight(const Weight *weight, FILE *out) {
  static const char zeros[ALIGNMENT] = {0};
  const Data *data = weight->data;
  size_t size = (size_t)weight->size, written = 0, padding = (ALIGNMENT - size % ALIGNMENT) % ALIGNMENT;
  if (!data->splat) {
    written = size ? fwrite(data->bytes, 1, size, out) : 0;
  } else {
    char block[4096];
    int64_t count = (int64_t)sizeof block * 8 / dtype_bits(data->dtype);
    for (int64_t i = 0; i < count; i++) dtype_copy(data->dtype, block, i, data->bytes, 0);
    while (written < size) {
      size_t part = size - written < sizeof block ? size - written : sizeof block;
      if (fwrite(block, 1, part, out) != part) break;
      written += part;
    }
  }
  return written == size && fwrite(zeros, 1, padding, out) == padding;
}

bool program_put_weights(const Program *program, FILE *out) {
  bool ok = true;
  for (int i = 0; ok && i < program->weight_count; i++) ok = write_weight(&program->weights[i], out);
  return ok;
}
