/*
 * wire.c -- checks raw protobuf bytes and rewrites them without their bulk. See wire.h.
 *
 * Every length is checked against its parent before anything follows it, and a singular field may come only
 * once: protobuf would merge repetitions, which costs quadratic time in a file made for it and which no ONNX
 * writer does. The length of a rewritten message is known only after it: five bytes are kept for it and
 * filled in later.
 */
#include "frontend/onnx/wire.h"

#include "frontend/onnx/onnx.pb-c.h"

#include <stdlib.h>
#include <string.h>

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };
/* Of TensorProto; the last three are ours. */
enum {
  FLOAT_DATA = 4,
  RAW_DATA = 9,
  DOUBLE_DATA = 10,
  RAW_AT = 100000,
  RAW_SIZE = 100001,
  RAW_FIELD = 100002
};
enum { LENGTH_BYTES = 5, MAX_FIELDS = 63, SEEN_RAW = 63 };

typedef struct Walk {
  const uint8_t *bytes; /* of the whole file */
  Wire *wire;
  size_t capacity; /* of wire->bytes */
  size_t pieces;
} Walk;

/* One field as it stands in the file. */
typedef struct Field {
  uint32_t number;
  int wire_type;
  size_t begin, end; /* of the payload; for WIRE_BYTES without the length */
  uint64_t value;    /* of WIRE_VARINT */
} Field;

static bool refuse(Walk *walk, size_t at, const ProtobufCMessageDescriptor *message, const char *what) {
  walk->wire->error = what;
  walk->wire->error_at = at;
  walk->wire->where = message->short_name;
  return false;
}

/* ---- Writing */

static bool reserve(Walk *walk, size_t more) {
  Wire *wire = walk->wire;
  if (more <= walk->capacity - wire->size) return true;
  size_t capacity = 2 * walk->capacity + more + 256;
  uint8_t *bytes = realloc(wire->bytes, capacity);
  if (!bytes) return false;
  wire->bytes = bytes;
  walk->capacity = capacity;
  return true;
}

/* The caller has reserved the room. */
static void put_varint(Wire *wire, uint64_t value) {
  for (; value >= 0x80; value >>= 7) wire->bytes[wire->size++] = (uint8_t)(value | 0x80);
  wire->bytes[wire->size++] = (uint8_t)value;
}

static void put_tag(Wire *wire, uint32_t number, int wire_type) {
  put_varint(wire, (uint64_t)number << 3 | (uint64_t)wire_type);
}

static void put_length_at(Wire *wire, size_t at, size_t length) {
  for (int i = 0; i < LENGTH_BYTES; i++)
    wire->bytes[at + (size_t)i] = (uint8_t)((length >> (7 * i) & 0x7f) | (i + 1 < LENGTH_BYTES ? 0x80 : 0));
}

static void put_field(Walk *walk, const Field *field) {
  Wire *wire = walk->wire;
  size_t length = field->end - field->begin;
  put_tag(wire, field->number, field->wire_type);
  if (field->wire_type == WIRE_VARINT) {
    put_varint(wire, field->value);
    return;
  }
  if (field->wire_type == WIRE_BYTES) put_varint(wire, length);
  memcpy(wire->bytes + wire->size, walk->bytes + field->begin, length);
  wire->size += length;
}

static void put_raw_place(Wire *wire, const Field *field) {
  put_tag(wire, RAW_AT, WIRE_VARINT);
  put_varint(wire, field->begin);
  put_tag(wire, RAW_SIZE, WIRE_VARINT);
  put_varint(wire, field->end - field->begin);
  put_tag(wire, RAW_FIELD, WIRE_VARINT);
  put_varint(wire, field->number);
}

/* ---- Reading */

/* False when the number runs past `end` or over 64 bits. */
static bool read_varint(const uint8_t *bytes, size_t *at, size_t end, uint64_t *value) {
  *value = 0;
  for (int shift = 0; shift < 64 && *at < end; shift += 7) {
    uint8_t byte = bytes[(*at)++];
    if (shift == 63 && byte > 1) return false;
    *value |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return true;
  }
  return false;
}

static bool read_payload(Walk *walk, size_t *at, size_t end, const ProtobufCMessageDescriptor *message,
                         Field *field) {
  uint64_t length = 0;
  field->begin = *at;
  switch (field->wire_type) {
  case WIRE_VARINT:
    if (!read_varint(walk->bytes, at, end, &field->value))
      return refuse(walk, field->begin, message, "a broken number");
    field->end = *at;
    return true;
  case WIRE_FIXED32: length = 4; break;
  case WIRE_FIXED64: length = 8; break;
  case WIRE_BYTES:
    if (!read_varint(walk->bytes, at, end, &length))
      return refuse(walk, field->begin, message, "a broken length");
    field->begin = *at;
    break;
  default: return refuse(walk, *at, message, "a field of a kind that ONNX does not have (a group)");
  }
  if (length > end - *at) return refuse(walk, field->begin, message, "a length that runs past the end");
  *at += (size_t)length;
  field->end = *at;
  return true;
}

