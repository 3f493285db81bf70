/*
 * lower.c -- an op, or a fused `kernel` node, to a kernel in loop IR.
 *
 * The params are the node's operands and results; whoever builds code (Op.nest, a fast kernel of codegen, or
 * the element loops of lower_elements.c) asks for elements of values at positions, and gets a load, a literal
 * or the expression of the fused producer. A computed value is remembered with its position, so that a
 * diamond like x * sigmoid(x) is loaded once.
 *
 * Builders have no error paths: what cannot be lowered records a Diag, gives a zero, and lower_node returns
 * NULL at the end.
 */
#include "ir/lower.h"

#include <assert.h>
#include <string.h>

/* ---- memory of what was computed ---- */

struct Memo {
  MemoKey key;
  int lanes;
  const Reg *mask;
  Reg *reg;
  const Block *block;
  bool forgotten, keep;
  Memo *next_in_bucket, *older;
};

enum { BUCKETS = 1 << 10 };

static size_t hash_key(const MemoKey *key) {
  uint64_t hash = (uint64_t)(key->tag + 2) * 0x9E3779B97F4A7C15u;
  hash = (hash ^ (uintptr_t)key->x) * 0xBF58476D1CE4E5B9u;
  hash = (hash ^ (uintptr_t)key->y) * 0x94D049BB133111EBu;
  hash = (hash ^ (uint64_t)key->number) * 0x9E3779B97F4A7C15u;
  for (int i = 0; i < key->rank; i++) {
    int64_t number = 0; /* equal literals are equal positions, whatever their registers */
    const Reg *reg = key->at[i].vector ? key->at[i].vector : key->at[i].base;
    bool literal = reg_const_int(reg, &number);
    hash = (hash ^ (literal ? (uint64_t)number : (uintptr_t)reg)) * 0xBF58476D1CE4E5B9u;
  }
  return (size_t)(hash >> 40) % BUCKETS;
}

static bool same_key(const MemoKey *a, const MemoKey *b) {
  if (a->tag != b->tag || a->x != b->x || a->y != b->y || a->number != b->number || a->rank != b->rank)
    return false;
  for (int i = 0; i < a->rank; i++)
    if (!index_equal(a->at[i], b->at[i])) return false;
  return true;
}

static bool stands_inside(const Lower *lower, const Block *block) {
  for (const Block *b = lower->loops.block; b; b = b->owner ? b->owner->block : NULL)
    if (b == block) return true;
  return false;
}

Reg *memo_find(Lower *lower, const MemoKey *key) {
  for (Memo *m = lower->bindings->buckets[hash_key(key)]; m; m = m->next_in_bucket) {
    if (m->forgotten || !same_key(&m->key, key) || !stands_inside(lower, m->block)) continue;
    if (key->tag == MEMO_VALUE && (m->lanes != lower->lanes || m->mask != lower->mask)) continue;
    return m->reg;
  }
  return NULL;
}

void memo_add(Lower *lower, const MemoKey *key, Reg *reg) {
  struct Binding *state = lower->bindings;
  Arena *arena = lower->module->arena;
  Memo *m = NEW(arena, Memo), **bucket = &state->buckets[hash_key(key)];
  m->key = *key;
  if (key->rank > 0) m->key.at = arena_copy(arena, key->at, sizeof(Index) * (size_t)key->rank);
  m->lanes = lower->lanes;
  m->mask = lower->mask;
  m->reg = reg;
  m->block = lower->loops.block;
  m->keep = key->tag != MEMO_VALUE;
  m->next_in_bucket = *bucket;
  m->older = state->newest;
  *bucket = state->newest = m;
}

void memo_forget_values(Lower *lower, const Memo *newest) {
  for (Memo *m = lower->bindings->newest; m && m != newest; m = m->older)
    if (!m->keep) m->forgotten = true;
}

/* ---- what values are ---- */

Reg *lower_fail(Lower *lower, LoopType type, const char *format, ...) {
  char text[300];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  node_fail(lower->node, "cannot be lowered: %s", text);
  return loop_const(&lower->loops, type, 0);
}

/* The region's view of an operand to the operand itself; other values stay. */
static const Value *outer_value(const Lower *lower, const Value *value) {
  const Graph *region = lower->bindings->region;
  return region && !value->def && value->graph == region ? operand(lower->node, value->index) : value;
}

bool lowers_to_literal(const Lower *lower, const Value *value) {
  const Value *outer = outer_value(lower, value);
  return outer && value_is_literal(outer);
}

