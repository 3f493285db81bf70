/* compare.c -- `tenon compare`: how far two models or libraries are apart on the same input. */
#include "cli/compare.h"
#include "cli/verbs.h"

#include <string.h>

static const Option options[] = {
    INPUT_OPTIONS,
    THREADS_OPTION,
    {"tolerance", 0, OPTION_TEXT, "A,R", "exit with 1 unless |a-b| <= A + R |b| everywhere"},
    {"per-node", 0, OPTION_FLAG, NULL, "compare all values that have the same name in both models"},
    {"reference", 0, OPTION_FLAG, NULL, "run B in the interpreter, A as it is"},
    INTERPRET_OPTION,
    MODEL_OPTIONS,
    BUILD_OPTIONS,
    STATE_OPTIONS,
    {0},
};

typedef struct Side {
  Program program;
  Tensor *outputs;
} Side;

static bool open_side(Side *side, const char *path, const Arguments *arguments) {
  Program *program = &side->program;
  TRY(program_open(program, path, arguments));
  if (option_flag(arguments, "per-node") && !program->is_library) {
    if (program->state_count) return fail(program->module, "--per-node is not for models with states");
    TRY(graph_show_values(program->module->main));
    model_ports(program);
  }
  /* --interpret makes models run in the interpreter; libraries cannot */
  side->program.interpret = option_flag(arguments, "interpret") && !side->program.is_library;
  side->outputs = tensors_new(side->program.output_count);
  return true;
}

int find_port(const Port *ports, int count, const char *name) {
  for (int i = 0; i < count; i++)
    if (strcmp(ports[i].name, name) == 0) return i;
  return -1;
}

/* The place in b of port `index` of a: by name when all names match, else by position. */
static int partner(const Port *a, int index, const Port *b, int count) {
  for (int i = 0; i < count; i++)
    if (find_port(b, count, a[i].name) < 0) return index;
  return find_port(b, count, a[index].name);
}

static bool run_side(Side *side, const Side *first, Tensor *inputs) {
  Program *program = &side->program;
  bool all_values = option_flag(program->arguments, "per-node");
  if (program->input_count != first->program.input_count ||
      (program->output_count != first->program.output_count && !all_values))
    return fail(program->module, "%d inputs and %d outputs, but '%s' has %d and %d", program->input_count,
                program->output_count, first->program.path, first->program.input_count,
                first->program.output_count);
  Tensor *arranged = NEW_ARRAY(program->module->arena, Tensor, program->input_count);
  for (int i = 0; i < program->input_count; i++)
    arranged[i] = inputs[partner(program->inputs, i, first->program.inputs, program->input_count)];
  TRY(program_prepare(program, false));
  return program_run(program, arranged, side->outputs);
}

/* Whether the output is within the tolerance; prints how far it is off. */
static bool compare_output(const char *name, const Tensor *a, const Tensor *b, double atol, double rtol) {
  char a_shape[512], b_shape[512];
  tensor_shape_text(a, a_shape, sizeof a_shape);
  tensor_shape_text(b, b_shape, sizeof b_shape);
  if (strcmp(a_shape, b_shape) != 0) {
    printf("%s: %s and %s\n", name, a_shape, b_shape);
    return false;
  }
  if (a->dtype == DTYPE_STRING) {
    char reason[512];
    bool same = tensor_agrees(a, b, 0, 0, reason, sizeof reason);
    printf("%s: %s %s\n", name, a_shape, same ? "equal" : reason);
    return same;
  }
  Difference d = tensor_difference(a, b, atol, rtol);
  printf("%s: %s max abs %.3g, max relative %.3g, SQNR %.1f dB", name, a_shape, d.max_abs, d.max_relative,
         d.sqnr);
  if (atol >= 0 && d.wrong) printf(", %lld elements beyond the tolerance", (long long)d.wrong);
  printf("\n");
  return !d.wrong;
}

static bool compare_outputs(const Side *a, const Side *b, double atol, double rtol) {
  bool same = true;
  for (int i = 0; i < a->program.output_count; i++) {
    int j = partner(a->program.outputs, i, b->program.outputs, a->program.output_count);
    same &= compare_output(a->program.outputs[i].name, &a->outputs[i], &b->outputs[j], atol, rtol);
  }
  return same || atol < 0;
}

static int finish(Side *side, bool ok) {
  if (side->outputs) tensors_free(side->outputs, side->program.output_count);
  return program_finish(&side->program, ok, DONE);
}

static int run(const Arguments *arguments) {
  double atol = -1, rtol = 0;
  const char *tolerance = option_text(arguments, "tolerance");
  char rest;
  bool per_node = option_flag(arguments, "per-node");
  if (per_node) atol = 1e-4, rtol = 1e-3;
  if (tolerance && (sscanf(tolerance, "%lf,%lf%c", &atol, &rtol, &rest) != 2 || atol < 0 || rtol < 0))
    return usage_error(arguments->verb, "--tolerance wants A,R, not '%s'", tolerance);
  Side a = {0}, b = {0};
  bool a_open = open_side(&a, arguments->words[0], arguments);
  bool b_open = a_open && open_side(&b, arguments->words[1], arguments);
  if (option_flag(arguments, "reference")) b.program.interpret = true;
  Tensor *inputs = tensors_new(a.program.input_count);
  bool a_ok = b_open && program_inputs(&a.program, inputs) && run_side(&a, &a, inputs);
  bool b_ok = a_ok && run_side(&b, &a, inputs);
  bool same = b_ok && (per_node ? compare_values(&a.program, a.outputs, &b.program, b.outputs, atol, rtol)
                                : compare_outputs(&a, &b, atol, rtol));
  tensors_free(inputs, a.program.input_count);
  int code = finish(&a, true);
  if (b.program.module) code |= finish(&b, true);
  return same ? code : BAD_INPUT;
}

const Verb verb_compare = {
    .name = "compare",
    .purpose = "run two models or libraries on the same input and compare",
    .usage = "A B [options]",
    .text = "Prints per output the largest absolute and relative difference and the ratio of signal to "
            "noise, B being\n"
            "the reference. Inputs and outputs are matched by name, or by position when the names differ.\n"
            "--per-node compares whatever value both models have by name, and says where they part first, "
            "beyond a\n"
            "tolerance of 1e-4,1e-3 if none is given.",
    .options = options,
    .min_words = 2,
    .max_words = 2,
    .examples = "tenon compare ./sface.so sface.onnx --seed 7\n"
                "tenon compare model.tn model.onnx --interpret --tolerance 1e-4,1e-3\n"
                "tenon compare int8.onnx model.onnx --per-node\n"
                "tenon compare model.onnx model.onnx --per-node --reference",
    .run = run,
};
