/*
 * ops_ties.c -- every axis map by the numbers: the graphs of tests/ops, with constants for inputs and sums of
 * their outputs, lose indices and compute what they do when no sum sees these (masked.h). A map that says an
 * index passes through where it does not is wrong here, and one that the op's own inference contradicts.
 *
 *   test_ops_ties FILE.tn...
 */
#include "tests/random/generate.h"
#include "tests/random/masked.h"

static bool is_number(const Type *type) {
  return type_is_tensor(type) && (dtype_is_float(type->dtype) || dtype_is_int(type->dtype)) &&
         !dtype_is_storage(type->dtype);
}

/* Small numbers in the place of an input of constant sizes; integers are 1, good as indices and divisors. */
static void make_constant(Value *input, Random *random) {
  const Type *type = input->type;
  Builder builder = builder_before(input->graph->first);
  if (!is_number(type) || !type_is_static(type) || value_state(input) >= 0) return;
  Data *data = data_new(builder.graph->module, type->dtype, type_static_count(type));
  for (int64_t i = 0; i < data->count; i++)
    dtype_set(type->dtype, data_bytes(data), i,
              dtype_is_float(type->dtype) ? random_between(random, 0.1, 1.5) : 1);
  value_replace(input, build_const(&builder, type, data, NULL));
}

static Value *sum_of(Builder *builder, Value *x) {
  static const int64_t axes[MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  if (!is_number(x->type) || x->type->rank == 0) return x;
  return build_reduce(builder, &op_reduce_sum, build_cast(builder, x, DTYPE_F32), axes, x->type->rank);
}

static bool open_ends(Graph *graph, uint64_t seed) {
  Random random = {seed};
  Value **outputs = NEW_ARRAY(graph->module->arena, Value *, graph->output_count);
  for (int i = 0; i < graph->input_count; i++) make_constant(graph->inputs[i], &random);
  FOR_EACH_NODE(node, graph) /* lists that have to rise are none any more */
  if (node->op->infer && !node_reinfer(node)) return false;
  Builder builder = builder_at_end(graph);
  for (int i = 0; i < graph->output_count; i++) outputs[i] = sum_of(&builder, graph_output(graph, i));
  return graph_set_outputs(graph, graph->output_count, outputs, graph->output_names);
}

/* One unit of each set of indices that can lose one without being emptied. */
static int choose_units(const Ties *ties, Random *random, bool *removed) {
  int count = 0;
  for (int i = 0; i < ties->unit_count; i++) removed[i] = random_below(random, 3) == 0;
  for (int i = 0; i < ties->set_count; i++) {
    const IndexSet *set = &ties->sets[i];
    bool left = set->cause != 0;
    for (int k = 0; k < set->size && !left; k++) left = set->units[k] < 0 || !removed[set->units[k]];
    if (!left) removed[set->units[0]] = false;
  }
  for (int i = 0; i < ties->unit_count; i++) count += removed[i];
  return count;
}

static bool check_file(const char *path, int *removed_count) {
  Module *module = module_new(path);
  enum { MAX_INPUTS = 32 };
  Tensor inputs[MAX_INPUTS] = {0};
  Random random = {7};
  bool ok = true;
  if (module_parse_file(module, path) && !graph_is_dynamic(module->main) && open_ends(module->main, 7)) {
    Graph *graph = module->main;
    const Ties *ties = ties_find(graph);
    bool *removed = NEW_ARRAY(module->arena, bool, ties->unit_count);
    int count = choose_units(ties, &random, removed);
    *removed_count += count;
    ok = count == 0 || (generate_inputs(graph, 7, 3, inputs) && removal_is_exact(ties, removed, inputs));
    for (int i = 0; i < graph->input_count; i++) tensor_free(&inputs[i]);
    if (!ok) {
      printf("FAIL %s\n", path);
      diags_print(module, stdout, 3);
    }
  }
  module_free(module);
  return ok;
}

int main(int argc, char **argv) {
  int passed = 0, removed = 0;
  for (int i = 1; i < argc; i++) passed += check_file(argv[i], &removed);
  bool enough = removed > argc;
  printf("%d units removed%s\n", removed, enough ? "" : ": too few to say anything");
  printf("%d passed, %d failed\n", passed, argc - 1 - passed + !enough);
  return passed != argc - 1 || !enough;
}
