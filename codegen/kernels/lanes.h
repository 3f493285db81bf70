/*
 * lanes.h -- loops over an axis in vectors: full ones without a mask, then one masked tail.
 *
 * They cost nothing beside what is done in them: a copy by for_lanes has the bandwidth of L2 (see boxes.c).
 */
#ifndef TENON_KERNELS_LANES_H
#define TENON_KERNELS_LANES_H

#include "codegen/schedule.h"

/* Called with the first element of the vector; lower->mask tells which lanes exist (NULL: all). */
typedef void (*LaneBody)(Lower *lower, Reg *first, void *context);

/* for first = from to below to step lower->lanes: the vectors are independent of each other. */
void for_lanes(Lower *lower, int64_t from, int64_t to, LaneBody body, void *context);

/* The same, with one carried value per entry of `values`, which the body replaces by its successors. */
typedef void (*LaneFold)(Lower *lower, Reg *first, Reg **values, void *context);
void fold_lanes(Lower *lower, int64_t from, int64_t to, Reg **values, int count, LaneFold body,
                void *context);

#endif
