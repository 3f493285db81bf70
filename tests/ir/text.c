/* text.c -- the text form: printing what was parsed gives the same text, errors stand where they belong,
 * nothing crashes. */
#include "ir/ir.h"
#include "tests/temporary.h"
#include "tests/test.h"

#include <stdlib.h>
#include <unistd.h>

static const char *print(const Graph *graph) {
  char *text = NULL;
  size_t length;
  FILE *out = open_memstream(&text, &length);
  graph_print(graph, out);
  fclose(out);
  char *copy = arena_copy(graph->module->arena, text, length + 1);
  free(text);
  return copy;
}

/* Each is canonical. */
static const char *const texts[] = {
    "graph () -> () {\n  return\n}\n",
    "graph \"a \\\"b\\\"\\n\"(%x: f32) -> (%y: f32) {\n  return %x\n}\n",
    "graph g(%0: f32[N,1], %\"conv/w:0\": i4[3], %\"7\": bool, %a.b: string[2]) -> (%0x: f32[N,1], %y: "
    "i4[3]) {\n"
    "  return %0, %\"conv/w:0\"\n}\n",
    "graph g() -> (%y: f32[2]) {\n"
    "  const %0: f32[2] = splat 0.1\n"
    "  const %1: f32[2,2] = [1.0, -0.0, 1e+20, 1e-05]\n"
    "  const %2: f32[3] = [inf, -inf, nan]\n"
    "  const %3: f64[2] = [0.1, 3.141592653589793]\n"
    "  const %4: f16[2] = [0.1, 65504.0]\n"
    "  const %5: bf16[1] = [3.39e+38]\n"
    "  const %6: bool[2] = [true, false]\n"
    "  const %7: i64[2] = [-9223372036854775808, 9223372036854775807]\n"
    "  const %8: u64[1] = [18446744073709551615]\n"
    "  const %9: i2[4] = [-2, -1, 0, 1]\n"
    "  const %10: f8e4m3fn[2] = [448.0, nan]\n"
    "  const %11: f32[0] = []\n"
    "  const %12: f32[1000000,1000000] = splat 0.0\n"
    "  const %13: f32[0,5] = splat 2.0\n"
    "  const %14: i64 = [5]\n"
    "  return %0\n}\n",
    "graph net(%x: f32[N,1,8,8], %top: f32) -> (%y: f32[N,10]) {\n"
    "  const %w: f32[4,1,3,3] = splat 0.1\n"
    "  const %v: f32[10,64] = splat 0.2\n"
    "  %0: f32[N,4,8,8] = conv %x, %w, pads=[1,1,1,1]\n"
    "  %1: f32[N,4,8,8] = leaky_relu %0, alpha=0.2\n"
    "  %2: f32[N,4,4,4] = max_pool %1, kernel=[2,2], strides=[2,2]\n"
    "  %3: f32[N,64] = reshape %2, shape=[N,-1]\n"
    "  %4: f32[N,10] = gemm %3, %v, trans_b=true\n"
    "  %5: f32[N,10] = softmax %4\n"
    "  %y: f32[N,10] = clip %5, _, %top\n"
    "  return %y\n}\n",
    "graph g(%x: f32[N,2*N-1,floordiv(N+1,2),\"batch size\"], %w: f32[8]) -> (%y: f32[8], %z: f32[8]) {\n"
    "  %0: f32[8], %k: f32[8] = kernel %x, %w, name=\"two\", schedule=\"a=1\", offsets=[0,64*N] {\n"
    "    graph (%0: f32[N,2*N-1,floordiv(N+1,2),\"batch size\"], %w: f32[8]) -> (%a: f32[8], %b: f32[8]) {\n"
    "      %0x: f32[8] = kernel %w, name=\"inner\" {\n"
    "        graph inner(%0: f32[8]) -> (%y: f32[8]) {\n"
    "          return %0\n"
    "        }\n"
    "      }\n"
    "      return %0x, %w\n"
    "    }\n"
    "  }\n"
    "  return %0, %k\n}\n",
};

TEST(texts_read_back) {
  for (int i = 0; i < COUNT_OF(texts); i++) {
    Module *module = module_new("test");
    if (CHECK(module_parse_text(module, texts[i], strlen(texts[i]), NULL))) {
      CHECK_STRING(print(module->main), texts[i]);
      CHECK(graph_verify(module->main));
      CHECK_STRING(print(graph_clone(module, module->main, NULL)), texts[i]);
    }
    diags_print(module, stdout, 3);
    module_free(module);
  }
}

