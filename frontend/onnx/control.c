/*
 * control.c -- If, Loop and Scan, and the graphs inside of them.
 *
 * An inner graph is imported in a scope of its own: names of the graphs around it are captured when they are
 * first used (names.c). A condition that is known leaves only its branch, in place of the node. The types
 * that a loop carries are found by trial: the body is imported with the types of the initial values; where
 * what it gives has other sizes, or another number of axes, the types become as general as that, and it is
 * imported anew.
 */
#include "frontend/onnx/onnx.h"

#include <string.h>

enum { MAX_DEPTH = 24, MAX_INPUTS = 1 << 16 };

/* ---- Graphs inside of nodes */

/* A graph inside a node, while it is imported. */
typedef struct Inner {
  const Onnx__GraphProto *proto;
  Scope scope;
  Graph *graph;  /* its own, or that of the node */
  Graph *around; /* of the node */
} Inner;

/* graph NULL: a new one. */
static bool inner_begin(OnnxNode *node, const Onnx__GraphProto *proto, Graph *graph, Inner *inner) {
  Scope *outer = node->scope;
  const char *name = proto->name && *proto->name ? proto->name : "body";
  if (outer->depth >= MAX_DEPTH) return onnx_fail(node, "graphs nest more than %d deep", MAX_DEPTH);
  *inner = (Inner){.proto = proto, .around = node->import->graph};
  inner->graph = graph ? graph : graph_new(node->module, name, NULL);
  inner->scope = (Scope){.opset_count = outer->opset_count,
                         .opsets = outer->opsets,
                         .function = outer->function,
                         .caller = outer->caller,
                         .depth = outer->depth + 1,
                         .graph = inner->graph,
                         .outer = outer};
  node->import->graph = inner->graph;
  return true;
}

static void inner_define(OnnxNode *node, Inner *inner, int index, Value *value) {
  const char *name = inner->proto->input[index]->name;
  if (name && *name) names_set(node->module, &inner->scope.values, intern(node->module, name), value);
}

/* Imports the nodes and finds the outputs. The node's own graph is the current one again. */
static bool inner_end(OnnxNode *node, Inner *inner, Value **outputs) {
  int errors = node->module->error_count;
  import_inner_graph(node->import, &inner->scope, inner->proto);
  bool ok = node->module->error_count == errors;
  for (size_t i = 0; ok && i < inner->proto->n_output; i++) {
    const char *name = inner->proto->output[i]->name;
    outputs[i] = scope_find(node->import, &inner->scope, intern(node->module, name ? name : ""));
    if (!outputs[i] || outputs[i] == &node->import->failed || outputs[i] == &node->import->absent)
      ok = onnx_fail(node, "output '%s' of the inner graph is computed by no node", name ? name : "");
  }
  node->import->graph = inner->around;
  return ok;
}

static bool set_region_outputs(OnnxNode *node, Inner *inner, Value *const *outputs, int count) {
  const char **names = NEW_ARRAY(node->module->arena, const char *, count);
  for (int i = 0; i < count; i++) names[i] = arena_printf(node->module->arena, "y%d", i);
  return graph_set_outputs(inner->graph, count, outputs, names);
}

/* The node over operands and what the regions have taken; sets all outputs of the model's node. */
static Node *control_node(OnnxNode *node, const Op *op, Value *const *own, int own_count, Inner *inners,
                          int inner_count) {
  int count = own_count;
  for (int i = 0; i < inner_count; i++) count += inners[i].scope.taken_count;
  Value **operands = NEW_ARRAY(node->module->arena, Value *, count);
  for (int i = 0; i < own_count; i++) operands[i] = own[i];
  count = own_count;
  for (int i = 0; i < inner_count; i++)
    for (int j = 0; j < inners[i].scope.taken_count; j++) operands[count++] = inners[i].scope.taken[j];
  Node *core = node_new(&node->builder, op, operands, count);
  for (int i = 0; i < inner_count; i++) node_adopt_region(core, inners[i].graph);
  return core;
}

