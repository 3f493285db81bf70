/*
 * npy.c -- numpy's .npy files and .npz archives as tensors.
 *
 * A .npy is "\x93NUMPY", two version bytes, the length of a header (2 or 4 bytes), the header as a Python
 * literal such as
 * {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }, then the elements. Only little-endian numbers
 * are read: no pickled objects. Column-major arrays are turned while they are copied.
 *
 * Element types that numpy does not have are carried by integers: bf16 and 8-bit floats by their bits, what
 * is below a byte by one byte for each element (its value, or the bits of a float). Libraries that extend
 * numpy write them as opaque bytes of the same size ("V1", "V2"), which are read likewise.
 *
 * Strings have a fixed width in the file, of bytes ("S12") or of characters in four bytes each ("U5"); zeros
 * fill them up. They are written as bytes.
 */
#include "frontend/archive.h"
#include "frontend/files.h"
#include "frontend/frontend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HEADER = 1 << 16 };
static const size_t max_file = (size_t)64 << 30;

static const struct {
  const char *descr;
  Dtype dtype;
} descrs[] = {
    {"|b1", DTYPE_BOOL}, {"|i1", DTYPE_I8},  {"|u1", DTYPE_U8},  {"<i2", DTYPE_I16},   {"<u2", DTYPE_U16},
    {"<i4", DTYPE_I32},  {"<u4", DTYPE_U32}, {"<i8", DTYPE_I64}, {"<u8", DTYPE_U64},   {"<f2", DTYPE_F16},
    {"<f4", DTYPE_F32},  {"<f8", DTYPE_F64}, {"<c8", DTYPE_C64}, {"<c16", DTYPE_C128}, {"|V1", DTYPE_U8},
    {"|V2", DTYPE_U16},  {"<V2", DTYPE_U16},
};

/* ---- element types that numpy does not have ---- */

static Dtype carrier_of(Dtype dtype) {
  if (dtype == DTYPE_BF16) return DTYPE_U16;
  if (dtype_is_signed_int(dtype) && dtype_bits(dtype) < 8) return DTYPE_I8;
  return dtype_is_storage(dtype) && !dtype_is_complex(dtype) && dtype != DTYPE_STRING ? DTYPE_U8 : DTYPE_NONE;
}

/* Elements below a byte as numbers: floats by their bits. */
static Dtype digits_of(Dtype dtype) {
  return dtype == DTYPE_F4E2M1 ? DTYPE_U4 : dtype;
}

/* From a tensor of one of these types to one of the other, of equal shape. */
static void copy_digits(const Tensor *from, Tensor *to) {
  int64_t count = tensor_count(from);
  if (dtype_bits(from->dtype) == dtype_bits(to->dtype)) {
    if (count) memcpy(to->data, from->data, tensor_size(from));
    return;
  }
  for (int64_t i = 0; i < count; i++)
    dtype_set_int(digits_of(to->dtype), to->data, i, dtype_get_int(digits_of(from->dtype), from->data, i));
}

bool tensor_uncarry(Tensor *tensor, Dtype dtype) {
  Tensor real;
  Dtype carrier = carrier_of(dtype);
  bool is_byte = tensor->dtype == DTYPE_U8 || tensor->dtype == DTYPE_I8;
  if (carrier == DTYPE_NONE || !(tensor->dtype == carrier || (is_byte && dtype_bits(carrier) == 8)))
    return true;
  TRY(tensor_new(&real, dtype, tensor->rank, tensor->dims));
  copy_digits(tensor, &real);
  tensor_free(tensor);
  *tensor = real;
  return true;
}

/* ---- the header ---- */

typedef struct Header {
  Dtype dtype;
  int64_t width; /* of strings: bytes or characters of an element */
  bool wide;     /* characters */
  bool columns;  /* fortran_order */
  int rank;
  int64_t dims[MAX_RANK];
} Header;

/* The text after 'NAME': in the header, NULL when it is not there. */
static const char *find_field(const char *text, const char *name) {
  const char *at = strstr(text, name);
  if (!at) return NULL;
  at += strlen(name);
  at += strspn(at, "'\" :");
  return at;
}

/* '|S12', '<U5' */
static bool parse_string_descr(const char *at, Header *header) {
  enum { MAX_WIDTH = 1 << 24 };
  header->wide = at && !strncmp(at, "<U", 2);
  if (!at || (!header->wide && strncmp(at, "|S", 2))) return false;
  header->width = strtoll(at + 2, NULL, 10);
  return header->width >= 0 && header->width <= MAX_WIDTH;
}

static Dtype parse_descr(const char *text, Header *header) {
  const char *at = find_field(text, "'descr'");
  if (parse_string_descr(at, header)) return DTYPE_STRING;
  for (int i = 0; at && i < COUNT_OF(descrs); i++) {
    size_t length = strlen(descrs[i].descr);
    if (!strncmp(at, descrs[i].descr, length) && at[length] == '\'') return descrs[i].dtype;
  }
  return DTYPE_NONE;
}

