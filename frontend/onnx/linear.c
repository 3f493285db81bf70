/* linear.c -- ONNX Det; inverses and distances of com.microsoft. */
#include "frontend/onnx/onnx.h"

static bool import_same(OnnxNode *node) {
  return set_output(node, emit_unary(node, node->row->op, input(node, 0)));
}

/* The distance of every row of a [m,k] from every row of b [n,k]. */
static bool import_cdist(OnnxNode *node) {
  Value *a = input(node, 0), *b = input(node, 1);
  bool squared = attr_string_is(node, "metric", "sqeuclidean", "sqeuclidean");
  if (!squared && !attr_string_is(node, "metric", "sqeuclidean", "euclidean"))
    return onnx_fail(node, "metric '%s' is not supported", attr_string(node, "metric", ""));
  if (a->type->rank != 2 || b->type->rank != 2)
    return onnx_fail(node, "distances of %s and %s", type_text(node->module, a->type),
                     type_text(node->module, b->type));
  const Dim *one = dim_const(node->module, 1), *const *a_dims = a->type->dims, *const *b_dims = b->type->dims;
  a = emit_reshape(node, a, 3, (const Dim *[]){a_dims[0], one, a_dims[1]});
  b = emit_reshape(node, b, 3, (const Dim *[]){one, b_dims[0], b_dims[1]});
  Value *difference = emit_binary(node, &op_sub, a, b),
        *square = emit_binary(node, &op_mul, difference, difference);
  Value *sum = emit_reduce(node, &op_reduce_sum, square, (int64_t[]){2}, 1);
  sum = emit_reshape(node, sum, 2, (const Dim *[]){a_dims[0], b_dims[0]});
  return set_output(node, squared ? sum : emit_unary(node, &op_sqrt, sum));
}

static const OnnxRow rows[] = {
    {"Det", 11, 1, 1, import_same, &op_det},
    {"com.microsoft.CDist", 1, 2, 2, import_cdist, NULL},
    {"com.microsoft.Inverse", 1, 1, 1, import_same, &op_inverse},
};

const OnnxRows onnx_linear = {rows, COUNT_OF(rows)};
