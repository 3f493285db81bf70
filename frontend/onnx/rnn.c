/*
 * rnn.c -- ONNX's LSTM, GRU and RNN.
 *
 * Each direction becomes one gemm, x*W' + b over all steps, and one recurrent op, whose results get an axis
 * of directions. Biases of input and state are one, except what linear_before_reset keeps inside of the
 * reset.
 */
#include "frontend/onnx/quantize.h"

#include <stdlib.h>
#include <strings.h>

enum { MAX_ACTIVATIONS = 3 };

enum { IN_X, IN_W, IN_R, IN_B, IN_LENGTHS, IN_H, IN_C, IN_P };

/* What the three have in common, and what is different. */
typedef struct Kind {
  const Op *op;
  int gates, activations, results;
  bool rounds_state; /* of DynamicQuantizeLSTM */
} Kind;

typedef struct Layer {
  OnnxNode *node;
  const Kind *kind;
  const Dim *steps, *batch, *features;
  int64_t hidden;
  int directions;
  bool batch_first;         /* layout=1 */
  bool linear_before_reset; /* of GRU */
  const Op *activations[2 * MAX_ACTIVATIONS];
  double alpha[2 * MAX_ACTIVATIONS], beta[2 * MAX_ACTIVATIONS];
} Layer;

/* ---- Activations */

static const struct {
  const char *name;
  const Op *op;
} activations[] = {
    {"Affine", &op_affine},
    {"Elu", &op_elu},
    {"HardSigmoid", &op_hard_sigmoid},
    {"LeakyRelu", &op_leaky_relu},
    {"Relu", &op_relu},
    {"ScaledTanh", &op_scaled_tanh},
    {"Sigmoid", &op_sigmoid},
    {"Softplus", &op_softplus},
    {"Softsign", &op_softsign},
    {"Tanh", &op_tanh},
    {"ThresholdedRelu", &op_thresholded_relu},
};

static const Op *activation_find(const char *name) {
  for (int i = 0; i < COUNT_OF(activations); i++)
    if (strcasecmp(activations[i].name, name) == 0) return activations[i].op;
  return NULL;
}

/* The next given factor if the activation has one of that name, else its default. */
static double next_factor(const Op *op, const char *name, const float *given, int count, int *next) {
  int index = op_attr_index(op, name);
  if (index < 0) return 0;
  return *next < count ? (double)given[(*next)++] : strtod(op->attrs[index].value, NULL);
}

/* f, g, h of the first direction, then of the second; alpha and beta list only what some activation takes. */
static bool read_activations(Layer *layer) {
  OnnxNode *node = layer->node;
  int given, alphas, betas, next_alpha = 0, next_beta = 0, each = layer->kind->activations;
  const char *const *names = attr_strings(node, "activations", &given);
  const float *alpha = attr_floats(node, "activation_alpha", &alphas);
  const float *beta = attr_floats(node, "activation_beta", &betas);
  if (given && given != each * layer->directions)
    return onnx_fail(node, "%d activations, %d are needed", given, each * layer->directions);
  for (int i = 0; i < each * layer->directions; i++) {
    bool is_gate = layer->kind->gates > 1 && i % each == 0;
    const Op *op = given ? activation_find(names[i]) : is_gate ? &op_sigmoid : &op_tanh;
    if (!op) return onnx_fail(node, "unknown activation '%s'", names[i]);
    layer->activations[i] = op;
    layer->alpha[i] = next_factor(op, "alpha", alpha, alphas, &next_alpha);
    layer->beta[i] = next_factor(op, "beta", beta, betas, &next_beta);
  }
  return true;
}

static void set_factors(const Op *const *ops, int count, const char *name, const double *factors,
                        Node *core) {
  bool taken = false;
  for (int i = 0; i < count; i++) taken |= op_attr_index(ops[i], name) >= 0;
  if (taken) node_set_floats(core, name, factors, count);
}

static void set_activations(const Layer *layer, int direction, Node *core) {
  static const char *const names[] = {"f", "g", "h"};
  int each = layer->kind->activations, first = direction * each;
  const Op *const *ops = layer->activations + first;
  for (int i = 0; i < each; i++) node_set_string(core, names[i], ops[i]->name);
  set_factors(ops, each, "alpha", layer->alpha + first, core);
  set_factors(ops, each, "beta", layer->beta + first, core);
}

