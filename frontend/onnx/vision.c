/*
 * vision.c -- ONNX operators that read images at positions: GridSample, AffineGrid, RoiAlign, MaxRoiPool,
 * and CropAndResize of com.microsoft; and ImageDecoder, which reads them from files.
 *
 * A crop is a grid sample at positions in pixels.
 */
#include "frontend/onnx/vision.h"

#include <string.h>

/* ---- Grids */

Value *emit_grid_sample(OnnxNode *node, Value *x, Value *grid, const char *mode, const char *padding,
                        const char *coordinates) {
  if (!x || !grid) return NULL;
  Node *core = node_new(&node->builder, &op_grid_sample, (Value *[]){x, grid}, 2);
  node_set_string(core, "mode", mode);
  node_set_string(core, "padding", padding);
  node_set_string(core, "coordinates", coordinates);
  return finish(core);
}

/* bilinear and bicubic became linear and cubic. */
static bool import_grid_sample(OnnxNode *node) {
  const char *mode = attr_string(node, "mode", "linear"),
             *padding = attr_string(node, "padding_mode", "zeros");
  bool corners = attr_bool(node, "align_corners", false);
  if (strcmp(mode, "bilinear") == 0 || strcmp(mode, "bicubic") == 0) mode += 2;
  node->inputs[1] = emit_known_axis(node, input(node, 1), -1, input_rank(node, 0) - 2);
  if (!node->inputs[1]) return false;
  Value *y = emit_grid_sample(node, input(node, 0), input(node, 1), mode, padding,
                              corners ? "align_corners" : "half_pixel");
  return set_output(node, y);
}

Value *emit_constant_grid(OnnxNode *node, Dtype dtype, int axis_count, const int64_t *sizes, int columns,
                          double (*position)(const void *context, const int64_t *at, int column),
                          const void *context) {
  enum { MAX_POSITIONS = 1 << 26 };
  int64_t count = columns, dims[MAX_RANK], at[MAX_RANK] = {0};
  if (!dtype_is_float(dtype) || dtype_is_storage(dtype)) {
    onnx_fail(node, "positions of type %s", dtype_name(dtype));
    return NULL;
  }
  for (int i = 0; i < axis_count; i++) {
    dims[i] = sizes[i];
    if (sizes[i] < 0 || __builtin_mul_overflow(count, sizes[i], &count) || count > MAX_POSITIONS) {
      onnx_fail(node, "a grid of size %lld along axis %d", (long long)sizes[i], i);
      return NULL;
    }
  }
  dims[axis_count] = columns;
  Data *data = data_new(node->module, dtype, count);
  for (int64_t i = 0; i < count; i++) {
    int64_t rest = i / columns;
    for (int axis = axis_count - 1; axis >= 0; axis--) {
      at[axis] = rest % sizes[axis];
      rest /= sizes[axis];
    }
    dtype_set(dtype, data_bytes(data), i, position(context, at, (int)(i % columns)));
  }
  return build_const(&node->builder, type_static(node->module, dtype, axis_count + 1, dims), data, NULL);
}

/* What the rows of theta are multiplied with: a position of -1 to 1 along each axis, the last first, and 1.
 */
typedef struct UnitGrid {
  int rank;
  const int64_t *sizes;
  bool corners;
} UnitGrid;

static double unit_position(const void *context, const int64_t *at, int column) {
  const UnitGrid *grid = context;
  int axis = grid->rank - 1 - column;
  if (axis < 0) return 1;
  double i = (double)at[axis], size = (double)grid->sizes[axis];
  if (!grid->corners) return (2 * i + 1) / size - 1;
  return size > 1 ? 2 * i / (size - 1) - 1 : 0;
}

/* theta [N,s,s+1] times every position of a grid of the size [N,C,..]. */
static bool import_affine_grid(OnnxNode *node) {
  Value *theta = input(node, 0);
  const int64_t *size;
  int count;
  TRY(input_or_attr_ints(node, 1, "size", &size, &count));
  int spatial = count - 2;
  if ((spatial != 2 && spatial != 3) || theta->type->rank != 3 || !dim_is(theta->type->dims[1], spatial) ||
      !dim_is(theta->type->dims[2], spatial + 1))
    return onnx_fail(node, "theta %s and a size of %d entries", type_text(node->module, theta->type), count);
  if (dim_is_const(theta->type->dims[0]) && !dim_is(theta->type->dims[0], size[0]))
    return onnx_fail(node, "theta %s and a size for %lld images", type_text(node->module, theta->type),
                     (long long)size[0]);
  UnitGrid unit = {spatial, size + 2, attr_bool(node, "align_corners", false)};
  Value *grid =
      emit_constant_grid(node, theta->type->dtype, spatial, unit.sizes, spatial + 1, unit_position, &unit);
  const Dim *rows[] = {dim_const(node->module, -1), dim_const(node->module, spatial + 1)}, *dims[MAX_RANK];
  grid = emit_reshape(node, grid, 2, rows);
  Value *y = emit_binary(node, &op_matmul, grid, emit_transpose(node, theta, (int64_t[]){0, 2, 1}));
  dims[0] = theta->type->dims[0];
  for (int i = 0; i < spatial; i++) dims[1 + i] = dim_const(node->module, size[2 + i]);
  dims[1 + spatial] = dim_const(node->module, spatial);
  return set_output(node, emit_reshape(node, y, spatial + 2, dims));
}

