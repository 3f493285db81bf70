/* onnx_tensor.c -- TensorProto in all its forms, and what is refused: wrong sizes, and data outside the
 * folder. */
#include "frontend/frontend.h"
#include "tests/temporary.h"
#include "tests/test.h"
#include "tests/unit/protobuf.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Field numbers and element types of TensorProto. */
enum {
  DIMS = 1,
  DATA_TYPE,
  FLOAT_DATA = 4,
  INT32_DATA,
  STRING_DATA,
  INT64_DATA,
  NAME,
  RAW_DATA,
  DOUBLE_DATA,
  UINT64_DATA,
  EXTERNAL_DATA = 13,
  DATA_LOCATION
};
enum {
  FLOAT = 1,
  UINT8,
  INT8,
  UINT16,
  INT16,
  INT32,
  INT64,
  STRING,
  BOOL,
  FLOAT16,
  DOUBLE,
  UINT32,
  UINT64,
  COMPLEX64,
  COMPLEX128,
  BFLOAT16,
  INT4 = 22,
  INT2 = 26
};

static char folder[TEMPORARY_SIZE]; /* of this run, with a slash */
static Bytes bytes;                 /* the message of the running test */
static Module *module;
static Tensor tensor;

static void begin(int data_type, int64_t dim) {
  bytes.size = 0;
  add_int(&bytes, DIMS, (uint64_t)dim);
  add_int(&bytes, DATA_TYPE, (uint64_t)data_type);
}

static char *path_of(const char *name) {
  static char path[TEMPORARY_SIZE + 64];
  snprintf(path, sizeof path, "%s%s", folder, name);
  return path;
}

static void write_file(const char *name, const void *data, size_t size) {
  FILE *file = fopen(path_of(name), "wb");
  if (!file || fwrite(data, 1, size, file) != size) abort();
  fclose(file);
}

static void forget(void) {
  tensor_free(&tensor);
  tensor = (Tensor){0};
  if (module) module_free(module);
  module = NULL;
}

static bool read_message(void) {
  forget();
  write_file("tensor.pb", bytes.data, bytes.size);
  module = module_new("tensor.pb");
  return read_tensor_pb(module, path_of("tensor.pb"), FORM_TENSOR, &tensor, NULL);
}

/* The error of the message; "" when it is read. */
static const char *error_of_message(void) {
  return read_message() || !module->diags ? "" : module->diags->text;
}

static bool error_says(const char *words) {
  const char *error = error_of_message();
  if (strstr(error, words)) return true;
  printf("the error is \"%s\"\n", error);
  return false;
}

TEST(raw_floats) {
  begin(FLOAT, 2);
  add_text(&bytes, NAME, "x");
  add_field(&bytes, RAW_DATA, (float[]){1.5f, -2}, 8);
  if (!CHECK(read_message())) return;
  CHECK_INT(tensor.dtype, DTYPE_F32);
  CHECK_INT(tensor.rank, 1);
  CHECK_INT(tensor.dims[0], 2);
  CHECK_NEAR(((float *)tensor.data)[1], -2, 0);
}

TEST(packed_and_unpacked_floats) {
  begin(FLOAT, 2);
  add_field(&bytes, FLOAT_DATA, (float[]){3, 4}, 8);
  if (CHECK(read_message())) CHECK_NEAR(((float *)tensor.data)[1], 4, 0);
  begin(FLOAT, 2);
  for (int i = 0; i < 2; i++) {
    add_number(&bytes, FLOAT_DATA << 3 | 5);
    add(&bytes, (float[]){(float)i + 5}, 4);
  }
  if (CHECK(read_message())) CHECK_NEAR(((float *)tensor.data)[1], 6, 0);
}

TEST(scalar_has_no_dims) {
  bytes.size = 0;
  add_int(&bytes, DATA_TYPE, DOUBLE);
  add_field(&bytes, DOUBLE_DATA, &(double){0.25}, 8);
  if (!CHECK(read_message())) return;
  CHECK_INT(tensor.rank, 0);
  CHECK_NEAR(*(double *)tensor.data, 0.25, 0);
}

