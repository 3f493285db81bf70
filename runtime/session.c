/*
 * session.c -- sessions: memory for one stream of runs, tensors checked against the model, errors in words,
 * kernel times.
 *
 * A session is one allocation that ends in its arrays, plus memory that grows with the sizes of its runs: the
 * scratch and the outputs that the host gave no memory for.
 */
#include "dynamic.h"

/* What is needed of the C library, without the headers of the target's. */
void *aligned_alloc(size_t alignment, size_t size);
void free(void *memory);
int madvise(void *memory, size_t size, int advice);
int clock_gettime(int clock, ClockTime *time);
int snprintf(char *text, size_t size, const char *format, ...);
void *memset(void *memory, int byte, size_t size);

enum { CLOCK_STEADY = 1, ADVICE_NOT_NEEDED = 4, ADVICE_HUGE_PAGES = 14 };
enum { LARGEST_PAGE = 64 << 10, HUGE_PAGE = 2 << 20, ERROR_SIZE = 256 };

typedef struct Memory {
  void *data;
  uint64_t size;
} Memory;

struct tenon_session {
  Memory state, scratch;
  Memory *outputs;         /* [output_count] */
  int64_t *symbols;        /* [symbol_count]; those of states are as the last run left them */
  int64_t *old_symbols;    /* the same number */
  const void **input_data; /* [input_count] */
  void **output_data;      /* [output_count] */
  Profile profile;
  uint64_t runs; /* since profiling was switched on */
  uint32_t profiling;
  Team team;
  Dynamic dynamic; /* of models that have tenon_model_dynamic */
  char error[ERROR_SIZE];
};

/* ---- Memory -------------------------------------------------------------------------------------------- */

/* Much memory asks for huge pages: activations that pass through it, and weights transformed at the start,
 * are then not kept waiting for translations of their addresses. */
static void *allocate(uint64_t size) {
  uint64_t alignment = size >= 4 * HUGE_PAGE ? HUGE_PAGE : TENON_ALIGNMENT;
  uint64_t rounded = (size + alignment - 1) / alignment * alignment;
  if (rounded < size || rounded > SIZE_MAX / 2) return NULL;
  void *memory = aligned_alloc((size_t)alignment, rounded ? (size_t)rounded : TENON_ALIGNMENT);
  if (memory && alignment == HUGE_PAGE) madvise(memory, (size_t)rounded, ADVICE_HUGE_PAGES);
  return memory;
}

static int memory_grow(Memory *memory, uint64_t size) {
  if (memory->data && memory->size >= size) return TENON_OK;
  free(memory->data);
  memory->data = allocate(size);
  memory->size = memory->data ? size : 0;
  return memory->data ? TENON_OK : TENON_ERROR_MEMORY;
}

/* ---- Time ---------------------------------------------------------------------------------------------- */

static uint64_t now(void) {
  ClockTime time = {0, 0};
  clock_gettime(CLOCK_STEADY, &time);
  return (uint64_t)time.seconds * 1000000000u + (uint64_t)time.nanoseconds;
}

static void profile_step(Profile *profile, uint32_t kernel) {
  uint64_t time = now();
  profile->nanoseconds[kernel] += time - profile->last;
  profile->last = time;
}

int tenon_runtime_session_set_profile(tenon_session *session, uint32_t on) {
  session->profiling = on;
  session->runs = 0;
  memset(session->profile.nanoseconds, 0, tenon_model_library.kernel_count * sizeof(uint64_t));
  return TENON_OK;
}

void tenon_runtime_session_profile(const tenon_session *session, uint64_t *nanoseconds, uint64_t *runs) {
  if (runs) *runs = session->runs;
  for (uint32_t i = 0; nanoseconds && i < tenon_model_library.kernel_count; i++)
    nanoseconds[i] = session->profile.nanoseconds[i];
}

/* ---- Open and close ------------------------------------------------------------------------------------ */

static void *take(char **rest, uint64_t size) {
  void *memory = *rest;
  *rest += (size + 15) / 16 * 16;
  return memory;
}

