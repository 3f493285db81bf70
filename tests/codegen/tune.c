/* tune.c -- schedules by measurement: what is tuned, what is kept, and what is not believed. */
#include "codegen/schedule.h"
#include "codegen/tune_cache.h"
#include "tests/codegen/compile.h"

#include <ftw.h>
#include <math.h>
#include <sys/stat.h>

static const char product[] = "graph net(%a: f32[20,40], %b: f32[40,48]) -> (%y: f32[20,48]) {\n"
                              "  %y: f32[20,48] = kernel %a, %b, name=\"product\" {\n"
                              "    graph product(%l: f32[20,40], %r: f32[40,48]) -> (%p: f32[20,48]) {\n"
                              "      %p: f32[20,48] = matmul %l, %r\n"
                              "      return %p\n"
                              "    }\n"
                              "  }\n"
                              "  return %y\n"
                              "}\n";

/* What became of a graph. */
typedef struct Run {
  Module *module;
  Target target;
  int reports, measured;
  bool ok;
  const char *schedule; /* of the first kernel */
} Run;

static void count(void *context, const Tuned *tuned) {
  Run *run = context;
  CHECK(tuned->number == ++run->reports && tuned->number <= tuned->count);
  run->measured += tuned->best_seconds > 0;
}

static Node *first_kernel(const Graph *graph) {
  FOR_EACH_NODE(node, graph)
  if (node_is(node, &op_kernel)) return node;
  return NULL;
}

static Run tune_for(const char *text, const char *cpu, int candidates) {
  Run run = {.module = module_new("test.tn")};
  Tuning tuning = {.candidates = candidates, .seconds = 60, .report = count, .context = &run};
  PassOptions options = {.target = &run.target, .tuning = &tuning};
  run.ok = module_parse_text(run.module, text, strlen(text), NULL) &&
           target_describe(run.module, NULL, cpu, &run.target);
  const Pass *pass = codegen_passes;
  while (strcmp(pass->name, "tune") != 0) pass++;
  if (run.ok) pass->run(run.module->main, &options);
  run.ok = run.module->error_count == 0;
  if (run.ok) run.schedule = node_string(first_kernel(run.module->main), "schedule");
  return run;
}

static Run tune(const char *text) {
  return tune_for(text, NULL, 6);
}

/* Tunes, and says which schedule the first kernel gets and how many were measured. */
static bool gives(const char *text, const char *schedule, int measured) {
  Run run = tune(text);
  bool ok = run.ok && strcmp(run.schedule, schedule) == 0 && run.measured == measured;
  if (!ok) printf("schedule '%s', %d measured\n", run.ok ? run.schedule : "?", run.measured);
  module_free(run.module);
  return ok;
}

/* ---- the file ---- */

TEST(lines) {
  Module *module = module_new(NULL);
  TuneCache cache = {.module = module};
  tune_cache_read(&cache,
                  "0000000000000001 8 panels rows=7 panels=4 outside=1\n"
                  "\n"
                  "# a comment\n"
                  "1 8 panels rows=7\n"                    /* the key is too short, */
                  "00000000000000010 8 panels\n"           /* too long */
                  "000000000000000G 8 panels\n"            /* no number */
                  "0000000000000002 panels rows=7\n"       /* no candidates, */
                  "0000000000000002 12345 panels rows=7\n" /* too many */
                  "0000000000000002 8 \n"                  /* no schedule */
                  "0000000000000002 8 ../../etc\n"         /* not the letters of one */
                  "0000000000000002 8 panels\trows=7\n"
                  "00000000000000ff 12 matmul rows=3 vectors=2", /* without an end: as good as any */
                  true);
  CHECK(cache.count == 2);
  const TuneEntry *first = tune_cache_find(&cache, 1), *last = tune_cache_find(&cache, 255);
  CHECK(first && first->candidates == 8 && strcmp(first->schedule, "panels rows=7 panels=4 outside=1") == 0);
  CHECK(last && last->candidates == 12 && strcmp(last->schedule, "matmul rows=3 vectors=2") == 0);
  CHECK(!tune_cache_find(&cache, 2));
  tune_cache_read(&cache, "0000000000000001 9 panels rows=1\n", false);
  CHECK(tune_cache_find(&cache, 1)->candidates == 8);
  tune_cache_read(&cache, "0000000000000001 9 panels rows=1\n", true);
  CHECK(tune_cache_find(&cache, 1)->candidates == 9 && cache.count == 2);
  module_free(module);
}

