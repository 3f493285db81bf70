/*
 * external.c -- files in memory, and tensors whose bytes lie in a file beside the model.
 *
 * A model is downloaded from strangers: it may name files of its own folder only. Absolute paths and ".." are
 * refused as text, and what symbolic links lead to is refused by comparing the real paths.
 */
#include "frontend/onnx/onnx.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static Mapping *map_descriptor(Module *module, const char *path, int descriptor) {
  struct stat status;
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    fail(module, "%s is no regular file", path);
    return NULL;
  }
  if (status.st_size == 0) {
    fail(module, "%s is empty", path);
    return NULL;
  }
  void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  Mapping *mapping = bytes == MAP_FAILED ? NULL : malloc(sizeof *mapping);
  if (!mapping) {
    fail(module, "cannot map %s: %s", path, strerror(errno));
    if (bytes != MAP_FAILED) munmap(bytes, (size_t)status.st_size);
    return NULL;
  }
  *mapping =
      (Mapping){.bytes = bytes, .size = (size_t)status.st_size, .users = 1, .path = intern(module, path)};
  return mapping;
}

Mapping *mapping_open(Module *module, const char *path) {
  int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not make us wait */
  if (descriptor < 0) {
    fail(module, "cannot open %s: %s", path, strerror(errno));
    return NULL;
  }
  Mapping *mapping = map_descriptor(module, path, descriptor);
  close(descriptor);
  return mapping;
}

void mapping_drop(Mapping *mapping) {
  if (!mapping || --mapping->users > 0) return;
  munmap((void *)mapping->bytes, mapping->size);
  free(mapping);
}

static void release_mapped(Data *data) {
  mapping_drop(data->owner);
}

Data *mapping_data(Module *module, Mapping *mapping, Dtype dtype, int64_t count, const void *bytes,
                   size_t size) {
  mapping->users++;
  return data_borrow(module, dtype, count, bytes, size, release_mapped, mapping);
}

void source_close(TensorSource *source) {
  for (Mapping *file = source->external, *next; file; file = next) {
    next = file->next;
    mapping_drop(file);
  }
  mapping_drop(source->file);
  source->external = source->file = NULL;
}

/* ---- External data */

typedef struct Place {
  const char *location;
  uint64_t offset, length;
  bool has_length;
} Place;

static bool parse_size(const char *text, uint64_t *size) {
  char *end;
  errno = 0;
  *size = strtoull(text, &end, 10);
  return *text >= '0' && *text <= '9' && !*end && errno == 0;
}

static bool read_place(Module *module, const Onnx__TensorProto *tensor, const char *name, Place *place) {
  for (size_t i = 0; i < tensor->n_external_data; i++) {
    const char *key = tensor->external_data[i]->key, *value = tensor->external_data[i]->value;
    if (!key || !value) continue;
    bool ok = true;
    if (strcmp(key, "location") == 0) place->location = value;
    if (strcmp(key, "offset") == 0) ok = parse_size(value, &place->offset);
    if (strcmp(key, "length") == 0) ok = place->has_length = parse_size(value, &place->length);
    if (!ok) return fail(module, "tensor '%s': %s of its external data is no number: %s", name, key, value);
  }
  if (!place->location || !*place->location)
    return fail(module, "tensor '%s': its external data names no file", name);
  return true;
}

static bool leads_out(const char *location) {
  if (location[0] == '/') return true;
  for (const char *at = location; at; at = strchr(at, '/'), at = at ? at + 1 : NULL) {
    size_t length = strcspn(at, "/");
    if (length == 2 && at[0] == '.' && at[1] == '.') return true;
  }
  return false;
}

/* The real path of `location` beside `model`; false when it is missing or elsewhere. Both from realpath:
 * caller frees. */
static bool resolve(Module *module, const char *model, const Place *place, const char *name, char **path) {
  const char *slash = strrchr(model, '/');
  const char *folder = slash ? arena_printf(module->arena, "%.*s", (int)(slash - model + 1), model) : ".";
  char *real_folder = realpath(folder, NULL);
  *path = realpath(arena_printf(module->arena, "%s/%s", folder, place->location), NULL);
  size_t length = real_folder ? strlen(real_folder) : 0;
  bool found = real_folder && *path;
  bool inside = found && strncmp(*path, real_folder, length) == 0 && ((*path)[length] == '/' || length == 1);
  free(real_folder);
  if (inside) return true;
  free(*path);
  if (!found)
    return fail(module, "tensor '%s': its external data '%s' cannot be opened", name, place->location);
  return fail(module, "tensor '%s': its external data '%s' leads out of the model's folder", name,
              place->location);
}

static Mapping *open_external(TensorSource *source, const Place *place, const char *name) {
  char *path;
  if (leads_out(place->location)) {
    fail(source->module, "tensor '%s': its external data '%s' lies outside the model's folder", name,
         place->location);
    return NULL;
  }
  if (!resolve(source->module, source->file->path, place, name, &path)) return NULL;
  Mapping *file = source->external;
  while (file && strcmp(file->path, path) != 0) file = file->next;
  if (!file && (file = mapping_open(source->module, path))) {
    file->next = source->external;
    source->external = file;
  }
  free(path);
  return file;
}

bool external_find(TensorSource *source, const Onnx__TensorProto *tensor, size_t size, Mapping **file,
                   const uint8_t **bytes) {
  Place place = {0};
  const char *name = tensor->name ? tensor->name : "";
  TRY(read_place(source->module, tensor, name, &place));
  TRY(*file = open_external(source, &place, name));
  if (place.has_length && place.length != size)
    return fail(source->module, "tensor '%s': %llu bytes of external data, its shape wants %zu", name,
                (unsigned long long)place.length, size);
  if (place.offset > (*file)->size || size > (*file)->size - place.offset)
    return fail(source->module, "tensor '%s': bytes %llu to %llu of '%s', which has %zu", name,
                (unsigned long long)place.offset, (unsigned long long)(place.offset + size), place.location,
                (*file)->size);
  *bytes = (*file)->bytes + place.offset;
  return true;
}
