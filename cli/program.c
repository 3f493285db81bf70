/* program.c -- opening, compiling and running a model or a library. */
#include "cli/program.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A dtype has the same number in the program and in its libraries. */
static_assert((int)TENON_BOOL == (int)DTYPE_BOOL && (int)TENON_F32 == (int)DTYPE_F32 &&
                  (int)TENON_STRING == (int)DTYPE_STRING,
              "dtype numbers");

/* ---- Ports ---- */

static Port port_of_info(const tenon_tensor_info *info) {
  static const Form forms[] = {FORM_TENSOR, FORM_SEQUENCE, FORM_OPTIONAL, FORM_OPTIONAL_SEQUENCE};
  uint32_t bits = TENON_SEQUENCE | TENON_OPTIONAL;
  Port port = {.name = info->name,
               .form = forms[(info->dtype & bits) / TENON_SEQUENCE],
               .dtype = (Dtype)(info->dtype & ~bits),
               .rank = info->rank == TENON_ANY_RANK ? RANK_UNKNOWN : (int)info->rank};
  for (int i = 0; i < port.rank && i < MAX_RANK; i++) {
    port.dims[i] = info->dims[i].size;
    port.symbols[i] = info->dims[i].symbol;
  }
  return port;
}

static void make_ports(Program *program, int input_count, int output_count, int state_count) {
  program->input_count = input_count;
  program->output_count = output_count;
  program->state_count = state_count;
  program->inputs = NEW_ARRAY(program->module->arena, Port, input_count);
  program->outputs = NEW_ARRAY(program->module->arena, Port, output_count);
  program->states = NEW_ARRAY(program->module->arena, Port, state_count);
}

void model_ports(Program *program) {
  Graph *graph = program->module->main;
  Module *module = program->module;
  int states = graph->state_count;
  make_ports(program, graph->input_count - states, graph->output_count - states, states);
  for (int i = 0; i < program->input_count; i++)
    program->inputs[i] = port_of(graph->inputs[i]->name, graph->inputs[i]->type, module);
  for (int i = 0; i < program->output_count; i++)
    program->outputs[i] = port_of(graph->output_names[i], graph_output(graph, i)->type, module);
  for (int i = 0; i < states; i++)
    program->states[i] = port_of(graph_state(graph, i)->name, graph_state(graph, i)->type, module);
}

void program_forget_states(Program *program) {
  program->module->main->state_count = 0;
  model_ports(program);
}

static void library_ports(Program *program) {
  const tenon_library *library = program->library;
  make_ports(program, (int)library->input_count, (int)library->output_count, (int)library->state_count);
  for (int i = 0; i < program->input_count; i++) program->inputs[i] = port_of_info(library->inputs[i]);
  for (int i = 0; i < program->output_count; i++) program->outputs[i] = port_of_info(library->outputs[i]);
  for (int i = 0; i < program->state_count; i++) program->states[i] = port_of_info(library->states[i]);
}

/* ---- Opening ---- */

static bool is_elf(const char *path) {
  char magic[4];
  FILE *file = fopen(path, "rb");
  if (!file) return false;
  bool elf = fread(magic, 1, sizeof magic, file) == sizeof magic && memcmp(magic, "\177ELF", 4) == 0;
  fclose(file);
  return elf;
}

static bool open_library(Program *program, const char *path) {
  Module *module = program->module;
  char *full = realpath(path, NULL); /* without a slash dlopen would search the system's folders */
  if (!full) return fail(module, "%s", strerror(errno));
  program->handle = dlopen(full, RTLD_NOW | RTLD_LOCAL);
  free(full);
  if (!program->handle) return fail(module, "cannot be loaded: %s", dlerror());
  void *symbol = dlsym(program->handle, "tenon_query");
  if (!symbol) return fail(module, "this is no library of tenon: it has no tenon_query");
  tenon_query_function *query;
  memcpy(&query, &symbol, sizeof query); /* ISO C has no cast from object to function pointer */
  program->library = query(TENON_ABI_VERSION);
  return program->library || fail(module, "the library was made by another version of tenon");
}

bool program_open_with(Program *program, const char *path, const Arguments *arguments,
                       const ImportOptions *known) {
  *program = (Program){.path = path, .arguments = arguments, .module = module_new(path)};
  program->is_library = is_elf(path);
  if (program->is_library) {
    TRY(open_library(program, path));
    library_ports(program);
  } else {
    TRY(build_import(program->module, path, arguments, known));
    model_ports(program);
  }
  return true;
}

