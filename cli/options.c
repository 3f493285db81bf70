/* options.c -- parsing, help and suggestions from the tables of options.h. */
#include "cli/options.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const Option common_options[] = {
    {"quiet", 'q', OPTION_FLAG, NULL, "print results and errors only"},
    {"verbose", 'v', OPTION_FLAG, NULL, "tell what is done and how long it takes"},
    {"help", 'h', OPTION_FLAG, NULL, "show this text"},
    {0},
};

/* ---- Looking up ---- */

static bool spells(const Option *option, const char *name, size_t length) {
  return strncmp(option->name, name, length) == 0 && option->name[length] == '\0';
}

static const Option *find_in(const Option *options, const char *name, size_t length, char letter) {
  for (; options && options->name; options++)
    if (letter ? options->letter == letter : spells(options, name, length)) return options;
  return NULL;
}

static const Option *find_option(const Verb *verb, const char *name, size_t length, char letter) {
  const Option *option = find_in(verb->options, name, length, letter);
  return option ? option : find_in(common_options, name, length, letter);
}

static const Given *last_given(const Arguments *arguments, const Option *option) {
  for (int i = arguments->given_count - 1; i >= 0; i--)
    if (arguments->given[i].option == option) return &arguments->given[i];
  return NULL;
}

static const Given *find_given(const Arguments *arguments, const char *name, OptionKind kind) {
  const Option *option = find_option(arguments->verb, name, strlen(name), 0);
  assert(option && (option->kind == kind || (kind == OPTION_TEXT && option->kind == OPTION_CHOICE)));
  (void)kind;
  return last_given(arguments, option);
}

bool option_given(const Arguments *arguments, const char *name) {
  return last_given(arguments, find_option(arguments->verb, name, strlen(name), 0));
}

bool option_flag(const Arguments *arguments, const char *name) {
  return find_given(arguments, name, OPTION_FLAG);
}

const char *option_text(const Arguments *arguments, const char *name) {
  const Given *given = find_given(arguments, name, OPTION_TEXT);
  return given ? given->value : NULL;
}

int64_t option_count(const Arguments *arguments, const char *name, int64_t otherwise) {
  const Given *given = find_given(arguments, name, OPTION_COUNT);
  return given ? strtoll(given->value, NULL, 10) : otherwise;
}

double option_seconds(const Arguments *arguments, const char *name, double otherwise) {
  const Given *given = find_given(arguments, name, OPTION_SECONDS);
  return given ? strtod(given->value, NULL) : otherwise;
}

const char *option_list(const Arguments *arguments, const char *name, int index) {
  const Option *option = find_option(arguments->verb, name, strlen(name), 0);
  assert(option && (option->kind == OPTION_LIST || option->kind == OPTION_SIZES));
  for (int i = 0; i < arguments->given_count; i++)
    if (arguments->given[i].option == option && index-- == 0) return arguments->given[i].value;
  return NULL;
}

/* ---- Suggestions ---- */

enum { MAX_WORD = 31 };

static int least(int a, int b, int c) {
  int ab = a < b ? a : b;
  return ab < c ? ab : c;
}

