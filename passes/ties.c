/*
 * ties.c -- which indices can only be removed together. See ties.h.
 *
 * IR before and after: any; nothing is changed. Most work is done on whole axes: those that are tied index
 * for index are one class (union-find), and a class that stays needs no atoms. What is left are two kinds of
 * relations between classes: shifts (concat, slice, pad), and mixes, where an axis is the row-major product
 * of others. Shifts unite atoms one by one. A mix is decided when all its factors but one stay, as then its
 * indices go along that one; if there is none of this kind, the first in the graph is decided by choice,
 * which makes others follow.
 */
#include "passes/ties.h"

#include <stdlib.h>
#include <string.h>

enum {
  MAX_SIZE = 1 << 20,  /* longer axes stay, */
  MAX_ATOMS = 1 << 24, /* and what would need more atoms than this */
  ENOUGH_UNITS = 4     /* of an axis, to remove along it although a finer one could be chosen */
};

static const char of_it[] = "has it", windows[] = "reads windows of it", all_of_it[] = "needs all of it",
                  unknown[] = "does not work index by index on it",
                  other_way[] = "makes one axis of it and another one, whose indices may go instead",
                  together[] = "its indices can only go all at once", no_number[] = "its size is no number",
                  one_index[] = "it has no two indices", too_long[] = "it is too long";

/* whole[i] is factors[..] at the digits of i, row-major. */
typedef struct Mix {
  const Node *node;
  int whole, count, factors[MAX_RANK];
  bool done;
} Mix;

/* Index i of `from` is i + start of `to`, where there is one. */
typedef struct Shift {
  int from, to;
  int64_t start;
} Shift;

/* A class of axes is the one that is its own parent; the rest is said of it. */
typedef struct Axis {
  int parent;
  int64_t size; /* -1: no number */
  int cause;    /* why no index of it can be removed; 0: some may */
  int first;    /* its atoms, when they are made */
  int set;      /* its number among those of values and blocks; -1 none yet */
} Axis;

typedef struct Atom {
  int parent;
  int cause; /* of the root */
  int unit;  /* of the root: -1 not numbered yet */
} Atom;

typedef struct Finder {
  Arena *arena;
  AxisNumbers numbers;
  Axis *axes;
  Atom *atoms;
  Mix *mixes;
  Shift *shifts;
  TieCause *causes;
  int axis_count, atom_count, mix_count, shift_count, cause_count, cause_max;
} Finder;

/* ---- the axes of a graph ---- */

static int rank_of(const Value *value) {
  return type_is_tensor(value->type) ? value->type->rank : 0;
}

static const AttrSpec *blocks_spec(const Op *op) {
  for (int i = 0; i < op->attr_count; i++)
    if (op->attrs[i].role == ROLE_BLOCKS) return &op->attrs[i];
  return NULL;
}

static void number_value(AxisNumbers *numbers, const Value *value) {
  numbers->values[numbers->value_count++] =
      (struct NumberedValue){.value = value, .first = numbers->axis_count};
  numbers->axis_count += rank_of(value);
}

static int by_address(const void *a, const void *b) {
  uintptr_t x = (uintptr_t)((const struct NumberedValue *)a)->value,
            y = (uintptr_t)((const struct NumberedValue *)b)->value;
  return (x > y) - (x < y);
}

AxisNumbers axes_number(const Graph *graph) {
  AxisNumbers numbers = {0};
  int count = graph->input_count;
  FOR_EACH_NODE(node, graph) count += node->result_count;
  numbers.values = NEW_ARRAY(graph->module->arena, struct NumberedValue, count);
  for (int i = 0; i < graph->input_count; i++) number_value(&numbers, graph->inputs[i]);
  FOR_EACH_NODE(node, graph) {
    for (int i = 0; i < node->result_count; i++) number_value(&numbers, result(node, i));
    numbers.axis_count += blocks_spec(node->op) != NULL;
  }
  qsort(numbers.values, (size_t)count, sizeof *numbers.values, by_address);
  return numbers;
}

