/*
 * fuse.c -- every computation becomes a `kernel` node around its fused body.
 *
 * Before: plain ops. After: only constants, views (reshape), kernels and `return` stand in the graph; each
 * kernel has a unique `name` and one of these bodies:
 *   - an anchor (an op with a nest: conv, gemm, pooling, reduction, softmax), the element ops behind it up to
 * one result of the anchor's shape, and, before a reduction or softmax, element ops on what it reads, before
 * a mean of windows what makes floats of bytes;
 *   - element ops alone, up to one result.
 * Every output of the graph is the result of a kernel of its own (directly or through views): what was an
 * input, a constant or another output is copied.
 *
 * Clusters are grown from the last node to the first: a node joins the cluster of its uses when they are all
 * in the same one and computing it there costs no more than here. So a cluster has one exit, and merging
 * never makes a cycle. What costs more:
 *   - work repeated: a result that is broadcast to a larger one is computed before it, not inside, unless it
 * is a mere broadcast; nothing is inlined into ops that move elements (concat, pad, gather, transpose ...);
 *   - access that strides: an op that moves elements joins element ops behind it, never an anchor (but the
 * transpose of an image of few channels), and only if neighbours along the innermost axis stay neighbours
 * (nearest resize of a channels-last map, a slice of channels) or it is the one transpose of the kernel.
 */
#include "passes/rewrite.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_MEMBERS = 48 };

/* A kernel in the making. node->mark is the number of its cluster + 1, negative for what the anchor reads. */
typedef struct Cluster {
  Node *root;   /* the last: its results leave */
  Node *anchor; /* NULL: element ops only */
  int count;
  bool moves;      /* has an op that moves elements */
  bool transposes; /* ... one that strides */
} Cluster;

typedef struct Clusters {
  Cluster *list;
  int count;
} Clusters;

/* ---- which nodes go together ---- */

static bool node_stays_plain(const Node *node) {
  return node->op->traits & TRAIT_STRUCTURE || node_is_view(node) || node->region_count;
}

/* The cluster that all uses of the node are in; NULL when some use is outside or in another. */
static Cluster *cluster_of_uses(Clusters *clusters, const Node *node) {
  int mark = 0;
  if (node->result_count != 1) return NULL;
  FOR_EACH_USE(use, result(node, 0)) {
    int number = abs(use->node->mark);
    if (number == 0 || (mark && number != mark)) return NULL;
    mark = number;
  }
  return mark ? &clusters->list[mark - 1] : NULL;
}

static bool is_element(const Node *node) {
  return node->op->element != NULL;
}

/* Computed once per result element although the cluster has more elements than it. */
static bool would_repeat(const Node *node, const Cluster *cluster) {
  return !node_is(node, &op_broadcast) &&
         value_weight(result(node, 0)) < value_weight(result(cluster->root, 0));
}

/* A run along the innermost axis of the result is a run of operand 0. */
static bool reads_runs(const Node *node) {
  const Value *x = operand(node, 0);
  AxisLink links[MAX_RANK];
  if (x->type->rank == 0) return false;
  op_axes(node, 0, links);
  int count = 0;
  const int64_t *steps = node_is(node, &op_slice) ? node_ints(node, "steps", &count) : NULL;
  AxisLink last = links[x->type->rank - 1];
  bool kept = last.role == AXIS_SAME || (steps && steps[count - 1] == 1);
  return kept && last.axis == result(node, 0)->type->rank - 1;
}

/* Part of what the anchor reads, itself or through others. */
static bool precedes(const Node *node, const Cluster *cluster) {
  FOR_EACH_USE(use, result(node, 0))
  if (use->node == cluster->anchor || use->node->mark < 0) return true;
  return false;
}

static bool uses_are_pointwise(const Node *node) {
  FOR_EACH_USE(use, result(node, 0))
  if (!node_is_pointwise(use->node)) return false;
  return true;
}

/* Row ops read an operand more than once per element; a reduction reads it once. */
static bool is_reduction(const Node *node) {
  return strcmp(node->op->family, "reduce") == 0;
}
static bool is_row_op(const Node *node) {
  return strcmp(node->op->family, "norm") == 0;
}

/* Whether a chain of pointwise nodes hangs on an anchor, whose epilogue it will become. */
static bool ends_anchor(const Node *node, int depth) {
  if (node_is_anchor(node)) return true;
  if (!node_is_pointwise(node) || depth == 0) return false;
  for (int i = 0; i < node->operand_count; i++) {
    const Value *x = operand(node, i);
    if (!x || !x->def || !value_has_one_use(x) || !type_same_shape(x->type, result(node, 0)->type)) continue;
    if (ends_anchor(x->def, depth - 1)) return true;
  }
  return false;
}

