/*
 * test.h -- what a test binary needs: CHECK and its kin, and the closing line.
 *
 *   TEST(adds) { CHECK(1 + 1 == 2); }
 *   int main(void) { RUN(adds); return tests_finish(); }
 *
 * A test is one function; it fails when any CHECK in it does, and says where. The last line of the output is
 * `N passed, N failed`.
 */
#ifndef TENON_TESTS_TEST_H
#define TENON_TESTS_TEST_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int tests_passed, tests_failed, checks_failed;

/* Counts a failure and says where; evaluates to whether the condition held. */
#define CHECK(condition) check_that((condition), __FILE__, __LINE__, #condition)
#define CHECK_INT(got, want) check_int((long long)(got), (long long)(want), __FILE__, __LINE__, #got)
#define CHECK_STRING(got, want) check_string((got), (want), __FILE__, __LINE__, #got)
#define CHECK_NEAR(got, want, tolerance) check_near((got), (want), (tolerance), __FILE__, __LINE__, #got)

#define TEST(name) static void test_##name(void)
#define RUN(name) run_test(test_##name, #name)

static inline bool check_that(bool ok, const char *file, int line, const char *text) {
  if (!ok) printf("%s:%d: does not hold: %s\n", file, line, text);
  checks_failed += !ok;
  return ok;
}

static inline bool check_int(long long got, long long want, const char *file, int line, const char *text) {
  if (got != want) printf("%s:%d: %s is %lld, not %lld\n", file, line, text, got, want);
  checks_failed += got != want;
  return got == want;
}

static inline bool check_string(const char *got, const char *want, const char *file, int line,
                                const char *text) {
  bool ok = got && want ? strcmp(got, want) == 0 : got == want;
  if (!ok)
    printf("%s:%d: %s is \"%s\", not \"%s\"\n", file, line, text, got ? got : "(null)",
           want ? want : "(null)");
  checks_failed += !ok;
  return ok;
}

static inline bool check_near(double got, double want, double tolerance, const char *file, int line,
                              const char *text) {
  bool ok = got - want <= tolerance && want - got <= tolerance;
  if (!ok) printf("%s:%d: %s is %.17g, not %.17g\n", file, line, text, got, want);
  checks_failed += !ok;
  return ok;
}

static inline void run_test(void (*test)(void), const char *name) {
  checks_failed = 0;
  test();
  if (checks_failed) printf("FAIL %s\n", name);
  tests_passed += !checks_failed;
  tests_failed += checks_failed > 0;
}

static inline int tests_finish(void) {
  printf("%d passed, %d failed\n", tests_passed, tests_failed);
  return tests_failed > 0;
}

#endif
