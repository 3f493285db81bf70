/*
 * trees.c -- ensembles of decision trees.
 *
 * Two ways, by the form of the trees (pack decides which):
 *
 *   complete (shallow) trees, lanes over rows:  nothing is walked. All questions of a tree are asked of a
 * strip of rows at once, and the leaves are folded from the last level up to the root by selects: no gather,
 * no branch. strips of rows: copy x with rows in lanes; each tree: 2^depth-1 comparisons, as many selects
 *
 *   free (deep) trees, several walks at once:  a step is a handful of instructions that wait for each other;
 * SLOTS walks hide that. A step has no branch: the next node is the first child + (x > t). Leaves lead to
 * themselves, so walks of different length go together; every few steps of a deep tree it is asked whether
 * all have arrived. tiles of rows: each tree: each SLOTS rows: walk, add the leaves A tree stays in cache
 * while a whole tile passes it. What remains below SLOTS rows walks SLOTS trees at a time.
 *
 * Sums are over the trees in their order, whatever the threads. Where NaN may go to the first child there is
 * a second copy of x, with -inf instead.
 *
 * Measured with AVX-512 on one thread, rows of 30 features, microseconds per row (ONNX Runtime 1.30 on the
 * same rows):
 *
 *   trees x depth           1 row         100 rows      10000 rows
 *   100 x 3, boosting       0.24 (2.1)    0.031 (0.53)  0.023 (1.2)    lanes
 *   500 x 6, boosting       2.5 (6.9)     1.08 (8.2)    0.84 (8.5)     lanes
 *   100 x 8, 3 classes      1.0 (4.4)     0.66 (2.5)    0.71 (3.8)     walks
 *   100 x open, 3 classes   3.0 (6.6)     2.6 (8.1)     3.6 (12.7)     walks; 5000 nodes a tree
 *
 * A walk is 7 instructions a step, about two cycles when its tree is in L1. Lanes ask 2^depth questions at
 * about 1.7 ns per row for 63 of them.
 */
#include "codegen/kernels/lanes.h"

#include <assert.h>
#include <string.h>

enum { MAX_SLOTS = 16, MAX_STRIP_DEPTH = 7, TILE_ROWS = 256, MAX_COPY_BYTES = 1 << 18, CHUNK = 4 };

/* ---- match ---- */

/* What stands for an operand of the anchor outside of the kernel, when it is a constant. */
static const Data *constant_of(const Node *node, const Value *value) {
  if (!value) return NULL;
  if (node_is(node, &op_kernel) && !value->def) value = operand(node, value->index);
  return value_data(value);
}

/* All tables are constant and inside each other. */
static bool tables_are_right(const Node *node, const Node *anchor) {
  Module *module = node->graph->module;
  const Data *tables[TREES_OPERANDS] = {0};
  for (int i = 1; i < anchor->operand_count; i++) {
    tables[i] = constant_of(node, operand(anchor, i));
    if (operand(anchor, i) && !tables[i]) return false;
  }
  Diag *last = module->last_diag;
  if (trees_check(anchor, tables)) return true;
  diags_take_back(module, last);
  return false;
}

static bool is_wide_float(Dtype dtype) {
  return dtype == DTYPE_F32 || dtype == DTYPE_F64;
}

static bool trees_match(const Node *node, const Node *anchor, const Target *target) {
  (void)target;
  if (!anchor || !node_is(anchor, &op_tree_ensemble)) return false;
  Trees trees = node_trees(anchor);
  if (!is_wide_float(operand(anchor, TREES_X)->type->dtype) || !is_wide_float(result(anchor, 0)->type->dtype))
    return false;
  if (trees.trees == 0 || (trees.complete && (trees.depth < 1 || trees.depth > MAX_STRIP_DEPTH)))
    return false;
  if (!value_is_direct(node, operand(anchor, TREES_X))) return false;
  int64_t floats = 8 * (2 * trees.columns + trees.outputs);
  return floats * 8 <= MAX_COPY_BYTES && tables_are_right(node, anchor);
}