/* Makes floats of bytes: what reads it had better read those. */
static bool widens(const Node *node) {
  const Value *x = operand(node, 0);
  return x && dtype_is_byte(x->type->dtype) && dtype_is_float(result(node, 0)->type->dtype);
}

/* A mean of windows of bytes less a zero point, which it adds (codegen/kernels/pool.c). */
static bool adds_bytes(const Node *node) {
  const Node *real = node_is(node, &op_average_pool) ? operand(node, 0)->def : NULL;
  double scale;
  return node_is(real, &op_dequantize) && widens(real) && value_scalar(operand(real, 1), &scale) &&
         scale == 1;
}

/* Pointwise nodes, as long as they are one chain and of the size of operand 0; an anchor before them has the
 * first claim. */
static bool may_precede(const Node *node, const Cluster *cluster) {
  const Node *anchor = cluster->anchor, *user = result(node, 0)->uses->node;
  if (!node_is_pointwise(node) || !value_has_one_use(result(node, 0))) return false;
  if (!widens(node) && ends_anchor(node, MAX_MEMBERS)) return false;
  if (!type_same_shape(result(node, 0)->type, operand(anchor, 0)->type)) return false;
  if (user == anchor && operand(anchor, 0) != result(node, 0)) return false;
  if (user == anchor && adds_bytes(anchor)) return true;
  return is_reduction(anchor) || (is_row_op(anchor) && node->op->traits & TRAIT_CHEAP);
}

/* The few channels of an image are picked from its planes as fast as from pixels (codegen/kernels/panels.c).
 */
static bool may_give_planes(const Node *node, const Cluster *cluster) {
  enum { FEW = 4 };
  const Node *conv = cluster->anchor;
  const Type *type = result(node, 0)->type;
  if (!node_is(node, &op_transpose) || !node_is(conv, &op_conv) || !node_int(conv, "packed")) return false;
  if (result(conv, 0)->type->dtype != DTYPE_F32) return false;
  if (operand(conv, 0) != result(node, 0) || !value_has_one_use(result(node, 0))) return false;
  for (int axis = 1; axis < type->rank; axis++)
    if (!dim_is_const(type->dims[axis])) return false;
  return type->dims[type->rank - 1]->value <= FEW;
}

static bool may_anchor(const Node *node, const Cluster *cluster) {
  if (cluster->anchor || cluster->moves || !node_is_anchor(node)) return false;
  return type_same_shape(result(node, 0)->type, result(cluster->root, 0)->type) && uses_are_pointwise(node);
}

static bool may_move(const Node *node, const Cluster *cluster) {
  bool joins = reads_runs(node) || (node_is(node, &op_transpose) && !cluster->transposes);
  if (cluster->anchor || !joins) return false;
  return uses_are_pointwise(node) && !would_repeat(node, cluster);
}

/* Its result takes fewer bytes than what it is made of: behind another anchor, a good place to end. */
static bool narrows(const Node *node) {
  const Value *x = operand(node, 0);
  return x && dtype_bits(result(node, 0)->type->dtype) < dtype_bits(x->type->dtype);
}

/* A lookup is for vectors of bytes, not for those of what an anchor gives. */
static bool is_looked_up(const Node *node) {
  FOR_EACH_USE(use, result(node, 0))
  if (node_is(use->node, &op_lookup)) return true;
  return false;
}

static bool may_join(const Node *node, const Cluster *cluster) {
  if (cluster->count >= MAX_MEMBERS || cluster->root->result_count != 1) return false;
  if (!is_element(node)) return may_anchor(node, cluster);
  if (precedes(node, cluster)) return may_precede(node, cluster) || may_give_planes(node, cluster);
  if (!node_is_pointwise(node)) return may_move(node, cluster);
  bool ends = narrows(node) && (cluster->anchor || is_looked_up(node));
  if (ends && ends_anchor(node, MAX_MEMBERS)) return false;
  return uses_are_pointwise(node) && !would_repeat(node, cluster);
}

static void cluster_add(Clusters *clusters, Cluster *cluster, Node *node) {
  bool moves = is_element(node) && !node_is_pointwise(node),
       before = cluster->count && precedes(node, cluster);
  if (!is_element(node)) cluster->anchor = node;
  cluster->moves |= moves;
  cluster->transposes |= moves && !reads_runs(node);
  cluster->count++;
  node->mark = (int)(cluster - clusters->list) + 1;
  if (before) node->mark = -node->mark;
}

