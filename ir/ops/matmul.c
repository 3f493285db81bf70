/*
 * matmul.c -- matrix products: matmul with numpy's rules for vectors and batches, gemm for two matrices and
 * an addend.
 *
 * Both take a right operand that is packed for the fast kernels: panels of `packed` columns, [ceil(n/packed),
 * k, packed], whose tail is zero. Of 8-bit integers four rows lie side by side, [.., k/4, packed * 4], as
 * their products are summed by four; of bf16 two. gemm's may be without their zeros (sparse.c). The plain
 * nest reads through the panels, so that the interpreter checks the packing, too.
 */
#include "ir/ops/ops.h"

#include <string.h>

static const char *const results_y[] = {"y"};

/* Sizes of one product. */
typedef struct Sizes {
  const Dim *m, *k, *n; /* m, n: 1 for a vector */
} Sizes;

/* ---- packed columns ---- */

/* b is [ceil(n/packed), k, packed], or without its zeros; gives k, which is that of a in this case, and n. */
static bool check_packed(const Node *node, int64_t packed, const Dim **k, const Dim **n) {
  Module *module = node_module(node);
  const Type *b = operand(node, 1)->type;
  int64_t columns = node_int(node, "n");
  if (packed < 0 || packed > 4096 || columns < 0)
    return node_fail(node, "packed=%lld, n=%lld cannot be", (long long)packed, (long long)columns);
  *n = dim_const(module, columns);
  int64_t panels = columns / packed + (columns % packed != 0);
  if (operand(node, SPARSE_ROWS)) {
    if (!dim_is_const(*k)) return node_fail(node, "b without its zeros needs a constant k");
    if (!operand(node, SPARSE_STARTS)) return quartets_infer(node, packed, panels, (*k)->value);
    return sparse_infer(node, packed, panels, (*k)->value);
  }
  TRY(check_rank(node, 1, 3));
  int depth = panel_depth(b->dtype);
  if (!dim_is(b->dims[0], panels) || !dim_is(b->dims[2], packed * depth))
    return node_fail(node, "b is %s; %lld columns in panels of %lld are [%lld,k,%lld]", operand_text(node, 1),
                     (long long)columns, (long long)packed, (long long)panels, (long long)packed * depth);
  *k = dim_mul(module, b->dims[1], dim_const(module, depth));
  return true;
}

void panel_position(Lower *lower, int64_t packed, int depth, Index k, Index n, Index *at) {
  const Dim *width = dim_const(lower->module, packed), *group = dim_const(lower->module, depth);
  at[0] = index_div(lower, n, width);
  at[1] = index_div(lower, k, group);
  at[2] =
      index_add(lower, index_mul_const(lower, index_mod(lower, n, width), depth), index_mod(lower, k, group));
}

/* ---- matmul ---- */

static const OperandSpec matmul_operands[] = {{"a", false, "[.., m, k], or [k]"},
                                              {"b", false, "[.., k, n], or [k]; or packed"}};

static const AttrSpec matmul_attrs[] = {
    {"packed", ATTR_INT, ROLE_NONE, "0",
     "b is a matrix in panels of so many columns, [ceil(n/packed), k, packed]; of 8-bit integers "
     "[.., k/4, packed * 4], of bf16 [.., k/2, packed * 2]",
     NULL},
    {"n", ATTR_INT, ROLE_NONE, "0", "columns of a packed b", NULL},
    {"wide", ATTR_BOOL, ROLE_NONE, "false",
     "the sums of f16 and bf16 stay f32: the result; a may be f32, too", NULL}};

