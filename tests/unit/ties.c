/*
 * ties.c -- what removing one unit makes of a graph, for the ways in which models tie channels; and that the
 * result is exact (tests/random/masked.h), with weights that are random.
 */
#include <stdlib.h>

#include "passes/ties.h"
#include "tests/random/generate.h"
#include "tests/random/masked.h"
#include "tests/test.h"

typedef struct Case {
  const char *graph;
  const char *removed; /* "VALUE AXIS INDEX", with commas between: the units of these */
  int units;
  const char *after; /* the nodes, one per line; constants without their elements */
} Case;

static const Case cases[] = {
    /* residual: the sum ties both convolutions, and the input of the first in between is free */
    {"graph g(%x: f32[2,3,4,4]) -> (%y: f32[2,2,4,4]) {\n"
     "  const %w0: f32[4,3,1,1] = splat 0\n"
     "  const %w1: f32[5,4,1,1] = splat 0\n"
     "  const %w2: f32[4,5,1,1] = splat 0\n"
     "  const %b2: f32[4] = splat 0\n"
     "  const %w3: f32[2,4,1,1] = splat 0\n"
     "  %a: f32[2,4,4,4] = conv %x, %w0\n"
     "  %b: f32[2,5,4,4] = conv %a, %w1\n"
     "  %c: f32[2,4,4,4] = conv %b, %w2, %b2\n"
     "  %d: f32[2,4,4,4] = add %a, %c\n"
     "  %e: f32[2,4,4,4] = relu %d\n"
     "  %y: f32[2,2,4,4] = conv %e, %w3\n"
     "  return %y\n}\n",
     "w2 0 2, w1 0 4", 9,
     "w0: f32[3,3,1,1]\n"
     "w1: f32[4,3,1,1]\n"
     "w2: f32[3,4,1,1]\n"
     "b2: f32[3]\n"
     "w3: f32[2,3,1,1]\n"
     "%a: f32[2,3,4,4] = conv %x, %w0\n"
     "%b: f32[2,4,4,4] = conv %a, %w1\n"
     "%c: f32[2,3,4,4] = conv %b, %w2, %b2\n"
     "%d: f32[2,3,4,4] = add %a, %c\n"
     "%e: f32[2,3,4,4] = relu %d\n"
     "%y: f32[2,2,4,4] = conv %e, %w3\n"},
    /* concat and slices: an index finds its part */
    {"graph g(%x: f32[2,3,4,4]) -> (%y: f32[2,2,4,4]) {\n"
     "  const %w0: f32[3,3,1,1] = splat 0\n"
     "  const %w1: f32[4,3,1,1] = splat 0\n"
     "  const %w2: f32[2,3,1,1] = splat 0\n"
     "  const %w3: f32[2,4,1,1] = splat 0\n"
     "  %a: f32[2,3,4,4] = conv %x, %w0\n"
     "  %b: f32[2,4,4,4] = conv %x, %w1\n"
     "  %c: f32[2,7,4,4] = concat %a, %b, axis=1\n"
     "  %d: f32[2,3,4,4] = slice %c, starts=[0,1,0,0], sizes=[2,3,4,4]\n"
     "  %e: f32[2,4,4,4] = slice %c, starts=[0,3,0,0], sizes=[2,4,4,4]\n"
     "  %f: f32[2,2,4,4] = conv %d, %w2\n"
     "  %h: f32[2,2,4,4] = conv %e, %w3\n"
     "  %y: f32[2,2,4,4] = mul %f, %h\n"
     "  return %y\n}\n",
     "a 1 0, b 1 0, b 1 3", 7,
     "w0: f32[2,3,1,1]\n"
     "w1: f32[2,3,1,1]\n"
     "w2: f32[2,2,1,1]\n"
     "w3: f32[2,2,1,1]\n"
     "%a: f32[2,2,4,4] = conv %x, %w0\n"
     "%b: f32[2,2,4,4] = conv %x, %w1\n"
     "%c: f32[2,4,4,4] = concat %a, %b, axis=1\n"
     "%d: f32[2,2,4,4] = slice %c, starts=[0,0,0,0], sizes=[2,2,4,4]\n"
     "%e: f32[2,2,4,4] = slice %c, starts=[0,2,0,0], sizes=[2,2,4,4]\n"
     "%f: f32[2,2,4,4] = conv %d, %w2\n"
     "%h: f32[2,2,4,4] = conv %e, %w3\n"
     "%y: f32[2,2,4,4] = mul %f, %h\n"},
    /* depthwise, with two results for a channel, which go together; the number of groups follows */
    {"graph g(%x: f32[2,3,4,4]) -> (%y: f32[2,2,4,4]) {\n"
     "  const %w0: f32[4,3,1,1] = splat 0\n"
     "  const %w1: f32[8,1,3,3] = splat 0\n"
     "  const %b1: f32[8] = splat 0\n"
     "  const %w2: f32[2,8,1,1] = splat 0\n"
     "  %a: f32[2,4,4,4] = conv %x, %w0\n"
     "  %b: f32[2,8,4,4] = conv %a, %w1, %b1, pads=[1,1,1,1], group=4\n"
     "  %y: f32[2,2,4,4] = conv %b, %w2\n"
     "  return %y\n}\n",
     "w2 1 3", 4,
     "w0: f32[3,3,1,1]\n"
     "w1: f32[6,1,3,3]\n"
     "b1: f32[6]\n"
     "w2: f32[2,6,1,1]\n"
     "%a: f32[2,3,4,4] = conv %x, %w0\n"
     "%b: f32[2,6,4,4] = conv %a, %w1, %b1, pads=[1,1,1,1], group=3\n"
     "%y: f32[2,2,4,4] = conv %b, %w2\n"},
    /* two groups of six are too few to lose one: the same channel goes from both, of x and of the result */
    {"graph g(%x: f32[2,3,4,4]) -> (%y: f32[2,2,4,4]) {\n"
     "  const %w0: f32[12,3,1,1] = splat 0\n"
     "  const %w1: f32[10,6,1,1] = splat 0\n"
     "  const %w2: f32[2,10,1,1] = splat 0\n"
     "  %a: f32[2,12,4,4] = conv %x, %w0\n"
     "  %b: f32[2,10,4,4] = conv %a, %w1, group=2\n"
     "  %y: f32[2,2,4,4] = conv %b, %w2\n"
     "  return %y\n}\n",
     "a 1 7, b 1 4", 11,
     "w0: f32[10,3,1,1]\n"
     "w1: f32[8,5,1,1]\n"
     "w2: f32[2,8,1,1]\n"
     "%a: f32[2,10,4,4] = conv %x, %w0\n"
     "%b: f32[2,8,4,4] = conv %a, %w1, group=2\n"
     "%y: f32[2,2,4,4] = conv %b, %w2\n"},
    /* of five groups one can go */
    {"graph g(%x: f32[2,3,4,4]) -> (%y: f32[2,2,4,4]) {\n"
     "  const %w0: f32[10,3,1,1] = splat 0\n"
     "  const %w1: f32[15,2,1,1] = splat 0\n"
     "  const %w2: f32[2,15,1,1] = splat 0\n"
     "  %a: f32[2,10,4,4] = conv %x, %w0\n"
     "  %b: f32[2,15,4,4] = conv %a, %w1, group=5\n"
     "  %y: f32[2,2,4,4] = conv %b, %w2\n"
     "  return %y\n}\n",
     "a 1 7", 5,
     "w0: f32[8,3,1,1]\n"
     "w1: f32[12,2,1,1]\n"
     "w2: f32[2,12,1,1]\n"
     "%a: f32[2,8,4,4] = conv %x, %w0\n"
     "%b: f32[2,12,4,4] = conv %a, %w1, group=4\n"
     "%y: f32[2,2,4,4] = conv %b, %w2\n"},
    /* flattened: a channel is a run of rows of the weights behind it */
    {"graph g(%x: f32[N,3,4,4]) -> (%y: f32[N,2]) {\n"
     "  const %w0: f32[3,3,3,3] = splat 0\n"
     "  const %w1: f32[12,2] = splat 0\n"
     "  %a: f32[N,3,2,2] = conv %x, %w0\n"
     "  %b: f32[N,12] = reshape %a, shape=[N,12]\n"
     "  %y: f32[N,2] = gemm %b, %w1\n"
     "  return %y\n}\n",
     "w1 0 6", 3,
     "w0: f32[2,3,3,3]\n"
     "w1: f32[8,2]\n"
     "%a: f32[N,2,2,2] = conv %x, %w0\n"
     "%b: f32[N,8] = reshape %a, shape=[N,8]\n"
     "%y: f32[N,2] = gemm %b, %w1\n"},
    /* attention, q, k and v of one product: a head */
    {"graph g(%x: f32[2,3,6]) -> (%y: f32[2,3,6]) {\n"
     "  const %w0: f32[6,24] = splat 0\n"
     "  const %b0: f32[24] = splat 0\n"
     "  const %w1: f32[8,6] = splat 0\n"
     "  %a0: f32[2,3,24] = matmul %x, %w0\n"
     "  %a: f32[2,3,24] = add %a0, %b0\n"
     "  %h: f32[2,3,3,4,2] = reshape %a, shape=[2,3,3,4,2]\n"
     "  %t: f32[3,2,4,3,2] = transpose %h, perm=[2,0,3,1,4]\n"
     "  %q0: f32[1,2,4,3,2] = slice %t, starts=[0,0,0,0,0], sizes=[1,2,4,3,2]\n"
     "  %k0: f32[1,2,4,3,2] = slice %t, starts=[1,0,0,0,0], sizes=[1,2,4,3,2]\n"
     "  %v0: f32[1,2,4,3,2] = slice %t, starts=[2,0,0,0,0], sizes=[1,2,4,3,2]\n"
     "  %q: f32[2,4,3,2] = reshape %q0, shape=[2,4,3,2]\n"
     "  %k: f32[2,4,3,2] = reshape %k0, shape=[2,4,3,2]\n"
     "  %v: f32[2,4,3,2] = reshape %v0, shape=[2,4,3,2]\n"
     "  %kt: f32[2,4,2,3] = transpose %k, perm=[0,1,3,2]\n"
     "  %s: f32[2,4,3,3] = matmul %q, %kt\n"
     "  %p: f32[2,4,3,3] = softmax %s\n"
     "  %o: f32[2,4,3,2] = matmul %p, %v\n"
     "  %ot: f32[2,3,4,2] = transpose %o, perm=[0,2,1,3]\n"
     "  %m: f32[2,3,8] = reshape %ot, shape=[2,3,-1]\n"
     "  %y: f32[2,3,6] = matmul %m, %w1\n"
     "  return %y\n}\n",
     "w1 0 5", 4,
     "w0: f32[6,18]\n"
     "b0: f32[18]\n"
     "w1: f32[6,6]\n"
     "%a0: f32[2,3,18] = matmul %x, %w0\n"
     "%a: f32[2,3,18] = add %a0, %b0\n"
     "%h: f32[2,3,3,3,2] = reshape %a, shape=[2,3,3,3,2]\n"
     "%t: f32[3,2,3,3,2] = transpose %h, perm=[2,0,3,1,4]\n"
     "%q0: f32[1,2,3,3,2] = slice %t, starts=[0,0,0,0,0], sizes=[1,2,3,3,2]\n"
     "%k0: f32[1,2,3,3,2] = slice %t, starts=[1,0,0,0,0], sizes=[1,2,3,3,2]\n"
     "%v0: f32[1,2,3,3,2] = slice %t, starts=[2,0,0,0,0], sizes=[1,2,3,3,2]\n"
     "%q: f32[2,3,3,2] = reshape %q0, shape=[2,3,3,2]\n"
     "%k: f32[2,3,3,2] = reshape %k0, shape=[2,3,3,2]\n"
     "%v: f32[2,3,3,2] = reshape %v0, shape=[2,3,3,2]\n"
     "%kt: f32[2,3,2,3] = transpose %k, perm=[0,1,3,2]\n"
     "%s: f32[2,3,3,3] = matmul %q, %kt\n"
     "%p: f32[2,3,3,3] = softmax %s\n"
     "%o: f32[2,3,3,2] = matmul %p, %v\n"
     "%ot: f32[2,3,3,2] = transpose %o, perm=[0,2,1,3]\n"
     "%m: f32[2,3,6] = reshape %ot, shape=[2,3,-1]\n"
     "%y: f32[2,3,6] = matmul %m, %w1\n"},
    /* two lstms: a unit is a column of each gate, a row and a column of each of r, its states and peepholes
     */
    {"graph g(%x: f32[5,2,4]) -> (%y: f32[5,2,3]) {\n"
     "  const %w0: f32[4,12] = splat 0\n"
     "  const %r0: f32[3,12] = splat 0\n"
     "  const %h0: f32[2,3] = splat 1\n"
     "  const %p0: f32[9] = splat 0\n"
     "  const %w1: f32[3,8] = splat 0\n"
     "  const %r1: f32[2,8] = splat 0\n"
     "  const %w2: f32[2,3] = splat 0\n"
     "  %a: f32[5,2,12] = matmul %x, %w0\n"
     "  %b: f32[5,2,3], %bh: f32[2,3], %bc: f32[2,3] = lstm %a, %r0, %h0, _, _, %p0\n"
     "  %c: f32[5,2,8] = matmul %b, %w1\n"
     "  %d: f32[5,2,2], %dh: f32[2,2], %dc: f32[2,2] = lstm %c, %r1\n"
     "  %y: f32[5,2,3] = matmul %d, %w2\n"
     "  return %y\n}\n",
     "r0 1 5, dh 1 0", 5,
     "w0: f32[4,8]\n"
     "r0: f32[2,8]\n"
     "h0: f32[2,2]\n"
     "p0: f32[6]\n"
     "w1: f32[2,4]\n"
     "r1: f32[1,4]\n"
     "w2: f32[1,3]\n"
     "%a: f32[5,2,8] = matmul %x, %w0\n"
     "%b: f32[5,2,2], %bh: f32[2,2], %bc: f32[2,2] = lstm %a, %r0, %h0, _, _, %p0\n"
     "%c: f32[5,2,4] = matmul %b, %w1\n"
     "%d: f32[5,2,1], %dh: f32[2,1], %dc: f32[2,1] = lstm %c, %r1\n"
     "%y: f32[5,2,3] = matmul %d, %w2\n"},
    /* channels that a pad adds can go, too */
    {"graph g(%x: f32[2,3,4,4]) -> (%y: f32[2,2,4,4]) {\n"
     "  const %w0: f32[3,3,1,1] = splat 0\n"
     "  const %w1: f32[6,3,1,1] = splat 0\n"
     "  const %w2: f32[2,6,1,1] = splat 0\n"
     "  %a: f32[2,3,4,4] = conv %x, %w0\n"
     "  %b: f32[2,6,4,4] = pad %a, pads=[0,1,0,0,0,2,0,0]\n"
     "  %c: f32[2,6,4,4] = conv %x, %w1\n"
     "  %d: f32[2,6,4,4] = add %b, %c\n"
     "  %y: f32[2,2,4,4] = conv %d, %w2\n"
     "  return %y\n}\n",
     "c 1 0, a 1 1, w1 0 5", 6,
     "w0: f32[2,3,1,1]\n"
     "w1: f32[3,3,1,1]\n"
     "w2: f32[2,3,1,1]\n"
     "%a: f32[2,2,4,4] = conv %x, %w0\n"
     "%b: f32[2,3,4,4] = pad %a, pads=[0,0,0,0,0,1,0,0]\n"
     "%c: f32[2,3,4,4] = conv %x, %w1\n"
     "%d: f32[2,3,4,4] = add %b, %c\n"
     "%y: f32[2,2,4,4] = conv %d, %w2\n"},
};

