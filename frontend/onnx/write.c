/*
 * write.c -- a graph as an ONNX model: `--emit onnx`.
 *
 * Written are standard operators of one opset, so that any other tool reads the model. Values keep their
 * names, sizes theirs. Weights are raw bytes in the file, or in FILE.data beside it, where protobuf's limit
 * of 2 GB would be passed. A state is an input and an output again.
 */
#include "frontend/onnx/write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uint64_t most_inside = (uint64_t)1 << 30; /* bytes of weights; well below the limit */

/* ---- Types */

static Onnx__TypeProto *tensor_type(Writer *writer, const Type *type) {
  Arena *arena = writer->module->arena;
  Onnx__TypeProto *proto = NEW(arena, Onnx__TypeProto);
  Onnx__TypeProto__Tensor *tensor = NEW(arena, Onnx__TypeProto__Tensor);
  onnx__type_proto__init(proto);
  onnx__type_proto__tensor__init(tensor);
  proto->tensor_type = tensor;
  tensor->has_elem_type = true;
  tensor->elem_type = (int32_t)onnx_of_dtype(type->dtype);
  if (type->rank < 0) return proto;
  tensor->shape = NEW(arena, Onnx__TensorShapeProto);
  onnx__tensor_shape_proto__init(tensor->shape);
  tensor->shape->dim = NEW_ARRAY(arena, Onnx__TensorShapeProto__Dimension *, type->rank);
  for (int i = 0; i < type->rank; i++) {
    Onnx__TensorShapeProto__Dimension *dim = NEW(arena, Onnx__TensorShapeProto__Dimension);
    onnx__tensor_shape_proto__dimension__init(dim);
    dim->has_dim_value = dim_is_const(type->dims[i]);
    dim->dim_value = type->dims[i]->value;
    if (!dim->has_dim_value && !dim_says_nothing(type->dims[i]))
      dim->dim_param = dim_text(writer->module, type->dims[i]);
    tensor->shape->dim[tensor->shape->n_dim++] = dim;
  }
  return proto;
}

Onnx__TypeProto *type_proto(Writer *writer, const Type *type) {
  Arena *arena = writer->module->arena;
  Onnx__TypeProto *proto = tensor_type(writer, type);
  if (type->form == FORM_SEQUENCE || type->form == FORM_OPTIONAL_SEQUENCE) {
    Onnx__TypeProto *sequence = NEW(arena, Onnx__TypeProto);
    onnx__type_proto__init(sequence);
    sequence->sequence_type = NEW(arena, Onnx__TypeProto__Sequence);
    onnx__type_proto__sequence__init(sequence->sequence_type);
    sequence->sequence_type->elem_type = proto;
    proto = sequence;
  }
  if (type->form == FORM_OPTIONAL || type->form == FORM_OPTIONAL_SEQUENCE) {
    Onnx__TypeProto *optional = NEW(arena, Onnx__TypeProto);
    onnx__type_proto__init(optional);
    optional->optional_type = NEW(arena, Onnx__TypeProto__Optional);
    onnx__type_proto__optional__init(optional->optional_type);
    optional->optional_type->elem_type = proto;
    proto = optional;
  }
  return proto;
}

static Onnx__ValueInfoProto *value_info(Writer *writer, const char *name, const Type *type) {
  Onnx__ValueInfoProto *info = NEW(writer->module->arena, Onnx__ValueInfoProto);
  onnx__value_info_proto__init(info);
  info->name = (char *)name;
  info->type = type_proto(writer, type);
  return info;
}

/* ---- Weights */

static void set_strings(Writer *writer, const Data *data, Onnx__TensorProto *tensor) {
  tensor->string_data = NEW_ARRAY(writer->module->arena, ProtobufCBinaryData, data->count);
  for (int64_t i = 0; i < data->count; i++) {
    const char *text = data_string(data, i);
    tensor->string_data[tensor->n_string_data++] =
        (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)text};
  }
}

/* All elements, also of a splat. */
static const void *bytes_of(Writer *writer, const Data *data, size_t *size) {
  if (!data->splat) return *size = data->size, data->bytes;
  Data *all = data_new(writer->module, data->dtype, data->count);
  for (int64_t i = 0; i < data->count; i++) dtype_copy(data->dtype, data_bytes(all), i, data->bytes, 0);
  return *size = all->size, all->bytes;
}

