/*
 * image.c -- preprocessing of images and features: Rescaling, Normalization, Resizing, CenterCrop,
 * UpSampling.
 *
 * Everything resamples along axes, wherever the channels are. Nearest, bilinear and bicubic are the core op
 * resize with TensorFlow's conventions: centres of elements at halves, the latter of two that are equally
 * near, bicubic of Keys with a = -0.5 and taps outside left out. Every other kernel, and all that average
 * while they shrink, is a matrix of weights for each axis, [old][new].
 */
#include "frontend/keras/keras.h"
#include <math.h>
#include <string.h>

/* ---- kernels ---- */

static double triangle(double x) {
  return x < 1 ? 1 - x : 0;
}
static double keys_cubic(double x) {
  return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}
static double mitchell_cubic(double x) {
  if (x < 1) return (7.0 / 6 * x - 2) * x * x + 16.0 / 18;
  return x < 2 ? ((-7.0 / 18 * x + 2) * x - 10.0 / 3) * x + 16.0 / 9 : 0;
}
static double gaussian(double x) {
  return x < 1.5 ? exp(-x * x / (2 * 0.5 * 0.5)) : 0;
}
static double lanczos(double x, double radius) {
  const double pi = 3.14159265358979323846;
  if (x >= radius) return 0;
  return x < 1e-3 ? 1 : radius * sin(pi * x) * sin(pi * x / radius) / (pi * pi * x * x);
}
static double lanczos3(double x) {
  return lanczos(x, 3);
}
static double lanczos5(double x) {
  return lanczos(x, 5);
}

typedef struct Interpolation {
  const char *name;
  double (*kernel)(double distance);
  const char *mode; /* of the op resize; NULL: by matrices */
} Interpolation;

static const Interpolation interpolations[] = {
    {"area", NULL, NULL},
    {"bicubic", keys_cubic, "cubic"},
    {"bilinear", triangle, "linear"},
    {"gaussian", gaussian, NULL},
    {"lanczos3", lanczos3, NULL},
    {"lanczos5", lanczos5, NULL},
    {"mitchellcubic", mitchell_cubic, NULL},
    {"nearest", NULL, "nearest"},
};

static const Interpolation *read_interpolation(Call *call, const char *otherwise) {
  const char *name = json_text(call->config, "interpolation", otherwise);
  for (int i = 0; i < COUNT_OF(interpolations); i++)
    if (!strcmp(interpolations[i].name, name)) return &interpolations[i];
  return call_null(call, "interpolation '%s' is not supported", name);
}

/* ---- one axis by a matrix ---- */

/* How much of old element `i` lies in new element `k`: the kernel at their distance, or the common length. */
static double weight_of(const Interpolation *how, bool antialias, int64_t i, int64_t k, double ratio) {
  if (!how->kernel) {
    double begin = fmax((double)i, (double)k * ratio), end = fmin((double)i + 1, (double)(k + 1) * ratio);
    return fmax(end - begin, 0);
  }
  double scale = antialias ? fmax(ratio, 1) : 1;
  return how->kernel(fabs((double)i + 0.5 - ((double)k + 0.5) * ratio) / scale);
}

static Value *resample_axis(Call *call, Value *x, int axis, int64_t size, const Interpolation *how,
                            bool antialias) {
  enum { MAX_MATRIX = 1 << 22 };
  int64_t old = x->type->dims[axis]->value;
  if (old == size) return x;
  if (size > MAX_MATRIX || old > MAX_MATRIX || old * size > MAX_MATRIX)
    return call_null(call, "it resamples %lld to %lld elements", (long long)old, (long long)size);
  double ratio = (double)old / (double)size;
  double *weights = NEW_ARRAY(call->import->module->arena, double, old *size);
  for (int64_t k = 0; k < size; k++) {
    double sum = 0;
    for (int64_t i = 0; i < old; i++) sum += weights[i * size + k] = weight_of(how, antialias, i, k, ratio);
    for (int64_t i = 0; i < old && sum != 0; i++) weights[i * size + k] /= sum;
  }
  const Dim *dims[] = {x->type->dims[axis], dim_const(call->import->module, size)};
  Value *matrix = make_reshape(call, make_floats(call, x->type->dtype, weights, old * size), 2, dims);
  int last = x->type->rank - 1;
  return make_move_axis(call, make_binary(call, &op_matmul, make_move_axis(call, x, axis, last), matrix),
                        last, axis);
}

