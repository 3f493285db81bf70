/* hunt.c -- `tenon opt --check`, --bisect and --reduce: which pass is wrong, which rewrites, and a small
 * graph. */
#include "cli/hunt.h"

#include <string.h>

bool is_hunt(const Arguments *arguments) {
  return option_flag(arguments, "check") || option_flag(arguments, "bisect") ||
         option_text(arguments, "reduce");
}

/* ---- What is told ---- */

static void print_fault(const Fault *fault, const char *file) {
  if (fault->step.number)
    printf("pass '%s', step %d of %d, changes the results of %s\n", fault->step.pass->name,
           fault->step.number, fault->step.count, file);
  else
    printf("the compiled kernels give other results than the graph after all passes of %s\n", file);
  printf("  output %s\n", fault->text);
  if (fault->value) printf("  first at %s\n", fault->value);
}

static void print_rewrite(const RewriteSite *rewrite) {
  printf("  step %d, %s", rewrite->step, rewrite->pass);
  printf(*rewrite->op ? ": %s '%s'\n" : "\n", rewrite->op, rewrite->node);
}

static void print_bisection(const Bisection *found) {
  enum { MAX_SHOWN = 20 };
  if (!found->is_wrong) {
    printf("with all %d rewrites the results are the same\n", found->total);
    return;
  }
  if (found->is_in_code) {
    printf("no rewrite is to blame: %s\n", found->text);
    return;
  }
  printf("the results are right with %d of %d rewrites, and wrong with one more:\n", found->number - 1,
         found->total);
  print_rewrite(&found->last);
  printf(found->is_thin ? "%d %s to go wrong:\n" : "not found again without the others; all %d %s:\n",
         found->count, found->count == 1 ? "rewrite is enough" : "rewrites are needed");
  for (int i = 0; i < found->count && i < MAX_SHOWN; i++) print_rewrite(&found->list[i]);
  if (found->count > MAX_SHOWN) printf("  ... and %d more\n", found->count - MAX_SHOWN);
  printf("%s\n", found->text);
}

/* ---- The three ---- */

static bool check(Program *program, const PipelineOptions *pipeline, const Trial *trial) {
  Fault fault;
  bool is_quiet = option_flag(program->arguments, "quiet");
  TRY(pipeline_check(program->module->main, pipeline, trial, is_quiet ? NULL : stdout, &fault));
  if (fault.text) print_fault(&fault, base_name(program->path));
  return !fault.text;
}

static bool bisect(Program *program, const PipelineOptions *pipeline, const Trial *trial) {
  Bisection found;
  TRY(pipeline_bisect(program->module->main, pipeline, trial, &found));
  print_bisection(&found);
  return !found.is_wrong;
}

static bool reduce(Program *program, const PipelineOptions *pipeline, const Trial *trial) {
  Reduction reduction;
  const char *path = option_text(program->arguments, "reduce");
  TRY(pipeline_reduce(program->module->main, pipeline, trial, path, &reduction));
  printf("%s: %d of %d nodes are left, after %d tries\n", path, reduction.after, reduction.before,
         reduction.tries);
  return false;
}

static bool hunt_on(Program *program, const PipelineOptions *pipeline, const Trial *trial) {
  const Arguments *arguments = program->arguments;
  bool ok = true;
  if (option_flag(arguments, "bisect")) ok = bisect(program, pipeline, trial) && ok;
  if (option_text(arguments, "reduce")) ok = reduce(program, pipeline, trial) && ok;
  if (option_flag(arguments, "check")) ok = check(program, pipeline, trial) && ok; /* changes the graph */
  return ok;
}

static bool read_tolerance(Program *program, Trial *trial) {
  char rest;
  const char *tolerance = option_text(program->arguments, "tolerance");
  if (!tolerance) return true;
  return (sscanf(tolerance, "%lf,%lf%c", &trial->atol, &trial->rtol, &rest) == 2 && trial->atol >= 0 &&
          trial->rtol >= 0) ||
         fail(program->module, "--tolerance wants A,R, not '%s'", tolerance);
}

bool hunt(Program *program, const PipelineOptions *pipeline) {
  Trial trial = {.atol = 1e-4, .rtol = 1e-3, .seed = (uint64_t)option_count(program->arguments, "seed", 1)};
  TRY(read_tolerance(program, &trial));
  if (pipeline->pass.quantization || pipeline->pass.pruning)
    return fail(program->module, "--quantize and --prune change results on purpose");
  program_forget_states(program);
  Tensor *inputs = tensors_new(program->input_count);
  trial.inputs = inputs;
  bool ok = program_inputs(program, inputs) && hunt_on(program, pipeline, &trial);
  tensors_free(inputs, program->input_count);
  return ok;
}
