/*
 * ort.c -- ort_run: runs a model in ONNX Runtime, the peer that tenon is compared with.
 *
 *   ort_run --lib libonnxruntime.so.1 MODEL.onnx [--dim NAME=N]... [--input NAME=FILE.npy]... [--seed N]
 *           [--output DIR] [--save-inputs DIR] [--threads N] [--bench SECONDS]
 *
 * Inputs that are not given are random: floats uniform in [-1,1), integers in [0,8). Outputs go to
 * DIR/NAME.npy. The C API is called without its header: OrtApi is a table of functions in an order that never
 * changes, of which API version 22 and the indices below are used.
 */
#include "frontend/frontend.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
} OrtFunction;

enum { API_VERSION = 22, ALL_OPTIMIZATIONS = 99, LOG_ERRORS = 3, ARENA_ALLOCATOR = 1, MAX_VALUES = 256 };

typedef void (*AnyFunction)(void);
typedef struct OrtApiBase {
  const AnyFunction *(*get_api)(uint32_t version);
  const char *(*version)(void);
} OrtApiBase;

/* A status is NULL when all is well. */
typedef void *(*Call1)(void *);
typedef void *(*Call2)(const void *, void *);
typedef void *(*CallInt)(void *, int);
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

#define ORT(type, function) ((type)run->api[function])

/* ONNX's element types that a .npy file can hold, by number. */
static const Dtype DTYPES[] = {
    [1] = DTYPE_F32, [2] = DTYPE_U8,   [3] = DTYPE_I8,   [4] = DTYPE_U16,  [5] = DTYPE_I16,  [6] = DTYPE_I32,
    [7] = DTYPE_I64, [9] = DTYPE_BOOL, [10] = DTYPE_F16, [11] = DTYPE_F64, [12] = DTYPE_U32, [13] = DTYPE_U64,
};

typedef struct Input {
  char *name;
  Tensor tensor;
  int element_type;
} Input;

typedef struct Run {
  Module *module; /* for the errors of the .npy reader */
  const AnyFunction *api;
  void *env, *options, *session, *allocator, *memory;
  const char *lib, *model, *output, *save_inputs;
  const char *dims[MAX_VALUES], *files[MAX_VALUES]; /* NAME=... as given */
  int dim_count, file_count, threads;
  uint64_t seed;
  double bench;
  Input inputs[MAX_VALUES];
  char *output_names[MAX_VALUES];
  size_t input_count, output_count;
} Run;

_Noreturn static void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "ort_run: ");
  vfprintf(stderr, format, arguments);
  fprintf(stderr, "\n");
  va_end(arguments);
  exit(1);
}

/* The .npy reader and writer say in the module what is wrong. */
_Noreturn static void die_of_diag(const Run *run) {
  diags_print(run->module, stderr, 1);
  exit(1);
}

static void check(const Run *run, void *status) {
  if (status) die("%s", ORT(CallMessage, GET_ERROR_MESSAGE)(status));
}

static void load_api(Run *run) {
  void *lib = dlopen(run->lib, RTLD_NOW | RTLD_LOCAL);
  if (!lib) die("%s", dlerror());
  void *symbol = dlsym(lib, "OrtGetApiBase");
  if (!symbol) die("%s has no OrtGetApiBase", run->lib);
  const OrtApiBase *(*get_base)(void);
  memcpy(&get_base, &symbol, sizeof symbol); /* ISO C has no cast from object to function pointer */
  run->api = get_base()->get_api(API_VERSION);
  if (!run->api) die("%s is too old: no API version %d", run->lib, API_VERSION);
}

static void open_session(Run *run) {
  check(run, ORT(CallEnv, CREATE_ENV)(LOG_ERRORS, "ort_run", &run->env));
  check(run, ORT(Call1, CREATE_SESSION_OPTIONS)(&run->options));
  check(run, ORT(CallInt, SET_OPTIMIZATION_LEVEL)(run->options, ALL_OPTIMIZATIONS));
  check(run, ORT(CallInt, SET_INTRA_OP_THREADS)(run->options, run->threads));
  check(run, ORT(CallInt, SET_INTER_OP_THREADS)(run->options, 1));
  for (int i = 0; i < run->dim_count; i++) {
    const char *equals = strrchr(run->dims[i], '=');
    if (!equals) die("--dim wants NAME=N, not %s", run->dims[i]);
    char *name = strndup(run->dims[i], (size_t)(equals - run->dims[i]));
    check(run, ORT(CallDim, OVERRIDE_DIMENSION)(run->options, name, atoll(equals + 1)));
    free(name);
  }
  check(run, ORT(CallSession, CREATE_SESSION)(run->env, run->model, run->options, &run->session));
  check(run, ORT(Call1, DEFAULT_ALLOCATOR)(&run->allocator));
  check(run, ORT(CallMemory, CREATE_CPU_MEMORY_INFO)(ARENA_ALLOCATOR, 0, &run->memory));
}

/* ---- Inputs and outputs */