static int is_dynamic(void) {
  return tenon_model_dynamic.run != NULL;
}

static uint64_t symbol_count(void) {
  return is_dynamic() ? tenon_model_dynamic.symbol_count : tenon_model_library.symbol_count;
}

static uint64_t item_count(void) {
  return is_dynamic() ? tenon_model_dynamic.item_count + tenon_model_library.output_count : 0;
}

static uint64_t session_size(void) {
  const tenon_library *library = &tenon_model_library;
  uint64_t pointers = (uint64_t)library->input_count + library->output_count;
  uint64_t words = 2 * symbol_count() + library->kernel_count;
  return sizeof(tenon_session) + library->output_count * sizeof(Memory) + pointers * sizeof(void *) +
         words * 8 + item_count() * sizeof(Item) + 8 * 16;
}

static tenon_session *session_new(void) {
  const tenon_library *library = &tenon_model_library;
  uint64_t size = session_size();
  char *rest = allocate(size);
  if (!rest) return NULL;
  memset(rest, 0, size);
  tenon_session *session = take(&rest, sizeof(tenon_session));
  session->outputs = take(&rest, library->output_count * sizeof(Memory));
  session->symbols = take(&rest, symbol_count() * 8);
  session->old_symbols = take(&rest, symbol_count() * 8);
  session->input_data = take(&rest, library->input_count * sizeof(void *));
  session->output_data = take(&rest, library->output_count * sizeof(void *));
  session->profile.nanoseconds = take(&rest, library->kernel_count * 8);
  session->profile.step = profile_step;
  if (is_dynamic()) session->dynamic.items = take(&rest, item_count() * sizeof(Item));
  session->dynamic.holders = session->dynamic.items + tenon_model_dynamic.item_count;
  return session;
}

/* Whether the host's struct, of options->size bytes, has the member at `offset`. */
static int has_option(const tenon_session_options *options, size_t offset, size_t size) {
  return options && options->size >= offset + size;
}
#define HAS_OPTION(options, member)                                                                          \
  has_option(options, offsetof(tenon_session_options, member), sizeof(options)->member)

static int open_team(tenon_session *session, const tenon_session_options *options) {
  uint32_t threads = HAS_OPTION(options, threads) ? options->threads : 1;
  tenon_parallel_for *parallel_for = HAS_OPTION(options, parallel_for) ? options->parallel_for : NULL;
  void *host = HAS_OPTION(options, parallel_for_host) ? options->parallel_for_host : NULL;
  return tenon_runtime_team_open(&session->team, threads, parallel_for, host);
}

/* What the state was made of need not stay in memory: it would be read from the library again. */
static void release_start_weights(void) {
  uintptr_t begin = (uintptr_t)tenon_model_start_weights, end = begin + tenon_model_start_weight_bytes;
  begin = (begin + LARGEST_PAGE - 1) / LARGEST_PAGE * LARGEST_PAGE;
  end = end / LARGEST_PAGE * LARGEST_PAGE;
  if (begin < end) madvise((void *)begin, end - begin, ADVICE_NOT_NEEDED);
}

int tenon_runtime_session_open(const tenon_session_options *options, tenon_session **result) {
  if (!result) return TENON_ERROR_NULL;
  *result = NULL;
  int error = tenon_runtime_check_cpu();
  if (error) return error;
  tenon_session *session = session_new();
  if (!session) return TENON_ERROR_MEMORY;
  uint64_t state_size = tenon_runtime_state_size(NULL);
  if (state_size) error = memory_grow(&session->state, state_size);
  if (!error) error = tenon_runtime_prepare(session->state.data);
  release_start_weights();
  if (!error) error = open_team(session, options);
  if (error) {
    tenon_runtime_session_close(session);
    return error;
  }
  if (HAS_OPTION(options, profile)) session->profiling = options->profile;
  *result = session;
  return TENON_OK;
}

