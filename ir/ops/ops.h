/*
 * ops.h -- what the operator files of this folder share.
 *
 *   1 checks for infer   2 axis maps   3 known values   4 simplify   5 element meanings   6 loop nests
 *   7 windows   8 Winograd's weights   9 resampling
 */
#ifndef TENON_OPS_OPS_H
#define TENON_OPS_OPS_H

#include "ir/loop.h"

/* ---- 1. Checks for infer (check.c): each records a Diag with the numbers and returns false ----------------
 */

/* Families of dtypes that have arithmetic; the narrow ones (i2, i4, f8, ...) are only moved and cast. */
enum {
  KIND_FLOAT = 1 << 0,    /* f16 bf16 f32 f64 */
  KIND_SIGNED = 1 << 1,   /* i8 .. i64 */
  KIND_UNSIGNED = 1 << 2, /* u8 .. u64 */
  KIND_BOOL = 1 << 3,
  KIND_INT = KIND_SIGNED | KIND_UNSIGNED,
  KIND_NUMBER = KIND_FLOAT | KIND_INT
};

unsigned dtype_kind(Dtype dtype); /* 0: none of them */
bool check_kind(const Node *node, int index, unsigned kinds);
bool check_same_dtype(const Node *node, int a, int b);
/* Operands 0 and 1 can be multiplied: numbers of one dtype, or 8-bit integers of any; operand `index`, if
 * there, can be added to the sums. */
bool check_product(const Node *node);
bool check_addend(const Node *node, int index);
bool check_rank(const Node *node, int index, int rank);
/* Whether two dims are certainly different. */
bool dims_clash(const Dim *a, const Dim *b);
/* False when they are certainly different; of open sizes the program that runs checks that they are equal. */
bool sizes_agree(const Node *node, const Dim *a, const Dim *b);
/* The same for the shape of an operand that is repeated along axes of size 1 and new leading ones. */
bool spreads_to(const Node *node, const Type *from, const Type *to);
/* Elements of `read` come from an axis of x that has `size`, where there must be some; of an open size the
 * program that runs checks that. */
bool check_source(const Node *node, const Dim *size, const Type *read);
/* An attribute of axis numbers: each in [-rank, rank) and mentioned once. axes[] gets them counted from 0. */
bool check_axis(const Node *node, const char *name, int rank, int *axis);
bool check_axes(const Node *node, const char *name, int rank, bool axes[MAX_RANK]);
/* A list attribute has `count` entries. */
bool check_count(const Node *node, const char *name, int got, int count);
/* The sizes of a result come from an attribute: at most MAX_RANK, none a negative number. */
bool check_sizes(const Node *node, const char *name, const Dim *const *dims, int count);
/* numpy broadcasting of the operands' shapes (absent ones skipped) to result 0 of `dtype`. */
bool infer_broadcast(Node *node, Dtype dtype);
/* Result 0 is as operand 0, which must be of one of the kinds. */
bool infer_same(Node *node, unsigned kinds);
char *operand_text(const Node *node, int index); /* "f32[N,3]" */
Module *node_module(const Node *node);

/* ---- 2. Axis maps (axes.c) ------------------------------------------------------------------------------
 */

void axes_same(const Node *node, int index, AxisLink *links); /* axis for axis */
void axes_opaque(const Node *node, int index, AxisLink *links);
void axes_broadcast(const Node *node, int index, AxisLink *links); /* numpy alignment */

/* ---- 3. Known values (known.c) --------------------------------------------------------------------------
 */

/* Sets result 0's known elements, when its count is static and at most MAX_KNOWN; `elements` NULL: forget. */
void known_set(Node *node, const Dim *const *elements);
/* Calculates each element from the operands' known elements at the same broadcast position; `rule` returns
 * NULL for "unknown". */
typedef const Dim *(*KnownRule)(Module *module, const Dim *const *x);
void known_elementwise(Node *node, KnownRule rule);
/* Result 0 has the elements of operand 0 at the given positions (count of result 0). */
void known_pick(Node *node, const int64_t *positions);
/* The same for positions that are a sum over the result's axes; and the strides of a small operand's. */
void known_strided(Node *node, int64_t offset, const int64_t *strides);
bool row_major_strides(const Type *type, int64_t *strides);
const Dim *known_same(Module *module, const Dim *const *x); /* a rule: the element of operand 0 */
bool dim_is_nonnegative(const Dim *dim);