bool program_open(Program *program, const char *path, const Arguments *arguments) {
  return program_open_with(program, path, arguments, &(ImportOptions){.dim_count = 0});
}

/* ---- Compiling ---- */

static bool build_into(Program *program, const char *path) {
  Module *module = program->module;
  CodegenOptions options = {.name = build_name(module, program->path), .source = base_name(program->path)};
  CodegenStats stats;
  TRY(build_target(module, program->arguments, &options.target));
  PipelineOptions pipeline = build_pipeline(module, program->arguments, &options.target, NULL);
  TRY(build_run(module, program->arguments, &pipeline));
  program->tuned_count = build_tuned(&pipeline, &program->tuned);
  progress_begin(program->arguments, "compiling", program->path);
  bool ok = codegen_emit(module->main, &options, EMIT_SO, path, &stats);
  progress_end();
  program->target = options.target;
  if (ok) program->kernel_nodes = stats.kernel_nodes;
  return ok && open_library(program, path);
}

/* The library stays mapped after its file is gone. */
static bool build_temporary(Program *program) {
  const char *parent = getenv("TMPDIR");
  char *folder = arena_printf(program->module->arena, "%s/tenon.XXXXXX", parent && *parent ? parent : "/tmp");
  if (!mkdtemp(folder)) return fail(program->module, "cannot make '%s': %s", folder, strerror(errno));
  const char *path = arena_printf(program->module->arena, "%s/model.so", folder);
  bool ok = build_into(program, path);
  unlink(path);
  rmdir(folder);
  return ok;
}

uint32_t program_threads(const Program *program) {
  int64_t threads = option_count(program->arguments, "threads", 1);
  return threads < 1 ? 1 : threads > UINT32_MAX ? UINT32_MAX : (uint32_t)threads;
}

bool program_prepare(Program *program, bool profile) {
  if (program->interpret && program->is_library)
    return fail(program->module, "a library cannot be interpreted; name the model");
  if (program->interpret) return true;
  if (!program->library) TRY(build_temporary(program));
  tenon_session_options options = {
      .size = sizeof options, .threads = program_threads(program), .profile = profile};
  int error = program->library->session_open(&options, &program->session);
  return !error || fail(program->module, "%s", program->library->error_text(error));
}

/* ---- Running ---- */

/* The value of --dim NAME=N for a size called `symbol`, else -1. */
static int64_t given_dim(const Program *program, const char *symbol) {
  const char *text;
  size_t length = strlen(symbol);
  for (int i = 0; (text = option_list(program->arguments, "dim", i)); i++)
    if (strncmp(text, symbol, length) == 0 && text[length] == '=')
      return strtoll(text + length + 1, NULL, 10);
  return -1;
}

bool program_rewind(Program *program) {
  const tenon_library *library = program->library;
  for (int i = 0; i < program->state_count; i++) {
    const Port *port = &program->states[i];
    tenon_tensor sizes = {.rank = (uint32_t)port->rank};
    for (int axis = 0; axis < port->rank; axis++) {
      int64_t given = port->dims[axis] < 0 ? given_dim(program, port->symbols[axis]) : port->dims[axis];
      sizes.dims[axis] = given < 0 ? 0 : given;
    }
    if (library->session_set_state(program->session, (uint32_t)i, &sizes))
      return fail(program->module, "%s", library->session_error(program->session));
  }
  return true;
}

/* Lists get descriptors in the arena. */
static tenon_tensor lend(Module *module, const Tensor *tensor) {
  if (tensor->kind == TENSOR_ABSENT) return (tenon_tensor){.rank = TENON_ABSENT};
  tenon_tensor lent = {
      .data = tensor->data, .dtype = (uint32_t)tensor->dtype, .rank = (uint32_t)tensor->rank};
  memcpy(lent.dims, tensor->dims, sizeof *tensor->dims * (size_t)tensor->rank);
  if (tensor->kind == TENSOR_DENSE) {
    lent.size = tensor_size(tensor);
    return lent;
  }
  tenon_tensor *elements = NEW_ARRAY(module->arena, tenon_tensor, tensor->dims[0]);
  for (int64_t i = 0; i < tensor->dims[0]; i++) elements[i] = lend(module, (const Tensor *)tensor->data + i);
  lent.dtype |= TENON_SEQUENCE;
  lent.data = elements;
  return lent;
}

