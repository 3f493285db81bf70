/*
 * Gradients of windows and parts (ir/gradient.c) against differences of the function itself, in the
 * interpreter.
 *
 * Each graph has %x and, with weights, %w. The loss is the sum of the results, each times a number of its
 * own.
 */
#include <math.h>
#include <stdlib.h>

#include "ir/run.h"
#include "tests/test.h"

static float number(int64_t i) { /* no two alike, so that no window has two largest */
  return (float)(sin((double)i * 12.9898) * 2);
}

static Graph *parse(Module *module, const char *text) {
  return module_parse_text(module, text, strlen(text), NULL) ? module->main : NULL;
}

static Value *build_loss(Builder *builder, Graph *graph) {
  Value *y = graph_output(graph, 0);
  Data *data = data_new(graph->module, DTYPE_F32, type_static_count(y->type));
  int64_t axes[MAX_RANK];
  for (int64_t i = 0; i < data->count; i++) ((float *)data_bytes(data))[i] = number(i + 1000);
  for (int i = 0; i < y->type->rank; i++) axes[i] = i;
  Value *product = build_binary(builder, &op_mul, y, build_const(builder, y->type, data, NULL));
  return build_reduce(builder, &op_reduce_sum, product, axes, y->type->rank);
}

static void fill(const Graph *graph, Tensor *inputs) {
  for (int i = 0; i < graph->input_count; i++) {
    const Type *type = graph->inputs[i]->type;
    int64_t dims[MAX_RANK];
    for (int k = 0; k < type->rank; k++) dims[k] = type->dims[k]->value;
    tensor_new(&inputs[i], DTYPE_F32, type->rank, dims);
    for (int64_t k = 0; k < tensor_count(&inputs[i]); k++) ((float *)inputs[i].data)[k] = number(k + 100 * i);
  }
}

static double loss_at(Graph *graph, const Tensor *inputs) {
  Tensor output = {0};
  if (!graph_interpret(graph, inputs, &output)) return NAN;
  double loss = 0; /* in double, as differences are small */
  for (int64_t i = 0; i < tensor_count(&output); i++)
    loss += (double)((float *)output.data)[i] * number(i + 1000);
  tensor_free(&output);
  return loss;
}

/* Every element of every input, moved a little both ways. */
static void check_differences(Graph *graph, Tensor *inputs, const Tensor *gradients) {
  const double step = 1.0 / 256;
  for (int i = 0; i < graph->input_count; i++)
    for (int64_t k = 0; k < tensor_count(&inputs[i]); k++) {
      float *x = (float *)inputs[i].data + k, old = *x;
      *x = (float)(old + step);
      double above = loss_at(graph, inputs);
      *x = (float)(old - step);
      double below = loss_at(graph, inputs);
      *x = old;
      if (!CHECK_NEAR(((float *)gradients[i].data)[k], (above - below) / (2 * step), 5e-3)) return;
    }
}

static void check_graph(const char *text) {
  Module *module = module_new("test"), *again = module_new("test");
  Graph *graph = parse(module, text), *with = parse(again, text);
  Value *gradients[2];
  static const char *const names[] = {"a", "b"};
  Tensor inputs[2] = {0}, found[2] = {0};
  Builder builder = builder_at_end(with);
  bool ok = build_gradients(&builder, build_loss(&builder, with), with->input_count, with->inputs,
                            with->inputs, gradients);
  if (CHECK(ok && graph_set_outputs(with, with->input_count, gradients, names))) {
    fill(graph, inputs);
    if (CHECK(graph_interpret(with, inputs, found))) check_differences(graph, inputs, found);
  }
  for (int i = 0; i < graph->input_count; i++) {
    tensor_free(&inputs[i]);
    tensor_free(&found[i]);
  }
  diags_print(again, stdout, 3);
  module_free(module);
  module_free(again);
}

TEST(conv) {
  check_graph("graph g(%x: f32[2,3,5,4], %w: f32[4,3,3,2]) -> (%y: f32[2,4,5,5]) {\n"
              "  %y: f32[2,4,5,5] = conv %x, %w, pads=[1,1,1,1]\n  return %y\n}\n");
  check_graph("graph g(%x: f32[1,2,7,6], %w: f32[3,2,3,2]) -> (%y: f32[1,3,3,2]) {\n"
              "  %y: f32[1,3,3,2] = conv %x, %w, strides=[2,3], pads=[1,0,0,0]\n  return %y\n}\n");
  check_graph("graph g(%x: f32[1,2,8], %w: f32[2,2,3]) -> (%y: f32[1,2,3]) {\n"
              "  %y: f32[1,2,3] = conv %x, %w, strides=[2], dilations=[2], pads=[0,1]\n  return %y\n}\n");
}

