/*
 * tfjs.c -- the weights of a TensorFlow.js layers-model: a manifest in model.json, and shards beside it.
 *
 * A group of the manifest lists shards and weights. The shards follow each other without a gap and so do the
 * weights in them, which may straddle two. Weights may be quantized: to steps of `scale` above `min`, or to
 * half precision; they are widened here. What is read goes to an unnamed temporary file, each weight at a
 * multiple of 64 bytes, which is then mapped as that of HDF5 is.
 *
 * The manifest is checked against the sizes of the shards before anything is read. Shards lie in the folder
 * of the model: a path that leads elsewhere is refused.
 */
#include "frontend/keras/keras.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_WEIGHTS = 1 << 20 };

/* The shards of a group as one stream. */
typedef struct Shards {
  Module *module;
  const char *folder; /* with its slash */
  const cJSON *next;  /* the path of the one after the open one */
  int fd;             /* -1: none is open */
} Shards;

/* How a weight is stored, and what it becomes. */
typedef struct Coding {
  Dtype stored, dtype;
  double scale, min;
  int64_t count;
  uint64_t bytes; /* stored */
} Coding;

/* ---- the manifest ---- */

static Dtype dtype_of(const char *name) {
  static const struct {
    const char *name;
    Dtype dtype;
  } names[] = {{"float32", DTYPE_F32}, {"int32", DTYPE_I32},  {"bool", DTYPE_BOOL},
               {"uint8", DTYPE_U8},    {"uint16", DTYPE_U16}, {"float16", DTYPE_F16}};
  for (int i = 0; i < COUNT_OF(names); i++)
    if (!strcmp(names[i].name, name)) return names[i].dtype;
  return DTYPE_NONE;
}

static bool read_shape(Module *module, const cJSON *json, const char *name, StoredArray *array,
                       int64_t *count) {
  const cJSON *shape = json_member(json, "shape"), *item;
  *count = 1;
  if (!cJSON_IsArray(shape) || cJSON_GetArraySize(shape) > MAX_RANK)
    return fail(module, "the weight '%s' has no shape of at most %d axes", name, MAX_RANK);
  cJSON_ArrayForEach(item, shape) {
    int64_t *size = &array->dims[array->rank++];
    if (!json_integer(item, size) || *size < 0 || __builtin_mul_overflow(*count, *size, count))
      return fail(module, "the weight '%s' has a shape that makes no sense", name);
  }
  return true;
}

static bool read_coding(Module *module, const cJSON *json, StoredArray *array, Coding *coding) {
  const char *name = json_text(json, "name", NULL);
  const cJSON *quantization = json_member(json, "quantization");
  if (!name || !*name) return fail(module, "a weight of the manifest has no name");
  *coding = (Coding){.dtype = dtype_of(json_text(json, "dtype", "")), .scale = 1};
  coding->stored = quantization ? dtype_of(json_text(quantization, "dtype", "")) : coding->dtype;
  if (coding->dtype == DTYPE_NONE || coding->stored == DTYPE_NONE)
    return fail(module, "the weight '%s' has a dtype that is not read", name);
  if (quantization && coding->stored != DTYPE_F16) {
    coding->scale = json_number(quantization, "scale", 1);
    coding->min = json_number(quantization, "min", 0);
  }
  *array = (StoredArray){.path = arena_printf(module->arena, "manifest/%s", name), .dtype = coding->dtype};
  TRY(read_shape(module, json, name, array, &coding->count));
  return !__builtin_mul_overflow((uint64_t)coding->count, (uint64_t)dtype_bits(coding->stored) / 8,
                                 &coding->bytes) ||
         fail(module, "the weight '%s' is too large", name);
}

/* ---- the shards ---- */

static int open_shard(const Shards *shards, const cJSON *path) {
  const char *name = cJSON_IsString(path) ? path->valuestring : "";
  if (!*name || *name == '.' || strpbrk(name, "/\\"))
    return fail(shards->module, "the shard '%s' does not lie beside the model", name), -1;
  const char *full = arena_printf(shards->module->arena, "%s%s", shards->folder, name);
  int fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat stat;
  bool good = fd >= 0 && fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode);
  if (good) return fd;
  if (fd >= 0) close(fd);
  return fail(shards->module, "cannot read the shard '%s': %s", name,
              fd >= 0 ? "it is no file" : strerror(errno)),
         -1;
}

/* The sizes of all shards of the group must be that of its weights. */
static bool check_sizes(Shards *shards, const cJSON *group, uint64_t wanted) {
  const cJSON *path;
  uint64_t total = 0;
  cJSON_ArrayForEach(path, json_member(group, "paths")) {
    struct stat stat;
    int fd = open_shard(shards, path);
    if (fd < 0) return false;
    bool good = fstat(fd, &stat) == 0;
    close(fd);
    if (!good) return fail(shards->module, "cannot read the shard '%s'", path->valuestring);
    total += (uint64_t)stat.st_size;
  }
  return total == wanted || fail(shards->module, "the shards have %llu bytes, their weights need %llu",
                                 (unsigned long long)total, (unsigned long long)wanted);
}

