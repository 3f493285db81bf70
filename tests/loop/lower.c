/*
 * lower.c -- lowering: the code that comes out, and that plain, fused and vector code compute the same.
 *
 * A case is a graph whose last node is lowered in up to three ways, on inputs of small integers; symbols N
 * and M are 5 and 3.
 */
#include "ir/run.h"
#include "tests/loop/loops.h"

#include <math.h>

enum { MAX_ARGS = 16 };

static Module *parse_graph(const char *text) {
  Module *module = module_new("lower.tn");
  if (!module_parse_text(module, text, strlen(text), NULL)) diags_print(module, stdout, 3);
  return module;
}

/* The node before `return`. */
static Node *last_node(const Module *module) {
  return module->main ? module->main->last->prev : NULL;
}

static void vector_body(Lower *lower, void *context) {
  lower_elements(lower, *(const int *)context);
}

static Kernel *lower_last(Module *module, int lanes) {
  Node *node = last_node(module);
  return node ? lower_node(node, "k", lanes > 1 ? vector_body : NULL, &lanes) : NULL;
}

static void check_text(const char *graph, int lanes, const char *want) {
  Module *module = parse_graph(graph);
  Kernel *kernel = lower_last(module, lanes);
  if (CHECK(kernel)) CHECK_STRING(kernel_text(kernel), want);
  diags_print(module, stdout, 3);
  module_free(module);
}

/* ---- running ---- */

static const char *const symbols[] = {"M", "N"};
static const int64_t symbol_values[] = {3, 5};

static bool new_tensor(const Value *value, Tensor *tensor) {
  int64_t dims[MAX_RANK];
  for (int i = 0; i < value->type->rank; i++)
    if (!dim_eval(value->type->dims[i], symbols, symbol_values, 2, &dims[i])) return false;
  return tensor_new(tensor, value->type->dtype, value->type->rank, dims);
}

static void fill(Tensor *tensor, int seed) {
  int64_t count = tensor_count(tensor);
  for (int64_t i = 0; i < count; i++) {
    int64_t value = (i * 7 + seed * 5) % 23 - 11;
    if (dtype_is_float(tensor->dtype))
      dtype_set(tensor->dtype, tensor->data, i, (double)value / 4);
    else
      dtype_set_int(tensor->dtype, tensor->data, i, (value + 11) % 3);
  }
}

/* Runs the kernel of the last node on the graph's inputs: operands must be inputs or constants. */
static bool run_last(Module *module, const Kernel *kernel, const Tensor *inputs, Tensor *output) {
  const Node *node = last_node(module);
  void *args[MAX_ARGS];
  for (int i = 0; i < kernel->param_count; i++) {
    int index = lower_param_operand(node, i);
    const Value *value = index < node->operand_count ? operand(node, index) : NULL;
    if (!value)
      args[i] = output[index - node->operand_count].data;
    else
      args[i] = value->def ? (void *)(uintptr_t)value_data(value)->bytes : inputs[value->index].data;
  }
  return kernel_interpret(kernel, args, symbols, symbol_values, 2);
}

static void check_equal(const Tensor *got, const Tensor *want, const char *what) {
  int64_t count = tensor_count(want);
  for (int64_t i = 0; i < count; i++) {
    double x = dtype_get(got->dtype, got->data, i), y = dtype_get(want->dtype, want->data, i);
    if (fabs(x - y) <= 1e-6 * fabs(y)) continue; /* fused code rounds less often */
    printf("%s: element %lld is %g, not %g\n", what, (long long)i, x, y);
    CHECK(!"the same elements");
    return;
  }
}

/* The last node of `fused`, in scalar and vector code, computes what the graph `plain` does (NULL: what
 * `fused` does plainly). No vector code for an anchor: its body is the nest. */
static void check_same(const char *plain, const char *fused, bool anchor) {
  Module *a = parse_graph(plain ? plain : fused), *b = parse_graph(fused);
  Graph *main = a->main;
  Tensor inputs[MAX_ARGS], want[MAX_ARGS], got[MAX_ARGS];
  if (!CHECK(main && b->main)) return;
  for (int i = 0; i < main->input_count; i++) {
    CHECK(new_tensor(main->inputs[i], &inputs[i]));
    fill(&inputs[i], i);
  }
  bool ok = graph_interpret(main, inputs, want);
  CHECK(ok);
  for (int lanes = 1; ok && lanes <= (anchor ? 1 : 16); lanes *= 4) {
    Kernel *kernel = lower_last(b, lanes);
    for (int i = 0; i < last_node(b)->result_count; i++) CHECK(new_tensor(result(last_node(b), i), &got[i]));
    if (CHECK(kernel)) CHECK(run_last(b, kernel, inputs, got));
    for (int i = 0; i < last_node(b)->result_count; i++) {
      check_equal(&got[i], &want[i], fused);
      tensor_free(&got[i]);
    }
  }
  diags_print(a, stdout, 3);
  diags_print(b, stdout, 3);
  for (int i = 0; i < main->input_count; i++) tensor_free(&inputs[i]);
  for (int i = 0; ok && i < main->output_count; i++) tensor_free(&want[i]);
  module_free(a);
  module_free(b);
}

