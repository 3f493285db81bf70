/*
 * model.c -- a Sequential or Functional configuration as layers and their calls.
 *
 * Keras 2 writes the first argument of a call as ["layer", call, tensor, {kwargs}] or a list of such, with
 * all other arguments by name; Keras 3 {args, kwargs} with objects of class "__keras_tensor__" anywhere
 * inside. The tensors in both become lists of TensorRef. Layers that tenon does not know are all reported
 * before the import stops.
 */
#include "frontend/keras/keras.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_LAYERS = 100000, MAX_NESTING = 8 };

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

bool json_tensor(const cJSON *item, TensorRef *ref) {
  if (cJSON_IsObject(item)) {
    if (strcmp(json_text(item, "class_name", ""), "__keras_tensor__")) return false;
    item = json_member(json_member(item, "config"), "keras_history");
  }
  const cJSON *name = cJSON_IsArray(item) ? item->child : NULL;
  if (!cJSON_IsString(name) || !json_integer(name->next, &ref->call) || ref->call < 0) return false;
  ref->layer = name->valuestring;
  return json_integer(name->next->next, &ref->tensor);
}

/* Every tensor inside, in order. The depth is bounded by JSON_MAX_DEPTH. */
static void collect_refs(Import *import, const cJSON *item, Refs *refs) {
  TensorRef ref;
  if (json_tensor(item, &ref)) {
    add_ref(import, refs, ref);
  } else if (cJSON_IsArray(item) || cJSON_IsObject(item)) {
    for (const cJSON *child = item->child; child; child = child->next) collect_refs(import, child, refs);
  }
}

/* ---- layers ---- */

static bool parse_layer(Import *import, const cJSON *json, const char *name, int depth, Layer *layer);

/* The member that a word of LayerKind.weights means, "@backward_layer=layer": the part's own, or that. */
static const cJSON *part_json(const Layer *layer, const char *word, char *name, size_t size) {
  size_t length = strcspn(word, "= ");
  snprintf(name, size, "%.*s", (int)length, word);
  const cJSON *item = json_member(layer->config, name);
  if (item || word[length] != '=') return item;
  char other[64];
  word += length + 1;
  snprintf(other, sizeof other, "%.*s", (int)strcspn(word, " "), word);
  return json_member(layer->config, other);
}

/* "cells/lstm_cell_1": the second of that class. */
static const char *listed_part(Import *import, const Layer *layer, const char *list, const char *class_name) {
  char *snake = snake_case(import->module, class_name);
  int before = 0;
  for (int i = 0; i < layer->part_count; i++) before += !strcmp(layer->parts[i].class_name, class_name);
  return before ? arena_printf(import->module->arena, "%s/%s_%d", list, snake, before)
                : arena_printf(import->module->arena, "%s/%s", list, snake);
}

static bool parse_part(Import *import, Layer *layer, const cJSON *json, const char *part, int depth) {
  const char *name = json_text(json_member(json, "config"), "name", part);
  Layer *inner = &layer->parts[layer->part_count];
  TRY(parse_layer(import, json, name, depth + 1, inner));
  layer->part_count++;
  inner->part = intern(import->module, part);
  return true;
}

static const char *next_part(const LayerKind *kind, const char *word) {
  if (!kind || !kind->weights) return NULL;
  return strchr(word ? word + 1 : kind->weights, '@');
}

/* How many layers the layer wraps; -1 with a Diag. */
static int count_parts(Import *import, const Layer *layer) {
  enum { MAX_PARTS = 64 };
  char name[64];
  int count = 0;
  for (const char *word = NULL; (word = next_part(layer->kind, word));) {
    const cJSON *json = part_json(layer, word + 1, name, sizeof name);
    int size = cJSON_IsArray(json) ? cJSON_GetArraySize(json) : cJSON_IsObject(json);
    if (!size)
      return fail(import->module, "layer '%s' (%s) wraps no '%s'", layer->name, layer->class_name, name), -1;
    count += size;
  }
  if (count > MAX_PARTS)
    return fail(import->module, "layer '%s' has more than %d parts", layer->name, MAX_PARTS), -1;
  return count;
}

