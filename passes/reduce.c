/*
 * reduce.c -- --reduce: a graph as small as can be that still goes wrong.
 *
 * Delta debugging: a change that makes the graph smaller stays if the smaller graph goes wrong in the same
 * way. Outputs are dropped, or become what they were made of; runs of nodes become inputs, long runs first; a
 * node becomes its operand; a constant becomes a splat; a size becomes a smaller one wherever it stands. All
 * of it again, until nothing helps. What is left runs on random numbers of the seed, as `tenon opt` makes
 * them.
 *
 * Each try is a copy in a module of its own. Constants share the bytes of where they were copied from, so
 * the modules of those that were kept live until the end.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "passes/check.h"
#include "passes/rewrite.h"

enum { MAX_SYMBOLS = 64 };

typedef struct Reduce {
  const PipelineOptions *options;
  const Trial *trial;
  bool compiled;
  Verdict wrong;
  const char *symbols[MAX_SYMBOLS]; /* and their values, of the first graph */
  int64_t values[MAX_SYMBOLS];
  int symbol_count;
  Graph **kept; /* the last is the smallest */
  int kept_count, tries;
} Reduce;

/* ---- does it still go wrong? ---- */

static bool make_input(const Reduce *reduce, const Type *type, Tensor *tensor, uint64_t *state) {
  int64_t dims[MAX_RANK];
  if (!type_is_tensor(type) || type->dtype == DTYPE_STRING) return false;
  for (int i = 0; i < type->rank; i++)
    TRY(dim_eval(type->dims[i], reduce->symbols, reduce->values, reduce->symbol_count, &dims[i]));
  TRY(tensor_new(tensor, type->dtype, type->rank, dims));
  tensor_random(tensor, state);
  return true;
}

static Tensor *make_inputs(const Reduce *reduce, const Graph *graph) {
  Tensor *inputs = calloc((size_t)graph->input_count + 1, sizeof *inputs);
  uint64_t state = reduce->trial->seed;
  for (int i = 0; inputs && i < graph->input_count; i++)
    if (!make_input(reduce, graph->inputs[i]->type, &inputs[i], &state))
      return trial_free(inputs, graph->input_count), NULL;
  return inputs;
}

static Verdict judge(const Reduce *reduce, const Graph *graph, const Tensor *inputs) {
  Trial trial = *reduce->trial;
  trial.inputs = inputs;
  Hunt hunt = {.options = reduce->options, .trial = &trial, .compiled = reduce->compiled};
  Module *scratch = module_new(graph->module->file); /* for Diags */
  hunt.expected =
      trial_run(trial_copy(graph), &reduce->options->pass, inputs, trial_is_large(graph), scratch);
  Verdict verdict = hunt.expected ? hunt_try(&hunt, graph, INT_MAX, NULL, 0, NULL, NULL) : VERDICT_SAME;
  hunt_close(&hunt, graph);
  module_free(scratch);
  return verdict;
}

static bool goes_wrong(const Reduce *reduce, const Graph *graph) {
  Tensor *inputs = make_inputs(reduce, graph);
  bool wrong = inputs && judge(reduce, graph, inputs) == reduce->wrong;
  trial_free(inputs, graph->input_count);
  return wrong;
}

static const Graph *smallest(const Reduce *reduce) {
  return reduce->kept[reduce->kept_count - 1];
}

static bool keep(Reduce *reduce, Graph *graph) {
  Graph **kept = realloc(reduce->kept, sizeof *kept * ((size_t)reduce->kept_count + 1));
  if (!kept) return trial_drop(graph), false;
  reduce->kept = kept;
  kept[reduce->kept_count++] = graph;
  return true;
}

/* A changed copy stays if it goes wrong, too. */
static bool offer(Reduce *reduce, Graph *graph, bool ok) {
  reduce->tries++;
  if (ok) graph_sweep(graph);
  if (ok && graph_verify(graph) && goes_wrong(reduce, graph)) return keep(reduce, graph);
  trial_drop(graph);
  return false;
}

/* ---- outputs ---- */

static bool keep_output(Graph *graph, int index) {
  Value *value = graph_output(graph, index);
  const char *name = graph->output_names[index];
  return graph_set_outputs(graph, 1, &value, &name);
}

static bool drop_outputs(Reduce *reduce) {
  int count = smallest(reduce)->output_count;
  if (count < 2 || smallest(reduce)->state_count) return false;
  for (int i = 0; i < count; i++) {
    Graph *copy = trial_copy(smallest(reduce));
    if (offer(reduce, copy, keep_output(copy, i))) return true;
  }
  return false;
}

/* What an output was made of becomes the output. */
static bool lift_output(Graph *graph, int index, int from) {
  const Value *value = graph_output(graph, index);
  Value *x = value->def ? operand(value->def, from) : NULL;
  if (!x || x->def == NULL || !type_is_tensor(x->type)) return false;
  operand_set(graph->last, index, x);
  return true;
}

