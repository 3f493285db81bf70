/*
 * run.c -- the plain call: the checks before a model's kernels run, and the words for what can go wrong.
 *
 * Freestanding: no allocation, no I/O, no C library.
 */
#include "dynamic.h"

typedef struct ErrorRow {
  int code;
  const char *text;
} ErrorRow;

static const ErrorRow error_rows[] = {
#define TENON_ERROR_TEXT(name, number, text) {number, text},
    TENON_ERRORS(TENON_ERROR_TEXT)
#undef TENON_ERROR_TEXT
};

const char *tenon_runtime_error_text(int code) {
  for (uint32_t i = 0; i < sizeof error_rows / sizeof error_rows[0]; i++)
    if (error_rows[i].code == tenon_error_kind(code)) return error_rows[i].text;
  return "unknown error";
}

/* What is computed once, from weights alone, and the rooms of the states; so the sizes of a run do not
 * matter. */
uint64_t tenon_runtime_state_size(const int64_t *symbols) {
  (void)symbols;
  return tenon_model_state_size;
}

static int check_memory(uint64_t size, const void *memory) {
  if (size == 0) return TENON_OK;
  if (!memory) return TENON_ERROR_NULL;
  return (uintptr_t)memory % TENON_ALIGNMENT ? TENON_ERROR_ALIGNMENT : TENON_OK;
}

int tenon_runtime_prepare(void *state) {
  int error = tenon_runtime_check_cpu();
  if (!error) error = check_memory(tenon_model_state_size, state);
  if (error) return error;
  tenon_model_prepare(state);
  tenon_states_reset(state, NULL);
  return TENON_OK;
}

static int find_null(const void *const *pointers, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (!pointers[i]) return (int)i;
  return -1;
}

static int check_scratch(const int64_t *symbols, const void *scratch) {
  uint64_t size = tenon_model_scratch_size(symbols);
  return size == UINT64_MAX ? TENON_ERROR_INPUT_SHAPE : check_memory(size, scratch);
}

int tenon_runtime_run(void *state, const int64_t *symbols, const void *const *inputs, void *const *outputs,
                      void *scratch) {
  const tenon_library *library = &tenon_model_library;
  if (tenon_model_dynamic.run) return TENON_ERROR_UNSUPPORTED; /* a session has the memory */
  int error = tenon_runtime_check_cpu();
  if (error) return error;
  if ((!inputs && library->input_count) || !outputs || (!symbols && library->symbol_count))
    return TENON_ERROR_NULL;
  int null = find_null(inputs, library->input_count);
  if (null >= 0) return TENON_ERROR_INPUT_NULL + 256 * null;
  null = find_null((const void *const *)outputs, library->output_count);
  if (null >= 0) return TENON_ERROR_OUTPUT_NULL + 256 * null;
  for (uint32_t i = 0; i < library->symbol_count; i++)
    if (symbols[i] < 0) return TENON_ERROR_INPUT_SHAPE + 256 * (int)tenon_model_bindings[i].input;
  if ((error = tenon_model_guard(symbols))) return error;
  if ((error = check_memory(tenon_model_state_size, state))) return error;
  if ((error = check_scratch(symbols, scratch))) return error;
  tenon_model_run(state, symbols, inputs, outputs, scratch, NULL, NULL);
  return TENON_OK;
}
