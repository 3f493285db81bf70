/*
 * model.c -- an ONNX file to a graph.
 *
 * file -> wire_read (checked, weights left in the mapping) -> protobuf-c -> dims and options -> inputs ->
 * initializers as constants -> nodes -> outputs; then what nothing uses is removed, mostly the shape
 * arithmetic that became dims. An initializer that is also a graph input (IR version 3) is its default value,
 * and tenon takes it as a constant.
 */
#include "frontend/onnx/onnx.h"
#include "frontend/onnx/wire.h"

#include <stdlib.h>
#include <string.h>

enum { NEWEST_IR = 13, NEWEST_OPSET = 27 };

typedef Onnx__ValueInfoProto ValueInfo;

static void warn(Module *module, const char *text) {
  diag_add(module, (Diag){.severity = SEVERITY_WARNING, .text = text});
}

/* ---- Types */

/* The tensor that a type is, or is a form of; NULL, with a Diag when `report`, if it is none that tenon has.
 */
static const Onnx__TypeProto__Tensor *tensor_type(Import *import, const Onnx__TypeProto *type,
                                                  const char *name, bool report, Form *form) {
  const Onnx__TypeProto *inner = type;
  bool optional = inner && inner->optional_type;
  if (optional) inner = inner->optional_type->elem_type;
  bool sequence = inner && inner->sequence_type;
  if (sequence) inner = inner->sequence_type->elem_type;
  *form = optional && sequence ? FORM_OPTIONAL_SEQUENCE
          : optional           ? FORM_OPTIONAL
          : sequence           ? FORM_SEQUENCE
                               : FORM_TENSOR;
  if (inner && inner->tensor_type) return inner->tensor_type;
  const char *kind = !inner                      ? "no type"
                     : inner->sequence_type      ? "a sequence of sequences"
                     : inner->map_type           ? "a map"
                     : inner->sparse_tensor_type ? "a sparse tensor"
                                                 : "an unknown type";
  if (report && inner && inner->map_type)
    fail(import->module,
         "'%s' is a map: export the model from the vector on that DictVectorizer or CastMap makes", name);
  else if (report)
    fail(import->module, "'%s' has %s: only tensors and sequences of them are supported", name, kind);
  return NULL;
}

/* The dim of one axis; an unknown one, or with `opens` any number, gets a symbol of its own. */
static const Dim *dim_of_onnx(Import *import, const Onnx__TensorShapeProto__Dimension *dim, const char *name,
                              int axis, bool opens) {
  if (dim->dim_param && *dim->dim_param && strcmp(dim->dim_param, "?") != 0)
    return dim_of_param(import, dim->dim_param);
  if (dim->has_dim_value && dim->dim_value >= 0 && !opens) return dim_const(import->module, dim->dim_value);
  return dim_of_param(import, arena_printf(import->module->arena, "%s_%d", name, axis));
}

static const ImportShape *shape_option(const Import *import, const char *name) {
  for (int i = 0; i < import->options->shape_count; i++)
    if (strcmp(import->options->shapes[i].input, name) == 0) return &import->options->shapes[i];
  return NULL;
}

static const Type *type_of_option(Import *import, Dtype dtype, const ImportShape *shape) {
  for (int i = 0; i < shape->rank; i++) {
    if (shape->dims[i] >= 0) continue;
    fail(import->module, "the model gives input '%s' no shape: --input-shape %s=... must be all numbers",
         shape->input, shape->input);
    return NULL;
  }
  return type_static(import->module, dtype, shape->rank, shape->dims);
}

