/*
 * strings.c -- the operators of ir/ops/string.c, on items.
 *
 * An element of a tensor of strings is a pointer to its bytes, which end with a 0; NULL is the empty string.
 * What a run makes lies in its store until the next one (tenon_store_text); all else is the host's or the
 * model's, so elements are copied as they are.
 */
#include "items.h"
#include "text.h"

/* What is needed of the C library, without the headers of the target's. */
void *memcpy(void *to, const void *from, size_t size);
size_t strlen(const char *text);
int strcmp(const char *a, const char *b);
char *strstr(const char *text, const char *part);
int snprintf(char *text, size_t size, const char *format, ...);
double strtod(const char *text, char **end);
double ldexp(double x, int exponent);
double frexp(double x, int *exponent);

static const char *string_at(const Item *item, int64_t i) {
  const char *text = ((const char *const *)item->data)[i];
  return text ? text : "";
}

static int64_t count_of(const Item *item) {
  int64_t count = 1;
  for (uint32_t i = 0; i < item->rank; i++) count *= item->dims[i];
  return count;
}

/* The result has the shape of operand 0. */
static int make_like(Store *store, Item *result, const Item *x, uint32_t dtype) {
  return tenon_item_make(store, result, dtype, x->rank, x->dims);
}

static const char *keep(Store *store, const char *text, size_t size) {
  char *kept = tenon_store_text(store, size + 1);
  if (!kept) return NULL;
  memcpy(kept, text, size);
  kept[size] = '\0';
  return kept;
}

/* ---- Comparing ------------------------------------------------------------------------------------------
 */

int tenon_item_string_equal(Store *store, Item *result, const Item *const *operands, uint32_t count,
                            const int64_t *params) {
  (void)count, (void)params;
  int error = make_like(store, result, operands[0], TENON_BOOL);
  int64_t size = count_of(operands[0]);
  for (int64_t i = 0; !error && i < size; i++)
    ((uint8_t *)result->data)[i] = strcmp(string_at(operands[0], i), string_at(operands[1], i)) == 0;
  return error;
}

/* Keys ascend. */
static int64_t find(const Item *keys, const char *text) {
  int64_t low = 0, high = keys->dims[0];
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    int order = strcmp(string_at(keys, middle), text);
    if (order == 0) return middle;
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return -1;
}

int tenon_item_string_find(Store *store, Item *result, const Item *const *operands, uint32_t count,
                           const int64_t *params) {
  (void)count, (void)params;
  int error = make_like(store, result, operands[0], TENON_I64);
  int64_t size = count_of(operands[0]);
  for (int64_t i = 0; !error && i < size; i++)
    ((int64_t *)result->data)[i] = find(operands[1], string_at(operands[0], i));
  return error;
}

int tenon_item_string_match(Store *store, Item *result, const Item *const *operands, uint32_t count,
                            const int64_t *params) {
  (void)count, (void)params;
  Item memory = {0};
  int64_t bytes = sizeof(Regex), size = count_of(operands[0]);
  int error = make_like(store, result, operands[0], TENON_BOOL);
  if (!error) error = tenon_item_make(store, &memory, TENON_U8, 1, &bytes);
  Regex *regex = memory.data;
  if (!error && tenon_regex_compile(regex, string_at(operands[1], 0))) error = ITEM_PATTERN;
  for (int64_t i = 0; !error && i < size; i++)
    ((uint8_t *)result->data)[i] = (uint8_t)tenon_regex_match(regex, string_at(operands[0], i));
  tenon_item_drop(store, &memory);
  return error;
}

/* ---- New strings ----------------------------------------------------------------------------------------
 */

int tenon_item_string_concat(Store *store, Item *result, const Item *const *operands, uint32_t count,
                             const int64_t *params) {
  (void)count, (void)params;
  int error = make_like(store, result, operands[0], TENON_STRING);
  int64_t size = count_of(operands[0]);
  for (int64_t i = 0; !error && i < size; i++) {
    const char *a = string_at(operands[0], i), *b = string_at(operands[1], i);
    size_t first = strlen(a), second = strlen(b);
    char *text = tenon_store_text(store, first + second + 1);
    if (!text) return ITEM_MEMORY;
    memcpy(text, a, first);
    memcpy(text + first, b, second + 1);
    ((const char **)result->data)[i] = text;
  }
  return error;
}

