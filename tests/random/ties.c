/*
 * ties.c -- property test: a graph without some of its units computes what the whole one does in which
 * nothing of them is seen (masked.h).
 *
 *   test_random_ties [--count N] [--seed S]
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/random/generate.h"
#include "tests/random/masked.h"
#include "tests/random/networks.h"

enum { SIZE = 20, SYMBOL = 3, MAX_INPUTS = 8 };

/* Never all indices of an axis: units are spared until that holds. */
static int remove_some(const Ties *ties, Random *random, bool *removed) {
  int percent = 10 + random_below(random, 60), count = 0;
  for (int i = 0; i < ties->unit_count; i++) removed[i] = random_below(random, 100) < percent;
  for (int i = 0; i < ties->set_count; i++) {
    const IndexSet *set = &ties->sets[i];
    bool left = set->cause != 0;
    for (int k = 0; k < set->size && !left; k++) left = set->units[k] < 0 || !removed[set->units[k]];
    if (!left) removed[set->units[random_below(random, set->size)]] = false;
  }
  for (int i = 0; i < ties->unit_count; i++) count += removed[i];
  return count;
}

/* What is left of the graph is exact; *count gets how many units were removed. */
static bool check_removal(Graph *graph, uint64_t seed, const Tensor *inputs, int *count) {
  Random random = {seed};
  const Ties *ties = ties_find(graph);
  bool *removed = NEW_ARRAY(graph->module->arena, bool, ties->unit_count);
  *count = remove_some(ties, &random, removed);
  return *count == 0 || removal_is_exact(ties, removed, inputs);
}

static bool check_graph(uint64_t seed, int *removed) {
  Module *module = seed % 4 ? generate_network(seed) : generate_graph(seed, SIZE);
  PipelineOptions pipeline = {.passes = "expand,simplify,fold,cse,dce", .verify = true};
  Tensor inputs[MAX_INPUTS] = {0};
  int count = 0;
  bool ok = pipeline_run(module->main, &pipeline) && generate_inputs(module->main, seed, SYMBOL, inputs) &&
            check_removal(module->main, seed, inputs, &count);
  *removed += count;
  for (int i = 0; i < module->main->input_count; i++) tensor_free(&inputs[i]);
  if (!ok) {
    printf("FAIL --seed %" PRIu64 "\n", seed);
    diags_print(module, stdout, 4);
  }
  module_free(module);
  return ok;
}

int main(int argc, char **argv) {
  uint64_t seed = 1;
  int count = 200, passed = 0, removed = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--seed") == 0) seed = strtoull(argv[i + 1], NULL, 10);
    if (strcmp(argv[i], "--count") == 0) count = atoi(argv[i + 1]);
  }
  for (int i = 0; i < count; i++) passed += check_graph(seed + (uint64_t)i, &removed);
  bool enough = count < 100 || removed > 0;
  printf("%d units removed%s\n", removed, enough ? "" : ": too few to say anything");
  printf("%d passed, %d failed\n", passed, count - passed + !enough);
  return passed != count || !enough;
}
