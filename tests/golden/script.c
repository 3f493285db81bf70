/*
 * script.c -- .cli files: commands with what they print. The transcript is made anew and compared as a whole;
 * --bless writes it back.
 */
#include "tests/golden/golden.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void print_lines(FILE *out, const char *prefix, char *text) {
  for (char *line; (line = next_line(&text));) fprintf(out, "%s%s\n", prefix, line);
}

/* Kept are the commands and what stands before the first of them; the rest is printed by the commands. */
static char *transcript(const Golden *golden) {
  Lines lines = lines_new();
  char *text = strdup(golden->text), *at = text;
  bool begun = false;
  for (char *line; (line = next_line(&at));) {
    bool is_command = strncmp(line, "$ ", 2) == 0;
    begun |= is_command;
    if (is_command || !begun) fprintf(lines.file, "%s\n", line);
    if (!is_command) continue;
    Output output = shell(golden, line + 2);
    print_lines(lines.file, "", output.out);
    print_lines(lines.file, "! ", output.err);
    if (output.code) fprintf(lines.file, "? %d\n", output.code);
    output_free(&output);
  }
  free(text);
  return lines_take(&lines);
}

void golden_script(Golden *golden) {
  char *got = transcript(golden);
  if (strcmp(got, golden->text) != 0) {
    if (!golden->bless) {
      golden_fail(golden, "prints something else:");
      show_difference(got, golden->text);
    } else if (!write_text(golden->path, got))
      golden_fail(golden, "cannot be written");
  }
  free(got);
}
