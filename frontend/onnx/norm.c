/*
 * norm.c -- ONNX normalizations. Those without a core op are written out as means, differences and products;
 * the fuse pass makes one kernel of such a chain.
 */
#include "frontend/onnx/onnx.h"

#include <string.h>

/* ---- Softmax */

/* 1 where the position is that of the first maximum, else 0. */
static Value *one_at(OnnxNode *node, Value *position, const Type *type, int64_t axis) {
  Value *range = emit_positions(node, DTYPE_I64, type->dims[axis]);
  range = emit_unsqueeze(node, range, 0, type->rank - 1 - (int)axis);
  return emit_cast(node, emit_binary(node, &op_equal, position, range), type->dtype);
}

/* The op over the axis; what arg_max finds becomes a one (Hardmax). */
static Value *along_axis(OnnxNode *node, const Op *op, Value *x, int64_t axis) {
  if (!x) return NULL;
  Node *core = node_new(&node->builder, op, &x, 1);
  node_set_int(core, "axis", axis);
  return op == &op_arg_max ? one_at(node, finish(core), x->type, axis) : finish(core);
}

static bool import_softmax(OnnxNode *node) {
  int64_t axis = attr_int(node, "axis", -1);
  TRY(normal_axis(node, &axis, input_rank(node, 0)));
  return set_output(node, along_axis(node, node->row->op, input(node, 0), axis));
}

/* Before opset 13: over all dims from `axis` on, as if they were one. */
static bool import_softmax_legacy(OnnxNode *node) {
  Value *x = input(node, 0);
  const Type *type = x->type;
  int64_t axis = attr_int(node, "axis", 1);
  if (axis != type->rank) TRY(normal_axis(node, &axis, type->rank));
  if (axis == type->rank - 1) return set_output(node, along_axis(node, node->row->op, x, axis));
  const Dim *dims[2] = {dim_const(node->module, 1), dim_const(node->module, 1)};
  for (int i = 0; i < type->rank; i++)
    dims[i >= axis] = dim_mul(node->module, dims[i >= axis], type->dims[i]);
  Value *rows_of_all = along_axis(node, node->row->op, emit_reshape(node, x, 2, dims), 1);
  return set_output(node, emit_reshape(node, rows_of_all, type->rank, type->dims));
}

/* ---- With their own statistics */

typedef struct Moments {
  Value *centered, *inverse; /* x - mean, 1 / sqrt(variance + epsilon) */
  Value *mean, *variance;    /* with the axes at size 1 */
} Moments;

static bool moments(OnnxNode *node, Value *x, const int64_t *axes, int count, double epsilon, Moments *m) {
  m->mean = emit_reduce(node, &op_reduce_mean, x, axes, count);
  m->centered = emit_binary(node, &op_sub, x, m->mean);
  Value *square = emit_binary(node, &op_mul, m->centered, m->centered);
  m->variance = emit_reduce(node, &op_reduce_mean, square, axes, count);
  Value *shifted = emit_binary(node, &op_add, m->variance, emit_scalar(node, x, epsilon));
  m->inverse = emit_binary(node, &op_div, emit_scalar(node, x, 1), emit_unary(node, &op_sqrt, shifted));
  return m->inverse != NULL;
}

/* Statistics of 16-bit floats are those of f32, as stash_type says. */
static Value *stashed(OnnxNode *node, Value *x) {
  bool is_narrow = x && dtype_is_float(x->type->dtype) && dtype_bits(x->type->dtype) < 32;
  return is_narrow ? emit_cast(node, x, DTYPE_F32) : x;
}

static int axes_from(int first, int rank, int64_t *axes) {
  for (int i = first; i < rank; i++) axes[i - first] = i;
  return rank > first ? rank - first : 0;
}

/* scale and bias of [C] for [N,C,spatial...]. */
static Value *scale_and_shift(OnnxNode *node, Value *x, Value *scale, Value *bias) {
  int after = x ? x->type->rank - 2 : 0;
  Value *y = emit_binary(node, &op_mul, x, emit_unsqueeze(node, scale, 0, after));
  return bias ? emit_binary(node, &op_add, y, emit_unsqueeze(node, bias, 0, after)) : y;
}

/* ---- Batch normalization: inputs x, scale, bias, running mean and variance */