static bool matmul_sizes(const Node *node, Sizes *sizes) {
  const Type *a = operand(node, 0)->type, *b = operand(node, 1)->type;
  const Dim *one = dim_const(node_module(node), 1);
  if (a->rank == 0 || b->rank == 0)
    return node_fail(node, "a is %s and b is %s; both need an axis", operand_text(node, 0),
                     operand_text(node, 1));
  sizes->m = a->rank == 1 ? one : a->dims[a->rank - 2];
  sizes->n = b->rank == 1 ? one : b->dims[b->rank - 1];
  const Dim *k = a->dims[a->rank - 1];
  sizes->k = b->rank == 1 ? b->dims[0] : b->dims[b->rank - 2];
  int64_t packed = node_int(node, "packed");
  if (packed != 0) TRY(check_packed(node, packed, &sizes->k, &sizes->n));
  if (!sizes_agree(node, k, sizes->k))
    return node_fail(node, "a is %s and b is %s: k is %s here and %s there", operand_text(node, 0),
                     operand_text(node, 1), dim_text(node_module(node), k),
                     dim_text(node_module(node), sizes->k));
  if (!dim_is_const(sizes->k)) sizes->k = k;
  return true;
}

/* How many leading axes of an operand are batches. */
static int batch_rank(const Node *node, int index) {
  int rank = operand(node, index)->type->rank;
  if (index == 1 && node_int(node, "packed") != 0) return 0;
  return rank > 2 ? rank - 2 : 0;
}

static bool matmul_infer(Node *node) {
  Module *module = node_module(node);
  const Type *a = operand(node, 0)->type, *b = operand(node, 1)->type, *batch;
  Sizes sizes;
  TRY(check_product(node) && matmul_sizes(node, &sizes));
  Dtype dtype = product_dtype(node);
  const Type *batch_a = type_make(module, dtype, batch_rank(node, 0), a->dims);
  const Type *batch_b = type_make(module, dtype, batch_rank(node, 1), b->dims);
  if (!type_broadcast(module, batch_a, batch_b, dtype, &batch))
    return node_fail(node, "the batch axes of a %s and b %s do not broadcast", operand_text(node, 0),
                     operand_text(node, 1));
  const Dim *dims[MAX_RANK];
  int rank = batch->rank;
  memcpy(dims, batch->dims, sizeof *dims * (size_t)rank);
  if (a->rank > 1) dims[rank++] = sizes.m;
  if (b->rank > 1) dims[rank++] = sizes.n;
  result_set(node, 0, type_make(module, dtype, rank, dims));
  return true;
}

static void matmul_axes(const Node *node, int index, AxisLink *links) {
  const Type *type = operand(node, index)->type, *y = result(node, 0)->type;
  axes_opaque(node, index, links);
  if (index == 1 && node_int(node, "packed") != 0) {
    links[0] = axis_link(AXIS_WINDOW, y->rank - 1);
    return;
  }
  int batches = batch_rank(node, index),
      inner = (operand(node, 0)->type->rank > 1) + (operand(node, 1)->type->rank > 1);
  for (int i = 0; i < batches; i++) {
    int axis = y->rank - inner - batches + i;
    links[i] = axis_link(type->dims[i] == y->dims[axis] ? AXIS_SAME : AXIS_BROADCAST, axis);
  }
  int contracted = index == 1 && type->rank > 1 ? type->rank - 2 : type->rank - 1;
  links[contracted] = axis_link(AXIS_CONTRACT, 0);
  links[contracted].whole = node_int(node, "packed") != 0;
  if (type->rank > 1 && index == 0)
    links[type->rank - 2] = axis_link(AXIS_SAME, y->rank - inner);
  else if (type->rank > 1)
    links[type->rank - 1] = axis_link(AXIS_SAME, y->rank - 1);
}

/* Batch positions of an operand from those of the result. */
static void batch_position(Lower *lower, const Node *node, int index, int result_batches, const Index *at,
                           Index *from) {
  const Type *type = operand(node, index)->type, *y = result(node, 0)->type;
  int batches = batch_rank(node, index), shift = result_batches - batches;
  for (int i = 0; i < batches; i++) {
    bool same = type->dims[i] == y->dims[shift + i];
    from[i] = same ? at[shift + i] : index_mod(lower, at[shift + i], type->dims[i]); /* mod 1 is 0 */
  }
}

