/*
 * threads.c -- the threads of a session, and the division of a parallel loop among them.
 *
 * A loop is cut into one part per thread, always at the same places. The caller runs part 0, workers take the
 * others by counting `unclaimed` down; the caller takes what no worker has begun when it is done, so that it
 * never waits for a thread that is just waking up. Workers look for work for a short while, because kernels
 * follow each other within microseconds, then they sleep. Closing is a job without a body: each worker takes
 * one part of it and ends.
 *
 * A job lies on the caller's stack. A worker reads it only between taking a part and counting `pending` down,
 * and the caller leaves only when nothing is pending.
 *
 * Sleeping is Linux's futex. pthread_create is wanted weakly: in a process whose C library keeps threads in a
 * library of its own and has not loaded that, sessions have no threads.
 */
#include "model.h"

#include <stdatomic.h>

void *aligned_alloc(size_t alignment, size_t size);
void free(void *memory);
int clock_gettime(int clock, ClockTime *time);
long syscall(long number, ...);
__attribute__((weak)) int pthread_create(void **thread, const void *attributes, void *(*start)(void *),
                                         void *argument);
__attribute__((weak)) int pthread_join(void *thread, void **result);
__attribute__((weak)) int pthread_sigmask(int how, const void *set, void *old);

#if defined(__x86_64__)
enum { SYSCALL_FUTEX = 202 };
#else
enum { SYSCALL_FUTEX = 98 };
#endif
enum { FUTEX_WAIT_PRIVATE = 128, FUTEX_WAKE_PRIVATE = 129, SIGNALS_BLOCK = 0, CLOCK_STEADY = 1 };

static const uint64_t SPIN_NANOSECONDS = 50000;

typedef struct Job {
  TaskBody *body;
  void *context;
  char *memory;
  int64_t size, parts;
} Job;

struct Pool {
  _Alignas(64) _Atomic uint32_t unclaimed; /* parts that nobody has begun: the next is this number */
  _Atomic uint32_t sleeping;               /* workers that wait for unclaimed to change */
  const Job *job;                          /* NULL: end */
  _Alignas(64) _Atomic uint32_t pending;   /* parts that are not done */
  _Atomic uint32_t caller_sleeps;
  uint32_t worker_count;
  void *workers[];
};

/* ---- waiting ---- */

static uint64_t now(void) {
  ClockTime time = {0, 0};
  clock_gettime(CLOCK_STEADY, &time);
  return (uint64_t)time.seconds * 1000000000u + (uint64_t)time.nanoseconds;
}

static void pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  __asm__ volatile("yield");
#endif
}

/* Looks at the word for a while; whether it became zero, or nonzero. */
static int spin(_Atomic uint32_t *word, int zero) {
  uint64_t end = 0;
  for (uint32_t i = 1;; i++) {
    if ((atomic_load_explicit(word, memory_order_acquire) == 0) == zero) return 1;
    pause();
    if (i % 32) continue;
    if (!end) end = now() + SPIN_NANOSECONDS;
    if (now() > end) return 0;
  }
}

static void futex_wait(_Atomic uint32_t *word, uint32_t while_it_is) {
  syscall(SYSCALL_FUTEX, word, FUTEX_WAIT_PRIVATE, while_it_is, (void *)0);
}

static void futex_wake(_Atomic uint32_t *word, uint32_t count) {
  syscall(SYSCALL_FUTEX, word, FUTEX_WAKE_PRIVATE, count);
}

/* ---- parts ---- */

/* size * part / parts without overflow. */
static int64_t part_begin(const Job *job, int64_t part) {
  int64_t rest = job->size % job->parts;
  return job->size / job->parts * part + (part < rest ? part : rest);
}

static void run_parts(void *context, int64_t begin, int64_t end) {
  const Job *job = context;
  for (int64_t part = begin; part < end; part++)
    job->body(job->context, part_begin(job, part),
              part + 1 < job->parts ? part_begin(job, part + 1) : INT64_MAX,
              job->memory - part * (int64_t)tenon_model_local_bytes);
}

/* The number of a part that is now the caller's to run, 0: there is none. */
static uint32_t claim(Pool *pool) {
  uint32_t part = atomic_load_explicit(&pool->unclaimed, memory_order_relaxed);
  while (part && !atomic_compare_exchange_weak_explicit(&pool->unclaimed, &part, part - 1,
                                                        memory_order_acq_rel, memory_order_relaxed)) {
  }
  return part;
}