/* (2, 3) or (2,) or () */
static bool parse_shape(const char *text, Header *header) {
  const char *at = find_field(text, "'shape'");
  if (!at || *at++ != '(') return false;
  for (at += strspn(at, " ,"); *at != ')'; at += strspn(at, " ,")) {
    char *end;
    errno = 0;
    long long size = strtoll(at, &end, 10);
    if (end == at || errno || size < 0 || header->rank == MAX_RANK) return false;
    header->dims[header->rank++] = size;
    at = end;
  }
  return true;
}

/* Reads the header at `bytes`; *offset gets where the elements begin. */
static bool parse_header(Module *module, const char *name, const char *bytes, size_t size, Header *header,
                         size_t *offset) {
  const unsigned char *u = (const unsigned char *)bytes;
  if (size < 12 || memcmp(bytes, "\x93NUMPY", 6)) return fail(module, "'%s' is no .npy file", name);
  size_t length = u[8] | (size_t)u[9] << 8, start = 10;
  if (u[6] >= 2) length |= (size_t)u[10] << 16 | (size_t)u[11] << 24, start = 12;
  if (length > MAX_HEADER || length > size - start) return fail(module, "'%s' has a damaged header", name);
  char *text = arena_alloc(module->arena, length + 1);
  memcpy(text, bytes + start, length);
  *offset = start + length;
  header->dtype = parse_descr(text, header);
  const char *order = find_field(text, "'fortran_order'");
  header->columns = order && *order == 'T';
  if (header->dtype == DTYPE_NONE)
    return fail(
        module,
        "'%s' has an element type that is not read (little-endian numbers, bool and strings are): %.80s",
        name, text);
  return parse_shape(text, header) || fail(module, "'%s' has a damaged shape: %.80s", name, text);
}

/* ---- the elements ---- */

/* Column-major to row-major: walks the result in order and steps through the source. */
static void copy_columns(const Header *header, const char *from, char *to, size_t width, int64_t count) {
  int64_t at[MAX_RANK] = {0}, strides[MAX_RANK], source = 0;
  for (int64_t i = 0, stride = 1; i < header->rank; stride *= header->dims[i++]) strides[i] = stride;
  for (int64_t i = 0; i < count; i++) {
    memcpy(to + (size_t)i * width, from + (size_t)source * width, width);
    for (int axis = header->rank - 1; axis >= 0; axis--) {
      source += strides[axis];
      if (++at[axis] < header->dims[axis]) break;
      source -= strides[axis] * header->dims[axis];
      at[axis] = 0;
    }
  }
}

/* Of four bytes, as UTF-8; what is no character is '?'. */
static char *put_character(char *to, uint32_t c) {
  if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) c = '?';
  if (c < 0x80) return *to++ = (char)c, to;
  int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  static const unsigned char marks[] = {0, 0xc0, 0xe0, 0xf0};
  *to++ = (char)(marks[more] | c >> (6 * more));
  while (more-- > 0) *to++ = (char)(0x80 | ((c >> (6 * more)) & 0x3f));
  return to;
}

/* The elements become strings of the module. */
static bool take_strings(Module *module, const char *name, const Header *header, const char *bytes,
                         size_t size, int64_t count, Tensor *tensor) {
  size_t width = (size_t)header->width * (header->wide ? 4 : 1), needed;
  if (__builtin_mul_overflow(width, (size_t)count, &needed) || needed > size)
    return fail(module, "'%s' ends after %zu bytes of elements; its shape needs more", name, size);
  if (header->columns && header->rank > 1) return fail(module, "'%s' has strings column by column", name);
  char *text = malloc((size_t)header->width * 4 + 1);
  bool good = (text && tensor_new(tensor, DTYPE_STRING, header->rank, header->dims)) ||
              fail(module, "no memory for '%s'", name);
  for (int64_t i = 0; good && i < count; i++, bytes += width) {
    char *end = text;
    for (int64_t k = 0; k < header->width; k++) {
      uint32_t c = 0;
      memcpy(&c, bytes + (header->wide ? 4 * k : k), header->wide ? 4 : 1);
      if (!c) break;
      end = header->wide ? put_character(end, c) : (*end = (char)c, end + 1);
    }
    *end = 0;
    ((const char **)tensor->data)[i] = intern(module, text);
  }
  free(text);
  return good;
}

static bool parse_npy(Module *module, const char *name, const char *bytes, size_t size, Tensor *tensor) {
  Header header = {0};
  size_t offset = 0, needed;
  int64_t count = 1;
  TRY(parse_header(module, name, bytes, size, &header, &offset));
  for (int i = 0; i < header.rank; i++)
    if (__builtin_mul_overflow(count, header.dims[i], &count))
      return fail(module, "'%s' has an absurd shape", name);
  if (header.dtype == DTYPE_STRING)
    return take_strings(module, name, &header, bytes + offset, size - offset, count, tensor);
  if (!dtype_bytes(header.dtype, count, &needed) || needed > size - offset)
    return fail(module, "'%s' ends after %zu bytes of elements; its shape needs more", name, size - offset);
  if (!tensor_new(tensor, header.dtype, header.rank, header.dims))
    return fail(module, "no memory for '%s'", name);
  if (header.columns && header.rank > 1 && count)
    copy_columns(&header, bytes + offset, tensor->data, needed / (size_t)count, count);
  else if (needed)
    memcpy(tensor->data, bytes + offset, needed);
  return true;
}