int axes_first(const AxisNumbers *numbers, const Value *value) {
  struct NumberedValue key = {.value = value}, *found;
  found = bsearch(&key, numbers->values, (size_t)numbers->value_count, sizeof key, by_address);
  return found->first;
}

int node_block_axis(const AxisNumbers *numbers, const Node *node) {
  if (!blocks_spec(node->op)) return -1;
  const Value *last = result(node, node->result_count - 1);
  return axes_first(numbers, last) + rank_of(last);
}

/* ---- classes of axes ---- */

static int add_cause(Finder *f, const char *kind, const char *name, const char *text) {
  if (f->cause_count == f->cause_max) {
    TieCause *more = NEW_ARRAY(f->arena, TieCause, f->cause_max = 2 * f->cause_max + 16);
    if (f->causes) memcpy(more, f->causes, sizeof *more * (size_t)f->cause_count);
    f->causes = more;
    if (f->cause_count == 0) f->cause_count = 1; /* 0 is none */
  }
  f->causes[f->cause_count] = (TieCause){.kind = kind, .name = name, .text = text};
  return f->cause_count++;
}

static int node_cause(Finder *f, const Node *node, const char *text) {
  const char *name = node->origin;
  if (!name && node->result_count > 0) name = result(node, 0)->name;
  return add_cause(f, node->op->name, name, text);
}

static int class_of(const Finder *f, int axis) {
  while (f->axes[axis].parent != axis) axis = f->axes[axis].parent = f->axes[f->axes[axis].parent].parent;
  return axis;
}

static Axis *class_at(const Finder *f, int axis) {
  return &f->axes[class_of(f, axis)];
}

/* Only the first cause is kept. */
static void keep(Finder *f, int axis, const Node *node, const char *text) {
  Axis *class = class_at(f, axis);
  if (!class->cause) class->cause = node_cause(f, node, text);
}

/* A new axis, or one that is there from the beginning. */
static void set_axis(Finder *f, int axis, int64_t size) {
  const char *text = size < 0 ? no_number : size < 2 ? one_index : size > MAX_SIZE ? too_long : NULL;
  f->axes[axis] = (Axis){.parent = axis, .size = size, .set = -1};
  if (text) f->axes[axis].cause = add_cause(f, NULL, NULL, text);
}

static int add_axis(Finder *f, int64_t size) {
  set_axis(f, f->axis_count, size);
  return f->axis_count++;
}

static void join(Finder *f, const Node *node, int a, int b) {
  Axis *first = class_at(f, a), *second = class_at(f, b);
  if (first == second) return;
  if (first->size != second->size) {
    keep(f, a, node, unknown);
    keep(f, b, node, unknown);
    return;
  }
  if (!first->cause || (second->cause && second->cause < first->cause)) first->cause = second->cause;
  second->parent = first->parent;
}

static void add_shift(Finder *f, int from, int to, int64_t start) {
  f->shifts[f->shift_count++] = (Shift){.from = from, .to = to, .start = start};
}

static void add_mix(Finder *f, const Node *node, int whole, const int *factors, int count) {
  Mix mix = {.node = node, .whole = whole};
  int64_t product = 1, size = class_at(f, whole)->size;
  for (int i = 0; i < count && product >= 0; i++) {
    int64_t part = class_at(f, factors[i])->size;
    if (part < 0 || __builtin_mul_overflow(product, part, &product)) product = -1;
    if (part != 1) mix.factors[mix.count++] = factors[i];
  }
  if (product < 0 || product != size) {
    keep(f, whole, node, unknown);
    for (int i = 0; i < count; i++) keep(f, factors[i], node, unknown);
  } else if (mix.count == 1) {
    join(f, node, whole, mix.factors[0]);
  } else {
    f->mixes[f->mix_count++] = mix;
  }
}

/* ---- what a node ties ---- */

typedef struct Tying {
  const Node *node;
  int first, rank;          /* the axes of result 0 */
  int blocks;               /* the axis of the node's blocks; -1: none */
  int contracted[MAX_RANK]; /* the first operand's axis of each number; -1: none yet */
  bool linked[MAX_RANK];    /* axes of the result that an operand links to */
} Tying;