/* Strips of four vectors, which share what is loaded of tables; or 8 walks. */
static const char *trees_choose(const Node *node, const Node *anchor, const Target *target, int rank) {
  static const int vectors[] = {4, 2, 8}, slots[] = {8, 12, 4};
  Arena *arena = node->graph->module->arena;
  if (rank >= 3) return NULL;
  if (!node_trees(anchor).complete) return arena_printf(arena, "trees slots=%d", slots[rank]);
  int lanes = vectors[rank] * target_lanes(target, operand(anchor, TREES_X)->type->dtype);
  return arena_printf(arena, "trees lanes=%d", lanes);
}

/* ---- code ---------------------------------------------------------------------------------------------- */

typedef struct Emit {
  Lower *lower;
  const Node *node;
  Trees trees;
  const Target *target;
  bool missing; /* some features mean that NaN goes to the first child */
  int64_t width_of_x;
  Dtype x_dtype, sum_dtype;
  int slots, lanes;
  Buffer *copy; /* of rows of x from first_row on: [rows][width_of_x], or NULL */
  Buffer *sums; /* [rows][stride_of_sums], from first_row on */
  Reg *first_row;
} Emit;

static Loops *loops_of(Emit *e) {
  return &e->lower->loops;
}

static Reg *number(Emit *e, int64_t value) {
  return loop_int(loops_of(e), value);
}

static Reg *plus(Emit *e, Reg *x, Reg *y) {
  return loop_binary(loops_of(e), LOOP_ADD, x, y);
}

static Reg *plus_number(Emit *e, Reg *x, int64_t y) {
  return y ? plus(e, x, number(e, y)) : x;
}

static Reg *minus(Emit *e, Reg *x, Reg *y) {
  return loop_binary(loops_of(e), LOOP_SUB, x, y);
}

static Reg *times(Emit *e, Reg *x, int64_t y) {
  return loop_binary(loops_of(e), LOOP_MUL, x, number(e, y));
}

static Buffer *new_local(Emit *e, const char *what, Dtype dtype, int rank, const int64_t *dims) {
  Kernel *kernel = loops_of(e)->kernel;
  const char *name = arena_printf(e->lower->module->arena, "%s%d", what, kernel->local_count);
  return kernel_add_local(kernel, name, dtype, rank, dims);
}

/* A scalar of a table. */
static Reg *entry(Emit *e, int index, Reg *at) {
  int lanes = e->lower->lanes;
  Reg *mask = e->lower->mask;
  e->lower->lanes = 1;
  e->lower->mask = NULL;
  Index position = index_of(at);
  Reg *value = lower_operand(e->lower, e->node, index, &position);
  e->lower->lanes = lanes;
  e->lower->mask = mask;
  return value;
}

static Reg *entry_number(Emit *e, int index, Reg *at) {
  return loop_cast(loops_of(e), entry(e, index, at), DTYPE_I64);
}

static Reg *target_of(Emit *e, Reg *tree) {
  return operand(e->node, TREES_TARGETS) ? entry_number(e, TREES_TARGETS, tree) : number(e, 0);
}

/* NaN as -inf, which is at most every threshold. */
static Reg *without_nan(Emit *e, Reg *x) {
  Loops *loops = loops_of(e);
  Reg *low = loop_const(loops, x->type, -__builtin_inf());
  return loop_select(loops, loop_binary(loops, LOOP_NE, x, x), low, x);
}

/* ---- sums of rows ---- */

/* Vectors for the elements of a leaf. */
static int leaf_lanes(const Emit *e) {
  int lanes = 1, most = target_lanes(e->target, e->sum_dtype);
  while (lanes < e->trees.width && lanes < most) lanes *= 2;
  return lanes;
}

/* Sums of a row end with a whole vector: a masked store would not be forwarded to the next load. */
static int64_t stride_of_sums(const Emit *e) {
  int lanes = leaf_lanes(e);
  return (e->trees.outputs + lanes - 1) / lanes * lanes;
}

static void clear_sums(Emit *e, Reg *rows) {
  Loops *loops = loops_of(e);
  For row = loop_for(loops, number(e, 0), rows, 1, 0, NULL);
  For k = loop_for(loops, number(e, 0), number(e, stride_of_sums(e)), 1, 0, NULL);
  Reg *start = trees_start(e->lower, e->node, (LoopType){e->sum_dtype, 1});
  loop_store(loops, start, e->sums, (Reg *[]){row.counter, k.counter}, NULL);
  loop_end(loops, &k, NULL);
  loop_end(loops, &row, NULL);
}