static bool read_stream(Shards *shards, char *to, uint64_t size) {
  while (size) {
    ssize_t got = shards->fd < 0 ? 0 : read(shards->fd, to, size);
    if (got < 0) return fail(shards->module, "a shard cannot be read: %s", strerror(errno));
    if (got > 0) {
      to += got;
      size -= (uint64_t)got;
      continue;
    }
    if (shards->fd >= 0) close(shards->fd);
    shards->fd = -1;
    if (!shards->next) return fail(shards->module, "the shards end too early");
    shards->fd = open_shard(shards, shards->next);
    if (shards->fd < 0) return false;
    shards->next = shards->next->next;
  }
  return true;
}

/* ---- from shards to the temporary file ---- */

static bool write_whole(Module *module, int fd, const char *bytes, size_t size) {
  while (size) {
    ssize_t done = write(fd, bytes, size);
    if (done <= 0) return fail(module, "cannot write a temporary file: %s", strerror(errno));
    bytes += done;
    size -= (size_t)done;
  }
  return true;
}

static void widen(const Coding *coding, const void *from, void *to) {
  for (int64_t i = 0; i < coding->count; i++)
    dtype_set(coding->dtype, to, i, dtype_get(coding->stored, from, i) * coding->scale + coding->min);
}

/* Writes the weight at the next multiple of 64; *at is moved behind it. */
static bool copy_weight(Shards *shards, const Coding *coding, int out, uint64_t *at) {
  static const char zeros[64];
  uint64_t size = (uint64_t)coding->count * (uint64_t)dtype_bits(coding->dtype) / 8;
  char *stored = malloc(coding->bytes + 1), *wide = malloc(size + 1);
  bool good = stored && wide ? read_stream(shards, stored, coding->bytes)
                             : fail(shards->module, "no memory for a weight");
  if (good && coding->stored != coding->dtype) widen(coding, stored, wide);
  good = good && write_whole(shards->module, out, coding->stored == coding->dtype ? stored : wide, size) &&
         write_whole(shards->module, out, zeros, (64 - size % 64) % 64);
  free(stored);
  free(wide);
  *at += (size + 63) / 64 * 64;
  return good;
}

/* ---- the groups ---- */

static bool plan_group(Module *module, const cJSON *group, Store *store, Coding *codings, uint64_t *bytes) {
  const cJSON *weight;
  *bytes = 0;
  cJSON_ArrayForEach(weight, json_member(group, "weights")) {
    Coding *coding = &codings[store->array_count];
    TRY(read_coding(module, weight, &store->arrays[store->array_count++], coding));
    if (__builtin_add_overflow(*bytes, coding->bytes, bytes))
      return fail(module, "the weights are too large");
  }
  return true;
}

static bool copy_group(Shards *shards, const cJSON *group, Store *store, int out, uint64_t *at) {
  int first = store->array_count, count = cJSON_GetArraySize(json_member(group, "weights"));
  Coding *codings = NEW_ARRAY(shards->module->arena, Coding, first + count);
  uint64_t bytes;
  TRY(plan_group(shards->module, group, store, codings, &bytes) && check_sizes(shards, group, bytes));
  const cJSON *paths = json_member(group, "paths");
  shards->next = paths ? paths->child : NULL;
  bool good = true;
  for (int i = first; good && i < store->array_count; i++) {
    store->arrays[i].bytes = (const void *)(uintptr_t)*at; /* an offset until the file is mapped */
    good = copy_weight(shards, &codings[i], out, at);
  }
  if (shards->fd >= 0) close(shards->fd);
  shards->fd = -1;
  return good;
}

static bool copy_groups(Shards *shards, const cJSON *manifest, Store *store, int out) {
  const cJSON *group;
  int64_t count = 0;
  uint64_t at = 0;
  cJSON_ArrayForEach(group, manifest) count += cJSON_GetArraySize(json_member(group, "weights"));
  if (count > MAX_WEIGHTS) return fail(shards->module, "the manifest has more than %d weights", MAX_WEIGHTS);
  store->arrays = NEW_ARRAY(shards->module->arena, StoredArray, count);
  cJSON_ArrayForEach(group, manifest) TRY(copy_group(shards, group, store, out, &at));
  store->mapping = at ? mapping_of_fd(shards->module, out) : NULL;
  if (at && !store->mapping) return false;
  for (int i = 0; i < store->array_count; i++)
    store->arrays[i].bytes = at ? (const char *)store->mapping->base + (uintptr_t)store->arrays[i].bytes : "";
  return true;
}

bool tfjs_read(Module *module, const char *path, const cJSON *json, Container *container) {
  const char *slash = strrchr(path, '/');
  const cJSON *manifest = json_member(json, "weightsManifest");
  Store *store = &container->store;
  Shards shards = {.module = module, .fd = -1};
  shards.folder = slash ? arena_printf(module->arena, "%.*s", (int)(slash + 1 - path), path) : "";
  if (!cJSON_IsArray(manifest)) return fail(module, "the model has no weightsManifest");
  int out = temporary_file(module);
  if (out < 0) return false;
  bool good = copy_groups(&shards, manifest, store, out);
  close(out);
  if (!good) return false;
  const char **names = NEW_ARRAY(module->arena, const char *, store->array_count);
  for (int i = 0; i < store->array_count; i++) names[i] = store->arrays[i].path + strlen("manifest/");
  container->names = names;
  container->name_count = store->array_count;
  store_sort(store);
  return true;
}