static Module *parse(const char *text) {
  Module *module = module_new("test");
  if (!CHECK(module_parse_text(module, text, strlen(text), NULL))) diags_print(module, stdout, 3);
  return module;
}

static void fill_constants(Graph *graph) {
  Random random = {1};
  FOR_EACH_NODE(node, graph) {
    if (!node_is(node, &op_const)) continue;
    int64_t count = type_static_count(result(node, 0)->type);
    Data *data = data_new(graph->module, DTYPE_F32, count);
    for (int64_t i = 0; i < count; i++)
      dtype_set(DTYPE_F32, data_bytes(data), i, random_between(&random, -1, 1));
    node->data = data;
  }
}

static const Value *named(const Graph *graph, const char *name) {
  FOR_EACH_NODE(node, graph)
  for (int i = 0; i < node->result_count; i++)
    if (result(node, i)->name && strcmp(result(node, i)->name, name) == 0) return result(node, i);
  return NULL;
}

static bool *units_of(const Ties *ties, const char *list) {
  bool *removed = NEW_ARRAY(ties->graph->module->arena, bool, ties->unit_count);
  for (const char *at = list; at; at = strchr(at, ',')) {
    char name[20];
    int axis, index;
    at += *at == ',';
    if (!CHECK(sscanf(at, " %19s %d %d", name, &axis, &index) == 3)) break;
    int unit = ties_unit(ties, named(ties->graph, name), axis, index);
    if (CHECK(unit >= 0)) removed[unit] = true;
  }
  return removed;
}

