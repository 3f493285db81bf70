/* pb.c -- files of test data: a TensorProto, SequenceProto or OptionalProto each. */
#include "frontend/onnx/onnx.h"
#include "frontend/onnx/wire.h"

#include <stdlib.h>
#include <string.h>

static bool fill_tensor(TensorSource *source, const Onnx__TensorProto *proto, Tensor *tensor) {
  TensorInfo info;
  TRY(tensor_info(source->module, proto, &info));
  const Data *data = tensor_data(source, proto, &info);
  if (!data) return false;
  if (!tensor_new(tensor, info.dtype, info.rank, info.dims))
    return fail(source->module, "no memory for a tensor of %zu bytes", info.size);
  if (info.size) memcpy(tensor->data, data->bytes, info.size);
  return true;
}

static bool fill_list(TensorSource *source, const Onnx__SequenceProto *proto, Tensor *tensor) {
  if (!tensor_new_list(tensor, DTYPE_NONE, (int64_t)proto->n_tensor_values))
    return fail(source->module, "no memory for a sequence of %zu tensors", proto->n_tensor_values);
  Tensor *list = tensor->data;
  for (size_t i = 0; i < proto->n_tensor_values; i++) {
    TRY(fill_tensor(source, proto->tensor_values[i], &list[i]));
    tensor->dtype = list[i].dtype;
  }
  return true;
}

static bool fill_optional(TensorSource *source, const Onnx__OptionalProto *proto, Tensor *tensor) {
  if (proto->tensor_value) return fill_tensor(source, proto->tensor_value, tensor);
  if (proto->sequence_value) return fill_list(source, proto->sequence_value, tensor);
  *tensor = (Tensor){.kind = TENSOR_ABSENT};
  return true;
}

static const ProtobufCMessageDescriptor *descriptor_of(Form form) {
  return form == FORM_TENSOR     ? &onnx__tensor_proto__descriptor
         : form == FORM_SEQUENCE ? &onnx__sequence_proto__descriptor
                                 : &onnx__optional_proto__descriptor;
}

static bool fill(TensorSource *source, Form form, const ProtobufCMessage *proto, Tensor *tensor,
                 const char **name) {
  if (form == FORM_TENSOR) {
    *name = ((const Onnx__TensorProto *)proto)->name;
    return fill_tensor(source, (const Onnx__TensorProto *)proto, tensor);
  }
  if (form == FORM_SEQUENCE) {
    *name = ((const Onnx__SequenceProto *)proto)->name;
    return fill_list(source, (const Onnx__SequenceProto *)proto, tensor);
  }
  *name = ((const Onnx__OptionalProto *)proto)->name;
  return fill_optional(source, (const Onnx__OptionalProto *)proto, tensor);
}

bool read_tensor_pb(Module *module, const char *path, Form form, Tensor *tensor, const char **name) {
  TensorSource source = {.module = module, .file = mapping_open(module, path)};
  if (!source.file) return false;
  Wire wire;
  const ProtobufCMessageDescriptor *descriptor = descriptor_of(form);
  bool ok = wire_read(source.file->bytes, source.file->size, descriptor, &wire);
  if (!ok)
    fail(module, "%s is no ONNX %s: byte %zu: %s in %s", path, form == FORM_TENSOR ? "tensor" : "value",
         wire.error_at, wire.error, wire.where);
  ProtobufCMessage *proto = ok ? protobuf_c_message_unpack(descriptor, NULL, wire.size, wire.bytes) : NULL;
  if (ok && !proto) fail(module, "%s is no ONNX %s", path, form == FORM_TENSOR ? "tensor" : "value");
  const char *given = NULL;
  *tensor = (Tensor){0};
  ok = proto && fill(&source, form, proto, tensor, &given);
  if (proto && name) *name = intern(module, given ? given : "");
  if (!ok) tensor_free(tensor);
  free(wire.bytes);
  if (proto) protobuf_c_message_free_unpacked(proto, NULL);
  source_close(&source);
  return ok;
}
