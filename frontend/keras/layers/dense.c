/*
 * dense.c -- Dense, EinsumDense, Embedding, ReversibleEmbedding: products with a kernel, and tables.
 */
#include "frontend/einsum.h"
#include "frontend/keras/keras.h"

/* kernel [in][units], which is how matmul takes it. */
static Value *dense(Call *call) {
  Value *x = call_float_input(call, 0);
  int64_t dims[2] = {-1, 0};
  if (!x || !call_int(call, "units", 0, &dims[1])) return NULL;
  Value *kernel = call_weight(call, "kernel", x, 2, dims);
  Value *y = make_binary(call, &op_matmul, x, kernel);
  if (y) y = call_bias(call, y, dims[1]);
  return y ? call_activation(call, y) : NULL;
}

/* A weight of whatever shape it has in the file. */
static Value *any_weight(Call *call, const char *name, Value *like) {
  int64_t any[MAX_RANK];
  const StoredArray *stored = call_stored(call, name);
  for (int i = 0; i < MAX_RANK; i++) any[i] = -1;
  return call_weight(call, name, like, stored ? stored->rank : 0, any);
}

/* The bias has the last axes of the result, 1 along those that share it. */
static Value *einsum_dense(Call *call) {
  Value *x = call_float_input(call, 0);
  const char *equation = json_text(call->config, "equation", ""), *problem = NULL;
  Value *kernel = x ? any_weight(call, "kernel", x) : NULL;
  if (!kernel) return NULL;
  Value *y = build_einsum(call->builder, equation, (Value *[]){x, kernel}, 2, &problem);
  if (!y) return problem ? call_null(call, "%s", problem) : NULL;
  if (call_has_weight(call, "bias")) y = make_binary(call, &op_add, y, any_weight(call, "bias", y));
  return y ? call_activation(call, y) : NULL;
}

static Value *as_indices(Call *call, Value *x) {
  return x->type->dtype == DTYPE_I32 ? x : make_cast(call, x, DTYPE_I64);
}

/* What is 0 does not count, if the layer says so. */
static Value *zero_mask(Call *call, Value *x) {
  if (!json_flag(call->config, "mask_zero", false)) return NULL;
  return make_unary(call, &op_not, make_number(call, &op_equal, x, 0));
}

static Value *look_up(Call *call, Value *table) {
  Value *x = call->inputs[0];
  if (x->type->dtype == DTYPE_STRING || x->type->dtype == DTYPE_BOOL)
    return call_null(call, "its input is %s, no numbers", dtype_name(x->type->dtype));
  call->mask = zero_mask(call, x);
  return make_gather(call, table, as_indices(call, x), 0);
}

static Value *embedding(Call *call) {
  int64_t dims[2];
  if (!call_int(call, "input_dim", -1, &dims[0]) || !call_int(call, "output_dim", -1, &dims[1])) return NULL;
  return look_up(call, call_weight_of(call, "embeddings", DTYPE_F32, 2, dims));
}

/* Forward a table; in reverse the products with all of its rows, or with a kernel of its own. */
static Value *reversible_embedding(Call *call) {
  if (!call_argument_flag(call, 1, "reverse")) return embedding(call);
  Value *x = call_float_input(call, 0);
  bool is_tied = !call_has_weight(call, "reverse_embeddings");
  int64_t any[2] = {-1, -1};
  if (!x) return NULL;
  Value *kernel = call_weight(call, is_tied ? "embeddings" : "reverse_embeddings", x, 2, any);
  if (is_tied) kernel = make_transpose(call, kernel, (int64_t[]){1, 0});
  Value *y = make_binary(call, &op_matmul, x, kernel);
  double cap = json_number(call->config, "logit_soft_cap", 0);
  call->mask = call->masks[0];
  if (cap == 0) return y;
  return make_number(call, &op_mul, make_unary(call, &op_tanh, make_number(call, &op_div, y, cap)), cap);
}

const LayerKind dense_layers[] = {
    {"Dense", dense, 1, 1, "kernel bias?use_bias", MASK_PASSES},
    {"EinsumDense", einsum_dense, 1, 1, "kernel bias?bias_axes", MASK_ENDS},
    {"Embedding", embedding, 1, 1, "embeddings", MASK_OWN},
    {"ReversibleEmbedding", reversible_embedding, 1, 1, "embeddings reverse_embeddings?!tie_weights",
     MASK_OWN},
    {0},
};