/* Letters of one case have at most twice the bytes of the other's. */
static const char *with_case(Store *store, const char *text, int upper) {
  char *start = tenon_store_text(store, 2 * strlen(text) + 1), *to = start;
  if (!start) return NULL;
  while (*text) {
    uint32_t c = tenon_char_next(&text);
    to = tenon_char_put(to, upper ? tenon_char_upper(c) : tenon_char_lower(c));
  }
  *to = '\0';
  return start;
}

int tenon_item_string_case(Store *store, Item *result, const Item *const *operands, uint32_t count,
                           const int64_t *params) {
  (void)count;
  int error = make_like(store, result, operands[0], TENON_STRING);
  int64_t size = count_of(operands[0]);
  for (int64_t i = 0; !error && i < size; i++) {
    const char *text = with_case(store, string_at(operands[0], i), params[0] != 0);
    if (!text) return ITEM_MEMORY;
    ((const char **)result->data)[i] = text;
  }
  return error;
}

static int equal_but_case(const char *a, const char *b) {
  while (*a && *b)
    if (tenon_char_lower(tenon_char_next(&a)) != tenon_char_lower(tenon_char_next(&b))) return 0;
  return !*a && !*b;
}

static int is_among(const Item *words, const char *text, int ignore_case) {
  for (int64_t i = 0; i < words->dims[0]; i++) {
    const char *word = string_at(words, i);
    if (ignore_case ? equal_but_case(text, word) : strcmp(text, word) == 0) return 1;
  }
  return 0;
}

int tenon_item_string_without(Store *store, Item *result, const Item *const *operands, uint32_t count,
                              const int64_t *params) {
  (void)count;
  const Item *x = operands[0];
  int64_t dims[2] = {x->dims[0], x->dims[1]}, size = count_of(x), kept = 0;
  for (int64_t i = 0; i < size; i++) kept += !is_among(operands[1], string_at(x, i), params[0] != 0);
  dims[x->rank - 1] = kept ? kept : 1;
  int error = tenon_item_make(store, result, TENON_STRING, x->rank, dims);
  if (error) return error;
  const char **to = result->data;
  if (!kept) *to = "";
  for (int64_t i = 0; i < size; i++)
    if (!is_among(operands[1], string_at(x, i), params[0] != 0)) *to++ = string_at(x, i);
  return ITEM_OK;
}

/* Characters of the set are single bytes. */
int tenon_item_string_remove(Store *store, Item *result, const Item *const *operands, uint32_t count,
                             const int64_t *params) {
  (void)count, (void)params;
  int error = make_like(store, result, operands[0], TENON_STRING);
  const char *set = string_at(operands[1], 0);
  int64_t size = count_of(operands[0]);
  for (int64_t i = 0; !error && i < size; i++) {
    const char *from = string_at(operands[0], i);
    char *to = tenon_store_text(store, strlen(from) + 1);
    if (!to) return ITEM_MEMORY;
    ((const char **)result->data)[i] = to;
    for (; *from; from++) {
      const char *c = set;
      while (*c && *c != *from) c++;
      if (!*c) *to++ = *from;
    }
    *to = '\0';
  }
  return error;
}

/* ---- Splitting ------------------------------------------------------------------------------------------
 */

/* A string that is being split; delimiter "": at white space, which then counts at neither end; NULL: between
 * all characters. */
typedef struct Parts {
  const char *at, *delimiter; /* at NULL: no more */
  int64_t splits;             /* that are left; negative: any number */
} Parts;

static int is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1C && c <= 0x1F);
}