static void give_sums(Emit *e, Reg *rows) {
  Loops *loops = loops_of(e);
  For row = loop_for(loops, number(e, 0), rows, 1, 0, NULL);
  For k = loop_for(loops, number(e, 0), number(e, e->trees.outputs), 1, 0, NULL);
  Reg *sum = loop_load(loops, e->sums, (Reg *[]){row.counter, k.counter}, 1, NULL);
  Index at[] = {index_of(plus(e, e->first_row, row.counter)), index_of(k.counter)};
  lower_result(e->lower, 0, at, sum);
  loop_end(loops, &k, NULL);
  loop_end(loops, &row, NULL);
}

static void add_leaf_lanes(Emit *e, Reg *const *sum_at, const Index *leaf_at) {
  Lower *lower = e->lower;
  Loops *loops = &lower->loops;
  Reg *mask = e->trees.width == e->trees.outputs ? NULL : lower->mask; /* what is too much is never read */
  Reg *leaf = lower_operand(lower, e->node, TREES_LEAVES, leaf_at);
  Reg *sum = loop_load(loops, e->sums, sum_at, lower->lanes, mask);
  loop_store(loops, trees_combine(lower, e->node, sum, leaf), e->sums, sum_at, mask);
}

/* A leaf to the sums of a row, counted from first_row. */
static void add_leaf(Emit *e, Reg *row, Reg *target, Reg *leaf) {
  Lower *lower = e->lower;
  int lanes = lower->lanes;
  Reg *mask = lower->mask;
  lower->lanes = leaf_lanes(e);
  for (int64_t first = 0; first < e->trees.width; first += lower->lanes) {
    int64_t left = e->trees.width - first;
    Reg *at = number(e, first);
    lower->mask = left < lower->lanes ? loop_lanes_below(&lower->loops, number(e, left), lower->lanes) : NULL;
    add_leaf_lanes(e, (Reg *[]){row, plus(e, target, at)},
                   (Index[]){index_of(leaf), lower->lanes == 1 ? index_of(at) : index_run(at, 1)});
  }
  lower->lanes = lanes;
  lower->mask = mask;
}

/* ---- walks ---- */

typedef struct Walks {
  int count;
  Reg *row[MAX_SLOTS];  /* from first_row on */
  Reg *root[MAX_SLOTS]; /* the first node of the tree */
  Reg *tree[MAX_SLOTS];
  Reg *at[MAX_SLOTS]; /* free: a node; complete: one of the tree's, counted from its root */
} Walks;

static Reg *read_x(Emit *e, Reg *row, Reg *feature) {
  if (e->copy) return loop_load(loops_of(e), e->copy, (Reg *[]){row, feature}, 1, NULL);
  Index at[] = {index_of(plus(e, e->first_row, row)), index_of(feature)};
  return lower_operand(e->lower, e->node, TREES_X, at);
}

static Reg *next_node(Emit *e, const Walks *walks, int i, Reg *from) {
  Loops *loops = loops_of(e);
  Reg *at = e->trees.complete ? plus(e, walks->root[i], from) : from;
  Reg *x = read_x(e, walks->row[i], entry_number(e, TREES_FEATURES, at));
  Reg *yes = loop_binary(loops, LOOP_LE, x, entry(e, TREES_THRESHOLDS, at));
  Reg *no = loop_cast(loops, loop_unary(loops, LOOP_NOT, yes), DTYPE_I64);
  Reg *first = e->trees.complete ? plus_number(e, times(e, from, 2), 1)
                                 : plus(e, entry_number(e, TREES_CHILDREN, at), walks->root[i]);
  return plus(e, first, no);
}

static void take_steps(Emit *e, const Walks *walks, int steps, Reg **at) {
  for (int step = 0; step < steps; step++)
    for (int i = 0; i < walks->count; i++) at[i] = next_node(e, walks, i, at[i]);
}

/* `count` times so many steps. */
static void step_loop(Emit *e, Walks *walks, int64_t count, int steps) {
  Loops *loops = loops_of(e);
  if (count <= 0) return;
  Reg *at[MAX_SLOTS];
  For loop = loop_for(loops, number(e, 0), number(e, count), 1, walks->count, walks->at);
  memcpy(at, loop.carried, sizeof *at * (size_t)walks->count);
  take_steps(e, walks, steps, at);
  loop_end(loops, &loop, at);
  memcpy(walks->at, loop.results, sizeof *at * (size_t)walks->count);
}

