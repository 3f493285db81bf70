/*
 * tenon.h -- calling a library that tenon made, without its typed header: the generic interface.
 *
 *   void *handle = dlopen("./mnist.so", RTLD_NOW | RTLD_LOCAL);
 *   tenon_query_function *query = (tenon_query_function *)dlsym(handle, "tenon_query");
 *   const tenon_library *library = query(TENON_ABI_VERSION); // NULL: it speaks another version
 *
 *   tenon_session *session;
 *   int error = library->session_open(NULL, &session);
 *   if (error) return puts(library->error_text(error));
 *
 *   tenon_tensor image = {pixels, sizeof pixels, TENON_F32, 2, {1, 784}};
 *   tenon_tensor prob = {0}; // data NULL: memory of the session
 *   if (library->session_run(session, &image, &prob)) puts(library->session_error(session));
 *   ... prob.rank, prob.dims and prob.data are filled ...
 *   library->session_close(session);
 *
 * Everything reached from the table is constant and lives as long as the library stays loaded. Functions are
 * re-entrant; one session serves one thread at a time, different sessions are independent. The interface
 * grows by appending: a member exists when it lies below the `size` of its struct (of the library, or of the
 * options that the host gives).
 */
#ifndef TENON_H
#define TENON_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TENON_ABI_VERSION 1u
#define TENON_MAX_RANK 16
#define TENON_ALIGNMENT 64 /* of state and scratch memory, in bytes */

/* ---- Errors -------------------------------------------------------------------------------------------- */

/*
 * X(NAME, number, text). Functions return 0 or `number + 256 * index`; what the index counts is said in the
 * text as "index". The numbers never change.
 */
#define TENON_ERRORS(X)                                                                                      \
  X(TENON_OK, 0, "success")                                                                                  \
  X(TENON_ERROR_CPU, 1, "this processor lacks instructions that the library was compiled for")               \
  X(TENON_ERROR_NULL, 2, "a pointer that is needed is NULL")                                                 \
  X(TENON_ERROR_INPUT_NULL, 3, "an input has no data (index: of the input)")                                 \
  X(TENON_ERROR_OUTPUT_NULL, 4, "an output has no memory (index: of the output)")                            \
  X(TENON_ERROR_INPUT_DTYPE, 5, "an input has another element type (index: of the input)")                   \
  X(TENON_ERROR_INPUT_RANK, 6, "an input has another number of axes (index: of the input)")                  \
  X(TENON_ERROR_INPUT_SHAPE, 7, "an input has a size that does not fit (index: of the input)")               \
  X(TENON_ERROR_INPUT_SIZE, 8, "an input has fewer bytes than its shape says (index: of the input)")         \
  X(TENON_ERROR_OUTPUT_SIZE, 9, "an output's memory is too small (index: of the output)")                    \
  X(TENON_ERROR_GUARD, 10, "sizes do not fit together (index: into the library's guards, which say how)")    \
  X(TENON_ERROR_ALIGNMENT, 11, "state or scratch memory is not aligned to 64 bytes")                         \
  X(TENON_ERROR_MEMORY, 12, "out of memory")                                                                 \
  X(TENON_ERROR_UNSUPPORTED, 13, "this library cannot do that")                                              \
  X(TENON_ERROR_DATA, 14, "the data of a run do not fit the model; the session's error says where")

typedef enum tenon_error {
#define TENON_ERROR_ROW(name, number, text) name = number,
  TENON_ERRORS(TENON_ERROR_ROW)
#undef TENON_ERROR_ROW
} tenon_error;

static inline int tenon_error_kind(int code) {
  return code & 255;
}
static inline int tenon_error_index(int code) {
  return code >> 8;
}

/* ---- Tensors ------------------------------------------------------------------------------------------- */

/* Element types. Tensors are row-major and packed, little endian; bool is one byte, 0 or 1; types below 8
 * bits are packed from the low bits up, through all axes; the rest of the last byte is undefined. */