void tenon_runtime_session_close(tenon_session *session) {
  if (!session) return;
  tenon_runtime_team_close(&session->team);
  if (is_dynamic()) tenon_dynamic_close(&session->dynamic);
  for (uint32_t i = 0; i < tenon_model_library.output_count; i++) free(session->outputs[i].data);
  free(session->scratch.data);
  free(session->state.data);
  free(session);
}

const char *tenon_runtime_session_error(const tenon_session *session) {
  return session->error;
}

int tenon_runtime_session_set_threads(tenon_session *session, uint32_t threads,
                                      tenon_parallel_for *parallel_for, void *host) {
  tenon_runtime_team_close(&session->team);
  return tenon_runtime_team_open(&session->team, threads, parallel_for, host);
}

/* ---- Checking tensors ---------------------------------------------------------------------------------- */

static const char *const dtype_names[] = {
    "none",     "bool",       "i2",     "i4",         "i8",     "i16",    "i32",  "i64",  "u2",
    "u4",       "u8",         "u16",    "u32",        "u64",    "f16",    "bf16", "f32",  "f64",
    "f8e4m3fn", "f8e4m3fnuz", "f8e5m2", "f8e5m2fnuz", "f8e8m0", "f4e2m1", "c64",  "c128", "string"};
static const uint8_t dtype_bits[] = {0,  8,  2,  4,  8, 16, 32, 64, 2, 4, 8,  16,  32, 64,
                                     16, 16, 32, 64, 8, 8,  8,  8,  8, 4, 64, 128, 64};

static const char *dtype_name(uint32_t dtype) {
  return dtype <= TENON_STRING ? dtype_names[dtype] : "an unknown type";
}

/* Bytes of a tensor; the sizes have passed tenon_model_scratch_size or are bounded by the memory they
 * describe. */
static uint64_t tensor_bytes(uint32_t dtype, uint32_t rank, const int64_t *dims) {
  uint64_t count = 1;
  for (uint32_t i = 0; i < rank; i++)
    if (__builtin_mul_overflow(count, (uint64_t)dims[i], &count)) return UINT64_MAX;
  if (__builtin_mul_overflow(count, (uint64_t)dtype_bits[dtype], &count)) return UINT64_MAX;
  return count / 8 + (count % 8 != 0);
}

/* A tensor with a known number of axes; runs of dynamic models check the others. */
static int is_plain(const tenon_tensor_info *info) {
  return info->dtype <= TENON_STRING && info->rank != TENON_ANY_RANK;
}

/* dtype, rank and signs of the sizes: what must hold before symbols are read from the sizes. */
static int check_form(tenon_session *session, const tenon_tensor *inputs) {
  for (uint32_t i = 0; i < tenon_model_library.input_count; i++) {
    const tenon_tensor_info *info = tenon_model_library.inputs[i];
    const tenon_tensor *tensor = &inputs[i];
    int index = 256 * (int)i;
    if (!is_plain(info)) continue;
    if (tensor->dtype != info->dtype) {
      snprintf(session->error, ERROR_SIZE, "input '%s' is %s and must be %s", info->name,
               dtype_name(tensor->dtype), dtype_name(info->dtype));
      return TENON_ERROR_INPUT_DTYPE + index;
    }
    if (tensor->rank != info->rank) {
      snprintf(session->error, ERROR_SIZE, "input '%s' has %u axes and must have %u", info->name,
               tensor->rank, info->rank);
      return TENON_ERROR_INPUT_RANK + index;
    }
    for (uint32_t axis = 0; axis < info->rank; axis++)
      if (tensor->dims[axis] < 0) {
        snprintf(session->error, ERROR_SIZE, "input '%s': axis %u has the size %lld", info->name, axis,
                 (long long)tensor->dims[axis]);
        return TENON_ERROR_INPUT_SHAPE + index;
      }
  }
  return TENON_OK;
}

