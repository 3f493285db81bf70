/*
 * place.c -- where values lie that have no memory of their own.
 *
 * A kernel with schedule="in_place" is one concat or one slice, and has no code. The operands of such a
 * concat are computed where its result has them; the result of such a slice is read where its operand has it;
 * a reshape is another shape of the same memory. All are expressed by an offset and strides into a root:
 *
 *   operand k of a concat: the strides of the result, offset by what stands before it along the axis
 *   a slice:               the strides of the operand times the steps, offset by starts * strides
 *
 * A value can lie in one place only, but the places of several concats may agree: where each layer
 * concatenates all layers before it, the last concat holds everything and the earlier ones are its first
 * columns. So concats are looked at from the last to the first: one whose operands lie side by side already
 * lies where they do. Slices follow from the first to the last, when all that they read is placed.
 *
 * A concat of a state and what is new that makes the next state appends to it: all three lie in the state's
 * room (ir/states.c), with its strides, and nothing that is there already moves.
 */
#include "ir/intern.h"

#include <assert.h>

struct Places {
  Module *module;
  Table table; /* Value -> its ValuePlace, of results that lie in others */
};

/* ---- kernels in place ---- */

bool kernel_is_in_place(const Node *node) {
  return node_is(node, &op_kernel) && node_string_is(node, "schedule", "in_place");
}

/* The only op of the kernel, when it is the given one. */
static const Node *only_op(const Node *kernel, const Op *op) {
  const Node *node =
      node_is(kernel, &op_kernel) && kernel->region_count == 1 ? kernel->regions[0]->first : NULL;
  return node_is(node, op) && node_is(node->next, &op_return) && kernel->result_count == 1 ? node : NULL;
}

/* What operand `index` of the region's op is outside. */
static Value *outer_operand(const Node *kernel, const Node *op, int index) {
  return operand(kernel, operand(op, index)->index);
}

static bool is_view(const Node *node) {
  return node && node->op->traits & TRAIT_VIEW;
}

static const Value *root_of(const Value *value) {
  while (is_view(value->def)) value = operand(value->def, 0);
  return value;
}

static bool reaches_output(const Value *value) {
  FOR_EACH_USE(use, value) {
    if (node_is(use->node, &op_return)) return true;
    if (is_view(use->node) && reaches_output(result(use->node, 0))) return true;
  }
  return false;
}

/* ---- strides ---- */

static const Dim *const *row_major(Module *module, const Type *type) {
  const Dim **strides = NEW_ARRAY(module->arena, const Dim *, type->rank), *stride = dim_const(module, 1);
  for (int i = type->rank - 1; i >= 0; i--) {
    strides[i] = stride;
    stride = dim_mul(module, type->dims[i], stride);
  }
  return strides;
}

/* NULL when they are row-major; those of axes of size 1 do not matter. */
static const Dim *const *strides_normal(Module *module, const Type *type, const Dim *const *strides) {
  const Dim *const *packed = row_major(module, type);
  for (int i = 0; i < type->rank; i++)
    if (strides[i] != packed[i] && !dim_is(type->dims[i], 1)) return strides;
  return NULL;
}

/* The axes [begin, end) of a shape whose product is that of some axes of another. */
typedef struct Group {
  int begin, end;
  const Dim *size;
} Group;

static bool group_extend(Module *module, const Type *type, Group *group) {
  if (group->begin == 0) return false;
  group->size = dim_mul(module, type->dims[--group->begin], group->size);
  return true;
}

/* The factor that is missing is in the smaller one, or in the shorter expression. */
static bool is_smaller(const Dim *a, const Dim *b) {
  if (dim_is_const(a) && dim_is_const(b)) return a->value < b->value;
  return dim_is_const(a) || (!dim_is_const(b) && a->size <= b->size);
}

static bool groups_match(Module *module, const Type *from, Group *a, const Type *to, Group *b) {
  while (a->size != b->size)
    if (is_smaller(a->size, b->size) ? !group_extend(module, from, a) : !group_extend(module, to, b))
      return false;
  return true;
}

/* Steps through the group in one stride: that of its last axis. */
static bool group_is_one_run(Module *module, const Type *type, const Dim *const *strides, const Group *group,
                             const Dim **stride) {
  const Dim *next = NULL;
  for (int i = group->end - 1; i >= group->begin; i--) {
    if (dim_is(type->dims[i], 1)) continue;
    if (next ? strides[i] != next : (*stride = strides[i], false)) return false;
    next = dim_mul(module, type->dims[i], strides[i]);
  }
  return true;
}

