/* samples.c -- data for calibration: every kind of source, what fits a model's inputs, and what is refused.
 */
#include "frontend/frontend.h"
#include "tests/temporary.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[TEMPORARY_SIZE];
static char path_text[4096];

static const char *path_of(const char *name) {
  snprintf(path_text, sizeof path_text, "%s/%s", folder, name);
  return path_text;
}

static void write_bytes(const char *name, const void *bytes, size_t size) {
  FILE *file = fopen(path_of(name), "wb");
  CHECK(file && fwrite(bytes, 1, size, file) == size && !fclose(file));
}

static void write_text(const char *name, const char *text) {
  write_bytes(name, text, strlen(text));
}

/* An .npy of 0, 1, 2, ... */
static void write_array(const char *name, Dtype dtype, int rank, const int64_t *dims) {
  Module *module = module_new("test");
  Tensor tensor;
  CHECK(tensor_new(&tensor, dtype, rank, dims));
  for (int64_t i = 0; i < tensor_count(&tensor); i++) dtype_set(dtype, tensor.data, i, (double)i);
  CHECK(write_npy(module, path_of(name), &tensor));
  tensor_free(&tensor);
  module_free(module);
}

static const SampleOptions plain = {.most = 128, .scale = 1, .std = {1, 1, 1}};

/* Reads samples of a graph with these inputs, which returns the first; *error gets the first Diag. */
static bool read_as(Module **module, const char *inputs, const char *name, const SampleOptions *options,
                    Samples *samples) {
  char text[512], path[4096];
  const char *colon = strchr(inputs, ':');
  int type = (int)strcspn(colon, "%");
  while (type > 1 && (colon[type - 1] == ' ' || colon[type - 1] == ',')) type--;
  snprintf(text, sizeof text, "graph g(%s) -> (%%r%.*s) {\n  return %.*s\n}\n", inputs, type, colon,
           (int)(colon - inputs), inputs);
  *module = module_new("test");
  snprintf(path, sizeof path, "%s/%s", folder, name);
  if (!CHECK(module_parse_text(*module, text, strlen(text), NULL))) diags_print(*module, stdout, 9);
  bool ok = read_samples(*module, path, options, samples);
  CHECK(ok == !(*module)->error_count);
  return ok;
}

static void check_values(const Tensor *tensor, const double *wanted, int count) {
  if (!CHECK(tensor_count(tensor) == count)) return;
  for (int i = 0; i < count; i++)
    CHECK_NEAR(dtype_get(tensor->dtype, tensor->data, i), wanted[i], 1e-5 * (1 + fabs(wanted[i])));
}

/* `count` samples, of which the last begins with this number. */
static void check_read(const char *inputs, const char *name, int count, double last) {
  Module *module;
  Samples samples;
  if (CHECK(read_as(&module, inputs, name, &plain, &samples))) {
    CHECK_INT(samples.count, count);
    const Tensor *tensor = &samples.tensors[(samples.count - 1) * samples.input_count];
    CHECK_NEAR(dtype_get(tensor->dtype, tensor->data, 0), last, 0);
    samples_free(&samples);
  } else {
    diags_print(module, stdout, 1);
  }
  module_free(module);
}

static void check_refused_with(const char *inputs, const char *name, const SampleOptions *options,
                               const char *message) {
  Module *module;
  Samples samples;
  CHECK(!read_as(&module, inputs, name, options, &samples) && samples.count == 0);
  if (CHECK(module->diags) && !strstr(module->diags->text, message))
    CHECK_STRING(module->diags->text, message);
  module_free(module);
}

static void check_refused(const char *inputs, const char *name, const char *message) {
  check_refused_with(inputs, name, &plain, message);
}

/* ---- Arrays ---- */

