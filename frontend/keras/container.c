/*
 * container.c -- a Keras model file of any form as one Container.
 *
 *   HDF5          configuration in the root attribute model_config, weights in the group model_weights
 *   zip (.keras)  metadata.json, config.json, model.weights.h5
 *   JSON          the configuration; the weights lie beside it in NAME.weights.h5, NAME.h5, NAME_weights.h5
 *                 or NAME.npz; of TensorFlow.js, with modelTopology, in shards (tfjs.c)
 *
 * The form is told by the first bytes, not by the suffix.
 */
#include "frontend/keras/keras.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool has_attribute(const Store *store, const char *path, const char *name) {
  for (int i = 0; i < store->attribute_count; i++)
    if (!strcmp(store->attributes[i].path, path) && !strncmp(store->attributes[i].name, name, strlen(name)))
      return true;
  return false;
}

static bool has_arrays_under(const Store *store, const char *prefix) {
  for (int i = 0; i < store->array_count; i++)
    if (!strncmp(store->arrays[i].path, prefix, strlen(prefix))) return true;
  return false;
}

/* Where the weights are and how they are named. */
static void tell_weights(Container *container) {
  static const char *const older = "_layer_checkpoint_dependencies/";
  const Store *store = &container->store;
  container->root = "";
  container->form = WEIGHTS_NAMED;
  if (has_attribute(store, "model_weights", "layer_names")) {
    container->root = "model_weights/";
  } else if (has_arrays_under(store, "arr_")) {
    container->form = WEIGHTS_LISTED;
  } else if (container->archive || has_arrays_under(store, "layers/") || has_arrays_under(store, older)) {
    container->form = WEIGHTS_COUNTED;
    container->root = has_arrays_under(store, older) ? older : "layers/";
  }
}

/* Keras 3 marks every object with its module. */
static void tell_version(Container *container, Module *module, const char *version) {
  container->version = version ? arena_printf(module->arena, "%s", version) : NULL;
  if (version && isdigit((unsigned char)version[0]))
    container->major = atoi(version);
  else
    container->major = json_member(container->config, "module") ? 3 : 2;
  if (container->major < 2) container->major = 2;
}

static bool read_store(Module *module, int fd, Store *store) {
  bool good = fd >= 0 && h5_read(module, fd, store);
  if (fd >= 0) close(fd);
  return good;
}

/* ---- HDF5 ---- */

static bool open_h5(Module *module, const char *path, Container *container) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(module, "cannot open it: %s", strerror(errno));
  TRY(read_store(module, fd, &container->store));
  const char *text = store_text(&container->store, "", "model_config");
  if (!text)
    return fail(
        module,
        "the file holds weights without a model; write model.to_json() beside it as NAME.json and give that");
  container->config = json_parse(module, "the attribute model_config", text, strlen(text));
  if (!container->config) return false;
  tell_version(container, module, store_text(&container->store, "", "keras_version"));
  return true;
}

/* ---- zip ---- */

static cJSON *json_of_member(Module *module, Archive *archive, const char *member) {
  size_t length;
  char *text = archive_read(module, archive, member, JSON_MAX_BYTES, &length);
  cJSON *json = text ? json_parse(module, member, text, length) : NULL;
  free(text);
  return json;
}

static bool read_keras_archive(Module *module, Archive *archive, Container *container) {
  if (!archive_has(archive, "config.json"))
    return fail(module, "the archive has no 'config.json', so it is no Keras model");
  container->config = json_of_member(module, archive, "config.json");
  if (!container->config) return false;
  cJSON *metadata =
      archive_has(archive, "metadata.json") ? json_of_member(module, archive, "metadata.json") : NULL;
  tell_version(container, module, json_text(metadata, "keras_version", NULL));
  cJSON_Delete(metadata);
  if (!archive_has(archive, "model.weights.h5") && archive_has(archive, "model.weights.npz"))
    return fail(module,
                "its weights are pickled Python (model.weights.npz); save the model again with HDF5 weights");
  return read_store(module, archive_unpack(module, archive, "model.weights.h5"), &container->store);
}

static bool open_archive(Module *module, const char *path, Container *container) {
  Archive *archive = archive_open(module, path);
  bool good = archive && read_keras_archive(module, archive, container);
  container->archive = path;
  archive_close(archive);
  return good;
}

