/*
 * safetensors.c -- the weights file: 8 bytes little-endian header length, a JSON header, the bytes of the
 * tensors without gaps.
 *
 * https://github.com/huggingface/safetensors, "Format". The header is a flat object { name: { dtype, shape,
 * data_offsets } } and an optional "__metadata__" of strings; anything else is refused, so a small strict
 * reader is enough. The file is mapped; the mapping is a Data of the module and is released with it. dtypes
 * that the format lacks get names of the same style.
 */
#include "ir/intern.h"
#include "ir/text.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_HEADER = 100 << 20, HEADER_ALIGNMENT = 64 };

static const struct {
  Dtype dtype;
  const char *name;
} dtype_names[] = {
    {DTYPE_BOOL, "BOOL"},      {DTYPE_I2, "I2"},
    {DTYPE_I4, "I4"},          {DTYPE_I8, "I8"},
    {DTYPE_I16, "I16"},        {DTYPE_I32, "I32"},
    {DTYPE_I64, "I64"},        {DTYPE_U2, "U2"},
    {DTYPE_U4, "U4"},          {DTYPE_U8, "U8"},
    {DTYPE_U16, "U16"},        {DTYPE_U32, "U32"},
    {DTYPE_U64, "U64"},        {DTYPE_F16, "F16"},
    {DTYPE_BF16, "BF16"},      {DTYPE_F32, "F32"},
    {DTYPE_F64, "F64"},        {DTYPE_F8E4M3FN, "F8_E4M3"},
    {DTYPE_F8E5M2, "F8_E5M2"}, {DTYPE_F8E4M3FNUZ, "F8_E4M3FNUZ"},
    {DTYPE_F8E8M0, "F8_E8M0"}, {DTYPE_F8E5M2FNUZ, "F8_E5M2FNUZ"},
    {DTYPE_F4E2M1, "F4"},      {DTYPE_C64, "C64"},
    {DTYPE_C128, "C128"},
};

/* ---- The JSON header ---- */

typedef struct Reader {
  Module *module;
  const char *path;
  const char *start, *at, *end;
  const char *data; /* behind the header */
  uint64_t data_size;
  SafeTensor *tensors;
  uint64_t *offsets; /* where the bytes of each start */
  int count;
  Table names;
} Reader;

static bool file_fail(Module *module, const char *path, const char *text) {
  diag_add(module, (Diag){.file = path, .text = text});
  return false;
}

static bool header_fail(const Reader *reader, const char *what) {
  return file_fail(reader->module, reader->path,
                   arena_printf(reader->module->arena, "%s, at byte %td of the safetensors header", what,
                                reader->at - reader->start));
}

static void skip_space(Reader *reader) {
  while (reader->at < reader->end && strchr(" \t\r\n", *reader->at) && *reader->at) reader->at++;
}

static bool is_next(Reader *reader, char c) {
  skip_space(reader);
  return reader->at < reader->end && *reader->at == c;
}

static bool expect(Reader *reader, char c) {
  if (!is_next(reader, c)) return header_fail(reader, arena_printf(reader->module->arena, "'%c' missing", c));
  reader->at++;
  return true;
}

/* ',' : more; `close`: no more. */
static bool comma_or(Reader *reader, char close, bool *more) {
  *more = is_next(reader, ',');
  return expect(reader, *more ? ',' : close);
}

static void add_utf8(Text *text, unsigned code) {
  char bytes[3];
  if (code < 0x80) {
    text_add_bytes(text, (char[]){(char)code}, 1);
  } else if (code < 0x800) {
    text_add_bytes(text, (char[]){(char)(0xc0 | code >> 6), (char)(0x80 | (code & 0x3f))}, 2);
  } else {
    bytes[0] = (char)(0xe0 | code >> 12);
    bytes[1] = (char)(0x80 | (code >> 6 & 0x3f));
    bytes[2] = (char)(0x80 | (code & 0x3f));
    text_add_bytes(text, bytes, 3);
  }
}

/* \uXXXX; halves of a surrogate pair and NUL are refused. */
static bool read_code(Reader *reader, Text *text) {
  static const char digits[] = "0123456789abcdef";
  unsigned code = 0;
  for (int i = 0; i < 4; i++, reader->at++) {
    char c = reader->at < reader->end ? *reader->at : '\0';
    if (c >= 'A' && c <= 'F') c = (char)(c - 'A' + 'a');
    const char *digit = memchr(digits, c, 16);
    if (!digit) return header_fail(reader, "\\u without four hex digits");
    code = code * 16 + (unsigned)(digit - digits);
  }
  if (code == 0 || (code >= 0xd800 && code < 0xe000))
    return header_fail(reader, "a character that names cannot have");
  add_utf8(text, code);
  return true;
}

