/*
 * lower_elements.c -- loops over the elements of results, scalar or with vectors along the last axis.
 *
 * Before vector code is made, neighbouring axes are merged: where every value that is read is either
 * contiguous through both axes or indexed by neither, the params are seen through views of lower rank and the
 * two axes run as one. So [1,56,56,24] of an elementwise chain is one run of 75264. The axis maps of the ops
 * (op_axes) decide, and AXIS_SAME is taken to promise that the op does nothing else with that index.
 *
 * During such loops a position still has one Index per axis of the result: the merged run stands at the last
 * axis of its group and 0 at the others; element meanings hand them on unseen, and merged_access drops the
 * zeros when it reaches memory.
 *
 * Elements below a byte are written one by one: a loop over the bytes of the result, whose iterations may run
 * at the same time.
 */
#include "ir/lower.h"

#include <string.h>

/* ---- which axes merge ---- */

static bool is_unit(const Type *type, int axis) {
  return dim_is(type->dims[axis], 1);
}

static AxisMap *find_map(MergePlan *plan, const Value *value) {
  for (int i = 0; i < plan->count; i++)
    if (plan->maps[i].value == value) return &plan->maps[i];
  return NULL;
}

static void add_map(Lower *lower, MergePlan *plan, const Value *value, const int *axes) {
  if (plan->count == plan->max) {
    AxisMap *bigger = NEW_ARRAY(lower->module->arena, AxisMap, plan->max ? plan->max * 2 : 16);
    if (plan->count > 0) memcpy(bigger, plan->maps, sizeof(AxisMap) * (size_t)plan->count);
    plan->maps = bigger;
    plan->max = plan->max ? plan->max * 2 : 16;
  }
  AxisMap *map = &plan->maps[plan->count++];
  *map = (AxisMap){.value = value};
  memcpy(map->axes, axes, sizeof map->axes);
}

static void spoil(MergePlan *plan, int axis) {
  if (axis != AXIS_NONE) plan->spoiled[axis] = true;
}

/* From the map of a node's result to the map of one of its operands. */
static void map_operand(MergePlan *plan, const Node *node, int index, const Type *to, const int *axes,
                        int *own) {
  const Type *from = operand(node, index)->type;
  AxisLink links[MAX_RANK];
  op_axes(node, index, links);
  for (int i = 0; i < MAX_RANK; i++) own[i] = AXIS_NONE;
  for (int i = 0; i < from->rank; i++) {
    AxisRole role = links[i].role;
    int axis = links[i].axis;
    bool within = role == AXIS_WINDOW || role == AXIS_SHIFT || role == AXIS_REPEAT || role == AXIS_MERGE;
    bool kept = role == AXIS_SAME || role == AXIS_BROADCAST;
    if ((!within && !kept) || axis < 0 || axis >= to->rank) {
      for (int k = 0; k < to->rank; k++) spoil(plan, axes[k]);
    } else if (kept) {
      if (is_unit(from, i)) continue;
      own[i] = axes[axis];
      if (from->dims[i] != to->dims[axis]) spoil(plan, axes[axis]);
    } else {
      spoil(plan, axes[axis]);
    }
  }
}

/* Follows a value to the params that it is made of; false when one value is needed in two ways. */
static bool visit(Lower *lower, MergePlan *plan, const Value *value, const int *axes) {
  if (lowers_to_literal(lower, value)) return true;
  AxisMap *known = find_map(plan, value);
  if (known) return memcmp(known->axes, axes, sizeof known->axes) == 0;
  add_map(lower, plan, value, axes);
  const Node *def = value->def;
  bool leaf = lower->bindings->region ? !def : def != lower->node;
  if (leaf || node_is(def, &op_const)) return true;
  if (def->operand_count == 0) return false;
  for (int i = 0; i < def->operand_count; i++) {
    int own[MAX_RANK];
    if (!operand(def, i)) continue;
    map_operand(plan, def, i, value->type, axes, own);
    TRY(visit(lower, plan, operand(def, i), own));
  }
  return true;
}

/* The next axis that is not of size 1, or the rank. */
static int next_axis(const Type *type, int axis) {
  while (++axis < type->rank && is_unit(type, axis)) {
  }
  return axis;
}

