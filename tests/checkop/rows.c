/* rows.c -- norms, reductions, softmax; elements that move. */
#include "tests/checkop/checkop.h"

static void add_rms_norm(Check *check, int rank, const int64_t *sizes, int axis) {
  Value *operands[2] = {input(check, rank, sizes), weight(check, rank - axis, sizes + axis)};
  Node *norm = node_new(&check->builder, &op_layer_norm, operands, 2);
  node_set_int(norm, "axis", axis);
  node_set_bool(norm, "center", false);
  done(check, node_finish(norm) ? build_unary(&check->builder, &op_tanh, result(norm, 0)) : NULL,
       NAME("rms_norm_%dx%d_axis%d", (int)sizes[rank - 2], (int)sizes[rank - 1], axis));
}

/* Blocks of 4, 2 and 1 rows, with few and many elements, and of a number that is not known. */
static void norm_cases(Check *check) {
  const int64_t sizes[][2] = {{4, 96}, {5, 17}, {6, 1000}, {7, 4099}, {3, 768}, {OPEN, 40}, {1, 5}};
  for (int i = 0; i < COUNT_OF(sizes); i++) {
    Value *operands[3] = {input(check, 2, sizes[i]), weight(check, 1, &sizes[i][1]),
                          weight(check, 1, &sizes[i][1])};
    operands[0] = build_binary(&check->builder, &op_add, operands[0], input(check, 2, sizes[i]));
    done(check, build_op(&check->builder, &op_layer_norm, operands, 3),
         NAME("layer_norm_%dx%d", (int)sizes[i][0], (int)sizes[i][1]));
    add_rms_norm(check, 2, sizes[i], 1);
  }
}

void row_cases(Check *check) {
  const int64_t sizes[][3] = {{1, 1, 1}, {2, 3, 15}, {3, 1, 16}, {1, 4, 33}, {5, 7, 100}, {2, 3, 9001}};
  const Op *const reductions[] = {&op_reduce_sum, &op_reduce_mean, &op_reduce_max, &op_reduce_min};
  const struct {
    int count;
    int64_t axes[3];
  } sets[] = {{1, {2}}, {1, {0}}, {2, {0, 1}}, {2, {1, 2}}, {3, {0, 1, 2}}};
  norm_cases(check);
  for (int i = 0; i < COUNT_OF(sizes); i++) {
    for (int axis = 0; axis < 3; axis++) {
      Value *x = input(check, 3, sizes[i]);
      Node *softmax = node_new(&check->builder, &op_softmax, &x, 1);
      node_set_int(softmax, "axis", axis);
      done(check, node_finish(softmax) ? result(softmax, 0) : NULL, NAME("softmax_%d_axis%d", i, axis));
    }
    for (int affine = 0; affine < 2; affine++) {
      Value *norm[3] = {input(check, 3, sizes[i]), NULL, NULL};
      if (affine) norm[1] = weight(check, 1, &sizes[i][2]);
      if (affine) norm[2] = weight(check, 1, &sizes[i][2]);
      done(check, build_op(&check->builder, &op_layer_norm, norm, 3), NAME("layer_norm_%d_%d", i, affine));
    }
    for (int axis = 0; axis < 3; axis++) add_rms_norm(check, 3, sizes[i], axis);
    for (int k = 0; k < COUNT_OF(reductions); k++) {
      for (int s = 0; s < COUNT_OF(sets); s++) {
        Value *x = input(check, 3, sizes[i]);
        Node *node = node_new(&check->builder, reductions[k], &x, 1);
        node_set_ints(node, "axes", sets[s].axes, sets[s].count);
        Value *y = node_finish(node) ? result(node, 0) : NULL;
        if (y && (k + s) % 2) y = build_unary(&check->builder, &op_sigmoid, y);
        done(check, y, NAME("%s_%d_axes%d", reductions[k]->name, i, s));
      }
    }
  }
}

/* Whole squares and rests in both directions, merged axes, an operand that is not transposed. */
static void turned_cases(Check *check) {
  static const int64_t sizes[][4] = {{1, 5, 7, 21},    {2, 4, 8, 16},    {1, 3, 37, 5},
                                     {1, OPEN, 3, 20}, {3, 2, OPEN, 33}, {2, 19, 1, 40}};
  static const int64_t perms[][4] = {{0, 3, 1, 2}, {0, 2, 3, 1}, {3, 2, 1, 0}, {2, 0, 3, 1}};
  for (int i = 0; i < COUNT_OF(sizes); i++) {
    for (int k = 0; k < COUNT_OF(perms); k++) {
      int64_t to[4];
      for (int axis = 0; axis < 4; axis++) to[axis] = sizes[i][perms[k][axis]];
      Value *x = build_transpose(&check->builder, input(check, 4, sizes[i]), perms[k]);
      Value *y = k % 2 && x ? build_binary(&check->builder, &op_mul, x, input(check, 4, to)) : x;
      done(check, y ? build_unary(&check->builder, &op_relu, y) : NULL, NAME("transpose_relu_%d_%d", i, k));
    }
  }
}

void movement_cases(Check *check) {
  turned_cases(check);
  const int64_t sizes[][3] = {{2, 3, 5}, {1, 16, 17}, {4, 5, 33}, {7, 1, 1}};
  for (int i = 0; i < COUNT_OF(sizes); i++) {
    for (int axis = 0; axis < 3; axis++) {
      Value *parts[3];
      for (int k = 0; k < 3; k++) {
        int64_t dims[3] = {sizes[i][0], sizes[i][1], sizes[i][2]};
        dims[axis] += k;
        parts[k] = input(check, 3, dims);
      }
      Node *concat = node_new(&check->builder, &op_concat, parts, 3);
      node_set_int(concat, "axis", axis);
      done(check, node_finish(concat) ? result(concat, 0) : NULL, NAME("concat_%d_axis%d", i, axis));
      Value *x = input(check, 3, sizes[i]);
      Node *pad = node_new(&check->builder, &op_pad, &x, 1);
      const Dim *pads[6];
      for (int k = 0; k < 6; k++) pads[k] = dim_const(check->module, (k + axis) % 3);
      node_set_dims(pad, "pads", pads, 6);
      done(check, node_finish(pad) ? result(pad, 0) : NULL, NAME("pad_%d_%d", i, axis));
      int64_t perm[3] = {axis, (axis + 2) % 3, (axis + 1) % 3};
      Value *y = build_transpose(&check->builder, input(check, 3, sizes[i]), perm);
      done(check, y ? build_unary(&check->builder, &op_tanh, y) : NULL,
           NAME("transpose_tanh_%d_%d", i, axis));
    }
  }
}
