/*
 * build.c -- calls the layers of a Keras model in order, and import_keras.
 *
 * A Functional model is walked from its outputs with an explicit stack, so that neither the order nor the
 * depth of a hostile configuration matters. What no output needs is not built. Nested models can multiply
 * their calls (a model that calls a model twice that calls a model twice ...), so calls have a budget.
 */
#include "frontend/keras/keras.h"
#include <string.h>

enum { MAX_CALLS = 100000 };
static const int64_t max_elements = (int64_t)1 << 36;

/* ---- one call ---- */

static bool spend_call(Import *import) {
  return ++import->calls <= MAX_CALLS ||
         fail(import->module, "the model calls its layers more than %d times", MAX_CALLS);
}

static bool check_input_count(const Call *call) {
  const LayerKind *kind = call->layer->kind;
  if (call->input_count < kind->min_inputs || (kind->max_inputs && call->input_count > kind->max_inputs))
    return call_fail(call, "it is called with %d inputs", call->input_count);
  return true;
}

/* Every layer may enlarge what it gets; nothing sensible has tensors of hundreds of gigabytes. */
static bool check_size(const Call *call, const Value *value) {
  int64_t count = type_is_static(value->type) ? type_static_count(value->type) : 0;
  if (count >= 0 && count <= max_elements) return true;
  return call_fail(call, "its result %s has more than 2^36 elements",
                   type_text(call->import->module, value->type));
}

static bool call_layer(Import *import, Layer *layer, Value *const *inputs, int input_count, Value ***results,
                       int *count) {
  TRY(spend_call(import));
  if (layer->nested) return model_build(import, layer->nested, inputs, input_count, results, count);
  import->builder.origin = layer->name;
  Call call = {import, &import->builder, layer, layer->config, input_count, inputs};
  TRY(check_input_count(&call));
  Value *value = layer->kind->build(&call);
  if (!value || !check_size(&call, value)) return false;
  if (!value->name && value->def) value_set_name(value, layer->name);
  *results = NEW_ARRAY(import->module->arena, Value *, 1);
  (*results)[0] = value;
  *count = 1;
  return true;
}

static bool build_sequential(Import *import, KerasModel *model, Value *const *inputs, int count,
                             Value ***outputs, int *output_count) {
  if (count != 1)
    return fail(import->module, "the Sequential model '%s' is called with %d inputs", model->name, count);
  *outputs = NEW_ARRAY(import->module->arena, Value *, 1);
  (*outputs)[0] = inputs[0];
  *output_count = 1;
  for (int i = 0; i < model->layer_count; i++) {
    if (layer_is_input(&model->layers[i])) continue;
    TRY(call_layer(import, &model->layers[i], *outputs, 1, outputs, output_count));
  }
  return true;
}

/* ---- Functional ---- */

typedef struct Result {
  enum { UNTOUCHED, WAITING, DONE } state;
  Value **values;
  int count;
} Result;

typedef struct Walk {
  Import *import;
  KerasModel *model;
  Result *results; /* one per call of the model */
  int *stack, top, room;
} Walk;

/* The number of the call that a reference means; -1 with a Diag. */
static int call_of(const Walk *walk, const TensorRef *ref) {
  int layer = model_find_layer(walk->model, ref->layer);
  if (layer < 0)
    return fail(walk->import->module, "an input refers to layer '%s', which does not exist", ref->layer), -1;
  const Layer *found = &walk->model->layers[layer];
  if (ref->call < 0 || ref->call >= found->call_count)
    return fail(walk->import->module, "an input refers to call %lld of layer '%s', which has %d",
                (long long)ref->call, ref->layer, found->call_count),
           -1;
  return found->first_call + (int)ref->call;
}

static void push(Walk *walk, int call) {
  if (walk->top == walk->room) {
    walk->room = walk->room ? 2 * walk->room : 64;
    int *larger = NEW_ARRAY(walk->import->module->arena, int, walk->room);
    if (walk->top) memcpy(larger, walk->stack, (size_t)walk->top * sizeof *larger);
    walk->stack = larger;
  }
  walk->stack[walk->top++] = call;
}