/* Of the tensors in other forms only the sizes that are numbers are known. */
static const Type *type_in_form(Import *import, Dtype dtype, const Onnx__TypeProto__Tensor *tensor,
                                Form form) {
  const Dim *dims[MAX_RANK];
  Module *module = import->module;
  const Type *type = type_unknown_rank(module, dtype);
  if (tensor->shape && tensor->shape->n_dim <= MAX_RANK) {
    for (size_t i = 0; i < tensor->shape->n_dim; i++) {
      const Onnx__TensorShapeProto__Dimension *dim = tensor->shape->dim[i];
      bool known = dim->has_dim_value && dim->dim_value >= 0;
      dims[i] = known ? dim_const(module, dim->dim_value) : dim_symbol(module, "_");
    }
    type = type_make(module, dtype, (int)tensor->shape->n_dim, dims);
  }
  return type_with_form(module, type, form);
}

const Type *type_of_onnx(Import *import, const Onnx__TypeProto *type, const char *name, bool report) {
  Form form;
  const Onnx__TypeProto__Tensor *tensor = tensor_type(import, type, name, report, &form);
  if (!tensor) return NULL;
  Dtype dtype = dtype_of_onnx(tensor->elem_type);
  const ImportShape *option = report ? shape_option(import, name) : NULL;
  if (dtype == DTYPE_NONE) {
    if (report)
      fail(import->module, "'%s' has elements of type %d, which is not supported", name, tensor->elem_type);
    return NULL;
  }
  if (form != FORM_TENSOR) return type_in_form(import, dtype, tensor, form);
  if (option && (!tensor->shape || option->replaces)) return type_of_option(import, dtype, option);
  if (!tensor->shape || tensor->shape->n_dim > MAX_RANK) {
    if (report && !tensor->shape)
      fail(import->module, "'%s' has no shape: give it, as in --input-shape %s=1x3x224x224", name, name);
    if (report && tensor->shape)
      fail(import->module, "'%s' has %zu dims, at most %d are supported", name, tensor->shape->n_dim,
           MAX_RANK);
    return NULL;
  }
  const Dim *dims[MAX_RANK];
  bool opens = import->options->symbolic && !(tensor->shape->n_dim == 1 && dtype_is_int(dtype));
  for (int i = 0; i < (int)tensor->shape->n_dim; i++) {
    bool is_given = option && option->dims[i] >= 0;
    dims[i] = is_given ? dim_const(import->module, option->dims[i])
                       : dim_of_onnx(import, tensor->shape->dim[i], name, i, opens);
  }
  return type_make(import->module, dtype, (int)tensor->shape->n_dim, dims);
}

/* ---- Declared types: hints */

static bool declared_fits(const Onnx__TypeProto__Tensor *declared, const Type *type) {
  const Onnx__TensorShapeProto *shape = declared->shape;
  if (declared->elem_type && dtype_of_onnx(declared->elem_type) != type->dtype) return false;
  if (!shape) return true;
  if (shape->n_dim != (size_t)type->rank) return false;
  for (int i = 0; i < type->rank; i++)
    if (shape->dim[i]->has_dim_value && dim_is_const(type->dims[i]) && shape->dim[i]->dim_value >= 0 &&
        shape->dim[i]->dim_value != type->dims[i]->value)
      return false;
  return true;
}

static const char *declared_text(Import *import, const Onnx__TypeProto__Tensor *declared) {
  Arena *arena = import->module->arena;
  const Onnx__TensorShapeProto *shape = declared->shape;
  const char *text = dtype_name(dtype_of_onnx(declared->elem_type));
  for (size_t i = 0; shape && i < shape->n_dim && i < MAX_RANK; i++) {
    const Onnx__TensorShapeProto__Dimension *dim = shape->dim[i];
    const char *comma = i ? "," : "[", *param = dim->dim_param ? dim->dim_param : "?";
    text = dim->has_dim_value ? arena_printf(arena, "%s%s%lld", text, comma, (long long)dim->dim_value)
                              : arena_printf(arena, "%s%s%.60s", text, comma, param);
  }
  return shape && shape->n_dim ? arena_printf(arena, "%s]", text) : text;
}

