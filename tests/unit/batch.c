/* Graphs for several samples at once (passes/batch.c): each gets what it gets alone, or there is no such
 * graph. */
#include <stdlib.h>

#include "passes/observe.h"
#include "tests/test.h"

static Graph *parse(Module *module, const char *text) {
  return module_parse_text(module, text, strlen(text), NULL) ? module->main : NULL;
}

/* Sample i, or all of them one behind the other. */
static Tensor make(int rank, const int64_t *dims, int samples, int first) {
  Tensor x = {0};
  int64_t all[MAX_RANK];
  for (int i = 0; i < rank; i++) all[i] = i ? dims[i] : samples;
  tensor_new(&x, DTYPE_F32, rank, all);
  int64_t each = tensor_count(&x) / samples;
  for (int64_t i = 0; i < tensor_count(&x); i++)
    ((float *)x.data)[i] = (float)((first * each + i) * 7 % 11) - 5;
  return x;
}

static void check_samples(const char *text, int rank, const int64_t *dims) {
  enum { BATCH = 3 };
  Module *module = module_new("test"), *again = module_new("test");
  Graph *one = parse(module, text), *all = parse(again, text);
  Tensor x = make(rank, dims, BATCH, 0), y = {0};
  if (CHECK(graph_batch(all, BATCH)) && CHECK(graph_interpret(all, &x, &y)))
    for (int sample = 0; sample < BATCH; sample++) {
      Tensor alone = make(rank, dims, 1, sample), single = {0};
      if (CHECK(graph_interpret(one, &alone, &single)))
        for (int64_t i = 0; i < tensor_count(&single); i++)
          CHECK_NEAR(((float *)y.data)[sample * tensor_count(&single) + i], ((float *)single.data)[i], 1e-6);
      tensor_free(&alone);
      tensor_free(&single);
    }
  diags_print(again, stdout, 3);
  tensor_free(&x);
  tensor_free(&y);
  module_free(module);
  module_free(again);
}

TEST(of_one) {
  check_samples("graph g(%x: f32[1,1,2,3]) -> (%y: f32[1,2]) {\n"
                "  const %w: f32[1,1,1,2] = [1, -2]\n  const %v: f32[4,2] = [1, 2, 3, 4, 5, 6, 7, 8]\n"
                "  %c: f32[1,1,2,2] = conv %x, %w\n  %r: f32[1,4] = reshape %c, shape=[1,4]\n"
                "  %g: f32[1,2] = gemm %r, %v\n  %y: f32[1,2] = softmax %g, axis=1\n  return %y\n}\n",
                4, (const int64_t[]){1, 1, 2, 3});
}

TEST(of_a_symbol) {
  check_samples("graph g(%x: f32[N,4]) -> (%y: f32[2*N,2]) {\n"
                "  %y: f32[2*N,2] = reshape %x, shape=[2*N,2]\n  return %y\n}\n",
                2, (const int64_t[]){1, 4});
}

/* The axis that is 1 becomes another one. */
TEST(of_none) {
  Module *module = module_new("test");
  CHECK(!graph_batch(parse(module, "graph g(%x: f32[1,4]) -> (%y: f32[4,1]) {\n"
                                   "  %y: f32[4,1] = transpose %x, perm=[1,0]\n  return %y\n}\n"),
                     3));
  CHECK(!graph_batch(parse(module, "graph g(%x: f32[2,4]) -> (%y: f32[2,4]) {\n"
                                   "  %y: f32[2,4] = relu %x\n  return %y\n}\n"),
                     3));
  module_free(module);
}

int main(void) {
  RUN(of_one);
  RUN(of_a_symbol);
  RUN(of_none);
  return tests_finish();
}
