/*
 * unary.c -- element-wise functions of one tensor. Most are one opcode of the loop IR; the others say how
 * they are made of opcodes. All compute in f32 for f16 and bf16, keep NaN, and do not overflow where the
 * function itself does not.
 */
#include "ir/ops/ops.h"

#include <math.h>

static const OperandSpec operands_x[] = {{"x", false, "any shape"}};
static const char *const results_y[] = {"y"};

static bool infer_float(Node *node) {
  return infer_same(node, KIND_FLOAT);
}

/* Whole numbers stay. */
static bool infer_rounding(Node *node) {
  TRY(infer_float(node));
  known_elementwise(node, known_same);
  return true;
}

static bool infer_number(Node *node) {
  return infer_same(node, KIND_NUMBER);
}

static bool infer_signed(Node *node) {
  return infer_same(node, KIND_FLOAT | KIND_SIGNED);
}

static const Dim *known_not(Module *module, const Dim *const *x) {
  return dim_is_const(x[0]) ? dim_const(module, !x[0]->value) : NULL;
}

static bool infer_bool(Node *node) {
  TRY(infer_same(node, KIND_BOOL));
  known_elementwise(node, known_not);
  return true;
}

static bool infer_int(Node *node) {
  return infer_same(node, KIND_INT);
}

static bool infer_test(Node *node) {
  TRY(check_kind(node, 0, KIND_FLOAT));
  return infer_broadcast(node, DTYPE_BOOL);
}

/* f(f(x)) = f(x) */
static Value *simplify_idempotent(Node *node) {
  return operand_def(node, 0, node->op) ? operand(node, 0) : NULL;
}

/* f(f(x)) = x */
static Value *simplify_involution(Node *node) {
  Node *inner = operand_def(node, 0, node->op);
  return inner ? value_if_typed(node, operand(inner, 0)) : NULL;
}

/* erf(x / c) -> erf(x * (1 / c)), as in GELU: |x erf'(x)| <= |erf(x)|, so that an argument that is off by a
 * unit in the last place moves the result by no more than that, which is less than its own error. */
static Value *erf_simplify(Node *node) {
  Node *div = operand_def(node, 0, &op_div);
  double c;
  if (!div || !value_scalar(operand(div, 1), &c) || c == 0 || !isfinite(1 / c)) return NULL;
  Builder builder = builder_before(node);
  Value *inverse = build_scalar(&builder, operand(div, 1)->type->dtype, 1 / c);
  Value *x = value_if_typed(div, build_binary(&builder, &op_mul, operand(div, 0), inverse));
  return x ? rebuild(node, &x, 1) : NULL;
}

/* Fields that all unary operators share; `.opcode` or `.scalar` follows. */
#define UNARY(NAME, TRAITS, INFER, SIMPLIFY, DOC)                                                            \
  .name = NAME, .family = "unary", .doc = DOC, .operands = operands_x, .operand_count = 1,                   \
  .results = results_y, .result_count = 1, .traits = TRAIT_BROADCAST | (TRAITS), .infer = INFER,             \
  .simplify = SIMPLIFY, .element = elementwise_element

/* ---- one opcode ---- */

const Op op_acos = {UNARY("acos", 0, infer_float, NULL, "Arc cosine in radians; NaN outside [-1, 1]."),
                    .opcode = LOOP_ACOS};
const Op op_acosh = {UNARY("acosh", 0, infer_float, NULL, "Inverse hyperbolic cosine; NaN below 1."),
                     .opcode = LOOP_ACOSH};
const Op op_asin = {UNARY("asin", 0, infer_float, NULL, "Arc sine in radians; NaN outside [-1, 1]."),
                    .opcode = LOOP_ASIN};
const Op op_asinh = {UNARY("asinh", 0, infer_float, NULL, "Inverse hyperbolic sine."), .opcode = LOOP_ASINH};
const Op op_atan = {UNARY("atan", 0, infer_float, NULL, "Arc tangent in radians."), .opcode = LOOP_ATAN};
const Op op_atanh = {UNARY("atanh", 0, infer_float, NULL, "Inverse hyperbolic tangent; NaN outside [-1, 1]."),
                     .opcode = LOOP_ATANH};
const Op op_bitwise_not = {UNARY("bitwise_not", TRAIT_CHEAP, infer_int, simplify_involution,
                                 "Complement of every bit of an integer."),
                           .opcode = LOOP_NOT};