/* The same memory under another shape: axes are grouped from the right, so that each group has as many
 * elements in both; inside a group elements must be evenly spaced. */
static bool strides_reshape(Module *module, const Type *from, const Dim *const *strides, const Type *to,
                            const Dim **made) {
  const Dim *one = dim_const(module, 1);
  Group a = {from->rank, from->rank, one}, b = {to->rank, to->rank, one};
  while (a.begin > 0 || b.begin > 0) {
    a = (Group){a.begin, a.begin, one};
    b = (Group){b.begin, b.begin, one};
    if (!group_extend(module, from, &a)) a.size = one;
    if (!group_extend(module, to, &b)) b.size = one;
    const Dim *stride = one;
    TRY(groups_match(module, from, &a, to, &b) && group_is_one_run(module, from, strides, &a, &stride));
    for (int i = b.end - 1; i >= b.begin; i--) {
      made[i] = stride;
      stride = dim_mul(module, to->dims[i], stride);
    }
  }
  return true;
}

/* ---- places ---- */

/* What kernels are promised of every operand and result: the last axis is a run, and runs of constant size
 * are a constant number of elements apart. */
static bool strides_are_simple(const Type *type, const Dim *const *strides) {
  int last = type->rank - 1;
  if (last >= 0 && !dim_is(strides[last], 1) && !dim_is(type->dims[last], 1)) return false;
  return last < 1 || !dim_is_const(type->dims[last]) || dim_is_const(strides[last - 1]);
}

static bool place_view(Module *module, const ValuePlace *from, const Type *old, const Type *type,
                       ValuePlace *place) {
  *place = (ValuePlace){from->root, from->offset, NULL};
  if (!from->strides) return true;
  const Dim **strides = NEW_ARRAY(module->arena, const Dim *, type->rank);
  TRY(strides_reshape(module, old, from->strides, type, strides));
  place->strides = strides_normal(module, type, strides);
  return !place->strides || strides_are_simple(type, strides);
}

/* Every reshape of a value that lies at `place` has strides of its own. */
static bool views_fit(Module *module, const Value *value, const ValuePlace *place) {
  FOR_EACH_USE(use, value) {
    ValuePlace view;
    if (!is_view(use->node)) continue;
    const Value *shape = result(use->node, 0);
    TRY(place_view(module, place, value->type, shape->type, &view) && views_fit(module, shape, &view));
  }
  return true;
}

static ValuePlace *placed(const Places *places, const Value *value) {
  return map_get(&places->table, value);
}

ValuePlace value_place(const Places *places, const Value *value) {
  ValuePlace place, *own = placed(places, value);
  if (own) return *own;
  if (!is_view(value->def)) return (ValuePlace){value, dim_const(places->module, 0), NULL};
  const Value *x = operand(value->def, 0);
  ValuePlace from = value_place(places, x);
  bool ok = place_view(places->module, &from, x->type, value->type, &place);
  assert(ok && "views were checked when the value was placed");
  (void)ok;
  return place;
}

static bool same_place(const Type *type, const ValuePlace *a, const ValuePlace *b) {
  if (a->root != b->root || a->offset != b->offset || !a->strides != !b->strides) return false;
  for (int i = 0; i < type->rank && a->strides; i++)
    if (a->strides[i] != b->strides[i] && !dim_is(type->dims[i], 1)) return false;
  return true;
}

/* A result that a kernel can write anywhere: not what the caller gives or wants, no constant. */
static bool is_movable(const Value *value) {
  return value->def && !value->def->data && !reaches_output(value);
}

/* Where the result behind `value`, which is that or a reshape of it, must lie to have `value` at `place`. */
static bool find_own_place(Module *module, const Value *value, const ValuePlace *place, ValuePlace *own) {
  const Value *root = root_of(value);
  return is_movable(root) && place_view(module, place, value->type, root->type, own) &&
         views_fit(module, root, own);
}

/* Sizes whose expression grew too large are not those of a place, and no error. */
static bool take_back_errors(Module *module, Diag *last) {
  bool none = module->last_diag == last;
  if (!none) diags_take_back(module, last);
  return none;
}

/* Places of the operands of a concat. */
typedef struct Parts {
  const Node *kernel, *concat;
  int axis;
  const Dim **begins; /* along the axis */
  ValuePlace whole;
  const Dim *const *strides; /* of the whole, never NULL */
} Parts;

