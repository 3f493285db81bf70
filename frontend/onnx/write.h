/*
 * write.h -- graphs as ONNX models: what the files of the writer share, in reading order.
 *
 *   write.c           a graph to a file: inputs, outputs, weights, the model around it
 *   write_emit.c      names of values, nodes and their attributes, constants, sizes that are computed
 *   write_table.c     the operators: a row says which of ONNX's is the same, or which function writes it
 *   write_*.c         these functions
 *
 * A value of ONNX is a name, interned, "" when absent. A row's function puts nodes and returns the name of
 * result 0, NULL with a Diag when ONNX cannot say it. Nodes that nothing uses are dropped at the end.
 */
#ifndef TENON_FRONTEND_ONNX_WRITE_H
#define TENON_FRONTEND_ONNX_WRITE_H

#include "frontend/onnx/onnx.h"

/* A model gets the lowest opset of these that has all it needs: the more tools read it. */
enum { LEAST_OPSET = 19, MOST_OPSET = 21 };

typedef Onnx__NodeProto OutNode;

/* Pointers that grow. */
typedef struct List {
  void **items;
  int count, room;
} List;

void list_add(Arena *arena, List *list, void *item);

/* A graph that is being written: the model's, or one in a node. */
typedef struct OutGraph {
  struct OutGraph *outer;
  List nodes, initializers;
  /* Names by what they hold: the i64[1] of a Dim, a constant by a text that says what it is; and by a symbol
   * where its value can be read. */
  NameMap known;
} OutGraph;

typedef struct Writer {
  Module *module;
  const char *path;
  NameMap names; /* of Values */
  NameMap taken; /* names that are in use */
  int fresh;     /* names given so far */
  int opset;
  OutGraph *graph;  /* where nodes go */
  const Node *node; /* what is being written, for Diags */
} Writer;

/* ---- Values (write_emit.c) */

const char *name_new(Writer *writer, const char *wanted); /* unique; NULL: a number */
const char *name_of(Writer *writer, const Value *value);  /* "" of NULL */
const char *name_of_operand(Writer *writer, const Node *node, int index);
/* The value has this name from now on: what puts it is renamed, or an Identity is put. */
void name_give(Writer *writer, const Value *value, const char *name);

/* ---- Nodes: put gives the name of the one output; what follows changes the node put last */

const char *put(Writer *writer, const char *type, int count, const char *const *inputs);
const char *put1(Writer *writer, const char *type, const char *x);
const char *put2(Writer *writer, const char *type, const char *x, const char *y);
const char *put3(Writer *writer, const char *type, const char *x, const char *y, const char *z);
const char *put_output(Writer *writer); /* another output */
void with_int(Writer *writer, const char *name, int64_t value);
void with_float(Writer *writer, const char *name, double value);
void with_string(Writer *writer, const char *name, const char *value);
void with_ints(Writer *writer, const char *name, const int64_t *values, int count); /* nothing when empty */
void with_floats(Writer *writer, const char *name, const double *values, int count);
void with_strings(Writer *writer, const char *name, const char *const *values, int count);
void with_graph(Writer *writer, const char *name, Onnx__GraphProto *graph);
void with_type(Writer *writer, const char *name, const Type *type);
void with_tensor(Writer *writer, const char *name, const Onnx__TensorProto *tensor);

const char *put_cast(Writer *writer, const char *x, Dtype from, Dtype to); /* x itself when they are equal */
const char *put_transpose(Writer *writer, const char *x, const int64_t *perm, int rank); /* x when in order */
const char *put_reshape(Writer *writer, const char *x, const int64_t *dims, int count); /* as ONNX's: 0, -1 */
/* The value as i64, or i32 if `narrow` may be. */
const char *put_index(Writer *writer, const Value *value, bool narrow);
/* One element as a scalar. */
const char *put_scalar(Writer *writer, const Value *value);

/* ---- Constants */

const char *put_ints(Writer *writer, const int64_t *values, int count); /* i64[count] */
const char *put_number(Writer *writer, Dtype dtype, double value);      /* a scalar */
const char *put_data(Writer *writer, const Data *data, int rank, const int64_t *dims, const char *name);
/* The same, but once in a graph. */
const char *put_shared(Writer *writer, const Data *data, int rank, const int64_t *dims, const char *name);
Onnx__TensorProto *tensor_proto(Writer *writer, const Data *data, int rank, const int64_t *dims);

/* ---- Sizes */

const char *put_size(Writer *writer, const Dim *dim);                     /* i64[1]; NULL with a Diag */
const char *put_sizes(Writer *writer, const Dim *const *dims, int count); /* i64[count] */
/* The symbols among the sizes of a value can be read from it. */
void offer_sizes(Writer *writer, const Value *value);
void offer_size(Writer *writer, const Dim *symbol, const char *name);

/* ---- Operators (write_table.c) */

void needs_opset(Writer *writer, int opset);

bool write_nodes(Writer *writer, const Graph *graph);
/* A graph inside of a node: `inputs` are the first of its inputs, the others are named already. */
Onnx__GraphProto *write_region(Writer *writer, const Graph *graph, int inputs);
Onnx__TypeProto *type_proto(Writer *writer, const Type *type);
/* Records why not, and returns NULL. */
const char *write_fail(Writer *writer, const char *format, ...) __attribute__((format(printf, 2, 3)));

const char *row_type(const Node *node); /* of the node's row */
const char *row_words(const Node *node);
void write_words(Writer *writer, const Node *node,
                 const char *words); /* as attributes of the node put last */

typedef const char *WriteFunction(Writer *writer, const Node *node);
WriteFunction write_affine, write_attention, write_batch_norm, write_bind, write_bit_cast, write_broadcast,
    write_cast, write_clip, write_conv, write_conv_transpose, write_dequantize, write_gemm, write_grid_sample,
    write_if, write_image_decode, write_iota, write_layer_norm, write_loop, write_matmul, write_mod,
    write_non_max_suppression, write_non_zero, write_optional_make, write_pad, write_pool, write_quantize,
    write_recurrent, write_reshape, write_resize, write_reverse_sequence, write_roi_align, write_scaled_tanh,
    write_sequence_at, write_sequence_insert, write_sequence_make, write_sequence_split, write_silu,
    write_slice, write_string_case, write_string_match, write_string_split, write_string_without,
    write_unfold, write_unique;

#endif