void check_declared(Import *import, const ValueInfo *declared, const Value *value) {
  const Onnx__TypeProto__Tensor *tensor = declared && declared->type ? declared->type->tensor_type : NULL;
  bool is_known = tensor && value != &import->failed && value != &import->absent && value->type &&
                  type_is_tensor(value->type) && dtype_of_onnx(tensor->elem_type) != DTYPE_NONE;
  if (!is_known || declared_fits(tensor, value->type) || import->contradictions++ > 0) return;
  import->first_contradiction =
      arena_printf(import->module->arena, "the model declares '%s' as %s, but computes %s", declared->name,
                   declared_text(import, tensor), type_text(import->module, value->type));
}

/* Once, however many there are. Sizes that the user gives are not the model's mistake. */
static void warn_contradictions(const Import *import) {
  if (import->contradictions == 0 || import->options->shape_count > 0) return;
  const char *others =
      import->contradictions == 1
          ? ""
          : arena_printf(import->module->arena, " (and %d more likewise)", import->contradictions - 1);
  warn(import->module, arena_printf(import->module->arena, "%s%s; what is computed counts",
                                    import->first_contradiction, others));
}

/* ---- Options: --dim and --input-shape give values to the names of dims */

static const Onnx__TensorShapeProto *shape_of(const ValueInfo *info) {
  return info->type && info->type->tensor_type ? info->type->tensor_type->shape : NULL;
}

/* First the plain names, then those that may be sums of them. */
static void collect_dim_names(Import *import, size_t count, ValueInfo **inputs) {
  enum { MAX_NAMES = 10000 };
  int left = MAX_NAMES;
  for (int only_plain = 1; only_plain >= 0; only_plain--) {
    for (size_t i = 0; i < count; i++) {
      const Onnx__TensorShapeProto *shape = shape_of(inputs[i]);
      for (size_t axis = 0; shape && axis < shape->n_dim && left > 0; axis++) {
        const char *param = shape->dim[axis]->dim_param;
        if (param && *param && strcmp(param, "?") != 0 && (!only_plain || !strpbrk(param, "+*-"))) {
          dim_of_param(import, param);
          left--;
        }
      }
    }
  }
}

static DimName *dim_name_find(const Import *import, const char *name) {
  for (DimName *dim = import->dims; dim; dim = dim->next)
    if (strcmp(dim->original, name) == 0 || strcmp(dim->symbol, name) == 0) return dim;
  return NULL;
}

static bool bind_dim(Import *import, DimName *dim, int64_t value) {
  if (value < 0) return fail(import->module, "dim '%s' cannot be %lld", dim->original, (long long)value);
  if (dim->is_bound && dim->value != value)
    return fail(import->module, "dim '%s' is given as %lld and as %lld", dim->original, (long long)dim->value,
                (long long)value);
  dim->is_bound = true;
  dim->value = value;
  return true;
}

static void bind_dims(Import *import) {
  for (int i = 0; i < import->options->dim_count; i++) {
    const ImportDim *given = &import->options->dims[i];
    DimName *dim = dim_name_find(import, given->name);
    const char *known = "none";
    for (const DimName *d = import->dims; !dim && d; d = d->next)
      known =
          d == import->dims ? d->original : arena_printf(import->module->arena, "%s, %s", d->original, known);
    if (dim)
      bind_dim(import, dim, given->value);
    else
      fail(import->module, "the model has no dim '%s'; those with a name: %s", given->name, known);
  }
}

static const ValueInfo *find_input(const Onnx__GraphProto *graph, const char *name) {
  for (size_t i = 0; i < graph->n_input; i++)
    if (graph->input[i]->name && strcmp(graph->input[i]->name, name) == 0) return graph->input[i];
  return NULL;
}

static bool bind_shape(Import *import, const ImportShape *shape, const Onnx__GraphProto *graph) {
  const ValueInfo *info = find_input(graph, shape->input);
  if (!info) return fail(import->module, "--input-shape: the model has no input '%s'", shape->input);
  const Onnx__TensorShapeProto *declared = shape_of(info);
  if (shape->replaces) return true;
  if (declared && (int)declared->n_dim != shape->rank)
    return fail(import->module, "--input-shape gives '%s' %d dims, the model %zu", shape->input, shape->rank,
                declared->n_dim);
  for (int i = 0; declared && i < shape->rank; i++) {
    const char *param = declared->dim[i]->dim_param;
    DimName *dim = param ? dim_name_find(import, param) : NULL;
    if (dim && shape->dims[i] >= 0) TRY(bind_dim(import, dim, shape->dims[i]));
  }
  return true;
}

