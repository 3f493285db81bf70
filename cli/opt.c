/* opt.c -- `tenon opt`: IR in, IR out, with any passes between. */
#include "cli/hunt.h"
#include "cli/program.h"
#include "cli/verbs.h"
#include "ir/json.h"
#include "passes/passes.h"

#include <limits.h>
#include <string.h>

static const Option options[] = {
    {"output", 'o', OPTION_TEXT, "FILE", "write the graph there, its weights beside it (.safetensors)"},
    {"emit", 0, OPTION_CHOICE, "tn|onnx",
     "what to write (default tn); onnx: standard operators, after passes that other tools understand"},
    EXTERNAL_OPTION,
    {"print-before", 0, OPTION_TEXT, "A,B,...|all", "print the graph before these passes"},
    {"print-after", 0, OPTION_TEXT, "A,B,...|all", "print the graph after these passes"},
    {"print-changed", 0, OPTION_FLAG, NULL, "print what each pass changed, as a diff"},
    {"print-node", 0, OPTION_TEXT, "NAME", "print what becomes of a node of the model, pass by pass"},
    {"print-loops", 0, OPTION_TEXT, "KERNEL", "print the loops of a kernel; KERNEL: as --kernel of compile"},
    {"json", 0, OPTION_FLAG, NULL, "print as JSON, an object for each print (see ir/json.h)"},
    {"check", 0, OPTION_FLAG, NULL,
     "run the graph before and after each pass; tell the first that changes results"},
    {"bisect", 0, OPTION_FLAG, NULL, "find the smallest set of rewrites that makes the results wrong"},
    {"reduce", 0, OPTION_TEXT, "OUT.tn", "write a graph as small as can be that still goes wrong"},
    {"rewrite-limit", 0, OPTION_COUNT, "N", "stop after N rewrites of all passes"},
    {"tolerance", 0, OPTION_TEXT, "A,R", "of results: |a-b| <= A + R |b| (default 1e-4,1e-3)"},
    INPUT_OPTIONS,
    {"list", 'l', OPTION_FLAG, NULL, "list the passes and the default pipeline"},
    MODEL_OPTIONS,
    BUILD_OPTIONS,
    QUANTIZE_OPTIONS,
    {"candidates", 0, OPTION_COUNT, "N", "schedules that --tune tries for a kernel (default 12)"},
    STATE_OPTIONS,
    {0},
};

static void print_passes(const Pass *passes) {
  for (; passes->name; passes++) printf("  %-12s %s\n", passes->name, passes->doc);
}

static int list_passes(void) {
  printf("passes:\n");
  print_passes(graph_passes);
  print_passes(codegen_passes);
  printf("\nthe default pipeline:\n");
  for (const PipelineStep *step = default_pipeline; step->pass; step++)
    printf("  %-12s %s\n", step->pass, step->why);
  return DONE;
}

static PrintOptions print_options(const Arguments *arguments) {
  return (PrintOptions){.before = option_text(arguments, "print-before"),
                        .after = option_text(arguments, "print-after"),
                        .changed = option_flag(arguments, "print-changed"),
                        .node = option_text(arguments, "print-node"),
                        .colour = can_paint(stdout),
                        .json = option_flag(arguments, "json"),
                        .out = stdout};
}

static bool print_loops(Module *module, const Target *target, const char *kernel) {
  CodegenOptions code = {.target = *target, .name = build_name(module, module->file), .kernel = kernel};
  CodegenStats stats;
  return codegen_emit(module->main, &code, EMIT_LOOPS, NULL, &stats);
}

/* What is printed when all passes have run, unless something was printed on the way. */
static bool finish(Module *module, const Arguments *arguments, const Target *target, bool has_printed) {
  const char *output = option_text(arguments, "output"), *kernel = option_text(arguments, "print-loops");
  if (kernel) TRY(print_loops(module, target, kernel));
  if (emits_onnx(arguments)) return emit_onnx(module, arguments);
  if (output) return module_write_file(module, output);
  if (has_printed || kernel) return true;
  if (option_flag(arguments, "json"))
    graph_json(module->main, stdout);
  else
    graph_print(module->main, stdout);
  return true;
}

static void limit_rewrites(Module *module, const Arguments *arguments) {
  int64_t limit = option_count(arguments, "rewrite-limit", -1);
  if (limit >= 0) module->rewrites = rewrites_new(module, limit < INT_MAX ? (int)limit : INT_MAX);
}

static bool optimise(Program *program) {
  Module *module = program->module;
  const Arguments *arguments = program->arguments;
  Target target;
  Lossy lossy;
  if (program->is_library) return fail(module, "a library holds no graph; name the model");
  TRY(build_target(module, arguments, &target));
  TRY(build_lossy(module, arguments, &lossy));
  PipelineOptions pipeline = build_pipeline(module, arguments, &target, &lossy);
  const PrintOptions print = print_options(arguments);
  limit_rewrites(module, arguments);
  if (is_hunt(arguments)) return hunt(program, &pipeline);
  Watcher watcher;
  Printer *printer = printer_open(module->arena, &print, &watcher);
  pipeline.watcher = printer ? &watcher : NULL;
  bool ok = build_run(module, arguments, &pipeline);
  ok = printer_close(printer, ok ? module : NULL) && ok;
  if (ok) lossy_print(&lossy, stderr);
  return ok && ledgers_write(module, arguments, &lossy) &&
         finish(module, arguments, &target, printer != NULL);
}

static int run(const Arguments *arguments) {
  if (option_flag(arguments, "list")) return list_passes();
  if (arguments->word_count == 0) return usage_error(arguments->verb, "which model?");
  if (emits_onnx(arguments) && !option_text(arguments, "output"))
    return usage_error(arguments->verb, "say where to write: -o OUT.onnx");
  Program program;
  bool ok = program_open(&program, arguments->words[0], arguments) && optimise(&program);
  return program_finish(&program, ok, DONE);
}

const Verb verb_opt = {
    .name = "opt",
    .purpose = "print a model as text, after any passes",
    .usage = "IN [options]",
    .text = "IN is a model of any format. Without -o the resulting graph goes to standard output, unless a "
            "--print\n"
            "option already printed what was asked for. `--passes=` runs none: the graph as it was read.",
    .options = options,
    .min_words = 0,
    .max_words = 1,
    .examples = "tenon opt model.onnx --passes=simplify,fold,dce -o model.tn\n"
                "tenon opt model.h5 --emit onnx -o model.onnx\n"
                "tenon opt model.onnx --print-changed\n"
                "tenon opt model.onnx --print-node Conv_3\n"
                "tenon opt model.onnx --print-loops conv_relu_1",
    .run = run,
};
