/*
 * calibrate.c -- what the samples say of a plan's values, and the integers that follow.
 *
 * The compiled graph runs twice over the samples: first the ranges of the activations are found, then the
 * means of their channels before and after rounding, from which the weights' rounding knows what each weight
 * matters, and the bias what it has to make up for.
 */
#include "passes/quantize.h"
#include "passes/rewrite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Calibration {
  Plan *plan;
  Observer observer;
  Tensor *seen; /* outputs, then activations */
} Calibration;

/* ---- ranges ---- */

static bool check_finite(const Plan *plan, const Activation *activation, const Tensor *tensor, int sample) {
  const float *x = tensor->data;
  for (int64_t i = 0, count = tensor_count(tensor); i < count; i++)
    if (!isfinite(x[i]))
      return fail(
          plan->graph->module,
          "calibration: what '%s' reads is %s at element %lld in sample %d: integers cannot stand for "
          "it; leave such samples out",
          plan->layers[activation->layer].row->name, isnan(x[i]) ? "NaN" : "infinite", (long long)i, sample);
  return true;
}

static bool see_range(Calibration *c, int sample) {
  Plan *plan = c->plan;
  for (int i = 0; i < plan->activation_count; i++) {
    const Tensor *tensor = &c->seen[plan->observed.output_count + i];
    TRY(check_finite(plan, &plan->activations[i], tensor, sample));
    histogram_add(&plan->activations[i].seen, tensor->data, tensor_count(tensor));
  }
  return true;
}

/* Whether biases can take in what is added to all of it: nothing but layers with such reads it. */
static bool can_be_off(const Plan *plan, const Value *x) {
  if (!(plan->quantization->recovery & RECOVER_BIAS)) return false;
  FOR_EACH_USE(use, x) {
    int i = 0;
    while (i < plan->layer_count && plan->layers[i].node != use->node) i++;
    if (i == plan->layer_count || use != &use->node->operands[0] ||
        !layer_takes_bias(&plan->layers[i], operand(use->node, 2)))
      return false;
  }
  return true;
}

static void choose_range(const Plan *plan, Activation *x) {
  if (affine_find(&x->seen, 0, UINT8_MAX, &x->affine, &x->offset) &&
      (x->offset == 0 || can_be_off(plan, x->value)))
    return;
  x->offset = 0;
  x->affine = affine_fit(&x->seen, plan->quantization->range, 0, UINT8_MAX, false);
}

static void choose_ranges(Plan *plan) {
  for (int i = 0; i < plan->activation_count; i++) choose_range(plan, &plan->activations[i]);
}

/* ---- means ---- */

/* Elements behind one of the channels. */
static int64_t behind_channel(const Plan *plan, const Activation *activation, const Tensor *tensor) {
  const Node *node = plan->layers[activation->layer].node;
  int64_t count = 1;
  if (!node_is(node, &op_conv)) return 1;
  for (int i = node_window(node).channel_axis + 1; i < tensor->rank; i++) count *= tensor->dims[i];
  return count;
}

static void see_means(Calibration *c, int index) {
  Activation *activation = &c->plan->activations[index];
  const Tensor *tensor = &c->seen[c->plan->observed.output_count + index];
  int64_t channels = activation->channels, behind = behind_channel(c->plan, activation, tensor);
  const float *x = tensor->data;
  if (!activation->is_read || channels <= 0 || behind <= 0) return;
  for (int64_t i = 0, count = tensor_count(tensor); i < count; i += behind) {
    int64_t channel = i / behind % channels;
    float *most = &activation->absmax[channel];
    for (int64_t j = i; j < i + behind; j++) {
      activation->mean[channel] += x[j];
      activation->rounded[channel] +=
          affine_value(&activation->affine, affine_round(&activation->affine, x[j] - activation->offset));
      if (fabsf(x[j]) > *most) *most = fabsf(x[j]);
      activation->squares[channel] += (double)x[j] * x[j];
    }
  }
  activation->count += tensor_count(tensor) / channels;
}

static void finish_means(Calibration *c) {
  for (int i = 0; i < c->plan->activation_count; i++) {
    Activation *activation = &c->plan->activations[i];
    for (int64_t channel = 0; activation->count && channel < activation->channels; channel++) {
      activation->mean[channel] /= (double)activation->count;
      activation->rounded[channel] /= (double)activation->count;
      activation->squares[channel] /= (double)activation->count;
    }
  }
}

/* ---- the runs ---- */

static Calibration begin(Plan *plan) {
  Arena *arena = plan->graph->module->arena;
  Calibration c = {.plan = plan,
                   .seen = NEW_ARRAY(arena, Tensor, plan->observed.output_count + plan->observed.seen_count)};
  for (int i = 0; i < plan->activation_count; i++) {
    Activation *activation = &plan->activations[i];
    activation->mean = NEW_ARRAY(arena, double, activation->channels);
    activation->rounded = NEW_ARRAY(arena, double, activation->channels);
    activation->absmax = NEW_ARRAY(arena, float, activation->channels);
    activation->squares = NEW_ARRAY(arena, double, activation->channels);
  }
  return c;
}

static void free_seen(Calibration *c) {
  for (int i = 0; i < c->plan->observed.output_count + c->plan->observed.seen_count; i++)
    tensor_free(&c->seen[i]);
}

static bool run_sample(Calibration *c, int sample, bool ranges) {
  const Samples *samples = c->plan->ledger->samples;
  TRY(observer_run(&c->plan->observed, &samples->tensors[sample * samples->input_count], c->seen));
  bool ok = !ranges || see_range(c, sample);
  for (int i = 0; !ranges && i < c->plan->activation_count; i++) see_means(c, i);
  free_seen(c);
  return ok;
}

static bool run_samples(Calibration *c) {
  int count = c->plan->ledger->samples->count;
  for (int i = 0; i < 2 * count; i++) {
    plan_report(c->plan, "calibrating", i, 2 * count);
    if (i == count) choose_ranges(c->plan);
    TRY(run_sample(c, i % count, i < count));
  }
  finish_means(c);
  return true;
}

bool plan_calibrate(Plan *plan) {
  Calibration c = begin(plan);
  return run_samples(&c);
}
