/* How often pruning fits (passes/prune.c), on a machine where a layer of which more than half is zeros is
 * faster: which layers stay whole is known before, though others lose more or fewer weights for it. */
#include <stdlib.h>

#include "passes/prune.h"
#include "passes/rewrite.h"
#include "tests/test.h"

enum { LAYERS = 3, WIDTH = 16, WEIGHTS = WIDTH * WIDTH, SAMPLES = 64 };

/* ---- the machine: it interprets, and says times by zeros ---- */

/* A constant, and what it was before. */
typedef struct Dropped {
  Data *data, was;
} Dropped;

struct Runnable {
  Graph *graph;
  Dropped *kept;
  int kept_count;
  const KernelTime *times;
  int time_count;
};

static double zeros_of(const Node *node) {
  double zeros = 0;
  for (int i = 0; i < node->operand_count; i++) {
    const Data *data = operand(node, i) ? value_data(operand(node, i)) : NULL;
    if (!data || data->count != WEIGHTS) continue;
    for (int64_t k = 0; k < WEIGHTS; k++) zeros += data_get(data, k) == 0;
  }
  return zeros / WEIGHTS;
}

static int predict(void *context, const Graph *graph, const KernelTime **times) {
  (void)context;
  KernelTime *all = NEW_ARRAY(graph->module->arena, KernelTime, graph_count_nodes(graph));
  int count = 0;
  FOR_EACH_NODE(node, graph)
  if (node_is(node, &op_kernel) || node_is(node, &op_gemm))
    all[count++] = (KernelTime){.node = node, .predicted = zeros_of(node) > 0.5 ? 0.5 : 1};
  *times = all;
  return count;
}

static Runnable *open_graph(void *context, Graph *graph) {
  Arena *arena = graph->module->arena;
  Runnable *runnable = NEW(arena, Runnable);
  int count = 0;
  for (const Data *data = graph->module->data; data; data = data->next) count++;
  *runnable = (Runnable){.graph = graph, .kept = NEW_ARRAY(arena, Dropped, count)};
  runnable->time_count = predict(context, graph, &runnable->times);
  for (Data *data = graph->module->data; data; data = data->next) {
    runnable->kept[runnable->kept_count++] = (Dropped){data, *data};
    data->release = NULL;
  }
  return runnable;
}

static bool run(Runnable *runnable, const Tensor *inputs, Tensor *outputs) {
  for (int i = 0; i < runnable->kept_count; i++) runnable->kept[i].data->bytes = runnable->kept[i].was.bytes;
  return graph_interpret(runnable->graph, inputs, outputs);
}

static int times_of(Runnable *runnable, const KernelTime **times) {
  *times = runnable->times;
  return runnable->time_count;
}

static void spread(Runnable *runnable) {
  (void)runnable;
}

static void close_graph(Runnable *runnable) {
  for (int i = 0; i < runnable->kept_count; i++) {
    Dropped *kept = &runnable->kept[i];
    kept->data->bytes = kept->was.bytes;
    kept->data->release = kept->was.release;
  }
}

/* ---- the network: of the first layer nearly all can go, of the last hardly anything ---- */

static double weight(int layer, int i) {
  double sign = i * 37 % 5 < 2 ? -1 : 1, place = (double)(i * 101 % WEIGHTS) / WEIGHTS;
  return sign * (layer == 0 ? (place < 0.94 ? 1e-6 : 1) : layer == 1 ? place * place * place : 0.45 + place);
}

static char *write_network(void) {
  size_t size = 1 << 16;
  char *text = malloc(size), *to = text;
  to += sprintf(to, "graph g(%%x: f32[1,16]) -> (%%y0: f32[1,16], %%y1: f32[1,16], %%y2: f32[1,16]) {\n");
  for (int layer = 0; layer < LAYERS; layer++) {
    to += sprintf(to, "  const %%w%d: f32[16,16] = [", layer);
    for (int i = 0; i < WEIGHTS; i++) to += sprintf(to, "%s%.9g", i ? ", " : "", weight(layer, i));
    to += sprintf(to, "]\n  %%y%d: f32[1,16] = gemm %%x, %%w%d\n", layer, layer);
  }
  sprintf(to, "  return %%y0, %%y1, %%y2\n}\n");
  return text;
}

static void make_samples(Tensor *tensors) {
  uint64_t state = 1;
  for (int i = 0; i < SAMPLES; i++) {
    tensor_new(&tensors[i], DTYPE_F32, 2, (const int64_t[]){1, WIDTH});
    for (int j = 0; j < WIDTH; j++) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      ((float *)tensors[i].data)[j] = (float)(state >> 40) / (1 << 23) - 1;
    }
  }
}

static void count_fits(void *context, const char *what, int done, int count) {
  (void)count;
  *(int *)context += done == 0 && strcmp(what, "fitting") == 0;
}

static void check_rows(const Ledger *ledger) {
  if (!CHECK_INT(ledger->row_count, LAYERS)) return;
  CHECK_STRING(ledger->rows[0].reason, NULL);
  CHECK_STRING(ledger->rows[1].reason, "not faster");
  CHECK_STRING(ledger->rows[2].reason, "not faster");
  CHECK_STRING(ledger->rows[1].form, NULL);
  CHECK(ledger->rows[0].predicted_after < ledger->rows[0].predicted_before);
}

/* The second layer would have enough zeros if the third had some. */
TEST(slow_layers_are_found_before_the_fit) {
  static const Target machine;
  Tensor tensors[SAMPLES] = {0};
  Samples samples = {.tensors = tensors, .count = SAMPLES, .input_count = 1};
  int fits = 0;
  Pruning pruning = {.form = PRUNE_ANY, .share = 0.6, .refits = true};
  pruning.ledger = (Ledger){.samples = &samples, .max_drop = -1, .progress = count_fits, .context = &fits};
  PassOptions options = {.target = &machine,
                         .pruning = &pruning,
                         .executor = {.open = open_graph,
                                      .run = run,
                                      .times = times_of,
                                      .predict = predict,
                                      .spread = spread,
                                      .close = close_graph}};
  Module *module = module_new("test");
  char *text = write_network();
  make_samples(tensors);
  if (CHECK(module_parse_text(module, text, strlen(text), NULL))) {
    pass_prune(module->main, &options);
    CHECK_INT(module->error_count, 0);
    CHECK_INT(fits, 1);
    check_rows(&pruning.ledger);
  }
  diags_print(module, stdout, 3);
  for (int i = 0; i < SAMPLES; i++) tensor_free(&tensors[i]);
  free(text);
  module_free(module);
}

int main(void) {
  RUN(slow_layers_are_found_before_the_fit);
  return tests_finish();
}