static Parts parts_of(const char *text, const char *delimiter, int64_t most) {
  Parts parts = {text, delimiter, most};
  if (!delimiter) parts.at = *text ? text : NULL;
  if (!delimiter || *delimiter) return parts;
  while (is_space(*parts.at)) parts.at++;
  if (!*parts.at) parts.at = NULL;
  return parts;
}

static const char *part_end(const Parts *parts) {
  const char *end = parts->at;
  if (!parts->delimiter) {
    tenon_char_next(&end);
    return *end ? end : NULL;
  }
  if (*parts->delimiter) return strstr(end, parts->delimiter);
  while (*end && !is_space(*end)) end++;
  return *end ? end : NULL;
}

/* The size of the part at *start; 0 when there is none. */
static int part_next(Parts *parts, const char **start, size_t *size) {
  if (!parts->at) return 0;
  const char *end = parts->splits == 0 ? NULL : part_end(parts);
  *start = parts->at;
  *size = end ? (size_t)(end - parts->at) : strlen(parts->at);
  if (parts->splits > 0) parts->splits--;
  if (!parts->delimiter)
    parts->at = end;
  else if (end && *parts->delimiter)
    parts->at = end + strlen(parts->delimiter);
  else
    parts->at = end ? parts_of(end, "", 0).at : NULL;
  return 1;
}

static int64_t count_parts(Parts parts) {
  const char *start;
  size_t size;
  int64_t count = 0;
  while (part_next(&parts, &start, &size)) count++;
  return count;
}

static const char *delimiter_of(const Item *const *operands, uint32_t count, const int64_t *params) {
  return count > 1 && operands[1] && !params[1] ? string_at(operands[1], 0) : NULL;
}

int tenon_item_string_split_count(Store *store, Item *result, const Item *const *operands, uint32_t count,
                                  const int64_t *params) {
  int error = make_like(store, result, operands[0], TENON_I64);
  int64_t size = count_of(operands[0]);
  for (int64_t i = 0; !error && i < size; i++)
    ((int64_t *)result->data)[i] =
        count_parts(parts_of(string_at(operands[0], i), delimiter_of(operands, count, params), params[0]));
  return error;
}

static int fill_parts(Store *store, const char **row, Parts parts) {
  const char *start;
  size_t size;
  for (; part_next(&parts, &start, &size); row++)
    if (!(*row = keep(store, start, size))) return ITEM_MEMORY;
  return ITEM_OK;
}

int tenon_item_string_split(Store *store, Item *result, const Item *const *operands, uint32_t count,
                            const int64_t *params) {
  const Item *x = operands[0];
  const char *delimiter = delimiter_of(operands, count, params);
  int64_t dims[TENON_MAX_RANK], size = count_of(x), most = 0;
  for (int64_t i = 0; i < size; i++) {
    int64_t parts = count_parts(parts_of(string_at(x, i), delimiter, params[0]));
    if (parts > most) most = parts;
  }
  for (uint32_t i = 0; i < x->rank; i++) dims[i] = x->dims[i];
  dims[x->rank] = most;
  int error = tenon_item_make(store, result, TENON_STRING, x->rank + 1, dims);
  const char **rows = result->data;
  for (int64_t i = 0; !error && i < size * most; i++) rows[i] = "";
  for (int64_t i = 0; !error && i < size; i++)
    error = fill_parts(store, rows + i * most, parts_of(string_at(x, i), delimiter, params[0]));
  return error;
}

/* ---- Numbers --------------------------------------------------------------------------------------------
 */

/* Decimal digits and a power of ten: 0.d1d2d3... * 10^exponent, or a word. */
enum { MAX_DIGITS = 17, MAX_NUMBER = 32 };

/* Mantissa bits and the least exponent of a float of the dtype. */
static void float_form(int64_t dtype, int *bits, int *least) {
  *bits = dtype == TENON_F64 ? 53 : dtype == TENON_F32 ? 24 : dtype == TENON_BF16 ? 8 : 11;
  *least = dtype == TENON_F64 ? -1021 : dtype == TENON_F16 ? -13 : -125;
}

