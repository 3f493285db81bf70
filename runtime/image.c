/*
 * image.c -- the operator of ir/ops/image.c, on items: the bytes of an image file become pixels.
 *
 * JPEG, PNG and BMP are read by stb_image, Netpbm's formats here. As ONNX wants it, a stream that cannot be
 * decoded gives an image without rows and columns; what could be, but not by this library, is an error of the
 * run. Streams may be hostile: before anything is allocated, the size that one declares is compared with what
 * so many bytes can hold, so memory is bounded by the length of the stream, and by MOST_PIXELS.
 */
#include "items.h"

/* What is needed of the C library, without the headers of the target's. */
void *aligned_alloc(size_t alignment, size_t size);
void free(void *memory);
void *memcpy(void *to, const void *from, size_t size);
void *memset(void *memory, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);

enum { MOST_PIXELS = 1 << 27, MOST_SCANS = 500 };

/* Zeros, so that rows which a stream does not fill show nothing of other memory. */
static void *allocate(size_t size) {
  void *memory = aligned_alloc(TENON_ALIGNMENT, (size / TENON_ALIGNMENT + 1) * TENON_ALIGNMENT);
  return memory ? memset(memory, 0, size) : NULL;
}

static void *reallocate(void *old, size_t old_size, size_t size) {
  void *memory = allocate(size);
  if (!memory || !old) return memory;
  memcpy(memory, old, old_size < size ? old_size : size);
  free(old);
  return memory;
}

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_NO_SIMD
#define STBI_NO_LINEAR
#define STBI_NO_FAILURE_STRINGS
#define STBI_NO_THREAD_LOCALS
#define STBI_ASSERT(condition) ((void)0)
#define STBI_MALLOC(size) allocate(size)
#define STBI_REALLOC_SIZED(memory, old_size, size) reallocate(memory, old_size, size)
#define STBI_FREE(memory) free(memory)
#include <stb_image.h>

/* A file, and how far it is read. */
typedef struct Stream {
  const uint8_t *at, *end;
} Stream;

typedef struct Image {
  uint8_t *pixels; /* [height][width][3], red first; NULL: there are none */
  int64_t height, width;
} Image;

/* ---- What is asked before decoding ---- */

static int starts_with(const Stream *s, int64_t offset, const char *bytes, int64_t count) {
  return s->end - s->at >= offset + count && memcmp(s->at + offset, bytes, (size_t)count) == 0;
}

/* TIFF, JPEG 2000 (file, code stream), WebP; BMP with run lengths. */
static int is_other_format(const Stream *s) {
  return starts_with(s, 0, "II*\0", 4) || starts_with(s, 0, "MM\0*", 4) ||
         starts_with(s, 4, "jP  \r\n\x87\n", 8) || starts_with(s, 0, "\xFF\x4F\xFF\x51", 4) ||
         (starts_with(s, 0, "RIFF", 4) && starts_with(s, 8, "WEBP", 4)) ||
         (starts_with(s, 0, "BM", 2) &&
          (starts_with(s, 30, "\1\0\0\0", 4) || starts_with(s, 30, "\2\0\0\0", 4)));
}

static uint32_t little(const uint8_t *bytes, int count) {
  uint32_t value = 0;
  while (count--) value = value << 8 | bytes[count];
  return value;
}

/* stb_image reads zeros where a BMP has ended. */
static int is_complete_bmp(const Stream *s, int64_t height, int64_t width) {
  if (s->end - s->at < 54) return 0;
  int is_old = little(s->at + 14, 4) == 12;
  int64_t bits = little(s->at + (is_old ? 24 : 28), 2), row = (width * bits + 31) / 32 * 4;
  return (int64_t)little(s->at + 10, 4) + row * height <= s->end - s->at;
}

