/*
 * linear.c -- determinants and inverses of the matrices in the last two axes, by elimination with partial
 * pivoting in a local buffer of f64.
 */
#include "ir/ops/ops.h"

#include <string.h>

static const OperandSpec operands_x[] = {{"x", false, "[.., n, n] of constant n; floats"}};
static const char *const results_y[] = {"y"};

enum { MAX_SIZE = 1024 };

static bool check_square(Node *node) {
  const Type *x = operand(node, 0)->type;
  TRY(check_kind(node, 0, KIND_FLOAT));
  const Dim *rows = x->rank >= 2 ? x->dims[x->rank - 2] : NULL,
            *columns = x->rank >= 2 ? x->dims[x->rank - 1] : NULL;
  if (rows && rows == columns && dim_is_const(rows) && rows->value <= MAX_SIZE) return true;
  return node_fail(node, "x is %s; its last two axes must be one constant size up to %d",
                   operand_text(node, 0), MAX_SIZE);
}

static int64_t matrix_size(const Node *node) {
  const Type *x = operand(node, 0)->type;
  return x->dims[x->rank - 1]->value;
}

/* ---- matrices in local buffers ---- */

typedef struct Matrix {
  Lower *lower;
  Buffer *buffer;
  int64_t rows, columns;
} Matrix;

static Matrix matrix_new(Lower *lower, const char *name, int64_t rows, int64_t columns) {
  int64_t dims[] = {rows ? rows : 1, columns ? columns : 1};
  return (Matrix){lower, kernel_add_local(lower->loops.kernel, name, DTYPE_F64, 2, dims), rows, columns};
}

static Reg *get(const Matrix *m, Reg *row, Reg *column) {
  return loop_load(&m->lower->loops, m->buffer, (Reg *[]){row, column}, 1, NULL);
}

static void set(const Matrix *m, Reg *row, Reg *column, Reg *value) {
  loop_store(&m->lower->loops, value, m->buffer, (Reg *[]){row, column}, NULL);
}

static For loop_over(Lower *lower, Reg *begin, int64_t end, int carried, Reg *const *initial) {
  return loop_for(&lower->loops, begin, loop_int(&lower->loops, end), 1, carried, initial);
}

/* The row from k on with the largest |element| in column k. */
static Reg *find_pivot(const Matrix *m, Reg *k) {
  Loops *loops = &m->lower->loops;
  Reg *start[] = {loop_unary(loops, LOOP_ABS, get(m, k, k)), k};
  For rows = loop_over(m->lower, loop_binary(loops, LOOP_ADD, k, loop_int(loops, 1)), m->rows, 2, start);
  Reg *size = loop_unary(loops, LOOP_ABS, get(m, rows.counter, k));
  Reg *larger = loop_binary(loops, LOOP_GT, size, rows.carried[0]);
  Reg *next[] = {loop_select(loops, larger, size, rows.carried[0]),
                 loop_select(loops, larger, rows.counter, rows.carried[1])};
  loop_end(loops, &rows, next);
  return rows.results[1];
}

static void swap_rows(const Matrix *m, Reg *a, Reg *b) {
  Loops *loops = &m->lower->loops;
  For columns = loop_over(m->lower, loop_int(loops, 0), m->columns, 0, NULL);
  Reg *x = get(m, a, columns.counter), *y = get(m, b, columns.counter);
  set(m, a, columns.counter, y);
  set(m, b, columns.counter, x);
  loop_end(loops, &columns, NULL);
}

/* row -= factor * other, from column `first` on. */
static void subtract_row(const Matrix *m, Reg *row, Reg *other, Reg *factor, Reg *first) {
  Loops *loops = &m->lower->loops;
  For columns = loop_over(m->lower, first, m->columns, 0, NULL);
  Reg *product = loop_binary(loops, LOOP_MUL, factor, get(m, other, columns.counter));
  set(m, row, columns.counter, loop_binary(loops, LOOP_SUB, get(m, row, columns.counter), product));
  loop_end(loops, &columns, NULL);
}

/* Loops over the matrices of x; at[] gets their positions. */
static Nest over_matrices(Lower *lower, const Node *node, Index *at) {
  Nest nest = nest_begin(0, NULL);
  for (int i = 0; i < operand(node, 0)->type->rank - 2; i++)
    at[i] = index_of(nest_parallel(lower, &nest, lower_dim(lower, operand(node, 0), i)));
  return nest;
}

/* x at at[], with the identity matrix behind it if there is room. */
static void load_matrix(const Matrix *m, const Node *node, Index *at) {
  Loops *loops = &m->lower->loops;
  int rank = operand(node, 0)->type->rank;
  Nest nest = nest_begin(0, NULL);
  Reg *row = nest_for(m->lower, &nest, loop_int(loops, m->rows));
  Reg *column = nest_for(m->lower, &nest, loop_int(loops, m->rows));
  at[rank - 2] = index_of(row);
  at[rank - 1] = index_of(column);
  set(m, row, column, loop_cast(loops, lower_operand(m->lower, node, 0, at), DTYPE_F64));
  if (m->columns > m->rows) {
    Reg *one = loop_cast(loops, loop_binary(loops, LOOP_EQ, row, column), DTYPE_F64);
    set(m, row, loop_binary(loops, LOOP_ADD, column, loop_int(loops, m->rows)), one);
  }
  nest_end(m->lower, &nest);
}

/* ---- det ---- */

