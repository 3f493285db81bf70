/* onnx_import.c -- ONNX models to graphs: names, dims, options, functions, every error at once, and hostile
 * files. */
#include "frontend/frontend.h"
#include "tests/temporary.h"
#include "tests/test.h"
#include "tests/unit/onnx_model.h"

#include <unistd.h>

static char path[TEMPORARY_SIZE]; /* of the model file of this run */
static Module *module;

static bool import_bytes(const uint8_t *bytes, size_t size, const ImportOptions *options) {
  FILE *file = fopen(path, "wb");
  if (!file || fwrite(bytes, 1, size, file) != size) abort();
  fclose(file);
  if (module) module_free(module);
  module = module_new(path);
  return import_onnx(module, path, options) && graph_verify(module->main);
}

static bool import_with(const ImportOptions *options) {
  model_end();
  return import_bytes(model.data, model.size, options);
}

static bool import(void) {
  return import_with(NULL);
}

/* Imports and compares the graph's text, without its first and last line. */
static bool check_nodes(const char *want, const char *file, int line) {
  char text[8192] = "";
  if (!check_that(import(), file, line, "import")) {
    diags_print(module, stdout, 10);
    return false;
  }
  FILE *out = fmemopen(text, sizeof text, "w");
  FOR_EACH_NODE(node, module->main) node_print(node, out);
  fclose(out);
  return check_string(text, want, file, line, "the graph");
}
#define CHECK_NODES(want) check_nodes((want), __FILE__, __LINE__)

/* Looks for the words in any error of the last import. */
static bool check_said(const char *words, const char *file, int line) {
  for (const Diag *diag = module->diags; diag; diag = diag->next)
    if (strstr(diag->text, words)) return true;
  diags_print(module, stdout, 10);
  return check_that(false, file, line, words);
}
static void check_error(const char *words, const char *file, int line) {
  if (check_that(!import(), file, line, "the import fails")) check_said(words, file, line);
}
#define CHECK_SAID(words) check_said((words), __FILE__, __LINE__)
#define CHECK_ERROR(words) check_error((words), __FILE__, __LINE__)

static const char *output_type(int index) {
  return module->main ? type_text(module, graph_output(module->main, index)->type) : "none";
}

/* ---- Small things right */

TEST(a_chain) {
  model_begin(13);
  model_input("x", FLOAT, "2,3");
  model_node("Relu", "x", "a");
  attribute_float("alpha", 0.5f);
  model_node("LeakyRelu", "a", "y");
  model_output("y");
  CHECK_NODES("%a: f32[2,3] = relu %x\n"
              "%y: f32[2,3] = leaky_relu %a, alpha=0.5\n"
              "return %y\n");
}

TEST(initializers_that_are_inputs_are_constants) {
  model_begin(8);
  model_input("x", FLOAT, "2");
  model_input("w", FLOAT, "2");
  model_tensor("w", FLOAT, "2", (float[]){1, 2}, 8);
  model_node("Add", "x,w", "y");
  model_output("y");
  if (!CHECK(import())) return;
  CHECK_INT(module->main->input_count, 1);
  CHECK(value_data(operand(graph_output(module->main, 0)->def, 1)) != NULL);
}

TEST(optional_inputs_may_be_left_out) {
  model_begin(13);
  model_input("x", FLOAT, "4");
  model_tensor("high", FLOAT, "", &(float){6}, 4);
  model_node("Clip", "x,,high", "y");
  model_output("y");
  CHECK_NODES("const %high: f32 = [6.0]\n"
              "%y: f32[4] = clip %x, _, %high\n"
              "return %y\n");
}

TEST(old_broadcast_lines_up_with_an_axis) {
  model_begin(6);
  model_input("x", FLOAT, "2,3,4,5");
  model_input("b", FLOAT, "3");
  attribute_int("broadcast", 1);
  attribute_int("axis", 1);
  model_node("Add", "x,b", "y");
  model_output("y");
  CHECK_NODES("%0: f32[3,1,1] = reshape %b, shape=[3,1,1]\n"
              "%y: f32[2,3,4,5] = add %x, %0\n"
              "return %y\n");
}

