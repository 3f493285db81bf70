/*
 * onnxruntime.c -- the C API of ONNX Runtime without its header: OrtApi is a table of functions in an order
 * that never changes, of which API version 22 and the indices below are used.
 */
#include "tests/oracle/onnxruntime.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The API */

typedef enum OrtFunction {
  GET_ERROR_MESSAGE = 2,
  CREATE_ENV = 3,
  CREATE_SESSION = 7,
  RUN = 9,
  CREATE_SESSION_OPTIONS = 10,
  SET_OPTIMIZATION_LEVEL = 23,
  SET_INTRA_OP_THREADS = 24,
  SET_INTER_OP_THREADS = 25,
  INPUT_COUNT = 30,
  OUTPUT_COUNT = 31,
  INPUT_TYPE_INFO = 33,
  INPUT_NAME = 36,
  OUTPUT_NAME = 37,
  CREATE_TENSOR = 49,
  TENSOR_DATA = 51,
  CAST_TYPE_INFO = 55,
  ELEMENT_TYPE = 60,
  DIMENSION_COUNT = 61,
  DIMENSIONS = 62,
  TENSOR_TYPE_AND_SHAPE = 65,
  CREATE_CPU_MEMORY_INFO = 69,
  ALLOCATOR_FREE = 76,
  DEFAULT_ALLOCATOR = 78,
  RELEASE_ENV = 92,
  RELEASE_MEMORY_INFO = 94,
  RELEASE_SESSION = 95,
  RELEASE_VALUE = 96,
  RELEASE_TYPE_INFO = 98,
  RELEASE_TENSOR_INFO = 99,
  RELEASE_SESSION_OPTIONS = 100,
  OVERRIDE_DIMENSION = 124,
  ADD_CONFIG_ENTRY = 130,
} OrtFunction;

enum { API_VERSION = 22, ALL_OPTIMIZATIONS = 99, LOG_ERRORS = 3, ARENA_ALLOCATOR = 1 };

typedef struct OrtApiBase {
  const PeerFunction *(*get_api)(uint32_t version);
  const char *(*version)(void);
} OrtApiBase;

/* A status is NULL when all is well. */
typedef void *(*Call1)(void *);
typedef void *(*Call2)(const void *, void *);
typedef void *(*CallInt)(void *, int);
typedef void *(*CallConfig)(void *, const char *, const char *);
typedef void *(*CallDim)(void *, const char *, int64_t);
typedef void *(*CallIndexed)(void *, size_t, void *);
typedef void *(*CallName)(void *, size_t, void *, char **);
typedef void *(*CallDims)(const void *, int64_t *, size_t);
typedef void *(*CallEnv)(int, const char *, void **);
typedef void *(*CallMemory)(int, int, void **);
typedef void *(*CallSession)(void *, const char *, void *, void **);
typedef void *(*CallTensor)(void *, void *, size_t, const int64_t *, size_t, int, void **);
typedef void *(*CallRun)(void *, void *, const char *const *, void *const *, size_t, const char *const *,
                         size_t, void **);
typedef const char *(*CallMessage)(void *);
typedef void *(*CallFree)(void *, void *);
typedef void (*CallRelease)(void *);

#define ORT(type, function) ((type)peer->api[function])

/* ONNX's element types that a .npy file can hold, by number. */
static const Dtype DTYPES[] = {
    [1] = DTYPE_F32, [2] = DTYPE_U8,   [3] = DTYPE_I8,   [4] = DTYPE_U16,  [5] = DTYPE_I16,  [6] = DTYPE_I32,
    [7] = DTYPE_I64, [9] = DTYPE_BOOL, [10] = DTYPE_F16, [11] = DTYPE_F64, [12] = DTYPE_U32, [13] = DTYPE_U64,
};

_Noreturn void peer_die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "%s: ", program_invocation_short_name);
  vfprintf(stderr, format, arguments);
  fprintf(stderr, "\n");
  va_end(arguments);
  exit(1);
}

static void check(const Peer *peer, void *status) {
  if (status) peer_die("%s", ORT(CallMessage, GET_ERROR_MESSAGE)(status));
}

/* ---- Opening and closing */

static void load_api(Peer *peer, const char *path) {
  void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!lib) peer_die("%s", dlerror());
  void *symbol = dlsym(lib, "OrtGetApiBase");
  if (!symbol) peer_die("%s has no OrtGetApiBase", path);
  const OrtApiBase *(*get_base)(void);
  memcpy(&get_base, &symbol, sizeof symbol); /* ISO C has no cast from object to function pointer */
  peer->api = get_base()->get_api(API_VERSION);
  if (!peer->api) peer_die("%s is too old: no API version %d", path, API_VERSION);
}

static void override_dim(Peer *peer, const char *dim) {
  const char *equals = strrchr(dim, '=');
  if (!equals) peer_die("--dim wants NAME=N, not %s", dim);
  char *name = strndup(dim, (size_t)(equals - dim));
  check(peer, ORT(CallDim, OVERRIDE_DIMENSION)(peer->options, name, atoll(equals + 1)));
  free(name);
}

/* Fills dtype, rank and dims from an OrtTensorTypeAndShapeInfo; returns the element type. */
static int describe(const Peer *peer, const void *info, const char *name, Tensor *tensor) {
  int element_type;
  size_t rank;
  check(peer, ORT(Call2, ELEMENT_TYPE)(info, &element_type));
  check(peer, ORT(Call2, DIMENSION_COUNT)(info, &rank));
  if (rank > MAX_RANK) peer_die("%s has %zu dims", name, rank);
  check(peer, ORT(CallDims, DIMENSIONS)(info, tensor->dims, rank));
  tensor->rank = (int)rank;
  tensor->dtype = element_type > 0 && element_type < COUNT_OF(DTYPES) ? DTYPES[element_type] : DTYPE_NONE;
  if (tensor->dtype == DTYPE_NONE)
    peer_die("%s has an element type that .npy does not have: %d", name, element_type);
  return element_type;
}

