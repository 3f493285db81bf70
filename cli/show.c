/* show.c -- `tenon show`: what a model or library is. */
#include "cli/dot.h"
#include "cli/page.h"
#include "cli/program.h"
#include "cli/stats.h"
#include "cli/verbs.h"

#include <string.h>

static const Option options[] = {
    {"html", 0, OPTION_TEXT, "FILE",
     "write a page for the browser: the graph after each pass, kernels, memory, times"},
    {"no-measure", 0, OPTION_FLAG, NULL, "the page has predicted times only"},
    {"dot", 0, OPTION_FLAG, NULL, "print the graph for Graphviz: as it was read, or after --passes"},
    MODEL_OPTIONS,
    STATE_OPTIONS,
    INPUT_OPTIONS,
    BUILD_OPTIONS,
    QUANTIZE_OPTIONS,
    {0},
};

/* "classes   prob: setosa, versicolor, virginica", as many as a line holds. */
static void show_labels(const Labelled *labels) {
  enum { MAX_SHOWN = 12 };
  printf("%-9s %s: ", "classes", labels->output);
  for (int i = 0; i < labels->count && i < MAX_SHOWN; i++) {
    printf("%s", i ? ", " : "");
    if (labels->ints)
      printf("%lld", (long long)labels->ints[i]);
    else
      printf("%s", labels->names[i]);
  }
  printf(labels->count > MAX_SHOWN ? ", ... (%d)\n" : "\n", labels->count);
}

static void show_model(const Program *program) {
  char a[32], b[32];
  Module *module = program->module;
  ModelStats stats = model_stats(module);
  for (const Labelled *labels = module->labels; labels; labels = labels->next) show_labels(labels);
  if (module->producer) printf("%-9s %s\n", "producer", module->producer);
  model_stats_print_ops(module, &stats);
  printf("%-9s %s parameters in %s, %s multiply-accumulates\n", "holds", count_text(stats.parameters, a),
         bytes_text(stats.parameter_bytes, b), stats.macs);
}

/* Which of several runs here, and whether one does. */
static void show_cpus(const tenon_library *library) {
  bool known = library->size > offsetof(tenon_library, running_cpu);
  const char *running = known ? library->running_cpu() : library->cpu;
  printf("%-9s %s, %s", "for", library->triple, library->cpu);
  if (!running)
    printf("; not for this processor");
  else if (strcmp(running, library->cpu) != 0)
    printf("; here %s", running);
  printf("\n");
}

static void show_library(const Program *program) {
  char text[32];
  const tenon_library *library = program->library;
  for (uint32_t i = 0; i < library->symbol_count; i++) printf("%-9s %s\n", "size", library->symbols[i]);
  for (uint32_t i = 0; i < library->guard_count; i++) printf("%-9s %s\n", "checks", library->guards[i]);
  printf("%-9s kernels %u, weights %s\n", "holds", library->kernel_count,
         bytes_text((int64_t)library->weight_bytes, text));
  printf("%-9s state %s, ", "needs", bytes_text((int64_t)library->state_size(NULL), text));
  printf("scratch %s\n", bytes_text(library->symbol_count ? -1 : (int64_t)library->scratch_size(NULL), text));
  show_cpus(library);
  printf("%-9s %s", "made", library->source);
  printf(*library->producer ? " (%s)" : "%s", library->producer);
  printf(" by tenon %s\n", library->version);
}

static bool show_text(Program *program) {
  printf("%-9s %s\n", "name", program->is_library ? program->library->name : program->module->main->name);
  ports_print("input", program->inputs, program->input_count);
  ports_print("output", program->outputs, program->output_count);
  ports_print("state", program->states, program->state_count);
  if (program->is_library)
    show_library(program);
  else
    show_model(program);
  return true;
}

static bool show_dot(Program *program) {
  Module *module = program->module;
  Target target;
  if (program->is_library) return fail(module, "a library holds no graph; name the model");
  if (option_text(program->arguments, "passes"))
    TRY(build_target(module, program->arguments, &target) &&
        build_optimise(module, program->arguments, &target, NULL));
  dot_print(module->main, stdout);
  return true;
}

static bool show(Program *program) {
  const char *page = option_text(program->arguments, "html");
  if (page) return program->is_library ? page_of_library(program, page) : page_of_model(program, page);
  return option_flag(program->arguments, "dot") ? show_dot(program) : show_text(program);
}

static int run(const Arguments *arguments) {
  Program program;
  bool ok = program_open(&program, arguments->words[0], arguments) && show(&program);
  return program_finish(&program, ok, DONE);
}

const Verb verb_show = {
    .name = "show",
    .purpose = "tell what a model or library holds",
    .usage = "MODEL|LIB [options]",
    .text = "Of a model: inputs, outputs, operators by count, parameters and work. Of a library: also what "
            "it was made\n"
            "from, by whom and for which processors. A library is loaded into this process: see `tenon run "
            "--help`.\n"
            "With --html, a page for the browser instead; what stands below --state is for that page alone.",
    .options = options,
    .min_words = 1,
    .max_words = 1,
    .examples = "tenon show sface.onnx\n"
                "tenon show ./sface.so\n"
                "tenon show sface.onnx --html sface.html\n"
                "tenon show sface.onnx --dot | dot -Tsvg -o sface.svg",
    .run = run,
};
