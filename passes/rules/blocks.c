/*
 * rules/blocks.c -- weights of few bits stay weights of few bits.
 *
 *   gemm(a, w, c)  ->  gemm_blocks(a, q, c, scale, zero)
 *   gather(w, i)   ->  dequantize(gather(q, i), gather(scale, i), gather(zero, i))
 *
 * for a large w that is a dequantized constant, seen through transposes, casts, and the reshape and slice
 * that put its blocks together; scales are single, per column, or per block of rows. Must see w before fold
 * does.
 */
#include "passes/rewrite.h"

enum { FEWEST = 1 << 14 }; /* elements, from which on it matters */

/* w[k,n] as q[n,k], with scale and zero [n,blocks]; zero: also a number, or NULL. */
typedef struct Weights {
  Value *q, *scale, *zero;
  int64_t k, size; /* rows; of a block */
} Weights;

/* ---- through what stands before the product ---- */

/* Elements from the first on, along one axis. */
static bool cuts_end(const Node *slice, int axis) {
  int count;
  const Type *from = operand(slice, 0)->type, *to = result(slice, 0)->type;
  const Dim *const *starts = node_dims(slice, "starts", &count);
  const int64_t *steps = node_ints(slice, "steps", &count);
  for (int i = 0; i < from->rank; i++)
    if (!dim_is(starts[i], 0) || (i < count && steps[i] != 1) || (i != axis && from->dims[i] != to->dims[i]))
      return false;
  return true;
}

/* [n,blocks,size] -> [n,blocks*size] */
static bool joins_blocks(const Node *reshape) {
  const Type *from = operand(reshape, 0)->type, *to = result(reshape, 0)->type;
  return from->rank == 3 && to->rank == 2 && from->dims[0] == to->dims[0];
}

static bool is_float_cast(const Node *node) {
  return node_is(node, &op_cast) && dtype_is_float(operand(node, 0)->type->dtype) &&
         dtype_is_float(node->results[0]->type->dtype);
}

/* The dequantize behind w; *k_last: of its result, or of the matrix that its blocks make. */
static Node *dequantize_behind(const Value *w, bool *k_last) {
  for (Node *node = w->def; node; node = operand(node, 0)->def) {
    const Type *type = node->result_count == 1 ? result(node, 0)->type : NULL;
    if (node_is(node, &op_dequantize)) return node;
    if (is_float_cast(node)) continue;
    if (!type || type->rank != 2) return NULL;
    if (node_is(node, &op_transpose))
      *k_last ^= node_perm(node)[0] == 1;
    else if (!(node_is(node, &op_slice) && cuts_end(node, *k_last)) &&
             !(node_is(node, &op_reshape) && *k_last && joins_blocks(node)))
      return NULL;
  }
  return NULL;
}

/* ---- numbers of blocks ---- */

/* Before it was made wider. */
static Value *without_cast(Value *x) {
  bool widens = x->def && is_float_cast(x->def) &&
                dtype_bits(operand(x->def, 0)->type->dtype) < dtype_bits(x->type->dtype);
  return widens ? operand(x->def, 0) : x;
}

/* x, of which every number was repeated `size` times along an axis: what was repeated; NULL: nothing was. */
static Value *before_repeat(Builder *builder, Value *x, int axis, int64_t *size) {
  if (node_is(x->def, &op_slice) && cuts_end(x->def, axis)) x = operand(x->def, 0);
  const Node *join = x->def, *spread = node_is(join, &op_reshape) ? operand(join, 0)->def : NULL;
  if (!node_is(spread, &op_broadcast) || x->type->rank != 2) return NULL;
  const Type *wide = result(spread, 0)->type, *split = operand(spread, 0)->type;
  const Dim *dims[2];
  if (wide->rank != 3 || split->rank != 3 || !dim_is(split->dims[axis + 1], 1)) return NULL;
  for (int i = 0; i < 2; i++) {
    int from = i > axis ? i + 1 : i;
    dims[i] = split->dims[from];
    if (dims[i] != wide->dims[from]) return NULL;
  }
  if (x->type->dims[!axis] != dims[!axis]) return NULL;
  *size = wide->dims[axis + 1]->value;
  return build_reshape(builder, operand(spread, 0), 2, dims);
}

/* Scales or zero points as [n,blocks]; *size is that of the blocks, 0 as long as it is not known. */
static Value *numbers_of_blocks(Builder *builder, Value *x, const Type *type, bool k_last, int64_t *size) {
  Module *module = builder->graph->module;
  int64_t repeated = 0, k = 0;
  x = without_cast(x);
  const Dim *n = type->dims[type->rank == 3 || k_last ? 0 : 1], *one = dim_const(module, 1);
  if (type->rank == 3) { /* [n,blocks,1] */
    if (x->type->rank != 3 || x->type->dims[0] != n || x->type->dims[1] != type->dims[1] ||
        !dim_is(x->type->dims[2], 1))
      return NULL;
    return build_reshape(builder, x, 2, x->type->dims);
  }
  Value *blocks = before_repeat(builder, x, k_last, &repeated);
  k = type->dims[k_last]->value;
  if (*size != 0 && *size != (blocks ? repeated : k)) return NULL;
  *size = blocks ? repeated : k;
  if (blocks) return k_last ? blocks : build_transpose(builder, blocks, (int64_t[]){1, 0});
  const Dim *dims[] = {n, one};
  if (type_static_count(x->type) == 1)
    return build_broadcast(builder, build_reshape(builder, x, 0, NULL), 2, dims);
  int axis = k_last ? 0 : 1, lead = type->rank - x->type->rank;
  if (axis < lead || x->type->dims[axis - lead] != n || type_static_count(x->type) != n->value) return NULL;
  return build_reshape(builder, x, 2, dims);
}

