/* legacy.c -- operators that ONNX had before version 1.0 and early exporters still write. */
#include "frontend/onnx/onnx.h"

static Value *scaled(OnnxNode *node, Value *x, double factor) {
  return emit_binary(node, &op_mul, x, emit_scalar(node, x, factor));
}

static bool import_affine(OnnxNode *node) {
  Value *x = scaled(node, input(node, 0), attr_float(node, "alpha", 1));
  return set_output(node, emit_binary(node, &op_add, x, emit_scalar(node, x, attr_float(node, "beta", 0))));
}

static bool import_scale(OnnxNode *node) {
  return set_output(node, scaled(node, input(node, 0), attr_float(node, "scale", 1)));
}

static bool import_scaled_tanh(OnnxNode *node) {
  Node *core = node_new(&node->builder, &op_scaled_tanh, node->inputs, 1);
  node_set_float(core, "alpha", attr_float(node, "alpha", 1));
  node_set_float(core, "beta", attr_float(node, "beta", 1));
  return set_output(node, finish(core));
}

static bool import_parametric_softplus(OnnxNode *node) {
  Value *x = emit_unary(node, &op_softplus, scaled(node, input(node, 0), attr_float(node, "beta", 1)));
  return set_output(node, scaled(node, x, attr_float(node, "alpha", 1)));
}

/* x*scale + bias by channel. */
static bool import_image_scaler(OnnxNode *node) {
  Value *x = input(node, 0);
  int count;
  const float *bias = attr_floats(node, "bias", &count);
  if (x->type->rank != 4 || (count > 0 && dim_is_const(x->type->dims[1]) && !dim_is(x->type->dims[1], count)))
    return onnx_fail(node, "%d biases for %s", count, type_text(node->module, x->type));
  Value *y = scaled(node, x, attr_float(node, "scale", 1));
  if (count == 0 || !y) return set_output(node, y);
  Data *data = data_new(node->module, x->type->dtype, count);
  for (int i = 0; i < count; i++) dtype_set(data->dtype, data_bytes(data), i, (double)bias[i]);
  int64_t dims[] = {count, 1, 1};
  Value *biases = build_const(&node->builder, type_static(node->module, data->dtype, 3, dims), data, NULL);
  return set_output(node, emit_binary(node, &op_add, y, biases));
}

/* border: left, top, right, bottom; with scale, height and width of what stays, right and bottom do not
 * count. */
static bool import_crop(OnnxNode *node) {
  Value *x = input(node, 0);
  int count, scale_count;
  const int64_t *border = attr_ints(node, "border", &count), *scale = attr_ints(node, "scale", &scale_count);
  if (x->type->rank != 4 || count != 4 || (scale && scale_count != 2))
    return onnx_fail(node, "%d borders and %d sizes for %s", count, scale_count,
                     type_text(node->module, x->type));
  for (int i = 0; i < 4; i++)
    if (border[i] < 0 || border[i] > INT32_MAX || (scale && (scale[i / 2] < 0 || scale[i / 2] > INT32_MAX)))
      return onnx_fail(node, "border[%d] is %lld", i, (long long)border[i]);
  const Dim *zero = dim_const(node->module, 0);
  const Dim *starts[] = {zero, zero, dim_const(node->module, border[1]), dim_const(node->module, border[0])};
  const Dim *sizes[4];
  for (int i = 0; i < 4; i++) sizes[i] = x->type->dims[i];
  for (int i = 0; i < 2; i++) {
    const Dim *cut = dim_const(node->module, border[i ? 0 : 1] + border[i ? 2 : 3]);
    sizes[2 + i] = scale ? dim_const(node->module, scale[i]) : dim_sub(node->module, sizes[2 + i], cut);
  }
  return set_output(node, emit_slice(node, x, starts, sizes, (int64_t[]){1, 1, 1, 1}));
}

static const OnnxRow rows[] = {
    {"Affine", 1, 1, 1, import_affine, NULL},
    {"Crop", 1, 1, 1, import_crop, NULL},
    {"ImageScaler", 1, 1, 1, import_image_scaler, NULL},
    {"ParametricSoftplus", 1, 1, 1, import_parametric_softplus, NULL},
    {"Scale", 1, 1, 1, import_scale, NULL},
    {"ScaledTanh", 1, 1, 1, import_scaled_tanh, NULL},
};

const OnnxRows onnx_legacy = {rows, COUNT_OF(rows)};