bool import_in_place(OnnxNode *node, const Onnx__GraphProto *proto, Value *const *inputs, int input_count,
                     Value **outputs, int output_count) {
  Inner inner;
  Value **all = NEW_ARRAY(node->module->arena, Value *, proto->n_output);
  if (proto->n_input != (size_t)input_count || proto->n_output < (size_t)output_count)
    return onnx_fail(node, "a graph with %zu inputs and %zu outputs, where %d and %d are wanted",
                     proto->n_input, proto->n_output, input_count, output_count);
  TRY(inner_begin(node, proto, node->import->graph, &inner));
  for (int i = 0; i < input_count; i++) inner_define(node, &inner, i, inputs[i]);
  TRY(inner_end(node, &inner, all));
  for (int i = 0; i < output_count; i++) outputs[i] = all[i];
  return true;
}

/* ---- If */

static bool import_branch_in_place(OnnxNode *node, const Onnx__GraphProto *proto) {
  return import_in_place(node, proto, NULL, 0, node->outputs, node->output_count);
}

typedef struct Branch {
  OnnxNode *node;
  const Onnx__GraphProto *proto;
  Inner *inner;
} Branch;

static bool attempt_branch(void *context) {
  const Branch *branch = context;
  OnnxNode *node = branch->node;
  Value **outputs = NEW_ARRAY(node->module->arena, Value *, branch->proto->n_output);
  node->has_failed = false;
  return inner_begin(node, branch->proto, NULL, branch->inner) && inner_end(node, branch->inner, outputs) &&
         set_region_outputs(node, branch->inner, outputs, node->output_count);
}

static bool import_branch(OnnxNode *node, const Onnx__GraphProto *proto, Inner *inner) {
  return import_attempt(node->import, attempt_branch, &(Branch){node, proto, inner});
}

/* One branch cannot be imported, at least with these sizes: the other stands here, and a run that would take
 * the first is refused. */
static bool import_only_branch(OnnxNode *node, Value *condition, bool value, const Onnx__GraphProto *proto,
                               const char *reason) {
  Node *core = node_new(&node->builder, &op_require, &condition, 1);
  node_set_bool(core, "value", value);
  node_set_string(core, "reason", reason);
  TRY(node_finish(core));
  node->has_failed = false;
  diag_add(node->module, (Diag){.severity = SEVERITY_WARNING,
                                .node = node->builder.origin,
                                .op = "If",
                                .text = arena_printf(node->module->arena,
                                                     "runs that take its %s branch will be refused; %s",
                                                     value ? "else" : "then", reason)});
  return import_branch_in_place(node, proto);
}

static bool import_if(OnnxNode *node) {
  const Onnx__GraphProto *yes = attr_graph(node, "then_branch"), *no = attr_graph(node, "else_branch");
  Value *condition = input_scalar(node, 0, "the condition");
  int64_t known;
  int count;
  Inner branches[2];
  if (!yes || !no || !condition) return false;
  if ((int)yes->n_output < node->output_count || (int)no->n_output < node->output_count)
    return onnx_fail(node, "the branches have %zu and %zu outputs, the node %d", yes->n_output, no->n_output,
                     node->output_count);
  if (value_known_ints(condition, &known, 1, &count)) return import_branch_in_place(node, known ? yes : no);
  const Choice *choice = choice_find(node->import, node->proto);
  if (choice)
    return import_only_branch(node, condition, choice->value, choice->value ? yes : no, choice->reason);
  Diag *last = node->module->last_diag;
  bool takes_yes = import_branch(node, yes, &branches[0]);
  Diag *middle = node->module->last_diag;
  bool takes_no = import_branch(node, no, &branches[1]);
  if (!takes_yes && !takes_no) return false;
  if (!takes_no) return import_only_branch(node, condition, true, yes, take_errors(node->module, middle));
  if (!takes_yes) return import_only_branch(node, condition, false, no, take_errors(node->module, last));
  Node *core = control_node(node, &op_if, &condition, 1, branches, 2);
  TRY(node_finish(core));
  for (int i = 0; i < node->output_count; i++) {
    node->outputs[i] = result(core, i);
    if (result(core, i)->type->rank == RANK_UNKNOWN && !node->import->differing)
      node->import->differing = node->proto;
  }
  return true;
}

