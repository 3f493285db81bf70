/*
 * moe.c -- com.microsoft.MoE: a mixture of experts; QMoE: with weights of a few bits.
 *
 * All experts see all tokens, in products batched by expert, and each token takes the sum of what they say,
 * with weight 0 for those that its router did not choose. So shapes do not depend on data and kernels are
 * those of any model, at the price of the experts that nobody asked.
 *
 * Sizes: T tokens, E experts, h of a token, i inside an expert.
 */
#include "frontend/onnx/quantize.h"

#include <math.h>
#include <string.h>

enum { TOKENS, ROUTER };

/* Which inputs a layer has; -1: none. */
typedef struct Layer {
  int weights, scales, bias, zeros;
} Layer;

/* Which input is what. */
typedef struct Roles {
  Layer in, out, linear;
  int router_weights;
  bool among_chosen; /* the softmax, whatever normalize_routing_weights says, as in ONNX Runtime */
} Roles;

static const Roles plain = {{2, -1, 3, -1}, {4, -1, 5, -1}, {6, -1, 7, -1}, -1, false};
static const Roles quantized = {{2, 3, 4, 11}, {5, 6, 7, 12}, {8, 9, 10, 13}, 14, true};

static Value *maybe(const OnnxNode *node, int index) {
  return index < 0 ? NULL : input(node, index);
}

/* The gate and what it is multiplied with. */
typedef struct Gated {
  Value *gate, *linear; /* [E,T,i] */
} Gated;

/* ---- the router */

/* Whether an expert is among those chosen: [T,k,E]. */
static Value *hits_of(OnnxNode *node, Value *chosen, const Dim *experts) {
  return emit_binary(node, &op_equal, emit_unsqueeze(node, chosen, 0, 1),
                     emit_positions(node, DTYPE_I64, experts));
}

static Value *sum(OnnxNode *node, Value *x, int64_t axis) {
  return emit_reduce(node, &op_reduce_sum, x, &axis, 1);
}

/* Weights that another router says, as they are or so that those of the chosen have the sum 1. */
static Value *other_weights(OnnxNode *node, Value *x, bool normalized, Value *hits) {
  const Dim *const wide[] = {x->type->dims[0], dim_const(node->module, 1), x->type->dims[1]};
  x = emit_reshape(node, emit_cast(node, x, DTYPE_F32), 3, wide);
  x = x && hits ? sum(node, emit_where(node, hits, x, emit_scalar(node, x, 0)), 1) : NULL;
  return x && normalized ? emit_binary(node, &op_div, x, sum(node, x, 2)) : x;
}

/* The weights of the experts, [T,1,E]: by a softmax over all of them, or over those that are chosen. */
static Value *route(OnnxNode *node, const Roles *roles) {
  Value *logits = emit_cast(node, input(node, ROUTER), DTYPE_F32),
        *other = maybe(node, roles->router_weights);
  const Dim *k = dim_const(node->module, attr_int(node, "k", 1));
  bool normalized = attr_bool(node, "normalize_routing_weights", false),
       among_chosen = normalized || roles->among_chosen;
  if (!logits) return NULL;
  if (other && other->type->rank != 2)
    return onnx_fail(node, "router_weights is %s", type_text(node->module, other->type)), NULL;
  Value *scores = among_chosen || other ? logits : emit_unary(node, &op_softmax, logits);
  Node *top = scores ? node_new(&node->builder, &op_top_k, &scores, 1) : NULL;
  if (!top) return NULL;
  node_set_dims(top, "k", &k, 1);
  if (!node_finish(top)) return NULL;
  Value *hits = hits_of(node, result(top, 1), logits->type->dims[1]);
  if (other) return other_weights(node, other, normalized, hits);
  Value *weights = among_chosen ? emit_unary(node, &op_softmax, result(top, 0)) : result(top, 0);
  weights = emit_unsqueeze(node, weights, 0, 1);
  if (!hits || !weights) return NULL;
  return sum(node, emit_where(node, hits, weights, emit_scalar(node, weights, 0)), 1);
}

/* ---- the experts */

/* As [E,to,from,1] of one number for each output, or [E,to,blocks,1]; x is [E,to] or [E,to,blocks]. */
static Value *by_block(OnnxNode *node, Value *x) {
  return x ? emit_unsqueeze(node, x, 0, 4 - x->type->rank) : NULL;
}

