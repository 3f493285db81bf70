/* pipeline.c -- the runner: names of passes, what it prints; and that fold hands large work to the executor,
 * once. */
#include <stdlib.h>

#include "passes/passes.h"
#include "tests/test.h"

static const char text[] = "graph g(%x: f32[2,3]) -> (%y: f32[2,3]) {\n"
                           "  %0: f32[2,3] = relu %x\n"
                           "  %1: f32[2,3] = relu %0\n"
                           "  %2: f32[2,3] = neg %1\n"
                           "  %y: f32[2,3] = tanh %1\n"
                           "  return %y\n"
                           "}\n";

static Module *parsed(const char *source) {
  Module *module = module_new("test");
  CHECK(module_parse_text(module, source, strlen(source), NULL));
  return module;
}

/* What a printer prints of these passes; free it. */
static char *printed(const char *passes, PrintOptions print) {
  char *output = NULL;
  size_t size = 0;
  Module *module = parsed(text);
  Watcher watcher;
  print.out = open_memstream(&output, &size);
  Printer *printer = printer_open(module->arena, &print, &watcher);
  CHECK(pipeline_run(module->main, &(PipelineOptions){.passes = passes, .watcher = &watcher}));
  CHECK(printer_close(printer, module));
  fclose(print.out);
  module_free(module);
  return output;
}

TEST(unknown_pass_is_an_error_that_lists_the_known) {
  Module *module = parsed(text);
  PipelineOptions options = {.passes = "simplify,nothing"};
  CHECK(!pipeline_run(module->main, &options));
  CHECK_INT(module->error_count, 1);
  CHECK_STRING(module->diags->text, "unknown pass 'nothing'; there are integers, prune, quantize, expand, "
                                    "simplify, fold, cse, dce, equalize, "
                                    "attention, layout, subpixel, fuse, place, plan");
  module_free(module);
}

TEST(changes_print_as_a_diff) {
  char *output = printed("dce,simplify", (PrintOptions){.changed = true});
  CHECK_STRING(output, "# changed by dce (step 1 of 2): 3 nodes, 0 MACs, 0 bytes of constants, at most 48 "
                       "bytes of intermediates at a time\n"
                       "   %1: f32[2,3] = relu %0  # 24 bytes read, 24 bytes written\n"
                       "-  %2: f32[2,3] = neg %1  # 24 bytes read, 24 bytes written\n"
                       "   %y: f32[2,3] = tanh %1  # y; 24 bytes read, 24 bytes written\n"
                       "# changed by simplify (step 2 of 2): 2 nodes, 0 MACs, 0 bytes of constants, at most "
                       "24 bytes of intermediates at a time\n"
                       "   %0: f32[2,3] = relu %x  # 24 bytes read, 24 bytes written\n"
                       "-  %1: f32[2,3] = relu %0  # 24 bytes read, 24 bytes written\n"
                       "-  %y: f32[2,3] = tanh %1  # y; 24 bytes read, 24 bytes written\n"
                       "+  %y: f32[2,3] = tanh %0  # y; 24 bytes read, 24 bytes written\n"
                       "   return %y\n");
  free(output);
}

TEST(a_diff_may_be_in_colour) {
  char *output = printed("dce", (PrintOptions){.changed = true, .colour = true});
  CHECK(strstr(output, "\033[31m-  %2: f32[2,3] = neg %1"));
  free(output);
}

TEST(prints_before_and_after_passes) {
  char *output = printed("cse,dce", (PrintOptions){.before = "cse", .after = "dce"});
  CHECK_STRING(output, "# before cse (step 1 of 2): 4 nodes, 0 MACs, 0 bytes of constants, at most 48 bytes "
                       "of intermediates at a time\n"
                       "graph g(%x: f32[2,3]) -> (%y: f32[2,3]) {\n"
                       "  %0: f32[2,3] = relu %x  # 24 bytes read, 24 bytes written\n"
                       "  %1: f32[2,3] = relu %0  # 24 bytes read, 24 bytes written\n"
                       "  %2: f32[2,3] = neg %1  # 24 bytes read, 24 bytes written\n"
                       "  %y: f32[2,3] = tanh %1  # y; 24 bytes read, 24 bytes written\n"
                       "  return %y\n"
                       "}\n"
                       "# after dce (step 2 of 2): 3 nodes, 0 MACs, 0 bytes of constants, at most 48 bytes "
                       "of intermediates at a time\n"
                       "graph g(%x: f32[2,3]) -> (%y: f32[2,3]) {\n"
                       "  %0: f32[2,3] = relu %x  # 24 bytes read, 24 bytes written\n"
                       "  %1: f32[2,3] = relu %0  # 24 bytes read, 24 bytes written\n"
                       "  %y: f32[2,3] = tanh %1  # y; 24 bytes read, 24 bytes written\n"
                       "  return %y\n"
                       "}\n");
  free(output);
}