/* Where the elements of a value are in memory; NULL: they are computed. */
static const Buffer *buffer_of(Lower *lower, const Value *value) {
  for (int i = 0; i < lower->node->result_count; i++)
    if (lower->bindings->outputs[i] == value) return lower->bindings->results[i];
  return lower_buffer(lower, (Value *)value);
}

/* The elements of two neighbouring axes follow each other evenly. */
static bool is_even(Lower *lower, const Value *value, int first, int second) {
  const Buffer *buffer = buffer_of(lower, value);
  const Kernel *kernel = lower->loops.kernel;
  return !buffer || !buffer->strides ||
         buffer_stride(kernel, buffer, first) ==
             dim_mul(lower->module, buffer->dims[second], buffer_stride(kernel, buffer, second));
}

/* The value is indexed by both result axes through neighbours of its own, or by neither. */
static bool runs_through(Lower *lower, const AxisMap *map, int first, int second) {
  int at_first = AXIS_NONE, at_second = AXIS_NONE;
  for (int i = 0; i < map->value->type->rank; i++) {
    if (map->axes[i] == AXIS_NONE) continue;
    if (map->axes[i] == first) at_first = i;
    if (map->axes[i] == second) at_second = i;
  }
  if (at_first == AXIS_NONE || at_second == AXIS_NONE) return at_first == at_second;
  return next_axis(map->value->type, at_first) == at_second &&
         is_even(lower, map->value, at_first, at_second);
}

static MergePlan *plan_merge(Lower *lower, const Type *type, const bool *outputs) {
  MergePlan *plan = NEW(lower->module->arena, MergePlan);
  int identity[MAX_RANK];
  for (int i = 0; i < MAX_RANK; i++) identity[i] = i < type->rank && !is_unit(type, i) ? i : AXIS_NONE;
  for (int i = 0; i < lower->node->result_count; i++)
    if (outputs[i] && !visit(lower, plan, lower->bindings->outputs[i], identity)) return NULL;
  for (int axis = next_axis(type, -1); axis < type->rank; axis = next_axis(type, axis)) {
    int next = next_axis(type, axis);
    plan->merged[axis] = next < type->rank && !plan->spoiled[axis] && !plan->spoiled[next];
    for (int i = 0; i < plan->count && plan->merged[axis]; i++)
      plan->merged[axis] = runs_through(lower, &plan->maps[i], axis, next);
  }
  /* Maps of the outputs by the names that lower_store uses. */
  for (int i = 0; i < lower->node->result_count; i++)
    if (outputs[i] && !find_map(plan, result(lower->node, i)))
      add_map(lower, plan, result(lower->node, i), identity);
  return plan;
}

/* ---- memory through merged axes ---- */

/* The map of the value that a param stands for: in a region, of the region's input. */
static AxisMap *param_map(const Lower *lower, const Value *value) {
  const struct Binding *state = lower->bindings;
  if (!state->plan) return NULL;
  AxisMap *map = find_map(state->plan, value);
  for (int i = 0; state->region && !map && i < lower->node->operand_count; i++)
    if (operand(lower->node, i) == value) map = find_map(state->plan, state->region->inputs[i]);
  return map;
}

Buffer *merged_access(Lower *lower, const Value *value, Buffer *buffer, const Index *at, Index *indices,
                      int *rank) {
  const Type *type = value->type;
  AxisMap *map = param_map(lower, value);
  const Dim *dims[MAX_RANK], *strides[MAX_RANK], *size = NULL;
  int count = 0;
  bool merges = false;
  for (int axis = map ? next_axis(type, -1) : type->rank; axis < type->rank; axis = next_axis(type, axis)) {
    bool joins = map->axes[axis] != AXIS_NONE && lower->bindings->plan->merged[map->axes[axis]];
    size = size ? dim_mul(lower->module, size, type->dims[axis]) : type->dims[axis];
    merges |= joins;
    if (joins) continue;
    dims[count] = size;
    strides[count] = buffer_stride(lower->loops.kernel, buffer, axis);
    indices[count++] = at[axis];
    size = NULL;
  }
  *rank = merges ? count : type->rank;
  if (!merges) {
    memcpy(indices, at, sizeof(Index) * (size_t)type->rank);
    return buffer;
  }
  if (!map->buffer) {
    Kernel *kernel = lower->loops.kernel;
    const char *name = arena_printf(lower->module->arena, "%s.m%d", buffer->name, kernel->view_count);
    map->buffer = kernel_add_view(kernel, name, buffer, NULL, count, dims, buffer->strides ? strides : NULL);
  }
  return map->buffer;
}

