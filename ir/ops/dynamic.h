/*
 * dynamic.h -- what the operators share whose results get their sizes while a graph runs (control.c,
 * sequence.c).
 *
 * Such a node lists the symbols that it gives values to in its attribute `symbols`; infer hands them out in
 * order, and adds new ones when there are not enough, so a node that is checked again has the same types.
 */
#ifndef TENON_OPS_DYNAMIC_H
#define TENON_OPS_DYNAMIC_H

#include "ir/ops/ops.h"

#define SYMBOLS_ATTR                                                                                         \
  {.name = "symbols", .kind = ATTR_DIMS, .value = "[]", .doc = "the sizes that are known when it has run"}

typedef struct NewSizes {
  Node *node;
  int count; /* handed out so far */
} NewSizes;
const Dim *new_size(NewSizes *sizes);
/* For type_join: context is a NewSizes. */
const Dim *new_size_of_axis(void *sizes, int axis);
/* A tensor type as `type`, with new sizes where that says nothing. */
const Type *type_with_new_sizes(NewSizes *sizes, const Type *type);
/* Every symbol is one, and comes once. */
bool check_symbols(const Node *node);

bool check_form(const Node *node, int index, Form form);
/* A tensor without axes of the dtype. */
bool check_scalar(const Node *node, int index, Dtype dtype);

#endif
