/*
 * binary.c -- element-wise functions of two tensors that broadcast as in numpy, and `where` of three.
 *
 * Integer results carry known values (known.c), which is how shape arithmetic disappears.
 */
#include "ir/ops/ops.h"

#include <math.h>
#include <stdlib.h>

static const OperandSpec operands_xy[] = {{"x", false, "any shape"},
                                          {"y", false, "broadcasts with x; the same dtype"}};
static const char *const results_z[] = {"z"};

/* ---- infer ---- */

/* The result has the operands' dtype. */
static bool infer_kinds(Node *node, unsigned kinds) {
  TRY(check_kind(node, 0, kinds) && check_same_dtype(node, 0, 1));
  return infer_broadcast(node, operand(node, 0)->type->dtype);
}

static bool infer_number(Node *node) {
  return infer_kinds(node, KIND_NUMBER);
}

static bool infer_bool(Node *node) {
  return infer_kinds(node, KIND_BOOL);
}

static bool infer_int(Node *node) {
  return infer_kinds(node, KIND_INT);
}

static bool infer_compare(Node *node) {
  TRY(check_kind(node, 0, KIND_NUMBER) && check_same_dtype(node, 0, 1));
  return infer_broadcast(node, DTYPE_BOOL);
}

static bool infer_known(Node *node, KnownRule rule) {
  TRY(infer_number(node));
  known_elementwise(node, rule);
  return true;
}

/* ---- known values ---- */

static bool both_const(const Dim *const *x) {
  return dim_is_const(x[0]) && dim_is_const(x[1]);
}

static const Dim *known_add(Module *module, const Dim *const *x) {
  return dim_add(module, x[0], x[1]);
}

static const Dim *known_sub(Module *module, const Dim *const *x) {
  return dim_sub(module, x[0], x[1]);
}

static const Dim *known_mul(Module *module, const Dim *const *x) {
  return dim_mul(module, x[0], x[1]);
}

/* Truncation is floor when nothing is negative. */
static const Dim *known_div(Module *module, const Dim *const *x) {
  if (dim_is(x[1], 0)) return NULL;
  if (both_const(x))
    return x[1]->value == -1 ? dim_sub(module, dim_const(module, 0), x[0])
                             : dim_const(module, x[0]->value / x[1]->value);
  bool positive = dim_is_const(x[1]) && x[1]->value > 0;
  return positive && dim_is_nonnegative(x[0]) ? dim_floordiv(module, x[0], x[1]) : NULL;
}

/* Of floats: only without a remainder. */
static const Dim *known_quotient(Module *module, const Dim *const *x) {
  if (dim_is(x[1], 0)) return NULL;
  const Dim *quotient = dim_floordiv(module, x[0], x[1]);
  return dim_mul(module, quotient, x[1]) == x[0] ? quotient : NULL;
}

static const Dim *known_mod(Module *module, const Dim *const *x) {
  if (!dim_is_const(x[1]) || x[1]->value <= 0 || !dim_is_nonnegative(x[0])) return NULL;
  return dim_sub(module, x[0], dim_mul(module, x[1], dim_floordiv(module, x[0], x[1])));
}

static const Dim *known_max(Module *module, const Dim *const *x) {
  return dim_make(module, DIM_MAX, x[0], x[1]);
}

static const Dim *known_min(Module *module, const Dim *const *x) {
  return dim_make(module, DIM_MIN, x[0], x[1]);
}

/* Equal expressions are equal; constants compare; a size is no negative number; else nobody knows. */
static const Dim *known_equal(Module *module, const Dim *const *x) {
  if (x[0] == x[1]) return dim_const(module, 1);
  if (both_const(x)) return dim_const(module, 0);
  for (int i = 0; i < 2; i++)
    if (dim_is_const(x[i]) && x[i]->value < 0 && dim_is_nonnegative(x[1 - i])) return dim_const(module, 0);
  const Dim *difference = dim_sub(module, x[0], x[1]);
  return dim_is_const(difference) ? dim_const(module, dim_is(difference, 0)) : NULL;
}

static const Dim *known_less(Module *module, const Dim *const *x) {
  return both_const(x) ? dim_const(module, x[0]->value < x[1]->value) : NULL;
}

