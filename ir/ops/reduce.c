/*
 * reduce.c -- reductions over axes, which stay with size 1 in the result. One row per operator says where an
 * accumulation starts and how an element joins it.
 */
#include "ir/ops/ops.h"

#include <string.h>

static const OperandSpec operands_x[] = {{"x", false, "any shape"}};
static const char *const results_y[] = {"y"};

static const AttrSpec reduce_attrs[] = {
    {"axes", ATTR_INTS, ROLE_AXES, NULL, "which are reduced; negative ones count from the end", NULL}};

/* ---- the rows ---- */

static Reg *zero(Lower *lower, Dtype dtype) {
  return loop_const(&lower->loops, (LoopType){dtype, 1}, 0);
}

static Reg *one(Lower *lower, Dtype dtype) {
  return loop_const(&lower->loops, (LoopType){dtype, 1}, 1);
}

static Reg *sum(Lower *lower, Reg *acc, Reg *x) {
  return loop_binary(&lower->loops, LOOP_ADD, acc, x);
}

static Reg *product(Lower *lower, Reg *acc, Reg *x) {
  return loop_binary(&lower->loops, LOOP_MUL, acc, x);
}

static const Dim *sum_dims(Module *module, const Dim *const *x) {
  return dim_add(module, x[0], x[1]);
}

static const Dim *product_dims(Module *module, const Dim *const *x) {
  return dim_mul(module, x[0], x[1]);
}

static const Dim *max_dims(Module *module, const Dim *const *x) {
  return dim_make(module, DIM_MAX, x[0], x[1]);
}

static const Dim *min_dims(Module *module, const Dim *const *x) {
  return dim_make(module, DIM_MIN, x[0], x[1]);
}

typedef struct Reduction {
  const Op *op;
  Reg *(*start)(Lower *lower, Dtype dtype);
  Reg *(*join)(Lower *lower, Reg *acc, Reg *x);
  KnownRule known; /* of two elements; NULL: not carried through */
} Reduction;

static const Reduction *reduction_of(const Node *node) {
  static const Reduction rows[] = {
      {&op_reduce_max, lowest, max_nan, max_dims},  {&op_reduce_mean, zero, sum, NULL},
      {&op_reduce_min, highest, min_nan, min_dims}, {&op_reduce_prod, one, product, product_dims},
      {&op_reduce_sum, zero, sum, sum_dims},
  };
  const Reduction *row = rows;
  while (row->op != node->op) row++;
  return row;
}

/* ---- infer, simplify, axes ---- */

/* All known elements in one. */
static void reduce_known(Node *node) {
  KnownRule rule = reduction_of(node)->known;
  int count;
  const Dim *const *known = value_known(operand(node, 0), &count);
  if (!rule || !known || count == 0 || type_static_count(result(node, 0)->type) != 1) return;
  const Dim *all = known[0];
  for (int i = 1; i < count; i++) all = rule(node_module(node), (const Dim *[]){all, known[i]});
  known_set(node, &all);
}

static bool infer_kept(Node *node, const bool *axes, Dtype dtype) {
  const Type *x = operand(node, 0)->type;
  const Dim *dims[MAX_RANK];
  for (int i = 0; i < x->rank; i++) dims[i] = axes[i] ? dim_const(node_module(node), 1) : x->dims[i];
  result_set(node, 0, type_make(node_module(node), dtype, x->rank, dims));
  return true;
}

static bool infer_kinds(Node *node, unsigned kinds) {
  bool axes[MAX_RANK];
  TRY(check_kind(node, 0, kinds) && check_axes(node, "axes", operand(node, 0)->type->rank, axes));
  TRY(infer_kept(node, axes, operand(node, 0)->type->dtype));
  reduce_known(node);
  return true;
}

static bool infer_number(Node *node) {
  return infer_kinds(node, KIND_NUMBER);
}

static bool infer_any(Node *node) {
  return infer_kinds(node, KIND_NUMBER | KIND_BOOL);
}

/* Reduced axes of a node that passed infer. */
static void reduced_axes(const Node *node, bool axes[MAX_RANK]) {
  int count, rank = operand(node, 0)->type->rank;
  const int64_t *values = node_ints(node, "axes", &count);
  memset(axes, 0, sizeof(bool) * MAX_RANK);
  for (int i = 0; i < count; i++) axes[values[i] < 0 ? values[i] + rank : values[i]] = true;
}