/* ---- Loops */

/* A loop on its way: the carried values, and how its body is imported. */
typedef struct LoopImport {
  OnnxNode *node;
  Value *trips, *condition; /* NULL: none */
  int carried;
  Value **initial;
  const Type **types; /* of the carried values inside */
  int size_count;     /* symbols among them that are new */
  const Dim **sizes;
  /* Builds the body in inner->graph, whose first inputs are there; gives the next condition (NULL: it goes
   * on), the carried values, and values to collect. */
  bool (*body)(struct LoopImport *loop, Inner *inner, Value **outputs);
  const Onnx__GraphProto *proto;
  int output_count; /* of body, the condition among them */
  void *context;
} LoopImport;

static const Dim *new_loop_size(void *context, int axis) {
  LoopImport *loop = context;
  Module *module = loop->node->module;
  (void)axis;
  const Dim **more = NEW_ARRAY(module->arena, const Dim *, loop->size_count + 1);
  for (int i = 0; i < loop->size_count; i++) more[i] = loop->sizes[i];
  more[loop->size_count] = dim_new_symbol(module);
  loop->sizes = more;
  return more[loop->size_count++];
}

static bool is_loop_size(const void *context, const Dim *dim) {
  const LoopImport *loop = context;
  for (int i = 0; i < loop->size_count; i++)
    if (loop->sizes[i] == dim) return true;
  return false;
}

static bool try_body(LoopImport *loop, Inner *inner, Value **outputs) {
  OnnxNode *node = loop->node;
  TRY(inner_begin(node, loop->proto, NULL, inner));
  graph_add_input(inner->graph, "iteration", type_scalar(node->module, DTYPE_I64));
  graph_add_input(inner->graph, "condition", type_scalar(node->module, DTYPE_BOOL));
  for (int i = 0; i < loop->carried; i++) graph_add_input(inner->graph, NULL, loop->types[i]);
  bool ok = loop->body(loop, inner, outputs);
  node->import->graph = inner->around;
  return ok;
}

/* Makes the types of carried values so general that they have room for the outputs; whether they changed. */
static bool widen(LoopImport *loop, Value *const *outputs) {
  bool changed = false;
  for (int i = 0; i < loop->carried; i++) {
    const Type *from = outputs[1 + i]->type, *to = loop->types[i];
    if (type_has_room(to, from, is_loop_size, loop)) continue;
    const Type *join = type_join(loop->node->module, to, from, new_loop_size, loop);
    changed |= join && join != to;
    if (join) loop->types[i] = join;
  }
  return changed;
}

/* When the body cannot be imported with the types of the first iteration: none of their sizes may be known.
 */
static bool forget_sizes(LoopImport *loop) {
  bool changed = false;
  for (int i = 0; i < loop->carried; i++) {
    const Dim *dims[MAX_RANK];
    const Type *type = loop->types[i];
    if (!type_is_tensor(type)) continue;
    for (int axis = 0; axis < type->rank; axis++) {
      bool is_new = is_loop_size(loop, type->dims[axis]);
      dims[axis] = is_new ? type->dims[axis] : new_loop_size(loop, axis);
      changed |= !is_new;
    }
    loop->types[i] = type_make(loop->node->module, type->dtype, type->rank, dims);
  }
  return changed;
}

static bool import_body(LoopImport *loop, Inner *inner, Value **outputs) {
  enum { MAX_ROUNDS = 8 };
  Module *module = loop->node->module;
  for (int round = 0; round < MAX_ROUNDS; round++) {
    Diag *last = module->last_diag;
    if (try_body(loop, inner, outputs)) {
      if (!widen(loop, outputs)) return true;
    } else if (forget_sizes(loop)) {
      diags_take_back(module, last);
      loop->node->has_failed = false;
    } else
      return false;
  }
  return onnx_fail(loop->node, "the types of the carried values do not settle");
}

