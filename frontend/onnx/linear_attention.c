/*
 * linear_attention.c -- the layers of recurrent language models, of ONNX and of com.microsoft: linear
 * attention and the short causal convolution before it, which both carry a state from call to call.
 */
#include "frontend/onnx/attention.h"

#include <string.h>

/* ---- LinearAttention */

enum { QUERY, KEY, VALUE, PAST, DECAY, BETA, ERASE };

typedef struct Rule {
  const char *name;
  bool decays, corrects;
} Rule;

static const Rule rules[] = {
    {"delta", false, true}, {"gated", true, false}, {"gated_delta", true, true}, {"linear", false, false}};

static const Rule *find_rule(OnnxNode *node) {
  const char *name = attr_string(node, "update_rule", "gated_delta");
  for (int i = 0; i < COUNT_OF(rules); i++)
    if (strcmp(rules[i].name, name) == 0) return &rules[i];
  onnx_fail(node, "update_rule '%s' is not known", name);
  return NULL;
}

static bool check_inputs(OnnxNode *node, const Rule *rule) {
  if (!input(node, DECAY) == rule->decays) return onnx_fail(node, "decay and update_rule '%s'", rule->name);
  if (!input(node, BETA) == rule->corrects) return onnx_fail(node, "beta and update_rule '%s'", rule->name);
  if (input(node, ERASE) && !rule->corrects)
    return onnx_fail(node, "erase_gate and update_rule '%s'", rule->name);
  if (attr_int(node, "state_window", 0)) return onnx_fail(node, "state_window is not supported");
  return true;
}

/* Gates are [b, t, heads] or [b, t, heads*d]; beta may have one number for all heads. */
static Value *split_gate(OnnxNode *node, int index, int64_t heads) {
  Heads gate;
  Value *x = input(node, index);
  bool is_shared = x->type->rank == 3 && dim_is(x->type->dims[2], 1);
  return heads_split(node, x, is_shared ? 1 : heads, &gate) ? gate.x : NULL;
}

static bool import_linear_attention(OnnxNode *node) {
  const Rule *rule = find_rule(node);
  int64_t heads = attr_int(node, "kv_num_heads", 0);
  Attention a = {0};
  if (!rule || !check_inputs(node, rule)) return false;
  TRY(heads_split(node, input(node, QUERY), attr_int(node, "q_num_heads", 0), &a.q));
  TRY(heads_split(node, input(node, KEY), heads, &a.k) && heads_split(node, input(node, VALUE), heads, &a.v));
  TRY(read_scale(node, &a));
  Value *operands[7] = {emit_binary(node, &op_mul, a.q.x, emit_scalar(node, a.q.x, a.scale)), a.k.x, a.v.x,
                        input(node, PAST)};
  for (int i = DECAY; i <= ERASE; i++)
    if (input(node, i) && !(operands[i] = split_gate(node, i, heads))) return false;
  if (rule->decays) operands[DECAY] = emit_unary(node, &op_exp, operands[DECAY]);
  if (!operands[QUERY] || (rule->decays && !operands[DECAY])) return false;
  Node *core = node_new(&node->builder, &op_linear_attention, operands, 7);
  if (!node_finish(core)) return false;
  if (node->output_count > 1) node->outputs[1] = result(core, 1);
  const Heads y = {result(core, 0), true};
  return set_output(node, heads_merge(node, &y));
}

/* decay = decay_scale * softplus(a + dt_bias) and beta = sigmoid(b), in f32. */
static bool import_gate(OnnxNode *node) {
  Value *a = input(node, 0);
  Value *sum = emit_binary(node, &op_add, emit_cast(node, a, DTYPE_F32), input(node, 1));
  Value *decay = emit_binary(node, &op_mul, emit_unary(node, &op_softplus, sum), input(node, 2));
  if (node->output_count > 1 && input(node, 3))
    node->outputs[1] = emit_unary(node, &op_sigmoid, input(node, 3));
  return set_output(node, emit_cast(node, decay, a->type->dtype));
}

/* ---- CausalConvWithState: x [b, c, t], weight [c, 1, k]; the state are the last (k-1)*dilation positions */

enum { X, WEIGHT, BIAS, STATE };

static Value *depthwise(OnnxNode *node, Value *x, int64_t dilation) {
  Value *weight = input(node, WEIGHT);
  const Dim *channels = weight->type->dims[0];
  if (!dim_is_const(channels) || !x) {
    if (x) onnx_fail(node, "weight is %s", type_text(node->module, weight->type));
    return NULL;
  }
  Node *core = node_new(&node->builder, &op_conv, (Value *[]){x, weight, input(node, BIAS)}, 3);
  node_set_int(core, "group", channels->value);
  if (dilation != 1) node_set_ints(core, "dilations", &dilation, 1);
  return finish(core);
}