/* ---- Inputs */

static bool read_direction(Layer *layer, bool *reverse) {
  const char *direction = attr_string(layer->node, "direction", "forward");
  *reverse = strcasecmp(direction, "reverse") == 0;
  bool both = strcasecmp(direction, "bidirectional") == 0;
  layer->directions = both ? 2 : 1;
  if (both || *reverse || strcasecmp(direction, "forward") == 0) return true;
  return onnx_fail(layer->node, "unknown direction '%s'", direction);
}

static bool check_input(const Layer *layer, int index, int rank, const char *what) {
  const Value *value = input(layer->node, index);
  if (!value || value->type->rank == rank) return true;
  return onnx_fail(layer->node, "%s is %s, %d dims are wanted", what,
                   type_text(layer->node->module, value->type), rank);
}

/* Open sizes of weights and states are what hidden_size and direction say. */
static bool known_sizes(Layer *layer) {
  OnnxNode *node = layer->node;
  int64_t hidden = attr_int(node, "hidden_size", 0), gates = layer->kind->gates;
  if (hidden < 1 || hidden > INT32_MAX) return true;
  const struct {
    int input, directions, axis;
    int64_t size;
  } known[] = {{IN_W, 0, 1, gates * hidden},
               {IN_R, 0, 1, gates * hidden},
               {IN_R, 0, 2, hidden},
               {IN_B, 0, 1, 2 * gates * hidden},
               {IN_P, 0, 1, 3 * hidden},
               {IN_H, layer->batch_first, 2, hidden},
               {IN_C, layer->batch_first, 2, hidden}};
  for (int i = 0; i < COUNT_OF(known); i++) {
    Value *value = input(node, known[i].input);
    if (!value) continue;
    value = emit_known_axis(node, value, known[i].directions, layer->directions);
    node->inputs[known[i].input] = emit_known_axis(node, value, known[i].axis, known[i].size);
    TRY(node->inputs[known[i].input]);
  }
  return true;
}

static bool read_sizes(Layer *layer) {
  OnnxNode *node = layer->node;
  TRY(check_input(layer, IN_X, 3, "X") && check_input(layer, IN_W, 3, "W") &&
      check_input(layer, IN_R, 3, "R") && check_input(layer, IN_B, 2, "B") &&
      check_input(layer, IN_H, 3, "initial_h") && check_input(layer, IN_C, 3, "initial_c") &&
      check_input(layer, IN_P, 2, "P"));
  TRY(known_sizes(layer));
  const Type *x = input(node, IN_X)->type, *r = input(node, IN_R)->type;
  layer->steps = x->dims[layer->batch_first];
  layer->batch = x->dims[!layer->batch_first];
  layer->features = x->dims[2];
  if (!dim_is_const(r->dims[2]) || r->dims[2]->value < 1)
    return onnx_fail(node, "R is %s: its last dim must be a constant", type_text(node->module, r));
  layer->hidden = r->dims[2]->value;
  int64_t given = attr_int(node, "hidden_size", layer->hidden);
  if (given == layer->hidden) return true;
  return onnx_fail(node, "hidden_size is %lld, R is %s", (long long)given, type_text(node->module, r));
}

/* `size` elements from `start` of one axis. */
static Value *part_of(Layer *layer, Value *x, int axis, int64_t start, int64_t size) {
  const Dim *starts[MAX_RANK], *sizes[MAX_RANK];
  int64_t steps[MAX_RANK];
  if (!x) return NULL;
  for (int i = 0; i < x->type->rank; i++) {
    starts[i] = dim_const(layer->node->module, i == axis ? start : 0);
    sizes[i] = i == axis ? dim_const(layer->node->module, size) : x->type->dims[i];
    steps[i] = 1;
  }
  return emit_slice(layer->node, x, starts, sizes, steps);
}

/* What an input holds for one direction; the axis of directions is gone. NULL when the input is absent. */
static Value *direction_of(Layer *layer, int index, int axis, int direction) {
  Value *part = part_of(layer, input(layer->node, index), axis, direction, 1);
  const Dim *dims[MAX_RANK];
  int rank = 0;
  if (!part) return NULL;
  for (int i = 0; i < part->type->rank; i++)
    if (i != axis) dims[rank++] = part->type->dims[i];
  return emit_reshape(layer->node, part, rank, dims);
}

