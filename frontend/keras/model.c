/*
 * model.c -- a Sequential or Functional configuration as layers and their calls.
 *
 * Keras 2 writes the inputs of a call as [["layer", call, tensor, {kwargs}], ...], Keras 3 as {args, kwargs}
 * with objects of class
 * "__keras_tensor__" anywhere inside; both become lists of TensorRef. Layers that tenon does not know are all
 * reported before the import stops.
 */
#include "frontend/keras/keras.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_LAYERS = 100000 };

static bool is_model(const char *class_name) {
  return !strcmp(class_name, "Sequential") || !strcmp(class_name, "Functional") ||
         !strcmp(class_name, "Model");
}

static void layer_error(Import *import, const Layer *layer, const char *text) {
  diag_add(import->module,
           (Diag){.severity = SEVERITY_ERROR, .node = layer->name, .op = layer->class_name, .text = text});
}

/* ---- references ---- */

typedef struct Refs {
  TensorRef *list;
  int count, room;
} Refs;

static void add_ref(Import *import, Refs *refs, TensorRef ref) {
  if (refs->count == refs->room) {
    refs->room = refs->room ? 2 * refs->room : 4;
    TensorRef *larger = NEW_ARRAY(import->module->arena, TensorRef, refs->room);
    if (refs->count) memcpy(larger, refs->list, (size_t)refs->count * sizeof *larger);
    refs->list = larger;
  }
  refs->list[refs->count++] = ref;
}

/* ["layer", call, tensor, ...] */
static bool read_triple(const cJSON *item, TensorRef *ref) {
  const cJSON *name = cJSON_IsArray(item) ? item->child : NULL;
  if (!cJSON_IsString(name)) return false;
  ref->layer = name->valuestring;
  return json_integer(name->next, &ref->call) && name->next && json_integer(name->next->next, &ref->tensor);
}

/* Every triple and every __keras_tensor__ inside, in order. The depth is bounded by JSON_MAX_DEPTH. */
static void collect_refs(Import *import, const cJSON *item, Refs *refs) {
  TensorRef ref;
  if (read_triple(item, &ref)) {
    add_ref(import, refs, ref);
  } else if (!strcmp(json_text(item, "class_name", ""), "__keras_tensor__")) {
    if (read_triple(json_member(json_member(item, "config"), "keras_history"), &ref))
      add_ref(import, refs, ref);
  } else if (cJSON_IsArray(item) || cJSON_IsObject(item)) {
    for (const cJSON *child = item->child; child; child = child->next) collect_refs(import, child, refs);
  }
}

/* ---- layers ---- */

static bool parse_layer(Import *import, const cJSON *json, Layer *layer) {
  layer->json = json;
  layer->config = json_member(json, "config");
  const char *class_name = json_text(json, "class_name", NULL);
  const char *name = json_text(layer->config, "name", json_text(json, "name", NULL));
  if (!class_name || !name || !*name) return fail(import->module, "a layer has no class_name or no name");
  layer->class_name = intern(import->module, class_name);
  layer->name = intern(import->module, name); /* nodes keep it, the JSON goes */
  if (is_model(layer->class_name)) return (layer->nested = model_parse(import, json)) != NULL;
  layer->kind = layer_kind(layer->class_name);
  /* keras.ops have class names like layers (Add), but other arguments. */
  bool operation = strstr(json_text(json, "module", ""), ".ops.") != NULL;
  if (!layer->kind || operation)
    layer_error(import, layer, layer_way_out(layer->class_name, json_text(json, "module", "")));
  return true; /* reported, but the rest is still looked at */
}

static int by_layer_name(const void *a, const void *b) {
  return strcmp((*(Layer *const *)a)->name, (*(Layer *const *)b)->name);
}

static bool index_layers(Import *import, KerasModel *model) {
  model->by_name = NEW_ARRAY(import->module->arena, Layer *, model->layer_count + 1);
  for (int i = 0; i < model->layer_count; i++) model->by_name[i] = &model->layers[i];
  qsort(model->by_name, (size_t)model->layer_count, sizeof *model->by_name, by_layer_name);
  for (int i = 1; i < model->layer_count; i++)
    if (!by_layer_name(&model->by_name[i - 1], &model->by_name[i]))
      return fail(import->module, "two layers are called '%s'", model->by_name[i]->name);
  return true;
}

