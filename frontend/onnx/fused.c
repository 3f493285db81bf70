/*
 * fused.c -- operators of com.microsoft that ONNX Runtime's optimizer makes of several of ONNX: each is taken
 * apart again, and the fuse pass decides anew what is one kernel.
 */
#include "frontend/onnx/window.h"

#include <math.h>
#include <string.h>

/* ---- short forms */

static Value *plus(OnnxNode *node, Value *x, Value *y) {
  return y ? emit_binary(node, &op_add, x, y) : x;
}

static Value *cast_like(OnnxNode *node, Value *x, const Value *like) {
  return x ? emit_cast(node, x, like->type->dtype) : NULL;
}

static Value *gelu(OnnxNode *node, Value *x, const char *approximate) {
  if (!x) return NULL;
  Node *core = node_new(&node->builder, &op_gelu, &x, 1);
  node_set_string(core, "approximate", approximate);
  return finish(core);
}

/* Half `index` of the last axis. */
static Value *half(OnnxNode *node, Value *x, int index) {
  const Dim *starts[MAX_RANK], *sizes[MAX_RANK];
  int64_t steps[MAX_RANK];
  if (!x) return NULL;
  int last = x->type->rank - 1;
  for (int i = 0; i <= last; i++) {
    starts[i] = dim_const(node->module, 0);
    sizes[i] = x->type->dims[i];
    steps[i] = 1;
  }
  sizes[last] = dim_floordiv(node->module, sizes[last], dim_const(node->module, 2));
  if (index) starts[last] = sizes[last];
  return emit_slice(node, x, starts, sizes, steps);
}

/* ---- activations by name, as fused operators call them */

typedef struct Activation {
  const char *name;
  const Op *op;
  const char *parameters[2]; /* attributes of the op */
  double absent[2];
} Activation;

static const Activation activations[] = {
    {"Elu", &op_elu, {"alpha"}, {1}},
    {"Gelu", &op_gelu, {NULL}, {0}},
    {"HardSigmoid", &op_hard_sigmoid, {"alpha", "beta"}, {0.2, 0.5}},
    {"HardSwish", &op_hard_swish, {NULL}, {0}},
    {"LeakyRelu", &op_leaky_relu, {"alpha"}, {0.01}},
    {"QuickGelu", NULL, {"alpha"}, {1.702}},
    {"Relu", &op_relu, {NULL}, {0}},
    {"Selu", &op_selu, {"alpha", "gamma"}, {1.67326319217681884765625, 1.05070102214813232421875}},
    {"Sigmoid", &op_sigmoid, {NULL}, {0}},
    {"Softplus", &op_softplus, {NULL}, {0}},
    {"Softsign", &op_softsign, {NULL}, {0}},
    {"Tanh", &op_tanh, {NULL}, {0}},
    {"ThresholdedRelu", &op_thresholded_relu, {"alpha"}, {1}},
};

static Value *quick_gelu(OnnxNode *node, Value *x, double alpha) {
  Value *inner = emit_binary(node, &op_mul, x, emit_scalar(node, x, alpha));
  return emit_binary(node, &op_mul, x, emit_unary(node, &op_sigmoid, inner));
}

/* The activation that attribute `activation` names, with `count` parameters given. */
static Value *activate(OnnxNode *node, Value *x, const double *given, int count) {
  const char *name = attr_string(node, "activation", "");
  if (!x || !*name) return x;
  if (strcmp(name, "Clip") == 0) {
    Value *const operands[] = {x, count > 0 ? emit_scalar(node, x, given[0]) : NULL,
                               count > 1 ? emit_scalar(node, x, given[1]) : NULL};
    return emit(node, &op_clip, operands, 3);
  }
  for (const Activation *a = activations; a < activations + COUNT_OF(activations); a++) {
    if (strcmp(a->name, name) != 0) continue;
    if (!a->op) return quick_gelu(node, x, count > 0 ? given[0] : a->absent[0]);
    Node *core = node_new(&node->builder, a->op, &x, 1);
    for (int i = 0; i < 2 && a->parameters[i]; i++)
      node_set_float(core, a->parameters[i], i < count ? given[i] : a->absent[i]);
    return finish(core);
  }
  onnx_fail(node, "activation '%s' is not known", name);
  return NULL;
}

/* Of attributes activation_alpha and activation_beta. */
static Value *activate_by_attributes(OnnxNode *node, Value *x) {
  static const char *const names[] = {"activation_alpha", "activation_beta"};
  double given[2];
  int count = 0;
  while (count < 2 && attr_find(node, names[count])) {
    given[count] = attr_float(node, names[count], 0);
    count++;
  }
  return activate(node, x, given, count);
}

