/*
 * keras.h -- the importer of Keras models: what its files hand to each other, in the order in which a model
 * passes.
 *
 *   container.c   a model file, whatever its form -> Container (configuration, weights, version)
 *   json.c        limits that are checked before cJSON parses; typed access afterwards
 *   h5.c          an HDF5 file -> Store, read by a child process; h5_child.c is what runs there
 *   model.c       a Sequential or Functional configuration -> KerasModel
 *   weights.c     which arrays of the Store belong to which layer
 *   build.c       the calls of a model's layers in order; import_keras
 *   layers.c      what all layers share; layers/<family>.c turn one call into nodes
 *
 * Keras keeps images as NHWC and so does the graph: conv and pool nodes get layout=nhwc, and a channels_first
 * layer is wrapped in transposes, which the layout pass removes again.
 *
 * Ownership: a Container belongs to import_keras, which closes it; weights that reached the graph keep the
 * mapping of their file alive until the module dies. All strings and lists are in the module's arena.
 */
#ifndef TENON_KERAS_H
#define TENON_KERAS_H

#include "frontend/archive.h"
#include "frontend/frontend.h"
#include <cJSON.h>

/* ---- Weights as they lie in a file (h5.c, weights.c) ----------------------------------------------------
 */

/* Bytes of a file in memory, shared by the Data made from it; released with the last reference. */
typedef struct Mapping {
  void *base;
  size_t size;
  int references;
} Mapping;

Mapping *mapping_of_fd(Module *module, int fd); /* NULL with a Diag; one reference */
void mapping_release(Mapping *mapping);         /* NULL is nothing */

typedef struct StoredArray {
  const char *path; /* "model_weights/hidden/hidden/kernel:0", "layers/dense_1/vars/0" */
  Dtype dtype;
  int rank;
  int64_t dims[MAX_RANK];
  const void *bytes; /* packed, little endian, 64-byte aligned */
} StoredArray;

/* An attribute of strings at `path` ("" is the root). */
typedef struct StoredStrings {
  const char *path, *name;
  int count;
  const char *const *values;
} StoredStrings;

/* Both lists are sorted, arrays by path, attributes by path and name. */
typedef struct Store {
  Mapping *mapping;
  StoredArray *arrays;
  int array_count;
  StoredStrings *attributes;
  int attribute_count;
} Store;

/* Reads the HDF5 file open at `fd` in a child process. Everything in the store has been checked against the
 * mapping. */
bool h5_read(Module *module, int fd, Store *store);
void store_sort(Store *store);
const StoredArray *store_array(const Store *store, const char *path);           /* NULL when absent */
const char *store_text(const Store *store, const char *path, const char *name); /* first string, or NULL */
/* A list that Keras may have split into name0, name1, ...; count -1 when there is none. */
const char *const *store_list(Module *module, const Store *store, const char *path, const char *name,
                              int *count);

/* The child: walks `fd` and writes records to `out`. Never returns an error but as a record; see h5_child.c.
 */
enum { H5_MAGIC = 0x35683021 };
typedef enum H5Kind { H5_ARRAY = 1, H5_STRINGS, H5_ERROR, H5_END } H5Kind;

/* Followed by path, name, zeros up to a multiple of 64, payload, zeros up to a multiple of 64. */
typedef struct H5Record {
  uint32_t magic, kind;
  uint32_t path_length, name_length;
  uint32_t dtype, rank;
  int64_t dims[MAX_RANK];
  uint64_t count; /* of strings, each ended by a zero in the payload */
  uint64_t size;  /* of the payload */
  uint64_t unused[3];
} H5Record;
_Static_assert(sizeof(H5Record) % 64 == 0, "records keep their payload aligned");

void h5_child(int fd, int out, uint64_t budget);

/* ---- JSON (json.c) ---------------------------------------------------------------------------------------
 */

enum { JSON_MAX_DEPTH = 256, JSON_MAX_BYTES = 64 << 20 };
cJSON *json_parse(Module *module, const char *what, const char *text,
                  size_t length); /* NULL with a Diag; cJSON_Delete */
char *read_text_file(Module *module, const char *path, size_t limit,
                     size_t *length); /* malloc; NULL with a Diag */
/* Members; absent and null alike give the default. */
const cJSON *json_member(const cJSON *object, const char *name);
const char *json_text(const cJSON *object, const char *name, const char *otherwise);
double json_number(const cJSON *object, const char *name, double otherwise);
bool json_flag(const cJSON *object, const char *name, bool otherwise);
/* The number itself, when it is one and integral and fits. */
bool json_integer(const cJSON *item, int64_t *value);
/* The i-th element, counted without recursion; lists here are short or walked with cJSON_ArrayForEach. */
const cJSON *json_at(const cJSON *array, int index);

/* ---- The model file (container.c) ------------------------------------------------------------------------
 */

typedef struct Container {
  cJSON *config; /* {class_name, config, ...} of the model */
  Store store;
  int major; /* Keras 2 or 3 */
  enum {
    WEIGHTS_NAMED,
    WEIGHTS_COUNTED,
    WEIGHTS_LISTED
  } form;              /* legacy h5; Keras 3 paths; arr_0, arr_1, ... */
  const char *root;    /* of the weights in the store, "" or "model_weights/" and the like */
  const char *version; /* as the file says, NULL unknown */
} Container;

bool container_open(Module *module, const char *path, Container *container);
void container_close(Container *container);

