/*
 * samples.c -- data for calibration and evaluation, as the inputs of runs.
 *
 * A path leads to a Source, told apart by content: arrays, each divided along its first axis into samples;
 * folders or files of TensorProtos, one for each sample and input; images. All know how many samples there
 * are and can take any, so that `most` of them are spread evenly over all, and so are their labels.
 */
#include "frontend/files.h"
#include "frontend/frontend.h"
#include "frontend/image.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* An array that holds samples of an input, one behind another. */
typedef struct Array {
  const char *name;
  Tensor tensor;
  int64_t count; /* samples; one is the same for all samples of other inputs */
  int rank;
  int64_t dims[MAX_RANK]; /* of one, as the input has it */
} Array;

typedef struct Source {
  Module *module;
  const SampleOptions *options;
  const char *path;
  Value **inputs;
  int input_count; /* without states */
  int64_t found;   /* samples */
  bool (*take)(const struct Source *source, int64_t index, Tensor *tensors);
  Array *arrays; /* one for each input */
  Names files;   /* one for each sample */
} Source;

/* ---- Elements ---- */

static const char *position_text(Module *module, const Tensor *tensor, int64_t index) {
  const char *text = "]";
  for (int axis = tensor->rank - 1; axis >= 0; index /= tensor->dims[axis--])
    text = arena_printf(module->arena, "%s%lld%s", axis ? "," : "[", (long long)(index % tensor->dims[axis]),
                        text);
  return tensor->rank ? text : "[]";
}

/* `name`: of the array or file, `sample`: its number there. */
static bool check_finite(const Source *source, const char *name, int64_t sample, const Tensor *tensor) {
  if (!dtype_is_float(tensor->dtype)) return true;
  for (int64_t i = 0, count = tensor_count(tensor); i < count; i++) {
    double x = dtype_get(tensor->dtype, tensor->data, i);
    if (!isfinite(x))
      return fail(source->module, "%s: sample %lld has %g at %s", name, (long long)sample, x,
                  position_text(source->module, tensor, i));
  }
  return true;
}

/* Elements of `from`, from the one at `first` on, as all of `to`. */
static bool copy_integers(const Source *source, const char *name, const Tensor *from, int64_t first,
                          Tensor *to) {
  for (int64_t i = 0, count = tensor_count(to); i < count; i++) {
    int64_t x = dtype_get_int(from->dtype, from->data, first + i);
    dtype_set_int(to->dtype, to->data, i, x);
    if (dtype_get_int(to->dtype, to->data, i) != x)
      return fail(source->module, "%s: %lld does not fit the model's %s", name, (long long)x,
                  dtype_name(to->dtype));
  }
  return true;
}

static bool copy_pixels(const Source *source, const Value *input, const Tensor *from, int64_t first,
                        Tensor *to) {
  int64_t inner = 1, channels = 1, count = tensor_count(to);
  if (pixels_by_channel(source->options)) {
    Pixels pixels;
    TRY(pixels_of(input, source->options, &pixels));
    channels = pixels.channels;
    for (int axis = pixels.channel_axis + 1; axis < to->rank; axis++) inner *= to->dims[axis];
  }
  for (int64_t i = 0; i < count; i++)
    dtype_set(
        to->dtype, to->data, i,
        pixel_value(source->options, i / inner % channels, dtype_get(from->dtype, from->data, first + i)));
  return true;
}

static bool copy_elements(const Source *source, const char *name, const Value *input, const Tensor *from,
                          int64_t first, Tensor *to) {
  bool is_number = dtype_is_int(from->dtype) || from->dtype == DTYPE_BOOL;
  int64_t count = tensor_count(to);
  if (from->dtype == to->dtype) {
    for (int64_t i = 0; i < count; i++) dtype_copy(to->dtype, to->data, i, from->data, first + i);
    return true;
  }
  if (is_number && (dtype_is_int(to->dtype) || to->dtype == DTYPE_BOOL))
    return copy_integers(source, name, from, first, to);
  if (from->dtype == DTYPE_U8 && dtype_is_float(to->dtype))
    return copy_pixels(source, input, from, first, to);
  if (!dtype_is_float(from->dtype) || !dtype_is_float(to->dtype))
    return fail(source->module, "%s is %s, but input '%s' is %s: convert it, with numpy .astype(%s)", name,
                dtype_name(from->dtype), input->name, type_text(source->module, input->type),
                dtype_name(to->dtype));
  for (int64_t i = 0; i < count; i++)
    dtype_set(to->dtype, to->data, i, dtype_get(from->dtype, from->data, first + i));
  return true;
}

