/*
 * import.c -- import_keras: the whole way from a file to module->main, and the inputs of the graph.
 *
 * Keras leaves the batch open (None): it is the symbol `batch`, and any other open size INPUT_AXIS (`image_1`
 * for the height of `image`), unless `--dim batch=N` or `--input-shape` gives them.
 *
 * What stateful layers keep from run to run are states of the graph (ir/states.c).
 */
#include "frontend/keras/keras.h"
#include <string.h>

/* ---- the shape of an input ---- */

typedef struct Input {
  const char *name;
  const cJSON *shape; /* [null, 28, 28, 1] */
  Dtype dtype;
} Input;

/* Keras 3 may have {"class_name": "DTypePolicy", "config": {"name": "float32"}}; mixed policies compute in
 * half, but take float32. */
static Dtype dtype_of(const cJSON *config) {
  static const struct {
    const char *name;
    Dtype dtype;
  } names[] = {
      {"float32", DTYPE_F32}, {"float64", DTYPE_F64},   {"float16", DTYPE_F16}, {"bfloat16", DTYPE_BF16},
      {"int8", DTYPE_I8},     {"int16", DTYPE_I16},     {"int32", DTYPE_I32},   {"int64", DTYPE_I64},
      {"uint8", DTYPE_U8},    {"uint16", DTYPE_U16},    {"uint32", DTYPE_U32},  {"uint64", DTYPE_U64},
      {"bool", DTYPE_BOOL},   {"string", DTYPE_STRING},
  };
  const cJSON *item = json_member(config, "dtype");
  const char *name = cJSON_IsObject(item) ? json_text(json_member(item, "config"), "name", "")
                                          : json_text(config, "dtype", "");
  for (int i = 0; i < COUNT_OF(names); i++)
    if (!strcmp(name, names[i].name)) return names[i].dtype;
  return DTYPE_F32;
}

static const cJSON *shape_of(const Layer *layer) {
  const cJSON *shape = json_member(layer->config, "batch_shape");
  return shape ? shape : json_member(layer->config, "batch_input_shape");
}

/* What the configuration says about input `index`; descends into a nested model that comes first. */
static bool describe_input(Import *import, const KerasModel *model, int index, Input *input) {
  int number = model->sequential ? 0 : model_find_layer(model, model->inputs[index].layer);
  const Layer *layer = number < 0 ? NULL : &model->layers[number];
  if (!layer) return fail(import->module, "the input layer '%s' does not exist", model->inputs[index].layer);
  if (!model->sequential && !layer_is_input(layer))
    return fail(import->module, "the model's input '%s' is no InputLayer but a %s", layer->name,
                layer->class_name);
  input->dtype = dtype_of(layer->config);
  input->name =
      layer_is_input(layer) ? layer->name : arena_printf(import->module->arena, "%s_input", layer->name);
  input->shape = shape_of(layer);
  if (!input->shape && layer->nested) TRY(describe_input(import, layer->nested, 0, input));
  if (!input->shape) input->shape = json_member(json_member(model->json, "config"), "build_input_shape");
  if (!input->shape) input->shape = json_member(json_member(layer->json, "build_config"), "input_shape");
  if (cJSON_IsArray(input->shape)) return true;
  return fail(import->module,
              "the file does not say the shape of the input '%s'; call the model once before saving it",
              input->name);
}

/* ---- what the command line says ---- */

static const ImportShape *given_shape(const ImportOptions *options, const char *input) {
  for (int i = 0; options && i < options->shape_count; i++)
    if (!strcmp(options->shapes[i].input, input)) return &options->shapes[i];
  return NULL;
}

static bool given_dim(Import *import, const char *name, int64_t *size) {
  const ImportOptions *options = import->options;
  for (int i = 0; options && i < options->dim_count; i++) {
    if (strcmp(options->dims[i].name, name)) continue;
    import->dims_used[i] = true;
    *size = options->dims[i].value;
    return true;
  }
  return false;
}

