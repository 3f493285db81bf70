/* strings.c -- ONNX operators on strings, and casts from and to them. */
#include "frontend/onnx/strings.h"
#include "frontend/strings.h"

#include <string.h>

/* ---- Shared */

bool is_string(const Value *value) {
  return value && value->type->dtype == DTYPE_STRING;
}

static Value *string_scalar(OnnxNode *node, const char *text) {
  return build_strings(&node->builder, &text, 1, 0);
}

Value *emit_string_pair(OnnxNode *node, const Op *op, Value *x, Value *y) {
  const Type *type;
  if (!x || !y) return NULL;
  if (!is_string(x) || !is_string(y) ||
      !type_broadcast(node->module, x->type, y->type, DTYPE_STRING, &type)) {
    onnx_fail(node, "%s and %s are no strings of matching shapes", type_text(node->module, x->type),
              type_text(node->module, y->type));
    return NULL;
  }
  return emit_binary(node, op, emit_broadcast(node, x, type), emit_broadcast(node, y, type));
}

/* ---- Casts */

static Value *format(OnnxNode *node, Value *x) {
  Dtype from = x->type->dtype, wide = from;
  if (from == DTYPE_BOOL) {
    Value *text = emit_where(node, x, string_scalar(node, "True"), string_scalar(node, "False"));
    return text;
  }
  if (dtype_is_int(from))
    wide = from == DTYPE_U64 ? DTYPE_U64 : DTYPE_I64;
  else if (from != DTYPE_F64)
    wide = DTYPE_F32;
  x = emit_cast(node, x, wide);
  if (!x) return NULL;
  Node *core = node_new(&node->builder, &op_string_format, &x, 1);
  node_set_dtype(core, "like", from == DTYPE_F16 || from == DTYPE_BF16 || dtype_is_int(from) ? from : wide);
  return finish(core);
}

static Value *parse(OnnxNode *node, Value *x, Dtype to) {
  Node *core = node_new(&node->builder, &op_string_parse, &x, 1);
  node_set_dtype(core, "to", dtype_is_int(to) ? DTYPE_I64 : DTYPE_F64);
  return emit_cast(node, finish(core), to);
}

Value *emit_string_cast(OnnxNode *node, Value *x, Dtype to) {
  if (!x || x->type->dtype == to) return x;
  return is_string(x) ? parse(node, x, to) : format(node, x);
}

/* ---- Operators */

static bool import_string_concat(OnnxNode *node) {
  return set_output(node, emit_string_pair(node, &op_string_concat, input(node, 0), input(node, 1)));
}

static bool import_regex_full_match(OnnxNode *node) {
  const char *pattern = attr_string(node, "pattern", NULL);
  if (!pattern) return onnx_fail(node, "there is no pattern");
  return set_output(node, emit_binary(node, &op_string_match, input(node, 0), string_scalar(node, pattern)));
}

/* The operator's locale is not asked: letters have the same other case everywhere (runtime/text.c). */
static bool import_string_normalizer(OnnxNode *node) {
  Value *x = input(node, 0);
  int count;
  const char *action = attr_string(node, "case_change_action", "NONE");
  const char *const *words = attr_strings(node, "stopwords", &count);
  if (x->type->rank == 2) x = emit_known_axis(node, x, 0, 1);
  if (count && x) {
    Node *core = node_new(&node->builder, &op_string_without,
                          (Value *[]){x, build_strings(&node->builder, words, count, 1)}, 2);
    node_set_bool(core, "ignore_case", !attr_bool(node, "is_case_sensitive", false));
    x = finish(core);
  }
  TRY(x);
  if (strcmp(action, "NONE") == 0) return set_output(node, x);
  if (strcmp(action, "LOWER") != 0 && strcmp(action, "UPPER") != 0)
    return onnx_fail(node, "case_change_action '%s' is not known", action);
  Node *core = node_new(&node->builder, &op_string_case, &x, 1);
  node_set_bool(core, "upper", action[0] == 'U');
  return set_output(node, finish(core));
}

static bool import_string_split(OnnxNode *node) {
  static const Op *const ops[] = {&op_string_split, &op_string_split_count};
  Value *operands[] = {input(node, 0), string_scalar(node, attr_string(node, "delimiter", ""))};
  int64_t most = attr_int(node, "maxsplit", -1);
  for (int i = 0; i < node->output_count && i < COUNT_OF(ops); i++) {
    Node *core = node_new(&node->builder, ops[i], operands, 2);
    node_set_int(core, "most", most);
    TRY((node->outputs[i] = finish(core)));
  }
  return true;
}

static const OnnxRow rows[] = {
    {"RegexFullMatch", 20, 1, 1, import_regex_full_match, NULL},
    {"StringConcat", 20, 2, 2, import_string_concat, NULL},
    {"StringNormalizer", 10, 1, 1, import_string_normalizer, NULL},
    {"StringSplit", 20, 1, 1, import_string_split, NULL},
};

const OnnxRows onnx_strings = {rows, COUNT_OF(rows)};
