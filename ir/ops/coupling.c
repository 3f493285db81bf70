/*
 * coupling.c -- pairwise_coupling: probabilities of classes from those of every pair of them.
 *
 * Of r_ij, the probability of i among {i, j}, find p with sum 1 so that r_ji p_i = r_ij p_j as nearly as can
 * be: minimise p'Qp, Q_tt = sum_j r_jt^2, Q_tj = -r_jt r_tj. The iteration and its end are those of libsvm
 * (Wu, Lin, Weng, "Probability Estimates for Multi-class Classification by Pairwise Coupling", 2004,
 * algorithm 2), whose results are not the minimum itself: it stops when no condition is missed by
 * 0.005/classes.
 */
#include "ir/ops/ops.h"

enum { MAX_CLASSES = 512, MAX_ITERATIONS = 100 };

static int64_t classes_of(int64_t pairs) {
  int64_t classes = 1;
  while (classes * (classes - 1) / 2 < pairs) classes++;
  return classes;
}

static bool coupling_infer(Node *node) {
  TRY(check_kind(node, 0, KIND_FLOAT) && check_rank(node, 0, 2));
  const Type *x = operand(node, 0)->type;
  int64_t pairs = dim_is_const(x->dims[1]) ? x->dims[1]->value : 0;
  if (pairs < 1 || pairs > MAX_CLASSES * (MAX_CLASSES - 1) / 2)
    return node_fail(node, "x is %s; the pairs must be of 2 to %d classes", operand_text(node, 0),
                     MAX_CLASSES);
  int64_t classes = classes_of(pairs);
  if (classes * (classes - 1) / 2 != pairs)
    return node_fail(node, "x is %s; no number of classes has %lld pairs", operand_text(node, 0),
                     (long long)pairs);
  const Dim *dims[] = {x->dims[0], dim_const(node_module(node), classes)};
  result_set(node, 0, type_make(node_module(node), x->dtype, 2, dims));
  return true;
}

/* ---- the nest ---- */

typedef struct Coupling {
  Lower *lower;
  Loops *loops;
  LoopType type;
  Reg *classes;
  Buffer *r, *q;  /* [classes][classes], 0 on the diagonal of r */
  Buffer *p, *qp; /* [classes]; qp = Q p */
} Coupling;

static For each_class(Coupling *c, Reg *from, int carried, Reg *const *initial) {
  return loop_for(c->loops, from ? from : loop_int(c->loops, 0), c->classes, 1, carried, initial);
}

static Reg *at1(Coupling *c, Buffer *buffer, Reg *i) {
  return loop_load(c->loops, buffer, &i, 1, NULL);
}

static Reg *at2(Coupling *c, Buffer *buffer, Reg *i, Reg *j) {
  return loop_load(c->loops, buffer, (Reg *[]){i, j}, 1, NULL);
}

static void set2(Coupling *c, Buffer *buffer, Reg *i, Reg *j, Reg *value) {
  loop_store(c->loops, value, buffer, (Reg *[]){i, j}, NULL);
}

static Reg *op2(Coupling *c, Opcode op, Reg *x, Reg *y) {
  return loop_binary(c->loops, op, x, y);
}

static Reg *number(Coupling *c, double value) {
  return loop_const(c->loops, c->type, value);
}

/* The pairs in order: (0,1), (0,2), .., (1,2), .. */
static void spread_pairs(Coupling *c, const Node *node, Index row) {
  Reg *pair = loop_int(c->loops, 0);
  For i = each_class(c, NULL, 1, &pair);
  set2(c, c->r, i.counter, i.counter, number(c, 0));
  For j = each_class(c, op2(c, LOOP_ADD, i.counter, loop_int(c->loops, 1)), 1, i.carried);
  Index at[] = {row, index_of(j.carried[0])};
  Reg *r = compute(c->lower, lower_operand(c->lower, node, 0, at));
  set2(c, c->r, i.counter, j.counter, r);
  set2(c, c->r, j.counter, i.counter, op2(c, LOOP_SUB, number(c, 1), r));
  Reg *next = op2(c, LOOP_ADD, j.carried[0], loop_int(c->loops, 1));
  loop_end(c->loops, &j, &next);
  loop_end(c->loops, &i, j.results);
}

static void start(Coupling *c, int64_t classes) {
  For t = each_class(c, NULL, 0, NULL);
  Reg *zero = number(c, 0);
  For j = each_class(c, NULL, 1, &zero);
  Reg *to = at2(c, c->r, j.counter, t.counter), *from = at2(c, c->r, t.counter, j.counter);
  set2(c, c->q, t.counter, j.counter, loop_unary(c->loops, LOOP_NEG, op2(c, LOOP_MUL, to, from)));
  Reg *sum = op2(c, LOOP_ADD, j.carried[0], op2(c, LOOP_MUL, to, to));
  loop_end(c->loops, &j, &sum);
  set2(c, c->q, t.counter, t.counter, j.results[0]);
  loop_store(c->loops, number(c, 1.0 / (double)classes), c->p, &t.counter, NULL);
  loop_end(c->loops, &t, NULL);
}

/* Fills qp; returns p'Qp. */
static Reg *quadratic_form(Coupling *c) {
  Reg *zero = number(c, 0);
  For t = each_class(c, NULL, 1, &zero);
  For j = each_class(c, NULL, 1, &zero);
  Reg *term = op2(c, LOOP_MUL, at2(c, c->q, t.counter, j.counter), at1(c, c->p, j.counter));
  Reg *sum = op2(c, LOOP_ADD, j.carried[0], term);
  loop_end(c->loops, &j, &sum);
  loop_store(c->loops, j.results[0], c->qp, &t.counter, NULL);
  Reg *all = op2(c, LOOP_ADD, t.carried[0], op2(c, LOOP_MUL, at1(c, c->p, t.counter), j.results[0]));
  loop_end(c->loops, &t, &all);
  return t.results[0];
}