/* The sum over k of a[a_at with k at a_axis] * b[b_at], in the dtype of computation. */
typedef struct Product {
  const Node *node;
  Index a[MAX_RANK], b[MAX_RANK];
  int a_k, b_k;   /* axes of k */
  int64_t packed; /* then b[0] is n */
} Product;

static Reg *sum_products(Lower *lower, Product *p, const Dim *k) {
  Loops *loops = &lower->loops;
  Dtype dtype = compute_dtype(result(p->node, 0)->type->dtype);
  Reg *zero = loop_const(loops, (LoopType){dtype, 1}, 0);
  Nest nest = nest_begin(1, &zero);
  Index at = index_of(nest_for(lower, &nest, loop_dim(loops, k))), n = p->b[0];
  p->a[p->a_k] = p->b[p->b_k] = at;
  if (p->packed) panel_position(lower, p->packed, panel_depth(operand(p->node, 1)->type->dtype), at, n, p->b);
  Reg *x = lower_operand(lower, p->node, 0, p->a), *w = lower_operand(lower, p->node, 1, p->b);
  nest.carried[0] = multiply_add(lower, nest.carried[0], x, w);
  nest_end(lower, &nest);
  return nest.carried[0];
}

static void matmul_nest(Lower *lower, const Node *node) {
  const Type *a = operand(node, 0)->type, *b = operand(node, 1)->type, *y = result(node, 0)->type;
  Product p = {.node = node, .packed = node_int(node, "packed")};
  Sizes sizes;
  matmul_sizes(node, &sizes);
  int batches = y->rank - (a->rank > 1) - (b->rank > 1);
  Index at[MAX_RANK];
  Nest nest = nest_over(lower, result(node, 0), NULL, at);
  batch_position(lower, node, 0, batches, at, p.a);
  batch_position(lower, node, 1, batches, at, p.b);
  p.a_k = a->rank - 1;
  p.b_k = p.packed ? 1 : b->rank == 1 ? 0 : b->rank - 2;
  if (a->rank > 1) p.a[a->rank - 2] = at[batches];
  if (b->rank > 1) p.b[p.packed ? 0 : b->rank - 1] = at[y->rank - 1];
  lower_result(lower, 0, at, loop_cast(&lower->loops, sum_products(lower, &p, sizes.k), y->dtype));
  nest_end(lower, &nest);
}

static const Dim *matmul_macs(const Node *node) {
  Sizes sizes;
  matmul_sizes(node, &sizes);
  return dim_mul(node_module(node), type_count(node_module(node), result(node, 0)->type), sizes.k);
}

const Op op_matmul = {
    .name = "matmul",
    .family = "matmul",
    .doc = "Matrix product as numpy's matmul: the last two axes multiply, those before broadcast, a vector "
           "gets an axis of size "
           "1 that is dropped again. Sums in f32 for f16 and bf16; those of 8-bit integers are i32.",
    .operands = matmul_operands,
    .operand_count = COUNT_OF(matmul_operands),
    .results = results_y,
    .result_count = 1,
    .attrs = matmul_attrs,
    .attr_count = COUNT_OF(matmul_attrs),
    .infer = matmul_infer,
    .axes = matmul_axes,
    .nest = matmul_nest,
    .macs = matmul_macs,
};

/* ---- gemm ---- */

static const OperandSpec gemm_operands[] = {
    {"a", false, "[m,k], or [k,m] with trans_a"},
    {"b", false, "[k,n], or [n,k] with trans_b; or packed"},
    {"c", true, "addend that broadcasts to [m,n]; absent: 0"},
    {"rows", true,
     "of a packed b without its zeros: integers [kept]; of two of four u32 [panels, ceil(k/32), packed]"},
    {"starts", true, "integers [panels + 1]; absent: two of each four are there"}};