/* ---- the code ---- */

TEST(plain_code) {
  check_text("graph g(%x: f32[N,3]) -> (%y: f32[N,3]) {\n  %y: f32[N,3] = neg %x\n  return %y\n}", 1,
             "kernel k(%x: in f32[N,3], %out: out f32[N,3]) {\n"
             "  parallel %0 = 0 to dim(N) {\n"
             "    parallel %1 = 0 to 3 {\n"
             "      %2: f32 = load %x[%0, %1]\n"
             "      %3: f32 = neg %2\n"
             "      store %3, %out[%0, %1]\n"
             "    }\n"
             "  }\n"
             "}\n");
}

TEST(scalars_need_no_loops) {
  check_text(
      "graph g(%x: f32) -> (%y: f32) {\n  const %c: f32 = [2.5]\n  %y: f32 = add %x, %c\n  return %y\n}", 16,
      "kernel k(%x: in f32, %out: out f32) {\n"
      "  %0: f32 = load %x[]\n"
      "  %1: f32 = add %0, 2.5\n"
      "  store %1, %out[]\n"
      "}\n");
}

/* Four axes run as one; the splat is a literal. */
TEST(merged_code) {
  check_text("graph g(%x: f32[1,6,5,8], %z: f32[1,6,5,8]) -> (%y: f32[1,6,5,8]) {\n"
             "  %y: f32[1,6,5,8] = add %x, %z\n  return %y\n}",
             16,
             "kernel k(%x: in f32[1,6,5,8], %y: in f32[1,6,5,8], %out: out f32[1,6,5,8]) {\n"
             "  view %x.m0: f32[240] of %x\n"
             "  view %y.m1: f32[240] of %y\n"
             "  view %out.m2: f32[240] of %out\n"
             "  parallel %0 = 0 to 240 step 16 {\n"
             "    %1: f32x16 = load %x.m0[%0]\n"
             "    %2: f32x16 = load %y.m1[%0]\n"
             "    %3: f32x16 = add %1, %2\n"
             "    store %3, %out.m2[%0]\n"
             "  }\n"
             "}\n");
}

/* A per-channel operand keeps its axis apart; the rest is masked. */
TEST(masked_tail_code) {
  check_text("graph g(%x: f32[2,3,20], %z: f32[20]) -> (%y: f32[2,3,20]) {\n"
             "  %y: f32[2,3,20] = mul %x, %z\n  return %y\n}",
             16,
             "kernel k(%x: in f32[2,3,20], %y: in f32[20], %out: out f32[2,3,20]) {\n"
             "  view %x.m0: f32[6,20] of %x\n"
             "  view %out.m1: f32[6,20] of %out\n"
             "  parallel %0 = 0 to 6 {\n"
             "    sections {\n"
             "      %1: f32x16 = load %x.m0[%0, 0]\n"
             "      %2: f32x16 = load %y[0]\n"
             "      %3: f32x16 = mul %1, %2\n"
             "      store %3, %out.m1[%0, 0]\n"
             "    } and {\n"
             "      %4: boolx16 = lanes_below 4\n"
             "      %5: f32x16 = load %x.m0[%0, 16], mask=%4\n"
             "      %6: f32x16 = load %y[16], mask=%4\n"
             "      %7: f32x16 = mul %5, %6\n"
             "      store %7, %out.m1[%0, 16], mask=%4\n"
             "    }\n"
             "  }\n"
             "}\n");
}