TEST(an_array_divides_along_its_first_axis) {
  write_array("a.npy", DTYPE_F32, 3, (int64_t[]){5, 2, 3});
  check_read("%x: f32[2,3]", "a.npy", 5, 24);     /* an axis more */
  check_read("%x: f32[N,2,3]", "a.npy", 5, 24);   /* open */
  check_read("%x: f32[1,2,3]", "a.npy", 5, 24);   /* 1 */
  check_read("%x: f32[5,2,3]", "a.npy", 1, 0);    /* all of it */
  check_read("%x: f32[N,A,B]", "a.npy", 5, 24);   /* all open */
  check_read("%x: f32[1,1,2,3]", "a.npy", 5, 24); /* other axes of size 1 */
  check_read("%x: f32[N,6]", "a.npy", 5, 24);     /* flat */
  write_array("b.npy", DTYPE_F64, 2, (int64_t[]){6, 4});
  check_read("%x: f32[2,4]", "b.npy", 3, 16); /* rows by twos, and f64 becomes f32 */
  check_read("%x: f32[4]", "b.npy", 6, 20);
  write_array("c.npy", DTYPE_I64, 1, (int64_t[]){7});
  check_read("%x: i32", "c.npy", 7, 6);
  check_read("%x: i64[N]", "c.npy", 7, 6);
  write_array("scalar.npy", DTYPE_F32, 0, NULL);
  check_read("%x: f32", "scalar.npy", 1, 0);
}

TEST(arrays_that_do_not_fit_are_refused) {
  write_array("a.npy", DTYPE_F32, 3, (int64_t[]){5, 2, 3});
  check_refused("%x: f32[N,3,2]", "a.npy",
                "is f32[5,2,3] and cannot be divided into samples of input 'x', f32[N,3,2]");
  check_refused("%x: f32[2,2,3]", "a.npy", "cannot be divided");
  check_refused("%x: f32[0,2,3]", "a.npy", "cannot be divided");
  check_refused("%x: f32", "a.npy", "cannot be divided");
  check_refused("%x: i32[N,2,3]", "a.npy", "is f32, but input 'x' is i32[N,2,3]: convert it");
  check_refused("%x: f32[N,2,3], %y: f32[N]", "a.npy", "the model has 2 inputs: give an .npz");
  write_array("i.npy", DTYPE_I32, 1, (int64_t[]){300});
  check_refused("%x: u8", "i.npy", "does not fit the model's u8");
  check_refused("%x: f32", "i.npy", "is i32, but input 'x' is f32");
  write_array("none.npy", DTYPE_F32, 2, (int64_t[]){0, 3});
  check_refused("%x: f32[3]", "none.npy", "there is no sample in it");
  check_refused("%x: f32[3]", "missing.npy", "No such file");
  write_text("noise.bin", "noise");
  check_refused("%x: f32[3]", "noise.bin", "is none of");
  SampleOptions none = plain;
  none.most = 0;
  check_refused_with("%x: f32[2,3]", "a.npy", &none, "samples can be taken");
}

TEST(what_is_no_number_is_named_by_its_place) {
  Module *module = module_new("test");
  Tensor tensor;
  CHECK(tensor_new(&tensor, DTYPE_F32, 3, (int64_t[]){5, 2, 3}));
  dtype_set(DTYPE_F32, tensor.data, 4 * 6 + 5, NAN);
  CHECK(write_npy(module, path_of("nan.npy"), &tensor));
  tensor_free(&tensor);
  CHECK(tensor_new(&tensor, DTYPE_F64, 1, (int64_t[]){2}));
  dtype_set(DTYPE_F64, tensor.data, 1, 1e300);
  CHECK(write_npy(module, path_of("large.npy"), &tensor));
  tensor_free(&tensor);
  module_free(module);
  check_refused("%x: f32[N,2,3]", "nan.npy", "nan.npy': sample 4 has nan at [0,1,2]");
  check_refused("%x: f32", "large.npy", "sample 1 has inf at []");
}

