/*
 * keras.h -- the importer of Keras models: what its files hand to each other, in the order in which a model
 * passes.
 *
 *   container.c   a model file, whatever its form -> Container (configuration, weights, version)
 *   tfjs.c        the weights of a TensorFlow.js model
 *   vocabulary.c  vocabularies of text layers, in the configuration or an archive's assets
 *   json.c        limits that are checked before cJSON parses; typed access afterwards
 *   h5.c          an HDF5 file -> Store, read by a child process; h5_child.c is what runs there
 *   model.c       a Sequential or Functional configuration -> KerasModel
 *   weights.c     which arrays of the Store belong to which layer
 *   build.c       the calls of a model's layers in order; import_keras
 *   given.c       layers whose body the user gives, --op
 *   layers.c      what all layers share; layers/<family>.c turn one call into nodes
 *   make.c        short forms to build nodes
 *   operations.c  operations on tensors (keras.ops, TFOpLambda), which look like layers; operations_shape.c
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
  const char *const
      *names; /* of all weights in the group "manifest", in order; NULL: each layer has its own */
  int name_count;
  const char *archive; /* the path of the .keras file, NULL: it is none */
} Container;

/* The weights of a TensorFlow.js model, whose model.json is at `path` (tfjs.c). */
bool tfjs_read(Module *module, const char *path, const cJSON *json, Container *container);
bool container_open(Module *module, const char *path, Container *container);
void container_close(Container *container);

/* ---- Models and layers (model.c, weights.c, build.c) ------------------------------------------------------
 */

typedef struct LayerKind LayerKind;
typedef struct KerasModel KerasModel;

