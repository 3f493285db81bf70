/*
 * tune.c -- schedules by measurement.
 *
 * IR before: kernel nodes with an empty `schedule`. IR after: those that could be measured have one. Keeps:
 * the meaning. Leaves to `schedule`: kernels of which there is one schedule only, whose sizes are open, or
 * that hold integers, since random ones may be no indices.
 *
 * Nodes that would be the same code are one subject. Its candidates are what its variant's `choose` ranks
 * first. Those of several subjects are compiled into one library, and run in turns on random numbers; the
 * least time counts, and those far behind drop out. What a model run has in its caches is imitated:
 * activations stay where they are, constants are read at another place of a pool in each run, which is as
 * large as all constants of the graph. So they come from where they will come from.
 *
 * Candidates whose results differ from those of the first are out: a slip of a kernel, or of rounding before
 * a step like `floor`.
 */
#include "codegen/library.h"
#include "codegen/schedule.h"
#include "codegen/tune_cache.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
  MAX_ARGS = 16,   /* of a kernel that can be called */
  MAX_MISSES = 16, /* ranks that come to no new code before the search ends */
  LIBRARY = 64,    /* kernels of a library, about */
  ALIGNMENT = 64,
  MIN_ROUNDS = 3,
  MAX_ROUNDS = 40
};
static const double ROUND_SECONDS = 20e-6; /* least time that is measured */
static const double KERNEL_SECONDS = 0.25; /* no more rounds after that */
static const double NOISE = 1.03;          /* the first candidate stays if it is so near the best */
static const size_t MAX_POOL = (size_t)1 << 28, MAX_MEMORY = (size_t)1 << 32;

typedef struct Candidate {
  const char *schedule, *text; /* text: of the kernel */
  Kernel *kernel;
  void *code;
  double seconds; /* of one run, the least */
} Candidate;

typedef struct Subject {
  const Node *node;     /* the first of those that are the same code */
  uint64_t key;         /* of the first candidate's text */
  const char *schedule; /* what was decided; NULL: nothing yet */
  Candidate *candidates;
  int count;
} Subject;

typedef struct Tune {
  Module *module;
  const Target *target;
  const Tuning *tuning;
  const Places *places;
  Subject *subjects;
  int count, reported;
  TuneCache cache;
  char *pool; /* random numbers, for constants */
  size_t pool_bytes, pool_at;
  double start;
} Tune;

