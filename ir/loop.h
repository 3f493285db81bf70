/*
 * loop.h -- the loop IR: one kernel as data, between the graph and LLVM.
 *
 *   1 types and instructions   2 kernels   3 building   4 text, checking, running   5 lowering ops to kernels
 *   6 recurrent cells   7 trees   8 weights without zeros
 *
 * Structured loops over typed buffers; values (Reg) are in SSA form, scalar or fixed-width vectors; loops and
 * ifs carry values through block parameters, `yield` and results, as in:
 *
 *   kernel row_sum(%x: in f32[M,64], %y: out f32[M]) {
 *     parallel %i = 0 to dim(M) {
 *       %zero: f32x16 = const 0.0
 *       %sum: f32x16 = for %j = 0 to 64 step 16 carry %acc = %zero {
 *         %v: f32x16 = load %x[%i, %j]
 *         %next: f32x16 = add %acc, %v
 *         yield %next
 *       }
 *       %s: f32 = reduce_add %sum
 *       store %s, %y[%i]
 *     }
 *   }
 *
 * docs/loop-ir.md defines every opcode; loop.def is the table that printer, parser, verifier, interpreter and
 * backend share. Everything is allocated in the arena of the module.
 */
#ifndef TENON_LOOP_H
#define TENON_LOOP_H

#include "ir/ir.h"
#include "runtime/kernels/kernels.h"

typedef struct Reg Reg;
typedef struct Instr Instr;
typedef struct Block Block;
typedef struct Call Call;
typedef struct Buffer Buffer;
typedef struct Kernel Kernel;
typedef struct Index Index;
typedef struct Lower Lower;

/* ---- 1. Types and instructions ------------------------------------------------------------------------- */

/* A scalar (lanes == 1) or a vector. Masks are bool vectors. Indices and loop counters are scalar i64. */
typedef struct LoopType {
  Dtype dtype;
  int lanes;
} LoopType;

/* LOOP_OP(NAME, name, operands, doc): see loop.def; operands -1 means variable. */
typedef enum Opcode {
#define LOOP_OP(NAME, name, operands, doc) LOOP_##NAME,
#include "ir/loop.def"
#undef LOOP_OP
  LOOP_OPCODE_COUNT
} Opcode;

typedef struct OpcodeInfo {
  const char *name;
  int operands; /* -1: variable */
  const char *doc;
} OpcodeInfo;
extern const OpcodeInfo opcode_infos[LOOP_OPCODE_COUNT];
bool opcode_is_comparison(Opcode op);
bool loop_type_equal(LoopType a, LoopType b);

/* Limits that the verifier enforces. */
enum {
  MAX_LANES = 256 /* and a power of two */,
  MAX_NESTING = 64,
  MAX_INSTRS = 1 << 20,
  MAX_LOCAL_BYTES = 1 << 24,
  MAX_LOCAL_ALIGN = 64
};

enum { TABLE_SIZE = 256 }; /* of lookup */

struct Reg {
  LoopType type;
  const char *name; /* NULL: numbered when printed */
  Instr *def;       /* the instruction it is a result of, or whose block it is a parameter of */
  int id;           /* unique in the kernel, dense from 0 */
};

struct Block {
  Instr *owner;    /* NULL: the body of the kernel */
  int param_count; /* for, parallel: the counter, then the carried values */
  Reg **params;
  Instr *first, *last; /* the last is `yield` exactly when the owner has results */
};

struct Instr {
  Opcode op;
  Block *block;
  Instr *prev, *next;
  int result_count;
  Reg **results;
  int arg_count;
  Reg **args; /* load/gather: indices [, mask]; store/scatter: value, indices [, mask]; for: lo, hi, initial
                 values; call: indices */
  int block_count;
  Block **blocks; /* for, parallel: the body; if: then, else (always both); sections: each */
  Buffer *buffer; /* load, store, gather, scatter */
  int axis;       /* vector load/store: lane l addresses index[axis] + l*step */
  int64_t step;   /* of lanes (load/store; may be negative, not 0), of the counter (for, parallel; > 0) */
  bool masked;    /* the last arg is a mask: lanes off load 0 and do not store */
  int64_t imm;    /* const of an integer or bool type, 0 of a complex one; extract: the lane */
  double fimm;    /* const of a float type */
  const int64_t *lanes; /* shuffle: for each result lane, an index into the concatenation of both args;
                           lookup: the table */
  const Dim *dim;       /* dim */
  const Call *call;     /* call */
};

/* What a call gives to its function: for each of its views a buffer, some of whose axes are at an index,
 * which is an argument of the instruction, in order; the view has the others. */
