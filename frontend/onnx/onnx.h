/*
 * onnx.h -- the ONNX importer inside: what its files share, in reading order.
 *
 *   model.c     a file to a graph: options, inputs, initializers, nodes, outputs
 *   node.c      one node: its row, its inputs, its outputs, its errors
 *   names.c     the names of values, of dims, and of opsets
 *   refused.c   operators that are known and not imported
 *   functions.c the model's own functions, expanded where they are called
 *   control.c   if, loop and scan; the graphs inside of them
 *   attr.c      attributes of a node, with their types checked
 *   tensor.c    TensorProto to Data and Tensor; external.c finds bytes that lie in other files
 *   emit.c      short forms to build core ops
 *   rows        the operators: a table in each family's file, one row per operator and meaning since an opset
 * version
 *
 * A row's function reads inputs and attributes and sets outputs[]. No ONNX version number leaves this folder.
 */
#ifndef TENON_FRONTEND_ONNX_ONNX_H
#define TENON_FRONTEND_ONNX_ONNX_H

#include "frontend/frontend.h"
#include "frontend/onnx/onnx.pb-c.h"

typedef struct Import Import;
typedef struct Scope Scope;
typedef struct OnnxNode OnnxNode;

/* ---- Files (external.c) */

/* A file in memory, shared by the Data that point into it. From malloc: the last user unmaps it. */
typedef struct Mapping {
  const uint8_t *bytes;
  size_t size;
  int users;
  const char *path;     /* as opened; valid while the module is */
  struct Mapping *next; /* in Import.external */
} Mapping;

Mapping *mapping_open(Module *module, const char *path); /* NULL with a Diag */
void mapping_drop(Mapping *mapping);                     /* one user less */
/* Data that points into the mapping and is one of its users. */
Data *mapping_data(Module *module, Mapping *mapping, Dtype dtype, int64_t count, const void *bytes,
                   size_t size);

/* Where the bytes of the tensors of one file are. */
typedef struct TensorSource {
  Module *module;
  Mapping *file;     /* what raw_at counts in */
  Mapping *external; /* files beside it that were opened so far */
} TensorSource;

/* Finds external data; false with a Diag when the entries are wrong or lead out of the model's folder. */
bool external_find(TensorSource *source, const Onnx__TensorProto *tensor, size_t size, Mapping **file,
                   const uint8_t **bytes);
void source_close(TensorSource *source);

/* ---- Tensors (tensor.c) */

typedef struct TensorInfo {
  Dtype dtype;
  int rank;
  int64_t dims[MAX_RANK];
  int64_t count; /* elements */
  size_t size;   /* bytes */
} TensorInfo;

int64_t onnx_of_dtype(Dtype dtype);     /* 0: it has none */
Dtype dtype_of_onnx(int64_t data_type); /* DTYPE_NONE when unknown */
bool tensor_info(Module *module, const Onnx__TensorProto *tensor, TensorInfo *info);
Data *tensor_data(TensorSource *source, const Onnx__TensorProto *tensor, const TensorInfo *info);
/* A string, which ends with a 0 here; NULL: it holds one. */
const char *string_text(Module *module, ProtobufCBinaryData bytes);
/* A sparse tensor, written out in full. */
Data *sparse_data(TensorSource *source, const Onnx__SparseTensorProto *sparse, TensorInfo *info);

/* ---- Names (names.c) */

typedef struct NameMap {
  const char **names; /* interned */
  void **things;
  int count, capacity;
} NameMap;

void *names_get(const NameMap *map, const char *interned); /* NULL when absent */
void names_set(Module *module, NameMap *map, const char *interned, const void *thing);

/* What names mean in a graph or a function body. */
struct Scope {
  NameMap values;   /* to Value */
  NameMap declared; /* to ValueInfoProto: only to know the types behind a node that failed */
  size_t opset_count;
  Onnx__OperatorSetIdProto **opsets;
  const Onnx__FunctionProto *function; /* NULL in the main graph */
  const OnnxNode *caller;              /* the node that called the function */
  int depth;
  Graph *graph;  /* where its values are */
  Scope *outer;  /* of a graph inside a node: around it; what is found there is captured */
  Value **taken; /* the captured values of the outer scope, in the order of the graph's inputs */
  int taken_count;
};

/* The value of a name, also of an outer scope's; NULL when there is none. Values of the outer graph come in
 * as inputs, constants as constants. */
Value *scope_find(Import *import, Scope *scope, const char *interned);
/* A value of the outer scope's graph as one of the scope's. */
Value *scope_capture(Import *import, Scope *scope, Value *outer);

/* Version of a domain that the scope imports; 0 when it does not. */
int64_t scope_opset(const Scope *scope, const char *domain);
bool domain_is_onnx(const char *domain);

/* A dim of the model under a name that is legal in tenon's text form. */
typedef struct DimName {
  const char *original, *symbol;
  bool is_bound; /* by --dim or --input-shape */
  int64_t value;
  struct DimName *next;
} DimName;