/* ---- the loops ---- */

typedef struct Nest {
  const Type *type;
  const bool *outputs;
  int lanes;
  int groups;
  int axes[MAX_RANK];         /* the last axis of each group */
  const Dim *sizes[MAX_RANK]; /* the product of each group */
  Index at[MAX_RANK];
  int across;           /* the group along which params run that the lanes cross, or AXIS_NONE */
  int rows;             /* of the square tiles that are made for them; 0: none */
  Index *row_positions; /* along that group */
} Nest;

static void find_groups(Lower *lower, Nest *nest) {
  const MergePlan *plan = lower->bindings->plan;
  const Dim *size = NULL;
  for (int axis = next_axis(nest->type, -1); axis < nest->type->rank; axis = next_axis(nest->type, axis)) {
    size = size ? dim_mul(lower->module, size, nest->type->dims[axis]) : nest->type->dims[axis];
    if (plan && plan->merged[axis]) continue;
    nest->axes[nest->groups] = axis;
    nest->sizes[nest->groups++] = size;
    size = NULL;
  }
}

static void one_element(Lower *lower, const Nest *nest) {
  for (int i = 0; i < lower->node->result_count; i++)
    if (nest->outputs[i])
      lower_store(lower, i, nest->at, lower_value(lower, lower->bindings->outputs[i], nest->at));
}

/* The axis of a value that is the result's axis `axis`. */
static int axis_of(const AxisMap *map, int axis) {
  for (int i = map->value->type->rank - 1; i >= 0; i--)
    if (map->axes[i] == axis) return i;
  return AXIS_NONE;
}

/* The group that the runs of a param lie along, if it is not the last and the lanes cross them. */
static int crossed_group(Lower *lower, const Nest *nest, const AxisMap *map) {
  const Value *value = map->value;
  int last = value->type->rank - 1;
  while (last >= 0 && map->axes[last] == AXIS_NONE) last--;
  bool leaf = lower->bindings->region ? !value->def : value->def != lower->node;
  if (last < 0 || !leaf || !lower_buffer(lower, (Value *)value) || dtype_bits(value->type->dtype) < 8)
    return AXIS_NONE;
  if (axis_of(map, nest->axes[nest->groups - 1]) == AXIS_NONE) return AXIS_NONE;
  for (int group = 0; group + 1 < nest->groups; group++)
    if (nest->axes[group] == map->axes[last] && dim_is_const(nest->sizes[group])) return group;
  return AXIS_NONE;
}

static int find_across(Lower *lower, const Nest *nest) {
  const MergePlan *plan = lower->bindings->plan;
  bool square = nest->lanes == 4 || nest->lanes == 8 || nest->lanes == MAX_SQUARE;
  for (int i = 0; plan && square && i < plan->count; i++) {
    int group = crossed_group(lower, nest, &plan->maps[i]);
    if (group != AXIS_NONE) return group;
  }
  return AXIS_NONE;
}

/* Loads and turns a tile of every param whose runs the lanes cross. */
static void turn_tiles(Lower *lower, const Nest *nest) {
  const MergePlan *plan = lower->bindings->plan;
  int last = nest->groups - 1;
  Reg *size = loop_dim(&lower->loops, nest->sizes[last]);
  Square square = {.count = nest->rows, .positions = nest->row_positions};
  square.last = loop_binary(&lower->loops, LOOP_SUB, size, loop_int(&lower->loops, 1));
  for (int i = 0; i < plan->count; i++) {
    const AxisMap *map = &plan->maps[i];
    Index at[MAX_RANK];
    if (crossed_group(lower, nest, map) != nest->across) continue;
    square.along = axis_of(map, nest->axes[last]);
    square.across = axis_of(map, nest->axes[nest->across]);
    for (int k = 0; k < map->value->type->rank; k++)
      at[k] = map->axes[k] == AXIS_NONE ? index_const(lower, 0) : nest->at[map->axes[k]];
    lower_transposed(lower, map->value, at, &square);
  }
}

