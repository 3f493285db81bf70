/*
 * loop_eval.c -- one lane of each opcode.
 *
 * Integer arithmetic runs in uint64_t, where wrapping is defined, and is cut to the dtype afterwards. Only
 * u64 needs own comparisons and divisions: all narrower types fit an int64_t with their sign.
 */
#include "ir/loop_eval.h"

#include <math.h>
#include <string.h>

/* ---- integers ---- */

static int64_t wrap(Dtype dtype, uint64_t x) {
  switch (dtype) {
  case DTYPE_BOOL: return x & 1;
  case DTYPE_I2: return (int64_t)(x << 62) >> 62;
  case DTYPE_I4: return (int64_t)(x << 60) >> 60;
  case DTYPE_I8: return (int8_t)x;
  case DTYPE_I16: return (int16_t)x;
  case DTYPE_I32: return (int32_t)x;
  case DTYPE_U2: return x & 3;
  case DTYPE_U4: return x & 15;
  case DTYPE_U8: return (uint8_t)x;
  case DTYPE_U16: return (uint16_t)x;
  case DTYPE_U32: return (uint32_t)x;
  default: return (int64_t)x;
  }
}

static bool less(Dtype dtype, int64_t x, int64_t y) {
  return dtype == DTYPE_U64 ? (uint64_t)x < (uint64_t)y : x < y;
}

static bool divide(Opcode op, Dtype dtype, int64_t x, int64_t y, uint64_t *result) {
  bool quotient = op == LOOP_DIV || op == LOOP_FLOORDIV, floors = op == LOOP_FLOORDIV || op == LOOP_FLOORMOD;
  if (y == 0) return false;
  if (dtype == DTYPE_U64) {
    *result = quotient ? (uint64_t)x / (uint64_t)y : (uint64_t)x % (uint64_t)y;
  } else if (y == -1) { /* INT64_MIN / -1 */
    *result = quotient ? -(uint64_t)x : 0;
  } else {
    int64_t down = floors && x % y != 0 && (x % y < 0) != (y < 0);
    *result = (uint64_t)(quotient ? x / y - down : x % y + (down ? y : 0));
  }
  return true;
}

static uint64_t shift(Opcode op, Dtype dtype, int64_t x, int64_t count) {
  bool outside = less(dtype, count, 0) || !less(dtype, count, dtype_bits(dtype));
  if (op == LOOP_SHL) return outside ? 0 : (uint64_t)x << count;
  if (dtype_is_unsigned_int(dtype)) return outside ? 0 : (uint64_t)x >> count;
  return (uint64_t)(x >> (outside ? 63 : count));
}

static bool compute_int(Opcode op, Dtype dtype, int64_t x, int64_t y, Lane *result) {
  uint64_t a = (uint64_t)x, b = (uint64_t)y, r = 0;
  switch (op) {
  case LOOP_ADD: r = a + b; break;
  case LOOP_SUB: r = a - b; break;
  case LOOP_MUL: r = a * b; break;
  case LOOP_DIV:
  case LOOP_REM:
  case LOOP_FLOORDIV:
  case LOOP_FLOORMOD: TRY(divide(op, dtype, x, y, &r)); break;
  case LOOP_MIN: r = less(dtype, x, y) ? a : b; break;
  case LOOP_MAX: r = less(dtype, y, x) ? a : b; break;
  case LOOP_NEG: r = -a; break;
  case LOOP_ABS: r = less(dtype, x, 0) ? -a : a; break;
  case LOOP_AND: r = a & b; break;
  case LOOP_OR: r = a | b; break;
  case LOOP_XOR: r = a ^ b; break;
  case LOOP_NOT: r = ~a; break;
  case LOOP_SHL:
  case LOOP_SHR: r = shift(op, dtype, x, y); break;
  case LOOP_EQ: r = a == b; break;
  case LOOP_NE: r = a != b; break;
  case LOOP_LT: r = less(dtype, x, y); break;
  case LOOP_LE: r = !less(dtype, y, x); break;
  case LOOP_GT: r = less(dtype, y, x); break;
  case LOOP_GE: r = !less(dtype, x, y); break;
  default: break;
  }
  result->i = wrap(dtype, r);
  return true;
}

