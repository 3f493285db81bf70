/*
 * likeness.c -- how near a plan's outputs are to the original's.
 *
 * Outputs speak of different things: boxes in pixels, scores between 0 and 1, side by side in one tensor.
 * What a concat puts together is therefore told apart again: noise of a part is compared with the signal of
 * the same part, or what has the largest numbers would be all that counts.
 */
#include "passes/quantize.h"

#include <float.h>
#include <math.h>

/* ---- parts ---- */

/* The concat that an output is, of parts of constant sizes; NULL: it is none. */
static const Node *concat_of(const Value *output) {
  const Node *node = output->def;
  if (!node || !node_is(node, &op_concat) || node->operand_count == 0) return NULL;
  int axis = (int)node_axis(node, "axis", output->type->rank);
  for (int i = 0; i < node->operand_count; i++)
    if (!dim_is_const(operand(node, i)->type->dims[axis])) return NULL;
  return node;
}

void plan_find_parts(Plan *plan) {
  const Graph *graph = plan->graph;
  int most = 0;
  for (int i = 0; i < graph->output_count; i++) {
    const Node *concat = concat_of(graph_output(graph, i));
    most += concat ? concat->operand_count : 1;
  }
  plan->parts = NEW_ARRAY(graph->module->arena, Part, most);
  plan->part_count = 0;
  for (int i = 0; i < graph->output_count; i++) {
    const Value *output = graph_output(graph, i);
    const Node *concat = concat_of(output);
    if (!dtype_is_float(output->type->dtype)) continue;
    if (!concat) plan->parts[plan->part_count++] = (Part){.output = i};
    int axis = concat ? (int)node_axis(concat, "axis", output->type->rank) : 0;
    for (int64_t k = 0, first = 0, count; concat && k < concat->operand_count; k++, first += count) {
      count = operand(concat, (int)k)->type->dims[axis]->value;
      if (count > 0) plan->parts[plan->part_count++] = (Part){i, axis, first, count};
    }
  }
}

double number_at(const Tensor *tensor, int64_t i) {
  return tensor->dtype == DTYPE_F32 ? ((const float *)tensor->data)[i]
                                    : dtype_get(tensor->dtype, tensor->data, i);
}

static void add_part(Noise *noise, const Part *part, const Tensor *a, const Tensor *b) {
  int64_t all = tensor_count(a), first = 0, count = all, stride = all;
  if (part->count) {
    int64_t inner = 1;
    for (int i = part->axis + 1; i < a->rank; i++) inner *= a->dims[i];
    first = part->first * inner, count = part->count * inner, stride = a->dims[part->axis] * inner;
  }
  for (; first < all; first += stride)
    for (int64_t i = first; i < first + count; i++) {
      double x = number_at(a, i), error = number_at(b, i) - x;
      noise->signal += x * x;
      noise->noise += error * error;
    }
}

void noises_add(const Plan *plan, Noise *noises, const Tensor *a, const Tensor *b) {
  for (int p = 0; p < plan->part_count; p++) {
    int output = plan->parts[p].output;
    add_part(&noises[p], &plan->parts[p], &a[output], &b[output]);
  }
}

double noise_share(const Noise *noise) {
  return noise->noise > 0 ? noise->noise / (noise->signal + DBL_MIN) : 0;
}

/* In the mean of the parts that have noise. */
static double decibels(const Noise *noises, int count) {
  double sum = 0;
  int noisy = 0;
  for (int p = 0; p < count; p++) {
    double share = noise_share(&noises[p]);
    sum -= share > 0 ? 10 * log10(share) : 0;
    noisy += share > 0;
  }
  return noisy ? sum / noisy : INFINITY;
}

/* Of the part that is off most. */
static double relative_error(const Noise *noises, int count) {
  double most = 0;
  for (int p = 0; p < count; p++) most = fmax(most, noise_share(&noises[p]));
  return fmin(sqrt(most), 1);
}

