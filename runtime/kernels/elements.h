/* elements.h -- what the functions of this folder share: elements of any dtype, in order. */
#ifndef TENON_RUNTIME_ELEMENTS_H
#define TENON_RUNTIME_ELEMENTS_H

#include "kernels.h"

static inline int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/* Element i of a view of rank 1 and i64. */
static inline int64_t *int_at(const View *view, int64_t i) {
  return (int64_t *)(view->data + i * view->strides[0]);
}

static inline int dtype_width(int32_t dtype) {
  switch (dtype) {
  case TENON_I16:
  case TENON_U16:
  case TENON_F16:
  case TENON_BF16: return 2;
  case TENON_I32:
  case TENON_U32:
  case TENON_F32: return 4;
  case TENON_I64:
  case TENON_U64:
  case TENON_F64: return 8;
  default: return 1;
  }
}

/* The bits of an element, with zeros above. */
static inline uint64_t load_bits(const unsigned char *at, int width) {
  switch (width) {
  case 1: return *at;
  case 2: return *(const uint16_t *)at;
  case 4: return *(const uint32_t *)at;
  default: return *(const uint64_t *)at;
  }
}

static inline void store_bits(unsigned char *at, int width, uint64_t bits) {
  switch (width) {
  case 1: *at = (unsigned char)bits; break;
  case 2: *(uint16_t *)at = (uint16_t)bits; break;
  case 4: *(uint32_t *)at = (uint32_t)bits; break;
  default: *(uint64_t *)at = bits;
  }
}

/* How elements of a dtype become unsigned integers of the same order. */
typedef struct Order {
  int width;
  uint64_t sign;     /* the bit; 0: unsigned */
  uint64_t infinity; /* the bits of +inf; 0: no float */
} Order;

static inline Order order_of(int32_t dtype) {
  int width = dtype_width(dtype);
  uint64_t sign = (uint64_t)1 << (8 * width - 1);
  switch (dtype) {
  case TENON_I8:
  case TENON_I16:
  case TENON_I32:
  case TENON_I64: return (Order){width, sign, 0};
  case TENON_F16: return (Order){width, sign, 0x7C00};
  case TENON_BF16: return (Order){width, sign, 0x7F80};
  case TENON_F32: return (Order){width, sign, 0x7F800000};
  case TENON_F64: return (Order){width, sign, 0x7FF0000000000000};
  default: return (Order){width, 0, 0};
  }
}

/* As wide as the element. Equal keys are equal elements: -0 and 0 are, and all NaNs, which come after
 * everything else. */
static inline uint64_t key_at(Order order, const unsigned char *at) {
  uint64_t bits = load_bits(at, order.width);
  if (!order.infinity) return bits ^ order.sign;
  uint64_t magnitude = bits & (order.sign - 1);
  if (magnitude > order.infinity) return order.sign | (order.sign - 1);
  return bits & order.sign ? order.sign - magnitude : order.sign + magnitude;
}

#endif