TEST(one_node_is_followed_through_all_passes) {
  char *output = printed("dce,simplify,fuse", (PrintOptions){.node = "y"});
  CHECK_STRING(output,
               "# before dce (step 1 of 3)\n"
               "%y: f32[2,3] = tanh %1  # y; 24 bytes read, 24 bytes written\n"
               "# after simplify (step 2 of 3)\n"
               "%y: f32[2,3] = tanh %0  # y; 24 bytes read, 24 bytes written\n"
               "# after fuse (step 3 of 3)\n"
               "%y: f32[2,3] = kernel %x, name=\"relu_tanh_1\" {  # y; 24 bytes read, 24 bytes written\n"
               "  graph relu_tanh_1(%x: f32[2,3]) -> (%output0: f32[2,3]) {\n"
               "    %3: f32[2,3] = relu %x\n"
               "    %4: f32[2,3] = tanh %3  # y\n"
               "    return %4\n"
               "  }\n"
               "}\n");
  free(output);
}

TEST(plan_prints_as_a_table) {
  Module *module = parsed("graph g(%x: f32[N,16], %s: f32[16,16]) -> (%y: f32[N,16]) {\n"
                          "  %0: f32[16,16] = softmax %s, axis=1\n"
                          "  %1: f32[N,16] = matmul %x, %0\n"
                          "  %y: f32[N,16] = softmax %1, axis=1\n"
                          "  return %y\n"
                          "}\n");
  PipelineOptions options = {.passes = "fuse,plan"};
  CHECK(pipeline_run(module->main, &options));
  char *output = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&output, &size);
  plan_print(module->main, out);
  fclose(out);
  CHECK_STRING(output, "      offset      bytes       lives type                     kernel\n"
                       "           0       1024     0..1    f32[16,16]               softmax_1\n"
                       "        1024       64*N     1..2    f32[N,16]                matmul_2\n"
                       "      output       64*N     2..3    f32[N,16]                softmax_3\n"
                       "state 0 bytes, scratch 64*N+1024 bytes\n");
  free(output);
  module_free(module);
}

static Runnable *count(void *context, Graph *graph) {
  ++*(int *)context;
  return (Runnable *)graph;
}

static bool interpret(Runnable *graph, const Tensor *inputs, Tensor *outputs) {
  return graph_interpret((Graph *)graph, inputs, outputs);
}

static void leave(Runnable *graph) {
  (void)graph;
}

TEST(large_folds_go_through_the_executor_in_one_graph) {
  enum { SIZE = 300 };
  Module *module = module_new("test");
  Graph *graph = module->main = graph_new(module, "g", NULL);
  Builder builder = builder_at_end(graph);
  const Type *type = type_static(module, DTYPE_F32, 2, (int64_t[]){SIZE, SIZE});
  Data *data = data_new(module, DTYPE_F32, SIZE * SIZE);
  for (int i = 0; i < SIZE * SIZE; i++) dtype_set(DTYPE_F32, data_bytes(data), i, i);
  Value *w = build_const(&builder, type, data, "w");
  Value *x = graph_add_input(graph, "x", type);
  Value *doubled = build_binary(&builder, &op_add, w, w), *negative = build_unary(&builder, &op_neg, doubled);
  Value *y = build_binary(&builder, &op_add, build_binary(&builder, &op_mul, x, doubled), negative);
  CHECK(graph_set_outputs(graph, 1, &y, (const char *[]){"y"}));
  int calls = 0;
  PipelineOptions options = {
      .passes = "fold,fold",
      .pass.executor = {.open = count, .run = interpret, .close = leave, .context = &calls}};
  CHECK(pipeline_run(graph, &options));
  CHECK_INT(calls, 1);
  CHECK_INT(graph_count_nodes(graph), 5); /* two constants, mul, add, return */
  const Data *folded = value_data(operand(y->def, 1));
  CHECK(folded && data_get(folded, 7) == -14.0);
  module_free(module);
}

int main(void) {
  RUN(unknown_pass_is_an_error_that_lists_the_known);
  RUN(changes_print_as_a_diff);
  RUN(a_diff_may_be_in_colour);
  RUN(prints_before_and_after_passes);
  RUN(one_node_is_followed_through_all_passes);
  RUN(plan_prints_as_a_table);
  RUN(large_folds_go_through_the_executor_in_one_graph);
  return tests_finish();
}