TEST(samples_are_spread_evenly_with_their_labels) {
  SampleOptions few = plain;
  Module *module;
  Samples samples;
  char labels[4096];
  write_array("ten.npy", DTYPE_F32, 2, (int64_t[]){10, 1});
  write_text("labels.txt", "0\n10\r\n20\n30 \n40\n50\n60\n70\n80\n90");
  snprintf(labels, sizeof labels, "%s", path_of("labels.txt"));
  few.most = 4;
  few.labels = labels;
  CHECK(read_as(&module, "%x: f32[N,1]", "ten.npy", &few, &samples));
  static const int wanted[] = {0, 2, 5, 7};
  CHECK_INT(samples.count, 4);
  for (int i = 0; i < 4; i++) {
    CHECK_NEAR(dtype_get(DTYPE_F32, samples.tensors[i].data, 0), wanted[i], 0);
    CHECK_INT(samples.labels[i], 10 * wanted[i]);
  }
  samples_free(&samples);
  module_free(module);
}

static void check_labels_refused(const char *name, const char *message) {
  SampleOptions options = plain;
  char labels[4096];
  snprintf(labels, sizeof labels, "%s", path_of(name));
  options.labels = labels;
  check_refused_with("%x: f32[N,1]", "three.npy", &options, message);
}

TEST(wrong_labels_are_refused) {
  write_array("three.npy", DTYPE_F32, 2, (int64_t[]){3, 1});
  write_text("l.txt", "1\n2\n");
  check_labels_refused("l.txt", "has 2 labels for 3 samples");
  write_text("l.txt", "1\n2\ncat\n");
  check_labels_refused("l.txt", "number 3 is 'cat'");
  write_text("l.txt", "1\n2.5\n3\n");
  check_labels_refused("l.txt", "number 2 is '2.5'");
  write_text("l.txt", "1\n-2\n3\n");
  check_labels_refused("l.txt", "label 1 of");
  write_array("l.npy", DTYPE_F32, 1, (int64_t[]){3});
  check_labels_refused("l.npy", "are f32[3]; one whole number");
  write_array("l.npy", DTYPE_I64, 2, (int64_t[]){3, 2});
  check_labels_refused("l.npy", "are i64[3,2]");
  check_labels_refused("missing.txt", "No such file");
}

/* ---- idx ---- */

TEST(idx_files_are_read) {
  static const unsigned char images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 51, 102, 255};
  static const unsigned char numbers[] = {0, 0, 0x0B, 1, 0, 0, 0, 2, 0x12, 0x34, 0xFF, 0xFE};
  write_bytes("images", images, sizeof images);
  write_bytes("numbers", numbers, sizeof numbers);
  check_read("%x: f32[N,1,2,1]", "images", 2, 102);
  check_read("%x: f32[N,2]", "images", 2, 102);
  check_read("%x: u8[N,2,1,1]", "images", 2, 102);
  check_read("%x: i32", "numbers", 2, -2);
  write_bytes("images", images, sizeof images - 1);
  check_refused("%x: f32[N,2]", "images", "ends after 3 bytes");
  write_bytes("images", images, 11);
  check_refused("%x: f32[N,2]", "images", "damaged header");
}

TEST(bytes_for_floats_are_pixels) {
  SampleOptions options = {.most = 9, .scale = 0.5, .mean = {1, 2, 3}, .std = {1, 2, 4}};
  Module *module;
  Samples samples;
  write_array("rgb.npy", DTYPE_U8, 4, (int64_t[]){1, 3, 1, 2});
  CHECK(read_as(&module, "%x: f32[N,3,1,2]", "rgb.npy", &options, &samples));
  check_values(&samples.tensors[0], (double[]){-1, -0.5, -0.5, -0.25, -0.25, -0.125}, 6);
  samples_free(&samples);
  module_free(module);
  write_array("rgb.npy", DTYPE_U8, 4, (int64_t[]){1, 1, 2, 3});
  CHECK(read_as(&module, "%x: f32[N,1,2,3]", "rgb.npy", &options, &samples)); /* gray */
  check_values(&samples.tensors[0], (double[]){-1, -0.5, 0, 0.5, 1, 1.5}, 6);
  samples_free(&samples);
  module_free(module);
  options.layout = PIXELS_NHWC;
  CHECK(read_as(&module, "%x: f32[N,1,2,3]", "rgb.npy", &options, &samples));
  check_values(&samples.tensors[0], (double[]){-1, -0.75, -0.5, 0.5, 0, -0.125}, 6);
  samples_free(&samples);
  module_free(module);
  check_refused_with("%x: f32[N,6]", "rgb.npy", &options, "images are for inputs of 3 or 4 axes");
}