static void finish(Pool *pool) {
  if (atomic_fetch_sub(&pool->pending, 1) == 1 && atomic_load(&pool->caller_sleeps))
    futex_wake(&pool->pending, 1);
}

static void post(Pool *pool, const Job *job, uint32_t parts) {
  pool->job = job;
  atomic_store_explicit(&pool->pending, parts, memory_order_relaxed);
  atomic_store(&pool->unclaimed, parts);
  if (atomic_load(&pool->sleeping)) futex_wake(&pool->unclaimed, parts);
}

static void wait_for_all(Pool *pool) {
  if (spin(&pool->pending, 1)) return;
  atomic_store(&pool->caller_sleeps, 1);
  for (uint32_t left; (left = atomic_load(&pool->pending));) futex_wait(&pool->pending, left);
  atomic_store(&pool->caller_sleeps, 0);
}

static void pool_run(Pool *pool, Job *job) {
  post(pool, job, (uint32_t)job->parts - 1);
  run_parts(job, 0, 1);
  for (uint32_t part; (part = claim(pool));) {
    run_parts(job, part, part + 1);
    finish(pool);
  }
  wait_for_all(pool);
}

void tenon_runtime_parallel(Team *team, int64_t size, TaskBody *body, void *context, void *memory) {
  int64_t parts = size / tenon_model_task_ticks;
  if (parts > team->threads) parts = team->threads;
  if (parts <= 1) {
    body(context, 0, INT64_MAX, memory);
    return;
  }
  Job job = {body, context, memory, size, parts};
  if (team->parallel_for)
    team->parallel_for(team->host, parts, 1, run_parts, &job);
  else
    pool_run(team->pool, &job);
}

/* ---- workers ---- */

static void wait_for_work(Pool *pool) {
  if (spin(&pool->unclaimed, 0)) return;
  atomic_fetch_add(&pool->sleeping, 1);
  futex_wait(&pool->unclaimed, 0);
  atomic_fetch_sub(&pool->sleeping, 1);
}

/* Signals are the host's own threads' business. */
static void *worker(void *argument) {
  Pool *pool = argument;
  for (;;) {
    uint32_t part = claim(pool);
    if (!part) {
      wait_for_work(pool);
      continue;
    }
    const Job *job = pool->job;
    if (job) run_parts((void *)(uintptr_t)job, part, part + 1);
    finish(pool);
    if (!job) return NULL;
  }
}

static int start_worker(Pool *pool) {
  uint64_t all[16], before[16]; /* sigset_t */
  for (int i = 0; i < 16; i++) all[i] = UINT64_MAX;
  pthread_sigmask(SIGNALS_BLOCK, all, before);
  int error = pthread_create(&pool->workers[pool->worker_count], NULL, worker, pool);
  pthread_sigmask(2, before, NULL);
  if (!error) pool->worker_count++;
  return !error;
}

static void pool_close(Pool *pool) {
  if (!pool) return;
  if (pool->worker_count) post(pool, NULL, pool->worker_count);
  for (uint32_t i = 0; i < pool->worker_count; i++) pthread_join(pool->workers[i], NULL);
  free(pool);
}

static Pool *pool_open(uint32_t workers) {
  size_t size = (sizeof(Pool) + workers * sizeof(void *) + 63) / 64 * 64;
  Pool *pool = aligned_alloc(64, size);
  if (!pool) return NULL;
  for (size_t i = 0; i < size / 8; i++) ((uint64_t *)(void *)pool)[i] = 0;
  while (pool->worker_count < workers)
    if (!start_worker(pool)) {
      pool_close(pool);
      return NULL;
    }
  return pool;
}

/* ---- teams ---- */

int tenon_runtime_team_open(Team *team, uint32_t threads, tenon_parallel_for *parallel_for, void *host) {
  *team = (Team){.threads = threads > MAX_THREADS ? MAX_THREADS : threads ? threads : 1};
  if (team->threads == 1) return TENON_OK;
  team->parallel_for = parallel_for;
  team->host = host;
  if (parallel_for) return TENON_OK;
  team->pool = pthread_create ? pool_open(team->threads - 1) : NULL;
  if (team->pool) return TENON_OK;
  team->threads = 1;
  return pthread_create ? TENON_ERROR_MEMORY : TENON_ERROR_UNSUPPORTED;
}

void tenon_runtime_team_close(Team *team) {
  pool_close(team->pool);
  *team = (Team){.threads = 1};
}