TEST(many_lines) {
  Module *module = module_new(NULL);
  TuneCache cache = {.module = module};
  for (uint64_t key = 0; key < 20000; key++) tune_cache_add(&cache, (TuneEntry){key, 8, "panels rows=1"});
  CHECK(cache.count <= 8192 && tune_cache_find(&cache, 19999));
  module_free(module);
}

/* That of this machine. */
static TuneCache open_cache(Module *module) {
  Target target;
  TuneCache cache;
  CHECK(target_describe(module, NULL, NULL, &target));
  tune_cache_open(module, &target, &cache);
  return cache;
}

/* Of two that write in turns, neither loses lines. */
TEST(two_writers) {
  Module *module = module_new(NULL);
  TuneCache a = open_cache(module), b = open_cache(module);
  tune_cache_add(&a, (TuneEntry){1, 8, "panels rows=1"});
  tune_cache_add(&b, (TuneEntry){2, 8, "panels rows=2"});
  tune_cache_save(&a);
  tune_cache_save(&b);
  TuneCache c = open_cache(module);
  CHECK(tune_cache_find(&c, 1) && tune_cache_find(&c, 2) && !module->diags);
  module_free(module);
}

/* ---- what is believed ---- */

static void write_cache(const char *path, const char *text) {
  FILE *out = fopen(path, "w");
  CHECK(out != NULL);
  if (!out) return;
  fputs(text, out);
  fclose(out);
}

static char *key_of(const char *path) {
  char *text = read_text(path);
  if (text) text[strcspn(text, " ")] = 0;
  return text;
}

TEST(cache) {
  char line[200];
  Run run = tune(product);
  const char *path = open_cache(run.module).path;
  CHECK(run.ok && run.measured == 1 && strncmp(run.schedule, "matmul rows=", 12) == 0);
  CHECK(gives(product, run.schedule, 0));
  Run more = tune_for(product, NULL, 7); /* than were tried */
  CHECK(more.ok && more.measured == 1);
  module_free(more.module);
  char *key = key_of(path);
  CHECK(key && strlen(key) == 16);

  const char *other = schedule_choose(first_kernel(run.module->main), &run.target, 4);
  snprintf(line, sizeof line, "%s 8 %s\n", key, other);
  write_cache(path, line);
  CHECK(gives(product, other, 0)); /* one of the candidates is taken at its word */

  static const char *const lies[] = {"matmul rows=99 vectors=99", "winograd tiles=9", "in_place", "rows"};
  for (int i = 0; i < COUNT_OF(lies); i++) {
    snprintf(line, sizeof line, "\377\1garbage\n%s 8 %s\n%s", key, lies[i], key);
    write_cache(path, line);
    Run again = tune(product);
    CHECK(again.ok && again.measured == 1 && strcmp(again.schedule, lies[i]) != 0);
    module_free(again.module);
  }
  free(key);
  module_free(run.module);
}

/* ---- which kernels ---- */

static bool is_right(const Run *run) {
  const Graph *graph = run->module->main;
  Tensor in[2] = {{0}}, plain = {0}, fast = {0};
  for (int i = 0; i < 2; i++) {
    const Type *type = graph->inputs[i]->type;
    if (!tensor_new(&in[i], type->dtype, 2, (int64_t[]){type->dims[0]->value, type->dims[1]->value}))
      return false;
    for (int64_t k = 0; k < tensor_count(&in[i]); k++)
      ((float *)in[i].data)[k] = (float)((k * 7 + i) % 13) / 13 - 0.5f;
  }
  bool ok = graph_interpret(run->module->main, in, &plain) &&
            codegen_execute(&run->target, run->module->main, in, &fast);
  for (int64_t k = 0; ok && k < tensor_count(&plain); k++)
    ok = fabsf(((float *)plain.data)[k] - ((float *)fast.data)[k]) < 1e-5f;
  Tensor *all[] = {&in[0], &in[1], &plain, &fast};
  for (int i = 0; i < 4; i++) tensor_free(all[i]);
  return ok;
}

