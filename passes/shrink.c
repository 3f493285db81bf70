/*
 * shrink.c -- takes units out of a graph: cuts constants, adapts attributes by their roles, infers anew.
 *
 * IR before: the graph of the ties or an unchanged copy. IR after: the same nodes on smaller values. Keeps
 * everything but sizes. Attributes come first, while types are still those that axis maps speak of; then
 * types follow node by node.
 */
#include "passes/ties.h"

#include <string.h>

/* What is left of an IndexSet. */
typedef struct Cut {
  int size;        /* indices left */
  const int *kept; /* [size]: their old numbers; NULL: all are left */
} Cut;

/* A constant that was cut, for others of the same bytes. */
typedef struct CutData {
  const Data *from, *to;
  const Type *type;
  const Cut *cuts[MAX_RANK];
} CutData;

typedef struct Shrink {
  const Ties *ties;
  Graph *graph;
  AxisNumbers numbers;
  const Cut *cuts; /* [ties->set_count] */
  CutData *data;
  int data_count;
} Shrink;

/* ---- what is left of axes ---- */

static Cut make_cut(const IndexSet *set, const bool *removed, Arena *arena) {
  Cut cut = {.size = set->size};
  for (int i = 0; i < set->size && !set->cause; i++) cut.size -= set->units[i] >= 0 && removed[set->units[i]];
  if (cut.size == set->size) return cut;
  int *kept = NEW_ARRAY(arena, int, cut.size), count = 0;
  for (int i = 0; i < set->size; i++)
    if (set->units[i] < 0 || !removed[set->units[i]]) kept[count++] = i;
  cut.kept = kept;
  return cut;
}

static const Cut *make_cuts(const Ties *ties, const bool *removed, Arena *arena) {
  Cut *cuts = NEW_ARRAY(arena, Cut, ties->set_count);
  for (int i = 0; i < ties->set_count; i++) cuts[i] = make_cut(&ties->sets[i], removed, arena);
  return cuts;
}

/* NULL: the axis stays whole. */
static const Cut *cut_of(const Shrink *s, int axis) {
  const Cut *cut = &s->cuts[s->ties->set_of[axis]];
  return cut->kept ? cut : NULL;
}

/* The cuts of a value's axes; false: it stays whole. */
static bool cuts_of(const Shrink *s, const Value *value, const Cut *cuts[MAX_RANK]) {
  bool any = false;
  int first = axes_first(&s->numbers, value);
  for (int i = 0; type_is_tensor(value->type) && i < value->type->rank; i++) {
    cuts[i] = cut_of(s, first + i);
    any |= cuts[i] != NULL;
  }
  return any;
}

/* How many of the first `count` indices are left. */
static int64_t left_of(const Cut *cut, int64_t count) {
  if (!cut) return count;
  int left = 0;
  while (left < cut->size && cut->kept[left] < count) left++;
  return left;
}

static int64_t size_left(const Value *value, int axis, const Cut *cut) {
  return cut ? cut->size : value->type->dims[axis]->value;
}

/* Before anything is changed. */
static bool check_axes_left(const Shrink *s, const Value *value) {
  const Cut *cuts[MAX_RANK];
  if (!cuts_of(s, value, cuts)) return true;
  for (int i = 0; i < value->type->rank; i++) {
    if (!cuts[i] || cuts[i]->size > 0) continue;
    return node_fail(value->def, "nothing would be left of the %s indices of axis %d",
                     dim_text(s->graph->module, value->type->dims[i]), i);
  }
  return true;
}

/* ---- attributes ---- */

/* The `start` that a link has between what is left of both axes. */
static int64_t start_left(int64_t start, const Cut *from, const Cut *to) {
  return start < 0 ? -left_of(from, -start) : left_of(to, start);
}

