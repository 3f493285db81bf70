/*
 * wrapper.c -- layers around others: TimeDistributed, SpectralNormalization, Pipeline.
 */
#include "frontend/keras/keras.h"

/* The layer for every step: batch and steps are one axis to it. */
static Value *time_distributed(Call *call) {
  Module *module = call->import->module;
  Value *x = call->inputs[0];
  const Dim *dims[MAX_RANK];
  if (x->type->rank < 2) return call_null(call, "its input has %d axes", x->type->rank);
  const Dim *batch = x->type->dims[0], *steps = x->type->dims[1];
  dims[0] = dim_mul(module, batch, steps);
  for (int i = 2; i < x->type->rank; i++) dims[i - 1] = x->type->dims[i];
  Masked y, joined = {make_reshape(call, x, x->type->rank - 1, dims), NULL};
  if (!call_part(call, &call->layer->parts[0], joined, &y)) return NULL;
  if (call->more_count) return call_null(call, "around a layer of several outputs it is not supported");
  dims[0] = batch;
  dims[1] = steps;
  for (int i = 1; i < y.value->type->rank; i++) dims[i + 1] = y.value->type->dims[i];
  return make_reshape(call, y.value, y.value->type->rank + 1, dims);
}

/* The kernel in the file is normalised already. */
static Value *spectral_norm(Call *call) {
  Masked y;
  if (!call_part(call, &call->layer->parts[0], (Masked){call->inputs[0], call->masks[0]}, &y)) return NULL;
  call->mask = y.mask;
  return y.value;
}

/* One after the other. */
static Value *pipeline(Call *call) {
  Masked x = {call->inputs[0], call->masks[0]};
  for (int i = 0; i < call->layer->part_count; i++)
    if (!call_part(call, &call->layer->parts[i], x, &x)) return NULL;
  call->mask = x.mask;
  return x.value;
}

const LayerKind wrapper_layers[] = {
    {"Pipeline", pipeline, 1, 1, "@layers", MASK_OWN},
    {"SpectralNormalization", spectral_norm, 1, 1, "~vector_u @layer", MASK_OWN},
    {"TimeDistributed", time_distributed, 1, 1, "@layer", MASK_PASSES},
    {0},
};