/* ---- the weights ---- */

static bool are_few_bits(const Value *q) {
  Dtype dtype = q->type->dtype;
  return dtype_is_int(dtype) && dtype_bits(dtype) <= 8 && value_is_constant(q) &&
         type_static_count(q->type) >= FEWEST;
}

/* q as [n,k], with no more than the first k rows. */
static Value *plain_numbers(Builder *builder, Value *q, bool k_last, int64_t k) {
  Module *module = builder->graph->module;
  const Dim *zeros[] = {dim_const(module, 0), dim_const(module, 0)};
  if (q->type->rank == 3) {
    const Dim *dims[] = {q->type->dims[0], dim_mul(module, q->type->dims[1], q->type->dims[2])};
    q = build_reshape(builder, q, 2, dims);
  } else if (!k_last)
    q = build_transpose(builder, q, (int64_t[]){1, 0});
  if (!q || dim_is(q->type->dims[1], k)) return q;
  Node *slice = node_new(builder, &op_slice, &q, 1);
  node_set_dims(slice, "starts", zeros, 2);
  node_set_dims(slice, "sizes", (const Dim *[]){q->type->dims[0], dim_const(module, k)}, 2);
  return node_finish(slice) ? result(slice, 0) : NULL;
}

static bool read_weights(Builder *builder, const Value *w, bool k_last, Weights *weights) {
  bool wanted = k_last;
  if (w->type->rank != 2 || !type_is_static(w->type) || type_static_count(w->type) < FEWEST) return false;
  const Node *dequantize = dequantize_behind(w, &k_last);
  if (!dequantize) return false;
  Value *q = operand(dequantize, 0), *zero = operand(dequantize, 2);
  const Type *type = result(dequantize, 0)->type;
  if (!are_few_bits(q) || q->type->rank < 2 || !type_same_shape(q->type, type)) return false;
  *weights =
      (Weights){.k = w->type->dims[wanted]->value, .size = q->type->rank == 3 ? type->dims[2]->value : 0};
  weights->scale = numbers_of_blocks(builder, operand(dequantize, 1), type, k_last, &weights->size);
  if (!weights->scale) return false;
  if (zero && type_static_count(zero->type) == 1)
    weights->zero = build_reshape(builder, zero, 0, NULL);
  else if (zero)
    weights->zero = numbers_of_blocks(builder, zero, type, k_last, &weights->size);
  weights->q = plain_numbers(builder, q, k_last, weights->k);
  return weights->q && (!zero || weights->zero);
}

/* Whether the numbers fill words that do not mix blocks (ir/ops/blocks.c). */
static bool fit_words(const Weights *weights) {
  enum { WORD = 32 };
  int64_t each = WORD / (dtype_bits(weights->q->type->dtype) == 8 ? 8 : 4);
  return weights->k % each == 0 && (weights->size >= weights->k || weights->size % each == 0);
}

Value *rule_gemm_blocks(Node *node) {
  Builder builder = builder_before(node);
  Weights weights;
  Dtype dtype = result(node, 0)->type->dtype;
  if (node_bool(node, "trans_a") || node_int(node, "packed") || dtype == DTYPE_F64 || !dtype_is_float(dtype))
    return NULL;
  if (!read_weights(&builder, operand(node, 1), node_bool(node, "trans_b"), &weights) || !fit_words(&weights))
    return NULL;
  Value *c = operand(node, 2) ? build_cast(&builder, operand(node, 2), DTYPE_F32) : NULL;
  Value *a = build_cast(&builder, operand(node, 0), DTYPE_F32);
  Node *blocks =
      node_new(&builder, &op_gemm_blocks, (Value *[]){a, weights.q, c, weights.scale, weights.zero}, 5);
  node_set_int(blocks, "size", weights.size);
  Value *y = node_try(blocks, result(node, 0)->type);
  return y ? build_cast(&builder, y, dtype) : NULL;
}

/* Rows of numbers. */
static Value *gathered(Builder *builder, Value *x, Value *indices) {
  return x && x->type->rank > 0 ? build_op(builder, &op_gather, (Value *[]){x, indices}, 2) : x;
}

Value *rule_gather_blocks(Node *node) {
  Builder builder = builder_before(node);
  Module *module = builder.graph->module;
  Weights weights;
  Value *w = operand(node, 0), *indices = operand(node, 1);
  const Type *type = result(node, 0)->type;
  if (w->type->rank != 2 || node_axis(node, "axis", 2) != 0 || type->rank == MAX_RANK) return NULL;
  if (!read_weights(&builder, w, true, &weights) || weights.k % weights.size != 0) return NULL;
  Value *parts[] = {gathered(&builder, weights.q, indices), gathered(&builder, weights.scale, indices),
                    gathered(&builder, weights.zero, indices)};
  const Dim *dims[MAX_RANK];
  int rank = type->rank + 1;
  for (int i = 0; i < type->rank; i++) dims[i] = type->dims[i];
  for (int i = 0; i < 3; i++) {
    if (!parts[i] || parts[i]->type->rank == 0) continue;
    dims[rank - 2] = dim_const(module, weights.k / weights.size);
    dims[rank - 1] = dim_const(module, i == 0 ? weights.size : 1);
    parts[i] = build_reshape(&builder, parts[i], rank, dims);
  }
  parts[1] = build_cast(&builder, parts[1], DTYPE_F32);
  Value *y = build_op(&builder, &op_dequantize, parts, 3);
  y = y ? build_reshape(&builder, y, type->rank, type->dims) : NULL;
  return y ? build_cast(&builder, y, type->dtype) : NULL;
}