/* ---- Regions of interest */

/* Until opset 16 there was no half pixel. */
static bool import_roi_align(OnnxNode *node) {
  bool since_16 = node->row->since >= 16;
  const char *usual = since_16 ? "half_pixel" : "output_half_pixel";
  const char *where = since_16 ? attr_string(node, "coordinate_transformation_mode", usual) : usual;
  int64_t sizes[] = {attr_int(node, "output_height", 1), attr_int(node, "output_width", 1)};
  if (strcmp(where, "half_pixel") != 0 && strcmp(where, "output_half_pixel") != 0)
    return onnx_fail(node, "coordinate_transformation_mode '%s' is not known", where);
  node->inputs[1] = emit_known_axis(node, input(node, 1), -1, 4);
  if (!node->inputs[1]) return false;
  Node *core = node_new(&node->builder, &op_roi_align, node->inputs, 3);
  node_set_ints(core, "sizes", sizes, 2);
  node_set_float(core, "scale", attr_float(node, "spatial_scale", 1));
  node_set_int(core, "samples", attr_int(node, "sampling_ratio", 0));
  node_set_string(core, "mode", attr_string(node, "mode", "avg"));
  node_set_bool(core, "half_pixel", strcmp(where, "half_pixel") == 0);
  return set_output(node, finish(core));
}

static bool import_max_roi_pool(OnnxNode *node) {
  int count;
  const int64_t *sizes = attr_ints(node, "pooled_shape", &count);
  if (!sizes) return onnx_fail(node, "pooled_shape is missing");
  Node *core = node_new(&node->builder, &op_max_roi_pool, node->inputs, 2);
  node_set_ints(core, "sizes", sizes, count);
  node_set_float(core, "scale", attr_float(node, "spatial_scale", 1));
  return set_output(node, finish(core));
}

/* Column `column` of boxes [R,4], as [R,1]. */
static Value *box_column(OnnxNode *node, Value *boxes, int column) {
  const Dim *zero = dim_const(node->module, 0), *one = dim_const(node->module, 1);
  const Dim *starts[] = {zero, dim_const(node->module, column)}, *sizes[] = {boxes->type->dims[0], one};
  return emit_slice(node, boxes, starts, sizes, (int64_t[]){1, 1});
}

static double ramp(const void *context, const int64_t *at, int column) {
  (void)column;
  double last = *(const double *)context;
  return last > 0 ? (double)at[0] / last : 0.5;
}

/* Positions [R,crop] of a crop along one axis of `size` elements: from begin to end, a single one in the
 * middle. Boxes hold y1, x1, y2, x2 as parts of the image. */
static Value *crop_positions(OnnxNode *node, int axis, int64_t crop, const Dim *size) {
  Value *boxes = input(node, 1), *begin = box_column(node, boxes, axis),
        *end = box_column(node, boxes, 2 + axis);
  if (!begin || !end) return NULL;
  double last = (double)(crop - 1);
  Value *way = emit_constant_grid(node, boxes->type->dtype, 1, &crop, 1, ramp, &last);
  way = emit_transpose(node, way, (int64_t[]){1, 0});
  Value *scaled = emit_binary(node, &op_mul, emit_binary(node, &op_sub, end, begin), way);
  return emit_binary(node, &op_mul, emit_binary(node, &op_add, begin, scaled),
                     emit_scalar(node, begin, (double)size->value - 1));
}

/* Whether positions [R,crop] lie in [0, size - 1]. */
static Value *are_inside(OnnxNode *node, Value *positions, const Dim *size) {
  Value *low = emit_scalar(node, positions, 0), *high = emit_scalar(node, positions, (double)size->value - 1);
  return emit_binary(node, &op_and, emit_binary(node, &op_greater_or_equal, positions, low),
                     emit_binary(node, &op_less_or_equal, positions, high));
}