Onnx__TensorProto *tensor_proto(Writer *writer, const Data *data, int rank, const int64_t *dims) {
  Onnx__TensorProto *tensor = NEW(writer->module->arena, Onnx__TensorProto);
  onnx__tensor_proto__init(tensor);
  tensor->has_data_type = true;
  tensor->data_type = (int32_t)onnx_of_dtype(data->dtype);
  tensor->n_dims = (size_t)rank;
  tensor->dims = arena_copy(writer->module->arena, dims, sizeof *dims * (size_t)rank);
  if (data->dtype == DTYPE_STRING) return set_strings(writer, data, tensor), tensor;
  tensor->has_raw_data = true;
  tensor->raw_data.data = (uint8_t *)bytes_of(writer, data, &tensor->raw_data.len);
  return tensor;
}

/* Equal elements need not be stored. */
static const char *put_filled(Writer *writer, const Data *data, int rank, const int64_t *dims) {
  const Data *one = data_spread(writer->module, data, 0, 1);
  const char *filled = put1(writer, "ConstantOfShape", put_ints(writer, dims, rank));
  with_tensor(writer, "value", tensor_proto(writer, one, 1, &(int64_t){1}));
  return filled;
}

const char *put_data(Writer *writer, const Data *data, int rank, const int64_t *dims, const char *name) {
  enum { STORED = 1024 };
  bool is_plain = dtype_bits(data->dtype) >= 8 && data->dtype != DTYPE_STRING;
  if (data->splat && data->count > STORED && is_plain) return put_filled(writer, data, rank, dims);
  Onnx__TensorProto *tensor = tensor_proto(writer, data, rank, dims);
  tensor->name = (char *)name_new(writer, name ? name : data->name ? data->name : "constant");
  list_add(writer->module->arena, &writer->graph->initializers, tensor);
  return tensor->name;
}

/* ---- Graphs */

/* What a node reads, also in graphs inside of it. */
static void want_inputs(Writer *writer, NameMap *used, const OutNode *node) {
  for (size_t i = 0; i < node->n_input; i++) names_set(writer->module, used, node->input[i], node);
  for (size_t i = 0; i < node->n_attribute; i++) {
    const Onnx__GraphProto *graph = node->attribute[i]->g;
    if (!graph) continue;
    for (size_t j = 0; j < graph->n_output; j++)
      names_set(writer->module, used, graph->output[j]->name, graph);
    for (size_t j = 0; j < graph->n_node; j++) want_inputs(writer, used, graph->node[j]);
  }
}

/* Nodes whose outputs nobody reads go, from the last to the first, then constants. */
static void keep_used(Writer *writer, Onnx__GraphProto *graph) {
  NameMap used = {0};
  for (size_t i = 0; i < graph->n_output; i++)
    names_set(writer->module, &used, graph->output[i]->name, graph);
  size_t kept = graph->n_node;
  for (size_t i = graph->n_node; i-- > 0;) {
    OutNode *node = graph->node[i];
    bool wanted = false;
    for (size_t j = 0; j < node->n_output; j++) wanted |= names_get(&used, node->output[j]) != NULL;
    if (!wanted) continue;
    want_inputs(writer, &used, node);
    graph->node[--kept] = node;
  }
  graph->n_node -= kept;
  graph->node += kept;
  size_t count = 0;
  for (size_t i = 0; i < graph->n_initializer; i++)
    if (names_get(&used, graph->initializer[i]->name)) graph->initializer[count++] = graph->initializer[i];
  graph->n_initializer = count;
}

static void put_inputs(Writer *writer, const Graph *graph, int count, Onnx__GraphProto *proto) {
  proto->input = NEW_ARRAY(writer->module->arena, Onnx__ValueInfoProto *, count);
  for (int i = 0; i < count; i++) {
    const Value *input = graph->inputs[i];
    offer_sizes(writer, input);
    proto->input[proto->n_input++] = value_info(writer, name_of(writer, input), input->type);
  }
}

