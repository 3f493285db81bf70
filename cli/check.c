/*
 * check.c -- `tenon check`: models with known answers, in the layout of the ONNX conformance data.
 *
 * Many of these models take shapes, axes and the like as inputs and cannot be compiled without their values.
 * Where the import fails, it is tried again with the small integer inputs of the first data set as constants,
 * then with small float inputs (scales) too; those are no inputs of the program then. Inputs that the data
 * has with another number of axes than the model declares get the shapes of the first data set. The same
 * models serve as tests of other things: of sizes that are open when all are made so (--symbolic), of the
 * folding of constants when all inputs are (--constants), of the writer of models (--rewritten).
 *
 * Every folder is tested in a process of its own, with a time limit: a model that brings tenon down is one
 * failure among others. What went wrong comes back through a pipe.
 */
#include "cli/program.h"
#include "cli/verbs.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const Option options[] = {
    {"jobs", 'j', OPTION_COUNT, "N", "folders tested at the same time (default 1)"},
    {"timeout", 0, OPTION_COUNT, "S", "seconds that one folder may take (default 60)"},
    THREADS_OPTION,
    INTERPRET_OPTION,
    {"symbolic", 0, OPTION_FLAG, NULL, "leave every size of the inputs open"},
    {"constants", 0, OPTION_FLAG, NULL, "take all inputs of the first data set as constants"},
    {"rewritten", 0, OPTION_FLAG, NULL, "write each model as ONNX (--emit onnx), and test what was written"},
    MODEL_OPTIONS,
    BUILD_OPTIONS,
    STATE_OPTIONS,
    {0},
};

enum { MAX_REASON = 1024, MAX_CONSTANTS = 64, MAX_CONSTANT_ELEMENTS = 64, MAX_SHAPES = 16 };
static const double max_abs = 1e-7, max_relative = 1e-3; /* those of ONNX's own runner */

/* ---- One folder, in the child ---- */

/* Which inputs are made constants: none, those that can be a shape, axes, a depth; or scales too; or all. */
typedef enum Known { KNOWN_NONE, KNOWN_INTS, KNOWN_FLOATS, KNOWN_ALL } Known;

/* An input that was made a constant, by its place among the files. */
typedef struct Constant {
  int file;
  Tensor value;
} Constant;

typedef struct Check {
  Program program;
  const char *directory;
  char *reason; /* [MAX_REASON] */
  Known known;
  Module *kept; /* what the constants' names and strings belong to */
  Constant constants[MAX_CONSTANTS];
  int constant_count;
} Check;

static bool file_exists(const char *path) {
  return access(path, R_OK) == 0;
}

static const char *data_path(const Check *check, Module *module, int set, const char *kind, int index) {
  return arena_printf(module->arena, "%s/test_data_set_%d/%s_%d.pb", check->directory, set, kind, index);
}

static const Constant *constant_of_file(const Check *check, int file) {
  for (int i = 0; i < check->constant_count; i++)
    if (check->constants[i].file == file) return &check->constants[i];
  return NULL;
}

static bool same_elements(const Tensor *a, const Tensor *b) {
  if (a->dtype != DTYPE_STRING) return memcmp(a->data, b->data, tensor_size(a)) == 0;
  const char *const *texts = a->data, *const *others = b->data;
  for (int64_t i = 0; i < tensor_count(a); i++)
    if (strcmp(texts[i], others[i]) != 0) return false;
  return true;
}

/* A constant has the same value in every set, else the program is wrong for this one. */
static bool check_constant(const Check *check, const char *path, const Constant *constant) {
  Tensor again = {0};
  const char *name;
  TRY(read_tensor_pb(check->program.module, path, FORM_TENSOR, &again, &name));
  bool same = again.dtype == constant->value.dtype && tensor_same_shape(&again, &constant->value) &&
              same_elements(&again, &constant->value);
  tensor_free(&again);
  return same || fail(check->program.module, "%s is not as in the first set", path);
}

/* The data has bf16 as the bits of u16; an empty sequence is of any type. */
static void take_dtype(Tensor *tensor, const Port *port) {
  if (tensor->kind == TENSOR_LIST && tensor->dtype == DTYPE_NONE) tensor->dtype = port->dtype;
  if (port->dtype == DTYPE_BF16 && tensor->dtype == DTYPE_U16) tensor->dtype = DTYPE_BF16;
}

