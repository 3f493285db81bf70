/*
 * h5_child.c -- the only file that calls libhdf5, and it runs in a child process only.
 *
 * libhdf5 crashes, loops and allocates without bound on hostile files, so its caller (h5.c) forks, limits
 * memory and time, and reads the records that this file writes: one per dataset and per attribute of strings.
 * A file that makes the library read other files (external storage, virtual datasets, plugins) is refused.
 */
#define H5_USE_110_API
#include "frontend/keras/keras.h"
#include <hdf5.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_OBJECTS = 1 << 20, MAX_STRINGS = 1 << 20, MAX_STRING_BYTES = 64 << 20 };

typedef struct Walk {
  int out;
  int objects;
  uint64_t budget;  /* bytes of payload that may still be written */
  const char *path; /* of the object whose attributes are being read */
} Walk;

static bool write_all(int fd, const void *bytes, size_t size) {
  for (const char *at = bytes; size > 0;) {
    ssize_t done = write(fd, at, size);
    if (done <= 0) return false;
    at += done;
    size -= (size_t)done;
  }
  return true;
}

static bool write_padding(int fd, size_t written) {
  static const char zeros[64];
  return write_all(fd, zeros, (64 - written % 64) % 64);
}

static bool write_record(Walk *walk, H5Record record, const char *path, const char *name,
                         const void *payload) {
  record.magic = H5_MAGIC;
  record.path_length = (uint32_t)strlen(path);
  record.name_length = (uint32_t)strlen(name);
  int out = walk->out;
  return write_all(out, &record, sizeof record) && write_all(out, path, record.path_length) &&
         write_all(out, name, record.name_length) &&
         write_padding(out, record.path_length + record.name_length) &&
         write_all(out, payload, record.size) && write_padding(out, record.size);
}

/* Ends the walk: the record is the reason. */
static herr_t refuse(Walk *walk, const char *path, const char *reason) {
  write_record(walk, (H5Record){.kind = H5_ERROR, .size = strlen(reason)}, path, "", reason);
  return -1;
}

/* ---- datasets ---- */

/* The dtype of the records and the type in memory, which the caller closes. DTYPE_NONE: nothing that weights
 * are made of. */
static Dtype memory_type(hid_t stored, hid_t *memory) {
  static const Dtype ints[2][4] = {{DTYPE_U8, DTYPE_U16, DTYPE_U32, DTYPE_U64},
                                   {DTYPE_I8, DTYPE_I16, DTYPE_I32, DTYPE_I64}};
  size_t size = H5Tget_size(stored);
  switch (H5Tget_class(stored)) {
  case H5T_FLOAT: /* half precision is widened by the library */
    *memory = H5Tcopy(size > 4 ? H5T_NATIVE_DOUBLE : H5T_NATIVE_FLOAT);
    return size > 8 ? DTYPE_NONE : size > 4 ? DTYPE_F64 : DTYPE_F32;
  case H5T_INTEGER: {
    bool is_signed = H5Tget_sign(stored) == H5T_SGN_2;
    *memory = H5Tget_native_type(stored, H5T_DIR_ASCEND);
    for (int i = 0; i < 4; i++)
      if (H5Tget_size(*memory) == (size_t)1 << i) return ints[is_signed][i];
    return DTYPE_NONE;
  }
  case H5T_ENUM: *memory = H5Tcopy(stored); return size == 1 ? DTYPE_BOOL : DTYPE_NONE;
  case H5T_OPAQUE: *memory = H5Tcopy(stored); return size == 2 ? DTYPE_BF16 : DTYPE_NONE;
  default: *memory = -1; return DTYPE_NONE;
  }
}

static bool reads_other_files(hid_t dataset) {
  hid_t list = H5Dget_create_plist(dataset);
  bool elsewhere = list < 0 || H5Pget_layout(list) == H5D_VIRTUAL || H5Pget_external_count(list) != 0;
  if (list >= 0) H5Pclose(list);
  return elsewhere;
}

static bool read_shape(hid_t dataset, H5Record *record, uint64_t *elements) {
  hid_t space = H5Dget_space(dataset);
  hsize_t dims[H5S_MAX_RANK] = {0};
  int rank = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
  bool good = rank >= 0 && rank <= MAX_RANK && H5Sget_simple_extent_type(space) != H5S_NULL &&
              H5Sget_simple_extent_dims(space, dims, NULL) == rank;
  *elements = 1;
  for (int i = 0; good && i < rank; i++) {
    good = dims[i] <= INT64_MAX && !__builtin_mul_overflow(*elements, dims[i], elements);
    record->dims[i] = (int64_t)dims[i];
  }
  record->rank = (uint32_t)rank;
  if (space >= 0) H5Sclose(space);
  return good;
}

