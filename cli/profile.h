/* profile.h -- `tenon bench --profile`: what bench.c gives profile.c to print. */
#ifndef TENON_CLI_PROFILE_H
#define TENON_CLI_PROFILE_H

#include "cli/program.h"

typedef struct BenchSummary {
  double least, median, p90; /* seconds of a run */
  int runs, threads;
  double gflops;
} BenchSummary;

typedef struct Profile {
  const Program *program;
  const int64_t *symbols;      /* values of the library's */
  const int64_t *macs;         /* of each kernel */
  const uint64_t *nanoseconds; /* the least of each; NULL: not measured */
} Profile;

/* A table, the slowest kernel first. False with a Diag when the machine cannot be measured. */
bool profile_print(const Profile *profile, const BenchSummary *summary);
/* The summary, and the same if there are times, as one object. */
bool profile_json(const Profile *profile, const BenchSummary *summary);

#endif