/* Whether a body's value has what the loop wants: a scalar. */
static Value *as_condition(OnnxNode *node, Graph *graph, Value *value) {
  Builder builder = builder_at_end(graph);
  if (!value) return build_scalar(&builder, DTYPE_BOOL, 1);
  if (value->type->rank == 0) return value;
  if (type_static_count(value->type) == 1) return build_reshape(&builder, value, 0, NULL);
  onnx_fail(node, "the condition is %s, one element is wanted", type_text(node->module, value->type));
  return NULL;
}

/* The node; its results are the carried values, then what is collected. NULL with an error. */
static Node *import_loop_node(LoopImport *loop) {
  OnnxNode *node = loop->node;
  Arena *arena = node->module->arena;
  Inner inner;
  Value **outputs = NEW_ARRAY(arena, Value *, loop->output_count);
  loop->types = NEW_ARRAY(arena, const Type *, loop->carried);
  for (int i = 0; i < loop->carried; i++) loop->types[i] = loop->initial[i]->type;
  if (!import_body(loop, &inner, outputs)) return NULL;
  outputs[0] = as_condition(node, inner.graph, outputs[0]);
  if (!outputs[0] || !set_region_outputs(node, &inner, outputs, loop->output_count)) return NULL;
  Value **own = NEW_ARRAY(arena, Value *, 2 + loop->carried);
  own[0] = loop->trips;
  own[1] = loop->condition;
  for (int i = 0; i < loop->carried; i++) own[2 + i] = loop->initial[i];
  Node *core = control_node(node, &op_loop, own, 2 + loop->carried, &inner, 1);
  node_set_int(core, "carried", loop->carried);
  node_set_dims(core, "sizes", loop->sizes, loop->size_count);
  return node_finish(core) ? core : NULL;
}

/* ---- Loop */

static bool loop_body(LoopImport *loop, Inner *inner, Value **outputs) {
  for (size_t i = 0; i < inner->proto->n_input; i++)
    inner_define(loop->node, inner, (int)i, inner->graph->inputs[i]);
  return inner_end(loop->node, inner, outputs);
}

static bool import_loop(OnnxNode *node) {
  const Onnx__GraphProto *body = attr_graph(node, "body");
  int carried = node->input_count > 2 ? node->input_count - 2 : 0;
  if (!body) return false;
  if ((int)body->n_input != 2 + carried || (int)body->n_output < 1 + carried)
    return onnx_fail(node, "%d values are carried, the body has %zu inputs and %zu outputs", carried,
                     body->n_input, body->n_output);
  for (int i = 0; i < carried; i++)
    if (!input(node, 2 + i)) return onnx_fail(node, "input %d is missing", 2 + i);
  LoopImport loop = {.node = node,
                     .trips = input_scalar(node, 0, "the number of iterations"),
                     .condition = input_scalar(node, 1, "the condition"),
                     .carried = carried,
                     .initial = node->inputs + 2,
                     .body = loop_body,
                     .proto = body,
                     .output_count = (int)body->n_output};
  if ((input(node, 0) && !loop.trips) || (input(node, 1) && !loop.condition)) return false;
  Node *core = import_loop_node(&loop);
  for (int i = 0; core && i < node->output_count && i < core->result_count; i++)
    node->outputs[i] = result(core, i);
  return core != NULL;
}

/* ---- Scan */

/* Attributes of Scan, per scanned input or per collected output. */
typedef struct Scan {
  int states, scanned, collected;
  Value **inputs;                                /* scanned */
  int64_t *axes, *result_axes;                   /* from the front */
  const int64_t *directions, *result_directions; /* 1: backwards; NULL: all forwards */
  const Dim *length;
} Scan;

/* The slice at the position, without the axis. */
static Value *slice_at(OnnxNode *node, Value *x, int64_t axis, Value *position) {
  Node *core = x && position ? node_new(&node->builder, &op_gather, (Value *[]){x, position}, 2) : NULL;
  if (core) node_set_int(core, "axis", axis);
  return finish(core);
}

