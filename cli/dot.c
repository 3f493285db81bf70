/* dot.c -- `tenon show --dot`: the graph in the language of Graphviz. Constants are left out. */
#include "cli/dot.h"

#include <string.h>

/* Inside a quoted string: backslashes begin escapes there. */
static void write_quoted(FILE *out, const char *text) {
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') fputc('\\', out);
    if (*text == '\n')
      fputs("\\n", out);
    else
      fputc(*text, out);
  }
}

/* The ops in a kernel, "conv + relu"; else the op. */
static void write_ops(FILE *out, const Node *node) {
  const char *separator = "";
  if (!node_is(node, &op_kernel)) {
    fputs(node->op->name, out);
    return;
  }
  FOR_EACH_NODE(inner, node->regions[0]) {
    if (node_is(inner, &op_const) || node_is(inner, &op_return)) continue;
    fprintf(out, "%s%s", separator, inner->op->name);
    separator = " + ";
  }
}

static void write_node(FILE *out, const Node *node) {
  fprintf(out, "  n%d [label=\"", node->mark);
  write_ops(out, node);
  for (int i = 0; i < node->result_count; i++) {
    fputs("\\n", out);
    write_quoted(out, type_text(node->graph->module, result(node, i)->type));
  }
  fputs("\", tooltip=\"", out);
  write_quoted(out, node->origin ? node->origin : "");
  fputs("\"];\n", out);
}

/* The box that a value comes from; false: a constant. */
static bool write_source(FILE *out, const Value *value) {
  if (value->def && value->def->data) return false;
  fprintf(out, value->def ? "  n%d" : "  i%d", value->def ? value->def->mark : value->index);
  return true;
}

static void write_edges(FILE *out, const Node *node) {
  for (int i = 0; i < node->operand_count; i++)
    if (operand(node, i) && write_source(out, operand(node, i))) fprintf(out, " -> n%d;\n", node->mark);
}

static void write_end(FILE *out, char kind, int number, const char *name) {
  fprintf(out, "  %c%d [shape=ellipse, label=\"", kind, number);
  write_quoted(out, name);
  fputs("\"];\n", out);
}

void dot_print(Graph *graph, FILE *out) {
  int count = 0;
  FOR_EACH_NODE(node, graph) node->mark = count++;
  fputs("digraph \"", out);
  write_quoted(out, graph->name ? graph->name : "");
  fputs("\" {\n  node [shape=box, style=rounded, fontname=\"sans-serif\", fontsize=10];\n", out);
  for (int i = 0; i < graph->input_count; i++) write_end(out, 'i', i, graph->inputs[i]->name);
  FOR_EACH_NODE(node, graph) {
    if (node_is(node, &op_const) || node_is(node, &op_return)) continue;
    write_node(out, node);
    write_edges(out, node);
  }
  for (int i = 0; i < graph->output_count; i++) {
    write_end(out, 'o', i, graph->output_names[i]);
    if (write_source(out, graph_output(graph, i))) fprintf(out, " -> o%d;\n", i);
  }
  fputs("}\n", out);
}