/* With the state in front, or as many zeros. */
static Value *with_state(OnnxNode *node, Value *x, Value *state, const Dim *length) {
  if (!x) return NULL;
  const Dim *zero = dim_const(node->module, 0), *const pads[] = {zero, zero, length, zero, zero, zero};
  bool joins = state != NULL;
  Value *const operands[] = {joins ? state : x, joins ? x : emit_scalar(node, x, 0)};
  Node *core = node_new(&node->builder, joins ? &op_concat : &op_pad, operands, 2);
  if (joins)
    node_set_int(core, "axis", 2);
  else
    node_set_dims(core, "pads", pads, 6);
  return finish(core);
}

static bool causal_conv(OnnxNode *node, Value *x, Value *state, Value **y, Value **last) {
  const Type *weight = input(node, WEIGHT)->type;
  int64_t dilation = attr_int(node, "dilation", 1);
  const char *activation = attr_string(node, "activation", "none");
  bool silu = strcmp(activation, "silu") == 0 || strcmp(activation, "swish") == 0;
  if (x->type->rank != 3 || weight->rank != 3 || !dim_is_const(weight->dims[2]) || weight->dims[2]->value < 1)
    return onnx_fail(node, "x is %s, weight %s", type_text(node->module, x->type),
                     type_text(node->module, weight));
  if (dilation < 1 || dilation > INT32_MAX) return onnx_fail(node, "dilation is %lld", (long long)dilation);
  if (!silu && strcmp(activation, "none") != 0)
    return onnx_fail(node, "activation '%s' is not known", activation);
  const Dim *length = dim_const(node->module, (weight->dims[2]->value - 1) * dilation);
  Value *padded = with_state(node, x, state, length);
  const Dim *const *d = x->type->dims, *zero = dim_const(node->module, 0);
  *y = depthwise(node, padded, dilation);
  if (silu) *y = emit_unary(node, &op_silu, *y);
  *last = emit_slice(node, padded, (const Dim *const[]){zero, zero, d[2]},
                     (const Dim *const[]){d[0], d[1], length}, (int64_t[]){1, 1, 1});
  return *y && *last;
}

static bool import_causal_conv(OnnxNode *node) {
  Value *y, *last;
  TRY(causal_conv(node, input(node, X), input(node, STATE), &y, &last));
  if (node->output_count > 1) node->outputs[1] = last;
  return set_output(node, y);
}

/* [b, t, channels in any number of axes] as [b, c, t]. */
static Value *to_channels_first(OnnxNode *node, Value *x) {
  const Type *type = x->type;
  const Dim *channels = dim_const(node->module, 1);
  for (int i = 2; i < type->rank; i++) channels = dim_mul(node->module, channels, type->dims[i]);
  const Dim *const dims[] = {type->dims[0], type->dims[1], channels};
  return emit_transpose(node, emit_reshape(node, x, 3, dims), (int64_t[]){0, 2, 1});
}

static Value *to_channels_last(OnnxNode *node, Value *x, const Type *like) {
  const Dim *dims[MAX_RANK];
  for (int i = 0; i < like->rank; i++) dims[i] = like->dims[i];
  if (!x) return NULL;
  dims[1] = x->type->dims[2];
  return emit_reshape(node, emit_transpose(node, x, (int64_t[]){0, 2, 1}), like->rank, dims);
}

static bool import_microsoft_causal_conv(OnnxNode *node) {
  Value *x = input(node, X), *state = input(node, STATE), *y, *last;
  if (attr_int(node, "ndim", 1) != 1) return onnx_fail(node, "ndim above 1 is not supported");
  if (attr_int(node, "state_window", 0)) return onnx_fail(node, "state_window is not supported");
  if (!attr_bool(node, "channels_last", false)) return import_causal_conv(node);
  if (x->type->rank < 3) return onnx_fail(node, "x is %s", type_text(node->module, x->type));
  Value *planes = to_channels_first(node, x);
  if (state) state = to_channels_first(node, state);
  if (!planes || (input(node, STATE) && !state)) return false;
  TRY(causal_conv(node, planes, state, &y, &last));
  if (node->output_count > 1 && !(node->outputs[1] = to_channels_last(node, last, x->type))) return false;
  return set_output(node, to_channels_last(node, y, x->type));
}

static const OnnxRow rows[] = {
    {"CausalConvWithState", 27, 2, 4, import_causal_conv, NULL},
    {"LinearAttention", 27, 3, 7, import_linear_attention, NULL},
    {"com.microsoft.CausalConvWithState", 1, 2, 4, import_microsoft_causal_conv, NULL},
    {"com.microsoft.LinearAttention", 1, 3, 6, import_linear_attention, NULL},
    {"com.microsoft.LinearAttentionGate", 1, 3, 4, import_gate, NULL},
};

const OnnxRows onnx_linear_attention = {rows, COUNT_OF(rows)};