const Op op_ceil = {UNARY("ceil", TRAIT_CHEAP, infer_rounding, simplify_idempotent,
                          "The smallest integer that is not below x."),
                    .opcode = LOOP_CEIL};
const Op op_cos = {UNARY("cos", 0, infer_float, NULL, "Cosine of x radians."), .opcode = LOOP_COS};
const Op op_cosh = {UNARY("cosh", 0, infer_float, NULL, "Hyperbolic cosine."), .opcode = LOOP_COSH};
const Op op_erf = {UNARY("erf", 0, infer_float, erf_simplify,
                         "Error function: 2/sqrt(pi) times the integral of exp(-t*t) from 0 to x."),
                   .opcode = LOOP_ERF};
const Op op_exp = {UNARY("exp", 0, infer_float, NULL, "e to the power x."), .opcode = LOOP_EXP};
const Op op_floor = {UNARY("floor", TRAIT_CHEAP, infer_rounding, simplify_idempotent,
                           "The largest integer that is not above x."),
                     .opcode = LOOP_FLOOR};
const Op op_log = {UNARY("log", 0, infer_float, NULL, "Natural logarithm; -inf at 0, NaN below."),
                   .opcode = LOOP_LOG};
const Op op_neg = {
    UNARY("neg", TRAIT_CHEAP, infer_signed, simplify_involution, "-x; the smallest integer stays as it is."),
    .opcode = LOOP_NEG};
const Op op_not = {UNARY("not", TRAIT_CHEAP, infer_bool, simplify_involution, "Logical negation."),
                   .opcode = LOOP_NOT};
const Op op_round = {UNARY("round", TRAIT_CHEAP, infer_rounding, simplify_idempotent,
                           "The nearest integer, halves to the even one."),
                     .opcode = LOOP_ROUND};
const Op op_sin = {UNARY("sin", 0, infer_float, NULL, "Sine of x radians."), .opcode = LOOP_SIN};
const Op op_sinh = {UNARY("sinh", 0, infer_float, NULL, "Hyperbolic sine."), .opcode = LOOP_SINH};
const Op op_sqrt = {UNARY("sqrt", 0, infer_float, NULL, "Square root, correctly rounded; NaN below 0."),
                    .opcode = LOOP_SQRT};
const Op op_tan = {UNARY("tan", 0, infer_float, NULL, "Tangent of x radians."), .opcode = LOOP_TAN};
const Op op_tanh = {UNARY("tanh", 0, infer_float, NULL, "Hyperbolic tangent."), .opcode = LOOP_TANH};

/* ---- made of opcodes; a short notation for them ---- */

static Reg *add(Lower *lower, Reg *x, Reg *y) {
  return loop_binary(&lower->loops, LOOP_ADD, x, y);
}

static Reg *mul(Lower *lower, Reg *x, Reg *y) {
  return loop_binary(&lower->loops, LOOP_MUL, x, y);
}

static Reg *quotient(Lower *lower, Reg *x, Reg *y) {
  return loop_binary(&lower->loops, LOOP_DIV, x, y);
}

static Reg *plus(Lower *lower, Reg *x, double value) {
  return add(lower, x, constant_like(lower, x, value));
}

static Reg *times(Lower *lower, Reg *x, double value) {
  return mul(lower, x, constant_like(lower, x, value));
}

/* At least, and at most, a constant; NaN stays. */
static Reg *at_least(Lower *lower, Reg *x, double value) {
  return loop_binary(&lower->loops, LOOP_MAX, constant_like(lower, x, value), x);
}

static Reg *at_most(Lower *lower, Reg *x, double value) {
  return loop_binary(&lower->loops, LOOP_MIN, constant_like(lower, x, value), x);
}

static Reg *compare(Lower *lower, Opcode op, Reg *x, double value) {
  return loop_binary(&lower->loops, op, x, constant_like(lower, x, value));
}

static Reg *abs_scalar(Lower *lower, const Node *node, Reg *const *x) {
  bool is_unsigned = dtype_is_unsigned_int(operand(node, 0)->type->dtype);
  return is_unsigned ? x[0] : loop_unary(&lower->loops, LOOP_ABS, x[0]);
}

const Op op_abs = {UNARY("abs", TRAIT_CHEAP, infer_number, simplify_idempotent,
                         "Magnitude; the smallest signed integer stays as it is."),
                   .scalar = abs_scalar};

