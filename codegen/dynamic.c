/*
 * dynamic.c -- programs with sizes that are known only when they run, as one function that makes the value of
 * every node in turn.
 *
 * Every value is an item of the run (runtime/items.h): a kernel's results are made just before it is called,
 * and dropped after their last use, so that their memory serves the next. Symbols that a node finds are
 * stored where kernels read all symbols. Regions are code in place: branches, and a loop. Constants, and what
 * is made of them when a session opens, become items only where an operator wants one.
 *
 * Every step that can fail leaves through a block of its own, which says where it was.
 */
#include "runtime/dynamic.h"
#include "codegen/library_parts.h"

#include <assert.h>
#include <string.h>

typedef struct Emission {
  const Library *library;
  const Program *program;
  Run run;
  LLVMValueRef store, dims; /* the Dynamic, which begins with its store; room for the dims of a tensor */
  LLVMBuilderRef entry;     /* stands in the first block, for local variables */
  int *uses;                /* by item: those that are still to come */
  int step;                 /* the next */
} Emission;

static LLVMBuilderRef builder_of(const Emission *e) {
  return e->library->builder;
}

/* ---- items and calls ---- */

LLVMValueRef item_pointer(const Library *library, LLVMValueRef items, int64_t number) {
  return byte_pointer(library, items, int64(library, number * (int64_t)sizeof(Item)));
}

static LLVMValueRef own_item(const Emission *e, const Value *value) {
  return item_pointer(e->library, e->run.items, program_item(e->program, value));
}

/* A call of a function of the runtime, which takes pointers and integers as they are given. */
static LLVMValueRef call_runtime(const Emission *e, const char *name, LLVMTypeRef result, LLVMValueRef *args,
                                 int count) {
  enum { MAX_ARGS = 8 };
  LLVMTypeRef types[MAX_ARGS];
  assert(count <= MAX_ARGS);
  for (int i = 0; i < count; i++) types[i] = LLVMTypeOf(args[i]);
  return call(e->library, declare(e->library, name, result, types, count), args, count);
}

static LLVMBasicBlockRef new_block(const Emission *e) {
  return LLVMAppendBasicBlockInContext(e->library->context, e->run.function, "");
}

static void enter(const Emission *e, LLVMBasicBlockRef block) {
  LLVMPositionBuilderAtEnd(builder_of(e), block);
}

static const char *label(const Emission *e, const Node *node) {
  if (!node->origin) return node->op->name;
  return arena_printf(e->program->module->arena, "'%s' (%s)", node->origin, node->op->name);
}

/* Leaves with the ItemError where `ok` does not hold. */
static void require(const Emission *e, LLVMValueRef ok, LLVMValueRef error, const char *where) {
  const Library *library = e->library;
  LLVMBasicBlockRef refuse = new_block(e), next = new_block(e);
  LLVMBuildCondBr(builder_of(e), ok, next, refuse);
  enter(e, refuse);
  LLVMBuildStore(builder_of(e), string(library, where),
                 byte_pointer(library, e->store, int64(library, offsetof(Dynamic, where))));
  LLVMBuildRet(builder_of(e), error);
  enter(e, next);
}

static void check(const Emission *e, LLVMValueRef error, const char *where) {
  LLVMValueRef zero = int32(e->library, 0);
  require(e, LLVMBuildICmp(builder_of(e), LLVMIntEQ, error, zero, ""), error, where);
}

static void try_runtime(const Emission *e, const char *name, LLVMValueRef *args, int count,
                        const char *where) {
  check(e, call_runtime(e, name, e->library->i32, args, count), where);
}

static void drop(const Emission *e, LLVMValueRef item) {
  call_runtime(e, "tenon_item_drop", e->library->nothing, (LLVMValueRef[]){e->store, item}, 2);
}

static void copy_item(const Emission *e, const char *name, LLVMValueRef to, LLVMValueRef from) {
  call_runtime(e, name, e->library->nothing, (LLVMValueRef[]){e->store, to, from}, 3);
}