/* CHUNK steps at a time, until no walk gets on or there can be no more. */
static void chunk_loop(Emit *e, Walks *walks, int64_t chunks) {
  Loops *loops = loops_of(e);
  int count = walks->count;
  Reg *carried[MAX_SLOTS + 1], *at[MAX_SLOTS + 1];
  LoopType types[MAX_SLOTS + 1];
  memcpy(carried, walks->at, sizeof *at * (size_t)count);
  carried[count] = number(e, 1);
  for (int i = 0; i <= count; i++) types[i] = (LoopType){DTYPE_I64, 1};
  For loop = loop_for(loops, number(e, 0), number(e, chunks), 1, count + 1, carried);
  Reg *moves = loop_binary(loops, LOOP_NE, loop.carried[count], number(e, 0));
  If branch = loop_if(loops, moves, count + 1, types);
  memcpy(at, loop.carried, sizeof *at * (size_t)count);
  take_steps(e, walks, CHUNK - 1, at);
  Reg *before[MAX_SLOTS], *moved = NULL;
  memcpy(before, at, sizeof *at * (size_t)count);
  take_steps(e, walks, 1, at);
  for (int i = 0; i < count; i++) {
    Reg *changed = loop_binary(loops, LOOP_XOR, before[i], at[i]);
    moved = moved ? loop_binary(loops, LOOP_OR, moved, changed) : changed;
  }
  at[count] = moved;
  loop_else(loops, &branch, at);
  loop_end_if(loops, &branch, loop.carried);
  loop_end(loops, &loop, branch.results);
  memcpy(walks->at, loop.results, sizeof *at * (size_t)count);
}

/* From the roots to the leaves: walks->at become rows of `leaves`. */
static void walk(Emit *e, Walks *walks) {
  Trees *trees = &e->trees;
  for (int i = 0; i < walks->count; i++) {
    walks->root[i] = trees->complete ? times(e, walks->tree[i], (1ll << trees->depth) - 1)
                                     : entry_number(e, TREES_ROOTS, walks->tree[i]);
    walks->at[i] = trees->complete ? number(e, 0) : walks->root[i];
  }
  if (trees->complete || trees->depth <= 2 * CHUNK) {
    step_loop(e, walks, trees->depth, 1);
  } else {
    chunk_loop(e, walks, (trees->depth + CHUNK - 1) / CHUNK);
  }
  for (int i = 0; i < walks->count; i++) {
    if (trees->complete)
      walks->at[i] = plus(e, times(e, walks->tree[i], 1ll << trees->depth),
                          plus_number(e, walks->at[i], 1 - (1ll << trees->depth)));
    else
      walks->at[i] = entry_number(e, TREES_ROWS, walks->at[i]);
  }
}

/* One tree and some rows from `row` on. */
static void walk_rows(Emit *e, Reg *tree, Reg *row, int count) {
  Walks walks = {.count = count};
  for (int i = 0; i < count; i++) {
    walks.row[i] = plus_number(e, row, i);
    walks.tree[i] = tree;
  }
  walk(e, &walks);
  Reg *target = target_of(e, tree);
  for (int i = 0; i < count; i++) add_leaf(e, walks.row[i], target, walks.at[i]);
}

/* One row and some trees from `tree` on. */
static void walk_trees(Emit *e, Reg *row, Reg *tree, int count) {
  Walks walks = {.count = count};
  for (int i = 0; i < count; i++) {
    walks.row[i] = row;
    walks.tree[i] = plus_number(e, tree, i);
  }
  walk(e, &walks);
  for (int i = 0; i < count; i++) add_leaf(e, row, target_of(e, walks.tree[i]), walks.at[i]);
}

static void each_tree(Emit *e, int64_t from, int64_t to, int step, Reg *row,
                      void (*body)(Emit *, Reg *, Reg *, int)) {
  if (from >= to) return;
  For trees = loop_for(loops_of(e), number(e, from), number(e, to), step, 0, NULL);
  body(e, row, trees.counter, step);
  loop_end(loops_of(e), &trees, NULL);
}