/* stb_image takes memory for a chunk before it looks whether there are so many bytes. */
static int is_complete_png(const Stream *s) {
  for (const uint8_t *at = s->at + 8; s->end - at >= 12;) {
    int64_t length = (int64_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
    if (length > s->end - at - 12) return 0;
    if (memcmp(at + 4, "IEND", 4) == 0) return 1;
    at += 12 + length;
  }
  return 0;
}

/* Behind the length of a segment of Huffman tables: stb_image trusts that none has over 256 codes. */
static int has_sound_tables(const uint8_t *at, const uint8_t *stop, const uint8_t *end) {
  while (at < stop) {
    int64_t codes = 0;
    for (int i = 1; i <= 16; i++) codes += end - at > i ? at[i] : 0;
    if (codes > 256) return 0;
    at += end - at < 17 + codes ? end - at : 17 + codes;
  }
  return 1;
}

static int is_restart(uint8_t marker) {
  return marker >= 0xD0 && marker <= 0xD7;
}

/* Goes from marker to marker. Every scan takes the time of the whole image, however short it is. */
static int check_jpeg(const Stream *s, int *too_large) {
  enum { TABLES = 0xC4, START = 0xD8, END = 0xD9, SCAN = 0xDA };
  int scans = 0;
  for (const uint8_t *at = s->at; s->end - at >= 4;) {
    if (at[0] != 0xFF || at[1] == 0 || at[1] == 0xFF || at[1] == START || is_restart(at[1])) {
      at++;
      continue;
    }
    int64_t length = 2 + (at[2] << 8 | at[3]), left = s->end - at;
    if (at[1] == END) break;
    if (at[1] == TABLES && !has_sound_tables(at + 4, at + (length < left ? length : left), s->end)) return 0;
    scans += at[1] == SCAN;
    at += length < left ? length : left;
  }
  *too_large = scans > MOST_SCANS;
  return 1;
}

/* No format has more: of bits that are all the same, a deflated byte gives 1,032. */
static int can_hold(const Stream *s, int64_t height, int64_t width) {
  enum { PIXELS_OF_BYTE = 1032 * 8, SMALL = 1 << 16 };
  return height * width <= SMALL + (s->end - s->at) * PIXELS_OF_BYTE;
}

/* ---- JPEG, PNG, BMP ---- */

static int read_by_stb(const Stream *s, Image *image) {
  int width, height, channels, size = (int)(s->end - s->at), is_bmp = starts_with(s, 0, "BM", 2),
                               too_large = 0;
  if (starts_with(s, 0, "\x89PNG", 4) && !is_complete_png(s)) return ITEM_OK;
  if (starts_with(s, 0, "\xFF", 1) && !check_jpeg(s, &too_large)) return ITEM_OK;
  if (too_large) return ITEM_IMAGE_SIZE;
  if (!stbi_info_from_memory(s->at, size, &width, &height, &channels)) return ITEM_OK;
  int64_t rows = height < 0 ? -(int64_t)height : height; /* a BMP from top to bottom */
  if (rows == 0 || width <= 0 || !can_hold(s, rows, width)) return ITEM_OK;
  if (rows * width > MOST_PIXELS) return ITEM_IMAGE_SIZE;
  if (is_bmp && !is_complete_bmp(s, rows, width)) return ITEM_OK;
  image->pixels = stbi_load_from_memory(s->at, size, &width, &height, &channels, 3);
  image->height = height;
  image->width = width;
  return ITEM_OK;
}

/* ---- Netpbm: P1, P2, P3 in decimal text, P4, P5, P6 in binary; of bits, of gray, of red, green and blue */

static int is_space(uint8_t c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

static void skip_space(Stream *s) {
  while (s->at < s->end && (is_space(*s->at) || *s->at == '#'))
    if (*s->at++ == '#')
      while (s->at < s->end && *s->at != '\n') s->at++;
}

/* -1: none stands here, or it is larger. */
static int64_t read_number(Stream *s, int64_t most) {
  int64_t value = -1;
  skip_space(s);
  for (; s->at < s->end && *s->at >= '0' && *s->at <= '9' && value <= most; s->at++)
    value = (value < 0 ? 0 : value) * 10 + (*s->at - '0');
  return value > most ? -1 : value;
}

/* A digit of a plain bitmap; no space need stand between them. */
static int64_t read_plain_bit(Stream *s) {
  skip_space(s);
  return s->at < s->end && (*s->at == '0' || *s->at == '1') ? *s->at++ - '0' : -1;
}

static int64_t read_binary(Stream *s, int64_t most) {
  int64_t bytes = most > 255 ? 2 : 1, value = 0;
  if (s->end - s->at < bytes) return -1;
  while (bytes--) value = value << 8 | *s->at++;
  return value;
}

/* A row of a binary bitmap begins with a byte of its own. */
static int64_t read_packed_bit(const Stream *s, int64_t row, int64_t column, int64_t width) {
  int64_t at = row * ((width + 7) / 8) + column / 8;
  return at < s->end - s->at ? s->at[at] >> (7 - column % 8) & 1 : -1;
}

/* Samples of 0 to most as bytes; 0: the stream ends or has others. */
static int fill_netpbm(Stream s, int kind, int64_t most, const Image *image) {
  int is_color = kind == 3 || kind == 6;
  uint8_t *to = image->pixels;
  for (int64_t i = 0, count = image->height * image->width; i < count; i++)
    for (int channel = 0; channel < 3; channel++, to++) {
      if (channel && !is_color) {
        *to = to[-1];
        continue;
      }
      int64_t sample = kind == 1   ? read_plain_bit(&s)
                       : kind == 4 ? read_packed_bit(&s, i / image->width, i % image->width, image->width)
                       : kind < 4  ? read_number(&s, most)
                                   : read_binary(&s, most);
      if (sample < 0 || sample > most) return 0;
      if (kind == 1 || kind == 4) sample = 1 - sample; /* 1 is black */
      *to = (uint8_t)((sample * 510 + most) / (2 * most));
    }
  return 1;
}

static int read_netpbm(Stream s, Image *image) {
  int kind = s.at[1] - '0';
  s.at += 2;
  int64_t width = read_number(&s, INT32_MAX), height = read_number(&s, INT32_MAX);
  int64_t most = kind == 1 || kind == 4 ? 1 : read_number(&s, UINT16_MAX);
  if (width < 1 || height < 1 || most < 1 || s.at == s.end || !can_hold(&s, height, width)) return ITEM_OK;
  if (height * width > MOST_PIXELS) return ITEM_IMAGE_SIZE;
  s.at += kind >= 4; /* one white space before binary samples */
  *image = (Image){allocate((size_t)(height * width * 3)), height, width};
  if (!image->pixels) return ITEM_MEMORY;
  if (fill_netpbm(s, kind, most, image)) return ITEM_OK;
  free(image->pixels);
  image->pixels = NULL;
  return ITEM_OK;
}

/* ---- The operator ---- */

static int read_image(Stream s, Image *image) {
  if (is_other_format(&s)) return ITEM_IMAGE_FORMAT;
  if (s.end - s.at > INT32_MAX) return ITEM_IMAGE_SIZE;
  if (s.end - s.at > 2 && s.at[0] == 'P' && s.at[1] >= '1' && s.at[1] <= '6') return read_netpbm(s, image);
  return read_by_stb(&s, image);
}

/* The luma of ITU-R BT.601, rounded. */
static uint8_t gray_of(const uint8_t *rgb) {
  return (uint8_t)((19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 0x8000u) >> 16);
}

int tenon_item_image_decode(Store *store, Item *result, const Item *const *operands, uint32_t count,
                            const int64_t *params) {
  (void)count;
  const Item *x = operands[0];
  Image image = {0};
  int error = read_image((Stream){x->data, (const uint8_t *)x->data + x->dims[0]}, &image);
  if (error) return error;
  if (!image.pixels) image.height = image.width = 0;
  int64_t dims[] = {image.height, image.width, params[0] ? 1 : 3}, pixels = image.height * image.width;
  error = tenon_item_make(store, result, TENON_U8, 3, dims);
  uint8_t *to = result->data;
  if (!error && !params[0] && pixels) memcpy(to, image.pixels, (size_t)pixels * 3);
  for (int64_t i = 0; !error && params[0] && i < pixels; i++) to[i] = gray_of(image.pixels + 3 * i);
  free(image.pixels);
  return error;
}