static LLVMValueRef load_integer(const Emission *e, LLVMValueRef item) {
  return call_runtime(e, "tenon_item_integer", e->library->i64, &item, 1);
}

/* ---- sizes ---- */

static LLVMValueRef dim(const Emission *e, const Dim *dim) {
  return llvm_dim(&e->run.dims, dim);
}

/* The sizes of the type into e->dims. */
static void store_dims(const Emission *e, const Type *type) {
  for (int axis = 0; axis < type->rank; axis++)
    LLVMBuildStore(builder_of(e), dim(e, type->dims[axis]),
                   element_pointer(e->library, e->library->i64, e->dims, axis));
}

static LLVMValueRef symbol_pointer(const Emission *e, const Dim *symbol) {
  int index = 0;
  while (strcmp(e->program->symbols[index], symbol->symbol) != 0) index++;
  return element_pointer(e->library, e->library->i64, e->run.dims.symbols, index);
}

static bool is_among(const Dim *dim, const Dim *const *symbols, int count) {
  for (int i = 0; i < count; i++)
    if (symbols[i] == dim) return true;
  return false;
}

/* The tensor in the item has the value's type; sizes among `symbols` get their values from it. */
static void check_type(const Emission *e, const Value *value, const Dim *const *symbols, int count,
                       const char *where) {
  const Library *library = e->library;
  const Type *type = value->type;
  LLVMValueRef item = own_item(e, value);
  if (type->form != FORM_TENSOR) return;
  LLVMValueRef rank = int32(library, type->rank < 0 ? (int64_t)UINT32_MAX : type->rank);
  LLVMValueRef args[] = {item, int32(library, ITEM_TENSOR), int32(library, dtype_number(type->dtype)), rank};
  try_runtime(e, "tenon_item_check", args, 4, where);
  LLVMValueRef dims = byte_pointer(library, item, int64(library, offsetof(Item, dims)));
  for (int axis = 0; axis < type->rank; axis++) {
    LLVMValueRef size =
        LLVMBuildLoad2(builder_of(e), library->i64, element_pointer(library, library->i64, dims, axis), "");
    if (is_among(type->dims[axis], symbols, count))
      LLVMBuildStore(builder_of(e), size, symbol_pointer(e, type->dims[axis]));
    else
      require(e, LLVMBuildICmp(builder_of(e), LLVMIntEQ, size, dim(e, type->dims[axis]), ""),
              int32(library, ITEM_SHAPE), where);
  }
}

static void check_results(const Emission *e, const Node *node) {
  int count = 0;
  bool lists = op_attr_index(node->op, "symbols") >= 0;
  const Dim *const *symbols = lists ? node_dims(node, "symbols", &count) : NULL;
  for (int i = 0; i < node->result_count; i++)
    check_type(e, node->results[i], symbols, count, label(e, node));
}

/* Those of the sizes that the node's results need. */
static void check_guards(const Emission *e, const Node *node) {
  const Program *program = e->program;
  for (int i = 0; i < program->guard_count; i++) {
    const Guard *guard = &program->guards[i];
    if (guard->node != node) continue;
    const char *where = arena_printf(program->module->arena, "%s: %s", label(e, node), guard->text);
    require(e, guard_holds(e->library, &e->run.dims, guard), int32(e->library, ITEM_SHAPE), where);
  }
}

/* ---- operands ---- */

/* The item of an operand; one that lies among the weights or in the state is borrowed first. */
static LLVMValueRef operand_item(const Emission *e, const Value *value) {
  const Library *library = e->library;
  LLVMValueRef item = own_item(e, value);
  const Location *location = value->def ? program_location(e->program, value) : NULL;
  if (!location || location->kind == IN_ITEM) return item;
  store_dims(e, value->type);
  LLVMValueRef args[] = {e->store,
                         item,
                         int32(library, dtype_number(value->type->dtype)),
                         int32(library, value->type->rank),
                         e->dims,
                         address(library, &e->run, location)};
  call_runtime(e, "tenon_item_borrow", library->nothing, args, 6);
  return item;
}

