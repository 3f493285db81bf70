/*
 * tensor.c -- concrete tensors, and how their shapes bind the symbols of a graph.
 *
 * Binding takes two rounds: an axis that is a bare symbol gives its value, then every axis must evaluate to
 * the size that was given. So `N` may stand beside `N+1`, but not alone as `N+1`.
 */
#include "ir/run.h"

#include <stdlib.h>
#include <string.h>

enum { TENSOR_ALIGNMENT = 64 };

static bool count_of(int rank, const int64_t *dims, int64_t *count) {
  bool overflow = false, empty = false;
  *count = 1;
  for (int i = 0; i < rank; i++) {
    if (dims[i] < 0) return false;
    empty |= dims[i] == 0;
    overflow |= __builtin_mul_overflow(*count, dims[i], count);
  }
  if (empty) *count = 0;
  return empty || !overflow;
}

bool tensor_new(Tensor *tensor, Dtype dtype, int rank, const int64_t *dims) {
  int64_t count;
  size_t size;
  *tensor = (Tensor){.dtype = dtype, .rank = rank};
  if (rank < 0 || rank > MAX_RANK || !count_of(rank, dims, &count) || !dtype_bytes(dtype, count, &size))
    return false;
  if (rank > 0) memcpy(tensor->dims, dims, sizeof *dims * (size_t)rank);
  if (size > PTRDIFF_MAX - TENSOR_ALIGNMENT) return false;
  size_t rounded =
      (size + TENSOR_ALIGNMENT) & ~(size_t)(TENSOR_ALIGNMENT - 1); /* at least one line, also when empty */
  tensor->data = aligned_alloc(TENSOR_ALIGNMENT, rounded);
  if (!tensor->data) return false;
  memset(tensor->data, 0, rounded);
  return true;
}

bool tensor_new_list(Tensor *tensor, Dtype dtype, int64_t count) {
  *tensor = (Tensor){.dtype = dtype, .rank = 1, .dims = {count}, .kind = TENSOR_LIST};
  tensor->data = calloc((size_t)count + 1, sizeof(Tensor));
  return tensor->data != NULL;
}

void tensor_free(Tensor *tensor) {
  for (int64_t i = 0; tensor->kind == TENSOR_LIST && tensor->data && i < tensor->dims[0]; i++)
    tensor_free((Tensor *)tensor->data + i);
  free(tensor->data);
  tensor->data = NULL;
}

int64_t tensor_count(const Tensor *tensor) {
  int64_t count;
  return count_of(tensor->rank, tensor->dims, &count) ? count : -1;
}

size_t tensor_size(const Tensor *tensor) {
  size_t size = 0;
  dtype_bytes(tensor->dtype, tensor_count(tensor), &size);
  return size;
}

void tensor_keep_strings(Module *module, Tensor *tensor) {
  const char **texts = tensor->data;
  for (int64_t i = 0, count = tensor_count(tensor); i < count; i++)
    texts[i] = intern(module, texts[i] ? texts[i] : "");
}

/* ---- Binding ---- */

typedef struct Binding {
  Graph *graph;
  const char **symbols;
  int64_t *values;
  int max, count;
} Binding;

static const char *input_name(const Value *input) {
  return input->name ? input->name : arena_printf(input->graph->module->arena, "%d", input->index);
}

static bool bind_symbol(Binding *binding, const Value *input, int axis, int64_t size) {
  const char *symbol = input->type->dims[axis]->symbol;
  Module *module = binding->graph->module;
  for (int i = 0; i < binding->count; i++) {
    if (strcmp(binding->symbols[i], symbol) != 0) continue;
    return binding->values[i] == size ||
           fail(module, "input '%s' has %s = %lld on axis %d, but another input has %s = %lld",
                input_name(input), symbol, (long long)size, axis, symbol, (long long)binding->values[i]);
  }
  if (binding->count == binding->max)
    return fail(module, "the graph has over %d symbolic sizes", binding->max);
  binding->symbols[binding->count] = symbol;
  binding->values[binding->count++] = size;
  return true;
}

static bool check_input(const Value *input, const Tensor *tensor) {
  Module *module = input->graph->module;
  const Type *type = input->type;
  if (tensor->kind != TENSOR_DENSE) return fail(module, "input '%s' must be a tensor", input_name(input));
  if (tensor->dtype != type->dtype)
    return fail(module, "input '%s' is given as %s, the graph wants %s", input_name(input),
                dtype_name(tensor->dtype), dtype_name(type->dtype));
  return tensor->rank == type->rank || fail(module, "input '%s' is given with %d axes, the graph wants %s",
                                            input_name(input), tensor->rank, type_text(module, type));
}

static bool check_sizes(const Binding *binding, const Value *input, const Tensor *tensor) {
  Module *module = binding->graph->module;
  for (int axis = 0; axis < tensor->rank; axis++) {
    const Dim *dim = input->type->dims[axis];
    int64_t size;
    if (!dim_eval(dim, binding->symbols, binding->values, binding->count, &size))
      return fail(module, "input '%s': the size %s of axis %d cannot be computed", input_name(input),
                  dim_text(module, dim), axis);
    if (size != tensor->dims[axis])
      return fail(module, "input '%s' has size %lld on axis %d, the graph wants %s = %lld", input_name(input),
                  (long long)tensor->dims[axis], axis, dim_text(module, dim), (long long)size);
  }
  return true;
}

bool graph_bind(Graph *graph, const Tensor *inputs, const char **symbols, int64_t *values, int max,
                int *count) {
  Binding binding = {.graph = graph, .symbols = symbols, .values = values, .max = max};
  for (int i = 0; i < graph->input_count; i++) {
    const Value *input = graph->inputs[i];
    if (!type_is_tensor(input->type)) continue; /* says nothing about sizes */
    TRY(check_input(input, &inputs[i]));
    for (int axis = 0; axis < input->type->rank; axis++)
      if (input->type->dims[axis]->kind == DIM_SYMBOL)
        TRY(bind_symbol(&binding, input, axis, inputs[i].dims[axis]));
  }
  for (int i = 0; i < graph->input_count; i++)
    if (type_is_tensor(graph->inputs[i]->type)) TRY(check_sizes(&binding, graph->inputs[i], &inputs[i]));
  *count = binding.count;
  return true;
}
