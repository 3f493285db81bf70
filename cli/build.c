/* build.c -- from a file and the command's options to an imported, optimised graph. */
#include "cli/program.h"
#include "passes/passes.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_GIVEN = 256, CANDIDATES = 12, MAX_CANDIDATES = 999 };

/* NAME=..., split at the last '='; *value gets what follows. */
static const char *split(Module *module, const char *text, const char **value) {
  const char *equals = strrchr(text, '=');
  if (!equals || equals == text) return NULL;
  *value = equals + 1;
  return arena_printf(module->arena, "%.*s", (int)(equals - text), text);
}

static bool parse_size(const char *text, const char **end, int64_t *size) {
  char *stop;
  errno = 0;
  *size = strtoll(text, &stop, 10);
  *end = stop;
  return stop != text && !errno && *size >= 0;
}

static bool parse_dim(Module *module, const char *text, ImportDim *dim) {
  const char *value, *end;
  dim->name = split(module, text, &value);
  if (dim->name && parse_size(value, &end, &dim->value) && !*end) return true;
  return fail(module, "--dim wants NAME=N, not '%s'", text);
}

/* NAME=1x3x?x224 */
static bool parse_shape(Module *module, const char *text, ImportShape *shape) {
  const char *at;
  *shape = (ImportShape){.input = split(module, text, &at)};
  bool ok = shape->input;
  for (; ok && *at && shape->rank < MAX_RANK; at += *at == 'x') {
    int64_t *size = &shape->dims[shape->rank++];
    if (*at == '?')
      *size = -1, at++;
    else
      ok = parse_size(at, &at, size);
    ok = ok && (*at == '\0' || (*at == 'x' && at[1]));
  }
  return (ok && !*at) || fail(module, "--input-shape wants NAME=AxBxC, not '%s'", text);
}

/* NAME=FILE.tn */
static bool parse_op(Module *module, const char *text, ImportOp *op) {
  op->name = split(module, text, &op->path);
  return (op->name && *op->path) || fail(module, "--op wants NAME=FILE.tn, not '%s'", text);
}

bool build_import(Module *module, const char *path, const Arguments *arguments, const ImportOptions *known) {
  ImportDim dims[MAX_GIVEN];
  ImportShape *shapes = NEW_ARRAY(module->arena, ImportShape, MAX_GIVEN);
  ImportOptions options = *known;
  options.dims = dims;
  options.shapes = shapes;
  for (int i = 0; i < known->shape_count; i++) shapes[i] = known->shapes[i];
  const char *text;
  while (options.dim_count < MAX_GIVEN && (text = option_list(arguments, "dim", options.dim_count)))
    TRY(parse_dim(module, text, &dims[options.dim_count++]));
  for (int i = 0; options.shape_count < MAX_GIVEN && (text = option_list(arguments, "input-shape", i)); i++)
    TRY(parse_shape(module, text, &shapes[options.shape_count++]));
  ImportOp *ops = NEW_ARRAY(module->arena, ImportOp, MAX_GIVEN);
  options.ops = ops;
  while (options.op_count < MAX_GIVEN && (text = option_list(arguments, "op", options.op_count)))
    TRY(parse_op(module, text, &ops[options.op_count++]));
  progress_begin(arguments, "reading", path);
  bool ok = import_model(module, path, &options) && build_states(module, arguments);
  progress_end();
  return ok;
}

bool build_target(Module *module, const Arguments *arguments, Target *target) {
  return target_describe(module, NULL, option_text(arguments, "cpu"), target);
}

static Preference preference(const Arguments *arguments) {
  const char *text = option_text(arguments, "optimize");
  if (!text || strcmp(text, "balanced") == 0) return PREFER_BALANCE;
  return strcmp(text, "speed") == 0 ? PREFER_SPEED : PREFER_SIZE;
}

/* ---- Tuning ---- */

typedef struct TuneTalk {
  const Arguments *arguments;
  Arena *arena;
  Tuned *tuned; /* what was reported, `reported` of them */
  int count, reported, measured, changed;
  double start;
} TuneTalk;