static bool read_escape(Reader *reader, Text *text) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  if (reader->at == reader->end) return header_fail(reader, "the header ends in a string");
  char c = *reader->at++;
  if (c == 'u') return read_code(reader, text);
  const char *found = c ? strchr(from, c) : NULL;
  if (!found) return header_fail(reader, "an escape that JSON does not have");
  text_add_bytes(text, &to[found - from], 1);
  return true;
}

static bool read_characters(Reader *reader, Text *text) {
  while (reader->at < reader->end && *reader->at != '"') {
    unsigned char c = (unsigned char)*reader->at;
    if (c < 0x20) return header_fail(reader, "a control character in a string");
    reader->at++;
    if (c == '\\')
      TRY(read_escape(reader, text));
    else
      text_add_bytes(text, (const char *)&c, 1);
  }
  return expect(reader, '"');
}

static bool read_string(Reader *reader, const char **string) {
  Text text = {0};
  TRY(expect(reader, '"'));
  text_add(&text, "");
  bool ok = read_characters(reader, &text);
  if (ok) *string = intern(reader->module, text.chars);
  text_free(&text);
  return ok;
}

static bool read_number(Reader *reader, uint64_t *number) {
  skip_space(reader);
  const char *first = reader->at;
  *number = 0;
  for (; reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9'; reader->at++)
    if (__builtin_mul_overflow(*number, 10u, number) ||
        __builtin_add_overflow(*number, (uint64_t)(*reader->at - '0'), number))
      return header_fail(reader, "a number over 64 bits");
  return reader->at > first || header_fail(reader, "a whole number is missing");
}

/* At most `max` numbers; *count is how many. */
static bool read_numbers(Reader *reader, uint64_t *numbers, int max, int *count) {
  *count = 0;
  TRY(expect(reader, '['));
  if (is_next(reader, ']')) return expect(reader, ']');
  for (bool more = true; more;) {
    if (*count == max) return header_fail(reader, "too many numbers in a list");
    TRY(read_number(reader, &numbers[(*count)++]) && comma_or(reader, ']', &more));
  }
  return true;
}

static bool read_metadata(Reader *reader) {
  TRY(expect(reader, '{'));
  if (is_next(reader, '}')) return expect(reader, '}');
  for (bool more = true; more;) {
    const char *key, *value;
    TRY(read_string(reader, &key) && expect(reader, ':') && read_string(reader, &value) &&
        comma_or(reader, '}', &more));
  }
  return true;
}

/* ---- Tensors ---- */

typedef struct Fields {
  const char *dtype;
  uint64_t shape[MAX_RANK], offsets[2];
  int rank, offset_count;
  bool has_shape;
} Fields;

static bool read_field(Reader *reader, Fields *fields) {
  const char *key;
  TRY(read_string(reader, &key) && expect(reader, ':'));
  if (strcmp(key, "dtype") == 0 && !fields->dtype) return read_string(reader, &fields->dtype);
  if (strcmp(key, "shape") == 0 && !fields->has_shape) {
    fields->has_shape = true;
    return read_numbers(reader, fields->shape, MAX_RANK, &fields->rank);
  }
  if (strcmp(key, "data_offsets") == 0 && fields->offset_count == 0)
    return read_numbers(reader, fields->offsets, 2, &fields->offset_count);
  return header_fail(reader, "a field that is unknown or given twice");
}

static Dtype find_dtype(const char *name) {
  for (int i = 0; i < COUNT_OF(dtype_names); i++)
    if (strcmp(dtype_names[i].name, name) == 0) return dtype_names[i].dtype;
  return DTYPE_NONE;
}

static bool check_fields(const Reader *reader, const Fields *fields, SafeTensor *tensor) {
  if (!fields->dtype || !fields->has_shape || fields->offset_count != 2)
    return header_fail(reader, "a tensor without dtype, shape or data_offsets");
  tensor->dtype = find_dtype(fields->dtype);
  if (tensor->dtype == DTYPE_NONE) return header_fail(reader, "an unknown dtype");
  int64_t *dims = NEW_ARRAY(reader->module->arena, int64_t, fields->rank);
  int64_t count = 1;
  for (int i = 0; i < fields->rank; i++) {
    if (fields->shape[i] > INT64_MAX) return header_fail(reader, "a size over 63 bits");
    dims[i] = (int64_t)fields->shape[i];
    if (__builtin_mul_overflow(count, dims[i], &count)) return header_fail(reader, "too many elements");
  }
  tensor->rank = fields->rank;
  tensor->dims = dims;
  size_t size;
  uint64_t from = fields->offsets[0], to = fields->offsets[1];
  if (from > to || to > reader->data_size) return header_fail(reader, "data_offsets outside the file");
  if (!dtype_bytes(tensor->dtype, count, &size) || size != to - from)
    return header_fail(reader, "data_offsets that do not fit dtype and shape");
  tensor->bytes = reader->data + from;
  tensor->size = size;
  return true;
}

static bool read_fields(Reader *reader, Fields *fields) {
  TRY(expect(reader, '{'));
  for (bool more = true; more;) TRY(read_field(reader, fields) && comma_or(reader, '}', &more));
  return true;
}

static void *grow(const Reader *reader, void *array, size_t size) {
  int count = reader->count;
  if (count != 0 && (count & (count - 1)) != 0) return array;
  void *grown = arena_alloc(reader->module->arena, size * (count ? 2 * (size_t)count : 1));
  if (count > 0) memcpy(grown, array, size * (size_t)count);
  return grown;
}

static bool read_entry(Reader *reader) {
  const char *name;
  TRY(read_string(reader, &name) && expect(reader, ':'));
  if (strcmp(name, "__metadata__") == 0) return read_metadata(reader);
  if (map_get(&reader->names, name)) return header_fail(reader, "two tensors of one name");
  map_set(reader->module->arena, &reader->names, name, (void *)name);
  Fields fields = {0};
  SafeTensor tensor = {.name = name};
  TRY(read_fields(reader, &fields) && check_fields(reader, &fields, &tensor));
  reader->tensors = grow(reader, reader->tensors, sizeof *reader->tensors);
  reader->offsets = grow(reader, reader->offsets, sizeof *reader->offsets);
  reader->tensors[reader->count] = tensor;
  reader->offsets[reader->count++] = fields.offsets[0];
  return true;
}

static int by_place(const void *a, const void *b) {
  const SafeTensor *x = a, *y = b;
  if (x->bytes != y->bytes) return (const char *)x->bytes < (const char *)y->bytes ? -1 : 1;
  return (x->size > y->size) - (x->size < y->size);
}

/* The tensors cover the data one after the other: no gap hides something, no two share bytes. */
static bool check_cover(const Reader *reader) {
  SafeTensor *sorted =
      arena_copy(reader->module->arena, reader->tensors, sizeof *sorted * (size_t)reader->count);
  qsort(sorted, (size_t)reader->count, sizeof *sorted, by_place);
  const char *at = reader->data;
  for (int i = 0; i < reader->count; at += sorted[i++].size)
    if (sorted[i].bytes != at)
      return file_fail(reader->module, reader->path,
                       arena_printf(reader->module->arena,
                                    "the bytes of tensor '%s' overlap others or leave a gap",
                                    sorted[i].name));
  if ((uint64_t)(at - reader->data) != reader->data_size)
    return file_fail(reader->module, reader->path, "bytes that belong to no tensor at the end");
  return true;
}

static bool read_header(Reader *reader) {
  TRY(expect(reader, '{'));
  if (is_next(reader, '}')) {
    TRY(expect(reader, '}'));
  } else {
    for (bool more = true; more;) TRY(read_entry(reader) && comma_or(reader, '}', &more));
  }
  skip_space(reader);
  return reader->at == reader->end ? check_cover(reader) : header_fail(reader, "something behind the object");
}

/* ---- Files ---- */

static void unmap(Data *data) {
  munmap((void *)data->bytes, data->size);
}

/* The mapped file; NULL with a Diag. */
static const char *map_file(Module *module, const char *path, size_t *size) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (file < 0) {
    file_fail(module, path, "cannot be opened");
    return NULL;
  }
  bool usable = fstat(file, &info) == 0 && S_ISREG(info.st_mode) && info.st_size >= 8;
  void *bytes = usable ? mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, file, 0) : MAP_FAILED;
  close(file);
  if (bytes == MAP_FAILED) {
    file_fail(module, path, "is no safetensors file: shorter than its header, or cannot be mapped");
    return NULL;
  }
  *size = (size_t)info.st_size;
  data_borrow(module, DTYPE_U8, (int64_t)*size, bytes, *size, unmap, NULL);
  return bytes;
}

