/*
 * command.c -- a .tn file, the command of its first line, and what that prints.
 *
 * The expected text stands in the same file behind "# " below the line "# ----", so the file stays one that
 * tenon reads.
 */
#include "tests/golden/golden.h"

#include <stdlib.h>
#include <string.h>

static const char separator[] = "# ----\n";

/* Where the separator begins, or NULL. */
static char *find_separator(char *text) {
  for (char *at = text; (at = strstr(at, separator)); at++)
    if (at == text || at[-1] == '\n') return at;
  return NULL;
}

/* `text` behind "# ", line by line. */
static char *commented(const char *text) {
  Lines lines = lines_new();
  for (size_t length; *text; text += length + (text[length] == '\n')) {
    length = strcspn(text, "\n");
    fprintf(lines.file, length ? "# %.*s\n" : "#%.*s\n", (int)length, text);
  }
  return lines_take(&lines);
}

/* The command with %s replaced; the default reads and prints the graph as it is. From malloc. */
static char *command_of(const Golden *golden, const char *path) {
  const char *command = "tenon opt %s --passes=", *text = golden->text;
  size_t length = strlen(command);
  if (strncmp(text, "# tenon ", 8) == 0) {
    command = text + 2;
    length = strcspn(command, "\n");
  }
  Lines lines = lines_new();
  for (size_t i = 0; i < length; i++) {
    if (command[i] == '%' && i + 1 < length && command[i + 1] == 's')
      fprintf(lines.file, "'%s'", path), i++;
    else
      fputc(command[i], lines.file);
  }
  return lines_take(&lines);
}

static bool has_command(const Golden *golden) {
  return strncmp(golden->text, "# tenon ", 8) == 0;
}

static void bless(Golden *golden, const char *got) {
  char *end = find_separator(golden->text);
  if (end) *end = '\0';
  char *text = format_text("%s%s%s", golden->text, separator, got);
  if (!write_text(golden->path, text)) golden_fail(golden, "cannot be written");
  free(text);
}

/* Without a command, the text that is printed must read back as the same text. */
static void check_canonical(Golden *golden, const char *printed) {
  char *path = format_text("%s/printed.tn", golden->folder);
  if (!write_text(path, printed)) {
    golden_fail(golden, "cannot write '%s'", path);
    free(path);
    return;
  }
  Output again = shell(golden, "tenon opt printed.tn --passes=");
  if (again.code)
    golden_fail(golden, "what it prints does not read back: %s", again.err);
  else if (strcmp(again.out, printed) != 0) {
    golden_fail(golden, "what it prints reads back as another text:");
    show_difference(again.out, printed);
  }
  remove(path);
  free(path);
  output_free(&again);
}

static void check_output(Golden *golden, const Output *output) {
  char *expected = find_separator(golden->text), *got = commented(output->out);
  bool equal = expected && strcmp(expected + strlen(separator), got) == 0;
  if (golden->bless && !equal && (expected || has_command(golden)))
    bless(golden, got);
  else if (!equal && expected) {
    golden_fail(golden, "prints something else:");
    show_difference(got, expected + strlen(separator));
  } else if (!expected && has_command(golden))
    golden_fail(golden, "has a command, but no expected text below '# ----' (golden --bless adds it)");
  free(got);
}

void golden_command(Golden *golden) {
  char *command = command_of(golden, golden->path);
  Output output = shell(golden, command);
  if (output.code)
    golden_fail(golden, "exit code %d of: %s\n%s", output.code, command, output.err);
  else
    check_output(golden, &output);
  bool has_weights = strstr(output.out, " = data \"") != NULL; /* they would have to be copied along */
  if (!output.code && !has_command(golden) && !has_weights) check_canonical(golden, output.out);
  free(command);
  output_free(&output);
}

/* ---- Wrong input ---- */

static const char mark[] = "# error: ";

/* The next "error: ..." line of stderr without its location: FILE:LINE[:COL]: is skipped, LINE noted (0:
 * none). */