/* What one reshape multiplies the next one divides: nothing is left of both. */
TEST(reshapes_cancel) {
  check_text("graph g(%x: f32[4,6,8]) -> (%y: f32[24,8]) {\n"
             "  %y: f32[24,8] = kernel %x, name=\"k\" {\n"
             "    graph (%x: f32[4,6,8]) -> (%c: f32[24,8]) {\n"
             "      %a: f32[192] = reshape %x, shape=[192]\n"
             "      %b: f32[4,6,8] = reshape %a, shape=[4,6,8]\n"
             "      %d: f32[4,6,8] = relu %b\n"
             "      %e: f32[4,48] = reshape %d, shape=[4,48]\n"
             "      %c: f32[24,8] = reshape %e, shape=[24,8]\n"
             "      return %c\n    }\n  }\n  return %y\n}",
             8,
             "kernel k(%in0: in f32[4,6,8], %out: out f32[24,8]) {\n"
             "  parallel %0 = 0 to 24 {\n"
             "    %1: i64 = floordiv %0, 6\n"
             "    %2: i64 = floormod %0, 6\n"
             "    %3: f32x8 = load %in0[%1, %2, 0]\n"
             "    %4: f32x8 = max 0.0, %3\n"
             "    store %4, %out[%0, 0]\n"
             "  }\n"
             "}\n");
}

/* ---- the results ---- */

TEST(elements) {
  check_same(NULL,
             "graph g(%x: f32[N,M,7], %z: f32[M,1]) -> (%y: f32[N,M,7]) {\n  %y: f32[N,M,7] = sub %x, %z\n  "
             "return %y\n}",
             false);
  check_same(
      NULL,
      "graph g(%x: f32[N,3], %z: f32[N,M]) -> (%y: f32[N,3]) {\n  %y: f32[N,3] = sub %x, %z\n  return %y\n}",
      false);
  check_same(NULL,
             "graph g(%x: f32[3,4,5]) -> (%y: f32[5,3,4]) {\n  %y: f32[5,3,4] = transpose %x, perm=[2,0,1]\n "
             " return %y\n}",
             false);
  check_same(NULL,
             "graph g(%x: f32[N,6]) -> (%y: f32[N,2,3]) {\n  %y: f32[N,2,3] = reshape %x, shape=[N,2,3]\n  "
             "return %y\n}",
             false);
  check_same(NULL,
             "graph g(%x: f32[7,11]) -> (%y: f32[11,7]) {\n  %y: f32[11,7] = reshape %x, shape=[11,7]\n  "
             "return %y\n}",
             false);
  check_same(NULL, "graph g(%x: f32[0,4]) -> (%y: f32[0,4]) {\n  %y: f32[0,4] = neg %x\n  return %y\n}",
             false);
  check_same(NULL,
             "graph g(%x: f32[3,1], %z: f32[3,37]) -> (%y: f32[3,38]) {\n  %y: f32[3,38] = concat %x, %z, "
             "axis=1\n  return %y\n}",
             false);
  check_same(NULL,
             "graph g(%x: f32[6,9]) -> (%y: f32[3,3]) {\n"
             "  %y: f32[3,3] = slice %x, starts=[5,8], sizes=[3,3], steps=[-2,-3]\n  return %y\n}",
             false);
  check_same(
      NULL,
      "graph g(%x: f32[4,5]) -> (%y: f32[7,20]) {\n  %y: f32[7,20] = pad %x, pads=[1,8,2,7]\n  return %y\n}",
      false);
  check_same(NULL,
             "graph g(%x: f32[5,6], %i: i64[3,4]) -> (%y: f32[3,4,6]) {\n  %y: f32[3,4,6] = gather %x, %i\n  "
             "return %y\n}",
             false);
  check_same(NULL,
             "graph g(%x: f32[9,2,3]) -> (%y: f32[9,2,6]) {\n  %y: f32[9,2,6] = tile %x, repeats=[1,1,2]\n  "
             "return %y\n}",
             false);
}

/* x * sigmoid(x + bias), then split into heads and transposed: a diamond, a reshape and a transpose in one
 * kernel. */
TEST(fused_elements) {
  check_same("graph g(%x: f32[N,24], %b: f32[24]) -> (%y: f32[4,N,6]) {\n"
             "  %a: f32[N,24] = add %x, %b\n  %s: f32[N,24] = sigmoid %a\n  %m: f32[N,24] = mul %a, %s\n"
             "  %r: f32[N,4,6] = reshape %m, shape=[N,4,6]\n  %y: f32[4,N,6] = transpose %r, perm=[1,0,2]\n  "
             "return %y\n}",
             "graph g(%x: f32[N,24], %b: f32[24]) -> (%y: f32[4,N,6]) {\n"
             "  %y: f32[4,N,6] = kernel %x, %b, name=\"heads\" {\n    graph (%x: f32[N,24], %b: f32[24]) -> "
             "(%y: f32[4,N,6]) {\n"
             "  %a: f32[N,24] = add %x, %b\n  %s: f32[N,24] = sigmoid %a\n  %m: f32[N,24] = mul %a, %s\n"
             "  %r: f32[N,4,6] = reshape %m, shape=[N,4,6]\n  %y: f32[4,N,6] = transpose %r, perm=[1,0,2]\n"
             "  return %y\n    }\n  }\n  return %y\n}",
             false);
}

