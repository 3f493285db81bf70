/*
 * algebra.c -- simplify, and known values: what a graph becomes when each operator's rules are applied until
 * none does, and what is known of small integer tensors whose sizes are symbols.
 */
#include "ir/ir.h"
#include "tests/test.h"

#include <stdlib.h>

static Module *parse(const char *text) {
  Module *module = module_new("test");
  if (!CHECK(module_parse_text(module, text, strlen(text), NULL))) diags_print(module, stdout, 5);
  return module;
}

/* ---- simplify ---- */

static bool simplify_once(Graph *graph) {
  FOR_EACH_NODE_SAFE(node, graph) {
    if (!node->op->simplify || !value_use_count(result(node, 0))) continue;
    Value *simpler = node->op->simplify(node);
    if (!simpler) continue;
    if (simpler != result(node, 0)) value_replace(result(node, 0), simpler);
    return true;
  }
  return false;
}

static void remove_unused(Graph *graph) {
  for (Node *node = graph->last->prev, *prev; node; node = prev) {
    prev = node->prev;
    if (!value_use_count(result(node, 0))) node_remove(node);
  }
}

typedef struct Case {
  const char *body;   /* of a graph with inputs %x: f32[2,3,4], %m: f32[4,5], %i: i64[3], %b: bool[2,3,4], %c:
                         f32[1,6,1] */
  const char *wanted; /* the operators that are left, constants aside, in order; "" none */
} Case;

