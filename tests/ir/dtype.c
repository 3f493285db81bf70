/* dtype.c -- element types: every bit pattern of the small floats against a decoder by definition, rounding,
 * packing. */
#include "ir/ir.h"
#include "tests/test.h"

#include <math.h>

/* Value of a bit pattern by the textbook: sign, exponent, mantissa; without the special patterns. */
static double by_definition(unsigned bits, int exponent_bits, int mantissa_bits, int bias) {
  unsigned mantissa = bits % (1u << mantissa_bits), exponent = bits >> mantissa_bits;
  bool minus = exponent >> exponent_bits;
  exponent %= 1u << exponent_bits;
  double fraction = mantissa / (double)(1 << mantissa_bits);
  double value = exponent == 0 ? fraction * pow(2, 1 - bias) : (1 + fraction) * pow(2, (int)exponent - bias);
  return minus ? -value : value;
}

static const struct {
  Dtype dtype;
  int exponent_bits, mantissa_bits, bias;
} floats[] = {
    {DTYPE_F16, 5, 10, 15},      {DTYPE_BF16, 8, 7, 127},  {DTYPE_F8E4M3FN, 4, 3, 7},
    {DTYPE_F8E4M3FNUZ, 4, 3, 8}, {DTYPE_F8E5M2, 5, 2, 15}, {DTYPE_F8E5M2FNUZ, 5, 2, 16},
    {DTYPE_F4E2M1, 2, 1, 1},
};

static bool same(double a, double b) {
  return (isnan(a) && isnan(b)) || (a == b && signbit(a) == signbit(b));
}

TEST(every_small_float_decodes_and_encodes) {
  for (int row = 0; row < COUNT_OF(floats); row++) {
    Dtype dtype = floats[row].dtype;
    int bad = 0;
    for (unsigned bits = 0; bits < 1u << dtype_bits(dtype); bits++) {
      uint16_t element = (uint16_t)bits, again = 0;
      double value = dtype_get(dtype, &element, 0);
      if (isfinite(value) && value != by_definition(bits, floats[row].exponent_bits,
                                                    floats[row].mantissa_bits, floats[row].bias))
        bad++;
      dtype_set(dtype, &again, 0, value);
      bad += !same(dtype_get(dtype, &again, 0), value) || (!isnan(value) && again != element);
    }
    if (!CHECK_INT(bad, 0)) printf("  in %s\n", dtype_name(dtype));
  }
}

/* Between two neighbours the nearer one is taken, in the middle the even one. */
TEST(rounding_is_to_nearest_even) {
  for (int row = 0; row < COUNT_OF(floats); row++) {
    Dtype dtype = floats[row].dtype;
    unsigned half = 1u << (dtype_bits(dtype) - 1);
    int bad = 0;
    for (unsigned bits = 0; bits + 1 < half; bits++) {
      uint16_t low_bits = (uint16_t)bits, high_bits = (uint16_t)(bits + 1), got = 0;
      double low = dtype_get(dtype, &low_bits, 0), high = dtype_get(dtype, &high_bits, 0);
      if (!isfinite(low) || !isfinite(high)) continue;
      double middle = (low + high) / 2;
      dtype_set(dtype, &got, 0, middle);
      bad += got != (bits % 2 == 0 ? low_bits : high_bits);
      dtype_set(dtype, &got, 0, nextafter(middle, INFINITY));
      bad += got != high_bits;
      dtype_set(dtype, &got, 0, nextafter(middle, -INFINITY));
      bad += got != low_bits;
    }
    if (!CHECK_INT(bad, 0)) printf("  in %s\n", dtype_name(dtype));
  }
}

static double round_trip(Dtype dtype, double value) {
  unsigned char element[16] = {0};
  dtype_set(dtype, element, 0, value);
  return dtype_get(dtype, element, 0);
}

