/*
 * resize.c -- ONNX Resize and its forerunner Upsample.
 *
 * The result's size comes from sizes, or from scales as floor(dim * scale). The core op gets both: where
 * scales were given they also steer the sampling positions; where sizes were given the scale is their ratio
 * (0 in `scales`).
 */
#include "frontend/onnx/onnx.h"

#include <math.h>
#include <string.h>

static const char crop[] = "tf_crop_and_resize";

typedef struct Resize {
  const Dim *sizes[MAX_RANK];
  double scales[MAX_RANK];
  double roi[2 * MAX_RANK]; /* begin of every axis, then end */
  const char *mode, *coordinates, *nearest;
} Resize;

/* floor(dim * scale), in f32 as everybody does. A symbolic dim needs a scale that is a ratio of small
 * integers. */
static const Dim *scaled_dim(OnnxNode *node, const Dim *dim, double scale) {
  enum { MAX_DENOMINATOR = 64 };
  if (!(scale > 0) || scale > 1 << 20) {
    onnx_fail(node, "a scale of %g", scale);
    return NULL;
  }
  if (dim_is_const(dim)) return dim_const(node->module, (int64_t)floorf((float)dim->value * (float)scale));
  for (int below = 1; below <= MAX_DENOMINATOR; below++) {
    double above = scale * below;
    if (fabs(above - round(above)) > 1e-6) continue;
    const Dim *product = dim_mul(node->module, dim, dim_const(node->module, (int64_t)round(above)));
    return dim_floordiv(node->module, product, dim_const(node->module, below));
  }
  onnx_fail(node, "a scale of %g on the symbolic size %s: give it with --dim", scale,
            dim_text(node->module, dim));
  return NULL;
}

static bool set_scale(OnnxNode *node, Resize *resize, int axis, double scale) {
  resize->scales[axis] = scale;
  resize->sizes[axis] = scaled_dim(node, input(node, 0)->type->dims[axis], scale);
  return resize->sizes[axis] != NULL;
}

static Value *emit_resize(OnnxNode *node, const Resize *resize, Value *x) {
  if (!x) return NULL;
  Node *core = node_new(&node->builder, &op_resize, &x, 1);
  node_set_dims(core, "sizes", resize->sizes, x->type->rank);
  node_set_floats(core, "scales", resize->scales, x->type->rank);
  node_set_string(core, "mode", resize->mode);
  node_set_string(core, "coordinates", resize->coordinates);
  if (strcmp(resize->mode, "nearest") == 0) node_set_string(core, "nearest", resize->nearest);
  if (strcmp(resize->mode, "cubic") == 0)
    node_set_float(core, "cubic_coeff", attr_float(node, "cubic_coeff_a", -0.75));
  node_set_bool(core, "exclude_outside", attr_bool(node, "exclude_outside", false));
  node_set_float(core, "extrapolation", attr_float(node, "extrapolation_value", 0));
  if (strcmp(resize->coordinates, crop) == 0) node_set_floats(core, "roi", resize->roi, 2 * x->type->rank);
  node_set_bool(core, "antialias",
                attr_bool(node, "antialias", false) && strcmp(resize->mode, "nearest") != 0);
  return finish(core);
}

/* Wide kernels mix many elements: axis by axis they are far fewer. */
static Value *emit_by_axis(OnnxNode *node, const Resize *resize, Value *x) {
  Dtype dtype = x->type->dtype;
  if (!dtype_is_float(dtype)) x = emit_cast(node, x, DTYPE_F32);
  for (int i = 0; x && i < input_rank(node, 0); i++) {
    Resize one = *resize;
    for (int other = 0; other < x->type->rank; other++) {
      if (other == i) continue;
      one.sizes[other] = x->type->dims[other];
      one.scales[other] = 1;
      one.roi[other] = 0;
      one.roi[x->type->rank + other] = 1;
    }
    x = emit_resize(node, &one, x);
  }
  return emit_cast(node, x, dtype);
}

static bool build(OnnxNode *node, const Resize *resize) {
  bool by_axis = attr_bool(node, "antialias", false);
  return set_output(node, (by_axis ? emit_by_axis : emit_resize)(node, resize, input(node, 0)));
}