static void tune_report(void *context, const Tuned *tuned) {
  TuneTalk *talk = context;
  bool measured = tuned->best_seconds > 0;
  talk->count = tuned->count;
  if (!talk->tuned) talk->tuned = NEW_ARRAY(talk->arena, Tuned, tuned->count);
  if (talk->reported < tuned->count) talk->tuned[talk->reported++] = *tuned;
  talk->measured += measured;
  talk->changed += strcmp(tuned->predicted, tuned->best) != 0;
  progress_count(tuned->number, tuned->count);
  if (!option_flag(talk->arguments, "verbose")) return;
  fprintf(stderr, "%s: %s", tuned->name, tuned->predicted);
  if (measured) fprintf(stderr, " %.2f us", 1e6 * tuned->predicted_seconds);
  if (tuned->best != tuned->predicted) fprintf(stderr, " -> %s", tuned->best);
  if (measured && tuned->best != tuned->predicted) fprintf(stderr, " %.2f us", 1e6 * tuned->best_seconds);
  fprintf(stderr, "%s\n", measured ? "" : " (known)");
}

static void tune_summary(const TuneTalk *talk) {
  if (option_flag(talk->arguments, "quiet")) return;
  fprintf(stderr, "tuned %d kernels: ", talk->count);
  if (talk->measured)
    fprintf(stderr, "%d measured in %.1f s", talk->measured, seconds_now() - talk->start);
  else
    fprintf(stderr, "none measured");
  fprintf(stderr, ", %d not scheduled as predicted\n", talk->changed);
}

bool emits_onnx(const Arguments *arguments) {
  const Option *option = arguments->verb->options;
  while (option->name && strcmp(option->name, "emit") != 0) option++;
  const char *emit = option->name ? option_text(arguments, "emit") : NULL;
  return emit && strcmp(emit, "onnx") == 0;
}

bool emit_onnx(Module *module, const Arguments *arguments) {
  return onnx_write(module->main, option_text(arguments, "output"), option_flag(arguments, "external-data"));
}

static const Tuning *tuning(Module *module, const Arguments *arguments) {
  if (!option_flag(arguments, "tune")) return NULL;
  Tuning *tuning = NEW(module->arena, Tuning);
  TuneTalk *talk = NEW(module->arena, TuneTalk);
  bool counts = strcmp(arguments->verb->name, "opt") == 0;
  int64_t candidates = counts ? option_count(arguments, "candidates", CANDIDATES) : CANDIDATES;
  *talk = (TuneTalk){.arguments = arguments, .arena = module->arena, .start = seconds_now()};
  *tuning = (Tuning){.candidates = candidates < MAX_CANDIDATES ? (int)candidates : MAX_CANDIDATES,
                     .seconds = option_seconds(arguments, "tune-seconds", 60),
                     .report = tune_report,
                     .context = talk};
  return tuning;
}

PipelineOptions build_pipeline(Module *module, const Arguments *arguments, const Target *target,
                               const Lossy *lossy) {
  const char *precision = option_text(arguments, "precision");
  return (PipelineOptions){
      .pass = {.target = target,
               .executor = codegen_executor(target),
               .preference = preference(arguments),
               .portable = emits_onnx(arguments),
               .strict = precision && strcmp(precision, "strict") == 0,
               .tuning = tuning(module, arguments),
               .quantization = lossy ? lossy->quantization : NULL,
               .pruning = lossy ? lossy->pruning : NULL},
      .tables = pass_tables,
      .passes = option_text(arguments, "passes"),
      .verify = true,
  };
}

int build_tuned(const PipelineOptions *options, const Tuned **tuned) {
  const TuneTalk *talk = options->pass.tuning ? options->pass.tuning->context : NULL;
  *tuned = talk ? talk->tuned : NULL;
  return talk ? talk->reported : 0;
}

bool build_run(Module *module, const Arguments *arguments, const PipelineOptions *options) {
  progress_begin(arguments, "optimising", module->file);
  bool ok = pipeline_run(module->main, options);
  progress_end();
  if (options->pass.quantization)
    samples_free(options->pass.quantization->ledger.samples);
  else if (options->pass.pruning)
    samples_free(options->pass.pruning->ledger.samples);
  if (options->pass.tuning && ok) tune_summary(options->pass.tuning->context);
  return ok;
}

bool build_optimise(Module *module, const Arguments *arguments, const Target *target, const Lossy *lossy) {
  PipelineOptions options = build_pipeline(module, arguments, target, lossy);
  return build_run(module, arguments, &options);
}

const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

char *build_name(Module *module, const char *path) {
  const char *base = base_name(path);
  int length = (int)strcspn(base, ".");
  bool starts_badly = length == 0 || isdigit((unsigned char)*base) || strncmp(base, "tenon", 5) == 0;
  char *name = arena_printf(module->arena, "%s%.*s", starts_badly ? "model_" : "", length, base);
  for (char *c = name; *c; c++)
    if (!isalnum((unsigned char)*c) || (unsigned char)*c > 126) *c = '_';
  return name;
}