static double seconds_by(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static double now(void) {
  return seconds_by(CLOCK_MONOTONIC);
}

static size_t aligned(size_t bytes) {
  return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* ---- which kernels ------------------------------------------------------------------------------------- */

/* Marks the nodes that depend on constants only. */
static void mark_constants(Graph *graph) {
  FOR_EACH_NODE(node, graph) {
    node->mark = node->data != NULL || node->operand_count > 0;
    for (int i = 0; i < node->operand_count && !node->data; i++) {
      const Value *x = operand(node, i);
      if (x && !(x->def && x->def->mark)) node->mark = 0;
    }
  }
}

static bool can_make(const Value *value) {
  if (!value) return true;
  int64_t count = type_static_count(value->type), most = (int64_t)(MAX_MEMORY / sizeof(float));
  return value->type->dtype == DTYPE_F32 && count >= 0 && count <= most;
}

static bool has_indices(const Graph *region) {
  FOR_EACH_NODE(node, region)
  for (int i = 0; i < node->result_count; i++) {
    Dtype dtype = node->results[i]->type->dtype;
    if (dtype != DTYPE_F32 && dtype != DTYPE_BOOL) return true;
  }
  return false;
}

static bool can_tune(const Node *node, const Target *target) {
  if (!node_is(node, &op_kernel) || *node_string(node, "schedule") || node->mark) return false;
  if (node->operand_count + node->result_count > MAX_ARGS || has_indices(node->regions[0])) return false;
  for (int i = 0; i < node->operand_count; i++)
    if (!can_make(operand(node, i))) return false;
  for (int i = 0; i < node->result_count; i++)
    if (!can_make(result(node, i))) return false;
  return schedule_choose(node, target, 1) != NULL;
}

/* Not every text makes a kernel that is within limits. */
static bool build_candidate(const Tune *tune, const Node *node, const char *schedule, Candidate *candidate) {
  Diag *last = tune->module->last_diag;
  Kernel *kernel = schedule_kernel(node, "k", tune->target, tune->places, schedule);
  bool ok = kernel && kernel_verify(kernel);
  if (ok) *candidate = (Candidate){schedule, kernel_neutral_text(kernel), kernel, NULL, 0};
  diags_take_back(tune->module, last);
  return ok;
}

/* The subject of the node, a new one for code that is new; NULL: its kernel cannot be built. */
static Subject *find_subject(Tune *tune, const Node *node) {
  Candidate first;
  if (!build_candidate(tune, node, schedule_choose(node, tune->target, 0), &first)) return NULL;
  uint64_t key = hash_bytes(first.text, strlen(first.text), 0);
  for (int i = 0; i < tune->count; i++) {
    const Subject *known = &tune->subjects[i];
    if (known->key == key && strcmp(known->candidates[0].text, first.text) == 0) return &tune->subjects[i];
  }
  Subject *subject = &tune->subjects[tune->count++];
  *subject = (Subject){.node = node, .key = key, .count = 1};
  subject->candidates = NEW_ARRAY(tune->module->arena, Candidate, tune->tuning->candidates);
  subject->candidates[0] = first;
  return subject;
}

/* ---- memory -------------------------------------------------------------------------------------------- */

/* Bytes from the first to behind the last element of a param; some number beyond MAX_MEMORY if they are more.
 */
static size_t param_bytes(const Kernel *kernel, const Buffer *param) {
  double elements = 1;
  for (int axis = 0; axis < param->rank; axis++) {
    if (param->dims[axis]->value == 0) return 0;
    elements += (double)(param->dims[axis]->value - 1) * (double)buffer_stride(kernel, param, axis)->value;
  }
  double bytes = elements * sizeof(float), most = (double)MAX_MEMORY + ALIGNMENT;
  return aligned((size_t)(bytes < most ? bytes : most));
}

static void fill_random(char *memory, size_t bytes) {
  uint32_t state = 1;
  float *x = (float *)memory;
  for (size_t i = 0; i < bytes / sizeof *x; i++) {
    state = state * 1664525 + 1013904223;
    x[i] = (float)(int32_t)state * 0x1p-31f;
  }
}

static bool is_constant(const Tune *tune, const Subject *subject, int param) {
  const Node *node = subject->node;
  int index = lower_param_operand(node, param);
  if (index >= node->operand_count) return false;
  const Value *root = value_place(tune->places, operand(node, index)).root;
  return root->def && root->def->mark;
}

/* The memory of one subject. */
typedef struct Memory {
  int count;
  void *args[MAX_ARGS + 1]; /* behind the params: no symbols */
  size_t bytes[MAX_ARGS];
  bool constant[MAX_ARGS], written[MAX_ARGS];
  char *block, *expected; /* of the params that are not constant; what the first candidate wrote there */
  size_t block_bytes, constant_bytes;
} Memory;

static bool memory_open(const Tune *tune, const Subject *subject, Memory *memory) {
  const Kernel *kernel = subject->candidates[0].kernel;
  *memory = (Memory){.count = kernel->param_count};
  for (int i = 0; i < memory->count; i++) {
    memory->bytes[i] = param_bytes(kernel, kernel->params[i]);
    memory->constant[i] = is_constant(tune, subject, i);
    memory->written[i] = kernel->params[i]->kind != BUFFER_IN;
    *(memory->constant[i] ? &memory->constant_bytes : &memory->block_bytes) += memory->bytes[i];
  }
  if (memory->block_bytes > MAX_MEMORY) return false;
  memory->block = aligned_alloc(ALIGNMENT, memory->block_bytes + ALIGNMENT);
  memory->expected = malloc(memory->block_bytes + ALIGNMENT);
  if (!memory->block || !memory->expected) return false;
  fill_random(memory->block, memory->block_bytes);
  char *at = memory->block;
  for (int i = 0; i < memory->count; i++) {
    if (memory->constant[i]) continue;
    memory->args[i] = at;
    at += memory->bytes[i];
  }
  return true;
}

static void memory_close(Memory *memory) {
  free(memory->block);
  free(memory->expected);
}

static bool pool_reaches(Tune *tune, size_t bytes) {
  if (tune->pool && tune->pool_bytes >= bytes) return true;
  free(tune->pool);
  if (bytes > tune->pool_bytes) tune->pool_bytes = bytes;
  tune->pool = bytes <= MAX_MEMORY ? aligned_alloc(ALIGNMENT, aligned(tune->pool_bytes)) : NULL;
  if (tune->pool) fill_random(tune->pool, tune->pool_bytes);
  return tune->pool != NULL;
}

/* Bytes of the constants that runs read, within limits. */
static size_t pool_size(const Graph *graph) {
  size_t sum = 1 << 20;
  FOR_EACH_NODE(node, graph) {
    size_t bytes = 0;
    if (node->data && !node->data->splat) dtype_bytes(node->data->dtype, node->data->count, &bytes);
    sum = bytes < MAX_POOL - sum ? sum + bytes : MAX_POOL;
  }
  return aligned(sum);
}

/* ---- measuring ----------------------------------------------------------------------------------------- */

/* Callees take what they have parameters for. */
static void call(const Candidate *candidate, void *const *a) {
  typedef void Function(void *, void *, void *, void *, void *, void *, void *, void *, void *, void *,
                        void *, void *, void *, void *, void *, void *, void *);
  Function *function;
  memcpy(&function, &candidate->code, sizeof function);
  function(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14],
           a[15], a[16]);
}

static void run(Tune *tune, Memory *memory, const Candidate *candidate) {
  if (tune->pool_at + memory->constant_bytes > tune->pool_bytes) tune->pool_at = 0;
  for (int i = 0; i < memory->count; i++) {
    if (!memory->constant[i]) continue;
    memory->args[i] = tune->pool + tune->pool_at;
    tune->pool_at += memory->bytes[i];
  }
  call(candidate, memory->args);
}

/* The processor's time: others may use the machine, too. */
static double seconds_of(Tune *tune, Memory *memory, const Candidate *candidate, int repeat) {
  double start = seconds_by(CLOCK_THREAD_CPUTIME_ID);
  for (int i = 0; i < repeat; i++) run(tune, memory, candidate);
  return (seconds_by(CLOCK_THREAD_CPUTIME_ID) - start) / repeat;
}

/* By the mean square of the difference; the same elements must be finite. */
static bool is_near(const float *x, const float *y, size_t count) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < count; i++) {
    double a = x[i], b = y[i];
    if (!isfinite(a) != !isfinite(b)) return false;
    if (!isfinite(a)) continue;
    difference += (a - b) * (a - b);
    size += b * b;
  }
  return sqrt(difference) <= 1e-3 * sqrt(size);
}

