/*
 * rnn.c -- SimpleRNN, LSTM, GRU, and Bidirectional around one of them.
 *
 * The products with the input, x.kernel + bias, are computed for all steps before the recurrent op. Keras
 * orders an LSTM's gates i, f, c, o; the op wants i, o, f, c. A GRU with reset_after has a bias of its own
 * for the recurrent products, of which only the candidate's must stay inside.
 */
#include "frontend/keras/keras.h"
#include <string.h>

typedef struct CellKind {
  const char *class_name;
  const Op *op;
  int gates;
  int order[4];               /* where the op's gates are in Keras' */
  const char *activations[3]; /* the members that name f, g, h */
} CellKind;

static const CellKind cells[] = {
    {"GRU", &op_gru, 3, {0, 1, 2}, {"recurrent_activation", "activation"}},
    {"LSTM", &op_lstm, 4, {0, 3, 1, 2}, {"recurrent_activation", "activation", "activation"}},
    {"SimpleRNN", &op_rnn, 1, {0}, {"activation"}},
};

static const CellKind *cell_find(const char *class_name) {
  for (int i = 0; i < COUNT_OF(cells); i++)
    if (!strcmp(cells[i].class_name, class_name)) return &cells[i];
  return NULL;
}

/* One direction: `call` has the configuration of the cell, its weights are called `at`cell/... */
typedef struct Direction {
  Call call;
  const CellKind *kind;
  const char *at;
  int64_t units;
  bool reset_after;
} Direction;

/* ---- weights ---- */

static Value *weight(Direction *d, const char *name, Value *x, int rank, const int64_t *dims) {
  return call_weight(&d->call, arena_printf(d->call.import->module->arena, "%scell/%s", d->at, name), x, rank,
                     dims);
}

/* `size` elements from `start` of the last axis; of a matrix only row `row`, if that is not negative. */
static Value *part_of(Direction *d, Value *w, int64_t row, int64_t start, int64_t size) {
  Module *module = d->call.import->module;
  const Dim *starts[2], *sizes[2];
  int rank = w->type->rank;
  for (int i = 0; i < rank; i++) {
    bool last = i == rank - 1;
    starts[i] = dim_const(module, last ? start : row < 0 ? 0 : row);
    sizes[i] = last ? dim_const(module, size) : row < 0 ? w->type->dims[i] : dim_const(module, 1);
  }
  Node *slice = node_new(d->call.builder, &op_slice, &w, 1);
  node_set_dims(slice, "starts", starts, rank);
  node_set_dims(slice, "sizes", sizes, rank);
  if (!node_finish(slice)) return NULL;
  const Dim *flat = dim_const(module, size);
  return row < 0 ? result(slice, 0) : build_reshape(d->call.builder, result(slice, 0), 1, &flat);
}

/* The gates along the last axis in the op's order. */
static Value *in_order(Direction *d, Value *w) {
  Value *parts[4];
  if (!w || d->kind->op != &op_lstm) return w;
  for (int i = 0; i < d->kind->gates; i++)
    if (!(parts[i] = part_of(d, w, -1, d->kind->order[i] * d->units, d->units))) return NULL;
  Node *concat = node_new(d->call.builder, &op_concat, parts, d->kind->gates);
  node_set_int(concat, "axis", w->type->rank - 1);
  return node_finish(concat) ? result(concat, 0) : NULL;
}

/* What is added outside of the recurrence, and in *inside what a GRU adds to the candidate's product. */
static Value *biases(Direction *d, Value *x, Value **inside) {
  int64_t size = d->kind->gates * d->units, dims[2] = {2, size};
  if (!d->reset_after) return in_order(d, weight(d, "bias", x, 1, &size));
  Module *module = d->call.import->module;
  Value *both = weight(d, "bias", x, 2, dims);
  Value *input = both ? part_of(d, both, 0, 0, size) : NULL;
  Value *state = both ? part_of(d, both, 1, 0, 2 * d->units) : NULL;
  *inside = both ? part_of(d, both, 1, 2 * d->units, d->units) : NULL;
  if (!input || !state || !*inside) return NULL;
  Node *pad = node_new(d->call.builder, &op_pad, &state, 1);
  node_set_dims(pad, "pads", (const Dim *[]){dim_const(module, 0), dim_const(module, d->units)}, 2);
  return node_finish(pad) ? build_binary(d->call.builder, &op_add, input, result(pad, 0)) : NULL;
}

/* ---- one direction ---- */

static bool set_activations(Direction *d, Node *core) {
  static const char *const names[] = {"f", "g", "h"};
  double alpha[3], beta[3];
  bool takes_alpha = false, takes_beta = false;
  int count = 0;
  for (; count < 3 && d->kind->activations[count]; count++) {
    const char *member = d->kind->activations[count];
    const char *normal = strcmp(member, "activation") ? "sigmoid" : "tanh";
    const Op *op = call_activation_op(&d->call, member, normal, &alpha[count], &beta[count]);
    TRY(op);
    node_set_string(core, names[count], op->name);
    takes_alpha |= op_attr_index(op, "alpha") >= 0;
    takes_beta |= op_attr_index(op, "beta") >= 0;
  }
  if (takes_alpha) node_set_floats(core, "alpha", alpha, count);
  if (takes_beta) node_set_floats(core, "beta", beta, count);
  return true;
}

static bool check_configuration(const Direction *d) {
  static const char *const unknown[] = {"return_state", "stateful", "time_major"};
  for (int i = 0; i < COUNT_OF(unknown); i++)
    if (json_flag(d->call.config, unknown[i], false))
      return call_fail(&d->call, "'%s' is not supported", unknown[i]);
  return true;
}