static const Dim *open_dim(Import *import, const Input *input, int axis) {
  const char *name = axis ? arena_printf(import->module->arena, "%s_%d", input->name, axis) : "batch";
  int64_t size;
  return given_dim(import, name, &size) ? dim_const(import->module, size) : dim_symbol(import->module, name);
}

static bool input_dim(Import *import, const Input *input, const cJSON *item, int axis, int64_t given,
                      const Dim **dim) {
  int64_t size;
  if (cJSON_IsNull(item)) {
    *dim = given >= 0 ? dim_const(import->module, given) : open_dim(import, input, axis);
    return !dim_is_const(*dim) || (*dim)->value > 0 ||
           fail(import->module, "axis %d of the input '%s' cannot be %lld", axis, input->name,
                (long long)(*dim)->value);
  }
  if (!json_integer(item, &size) || size < 1 || size > INT32_MAX)
    return fail(import->module, "axis %d of the input '%s' has no sensible size", axis, input->name);
  *dim = dim_const(import->module, size);
  if (given < 0 || given == size) return true;
  return fail(import->module, "axis %d of the input '%s' is %lld in the model, so it cannot be %lld", axis,
              input->name, (long long)size, (long long)given);
}

static const Type *input_type(Import *import, const Input *input) {
  const ImportShape *given = given_shape(import->options, input->name);
  const Dim *dims[MAX_RANK];
  int rank = cJSON_GetArraySize(input->shape), axis = 0;
  if (rank < 1 || rank > MAX_RANK)
    return fail(import->module, "the input '%s' has %d axes", input->name, rank), NULL;
  if (given && given->rank != rank)
    return fail(import->module, "--input-shape gives '%s' %d axes, it has %d", input->name, given->rank,
                rank),
           NULL;
  const cJSON *item;
  cJSON_ArrayForEach(item, input->shape) {
    if (!input_dim(import, input, item, axis, given ? given->dims[axis] : -1, &dims[axis])) return NULL;
    axis++;
  }
  return type_make(import->module, input->dtype, rank, dims);
}

/* Every --dim, --op and --input-shape must have met something. */
static bool check_given(Import *import, const Graph *graph) {
  for (int i = 0; import->options && i < import->options->dim_count; i++)
    if (!import->dims_used[i])
      return fail(import->module, "the model leaves no size '%s' open", import->options->dims[i].name);
  for (int i = 0; import->options && i < import->options->op_count; i++)
    if (!import->ops_used[i])
      return fail(import->module, "the model has no layer or class '%s' without a body",
                  import->options->ops[i].name);
  for (int i = 0; import->options && i < import->options->shape_count; i++) {
    bool found = false;
    for (int k = 0; k < graph->input_count; k++)
      found |= !strcmp(graph->inputs[k]->name, import->options->shapes[i].input);
    if (!found) return fail(import->module, "the model has no input '%s'", import->options->shapes[i].input);
  }
  return true;
}

static bool add_inputs(Import *import, const KerasModel *model, Graph *graph, int count) {
  for (int i = 0; i < count; i++) {
    Input input = {0};
    TRY(describe_input(import, model, i, &input));
    const Type *type = input_type(import, &input);
    if (!type) return false;
    graph_add_input(graph, input.name, type);
  }
  return check_given(import, graph);
}

/* ---- the outputs ---- */

/* An output is called as its layer; for a Sequential that is the last one, whatever it does. */
static const char *output_name(const KerasModel *model, int index) {
  return model->sequential ? model->layers[model->layer_count - 1].name : model->outputs[index].layer;
}

