/*
 * dtype.c -- the element types and how one element is read and written.
 *
 * Small floats share one encoder and one decoder, driven by a row of `formats`. Rounding is to nearest, ties
 * to even, straight from the double, so that nothing is rounded twice. What is finite and too large becomes
 * infinity in f16 and bf16 as in IEEE 754, and the largest finite number in the 8- and 4-bit kinds; an
 * infinity stays one where the format has it. Elements below a byte are packed from the low bits up.
 */
#include "ir/ir.h"

#include <assert.h>
#include <math.h>
#include <string.h>

typedef enum DtypeClass {
  CLASS_NONE,
  CLASS_BOOL,
  CLASS_SIGNED,
  CLASS_UNSIGNED,
  CLASS_FLOAT,
  CLASS_COMPLEX
} DtypeClass;

typedef struct DtypeRow {
  const char *name;
  DtypeClass class;
  int bits;
} DtypeRow;

static const DtypeRow rows[DTYPE_COUNT] = {
    [DTYPE_NONE] = {"none", CLASS_NONE, 0},
    [DTYPE_BOOL] = {"bool", CLASS_BOOL, 8},
    [DTYPE_I2] = {"i2", CLASS_SIGNED, 2},
    [DTYPE_I4] = {"i4", CLASS_SIGNED, 4},
    [DTYPE_I8] = {"i8", CLASS_SIGNED, 8},
    [DTYPE_I16] = {"i16", CLASS_SIGNED, 16},
    [DTYPE_I32] = {"i32", CLASS_SIGNED, 32},
    [DTYPE_I64] = {"i64", CLASS_SIGNED, 64},
    [DTYPE_U2] = {"u2", CLASS_UNSIGNED, 2},
    [DTYPE_U4] = {"u4", CLASS_UNSIGNED, 4},
    [DTYPE_U8] = {"u8", CLASS_UNSIGNED, 8},
    [DTYPE_U16] = {"u16", CLASS_UNSIGNED, 16},
    [DTYPE_U32] = {"u32", CLASS_UNSIGNED, 32},
    [DTYPE_U64] = {"u64", CLASS_UNSIGNED, 64},
    [DTYPE_F16] = {"f16", CLASS_FLOAT, 16},
    [DTYPE_BF16] = {"bf16", CLASS_FLOAT, 16},
    [DTYPE_F32] = {"f32", CLASS_FLOAT, 32},
    [DTYPE_F64] = {"f64", CLASS_FLOAT, 64},
    [DTYPE_F8E4M3FN] = {"f8e4m3fn", CLASS_FLOAT, 8},
    [DTYPE_F8E4M3FNUZ] = {"f8e4m3fnuz", CLASS_FLOAT, 8},
    [DTYPE_F8E5M2] = {"f8e5m2", CLASS_FLOAT, 8},
    [DTYPE_F8E5M2FNUZ] = {"f8e5m2fnuz", CLASS_FLOAT, 8},
    [DTYPE_F8E8M0] = {"f8e8m0", CLASS_FLOAT, 8},
    [DTYPE_F4E2M1] = {"f4e2m1", CLASS_FLOAT, 4},
    [DTYPE_C64] = {"c64", CLASS_COMPLEX, 64},
    [DTYPE_C128] = {"c128", CLASS_COMPLEX, 128},
    [DTYPE_STRING] = {"string", CLASS_NONE, 64},
};

const char *dtype_name(Dtype dtype) {
  return rows[dtype].name;
}

Dtype dtype_from_name(const char *name, size_t length) {
  for (Dtype dtype = DTYPE_BOOL; dtype < DTYPE_COUNT; dtype++)
    if (strlen(rows[dtype].name) == length && memcmp(rows[dtype].name, name, length) == 0) return dtype;
  return DTYPE_NONE;
}

int dtype_bits(Dtype dtype) {
  return rows[dtype].bits;
}
bool dtype_is_float(Dtype dtype) {
  return rows[dtype].class == CLASS_FLOAT;
}
bool dtype_is_signed_int(Dtype dtype) {
  return rows[dtype].class == CLASS_SIGNED;
}
bool dtype_is_unsigned_int(Dtype dtype) {
  return rows[dtype].class == CLASS_UNSIGNED;
}
bool dtype_is_byte(Dtype dtype) {
  return dtype == DTYPE_I8 || dtype == DTYPE_U8;
}

int panel_depth(Dtype dtype) {
  return dtype_is_byte(dtype) ? 4 : dtype == DTYPE_BF16 ? 2 : 1;
}

bool dtype_is_int(Dtype dtype) {
  return dtype_is_signed_int(dtype) || dtype_is_unsigned_int(dtype);
}

bool dtype_is_complex(Dtype dtype) {
  return rows[dtype].class == CLASS_COMPLEX;
}
bool dtype_is_storage(Dtype dtype) {
  return rows[dtype].bits < 8 || (rows[dtype].class == CLASS_FLOAT && rows[dtype].bits == 8) ||
         rows[dtype].class == CLASS_COMPLEX;
}

int dtype_align(Dtype dtype) {
  return dtype_is_complex(dtype) ? rows[dtype].bits / 16 : (rows[dtype].bits + 7) / 8;
}