static bool push_inputs(Walk *walk, const LayerCall *call) {
  const Layer *layer = &walk->model->layers[call->layer];
  if (layer_is_input(layer))
    return fail(walk->import->module, "InputLayer '%s' is not among the model's inputs", layer->name);
  for (int i = call->ref_count - 1; i >= 0; i--) {
    int from = call_of(walk, &call->refs[i]);
    if (from < 0) return false;
    if (walk->results[from].state == WAITING)
      return fail(walk->import->module, "the layers form a cycle through '%s'", layer->name);
    if (walk->results[from].state == UNTOUCHED) push(walk, from);
  }
  return true;
}

static Value *value_of(const Walk *walk, const TensorRef *ref) {
  int call = call_of(walk, ref);
  if (call < 0) return NULL;
  const Result *result = &walk->results[call];
  if (ref->tensor < 0 || ref->tensor >= result->count)
    return fail(walk->import->module, "layer '%s' has no output %lld", ref->layer, (long long)ref->tensor),
           NULL;
  return result->values[ref->tensor];
}

static bool finish_call(Walk *walk, int number) {
  const LayerCall *call = &walk->model->calls[number];
  Value **inputs = NEW_ARRAY(walk->import->module->arena, Value *, call->ref_count);
  for (int i = 0; i < call->ref_count; i++) {
    inputs[i] = value_of(walk, &call->refs[i]);
    if (!inputs[i]) return false;
  }
  Result *result = &walk->results[number];
  result->state = DONE;
  return call_layer(walk->import, &walk->model->layers[call->layer], inputs, call->ref_count, &result->values,
                    &result->count);
}

/* Everything that the calls on the stack need, inputs first. */
static bool run_stack(Walk *walk) {
  while (walk->top) {
    int number = walk->stack[walk->top - 1];
    Result *result = &walk->results[number];
    if (result->state == UNTOUCHED) {
      result->state = WAITING;
      TRY(push_inputs(walk, &walk->model->calls[number]));
      continue;
    }
    if (result->state == WAITING) TRY(finish_call(walk, number));
    walk->top--;
  }
  return true;
}

static bool set_inputs(Walk *walk, Value *const *inputs, int count) {
  const KerasModel *model = walk->model;
  if (count != model->input_count)
    return fail(walk->import->module, "the model '%s' has %d inputs but is called with %d", model->name,
                model->input_count, count);
  for (int i = 0; i < count; i++) {
    int call = call_of(walk, &model->inputs[i]);
    if (call < 0) return false;
    Value **values = NEW_ARRAY(walk->import->module->arena, Value *, 1);
    values[0] = inputs[i];
    walk->results[call] = (Result){DONE, values, 1};
  }
  return true;
}

static bool build_functional(Import *import, KerasModel *model, Value *const *inputs, int count,
                             Value ***outputs, int *output_count) {
  Walk walk = {.import = import, .model = model};
  walk.results = NEW_ARRAY(import->module->arena, Result, model->call_count);
  TRY(set_inputs(&walk, inputs, count));
  for (int i = model->output_count - 1; i >= 0; i--) {
    int call = call_of(&walk, &model->outputs[i]);
    if (call < 0) return false;
    push(&walk, call);
  }
  TRY(run_stack(&walk));
  *outputs = NEW_ARRAY(import->module->arena, Value *, model->output_count);
  *output_count = model->output_count;
  for (int i = 0; i < model->output_count; i++)
    if (!((*outputs)[i] = value_of(&walk, &model->outputs[i]))) return false;
  return true;
}

bool model_build(Import *import, KerasModel *model, Value *const *inputs, int input_count, Value ***outputs,
                 int *output_count) {
  return model->sequential ? build_sequential(import, model, inputs, input_count, outputs, output_count)
                           : build_functional(import, model, inputs, input_count, outputs, output_count);
}