static bool det_infer(Node *node) {
  const Type *x = operand(node, 0)->type;
  TRY(check_square(node));
  result_set(node, 0, type_make(node_module(node), x->dtype, x->rank - 2, x->dims));
  return true;
}

static void det_axes(const Node *node, int index, AxisLink *links) {
  axes_same(node, index, links);
  int rank = operand(node, 0)->type->rank;
  links[rank - 2] = links[rank - 1] = axis_link(AXIS_OPAQUE, -1);
}

/* Zeros under the diagonal; the product along it, with a sign for every swap. */
static Reg *eliminate(const Matrix *m) {
  Lower *lower = m->lower;
  Loops *loops = &lower->loops;
  Reg *one = loop_const(loops, (LoopType){DTYPE_F64, 1}, 1), *minus = loop_unary(loops, LOOP_NEG, one);
  For steps = loop_over(lower, loop_int(loops, 0), m->rows, 1, &one);
  Reg *k = steps.counter, *pivot = find_pivot(m, k);
  swap_rows(m, k, pivot);
  Reg *first = get(m, k, k), *sign = loop_select(loops, loop_binary(loops, LOOP_EQ, k, pivot), one, minus);
  Reg *det = loop_binary(loops, LOOP_MUL, steps.carried[0], loop_binary(loops, LOOP_MUL, first, sign));
  Reg *is_zero = loop_binary(loops, LOOP_EQ, first, constant_like(lower, first, 0));
  Reg *divisor = loop_select(loops, is_zero, one, first); /* then all below are 0, too */
  For rows = loop_over(lower, loop_binary(loops, LOOP_ADD, k, loop_int(loops, 1)), m->rows, 0, NULL);
  Reg *factor = loop_binary(loops, LOOP_DIV, get(m, rows.counter, k), divisor);
  subtract_row(m, rows.counter, k, factor, k);
  loop_end(loops, &rows, NULL);
  loop_end(loops, &steps, &det);
  return steps.results[0];
}

static void det_nest(Lower *lower, const Node *node) {
  Index at[MAX_RANK];
  Matrix m = matrix_new(lower, "lu", matrix_size(node), matrix_size(node));
  Nest nest = over_matrices(lower, node, at);
  load_matrix(&m, node, at);
  Reg *det = eliminate(&m);
  lower_result(lower, 0, at, loop_cast(&lower->loops, det, result(node, 0)->type->dtype));
  nest_end(lower, &nest);
}

const Op op_det = {
    .name = "det",
    .family = "linear",
    .doc = "The determinant of every matrix in the last two axes.",
    .operands = operands_x,
    .operand_count = 1,
    .results = results_y,
    .result_count = 1,
    .infer = det_infer,
    .axes = det_axes,
    .nest = det_nest,
};

/* ---- inverse ---- */

static bool inverse_infer(Node *node) {
  TRY(check_square(node));
  result_set(node, 0, operand(node, 0)->type);
  return true;
}

static void inverse_axes(const Node *node, int index, AxisLink *links) {
  det_axes(node, index, links);
}

/* [x | 1] to [1 | inverse] (Gauss and Jordan). A singular x divides by 0. */
static void invert(const Matrix *m) {
  Lower *lower = m->lower;
  Loops *loops = &lower->loops;
  For steps = loop_over(lower, loop_int(loops, 0), m->rows, 0, NULL);
  Reg *k = steps.counter;
  swap_rows(m, k, find_pivot(m, k));
  Reg *first = get(m, k, k);
  For columns = loop_over(lower, loop_int(loops, 0), m->columns, 0, NULL);
  set(m, k, columns.counter, loop_binary(loops, LOOP_DIV, get(m, k, columns.counter), first));
  loop_end(loops, &columns, NULL);
  For rows = loop_over(lower, loop_int(loops, 0), m->rows, 0, NULL);
  Reg *other = loop_binary(loops, LOOP_NE, rows.counter, k), *factor = get(m, rows.counter, k);
  factor = loop_select(loops, other, factor, constant_like(lower, factor, 0));
  subtract_row(m, rows.counter, k, factor, loop_int(loops, 0));
  loop_end(loops, &rows, NULL);
  loop_end(loops, &steps, NULL);
}

static void inverse_nest(Lower *lower, const Node *node) {
  Loops *loops = &lower->loops;
  Index at[MAX_RANK];
  int64_t n = matrix_size(node);
  int rank = operand(node, 0)->type->rank;
  Matrix m = matrix_new(lower, "augmented", n, 2 * n);
  Nest matrices = over_matrices(lower, node, at);
  load_matrix(&m, node, at);
  invert(&m);
  Nest nest = nest_begin(0, NULL);
  Reg *row = nest_for(lower, &nest, loop_int(loops, n)), *column = nest_for(lower, &nest, loop_int(loops, n));
  at[rank - 2] = index_of(row);
  at[rank - 1] = index_of(column);
  Reg *value = get(&m, row, loop_binary(loops, LOOP_ADD, column, loop_int(loops, n)));
  lower_result(lower, 0, at, loop_cast(loops, value, result(node, 0)->type->dtype));
  nest_end(lower, &nest);
  nest_end(lower, &matrices);
}

const Op op_inverse = {
    .name = "inverse",
    .family = "linear",
    .doc = "The inverse of every matrix in the last two axes. A singular one gives infinities and NaN.",
    .operands = operands_x,
    .operand_count = 1,
    .results = results_y,
    .result_count = 1,
    .infer = inverse_infer,
    .axes = inverse_axes,
    .nest = inverse_nest,
};