/* NULL with a Diag. */
static Node *run_direction(Direction *d, bool reverse) {
  Call *call = &d->call;
  Builder *builder = call->builder;
  Value *x = call_float_input(call, 0), *inside = NULL;
  if (!x || !check_configuration(d) || !call_int(call, "units", 0, &d->units)) return NULL;
  if (x->type->rank != 3) return call_null(call, "its input has %d axes, not 3", x->type->rank);
  if (d->units < 1 || d->units > INT32_MAX) return call_null(call, "'units' makes no sense");
  d->reset_after = d->kind->op == &op_gru && json_flag(call->config, "reset_after", false);
  int64_t kernel_dims[] = {-1, d->kind->gates * d->units}, r_dims[] = {d->units, kernel_dims[1]};
  Value *kernel = in_order(d, weight(d, "kernel", x, 2, kernel_dims));
  Value *r = in_order(d, weight(d, "recurrent_kernel", x, 2, r_dims));
  Value *xw = kernel && r ? build_binary(builder, &op_matmul, x, kernel) : NULL;
  if (xw && json_flag(call->config, "use_bias", true)) {
    Value *bias = biases(d, x, &inside);
    xw = bias ? build_binary(builder, &op_add, xw, bias) : NULL;
  }
  if (!xw) return NULL;
  Value *operands[LSTM_PEEPHOLES + 1] = {xw, r};
  if (d->kind->op == &op_gru) operands[GRU_BIAS] = inside;
  Node *core = node_new(builder, d->kind->op, operands, d->kind->op->operand_count);
  node_set_bool(core, "batch_first", true);
  node_set_bool(core, "reverse", reverse);
  if (d->reset_after) node_set_bool(core, "linear_before_reset", true);
  if (!set_activations(d, core)) return NULL;
  return node_finish(core) ? core : NULL;
}

static Value *output_of(const Direction *d, Node *core) {
  return result(core, json_flag(d->call.config, "return_sequences", false) ? 0 : 1);
}

/* ---- layers ---- */

/* y of a layer that goes backwards is in the order in which it was made. */
static Value *last_step_first(Call *call, Value *y) {
  Module *module = call->import->module;
  const Dim *zero = dim_const(module, 0), *one = dim_const(module, 1);
  Node *slice = node_new(call->builder, &op_slice, &y, 1);
  node_set_dims(slice, "starts", (const Dim *[]){zero, dim_sub(module, y->type->dims[1], one), zero}, 3);
  node_set_dims(slice, "sizes", y->type->dims, 3);
  node_set_ints(slice, "steps", (int64_t[]){1, -1, 1}, 3);
  return node_finish(slice) ? result(slice, 0) : NULL;
}

static Value *recurrent(Call *call) {
  Direction d = {.call = *call, .kind = cell_find(call->layer->class_name), .at = ""};
  bool backwards = json_flag(call->config, "go_backwards", false);
  Node *core = run_direction(&d, backwards);
  Value *y = core ? output_of(&d, core) : NULL;
  return y && backwards && y->type->rank == 3 ? last_step_first(call, y) : y;
}

static Value *merged(Call *call, Value *forward, Value *backward) {
  const char *mode = json_text(call->config, "merge_mode", "");
  if (!strcmp(mode, "concat")) {
    Node *concat = node_new(call->builder, &op_concat, (Value *[]){forward, backward}, 2);
    node_set_int(concat, "axis", forward->type->rank - 1);
    return node_finish(concat) ? result(concat, 0) : NULL;
  }
  if (!strcmp(mode, "mul")) return build_binary(call->builder, &op_mul, forward, backward);
  if (strcmp(mode, "sum") && strcmp(mode, "ave"))
    return call_null(call, "merge_mode '%s' is not supported", mode);
  Value *sum = build_binary(call->builder, &op_add, forward, backward);
  if (!sum || !strcmp(mode, "sum")) return sum;
  return build_binary(call->builder, &op_mul, sum, build_scalar(call->builder, sum->type->dtype, 0.5));
}

/* The second runs from the last step to the first, and its results are put back into the order of time. */
static Value *bidirectional(Call *call) {
  static const char *const at[] = {"forward_layer/", "backward_layer/"};
  const cJSON *layers[] = {json_member(call->config, "layer"), json_member(call->config, "backward_layer")};
  Value *outputs[2];
  for (int i = 0; i < 2; i++) {
    const cJSON *layer = layers[i] ? layers[i] : layers[0];
    const char *class_name = json_text(layer, "class_name", "");
    Direction d = {.call = *call, .kind = cell_find(class_name), .at = at[i]};
    d.call.config = json_member(layer, "config");
    if (!d.kind) return call_null(call, "around a layer of class '%s' it is not supported", class_name);
    if (json_flag(d.call.config, "go_backwards", false) && layer == layers[0])
      return call_null(call, "around a layer that goes backwards it is not supported");
    Node *core = run_direction(&d, i == 1);
    if (!core) return NULL;
    outputs[i] = output_of(&d, core);
  }
  return merged(call, outputs[0], outputs[1]);
}

#define CELL_WEIGHTS(AT, CONFIG)                                                                             \
  AT "cell/kernel " AT "cell/recurrent_kernel " AT "cell/bias?" CONFIG "use_bias"

const LayerKind rnn_layers[] = {
    {"Bidirectional", bidirectional, 1, 1,
     CELL_WEIGHTS("forward_layer/", "layer.config.") " " CELL_WEIGHTS("backward_layer/", "layer.config.")},
    {"GRU", recurrent, 1, 1, CELL_WEIGHTS("", "")},
    {"LSTM", recurrent, 1, 1, CELL_WEIGHTS("", "")},
    {"SimpleRNN", recurrent, 1, 1, CELL_WEIGHTS("", "")},
    {0},
};