/* The result axis of a link; -1: it has none. */
static int linked_axis(Tying *t, AxisLink link) {
  if (link.axis < 0 || link.axis >= t->rank) return -1;
  t->linked[link.axis] = true;
  return t->first + link.axis;
}

/* The axis that says which block it is. Blocks that the node has no number of stay. */
static int block_axis(Finder *f, const Tying *t, int64_t count) {
  if (t->blocks >= 0) return t->blocks;
  int axis = add_axis(f, count);
  keep(f, axis, t->node, unknown);
  return axis;
}

/* `axis` consists of blocks, each of which is `inside`; -1: of which nothing is known but the size. */
static void tie_blocks(Finder *f, const Tying *t, int axis, int64_t count, int inside) {
  int64_t size = class_at(f, axis)->size;
  if (size < 0 || count < 1) {
    keep(f, axis, t->node, unknown);
    if (inside >= 0) keep(f, inside, t->node, unknown);
    return;
  }
  int blocks = block_axis(f, t, count);
  if (inside < 0) inside = add_axis(f, size / count);
  add_mix(f, t->node, axis, (int[]){blocks, inside}, 2);
}

static void tie_contracted(Finder *f, Tying *t, int axis, AxisLink link) {
  int *first = &t->contracted[link.axis];
  if (link.role == AXIS_GROUPS && *first < 0) {
    int64_t size = class_at(f, axis)->size;
    *first = add_axis(f, size < 0 ? -1 : size / link.blocks);
  }
  if (link.role == AXIS_GROUPS)
    tie_blocks(f, t, axis, link.blocks, *first);
  else if (*first < 0)
    *first = axis;
  else
    join(f, t->node, axis, *first);
}

static int64_t quotient(const Finder *f, int axis, int by) {
  int64_t a = class_at(f, axis)->size, b = class_at(f, by)->size;
  return a < 0 || b < 1 ? -1 : a / b;
}

/* All operand axes that merge into the same one. */
static void tie_merged(Finder *f, Tying *t, int from, int rank, const AxisLink *links, int number) {
  int factors[MAX_RANK], count = 0, to = linked_axis(t, axis_link(AXIS_MERGE, number));
  for (int i = 0; i < rank; i++)
    if (links[i].role == AXIS_MERGE && links[i].axis == number) factors[count++] = from + i;
  add_mix(f, t->node, to, factors, count);
}

static void tie_split(Finder *f, Tying *t, int axis, AxisLink link) {
  int factors[MAX_RANK], count = 0;
  int64_t product = 1, size = class_at(f, axis)->size;
  for (int i = link.axis; i < t->rank && (product < size || count == 0); i++) {
    int64_t part = class_at(f, t->first + i)->size;
    if (part < 0 || __builtin_mul_overflow(product, part, &product)) break;
    factors[count++] = linked_axis(t, axis_link(AXIS_SPLIT, i));
  }
  add_mix(f, t->node, axis, factors, count);
}

/* A link that is of this axis alone. */
static void tie_axis(Finder *f, Tying *t, int axis, AxisLink link) {
  const Node *node = t->node;
  if (link.role == AXIS_CONTRACT || link.role == AXIS_GROUPS) {
    tie_contracted(f, t, axis, link);
    return;
  }
  int to = link.role == AXIS_OPAQUE || link.role == AXIS_SPLIT ? -1 : linked_axis(t, link);
  if (link.role == AXIS_SPLIT) {
    tie_split(f, t, axis, link);
  } else if (to < 0) {
    keep(f, axis, node, unknown);
  } else if (link.role == AXIS_SAME || link.role == AXIS_STATE) {
    join(f, node, axis, to);
    if (link.blocks > 1) tie_blocks(f, t, axis, link.blocks, -1);
  } else if (link.role == AXIS_SHIFT) {
    add_shift(f, axis, to, link.start);
  } else if (link.role == AXIS_PARTS) {
    tie_blocks(f, t, axis, quotient(f, axis, to), to);
  } else if (link.role == AXIS_REPEAT) {
    tie_blocks(f, t, to, quotient(f, to, axis), axis);
  } else if (link.role == AXIS_WINDOW) {
    keep(f, axis, node, windows);
    keep(f, to, node, windows);
  } else if (link.role == AXIS_BROADCAST && class_at(f, axis)->size != 1) {
    keep(f, axis, node, unknown);
    keep(f, to, node, unknown);
  }
}

