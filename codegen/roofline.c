/*
 * roofline.c -- what this machine can do at best: multiplications a second, and bytes a second from each
 * level of memory (S. Williams et al., Roofline, 2009).
 *
 * Measured with kernels of our own, made by the compiler itself for the target: twelve independent chains of
 * multiply-adds, and sums over buffers that fit a half of the L2 or L3 cache, or neither. The best of several
 * runs counts; one thread. What was found is kept in a file of the user, $XDG_CACHE_HOME/tenon/roofline/, so
 * that it is measured once; a file that is removed is made anew.
 */
#include "codegen/codegen.h"
#include "codegen/library.h"
#include "codegen/tune_cache.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
  CHAINS = 12,   /* more than a multiply-add takes cycles, on two pipes */
  STREAMS = 8,   /* loads in flight */
  TURNS = 20000, /* of the loop over the chains */
  MIN_RUNS = 5,
  MAX_MEMORY = 128 << 20
};
static const double SECONDS = 0.03; /* of one measurement */

/* ---- the kernels, as text ---- */

/* "prefix0suffix, prefix1suffix, ..." */
static void list(FILE *out, int count, const char *format) {
  for (int i = 0; i < count; i++) {
    if (i) fputs(", ", out);
    fprintf(out, format, i, i);
  }
}

/* The sum of count vectors, stored. */
static void sum(FILE *out, int count, int lanes) {
  for (int i = 1; i < count; i++)
    fprintf(out, "  %%t%d: f32x%d = add %%%s%d, %%s%d\n", i, lanes, i == 1 ? "s" : "t", i - 1, i);
  fprintf(out, "  store %%t%d, %%y[0]\n}\n", count - 1);
}

static void results(FILE *out, int count, int lanes) {
  for (int i = 0; i < count; i++) fprintf(out, "%s%%s%d: f32x%d", i ? ", " : "  ", i, lanes);
}

static void write_peak(FILE *out, int lanes) {
  fprintf(out, "kernel peak(%%x: in f32[%d], %%y: out f32[%d]) {\n", CHAINS * lanes, lanes);
  for (int i = 0; i < CHAINS; i++) fprintf(out, "  %%v%d: f32x%d = load %%x[%d]\n", i, lanes, i * lanes);
  results(out, CHAINS, lanes);
  fprintf(out, " = for %%i = 0 to %d carry ", TURNS);
  list(out, CHAINS, "%%a%d = %%v%d");
  fputs(" {\n", out);
  for (int i = 0; i < CHAINS; i++)
    fprintf(out, "    %%b%d: f32x%d = mul_add %%a%d, %%v0, %%v1\n", i, lanes, i);
  fputs("    yield ", out);
  list(out, CHAINS, "%%b%d");
  fputs("\n  }\n", out);
  sum(out, CHAINS, lanes);
}

static void write_stream(FILE *out, int number, int64_t count, int lanes) {
  fprintf(out, "kernel stream%d(%%x: in f32[%lld], %%y: out f32[%d]) {\n", number, (long long)count, lanes);
  results(out, STREAMS, lanes);
  fprintf(out, " = for %%i = 0 to %lld step %d carry ", (long long)count, STREAMS * lanes);
  list(out, STREAMS, "%%a%d = 0.0");
  fputs(" {\n", out);
  for (int i = 0; i < STREAMS; i++) {
    fprintf(out, "    %%j%d: i64 = add %%i, %d\n", i, i * lanes);
    fprintf(out, "    %%l%d: f32x%d = load %%x[%%j%d]\n", i, lanes, i);
    fprintf(out, "    %%b%d: f32x%d = add %%a%d, %%l%d\n", i, lanes, i, i);
  }
  fputs("    yield ", out);
  list(out, STREAMS, "%%b%d");
  fputs("\n  }\n", out);
  sum(out, STREAMS, lanes);
}

/* ---- measuring ---- */

/* In elements: of whole turns of the loop. */
static int64_t level_count(const Roofline *roofline, int level, int lanes) {
  int64_t turn = (int64_t)STREAMS * lanes, bytes = roofline->levels[level].bytes / 2;
  if (level == ROOFLINE_LEVELS - 1) bytes = MAX_MEMORY;
  return bytes / (turn * (int64_t)sizeof(float)) * turn;
}

