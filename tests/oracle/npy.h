/*
 * npy.h -- numpy's .npy files for the oracle programs: little-endian, C order.
 *
 * Format: "\x93NUMPY", version, header length, a Python dict as text, padding, data. numpy.lib.format
 * documents it.
 */
#ifndef TENON_TESTS_ORACLE_NPY_H
#define TENON_TESTS_ORACLE_NPY_H

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NPY_MAX_RANK = 16 };

typedef struct Npy {
  char kind[4]; /* "f4", "i8", "b1", ... */
  int rank;
  int64_t dims[NPY_MAX_RANK];
  size_t size; /* bytes of data */
  void *data;  /* from malloc */
} Npy;

static inline bool npy_parse_header(char *header, Npy *npy) {
  const char *kind = strstr(header, "'descr':"), *shape = strstr(header, "'shape':");
  if (!kind || !shape || strstr(header, "'fortran_order': True")) return false;
  if (sscanf(kind + 8, " '%*1[<|=]%3[a-z0-9]'", npy->kind) != 1) return false;
  const char *at = strchr(shape, '(');
  if (!at) return false;
  npy->rank = 0;
  npy->size = (size_t)atoi(npy->kind + 1);
  for (at++; *at && *at != ')'; at += strspn(at, ", ")) {
    if (!isdigit((unsigned char)*at) || npy->rank == NPY_MAX_RANK) return false;
    char *end;
    npy->dims[npy->rank] = strtoll(at, &end, 10);
    npy->size *= (size_t)npy->dims[npy->rank++];
    at = end;
  }
  return npy->size > 0 || npy->rank > 0;
}

static inline bool npy_read(const char *path, Npy *npy) {
  unsigned char head[12];
  char header[65536] = "";
  FILE *file = fopen(path, "rb");
  bool ok = file && fread(head, 1, 8, file) == 8 && memcmp(head, "\x93NUMPY", 6) == 0;
  size_t length_bytes = ok && head[6] == 1 ? 2 : 4, length = 0;
  ok = ok && fread(head + 8, 1, length_bytes, file) == length_bytes;
  for (size_t i = 0; ok && i < length_bytes; i++) length |= (size_t)head[8 + i] << (8 * i);
  ok = ok && length < sizeof header && fread(header, 1, length, file) == length &&
       npy_parse_header(header, npy);
  npy->data = ok ? malloc(npy->size + 1) : NULL;
  ok = ok && npy->data && fread(npy->data, 1, npy->size, file) == npy->size;
  if (file) fclose(file);
  return ok;
}

static inline bool npy_write(const char *path, const Npy *npy) {
  char shape[NPY_MAX_RANK * 24] = "", header[1024];
  int at = 0;
  for (int i = 0; i < npy->rank; i++) at += sprintf(shape + at, "%lld, ", (long long)npy->dims[i]);
  if (npy->rank > 1) shape[at - 2] = 0;
  bool one_byte = npy->kind[1] == '1' && !npy->kind[2];
  int length = snprintf(header, sizeof header, "{'descr': '%c%s', 'fortran_order': False, 'shape': (%s), }",
                        one_byte ? '|' : '<', npy->kind, shape);
  int padded = (10 + length + 1 + 63) / 64 * 64 - 10;
  memset(header + length, ' ', (size_t)(padded - length));
  header[padded - 1] = '\n';
  unsigned char head[10] = {
      0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)padded, (unsigned char)(padded >> 8)};
  FILE *file = fopen(path, "wb");
  if (!file) return false;
  bool ok = fwrite(head, 1, sizeof head, file) == sizeof head;
  ok = ok && fwrite(header, 1, (size_t)padded, file) == (size_t)padded;
  ok = ok && fwrite(npy->data, 1, npy->size, file) == npy->size;
  return fclose(file) == 0 && ok;
}

#endif