static void element_body(Lower *lower, Nest *nest) {
  if (nest->rows == 0) {
    one_element(lower, nest);
    return;
  }
  turn_tiles(lower, nest);
  for (int i = 0; i < nest->rows; i++) {
    nest->at[nest->axes[nest->across]] = nest->row_positions[i];
    one_element(lower, nest);
  }
}

static For begin_group(Lower *lower, Reg *hi, int64_t step) {
  return loop_parallel(&lower->loops, loop_int(&lower->loops, 0), hi, step);
}

/* Iterations [0, full) of the last group in steps of the lanes. */
static void full_runs(Lower *lower, Nest *nest, Reg *full) {
  int last = nest->groups - 1, axis = nest->axes[last];
  int64_t count;
  if (reg_const_int(full, &count) && count == nest->lanes) {
    nest->at[axis] = index_run(loop_int(&lower->loops, 0), 1);
    element_body(lower, nest);
    return;
  }
  For loop = begin_group(lower, full, nest->lanes);
  nest->at[axis] = index_run(loop.counter, 1);
  element_body(lower, nest);
  loop_end(&lower->loops, &loop, NULL);
}

/* The rest of the last group, fewer than the lanes but at least one. */
static void masked_run(Lower *lower, Nest *nest, Reg *full, Reg *rest) {
  lower->mask = loop_lanes_below(&lower->loops, rest, nest->lanes);
  nest->at[nest->axes[nest->groups - 1]] = index_run(full, 1);
  element_body(lower, nest);
  lower->mask = NULL;
}

static void constant_run(Lower *lower, Nest *nest, int64_t size) {
  Loops *loops = &lower->loops;
  Sections sections = loop_sections(loops);
  int64_t rest = size % nest->lanes, full = size - rest;
  if (full > 0) {
    loop_section(loops, &sections);
    full_runs(lower, nest, loop_int(loops, full));
  }
  if (rest > 0) {
    loop_section(loops, &sections);
    masked_run(lower, nest, loop_int(loops, full), loop_int(loops, rest));
  }
  loop_end_sections(loops, &sections);
}

static void open_run(Lower *lower, Nest *nest, const Dim *size) {
  Loops *loops = &lower->loops;
  Reg *n = loop_dim(loops, size), *rest = loop_binary(loops, LOOP_FLOORMOD, n, loop_int(loops, nest->lanes)),
      *full = loop_binary(loops, LOOP_SUB, n, rest);
  Sections sections = loop_sections(loops);
  loop_section(loops, &sections);
  full_runs(lower, nest, full);
  loop_section(loops, &sections);
  If tail = loop_if(loops, loop_binary(loops, LOOP_GT, rest, loop_int(loops, 0)), 0, NULL);
  masked_run(lower, nest, full, rest);
  loop_end_if(loops, &tail, NULL);
  loop_end_sections(loops, &sections);
}

static void vector_loops(Lower *lower, Nest *nest) {
  const Dim *size = nest->sizes[nest->groups - 1];
  lower->lanes = nest->lanes;
  if (dim_is_const(size))
    constant_run(lower, nest, size->value);
  else
    open_run(lower, nest, size);
  lower->lanes = 1;
}

static void row_of_tiles(Lower *lower, Nest *nest, Reg *first, int rows) {
  Index positions[MAX_SQUARE];
  for (int i = 0; i < rows; i++)
    positions[i] = index_of(loop_binary(&lower->loops, LOOP_ADD, first, loop_int(&lower->loops, i)));
  nest->rows = rows;
  nest->row_positions = positions;
  vector_loops(lower, nest);
  nest->rows = 0;
}

/* Square tiles, along the result's runs inside: it is written line by line. */
static void tile_loops(Lower *lower, Nest *nest) {
  Loops *loops = &lower->loops;
  int64_t size = nest->sizes[nest->across]->value, rest = size % nest->lanes;
  Sections sections = loop_sections(loops);
  if (size > rest) {
    loop_section(loops, &sections);
    For loop = begin_group(lower, loop_int(loops, size - rest), nest->lanes);
    row_of_tiles(lower, nest, loop.counter, nest->lanes);
    loop_end(loops, &loop, NULL);
  }
  if (rest > 0) {
    loop_section(loops, &sections);
    row_of_tiles(lower, nest, loop_int(loops, size - rest), (int)rest);
  }
  loop_end_sections(loops, &sections);
}