static Reg *is_nan_scalar(Lower *lower, const Node *node, Reg *const *x) {
  (void)node;
  return loop_binary(&lower->loops, LOOP_NE, x[0], x[0]);
}

const Op op_is_nan = {UNARY("is_nan", TRAIT_CHEAP, infer_test, NULL, "bool: whether x is NaN."),
                      .scalar = is_nan_scalar};

static Reg *relu_scalar(Lower *lower, const Node *node, Reg *const *x) {
  (void)node;
  return at_least(lower, x[0], 0);
}

bool value_is_nonnegative(const Value *value) {
  const Op *const ops[] = {&op_relu, &op_sigmoid, &op_exp, &op_abs, &op_softplus, &op_hard_sigmoid, &op_sqrt};
  for (int i = 0; i < COUNT_OF(ops); i++)
    if (node_is(value->def, ops[i]) && dtype_is_float(value->type->dtype)) return true;
  return false;
}

static Value *relu_simplify(Node *node) {
  return value_is_nonnegative(operand(node, 0)) ? operand(node, 0) : NULL;
}

const Op op_relu = {UNARY("relu", TRAIT_CHEAP, infer_number, relu_simplify, "max(0, x)."),
                    .scalar = relu_scalar};

/* exp(-x) may become infinite, and the quotient is then the right 0. */
static Reg *sigmoid(Lower *lower, Reg *x) {
  Reg *e = loop_unary(&lower->loops, LOOP_EXP, loop_unary(&lower->loops, LOOP_NEG, x));
  return quotient(lower, constant_like(lower, x, 1), plus(lower, e, 1));
}

static Reg *sigmoid_scalar(Lower *lower, const Node *node, Reg *const *x) {
  (void)node;
  return sigmoid(lower, x[0]);
}

const Op op_sigmoid = {UNARY("sigmoid", 0, infer_float, NULL, "Logistic function 1 / (1 + exp(-x))."),
                       .scalar = sigmoid_scalar};

static Reg *silu_scalar(Lower *lower, const Node *node, Reg *const *x) {
  (void)node;
  return mul(lower, x[0], sigmoid(lower, x[0]));
}

const Op op_silu = {UNARY("silu", 0, infer_float, NULL, "x * sigmoid(x), also called swish."),
                    .scalar = silu_scalar};

static Reg *sign_scalar(Lower *lower, const Node *node, Reg *const *x) {
  Loops *loops = &lower->loops;
  Reg *one = constant_like(lower, x[0], 1);
  Reg *positive = compare(lower, LOOP_GT, x[0], 0);
  if (dtype_is_unsigned_int(operand(node, 0)->type->dtype)) return loop_select(loops, positive, one, x[0]);
  Reg *minus_one = constant_like(lower, x[0], -1);
  Reg *rest = loop_select(loops, compare(lower, LOOP_LT, x[0], 0), minus_one, x[0]);
  return loop_select(loops, positive, one, rest);
}

const Op op_sign = {UNARY("sign", TRAIT_CHEAP, infer_number, simplify_idempotent,
                          "1, 0 or -1 as x is above, at or below 0; NaN stays."),
                    .scalar = sign_scalar};

/* log(1 + e) for e in [0, 1] without losing small e: the rounding error of 1 + e is divided out again
 * (Kahan; Higham, Accuracy and Stability of Numerical Algorithms, 1.14.1). */
static Reg *log_1_plus(Lower *lower, Reg *e) {
  Loops *loops = &lower->loops;
  Reg *u = plus(lower, e, 1);
  Reg *difference = plus(lower, u, -1);
  Reg *tiny = compare(lower, LOOP_EQ, difference, 0);
  Reg *divisor = loop_select(loops, tiny, constant_like(lower, e, 1), difference);
  Reg *log = mul(lower, loop_unary(loops, LOOP_LOG, u), quotient(lower, e, divisor));
  return loop_select(loops, tiny, e, log);
}

static Reg *softplus(Lower *lower, Reg *x) {
  Loops *loops = &lower->loops;
  Reg *e = loop_unary(loops, LOOP_EXP, loop_unary(loops, LOOP_NEG, loop_unary(loops, LOOP_ABS, x)));
  return add(lower, at_least(lower, x, 0), log_1_plus(lower, e));
}

static Reg *softplus_scalar(Lower *lower, const Node *node, Reg *const *x) {
  (void)node;
  return softplus(lower, x[0]);
}