/* Whether a decimal number rounds to x among the floats of the dtype (f64: is x). */
static int reads_back(const char *text, double x, int64_t dtype) {
  double read = strtod(text, NULL), error = read > x ? read - x : x - read;
  int bits, least, exponent;
  if (dtype == TENON_F64 || read == x) return read == x;
  float_form(dtype, &bits, &least);
  frexp(x, &exponent);
  return error < ldexp(0.5, (exponent < least ? least : exponent) - bits);
}

/* The fewest digits that read back as x > 0, and the power of ten of the first. No locale's decimal point:
 * all but digits is left out. */
static int shortest(double x, int64_t dtype, char *digits, int *power) {
  char text[MAX_NUMBER], plain[2 * MAX_NUMBER];
  for (int precision = 1;; precision++) {
    int count = 0, at = 0, sign = 1;
    snprintf(text, sizeof text, "%.*e", precision - 1, x);
    for (; text[at] != 'e'; at++)
      if (text[at] >= '0' && text[at] <= '9') digits[count++] = text[at];
    digits[count] = '\0';
    *power = 0;
    for (at++; text[at]; at++) {
      if (text[at] == '-') sign = -1;
      if (text[at] >= '0' && text[at] <= '9') *power = *power * 10 + (text[at] - '0');
    }
    *power *= sign;
    snprintf(plain, sizeof plain, "%se%d", digits, *power - (count - 1));
    if (precision == MAX_DIGITS || reads_back(plain, x, dtype)) {
      while (count > 1 && digits[count - 1] == '0') digits[--count] = '\0';
      return count;
    }
  }
}

static char *put_zeros(char *to, int count) {
  while (count-- > 0) *to++ = '0';
  return to;
}

static char *put(char *to, const char *text, int count) {
  memcpy(to, text, (size_t)count);
  return to + count;
}

/* As numpy: plain from 1e-4 to 1e16, else scientific with two digits of exponent. */
static void format_float(char *to, double x, int64_t dtype) {
  char digits[MAX_NUMBER];
  int power = 0, count = 1;
  if (x != x) {
    put(to, "NaN", 4);
    return;
  }
  if (x < 0 || (x == 0 && 1 / x < 0)) *to++ = '-';
  x = x < 0 ? -x : x;
  if (x > 1.7976931348623157e308) {
    put(to, "INF", 4);
    return;
  }
  if (x == 0)
    put(digits, "0", 2);
  else
    count = shortest(x, dtype, digits, &power);
  if (x != 0 && (x < 1e-4 || x >= 1e16)) {
    *to++ = digits[0];
    if (count > 1) *to++ = '.', to = put(to, digits + 1, count - 1);
    snprintf(to, MAX_NUMBER, "e%c%02d", power < 0 ? '-' : '+', power < 0 ? -power : power);
    return;
  }
  if (power < 0) {
    to = put(to, "0.", 2);
    to = put(put_zeros(to, -power - 1), digits, count);
  } else if (count > power + 1) {
    to = put(to, digits, power + 1);
    *to++ = '.';
    to = put(to, digits + power + 1, count - power - 1);
  } else {
    to = put_zeros(put(to, digits, count), power + 1 - count);
    to = put(to, ".0", 2);
  }
  *to = '\0';
}

static void format(char *to, const Item *x, int64_t i, int64_t dtype) {
  if (x->dtype == TENON_F64)
    format_float(to, ((const double *)x->data)[i], dtype);
  else if (x->dtype == TENON_F32)
    format_float(to, (double)((const float *)x->data)[i], dtype);
  else if (x->dtype == TENON_U64)
    snprintf(to, MAX_NUMBER, "%llu", (unsigned long long)((const uint64_t *)x->data)[i]);
  else
    snprintf(to, MAX_NUMBER, "%lld", (long long)((const int64_t *)x->data)[i]);
}

