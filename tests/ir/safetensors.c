/* safetensors.c -- the weights file: what is written reads back, and hostile headers are refused. */
#include "ir/ir.h"
#include "tests/temporary.h"
#include "tests/test.h"

#include <stdlib.h>
#include <unistd.h>

static char folder[TEMPORARY_SIZE];

static const char *path_of(Module *module, const char *name) {
  return arena_printf(module->arena, "%s/%s", folder, name);
}

static void write_file(const char *path, const void *bytes, size_t size) {
  FILE *file = fopen(path, "wb");
  CHECK(file && fwrite(bytes, 1, size, file) == size);
  if (file) fclose(file);
}

TEST(written_reads_back) {
  Module *module = module_new("test");
  const float weights[] = {1, 2, 3, 4, 5, 6};
  const int8_t bytes[] = {-1, 2};
  const SafeTensor tensors[] = {
      {"a \"quoted\"\nname", DTYPE_I8, 1, (int64_t[]){2}, bytes, sizeof bytes},
      {"conv1/weight:0", DTYPE_F32, 2, (int64_t[]){2, 3}, weights, sizeof weights},
      {"empty", DTYPE_F64, 1, (int64_t[]){0}, weights, 0},
      {"scalar", DTYPE_F32, 0, NULL, weights, 4},
  };
  const char *path = path_of(module, "good.safetensors");
  SafeTensor *got;
  int count;
  CHECK(safetensors_write(module, path, tensors, COUNT_OF(tensors)));
  if (!CHECK(safetensors_open(module, path, &got, &count)) || !CHECK_INT(count, COUNT_OF(tensors))) return;
  int found = 0;
  for (int i = 0; i < count; i++)
    for (int j = 0; j < COUNT_OF(tensors); j++) {
      if (strcmp(got[i].name, tensors[j].name) != 0) continue;
      found++;
      CHECK(got[i].dtype == tensors[j].dtype && got[i].rank == tensors[j].rank &&
            got[i].size == tensors[j].size);
      CHECK(got[i].size == 0 || memcmp(got[i].bytes, tensors[j].bytes, got[i].size) == 0);
      CHECK((uintptr_t)got[i].bytes % (size_t)(dtype_bits(got[i].dtype) / 8) == 0);
    }
  CHECK_INT(found, COUNT_OF(tensors));
  /* Over itself, while it is mapped. */
  CHECK(safetensors_write(module, path, got, count) && safetensors_open(module, path, &got, &count));
  module_free(module);
}

/* Header, bytes of data behind it, part of the message (NULL: it is accepted). */
static const struct {
  const char *header;
  int data;
  const char *message;
} headers[] = {
    {"{}", 0, NULL},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, NULL},
    {" { \"a\" : { \"shape\" : [ ] , \"data_offsets\":[0,4], \"dtype\":\"F32\" } }  ", 4, NULL},
    {"{\"__metadata__\":{\"format\":\"pt\"},\"\\u00e4\\n\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":["
     "0,1]}}",
     1, NULL},
    {"", 0, "'{' missing"},
    {"[]", 0, "'{' missing"},
    {"{", 0, "'\"' missing"},
    {"{\"a", 0, "'\"' missing"},
    {"{\"a\\", 0, "ends in a string"},
    {"{\"a\\q\":1}", 0, "an escape"},
    {"{\"\\u00\":1}", 0, "four hex digits"},
    {"{\"\\ud800\":1}", 0, "cannot have"},
    {"{\"a\":{}}", 0, "'\"' missing"},
    {"{\"a\":{\"dtype\":\"F32\"}}", 0, "without dtype, shape or"},
    {"{\"a\":{\"dtype\":\"Q7\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "unknown dtype"},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 0, "given twice"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, "outside the file"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "outside the file"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "do not fit"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-3],\"data_offsets\":[0,8]}}", 8, "whole number"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,8]}}", 8, "']' missing"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
     "too many elements"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,0]}}", 0,
     "over 64 bits"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[18446744073709551615],\"data_offsets\":[0,0]}}", 0,
     "over 63 bits"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
     "too many numbers"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
     6, "overlap"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}", 6, "gap"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 6, "no tensor"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
     "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
     2, "one name"},
    {"{} x", 0, "behind the object"},
    {"{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 0, "'{' missing"},
};

/* "" when it is accepted. */
static const char *open_bytes(Module *module, const char *name, const void *bytes, size_t size) {
  const char *path = path_of(module, name);
  SafeTensor *tensors;
  int count, errors = module->error_count;
  write_file(path, bytes, size);
  if (safetensors_open(module, path, &tensors, &count)) return "";
  return CHECK(module->error_count > errors) ? module->last_diag->text : "no message";
}

static size_t make(char *bytes, const char *header, size_t data) {
  size_t length = strlen(header);
  memset(bytes, 0, 8 + length + data);
  for (int i = 0; i < 8; i++) bytes[i] = (char)((uint64_t)length >> 8 * i);
  memcpy(bytes + 8, header, length);
  return 8 + length + data;
}

TEST(hostile_headers_are_refused) {
  Module *module = module_new("test");
  static char bytes[4096];
  for (int i = 0; i < COUNT_OF(headers); i++) {
    const char *message =
        open_bytes(module, "h", bytes, make(bytes, headers[i].header, (size_t)headers[i].data));
    bool ok = headers[i].message ? strstr(message, headers[i].message) != NULL : *message == '\0';
    if (!CHECK(ok)) printf("  %s: %s\n", headers[i].header, message);
  }
  module_free(module);
}

TEST(truncated_files_are_refused) {
  Module *module = module_new("test");
  static char bytes[4096];
  size_t size = make(bytes, headers[1].header, 8);
  for (size_t cut = 0; cut < size; cut++) CHECK(*open_bytes(module, "t", bytes, cut));
  CHECK(!*open_bytes(module, "t", bytes, size));
  memset(bytes, 0xff, 8);
  CHECK(*open_bytes(module, "t", bytes, size));
  SafeTensor *tensors;
  int count;
  CHECK(!safetensors_open(module, path_of(module, "absent"), &tensors, &count));
  CHECK(!safetensors_open(module, folder, &tensors, &count));
  module_free(module);
}

int main(void) {
  if (!temporary_folder(folder)) return 1;
  RUN(written_reads_back);
  RUN(hostile_headers_are_refused);
  RUN(truncated_files_are_refused);
  static const char *const names[] = {"good.safetensors", "h", "t"};
  for (int i = 0; i < COUNT_OF(names); i++) {
    char path[TEMPORARY_SIZE + 32];
    snprintf(path, sizeof path, "%s/%s", folder, names[i]);
    unlink(path);
  }
  rmdir(folder);
  return tests_finish();
}