TEST(groups) {
  check_graph(
      "graph g(%x: f32[1,4,5,5]) -> (%y: f32[1,4,3,3]) {\n"
      "  const %w: f32[4,1,3,3] = [1, 2, 3, 4, 5, 6, 7, 8, 9, -1, 2, 0.5, 1, -2, 3, 1, 1, 1, 2, 0, 1, 0, 1, "
      "0, 3, "
      "2, 1, 1, 1, 1, -1, -1, -1, 2, 2, 2]\n  const %b: f32[4] = [1, 2, 3, 4]\n"
      "  %y: f32[1,4,3,3] = conv %x, %w, %b, strides=[2,2], pads=[1,1,1,1], group=4\n  return %y\n}\n");
}

TEST(weights_of_groups) {
  check_graph("graph g(%x: f32[2,4,5,3], %w: f32[6,2,2,2]) -> (%y: f32[2,6,3,2]) {\n"
              "  %y: f32[2,6,3,2] = conv %x, %w, strides=[2,1], pads=[1,0,0,0], group=2\n  return %y\n}\n");
  check_graph("graph g(%x: f32[2,3,5,5], %w: f32[3,1,3,3]) -> (%y: f32[2,3,3,3]) {\n"
              "  %y: f32[2,3,3,3] = conv %x, %w, strides=[2,2], pads=[1,1,1,1], group=3\n  return %y\n}\n");
  check_graph("graph g(%x: f32[1,2,7], %w: f32[4,1,2]) -> (%y: f32[1,4,3]) {\n"
              "  %y: f32[1,4,3] = conv %x, %w, strides=[2], dilations=[2], group=2\n  return %y\n}\n");
}

TEST(wide_pads) { /* more than the kernel reaches: the way back leaves elements out */
  check_graph("graph g(%x: f32[1,1,3,4], %w: f32[2,1,1,2]) -> (%y: f32[1,2,4,4]) {\n"
              "  %y: f32[1,2,4,4] = conv %x, %w, strides=[2,2], pads=[2,2,2,2]\n  return %y\n}\n");
}

TEST(bias) {
  check_graph(
      "graph g(%x: f32[3]) -> (%y: f32[2,3,2,2]) {\n  const %i: f32[2,1,2,2] = [1, 2, 3, 4, 5, 6, 7, 8]\n"
      "  const %w: f32[3,1,1,1] = [1, 2, 3]\n  %y: f32[2,3,2,2] = conv %i, %w, %x\n  return %y\n}\n");
}

TEST(pools) {
  check_graph("graph g(%x: f32[2,2,4,6]) -> (%y: f32[2,2,2,2]) {\n"
              "  %y: f32[2,2,2,2] = max_pool %x, kernel=[2,3], strides=[2,3]\n  return %y\n}\n");
  check_graph("graph g(%x: f32[1,3,4,2]) -> (%y: f32[1,3,2,1]) {\n"
              "  %y: f32[1,3,2,1] = average_pool %x, kernel=[2,2], strides=[2,2]\n  return %y\n}\n");
  check_graph("graph g(%x: f32[1,3,3,5]) -> (%y: f32[1,3,1,1]) {\n"
              "  %y: f32[1,3,1,1] = average_pool %x, kernel=[3,5]\n  return %y\n}\n");
}

TEST(overlapping_pools) {
  check_graph(
      "graph g(%x: f32[1,1,5,6]) -> (%y: f32[1,1,3,3]) {\n"
      "  %y: f32[1,1,3,3] = max_pool %x, kernel=[3,3], strides=[2,2], pads=[1,1,1,0]\n  return %y\n}\n");
  check_graph("graph g(%x: f32[1,1,6]) -> (%y: f32[1,1,3]) {\n"
              "  %y: f32[1,1,3] = max_pool %x, kernel=[3], strides=[2], ceil=true\n  return %y\n}\n");
  check_graph(
      "graph g(%x: f32[1,2,5,5]) -> (%y: f32[1,2,3,3]) {\n"
      "  %y: f32[1,2,3,3] = average_pool %x, kernel=[3,3], strides=[2,2], pads=[1,1,1,1]\n  return %y\n}\n");
  check_graph(
      "graph g(%x: f32[1,1,6]) -> (%y: f32[1,1,4]) {\n"
      "  %y: f32[1,1,4] = average_pool %x, kernel=[3], strides=[2], pads=[1,1], ceil=true, include_pad=true\n"
      "  return %y\n}\n");
}

