/* build.c -- inputs, weights and results of the cases. */
#include "tests/checkop/checkop.h"

#include <stdlib.h>

double next_random(Check *check) { /* xorshift64*, uniform in [-1, 1) */
  check->seed ^= check->seed >> 12;
  check->seed ^= check->seed << 25;
  check->seed ^= check->seed >> 27;
  return (double)(int64_t)(check->seed * 2685821657736338717u) / 9223372036854775808.0;
}

const Type *shape(Check *check, int rank, const int64_t *dims) {
  return type_static(check->module, DTYPE_F32, rank, dims);
}

const Type *open_shape(Check *check, int rank, const int64_t *dims) {
  const Dim *sizes[MAX_RANK] = {NULL};
  for (int i = 0; i < rank; i++)
    sizes[i] = dims[i] == OPEN ? dim_symbol(check->module, "S") : dim_const(check->module, dims[i]);
  return type_make(check->module, DTYPE_F32, rank, sizes);
}

/* The columns but the first two and the last of `whole`, which is an input. */
Value *middle_columns(Check *check, Value *whole, const Type *type) {
  const Dim *starts[MAX_RANK];
  for (int i = 0; i < type->rank; i++) starts[i] = dim_const(check->module, i + 1 < type->rank ? 0 : 2);
  Node *slice = node_new(&check->builder, &op_slice, &whole, 1);
  node_set_dims(slice, "starts", starts, type->rank);
  node_set_dims(slice, "sizes", type->dims, type->rank);
  return node_finish(slice) ? result(slice, 0) : NULL;
}

Value *input(Check *check, int rank, const int64_t *dims) {
  const Type *type = open_shape(check, rank, dims);
  if (!check->parts) return graph_add_input(check->module->main, "x", type);
  const Dim *wide[MAX_RANK];
  for (int i = 0; i < rank; i++) wide[i] = type->dims[i];
  wide[rank - 1] = dim_add(check->module, wide[rank - 1], dim_const(check->module, 3));
  Value *whole = graph_add_input(check->module->main, "x", type_make(check->module, DTYPE_F32, rank, wide));
  return middle_columns(check, whole, type);
}

/* A constant of matrices in its last two axes, with zeros if the check wants them. */
Value *weight_of(Check *check, const Type *type, Data *data) {
  enum { COLUMNS = 16, ROWS = 4 };
  static const unsigned kept[] = {3, 5, 6, 9, 10, 12, 8, 0};
  int64_t n = type->dims[type->rank - 1]->value, k = type->rank > 1 ? type->dims[type->rank - 2]->value : 0;
  for (int64_t row = 0; check->zeros > 0 && k > 0 && row < data->count / n; row++)
    for (int64_t column = 0; column < n; column++) {
      int64_t first = check->single ? row : row / k * k + row % k / ROWS * ROWS;
      unsigned rows = kept[(uint64_t)(first * 977 + column) * 2654435761u % COUNT_OF(kept)];
      if (check->halves && !(rows >> row % k % ROWS & 1))
        dtype_set(data->dtype, data_bytes(data), row * n + column, 0);
      if (check->halves) continue;
      uint64_t block = (uint64_t)first * 977 + (uint64_t)(check->single ? column : column / COLUMNS);
      if ((double)(block * 2654435761u % 1000) < 1000 * check->zeros)
        dtype_set(data->dtype, data_bytes(data), row * n + column, 0);
    }
  return build_const(&check->builder, type, data, NULL);
}

Value *weight_within(Check *check, int rank, const int64_t *dims, double size) {
  const Type *type = shape(check, rank, dims);
  Data *data = data_new(check->module, DTYPE_F32, type_static_count(type));
  for (int64_t i = 0; i < data->count; i++)
    dtype_set(DTYPE_F32, data_bytes(data), i, size * next_random(check));
  return weight_of(check, type, data);
}

Value *weight(Check *check, int rank, const int64_t *dims) {
  return weight_within(check, rank, dims, 1);
}

/* The value in the middle of a concat. */
static Value *among_others(Check *check, Value *value) {
  Value *parts[] = {build_unary(&check->builder, &op_tanh, value), value,
                    build_unary(&check->builder, &op_abs, value)};
  Node *concat = node_new(&check->builder, &op_concat, parts, 3);
  node_set_int(concat, "axis", -1);
  return node_finish(concat) ? result(concat, 0) : NULL;
}

void done(Check *check, Value *value, char *name) {
  if (value && check->parts && value->type->rank > 0) value = among_others(check, value);
  if (!value) {
    diags_print(check->module, stderr, 10);
    exit(1);
  }
  check->outputs[check->count] = value;
  check->names[check->count++] = name;
  if (check->once) check->parts = !check->parts;
}