static void copy_rows(Emit *e, Reg *rows) {
  Loops *loops = loops_of(e);
  if (!e->copy) return;
  For row = loop_for(loops, number(e, 0), rows, 1, 0, NULL);
  For k = loop_for(loops, number(e, 0), number(e, e->trees.columns), 1, 0, NULL);
  Index at[] = {index_of(plus(e, e->first_row, row.counter)), index_of(k.counter)};
  Reg *x = lower_operand(e->lower, e->node, TREES_X, at);
  loop_store(loops, x, e->copy, (Reg *[]){row.counter, k.counter}, NULL);
  Reg *second[] = {row.counter, plus_number(e, k.counter, e->trees.columns)};
  loop_store(loops, without_nan(e, x), e->copy, second, NULL);
  loop_end(loops, &k, NULL);
  loop_end(loops, &row, NULL);
}

static void begin_rows(Emit *e, Reg *first_row, Reg *rows, int64_t most) {
  e->first_row = first_row;
  e->copy = e->missing ? new_local(e, "rows", e->x_dtype, 2, (int64_t[]){most, e->width_of_x}) : NULL;
  e->sums = new_local(e, "sums", e->sum_dtype, 2, (int64_t[]){most, stride_of_sums(e)});
  copy_rows(e, rows);
  clear_sums(e, rows);
}

/* Rows from `from` on, each alone. */
static void single_rows(Emit *e, Reg *from, Reg *to) {
  Loops *loops = loops_of(e);
  int64_t whole = e->trees.trees / e->slots * e->slots;
  Reg *one = number(e, 1), *zero = number(e, 0);
  For row = loop_parallel(loops, from, to, 1);
  begin_rows(e, row.counter, one, 1);
  each_tree(e, 0, whole, e->slots, zero, walk_trees);
  each_tree(e, whole, e->trees.trees, 1, zero, walk_trees);
  give_sums(e, one);
  loop_end(loops, &row, NULL);
}

static Reg *smaller(Emit *e, Reg *x, Reg *y) {
  return loop_binary(loops_of(e), LOOP_MIN, x, y);
}

/* x rounded down to a multiple. */
static Reg *whole_of(Emit *e, Reg *x, int64_t step) {
  return minus(e, x, loop_binary(loops_of(e), LOOP_FLOORMOD, x, number(e, step)));
}

static void walk_tiles(Emit *e) {
  Loops *loops = loops_of(e);
  Reg *count = lower_dim(e->lower, operand(e->node, TREES_X), 0), *whole = whole_of(e, count, e->slots);
  int64_t bytes = e->trees.outputs * 8 + (e->missing ? e->width_of_x * 8 : 0), tile = TILE_ROWS;
  while (tile > e->slots && tile * bytes > MAX_COPY_BYTES) tile /= 2;
  Sections sections = loop_sections(loops);
  loop_section(loops, &sections);
  For tiles = loop_parallel(loops, number(e, 0), whole, tile);
  Reg *rows = smaller(e, number(e, tile), minus(e, whole, tiles.counter));
  begin_rows(e, tiles.counter, rows, tile);
  For trees = loop_for(loops, number(e, 0), number(e, e->trees.trees), 1, 0, NULL);
  For strips = loop_for(loops, number(e, 0), rows, e->slots, 0, NULL);
  walk_rows(e, trees.counter, strips.counter, e->slots);
  loop_end(loops, &strips, NULL);
  loop_end(loops, &trees, NULL);
  give_sums(e, rows);
  loop_end(loops, &tiles, NULL);
  loop_section(loops, &sections);
  single_rows(e, whole, count);
  loop_end_sections(loops, &sections);
}

/* ---- strips: rows in lanes ---- */

typedef struct Strip {
  Buffer *x; /* [features][lanes] */
  Reg *tree;
  Reg *nodes, *leaves; /* the first of the tree */
} Strip;

static void copy_strip(Emit *e, Strip *strip) {
  Loops *loops = loops_of(e);
  strip->x = new_local(e, "x", e->x_dtype, 2, (int64_t[]){e->width_of_x, e->lanes});
  For k = loop_for(loops, number(e, 0), number(e, e->trees.columns), 1, 0, NULL);
  Index at[] = {index_run(e->first_row, 1), index_of(k.counter)};
  Reg *x = lower_operand(e->lower, e->node, TREES_X, at), *zero = number(e, 0);
  loop_store(loops, x, strip->x, (Reg *[]){k.counter, zero}, NULL);
  if (e->missing)
    loop_store(loops, without_nan(e, x), strip->x,
               (Reg *[]){plus_number(e, k.counter, e->trees.columns), zero}, NULL);
  loop_end(loops, &k, NULL);
}

