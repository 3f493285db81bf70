/* pb.c -- files of test data: one TensorProto each. */
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

bool read_tensor_pb(Module *module, const char *path, Tensor *tensor, const char **name) {
  TensorSource source = {.module = module, .file = mapping_open(module, path)};
  if (!source.file) return false;
  Wire wire;
  bool ok = wire_read(source.file->bytes, source.file->size, &onnx__tensor_proto__descriptor, &wire);
  if (!ok)
    fail(module, "%s is no ONNX tensor: byte %zu: %s in %s", path, wire.error_at, wire.error, wire.where);
  Onnx__TensorProto *proto = ok ? onnx__tensor_proto__unpack(NULL, wire.size, wire.bytes) : NULL;
  if (ok && !proto) fail(module, "%s is no ONNX tensor", path);
  if (proto && name) *name = intern(module, proto->name ? proto->name : "");
  ok = proto && fill_tensor(&source, proto, tensor);
  free(wire.bytes);
  if (proto) onnx__tensor_proto__free_unpacked(proto, NULL);
  source_close(&source);
  return ok;
}