static int check_size(tenon_session *session, uint32_t i, const tenon_tensor *tensor) {
  const tenon_tensor_info *info = tenon_model_library.inputs[i];
  uint64_t bytes = tensor_bytes(info->dtype, info->rank, tensor->dims);
  if (tensor->size && tensor->size < bytes) {
    snprintf(session->error, ERROR_SIZE, "input '%s' has %llu bytes where its shape needs %llu", info->name,
             (unsigned long long)tensor->size, (unsigned long long)bytes);
    return TENON_ERROR_INPUT_SIZE + 256 * (int)i;
  }
  if (!tensor->data && bytes) {
    snprintf(session->error, ERROR_SIZE, "input '%s' has no data", info->name);
    return TENON_ERROR_INPUT_NULL + 256 * (int)i;
  }
  session->input_data[i] = tensor->data ? tensor->data : session; /* of an empty tensor nothing is read */
  return TENON_OK;
}

static int check_shapes(tenon_session *session, const tenon_tensor *inputs) {
  int64_t expected[TENON_MAX_RANK];
  for (uint32_t i = 0; i < tenon_model_library.input_count; i++) {
    const tenon_tensor_info *info = tenon_model_library.inputs[i];
    if (!is_plain(info)) continue;
    tenon_model_input_dims(i, session->symbols, expected);
    for (uint32_t axis = 0; axis < info->rank; axis++) {
      if (inputs[i].dims[axis] == expected[axis]) continue;
      const char *symbol = info->dims[axis].symbol;
      snprintf(session->error, ERROR_SIZE, "input '%s': axis %u has the size %lld and must have %lld%s%s",
               info->name, axis, (long long)inputs[i].dims[axis], (long long)expected[axis],
               symbol ? " = " : "", symbol ? symbol : "");
      return TENON_ERROR_INPUT_SHAPE + 256 * (int)i;
    }
    int error = check_size(session, i, &inputs[i]);
    if (error) return error;
  }
  return TENON_OK;
}

static int check_inputs(tenon_session *session, const tenon_tensor *inputs) {
  int error = check_form(session, inputs);
  if (error) return error;
  for (uint32_t i = 0; i < tenon_model_library.symbol_count; i++) {
    Binding from = tenon_model_bindings[i];
    if (from.input < tenon_model_library.input_count)
      session->symbols[i] = inputs[from.input].dims[from.axis];
  }
  if ((error = check_shapes(session, inputs))) return error;
  error = tenon_model_guard(session->symbols);
  if (error)
    snprintf(session->error, ERROR_SIZE, "sizes do not fit together: %s",
             tenon_model_library.guards[tenon_error_index(error)]);
  return error;
}

/* Fills in type and shape, and finds memory. */
static int place_output(tenon_session *session, uint32_t i, tenon_tensor *output) {
  const tenon_tensor_info *info = tenon_model_library.outputs[i];
  output->dtype = info->dtype;
  output->rank = info->rank;
  tenon_model_output_dims(i, session->symbols, output->dims);
  uint64_t bytes = tensor_bytes(info->dtype, info->rank, output->dims);
  if (output->data && output->size && output->size < bytes) {
    snprintf(session->error, ERROR_SIZE, "output '%s' has %llu bytes of memory and needs %llu", info->name,
             (unsigned long long)output->size, (unsigned long long)bytes);
    return TENON_ERROR_OUTPUT_SIZE + 256 * (int)i;
  }
  if (!output->data) {
    int error = memory_grow(&session->outputs[i], bytes);
    if (error) return error;
    output->data = session->outputs[i].data;
    output->size = bytes;
  }
  session->output_data[i] = output->data;
  return TENON_OK;
}

/* ---- Run ----------------------------------------------------------------------------------------------- */

/* Bytes in front of the scratch memory for the large locals of all threads but the first. */
static uint64_t more_locals(const tenon_session *session) {
  return (session->team.threads - 1) * tenon_model_local_bytes;
}

static int find_memory(tenon_session *session, tenon_tensor *outputs) {
  uint64_t size = tenon_model_scratch_size(session->symbols);
  if (size == UINT64_MAX) {
    snprintf(session->error, ERROR_SIZE,
             "the inputs' sizes make a tensor of the model negative or too large");
    return TENON_ERROR_INPUT_SHAPE;
  }
  size += more_locals(session);
  int error = size ? memory_grow(&session->scratch, size) : TENON_OK;
  for (uint32_t i = 0; !error && !is_dynamic() && i < tenon_model_library.output_count; i++)
    error = place_output(session, i, &outputs[i]);
  if (error == TENON_ERROR_MEMORY)
    snprintf(session->error, ERROR_SIZE,
             "out of memory: %llu bytes of scratch and the outputs are not to be had",
             (unsigned long long)size);
  return error;
}