static const AttrSpec gemm_attrs[] = {
    {"trans_a", ATTR_BOOL, ROLE_NONE, "false", "a is stored transposed", NULL},
    {"trans_b", ATTR_BOOL, ROLE_NONE, "false", "b is stored transposed", NULL},
    {"packed", ATTR_INT, ROLE_NONE, "0", "b is in panels of so many columns, as of matmul", NULL},
    {"n", ATTR_INT, ROLE_NONE, "0", "columns of a packed b", NULL},
    {"wide", ATTR_BOOL, ROLE_NONE, "false",
     "the sums of f16 and bf16 stay f32: the result, and c; a may be f32, too", NULL}};

static bool gemm_sizes(const Node *node, Sizes *sizes) {
  const Type *a = operand(node, 0)->type, *b = operand(node, 1)->type;
  bool trans_a = node_bool(node, "trans_a"), trans_b = node_bool(node, "trans_b");
  int64_t packed = node_int(node, "packed");
  TRY(check_rank(node, 0, 2));
  sizes->m = a->dims[trans_a];
  const Dim *k = a->dims[!trans_a];
  if (packed != 0) {
    if (trans_b) return node_fail(node, "a packed b cannot be transposed");
    sizes->k = k;
    TRY(check_packed(node, packed, &sizes->k, &sizes->n));
  } else {
    if (operand(node, SPARSE_ROWS)) return node_fail(node, "only a packed b can be without its zeros");
    TRY(check_rank(node, 1, 2));
    sizes->k = b->dims[trans_b];
    sizes->n = b->dims[!trans_b];
  }
  if (!sizes_agree(node, k, sizes->k))
    return node_fail(node, "a is %s%s and b is %s%s: k is %s here and %s there", operand_text(node, 0),
                     trans_a ? " transposed" : "", operand_text(node, 1), trans_b ? " transposed" : "",
                     dim_text(node_module(node), k), dim_text(node_module(node), sizes->k));
  if (!dim_is_const(sizes->k)) sizes->k = k;
  return true;
}

static bool gemm_infer(Node *node) {
  Module *module = node_module(node);
  Sizes sizes;
  TRY(check_product(node) && check_addend(node, 2));
  TRY(gemm_sizes(node, &sizes));
  const Dim *dims[] = {sizes.m, sizes.n};
  const Type *type = type_make(module, product_dtype(node), 2, dims);
  if (operand(node, 2) && !spreads_to(node, operand(node, 2)->type, type))
    return node_fail(node, "c of shape %s does not broadcast to %s", operand_text(node, 2),
                     type_text(module, type));
  result_set(node, 0, type);
  return true;
}

/* A transposed operand is read the other way round, and an addend of zeros is none. */
static Value *gemm_simplify(Node *node) {
  static const char *const flags[] = {"trans_a", "trans_b"};
  bool changed = false;
  for (int i = 0; i < 2; i++) {
    Node *transpose = operand_def(node, i, &op_transpose);
    int count;
    if (!transpose || (i == 1 && node_int(node, "packed") != 0)) continue;
    if (node_ints(transpose, "perm", &count)[0] != 1) continue;
    if (value_data(operand(transpose, 0))) continue; /* fold makes it a plain constant */
    operand_set(node, i, operand(transpose, 0));
    node_set_bool(node, flags[i], !node_bool(node, flags[i]));
    changed = true;
  }
  if (operand(node, 2) && value_is_splat(operand(node, 2), 0)) {
    operand_set(node, 2, NULL);
    changed = true;
  }
  return changed ? result(node, 0) : NULL;
}