/* ---- all spatial axes ---- */

typedef struct Image {
  int spatial, first; /* the spatial axes */
  const Interpolation *how;
  bool antialias;
} Image;

static Value *resample_by_op(Call *call, Value *x, const Image *image, const Dim *const *sizes) {
  const Dim *all[MAX_RANK];
  int rank = x->type->rank;
  for (int i = 0; i < rank; i++) {
    bool inside = i >= image->first && i < image->first + image->spatial;
    all[i] = inside ? sizes[i - image->first] : x->type->dims[i];
  }
  Node *node = node_new(call->builder, &op_resize, &x, 1);
  node_set_dims(node, "sizes", all, rank);
  node_set_string(node, "mode", image->how->mode);
  node_set_string(node, "nearest", "round_prefer_ceil");
  if (image->how->kernel == keys_cubic) {
    node_set_float(node, "cubic_coeff", -0.5);
    node_set_bool(node, "exclude_outside", true);
  }
  return make(node);
}

static Value *resample(Call *call, Value *x, const Image *image, const Dim *const *sizes) {
  bool by_op = image->how->mode && !(image->antialias && image->how->kernel);
  if (!x || by_op) return x ? resample_by_op(call, x, image, sizes) : NULL;
  for (int i = 0; x && i < image->spatial; i++) {
    int axis = image->first + i;
    if (!dim_is_const(x->type->dims[axis]) || !dim_is_const(sizes[i]))
      return call_null(call, "interpolation '%s' needs images of a fixed size; give it with --input-shape",
                       image->how->name);
    x = resample_axis(call, x, axis, sizes[i]->value, image->how, image->antialias);
  }
  return x;
}

static bool read_image(Call *call, const Value *x, const char *otherwise, Image *image) {
  image->spatial = call_spatial(call);
  image->first = call_is_channels_first(call) ? 2 : 1;
  image->antialias = json_flag(call->config, "antialias", false);
  image->how = read_interpolation(call, otherwise);
  return image->how && (x->type->rank == image->spatial + 2 ||
                        call_fail(call, "its input has %d axes, not %d", x->type->rank, image->spatial + 2));
}

static Value *upsampling(Call *call) {
  Value *x = call->inputs[0];
  Image image;
  int64_t factors[3];
  const Dim *sizes[3];
  if (!read_image(call, x, "nearest", &image) || !call_ints(call, "size", image.spatial, 2, 1, factors))
    return NULL;
  for (int i = 0; i < image.spatial; i++)
    sizes[i] = dim_mul(call->import->module, x->type->dims[image.first + i],
                       dim_const(call->import->module, factors[i]));
  if (strcmp(image.how->name, "nearest")) x = call_float(call, x);
  return resample(call, x, &image, sizes);
}

/* ---- Resizing, CenterCrop ---- */

static Value *crop_axis(Call *call, Value *x, int axis, int64_t size) {
  int64_t has = x->type->dims[axis]->value;
  return size < has ? make_part(call, x, axis, (has - size) / 2, size) : x;
}

static Value *pad_axis(Call *call, Value *x, int axis, int64_t size, double fill) {
  Module *module = call->import->module;
  int64_t lacks = size - x->type->dims[axis]->value;
  const Dim *pads[2 * MAX_RANK];
  if (lacks <= 0) return x;
  for (int i = 0; i < 2 * x->type->rank; i++) pads[i] = dim_const(module, 0);
  pads[axis] = dim_const(module, lacks / 2);
  pads[x->type->rank + axis] = dim_const(module, lacks - lacks / 2);
  Node *node =
      node_new(call->builder, &op_pad, (Value *[]){x, build_scalar(call->builder, x->type->dtype, fill)}, 2);
  node_set_dims(node, "pads", pads, 2 * x->type->rank);
  return make(node);
}