/* ---- Arrays ---- */

static bool dims_fit(const Type *type, int from, const int64_t *dims) {
  for (int i = from; i < type->rank; i++)
    if (dim_is_const(type->dims[i]) && type->dims[i]->value != dims[i - from]) return false;
  return true;
}

/* Whether rows of the array have the elements of the input's in the same order: they differ in axes of size 1
 * only, or the input is flat. */
static bool rows_fit(const Type *type, const Tensor *tensor) {
  int64_t ours[MAX_RANK], theirs[MAX_RANK], wanted = 1, count = 1;
  int our_axes = 0, their_axes = 0;
  for (int i = 1; i < type->rank; i++) {
    if (!dim_is_const(type->dims[i]) || __builtin_mul_overflow(wanted, type->dims[i]->value, &wanted))
      return false;
    if (!dim_is(type->dims[i], 1)) ours[our_axes++] = type->dims[i]->value;
  }
  for (int i = 1; i < tensor->rank; i++) {
    if (__builtin_mul_overflow(count, tensor->dims[i], &count)) return false;
    if (tensor->dims[i] != 1) theirs[their_axes++] = tensor->dims[i];
  }
  bool same = our_axes == their_axes && memcmp(ours, theirs, sizeof *ours * (size_t)our_axes) == 0;
  return same || (our_axes <= 1 && wanted == count);
}

static bool divide(Array *array, const Type *type) {
  const Tensor *tensor = &array->tensor;
  array->rank = type->rank;
  if (tensor->rank == type->rank + 1 && dims_fit(type, 0, tensor->dims + 1)) {
    memcpy(array->dims, tensor->dims + 1, sizeof *array->dims * (size_t)type->rank);
    array->count = tensor->dims[0];
    return true;
  }
  if (type->rank == 0 || tensor->rank == 0) {
    array->count = 1;
    return tensor->rank == type->rank;
  }
  int64_t batch = dim_is_const(type->dims[0]) ? type->dims[0]->value : 1;
  if (tensor->rank == type->rank && dims_fit(type, 1, tensor->dims + 1))
    memcpy(array->dims, tensor->dims, sizeof *array->dims * (size_t)type->rank);
  else if (rows_fit(type, tensor))
    for (int i = 1; i < type->rank; i++) array->dims[i] = type->dims[i]->value;
  else
    return false;
  array->dims[0] = batch;
  array->count = batch > 0 ? tensor->dims[0] / batch : 0;
  return batch > 0 && tensor->dims[0] % batch == 0;
}

static const char *shape_text(Module *module, const Tensor *tensor) {
  return type_text(module, type_static(module, tensor->dtype, tensor->rank, tensor->dims));
}

/* The array as samples of the input. */
static bool fit_array(Source *source, Array *array, const Value *input) {
  Module *module = source->module;
  const char *type = type_text(module, input->type);
  if (!type_is_tensor(input->type))
    return fail(module, "input '%s' is %s: give its samples as folders test_data_set_N", input->name, type);
  if (!tensor_uncarry(&array->tensor, input->type->dtype))
    return fail(module, "no memory for %s", array->name);
  if (!divide(array, input->type))
    return fail(module,
                "%s is %s and cannot be divided into samples of input '%s', %s; an array with an axis more, "
                "in front, can",
                array->name, shape_text(module, &array->tensor), input->name, type);
  if (array->count == 0)
    return fail(module, "%s is %s: there is no sample in it", array->name,
                shape_text(module, &array->tensor));
  return true;
}

static bool fit_arrays(Source *source) {
  const Array *longest = source->arrays;
  for (int i = 0; i < source->input_count; i++) {
    Array *array = &source->arrays[i];
    TRY(fit_array(source, array, source->inputs[i]));
    if (array->count > longest->count) longest = array;
  }
  for (int i = 0; i < source->input_count; i++)
    if (source->arrays[i].count != longest->count && source->arrays[i].count != 1)
      return fail(source->module, "%s has %lld samples, but %s has %lld", source->arrays[i].name,
                  (long long)source->arrays[i].count, longest->name, (long long)longest->count);
  source->found = longest->count;
  return true;
}

