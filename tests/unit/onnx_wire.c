/* onnx_wire.c -- the wire pre-pass: what it keeps, what it refuses, and that weights are not copied. */
#include "frontend/onnx/onnx.pb-c.h"
#include "frontend/onnx/wire.h"
#include "tests/test.h"
#include "tests/unit/protobuf.h"

#include <stdlib.h>

static const char *refusal(const Bytes *bytes, const ProtobufCMessageDescriptor *root) {
  Wire wire;
  if (!wire_read(bytes->data, bytes->size, root, &wire)) return wire.error;
  free(wire.bytes);
  return "accepted";
}

static const char *model_refusal(const Bytes *bytes) {
  return refusal(bytes, &onnx__model_proto__descriptor);
}

static Onnx__TensorProto *read_tensor(const Bytes *bytes) {
  Wire wire;
  if (!wire_read(bytes->data, bytes->size, &onnx__tensor_proto__descriptor, &wire)) return NULL;
  Onnx__TensorProto *tensor = onnx__tensor_proto__unpack(NULL, wire.size, wire.bytes);
  free(wire.bytes);
  return tensor;
}

static Bytes bytes; /* the message of the running test */

TEST(raw_data_becomes_a_place) {
  bytes.size = 0;
  add_field(&bytes, 8, "weight", 6);
  add_field(&bytes, 9, "\1\2\3\4\5\6\7\10", 8);
  add_number(&bytes, 2 << 3);
  add_number(&bytes, 1);
  Onnx__TensorProto *tensor = read_tensor(&bytes);
  if (!CHECK(tensor)) return;
  CHECK_STRING(tensor->name, "weight");
  CHECK(!tensor->has_raw_data);
  CHECK(tensor->has_raw_at && tensor->has_raw_size);
  CHECK_INT(tensor->raw_at, 10);
  CHECK_INT(tensor->raw_size, 8);
  CHECK_INT(tensor->raw_field, 9);
  CHECK_INT(tensor->data_type, 1);
  onnx__tensor_proto__free_unpacked(tensor, NULL);
}

TEST(packed_floats_become_a_place) {
  bytes.size = 0;
  add_field(&bytes, 4, "abcdefgh", 8);
  Onnx__TensorProto *tensor = read_tensor(&bytes);
  if (!CHECK(tensor)) return;
  CHECK_INT(tensor->n_float_data, 0);
  CHECK_INT(tensor->raw_at, 2);
  CHECK_INT(tensor->raw_size, 8);
  CHECK_INT(tensor->raw_field, 4);
  onnx__tensor_proto__free_unpacked(tensor, NULL);
  add_field(&bytes, 9, "abcdefgh", 8);
  CHECK(!read_tensor(&bytes)); /* two contents */
}

TEST(forged_places_are_dropped) {
  bytes.size = 0;
  add_number(&bytes, 100000 << 3);
  add_number(&bytes, 1234567);
  add_number(&bytes, 100001 << 3);
  add_number(&bytes, 1 << 30);
  Onnx__TensorProto *tensor = read_tensor(&bytes);
  if (!CHECK(tensor)) return;
  CHECK(!tensor->has_raw_at && !tensor->has_raw_size);
  onnx__tensor_proto__free_unpacked(tensor, NULL);
}

TEST(unknown_fields_are_dropped) {
  bytes.size = 0;
  add_field(&bytes, 3999, "of a later version", 18);
  add_number(&bytes, 77 << 3 | 5);
  add(&bytes, "abcd", 4);
  add_field(&bytes, 2, "producer", 8);
  Wire wire;
  if (!CHECK(wire_read(bytes.data, bytes.size, &onnx__model_proto__descriptor, &wire))) return;
  CHECK_INT(wire.size, 10);
  free(wire.bytes);
}

TEST(nested_messages_keep_their_content) {
  bytes.size = 0;
  add_field(&bytes, 4, "Relu", 4);
  wrap(&bytes, 1); /* GraphProto.node */
  wrap(&bytes, 7); /* ModelProto.graph */
  Wire wire;
  if (!CHECK(wire_read(bytes.data, bytes.size, &onnx__model_proto__descriptor, &wire))) return;
  Onnx__ModelProto *model = onnx__model_proto__unpack(NULL, wire.size, wire.bytes);
  free(wire.bytes);
  if (!CHECK(model && model->graph && model->graph->n_node == 1)) return;
  CHECK_STRING(model->graph->node[0]->op_type, "Relu");
  onnx__model_proto__free_unpacked(model, NULL);
}