static const Case cases[] = {
    {"%z: f32 = splat 0\n %y: f32[2,3,4] = add %x, %z", ""},
    {"%z: f32 = splat 0\n %y: f32[2,3,4] = add %z, %x", ""},
    {"%z: f32[5,1,1,1] = splat 0\n %y: f32[5,2,3,4] = add %x, %z", "add"},
    {"%z: f32 = splat 1\n %y: f32[2,3,4] = mul %x, %z", ""},
    {"%z: f32 = splat 1\n %y: f32[2,3,4] = div %x, %z", ""},
    {"%z: f32 = splat 4\n %y: f32[2,3,4] = div %x, %z", "mul"},
    {"%z: f32 = splat 3\n %y: f32[2,3,4] = div %x, %z", "div"},
    {"%z: f32 = splat 0\n %y: f32[2,3,4] = sub %x, %z", ""},
    {"%z: f32 = splat 0\n %y: f32[2,3,4] = sub %z, %x", "sub"},
    {"%z: f32 = splat 2\n %y: f32[2,3,4] = pow %x, %z", "mul"},
    {"%z: f32 = splat 0.5\n %y: f32[2,3,4] = pow %x, %z", "sqrt"},
    {"%z: f32 = splat 0\n %y: f32[2,3,4] = max %x, %z", "relu"},
    {"%r: f32[2,3,4] = relu %x\n %z: f32 = splat 6\n %y: f32[2,3,4] = min %r, %z", "clip"},
    {"%r: f32[2,3,4] = relu %x\n %y: f32[2,3,4] = relu %r", "relu"},
    {"%r: f32[2,3,4] = sigmoid %x\n %y: f32[2,3,4] = relu %r", "sigmoid"},
    {"%r: f32[2,3,4] = neg %x\n %y: f32[2,3,4] = neg %r", ""},
    {"%z: f32 = splat 0\n %y: f32[2,3,4] = clip %x, %z", "relu"},
    {"%y: f32[2,3,4] = clip %x", ""},
    {"%y: f32[2,3,4] = cast %x, to=f32", ""},
    {"%r: f64[2,3,4] = cast %x, to=f64\n %y: f32[2,3,4] = cast %r, to=f32", ""},
    {"%r: f16[2,3,4] = cast %x, to=f16\n %y: f32[2,3,4] = cast %r, to=f32", "cast cast"},
    {"%r: i32[2,3,4] = cast %b, to=i32\n %y: bool[2,3,4] = cast %r, to=bool", ""},
    {"%y: bool[2,3,4] = and %b, %b", "and"},
    {"%y: i64[3] = bitwise_and %i, %i", ""},
    {"%t: bool = splat true\n %y: f32[2,3,4] = where %t, %x, %x", ""},
    /* shapes */
    {"%y: f32[2,3,4] = reshape %x, shape=[2,3,4]", ""},
    {"%r: f32[6,4] = reshape %x, shape=[6,4]\n %y: f32[24] = reshape %r, shape=[24]", "reshape"},
    {"%r: f32[6,4] = reshape %x, shape=[6,4]\n %y: f32[2,3,4] = reshape %r, shape=[2,3,4]", ""},
    {"%k: f32[2] = [1,2]\n %y: f32[2,1] = reshape %k, shape=[2,1]", ""},
    {"%y: f32[2,3,4] = transpose %x, perm=[0,1,2]", ""},
    {"%r: f32[3,4,2] = transpose %x, perm=[1,2,0]\n %y: f32[2,3,4] = transpose %r, perm=[2,0,1]", ""},
    {"%r: f32[3,4,2] = transpose %x, perm=[1,2,0]\n %y: f32[4,2,3] = transpose %r, perm=[1,2,0]",
     "transpose"},
    {"%y: f32[6,1,1] = transpose %c, perm=[1,0,2]", "reshape"},
    {"%y: f32[2,3,4] = broadcast %x, shape=[2,3,4]", ""},
    {"%r: f32[2,2,3,4] = broadcast %x, shape=[2,2,3,4]\n %y: f32[9,2,2,3,4] = broadcast %r, "
     "shape=[9,2,2,3,4]",
     "broadcast"},
    {"%r: f32[2,6,4] = broadcast %c, shape=[2,6,4]\n %l: f32[2,6,4] = exp %r\n %y: f32[2,6,4] = add %l, %r",
     "broadcast exp add"},
    {"%z: f32 = splat 3\n %y: f32[2,2] = broadcast %z, shape=[2,2]", ""},
    {"%y: f32[2,3,4] = tile %x, repeats=[1,1,1]", ""},
    {"%y: f32[4,6,1] = tile %c, repeats=[4,1,1]", "broadcast"},
    {"%y: f32[2,3,4] = slice %x, starts=[0,0,0], sizes=[2,3,4]", ""},
    {"%r: f32[2,3,2] = slice %x, starts=[0,0,1], sizes=[2,3,2], steps=[1,1,2]\n"
     " %y: f32[2,3,1] = slice %r, starts=[0,0,1], sizes=[2,3,1]",
     "slice"},
    {"%r: f32[2,6,4] = concat %x, %x, axis=1\n %y: f32[2,3,4] = slice %r, starts=[0,3,0], sizes=[2,3,4]", ""},
    {"%r: f32[2,6,4] = concat %x, %x, axis=1\n %y: f32[2,3,4] = slice %r, starts=[0,2,0], sizes=[2,3,4]",
     "concat slice"},
    {"%y: f32[2,3,4] = concat %x, axis=1", ""},
    {"%l: f32[2,1,4] = slice %x, starts=[0,0,0], sizes=[2,1,4]\n %r: f32[2,2,4] = slice %x, starts=[0,1,0], "
     "sizes=[2,2,4]\n %y: f32[2,3,4] = concat %l, %r, axis=1",
     ""},
    {"%l: f32[2,1,4] = slice %x, starts=[0,0,0], sizes=[2,1,4]\n %r: f32[2,1,4] = slice %x, starts=[0,1,0], "
     "sizes=[2,1,4]\n %y: f32[2,2,4] = concat %l, %r, axis=1",
     "slice"},
    {"%l: f32[2,1,4] = slice %x, starts=[0,1,0], sizes=[2,1,4]\n %r: f32[2,1,4] = slice %x, starts=[0,0,0], "
     "sizes=[2,1,4]\n %y: f32[2,2,4] = concat %l, %r, axis=1",
     "slice slice concat"},
    {"%r: f32[2,6,4] = concat %x, %x, axis=1\n %y: f32[2,9,4] = concat %r, %x, axis=1", "concat"},
    {"%y: f32[2,3,4] = pad %x, pads=[0,0,0,0,0,0]", ""},
    {"%k: i64 = [2]\n %y: f32[2,4] = gather %x, %k, axis=1", "slice reshape"},
    {"%k: i64[2] = [3,1]\n %y: f32[2,3,2] = gather %x, %k, axis=2", "slice"},
    {"%k: i64[2] = [1,1]\n %y: f32[2,3,2] = gather %x, %k, axis=2", "gather"},
    /* the rest */
    {"%t: f32[5,4] = transpose %m, perm=[1,0]\n %y: f32[4,4] = gemm %m, %t", "gemm"},
    {"%z: f32[5] = splat 0\n %y: f32[5,5] = gemm %m, %m, %z, trans_a=true", "gemm"},
    {"%y: f32[1,6,1] = reduce_sum %c, axes=[0,2]", ""},
    {"%r: f32[2,3,1] = reduce_max %x, axes=[2]\n %y: f32[2,1,1] = reduce_max %r, axes=[1]", "reduce_max"},
    {"%y: f32[2,3,4] = max_pool %x, kernel=[1]", ""},
    {"%y: f32[2,3,4] = resize %x, sizes=[2,3,4], mode=\"cubic\"", ""},
    {"%p: f32[2,3,6] = pad %x, pads=[0,0,1,0,0,1]\n %w: f32[3,3,2] = splat 2\n %y: f32[2,3,5] = conv %p, %w",
     "conv"},
    {"%k: f32 = splat 1\n %p: f32[2,3,6] = pad %x, %k, pads=[0,0,1,0,0,1]\n %w: f32[3,3,2] = splat 2\n"
     " %y: f32[2,3,5] = conv %p, %w",
     "pad conv"},
    {"%p: f32[2,3,6] = pad %x, pads=[0,0,1,0,0,1]\n %y: f32[2,3,5] = max_pool %p, kernel=[2]",
     "pad max_pool"},
    {"%r: f32[2,3,4] = relu %x\n %p: f32[2,3,6] = pad %r, pads=[0,0,1,0,0,1]\n %y: f32[2,3,5] = max_pool %p, "
     "kernel=[2]",
     "relu max_pool"},
    {"%s: i64[3] = shape %x\n %y: i64[3] = add %s, %s", "add"},
};

