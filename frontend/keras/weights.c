/*
 * weights.c -- finds the stored arrays of every layer.
 *
 * Three ways to name them:
 *   named    legacy HDF5: the group of a layer lists its weights' names. A nested model has one group in
 * which all trainable weights come first, so its layers pick theirs by name, not by position. counted  Keras
 * 3: layers/<class in snake case>[_k]/vars/<i>, k counted per class in the order of the layers. listed arr_0,
 * arr_1, ...: what numpy.savez(*model.get_weights()) writes. How many weights a layer has, and what they are
 * called, follows from its configuration (LayerKind.weights).
 */
#include "frontend/keras/keras.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WEIGHTS = 32, MAX_SLOTS = 1024 };

/* Where the layers of one model have their weights. */
typedef struct Scope {
  const char *path;         /* of the container: "model_weights/", "layers/functional/" */
  const char *group;        /* named, inside a nested model: the one group of its weights; else NULL */
  const char *const *names; /* the names in that group */
  int name_count;
} Scope;

static bool layer_fail(Import *import, const Layer *layer, const char *text) {
  diag_add(import->module,
           (Diag){.severity = SEVERITY_ERROR, .node = layer->name, .op = layer->class_name, .text = text});
  return false;
}

/* ---- what a layer needs ---- */

/* A member of the configuration, or of a member, also if it is null: "layer.config.use_bias". */
static const cJSON *member_at(const cJSON *config, const char *path) {
  char member[64];
  for (const char *dot; (dot = strchr(path, '.')); path = dot + 1) {
    snprintf(member, sizeof member, "%.*s", (int)(dot - path), path);
    config = json_member(config, member);
  }
  return cJSON_GetObjectItemCaseSensitive(config, path);
}

/* "use_bias", "!rms_scaling", "score_mode=concat", "use_gate=true". What is not there at all holds, without a
 * '='. */
static bool condition_holds(const cJSON *config, char *text) {
  bool opposite = text[0] == '!';
  char *wanted = strchr(text, '=');
  if (wanted) *wanted++ = 0;
  const cJSON *item = member_at(config, text + opposite);
  const char *found = cJSON_IsString(item) ? item->valuestring : cJSON_IsTrue(item) ? "true" : "";
  if (wanted) return !strcmp(found, wanted) != opposite;
  if (!item) return true;
  return (cJSON_IsBool(item) ? cJSON_IsTrue(item) : !cJSON_IsNull(item)) != opposite;
}

/* One word of LayerKind.weights that is none of a part: "bias?use_bias". */
static bool next_weight(const char **words, const cJSON *config, char *name, size_t size) {
  for (;;) {
    *words += strspn(*words, " ");
    size_t length = strcspn(*words, " ");
    if (!length) return false;
    snprintf(name, size, "%.*s", (int)length, *words);
    *words += length;
    char *condition = strchr(name, '?');
    if (condition) *condition++ = 0;
    bool holds = name[0] != '@';
    while (condition && holds) {
      char *more = strchr(condition, '&');
      if (more) *more++ = 0;
      holds = condition_holds(config, condition);
      condition = more;
    }
    if (holds) return true;
  }
}

static void list_needed(Import *import, Layer *layer) {
  const char *words = layer->kind && layer->kind->weights ? layer->kind->weights : "";
  char name[64];
  layer->weight_names = NEW_ARRAY(import->module->arena, const char *, MAX_WEIGHTS);
  layer->trainable = NEW_ARRAY(import->module->arena, bool, MAX_WEIGHTS);
  while (layer->weight_count < MAX_WEIGHTS && next_weight(&words, layer->config, name, sizeof name)) {
    layer->trainable[layer->weight_count] = name[0] != '~';
    layer->weight_names[layer->weight_count++] = intern(import->module, name + (name[0] == '~'));
  }
  for (int i = 0; layer->given && i < layer->given->input_count && layer->weight_count < MAX_WEIGHTS; i++)
    if (given_weight(layer, i)) {
      layer->trainable[layer->weight_count] = true;
      layer->weight_names[layer->weight_count++] = layer->given->inputs[i]->name;
    }
  layer->weights = NEW_ARRAY(import->module->arena, const StoredArray *, layer->weight_count);
  layer->values = NEW_ARRAY(import->module->arena, Value *, layer->weight_count);
  for (int i = 0; i < layer->part_count; i++)
    if (!layer->parts[i].nested) list_needed(import, &layer->parts[i]);
}