struct Call {
  const Callee *callee;
  Buffer *buffers[MAX_VIEWS];
  unsigned fixed[MAX_VIEWS]; /* bits by axis */
  int64_t numbers[MAX_NUMBERS];
};

/* ---- 2. Kernels ---------------------------------------------------------------------------------------- */

typedef enum BufferKind {
  BUFFER_IN,    /* read-only; may alias other inputs, never an output */
  BUFFER_OUT,   /* written, and readable after it was written; all elements are written unless the op says
                   otherwise */
  BUFFER_INOUT, /* in-place */
  BUFFER_LOCAL, /* scratch of one execution of the kernel (one iteration of its enclosing parallel loop);
                   static size */
  BUFFER_VIEW   /* another shape and strides over the memory of `base` */
} BufferKind;

struct Buffer {
  BufferKind kind;
  const char *name;
  Dtype dtype;
  int rank;
  const Dim *const *dims;
  const Dim *const *strides; /* in elements; NULL: row-major */
  Buffer *base;              /* of a view */
  const Dim *offset;         /* of a view, in elements from base; NULL: 0 */
  int align;                 /* of element 0, in bytes; at least that of the element */
  int index;                 /* position among the kernel's params, locals or views */
};

struct Kernel {
  Module *module;
  const char *name;
  int param_count, local_count, view_count;
  Buffer **params, **locals, **views;
  Block *body;
  int reg_count;
};

Kernel *kernel_new(Module *module, const char *name);
Buffer *kernel_add_param(Kernel *kernel, BufferKind kind, const char *name, Dtype dtype, int rank,
                         const Dim *const *dims, const Dim *const *strides, int align);
Buffer *kernel_add_local(Kernel *kernel, const char *name, Dtype dtype, int rank, const int64_t *dims);
Buffer *kernel_add_view(Kernel *kernel, const char *name, Buffer *base, const Dim *offset, int rank,
                        const Dim *const *dims, const Dim *const *strides);
const Dim *buffer_stride(const Kernel *kernel, const Buffer *buffer, int axis);
Buffer *buffer_root(Buffer *buffer); /* the param or local that a view looks into, or the buffer itself */
/* The named symbols that the kernel's dims mention, sorted by name; returns how many there are, writes at
 * most max. */
int kernel_symbols(const Kernel *kernel, const char **symbols, int max);

int instr_buffer_count(const Instr *instr); /* those that it mentions itself */
Buffer *instr_buffer(const Instr *instr, int index);
bool instr_has_effect(const Instr *instr); /* it, or what is in its blocks, writes memory (loop_dead.c) */
/* Removes instructions without effect whose results are unused (loop_dead.c). */
void kernel_remove_dead(Kernel *kernel);

/* ---- 3. Building (loop.c) ------------------------------------------------------------------------------ */

/* Where instructions go: the end of `block`. A plain struct: save and restore it by copying. */
typedef struct Loops {
  Kernel *kernel;
  Block *block;
} Loops;

Loops loops_in(Kernel *kernel);
/* The raw layer, for the parser and rewriters: an instruction at the end of loops->block with NULL args, to
 * be filled in. */
Reg *reg_new(Kernel *kernel, Instr *def, LoopType type);
Instr *instr_new(Loops *loops, Opcode op, int result_count, const LoopType *types, int arg_count);
Block *instr_add_block(Kernel *kernel, Instr *instr, int param_count, const LoopType *types);
bool reg_is_const(const Reg *reg);
bool reg_const_int(const Reg *reg, int64_t *value);         /* a literal of an integer or bool type */
Reg *loop_int(Loops *loops, int64_t value);                 /* i64 scalar */
Reg *loop_const(Loops *loops, LoopType type, double value); /* splat when lanes > 1; rounded to the dtype */
Reg *loop_const_int(Loops *loops, LoopType type, int64_t value);
Reg *loop_dim(Loops *loops, const Dim *dim);           /* i64; a const instruction when the Dim is constant */
Reg *loop_splat(Loops *loops, Reg *scalar, int lanes); /* the value itself when it has that many lanes */
/* Scalars are splatted to the lanes of the other operand. Comparisons give bool. */
Reg *loop_unary(Loops *loops, Opcode op, Reg *x);
Reg *loop_binary(Loops *loops, Opcode op, Reg *x, Reg *y);
Reg *loop_fma(Loops *loops, Reg *a, Reg *b, Reg *c);     /* a*b + c, rounded once */
Reg *loop_mul_add(Loops *loops, Reg *a, Reg *b, Reg *c); /* or twice: whatever the target is fast at */
Reg *loop_select(Loops *loops, Reg *condition, Reg *x, Reg *y);
Reg *loop_cast(Loops *loops, Reg *x, Dtype dtype);    /* x itself when it has that dtype */
Reg *loop_bitcast(Loops *loops, Reg *x, Dtype dtype); /* as many bits: the lanes may be others */
Reg *loop_iota(Loops *loops, int lanes);              /* i64 0, 1, 2, ... */
Reg *loop_lanes_below(Loops *loops, Reg *n,
                      int lanes); /* mask: lane < n; n is i64 and may be <= 0 or > lanes */