const Op op_softplus = {
    UNARY("softplus", 0, infer_float, NULL, "log(1 + exp(x)), computed as max(x, 0) + log(1 + exp(-|x|))."),
    .scalar = softplus_scalar};

static Reg *softsign_scalar(Lower *lower, const Node *node, Reg *const *x) {
  (void)node;
  return quotient(lower, x[0], plus(lower, loop_unary(&lower->loops, LOOP_ABS, x[0]), 1));
}

const Op op_softsign = {UNARY("softsign", 0, infer_float, NULL, "x / (1 + |x|)."), .scalar = softsign_scalar};

static Reg *mish_scalar(Lower *lower, const Node *node, Reg *const *x) {
  (void)node;
  return mul(lower, x[0], loop_unary(&lower->loops, LOOP_TANH, softplus(lower, x[0])));
}

const Op op_mish = {UNARY("mish", 0, infer_float, NULL, "x * tanh(softplus(x)) (Misra 2019)."),
                    .scalar = mish_scalar};

static Reg *hard_swish_scalar(Lower *lower, const Node *node, Reg *const *x) {
  (void)node;
  Reg *gate = at_least(lower, at_most(lower, plus(lower, times(lower, x[0], 1.0 / 6), 0.5), 1), 0);
  return mul(lower, x[0], gate);
}

const Op op_hard_swish = {
    UNARY("hard_swish", TRAIT_CHEAP, infer_float, NULL, "x * max(0, min(1, x/6 + 1/2)) (MobileNetV3)."),
    .scalar = hard_swish_scalar};

/* ---- with attributes ---- */

static const AttrSpec gelu_attrs[] = {{"approximate", ATTR_STRING, ROLE_NONE, "none",
                                       "none: with erf; tanh: its approximation by tanh", "none|tanh"}};

static Reg *gelu_scalar(Lower *lower, const Node *node, Reg *const *x) {
  Loops *loops = &lower->loops;
  Reg *inner;
  if (node_string_is(node, "approximate", "tanh")) {
    Reg *cube = mul(lower, mul(lower, x[0], x[0]), x[0]);
    Reg *sum = add(lower, x[0], times(lower, cube, 0.044715));
    inner = loop_unary(loops, LOOP_TANH, times(lower, sum, sqrt(2 / M_PI)));
  } else {
    inner = loop_unary(loops, LOOP_ERF, times(lower, x[0], M_SQRT1_2));
  }
  return mul(lower, times(lower, x[0], 0.5), plus(lower, inner, 1));
}

const Op op_gelu = {
    UNARY("gelu", 0, infer_float, NULL,
          "x times the normal distribution function: x/2 * (1 + erf(x/sqrt(2))), or x/2 * (1 + "
          "tanh(sqrt(2/pi) * (x + 0.044715*x^3))) (Hendrycks and Gimpel 2016)."),
    .attrs = gelu_attrs, .attr_count = COUNT_OF(gelu_attrs), .scalar = gelu_scalar};

static const AttrSpec hard_sigmoid_attrs[] = {{"alpha", ATTR_FLOAT, ROLE_NONE, "0.2", "slope", NULL},
                                              {"beta", ATTR_FLOAT, ROLE_NONE, "0.5", "value at 0", NULL}};

static Reg *hard_sigmoid_scalar(Lower *lower, const Node *node, Reg *const *x) {
  Reg *line = plus(lower, times(lower, x[0], node_float(node, "alpha")), node_float(node, "beta"));
  return at_least(lower, at_most(lower, line, 1), 0);
}

const Op op_hard_sigmoid = {
    UNARY("hard_sigmoid", TRAIT_CHEAP, infer_float, NULL, "max(0, min(1, alpha*x + beta))."),
    .attrs = hard_sigmoid_attrs, .attr_count = COUNT_OF(hard_sigmoid_attrs), .scalar = hard_sigmoid_scalar};

/* alpha*(exp(x) - 1) */
static Reg *exp_minus_1(Lower *lower, Reg *x, double alpha) {
  return times(lower, plus(lower, loop_unary(&lower->loops, LOOP_EXP, x), -1), alpha);
}

static const AttrSpec affine_attrs[] = {{"alpha", ATTR_FLOAT, ROLE_NONE, "1", "factor", NULL},
                                        {"beta", ATTR_FLOAT, ROLE_NONE, "0", "addend", NULL}};

