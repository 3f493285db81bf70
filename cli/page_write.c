/* page_write.c -- one file out of the sources in cli/page/ and the data, which is deflated and in base64. */
#include "cli/page.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* X(name): the files of cli/page/, as arrays that CMake makes; scripts in the order in which they run. */
#define PAGE_SCRIPTS(X) X(data_js) X(layout_js) X(colour_js) X(graph_js) X(plots_js) X(panel_js) X(app_js)
#define DECLARE(name)                                                                                        \
  extern const unsigned char page_##name[];                                                                  \
  extern const size_t page_##name##_size;
DECLARE(page_html)
DECLARE(page_css)
PAGE_SCRIPTS(DECLARE)

typedef struct Source {
  const unsigned char *bytes;
  const size_t *size;
} Source;

#define SCRIPT(name) {page_##name, &page_##name##_size},
static const Source scripts[] = {PAGE_SCRIPTS(SCRIPT)};
static const Source markup = {page_page_html, &page_page_html_size};
static const Source style = {page_page_css, &page_page_css_size};

static void write_source(const Source *source, FILE *out) {
  fwrite(source->bytes, 1, *source->size, out);
}

/* RFC 1951, without a header, as DecompressionStream('deflate-raw') wants it. NULL: no memory. */
static unsigned char *deflated(const char *data, size_t size, size_t *packed) {
  z_stream stream = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)size};
  if (size > UINT32_MAX || deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY) != Z_OK)
    return NULL;
  size_t room = deflateBound(&stream, (uLong)size);
  unsigned char *bytes = malloc(room);
  stream.next_out = bytes;
  stream.avail_out = (uInt)room;
  bool ok = bytes && deflate(&stream, Z_FINISH) == Z_STREAM_END;
  *packed = room - stream.avail_out;
  deflateEnd(&stream);
  if (ok) return bytes;
  free(bytes);
  return NULL;
}

static void write_base64(const unsigned char *bytes, size_t size, FILE *out) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < size; i += 3) {
    unsigned word = (unsigned)bytes[i] << 16;
    if (i + 1 < size) word |= (unsigned)bytes[i + 1] << 8;
    if (i + 2 < size) word |= bytes[i + 2];
    char four[] = {digits[word >> 18], digits[word >> 12 & 63], digits[word >> 6 & 63], digits[word & 63]};
    if (i + 1 >= size) four[2] = '=';
    if (i + 2 >= size) four[3] = '=';
    fwrite(four, 1, 4, out);
  }
}

static void write_page(const unsigned char *packed, size_t size, FILE *out) {
  fputs("<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n"
        "<meta name=viewport content=\"width=device-width, initial-scale=1\">\n<title>tenon</title>\n"
        "<link rel=icon href=data:,>\n<style>\n",
        out);
  write_source(&style, out);
  fputs("</style>\n<body>\n", out);
  write_source(&markup, out);
  fputs("<script id=data type=text/plain>", out);
  write_base64(packed, size, out);
  fputs("</script>\n<script>\n", out);
  for (int i = 0; i < COUNT_OF(scripts); i++) write_source(&scripts[i], out);
  fputs("</script>\n", out);
}

bool page_write(Module *module, const char *path, const char *data, size_t size) {
  size_t packed_size;
  unsigned char *packed = deflated(data, size, &packed_size);
  if (!packed) return fail(module, "no memory for the page");
  FILE *out = fopen(path, "wb");
  if (out) write_page(packed, packed_size, out);
  free(packed);
  bool ok = out && !ferror(out);
  if (out) ok = fclose(out) == 0 && ok;
  return ok || fail(module, "cannot write '%s': %s", path, strerror(errno));
}