DimName *dim_name(Import *import, const char *original); /* made on first mention */
/* A dim_param: a name, or a sum or product of names that are inputs' dims by themselves. */
const Dim *dim_of_param(Import *import, const char *param);

/* ---- The importer (model.c, node.c) */

struct Import {
  Module *module;
  const ImportOptions *options;
  const Onnx__ModelProto *model;
  TensorSource source;
  Graph *graph;
  DimName *dims;
  Value failed;                    /* stands for the outputs of nodes that could not be imported */
  Value absent;                    /* stands for a function's input that the call leaves out */
  int node_count;                  /* imported so far, with those of functions */
  int contradictions;              /* values that the model declares to be of another type than they are */
  const char *first_contradiction; /* a sentence */
  struct ValueLabels *labels;
  struct MapInput *maps;
  const struct Choice *choices;     /* that were made for this attempt */
  const Onnx__NodeProto *differing; /* an If whose branches give different numbers of axes; NULL: none */
};

/* One row: an operator's meaning since an opset version. */
typedef struct OnnxRow {
  const char *name; /* with its domain in front ("com.microsoft.Gelu") unless that is ai.onnx */
  int since;
  int min_inputs, max_inputs; /* -1: any number */
  bool (*import)(OnnxNode *node);
  const Op *op; /* for functions that serve several rows */
} OnnxRow;

typedef struct OnnxRows {
  const OnnxRow *rows;
  int count;
} OnnxRows;

/* families.def holds FAMILY(name) per table of rows, sorted; each is onnx_<name> in a file of this folder. */
#define FAMILY(name) extern const OnnxRows onnx_##name;
#include "frontend/onnx/families.def"
#undef FAMILY

/* Operators that tenon knows and does not have (refused.c). */
typedef struct OnnxRefusal {
  const char *names; /* as in rows, with spaces between */
  const char *why, *hint;
} OnnxRefusal;

const OnnxRefusal *refusal_find(const char *qualified); /* NULL: none */

/* A node on its way into the graph. */
struct OnnxNode {
  Import *import;
  Module *module;
  Scope *scope;
  const Onnx__NodeProto *proto;
  const OnnxRow *row;
  int64_t opset;
  Builder builder;
  int input_count, output_count;
  Value **inputs;  /* NULL: absent */
  Value **outputs; /* for the row's function to set */
  bool has_failed; /* an attribute was of the wrong type: the node fails when its function returns */
};

/* Classes that the numbers of a value stand for: its columns when it has two axes, else its elements.
 * Integers or names (the other is NULL); copied. The module keeps them for outputs of the graph. */
void import_labels(Import *import, const Value *value, int count, const int64_t *ints,
                   const char *const *names);

/* ---- Ifs of which one branch leads nowhere (choice.c) */

typedef struct Choice {
  const Onnx__NodeProto *node;
  bool value;         /* of the condition */
  const char *reason; /* why not the other */
  const struct Choice *next;
} Choice;

const Choice *choice_find(const Import *import, const Onnx__NodeProto *node); /* NULL: none was made */
/* Imports a graph by attempt(context), which begins from nothing each time; more than once when it fails
 * behind an If that it has noted as `differing`. */
typedef bool Attempt(void *context);
bool import_attempt(Import *import, Attempt *attempt, void *context);
/* The errors since `last`, which go, as one text; "" when there are none. */
const char *take_errors(Module *module, Diag *last);

/* The keys of a map, which its values stand for; NULL: the value is none. */
Value *map_keys(const Import *import, const Value *values);

/* The type that the model declares for a value; NULL, with a Diag when `report`, if it is none that tenon
 * has. */
const Type *type_of_onnx(Import *import, const Onnx__TypeProto *type, const char *name, bool report);

/* What the model declares of a value is a hint: notes where it is not so. NULL: it declares nothing. */
void check_declared(Import *import, const Onnx__ValueInfoProto *declared, const Value *value);

/* model.c: the initializers and nodes of a graph inside a node, into import->graph. */
void import_inner_graph(Import *import, Scope *scope, const Onnx__GraphProto *graph);
/* control.c: a graph inside a node as if its nodes stood where the node stands. */
bool import_in_place(OnnxNode *node, const Onnx__GraphProto *proto, Value *const *inputs, int input_count,
                     Value **outputs, int output_count);
/* node.c: imports nodes in order. What fails is recorded and its outputs marked, so that all problems are
 * seen at once. */
void import_nodes(Import *import, Scope *scope, size_t count, Onnx__NodeProto **nodes);
/* The node as if it were another operator, with its own attributes but these inputs; its outputs are set. */
bool import_as(OnnxNode *node, const char *qualified, int64_t opset, Value **inputs, int count);
/* Expands a call of one of the model's functions; NULL when there is none of that name. */
const Onnx__FunctionProto *function_find(const Import *import, const Onnx__NodeProto *proto);
bool function_expand(OnnxNode *node, const Onnx__FunctionProto *function);