/* The value under another name. */
static const char *put_copy(Writer *writer, const char *name, const char *wanted) {
  const char *copy = put1(writer, "Identity", name);
  if (!wanted) return copy;
  OutNode *node = writer->graph->nodes.items[writer->graph->nodes.count - 1];
  node->output[0] = node->name = (char *)wanted;
  return wanted;
}

/* In a node all outputs are copies, for they may be values of the graph around it. */
static void put_outputs(Writer *writer, const Graph *graph, const char *const *names,
                        Onnx__GraphProto *proto) {
  proto->output = NEW_ARRAY(writer->module->arena, Onnx__ValueInfoProto *, graph->output_count);
  for (int i = 0; i < graph->output_count; i++) {
    const Value *value = graph_output(graph, i);
    const char *name = name_of(writer, value), *wanted = names ? names[i] : NULL;
    if (name != wanted) name = put_copy(writer, name, wanted); /* an input, a constant, or twice the same */
    proto->output[proto->n_output++] = value_info(writer, name, value->type);
  }
}

/* The first `inputs` of the graph are its own; output_names NULL: any. */
static Onnx__GraphProto *write_graph(Writer *writer, const Graph *graph, int inputs,
                                     const char *const *output_names) {
  Arena *arena = writer->module->arena;
  OutGraph *out = NEW(arena, OutGraph);
  Onnx__GraphProto *proto = NEW(arena, Onnx__GraphProto);
  onnx__graph_proto__init(proto);
  proto->name = arena_printf(arena, "%s", graph->name && *graph->name ? graph->name : "graph");
  out->outer = writer->graph;
  writer->graph = out;
  put_inputs(writer, graph, inputs, proto);
  bool ok = write_nodes(writer, graph);
  if (ok) put_outputs(writer, graph, output_names, proto);
  writer->graph = out->outer;
  proto->node = (Onnx__NodeProto **)out->nodes.items;
  proto->n_node = (size_t)out->nodes.count;
  proto->initializer = (Onnx__TensorProto **)out->initializers.items;
  proto->n_initializer = (size_t)out->initializers.count;
  if (ok) keep_used(writer, proto);
  return ok ? proto : NULL;
}

Onnx__GraphProto *write_region(Writer *writer, const Graph *graph, int inputs) {
  return write_graph(writer, graph, inputs, NULL);
}

/* Inputs and outputs keep their names, whatever else is called so; a value that is an output has its name at
 * once. */
static const char **name_ports(Writer *writer, const Graph *graph) {
  Module *module = writer->module;
  const char **outputs = NEW_ARRAY(module->arena, const char *, graph->output_count);
  for (int i = 0; i < graph->input_count; i++) {
    const char *name = name_new(writer, graph->inputs[i]->name);
    names_set(module, &writer->names, (const char *)graph->inputs[i], name);
  }
  for (int i = 0; i < graph->output_count; i++) outputs[i] = name_new(writer, graph->output_names[i]);
  for (int i = 0; i < graph->output_count; i++) {
    const Value *value = graph_output(graph, i);
    bool is_made = value->def && !value->def->data && !names_get(&writer->names, (const char *)value);
    if (is_made) names_set(module, &writer->names, (const char *)value, outputs[i]);
  }
  return outputs;
}

/* ---- The model */

static void set_opset(Writer *writer, Onnx__ModelProto *model) {
  Onnx__OperatorSetIdProto *opset = NEW(writer->module->arena, Onnx__OperatorSetIdProto);
  onnx__operator_set_id_proto__init(opset);
  opset->domain = "";
  opset->has_version = true;
  opset->version = writer->opset;
  model->opset_import = NEW_ARRAY(writer->module->arena, Onnx__OperatorSetIdProto *, 1);
  model->opset_import[model->n_opset_import++] = opset;
}

static Onnx__StringStringEntryProto *entry(Writer *writer, const char *key, const char *value) {
  Onnx__StringStringEntryProto *made = NEW(writer->module->arena, Onnx__StringStringEntryProto);
  onnx__string_string_entry_proto__init(made);
  made->key = (char *)key;
  made->value = (char *)value;
  return made;
}

/* Which tool wrote the model that this one was. */
static void set_source(Writer *writer, Onnx__ModelProto *model) {
  model->producer_name = "tenon";
  if (!writer->module->producer) return;
  model->metadata_props = NEW_ARRAY(writer->module->arena, Onnx__StringStringEntryProto *, 1);
  model->metadata_props[model->n_metadata_props++] =
      entry(writer, "source_producer", writer->module->producer);
}