static const Dim *known_greater(Module *module, const Dim *const *x) {
  return both_const(x) ? dim_const(module, x[0]->value > x[1]->value) : NULL;
}

static const Dim *known_where(Module *module, const Dim *const *x) {
  (void)module;
  return dim_is_const(x[0]) ? x[x[0]->value ? 1 : 2] : x[1] == x[2] ? x[1] : NULL;
}

static bool add_infer(Node *node) {
  return infer_known(node, known_add);
}

static bool sub_infer(Node *node) {
  return infer_known(node, known_sub);
}

static bool mul_infer(Node *node) {
  return infer_known(node, known_mul);
}

static bool div_infer(Node *node) {
  return infer_known(node, dtype_is_float(operand(node, 0)->type->dtype) ? known_quotient : known_div);
}

static bool max_infer(Node *node) {
  return infer_known(node, known_max);
}

static bool min_infer(Node *node) {
  return infer_known(node, known_min);
}

static bool equal_infer(Node *node) {
  TRY(check_kind(node, 0, KIND_NUMBER | KIND_BOOL) && check_same_dtype(node, 0, 1));
  TRY(infer_broadcast(node, DTYPE_BOOL));
  known_elementwise(node, known_equal);
  return true;
}

static bool less_infer(Node *node) {
  TRY(infer_compare(node));
  known_elementwise(node, known_less);
  return true;
}

static bool greater_infer(Node *node) {
  TRY(infer_compare(node));
  known_elementwise(node, known_greater);
  return true;
}

/* ---- simplify ---- */

/* A broadcast of an operand is the operator's own work, if the other operand alone gives the result its
 * shape. */
static Value *absorb_broadcast(Node *node) {
  for (int i = 0; i < node->operand_count; i++) {
    Node *broadcast = operand_def(node, i, &op_broadcast);
    if (!broadcast) continue;
    Value *operands[3];
    for (int j = 0; j < node->operand_count; j++) operands[j] = operand(node, j);
    operands[i] = operand(broadcast, 0);
    const Type *type = type_scalar(node_module(node), DTYPE_BOOL);
    for (int j = 0; j < node->operand_count; j++)
      if (!type_broadcast(node_module(node), type, operands[j]->type, DTYPE_BOOL, &type)) return NULL;
    if (type_same_shape(type, result(node, 0)->type)) return rebuild(node, operands, node->operand_count);
  }
  return NULL;
}

/* Constants stand second, so that rules and patterns need to look in one place only. */
static void constant_second(Node *node) {
  Value *x = operand(node, 0), *y = operand(node, 1);
  if (!value_data(x) || value_data(y)) return;
  operand_set(node, 0, y);
  operand_set(node, 1, x);
}

/* x op y is x when y is a constant with all elements `neutral` that does not widen the shape. */
static Value *without_neutral(Node *node, double neutral) {
  if (!value_is_splat(operand(node, 1), neutral)) return NULL;
  return value_if_typed(node, operand(node, 0));
}

static Value *simplify_commutative(Node *node) {
  constant_second(node);
  return absorb_broadcast(node);
}

static Value *simplify_neutral(Node *node, double neutral) {
  if (node->op->traits & TRAIT_COMMUTATIVE) constant_second(node);
  Value *x = without_neutral(node, neutral);
  return x ? x : absorb_broadcast(node);
}

static Value *simplify_zero(Node *node) {
  return simplify_neutral(node, 0);
}

/* Positions and a size, as caches of keys and values have them, are positions from there on. */
static Value *add_simplify(Node *node) {
  Value *simpler = simplify_zero(node);
  for (int i = 0; i < 2 && !simpler; i++) {
    int count;
    const Node *iota = operand_def(node, i, &op_iota);
    const Dim *const *by = value_known(operand(node, !i), &count);
    const Type *type = result(node, 0)->type;
    bool fits = iota && by && count == 1 && dtype_is_int(type->dtype) && operand(node, i)->type == type;
    if (fits) simpler = iota_shifted(iota, node, by[0], type->dims, type->rank);
  }
  return simpler;
}

static Value *simplify_one(Node *node) {
  return simplify_neutral(node, 1);
}

static Value *simplify_true(Node *node) {
  return simplify_neutral(node, 1);
}

/* x op x = x */
static Value *simplify_same(Node *node) {
  constant_second(node);
  return operand(node, 0) == operand(node, 1) ? operand(node, 0) : absorb_broadcast(node);
}