static Reg *largest_error(Coupling *c, Reg *form) {
  Reg *zero = number(c, 0);
  For t = each_class(c, NULL, 1, &zero);
  Reg *error = loop_unary(c->loops, LOOP_ABS, op2(c, LOOP_SUB, at1(c, c->qp, t.counter), form));
  error = op2(c, LOOP_MAX, error, t.carried[0]);
  loop_end(c->loops, &t, &error);
  return t.results[0];
}

/* One round: each p_t to its best value for the others, then all scaled to the sum 1. */
static void improve(Coupling *c, Reg *form) {
  For t = each_class(c, NULL, 1, &form);
  Reg *q = at2(c, c->q, t.counter, t.counter), *qp = at1(c, c->qp, t.counter);
  Reg *diff = op2(c, LOOP_DIV, op2(c, LOOP_SUB, t.carried[0], qp), q),
      *scale = op2(c, LOOP_ADD, diff, number(c, 1));
  loop_store(c->loops, op2(c, LOOP_ADD, at1(c, c->p, t.counter), diff), c->p, &t.counter, NULL);
  Reg *change = op2(c, LOOP_ADD, op2(c, LOOP_MUL, diff, q), op2(c, LOOP_MUL, qp, number(c, 2)));
  Reg *next = op2(c, LOOP_ADD, t.carried[0], op2(c, LOOP_MUL, diff, change));
  next = op2(c, LOOP_DIV, op2(c, LOOP_DIV, next, scale), scale);
  For j = each_class(c, NULL, 0, NULL);
  Reg *moved = op2(c, LOOP_MUL, diff, at2(c, c->q, t.counter, j.counter));
  moved = op2(c, LOOP_DIV, op2(c, LOOP_ADD, at1(c, c->qp, j.counter), moved), scale);
  loop_store(c->loops, moved, c->qp, &j.counter, NULL);
  loop_store(c->loops, op2(c, LOOP_DIV, at1(c, c->p, j.counter), scale), c->p, &j.counter, NULL);
  loop_end(c->loops, &j, NULL);
  loop_end(c->loops, &t, &next);
}

static void iterate(Coupling *c, int64_t classes) {
  LoopType flag = {DTYPE_BOOL, 1};
  Reg *done = loop_const_int(c->loops, flag, 0);
  For rounds = loop_for(c->loops, loop_int(c->loops, 0), loop_int(c->loops, MAX_ITERATIONS), 1, 1, &done);
  If open = loop_if(c->loops, loop_unary(c->loops, LOOP_NOT, rounds.carried[0]), 1, &flag);
  Reg *form = quadratic_form(c);
  Reg *fits = op2(c, LOOP_LT, largest_error(c, form), number(c, 0.005 / (double)classes));
  If badly = loop_if(c->loops, loop_unary(c->loops, LOOP_NOT, fits), 0, NULL);
  improve(c, form);
  loop_end_if(c->loops, &badly, NULL);
  loop_else(c->loops, &open, &fits);
  loop_end_if(c->loops, &open, &rounds.carried[0]);
  loop_end(c->loops, &rounds, open.results);
}

static Buffer *table(Coupling *c, const char *name, int rank, int64_t classes) {
  return kernel_add_local(c->loops->kernel, name, c->type.dtype, rank, (int64_t[]){classes, classes});
}

static void coupling_nest(Lower *lower, const Node *node) {
  Dtype dtype = result(node, 0)->type->dtype;
  int64_t classes = result(node, 0)->type->dims[1]->value;
  Coupling c = {.lower = lower, .loops = &lower->loops, .type = {compute_dtype(dtype), 1}};
  c.r = table(&c, "r", 2, classes);
  c.q = table(&c, "q", 2, classes);
  c.p = table(&c, "p", 1, classes);
  c.qp = table(&c, "qp", 1, classes);
  For rows = loop_parallel(c.loops, loop_int(c.loops, 0), lower_dim(lower, operand(node, 0), 0), 1);
  c.classes = loop_int(c.loops, classes);
  spread_pairs(&c, node, index_of(rows.counter));
  start(&c, classes);
  iterate(&c, classes);
  For give = each_class(&c, NULL, 0, NULL);
  Index at[] = {index_of(rows.counter), index_of(give.counter)};
  lower_result(lower, 0, at, loop_cast(c.loops, at1(&c, c.p, give.counter), dtype));
  loop_end(c.loops, &give, NULL);
  loop_end(c.loops, &rows, NULL);
}

static const OperandSpec coupling_operands[] = {
    {"x", false,
     "float [rows, pairs], in (0, 1): of the pairs (0,1), (0,2), .., (1,2), .. how probable the first is"}};
static const char *const coupling_results[] = {"p"};

const Op op_pairwise_coupling = {
    .name = "pairwise_coupling",
    .family = "coupling",
    .doc = "Probabilities of classes from those of each two of them, by libsvm's iteration: at most 100 "
           "rounds, until "
           "every condition of the minimum holds within 0.005/classes.",
    .operands = coupling_operands,
    .operand_count = COUNT_OF(coupling_operands),
    .results = coupling_results,
    .result_count = 1,
    .infer = coupling_infer,
    .axes = axes_opaque,
    .nest = coupling_nest,
};