static bool is_set(const int64_t *flags, int index) {
  return flags && flags[index] != 0;
}

static bool scan_body(LoopImport *loop, Inner *inner, Value **outputs) {
  OnnxNode *node = loop->node;
  const Scan *scan = loop->context;
  Builder around = node->builder;
  node->builder = builder_at_end(inner->graph);
  Value *number = inner->graph->inputs[0], *last = NULL;
  bool ok = true;
  for (int i = 0; ok && i < scan->scanned; i++) {
    Value *position = number, *x = scope_capture(node->import, &inner->scope, scan->inputs[i]);
    if (is_set(scan->directions, i)) {
      if (!last) last = emit_reshape(node, emit_ints(node, &scan->length, 1), 0, NULL);
      position =
          emit_binary(node, &op_sub, emit_binary(node, &op_sub, last, emit_scalar(node, number, 1)), number);
    }
    x = slice_at(node, x, scan->axes[i], position);
    ok = x != NULL;
    inner_define(node, inner, scan->states + i, x);
  }
  for (int i = 0; i < scan->states; i++) inner_define(node, inner, i, inner->graph->inputs[2 + i]);
  node->builder = around;
  outputs[0] = NULL;
  return ok && inner_end(node, inner, outputs + 1);
}

/* What was collected along axis 0, along `axis` and in the asked direction. */
static Value *arrange(OnnxNode *node, Value *x, int64_t axis, bool backwards) {
  const Dim *starts[MAX_RANK], *sizes[MAX_RANK];
  int64_t steps[MAX_RANK], perm[MAX_RANK];
  int rank = x->type->rank;
  for (int i = 0; i < rank; i++) {
    starts[i] = i == 0 ? dim_sub(node->module, x->type->dims[0], dim_const(node->module, 1))
                       : dim_const(node->module, 0);
    sizes[i] = x->type->dims[i];
    steps[i] = i == 0 ? -1 : 1;
    perm[i] = i < axis ? i + 1 : i == axis ? 0 : i;
  }
  if (backwards) x = emit_slice(node, x, starts, sizes, steps);
  return axis ? emit_transpose(node, x, perm) : x;
}

static bool normal_axes(OnnxNode *node, const char *name, Value *const *like, int count, int64_t **axes) {
  int given_count;
  const int64_t *given = attr_ints(node, name, &given_count);
  if (given && given_count != count)
    return onnx_fail(node, "%s has %d entries, not %d", name, given_count, count);
  *axes = NEW_ARRAY(node->module->arena, int64_t, count);
  for (int i = 0; given && i < count; i++) {
    (*axes)[i] = given[i];
    if (like) TRY(normal_axis(node, &(*axes)[i], like[i]->type->rank));
  }
  return true;
}

static bool directions(OnnxNode *node, const char *name, int count, const int64_t **flags) {
  int given;
  *flags = attr_ints(node, name, &given);
  return !*flags || given == count || onnx_fail(node, "%s has %d entries, not %d", name, given, count);
}

/* Fills in sizes and attributes; x is the node's inputs, the states first. */
static bool read_scan(OnnxNode *node, const Onnx__GraphProto *body, Value **x, int count, Scan *scan) {
  scan->scanned = (int)attr_int(node, "num_scan_inputs", 0);
  scan->states = count - scan->scanned;
  scan->collected = (int)body->n_output - scan->states;
  if (scan->scanned < 1 || scan->states < 0 || (int)body->n_input != count || scan->collected < 0)
    return onnx_fail(node, "%d inputs, %d of them scanned, for a body with %zu inputs and %zu outputs", count,
                     scan->scanned, body->n_input, body->n_output);
  for (int i = 0; i < count; i++)
    if (!x[i]) return onnx_fail(node, "input %d is missing", i);
  scan->inputs = x + scan->states;
  for (int i = 0; i < scan->scanned; i++)
    if (scan->inputs[i]->type->rank < 1) return onnx_fail(node, "a scalar cannot be scanned");
  return true;
}