static bool read_field(Walk *walk, size_t *at, size_t end, const ProtobufCMessageDescriptor *message,
                       Field *field) {
  size_t begin = *at;
  uint64_t tag;
  if (!read_varint(walk->bytes, at, end, &tag) || tag >> 32 || tag >> 3 == 0)
    return refuse(walk, begin, message, "a broken field number");
  field->number = (uint32_t)(tag >> 3);
  field->wire_type = (int)(tag & 7);
  return read_payload(walk, at, end, message, field);
}

static bool is_raw_tensor_data(const ProtobufCMessageDescriptor *message, const Field *field) {
  return message == &onnx__tensor_proto__descriptor && field->wire_type == WIRE_BYTES &&
         (field->number == RAW_DATA || field->number == FLOAT_DATA || field->number == DOUBLE_DATA);
}

static bool is_ours(const ProtobufCMessageDescriptor *message, const Field *field) {
  return message == &onnx__tensor_proto__descriptor && field->number >= RAW_AT;
}

/* What protobuf-c would not mind but the importer would. */
static bool check_field(Walk *walk, const Field *field, const ProtobufCMessageDescriptor *message,
                        const ProtobufCFieldDescriptor *schema, uint64_t *seen) {
  bool is_raw = is_raw_tensor_data(message, field);
  unsigned index = is_raw ? SEEN_RAW : (unsigned)(schema - message->fields);
  bool is_bytes = field->wire_type == WIRE_BYTES;
  if ((is_raw || schema->label == PROTOBUF_C_LABEL_OPTIONAL) && *seen >> index & 1)
    return refuse(walk, field->begin, message, "a field that comes twice");
  *seen |= (uint64_t)1 << index;
  if (schema->type == PROTOBUF_C_TYPE_MESSAGE || schema->type == PROTOBUF_C_TYPE_STRING ||
      schema->type == PROTOBUF_C_TYPE_BYTES) {
    if (!is_bytes)
      return refuse(walk, field->begin, message, "a number where text, bytes or a message belong");
  }
  if (schema->type == PROTOBUF_C_TYPE_STRING &&
      memchr(walk->bytes + field->begin, 0, field->end - field->begin))
    return refuse(walk, field->begin, message, "text with a zero byte in it");
  if (++walk->pieces > WIRE_MAX_PIECES) return refuse(walk, field->begin, message, "too many parts");
  return true;
}

static bool walk_message(Walk *walk, size_t at, size_t end, const ProtobufCMessageDescriptor *message,
                         int depth);

static bool walk_submessage(Walk *walk, const Field *field, const ProtobufCMessageDescriptor *message,
                            int depth) {
  Wire *wire = walk->wire;
  put_tag(wire, field->number, WIRE_BYTES);
  size_t length_at = wire->size;
  wire->size += LENGTH_BYTES;
  if (!walk_message(walk, field->begin, field->end, message, depth + 1)) return false;
  put_length_at(wire, length_at, wire->size - length_at - LENGTH_BYTES);
  return true;
}

static bool walk_message(Walk *walk, size_t at, size_t end, const ProtobufCMessageDescriptor *message,
                         int depth) {
  if (depth > WIRE_MAX_DEPTH) return refuse(walk, at, message, "messages nested deeper than 64 levels");
  uint64_t seen = 0;
  while (at < end) {
    Field field = {0};
    if (!read_field(walk, &at, end, message, &field)) return false;
    const ProtobufCFieldDescriptor *schema = protobuf_c_message_descriptor_get_field(message, field.number);
    if (!schema || is_ours(message, &field)) continue;
    if (!check_field(walk, &field, message, schema, &seen)) return false;
    bool is_raw = is_raw_tensor_data(message, &field);
    bool is_message = schema->type == PROTOBUF_C_TYPE_MESSAGE;
    if (!reserve(walk, 32 + (is_raw || is_message ? 0 : field.end - field.begin)))
      return refuse(walk, at, message, "more than memory holds");
    if (is_raw)
      put_raw_place(walk->wire, &field);
    else if (!is_message)
      put_field(walk, &field);
    else if (!walk_submessage(walk, &field, schema->descriptor, depth))
      return false;
  }
  return true;
}

bool wire_read(const uint8_t *bytes, size_t size, const ProtobufCMessageDescriptor *root, Wire *wire) {
  *wire = (Wire){0};
  Walk walk = {.bytes = bytes, .wire = wire};
  bool ok = root->n_fields <= MAX_FIELDS || refuse(&walk, 0, root, "too many fields in the schema");
  ok = ok && (reserve(&walk, 1) || refuse(&walk, 0, root, "more than memory holds"));
  /* protobuf's own bound; also keeps every length of the copy within LENGTH_BYTES. */
  if (ok && size > INT32_MAX)
    ok = refuse(&walk, 0, root, "more than 2 GiB: keep the weights as external data");
  if (ok && walk_message(&walk, 0, size, root, 1)) return true;
  free(wire->bytes);
  wire->bytes = NULL;
  wire->size = 0;
  return false;
}