TEST(softmax_changed_its_meaning_at_opset_13) {
  for (int opset = 12; opset <= 13; opset++) {
    model_begin(opset);
    model_input("x", FLOAT, "2,3,4");
    attribute_int("axis", 1);
    model_node("Softmax", "x", "y");
    model_output("y");
    if (!CHECK(import())) return;
    CHECK_INT(graph_count_nodes(module->main), opset == 12 ? 4 : 2); /* reshape, softmax, reshape, return */
  }
}

TEST(auto_pad_puts_the_odd_one_behind) {
  model_begin(11);
  model_input("x", FLOAT, "1,1,5,8");
  model_input("w", FLOAT, "1,1,3,3");
  attribute_ints("strides", 2, (int64_t[]){2, 2});
  attribute_text("auto_pad", "SAME_UPPER");
  model_node("Conv", "x,w", "y");
  model_output("y");
  CHECK_NODES("%y: f32[1,1,3,4] = conv %x, %w, strides=[2,2], pads=[1,0,1,1]\n"
              "return %y\n");
}

TEST(slices_follow_numpy) {
  static const struct {
    int64_t start, end, step;
    const char *type;
  } cases[] = {
      {0, INT64_MAX, 1, "f32[10]"},
      {-3, INT64_MAX, 1, "f32[3]"},
      {2, -2, 3, "f32[2]"},
      {8, 100, 1, "f32[2]"},
      {5, 5, 1, "f32[0]"},
      {7, 3, 1, "f32[0]"},
      {-1, INT64_MIN, -1, "f32[10]"},
      {INT64_MAX, 0, -4, "f32[3]"},
      {-100, 4, 1, "f32[4]"},
      {0, INT64_MAX, INT64_MAX, "f32[1]"},
      {3, INT64_MIN, -1, "f32[4]"},
  };
  for (int i = 0; i < COUNT_OF(cases); i++) {
    model_begin(13);
    model_input("x", FLOAT, "10");
    model_ints("start", 1, &cases[i].start);
    model_ints("end", 1, &cases[i].end);
    model_ints("axis", 1, (int64_t[]){0});
    model_ints("step", 1, &cases[i].step);
    model_node("Slice", "x,start,end,axis,step", "y");
    model_output("y");
    if (CHECK(import())) CHECK_STRING(output_type(0), cases[i].type);
  }
}

/* ---- Dims */

/* Flatten as exporters write it: Shape -> Gather -> Concat -> Reshape. */
static void reshape_by_arithmetic(const char *dims) {
  model_begin(13);
  model_input("x", FLOAT, dims);
  model_tensor("zero", INT64, "", &(int64_t){0}, 8);
  model_ints("minus_one", 1, (int64_t[]){-1});
  model_ints("axes", 1, (int64_t[]){0});
  model_node("Shape", "x", "shape");
  model_node("Gather", "shape,zero", "batch");
  model_node("Unsqueeze", "batch,axes", "batch_1");
  attribute_int("axis", 0);
  model_node("Concat", "batch_1,minus_one", "target");
  model_node("Reshape", "x,target", "y");
  model_output("y");
}

TEST(shape_arithmetic_disappears) {
  reshape_by_arithmetic("N,3,4");
  CHECK_NODES("%y: f32[N,12] = reshape %x, shape=[N,-1]\n"
              "return %y\n");
}

TEST(names_of_dims_become_symbols) {
  reshape_by_arithmetic("p2o.DynamicDimension.0,3,4");
  if (CHECK(import())) CHECK_STRING(output_type(0), "f32[p2o_DynamicDimension_0,12]");
  reshape_by_arithmetic("a.b,3,a_b");
  if (CHECK(import())) CHECK_STRING(output_type(0), "f32[a_b,3*a_b_2]");
  reshape_by_arithmetic("?,3,4");
  if (CHECK(import())) CHECK_STRING(output_type(0), "f32[x_0,12]");
  reshape_by_arithmetic("min,3,4");
  if (CHECK(import())) CHECK_STRING(output_type(0), "f32[min_2,12]");
}

