/*
 * literal.c -- tensors written as text: a number or a string, a list, lists in lists.
 *
 * The text is read once into a flat array of numbers while the length of each level is noted; what shape that
 * makes is decided afterwards, from the port.
 */
#include "cli/program.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LITERAL = 1 << 20 };

/* A number both ways: integers of 64 bits do not fit a double. */
typedef struct Number {
  double real;
  int64_t whole;
  const char *text; /* a string instead; NULL: a number */
} Number;

typedef struct Literal {
  Module *module;
  const char *at;
  int depth;                 /* of lists; -1 before the first number */
  int64_t lengths[MAX_RANK]; /* -1: no list of that level has ended */
  Number *numbers;
  int64_t count, capacity;
  const char *error;
} Literal;

static void skip_space(Literal *literal) {
  while (isspace((unsigned char)*literal->at)) literal->at++;
}

static bool accept(Literal *literal, char c) {
  skip_space(literal);
  if (*literal->at != c) return false;
  literal->at++;
  return true;
}

static bool bad(Literal *literal, const char *error) {
  if (!literal->error) literal->error = error;
  return false;
}

static bool add_number(Literal *literal, Number number) {
  if (literal->count == MAX_LITERAL) return bad(literal, "it has too many numbers");
  if (literal->count == literal->capacity) {
    literal->capacity = 2 * literal->capacity + 16;
    Number *grown = realloc(literal->numbers, (size_t)literal->capacity * sizeof *grown);
    if (!grown) return bad(literal, "there is no memory for it");
    literal->numbers = grown;
  }
  literal->numbers[literal->count++] = number;
  return true;
}

static bool accept_word(Literal *literal, const char *word) {
  size_t length = strlen(word);
  if (strncmp(literal->at, word, length) != 0) return false;
  literal->at += length;
  return true;
}

/* \xHH and \n as in the text form; any other character behind a backslash is itself. */
static char read_escape(Literal *literal) {
  unsigned code;
  int length = 0;
  char c = *literal->at++;
  if (c == 'n') return '\n';
  if (c == 't') return '\t';
  if (c != 'x' || sscanf(literal->at, "%2x%n", &code, &length) != 1 || length != 2 || !code) return c;
  literal->at += 2;
  return (char)code;
}

/* Behind the quote. */
static bool parse_string(Literal *literal) {
  char *text = arena_alloc(literal->module->arena, strcspn(literal->at, "\"") + 1);
  size_t length = 0, room = strcspn(literal->at, "\"");
  while (*literal->at && *literal->at != '"') {
    char c = *literal->at++;
    if (c == '\\' && *literal->at) c = read_escape(literal);
    if (length == room) {
      room = 2 * room + strcspn(literal->at, "\"") + 1;
      char *grown = arena_alloc(literal->module->arena, room + 1);
      memcpy(grown, text, length);
      text = grown;
    }
    text[length++] = c;
  }
  text[length] = '\0';
  if (*literal->at != '"') return bad(literal, "a string does not end");
  literal->at++;
  return add_number(literal, (Number){.text = intern(literal->module, text)});
}

static bool parse_number(Literal *literal, int level) {
  if (literal->depth < 0) literal->depth = level;
  if (literal->depth != level) return bad(literal, "its lists are not equally deep");
  if (accept(literal, '"')) return parse_string(literal);
  if (accept_word(literal, "true")) return add_number(literal, (Number){.real = 1, .whole = 1});
  if (accept_word(literal, "false")) return add_number(literal, (Number){0});
  char *end, *whole_end;
  double real = strtod(literal->at, &end);
  if (end == literal->at) return bad(literal, "a number is missing");
  errno = 0;
  int64_t whole = strtoll(literal->at, &whole_end, 10);
  if (errno && *literal->at != '-') whole = (int64_t)strtoull(literal->at, &whole_end, 10); /* u64 */
  if (whole_end != end) whole = real > -9e18 && real < 9e18 ? (int64_t)real : 0;
  literal->at = end;
  return add_number(literal, (Number){.real = real, .whole = whole});
}

static bool parse_level(Literal *literal, int level) {
  if (!accept(literal, '[')) return parse_number(literal, level);
  if (level == MAX_RANK) return bad(literal, "its lists are too deep");
  int64_t length = 0;
  if (!accept(literal, ']')) {
    do {
      TRY(parse_level(literal, level + 1));
      length++;
    } while (accept(literal, ','));
    if (!accept(literal, ']')) return bad(literal, "a ']' is missing");
  } else if (literal->depth < level + 1)
    literal->depth = level + 1;
  if (literal->lengths[level] >= 0 && literal->lengths[level] != length)
    return bad(literal, "its lists are not equally long");
  literal->lengths[level] = length;
  return true;
}

/* The tensor's shape: of the lists, or of the port. */
static bool choose_shape(Literal *literal, const Port *port, int64_t *dims) {
  bool from_lists = literal->depth == port->rank;
  if (!from_lists && literal->depth > 1) return bad(literal, "it has another number of axes");
  int64_t count = 1;
  for (int i = 0; i < port->rank; i++) {
    dims[i] = from_lists && literal->lengths[i] >= 0 ? literal->lengths[i] : port->dims[i];
    if (dims[i] < 0) return bad(literal, "its shape is not known: write lists in lists");
    if (__builtin_mul_overflow(count, dims[i], &count)) return bad(literal, "it is too large");
  }
  if (literal->depth > 0 && literal->count != count)
    return bad(literal, "its shape needs another number of elements");
  return true;
}

/* Strings where strings are wanted, and numbers elsewhere. */
static bool check_kinds(Literal *literal, Dtype dtype) {
  for (int64_t i = 0; i < literal->count; i++)
    if ((literal->numbers[i].text != NULL) != (dtype == DTYPE_STRING))
      return bad(literal, dtype == DTYPE_STRING ? "it holds numbers, not strings" : "it holds strings");
  return true;
}

static void fill(const Literal *literal, Tensor *tensor) {
  bool whole = dtype_is_int(tensor->dtype) || tensor->dtype == DTYPE_BOOL;
  int64_t count = tensor_count(tensor);
  for (int64_t i = 0; i < count; i++) {
    const Number *number = &literal->numbers[literal->depth > 0 ? i : 0];
    if (tensor->dtype == DTYPE_STRING)
      ((const char **)tensor->data)[i] = number->text;
    else if (whole)
      dtype_set_int(tensor->dtype, tensor->data, i, number->whole);
    else
      dtype_set(tensor->dtype, tensor->data, i, number->real);
  }
}

bool tensor_parse(Module *module, const char **text, const Port *port, Tensor *tensor) {
  Literal literal = {.module = module, .at = *text, .depth = -1};
  int64_t dims[MAX_RANK] = {0};
  for (int i = 0; i < MAX_RANK; i++) literal.lengths[i] = -1;
  bool ok = parse_level(&literal, 0) && check_kinds(&literal, port->dtype) &&
            choose_shape(&literal, port, dims) &&
            (tensor_new(tensor, port->dtype, port->rank, dims) || bad(&literal, "there is no memory for it"));
  if (ok) fill(&literal, tensor);
  *text = literal.at;
  free(literal.numbers);
  return ok || fail(module, "the value of '%s' is wrong: %s", port->name, literal.error);
}