/* What `along` becomes when `across` becomes `wanted_across` and the proportions are those of the target. */
static int64_t in_proportion(int64_t across, int64_t wanted_along, int64_t wanted_across) {
  return (int64_t)((double)(across * wanted_along) / (double)wanted_across);
}

/* The part of the target's proportions, or the image with edges that give it these. */
static Value *to_proportions(Call *call, Value *x, const Image *image, const int64_t *target, bool crop) {
  int64_t has[2], size[2];
  for (int i = 0; i < 2; i++) {
    if (!dim_is_const(x->type->dims[image->first + i]))
      return call_null(call, "keeping proportions needs images of a fixed size; give it with --input-shape");
    has[i] = x->type->dims[image->first + i]->value;
  }
  for (int i = 0; i < 2; i++) {
    int64_t fitting = in_proportion(has[!i], target[i], target[!i]);
    if (crop)
      size[i] = fitting < 1 ? 1 : fitting < has[i] ? fitting : has[i];
    else
      size[i] = fitting > has[i] ? fitting : has[i];
  }
  double fill = json_number(call->config, "fill_value", 0);
  for (int i = 0; x && i < 2; i++)
    x = crop ? crop_axis(call, x, image->first + i, size[i])
             : pad_axis(call, x, image->first + i, size[i], fill);
  return x;
}

static bool read_target(Call *call, int64_t *target) {
  TRY(call_int(call, "height", 0, &target[0]) && call_int(call, "width", 0, &target[1]));
  return (target[0] > 0 && target[1] > 0 && target[0] <= INT32_MAX && target[1] <= INT32_MAX) ||
         call_fail(call, "a size of %lld by %lld makes no sense", (long long)target[0], (long long)target[1]);
}

static Value *resize_to(Call *call, Value *x, const Image *image, const int64_t *target, bool crop,
                        bool pad) {
  if (x && (crop || pad)) x = to_proportions(call, x, image, target, crop);
  const Dim *sizes[] = {dim_const(call->import->module, target[0]),
                        dim_const(call->import->module, target[1])};
  return resample(call, x, image, sizes);
}

static Value *resizing(Call *call) {
  Value *x = call_float_input(call, 0);
  Image image;
  int64_t target[2];
  if (!x || !read_image(call, x, "bilinear", &image) || !read_target(call, target)) return NULL;
  return resize_to(call, x, &image, target, json_flag(call->config, "crop_to_aspect_ratio", false),
                   json_flag(call->config, "pad_to_aspect_ratio", false));
}

/* At inference: the part of the right proportions, resized. */
static Value *random_crop(Call *call) {
  Value *x = call_float_input(call, 0);
  Image image;
  int64_t target[2];
  if (!x || !read_image(call, x, "bilinear", &image) || !read_target(call, target)) return NULL;
  return resize_to(call, x, &image, target, true, false);
}

/* An image that is smaller is resized, in its proportions. */
static Value *center_crop(Call *call) {
  Value *x = call_float_input(call, 0);
  Image image;
  int64_t target[2];
  if (!x || !read_image(call, x, "bilinear", &image) || !read_target(call, target)) return NULL;
  bool fits = true;
  for (int i = 0; i < 2; i++) {
    const Dim *dim = x->type->dims[image.first + i];
    if (!dim_is_const(dim))
      return call_null(call, "it needs images of a fixed size; give it with --input-shape");
    fits &= dim->value >= target[i];
  }
  if (!fits) return resize_to(call, x, &image, target, true, false);
  return crop_axis(call, crop_axis(call, x, image.first, target[0]), image.first + 1, target[1]);
}

/* ---- numbers ---- */

/* Every number in a list, lists inside of it too; false when there is something else. */
static bool collect_numbers(const cJSON *item, double *values, int64_t room, int64_t *count) {
  const cJSON *child;
  if (cJSON_IsNumber(item)) return *count < room && (values[(*count)++] = item->valuedouble, true);
  cJSON_ArrayForEach(child, item) TRY(collect_numbers(child, values, room, count));
  return cJSON_IsArray(item);
}

/* Of a list and those in it, at least as many as there are numbers. */
static int64_t count_items(const cJSON *list) {
  const cJSON *child;
  int64_t count = 0;
  cJSON_ArrayForEach(child, list) count += cJSON_IsArray(child) ? count_items(child) : 1;
  return count;
}