TEST(sums_of_dims_are_understood) {
  model_begin(13);
  model_input("mask", FLOAT, "batch,past + seq");
  model_input("past", FLOAT, "batch,past");
  model_input("x", FLOAT, "batch,seq");
  attribute_int("axis", 1);
  model_node("Concat", "past,x", "all");
  model_node("Add", "all,mask", "y");
  model_output("y");
  if (CHECK(import())) CHECK_STRING(output_type(0), "f32[batch,past+seq]");
}

TEST(dims_are_given_by_either_name) {
  ImportDim dim = {"p2o.N", 5};
  ImportOptions options = {.dims = &dim, .dim_count = 1};
  reshape_by_arithmetic("p2o.N,3,4");
  if (CHECK(import_with(&options))) CHECK_STRING(output_type(0), "f32[5,12]");
  dim.name = "p2o_N";
  reshape_by_arithmetic("p2o.N,3,4");
  if (CHECK(import_with(&options))) CHECK_STRING(output_type(0), "f32[5,12]");
  dim.name = "x_0";
  reshape_by_arithmetic("?,3,4");
  if (CHECK(import_with(&options))) CHECK_STRING(output_type(0), "f32[5,12]");
  dim.name = "M";
  reshape_by_arithmetic("N,3,K");
  CHECK(!import_with(&options));
  CHECK(module->diags && strstr(module->diags->text, "no dim 'M'") && strstr(module->diags->text, "N, K"));
}

TEST(shapes_are_given) {
  ImportShape shape = {.input = "x", .rank = 3, .dims = {7, -1, 4}};
  ImportOptions options = {.shapes = &shape, .shape_count = 1};
  reshape_by_arithmetic("N,3,4");
  if (CHECK(import_with(&options))) CHECK_STRING(output_type(0), "f32[7,12]");
  shape.rank = 2;
  reshape_by_arithmetic("N,3,4");
  CHECK(!import_with(&options));
  shape.input = "z";
  reshape_by_arithmetic("N,3,4");
  CHECK(!import_with(&options));
}

TEST(inputs_may_be_given_as_constants) {
  Tensor shape;
  if (!CHECK(tensor_new(&shape, DTYPE_I64, 1, (int64_t[]){2}))) return;
  memcpy(shape.data, (int64_t[]){3, -1}, 16);
  ImportConstant constant = {.input = "shape", .value = &shape};
  ImportOptions options = {.constants = &constant, .constant_count = 1};
  model_begin(13);
  model_input("x", FLOAT, "2,6");
  model_input("shape", INT64, "2");
  model_node("Reshape", "x,shape", "y");
  model_output("y");
  model_end();
  if (CHECK(import_bytes(model.data, model.size, NULL))) CHECK_STRING(output_type(0), "f32[u0,u1]");
  if (CHECK(import_bytes(model.data, model.size, &options))) CHECK_STRING(output_type(0), "f32[3,4]");
  CHECK_INT(module->main->input_count, 1);
  constant.input = "z";
  CHECK(!import_bytes(model.data, model.size, &options));
  tensor_free(&shape);
}

/* ---- Functions */

/* test.Scale(a, bias) = a * factor + bias; `bias` may be left out, `factor` is an attribute. */
static void add_scale_function(const char *callee) {
  static Bytes function, opset;
  function.size = opset.size = 0;
  add_text(&function, 1, "Scale");
  add_text(&function, 10, "test");
  add_names(&function, 4, "a,bias");
  add_names(&function, 5, "out");
  add_text(&function, 6, "factor");
  attribute_reference("value_float", "factor", 1);
  add_node(&function, 7, "Constant", "", "f");
  add_node(&function, 7, "Mul", "a,f", "scaled");
  attribute_reference("factor", "factor", 1);
  add_node(&function, 7, callee, "scaled,scaled", "out");
  add_text(&opset, 1, "");
  add_int(&opset, 2, 13);
  add_field(&function, 9, opset.data, opset.size);
  add_field(&model, 25, function.data, function.size);
}