static void gemm_axes(const Node *node, int index, AxisLink *links) {
  if (index == 2) {
    axes_broadcast(node, index, links);
    return;
  }
  axes_opaque(node, index, links);
  if (index >= SPARSE_ROWS) return;
  if (index == 1 && node_int(node, "packed") != 0) {
    links[0] = axis_link(AXIS_WINDOW, 1);
    return;
  }
  bool transposed = node_bool(node, index == 0 ? "trans_a" : "trans_b");
  int outer = (index == 0) == transposed; /* the axis that is m of a, n of b */
  links[outer] = axis_link(AXIS_SAME, index);
  links[!outer] = axis_link(AXIS_CONTRACT, 0);
  links[!outer].whole = node_int(node, "packed") != 0;
}

static Reg *left_element(Lower *lower, const Node *node, Index k, void *context) {
  Product *p = context;
  p->a[p->a_k] = k;
  return lower_operand(lower, node, PRODUCT_X, p->a);
}

/* The same sum of a b without its zeros. */
static Reg *sum_kept(Lower *lower, Product *p, Index n, int64_t k) {
  const Dim *width = dim_const(lower->module, p->packed);
  SparseList list = {index_div(lower, n, width), index_mod(lower, n, width)};
  PanelColumn column = {list.number, list.column, p->packed};
  Reg *zero = loop_const(&lower->loops, (LoopType){compute_dtype(result(p->node, 0)->type->dtype), 1}, 0);
  if (!operand(p->node, SPARSE_STARTS))
    return quartets_sum(lower, p->node, &column, k, left_element, p, zero);
  return sparse_sum(lower, p->node, &list, k, left_element, p, zero);
}

static void gemm_nest(Lower *lower, const Node *node) {
  bool trans_a = node_bool(node, "trans_a"), trans_b = node_bool(node, "trans_b");
  Product p = {.node = node, .packed = node_int(node, "packed"), .a_k = !trans_a};
  Sizes sizes;
  gemm_sizes(node, &sizes);
  p.b_k = p.packed ? 1 : trans_b;
  Index at[MAX_RANK];
  Nest nest = nest_over(lower, result(node, 0), NULL, at);
  p.a[trans_a] = at[0];
  p.b[p.packed ? 0 : !trans_b] = at[1];
  Reg *sum = operand(node, SPARSE_ROWS) ? sum_kept(lower, &p, at[1], sizes.k->value)
                                        : sum_products(lower, &p, sizes.k);
  if (operand(node, 2))
    sum = loop_binary(&lower->loops, LOOP_ADD, sum, compute(lower, lower_broadcast(lower, node, 2, at)));
  lower_result(lower, 0, at, loop_cast(&lower->loops, sum, result(node, 0)->type->dtype));
  nest_end(lower, &nest);
}

static const Dim *gemm_macs(const Node *node) {
  Sizes sizes;
  gemm_sizes(node, &sizes);
  if (operand(node, SPARSE_ROWS)) return sparse_macs(node, sizes.n);
  return dim_mul(node_module(node), type_count(node_module(node), result(node, 0)->type), sizes.k);
}

const Op op_gemm = {
    .name = "gemm",
    .family = "matmul",
    .doc =
        "a*b + c for matrices, as BLAS gemm with alpha = beta = 1. Sums in f32 for f16 and bf16; those of "
        "8-bit integers are i32, and so is their c. A packed b with rows and starts is without the rows "
        "of its panels that are all zero: [kept, packed], row rows[i] of some panel in b[i], those of "
        "panel p from starts[p] to below starts[p+1]; of 8-bit integers and bf16 by fours and twos. With "
        "rows alone it has two of each four neighbours along k: [panels, ceil(k/4), 2 * packed], the one of "
        "each column and then the other, and rows says which of the four they are, by two bits each.",
    .operands = gemm_operands,
    .operand_count = COUNT_OF(gemm_operands),
    .results = results_y,
    .result_count = 1,
    .attrs = gemm_attrs,
    .attr_count = COUNT_OF(gemm_attrs),
    .infer = gemm_infer,
    .simplify = gemm_simplify,
    .axes = gemm_axes,
    .nest = gemm_nest,
    .macs = gemm_macs,
};