int tenon_runtime_session_run(tenon_session *session, const tenon_tensor *inputs, tenon_tensor *outputs) {
  if (!session) return TENON_ERROR_NULL;
  session->error[0] = 0;
  if ((!inputs && tenon_model_library.input_count) || !outputs) {
    snprintf(session->error, ERROR_SIZE, "inputs or outputs is NULL");
    return TENON_ERROR_NULL;
  }
  int error = check_inputs(session, inputs);
  if (!error) error = find_memory(session, outputs);
  if (error) return error;
  session->runs++;
  session->profile.last = session->profiling ? now() : 0;
  char *locals = (char *)session->scratch.data + more_locals(session);
  Profile *profile = session->profiling ? &session->profile : NULL;
  Team *team = session->team.threads > 1 ? &session->team : NULL;
  if (is_dynamic()) {
    Dynamic *run = &session->dynamic;
    run->symbols = session->symbols;
    run->state = session->state.data;
    run->locals = locals;
    run->profile = profile;
    run->team = team;
    return tenon_dynamic_run(run, inputs, outputs, session->error, ERROR_SIZE);
  }
  tenon_model_run(session->state.data, session->symbols, session->input_data, session->output_data, locals,
                  profile, team);
  tenon_states_advance(session->symbols, session->old_symbols);
  return TENON_OK;
}

/* ---- States -------------------------------------------------------------------------------------------- */

int tenon_runtime_session_reset(tenon_session *session) {
  if (!session) return TENON_ERROR_NULL;
  tenon_states_reset(session->state.data, session->symbols);
  return TENON_OK;
}

static int refuse_state(tenon_session *session, uint32_t index, const char *text) {
  uint32_t count = tenon_model_library.state_count;
  const char *name = index < count ? tenon_model_library.states[index]->name : "";
  snprintf(session->error, ERROR_SIZE, "state %u '%s' (of %u) %s", index, name, count, text);
  return TENON_ERROR_INPUT_SHAPE + 256 * (int)index;
}

int tenon_runtime_session_get_state(tenon_session *session, uint32_t index, tenon_tensor *state) {
  if (!session || !state) return TENON_ERROR_NULL;
  if (index >= tenon_model_library.state_count) return refuse_state(session, index, "does not exist");
  const tenon_tensor_info *info = tenon_model_library.states[index];
  state->dtype = info->dtype;
  state->rank = info->rank;
  tenon_model_input_dims(tenon_model_library.input_count + index, session->symbols, state->dims);
  uint64_t bytes = tensor_bytes(info->dtype, info->rank, state->dims);
  if (!state->data) return TENON_OK;
  if (state->size && state->size < bytes)
    return refuse_state(session, index, "needs more memory than is given");
  tenon_states_read(index, session->symbols, session->state.data, state->data);
  return TENON_OK;
}

int tenon_runtime_session_set_state(tenon_session *session, uint32_t index, const tenon_tensor *state) {
  if (!session || !state) return TENON_ERROR_NULL;
  if (index >= tenon_model_library.state_count) return refuse_state(session, index, "does not exist");
  if (!tenon_states_fit(index, state))
    return refuse_state(session, index, "cannot have this type and these sizes");
  uint64_t bytes = tensor_bytes(tenon_model_library.states[index]->dtype, state->rank, state->dims);
  if (state->data && state->size && state->size < bytes)
    return refuse_state(session, index, "has fewer bytes than its shape says");
  tenon_states_resize(index, state->dims, session->symbols, session->old_symbols, session->state.data);
  if (state->data) tenon_states_write(index, session->symbols, session->state.data, state->data);
  return TENON_OK;
}