static Clusters clusters_grow(Graph *graph) {
  Clusters clusters = {NEW_ARRAY(graph->module->arena, Cluster, graph_count_nodes(graph)), 0};
  FOR_EACH_NODE(node, graph) node->mark = 0;
  for (Node *node = graph->last; node; node = node->prev) {
    if (node_stays_plain(node)) continue;
    Cluster *cluster = cluster_of_uses(&clusters, node);
    if (!cluster || !may_join(node, cluster)) {
      cluster = &clusters.list[clusters.count++];
      *cluster = (Cluster){.root = node};
    }
    cluster_add(&clusters, cluster, node);
  }
  return clusters;
}

/* ---- building the kernels ---- */

/* The members of one cluster in execution order, and how outside values map into the region. */
typedef struct Body {
  Module *module;
  Node *members[MAX_MEMBERS];
  Value *copies[MAX_MEMBERS]; /* result 0 of each in the region */
  int count;
  Value **outside, **inside; /* operands of the kernel, and what stands for them in the region */
  int operand_count;
} Body;

static void body_add_operand(Body *body, Value *value) {
  for (int i = 0; i < body->operand_count; i++)
    if (body->outside[i] == value) return;
  body->outside[body->operand_count++] = value;
}

static Body body_collect(Graph *graph, const Cluster *cluster) {
  Body body = {.module = graph->module};
  int mark = cluster->root->mark, operands = 0;
  for (Node *node = cluster->root; node && body.count < cluster->count; node = node->prev)
    if (abs(node->mark) == mark) body.members[body.count++] = node;
  for (int i = 0, j = body.count - 1; i < j; i++, j--) {
    Node *node = body.members[i];
    body.members[i] = body.members[j];
    body.members[j] = node;
  }
  for (int i = 0; i < body.count; i++) operands += body.members[i]->operand_count;
  body.outside = NEW_ARRAY(graph->module->arena, Value *, operands);
  body.inside = NEW_ARRAY(graph->module->arena, Value *, operands);
  for (int i = 0; i < body.count; i++)
    for (int k = 0; k < body.members[i]->operand_count; k++) {
      Value *x = operand(body.members[i], k);
      if (x && !(x->def && abs(x->def->mark) == mark) && !value_is_literal(x)) body_add_operand(&body, x);
    }
  return body;
}

/* What stands for an operand of a member inside the region. */
static Value *body_map(Body *body, Builder *builder, Value *value) {
  if (value_is_literal(value)) return build_const(builder, value->type, value_data(value), NULL);
  for (int i = 0; i < body->operand_count; i++)
    if (body->outside[i] == value) return body->inside[i];
  for (int i = 0; i < body->count; i++)
    if (result(body->members[i], 0) == value) return body->copies[i];
  return NULL;
}

static Node *body_copy(Body *body, Builder *builder, const Node *member) {
  Value **operands = NEW_ARRAY(body->module->arena, Value *, member->operand_count);
  for (int i = 0; i < member->operand_count; i++)
    if (operand(member, i)) operands[i] = body_map(body, builder, operand(member, i));
  builder->origin = member->origin;
  Node *copy = node_like(builder, member, operands);
  return node_finish(copy) ? copy : NULL;
}

/* Fills the region: inputs, copies of the members, return. */
static bool body_build(Body *body, Graph *region) {
  for (int i = 0; i < body->operand_count; i++)
    body->inside[i] = graph_add_input(region, body->outside[i]->name, body->outside[i]->type);
  Builder builder = builder_at_end(region);
  Node *last = NULL;
  for (int i = 0; i < body->count; i++) {
    last = body_copy(body, &builder, body->members[i]);
    if (!last) return false;
    body->copies[i] = result(last, 0);
  }
  return graph_set_outputs(region, last->result_count, last->results, NULL);
}

/* "conv_add_relu_7": the ops in order, as many as stay readable. */
static const char *body_name(const Body *body, int number) {
  enum { READABLE = 32 };
  const char *name = "", *previous = NULL;
  for (int i = 0; i < body->count; i++) {
    const char *op = body->members[i]->op->name;
    if (previous && strcmp(op, previous) == 0) continue;
    if (strlen(name) + strlen(op) > READABLE) break;
    name = arena_printf(body->module->arena, "%s%s_", name, op);
    previous = op;
  }
  return arena_printf(body->module->arena, "%s%d", name, number);
}