static void tie_operand(Finder *f, Tying *t, int index) {
  AxisLink links[MAX_RANK];
  const Value *value = operand(t->node, index);
  int rank = rank_of(value), first = axes_first(&f->numbers, value);
  op_axes(t->node, index, links);
  for (int i = 0; i < rank; i++) {
    bool merges = links[i].role == AXIS_MERGE && links[i].axis >= 0 && links[i].axis < t->rank;
    if (links[i].whole) keep(f, first + i, t->node, all_of_it);
    if (!merges)
      tie_axis(f, t, first + i, links[i]);
    else if (!t->linked[links[i].axis])
      tie_merged(f, t, first, rank, links, links[i].axis);
  }
}

/* Further results; of those that an op says nothing of, result 0 has the same indices. */
static void tie_result(Finder *f, Tying *t, int index) {
  AxisLink links[MAX_RANK];
  int rank = rank_of(result(t->node, index)), first = axes_first(&f->numbers, result(t->node, index));
  op_result_axes(t->node, index, links);
  for (int i = 0; i < rank; i++) tie_axis(f, t, first + i, links[i]);
  for (int i = 0; !t->node->op->result_axes && i < t->rank; i++) keep(f, t->first + i, t->node, unknown);
}

static void tie_node(Finder *f, const Node *node) {
  Tying t = {.node = node, .blocks = node_block_axis(&f->numbers, node)};
  for (int i = 0; i < MAX_RANK; i++) t.contracted[i] = -1;
  if (node->result_count > 0) {
    t.first = axes_first(&f->numbers, result(node, 0));
    t.rank = rank_of(result(node, 0));
  }
  for (int i = 0; i < node->operand_count; i++)
    if (operand(node, i)) tie_operand(f, &t, i);
  for (int i = 1; i < node->result_count; i++) tie_result(f, &t, i);
  for (int i = 0; i < t.rank; i++)
    if (!t.linked[i]) keep(f, t.first + i, node, unknown);
}

/* Inputs and outputs. */
static void keep_value(Finder *f, const char *kind, const char *name, const Value *value) {
  int first = axes_first(&f->numbers, value), cause = add_cause(f, kind, name, of_it);
  for (int i = 0; i < rank_of(value); i++) {
    Axis *class = class_at(f, first + i);
    if (!class->cause) class->cause = cause;
  }
}

static void keep_ends(Finder *f, const Graph *graph) {
  for (int i = 0; i < graph->input_count; i++) {
    bool state = i >= graph->input_count - graph->state_count;
    keep_value(f, state ? "state" : "input", graph->inputs[i]->name, graph->inputs[i]);
  }
  for (int i = 0; i < graph->output_count; i++)
    keep_value(f, "output", graph->output_names[i], graph_output(graph, i));
}

static void set_sizes(Finder *f, const Value *value) {
  int first = axes_first(&f->numbers, value);
  for (int i = 0; i < rank_of(value); i++) {
    const Dim *dim = value->type->dims[i];
    set_axis(f, first + i, dim_is_const(dim) ? dim->value : -1);
  }
}

static void tie_graph(Finder *f, const Graph *graph) {
  for (int i = 0; i < graph->input_count; i++) set_sizes(f, graph->inputs[i]);
  FOR_EACH_NODE(node, graph) {
    for (int i = 0; i < node->result_count; i++) set_sizes(f, result(node, i));
    int blocks = node_block_axis(&f->numbers, node);
    if (blocks >= 0) set_axis(f, blocks, node_int(node, blocks_spec(node->op)->name));
  }
  keep_ends(f, graph);
  FOR_EACH_NODE(node, graph)
  if (!node_is(node, &op_const) && !node_is(node, &op_return)) tie_node(f, node);
}

