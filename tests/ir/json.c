/* json.c -- graphs as JSON: the whole text of small ones. */
#include "ir/json.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>

static char *text;
static size_t size;

static Json start(void) {
  return json_new(open_memstream(&text, &size));
}

static void finish(Json *json) {
  fclose(json->out);
  json_finish(json);
}

TEST(strings_are_escaped) {
  Json json = start();
  json_begin(&json, '[');
  json_string(&json, "a\"b\\c\n\t\r\x01\x7f</script>");
  json_string(&json, "\xc3\xa9\xf0\x9f\x99\x82"); /* whole characters stay */
  json_string(
      &json,
      "\xff|\xc3|\xc0\xaf|\xed\xa0\x80|\xf4\x90\x80\x80"); /* none, cut, overlong, surrogate, too large */
  json_string(&json, NULL);
  json_string(&json, "");
  json_end(&json, ']');
  finish(&json);
  CHECK_STRING(
      text,
      "[\"a\\\"b\\\\c\\n\\t\\r\\u0001\\u007f\\u003c/script>\",\"\xc3\xa9\xf0\x9f\x99\x82\","
      "\"\\ufffd|\\ufffd|\\ufffd\\ufffd|\\ufffd\\ufffd\\ufffd|\\ufffd\\ufffd\\ufffd\\ufffd\",null,\"\"]");
  free(text);
}

TEST(numbers_read_back) {
  Json json = start();
  json_begin(&json, '[');
  json_int(&json, INT64_MIN);
  json_float(&json, 0.1);
  json_float(&json, -2);
  json_float(&json, 1e300);
  json_float(&json, -INFINITY);
  json_float(&json, NAN);
  json_bool(&json, true);
  json_begin(&json, '{');
  json_end(&json, '}');
  json_key(&json, "last");
  json_raw(&json, "[]");
  json_end(&json, ']');
  finish(&json);
  CHECK_STRING(text, "[-9223372036854775808,0.1,-2.0,1e+300,\"-inf\",\"nan\",true,{},\"last\":[]]");
  free(text);
}

static char *json_of(const char *graph) {
  Module *module = module_new("test");
  FILE *out = open_memstream(&text, &size);
  bool ok = module_parse_text(module, graph, strlen(graph), NULL);
  if (!CHECK(ok)) diags_print(module, stdout, 9);
  if (ok) graph_json(module->main, out);
  fclose(out);
  module_free(module);
  return text;
}

TEST(graph_with_symbols) {
  json_of("graph g(%x: f32[N,3]) -> (%y: f32[N,2]) {\n"
          "  const %w: f32[2,3] = splat 0.5\n"
          "  const %inf: f32 = [inf]\n"
          "  %0: f32[N,2] = gemm %x, %w, trans_b=true\n"
          "  %y: f32[N,2] = min %0, %inf\n"
          "  return %y\n"
          "}\n");
  CHECK_STRING(
      text,
      "{\"name\":\"g\",\"inputs\":[{\"name\":\"x\",\"type\":\"f32[N,3]\",\"dtype\":\"f32\",\"shape\":[\"N\","
      "3],"
      "\"bytes\":\"12*N\"}],\"nodes\":[\n"
      "{\"op\":\"const\",\"operands\":[],\"results\":[{\"name\":\"w\",\"type\":\"f32[2,3]\",\"dtype\":"
      "\"f32\","
      "\"shape\":[2,3],\"bytes\":24}],\"constant\":{\"bytes\":4,\"splat\":true,\"elements\":[0.5]}},\n"
      "{\"op\":\"const\",\"operands\":[],\"results\":[{\"name\":\"inf\",\"type\":\"f32\",\"dtype\":\"f32\","
      "\"shape\":[],\"bytes\":4}],\"constant\":{\"bytes\":4,\"elements\":[\"inf\"]}},\n"
      "{\"op\":\"gemm\",\"operands\":[\"x\",\"w\"],\"attributes\":{\"trans_b\":true},\"results\":[{\"name\":"
      "0,"
      "\"type\":\"f32[N,2]\",\"dtype\":\"f32\",\"shape\":[\"N\",2],\"bytes\":\"8*N\"}],\"macs\":\"6*N\","
      "\"reads\":\"12*N+24\",\"writes\":\"8*N\"},\n"
      "{\"op\":\"min\",\"operands\":[0,\"inf\"],\"results\":[{\"name\":\"y\",\"type\":\"f32[N,2]\","
      "\"dtype\":\"f32\",\"shape\":[\"N\",2],\"bytes\":\"8*N\"}],\"origin\":[\"y\"],\"reads\":\"8*N+4\","
      "\"writes\":\"8*N\"}],"
      "\"outputs\":[{\"name\":\"y\",\"value\":\"y\"}]}\n");
  free(text);
}

TEST(kernels_hold_graphs) {
  json_of("graph g(%x: f32[4]) -> (%y: f32[4]) {\n"
          "  %y: f32[4] = kernel %x, %x, name=\"twice\" {\n"
          "    graph (%a: f32[4], %b: f32[4]) -> (%c: f32[4]) {\n"
          "      %c: f32[4] = add %a, %b\n"
          "      return %c\n"
          "    }\n"
          "  }\n"
          "  return %y\n"
          "}\n");
  CHECK(strstr(text, "\"operands\":[\"x\",\"x\"],\"attributes\":{\"name\":\"twice\"}"));
  CHECK(strstr(text, "\"reads\":16,\"writes\":16,\"regions\":[{\"name\":\"\",\"inputs\":[{\"name\":\"a\""));
  CHECK(strstr(text, "{\"op\":\"add\",\"operands\":[\"a\",\"b\"],\"results\":[{\"name\":\"c\""));
  free(text);
}

int main(void) {
  RUN(strings_are_escaped);
  RUN(numbers_read_back);
  RUN(graph_with_symbols);
  RUN(kernels_hold_graphs);
  return tests_finish();
}
