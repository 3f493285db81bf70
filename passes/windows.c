/*
 * windows.c -- what the weights of a layer meet at each place where it has results: a row of k numbers.
 *
 * For a product of matrices these are the rows of x, or of a group's part of it. For a convolution they are
 * the elements under the kernel, in the order of the weights, zeros where it lies over padding, for one group
 * of channels. For a conv_transpose they are the elements whose copies of the kernel reach the place, each
 * where that of the kernel is that lies on it, and zeros for the others: every result is a sum of some of k
 * products.
 */
#include "passes/quantize.h"

#include <string.h>

static int64_t stride_of(const Tensor *x, int axis) {
  int64_t stride = 1;
  for (int i = axis + 1; i < x->rank; i++) stride *= x->dims[i];
  return stride;
}

/* For each column: which element of the kernel it belongs to, and how far its channel is from the group's
 * first. */
static void find_columns(Windows *windows, Arena *arena) {
  const Layer *layer = windows->layer;
  const Window *w = &windows->layer->window;
  int64_t kernel = layer->k / w->group_channels, stride = stride_of(windows->x, w->channel_axis);
  windows->elements = NEW_ARRAY(arena, int, layer->k);
  windows->channels = NEW_ARRAY(arena, int64_t, layer->k);
  windows->offsets = NEW_ARRAY(arena, int64_t, kernel);
  for (int64_t j = 0; j < layer->k; j++) {
    windows->elements[j] = (int)(w->channels_last ? j / w->group_channels : j % kernel);
    windows->channels[j] = layer_channel(layer, 0, j) * stride;
  }
}

Windows windows_of(Arena *arena, const Layer *layer, const Tensor *x, const Tensor *y) {
  Windows windows = {.layer = layer, .x = x, .y = y};
  windows.rows = y->dims[layer->is_conv ? layer->window.channel_axis : y->rank - 1];
  windows.count = windows.rows ? tensor_count(y) / windows.rows : 0;
  if (!layer->is_conv) return windows;
  find_columns(&windows, arena);
  return windows;
}

/* Where a place is in the batch and in each spatial axis of the results. */
static void find_place(const Windows *windows, int64_t place, int64_t *batch, int64_t *at) {
  const Window *w = &windows->layer->window;
  for (int s = w->rank - 1; s >= 0; s--) {
    int64_t size = windows->y->dims[w->spatial_axis + s];
    at[s] = place % size;
    place /= size;
  }
  *batch = place;
}

/* Where along an axis an element of the kernel meets x; it may be outside. */
static int64_t source_of(const Windows *windows, int s, int64_t place, int64_t element) {
  const Window *w = &windows->layer->window;
  if (!windows->layer->is_transposed) return place * w->stride[s] - w->before[s] + element * w->dilation[s];
  int64_t at = place + w->before[s] - element * w->dilation[s];
  return at % w->stride[s] == 0 ? at / w->stride[s] : -1;
}

/* Of what an element of the kernel meets, in channel 0; -1: padding. */
static int64_t pixel_offset(const Windows *windows, int64_t element, int64_t batch, const int64_t *place) {
  const Window *w = &windows->layer->window;
  const Tensor *x = windows->x;
  int64_t offset = batch * stride_of(x, 0);
  for (int s = w->rank - 1; s >= 0; s--) {
    int64_t at = source_of(windows, s, place[s], element % w->kernel[s]);
    element /= w->kernel[s];
    if (at < 0 || at >= x->dims[w->spatial_axis + s]) return -1;
    offset += at * stride_of(x, w->spatial_axis + s);
  }
  return offset;
}

void windows_read(const Windows *windows, int64_t place, int64_t group, float *row) {
  const Layer *layer = windows->layer;
  const Window *w = &windows->layer->window;
  const float *x = windows->x->data;
  if (!layer->is_conv) {
    memcpy(row, x + (place * layer_groups(layer) + group) * layer->k, sizeof *row * (size_t)layer->k);
    return;
  }
  int64_t batch, at[MAX_WINDOW], first = group * w->group_channels * stride_of(windows->x, w->channel_axis);
  find_place(windows, place, &batch, at);
  for (int64_t i = 0; i < layer->k / w->group_channels; i++)
    windows->offsets[i] = pixel_offset(windows, i, batch, at);
  for (int64_t j = 0; j < layer->k; j++) {
    int64_t offset = windows->offsets[windows->elements[j]];
    row[j] = offset < 0 ? 0 : x[offset + first + windows->channels[j]];
  }
}

void windows_read_results(const Windows *windows, int64_t place, float *row) {
  const Window *w = &windows->layer->window;
  int64_t stride = 1, offset = place * windows->rows;
  if (windows->layer->is_conv) {
    int64_t batch, at[MAX_WINDOW];
    find_place(windows, place, &batch, at);
    stride = stride_of(windows->y, w->channel_axis);
    offset = batch * stride_of(windows->y, 0);
    for (int s = 0; s < w->rank; s++) offset += at[s] * stride_of(windows->y, w->spatial_axis + s);
  }
  const float *y = (const float *)windows->y->data + offset;
  for (int64_t r = 0; r < windows->rows; r++) row[r] = y[r * stride];
}