/* ---- files ---- */

bool read_npy(Module *module, const char *path, Tensor *tensor) {
  size_t size;
  *tensor = (Tensor){0};
  char *bytes = file_read(module, path, &size);
  bool good = bytes && parse_npy(module, path, bytes, size, tensor);
  free(bytes);
  return good;
}

static bool read_member(Module *module, Archive *archive, int index, const char **name, Tensor *tensor) {
  const char *member = archive_name(archive, index);
  size_t size;
  if (!member) return fail(module, "the archive is damaged");
  char *bytes = archive_read(module, archive, member, max_file, &size);
  bool good = bytes && parse_npy(module, member, bytes, size, tensor);
  free(bytes);
  size_t length = strlen(member);
  if (length > 4 && !strcmp(member + length - 4, ".npy")) length -= 4;
  *name = arena_printf(module->arena, "%.*s", (int)length, member);
  return good;
}

bool read_npz(Module *module, const char *path, Tensor **tensors, const char ***names, int *count) {
  Archive *archive = archive_open(module, path);
  if (!archive) return false;
  int total = archive_count(archive), done = 0;
  *tensors = NEW_ARRAY(module->arena, Tensor, total);
  *names = NEW_ARRAY(module->arena, const char *, total);
  while (done < total && read_member(module, archive, done, &(*names)[done], &(*tensors)[done])) done++;
  archive_close(archive);
  *count = done;
  if (done == total) return true;
  for (int i = 0; i < done; i++) tensor_free(&(*tensors)[i]);
  *count = 0;
  return false;
}

/* The longest of the strings, at least 1. */
static int string_width(const Tensor *tensor) {
  size_t width = 1;
  for (int64_t i = 0; i < tensor_count(tensor); i++) {
    const char *text = ((const char *const *)tensor->data)[i];
    if (text && strlen(text) > width) width = strlen(text);
  }
  return width > INT32_MAX ? INT32_MAX : (int)width;
}

static bool write_strings(FILE *file, const Tensor *tensor, int width) {
  char *padded = malloc((size_t)width);
  bool good = padded != NULL;
  for (int64_t i = 0; good && i < tensor_count(tensor); i++) {
    const char *text = ((const char *const *)tensor->data)[i];
    size_t size = text ? strnlen(text, (size_t)width) : 0;
    memset(padded, 0, (size_t)width);
    if (size) memcpy(padded, text, size);
    good = fwrite(padded, 1, (size_t)width, file) == (size_t)width;
  }
  free(padded);
  return good;
}

/* The header is padded so that the elements begin at a multiple of 64. */
static bool write_array(Module *module, const char *path, const Tensor *tensor) {
  const char *descr = NULL, *shape = "";
  int width = tensor->dtype == DTYPE_STRING ? string_width(tensor) : 0;
  if (width) descr = arena_printf(module->arena, "|S%d", width);
  for (int i = 0; i < COUNT_OF(descrs) && !descr; i++)
    if (descrs[i].dtype == tensor->dtype) descr = descrs[i].descr;
  if (!descr) return fail(module, "numpy has no element type for %s", dtype_name(tensor->dtype));
  for (int i = 0; i < tensor->rank; i++)
    shape = arena_printf(module->arena, "%s%lld, ", shape, (long long)tensor->dims[i]);
  char *text =
      arena_printf(module->arena, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, shape);
  size_t length = (strlen(text) + 1 + 10 + 63) / 64 * 64 - 10;
  char *header = arena_printf(module->arena, "%-*s\n", (int)length - 1, text);
  FILE *file = fopen(path, "wb");
  if (!file) return fail(module, "cannot write '%s': %s", path, strerror(errno));
  const unsigned char head[10] = {0x93, 'N', 'U', 'M',          'P',
                                  'Y',  1,   0,   length & 255, (unsigned char)(length >> 8)};
  size_t size = tensor_size(tensor);
  bool good =
      fwrite(head, 1, 10, file) == 10 && fwrite(header, 1, length, file) == length &&
      (width ? write_strings(file, tensor, width) : !size || fwrite(tensor->data, 1, size, file) == size);
  good = !fclose(file) && good;
  return good || fail(module, "cannot write '%s': %s", path, strerror(errno));
}

bool write_npy(Module *module, const char *path, const Tensor *tensor) {
  Tensor carried;
  Dtype carrier = carrier_of(tensor->dtype);
  if (carrier == DTYPE_NONE) return write_array(module, path, tensor);
  if (!tensor_new(&carried, carrier, tensor->rank, tensor->dims))
    return fail(module, "no memory to write '%s'", path);
  copy_digits(tensor, &carried);
  bool ok = write_array(module, path, &carried);
  tensor_free(&carried);
  return ok;
}
