/*
 * sort.h -- lists of numbers, usually positions, in order, in place: heaps, and introsort (Musser 1997), a
 * quicksort that turns to a heap where it goes too deep, so that no input makes it slow.
 *
 * Who includes this has defined what is compared, a struct Keys, and is_before: a strict order in which no
 * two items are equal.
 */
#ifndef TENON_RUNTIME_SORT_H
#define TENON_RUNTIME_SORT_H

#include "elements.h"

typedef struct Keys Keys;
static bool is_before(const Keys *keys, int64_t a, int64_t b);

/* ---- heaps: list[0, count) with the last in order on top ---- */

/* Puts `item` at `at` or below it. */
static void heap_sift(const Keys *keys, const View *list, int64_t at, int64_t count, int64_t item) {
  for (int64_t child; (child = 2 * at + 1) < count; at = child) {
    if (child + 1 < count && is_before(keys, *int_at(list, child), *int_at(list, child + 1))) child++;
    if (!is_before(keys, item, *int_at(list, child))) break;
    *int_at(list, at) = *int_at(list, child);
  }
  *int_at(list, at) = item;
}

static void heap_make(const Keys *keys, const View *list, int64_t count) {
  for (int64_t i = count / 2; i-- > 0;) heap_sift(keys, list, i, count, *int_at(list, i));
}

static void heap_sort(const Keys *keys, const View *list, int64_t count) {
  heap_make(keys, list, count);
  for (int64_t last = count - 1; last > 0; last--) {
    int64_t top = *int_at(list, 0);
    heap_sift(keys, list, 0, last, *int_at(list, last));
    *int_at(list, last) = top;
  }
}

/* ---- sorting ---- */

static void insertion_sort(const Keys *keys, const View *list, int64_t count) {
  for (int64_t i = 1; i < count; i++) {
    int64_t item = *int_at(list, i), at = i;
    for (; at > 0 && is_before(keys, item, *int_at(list, at - 1)); at--)
      *int_at(list, at) = *int_at(list, at - 1);
    *int_at(list, at) = item;
  }
}

static int64_t median(const Keys *keys, int64_t a, int64_t b, int64_t c) {
  if (is_before(keys, b, a)) {
    int64_t swap = a;
    a = b;
    b = swap;
  }
  return is_before(keys, c, a) ? a : is_before(keys, c, b) ? c : b;
}

/* Everything before the pivot to the front; returns how much that is, with the pivot in one of the parts. */
static int64_t partition(const Keys *keys, const View *list, int64_t count) {
  int64_t pivot = median(keys, *int_at(list, 0), *int_at(list, count / 2), *int_at(list, count - 1));
  int64_t low = -1, high = count;
  for (;;) {
    do low++;
    while (is_before(keys, *int_at(list, low), pivot));
    do high--;
    while (is_before(keys, pivot, *int_at(list, high)));
    if (low >= high) return high + 1;
    int64_t swap = *int_at(list, low);
    *int_at(list, low) = *int_at(list, high);
    *int_at(list, high) = swap;
  }
}

/* depth: of partitions that are still allowed. The smaller part is sorted by a call, the larger one here. */
static void intro_sort(const Keys *keys, View list, int64_t count, int depth) {
  enum { FEW = 24 };
  while (count > FEW) {
    if (depth-- == 0) {
      heap_sort(keys, &list, count);
      return;
    }
    int64_t front = partition(keys, &list, count), back = count - front;
    View rest = list;
    rest.data += front * list.strides[0];
    intro_sort(keys, front < back ? list : rest, front < back ? front : back, depth);
    if (front < back) list = rest;
    count = front < back ? back : front;
  }
  insertion_sort(keys, &list, count);
}

static void sort_list(const Keys *keys, const View *list, int64_t count) {
  int depth = 2;
  for (int64_t n = count; n > 1; n /= 2) depth += 2;
  intro_sort(keys, *list, count, depth);
}

#endif
