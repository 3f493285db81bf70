/* text.c -- kernels read from the files named on the command line print as they were; broken text is refused
 * where it breaks. */
#include "tests/loop/loops.h"

static char *read_text(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  char *text = calloc(1, 1 << 16);
  size_t length = fread(text, 1, (1 << 16) - 1, file);
  text[length] = '\0';
  fclose(file);
  return text;
}

static void check_round_trip(const char *path) {
  Module *module = module_new(path);
  char *text = read_text(path), *printed = NULL;
  size_t size = 0;
  int count = 0;
  if (!CHECK(text)) return;
  Kernel **kernels = kernels_parse(module, text, strlen(text), &count);
  FILE *out = open_memstream(&printed, &size);
  for (int i = 0; i < count && kernels; i++) {
    if (i > 0) fputc('\n', out);
    CHECK(kernel_verify(kernels[i]));
    kernel_print(kernels[i], out);
  }
  fclose(out);
  CHECK(kernels);
  CHECK_STRING(printed, text);
  diags_print(module, stdout, 3);
  free(printed);
  free(text);
  module_free(module);
}

/* The text fails at line and column with an error that holds `part`. */
static void check_refused(const char *text, int line, int column, const char *part) {
  Module *module = module_new("bad.loops");
  int count;
  CHECK(!kernels_parse(module, text, strlen(text), &count));
  if (CHECK(module->diags)) {
    CHECK_INT(module->diags->line, line);
    CHECK_INT(module->diags->column, column);
    CHECK(error_has(module, part));
  }
  module_free(module);
}

TEST(refused) {
  check_refused("", 1, 1, "expected kernel");
  check_refused("kernel k(%x: f32[4]) {}", 1, 14, "in, out or inout");
  check_refused("kernel k(%x: in f32[4], %x: in f32) {}", 1, 25, "declared twice");
  check_refused("kernel k() {\n  %a: f33 = const 0.0\n}", 2, 7, "a type");
  check_refused("kernel k() {\n  %a: f32x512 = const 0.0\n}", 2, 7, "512 lanes");
  check_refused("kernel k() {\n  %a: f32 = fly 0.0\n}", 2, 13, "an instruction");
  check_refused("kernel k() {\n  %a: f32 = add %b, 0.0\n}", 2, 17, "not defined before");
  check_refused("kernel k() {\n  %a: f32 = const 0.0\n  %a: f32 = const 0.0\n}", 3, 3, "defined twice");
  check_refused("kernel k() {\n  %a: f32 = cast 1\n}", 2, 18, "a register");
  check_refused("kernel k() {\n  %a: bool = lt 1, 2\n}", 2, 17, "a register");
  check_refused("kernel k() {\n  yield\n}", 2, 3, "no loop");
  check_refused("kernel k() {\n  add 1, 2\n}", 2, 3, "1 results, not 0");
  check_refused("kernel k() {\n  store 1.0, %y[]\n}", 2, 14, "no buffer");
  check_refused("kernel k(%y: out f32[2]) {\n  store 1.0, %y[0], speed=9\n}", 2, 21, "no attribute 'speed'");
  check_refused("kernel k() {\n  local %t: f32[N]\n}", 2, 9, "constant sizes");
  check_refused("kernel k() {", 1, 13, "the end of the text");
}

TEST(deep_nesting) {
  enum { DEPTH = 5000 };
  static const char line[] = "if %c {\n";
  Module *module = module_new("deep.loops");
  char *text = calloc(1, sizeof line * DEPTH + 100);
  int count, length = sprintf(text, "kernel k() {\n%%c: bool = const true\n");
  for (int i = 0; i < DEPTH; i++) length += sprintf(text + length, "%s", line);
  CHECK(!kernels_parse(module, text, (size_t)length, &count));
  CHECK(error_has(module, "nested deeper"));
  free(text);
  module_free(module);
}

/* Every prefix of a good text, and every text with one byte changed, is parsed or refused, never worse. */
static void check_mangled(const char *path) {
  char *text = read_text(path);
  if (!CHECK(text)) return;
  size_t length = strlen(text);
  for (size_t i = 0; i < length; i += 3) {
    Module *module = module_new(path);
    int count;
    char old = text[i];
    kernels_parse(module, text, i, &count);
    text[i] = "%[]{}=,x9"[i % 9];
    Kernel **kernels = kernels_parse(module, text, length, &count);
    for (int k = 0; kernels && k < count; k++) kernel_verify(kernels[k]);
    text[i] = old;
    module_free(module);
  }
  free(text);
}

static const char *file;
TEST(round_trip) {
  check_round_trip(file);
}
TEST(mangled) {
  check_mangled(file);
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    file = argv[i];
    RUN(round_trip);
    RUN(mangled);
  }
  RUN(refused);
  RUN(deep_nesting);
  return tests_finish();
}
