/*
 * einsum.c -- Einstein sums, taken apart into transposes, reshapes, sums and products, so that what is a
 * matrix product becomes one.
 *
 * A term is a value with a label per axis: a letter, or a number for what "..." stands for, counted from the
 * end. In a term each label is made to stand once (the diagonal). Then the first two terms become one, until
 * one is left: labels that nobody else has are summed first; those in both and wanted later are batches,
 * those in both and not wanted are contracted, the others are rows of the one and columns of the other.
 */
#include "frontend/einsum.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { DOTS = 128, LABELS = DOTS + MAX_RANK, MAX_LABELS = 2 * MAX_RANK };

typedef struct Labels {
  int count;
  int of[MAX_LABELS];
} Labels;

typedef struct Term {
  Value *value;
  Labels labels; /* by axis */
} Term;

typedef struct Einsum {
  Builder *builder;
  Module *module;
  const char **problem;
  Term *terms;
  int count;
  int dots; /* axes of the longest "..." */
  Labels output;
} Einsum;

static bool problem(const Einsum *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool problem(const Einsum *e, const char *format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  *e->problem = intern(e->module, text);
  return false;
}

/* ---- nodes; NULL in, NULL out ---- */

static Value *finish(Node *node) {
  return node_finish(node) ? result(node, 0) : NULL;
}

static Value *binary(const Einsum *e, const Op *op, Value *x, Value *y) {
  return x && y ? build_binary(e->builder, op, x, y) : NULL;
}

static Value *reshaped(const Einsum *e, Value *x, int rank, const Dim *const *dims) {
  if (!x) return NULL;
  if (rank > MAX_RANK)
    return problem(e, "a result of %d axes, at most %d are supported", rank, MAX_RANK), NULL;
  return build_reshape(e->builder, x, rank, dims);
}

static Value *summed(const Einsum *e, Value *x, int axis) {
  Node *node = node_new(e->builder, &op_reduce_sum, &x, 1);
  node_set_ints(node, "axes", (int64_t[]){axis}, 1);
  return finish(node);
}

/* ---- labels ---- */

static int label_axis(const Labels *labels, int label) {
  for (int i = 0; i < labels->count; i++)
    if (labels->of[i] == label) return i;
  return -1;
}

static void label_add(Labels *labels, int label) {
  labels->of[labels->count++] = label;
}

static void labels_append(Labels *labels, const Labels *more) {
  for (int i = 0; i < more->count; i++) label_add(labels, more->of[i]);
}

/* Whether a term from number `from` on, or the result, has the label. */
static bool is_wanted(const Einsum *e, int label, int from) {
  for (int i = from; i < e->count; i++)
    if (label_axis(&e->terms[i].labels, label) >= 0) return true;
  return label_axis(&e->output, label) >= 0;
}

/* ---- the equation ---- */

/* Labels up to a comma, an arrow or the end; "..." stands for `dots` axes. *at is moved behind them. */
static bool read_labels(const Einsum *e, const char **at, int dots, Labels *labels) {
  const char *c = *at;
  bool had_dots = false;
  labels->count = 0;
  for (; *c && *c != ',' && *c != '-'; c++) {
    if (*c == ' ') continue;
    bool is_dots = strncmp(c, "...", 3) == 0;
    if ((!is_dots && !isalpha((unsigned char)*c)) || (is_dots && had_dots))
      return problem(e, "'%.20s' in the equation cannot be read", c);
    if (labels->count + (is_dots ? dots : 1) > MAX_RANK)
      return problem(e, "a term of the equation has over %d axes", MAX_RANK);
    for (int i = dots; is_dots && i-- > 0;) label_add(labels, DOTS + i);
    if (!is_dots) label_add(labels, *c);
    if (is_dots) c += 2;
    had_dots |= is_dots;
  }
  *at = c;
  return true;
}

/* A term's letters tell how many axes its "..." has. */
static bool read_term(Einsum *e, const char **at, int index) {
  Term *term = &e->terms[index];
  const char *again = *at;
  TRY(read_labels(e, at, 0, &term->labels));
  int rank = term->value->type->rank, dots = rank - term->labels.count;
  bool has_dots = memchr(again, '.', (size_t)(*at - again)) != NULL;
  if (dots < 0 || (dots > 0 && !has_dots))
    return problem(e, "term %d of the equation has %d letters, the input is %s", index, term->labels.count,
                   type_text(e->module, term->value->type));
  if (dots > e->dots) e->dots = dots;
  return read_labels(e, &again, dots, &term->labels);
}

/* Without an arrow: what "..." stands for, then the letters that stand once, in the order of their codes. */
static void imply_output(Einsum *e) {
  int uses[DOTS] = {0};
  for (int i = e->dots; i-- > 0;) label_add(&e->output, DOTS + i);
  for (int t = 0; t < e->count; t++)
    for (int i = 0; i < e->terms[t].labels.count; i++)
      if (e->terms[t].labels.of[i] < DOTS) uses[e->terms[t].labels.of[i]]++;
  for (int letter = 0; letter < DOTS; letter++)
    if (uses[letter] == 1 && e->output.count < MAX_LABELS) label_add(&e->output, letter);
}

static bool read_output(Einsum *e, const char *at) {
  TRY(read_labels(e, &at, e->dots, &e->output));
  if (*at) return problem(e, "'%.20s' stands behind the equation", at);
  for (int i = 0; i < e->output.count; i++) {
    int label = e->output.of[i];
    bool known = false;
    for (int t = 0; t < e->count; t++) known |= label_axis(&e->terms[t].labels, label) >= 0;
    if (!known || label_axis(&e->output, label) != i)
      return problem(e, "'%c' in the result of the equation %s", label < DOTS ? label : '.',
                     known ? "stands twice" : "is in no term");
  }
  for (int i = 0; i < e->dots; i++)
    if (label_axis(&e->output, DOTS + i) < 0)
      return problem(e, "the result of the equation lacks the '...' of its terms");
  return true;
}

static bool read_equation(Einsum *e, const char *at) {
  for (int i = 0; i < e->count; i++) {
    TRY(read_term(e, &at, i));
    at += strspn(at, " ");
    if (i + 1 < e->count && *at++ != ',')
      return problem(e, "the equation has %d terms for %d inputs", i + 1, e->count);
  }
  if (!*at) {
    imply_output(e);
    return e->output.count <= MAX_RANK ||
           problem(e, "the result has %d axes, over %d", e->output.count, MAX_RANK);
  }
  if (strncmp(at, "->", 2) != 0) return problem(e, "the equation has more terms than inputs");
  return read_output(e, at + 2);
}

/* ---- one term ---- */

static const Dim *label_dim(const Term *term, int label) {
  return term->value->type->dims[label_axis(&term->labels, label)];
}

/* Sums an axis away. */
static bool sum_axis(const Einsum *e, Term *term, int axis) {
  const Dim *dims[MAX_RANK];
  int rank = term->value->type->rank, kept = 0;
  Value *sum = summed(e, term->value, axis);
  if (!sum) return false;
  for (int i = 0; i < rank; i++) {
    if (i == axis) continue;
    dims[kept] = sum->type->dims[i];
    term->labels.of[kept++] = term->labels.of[i];
  }
  term->labels.count = kept;
  term->value = reshaped(e, sum, kept, dims);
  return term->value != NULL;
}

/* Positions along `axis`, for all of the two axes. */
static Value *positions(const Einsum *e, const Term *term, int axis, int other) {
  const Type *type = term->value->type;
  const Dim *dims[MAX_RANK];
  for (int i = 0; i < type->rank; i++)
    dims[i] = i == axis || i == other ? type->dims[i] : dim_const(e->module, 1);
  Node *iota = node_new(e->builder, &op_iota, NULL, 0);
  node_set_dims(iota, "shape", dims, type->rank);
  node_set_int(iota, "axis", axis);
  return finish(iota);
}

/* Of two axes with one label: only elements of equal positions stay. */
static bool take_diagonal(const Einsum *e, Term *term, int axis, int other) {
  const Dim *size = term->value->type->dims[axis], *second = term->value->type->dims[other];
  if (dim_is_const(size) && dim_is_const(second) && size != second)
    return problem(e, "a label of the equation stands for %lld and %lld elements of %s",
                   (long long)size->value, (long long)second->value, type_text(e->module, term->value->type));
  Value *equal = binary(e, &op_equal, positions(e, term, axis, other), positions(e, term, other, axis));
  Value *zero = build_scalar(e->builder, term->value->type->dtype, 0);
  if (!equal || !zero) return false;
  term->value = build_op(e->builder, &op_where, (Value *[]){equal, term->value, zero}, 3);
  return term->value && sum_axis(e, term, other);
}

static bool take_diagonals(const Einsum *e, Term *term) {
  for (int i = 0; i < term->labels.count; i++)
    for (int k = term->labels.count - 1; k > i; k--)
      if (term->labels.of[k] == term->labels.of[i]) TRY(take_diagonal(e, term, i, k));
  return true;
}

/* An axis of size 1 repeats along the axis of another term with its label. */
static bool drop_repeated(const Einsum *e, int index) {
  Term *term = &e->terms[index];
  for (int i = term->labels.count - 1; i >= 0; i--) {
    bool elsewhere = false;
    for (int t = 0; t < e->count; t++)
      elsewhere |= t != index && label_axis(&e->terms[t].labels, term->labels.of[i]) >= 0;
    if (elsewhere && dim_is(term->value->type->dims[i], 1)) TRY(sum_axis(e, term, i));
  }
  return true;
}

/* The value with its axes in the order of the labels, those it lacks of size 1. */
static Value *arranged(const Einsum *e, const Term *term, const Labels *labels) {
  int64_t perm[MAX_RANK];
  const Dim *dims[MAX_LABELS];
  int rank = 0;
  for (int i = 0; i < labels->count; i++) {
    int axis = label_axis(&term->labels, labels->of[i]);
    dims[i] = axis < 0 ? dim_const(e->module, 1) : term->value->type->dims[axis];
    if (axis >= 0) perm[rank++] = axis;
  }
  return reshaped(e, build_transpose(e->builder, term->value, perm), labels->count, dims);
}

/* ---- two terms ---- */

typedef struct Pair {
  const Term *a, *b;
  Labels batch, rows, columns, summed;
} Pair;

static Pair classify(const Einsum *e, const Term *a, const Term *b, int from) {
  Pair pair = {.a = a, .b = b};
  for (int i = 0; i < a->labels.count; i++) {
    int label = a->labels.of[i];
    bool both = label_axis(&b->labels, label) >= 0;
    label_add(!both ? &pair.rows : is_wanted(e, label, from) ? &pair.batch : &pair.summed, label);
  }
  for (int i = 0; i < b->labels.count; i++)
    if (label_axis(&a->labels, b->labels.of[i]) < 0) label_add(&pair.columns, b->labels.of[i]);
  return pair;
}

static const Dim *dim_of_all(const Einsum *e, const Term *term, const Labels *labels) {
  const Dim *product = dim_const(e->module, 1);
  for (int i = 0; i < labels->count; i++)
    product = dim_mul(e->module, product, label_dim(term, labels->of[i]));
  return product;
}

/* [batch.., first, second]: the labels of each together in one axis. */
static Value *as_matrices(const Einsum *e, const Pair *pair, const Term *term, const Labels *first,
                          const Labels *second) {
  const Dim *dims[MAX_LABELS];
  Labels order = pair->batch;
  for (int i = 0; i < order.count; i++) dims[i] = label_dim(term, order.of[i]);
  dims[order.count] = dim_of_all(e, term, first);
  dims[order.count + 1] = dim_of_all(e, term, second);
  int rank = order.count + 2;
  labels_append(&order, first);
  labels_append(&order, second);
  return reshaped(e, arranged(e, term, &order), rank, dims);
}

static bool multiply_matrices(const Einsum *e, const Pair *pair, Term *result) {
  const Dim *dims[2 * MAX_LABELS];
  Value *y = binary(e, &op_matmul, as_matrices(e, pair, pair->a, &pair->rows, &pair->summed),
                    as_matrices(e, pair, pair->b, &pair->summed, &pair->columns));
  if (!y) return false;
  int rank = 0;
  for (; rank < pair->batch.count; rank++) dims[rank] = y->type->dims[rank];
  for (int i = 0; i < pair->rows.count; i++) dims[rank++] = label_dim(pair->a, pair->rows.of[i]);
  for (int i = 0; i < pair->columns.count; i++) dims[rank++] = label_dim(pair->b, pair->columns.of[i]);
  result->labels = pair->batch;
  labels_append(&result->labels, &pair->rows);
  labels_append(&result->labels, &pair->columns);
  result->value = reshaped(e, y, rank, dims);
  return result->value != NULL;
}

/* Element by element; what is to be summed is, later. */
static bool multiply_elements(const Einsum *e, const Pair *pair, Term *result) {
  Labels order = pair->batch;
  labels_append(&order, &pair->rows);
  labels_append(&order, &pair->columns);
  labels_append(&order, &pair->summed);
  result->labels = order;
  result->value = binary(e, &op_mul, arranged(e, pair->a, &order), arranged(e, pair->b, &order));
  return result->value != NULL;
}

static bool sum_unwanted(const Einsum *e, Term *term, const Term *partner, int from) {
  for (int i = term->labels.count - 1; i >= 0; i--) {
    int label = term->labels.of[i];
    if (is_wanted(e, label, from) || (partner && label_axis(&partner->labels, label) >= 0)) continue;
    TRY(sum_axis(e, term, i));
  }
  return true;
}

/* Term `from` - 1 takes in the term before it. The rows are of the one that the result's last label is not
 * in. */
static bool join_terms(const Einsum *e, int from) {
  Term *a = &e->terms[from - 2], *b = &e->terms[from - 1], joined;
  TRY(sum_unwanted(e, a, b, from) && sum_unwanted(e, b, a, from));
  int last = e->output.count > 0 ? e->output.of[e->output.count - 1] : -1;
  bool swap = label_axis(&a->labels, last) >= 0 && label_axis(&b->labels, last) < 0;
  Pair pair = swap ? classify(e, b, a, from) : classify(e, a, b, from);
  bool is_product = pair.summed.count > 0 && pair.rows.count + pair.columns.count > 0;
  TRY((is_product ? multiply_matrices : multiply_elements)(e, &pair, &joined));
  *b = joined;
  return sum_unwanted(e, b, NULL, from);
}

static Value *sum_of_products(Einsum *e, const char *equation) {
  if (!read_equation(e, equation)) return NULL;
  for (int i = 0; i < e->count; i++)
    if (!take_diagonals(e, &e->terms[i])) return NULL;
  for (int i = 0; i < e->count; i++)
    if (!drop_repeated(e, i)) return NULL;
  if (!sum_unwanted(e, &e->terms[0], NULL, 1)) return NULL;
  for (int i = 2; i <= e->count; i++)
    if (!join_terms(e, i)) return NULL;
  return arranged(e, &e->terms[e->count - 1], &e->output);
}

Value *build_einsum(Builder *builder, const char *equation, Value *const *values, int count,
                    const char **problem) {
  Module *module = builder->graph->module;
  Einsum e = {.builder = builder, .module = module, .problem = problem, .count = count};
  e.terms = NEW_ARRAY(module->arena, Term, count);
  for (int i = 0; i < count; i++) e.terms[i].value = values[i];
  *problem = NULL;
  return sum_of_products(&e, equation);
}