/* Of a map: how many keys it has. */
static const Dim *map_size(Import *import, const char *name) {
  return dim_of_param(import, arena_printf(import->module->arena, "%s_size", name));
}

/* Wrong options are recorded, and the model is looked at all the same. */
static void bind_options(Import *import, const Onnx__GraphProto *graph) {
  collect_dim_names(import, graph->n_input, graph->input);
  for (int i = 0; i < import->options->shape_count; i++)
    bind_shape(import, &import->options->shapes[i], graph);
  /* Axes without a name are known by the input's name and their number. */
  for (size_t i = 0; i < graph->n_input; i++) {
    const ValueInfo *info = graph->input[i];
    if (info->name && info->type && info->type->map_type)
      map_size(import, info->name);
    else if (info->name)
      type_of_onnx(import, info->type, info->name, false);
  }
  bind_dims(import);
}

/* ---- The graph */

static bool define(Import *import, Scope *scope, const char *name, Value *value) {
  const char *interned = intern(import->module, name);
  if (names_get(&scope->values, interned)) return fail(import->module, "'%s' is defined twice", name);
  names_set(import->module, &scope->values, interned, value);
  return true;
}

/* A tensor that cannot be read is stood for by `failed`, so that the rest is looked at, too. */
static void add_initializer(Import *import, Scope *scope, const char *name, const TensorInfo *info,
                            Data *data) {
  Value *value = &import->failed;
  if (data) {
    data->name = intern(import->module, name);
    Builder builder = builder_at_end(import->graph);
    value =
        build_const(&builder, type_static(import->module, info->dtype, info->rank, info->dims), data, name);
  }
  define(import, scope, name, value ? value : &import->failed);
}

static void add_initializers(Import *import, Scope *scope, const Onnx__GraphProto *graph) {
  for (size_t i = 0; i < graph->n_initializer; i++) {
    const Onnx__TensorProto *tensor = graph->initializer[i];
    TensorInfo info;
    bool ok = tensor_info(import->module, tensor, &info);
    add_initializer(import, scope, tensor->name ? tensor->name : "", &info,
                    ok ? tensor_data(&import->source, tensor, &info) : NULL);
  }
  for (size_t i = 0; i < graph->n_sparse_initializer; i++) {
    const Onnx__SparseTensorProto *sparse = graph->sparse_initializer[i];
    TensorInfo info;
    Data *data = sparse_data(&import->source, sparse, &info);
    const char *name = sparse->values && sparse->values->name ? sparse->values->name : "";
    add_initializer(import, scope, name, &info, data);
  }
}

/* NAME_keys or NAME_values of a map. */
static bool is_half_of_map(const Onnx__GraphProto *graph, const char *half) {
  for (size_t i = 0; i < graph->n_input; i++) {
    const ValueInfo *info = graph->input[i];
    size_t length = info->name ? strlen(info->name) : 0;
    if (info->type && info->type->map_type && length && strncmp(half, info->name, length) == 0 &&
        (strcmp(half + length, "_keys") == 0 || strcmp(half + length, "_values") == 0))
      return true;
  }
  return false;
}

static bool has_initializer(const Onnx__GraphProto *graph, const char *name) {
  for (size_t i = 0; i < graph->n_initializer; i++)
    if (graph->initializer[i]->name && strcmp(graph->initializer[i]->name, name) == 0) return true;
  return false;
}