/* Two results of different shapes and one of the same, so two loop nests. */
TEST(several_results) {
  static const char body[] = "%a: f32[M,8] = neg %x\n %b: f32[8,M] = transpose %a, perm=[1,0]\n %c: f32[M,8] "
                             "= abs %a\n return %a, %b, %c\n";
  Module *module = module_new("t");
  const char *types = "(%a: f32[M,8], %b: f32[8,M], %c: f32[M,8])";
  check_same(arena_printf(module->arena, "graph g(%%x: f32[M,8]) -> %s {\n%s}", types, body),
             arena_printf(module->arena,
                          "graph g(%%x: f32[M,8]) -> %s {\n%%a: f32[M,8], %%b: f32[8,M], %%c: f32[M,8] = "
                          "kernel %%x, name=\"k\" {\n"
                          "graph (%%x: f32[M,8]) -> %s {\n%s}\n}\nreturn %%a, %%b, %%c\n}",
                          types, types, body),
             false);
  module_free(module);
}

/* Producer, anchor, epilogue with a broadcast operand and the anchor's own result as a second output. */
TEST(anchor_with_neighbours) {
  static const char body[] =
      "%a: f32[N,6] = neg %x\n %p: f32[N,4] = matmul %a, %w\n %q: f32[N,4] = add %p, %b\n"
      " %r: f32[N,4] = mul %q, %p\n return %r, %p\n";
  Module *module = module_new("t");
  const char *inputs = "(%x: f32[N,6], %w: f32[6,4], %b: f32[4])", *outputs = "(%r: f32[N,4], %p: f32[N,4])";
  check_same(
      arena_printf(module->arena, "graph g%s -> %s {\n%s}", inputs, outputs, body),
      arena_printf(module->arena,
                   "graph g%s -> %s {\n%%r: f32[N,4], %%p: f32[N,4] = kernel %%x, %%w, %%b, name=\"k\" {\n"
                   "graph %s -> %s {\n%s}\n}\nreturn %%r, %%p\n}",
                   inputs, outputs, inputs, outputs, body),
      true);
  module_free(module);
}

/* Softmax between two products: plain code keeps what is between nests in local buffers. */
TEST(several_anchors) {
  static const char body[] =
      "%a: f32[5,4] = matmul %x, %w\n %b: f32[5,4] = softmax %a\n %c: f32[5,4] = neg %b\n"
      " %y: f32[5,5] = matmul %c, %v\n %t: f32[4,5] = transpose %a, perm=[1,0]\n return %y, %t\n";
  Module *module = module_new("t");
  const char *inputs = "(%x: f32[5,6], %w: f32[6,4], %v: f32[4,5])",
             *outputs = "(%y: f32[5,5], %t: f32[4,5])";
  const char *fused = arena_printf(module->arena,
                                   "graph g%s -> %s {\n%%y: f32[5,5], %%t: f32[4,5] = kernel %%x, %%w, %%v, "
                                   "name=\"k\" {\ngraph %s -> %s {\n%s}\n}\nreturn %%y, %%t\n}",
                                   inputs, outputs, inputs, outputs, body);
  check_same(arena_printf(module->arena, "graph g%s -> %s {\n%s}", inputs, outputs, body), fused, true);
  Module *fast = parse_graph(fused);
  CHECK(!lower_last(fast, 16) && error_has(fast, "holds both matmul and softmax"));
  module_free(fast);
  module_free(module);
}

/* ---- what cannot be lowered ---- */

static void check_refused(const char *graph, const char *reason) {
  Module *module = parse_graph(graph);
  CHECK(!lower_last(module, 1) && error_has(module, reason));
  module_free(module);
}

TEST(refused) {
  check_refused("graph g(%x: f32[4,4]) -> (%y: f32[4,4]) {\n%y: f32[4,4] = kernel %x, name=\"k\" {\n"
                "graph (%x: f32[4,4]) -> (%y: f32[4,4]) {\n%a: f32[4,4] = matmul %x, %x\n"
                "%y: f32[4,4] = transpose %a, perm=[1,0]\nreturn %y\n}\n}\nreturn %y\n}",
                "read at another index");
}

int main(void) {
  RUN(plain_code);
  RUN(scalars_need_no_loops);
  RUN(merged_code);
  RUN(masked_tail_code);
  RUN(reshapes_cancel);
  RUN(elements);
  RUN(fused_elements);
  RUN(several_results);
  RUN(anchor_with_neighbours);
  RUN(several_anchors);
  RUN(refused);
  return tests_finish();
}