/* ---- element-wise */

static bool import_bias_gelu(OnnxNode *node) {
  return set_output(node, gelu(node, plus(node, input(node, 0), input(node, 1)), "none"));
}

static bool import_fast_gelu(OnnxNode *node) {
  return set_output(node, gelu(node, plus(node, input(node, 0), input(node, 1)), "tanh"));
}

/* Left half times gelu of the right. */
static bool import_bias_split_gelu(OnnxNode *node) {
  Value *sum = plus(node, input(node, 0), input(node, 1));
  return set_output(node,
                    emit_binary(node, &op_mul, half(node, sum, 0), gelu(node, half(node, sum, 1), "none")));
}

static bool import_bias_add(OnnxNode *node) {
  return set_output(node, plus(node, plus(node, input(node, 0), input(node, 1)), input(node, 2)));
}

static bool import_gated_add(OnnxNode *node) {
  Value *gated = emit_binary(node, &op_mul, input(node, 1), input(node, 2));
  return set_output(node, emit_binary(node, &op_add, input(node, 0), gated));
}

/* Softmax over axis and all behind it, of data + bias; the bias repeats along the axes before `axis`, either
 * the outer ones or the inner ones. */
static bool import_bias_softmax(OnnxNode *node) {
  Value *x = input(node, 0), *bias = input(node, 1);
  Module *module = node->module;
  int64_t axis = attr_int(node, "axis", 1);
  TRY(normal_axis(node, &axis, x->type->rank));
  if (attr_bool(node, "is_inner_broadcast", true)) {
    const Dim *dims[MAX_RANK];
    int own = 0, rank = x->type->rank;
    while (own < axis && own < bias->type->rank && bias->type->dims[own] == x->type->dims[own]) own++;
    for (int i = 0; i < rank; i++) dims[i] = i < own || i >= axis ? x->type->dims[i] : dim_const(module, 1);
    bias = emit_reshape(node, bias, rank, dims);
  }
  Value *sum = emit_binary(node, &op_add, x, bias);
  const Dim *rows[2] = {dim_const(module, 1), dim_const(module, 1)};
  for (int i = 0; i < x->type->rank; i++)
    rows[i >= axis] = dim_mul(module, rows[i >= axis], x->type->dims[i]);
  bool is_last = axis == x->type->rank - 1;
  Value *soft = emit_unary(node, &op_softmax, is_last ? sum : emit_reshape(node, sum, 2, rows));
  return set_output(node, is_last ? soft : emit_reshape(node, soft, x->type->rank, x->type->dims));
}

/* One bool of all elements of all inputs; by default infinite ones are no more finite than NaN. */
static bool import_is_all_finite(OnnxNode *node) {
  bool infinite = attr_bool(node, "isinf_only", false), nan = attr_bool(node, "isnan_only", false);
  if (infinite && nan) return onnx_fail(node, "isinf_only and isnan_only");
  Value *all = NULL;
  for (int i = 0; i < node->input_count; i++) {
    Value *x = input(node, i), *size = emit_unary(node, &op_abs, x);
    Value *bad = emit_unary(node, &op_is_nan, x);
    Value *huge = emit_binary(node, &op_equal, size, emit_scalar(node, x, (double)INFINITY));
    bad = infinite ? huge : nan ? bad : bad && huge ? emit_binary(node, &op_or, bad, huge) : NULL;
    int64_t axes[MAX_RANK];
    for (int k = 0; k < x->type->rank; k++) axes[k] = k;
    bad = emit_cast(node, bad, DTYPE_U8);
    if (x->type->rank) bad = emit_reduce(node, &op_reduce_max, bad, axes, x->type->rank);
    bad = emit_reshape(node, bad, 0, NULL);
    all = all ? emit_binary(node, &op_max, all, bad) : bad;
  }
  return set_output(node, emit_unary(node, &op_not, emit_cast(node, all, DTYPE_BOOL)));
}

static bool import_expand_dims(OnnxNode *node) {
  const int64_t *axis;
  int count;
  Value *x = input(node, 0);
  const Dim *dims[MAX_RANK + 1];
  TRY(input_or_attr_ints(node, 1, "axis", &axis, &count));
  if (count != 1) return onnx_fail(node, "%d axes", count);
  int64_t at = *axis;
  TRY(normal_axis(node, &at, x->type->rank + 1));
  for (int i = 0; i <= x->type->rank; i++)
    dims[i] = i == at ? dim_const(node->module, 1) : x->type->dims[i - (i > at)];
  return set_output(node, emit_reshape(node, x, x->type->rank + 1, dims));
}

