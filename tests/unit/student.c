/* The graph of distillation (passes/student.h): judging goes forward only, and gives the distance that a step
 * sees. */
#include <stdlib.h>

#include "passes/student.h"
#include "tests/test.h"

enum { SAMPLES = 16, BATCH = 2, WIDTH = 4, MAX_LAYERS = 2 };

static const char network[] = "graph g(%x: f32[1,4]) -> (%y: f32[1,3], %z: f32[1,2]) {\n"
                              "  const %w: f32[4,3] = [1, -2, 0.5, 3, 1, -1, 0.25, 2, -3, 1, 0.5, -0.5]\n"
                              "  const %v: f32[3,2] = [0.5, -1, 2, 1, -0.25, 3]\n"
                              "  %h: f32[1,3] = gemm %x, %w\n"
                              "  %r: f32[1,3] = relu %h\n"
                              "  %y: f32[1,3] = softmax %h, axis=1\n"
                              "  %z: f32[1,2] = gemm %r, %v\n"
                              "  return %y, %z\n}\n";

/* What a pruner is when nothing has been taken away. */
typedef struct Setup {
  Module *module;
  PassOptions options;
  Samples samples;
  Tensor tensors[SAMPLES];
  Pruning pruning;
  Thinning layers[MAX_LAYERS];
  Pruner pruner;
} Setup;

static bool set_up(Setup *setup) {
  *setup = (Setup){.module = module_new("test"), .samples = {.count = SAMPLES, .input_count = 1}};
  for (int i = 0; i < SAMPLES; i++) {
    tensor_new(&setup->tensors[i], DTYPE_F32, 2, (const int64_t[]){1, WIDTH});
    for (int j = 0; j < WIDTH; j++)
      ((float *)setup->tensors[i].data)[j] = (float)((i * WIDTH + j) * 7 % 11) - 5;
  }
  setup->samples.tensors = setup->tensors;
  setup->pruning.ledger.samples = &setup->samples;
  setup->pruner = (Pruner){.plan = {.options = &setup->options, .ledger = &setup->pruning.ledger},
                           .pruning = &setup->pruning,
                           .layers = setup->layers};
  Plan *plan = &setup->pruner.plan;
  if (!CHECK(module_parse_text(setup->module, network, strlen(network), NULL))) return false;
  plan_find(plan, setup->module->main);
  return CHECK_INT(plan->layer_count, MAX_LAYERS) &&
         CHECK(observer_open(&plan->original, plan->graph, plan->options, NULL, 0));
}

static void tear_down(Setup *setup) {
  observer_close(&setup->pruner.plan.original);
  for (int i = 0; i < SAMPLES; i++) tensor_free(&setup->tensors[i]);
  diags_print(setup->module, stdout, 3);
  module_free(setup->module);
}

static void turn_knobs(Student *s) {
  for (int i = 0; i < s->knob_count; i++)
    for (int64_t k = 0; k < knob_size(&s->knobs[i]); k++)
      ((float *)s->knobs[i].now.data)[k] += 0.125f * (float)(k % 3);
}

static double macs_of(const Observer *observer) {
  return (double)graph_macs(observer->copy)->value;
}

static void check_distances(Student *s) {
  const Mixture mixtures[][BATCH] = {{{.a = 0}, {.a = 5}}, {{1, 7, 0.25f}, {3, 2, 0.5f}}};
  for (int i = 0; i < 2; i++) {
    double judged = 0, walked = 1;
    if (CHECK(student_judge(s, mixtures[i], &judged) && student_run(s, mixtures[i], &walked)))
      student_forget(s);
    CHECK(judged > 0);
    CHECK_NEAR(judged, walked, 1e-5 * walked); /* the interpreter rounds between kernels, which are others */
  }
}

TEST(judging_gives_the_distance_without_gradients) {
  Setup setup;
  Student student;
  const char *why = NULL;
  if (set_up(&setup)) {
    if (CHECK(student_open(&student, &setup.pruner, BATCH, &why)) && CHECK_STRING(why, NULL)) {
      turn_knobs(&student);
      check_distances(&student);
      CHECK_INT(student.judge.copy->output_count, 1);
      CHECK_NEAR(macs_of(&student.judge), macs_of(&student.teacher), 0);
      CHECK(macs_of(&student.learner) >= 2 * macs_of(&student.judge));
    }
    student_close(&student);
  }
  tear_down(&setup);
}

int main(void) {
  RUN(judging_gives_the_distance_without_gradients);
  return tests_finish();
}