/* The processor's time: others may use the machine, too. */
static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* The least time of a run. */
static double least_seconds(void *symbol, float *x, float *y) {
  void (*function)(float *, float *, const int64_t *);
  memcpy(&function, &symbol, sizeof function); /* ISO C has no cast from object to function pointers */
  function(x, y, NULL);
  double best = 1e9, start = now();
  for (int i = 0; i < MIN_RUNS || now() - start < SECONDS; i++) {
    double begin = now();
    function(x, y, NULL);
    double seconds = now() - begin;
    if (seconds < best) best = seconds;
  }
  return best > 0 ? best : 1e-9;
}

static bool measure_loaded(Module *module, const Target *target, void *handle, Roofline *roofline) {
  int lanes = target_lanes(target, DTYPE_F32);
  float *x = aligned_alloc(64, MAX_MEMORY), y[64];
  if (!x) return fail(module, "no memory for measuring");
  for (size_t i = 0; i < MAX_MEMORY / sizeof *x; i++) x[i] = 0.5f;
  double operations = 2.0 * CHAINS * TURNS * lanes;
  roofline->gflops = 1e-9 * operations / least_seconds(dlsym(handle, "peak"), x, y);
  for (int level = 0; level < ROOFLINE_LEVELS; level++) {
    void *stream = dlsym(handle, arena_printf(module->arena, "stream%d", level));
    double bytes = (double)level_count(roofline, level, lanes) * sizeof *x;
    roofline->levels[level].gbps = 1e-9 * bytes / least_seconds(stream, x, y);
  }
  free(x);
  return true;
}

static bool measure(Module *module, const Target *target, Roofline *roofline) {
  char *text = NULL;
  size_t size = 0;
  int lanes = target_lanes(target, DTYPE_F32), count;
  FILE *out = open_memstream(&text, &size);
  if (!out) return fail(module, "no memory for measuring");
  write_peak(out, lanes);
  for (int level = 0; level < ROOFLINE_LEVELS; level++)
    write_stream(out, level, level_count(roofline, level, lanes), lanes);
  fclose(out);
  Kernel **kernels = kernels_parse(module, text, size, &count);
  free(text);
  WorkFolder folder;
  TRY(kernels && work_folder_open(module, &folder));
  const char *path = work_file(module, &folder, "roofline.so");
  bool ok = codegen_kernels(module, target, kernels, count, path, NULL);
  void *handle = ok ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
  if (ok && !handle) ok = fail(module, "what measures the machine cannot be loaded: %s", dlerror());
  ok = ok && measure_loaded(module, target, handle, roofline);
  if (handle) dlclose(handle);
  work_folder_close(&folder);
  return ok;
}

/* ---- the file ---- */

static bool read_kept(const char *path, Roofline *roofline) {
  FILE *in = path ? fopen(path, "r") : NULL;
  if (!in) return false;
  bool ok = fscanf(in, "%lf", &roofline->gflops) == 1 && roofline->gflops > 0;
  for (int level = 0; ok && level < ROOFLINE_LEVELS; level++)
    ok = fscanf(in, "%lf", &roofline->levels[level].gbps) == 1 && roofline->levels[level].gbps > 0;
  fclose(in);
  return ok;
}

/* Not being able to keep it is no fault. */
static void keep(Module *module, const char *path, const Roofline *roofline) {
  if (path) cache_make_folders(module, path);
  FILE *out = path ? fopen(path, "w") : NULL;
  if (!out) return;
  fprintf(out, "%.1f\n", roofline->gflops);
  for (int level = 0; level < ROOFLINE_LEVELS; level++) fprintf(out, "%.1f\n", roofline->levels[level].gbps);
  fclose(out);
}

bool codegen_roofline(Module *module, const Target *target, Roofline *roofline) {
  const char *path = cache_file(module, target, "roofline");
  *roofline = (Roofline){
      .levels = {{"L2", target->l2_bytes, 0}, {"L3", target->l3_bytes, 0}, {"memory", INT64_MAX, 0}}};
  if (read_kept(path, roofline)) return true;
  TRY(measure(module, target, roofline));
  keep(module, path, roofline);
  return true;
}

double roofline_gbps(const Roofline *roofline, double bytes) {
  int level = 0;
  while (level < ROOFLINE_LEVELS - 1 && bytes > (double)roofline->levels[level].bytes) level++;
  return roofline->levels[level].gbps;
}
