/*
 * attention.c -- products around a softmax become one `attention`.
 *
 * Before: matmul(softmax(matmul(q, k) with scales and masks), v), as exporters write it. After: attention,
 * which has taken in
 *   - multiplications and divisions by a number, of q, k or the scores,
 *   - additive masks, and `where` with a number that no finite score can lift (-inf, the lowest float),
 *   - transposes of q, k, v and the result, as permutations,
 *   - the repetition of key and value heads that serve several query heads (grouped queries).
 * Where anything between the two products has another use, or heads are not of a constant size up to 256
 * channels, nothing changes. Requires simplified chains; stands before layout, which would move the
 * transposes elsewhere.
 */
#include "passes/rewrite.h"

#include <math.h>
#include <string.h>

enum { AXES = 4, MAX_CHAIN = 8, MAX_HEAD = 256 };

/* ---- the scores ---- */

typedef struct Scores {
  Node *product; /* q k^T */
  double scale;  /* of the product */
  Value *mask;   /* addend after it; NULL: none */
} Scores;

/* The operand of a mul or div that the other, a number, scales; NULL: it is no such node. */
static Value *scaled(const Node *node, double *factor) {
  double x;
  bool divides = node_is(node, &op_div);
  if (!divides && !node_is(node, &op_mul)) return NULL;
  for (int i = 1; i >= (divides ? 1 : 0); i--) {
    if (!value_scalar(operand(node, i), &x) || operand(node, !i)->type != result(node, 0)->type) continue;
    *factor = divides ? 1 / x : x;
    return isfinite(*factor) ? operand(node, !i) : NULL;
  }
  return NULL;
}

/* Its result has the type of its operands, as attention's has. */
static bool is_product(const Node *node) {
  return node_is(node, &op_matmul) && !node_bool(node, "wide");
}

static bool reaches_product(const Value *value, int depth) {
  const Node *node = value->def;
  double factor;
  if (!node || depth == 0 || !value_has_one_use(value)) return false;
  if (is_product(node)) return true;
  const Value *x = scaled(node, &factor);
  if (x) return reaches_product(x, depth - 1);
  if (!node_is(node, &op_add) && !node_is(node, &op_where)) return false;
  for (int i = 0; i < node->operand_count; i++)
    if (operand(node, i)->type == value->type && reaches_product(operand(node, i), depth - 1)) return true;
  return false;
}

/* where(condition, x, low) is x + where(condition, 0, low) if x + low is low, for a low of -1e30 or less. */
static Value *mask_of_where(Builder *builder, const Node *node, int kept) {
  double low;
  if (kept == 0 || !value_scalar(operand(node, 3 - kept), &low) || low > -1e30) return NULL;
  Dtype dtype = result(node, 0)->type->dtype;
  Value *operands[3] = {operand(node, 0)};
  operands[kept] = build_scalar(builder, dtype, 0);
  operands[3 - kept] = build_scalar(builder, dtype, low);
  return build_op(builder, &op_where, operands, 3);
}

/* What an add or where adds to operand `kept`. */
static bool add_mask(Builder *builder, Scores *s, const Node *node, int kept) {
  Value *mask = node_is(node, &op_add) ? operand(node, !kept) : mask_of_where(builder, node, kept);
  if (!mask) return false;
  if (s->scale != 1)
    mask = build_binary(builder, &op_mul, mask, build_scalar(builder, mask->type->dtype, s->scale));
  s->mask = s->mask ? build_binary(builder, &op_add, mask, s->mask) : mask;
  return true;
}

/* From the softmax up to the product. */
static bool scores_find(Builder *builder, Value *value, Scores *s) {
  *s = (Scores){.scale = 1};
  for (int depth = MAX_CHAIN; reaches_product(value, depth); depth--) {
    Node *node = value->def;
    double factor;
    Value *x = scaled(node, &factor);
    if (is_product(node)) {
      s->product = node;
      return true;
    }
    if (x) {
      s->scale *= factor;
      value = x;
      continue;
    }
    int kept = 0;
    while (operand(node, kept)->type != value->type || !reaches_product(operand(node, kept), depth - 1))
      kept++;
    if (!add_mask(builder, s, node, kept)) return false;
    value = operand(node, kept);
  }
  return false;
}

/* ---- q, k and v ---- */

/* transpose(value, perm) is [batch, heads, positions, channels], or the last three of them. */
typedef struct Side {
  Value *value;
  int64_t perm[AXES];
} Side;

/* Of [b, heads, n, d] that repeats heads, by reshape(broadcast(reshape(x))): x, [b, groups, n, d]. */
static Value *heads_repeated(Builder *builder, const Value *value, int64_t head_axis) {
  const Node *reshape = value->def;
  if (!node_is(reshape, &op_reshape) || !node_is(operand(reshape, 0)->def, &op_broadcast)) return NULL;
  const Type *wide = operand(reshape, 0)->type, *type = value->type;
  Value *few = operand(operand(reshape, 0)->def, 0);
  const Dim *dims[AXES];
  int64_t repeated = head_axis + 1;
  if (type->rank != AXES || wide->rank != AXES + 1 || few->type->rank != AXES + 1) return NULL;
  for (int i = 0; i < wide->rank; i++)
    if (few->type->dims[i] != (i == repeated ? dim_const(builder->graph->module, 1) : wide->dims[i]))
      return NULL;
  for (int i = 0; i < AXES; i++) {
    dims[i] = wide->dims[i > head_axis ? i + 1 : i];
    if (i != head_axis && dims[i] != type->dims[i]) return NULL;
  }
  return build_reshape(builder, few, AXES, dims);
}