/* The loop over scan->length; results as those of Scan. */
static bool scan_loop(OnnxNode *node, const Onnx__GraphProto *body, Value **x, Scan *scan, Value **results) {
  scan->length = scan->inputs[0]->type->dims[scan->axes[0]];
  LoopImport loop = {.node = node,
                     .trips = emit_reshape(node, emit_ints(node, &scan->length, 1), 0, NULL),
                     .carried = scan->states,
                     .initial = x,
                     .body = scan_body,
                     .proto = body,
                     .output_count = 1 + (int)body->n_output,
                     .context = scan};
  Node *core = loop.trips ? import_loop_node(&loop) : NULL;
  for (int i = 0; core && i < core->result_count; i++) results[i] = result(core, i);
  return core != NULL;
}

static bool import_scan(OnnxNode *node) {
  const Onnx__GraphProto *body = attr_graph(node, "body");
  Scan scan = {0};
  TRY(body && read_scan(node, body, node->inputs, node->input_count, &scan));
  TRY(normal_axes(node, "scan_input_axes", scan.inputs, scan.scanned, &scan.axes));
  TRY(normal_axes(node, "scan_output_axes", NULL, scan.collected, &scan.result_axes));
  TRY(directions(node, "scan_input_directions", scan.scanned, &scan.directions));
  TRY(directions(node, "scan_output_directions", scan.collected, &scan.result_directions));
  Value **results = NEW_ARRAY(node->module->arena, Value *, body->n_output);
  TRY(scan_loop(node, body, node->inputs, &scan, results));
  for (int i = 0; i < node->output_count && i < (int)body->n_output; i++) {
    int k = i - scan.states;
    if (k >= 0) {
      TRY(normal_axis(node, &scan.result_axes[k], results[i]->type->rank));
      results[i] = arrange(node, results[i], scan.result_axes[k], is_set(scan.result_directions, k));
    }
    node->outputs[i] = results[i];
  }
  return true;
}

/* ---- Scan of opset 8: input 0 gives lengths, which nobody uses; all others have a batch axis in front */

static Value *element_of_batch(OnnxNode *node, Value *x, int64_t index) {
  return slice_at(node, x, 0, build_reshape(&node->builder, build_ints(&node->builder, &index, 1), 0, NULL));
}

static bool scan_of_batch(OnnxNode *node, const Onnx__GraphProto *body, int64_t index, Value **results) {
  int count = node->input_count - 1;
  Scan scan = {0};
  Value **x = NEW_ARRAY(node->module->arena, Value *, count);
  for (int i = 0; i < count; i++) {
    x[i] = input(node, i + 1) ? element_of_batch(node, node->inputs[i + 1], index) : NULL;
    if (!x[i]) return onnx_fail(node, "input %d is missing", i + 1);
  }
  TRY(read_scan(node, body, x, count, &scan));
  TRY(directions(node, "directions", scan.scanned, &scan.directions));
  scan.axes = NEW_ARRAY(node->module->arena, int64_t, scan.scanned);
  TRY(scan_loop(node, body, x, &scan, results));
  for (size_t i = 0; i < body->n_output; i++) results[i] = emit_unsqueeze(node, results[i], 1, 0);
  return true;
}

static bool import_scan_8(OnnxNode *node) {
  enum { MAX_BATCH = 64 };
  const Onnx__GraphProto *body = attr_graph(node, "body");
  if (!body) return false;
  if (!input(node, 1)) return onnx_fail(node, "input 1 is missing");
  const Type *first = input(node, 1)->type;
  if (input(node, 0))
    return onnx_fail(node, "sequence_lens is not supported: all sequences have the full length");
  if (first->rank < 1 || !dim_is_const(first->dims[0]) || first->dims[0]->value < 1 ||
      first->dims[0]->value > MAX_BATCH)
    return onnx_fail(node, "the batch of %s must be a number, 1 to %d", type_text(node->module, first),
                     MAX_BATCH);
  int batch = (int)first->dims[0]->value, count = (int)body->n_output;
  Value **results = NEW_ARRAY(node->module->arena, Value *, batch * count);
  for (int b = 0; b < batch; b++) TRY(scan_of_batch(node, body, b, results + b * count));
  for (int i = 0; i < node->output_count && i < count; i++) {
    Value **parts = NEW_ARRAY(node->module->arena, Value *, batch);
    for (int b = 0; b < batch; b++) parts[b] = results[b * count + i];
    Node *concat = node_new(&node->builder, &op_concat, parts, batch);
    node_set_int(concat, "axis", 0);
    node->outputs[i] = finish(concat);
  }
  return true;
}