/* Levenshtein's distance of two words of at most MAX_WORD letters. */
static int distance(const char *a, const char *b) {
  int row[MAX_WORD + 1];
  for (int j = 0; j <= MAX_WORD; j++) row[j] = j;
  for (int i = 1; a[i - 1]; i++) {
    int diagonal = row[0];
    row[0] = i;
    for (int j = 1; b[j - 1]; j++) {
      int above = row[j];
      row[j] = least(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
      diagonal = above;
    }
  }
  return row[strlen(b)];
}

const char *nearest_word(const char *word, const void *table, size_t stride) {
  const char *best = NULL;
  if (strlen(word) > MAX_WORD) return NULL;
  int best_distance = (int)strlen(word) / 3 + 2;
  for (const char *row = table; row; row += stride) {
    const char *candidate;
    memcpy(&candidate, row, sizeof candidate);
    if (!candidate) break;
    int d = strlen(candidate) <= MAX_WORD ? distance(word, candidate) : best_distance;
    if (d < best_distance) best = candidate, best_distance = d;
  }
  return best;
}

int usage_error(const Verb *verb, const char *format, ...) {
  va_list list;
  va_start(list, format);
  fprintf(stderr, "error: ");
  vfprintf(stderr, format, list);
  va_end(list);
  fprintf(stderr, "\nsee: tenon %s --help\n", verb->name);
  return BAD_USAGE;
}

/* ---- Parsing ---- */

static bool unknown_option(const Verb *verb, const char *text, const char *name, size_t length) {
  char *word = strndup(name, length);
  const char *near = word ? nearest_word(word, verb->options, sizeof(Option)) : NULL;
  if (word && !near) near = nearest_word(word, common_options, sizeof(Option));
  if (near)
    usage_error(verb, "unknown option '%s'; did you mean --%s?", text, near);
  else
    usage_error(verb, "unknown option '%s'", text);
  free(word);
  return false;
}

static bool is_choice(const char *choices, const char *value) {
  size_t length = strlen(value);
  for (const char *at = choices; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
    if (length && strncmp(at, value, length) == 0 && (at[length] == '|' || !at[length])) return true;
  return false;
}

/* NAME=AxBx?, the name being all before the last '='. */
static bool is_sizes(const char *value) {
  const char *at = strrchr(value, '=');
  if (!at || at == value) return false;
  do {
    size_t digits = strspn(++at, "0123456789");
    if (digits == 0 && *at != '?') return false;
    at += digits ? digits : 1;
  } while (*at == 'x');
  return !*at;
}

/* NULL when the value is fine, else what it should be. */
static const char *value_fault(const Option *option, const char *value) {
  char *end = NULL;
  errno = 0;
  switch (option->kind) {
  case OPTION_COUNT: {
    long long count = strtoll(value, &end, 10);
    return end == value || *end || errno || count < 0 ? "a whole number" : NULL;
  }
  case OPTION_SECONDS: {
    double seconds = strtod(value, &end);
    return end == value || *end || !(seconds > 0) || !isfinite(seconds) ? "a number above 0" : NULL;
  }
  case OPTION_SIZES: return is_sizes(value) ? NULL : option->argument;
  case OPTION_CHOICE: return is_choice(option->argument, value) ? NULL : option->argument;
  default: return NULL;
  }
}

static bool add_given(Arguments *arguments, const Option *option, const char *value) {
  const char *fault = value ? value_fault(option, value) : NULL;
  if (fault) {
    usage_error(arguments->verb, "--%s wants %s, not '%s'", option->name, fault, value);
    return false;
  }
  arguments->given[arguments->given_count++] = (Given){option, value};
  return true;
}

/* One option at argv[*at]; *at moves on to a value that stands alone. */
static bool parse_option(Arguments *arguments, int argc, char **argv, int *at) {
  const char *text = argv[*at], *value = NULL;
  bool is_long = text[1] == '-';
  const char *name = text + 1 + is_long;
  size_t length = is_long ? strcspn(name, "=") : 1;
  const Option *option = find_option(arguments->verb, name, length, is_long ? 0 : *name);
  if (!option) return unknown_option(arguments->verb, text, name, strcspn(name, "="));
  if (name[length]) value = name + length + is_long;
  if (option->kind == OPTION_FLAG) {
    if (value) return usage_error(arguments->verb, "--%s takes no value", option->name), false;
    return add_given(arguments, option, NULL);
  }
  if (!value && *at + 1 < argc) value = argv[++*at];
  if (!value) return usage_error(arguments->verb, "--%s wants %s", option->name, option->argument), false;
  return add_given(arguments, option, value);
}

static bool check_words(const Arguments *arguments) {
  const Verb *verb = arguments->verb;
  int count = arguments->word_count;
  if (count > verb->max_words)
    return usage_error(verb, "unexpected '%s'", arguments->words[verb->max_words]), false;
  if (count < verb->min_words) return usage_error(verb, "usage: tenon %s %s", verb->name, verb->usage), false;
  return true;
}

bool arguments_parse(Arguments *arguments, const Verb *verb, int argc, char **argv) {
  *arguments = (Arguments){.verb = verb,
                           .words = calloc((size_t)argc + 1, sizeof *arguments->words),
                           .given = calloc((size_t)argc + 1, sizeof *arguments->given)};
  if (!arguments->words || !arguments->given) return false;
  bool options_end = false;
  for (int i = 0; i < argc; i++) {
    if (!options_end && strcmp(argv[i], "--") == 0)
      options_end = true;
    else if (options_end || argv[i][0] != '-' || !argv[i][1])
      arguments->words[arguments->word_count++] = argv[i];
    else if (!parse_option(arguments, argc, argv, &i))
      return false;
  }
  return option_flag(arguments, "help") || check_words(arguments);
}

void arguments_free(Arguments *arguments) {
  free(arguments->words);
  free(arguments->given);
}

/* ---- Help ---- */

enum { HELP_COLUMN = 32 };

static void print_option(const Option *option, FILE *out) {
  int width = option->letter ? fprintf(out, "  -%c, --%s", option->letter, option->name)
                             : fprintf(out, "      --%s", option->name);
  if (option->argument) width += fprintf(out, " %s", option->argument);
  if (width >= HELP_COLUMN) width = fprintf(out, "\n") - 1;
  fprintf(out, "%*s%s\n", HELP_COLUMN - width, "", option->help);
}

/* Lines, each with an indent. */
static void print_lines(const char *lines, FILE *out) {
  for (size_t length; *lines; lines += length + (lines[length] == '\n')) {
    length = strcspn(lines, "\n");
    fprintf(out, "  %.*s\n", (int)length, lines);
  }
}

void verb_help(const Verb *verb, FILE *out) {
  fprintf(out, "tenon %s - %s\n\n", verb->name, verb->purpose);
  fprintf(out, "usage: tenon %s %s\n", verb->name, verb->usage);
  if (verb->text) fprintf(out, "\n%s\n", verb->text);
  fprintf(out, "\noptions:\n");
  for (const Option *option = verb->options; option && option->name; option++) print_option(option, out);
  for (const Option *option = common_options; option->name; option++) print_option(option, out);
  fprintf(out, "\nexamples:\n");
  print_lines(verb->examples, out);
}