TEST(results) {
  Run run = tune(product);
  CHECK(run.ok && is_right(&run));
  module_free(run.module);
}

TEST(untouched) {
  CHECK(gives("graph g(%a: f32[N,40], %b: f32[40,48]) -> (%y: f32[N,48]) {\n" /* an open size */
              "  %y: f32[N,48] = kernel %a, %b, name=\"k\" {\n"
              "    graph k(%l: f32[N,40], %r: f32[40,48]) -> (%p: f32[N,48]) {\n"
              "      %p: f32[N,48] = matmul %l, %r\n"
              "      return %p\n    }\n  }\n  return %y\n}\n",
              "", 0));
  CHECK(gives("graph g(%a: f32[20,40], %b: f32[40,48], %i: i64[20]) -> (%y: f32[20,48]) {\n" /* indices */
              "  %y: f32[20,48] = kernel %a, %b, %i, name=\"k\" {\n"
              "    graph k(%l: f32[20,40], %r: f32[40,48], %j: i64[20]) -> (%q: f32[20,48]) {\n"
              "      %p: f32[20,48] = matmul %l, %r\n"
              "      %q: f32[20,48] = gather %p, %j\n"
              "      return %q\n    }\n  }\n  return %y\n}\n",
              "", 0));
  CHECK(gives("graph g(%a: f32[20]) -> (%y: f32[20]) {\n" /* one schedule */
              "  %y: f32[20] = kernel %a, name=\"k\" {\n"
              "    graph k(%l: f32[20]) -> (%p: f32[20]) {\n"
              "      %p: f32[20] = relu %l\n"
              "      return %p\n    }\n  }\n  return %y\n}\n",
              "", 0));
  CHECK(gives("graph g(%a: f32[0,40], %b: f32[40,48]) -> (%y: f32[0,48]) {\n" /* a schedule of its own */
              "  %y: f32[0,48] = kernel %a, %b, name=\"k\", schedule=\"matmul rows=2 vectors=1\" {\n"
              "    graph k(%l: f32[0,40], %r: f32[40,48]) -> (%p: f32[0,48]) {\n"
              "      %p: f32[0,48] = matmul %l, %r\n"
              "      return %p\n    }\n  }\n  return %y\n}\n",
              "matmul rows=2 vectors=1", 0));
}

TEST(other_cpu) {
  Run run = tune_for(product, "x86-64-v2", 6);
  CHECK(!run.ok && strstr(run.module->diags->text, "'x86-64-v2'"));
  module_free(run.module);
}

TEST(no_folder) {
  setenv("XDG_CACHE_HOME", "/dev/null", 1);
  Run run = tune(product);
  CHECK(run.ok && run.measured == 1 && run.module->diags && run.module->diags->severity == SEVERITY_WARNING);
  module_free(run.module);
}

static int delete(const char *path, const struct stat *status, int kind, struct FTW *level) {
  (void)status, (void)kind, (void)level;
  return remove(path);
}

int main(void) {
  char folder[TEMPORARY_SIZE];
  if (!temporary_folder(folder)) return 1;
  setenv("XDG_CACHE_HOME", folder, 1);
  RUN(lines);
  RUN(many_lines);
  RUN(cache);
  RUN(results);
  RUN(untouched);
  RUN(other_cpu);
  RUN(two_writers);
  RUN(no_folder);
  nftw(folder, delete, 8, FTW_DEPTH | FTW_PHYS);
  return tests_finish();
}