static Param *find_param(const Lower *lower, const Value *value) {
  const Value *outer = outer_value(lower, value);
  for (int i = 0; i < lower->bindings->param_count; i++)
    if (lower->bindings->params[i].value == outer) return &lower->bindings->params[i];
  return NULL;
}

Buffer *lower_buffer(Lower *lower, Value *value) {
  Param *param = find_param(lower, value);
  return param ? param->buffer : NULL;
}

Buffer *lower_result_buffer(Lower *lower, int index) {
  const struct Binding *state = lower->bindings;
  if (state->several) return lower_buffer(lower, result(lower->anchor, index)); /* a local */
  for (int i = 0; i < lower->node->result_count; i++)
    if (state->outputs[i] == result(lower->anchor, index)) return state->results[i];
  return NULL;
}

Buffer *lower_result_param(Lower *lower, int index) {
  return lower->bindings->results[index];
}

static Reg *literal(Lower *lower, const Value *value) {
  const Data *data = value_data(value);
  LoopType type = {data->dtype, 1};
  if (data->count == 0) return loop_const_int(&lower->loops, type, 0); /* in a loop that never runs */
  if (dtype_is_float(data->dtype)) return loop_const(&lower->loops, type, data_get(data, 0));
  return loop_const_int(&lower->loops, type, data_get_int(data, 0));
}

/* ---- memory access at a position ---- */

/* How the lanes lie: all at one element, a run along one axis, or anywhere. */
typedef enum Spread { SPREAD_NONE, SPREAD_RUN, SPREAD_ANY } Spread;

static Spread spread_of(const Lower *lower, const Index *at, int rank, int *axis) {
  int runs = 0;
  for (int i = 0; i < rank; i++) {
    if (at[i].vector) return SPREAD_ANY;
    if (at[i].step == 0 || lower->lanes == 1) continue;
    *axis = i;
    runs++;
  }
  return runs == 0 ? SPREAD_NONE : runs == 1 ? SPREAD_RUN : SPREAD_ANY;
}

static Reg *load_at(Lower *lower, const Value *value, Buffer *buffer, const Index *at) {
  Index indices[MAX_RANK];
  Reg *regs[MAX_RANK];
  int rank, axis = 0;
  buffer = merged_access(lower, value, buffer, at, indices, &rank);
  Spread spread = spread_of(lower, indices, rank, &axis);
  for (int i = 0; i < rank; i++)
    regs[i] = spread == SPREAD_ANY ? index_reg(lower, indices[i]) : indices[i].base;
  switch (spread) {
  case SPREAD_NONE: return loop_load(&lower->loops, buffer, regs, 1, lower->lanes == 1 ? lower->mask : NULL);
  case SPREAD_RUN:
    return loop_load_strided(&lower->loops, buffer, regs, lower->lanes, axis, indices[axis].step,
                             lower->mask);
  default: return loop_gather(&lower->loops, buffer, regs, lower->lanes, lower->mask);
  }
}

static void store_at(Lower *lower, const Value *value, Buffer *buffer, const Index *at, Reg *reg) {
  Index indices[MAX_RANK];
  Reg *regs[MAX_RANK];
  int rank, axis = 0;
  buffer = merged_access(lower, value, buffer, at, indices, &rank);
  Spread spread = spread_of(lower, indices, rank, &axis);
  for (int i = 0; i < rank; i++)
    regs[i] = spread == SPREAD_ANY ? index_reg(lower, indices[i]) : indices[i].base;
  if (spread != SPREAD_NONE) reg = loop_splat(&lower->loops, reg, lower->lanes);
  switch (spread) {
  case SPREAD_NONE:
    loop_store(&lower->loops, reg, buffer, regs, lower->lanes == 1 ? lower->mask : NULL);
    break;
  case SPREAD_RUN:
    loop_store_strided(&lower->loops, reg, buffer, regs, axis, indices[axis].step, lower->mask);
    break;
  default: loop_scatter(&lower->loops, reg, buffer, regs, lower->mask);
  }
}

/* ---- elements of values ---- */

static bool is_anchor_result(const Lower *lower, const Value *value) {
  return lower->anchor && value->def == lower->anchor && lower->bindings->region;
}

static Reg *bound_result(Lower *lower, const Value *value, const Index *at) {
  const Bound *bound = &lower->bindings->anchor[value->index];
  LoopType type = {value->type->dtype, 1};
  if (!bound->reg)
    return lower_fail(lower, type, "the result of %s is read before it is there", lower->anchor->op->name);
  for (int i = 0; i < value->type->rank; i++)
    if (!index_equal(bound->at[i], at[i]))
      return lower_fail(lower, type, "the result of %s is read at another index than it is made at",
                        lower->anchor->op->name);
  return bound->reg;
}

