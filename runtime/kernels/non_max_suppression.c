/*
 * non_max_suppression.c -- for each batch and class the boxes that no better one overlaps too much.
 *
 * Boxes come in the order of their scores (top_k). One after the other is compared with those that were kept
 * of its class, which are found in the result: a box that overlaps none of them by more than the threshold is
 * kept, too.
 */
#include "elements.h"

typedef struct Corners {
  float low[2], high[2];
} Corners;

typedef struct Search {
  const View *boxes, *scores, *order, *kept;
  int64_t limit; /* of a class */
  float overlap, score;
  bool centered;
  int64_t count; /* kept so far */
} Search;

static float float_at(const View *view, int64_t i, int64_t j, int64_t k) {
  return *(const float *)(view->data + i * view->strides[0] + j * view->strides[1] + k * view->strides[2]);
}

static Corners corners_of(const Search *s, int64_t batch, int64_t box) {
  Corners c;
  for (int side = 0; side < 2; side++) {
    float a = float_at(s->boxes, batch, box, side), b = float_at(s->boxes, batch, box, side + 2);
    if (s->centered) {
      c.low[side] = a - b / 2;
      c.high[side] = a + b / 2;
    } else {
      c.low[side] = a < b ? a : b;
      c.high[side] = a < b ? b : a;
    }
  }
  return c;
}

static float area_of(const Corners *c) {
  return (c->high[0] - c->low[0]) * (c->high[1] - c->low[1]);
}

/* Whether the intersection is more than that part of the union. */
static bool overlap(const Corners *a, const Corners *b, float threshold) {
  Corners both;
  for (int side = 0; side < 2; side++) {
    both.low[side] = a->low[side] > b->low[side] ? a->low[side] : b->low[side];
    both.high[side] = a->high[side] < b->high[side] ? a->high[side] : b->high[side];
    if (!(both.low[side] < both.high[side])) return false;
  }
  float one = area_of(a), other = area_of(b), shared = area_of(&both), whole = one + other - shared;
  return one > 0 && other > 0 && whole > 0 && shared / whole > threshold;
}

static int64_t *kept_at(const Search *s, int64_t row, int64_t column) {
  return (int64_t *)(s->kept->data + row * s->kept->strides[0] + column * s->kept->strides[1]);
}

static void keep(Search *s, int64_t batch, int64_t class, int64_t box) {
  *kept_at(s, s->count, 0) = batch;
  *kept_at(s, s->count, 1) = class;
  *kept_at(s, s->count, 2) = box;
  s->count++;
}

static bool is_suppressed(const Search *s, int64_t batch, int64_t box, int64_t first) {
  Corners corners = corners_of(s, batch, box);
  for (int64_t i = first; i < s->count; i++) {
    Corners better = corners_of(s, batch, *kept_at(s, i, 2));
    if (overlap(&corners, &better, s->overlap)) return true;
  }
  return false;
}

static void search_class(Search *s, int64_t batch, int64_t class) {
  int64_t first = s->count, boxes = s->boxes->sizes[1];
  int64_t n = smaller(s->scores->sizes[2], s->order->sizes[2]);
  for (int64_t i = 0; i < n && s->count - first < s->limit && s->count < s->kept->sizes[0]; i++) {
    int64_t box = *(const int64_t *)(s->order->data + batch * s->order->strides[0] +
                                     class * s->order->strides[1] + i * s->order->strides[2]);
    bool candidate = float_at(s->scores, batch, class, i) > s->score && box >= 0 && box < boxes;
    if (candidate && !is_suppressed(s, batch, box, first)) keep(s, batch, class, box);
  }
}

void tenon_kernel_non_max_suppression(const View *views, const int64_t *numbers) {
  Search s = {.boxes = &views[0],
              .scores = &views[1],
              .order = &views[2],
              .kept = &views[6],
              .limit = *(const int64_t *)views[3].data,
              .overlap = *(const float *)views[4].data,
              .score = *(const float *)views[5].data,
              .centered = numbers[0] != 0};
  bool fits = s.boxes->sizes[2] == 4 && s.kept->sizes[1] == 3;
  int64_t batches = smaller(s.boxes->sizes[0], smaller(s.scores->sizes[0], s.order->sizes[0]));
  int64_t classes = smaller(s.scores->sizes[1], s.order->sizes[1]);
  for (int64_t batch = 0; fits && batch < batches; batch++)
    for (int64_t class = 0; class < classes; class ++) search_class(&s, batch, class);
  for (int64_t i = s.count; i < s.kept->sizes[0]; i++)
    for (int64_t column = 0; column < s.kept->sizes[1]; column++) *kept_at(&s, i, column) = 0;
  *(int64_t *)views[7].data = s.count;
}