static ValuePlace part_place(Module *module, const Parts *parts, int index) {
  const Dim *way = dim_mul(module, parts->begins[index], parts->strides[parts->axis]);
  ValuePlace place = parts->whole;
  place.offset = dim_add(module, place.offset, way);
  place.strides = strides_normal(module, operand(parts->concat, index)->type, parts->strides);
  return place;
}

/* Whether all operands lie somewhere already, one behind the other; *whole is then what they make up. */
static bool operands_are_joined(const Places *places, Parts *parts) {
  Diag *last = places->module->last_diag;
  const Value *first = outer_operand(parts->kernel, parts->concat, 0), *whole = result(parts->kernel, 0);
  if (!placed(places, root_of(first)) || reaches_output(whole)) return false;
  parts->whole = value_place(places, first);
  parts->strides = parts->whole.strides ? parts->whole.strides : row_major(places->module, first->type);
  parts->whole.strides = strides_normal(places->module, whole->type, parts->strides);
  if (!strides_are_simple(whole->type, parts->strides)) return false;
  for (int i = 1; i < parts->concat->operand_count; i++) {
    const Value *value = outer_operand(parts->kernel, parts->concat, i);
    ValuePlace wanted = part_place(places->module, parts, i), is = value_place(places, value);
    if (!same_place(value->type, &wanted, &is)) return false;
  }
  bool fit = views_fit(places->module, whole, &parts->whole);
  return take_back_errors(places->module, last) && fit;
}

static bool returned_only_as(const Value *value, int output) {
  FOR_EACH_USE(use, value) {
    if (node_is(use->node, &op_return) && use - use->node->operands != output) return false;
    if (is_view(use->node) && reaches_output(result(use->node, 0))) return false;
  }
  return true;
}

/* Whether the concat appends to a state; *place is then that of both the state and the next one. */
static bool find_state(const Places *places, const Node *kernel, const Node *concat, ValuePlace *place) {
  Module *module = places->module;
  Diag *last = module->last_diag;
  const Graph *graph = kernel->graph;
  const Value *whole = result(kernel, 0), *state = outer_operand(kernel, concat, 0);
  int index = value_state(state);
  if (index < 0 || graph_next_state(graph, index) != whole) return false;
  const Dim *const *strides = row_major(module, graph->rooms[index]);
  *place = (ValuePlace){state, dim_const(module, 0), strides_normal(module, whole->type, strides)};
  bool fits = returned_only_as(whole, graph->output_count - graph->state_count + index) &&
              !reaches_output(state) && strides_are_simple(whole->type, strides) &&
              views_fit(module, whole, place) && views_fit(module, state, place);
  return take_back_errors(module, last) && fits;
}

static Parts find_parts(const Places *places, const Node *kernel, const Node *concat) {
  Module *module = places->module;
  const Value *whole = result(kernel, 0);
  Parts parts = {.kernel = kernel, .concat = concat};
  parts.axis = (int)node_axis(concat, "axis", whole->type->rank);
  parts.begins = NEW_ARRAY(module->arena, const Dim *, concat->operand_count);
  parts.begins[0] = dim_const(module, 0);
  for (int i = 1; i < concat->operand_count; i++)
    parts.begins[i] = dim_add(module, parts.begins[i - 1], operand(concat, i - 1)->type->dims[parts.axis]);
  if (!placed(places, whole) && operands_are_joined(places, &parts)) return parts;
  if (!find_state(places, kernel, concat, &parts.whole)) parts.whole = value_place(places, whole);
  parts.strides = parts.whole.strides ? parts.whole.strides : row_major(module, whole->type);
  return parts;
}

static bool operand_fits(const Places *places, const Parts *parts, int index) {
  Module *module = places->module;
  Diag *last = module->last_diag;
  const Value *value = outer_operand(parts->kernel, parts->concat, index), *root = root_of(value);
  if (value == parts->whole.root) return true; /* the state that this appends to */
  ValuePlace wanted = part_place(module, parts, index), own;
  bool fits = dtype_bits(value->type->dtype) % 8 == 0;
  if (placed(places, root)) {
    ValuePlace is = value_place(places, value);
    fits = fits && same_place(value->type, &wanted, &is);
  } else {
    fits = fits && find_own_place(module, value, &wanted, &own);
  }
  return take_back_errors(module, last) && fits;
}

