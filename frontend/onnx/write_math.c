/*
 * write_math.c -- operators that ONNX has not, or not quite, as several of its own.
 */
#include "frontend/onnx/write.h"

#include <string.h>

static Dtype dtype_of(const Node *node) {
  return result(node, 0)->type->dtype;
}

/* x * factor, x itself for 1; x + addend. Of the node's element type. */
static const char *scaled(Writer *writer, const Node *node, const char *x, double factor) {
  return factor == 1 ? x : put2(writer, "Mul", x, put_number(writer, dtype_of(node), factor));
}

static const char *moved(Writer *writer, const Node *node, const char *x, double addend) {
  return addend == 0 ? x : put2(writer, "Add", x, put_number(writer, dtype_of(node), addend));
}

/* ---- Element by element */

const char *write_affine(Writer *writer, const Node *node) {
  const char *x = scaled(writer, node, name_of_operand(writer, node, 0), node_float(node, "alpha"));
  return moved(writer, node, x, node_float(node, "beta"));
}

const char *write_scaled_tanh(Writer *writer, const Node *node) {
  const char *x = scaled(writer, node, name_of_operand(writer, node, 0), node_float(node, "beta"));
  return scaled(writer, node, put1(writer, "Tanh", x), node_float(node, "alpha"));
}

const char *write_silu(Writer *writer, const Node *node) {
  const char *x = name_of_operand(writer, node, 0);
  return put2(writer, "Mul", x, put1(writer, "Sigmoid", x));
}

const char *write_clip(Writer *writer, const Node *node) {
  return put3(writer, "Clip", name_of_operand(writer, node, 0), put_scalar(writer, operand(node, 1)),
              put_scalar(writer, operand(node, 2)));
}

/* Mod takes floats with the sign of x only. */
const char *write_mod(Writer *writer, const Node *node) {
  const char *x = name_of_operand(writer, node, 0), *y = name_of_operand(writer, node, 1);
  bool fmod = node_bool(node, "fmod");
  if (dtype_is_float(dtype_of(node)) && !fmod) {
    const char *whole = put1(writer, "Floor", put2(writer, "Div", x, y));
    return put2(writer, "Sub", x, put2(writer, "Mul", whole, y));
  }
  const char *z = put2(writer, "Mod", x, y);
  with_int(writer, "fmod", fmod);
  return z;
}

const char *write_bit_cast(Writer *writer, const Node *node) {
  Dtype from = operand(node, 0)->type->dtype, to = dtype_of(node);
  bool wraps = dtype_is_int(from) && dtype_is_int(to);
  if (!wraps) return write_fail(writer, "the bits of %s as %s", dtype_name(from), dtype_name(to));
  return put_cast(writer, name_of_operand(writer, node, 0), from, to);
}

const char *write_cast(Writer *writer, const Node *node) {
  Dtype to = dtype_of(node);
  const char *y = put1(writer, "Cast", name_of_operand(writer, node, 0));
  with_int(writer, "to", onnx_of_dtype(to));
  if (!node_bool(node, "saturate")) with_int(writer, "saturate", 0);
  return y;
}

/* ---- Norms */

/* [c] along an axis of x. */
static const char *along(Writer *writer, const Node *node, int index) {
  int rank = operand(node, 0)->type->rank;
  int64_t axis = node_axis(node, "axis", rank), dims[MAX_RANK];
  for (int i = 0; i < rank; i++) dims[i] = i == axis ? -1 : 1;
  return put_reshape(writer, name_of_operand(writer, node, index), dims, rank);
}

const char *write_batch_norm(Writer *writer, const Node *node) {
  enum { X, SCALE, BIAS, MEAN, VARIANCE };
  const char *inputs[VARIANCE + 1];
  for (int i = 0; i <= VARIANCE; i++) inputs[i] = name_of_operand(writer, node, i);
  int rank = operand(node, X)->type->rank;
  if (node_axis(node, "axis", rank) == 1 && rank > 1) {
    const char *y = put(writer, "BatchNormalization", COUNT_OF(inputs), inputs);
    with_float(writer, "epsilon", node_float(node, "epsilon"));
    return y;
  }
  const char *variance = moved(writer, node, along(writer, node, VARIANCE), node_float(node, "epsilon"));
  const char *y = put2(writer, "Sub", inputs[X], along(writer, node, MEAN));
  y = put2(writer, "Div", y, put1(writer, "Sqrt", variance));
  y = put2(writer, "Mul", y, along(writer, node, SCALE));
  return put2(writer, "Add", y, along(writer, node, BIAS));
}

/* Whether it has the sizes of x's axes from `axis` on, and no others. */
static bool spans(const Value *parameter, const Type *x, int axis) {
  if (!parameter || parameter->type->rank != x->rank - axis) return false;
  for (int i = 0; i < parameter->type->rank; i++)
    if (parameter->type->dims[i] != x->dims[axis + i]) return false;
  return true;
}

static const char *put_mean(Writer *writer, const char *x, int axis, int rank) {
  int64_t axes[MAX_RANK];
  for (int i = axis; i < rank; i++) axes[i - axis] = i;
  return put2(writer, "ReduceMean", x, put_ints(writer, axes, rank - axis));
}