static Reg *is_first(Emit *e, const Strip *strip, int64_t node) {
  Loops *loops = loops_of(e);
  Reg *at = plus_number(e, strip->nodes, node);
  Reg *x = loop_load(loops, strip->x, (Reg *[]){entry_number(e, TREES_FEATURES, at), number(e, 0)}, e->lanes,
                     NULL);
  return loop_binary(loops, LOOP_LE, x, loop_splat(loops, entry(e, TREES_THRESHOLDS, at), e->lanes));
}

/* Where the rows end below node i: the leaf's only element, or (several) its number in the tree. */
static Reg *below(Emit *e, const Strip *strip, int64_t node) {
  Loops *loops = loops_of(e);
  int64_t inner = (1ll << e->trees.depth) - 1;
  if (node < inner) {
    Reg *first = below(e, strip, 2 * node + 1), *second = below(e, strip, 2 * node + 2);
    return loop_select(loops, is_first(e, strip, node), first, second);
  }
  if (e->trees.width > 1) return loop_const_int(loops, (LoopType){DTYPE_I32, e->lanes}, node - inner);
  int lanes = e->lower->lanes;
  Reg *mask = e->lower->mask;
  e->lower->lanes = 1;
  e->lower->mask = NULL;
  Index at[] = {index_of(plus_number(e, strip->leaves, node - inner)), index_const(e->lower, 0)};
  Reg *leaf = lower_operand(e->lower, e->node, TREES_LEAVES, at);
  e->lower->lanes = lanes;
  e->lower->mask = mask;
  return loop_splat(loops, leaf, e->lanes);
}

/* The sum of one output stays in a register, those of several in memory, [outputs][lanes]. */
static void strip_of_numbers(Emit *e, Strip *strip) {
  Loops *loops = loops_of(e);
  LoopType type = {e->sum_dtype, e->lanes};
  Reg *sum = trees_start(e->lower, e->node, type), *zero = number(e, 0);
  bool one = e->trees.outputs == 1;
  Buffer *sums = one ? NULL : new_local(e, "sums", e->sum_dtype, 2, (int64_t[]){e->trees.outputs, e->lanes});
  For fill = loop_for(loops, zero, number(e, one ? 0 : e->trees.outputs), 1, 0, NULL);
  if (!one) loop_store(loops, sum, sums, (Reg *[]){fill.counter, zero}, NULL);
  loop_end(loops, &fill, NULL);
  For trees = loop_for(loops, zero, number(e, e->trees.trees), 1, one, &sum);
  strip->nodes = times(e, trees.counter, (1ll << e->trees.depth) - 1);
  strip->leaves = times(e, trees.counter, 1ll << e->trees.depth);
  Reg *leaf = below(e, strip, 0), *to[] = {one ? zero : target_of(e, trees.counter), zero};
  Reg *before = one ? trees.carried[0] : loop_load(loops, sums, to, e->lanes, NULL);
  Reg *after = trees_combine(e->lower, e->node, before, leaf);
  if (!one) loop_store(loops, after, sums, to, NULL);
  loop_end(loops, &trees, one ? &after : NULL);
  For give = loop_for(loops, zero, number(e, e->trees.outputs), 1, 0, NULL);
  Index at[] = {index_run(e->first_row, 1), index_of(give.counter)};
  Reg *all = one ? trees.results[0] : loop_load(loops, sums, (Reg *[]){give.counter, zero}, e->lanes, NULL);
  lower_result(e->lower, 0, at, all);
  loop_end(loops, &give, NULL);
}