TEST(parts) {
  check_graph("graph g(%x: f32[3,5]) -> (%y: f32[2,3]) {\n"
              "  %y: f32[2,3] = slice %x, starts=[1,0], sizes=[2,3], steps=[1,1]\n  return %y\n}\n");
  check_graph(
      "graph g(%x: f32[4,4]) -> (%y: f32[4,4]) {\n  const %a: f32 = splat -0.7\n  const %b: f32 = splat 0.9\n"
      "  %y: f32[4,4] = clip %x, %a, %b\n  return %y\n}\n");
}

/* An operator on elements of %a, x a little on, as the first x is 0, where many have a corner. */
static void check_element(const char *op) {
  char text[512];
  snprintf(text, sizeof text,
           "graph g(%%x: f32[3,7]) -> (%%y: f32[3,7]) {\n  const %%c: f32 = splat 0.05\n"
           "  %%a: f32[3,7] = add %%x, %%c\n  %%y: f32[3,7] = %s\n  return %%y\n}\n",
           op);
  check_graph(text);
}

TEST(elements) {
  static const char *const ops[] = {
      "affine %a, alpha=-2, beta=1",
      "celu %a, alpha=0.7",
      "elu %a, alpha=1.5",
      "selu %a",
      "gelu %a",
      "gelu %a, approximate=\"tanh\"",
      "hard_sigmoid %a, alpha=0.4, beta=0.3",
      "hard_swish %a",
      "leaky_relu %a, alpha=0.2",
      "log_softmax %a, axis=0",
      "mish %a",
      "scaled_tanh %a, alpha=1.7, beta=0.6",
      "silu %a",
      "softsign %a",
  };
  for (int i = 0; i < COUNT_OF(ops); i++) check_element(ops[i]);
  check_graph("graph g(%x: f32[2,3,4], %w: f32[3,1]) -> (%y: f32[2,3,4]) {\n  const %c: f32 = splat 0.05\n"
              "  %a: f32[2,3,4] = add %x, %c\n  %y: f32[2,3,4] = prelu %a, %w\n  return %y\n}\n");
}

TEST(norms) {
  check_graph("graph g(%x: f32[2,3,4], %w: f32[4]) -> (%y: f32[2,3,4]) {\n"
              "  %y: f32[2,3,4] = layer_norm %x, %w, epsilon=0.1\n  return %y\n}\n");
  check_graph("graph g(%x: f32[3,2,3], %w: f32[2,3]) -> (%y: f32[3,2,3]) {\n"
              "  const %s: f32[3] = [1, -2, 3]\n"
              "  %y: f32[3,2,3] = layer_norm %x, %s, %w, axis=1, center=false\n  return %y\n}\n");
}

TEST(attention) {
  check_graph("graph g(%x: f32[1,3,2,4], %w: f32[1,3,2,4]) -> (%y: f32[1,3,2,4]) {\n"
              "  const %m: f32[3,3] = [0, 1, -1, 2, 0, 0, 1, 1, 0]\n"
              "  %y: f32[1,3,2,4] = attention %x, %w, %x, %m, scale=0.5, q_perm=[0,2,1,3], k_perm=[0,2,1,3], "
              "v_perm=[0,2,1,3], y_perm=[0,2,1,3]\n  return %y\n}\n");
  check_graph("graph g(%x: f32[2,2,3,2], %w: f32[1,1,3,2]) -> (%y: f32[2,2,3,2]) {\n"
              "  %y: f32[2,2,3,2] = attention %x, %w, %w, softcap=2\n  return %y\n}\n");
}

TEST(not_there) {
  Module *module = module_new("test");
  Graph *graph =
      parse(module, "graph g(%x: f32[N,4]) -> (%y: f32[N,2]) {\n"
                    "  %y: f32[N,2] = slice %x, starts=[0,0], sizes=[N,2], steps=[1,2]\n  return %y\n}\n");
  Builder builder = builder_at_end(graph);
  Value *gradient;
  CHECK(!build_gradients(&builder, graph_output(graph, 0), 1, graph->inputs, graph->inputs, &gradient));
  CHECK_STRING(module->diags->text, "the gradient of slice with steps is not supported");
  module_free(module);
}

int main(void) {
  RUN(conv);
  RUN(groups);
  RUN(weights_of_groups);
  RUN(wide_pads);
  RUN(bias);
  RUN(pools);
  RUN(overlapping_pools);
  RUN(parts);
  RUN(elements);
  RUN(norms);
  RUN(attention);
  RUN(not_there);
  return tests_finish();
}