static Reg *computed(Lower *lower, const Value *value, const Index *at) {
  const Node *def = value->def;
  LoopType type = {value->type->dtype, 1};
  if (!def) return lower_fail(lower, type, "an input of another graph is read");
  if (!def->op->element) return lower_fail(lower, type, "%s has no meaning as an element", def->op->name);
  Reg *reg = def->op->element(lower, def, value->index, at);
  if (reg->type.dtype != value->type->dtype || (reg->type.lanes != 1 && reg->type.lanes != lower->lanes))
    return lower_fail(lower, type, "the element of %s came as %sx%d", def->op->name,
                      dtype_name(reg->type.dtype), reg->type.lanes);
  return reg;
}

Reg *lower_load(Lower *lower, const Value *value, const Index *at) {
  return load_at(lower, outer_value(lower, value), find_param(lower, value)->buffer, at);
}

Reg *lower_value(Lower *lower, Value *value, const Index *at) {
  const Value *outer = outer_value(lower, value);
  if (!outer) return lower_fail(lower, (LoopType){value->type->dtype, 1}, "an operand is missing");
  if (value_is_literal(outer)) return literal(lower, outer);
  if (is_anchor_result(lower, value)) return bound_result(lower, value, at);
  MemoKey key = {.tag = MEMO_VALUE, .x = value, .rank = value->type->rank, .at = at};
  Reg *reg = memo_find(lower, &key);
  if (reg) return reg;
  const Param *param = find_param(lower, value);
  reg = param ? load_at(lower, outer, param->buffer, at) : computed(lower, value, at);
  memo_add(lower, &key, reg);
  if (param) lower->bindings->newest->keep = true;
  return reg;
}

Reg *lower_operand(Lower *lower, const Node *node, int index, const Index *at) {
  Value *value = operand(node, index);
  if (value) return lower_value(lower, value, at);
  return lower_fail(lower, (LoopType){result(node, 0)->type->dtype, 1}, "%s has no operand %d",
                    node->op->name, index);
}

Reg *lower_broadcast(Lower *lower, const Node *node, int index, const Index *at) {
  Value *value = operand(node, index);
  const Type *to = result(node, 0)->type;
  Index own[MAX_RANK];
  if (!value) return lower_operand(lower, node, index, at);
  int rank = value->type->rank, lead = to->rank - rank;
  for (int i = 0; i < rank; i++) {
    const Dim *dim = value->type->dims[i];
    own[i] = at[lead + i];
    if (dim == to->dims[lead + i]) continue;
    if (dim_is(dim, 1))
      own[i] = index_const(lower, 0);
    else if (!dim_is_const(dim))
      own[i] = index_select_dim_is_one(lower, dim, own[i]);
  }
  return lower_value(lower, value, own);
}

/* ---- results ---- */

void lower_store(Lower *lower, int index, const Index *at, Reg *value) {
  store_at(lower, result(lower->node, index), lower->bindings->results[index], at, value);
}

/* Whether all that output `index` needs of the anchor is there, at this position. */
static bool is_ready(const Lower *lower, int output, int rank, const Index *at) {
  const struct Binding *state = lower->bindings;
  for (int i = 0; i < lower->anchor->result_count; i++) {
    if (!(state->needs[output] >> i & 1)) continue;
    if (!state->anchor[i].reg) return false;
    for (int axis = 0; axis < rank; axis++)
      if (!index_equal(state->anchor[i].at[axis], at[axis])) return false;
  }
  return true;
}

void lower_result(Lower *lower, int index, const Index *at, Reg *value) {
  struct Binding *state = lower->bindings;
  if (!state->region) {
    lower_store(lower, index, at, value);
    return;
  }
  if (state->several) {
    const Value *made = result(lower->anchor, index);
    store_at(lower, made, find_param(lower, made)->buffer, at, value);
    return;
  }
  const Memo *newest = state->newest;
  int rank = result(lower->anchor, index)->type->rank;
  state->anchor[index] = (Bound){value, arena_copy(lower->module->arena, at, sizeof(Index) * (size_t)rank)};
  for (int i = 0; i < lower->node->result_count; i++) {
    if (!(state->needs[i] >> index & 1) || !is_ready(lower, i, rank, at)) continue;
    if (state->outputs[i]->type->rank != rank)
      lower_fail(lower, value->type, "the result of %s changes its rank after it is made",
                 lower->anchor->op->name);
    else
      lower_store(lower, i, at, lower_value(lower, state->outputs[i], at));
  }
  memo_forget_values(lower, newest);
}