/* A member that is a number or lists of them: a scalar or one axis. */
static Value *numbers(Call *call, const char *name, Dtype dtype, double otherwise) {
  const cJSON *item = json_member(call->config, name);
  if (!cJSON_IsArray(item))
    return build_scalar(call->builder, dtype, json_number(call->config, name, otherwise));
  int64_t count = 0, room = count_items(item);
  double *values = NEW_ARRAY(call->import->module->arena, double, room);
  if (!collect_numbers(item, values, room, &count) || !count)
    return call_null(call, "'%s' is not made of numbers", name);
  return make_floats(call, dtype, values, count);
}

static Value *rescaling(Call *call) {
  Value *x = call_float_input(call, 0);
  Value *scale = x ? numbers(call, "scale", x->type->dtype, 1) : NULL;
  Value *offset = x ? numbers(call, "offset", x->type->dtype, 0) : NULL;
  return make_binary(call, &op_add, make_binary(call, &op_mul, x, scale), offset);
}

/* ---- Normalization: the mean and variance of axes that keep theirs ---- */

/* A statistic with the sizes of the axes that are kept, 1 along the others. */
static Value *statistic(Call *call, const char *name, Value *x, const bool *kept) {
  const Dim *dims[MAX_RANK], *count = dim_const(call->import->module, 1);
  int64_t sizes[MAX_RANK];
  int rank = 0;
  for (int i = 0; i < x->type->rank; i++) {
    const Dim *dim = x->type->dims[i];
    dims[i] = kept[i] ? dim : dim_const(call->import->module, 1);
    if (!kept[i]) continue;
    if (!dim_is_const(dim)) return call_null(call, "the size of axis %d is not fixed", i);
    sizes[rank++] = dim->value;
    count = dim_mul(call->import->module, count, dim);
  }
  Value *value = call_has_weight(call, name) ? call_weight(call, name, x, rank, sizes)
                                             : numbers(call, name, x->type->dtype, 0);
  if (!value || value->type->rank == 0) return value;
  if (type_count(call->import->module, value->type) != count)
    return call_null(call, "its %s is %s for an input %s", name, type_text(call->import->module, value->type),
                     type_text(call->import->module, x->type));
  return make_reshape(call, value, x->type->rank, dims);
}

static Value *normalization(Call *call) {
  Value *x = call_float_input(call, 0);
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(call->config, "axis");
  bool kept[MAX_RANK] = {0};
  int count = cJSON_IsArray(item) ? cJSON_GetArraySize(item) : item && !cJSON_IsNull(item);
  if (!x) return NULL;
  for (int i = 0; i < count; i++) {
    int64_t axis;
    if (!call_axis(call, cJSON_IsArray(item) ? json_at(item, i) : item, x->type->rank, &axis)) return NULL;
    kept[axis] = true;
  }
  Value *mean = statistic(call, "mean", x, kept),
        *variance = mean ? statistic(call, "variance", x, kept) : NULL;
  Value *deviation = make_clip(call, make_unary(call, &op_sqrt, variance), 1e-7, INFINITY);
  if (json_flag(call->config, "invert", false))
    return make_binary(call, &op_add, mean, make_binary(call, &op_mul, x, deviation));
  return make_binary(call, &op_div, make_binary(call, &op_sub, x, mean), deviation);
}

const LayerKind image_layers[] = {
    {"CenterCrop", center_crop, 1, 1, NULL, MASK_ENDS},
    {"Normalization", normalization, 1, 1, "~mean?!mean ~variance?!mean ~count?!mean", MASK_ENDS},
    {"RandomCrop", random_crop, 1, 1, NULL, MASK_ENDS},
    {"Rescaling", rescaling, 1, 1, NULL, MASK_PASSES},
    {"Resizing", resizing, 1, 1, NULL, MASK_ENDS},
    {"UpSampling1D", upsampling, 1, 1, NULL, MASK_ENDS},
    {"UpSampling2D", upsampling, 1, 1, NULL, MASK_ENDS},
    {"UpSampling3D", upsampling, 1, 1, NULL, MASK_ENDS},
    {0},
};