/* ---- 4. Simplify (check.c) ------------------------------------------------------------------------------
 */

/* The node that defines operand `index` if it is an `op`, else NULL. */
Node *operand_def(const Node *node, int index, const Op *op);
/* The value, if it has exactly the type of result 0 of the node, else NULL. */
Value *value_if_typed(const Node *node, Value *value);
/* A copy of the node with other operands: same attributes, built before it. NULL: it did not infer to the
 * same type. */
Value *rebuild(Node *node, Value *const *operands, int count);

/* An iota as another one, built before `before`: of the shape, its elements larger by `by`. */
Value *iota_shifted(const Node *iota, Node *before, const Dim *by, const Dim *const *shape, int rank);

/* Whether it comes from a function that is never negative (but maybe NaN). */
bool value_is_nonnegative(const Value *value);

/* ---- 5. Element meanings (element.c) --------------------------------------------------------------------
 */

Reg *elementwise_element(Lower *lower, const Node *node, int which, const Index *at);
/* The dtype that arithmetic on `dtype` runs in: f32 for the 16-bit floats, else itself. */
Dtype compute_dtype(Dtype dtype);
Reg *compute(Lower *lower, Reg *x); /* x cast to it */
bool is_wide(const Node *node);     /* a product with that attribute set */
/* The dtype of a product's result and addend: i32 for 8-bit integers, f32 with `wide`, else that of operand
 * 0.
 */
Dtype product_dtype(const Node *node);
/* A constant of the type of x. */
Reg *constant_like(Lower *lower, const Reg *x, double value);
/* max and min that give NaN when either is NaN, whatever the order. */
Reg *max_nan(Lower *lower, Reg *x, Reg *y);
Reg *min_nan(Lower *lower, Reg *x, Reg *y);
/* The lowest and the highest value: the start of a max and of a min; infinite for floats. */
Reg *lowest(Lower *lower, Dtype dtype);
Reg *highest(Lower *lower, Dtype dtype);
bool index_is_uniform(const Index *at, int count); /* the same in all lanes */
/* An operand that holds integers: its element at `at`, as it is, and as a position: wrapped once if negative
 * and clamped to [0, size). */
Index index_read(Lower *lower, const Node *node, int index, const Index *at);
Index index_operand(Lower *lower, const Node *node, int index, const Index *at, const Dim *size);
/* Operand element where all `conditions` hold, else `otherwise`; nothing is read elsewhere. Each condition is
 * a scalar (then a branch) or one bool per lane (then a mask). */
Reg *read_where(Lower *lower, const Node *node, int index, const Index *at, Reg *const *conditions, int count,
                Reg *otherwise);
/* bool: low <= at < high (either may be NULL: not asked); NULL when nothing is asked. */
Reg *index_inside(Lower *lower, Index at, const Dim *low, const Dim *high);

/* ---- 6. Loop nests (nest.c) -----------------------------------------------------------------------------
 */

/* Nested loops under construction. Each passes the carried values on to the next, and at the end back out. */
enum { MAX_CARRIED = 4 };
typedef struct Nest {
  For loops[MAX_RANK];
  int depth;
  int carried_count;
  Reg *carried[MAX_CARRIED]; /* in the innermost loop; after nest_end: the final values */
} Nest;
Nest nest_begin(int carried_count, Reg *const *initial);
Reg *nest_for(Lower *lower, Nest *nest, Reg *size);      /* the counter */
Reg *nest_parallel(Lower *lower, Nest *nest, Reg *size); /* only without carried values */
/* Closes all loops; nest->carried holds what the innermost iteration yields. */
void nest_end(Lower *lower, Nest *nest);
/* Parallel loops over the axes of `value`, except those in `skip` (NULL: none; at[] is 0
 * there). */
Nest nest_over(Lower *lower, const Value *value, const bool *skip, Index *at);
/* Adds loops over just the axes in `only`. */
void nest_reduce(Lower *lower, Nest *nest, const Value *value, const bool *only, Index *at);
Reg *multiply_add(Lower *lower, Reg *acc, Reg *x, Reg *y); /* acc + x*y, in the dtype of acc */

