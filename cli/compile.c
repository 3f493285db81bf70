/* compile.c -- `tenon compile`: a model to a library, or to any stage on the way there. */
#include "cli/program.h"
#include "cli/stats.h"
#include "cli/verbs.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static const Option options[] = {
    {"output", 'o', OPTION_TEXT, "FILE", "the file to write; a library gets its header beside it"},
    MODEL_OPTIONS,
    {"emit", 0, OPTION_CHOICE, "so|obj|llvm|asm|tn|loops|onnx", "what to write (default so)"},
    {"kernel", 0, OPTION_TEXT, "NAME",
     "with --emit loops, llvm, asm: one kernel, or those of a node; without -o to standard output"},
    {"name", 0, OPTION_TEXT, "NAME", "prefix of all C names (default: the model's file name)"},
    EXTERNAL_OPTION,
    BUILD_OPTIONS,
    QUANTIZE_OPTIONS,
    STATE_OPTIONS,
    {0},
};

static const struct {
  const char *name;
  EmitKind kind;
} kinds[] = {
    {"so", EMIT_SO}, {"obj", EMIT_OBJ}, {"llvm", EMIT_LLVM}, {"asm", EMIT_ASM}, {"loops", EMIT_LOOPS}};

typedef struct Compilation {
  const Arguments *arguments;
  const char *path, *output, *emit;
  ModelStats model;
  CodegenStats code;
  Lossy lossy;
  double seconds;
} Compilation;

static bool is_identifier(const char *name) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
  size_t length = strspn(name, letters);
  bool reserved = strncmp(name, "tenon", 5) == 0; /* the runtime's own names */
  return length > 0 && !name[length] && strspn(name, "0123456789") == 0 && !reserved;
}

static bool emit(Module *module, Compilation *c, CodegenOptions *code) {
  const char *emit = c->emit;
  if (strcmp(emit, "tn") == 0) return module_write_file(module, c->output);
  if (emits_onnx(c->arguments)) return emit_onnx(module, c->arguments);
  int row = 0;
  while (strcmp(kinds[row].name, emit) != 0) row++;
  progress_begin(c->arguments, "compiling", c->path);
  bool ok = codegen_emit(module->main, code, kinds[row].kind, c->output, &c->code);
  progress_end();
  return ok;
}

/* Before minutes of work. */
static bool can_write(Module *module, const char *path) {
  int length = (int)(base_name(path) - path);
  const char *folder = length ? arena_printf(module->arena, "%.*s", length, path) : ".";
  return access(folder, W_OK) == 0 || fail(module, "cannot write '%s': %s", path, strerror(errno));
}

static bool compile(Program *program, Compilation *c) {
  Module *module = program->module;
  CodegenOptions code = {.name = option_text(c->arguments, "name"),
                         .source = base_name(c->path),
                         .kernel = option_text(c->arguments, "kernel"),
                         .header = strcmp(c->emit, "so") == 0 || strcmp(c->emit, "obj") == 0};
  if (program->is_library) return fail(module, "this is a library already");
  const char *ledger = option_text(c->arguments, "ledger");
  TRY(!c->output || can_write(module, c->output));
  TRY(!ledger || can_write(module, ledger));
  if (!code.name) code.name = build_name(module, c->path);
  c->model = model_stats(module);
  TRY(build_target(module, c->arguments, &code.target));
  TRY(build_lossy(module, c->arguments, &c->lossy));
  TRY(build_optimise(module, c->arguments, &code.target, &c->lossy));
  return emit(module, c, &code) && ledgers_write(module, c->arguments, &c->lossy);
}

static void print_summary(const Program *program, const Compilation *c) {
  char a[32], b[32];
  bool is_library = strcmp(c->emit, "so") == 0;
  printf("%s from %s\n", c->output, base_name(c->path));
  ports_print("  input", program->inputs, program->input_count);
  ports_print("  output", program->outputs, program->output_count);
  ports_print("  state", program->states, program->state_count);
  printf("  %s parameters (%s), %s multiply-accumulates\n", count_text(c->model.parameters, a),
         bytes_text(c->model.parameter_bytes, b), c->model.macs);
  if (is_library || strcmp(c->emit, "obj") == 0) {
    printf("  state %s, ", bytes_text(c->code.state_bytes, a));
    printf("scratch %s, ", bytes_text(c->code.scratch_bytes, a));
    printf("%s %s\n", is_library ? "library" : "object", bytes_text(c->code.library_bytes, a));
    printf("  kernels %d, %d of them distinct\n", c->code.kernel_count, c->code.distinct_kernel_count);
  }
  printf("  %.2f s\n", c->seconds);
  lossy_print(&c->lossy, stdout);
}

static int run(const Arguments *arguments) {
  Compilation c = {.arguments = arguments,
                   .path = arguments->words[0],
                   .output = option_text(arguments, "output"),
                   .emit = option_text(arguments, "emit")};
  const char *name = option_text(arguments, "name");
  if (!c.emit) c.emit = "so";
  bool is_text = strcmp(c.emit, "loops") == 0 || strcmp(c.emit, "llvm") == 0 || strcmp(c.emit, "asm") == 0;
  bool one_kernel = option_text(arguments, "kernel");
  if (one_kernel && !is_text)
    return usage_error(arguments->verb, "--kernel is for --emit loops, llvm and asm");
  if (!c.output && !one_kernel) return usage_error(arguments->verb, "say where to write: -o FILE");
  if (name && !is_identifier(name))
    return usage_error(arguments->verb,
                       "--name wants a C identifier that does not begin with 'tenon', not '%s'", name);
  double start = seconds_now();
  Program program;
  bool ok = program_open(&program, c.path, arguments) && compile(&program, &c);
  c.seconds = seconds_now() - start;
  if (ok && c.output && !option_flag(arguments, "quiet")) print_summary(&program, &c);
  return program_finish(&program, ok, DONE);
}

const Verb verb_compile = {
    .name = "compile",
    .purpose = "make a native library of a model",
    .usage = "MODEL -o OUT.so [options]",
    .text =
        "MODEL is ONNX, Keras (.h5, .keras, .json) or tenon's own text form (.tn), told apart by content. "
        "The\n"
        "library holds the weights and needs libc only; the header beside it declares one typed function to "
        "call.\n"
        "For several processors, --cpu A,B,..., it has the kernels of each and runs the best that it meets.\n"
        "--emit writes another stage: obj (to be linked), llvm, asm, loops (the kernels), tn (the graph)\n"
        "or onnx: the graph before it is made for a processor, in standard operators, for other tools.",
    .options = options,
    .min_words = 1,
    .max_words = 1,
    .examples = "tenon compile mnist.h5 -o mnist.so\n"
                "tenon compile det.onnx --emit asm --kernel k3_conv_relu_4 | less\n"
                "tenon compile det.onnx -o det.so --input-shape x=1x3x640x640 --cpu x86-64-v3,x86-64-v4",
    .run = run,
};
