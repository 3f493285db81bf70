/*
 * equalize.c -- the pass must not change results, and what it says of itself must be true.
 *
 * Graphs have random constants; `?N` in their text stands for N of them. Results are the interpreter's,
 * before and after.
 */
#include <math.h>
#include <stdlib.h>

#include "passes/rewrite.h"
#include "tests/test.h"

static uint64_t random_state;

/* Of magnitudes between 1/16 and 16. */
static double next_random(void) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  double x = (double)(random_state >> 40) / 0x1p23 - 1;
  return x * exp2((double)(random_state >> 20 & 7) - 3);
}

static Module *parsed(const char *text) {
  char *filled = NULL;
  size_t size = 0;
  FILE *stream = open_memstream(&filled, &size);
  random_state = 1;
  for (const char *at = text; *at; at++) {
    if (*at != '?') {
      fputc(*at, stream);
      continue;
    }
    char *end;
    long count = strtol(at + 1, &end, 10);
    for (long i = 0; i < count; i++) fprintf(stream, "%s%.6f", i ? ", " : "", next_random());
    at = end - 1;
  }
  fclose(stream);
  Module *module = module_new("test");
  if (!CHECK(module_parse_text(module, filled, size, NULL))) diags_print(module, stdout, 10);
  free(filled);
  return module;
}

/* The result for random inputs; free it. */
static Tensor result_of(Graph *graph) {
  Tensor input, output = {0};
  const Type *type = graph->inputs[0]->type;
  int64_t dims[MAX_RANK];
  for (int i = 0; i < type->rank; i++) dims[i] = dim_is_const(type->dims[i]) ? type->dims[i]->value : 2;
  CHECK(tensor_new(&input, DTYPE_F32, type->rank, dims));
  for (int64_t i = 0; i < tensor_count(&input); i++) ((float *)input.data)[i] = (float)next_random();
  if (!CHECK(graph_interpret(graph, &input, &output))) diags_print(graph->module, stdout, 10);
  tensor_free(&input);
  return output;
}

/* Equalizes the graph of `text`, whose results stay the same. */
static Equalized equalize(const char *text, const Equalizing *options) {
  Module *module = parsed(text);
  Equalized report = {0};
  if (module->error_count) return report;
  random_state = 2;
  Tensor before = result_of(module->main);
  bool changed = graph_equalize(module->main, options, &report);
  CHECK(graph_verify(module->main));
  CHECK_INT(changed, report.products + report.norms + report.multiplied > 0);
  random_state = 2;
  Tensor after = result_of(module->main);
  double largest = 0, difference = 0;
  CHECK_INT(tensor_count(&after), tensor_count(&before));
  for (int64_t i = 0; i < tensor_count(&before); i++) {
    double a = ((float *)before.data)[i], b = ((float *)after.data)[i];
    largest = fmax(largest, fabs(a));
    difference = fmax(difference, fabs(a - b));
  }
  CHECK(largest > 0);
  CHECK(difference <= 1e-5 * largest);
  tensor_free(&before);
  tensor_free(&after);
  module_free(module);
  return report;
}

static const Equalizing halves = {.strength = 0.5};

TEST(depthwise_between) {
  Equalized report = equalize("graph g(%x: f32[N,3,5,6]) -> (%y: f32[N,2,1,1]) {\n"
                              "  const %w1: f32[4,3,1,1] = [?12]\n"
                              "  const %b1: f32[4] = [?4]\n"
                              "  const %w2: f32[4,1,3,3] = [?36]\n"
                              "  const %b2: f32[4] = [?4]\n"
                              "  const %w3: f32[2,4,1,1] = [?8]\n"
                              "  const %six: f32 = splat 6.0\n"
                              "  const %zero: f32 = splat 0.0\n"
                              "  %0: f32[N,4,5,6] = conv %x, %w1, %b1\n"
                              "  %1: f32[N,4,5,6] = clip %0, %zero, %six\n"
                              "  %2: f32[N,4,5,6] = conv %1, %w2, %b2, pads=[1,1,1,1], group=4\n"
                              "  %3: f32[N,4,5,6] = leaky_relu %2, alpha=0.1\n"
                              "  %4: f32[N,4,1,1] = reduce_mean %3, axes=[2,3]\n"
                              "  %y: f32[N,2,1,1] = conv %4, %w3, _\n"
                              "  return %y\n"
                              "}\n",
                              &halves);
  CHECK_INT(report.products, 2);
  CHECK_INT(report.norms, 0);
  CHECK(report.largest > 1.25 && report.largest <= 256);
}

