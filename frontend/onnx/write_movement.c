/*
 * write_movement.c -- what moves elements, with sizes that may be open.
 *
 * ONNX's operators take sizes as inputs. Few have to be computed: Reshape copies a size (0) and infers one
 * (-1), Expand keeps what is 1, Slice only lists the axes it cuts and takes "to the end" for an end.
 */
#include "frontend/onnx/write.h"

#include <limits.h>
#include <string.h>

static const Dim *number(const Writer *writer, int64_t value) {
  return dim_const(writer->module, value);
}

/* ---- Shapes */

/* Whether 0 and -1 can stand for the sizes that are open: at most one of them is not at its place in x, and
 * no size is really 0. */
static bool can_infer(const Type *x, const Type *y) {
  int unknown = 0;
  for (int i = 0; i < y->rank; i++) {
    if (dim_is(y->dims[i], 0)) return false;
    unknown += !dim_is_const(y->dims[i]) && !(i < x->rank && x->dims[i] == y->dims[i]);
  }
  return unknown <= 1;
}

const char *write_reshape(Writer *writer, const Node *node) {
  const Type *x = operand(node, 0)->type, *y = result(node, 0)->type;
  const Dim *dims[MAX_RANK];
  bool infer = can_infer(x, y);
  for (int i = 0; i < y->rank; i++) {
    bool same = i < x->rank && x->dims[i] == y->dims[i];
    dims[i] = !infer || dim_is_const(y->dims[i]) ? y->dims[i] : number(writer, same ? 0 : -1);
  }
  const char *shape = put_sizes(writer, dims, y->rank);
  const char *name = put2(writer, "Reshape", name_of_operand(writer, node, 0), shape);
  if (name && !infer) with_int(writer, "allowzero", 1);
  return name;
}

const char *write_broadcast(Writer *writer, const Node *node) {
  const Type *x = operand(node, 0)->type, *y = result(node, 0)->type;
  const Dim *dims[MAX_RANK];
  int shift = y->rank - x->rank;
  for (int i = 0; i < y->rank; i++)
    dims[i] = i >= shift && x->dims[i - shift] == y->dims[i] ? number(writer, 1) : y->dims[i];
  return put2(writer, "Expand", name_of_operand(writer, node, 0), put_sizes(writer, dims, y->rank));
}

/* start, start + 1, ..: [size]. */
static const char *put_range(Writer *writer, const Dim *start, const Dim *size, Dtype dtype) {
  const char *first = put_size(writer, start), *count = first ? put_size(writer, size) : NULL;
  const char *end = put2(writer, "Add", first, count);
  if (!end) return NULL;
  const char *range = put3(writer, "Range", put_reshape(writer, first, NULL, 0),
                           put_reshape(writer, end, NULL, 0), put_number(writer, DTYPE_I64, 1));
  return put_cast(writer, range, DTYPE_I64, dtype);
}

const char *write_iota(Writer *writer, const Node *node) {
  const Type *type = result(node, 0)->type;
  int count, axis = (int)node_axis(node, "axis", type->rank);
  int64_t dims[MAX_RANK];
  const char *y = put_range(writer, node_dims(node, "start", &count)[0], type->dims[axis], type->dtype);
  if (!y || type->rank == 1) return y;
  for (int i = 0; i < type->rank; i++) dims[i] = i == axis ? -1 : 1;
  return put2(writer, "Expand", put_reshape(writer, y, dims, type->rank),
              put_sizes(writer, type->dims, type->rank));
}

/* ---- Parts */

/* Where a slice ends: the first position behind it, in ONNX's words. */
static const Dim *end_of(const Writer *writer, const Dim *start, const Dim *size, int64_t step,
                         const Dim *whole) {
  const Dim *end = dim_add(writer->module, start, dim_mul(writer->module, size, number(writer, step)));
  if (step < 0 && dim_is_const(end) && end->value < 0) return number(writer, INT64_MIN);
  return step == 1 && end == whole ? number(writer, INT64_MAX) : end;
}

const char *write_slice(Writer *writer, const Node *node) {
  const Type *x = operand(node, 0)->type;
  const Dim *starts[MAX_RANK], *ends[MAX_RANK];
  int64_t axes[MAX_RANK], steps[MAX_RANK];
  int cut = 0, count, step_count;
  const Dim *const *from = node_dims(node, "starts", &count), *const *sizes =
                                                                  node_dims(node, "sizes", &count);
  const int64_t *given = node_ints(node, "steps", &step_count);
  for (int i = 0; i < count; i++) {
    int64_t step = step_count ? given[i] : 1;
    if (dim_is(from[i], 0) && step == 1 && sizes[i] == x->dims[i]) continue;
    axes[cut] = i;
    steps[cut] = step;
    starts[cut] = from[i];
    ends[cut] = end_of(writer, from[i], sizes[i], step, x->dims[i]);
    if (step < 0 && !dim_is_const(ends[cut]))
      return write_fail(writer, "axis %d is taken backwards, to an open position", i);
    cut++;
  }
  const char *inputs[] = {name_of_operand(writer, node, 0), put_sizes(writer, starts, cut),
                          put_sizes(writer, ends, cut), put_ints(writer, axes, cut),
                          put_ints(writer, steps, cut)};
  if (cut == 0) return inputs[0];
  return inputs[1] && inputs[2] ? put(writer, "Slice", COUNT_OF(inputs), inputs) : NULL;
}

const char *write_pad(Writer *writer, const Node *node) {
  int count;
  const Dim *const *pads = node_dims(node, "pads", &count);
  const char *y = put3(writer, "Pad", name_of_operand(writer, node, 0), put_sizes(writer, pads, count),
                       put_scalar(writer, operand(node, 1)));
  if (y) with_string(writer, "mode", node_string(node, "mode"));
  return y;
}

