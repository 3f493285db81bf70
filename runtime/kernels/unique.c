/*
 * unique.c -- the distinct slices along an axis: each once, where it stands first, how often, and for every
 * slice which of them it is.
 *
 * The positions are sorted by heap in the place of `first`; equal neighbours are one group, and as the
 * earlier of them comes first, it is the one to keep. A group's number is never above the position where it
 * is written, so all results are made where they stay. In order of appearance groups are numbered anew:
 * `counts` is the map from the old numbers while that lasts.
 */
#include "elements.h"

typedef struct Slices {
  const View *x, *values, *first, *inverse, *counts;
  Order order;
  int axis;
  int64_t n;
  bool empty; /* no elements in a slice: all are equal */
} Slices;

/* Moves along all axes but the one of the slices, in two tensors at once; false behind the last position. */
static bool advance(const Slices *s, int64_t *at, const View *other, unsigned char **x, unsigned char **y) {
  for (int axis = s->x->rank - 1; axis >= 0; axis--) {
    if (axis == s->axis) continue;
    *x += s->x->strides[axis];
    *y += other->strides[axis];
    if (++at[axis] < s->x->sizes[axis]) return true;
    *x -= s->x->sizes[axis] * s->x->strides[axis];
    *y -= s->x->sizes[axis] * other->strides[axis];
    at[axis] = 0;
  }
  return false;
}

static unsigned char *slice_at(const Slices *s, const View *view, int64_t i) {
  return view->data + i * view->strides[s->axis];
}

/* Below, above or equal to 0 as slice a is before, behind or equal to slice b. */
static int compare(const Slices *s, int64_t a, int64_t b) {
  unsigned char *x = slice_at(s, s->x, a), *y = slice_at(s, s->x, b);
  int64_t at[TENON_MAX_RANK] = {0};
  if (s->empty) return 0;
  do {
    uint64_t p = key_at(s->order, x), q = key_at(s->order, y);
    if (p != q) return p < q ? -1 : 1;
  } while (advance(s, at, s->x, &x, &y));
  return 0;
}

static bool is_behind(const Slices *s, int64_t a, int64_t b) {
  int order = compare(s, a, b);
  return order != 0 ? order > 0 : a > b;
}

/* Puts `position` at `at` or below it, in a heap of `count` with the last on top. */
static void sift(const Slices *s, int64_t at, int64_t count, int64_t position) {
  for (int64_t child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && is_behind(s, *int_at(s->first, child + 1), *int_at(s->first, child))) child++;
    if (!is_behind(s, *int_at(s->first, child), position)) break;
    *int_at(s->first, at) = *int_at(s->first, child);
  }
  *int_at(s->first, at) = position;
}

static void sort_positions(const Slices *s) {
  for (int64_t i = 0; i < s->n; i++) *int_at(s->first, i) = i;
  for (int64_t i = s->n / 2; i-- > 0;) sift(s, i, s->n, *int_at(s->first, i));
  for (int64_t last = s->n - 1; last > 0; last--) {
    int64_t top = *int_at(s->first, 0);
    sift(s, 0, last, *int_at(s->first, last));
    *int_at(s->first, last) = top;
  }
}

/* From sorted positions to groups: inverse, and first of each. */
static int64_t find_groups(const Slices *s) {
  int64_t groups = 0, last = 0;
  for (int64_t i = 0; i < s->n; i++) {
    int64_t position = *int_at(s->first, i);
    if (i == 0 || compare(s, last, position) != 0) *int_at(s->first, groups++) = last = position;
    *int_at(s->inverse, position) = groups - 1;
  }
  return groups;
}

static void number_by_appearance(const Slices *s) {
  int64_t groups = 0;
  for (int64_t i = 0; i < s->n; i++) {
    int64_t group = *int_at(s->inverse, i);
    if (*int_at(s->first, group) == i) *int_at(s->counts, group) = groups++;
  }
  groups = 0;
  for (int64_t i = 0; i < s->n; i++) {
    int64_t group = *int_at(s->counts, *int_at(s->inverse, i));
    *int_at(s->inverse, i) = group;
    if (group == groups) *int_at(s->first, groups++) = i;
  }
}

/* Slice `from` of x; below 0: zeros. */
static void write_slice(const Slices *s, int64_t to, int64_t from) {
  unsigned char *y = slice_at(s, s->values, to), *x = slice_at(s, s->x, from < 0 ? 0 : from);
  int64_t at[TENON_MAX_RANK] = {0};
  if (s->empty) return;
  do store_bits(y, s->order.width, from < 0 ? 0 : load_bits(x, s->order.width));
  while (advance(s, at, s->values, &x, &y));
}

static void write_groups(const Slices *s, int64_t groups) {
  for (int64_t i = 0; i < s->n; i++) *int_at(s->counts, i) = 0;
  for (int64_t i = 0; i < s->n; i++) ++*int_at(s->counts, *int_at(s->inverse, i));
  for (int64_t i = groups; i < s->n; i++) *int_at(s->first, i) = 0;
  for (int64_t i = 0; i < s->n; i++) write_slice(s, i, i < groups ? *int_at(s->first, i) : -1);
}

/* Whether the results have the sizes that go with x. */
static bool fits(const Slices *s) {
  if (s->axis < 0 || s->axis >= s->x->rank || s->values->rank != s->x->rank) return false;
  for (int axis = 0; axis < s->x->rank; axis++)
    if (s->values->sizes[axis] != s->x->sizes[axis]) return false;
  int64_t n = s->x->sizes[s->axis];
  return s->first->sizes[0] == n && s->inverse->sizes[0] == n && s->counts->sizes[0] == n;
}

void tenon_kernel_unique(const View *views, const int64_t *numbers) {
  Slices s = {
      .x = &views[0], .values = &views[1], .first = &views[2], .inverse = &views[3], .counts = &views[4]};
  int64_t *count = (int64_t *)views[5].data;
  s.axis = numbers[0] >= 0 && numbers[0] < s.x->rank ? (int)numbers[0] : -1;
  s.order = order_of(s.x->dtype);
  *count = 0;
  if (!fits(&s)) return;
  s.n = s.x->sizes[s.axis];
  for (int axis = 0; axis < s.x->rank; axis++)
    if (axis != s.axis && s.x->sizes[axis] == 0) s.empty = true;
  sort_positions(&s);
  *count = find_groups(&s);
  if (!numbers[1]) number_by_appearance(&s);
  write_groups(&s, *count);
}