typedef enum tenon_dtype {
  TENON_BOOL = 1,
  TENON_I2 = 2,
  TENON_I4 = 3,
  TENON_I8 = 4,
  TENON_I16 = 5,
  TENON_I32 = 6,
  TENON_I64 = 7,
  TENON_U2 = 8,
  TENON_U4 = 9,
  TENON_U8 = 10,
  TENON_U16 = 11,
  TENON_U32 = 12,
  TENON_U64 = 13,
  TENON_F16 = 14,
  TENON_BF16 = 15,
  TENON_F32 = 16,
  TENON_F64 = 17,
  TENON_F8E4M3FN = 18,
  TENON_F8E4M3FNUZ = 19,
  TENON_F8E5M2 = 20,
  TENON_F8E5M2FNUZ = 21,
  TENON_F8E8M0 = 22,
  TENON_F4E2M1 = 23,
  TENON_C64 = 24,
  TENON_C128 = 25,
  TENON_STRING = 26 /* an element is a const char *: bytes that end with a 0; NULL is "" */
} tenon_dtype;

/*
 * Models may have values that are not just tensors; the dtype of such an input or output has one or both of
 * these bits besides that of its elements, and only sessions run the model.
 *
 * A sequence is a list of tensors: rank 1, dims[0] of them, and data points to as many tenon_tensor. A value
 * that is optional is as it would be otherwise, or has the rank TENON_ABSENT.
 */
enum { TENON_SEQUENCE = 0x100, TENON_OPTIONAL = 0x200 };
#define TENON_ABSENT UINT32_MAX
#define TENON_ANY_RANK UINT32_MAX /* of a tensor_info */

/*
 * Strings of an output lie where those of the inputs do, in the library, or in the session until its next run
 * or its end: to keep them, copy them.
 */

/* A tensor of the host, given to session_run. Its layout never changes. */
typedef struct tenon_tensor {
  void *data;     /* of an output, NULL: the session gives memory, valid until its next run or its end */
  uint64_t size;  /* bytes at data; 0: not stated, and then not checked */
  uint32_t dtype; /* tenon_dtype; of outputs filled in by the run */
  uint32_t rank;
  int64_t dims[TENON_MAX_RANK];
} tenon_tensor;

typedef struct tenon_dim {
  int64_t size;       /* -1: it depends on the symbols */
  const char *symbol; /* then a symbol's name or an expression of symbols, such as "N" or "2*N+1"; else NULL.
                         Of outputs it may be a name that is not among the library's: a run finds the size */
} tenon_dim;

typedef struct tenon_tensor_info {
  const char *name;      /* as in the model */
  const tenon_dim *dims; /* [rank] */
  uint32_t dtype;        /* tenon_dtype, with the bits of sequences and optional values */
  uint32_t rank;         /* TENON_ANY_RANK: it may have any, or a run decides */
} tenon_tensor_info;

/* ---- Sessions ------------------------------------------------------------------------------------------ */

/* State, scratch and output memory for one stream of runs, made and released by the library. */
typedef struct tenon_session tenon_session;

/* A host's own threads, for at most `threads` tasks at once: calls task(context, begin, end) for disjoint
 * ranges that cover 0..count, each at least `grain` long except the last, on any threads, and returns when
 * all are done. */
typedef void tenon_task(void *context, int64_t begin, int64_t end);
typedef void tenon_parallel_for(void *host, int64_t count, int64_t grain, tenon_task *task, void *context);

typedef struct tenon_session_options {
  uint32_t size;                    /* sizeof(tenon_session_options) */
  uint32_t threads;                 /* how many run at once, the caller among them; 0 means 1, at most 64.
                                       Results do not depend on it */
  tenon_parallel_for *parallel_for; /* runs them; NULL: threads of the session's own */
  void *parallel_for_host;
  uint32_t profile; /* 1: count the nanoseconds of each kernel */
} tenon_session_options;

/* One step of a run. */
typedef struct tenon_kernel_info {
  const char *name;   /* of the compiled kernel; the same for steps that share one */
  const char *origin; /* the nodes of the model it came from, "" when unknown */
  int64_t macs;       /* multiply-accumulates, -1: see kernel_macs */
} tenon_kernel_info;

/* ---- The library --------------------------------------------------------------------------------------- */

