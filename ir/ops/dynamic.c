/* dynamic.c -- see dynamic.h. */
#include "ir/ops/dynamic.h"

static void add_symbol(Node *node, const Dim *symbol) {
  int count;
  const Dim *const *symbols = node_dims(node, "symbols", &count);
  const Dim **more = NEW_ARRAY(node_module(node)->arena, const Dim *, count + 1);
  for (int i = 0; i < count; i++) more[i] = symbols[i];
  more[count] = symbol;
  node_set_dims(node, "symbols", more, count + 1);
}

const Dim *new_size(NewSizes *sizes) {
  int count;
  const Dim *const *symbols = node_dims(sizes->node, "symbols", &count);
  if (sizes->count < count) return symbols[sizes->count++];
  const Dim *symbol = dim_new_symbol(node_module(sizes->node));
  add_symbol(sizes->node, symbol);
  sizes->count++;
  return symbol;
}

const Dim *new_size_of_axis(void *sizes, int axis) {
  (void)axis;
  return new_size(sizes);
}

const Type *type_with_new_sizes(NewSizes *sizes, const Type *type) {
  Module *module = node_module(sizes->node);
  const Dim *dims[MAX_RANK];
  if (type->rank == RANK_UNKNOWN) return type_unknown_rank(module, type->dtype);
  for (int i = 0; i < type->rank; i++)
    dims[i] = dim_says_nothing(type->dims[i]) ? new_size(sizes) : type->dims[i];
  return type_make(module, type->dtype, type->rank, dims);
}

bool check_symbols(const Node *node) {
  int count;
  const Dim *const *symbols = node_dims(node, "symbols", &count);
  for (int i = 0; i < count; i++) {
    if (symbols[i]->kind != DIM_SYMBOL || dim_says_nothing(symbols[i]))
      return node_fail(node, "'%s' is not the name of a size", dim_text(node_module(node), symbols[i]));
    for (int j = 0; j < i; j++)
      if (symbols[i] == symbols[j]) return node_fail(node, "size '%s' comes twice", symbols[i]->symbol);
  }
  return true;
}

bool check_form(const Node *node, int index, Form form) {
  static const char *const names[] = {"a tensor", "a sequence", "an optional tensor", "an optional sequence"};
  if (operand(node, index)->type->form == form) return true;
  return node_fail(node, "operand %d is %s, not %s", index, operand_text(node, index), names[form]);
}

bool check_scalar(const Node *node, int index, Dtype dtype) {
  const Type *type = operand(node, index)->type;
  if (type_is_tensor(type) && type->dtype == dtype && type->rank == 0) return true;
  return node_fail(node, "operand %d is %s, not a scalar of %s", index, operand_text(node, index),
                   dtype_name(dtype));
}