Reg *loop_extract(Loops *loops, Reg *x, int lane);
Reg *loop_shuffle(Loops *loops, Reg *x, Reg *y, const int64_t *lanes, int count);
/* v[i] gets lane i of each, for as many vectors as they have lanes: 4, 8 or 16 (lower_transposed.c). */
enum { MAX_SQUARE = 16 };
void loop_transpose(Loops *loops, Reg **v, int lanes);
/* Reductions across lanes, LOOP_REDUCE_ADD, _MAX, _MIN: a vector to a scalar. */
Reg *loop_reduce(Loops *loops, Opcode op, Reg *x);
/* dot: i32[L] acc + sum of 4 products u8[4L]*s8[4L] (LOOP_DOT_U8S8); f32[L] acc + sum of 2 products
 * bf16[2L]^2 (LOOP_DOT_BF16). */
/* table: 256 numbers of `to`, u8 or i8; copied. */
Reg *loop_lookup(Loops *loops, Reg *x, const int64_t *table, Dtype to);
Reg *loop_pick(Loops *loops, Reg *x, Reg *at); /* at: of i32 or u32 */
Reg *loop_dot(Loops *loops, Opcode op, Reg *acc, Reg *x, Reg *y);
/* mask NULL: all lanes. Contiguous in the last axis: loop_load; the general form takes axis and step. */
Reg *loop_load(Loops *loops, Buffer *buffer, Reg *const *indices, int lanes, Reg *mask);
Reg *loop_load_strided(Loops *loops, Buffer *buffer, Reg *const *indices, int lanes, int axis, int64_t step,
                       Reg *mask);
void loop_store(Loops *loops, Reg *value, Buffer *buffer, Reg *const *indices, Reg *mask);
void loop_store_strided(Loops *loops, Reg *value, Buffer *buffer, Reg *const *indices, int axis, int64_t step,
                        Reg *mask);
/* Any index may be a vector of i64. */
Reg *loop_gather(Loops *loops, Buffer *buffer, Reg *const *indices, int lanes, Reg *mask);
void loop_scatter(Loops *loops, Reg *value, Buffer *buffer, Reg *const *indices, Reg *mask);
/* The indices are scalar and may be outside. */
void loop_prefetch(Loops *loops, Buffer *buffer, Reg *const *indices);

/* `call` is copied; indices: of all its fixed axes, in order. */
void loop_call(Loops *loops, const Call *call, Reg *const *indices);
const Callee *callee_find(const char *name); /* NULL: there is none */
int call_index_count(const Call *call);
int call_rank(const Call *call, int view); /* of the view: the axes that are not fixed */

/* A loop under construction: between begin and end the builder stands in its body.
 *   For f = loop_for(&loops, lo, hi, 16, 1, &zero);
 *   ... use f.counter and f.carried[0] ...
 *   loop_end(&loops, &f, &next);   then f.results[0] is the value after the last iteration (or the initial
 * one)   */
typedef struct For {
  Instr *instr;
  Reg *counter;
  Reg **carried;
  Reg **results; /* valid after loop_end */
  Block *outer;
} For;
For loop_for(Loops *loops, Reg *lo, Reg *hi, int64_t step, int carried_count, Reg *const *initial);
For loop_parallel(Loops *loops, Reg *lo, Reg *hi, int64_t step);
void loop_end(Loops *loops, For *loop, Reg *const *yields);

/* Blocks that are independent of each other: what `parallel` is for iterations. The builder stands in none of
 * them before the first loop_section; a single section leaves no block around it. */
typedef struct Sections {
  Instr *instr;
  Block *outer;
} Sections;
Sections loop_sections(Loops *loops);
void loop_section(Loops *loops, const Sections *sections); /* ends one, begins the next */
void loop_end_sections(Loops *loops, const Sections *sections);

/* if: begin stands in `then`; loop_else yields and moves to `else`; loop_end_if yields and leaves. Without
 * results loop_else may be left out. */
