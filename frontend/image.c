/*
 * image.c -- image files as inputs of a model: decoded by the runtime's operator, resized, cut, scaled.
 *
 * Resizing is what Pillow and torchvision call bilinear with antialiasing: a result is the average of the
 * source under a triangle, as wide as two results and at least two source pixels. Nothing is rounded in
 * between. Only what the cut keeps is computed.
 */
#include "frontend/image.h"
#include "frontend/files.h"
#include "runtime/items.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- What an input says of images ---- */

static bool is_channel_count(const Dim *dim) {
  return dim_is(dim, 1) || dim_is(dim, 3);
}

static int64_t size_of(const Dim *dim) {
  return dim_is_const(dim) ? dim->value : -1;
}

bool pixels_of(const Value *input, const SampleOptions *options, Pixels *pixels) {
  const Type *type = input->type;
  Module *module = input->graph->module;
  if (!type_is_tensor(type) || type->rank < 3 || type->rank > 4)
    return fail(module, "input '%s' is %s: images are for inputs of 3 or 4 axes", input->name,
                type_text(module, type));
  int first = type->rank - 3, last = type->rank - 1;
  bool is_gray = first == 0 && !dim_is_const(type->dims[0]); /* [N,H,W] */
  PixelLayout layout = options->layout;
  if (layout == PIXELS_ANY)
    layout = !is_gray && !is_channel_count(type->dims[first]) && is_channel_count(type->dims[last])
                 ? PIXELS_NHWC
                 : PIXELS_NCHW;
  pixels->channel_axis = layout == PIXELS_NCHW ? first : last;
  pixels->channels = is_gray && layout == PIXELS_NCHW ? 1 : size_of(type->dims[pixels->channel_axis]);
  pixels->height = size_of(type->dims[layout == PIXELS_NCHW ? first + 1 : first]);
  pixels->width = size_of(type->dims[layout == PIXELS_NCHW ? first + 2 : first + 1]);
  if (pixels->channels == 1 || pixels->channels == 3) return true;
  return fail(module, "input '%s' is %s and has no axis of 1 or 3 channels where %s has it", input->name,
              type_text(module, type), layout == PIXELS_NCHW ? "nchw" : "nhwc");
}

double pixel_value(const SampleOptions *options, int64_t channel, double byte) {
  return (byte * options->scale - options->mean[channel]) / options->std[channel];
}

bool pixels_by_channel(const SampleOptions *options) {
  for (int i = 1; i < COUNT_OF(options->mean); i++)
    if (options->mean[i] != options->mean[0] || options->std[i] != options->std[0]) return true;
  return false;
}

bool is_image_name(const char *name) {
  static const char *const suffixes[] = {".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm", ".pnm", ".pbm"};
  for (int i = 0; i < COUNT_OF(suffixes); i++)
    if (has_suffix(name, suffixes[i])) return true;
  return false;
}

/* ---- Resizing ---- */

/* `wanted` pixels out of the middle of an axis of `size` pixels that is resized to `resized`. */
typedef struct Axis {
  int64_t size, resized, wanted;
} Axis;

/* The source pixels of one result: `count` of them from `first` on, with weights whose sum is 1. */
typedef struct Taps {
  int64_t first, count;
  double *weights;
} Taps;

static Taps taps_at(Arena *arena, const Axis *axis, int64_t index) {
  double scale = (double)axis->size / (double)axis->resized, reach = fmax(scale, 1);
  int64_t cut = (int64_t)rint((double)(axis->resized - axis->wanted) / 2);
  double center = ((double)(index + cut) + 0.5) * scale, sum = 0;
  int64_t first = (int64_t)fmax(floor(center - reach + 0.5), 0);
  int64_t end = (int64_t)fmin(floor(center + reach + 0.5), (double)axis->size);
  Taps taps = {first, end - first, NEW_ARRAY(arena, double, end - first)};
  for (int64_t i = 0; i < taps.count; i++)
    sum += taps.weights[i] = fmax(1 - fabs((double)(first + i) + 0.5 - center) / reach, 0);
  for (int64_t i = 0; i < taps.count; i++) taps.weights[i] /= sum;
  return taps;
}

static Taps *taps_of(Arena *arena, const Axis *axis) {
  Taps *taps = NEW_ARRAY(arena, Taps, axis->wanted);
  for (int64_t i = 0; i < axis->wanted; i++) taps[i] = taps_at(arena, axis, i);
  return taps;
}

/* How large the whole image becomes. */
static bool choose_sizes(Module *module, const char *path, int64_t size, Axis *rows, Axis *columns) {
  bool is_tall =
      size ? rows->size > columns->size : columns->wanted * rows->size > rows->wanted * columns->size;
  Axis *shorter = is_tall ? columns : rows, *longer = is_tall ? rows : columns;
  shorter->resized = size ? size : shorter->wanted;
  longer->resized = longer->size * shorter->resized / shorter->size;
  if (rows->resized >= rows->wanted && columns->resized >= columns->wanted) return true;
  return fail(module,
              "'%s' of %lld x %lld pixels, resized to %lld x %lld, is smaller than the model's %lld x %lld",
              path, (long long)columns->size, (long long)rows->size, (long long)columns->resized,
              (long long)rows->resized, (long long)columns->wanted, (long long)rows->wanted);
}

/* A row of results: first down the columns of the source, then along. */
typedef struct Picture {
  const uint8_t *bytes; /* [rows][columns][channels] */
  int64_t columns, channels;
  double *row; /* [columns][channels] */
} Picture;