/* The types that share int32_data: the low bytes of each entry count. */
TEST(narrow_types_in_int32_data) {
  static const struct {
    int data_type;
    Dtype dtype;
    uint64_t entry;
    double value;
  } cases[] = {
      {UINT8, DTYPE_U8, 200, 200},          {INT8, DTYPE_I8, (uint64_t)-5, -5},
      {UINT16, DTYPE_U16, 60000, 60000},    {INT16, DTYPE_I16, (uint64_t)-7, -7},
      {INT32, DTYPE_I32, (uint64_t)-9, -9}, {BOOL, DTYPE_BOOL, 1, 1},
      {FLOAT16, DTYPE_F16, 0x3e00, 1.5},    {BFLOAT16, DTYPE_BF16, 0xc040, -3},
  };
  for (int i = 0; i < COUNT_OF(cases); i++) {
    begin(cases[i].data_type, 1);
    add_int(&bytes, INT32_DATA, cases[i].entry);
    if (!CHECK(read_message())) continue;
    CHECK_INT(tensor.dtype, cases[i].dtype);
    CHECK_NEAR(dtype_get(tensor.dtype, tensor.data, 0), cases[i].value, 0);
  }
}

TEST(wide_integers) {
  begin(INT64, 1);
  add_int(&bytes, INT64_DATA, (uint64_t)INT64_MIN);
  if (CHECK(read_message())) CHECK_INT(*(int64_t *)tensor.data, INT64_MIN);
  begin(UINT32, 1);
  add_int(&bytes, UINT64_DATA, UINT32_MAX);
  if (CHECK(read_message())) CHECK_INT(*(uint32_t *)tensor.data, UINT32_MAX);
  begin(UINT64, 1);
  add_int(&bytes, UINT64_DATA, UINT64_MAX);
  if (CHECK(read_message())) CHECK(*(uint64_t *)tensor.data == UINT64_MAX);
}

TEST(elements_under_a_byte_are_packed) {
  begin(INT4, 3);
  add_int(&bytes, INT32_DATA, 0xf7); /* 7, -1 */
  add_int(&bytes, INT32_DATA, 0x08); /* -8 */
  if (!CHECK(read_message())) return;
  static const int wanted[] = {7, -1, -8};
  for (int i = 0; i < 3; i++) CHECK_INT(dtype_get_int(DTYPE_I4, tensor.data, i), wanted[i]);
  begin(INT2, 5);
  add_field(&bytes, RAW_DATA, (uint8_t[]){0xe4, 0x01}, 2); /* 0, 1, -2, -1, 1 */
  if (!CHECK(read_message())) return;
  static const int wanted2[] = {0, 1, -2, -1, 1};
  for (int i = 0; i < 5; i++) CHECK_INT(dtype_get_int(DTYPE_I2, tensor.data, i), wanted2[i]);
}

TEST(complex_numbers_are_pairs) {
  begin(COMPLEX64, 1);
  add_field(&bytes, FLOAT_DATA, (float[]){1, 2}, 8);
  if (CHECK(read_message())) CHECK_NEAR(((float *)tensor.data)[1], 2, 0);
  begin(COMPLEX64, 1);
  add_field(&bytes, FLOAT_DATA, (float[]){1}, 4);
  CHECK(error_says("holds 4 bytes, its dims want 8"));
}

TEST(any_byte_but_zero_is_true) {
  begin(BOOL, 3);
  add_field(&bytes, RAW_DATA, (uint8_t[]){0, 1, 255}, 3);
  if (!CHECK(read_message())) return;
  CHECK_INT(((uint8_t *)tensor.data)[0], 0);
  CHECK_INT(((uint8_t *)tensor.data)[2], 1);
}

TEST(empty_tensors) {
  begin(FLOAT, 0);
  add_int(&bytes, DIMS, INT64_MAX);
  add_int(&bytes, DIMS, INT64_MAX);
  if (!CHECK(read_message())) return;
  CHECK_INT(tensor_count(&tensor), 0);
}

TEST(sizes_must_agree) {
  begin(FLOAT, 3);
  add_field(&bytes, RAW_DATA, (float[]){1, 2}, 8);
  CHECK(error_says("holds 8 bytes, its dims want 12"));
  begin(INT32, 3);
  add_int(&bytes, INT32_DATA, 1);
  CHECK(error_says("holds 1 entries, its dims want 3"));
  begin(INT64, (int64_t)1 << 40);
  CHECK(error_says("holds 0 entries"));
  begin(FLOAT, (int64_t)1 << 40);
  add_int(&bytes, DIMS, (uint64_t)1 << 40);
  CHECK(error_says("more bytes than can be addressed"));
  begin(FLOAT, -1);
  CHECK(error_says("dim 0 of tensor '' is -1"));
}