static bool import_torch_embedding(OnnxNode *node) {
  return set_output(node, emit_binary(node, &op_gather, input(node, 0), input(node, 1)));
}

/* q and k rotated by angles emb: q cos(emb) + q_rot sin(emb), in q's precision. */
static bool import_gemma_rotary(OnnxNode *node) {
  Value *angles = input(node, 0);
  const Dim *const *d = angles->type->dims;
  if (angles->type->rank != 3) return onnx_fail(node, "emb is %s", type_text(node->module, angles->type));
  angles = emit_reshape(node, angles, 4, (const Dim *const[]){d[0], dim_const(node->module, 1), d[1], d[2]});
  for (int i = 0; i < 2 && i < node->output_count; i++) {
    Value *x = input(node, 1 + 2 * i), *turned = input(node, 2 + 2 * i);
    Value *cos = cast_like(node, emit_unary(node, &op_cos, angles), x);
    Value *sin = cast_like(node, emit_unary(node, &op_sin, angles), x);
    node->outputs[i] =
        plus(node, emit_binary(node, &op_mul, x, cos), emit_binary(node, &op_mul, turned, sin));
    if (!node->outputs[i]) return false;
  }
  return true;
}

/* ---- products */

static Value *transpose_last(OnnxNode *node, Value *x, bool last, bool batch) {
  int64_t perm[MAX_RANK];
  int rank = x->type->rank;
  if (rank < 2 || (!last && !batch)) return x;
  for (int i = 0; i < rank; i++) perm[i] = i;
  if (batch) { /* the first axis goes behind the other batch axes */
    for (int i = 0; i + 2 < rank; i++) perm[i] = i + 1;
    perm[rank - 2] = 0;
  }
  if (last) {
    int64_t swap = perm[rank - 2];
    perm[rank - 2] = perm[rank - 1];
    perm[rank - 1] = swap;
  }
  return emit_transpose(node, x, perm);
}

static Value *matmul(OnnxNode *node) {
  Value *a = transpose_last(node, input(node, 0), attr_bool(node, "transA", false),
                            attr_bool(node, "transBatchA", false));
  Value *b = transpose_last(node, input(node, 1), attr_bool(node, "transB", false),
                            attr_bool(node, "transBatchB", false));
  Value *product = emit_binary(node, &op_matmul, a, b);
  double alpha = attr_float(node, "alpha", 1);
  return alpha == 1 ? product : emit_binary(node, &op_mul, product, emit_scalar(node, product, alpha));
}

static bool import_fused_matmul(OnnxNode *node) {
  return set_output(node, activate_by_attributes(node, matmul(node)));
}

static bool import_fused_gemm(OnnxNode *node) {
  return set_output(node, activate_by_attributes(node, emit_gemm(node)));
}

static bool import_gemm_fast_gelu(OnnxNode *node) {
  Value *product = emit_binary(node, &op_matmul, input(node, 0), input(node, 1));
  return set_output(node, gelu(node, plus(node, product, input(node, 2)), "tanh"));
}

/* Convolution, bias, another tensor, activation. */
static bool import_fused_conv(OnnxNode *node) {
  int count;
  double given[2];
  const float *parameters = attr_floats(node, "activation_params", &count);
  if (count > 2) count = 2;
  for (int i = 0; i < count; i++) given[i] = (double)parameters[i];
  Value *y = emit_conv(node, input(node, 0), input(node, 1), input(node, 2));
  return set_output(node, activate(node, plus(node, y, input(node, 3)), given, count));
}

static bool import_nhwc_fused_conv(OnnxNode *node) {
  if (input(node, 3) && !(node->inputs[3] = emit_channels(node, input(node, 3), false))) return false;
  return import_channels_last(node, import_fused_conv);
}

/* ---- normalizations */

static Value *layer_norm(OnnxNode *node, Value *x, Value *scale, Value *bias, int64_t axis, bool center,
                         double epsilon) {
  if (!x) return NULL;
  Node *core = node_new(&node->builder, &op_layer_norm, (Value *[]){x, scale, bias}, 3);
  node_set_int(core, "axis", axis);
  node_set_float(core, "epsilon", attr_float(node, "epsilon", epsilon));
  node_set_bool(core, "center", center);
  return finish(core);
}