/* A layer of the configuration. Its weights become constants once, however often it is called. */
typedef struct Layer {
  const LayerKind *kind;
  const char *class_name, *name;
  const char *operation; /* the name of an operation on tensors; NULL: it is a layer */
  const cJSON *json, *config;
  KerasModel *nested;  /* a model used as a layer, else NULL */
  const Graph *given;  /* its body, where the user gives it (given.c), */
  int given_inputs;    /* whose first inputs are so many tensors */
  struct Layer *parts; /* the layers that it wraps, as LayerKind.weights names them */
  int part_count;
  const char *path; /* of its weights and assets in a Keras 3 archive; NULL: none known */
  const char *part; /* of a part: its name, below which its weights lie; of a list "cells/lstm_cell_1" */
  int weight_count;
  const char **weight_names; /* "kernel", "bias": those that the configuration calls for */
  bool *trainable;
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
  bool is_keras3;
  const cJSON *args;   /* a list; of Keras 2 that of the first argument */
  const cJSON *kwargs; /* by name */
  TensorRef *refs;     /* every tensor in the arguments, in order, */
  int ref_count;
  int arg_refs; /* first those in args */
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

/* A tensor of Keras: with a mask, bool [batch, steps], when some of its steps do not count. */
typedef struct Masked {
  Value *value, *mask; /* mask NULL: all count */
} Masked;

/* What a stateful layer keeps from run to run. */
typedef struct Kept {
  const char *name;
  Value *before, *after;
  struct Kept *next;
} Kept;

/* One import. */
typedef struct Import {
  Module *module;
  const Container *container;
  const ImportOptions *options;
  Builder builder;
  int calls;         /* made so far, against a budget: nested models can multiply */
  bool *dims_used;   /* per --dim */
  int listed;        /* weights taken so far from a list without names */
  Kept *kept;        /* the last first */
  bool *ops_used;    /* per --op, */
  Graph **op_graphs; /* NULL: not read yet */
} Import;

KerasModel *model_parse(Import *import, const cJSON *json); /* NULL with Diags, one per unsupported layer */
int model_find_layer(const KerasModel *model, const char *name); /* -1 when absent */
/* ["layer", call, tensor, ...], or the __keras_tensor__ that holds it. */
bool json_tensor(const cJSON *item, TensorRef *ref);
/* Attaches the stored arrays to all layers, nested ones too. */
bool model_find_weights(Import *import, KerasModel *model);
/* Conv2DTranspose -> conv2d_transpose, as Keras 3 calls the groups of weights. */
char *snake_case(Module *module, const char *name);
/* Calls all layers; the outputs are written to a list in the arena. */
bool model_build(Import *import, KerasModel *model, const Masked *inputs, int input_count, Masked **outputs,
                 int *output_count);

/* The graph that --op gives for a layer; NULL, without a Diag if there is none (given.c). */
const Graph *given_graph(Import *import, const Layer *layer);
bool given_weight(const Layer *layer, int input); /* that input of the graph is a weight */

/* ---- Calls of layers (layers.c, layers/<family>.c) --------------------------------------------------------
 */

/* Added to the score of what does not count: exp of it is 0, and all scores vanish against it. */
#define MASKED_SCORE -1e30

/* What a function of layers/ sees. It returns the first result. */
typedef struct Call {
  Import *import;
  Builder *builder;
  Layer *layer;
  const cJSON *config;
  int input_count;       /* the tensors of the first arguments, */
  Value *const *inputs;  /* in order, */
  Value *const *masks;   /* and the mask of each, or NULL */
  const LayerCall *from; /* NULL: it has no other arguments */
  const Masked *refs;    /* the tensors of from->refs */
  Value **more;          /* further results */
  int more_count, more_room;
  Value *mask;       /* of the first result, where LayerKind.masking leaves it to the function */
  const char *keeps; /* what its states are called after; NULL: the layer's name */
} Call;

/* What becomes of the mask of the first input. */
typedef enum Masking {
  MASK_ENDS,   /* nobody behind the layer sees it */
  MASK_PASSES, /* it is that of the result, too */
  MASK_OWN     /* the function sets call->mask */
} Masking;

struct LayerKind {
  const char *class_name;
  Value *(*build)(Call *call); /* NULL with a Diag */
  int min_inputs, max_inputs;  /* 0 maximum: any number */
  /* Variables in creation order. "bias?use_bias" is there if that member of the configuration is true;
   * more conditions stand behind '&', "a=b" wants a text or true, '!' its opposite, dots lead into members.
   * '~' marks what is not trained. "@layer" is a layer inside, "@backward_layer=layer" one of another member,
   * "@cells" may be a list; their weights come after. */
  const char *weights;
  Masking masking;
};

/* The rows of each family, ended by an empty one. */
extern const LayerKind activation_layers[], attention_layers[], boxes_layers[], category_layers[],
    contrast_layers[], conv_layers[], conv_lstm_layers[], dense_layers[], identity_layers[], image_layers[],
    local_layers[], mask_layers[], merge_layers[], norm_layers[], pool_layers[], rnn_layers[], shape_layers[],
    spectrogram_layers[], text_layers[], wrapper_layers[];
/* Operations on tensors: of keras.ops by class name, of TensorFlow by their function's name. */
extern const LayerKind axes_operations[], element_operations[], shape_operations[];
/* One that is a core operator; NULL: it is none. */
const LayerKind *axes_operation(const char *name);
const LayerKind *element_operation(const char *name);

/* What only does something in training: the function of all layers of augmentation. */
Value *augmentation(Call *call);

/* The kind of a layer whose graph is given. */
extern const LayerKind given_kind;

const LayerKind *layer_kind(const char *class_name); /* NULL when unknown */
const LayerKind *operation_kind(const char *name);
const char *layer_way_out(const char *class_name, bool is_operation); /* advice for an unknown one */
bool layer_is_input(const Layer *layer);
/* Runs the kind's function of a call that is filled in; checks what it is given and what comes out. */
Value *call_run(Call *call);
/* Calls a layer that the call's layer wraps, on one tensor. Its results beyond the first are call->more. */
bool call_part(Call *call, Layer *part, Masked x, Masked *y);
/* The arguments behind the tensors: by position, which counts from 0, or by name. NULL when absent or null.
 */
const cJSON *call_argument(const Call *call, int position, const char *name);
/* The tensor that an argument is; false when it is something else. */
bool call_find(const Call *call, const cJSON *item, Masked *found);
/* A tensor given by name or position, and its mask; value NULL when there is none. */
Masked call_named(Call *call, int position, const char *name);
bool call_argument_flag(const Call *call, int position, const char *name);
void call_also(Call *call, Value *value); /* one more result */

/* Record an error at the call's layer. The second form returns NULL so that `return call_null(...)` reads
 * well. */
bool call_fail(const Call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));
void *call_null(const Call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A weight as a constant of the dtype of `like`; dims[i] < 0 is any size. NULL with a Diag when it is absent
 * or misshapen. */
Value *call_weight(Call *call, const char *name, Value *like, int rank, const int64_t *dims);
Value *call_weight_of(Call *call, const char *name, Dtype dtype, int rank, const int64_t *dims);
bool call_has_weight(const Call *call, const char *name);
const StoredArray *call_stored(const Call *call, const char *name); /* NULL: it has no such weight */
/* The i-th input in floating point: what Keras computes in. Half precision is widened. */
Value *call_float_input(Call *call, int index);
Value *call_float(Call *call, Value *x);

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
/* What slides over the spatial axes of an NHWC tensor. */
typedef struct Windows {
  int spatial;
  int64_t kernel[3], strides[3], dilations[3];
} Windows;

/* The pads (begins, then ends) for padding "valid", "same" or "causal" on an NHWC tensor x. Gives x; where an
 * open size leaves its padding open, x padded with `fill`. NULL with a Diag. */
Value *call_pads(Call *call, Value *x, const Windows *windows, double fill, int64_t *pads);

/* The function that the configuration's member `activation` names, applied to x. */
Value *call_activation(Call *call, Value *x);
/* The operator that computes the function which `member` names (absent: `otherwise`), with its alpha and
 * beta, 0 where it has none. NULL with a Diag. */
const Op *call_activation_op(Call *call, const char *member, const char *otherwise, double *alpha,
                             double *beta);
/* x + the weight "bias" of `units` elements, if the layer has one. */
Value *call_bias(Call *call, Value *x, int64_t units);

/* ---- Short forms (make.c): NULL when an operand is, or with a Diag
 * -----------------------------------------
 */

Value *make(Node *node); /* finished: its first result */
Value *make_unary(Call *call, const Op *op, Value *x);
Value *make_binary(Call *call, const Op *op, Value *x, Value *y);
Value *make_number(Call *call, const Op *op, Value *x, double y); /* op(x, y), y in the dtype of x */
Value *make_where(Call *call, Value *condition, Value *x, Value *y);
Value *make_reduce(Call *call, const Op *op, Value *x, const int64_t *axes,
                   int count); /* axes of size 1 stay */
Value *make_squeeze(Call *call, Value *x, int axis);
Value *make_unsqueeze(Call *call, Value *x, int axis);
Value *make_reshape(Call *call, Value *x, int rank, const Dim *const *dims);
Value *make_transpose(Call *call, Value *x, const int64_t *perm);
Value *make_move_axis(Call *call, Value *x, int from, int to);
/* `size` positions of an axis from `start`; step -1: towards the front. */
Value *make_slice(Call *call, Value *x, int axis, const Dim *start, const Dim *size, int64_t step);
Value *make_part(Call *call, Value *x, int axis, int64_t start, int64_t size);
Value *make_reversed(Call *call, Value *x, int axis);
Value *make_concat(Call *call, Value *const *xs, int count, int axis);
Value *make_gather(Call *call, Value *x, Value *indices, int axis);
Value *make_cast(Call *call, Value *x, Dtype dtype);
Value *make_broadcast(Call *call, Value *x, const Type *shape); /* to the sizes of that type */
/* 0, 1, ... along `axis` of a tensor of these sizes. */
Value *make_iota(Call *call, Dtype dtype, int rank, const Dim *const *dims, int axis);
Value *make_pad(Call *call, Value *x, int axis, const Dim *before, const Dim *after);
Value *make_clip(Call *call, Value *x, double low, double high); /* infinite: absent */
/* Constants of one axis. */
Value *make_floats(Call *call, Dtype dtype, const double *values, int64_t count);
Value *make_ints(Call *call, const int64_t *values, int64_t count);
/* x divided by its length over some axes, which is taken to be at least epsilon. */
Value *make_unit(Call *call, Value *x, const int64_t *axes, int count, double epsilon);
/* x in depth positions: bool [.., depth], whether x is each of them. */
Value *make_one_hot(Call *call, Value *x, int64_t depth);

#endif