/* Types of results are in the lines; the graph's output repeats the last one. */
static void make_text(const Case *c, char *text, size_t room) {
  const char *type = NULL;
  for (const char *at = c->body; (at = strstr(at, "%y: ")); at++) type = at + 4;
  size_t length = 0;
  char lines[2000] = "";
  for (const char *at = c->body; *at;) { /* constants are marked by the word in front */
    while (*at == ' ') at++;
    size_t line = strcspn(at, "\n");
    const char *value = strstr(at, "= ");
    bool is_const = value && value < at + line && (strncmp(value + 2, "splat", 5) == 0 || value[2] == '[');
    length += (size_t)snprintf(lines + length, sizeof lines - length, "  %s%.*s\n", is_const ? "const " : "",
                               (int)line, at);
    at += line + (at[line] == '\n');
  }
  snprintf(text, room,
           "graph g(%%x: f32[2,3,4], %%m: f32[4,5], %%i: i64[3], %%b: bool[2,3,4], %%c: f32[1,6,1]) -> (%%y: "
           "%.*s) {\n%s  "
           "return %%y\n}\n",
           (int)strcspn(type, " "), type, lines);
}

TEST(rules_leave_what_they_should) {
  for (int i = 0; i < COUNT_OF(cases); i++) {
    char text[4000], left[200] = "";
    make_text(&cases[i], text, sizeof text);
    Module *module = parse(text);
    if (module->error_count == 0) {
      int rounds = 0;
      while (simplify_once(module->main) && ++rounds < 100) remove_unused(module->main);
      remove_unused(module->main);
      FOR_EACH_NODE(node, module->main) {
        if (node_is(node, &op_return) || node_is(node, &op_const)) continue;
        snprintf(left + strlen(left), sizeof left - strlen(left), "%s%s", *left ? " " : "", node->op->name);
      }
      CHECK(rounds < 100);
      CHECK(graph_verify(module->main));
    }
    if (!CHECK_STRING(left, cases[i].wanted)) printf("  in %s\n", cases[i].body);
    module_free(module);
  }
}

/* ---- known values ---- */

typedef struct Known {
  const char *body;   /* of a graph with the input %x: f32[N,3,H,8] */
  const char *wanted; /* the elements of %y, or "?" */
} Known;