static const ValueInfo *find_given(const Onnx__GraphProto *graph, const ImportConstant *given) {
  if (given->input && *given->input) return find_input(graph, given->input);
  int place = given->place;
  for (size_t i = 0; i < graph->n_input; i++) {
    const char *name = graph->input[i]->name;
    if (name && !has_initializer(graph, name) && place-- == 0) return graph->input[i];
  }
  return NULL;
}

/* A value that the caller gives takes the input's place. */
static bool add_given_inputs(Import *import, Scope *scope, const Onnx__GraphProto *graph) {
  Module *module = import->module;
  for (int i = 0; i < import->options->constant_count; i++) {
    const ImportConstant *given = &import->options->constants[i];
    const ValueInfo *info = find_given(graph, given);
    const char *name = info ? info->name : "";
    const Tensor *tensor = given->value;
    if (!info && given->input && is_half_of_map(graph, given->input)) continue; /* add_half takes it */
    if (!info)
      return fail(module, "a value is given for '%s', which the model does not take",
                  given->input ? given->input : "");
    Form form;
    const Onnx__TypeProto__Tensor *declared = tensor_type(import, info->type, name, true, &form);
    if (!declared) return false;
    if (form != FORM_TENSOR) return fail(module, "'%s' is no tensor: no value can be given for it", name);
    Dtype dtype = dtype_of_onnx(declared->elem_type);
    bool is_bits = dtype == DTYPE_BF16 && tensor->dtype == DTYPE_U16; /* as the conformance data has it */
    if (dtype != tensor->dtype && !is_bits)
      return fail(module, "the value given for '%s' is %s", name, dtype_name(tensor->dtype));
    TensorInfo type = {.dtype = dtype, .rank = tensor->rank, .count = tensor_count(tensor)};
    memcpy(type.dims, tensor->dims, sizeof type.dims);
    add_initializer(import, scope, name, &type, data_copy(module, type.dtype, type.count, tensor->data));
  }
  return true;
}

/* A map of the graph is two inputs of the module. */
typedef struct MapInput {
  const Value *values;
  Value *keys;
  struct MapInput *next;
} MapInput;

Value *map_keys(const Import *import, const Value *values) {
  for (const MapInput *map = import->maps; map; map = map->next)
    if (map->values == values) return map->keys;
  return NULL;
}

static Value *add_half(Import *import, const char *name, const char *half, int64_t data_type,
                       const Dim *size) {
  Module *module = import->module;
  Builder builder = builder_at_end(import->graph);
  Dtype dtype = dtype_of_onnx(data_type);
  const char *both = arena_printf(module->arena, "%s_%s", name, half);
  for (int i = 0; i < import->options->constant_count; i++) {
    const ImportConstant *given = &import->options->constants[i];
    const Tensor *x = given->value;
    if (strcmp(given->input, both) == 0 && x->dtype == dtype && x->rank == 1)
      return build_const(&builder, type_static(module, dtype, 1, x->dims),
                         data_copy(module, dtype, x->dims[0], x->data), both);
  }
  if (dtype != DTYPE_NONE) return graph_add_input(import->graph, both, type_make(module, dtype, 1, &size));
  fail(module, "'%s' has elements of type %lld, which is not supported", both, (long long)data_type);
  return NULL;
}

/* NAME_keys and NAME_values, of NAME_size elements; the values stand for the map. */
static Value *add_map(Import *import, const char *name, const Onnx__TypeProto__Map *type) {
  const Onnx__TypeProto__Tensor *value = type->value_type ? type->value_type->tensor_type : NULL;
  const Dim *size = map_size(import, name);
  if (!value) {
    fail(import->module, "'%s' is a map to what is no tensor", name);
    return NULL;
  }
  Value *keys = add_half(import, name, "keys", type->key_type, size),
        *values = keys ? add_half(import, name, "values", value->elem_type, size) : NULL;
  if (!values) return NULL;
  MapInput *map = NEW(import->module->arena, MapInput);
  *map = (MapInput){values, keys, import->maps};
  import->maps = map;
  return values;
}