static bool take(Module *module, const tenon_tensor *lent, Tensor *tensor) {
  *tensor = (Tensor){.kind = TENSOR_ABSENT};
  if (lent->rank == TENON_ABSENT) return true;
  if (lent->dtype & TENON_SEQUENCE) {
    if (!tensor_new_list(tensor, (Dtype)(lent->dtype & ~(uint32_t)TENON_SEQUENCE), lent->dims[0]))
      return fail(module, "no memory for an output");
    for (int64_t i = 0; i < lent->dims[0]; i++)
      TRY(take(module, (const tenon_tensor *)lent->data + i, (Tensor *)tensor->data + i));
    return true;
  }
  if (!tensor_new(tensor, (Dtype)lent->dtype, (int)lent->rank, lent->dims))
    return fail(module, "no memory for an output");
  memcpy(tensor->data, lent->data, tensor_size(tensor));
  if (tensor->dtype == DTYPE_STRING) tensor_keep_strings(module, tensor);
  return true;
}

static bool run_library(Program *program, const Tensor *inputs, Tensor *outputs) {
  Module *module = program->module;
  tenon_tensor *in = NEW_ARRAY(module->arena, tenon_tensor, program->input_count);
  tenon_tensor *out = NEW_ARRAY(module->arena, tenon_tensor, program->output_count);
  for (int i = 0; i < program->input_count; i++) in[i] = lend(module, &inputs[i]);
  if (program->library->session_run(program->session, in, out))
    return fail(module, "%s", program->library->session_error(program->session));
  for (int i = 0; i < program->output_count; i++) TRY(take(module, &out[i], &outputs[i]));
  return true;
}

/* States as they are before the first run: what grows is empty, all else 0. */
static bool start_states(Program *program) {
  program->held = tensors_new(program->state_count);
  for (int i = 0; i < program->state_count; i++) {
    const Port *port = &program->states[i];
    int64_t dims[MAX_RANK];
    for (int axis = 0; axis < port->rank; axis++) dims[axis] = port->dims[axis] < 0 ? 0 : port->dims[axis];
    if (!tensor_new(&program->held[i], port->dtype, port->rank, dims))
      return fail(program->module, "no memory for state '%s'", port->name);
  }
  return true;
}

/* In the graph states are the last inputs and outputs. */
static bool run_interpreter(Program *program, const Tensor *inputs, Tensor *outputs) {
  Arena *arena = program->module->arena;
  int states = program->state_count;
  if (!program->held) TRY(start_states(program));
  Tensor *in = NEW_ARRAY(arena, Tensor, program->input_count + states);
  Tensor *out = NEW_ARRAY(arena, Tensor, program->output_count + states);
  for (int i = 0; i < program->input_count; i++) in[i] = inputs[i];
  for (int i = 0; i < states; i++) in[program->input_count + i] = program->held[i];
  TRY(graph_interpret(program->module->main, in, out));
  for (int i = 0; i < program->output_count; i++) outputs[i] = out[i];
  for (int i = 0; i < states; i++) {
    tensor_free(&program->held[i]);
    program->held[i] = out[program->output_count + i];
  }
  return true;
}

bool program_run(Program *program, const Tensor *inputs, Tensor *outputs) {
  progress_begin(program->arguments, "running", program->path);
  bool ok =
      program->interpret ? run_interpreter(program, inputs, outputs) : run_library(program, inputs, outputs);
  progress_end();
  return ok;
}

void program_close(Program *program) {
  if (program->session) program->library->session_close(program->session);
  if (program->handle) dlclose(program->handle);
  if (program->held) tensors_free(program->held, program->state_count);
  module_free(program->module);
}

int program_finish(Program *program, bool ok, int code) {
  enum { MAX_SHOWN = 20, ALL = 1 << 20 };
  diags_print(program->module, stderr, option_flag(program->arguments, "verbose") ? ALL : MAX_SHOWN);
  program_close(program);
  return ok ? code : BAD_INPUT;
}

/* ---- Inputs ---- */

static bool is_symbol(const char *text) {
  return !strpbrk(text, "+*(,");
}