static Reg *affine_scalar(Lower *lower, const Node *node, Reg *const *x) {
  double alpha = node_float(node, "alpha"), beta = node_float(node, "beta");
  Reg *scaled = alpha == 1 ? x[0] : times(lower, x[0], alpha);
  return beta == 0 ? scaled : plus(lower, scaled, beta);
}

const Op op_affine = {UNARY("affine", TRAIT_CHEAP, infer_float, NULL, "alpha*x + beta."),
                      .attrs = affine_attrs, .attr_count = COUNT_OF(affine_attrs), .scalar = affine_scalar};

static const AttrSpec scaled_tanh_attrs[] = {
    {"alpha", ATTR_FLOAT, ROLE_NONE, "1", "the limit at infinity", NULL},
    {"beta", ATTR_FLOAT, ROLE_NONE, "1", "factor of x", NULL}};

static Reg *scaled_tanh_scalar(Lower *lower, const Node *node, Reg *const *x) {
  Reg *tanh = loop_unary(&lower->loops, LOOP_TANH, times(lower, x[0], node_float(node, "beta")));
  return times(lower, tanh, node_float(node, "alpha"));
}

const Op op_scaled_tanh = {UNARY("scaled_tanh", 0, infer_float, NULL, "alpha * tanh(beta*x)."),
                           .attrs = scaled_tanh_attrs, .attr_count = COUNT_OF(scaled_tanh_attrs),
                           .scalar = scaled_tanh_scalar};

static const AttrSpec elu_attrs[] = {
    {"alpha", ATTR_FLOAT, ROLE_NONE, "1", "-alpha is the limit at -infinity", NULL}};

static Reg *elu_scalar(Lower *lower, const Node *node, Reg *const *x) {
  Reg *negative = exp_minus_1(lower, x[0], node_float(node, "alpha"));
  return loop_select(&lower->loops, compare(lower, LOOP_LT, x[0], 0), negative, x[0]);
}

const Op op_elu = {UNARY("elu", 0, infer_float, NULL, "x from 0 on, else alpha*(exp(x) - 1) (Clevert 2015)."),
                   .attrs = elu_attrs, .attr_count = COUNT_OF(elu_attrs), .scalar = elu_scalar};

static const AttrSpec selu_attrs[] = {
    {"alpha", ATTR_FLOAT, ROLE_NONE, "1.67326319217681884765625", "as in elu", NULL},
    {"gamma", ATTR_FLOAT, ROLE_NONE, "1.05070102214813232421875", "factor of everything", NULL}};

static Reg *selu_scalar(Lower *lower, const Node *node, Reg *const *x) {
  Reg *negative = exp_minus_1(lower, x[0], node_float(node, "alpha"));
  Reg *elu = loop_select(&lower->loops, compare(lower, LOOP_LT, x[0], 0), negative, x[0]);
  return times(lower, elu, node_float(node, "gamma"));
}

const Op op_selu = {UNARY("selu", 0, infer_float, NULL,
                          "gamma * elu(x, alpha), whose constants keep mean and variance (Klambauer 2017)."),
                    .attrs = selu_attrs, .attr_count = COUNT_OF(selu_attrs), .scalar = selu_scalar};

static const AttrSpec celu_attrs[] = {{"alpha", ATTR_FLOAT, ROLE_NONE, "1", "not 0", NULL}};

static bool celu_infer(Node *node) {
  if (node_float(node, "alpha") == 0) return node_fail(node, "alpha is 0; x/alpha has no value");
  return infer_float(node);
}

static Reg *celu_scalar(Lower *lower, const Node *node, Reg *const *x) {
  double alpha = node_float(node, "alpha");
  Reg *scaled = quotient(lower, x[0], constant_like(lower, x[0], alpha));
  return add(lower, at_least(lower, x[0], 0), at_most(lower, exp_minus_1(lower, scaled, alpha), 0));
}

const Op op_celu = {
    UNARY("celu", 0, celu_infer, NULL, "max(0, x) + min(0, alpha*(exp(x/alpha) - 1)) (Barron 2017)."),
    .attrs = celu_attrs, .attr_count = COUNT_OF(celu_attrs), .scalar = celu_scalar};

static const AttrSpec leaky_relu_attrs[] = {{"alpha", ATTR_FLOAT, ROLE_NONE, "0.01", "slope below 0", NULL}};