const char *write_layer_norm(Writer *writer, const Node *node) {
  const Value *scale = operand(node, 1), *bias = operand(node, 2);
  const Type *type = operand(node, 0)->type;
  int axis = (int)node_axis(node, "axis", type->rank);
  double epsilon = node_float(node, "epsilon");
  bool center = node_bool(node, "center");
  const char *x = name_of_operand(writer, node, 0);
  if (center && spans(scale, type, axis) && (!bias || spans(bias, type, axis))) {
    const char *y = put3(writer, "LayerNormalization", x, name_of(writer, scale), name_of(writer, bias));
    with_int(writer, "axis", axis);
    with_float(writer, "epsilon", epsilon);
    return y;
  }
  if (center) x = put2(writer, "Sub", x, put_mean(writer, x, axis, type->rank));
  const char *variance = put_mean(writer, put2(writer, "Mul", x, x), axis, type->rank);
  const char *y = put2(writer, "Div", x, put1(writer, "Sqrt", moved(writer, node, variance, epsilon)));
  if (scale) y = put2(writer, "Mul", y, name_of(writer, scale));
  return bias ? put2(writer, "Add", y, name_of(writer, bias)) : y;
}

/* ---- Attention */

/* q, k or v as [b, heads, rows, columns]. */
static const char *part(Writer *writer, const Node *node, int index, const char *perm) {
  int rank;
  const int64_t *order = node_ints(node, perm, &rank);
  return put_transpose(writer, name_of_operand(writer, node, index), order, rank);
}

static const Dim *size_after(const Node *node, int index, const char *perm, int axis) {
  int rank;
  return operand(node, index)->type->dims[node_ints(node, perm, &rank)[axis]];
}

/* Queries of h heads over keys of g: [b, g, h/g, m, d] and [b, g, 1, n, d]. */
static const char *grouped(Writer *writer, const char *x, const Dim *heads, bool is_query) {
  if (!x || !dim_is_const(heads)) return x ? write_fail(writer, "an open number of heads") : NULL;
  const char *shape = put1(writer, "Shape", x);
  with_int(writer, "start", 2);
  const char *parts[] = {put_ints(writer, (int64_t[]){0, heads->value, is_query ? -1 : 1}, 3), shape};
  const char *dims = put(writer, "Concat", COUNT_OF(parts), parts);
  with_int(writer, "axis", 0);
  return put2(writer, "Reshape", x, dims);
}

/* Two axes of heads become one of h. */
static const char *ungrouped(Writer *writer, const char *x, const Dim *heads) {
  const char *shape = put1(writer, "Shape", x);
  with_int(writer, "start", 3);
  const char *parts[] = {put_ints(writer, (int64_t[]){0, heads->value}, 2), shape};
  const char *dims = put(writer, "Concat", COUNT_OF(parts), parts);
  with_int(writer, "axis", 0);
  return put2(writer, "Reshape", x, dims);
}

static const char *put_scores(Writer *writer, const Node *node, const char *q, const char *k, bool groups) {
  const int64_t turned[] = {0, 1, 2, 4, 3};
  const char *keys =
      groups ? put_transpose(writer, k, turned, 5) : put_transpose(writer, k, (int64_t[]){0, 1, 3, 2}, 4);
  const char *scores = scaled(writer, node, put2(writer, "MatMul", q, keys), node_float(node, "scale"));
  double cap = node_float(node, "softcap");
  if (cap == 0) return scores;
  return scaled(writer, node, put1(writer, "Tanh", scaled(writer, node, scores, 1 / cap)), cap);
}

const char *write_attention(Writer *writer, const Node *node) {
  const Dim *heads = size_after(node, 0, "q_perm", 1), *keys = size_after(node, 1, "k_perm", 1);
  const char *q = part(writer, node, 0, "q_perm"), *k = part(writer, node, 1, "k_perm");
  const char *v = part(writer, node, 2, "v_perm");
  bool groups = heads != keys;
  int64_t perm[4];
  int rank;
  if (groups && !dim_is_const(heads)) return write_fail(writer, "an open number of heads");
  if (groups) q = grouped(writer, q, keys, true);
  if (groups) k = grouped(writer, k, keys, false);
  if (groups) v = grouped(writer, v, keys, false);
  if (!q || !k || !v) return NULL;
  const char *scores = put_scores(writer, node, q, k, groups);
  if (groups) scores = ungrouped(writer, scores, heads);
  if (operand(node, 3)) scores = put2(writer, "Add", scores, name_of_operand(writer, node, 3));
  const char *weights = put1(writer, "Softmax", scores);
  if (node_bool(node, "zero_masked"))
    weights =
        put3(writer, "Where", put1(writer, "IsNaN", weights), put_number(writer, dtype_of(node), 0), weights);
  if (groups) weights = grouped(writer, weights, keys, true);
  const char *y = put2(writer, "MatMul", weights, v);
  if (groups) y = ungrouped(writer, y, heads);
  memcpy(perm, node_ints(node, "y_perm", &rank), sizeof perm);
  return put_transpose(writer, y, perm, rank);
}
