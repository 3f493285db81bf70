/* regex.c -- regular expressions: a pattern, and behind its first newline a text. What matches must match
 * itself when all of it is quoted. */
#include "runtime/text.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static char *copy(const uint8_t *bytes, size_t size) {
  char *text = malloc(size + 1);
  memcpy(text, bytes, size);
  text[size] = '\0';
  return text;
}

/* \Qtext\E matches the text, unless that has an \E. */
static void match_quoted(Regex *regex, const char *text) {
  size_t length = strlen(text);
  char *pattern = malloc(length + 5);
  memcpy(pattern, "\\Q", 2);
  memcpy(pattern + 2, text, length);
  memcpy(pattern + 2 + length, "\\E", 3);
  if (!strchr(text, '\\') && !tenon_regex_compile(regex, pattern))
    fuzz_check(tenon_regex_match(regex, text), NULL, "a quoted text does not match itself");
  free(pattern);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  const uint8_t *end = size ? memchr(bytes, '\n', size) : NULL;
  size_t length = end ? (size_t)(end - bytes) : size;
  char *pattern = copy(bytes, length), *text = end ? copy(end + 1, size - length - 1) : copy(bytes, 0);
  Regex *regex = malloc(sizeof *regex);
  if (!tenon_regex_compile(regex, pattern)) {
    int once = tenon_regex_match(regex, text), again = tenon_regex_match(regex, text);
    fuzz_check(once == again, NULL, "a match depends on the one before");
  }
  match_quoted(regex, text);
  free(regex);
  free(pattern);
  free(text);
  return 0;
}
