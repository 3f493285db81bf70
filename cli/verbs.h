/* verbs.h -- the rows of the `tenon` command, one file each. */
#ifndef TENON_CLI_VERBS_H
#define TENON_CLI_VERBS_H

#include "cli/options.h"

extern const Verb verb_bench, verb_check, verb_compare, verb_compile, verb_opt, verb_run, verb_show;

#endif