/* Windows are rows of a gather, whose axis of elements goes to the end. */
const char *write_unfold(Writer *writer, const Node *node) {
  const Type *y = result(node, 0)->type;
  int rank = y->rank, axis = (int)node_axis(node, "axis", rank - 1);
  int64_t perm[MAX_RANK];
  const Dim *zero = number(writer, 0);
  const char *starts = put_range(writer, zero, y->dims[axis], DTYPE_I64);
  const char *inside = put_range(writer, zero, number(writer, node_int(node, "size")), DTYPE_I64);
  if (!starts) return NULL;
  starts = put2(writer, "Mul", starts, put_number(writer, DTYPE_I64, (double)node_int(node, "step")));
  const char *indices = put2(writer, "Add", put_reshape(writer, starts, (int64_t[]){-1, 1}, 2), inside);
  const char *windows = put2(writer, "Gather", name_of_operand(writer, node, 0), indices);
  with_int(writer, "axis", axis);
  for (int i = 0; i < rank; i++) perm[i] = i == rank - 1 ? axis + 1 : i <= axis ? i : i + 1;
  return put_transpose(writer, windows, perm, rank);
}

const char *write_reverse_sequence(Writer *writer, const Node *node) {
  int rank = operand(node, 0)->type->rank;
  int64_t time = node_axis(node, "time_axis", rank), batch = node_axis(node, "batch_axis", rank);
  if (time + batch != 1) return write_fail(writer, "ONNX reverses along axes 0 and 1 only");
  const char *y = put2(writer, "ReverseSequence", name_of_operand(writer, node, 0),
                       put_index(writer, operand(node, 1), false));
  with_int(writer, "time_axis", time);
  with_int(writer, "batch_axis", batch);
  return y;
}

/* ---- Resampling */

/* Factors where the operator has any, which ONNX takes for all axes or none; else "". */
static const char *put_scales(Writer *writer, const Node *node) {
  const Type *x = operand(node, 0)->type, *y = result(node, 0)->type;
  int count;
  const double *given = node_floats(node, "scales", &count);
  Data *data = data_new(writer->module, DTYPE_F32, x->rank);
  bool any = false;
  for (int i = 0; i < count; i++) any |= given[i] != 0;
  if (!any) return name_of(writer, NULL);
  for (int i = 0; i < x->rank; i++) {
    double scale = given[i];
    if (scale == 0 && x->dims[i] == y->dims[i]) scale = 1;
    if (scale == 0 && dim_is_const(x->dims[i]) && dim_is_const(y->dims[i]))
      scale = (double)y->dims[i]->value / (double)x->dims[i]->value;
    if (scale == 0) return write_fail(writer, "some axes have factors, but axis %d has open sizes", i);
    dtype_set(DTYPE_F32, data_bytes(data), i, scale);
  }
  return put_data(writer, data, 1, &(int64_t){x->rank}, NULL);
}

static const char *put_roi(Writer *writer, const Node *node) {
  int count;
  const double *roi = node_floats(node, "roi", &count);
  if (count == 0) return name_of(writer, NULL);
  Data *data = data_new(writer->module, DTYPE_F32, count);
  for (int i = 0; i < count; i++) dtype_set(DTYPE_F32, data_bytes(data), i, roi[i]);
  return put_data(writer, data, 1, &(int64_t){count}, NULL);
}

const char *write_resize(Writer *writer, const Node *node) {
  static const char *const words =
      "mode coordinates:coordinate_transformation_mode nearest:nearest_mode "
      "cubic_coeff:cubic_coeff_a exclude_outside antialias extrapolation:extrapolation_value";
  const Type *y = result(node, 0)->type;
  if (node_string_is(node, "coordinates", "tf_half_pixel_for_nn"))
    return write_fail(writer, "opset %d has no coordinates tf_half_pixel_for_nn", MOST_OPSET);
  const char *scales = put_scales(writer, node);
  if (!scales) return NULL;
  const char *sizes = *scales ? name_of(writer, NULL) : put_sizes(writer, y->dims, y->rank);
  const char *inputs[] = {name_of_operand(writer, node, 0), put_roi(writer, node), scales, sizes};
  if (!sizes) return NULL;
  const char *name = put(writer, "Resize", COUNT_OF(inputs), inputs);
  write_words(writer, node, words);
  return name;
}

const char *write_grid_sample(Writer *writer, const Node *node) {
  if (node_string_is(node, "coordinates", "pixels")) return write_fail(writer, "a grid in pixels");
  const char *y =
      put2(writer, "GridSample", name_of_operand(writer, node, 0), name_of_operand(writer, node, 1));
  write_words(writer, node, "mode padding:padding_mode");
  with_int(writer, "align_corners", node_string_is(node, "coordinates", "align_corners"));
  return y;
}

const char *write_roi_align(Writer *writer, const Node *node) {
  int count;
  const int64_t *sizes = node_ints(node, "sizes", &count);
  const char *y = put3(writer, "RoiAlign", name_of_operand(writer, node, 0), name_of_operand(writer, node, 1),
                       put_index(writer, operand(node, 2), false));
  write_words(writer, node, "scale:spatial_scale samples:sampling_ratio mode");
  with_int(writer, "output_height", sizes[0]);
  with_int(writer, "output_width", sizes[1]);
  with_string(writer, "coordinate_transformation_mode",
              node_bool(node, "half_pixel") ? "half_pixel" : "output_half_pixel");
  return y;
}