/* A concrete shape for an input that is not given. */
static bool choose_dims(Program *program, const Port *port, int64_t *dims) {
  for (int i = 0; i < port->rank; i++) {
    dims[i] = port->dims[i];
    if (dims[i] >= 0) continue;
    const char *symbol = port->symbols[i];
    if (!is_symbol(symbol))
      return fail(program->module, "axis %d of input '%s' is %s: give the input with --input", i, port->name,
                  symbol);
    dims[i] = given_dim(program, symbol);
    if (dims[i] >= 0) continue;
    dims[i] = 1;
    diag_add(
        program->module,
        (Diag){.severity = SEVERITY_NOTE,
               .text = arena_printf(program->module->arena,
                                    "axis %d of input '%s' is open and taken as 1; --dim %s=N says otherwise",
                                    i, port->name, symbol)});
  }
  return true;
}

static bool ends_with(const char *text, const char *suffix) {
  size_t length = strlen(text), tail = strlen(suffix);
  return length >= tail && strcmp(text + length - tail, suffix) == 0;
}

static bool read_from_npz(Module *module, const char *path, const Port *port, Tensor *tensor) {
  Tensor *tensors;
  const char **names;
  int count, found = -1;
  TRY(read_npz(module, path, &tensors, &names, &count));
  for (int i = 0; i < count; i++)
    if (strcmp(names[i], port->name) == 0 || count == 1) found = i;
  for (int i = 0; i < count; i++) {
    if (i == found)
      *tensor = tensors[i];
    else
      tensor_free(&tensors[i]);
  }
  return found >= 0 || fail(module, "'%s' has no array '%s'", path, port->name);
}

static bool read_input(Program *program, const char *text, const Port *port, Tensor *tensor) {
  Module *module = program->module;
  const char *name;
  if (*text == '[' || *text == '"') return tensor_parse(module, &text, port, tensor);
  if (ends_with(text, ".pb")) return read_tensor_pb(module, text, port->form, tensor, &name);
  TRY(ends_with(text, ".npz") ? read_from_npz(module, text, port, tensor) : read_npy(module, text, tensor));
  return tensor_uncarry(tensor, port->dtype) || fail(module, "no memory for input '%s'", port->name);
}

/* What --input says of this port; NULL when nothing. A program with one input needs no NAME=. */
static const char *given_input(const Program *program, const Port *port) {
  const char *text, *found = NULL;
  size_t length = strlen(port->name);
  for (int i = 0; (text = option_list(program->arguments, "input", i)); i++) {
    if (strncmp(text, port->name, length) == 0 && text[length] == '=') found = text + length + 1;
    if (program->input_count == 1 && !strchr(text, '=')) found = text;
  }
  return found;
}

static bool names_an_input(const Program *program, const char *text) {
  for (int i = 0; i < program->input_count; i++) {
    size_t length = strlen(program->inputs[i].name);
    if (strncmp(text, program->inputs[i].name, length) == 0 && text[length] == '=') return true;
  }
  return program->input_count == 1 && !strchr(text, '=');
}

static bool check_given(Program *program) {
  const char *text, *names = "";
  for (int i = 0; i < program->input_count; i++)
    names = arena_printf(program->module->arena, "%s%s%s", names, i ? ", " : "", program->inputs[i].name);
  for (int i = 0; (text = option_list(program->arguments, "input", i)); i++)
    if (!names_an_input(program, text))
      return fail(program->module, "--input %s names no input; there are: %s", text, names);
  return true;
}

bool program_inputs(Program *program, Tensor *inputs) {
  uint64_t state = (uint64_t)option_count(program->arguments, "seed", 1);
  TRY(check_given(program));
  for (int i = 0; i < program->input_count; i++) {
    const Port *port = &program->inputs[i];
    const char *given = given_input(program, port);
    int64_t dims[MAX_RANK];
    if (given) {
      TRY(read_input(program, given, port, &inputs[i]));
      continue;
    }
    if (port->form != FORM_TENSOR || port->rank < 0)
      return fail(program->module, "input '%s' has no shape of its own: give it with --input %s=FILE.pb",
                  port->name, port->name);
    TRY(choose_dims(program, port, dims));
    if (port->dtype == DTYPE_STRING)
      return fail(program->module, "input '%s' is %s: give it with --input", port->name,
                  dtype_name(port->dtype));
    if (!tensor_new(&inputs[i], port->dtype, port->rank, dims))
      return fail(program->module, "no memory for input '%s'", port->name);
    tensor_random(&inputs[i], &state);
  }
  return true;
}