static bool check_word(OnnxNode *node, const char *what, const char *word, const char *const *words,
                       int count) {
  for (int i = 0; i < count; i++)
    if (strcmp(word, words[i]) == 0) return true;
  return onnx_fail(node, "%s '%s' is not supported", what, word);
}

static bool check_modes(OnnxNode *node, const Resize *resize) {
  static const char *const modes[] = {"nearest", "linear", "cubic"};
  static const char *const coordinates[] = {"half_pixel", "pytorch_half_pixel",   "align_corners",
                                            "asymmetric", "half_pixel_symmetric", "tf_half_pixel_for_nn",
                                            crop};
  static const char *const roundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
  TRY(check_word(node, "mode", resize->mode, modes, COUNT_OF(modes)));
  TRY(check_word(node, "coordinate_transformation_mode", resize->coordinates, coordinates,
                 COUNT_OF(coordinates)));
  return check_word(node, "nearest_mode", resize->nearest, roundings, COUNT_OF(roundings));
}

/* Up to opset 10: corner to corner, rounded down. */
static Resize resize_of_old(OnnxNode *node) {
  Resize resize = {
      .mode = attr_string(node, "mode", "nearest"), .coordinates = "asymmetric", .nearest = "floor"};
  if (strcmp(resize.mode, "bilinear") == 0) resize.mode = "linear";
  return resize;
}

static bool resize_by(OnnxNode *node, Resize *resize, const double *scales, int count) {
  if (count != input_rank(node, 0))
    return onnx_fail(node, "%d scales for a tensor with %d dims", count, input_rank(node, 0));
  for (int i = 0; i < count; i++) TRY(set_scale(node, resize, i, scales[i]));
  TRY(check_modes(node, resize));
  return build(node, resize);
}

/* Opset 1: two attributes for [N,C,H,W]. */
static bool import_upsample_1(OnnxNode *node) {
  Resize resize = resize_of_old(node);
  double scales[] = {1, 1, attr_float(node, "height_scale", 0), attr_float(node, "width_scale", 0)};
  return resize_by(node, &resize, scales, COUNT_OF(scales));
}

static bool import_upsample_7(OnnxNode *node) {
  Resize resize = resize_of_old(node);
  int count;
  const float *given = attr_floats(node, "scales", &count);
  double scales[MAX_RANK];
  for (int i = 0; i < count && i < MAX_RANK; i++) scales[i] = (double)given[i];
  return resize_by(node, &resize, scales, count);
}

static bool import_resize_10(OnnxNode *node) {
  Resize resize = resize_of_old(node);
  const double *scales;
  int count;
  TRY(input_floats(node, 1, "scales", &scales, &count));
  return resize_by(node, &resize, scales, count);
}

/* ---- Since opset 11 */

static bool is_given(const OnnxNode *node, int index) {
  const Value *value = input(node, index);
  return value &&
         !(value->type->rank == 1 && dim_is(value->type->dims[0], 0)); /* [] stands for absent, too */
}

typedef struct ResizeAxes {
  int64_t axes[MAX_RANK];
  int count;
} ResizeAxes;

static bool read_axes(OnnxNode *node, ResizeAxes *out) {
  int count, rank = input_rank(node, 0);
  bool seen[MAX_RANK] = {false};
  const int64_t *axes = attr_ints(node, "axes", &count);
  if (count > rank) return onnx_fail(node, "%d axes of a tensor with %d dims", count, rank);
  out->count = axes ? count : rank;
  for (int i = 0; i < out->count; i++) {
    out->axes[i] = axes ? axes[i] : i;
    TRY(normal_axis(node, &out->axes[i], rank));
    if (seen[out->axes[i]]) return onnx_fail(node, "axis %lld comes twice", (long long)out->axes[i]);
    seen[out->axes[i]] = true;
  }
  return true;
}

/* One scale for all axes, so that the result is not larger (or not smaller) than the sizes. */
static bool keep_aspect(OnnxNode *node, const ResizeAxes *axes, const Dim *const *sizes, bool not_larger,
                        Resize *resize) {
  double scale = 0;
  for (int i = 0; i < axes->count; i++) {
    const Dim *dim = input(node, 0)->type->dims[axes->axes[i]];
    if (!dim_is_const(dim) || !dim_is_const(sizes[i]) || dim->value < 1)
      return onnx_fail(node, "keep_aspect_ratio_policy needs constant sizes: give them with --dim");
    double ratio = (double)sizes[i]->value / (double)dim->value;
    if (i == 0 || (not_larger ? ratio < scale : ratio > scale)) scale = ratio;
  }
  for (int i = 0; i < axes->count; i++) {
    int64_t axis = axes->axes[i];
    double size = round((double)input(node, 0)->type->dims[axis]->value * scale);
    if (!(size >= 0 && size <= INT32_MAX)) return onnx_fail(node, "a size of %g", size);
    resize->sizes[axis] = dim_const(node->module, (int64_t)size);
    resize->scales[axis] = scale;
  }
  return true;
}