/* ---- Files */

/* Moves the weights of the graph, and of those inside, into the file beside the model. */
static bool move_weights(Writer *writer, Onnx__GraphProto *graph, const char *location, FILE *file,
                         uint64_t *at) {
  enum { KEPT = 1024, PAGE = 4096 };
  static const char zeros[PAGE];
  Arena *arena = writer->module->arena;
  for (size_t i = 0; i < graph->n_initializer; i++) {
    Onnx__TensorProto *tensor = graph->initializer[i];
    size_t size = tensor->raw_data.len, gap = (size_t)(PAGE - *at % PAGE) % PAGE;
    if (!tensor->has_raw_data || size < KEPT) continue;
    if (fwrite(zeros, 1, gap, file) != gap || fwrite(tensor->raw_data.data, 1, size, file) != size)
      return false;
    tensor->external_data = NEW_ARRAY(arena, Onnx__StringStringEntryProto *, 3);
    tensor->external_data[0] = entry(writer, "location", location);
    tensor->external_data[1] =
        entry(writer, "offset", arena_printf(arena, "%llu", (unsigned long long)(*at + gap)));
    tensor->external_data[2] = entry(writer, "length", arena_printf(arena, "%zu", size));
    tensor->n_external_data = 3;
    tensor->has_raw_data = false;
    tensor->has_data_location = true;
    tensor->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    *at += gap + size;
  }
  for (size_t i = 0; i < graph->n_node; i++)
    for (size_t j = 0; j < graph->node[i]->n_attribute; j++)
      if (graph->node[i]->attribute[j]->g)
        TRY(move_weights(writer, graph->node[i]->attribute[j]->g, location, file, at));
  return true;
}

static bool write_external(Writer *writer, Onnx__GraphProto *graph) {
  Module *module = writer->module;
  const char *path = arena_printf(module->arena, "%s.data", writer->path), *slash = strrchr(path, '/');
  FILE *file = fopen(path, "wb");
  uint64_t at = 0;
  bool ok = file && move_weights(writer, graph, slash ? slash + 1 : path, file, &at);
  ok = file && !fclose(file) && ok;
  if (ok && at == 0) unlink(path); /* no weight is worth it */
  return ok || fail(module, "cannot write '%s': %s", path, strerror(errno));
}

static uint64_t weight_bytes(const Onnx__GraphProto *graph) {
  uint64_t bytes = 0;
  for (size_t i = 0; i < graph->n_initializer; i++) bytes += graph->initializer[i]->raw_data.len;
  return bytes;
}

/* protobuf-c's buffer that is a file. */
typedef struct FileBuffer {
  ProtobufCBuffer base;
  FILE *file;
  bool failed;
} FileBuffer;

static void append(ProtobufCBuffer *base, size_t size, const uint8_t *bytes) {
  FileBuffer *buffer = (FileBuffer *)base;
  buffer->failed |= fwrite(bytes, 1, size, buffer->file) != size;
}

static bool write_file(Writer *writer, const Onnx__ModelProto *model) {
  FileBuffer buffer = {.base.append = append, .file = fopen(writer->path, "wb")};
  if (buffer.file) {
    protobuf_c_message_pack_to_buffer(&model->base, &buffer.base);
    buffer.failed |= fclose(buffer.file) != 0;
  }
  return (buffer.file && !buffer.failed) ||
         fail(writer->module, "cannot write '%s': %s", writer->path, strerror(errno));
}

bool onnx_write(const Graph *graph, const char *path, bool external) {
  Writer writer = {.module = graph->module, .path = path, .opset = LEAST_OPSET};
  const char **outputs = name_ports(&writer, graph);
  Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
  model.graph = write_graph(&writer, graph, graph->input_count, outputs);
  if (!model.graph) return false;
  model.has_ir_version = true;
  model.ir_version = writer.opset < 21 ? 9 : 10;
  set_opset(&writer, &model);
  set_source(&writer, &model);
  if (external || weight_bytes(model.graph) > most_inside) TRY(write_external(&writer, model.graph));
  return write_file(&writer, &model);
}