static bool lift_outputs(Reduce *reduce) {
  bool any = false;
  if (smallest(reduce)->state_count) return false;
  for (int i = 0; i < smallest(reduce)->output_count; i++) {
    const Node *def = graph_output(smallest(reduce), i)->def;
    for (int from = 0; def && from < def->operand_count; from++) {
      Graph *copy = trial_copy(smallest(reduce));
      if (!offer(reduce, copy, lift_output(copy, i, from))) continue;
      any = true;
      def = graph_output(smallest(reduce), i)->def;
      from = -1; /* what stands there now is something else */
    }
  }
  return any;
}

/* Inputs that nobody reads go. */
static bool drop_inputs(Graph *graph) {
  int kept = 0;
  if (graph->state_count) return false;
  for (int i = 0; i < graph->input_count; i++) {
    if (!graph->inputs[i]->uses) continue;
    graph->inputs[kept] = graph->inputs[i];
    graph->inputs[kept]->index = kept;
    kept++;
  }
  bool any = kept < graph->input_count;
  graph->input_count = kept;
  return any;
}

static bool drop_unused(Reduce *reduce) {
  Graph *copy = trial_copy(smallest(reduce));
  return offer(reduce, copy, drop_inputs(copy));
}

/* ---- nodes ---- */

static Node *node_at(const Graph *graph, int index) {
  Node *node = graph->first;
  while (index-- > 0) node = node->next;
  return node;
}

static bool becomes_input(Value *value) {
  Graph *graph = value->graph;
  if (!value->uses) return true;
  if (!type_is_tensor(value->type)) return false;
  const char *name = value->name;
  value->name = NULL; /* free for the input; the node goes */
  value_replace(value,
                graph_add_input(graph,
                                name ? name : arena_printf(graph->module->arena, "in%d", graph->input_count),
                                value->type));
  return true;
}

/* Whether nodes from..to-1 of the copy could become inputs. */
static bool cut(Graph *copy, int from, int to) {
  bool any = false;
  Node *node = node_at(copy, from);
  for (int i = from; i < to; i++, node = node->next) {
    if (node_is(node, &op_return)) return any;
    for (int k = 0; k < node->result_count; k++) {
      bool is_copied = value_is_output(result(node, k)) && value_has_one_use(result(node, k));
      if (!is_copied) any |= result(node, k)->uses != NULL, (void)becomes_input(result(node, k));
    }
  }
  return any;
}

static bool cut_nodes(Reduce *reduce) {
  bool any = false;
  if (smallest(reduce)->state_count) return false;
  for (int part = graph_count_nodes(smallest(reduce)) / 2; part > 0; part /= 2)
    for (int at = 0; at < graph_count_nodes(smallest(reduce)) - 1;) {
      int count = graph_count_nodes(smallest(reduce)) - 1, to = at + part < count ? at + part : count;
      Graph *copy = trial_copy(smallest(reduce));
      if (offer(reduce, copy, cut(copy, at, to)))
        any = true; /* what stands at `at` now is something else */
      else
        at += part;
    }
  return any;
}

/* A node whose first result has the type of an operand becomes that operand. */
static bool bypass(Node *node, int index) {
  Value *x = operand(node, index);
  if (!x || node->result_count != 1 || result(node, 0)->type != x->type) return false;
  value_replace(result(node, 0), x);
  return true;
}

static bool bypass_nodes(Reduce *reduce) {
  bool any = false;
  for (int at = 0; at < graph_count_nodes(smallest(reduce)); at++) {
    int operands = node_at(smallest(reduce), at)->operand_count;
    for (int i = 0; i < operands; i++) {
      Graph *copy = trial_copy(smallest(reduce));
      Node *node = node_at(copy, at);
      if (i >= node->operand_count || !offer(reduce, copy, bypass(node, i))) continue;
      any = true;
      break;
    }
  }
  return any;
}

/* ---- constants and sizes ---- */

static bool make_splat(Node *node) {
  if (!node->data || node->data->splat || node->data->count == 0) return false;
  node->data = data_spread(node->graph->module, node->data, 0, node->data->count);
  return true;
}

static bool splat_constants(Reduce *reduce) {
  bool any = false;
  for (int at = 0; at < graph_count_nodes(smallest(reduce)); at++) {
    const Node *node = node_at(smallest(reduce), at);
    if (!node->data || node->data->splat) continue;
    Graph *copy = trial_copy(smallest(reduce));
    any |= offer(reduce, copy, make_splat(node_at(copy, at)));
  }
  return any;
}

static const Type *resized(Module *module, const Type *type, int64_t from, int64_t to) {
  const Dim *dims[MAX_RANK];
  if (!type_is_tensor(type)) return type;
  for (int i = 0; i < type->rank; i++)
    dims[i] = dim_is(type->dims[i], from) ? dim_const(module, to) : type->dims[i];
  return type_make(module, type->dtype, type->rank, dims);
}

