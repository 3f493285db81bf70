/* texts.c -- codegen_texts: the kernels of a graph for people, each once, as loops and as assembler text. */
#include "codegen/library.h"
#include "codegen/schedule.h"

#include <stdlib.h>
#include <string.h>

/* What write(context, out) writes, in the arena; NULL when it fails. */
static char *captured(Module *module, bool (*write)(void *context, FILE *out), void *context) {
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  bool ok = out && write(context, out);
  if (out) fclose(out);
  char *copy = ok ? arena_copy(module->arena, text, size + 1) : NULL;
  free(text);
  return copy;
}

typedef struct Printing {
  const Program *program;
  const Code *code;
} Printing;

static bool print_loops(void *context, FILE *out) {
  const Printing *printing = context;
  for (int t = 0; t < printing->program->target_count; t++) kernel_print(printing->code->kernels[t], out);
  return true;
}

static bool print_assembly(void *context, FILE *out) {
  const Printing *printing = context;
  const Target *target = &printing->program->options->target;
  for (int t = 0; target; target = target->next, t++) {
    Machine machine;
    TRY(machine_open(printing->program->module, target, &machine));
    bool ok = kernel_print_code(printing->code->kernels[t], &machine, printing->code->in_place, true, out);
    machine_close(&machine);
    TRY(ok);
  }
  return true;
}

static bool add_code(const Program *program, int number, CodeText *text) {
  Printing printing = {program, &program->codes[number]};
  text->name = printing.code->name;
  text->loops = captured(program->module, print_loops, &printing); /* before it is changed for the machine */
  text->assembly = captured(program->module, print_assembly, &printing);
  return text->loops && text->assembly;
}

static void add_steps(const Program *program, const Step *steps, int count, bool once, CodeTexts *texts) {
  for (int i = 0; i < count; i++)
    texts->steps[texts->step_count++] =
        (CodeStep){.node = steps[i].node,
                   .code = steps[i].code,
                   .once = once,
                   .predicted = kernel_seconds(steps[i].node, &program->options->target)};
}

bool codegen_texts(Graph *graph, const CodegenOptions *options, CodeTexts *texts) {
  Program program;
  TRY(program_build(&program, graph, options));
  Arena *arena = graph->module->arena;
  *texts = (CodeTexts){.code_count = program.code_count,
                       .codes = NEW_ARRAY(arena, CodeText, program.code_count),
                       .steps = NEW_ARRAY(arena, CodeStep, program.step_count + program.start_count)};
  add_steps(&program, program.steps, program.step_count, false, texts);
  add_steps(&program, program.starts, program.start_count, true, texts);
  for (int i = 0; i < program.code_count; i++) TRY(add_code(&program, i, &texts->codes[i]));
  return true;
}