/* ---- Images ---- */

static void check_image(const char *inputs, const char *name, const SampleOptions *options,
                        const double *wanted, int count) {
  Module *module;
  Samples samples;
  if (CHECK(read_as(&module, inputs, name, options, &samples))) {
    CHECK_INT(samples.count, 1);
    check_values(&samples.tensors[0], wanted, count);
  } else {
    diags_print(module, stdout, 1);
  }
  samples_free(&samples);
  module_free(module);
}

TEST(images_are_laid_out_as_the_input) {
  SampleOptions options = plain;
  write_text("two.ppm", "P3 2 1 255  1 2 3  4 5 6");
  check_image("%x: f32[N,3,1,2]", "two.ppm", &options, (double[]){1, 4, 2, 5, 3, 6}, 6);
  check_image("%x: f32[1,1,2,3]", "two.ppm",
              &(SampleOptions){.most = 1, .scale = 1, .std = {1, 1, 1}, .layout = PIXELS_NHWC},
              (double[]){1, 2, 3, 4, 5, 6}, 6);
  check_image("%x: u8[1,2,3]", "two.ppm", &(SampleOptions){.most = 1, .layout = PIXELS_NHWC},
              (double[]){1, 2, 3, 4, 5, 6}, 6);
  options.bgr = true;
  options.mean[0] = 1;
  check_image("%x: f32[N,3,1,2]", "two.ppm", &options, (double[]){2, 5, 2, 5, 1, 4}, 6);
  write_text("gray.pgm", "P2 3 1 255  10 20 30");
  write_text("gray3.pgm", "P2 1 3 255  10 20 30");
  check_image("%x: f32[N,3,1]", "gray3.pgm", &plain, (double[]){10, 20, 30}, 3); /* [N,H,W] */
  check_image("%x: f16[N,1,3]", "gray.pgm", &plain, (double[]){10, 20, 30}, 3);
}

/* Weights of a triangle: of 4 pixels to 2, at centers 1 and 3 with reach 2: .75 .75 .25, and mirrored. */
TEST(images_are_resized_and_cut) {
  SampleOptions options = plain;
  write_text("row.pgm", "P2 4 2 255  0 100 200 60  0 100 200 60");
  check_image("%x: f32[1,1,1,2]", "row.pgm", &options, (double[]){125 / 1.75, 220 / 1.75}, 2);
  /* already as small as --image-size: the middle */
  options.size = 2;
  check_image("%x: f32[1,1,1,2]", "row.pgm", &options, (double[]){100, 200}, 2);
  /* enlarged by two: results at 0.25, 0.75, 1.25, ... between centers at 0.5, 1.5, ... */
  write_text("small.pgm", "P2 2 1 255  0 100");
  options.size = 0;
  check_image("%x: f32[1,1,2,4]", "small.pgm", &options, (double[]){0, 25, 75, 100, 0, 25, 75, 100}, 8);
  /* sizes that the model leaves open */
  options.size = 1;
  check_image("%x: f32[1,1,H,W]", "row.pgm", &options, (double[]){125 / 1.75}, 1);
}