static Value *state_of(Layer *layer, int index, int direction) {
  return direction_of(layer, index, layer->batch_first, direction);
}

/* ---- Biases: [Wb, Rb], each [gates*hidden] */

static Value *bias_outside(Layer *layer, int direction) {
  int64_t size = layer->kind->gates * layer->hidden, kept = layer->linear_before_reset ? layer->hidden : 0;
  Value *both = direction_of(layer, IN_B, 0, direction);
  if (!both) return NULL;
  Value *state = part_of(layer, both, 0, size, size - kept);
  if (state && kept) {
    Node *pad = node_new(&layer->node->builder, &op_pad, &state, 1);
    const Dim *pads[] = {dim_const(layer->node->module, 0), dim_const(layer->node->module, kept)};
    node_set_dims(pad, "pads", pads, 2);
    state = finish(pad);
  }
  return emit_binary(layer->node, &op_add, part_of(layer, both, 0, 0, size), state);
}

static Value *bias_inside(Layer *layer, int direction) {
  if (!layer->linear_before_reset) return NULL;
  return part_of(layer, direction_of(layer, IN_B, 0, direction), 0, 5 * layer->hidden, layer->hidden);
}

/* ---- One direction */

/* x*W' + b: [.., gates*hidden]. */
static Value *input_products(Layer *layer, int direction) {
  OnnxNode *node = layer->node;
  Value *x = input(node, IN_X), *w = direction_of(layer, IN_W, 0, direction);
  Value *bias = bias_outside(layer, direction);
  if (!w || (input(node, IN_B) && !bias)) return NULL;
  const Dim *rows = dim_mul(node->module, layer->steps, layer->batch);
  const Dim *gates = dim_const(node->module, layer->kind->gates * layer->hidden);
  Value *flat = emit_reshape(node, x, 2, (const Dim *[]){rows, layer->features});
  if (!flat) return NULL;
  Node *gemm = node_new(&node->builder, &op_gemm, (Value *[]){flat, w, bias}, 3);
  node_set_bool(gemm, "trans_b", true);
  return emit_reshape(node, finish(gemm), 3, (const Dim *[]){x->type->dims[0], x->type->dims[1], gates});
}

static Node *emit_direction(Layer *layer, int direction, bool reverse) {
  OnnxNode *node = layer->node;
  Value *xw = input_products(layer, direction);
  Value *r = emit_transpose(node, direction_of(layer, IN_R, 0, direction), (int64_t[]){1, 0});
  if (!xw || !r) return NULL;
  Value *operands[LSTM_PEEPHOLES + 1] = {xw, r, state_of(layer, IN_H, direction), input(node, IN_LENGTHS)};
  const Op *op = layer->kind->op;
  if (op == &op_lstm) {
    operands[LSTM_C0] = state_of(layer, IN_C, direction);
    operands[LSTM_PEEPHOLES] = direction_of(layer, IN_P, 0, direction);
  }
  if (op == &op_gru) operands[GRU_BIAS] = bias_inside(layer, direction);
  Node *core = node_new(&node->builder, op, operands, op->operand_count);
  node_set_bool(core, "reverse", reverse);
  node_set_bool(core, "batch_first", layer->batch_first);
  node_set_float(core, "clip", attr_float(node, "clip", 0));
  if (op == &op_lstm) node_set_bool(core, "input_forget", attr_bool(node, "input_forget", false));
  if (op == &op_lstm) node_set_bool(core, "rounds_state", layer->kind->rounds_state);
  if (op == &op_gru) node_set_bool(core, "linear_before_reset", layer->linear_before_reset);
  set_activations(layer, direction, core);
  return node_finish(core) ? core : NULL;
}

