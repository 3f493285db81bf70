/*
 * top_k.c -- the k best elements of a row and their positions, best first; of equal elements the earlier.
 *
 * A heap of the k best so far, the worst on top, lies in the result; what is better takes the place of the
 * top. At the end the top goes behind the others, again and again, which leaves them sorted: n log k, and
 * nearly n when k is small, because few elements get past the top.
 */
#include "elements.h"

typedef struct Row {
  const View *x, *heap;
  Order order;
  uint64_t flip; /* all bits: the smallest are the best */
} Row;

static uint64_t key(const Row *row, int64_t position) {
  return key_at(row->order, row->x->data + position * row->x->strides[0]) ^ row->flip;
}

static bool is_worse(const Row *row, int64_t a, int64_t b) {
  uint64_t x = key(row, a), y = key(row, b);
  return x != y ? x < y : a > b;
}

/* Puts `position` at `at` or below it, in a heap of `count`. */
static void sift(const Row *row, int64_t at, int64_t count, int64_t position) {
  for (int64_t child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && is_worse(row, *int_at(row->heap, child + 1), *int_at(row->heap, child))) child++;
    if (!is_worse(row, *int_at(row->heap, child), position)) break;
    *int_at(row->heap, at) = *int_at(row->heap, child);
  }
  *int_at(row->heap, at) = position;
}

static void select_best(const Row *row, int64_t n, int64_t k) {
  for (int64_t i = 0; i < k; i++) *int_at(row->heap, i) = i;
  for (int64_t i = k / 2; i-- > 0;) sift(row, i, k, *int_at(row->heap, i));
  uint64_t top = k > 0 ? key(row, *int_at(row->heap, 0)) : UINT64_MAX;
  for (int64_t i = k; i < n; i++) {
    if (key(row, i) <= top) continue;
    sift(row, 0, k, i);
    top = key(row, *int_at(row->heap, 0));
  }
}

static void sort_best(const Row *row, int64_t k) {
  for (int64_t last = k - 1; last > 0; last--) {
    int64_t worst = *int_at(row->heap, 0);
    sift(row, 0, last, *int_at(row->heap, last));
    *int_at(row->heap, last) = worst;
  }
}

void tenon_kernel_top_k(const View *views, const int64_t *numbers) {
  const View *x = &views[0], *values = &views[1], *indices = &views[2];
  const Row row = {x, indices, order_of(x->dtype), numbers[0] ? 0 : UINT64_MAX};
  int64_t k = smaller(x->sizes[0], smaller(values->sizes[0], indices->sizes[0]));
  select_best(&row, x->sizes[0], k);
  sort_best(&row, k);
  for (int64_t i = k; i < indices->sizes[0]; i++) *int_at(indices, i) = 0;
  for (int64_t i = 0; i < values->sizes[0]; i++) {
    uint64_t bits = 0;
    if (i < k) bits = load_bits(x->data + *int_at(indices, i) * x->strides[0], row.order.width);
    store_bits(values->data + i * values->strides[0], row.order.width, bits);
  }
}
