/*
 * threads.c -- the threads of a session, and the division of a parallel loop among them.
 *
 * A loop is cut into a few equal parts per thread, at the same places whoever runs them. The parts that
 * nobody has begun are bits of one word, `unclaimed`. A thread takes its own parts first, which are
 * neighbours, so that it finds in its cache what it wrote in the kernel before, then those of others: nobody
 * waits for a thread that is just waking up or was interrupted, beyond the part it is at. Workers look for
 * work for a short while, because kernels follow each other within microseconds, then they sleep.
 *
 * A job lies on the caller's stack. A thread reads it only between taking a part and counting `pending` down,
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
enum { FUTEX_WAIT_PRIVATE = 128, FUTEX_WAKE_PRIVATE = 129, SIGNALS_BLOCK = 0, SIGNALS_SET = 2 };
enum { CLOCK_STEADY = 1 };

static const uint64_t SPIN_NANOSECONDS = 50000;

/* Most parts of each thread, and how many times the least work one of several is worth. */
enum { OWN_PARTS = 4, WORTH = 8, WORD_BITS = 64 };
_Static_assert((int)MAX_THREADS <= (int)WORD_BITS, "each thread has a bit");

typedef struct Job {
  TaskBody *body;
  void *context;
  char *memory;
  int64_t size, parts;
  uint32_t own; /* parts of each thread */
} Job;

typedef struct Worker {
  Pool *pool;
  uint32_t number; /* the caller is 0 */
  void *thread;
} Worker;

