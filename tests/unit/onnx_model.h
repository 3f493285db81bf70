/*
 * onnx_model.h -- ONNX models put together in a few lines, for tests of the importer.
 *
 *   model_begin(13);
 *   model_input("x", FLOAT, "N,3,8,8");
 *   model_node("Relu", "x", "y");
 *   model_output("y");
 *   model_end();          // the bytes are in `model`
 *
 * Attributes are given before their node.
 */
#ifndef TENON_TESTS_UNIT_ONNX_MODEL_H
#define TENON_TESTS_UNIT_ONNX_MODEL_H

#include "tests/unit/protobuf.h"

#include <ctype.h>
#include <stdlib.h>

enum { FLOAT = 1, INT32 = 6, INT64 = 7 };

static Bytes model, model_graph, model_attributes;

/* Adds each of the names in "a,b,c" as a field; an empty one for "a,,c". */
static inline void add_names(Bytes *bytes, unsigned number, const char *names) {
  for (const char *at = names; *at; at += *at == ',') {
    size_t length = strcspn(at, ",");
    add_field(bytes, number, at, length);
    at += length;
  }
}

static inline void model_opset(const char *domain, int version) {
  Bytes opset = {.size = 0};
  add_text(&opset, 1, domain);
  add_int(&opset, 2, (uint64_t)version);
  add_field(&model, 8, opset.data, opset.size);
}

static inline void model_begin(int opset) {
  model.size = model_graph.size = model_attributes.size = 0;
  add_int(&model, 1, 8);
  model_opset("", opset);
}

static inline void model_end(void) {
  add_field(&model, 7, model_graph.data, model_graph.size);
}

static inline void attribute_field(Bytes *attribute, const char *name, int type) {
  add_text(attribute, 1, name);
  add_int(attribute, 20, (uint64_t)type);
  add_field(&model_attributes, 5, attribute->data, attribute->size);
}

static inline void attribute_int(const char *name, int64_t value) {
  static Bytes attribute;
  attribute.size = 0;
  add_int(&attribute, 3, (uint64_t)value);
  attribute_field(&attribute, name, 2);
}

static inline void attribute_float(const char *name, float value) {
  static Bytes attribute;
  attribute.size = 0;
  add_number(&attribute, 2 << 3 | 5);
  add(&attribute, &value, 4);
  attribute_field(&attribute, name, 1);
}

static inline void attribute_text(const char *name, const char *value) {
  static Bytes attribute;
  attribute.size = 0;
  add_text(&attribute, 4, value);
  attribute_field(&attribute, name, 3);
}

static inline void attribute_ints(const char *name, int count, const int64_t *values) {
  static Bytes attribute;
  attribute.size = 0;
  for (int i = 0; i < count; i++) add_int(&attribute, 8, (uint64_t)values[i]);
  attribute_field(&attribute, name, 7);
}

/* In a function: stands for the call's attribute `of`. */
static inline void attribute_reference(const char *name, const char *of, int type) {
  static Bytes attribute;
  attribute.size = 0;
  add_text(&attribute, 21, of);
  attribute_field(&attribute, name, type);
}

/* A NodeProto as field `number` of `owner`, with the attributes given since the last node. "domain.Op" in
 * another domain. */
static inline void add_node(Bytes *owner, unsigned number, const char *op, const char *inputs,
                            const char *outputs) {
  static Bytes node;
  node.size = 0;
  add_names(&node, 1, inputs);
  add_names(&node, 2, outputs);
  const char *dot = strrchr(op, '.');
  if (dot) add_field(&node, 7, op, (size_t)(dot - op));
  add_text(&node, 4, dot ? dot + 1 : op);
  add(&node, model_attributes.data, model_attributes.size);
  model_attributes.size = 0;
  add_field(owner, number, node.data, node.size);
}

static inline void model_node(const char *op, const char *inputs, const char *outputs) {
  add_node(&model_graph, 1, op, inputs, outputs);
}

/* "N,3,?,2*N": numbers are sizes, ? is unknown, the rest are names. */
static inline void model_value(unsigned number, const char *name, int data_type, const char *dims) {
  static Bytes value, dim;
  value.size = 0;
  for (const char *at = dims; *at; at += *at == ',') {
    size_t length = strcspn(at, ",");
    dim.size = 0;
    if (isdigit((unsigned char)*at) && strspn(at, "0123456789") == length)
      add_int(&dim, 1, strtoull(at, NULL, 10));
    else if (*at != '?')
      add_field(&dim, 2, at, length);
    add_field(&value, 1, dim.data, dim.size); /* TensorShapeProto.dim */
    at += length;
  }
  wrap(&value, 2); /* TypeProto.Tensor.shape */
  add_int(&value, 1, (uint64_t)data_type);
  wrap(&value, 1); /* TypeProto.tensor_type */
  wrap(&value, 2); /* ValueInfoProto.type */
  add_text(&value, 1, name);
  add_field(&model_graph, number, value.data, value.size);
}

static inline void model_input(const char *name, int data_type, const char *dims) {
  model_value(11, name, data_type, dims);
}

static inline void model_output(const char *name) {
  Bytes value = {.size = 0};
  add_text(&value, 1, name);
  add_field(&model_graph, 12, value.data, value.size);
}

static inline void model_tensor(const char *name, int data_type, const char *dims, const void *raw,
                                size_t size) {
  static Bytes tensor;
  tensor.size = 0;
  for (const char *at = dims; *at; at += *at == ',') {
    add_int(&tensor, 1, strtoull(at, NULL, 10));
    at += strcspn(at, ",");
  }
  add_int(&tensor, 2, (uint64_t)data_type);
  add_text(&tensor, 8, name);
  add_field(&tensor, 9, raw, size);
  add_field(&model_graph, 5, tensor.data, tensor.size);
}

static inline void model_ints(const char *name, int count, const int64_t *values) {
  char dims[16];
  snprintf(dims, sizeof dims, "%d", count);
  model_tensor(name, INT64, dims, values, sizeof *values * (size_t)count);
}

#endif