/* x / c is x * (1/c) when 1/c is exact: c is a power of two. */
static Value *div_simplify(Node *node) {
  Value *simpler = simplify_neutral(node, 1);
  double c;
  int exponent;
  const Type *type = operand(node, 1)->type;
  if (simpler || !dtype_is_float(type->dtype) || type->rank > 0 || !value_scalar(operand(node, 1), &c))
    return simpler;
  if (!isfinite(c) || c == 0 || fabs(frexp(c, &exponent)) != 0.5 || abs(exponent) > 12) return NULL;
  Builder builder = builder_before(node);
  Value *inverse = build_scalar(&builder, type->dtype, 1 / c);
  return value_if_typed(node, build_binary(&builder, &op_mul, operand(node, 0), inverse));
}

/* ---- the table ---- */

#define BINARY(NAME, TRAITS, INFER, SIMPLIFY, DOC)                                                           \
  .name = NAME, .family = "binary", .doc = DOC, .operands = operands_xy, .operand_count = 2,                 \
  .results = results_z, .result_count = 1, .traits = TRAIT_BROADCAST | (TRAITS), .infer = INFER,             \
  .simplify = SIMPLIFY, .element = elementwise_element

enum { CHEAP = TRAIT_CHEAP, SWAPS = TRAIT_CHEAP | TRAIT_COMMUTATIVE };

const Op op_add = {BINARY("add", SWAPS, add_infer, add_simplify, "x + y; integers wrap."),
                   .opcode = LOOP_ADD};
const Op op_and = {BINARY("and", SWAPS, infer_bool, simplify_true, "Logical and of bools."),
                   .opcode = LOOP_AND};
const Op op_bitwise_and = {BINARY("bitwise_and", SWAPS, infer_int, simplify_same, "Bitwise and of integers."),
                           .opcode = LOOP_AND};
const Op op_bitwise_or = {BINARY("bitwise_or", SWAPS, infer_int, simplify_same, "Bitwise or of integers."),
                          .opcode = LOOP_OR};
const Op op_bitwise_xor = {
    BINARY("bitwise_xor", SWAPS, infer_int, simplify_zero, "Bitwise exclusive or of integers."),
    .opcode = LOOP_XOR};
const Op op_div = {BINARY("div", 0, div_infer, div_simplify,
                          "x / y; integers truncate toward zero, and x / 0 is 0 for them."),
                   .opcode = LOOP_DIV};
const Op op_equal = {BINARY("equal", SWAPS, equal_infer, simplify_commutative,
                            "bool: x == y; false with NaN. Takes bools, too."),
                     .opcode = LOOP_EQ};
const Op op_greater = {
    BINARY("greater", CHEAP, greater_infer, absorb_broadcast, "bool: x > y; false with NaN."),
    .opcode = LOOP_GT};
const Op op_greater_or_equal = {
    BINARY("greater_or_equal", CHEAP, infer_compare, absorb_broadcast, "bool: x >= y; false with NaN."),
    .opcode = LOOP_GE};
const Op op_less = {BINARY("less", CHEAP, less_infer, absorb_broadcast, "bool: x < y; false with NaN."),
                    .opcode = LOOP_LT};
const Op op_less_or_equal = {
    BINARY("less_or_equal", CHEAP, infer_compare, absorb_broadcast, "bool: x <= y; false with NaN."),
    .opcode = LOOP_LE};
const Op op_mul = {BINARY("mul", SWAPS, mul_infer, simplify_one, "x * y; integers wrap."),
                   .opcode = LOOP_MUL};
const Op op_or = {BINARY("or", SWAPS, infer_bool, simplify_zero, "Logical or of bools."), .opcode = LOOP_OR};
const Op op_sub = {BINARY("sub", CHEAP, sub_infer, simplify_zero, "x - y; integers wrap."),
                   .opcode = LOOP_SUB};
const Op op_xor = {BINARY("xor", SWAPS, infer_bool, simplify_zero, "Logical exclusive or of bools."),
                   .opcode = LOOP_XOR};

/* ---- max and min ---- */

static Reg *max_scalar(Lower *lower, const Node *node, Reg *const *x) {
  (void)node;
  return max_nan(lower, x[0], x[1]);
}