static bool take_arrays(const Source *source, int64_t index, Tensor *tensors) {
  for (int i = 0; i < source->input_count; i++) {
    const Array *array = &source->arrays[i];
    int64_t sample = array->count == 1 ? 0 : index;
    if (!tensor_new(&tensors[i], source->inputs[i]->type->dtype, array->rank, array->dims))
      return fail(source->module, "no memory for a sample of %s", array->name);
    TRY(copy_elements(source, array->name, source->inputs[i], &array->tensor,
                      sample * tensor_count(&tensors[i]), &tensors[i]));
    TRY(check_finite(source, array->name, sample, &tensors[i]));
  }
  return true;
}

static Array *arrays_new(Source *source) {
  source->take = take_arrays;
  return source->arrays = NEW_ARRAY(source->module->arena, Array, source->input_count);
}

static bool needs_one_input(const Source *source, const char *what) {
  return source->input_count == 1 ||
         fail(source->module, "'%s' is %s, but the model has %d inputs: give an .npz with an array for each",
              source->path, what, source->input_count);
}

typedef bool ReadArray(Module *module, const char *path, Tensor *tensor);

static bool open_array(Source *source, ReadArray *read) {
  TRY(needs_one_input(source, "an array"));
  Array *array = arrays_new(source);
  array->name = arena_printf(source->module->arena, "'%s'", source->path);
  return read(source->module, source->path, &array->tensor) && fit_arrays(source);
}

/* Moves the arrays that the inputs want, by name, or in order when no name is an input's. */
static bool match_arrays(Source *source, Tensor *tensors, const char *const *names, int count) {
  Module *module = source->module;
  const char *missing = NULL, *all = "";
  int matched = 0;
  for (int j = 0; j < count; j++) all = arena_printf(module->arena, "%s%s%s", all, j ? ", " : "", names[j]);
  for (int pass = 0; pass < 2; pass++) {
    bool in_order = pass == 1 && matched == 0 && count == source->input_count;
    for (int i = 0; i < source->input_count; i++)
      for (int j = 0; j < count && !source->arrays[i].name; j++) {
        if (!(in_order ? i == j : strcmp(names[j], source->inputs[i]->name) == 0)) continue;
        source->arrays[i].name = arena_printf(module->arena, "array '%s' of '%s'", names[j], source->path);
        source->arrays[i].tensor = tensors[j];
        tensors[j] = (Tensor){0};
        matched++;
      }
  }
  for (int i = 0; i < source->input_count && !missing; i++)
    if (!source->arrays[i].name) missing = source->inputs[i]->name;
  return !missing ||
         fail(module, "'%s' has no array for input '%s'; there are: %s", source->path, missing, all);
}

static bool open_npz(Source *source) {
  Tensor *tensors;
  const char **names;
  int count;
  arrays_new(source);
  TRY(read_npz(source->module, source->path, &tensors, &names, &count));
  bool ok = match_arrays(source, tensors, names, count);
  for (int i = 0; i < count; i++) tensor_free(&tensors[i]);
  return ok && fit_arrays(source);
}

/* ---- TensorProtos ---- */

static bool is_data_set(const char *name) {
  return strncmp(name, "test_data_set_", 14) == 0;
}

/* Reads one as a value of the input. */
static bool take_proto(const Source *source, int64_t index, const char *path, const Value *input,
                       Tensor *tensor) {
  Module *module = source->module;
  const Type *type = input->type;
  const char *name, *quoted = arena_printf(module->arena, "'%s'", path);
  Tensor read;
  TRY(read_tensor_pb(module, path, type->form, &read, &name));
  bool is_tensor = type_is_tensor(type) && read.kind == TENSOR_DENSE;
  if (!is_tensor) {
    *tensor = read;
    return true;
  }
  bool ok = tensor_uncarry(&read, type->dtype);
  if (ok && !(read.rank == type->rank && dims_fit(type, 0, read.dims)))
    ok = fail(module, "%s is %s, but input '%s' is %s", quoted, shape_text(module, &read), input->name,
              type_text(module, type));
  ok = ok &&
       (tensor_new(tensor, type->dtype, read.rank, read.dims) || fail(module, "no memory for %s", quoted));
  ok = ok && copy_elements(source, quoted, input, &read, 0, tensor) &&
       check_finite(source, quoted, index, tensor);
  tensor_free(&read);
  return ok;
}

static bool take_protos(const Source *source, int64_t index, Tensor *tensors) {
  for (int i = 0; i < source->input_count; i++) {
    const char *path = arena_printf(source->module->arena, "%s/input_%d.pb", source->files.paths[index], i);
    TRY(take_proto(source, index, path, source->inputs[i], &tensors[i]));
  }
  return true;
}

