/* graph.c -- values, use lists, names, rewriting, copies, outputs, attributes, binding; and that the verifier
 * sees what is broken. */
#include "ir/run.h"
#include "tests/test.h"

typedef struct Fixture {
  Module *module;
  Graph *graph;
  Builder builder;
  Value *x, *y; /* inputs f32[N,4] and i64[2] */
} Fixture;

static Fixture fixture_new(void) {
  Module *module = module_new("test");
  Graph *graph = graph_new(module, "test", NULL);
  const Dim *dims[] = {dim_symbol(module, "N"), dim_const(module, 4)};
  Value *x = graph_add_input(graph, "x", type_make(module, DTYPE_F32, 2, dims));
  Value *y = graph_add_input(graph, "y", type_static(module, DTYPE_I64, 1, (int64_t[]){2}));
  return (Fixture){module, graph, builder_at_end(graph), x, y};
}

/* A kernel that gives its operands back. */
static Node *add_identity(Fixture *fixture, Value *const *operands, int count) {
  Node *node = node_new(&fixture->builder, &op_kernel, operands, count);
  node_set_string(node, "name", "identity");
  Graph *body = node_add_region(node, NULL);
  Value *inputs[4];
  for (int i = 0; i < count; i++) inputs[i] = graph_add_input(body, NULL, operands[i]->type);
  graph_set_outputs(body, count, inputs, NULL);
  return node_finish(node) ? node : NULL;
}

TEST(use_lists_follow_every_change) {
  Fixture f = fixture_new();
  Node *first = add_identity(&f, (Value *[]){f.x, f.x}, 2);
  Node *second = add_identity(&f, (Value *[]){result(first, 0)}, 1);
  CHECK_INT(value_use_count(f.x), 2);
  CHECK(value_has_one_use(result(first, 0)) && !result(first, 1)->uses);
  CHECK_INT(first->result_count, 2);
  CHECK(graph_set_outputs(f.graph, 2, (Value *[]){result(second, 0), f.x}, (const char *[]){"out", "same"}));
  CHECK_INT(value_use_count(f.x), 3);
  CHECK(value_is_output(f.x) && value_is_output(result(second, 0)) && !value_is_output(result(first, 0)));
  CHECK(graph_verify(f.graph));
  operand_set(first, 1, NULL);
  operand_set(first, 1, f.x);
  value_replace(result(second, 0), result(first, 0));
  node_remove(second);
  CHECK(graph_output(f.graph, 0) == result(first, 0));
  CHECK_INT(value_use_count(result(first, 0)), 1);
  value_replace(result(first, 0), f.x);
  node_remove(first);
  CHECK_INT(value_use_count(f.x), 2);
  CHECK_INT(graph_count_nodes(f.graph), 1);
  CHECK(graph_verify(f.graph));
  module_free(f.module);
}

TEST(names_are_unique_while_their_values_live) {
  Fixture f = fixture_new();
  Value *a = build_ints(&f.builder, (int64_t[]){1}, 1), *b = build_ints(&f.builder, (int64_t[]){2}, 1);
  value_set_name(a, "x");
  value_set_name(b, "x");
  CHECK_STRING(a->name, "x_1");
  CHECK_STRING(b->name, "x_2");
  value_set_name(a, NULL);
  value_set_name(b, "x_1");
  CHECK_STRING(b->name, "x_1");
  node_remove(b->def);
  value_set_name(a, "x_1");
  CHECK_STRING(a->name, "x_1");
  value_set_name(a, "x_1");
  CHECK_STRING(a->name, "x_1");
  module_free(f.module);
}

TEST(new_nodes_go_where_the_builder_says) {
  Fixture f = fixture_new();
  graph_set_outputs(f.graph, 1, (Value *[]){f.x}, NULL);
  Value *last = build_scalar(&f.builder, DTYPE_F32, 1);
  CHECK(last->def->next == f.graph->last);
  Builder before = builder_before(last->def);
  Value *first = build_scalar(&before, DTYPE_F32, 2);
  CHECK(f.graph->first == first->def && first->def->next == last->def);
  node_move_before(last->def, first->def);
  CHECK(f.graph->first == last->def && last->def->next == first->def && first->def->next == f.graph->last);
  CHECK(graph_verify(f.graph));
  graph_set_outputs(f.graph, 1, (Value *[]){last}, (const char *[]){"one"});
  CHECK_INT(graph_count_nodes(f.graph), 3);
  CHECK(graph_verify(f.graph));
  module_free(f.module);
}