enum { SCALE = 1, BIAS, MEAN, VARIANCE };

/* running * momentum + batch * (1 - momentum) */
static Value *running(OnnxNode *node, int index, Value *batch) {
  Value *old = input(node, index);
  double momentum = attr_float(node, "momentum", 0.9f);
  batch = emit_cast(node, emit_reshape(node, batch, old->type->rank, old->type->dims), old->type->dtype);
  return emit_binary(node, &op_add, emit_binary(node, &op_mul, old, emit_scalar(node, old, momentum)),
                     emit_binary(node, &op_mul, batch, emit_scalar(node, old, 1 - momentum)));
}

/* Not spatial: each element of an example has its own statistics, scale and bias, which broadcast as they
 * are.
 */
static Value *batch_scale_and_shift(OnnxNode *node, Value *x, bool spatial) {
  Value *scale = emit_cast(node, input(node, SCALE), x ? x->type->dtype : DTYPE_F32);
  Value *bias = emit_cast(node, input(node, BIAS), x ? x->type->dtype : DTYPE_F32);
  if (spatial) return scale_and_shift(node, x, scale, bias);
  return emit_binary(node, &op_add, emit_binary(node, &op_mul, x, scale), bias);
}

/* With the statistics of the batch. Outputs behind y: the running ones, before opset 14 also the batch's. */
static bool train_batch_norm(OnnxNode *node, bool spatial) {
  Value *x = input(node, 0);
  int64_t axes[MAX_RANK] = {0};
  Moments m;
  int count = spatial ? 1 + axes_from(2, x->type->rank, axes + 1) : 1;
  if (x->type->rank < 2) return onnx_fail(node, "no channels in %s", type_text(node->module, x->type));
  TRY(moments(node, stashed(node, x), axes, count, attr_float(node, "epsilon", 1e-5), &m));
  Value *const batch[] = {m.mean, m.variance};
  for (int i = 1; i < node->output_count && i < 5; i++) {
    const Type *type = input(node, MEAN)->type;
    node->outputs[i] = i < 3 ? running(node, MEAN + i - 1, batch[i - 1])
                             : emit_reshape(node, batch[i - 3], type->rank, type->dims);
    if (!node->outputs[i]) return false;
  }
  Value *y = batch_scale_and_shift(node, emit_binary(node, &op_mul, m.centered, m.inverse), spatial);
  return set_output(node, emit_cast(node, y, x->type->dtype));
}

/* Before opset 9 one example's elements may all have statistics of their own. */
static bool element_batch_norm(OnnxNode *node) {
  Value *x = input(node, 0), *variance = input(node, VARIANCE);
  Value *shifted =
      emit_binary(node, &op_add, variance, emit_scalar(node, variance, attr_float(node, "epsilon", 1e-5)));
  Value *centered = emit_binary(node, &op_sub, x, input(node, MEAN));
  Value *normal = emit_binary(node, &op_div, centered, emit_unary(node, &op_sqrt, shifted));
  return set_output(node, batch_scale_and_shift(node, normal, false));
}

/* Before opset 14 the number of outputs says whether the model is in training. */
static bool import_batch_norm(OnnxNode *node) {
  bool spatial = attr_bool(node, "spatial", true);
  bool trains = node->row->since < 14 ? node->output_count > 1 : attr_bool(node, "training_mode", false);
  if (trains) return train_batch_norm(node, spatial);
  if (!spatial) return element_batch_norm(node);
  Node *core = node_new(&node->builder, &op_batch_norm, node->inputs, 5);
  node_set_int(core, "axis", 1);
  node_set_float(core, "epsilon", attr_float(node, "epsilon", 1e-5));
  return set_output(node, finish(core));
}

/* ---- Others with their own statistics */

static bool import_instance_norm(OnnxNode *node) {
  Value *x = input(node, 0);
  int64_t axes[MAX_RANK];
  Moments m;
  int count = axes_from(2, x->type->rank, axes);
  if (count == 0) return onnx_fail(node, "%s has no spatial dims", type_text(node->module, x->type));
  TRY(moments(node, stashed(node, x), axes, count, attr_float(node, "epsilon", 1e-5), &m));
  Value *normal = emit_cast(node, emit_binary(node, &op_mul, m.centered, m.inverse), x->type->dtype);
  return set_output(node, scale_and_shift(node, normal, input(node, 1), input(node, 2)));
}