/* Output 3 is the sum; the statistics of training are not given. */
static bool skip_norm(OnnxNode *node, Value *bias, Value *beta, bool center) {
  Value *sum = plus(node, plus(node, input(node, 0), input(node, 1)), bias);
  if (node->output_count > 3) node->outputs[3] = sum;
  return set_output(node, layer_norm(node, sum, input(node, 2), beta, -1, center, 1e-12f));
}

static bool import_skip_layer_norm(OnnxNode *node) {
  return skip_norm(node, input(node, 4), input(node, 3), true);
}

static bool import_skip_rms_norm(OnnxNode *node) {
  return skip_norm(node, input(node, 3), NULL, false);
}

/* Groups of C channels along the last axis, C the size of scale; in f32. */
static bool import_gated_rms_norm(OnnxNode *node) {
  Module *module = node->module;
  Value *x = input(node, 0), *scale = input(node, 1);
  int rank = x->type->rank;
  const Dim *dims[MAX_RANK + 1];
  if (rank < 1 || rank >= MAX_RANK || scale->type->rank != 1)
    return onnx_fail(node, "x is %s, scale %s", type_text(module, x->type), type_text(module, scale->type));
  for (int i = 0; i + 1 < rank; i++) dims[i] = x->type->dims[i];
  dims[rank] = scale->type->dims[0];
  dims[rank - 1] = dim_floordiv(module, x->type->dims[rank - 1], dims[rank]);
  Value *wide = emit_reshape(node, emit_cast(node, x, DTYPE_F32), rank + 1, dims);
  Value *y = layer_norm(node, wide, emit_cast(node, scale, DTYPE_F32), NULL, -1, false, 1e-5);
  y = emit_reshape(node, y, rank, x->type->dims);
  Value *gate = emit_unary(node, &op_silu, emit_cast(node, input(node, 2), DTYPE_F32));
  return set_output(node, cast_like(node, emit_binary(node, &op_mul, y, gate), x));
}

/* x [N, spatial..., C] or [N, C, spatial...]. */
static Value *group_norm(OnnxNode *node, Value *x, bool channels_last) {
  Module *module = node->module;
  int64_t groups = attr_int(node, "groups", 0);
  Value *planes = channels_last ? emit_channels(node, x, false) : x;
  if (!planes) return NULL;
  int rank = planes->type->rank;
  if (rank < 3 || groups < 1) {
    onnx_fail(node, "%lld groups of %s", (long long)groups, type_text(module, x->type));
    return NULL;
  }
  const Dim *const *d = planes->type->dims, *each = dim_floordiv(module, d[1], dim_const(module, groups));
  for (int i = 2; i < rank; i++) each = dim_mul(module, each, d[i]);
  const Dim *const dims[] = {d[0], dim_const(module, groups), each};
  Value *y = layer_norm(node, emit_reshape(node, planes, 3, dims), NULL, NULL, 2, true, 1e-5);
  y = emit_reshape(node, y, rank, d);
  y = emit_binary(node, &op_mul, y, emit_unsqueeze(node, cast_like(node, input(node, 1), x), 0, rank - 2));
  y = emit_binary(node, &op_add, y, emit_unsqueeze(node, cast_like(node, input(node, 2), x), 0, rank - 2));
  if (attr_bool(node, "activation", false)) y = emit_unary(node, &op_silu, y);
  return channels_last ? emit_channels(node, y, true) : y;
}

static bool import_group_norm(OnnxNode *node) {
  return set_output(node, group_norm(node, input(node, 0), attr_bool(node, "channels_last", true)));
}

/* skip is as x, or [N, C]. */
static bool import_skip_group_norm(OnnxNode *node) {
  Value *x = input(node, 0), *skip = input(node, 3), *bias = input(node, 4);
  bool channels_last = attr_bool(node, "channels_last", true);
  int rank = x->type->rank;
  if (rank < 3) return onnx_fail(node, "x is %s", type_text(node->module, x->type));
  if (skip->type->rank == 2) {
    const Dim *dims[MAX_RANK];
    for (int i = 0; i < rank; i++) dims[i] = dim_const(node->module, 1);
    dims[0] = skip->type->dims[0];
    dims[channels_last ? rank - 1 : 1] = skip->type->dims[1];
    skip = emit_reshape(node, skip, rank, dims);
  }
  if (bias && !channels_last) bias = emit_unsqueeze(node, bias, 0, rank - 2);
  Value *sum = plus(node, plus(node, x, skip), bias);
  if (node->output_count > 1) node->outputs[1] = sum;
  return set_output(node, group_norm(node, sum, channels_last));
}

/* ---- embeddings */

enum { WORD_IDS, SEGMENT_IDS, WORDS, POSITIONS, SEGMENTS, GAMMA, BETA, MASK, POSITION_IDS };