/* ---- floats ---- */

static bool compare_float(Opcode op, double x, double y) {
  switch (op) {
  case LOOP_EQ: return x == y;
  case LOOP_NE: return x != y;
  case LOOP_LT: return x < y;
  case LOOP_LE: return x <= y;
  case LOOP_GT: return x > y;
  default: return x >= y;
  }
}

static double compute_float(Opcode op, double x, double y, double z) {
  switch (op) {
  case LOOP_ADD: return x + y;
  case LOOP_SUB: return x - y;
  case LOOP_MUL: return x * y;
  case LOOP_DIV: return x / y;
  case LOOP_REM: return fmod(x, y);
  case LOOP_MIN: return x < y ? x : y;
  case LOOP_MAX: return x > y ? x : y;
  case LOOP_FMA:
  case LOOP_MUL_ADD: return fma(x, y, z);
  case LOOP_SCALE: return ldexp(x, (int)fmax(-5000, fmin(y, 5000)));
  case LOOP_NEG: return -x;
  case LOOP_ABS: return fabs(x);
  case LOOP_FLOOR: return floor(x);
  case LOOP_CEIL: return ceil(x);
  case LOOP_ROUND: return nearbyint(x);
  case LOOP_TRUNC: return trunc(x);
  case LOOP_SQRT: return sqrt(x);
  case LOOP_EXP: return exp(x);
  case LOOP_LOG: return log(x);
  case LOOP_SIN: return sin(x);
  case LOOP_COS: return cos(x);
  case LOOP_TAN: return tan(x);
  case LOOP_ASIN: return asin(x);
  case LOOP_ACOS: return acos(x);
  case LOOP_ATAN: return atan(x);
  case LOOP_SINH: return sinh(x);
  case LOOP_COSH: return cosh(x);
  case LOOP_TANH: return tanh(x);
  case LOOP_ASINH: return asinh(x);
  case LOOP_ACOSH: return acosh(x);
  case LOOP_ATANH: return atanh(x);
  case LOOP_ERF: return erf(x);
  case LOOP_POW: return pow(x, y);
  default: return NAN;
  }
}

static double round_to(Dtype dtype, double x) {
  uint64_t slot = 0;
  if (dtype == DTYPE_F64) return x;
  if (dtype == DTYPE_F32) return (float)x;
  dtype_set(dtype, &slot, 0, x);
  return dtype_get(dtype, &slot, 0);
}

/* Where a last bit more moves the result to another number. */
static bool is_step(Opcode op) {
  return op == LOOP_FLOOR || op == LOOP_CEIL || op == LOOP_ROUND || op == LOOP_TRUNC;
}

bool lane_compute(Opcode op, Dtype dtype, Lane x, Lane y, Lane z, Lane *result) {
  if (!dtype_is_float(dtype)) return compute_int(op, dtype, x.i, y.i, result);
  if (opcode_is_comparison(op))
    result->i = compare_float(op, x.f, y.f);
  else
    result->f = compute_float(op, is_step(op) ? round_to(dtype, x.f) : x.f, y.f, z.f);
  return true;
}

/* ---- conversion ---- */

static int64_t saturate(Dtype dtype, double x) {
  int bits = dtype_bits(dtype);
  if (isnan(x)) return 0;
  x = trunc(x);
  if (dtype_is_unsigned_int(dtype)) {
    if (x <= 0) return 0;
    return x >= ldexp(1, bits) ? (int64_t)(UINT64_MAX >> (64 - bits)) : (int64_t)(uint64_t)x;
  }
  if (x < -ldexp(1, bits - 1)) return INT64_MIN >> (64 - bits);
  return x >= ldexp(1, bits - 1) ? INT64_MAX >> (64 - bits) : (int64_t)x;
}