static herr_t copy_dataset(Walk *walk, hid_t dataset, hid_t memory, Dtype dtype, const char *path) {
  H5Record record = {.kind = H5_ARRAY, .dtype = (uint32_t)dtype};
  uint64_t elements;
  if (!read_shape(dataset, &record, &elements))
    return refuse(walk, path, "its shape is damaged or has too many axes");
  if (__builtin_mul_overflow(elements, (uint64_t)H5Tget_size(memory), &record.size) ||
      record.size > walk->budget)
    return refuse(walk, path, "it claims more bytes than a file of this size can hold");
  walk->budget -= record.size;
  void *bytes = malloc(record.size + 1);
  if (!bytes) return refuse(walk, path, "it does not fit into memory");
  herr_t done = 0;
  if (elements && H5Dread(dataset, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes) < 0)
    done = refuse(walk, path, "its data cannot be read");
  else if (!write_record(walk, record, path, "", bytes))
    done = -1;
  free(bytes);
  return done;
}

static herr_t visit_dataset(Walk *walk, hid_t dataset, const char *path) {
  hid_t stored = H5Dget_type(dataset), memory = -1;
  Dtype dtype = stored < 0 ? DTYPE_NONE : memory_type(stored, &memory);
  herr_t done = 0;
  if (reads_other_files(dataset))
    done = refuse(walk, path, "it refers to other files, which is not allowed");
  else if (dtype != DTYPE_NONE && memory >= 0)
    done = copy_dataset(walk, dataset, memory, dtype, path);
  if (memory >= 0) H5Tclose(memory);
  if (stored >= 0) H5Tclose(stored);
  return done;
}

/* ---- attributes ---- */

typedef struct Text {
  char *bytes;
  size_t size;
} Text;

/* Strings of variable length: the library allocates each. */
static bool read_variable(hid_t attribute, hid_t type, hid_t space, size_t count, Text *text) {
  char **values = calloc(count + 1, sizeof *values);
  bool good = values && H5Aread(attribute, type, values) >= 0;
  size_t size = 0;
  for (size_t i = 0; good && i < count; i++) size += (values[i] ? strlen(values[i]) : 0) + 1;
  good = good && size <= MAX_STRING_BYTES && (text->bytes = malloc(size + 1));
  for (size_t i = 0; good && i < count; i++) {
    size_t length = values[i] ? strlen(values[i]) : 0;
    if (length) memcpy(text->bytes + text->size, values[i], length);
    text->bytes[text->size + length] = 0;
    text->size += length + 1;
  }
  if (values) H5Dvlen_reclaim(type, space, H5P_DEFAULT, values);
  free(values);
  return good;
}

/* Strings of one fixed length, padded with zeros or blanks. */
static bool read_fixed(hid_t attribute, hid_t type, size_t count, Text *text) {
  size_t width = H5Tget_size(type);
  if (!width || count > MAX_STRING_BYTES / (width + 1)) return false;
  char *values = calloc(count + 1, width);
  text->bytes = malloc(count * (width + 1) + 1);
  bool good = values && text->bytes && H5Aread(attribute, type, values) >= 0;
  for (size_t i = 0; good && i < count; i++) {
    size_t length = strnlen(values + i * width, width);
    if (H5Tget_strpad(type) == H5T_STR_SPACEPAD)
      while (length && values[i * width + length - 1] == ' ') length--;
    memcpy(text->bytes + text->size, values + i * width, length);
    text->bytes[text->size + length] = 0;
    text->size += length + 1;
  }
  free(values);
  return good;
}

