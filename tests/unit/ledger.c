/* What the ledger finds out on copies (passes/ledger.c): what goes wrong with one is said of the graph. */
#include <stdlib.h>

#include "passes/quantize.h"
#include "tests/test.h"

static bool refuse(const Plan *plan, Graph *graph) {
  (void)plan;
  return fail(graph->module, "it does not fit");
}

TEST(what_goes_wrong_with_a_copy_is_said) {
  const char *text = "graph g(%x: f32[2]) -> (%y: f32[2]) {\n  %y: f32[2] = relu %x\n  return %y\n}\n";
  Module *module = module_new("test");
  if (CHECK(module_parse_text(module, text, strlen(text), NULL))) {
    PassOptions options = {0};
    Ledger ledger = {0};
    Plan plan = {.graph = module->main, .options = &options, .ledger = &ledger, .apply = refuse};
    Pair pair;
    CHECK(!pair_open(&pair, &plan));
    CHECK_STRING(module->diags ? module->diags->text : NULL, "it does not fit");
    observer_close(&pair.planned);
  }
  module_free(module);
}

int main(void) {
  RUN(what_goes_wrong_with_a_copy_is_said);
  return tests_finish();
}
