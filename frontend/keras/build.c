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

/* Every layer may enlarge what it gets; nothing sensible has tensors of hundreds of gigabytes, even if all
 * open sizes are 1. */
static bool check_size(const Call *call, const Value *value) {
  int64_t count = 1;
  bool fits = true;
  for (int i = 0; i < value->type->rank; i++)
    if (dim_is_const(value->type->dims[i]))
      fits &= !__builtin_mul_overflow(count, value->type->dims[i]->value, &count) && count <= max_elements;
  if (fits) return true;
  return call_fail(call, "its result %s has more than 2^36 elements",
                   type_text(call->import->module, value->type));
}

Value *call_run(Call *call) {
  if (!spend_call(call->import) || !check_input_count(call)) return NULL;
  Value *value = call->layer->kind->build(call);
  if (!value || !check_size(call, value)) return NULL;
  if (call->layer->kind->masking == MASK_PASSES && call->input_count) call->mask = call->masks[0];
  return value;
}

void call_also(Call *call, Value *value) {
  if (call->more_count == call->more_room) {
    call->more_room = call->more_room ? 2 * call->more_room : 4;
    Value **larger = NEW_ARRAY(call->import->module->arena, Value *, call->more_room);
    if (call->more_count) memcpy(larger, call->more, (size_t)call->more_count * sizeof *larger);
    call->more = larger;
  }
  call->more[call->more_count++] = value;
}

/* All results, the first with its mask. */
static Masked *results_of(const Call *call, Value *first) {
  Masked *results = NEW_ARRAY(call->import->module->arena, Masked, call->more_count + 1);
  results[0] = (Masked){first, call->mask};
  for (int i = 0; i < call->more_count; i++) results[i + 1] = (Masked){call->more[i], NULL};
  return results;
}

bool call_part(Call *call, Layer *part, Masked x, Masked *y) {
  Masked *results;
  int count;
  if (part->nested) {
    if (!model_build(call->import, part->nested, &x, 1, &results, &count)) return false;
    call->import->builder.origin = call->layer->name;
    *y = results[0];
    return true;
  }
  Call inner = {.import = call->import, .builder = call->builder, .layer = part, .config = part->config};
  inner.input_count = 1;
  inner.inputs = &x.value;
  inner.masks = &x.mask;
  y->value = x.value ? call_run(&inner) : NULL;
  y->mask = inner.mask;
  for (int i = 0; i < inner.more_count; i++) call_also(call, inner.more[i]);
  return y->value != NULL;
}

/* The masks that are given by name, for one input or a list, take the place of those that came along. */
static void take_given_masks(Call *call, Value **masks) {
  const cJSON *given = call_argument(call, -1, "mask");
  TensorRef ref;
  bool several = cJSON_IsArray(given) && !json_tensor(given, &ref);
  for (int i = 0; given && i < call->input_count; i++) {
    Masked found;
    if (call_find(call, several ? json_at(given, i) : i ? NULL : given, &found)) masks[i] = found.value;
  }
}

/* `from` NULL: in a Sequential. refs: the tensors in its arguments. */
static bool call_layer(Import *import, Layer *layer, const LayerCall *from, const Masked *refs, int count,
                       Masked **results, int *result_count) {
  if (layer->nested) {
    TRY(spend_call(import));
    return model_build(import, layer->nested, refs, count, results, result_count);
  }
  import->builder.origin = layer->name;
  int inputs = from && from->arg_refs ? from->arg_refs : count;
  Value **values = NEW_ARRAY(import->module->arena, Value *, 2 * inputs), **masks = values + inputs;
  for (int i = 0; i < inputs; i++) {
    values[i] = refs[i].value;
    masks[i] = refs[i].mask;
  }
  Call call = {.import = import, .builder = &import->builder, .layer = layer, .config = layer->config};
  call.input_count = inputs;
  call.inputs = values;
  call.masks = masks;
  call.from = from;
  call.refs = refs;
  take_given_masks(&call, masks);
  Value *value = call_run(&call);
  if (!value) return false;
  if (!value->name && value->def) value_set_name(value, layer->name);
  *results = results_of(&call, value);
  *result_count = call.more_count + 1;
  return true;
}