TEST(wrong_images_are_refused) {
  SampleOptions options = plain;
  options.size = 2;
  write_text("small.pgm", "P2 2 1 255  0 100");
  check_refused_with("%x: f32[1,1,3,3]", "small.pgm", &options, "resized to 4 x 2");
  write_text("broken.png", "no image");
  check_refused("%x: f32[1,1,3,3]", "broken.png", "is no image that can be decoded");
  check_refused("%x: f32[1,1,H,3]", "small.pgm", "say how large images are");
  check_refused("%x: f32[4,1,3,3]", "small.pgm", "several images at once");
  check_refused("%x: f32[1,5,4,4]", "small.pgm", "no axis of 1 or 3 channels");
  check_refused("%x: i32[1,1,3,3]", "small.pgm", "images become floats or u8");
  check_refused("%x: f32[1,1]", "small.pgm", "3 or 4 axes");
}

/* ---- Folders ---- */

TEST(folders_hold_images) {
  mkdir(path_of("images.d"), 0777);
  write_text("images.d/b.pgm", "P2 1 1 255 2");
  write_text("images.d/a.PGM", "P2 1 1 255 1");
  write_text("images.d/c.pgm", "P2 1 1 255 3");
  write_text("images.d/readme.txt", "no image");
  check_read("%x: f32[1,1,1,1]", "images.d", 3, 3);
  mkdir(path_of("empty.d"), 0777);
  check_refused("%x: f32[1,1,1,1]", "empty.d", "neither folders test_data_set_N");
}

/* TensorProto: dims 2, data_type 1 (f32), raw_data */
static void write_proto(const char *name, float a, float b) {
  unsigned char bytes[14] = {0x08, 2, 0x10, 1, 0x4A, 8};
  memcpy(bytes + 6, (float[]){a, b}, 8);
  write_bytes(name, bytes, sizeof bytes);
}

TEST(folders_hold_tensor_protos) {
  mkdir(path_of("sets"), 0777);
  mkdir(path_of("sets/test_data_set_10"), 0777);
  mkdir(path_of("sets/test_data_set_9"), 0777);
  write_proto("sets/test_data_set_10/input_0.pb", 1, 2);
  write_proto("sets/test_data_set_9/input_0.pb", 3, 4);
  check_read("%x: f32[N]", "sets", 2, 1);
  check_read("%x: f32[2]", "sets/test_data_set_9", 1, 3);
  check_refused("%x: f32[3]", "sets", "is f32[2], but input 'x' is f32[3]");
  check_refused("%x: f32[2], %y: f32[2]", "sets", "test_data_set_9/input_1.pb");
}

/* ---- Archives ---- */

/* A zip of stored members: local headers, then the directory. No checksums are needed of empty ones only, so
 * they are computed. */
static uint32_t crc_of(const unsigned char *bytes, size_t size) {
  uint32_t crc = ~0u;
  for (size_t i = 0; i < size; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
  }
  return ~crc;
}

static void put(FILE *file, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; i++) fputc(i < 8 ? (int)(value >> 8 * i & 255) : 0, file);
}

static void put_entry(FILE *file, const char *name, uint32_t crc, size_t size, long offset) {
  bool is_local = offset < 0;
  put(file, is_local ? 0x04034b50 : 0x02014b50, 4);
  put(file, is_local ? 20 : 20 | 20 << 16, is_local ? 2 : 4);
  put(file, 0, 8); /* flags, method, time, date */
  put(file, crc, 4);
  put(file, size, 4);
  put(file, size, 4);
  put(file, strlen(name), 2);
  put(file, 0, is_local ? 2 : 12);
  if (!is_local) put(file, (uint64_t)offset, 4);
  fputs(name, file);
}

static void write_npz(const char *name, int count, const char *const *members) {
  FILE *zip = fopen(path_of(name), "wb");
  long offsets[4];
  size_t sizes[4];
  uint32_t crcs[4];
  for (int i = 0; i < count; i++) {
    unsigned char bytes[4096];
    FILE *file = fopen(path_of(members[i]), "rb");
    sizes[i] = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    crcs[i] = crc_of(bytes, sizes[i]);
    offsets[i] = ftell(zip);
    put_entry(zip, members[i], crcs[i], sizes[i], -1);
    fwrite(bytes, 1, sizes[i], zip);
  }
  long start = ftell(zip);
  for (int i = 0; i < count; i++) put_entry(zip, members[i], crcs[i], sizes[i], offsets[i]);
  long end = ftell(zip);
  put(zip, 0x06054b50, 4);
  put(zip, 0, 4);
  put(zip, (uint64_t)count | (uint64_t)count << 16, 4);
  put(zip, (uint64_t)(end - start), 4);
  put(zip, (uint64_t)start, 4);
  put(zip, 0, 2);
  fclose(zip);
}