/* ---- Models and layers (model.c, weights.c, build.c)
 * ---------------------------------------------------------------- */

typedef struct LayerKind LayerKind;
typedef struct KerasModel KerasModel;

/* A layer of the configuration. Its weights become constants once, however often it is called. */
typedef struct Layer {
  const LayerKind *kind;
  const char *class_name, *name;
  const cJSON *json, *config;
  KerasModel *nested; /* a model used as a layer, else NULL */
  int weight_count;
  const char **weight_names; /* "kernel", "bias": those that the configuration calls for */
  const StoredArray **weights;
  Value **values;             /* the weights as constants, made on first use */
  int first_call, call_count; /* in model->calls */
} Layer;

/* "Tensor `tensor` of call `call` of layer `layer`". */
typedef struct TensorRef {
  const char *layer;
  int64_t call, tensor;
} TensorRef;

typedef struct LayerCall {
  int layer;
  int ref_count;
  TensorRef *refs;
} LayerCall;

struct KerasModel {
  const char *name;
  bool sequential;
  Layer *layers;
  int layer_count;
  Layer **by_name;  /* sorted */
  LayerCall *calls; /* Functional only */
  int call_count;
  TensorRef *inputs, *outputs; /* Functional only */
  int input_count, output_count;
  const cJSON *json;
};

/* One import. */
typedef struct Import {
  Module *module;
  const Container *container;
  const ImportOptions *options;
  Builder builder;
  int calls;       /* made so far, against a budget: nested models can multiply */
  bool *dims_used; /* per --dim */
  int listed;      /* weights taken so far from a list without names */
} Import;

KerasModel *model_parse(Import *import, const cJSON *json); /* NULL with Diags, one per unsupported layer */
int model_find_layer(const KerasModel *model, const char *name); /* -1 when absent */
/* Attaches the stored arrays to all layers, nested ones too. */
bool model_find_weights(Import *import, KerasModel *model);
/* Calls all layers; the outputs are written to a list in the arena. */
bool model_build(Import *import, KerasModel *model, Value *const *inputs, int input_count, Value ***outputs,
                 int *output_count);

/* ---- Calls of layers (layers.c, layers/<family>.c)
 * ---------------------------------------------------------- */

/* What a function of layers/ sees. */
typedef struct Call {
  Import *import;
  Builder *builder;
  Layer *layer;
  const cJSON *config;
  int input_count;
  Value *const *inputs;
} Call;

struct LayerKind {
  const char *class_name;
  Value *(*build)(Call *call); /* NULL with a Diag */
  int min_inputs, max_inputs;  /* 0 maximum: any number */
  /* Variables in creation order, trainable first; "bias?use_bias" is there if that member of the
   * configuration is true ("bias?layer.config.use_bias": of a member's member). "cell/kernel" belongs to a
   * part of the layer, `cell`. */
  const char *weights;
};

/* The rows of each family, ended by an empty one. */
extern const LayerKind activation_layers[], conv_layers[], dense_layers[], identity_layers[], merge_layers[],
    norm_layers[], pool_layers[], rnn_layers[], shape_layers[];

const LayerKind *layer_kind(const char *class_name);                   /* NULL when unknown */
const char *layer_way_out(const char *class_name, const char *module); /* advice for an unknown one */
bool layer_is_input(const Layer *layer);

/* Record an error at the call's layer. The second form returns NULL so that `return call_null(...)` reads
 * well. */
bool call_fail(const Call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));
void *call_null(const Call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A weight as a constant of the dtype of `like`; dims[i] < 0 is any size. NULL with a Diag when it is absent
 * or misshapen. */
Value *call_weight(Call *call, const char *name, Value *like, int rank, const int64_t *dims);
bool call_has_weight(const Call *call, const char *name);
/* The i-th input in floating point: what Keras computes in. Half precision is widened. */
Value *call_float_input(Call *call, int index);

/* A member that is one integer or a list of `count` of them, each in [least, 2^31). */
bool call_ints(Call *call, const char *name, int count, int64_t otherwise, int64_t least, int64_t *values);
bool call_int(Call *call, const char *name, int64_t otherwise, int64_t *value);
/* An axis as Keras counts it, negative from the end, with the batch as axis 0. */
bool call_axis(Call *call, const cJSON *item, int rank, int64_t *axis);

/* Number of spatial axes from the class name: 2 for "Conv2D". */
int call_spatial(const Call *call);
bool call_is_channels_first(const Call *call);
/* A channels_first tensor to the form that the graph uses, and back; as it is when the layer is
 * channels_last. */
Value *call_to_nhwc(Call *call, Value *x);
Value *call_from_nhwc(Call *call, Value *x);
/* The pads (begins, then ends) for padding "valid", "same" or "causal" on an NHWC tensor. */
bool call_pads(Call *call, const Value *x, int spatial, const int64_t *kernel, const int64_t *strides,
               const int64_t *dilations, int64_t *pads);

/* The function that the configuration's member `activation` names, applied to x. */
Value *call_activation(Call *call, Value *x);
/* The operator that computes the function which `member` names (absent: `otherwise`), with its alpha and
 * beta, 0 where it has none. NULL with a Diag. */
const Op *call_activation_op(Call *call, const char *member, const char *otherwise, double *alpha,
                             double *beta);
/* x + the weight "bias" of `units` elements, if the layer has one. */
Value *call_bias(Call *call, Value *x, int64_t units);

#endif
