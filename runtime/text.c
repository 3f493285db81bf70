/*
 * text.c -- see text.h: characters and their case, from a table of ranges.
 *
 * A range maps every letter, or every second one, to the letter a fixed distance behind it. What Unicode does
 * beyond single letters (the sharp s, final sigmas, Turkish dots) is left out, so strings keep their number
 * of characters and nothing depends on a locale.
 */
#include "text.h"

typedef struct CaseRange {
  uint32_t first, last, step; /* upper case */
  uint32_t distance;          /* to the lower case */
} CaseRange;

static const CaseRange cases[] = {
    {'A', 'Z', 1, 32},       {0xC0, 0xD6, 1, 32},   {0xD8, 0xDE, 1, 32},    {0x100, 0x12E, 2, 1},
    {0x132, 0x136, 2, 1},    {0x139, 0x147, 2, 1},  {0x14A, 0x176, 2, 1},   {0x179, 0x17D, 2, 1},
    {0x1CD, 0x1DB, 2, 1},    {0x1DE, 0x1EE, 2, 1},  {0x1F8, 0x21E, 2, 1},   {0x222, 0x232, 2, 1},
    {0x386, 0x386, 1, 38},   {0x388, 0x38A, 1, 37}, {0x38C, 0x38C, 1, 64},  {0x38E, 0x38F, 1, 63},
    {0x391, 0x3A1, 1, 32},   {0x3A3, 0x3AB, 1, 32}, {0x400, 0x40F, 1, 80},  {0x410, 0x42F, 1, 32},
    {0x460, 0x480, 2, 1},    {0x48A, 0x4BE, 2, 1},  {0x4C0, 0x4C0, 1, 15},  {0x4C1, 0x4CD, 2, 1},
    {0x4D0, 0x52E, 2, 1},    {0x531, 0x556, 1, 48}, {0x1E00, 0x1E94, 2, 1}, {0x1EA0, 0x1EFE, 2, 1},
    {0xFF21, 0xFF3A, 1, 32},
};
enum { CASES = sizeof cases / sizeof *cases };
enum { UPPER_Y_DIAERESIS = 0x178, LOWER_Y_DIAERESIS = 0xFF, FINAL_SIGMA = 0x3C2, UPPER_SIGMA = 0x3A3 };

static int is_in(uint32_t c, const CaseRange *range, uint32_t distance) {
  return c >= range->first + distance && c <= range->last + distance &&
         (c - range->first - distance) % range->step == 0;
}

uint32_t tenon_char_lower(uint32_t c) {
  if (c == UPPER_Y_DIAERESIS) return LOWER_Y_DIAERESIS;
  for (int i = 0; i < CASES; i++)
    if (is_in(c, &cases[i], 0)) return c + cases[i].distance;
  return c;
}

uint32_t tenon_char_upper(uint32_t c) {
  if (c == LOWER_Y_DIAERESIS) return UPPER_Y_DIAERESIS;
  if (c == FINAL_SIGMA) return UPPER_SIGMA;
  for (int i = 0; i < CASES; i++)
    if (is_in(c, &cases[i], cases[i].distance)) return c - cases[i].distance;
  return c;
}

/* ---- UTF-8 ----------------------------------------------------------------------------------------------
 */

/* Bytes that are no UTF-8 are kept apart from all characters, so that they can be put back. */
enum { RAW_BYTE = 0x200000 };

uint32_t tenon_char_next(const char **at) {
  const unsigned char *s = (const unsigned char *)*at;
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  int length = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
  uint32_t c = length == 1 ? s[0] : s[0] & (0x7Fu >> length);
  for (int i = 1; i < length; i++) {
    if (s[i] >> 6 != 2) length = 0; /* also at the end: a 0 */
    c = c << 6 | (s[i] & 0x3Fu);
  }
  if (length == 0 || c < least[length] || c > 0x10FFFF) {
    *at += 1;
    return RAW_BYTE + s[0];
  }
  *at += length;
  return c;
}

char *tenon_char_put(char *to, uint32_t c) {
  if (c < 0x80 || c >= RAW_BYTE) {
    *to++ = (char)(c & 0xFF);
  } else if (c < 0x800) {
    *to++ = (char)(0xC0 | c >> 6);
    *to++ = (char)(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    *to++ = (char)(0xE0 | c >> 12);
    *to++ = (char)(0x80 | (c >> 6 & 0x3F));
    *to++ = (char)(0x80 | (c & 0x3F));
  } else {
    *to++ = (char)(0xF0 | c >> 18);
    *to++ = (char)(0x80 | (c >> 12 & 0x3F));
    *to++ = (char)(0x80 | (c >> 6 & 0x3F));
    *to++ = (char)(0x80 | (c & 0x3F));
  }
  return to;
}