static char *graph_text(const Graph *graph) {
  char *text = NULL;
  size_t size;
  FILE *out = open_memstream(&text, &size);
  FOR_EACH_NODE(node, graph) {
    if (node_is(node, &op_const))
      fprintf(out, "%s: %s\n", result(node, 0)->name, type_text(graph->module, result(node, 0)->type));
    else if (!node_is(node, &op_return))
      node_print(node, out);
  }
  fclose(out);
  return text;
}

static void check_case(const Case *c) {
  Module *module = parse(c->graph);
  Tensor input = {0};
  if (module->error_count == 0) {
    fill_constants(module->main);
    const Ties *ties = ties_find(module->main);
    bool *removed = units_of(ties, c->removed);
    CHECK_INT(ties->unit_count, c->units);
    CHECK(generate_inputs(module->main, 1, 3, &input) && removal_is_exact(ties, removed, &input));
    CHECK(ties_remove(ties, module->main, removed));
    char *text = graph_text(module->main);
    CHECK_STRING(text, c->after);
    free(text);
  }
  tensor_free(&input);
  module_free(module);
}

TEST(removes_units) {
  for (int i = 0; i < COUNT_OF(cases); i++) check_case(&cases[i]);
}

int main(void) {
  RUN(removes_units);
  return tests_finish();
}
