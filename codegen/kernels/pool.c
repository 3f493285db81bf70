/*
 * pool.c -- max and average pooling, channels last, lanes over channels.
 *
 * Windows are clipped to the input by the bounds of their loops, so no tap needs a test. Memory-bound: each
 * input vector is read kernel/stride times, from L1.
 */
#include "codegen/kernels/lanes.h"

static bool pool_match(const Node *node, const Node *anchor, const Target *target) {
  (void)target;
  if (!node_is(anchor, &op_max_pool) && !node_is(anchor, &op_average_pool)) return false;
  const Value *x = operand(anchor, 0);
  if (!node_string_is(anchor, "layout", "nhwc") || x->type->rank != 4 || x->type->dtype != DTYPE_F32)
    return false;
  if (attr_has_other(anchor, "dilations", 1)) return false;
  return value_is_direct(node, x) && dim_is_const(x->type->dims[3]);
}

/* The part of a window that is inside the input along one axis. */
typedef struct Span {
  Reg *start;      /* input position of tap 0; may be negative */
  Reg *low, *high; /* taps low <= t < high are inside */
  Reg *counted;    /* taps that an average divides by */
} Span;

typedef struct Emit {
  Lower *lower;
  const Node *anchor;
  Buffer *x;
  bool average;
  Reg *n, *o[2];
  Span span[2];
} Emit;

static Reg *op2(Emit *e, Opcode op, Reg *x, Reg *y) {
  return loop_binary(&e->lower->loops, op, x, y);
}
static Reg *number(Emit *e, int64_t value) {
  return loop_int(&e->lower->loops, value);
}

static Span span_of(Emit *e, int axis) {
  int64_t kernel = spatial_attr(e->anchor, "kernel", axis, 1),
          stride = spatial_attr(e->anchor, "strides", axis, 1);
  int64_t before = spatial_attr(e->anchor, "pads", axis, 0),
          after = spatial_attr(e->anchor, "pads", 2 + axis, 0);
  Reg *size = loop_dim(&e->lower->loops, e->x->dims[1 + axis]), *taps = number(e, kernel);
  Span span;
  span.start = op2(e, LOOP_SUB, op2(e, LOOP_MUL, e->o[axis], number(e, stride)), number(e, before));
  span.low = op2(e, LOOP_MAX, op2(e, LOOP_SUB, number(e, 0), span.start), number(e, 0));
  span.high = op2(e, LOOP_MIN, op2(e, LOOP_SUB, size, span.start), taps);
  span.counted = op2(e, LOOP_SUB, span.high, span.low);
  if (e->average && node_bool(e->anchor, "include_pad")) {
    Reg *end = op2(e, LOOP_ADD, size, number(e, after));
    span.counted = op2(e, LOOP_MIN, op2(e, LOOP_SUB, end, span.start), taps);
  }
  return span;
}

/* max that keeps a NaN of either side. */
static Reg *maximum(Emit *e, Reg *best, Reg *x) {
  Reg *keep = op2(e, LOOP_OR, op2(e, LOOP_GE, best, x), op2(e, LOOP_NE, best, best));
  return loop_select(&e->lower->loops, keep, best, x);
}

static void window(Lower *lower, Reg *channel, void *context) {
  Emit *e = context;
  Loops *loops = &lower->loops;
  Reg *start = loop_const(loops, (LoopType){DTYPE_F32, lower->lanes}, e->average ? 0 : -__builtin_inf());
  For rows = loop_for(loops, e->span[0].low, e->span[0].high, 1, 1, &start);
  For columns = loop_for(loops, e->span[1].low, e->span[1].high, 1, 1, rows.carried);
  Reg *at[4] = {e->n, op2(e, LOOP_ADD, e->span[0].start, rows.counter),
                op2(e, LOOP_ADD, e->span[1].start, columns.counter), channel};
  Reg *x = loop_load(loops, e->x, at, lower->lanes, lower->mask);
  Reg *next = e->average ? op2(e, LOOP_ADD, columns.carried[0], x) : maximum(e, columns.carried[0], x);
  loop_end(loops, &columns, &next);
  loop_end(loops, &rows, columns.results);
  Reg *value = rows.results[0];
  if (e->average) {
    Reg *count = op2(e, LOOP_MUL, e->span[0].counted, e->span[1].counted);
    value = op2(e, LOOP_DIV, value, loop_cast(loops, count, DTYPE_F32));
  }
  Index y[4] = {index_of(e->n), index_of(e->o[0]), index_of(e->o[1]), index_run(channel, 1)};
  lower_result(lower, 0, y, value);
}

static void pool_body(Lower *lower, void *context) {
  const VariantContext *variant = context;
  const Value *y = result(lower->anchor, 0);
  Loops *loops = &lower->loops;
  Emit e = {.lower = lower, .anchor = lower->anchor, .average = node_is(lower->anchor, &op_average_pool)};
  e.x = lower_buffer(lower, operand(lower->anchor, 0));
  lower->lanes = target_lanes(variant->target, DTYPE_F32);
  For images = loop_parallel(loops, loop_int(loops, 0), lower_dim(lower, y, 0), 1);
  For rows = loop_parallel(loops, loop_int(loops, 0), lower_dim(lower, y, 1), 1);
  e.n = images.counter;
  e.o[0] = rows.counter;
  e.span[0] = span_of(&e, 0);
  For columns = loop_for(loops, loop_int(loops, 0), lower_dim(lower, y, 2), 1, 0, NULL);
  e.o[1] = columns.counter;
  e.span[1] = span_of(&e, 1);
  for_lanes(lower, 0, e.x->dims[3]->value, window, &e);
  loop_end(loops, &columns, NULL);
  loop_end(loops, &rows, NULL);
  loop_end(loops, &images, NULL);
}

const Variant variant_pool = {
    .name = "pool",
    .doc = "windows over rows and columns, lanes over channels",
    .match = pool_match,
    .body = pool_body,
};
