/*
 * training.c -- ONNX's steps of optimisers and gradients (ai.onnx.preview.training), as arithmetic.
 *
 * Inputs of a step are the learning rate, the number of steps so far, then all tensors of each kind: what is
 * optimised, its gradients, and the state that the optimiser keeps of each. Outputs are the new values of the
 * first kind and of the state.
 */
#include "frontend/onnx/onnx.h"

#include <string.h>

enum { RATE, STEP, TENSORS }; /* inputs */
enum { MAX_STATES = 2 };

typedef struct Slot {
  Value *x, *gradient;
  Value *states[MAX_STATES]; /* replaced by the new ones */
} Slot;

/* The new x; sets the new states. Rate is a scalar of x's type, step one of f64. */
typedef Value *(*Update)(OnnxNode *node, Slot *slot, Value *rate, Value *step);

static Value *times(OnnxNode *node, Value *x, double factor) {
  return emit_binary(node, &op_mul, x, emit_scalar(node, x, factor));
}

static Value *plus(OnnxNode *node, Value *x, double addend) {
  return emit_binary(node, &op_add, x, emit_scalar(node, x, addend));
}

/* With that of the penalty norm_coefficient/2 |x|^2. */
static Value *regularized(OnnxNode *node, const Slot *slot) {
  Value *penalty = times(node, slot->x, attr_float(node, "norm_coefficient", 0));
  return emit_binary(node, &op_add, penalty, slot->gradient);
}

/* where(step > 0, later, first) */
static Value *after_first(OnnxNode *node, Value *step, Value *later, Value *first) {
  return emit_where(node, emit_binary(node, &op_greater, step, emit_scalar(node, step, 0)), later, first);
}

/* Duchi et al. 2011. */
static Value *update_adagrad(OnnxNode *node, Slot *slot, Value *rate, Value *step) {
  Value *decay = plus(node, times(node, step, attr_float(node, "decay_factor", 0)), 1);
  rate = emit_binary(node, &op_div, rate, emit_cast(node, decay, rate->type->dtype));
  Value *gradient = regularized(node, slot), **h = &slot->states[0];
  *h = emit_binary(node, &op_add, *h, emit_binary(node, &op_mul, gradient, gradient));
  Value *length = plus(node, emit_unary(node, &op_sqrt, *h), attr_float(node, "epsilon", 1e-6));
  Value *change = emit_binary(node, &op_div, emit_binary(node, &op_mul, rate, gradient), length);
  return emit_binary(node, &op_sub, slot->x, change);
}

static Value *blend(OnnxNode *node, Value *old, Value *fresh, double keep) {
  return emit_binary(node, &op_add, times(node, old, keep), times(node, fresh, 1 - keep));
}

/* 1 - factor^step */
static Value *correction(OnnxNode *node, Value *step, double factor) {
  Value *power = emit_binary(node, &op_pow, emit_scalar(node, step, factor), step);
  return emit_binary(node, &op_sub, emit_scalar(node, step, 1), power);
}

/* Kingma and Ba 2015; the rate is corrected for the zeros that the averages began with. */
static Value *update_adam(OnnxNode *node, Slot *slot, Value *rate, Value *step) {
  double alpha = attr_float(node, "alpha", 0.9f), beta = attr_float(node, "beta", 0.999f);
  Value *gradient = regularized(node, slot), **v = &slot->states[0], **h = &slot->states[1];
  *v = blend(node, *v, gradient, alpha);
  *h = blend(node, *h, emit_binary(node, &op_mul, gradient, gradient), beta);
  Value *length = plus(node, emit_unary(node, &op_sqrt, *h), attr_float(node, "epsilon", 1e-6));
  Value *root = emit_unary(node, &op_sqrt, correction(node, step, beta));
  Value *factor = emit_binary(node, &op_div, root, correction(node, step, alpha));
  Value *corrected = emit_binary(node, &op_mul, rate, emit_cast(node, factor, rate->type->dtype));
  rate = after_first(node, step, corrected, rate);
  Value *change = emit_binary(node, &op_mul, rate, emit_binary(node, &op_div, *v, length));
  return times(node, emit_binary(node, &op_sub, slot->x, change),
               1 - attr_float(node, "norm_coefficient_post", 0));
}

/* The first gradient counts whole; Nesterov's variant looks a step ahead. */
static Value *update_momentum(OnnxNode *node, Slot *slot, Value *rate, Value *step) {
  double alpha = attr_float(node, "alpha", 0.9);
  Value *gradient = regularized(node, slot), **v = &slot->states[0], *way;
  Value *beta = after_first(node, step, emit_scalar(node, rate, attr_float(node, "beta", 1)),
                            emit_scalar(node, rate, 1));
  *v = emit_binary(node, &op_add, times(node, *v, alpha), emit_binary(node, &op_mul, beta, gradient));
  way = attr_string_is(node, "mode", "", "nesterov")
            ? emit_binary(node, &op_add, gradient, times(node, *v, alpha))
            : *v;
  return emit_binary(node, &op_sub, slot->x, emit_binary(node, &op_mul, rate, way));
}