/* Reads KIND_0.pb, KIND_1.pb, ... for the ports; `skips`: those of constants are only looked at. */
static bool read_set(const Check *check, int set, const char *kind, bool skips, const Port *ports, int count,
                     Tensor *tensors) {
  Module *module = check->program.module;
  const char *name;
  int file = 0;
  for (int i = 0; i < count || (skips && constant_of_file(check, file)); file++) {
    const char *path = data_path(check, module, set, kind, file);
    const Constant *constant = skips ? constant_of_file(check, file) : NULL;
    if (constant) {
      TRY(check_constant(check, path, constant));
      continue;
    }
    TRY(read_tensor_pb(module, path, ports[i].form, &tensors[i], &name));
    take_dtype(&tensors[i], &ports[i]);
    i++;
  }
  const char *beyond = data_path(check, module, set, kind, file);
  return !file_exists(beyond) || fail(module, "there is a %s, but the model has %d %ss", beyond, file, kind);
}

static bool outputs_agree(const Check *check, int set, const Tensor *got, const Tensor *want) {
  char text[MAX_REASON / 2];
  for (int i = 0; i < check->program.output_count; i++) {
    if (tensor_agrees(&got[i], &want[i], max_abs, max_relative, text, sizeof text)) continue;
    snprintf(check->reason, MAX_REASON, "set %d, output '%.200s' %s", set, check->program.outputs[i].name,
             text);
    return false;
  }
  return true;
}

static bool run_set(Check *check, int set) {
  Program *program = &check->program;
  Tensor *inputs = tensors_new(program->input_count), *got = tensors_new(program->output_count),
         *want = tensors_new(program->output_count);
  bool ok = read_set(check, set, "input", true, program->inputs, program->input_count, inputs) &&
            read_set(check, set, "output", false, program->outputs, program->output_count, want) &&
            program_run(program, inputs, got) && outputs_agree(check, set, got, want);
  tensors_free(inputs, program->input_count);
  tensors_free(got, program->output_count);
  tensors_free(want, program->output_count);
  return ok;
}

/* What took all inputs of the first set knows nothing of the others. */
static bool run_sets(Check *check) {
  int set = 0, limit = check->known == KNOWN_ALL ? 1 : INT32_MAX;
  while (set < limit && file_exists(data_path(check, check->program.module, set, "output", 0)))
    TRY(run_set(check, set++));
  return set > 0 || fail(check->program.module, "there is no test_data_set_0/output_0.pb");
}

static void explain(const Check *check) {
  const Diag *diag = check->program.module->diags;
  while (diag && diag->severity != SEVERITY_ERROR) diag = diag->next;
  if (*check->reason || !diag) return;
  snprintf(check->reason, MAX_REASON, "%s%s%.900s", diag->op ? diag->op : "", diag->op ? ": " : "",
           diag->text);
}

static bool can_be_constant(const Tensor *tensor, Known known) {
  bool fits = tensor->rank <= 1 && tensor_count(tensor) <= MAX_CONSTANT_ELEMENTS;
  bool is_known = dtype_is_int(tensor->dtype) || tensor->dtype == DTYPE_BOOL;
  return known == KNOWN_ALL ||
         (fits && (is_known || (known == KNOWN_FLOATS && dtype_is_float(tensor->dtype))));
}

/* Collects the constants among the inputs of the first set; the names belong to `module`. */
static void find_constants(Check *check, Module *module, ImportConstant *given) {
  const char *path, *name;
  int file = 0;
  for (; check->constant_count < MAX_CONSTANTS &&
         file_exists(path = data_path(check, module, 0, "input", file));
       file++) {
    Constant *constant = &check->constants[check->constant_count];
    *constant = (Constant){.file = file};
    if (!read_tensor_pb(module, path, FORM_TENSOR, &constant->value, &name)) continue;
    if (!can_be_constant(&constant->value, check->known)) {
      tensor_free(&constant->value);
      continue;
    }
    given[check->constant_count++] =
        (ImportConstant){.input = name, .place = file, .value = &constant->value};
  }
}