/* After the node: what it was the last to use. */
static void drop_dead(Emission *e, const Node *node) {
  for (int i = 0; i < node->operand_count; i++) {
    const Value *value = operand(node, i);
    if (value && --e->uses[program_item(e->program, value)] == 0 && value->def) drop(e, own_item(e, value));
  }
  for (int i = 0; i < node->result_count; i++)
    if (!node->results[i]->uses) drop(e, own_item(e, node->results[i]));
}

static void count_uses(Emission *e, const Graph *graph) {
  for (int i = 0; i < graph->input_count; i++)
    e->uses[program_item(e->program, graph->inputs[i])] = value_use_count(graph->inputs[i]);
  FOR_EACH_NODE(node, graph)
  for (int i = 0; i < node->result_count; i++)
    e->uses[program_item(e->program, node->results[i])] = value_use_count(node->results[i]);
}

/* ---- kernels, views, sizes ---- */

static void emit_kernel(Emission *e, const Node *node) {
  const Library *library = e->library;
  check_guards(e, node);
  for (int i = 0; i < node->result_count; i++) {
    const Type *type = node->results[i]->type;
    store_dims(e, type);
    LLVMValueRef args[] = {e->store, own_item(e, node->results[i]), int32(library, dtype_number(type->dtype)),
                           int32(library, type->rank), e->dims};
    try_runtime(e, "tenon_item_make", args, 5, label(e, node));
  }
  assert(e->program->steps[e->step].node == node);
  call_kernel(library, &e->run, &e->program->steps[e->step]);
  profile_step(library, &e->run, e->step++);
}

static void emit_view(const Emission *e, const Node *node) {
  const Type *type = node->results[0]->type;
  check_guards(e, node);
  LLVMValueRef from = operand_item(e, operand(node, 0));
  store_dims(e, type);
  LLVMValueRef args[] = {e->store, own_item(e, node->results[0]), from, int32(e->library, type->rank),
                         e->dims};
  try_runtime(e, "tenon_item_view", args, 5, label(e, node));
}

static void emit_bind(const Emission *e, const Node *node) {
  const Library *library = e->library;
  int count;
  const Dim *const *symbols = node_dims(node, "symbols", &count);
  LLVMValueRef item = operand_item(e, operand(node, 0)), sizes = e->dims;
  LLVMValueRef args[] = {item, int64(library, count), sizes};
  try_runtime(e, "tenon_item_sizes", args, 3, label(e, node));
  for (int i = 0; i < count; i++) {
    LLVMValueRef size =
        LLVMBuildLoad2(builder_of(e), library->i64, element_pointer(library, library->i64, sizes, i), "");
    LLVMBuildStore(builder_of(e), size, symbol_pointer(e, symbols[i]));
  }
  copy_item(e, "tenon_item_share", own_item(e, node->results[0]), item);
}

static void emit_require(const Emission *e, const Node *node) {
  LLVMValueRef item = operand_item(e, operand(node, 0)), x = load_integer(e, item);
  const char *where =
      arena_printf(e->program->module->arena, "%s: %s", label(e, node), node_string(node, "reason"));
  LLVMIntPredicate wanted = node_bool(node, "value") ? LLVMIntNE : LLVMIntEQ;
  require(e, LLVMBuildICmp(builder_of(e), wanted, x, int64(e->library, 0), ""),
          int32(e->library, ITEM_BRANCH), where);
  copy_item(e, "tenon_item_share", own_item(e, node->results[0]), item);
}

/* ---- sequences and optional values ---- */

static LLVMValueRef local(const Emission *e, LLVMTypeRef type, int64_t count) {
  return LLVMBuildArrayAlloca(e->entry, type, int64(e->library, count ? count : 1), "");
}