/* ---- JSON ---- */

/* Arrays of an .npz as a store; the tensors stay until the module dies. */
static bool read_npz_store(Module *module, const char *path, Store *store) {
  Tensor *tensors;
  const char **names;
  int count;
  TRY(read_npz(module, path, &tensors, &names, &count));
  store->arrays = NEW_ARRAY(module->arena, StoredArray, count);
  for (int i = 0; i < count; i++) {
    StoredArray *array = &store->arrays[store->array_count++];
    *array = (StoredArray){.path = names[i], .dtype = tensors[i].dtype, .rank = tensors[i].rank};
    memcpy(array->dims, tensors[i].dims, sizeof array->dims);
    array->bytes = arena_copy(module->arena, tensors[i].data, tensor_size(&tensors[i]));
    tensor_free(&tensors[i]);
  }
  store_sort(store);
  return true;
}

static bool open_beside(Module *module, const char *path, Container *container) {
  static const char *const suffixes[] = {".weights.h5", ".h5",  "_weights.h5",
                                         ".hdf5",       ".npz", ".weights.npz"};
  const char *dot = strrchr(path, '.');
  int stem = dot && !strchr(dot, '/') ? (int)(dot - path) : (int)strlen(path);
  for (int i = 0; i < COUNT_OF(suffixes); i++) {
    const char *beside = arena_printf(module->arena, "%.*s%s", stem, path, suffixes[i]);
    int fd = open(beside, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) continue;
    if (!strstr(suffixes[i], "npz")) return read_store(module, fd, &container->store);
    close(fd);
    return read_npz_store(module, beside, &container->store);
  }
  return fail(module, "no weights beside it; looked for %.*s.weights.h5, .h5, _weights.h5, .hdf5 and .npz",
              stem, path);
}

/* modelTopology is the model's configuration, or has it as model_config, and its version. */
static bool open_tfjs(Module *module, const char *path, cJSON *json, Container *container) {
  cJSON *topology = cJSON_DetachItemFromObjectCaseSensitive(json, "modelTopology");
  cJSON *config = cJSON_DetachItemFromObjectCaseSensitive(topology, "model_config");
  const char *format = json_text(json, "format", "layers-model");
  bool good = !strcmp(format, "layers-model") || fail(module,
                                                      "a TensorFlow.js model of format '%s' is a graph of "
                                                      "TensorFlow; convert the original to ONNX",
                                                      format);
  container->config = config ? config : topology;
  tell_version(container, module, json_text(topology, "keras_version", NULL));
  if (config) cJSON_Delete(topology);
  return good && tfjs_read(module, path, json, container);
}

static bool open_json(Module *module, const char *path, Container *container) {
  size_t length;
  char *text = read_text_file(module, path, JSON_MAX_BYTES, &length);
  cJSON *json = text ? json_parse(module, "the file", text, length) : NULL;
  free(text);
  if (!json) return false;
  if (json_member(json, "modelTopology")) {
    bool good = open_tfjs(module, path, json, container);
    cJSON_Delete(json);
    return good;
  }
  container->config = json;
  tell_version(container, module, json_text(container->config, "keras_version", NULL));
  return open_beside(module, path, container);
}

/* ---- any of them ---- */

bool container_open(Module *module, const char *path, Container *container) {
  *container = (Container){0};
  unsigned char head[8] = {0};
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  ssize_t got = fd < 0 ? -1 : read(fd, head, sizeof head);
  int error = errno;
  if (fd >= 0) close(fd);
  if (got < 0) return fail(module, "cannot read it: %s", strerror(error));
  bool good;
  if (!memcmp(head, "PK", 2))
    good = open_archive(module, path, container);
  else if (!memcmp(head, "\x89HDF\r\n\x1a\n", 8))
    good = open_h5(module, path, container);
  else if (strchr("{ \t\r\n", head[0]) && head[0])
    good = open_json(module, path, container);
  else
    return fail(module, "it is neither HDF5 nor a zip archive nor JSON");
  if (good && !container->names) tell_weights(container);
  return good;
}

void container_close(Container *container) {
  cJSON_Delete(container->config);
  mapping_release(container->store.mapping);
  *container = (Container){0};
}