/* Weights [E,to,from] of `bits` bits; scales [E,to], or [E,to,blocks]. */
static Value *dequantized(OnnxNode *node, const Layer *layer) {
  Module *module = node->module;
  int64_t bits = attr_int(node, "expert_weight_bits", 4);
  Value *q = input(node, layer->weights), *scales = input(node, layer->scales),
        *zeros = maybe(node, layer->zeros);
  if (bits != 2 && bits != 4 && bits != 8)
    return onnx_fail(node, "weights of %lld bits", (long long)bits), NULL;
  int rank = scales ? scales->type->rank : 0;
  bool fits = (rank == 2 || (rank == 3 && !dim_is(scales->type->dims[2], 0))) && q->type->dtype == DTYPE_U8 &&
              (!zeros || zeros->type->rank == rank);
  if (!fits)
    return onnx_fail(node, "weights %s with the scales %s and zero points %s", type_text(module, q->type),
                     scales ? type_text(module, scales->type) : "of none",
                     zeros ? type_text(module, zeros->type) : "of none"),
           NULL;
  if (!(q = emit_unpacked(node, q, bits))) return NULL;
  const Dim *const *d = q->type->dims, *one = dim_const(module, 1);
  const Dim *blocks = rank == 3 ? scales->type->dims[2] : one;
  const Dim *const apart[] = {d[0], d[1], blocks, dim_floordiv(module, d[2], blocks)};
  zeros = zeros ? by_block(node, emit_unpacked(node, zeros, bits))
                : build_scalar(&node->builder, DTYPE_F32, (double)(1 << (bits - 1)));
  Value *w = emit_reshape(node, q, 4, apart);
  if (!w || !zeros) return NULL;
  return emit_reshape(node, emit_dequantize(node, w, by_block(node, scales), zeros, DTYPE_F32), 3, d);
}

static Value *layer_weights(OnnxNode *node, const Layer *layer, Dtype dtype) {
  Value *w = input(node, layer->weights), *b = input(node, layer->bias);
  if (w->type->rank == 3 && (!b || b->type->rank == 2))
    return layer->scales < 0 ? w : emit_cast(node, dequantized(node, layer), dtype);
  onnx_fail(node, "weights %s and biases %s are not those of experts", type_text(node->module, w->type),
            b ? type_text(node->module, b->type) : "of none");
  return NULL;
}

/* x [E or 1,T,from] by weights [E,to,from], and a bias [E,to] or none. */
static Value *emit_layer(OnnxNode *node, Value *x, const Layer *layer) {
  static const int64_t perm[] = {0, 2, 1};
  Value *w = x ? layer_weights(node, layer, x->type->dtype) : NULL, *b = input(node, layer->bias);
  if (!w) return NULL;
  Value *y = emit_binary(node, &op_matmul, x, emit_transpose(node, w, perm));
  if (!b) return y;
  const Dim *const row[] = {b->type->dims[0], dim_const(node->module, 1), b->type->dims[1]};
  return emit_binary(node, &op_add, y, emit_reshape(node, b, 3, row));
}

/* Of each row of 2*i every second number, or one half. */
static Value *part(OnnxNode *node, Value *x, bool interleaved, int index) {
  Module *module = node->module;
  const Dim *zero = dim_const(module, 0),
            *count = dim_floordiv(module, x->type->dims[2], dim_const(module, 2));
  const Dim *first = interleaved ? dim_const(module, index) : index ? count : zero;
  return emit_slice(node, x, (const Dim *[]){zero, zero, first},
                    (const Dim *[]){x->type->dims[0], x->type->dims[1], count},
                    (const int64_t[]){1, 1, interleaved ? 2 : 1});
}

static bool read_gated(OnnxNode *node, const Roles *roles, Value *x, Gated *gated) {
  int64_t fusion = attr_int(node, "swiglu_fusion", 0);
  bool swiglu = attr_string_is(node, "activation_type", "relu", "swiglu");
  Value *y = emit_layer(node, x, &roles->in);
  TRY(y);
  *gated = (Gated){.gate = y};
  if (swiglu && fusion) {
    *gated = (Gated){part(node, y, fusion == 1, 0), part(node, y, fusion == 1, 1)};
    return gated->gate && gated->linear;
  }
  if (input(node, roles->linear.weights))
    return (gated->linear = emit_layer(node, x, &roles->linear)) != NULL;
  return !swiglu || onnx_fail(node, "swiglu without fusion wants fc3_experts_weights");
}

