/* non_zero.c -- where the elements are that are not 0: a column of positions for each, in row-major order. */
#include "elements.h"

/* 0 of either sign. */
static bool is_zero(Order order, const unsigned char *at) {
  uint64_t bits = load_bits(at, order.width);
  return (order.infinity ? bits & (order.sign - 1) : bits) == 0;
}

static void write_column(const View *positions, int64_t column, const int64_t *at, int rank) {
  if (column >= positions->sizes[1]) return;
  for (int axis = 0; axis < positions->sizes[0]; axis++) {
    unsigned char *place = positions->data + axis * positions->strides[0] + column * positions->strides[1];
    *(int64_t *)place = at && axis < rank ? at[axis] : 0;
  }
}

/* Moves to the next position; false behind the last. */
static bool advance(const View *x, int64_t *at, const unsigned char **element) {
  for (int axis = x->rank - 1; axis >= 0; axis--) {
    *element += x->strides[axis];
    if (++at[axis] < x->sizes[axis]) return true;
    *element -= x->sizes[axis] * x->strides[axis];
    at[axis] = 0;
  }
  return false;
}

void tenon_kernel_non_zero(const View *views, const int64_t *numbers) {
  (void)numbers;
  const View *x = &views[0], *positions = &views[1], *count = &views[2];
  const Order order = order_of(x->dtype);
  const unsigned char *element = x->data;
  int64_t at[TENON_MAX_RANK] = {0}, found = 0;
  bool more = true;
  for (int axis = 0; axis < x->rank; axis++) more = more && x->sizes[axis] > 0;
  for (; more; more = advance(x, at, &element))
    if (!is_zero(order, element)) write_column(positions, found++, at, x->rank);
  *(int64_t *)count->data = found;
  for (int64_t column = found; column < positions->sizes[1]; column++)
    write_column(positions, column, NULL, 0);
}