/* ---- classes ---- */

static bool has_classes(const Value *output) {
  const Type *type = output->type;
  const Node *def = output->def;
  if (type->dtype != DTYPE_F32 || type->rank < 1 || dim_is(type->dims[type->rank - 1], 1)) return false;
  return type->rank <= 2 ||
         (def && node_is(def, &op_softmax) && node_axis(def, "axis", type->rank) == type->rank - 1);
}

static int64_t largest(const Tensor *tensor, int64_t row, int64_t classes) {
  const float *x = (const float *)tensor->data + row * classes;
  int64_t best = 0;
  for (int64_t i = 1; i < classes; i++)
    if (x[i] > x[best]) best = i;
  return best;
}

typedef struct Tally {
  int64_t rows, right[2]; /* before, after */
  Noise *noises;
} Tally;

static void tally_classes(Tally *tally, const Pair *pair, int sample) {
  const Samples *samples = pair->plan->ledger->samples;
  const Tensor *a = pair->a, *b = pair->b;
  int64_t classes = a->dims[a->rank - 1], rows = classes ? tensor_count(a) / classes : 0;
  for (int64_t row = 0; row < rows; row++) {
    int64_t first = largest(a, row, classes), second = largest(b, row, classes);
    tally->right[0] += !samples->labels || samples->labels[sample] == first;
    tally->right[1] += (samples->labels ? samples->labels[sample] : first) == second;
  }
  tally->rows += rows;
}

/* Whether the labels, if there are some, are classes of the first output. */
static bool check_labels(const Plan *plan) {
  Graph *graph = plan->graph;
  const Samples *samples = plan->ledger->samples;
  const Type *type = graph_output(graph, 0)->type;
  if (!samples->labels) return true;
  if (type->dtype != DTYPE_F32 || type->rank < 1)
    return fail(graph->module, "labels want an output with a number for each class, but '%s' is %s",
                graph->output_names[0], type_text(graph->module, type));
  const Dim *classes = type->dims[type->rank - 1];
  for (int i = 0; i < samples->count; i++)
    if (samples->labels[i] < 0 || (dim_is_const(classes) && samples->labels[i] >= classes->value))
      return fail(graph->module, "the label of sample %d is %lld, but '%s' is %s: classes count from 0", i,
                  (long long)samples->labels[i], graph->output_names[0], type_text(graph->module, type));
  return true;
}

static Likeness likeness_of(const Plan *plan) {
  if (plan->ledger->samples->labels) return LIKE_LABELS;
  return has_classes(graph_output(plan->graph, 0)) ? LIKE_CLASSES : LIKE_ERROR;
}

bool plan_evaluate(Plan *plan) {
  TRY(check_labels(plan));
  Ledger *ledger = plan->ledger;
  int count = ledger->sample_count = ledger->samples->count;
  Tally tally = {.noises = NEW_ARRAY(plan->graph->module->arena, Noise, plan->part_count)};
  Pair pair;
  ledger->likeness = likeness_of(plan);
  bool ok = pair_open(&pair, plan);
  for (int i = 0; ok && i < count; i++) {
    plan_report(plan, "comparing outputs", i, count);
    ok = pair_run(&pair, i);
    if (ok) noises_add(plan, tally.noises, pair.a, pair.b);
    if (ok && ledger->likeness != LIKE_ERROR) tally_classes(&tally, &pair, i);
    pair_forget(&pair);
  }
  observer_close(&pair.planned);
  bool by_error = ledger->likeness == LIKE_ERROR;
  ledger->before = by_error ? 1 : (double)tally.right[0] / (double)tally.rows;
  ledger->after = by_error ? 1 - relative_error(tally.noises, plan->part_count)
                           : (double)tally.right[1] / (double)tally.rows;
  ledger->sqnr = decibels(tally.noises, plan->part_count);
  return ok;
}