static Value *clamped(OnnxNode *node, Value *x, double low, double high) {
  Value *const operands[] = {x, isinf(low) ? NULL : emit_scalar(node, x, low), emit_scalar(node, x, high)};
  return emit(node, &op_clip, operands, 3);
}

/* G * sigmoid(alpha * G) * (L + beta), both within the limit. */
static Value *swiglu(OnnxNode *node, const Gated *gated) {
  double alpha = attr_float(node, "activation_alpha", 1), beta = attr_float(node, "activation_beta", 0);
  double limit = attr_float(node, "swiglu_limit", INFINITY);
  Value *g = gated->gate, *l = gated->linear;
  if (!isinf(limit)) g = clamped(node, g, -INFINITY, limit), l = clamped(node, l, -limit, limit);
  if (!g || !l) return NULL;
  Value *inner = alpha == 1 ? g : emit_binary(node, &op_mul, g, emit_scalar(node, g, alpha));
  g = emit_binary(node, &op_mul, g, emit_unary(node, &op_sigmoid, inner));
  if (beta != 0) l = emit_binary(node, &op_add, l, emit_scalar(node, l, beta));
  return emit_binary(node, &op_mul, g, l);
}

static Value *activated(OnnxNode *node, const Gated *gated) {
  const char *name = attr_string(node, "activation_type", "relu");
  Value *y = gated->gate;
  if (strcmp(name, "swiglu") == 0) return swiglu(node, gated);
  if (strcmp(name, "relu") == 0) {
    y = emit_unary(node, &op_relu, y);
  } else if (strcmp(name, "silu") == 0) {
    y = emit_unary(node, &op_silu, y);
  } else if (strcmp(name, "gelu") == 0) {
    Node *core = node_new(&node->builder, &op_gelu, &y, 1);
    node_set_string(core, "approximate", "tanh");
    y = finish(core);
  } else if (strcmp(name, "identity") != 0) {
    onnx_fail(node, "activation_type '%s' is not known", name);
    return NULL;
  }
  return gated->linear ? emit_binary(node, &op_mul, y, gated->linear) : y;
}

static bool import_experts(OnnxNode *node, const Roles *roles) {
  static const int64_t perm[] = {2, 0, 1}; /* to [E,T,1] */
  Module *module = node->module;
  Value *x = input(node, TOKENS), *router = input(node, ROUTER);
  Gated gated;
  int rank = x->type->rank;
  if (!input(node, roles->out.weights)) return onnx_fail(node, "fc2_experts_weights is missing");
  if (attr_bool(node, "use_sparse_mixer", false)) return onnx_fail(node, "use_sparse_mixer is not supported");
  if ((rank != 2 && rank != 3) || router->type->rank != 2)
    return onnx_fail(node, "%s and %s are not tokens and what their router says", type_text(module, x->type),
                     type_text(module, router->type));
  const Dim *const rows[] = {dim_const(module, 1), router->type->dims[0], x->type->dims[rank - 1]};
  TRY(read_gated(node, roles, emit_reshape(node, x, 3, rows), &gated));
  Value *y = emit_layer(node, activated(node, &gated), &roles->out);
  Value *weights = emit_transpose(node, route(node, roles), perm);
  TRY(y && weights);
  y = sum(node, emit_binary(node, &op_mul, emit_cast(node, y, DTYPE_F32), weights), 0);
  return set_output(node, emit_reshape(node, emit_cast(node, y, x->type->dtype), rank, x->type->dims));
}

static bool import_moe(OnnxNode *node) {
  return import_experts(node, &plain);
}

static bool import_qmoe(OnnxNode *node) {
  if (!attr_string_is(node, "quant_type", "int", "int"))
    return onnx_fail(node, "quant_type '%s' is not supported", attr_string(node, "quant_type", ""));
  return import_experts(node, &quantized);
}

static const OnnxRow rows[] = {
    {"com.microsoft.MoE", 1, 3, 8, import_moe, NULL},
    {"com.microsoft.QMoE", 1, 3, 21, import_qmoe, NULL},
};

const OnnxRows onnx_moe = {rows, COUNT_OF(rows)};