/* Text, line and column of the error, part of the message. G and R are short for what surrounds a body. */
#define G "graph g(%x: f32[2], %n: i64[3]) -> (%y: f32[2]) {\n"
#define R "return %x\n}\n"
static const struct {
  const char *text;
  int line, column;
  const char *message;
} errors[] = {
    {"", 1, 1, "expected graph, found the end"},
    {"grap g() -> () {", 1, 1, "expected graph, found 'grap'"},
    {"graph g(%x f32)", 1, 12, "expected ':'"},
    {"graph g(%x: f33)", 1, 13, "element type"},
    {"graph g(%x: f32[-1])", 1, 17, "size -1"},
    {"graph g(%x: f32[2)", 1, 18, "',' or ']'"},
    {"graph g(%x: f32[9223372036854775808])", 1, 17, "64 bits"},
    {"graph g(%x: f32[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1])", 1, 49, "over 16 axes"},
    {"graph g(%x: f32[N$])", 1, 18, "'$' has no meaning"},
    {"graph g(%x: f32[\"\"])", 1, 17, "empty"},
    {"graph g(%\"\": f32)", 1, 9, "empty"},
    {"graph g(%: f32)", 1, 9, "without a name"},
    {"graph g(%x: f32, %x: f32) -> () {", 1, 18, "%x is defined twice"},
    {"graph g(%\"a\\q\": f32)", 1, 12, "escape"},
    {"graph g(%\"a\\x00\": f32)", 1, 12, "00"},
    {"graph g(%\"a\n\": f32)", 1, 10, "does not end"},
    {G "}", 2, 1, "a statement or return"},
    {G "  return %x", 2, 12, "expected '}'"},
    {G "  return %z\n}", 2, 10, "%z is not defined"},
    {G "  return %n\n}", 1, 41, "declared as f32[2], but i64[3]"},
    {G "  return\n}", 2, 3, "0 values returned for 1"},
    {G "  return _\n}", 2, 3, "absent"},
    {G "  return %x,\n}", 3, 1, "an operand"},
    {G R "x", 4, 1, "the end of the text"},
    {G "  %y: f32[2] = nonsense %x\n" R, 2, 16, "no operator 'nonsense'"},
    {G "  %y: f32[2] = const %x\n" R, 2, 16, "start of its line"},
    {G "  %y: f32[2], %z: f32[2] = kernel %x, nam=\"a\"\n" R, 2, 39, "no attribute 'nam'"},
    {G "  %y: f32[2] = kernel %x, name=\"a\", name=\"b\"\n" R, 2, 37, "given twice"},
    {G "  %y: f32[2] = kernel %x, name=3\n" R, 2, 32, "expected a string"},
    {G "  %y: f32[2] = kernel %x\n" R, 2, 16, "'name' is missing"},
    {G "  %y: f32[2] = kernel %x, name=\"a\"\n" R, 2, 16, "0 regions"},
    {G "  %y: f32[2] = kernel %x, name=\"a\", offsets=[(((1]\n" R, 2, 50, "expected ')'"},
    {G
     "  %y: f32[3] = kernel %x, name=\"a\" {\n    graph (%a: f32[2]) -> (%b: f32[2]) {\nreturn %a\n}\n}\n" R,
     2, 7, "f32[2], not f32[3]"},
    {G
     "  %y: f32[2] = kernel %x, name=\"a\" {\n    graph (%a: f32[3]) -> (%b: f32[3]) {\nreturn %a\n}\n}\n" R,
     2, 16, "operand 0 is f32[2]"},
    {G "  const %c: f32[N] = splat 1.0\n" R, 2, 13, "must be numbers"},
    {G "  const %c: f32[4294967296,4294967296] = splat 1.0\n" R, 2, 13, "too large"},
    {G "  const %c: f32[2] = splat x\n" R, 2, 28, "a number"},
    {G "  const %c: f32[2] = [1.0]\n" R, 2, 22, "1 elements for the 2"},
    {G "  const %c: f32[2] = [1.0, 2.0, 3.0]\n" R, 2, 33, "only 2 elements"},
    {G "  const %c: i8[1] = [128]\n" R, 2, 22, "128 does not fit i8"},
    {G "  const %c: i8[1] = [1.5]\n" R, 2, 22, "an integer"},
    {G "  const %c: u64[1] = [18446744073709551616]\n" R, 2, 23, "64 bits"},
    {G "  const %c: f32[999999999] = [1.0]\n" R, 2, 30, "use data"},
    {G "  const %c: string[1] = [1.0]\n" R, 2, 26, "expected a string"},
    {G "  const %c: f32[2] = data \"w\"\n" R, 2, 22, "no weights file"},
    {G "  const %c: f32[2] = splat 1.0 2.0\n" R, 2, 32, "the end of the line"},
    {G "\001", 2, 1, "0x01"},
};

TEST(errors_stand_where_they_belong) {
  for (int i = 0; i < COUNT_OF(errors); i++) {
    Module *module = module_new("m.tn");
    bool ok = module_parse_text(module, errors[i].text, strlen(errors[i].text), NULL);
    const Diag *diag = module->diags;
    if (!CHECK(!ok && diag && !module->main)) {
      printf("  accepted: %s\n", errors[i].text);
    } else if (!CHECK(diag->line == errors[i].line && diag->column == errors[i].column &&
                      strstr(diag->text, errors[i].message))) {
      printf("  want %d:%d: ...%s...\n  ", errors[i].line, errors[i].column, errors[i].message);
      diags_print(module, stdout, 3);
    }
    module_free(module);
  }
}