static void strip_of_vectors(Emit *e, Strip *strip, Reg *rows) {
  Loops *loops = loops_of(e);
  Buffer *ends = new_local(e, "ends", DTYPE_I32, 1, (int64_t[]){e->lanes});
  Reg *zero = number(e, 0), *mask = e->lower->mask;
  int lanes = e->lower->lanes;
  e->sums = new_local(e, "sums", e->sum_dtype, 2, (int64_t[]){e->lanes, stride_of_sums(e)});
  e->lower->lanes = 1;
  e->lower->mask = NULL;
  clear_sums(e, rows);
  For trees = loop_for(loops, zero, number(e, e->trees.trees), 1, 0, NULL);
  strip->nodes = times(e, trees.counter, (1ll << e->trees.depth) - 1);
  strip->leaves = times(e, trees.counter, 1ll << e->trees.depth);
  loop_store(loops, below(e, strip, 0), ends, &zero, NULL);
  Reg *target = target_of(e, trees.counter);
  For row = loop_for(loops, zero, rows, 1, 0, NULL);
  Reg *end = loop_cast(loops, loop_load(loops, ends, &row.counter, 1, NULL), DTYPE_I64);
  add_leaf(e, row.counter, target, plus(e, strip->leaves, end));
  loop_end(loops, &row, NULL);
  loop_end(loops, &trees, NULL);
  give_sums(e, rows);
  e->lower->lanes = lanes;
  e->lower->mask = mask;
}

/* `rows` rows from `row` on, not more than lanes; NULL: as many. */
static void strip_at(Emit *e, int lanes, Reg *row, Reg *rows) {
  Strip strip = {0};
  e->first_row = row;
  e->lanes = e->lower->lanes = lanes;
  e->lower->mask = rows ? loop_lanes_below(loops_of(e), rows, lanes) : NULL;
  copy_strip(e, &strip);
  if (e->trees.width == 1)
    strip_of_numbers(e, &strip);
  else
    strip_of_vectors(e, &strip, rows ? rows : number(e, lanes));
  e->lower->lanes = 1;
  e->lower->mask = NULL;
}

static void whole_strips(Emit *e, int lanes, Reg *from, Reg *to) {
  For loop = loop_parallel(loops_of(e), from, to, lanes);
  strip_at(e, lanes, loop.counter, NULL);
  loop_end(loops_of(e), &loop, NULL);
}

/* Wide strips, then those of one vector, then a part of one, or very few rows alone. */
static void strips(Emit *e, int lanes, int least) {
  enum { FEW = 2 };
  Loops *loops = loops_of(e);
  Reg *count = lower_dim(e->lower, operand(e->node, TREES_X), 0), *wide = whole_of(e, count, lanes);
  Reg *whole = lanes > least ? whole_of(e, count, least) : wide, *rest = minus(e, count, whole);
  Reg *few = loop_binary(loops, LOOP_LE, rest, number(e, FEW));
  Sections sections = loop_sections(loops);
  loop_section(loops, &sections);
  whole_strips(e, lanes, number(e, 0), wide);
  loop_section(loops, &sections);
  if (lanes > least) whole_strips(e, least, wide, whole);
  loop_section(loops, &sections);
  If branch = loop_if(loops, few, 0, NULL);
  single_rows(e, whole, count);
  loop_else(loops, &branch, NULL);
  strip_at(e, least, whole, rest);
  loop_end_if(loops, &branch, NULL);
  loop_end_sections(loops, &sections);
}

static bool any_missing(const Emit *e) {
  const Data *features = constant_of(e->lower->node, operand(e->node, TREES_FEATURES));
  for (int64_t i = 0; i < features->count; i++)
    if (data_get_int(features, i) >= e->trees.columns) return true;
  return false;
}

static void trees_body(Lower *lower, void *context) {
  const VariantContext *variant = context;
  const Node *node = lower->anchor;
  Emit e = {.lower = lower, .node = node, .trees = node_trees(node), .target = variant->target};
  e.x_dtype = operand(node, TREES_X)->type->dtype;
  e.sum_dtype = result(node, 0)->type->dtype;
  e.missing = any_missing(&e);
  e.width_of_x = e.missing ? 2 * e.trees.columns : e.trees.columns;
  e.slots = schedule_param(variant->schedule, "slots", 8);
  if (e.slots < 1 || e.slots > MAX_SLOTS) e.slots = 8;
  int least = target_lanes(variant->target, e.x_dtype),
      lanes = schedule_param(variant->schedule, "lanes", least);
  if (lanes < least || lanes > MAX_LANES || (lanes & (lanes - 1))) lanes = least;
  lower->lanes = 1;
  if (e.trees.complete)
    strips(&e, lanes, least);
  else
    walk_tiles(&e);
}

const Variant variant_trees = {
    .name = "trees",
    .doc = "decision trees: all questions of shallow ones for rows in lanes, or several walks at once",
    .match = trees_match,
    .choose = trees_choose,
    .body = trees_body,
};