static void blend_rows(const Picture *picture, const Taps *taps) {
  int64_t count = picture->columns * picture->channels;
  memset(picture->row, 0, sizeof *picture->row * (size_t)count);
  for (int64_t i = 0; i < taps->count; i++) {
    const uint8_t *from = picture->bytes + (taps->first + i) * count;
    double weight = taps->weights[i];
    for (int64_t j = 0; j < count; j++) picture->row[j] += weight * from[j];
  }
}

static double blend_columns(const Picture *picture, const Taps *taps, int64_t channel) {
  double sum = 0;
  for (int64_t i = 0; i < taps->count; i++)
    sum += taps->weights[i] * picture->row[(taps->first + i) * picture->channels + channel];
  return sum;
}

/* ---- Files ---- */

static bool decode(Module *module, const char *path, const Pixels *pixels, Store *store, Item *image) {
  size_t size;
  char *bytes = file_read(module, path, &size);
  if (!bytes) return false;
  Item stream = {.data = bytes, .kind = ITEM_TENSOR, .dtype = TENON_U8, .rank = 1, .dims = {(int64_t)size}};
  int64_t gray = pixels->channels == 1;
  int error = tenon_item_image_decode(store, image, (const Item *const[]){&stream}, 1, &gray);
  free(bytes);
  if (error) return fail(module, "'%s': %s", path, tenon_item_error_text(error));
  return image->dims[0] > 0 || fail(module, "'%s' is no image that can be decoded", path);
}

static void fill(const Item *image, const Axis *rows, const Axis *columns, const Pixels *pixels,
                 const SampleOptions *options, Tensor *tensor) {
  Arena *arena = arena_new();
  bool is_float = dtype_is_float(tensor->dtype), is_first = pixels->channel_axis == tensor->rank - 3;
  int64_t channels = pixels->channels, height = rows->wanted, width = columns->wanted;
  Picture picture = {image->data, columns->size, channels, NEW_ARRAY(arena, double, columns->size *channels)};
  const Taps *down = taps_of(arena, rows), *along = taps_of(arena, columns);
  for (int64_t y = 0; y < height; y++) {
    blend_rows(&picture, &down[y]);
    for (int64_t x = 0; x < width; x++)
      for (int64_t c = 0; c < channels; c++) {
        double byte = blend_columns(&picture, &along[x], options->bgr ? channels - 1 - c : c);
        int64_t at = is_first ? (c * height + y) * width + x : (y * width + x) * channels + c;
        dtype_set(tensor->dtype, tensor->data, at, is_float ? pixel_value(options, c, byte) : round(byte));
      }
  }
  arena_free(arena);
}

/* The sizes of the input that this image becomes. */
static bool new_tensor(const Value *input, const Pixels *pixels, Tensor *tensor) {
  int64_t dims[4] = {1, 1, 1, 1};
  int rank = input->type->rank, first = rank - 3, at = first;
  for (int axis = first; axis < rank; axis++)
    if (axis == pixels->channel_axis)
      dims[axis] = pixels->channels;
    else
      dims[axis] = at++ == first ? pixels->height : pixels->width;
  return tensor_new(tensor, input->type->dtype, rank, dims) ||
         fail(input->graph->module, "no memory for an image of %lld x %lld pixels", (long long)pixels->height,
              (long long)pixels->width);
}

static bool check_input(const Value *input, const SampleOptions *options, Pixels *pixels) {
  enum { MAX_SIDE = 1 << 20 };
  Module *module = input->graph->module;
  Dtype dtype = input->type->dtype;
  const char *type = type_text(module, input->type);
  TRY(pixels_of(input, options, pixels));
  const Dim *batch = input->type->rank == 4 ? input->type->dims[0] : NULL;
  if (batch && dim_is_const(batch) && !dim_is(batch, 1))
    return fail(module, "input '%s' is %s, several images at once; --input-shape makes it one", input->name,
                type);
  if (!dtype_is_float(dtype) && dtype != DTYPE_U8)
    return fail(module, "input '%s' is %s: images become floats or u8", input->name, dtype_name(dtype));
  int64_t *sizes[] = {&pixels->height, &pixels->width};
  for (int i = 0; i < COUNT_OF(sizes); i++)
    if (*sizes[i] < 0) *sizes[i] = options->size;
  if (pixels->height > MAX_SIDE || pixels->width > MAX_SIDE || options->size > MAX_SIDE)
    return fail(module, "images of over %d pixels a side are not made", MAX_SIDE);
  if (pixels->height > 0 && pixels->width > 0) return true;
  return fail(module, "input '%s' is %s: say how large images are, with --input-shape or --image-size",
              input->name, type);
}

bool read_image(Module *module, const char *path, const Value *input, const SampleOptions *options,
                Tensor *tensor) {
  Pixels pixels;
  Store store = {0};
  Item image = {0};
  TRY(check_input(input, options, &pixels));
  bool ok = decode(module, path, &pixels, &store, &image);
  Axis rows = {.size = image.dims[0], .wanted = pixels.height};
  Axis columns = {.size = image.dims[1], .wanted = pixels.width};
  ok = ok && choose_sizes(module, path, options->size, &rows, &columns) && new_tensor(input, &pixels, tensor);
  if (ok) fill(&image, &rows, &columns, &pixels, options, tensor);
  tenon_item_drop(&store, &image);
  tenon_store_close(&store);
  return ok;
}
