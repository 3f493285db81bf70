/*
 * states.c -- what a library keeps from run to run: where the elements are, and which sizes they have now.
 *
 * A state lies in the state memory, in a room of constant sizes: with the strides of the room where runs
 * append to it in place, packed elsewhere. Its sizes are symbols, whose values the caller of the plain call
 * has, and of a session the session.
 */
#include "items.h"
#include "model.h"

void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *memory, int byte, size_t size);

static void sizes_now(uint32_t index, const int64_t *symbols, int64_t *dims) {
  tenon_model_input_dims(tenon_model_library.input_count + index, symbols, dims);
}

/* ---- Sizes --------------------------------------------------------------------------------------------- */

static int is_of_state(uint32_t symbol) {
  return tenon_model_bindings[symbol].input >= tenon_model_library.input_count;
}

void tenon_states_advance(int64_t *symbols, int64_t *old) {
  const tenon_library *library = &tenon_model_library;
  if (!library->state_count || !library->symbol_count) return;
  memcpy(old, symbols, library->symbol_count * sizeof *old);
  for (uint32_t i = 0; i < library->symbol_count; i++) {
    int64_t dims[TENON_MAX_RANK];
    Binding from = tenon_model_bindings[i];
    if (!is_of_state(i)) continue;
    tenon_model_output_dims(from.input - library->input_count + library->output_count, old, dims);
    symbols[i] = dims[from.axis];
  }
}

int tenon_states_fit(uint32_t index, const tenon_tensor *tensor) {
  const tenon_tensor_info *info = tenon_model_library.states[index], *room = tenon_model_states[index].room;
  if (tensor->rank != info->rank || (tensor->data && tensor->dtype != info->dtype)) return 0;
  for (uint32_t axis = 0; axis < info->rank; axis++) {
    int64_t size = tensor->dims[axis], most = room->dims[axis].size;
    int is_open = tenon_model_states[index].symbols[axis] >= 0;
    if (size < 0 || size > most || (!is_open && size != most)) return 0;
  }
  return 1;
}

/* ---- Elements ------------------------------------------------------------------------------------------ */

/* Bytes from one index of each axis to the next. */
static void find_strides(const tenon_tensor_info *room, const int64_t *dims, int64_t *strides) {
  int64_t stride = (int64_t)tenon_item_bytes(room->dtype, 0, NULL);
  for (uint32_t axis = room->rank; axis-- > 0;) {
    strides[axis] = stride;
    stride *= dims ? dims[axis] : room->dims[axis].size;
  }
}

static void strides_of_state(uint32_t index, const int64_t *dims, int64_t *strides) {
  const State *state = &tenon_model_states[index];
  find_strides(state->room, state->in_room ? NULL : dims, strides);
}

/* Row by row from the first to the last, so that rows may move towards the start of their memory. */
static void copy_rows(const tenon_tensor_info *info, const int64_t *dims, char *to, const int64_t *to_strides,
                      const char *from, const int64_t *from_strides) {
  uint32_t outer = info->rank ? info->rank - 1 : 0;
  uint64_t bytes = tenon_item_bytes(info->dtype, 0, NULL) * (uint64_t)(info->rank ? dims[outer] : 1);
  int64_t at[TENON_MAX_RANK] = {0};
  for (uint32_t axis = 0; axis < info->rank; axis++)
    if (dims[axis] == 0) return;
  for (;;) {
    int64_t target = 0, source = 0;
    for (uint32_t axis = 0; axis < outer; axis++) {
      target += at[axis] * to_strides[axis];
      source += at[axis] * from_strides[axis];
    }
    memmove(to + target, from + source, bytes);
    uint32_t axis = outer;
    while (axis-- > 0 && ++at[axis] == dims[axis]) at[axis] = 0;
    if (axis == UINT32_MAX) return;
  }
}

void tenon_states_read(uint32_t index, const int64_t *symbols, const void *memory, void *packed) {
  const State *state = &tenon_model_states[index];
  int64_t dims[TENON_MAX_RANK], from[TENON_MAX_RANK], to[TENON_MAX_RANK];
  sizes_now(index, symbols, dims);
  find_strides(state->room, dims, to);
  strides_of_state(index, dims, from);
  copy_rows(state->room, dims, packed, to, (const char *)memory + state->offset, from);
}

void tenon_states_write(uint32_t index, const int64_t *symbols, void *memory, const void *packed) {
  const State *state = &tenon_model_states[index];
  int64_t dims[TENON_MAX_RANK], from[TENON_MAX_RANK], to[TENON_MAX_RANK];
  sizes_now(index, symbols, dims);
  find_strides(state->room, dims, from);
  strides_of_state(index, dims, to);
  copy_rows(state->room, dims, (char *)memory + state->offset, to, packed, from);
}

/* What is packed has to move. */
static void resize(uint32_t index, const int64_t *old, const int64_t *symbols, void *memory) {
  const State *state = &tenon_model_states[index];
  int64_t before[TENON_MAX_RANK], after[TENON_MAX_RANK], from[TENON_MAX_RANK], to[TENON_MAX_RANK];
  char *elements = (char *)memory + state->offset;
  if (state->in_room) return;
  sizes_now(index, old, before);
  sizes_now(index, symbols, after);
  find_strides(state->room, before, from);
  find_strides(state->room, after, to);
  for (uint32_t axis = 0; axis < state->room->rank; axis++)
    if (after[axis] > before[axis]) return; /* there is nothing to keep */
  copy_rows(state->room, after, elements, to, elements, from);
}

void tenon_states_resize(uint32_t index, const int64_t *dims, int64_t *symbols, int64_t *old, void *memory) {
  const tenon_library *library = &tenon_model_library;
  const int64_t *numbers = tenon_model_states[index].symbols;
  if (!library->symbol_count) return;
  memcpy(old, symbols, library->symbol_count * sizeof *old);
  for (uint32_t axis = 0; axis < library->states[index]->rank; axis++)
    if (numbers[axis] >= 0) symbols[numbers[axis]] = dims[axis];
  for (uint32_t i = 0; i < library->state_count; i++) resize(i, old, symbols, memory);
}

void tenon_states_reset(void *memory, int64_t *symbols) {
  const tenon_library *library = &tenon_model_library;
  for (uint32_t i = 0; symbols && i < library->symbol_count; i++)
    if (is_of_state(i)) symbols[i] = 0;
  for (uint32_t i = 0; i < library->state_count; i++) {
    const State *state = &tenon_model_states[i];
    uint64_t bytes = tenon_item_bytes(state->room->dtype, 0, NULL);
    int grows = 0;
    for (uint32_t axis = 0; axis < state->room->rank; axis++) {
      bytes *= (uint64_t)state->room->dims[axis].size;
      grows |= state->symbols[axis] >= 0;
    }
    if (!grows) memset((char *)memory + state->offset, 0, bytes);
  }
}
