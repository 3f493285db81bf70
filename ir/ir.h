/*
 * ir.h -- the graph IR of tenon: every data structure, in reading order, then the functions on them.
 *
 *   1 memory   2 diagnostics   3 dtypes   4 dims   5 types   6 data   7 values, nodes, graphs, modules
 *   8 attributes   9 operators   10 building and rewriting   11 checking and places   12 text forms
 *
 * run.h has tensors and execution, pass.h targets and passes.
 *
 * Ownership in one sentence: everything lives in the arena of its Module and dies with it; only weight
 * bytes (Data) live outside, and the Module releases them too.
 *
 * Errors: a function that user input can make fail returns false or NULL after recording a Diag in the
 * Module; a broken promise inside tenon is an assert.
 *
 * Glossary: k/m/n as in BLAS; dim = the size of one axis; bcast = numpy broadcasting of two dims; op =
 * operator; attr = attribute.
 */
#ifndef TENON_IR_H
#define TENON_IR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct Arena Arena;
typedef struct Module Module;
typedef struct Graph Graph;
typedef struct Node Node;
typedef struct Value Value;
typedef struct Op Op;
typedef struct Type Type;
typedef struct Dim Dim;
typedef struct Data Data;

#define COUNT_OF(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* Forwards a failure: the callee has already recorded the Diag. */
#define TRY(call)                                                                                            \
  do {                                                                                                       \
    if (!(call)) return false;                                                                               \
  } while (0)

/* ---- 1. Memory (arena.c) ------------------------------------------------------------------------------- */

Arena *arena_new(void);
void arena_free(Arena *arena);
/* Zeroed memory, 16-byte aligned; prints and exits when the machine has none left. size 0 gives a valid
 * pointer. */