/* Where the weights of a layer and of those inside it go. */
typedef struct Slots {
  const StoredArray **at[MAX_SLOTS];
  int count;
} Slots;

static void add_slots(const Layer *layer, bool trainable, Slots *slots) {
  for (int i = 0; i < layer->weight_count; i++)
    if (layer->trainable[i] == trainable && slots->count < MAX_SLOTS)
      slots->at[slots->count++] = &layer->weights[i];
  for (int i = 0; i < layer->part_count; i++) add_slots(&layer->parts[i], trainable, slots);
}

/* In the order of get_weights(): what is trained comes first. */
static Slots slots_of(const Layer *layer) {
  Slots slots = {.count = 0};
  add_slots(layer, true, &slots);
  add_slots(layer, false, &slots);
  return slots;
}

static bool has_nested(const Layer *layer) {
  bool found = layer->nested != NULL;
  for (int i = 0; i < layer->part_count; i++) found |= has_nested(&layer->parts[i]);
  return found;
}

static const char *needed_text(Import *import, const Layer *layer, const char *text) {
  for (int i = 0; i < layer->weight_count; i++)
    text = arena_printf(import->module->arena, "%s%s%s", text, *text ? ", " : "", layer->weight_names[i]);
  for (int i = 0; i < layer->part_count; i++) text = needed_text(import, &layer->parts[i], text);
  return text;
}

static bool wrong_count(Import *import, const Layer *layer, int found) {
  return layer_fail(import, layer,
                    arena_printf(import->module->arena,
                                 "the file has %d weights for it, its configuration calls for %d (%s)", found,
                                 slots_of(layer).count, needed_text(import, layer, "")));
}

/* ---- named ---- */

/* Whether `name` has the layer among its components: "block/conv/kernel:0" has "conv" and "block/conv". */
static bool mentions(const char *name, const char *layer) {
  size_t length = strlen(layer);
  for (const char *at = name; (at = strstr(at, layer)); at++)
    if ((at == name || at[-1] == '/') && at[length] == '/') return true;
  return false;
}

/* Without a list of names: LAYER/kernel or LAYER/kernel:0. */
static bool find_by_path(Import *import, const Scope *scope, Layer *layer) {
  static const char *const forms[][2] = {{"/", ""}, {"/", ":0"}, {".", ""}};
  const Store *store = &import->container->store;
  for (int i = 0; i < layer->weight_count; i++) {
    for (int k = 0; k < COUNT_OF(forms) && !layer->weights[i]; k++)
      layer->weights[i] =
          store_array(store, arena_printf(import->module->arena, "%s%s%s%s%s", scope->path, layer->name,
                                          forms[k][0], layer->weight_names[i], forms[k][1]));
    if (!layer->weights[i]) return wrong_count(import, layer, i);
  }
  return true;
}

/* In a group of several layers a name begins with its layer's, or at least has it. */
static bool is_named_after(const Scope *scope, const Layer *layer, const char *name) {
  size_t length = strlen(layer->name);
  for (int i = 0; i < scope->name_count; i++)
    if (!strncmp(scope->names[i], layer->name, length) && scope->names[i][length] == '/')
      return !strncmp(name, layer->name, length) && name[length] == '/';
  return mentions(name, layer->name);
}

static bool find_named(Import *import, const Scope *scope, Layer *layer) {
  Module *module = import->module;
  const Store *store = &import->container->store;
  const char *group =
      scope->group ? scope->group : arena_printf(module->arena, "%s%s", scope->path, layer->name);
  int count = scope->name_count, found = 0;
  const char *const *names =
      scope->group ? scope->names : store_list(module, store, group, "weight_names", &count);
  if (count < 0) return find_by_path(import, scope, layer);
  Slots slots = slots_of(layer);
  for (int i = 0; i < count; i++) {
    if (scope->group && !is_named_after(scope, layer, names[i])) continue;
    const StoredArray *array = store_array(store, arena_printf(module->arena, "%s/%s", group, names[i]));
    if (!array)
      return layer_fail(
          import, layer,
          arena_printf(module->arena, "the file lists its weight '%s' but does not hold it", names[i]));
    if (found < slots.count) *slots.at[found] = array;
    found++;
  }
  return found == slots.count || wrong_count(import, layer, found);
}

