/*
 * tables.c -- what lies between two quantized values becomes a table.
 *
 * Before: quantize(f(dequantize(q))), where f is any chain or tree of pointwise ops on that one value and
 * numbers, perhaps quantized in between. After: lookup(q), with f of all 256 bytes as the interpreter
 * computes it. A chain of cheap arithmetic stays where processors look up slowly (Target.permutes_bytes); exp
 * and its kin, of SiLU, GELU, sigmoid and tanh, are always slower than a table. Requires products as
 * integers: what is behind their sums is no function of a byte. Keeps: integers, up to the rounding of what
 * stands in between.
 */
#include "passes/rewrite.h"

enum { TABLE = 256, MAX_CHAIN = 32, MAX_VISITS = 256 };

/* The nodes between a byte and what is made of it alone, in order. */
typedef struct Chain {
  const Type *type; /* the shape of all */
  Value *leaf;
  Node *nodes[MAX_CHAIN];
  int count, visits;
  bool costly;
} Chain;

static bool chain_holds(const Chain *chain, const Node *node) {
  for (int i = 0; i < chain->count; i++)
    if (chain->nodes[i] == node) return true;
  return false;
}

static bool chain_add(Chain *chain, Value *x);

static bool chain_add_node(Chain *chain, Node *node) {
  if (chain_holds(chain, node)) return true;
  if (!node_is_pointwise(node) || chain->count == MAX_CHAIN) return false;
  for (int i = 0; i < node->operand_count; i++)
    if (operand(node, i)) TRY(chain_add(chain, operand(node, i)));
  if (chain->count == MAX_CHAIN) return false;
  chain->nodes[chain->count++] = node;
  chain->costly |= !(node->op->traits & TRAIT_CHEAP);
  return true;
}

/* x is a number, or follows from the leaf: the byte that is furthest back. */
static bool chain_add(Chain *chain, Value *x) {
  double number;
  if (value_scalar(x, &number)) return true;
  if (++chain->visits > MAX_VISITS || !type_same_shape(x->type, chain->type)) return false;
  int count = chain->count;
  Value *leaf = chain->leaf;
  bool costly = chain->costly;
  if (x == leaf || (x->def && chain_add_node(chain, x->def))) return true;
  chain->count = count;
  chain->leaf = leaf;
  chain->costly = costly;
  if (leaf || !dtype_is_byte(x->type->dtype)) return false;
  chain->leaf = x;
  return true;
}

/* ---- the table ---- */

static Value *all_bytes(Builder *builder, Dtype dtype) {
  Module *module = builder->graph->module;
  const Dim *size = dim_const(module, TABLE);
  Data *data = data_new(module, dtype, TABLE);
  for (int i = 0; i < TABLE; i++)
    dtype_set_int(dtype, data_bytes(data), i, dtype == DTYPE_I8 ? (int8_t)i : i);
  return build_const(builder, type_make(module, dtype, 1, &size), data, NULL);
}

/* What stands for an operand of the chain in the graph that computes the table. */
static Value *chain_map(const Chain *chain, Builder *builder, Value *const *copies, Value *bytes, Value *x) {
  double number;
  if (x == chain->leaf) return bytes;
  for (int i = 0; i < chain->count; i++)
    if (result(chain->nodes[i], 0) == x) return copies[i];
  return value_scalar(x, &number) ? build_scalar(builder, x->type->dtype, number) : NULL;
}

static Value *chain_copy(const Chain *chain, Builder *builder) {
  enum { MAX_OPERANDS = 8 };
  Value *copies[MAX_CHAIN] = {NULL}, *bytes = all_bytes(builder, chain->leaf->type->dtype);
  for (int n = 0; n < chain->count; n++) {
    Node *node = chain->nodes[n];
    Value *operands[MAX_OPERANDS] = {NULL};
    if (node->operand_count > MAX_OPERANDS) return NULL;
    for (int i = 0; i < node->operand_count; i++)
      if (operand(node, i)) operands[i] = chain_map(chain, builder, copies, bytes, operand(node, i));
    copies[n] = node_try(node_like(builder, node, operands), NULL);
    if (!copies[n]) return NULL;
  }
  return copies[chain->count - 1];
}

/* f of every byte. */
static bool chain_compute(const Chain *chain, Module *module, int64_t *table) {
  Graph *graph = graph_new(module, "table", NULL);
  Builder builder = builder_at_end(graph);
  Diag *last = module->last_diag;
  Tensor tensor;
  const char *name = "table";
  Value *y = chain_copy(chain, &builder);
  if (!y || !graph_set_outputs(graph, 1, &y, &name) || !graph_interpret(graph, NULL, &tensor)) {
    diags_take_back(module, last);
    return false;
  }
  bool whole = tensor_count(&tensor) == TABLE;
  for (int i = 0; whole && i < TABLE; i++) table[i] = dtype_get_int(tensor.dtype, tensor.data, i);
  tensor_free(&tensor);
  return whole;
}

/* ---- the rewrite ---- */

static Value *table_of(Node *quantize) {
  Value *y = result(quantize, 0);
  Module *module = quantize->graph->module;
  Chain chain = {.type = y->type};
  int64_t table[TABLE];
  if (!dtype_is_byte(y->type->dtype) || !chain_add_node(&chain, quantize)) return NULL;
  if (!chain.leaf || !chain.costly) return NULL;
  if (!chain_compute(&chain, module, table)) return NULL;
  Builder builder = builder_before(quantize);
  Node *node = node_new(&builder, &op_lookup, &chain.leaf, 1);
  node_set_ints(node, "table", table, TABLE);
  node_set_dtype(node, "to", y->type->dtype);
  return node_try(node, y->type);
}

bool graph_make_tables(Graph *graph) {
  bool changed = false;
  for (Node *node = graph->last, *before; node; node = before) {
    before = node->prev;
    Value *y = node_is(node, &op_quantize) ? table_of(node) : NULL;
    if (!y) continue;
    node_replace(node, y);
    changed = true;
  }
  if (changed) graph_sweep(graph);
  return changed;
}
