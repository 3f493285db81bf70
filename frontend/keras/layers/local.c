/*
 * local.c -- LocallyConnected1D and LocallyConnected2D of Keras 2: convolutions with a kernel of its own at
 * every position.
 *
 * What each position sees becomes a row, so that all positions are one batch of products. Keras stores the
 * kernels in three ways, by `implementation`: 1 holds [positions][inputs of a window][filters]; 2 a matrix
 * between all inputs and all outputs, zero where they do not touch; 3 the elements of that matrix that are
 * not zero by necessity, in the order of outputs and then inputs.
 */
#include "frontend/keras/keras.h"
#include <string.h>

typedef struct Local {
  Windows windows;
  int spatial;
  int64_t sizes[2], outputs[2], begins[2];
  int64_t positions, window; /* positions of the result, inputs in a window without channels */
  int64_t channels, filters;
} Local;

/* *value times `factor`; no kernel is larger than that. */
static bool multiply(Call *call, int64_t *value, int64_t factor) {
  enum { MAX_ELEMENTS = 1 << 28 };
  return (!__builtin_mul_overflow(*value, factor, value) && *value <= MAX_ELEMENTS) ||
         call_fail(call, "its kernel has more than %d elements", MAX_ELEMENTS);
}

static bool read_local(Call *call, Value *x, Local *l) {
  int64_t pads[4];
  l->spatial = call_spatial(call);
  l->windows = (Windows){.spatial = l->spatial, .dilations = {1, 1, 1}};
  if (x->type->rank != l->spatial + 2)
    return call_fail(call, "its input has %d axes, not %d", x->type->rank, l->spatial + 2);
  TRY(call_ints(call, "kernel_size", l->spatial, 1, 1, l->windows.kernel) &&
      call_ints(call, "strides", l->spatial, 1, 1, l->windows.strides) &&
      call_int(call, "filters", 0, &l->filters));
  for (int i = 1; i < x->type->rank; i++)
    if (!dim_is_const(x->type->dims[i]))
      return call_fail(call, "it needs a fixed size; give it with --input-shape");
  TRY(call_pads(call, x, &l->windows, 0, pads));
  l->channels = x->type->dims[l->spatial + 1]->value;
  l->positions = l->window = 1;
  for (int i = 0; i < l->spatial; i++) {
    l->sizes[i] = x->type->dims[1 + i]->value;
    l->begins[i] = pads[i];
    l->outputs[i] =
        (l->sizes[i] + pads[i] + pads[l->spatial + i] - l->windows.kernel[i]) / l->windows.strides[i] + 1;
    if (l->outputs[i] < 1 || l->filters < 1)
      return call_fail(call, "a window of %lld does not fit into %lld", (long long)l->windows.kernel[i],
                       (long long)l->sizes[i]);
    TRY(multiply(call, &l->positions, l->outputs[i]) && multiply(call, &l->window, l->windows.kernel[i]));
  }
  int64_t all = l->positions;
  return multiply(call, &all, l->window) && multiply(call, &all, l->channels) &&
         multiply(call, &all, l->filters);
}

/* The input, flat, that window element `w` of position `p` sees; -1 in the padding. */
static int64_t input_at(const Local *l, int64_t p, int64_t w) {
  int64_t at = 0;
  for (int i = 0; i < l->spatial; i++) {
    int64_t inner = i + 1 < l->spatial ? l->outputs[1] : 1,
            inner_w = i + 1 < l->spatial ? l->windows.kernel[1] : 1;
    int64_t place =
        p / inner % l->outputs[i] * l->windows.strides[i] + w / inner_w % l->windows.kernel[i] - l->begins[i];
    if (place < 0 || place >= l->sizes[i]) return -1;
    at = at * l->sizes[i] + place;
  }
  return at;
}

/* Where the weight of that pair lies in the file. */
static int64_t weight_at(const Local *l, bool first, int64_t implementation, int64_t p, int64_t w, int64_t c,
                         int64_t f) {
  int64_t inputs = l->sizes[0] * (l->spatial > 1 ? l->sizes[1] : 1), at = input_at(l, p, w);
  if (implementation == 1) {
    int64_t inside = first ? c * l->window + w : w * l->channels + c;
    return (p * l->window * l->channels + inside) * l->filters + f;
  }
  int64_t from = first ? c * inputs + at : at * l->channels + c;
  int64_t to = first ? f * l->positions + p : p * l->filters + f, all = l->positions * l->filters;
  return from * all + to;
}