TEST(types_must_agree) {
  begin(INT32, 1);
  add_field(&bytes, FLOAT_DATA, (float[]){1}, 4);
  CHECK(error_says("in the list of another type"));
  begin(99, 1);
  CHECK(error_says("unknown element type 99"));
  begin(-1, 1);
  CHECK(error_says("unknown element type -1"));
  begin(STRING, 1);
  add_field(&bytes, STRING_DATA, "a\0b", 3);
  CHECK(error_says("string 0 of tensor '' has a byte 0"));
  begin(STRING, 1);
  add_field(&bytes, RAW_DATA, "12345678", 8);
  CHECK(error_says("holds strings outside of its list"));
  begin(STRING, 2);
  add_text(&bytes, STRING_DATA, "a");
  CHECK(error_says("holds 1 entries, its dims want 2"));
  begin(FLOAT, 1);
  for (int i = 0; i < 20; i++) add_int(&bytes, DIMS, 1);
  CHECK(error_says("21 dims"));
}

/* ---- External data */

static void add_entry(const char *key, const char *value) {
  static Bytes entry;
  entry.size = 0;
  add_text(&entry, 1, key);
  add_text(&entry, 2, value);
  add_field(&bytes, EXTERNAL_DATA, entry.data, entry.size);
}

static void begin_external(const char *location) {
  begin(FLOAT, 2);
  add_int(&bytes, DATA_LOCATION, 1);
  add_entry("location", location);
}

TEST(external_data_is_found) {
  write_file("weights.bin", (float[]){1, 2, 3, 4}, 16);
  begin_external("weights.bin");
  add_entry("offset", "4");
  add_entry("length", "8");
  if (CHECK(read_message())) CHECK_NEAR(((float *)tensor.data)[1], 3, 0);
  begin_external("./weights.bin");
  if (CHECK(read_message())) CHECK_NEAR(((float *)tensor.data)[1], 2, 0);
}

TEST(external_data_stays_in_its_file) {
  begin_external("weights.bin");
  add_entry("offset", "12");
  CHECK(error_says("bytes 12 to 20 of 'weights.bin', which has 16"));
  begin_external("weights.bin");
  add_entry("offset", "18446744073709551615");
  CHECK(error_says("which has 16"));
  begin_external("weights.bin");
  add_entry("offset", "-4");
  CHECK(error_says("no number"));
  begin_external("weights.bin");
  add_entry("length", "16");
  CHECK(error_says("16 bytes of external data, its shape wants 8"));
}

TEST(external_data_stays_in_the_folder) {
  mkdir(path_of("inner"), 0700);
  static char outside[TEMPORARY_SIZE + 64];
  snprintf(outside, sizeof outside, "%s", path_of("weights.bin"));
  begin_external(outside);
  CHECK(error_says("outside the model's folder"));
  begin_external("../weights.bin");
  CHECK(error_says("outside the model's folder"));
  begin_external("inner/../../weights.bin");
  CHECK(error_says("outside the model's folder"));
  begin_external("..");
  CHECK(error_says("outside the model's folder"));
  if (symlink("/etc/passwd", path_of("link")) != 0) return;
  begin_external("link");
  CHECK(error_says("leads out of the model's folder"));
  begin_external("no such file");
  CHECK(error_says("cannot be opened"));
  begin_external("inner");
  CHECK(error_says("no regular file"));
  begin_external("");
  CHECK(error_says("names no file"));
}

TEST(broken_files) {
  bytes.size = 0;
  CHECK(error_says("is empty"));
  add(&bytes, "\x93NUMPY", 6);
  CHECK(error_says("no ONNX tensor"));
  forget();
  module = module_new("x");
  CHECK(!read_tensor_pb(module, path_of("missing.pb"), FORM_TENSOR, &tensor, NULL));
  CHECK(module->diags && strstr(module->diags->text, "cannot open"));
}

int main(void) {
  if (!temporary_folder(folder)) return 1;
  strcat(folder, "/");
  RUN(raw_floats);
  RUN(packed_and_unpacked_floats);
  RUN(scalar_has_no_dims);
  RUN(narrow_types_in_int32_data);
  RUN(wide_integers);
  RUN(elements_under_a_byte_are_packed);
  RUN(complex_numbers_are_pairs);
  RUN(any_byte_but_zero_is_true);
  RUN(empty_tensors);
  RUN(sizes_must_agree);
  RUN(types_must_agree);
  RUN(external_data_is_found);
  RUN(external_data_stays_in_its_file);
  RUN(external_data_stays_in_the_folder);
  RUN(broken_files);
  forget();
  for (const char *const *name = (const char *[]){"tensor.pb", "weights.bin", "link", NULL}; *name; name++)
    unlink(path_of(*name));
  rmdir(path_of("inner"));
  rmdir(folder);
  return tests_finish();
}