TEST(archives_hold_an_array_for_each_input) {
  write_array("ids.npy", DTYPE_I64, 2, (int64_t[]){3, 4});
  write_array("mask.npy", DTYPE_F32, 2, (int64_t[]){3, 4});
  write_array("short.npy", DTYPE_F32, 2, (int64_t[]){2, 4});
  write_array("one.npy", DTYPE_F32, 2, (int64_t[]){1, 4});
  write_npz("two.npz", 2, (const char *const[]){"mask.npy", "ids.npy"});
  check_read("%ids: i64[N,S], %mask: f32[N,S]", "two.npz", 3, 8);
  check_read("%ids: i64[N,S]", "two.npz", 3, 8); /* what no input wants stays */
  check_read("%a: f32[N,S], %b: i64[N,S]", "two.npz", 3, 8);
  check_refused("%ids: i64[N,S], %more: f32[N]", "two.npz",
                "no array for input 'more'; there are: mask, ids");
  check_refused("%ids: i64[N,S], %mask: i64[N,S]", "two.npz", "array 'mask' of");
  write_npz("one.npz", 2, (const char *const[]){"one.npy", "ids.npy"});
  check_read("%ids: i64[N,S], %one: f32[N,S]", "one.npz", 3, 8);
  write_npz("short.npz", 2, (const char *const[]){"short.npy", "ids.npy"});
  check_refused("%ids: i64[N,S], %short: f32[N,S]", "short.npz", "has 2 samples, but");
  check_refused("%ids: i64[N,S], %mask: f32[N,S,1]", "two.npz", "cannot be divided");
}

TEST(states_begin_empty) {
  Module *module = module_new("test");
  Samples samples;
  static const char text[] =
      "graph g(%x: f32[1,2], state %s: f32[P,2] in f32[9,2]) -> (%y: f32[1,2], state %t: f32[P+1,2]) {\n"
      "  %t: f32[P+1,2] = concat %s, %x, axis=0\n"
      "  return %x, %t\n}\n";
  write_array("x.npy", DTYPE_F32, 2, (int64_t[]){3, 2});
  if (!CHECK(module_parse_text(module, text, strlen(text), NULL) &&
             read_samples(module, path_of("x.npy"), &plain, &samples)))
    diags_print(module, stdout, 9);
  CHECK_INT(samples.count, 3);
  CHECK_INT(samples.input_count, 2);
  CHECK_INT(samples.tensors[1].dims[0], 0);
  samples_free(&samples);
  module_free(module);
}

int main(void) {
  if (!temporary_folder(folder)) return 1;
  RUN(an_array_divides_along_its_first_axis);
  RUN(arrays_that_do_not_fit_are_refused);
  RUN(what_is_no_number_is_named_by_its_place);
  RUN(samples_are_spread_evenly_with_their_labels);
  RUN(wrong_labels_are_refused);
  RUN(idx_files_are_read);
  RUN(bytes_for_floats_are_pixels);
  RUN(images_are_laid_out_as_the_input);
  RUN(images_are_resized_and_cut);
  RUN(wrong_images_are_refused);
  RUN(folders_hold_images);
  RUN(folders_hold_tensor_protos);
  RUN(archives_hold_an_array_for_each_input);
  RUN(states_begin_empty);
  char command[TEMPORARY_SIZE + 8];
  snprintf(command, sizeof command, "rm -r %s", folder);
  if (system(command)) return 1;
  return tests_finish();
}
