/*
 * model.h -- the seam inside a library: what codegen emits for a model, what the C of this folder adds, and
 * who calls whom.
 *
 * Everything here becomes internal to the library; only tenon_query and the functions that carry the model's
 * name leave it. Everything is compiled for the oldest processor of the family, so that the check of the
 * processor itself can run anywhere; only the kernels use what the target has.
 */
#ifndef TENON_RUNTIME_MODEL_H
#define TENON_RUNTIME_MODEL_H

#include "tenon.h"

/* Called between kernels when it is not NULL. */
typedef struct Profile {
  void (*step)(struct Profile *profile, uint32_t kernel); /* kernel has just ended */
  uint64_t last;                                          /* when the kernel before it ended, ns */
  uint64_t *nanoseconds;                                  /* [kernel_count] */
} Profile;

/* What is needed of the C library, without the headers of the target's. */
typedef struct ClockTime {
  long seconds, nanoseconds;
} ClockTime;

/* A piece of a parallel loop: what [begin, end) of its range has. memory: for large locals. */
typedef void TaskBody(void *context, int64_t begin, int64_t end, void *memory);

/* TASK_TICKS: the usual least work for one thread, in vector operations as codegen/llvm_ranges.c estimates
 * them, some microseconds. */
enum { TASK_TICKS = 1 << 14, MAX_THREADS = 64 };

/* Who runs the parts of parallel loops. */
typedef struct Pool Pool;
typedef struct Team {
  uint32_t threads; /* with the caller */
  tenon_parallel_for *parallel_for;
  void *host;
  Pool *pool; /* when there is no parallel_for */
} Team;

/* What a library keeps from run to run. */
typedef struct State {
  const tenon_tensor_info *room; /* the largest that it can become; sizes are numbers */
  uint64_t offset;               /* in the state memory */
  uint64_t in_room;              /* 1: with the strides of its room; 0: packed */
  const int64_t *symbols;        /* of each axis the number of the symbol that is its size; -1: a number */
} State;

/* The input and axis whose size is the value of a symbol; states come behind the inputs. */
typedef struct Binding {
  uint32_t input, axis;
} Binding;

/* A processor that there are kernels for. */
typedef struct Cpu {
  const char *name;     /* LLVM's */
  uint64_t features;    /* that it must have: bits by row of cpu.def */
  const void **kernels; /* addresses, for tenon_model_run; NULL when this is the only processor */
} Cpu;

/* ---- Emitted by codegen/library.c ---- */

extern const tenon_library tenon_model_library;
extern const Cpu tenon_model_cpus[]; /* [tenon_model_cpu_count], the best first */
extern const uint64_t tenon_model_cpu_count;
extern const State tenon_model_states[];       /* [state_count] */
extern const Binding tenon_model_bindings[];   /* [symbol_count] */
extern const int64_t tenon_model_task_ticks;   /* TASK_TICKS, or what tests want */
extern const uint64_t tenon_model_local_bytes; /* of large locals, for one thread; a multiple of 64 */
uint64_t tenon_model_scratch_size(
    const int64_t *symbols);                   /* UINT64_MAX: a size is negative or out of all proportion */
int tenon_model_guard(const int64_t *symbols); /* 0, or TENON_ERROR_GUARD with its index */
/* Of the states, behind the inputs, and of what they become, behind the outputs, too. */
void tenon_model_input_dims(uint32_t index, const int64_t *symbols, int64_t *dims);
void tenon_model_output_dims(uint32_t index, const int64_t *symbols, int64_t *dims);
void tenon_model_kernel_macs(const int64_t *symbols, int64_t *macs);
extern const uint64_t tenon_model_state_size;
void tenon_model_prepare(void *state);              /* fills it */
extern const char *const tenon_model_start_weights; /* read by tenon_model_prepare alone */
extern const uint64_t tenon_model_start_weight_bytes;
/* The kernels in order, unchecked. team NULL: one thread. The memory for large locals of the first part of a
 * loop is at the start of scratch, that of each further part lies tenon_model_local_bytes below the one
 * before. */
void tenon_model_run(void *state, const int64_t *symbols, const void *const *inputs, void *const *outputs,
                     void *scratch, Profile *profile, Team *team);

/* ---- cpu.c ---- */

const Cpu *tenon_runtime_cpu(void); /* the best that this processor can be; NULL: none. The answer is kept */
int tenon_runtime_check_cpu(void);  /* TENON_OK or TENON_ERROR_CPU */
const char *tenon_runtime_cpu_name(void);

/* ---- run.c ---- */

const char *tenon_runtime_error_text(int code);
uint64_t tenon_runtime_state_size(const int64_t *symbols);
int tenon_runtime_prepare(void *state);
int tenon_runtime_run(void *state, const int64_t *symbols, const void *const *inputs, void *const *outputs,
                      void *scratch);

/* ---- states.c: `memory` is the state memory, `old` has room for as many numbers as `symbols` ---- */

/* As at first: growing sizes 0, all others' elements 0. symbols may be NULL. */
void tenon_states_reset(void *memory, int64_t *symbols);
/* The sizes that a run leaves behind, out of those that it was given. */
void tenon_states_advance(int64_t *symbols, int64_t *old);
/* Whether the tensor can be the state; data NULL: whether it has sizes for it. */
int tenon_states_fit(uint32_t index, const tenon_tensor *tensor);
/* Gives the state these sizes, and others that share them. The first elements along each axis stay. */
void tenon_states_resize(uint32_t index, const int64_t *dims, int64_t *symbols, int64_t *old, void *memory);
/* All elements of a state, to and from a packed tensor. */
void tenon_states_read(uint32_t index, const int64_t *symbols, const void *memory, void *packed);
void tenon_states_write(uint32_t index, const int64_t *symbols, void *memory, const void *packed);

/* ---- threads.c ---- */

int tenon_runtime_team_open(Team *team, uint32_t threads, tenon_parallel_for *parallel_for, void *host);
void tenon_runtime_team_close(Team *team);
/* Called by kernels: body for all of [0, size), divided among the team. */
void tenon_runtime_parallel(Team *team, int64_t size, TaskBody *body, void *context, void *memory);

/* ---- session.c: the part that needs a C library ---- */

int tenon_runtime_session_open(const tenon_session_options *options, tenon_session **session);
int tenon_runtime_session_run(tenon_session *session, const tenon_tensor *inputs, tenon_tensor *outputs);
int tenon_runtime_session_reset(tenon_session *session);
int tenon_runtime_session_get_state(tenon_session *session, uint32_t index, tenon_tensor *state);
int tenon_runtime_session_set_state(tenon_session *session, uint32_t index, const tenon_tensor *state);
void tenon_runtime_session_close(tenon_session *session);
const char *tenon_runtime_session_error(const tenon_session *session);
int tenon_runtime_session_set_threads(tenon_session *session, uint32_t threads,
                                      tenon_parallel_for *parallel_for, void *host);
int tenon_runtime_session_set_profile(tenon_session *session, uint32_t on);
void tenon_runtime_session_profile(const tenon_session *session, uint64_t *nanoseconds, uint64_t *runs);

#endif