/* Position of row k and column n of weights in panels (matmul.c). */
void panel_position(Lower *lower, int64_t packed, int depth, Index k, Index n, Index *at);

/* Weights without their zeros (sparse.c): the checks of a w with rows and starts, whose lists there are so
 * many of, each over so many channels. */
bool sparse_infer(const Node *node, int64_t packed, int64_t lists, int64_t channels);
typedef struct SparseList {
  Index number;
  Index column; /* of the panel */
} SparseList;
/* The element of x that belongs to a channel. */
typedef Reg *SparseOperand(Lower *lower, const Node *node, Index channel, void *context);
/* sum + the products of one list, for one column. */
Reg *sparse_sum(Lower *lower, const Node *node, const SparseList *list, int64_t channels, SparseOperand *x,
                void *context, Reg *sum);
/* The same of a w of which two of each four are there: column of panel `panel`. */
bool quartets_infer(const Node *node, int64_t packed, int64_t panels, int64_t k);
typedef struct PanelColumn {
  Index panel, column;
  int64_t packed;
} PanelColumn;
Reg *quartets_sum(Lower *lower, const Node *node, const PanelColumn *at, int64_t k, SparseOperand *x,
                  void *context, Reg *sum);
/* Of weights that there are, for a result of so many channels. */
const Dim *sparse_macs(const Node *node, const Dim *channels);

/* ---- 7. Windows (window.c) ------------------------------------------------------------------------------
 */

/* Reads the attributes of a window op for `spatial` axes into `window` and checks them; kernel[] and channels
 * are the caller's. */
bool window_check(const Node *node, int spatial, Window *window);
bool window_check_kernel(const Node *node, const Window *window);
/* For simplify: x is padded with a constant along spatial axes only, and the window pads by so much itself.
 * Gives the node of the pad, or NULL, and the pads of both together. */
Node *window_absorbs_pad(const Node *node, const Window *window, int64_t pads[2 * MAX_WINDOW]);
/* The size of spatial axis s after sliding over `size` elements; ceil: a last window may reach over the end.
 */
bool window_output(const Node *node, const Window *window, int s, const Dim *size, bool ceil,
                   const Dim **result);
/* Positions in a tensor of x's layout from their parts. */
void window_place(const Window *window, Index n, Index c, const Index *spatial, Index *at);
/* Position under window element k at window o along spatial axis s: o*stride + k*dilation - before. */
Index window_position(Lower *lower, const Window *window, int s, Index o, Index k);
/* The other way round: which of `size` windows has its element k at o: (o + before - k*dilation) / stride.
 * Gives the condition that it is whole and inside. */
Reg *window_source(Lower *lower, const Window *window, int s, const Dim *size, Index o, Index k,
                   Index *source);
/* Loops over the elements of the window; k gets the counters. */
void window_nest(Lower *lower, Nest *nest, const Window *window, Index *k);
/* Whether the positions lie inside x's spatial axes; NULL: certainly. */
Reg *window_inside(Lower *lower, const Window *window, const Type *x, const Index *spatial);

/* ---- 8. Winograd's weights (winograd.c) -----------------------------------------------------------------
 */

int64_t winograd_points(int64_t tile); /* (tile+2)^2; 0: there is no such tile */
/* Weight (k, c, m) of the 3x3 kernel whose transformed weights are operand `index`. */
Reg *winograd_weight(Lower *lower, const Node *node, int index, int64_t tile, Index m, Index c,
                     const Index *k);

/* ---- 9. Resampling (resize.c) ---------------------------------------------------------------------------
 */

/* Weights of the four elements around a position that lies `way` in [0, 1) behind the second of them (Keys
 * 1981, with its a). */
void cubic_weights(Lower *lower, Reg *way, double a, Reg *weights[4]);

/* ---- 10. Cells (rnn.c, rnn_inner.c) ---------------------------------------------------------------------
 */

/* Activation number `which` of a cell, an operator of one operand; and its factors, for a node of that. */
const Op *cell_activation(const Node *node, int which);
void cell_give_factors(const Node *node, int which, Node *to);
/* Op.inner and Op.inner_add of all cells. */
bool cell_inner(const Node *node, Builder *builder, InnerProduct *inner);
bool cell_inner_add(const Node *node, Builder *builder, Value *addend, Value **operands);

#endif