/* Directly, not by way of f64, which would round twice. */
static double int_to_float(Dtype from, int64_t x, Dtype to) {
  if (to == DTYPE_F32) return from == DTYPE_U64 ? (float)(uint64_t)x : (float)x;
  return round_to(to, from == DTYPE_U64 ? (double)(uint64_t)x : (double)x);
}

Lane lane_cast(Lane x, Dtype from, Dtype to) {
  bool was_float = dtype_is_float(from);
  if (to == DTYPE_BOOL) return (Lane){.i = was_float ? x.f != 0 : x.i != 0};
  if (dtype_is_float(to)) return (Lane){.f = was_float ? round_to(to, x.f) : int_to_float(from, x.i, to)};
  if (was_float) x.i = saturate(dtype_bits(to) < 8 ? DTYPE_I32 : to, x.f);
  return (Lane){.i = wrap(to, (uint64_t)x.i)};
}

/* ---- memory ---- */

static Lane load_storage(Dtype dtype, const void *memory, int64_t index) {
  if (dtype_is_int(dtype)) return (Lane){.i = dtype_get_int(dtype, memory, index)};
  if (!dtype_is_complex(dtype)) return (Lane){.f = dtype_get(dtype, memory, index)};
  Dtype part = dtype == DTYPE_C64 ? DTYPE_F32 : DTYPE_F64;
  return (Lane){.c = {dtype_get(part, memory, 2 * index), dtype_get(part, memory, 2 * index + 1)}};
}

static void store_storage(Dtype dtype, void *memory, int64_t index, Lane value) {
  Dtype part = dtype == DTYPE_C64 ? DTYPE_F32 : DTYPE_F64;
  if (dtype_is_int(dtype)) {
    dtype_set_int(dtype, memory, index, value.i);
  } else if (!dtype_is_complex(dtype)) {
    dtype_set(dtype, memory, index, value.f);
  } else {
    dtype_set(part, memory, 2 * index, value.c[0]);
    dtype_set(part, memory, 2 * index + 1, value.c[1]);
  }
}

/* Copies one element in or out by memcpy, since mapped weights have any alignment. */
Lane lane_load(Dtype dtype, const void *memory, int64_t index) {
  union {
    int8_t i8;
    int16_t i16;
    int32_t i32;
    int64_t i64;
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    float f32;
    double f64;
  } e = {.i64 = 0};
  if (dtype_is_storage(dtype)) return load_storage(dtype, memory, index);
  size_t size = (size_t)dtype_bits(dtype) / 8;
  memcpy(&e, (const char *)memory + (size_t)index * size, size);
  switch (dtype) {
  case DTYPE_BOOL: return (Lane){.i = e.u8 != 0};
  case DTYPE_I8: return (Lane){.i = e.i8};
  case DTYPE_I16: return (Lane){.i = e.i16};
  case DTYPE_I32: return (Lane){.i = e.i32};
  case DTYPE_I64:
  case DTYPE_STRING: /* the pointer */
  case DTYPE_U64: return (Lane){.i = e.i64};
  case DTYPE_U8: return (Lane){.i = e.u8};
  case DTYPE_U16: return (Lane){.i = e.u16};
  case DTYPE_U32: return (Lane){.i = e.u32};
  case DTYPE_F32: return (Lane){.f = e.f32};
  case DTYPE_F64: return (Lane){.f = e.f64};
  default: return (Lane){.f = dtype_get(dtype, &e, 0)};
  }
}

void lane_store(Dtype dtype, void *memory, int64_t index, Lane value) {
  uint64_t slot = 0;
  if (dtype_is_storage(dtype)) {
    store_storage(dtype, memory, index, value);
    return;
  }
  size_t size = (size_t)dtype_bits(dtype) / 8;
  if (dtype == DTYPE_F32) {
    float rounded = (float)value.f;
    memcpy(&slot, &rounded, sizeof rounded);
  } else if (dtype_is_float(dtype)) {
    dtype_set(dtype, &slot, 0, value.f);
  } else {
    slot = (uint64_t)value.i; /* little endian: the low bytes */
  }
  memcpy((char *)memory + (size_t)index * size, &slot, size);
}