int model_find_layer(const KerasModel *model, const char *name) {
  Layer key = {.name = name}, *wanted = &key;
  if (!model->layer_count) return -1;
  Layer **found = bsearch(&wanted, model->by_name, (size_t)model->layer_count, sizeof wanted, by_layer_name);
  return found ? (int)(*found - model->layers) : -1;
}

static bool parse_layers(Import *import, const cJSON *list, KerasModel *model) {
  int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
  if (count < 1 || count > MAX_LAYERS)
    return fail(import->module, "the model has %d layers; 1 to %d are read", count, MAX_LAYERS);
  model->layers = NEW_ARRAY(import->module->arena, Layer, count);
  const cJSON *json;
  cJSON_ArrayForEach(json, list) TRY(parse_layer(import, json, &model->layers[model->layer_count++]));
  return index_layers(import, model);
}

/* ---- calls ---- */

static bool parse_call(Import *import, const Layer *layer, const cJSON *node, LayerCall *call) {
  Refs refs = {0};
  if (cJSON_IsObject(node)) {
    const cJSON *kwargs = json_member(node, "kwargs");
    if (json_member(kwargs, "mask"))
      layer_error(import, layer, "a mask is passed to it, which is not supported");
    collect_refs(import, json_member(node, "args"), &refs);
    collect_refs(import, kwargs, &refs);
  } else {
    collect_refs(import, node, &refs);
  }
  call->refs = refs.list;
  call->ref_count = refs.count;
  return refs.count > 0 || fail(import->module, "layer '%s' is called without inputs", layer->name);
}

static int count_calls(const Layer *layer) {
  return layer_is_input(layer) ? 1 : cJSON_GetArraySize(json_member(layer->json, "inbound_nodes"));
}

static bool parse_calls(Import *import, KerasModel *model) {
  int total = 0;
  for (int i = 0; i < model->layer_count; i++) total += count_calls(&model->layers[i]);
  model->calls = NEW_ARRAY(import->module->arena, LayerCall, total);
  for (int i = 0; i < model->layer_count; i++) {
    Layer *layer = &model->layers[i];
    layer->first_call = model->call_count;
    layer->call_count = count_calls(layer);
    if (layer_is_input(layer)) {
      model->calls[model->call_count++] = (LayerCall){.layer = i};
      continue;
    }
    const cJSON *node;
    cJSON_ArrayForEach(node, json_member(layer->json, "inbound_nodes")) {
      LayerCall *call = &model->calls[model->call_count++];
      call->layer = i;
      TRY(parse_call(import, layer, node, call));
    }
  }
  return true;
}

static bool parse_ends(Import *import, const cJSON *config, const char *member, TensorRef **list,
                       int *count) {
  Refs refs = {0};
  collect_refs(import, json_member(config, member), &refs);
  *list = refs.list;
  *count = refs.count;
  return refs.count > 0 || fail(import->module, "the model's '%s' names no tensor", member);
}

static bool parse_functional(Import *import, const cJSON *config, KerasModel *model) {
  return parse_layers(import, json_member(config, "layers"), model) && parse_calls(import, model) &&
         parse_ends(import, config, "input_layers", &model->inputs, &model->input_count) &&
         parse_ends(import, config, "output_layers", &model->outputs, &model->output_count);
}

/* The oldest files have the list of layers itself as a Sequential's configuration. */
KerasModel *model_parse(Import *import, const cJSON *json) {
  const cJSON *config = json_member(json, "config");
  const char *class_name = json_text(json, "class_name", "");
  KerasModel *model = NEW(import->module->arena, KerasModel);
  model->json = json;
  model->name = json_text(config, "name", "model");
  model->sequential = !strcmp(class_name, "Sequential");
  if (!is_model(class_name)) {
    fail(import->module,
         "the model's class '%s' is neither Sequential nor Functional: a subclassed model is Python code",
         class_name);
    return NULL;
  }
  bool good =
      model->sequential
          ? parse_layers(import, cJSON_IsArray(config) ? config : json_member(config, "layers"), model)
          : parse_functional(import, config, model);
  return good ? model : NULL;
}