static void add_inputs(Import *import, Scope *scope, const Onnx__GraphProto *graph) {
  for (size_t i = 0; i < graph->n_input; i++) {
    const ValueInfo *info = graph->input[i];
    const char *name = info->name ? info->name : "";
    const Value *known = names_get(&scope->values, intern(import->module, name));
    if (known && (known->def || known == &import->failed)) continue; /* has an initializer */
    if (info->type && info->type->map_type) {
      Value *map = add_map(import, name, info->type->map_type);
      define(import, scope, name, map ? map : &import->failed);
      continue;
    }
    const Type *type = type_of_onnx(import, info->type, name, true);
    define(import, scope, name, type ? graph_add_input(import->graph, name, type) : &import->failed);
  }
}

static void add_declared(Import *import, Scope *scope, size_t count, ValueInfo **infos) {
  for (size_t i = 0; i < count; i++)
    if (infos[i]->name)
      names_set(import->module, &scope->declared, intern(import->module, infos[i]->name), infos[i]);
}

/* ---- Labels of classes */

typedef struct ValueLabels {
  const Value *value;
  Labelled labels;
  struct ValueLabels *next;
} ValueLabels;

void import_labels(Import *import, const Value *value, int count, const int64_t *ints,
                   const char *const *names) {
  Module *module = import->module;
  ValueLabels *labels = NEW(module->arena, ValueLabels);
  *labels = (ValueLabels){.value = value, .labels.count = count, .next = import->labels};
  if (ints) labels->labels.ints = arena_copy(module->arena, ints, sizeof *ints * (size_t)count);
  if (names) {
    const char **copies = NEW_ARRAY(module->arena, const char *, count);
    for (int i = 0; i < count; i++) copies[i] = intern(module, names[i]);
    labels->labels.names = copies;
  }
  import->labels = labels;
}

/* The newest of a value: a ZipMap knows better than what it follows. */
static void keep_labels(Import *import, const char *output, const Value *value) {
  for (const ValueLabels *labels = import->labels; labels; labels = labels->next) {
    if (labels->value != value) continue;
    Labelled *kept = NEW(import->module->arena, Labelled);
    *kept = labels->labels;
    kept->output = output;
    kept->of_columns = value->type->rank > 1;
    kept->next = import->module->labels;
    import->module->labels = kept;
    return;
  }
}

/* ---- Outputs */

void import_inner_graph(Import *import, Scope *scope, const Onnx__GraphProto *graph) {
  add_initializers(import, scope, graph);
  add_declared(import, scope, graph->n_value_info, graph->value_info);
  import_nodes(import, scope, graph->n_node, graph->node);
}

/* What a loop may leave absent, and the model says is there. */
static Value *never_absent(Import *import, const ValueInfo *output, Value *value) {
  bool may_be_absent = value->type->form == FORM_OPTIONAL || value->type->form == FORM_OPTIONAL_SEQUENCE;
  if (!may_be_absent || !output->type || output->type->optional_type) return value;
  Builder builder = builder_at_end(import->graph);
  return build_unary(&builder, &op_optional_get, value);
}

static bool set_outputs(Import *import, const Scope *scope, const Onnx__GraphProto *graph) {
  int count = (int)graph->n_output;
  Value **values = NEW_ARRAY(import->module->arena, Value *, count);
  const char **names = NEW_ARRAY(import->module->arena, const char *, count);
  if (count == 0) return fail(import->module, "the graph has no outputs");
  for (int i = 0; i < count; i++) {
    names[i] = intern(import->module, graph->output[i]->name ? graph->output[i]->name : "");
    values[i] = names_get(&scope->values, names[i]);
    if (!values[i]) fail(import->module, "output '%s' is computed by no node", names[i]);
    if (values[i] && values[i] != &import->failed)
      values[i] = never_absent(import, graph->output[i], values[i]);
    for (int j = 0; j < i; j++)
      if (names[i] == names[j]) fail(import->module, "output '%s' comes twice", names[i]);
  }
  if (import->module->error_count > 0) return false;
  for (int i = 0; i < count; i++) keep_labels(import, names[i], values[i]);
  return graph_set_outputs(import->graph, count, values, names);
}

