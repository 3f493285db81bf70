/*
 * masked.c -- what removing units must give: the whole network, in which every sum over an axis sees zeros
 * where its indices are removed. Sums over zeros are exact, so results are compared bit for bit, up to the
 * sign of zero.
 *
 * The sums are found by the axis maps, like the ties; what the ties make of the maps (which index of which
 * constant is cut, which attribute changes) is what is tested, and that no map forgets where an index goes:
 * then what is removed here would reach an output there.
 */
#include "tests/random/masked.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_summed(AxisRole role) {
  return role == AXIS_CONTRACT || role == AXIS_GROUPS || role == AXIS_STATE;
}

static bool is_multiplied(Dtype dtype) {
  return (dtype_is_float(dtype) || dtype_is_int(dtype)) && !dtype_is_storage(dtype);
}

/* x times 0 where indices of its axis are removed; x itself when none are. */
static Value *masked(Builder *builder, Value *x, int axis, const Ties *ties, const Value *original,
                     const bool *removed) {
  const Type *type = x->type;
  int64_t dims[MAX_RANK], count = 0;
  for (int i = 0; i < type->rank; i++) dims[i] = 1;
  if (!dim_is_const(type->dims[axis])) return x;
  dims[axis] = type->dims[axis]->value;
  Data *mask = data_new(builder->graph->module, type->dtype, dims[axis]);
  for (int64_t i = 0; i < dims[axis]; i++) {
    int unit = ties_unit(ties, original, axis, i);
    bool gone = unit >= 0 && removed[unit];
    dtype_set(type->dtype, data_bytes(mask), i, gone ? 0 : 1);
    count += gone;
  }
  if (count == 0) return x;
  const Type *mask_type = type_static(builder->graph->module, type->dtype, type->rank, dims);
  return build_binary(builder, &op_mul, x, build_const(builder, mask_type, mask, NULL));
}

void mask_removed(const Ties *ties, Graph *copy, const bool *removed) {
  const Node *original = ties->graph->first;
  FOR_EACH_NODE_SAFE(node, copy) {
    Builder builder = builder_before(node);
    for (int k = 0; k < original->operand_count; k++) {
      AxisLink links[MAX_RANK];
      if (!operand(original, k) || !is_multiplied(operand(original, k)->type->dtype)) continue;
      op_axes(original, k, links);
      for (int i = 0; i < operand(original, k)->type->rank; i++)
        if (is_summed(links[i].role))
          operand_set(node, k, masked(&builder, operand(node, k), i, ties, operand(original, k), removed));
    }
    original = original->next;
  }
}

static bool tensors_equal(const char *name, const Tensor *want, const Tensor *got) {
  if (want->rank != got->rank ||
      memcmp(want->dims, got->dims, sizeof *want->dims * (size_t)want->rank) != 0) {
    printf("  %s has another shape\n", name);
    return false;
  }
  for (int64_t i = 0; i < tensor_count(want); i++) {
    double a = dtype_get(want->dtype, want->data, i), b = dtype_get(got->dtype, got->data, i);
    if (a == b || isnan(a)) continue; /* what overflowed is not compared */
    printf("  %s[%lld] is %.9g, not %.9g\n", name, (long long)i, b, a);
    return false;
  }
  return true;
}

bool removal_is_exact(const Ties *ties, const bool *removed, const Tensor *inputs) {
  const Graph *graph = ties->graph;
  Graph *whole = graph_clone(graph->module, graph, NULL), *less = graph_clone(graph->module, graph, NULL);
  Tensor *want = calloc((size_t)graph->output_count, sizeof *want),
         *got = calloc((size_t)graph->output_count, sizeof *got);
  mask_removed(ties, whole, removed);
  bool ok = ties_remove(ties, less, removed) && graph_verify(less) && graph_interpret(whole, inputs, want) &&
            graph_interpret(less, inputs, got);
  for (int i = 0; ok && i < graph->output_count; i++)
    ok = tensors_equal(graph->output_names[i], &want[i], &got[i]);
  for (int i = 0; i < graph->output_count; i++) {
    tensor_free(&want[i]);
    tensor_free(&got[i]);
  }
  free(want);
  free(got);
  return ok;
}
