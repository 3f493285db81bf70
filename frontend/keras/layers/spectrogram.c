/*
 * spectrogram.c -- STFTSpectrogram, whose kernels are weights of the file, and MelSpectrogram, whose kernels
 * are made here: the rows of a windowed Fourier transform, which convolutions apply to all frames.
 */
#include "frontend/keras/keras.h"
#include <math.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

/* [n, time, 1] with kernels [frame, 1, frequencies], every `step`: [n, frames, frequencies]. */
static Value *transform(Call *call, Value *x, Value *kernel, int64_t step, const int64_t *pads) {
  if (!x || !kernel) return NULL;
  Node *node = node_new(call->builder, &op_conv, (Value *[]){x, kernel}, 2);
  node_set_string(node, "layout", "nhwc");
  node_set_ints(node, "strides", &step, 1);
  node_set_ints(node, "pads", pads, 2);
  return make(node);
}

/* ---- STFTSpectrogram ---- */

static Value *number_like(Call *call, const Value *x, double value) {
  return x ? build_scalar(call->builder, x->type->dtype, value) : NULL;
}

/* The angle of (x, y) in (-pi, pi]. */
static Value *angle(Call *call, Value *y, Value *x) {
  Value *half = make_unary(call, &op_atan, make_binary(call, &op_div, y, x));
  Value *is_left = make_number(call, &op_less, x, 0), *is_low = make_number(call, &op_less, y, 0);
  Value *turn = make_where(call, is_low, number_like(call, x, -pi), number_like(call, x, pi));
  Value *both = make_where(call, is_left, make_binary(call, &op_add, half, turn), half);
  Value *zero =
      make_binary(call, &op_and, make_number(call, &op_equal, x, 0), make_number(call, &op_equal, y, 0));
  return make_where(call, zero, number_like(call, x, 0), both);
}

/* All frequencies but the first and the last stand for two. */
static Value *one_sided(Call *call, Value *power) {
  if (!power) return NULL;
  int64_t count = power->type->dims[2]->value;
  double *factors = NEW_ARRAY(call->import->module->arena, double, count);
  for (int64_t i = 0; i < count; i++) factors[i] = i && i + 1 < count ? 2 : 1;
  return make_binary(call, &op_mul, power, make_floats(call, power->type->dtype, factors, count));
}

static Value *by_mode(Call *call, const char *mode, Value *real, Value *imag) {
  if (!strcmp(mode, "real")) return real;
  if (!strcmp(mode, "imag")) return imag;
  if (!strcmp(mode, "angle")) return angle(call, imag, real);
  if (!strcmp(mode, "stft")) return make_concat(call, (Value *[]){real, imag}, 2, 2);
  Value *power = make_binary(call, &op_add, make_binary(call, &op_mul, real, real),
                             make_binary(call, &op_mul, imag, imag));
  if (!strcmp(mode, "psd")) return one_sided(call, power);
  Value *length = make_unary(call, &op_sqrt, make_clip(call, power, 1e-7, INFINITY));
  if (!strcmp(mode, "magnitude")) return length;
  if (!strcmp(mode, "log")) return make_unary(call, &op_log, make_clip(call, length, 1e-7, INFINITY));
  return call_null(call, "mode '%s' is not supported", mode);
}

/* [batch * channels, frames, frequencies] in the order that the layer gives. */
static Value *arranged(Call *call, Value *y, const Dim *batch, const Dim *channels) {
  Module *module = call->import->module;
  bool first = call_is_channels_first(call), expand = json_flag(call->config, "expand_dims", false);
  if (!y) return NULL;
  const Dim *frames = y->type->dims[1], *count = y->type->dims[2], *dims[] = {batch, channels, frames, count};
  y = make_reshape(call, y, 4, dims);
  if (expand) return first ? y : make_transpose(call, y, (int64_t[]){0, 2, 3, 1});
  const Dim *all = dim_mul(module, channels, count);
  if (first)
    return make_reshape(call, make_transpose(call, y, (int64_t[]){0, 1, 3, 2}), 3,
                        (const Dim *[]){batch, all, frames});
  return make_reshape(call, make_transpose(call, y, (int64_t[]){0, 2, 1, 3}), 3,
                      (const Dim *[]){batch, frames, all});
}

