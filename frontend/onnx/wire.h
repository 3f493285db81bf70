/*
 * wire.h -- the first look at protobuf bytes, before protobuf-c sees them.
 *
 * protobuf-c recurses as deep as a file says and copies every tensor. So the bytes are first walked here,
 * along the descriptors that protoc-c generated, and written again: checked, without what the schema does not
 * know, and with each TensorProto.raw_data replaced by its place in the file (raw_at, raw_size). Weights are
 * thus never copied.
 */
#ifndef TENON_FRONTEND_ONNX_WIRE_H
#define TENON_FRONTEND_ONNX_WIRE_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  WIRE_MAX_DEPTH = 64, /* messages in messages */
  WIRE_MAX_PIECES =
      1 << 25, /* messages, strings and unpacked elements: each costs some 100 bytes of memory */
};

typedef struct Wire {
  uint8_t *bytes; /* the rewritten message, from malloc: the caller frees it; NULL on failure */
  size_t size;
  const char *error; /* on failure: what is wrong, ... */
  size_t error_at;   /* ... at which byte of the file, ... */
  const char *where; /* ... in which message ("GraphProto") */
} Wire;

/* Checks and rewrites one message of type `root`. `raw_at` in the result counts from `bytes`. */
bool wire_read(const uint8_t *bytes, size_t size, const ProtobufCMessageDescriptor *root, Wire *wire);

#endif
