/*
 * node.c -- one node of the model: its row, its inputs, its outputs, its errors.
 *
 * A node that fails marks its outputs as failed (or as values of the types that the model declares for them),
 * and the rest of the model is looked at all the same: the user sees every problem in one run.
 */
#include "frontend/onnx/onnx.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 1 << 20, MAX_OPERANDS = 1 << 16, MAX_ERRORS = 1000 };

static const OnnxRows *const families[] = {
#define FAMILY(name) &onnx_##name,
#include "frontend/onnx/families.def"
#undef FAMILY
};

/* The row with the highest version up to `opset`. *first gets the lowest version that any row has, 0 when
 * there is none. */
static const OnnxRow *row_find(const char *qualified, int64_t opset, int *first) {
  const OnnxRow *best = NULL;
  *first = 0;
  for (int f = 0; f < COUNT_OF(families); f++) {
    for (int i = 0; i < families[f]->count; i++) {
      const OnnxRow *row = &families[f]->rows[i];
      if (strcmp(row->name, qualified) != 0) continue;
      if (!*first || row->since < *first) *first = row->since;
      if (row->since <= opset && (!best || row->since > best->since)) best = row;
    }
  }
  return best;
}

bool import_as(OnnxNode *node, const char *qualified, int64_t opset, Value **inputs, int count) {
  int first;
  OnnxNode other = *node;
  other.row = row_find(qualified, opset, &first);
  if (!other.row) return onnx_fail(node, "it is made of %s, which is not supported", qualified);
  other.opset = opset;
  other.inputs = inputs;
  other.input_count = count;
  bool done = other.row->import(&other);
  node->has_failed |= other.has_failed;
  return done;
}

/* ---- Errors */

static const char *node_label(const Onnx__NodeProto *proto) {
  if (proto->name && *proto->name) return proto->name;
  for (size_t i = 0; i < proto->n_output; i++)
    if (*proto->output[i]) return proto->output[i];
  return "";
}

static const char *input_types(const OnnxNode *node) {
  enum { MAX_SHOWN = 6 };
  const char *text = node->input_count ? "" : "nothing";
  for (int i = 0; i < node->input_count && i < MAX_SHOWN; i++) {
    const Value *value = node->inputs[i];
    const char *type = !value ? "_" : value->type ? type_text(node->module, value->type) : "?";
    text = arena_printf(node->module->arena, "%s%s%s", text, i ? ", " : "", type);
  }
  return node->input_count > MAX_SHOWN ? arena_printf(node->module->arena, "%s, ...", text) : text;
}

/* "opset 13, on f32[2,3], i64[4]", and where it stands. */
static const char *node_detail(const OnnxNode *node) {
  const OnnxNode *caller = node->scope->caller;
  const char *where = !caller ? ""
                              : arena_printf(node->module->arena, ", in the function %s of node '%s'",
                                             caller->proto->op_type, node_label(caller->proto));
  int64_t opset = scope_opset(node->scope, node->proto->domain);
  const char *version = opset ? arena_printf(node->module->arena, "opset %lld", (long long)opset)
                              : "a domain that the model does not import";
  return arena_printf(node->module->arena, "%s, on %s%s", version, input_types(node), where);
}

static const char *qualified_name(const OnnxNode *node) {
  const char *name = node->proto->op_type ? node->proto->op_type : "";
  bool is_plain = domain_is_onnx(node->proto->domain);
  return is_plain ? name : arena_printf(node->module->arena, "%s.%s", node->proto->domain, name);
}

bool onnx_fail(const OnnxNode *node, const char *format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  diag_add(node->module, (Diag){.severity = SEVERITY_ERROR,
                                .node = node_label(node->proto),
                                .op = qualified_name(node),
                                .text = text,
                                .detail = node_detail(node)});
  return false;
}

/* "NonMaxSuppression" and "non_max_suppression" */
static bool is_same_name(const char *onnx, const char *core) {
  for (; *onnx || *core; onnx++, core++) {
    core += *core == '_';
    if (tolower((unsigned char)*onnx) != *core) return false;
  }
  return true;
}

/* What core operators found wrong since `last` is said in the words of the model. */
static void name_errors(const OnnxNode *node, const Diag *last) {
  Module *module = node->module;
  const char *label = node_label(node->proto);
  for (Diag *diag = last ? last->next : module->diags; diag; diag = diag->next) {
    if (diag->severity != SEVERITY_ERROR || diag->detail || !diag->node || !diag->op) continue;
    if (strcmp(diag->node, label) != 0) continue;
    if (!is_same_name(node->proto->op_type, diag->op))
      diag->text = arena_printf(module->arena, "%s: %s", diag->op, diag->text);
    diag->op = intern(module, qualified_name(node));
    diag->detail = node_detail(node);
  }
}

static const char *way_out(const OnnxNode *node, const char *qualified) {
  const char *domain = node->proto->domain;
  const OnnxRefusal *refusal = refusal_find(qualified);
  if (refusal) return arena_printf(node->module->arena, "%s; %s", refusal->why, refusal->hint);
  if (!domain_is_onnx(domain) && strcmp(domain, "com.microsoft") != 0)
    return "export the model with the standard operators only";
  return "simplify the model (onnxsim) or export it with operators of docs/operators.md";
}

static bool fail_unsupported(const OnnxNode *node, const char *qualified, int first) {
  if (first)
    return onnx_fail(node, "exists since opset %d, the model imports opset %lld", first,
                     (long long)node->opset);
  return onnx_fail(node, "not supported: %s", way_out(node, qualified));
}