/* Runs the candidate on the first constants; whether the results are those of the first candidate. */
static bool agrees(Tune *tune, Memory *memory, const Candidate *candidate, bool is_first) {
  bool same = true;
  tune->pool_at = 0;
  for (int i = 0; i < memory->count; i++)
    if (memory->written[i]) memset(memory->args[i], 0, memory->bytes[i]);
  run(tune, memory, candidate);
  for (int i = 0; i < memory->count; i++) {
    if (!memory->written[i]) continue;
    char *expected = memory->expected + ((char *)memory->args[i] - memory->block);
    if (is_first) memcpy(expected, memory->args[i], memory->bytes[i]);
    same = same && is_near(memory->args[i], (float *)expected, memory->bytes[i] / sizeof(float));
  }
  return same;
}

static Candidate *fastest(Subject *subject) {
  Candidate *best = &subject->candidates[0];
  for (int i = 1; i < subject->count; i++)
    if (subject->candidates[i].seconds < best->seconds) best = &subject->candidates[i];
  return best->seconds * NOISE < subject->candidates[0].seconds ? best : &subject->candidates[0];
}

/* Takes out candidates other than the first, to behind the others, whose order does not matter. */
static void drop(Subject *subject, int index) {
  Candidate dropped = subject->candidates[index];
  subject->candidates[index] = subject->candidates[--subject->count];
  subject->candidates[subject->count] = dropped;
}

static void drop_slow(Subject *subject, double behind) {
  double bound = behind * fastest(subject)->seconds;
  for (int i = subject->count - 1; i > 0; i--)
    if (subject->candidates[i].seconds > bound) drop(subject, i);
}

static void run_rounds(Tune *tune, Subject *subject, Memory *memory) {
  double start = now(), once = seconds_of(tune, memory, &subject->candidates[0], 1);
  subject->candidates[0].seconds = once;
  int repeat = once < ROUND_SECONDS ? (int)(ROUND_SECONDS / (once + 1e-8)) + 1 : 1;
  for (int round = 0; round < MAX_ROUNDS && subject->count > 1; round++) {
    if (round >= MIN_ROUNDS && now() - start > KERNEL_SECONDS) break;
    for (int i = 0; i < subject->count; i++) {
      Candidate *candidate = &subject->candidates[i];
      double seconds = seconds_of(tune, memory, candidate, repeat);
      if (round == 0 || seconds < candidate->seconds) candidate->seconds = seconds;
    }
    if (round + 1 >= MIN_ROUNDS) drop_slow(subject, round < MAX_ROUNDS / 4 ? 1.15 : 1.04);
  }
}