/* ---- params ---- */

static bool is_param(const Node *node, int index) {
  const Value *value = operand(node, index);
  if (!value || value_is_literal(value)) return false;
  for (int i = 0; i < index; i++)
    if (operand(node, i) == value) return false;
  return true;
}

int lower_param_operand(const Node *node, int index) {
  for (int i = 0; i < node->operand_count; i++)
    if (is_param(node, i) && index-- == 0) return i;
  return node->operand_count + index;
}

/* Plain ops speak of their operands by the names of the op's table; fused ones are numbered. */
static const char *operand_name(const Lower *lower, int index) {
  const Op *op = lower->node->op;
  Arena *arena = lower->module->arena;
  if (lower->bindings->region || op->operand_count == 0) return arena_printf(arena, "in%d", index);
  if (index < op->operand_count && !(op->traits & TRAIT_VARIADIC && index == op->operand_count - 1))
    return op->operands[index].name;
  return arena_printf(arena, "%s%d", op->operands[op->operand_count - 1].name, index - op->operand_count + 1);
}

static const char *result_name(const Lower *lower, int index) {
  return lower->node->result_count == 1 ? "out" : arena_printf(lower->module->arena, "out%d", index);
}

static Buffer *add_param(Lower *lower, BufferKind kind, const char *name, const Value *value,
                         const Dim *const *strides) {
  const Type *type = value->type;
  int align = value_data(value) ? 64 : 1; /* raised to the element's size */
  return kernel_add_param(lower->loops.kernel, kind, name, type->dtype, type->rank, type->dims, strides,
                          align);
}

static void add_params(Lower *lower, const Dim *const *const *strides) {
  struct Binding *state = lower->bindings;
  const Node *node = lower->node;
  Arena *arena = lower->module->arena;
  state->params = NEW_ARRAY(arena, Param, node->operand_count);
  state->results = NEW_ARRAY(arena, Buffer *, node->result_count);
  for (int i = 0; i < node->operand_count; i++) {
    if (!is_param(node, i)) continue;
    Buffer *buffer =
        add_param(lower, BUFFER_IN, operand_name(lower, i), operand(node, i), strides ? strides[i] : NULL);
    state->params[state->param_count++] = (Param){operand(node, i), buffer};
  }
  for (int i = 0; i < node->result_count; i++)
    state->results[i] = add_param(lower, BUFFER_OUT, result_name(lower, i), result(node, i),
                                  strides ? strides[node->operand_count + i] : NULL);
}

/* ---- the kernel ---- */

static bool is_anchor(const Node *node) {
  return (node->op->nest || node->op->call) && !node->op->element;
}

static void build_anchor(Lower *lower) {
  const Op *op = lower->anchor->op;
  (op->nest ? op->nest : lower_call)(lower, lower->anchor);
}

/* The node of a region that is no element op. Fast code knows one; plain code takes several, one after the
 * other. */
static bool find_anchor(Lower *lower, bool plain) {
  FOR_EACH_NODE(node, lower->bindings->region) {
    const Op *op = node->op;
    if (op->element || op->traits & TRAIT_STRUCTURE) continue;
    if (!op->nest && !op->call)
      return node_fail(lower->node, "%s in a fused kernel is neither element, nest nor call", op->name);
    if (lower->anchor && !plain)
      return node_fail(lower->node, "a fused kernel holds both %s and %s", lower->anchor->op->name, op->name);
    lower->bindings->several = lower->anchor != NULL;
    lower->anchor = node;
  }
  if (lower->bindings->several) lower->anchor = NULL;
  return true;
}

/* The anchor's results that each node of the region depends on, as bits; then those of the outputs. */
static void find_needs(Lower *lower) {
  struct Binding *state = lower->bindings;
  Graph *region = lower->node->regions[0];
  int count = graph_count_nodes(region), at = 0;
  uint64_t *bits = NEW_ARRAY(lower->module->arena, uint64_t, count + 1);
  const Node **nodes = NEW_ARRAY(lower->module->arena, const Node *, count + 1);
  FOR_EACH_NODE(node, region) {
    for (int i = 0; i < node->operand_count; i++) {
      const Value *value = operand(node, i);
      if (!value || !value->def) continue;
      uint64_t needs = 0;
      if (value->def == lower->anchor) needs = (uint64_t)1 << value->index;
      for (int k = at - 1; k >= 0 && !needs; k--)
        if (nodes[k] == value->def) needs = bits[k];
      if (node_is(node, &op_return))
        state->needs[i] = needs;
      else
        bits[at] |= needs;
    }
    nodes[at++] = node;
  }
}

