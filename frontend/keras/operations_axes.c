/*
 * operations_axes.c -- products of tensors, and operations along axes: reductions, softmax, running sums (see
 * operations.c).
 */
#include "frontend/einsum.h"
#include "frontend/keras/operations.h"
#include <string.h>

/* ---- products ---- */

static Value *transposed_if(Call *call, Value *x, bool is_transposed) {
  return is_transposed && x ? make_move_axis(call, x, x->type->rank - 1, x->type->rank - 2) : x;
}

static Value *matmul(Call *call) {
  Value *a, *b;
  if (!op_two_operands(call, &a, &b)) return NULL;
  return make_binary(call, &op_matmul, transposed_if(call, a, op_flag(call, 2, "transpose_a", false)),
                     transposed_if(call, b, op_flag(call, 3, "transpose_b", false)));
}

/* The equation of Keras 3 is in the configuration; TensorFlow's comes first among the arguments, or by name.
 */
static const char *equation_of(const Call *call) {
  const cJSON *item = op_param(call, -1, "subscripts");
  if (!item) item = op_param(call, -1, "equation");
  if (!item && call->from) item = json_at(call->from->args, 2);
  return cJSON_IsString(item) ? item->valuestring : NULL;
}

static Value *einsum(Call *call) {
  const char *equation = equation_of(call), *problem = NULL;
  if (!equation) return call_null(call, "it has no equation");
  Value *y = build_einsum(call->builder, equation, call->inputs, call->input_count, &problem);
  return y || !problem ? y : call_null(call, "%s", problem);
}

/* ---- along axes ---- */

static const NamedOp reductions[] = {
    {&op_reduce_max, "Max Amax math.reduce_max Any math.reduce_any"},
    {&op_reduce_mean, "Mean math.reduce_mean Average"},
    {&op_reduce_min, "Min Amin math.reduce_min All math.reduce_all"},
    {&op_reduce_prod, "Prod math.reduce_prod"},
    {&op_reduce_sum, "Sum math.reduce_sum"},
};

/* What is reduced: the axes of the call, absent: all. */
static bool reduced_axes(Call *call, int rank, int64_t *axes, int *count) {
  TRY(op_axes_param(call, op_param(call, 1, "axis"), rank, axes, count));
  for (; *count == 0 && *count < rank;)
    for (int i = 0; i < rank; i++) axes[(*count)++] = i;
  return true;
}

static Value *without_axes(Call *call, Value *x, const int64_t *axes, int count) {
  const Dim *dims[MAX_RANK];
  int rank = 0;
  for (int i = 0; x && i < x->type->rank; i++) {
    bool goes = false;
    for (int k = 0; k < count; k++) goes |= axes[k] == i;
    if (!goes) dims[rank++] = x->type->dims[i];
  }
  return make_reshape(call, x, rank, dims);
}

static Value *keep_axes(Call *call, Value *y, const int64_t *axes, int count) {
  return op_flag(call, 2, "keepdims", false) ? y : without_axes(call, y, axes, count);
}

static Value *reduction(Call *call) {
  const char *name = call->layer->operation;
  const Op *op = op_named(reductions, COUNT_OF(reductions), name);
  Value *x = call->inputs[0];
  int64_t axes[MAX_RANK];
  int count;
  if (!reduced_axes(call, x->type->rank, axes, &count)) return NULL;
  bool is_logical = strstr("Any All math.reduce_any math.reduce_all", name) != NULL;
  if (is_logical)
    x = make_cast(call, x, DTYPE_BOOL);
  else if (op == &op_reduce_mean)
    x = op_floats(call);
  return keep_axes(call, make_reduce(call, op, x, axes, count), axes, count);
}

static Value *variance(Call *call) {
  Value *x = op_floats(call);
  int64_t axes[MAX_RANK];
  int count;
  if (!x || !reduced_axes(call, x->type->rank, axes, &count)) return NULL;
  Value *rest = make_binary(call, &op_sub, x, make_reduce(call, &op_reduce_mean, x, axes, count));
  Value *y = make_reduce(call, &op_reduce_mean, make_binary(call, &op_mul, rest, rest), axes, count);
  const char *name = call->layer->operation;
  if (!strcmp(name, "Std") || !strcmp(name, "math.reduce_std")) y = make_unary(call, &op_sqrt, y);
  return keep_axes(call, y, axes, count);
}

static Value *log_sum_exp(Call *call) {
  Value *x = op_floats(call);
  int64_t axes[MAX_RANK];
  int count;
  if (!x || !reduced_axes(call, x->type->rank, axes, &count)) return NULL;
  Value *most = make_reduce(call, &op_reduce_max, x, axes, count);
  Value *sum = make_reduce(call, &op_reduce_sum,
                           make_unary(call, &op_exp, make_binary(call, &op_sub, x, most)), axes, count);
  return keep_axes(call, make_binary(call, &op_add, make_unary(call, &op_log, sum), most), axes, count);
}

