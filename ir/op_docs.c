/* op_docs.c -- the operators of the graph as a part of docs/operators.md: a section per family, an entry per
 * operator. */
#include "ir/ir.h"

#include <string.h>

static void print_operands(const Op *op, FILE *out) {
  for (int i = 0; i < op->operand_count; i++) {
    const OperandSpec *spec = &op->operands[i];
    bool repeats = op->traits & TRAIT_VARIADIC && i == op->operand_count - 1;
    fprintf(out, "%s%s%s%s", i ? ", " : "", spec->name, spec->optional ? "?" : "", repeats ? "..." : "");
  }
}

/* `name(x, y?; attr=default)` */
static void print_signature(const Op *op, FILE *out) {
  fprintf(out, "#### %s\n\n`%s(", op->name, op->name);
  print_operands(op, out);
  for (int i = 0; i < op->attr_count; i++) {
    const AttrSpec *spec = &op->attrs[i];
    fprintf(out, "%s%s", i ? ", " : op->operand_count ? "; " : "", spec->name);
    if (spec->value) fprintf(out, "=%s", *spec->value ? spec->value : "\"\"");
  }
  fprintf(out, ")`");
  for (int i = 0; i < op->result_count; i++) fprintf(out, "%s`%s`", i ? ", " : " gives ", op->results[i]);
  fprintf(out, "\n\n%s\n\n", op->doc);
}

static const char *kind_name(AttrKind kind) {
  static const char *const names[] = {
      [ATTR_BOOL] = "bool",   [ATTR_INT] = "integer",   [ATTR_FLOAT] = "number",   [ATTR_STRING] = "word",
      [ATTR_DTYPE] = "dtype", [ATTR_INTS] = "integers", [ATTR_FLOATS] = "numbers", [ATTR_DIMS] = "sizes",
  };
  return names[kind];
}

static void print_choices(const char *choices, FILE *out) {
  for (const char *at = choices; at && *at;) {
    size_t length = strcspn(at, "|");
    fprintf(out, "%s`%.*s`", at == choices ? ": " : ", ", (int)length, at);
    at += length + (at[length] == '|');
  }
}

static void print_meaning(const Op *op, FILE *out) {
  const char *meaning = op->element                  ? "per element"
                        : op->nest                   ? "a loop nest"
                        : op->expand                 ? "made of other operators"
                        : op->call                   ? "a function of the runtime"
                        : op->traits & TRAIT_DYNAMIC ? "known while the graph runs, in sessions only"
                                                     : "structure of the graph";
  fprintf(out, "- Meaning: %s.\n\n", meaning);
}

static void print_op(const Op *op, FILE *out) {
  print_signature(op, out);
  for (int i = 0; i < op->operand_count; i++)
    fprintf(out, "- `%s`%s: %s\n", op->operands[i].name, op->operands[i].optional ? " (optional)" : "",
            op->operands[i].doc);
  for (int i = 0; i < op->attr_count; i++) {
    fprintf(out, "- `%s` (%s", op->attrs[i].name, kind_name(op->attrs[i].kind));
    print_choices(op->attrs[i].choices, out);
    fprintf(out, "): %s\n", op->attrs[i].doc);
  }
  print_meaning(op, out);
}

static bool is_first_of_family(int index) {
  for (int i = 0; i < index; i++)
    if (strcmp(all_ops[i]->family, all_ops[index]->family) == 0) return false;
  return true;
}

void ops_print_markdown(FILE *out) {
  fprintf(out, "## Operators of the graph\n\nWhat graphs are made of, from the tables in `ir/ops/`; one file "
               "there per "
               "section here. `?` marks what may be absent, `=` a default.\n\n");
  for (int i = 0; i < all_op_count; i++) {
    if (!is_first_of_family(i)) continue;
    fprintf(out, "### %s\n\n", all_ops[i]->family);
    for (int j = i; j < all_op_count; j++)
      if (strcmp(all_ops[j]->family, all_ops[i]->family) == 0) print_op(all_ops[j], out);
  }
}
