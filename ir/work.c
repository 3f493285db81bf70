/*
 * work.c -- what running a node takes, in arithmetic and in memory, as far as the graph tells.
 *
 * Bytes are those of operands and results as they stand: a kernel that reads an operand twice, or a part of
 * it, counts it once.
 */
#include "ir/ir.h"

#include <string.h>

const Dim *graph_macs(const Graph *graph) {
  const Dim *sum = dim_const(graph->module, 0);
  FOR_EACH_NODE(node, graph) sum = dim_add(graph->module, sum, node_macs(node));
  return sum;
}

static const Dim *bytes_of(Module *module, const Value *value) {
  return value && type_is_tensor(value->type) ? type_bytes(module, value->type) : dim_const(module, 0);
}

static bool is_repeated(const Node *node, int index) {
  for (int i = 0; i < index; i++)
    if (operand(node, i) == operand(node, index)) return true;
  return false;
}

const Dim *node_read_bytes(const Node *node) {
  Module *module = node->graph->module;
  const Dim *sum = dim_const(module, 0);
  for (int i = 0; i < node->operand_count; i++)
    if (!is_repeated(node, i)) sum = dim_add(module, sum, bytes_of(module, operand(node, i)));
  return sum;
}

const Dim *node_written_bytes(const Node *node) {
  Module *module = node->graph->module;
  const Dim *sum = dim_const(module, 0);
  for (int i = 0; i < node->result_count; i++) sum = dim_add(module, sum, bytes_of(module, result(node, i)));
  return sum;
}

/* ---- Memory at a time ---- */

/* What lies in memory of its own, in memory of the run. */
static bool is_intermediate(const Value *value) {
  bool is_view = value->def && value->def->op->traits & TRAIT_VIEW;
  return value->def && !value->def->data && !is_view && !value_is_output(value);
}

/* The last node that reads the value, also as another shape. */
static int last_use(const Value *value, int last) {
  FOR_EACH_USE(use, value) {
    if (use->node->mark > last) last = use->node->mark;
    if (use->node->op->traits & TRAIT_VIEW) last = last_use(result(use->node, 0), last);
  }
  return last;
}

int64_t graph_peak_bytes(Graph *graph) {
  int count = graph_count_nodes(graph), position = 0;
  int64_t *grown = NEW_ARRAY(graph->module->arena, int64_t, count + 1), now = 0, peak = 0;
  FOR_EACH_NODE(node, graph) node->mark = position++;
  FOR_EACH_NODE(node, graph)
  for (int i = 0; i < node->result_count; i++) {
    const Value *value = result(node, i);
    if (!is_intermediate(value)) continue;
    const Dim *bytes = bytes_of(graph->module, value);
    if (!dim_is_const(bytes)) return -1;
    grown[node->mark] += bytes->value;
    grown[last_use(value, node->mark) + 1] -= bytes->value;
  }
  for (int i = 0; i < count; i++) {
    now += grown[i];
    if (now > peak) peak = now;
  }
  return peak;
}

/* ---- Provenance ---- */

bool origin_has(const char *origin, const char *name) {
  size_t length = strlen(name);
  for (const char *at = origin; at && *at; at = strstr(at, " + ") ? strstr(at, " + ") + 3 : NULL)
    if (strncmp(at, name, length) == 0 && (!at[length] || strncmp(at + length, " + ", 3) == 0)) return true;
  return false;
}

/* ---- In words ---- */

/* "1234 bytes", "1.2 MB", "118 M MACs"; sizes that are open stay an expression. */
static const char *amount(Module *module, const Dim *dim, const char *unit, const char *one) {
  static const char *const prefixes[] = {"", "k", "M", "G", "T"};
  if (!dim_is_const(dim)) return arena_printf(module->arena, "%s %s", dim_text(module, dim), one);
  double value = (double)dim->value;
  int prefix = 0;
  for (; value >= 10000 && prefix < 4; prefix++) value /= 1000;
  if (prefix == 0) return arena_printf(module->arena, "%.0f %s", value, one);
  return arena_printf(module->arena, value < 100 ? "%.1f %s%s" : "%.0f %s%s", value, prefixes[prefix], unit);
}

static const char *macs_text(Module *module, const Dim *macs) {
  return amount(module, macs, " MACs", "MACs");
}

static const char *size_text(Module *module, const Dim *bytes) {
  return amount(module, bytes, "B", "bytes");
}

static const char *cost_note(const Node *node) {
  Module *module = node->graph->module;
  const Dim *macs = node_macs(node);
  const char *arithmetic =
      dim_is(macs, 0) ? "" : arena_printf(module->arena, "%s, ", macs_text(module, macs));
  return arena_printf(module->arena, "%s%s read, %s written", arithmetic,
                      size_text(module, node_read_bytes(node)), size_text(module, node_written_bytes(node)));
}

const char *node_note(const Node *node) {
  const char *origin = node->origin ? node->origin : "";
  bool moves = !node->data && node->result_count > 0 && !(node->op->traits & TRAIT_VIEW);
  bool is_fused = node->graph->owner && node_is(node->graph->owner, &op_kernel);
  if (!moves || is_fused) return node->data ? "" : origin;
  const char *cost = cost_note(node);
  return *origin ? arena_printf(node->graph->module->arena, "%s; %s", origin, cost) : cost;
}

const char *graph_note(Graph *graph) {
  Module *module = graph->module;
  int64_t constants = 0, peak = graph_peak_bytes(graph);
  int count = 0;
  FOR_EACH_NODE(node, graph) {
    count += !node->data && !node_is(node, &op_return);
    constants += node->data && !node->data->splat ? (int64_t)node->data->size : 0;
  }
  const char *most = peak < 0 ? "intermediates depend on the dims"
                              : arena_printf(module->arena, "at most %s of intermediates at a time",
                                             size_text(module, dim_const(module, peak)));
  return arena_printf(module->arena, "%d nodes, %s, %s of constants, %s", count,
                      macs_text(module, graph_macs(graph)), size_text(module, dim_const(module, constants)),
                      most);
}