bool safetensors_open(Module *module, const char *path, SafeTensor **tensors, int *count) {
  size_t size;
  const char *bytes = map_file(module, path, &size);
  if (!bytes) return false;
  uint64_t length = 0;
  for (int i = 7; i >= 0; i--) length = length << 8 | (unsigned char)bytes[i];
  if (length > size - 8 || length > MAX_HEADER)
    return file_fail(module, path, "the safetensors header is longer than the file");
  Reader reader = {.module = module,
                   .path = path,
                   .start = bytes + 8,
                   .at = bytes + 8,
                   .end = bytes + 8 + length,
                   .data = bytes + 8 + length,
                   .data_size = size - 8 - length};
  TRY(read_header(&reader));
  *tensors = reader.tensors;
  *count = reader.count;
  return true;
}

/* ---- Writing ---- */

static void add_json_string(Text *text, const char *string) {
  text_add(text, "\"");
  for (; *string; string++) {
    unsigned char c = (unsigned char)*string;
    if (c == '"' || c == '\\')
      text_format(text, "\\%c", c);
    else if (c < 0x20)
      text_format(text, "\\u%04x", c);
    else
      text_add_bytes(text, string, 1);
  }
  text_add(text, "\"");
}

static const char *name_of(Dtype dtype) {
  for (int i = 0; i < COUNT_OF(dtype_names); i++)
    if (dtype_names[i].dtype == dtype) return dtype_names[i].name;
  return NULL;
}