/* ---- SequenceMap: a loop over the first sequence that carries the sequences of results */

typedef struct Map {
  Value **inputs;
  int count;
} Map;

static bool map_body(LoopImport *loop, Inner *inner, Value **outputs) {
  OnnxNode *node = loop->node;
  const Map *map = loop->context;
  Builder around = node->builder;
  bool ok = true;
  node->builder = builder_at_end(inner->graph);
  for (int i = 0; ok && i < map->count; i++) {
    Value *x = scope_capture(node->import, &inner->scope, map->inputs[i]);
    if (x && x->type->form == FORM_SEQUENCE)
      x = emit(node, &op_sequence_at, (Value *[]){x, inner->graph->inputs[0]}, 2);
    ok = x != NULL;
    inner_define(node, inner, i, x);
  }
  ok = ok && inner_end(node, inner, outputs + 1);
  node->builder = builder_at_end(inner->graph);
  outputs[0] = NULL;
  for (int i = 0; ok && i < loop->carried; i++) {
    Value *carried = inner->graph->inputs[2 + i];
    if (carried->type->dtype != outputs[1 + i]->type->dtype) { /* it is not known before the body is */
      Node *empty = node_new(&around, &op_sequence_make, NULL, 0);
      node_set_dtype(empty, "dtype", outputs[1 + i]->type->dtype);
      loop->initial[i] = finish(empty);
      carried->type = loop->types[i] = loop->initial[i]->type;
    }
    outputs[1 + i] = emit(node, &op_sequence_insert, (Value *[]){carried, outputs[1 + i]}, 2);
    ok = outputs[1 + i] != NULL;
  }
  node->builder = around;
  return ok;
}

static bool import_sequence_map(OnnxNode *node) {
  const Onnx__GraphProto *body = attr_graph(node, "body");
  if (!body) return false;
  if ((int)body->n_input != node->input_count || input(node, 0)->type->form != FORM_SEQUENCE)
    return onnx_fail(node, "%d inputs, the first a sequence, for a body with %zu", node->input_count,
                     body->n_input);
  int count = (int)body->n_output;
  Map map = {node->inputs, node->input_count};
  Value **initial = NEW_ARRAY(node->module->arena, Value *, count);
  for (int i = 0; i < count; i++)
    if (!(initial[i] = emit(node, &op_sequence_make, NULL, 0))) return false;
  LoopImport loop = {.node = node,
                     .trips = emit_unary(node, &op_sequence_length, input(node, 0)),
                     .carried = count,
                     .initial = initial,
                     .body = map_body,
                     .proto = body,
                     .output_count = 1 + count,
                     .context = &map};
  Node *core = loop.trips ? import_loop_node(&loop) : NULL;
  for (int i = 0; core && i < node->output_count; i++) node->outputs[i] = result(core, i);
  return core != NULL;
}

static const OnnxRow rows[] = {
    {"If", 1, 1, 1, import_if, NULL},
    {"Loop", 1, 0, MAX_INPUTS, import_loop, NULL},
    {"Scan", 8, 0, MAX_INPUTS, import_scan_8, NULL},
    {"Scan", 9, 1, -1, import_scan, NULL},
    {"SequenceMap", 17, 1, -1, import_sequence_map, NULL},
};

const OnnxRows onnx_control = {rows, COUNT_OF(rows)};