TEST(functions_are_expanded) {
  model_begin(13);
  model_opset("test", 1);
  add_scale_function("Add");
  model_input("x", FLOAT, "2");
  attribute_float("factor", 3);
  model_node("test.Scale", "x", "a");
  attribute_float("factor", 4);
  model_node("test.Scale", "a", "y");
  model_output("y");
  if (!CHECK(import())) return;
  CHECK_STRING(output_type(0), "f32[2]");
  double factor;
  Node *mul = operand(graph_output(module->main, 0)->def, 0)->def;
  CHECK(node_is(mul, &op_mul) && value_scalar(operand(mul, 1), &factor) && factor == 4);
}

TEST(functions_that_call_themselves_end) {
  model_begin(13);
  model_opset("test", 1);
  add_scale_function("test.Scale");
  model_input("x", FLOAT, "2");
  attribute_float("factor", 3);
  model_node("test.Scale", "x", "y");
  model_output("y");
  CHECK_ERROR("deep");
}

/* ---- Errors */

static void begin_bad(void) {
  model_begin(13);
  model_input("x", FLOAT, "2,3");
}

TEST(all_unsupported_nodes_are_listed) {
  begin_bad();
  model_node("Frobnicate", "x", "a");
  model_node("Relu", "a", "b");
  model_node("org.other.Thing", "b,x", "c");
  model_node("Gelu", "x", "d");
  model_output("c");
  model_output("d");
  CHECK_ERROR("not supported: simplify the model");
  CHECK_SAID("not supported: export the model with the standard operators");
  CHECK_SAID("exists since opset 20, the model imports opset 13");
}

TEST(wrong_graphs_are_refused) {
  begin_bad();
  model_node("Add", "x,nowhere", "y");
  model_output("y");
  CHECK_ERROR("'nowhere', is defined nowhere before");
  begin_bad();
  model_node("Add", "x,b", "a");
  model_node("Relu", "a", "b");
  model_output("b");
  CHECK_ERROR("'b', is defined nowhere before");
  begin_bad();
  model_node("Relu", "x", "y");
  model_node("Relu", "x", "y");
  model_output("y");
  CHECK_ERROR("'y' is defined twice");
  begin_bad();
  model_output("y");
  CHECK_ERROR("output 'y' is computed by no node");
  begin_bad();
  CHECK_ERROR("no outputs");
  begin_bad();
  model_input("x", FLOAT, "2");
  model_output("x");
  CHECK_ERROR("'x' is defined twice");
}

TEST(wrong_nodes_are_refused) {
  begin_bad();
  model_node("Add", "x", "y");
  model_output("y");
  CHECK_ERROR("input 1 is missing");
  begin_bad();
  model_node("Relu", "x,x", "y");
  model_output("y");
  CHECK_ERROR("has 2 inputs, at most 1");
  begin_bad();
  attribute_text("axis", "one");
  model_node("Softmax", "x", "y");
  model_output("y");
  CHECK_ERROR("holds a string where an int is wanted");
  begin_bad();
  attribute_int("axis", 5);
  model_node("Softmax", "x", "y");
  model_output("y");
  CHECK_ERROR("axis 5 of a tensor with 2 dims");
  begin_bad();
  model_node("Reshape", "x,x", "y");
  model_output("y");
  CHECK_ERROR("2 dims, one is wanted");
  begin_bad();
  attribute_ints("kernel_shape", 2, (int64_t[]){INT64_MAX, 3});
  model_node("MaxPool", "x", "y");
  model_output("y");
  CHECK_ERROR("1 to 3 spatial dims");
}

/* ---- Hostile files */

