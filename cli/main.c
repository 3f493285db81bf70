/* main.c -- the `tenon` command: one row per verb, each in its own file. */
#include "cli/verbs.h"
#include "ir/ir.h"

#include <string.h>

#ifndef TENON_VERSION
#define TENON_VERSION "?"
#endif

static const Verb *const verbs[] = {&verb_compile, &verb_run,  &verb_bench,  &verb_check,
                                    &verb_opt,     &verb_show, &verb_compare};

static void print_overview(FILE *out) {
  fprintf(out, "tenon - compiles trained models to native libraries\n\nusage: tenon VERB ...\n\n");
  for (int i = 0; i < COUNT_OF(verbs); i++) fprintf(out, "  %-9s %s\n", verbs[i]->name, verbs[i]->purpose);
  fprintf(out, "  %-9s %s\n", "help", "help VERB: as VERB --help; help operators: what tenon can compute");
  fprintf(out, "  %-9s %s\n", "version", "the version");
  fprintf(out, "\n`tenon VERB --help` tells more, with examples.\n");
}

static const Verb *find_verb(const char *name) {
  for (int i = 0; i < COUNT_OF(verbs); i++)
    if (strcmp(verbs[i]->name, name) == 0) return verbs[i];
  return NULL;
}

static int unknown_verb(const char *name) {
  const char *names[COUNT_OF(verbs) + 3] = {"help", "version"};
  for (int i = 0; i < COUNT_OF(verbs); i++) names[i + 2] = verbs[i]->name;
  const char *near = nearest_word(name, names, sizeof *names);
  fprintf(stderr, "error: unknown verb '%s'", name);
  if (near) fprintf(stderr, "; did you mean '%s'?", near);
  fprintf(stderr, "\nsee: tenon --help\n");
  return BAD_USAGE;
}

static int help(const char *topic) {
  const Verb *verb = topic ? find_verb(topic) : NULL;
  if (!topic)
    print_overview(stdout);
  else if (strcmp(topic, "operators") == 0)
    ops_print_markdown(stdout);
  else if (verb)
    verb_help(verb, stdout);
  else
    return unknown_verb(topic);
  return DONE;
}

static int run_verb(const Verb *verb, int argc, char **argv) {
  Arguments arguments;
  int code = BAD_USAGE;
  if (arguments_parse(&arguments, verb, argc, argv)) {
    if (option_flag(&arguments, "help"))
      verb_help(verb, stdout), code = DONE;
    else
      code = verb->run(&arguments);
  }
  arguments_free(&arguments);
  if (fflush(stdout) == 0) return code;
  fprintf(stderr, "error: cannot write to standard output\n");
  return BAD_INPUT;
}

int main(int argc, char **argv) {
  if (argc < 2) return print_overview(stderr), BAD_USAGE;
  const char *word = argv[1];
  if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) return help(NULL);
  if (strcmp(word, "help") == 0) return help(argc > 2 ? argv[2] : NULL);
  if (strcmp(word, "version") == 0 || strcmp(word, "--version") == 0)
    return printf("tenon %s\n", TENON_VERSION) < 0;
  const Verb *verb = find_verb(word);
  return verb ? run_verb(verb, argc - 2, argv + 2) : unknown_verb(word);
}