int tenon_item_string_format(Store *store, Item *result, const Item *const *operands, uint32_t count,
                             const int64_t *params) {
  (void)count;
  int error = make_like(store, result, operands[0], TENON_STRING);
  int64_t size = count_of(operands[0]);
  for (int64_t i = 0; !error && i < size; i++) {
    char text[2 * MAX_NUMBER];
    format(text, operands[0], i, params[0]);
    if (!(((const char **)result->data)[i] = keep(store, text, strlen(text)))) return ITEM_MEMORY;
  }
  return error;
}

static int accept_word(const char **at, const char *word) {
  const char *c = *at;
  for (; *word; c++, word++)
    if ((*c | 0x20) != *word) return 0;
  *at = c;
  return 1;
}

/* Digits with one point at most, and an exponent, as digits and an exponent: strtod then needs no point,
 * which a locale may spell otherwise. Digits beyond those that can matter become part of the exponent. */
static int read_decimal(const char **at, double *x) {
  enum { KEPT = 800 };
  char plain[KEPT + 24];
  int count = 0, any = 0, point = 0;
  int64_t exponent = 0;
  for (;; ++*at) {
    char c = **at;
    if (c == '.' && !point) {
      point = 1;
      continue;
    }
    if (c < '0' || c > '9') break;
    any = 1;
    if (count == KEPT)
      exponent += !point;
    else if (count > 0 || c != '0')
      plain[count++] = c, exponent -= point;
    else
      exponent -= point;
  }
  if (!any) return 0;
  if (**at == 'e' || **at == 'E') {
    int minus = (*at)[1] == '-';
    const char *c = *at + 1 + (minus || (*at)[1] == '+');
    int64_t given = 0;
    if (*c < '0' || *c > '9') return 0;
    for (; *c >= '0' && *c <= '9'; c++) given = given < 100000 ? 10 * given + (*c - '0') : given;
    exponent += minus ? -given : given;
    *at = c;
  }
  if (count == 0) plain[count++] = '0';
  exponent = exponent > 99999 ? 99999 : exponent < -99999 ? -99999 : exponent;
  snprintf(plain + count, sizeof plain - (size_t)count, "e%d", (int)exponent);
  *x = strtod(plain, NULL);
  return 1;
}

static int read_float(const char *text, double *x) {
  while (is_space(*text)) text++;
  int minus = *text == '-';
  text += minus || *text == '+';
  if (accept_word(&text, "infinity") || accept_word(&text, "inf"))
    *x = __builtin_inf();
  else if (accept_word(&text, "nan"))
    *x = __builtin_nan("");
  else if (!read_decimal(&text, x))
    return ITEM_NUMBER;
  if (minus) *x = -*x;
  while (is_space(*text)) text++;
  return *text ? ITEM_NUMBER : ITEM_OK;
}

/* Whole numbers of 64 bits, with a sign or without; others through floats, towards zero. */
static int read_integer(const char *text, int64_t *x) {
  const char *at = text;
  while (is_space(*at)) at++;
  int minus = *at == '-', any = 0, exact = 1;
  at += minus || *at == '+';
  uint64_t value = 0;
  for (; *at >= '0' && *at <= '9'; at++, any = 1)
    if (__builtin_mul_overflow(value, 10, &value) ||
        __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
      exact = 0;
  while (is_space(*at)) at++;
  if (any && exact && !*at) {
    *x = (int64_t)(minus ? 0 - value : value);
    return ITEM_OK;
  }
  double real = 0;
  int error = read_float(text, &real);
  if (error || !(real > -0x1p63 && real < 0x1p63)) return ITEM_NUMBER;
  *x = (int64_t)real;
  return ITEM_OK;
}

int tenon_item_string_parse(Store *store, Item *result, const Item *const *operands, uint32_t count,
                            const int64_t *params) {
  (void)count;
  int error = make_like(store, result, operands[0], (uint32_t)params[0]);
  int64_t size = count_of(operands[0]);
  for (int64_t i = 0; !error && i < size; i++) {
    const char *text = string_at(operands[0], i);
    error = params[0] == TENON_F64 ? read_float(text, (double *)result->data + i)
                                   : read_integer(text, (int64_t *)result->data + i);
  }
  return error;
}