static bool resize_to_sizes(OnnxNode *node, const ResizeAxes *axes, Resize *resize) {
  const Dim *const *sizes;
  int count;
  TRY(input_dims(node, 3, "sizes", &sizes, &count));
  if (count != axes->count) return onnx_fail(node, "%d sizes for %d axes", count, axes->count);
  const char *policy = attr_string(node, "keep_aspect_ratio_policy", "stretch");
  static const char *const policies[] = {"stretch", "not_larger", "not_smaller"};
  TRY(check_word(node, "keep_aspect_ratio_policy", policy, policies, COUNT_OF(policies)));
  if (strcmp(policy, "stretch") != 0)
    return keep_aspect(node, axes, sizes, strcmp(policy, "not_larger") == 0, resize);
  for (int i = 0; i < count; i++) {
    resize->sizes[axes->axes[i]] = sizes[i];
    resize->scales[axes->axes[i]] = 0;
  }
  return true;
}

static bool resize_by_scales(OnnxNode *node, const ResizeAxes *axes, Resize *resize) {
  const double *scales;
  int count;
  TRY(input_floats(node, 2, "scales", &scales, &count));
  if (count != axes->count) return onnx_fail(node, "%d scales for %d axes", count, axes->count);
  for (int i = 0; i < count; i++) TRY(set_scale(node, resize, (int)axes->axes[i], scales[i]));
  return true;
}

/* roi: begins of the axes, then their ends; others are taken whole. */
static bool read_roi(OnnxNode *node, const ResizeAxes *axes, Resize *resize) {
  const double *roi;
  int count, rank = input_rank(node, 0);
  for (int i = 0; i < rank; i++) resize->roi[rank + i] = 1;
  if (strcmp(resize->coordinates, crop) != 0) return true;
  if (!is_given(node, 1)) return onnx_fail(node, "%s without roi", crop);
  TRY(input_floats(node, 1, "roi", &roi, &count));
  if (count != 2 * axes->count) return onnx_fail(node, "roi has %d entries for %d axes", count, axes->count);
  for (int i = 0; i < axes->count; i++) {
    resize->roi[axes->axes[i]] = roi[i];
    resize->roi[rank + axes->axes[i]] = roi[axes->count + i];
  }
  return true;
}

static bool import_resize(OnnxNode *node) {
  Value *x = input(node, 0);
  Resize resize = {.mode = attr_string(node, "mode", "nearest"),
                   .coordinates = attr_string(node, "coordinate_transformation_mode", "half_pixel"),
                   .nearest = attr_string(node, "nearest_mode", "round_prefer_floor")};
  ResizeAxes axes;
  for (int i = 0; i < x->type->rank; i++) {
    resize.sizes[i] = x->type->dims[i];
    resize.scales[i] = 1;
  }
  TRY(check_modes(node, &resize));
  TRY(read_axes(node, &axes));
  TRY(read_roi(node, &axes, &resize));
  if (is_given(node, 3)) {
    TRY(resize_to_sizes(node, &axes, &resize));
  } else if (is_given(node, 2)) {
    TRY(resize_by_scales(node, &axes, &resize));
  } else {
    return onnx_fail(node, "neither scales nor sizes are given");
  }
  return build(node, &resize);
}

static const OnnxRow rows[] = {
    {"Resize", 10, 2, 2, import_resize_10, NULL},   {"Resize", 11, 1, 4, import_resize, NULL},
    {"Upsample", 1, 1, 1, import_upsample_1, NULL}, {"Upsample", 7, 1, 1, import_upsample_7, NULL},
    {"Upsample", 9, 2, 2, import_resize_10, NULL},
};

const OnnxRows onnx_resize = {rows, COUNT_OF(rows)};
