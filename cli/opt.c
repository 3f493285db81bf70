/* opt.c -- `tenon opt`: IR in, IR out, with any passes between. */
#include "cli/program.h"
#include "cli/verbs.h"
#include "passes/passes.h"

#include <string.h>

static const Option options[] = {
    {"output", 'o', OPTION_TEXT, "FILE", "write the graph there, its weights beside it (.safetensors)"},
    {"emit", 0, OPTION_CHOICE, "tn|onnx",
     "what to write (default tn); onnx: standard operators, after passes that other tools understand"},
    EXTERNAL_OPTION,
    {"print-after", 0, OPTION_TEXT, "A,B,...|all", "print the graph after these passes"},
    {"print-changed", 0, OPTION_FLAG, NULL, "print what each pass changed, as a diff"},
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

static bool optimise(Program *program) {
  Module *module = program->module;
  const Arguments *arguments = program->arguments;
  const char *output = option_text(arguments, "output");
  Target target;
  Quantization *quantization;
  if (program->is_library) return fail(module, "a library holds no graph; name the model");
  TRY(build_target(module, arguments, &target));
  TRY(build_quantization(module, arguments, &quantization));
  TRY(build_optimise(module, arguments, &target, quantization));
  if (quantization) quantization_print(quantization, stderr);
  if (emits_onnx(arguments)) return emit_onnx(module, arguments);
  if (output) return module_write_file(module, output);
  bool printed = option_text(arguments, "print-after") || option_flag(arguments, "print-changed");
  if (!printed) graph_print(module->main, stdout);
  return true;
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
                "tenon opt model.tn --print-changed",
    .run = run,
};
