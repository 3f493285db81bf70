/*
 * blocks.c -- products by weights of few bits, in which every block of rows of a column has its own scale.
 *
 * The weights of language models: w = (q - zero) * scale, as of dequantize, but never made as floats. For the
 * fast kernel q is in panels of 32-bit words, [ceil(n/packed), ceil(k/each), packed], each of which holds
 * neighbouring rows of one column, the first in the low bits; scales and zero points are in panels too. The
 * plain nest reads through both forms, so that the interpreter checks the packing.
 */
#include "ir/ops/ops.h"

enum { A, Q, C, SCALE, ZERO };

static const OperandSpec operands[] = {
    {"a", false, "f32[m,k]"},
    {"q", false, "[n,k], integers of at most 8 bits; or packed"},
    {"c", true, "f32, addend that broadcasts to [m,n]; absent: 0"},
    {"scale", false, "floats [n,ceil(k/size)]; or packed, [ceil(n/packed),ceil(k/size),packed]"},
    {"zero", true, "what stands for 0: a number, or one for each scale; absent: 0"}};

static const char *const results_y[] = {"y"};

static const AttrSpec attrs[] = {{"size", ATTR_INT, ROLE_NONE, NULL, "rows of a block", NULL},
                                 {"packed", ATTR_INT, ROLE_NONE, "0",
                                  "q is u32[ceil(n/packed),k*bits/32,packed]: numbers from 0 on, neighbours "
                                  "in a column from the low bits up",
                                  NULL},
                                 {"bits", ATTR_INT, ROLE_NONE, "0",
                                  "of a number in a packed q: 4 or 8, of which k and size are whole words",
                                  NULL},
                                 {"n", ATTR_INT, ROLE_NONE, "0", "columns of a packed q", NULL}};

static bool check_packed(const Node *node, int64_t k, int64_t *n) {
  enum { WORD = 32 };
  const Type *q = operand(node, Q)->type;
  int64_t packed = node_int(node, "packed"), bits = node_int(node, "bits"), size = node_int(node, "size");
  *n = node_int(node, "n");
  if (packed < 1 || packed > 4096 || *n < 1 || (bits != 4 && bits != 8))
    return node_fail(node, "packed=%lld, n=%lld, bits=%lld cannot be", (long long)packed, (long long)*n,
                     (long long)bits);
  int64_t each = WORD / bits, panels = (*n + packed - 1) / packed;
  if (k % each != 0 || (size < k && size % each != 0))
    return node_fail(node, "k is %lld in blocks of %lld; words hold %lld", (long long)k, (long long)size,
                     (long long)each);
  TRY(check_rank(node, Q, 3));
  if (q->dtype == DTYPE_U32 && dim_is(q->dims[0], panels) && dim_is(q->dims[1], k / each) &&
      dim_is(q->dims[2], packed))
    return true;
  return node_fail(node, "q is %s; it must be u32[%lld,%lld,%lld]", operand_text(node, Q), (long long)panels,
                   (long long)(k / each), (long long)packed);
}

static bool check_plain(const Node *node, int64_t k, int64_t *n) {
  const Type *q = operand(node, Q)->type;
  if (!dtype_is_int(q->dtype) || dtype_bits(q->dtype) > 8)
    return node_fail(node, "q is %s; it must be integers of at most 8 bits", operand_text(node, Q));
  TRY(check_rank(node, Q, 2));
  if (!dim_is_const(q->dims[0]) || !dim_is(q->dims[1], k))
    return node_fail(node, "q is %s; it must have %lld columns", operand_text(node, Q), (long long)k);
  *n = q->dims[0]->value;
  return true;
}

/* One number for each block: of the shape of the scales. */
static bool check_numbers(const Node *node, int index, int64_t n, int64_t blocks) {
  const Type *type = operand(node, index)->type;
  int64_t packed = node_int(node, "packed");
  bool fits = packed == 0 ? type->rank == 2 && dim_is(type->dims[0], n) && dim_is(type->dims[1], blocks)
                          : type->rank == 3 && dim_is(type->dims[0], (n + packed - 1) / packed) &&
                                dim_is(type->dims[1], blocks) && dim_is(type->dims[2], packed);
  if (fits) return true;
  return node_fail(node, "%s is %s for %lld blocks of %lld columns, packed=%lld", operands[index].name,
                   operand_text(node, index), (long long)blocks, (long long)n, (long long)packed);
}