TEST(what_is_too_large) {
  CHECK(round_trip(DTYPE_F16, 65519) == 65504);
  CHECK(round_trip(DTYPE_F16, 65520) == INFINITY);
  CHECK(round_trip(DTYPE_F16, -1e300) == -INFINITY);
  CHECK(round_trip(DTYPE_BF16, 3.4e38) == INFINITY);
  CHECK(round_trip(DTYPE_F8E4M3FN, 1000) == 448);
  CHECK(round_trip(DTYPE_F8E4M3FN, INFINITY) == 448);
  CHECK(round_trip(DTYPE_F8E4M3FNUZ, -1000) == -240);
  CHECK(round_trip(DTYPE_F8E5M2, 1e9) == 57344);
  CHECK(round_trip(DTYPE_F8E5M2, INFINITY) == INFINITY);
  CHECK(round_trip(DTYPE_F4E2M1, 100) == 6);
  CHECK(isnan(round_trip(DTYPE_F8E4M3FN, NAN)) && isnan(round_trip(DTYPE_F8E5M2FNUZ, NAN)));
  CHECK(same(round_trip(DTYPE_F8E4M3FN, -0.0), -0.0) && same(round_trip(DTYPE_F8E4M3FNUZ, -0.0), 0.0));
  CHECK(round_trip(DTYPE_F8E8M0, 8) == 8 && round_trip(DTYPE_F8E8M0, 7) == 8 &&
        round_trip(DTYPE_F8E8M0, 5) == 4 && round_trip(DTYPE_F8E8M0, 6) == 8);
  CHECK(isnan(round_trip(DTYPE_F8E8M0, -1)) && round_trip(DTYPE_F8E8M0, 1e300) == 0x1p127);
}

TEST(integers_wrap) {
  unsigned char element[8] = {0};
  dtype_set_int(DTYPE_I8, element, 0, 300);
  CHECK_INT(dtype_get_int(DTYPE_I8, element, 0), 44);
  dtype_set_int(DTYPE_U8, element, 0, -1);
  CHECK_INT(dtype_get_int(DTYPE_U8, element, 0), 255);
  CHECK(round_trip(DTYPE_U64, 0x1p63) == 0x1p63 && round_trip(DTYPE_I64, 1e30) == 0x1p63);
  CHECK(round_trip(DTYPE_I32, -3.9) == -3 && round_trip(DTYPE_I32, NAN) == 0);
  CHECK(round_trip(DTYPE_BOOL, -0.5) == 1 && round_trip(DTYPE_C64, 1.5) == 1.5);
}

TEST(small_elements_are_packed_from_the_low_bits) {
  unsigned char bytes[2] = {0};
  dtype_set_int(DTYPE_I4, bytes, 0, -1);
  dtype_set_int(DTYPE_I4, bytes, 1, 5);
  dtype_set_int(DTYPE_I4, bytes, 2, -8);
  CHECK_INT(bytes[0], 0x5f);
  CHECK_INT(bytes[1], 0x08);
  CHECK_INT(dtype_get_int(DTYPE_I4, bytes, 0), -1);
  CHECK_INT(dtype_get_int(DTYPE_U4, bytes, 0), 15);
  for (int i = 0; i < 8; i++) dtype_set_int(DTYPE_U2, bytes, i, i);
  CHECK_INT(bytes[0], 0xe4);
  CHECK_INT(bytes[1], 0xe4);
  CHECK_INT(dtype_get_int(DTYPE_I2, bytes, 7), -1);
}

TEST(sizes) {
  size_t size;
  CHECK(dtype_bytes(DTYPE_F32, 3, &size) && size == 12);
  CHECK(dtype_bytes(DTYPE_U2, 5, &size) && size == 2);
  CHECK(!dtype_bytes(DTYPE_C128, INT64_MAX / 8, &size) && !dtype_bytes(DTYPE_F32, -1, &size));
  CHECK(dtype_bytes(DTYPE_STRING, 3, &size) && size == 24);
  for (Dtype dtype = DTYPE_BOOL; dtype < DTYPE_COUNT; dtype++)
    CHECK(dtype_from_name(dtype_name(dtype), strlen(dtype_name(dtype))) == dtype);
  CHECK(dtype_from_name("f3", 2) == DTYPE_NONE && dtype_from_name("none", 4) == DTYPE_NONE);
}

int main(void) {
  RUN(every_small_float_decodes_and_encodes);
  RUN(rounding_is_to_nearest_even);
  RUN(what_is_too_large);
  RUN(integers_wrap);
  RUN(small_elements_are_packed_from_the_low_bits);
  RUN(sizes);
  return tests_finish();
}
