/*
 * control.c -- what decides while a graph runs: bind, if, loop.
 *
 * bind turns integers that are computed into sizes: from then on they are symbols like those of the inputs.
 * The regions of if and loop see their own inputs only; values from outside are captured: they are operands
 * behind the others, one for each input of the region behind its own.
 */
#include "ir/ops/dynamic.h"

/* ---- bind ---- */

static bool infer_bind(Node *node) {
  const Type *type = operand(node, 0)->type;
  const Dim *known[MAX_KNOWN];
  int64_t count = type_static_count(type);
  TRY(check_symbols(node));
  if (!dtype_is_int(type->dtype) || type->rank > 1 || count < 0 || count > MAX_KNOWN)
    return node_fail(node, "sizes are at most %d integers, not %s", MAX_KNOWN, operand_text(node, 0));
  NewSizes sizes = {node, 0};
  for (int i = 0; i < count; i++) known[i] = new_size(&sizes);
  result_set(node, 0, type);
  result_set_known(node, 0, known, (int)count);
  return true;
}

static const OperandSpec bind_operands[] = {{"x", false, "integers, none negative: a scalar or one axis"}};
static const AttrSpec symbols_attr[] = {SYMBOLS_ATTR};

const Op op_bind = {
    .name = "bind",
    .family = "control",
    .doc = "x itself; its elements become the values of `symbols`, which are sizes of what follows. It is an "
           "error of the run when one is negative.",
    .operands = bind_operands,
    .operand_count = 1,
    .results = (const char *const[]){"y"},
    .result_count = 1,
    .attrs = symbols_attr,
    .attr_count = 1,
    .traits = TRAIT_STRUCTURE | TRAIT_DYNAMIC,
    .infer = infer_bind,
};

/* ---- require ---- */

static bool infer_require(Node *node) {
  TRY(check_scalar(node, 0, DTYPE_BOOL));
  result_set(node, 0, operand(node, 0)->type);
  return true;
}

static const OperandSpec require_operands[] = {{"x", false, "bool, a scalar"}};
static const AttrSpec require_attrs[] = {
    {.name = "value", .kind = ATTR_BOOL, .value = "true", .doc = "what x must be"},
    {.name = "reason", .kind = ATTR_STRING, .value = "", .doc = "for the message"},
};

const Op op_require = {
    .name = "require",
    .family = "control",
    .doc = "x itself; it is an error of the run when it is not `value`. Stands where only one branch of a "
           "choice "
           "could be compiled.",
    .operands = require_operands,
    .operand_count = 1,
    .results = (const char *const[]){"y"},
    .result_count = 1,
    .attrs = require_attrs,
    .attr_count = COUNT_OF(require_attrs),
    .traits = TRAIT_STRUCTURE | TRAIT_DYNAMIC,
    .infer = infer_require,
};

/* ---- regions ---- */

/* Inputs `from` .. of the region have the types of operands `first` .., `count` of them. */
static bool check_captures(const Node *node, const Graph *region, int from, int first, int count) {
  if (region->input_count != from + count)
    return node_fail(node, "a region has %d inputs and should have %d", region->input_count, from + count);
  for (int i = 0; i < count; i++) {
    const Type *given = operand(node, first + i) ? operand(node, first + i)->type : NULL,
               *wanted = region->inputs[from + i]->type;
    if (given != wanted)
      return node_fail(node, "operand %d is %s, the input of the region %s", first + i,
                       given ? operand_text(node, first + i) : "absent",
                       type_text(node_module(node), wanted));
  }
  return true;
}

static bool check_regions(const Node *node, int count) {
  if (node->region_count != count)
    return node_fail(node, "%d regions instead of %d", node->region_count, count);
  for (int i = 0; i < count; i++)
    if (!node_is(node->regions[i]->last, &op_return))
      return node_fail(node, "region %d does not end with return", i);
  return true;
}

static const Type *output_type(const Graph *graph, int index) {
  return graph_output(graph, index)->type;
}

/* ---- if ---- */

static bool infer_if(Node *node) {
  TRY(check_symbols(node) && check_scalar(node, 0, DTYPE_BOOL) && check_regions(node, 2));
  const Graph *yes = node->regions[0], *no = node->regions[1];
  TRY(check_captures(node, yes, 0, 1, yes->input_count));
  TRY(check_captures(node, no, 0, 1 + yes->input_count, node->operand_count - 1 - yes->input_count));
  if (yes->output_count != no->output_count)
    return node_fail(node, "one branch has %d results, the other %d", yes->output_count, no->output_count);
  if (node->result_count != yes->output_count) node_set_result_count(node, yes->output_count);
  NewSizes sizes = {node, 0};
  for (int i = 0; i < node->result_count; i++) {
    Module *module = node_module(node);
    const Type *a = output_type(yes, i), *b = output_type(no, i),
               *type = type_join(module, a, b, new_size_of_axis, &sizes);
    if (!type)
      return node_fail(node, "result %d is %s in one branch and %s in the other", i, type_text(module, a),
                       type_text(module, b));
    result_set(node, i, type);
  }
  return true;
}

static const OperandSpec if_operands[] = {
    {"condition", false, "bool, a scalar"},
    {"captured", true, "the inputs of the first region, then those of the second"},
};

const Op op_if = {
    .name = "if",
    .family = "control",
    .doc =
        "The results of the first region where the condition holds, of the second where it does not. Sizes "
        "in which they differ are symbols of the node.",
    .operands = if_operands,
    .operand_count = COUNT_OF(if_operands),
    .results = (const char *const[]){"y"},
    .result_count = 1,
    .attrs = symbols_attr,
    .attr_count = 1,
    .traits = TRAIT_STRUCTURE | TRAIT_DYNAMIC | TRAIT_REGIONS | TRAIT_VARIADIC,
    .infer = infer_if,
};