/* [N,G,C/G,spatial...]; opset 18 gives scale and bias per group, 21 per channel. */
static bool import_group_norm(OnnxNode *node) {
  Value *x = input(node, 0), *scale = input(node, 1), *bias = input(node, 2);
  Module *module = node->module;
  const Type *type = x->type;
  int64_t groups = attr_int(node, "num_groups", 0), axes[MAX_RANK];
  const Dim *dims[MAX_RANK];
  Moments m;
  if (groups < 1 || type->rank < 3 || type->rank >= MAX_RANK || scale->type->rank != 1 ||
      bias->type->rank != 1)
    return onnx_fail(node, "%lld groups of %s", (long long)groups, type_text(module, type));
  dims[0] = type->dims[0];
  dims[1] = dim_const(module, groups);
  dims[2] = dim_floordiv(module, type->dims[1], dims[1]);
  for (int i = 2; i < type->rank; i++) dims[i + 1] = type->dims[i];
  Value *grouped = stashed(node, emit_reshape(node, x, type->rank + 1, dims));
  TRY(moments(node, grouped, axes, axes_from(2, type->rank + 1, axes), attr_float(node, "epsilon", 1e-5),
              &m));
  Value *normal = emit_cast(node, emit_binary(node, &op_mul, m.centered, m.inverse), type->dtype);
  bool per_group = node->row->since < 21;
  if (per_group) normal = scale_and_shift(node, normal, scale, bias);
  normal = emit_reshape(node, normal, type->rank, type->dims);
  return set_output(node, per_group ? normal : scale_and_shift(node, normal, scale, bias));
}

static bool import_layer_norm(OnnxNode *node) {
  Value *x = input(node, 0);
  int64_t axis = attr_int(node, "axis", -1), axes[MAX_RANK];
  double epsilon = attr_float(node, "epsilon", 1e-5);
  Moments m;
  TRY(normal_axis(node, &axis, x->type->rank));
  if (node->output_count > 1) {
    TRY(moments(node, stashed(node, x), axes, axes_from((int)axis, x->type->rank, axes), epsilon, &m));
    node->outputs[1] = m.mean;
    if (node->output_count > 2) node->outputs[2] = m.inverse;
  }
  Node *core = node_new(&node->builder, &op_layer_norm, node->inputs, node->input_count);
  node_set_int(core, "axis", axis);
  node_set_float(core, "epsilon", epsilon);
  return set_output(node, finish(core));
}

/* x / sqrt(mean(x^2) + epsilon) * scale. */
static bool import_rms_norm(OnnxNode *node) {
  int64_t axis = attr_int(node, "axis", -1);
  TRY(normal_axis(node, &axis, input_rank(node, 0)));
  Node *core = node_new(&node->builder, &op_layer_norm, node->inputs, 2);
  node_set_int(core, "axis", axis);
  node_set_float(core, "epsilon", attr_float(node, "epsilon", 1e-5));
  node_set_bool(core, "center", false);
  return set_output(node, finish(core));
}

/* (x - mean) / (sqrt(mean(x^2) - mean^2) + 1e-9): the variance here is computed from the differences. */
static bool import_mean_variance_norm(OnnxNode *node) {
  Value *x = input(node, 0);
  static const int64_t usual[] = {0, 2, 3};
  int count;
  const int64_t *given = attr_ints(node, "axes", &count);
  if (!given) {
    given = usual;
    count = COUNT_OF(usual);
  }
  if (count < 1 || count > MAX_RANK) return onnx_fail(node, "%d axes", count);
  int64_t axes[MAX_RANK];
  for (int i = 0; i < count; i++) {
    axes[i] = given[i];
    TRY(normal_axis(node, &axes[i], x->type->rank));
  }
  Value *mean = emit_reduce(node, &op_reduce_mean, x, axes, count),
        *centered = emit_binary(node, &op_sub, x, mean);
  Value *variance =
      emit_reduce(node, &op_reduce_mean, emit_binary(node, &op_mul, centered, centered), axes, count);
  Value *deviation =
      emit_binary(node, &op_add, emit_unary(node, &op_sqrt, variance), emit_scalar(node, x, 1e-9));
  return set_output(node, emit_binary(node, &op_div, centered, deviation));
}

