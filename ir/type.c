/* type.c -- interned tensor types and numpy broadcasting of shapes. */
#include "ir/intern.h"
#include "ir/text.h"

#include <assert.h>
#include <string.h>

static bool type_equal(const void *item, const void *key) {
  const Type *a = item, *b = key;
  return a->dtype == b->dtype && type_same_shape(a, b);
}

const Type *type_make(Module *module, Dtype dtype, int rank, const Dim *const *dims) {
  assert(rank >= 0 && rank <= MAX_RANK);
  const Type type = {.dtype = dtype, .rank = rank, .dims = dims};
  uint64_t hash = hash_bytes(dims, sizeof *dims * (size_t)rank, (uint64_t)dtype);
  Type *found = table_find(&module->interns->types, hash, &type, type_equal);
  if (found) return found;
  found = arena_copy(module->arena, &type, sizeof type);
  found->dims = arena_copy(module->arena, dims, sizeof *dims * (size_t)rank);
  table_add(module->arena, &module->interns->types, hash, found);
  return found;
}

const Type *type_static(Module *module, Dtype dtype, int rank, const int64_t *dims) {
  const Dim *sizes[MAX_RANK];
  assert(rank >= 0 && rank <= MAX_RANK);
  for (int i = 0; i < rank; i++) sizes[i] = dim_const(module, dims[i]);
  return type_make(module, dtype, rank, sizes);
}

const Type *type_scalar(Module *module, Dtype dtype) {
  return type_make(module, dtype, 0, NULL);
}

const Type *type_with_dtype(Module *module, const Type *type, Dtype dtype) {
  return type_make(module, dtype, type->rank, type->dims);
}

const Type *type_import(Module *module, const Type *type) {
  const Dim *dims[MAX_RANK];
  for (int i = 0; i < type->rank; i++) dims[i] = dim_import(module, type->dims[i]);
  return type_make(module, type->dtype, type->rank, dims);
}

bool type_is_static(const Type *type) {
  for (int i = 0; i < type->rank; i++)
    if (!dim_is_const(type->dims[i])) return false;
  return true;
}

const Dim *type_count(Module *module, const Type *type) {
  const Dim *count = dim_const(module, 1);
  for (int i = 0; i < type->rank; i++) count = dim_mul(module, count, type->dims[i]);
  return count;
}

int64_t type_static_count(const Type *type) {
  int64_t count = 1;
  bool overflow = false, empty = false;
  for (int i = 0; i < type->rank; i++) {
    if (!dim_is_const(type->dims[i]) || type->dims[i]->value < 0) return -1;
    empty |= type->dims[i]->value == 0;
    overflow |= __builtin_mul_overflow(count, type->dims[i]->value, &count);
  }
  return empty ? 0 : overflow ? -1 : count;
}

bool type_same_shape(const Type *a, const Type *b) {
  return a->rank == b->rank &&
         (a->rank == 0 || memcmp(a->dims, b->dims, sizeof *a->dims * (size_t)a->rank) == 0);
}

bool type_broadcast(Module *module, const Type *a, const Type *b, Dtype dtype, const Type **result) {
  int rank = a->rank > b->rank ? a->rank : b->rank;
  const Dim *dims[MAX_RANK], *one = dim_const(module, 1);
  for (int i = 0; i < rank; i++) {
    int at_a = i - (rank - a->rank), at_b = i - (rank - b->rank);
    const Dim *x = at_a < 0 ? one : a->dims[at_a], *y = at_b < 0 ? one : b->dims[at_b];
    if (dim_is_const(x) && dim_is_const(y) && x != y && x != one && y != one) return false;
    dims[i] = dim_make(module, DIM_BCAST, x, y);
  }
  *result = type_make(module, dtype, rank, dims);
  return true;
}

void text_add_type(Text *text, const Type *type) {
  text_add(text, dtype_name(type->dtype));
  for (int i = 0; i < type->rank; i++) {
    text_add(text, i == 0 ? "[" : ",");
    text_add_dim(text, type->dims[i]);
  }
  if (type->rank > 0) text_add(text, "]");
}

char *type_text(Module *module, const Type *type) {
  Text text = {0};
  text_add_type(&text, type);
  return text_take(&text, module->arena);
}
