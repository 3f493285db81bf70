/*
 * states.c -- states: what a library keeps from run to run, such as the keys and values of a language model.
 *
 * The last `state_count` inputs and outputs of a graph are states, in the same order: what a run puts out,
 * the next one finds in the input. A state lies in its room, a tensor of constant sizes, and fills a part of
 * it: a size that is a symbol changes with every run, to what the output's size is then. To the graph itself
 * they are inputs and outputs as all others are.
 */
#include "ir/ir.h"

Value *graph_state(const Graph *graph, int index) {
  return graph->inputs[graph->input_count - graph->state_count + index];
}

Value *graph_next_state(const Graph *graph, int index) {
  return graph_output(graph, graph->output_count - graph->state_count + index);
}

int value_state(const Value *value) {
  if (value->def || value->graph->owner) return -1;
  int index = value->index - (value->graph->input_count - value->graph->state_count);
  return index < 0 ? -1 : index;
}

/* ---- checks ---- */

/* Where a size is found: axis of a state. */
typedef struct Place {
  int state, axis;
} Place;

/* The first that has the symbol. */
static Place first_place(const Graph *graph, const Dim *symbol) {
  Place place = {0, 0};
  for (;; place.state++) {
    const Type *type = graph_state(graph, place.state)->type;
    for (place.axis = 0; place.axis < type->rank; place.axis++)
      if (type->dims[place.axis] == symbol) return place;
  }
}

/* States that share a size go together. */
static bool agrees_with_first(const Graph *graph, const Value *state, const Dim *size, const Dim *next,
                              const Dim *room) {
  Module *module = graph->module;
  Place first = first_place(graph, size);
  const Dim *first_next = graph_next_state(graph, first.state)->type->dims[first.axis];
  const Dim *first_room = graph->rooms[first.state]->dims[first.axis];
  if (next != first_next)
    return fail(module, "state '%s': %s becomes %s, in another state %s", state->name, dim_text(module, size),
                dim_text(module, next), dim_text(module, first_next));
  return room == first_room ||
         fail(module, "state '%s' has room for %s = %s, another state for %s", state->name,
              dim_text(module, size), dim_text(module, room), dim_text(module, first_room));
}

static bool check_axis(const Graph *graph, int index, int axis) {
  Module *module = graph->module;
  const Value *state = graph_state(graph, index);
  const Dim *size = state->type->dims[axis], *next = graph_next_state(graph, index)->type->dims[axis];
  const Dim *room = graph->rooms[index]->dims[axis];
  const char *text = dim_text(module, size), *next_text = dim_text(module, next);
  if (dim_is_const(size))
    return (size == next && size == room) ||
           fail(module, "state '%s': axis %d is %s and becomes %s; a size that changes has to be open",
                state->name, axis, text, next_text);
  if (size->kind != DIM_SYMBOL)
    return fail(module, "state '%s': axis %d is %s, and may only be a number or a name", state->name, axis,
                text);
  if (!dim_is_const(room)) return fail(module, "state '%s' has no largest size for %s", state->name, text);
  if (size == next)
    return fail(module, "state '%s': %s never changes; give it as a number", state->name, text);
  return agrees_with_first(graph, state, size, next, room);
}

static bool check_state(const Graph *graph, int index) {
  Module *module = graph->module;
  const Value *state = graph_state(graph, index);
  const Type *type = state->type, *next = graph_next_state(graph, index)->type, *room = graph->rooms[index];
  if (!type_is_tensor(type) || !type_is_tensor(next) || type->dtype != next->dtype ||
      type->rank != next->rank)
    return fail(module, "state '%s' is %s and cannot become %s", state->name, type_text(module, type),
                type_text(module, next));
  if (dtype_bits(type->dtype) % 8 != 0 || dtype_bits(type->dtype) == 0)
    return fail(module, "state '%s' is %s: states have elements of whole bytes", state->name,
                type_text(module, type));
  if (!type_is_tensor(room) || room->dtype != type->dtype || room->rank != type->rank)
    return fail(module, "state '%s' is %s and has no room in %s", state->name, type_text(module, type),
                type_text(module, room));
  for (int axis = 0; axis < type->rank; axis++) TRY(check_axis(graph, index, axis));
  return true;
}

bool graph_check_states(const Graph *graph) {
  int count = graph->state_count;
  if (count > 0 && graph->owner) return fail(graph->module, "a region has no states");
  if (count < 0 || count > graph->input_count || count > graph->output_count)
    return fail(graph->module, "%d states, but %d inputs and %d outputs", count, graph->input_count,
                graph->output_count);
  for (int i = 0; i < count; i++) TRY(check_state(graph, i));
  return true;
}

bool graph_fits_rooms(const Graph *graph, const char *const *symbols, const int64_t *values, int count) {
  for (int i = 0; i < graph->state_count; i++)
    for (int axis = 0; axis < graph->rooms[i]->rank; axis++) {
      const Dim *next = graph_next_state(graph, i)->type->dims[axis];
      int64_t size, most = graph->rooms[i]->dims[axis]->value;
      if (!dim_eval(next, symbols, values, count, &size) || size > most)
        return fail(graph->module, "%s must be at most %lld", dim_text(graph->module, next), (long long)most);
    }
  return true;
}

/* ---- making ---- */

/* The numbers of a list without those taken, then these in their order. */
static int *moved_behind(Module *module, int count, const int *taken, int taken_count) {
  int *order = NEW_ARRAY(module->arena, int, count), kept = 0;
  for (int i = 0; i < count; i++) {
    bool stays = true;
    for (int j = 0; j < taken_count; j++) stays = stays && taken[j] != i;
    if (stays) order[kept++] = i;
  }
  for (int j = 0; j < taken_count; j++) order[kept + j] = taken[j];
  return order;
}

static void move_inputs(Graph *graph, const int *taken, int count) {
  const int *order = moved_behind(graph->module, graph->input_count, taken, count);
  Value **inputs = NEW_ARRAY(graph->module->arena, Value *, graph->input_count);
  for (int i = 0; i < graph->input_count; i++) inputs[i] = graph->inputs[order[i]];
  for (int i = 0; i < graph->input_count; i++) (graph->inputs[i] = inputs[i])->index = i;
}

static bool move_outputs(Graph *graph, const int *taken, int count) {
  Arena *arena = graph->module->arena;
  const int *order = moved_behind(graph->module, graph->output_count, taken, count);
  Value **outputs = NEW_ARRAY(arena, Value *, graph->output_count);
  const char **names = NEW_ARRAY(arena, const char *, graph->output_count);
  for (int i = 0; i < graph->output_count; i++) {
    outputs[i] = graph_output(graph, order[i]);
    names[i] = graph->output_names[order[i]];
  }
  return graph_set_outputs(graph, graph->output_count, outputs, names);
}

bool graph_set_states(Graph *graph, int count, const StatePair *pairs) {
  Arena *arena = graph->module->arena;
  int *inputs = NEW_ARRAY(arena, int, count), *outputs = NEW_ARRAY(arena, int, count);
  graph->state_count = count;
  graph->rooms = NEW_ARRAY(arena, const Type *, count);
  for (int i = 0; i < count; i++) {
    inputs[i] = pairs[i].input;
    outputs[i] = pairs[i].output;
    graph->rooms[i] = pairs[i].room;
  }
  move_inputs(graph, inputs, count);
  return move_outputs(graph, outputs, count) && graph_check_states(graph);
}