static void emit_item_op(const Emission *e, const Node *node) {
  const Library *library = e->library;
  int64_t params[8];
  int param_count = node_params(node, params, COUNT_OF(params)), count = node->operand_count;
  LLVMValueRef operands = local(e, library->pointer, count), list = local(e, library->i64, param_count);
  for (int i = 0; i < count; i++) {
    const Value *value = operand(node, i);
    LLVMBuildStore(builder_of(e), value ? operand_item(e, value) : LLVMConstNull(library->pointer),
                   element_pointer(library, library->pointer, operands, i));
  }
  for (int i = 0; i < param_count; i++)
    LLVMBuildStore(builder_of(e), int64(library, params[i]), element_pointer(library, library->i64, list, i));
  const char *name = arena_printf(e->program->module->arena, "tenon_item_%s", node->op->name);
  LLVMValueRef args[] = {e->store, own_item(e, node->results[0]), operands, int32(library, count), list};
  try_runtime(e, name, args, 5, label(e, node));
  check_results(e, node);
}

/* ---- control flow ---- */

static void emit_graph(Emission *e, const Graph *graph);

static void capture(const Emission *e, const Node *node, const Graph *region, int first, int operand_index) {
  for (int i = first; i < region->input_count; i++)
    copy_item(e, "tenon_item_share", own_item(e, region->inputs[i]),
              operand_item(e, operand(node, operand_index + i - first)));
}

/* A region is left: its outputs have been shared. */
static void drop_outputs(const Emission *e, const Graph *region) {
  for (int i = 0; i < region->output_count; i++)
    if (graph_output(region, i)->def) drop(e, own_item(e, graph_output(region, i)));
}

static void drop_inputs(const Emission *e, const Graph *region) {
  for (int i = 0; i < region->input_count; i++) drop(e, own_item(e, region->inputs[i]));
}

static void emit_branch(Emission *e, const Node *node, const Graph *region, int operand_index) {
  capture(e, node, region, 0, operand_index);
  emit_graph(e, region);
  for (int i = 0; i < node->result_count; i++)
    copy_item(e, "tenon_item_share", own_item(e, node->results[i]), operand_item(e, graph_output(region, i)));
  drop_outputs(e, region);
  drop_inputs(e, region);
}

static void emit_choice(Emission *e, const Node *node) {
  LLVMBasicBlockRef yes = new_block(e), no = new_block(e), end = new_block(e);
  LLVMValueRef condition = load_integer(e, operand_item(e, operand(node, 0)));
  LLVMValueRef holds = LLVMBuildICmp(builder_of(e), LLVMIntNE, condition, int64(e->library, 0), "");
  LLVMBuildCondBr(builder_of(e), holds, yes, no);
  enter(e, yes);
  emit_branch(e, node, node->regions[0], 1);
  LLVMBuildBr(builder_of(e), end);
  enter(e, no);
  emit_branch(e, node, node->regions[1], 1 + node->regions[0]->input_count);
  LLVMBuildBr(builder_of(e), end);
  enter(e, end);
  check_results(e, node);
}

static void make_scalar(const Emission *e, const Node *node, const Value *value, LLVMValueRef x) {
  const Library *library = e->library;
  LLVMValueRef item = own_item(e, value);
  LLVMValueRef args[] = {e->store, item, int32(library, dtype_number(value->type->dtype)), int32(library, 0),
                         e->dims};
  try_runtime(e, "tenon_item_make", args, 5, label(e, node));
  LLVMBuildStore(builder_of(e), x, LLVMBuildLoad2(builder_of(e), library->pointer, item, ""));
}