/* How many tokens each row of the mask has; 0 without a mask. */
static Value *mask_index(OnnxNode *node) {
  Value *mask = input(node, MASK), *ids = input(node, WORD_IDS);
  const Dim *const rows[] = {ids->type->dims[0]};
  if (!mask)
    return emit_broadcast(node, build_scalar(&node->builder, DTYPE_I32, 0),
                          type_make(node->module, DTYPE_I32, 1, rows));
  Value *sum = emit_reduce(node, &op_reduce_sum, emit_cast(node, mask, DTYPE_I32), (int64_t[]){1}, 1);
  return emit_reshape(node, sum, 1, rows);
}

/* Words, positions and segments looked up, added and normalized. Output 2 is the sum. */
static bool import_embed_layer_norm(OnnxNode *node) {
  Value *ids = input(node, WORD_IDS), *at = input(node, POSITION_IDS);
  if (ids->type->rank != 2) return onnx_fail(node, "input_ids is %s", type_text(node->module, ids->type));
  if (!at) at = emit_unsqueeze(node, emit_positions(node, DTYPE_I32, ids->type->dims[1]), 1, 0);
  Value *sum = plus(node, emit_binary(node, &op_gather, input(node, WORDS), ids),
                    emit_binary(node, &op_gather, input(node, POSITIONS), at));
  if (input(node, SEGMENT_IDS) && input(node, SEGMENTS))
    sum = plus(node, sum, emit_binary(node, &op_gather, input(node, SEGMENTS), input(node, SEGMENT_IDS)));
  if (node->output_count > 1 && !(node->outputs[1] = mask_index(node))) return false;
  if (node->output_count > 2) node->outputs[2] = sum;
  return set_output(node, layer_norm(node, sum, input(node, GAMMA), input(node, BETA), -1, true, 1e-12f));
}

static const OnnxRow rows[] = {
    {"com.microsoft.BiasAdd", 1, 3, 3, import_bias_add, NULL},
    {"com.microsoft.BiasGelu", 1, 2, 2, import_bias_gelu, NULL},
    {"com.microsoft.BiasSoftmax", 1, 2, 2, import_bias_softmax, NULL},
    {"com.microsoft.BiasSplitGelu", 1, 2, 2, import_bias_split_gelu, NULL},
    {"com.microsoft.EmbedLayerNormalization", 1, 1, 9, import_embed_layer_norm, NULL},
    {"com.microsoft.ExpandDims", 1, 2, 2, import_expand_dims, NULL},
    {"com.microsoft.FastGelu", 1, 1, 2, import_fast_gelu, NULL},
    {"com.microsoft.FusedConv", 1, 2, 4, import_fused_conv, NULL},
    {"com.microsoft.FusedGemm", 1, 2, 3, import_fused_gemm, NULL},
    {"com.microsoft.FusedMatMul", 1, 2, 2, import_fused_matmul, NULL},
    {"com.microsoft.FusedMatMulActivation", 1, 2, 2, import_fused_matmul, NULL},
    {"com.microsoft.GatedAdd", 1, 3, 3, import_gated_add, NULL},
    {"com.microsoft.GatedRMSNorm", 1, 3, 3, import_gated_rms_norm, NULL},
    {"com.microsoft.GemmFastGelu", 1, 2, 3, import_gemm_fast_gelu, NULL},
    {"com.microsoft.GemmaRotaryEmbedding", 1, 5, 5, import_gemma_rotary, NULL},
    {"com.microsoft.GroupNorm", 1, 3, 3, import_group_norm, NULL},
    {"com.microsoft.IsAllFinite", 1, 1, -1, import_is_all_finite, NULL},
    {"com.microsoft.NhwcFusedConv", 1, 2, 4, import_nhwc_fused_conv, NULL},
    {"com.microsoft.SkipGroupNorm", 1, 4, 5, import_skip_group_norm, NULL},
    {"com.microsoft.SkipLayerNormalization", 1, 3, 5, import_skip_layer_norm, NULL},
    {"com.microsoft.SkipSimplifiedLayerNormalization", 1, 3, 4, import_skip_rms_norm, NULL},
    {"com.microsoft.SparseToDenseMatMul", 1, 2, 2, import_fused_matmul, NULL},
    {"com.microsoft.TorchEmbedding", 1, 2, 4, import_torch_embedding, NULL},
    {"com.microsoft.TransposeMatMul", 1, 2, 2, import_fused_matmul, NULL},
};

const OnnxRows onnx_fused = {rows, COUNT_OF(rows)};