/* ---- Inputs */

/* Finds the operands; false when a name has no value. *any_failed: one belongs to a node that failed. */
static bool bind_inputs(OnnxNode *node, bool *any_failed) {
  const Onnx__NodeProto *proto = node->proto;
  size_t count = proto->n_input;
  if (count > MAX_OPERANDS || proto->n_output > MAX_OPERANDS)
    return onnx_fail(node, "%zu inputs and %zu outputs", count, proto->n_output);
  while (count && !*proto->input[count - 1]) count--;
  node->input_count = (int)count;
  node->inputs = NEW_ARRAY(node->module->arena, Value *, count + 1);
  *any_failed = false;
  for (size_t i = 0; i < count; i++) {
    if (!*proto->input[i]) continue;
    Value *value = scope_find(node->import, node->scope, intern(node->module, proto->input[i]));
    if (!value)
      return onnx_fail(node, "input %zu, '%s', is defined nowhere before this node", i, proto->input[i]);
    *any_failed |= value == &node->import->failed;
    node->inputs[i] = value == &node->import->absent ? NULL : value;
  }
  return true;
}

static bool check_inputs(OnnxNode *node) {
  const OnnxRow *row = node->row;
  if (row->max_inputs >= 0 && node->input_count > row->max_inputs)
    return onnx_fail(node, "has %d inputs, at most %d are known", node->input_count, row->max_inputs);
  int needed =
      row->max_inputs < 0 && node->input_count > row->min_inputs ? node->input_count : row->min_inputs;
  for (int i = 0; i < needed; i++)
    if (!input(node, i)) return onnx_fail(node, "input %d is missing", i);
  return true;
}

/* ---- Outputs */

static bool define(OnnxNode *node, Scope *scope, const char *name, Value *value) {
  const char *interned = intern(node->module, name);
  if (names_get(&scope->values, interned)) return onnx_fail(node, "'%s' is defined twice", name);
  names_set(node->module, &scope->values, interned, value);
  return true;
}

static void define_failed(OnnxNode *node, Scope *scope) {
  for (size_t i = 0; i < node->proto->n_output; i++) {
    const char *name = intern(node->module, node->proto->output[i]);
    if (!*name || names_get(&scope->values, name)) continue;
    const Onnx__ValueInfoProto *declared = names_get(&scope->declared, name);
    const Type *type = declared ? type_of_onnx(node->import, declared->type, name, false) : NULL;
    /* The graph has an error already and will not be used: an input more does no harm. */
    Value *value = type ? graph_add_input(node->import->graph, NULL, type) : &node->import->failed;
    names_set(node->module, &scope->values, name, value);
  }
}

static bool define_outputs(OnnxNode *node, Scope *scope) {
  bool ok = true;
  for (int i = 0; i < node->output_count; i++) {
    const char *name = node->proto->output[i];
    Value *value = node->outputs[i];
    if (!*name) continue;
    if (!value) {
      onnx_fail(node, "its output %d, '%s', is not supported", i, name);
      ok = false;
      continue;
    }
    check_declared(node->import, names_get(&scope->declared, intern(node->module, name)), value);
    if (value->def && !value->name && value->graph == node->import->graph) value_set_name(value, name);
    ok &= define(node, scope, name, value);
  }
  return ok;
}

/* ---- A node */

static bool build_node(OnnxNode *node) {
  const Onnx__FunctionProto *function = function_find(node->import, node->proto);
  if (function) return function_expand(node, function);
  TRY(check_inputs(node));
  return node->row->import(node) && !node->has_failed;
}

/* Sets row and opset; false when there is neither a row nor a function. */
static bool resolve(OnnxNode *node) {
  const Onnx__NodeProto *proto = node->proto;
  int first;
  if (!proto->op_type || !*proto->op_type) return onnx_fail(node, "a node without operator");
  node->opset = scope_opset(node->scope, proto->domain);
  if (node->opset < 1) node->opset = 1;
  const char *name = qualified_name(node);
  node->row = row_find(name, node->opset, &first);
  return node->row || function_find(node->import, proto) || fail_unsupported(node, name, first);
}

static bool import_node(OnnxNode *node, Scope *scope) {
  bool any_failed = false;
  if (++node->import->node_count > MAX_NODES) return onnx_fail(node, "more than %d nodes", MAX_NODES);
  TRY(bind_inputs(node, &any_failed));
  TRY(resolve(node));
  if (any_failed) return false;
  return build_node(node) && define_outputs(node, scope);
}

void import_nodes(Import *import, Scope *scope, size_t count, Onnx__NodeProto **nodes) {
  Module *module = import->module;
  for (size_t i = 0; i < count && module->error_count < MAX_ERRORS && import->node_count <= MAX_NODES; i++) {
    OnnxNode node = {.import = import, .module = module, .scope = scope, .proto = nodes[i]};
    node.output_count = (int)(nodes[i]->n_output > MAX_OPERANDS ? MAX_OPERANDS : nodes[i]->n_output);
    while (node.output_count && !*nodes[i]->output[node.output_count - 1]) node.output_count--;
    if (node.output_count == 0) continue; /* nobody can use it */
    node.outputs = NEW_ARRAY(module->arena, Value *, node.output_count);
    node.builder = builder_at_end(import->graph);
    node.builder.origin = intern(module, node_label(nodes[i]));
    const Diag *last = module->last_diag;
    if (import_node(&node, scope)) continue;
    name_errors(&node, last);
    define_failed(&node, scope);
  }
}