static herr_t visit_attribute(hid_t object, const char *name, const H5A_info_t *info, void *context) {
  (void)info;
  Walk *walk = context;
  hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
  if (attribute < 0) return refuse(walk, walk->path, "an attribute cannot be read");
  hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
  hssize_t count = space < 0 ? -1 : H5Sget_simple_extent_npoints(space);
  herr_t done = 0;
  if (type >= 0 && count >= 0 && H5Tget_class(type) == H5T_STRING) {
    Text text = {0};
    bool good = count <= MAX_STRINGS &&
                (H5Tis_variable_str(type) > 0 ? read_variable(attribute, type, space, (size_t)count, &text)
                                              : read_fixed(attribute, type, (size_t)count, &text));
    H5Record record = {.kind = H5_STRINGS, .count = (uint64_t)count, .size = text.size};
    if (!good || text.size > walk->budget)
      done = refuse(walk, walk->path, "an attribute cannot be read");
    else if (!write_record(walk, record, walk->path, name, text.bytes ? text.bytes : ""))
      done = -1;
    else
      walk->budget -= text.size;
    free(text.bytes);
  }
  if (space >= 0) H5Sclose(space);
  if (type >= 0) H5Tclose(type);
  H5Aclose(attribute);
  return done;
}

/* ---- the walk ---- */

/* The state of the optimizer is up to three times the weights and of no use here. */
static bool is_optimizer(const char *path) {
  size_t length = strcspn(path, "/");
  return (length == 17 && !memcmp(path, "optimizer_weights", 17)) ||
         (length == 9 && !memcmp(path, "optimizer", 9));
}

static herr_t visit_object(hid_t root, const char *found, const H5O_info_t *info, void *context) {
  Walk *walk = context;
  const char *path = strcmp(found, ".") ? found : "";
  if (++walk->objects > MAX_OBJECTS) return refuse(walk, path, "the file has too many objects");
  if (is_optimizer(path) || (info->type != H5O_TYPE_GROUP && info->type != H5O_TYPE_DATASET)) return 0;
  hid_t object = H5Oopen(root, found, H5P_DEFAULT);
  if (object < 0) return refuse(walk, path, "it cannot be opened");
  walk->path = path;
  herr_t done = H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, NULL, visit_attribute, walk);
  if (done >= 0 && info->type == H5O_TYPE_DATASET) done = visit_dataset(walk, object, path);
  H5Oclose(object);
  return done;
}

/* ---- the file ---- */

/* The library reads from the mapped file: a path would be useless for a temporary file without a name. Its
 * driver for files in memory wants to copy them several times; these callbacks hand out the mapping instead.
 */
static void *image_allocate(size_t size, H5FD_file_image_op_t operation, void *base) {
  return (void)size, (void)operation, base;
}
static void *image_copy(void *to, const void *from, size_t size, H5FD_file_image_op_t operation, void *base) {
  return (void)from, (void)size, (void)operation, (void)base, to;
}
static void *image_grow(void *image, size_t size, H5FD_file_image_op_t operation, void *base) {
  return (void)image, (void)size, (void)operation, (void)base, NULL;
}
static herr_t image_free(void *image, H5FD_file_image_op_t operation, void *base) {
  return (void)image, (void)operation, (void)base, 0;
}
static void *base_copy(void *base) {
  return base;
}
static herr_t base_free(void *base) {
  return (void)base, 0;
}

static hid_t open_mapped(void *base, size_t size) {
  H5FD_file_image_callbacks_t callbacks = {image_allocate, image_copy, image_grow, image_free,
                                           base_copy,      base_free,  base};
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  bool good = access >= 0 && H5Pset_fapl_core(access, 1 << 16, 0) >= 0 &&
              H5Pset_file_image_callbacks(access, &callbacks) >= 0 &&
              H5Pset_file_image(access, base, size) >= 0;
  return good ? H5Fopen("model", H5F_ACC_RDONLY, access) : -1;
}

static hid_t open_file(int fd) {
  off_t size = lseek(fd, 0, SEEK_END);
  void *base = size > 0 ? mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
  return base == MAP_FAILED ? -1 : open_mapped(base, (size_t)size);
}

void h5_child(int fd, int out, uint64_t budget) {
  Walk walk = {.out = out, .budget = budget, .path = ""};
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  H5PLset_loading_state(0);
  hid_t file = open_file(fd);
  if (file < 0) {
    refuse(&walk, "", "it is not an HDF5 file or its head is damaged");
  } else if (H5Ovisit2(file, H5_INDEX_NAME, H5_ITER_INC, visit_object, &walk, H5O_INFO_BASIC) < 0) {
    refuse(&walk, "", "its structure is damaged");
  } else {
    write_record(&walk, (H5Record){.kind = H5_END}, "", "", "");
  }
}
