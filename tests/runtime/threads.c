/*
 * threads.c -- the thread pool alone: every number of a range is visited once, whoever runs it; pools come
 * and go; several run at once. Built with ThreadSanitizer where nothing else sanitizes.
 */
#include "runtime/model.h"
#include "tests/test.h"

#include <pthread.h>
#include <stdlib.h>

const int64_t tenon_model_task_ticks = 10;
const uint64_t tenon_model_local_bytes = 64;

enum { MAX_SIZE = 5000, PIECES = 64 };

typedef struct Visits {
  int64_t size;
  uint8_t count[MAX_SIZE]; /* not atomic: parts must not meet */
  char memory[MAX_THREADS * 64];
} Visits;

static void visit(void *context, int64_t begin, int64_t end, void *memory) {
  Visits *visits = context;
  char *piece = memory;
  for (int i = 0; i < PIECES; i++) piece[i] = (char)i;
  for (int64_t i = begin; i < end && i < visits->size; i++) visits->count[i]++;
}

/* The first piece of memory is the last in the array. */
static bool each_is_visited_once(Team *team, Visits *visits, int64_t size) {
  memset(visits->count, 0, sizeof visits->count);
  visits->size = size;
  tenon_runtime_parallel(team, size, visit, visits, visits->memory + sizeof visits->memory - 64);
  for (int64_t i = 0; i < size; i++)
    if (visits->count[i] != 1) return false;
  return true;
}

static bool work_on(Team *team, int rounds) {
  Visits *visits = calloc(1, sizeof *visits);
  bool ok = visits != NULL;
  for (int i = 0; ok && i < rounds; i++) ok = each_is_visited_once(team, visits, i * 37 % MAX_SIZE);
  free(visits);
  return ok;
}

TEST(every_number_of_threads) {
  static const uint32_t threads[] = {0, 1, 2, 3, 5, 16, 17, 64, 1000};
  for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
    Team team;
    if (!CHECK_INT(tenon_runtime_team_open(&team, threads[i], NULL, NULL), TENON_OK)) continue;
    CHECK(work_on(&team, 300));
    tenon_runtime_team_close(&team);
  }
}

TEST(opened_and_closed) {
  for (int i = 0; i < 300; i++) {
    Team team;
    if (!CHECK_INT(tenon_runtime_team_open(&team, 2 + (uint32_t)i % 3, NULL, NULL), TENON_OK)) continue;
    CHECK(work_on(&team, i % 4));
    tenon_runtime_team_close(&team);
  }
}

/* Workers and caller fall asleep between jobs. */
static void visit_slowly(void *context, int64_t begin, int64_t end, void *memory) {
  struct timespec pause = {0, begin ? 400000 : 100000};
  nanosleep(&pause, NULL);
  visit(context, begin, end, memory);
}

TEST(sleeping) {
  Team team;
  Visits *visits = calloc(1, sizeof *visits);
  if (CHECK_INT(tenon_runtime_team_open(&team, 3, NULL, NULL), TENON_OK) && CHECK(visits != NULL)) {
    for (int round = 1; round <= 50; round++) {
      visits->size = 100;
      tenon_runtime_parallel(&team, 100, round % 2 ? visit_slowly : visit, visits,
                             visits->memory + sizeof visits->memory - 64);
      for (int i = 0; i < 100; i++) CHECK_INT(visits->count[i], round);
      nanosleep(&(struct timespec){0, 200000}, NULL);
    }
    tenon_runtime_team_close(&team);
  }
  free(visits);
}

static void *separate(void *ok) {
  Team team;
  *(bool *)ok = !tenon_runtime_team_open(&team, 3, NULL, NULL) && work_on(&team, 500);
  tenon_runtime_team_close(&team);
  return NULL;
}

TEST(several_at_once) {
  pthread_t threads[3];
  bool ok[3] = {false};
  for (int i = 0; i < 3; i++) CHECK_INT(pthread_create(&threads[i], NULL, separate, &ok[i]), 0);
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < 3; i++) CHECK(ok[i]);
}

static void one_range(void *host, int64_t count, int64_t grain, tenon_task *task, void *context) {
  CHECK_INT(grain, 1);
  *(int64_t *)host += count;
  task(context, 0, count);
}

TEST(threads_of_the_host) {
  Team team;
  int64_t parts = 0;
  CHECK_INT(tenon_runtime_team_open(&team, 4, one_range, &parts), TENON_OK);
  CHECK(team.pool == NULL && work_on(&team, 100));
  CHECK(parts > 0);
  tenon_runtime_team_close(&team);
}

int main(void) {
  RUN(every_number_of_threads);
  RUN(opened_and_closed);
  RUN(sleeping);
  RUN(several_at_once);
  RUN(threads_of_the_host);
  return tests_finish();
}