/* A graph in an attribute of a node of a graph ... */
static void nest(int levels) {
  bytes.size = 0;
  for (int i = 0; i < levels; i++) {
    wrap(&bytes, 6); /* AttributeProto.g */
    wrap(&bytes, 5); /* NodeProto.attribute */
    wrap(&bytes, 1); /* GraphProto.node */
  }
  wrap(&bytes, 7);
}

TEST(depth_is_limited) {
  nest(20);
  CHECK_STRING(model_refusal(&bytes), "accepted");
  nest(21);
  CHECK_STRING(model_refusal(&bytes), "messages nested deeper than 64 levels");
  nest(3000);
  CHECK_STRING(model_refusal(&bytes), "messages nested deeper than 64 levels");
}

TEST(lengths_stay_in_their_parent) {
  bytes.size = 0;
  add_field(&bytes, 2, "graph", 5);
  bytes.data[1] = 6;
  CHECK_STRING(model_refusal(&bytes), "a length that runs past the end");
  bytes.data[1] = 5;
  wrap(&bytes, 7);
  add_field(&bytes, 2, "after", 5);
  CHECK_STRING(model_refusal(&bytes), "accepted");
  bytes.data[3] = 6; /* stays in the file, leaves the graph */
  CHECK_STRING(model_refusal(&bytes), "a length that runs past the end");
}

static const char *refusal_of(const char *text, size_t size) {
  bytes.size = 0;
  add(&bytes, text, size);
  return model_refusal(&bytes);
}

TEST(broken_bytes_are_refused) {
  CHECK_STRING(refusal_of("\x3b", 1), "a field of a kind that ONNX does not have (a group)");
  CHECK_STRING(refusal_of("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11), "accepted");
  CHECK_STRING(refusal_of("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11), "a broken number");
  CHECK_STRING(refusal_of("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 12), "a broken number");
  CHECK_STRING(refusal_of("\x08\x80", 2), "a broken number");
  CHECK_STRING(refusal_of("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11),
               "a length that runs past the end");
  CHECK_STRING(refusal_of("\x12\x80", 2), "a broken length");
  CHECK_STRING(refusal_of("\x00\x01", 2), "a broken field number");
  CHECK_STRING(refusal_of("\xf8\xff\xff\xff\xff\x01\x00", 7), "a broken field number");
  CHECK_STRING(refusal_of("\x38\x01", 2), "a number where text, bytes or a message belong");
  CHECK_STRING(refusal_of("\x12\x03"
                          "a\0b",
                          5),
               "text with a zero byte in it");
  CHECK_STRING(refusal_of("\x3a\x00\x3a\x00", 4), "a field that comes twice");
  CHECK_STRING(refusal_of("", 0), "accepted");
}

TEST(every_prefix_and_flip_is_survived) {
  nest(4);
  add_field(&bytes, 2, "producer", 8);
  static Bytes broken;
  int accepted = 0;
  for (size_t at = 0; at < bytes.size; at++) {
    for (int bit = 0; bit < 8; bit++) {
      broken = bytes;
      broken.data[at] ^= (uint8_t)(1 << bit);
      Wire wire;
      if (!wire_read(broken.data, broken.size, &onnx__model_proto__descriptor, &wire)) continue;
      Onnx__ModelProto *model = onnx__model_proto__unpack(NULL, wire.size, wire.bytes);
      free(wire.bytes);
      accepted++;
      if (model) onnx__model_proto__free_unpacked(model, NULL);
    }
    broken = bytes;
    broken.size = at;
    CHECK(at == 0 || strcmp(model_refusal(&broken), "accepted") != 0 || broken.data[at] == (2 << 3 | 2));
  }
  CHECK(accepted > 0);
}

int main(void) {
  RUN(raw_data_becomes_a_place);
  RUN(packed_floats_become_a_place);
  RUN(forged_places_are_dropped);
  RUN(unknown_fields_are_dropped);
  RUN(nested_messages_keep_their_content);
  RUN(depth_is_limited);
  RUN(lengths_stay_in_their_parent);
  RUN(broken_bytes_are_refused);
  RUN(every_prefix_and_flip_is_survived);
  return tests_finish();
}