static Reg *min_scalar(Lower *lower, const Node *node, Reg *const *x) {
  (void)node;
  return min_nan(lower, x[0], x[1]);
}

/* max(x, 0) is relu(x) */
static Value *max_simplify(Node *node) {
  Value *simpler = simplify_same(node);
  if (simpler || !value_is_splat(operand(node, 1), 0)) return simpler;
  if (operand(node, 0)->type != result(node, 0)->type) return NULL;
  Builder builder = builder_before(node);
  return build_unary(&builder, &op_relu, operand(node, 0));
}

/* min(relu(x), c) is clip(x, 0, c) */
static Value *min_simplify(Node *node) {
  Value *simpler = simplify_same(node);
  Node *relu = operand_def(node, 0, &op_relu);
  double bound;
  if (simpler || !relu || !value_scalar(operand(node, 1), &bound) || isnan(bound)) return simpler;
  if (operand(node, 0)->type != result(node, 0)->type) return NULL;
  Dtype dtype = operand(node, 0)->type->dtype;
  Builder builder = builder_before(node);
  Value *operands[] = {operand(relu, 0), build_scalar(&builder, dtype, 0),
                       build_scalar(&builder, dtype, bound)};
  return value_if_typed(node, build_op(&builder, &op_clip, operands, 3));
}

const Op op_max = {BINARY("max", SWAPS, max_infer, max_simplify, "The larger of x and y; NaN if either is."),
                   .scalar = max_scalar};
const Op op_min = {BINARY("min", SWAPS, min_infer, min_simplify, "The smaller of x and y; NaN if either is."),
                   .scalar = min_scalar};

/* ---- mod ---- */

static const AttrSpec mod_attrs[] = {{"fmod", ATTR_BOOL, ROLE_NONE, "false",
                                      "the sign is that of x, as C's fmod, instead of that of y", NULL}};

static bool mod_infer(Node *node) {
  TRY(infer_number(node));
  known_elementwise(node, known_mod);
  return true;
}

/* The remainder has the sign of x; where that differs from y's, y is added. rem is defined for y = 0, so this
 * is. */
static Reg *mod_scalar(Lower *lower, const Node *node, Reg *const *x) {
  Loops *loops = &lower->loops;
  Reg *rem = loop_binary(loops, LOOP_REM, x[0], x[1]);
  if (node_bool(node, "fmod") || dtype_is_unsigned_int(operand(node, 0)->type->dtype)) return rem;
  Reg *zero = constant_like(lower, rem, 0);
  Reg *signs_differ = loop_binary(loops, LOOP_XOR, loop_binary(loops, LOOP_LT, rem, zero),
                                  loop_binary(loops, LOOP_LT, x[1], zero));
  Reg *moves = loop_binary(loops, LOOP_AND, signs_differ, loop_binary(loops, LOOP_NE, rem, zero));
  return loop_select(loops, moves, loop_binary(loops, LOOP_ADD, rem, x[1]), rem);
}

const Op op_mod = {
    BINARY("mod", 0, mod_infer, absorb_broadcast,
           "Remainder of x / y: x - y*floor(x/y) with the sign of y, or with fmod x - y*trunc(x/y) with the "
           "sign of x. Integers: 0 when y is 0."),
    .attrs = mod_attrs, .attr_count = COUNT_OF(mod_attrs), .scalar = mod_scalar};

/* ---- pow ---- */

static bool pow_infer(Node *node) {
  TRY(check_kind(node, 0, KIND_NUMBER) && check_kind(node, 1, KIND_NUMBER));
  return infer_broadcast(node, operand(node, 0)->type->dtype);
}

/* Small whole powers and the square root have cheaper names. */
static Value *pow_simplify(Node *node) {
  Value *x = operand(node, 0), *root;
  double y;
  if (x->type != result(node, 0)->type || !value_scalar(operand(node, 1), &y)) return absorb_broadcast(node);
  Builder builder = builder_before(node);
  if (y == 1) return x;
  if (y == 2) return build_binary(&builder, &op_mul, x, x);
  if (y == 3) return build_binary(&builder, &op_mul, build_binary(&builder, &op_mul, x, x), x);
  if (fabs(y) != 0.5 || !dtype_is_float(x->type->dtype)) return NULL;
  root = build_unary(&builder, &op_sqrt, x);
  return y > 0 ? root : build_binary(&builder, &op_div, build_scalar(&builder, x->type->dtype, 1), root);
}