static void shrink_list(const Shrink *s, Node *node, const AttrSpec *spec, const AxisLink *links) {
  const Cut *from[MAX_RANK] = {NULL}, *to[MAX_RANK] = {NULL};
  const Dim *entries[2 * MAX_RANK];
  int count, rank = result(node, 0)->type->rank;
  const Dim *const *old = node_dims(node, spec->name, &count);
  if (count != rank * role_entries(spec->role)) return;
  cuts_of(s, operand(node, 0), from);
  cuts_of(s, result(node, 0), to);
  memcpy(entries, old, sizeof *entries * (size_t)count);
  for (int i = 0; i < rank; i++) {
    Module *module = s->graph->module;
    int64_t start = links[i].start;
    if (!from[i] && !to[i]) continue;
    if (spec->role == ROLE_SIZES) {
      if (to[i] && !dim_is(old[i], -1)) entries[i] = dim_const(module, to[i]->size);
    } else if (spec->role == ROLE_STARTS) {
      entries[i] = dim_const(module, -start_left(start, from[i], to[i]));
    } else if (links[i].role == AXIS_SHIFT) {
      int64_t before = start_left(start, from[i], to[i]);
      int64_t size = size_left(operand(node, 0), i, from[i]), whole = size_left(result(node, 0), i, to[i]);
      entries[i] = dim_const(module, before);
      entries[i + rank] = dim_const(module, whole - before - size);
    }
  }
  node_set_dims(node, spec->name, entries, count);
}

static void shrink_attrs(const Shrink *s, Node *node) {
  AxisLink links[MAX_RANK];
  op_axes(node, 0, links);
  for (int i = 0; i < node->op->attr_count; i++) {
    const AttrSpec *spec = &node->op->attrs[i];
    if (spec->role == ROLE_BLOCKS) {
      const Cut *blocks = cut_of(s, node_block_axis(&s->numbers, node));
      if (blocks) node_set_int(node, spec->name, blocks->size);
    } else if (spec->role == ROLE_SIZES || spec->role == ROLE_STARTS || spec->role == ROLE_PADS) {
      shrink_list(s, node, spec, links);
    }
  }
}

/* ---- constants ---- */

/* Copies what is left of the elements of a constant, [dims], from its element `at` on. */
typedef struct Copy {
  const Data *from;
  Data *to;
  const Cut *const *cuts;
  int last; /* axis that is cut: behind it, elements are copied in one piece */
  int64_t dims[MAX_RANK], strides[MAX_RANK], written;
} Copy;

static void copy_piece(Copy *copy, int64_t at, int64_t count) {
  Dtype dtype = copy->from->dtype;
  size_t bytes = (size_t)dtype_bits(dtype) / 8;
  if (bytes > 0)
    memcpy((char *)data_bytes(copy->to) + (size_t)copy->written * bytes,
           (const char *)copy->from->bytes + (size_t)at * bytes, (size_t)count * bytes);
  for (int64_t i = 0; bytes == 0 && i < count; i++)
    dtype_copy(dtype, data_bytes(copy->to), copy->written + i, copy->from->bytes, at + i);
  copy->written += count;
}

/* The first of the indices from i on behind which no neighbour follows. */
static int end_of_run(const Cut *cut, int i) {
  while (i + 1 < cut->size && cut->kept[i + 1] == cut->kept[i] + 1) i++;
  return i;
}

static void copy_left(Copy *copy, int axis, int64_t at) {
  const Cut *cut = copy->cuts[axis];
  int64_t stride = copy->strides[axis];
  for (int64_t i = 0; axis < copy->last && i < (cut ? cut->size : copy->dims[axis]); i++)
    copy_left(copy, axis + 1, at + (cut ? cut->kept[i] : i) * stride);
  for (int i = 0, end; axis == copy->last && i < cut->size; i = end + 1) {
    end = end_of_run(cut, i);
    copy_piece(copy, at + cut->kept[i] * stride, (end - i + 1) * stride);
  }
}

static const Data *cut_data(const Shrink *s, const Data *from, const Type *type, const Cut *const *cuts,
                            int64_t count) {
  Copy copy = {.from = from, .cuts = cuts};
  int64_t stride = 1;
  if (from->splat) return data_spread(s->graph->module, from, 0, count);
  copy.to = data_new(s->graph->module, from->dtype, count);
  if (!copy.to) return NULL;
  for (int i = type->rank - 1; i >= 0; i--) {
    copy.dims[i] = type->dims[i]->value;
    copy.strides[i] = stride;
    stride *= copy.dims[i];
    if (cuts[i] && copy.last < i) copy.last = i;
  }
  copy_left(&copy, 0, 0);
  return copy.to;
}