/* Nothing to reduce; or a reduction of the same kind, which then reduces these axes, too. */
static Value *reduce_simplify(Node *node) {
  Value *x = operand(node, 0);
  if (x->type == result(node, 0)->type) return x;
  Node *inner = operand_def(node, 0, node->op);
  if (!inner || !dtype_is_float(x->type->dtype)) return NULL;
  bool axes[MAX_RANK], more[MAX_RANK];
  int64_t all[MAX_RANK];
  int count = 0;
  reduced_axes(node, axes);
  reduced_axes(inner, more);
  for (int i = 0; i < x->type->rank; i++)
    if (axes[i] || more[i]) all[count++] = i;
  Builder builder = builder_before(node);
  Node *both = node_new(&builder, node->op, (Value *[]){operand(inner, 0)}, 1);
  node_set_ints(both, "axes", all, count);
  return node_finish(both) ? value_if_typed(node, result(both, 0)) : NULL;
}

static void contract(const Node *node, int index, const bool *axes, AxisLink *links) {
  axes_same(node, index, links);
  for (int i = 0; i < operand(node, 0)->type->rank; i++)
    if (axes[i])
      links[i] = (AxisLink){.role = AXIS_CONTRACT, .axis = i, .whole = !node_is(node, &op_reduce_sum)};
}

static void reduce_axes(const Node *node, int index, AxisLink *links) {
  bool axes[MAX_RANK];
  reduced_axes(node, axes);
  contract(node, index, axes, links);
}

/* ---- meaning ---- */

/* The mean of an integer truncates; of no elements it is 0 for integers, NaN for floats. */
static Reg *divide_by_count(Lower *lower, const Node *node, const bool *axes, Reg *total) {
  Loops *loops = &lower->loops;
  const Type *x = operand(node, 0)->type;
  const Dim *count = dim_const(lower->module, 1);
  for (int i = 0; i < x->rank; i++)
    if (axes[i]) count = dim_mul(lower->module, count, x->dims[i]);
  Reg *divisor = loop_dim(loops, count);
  if (!dtype_is_float(total->type.dtype)) {
    Reg *wide = loop_cast(loops, total, DTYPE_I64);
    return loop_binary(loops, LOOP_DIV, wide, loop_binary(loops, LOOP_MAX, divisor, loop_int(loops, 1)));
  }
  return loop_binary(loops, LOOP_DIV, total, loop_cast(loops, divisor, total->type.dtype));
}

static void reduce_nest(Lower *lower, const Node *node) {
  const Reduction *row = reduction_of(node);
  bool axes[MAX_RANK], mean = node_is(node, &op_reduce_mean);
  Index at[MAX_RANK], from[MAX_RANK];
  Value *x = operand(node, 0);
  Dtype dtype = compute_dtype(x->type->dtype);
  reduced_axes(node, axes);
  Nest outer = nest_over(lower, x, axes, at);
  memcpy(from, at, sizeof from);
  Reg *start = row->start(lower, mean && !dtype_is_float(dtype) ? DTYPE_I64 : dtype);
  Nest inner = nest_begin(1, &start);
  nest_reduce(lower, &inner, x, axes, from);
  Reg *element = loop_cast(&lower->loops, lower_operand(lower, node, 0, from), start->type.dtype);
  inner.carried[0] = row->join(lower, inner.carried[0], element);
  nest_end(lower, &inner);
  Reg *total = inner.carried[0];
  if (mean) total = divide_by_count(lower, node, axes, total);
  lower_result(lower, 0, at, loop_cast(&lower->loops, total, x->type->dtype));
  nest_end(lower, &outer);
}

#define REDUCE(NAME, INFER, DOC)                                                                             \
  .name = NAME, .family = "reduce", .doc = DOC, .operands = operands_x, .operand_count = 1,                  \
  .results = results_y, .result_count = 1, .attrs = reduce_attrs, .attr_count = COUNT_OF(reduce_attrs),      \
  .infer = INFER, .simplify = reduce_simplify, .axes = reduce_axes, .nest = reduce_nest

const Op op_reduce_max = {
    REDUCE("reduce_max", infer_any,
           "The largest element; NaN if there is one; of none -inf or the smallest integer. "
           "Of bools: whether any is true.")};
const Op op_reduce_mean = {
    REDUCE("reduce_mean", infer_number,
           "The sum divided by the number of elements; integers truncate toward zero.")};