static void must_not_crash(const char *text, size_t length) {
  Module *module = module_new("test");
  CHECK(module_parse_text(module, text, length, NULL) || module->error_count > 0);
  module_free(module);
}

TEST(cut_and_changed_texts_do_not_crash) {
  uint64_t state = 7;
  for (int i = 0; i < COUNT_OF(texts); i++) {
    size_t length = strlen(texts[i]);
    for (size_t cut = 0; cut < length; cut += 3) must_not_crash(texts[i], cut);
    for (int round = 0; round < 300; round++) {
      char *changed = malloc(length);
      memcpy(changed, texts[i], length);
      for (int flip = 0; flip < 1 + round % 3; flip++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        changed[(state >> 33) % length] = texts[i][(state >> 13) % length];
      }
      must_not_crash(changed, length);
      free(changed);
    }
  }
}

static char *repeat(const char *head, const char *part, int count) {
  size_t head_length = strlen(head), part_length = strlen(part);
  char *text = malloc(head_length + part_length * (size_t)count + 1);
  memcpy(text, head, head_length + 1);
  for (int i = 0; i < count; i++) memcpy(text + head_length + part_length * (size_t)i, part, part_length + 1);
  return text;
}

TEST(deep_and_long_texts_do_not_crash) {
  static const char *const parts[][2] = {
      {"graph g(%x: f32[", "("},
      {"graph g(%x: f32[", "-(N+"},
      {"graph g(%x: f32[", "floordiv(N,"},
      {"graph g(%x: f32[N", "*(N+M)"},
      {"graph g(%x: f32[N", "+N*N"},
      {"graph g(%x: f32[1", "0"},
      {"graph g(%x: f32) -> () {\n", "%k: f32 = kernel %x, name=\"a\" {\ngraph (%x: f32) -> () {\n"},
      {"graph g(%", "x"},
      {"graph g(%\"", "\\n"},
      {"graph g(", "%x"},
      {"", "#"},
      {"", "graph "},
  };
  for (int i = 0; i < COUNT_OF(parts); i++) {
    char *text = repeat(parts[i][0], parts[i][1], 20000);
    must_not_crash(text, strlen(text));
    free(text);
  }
}

TEST(files_with_weights) {
  char folder[TEMPORARY_SIZE], path[TEMPORARY_SIZE + 32], weights[TEMPORARY_SIZE + 32];
  if (!CHECK(temporary_folder(folder))) return;
  snprintf(path, sizeof path, "%s/m.tn", folder);
  snprintf(weights, sizeof weights, "%s/m.safetensors", folder);
  Module *module = module_new("test"), *again = module_new("again");
  Graph *graph = graph_new(module, "m", NULL);
  Builder builder = builder_at_end(graph);
  const Type *type = type_static(module, DTYPE_F32, 2, (int64_t[]){3, 4});
  Data *shared = data_new(module, DTYPE_F32, 12), *other = data_new(module, DTYPE_F32, 12);
  for (int i = 0; i < 12; i++) dtype_set(DTYPE_F32, data_bytes(shared), i, i);
  shared->name = other->name = "layer/w";
  Value *a = build_const(&builder, type, shared, "w"), *b = build_const(&builder, type, other, NULL);
  Value *flat = build_const(&builder, type_static(module, DTYPE_F32, 1, (int64_t[]){12}), shared, NULL);
  graph_set_outputs(graph, 3, (Value *[]){a, b, flat}, NULL);
  module->main = graph;
  CHECK(module_write_file(module, path));
  if (CHECK(module_parse_file(again, path))) {
    CHECK_STRING(print(again->main), print(graph));
    CHECK(strstr(print(graph), "%w: f32[3,4] = data \"layer/w\"\n") &&
          strstr(print(graph), "%0: f32[3,4] = data \"layer/w_1\"\n"));
    CHECK(value_data(graph_output(again->main, 2)) == value_data(graph_output(again->main, 0)));
    CHECK(data_get(value_data(graph_output(again->main, 0)), 7) == 7);
    CHECK(module_write_file(again, path));
  }
  diags_print(again, stdout, 3);
  module_free(again);
  module_free(module);
  again = module_new("again");
  unlink(weights);
  CHECK(!module_parse_file(again, path) && again->error_count > 0);
  unlink(path);
  CHECK(!module_parse_file(again, path));
  module_free(again);
  rmdir(folder);
}

int main(void) {
  RUN(texts_read_back);
  RUN(errors_stand_where_they_belong);
  RUN(cut_and_changed_texts_do_not_crash);
  RUN(deep_and_long_texts_do_not_crash);
  RUN(files_with_weights);
  return tests_finish();
}