/* Records an error about the node and returns false. */
bool onnx_fail(const OnnxNode *node, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- Attributes (attr.c): the default when absent; a wrong type is an error of the node */

const Onnx__AttributeProto *attr_find(const OnnxNode *node, const char *name);
int64_t attr_int(OnnxNode *node, const char *name, int64_t absent);
bool attr_bool(OnnxNode *node, const char *name, bool absent);
double attr_float(OnnxNode *node, const char *name, double absent);
const char *attr_string(OnnxNode *node, const char *name, const char *absent);
bool attr_string_is(OnnxNode *node, const char *name, const char *absent, const char *value);
const Onnx__GraphProto *attr_graph(OnnxNode *node, const char *name); /* NULL with an error when absent */
/* NULL and *count 0 when absent. */
const int64_t *attr_ints(OnnxNode *node, const char *name, int *count);
const float *attr_floats(OnnxNode *node, const char *name, int *count);
const char *const *attr_strings(OnnxNode *node, const char *name, int *count);

/* ---- Inputs (emit.c) */

Value *input(const OnnxNode *node, int index); /* NULL when absent */
int input_rank(const OnnxNode *node, int index);
/* Elements of a small integer input as Dims. Where they depend on data they are bound to new symbols, and it
 * is an error of the run when one is negative. */
bool input_dims(OnnxNode *node, int index, const char *what, const Dim *const **dims, int *count);
/* As input_dims, all constant, from an input if it is there, else from the attribute; *ints NULL when neither
 * is. */
bool input_or_attr_ints(OnnxNode *node, int index, const char *name, const int64_t **ints, int *count);
/* A scalar or an input with one element, as a scalar. NULL when it is absent, or with an error. */
Value *input_scalar(OnnxNode *node, int index, const char *what);
/* The elements, none negative, as Dims: known ones as they are, others bound to new symbols. */
bool bind_sizes(OnnxNode *node, Value *value, const Dim *const **dims, int *count);
bool input_floats(OnnxNode *node, int index, const char *what, const double **values, int *count);
bool normal_axis(OnnxNode *node, int64_t *axis,
                 int rank); /* negative from the end; false with an error out of range */

/* ---- Building (emit.c): NULL in, NULL out, so that calls can be nested and checked once */

Value *emit(OnnxNode *node, const Op *op, Value *const *operands, int count); /* default attributes */
Value *emit_unary(OnnxNode *node, const Op *op, Value *x);
Value *emit_binary(OnnxNode *node, const Op *op, Value *x, Value *y);
Value *emit_where(OnnxNode *node, Value *condition, Value *x, Value *y);
Value *emit_ints(OnnxNode *node, const Dim *const *values, int count); /* i64[count], computed where needed */
Value *emit_scalar(OnnxNode *node, const Value *like, double value);   /* of like's dtype */
Value *emit_positions(OnnxNode *node, Dtype dtype, const Dim *size);   /* 0, 1, 2, ... */
Value *emit_cast(OnnxNode *node, Value *x, Dtype dtype);
Value *emit_rounded_cast(OnnxNode *node, Value *x, Dtype dtype, bool saturate, const char *round);
Value *emit_reshape(OnnxNode *node, Value *x, int rank, const Dim *const *dims);
Value *emit_flat(OnnxNode *node, Value *x); /* all elements in one axis */
/* x with an open size taken as this number, which the program that runs checks; negative axes from the end.
 */
Value *emit_known_axis(OnnxNode *node, Value *x, int axis, int64_t size);
/* `pads` elements of this value before every axis, then after every axis. */
Value *emit_pad(OnnxNode *node, Value *x, const Dim *const *pads, double fill);
Value *emit_transpose(OnnxNode *node, Value *x, const int64_t *perm);
Value *emit_unsqueeze(OnnxNode *node, Value *x, int before, int after); /* ones in front and behind */
Value *emit_reduce(OnnxNode *node, const Op *op, Value *x, const int64_t *axes, int count);
Value *emit_slice(OnnxNode *node, Value *x, const Dim *const *starts, const Dim *const *sizes,
                  const int64_t *steps);
/* i64 numbers first, first + 1, ... as [size], or [size, 1] for rows. */
Value *emit_range(OnnxNode *node, const Dim *first, const Dim *size, bool rows);
Value *emit_gemm(OnnxNode *node); /* of the node's inputs, with Gemm's attributes (matmul.c) */
/* Of these sizes: cut off, or padded with 0, where they differ, at the end or on both sides. */
Value *emit_resized(OnnxNode *node, Value *x, const Dim *const *sizes, bool centered);
Value *emit_broadcast(OnnxNode *node, Value *x, const Type *type); /* x itself when it has that shape */
Value *finish(Node *node);                                         /* node_finish, then result 0 */
bool set_output(OnnxNode *node, Value *value);                     /* output 0; false for NULL */

#endif