static void build_network(void) {
  static float weight[8 * 3 * 3 * 3], channel[8];
  for (int i = 0; i < COUNT_OF(weight); i++) weight[i] = (float)(i % 7) - 3;
  model_begin(11);
  model_input("x", FLOAT, "N,3,H,8");
  model_tensor("w", FLOAT, "8,3,3,3", weight, sizeof weight);
  model_tensor("c", FLOAT, "8", channel, sizeof channel);
  model_ints("starts", 1, (int64_t[]){0});
  model_ints("ends", 1, (int64_t[]){1});
  model_ints("rest", 1, (int64_t[]){-1});
  model_tensor("scales", FLOAT, "4", (float[]){1, 1, 2, 2}, 16);
  attribute_ints("pads", 4, (int64_t[]){1, 1, 1, 1});
  attribute_ints("strides", 2, (int64_t[]){2, 2});
  attribute_int("group", 1);
  model_node("Conv", "x,w,c", "conv");
  attribute_float("epsilon", 0.001f);
  model_node("BatchNormalization", "conv,c,c,c,c", "norm");
  model_node("Relu", "norm", "relu");
  attribute_ints("kernel_shape", 2, (int64_t[]){2, 2});
  attribute_int("ceil_mode", 1);
  model_node("MaxPool", "relu", "pool");
  attribute_text("mode", "nearest");
  model_node("Resize", "pool,,scales", "large");
  attribute_int("axis", 1);
  model_node("Concat", "large,large", "both");
  model_node("Shape", "both", "shape");
  model_node("Slice", "shape,starts,ends", "batch");
  attribute_int("axis", 0);
  model_node("Concat", "batch,rest", "target");
  model_node("Reshape", "both,target", "flat");
  attribute_int("axis", -1);
  model_node("Softmax", "flat", "y");
  model_output("y");
  model_end();
}

TEST(the_network_is_right) {
  build_network();
  CHECK(import_bytes(model.data, model.size, NULL));
  if (module->error_count) diags_print(module, stdout, 5);
}

/* Whatever comes out, it is a graph that verifies or an error that says something. */
static void survive(const uint8_t *bytes, size_t size) {
  bool ok = import_bytes(bytes, size, NULL);
  CHECK(ok == (module->error_count == 0));
  if (!ok) CHECK(module->diags && module->diags->text[0]);
}

TEST(truncated_files_are_survived) {
  build_network();
  for (size_t part = 0; part < 50; part++) survive(model.data, model.size * part / 50);
}

static uint32_t next_random(uint32_t *state) {
  return *state = *state * 1664525u + 1013904223u;
}

TEST(flipped_bits_are_survived) {
  static Bytes broken;
  uint32_t random = 7;
  build_network();
  for (int run = 0; run < 3000; run++) {
    broken = model;
    for (uint32_t flips = 1 + (next_random(&random) >> 30); flips > 0; flips--) {
      size_t at = (next_random(&random) >> 8) % broken.size;
      /* Mostly the structure, seldom the weights. */
      if (at > 60 && at < 900 && (next_random(&random) >> 28) != 0) at = 900 + at % (broken.size - 900);
      broken.data[at] ^= (uint8_t)(1u << (next_random(&random) >> 29));
    }
    survive(broken.data, broken.size);
  }
}

int main(void) {
  if (!temporary_file(path)) return 1;
  RUN(a_chain);
  RUN(initializers_that_are_inputs_are_constants);
  RUN(optional_inputs_may_be_left_out);
  RUN(old_broadcast_lines_up_with_an_axis);
  RUN(softmax_changed_its_meaning_at_opset_13);
  RUN(auto_pad_puts_the_odd_one_behind);
  RUN(slices_follow_numpy);
  RUN(shape_arithmetic_disappears);
  RUN(names_of_dims_become_symbols);
  RUN(sums_of_dims_are_understood);
  RUN(dims_are_given_by_either_name);
  RUN(shapes_are_given);
  RUN(inputs_may_be_given_as_constants);
  RUN(functions_are_expanded);
  RUN(functions_that_call_themselves_end);
  RUN(all_unsupported_nodes_are_listed);
  RUN(wrong_graphs_are_refused);
  RUN(wrong_nodes_are_refused);
  RUN(the_network_is_right);
  RUN(truncated_files_are_survived);
  RUN(flipped_bits_are_survived);
  if (module) module_free(module);
  unlink(path);
  return tests_finish();
}