static void describe_input(Peer *peer, size_t index) {
  void *type_info;
  const void *info;
  check(peer, ORT(CallName, INPUT_NAME)(peer->session, index, peer->allocator, &peer->input_names[index]));
  check(peer, ORT(CallIndexed, INPUT_TYPE_INFO)(peer->session, index, &type_info));
  check(peer, ORT(Call2, CAST_TYPE_INFO)(type_info, &info));
  if (!info) peer_die("input %s is no tensor", peer->input_names[index]);
  peer->element_types[index] = describe(peer, info, peer->input_names[index], &peer->shapes[index]);
  ORT(CallRelease, RELEASE_TYPE_INFO)(type_info);
}

static void describe_values(Peer *peer) {
  check(peer, ORT(Call2, INPUT_COUNT)(peer->session, &peer->input_count));
  check(peer, ORT(Call2, OUTPUT_COUNT)(peer->session, &peer->output_count));
  if (peer->input_count > PEER_MAX_VALUES || peer->output_count > PEER_MAX_VALUES)
    peer_die("more than %d values", PEER_MAX_VALUES);
  for (size_t i = 0; i < peer->input_count; i++) describe_input(peer, i);
  for (size_t i = 0; i < peer->output_count; i++)
    check(peer, ORT(CallName, OUTPUT_NAME)(peer->session, i, peer->allocator, &peer->output_names[i]));
}

void peer_open(Peer *peer, const PeerOptions *options) {
  *peer = (Peer){0};
  load_api(peer, options->lib);
  check(peer, ORT(CallEnv, CREATE_ENV)(LOG_ERRORS, "tenon", &peer->env));
  check(peer, ORT(Call1, CREATE_SESSION_OPTIONS)(&peer->options));
  check(peer, ORT(CallInt, SET_OPTIMIZATION_LEVEL)(peer->options, options->plain ? 0 : ALL_OPTIMIZATIONS));
  check(peer, ORT(CallInt, SET_INTRA_OP_THREADS)(peer->options, options->threads));
  check(peer, ORT(CallInt, SET_INTER_OP_THREADS)(peer->options, 1));
  if (options->without)
    check(peer, ORT(CallConfig, ADD_CONFIG_ENTRY)(peer->options, "optimization.disable_specified_optimizers",
                                                  options->without));
  for (int i = 0; i < options->dim_count; i++) override_dim(peer, options->dims[i]);
  check(peer, ORT(CallSession, CREATE_SESSION)(peer->env, options->model, peer->options, &peer->session));
  check(peer, ORT(Call1, DEFAULT_ALLOCATOR)(&peer->allocator));
  check(peer, ORT(CallMemory, CREATE_CPU_MEMORY_INFO)(ARENA_ALLOCATOR, 0, &peer->memory));
  describe_values(peer);
}

static void free_names(Peer *peer, char **names, size_t count) {
  for (size_t i = 0; i < count; i++) check(peer, ORT(CallFree, ALLOCATOR_FREE)(peer->allocator, names[i]));
}

void peer_close(Peer *peer) {
  peer_release_outputs(peer);
  for (size_t i = 0; i < peer->input_count; i++)
    if (peer->inputs[i]) ORT(CallRelease, RELEASE_VALUE)(peer->inputs[i]);
  free_names(peer, peer->input_names, peer->input_count);
  free_names(peer, peer->output_names, peer->output_count);
  ORT(CallRelease, RELEASE_MEMORY_INFO)(peer->memory);
  ORT(CallRelease, RELEASE_SESSION)(peer->session);
  ORT(CallRelease, RELEASE_SESSION_OPTIONS)(peer->options);
  ORT(CallRelease, RELEASE_ENV)(peer->env);
}

/* ---- Running */

void peer_set_input(Peer *peer, size_t index, const Tensor *tensor) {
  if (peer->inputs[index]) ORT(CallRelease, RELEASE_VALUE)(peer->inputs[index]);
  check(peer, ORT(CallTensor, CREATE_TENSOR)(peer->memory, tensor->data, tensor_size(tensor), tensor->dims,
                                             (size_t)tensor->rank, peer->element_types[index],
                                             &peer->inputs[index]));
}

void peer_run(Peer *peer) {
  check(peer, ORT(CallRun, RUN)(peer->session, NULL, (const char *const *)peer->input_names, peer->inputs,
                                peer->input_count, (const char *const *)peer->output_names,
                                peer->output_count, peer->outputs));
}

void peer_release_outputs(Peer *peer) {
  for (size_t i = 0; i < peer->output_count; i++) {
    if (peer->outputs[i]) ORT(CallRelease, RELEASE_VALUE)(peer->outputs[i]);
    peer->outputs[i] = NULL;
  }
}

void peer_output(Peer *peer, size_t index, Tensor *view) {
  void *info;
  *view = (Tensor){0};
  check(peer, ORT(Call2, TENSOR_TYPE_AND_SHAPE)(peer->outputs[index], &info));
  describe(peer, info, peer->output_names[index], view);
  check(peer, ORT(Call2, TENSOR_DATA)(peer->outputs[index], &view->data));
  ORT(CallRelease, RELEASE_TENSOR_INFO)(info);
}

/* ONNX Runtime itself leaves a few bytes; in a build with the sanitizer they are not our failure. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
  return "leak:libonnxruntime";
}