TEST(channels_last) {
  Equalized report =
      equalize("graph g(%x: f32[1,5,6,3]) -> (%y: f32[1,2,2,2]) {\n"
               "  const %w1: f32[3,3,3,4] = [?108]\n"
               "  const %w2: f32[3,3,4,2] = [?72]\n"
               "  const %low: f32 = splat -1.0\n"
               "  const %high: f32 = splat 2.0\n"
               "  %0: f32[1,5,6,4] = conv %x, %w1, _, pads=[1,1,1,1], layout=\"nhwc\"\n"
               "  %1: f32[1,5,6,4] = clip %0, %low, %high\n"
               "  %2: f32[1,2,3,4] = max_pool %1, kernel=[2,2], strides=[2,2], layout=\"nhwc\"\n"
               "  %y: f32[1,2,2,2] = conv %2, %w2, _, pads=[1,0,1,1], layout=\"nhwc\"\n"
               "  return %y\n"
               "}\n",
               &halves);
  CHECK_INT(report.products, 1);
}

TEST(norm_before_several) {
  Equalized report = equalize("graph g(%x: f32[S,4]) -> (%y: f32[S,3]) {\n"
                              "  const %g: f32[4] = [?4]\n"
                              "  const %b: f32[4] = [?4]\n"
                              "  const %q: f32[4,3] = [?12]\n"
                              "  const %k: f32[3,4] = [?12]\n"
                              "  const %kb: f32[3] = [?3]\n"
                              "  %0: f32[S,4] = layer_norm %x, %g, %b\n"
                              "  %1: f32[S,3] = matmul %0, %q\n"
                              "  %2: f32[S,3] = gemm %0, %k, %kb, trans_b=true\n"
                              "  %y: f32[S,3] = add %1, %2\n"
                              "  return %y\n"
                              "}\n",
                              &halves);
  CHECK_INT(report.products, 0);
  CHECK_INT(report.norms, 1);
}

TEST(transposed_and_scaled) {
  Equalized report = equalize("graph g(%x: f32[1,3,4,4]) -> (%y: f32[1,2,8,8]) {\n"
                              "  const %s: f32[3,1,1] = [?3]\n"
                              "  const %w1: f32[3,4,1,1] = [?12]\n"
                              "  const %w2: f32[4,2,2,2] = [?32]\n"
                              "  %0: f32[1,3,4,4] = mul %x, %s\n"
                              "  %1: f32[1,4,4,4] = conv_transpose %0, %w1, _\n"
                              "  %2: f32[1,4,4,4] = relu %1\n"
                              "  %y: f32[1,2,8,8] = conv_transpose %2, %w2, _, strides=[2,2]\n"
                              "  return %y\n"
                              "}\n",
                              &halves);
  CHECK_INT(report.products, 1);
  CHECK_INT(report.norms, 1);
}

/* Something else reads the channels, they are mixed on the way, the function is none that keeps scales, or
 * they are an output. */
TEST(what_stays) {
  static const char *const tails[] = {
      "  %1: f32[2,4] = relu %0\n"
      "  %2: f32[2,3] = gemm %1, %v, _\n"
      "  %3: f32[2,1] = reduce_max %1, axes=[1]\n"
      "  %y: f32[2,3] = add %2, %3\n",
      "  %1: f32[4,2] = reshape %0, shape=[4,2]\n"
      "  %2: f32[2,4] = reshape %1, shape=[2,4]\n"
      "  %y: f32[2,3] = gemm %2, %v, _\n",
      "  %1: f32[2,4] = tanh %0\n"
      "  %y: f32[2,3] = gemm %1, %v, _\n",
      "  %1: f32[2,3] = gemm %0, %v, _\n"
      "  %2: f32[4,2] = transpose %0, perm=[1,0]\n"
      "  %3: f32[4,3] = matmul %2, %1\n"
      "  %y: f32[2,3] = slice %3, starts=[0,0], sizes=[2,3]\n",
  };
  for (int i = 0; i < COUNT_OF(tails); i++) {
    char text[1000];
    snprintf(text, sizeof text,
             "graph g(%%x: f32[2,3]) -> (%%y: f32[2,3]) {\n"
             "  const %%w: f32[3,4] = [?12]\n"
             "  const %%v: f32[4,3] = [?12]\n"
             "  %%0: f32[2,4] = gemm %%x, %%w, _\n%s"
             "  return %%y\n"
             "}\n",
             tails[i]);
    Equalized report = equalize(text, &halves);
    CHECK_INT(report.products + report.norms, 0);
    CHECK(report.largest == 1);
  }
}

static bool known_ranges(const void *context, const Node *product, Channels *channels) {
  (void)product;
  *channels = (Channels){.absmax = context, .reach = 1};
  return true;
}