/* ---- counted ---- */

/* Conv2DTranspose -> conv2d_transpose, LSTM -> lstm, PReLU -> p_re_lu: an underscore before a capital that
 * begins a lower-case run or follows a lower-case letter. */
char *snake_case(Module *module, const char *name) {
  char *text = arena_alloc(module->arena, 2 * strlen(name) + 1), *out = text;
  for (size_t i = 0; name[i]; i++) {
    unsigned char c = (unsigned char)name[i], before = i ? (unsigned char)name[i - 1] : 0,
                  after = (unsigned char)name[i + 1];
    if (!isalnum(c) && c != '_') continue;
    if (isupper(c) && i && before != '_' && (islower(after) || islower(before))) *out++ = '_';
    *out++ = (char)tolower(c);
  }
  return text;
}

static bool has_arrays(const Store *store, const char *group) {
  size_t length = strlen(group);
  for (int i = 0; i < store->array_count; i++)
    if (!strncmp(store->arrays[i].path, group, length) && store->arrays[i].path[length] == '/') return true;
  return false;
}

/* The group of the k-th layer of its class. Files of Keras 2.13 go through a list that names each layer with
 * weights twice, so that they have dense, dense_2, dense_4. */
static const char *counted_path(Import *import, const Scope *scope, const Layer *layer, int k) {
  Module *module = import->module;
  const char *first = arena_printf(module->arena, "%s%s", scope->path, snake_case(module, layer->class_name));
  if (!k) return first;
  bool twice = !strcmp(import->container->root, "_layer_checkpoint_dependencies/") &&
               !has_arrays(&import->container->store, arena_printf(module->arena, "%s_1", first));
  return arena_printf(module->arena, "%s_%d", first, twice ? 2 * k : k);
}

/* How much of the name of a weight is the part of the layer that it belongs to: "cell/" of "cell/kernel". */
static size_t part_length(const char *name) {
  const char *slash = strrchr(name, '/');
  return slash ? (size_t)(slash + 1 - name) : 0;
}

static bool same_part(const Layer *layer, int i, int j) {
  if (i < 0 || j >= layer->weight_count) return false;
  const char *a = layer->weight_names[i], *b = layer->weight_names[j];
  return part_length(a) == part_length(b) && !strncmp(a, b, part_length(a));
}

/* Variable k of that part, which is called as an attribute in Python; that may be private: "_query_dense". */
static const StoredArray *part_variable(Import *import, const char *path, const char *name, int k) {
  const StoredArray *found = NULL;
  int length = (int)part_length(name);
  for (int private = 0; private <= (length > 0) && !found; private ++)
    found = store_array(&import->container->store, arena_printf(import->module->arena, "%s/%s%.*svars/%d",
                                                                path, private ? "_" : "", length, name, k));
  return found;
}

/* Newer files also say the name of a model's layer, which then must agree. */
static bool find_counted(Import *import, const char *path, Layer *layer) {
  Module *module = import->module;
  const Store *store = &import->container->store;
  const char *name =
      layer->part ? NULL : store_text(store, arena_printf(module->arena, "%s/vars", path), "name");
  if (name && strcmp(name, layer->name))
    return layer_fail(
        import, layer,
        arena_printf(module->arena, "the file has the weights of '%s' at its place ('%s')", name, path));
  if (!layer->weight_count && part_variable(import, path, "", 0)) return wrong_count(import, layer, 1);
  for (int i = 0, k = 0; i < layer->weight_count; i++, k++) {
    if (!same_part(layer, i - 1, i)) k = 0;
    layer->weights[i] = part_variable(import, path, layer->weight_names[i], k);
    if (!layer->weights[i]) return wrong_count(import, layer, i);
    bool ends = !same_part(layer, i, i + 1);
    if (ends && part_variable(import, path, layer->weight_names[i], k + 1))
      return wrong_count(import, layer, i + 2);
  }
  return true;
}

/* ---- listed ---- */

static bool find_listed(Import *import, Layer *layer) {
  Slots slots = slots_of(layer);
  for (int i = 0; i < slots.count; i++) {
    const char *path = arena_printf(import->module->arena, "arr_%d", import->listed++);
    *slots.at[i] = store_array(&import->container->store, path);
    if (!*slots.at[i]) return wrong_count(import, layer, i);
  }
  return true;
}