/* Fills dtype, rank and dims from an OrtTensorTypeAndShapeInfo; returns the element type. */
static int describe(const Run *run, const void *info, const char *name, Tensor *tensor) {
  int element_type;
  size_t rank;
  check(run, ORT(Call2, ELEMENT_TYPE)(info, &element_type));
  check(run, ORT(Call2, DIMENSION_COUNT)(info, &rank));
  if (rank > MAX_RANK) die("%s has %zu dims", name, rank);
  check(run, ORT(CallDims, DIMENSIONS)(info, tensor->dims, rank));
  tensor->rank = (int)rank;
  tensor->dtype = element_type > 0 && element_type < COUNT_OF(DTYPES) ? DTYPES[element_type] : DTYPE_NONE;
  if (tensor->dtype == DTYPE_NONE)
    die("%s has an element type that .npy does not have: %d", name, element_type);
  return element_type;
}

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

static void fill_random(Tensor *tensor, uint64_t *state) {
  Tensor shape = *tensor;
  if (!tensor_new(tensor, shape.dtype, shape.rank, shape.dims)) die("out of memory");
  for (int64_t i = 0; i < tensor_count(tensor); i++) {
    uint64_t bits = next_random(state);
    double real = (double)(bits >> 11) / (double)(1ull << 52) - 1;
    int64_t whole = (int64_t)(bits & (tensor->dtype == DTYPE_BOOL ? 1 : 7));
    dtype_set(tensor->dtype, tensor->data, i, dtype_is_float(tensor->dtype) ? real : (double)whole);
  }
}

/* A path from DIR and a value's name, in which a slash would lead elsewhere. */
static char *value_path(const char *directory, const char *name) {
  size_t size = strlen(directory) + strlen(name) + 6;
  char *path = malloc(size);
  if (!path) die("out of memory");
  int at = snprintf(path, size, "%s/", directory);
  snprintf(path + at, size - (size_t)at, "%s.npy", name);
  for (char *c = path + at; *c; c++) *c = *c == '/' ? '_' : *c;
  return path;
}

static void write_value(Run *run, const char *directory, const char *name, const Tensor *tensor) {
  char *path = value_path(directory, name);
  if (!write_npy(run->module, path, tensor)) die_of_diag(run);
  free(path);
}

static const char *file_of(const Run *run, const char *name) {
  size_t length = strlen(name);
  for (int i = 0; i < run->file_count; i++)
    if (strncmp(run->files[i], name, length) == 0 && run->files[i][length] == '=')
      return run->files[i] + length + 1;
  return NULL;
}

static void prepare_input(Run *run, size_t index) {
  Input *input = &run->inputs[index];
  void *type_info;
  const void *info;
  check(run, ORT(CallName, INPUT_NAME)(run->session, index, run->allocator, &input->name));
  check(run, ORT(CallIndexed, INPUT_TYPE_INFO)(run->session, index, &type_info));
  check(run, ORT(Call2, CAST_TYPE_INFO)(type_info, &info));
  if (!info) die("input %s is no tensor", input->name);
  input->element_type = describe(run, info, input->name, &input->tensor);
  ORT(CallRelease, RELEASE_TYPE_INFO)(type_info);
  const char *file = file_of(run, input->name);
  if (file) {
    Dtype wanted = input->tensor.dtype;
    if (!read_npy(run->module, file, &input->tensor)) die_of_diag(run);
    if (input->tensor.dtype != wanted)
      die("%s holds %s, %s is %s", file, dtype_name(input->tensor.dtype), input->name, dtype_name(wanted));
  } else {
    for (int i = 0; i < input->tensor.rank; i++)
      if (input->tensor.dims[i] < 0) die("dim %d of input %s is open: give --dim or --input", i, input->name);
    fill_random(&input->tensor, &run->seed);
  }
  if (run->save_inputs) write_value(run, run->save_inputs, input->name, &input->tensor);
}

static void prepare_values(Run *run) {
  check(run, ORT(Call2, INPUT_COUNT)(run->session, &run->input_count));
  check(run, ORT(Call2, OUTPUT_COUNT)(run->session, &run->output_count));
  if (run->input_count > MAX_VALUES || run->output_count > MAX_VALUES) die("more than %d values", MAX_VALUES);
  for (size_t i = 0; i < run->input_count; i++) prepare_input(run, i);
  for (size_t i = 0; i < run->output_count; i++)
    check(run, ORT(CallName, OUTPUT_NAME)(run->session, i, run->allocator, &run->output_names[i]));
}

static void show_output(Run *run, const char *name, void *value) {
  void *info;
  Tensor tensor = {0};
  check(run, ORT(Call2, TENSOR_TYPE_AND_SHAPE)(value, &info));
  describe(run, info, name, &tensor);
  check(run, ORT(Call2, TENSOR_DATA)(value, &tensor.data));
  printf("%s: %s[", name, dtype_name(tensor.dtype));
  for (int i = 0; i < tensor.rank; i++) printf("%s%lld", i ? "," : "", (long long)tensor.dims[i]);
  printf("]\n");
  if (run->output) write_value(run, run->output, name, &tensor);
  ORT(CallRelease, RELEASE_TENSOR_INFO)(info);
}