/* ---- loop ---- */

static bool is_entry_size(const void *node, const Dim *dim) {
  int count;
  const Dim *const *sizes = node_dims(node, "sizes", &count);
  for (int i = 0; i < count; i++)
    if (sizes[i] == dim) return true;
  return false;
}

static bool check_carried(const Node *node, const char *what, int index, const Type *from, const Type *to) {
  Module *module = node_module(node);
  return type_has_room(to, from, is_entry_size, node) ||
         node_fail(node, "carried value %d is %s %s, its input %s", index, type_text(module, from), what,
                   type_text(module, to));
}

/* After the loop the sizes that it binds at entry mean nothing. */
static const Type *type_after(Node *node, NewSizes *sizes, const Type *type) {
  const Dim *dims[MAX_RANK];
  if (!type_is_tensor(type)) return type;
  for (int i = 0; i < type->rank; i++)
    dims[i] = is_entry_size(node, type->dims[i]) ? new_size(sizes) : type->dims[i];
  return type_make(node_module(node), type->dtype, type->rank, dims);
}

static bool set_collected(Node *node, NewSizes *sizes, int index, const Type *type, const Dim *trips) {
  const Dim *dims[MAX_RANK];
  Module *module = node_module(node);
  if (type->form != FORM_TENSOR || type->rank == MAX_RANK)
    return node_fail(node, "result %d cannot be collected: %s", index, type_text(module, type));
  if (type->rank == RANK_UNKNOWN) {
    result_set(node, index, type);
    return true;
  }
  dims[0] = trips;
  for (int i = 0; i < type->rank; i++)
    dims[i + 1] = dim_is_const(type->dims[i]) ? type->dims[i] : new_size(sizes);
  result_set(node, index, type_make(module, type->dtype, type->rank + 1, dims));
  return true;
}

static bool infer_loop(Node *node) {
  const int own = 2;
  int64_t given = node_int(node, "carried");
  TRY(check_symbols(node) && check_regions(node, 1));
  if (given < 0 || given > node->operand_count)
    return node_fail(node, "%lld values are carried", (long long)given);
  int carried = (int)given;
  if (operand(node, 0)) TRY(check_scalar(node, 0, DTYPE_I64));
  if (operand(node, 1)) TRY(check_scalar(node, 1, DTYPE_BOOL));
  const Graph *body = node->regions[0];
  if (node->operand_count < own + carried || body->input_count < own + carried ||
      body->output_count < 1 + carried)
    return node_fail(node, "%d values are carried: too many for the operands or the region", carried);
  Module *module = node_module(node);
  if (body->inputs[0]->type != type_scalar(module, DTYPE_I64) ||
      body->inputs[1]->type != type_scalar(module, DTYPE_BOOL) ||
      output_type(body, 0) != type_scalar(module, DTYPE_BOOL))
    return node_fail(node, "a loop's region takes the number of the iteration, i64, and the condition, bool, "
                           "and gives the next condition");
  TRY(check_captures(node, body, own + carried, own + carried, node->operand_count - own - carried));
  if (node->result_count != body->output_count - 1) node_set_result_count(node, body->output_count - 1);
  NewSizes sizes = {node, 0};
  for (int i = 0; i < carried; i++) {
    const Type *inside = body->inputs[own + i]->type;
    if (!operand(node, own + i)) return node_fail(node, "carried value %d is missing", i);
    TRY(check_carried(node, "before the loop", i, operand(node, own + i)->type, inside));
    TRY(check_carried(node, "after an iteration", i, output_type(body, 1 + i), inside));
    result_set(node, i, type_after(node, &sizes, inside));
  }
  const Dim *trips = node->result_count > carried ? new_size(&sizes) : NULL;
  for (int i = carried; i < node->result_count; i++)
    TRY(set_collected(node, &sizes, i, output_type(body, 1 + i), trips));
  return true;
}

static const OperandSpec loop_operands[] = {
    {"trips", true, "i64, a scalar: the most iterations; absent: no limit"},
    {"condition", true, "bool, a scalar: whether the first iteration runs; absent: it does"},
    {"values", true, "the carried values, then what the region captures"},
};

static const AttrSpec loop_attrs[] = {
    {.name = "carried", .kind = ATTR_INT, .doc = "the number of values carried from iteration to iteration"},
    {.name = "sizes",
     .kind = ATTR_DIMS,
     .value = "[]",
     .doc = "symbols in the types of the region's carried inputs that get their values at each iteration"},
    SYMBOLS_ATTR,
};

const Op op_loop = {
    .name = "loop",
    .family = "control",
    .doc = "Runs the region while the condition holds, at most `trips` times. The region takes the number of "
           "the iteration, the condition, the carried values and the captured ones; it gives the next "
           "condition, the next carried values and values to collect. The results are the last carried "
           "values, and each collected one stacked along a new first axis.",
    .operands = loop_operands,
    .operand_count = COUNT_OF(loop_operands),
    .results = (const char *const[]){"y"},
    .result_count = 1,
    .attrs = loop_attrs,
    .attr_count = COUNT_OF(loop_attrs),
    .traits = TRAIT_STRUCTURE | TRAIT_DYNAMIC | TRAIT_REGIONS | TRAIT_VARIADIC,
    .infer = infer_loop,
};