/* The corner of the constant that has the new shape. */
static Data *corner(Module *module, const Data *data, const Type *old, const Type *new) {
  int64_t count = type_static_count(new), index[MAX_RANK] = {0};
  if (data->splat || count == 0) return data_spread(module, data, 0, count);
  Data *made = data_new(module, data->dtype, count);
  for (int64_t i = 0; i < count; i++) {
    int64_t from = 0;
    for (int axis = 0; axis < new->rank; axis++) from = from * old->dims[axis]->value + index[axis];
    dtype_copy(data->dtype, data_bytes(made), i, data->bytes, from);
    for (int axis = new->rank - 1; axis >= 0 && ++index[axis] == new->dims[axis]->value; axis--)
      index[axis] = 0;
  }
  return made;
}

static void resize_attrs(Node *node, int64_t from, int64_t to) {
  Module *module = node->graph->module;
  for (int i = 0; i < node->op->attr_count; i++) {
    Attr *attr = &node->attrs[i];
    if (node->op->attrs[i].kind != ATTR_DIMS || !attr->set) continue;
    const Dim **dims = NEW_ARRAY(module->arena, const Dim *, attr->count);
    for (int k = 0; k < attr->count; k++)
      dims[k] = dim_is(attr->dims[k], from) ? dim_const(module, to) : attr->dims[k];
    attr->dims = dims;
  }
}

static bool resize_node(Node *node, int64_t from, int64_t to) {
  Module *module = node->graph->module;
  if (node->region_count) return false;
  if (node_is(node, &op_return)) return true;
  if (!node->data) {
    resize_attrs(node, from, to);
    return node_reinfer(node);
  }
  const Type *old = result(node, 0)->type, *new = resized(module, old, from, to);
  if (old == new) return true;
  node->data = corner(module, node->data, old, new);
  result_set(node, 0, new);
  return true;
}

static bool resize(Graph *graph, int64_t from, int64_t to) {
  for (int i = 0; i < graph->input_count; i++)
    graph->inputs[i]->type = resized(graph->module, graph->inputs[i]->type, from, to);
  FOR_EACH_NODE(node, graph) TRY(resize_node(node, from, to));
  return true;
}

/* The largest constant size below `below` of inputs and constants. */
static int64_t next_size(const Graph *graph, int64_t below) {
  int64_t largest = 1;
  for (int i = -graph->input_count; i < graph_count_nodes(graph); i++) {
    const Node *node = i < 0 ? NULL : node_at(graph, i);
    const Type *type = i < 0 ? graph->inputs[-1 - i]->type : node->data ? result(node, 0)->type : NULL;
    for (int axis = 0; type && axis < type->rank; axis++) {
      const Dim *dim = type->dims[axis];
      if (dim_is_const(dim) && dim->value < below && dim->value > largest) largest = dim->value;
    }
  }
  return largest;
}

static bool shrink_sizes(Reduce *reduce) {
  bool any = false;
  for (int64_t size = next_size(smallest(reduce), INT64_MAX); size > 1;) {
    const int64_t smaller[] = {1, 2, size / 2, size - 1};
    bool done = false;
    for (int i = 0; !done && i < COUNT_OF(smaller); i++) {
      if (smaller[i] >= size || smaller[i] < 1) continue;
      Graph *copy = trial_copy(smallest(reduce));
      done = offer(reduce, copy, resize(copy, size, smaller[i]));
    }
    any |= done;
    size = next_size(smallest(reduce), size);
  }
  return any;
}

/* ---- all of it ---- */

static bool shrink(Reduce *reduce) {
  bool (*const steps[])(Reduce *) = {drop_outputs, lift_outputs, cut_nodes,       drop_unused,
                                     bypass_nodes, drop_unused,  splat_constants, shrink_sizes};
  bool any = false;
  for (int i = 0; i < COUNT_OF(steps); i++) any |= steps[i](reduce);
  return any;
}

static bool reduce_open(Reduce *reduce, Graph *graph, const PipelineOptions *options, const Trial *trial) {
  *reduce = (Reduce){.options = options, .trial = trial};
  Hunt hunt;
  TRY(graph_bind(graph, trial->inputs, reduce->symbols, reduce->values, MAX_SYMBOLS, &reduce->symbol_count));
  TRY(hunt_open(&hunt, graph, options, trial, &reduce->wrong, NULL, NULL));
  reduce->compiled = hunt.compiled;
  hunt_close(&hunt, graph);
  if (reduce->wrong == VERDICT_SAME) return fail(graph->module, "the passes leave the results as they are");
  if (!goes_wrong(reduce, graph))
    return fail(graph->module,
                "on random inputs the passes leave the results as they are; try another --seed");
  return keep(reduce, trial_copy(graph));
}

bool pipeline_reduce(Graph *graph, const PipelineOptions *options, const Trial *trial, const char *path,
                     Reduction *reduction) {
  Reduce reduce;
  bool ok = reduce_open(&reduce, graph, options, trial);
  while (ok && shrink(&reduce)) continue;
  if (ok) {
    Module *module = smallest(&reduce)->module;
    *reduction =
        (Reduction){graph_count_nodes(graph) - 1, graph_count_nodes(smallest(&reduce)) - 1, reduce.tries};
    ok = module_write_file(module, path) || fail(graph->module, "'%s' cannot be written", path);
  }
  for (int i = 0; i < reduce.kept_count; i++) trial_drop(reduce.kept[i]);
  free(reduce.kept);
  return ok;
}