static void nest_loops(Lower *lower, Nest *nest, int group) {
  if (group == nest->groups) {
    element_body(lower, nest);
  } else if (group == nest->groups - 1 && nest->lanes > 1) {
    if (nest->across == AXIS_NONE)
      vector_loops(lower, nest);
    else
      tile_loops(lower, nest);
  } else if (group == nest->across) {
    nest_loops(lower, nest, group + 1);
  } else {
    For loop = begin_group(lower, loop_dim(&lower->loops, nest->sizes[group]), 1);
    nest->at[nest->axes[group]] = index_of(loop.counter);
    nest_loops(lower, nest, group + 1);
    loop_end(&lower->loops, &loop, NULL);
  }
}

/* ---- elements below a byte ---- */

/* How many elements of the results share a byte: those must be written by one iteration. */
static int64_t elements_per_byte(const Lower *lower, const bool *outputs) {
  int bits = 8;
  for (int i = 0; i < lower->node->result_count; i++) {
    int own = outputs[i] ? dtype_bits(result(lower->node, i)->type->dtype) : 8;
    if (own > 0 && own < bits) bits = own;
  }
  return 8 / bits;
}

/* The position of the element that is number `index` in row-major order. */
static void unflatten(Lower *lower, const Type *type, Index index, Index *at) {
  for (int axis = type->rank - 1; axis > 0; axis--) {
    at[axis] = index_mod(lower, index, type->dims[axis]);
    index = index_div(lower, index, type->dims[axis]);
  }
  if (type->rank > 0) at[0] = index;
}

/* A parallel loop over bytes, each written element by element. */
static void byte_loops(Lower *lower, Nest *nest, int64_t per_byte) {
  Loops *loops = &lower->loops;
  Module *module = lower->module;
  const Dim *count = type_count(module, nest->type),
            *bytes = dim_ceildiv(module, count, dim_const(module, per_byte));
  For byte = begin_group(lower, loop_dim(loops, bytes), 1);
  Reg *first = loop_binary(loops, LOOP_MUL, byte.counter, loop_int(loops, per_byte));
  Reg *end = loop_binary(loops, LOOP_ADD, first, loop_int(loops, per_byte));
  For element = loop_for(loops, first, loop_binary(loops, LOOP_MIN, end, loop_dim(loops, count)), 1, 0, NULL);
  unflatten(lower, nest->type, index_of(element.counter), nest->at);
  element_body(lower, nest);
  loop_end(loops, &element, NULL);
  loop_end(loops, &byte, NULL);
}

/* ---- */

/* No more lanes than the run can fill. */
static int useful_lanes(const Nest *nest, int lanes) {
  if (nest->groups == 0) return 1;
  const Dim *size = nest->sizes[nest->groups - 1];
  while (dim_is_const(size) && lanes > 1 && lanes / 2 >= size->value) lanes /= 2;
  return lanes;
}

static void lower_group(Lower *lower, const Type *type, const bool *outputs, int lanes) {
  Nest nest = {.type = type, .outputs = outputs, .across = AXIS_NONE};
  int64_t per_byte = elements_per_byte(lower, outputs);
  if (per_byte > 1) {
    byte_loops(lower, &nest, per_byte);
    return;
  }
  if (lanes > 1) lower->bindings->plan = plan_merge(lower, type, outputs);
  find_groups(lower, &nest);
  nest.lanes = useful_lanes(&nest, lanes);
  for (int i = 0; i < type->rank; i++) nest.at[i] = index_const(lower, 0);
  if (nest.lanes > 1) nest.across = find_across(lower, &nest);
  nest_loops(lower, &nest, 0);
  lower->bindings->plan = NULL;
}

void lower_elements(Lower *lower, int lanes) {
  const struct Binding *state = lower->bindings;
  int count = lower->node->result_count;
  bool *done = NEW_ARRAY(lower->module->arena, bool, count);
  for (int i = 0; i < count; i++) done[i] = state->needs[i] != 0; /* lower_result stores those */
  for (int i = 0; i < count; i++) {
    if (done[i]) continue;
    const Type *type = state->outputs[i]->type;
    bool *outputs = NEW_ARRAY(lower->module->arena, bool, count);
    for (int k = i; k < count; k++) {
      outputs[k] = !done[k] && type_same_shape(type, state->outputs[k]->type);
      done[k] |= outputs[k];
    }
    lower_group(lower, type, outputs, lanes);
  }
}