/* ---- Images ---- */

static bool take_image(const Source *source, int64_t index, Tensor *tensors) {
  return read_image(source->module, source->files.paths[index], source->inputs[0], source->options, tensors);
}

static bool open_images(Source *source) {
  source->take = take_image;
  source->found = source->files.count;
  return needs_one_input(source, source->found == 1 ? "an image" : "a folder of images");
}

/* ---- Paths ---- */

static bool name_itself(Source *source) {
  source->files = (Names){arena_copy(source->module->arena, &source->path, sizeof source->path), 1};
  return true;
}

static bool open_folder(Source *source) {
  Module *module = source->module;
  TRY(folder_list(module, source->path, is_data_set, strverscmp, &source->files));
  bool is_one = access(arena_printf(module->arena, "%s/input_0.pb", source->path), F_OK) == 0;
  if (is_one && source->files.count == 0) name_itself(source);
  if (source->files.count) {
    source->found = source->files.count;
    source->take = take_protos;
    return true;
  }
  TRY(folder_list(module, source->path, is_image_name, strcmp, &source->files));
  if (source->files.count) return open_images(source);
  return fail(module,
              "'%s' has neither folders test_data_set_N with input_K.pb nor images (.png, .jpg, .bmp)",
              source->path);
}

typedef enum Kind { KIND_NPZ, KIND_NPY, KIND_IDX, KIND_OTHER } Kind;

static bool read_kind(Module *module, const char *path, Kind *kind) {
  unsigned char head[6] = {0};
  FILE *file = fopen(path, "rb");
  if (!file) return fail(module, "cannot open '%s': %s", path, strerror(errno));
  size_t size = fread(head, 1, sizeof head, file);
  fclose(file);
  *kind = size < 4                               ? KIND_OTHER
          : memcmp(head, "PK", 2) == 0           ? KIND_NPZ
          : memcmp(head, "\x93NUMPY", 6) == 0    ? KIND_NPY
          : !head[0] && !head[1] && head[2] >= 8 ? KIND_IDX
                                                 : KIND_OTHER;
  return true;
}

static bool open_source(Source *source) {
  struct stat status;
  Kind kind = KIND_OTHER;
  if (stat(source->path, &status) == 0 && S_ISDIR(status.st_mode)) return open_folder(source);
  TRY(read_kind(source->module, source->path, &kind));
  if (kind == KIND_NPZ) return open_npz(source);
  if (kind == KIND_NPY) return open_array(source, read_npy);
  if (kind == KIND_IDX) return open_array(source, read_idx);
  if (is_image_name(source->path)) return name_itself(source) && open_images(source);
  return fail(source->module,
              "'%s' is none of: .npz, .npy, idx (not compressed), an image, a folder of images or of "
              "test_data_set_N",
              source->path);
}

static void close_source(Source *source) {
  for (int i = 0; source->arrays && i < source->input_count; i++) tensor_free(&source->arrays[i].tensor);
}

/* ---- Labels ---- */

/* A whole number for each line. */
static bool parse_lines(Module *module, const char *path, Tensor *tensor) {
  size_t size;
  char *text = file_read(module, path, &size);
  if (!text) return false;
  text[size] = '\0';
  int64_t lines = 0, count = 0;
  for (size_t i = 0; i < size; i++) lines += text[i] == '\n';
  bool ok =
      tensor_new(tensor, DTYPE_I64, 1, &(int64_t){lines + 1}) || fail(module, "no memory for '%s'", path);
  for (char *at = text, *end; ok; at = end, count++) {
    at += strspn(at, " \t\r\n");
    if (at == text + size) break;
    errno = 0;
    int64_t label = strtoll(at, &end, 10);
    bool has_digits = end > at;
    end += strspn(end, " \t");
    ok = (has_digits && !errno && (*end == '\n' || *end == '\r' || !*end) && count <= lines) ||
         fail(module, "'%s' wants a whole number on each line; number %lld is '%.*s'", path,
              (long long)count + 1, (int)strcspn(at, "\r\n") < 40 ? (int)strcspn(at, "\r\n") : 40, at);
    if (ok) ((int64_t *)tensor->data)[count] = label;
  }
  tensor->dims[0] = count;
  free(text);
  return ok;
}

