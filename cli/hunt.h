/* hunt.h -- `tenon opt --check`, --bisect and --reduce: what opt.c asks of hunt.c. */
#ifndef TENON_CLI_HUNT_H
#define TENON_CLI_HUNT_H

#include "cli/program.h"

bool is_hunt(const Arguments *arguments); /* whether any of these options is given */
/* Does what they say; false when a pass is wrong, which is told, or with a Diag. */
bool hunt(Program *program, const PipelineOptions *pipeline);

#endif