/* ---- atoms ---- */

static int root_of(const Finder *f, int atom) {
  Atom *atoms = f->atoms;
  while (atoms[atom].parent != atom) atom = atoms[atom].parent = atoms[atoms[atom].parent].parent;
  return atom;
}

static Atom *root_at(const Finder *f, int axis, int64_t index) {
  return &f->atoms[root_of(f, class_at(f, axis)->first + (int)index)];
}

static void unite(Atom *a, Atom *b) {
  if (!a->cause || (b->cause && b->cause < a->cause)) a->cause = b->cause;
  b->parent = a->parent;
}

/* No index of the class can be removed. */
static bool stays(const Finder *f, int axis) {
  Axis *class = class_at(f, axis);
  if (class->cause) return true;
  for (int64_t i = 0; i < class->size; i++)
    if (!root_at(f, axis, i)->cause) return false;
  class->cause = root_at(f, axis, 0)->cause;
  return true;
}

/* After atoms are made: all that are tied to one of these stay, too. */
static void keep_atoms(Finder *f, int axis, int cause) {
  Axis *class = class_at(f, axis);
  if (class->cause) return;
  class->cause = cause;
  for (int64_t i = 0; i < class->size; i++) {
    Atom *root = root_at(f, axis, i);
    if (!root->cause) root->cause = cause;
  }
}

/* Of a mix whose axes are whole classes still: what follows from those that stay. */
static bool settle(Finder *f, Mix *mix) {
  int whole = class_at(f, mix->whole)->cause, stay = 0, cause = 0;
  for (int i = 0; i < mix->count; i++) {
    Axis *factor = class_at(f, mix->factors[i]);
    if (!factor->cause) factor->cause = whole;
    stay += factor->cause != 0;
    if (factor->cause) cause = factor->cause;
  }
  mix->done = whole || stay == mix->count;
  if (!whole && mix->done) class_at(f, mix->whole)->cause = cause;
  return mix->done;
}

static void settle_classes(Finder *f) {
  for (bool changed = true; changed;) {
    changed = false;
    for (int i = 0; i < f->mix_count; i++)
      if (!f->mixes[i].done) changed |= settle(f, &f->mixes[i]);
  }
}

static void make_atoms(Finder *f) {
  int64_t count = 0;
  for (int i = 0; i < f->axis_count; i++) {
    Axis *axis = &f->axes[i];
    if (axis->parent != i || axis->cause) continue;
    if (count + axis->size > MAX_ATOMS) {
      axis->cause = add_cause(f, NULL, NULL, too_long);
      continue;
    }
    axis->first = (int)count;
    count += axis->size;
  }
  f->atom_count = (int)count;
  f->atoms = NEW_ARRAY(f->arena, Atom, count);
  for (int i = 0; i < f->atom_count; i++) f->atoms[i] = (Atom){.parent = i, .unit = -1};
}

static void tie_shift(Finder *f, const Shift *shift) {
  Axis *from = class_at(f, shift->from), *to = class_at(f, shift->to);
  int64_t begin = shift->start < 0 ? -shift->start : 0, end = from->size;
  if (from->size < 0 || to->size < 0 || (from->cause && to->cause)) return;
  if (end > to->size - shift->start) end = to->size - shift->start;
  for (int64_t i = begin; i < end; i++) {
    Atom *a = from->cause ? NULL : root_at(f, shift->from, i);
    Atom *b = to->cause ? NULL : root_at(f, shift->to, i + shift->start);
    if (a && b && a != b)
      unite(a, b);
    else if (a && !b && !a->cause)
      a->cause = to->cause;
    else if (b && !a && !b->cause)
      b->cause = from->cause;
  }
}

/* ---- mixes ---- */