void *arena_alloc(Arena *arena, size_t size);
void *arena_copy(Arena *arena, const void *bytes, size_t size);
char *arena_printf(Arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
size_t arena_used(const Arena *arena);
uint64_t hash_bytes(const void *bytes, size_t size, uint64_t seed); /* not against an adversary (intern.c) */

#define NEW(arena, T) ((T *)arena_alloc((arena), sizeof(T)))
#define NEW_ARRAY(arena, T, count) ((T *)arena_alloc((arena), sizeof(T) * (size_t)(count)))

/* ---- 2. Diagnostics (diag.c) --------------------------------------------------------------------------- */

typedef enum Severity { SEVERITY_ERROR, SEVERITY_WARNING, SEVERITY_NOTE } Severity;

typedef struct Diag {
  Severity severity;
  const char *file;   /* the model or text file, NULL when none */
  int line, column;   /* 1-based position in a text file, 0 when none */
  const char *node;   /* name of the model's node, NULL when none */
  const char *op;     /* operator, in the words of the file ("Conv", "Dense", "conv"), NULL when none */
  const char *text;   /* one sentence with the numbers, no newline */
  const char *detail; /* of the node: what differs where others have the same problem, NULL when nothing */
  struct Diag *next;
} Diag;

/* Both record an error and return false, so that `return fail(...)` reads well. */
bool fail(Module *module, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool node_fail(const Node *node, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The general form; strings are copied into the module's arena. file NULL means module->file. */
void diag_add(Module *module, Diag diag);
/* Takes back the Diags recorded since `last` was module->last_diag: for rewrites that try what may not type.
 */
void diags_take_back(Module *module, Diag *last);
/* "error: FILE:LINE:COL: node 'N' (Op): text", one line each, and a line with the detail; nodes with the same
 * problem share them. The first `limit` problems, then how many were left out. */
void diags_print(const Module *module, FILE *out, int limit);

/* ---- 3. Element types (dtype.c) ------------------------------------------------------------------------ */

typedef enum Dtype {
  DTYPE_NONE,
  DTYPE_BOOL,
  DTYPE_I2,
  DTYPE_I4,
  DTYPE_I8,
  DTYPE_I16,
  DTYPE_I32,
  DTYPE_I64,
  DTYPE_U2,
  DTYPE_U4,
  DTYPE_U8,
  DTYPE_U16,
  DTYPE_U32,
  DTYPE_U64,
  DTYPE_F16,
  DTYPE_BF16,
  DTYPE_F32,
  DTYPE_F64,
  DTYPE_F8E4M3FN,
  DTYPE_F8E4M3FNUZ,
  DTYPE_F8E5M2,
  DTYPE_F8E5M2FNUZ,
  DTYPE_F8E8M0,
  DTYPE_F4E2M1,
  DTYPE_C64,
  DTYPE_C128,
  DTYPE_STRING,
  DTYPE_COUNT
} Dtype;

const char *dtype_name(Dtype dtype);                    /* "f32" */
Dtype dtype_from_name(const char *name, size_t length); /* DTYPE_NONE when unknown */
int dtype_bits(Dtype dtype);                            /* of a string: of the pointer to its bytes */
bool dtype_is_float(Dtype dtype);
bool dtype_is_signed_int(Dtype dtype);
bool dtype_is_unsigned_int(Dtype dtype);
bool dtype_is_int(Dtype dtype);  /* signed or unsigned, not bool */
bool dtype_is_byte(Dtype dtype); /* i8 or u8, whose products are summed in i32 */
/* Rows of a weight panel that lie side by side: as many as a machine's dot product takes at once. */
int panel_depth(Dtype dtype);
bool dtype_is_complex(Dtype dtype);
/* Elements that are moved and converted but not computed with: below a byte, 8-bit floats, complex numbers,
 * strings. */
bool dtype_is_storage(Dtype dtype);
int dtype_align(Dtype dtype); /* of elements in memory, in bytes: complex numbers are pairs of floats */
/* Bytes of `count` packed elements; false when the product overflows size_t. */
bool dtype_bytes(Dtype dtype, int64_t count, size_t *bytes);
/* Element i of a packed array as a double / int64, and back (rounded or wrapped to the dtype). */
double dtype_get(Dtype dtype, const void *base, int64_t index);
int64_t dtype_get_int(Dtype dtype, const void *base, int64_t index);
void dtype_set(Dtype dtype, void *base, int64_t index, double value);
void dtype_set_int(Dtype dtype, void *base, int64_t index, int64_t value);
/* Element `index` of `from`, bit by bit, as element `at` of `to`. */
void dtype_copy(Dtype dtype, void *to, int64_t at, const void *from, int64_t index);

/* The bits of a float below 32: sign, exponent, mantissa. */
typedef struct FloatFormat {
  int exponent_bits, mantissa_bits, bias;
  bool has_inf;  /* exponent all ones: infinity, and NaN with any mantissa bit, as in IEEE 754 */
  bool saturate; /* finite overflow gives the largest finite number */
  bool has_zero_minus;
  unsigned nan;     /* the NaN it writes; 0: none, NaN becomes the largest number */
  unsigned largest; /* largest finite number, without sign */
} FloatFormat;
const FloatFormat *dtype_format(Dtype dtype); /* NULL: f32, f64, f8e8m0 and what is no float */

/* ---- 4. Dims (dim.c) ----------------------------------------------------------------------------------- */

/*
 * The size of an axis: a constant, or a symbolic expression over named symbols (each >= 0). Interned and
 * simplified to a canonical form in its module, so equal expressions are equal pointers. Sums are flattened
 * to a sorted chain of terms, constants are folded, `floordiv(a*k, k)` is a, and so on; what cannot be proved
 * equal is different.
 */
typedef enum DimKind {
  DIM_CONST,
  DIM_SYMBOL,
  DIM_ADD,
  DIM_MUL,
  DIM_FLOORDIV,
  DIM_CEILDIV,
  DIM_MIN,
  DIM_MAX,
  DIM_BCAST /* bcast(a, b): a if b is 1, b if a is 1, else both, which a guard checks to be equal */
} DimKind;

struct Dim {
  DimKind kind;
  int64_t value;      /* DIM_CONST (may be negative inside expressions and in known values) */
  const char *symbol; /* DIM_SYMBOL */
  const Dim *a, *b;
  int id;   /* order of creation, dense from 0 in its module */
  int size; /* parts of the expression: 1, and those of a and b */
};

const Dim *dim_const(Module *module, int64_t value);
const Dim *dim_symbol(Module *module, const char *name);
const Dim *dim_new_symbol(Module *module); /* with a name that the module does not have */
const Dim *dim_make(Module *module, DimKind kind, const Dim *a, const Dim *b); /* simplifies */
const Dim *dim_add(Module *module, const Dim *a, const Dim *b);
const Dim *dim_sub(Module *module, const Dim *a, const Dim *b);
const Dim *dim_mul(Module *module, const Dim *a, const Dim *b);
const Dim *dim_floordiv(Module *module, const Dim *a, const Dim *b);
const Dim *dim_ceildiv(Module *module, const Dim *a, const Dim *b);
bool dim_is_const(const Dim *dim);
bool dim_is(const Dim *dim, int64_t value); /* a constant of that value */
/* The value with symbols[i] = values[i]; false when a symbol is missing, a division is by zero or it
 * overflows. */
bool dim_eval(const Dim *dim, const char *const *symbols, const int64_t *values, int count, int64_t *result);
/* The same with the values that `lookup` gives, which returns false for a symbol that it does not know. */
typedef bool DimLookup(const void *context, const Dim *symbol, int64_t *value);
bool dim_eval_with(const Dim *dim, DimLookup *lookup, const void *context, int64_t *result);
const Dim *dim_substitute(Module *module, const Dim *dim, const char *symbol, const Dim *by);
char *dim_text(Module *module, const Dim *dim); /* "N", "past+1", "floordiv(H,2)" */

/* ---- 5. Types (type.c) --------------------------------------------------------------------------------- */

/* What a value is: a tensor, a list of tensors of one dtype, or one of these that may be absent. All but
 * tensors of a known rank are legal only where values are made while a graph runs (TRAIT_DYNAMIC). */
typedef enum Form { FORM_TENSOR, FORM_SEQUENCE, FORM_OPTIONAL, FORM_OPTIONAL_SEQUENCE } Form;

/* Form, and dtype and shape of the tensor in it; interned, immutable, compared by pointer. Rank 0 is a
 * scalar. The sizes of tensors in other forms are numbers, or the symbol `_`, which says nothing. */
struct Type {
  Form form;
  Dtype dtype;
  int rank; /* 0 .. MAX_RANK, RANK_UNKNOWN or RANK_NONE */
  const Dim *const *dims;
};

enum {
  MAX_RANK = 16,
  RANK_UNKNOWN = -1,
  RANK_NONE = -2 /* of the tensors in a sequence that has none yet */
};

const Type *type_make(Module *module, Dtype dtype, int rank, const Dim *const *dims);
const Type *type_static(Module *module, Dtype dtype, int rank, const int64_t *dims);
const Type *type_scalar(Module *module, Dtype dtype);
const Type *type_with_dtype(Module *module, const Type *type, Dtype dtype);
const Type *type_unknown_rank(Module *module, Dtype dtype); /* a tensor */
const Type *type_empty_sequence(Module *module, Dtype dtype);
/* The type of another form whose tensor is as that of `type`. */
const Type *type_with_form(Module *module, const Type *type, Form form);
bool type_is_tensor(const Type *type); /* of a known rank */
bool type_is_static(const Type *type);
const Dim *type_count(Module *module, const Type *type); /* number of elements */
int64_t type_static_count(const Type *type);             /* -1 when symbolic or over INT64_MAX */
const Dim *type_bytes(Module *module, const Type *type); /* of a packed tensor */
bool type_same_shape(const Type *a, const Type *b);
char *type_text(Module *module, const Type *type); /* "f32[N,1,28,28]" */
/* A tensor type as those in sequences are, where sizes are numbers or say nothing. */
const Type *type_forget_symbols(Module *module, const Type *type);
bool dim_says_nothing(const Dim *dim);
/* A type that has room for the values of both: sizes that differ become next(context, axis), ranks that
 * differ an unknown rank. NULL (no Diag) when forms or dtypes differ. */
const Type *type_join(Module *module, const Type *a, const Type *b,
                      const Dim *(*next)(void *context, int axis), void *context);
/* Whether it has room for values of the type `from`, where sizes that takes(context, size) may be any. */
bool type_has_room(const Type *type, const Type *from, bool (*takes)(const void *context, const Dim *dim),
                   const void *context);
/* numpy broadcasting of two shapes; false (no Diag) when two constant dims clash. */
bool type_broadcast(Module *module, const Type *a, const Type *b, Dtype dtype, const Type **result);

/* ---- 6. Data (data.c) ---------------------------------------------------------------------------------- */

/* The bytes of a constant: row-major, packed, little endian. Never changed after creation; may be shared by
 * constants. */
struct Data {
  Dtype dtype;
  int64_t count;     /* elements it stands for */
  bool splat;        /* bytes hold one element, repeated `count` times */
  const void *bytes; /* 64-byte aligned when owned; any alignment when mapped */
  size_t size;       /* of bytes */
  uint64_t hash;     /* of dtype, count, splat and bytes; computed on first use by data_hash */
  const char *name;  /* key in the weights file, NULL when anonymous */
  void (*release)(Data *data);
  void *owner; /* for release: a mapping shared by several Data, reference-counted by its creator */
  Data *next;  /* in module->data */
};

Data *data_new(Module *module, Dtype dtype, int64_t count); /* owned, zeroed, write through data_bytes */
void *data_bytes(Data *data);                               /* only while it is being filled */
Data *data_splat(Module *module, Dtype dtype, int64_t count, double value); /* of strings: "" */
Data *data_blank(Module *module, Dtype dtype, int64_t count); /* a splat of zero bytes, to be filled in */
/* Element `index` of `data`, `count` times. */
Data *data_spread(Module *module, const Data *data, int64_t index, int64_t count);
Data *data_copy(Module *module, Dtype dtype, int64_t count, const void *bytes);
/* Bytes that someone else keeps until release(data) is called (may be NULL for static memory). */
Data *data_borrow(Module *module, Dtype dtype, int64_t count, const void *bytes, size_t size,
                  void (*release)(Data *), void *owner);
uint64_t data_hash(const Data *data);
bool data_equal(const Data *a, const Data *b);
double data_get(const Data *data, int64_t index);
const char *data_string(const Data *data, int64_t index); /* of strings; their bytes are interned */
int64_t data_get_int(const Data *data, int64_t index);

/* ---- 7. Values, nodes, graphs, modules (graph.c) ------------------------------------------------------- */

/* One mention of a value by a node. The uses of a value form a list that is always current. */
typedef struct Use {
  Value *value; /* NULL: an absent optional operand */
  Node *node;
  struct Use *prev, *next; /* in value->uses */
} Use;

struct Value {
  const Type *type;
  const char *name; /* without '%'; unique in its graph; NULL: numbered when printed */
  Graph *graph;
  Node *def; /* NULL for a graph input */
  int index; /* which result of def, or which graph input */
  Use *uses;
  /* For small tensors of whole numbers (<= MAX_KNOWN elements): the elements as symbolic expressions, or
   * NULL. Set by infer. This is how Shape -> Gather -> Concat -> Reshape chains are understood without being
   * executed. */
  const Dim *const *known;
};

enum { MAX_KNOWN = 64 };

typedef struct Attr Attr;

typedef enum NeedKind {
  NEED_EQUAL,  /* a is b */
  NEED_SPREAD, /* a is b or 1 */
  NEED_SOURCE  /* a is more than 0, unless b, the number of elements that are read there, is 0 */
} NeedKind;

/* What a node needs of open sizes: who runs it checks that. */
typedef struct Need {
  NeedKind kind;
  const Dim *a, *b;
  struct Need *next;
} Need;

bool need_holds(const Need *need, int64_t a, int64_t b);
const char *need_text(Module *module, const Need *need);

struct Node {
  const Op *op;
  Graph *graph;
  Node *prev, *next;
  int operand_count;
  Use *operands;
  int result_count;
  Value **results;
  Attr *attrs; /* one per op->attrs, in schema order */
  int region_count;
  Graph **regions; /* nested graphs; see `kernel` */
  const char
      *origin; /* names of the model's nodes that it came from, for messages and provenance; NULL when none */
  const Data *data;  /* of `const`, else NULL */
  const Need *needs; /* found by inference */
  int mark;          /* scratch for passes; no meaning between them */
};

/* A list of nodes in execution order: definitions come before uses; the last is always `return`. */
struct Graph {
  Module *module;
  Node *owner; /* the node whose region this is, NULL at the top */
  const char *name;
  int input_count;
  Value **inputs;
  int output_count; /* operands of the `return` node; */
  const char **output_names;
  int state_count;    /* so many of the last inputs and outputs are states (states.c), */
  const Type **rooms; /* each in a room of constant sizes */
  Node *first, *last;
  struct Table *names; /* of values; see value_set_name */
};

/* The classes that an output speaks of: each column is of one, or each element is the number of one. */
typedef struct Labelled {
  const char *output;
  bool of_columns;
  int count;
  const int64_t *ints; /* NULL: see names */
  const char *const *names;
  struct Labelled *next;
} Labelled;

struct Module {
  Arena *arena;
  const char *file; /* what the user named */
  Graph *main;
  Diag *diags, *last_diag;
  int error_count;
  Data *data;                /* all that were made, for release */
  Need *needs;               /* of the node whose types are being inferred */
  const char *producer;      /* provenance: tool that wrote the model, NULL unknown */
  Labelled *labels;          /* of outputs, NULL: none; no text form has them */
  struct Interns *interns;   /* dims, types, strings */
  struct Rewrites *rewrites; /* those of the passes that run, when someone wants to know; else NULL */
};

Module *module_new(const char *file);
void module_free(Module *module);
/* Frees the bytes of all constants that it owns, where nobody reads them any more; graphs stay. */
void module_drop_bytes(Module *module);
const char *intern(Module *module, const char *string); /* one copy; equal strings are equal pointers */

Graph *graph_new(Module *module, const char *name, Node *owner);
Value *graph_add_input(Graph *graph, const char *name, const Type *type);
/* Ends the graph with `return`, or replaces the one it has. Names are copied. */
bool graph_set_outputs(Graph *graph, int count, Value *const *values, const char *const *names);
Value *graph_output(const Graph *graph, int index);
/* An input and an output that become a state, and the type of the largest that it may become. */
typedef struct StatePair {
  int input, output;
  const Type *room;
} StatePair;
/* Moves them behind all others. An input or output is in one pair at most. False with a Diag when they do not
 * fit together. */
bool graph_set_states(Graph *graph, int count, const StatePair *pairs);
bool graph_check_states(const Graph *graph);
/* Whether what the states become has room, for these values of the symbols; else a Diag. */
bool graph_fits_rooms(const Graph *graph, const char *const *symbols, const int64_t *values, int count);
Value *graph_state(const Graph *graph, int index); /* the input */
Value *graph_next_state(const Graph *graph, int index);
int value_state(const Value *value); /* the number of the state that an input is; -1: it is none */
int graph_count_nodes(const Graph *graph);
/* That holds a region, through all that lie between; a graph that is no region is its own. */
const Graph *graph_whole(const Graph *graph);
/* It has values whose sizes or forms are known only when it runs: it, or an input, or a graph that holds it.
 */
bool graph_is_dynamic(const Graph *graph);
/* A copy of `source` as a new graph of `module`. Constants share their bytes: the module of `source` must
 * live as long. */
Graph *graph_clone(Module *module, const Graph *source, Node *owner);
/* What values of a graph are made of, back to others of it, its inputs among them. */
typedef struct Cone {
  Value *const *values, **values_there; /* [count]; there: what they are in the copy */
  int count;
  Value *const *ends, **ends_there; /* [end_count]; NULL there: it becomes an input, which is put there */
  int end_count;
} Cone;
/* Adds a copy of it; of other modules' constants the bytes are shared. Uses the marks of the source. */
void graph_add_cone(Graph *graph, const Graph *source, const Cone *cone);

#define FOR_EACH_NODE(node, graph) for (Node *node = (graph)->first; node; node = node->next)
/* Safe when `node` itself is removed in the body. */
#define FOR_EACH_NODE_SAFE(node, graph)                                                                      \
  for (Node *node = (graph)->first, *node##_next; node && (node##_next = node->next, true);                  \
       node = node##_next)
#define FOR_EACH_USE(use, v) for (Use *use = (v)->uses; use; use = use->next)

/* Whether it may not go although nobody uses its results (symbols.c): it refuses a run, or others mention the
 * sizes that it finds. */
bool node_must_stay(const Node *node);
Value *operand(const Node *node, int index); /* NULL when absent or beyond the last */
Value *result(const Node *node, int index);
int value_use_count(const Value *value);
bool value_has_one_use(const Value *value);
bool value_is_constant(const Value *value); /* a constant, or computed of few of them, as `fold` will do */
bool value_is_output(const Value *value);   /* used by its graph's `return` */
void value_set_name(Value *value, const char *name); /* made unique by a suffix */
void operand_set(Node *node, int index, Value *value);
void value_replace(
    Value *from,
    Value *to); /* all uses of `from` become uses of `to`; types may differ only in what is provable */
void node_remove(Node *node); /* its results must be unused */
void node_move_before(Node *node, Node *before);
void node_set_result_count(Node *node, int count);    /* for kernels, whose regions have several outputs */
Graph *node_add_region(Node *node, const char *name); /* an empty nested graph */
void node_adopt_region(Node *node, Graph *graph);     /* one that was built before */
bool node_is(const Node *node, const Op *op);         /* NULL node is nothing */

/* Constants. */
const Data *value_data(const Value *value); /* NULL unless defined by `const` */
bool value_is_literal(
    const Value *value); /* a constant that kernels hold in their code: all elements equal */
bool value_is_splat(const Value *value, double x); /* constant with every element == x */
bool value_scalar(const Value *value, double *x);  /* constant whose elements are all equal */
/* The elements of a small integer tensor as Dims (from data or from `known`); NULL when unknown. *count gets
 * their number. */
const Dim *const *value_known(const Value *value, int *count);
/* As above, all constant: false when any is symbolic or unknown. At most `max`. */
bool value_known_ints(const Value *value, int64_t *ints, int max, int *count);

/* ---- 8. Attributes (attr.c) ---------------------------------------------------------------------------- */

typedef enum AttrKind {
  ATTR_BOOL,
  ATTR_INT,
  ATTR_FLOAT,
  ATTR_STRING,
  ATTR_DTYPE,
  ATTR_INTS,
  ATTR_FLOATS,
  ATTR_DIMS /* symbolic integers: shapes, starts, sizes */
} AttrKind;

/* How an attribute speaks of axes, so that layout can permute it and pruning shrink it without knowing the
 * op. */
typedef enum AttrRole {
  ROLE_NONE,
  ROLE_AXIS,          /* the number of an axis of the result */
  ROLE_AXES,          /* a list of such */
  ROLE_PER_AXIS,      /* one entry per axis of the result, in order */
  ROLE_PER_AXIS_PAIR, /* 2*rank entries: of the begin of every axis, then of the end of every axis */
  ROLE_SIZES,         /* the sizes of the result, -1: what the others leave */
  ROLE_STARTS,        /* per axis, the index of operand 0 that becomes the first */
  ROLE_PADS,          /* per axis in pairs, how many indices the result has before and behind operand 0's */
  ROLE_BLOCKS         /* how many blocks the axes consist of that have such (AxisLink.blocks) */
} AttrRole;
/* Entries that a list has for each axis of the result: 1, 2, or 0: it is no such list. */
int role_entries(AttrRole role);

typedef struct AttrSpec {
  const char *name;
  AttrKind kind;
  AttrRole role;
  const char *value; /* default in text form: "1", "true", "nchw", "[1,1]"; NULL: required */
  const char *doc;
  const char *choices; /* for ATTR_STRING: the legal words, separated by '|', NULL: any */
} AttrSpec;

struct Attr {
  bool set;  /* false: the default (also parsed into the fields below, so getters never ask) */
  int count; /* of a list */
  union {
    bool b;
    int64_t i;
    double f;
    const char *s;
    Dtype dtype;
    const int64_t *ints;
    const double *floats;
    const Dim *const *dims;
  };
};

/* Getters and setters by schema name; a name that is not in the schema is a bug (assert). Lists are copied
 * in. */
bool node_bool(const Node *node, const char *name);
int64_t node_int(const Node *node, const char *name);
double node_float(const Node *node, const char *name);
const char *node_string(const Node *node, const char *name); /* interned */
bool node_string_is(const Node *node, const char *name, const char *value);
Dtype node_dtype(const Node *node, const char *name);
const int64_t *node_ints(const Node *node, const char *name, int *count);
const double *node_floats(const Node *node, const char *name, int *count);
const Dim *const *node_dims(const Node *node, const char *name, int *count);
void node_set_bool(Node *node, const char *name, bool value);
void node_set_int(Node *node, const char *name, int64_t value);
void node_set_float(Node *node, const char *name, double value);
void node_set_string(Node *node, const char *name, const char *value);
void node_set_dtype(Node *node, const char *name, Dtype value);
void node_set_ints(Node *node, const char *name, const int64_t *values, int count);
void node_set_floats(Node *node, const char *name, const double *values, int count);
void node_set_dims(Node *node, const char *name, const Dim *const *values, int count);
int64_t node_axis(const Node *node, const char *name, int rank); /* negative counted from the end */
/* The integers, bools and dtypes among the attributes, as integers in schema order; returns how
 * many there are, writes at most max: the params of the runtime's functions. */
int node_params(const Node *node, int64_t *params, int max);
bool attr_equal(const AttrSpec *spec, const Attr *a, const Attr *b);
Attr *attrs_default(Module *module, const Op *op); /* one per spec, none set */
bool attr_is_default(Module *module, const AttrSpec *spec, const Attr *attr);
bool attrs_check(const Node *node); /* required ones are set, words are legal; false with a Diag */
Attr attr_import(Module *module, const AttrSpec *spec,
                 const Attr *attr); /* of any module, as one of `module` */

/* ---- 9. Operators (op.c, ops.def, ops/<family>.c) ------------------------------------------------------ */

typedef enum Trait {
  TRAIT_COMMUTATIVE = 1 << 0,
  TRAIT_BROADCAST = 1 << 1, /* operands broadcast to the result as in numpy; default axis map and infer */
  TRAIT_VIEW = 1 << 2,      /* the result can be the operand's memory under another shape (reshape) */
  TRAIT_VARIADIC = 1 << 3,  /* the last operand spec repeats, at least once */
  TRAIT_CHEAP = 1 << 4,     /* element op that costs about an addition per element: may be recomputed */
  TRAIT_STRUCTURE = 1 << 5, /* const, return, kernel, and what is dynamic: no kernel of their own */
  TRAIT_PREPARE = 1 << 6, /* of constants: larger than they are, and quickly made when a library is opened */
  TRAIT_REREAD = 1 << 7,  /* a nest that reads back and changes what it wrote: nothing is fused behind it */
  TRAIT_DYNAMIC =
      1 << 8,            /* what it gives is known when it has run: sizes, what is in a sequence. Graphs with
                            such ops run in sessions only. Operands and results may be of any form and rank */
  TRAIT_REGIONS = 1 << 9 /* has regions, and as many results as they say */
} Trait;

typedef struct OperandSpec {
  const char *name;
  bool optional;
  const char *doc; /* shape and dtype in words */
} OperandSpec;

/* What happens to one axis of an operand on its way to the result. */
typedef enum AxisRole {
  AXIS_OPAQUE,    /* nothing can be said */
  AXIS_SAME,      /* is result axis `axis`, index for index */
  AXIS_BROADCAST, /* is result axis `axis`; size 1 repeats */
  AXIS_CONTRACT,  /* summed or reduced away, together with every other operand's contracted axis of the same
                     `axis` number */
  AXIS_GROUPS,    /* contracted in that way within each of its blocks (grouped convolution) */
  AXIS_STATE,     /* of a recurrence: is, or is contracted with, what result axis `axis` is a step before */
  AXIS_WINDOW,    /* becomes result axis `axis` through windows, steps, resampling or unpacking */
  AXIS_SHIFT,     /* index i is index i + start of result axis `axis`, if there is one (concat, slice, pad) */
  AXIS_REPEAT,    /* result axis `axis` is blocks, each of which is this axis (tile) */
  AXIS_PARTS,     /* is blocks, each of which is result axis `axis` (gates of a cell) */
  AXIS_MERGE,     /* merged with its neighbours into result axis `axis`, row-major (reshape) */
  AXIS_SPLIT      /* split into result axes from `axis` on, row-major (reshape) */
} AxisRole;

/*
 * Where one index of an axis goes, other indices can be taken out of the graph (passes/ties.h), unless the
 * result depends on all of them otherwise than by a sum: then the link is `whole`. An axis that no operand
 * links to does not come from the operands index by index, and keeps its indices, too.
 */
typedef struct AxisLink {
  AxisRole role;
  int axis;
  bool whole;     /* the mean of it, softmax along it, ...: not without one of its indices */
  int64_t start;  /* of AXIS_SHIFT */
  int64_t blocks; /* equal ones that the axis consists of, side by side, and that others of the node share */
} AxisLink;
AxisLink axis_link(AxisRole role, int axis);

/*
 * A product of operand 1, [k, columns], with what is no operand of its node: of a recurrence with the state
 * before each step. What is multiplied and what that gives, over all places, are values that operators behind
 * the node make of its operands and results.
 */
typedef struct InnerProduct {
  int groups;    /* equal ones of the columns, side by side, each of which meets its own part of x */
  Value *x, *y;  /* [.., groups * k], [.., columns] */
  Value *counts; /* bool, for each place whether there is one; NULL: for all */
} InnerProduct;

struct Builder; /* below */
struct Lower;   /* loop.h: the lowering of one kernel */
struct Index;   /* loop.h: a position along one axis */
struct Reg;     /* loop.h: a value of the loop IR */

/*
 * Everything about an operator, in one place. Exactly one of element, nest, expand and call gives its
 * meaning, unless it is TRAIT_STRUCTURE. Result names are documentation; ops with a data-dependent number of
 * results do not exist.
 */
struct Op {
  const char *name;
  const char *family; /* the file in ops/, without .c */
  const char *doc;    /* one paragraph; formula and source (spec section, paper) */
  const OperandSpec *operands;
  int operand_count;          /* specs */
  const char *const *results; /* names; at least one unless `return` */
  int result_count;
  const AttrSpec *attrs;
  int attr_count;
  unsigned traits;
  /* Checks operands and attributes (all that user input can get wrong) and sets result types with result_set.
   */
  bool (*infer)(Node *node);
  /* Local algebra: an equivalent existing or newly built value for result 0 (built before `node`), or NULL.
   * May also change `node` in place and return result(node, 0). Must not report errors. */
  Value *(*simplify)(Node *node);
  /* Link of every axis of operand `index`. NULL: by TRAIT_BROADCAST, else all AXIS_OPAQUE. links has MAX_RANK
   * entries. */
  void (*axes)(const Node *node, int index, AxisLink *links);
  /* Of further results: how the axes of result `index` are those of result 0. NULL: all AXIS_OPAQUE. */
  void (*result_axes)(const Node *node, int index, AxisLink *links);
  /* Meaning. element: the result at `at` (one Index per result axis). */
  struct Reg *(*element)(struct Lower *lower, const Node *node, int result, const struct Index *at);
  void (*nest)(struct Lower *lower, const Node *node);
  /* expand: an equivalent value per result, built before `node`. */
  bool (*expand)(Node *node, Value **results);
  const char *call; /* a function of runtime/kernels/ on the operands and results (lower_call.c) */
  /* The product inside; NULL: there is none. Without a builder only the groups. False: it cannot be told, or
   * a Diag. */
  bool (*inner)(const Node *node, struct Builder *builder, InnerProduct *inner);
  /* Changes the operands of a node so that [columns] is added to that product everywhere. */
  bool (*inner_add)(const Node *node, struct Builder *builder, Value *addend, Value **operands);
  /* Multiply-accumulates for one execution, as a Dim; NULL: zero. */
  const Dim *(*macs)(const Node *node);
  /* Element-wise ops (element is elementwise_element) only give the function of one element of every operand:
   * an opcode of the loop IR, or code. x[i] is NULL for an absent operand; f16 and bf16 come as f32 and go
   * back rounded. */
  int opcode;
  struct Reg *(*scalar)(struct Lower *lower, const Node *node, struct Reg *const *x);
};

/* ops.def holds OP(name) per operator, sorted; each is a `const Op op_<name>` in ops/<family>.c. */
#define OP(name) extern const Op op_##name;
#include "ir/ops.def"
#undef OP

extern const Op *const all_ops[];
extern const int all_op_count;
const Op *op_find(const char *name, size_t length);
int op_attr_index(const Op *op, const char *name); /* -1 when absent */
/* The axis map, with the default applied. */
void op_axes(const Node *node, int index, AxisLink links[MAX_RANK]);
void op_result_axes(const Node *node, int index, AxisLink links[MAX_RANK]); /* of results but the first */
/* Multiply-accumulates of one execution; of a kernel those of what is fused in it. */
const Dim *node_macs(const Node *node);
/* Their part of docs/operators.md. */
void ops_print_markdown(FILE *out);

/* The geometry of a conv, conv_transpose, max_pool or average_pool, defaults filled in (ops/window.c). */
enum { MAX_WINDOW = 6 };
typedef struct Window {
  int rank;           /* spatial axes: 1, 2, 3, ... */
  bool channels_last; /* layout=nhwc */
  int channel_axis;   /* of x and of the result; the batch is axis 0 */
  int spatial_axis;   /* the first of them */
  int64_t kernel[MAX_WINDOW], stride[MAX_WINDOW], dilation[MAX_WINDOW];
  int64_t before[MAX_WINDOW], after[MAX_WINDOW]; /* padding */
  int64_t group;                                 /* 1 for pools */
  int64_t group_channels; /* x channels of one group: contracted for one result; 0 for pools */
  int64_t channels;       /* of the result, 0 for pools */
} Window;
/* Only of a node that passed infer. */
Window node_window(const Node *node);

/* Operands of the recurrent cells lstm, gru and rnn; those of number 4 and 5 are the op's own. */
enum { CELL_XW, CELL_R, CELL_H0, CELL_LENGTHS, LSTM_C0, LSTM_PEEPHOLES, GRU_BIAS = LSTM_C0 };

/* Operands of gemm and conv. */
enum { PRODUCT_X, PRODUCT_W, PRODUCT_BIAS, SPARSE_ROWS, SPARSE_STARTS };

/* Operands of tree_ensemble. */
enum {
  TREES_X,
  TREES_FEATURES,
  TREES_THRESHOLDS,
  TREES_LEAVES,
  TREES_TARGETS,
  TREES_ROOTS,
  TREES_CHILDREN,
  TREES_ROWS,
  TREES_OPERANDS
};

/* ---- 10. Building (build.c) ---------------------------------------------------------------------------- */

/* Where new nodes go: before `before` (NULL: before the `return` if there is one, else at the end). */
typedef struct Builder {
  Graph *graph;
  Node *before;
  const char *origin; /* given to every node built */
} Builder;

Builder builder_before(Node *node); /* inherits node's origin */
Builder builder_at_end(Graph *graph);

/* A node with default attributes and untyped results; set attributes, then node_finish. operands[i] may be
 * NULL. */
Node *node_new(Builder *builder, const Op *op, Value *const *operands, int operand_count);
/* The same op and attributes on other operands, not finished. */
Node *node_like(Builder *builder, const Node *node, Value *const *operands);
Node *node_like_on(Builder *builder, const Node *node, Value *const *operands, int operand_count);
/* Checks operand count, runs infer and the known-value propagation. On failure the node is removed and a Diag
 * recorded. */
bool node_finish(Node *node);
void result_set(Node *node, int index,
                const Type *type); /* for infer; forgets what was known of its elements */
/* For infer of ops on small tensors of whole numbers: the elements of the result. Copied; nothing happens
 * unless count is that of the type. */
void result_set_known(Node *node, int index, const Dim *const *known, int count);
bool node_reinfer(Node *node); /* after an operand's type or an attribute changed */

/* Shorthands for common nodes; NULL on failure (Diag recorded). */
Value *build_op(Builder *builder, const Op *op, Value *const *operands,
                int operand_count); /* default attrs, result 0 */
Value *build_unary(Builder *builder, const Op *op, Value *x);
Value *build_binary(Builder *builder, const Op *op, Value *x, Value *y);
Value *build_const(Builder *builder, const Type *type, const Data *data, const char *name);
Value *build_splat(Builder *builder, const Type *type,
                   double value); /* static types only; else use broadcast of a scalar */
Value *build_scalar(Builder *builder, Dtype dtype, double value);      /* rank 0 */
Value *build_ints(Builder *builder, const int64_t *values, int count); /* i64[count] */
Value *build_reshape(Builder *builder, Value *x, int rank, const Dim *const *dims);
Value *build_transpose(Builder *builder, Value *x, const int64_t *perm);
/* numpy broadcast to a shape; a copy when x has that shape */
Value *build_broadcast(Builder *builder, Value *x, int rank, const Dim *const *dims);
Value *build_cast(Builder *builder, Value *x, Dtype dtype); /* x itself when it has that dtype */
Value *build_reduce(Builder *builder, const Op *op, Value *x, const int64_t *axes, int count);
Value *build_quantize(Builder *builder, Value *x, Value *scale, Value *zero, Dtype to);
/* To u8, over the range of x, a float, with 0 in it; an x of zeros alone gets scale 1. As ONNX's
 * DynamicQuantizeLinear. */
Value *build_dynamic_quantize(Builder *builder, Value *x, Value **scale, Value **zero);
/* The constant that an integer value is known to be (Value.known, all elements constant); NULL when it is
 * not, or is one already. */
Value *build_known(Builder *builder, Value *x);

/* The nodes, at the builder's place, that compute how the sum of y's elements depends on each element of xs:
 * `gradients` of the same types (gradient.c). With `at` other than xs, all of it is computed anew from these
 * values instead. Floats; false with a Diag when an operator on the way has no rule. */
bool build_gradients(Builder *builder, Value *y, int count, Value *const *xs, Value *const *at,
                     Value **gradients);

/* ---- 11. Checking and places (verify.c, place.c) --------------------------------------------------------
 */

/* Structure, use lists, order, types against infer, unique names. False and Diags when anything is wrong. */
bool graph_verify(const Graph *graph);

/* Where a value lies: in the memory of `root`, which may be itself. The last axis has stride 1,
 * and runs of constant size along it are a constant number of elements apart. */
typedef struct ValuePlace {
  const Value *root;
  const Dim *offset;         /* of the first element, in elements of the root */
  const Dim *const *strides; /* of each axis, in elements; NULL: row-major */
} ValuePlace;
typedef struct Places Places;

/* A `kernel` without code: schedule="in_place". */
bool kernel_is_in_place(const Node *node);
/* What the in_place kernels of the graph make of its values; NULL and Diags when they contradict each other.
 * A place stays as it is as long as the graph does. */
const Places *places_find(const Graph *graph);
ValuePlace value_place(const Places *places, const Value *value);
/* Step by step, for the pass that marks them: concats from the last to the first, then slices from the first
 * to the last. False, and nothing has changed, when the kernel cannot be in place. */
Places *places_new(Module *module);
bool places_join(Places *places, const Node *kernel);
/* Of a kernel around a lone concat: which of the concat's operands can lie in its result; else NULL. */
const bool *places_fit(const Places *places, const Node *kernel);

/* ---- Work and provenance (work.c): what running a node takes; sums of Dims ---- */

const Dim *node_read_bytes(const Node *node); /* of distinct operands */
const Dim *node_written_bytes(const Node *node);
const Dim *graph_macs(const Graph *graph);
/* The most that intermediates take at a time, in this order of nodes; -1: it depends on the dims. Uses marks.
 */
int64_t graph_peak_bytes(Graph *graph);
/* Whether the model's node `name` is among those that an origin, "a + b + c", tells; NULL has none. */
bool origin_has(const char *origin, const char *name);

/* ---- 12. Text forms (print.c, parse.c, safetensors.c) -------------------------------------------------- */

/* Canonical: printing what was parsed gives the same text. Weights over a few elements are named `data
 * "key"`. */
void graph_print(const Graph *graph, FILE *out);
void node_print(const Node *node, FILE *out);
/* Numbers of values without a name that stay the same from print to print. */
typedef struct ValueNumbers ValueNumbers;
ValueNumbers *value_numbers_new(Arena *arena);
/* The same with these, and a comment behind each computation: the model's nodes that it came from, and its
 * cost. It reads back as the same graph. */
void graph_print_noted(const Graph *graph, ValueNumbers *numbers, FILE *out);
void node_print_noted(const Node *node, ValueNumbers *numbers, FILE *out);
/* "Conv_3 + Relu_4; 1.2 M multiply-accumulates, 3.1 MB read, 0.8 MB written"; "" when there is nothing to
 * say. */
const char *node_note(const Node *node);
/* "23 nodes, 118 M multiply-accumulates, 4.1 MB of constants, at most 1.2 MB of intermediates at a time" */
const char *graph_note(Graph *graph);
/* Reads `path` and, if it mentions `data`, the weights beside it (same name, .safetensors). Errors carry line
 * and column. */
bool module_parse_file(Module *module, const char *path);
bool module_parse_text(Module *module, const char *text, size_t length, const char *weights_path);
/* Writes `path` and, if needed, the .safetensors beside it. */
bool module_write_file(const Module *module, const char *path);

/* safetensors: 8 bytes little-endian header length, JSON header, data. */
typedef struct SafeTensor {
  const char *name;
  Dtype dtype;
  int rank;
  const int64_t *dims;
  const void *bytes; /* in the mapping, which lives as long as the module */
  size_t size;
} SafeTensor;
bool safetensors_open(Module *module, const char *path, SafeTensor **tensors, int *count);
bool safetensors_write(Module *module, const char *path, const SafeTensor *tensors, int count);

#endif
