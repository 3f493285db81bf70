/*
 * conv_lstm.c -- ConvLSTM1D to ConvLSTM3D (Shi et al. 2015): an LSTM whose products are convolutions.
 *
 * The convolutions of the input run for all steps at once, as one batch; those of the state, always with
 * padding `same`, step by step. The steps are written out, so their number must be fixed. Gates lie in the
 * order i, f, c, o along the channels. At a step that does not count the state stays.
 */
#include "frontend/keras/layers/recurrent.h"
#include <string.h>

enum { MAX_STEPS = 1024 };

typedef struct ConvLstm {
  Call *call;
  Windows windows;
  int spatial;
  int64_t filters;
  Value *x;        /* the convolved input, [batch, steps, spatial.., 4 filters] */
  Value *kernel_h; /* [spatial.., filters, 4 filters] */
  Value *h, *c;
} ConvLstm;

static Value *convolve(ConvLstm *l, Value *x, Value *kernel, Value *bias, const int64_t *strides,
                       const int64_t *dilations, const int64_t *pads) {
  if (!x || !kernel) return NULL;
  Node *node = node_new(l->call->builder, &op_conv, (Value *[]){x, kernel, bias}, bias ? 3 : 2);
  node_set_string(node, "layout", "nhwc");
  node_set_ints(node, "strides", strides, l->spatial);
  node_set_ints(node, "dilations", dilations, l->spatial);
  node_set_ints(node, "pads", pads, 2 * l->spatial);
  return make(node);
}

/* [batch, steps, ..] as [batch * steps, ..]. */
static Value *join_steps(Call *call, Value *x) {
  const Dim *dims[MAX_RANK];
  if (!x) return NULL;
  dims[0] = dim_mul(call->import->module, x->type->dims[0], x->type->dims[1]);
  for (int i = 2; i < x->type->rank; i++) dims[i - 1] = x->type->dims[i];
  return make_reshape(call, x, x->type->rank - 1, dims);
}

static Value *split_steps(Call *call, Value *x, const Type *of) {
  const Dim *dims[MAX_RANK];
  if (!x) return NULL;
  dims[0] = of->dims[0];
  dims[1] = of->dims[1];
  for (int i = 1; i < x->type->rank; i++) dims[i + 1] = x->type->dims[i];
  return make_reshape(call, x, x->type->rank + 1, dims);
}

static bool convolve_input(ConvLstm *l, Value *x) {
  Call *call = l->call;
  int64_t dims[5], pads[6], size = 4 * l->filters;
  Value *steps = call_to_nhwc(call, join_steps(call, x));
  steps = steps ? call_pads(call, steps, &l->windows, 0, pads) : NULL;
  TRY(steps);
  memcpy(dims, l->windows.kernel, sizeof l->windows.kernel);
  dims[l->spatial] = -1;
  dims[l->spatial + 1] = size;
  Value *kernel = call_weight(call, "cell/kernel", x, l->spatial + 2, dims);
  bool has_bias = call_has_weight(call, "cell/bias");
  Value *bias = has_bias ? call_weight(call, "cell/bias", x, 1, &size) : NULL;
  dims[l->spatial] = l->filters;
  l->kernel_h = call_weight(call, "cell/recurrent_kernel", x, l->spatial + 2, dims);
  if (!kernel || !l->kernel_h || (has_bias && !bias)) return false;
  l->x = split_steps(call, convolve(l, steps, kernel, bias, l->windows.strides, l->windows.dilations, pads),
                     x->type);
  return l->x != NULL;
}

static Value *activate(ConvLstm *l, const char *member, const char *otherwise, Value *x) {
  double alpha, beta;
  const Op *op = x ? call_activation_op(l->call, member, otherwise, &alpha, &beta) : NULL;
  if (!op) return NULL;
  Node *node = node_new(l->call->builder, op, &x, 1);
  if (op_attr_index(op, "alpha") >= 0) node_set_float(node, "alpha", alpha);
  if (op_attr_index(op, "beta") >= 0) node_set_float(node, "beta", beta);
  return make(node);
}

static Value *gate(ConvLstm *l, Value *sums, int number) {
  Value *part = make_part(l->call, sums, l->spatial + 1, number * l->filters, l->filters);
  return number == 2 ? activate(l, "activation", "tanh", part)
                     : activate(l, "recurrent_activation", "hard_sigmoid", part);
}

/* The sums of a step: the input's and the state's, which is convolved without strides or dilations. */
static Value *step_sums(ConvLstm *l, int64_t step) {
  static const int64_t ones[] = {1, 1, 1};
  int64_t pads[6];
  for (int i = 0; i < l->spatial; i++) {
    pads[i] = (l->windows.kernel[i] - 1) / 2;
    pads[l->spatial + i] = l->windows.kernel[i] / 2;
  }
  Value *x = make_squeeze(l->call, make_part(l->call, l->x, 1, step, 1), 1);
  if (!l->h) return x;
  return make_binary(l->call, &op_add, x, convolve(l, l->h, l->kernel_h, NULL, ones, ones, pads));
}