/* Carried values wait in the node's results between iterations; those to collect become sequences there. */
static void emit_iteration(Emission *e, const Node *node, LLVMValueRef number) {
  const Graph *body = node->regions[0];
  int carried = (int)node_int(node, "carried"), count;
  const Dim *const *sizes = node_dims(node, "sizes", &count);
  make_scalar(e, node, body->inputs[0], number);
  make_scalar(e, node, body->inputs[1], LLVMConstInt(e->library->i8, 1, false));
  for (int i = 0; i < carried; i++) {
    copy_item(e, "tenon_item_move", own_item(e, body->inputs[2 + i]), own_item(e, node->results[i]));
    check_type(e, body->inputs[2 + i], sizes, count, label(e, node));
  }
  emit_graph(e, body);
  for (int i = 0; i < node->result_count; i++) {
    LLVMValueRef to = own_item(e, node->results[i]), from = operand_item(e, graph_output(body, 1 + i));
    if (i < carried)
      copy_item(e, "tenon_item_share", to, from);
    else
      try_runtime(e, "tenon_item_collect", (LLVMValueRef[]){e->store, to, from}, 3, label(e, node));
  }
}

static void stack_collected(const Emission *e, const Node *node, int index) {
  const Library *library = e->library;
  const Type *type = node->results[index]->type;
  LLVMValueRef item = own_item(e, node->results[index]), kept = own_item(e, node->regions[0]->inputs[0]);
  copy_item(e, "tenon_item_move", kept, item);
  for (int axis = 1; axis < type->rank; axis++)
    LLVMBuildStore(builder_of(e),
                   int64(library, dim_is_const(type->dims[axis]) ? type->dims[axis]->value : 0),
                   element_pointer(library, library->i64, e->dims, axis - 1));
  LLVMValueRef args[] = {e->store,
                         item,
                         kept,
                         int32(library, dtype_number(type->dtype)),
                         int32(library, type->rank > 0 ? type->rank - 1 : 0),
                         e->dims};
  try_runtime(e, "tenon_item_stack", args, 6, label(e, node));
}

static void emit_while(Emission *e, const Node *node) {
  const Library *library = e->library;
  LLVMBuilderRef builder = builder_of(e);
  const Graph *body = node->regions[0];
  int carried = (int)node_int(node, "carried");
  const Value *trips = operand(node, 0), *condition = operand(node, 1);
  LLVMValueRef most = trips ? load_integer(e, operand_item(e, trips)) : int64(library, INT64_MAX);
  LLVMValueRef first = condition ? load_integer(e, operand_item(e, condition)) : int64(library, 1);
  LLVMValueRef number = local(e, library->i64, 1), goes_on = local(e, library->i64, 1);
  LLVMBuildStore(builder, int64(library, 0), number);
  LLVMBuildStore(builder, first, goes_on);
  for (int i = 0; i < carried; i++)
    copy_item(e, "tenon_item_share", own_item(e, node->results[i]), operand_item(e, operand(node, 2 + i)));
  for (int i = carried; i < node->result_count; i++) drop(e, own_item(e, node->results[i]));
  capture(e, node, body, 2 + carried, 2 + carried);

  LLVMBasicBlockRef head = new_block(e), iteration = new_block(e), end = new_block(e);
  LLVMBuildBr(builder, head);
  enter(e, head);
  LLVMValueRef at = LLVMBuildLoad2(builder, library->i64, number, ""),
               on = LLVMBuildLoad2(builder, library->i64, goes_on, "");
  LLVMValueRef runs = LLVMBuildAnd(builder, LLVMBuildICmp(builder, LLVMIntSLT, at, most, ""),
                                   LLVMBuildICmp(builder, LLVMIntNE, on, int64(library, 0), ""), "");
  LLVMBuildCondBr(builder, runs, iteration, end);
  enter(e, iteration);
  emit_iteration(e, node, at);
  LLVMBuildStore(builder, load_integer(e, operand_item(e, graph_output(body, 0))), goes_on);
  LLVMBuildStore(builder, LLVMBuildAdd(builder, at, int64(library, 1), ""), number);
  drop_outputs(e, body);
  LLVMBuildBr(builder, head);
  enter(e, end);
  for (int i = carried; i < node->result_count; i++) stack_collected(e, node, i);
  drop_inputs(e, body);
  check_results(e, node);
}