/* From the last node to the first, so that whole chains go. */
static void remove_unused(Graph *graph) {
  for (Node *node = graph->last, *prev; node; node = prev) {
    prev = node->prev;
    bool is_used = node_is(node, &op_return);
    for (int i = 0; i < node->result_count; i++) is_used |= node->results[i]->uses != NULL;
    for (int i = 0; node->op->traits & TRAIT_DYNAMIC && i < node->region_count; i++)
      remove_unused(node->regions[i]);
    if (!is_used && !node_must_stay(node)) node_remove(node);
  }
}

static bool attempt_graph(void *context) {
  Import *import = context;
  const Onnx__GraphProto *graph = import->model->graph;
  Scope scope = {.opset_count = import->model->n_opset_import, .opsets = import->model->opset_import};
  scope.graph = import->graph =
      graph_new(import->module, graph->name && *graph->name ? graph->name : "main", NULL);
  bind_options(import, graph);
  add_initializers(import, &scope, graph);
  TRY(add_given_inputs(import, &scope, graph));
  add_inputs(import, &scope, graph);
  add_declared(import, &scope, graph->n_value_info, graph->value_info);
  add_declared(import, &scope, graph->n_output, graph->output);
  import_nodes(import, &scope, graph->n_node, graph->node);
  TRY(set_outputs(import, &scope, graph));
  warn_contradictions(import);
  remove_unused(import->graph);
  import->module->main = import->graph;
  return true;
}

/* ---- The model */

static bool check_versions(Import *import) {
  const Onnx__ModelProto *model = import->model;
  Arena *arena = import->module->arena;
  for (size_t i = 0; i < model->n_opset_import; i++) {
    const Onnx__OperatorSetIdProto *opset = model->opset_import[i];
    if (opset->version < 1 || opset->version > INT32_MAX)
      return fail(import->module, "opset version %lld", (long long)opset->version);
    if (domain_is_onnx(opset->domain) && opset->version > NEWEST_OPSET)
      warn(import->module, arena_printf(arena, "opset %lld is newer than %d, the newest that is known here",
                                        (long long)opset->version, NEWEST_OPSET));
  }
  if (model->ir_version > NEWEST_IR)
    warn(import->module,
         arena_printf(arena, "IR version %lld is newer than %d, the newest that is known here",
                      (long long)model->ir_version, NEWEST_IR));
  return model->graph || fail(import->module, "the file holds no graph");
}

static Onnx__ModelProto *unpack(Module *module, const Mapping *file) {
  Wire wire;
  if (!wire_read(file->bytes, file->size, &onnx__model_proto__descriptor, &wire)) {
    fail(module, "no ONNX model: byte %zu: %s, in %s", wire.error_at, wire.error, wire.where);
    return NULL;
  }
  Onnx__ModelProto *model = onnx__model_proto__unpack(NULL, wire.size, wire.bytes);
  free(wire.bytes);
  if (!model) fail(module, "no ONNX model: a field does not have the form that ONNX gives it");
  return model;
}

bool import_onnx(Module *module, const char *path, const ImportOptions *options) {
  static const ImportOptions no_options = {0};
  Import import = {
      .module = module, .options = options ? options : &no_options, .source = {.module = module}};
  import.source.file = mapping_open(module, path);
  if (!import.source.file) return false;
  Onnx__ModelProto *model = unpack(module, import.source.file);
  import.model = model;
  bool ok = model && check_versions(&import) && import_attempt(&import, attempt_graph, &import);
  if (model && model->producer_name && *model->producer_name)
    module->producer = intern(module, arena_printf(module->arena, "%s %s", model->producer_name,
                                                   model->producer_version ? model->producer_version : ""));
  if (model) onnx__model_proto__free_unpacked(model, NULL);
  source_close(&import.source);
  return ok && module->error_count == 0;
}