/* ---- all layers of a model ---- */

static bool find_in(Import *import, KerasModel *model, const Scope *scope);

static Scope nested_scope(Import *import, const Scope *scope, const Layer *layer, const char *path) {
  Scope inner = *scope;
  Module *module = import->module;
  if (import->container->form == WEIGHTS_COUNTED) {
    inner.path = arena_printf(module->arena, "%s/%s", path, import->container->root);
  } else if (!scope->group) {
    inner.group = arena_printf(module->arena, "%s%s", scope->path, layer->name);
    inner.names =
        store_list(module, &import->container->store, inner.group, "weight_names", &inner.name_count);
    if (inner.name_count < 0) inner.group = NULL;
  }
  return inner;
}

/* A layer around a model: only the model has weights, which lie in the outer layer's group. */
static bool find_around(Import *import, const Scope *scope, Layer *layer, const char *path) {
  for (int i = 0; i < layer->part_count; i++) {
    Layer *part = &layer->parts[i];
    const char *inside = path ? arena_printf(import->module->arena, "%s/%s", path, part->part) : NULL;
    if (part->nested) {
      Scope inner = nested_scope(import, scope, layer, inside);
      TRY(find_in(import, part->nested, &inner));
    } else {
      TRY(find_around(import, scope, part, inside));
    }
  }
  return true;
}

static bool find_counted_parts(Import *import, const char *path, Layer *layer) {
  TRY((!layer->weight_count && !layer->given) || find_counted(import, path, layer));
  for (int i = 0; i < layer->part_count; i++)
    TRY(find_counted_parts(import, arena_printf(import->module->arena, "%s/%s", path, layer->parts[i].part),
                           &layer->parts[i]));
  return true;
}

static bool find_for_layer(Import *import, const Scope *scope, Layer *layer, int k) {
  const char *path =
      import->container->form == WEIGHTS_COUNTED ? counted_path(import, scope, layer, k) : NULL;
  layer->path = path;
  if (layer->nested) {
    Scope inner = nested_scope(import, scope, layer, path);
    return find_in(import, layer->nested, &inner);
  }
  list_needed(import, layer);
  if (has_nested(layer)) return find_around(import, scope, layer, path);
  if (!slots_of(layer).count && !layer->given) return true;
  switch (import->container->form) {
  case WEIGHTS_NAMED: return find_named(import, scope, layer);
  case WEIGHTS_COUNTED: return find_counted_parts(import, path, layer);
  default: return find_listed(import, layer);
  }
}

/* How many layers of the same class came before each; layers of one class are chained through the sorted
 * list. */
typedef struct ClassCount {
  const char *class_name;
  int index;
} ClassCount;

static int by_class(const void *a, const void *b) {
  const ClassCount *x = a, *y = b;
  int order = strcmp(x->class_name, y->class_name);
  return order ? order : x->index - y->index;
}

static int *count_classes(Import *import, const KerasModel *model) {
  Arena *arena = import->module->arena;
  int *before = NEW_ARRAY(arena, int, model->layer_count), count = 0;
  ClassCount *sorted = NEW_ARRAY(arena, ClassCount, model->layer_count);
  for (int i = 0; i < model->layer_count;
       i++) /* a Sequential's InputLayer is not among its layers, but has no weights */
    sorted[count++] = (ClassCount){snake_case(import->module, model->layers[i].class_name), i};
  qsort(sorted, (size_t)count, sizeof *sorted, by_class);
  for (int i = 1; i < count; i++)
    if (!strcmp(sorted[i].class_name, sorted[i - 1].class_name))
      before[sorted[i].index] = before[sorted[i - 1].index] + 1;
  return before;
}

static bool find_in(Import *import, KerasModel *model, const Scope *scope) {
  const int *before = count_classes(import, model);
  bool good = true;
  for (int i = 0; i < model->layer_count; i++)
    good &= find_for_layer(import, scope, &model->layers[i], before[i]);
  return good;
}

bool model_find_weights(Import *import, KerasModel *model) {
  const Container *container = import->container;
  Scope scope = {.path = container->root};
  if (container->names)
    scope = (Scope){
        .path = "", .group = "manifest", .names = container->names, .name_count = container->name_count};
  return find_in(import, model, &scope);
}