static bool bind_region(Lower *lower, bool plain) {
  struct Binding *state = lower->bindings;
  const Node *node = lower->node;
  Arena *arena = lower->module->arena;
  state->outputs = NEW_ARRAY(arena, Value *, node->result_count);
  state->needs = NEW_ARRAY(arena, uint64_t, node->result_count);
  if (!node_is(node, &op_kernel)) {
    for (int i = 0; i < node->result_count; i++) {
      state->outputs[i] = result(node, i);
      state->needs[i] = node->op->nest || node->op->call;
    }
    if (node->op->nest || node->op->call) lower->anchor = node;
    return true;
  }
  if (node->region_count != 1 || node->regions[0]->output_count != node->result_count ||
      node->regions[0]->input_count != node->operand_count)
    return node_fail(node, "the region does not have the kernel's operands and results");
  state->region = node->regions[0];
  for (int i = 0; i < node->result_count; i++) state->outputs[i] = graph_output(state->region, i);
  TRY(find_anchor(lower, plain));
  if (!lower->anchor) return true;
  state->anchor = NEW_ARRAY(arena, Bound, lower->anchor->result_count);
  if (lower->anchor->result_count > 64)
    return node_fail(node, "an anchor with %d results", lower->anchor->result_count);
  find_needs(lower);
  return true;
}

/* A local buffer for each result of a nest in the middle of a region. */
static bool add_locals(Lower *lower, const Node *node) {
  struct Binding *state = lower->bindings;
  Param *params = NEW_ARRAY(lower->module->arena, Param, state->param_count + node->result_count);
  if (state->param_count > 0) memcpy(params, state->params, sizeof(Param) * (size_t)state->param_count);
  state->params = params;
  for (int i = 0; i < node->result_count; i++) {
    const Type *type = result(node, i)->type;
    int64_t sizes[MAX_RANK];
    Kernel *kernel = lower->loops.kernel;
    if (!type_is_static(type))
      return node_fail(lower->node, "several nests in one kernel, and %s between them has no constant size",
                       type_text(lower->module, type));
    for (int axis = 0; axis < type->rank; axis++) sizes[axis] = type->dims[axis]->value;
    const char *name = arena_printf(lower->module->arena, "between%d", kernel->local_count);
    params[state->param_count++] =
        (Param){result(node, i), kernel_add_local(kernel, name, type->dtype, type->rank, sizes)};
  }
  return true;
}

static void build_nests(Lower *lower) {
  FOR_EACH_NODE(node, lower->bindings->region) {
    if (!is_anchor(node)) continue;
    if (!add_locals(lower, node)) return;
    lower->anchor = node;
    build_anchor(lower);
  }
  lower->anchor = NULL;
}

static void build_body(Lower *lower, LowerBody body, void *context) {
  if (body)
    body(lower, context);
  else if (lower->bindings->several)
    build_nests(lower);
  else if (lower->anchor)
    build_anchor(lower);
  if (!body || lower->anchor) lower_elements(lower, 1); /* what does not come from the anchor */
}

static bool has_plain_meaning(const Node *node) {
  if (node->op->element || node->op->nest || node->op->call || node_is(node, &op_kernel)) return true;
  return node_fail(node, "%s has no plain lowering: expand it first", node->op->name);
}

Kernel *lower_node(const Node *node, const char *name, LowerBody body, void *context) {
  return lower_node_strided(node, name, NULL, body, context);
}

Kernel *lower_node_strided(const Node *node, const char *name, const Dim *const *const *strides,
                           LowerBody body, void *context) {
  Module *module = node->graph->module;
  int errors = module->error_count;
  if (!has_plain_meaning(node)) return NULL;
  Kernel *kernel = kernel_new(module, name);
  Lower lower = {.loops = loops_in(kernel), .module = module, .node = node, .lanes = 1};
  lower.bindings = NEW(module->arena, struct Binding);
  lower.bindings->buckets = NEW_ARRAY(module->arena, Memo *, BUCKETS);
  if (!bind_region(&lower, !body)) return NULL;
  add_params(&lower, strides);
  build_body(&lower, body, context);
  if (module->error_count != errors) return NULL;
  kernel_remove_dead(kernel);
  return kernel_verify(kernel) ? kernel : NULL;
}