/* mask [batch, steps]: where it is false, the old value. */
static Value *hold(ConvLstm *l, Value *mask, int64_t step, Value *now, Value *before) {
  if (!mask || !now) return now;
  Value *counts = make_part(l->call, mask, 1, step, 1);
  while (counts && counts->type->rank < now->type->rank)
    counts = make_unsqueeze(l->call, counts, counts->type->rank);
  return make_where(l->call, counts, now,
                    before ? before : build_scalar(l->call->builder, now->type->dtype, 0));
}

static bool run_step(ConvLstm *l, int64_t step, Value *mask) {
  Call *call = l->call;
  Value *sums = step_sums(l, step);
  if (!sums) return false;
  Value *c = make_binary(call, &op_mul, gate(l, sums, 0), gate(l, sums, 2));
  if (l->c) c = make_binary(call, &op_add, c, make_binary(call, &op_mul, gate(l, sums, 1), l->c));
  Value *h = make_binary(call, &op_mul, gate(l, sums, 3), activate(l, "activation", "tanh", c));
  l->c = hold(l, mask, step, c, l->c);
  l->h = hold(l, mask, step, h, l->h);
  return l->c && l->h;
}

static bool read_conv_lstm(ConvLstm *l, Value *x) {
  Call *call = l->call;
  l->spatial = l->windows.spatial = call_spatial(call);
  if (x->type->rank != l->spatial + 3)
    return call_fail(call, "its input has %d axes, not %d", x->type->rank, l->spatial + 3);
  const Dim *steps = x->type->dims[1];
  if (!dim_is_const(steps) || steps->value > MAX_STEPS)
    return call_fail(call, "it runs over %s steps; a fixed number, at most %d, is needed: give --input-shape",
                     dim_text(call->import->module, steps), MAX_STEPS);
  TRY(call_int(call, "filters", 0, &l->filters));
  if (l->filters < 1 || l->filters > INT32_MAX / 4) return call_fail(call, "'filters' makes no sense");
  return call_ints(call, "kernel_size", l->spatial, 1, 1, l->windows.kernel) &&
         call_ints(call, "strides", l->spatial, 1, 1, l->windows.strides) &&
         call_ints(call, "dilation_rate", l->spatial, 1, 1, l->windows.dilations);
}

/* h and c: given, kept, or 0, which is NULL. In the graph they lie as the channels do there. */
static bool start_conv_states(ConvLstm *l, Value *kept[2]) {
  static const char *const names[] = {"h", "c"};
  Call *call = l->call;
  const Dim *dims[MAX_RANK];
  Value *states[2] = {NULL, NULL};
  TRY(recurrent_initial(call, states, 2));
  int rank = l->spatial + 2;
  dims[0] = l->x->type->dims[0];
  for (int i = 1; i < rank; i++) dims[i] = l->x->type->dims[i + 1];
  dims[rank - 1] = dim_const(call->import->module, l->filters);
  for (int i = 0; i < 2; i++) {
    if (states[i]) TRY(states[i] = call_to_nhwc(call, states[i]));
    if (states[i] || !json_flag(call->config, "stateful", false)) continue;
    kept[i] = recurrent_keep(call, names[i], type_make(call->import->module, l->x->type->dtype, rank, dims));
    TRY(states[i] = kept[i]);
  }
  l->h = states[0];
  l->c = states[1];
  return true;
}

bool conv_lstm_run(Call *call, bool backwards, Recurrent *r) {
  ConvLstm l = {.call = call};
  Value *x = call_float_input(call, 0), *kept[2] = {NULL, NULL}, *mask = call->masks[0];
  TRY(x && read_conv_lstm(&l, x) && convolve_input(&l, x) && start_conv_states(&l, kept));
  int64_t steps = x->type->dims[1]->value;
  Value **made = NEW_ARRAY(call->import->module->arena, Value *, steps), *output = NULL;
  for (int64_t i = 0; i < steps; i++) {
    int64_t step = backwards ? steps - 1 - i : i;
    TRY(run_step(&l, step, mask));
    output = mask ? hold(&l, mask, step, l.h,
                         json_flag(call->config, "zero_output_for_mask", false) ? NULL : output)
                  : l.h;
    made[step] = r->wants_all ? make_unsqueeze(call, call_from_nhwc(call, output), 1) : NULL;
  }
  for (int i = 0; i < 2; i++) recurrent_keep_after(call, kept[i], i ? l.c : l.h);
  r->last = call_from_nhwc(call, output);
  r->y = r->wants_all ? make_concat(call, made, (int)steps, 1) : NULL;
  r->states = NEW_ARRAY(call->import->module->arena, Value *, 2);
  r->states[r->state_count++] = call_from_nhwc(call, l.h);
  r->states[r->state_count++] = call_from_nhwc(call, l.c);
  return r->last && (r->y || !r->wants_all) && r->states[0] && r->states[1];
}

#define WEIGHTS "cell/kernel cell/recurrent_kernel cell/bias?use_bias"

const LayerKind conv_lstm_layers[] = {
    {"ConvLSTM1D", recurrent, 1, 0, WEIGHTS, MASK_OWN},
    {"ConvLSTM2D", recurrent, 1, 0, WEIGHTS, MASK_OWN},
    {"ConvLSTM3D", recurrent, 1, 0, WEIGHTS, MASK_OWN},
    {0},
};