static Value *length(Call *call) {
  Value *x = op_floats(call);
  int64_t axes[MAX_RANK];
  int count;
  const cJSON *order = op_param(call, -1, "ord");
  bool euclidean = !order || (cJSON_IsString(order) && !strcmp(order->valuestring, "euclidean")) ||
                   (cJSON_IsNumber(order) && order->valuedouble == 2);
  if (!euclidean) return call_null(call, "only the euclidean length is supported");
  if (!x || !reduced_axes(call, x->type->rank, axes, &count)) return NULL;
  Value *y = make_reduce(call, &op_reduce_sum, make_binary(call, &op_mul, x, x), axes, count);
  return keep_axes(call, make_unary(call, &op_sqrt, y), axes, count);
}

static Value *normalize(Call *call) {
  Value *x = op_floats(call);
  int64_t axes[MAX_RANK];
  int count;
  if (!x || !reduced_axes(call, x->type->rank, axes, &count)) return NULL;
  if (op_number(call, -1, "order", 2) != 2) return call_null(call, "only the euclidean length is supported");
  return make_unit(call, x, axes, count, op_number(call, -1, "epsilon", 1e-7));
}

static Value *softmax(Call *call) {
  Value *x = op_floats(call);
  int64_t axis = x ? x->type->rank - 1 : 0;
  const cJSON *item = op_param(call, 1, "axis");
  if (!x || (item && !call_axis(call, item, x->type->rank, &axis))) return NULL;
  bool is_log = strstr(call->layer->operation, "og") != NULL;
  Node *node = node_new(call->builder, is_log ? &op_log_softmax : &op_softmax, &x, 1);
  node_set_int(node, "axis", axis);
  return make(node);
}

static Value *arg_extreme(Call *call) {
  Value *x = call->inputs[0];
  int64_t axis = 0;
  const cJSON *item = op_param(call, 1, "axis");
  bool is_max = strstr(call->layer->operation, "max") != NULL,
       all = !item && call->from && call->from->is_keras3;
  if (all) {
    const Dim *flat = type_count(call->import->module, x->type);
    x = make_reshape(call, x, 1, &flat);
  }
  if (!x || (item && !call_axis(call, item, x->type->rank, &axis))) return NULL;
  Node *node = node_new(call->builder, is_max ? &op_arg_max : &op_arg_min, &x, 1);
  node_set_int(node, "axis", axis);
  Value *y = make(node);
  return op_flag(call, 2, "keepdims", false) ? y : make_squeeze(call, y, (int)axis);
}

static Value *running(Call *call) {
  Value *x = call->inputs[0];
  int64_t axis = 0;
  const cJSON *item = op_param(call, 1, "axis");
  if (item && !call_axis(call, item, x->type->rank, &axis)) return NULL;
  bool is_sum = strstr(call->layer->operation, "sum") != NULL;
  Node *node = node_new(call->builder, is_sum ? &op_cum_sum : &op_cum_prod, &x, 1);
  node_set_int(node, "axis", axis);
  return make(node);
}

/* ---- the tables ---- */

const LayerKind *axes_operation(const char *name) {
  static const LayerKind along_axes = {"", reduction, 1, 1, NULL, MASK_ENDS};
  return op_named(reductions, COUNT_OF(reductions), name) ? &along_axes : NULL;
}

/* The rest. */
const LayerKind axes_operations[] = {
    {"Matmul", matmul, 1, 2, NULL, MASK_ENDS},
    {"linalg.matmul", matmul, 1, 2, NULL, MASK_ENDS},
    {"Var", variance, 1, 1, NULL, MASK_ENDS},
    {"Std", variance, 1, 1, NULL, MASK_ENDS},
    {"math.reduce_variance", variance, 1, 1, NULL, MASK_ENDS},
    {"math.reduce_std", variance, 1, 1, NULL, MASK_ENDS},
    {"Logsumexp", log_sum_exp, 1, 1, NULL, MASK_ENDS},
    {"math.reduce_logsumexp", log_sum_exp, 1, 1, NULL, MASK_ENDS},
    {"Norm", length, 1, 1, NULL, MASK_ENDS},
    {"norm", length, 1, 1, NULL, MASK_ENDS},
    {"Normalize", normalize, 1, 1, NULL, MASK_ENDS},
    {"math.l2_normalize", normalize, 1, 1, NULL, MASK_ENDS},
    {"linalg.l2_normalize", normalize, 1, 1, NULL, MASK_ENDS},
    {"Softmax", softmax, 1, 1, NULL, MASK_ENDS},
    {"LogSoftmax", softmax, 1, 1, NULL, MASK_ENDS},
    {"nn.softmax", softmax, 1, 1, NULL, MASK_ENDS},
    {"nn.log_softmax", softmax, 1, 1, NULL, MASK_ENDS},
    {"Argmax", arg_extreme, 1, 1, NULL, MASK_ENDS},
    {"Argmin", arg_extreme, 1, 1, NULL, MASK_ENDS},
    {"math.argmax", arg_extreme, 1, 1, NULL, MASK_ENDS},
    {"math.argmin", arg_extreme, 1, 1, NULL, MASK_ENDS},
    {"Cumsum", running, 1, 1, NULL, MASK_ENDS},
    {"Cumprod", running, 1, 1, NULL, MASK_ENDS},
    {"math.cumsum", running, 1, 1, NULL, MASK_ENDS},
    {"math.cumprod", running, 1, 1, NULL, MASK_ENDS},
    {"Einsum", einsum, 1, 0, NULL, MASK_ENDS},
    {"einsum", einsum, 1, 0, NULL, MASK_ENDS},
    {0},
};