/* The layers that the layer wraps. */
static bool parse_parts(Import *import, Layer *layer, int depth) {
  int count = count_parts(import, layer);
  if (count < 1) return count == 0;
  if (depth > MAX_NESTING) return fail(import->module, "layer '%s' is nested too deep", layer->name);
  layer->parts = NEW_ARRAY(import->module->arena, Layer, count);
  for (const char *word = NULL; (word = next_part(layer->kind, word));) {
    char name[64];
    const cJSON *json = part_json(layer, word + 1, name, sizeof name), *item;
    if (!cJSON_IsArray(json)) {
      TRY(parse_part(import, layer, json, name, depth));
      continue;
    }
    cJSON_ArrayForEach(item, json) {
      const char *part = listed_part(import, layer, name, json_text(item, "class_name", ""));
      TRY(parse_part(import, layer, item, part, depth));
    }
  }
  return true;
}

/* keras.ops have class names like layers (Add), but other arguments. Of TensorFlow's the function counts. */
static const char *operation_name(const Layer *layer) {
  if (strstr(json_text(layer->json, "module", ""), ".ops.")) return layer->class_name;
  if (!strcmp(layer->class_name, "TFOpLambda")) return json_text(layer->config, "function", "");
  if (!strcmp(layer->class_name, "SlicingOpLambda")) return "__operators__.getitem";
  if (!strcmp(layer->class_name, "TensorFlowOpLayer")) return "TensorFlowOpLayer";
  return NULL;
}

/* `name` where the configuration has none. */
static bool parse_layer(Import *import, const cJSON *json, const char *name, int depth, Layer *layer) {
  layer->json = json;
  layer->config = json_member(json, "config");
  const char *class_name = json_text(json, "class_name", NULL);
  name = json_text(layer->config, "name", json_text(json, "name", name));
  if (!class_name || !name || !*name) return fail(import->module, "a layer has no class_name or no name");
  layer->class_name = intern(import->module, class_name);
  layer->name = intern(import->module, name); /* nodes keep it, the JSON goes */
  if (is_model(layer->class_name)) return (layer->nested = model_parse(import, json)) != NULL;
  const char *operation = operation_name(layer);
  layer->operation = operation ? intern(import->module, operation) : NULL;
  layer->kind = operation ? operation_kind(operation) : layer_kind(layer->class_name);
  if (operation && !layer->kind && *operation) layer->class_name = intern(import->module, operation);
  layer->given = layer->kind ? NULL : given_graph(import, layer);
  if (layer->given) layer->kind = &given_kind;
  layer->given_inputs = 1;
  if (!layer->kind) layer_error(import, layer, layer_way_out(layer->class_name, operation != NULL));
  return parse_parts(import, layer, depth); /* reported, but the rest is still looked at */
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
  cJSON_ArrayForEach(json, list)
      TRY(parse_layer(import, json, NULL, 0, &model->layers[model->layer_count++]));
  return index_layers(import, model);
}

/* ---- calls ---- */

/* What follows the first argument of Keras 2: the last entry of its first tensor. */
static const cJSON *keras2_kwargs(const cJSON *node) {
  const cJSON *first = cJSON_IsString(node->child) ? node : node->child;
  const cJSON *last = json_at(first, 3);
  return cJSON_IsObject(last) ? last : NULL;
}

/* What is no tensor may be the first argument, too: ["_CONSTANT_VALUE", -1, 1.0, {kwargs}]. */
static bool parse_call(Import *import, const Layer *layer, const cJSON *node, LayerCall *call) {
  Refs refs = {0};
  call->is_keras3 = cJSON_IsObject(node);
  call->args = call->is_keras3 ? json_member(node, "args") : node;
  call->kwargs = call->is_keras3 ? json_member(node, "kwargs") : keras2_kwargs(node);
  collect_refs(import, call->args, &refs);
  call->arg_refs = refs.count;
  collect_refs(import, call->kwargs, &refs);
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
      layer->given_inputs = call->arg_refs ? call->arg_refs : call->ref_count;
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