static Value *scalar_input(OnnxNode *node, int index) {
  Value *x = input(node, index);
  return x->type->rank > 0 ? emit_reshape(node, x, 0, NULL) : x;
}

static bool update_all(OnnxNode *node, Update update, int states) {
  int kinds = 2 + states, count = (node->input_count - TENSORS) / kinds;
  if ((node->input_count - TENSORS) % kinds || node->output_count > count * (1 + states))
    return onnx_fail(node, "%d inputs and %d outputs: the tensors come in groups of %d, with %d results each",
                     node->input_count, node->output_count, kinds, 1 + states);
  Value *rate = scalar_input(node, RATE), *step = emit_cast(node, scalar_input(node, STEP), DTYPE_F64);
  for (int i = 0; i < count; i++) {
    Value **first = &node->inputs[TENSORS + i];
    Slot slot = {.x = first[0], .gradient = first[count]};
    for (int k = 0; k < states; k++) slot.states[k] = first[(2 + k) * count];
    Value *fresh = update(node, &slot, emit_cast(node, rate, slot.x->type->dtype), step);
    if (!fresh) return false;
    if (i < node->output_count) node->outputs[i] = fresh;
    for (int k = 0; k < states; k++)
      if ((1 + k) * count + i < node->output_count) node->outputs[(1 + k) * count + i] = slot.states[k];
  }
  return true;
}

static bool import_adagrad(OnnxNode *node) {
  return update_all(node, update_adagrad, 1);
}

static bool import_adam(OnnxNode *node) {
  return update_all(node, update_adam, 2);
}

static bool import_momentum(OnnxNode *node) {
  return update_all(node, update_momentum, 1);
}

/* ---- Gradient ---- */

/* The values that the node's attributes name, of the types that its inputs have. */
static bool read_named(OnnxNode *node, const char *list, Value **named, int *count) {
  int more;
  const char *const *names = attr_strings(node, list, &more);
  for (int i = 0; names && i < more; i++) {
    Value *x = scope_find(node->import, node->scope, intern(node->module, names[i]));
    if (*count == node->input_count)
      return onnx_fail(node, "xs and zs name more values than there are inputs");
    const Value *given = node->inputs[*count];
    if (!x || !given) return onnx_fail(node, "%s names '%s', which has no value here", list, names[i]);
    if (!type_same_shape(x->type, given->type) || x->type->dtype != given->type->dtype)
      return onnx_fail(node, "'%s' is %s, but input %d is %s", names[i], type_text(node->module, x->type),
                       *count, type_text(node->module, given->type));
    named[(*count)++] = x;
  }
  return true;
}

/* The inputs stand for the values that xs and zs name; gradients are those with respect to xs. */
static bool import_gradient(OnnxNode *node) {
  Value **named = NEW_ARRAY(node->module->arena, Value *, node->input_count + 1);
  Value **gradients = NEW_ARRAY(node->module->arena, Value *, node->input_count + 1);
  int count = 0, wanted;
  TRY(read_named(node, "xs", named, &count));
  wanted = count;
  TRY(read_named(node, "zs", named, &count));
  const char *name = attr_string(node, "y", "");
  Value *y = scope_find(node->import, node->scope, intern(node->module, name));
  if (!y || !y->def) return onnx_fail(node, "y names '%s', which is computed by no node of this graph", name);
  if (count != node->input_count || node->output_count > wanted)
    return onnx_fail(node, "%d inputs and %d outputs for %d xs and %d zs", node->input_count,
                     node->output_count, wanted, count - wanted);
  if (!dtype_is_float(y->type->dtype)) return onnx_fail(node, "y is %s", type_text(node->module, y->type));
  TRY(build_gradients(&node->builder, y, count, named, node->inputs, gradients));
  memcpy(node->outputs, gradients, sizeof *gradients * (size_t)node->output_count);
  return true;
}

static const OnnxRow rows[] = {
    {"ai.onnx.preview.training.Adagrad", 1, 5, -1, import_adagrad, NULL},
    {"ai.onnx.preview.training.Adam", 1, 6, -1, import_adam, NULL},
    {"ai.onnx.preview.training.Gradient", 1, 1, -1, import_gradient, NULL},
    {"ai.onnx.preview.training.Momentum", 1, 5, -1, import_momentum, NULL},
};

const OnnxRows onnx_training = {rows, COUNT_OF(rows)};