static bool set_outputs(Import *import, const KerasModel *model, Graph *graph, const Masked *outputs,
                        int count) {
  Arena *arena = import->module->arena;
  int total = count;
  for (const Kept *kept = import->kept; kept; kept = kept->next) total++;
  const char **names = NEW_ARRAY(arena, const char *, total);
  Value **values = NEW_ARRAY(arena, Value *, total);
  for (int i = 0; i < count; i++) {
    values[i] = outputs[i].value;
    names[i] = output_name(model, i);
    for (int k = 0; k < i; k++)
      if (!strcmp(names[k], names[i])) names[i] = arena_printf(arena, "%s_%d", names[i], i);
  }
  for (const Kept *kept = import->kept; kept; kept = kept->next, count++) {
    values[count] = kept->after;
    names[count] = arena_printf(arena, "%s.next", kept->name);
  }
  return graph_set_outputs(graph, count, values, names);
}

/* Before and after are the last inputs and outputs: these in the order of the list, those in the opposite. */
static bool set_states(Import *import, Graph *graph) {
  int count = 0;
  for (const Kept *kept = import->kept; kept; kept = kept->next) count++;
  if (!count) return true;
  StatePair *pairs = NEW_ARRAY(import->module->arena, StatePair, count);
  int output = graph->output_count - count, at = count;
  for (const Kept *kept = import->kept; kept; kept = kept->next) {
    StatePair *pair = &pairs[--at];
    *pair = (StatePair){kept->before->index, output++, kept->before->type};
    if (!type_is_static(kept->before->type))
      return fail(import->module, "the state '%s' needs a batch of fixed size: give --dim batch=N",
                  kept->name);
  }
  return graph_set_states(graph, count, pairs);
}

/* Augmentation is for training: said once, for all such layers. */
static void note_augmentation(Import *import, const KerasModel *model, const char **names) {
  for (int i = 0; i < model->layer_count; i++) {
    const Layer *layer = &model->layers[i];
    if (layer->nested) note_augmentation(import, layer->nested, names);
    if (layer->nested || layer->kind->build != augmentation || strstr(*names, layer->class_name)) continue;
    *names = arena_printf(import->module->arena, "%s%s%s", *names, **names ? ", " : "", layer->class_name);
  }
}

static bool import_container(Import *import, Graph *graph) {
  int errors = import->module->error_count;
  KerasModel *model = model_parse(import, import->container->config);
  if (!model || import->module->error_count > errors) return false;
  TRY(model_find_weights(import, model));
  const char *names = "";
  note_augmentation(import, model, &names);
  if (*names)
    diag_add(import->module,
             (Diag){.severity = SEVERITY_NOTE,
                    .text = arena_printf(import->module->arena,
                                         "augmentation is for training and does nothing here: %s", names)});
  graph->name = intern(import->module, model->name);
  TRY(add_inputs(import, model, graph, model->sequential ? 1 : model->input_count));
  int inputs = graph->input_count, count;
  Masked *given = NEW_ARRAY(import->module->arena, Masked, inputs), *outputs;
  for (int i = 0; i < inputs; i++) given[i].value = graph->inputs[i];
  TRY(model_build(import, model, given, inputs, &outputs, &count));
  return set_outputs(import, model, graph, outputs, count) && set_states(import, graph);
}

bool import_keras(Module *module, const char *path, const ImportOptions *options) {
  Container container;
  bool good = container_open(module, path, &container);
  if (good) {
    Graph *graph = graph_new(module, "main", NULL);
    Import import = {
        .module = module, .container = &container, .options = options, .builder = builder_at_end(graph)};
    import.dims_used = NEW_ARRAY(module->arena, bool, options ? options->dim_count : 0);
    import.ops_used = NEW_ARRAY(module->arena, bool, options ? options->op_count : 0);
    import.op_graphs = NEW_ARRAY(module->arena, Graph *, options ? options->op_count : 0);
    good = import_container(&import, graph);
    module->main = good ? graph : NULL;
    module->producer =
        arena_printf(module->arena, "Keras %s", container.version ? container.version : "(unknown version)");
  }
  container_close(&container);
  return good;
}
