/* npy.c -- numpy files: what is written is read back, what numpy writes is read, what is damaged is refused.
 */
#include "frontend/frontend.h"
#include "tests/test.h"

#include <stdlib.h>
#include <unistd.h>

static const char *const path = "test_npy.tmp.npy";

static void write_file(const char *bytes, size_t size) {
  FILE *file = fopen(path, "wb");
  CHECK(file && fwrite(bytes, 1, size, file) == size && !fclose(file));
}

/* A version 1 file with this header and `count` floats 0, 1, 2, ... */
static void write_floats(const char *header, int count) {
  char bytes[1024] = "\x93NUMPY\x01";
  size_t length = strlen(header);
  bytes[8] = (char)length;
  memcpy(bytes + 10, header, length);
  for (int i = 0; i < count; i++) memcpy(bytes + 10 + length + 4 * (size_t)i, &(float){(float)i}, 4);
  write_file(bytes, 10 + length + 4 * (size_t)count);
}

static bool read_back(Tensor *tensor) {
  Module *module = module_new("test");
  bool good = read_npy(module, path, tensor);
  CHECK(good == !module->error_count);
  module_free(module);
  return good;
}

static void check_round_trip(Dtype dtype, int rank, const int64_t *dims) {
  Module *module = module_new("test");
  Tensor out, in;
  CHECK(tensor_new(&out, dtype, rank, dims));
  for (int64_t i = 0; i < tensor_count(&out); i++) dtype_set(dtype, out.data, i, (double)(i % 2));
  CHECK(write_npy(module, path, &out) && read_npy(module, path, &in));
  CHECK_INT(in.dtype, dtype);
  CHECK_INT(in.rank, rank);
  for (int i = 0; i < rank; i++) CHECK_INT(in.dims[i], dims[i]);
  CHECK(tensor_size(&in) == tensor_size(&out) && !memcmp(in.data, out.data, tensor_size(&in)));
  tensor_free(&out);
  tensor_free(&in);
  module_free(module);
}

TEST(what_is_written_is_read) {
  check_round_trip(DTYPE_F32, 3, (int64_t[]){2, 3, 5});
  check_round_trip(DTYPE_I64, 1, (int64_t[]){7});
  check_round_trip(DTYPE_BOOL, 0, NULL);
  check_round_trip(DTYPE_F16, 2, (int64_t[]){0, 4});
}

TEST(column_major_is_turned) {
  static const float wanted[6] = {0, 2, 4, 1, 3, 5};
  Tensor tensor;
  write_floats("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }\n", 6);
  CHECK(read_back(&tensor) && !memcmp(tensor.data, wanted, sizeof wanted));
  tensor_free(&tensor);
}

static void check_refused(const char *header, int count) {
  Tensor tensor;
  write_floats(header, count);
  CHECK(!read_back(&tensor));
}

TEST(damaged_files_are_refused) {
  check_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", 5);
  check_refused("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }\n", 2);
  check_refused("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }\n", 2);
  check_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }\n", 2);
  check_refused("{'descr': '<f4', 'shape': (99999999999, 99999999999, 9), }\n", 2);
  check_refused("{'descr': '<f4', 'shape': (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1), }\n", 1);
  check_refused("{'descr': '<f4', 'shape': (2, ", 2);
  check_refused("", 0);
}

int main(void) {
  RUN(what_is_written_is_read);
  RUN(column_major_is_turned);
  RUN(damaged_files_are_refused);
  unlink(path);
  return tests_finish();
}