static void drop_constants(Check *check) {
  for (int i = 0; i < check->constant_count; i++) tensor_free(&check->constants[i].value);
  check->constant_count = 0;
  module_free(check->kept);
  check->kept = NULL;
}

/* Opens the model with these inputs as constants. */
static bool open_with(Check *check, const char *model, const Arguments *arguments, Known known) {
  ImportConstant given[MAX_CONSTANTS];
  drop_constants(check);
  check->known = known;
  check->kept = module_new(model);
  if (known != KNOWN_NONE) find_constants(check, check->kept, given);
  return program_open_with(&check->program, model, arguments,
                           &(ImportOptions){.constants = given,
                                            .constant_count = check->constant_count,
                                            .symbolic = option_flag(arguments, "symbolic")});
}

/* The inputs that the first set has with another rank; the names are the program's. */
static int find_shapes(const Check *check, ImportShape *shapes) {
  Module *module = check->program.module;
  int count = 0;
  for (int i = 0; i < check->program.input_count && count < MAX_SHAPES; i++) {
    const Port *port = &check->program.inputs[i];
    const char *path = data_path(check, module, 0, "input", i), *name;
    Tensor tensor = {0};
    if (port->form != FORM_TENSOR || port->rank < 0 || !file_exists(path)) continue;
    if (!read_tensor_pb(module, path, FORM_TENSOR, &tensor, &name)) continue;
    ImportShape *shape = &shapes[count];
    *shape = (ImportShape){.input = port->name, .rank = tensor.rank, .replaces = true};
    memcpy(shape->dims, tensor.dims, sizeof shape->dims);
    count += tensor.rank != port->rank;
    tensor_free(&tensor);
  }
  return count;
}

/* Opens the model again where the data contradicts its shapes. */
static bool reshape(Check *check, const char *model, const Arguments *arguments) {
  ImportShape shapes[MAX_SHAPES];
  const ImportOptions known = {.shapes = shapes,
                               .shape_count = find_shapes(check, shapes),
                               .symbolic = option_flag(arguments, "symbolic")};
  if (known.shape_count == 0) return true;
  Program first = check->program; /* whose names the shapes have */
  bool ok = program_open_with(&check->program, model, arguments, &known);
  program_close(&first);
  return ok;
}

/* Tries with more and more constants; the last error stays. */
static bool open_model(Check *check, const char *model, const Arguments *arguments) {
  bool all = option_flag(arguments, "constants");
  Known known = all ? KNOWN_ALL : KNOWN_NONE, last = all ? KNOWN_ALL : KNOWN_FLOATS;
  while (!open_with(check, model, arguments, known)) {
    if (known == last) return false;
    program_close(&check->program);
    known++;
  }
  return known != KNOWN_NONE || reshape(check, model, arguments);
}

/* Opens what the writer makes of the model instead. */
static bool rewrite(Check *check, const Arguments *arguments) {
  const char *parent = getenv("TMPDIR");
  char path[4096];
  if (!option_flag(arguments, "rewritten")) return true;
  Module *module = check->program.module;
  snprintf(path, sizeof path, "%s/tenon.XXXXXX", parent && *parent ? parent : "/tmp");
  int file = mkstemp(path);
  if (file < 0) return fail(module, "cannot make '%s': %s", path, strerror(errno));
  close(file);
  bool ok = onnx_write(module->main, path, false);
  if (ok) {
    program_close(&check->program);
    ok = program_open(&check->program, intern(check->kept, path), arguments);
  }
  unlink(path);
  return ok;
}

/* Whether the folder passes; the reason says why not. */
static bool check_folder(const char *directory, const Arguments *arguments, char *reason) {
  char model[4096];
  Check check = {.directory = directory, .reason = reason};
  snprintf(model, sizeof model, "%s/model.onnx", directory);
  bool ok = open_model(&check, model, arguments);
  ok = ok && rewrite(&check, arguments);
  check.program.interpret = option_flag(arguments, "interpret");
  ok = ok && program_prepare(&check.program, false) && run_sets(&check);
  if (!ok) explain(&check);
  program_close(&check.program);
  drop_constants(&check);
  return ok;
}

/* ---- A process for each ---- */

typedef struct Child {
  const char *directory;
  pid_t pid;
  int pipe;
} Child;