static bool check_labels(Module *module, const char *path, const Tensor *labels, int64_t found) {
  int64_t count = tensor_count(labels);
  if (!dtype_is_int(labels->dtype) || labels->rank == 0 || labels->dims[0] != count)
    return fail(module, "labels '%s' are %s; one whole number for each sample is wanted", path,
                shape_text(module, labels));
  if (count != found)
    return fail(module, "'%s' has %lld labels for %lld samples", path, (long long)count, (long long)found);
  for (int64_t i = 0; i < count; i++)
    if (dtype_get_int(labels->dtype, labels->data, i) < 0)
      return fail(module, "label %lld of '%s' is %lld; classes count from 0", (long long)i, path,
                  (long long)dtype_get_int(labels->dtype, labels->data, i));
  return true;
}

static bool parse_labels(Module *module, const char *path, Tensor *labels) {
  Kind kind;
  TRY(read_kind(module, path, &kind));
  return kind == KIND_NPY   ? read_npy(module, path, labels)
         : kind == KIND_IDX ? read_idx(module, path, labels)
                            : parse_lines(module, path, labels);
}

/* ---- Samples ---- */

/* Which of `found` is sample number `index` of `count`. */
static int64_t spread(int64_t index, int64_t count, int64_t found) {
  return (int64_t)((double)index * (double)found / (double)count);
}

static bool read_labels(const Source *source, Samples *samples) {
  Module *module = source->module;
  const char *path = source->options->labels;
  Tensor labels = {0};
  if (!path) return true;
  bool ok = parse_labels(module, path, &labels) && check_labels(module, path, &labels, source->found);
  int64_t *ints = NEW_ARRAY(module->arena, int64_t, samples->count);
  for (int i = 0; ok && i < samples->count; i++)
    ints[i] = dtype_get_int(labels.dtype, labels.data, spread(i, samples->count, source->found));
  samples->labels = ints;
  tensor_free(&labels);
  return ok;
}

/* What grows is empty at first, all else 0. */
static bool start_states(const Graph *graph, Tensor *tensors) {
  for (int i = 0; i < graph->state_count; i++) {
    const Type *type = graph_state(graph, i)->type;
    int64_t dims[MAX_RANK];
    for (int axis = 0; axis < type->rank; axis++)
      dims[axis] = dim_is_const(type->dims[axis]) ? type->dims[axis]->value : 0;
    if (!tensor_new(&tensors[i], type->dtype, type->rank, dims))
      return fail(graph->module, "no memory for state '%s'", graph_state(graph, i)->name);
  }
  return true;
}

/* The sizes of a sample must agree with each other, too. */
static bool check_sizes(Graph *graph, const Tensor *tensors) {
  enum { MAX_SYMBOLS = 256 };
  const char *symbols[MAX_SYMBOLS];
  int64_t values[MAX_SYMBOLS];
  int count;
  return graph_bind(graph, tensors, symbols, values, MAX_SYMBOLS, &count);
}

static bool take_samples(const Source *source, Samples *samples) {
  enum { MAX_SAMPLES = 1 << 20 };
  Graph *graph = source->module->main;
  int64_t most = source->options->most;
  if (most < 1 || most > MAX_SAMPLES)
    return fail(source->module, "1 to %d samples can be taken", MAX_SAMPLES);
  samples->count = (int)(source->found < most ? source->found : most);
  samples->input_count = graph->input_count;
  samples->tensors = NEW_ARRAY(source->module->arena, Tensor, samples->count * samples->input_count);
  for (int i = 0; i < samples->count; i++) {
    Tensor *tensors = samples->tensors + i * samples->input_count;
    TRY(source->take(source, spread(i, samples->count, source->found), tensors));
    TRY(start_states(graph, tensors + source->input_count) && check_sizes(graph, tensors));
  }
  return read_labels(source, samples);
}

bool read_samples(Module *module, const char *path, const SampleOptions *options, Samples *samples) {
  const Graph *graph = module->main;
  Source source = {.module = module,
                   .options = options,
                   .path = path,
                   .inputs = graph->inputs,
                   .input_count = graph->input_count - graph->state_count};
  *samples = (Samples){0};
  if (source.input_count == 0) return fail(module, "the model has no inputs: there is nothing to give it");
  bool ok = open_source(&source) && take_samples(&source, samples);
  close_source(&source);
  if (!ok) samples_free(samples);
  return ok;
}

void samples_free(Samples *samples) {
  for (int64_t i = 0; i < (int64_t)samples->count * samples->input_count; i++)
    tensor_free(&samples->tensors[i]);
  *samples = (Samples){0};
}
