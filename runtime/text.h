/*
 * text.h -- characters of UTF-8, their case, and regular expressions. See text.c and regex.c.
 */
#ifndef TENON_RUNTIME_TEXT_H
#define TENON_RUNTIME_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* The character at *at, which moves behind it; bytes that are no UTF-8 count as characters of their own. */
uint32_t tenon_char_next(const char **at);
char *tenon_char_put(char *to, uint32_t c); /* behind its at most 4 bytes */
/* Of Latin, Greek, Cyrillic and Armenian letters, one for one; others are as they were. */
uint32_t tenon_char_lower(uint32_t c);
uint32_t tenon_char_upper(uint32_t c);

/* ---- Regular expressions (regex.c) */

enum { REGEX_NODES = 1024, REGEX_RANGES = 1024, REGEX_STEPS = 4096 };

typedef struct RegexNode {
  uint8_t kind, fold, negated;
  int32_t a, b; /* nodes; of characters: a the character; of classes: the ranges [a, b) */
  int32_t min, max;
} RegexNode;

typedef struct RegexStep {
  int32_t kind, a, b; /* a: the node to match, or the step to go to; b: the other step */
} RegexStep;

/* A pattern, and room to match with. */
typedef struct Regex {
  RegexNode nodes[REGEX_NODES];
  uint32_t ranges[REGEX_RANGES][2]; /* of characters, both ends in */
  RegexStep steps[REGEX_STEPS];
  int32_t node_count, range_count, step_count;
  const char *at, *error; /* while it is compiled */
  uint8_t fold, dot_all;
  int32_t depth, emitted;
  int32_t lists[2][REGEX_STEPS], stack[REGEX_STEPS];
  uint8_t marks[REGEX_STEPS];
} Regex;

/* What is wrong with the pattern, in the syntax of RE2; NULL: nothing. */
const char *tenon_regex_compile(Regex *regex, const char *pattern);
int tenon_regex_match(Regex *regex, const char *text); /* the whole of it */

#endif