typedef struct tenon_library {
  uint32_t size;        /* of this struct in the library */
  uint32_t abi_version; /* TENON_ABI_VERSION when it was made */

  const char *name;     /* prefix of its symbols */
  const char *triple;   /* what it was compiled for: LLVM's target triple, */
  const char *cpu;      /* cpus, the best first: "x86-64-v4,x86-64-v3", */
  const char *features; /* and feature string of the first */
  const char *source;   /* the model's file name */
  const char *producer; /* the tool that wrote the model, "" when unknown */
  const char *version;  /* of tenon */

  uint32_t input_count;
  uint32_t output_count;
  uint32_t symbol_count;
  uint32_t kernel_count;
  uint32_t guard_count;
  uint32_t state_count;
  const tenon_tensor_info *const *inputs;
  const tenon_tensor_info *const *outputs;
  const char *const *symbols; /* names of the sizes that a run may choose, sorted */
  const tenon_kernel_info *const *kernels;
  const char *const *guards; /* conditions between sizes that a run checks, in words */
  uint64_t weight_bytes;

  const char *(*error_text)(int code);

  /* The plain call: no allocation, no I/O. `symbols` has the value of each symbol, in order (NULL when there
   * are none). */
  uint64_t (*state_size)(const int64_t *symbols); /* bytes; 0: state may be NULL */
  uint64_t (*scratch_size)(
      const int64_t *symbols); /* bytes; 0: scratch may be NULL; UINT64_MAX: the sizes do not fit together */
  int (*prepare)(void *state); /* checks the processor and fills the state, once */
  int (*run)(void *state, const int64_t *symbols, const void *const *inputs, void *const *outputs,
             void *scratch);
  /* Fills in the sizes of output `index` for these symbols: info->rank of them. */
  void (*output_dims)(uint32_t index, const int64_t *symbols, int64_t *dims);
  /* Multiply-accumulates of each kernel for these symbols: kernel_count of them. */
  void (*kernel_macs)(const int64_t *symbols, int64_t *macs);

  /* Sessions. On failure session_open sets *session to NULL. inputs and outputs are arrays of input_count and
   * output_count. */
  int (*session_open)(const tenon_session_options *options, tenon_session **session);
  int (*session_run)(tenon_session *session, const tenon_tensor *inputs, tenon_tensor *outputs);
  void (*session_close)(tenon_session *session); /* NULL is fine */
  const char *(*session_error)(
      const tenon_session *session); /* about the last failed call: names the input and the numbers */
  /* As the members of the options. When there are no more threads to be had the session has one, and an error
   * says so. */
  int (*session_set_threads)(tenon_session *session, uint32_t threads, tenon_parallel_for *parallel_for,
                             void *host);
  int (*session_set_profile)(tenon_session *session, uint32_t on); /* also sets all counters to 0 */
  /* Nanoseconds in each kernel since then, kernel_count of them, and the number of runs (either may be NULL).
   */
  void (*session_profile)(const tenon_session *session, uint64_t *nanoseconds, uint64_t *runs);

  const char *(*running_cpu)(void); /* the one of `cpu` whose kernels run here; NULL: none can */

  /* States: what the library keeps from run to run, such as the keys and values of a language model. They lie
   * in the state memory. Sizes of them that are symbols grow: a session counts them, from 0 on, and the
   * caller of the plain call gives their values, as they were before that run. */
  const tenon_tensor_info *const *states;       /* state_count of them */
  int (*session_reset)(tenon_session *session); /* to the start: what grows is empty, all else is 0 */
  /* Fills in the sizes, and copies the elements to data unless it is NULL. */
  int (*session_get_state)(tenon_session *session, uint32_t index, tenon_tensor *state);
  /* Gives the state these sizes and elements. data NULL: the first elements along each axis stay, which goes
   * back to an earlier point. States that share a size all get it. */
  int (*session_set_state)(tenon_session *session, uint32_t index, const tenon_tensor *state);
} tenon_library;

/* The one generic export, "tenon_query". NULL when the library does not know that version of the interface.
 */
typedef const tenon_library *tenon_query_function(uint32_t abi_version);

#ifdef __cplusplus
}
#endif

#endif