static void add_entry(Text *text, const SafeTensor *tensor, uint64_t offset) {
  add_json_string(text, tensor->name);
  text_format(text, ":{\"dtype\":\"%s\",\"shape\":[", name_of(tensor->dtype));
  for (int i = 0; i < tensor->rank; i++)
    text_format(text, "%s%lld", i > 0 ? "," : "", (long long)tensor->dims[i]);
  text_format(text, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)offset,
              (unsigned long long)(offset + tensor->size));
}

static Text make_header(const SafeTensor *tensors, int count) {
  Text text = {0};
  uint64_t offset = 0;
  text_add(&text, "{");
  for (int i = 0; i < count; i++) {
    if (i > 0) text_add(&text, ",");
    add_entry(&text, &tensors[i], offset);
    offset += tensors[i].size;
  }
  text_add(&text, "}");
  while ((text.length + 8) % HEADER_ALIGNMENT != 0) text_add(&text, " ");
  return text;
}

/* Wide elements first, so that all are aligned as long as the mapping is; else by given order. */
static SafeTensor *in_order(Arena *arena, const SafeTensor *tensors, int count) {
  SafeTensor *sorted = NEW_ARRAY(arena, SafeTensor, count);
  int filled = 0;
  for (int bits = 128; bits > 0; bits /= 2)
    for (int i = 0; i < count; i++)
      if (dtype_bits(tensors[i].dtype) == bits) sorted[filled++] = tensors[i];
  return sorted;
}

static bool write_all(FILE *file, const Text *header, const SafeTensor *tensors, int count) {
  unsigned char length[8];
  for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)header->length >> 8 * i);
  bool ok =
      fwrite(length, 1, 8, file) == 8 && fwrite(header->chars, 1, header->length, file) == header->length;
  for (int i = 0; ok && i < count; i++)
    ok = fwrite(tensors[i].bytes, 1, tensors[i].size, file) == tensors[i].size;
  return ok;
}

/* Through a file beside it, because the one at `path` may be mapped right now, as the source of these
 * tensors. */
bool safetensors_write(Module *module, const char *path, const SafeTensor *tensors, int count) {
  for (int i = 0; i < count; i++)
    if (!name_of(tensors[i].dtype)) return file_fail(module, path, "strings cannot be stored as safetensors");
  const char *temporary = arena_printf(module->arena, "%s.%ld.part", path, (long)getpid());
  FILE *file = fopen(temporary, "wb");
  if (!file) return file_fail(module, path, "cannot be written");
  SafeTensor *sorted = in_order(module->arena, tensors, count);
  Text header = make_header(sorted, count);
  bool ok = write_all(file, &header, sorted, count);
  text_free(&header);
  ok = fclose(file) == 0 && ok && rename(temporary, path) == 0;
  if (ok) return true;
  unlink(temporary);
  return file_fail(module, path, "cannot be written completely");
}
