/*
 * options.h -- the command line as data: a Verb is a row with its help text, its options and its function.
 *
 * Parsing, `--help`, and the suggestions for misspelt words come from the tables alone. Exit codes: 0 done,
 * 1 the input is at fault, 2 the command line is.
 */
#ifndef TENON_CLI_OPTIONS_H
#define TENON_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { DONE = 0, BAD_INPUT = 1, BAD_USAGE = 2 };

typedef enum OptionKind {
  OPTION_FLAG,
  OPTION_COUNT,   /* a whole number >= 0 */
  OPTION_SECONDS, /* a number > 0 */
  OPTION_TEXT,
  OPTION_CHOICE, /* one of the words in `argument`, separated by '|' */
  OPTION_LIST,   /* text; may be given several times */
  OPTION_SIZES   /* NAME=N or NAME=AxBx?; may be given several times */
} OptionKind;

typedef struct Option {
  const char *name; /* without the dashes */
  char letter;      /* of the short form, 0: none */
  OptionKind kind;
  const char *argument; /* how the help calls the value; NULL for a flag */
  const char *help;
} Option;

typedef struct Arguments Arguments;

typedef struct Verb {
  const char *name;
  const char *purpose;                    /* a line */
  const char *usage;                      /* what follows `tenon NAME` */
  const char *text;                       /* paragraphs of the help */
  const Option *options;                  /* ends with a NULL name; the common ones are added */
  int min_words, max_words;               /* words that are no options */
  const char *examples;                   /* lines */
  int (*run)(const Arguments *arguments); /* returns the exit code */
} Verb;

typedef struct Given {
  const Option *option;
  const char *value;
} Given;

struct Arguments {
  const Verb *verb;
  const char **words;
  int word_count;
  Given *given;
  int given_count;
};

/* Parses what follows the verb; false after printing what is wrong. Strings are those of argv. */
bool arguments_parse(Arguments *arguments, const Verb *verb, int argc, char **argv);
void arguments_free(Arguments *arguments);

/* Names must be in the verb's table (assert). The last one given counts. */
bool option_given(const Arguments *arguments, const char *name); /* of any kind */
bool option_flag(const Arguments *arguments, const char *name);
const char *option_text(const Arguments *arguments, const char *name); /* NULL: not given */
int64_t option_count(const Arguments *arguments, const char *name, int64_t otherwise);
double option_seconds(const Arguments *arguments, const char *name, double otherwise);
/* Value number `index` of a list, NULL beyond the last. */
const char *option_list(const Arguments *arguments, const char *name, int index);

void verb_help(const Verb *verb, FILE *out);
/* The nearest of the words (every `stride` bytes a const char *, ending with NULL), or NULL when none is
 * near. */
const char *nearest_word(const char *word, const void *table, size_t stride);

/* Wrong usage: prints it with a pointer to the help, returns BAD_USAGE. */
int usage_error(const Verb *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
