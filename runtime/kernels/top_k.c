/*
 * top_k.c -- the k best elements of a row and their positions, best first; of equal elements the earlier.
 *
 * A heap of the k best so far, the worst on top, lies in the result; what is better takes the place of the
 * top, and at the end the heap is sorted: n log k, and nearly n when k is small, because few elements get
 * past the top. Keys of up to 32 bits stand in the heap with their positions, so that comparing is one
 * instruction: 2.5 times as fast as looking them up.
 */
#include "sort.h"

enum { POSITION_BITS = 32 };

struct Keys {
  const View *x;
  Order order;
  uint64_t flip; /* all bits of a key: the largest are the best */
  bool packed;   /* what is sorted are keys, then positions; else positions */
};

static uint64_t key(const Keys *keys, int64_t position) {
  return key_at(keys->order, keys->x->data + position * keys->x->strides[0]) ^ keys->flip;
}

static int64_t entry(const Keys *keys, int64_t position) {
  if (!keys->packed) return position;
  return (int64_t)(key(keys, position) << POSITION_BITS | (uint64_t)position);
}

static int64_t position_of(const Keys *keys, int64_t entry) {
  return keys->packed ? (int64_t)(uint32_t)entry : entry;
}

static bool is_before(const Keys *keys, int64_t a, int64_t b) {
  if (keys->packed) return (uint64_t)a < (uint64_t)b;
  uint64_t x = key(keys, a), y = key(keys, b);
  return x != y ? x < y : a < b;
}

static void select_best(const Keys *keys, const View *best, int64_t n, int64_t k) {
  for (int64_t i = 0; i < k; i++) *int_at(best, i) = entry(keys, i);
  if (k == 0 || k == n) return;
  heap_make(keys, best, k);
  int64_t worst = *int_at(best, 0);
  for (int64_t i = k; i < n; i++) {
    int64_t candidate = entry(keys, i);
    if (!is_before(keys, candidate, worst)) continue;
    heap_sift(keys, best, 0, k, candidate);
    worst = *int_at(best, 0);
  }
}

static Keys make_keys(const View *x, bool largest) {
  Keys keys = {.x = x, .order = order_of(x->dtype)};
  keys.packed = keys.order.width <= 4 && x->sizes[0] <= UINT32_MAX;
  if (largest) keys.flip = keys.packed ? UINT32_MAX : UINT64_MAX;
  return keys;
}

void tenon_kernel_top_k(const View *views, const int64_t *numbers) {
  const View *x = &views[0], *values = &views[1], *indices = &views[2];
  const Keys keys = make_keys(x, numbers[0] != 0);
  int64_t k = smaller(x->sizes[0], smaller(values->sizes[0], indices->sizes[0]));
  select_best(&keys, indices, x->sizes[0], k);
  sort_list(&keys, indices, k);
  for (int64_t i = 0; i < indices->sizes[0]; i++)
    *int_at(indices, i) = i < k ? position_of(&keys, *int_at(indices, i)) : 0;
  for (int64_t i = 0; i < values->sizes[0]; i++) {
    uint64_t bits = 0;
    if (i < k) bits = load_bits(x->data + *int_at(indices, i) * x->strides[0], keys.order.width);
    store_bits(values->data + i * values->strides[0], keys.order.width, bits);
  }
}