/* ---- graphs ---- */

static void emit_node(Emission *e, const Node *node) {
  if (node->data || program_is_start(node)) return;
  if (node->op->traits & TRAIT_VIEW)
    emit_view(e, node);
  else if (!(node->op->traits & TRAIT_DYNAMIC))
    emit_kernel(e, node);
  else if (node_is(node, &op_bind))
    emit_bind(e, node);
  else if (node_is(node, &op_require))
    emit_require(e, node);
  else if (node_is(node, &op_if))
    emit_choice(e, node);
  else if (node_is(node, &op_loop))
    emit_while(e, node);
  else
    emit_item_op(e, node);
  drop_dead(e, node);
}

static void emit_graph(Emission *e, const Graph *graph) {
  count_uses(e, graph);
  FOR_EACH_NODE(node, graph)
  if (!node_is(node, &op_return)) emit_node(e, node);
}

/* int run(Dynamic *run, Item *items, int64_t *symbols, void *state, void *locals, Profile *, Team *) */
static LLVMValueRef define_function(const Library *library) {
  enum { RUN, ITEMS, SYMBOLS, STATE, LOCALS, PROFILE, TEAM, ARGS };
  const Program *program = library->program;
  LLVMTypeRef types[ARGS];
  for (int i = 0; i < ARGS; i++) types[i] = library->pointer;
  Emission e = {.library = library, .program = program};
  LLVMValueRef function = e.run.function =
      define(library, "tenon_model_dynamic_run", library->i32, types, ARGS);
  LLVMBasicBlockRef first = LLVMGetInsertBlock(library->builder);
  e.entry = LLVMCreateBuilderInContext(library->context);
  LLVMPositionBuilderAtEnd(e.entry, first);
  enter(&e, new_block(&e));
  e.store = LLVMGetParam(function, RUN);
  e.dims = local(&e, library->i64, MAX_KNOWN);
  e.uses = NEW_ARRAY(program->module->arena, int, program->item_count);
  e.run.items = LLVMGetParam(function, ITEMS);
  e.run.state = LLVMGetParam(function, STATE);
  e.run.locals = LLVMGetParam(function, LOCALS);
  e.run.profile = LLVMGetParam(function, PROFILE);
  e.run.team = LLVMGetParam(function, TEAM);
  e.run.dims = dim_code(library, LLVMGetParam(function, SYMBOLS));
  e.run.kernels = chosen_kernels(library);
  emit_graph(&e, program->graph);
  for (int i = 0; i < program->graph->output_count; i++) operand_item(&e, graph_output(program->graph, i));
  LLVMBuildRet(library->builder, int32(library, ITEM_OK));
  LLVMBuildBr(e.entry, LLVMGetNextBasicBlock(first));
  LLVMDisposeBuilder(e.entry);
  return function;
}

static LLVMValueRef output_numbers(const Library *library) {
  const Graph *graph = library->program->graph;
  LLVMValueRef *numbers = NEW_ARRAY(library->module->arena, LLVMValueRef, graph->output_count);
  for (int i = 0; i < graph->output_count; i++)
    numbers[i] = int64(library, program_item(library->program, graph_output(graph, i)));
  return constant_global(library, "", LLVMConstArray2(library->i64, numbers, (uint64_t)graph->output_count));
}

void define_dynamic(const Library *library) {
  const Program *program = library->program;
  LLVMValueRef null = LLVMConstNull(library->pointer);
  bool is_dynamic = program->is_dynamic;
  LLVMValueRef fields[] = {int64(library, is_dynamic ? program->item_count : 0),
                           int64(library, is_dynamic ? program->symbol_count : 0),
                           is_dynamic ? output_numbers(library) : null,
                           is_dynamic ? define_function(library) : null};
  LLVMValueRef model =
      constant_global(library, "tenon_model_dynamic", structure(library, fields, COUNT_OF(fields)));
  LLVMSetLinkage(model, LLVMExternalLinkage);
}
