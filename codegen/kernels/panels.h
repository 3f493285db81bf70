/*
 * panels.h -- what the files of the kernel `panels` share: the shape of a product (panels_problem.c), its
 * sums (panels_sums.c), and the tiles that these fill (panels.c).
 */
#ifndef TENON_KERNELS_PANELS_H
#define TENON_KERNELS_PANELS_H

#include "codegen/kernels/tiles.h"

enum { PANEL = 16, MAX_TAPS = 4 };

/* ---- shape of the problem (panels_problem.c) ---- */

typedef struct PanelProblem {
  const Node *anchor;
  bool planar;  /* x is channels-first in memory */
  int row_axis; /* of the result: the axis that tiles run along; the last is the columns */
  const Dim *row_count;
  int64_t groups;
  int64_t columns, panel_count; /* of a group */
  int tap_axes;                 /* kernel axes before the last, walked by loops */
  int64_t taps[MAX_TAPS];       /* their sizes */
  int64_t tap_dilation[MAX_TAPS];
  int64_t outer_stride[MAX_TAPS];
  int64_t before[MAX_TAPS]; /* padding */
  bool clipped[MAX_TAPS];   /* some taps fall into padding */
  Axis last;                /* the kernel axis along the rows */
  int64_t all_taps;         /* of all kernel axes */
  int64_t column_taps;      /* loop over the last kernel axis when its taps are apart, else 1 */
  int64_t channels;         /* of a group */
  int64_t channel_step; /* elements of x between channels: 1, or a plane of an image that is channels-first */
  int64_t pitch;        /* elements of x between neighbouring columns: the channels, or more */
  int64_t run;          /* contiguous elements of K innermost */
  int depth;            /* elements of K in one step: rows of w that lie side by side */
  bool sparse;          /* w without its zeros: the steps over the channels are a list */
  int64_t row_step;     /* elements of x between rows */
} PanelProblem;

/* False when the kernel is not for it. */
bool panels_describe(const Node *node, const Node *anchor, PanelProblem *p);
/* From the elements of x between neighbouring columns, and between channels. */
void panels_set_steps(PanelProblem *p, int64_t pitch, int64_t channel_step);
/* Whether neighbouring taps of the last kernel axis are no run of x. */
bool panels_taps_are_apart(const PanelProblem *p);

/* ---- code (panels.c) ---- */

typedef struct Panels {
  Lower *lower;
  PanelProblem p;
  int rows, panels;     /* tile limits from the schedule */
  int lanes, per_panel; /* vectors per panel */
  int narrow;           /* lanes of a last vector that has no more columns */
  Buffer *x, *w, *steps, *starts;
  int fetched;                    /* panels behind its own that a tile fetches meanwhile */
  int64_t longest;                /* list */
  int64_t inside_from, inside_to; /* rows whose taps along the row axis are all inside x */
  Reg *outer[MAX_TAPS + 1];       /* result indices before the row axis */
  Reg *group;                     /* a literal when there is but one */
} Panels;

/* A tile under construction: `height` rows from `row`, `panels` panels from `panel`. */
typedef struct PanelTile {
  int height, vectors;
  Reg *row, *panel;
  Reg *ahead;           /* the first panel to fetch meanwhile */
  bool tail;            /* the last vectors reach beyond the last column */
  int64_t tail_columns; /* columns of the whole tile that exist */
} PanelTile;

Reg *panels_add(Panels *e, Reg *x, Reg *y);
/* x * factor + offset */
Reg *panels_scaled(Panels *e, Reg *x, int64_t factor, int64_t offset);
/* Of vector v of the tile. */
int panels_lanes(const Panels *e, const PanelTile *tile, int v);

/* ---- sums over K (panels_sums.c) ---- */

/* Adds the products of the tile to its accumulators, [rows][vectors]. */
void panels_sum(Panels *e, const PanelTile *tile, Reg **acc);

#endif