/* Channels of ranges 1, 16, 0 and 4 before weights that are all alike get the ranges 4, 4 (sqrt), 0 and 4. */
TEST(known_ranges_count) {
  static const char text[] = "graph g(%x: f32[2,3]) -> (%y: f32[2,3]) {\n"
                             "  const %w: f32[3,4] = [?12]\n"
                             "  const %v: f32[4,3] = splat 1.0\n"
                             "  %0: f32[2,4] = gemm %x, %w, _\n"
                             "  %1: f32[2,4] = relu %0\n"
                             "  %y: f32[2,3] = gemm %1, %v, _\n"
                             "  return %y\n"
                             "}\n";
  const float ranges[] = {1, 16, 0, 4};
  Equalized report =
      equalize(text, &(Equalizing){.strength = 0.5, .channels = known_ranges, .context = ranges});
  CHECK_NEAR(report.largest, 4, 1e-6);
  report = equalize(text, &(Equalizing){.strength = 1, .channels = known_ranges, .context = ranges});
  CHECK_NEAR(report.largest, 16, 1e-6);
  report = equalize(text, &(Equalizing){.strength = 0, .channels = known_ranges, .context = ranges});
  CHECK_INT(report.products, 0);
}

typedef struct Known {
  const float *ranges;
  const double *squares;
} Known;

static bool known_channels(const void *context, const Node *product, Channels *channels) {
  (void)product;
  const Known *known = context;
  *channels = (Channels){known->ranges, known->squares, 1};
  return true;
}

/* Channels of ranges 1 and 16 before weights of 1, divided by s and 1 (the largest), with squares p and q on
 * average. The noise, in parts of a constant, is that of x with that of weights,
 *
 *   (16 / 255)^2 (1 + s^2) + (1 / 127)^2 (p / s^2 + q),
 *
 * while 1 / 16 <= s: s = 1 / 16, 1 / 8, 1 / 4 and 1 / 2 are the strengths 1 to 0.25. The least of them counts
 * if it is less than 0.8 of that of s = 1. */
TEST(strength_by_noise) {
  static const char text[] = "graph g(%x: f32[2,3]) -> (%y: f32[2,3]) {\n"
                             "  const %w: f32[3,2] = [?6]\n"
                             "  const %v: f32[2,3] = [1, 1, 1, 1, 1, 1]\n"
                             "  %0: f32[2,2] = gemm %x, %w, _\n"
                             "  %1: f32[2,2] = relu %0\n"
                             "  %y: f32[2,3] = gemm %1, %v, _\n"
                             "  return %y\n"
                             "}\n";
  static const float ranges[] = {1, 16};
  static const struct {
    double squares[2], largest;
  } cases[] = {{{1 / 300.0, 256 / 300.0}, 16}, {{0.01, 0.01}, 8}, {{1 / 3.0, 256 / 3.0}, 4}, {{0.9, 230}, 1}};
  for (int i = 0; i < COUNT_OF(cases); i++) {
    Known known = {ranges, cases[i].squares};
    Equalized report = equalize(text, &(Equalizing){.channels = known_channels, .context = &known});
    CHECK_NEAR(report.largest, cases[i].largest, 1e-6);
  }
}

/* Nothing before scales what the products read: one that alone reads it gets a multiplication. */
TEST(multiplications) {
  static const char *const readers[] = {"  %y: f32[1,2,3,3] = conv %0, %v, _\n",
                                        "  %1: f32[1,2,3,3] = conv %0, %v, _\n"
                                        "  %2: f32[1,2,3,3] = slice %0, starts=[0,0,0,0], sizes=[1,2,3,3]\n"
                                        "  %y: f32[1,2,3,3] = add %1, %2\n"};
  const float unequal[] = {1, 0.01F, 1, 0.02F}, equal[] = {1, 1, 1, 1};
  for (int i = 0; i < 2; i++) {
    char text[500];
    snprintf(text, sizeof text,
             "graph g(%%x: f32[1,4,3,3]) -> (%%y: f32[1,2,3,3]) {\n"
             "  const %%v: f32[2,4,1,1] = [1, 1, 1, 1, 1, 1, 1, 1]\n"
             "  %%0: f32[1,4,3,3] = tanh %%x\n%s"
             "  return %%y\n"
             "}\n",
             readers[i]);
    Equalizing options = {.strength = 0.5, .channels = known_ranges, .context = unequal};
    Equalized report = equalize(text, &options);
    CHECK_INT(report.multiplied, i == 0);
    CHECK_INT(report.products + report.norms, 0);
    CHECK_NEAR(report.largest, i == 0 ? 10 : 1, 1e-6);
    options.context = equal;
    CHECK_INT(equalize(text, &options).multiplied, 0);
    CHECK_INT(equalize(text, &halves).multiplied, 0);
  }
}

int main(void) {
  RUN(depthwise_between);
  RUN(channels_last);
  RUN(norm_before_several);
  RUN(transposed_and_scaled);
  RUN(what_stays);
  RUN(known_ranges_count);
  RUN(strength_by_noise);
  RUN(multiplications);
  return tests_finish();
}