typedef struct If {
  Instr *instr;
  Reg **results; /* valid after loop_end_if */
  Block *outer;
} If;
If loop_if(Loops *loops, Reg *condition, int result_count, const LoopType *types);
void loop_else(Loops *loops, If *branch, Reg *const *yields);
void loop_end_if(Loops *loops, If *branch, Reg *const *yields);

/* ---- 4. Text, checking, running (loop_print.c, loop_parse.c, loop_verify.c, loop_interpret.c) -----------
 */

void kernel_print(const Kernel *kernel, FILE *out);
/* One instruction as it stands in the kernel's text (the head only, of loops and ifs); in the module's arena.
 */
char *instr_text(const Kernel *kernel, const Instr *instr);
/* A file of kernels; NULL and a Diag with line and column when it does not parse. */
Kernel **kernels_parse(Module *module, const char *text, size_t length, int *count);
bool kernel_verify(const Kernel *kernel); /* Diags in kernel->module */
/* Runs with args[i] = memory of params[i] (row-major unless the param has strides). Floats are computed in
 * f64 and rounded when stored. An access out of bounds, a misuse of uninitialised locals or a division by
 * zero is a Diag and false. */
bool kernel_interpret(const Kernel *kernel, void *const *args, const char *const *symbols,
                      const int64_t *values, int symbol_count);

/* ---- 5. Lowering ops to kernels (lower.c, index.c) ----------------------------------------------------- */

/*
 * A position along one axis, for all lanes of the value being computed: base + lane*step, where step 0 means
 * the same in all lanes (scalar code has only that) and step 1 a run of neighbours; or, when arithmetic broke
 * the run, a vector.
 */
struct Index {
  Reg *base; /* i64 scalar; NULL when `vector` is set */
  int64_t step;
  Reg *vector; /* i64[lanes], or NULL */
};

Index index_of(Reg *scalar); /* step 0 */
Index index_const(Lower *lower, int64_t value);
Index index_run(Reg *base, int64_t step);
Index index_add(Lower *lower, Index a, Index b);
Index index_sub(Lower *lower, Index a, Index b);
Index index_add_const(Lower *lower, Index a, int64_t value);
Index index_mul_const(Lower *lower, Index a, int64_t factor);
Index index_mul_dim(Lower *lower, Index a, const Dim *factor);
Index index_div(Lower *lower, Index a, const Dim *divisor); /* floor */
Index index_mod(Lower *lower, Index a, const Dim *divisor); /* 0 <= result < divisor */
Index index_clamp(Lower *lower, Index a, Index low, Index high);
/* As a loop-IR value: scalar i64 when the index is the same in all lanes, else a vector of lower->lanes. */
Reg *index_reg(Lower *lower, Index a);

/*
 * The lowering of one kernel. The node is a plain op, or a `kernel` whose region fuses an anchor (any op with
 * a nest) with element ops. Meanings (Op.element, Op.nest) and the fast kernels of codegen write against this
 * interface, so both fuse.
 */
struct Lower {
  Loops loops; /* first, so that &lower->loops is at hand */
  Module *module;
  const Node *node;   /* what is being lowered */
  const Node *anchor; /* the non-element node of the region, or the node itself; NULL: element ops only */
  int lanes;          /* width of values now: 1 in nests and tails done one by one */
  Reg *mask;          /* NULL, or which lanes exist: applied to every load and store */
  struct Binding *bindings; /* private to lower.c */
};

/* Element of an operand at `at` (one Index per axis of the OPERAND): a load, a constant, or the producer's
 * expression inlined. */
Reg *lower_operand(Lower *lower, const Node *node, int operand, const Index *at);
/* The same for an operand that broadcasts to result 0: `at` has one Index per axis of the RESULT. */
Reg *lower_broadcast(Lower *lower, const Node *node, int operand, const Index *at);
/* Element of a value of the region (or operand of the node). */
Reg *lower_value(Lower *lower, Value *value, const Index *at);
/* For nests and fast kernels: the anchor's result `index` at `at` is `value`. Applies the fused epilogue
 * there and stores. */
void lower_result(Lower *lower, int index, const Index *at, Reg *value);
/* Direct access for fast kernels: the param that holds an operand of the anchor, or NULL if that operand is
 * computed by a fused producer or is a splat (then lower_operand). */
Buffer *lower_buffer(Lower *lower, Value *value);
/* The buffer that holds the anchor's result `index` as it is; NULL: something is fused behind it. */
Buffer *lower_result_buffer(Lower *lower, int index);
/* The param of result `index` of lower->node. */
Buffer *lower_result_param(Lower *lower, int index);
/* Size of axis `axis` of a value, as i64. */
Reg *lower_dim(Lower *lower, const Value *value, int axis);
/* Stores of a result that has no anchor epilogue: element kernels' loops end with this. Result `index` of
 * lower->node. */