/* Integers go through f64, exact up to 2^53. */
static Reg *pow_scalar(Lower *lower, const Node *node, Reg *const *x) {
  Loops *loops = &lower->loops;
  Dtype dtype = operand(node, 0)->type->dtype;
  Dtype by = dtype_is_float(dtype) ? compute_dtype(dtype) : DTYPE_F64;
  return loop_binary(loops, LOOP_POW, loop_cast(loops, x[0], by), loop_cast(loops, x[1], by));
}

static const OperandSpec pow_operands[] = {{"x", false, "base; gives the result its dtype"},
                                           {"y", false, "exponent, of any number type"}};

const Op op_pow = {
    .name = "pow",
    .family = "binary",
    .doc = "x to the power y as C's pow; integers are computed in f64 and truncated.",
    .operands = pow_operands,
    .operand_count = 2,
    .results = results_z,
    .result_count = 1,
    .traits = TRAIT_BROADCAST,
    .infer = pow_infer,
    .simplify = pow_simplify,
    .element = elementwise_element,
    .scalar = pow_scalar,
};

/* ---- prelu ---- */

static const OperandSpec prelu_operands[] = {{"x", false, "any shape"},
                                             {"slope", false, "broadcasts to the shape of x"}};

static bool prelu_infer(Node *node) {
  TRY(infer_number(node));
  result_set(node, 0, operand(node, 0)->type);
  if (!spreads_to(node, operand(node, 1)->type, operand(node, 0)->type))
    return node_fail(node, "slope of shape %s does not broadcast to x of shape %s", operand_text(node, 1),
                     operand_text(node, 0));
  return true;
}

static Reg *prelu_scalar(Lower *lower, const Node *node, Reg *const *x) {
  (void)node;
  Loops *loops = &lower->loops;
  Reg *negative = loop_binary(loops, LOOP_LT, x[0], constant_like(lower, x[0], 0));
  return loop_select(loops, negative, loop_binary(loops, LOOP_MUL, x[0], x[1]), x[0]);
}

const Op op_prelu = {
    .name = "prelu",
    .family = "binary",
    .doc = "x from 0 on, else slope*x (He 2015).",
    .operands = prelu_operands,
    .operand_count = 2,
    .results = results_z,
    .result_count = 1,
    .traits = TRAIT_BROADCAST | TRAIT_CHEAP,
    .infer = prelu_infer,
    .simplify = absorb_broadcast,
    .element = elementwise_element,
    .scalar = prelu_scalar,
};

/* ---- where ---- */

static const OperandSpec where_operands[] = {{"condition", false, "bool; broadcasts with the others"},
                                             {"x", false, "taken where true; any dtype"},
                                             {"y", false, "taken where false; dtype of x"}};

static bool where_infer(Node *node) {
  TRY(check_kind(node, 0, KIND_BOOL) && check_same_dtype(node, 1, 2));
  TRY(infer_broadcast(node, operand(node, 1)->type->dtype));
  known_elementwise(node, known_where);
  return true;
}

static Value *where_simplify(Node *node) {
  double condition;
  if (value_scalar(operand(node, 0), &condition)) {
    Value *taken = operand(node, condition != 0 ? 1 : 2);
    if (value_if_typed(node, taken)) return taken;
  }
  if (operand(node, 1) == operand(node, 2)) return value_if_typed(node, operand(node, 1));
  return absorb_broadcast(node);
}

static Reg *where_element(Lower *lower, const Node *node, int which, const Index *at) {
  (void)which;
  Reg *x[3];
  for (int i = 0; i < 3; i++) x[i] = lower_broadcast(lower, node, i, at);
  return loop_select(&lower->loops, x[0], x[1], x[2]);
}

const Op op_where = {
    .name = "where",
    .family = "binary",
    .doc = "x where the condition holds, else y, element by element.",
    .operands = where_operands,
    .operand_count = 3,
    .results = results_z,
    .result_count = 1,
    .traits = TRAIT_BROADCAST | TRAIT_CHEAP,
    .infer = where_infer,
    .simplify = where_simplify,
    .element = where_element,
};