static Reg *leaky_relu_scalar(Lower *lower, const Node *node, Reg *const *x) {
  Reg *negative = times(lower, x[0], node_float(node, "alpha"));
  return loop_select(&lower->loops, compare(lower, LOOP_LT, x[0], 0), negative, x[0]);
}

const Op op_leaky_relu = {UNARY("leaky_relu", TRAIT_CHEAP, infer_float, NULL, "x from 0 on, else alpha*x."),
                          .attrs = leaky_relu_attrs, .attr_count = COUNT_OF(leaky_relu_attrs),
                          .scalar = leaky_relu_scalar};

static const AttrSpec thresholded_relu_attrs[] = {{"alpha", ATTR_FLOAT, ROLE_NONE, "1", "threshold", NULL}};

static Reg *thresholded_relu_scalar(Lower *lower, const Node *node, Reg *const *x) {
  Reg *below = compare(lower, LOOP_LE, x[0], node_float(node, "alpha"));
  return loop_select(&lower->loops, below, constant_like(lower, x[0], 0), x[0]);
}

const Op op_thresholded_relu = {
    UNARY("thresholded_relu", TRAIT_CHEAP, infer_float, NULL, "x above alpha, else 0."),
    .attrs = thresholded_relu_attrs, .attr_count = COUNT_OF(thresholded_relu_attrs),
    .scalar = thresholded_relu_scalar};

/* ---- clip ---- */

static const OperandSpec clip_operands[] = {{"x", false, "any shape"},
                                            {"min", true, "one element; absent: no lower bound"},
                                            {"max", true, "one element; absent: no upper bound"}};

static bool clip_infer(Node *node) {
  TRY(check_kind(node, 0, KIND_NUMBER));
  for (int i = 1; i < node->operand_count; i++) {
    if (!operand(node, i)) continue;
    TRY(check_same_dtype(node, 0, i));
    if (type_static_count(operand(node, i)->type) != 1)
      return node_fail(node, "%s is %s; it must have one element", clip_operands[i].name,
                       operand_text(node, i));
  }
  result_set(node, 0, operand(node, 0)->type);
  return true;
}

static Value *clip_simplify(Node *node) {
  Value *low = operand(node, 1), *high = operand(node, 2);
  double bound;
  if (!low && !high) return operand(node, 0);
  if (low && !high && value_scalar(low, &bound) && bound == 0) {
    Builder builder = builder_before(node);
    return value_if_typed(node, build_unary(&builder, &op_relu, operand(node, 0)));
  }
  /* clip(relu(x), min <= 0, max) is clip(x, 0, max) */
  Node *relu = operand_def(node, 0, &op_relu);
  if (!relu || !high || (low && !(value_scalar(low, &bound) && bound <= 0))) return NULL;
  Builder builder = builder_before(node);
  Value *zero = build_scalar(&builder, operand(node, 0)->type->dtype, 0);
  Value *operands[] = {operand(relu, 0), zero, high};
  return value_if_typed(node, build_op(&builder, &op_clip, operands, 3));
}

static void clip_axes(const Node *node, int index, AxisLink *links) {
  (index == 0 ? axes_same : axes_opaque)(node, index, links);
}

/* The bounds have any rank, so they are read at their only position. */
static Reg *clip_element(Lower *lower, const Node *node, int which, const Index *at) {
  Index only[MAX_RANK];
  for (int i = 0; i < MAX_RANK; i++) only[i] = index_const(lower, 0);
  Reg *x = compute(lower, lower_operand(lower, node, 0, at));
  if (operand(node, 1))
    x = loop_binary(&lower->loops, LOOP_MAX, compute(lower, lower_operand(lower, node, 1, only)), x);
  if (operand(node, 2))
    x = loop_binary(&lower->loops, LOOP_MIN, compute(lower, lower_operand(lower, node, 2, only)), x);
  return loop_cast(&lower->loops, x, result(node, which)->type->dtype);
}

const Op op_clip = {
    .name = "clip",
    .family = "unary",
    .doc = "min(max(x, min), max): x moved into [min, max]; max where min > max, NaN stays.",
    .operands = clip_operands,
    .operand_count = COUNT_OF(clip_operands),
    .results = results_y,
    .result_count = 1,
    .traits = TRAIT_CHEAP,
    .infer = clip_infer,
    .simplify = clip_simplify,
    .axes = clip_axes,
    .element = clip_element,
};
