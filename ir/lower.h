/* lower.h -- what lower.c, lower_elements.c, lower_call.c and index.c share: the private state of one
 * lowering. */
#ifndef TENON_LOWER_H
#define TENON_LOWER_H

#include "ir/loop.h"

/* A value that lives in a param of the kernel. */
typedef struct Param {
  const Value *value; /* in the eyes of the region, or the operand of a plain node */
  Buffer *buffer;
} Param;

/* The anchor's result while its epilogue is being written. */
typedef struct Bound {
  Reg *reg; /* NULL: not bound */
  const Index *at;
} Bound;

/* Where an axis of a value comes from: the axis of the element loops' result that indexes it, or AXIS_NONE
 * (size 1 or repeated). */
enum { AXIS_NONE = -1 };
typedef struct AxisMap {
  const Value *value;
  int axes[MAX_RANK];
  Buffer *buffer; /* the param, seen with merged axes; NULL until first needed */
} AxisMap;

/* Which neighbouring axes of the element loops run as one; see lower_elements.c. */
typedef struct MergePlan {
  bool merged[MAX_RANK]; /* result axis k runs together with the next one that is not of size 1 */
  bool spoiled[MAX_RANK];
  AxisMap *maps;
  int count, max;
} MergePlan;

typedef struct Memo Memo;

struct Binding {
  const Graph *region; /* NULL: a plain op */
  Param *params;
  int param_count;
  Buffer **results; /* by result of the node */
  Value **outputs;  /* by result: the value that it holds */
  uint64_t *needs;  /* by result: the anchor's results that it is computed from, as bits */
  Bound *anchor;    /* by result of the anchor */
  bool several;     /* plain code of several anchors, whose results go through local buffers */
  MergePlan *plan;  /* NULL: axes are not merged */
  Memo **buckets;   /* of values and index arithmetic that exist already */
  Memo *newest;
};

/* Records the Diag of something that cannot be lowered and returns a harmless value, so that builders need no
 * error paths. */
Reg *lower_fail(Lower *lower, LoopType type, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The kernel of an op whose meaning is a call (lower_call.c). */
void lower_call(Lower *lower, const Node *node);

bool lowers_to_literal(const Lower *lower, const Value *value); /* a splat constant: no param */

/* Memory of what was computed where. A register is found again while the builder is inside the block that
 * holds it. The key is {tag, x, y} and for values also the position `at` of `rank` axes and the current lanes
 * and mask. */
typedef struct MemoKey {
  int tag; /* an Opcode, or MEMO_VALUE */
  const void *x, *y;
  int64_t number;
  int rank;
  const Index *at;
} MemoKey;
enum { MEMO_VALUE = -1 };
Reg *memo_find(Lower *lower, const MemoKey *key);
void memo_add(Lower *lower, const MemoKey *key, Reg *reg);
/* Forgets the values (not the index arithmetic) remembered after `newest`, except those of params. */
void memo_forget_values(Lower *lower, const Memo *newest);

/* The buffer and indices to use for param `value` at `at`, under the merge plan; indices has MAX_RANK
 * entries, *rank is set. */
Buffer *merged_access(Lower *lower, const Value *value, Buffer *buffer, const Index *at, Index *indices,
                      int *rank);

/* The element of a param, from memory. */
Reg *lower_load(Lower *lower, const Value *value, const Index *at);

/* A square of elements, as many as there are lanes in both directions: lanes run along axis `along` of the
 * value, the positions of axis `across`, along which memory does, stand below each other
 * (lower_transposed.c).
 */
typedef struct Square {
  int along, across; /* axes of the value */
  int count;         /* positions that exist */
  const Index *positions;
  Reg *last; /* the last position of `along`, for runs that are masked */
} Square;
/* Makes the param `value` known at `at` with each of the square's positions. */
void lower_transposed(Lower *lower, const Value *value, const Index *at, const Square *square);

bool index_equal(Index a, Index b);
Index index_select_dim_is_one(Lower *lower, const Dim *dim, Index otherwise); /* 0 if dim == 1 */

#endif
