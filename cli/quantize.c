/* quantize.c -- --quantize: what passes are told. */
#include "cli/program.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- What is asked for ---- */

static int choice_number(const char *text, const char *const *words, int otherwise) {
  for (int i = 0; text && words[i]; i++)
    if (strcmp(text, words[i]) == 0) return i;
  return otherwise;
}

/* "1%" or "0.01"; -1: not given. */
static bool read_drop(Module *module, const Arguments *arguments, double *drop) {
  const char *text = option_text(arguments, "max-drop");
  char *end;
  *drop = -1;
  if (!text) return true;
  *drop = strtod(text, &end);
  if (*end == '%') *drop /= 100, end++;
  bool ok = end > text && !*end && *drop >= 0 && *drop < 1;
  return ok || fail(module, "--max-drop wants a share such as 1%% or 0.01, not '%s'", text);
}

/* Sizes that are open are 1. */
static bool random_tensor(Module *module, const Value *input, uint64_t *state, Tensor *tensor) {
  const Type *type = input->type;
  int64_t dims[MAX_RANK];
  if (!type_is_tensor(type) || type->dtype == DTYPE_STRING)
    return fail(module, "input '%s' cannot be made up: give samples with --calib", input->name);
  for (int i = 0; i < type->rank; i++) dims[i] = dim_is_const(type->dims[i]) ? type->dims[i]->value : 1;
  if (!tensor_new(tensor, type->dtype, type->rank, dims)) return fail(module, "no memory for samples");
  tensor_random(tensor, state);
  return true;
}

static bool random_samples(Module *module, Samples *samples) {
  enum { COUNT = 8 };
  const Graph *graph = module->main;
  uint64_t state = 1;
  *samples = (Samples){.count = COUNT, .input_count = graph->input_count};
  samples->tensors = NEW_ARRAY(module->arena, Tensor, COUNT * graph->input_count);
  for (int i = 0; i < COUNT * graph->input_count; i++)
    TRY(random_tensor(module, graph->inputs[i % graph->input_count], &state, &samples->tensors[i]));
  return true;
}

static bool warn_random(const Quantization *q) {
  if (q->precision == PRECISION_INT8)
    fprintf(stderr,
            "warning: no --calib: ranges come from %d random inputs, and the results will be bad. Give "
            "data like that of use.\n",
            q->ledger.samples->count);
  else
    fprintf(stderr, "note: no --calib: compared on %d random inputs\n", q->ledger.samples->count);
  return true;
}

/* Ranges want more than a few. */
static void warn_few(const Quantization *q) {
  enum { FEW = 8 };
  int count = q->ledger.samples->count;
  if (q->precision == PRECISION_INT8 && count < FEW)
    fprintf(stderr,
            "warning: ranges come from %d sample%s: what is outside them will be cut off. Give more with "
            "--calib, 64 to 128 will do.\n",
            count, count == 1 ? "" : "s");
}

static void show_progress(void *context, const char *what, int done, int count) {
  (void)context;
  (void)what;
  progress_count(done, count);
}

/* "bias,gptq" */
static bool read_recovery(Module *module, const Arguments *arguments, unsigned *recovery) {
  static const char *const words[] = {"bias", "equalize", "gptq"};
  const char *text = option_text(arguments, "recover");
  *recovery = RECOVER_BIAS;
  if (!text) return true;
  for (*recovery = 0; *text;) {
    size_t length = strcspn(text, ",");
    int i = 0;
    while (i < COUNT_OF(words) && !(strlen(words[i]) == length && strncmp(text, words[i], length) == 0)) i++;
    if (i == COUNT_OF(words) && !(length == 4 && strncmp(text, "none", 4) == 0))
      return fail(module,
                  "--recover wants none or some of bias, equalize, gptq with commas between, not '%.*s'",
                  (int)length, text);
    *recovery |= i < COUNT_OF(words) ? 1u << i : 0;
    text += length + (text[length] == ',');
  }
  return true;
}

static bool is_same(const Tensor *a, const Tensor *b) {
  return tensor_size(a) == tensor_size(b) &&
         (a->dtype == DTYPE_STRING || !memcmp(a->data, b->data, tensor_size(a)));
}

/* An array that has been repeated or never been filled says little. */
static void warn_same(const Samples *samples) {
  int same = 1, inputs = samples->input_count;
  for (int i = inputs;
       i < samples->count * inputs && is_same(&samples->tensors[i], &samples->tensors[i % inputs]); i++)
    same = i / inputs + 1;
  if (samples->count > 1 && same == samples->count)
    fprintf(stderr, "warning: all %d samples are the same: that is as good as one of them\n", samples->count);
}

bool build_ledger(Module *module, const Arguments *arguments, Ledger *ledger, bool *is_random) {
  ledger->times_decide = option_flag(arguments, "tune");
  ledger->samples = NEW(module->arena, Samples);
  ledger->progress = show_progress;
  TRY(read_drop(module, arguments, &ledger->max_drop));
  ledger->asks_drop = ledger->max_drop >= 0;
  TRY(samples_from_options(module, arguments, ledger->samples));
  warn_same(ledger->samples);
  *is_random = ledger->samples->count == 0;
  return !*is_random || random_samples(module, ledger->samples);
}

/* Of a part of the outputs int8 may lose so much, as errors; random samples do not say. */
static const double DROP_BY_DEFAULT = 0.1;

/* With samples; without, biases alone make up for something. */
static unsigned recovery_by_default(Precision precision) {
  if (precision == PRECISION_INT8) return RECOVER_BIAS | RECOVER_EQUALIZE | RECOVER_GPTQ;
  return precision == PRECISION_W4 ? RECOVER_BIAS | RECOVER_GPTQ : RECOVER_BIAS;
}

static bool read_quantization(Module *module, const Arguments *arguments, Quantization *q) {
  bool is_random;
  TRY(read_recovery(module, arguments, &q->recovery));
  TRY(build_ledger(module, arguments, &q->ledger, &is_random));
  if (is_random) return warn_random(q);
  warn_few(q);
  if (!q->ledger.asks_drop && q->precision == PRECISION_INT8) q->ledger.max_drop = DROP_BY_DEFAULT;
  q->recovery |= option_text(arguments, "recover") ? 0 : recovery_by_default(q->precision);
  return true;
}

bool build_quantization(Module *module, const Arguments *arguments, Quantization **quantization) {
  static const char *const ranges[] = {"minmax", "percentile", "mse", "entropy", NULL};
  static const char *const precisions[] = {"int8", "bf16", "dynamic", "w8", "w4", NULL};
  static const Precision numbers[] = {PRECISION_INT8, PRECISION_BF16, PRECISION_DYNAMIC, PRECISION_W8,
                                      PRECISION_W4};
  const char *precision = option_text(arguments, "quantize");
  *quantization = NULL;
  if (!precision) return true;
  Quantization *q = NEW(module->arena, Quantization);
  q->precision = numbers[choice_number(precision, precisions, 0)];
  q->range = (RangeMethod)choice_number(option_text(arguments, "range"), ranges, RANGE_MSE);
  q->group = (int)option_count(arguments, "group", 32);
  *quantization = q;
  if (read_quantization(module, arguments, q)) return true;
  if (q->ledger.samples) samples_free(q->ledger.samples);
  return false;
}