static const Known knowns[] = {
    {"%y: i64[4] = shape %x", "N 3 H 8"},
    {"%s: i64[4] = shape %x\n const %k: i64 = [2]\n %y: i64 = gather %s, %k", "H"},
    {"%s: i64[4] = shape %x\n const %k: i64[2] = [-1,0]\n %y: i64[2] = gather %s, %k", "8 N"},
    {"%s: i64[4] = shape %x\n %y: i64[2] = slice %s, starts=[1], sizes=[2]", "3 H"},
    {"%s: i64[4] = shape %x\n %y: i64[2] = slice %s, starts=[3], sizes=[2], steps=[-2]", "8 3"},
    {"%s: i64[4] = shape %x\n const %k: i64[1] = [-1]\n %a: i64[1] = slice %s, starts=[0], sizes=[1]\n"
     " %y: i64[2] = concat %a, %k, axis=0",
     "N -1"},
    {"%s: i64[4] = shape %x\n const %k: i64 = splat 2\n %y: i64[4] = mul %s, %k", "2*N 6 2*H 16"},
    {"%s: i64[4] = shape %x\n const %k: i64 = splat 2\n %y: i64[4] = add %k, %s", "N+2 5 H+2 10"},
    {"%s: i64[4] = shape %x\n const %k: i64 = splat 2\n %y: i64[4] = div %s, %k",
     "floordiv(N,2) 1 floordiv(H,2) 4"},
    {"%s: i64[4] = shape %x\n %t: i64[4] = sub %s, %s\n %y: i64[4] = neg %t", "?"},
    {"%s: i64[4] = shape %x\n %y: i64[4] = sub %s, %s", "0 0 0 0"},
    {"%s: i64[4] = shape %x\n const %k: i64 = splat 8\n %y: i64[4] = max %s, %k", "max(8,N) 8 max(8,H) 8"},
    {"%s: i64[4] = shape %x\n %y: i32[4] = cast %s, to=i32", "N 3 H 8"},
    {"%s: i64[4] = shape %x\n %y: i8[4] = cast %s, to=i8", "?"},
    {"%s: i64[4] = shape %x\n %y: i64[2,2] = reshape %s, shape=[2,2]", "N 3 H 8"},
    {"%s: i64[4] = shape %x\n %y: i64[1] = reduce_prod %s, axes=[0]", "24*H*N"},
    {"const %k: i64 = splat 5\n %y: i64[3] = broadcast %k, shape=[3]", "5 5 5"},
    {"%s: i64[4] = shape %x\n const %k: i64 = splat -1\n const %o: i64[4] = splat 1\n %e: bool[4] = equal "
     "%s, %k\n"
     " %y: i64[4] = where %e, %o, %s",
     "N 3 H 8"},
    {"%s: i64[4] = shape %x\n const %k: i64 = splat 3\n %y: bool[4] = equal %s, %k", "?"},
};

static void known_text(Value *value, char *text, size_t room) {
  int count;
  const Dim *const *known = value_known(value, &count);
  snprintf(text, room, "%s", known ? "" : "?");
  for (int i = 0; known && i < count; i++)
    snprintf(text + strlen(text), room - strlen(text), "%s%s", i ? " " : "",
             dim_text(value->graph->module, known[i]));
}

TEST(shape_arithmetic_is_known) {
  for (int i = 0; i < COUNT_OF(knowns); i++) {
    char text[2000], got[200] = "";
    const char *type = strstr(knowns[i].body, "%y: ") + 4;
    snprintf(text, sizeof text, "graph g(%%x: f32[N,3,H,8]) -> (%%y: %.*s) {\n  %s\n  return %%y\n}\n",
             (int)strcspn(type, " "), type, knowns[i].body);
    Module *module = parse(text);
    if (module->error_count == 0) known_text(graph_output(module->main, 0), got, sizeof got);
    if (!CHECK_STRING(got, knowns[i].wanted)) printf("  in %s\n", knowns[i].body);
    module_free(module);
  }
}

TEST(known_numbers_become_constants) {
  Module *module =
      parse("graph g(%x: f32[2,3]) -> (%y: i64[2]) {\n  %y: i64[2] = shape %x\n  return %y\n}\n");
  Builder builder = builder_before(module->main->last);
  Value *value = build_known(&builder, graph_output(module->main, 0));
  if (CHECK(value && value_data(value))) {
    CHECK_INT(data_get_int(value_data(value), 0), 2);
    CHECK_INT(data_get_int(value_data(value), 1), 3);
    CHECK(!build_known(&builder, value));
  }
  module_free(module);
}

int main(void) {
  RUN(rules_leave_what_they_should);
  RUN(shape_arithmetic_is_known);
  RUN(known_numbers_become_constants);
  return tests_finish();
}
