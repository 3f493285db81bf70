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

typedef struct Plain {
  LaneBody body;
  void *context;
} Plain;

static void call_plain(Lower *lower, Reg *first, Reg **values, void *context) {
  (void)values;
  Plain *plain = context;
  plain->body(lower, first, plain->context);
}

void for_lanes(Lower *lower, int64_t from, int64_t to, LaneBody body, void *context) {
  fold_lanes(lower, from, to, NULL, 0, call_plain, &(Plain){body, context});
}