static bool import_lp_norm(OnnxNode *node) {
  Value *x = input(node, 0);
  int64_t axis = attr_int(node, "axis", -1), p = attr_int(node, "p", 2);
  TRY(normal_axis(node, &axis, x->type->rank));
  if (p != 1 && p != 2) return onnx_fail(node, "p is %lld", (long long)p);
  Value *powers = p == 1 ? emit_unary(node, &op_abs, x) : emit_binary(node, &op_mul, x, x);
  Value *length = emit_reduce(node, &op_reduce_sum, powers, &axis, 1);
  return set_output(node,
                    emit_binary(node, &op_div, x, p == 1 ? length : emit_unary(node, &op_sqrt, length)));
}

/*
 * x / (bias + alpha/size * sum of squares over `size` neighbouring channels)^beta. The sum is an average pool
 * over [N,1,C,spatial], padding counted.
 */
static bool import_lrn(OnnxNode *node) {
  Value *x = input(node, 0);
  Module *module = node->module;
  const Type *type = x->type;
  int64_t size = attr_int(node, "size", 0);
  if (type->rank < 3 || size < 1 || size > INT32_MAX)
    return onnx_fail(node, "size %lld on %s", (long long)size, type_text(module, type));
  const Dim *rest = dim_const(module, 1);
  for (int i = 2; i < type->rank; i++) rest = dim_mul(module, rest, type->dims[i]);
  const Dim *const dims[] = {type->dims[0], dim_const(module, 1), type->dims[1], rest};
  Value *squares = emit_reshape(node, emit_binary(node, &op_mul, x, x), 4, dims);
  if (!squares) return false;
  Node *pool = node_new(&node->builder, &op_average_pool, &squares, 1);
  node_set_ints(pool, "kernel", (int64_t[]){size, 1}, 2);
  node_set_ints(pool, "strides", (int64_t[]){1, 1}, 2);
  node_set_ints(pool, "dilations", (int64_t[]){1, 1}, 2);
  node_set_ints(pool, "pads", (int64_t[]){(size - 1) / 2, 0, size / 2, 0}, 4);
  node_set_bool(pool, "include_pad", true);
  Value *mean = emit_reshape(node, finish(pool), type->rank, type->dims);
  Value *base = emit_binary(node, &op_mul, mean, emit_scalar(node, x, attr_float(node, "alpha", 1e-4)));
  base = emit_binary(node, &op_add, base, emit_scalar(node, x, attr_float(node, "bias", 1)));
  Value *power = emit_binary(node, &op_pow, base, emit_scalar(node, x, attr_float(node, "beta", 0.75)));
  return set_output(node, emit_binary(node, &op_div, x, power));
}

static const OnnxRow rows[] = {
    {"BatchNormalization", 1, 5, 5, import_batch_norm, NULL},
    {"BatchNormalization", 14, 5, 5, import_batch_norm, NULL},
    {"GroupNormalization", 18, 3, 3, import_group_norm, NULL},
    {"GroupNormalization", 21, 3, 3, import_group_norm, NULL},
    {"Hardmax", 1, 1, 1, import_softmax_legacy, &op_arg_max},
    {"Hardmax", 13, 1, 1, import_softmax, &op_arg_max},
    {"InstanceNormalization", 1, 3, 3, import_instance_norm, NULL},
    {"LRN", 1, 1, 1, import_lrn, NULL},
    {"LayerNormalization", 17, 2, 3, import_layer_norm, NULL},
    {"LogSoftmax", 1, 1, 1, import_softmax_legacy, &op_log_softmax},
    {"LogSoftmax", 13, 1, 1, import_softmax, &op_log_softmax},
    {"LpNormalization", 1, 1, 1, import_lp_norm, NULL},
    {"MeanVarianceNormalization", 9, 1, 1, import_mean_variance_norm, NULL},
    {"RMSNormalization", 23, 2, 2, import_rms_norm, NULL},
    {"SimplifiedLayerNormalization", 1, 2, 2, import_rms_norm, NULL},
    {"Softmax", 1, 1, 1, import_softmax_legacy, &op_softmax},
    {"Softmax", 13, 1, 1, import_softmax, &op_softmax},
};

const OnnxRows onnx_norm = {rows, COUNT_OF(rows)};