TEST(constants) {
  Fixture f = fixture_new();
  Value *ints = build_ints(&f.builder, (int64_t[]){2, -1, 7}, 3),
        *scalar = build_scalar(&f.builder, DTYPE_F16, 0.5);
  int64_t known[4];
  int count;
  double x;
  CHECK(value_known_ints(ints, known, 4, &count) && count == 3 && known[1] == -1 && known[2] == 7);
  CHECK(!value_known_ints(ints, known, 2, &count) && !value_known_ints(f.y, known, 4, &count));
  CHECK(value_scalar(scalar, &x) && x == 0.5 && value_is_splat(scalar, 0.5) && !value_is_splat(ints, 2));
  CHECK(!value_scalar(ints, &x) && !value_scalar(f.x, &x));
  const Type *wrong = type_static(f.module, DTYPE_I64, 1, (int64_t[]){2});
  CHECK(!build_const(&f.builder, wrong, value_data(ints), NULL));
  CHECK_STRING(f.module->last_diag->text, "3 elements of i64 are given for 2 of i64");
  CHECK(!data_new(f.module, DTYPE_F64, INT64_MAX));
  Data *same = data_copy(f.module, DTYPE_I64, 3, value_data(ints)->bytes);
  CHECK(data_equal(same, value_data(ints)) && data_hash(same) == data_hash(value_data(ints)));
  CHECK(!data_equal(same, data_splat(f.module, DTYPE_I64, 3, 2)));
  module_free(f.module);
}

TEST(a_copy_is_independent) {
  Fixture f = fixture_new();
  Value *w = build_ints(&f.builder, (int64_t[]){1, 2}, 2);
  value_set_name(w, "w");
  Node *node = add_identity(&f, (Value *[]){f.x, w}, 2);
  graph_set_outputs(f.graph, 1, (Value *[]){result(node, 1)}, (const char *[]){"out"});
  Module *other = module_new("other");
  Graph *copies[] = {graph_clone(f.module, f.graph, NULL), graph_clone(other, f.graph, NULL)};
  for (int i = 0; i < 2; i++) {
    CHECK(graph_verify(copies[i]));
    CHECK_INT(graph_count_nodes(copies[i]), 3);
    CHECK_STRING(copies[i]->output_names[0], "out");
    CHECK_STRING(copies[i]->first->results[0]->name, "w");
    CHECK(copies[i]->first->next->regions[0]->owner == copies[i]->first->next);
  }
  CHECK(copies[1]->inputs[0]->type->dims[0] == dim_symbol(other, "N"));
  module_free(other);
  module_free(f.module);
}

TEST(wrong_nodes_are_refused_and_removed) {
  Fixture f = fixture_new();
  Node *node = node_new(&f.builder, &op_kernel, (Value *[]){f.x}, 1);
  CHECK(!node_finish(node));
  CHECK_STRING(f.module->last_diag->text, "attribute 'name' is missing");
  CHECK(!f.graph->first && !f.x->uses);
  node = node_new(&f.builder, &op_kernel, (Value *[]){f.x}, 1);
  node_set_string(node, "name", "k");
  CHECK(!node_finish(node));
  CHECK(!graph_set_outputs(f.graph, 2, (Value *[]){f.x, f.y}, (const char *[]){"a", "a"}));
  module_free(f.module);
}

TEST(the_verifier_sees_broken_graphs) {
  Fixture f = fixture_new();
  CHECK(!graph_verify(f.graph)); /* no return */
  Node *node = add_identity(&f, (Value *[]){f.y}, 1);
  Value *late = build_ints(&f.builder, (int64_t[]){1, 2}, 2);
  graph_set_outputs(f.graph, 1, (Value *[]){result(node, 0)}, NULL);
  CHECK(graph_verify(f.graph));
  operand_set(node, 0, late);
  CHECK(!graph_verify(f.graph)); /* used before its definition */
  operand_set(node, 0, f.y);
  CHECK(graph_verify(f.graph));
  const Type *type = result(node, 0)->type;
  result(node, 0)->type = f.x->type;
  CHECK(!graph_verify(f.graph)); /* not what infer says */
  CHECK(result(node, 0)->type == f.x->type);
  result(node, 0)->type = type;
  Use *uses = f.y->uses;
  f.y->uses = NULL;
  CHECK(!graph_verify(f.graph)); /* a use that is not listed */
  f.y->uses = uses;
  late->name = f.x->name;
  CHECK(!graph_verify(f.graph)); /* two of one name */
  module_free(f.module);
}

TEST(axis_map_of_broadcasting) {
  static const OperandSpec operands[] = {{"a", false, ""}, {"b", false, ""}};
  const Op op = {
      .name = "test", .operands = operands, .operand_count = 2, .result_count = 1, .traits = TRAIT_BROADCAST};
  Fixture f = fixture_new();
  const Type *type, *row = type_static(f.module, DTYPE_F32, 1, (int64_t[]){1});
  Value *b = graph_add_input(f.graph, "b", row);
  CHECK(type_broadcast(f.module, f.x->type, row, DTYPE_F32, &type) && type == f.x->type);
  CHECK(!type_broadcast(f.module, f.x->type, type_static(f.module, DTYPE_F32, 1, (int64_t[]){3}), DTYPE_F32,
                        &type));
  Node *node = node_new(&f.builder, &op, (Value *[]){f.x, b}, 2);
  result_set(node, 0, f.x->type);
  AxisLink links[MAX_RANK];
  op_axes(node, 0, links);
  CHECK(links[0].role == AXIS_SAME && links[1].role == AXIS_SAME && links[1].axis == 1);
  op_axes(node, 1, links);
  CHECK(links[0].role == AXIS_BROADCAST && links[0].axis == 1 && links[1].role == AXIS_OPAQUE);
  module_free(f.module);
}