bool dtype_bytes(Dtype dtype, int64_t count, size_t *bytes) {
  size_t bits = (size_t)rows[dtype].bits;
  if (count < 0 || bits == 0) return false;
  size_t n = (size_t)count;
  if (bits < 8) {
    *bytes = n / (8 / bits) + (n % (8 / bits) != 0);
    return true;
  }
  return !__builtin_mul_overflow(n, bits / 8, bytes) && *bytes <= PTRDIFF_MAX;
}

/* ---- Raw bits ---- */

static uint64_t get_bits(const void *base, int64_t index, int bits) {
  const unsigned char *bytes = base;
  if (bits < 8) {
    int per_byte = 8 / bits;
    return (bytes[index / per_byte] >> (index % per_byte * bits)) & ((1u << bits) - 1);
  }
  uint64_t value = 0;
  memcpy(&value, bytes + index * (bits / 8), (size_t)bits / 8);
  return value;
}

static void set_bits(void *base, int64_t index, int bits, uint64_t value) {
  unsigned char *bytes = base;
  if (bits < 8) {
    int per_byte = 8 / bits, shift = (int)(index % per_byte) * bits;
    unsigned mask = ((1u << bits) - 1) << shift;
    unsigned char *byte = &bytes[index / per_byte];
    *byte = (unsigned char)((*byte & ~mask) | (((unsigned)value << shift) & mask));
    return;
  }
  memcpy(bytes + index * (bits / 8), &value, (size_t)bits / 8);
}

/* ---- Small floats ---- */

static const FloatFormat formats[DTYPE_COUNT] = {
    [DTYPE_F16] = {5, 10, 15, true, false, true, 0x7e00, 0x7bff},
    [DTYPE_BF16] = {8, 7, 127, true, false, true, 0x7fc0, 0x7f7f},
    [DTYPE_F8E4M3FN] = {4, 3, 7, false, true, true, 0x7f, 0x7e},
    [DTYPE_F8E4M3FNUZ] = {4, 3, 8, false, true, false, 0x80, 0x7f},
    [DTYPE_F8E5M2] = {5, 2, 15, true, true, true, 0x7f, 0x7b},
    [DTYPE_F8E5M2FNUZ] = {5, 2, 16, false, true, false, 0x80, 0x7f},
    [DTYPE_F4E2M1] = {2, 1, 1, false, true, true, 0, 0x7},
};

const FloatFormat *dtype_format(Dtype dtype) {
  return formats[dtype].exponent_bits > 0 ? &formats[dtype] : NULL;
}

static bool small_is_nan(const FloatFormat *format, unsigned bits, unsigned sign) {
  if (format->has_inf)
    return (bits & ~sign) > ((((1u << format->exponent_bits) - 1)) << format->mantissa_bits);
  return format->nan != 0 && (format->has_zero_minus ? (bits & ~sign) : bits) == format->nan;
}

static double decode_small(const FloatFormat *format, unsigned bits) {
  unsigned sign = 1u << (format->exponent_bits + format->mantissa_bits);
  if (small_is_nan(format, bits, sign)) return NAN;
  unsigned mantissa = bits & ((1u << format->mantissa_bits) - 1);
  int exponent = (int)((bits & ~sign) >> format->mantissa_bits);
  double value;
  if (format->has_inf && exponent == (1 << format->exponent_bits) - 1)
    value = INFINITY;
  else if (exponent == 0)
    value = ldexp(mantissa, 1 - format->bias - format->mantissa_bits);
  else
    value = ldexp(mantissa + (1u << format->mantissa_bits), exponent - format->bias - format->mantissa_bits);
  return bits & sign ? -value : value;
}

static unsigned encode_small(const FloatFormat *format, double value) {
  unsigned sign = signbit(value) ? 1u << (format->exponent_bits + format->mantissa_bits) : 0;
  if (isnan(value)) return format->nan ? format->nan : format->largest;
  unsigned infinity =
      format->has_inf ? ((1u << format->exponent_bits) - 1) << format->mantissa_bits : format->largest;
  if (isinf(value)) return sign | infinity;
  int exponent;
  frexp(value, &exponent); /* |value| = 0.1xxx * 2^exponent */
  int lowest = 1 - format->bias;
  int unit = (exponent - 1 < lowest ? lowest : exponent - 1) - format->mantissa_bits; /* of the last place */
  if (value == 0 || exponent < lowest - format->mantissa_bits - 1) return format->has_zero_minus ? sign : 0;
  if (exponent > format->bias + 64) return sign | (format->saturate ? format->largest : infinity);
  double steps =
      nearbyint(ldexp(fabs(value), -unit)); /* exact scaling, one rounding; a carry moves into the exponent */
  int biased = unit + format->mantissa_bits + format->bias - 1;
  uint64_t bits = ((uint64_t)biased << format->mantissa_bits) + (uint64_t)steps;
  if (bits > format->largest) return sign | (format->saturate ? format->largest : infinity);
  return bits == 0 && !format->has_zero_minus ? 0 : sign | (unsigned)bits;
}