void lower_store(Lower *lower, int index, const Index *at, Reg *value);

/* Makes the kernel of `node`: one param per distinct operand that is not a splat constant (in operand order),
 * then one per result; lower_param_operand says which. `body` builds the code (fast kernels of codegen);
 * NULL: the plain lowering, scalar code that is the reference for everything else. Param shapes are those of
 * the values. */
typedef void (*LowerBody)(Lower *lower, void *context);
Kernel *lower_node(const Node *node, const char *name, LowerBody body, void *context);
/* The same with values that are parts of larger ones: strides[i], in elements, of operand i, then of the
 * results; NULL: row-major. The last axis has stride 1; runs of constant size along it are a constant number
 * of elements apart. Bodies that compute positions themselves, instead of leaving them to the buffer's axes,
 * must ask for buffer_stride. */
Kernel *lower_node_strided(const Node *node, const char *name, const Dim *const *const *strides,
                           LowerBody body, void *context);
/* The body of elementwise kernels, and what lower_node appends for results that do not come from the anchor:
 * parallel loops over every such result, `lanes` elements of the last axis at a time. With
 * lanes > 1 contiguous axes are merged first, full runs are unmasked, and the rest of an axis is one masked
 * run. */
void lower_elements(Lower *lower, int lanes);
/* The node's operand (or, >= operand_count, result) that param `index` of its kernel stands for. */
int lower_param_operand(const Node *node, int index);

/* ---- 6. Recurrent cells (ops/rnn.c): what the plain nest and the fast kernel of lstm, gru and rnn share ---
 */

enum { MAX_GATES = 4 };

typedef struct Cell {
  const Node *node;
  int gates;
  int64_t hidden, packed; /* packed: units of a panel of r, 0 for a plain r */
  bool reverse;
  int batch_axis;    /* of xw and y; steps are axis 0 or 1, too */
  bool resets_state; /* gru: the candidate's product is with r*h, so r comes first */
  bool rounds_state; /* lstm: products see h in 8 bits */
} Cell;

Cell node_cell(const Node *node);
/* Position in xw or y. */
void cell_at(const Cell *cell, Index step, Index row, Index unit, Index at[3]);
/* The loop over the steps, in their order; *step is where it stands. */
For cell_steps(Lower *lower, const Cell *cell, Reg **step);
/* How many steps a row has; NULL: all. */
Reg *cell_length(Lower *lower, const Cell *cell, Index row);
/* The state that the candidate sees, of the reset gate's part of xw and its sum. */
Reg *cell_reset(Lower *lower, const Cell *cell, Reg *x, Reg *sum, Reg *h);
/* A state of one row: [hidden], or row `row` of [rows, hidden]. */
typedef struct CellState {
  Buffer *buffer;
  Reg *row; /* NULL: there is only one */
} CellState;
/* Writes to `seen` what products see of h when the cell rounds it. */
void cell_round(Lower *lower, const Cell *cell, CellState h, CellState seen);
/* The next h of a unit (or a run of units); for each gate the part of xw and the sum over h*r. *c becomes the
 * next cell. */
Reg *cell_next(Lower *lower, const Cell *cell, Index unit, Reg *const *x, Reg *const *sums, Reg *h, Reg **c);

/* ---- 7. Trees (ops/trees.c) ---------------------------------------------------------------------------- */

typedef struct Trees {
  bool complete; /* all leaves are `depth` steps from their root; no roots, children and rows */
  int64_t trees, nodes, leaves, depth;
  int64_t columns, outputs, width; /* of x, of the result, of a leaf */
} Trees;

Trees node_trees(const Node *node);
/* Whether the tables (by operand; NULL: not known) stay inside each other, so that nothing needs to be
 * checked on the way. A Diag when not. */
bool trees_check(const Node *node, const Data *const *tables);
Reg *trees_start(Lower *lower, const Node *node, LoopType type); /* of the sums */
Reg *trees_combine(Lower *lower, const Node *node, Reg *sum, Reg *leaf);

/* ---- 8. Weights without zeros (ops/sparse.c) ----------------------------------------------------------- */

/* Whether the tables (NULL: not known) of a gemm or conv stay inside of w and of `steps` steps. A Diag when
 * not. */
bool sparse_check(const Node *node, const Data *rows, const Data *starts, int64_t steps);
/* Of weights of which two of each four are there; k: rows of the matrix. */
enum { QUARTET = 4, QUARTET_KEPT = 2, QUARTETS_OF_WORD = 8 };
bool quartets_check(const Node *node, const Data *rows, int64_t k);

#endif