static bool measure(Tune *tune, Subject *subject) {
  Memory memory;
  bool ok = memory_open(tune, subject, &memory) && pool_reaches(tune, memory.constant_bytes);
  if (ok) {
    agrees(tune, &memory, &subject->candidates[0], true);
    for (int i = subject->count - 1; i > 0; i--)
      if (!agrees(tune, &memory, &subject->candidates[i], false)) drop(subject, i);
    run_rounds(tune, subject, &memory);
  }
  memory_close(&memory);
  return ok;
}

/* ---- candidates ---------------------------------------------------------------------------------------- */

static bool is_known(const Subject *subject, const char *text) {
  for (int i = 0; i < subject->count; i++)
    if (strcmp(subject->candidates[i].text, text) == 0) return true;
  return false;
}

static void find_candidates(const Tune *tune, Subject *subject) {
  const char *schedule;
  int misses = 0;
  for (int rank = 1; subject->count < tune->tuning->candidates && misses < MAX_MISSES; rank++) {
    if (!(schedule = schedule_choose(subject->node, tune->target, rank))) break;
    Candidate *next = &subject->candidates[subject->count];
    bool ok = build_candidate(tune, subject->node, schedule, next) && !is_known(subject, next->text);
    *(ok ? &subject->count : &misses) += 1;
  }
}

/* A cached schedule counts when it is one of the candidates. */
static void take_cached(Tune *tune, Subject *subject) {
  const TuneEntry *entry = tune_cache_find(&tune->cache, subject->key);
  if (!entry || entry->candidates < tune->tuning->candidates) return;
  const char *schedule;
  for (int rank = 0; (schedule = schedule_choose(subject->node, tune->target, rank)); rank++)
    if (strcmp(schedule, entry->schedule) == 0) subject->schedule = schedule;
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

static int by_seconds(const void *a, const void *b) {
  double x = ((const TunedSchedule *)a)->seconds, y = ((const TunedSchedule *)b)->seconds;
  return (x > y) - (x < y);
}

/* All candidates that were measured, `count` to begin with. */
static void list_tried(const Tune *tune, const Subject *subject, int count, Tuned *tuned) {
  TunedSchedule *tried = NEW_ARRAY(tune->module->arena, TunedSchedule, count);
  for (int i = 0; i < count; i++) {
    const Candidate *candidate = &subject->candidates[i];
    if (candidate->seconds > 0)
      tried[tuned->tried_count++] = (TunedSchedule){candidate->schedule, candidate->seconds};
  }
  qsort(tried, (size_t)tuned->tried_count, sizeof *tried, by_seconds);
  tuned->tried = tried;
}

/* best: as it was measured, among `count` candidates; NULL: it was not. */
static void report(Tune *tune, const Subject *subject, const Candidate *best, int count) {
  const Candidate *first = &subject->candidates[0];
  Tuned tuned = {.number = ++tune->reported,
                 .count = tune->count,
                 .name = node_string(subject->node, "name"),
                 .predicted = first->schedule,
                 .best = subject->schedule,
                 .predicted_seconds = best ? first->seconds : 0,
                 .best_seconds = best ? best->seconds : 0};
  if (best) list_tried(tune, subject, count, &tuned);
  if (tune->tuning->report) tune->tuning->report(tune->tuning->context, &tuned);
}

static void decide(Tune *tune, Subject *subject) {
  int count = subject->count;
  if (!measure(tune, subject)) return; /* no memory: as predicted */
  const Candidate *best = fastest(subject);
  subject->schedule = best->schedule;
  tune_cache_add(&tune->cache, (TuneEntry){subject->key, tune->tuning->candidates, best->schedule});
  report(tune, subject, best, count);
}

static bool is_late(const Tune *tune) {
  return now() - tune->start > tune->tuning->seconds;
}

static bool decide_loaded(Tune *tune, Subject *const *subjects, int count, const char *path) {
  void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!handle) return fail(tune->module, "the kernels to be measured cannot be loaded: %s", dlerror());
  for (int i = 0; i < count && !is_late(tune); i++) {
    for (int c = 0; c < subjects[i]->count; c++)
      subjects[i]->candidates[c].code = dlsym(handle, subjects[i]->candidates[c].kernel->name);
    decide(tune, subjects[i]);
  }
  dlclose(handle);
  tune_cache_save(&tune->cache);
  return true;
}