static bool gemm_blocks_infer(Node *node) {
  Module *module = node_module(node);
  const Type *a = operand(node, A)->type;
  int64_t size = node_int(node, "size"), n = 0;
  TRY(check_rank(node, A, 2) && check_kind(node, SCALE, KIND_FLOAT));
  const Value *zero = operand(node, ZERO);
  if (zero && !dtype_is_int(zero->type->dtype) && !dtype_is_float(zero->type->dtype))
    return node_fail(node, "zero is %s; it must be a number", operand_text(node, ZERO));
  for (int i = A; i <= C; i += C)
    if (operand(node, i) && operand(node, i)->type->dtype != DTYPE_F32)
      return node_fail(node, "%s is %s; it must be f32", operands[i].name, operand_text(node, i));
  if (!dim_is_const(a->dims[1]) || a->dims[1]->value < 1 || size < 1)
    return node_fail(node, "a is %s, and blocks have %lld rows; both must be numbers from 1 on",
                     operand_text(node, A), (long long)size);
  int64_t k = a->dims[1]->value, blocks = k / size + (k % size != 0);
  TRY(node_int(node, "packed") != 0 ? check_packed(node, k, &n) : check_plain(node, k, &n));
  TRY(check_numbers(node, SCALE, n, blocks));
  if (zero && zero->type->rank > 0) TRY(check_numbers(node, ZERO, n, blocks));
  const Type *type = type_make(module, DTYPE_F32, 2, (const Dim *[]){a->dims[0], dim_const(module, n)});
  if (operand(node, C) && !spreads_to(node, operand(node, C)->type, type))
    return node_fail(node, "c of shape %s does not broadcast to %s", operand_text(node, C),
                     type_text(module, type));
  result_set(node, 0, type);
  return true;
}

static void gemm_blocks_axes(const Node *node, int index, AxisLink *links) {
  if (index == C) {
    axes_broadcast(node, index, links);
    return;
  }
  axes_opaque(node, index, links);
  links[0] = index == A ? axis_link(AXIS_SAME, 0) : axis_link(AXIS_WINDOW, 1);
}

/* ---- meaning ---- */

/* The number of a packed word. */
static Reg *unpacked(Lower *lower, const Node *node, Index k, const Index *at) {
  Loops *loops = &lower->loops;
  int64_t bits = node_int(node, "bits");
  Reg *word = lower_operand(lower, node, Q, at);
  Index first = index_mul_const(lower, index_mod(lower, k, dim_const(lower->module, 32 / bits)), bits);
  Reg *shifted = loop_binary(loops, LOOP_SHR, word, loop_cast(loops, index_reg(lower, first), DTYPE_U32));
  return loop_binary(loops, LOOP_AND, shifted, loop_const_int(loops, word->type, (1 << bits) - 1));
}

static Reg *block_number(Lower *lower, const Node *node, int index, Index k, Index n) {
  const Dim *size = dim_const(lower->module, node_int(node, "size"));
  Index at[3] = {n, index_div(lower, k, size)};
  int64_t packed = node_int(node, "packed");
  if (packed) {
    const Dim *width = dim_const(lower->module, packed);
    at[0] = index_div(lower, n, width);
    at[2] = index_mod(lower, n, width);
  }
  return loop_cast(&lower->loops, lower_operand(lower, node, index, at), DTYPE_F32);
}

static Reg *weight(Lower *lower, const Node *node, Index k, Index n) {
  Loops *loops = &lower->loops;
  Index at[3] = {n, k};
  int64_t packed = node_int(node, "packed");
  if (packed) {
    const Dim *width = dim_const(lower->module, packed);
    at[0] = index_div(lower, n, width);
    at[1] = index_div(lower, k, dim_const(lower->module, 32 / node_int(node, "bits")));
    at[2] = index_mod(lower, n, width);
  }
  Reg *q = packed ? unpacked(lower, node, k, at) : lower_operand(lower, node, Q, at);
  q = loop_cast(loops, q, DTYPE_F32);
  if (operand(node, ZERO)) q = loop_binary(loops, LOOP_SUB, q, block_number(lower, node, ZERO, k, n));
  return loop_binary(loops, LOOP_MUL, q, block_number(lower, node, SCALE, k, n));
}

static void gemm_blocks_nest(Lower *lower, const Node *node) {
  Loops *loops = &lower->loops;
  Index at[MAX_RANK];
  Nest outer = nest_over(lower, result(node, 0), NULL, at);
  Reg *zero = loop_const(loops, (LoopType){DTYPE_F32, 1}, 0);
  Nest sum = nest_begin(1, &zero);
  Index k = index_of(nest_for(lower, &sum, lower_dim(lower, operand(node, A), 1)));
  Reg *x = lower_operand(lower, node, A, (Index[]){at[0], k});
  sum.carried[0] = multiply_add(lower, sum.carried[0], x, weight(lower, node, k, at[1]));
  nest_end(lower, &sum);
  Reg *y = sum.carried[0];
  if (operand(node, C)) y = loop_binary(loops, LOOP_ADD, y, lower_broadcast(lower, node, C, at));
  lower_result(lower, 0, at, y);
  nest_end(lower, &outer);
}

static const Dim *gemm_blocks_macs(const Node *node) {
  Module *module = node_module(node);
  return dim_mul(module, type_count(module, result(node, 0)->type), operand(node, A)->type->dims[1]);
}

const Op op_gemm_blocks = {
    .name = "gemm_blocks",
    .family = "blocks",
    .doc = "a*w + c for w[k,n] = (q[n,k] - zero) * scale in f32, where `size` neighbouring rows of a column "
           "of w have "
           "one scale and zero point: weights of 4 or 8 bits that stay so.",
    .operands = operands,
    .operand_count = COUNT_OF(operands),
    .results = results_y,
    .result_count = 1,
    .attrs = attrs,
    .attr_count = COUNT_OF(attrs),
    .infer = gemm_blocks_infer,
    .axes = gemm_blocks_axes,
    .nest = gemm_blocks_nest,
    .macs = gemm_blocks_macs,
};