/* The index of factor k that index i of the whole has. */
static int64_t digit(const Finder *f, const Mix *mix, int k, int64_t i) {
  for (int j = mix->count - 1; j > k; j--) i /= class_at(f, mix->factors[j])->size;
  return i % class_at(f, mix->factors[k])->size;
}

/* How many units the indices of factor k would make if those of the whole went along it; 0: they all hang
 * together. */
static int units_along(Finder *f, const Mix *mix, int k) {
  int64_t whole = class_at(f, mix->whole)->size, size = class_at(f, mix->factors[k])->size;
  /* A graph of its own: the indices of the factor, then the roots, by a mark in the atoms. */
  Finder trial = {.arena = f->arena, .atoms = NEW_ARRAY(f->arena, Atom, size)};
  for (int i = 0; i < (int)size; i++) trial.atoms[i] = (Atom){.parent = i};
  for (int64_t i = 0; i < whole + size; i++) {
    Atom *root = i < whole ? root_at(f, mix->whole, i) : root_at(f, mix->factors[k], i - whole);
    int own = root_of(&trial, (int)(i < whole ? digit(f, mix, k, i) : i - whole));
    if (root->unit < 0) root->unit = own;
    int other = root_of(&trial, root->unit);
    if (root->cause) trial.atoms[own].cause = root->cause;
    if (other != own) unite(&trial.atoms[own], &trial.atoms[other]);
  }
  for (int64_t i = 0; i < whole; i++) root_at(f, mix->whole, i)->unit = -1;
  for (int64_t i = 0; i < size; i++) root_at(f, mix->factors[k], i)->unit = -1;
  int free = 0, all = 0;
  for (int i = 0; i < (int)size; i++) {
    if (trial.atoms[i].parent != i) continue;
    all++;
    free += trial.atoms[i].cause == 0;
  }
  return all > 1 ? free : 0;
}

/* The factor along which indices shall go. */
static int choose(Finder *f, const Mix *mix) {
  int best = -1, most = -1;
  for (int k = 0; k < mix->count; k++) {
    if (stays(f, mix->factors[k])) continue;
    int units = units_along(f, mix, k);
    if (units >= ENOUGH_UNITS) return k;
    if (units > most) {
      best = k;
      most = units;
    }
  }
  return best;
}

static void decide(Finder *f, Mix *mix, int k) {
  int64_t size = class_at(f, mix->whole)->size;
  mix->done = true;
  for (int j = 0; j < mix->count; j++)
    if (j != k && !stays(f, mix->factors[j]))
      keep_atoms(f, mix->factors[j], node_cause(f, mix->node, other_way));
  for (int64_t i = 0; i < size; i++) {
    Atom *a = root_at(f, mix->whole, i), *b = root_at(f, mix->factors[k], digit(f, mix, k, i));
    if (a != b) unite(a, b);
  }
}

/* What follows from those that stay; false: nothing, it is a choice. */
static bool follow(Finder *f, Mix *mix) {
  int candidates = 0, last = -1;
  if (stays(f, mix->whole)) {
    mix->done = true;
    for (int k = 0; k < mix->count; k++) keep_atoms(f, mix->factors[k], class_at(f, mix->whole)->cause);
    return true;
  }
  for (int k = 0; k < mix->count; k++) {
    if (stays(f, mix->factors[k])) continue;
    candidates++;
    last = k;
  }
  if (candidates > 1) return false;
  if (candidates == 1) {
    decide(f, mix, last);
  } else {
    mix->done = true;
    keep_atoms(f, mix->whole, class_at(f, mix->factors[0])->cause);
  }
  return true;
}

static void decide_mixes(Finder *f) {
  for (bool changed = true; changed;) {
    Mix *open = NULL;
    changed = false;
    for (int i = 0; i < f->mix_count; i++) {
      Mix *mix = &f->mixes[i];
      if (mix->done) continue;
      if (follow(f, mix))
        changed = true;
      else if (!open)
        open = mix;
    }
    if (changed || !open) continue;
    decide(f, open, choose(f, open));
    changed = true;
  }
}