static char *next_error(char **at, const char *path, int *line) {
  for (char *text; (text = next_line(at));) {
    if (strncmp(text, "error: ", 7) != 0) continue;
    text += 7;
    *line = 0;
    size_t length = strlen(path);
    if (strncmp(text, path, length) != 0 || text[length] != ':') return text;
    text += length + 1;
    char *end;
    long number = strtol(text, &end, 10);
    if (end != text && *end == ':') {
      *line = (int)number;
      text = end + 1;
      strtol(text, &end, 10);
      if (end != text && *end == ':') text = end + 1;
    }
    return text + strspn(text, " ");
  }
  return NULL;
}

/* The expectation on the line, or NULL. */
static char *expectation(char *line) {
  char *found = strstr(line, mark);
  return found ? found + strlen(mark) : NULL;
}

/* Expected texts by line number; an expectation alone on its line counts for line 0, no matter which. */
typedef struct Expected {
  int line;
  const char *text;
  bool met;
} Expected;

enum { MAX_EXPECTED = 64 };

static int collect(char *text, Expected *expected) {
  int count = 0, number = 1;
  for (char *line; (line = next_line(&text)); number++) {
    char *wanted = expectation(line);
    if (!wanted || count == MAX_EXPECTED) continue;
    bool alone = strncmp(line, mark, strlen(mark)) == 0;
    expected[count++] = (Expected){alone ? 0 : number, wanted, false};
  }
  return count;
}

static bool meet(Expected *expected, int count, int line, const char *error) {
  for (int i = 0; i < count; i++)
    if (!expected[i].met && (!expected[i].line || expected[i].line == line) &&
        strstr(error, expected[i].text))
      return expected[i].met = true;
  return false;
}

static void compare_errors(Golden *golden, char *errors, Expected *expected, int count) {
  int line;
  for (char *error; (error = next_error(&errors, golden->path, &line));)
    if (!meet(expected, count, line, error))
      golden_fail(golden, "unexpected error in line %d: %s", line, error);
  for (int i = 0; i < count; i++)
    if (!expected[i].met)
      golden_fail(golden, "no such error in line %d: %s", expected[i].line, expected[i].text);
}

/* Puts the errors on their lines. */
static void bless_errors(Golden *golden, char *errors) {
  Lines lines = lines_new();
  char *text = golden->text, *error;
  int line, number = 1;
  char *found[MAX_EXPECTED];
  int found_line[MAX_EXPECTED], count = 0;
  while (count < MAX_EXPECTED && (error = next_error(&errors, golden->path, &line)))
    found[count] = error, found_line[count++] = line;
  for (int i = 0; i < count; i++)
    if (!found_line[i]) fprintf(lines.file, "%s%s\n", mark, found[i]);
  for (char *at; (at = next_line(&text)); number++) {
    char *old = strstr(at, mark);
    if (old == at) continue;
    if (old) *old = '\0';
    for (size_t length = strlen(at); old && length > 0 && at[length - 1] == ' ';) at[--length] = '\0';
    fprintf(lines.file, "%s", at);
    for (int i = 0; i < count; i++)
      if (found_line[i] == number) fprintf(lines.file, "  %s%s", mark, found[i]), i = count;
    fprintf(lines.file, "\n");
  }
  char *blessed = lines_take(&lines);
  if (!write_text(golden->path, blessed)) golden_fail(golden, "cannot be written");
  free(blessed);
}

void golden_bad(Golden *golden) {
  char *command = command_of(golden, golden->path);
  Expected expected[MAX_EXPECTED];
  Output output = shell(golden, command);
  if (output.code != 1)
    golden_fail(golden, "exit code %d instead of 1 of: %s\n%s", output.code, command, output.err);
  if (golden->bless)
    bless_errors(golden, output.err);
  else
    compare_errors(golden, output.err, expected, collect(golden->text, expected));
  free(command);
  output_free(&output);
}
