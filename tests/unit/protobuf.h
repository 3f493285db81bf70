/* protobuf.h -- protobuf messages put together by hand, for tests that need wrong ones, too. */
#ifndef TENON_TESTS_UNIT_PROTOBUF_H
#define TENON_TESTS_UNIT_PROTOBUF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { MAX_MESSAGE = 1 << 16 };

/* A message being put together, innermost part first. */
typedef struct Bytes {
  uint8_t data[MAX_MESSAGE];
  size_t size;
} Bytes;

static inline void add(Bytes *bytes, const void *data, size_t size) {
  memcpy(bytes->data + bytes->size, data, size);
  bytes->size += size;
}

static inline void add_number(Bytes *bytes, uint64_t value) {
  for (; value >= 0x80; value >>= 7) add(bytes, &(uint8_t){(uint8_t)(value | 0x80)}, 1);
  add(bytes, &(uint8_t){(uint8_t)value}, 1);
}

static inline void add_field(Bytes *bytes, unsigned number, const void *data, size_t size) {
  add_number(bytes, number << 3 | 2);
  add_number(bytes, size);
  add(bytes, data, size);
}

static inline void wrap(Bytes *bytes, unsigned number) {
  static Bytes inner;
  inner = *bytes;
  bytes->size = 0;
  add_field(bytes, number, inner.data, inner.size);
}

static inline void add_int(Bytes *bytes, unsigned number, uint64_t value) {
  add_number(bytes, number << 3);
  add_number(bytes, value);
}

static inline void add_text(Bytes *bytes, unsigned number, const char *text) {
  add_field(bytes, number, text, strlen(text));
}

#endif