/* fits[i]: operand i can lie in the result; of operands that share memory only the first. */
static bool all_operands_fit(const Places *places, const Parts *parts, bool *fits) {
  Table roots = {0};
  bool all = true;
  for (int i = 0; i < parts->concat->operand_count; i++) {
    const Value *root = root_of(outer_operand(parts->kernel, parts->concat, i));
    bool seen = map_get(&roots, root) != NULL;
    fits[i] = !seen && operand_fits(places, parts, i);
    all &= fits[i];
    if (!seen) map_set(places->module->arena, &roots, root, (void *)root);
  }
  return all;
}

const bool *places_fit(const Places *places, const Node *kernel) {
  const Node *concat = only_op(kernel, &op_concat);
  if (!concat) return NULL;
  Parts parts = find_parts(places, kernel, concat);
  bool *fits = NEW_ARRAY(places->module->arena, bool, concat->operand_count);
  all_operands_fit(places, &parts, fits);
  return fits;
}

static void set_place(Places *places, const Value *value, ValuePlace place) {
  Arena *arena = places->module->arena;
  map_set(arena, &places->table, value, arena_copy(arena, &place, sizeof place));
}

static bool join_concat(Places *places, const Node *kernel, const Node *concat) {
  Module *module = places->module;
  Parts parts = find_parts(places, kernel, concat);
  if (!all_operands_fit(places, &parts, NEW_ARRAY(module->arena, bool, concat->operand_count))) return false;
  const Value *whole = result(kernel, 0);
  if (parts.whole.root != whole && !placed(places, whole)) set_place(places, whole, parts.whole);
  for (int i = 0; i < concat->operand_count; i++) {
    const Value *value = outer_operand(kernel, concat, i), *root = root_of(value);
    ValuePlace wanted = part_place(module, &parts, i), own;
    if (placed(places, root)) continue;
    if (value == parts.whole.root)
      own = wanted;
    else
      find_own_place(module, value, &wanted, &own);
    set_place(places, root, own);
  }
  return true;
}

static bool join_slice(Places *places, const Node *kernel, const Node *slice) {
  Module *module = places->module;
  Diag *last = module->last_diag;
  const Value *x = outer_operand(kernel, slice, 0), *y = result(kernel, 0);
  int rank = y->type->rank, count, step_count;
  const Dim *const *starts = node_dims(slice, "starts", &count), **strides;
  const int64_t *steps = node_ints(slice, "steps", &step_count);
  if (placed(places, y) || !is_movable(y) || value_data(root_of(x)) || rank == 0) return false;
  if (dtype_bits(y->type->dtype) % 8 != 0) return false;
  ValuePlace place = value_place(places, x);
  const Dim *const *old = place.strides ? place.strides : row_major(module, x->type);
  strides = NEW_ARRAY(module->arena, const Dim *, rank);
  for (int i = 0; i < rank; i++) {
    int64_t step = step_count ? steps[i] : 1;
    if (step < 1 || (i == rank - 1 && step != 1)) return false;
    strides[i] = dim_mul(module, old[i], dim_const(module, step));
    place.offset = dim_add(module, place.offset, dim_mul(module, starts[i], old[i]));
  }
  place.strides = strides_normal(module, y->type, strides);
  bool fit = views_fit(module, y, &place);
  if (!take_back_errors(module, last) || !fit) return false;
  set_place(places, y, place);
  return true;
}

bool places_join(Places *places, const Node *kernel) {
  const Node *concat = only_op(kernel, &op_concat), *slice = only_op(kernel, &op_slice);
  if (concat) return join_concat(places, kernel, concat);
  return slice && join_slice(places, kernel, slice);
}

Places *places_new(Module *module) {
  Places *places = NEW(module->arena, Places);
  places->module = module;
  return places;
}

static bool join_marked(Places *places, const Node *node, const Op *op) {
  if (!kernel_is_in_place(node) || (only_op(node, &op_concat) != NULL) != (op == &op_concat)) return true;
  return places_join(places, node) ||
         node_fail(node, "schedule 'in_place' does not fit: %s",
                   op == &op_concat ? "an operand has to lie elsewhere, too, or cannot be moved"
                                    : "it is no slice whose result can lie in its operand");
}

const Places *places_find(const Graph *graph) {
  Places *places = places_new(graph->module);
  bool ok = true;
  for (const Node *node = graph->last; node; node = node->prev) ok &= join_marked(places, node, &op_concat);
  FOR_EACH_NODE(node, graph) ok &= join_marked(places, node, &op_slice);
  return ok ? places : NULL;
}
