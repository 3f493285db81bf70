/*
 * golden.h -- the parts of the golden runner. A Golden is one file, run in a process of its own;
 * docs/testing.md says what stands in it.
 */
#ifndef TENON_TESTS_GOLDEN_H
#define TENON_TESTS_GOLDEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef struct Golden {
  const char *path;
  const char *tenon;  /* the program */
  const char *top;    /* the project's root */
  const char *folder; /* a fresh one for its commands */
  bool bless;
  char *text; /* the file */
  bool failed;
} Golden;

/* Says what is wrong, and that the golden failed. */
void golden_fail(Golden *golden, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The three kinds of check. */
void golden_command(Golden *golden);   /* command and expected text of a .tn (command.c) */
void golden_bad(Golden *golden);       /* bad-*.tn (command.c) */
void golden_script(Golden *golden);    /* .cli (script.c) */
void golden_run_lines(Golden *golden); /* "# run:" (run.c) */
/* "# samples:", as INPUT.npy in its folder (run.c). */
void golden_save_samples(Golden *golden);

/* ---- Shared (golden.c) ---- */

typedef struct Output {
  char *out, *err; /* from malloc */
  int code;        /* exit code, 128 + signal */
} Output;

/* Runs a shell command in the golden's folder, with the folder of tenon in the PATH and $TOP set. */
Output shell(const Golden *golden, const char *command);
void output_free(Output *output);

char *read_text(const char *path); /* NULL when it cannot be read; from malloc */
bool write_text(const char *path, const char *text);
char *format_text(const char *format, ...) __attribute__((format(printf, 1, 2))); /* from malloc */
/* `got` and `want` from the first line that differs. */
void show_difference(const char *got, const char *want);
/* Splits off the next line (its newline becomes a zero byte); NULL at the end. */
char *next_line(char **at);

/* Text that is printed to and then taken. */
typedef struct Lines {
  struct LinesTarget *target;
  FILE *file;
} Lines;
Lines lines_new(void);
char *lines_take(Lines *lines); /* closes; the text is from malloc */

#endif