static Value *stft_spectrogram(Call *call) {
  Module *module = call->import->module;
  const char *mode = json_text(call->config, "mode", "log");
  Value *x = call_float_input(call, 0), *parts[2] = {NULL, NULL};
  static const char *const names[] = {"real_kernel", "imag_kernel"};
  int64_t frame, step, pads[6];
  if (!x || !call_int(call, "frame_length", 256, &frame) || !call_int(call, "frame_step", frame / 2, &step))
    return NULL;
  if (x->type->rank != 3 || frame < 1 || step < 1 || frame > INT32_MAX || step > frame)
    return call_null(call, "frames of %lld every %lld of an input of %d axes", (long long)frame,
                     (long long)step, x->type->rank);
  if (!call_is_channels_first(call)) x = make_transpose(call, x, (int64_t[]){0, 2, 1});
  if (!x) return NULL;
  const Dim *batch = x->type->dims[0], *channels = x->type->dims[1];
  x = make_reshape(call, x, 3,
                   (const Dim *[]){dim_mul(module, batch, channels), x->type->dims[2], dim_const(module, 1)});
  Windows windows = {.spatial = 1, .kernel = {frame}, .strides = {step}, .dilations = {1}};
  x = x ? call_pads(call, x, &windows, 0, pads) : NULL;
  for (int i = 0; x && i < 2; i++)
    if (call_has_weight(call, names[i]))
      parts[i] = transform(call, x, call_weight(call, names[i], x, 3, (int64_t[]){frame, 1, -1}), step, pads);
  return arranged(call, by_mode(call, mode, parts[0], parts[1]), batch, channels);
}

/* ---- MelSpectrogram ---- */

typedef struct Mel {
  int64_t fft, step, length, bins, rate;
  double low, high;
} Mel;

static bool read_mel(Call *call, Mel *m) {
  TRY(call_int(call, "fft_length", 2048, &m->fft) && call_int(call, "sequence_stride", 512, &m->step) &&
      call_int(call, "num_mel_bins", 128, &m->bins) && call_int(call, "sampling_rate", 16000, &m->rate) &&
      call_int(call, "sequence_length", m->fft, &m->length));
  m->low = json_number(call->config, "min_freq", 20);
  m->high = json_number(call->config, "max_freq", (double)(m->rate / 2));
  bool good = m->fft > 1 && m->fft <= 1 << 16 && m->step > 0 && m->step <= INT32_MAX && m->length > 0 &&
              m->length <= m->fft && m->bins > 0 && m->bins <= 1 << 14 && m->rate > 0 && m->low < m->high;
  enum { MAX_KERNEL = 1 << 24 };
  good = good && m->length * (m->fft / 2 + 1) <= MAX_KERNEL && m->bins * (m->fft / 2 + 1) <= MAX_KERNEL;
  return good || call_fail(call, "a transform of %lld with %lld bins makes no sense", (long long)m->fft,
                           (long long)m->bins);
}

/* The window's weight of sample i, periodic. */
static bool read_window(Call *call, const Mel *m, double *window) {
  const cJSON *item = json_member(call->config, "window");
  const char *name = cJSON_IsString(item) ? item->valuestring : item ? "" : "none";
  double base = !strcmp(name, "hann") ? 0.5 : !strcmp(name, "hamming") ? 0.54 : 1;
  if (base == 1 && strcmp(name, "none")) return call_fail(call, "its window is not supported");
  for (int64_t i = 0; i < m->length; i++)
    window[i] = base - (1 - base) * cos(2 * pi * (double)i / (double)m->length);
  return true;
}

/* [length, 1, fft/2 + 1]: cosines, or sines with a minus. */
static Value *fourier_kernel(Call *call, const Mel *m, Dtype dtype, const double *window, bool sines) {
  int64_t count = m->fft / 2 + 1, offset = (m->fft - m->length) / 2;
  double *values = NEW_ARRAY(call->import->module->arena, double, m->length *count);
  for (int64_t i = 0; i < m->length; i++)
    for (int64_t k = 0; k < count; k++) {
      double phase = 2 * pi * (double)((i + offset) * k % m->fft) / (double)m->fft;
      values[i * count + k] = window[i] * (sines ? -sin(phase) : cos(phase));
    }
  Module *module = call->import->module;
  const Dim *dims[] = {dim_const(module, m->length), dim_const(module, 1), dim_const(module, count)};
  return make_reshape(call, make_floats(call, dtype, values, m->length * count), 3, dims);
}