struct Pool {
  _Alignas(64) _Atomic uint64_t unclaimed; /* bit share*thread + i */
  _Atomic uint32_t jobs;                   /* counts them: what sleeping workers wait for */
  _Atomic uint32_t sleeping;               /* workers */
  const Job *job;
  _Alignas(64) _Atomic uint32_t pending; /* parts that are not done */
  _Atomic uint32_t caller_sleeps;
  _Atomic uint32_t ends;
  uint32_t share; /* bits of each thread */
  uint32_t worker_count;
  Worker workers[];
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

/* Whether what `done` tests became true within a short while. */
static int spin(int (*done)(Pool *pool), Pool *pool) {
  uint64_t end = 0;
  for (uint32_t i = 1;; i++) {
    if (done(pool)) return 1;
    pause();
    if (i % 32) continue;
    if (!end) end = now() + SPIN_NANOSECONDS;
    if (now() > end) return 0;
  }
}

static int has_work(Pool *pool) {
  return atomic_load(&pool->unclaimed) || atomic_load(&pool->ends);
}

static int is_done(Pool *pool) {
  return atomic_load_explicit(&pool->pending, memory_order_acquire) == 0;
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

/* memory: a piece for each thread, downwards. */
static void run_part(const Job *job, int64_t part, int64_t thread) {
  int64_t end = part + 1 < job->parts ? part_begin(job, part + 1) : INT64_MAX;
  job->body(job->context, part_begin(job, part), end,
            job->memory - thread * (int64_t)tenon_model_local_bytes);
}

/* Of a host's threads only that no two have the same part is known. */
static void run_host_parts(void *context, int64_t begin, int64_t end) {
  for (int64_t part = begin; part < end; part++) run_part(context, part, part);
}

/* Takes a bit out of the word: one of the thread's own, else the last of all; -1: there is none. */
static int claim(Pool *pool, uint32_t thread) {
  uint64_t mine = (((uint64_t)1 << pool->share) - 1) << pool->share * thread;
  uint64_t bits = atomic_load_explicit(&pool->unclaimed, memory_order_relaxed);
  int bit = -1;
  do {
    if (!bits) return -1;
    bit = bits & mine ? __builtin_ctzll(bits & mine) : WORD_BITS - 1 - __builtin_clzll(bits);
  } while (!atomic_compare_exchange_weak_explicit(&pool->unclaimed, &bits, bits & ~((uint64_t)1 << bit),
                                                  memory_order_acq_rel, memory_order_relaxed));
  return bit;
}

static void finish(Pool *pool) {
  if (atomic_fetch_sub(&pool->pending, 1) == 1 && atomic_load(&pool->caller_sleeps))
    futex_wake(&pool->pending, 1);
}

/* Runs parts until there is none to begin. */
static void work(Pool *pool, uint32_t thread) {
  for (int bit; (bit = claim(pool, thread)) >= 0;) {
    const Job *job = pool->job;
    uint32_t owner = (uint32_t)bit / pool->share, index = (uint32_t)bit % pool->share;
    run_part(job, (int64_t)owner * job->own + index, thread);
    finish(pool);
  }
}

static void wake_workers(Pool *pool, uint32_t count) {
  atomic_fetch_add(&pool->jobs, 1);
  if (atomic_load(&pool->sleeping)) futex_wake(&pool->jobs, count);
}

static void post(Pool *pool, const Job *job) {
  uint64_t bits = 0;
  for (uint32_t i = 0; i < job->parts; i++)
    bits |= (uint64_t)1 << (pool->share * (i / job->own) + i % job->own);
  pool->job = job;
  atomic_store_explicit(&pool->pending, (uint32_t)job->parts, memory_order_relaxed);
  atomic_store(&pool->unclaimed, bits);
  wake_workers(pool, (uint32_t)job->parts);
}

static void wait_for_all(Pool *pool) {
  if (spin(is_done, pool)) return;
  atomic_store(&pool->caller_sleeps, 1);
  for (uint32_t left; (left = atomic_load(&pool->pending));) futex_wait(&pool->pending, left);
  atomic_store(&pool->caller_sleeps, 0);
}

static void pool_run(Pool *pool, Job *job, int64_t threads) {
  int64_t own = job->size / (threads * WORTH * tenon_model_task_ticks);
  job->own = own < 1 ? 1 : own > pool->share ? pool->share : (uint32_t)own;
  job->parts = threads * job->own;
  post(pool, job);
  work(pool, 0);
  wait_for_all(pool);
}

void tenon_runtime_parallel(Team *team, int64_t size, TaskBody *body, void *context, void *memory) {
  int64_t threads = size / tenon_model_task_ticks;
  if (threads > team->threads) threads = team->threads;
  if (threads <= 1) {
    body(context, 0, INT64_MAX, memory);
    return;
  }
  Job job = {.body = body, .context = context, .memory = memory, .size = size, .parts = threads};
  if (team->parallel_for)
    team->parallel_for(team->host, threads, 1, run_host_parts, &job);
  else
    pool_run(team->pool, &job, threads);
}

/* ---- workers ---- */

static void wait_for_work(Pool *pool) {
  if (spin(has_work, pool)) return;
  atomic_fetch_add(&pool->sleeping, 1);
  uint32_t jobs = atomic_load(&pool->jobs);
  if (!has_work(pool)) futex_wait(&pool->jobs, jobs);
  atomic_fetch_sub(&pool->sleeping, 1);
}

static void *run_worker(void *argument) {
  Worker *worker = argument;
  for (;;) {
    work(worker->pool, worker->number);
    if (atomic_load(&worker->pool->ends)) return NULL;
    wait_for_work(worker->pool);
  }
}

/* Signals are the host's own threads' business. */
static int start_worker(Pool *pool) {
  Worker *worker = &pool->workers[pool->worker_count];
  uint64_t all[16], before[16]; /* sigset_t */
  for (int i = 0; i < 16; i++) all[i] = UINT64_MAX;
  *worker = (Worker){.pool = pool, .number = pool->worker_count + 1};
  pthread_sigmask(SIGNALS_BLOCK, all, before);
  int error = pthread_create(&worker->thread, NULL, run_worker, worker);
  pthread_sigmask(SIGNALS_SET, before, NULL);
  if (!error) pool->worker_count++;
  return !error;
}

static void pool_close(Pool *pool) {
  if (!pool) return;
  atomic_store(&pool->ends, 1);
  wake_workers(pool, pool->worker_count);
  for (uint32_t i = 0; i < pool->worker_count; i++) pthread_join(pool->workers[i].thread, NULL);
  free(pool);
}

static Pool *pool_open(uint32_t workers) {
  size_t size = (sizeof(Pool) + workers * sizeof(Worker) + 63) / 64 * 64;
  Pool *pool = aligned_alloc(64, size);
  if (!pool) return NULL;
  for (size_t i = 0; i < size / 8; i++) ((uint64_t *)(void *)pool)[i] = 0;
  pool->share = WORD_BITS / (workers + 1) < OWN_PARTS ? WORD_BITS / (workers + 1) : OWN_PARTS;
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