/* Constants of the same bytes share what is left of them. */
static const Data *shared_cut(Shrink *s, const Data *from, const Type *type, const Cut *const *cuts,
                              int64_t count) {
  size_t size = sizeof *cuts * (size_t)type->rank;
  for (int i = 0; i < s->data_count; i++)
    if (s->data[i].from == from && s->data[i].type == type && memcmp(s->data[i].cuts, cuts, size) == 0)
      return s->data[i].to;
  CutData *row = &s->data[s->data_count++];
  *row = (CutData){.from = from, .type = type, .to = cut_data(s, from, type, cuts, count)};
  memcpy(row->cuts, cuts, size);
  return row->to;
}

static bool shrink_const(Shrink *s, Node *node) {
  const Cut *cuts[MAX_RANK] = {NULL};
  const Dim *dims[MAX_RANK];
  const Value *value = result(node, 0);
  const Type *old = value->type;
  if (!cuts_of(s, value, cuts)) return true;
  for (int i = 0; i < old->rank; i++)
    dims[i] = cuts[i] ? dim_const(s->graph->module, cuts[i]->size) : old->dims[i];
  const Type *type = type_make(s->graph->module, old->dtype, old->rank, dims);
  node->data = shared_cut(s, node->data, old, cuts, type_static_count(type));
  if (!node->data) return false;
  result_set(node, 0, type);
  return node_reinfer(node);
}

/* ---- the graph ---- */

static bool is_touched(const Shrink *s, const Node *node) {
  const Cut *cuts[MAX_RANK];
  for (int i = 0; i < node->operand_count; i++)
    if (operand(node, i) && cuts_of(s, operand(node, i), cuts)) return true;
  for (int i = 0; i < node->result_count; i++)
    if (cuts_of(s, result(node, i), cuts)) return true;
  return false;
}

/* The sizes that inference found are those that are left. */
static bool check_result(const Shrink *s, const Node *node, int index, const Type *old) {
  const Cut *cuts[MAX_RANK] = {NULL};
  const Type *type = result(node, index)->type;
  cuts_of(s, result(node, index), cuts);
  bool fits = type->rank == old->rank;
  for (int i = 0; fits && type_is_tensor(type) && i < type->rank; i++)
    fits = cuts[i] ? dim_is(type->dims[i], cuts[i]->size) : type->dims[i] == old->dims[i];
  if (fits) return true;
  return node_fail(node, "result %d was %s; with indices removed it is %s, which is not what they leave",
                   index, type_text(s->graph->module, old), type_text(s->graph->module, type));
}

static bool shrink_node(const Shrink *s, Node *node) {
  if (!is_touched(s, node)) return true;
  const Type **old = NEW_ARRAY(s->graph->module->arena, const Type *, node->result_count);
  for (int i = 0; i < node->result_count; i++) old[i] = result(node, i)->type;
  TRY(node_reinfer(node));
  for (int i = 0; i < node->result_count; i++) TRY(check_result(s, node, i, old[i]));
  return true;
}

bool ties_remove(const Ties *ties, Graph *graph, const bool *removed) {
  Arena *arena = graph->module->arena;
  Shrink s = {.ties = ties, .graph = graph, .numbers = axes_number(graph)};
  s.cuts = make_cuts(ties, removed, arena);
  s.data = NEW_ARRAY(arena, CutData, graph_count_nodes(graph));
  FOR_EACH_NODE(node, graph)
  for (int i = 0; i < node->result_count; i++) TRY(check_axes_left(&s, result(node, i)));
  FOR_EACH_NODE(node, graph)
  if (!node_is(node, &op_const) && is_touched(&s, node)) shrink_attrs(&s, node);
  FOR_EACH_NODE(node, graph)
  TRY(node_is(node, &op_const) ? shrink_const(&s, node) : shrink_node(&s, node));
  return true;
}