static double mel_of(double hertz) {
  return 1127.0 * log(1 + hertz / 700.0);
}

/* [fft/2 + 1, bins]: triangles in mel, whose ends are the centres of their neighbours; nothing at 0 Hz. */
static Value *mel_matrix(Call *call, const Mel *m, Dtype dtype) {
  int64_t count = m->fft / 2 + 1;
  double *values = NEW_ARRAY(call->import->module->arena, double, count * m->bins);
  double first = mel_of(m->low), width = (mel_of(m->high) - first) / (double)(m->bins + 1);
  for (int64_t k = 1; k < count; k++)
    for (int64_t b = 0; b < m->bins; b++) {
      double at = (mel_of((double)k * (double)m->rate / 2 / (double)(count - 1)) - first) / width - (double)b;
      values[k * m->bins + b] = fmax(0, fmin(at, 2 - at));
    }
  Module *module = call->import->module;
  return make_reshape(call, make_floats(call, dtype, values, count * m->bins), 2,
                      (const Dim *[]){dim_const(module, count), dim_const(module, m->bins)});
}

/* The signal mirrored at its ends by half a transform, [batch, time, 1], cut to what windows see. */
static Value *mirrored(Call *call, Value *x, const Mel *m) {
  Module *module = call->import->module;
  const Dim *half = dim_const(module, m->fft / 2), *zero = dim_const(module, 0),
            *pads[] = {zero, half, zero, half};
  Node *node = node_new(call->builder, &op_pad, &x, 1);
  node_set_dims(node, "pads", pads, 4);
  node_set_string(node, "mode", "reflect");
  x = make(node);
  if (!x) return NULL;
  int64_t before = (m->fft - m->length) / 2;
  const Dim *size = dim_sub(module, x->type->dims[1], dim_const(module, m->fft - m->length));
  return make_unsqueeze(call, make_slice(call, x, 1, dim_const(module, before), size, 1), 2);
}

/* 10 log10, at most top_db below the largest of all. */
static Value *in_decibels(Call *call, Value *y) {
  double least = json_number(call->config, "min_power", 1e-10),
         of = fabs(json_number(call->config, "ref_power", 1));
  y = make_number(call, &op_mul, make_unary(call, &op_log, make_clip(call, y, least, INFINITY)),
                  10 / log(10));
  y = make_number(call, &op_sub, y, 10 * log10(of > least ? of : least));
  Value *floor_ = make_reduce(call, &op_reduce_max, y, (int64_t[]){0, 1, 2}, 3);
  return make_binary(call, &op_max, y,
                     make_number(call, &op_sub, floor_, json_number(call->config, "top_db", 80)));
}

static Value *mel_spectrogram(Call *call) {
  static const int64_t pads[2] = {0, 0};
  Value *x = call_float_input(call, 0), *power = NULL;
  Mel m;
  if (!x || !read_mel(call, &m)) return NULL;
  if (x->type->rank != 2) return call_null(call, "its input has %d axes, not 2", x->type->rank);
  double *window = NEW_ARRAY(call->import->module->arena, double, m.length);
  if (!read_window(call, &m, window)) return NULL;
  Dtype dtype = x->type->dtype;
  x = mirrored(call, x, &m);
  for (int i = 0; i < 2; i++) {
    Value *part = transform(call, x, fourier_kernel(call, &m, dtype, window, i == 1), m.step, pads);
    part = make_binary(call, &op_mul, part, part);
    power = i ? make_binary(call, &op_add, power, part) : part;
  }
  double exponent = json_number(call->config, "mag_exp", 2);
  if (exponent != 2) power = make_number(call, &op_pow, make_unary(call, &op_sqrt, power), exponent);
  Value *y = make_binary(call, &op_matmul, power, mel_matrix(call, &m, dtype));
  if (json_flag(call->config, "power_to_db", true)) y = in_decibels(call, y);
  return make_transpose(call, y, (int64_t[]){0, 2, 1});
}

const LayerKind spectrogram_layers[] = {
    {"MelSpectrogram", mel_spectrogram, 1, 1, NULL, MASK_ENDS},
    {"STFTSpectrogram", stft_spectrogram, 1, 1, "real_kernel?!mode=imag imag_kernel?!mode=real", MASK_ENDS},
    {0},
};