static bool build_sequential(Import *import, KerasModel *model, const Masked *inputs, int count,
                             Masked **outputs, int *output_count) {
  if (count != 1)
    return fail(import->module, "the Sequential model '%s' is called with %d inputs", model->name, count);
  *outputs = NEW_ARRAY(import->module->arena, Masked, 1);
  (*outputs)[0] = inputs[0];
  *output_count = 1;
  for (int i = 0; i < model->layer_count; i++) {
    if (layer_is_input(&model->layers[i])) continue;
    TRY(call_layer(import, &model->layers[i], NULL, *outputs, 1, outputs, output_count));
  }
  return true;
}

/* ---- Functional ---- */

typedef struct Result {
  enum { UNTOUCHED, WAITING, DONE } state;
  Masked *values;
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

/* NULL with a Diag. */
static const Masked *value_of(const Walk *walk, const TensorRef *ref) {
  int call = call_of(walk, ref);
  if (call < 0) return NULL;
  const Result *result = &walk->results[call];
  if (ref->tensor < 0 || ref->tensor >= result->count)
    return fail(walk->import->module, "layer '%s' has no output %lld", ref->layer, (long long)ref->tensor),
           NULL;
  return &result->values[ref->tensor];
}

static bool finish_call(Walk *walk, int number) {
  const LayerCall *call = &walk->model->calls[number];
  Masked *refs = NEW_ARRAY(walk->import->module->arena, Masked, call->ref_count);
  for (int i = 0; i < call->ref_count; i++) {
    const Masked *value = value_of(walk, &call->refs[i]);
    TRY(value);
    refs[i] = *value;
  }
  Result *result = &walk->results[number];
  result->state = DONE;
  return call_layer(walk->import, &walk->model->layers[call->layer], call, refs, call->ref_count,
                    &result->values, &result->count);
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

static bool set_inputs(Walk *walk, const Masked *inputs, int count) {
  const KerasModel *model = walk->model;
  if (count != model->input_count)
    return fail(walk->import->module, "the model '%s' has %d inputs but is called with %d", model->name,
                model->input_count, count);
  for (int i = 0; i < count; i++) {
    int call = call_of(walk, &model->inputs[i]);
    if (call < 0) return false;
    walk->results[call] = (Result){DONE, NEW(walk->import->module->arena, Masked), 1};
    walk->results[call].values[0] = inputs[i];
  }
  return true;
}

static bool build_functional(Import *import, KerasModel *model, const Masked *inputs, int count,
                             Masked **outputs, int *output_count) {
  Walk walk = {.import = import, .model = model};
  walk.results = NEW_ARRAY(import->module->arena, Result, model->call_count);
  TRY(set_inputs(&walk, inputs, count));
  for (int i = model->output_count - 1; i >= 0; i--) {
    int call = call_of(&walk, &model->outputs[i]);
    if (call < 0) return false;
    push(&walk, call);
  }
  TRY(run_stack(&walk));
  *outputs = NEW_ARRAY(import->module->arena, Masked, model->output_count);
  *output_count = model->output_count;
  for (int i = 0; i < model->output_count; i++) {
    const Masked *value = value_of(&walk, &model->outputs[i]);
    TRY(value);
    (*outputs)[i] = *value;
  }
  return true;
}

bool model_build(Import *import, KerasModel *model, const Masked *inputs, int input_count, Masked **outputs,
                 int *output_count) {
  return model->sequential ? build_sequential(import, model, inputs, input_count, outputs, output_count)
                           : build_functional(import, model, inputs, input_count, outputs, output_count);
}