/* The model's nodes that the kernel computes: "a + b + c", the first few. */
static const char *body_origin(const Body *body) {
  enum { READABLE = 160 };
  const char *origin = NULL, *previous = NULL;
  for (int i = 0; i < body->count; i++) {
    const char *one = body->members[i]->origin;
    if (!one || (previous && strcmp(one, previous) == 0)) continue;
    if (origin && strlen(origin) + strlen(one) > READABLE)
      return arena_printf(body->module->arena, "%s + ...", origin);
    origin = origin ? arena_printf(body->module->arena, "%s + %s", origin, one) : one;
    previous = one;
  }
  return origin;
}

static bool cluster_build(Graph *graph, const Cluster *cluster, int number) {
  Body body = body_collect(graph, cluster);
  Builder builder = builder_before(cluster->root);
  builder.origin = body_origin(&body);
  const char *name = body_name(&body, number);
  Node *kernel = node_new(&builder, &op_kernel, body.outside, body.operand_count);
  node_set_string(kernel, "name", name);
  TRY(body_build(&body, node_add_region(kernel, name)));
  node_set_result_count(kernel, cluster->root->result_count);
  TRY(node_finish(kernel));
  for (int i = 0; i < cluster->root->result_count; i++) {
    Value *old = result(cluster->root, i);
    const char *old_name = old->name;
    value_replace(old, result(kernel, i));
    old->name = NULL;
    if (old_name) value_set_name(result(kernel, i), old_name);
  }
  for (int i = body.count - 1; i >= 0; i--) node_remove(body.members[i]);
  return true;
}

/* ---- outputs ---- */

/* Whether an earlier output of the graph has the same memory. */
static bool root_is_taken(const Graph *graph, const Value *root, int index) {
  for (int i = 0; i < index; i++)
    if (value_root(graph_output(graph, i)) == root) return true;
  return false;
}

/* Gives every output memory that one kernel writes. */
static bool outputs_separate(Graph *graph) {
  bool changed = false;
  if (graph_is_dynamic(graph)) return false; /* they are copied where it matters */
  for (int i = 0; i < graph->output_count; i++) {
    Value *value = graph_output(graph, i), *root = value_root(value);
    if (root->def && !root->def->data && !root_is_taken(graph, root, i)) continue;
    Builder builder = builder_before(graph->last);
    Value *copy = build_broadcast(&builder, value, value->type->rank, value->type->dims);
    if (!copy) return changed;
    operand_set(graph->last, i, copy);
    changed = true;
  }
  return changed;
}

/* ---- bytes ---- */

static bool takes_bytes(const Node *reader) {
  return node_is_pointwise(reader) || is_reduction(reader) || is_row_op(reader) || adds_bytes(reader);
}

static Value *copy_before(Node *reader, const Node *node) {
  Builder builder = builder_before(reader);
  Value **operands = NEW_ARRAY(builder.graph->module->arena, Value *, node->operand_count);
  for (int i = 0; i < node->operand_count; i++) operands[i] = operand(node, i);
  return node_try(node_like(&builder, node, operands), NULL);
}

/* Bytes that several nodes read as floats become floats in each of them. */
static bool widen_in_readers(Graph *graph) {
  bool changed = false;
  FOR_EACH_NODE(node, graph) {
    Value *y = node_is_pointwise(node) && widens(node) ? result(node, 0) : NULL;
    if (!y || value_has_one_use(y)) continue;
    for (Use *use = y->uses, *next; use; use = next) {
      next = use->next;
      if (!takes_bytes(use->node)) continue;
      Value *copy = copy_before(use->node, node);
      if (!copy) return changed;
      operand_set(use->node, (int)(use - use->node->operands), copy);
      changed = true;
    }
  }
  return changed;
}

bool pass_fuse(Graph *graph, const PassOptions *options) {
  (void)options;
  bool changed = outputs_separate(graph);
  changed |= widen_in_readers(graph);
  graph_sweep(graph);
  Clusters clusters = clusters_grow(graph);
  for (int i = clusters.count - 1; i >= 0; i--) {
    if (!rewrite_allowed(clusters.list[i].root)) continue;
    if (!cluster_build(graph, &clusters.list[i], clusters.count - i)) return true;
    rewrite_done(graph->module, true);
  }
  graph_sweep(graph); /* constants that went inside */
  return changed || clusters.count > 0;
}
