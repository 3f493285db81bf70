/* run.c -- `tenon run`: a model or library once, on given or random input. */
#include "cli/program.h"
#include "cli/verbs.h"

static const Option options[] = {
    INPUT_OPTIONS,
    {"output", 'o', OPTION_TEXT, "DIR", "write each output to DIR/NAME.npy"},
    {"save-inputs", 0, OPTION_FLAG, NULL, "write the inputs there too"},
    THREADS_OPTION,
    INTERPRET_OPTION,
    MODEL_OPTIONS,
    BUILD_OPTIONS,
    STATE_OPTIONS,
    {0},
};

static bool save(Program *program, const Port *ports, const Tensor *tensors, int count) {
  const char *directory = option_text(program->arguments, "output");
  for (int i = 0; directory && i < count; i++)
    TRY(tensor_save(program->module, directory, ports[i].name, &tensors[i]));
  return true;
}

static bool execute(Program *program, Tensor *inputs, Tensor *outputs) {
  TRY(program_inputs(program, inputs));
  TRY(program_prepare(program, false));
  TRY(program_run(program, inputs, outputs));
  if (option_flag(program->arguments, "save-inputs"))
    TRY(save(program, program->inputs, inputs, program->input_count));
  TRY(save(program, program->outputs, outputs, program->output_count));
  if (option_flag(program->arguments, "quiet")) return true;
  for (int i = 0; i < program->output_count; i++) tensor_show(program->outputs[i].name, &outputs[i]);
  return true;
}

static int run(const Arguments *arguments) {
  if (option_flag(arguments, "save-inputs") && !option_text(arguments, "output"))
    return usage_error(arguments->verb, "--save-inputs needs --output DIR");
  Program program;
  bool ok = program_open(&program, arguments->words[0], arguments);
  program.interpret = option_flag(arguments, "interpret");
  Tensor *inputs = tensors_new(program.input_count), *outputs = tensors_new(program.output_count);
  ok = ok && execute(&program, inputs, outputs);
  tensors_free(inputs, program.input_count);
  tensors_free(outputs, program.output_count);
  return program_finish(&program, ok, DONE);
}

const Verb verb_run = {
    .name = "run",
    .purpose = "run a model or library once and show what comes out",
    .usage = "MODEL|LIB [options]",
    .text = "Inputs that --input does not give are random: floats in [-1, 1), integers in 0..7. A model is "
            "compiled\n"
            "to a temporary library first. A library is loaded into this process, which runs its code: do "
            "not run\n"
            "libraries that you do not trust.",
    .options = options,
    .min_words = 1,
    .max_words = 1,
    .examples = "tenon run mnist.h5 --seed 3\n"
                "tenon run ./mnist.so --input image=digit.npy --output results",
    .run = run,
};
