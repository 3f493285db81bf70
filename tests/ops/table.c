/*
 * table.c -- walks the table of operators: each must be complete and have a test file, and docs/operators.md
 * must be what the table says (`test_ops_table ROOT --write` rewrites it).
 */
#include "ir/ir.h"
#include "tests/ops/onnx_page.h"
#include "tests/test.h"

#include <stdlib.h>
#include <sys/stat.h>

static const char *root;

static bool file_exists(const char *folder, const char *name, const char *ending) {
  char path[1000];
  struct stat info;
  snprintf(path, sizeof path, "%s/%s/%s%s", root, folder, name, ending);
  return stat(path, &info) == 0;
}

static bool is_structure(const Op *op) {
  return op->traits & TRAIT_STRUCTURE;
}

static bool complain(const Op *op, bool ok, const char *lacks) {
  if (!ok) printf("%s: %s\n", op->name, lacks);
  return CHECK(ok);
}

static int count_meanings(const Op *op) {
  return (op->element != NULL) + (op->nest != NULL) + (op->expand != NULL) + (op->call != NULL);
}

static void check_specs(const Op *op) {
  for (int i = 0; i < op->operand_count; i++)
    complain(op, op->operands[i].name && op->operands[i].doc, "an operand without name or doc");
  for (int i = 0; i < op->attr_count; i++)
    complain(op, op->attrs[i].name && op->attrs[i].doc, "an attribute without name or doc");
}

TEST(every_operator_is_complete) {
  for (int i = 0; i < all_op_count; i++) {
    const Op *op = all_ops[i];
    complain(op, op->doc && strlen(op->doc) > 5 && op->doc[strlen(op->doc) - 1] == '.',
             "no sentence of documentation");
    complain(op, op->family && file_exists("ir/ops", op->family, ".c"), "its family is no file of ir/ops");
    complain(op, op->result_count > 0 || op == &op_return, "no result");
    check_specs(op);
    if (is_structure(op)) continue;
    complain(op, op->infer != NULL, "no infer");
    complain(op, op->axes || op->traits & TRAIT_BROADCAST, "no axis map");
    complain(op, count_meanings(op) == 1, "not exactly one meaning");
    complain(op, file_exists("tests/ops", op->name, ".tn"), "no file in tests/ops");
  }
}

TEST(the_table_is_sorted) {
  for (int i = 1; i < all_op_count; i++)
    complain(all_ops[i], strcmp(all_ops[i - 1]->name, all_ops[i]->name) < 0, "out of order in ops.def");
  for (int i = 0; i < all_op_count; i++)
    CHECK(op_find(all_ops[i]->name, strlen(all_ops[i]->name)) == all_ops[i]);
}

static char *read_file(const char *path) {
  FILE *in = fopen(path, "r");
  size_t size = 0, room = 1 << 20;
  char *text = calloc(1, room);
  if (in) {
    size = fread(text, 1, room - 1, in);
    fclose(in);
  }
  text[size] = '\0';
  return text;
}

static void docs_path(char path[1000]) {
  snprintf(path, 1000, "%s/docs/operators.md", root);
}

static void print_page(FILE *out) {
  fprintf(out, "# Operators\n\nGenerated, by `build/tests/ops/test_ops_table . --write`.\n\n");
  onnx_print_markdown(root, out);
  ops_print_markdown(out);
}

TEST(onnx_operators_are_listed_once) {
  CHECK_INT(onnx_check_tables(root), 0);
}

TEST(the_operator_page_is_up_to_date) {
  char path[1000], *made = NULL;
  size_t size;
  docs_path(path);
  FILE *out = open_memstream(&made, &size);
  print_page(out);
  fclose(out);
  char *there = read_file(path);
  if (!CHECK(strcmp(there, made) == 0)) printf("  test_ops_table ROOT --write brings it up to date\n");
  free(there);
  free(made);
}

static int write_docs(void) {
  char path[1000];
  docs_path(path);
  FILE *out = fopen(path, "w");
  if (!out) return 1;
  print_page(out);
  return fclose(out) != 0;
}

int main(int argc, char **argv) {
  root = argc > 1 ? argv[1] : ".";
  if (argc > 2 && strcmp(argv[2], "--write") == 0) return write_docs();
  RUN(every_operator_is_complete);
  RUN(the_table_is_sorted);
  RUN(onnx_operators_are_listed_once);
  RUN(the_operator_page_is_up_to_date);
  return tests_finish();
}