/* The results of all directions side by side on a new axis. */
static Value *stack(Layer *layer, Node *const *cores, int index, int axis) {
  Value *parts[2];
  for (int i = 0; i < layer->directions; i++) {
    const Type *type = result(cores[i], index)->type;
    const Dim *dims[MAX_RANK];
    for (int k = 0; k <= type->rank; k++)
      dims[k] = k == axis ? dim_const(layer->node->module, 1) : type->dims[k - (k > axis)];
    parts[i] = emit_reshape(layer->node, result(cores[i], index), type->rank + 1, dims);
    if (!parts[i]) return NULL;
  }
  if (layer->directions == 1) return parts[0];
  Node *concat = node_new(&layer->node->builder, &op_concat, parts, layer->directions);
  node_set_int(concat, "axis", axis);
  return finish(concat);
}

static bool import_layer(OnnxNode *node, const Kind *kind) {
  Layer layer = {.node = node, .kind = kind, .batch_first = attr_bool(node, "layout", false)};
  layer.linear_before_reset = kind->op == &op_gru && attr_bool(node, "linear_before_reset", false);
  bool reverse;
  TRY(read_direction(&layer, &reverse) && read_sizes(&layer) && read_activations(&layer));
  Node *cores[2];
  for (int i = 0; i < layer.directions; i++) TRY(cores[i] = emit_direction(&layer, i, reverse || i == 1));
  for (int i = 0; i < kind->results && i < node->output_count; i++) {
    int axis = i == 0 ? 1 + layer.batch_first : layer.batch_first;
    TRY(node->outputs[i] = stack(&layer, cores, i, axis));
  }
  return true;
}

static bool import_lstm(OnnxNode *node) {
  return import_layer(node, &(Kind){&op_lstm, 4, 3, 3, false});
}

/* Weights [directions, features, gates*hidden] in 8 bits, whose scales and zero points are for a direction or
 * for each of its columns, as the floats of an LSTM, [directions, gates*hidden, features]. */
static Value *real_weights(OnnxNode *node, int index, int scale) {
  Value *parameters[2] = {input(node, scale), input(node, scale + 1)};
  for (int i = 0; i < 2; i++) {
    Value *x = parameters[i];
    if (!x || x->type->rank < 1 || x->type->rank > 2)
      return onnx_fail(node, "input %d has no dims [directions] or [directions, gates*hidden]", scale + i),
             NULL;
    const Dim *dims[] = {x->type->dims[0], dim_const(node->module, 1),
                         x->type->rank == 2 ? x->type->dims[1] : dim_const(node->module, 1)};
    parameters[i] = emit_reshape(node, x, 3, dims);
  }
  Value *w = emit_dequantize(node, input(node, index), parameters[0], parameters[1], DTYPE_F32);
  if (w && w->type->rank != 3) return onnx_fail(node, "input %d has %d dims", index, w->type->rank), NULL;
  return emit_transpose(node, w, (int64_t[]){0, 2, 1});
}

/* com.microsoft's LSTM multiplies 8-bit integers: X as a whole and the state at every step get a scale. */
static bool import_dynamic_quantize_lstm(OnnxNode *node) {
  enum { W_SCALE = 8, R_SCALE = 10 };
  Value *scale = NULL, *zero = NULL;
  Value *x = build_dynamic_quantize(&node->builder, input(node, IN_X), &scale, &zero);
  node->inputs[IN_X] = emit_dequantize(node, x, scale, zero, DTYPE_F32);
  node->inputs[IN_W] = real_weights(node, IN_W, W_SCALE);
  node->inputs[IN_R] = real_weights(node, IN_R, R_SCALE);
  for (int i = 0; i <= IN_R; i++) TRY(node->inputs[i]);
  return import_layer(node, &(Kind){&op_lstm, 4, 3, 3, true});
}

static bool import_gru(OnnxNode *node) {
  return import_layer(node, &(Kind){&op_gru, 3, 2, 2, false});
}

static bool import_rnn(OnnxNode *node) {
  return import_layer(node, &(Kind){&op_rnn, 1, 1, 2, false});
}

static const OnnxRow rows[] = {
    {"GRU", 1, 3, 6, import_gru, NULL},
    {"LSTM", 1, 3, 8, import_lstm, NULL},
    {"RNN", 1, 3, 6, import_rnn, NULL},
    {"com.microsoft.DynamicQuantizeLSTM", 1, 3, 12, import_dynamic_quantize_lstm, NULL},
};

const OnnxRows onnx_rnn = {rows, COUNT_OF(rows)};