/* ---- units ---- */

/* An axis is not emptied. */
static void keep_lone(Finder *f, int axis) {
  Axis *class = &f->axes[axis];
  if (class->cause) return;
  Atom *root = root_at(f, axis, 0);
  for (int64_t i = 1; i < class->size; i++)
    if (root_at(f, axis, i) != root) return;
  if (!root->cause) root->cause = add_cause(f, NULL, NULL, together);
  class->cause = root->cause;
}

static const int *number_units(Finder *f, int axis, int *count) {
  int size = (int)class_at(f, axis)->size, *units = NEW_ARRAY(f->arena, int, size);
  for (int i = 0; i < size; i++) {
    Atom *root = root_at(f, axis, i);
    if (!root->cause && root->unit < 0) root->unit = (*count)++;
    units[i] = root->cause ? -root->cause : root->unit;
  }
  return units;
}

static void collect(Finder *f, Ties *ties) {
  int count = f->numbers.axis_count, *set_of = NEW_ARRAY(f->arena, int, count);
  IndexSet *sets = NEW_ARRAY(f->arena, IndexSet, count);
  for (int i = 0; i < f->axis_count; i++)
    if (f->axes[i].parent == i) keep_lone(f, i);
  for (int i = 0; i < count; i++) {
    Axis *class = class_at(f, i);
    if (class->set < 0) {
      class->set = ties->set_count++;
      sets[class->set] = (IndexSet){.cause = class->cause, .size = (int)class->size};
      if (!class->cause) sets[class->set].units = number_units(f, i, &ties->unit_count);
    }
    set_of[i] = class->set;
  }
  ties->set_of = set_of;
  ties->sets = sets;
  ties->causes = f->causes;
}

/* Room for what the links of the graph can add. */
static void make_room(Finder *f, const Graph *graph) {
  int links = 0;
  FOR_EACH_NODE(node, graph)
  for (int i = 0; i < node->operand_count + node->result_count; i++) {
    const Value *value = i < node->operand_count ? operand(node, i) : result(node, i - node->operand_count);
    links += value ? rank_of(value) : 0;
  }
  f->axis_count = f->numbers.axis_count;
  f->axes = NEW_ARRAY(f->arena, Axis, f->axis_count + 2 * links);
  f->mixes = NEW_ARRAY(f->arena, Mix, links);
  f->shifts = NEW_ARRAY(f->arena, Shift, links);
}

const Ties *ties_find(const Graph *graph) {
  Ties *ties = NEW(graph->module->arena, Ties);
  Finder f = {.arena = graph->module->arena, .numbers = axes_number(graph)};
  make_room(&f, graph);
  tie_graph(&f, graph);
  settle_classes(&f);
  make_atoms(&f);
  for (int i = 0; i < f.shift_count; i++) tie_shift(&f, &f.shifts[i]);
  decide_mixes(&f);
  ties->graph = graph;
  ties->numbers = f.numbers;
  collect(&f, ties);
  return ties;
}

/* ---- questions ---- */

/* The unit, or minus the cause. */
static int unit_or_cause(const Ties *ties, const Value *value, int axis, int64_t index) {
  const IndexSet *set = &ties->sets[ties->set_of[axes_first(&ties->numbers, value) + axis]];
  return set->cause ? -set->cause : set->units[index];
}

int ties_unit(const Ties *ties, const Value *value, int axis, int64_t index) {
  int unit = unit_or_cause(ties, value, axis, index);
  return unit < 0 ? -1 : unit;
}

const char *ties_reason(const Ties *ties, const Value *value, int axis, int64_t index) {
  int unit = unit_or_cause(ties, value, axis, index);
  if (unit >= 0) return NULL;
  const TieCause *cause = &ties->causes[-unit];
  if (!cause->kind) return cause->text;
  return arena_printf(ties->graph->module->arena, "%s%s%s%s %s", cause->kind, cause->name ? " '" : "",
                      cause->name ? cause->name : "", cause->name ? "'" : "", cause->text);
}
