/*
 * boxes.c -- concat and constant padding: the result is a few boxes, each a copy or a constant.
 *
 * As an element op every element would ask which box it is in; here each box has loops of its own, and the
 * lanes run along the last axis. Memory-bound: one read and one write per element.
 */
#include "codegen/kernels/lanes.h"

typedef struct Box {
  const Node *op;
  int operand; /* copied from this one; -1: filled with `fill` */
  Reg *fill;   /* scalar */
  int rank;
  const Dim *size[MAX_RANK];  /* of the box; the last is constant */
  const Dim *shift[MAX_RANK]; /* of its first element in the result */
  Index at[MAX_RANK];         /* in the box */
} Box;

static void box_vector(Lower *lower, Reg *first, void *context) {
  Box *box = context;
  Index y[MAX_RANK];
  box->at[box->rank - 1] = index_run(first, 1);
  for (int i = 0; i < box->rank; i++) {
    y[i] = dim_is(box->shift[i], 0)
               ? box->at[i]
               : index_add(lower, box->at[i], index_of(loop_dim(&lower->loops, box->shift[i])));
  }
  Reg *value = box->operand < 0 ? box->fill : lower_operand(lower, box->op, box->operand, box->at);
  lower_store(lower, 0, y, loop_splat(&lower->loops, value, lower->lanes));
}

static void box_axes(Lower *lower, Box *box, int axis) {
  Loops *loops = &lower->loops;
  if (axis == box->rank - 1) {
    for_lanes(lower, 0, box->size[axis]->value, box_vector, box);
    return;
  }
  For loop = loop_parallel(loops, loop_int(loops, 0), loop_dim(loops, box->size[axis]), 1);
  box->at[axis] = index_of(loop.counter);
  box_axes(lower, box, axis + 1);
  loop_end(loops, &loop, NULL);
}

static bool is_empty(const Box *box) {
  for (int i = 0; i < box->rank; i++)
    if (dim_is(box->size[i], 0)) return true;
  return false;
}

static void box_section(Lower *lower, Box *box, const Sections *sections) {
  if (is_empty(box)) return;
  loop_section(&lower->loops, sections);
  box_axes(lower, box, 0);
}

static void concat_boxes(Lower *lower, const Node *concat) {
  Module *module = lower->module;
  const Dim *zero = dim_const(module, 0), *shift = zero;
  int rank = result(concat, 0)->type->rank, axis = (int)node_axis(concat, "axis", rank);
  Sections sections = loop_sections(&lower->loops);
  for (int k = 0; k < concat->operand_count; k++) {
    const Type *type = operand(concat, k)->type;
    Box box = {.op = concat, .operand = k, .rank = rank};
    for (int i = 0; i < rank; i++) {
      box.size[i] = type->dims[i];
      box.shift[i] = i == axis ? shift : zero;
    }
    box_section(lower, &box, &sections);
    shift = dim_add(module, shift, type->dims[axis]);
  }
  loop_end_sections(&lower->loops, &sections);
}

/* The inside, then for each axis the slabs before and after it: earlier axes only inside, later axes over the
 * whole result. */
static void pad_boxes(Lower *lower, const Node *pad) {
  Module *module = lower->module;
  const Type *x = operand(pad, 0)->type, *y = result(pad, 0)->type;
  int rank = x->rank, count;
  const Dim *const *pads = node_dims(pad, "pads", &count), *zero = dim_const(module, 0);
  Box box = {.op = pad, .operand = 0, .rank = rank};
  for (int i = 0; i < rank; i++) {
    box.size[i] = x->dims[i];
    box.shift[i] = pads[i];
  }
  box.fill = operand(pad, 1) ? lower_operand(lower, pad, 1, (Index[]){index_const(lower, 0)})
                             : loop_const(&lower->loops, (LoopType){x->dtype, 1}, 0);
  Sections sections = loop_sections(&lower->loops);
  box_section(lower, &box, &sections);
  box.operand = -1;
  for (int axis = 0; axis < rank; axis++) {
    for (int end = 0; end < 2; end++) {
      for (int i = 0; i < rank; i++) {
        box.size[i] = i < axis ? x->dims[i] : y->dims[i];
        box.shift[i] = i < axis ? pads[i] : zero;
      }
      box.size[axis] = pads[end * rank + axis];
      if (end) box.shift[axis] = dim_add(module, pads[axis], x->dims[axis]);
      box_section(lower, &box, &sections);
    }
  }
  loop_end_sections(&lower->loops, &sections);
}

static bool pad_fits(const Node *pad) {
  const Type *x = operand(pad, 0)->type;
  int count;
  const Dim *const *pads = node_dims(pad, "pads", &count);
  if (!node_string_is(pad, "mode", "constant")) return false;
  for (int i = 0; i < count; i++) {
    if (!dim_is_const(pads[i]) || pads[i]->value < 0) return false;
  }
  return dim_is_const(x->dims[x->rank - 1]);
}

static bool concat_fits(const Node *concat) {
  for (int i = 0; i < concat->operand_count; i++) {
    const Type *type = operand(concat, i)->type;
    if (!dim_is_const(type->dims[type->rank - 1])) return false;
  }
  return true;
}

static bool has_lanes(Dtype dtype) {
  return dtype == DTYPE_F32 || dtype == DTYPE_F64 || dtype == DTYPE_I32 || dtype == DTYPE_I64 ||
         dtype == DTYPE_U8 || dtype == DTYPE_I8;
}

static bool boxes_match(const Node *node, const Node *anchor, const Target *target) {
  (void)node;
  (void)target;
  if (!anchor || !has_lanes(result(anchor, 0)->type->dtype) || result(anchor, 0)->type->rank < 1)
    return false;
  return node_is(anchor, &op_concat) ? concat_fits(anchor) : node_is(anchor, &op_pad) && pad_fits(anchor);
}

static void boxes_body(Lower *lower, void *context) {
  const VariantContext *variant = context;
  const Node *op = kernel_anchor(lower->node);
  lower->lanes = target_lanes(variant->target, result(op, 0)->type->dtype);
  if (node_is(op, &op_concat))
    concat_boxes(lower, op);
  else
    pad_boxes(lower, op);
}

const Variant variant_boxes = {
    .name = "boxes",
    .doc = "concat and constant padding as copies of boxes",
    .match = boxes_match,
    .body = boxes_body,
};
