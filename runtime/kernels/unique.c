/*
 * unique.c -- the distinct slices along an axis: each once, where it stands first, how often, and for every
 * slice which of them it is.
 *
 * The positions are sorted in the place of `first`; equal neighbours are one group, and as the
 * earlier of them comes first, it is the one to keep. A group's number is never above the position where it
 * is written, so all results are made where they stay. In order of appearance groups are numbered anew:
 * `counts` is the map from the old numbers while that lasts.
 */
#include "sort.h"

struct Keys {
  const View *x, *values, *first, *inverse, *counts;
  Order order;
  int axis;
  int64_t n;
  bool empty; /* no elements in a slice: all are equal */
};

/* Moves along all axes but the one of the slices, in two tensors at once; false behind the last position. */
static bool advance(const Keys *s, int64_t *at, const View *other, unsigned char **x, unsigned char **y) {
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

static unsigned char *slice_at(const Keys *s, const View *view, int64_t i) {
  return view->data + i * view->strides[s->axis];
}

/* Below, above or equal to 0 as slice a is before, behind or equal to slice b. */
static int compare(const Keys *s, int64_t a, int64_t b) {
  unsigned char *x = slice_at(s, s->x, a), *y = slice_at(s, s->x, b);
  int64_t at[TENON_MAX_RANK] = {0};
  if (s->empty) return 0;
  do {
    uint64_t p = key_at(s->order, x), q = key_at(s->order, y);
    if (p != q) return p < q ? -1 : 1;
  } while (advance(s, at, s->x, &x, &y));
  return 0;
}

static bool is_before(const Keys *keys, int64_t a, int64_t b) {
  int order = compare(keys, a, b);
  return order != 0 ? order < 0 : a < b;
}

/* From sorted positions to groups: inverse, and first of each. */
static int64_t find_groups(const Keys *s) {
  int64_t groups = 0, last = 0;
  for (int64_t i = 0; i < s->n; i++) {
    int64_t position = *int_at(s->first, i);
    if (i == 0 || compare(s, last, position) != 0) *int_at(s->first, groups++) = last = position;
    *int_at(s->inverse, position) = groups - 1;
  }
  return groups;
}

static void number_by_appearance(const Keys *s) {
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
static void write_slice(const Keys *s, int64_t to, int64_t from) {
  unsigned char *y = slice_at(s, s->values, to), *x = slice_at(s, s->x, from < 0 ? 0 : from);
  int64_t at[TENON_MAX_RANK] = {0};
  if (s->empty) return;
  do store_bits(y, s->order.width, from < 0 ? 0 : load_bits(x, s->order.width));
  while (advance(s, at, s->values, &x, &y));
}

static void write_groups(const Keys *s, int64_t groups) {
  for (int64_t i = 0; i < s->n; i++) *int_at(s->counts, i) = 0;
  for (int64_t i = 0; i < s->n; i++) ++*int_at(s->counts, *int_at(s->inverse, i));
  for (int64_t i = groups; i < s->n; i++) *int_at(s->first, i) = 0;
  for (int64_t i = 0; i < s->n; i++) write_slice(s, i, i < groups ? *int_at(s->first, i) : -1);
}

/* Whether the results have the sizes that go with x. */
static bool fits(const Keys *s) {
  if (s->axis < 0 || s->axis >= s->x->rank || s->values->rank != s->x->rank) return false;
  for (int axis = 0; axis < s->x->rank; axis++)
    if (s->values->sizes[axis] != s->x->sizes[axis]) return false;
  int64_t n = s->x->sizes[s->axis];
  return s->first->sizes[0] == n && s->inverse->sizes[0] == n && s->counts->sizes[0] == n;
}

void tenon_kernel_unique(const View *views, const int64_t *numbers) {
  Keys s = {
      .x = &views[0], .values = &views[1], .first = &views[2], .inverse = &views[3], .counts = &views[4]};
  int64_t *count = (int64_t *)views[5].data;
  s.axis = numbers[0] >= 0 && numbers[0] < s.x->rank ? (int)numbers[0] : -1;
  s.order = order_of(s.x->dtype);
  *count = 0;
  if (!fits(&s)) return;
  s.n = s.x->sizes[s.axis];
  for (int axis = 0; axis < s.x->rank; axis++)
    if (axis != s.axis && s.x->sizes[axis] == 0) s.empty = true;
  for (int64_t i = 0; i < s.n; i++) *int_at(s.first, i) = i;
  sort_list(&s, s.first, s.n);
  *count = find_groups(&s);
  if (!numbers[1]) number_by_appearance(&s);
  write_groups(&s, *count);
}
