/* difference.c -- how far tensors are apart, and random ones. */
#include "ir/run.h"

#include <math.h>
#include <string.h>

int tensor_shape_text(const Tensor *tensor, char *text, size_t size) {
  int at = snprintf(text, size, "%s[", dtype_name(tensor->dtype));
  for (int i = 0; i < tensor->rank && at < (int)size - 24; i++)
    at += snprintf(text + at, size - (size_t)at, "%s%lld", i ? "," : "", (long long)tensor->dims[i]);
  return at + snprintf(text + at, size - (size_t)at, "]");
}

/* ---- Random ---- */

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

/* Floats uniform in [-1, 1), integers in 0..7, bools: the same numbers as tests/oracle/ort.c makes. */
void tensor_random(Tensor *tensor, uint64_t *state) {
  int64_t count = tensor_count(tensor);
  if (tensor->dtype == DTYPE_C64 || tensor->dtype == DTYPE_C128) {
    tensor->dtype = tensor->dtype == DTYPE_C64 ? DTYPE_F32 : DTYPE_F64;
    for (int64_t i = 0; i < 2 * count; i++)
      dtype_set(tensor->dtype, tensor->data, i, (double)(next_random(state) >> 11) / 0x1p52 - 1);
    tensor->dtype = tensor->dtype == DTYPE_F32 ? DTYPE_C64 : DTYPE_C128;
    return;
  }
  for (int64_t i = 0; i < count; i++) {
    uint64_t bits = next_random(state);
    double real = (double)(bits >> 11) / 0x1p52 - 1;
    if (dtype_is_float(tensor->dtype)) /* f8e8m0 has no sign */
      dtype_set(tensor->dtype, tensor->data, i, tensor->dtype == DTYPE_F8E8M0 ? fabs(real) : real);
    else
      dtype_set_int(tensor->dtype, tensor->data, i, (int64_t)(bits & (tensor->dtype == DTYPE_BOOL ? 1 : 7)));
  }
}

/* ---- Comparing ---- */

static const char *string_at(const Tensor *tensor, int64_t index) {
  const char *text = ((const char *const *)tensor->data)[index];
  return text ? text : "";
}

bool tensor_same_shape(const Tensor *a, const Tensor *b) {
  return a->rank == b->rank && memcmp(a->dims, b->dims, sizeof *a->dims * (size_t)a->rank) == 0;
}

/* Complex tensors are compared part by part. */
static Tensor parts_of(const Tensor *tensor) {
  Tensor parts = *tensor;
  bool is_c64 = tensor->dtype == DTYPE_C64;
  if (!is_c64 && tensor->dtype != DTYPE_C128) return parts;
  parts.dtype = is_c64 ? DTYPE_F32 : DTYPE_F64;
  parts.rank = 1;
  parts.dims[0] = 2 * tensor_count(tensor);
  return parts;
}

static bool equal_or_close(double a, double b, double atol, double rtol) {
  if (a == b || (isnan(a) && isnan(b))) return true;
  return fabs(a - b) <= atol + rtol * fabs(b) && isfinite(a) && isfinite(b);
}

Difference tensor_difference(const Tensor *first, const Tensor *second, double atol, double rtol) {
  Difference d = {.first_wrong = -1};
  Tensor a = parts_of(first), b = parts_of(second);
  double signal = 0, noise = 0;
  int64_t count = tensor_count(&a);
  for (int64_t i = 0; i < count; i++) {
    double x = dtype_get(a.dtype, a.data, i), y = dtype_get(b.dtype, b.data, i);
    if (!equal_or_close(x, y, atol, rtol)) d.first_wrong = d.wrong++ ? d.first_wrong : i;
    if (x == y || (isnan(x) && isnan(y))) {
      signal += isfinite(y) ? y * y : 0;
      continue;
    }
    double error = fabs(x - y), relative = y != 0 ? error / fabs(y) : INFINITY;
    d.max_abs = error > d.max_abs || isnan(error) ? error : d.max_abs;
    d.max_relative = relative > d.max_relative || isnan(relative) ? relative : d.max_relative;
    signal += y * y;
    noise += error * error;
  }
  d.sqnr = noise > 0 ? 10 * log10(signal / noise) : noise == 0 ? INFINITY : -INFINITY;
  return d;
}

/* Integers of 64 bits do not fit the doubles above. */
static int64_t first_unequal(const Tensor *a, const Tensor *b) {
  int64_t count = tensor_count(a);
  for (int64_t i = 0; i < count; i++)
    if (dtype_get_int(a->dtype, a->data, i) != dtype_get_int(b->dtype, b->data, i)) return i;
  return -1;
}

static bool integers_agree(const Tensor *got, const Tensor *want, char *reason, size_t size) {
  int64_t i = first_unequal(got, want);
  if (i < 0) return true;
  snprintf(reason, size, "element %lld is %lld, not %lld", (long long)i,
           (long long)dtype_get_int(got->dtype, got->data, i),
           (long long)dtype_get_int(want->dtype, want->data, i));
  return false;
}

static bool strings_agree(const Tensor *got, const Tensor *want, char *reason, size_t size) {
  for (int64_t i = 0, count = tensor_count(got); i < count; i++) {
    if (strcmp(string_at(got, i), string_at(want, i)) == 0) continue;
    snprintf(reason, size, "element %lld is \"%.60s\", not \"%.60s\"", (long long)i, string_at(got, i),
             string_at(want, i));
    return false;
  }
  return true;
}

static bool lists_agree(const Tensor *got, const Tensor *want, double atol, double rtol, char *reason,
                        size_t size) {
  char inner[256];
  if (got->dims[0] != want->dims[0])
    return snprintf(reason, size, "has %lld tensors, not %lld", (long long)got->dims[0],
                    (long long)want->dims[0]),
           false;
  for (int64_t i = 0; i < got->dims[0]; i++) {
    if (tensor_agrees((const Tensor *)got->data + i, (const Tensor *)want->data + i, atol, rtol, inner,
                      sizeof inner))
      continue;
    snprintf(reason, size, "tensor %lld %s", (long long)i, inner);
    return false;
  }
  return true;
}

bool tensor_agrees(const Tensor *got, const Tensor *want, double atol, double rtol, char *reason,
                   size_t size) {
  static const char *const kinds[] = {"a tensor", "a sequence", "absent"};
  char got_shape[512], want_shape[512];
  if (got->kind != want->kind)
    return snprintf(reason, size, "is %s, not %s", kinds[got->kind], kinds[want->kind]), false;
  if (got->kind == TENSOR_ABSENT) return true;
  if (got->kind == TENSOR_LIST) return lists_agree(got, want, atol, rtol, reason, size);
  tensor_shape_text(got, got_shape, sizeof got_shape);
  tensor_shape_text(want, want_shape, sizeof want_shape);
  if (strcmp(got_shape, want_shape) != 0)
    return snprintf(reason, size, "is %s, not %s", got_shape, want_shape), false;
  if (got->dtype == DTYPE_STRING) return strings_agree(got, want, reason, size);
  if (dtype_is_int(got->dtype) || got->dtype == DTYPE_BOOL) return integers_agree(got, want, reason, size);
  Difference d = tensor_difference(got, want, atol, rtol);
  if (!d.wrong) return true;
  Tensor a = parts_of(got), b = parts_of(want);
  snprintf(reason, size, "%lld of %lld elements are off, the first, %lld, is %.9g, not %.9g",
           (long long)d.wrong, (long long)tensor_count(&a), (long long)d.first_wrong,
           dtype_get(a.dtype, a.data, d.first_wrong), dtype_get(b.dtype, b.data, d.first_wrong));
  return false;
}