const Op op_reduce_min = {
    REDUCE("reduce_min", infer_any,
           "The smallest element; NaN if there is one; of none inf or the largest integer. "
           "Of bools: whether all are true.")};
const Op op_reduce_prod = {REDUCE("reduce_prod", infer_number, "The product of the elements; of none 1.")};
const Op op_reduce_sum = {
    REDUCE("reduce_sum", infer_number, "The sum of the elements; of none 0. f16 and bf16 are added in f32.")};

/* ---- arg_max and arg_min ---- */

static const AttrSpec arg_attrs[] = {
    {"axis", ATTR_INT, ROLE_AXIS, NULL, "which is searched", NULL},
    {"select_last", ATTR_BOOL, ROLE_NONE, "false", "of equal elements the last, not the first", NULL}};

static void searched_axis(const Node *node, bool axes[MAX_RANK]) {
  memset(axes, 0, sizeof(bool) * MAX_RANK);
  axes[node_axis(node, "axis", operand(node, 0)->type->rank)] = true;
}

static bool arg_infer(Node *node) {
  const Type *x = operand(node, 0)->type;
  bool axes[MAX_RANK];
  int axis;
  TRY(check_kind(node, 0, KIND_NUMBER) && check_axis(node, "axis", x->rank, &axis));
  if (dim_is(x->dims[axis], 0))
    return node_fail(node, "axis %d of x, %s, is empty", axis, operand_text(node, 0));
  searched_axis(node, axes);
  return infer_kept(node, axes, DTYPE_I64);
}

static void arg_axes(const Node *node, int index, AxisLink *links) {
  bool axes[MAX_RANK];
  searched_axis(node, axes);
  contract(node, index, axes, links);
}

/* Whether x replaces the best so far. A NaN beats every number, and then nothing but, at most, another NaN.
 */
static Reg *is_better(Lower *lower, const Node *node, Reg *x, Reg *best) {
  Loops *loops = &lower->loops;
  bool last = node_bool(node, "select_last");
  Opcode op = node_is(node, &op_arg_max) ? (last ? LOOP_GE : LOOP_GT) : (last ? LOOP_LE : LOOP_LT);
  Reg *better = loop_binary(loops, op, x, best);
  if (!dtype_is_float(x->type.dtype)) return better;
  Reg *nan = loop_binary(loops, LOOP_NE, x, x);
  if (!last) nan = loop_binary(loops, LOOP_AND, nan, loop_binary(loops, LOOP_EQ, best, best));
  return loop_binary(loops, LOOP_OR, better, nan);
}

static void arg_nest(Lower *lower, const Node *node) {
  Loops *loops = &lower->loops;
  Value *x = operand(node, 0);
  bool axes[MAX_RANK];
  Index at[MAX_RANK], from[MAX_RANK];
  searched_axis(node, axes);
  int axis = (int)node_axis(node, "axis", x->type->rank);
  Nest outer = nest_over(lower, x, axes, at);
  memcpy(from, at, sizeof from);
  Reg *start = (node_is(node, &op_arg_max) ? lowest : highest)(lower, compute_dtype(x->type->dtype));
  Nest inner = nest_begin(2, (Reg *[]){start, loop_int(loops, 0)}); /* the best and where */
  nest_reduce(lower, &inner, x, axes, from);
  Reg *element = compute(lower, lower_operand(lower, node, 0, from));
  Reg *better = is_better(lower, node, element, inner.carried[0]);
  inner.carried[0] = loop_select(loops, better, element, inner.carried[0]);
  inner.carried[1] = loop_select(loops, better, index_reg(lower, from[axis]), inner.carried[1]);
  nest_end(lower, &inner);
  lower_result(lower, 0, at, inner.carried[1]);
  nest_end(lower, &outer);
}

#define ARG(NAME, DOC)                                                                                       \
  .name = NAME, .family = "reduce", .doc = DOC, .operands = operands_x, .operand_count = 1,                  \
  .results = results_y, .result_count = 1, .attrs = arg_attrs, .attr_count = COUNT_OF(arg_attrs),            \
  .infer = arg_infer, .axes = arg_axes, .nest = arg_nest

const Op op_arg_max = {ARG("arg_max",
                           "i64: where along the axis the largest element is, the first of equal ones; NaN "
                           "counts as the largest.")};
const Op op_arg_min = {ARG("arg_min",
                           "i64: where along the axis the smallest element is, the first of equal ones; NaN "
                           "counts as the smallest.")};