/* Compiles the candidates of some subjects, and measures. */
static bool decide_some(Tune *tune, Subject *const *subjects, int count) {
  WorkFolder folder;
  int kernel_count = 0;
  for (int i = 0; i < count; i++) kernel_count += subjects[i]->count;
  Kernel **kernels = NEW_ARRAY(tune->module->arena, Kernel *, kernel_count);
  for (int i = 0, k = 0; i < count; i++)
    for (int c = 0; c < subjects[i]->count; c++, k++) {
      kernels[k] = subjects[i]->candidates[c].kernel;
      kernels[k]->name = arena_printf(tune->module->arena, "k%d", k);
    }
  TRY(work_folder_open(tune->module, &folder));
  const char *path = work_file(tune->module, &folder, "tune.so");
  bool ok = codegen_kernels(tune->module, tune->target, kernels, kernel_count, path, NULL) &&
            decide_loaded(tune, subjects, count, path);
  work_folder_close(&folder);
  return ok;
}

static bool decide_all(Tune *tune) {
  Subject *some[LIBRARY];
  int count = 0, kernels = 0;
  for (int i = 0; i < tune->count && !is_late(tune); i++) {
    Subject *subject = &tune->subjects[i];
    if (!subject->schedule) {
      find_candidates(tune, subject);
      some[count++] = subject;
      kernels += subject->count;
    }
    if (count == 0 || (kernels < LIBRARY && i + 1 < tune->count)) continue;
    TRY(decide_some(tune, some, count));
    count = kernels = 0;
  }
  return true;
}

static void note_rest(Tune *tune) {
  int rest = 0;
  for (int i = 0; i < tune->count; i++) rest += !tune->subjects[i].schedule;
  if (rest == 0 || !is_late(tune)) return;
  const char *text =
      arena_printf(tune->module->arena,
                   "tuning stopped after %g s: %d of %d kernels are scheduled as predicted; the "
                   "next time goes on from here",
                   tune->tuning->seconds, rest, tune->count);
  diag_add(tune->module, (Diag){.severity = SEVERITY_NOTE, .text = text});
}

static bool check_host(Module *module, const Target *target) {
  Target host;
  TRY(target_describe(module, NULL, NULL, &host));
  if (target->next)
    return fail(module, "tuning is for one processor, this machine's: --tune goes without --cpu");
  if (strcmp(host.triple, target->triple) == 0 && strcmp(host.cpu, target->cpu) == 0 &&
      strcmp(host.features, target->features) == 0)
    return true;
  return fail(module, "tuning measures on this machine's processor, '%s', and is of no use for '%s'",
              host.cpu, target->cpu);
}

static bool tune_graph(Tune *tune, Graph *graph) {
  int nodes = 0, found = 0;
  FOR_EACH_NODE(node, graph) nodes++;
  Node **tuned = NEW_ARRAY(tune->module->arena, Node *, nodes);
  Subject **subject_of = NEW_ARRAY(tune->module->arena, Subject *, nodes);
  tune->subjects = NEW_ARRAY(tune->module->arena, Subject, nodes);
  tune->pool_bytes = pool_size(graph);
  mark_constants(graph);
  FOR_EACH_NODE(node, graph) {
    if (!can_tune(node, tune->target)) continue;
    subject_of[found] = find_subject(tune, node);
    if (subject_of[found]) tuned[found++] = node;
  }
  tune_cache_open(tune->module, tune->target, &tune->cache);
  for (int i = 0; i < tune->count; i++) take_cached(tune, &tune->subjects[i]);
  for (int i = 0; i < tune->count; i++)
    if (tune->subjects[i].schedule) report(tune, &tune->subjects[i], NULL, 0);
  TRY(decide_all(tune));
  for (int i = 0; i < found; i++)
    if (subject_of[i]->schedule) node_set_string(tuned[i], "schedule", subject_of[i]->schedule);
  note_rest(tune);
  return found > 0;
}

bool tune_run(Graph *graph, const PassOptions *options) {
  if (!options->tuning || options->tuning->candidates < 1) return false;
  Tune tune = {.module = graph->module, .target = options->target, .tuning = options->tuning, .start = now()};
  TRY(check_host(graph->module, options->target));
  TRY((tune.places = places_find(graph)));
  bool changed = tune_graph(&tune, graph);
  free(tune.pool);
  return changed;
}
