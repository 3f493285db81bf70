/*
 * structure.c -- the operators that hold a graph together: const, return, kernel. They have no meaning of
 * their own: printer, parser, verifier and every pass know them by name.
 */
#include "ir/ir.h"

#include <math.h>

/* ---- const ---- */

/* A float that an integer says all of: no fraction, no -0. */
static bool is_whole(double x) {
  enum { LARGEST = 1 << 24 };
  return x >= -LARGEST && x <= LARGEST && x == trunc(x) && !(x == 0 && signbit(x));
}

/* The elements of a small constant of whole numbers are known to shape arithmetic. */
static void set_known(Node *node) {
  const Dim *known[MAX_KNOWN];
  const Data *data = node->data;
  Module *module = node->graph->module;
  bool is_float = dtype_is_float(data->dtype) && !dtype_is_storage(data->dtype);
  if ((!is_float && !dtype_is_int(data->dtype) && data->dtype != DTYPE_BOOL) || data->count > MAX_KNOWN)
    return;
  for (int i = 0; i < (int)data->count; i++) {
    if (is_float && !is_whole(data_get(data, i))) return;
    known[i] = dim_const(module, is_float ? (int64_t)data_get(data, i) : data_get_int(data, i));
  }
  result_set_known(node, 0, known, (int)data->count);
}

static bool infer_const(Node *node) {
  const Type *type = result(node, 0)->type;
  const Data *data = node->data;
  if (!data || !type) return node_fail(node, "a constant without data");
  if (!type_is_static(type)) return node_fail(node, "the shape of a constant must be numbers");
  int64_t count = type_static_count(type);
  if (count < 0) return node_fail(node, "too many elements");
  if (data->dtype != type->dtype || data->count != count)
    return node_fail(node, "%lld elements of %s are given for %lld of %s", (long long)data->count,
                     dtype_name(data->dtype), (long long)count, dtype_name(type->dtype));
  set_known(node);
  return true;
}

const Op op_const = {
    .name = "const",
    .family = "structure",
    .doc = "A constant. Its elements are Data: `splat x` repeats one element, `[1, 2]` lists a few, `data "
           "\"key\"` is a tensor of "
           "the .safetensors file beside the text.",
    .results = (const char *const[]){"y"},
    .result_count = 1,
    .traits = TRAIT_STRUCTURE,
    .infer = infer_const,
};

/* ---- return ---- */

static const OperandSpec return_operands[] = {{"values", true, "the outputs of the graph, in order"}};

const Op op_return = {
    .name = "return",
    .family = "structure",
    .doc = "Ends a graph and gives its outputs.",
    .operands = return_operands,
    .operand_count = COUNT_OF(return_operands),
    .traits = TRAIT_STRUCTURE | TRAIT_VARIADIC,
};

/* ---- kernel ---- */

static bool infer_kernel(Node *node) {
  if (node->region_count != 1) return node_fail(node, "%d regions instead of one", node->region_count);
  const Graph *body = node->regions[0];
  if (!body->last || body->last->op != &op_return)
    return node_fail(node, "the region does not end with return");
  if (node->operand_count != body->input_count)
    return node_fail(node, "%d operands for the %d inputs of the region", node->operand_count,
                     body->input_count);
  for (int i = 0; i < body->input_count; i++) {
    Module *module = node->graph->module;
    const Type *given = operand(node, i) ? operand(node, i)->type : NULL, *wanted = body->inputs[i]->type;
    if (given != wanted)
      return node_fail(node, "operand %d is %s, the input of the region %s", i,
                       given ? type_text(module, given) : "absent", type_text(module, wanted));
  }
  if (node->result_count != body->output_count) node_set_result_count(node, body->output_count);
  for (int i = 0; i < body->output_count; i++) result_set(node, i, graph_output(body, i)->type);
  return true;
}

static const OperandSpec kernel_operands[] = {
    {"operands", true, "one per input of the region, of the same type"}};

static const AttrSpec kernel_attrs[] = {
    {.name = "name", .kind = ATTR_STRING, .doc = "what it computes, for people and profiles"},
    {.name = "schedule",
     .kind = ATTR_STRING,
     .value = "",
     .doc =
         "the variant of the kernel and its parameters, written by the schedule pass, or with bars between "
         "them one for each processor; `in_place`, written by the place pass: a lone concat or slice "
         "without code"},
    {.name = "memory",
     .kind = ATTR_STRING,
     .value = "scratch",
     .choices = "scratch|state",
     .doc = "where the results lie: in scratch memory, or in the state, which is computed once, before the "
            "first run"},
    {.name = "offsets",
     .kind = ATTR_DIMS,
     .value = "[]",
     .doc =
         "the bytes of that memory where the results begin, written by the plan pass; -1: the result is an "
         "output, or lies in another value"},
};

const Op op_kernel = {
    .name = "kernel",
    .family = "structure",
    .doc = "A graph that is executed as one kernel. The region sees its inputs only; its outputs are the "
           "results.",
    .operands = kernel_operands,
    .operand_count = COUNT_OF(kernel_operands),
    .results = (const char *const[]){"y"},
    .result_count = 1,
    .attrs = kernel_attrs,
    .attr_count = COUNT_OF(kernel_attrs),
    .traits = TRAIT_STRUCTURE | TRAIT_REGIONS | TRAIT_VARIADIC,
    .infer = infer_kernel,
};