static _Noreturn void run_child(const char *directory, const Arguments *arguments, int pipe) {
  char reason[MAX_REASON] = "";
  alarm((unsigned)option_count(arguments, "timeout", 60));
  bool ok = check_folder(directory, arguments, reason);
  ssize_t written = write(pipe, reason, strlen(reason));
  (void)written;
  _exit(ok ? DONE : BAD_INPUT);
}

static bool start_child(Child *child, const char *directory, const Arguments *arguments) {
  int ends[2];
  *child = (Child){.directory = directory, .pid = -1};
  fflush(stdout);
  if (pipe(ends)) return false;
  child->pid = fork();
  if (child->pid == 0) {
    close(ends[0]);
    run_child(directory, arguments, ends[1]);
  }
  close(ends[1]);
  child->pipe = ends[0];
  return child->pid > 0;
}

static void read_reason(int pipe, char *reason) {
  size_t length = 0;
  ssize_t count;
  while (length < MAX_REASON - 1 && (count = read(pipe, reason + length, MAX_REASON - 1 - length)) > 0)
    length += (size_t)count;
  reason[length] = '\0';
}

/* Waits for the child and prints its line; whether it passed. */
static bool finish_child(const Child *child, const Arguments *arguments) {
  char reason[MAX_REASON] = "";
  int status = 0;
  if (child->pid > 0) {
    read_reason(child->pipe, reason);
    close(child->pipe);
    waitpid(child->pid, &status, 0);
  } else
    snprintf(reason, sizeof reason, "no process: %s", strerror(errno));
  if (child->pid > 0 && WIFSIGNALED(status)) {
    bool late = WTERMSIG(status) == SIGALRM;
    if (late)
      snprintf(reason, sizeof reason, "took over %lld s", (long long)option_count(arguments, "timeout", 60));
    else
      snprintf(reason, sizeof reason, "crashed: %s", strsignal(WTERMSIG(status)));
  }
  bool passed = child->pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == DONE;
  if (!passed && !*reason) snprintf(reason, sizeof reason, "ended with exit code %d", WEXITSTATUS(status));
  for (char *c = reason; *c; c++) *c = *c == '\n' ? ' ' : *c;
  char *name = strdup(child->directory);
  for (size_t length = strlen(name); length > 1 && name[length - 1] == '/';) name[--length] = '\0';
  if (passed && !option_flag(arguments, "quiet")) printf("PASS %s\n", base_name(name));
  if (!passed) printf("FAIL %s: %s\n", base_name(name), reason);
  free(name);
  return passed;
}

static int run(const Arguments *arguments) {
  enum { MAX_JOBS = 64 };
  Child children[MAX_JOBS];
  int64_t wanted = option_count(arguments, "jobs", 1);
  int jobs = wanted < 1 ? 1 : wanted > MAX_JOBS ? MAX_JOBS : (int)wanted, started = 0, passed = 0;
  for (int finished = 0; finished < arguments->word_count; finished++) {
    for (; started < arguments->word_count && started < finished + jobs; started++)
      start_child(&children[started % jobs], arguments->words[started], arguments);
    passed += finish_child(&children[finished % jobs], arguments);
    fflush(stdout);
  }
  int failed = arguments->word_count - passed;
  printf("%d passed, %d failed\n", passed, failed);
  return failed ? BAD_INPUT : DONE;
}

const Verb verb_check = {
    .name = "check",
    .purpose = "test models against known answers",
    .usage = "DIR... [options]",
    .text = "Each DIR holds model.onnx and test_data_set_*/{input,output}_*.pb, as in the ONNX conformance "
            "data.\n"
            "Inputs that must be known to compile the model, shapes and axes, are taken as constants.\n"
            "With --symbolic all sizes are left open, with --constants all is known: then the program only\n"
            "returns what was computed before.\n"
            "Floats may be off by 1e-7 + 1e-3 |expected|; shapes, element types and all else must be exact.",
    .options = options,
    .min_words = 1,
    .max_words = 1 << 20,
    .examples = "tenon check onnx/backend/test/data/node/test_relu\n"
                "tenon check --jobs 2 --timeout 10 node/test_*",
    .run = run,
};