TEST(inputs_bind_symbols) {
  Fixture f = fixture_new();
  const Dim *more[] = {dim_add(f.module, dim_symbol(f.module, "N"), dim_const(f.module, 1))};
  graph_add_input(f.graph, "z", type_make(f.module, DTYPE_F32, 1, more));
  Tensor inputs[3];
  CHECK(tensor_new(&inputs[0], DTYPE_F32, 2, (int64_t[]){5, 4}) &&
        tensor_new(&inputs[1], DTYPE_I64, 1, (int64_t[]){2}) &&
        tensor_new(&inputs[2], DTYPE_F32, 1, (int64_t[]){6}));
  const char *symbols[4];
  int64_t values[4];
  int count;
  CHECK(graph_bind(f.graph, inputs, symbols, values, 4, &count) && count == 1 && values[0] == 5);
  CHECK_STRING(symbols[0], "N");
  inputs[2].dims[0] = 7;
  CHECK(!graph_bind(f.graph, inputs, symbols, values, 4, &count));
  CHECK_STRING(f.module->last_diag->text, "input 'z' has size 7 on axis 0, the graph wants N+1 = 6");
  inputs[2].dims[0] = 6;
  inputs[1].dtype = DTYPE_I32;
  CHECK(!graph_bind(f.graph, inputs, symbols, values, 4, &count));
  CHECK(!graph_bind(f.graph, inputs, symbols, values, 0, &count));
  for (int i = 0; i < 3; i++) tensor_free(&inputs[i]);
  Tensor huge;
  CHECK(!tensor_new(&huge, DTYPE_F32, 2, (int64_t[]){INT64_MAX, 2}) &&
        !tensor_new(&huge, DTYPE_F32, 1, (int64_t[]){-1}));
  CHECK(tensor_new(&huge, DTYPE_F32, 2, (int64_t[]){INT64_MAX, 0}) && tensor_size(&huge) == 0 && huge.data);
  tensor_free(&huge);
  module_free(f.module);
}

/* shape -> gather -> mul -> concat, as exporters write it: the elements stay expressions. */
TEST(shape_arithmetic_is_known) {
  Fixture f = fixture_new();
  Value *shape = build_unary(&f.builder, &op_shape, f.x), *first = build_ints(&f.builder, (int64_t[]){0}, 1);
  Value *two = build_ints(&f.builder, (int64_t[]){2}, 1);
  Value *twice = build_binary(&f.builder, &op_mul, build_binary(&f.builder, &op_gather, shape, first), two);
  Node *concat = node_new(&f.builder, &op_concat, (Value *[]){twice, two}, 2);
  node_set_int(concat, "axis", 0);
  int count;
  if (CHECK(node_finish(concat))) {
    const Dim *const *known = value_known(result(concat, 0), &count);
    if (CHECK(known && count == 2)) {
      CHECK_STRING(dim_text(f.module, known[0]), "2*N");
      CHECK(dim_is(known[1], 2));
    }
  }
  CHECK_INT(f.module->error_count, 0);
  module_free(f.module);
}

TEST(ops_are_sorted_and_found) {
  for (int i = 0; i < all_op_count; i++) {
    const char *name = all_ops[i]->name;
    if (i > 0) CHECK(strcmp(all_ops[i - 1]->name, name) < 0);
    CHECK(op_find(name, strlen(name)) == all_ops[i]);
    CHECK(op_find(name, strlen(name) - 1) != all_ops[i]);
  }
  CHECK(!op_find("nonsense", 8) && !op_find("", 0));
}

TEST(defaults_of_attributes_read_back) {
  Fixture f = fixture_new();
  for (int i = 0; i < all_op_count; i++) {
    const Op *op = all_ops[i];
    Attr *attrs = attrs_default(f.module, op);
    for (int j = 0; j < op->attr_count; j++) {
      CHECK(attr_is_default(f.module, &op->attrs[j], &attrs[j]));
      attrs[j].set = true;
      CHECK(attr_is_default(f.module, &op->attrs[j], &attrs[j]) == (op->attrs[j].value != NULL));
    }
  }
  module_free(f.module);
}

int main(void) {
  RUN(use_lists_follow_every_change);
  RUN(names_are_unique_while_their_values_live);
  RUN(new_nodes_go_where_the_builder_says);
  RUN(constants);
  RUN(a_copy_is_independent);
  RUN(wrong_nodes_are_refused_and_removed);
  RUN(the_verifier_sees_broken_graphs);
  RUN(axis_map_of_broadcasting);
  RUN(inputs_bind_symbols);
  RUN(shape_arithmetic_is_known);
  RUN(ops_are_sorted_and_found);
  RUN(defaults_of_attributes_read_back);
  return tests_finish();
}
