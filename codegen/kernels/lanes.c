/* lanes.c -- see lanes.h. */
#include "codegen/kernels/lanes.h"

#include <assert.h>

enum { MAX_CARRIED = 8 };

void fold_lanes(Lower *lower, int64_t from, int64_t to, Reg **values, int count, LaneFold body,
                void *context) {
  Loops *loops = &lower->loops;
  int64_t full = from + (to - from) / lower->lanes * lower->lanes;
  assert(count <= MAX_CARRIED && !lower->mask);
  if (full > from) {
    For loop = loop_for(loops, loop_int(loops, from), loop_int(loops, full), lower->lanes, count, values);
    Reg *next[MAX_CARRIED];
    for (int i = 0; i < count; i++) next[i] = loop.carried[i];
    body(lower, loop.counter, next, context);
    loop_end(loops, &loop, next);
    for (int i = 0; i < count; i++) values[i] = loop.results[i];
  }
  if (to > full) {
    lower->mask = loop_lanes_below(loops, loop_int(loops, to - full), lower->lanes);
    body(lower, loop_int(loops, full), values, context);
    lower->mask = NULL;
  }
}

void for_lanes(Lower *lower, int64_t from, int64_t to, LaneBody body, void *context) {
  Loops *loops = &lower->loops;
  int64_t full = from + (to - from) / lower->lanes * lower->lanes;
  assert(!lower->mask);
  Sections sections = loop_sections(loops);
  if (full > from) {
    loop_section(loops, &sections);
    For loop = loop_parallel(loops, loop_int(loops, from), loop_int(loops, full), lower->lanes);
    body(lower, loop.counter, context);
    loop_end(loops, &loop, NULL);
  }
  if (to > full) {
    loop_section(loops, &sections);
    lower->mask = loop_lanes_below(loops, loop_int(loops, to - full), lower->lanes);
    body(lower, loop_int(loops, full), context);
    lower->mask = NULL;
  }
  loop_end_sections(loops, &sections);
}
