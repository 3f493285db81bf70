/* type.c -- interned tensor types and numpy broadcasting of shapes. */
#include "ir/intern.h"
#include "ir/text.h"

#include <assert.h>
#include <string.h>

static bool type_equal(const void *item, const void *key) {
  const Type *a = item, *b = key;
  return a->form == b->form && a->dtype == b->dtype && type_same_shape(a, b);
}

static const Type *type_intern(Module *module, Type type) {
  size_t size = sizeof *type.dims * (size_t)(type.rank > 0 ? type.rank : 0);
  uint64_t hash = hash_bytes(type.dims, size, (uint64_t)type.dtype * 8 + (uint64_t)type.form);
  Type *found = table_find(&module->interns->types, hash, &type, type_equal);
  if (found) return found;
  found = arena_copy(module->arena, &type, sizeof type);
  found->dims = arena_copy(module->arena, type.dims, size);
  table_add(module->arena, &module->interns->types, hash, found);
  return found;
}

const Type *type_make(Module *module, Dtype dtype, int rank, const Dim *const *dims) {
  assert(rank >= 0 && rank <= MAX_RANK);
  return type_intern(module, (Type){.dtype = dtype, .rank = rank, .dims = dims});
}

const Type *type_unknown_rank(Module *module, Dtype dtype) {
  return type_intern(module, (Type){.dtype = dtype, .rank = RANK_UNKNOWN});
}

const Type *type_empty_sequence(Module *module, Dtype dtype) {
  return type_intern(module, (Type){.form = FORM_SEQUENCE, .dtype = dtype, .rank = RANK_NONE});
}

const Type *type_with_form(Module *module, const Type *type, Form form) {
  Type other = *type;
  other.form = form;
  return type_intern(module, other);
}

bool type_is_tensor(const Type *type) {
  return type->form == FORM_TENSOR && type->rank >= 0;
}

/* ---- tensors in sequences, and types that meet ---- */

static const char says_nothing[] = "_";

bool dim_says_nothing(const Dim *dim) {
  return dim->kind == DIM_SYMBOL && strcmp(dim->symbol, says_nothing) == 0;
}

const Type *type_forget_symbols(Module *module, const Type *type) {
  const Dim *dims[MAX_RANK];
  for (int i = 0; i < type->rank; i++)
    dims[i] = dim_is_const(type->dims[i]) ? type->dims[i] : dim_symbol(module, says_nothing);
  return type_intern(module, (Type){type->form, type->dtype, type->rank, dims});
}

/* Whether an optional value can hold a value of another form. */
static bool form_has_room(Form optional, Form form) {
  return (optional == FORM_OPTIONAL && form == FORM_TENSOR) ||
         (optional == FORM_OPTIONAL_SEQUENCE && form == FORM_SEQUENCE);
}

bool type_has_room(const Type *type, const Type *from, bool (*takes)(const void *context, const Dim *dim),
                   const void *context) {
  if (type == from) return true;
  if (type->dtype != from->dtype) return false;
  if (type->form != from->form && !form_has_room(type->form, from->form)) return false;
  if (type->rank == RANK_UNKNOWN || from->rank == RANK_NONE) return true;
  if (type->rank != from->rank) return false;
  for (int i = 0; i < type->rank; i++)
    if (type->dims[i] != from->dims[i] && !dim_says_nothing(type->dims[i]) && !takes(context, type->dims[i]))
      return false;
  return true;
}

static const Dim *forget(void *module, int axis) {
  (void)axis;
  return dim_symbol(module, says_nothing);
}

const Type *type_join(Module *module, const Type *a, const Type *b,
                      const Dim *(*next)(void *context, int axis), void *context) {
  if (a == b) return a;
  if (a->dtype != b->dtype) return NULL;
  if (form_has_room(b->form, a->form)) a = type_with_form(module, type_forget_symbols(module, a), b->form);
  if (form_has_room(a->form, b->form)) b = type_with_form(module, type_forget_symbols(module, b), a->form);
  if (a == b) return a;
  if (a->form != b->form) return NULL;
  Type join = {.form = a->form, .dtype = a->dtype, .rank = a->rank};
  const Dim *dims[MAX_RANK];
  if (a->form != FORM_TENSOR) next = forget, context = module;
  if (a->rank == RANK_NONE || b->rank == RANK_NONE) return a->rank == RANK_NONE ? b : a;
  if (a->rank != b->rank) join.rank = RANK_UNKNOWN;
  for (int i = 0; i < join.rank; i++) dims[i] = a->dims[i] == b->dims[i] ? a->dims[i] : next(context, i);
  join.dims = dims;
  return type_intern(module, join);
}

/* ---- shapes ---- */

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
  Type other = *type;
  other.dtype = dtype;
  return type_intern(module, other);
}

const Type *type_import(Module *module, const Type *type) {
  const Dim *dims[MAX_RANK];
  for (int i = 0; i < type->rank; i++) dims[i] = dim_import(module, type->dims[i]);
  return type_intern(module, (Type){type->form, type->dtype, type->rank, dims});
}

bool type_is_static(const Type *type) {
  if (!type_is_tensor(type)) return false;
  for (int i = 0; i < type->rank; i++)
    if (!dim_is_const(type->dims[i])) return false;
  return true;
}

const Dim *type_count(Module *module, const Type *type) {
  const Dim *count = dim_const(module, 1);
  assert(type_is_tensor(type));
  for (int i = 0; i < type->rank; i++) count = dim_mul(module, count, type->dims[i]);
  return count;
}

int64_t type_static_count(const Type *type) {
  int64_t count = 1;
  bool overflow = false, empty = false;
  if (!type_is_tensor(type)) return -1;
  for (int i = 0; i < type->rank; i++) {
    if (!dim_is_const(type->dims[i]) || type->dims[i]->value < 0) return -1;
    empty |= type->dims[i]->value == 0;
    overflow |= __builtin_mul_overflow(count, type->dims[i]->value, &count);
  }
  return empty ? 0 : overflow ? -1 : count;
}

const Dim *type_bytes(Module *module, const Type *type) {
  const Dim *count = type_count(module, type);
  int bits = dtype_bits(type->dtype);
  if (bits % 8 == 0) return dim_mul(module, count, dim_const(module, bits / 8));
  return dim_ceildiv(module, dim_mul(module, count, dim_const(module, bits)), dim_const(module, 8));
}

bool type_same_shape(const Type *a, const Type *b) {
  return a->rank == b->rank &&
         (a->rank <= 0 || memcmp(a->dims, b->dims, sizeof *a->dims * (size_t)a->rank) == 0);
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
  static const char *const forms[] = {"", "sequence ", "optional ", "optional sequence "};
  text_add(text, forms[type->form]);
  text_add(text, dtype_name(type->dtype));
  if (type->rank < 0) text_add(text, type->rank == RANK_NONE ? "[]" : "[*]");
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