/* ---- Running */

static double now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec * 1e-6;
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

typedef struct Session {
  const char *input_names[MAX_VALUES];
  void *inputs[MAX_VALUES], *outputs[MAX_VALUES];
} Session;

static void run_once(const Run *run, Session *s) {
  check(run, ORT(CallRun, RUN)(run->session, NULL, s->input_names, s->inputs, run->input_count,
                               (const char *const *)run->output_names, run->output_count, s->outputs));
}

static void release_outputs(const Run *run, Session *s) {
  for (size_t i = 0; i < run->output_count; i++) {
    ORT(CallRelease, RELEASE_VALUE)(s->outputs[i]);
    s->outputs[i] = NULL;
  }
}

static void bench(const Run *run, Session *s) {
  enum { MAX_RUNS = 100000, MIN_RUNS = 5, WARM_UP = 3 };
  static double times[MAX_RUNS];
  int count = 0;
  double begin = now_ms();
  for (int i = -WARM_UP; count < MAX_RUNS && (count < MIN_RUNS || now_ms() - begin < run->bench * 1e3); i++) {
    double start = now_ms();
    run_once(run, s);
    if (i >= 0) times[count++] = now_ms() - start;
    release_outputs(run, s);
  }
  qsort(times, (size_t)count, sizeof *times, compare_doubles);
  printf("min %.4f ms, median %.4f ms, p90 %.4f ms, %d runs, %d threads\n", times[0], times[count / 2],
         times[count * 9 / 10], count, run->threads);
}

static void run_model(Run *run) {
  static Session session;
  for (size_t i = 0; i < run->input_count; i++) {
    const Tensor *tensor = &run->inputs[i].tensor;
    session.input_names[i] = run->inputs[i].name;
    check(run, ORT(CallTensor, CREATE_TENSOR)(run->memory, tensor->data, tensor_size(tensor), tensor->dims,
                                              (size_t)tensor->rank, run->inputs[i].element_type,
                                              &session.inputs[i]));
  }
  run_once(run, &session);
  for (size_t i = 0; i < run->output_count; i++) show_output(run, run->output_names[i], session.outputs[i]);
  release_outputs(run, &session);
  if (run->bench > 0) bench(run, &session);
  for (size_t i = 0; i < run->input_count; i++) ORT(CallRelease, RELEASE_VALUE)(session.inputs[i]);
}

static void close_session(Run *run) {
  for (size_t i = 0; i < run->input_count; i++) {
    tensor_free(&run->inputs[i].tensor);
    check(run, ORT(CallFree, ALLOCATOR_FREE)(run->allocator, run->inputs[i].name));
  }
  for (size_t i = 0; i < run->output_count; i++)
    check(run, ORT(CallFree, ALLOCATOR_FREE)(run->allocator, run->output_names[i]));
  ORT(CallRelease, RELEASE_MEMORY_INFO)(run->memory);
  ORT(CallRelease, RELEASE_SESSION)(run->session);
  ORT(CallRelease, RELEASE_SESSION_OPTIONS)(run->options);
  ORT(CallRelease, RELEASE_ENV)(run->env);
}

static void parse_option(Run *run, const char *option, const char *value) {
  if (!value) die("%s wants a value", option);
  if (run->dim_count == MAX_VALUES || run->file_count == MAX_VALUES) die("too many options");
  if (strcmp(option, "--lib") == 0)
    run->lib = value;
  else if (strcmp(option, "--dim") == 0)
    run->dims[run->dim_count++] = value;
  else if (strcmp(option, "--input") == 0)
    run->files[run->file_count++] = value;
  else if (strcmp(option, "--output") == 0)
    run->output = value;
  else if (strcmp(option, "--save-inputs") == 0)
    run->save_inputs = value;
  else if (strcmp(option, "--seed") == 0)
    run->seed = strtoull(value, NULL, 10);
  else if (strcmp(option, "--threads") == 0)
    run->threads = atoi(value);
  else if (strcmp(option, "--bench") == 0)
    run->bench = atof(value);
  else
    die("no option %s", option);
}

/* ONNX Runtime itself leaves a few bytes; in a build with the sanitizer they are not our failure. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
  return "leak:libonnxruntime";
}

int main(int argc, char **argv) {
  static Run run = {.threads = 1};
  for (int i = 1; i < argc; i++) {
    if (argv[i][0] != '-')
      run.model = argv[i];
    else {
      parse_option(&run, argv[i], i + 1 < argc ? argv[i + 1] : NULL);
      i++;
    }
  }
  if (!run.lib || !run.model) die("usage: ort_run --lib LIBRARY MODEL.onnx [options]");
  run.module = module_new(run.model);
  load_api(&run);
  open_session(&run);
  prepare_values(&run);
  run_model(&run);
  close_session(&run);
  module_free(run.module);
  return 0;
}