/* f8e8m0: 2^(bits-127), 0xff is NaN; no sign and no zero. The nearest, the larger one in the middle. */
static unsigned encode_power(double value) {
  if (isnan(value) || value < 0) return 0xff;
  if (value == 0) return 0;
  if (isinf(value)) return 0xfe;
  int exponent;
  double fraction = frexp(value, &exponent); /* in [0.5, 1) */
  int bits = exponent - 1 + (fraction >= 0.75) + 127;
  return bits < 0 ? 0 : bits > 0xfe ? 0xfe : (unsigned)bits;
}

/* ---- Elements ---- */

static int64_t sign_extend(uint64_t value, int bits) {
  int shift = 64 - bits;
  return (int64_t)(value << shift) >> shift;
}

static double get_float(Dtype dtype, const void *base, int64_t index) {
  if (dtype == DTYPE_F32) {
    float value;
    memcpy(&value, (const char *)base + index * 4, 4);
    return (double)value;
  }
  if (dtype == DTYPE_F64) {
    double value;
    memcpy(&value, (const char *)base + index * 8, 8);
    return value;
  }
  unsigned bits = (unsigned)get_bits(base, index, rows[dtype].bits);
  if (dtype == DTYPE_F8E8M0) return bits == 0xff ? (double)NAN : ldexp(1.0, (int)bits - 127);
  return decode_small(&formats[dtype], bits);
}

static void set_float(Dtype dtype, void *base, int64_t index, double value) {
  if (dtype == DTYPE_F32) {
    float narrow = (float)value;
    memcpy((char *)base + index * 4, &narrow, 4);
  } else if (dtype == DTYPE_F64) {
    memcpy((char *)base + index * 8, &value, 8);
  } else {
    unsigned bits = dtype == DTYPE_F8E8M0 ? encode_power(value) : encode_small(&formats[dtype], value);
    set_bits(base, index, rows[dtype].bits, bits);
  }
}

/* Toward zero; what does not fit saturates, NaN is 0. */
static int64_t to_int(double value) {
  if (isnan(value)) return 0;
  if (value >= 0x1p63) return INT64_MAX;
  return value < -0x1p63 ? INT64_MIN : (int64_t)value;
}

static uint64_t to_bits(Dtype dtype, double value) {
  if (dtype != DTYPE_U64 || !(value >= 0x1p63)) return (uint64_t)to_int(value);
  return value >= 0x1p64 ? UINT64_MAX : (uint64_t)value;
}

/* Complex numbers are pairs; their real part is what is read and written here. */
static Dtype complex_part(Dtype dtype) {
  return dtype == DTYPE_C64 ? DTYPE_F32 : DTYPE_F64;
}

double dtype_get(Dtype dtype, const void *base, int64_t index) {
  switch (rows[dtype].class) {
  case CLASS_FLOAT: return get_float(dtype, base, index);
  case CLASS_COMPLEX: return get_float(complex_part(dtype), base, 2 * index);
  case CLASS_SIGNED: return (double)sign_extend(get_bits(base, index, rows[dtype].bits), rows[dtype].bits);
  case CLASS_UNSIGNED: return (double)get_bits(base, index, rows[dtype].bits);
  case CLASS_BOOL: return get_bits(base, index, 8) != 0;
  case CLASS_NONE: break;
  }
  assert(!"no element of this dtype is a number");
  return 0;
}

int64_t dtype_get_int(Dtype dtype, const void *base, int64_t index) {
  switch (rows[dtype].class) {
  case CLASS_SIGNED: return sign_extend(get_bits(base, index, rows[dtype].bits), rows[dtype].bits);
  case CLASS_UNSIGNED: return (int64_t)get_bits(base, index, rows[dtype].bits);
  default: return to_int(dtype_get(dtype, base, index));
  }
}

void dtype_set(Dtype dtype, void *base, int64_t index, double value) {
  switch (rows[dtype].class) {
  case CLASS_FLOAT: set_float(dtype, base, index, value); return;
  case CLASS_COMPLEX:
    set_float(complex_part(dtype), base, 2 * index, value);
    set_float(complex_part(dtype), base, 2 * index + 1, 0);
    return;
  case CLASS_BOOL: set_bits(base, index, 8, value != 0); return;
  case CLASS_SIGNED:
  case CLASS_UNSIGNED: set_bits(base, index, rows[dtype].bits, to_bits(dtype, value)); return;
  case CLASS_NONE: break;
  }
  assert(!"no element of this dtype is a number");
}

void dtype_set_int(Dtype dtype, void *base, int64_t index, int64_t value) {
  if (dtype_is_int(dtype))
    set_bits(base, index, rows[dtype].bits, (uint64_t)value);
  else
    dtype_set(dtype, base, index, (double)value);
}

void dtype_copy(Dtype dtype, void *to, int64_t at, const void *from, int64_t index) {
  int bits = rows[dtype].bits;
  size_t size = (size_t)bits / 8;
  if (bits < 8)
    set_bits(to, at, bits, get_bits(from, index, bits));
  else
    memcpy((char *)to + (size_t)at * size, (const char *)from + (size_t)index * size, size);
}