/* [R,h] and [R,w] as [R,..,h,w,..], with ones elsewhere. */
static Value *spread(OnnxNode *node, Value *x, bool is_row, int lead, int tail) {
  if (!x) return NULL;
  const Dim *one = dim_const(node->module, 1), *dims[MAX_RANK];
  int rank = 0;
  dims[rank++] = x->type->dims[0];
  for (int i = 0; i < lead; i++) dims[rank++] = one;
  dims[rank++] = is_row ? x->type->dims[1] : one;
  dims[rank++] = is_row ? one : x->type->dims[1];
  for (int i = 0; i < tail; i++) dims[rank++] = one;
  return emit_reshape(node, x, rank, dims);
}

/* Of positions [R,h] and [R,w] the grid [R,h,w,2]. */
static Value *crop_grid(OnnxNode *node, Value *rows, Value *columns) {
  const Dim *dims[] = {rows->type->dims[0], rows->type->dims[1], columns->type->dims[1],
                       dim_const(node->module, 1)};
  const Type *part = type_make(node->module, rows->type->dtype, 4, dims);
  Value *parts[] = {emit_broadcast(node, spread(node, columns, false, 0, 1), part),
                    emit_broadcast(node, spread(node, rows, true, 0, 1), part)};
  if (!parts[0] || !parts[1]) return NULL;
  Node *grid = node_new(&node->builder, &op_concat, parts, 2);
  node_set_int(grid, "axis", 3);
  return finish(grid);
}

static bool import_crop_and_resize(OnnxNode *node) {
  Module *module = node->module;
  Value *x = input(node, 0), *boxes = input(node, 1);
  const int64_t *crop;
  int count;
  TRY(input_or_attr_ints(node, 3, "crop_size", &crop, &count));
  if (count != 2 || crop[0] < 1 || crop[1] < 1)
    return onnx_fail(node, "crop_size must be two positive sizes");
  if (x->type->rank != 4 || boxes->type->rank != 2 || !dim_is(boxes->type->dims[1], 4))
    return onnx_fail(node, "crops %s of %s", type_text(module, boxes->type), type_text(module, x->type));
  const Dim *height = x->type->dims[2], *width = x->type->dims[3];
  if (!dim_is_const(height) || !dim_is_const(width))
    return onnx_fail(node, "needs the size of %s: give it with --dim", type_text(module, x->type));
  Value *rows = crop_positions(node, 0, crop[0], height), *columns = crop_positions(node, 1, crop[1], width);
  if (!rows || !columns) return false;
  Value *images = emit(node, &op_gather, (Value *[]){x, input(node, 2)}, 2);
  const char *mode = attr_string_is(node, "mode", "bilinear", "nearest") ? "nearest" : "linear";
  Value *y = emit_grid_sample(node, images, crop_grid(node, rows, columns), mode, "border", "pixels");
  Value *inside = emit_binary(node, &op_and, spread(node, are_inside(node, rows, height), true, 1, 0),
                              spread(node, are_inside(node, columns, width), false, 1, 0));
  Value *outside = emit_scalar(node, y, attr_float(node, "extrapolation_value", 0));
  if (!y || !inside || !outside) return false;
  return set_output(node, emit(node, &op_where, (Value *[]){inside, y, outside}, 3));
}

/* ---- Files */

static Value *reverse_channels(OnnxNode *node, Value *image) {
  if (!image) return NULL;
  const Dim *zero = dim_const(node->module, 0), *last = dim_const(node->module, 2);
  return emit_slice(node, image, (const Dim *[]){zero, zero, last}, image->type->dims,
                    (const int64_t[]){1, 1, -1});
}

static bool import_image_decoder(OnnxNode *node) {
  const char *format = attr_string(node, "pixel_format", "RGB");
  bool gray = strcmp(format, "Grayscale") == 0, reversed = strcmp(format, "BGR") == 0;
  if (!gray && !reversed && strcmp(format, "RGB") != 0)
    return onnx_fail(node, "pixel_format '%s' is not known", format);
  Value *x = input(node, 0);
  Node *core = node_new(&node->builder, &op_image_decode, &x, 1);
  node_set_bool(core, "gray", gray);
  Value *image = finish(core);
  return set_output(node, reversed ? reverse_channels(node, image) : image);
}

static const OnnxRow rows[] = {
    {"AffineGrid", 20, 2, 2, import_affine_grid, NULL},
    {"GridSample", 16, 2, 2, import_grid_sample, NULL},
    {"ImageDecoder", 20, 1, 1, import_image_decoder, NULL},
    {"MaxRoiPool", 1, 2, 2, import_max_roi_pool, NULL},
    {"RoiAlign", 10, 3, 3, import_roi_align, NULL},
    {"RoiAlign", 16, 3, 3, import_roi_align, NULL},
    {"com.microsoft.CropAndResize", 1, 4, 4, import_crop_and_resize, NULL},
    {"com.microsoft.GridSample", 1, 2, 2, import_grid_sample, NULL},
};

const OnnxRows onnx_vision = {rows, COUNT_OF(rows)};