/* [positions][window * channels][filters], whichever way the file has it. */
static Value *local_kernel(Call *call, const Local *l, int64_t implementation) {
  Module *module = call->import->module;
  const StoredArray *stored = call_stored(call, "kernel");
  bool first = call_is_channels_first(call);
  int64_t inputs = l->sizes[0] * (l->spatial > 1 ? l->sizes[1] : 1), has = 1;
  int64_t rows = l->window * l->channels;
  int64_t count = implementation == 1 ? l->positions * rows * l->filters
                                      : inputs * l->channels * l->positions * l->filters;
  for (int i = 0; stored && i < stored->rank; i++) has *= stored->dims[i];
  if (!stored || has != count)
    return call_null(call, "its kernel has %lld elements in the file, not %lld", (long long)has,
                     (long long)count);
  int64_t dims[] = {l->positions, rows, l->filters}, size = l->positions * rows * l->filters;
  Data *data = data_new(module, DTYPE_F32, size);
  for (int64_t i = 0; i < size; i++) {
    int64_t f = i % l->filters, c = i / l->filters % l->channels,
            w = i / l->filters / l->channels % l->window;
    int64_t p = i / l->filters / rows;
    bool is_inside = input_at(l, p, w) >= 0;
    double value =
        is_inside ? dtype_get(stored->dtype, stored->bytes, weight_at(l, first, implementation, p, w, c, f))
                  : 0;
    dtype_set(DTYPE_F32, data_bytes(data), i, value);
  }
  return build_const(call->builder, type_static(module, DTYPE_F32, 3, dims), data, NULL);
}

/* [positions][batch][window * channels] of an NHWC tensor. */
static Value *windows(Call *call, const Local *l, Value *x) {
  Module *module = call->import->module;
  int64_t inputs = l->sizes[0] * (l->spatial > 1 ? l->sizes[1] : 1), count = l->positions * l->window;
  int64_t *places = NEW_ARRAY(module->arena, int64_t, count);
  for (int64_t i = 0; i < count; i++) {
    int64_t at = input_at(l, i / l->window, i % l->window);
    places[i] = at < 0 ? inputs : at; /* a zero stands behind the inputs */
  }
  const Dim *flat[] = {x->type->dims[0], dim_const(module, inputs), dim_const(module, l->channels)};
  x = make_pad(call, make_reshape(call, x, 3, flat), 1, dim_const(module, 0), dim_const(module, 1));
  x = make_gather(call, x, make_ints(call, places, count), 1);
  const Dim *rows[] = {flat[0], dim_const(module, l->positions), dim_const(module, l->window * l->channels)};
  return make_move_axis(call, make_reshape(call, x, 3, rows), 1, 0);
}

/* One bias for each position and filter, [positions..][filters], which Keras takes for [filters][positions..]
 * when the channels come first. */
static Value *add_bias(Call *call, const Local *l, Value *y) {
  int64_t dims[3];
  if (!y || !call_has_weight(call, "bias")) return y;
  for (int i = 0; i < l->spatial; i++) dims[i] = l->outputs[i];
  dims[l->spatial] = l->filters;
  Value *bias = call_weight(call, "bias", y, l->spatial + 1, dims);
  return make_binary(call, &op_add, y, make_reshape(call, bias, l->spatial + 1, y->type->dims + 1));
}

static Value *locally_connected(Call *call) {
  Module *module = call->import->module;
  Value *x = call_float_input(call, 0);
  Local l;
  int64_t implementation;
  x = x ? call_to_nhwc(call, x) : NULL;
  if (!x || !read_local(call, x, &l) || !call_int(call, "implementation", 1, &implementation)) return NULL;
  if (implementation != 1 && implementation != 2)
    return call_null(call, "implementation %lld is not supported", (long long)implementation);
  Value *y = make_binary(call, &op_matmul, windows(call, &l, x), local_kernel(call, &l, implementation));
  const Dim *dims[4] = {x->type->dims[0]};
  for (int i = 0; i < l.spatial; i++) dims[1 + i] = dim_const(module, l.outputs[i]);
  dims[1 + l.spatial] = dim_const(module, l.filters);
  y = call_from_nhwc(call, make_reshape(call, make_move_axis(call, y, 0, 1), l.spatial + 2, dims));
  y = add_bias(call, &l, y);
  return y ? call_activation(call, y) : NULL;
}

const LayerKind local_layers[] = {
    {"LocallyConnected1D", locally_connected, 1, 1, "kernel bias?use_bias", MASK_ENDS},
    {"LocallyConnected2D", locally_connected, 1, 1, "kernel bias?use_bias", MASK_ENDS},
    {0},
};