/* Behind transposes, factors (into *scale, unless NULL) and repeated heads. */
static void side_peel(Builder *builder, Side *side, double *scale) {
  for (int depth = 0; depth < MAX_CHAIN; depth++) {
    double factor;
    Node *node = side->value->def;
    Value *x = scale ? scaled(node, &factor) : NULL;
    if (node_is(node, &op_transpose)) {
      perm_compose(node_perm(node), side->perm, side->value->type->rank, side->perm);
      side->value = operand(node, 0);
    } else if (x) {
      *scale *= factor;
      side->value = x;
    } else {
      x = heads_repeated(builder, side->value, side->perm[1]);
      if (!x) return;
      side->value = x;
    }
  }
}

/* With a batch of one in front, if there is none. */
static Value *with_batch(Builder *builder, Value *value) {
  const Dim *dims[AXES] = {dim_const(builder->graph->module, 1)};
  if (value->type->rank == AXES) return value;
  for (int i = 1; i < AXES; i++) dims[i] = value->type->dims[i - 1];
  return build_reshape(builder, value, AXES, dims);
}

static void perm_with_batch(int64_t *perm, int rank) {
  if (rank == AXES) return;
  for (int i = AXES - 1; i > 0; i--) perm[i] = perm[i - 1] + 1;
  perm[0] = 0;
}

static Side side_of(Builder *builder, Value *value, bool transposed, double *scale) {
  int rank = value->type->rank;
  Side side = {.value = value};
  for (int i = 0; i < rank; i++) side.perm[i] = i;
  if (transposed) {
    side.perm[rank - 2] = rank - 1;
    side.perm[rank - 1] = rank - 2;
  }
  side_peel(builder, &side, scale);
  side.value = with_batch(builder, side.value);
  perm_with_batch(side.perm, rank);
  return side;
}

/* ---- the rewrite ---- */

static bool head_fits(const Value *value, int from_end) {
  const Dim *size = value->type->dims[value->type->rank - from_end];
  return dim_is_const(size) && size->value > 0 && size->value <= MAX_HEAD;
}

static bool products_fit(const Node *scores, const Node *values) {
  int rank = result(scores, 0)->type->rank;
  if (rank < 3 || rank > AXES || node_int(scores, "packed") || node_int(values, "packed")) return false;
  for (int i = 0; i < 2; i++)
    if (operand(scores, i)->type->rank != rank || operand(values, i)->type->rank != rank) return false;
  return head_fits(operand(scores, 0), 1) && head_fits(operand(scores, 1), 2) &&
         head_fits(operand(values, 1), 1);
}

/* The product with v that uses the softmax and nothing else does. */
static Node *product_of_weights(const Node *softmax) {
  Value *weights = result(softmax, 0);
  if (!value_has_one_use(weights)) return NULL;
  Node *node = weights->uses->node;
  return is_product(node) && operand(node, 0) == weights ? node : NULL;
}

static Value *attention_build(Builder *builder, Scores *s, Value *v, const int64_t *y_perm,
                              const Type *type) {
  static const char *const names[] = {"q_perm", "k_perm", "v_perm"};
  double scale = s->scale;
  const Side sides[] = {side_of(builder, operand(s->product, 0), false, &scale),
                        side_of(builder, operand(s->product, 1), true, &scale),
                        side_of(builder, v, false, NULL)};
  Value *operands[] = {sides[0].value, sides[1].value, sides[2].value, s->mask};
  Node *node = node_new(builder, &op_attention, operands, s->mask ? 4 : 3);
  node_set_float(node, "scale", scale);
  for (int i = 0; i < 3; i++) node_set_ints(node, names[i], sides[i].perm, AXES);
  node_set_ints(node, "y_perm", y_perm, AXES);
  Value *y = node_try(node, NULL);
  if (!y || type->rank == AXES) return y && type_same_shape(y->type, type) ? y : NULL;
  return build_reshape(builder, y, type->rank, type->dims);
}

static bool rewrite(Node *softmax) {
  Node *values = product_of_weights(softmax);
  Scores s;
  int rank = result(softmax, 0)->type->rank;
  int64_t y_perm[AXES] = {0, 1, 2, 3};
  if (!values || node_axis(softmax, "axis", rank) != rank - 1) return false;
  if (result(softmax, 0)->type->dtype != DTYPE_F32) return false;
  Builder builder = builder_before(values);
  if (!scores_find(&builder, operand(softmax, 0), &s) || !products_fit(s.product, values)) return false;
  Node *last = values, *use = value_has_one_use(result(values, 0)) ? result(values, 0)->uses->node : NULL;
  if (node_is(use, &op_transpose)) {
    last = use;
    memcpy(y_perm, node_perm(last), sizeof y_perm[0] * (size_t)rank);
    perm_with_batch(y_perm, rank);
  }
  Value *y = attention_build(&builder, &s, operand(values, 1), y_perm, result(last, 0)->type);
  if (!y) return false;
  node_replace(last, y);
  return true;
}

bool pass_attention(Graph *graph, const PassOptions *options) {
  (void)options;
  bool changed = false;
  FOR_EACH_NODE(node, graph) /* the softmax stays */
  if (node_is(node, &op_softmax) && rewrite_allowed(node))
    changed |= rewrite_done(graph->module, rewrite(node));
  graph_sweep(graph);
  return changed;
}
